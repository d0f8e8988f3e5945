/* proxy/ehlo_memory.h: what destinations listed last under TLS. The first EHLO of a session comes
 * in clear, where its list may be forged; so the client is shown this one instead (PRX-029).
 * Context: worker, one thread at a time per object. Bounded; knows no clock. */
#ifndef STSGATE_PROXY_EHLO_MEMORY_H
#define STSGATE_PROXY_EHLO_MEMORY_H

#include "base/ip_addr.h"
#include "base/span.h"

#define EHLO_MEMORY_S 14400          /* seconds that a list counts: "a few hours" */
#define EHLO_MEMORY_TELL_S 1800      /* then the same is told again */
#define EHLO_MEMORY_MAX 4096u        /* destinations; the longest unheard go first */
#define EHLO_MEMORY_LIST_BYTES 1024u /* of one; a longer list is not remembered */

struct ehlo_memory;

struct ehlo_memory *ehlo_memory_new(void);         /* NULL: no memory */
void ehlo_memory_free(struct ehlo_memory *memory); /* NULL is allowed */

/** The destination has said list, an EHLO reply as by ehlo_filter(), under TLS at now_s
 * (monotonic). proven: a verdict rests on its certificate. The word of a proven server stands for
 * EHLO_MEMORY_S against that of an unproven one. Without memory nothing is remembered.
 * True: it is news, or was long ago, so that others should hear of it. */
bool ehlo_memory_learn(struct ehlo_memory *memory, const struct ip_addr *destination, uint16_t port,
                       struct span list, bool proven, int64_t now_s);

/** The list that counts at now_s, borrowed until the next ehlo_memory_learn(); empty: none. */
struct span ehlo_memory_recall(const struct ehlo_memory *memory, const struct ip_addr *destination,
                               uint16_t port, int64_t now_s);

#endif
