/* proxy/session_fuzz.c: client, MX, clock, policy process and handshakes, all out of one input,
 * around the real session; tests/proxy/session_model.h says what must hold after every step.
 *
 * The input: octets that say who is there and who demands what (tests/proxy/session_settings.h),
 * then steps. A step is one octet, its low half what happens, its high half how; some take octets
 * of text behind it. With SESSION_RAW the steps are only the text of both sides, and the world
 * answers by itself. At the end time passes until the session is over, which it must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/proxy/session_model.h"
#include "tests/proxy/session_settings.h"

#define AUTO_STEPS 40u    /* of the world in a row */
#define LAST_TIMEOUTS 12u /* more than any session needs to end */
#define INPUT_MAX 4096u   /* so that records and pipes suffice */

enum step {
    STEP_CLIENT_LINE,
    STEP_CLIENT_TEXT,
    STEP_MX_REPLY, /* as an honest one would */
    STEP_MX_LINE,  /* as it would not */
    STEP_MX_TEXT,
    STEP_CONNECTED,
    STEP_TLS,
    STEP_ANSWER,
    STEP_WAIT,
    STEP_MX_CLOSES,
    STEP_CLIENT_CLOSES,
    STEP_SITE,
    STEP_CLIENT_RARE,
    STEP_SOCKETS,
    STEP_AUTO, /* the world does what is expected of it, until nobody waits for it */
    STEP_BOTH_TEXTS,
};

static const char *const client_lines[16] = {
    "EHLO client.example\r\n",
    "MAIL FROM:<s@c.example>\r\n",
    "RCPT TO:<u@a.example>\r\n",
    "RCPT TO:<u@b.example>\r\n",
    "RCPT TO:<u@d.example>\r\n",
    "RCPT TO:<u@[192.0.2.9]>\r\n",
    "DATA\r\n",
    "a line\r\n..\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "RSET\r\nNOOP\r\n",
    "QUIT\r\n",
    "EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<v@a.example>\r\nDATA\r\n",
    "MAIL FROM:<s@c.example> SIZE=9 RET=HDRS\r\nRCPT TO:<w@b.example> NOTIFY=NEVER\r\n",
    "text\n.\nMAIL FROM:<x@c.example>\r\n",
    "HELO client.example\r\nSTARTTLS\r\nVRFY u\r\nHELP\r\n",
};

static const char *const client_rare[16] = {
    "STARTTLS\r\nMAIL FROM:<evil@c.example>\r\n",
    "BDAT 4\r\na\n.\n",
    "BDAT 3 LAST\r\nxyz",
    "BDAT 0\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 9 LAST\r\nabc",
    "BDAT 6\r\nDATA\r\n",
    "BDAT x\r\n",
    "BDAT 5\r\n\r\n.\r\nBDAT 2 LAST\r\n\r\n",
    "STARTTLS\r\n",
    "MAIL FROM:<s@c.example> REQUIRETLS\r\n",
    "MAIL FROM:<> REQUIRETLS\r\n",
    "AUTH PLAIN AHUAcA==\r\n",
    "AUTH LOGIN\r\n",
    "dQ==\r\n",
    "RSET\nMAIL FROM:<s@c.example>\nRCPT TO:<u@a.example>\n",
};

static const char *const mx_lines[16] = {
    "421 bye\r\n",      "450 later\r\n",      "550 no\r\n",         "552 too big\r\n",
    "250 ok\r\n",       "354 go\r\n",         "220 mx.example\r\n", "250-mx.example\r\n",
    "250-STARTTLS\r\n", "250 PIPELINING\r\n", "221 bye\r\n",        "25",
    "0 x\r\n",          "250 ok\n",           "999 what\r\n",       "454 no TLS\r\n",
};

/* ---- what happens ---- */

static void
connected(struct world *w, unsigned how)
{
    if (w->leg == LEG_CONNECTING)
        world_connected(w, how != 15);
}

/* The name that the certificate shows. */
static void
show_name(struct observation *obs, const struct world *w, unsigned how)
{
    const char *name = how & 4 ? "mx.wrong.example" : w->sni;

    if (name_list_add(&obs->sans, span_of(name)) != RES_OK)
        abort();
}

static void
tls_over(struct world *w, unsigned how)
{
    const struct observation *before = session_observation(w->session);
    struct observation *obs;

    if (w->client_tls == CLIENT_HANDSHAKE) {
        world_client_tls_over(w, how < 13);
        return;
    }
    if (w->leg != LEG_HANDSHAKE)
        return;
    obs = observation_new();
    if (!obs)
        abort();
    obs->starttls_offered = before->starttls_offered;
    obs->starttls_code = before->starttls_code;
    obs->floor = w->floor;
    obs->trust = w->trust;
    obs->ticket_offered = w->has_tickets && w->tls_bad == 0;
    snprintf(obs->sni, sizeof obs->sni, "%s", w->sni);
    if (how >= 13) {
        obs->stage = TLS_STAGE_FAILED;
        obs->failure = how == 13   ? TLS_FAILURE_VERSION
                       : how == 14 ? TLS_FAILURE_HANDSHAKE
                                   : TLS_FAILURE_TIMEOUT;
    } else {
        w->key = how & 8 ? 0 : SESSION_GOOD_KEY;
        obs->stage = TLS_STAGE_DONE;
        obs->resumed = obs->ticket_offered;
        obs->chain = how & 2 ? how & 1 ? CHAIN_EXPIRED : CHAIN_UNTRUSTED : CHAIN_GOOD;
        obs->version = how & 8 ? w->floor : TLS_VERSION_1_3;
        show_name(obs, w, how);
    }
    w->mx_owes = false;
    world_tls_over(w, obs);
}

static void
answer(struct world *w, unsigned how)
{
    if (!w->waiting)
        return;
    for (size_t i = 0; i < w->answer_count; i++)
        if (how != 15 && strcmp(w->answers[i].domain, w->asked) == 0 &&
            w->answers[i].recheck == w->asked_recheck && w->answers[i].req) {
            world_answer(w, requirement_ref(w->answers[i].req));
            return;
        }
    world_answer(w, NULL);
}

static const char *
honest_reply(enum model_owed owed, unsigned how)
{
    switch (owed) {
    case OWES_NOTHING:
        break;
    case OWES_GREETING:
        return "220 mx.example ESMTP\r\n";
    case OWES_EHLO:
        return how & 1   ? "250-mx.example\r\n250-8BITMIME\r\n250 DSN\r\n"
               : how & 2 ? "250 mx.example\r\n"
               : how & 4 ? "250-mx.example\r\n250-STARTTLS\r\n250-SIZE\r\n250 XCLIENT NAME\r\n"
                         : "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 9\r\n250-8BITMIME\r\n"
                           "250-DSN\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250-REQUIRETLS\r\n"
                           "250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n";
    case OWES_STARTTLS:
        return "220 go ahead\r\n";
    case OWES_DATA:
        return "354 go ahead\r\n";
    case OWES_AUTH:
        return how & 1 ? "334 \r\n" : how & 2 ? "535 no\r\n" : "235 welcome\r\n";
    case OWES_QUIT:
        return "221 bye\r\n";
    case OWES_HELO:
    case OWES_MAIL:
    case OWES_RCPT:
    case OWES_CHUNK:
    case OWES_FINAL:
    case OWES_RSET:
        return "250 ok\r\n";
    }
    return "";
}

/* Bytes into a socket, unless more wait there than a world should hold. */
static void
send_bytes(struct world *w, bool from_client, struct span bytes)
{
    const struct pipe_bytes *pipe = from_client ? &w->from_client : &w->from_mx;

    if (pipe->end > WORLD_PIPE_BYTES / 8)
        return;
    if (from_client)
        world_client_sends(w, bytes);
    else if (w->leg != LEG_CONNECTING && w->leg != LEG_HANDSHAKE)
        world_mx_sends(w, bytes);
    world_pump(w);
}

static void
act(struct session_model *m, unsigned how)
{
    struct world *w = m->w;

    for (unsigned i = 0; i < AUTO_STEPS && !w->closed; i++) {
        const char *reply = honest_reply(session_model_owed(m), how);

        if (w->leg == LEG_CONNECTING)
            connected(w, 0);
        else if (w->leg == LEG_HANDSHAKE || w->client_tls == CLIENT_HANDSHAKE)
            tls_over(w, 0);
        else if (w->waiting)
            answer(w, 0);
        else if (*reply && w->leg != LEG_CLOSED)
            send_bytes(w, false, span_of(reply));
        else
            return;
        session_model_check(m);
    }
}

/* Some octets of the input as text: a first one says how many. */
static struct span
take_text(struct span *input)
{
    size_t len = input->len ? (unsigned char)input->ptr[0] & 0x3f : 0;
    struct span text = span_first(span_from(*input, 1), len);

    *input = span_from(*input, 1 + len);
    return text;
}

static void
time_passes(struct world *w, unsigned how)
{
    if (how & 1 && w->leg == LEG_HANDSHAKE)
        tls_over(w, 15); /* its owner has the timer */
    else if (how & 1 && w->timer_at_ms > w->now_ms)
        world_wait(w, w->timer_at_ms - w->now_ms);
    else if (w->leg != LEG_HANDSHAKE)
        world_wait(w, 1000 << (how >> 1));
}

/* What happens around all sessions: records pile up or do not, a policy is news, the worker is to
 * end, or ends. */
static void
site(struct world *w, unsigned how)
{
    if (how == 8)
        w->records_full = !w->records_full;
    else if (how == 9)
        w->epoch++;
    else if (how == 10)
        session_cut(w->session);
    else
        session_drain(w->session, how & 1);
    world_pump(w);
}

static void
step(struct session_model *m, unsigned what, unsigned how, struct span *input)
{
    struct world *w = m->w;

    switch ((enum step)what) {
    case STEP_CLIENT_LINE:
        send_bytes(w, true, span_of(client_lines[how]));
        return;
    case STEP_CLIENT_TEXT:
        send_bytes(w, true, take_text(input));
        return;
    case STEP_MX_REPLY:
        send_bytes(w, false, span_of(honest_reply(session_model_owed(m), how)));
        return;
    case STEP_MX_LINE:
        send_bytes(w, false, span_of(mx_lines[how]));
        return;
    case STEP_MX_TEXT:
        send_bytes(w, false, take_text(input));
        return;
    case STEP_CONNECTED:
        connected(w, how);
        return;
    case STEP_TLS:
        tls_over(w, how);
        return;
    case STEP_ANSWER:
        answer(w, how);
        return;
    case STEP_WAIT:
        time_passes(w, how);
        return;
    case STEP_MX_CLOSES:
        if (w->leg != LEG_CONNECTING)
            world_mx_closes(w);
        return;
    case STEP_CLIENT_CLOSES:
        if (how == 15) /* the fuzzer likes to end things */
            world_client_closes(w);
        return;
    case STEP_SITE:
        site(w, how);
        return;
    case STEP_CLIENT_RARE:
        send_bytes(w, true, span_of(client_rare[how]));
        return;
    case STEP_SOCKETS:
        session_settings_sockets(w, how);
        return;
    case STEP_AUTO:
        act(m, how);
        return;
    case STEP_BOTH_TEXTS: /* the MX's is there before either is read */
        if (w->leg == LEG_CLEAR || w->leg == LEG_TLS)
            world_mx_sends(w, take_text(input));
        send_bytes(w, true, take_text(input));
        return;
    }
}

/* The world ends: nobody says anything any more. Commands that wait in a pipeline may each take
 * their time. */
static void
wind_up(struct session_model *m)
{
    struct world *w = m->w;
    size_t waiting = SIZE_MAX;

    for (unsigned i = 0; i < LAST_TIMEOUTS && !w->closed; i++) {
        size_t now = m->stream_len + pipe_span(&w->from_client).len;

        if (now < waiting)
            i = 0;
        waiting = now;
        time_passes(w, 1);
        session_model_check(m);
    }
    if (!w->closed)
        fail_msg("it does not end: state %s", session_state_name(session_state(w->session)));
}

static void
converse(struct session_model *m, bool raw, struct span input)
{
    struct world *w = m->w;

    while (input.len && !w->closed) {
        unsigned octet = (unsigned char)input.ptr[0];

        if (raw) {
            send_bytes(w, !(octet & 0x40), take_text(&input));
            act(m, 0);
        } else {
            input = span_from(input, 1);
            step(m, octet & 0xf, octet >> 4, &input);
        }
        session_model_check(m);
        w->record_count = 0;
        pipe_consume(&w->client, pipe_span(&w->client).len);
        pipe_consume(&w->mx, pipe_span(&w->mx).len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct session_model model;
    struct span input = span_make(data, size);
    struct world *w;

    if (size < SESSION_SETTINGS || size > INPUT_MAX)
        return 0;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failure ends the program, as fuzzers want it */
    w = session_settings_world(data);
    session_model_watch(&model, w);
    if (!world_start(w))
        abort();
    converse(&model, data[0] & SESSION_RAW, span_from(input, SESSION_SETTINGS));
    if (w->session)
        wind_up(&model);
    world_free(w);
    return 0;
}
