/* policy/addr_memory.h: addresses that MX hosts had in the last hours. Large providers rotate short
 * lived sets, and the client resolved a moment before us (PRX-018).
 * Context: policy process, one thread at a time per object. Bounded; knows no clock. */
#ifndef STSGATE_POLICY_ADDR_MEMORY_H
#define STSGATE_POLICY_ADDR_MEMORY_H

#include "base/ip_addr.h"
#include "base/result.h"

#define ADDR_MEMORY_S 86400     /* seconds: PRX-018's default */
#define ADDR_MEMORY_MAX 200000u /* pairs of host and address; the longest unseen go first */

struct addr_memory;

struct addr_memory *addr_memory_new(void); /* NULL: no memory */
void addr_memory_free(struct addr_memory *memory);

/** host had addr at now_s (wall clock). Without memory nothing is remembered, and nothing is lost.
 */
void addr_memory_note(struct addr_memory *memory, const char *host, const struct ip_addr *addr,
                      int64_t now_s);

/** Did host have addr within ADDR_MEMORY_S before now_s? */
bool addr_memory_has(const struct addr_memory *memory, const char *host, const struct ip_addr *addr,
                     int64_t now_s);

#endif
