/* proxy/starttls_fuzz.c: any bytes of the MX in reply to STARTTLS, in any pieces, around the real
 * session. Promises: a handshake follows on one whole 220 with nothing behind it and on nothing
 * else (RFC 3207 6, TLS-008); a recipient that needs TLS is never named in clear.
 *
 * The input: one octet, how many bytes are read at once (0: all there are), then what the MX says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "tests/proxy/session_world.h"

#define INPUT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

/* The domain of the conversation demands TLS. */
static void
add_domain(struct world *w)
{
    struct world_answer answer = { .domain = "a.example", .req = requirement_new() };

    must(answer.req != NULL);
    answer.req->matched = MX_MATCH_ADDRESS;
    answer.req->local.action = RULE_REQUIRE;
    answer.req->tls_floor = TLS_VERSION_1_2;
    must(name_list_add(&answer.req->names, span_of("mx.example")) == RES_OK);
    world_add_answer(w, &answer);
}

/* A conversation to the point where the MX owes its reply to STARTTLS. */
static struct world *
make_world(void)
{
    struct world *w = world_new();

    add_domain(w);
    must(world_start(w));
    world_connected(w, true);
    world_mx_sends(w, span_of("220 mx.example ESMTP\r\n"));
    world_pump(w);
    world_client_sends(w, span_of("EHLO client.example\r\n"));
    world_pump(w);
    world_mx_sends(w, span_of("250-mx.example\r\n250 STARTTLS\r\n"));
    world_pump(w);
    world_client_sends(w, span_of("MAIL FROM:<s@c.example>\r\nRCPT TO:<u@a.example>\r\n"));
    world_pump(w);
    must(session_state(w->session) == SES_STARTTLS);
    return w;
}

/* One line of a 220: "220-" or "220 " (or nothing) and printable text. Its length, 0 for anything
 * else; *out_last is for the last line. */
static size_t
line_of_220(struct span text, bool *out_last)
{
    size_t end = span_find(text, '\n');

    if (end == text.len || end < 4 || text.ptr[end - 1] != '\r' ||
        !span_starts(text, span_of("220")))
        return 0;
    *out_last = text.ptr[3] != '-';
    if (*out_last && text.ptr[3] != ' ' && end != 4)
        return 0;
    for (size_t i = 4; i + 1 < end; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return 0;
    return end + 1;
}

/* A short 220 as an honest MX writes it, and nothing else. */
static bool
is_plain_220(struct span text)
{
    bool last = false;

    if (text.len > 400)
        return false;
    while (!last) {
        size_t len = line_of_220(text, &last);

        if (len == 0)
            return false;
        text = span_from(text, len);
    }
    return text.len == 0;
}

/* No honest one: another code, no end, or more than one line that could be the last. */
static bool
cannot_be_220(struct span text)
{
    size_t lasts = 0;

    if (!span_starts(text, span_of("220")) || text.ptr[text.len - 1] != '\n')
        return true;
    while (text.len) {
        lasts += text.len < 4 || text.ptr[3] != '-';
        text = span_from(text, span_find(text, '\n') + 1);
    }
    return lasts != 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span reply = span_from(span_make(data, size), 1);
    struct world *w;
    bool handshake;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failure ends the program, as fuzzers want it */
    w = make_world();
    pipe_consume(&w->mx, pipe_span(&w->mx).len);
    w->mx_step = data[0];
    world_mx_sends(w, reply);
    world_pump(w);
    handshake = w->leg == LEG_HANDSHAKE;
    must(!handshake || !cannot_be_220(reply));
    must(handshake || !is_plain_220(reply));
    if (!w->closed)
        world_client_closes(w);
    must(memmem(w->mx.bytes, w->mx.end, "a.example", 9) == NULL);
    world_free(w);
    return 0;
}
