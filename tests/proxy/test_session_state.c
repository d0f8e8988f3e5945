/* tests/proxy/test_session_state.c: where every event leads from every state, told event by event,
 * and what no walk through the states can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proxy/session_state.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define WAYS_MAX 16

/* What the protocol expects, by event. A state that is not named closes: nothing that is unexpected
 * is a reason to go on. */
static const struct expected {
    enum session_event event;
    const char *why;
    struct {
        enum session_state from, to;
    } ways[WAYS_MAX];
    size_t count;
} expected[] = {
    { SEV_CONNECTED,
      "a connection is followed by its greeting (RFC 5321 3.1)",
      { { SES_CONNECT, SES_GREETING }, { SES_RECONNECT, SES_REGREETING } },
      2 },
    { SEV_CONNECT_FAILED, "PRX-007, PRX-030: 421", { { SES_STATES, SES_STATES } }, 0 },
    { SEV_REPLY_READY,
      "220 greets or begins the handshake",
      { { SES_GREETING, SES_COMMAND },
        { SES_STARTTLS, SES_HANDSHAKE },
        { SES_REGREETING, SES_REEHLO } },
      3 },
    { SEV_CMD_AUTH,
      "EXT-008: where it was offered, and line by line",
      { { SES_COMMAND, SES_AUTH }, { SES_AUTH_LINE, SES_AUTH } },
      2 },
    { SEV_CMD_STARTTLS, "where it was offered (PRX-039)", { { SES_COMMAND, SES_CLIENT_TLS } }, 1 },
    { SEV_CMD_PASS_TLS, "to be passed on (PRX-040)", { { SES_COMMAND, SES_PASS_TLS } }, 1 },
    { SEV_PASSTHROUGH, "no session any more", { { SES_STATES, SES_STATES } }, 0 },
    { SEV_CLIENT_TLS_DONE, "all begins anew (PRX-043)", { { SES_CLIENT_TLS, SES_COMMAND } }, 1 },
    { SEV_CLIENT_TLS_FAILED, "REP-062: closed", { { SES_STATES, SES_STATES } }, 0 },
    { SEV_SMART_HOST,
      "PRX-029: whose identity is configured is asked for TLS at EHLO",
      { { SES_EHLO, SES_REQUIREMENT } },
      1 },
    { SEV_ANNOUNCED, "and then the client hears its list", { { SES_JUDGE, SES_COMMAND } }, 1 },
    { SEV_RESUME_EHLO,
      "the client's own EHLO goes on after a new connection",
      { { SES_REGREETING, SES_EHLO } },
      1 },
    { SEV_REPLY_OK,
      "2xx: the next step of what was asked; to STARTTLS it is no 220 (TLS-005); "
      "before the end of data it breaks the message (SMTP-032)",
      { { SES_EHLO, SES_COMMAND },
        { SES_HELO, SES_COMMAND },
        { SES_STARTTLS, SES_JUDGE },
        { SES_EHLO_TLS, SES_JUDGE },
        { SES_REEHLO, SES_JUDGE },
        { SES_CLEAN, SES_GATHER },
        { SES_VOID, SES_COMMAND },
        { SES_MAIL, SES_RCPT },
        { SES_RCPT, SES_COMMAND },
        { SES_PASS, SES_COMMAND },
        { SES_FINAL, SES_COMMAND },
        { SES_CHUNK_REPLY, SES_COMMAND },
        { SES_CHUNK, SES_SWALLOW },
        { SES_CONTENT, SES_SWALLOW },
        { SES_AUTH, SES_COMMAND } },
      15 },
    { SEV_REPLY_MORE,
      "3xx: only DATA has one",
      { { SES_DATA, SES_CONTENT },
        { SES_STARTTLS, SES_JUDGE },
        { SES_CONTENT, SES_SWALLOW },
        { SES_CHUNK, SES_SWALLOW },
        { SES_AUTH, SES_AUTH_LINE } },
      5 },
    { SEV_REPLY_LATER,
      "4xx: the answer to the client's command; our own steps have no other way",
      { { SES_PASS_TLS, SES_COMMAND },
        { SES_GREETING, SES_REFUSED },
        { SES_EHLO, SES_COMMAND },
        { SES_HELO, SES_COMMAND },
        { SES_STARTTLS, SES_JUDGE },
        { SES_MAIL, SES_COMMAND },
        { SES_RCPT, SES_COMMAND },
        { SES_VOID, SES_COMMAND },
        { SES_PASS, SES_COMMAND },
        { SES_DATA, SES_COMMAND },
        { SES_FINAL, SES_COMMAND },
        { SES_CHUNK_REPLY, SES_COMMAND },
        { SES_CHUNK, SES_SWALLOW },
        { SES_CONTENT, SES_SWALLOW },
        { SES_AUTH, SES_COMMAND } },
      15 },
    { SEV_REPLY_NO,
      "5xx: the same, but EHLO falls back to HELO (PRX-047)",
      { { SES_PASS_TLS, SES_COMMAND },
        { SES_GREETING, SES_REFUSED },
        { SES_EHLO, SES_HELO },
        { SES_HELO, SES_COMMAND },
        { SES_STARTTLS, SES_JUDGE },
        { SES_MAIL, SES_COMMAND },
        { SES_RCPT, SES_COMMAND },
        { SES_VOID, SES_COMMAND },
        { SES_PASS, SES_COMMAND },
        { SES_DATA, SES_COMMAND },
        { SES_FINAL, SES_COMMAND },
        { SES_CHUNK_REPLY, SES_COMMAND },
        { SES_CHUNK, SES_SWALLOW },
        { SES_CONTENT, SES_SWALLOW },
        { SES_AUTH, SES_COMMAND } },
      15 },
    { SEV_REPLY_CLOSING,
      "421 answers the command in hand, or the next one (SMTP-036); message text "
      "is swallowed first (SMTP-035)",
      { { SES_COMMAND, SES_LOST },
        { SES_CONTENT, SES_SWALLOW },
        { SES_CHUNK, SES_SWALLOW },
        { SES_DISCARD, SES_SWALLOW },
        { SES_REFUSED, SES_REFUSED },
        { SES_CLIENT_TLS, SES_CLIENT_TLS } },
      6 },
    { SEV_MX_LOST,
      "the same without a word (PRX-012); after the end of data 451, never 250 "
      "(PRX-008); a refusing MX may hang up (SMTP-037)",
      { { SES_COMMAND, SES_LOST },
        { SES_CONTENT, SES_SWALLOW },
        { SES_CHUNK, SES_SWALLOW },
        { SES_DISCARD, SES_SWALLOW },
        { SES_CHUNK_REPLY, SES_LOST },
        { SES_FINAL, SES_LOST },
        { SES_REFUSED, SES_REFUSED },
        { SES_CLIENT_TLS, SES_CLIENT_TLS } },
      8 },
    { SEV_INJECTED, "no TLS here (TLS-008)", { { SES_STARTTLS, SES_JUDGE } }, 1 },
    { SEV_TLS_DONE, "EHLO again (TLS-007)", { { SES_HANDSHAKE, SES_EHLO_TLS } }, 1 },
    { SEV_TLS_FAILED,
      "a fact like another (TLS-043), also when the alert comes late (TC-TLS-17)",
      { { SES_HANDSHAKE, SES_JUDGE }, { SES_EHLO_TLS, SES_JUDGE } },
      2 },
    { SEV_CMD_EHLO, "passed on (SMTP-008)", { { SES_COMMAND, SES_EHLO } }, 1 },
    { SEV_CMD_RCPT,
      "first what its domain demands; one that was pipelined may join if that is at hand",
      { { SES_COMMAND, SES_REQUIREMENT }, { SES_GATHER, SES_AHEAD } },
      2 },
    { SEV_CMD_RSET, "passed on (SMTP-009)", { { SES_COMMAND, SES_PASS } }, 1 },
    { SEV_CMD_DATA,
      "upstream with an accepted recipient (SMTP-040)",
      { { SES_COMMAND, SES_DATA } },
      1 },
    { SEV_CMD_BDAT,
      "upstream with an accepted recipient (SMTP-040)",
      { { SES_COMMAND, SES_CHUNK } },
      1 },
    { SEV_CMD_DISCARD, "CHNK-004", { { SES_COMMAND, SES_DISCARD } }, 1 },
    { SEV_CMD_QUIT,
      "passed on (SMTP-013)",
      { { SES_COMMAND, SES_QUIT }, { SES_REFUSED, SES_QUIT } },
      2 },
    { SEV_CMD_BYE, "the end", { { SES_STATES, SES_STATES } }, 0 },
    { SEV_REQUIREMENT, "known: judge", { { SES_REQUIREMENT, SES_JUDGE } }, 1 },
    { SEV_NO_REQUIREMENT, "REP-065", { { SES_REQUIREMENT, SES_COMMAND } }, 1 },
    { SEV_ALLOW,
      "MAIL, then RCPT, and others with it",
      { { SES_JUDGE, SES_GATHER }, { SES_AHEAD, SES_GATHER } },
      2 },
    { SEV_SEND,
      "PIPE-007: the group is whole",
      { { SES_GATHER, SES_MAIL }, { SES_AHEAD, SES_MAIL } },
      2 },
    { SEV_MAIL_REFUSED,
      "PRX-014: the replies to its recipients still come",
      { { SES_MAIL, SES_VOID } },
      1 },
    { SEV_STALE_MAIL, "RSET, then MAIL, then RCPT", { { SES_JUDGE, SES_CLEAN } }, 1 },
    { SEV_REFUSE,
      "answered here; the MX never learns of it (PRX-015)",
      { { SES_JUDGE, SES_COMMAND } },
      1 },
    { SEV_START_TLS, "PRX-029", { { SES_JUDGE, SES_STARTTLS } }, 1 },
    { SEV_NEW_CONNECTION,
      "PRX-030; and for an EHLO whose connection had failed",
      { { SES_JUDGE, SES_RECONNECT }, { SES_COMMAND, SES_RECONNECT } },
      2 },
    { SEV_RECHECK, "is that still the policy? (STS-103)", { { SES_JUDGE, SES_REQUIREMENT } }, 1 },
    { SEV_TOO_LATE,
      "451 for the recipient, the end for the MX (PRX-053)",
      { { SES_REQUIREMENT, SES_LOST },
        { SES_STARTTLS, SES_LOST },
        { SES_EHLO_TLS, SES_LOST },
        { SES_RECONNECT, SES_LOST },
        { SES_REGREETING, SES_LOST },
        { SES_REEHLO, SES_LOST },
        { SES_CLEAN, SES_LOST },
        { SES_MAIL, SES_LOST },
        { SES_RCPT, SES_LOST },
        { SES_VOID, SES_LOST } },
      10 },
    { SEV_GIVE_UP, "421 has been said", { { SES_STATES, SES_STATES } }, 0 },
    { SEV_END_OF_DATA,
      "SMTP-042, SMTP-035",
      { { SES_CONTENT, SES_FINAL }, { SES_CHUNK, SES_FINAL }, { SES_SWALLOW, SES_LOST } },
      3 },
    { SEV_END_OF_CHUNK,
      "CHNK-005: its reply is next",
      { { SES_CHUNK, SES_CHUNK_REPLY }, { SES_DISCARD, SES_COMMAND } },
      2 },
    { SEV_EARLY_REFUSAL,
      "the MX does not want the rest: it gets none of it",
      { { SES_FINAL, SES_LOST }, { SES_CHUNK_REPLY, SES_LOST } },
      2 },
    { SEV_AMBIGUOUS, "SMTP-044", { { SES_CONTENT, SES_SWALLOW } }, 1 },
    { SEV_CLIENT_GONE,
      "PRX-011; behind the end of data the MX's word is awaited (FAULTS A9, E19)",
      { { SES_FINAL, SES_FINAL } },
      1 },
    { SEV_CLIENT_IDLE, "SMTP-051", { { SES_STATES, SES_STATES } }, 0 },
};

static enum session_state
expect(const struct expected *e, enum session_state from)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->ways[i].from == from)
            return e->ways[i].to;
    return SES_CLOSED;
}

static void
test_event(void **state)
{
    const struct expected *e = *state;

    for (unsigned from = 0; from < SES_STATES; from++) {
        enum session_state want = expect(e, (enum session_state)from);
        enum session_state got = session_next((enum session_state)from, e->event);

        if (got != want)
            fail_msg("%s at %s leads to %s, not to %s: %s", session_event_name(e->event),
                     session_state_name((enum session_state)from), session_state_name(got),
                     session_state_name(want), e->why);
    }
}

/* Every event but SEV_NONE has its row, and one only. */
static void
test_rows_are_whole(void **state)
{
    unsigned rows[SEV_EVENTS] = { 0 };

    (void)state;
    for (size_t i = 0; i < ROWS(expected); i++)
        rows[expected[i].event]++;
    assert_int_equal(rows[SEV_NONE], 0);
    for (unsigned event = SEV_NONE + 1; event < SEV_EVENTS; event++)
        assert_int_equal(rows[event], 1);
}

static void
test_none_stays(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SES_STATES; s++)
        assert_int_equal(session_next((enum session_state)s, SEV_NONE), s);
}

static void
test_closed_is_final(void **state)
{
    (void)state;
    for (unsigned event = 0; event < SEV_EVENTS; event++)
        assert_int_equal(session_next(SES_CLOSED, (enum session_event)event), SES_CLOSED);
}

/* Mark what can be reached from `from` without going through `without` (SES_STATES: anything). */
static void
reach(enum session_state from, enum session_state without, bool seen[SES_STATES])
{
    bool grew = true;

    memset(seen, 0, SES_STATES * sizeof *seen);
    seen[from] = true;
    while (grew) {
        grew = false;
        for (unsigned s = 0; s < SES_STATES; s++)
            for (unsigned event = 0; seen[s] && event < SEV_EVENTS; event++) {
                enum session_state to =
                    session_next((enum session_state)s, (enum session_event)event);

                if (to == without || seen[to])
                    continue;
                seen[to] = grew = true;
            }
    }
}

static void
test_all_is_reachable(void **state)
{
    bool seen[SES_STATES];

    (void)state;
    reach(SES_CONNECT, SES_STATES, seen);
    for (unsigned s = 0; s < SES_STATES; s++)
        if (!seen[s])
            fail_msg("%s is never reached", session_state_name((enum session_state)s));
}

/* Also without the client: a hanging peer ends by its own event, not by luck. */
static void
test_all_can_end(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SES_STATES; s++) {
        bool seen[SES_STATES];

        assert_int_equal(session_next((enum session_state)s, SEV_CLIENT_GONE),
                         s == SES_FINAL ? SES_FINAL : SES_CLOSED);
        assert_int_equal(session_next((enum session_state)s, SEV_CLIENT_IDLE), SES_CLOSED);
        reach((enum session_state)s, SES_STATES, seen);
        assert_true(seen[SES_CLOSED]);
    }
}

/* The only ways into the states in which something leaves that cannot be taken back. */
static const struct gate {
    const char *name;
    enum session_state into;
    struct {
        enum session_state from;
        enum session_event event;
    } ways[3];
    size_t count;
} gates[] = {
    { "PRX-013: a recipient is to be sent after a verdict only",
      SES_GATHER,
      { { SES_JUDGE, SEV_ALLOW }, { SES_AHEAD, SEV_ALLOW }, { SES_CLEAN, SEV_REPLY_OK } },
      3 },
    { "PIPE-007: one is judged ahead only while others are to be sent",
      SES_AHEAD,
      { { SES_GATHER, SEV_CMD_RCPT } },
      1 },
    { "PRX-013: MAIL goes for recipients only",
      SES_MAIL,
      { { SES_GATHER, SEV_SEND }, { SES_AHEAD, SEV_SEND } },
      2 },
    { "RSET of ours goes after a verdict only", SES_CLEAN, { { SES_JUDGE, SEV_STALE_MAIL } }, 1 },
    { "PRX-015: RCPT goes after MAIL only", SES_RCPT, { { SES_MAIL, SEV_REPLY_OK } }, 1 },
    { "SMTP-040: text goes after 354 only", SES_CONTENT, { { SES_DATA, SEV_REPLY_MORE } }, 1 },
    { "SMTP-042: a final reply is awaited after the end of data only",
      SES_FINAL,
      { { SES_CONTENT, SEV_END_OF_DATA },
        { SES_CHUNK, SEV_END_OF_DATA },
        { SES_FINAL, SEV_CLIENT_GONE } },
      3 },
    { "SMTP-040: a chunk goes with accepted recipients only",
      SES_CHUNK,
      { { SES_COMMAND, SEV_CMD_BDAT } },
      1 },
    { "PRX-029: STARTTLS is for a recipient only",
      SES_STARTTLS,
      { { SES_JUDGE, SEV_START_TLS } },
      1 },
    { "TLS-004: handshake after 220 only",
      SES_HANDSHAKE,
      { { SES_STARTTLS, SEV_REPLY_READY } },
      1 },
    { "TLS-007: EHLO under TLS after a handshake only",
      SES_EHLO_TLS,
      { { SES_HANDSHAKE, SEV_TLS_DONE } },
      1 },
};

static void
test_gate(void **state)
{
    const struct gate *g = *state;

    for (unsigned s = 0; s < SES_STATES; s++)
        for (unsigned event = SEV_NONE + 1; event < SEV_EVENTS; event++) {
            bool known = false;

            if (session_next((enum session_state)s, (enum session_event)event) != g->into)
                continue;
            for (size_t i = 0; i < g->count; i++)
                known |= s == g->ways[i].from && event == g->ways[i].event;
            if (!known)
                fail_msg("%s leads from %s to %s", session_event_name((enum session_event)event),
                         session_state_name((enum session_state)s), session_state_name(g->into));
        }
}

/* Wherever the session stands, no recipient and no text goes upstream but through the verdict. */
static void
test_no_way_around_judge(void **state)
{
    static const enum session_state before[] = { SES_CONNECT,  SES_GREETING,   SES_EHLO,
                                                 SES_HELO,     SES_STARTTLS,   SES_HANDSHAKE,
                                                 SES_EHLO_TLS, SES_RECONNECT,  SES_REGREETING,
                                                 SES_REEHLO,   SES_REQUIREMENT };
    static const enum session_state behind[] = { SES_CLEAN, SES_GATHER, SES_AHEAD,
                                                 SES_MAIL,  SES_RCPT,   SES_VOID };

    (void)state;
    for (size_t i = 0; i < ROWS(before); i++) {
        bool seen[SES_STATES];

        reach(before[i], SES_JUDGE, seen);
        for (size_t k = 0; k < ROWS(behind); k++)
            if (seen[behind[k]])
                fail_msg("%s is reached from %s without a verdict", session_state_name(behind[k]),
                         session_state_name(before[i]));
    }
}

/* Once the connection to the MX was given up, nothing but the client's leg is left. */
static void
test_lost_is_a_dead_end(void **state)
{
    static const enum session_state dead[] = { SES_SWALLOW, SES_LOST };
    bool seen[SES_STATES];

    (void)state;
    for (size_t i = 0; i < ROWS(dead); i++) {
        reach(dead[i], SES_STATES, seen);
        for (unsigned s = 0; s < SES_STATES; s++)
            assert_true(!seen[s] || s == SES_SWALLOW || s == SES_LOST || s == SES_CLOSED);
    }
    reach(SES_REFUSED, SES_STATES, seen);
    for (unsigned s = 0; s < SES_STATES; s++)
        assert_true(!seen[s] || s == SES_REFUSED || s == SES_QUIT || s == SES_CLOSED);
}

static void
test_names(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SES_STATES; s++) {
        assert_non_null(session_state_name((enum session_state)s));
        for (unsigned t = 0; t < s; t++)
            assert_string_not_equal(session_state_name((enum session_state)s),
                                    session_state_name((enum session_state)t));
    }
    for (unsigned e = 0; e < SEV_EVENTS; e++) {
        assert_non_null(session_event_name((enum session_event)e));
        for (unsigned t = 0; t < e; t++)
            assert_string_not_equal(session_event_name((enum session_event)e),
                                    session_event_name((enum session_event)t));
    }
    assert_string_equal(session_state_name(SES_STATES), "?");
    assert_string_equal(session_event_name(SEV_EVENTS), "?");
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_rows_are_whole),     cmocka_unit_test(test_none_stays),
        cmocka_unit_test(test_closed_is_final),    cmocka_unit_test(test_all_is_reachable),
        cmocka_unit_test(test_all_can_end),        cmocka_unit_test(test_no_way_around_judge),
        cmocka_unit_test(test_lost_is_a_dead_end), cmocka_unit_test(test_names),
    };
    struct CMUnitTest tests[ROWS(expected) + ROWS(gates) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(expected); i++)
        tests[n++] = (struct CMUnitTest){ .name = session_event_name(expected[i].event),
                                          .test_func = test_event,
                                          .initial_state = (void *)(uintptr_t)&expected[i] };
    for (size_t i = 0; i < ROWS(gates); i++)
        tests[n++] = (struct CMUnitTest){ .name = gates[i].name,
                                          .test_func = test_gate,
                                          .initial_state = (void *)(uintptr_t)&gates[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("session_state", tests, NULL, NULL);
}
