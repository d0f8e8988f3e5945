/* policy/addr_memory.h: what was seen with an address for some time: the MX hosts that had it
 * (large providers rotate short lived sets, and the client resolved a moment before us, PRX-018),
 * the domains whose TLSA records held there (TC-DANE-42). Context: policy process, one thread at a
 * time per object. Bounded; knows no clock. */
#ifndef STSGATE_POLICY_ADDR_MEMORY_H
#define STSGATE_POLICY_ADDR_MEMORY_H

#include "base/ip_addr.h"
#include "base/result.h"

#define ADDR_MEMORY_S 86400             /* seconds: PRX-018's default */
#define ADDR_MEMORY_DANE_S (30 * 86400) /* of DANE: longer than an outage or an attack */
#define ADDR_MEMORY_MAX 200000u         /* pairs of name and address; the longest unseen go first */

struct addr_memory;

/** for_s: how long a pair is remembered, seconds. NULL: no memory. */
struct addr_memory *addr_memory_new(int64_t for_s);
void addr_memory_free(struct addr_memory *memory);

/** name had addr at now_s (wall clock). Without memory nothing is remembered, and nothing is lost.
 */
void addr_memory_note(struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                      int64_t now_s);

/** Did name have addr within for_s before now_s? */
bool addr_memory_has(const struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                     int64_t now_s);

/** Forget the pair. Did name have addr, as above? */
bool addr_memory_take(struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                      int64_t now_s);

#endif
