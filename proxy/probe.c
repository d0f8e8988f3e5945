#include "proxy/probe.h"

#include "base/log.h"
#include "proxy/intercept.h"
#include "proxy/mx_side.h"

#include <stdio.h>
#include <stdlib.h>

/* What the client says, one after the other. */
enum line { LINE_EHLO, LINE_MAIL, LINE_RCPT, LINE_QUIT, LINES };

struct probe {
    const struct probe_shared *shared;
    char domain[HOSTNAME_MAX + 1];
    struct session *session;
    struct mx_side side;
    ev_timer end; /* never started, only fed: done() from the loop */
    enum line next;
    bool passes;  /* the recipient's verdict allows it: MAIL would be sent now */
    bool closing; /* the session is over */
    bool over;
    int64_t started_ms;
    struct probe_result result;
    probe_done *done;
    void *arg;
};

static struct probe *
probe_of(void *io)
{
    const struct mx_side *side = io;

    return side->owner;
}

static void
finish_soon(struct probe *p)
{
    ev_feed_event(p->shared->world.loop, &p->end, EV_CUSTOM);
}

/* ---- what the session asks for ---- */

/* Of a reply of several lines the last octets matter least. */
static void
keep_reply(struct probe *p, struct span reply)
{
    while (reply.len && (reply.ptr[reply.len - 1] == '\n' || reply.ptr[reply.len - 1] == '\r'))
        reply.len--;
    snprintf(p->result.reply, sizeof p->result.reply, "%.*s",
             (int)(reply.len < PROBE_REPLY_MAX ? reply.len : PROBE_REPLY_MAX - 1), reply.ptr);
}

static void
op_to_client(void *io, struct span bytes)
{
    struct probe *p = probe_of(io);

    if (p->next < LINES && p->result.end != PROBE_JUDGED) /* not the answer to QUIT */
        keep_reply(p, bytes);
}

/* The first command of a transaction is the last that the MX is not told. */
static void
op_to_mx(void *io, struct span bytes)
{
    struct probe *p = probe_of(io);
    enum session_state state = session_state(p->session);

    p->passes |= state == SES_MAIL || state == SES_RCPT || state == SES_CLEAN;
    if (!p->passes)
        mx_leg_send(&p->side.leg, bytes);
}

static bool
op_client_is_quiet(void *io)
{
    (void)io;
    return true;
}

/* The client made up here never asks for TLS. */
static void
op_never(void *io)
{
    (void)io;
}

static struct span
op_recall_list(void *io)
{
    (void)io;
    return span_of("");
}

static void
op_learn_list(void *io, struct span list, bool proven)
{
    (void)io, (void)list, (void)proven;
}

static bool
op_can_record(void *io)
{
    (void)io;
    return true;
}

static void
op_record_recipient(void *io, const struct record_recipient *record)
{
    struct probe *p = probe_of(io);
    struct probe_result *r = &p->result;
    struct record_recipient shown = *record;
    struct requirement *req = (struct requirement *)(uintptr_t)record->req; /* for its references */

    if (r->end == PROBE_JUDGED)
        return;
    r->end = PROBE_JUDGED;
    r->obs = observation_ref((struct observation *)(uintptr_t)record->obs);
    if (req->refs) /* else it stands in for one that was not to be had, and does not last */
        r->req = requirement_ref(req);
    r->dane = *record->dane;
    r->verdict = *record->verdict;
    snprintf(r->reply_id, sizeof r->reply_id, "%s", record->reply_id);
    keep_reply(p, record->reply);
    if (p->passes)
        shown.outcome = "allowed";
    if (record_encode_recipient(&shown, &r->record) != RES_OK)
        log_error("event=record-lost domain=%s", p->domain);
}

static void
op_record_session(void *io, const struct record_session_end *record)
{
    (void)io, (void)record;
}

/* No mail was sent, so no domain hears of a failure. */
static void
op_report(void *io, const struct tls_report *report)
{
    (void)io, (void)report;
}

static void
op_close(void *io)
{
    struct probe *p = probe_of(io);

    p->closing = true;
}

static const struct session_ops ops = {
    .to_client = op_to_client,
    .to_mx = op_to_mx,
    .mx_backlog = mx_side_backlog,
    .mx_is_quiet = mx_side_is_quiet,
    .client_is_quiet = op_client_is_quiet,
    .connect = mx_side_connect,
    .start_tls = mx_side_start_tls,
    .check_dane = mx_side_check_dane,
    .start_client_tls = op_never,
    .tls_verdict = mx_side_tls_verdict,
    .pass_through = op_never,
    .hang_up = mx_side_hang_up,
    .engine = mx_side_engine,
    .ask = mx_side_ask,
    .policy_epoch = mx_side_policy_epoch,
    .known = mx_side_known,
    .forget = mx_side_forget,
    .recall_list = op_recall_list,
    .learn_list = op_learn_list,
    .set_timer = mx_side_set_timer_ms,
    .can_record = op_can_record,
    .record_recipient = op_record_recipient,
    .record_session = op_record_session,
    .report = op_report,
    .close = op_close,
};

/* ---- the conversation ---- */

static void
say(struct probe *p, const char *fmt, const char *argument)
{
    char line[HOSTNAME_MAX + 64];
    int len = snprintf(line, sizeof line, fmt, argument);

    session_client_input(p->session, span_make(line, (size_t)len));
}

/* The next line, as soon as the one before has its reply. Where that is a refusal nothing but QUIT
 * makes sense. */
static void
go_on(struct probe *p)
{
    enum line line = p->next++;

    if (line < LINE_QUIT && p->result.reply[0] != '2')
        line = LINE_QUIT;
    if (line == LINE_QUIT)
        p->next = LINES;
    switch (line) {
    case LINE_EHLO:
        say(p, "EHLO %s\r\n",
            *p->shared->config->hostname ? p->shared->config->hostname : "localhost");
        return;
    case LINE_MAIL:
        say(p, "MAIL FROM:<postmaster@%s>\r\n", p->domain);
        return;
    case LINE_RCPT:
        say(p, "RCPT TO:<postmaster@%s>\r\n", p->domain);
        return;
    case LINE_QUIT:
        say(p, "QUIT\r\n%s", "");
        return;
    case LINES:
        return;
    }
}

/* The verdict is known, and the MX need not know more. */
static void
take_leave(struct probe *p)
{
    mx_leg_send(&p->side.leg, span_of("QUIT\r\n"));
    mx_leg_close(&p->side.leg, HANG_UP_POLITE);
    session_client_gone(p->session);
}

/* After every event. */
static void
update(struct probe *p)
{
    if (p->over)
        return;
    mx_leg_flush(&p->side.leg);
    while (!p->closing && !p->passes && p->next < LINES && session_wants_client(p->session))
        go_on(p);
    if (p->passes && !p->closing)
        take_leave(p);
    mx_leg_flush(&p->side.leg);
    p->over = p->closing;
    if (p->over)
        finish_soon(p);
}

static void
on_timeout(void *owner)
{
    struct probe *p = owner;

    if (session_state(p->session) == SES_CONNECT)
        p->result.end = PROBE_UNREACHABLE;
    mx_side_timeout(&p->side);
    update(p);
}

static void
on_connected(void *owner, bool ok)
{
    struct probe *p = owner;

    if (!ok && p->next == LINE_EHLO)
        p->result.end = PROBE_UNREACHABLE;
}

static void
on_update(void *owner)
{
    update(owner);
}

static const struct mx_side_owner side_owner = {
    .connected = on_connected,
    .timeout = on_timeout,
    .update = on_update,
};

/* ---- life ---- */

static void
on_end(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct probe *p = w->data;
    struct probe_result result;

    (void)loop, (void)revents;
    mx_side_close(&p->side, HANG_UP_POLITE);
    session_free(p->session);
    result = p->result;
    result.elapsed_ms = (unsigned)(clock_mono_ms(&p->shared->world.clock) - p->started_ms);
    p->done(p->arg, &result);
    free(p);
}

static struct record_session_info
info_of(const struct probe *p)
{
    static const struct ip_addr here4 = { .len = 4, .bytes = { 127, 0, 0, 1 } },
                                here6 = { .len = 16, .bytes = { [15] = 1 } };

    return (struct record_session_info){
        .id = "check",
        .client = p->result.destination.len == 4 ? here4 : here6,
        .destination = p->result.destination,
        .destination_port = p->result.port,
        .client_starttls = CLIENT_STARTTLS_HIDE,
    };
}

enum result
probe_start(const struct probe_shared *shared, const char *domain,
            const struct ip_addr *destination, uint16_t port, probe_done *done, void *arg)
{
    struct probe *p = calloc(1, sizeof *p);
    struct record_session_info info;
    const char *forbidden;

    if (!p)
        return RES_NOMEM;
    p->shared = shared;
    snprintf(p->domain, sizeof p->domain, "%s", domain);
    p->result = (struct probe_result){ .destination = *destination,
                                       .port = port,
                                       .end = PROBE_UNJUDGED,
                                       .forbidden = "",
                                       .verdict = { .rule = "", .mx = "", .detail = "" } };
    buffer_init(&p->result.record, RECORD_MAX_BYTES);
    p->done = done;
    p->arg = arg;
    p->started_ms = clock_mono_ms(&shared->world.clock);
    info = info_of(p);
    p->session = session_new(&ops, &p->side, shared->config, &shared->world.clock, &info);
    if (!p->session) {
        free(p);
        return RES_NOMEM;
    }
    mx_side_init(&p->side, &shared->world, &side_owner, p);
    p->side.session = p->session;
    p->side.asks_anew = true;
    ev_init(&p->end, on_end);
    p->end.data = p;
    forbidden = intercept_refuses(destination, port, false, shared->config);
    if (forbidden) {
        p->result.end = PROBE_FORBIDDEN;
        p->result.forbidden = forbidden;
        p->over = true;
        finish_soon(p);
        return RES_OK;
    }
    session_start(p->session);
    update(p);
    return RES_OK;
}
