/* tests/proxy/test_foreign_memo.c: how long, and of whom, it is believed that this host is not he.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/foreign_memo.h"

#define NOW_MS 5000

static struct ip_addr
addr4(unsigned char c, unsigned char d)
{
    return (struct ip_addr){ .len = 4, .bytes = { 192, 0, c, d } };
}

static void
test_empty(void **state)
{
    static const struct foreign_memo memo;
    const struct ip_addr addr = addr4(2, 1), none = { 0 };

    (void)state;
    assert_false(foreign_memo_has(&memo, &addr, NOW_MS));
    assert_false(foreign_memo_has(&memo, &addr, 0));
    assert_false(foreign_memo_has(&memo, &none, 0));
}

static void
test_for_a_moment(void **state)
{
    struct foreign_memo memo = { 0 };
    const struct ip_addr addr = addr4(2, 1), other = addr4(2, 2);
    struct ip_addr longer = addr; /* the same octets, of the other family */

    (void)state;
    longer.len = 16;
    foreign_memo_keep(&memo, &addr, NOW_MS);
    assert_false(foreign_memo_has(&memo, &other, NOW_MS));
    assert_false(foreign_memo_has(&memo, &longer, NOW_MS));
    assert_false(foreign_memo_has(&memo, &addr, NOW_MS + FOREIGN_MEMO_MS));
    assert_true(foreign_memo_has(&memo, &addr, NOW_MS));
    assert_true(foreign_memo_has(&memo, &addr, NOW_MS + FOREIGN_MEMO_MS - 1));
}

/* More than it has room for: some are forgotten, none is taken for another. */
static void
test_full(void **state)
{
    struct foreign_memo memo = { 0 };
    unsigned kept = 0;

    (void)state;
    for (unsigned i = 0; i < 4 * FOREIGN_MEMO_SLOTS; i++) {
        const struct ip_addr addr = addr4((unsigned char)(i >> 8), (unsigned char)i);

        assert_false(foreign_memo_has(&memo, &addr, NOW_MS));
        foreign_memo_keep(&memo, &addr, NOW_MS);
        assert_true(foreign_memo_has(&memo, &addr, NOW_MS));
    }
    for (unsigned i = 0; i < 4 * FOREIGN_MEMO_SLOTS; i++) {
        const struct ip_addr addr = addr4((unsigned char)(i >> 8), (unsigned char)i);

        kept += foreign_memo_has(&memo, &addr, NOW_MS);
    }
    assert_in_range(kept, 1, FOREIGN_MEMO_SLOTS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_for_a_moment),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests_name("foreign_memo", tests, NULL, NULL);
}
