#include "proxy/foreign_memo.h"

#include "base/hash_key.h"

static size_t
slot_of(const struct ip_addr *addr)
{
    return hash_bytes(addr->bytes, addr->len) % FOREIGN_MEMO_SLOTS;
}

void
foreign_memo_keep(struct foreign_memo *memo, const struct ip_addr *addr, int64_t now_ms)
{
    size_t i = slot_of(addr);

    memo->slots[i].addr = *addr;
    memo->slots[i].until_ms = now_ms + FOREIGN_MEMO_MS;
}

bool
foreign_memo_has(const struct foreign_memo *memo, const struct ip_addr *addr, int64_t now_ms)
{
    size_t i = slot_of(addr);

    return now_ms < memo->slots[i].until_ms && ip_addr_equal(&memo->slots[i].addr, addr);
}
