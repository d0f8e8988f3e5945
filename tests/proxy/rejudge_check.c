#include "tests/proxy/rejudge_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/record.h"
#include "proxy/rejudge.h"

void
check_rejudged(const struct requirement *req, const struct observation *obs,
               const struct verdict *verdict)
{
    static const struct record_session_info info = { .id = "0123456789abcdef" };
    const struct record_recipient record = { .wall_ns = INT64_C(1700000000000000000),
                                             .session = &info,
                                             .req = req,
                                             .obs = obs,
                                             .dane = &obs->dane,
                                             .verdict = verdict,
                                             .number = 1,
                                             .outcome = "refused" };
    bool unfinished = verdict->action == VERDICT_START_TLS || verdict->action == VERDICT_RECONNECT;
    char difference[REJUDGE_TEXT_MAX];
    enum rejudge_outcome outcome;
    struct buffer bytes;
    int64_t wall_ns;
    struct span map;
    size_t len;

    buffer_init(&bytes, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&record, &bytes), RES_OK);
    assert_int_equal(record_decode(buffer_span(&bytes), &len, &wall_ns, &map), RES_OK);
    assert_int_equal(rejudge(map, &outcome, difference), RES_OK);
    if (outcome != (unfinished ? REJUDGE_NOT_JUDGED : REJUDGE_SAME))
        fail_msg("outcome %d: %s", (int)outcome, difference);
    buffer_clear(&bytes);
}
