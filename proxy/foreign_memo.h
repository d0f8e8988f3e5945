/* proxy/foreign_memo.h: destinations that were found, a moment ago, to be no address of this host,
 * so that a busy gateway does not ask the kernel for each connection. Context: worker, one thread
 * at a time per object. Bounded; knows no clock. */
#ifndef STSGATE_PROXY_FOREIGN_MEMO_H
#define STSGATE_PROXY_FOREIGN_MEMO_H

#include "base/ip_addr.h"

#include <stdbool.h>
#include <stdint.h>

#define FOREIGN_MEMO_MS 1000    /* addresses come and go: for no longer is an answer believed */
#define FOREIGN_MEMO_SLOTS 256u /* of one address each; a later one takes the place of another */

struct foreign_memo {
    struct {
        struct ip_addr addr;
        int64_t until_ms;
    } slots[FOREIGN_MEMO_SLOTS]; /* zeroed: empty */
};

/** now_ms: monotonic clock. */
void foreign_memo_keep(struct foreign_memo *memo, const struct ip_addr *addr, int64_t now_ms);
bool foreign_memo_has(const struct foreign_memo *memo, const struct ip_addr *addr, int64_t now_ms);

#endif
