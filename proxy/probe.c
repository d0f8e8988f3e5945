#include "proxy/probe.h"

#include "base/log.h"
#include "proxy/intercept.h"
#include "proxy/mx_leg.h"
#include "tls/dane.h"

#include <stdio.h>
#include <stdlib.h>

/* What the client says, one after the other. */
enum line { LINE_EHLO, LINE_MAIL, LINE_RCPT, LINE_QUIT, LINES };

struct probe {
    const struct probe_shared *shared;
    char domain[HOSTNAME_MAX + 1];
    struct session *session;
    struct mx_leg mx;
    struct policy_question *question; /* NULL: none is open */
    ev_timer timer;
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

static void
finish_soon(struct probe *p)
{
    ev_feed_event(p->shared->loop, &p->end, EV_CUSTOM);
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
    struct probe *p = io;

    if (p->next < LINES && p->result.end != PROBE_JUDGED) /* not the answer to QUIT */
        keep_reply(p, bytes);
}

/* The first command of a transaction is the last that the MX is not told. */
static void
op_to_mx(void *io, struct span bytes)
{
    struct probe *p = io;
    enum session_state state = session_state(p->session);

    p->passes |= state == SES_MAIL || state == SES_RCPT || state == SES_CLEAN;
    if (!p->passes)
        mx_leg_send(&p->mx, bytes);
}

static size_t
op_mx_backlog(void *io)
{
    const struct probe *p = io;

    return mx_leg_backlog(&p->mx);
}

static bool
op_mx_is_quiet(void *io)
{
    const struct probe *p = io;

    return mx_leg_is_quiet(&p->mx);
}

static bool
op_client_is_quiet(void *io)
{
    (void)io;
    return true;
}

static void
op_connect(void *io)
{
    struct probe *p = io;

    mx_leg_connect(&p->mx, NULL, &p->result.destination, p->result.port, p->shared->mark);
}

static void
op_start_tls(void *io, const char *sni, uint16_t floor, uint16_t trust)
{
    struct probe *p = io;

    mx_leg_start_tls(&p->mx, trust < p->shared->root_count ? p->shared->roots[trust] : NULL, sni,
                     floor, trust, session_observation(p->session));
}

static bool
op_check_dane(void *io, const struct peer_chain *chain, const struct requirement *req,
              struct dane_facts *out)
{
    const struct probe *p = io;

    return dane_check(chain, req->dane.hosts, req->dane.host_count, clock_wall_s(&p->shared->clock),
                      out) == RES_OK;
}

/* The client made up here never asks for TLS. */
static void
op_never(void *io)
{
    (void)io;
}

static void
op_tls_verdict(void *io, bool good)
{
    struct probe *p = io;

    mx_leg_tls_verdict(&p->mx, good);
}

static void
op_hang_up(void *io, enum hang_up how)
{
    struct probe *p = io;

    mx_leg_close(&p->mx, how);
}

static void update(struct probe *p);

static void
on_answer(void *arg, struct requirement *req)
{
    struct probe *p = arg;

    p->question = NULL;
    session_requirement(p->session, req);
    update(p);
}

/* As for a client on this host. */
static struct policy_subject
subject_of(const struct probe *p, const char *domain)
{
    return (struct policy_subject){ .domain = domain,
                                    .destination = p->result.destination,
                                    .port = p->result.port,
                                    .client = session_info(p->session)->client };
}

static bool
op_ask(void *io, const char *domain, bool recheck, struct requirement **out)
{
    struct probe *p = io;
    const struct policy_subject subject = subject_of(p, domain);

    *out = NULL;
    p->question = policy_client_ask(p->shared->policy, &subject, recheck, on_answer, p);
    return p->question != NULL;
}

static unsigned
op_policy_epoch(void *io)
{
    const struct probe *p = io;

    return policy_client_epoch(p->shared->policy);
}

static struct requirement *
op_known(void *io, const char *domain)
{
    (void)io, (void)domain;
    return NULL;
}

static void
op_forget(void *io)
{
    struct probe *p = io;

    if (p->question)
        policy_question_forget(p->question);
    p->question = NULL;
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

static void
op_set_timer(void *io, unsigned ms)
{
    struct probe *p = io;

    p->timer.repeat = ms / 1000.;
    ev_timer_again(p->shared->loop, &p->timer); /* a repeat of 0 stops it */
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
    struct probe *p = io;
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
    struct probe *p = io;

    p->closing = true;
}

static const char *
op_engine(void *io, const char **out_reason)
{
    const struct probe *p = io;

    return mx_leg_engine(&p->mx, out_reason);
}

static const struct session_ops ops = {
    .engine = op_engine,
    .to_client = op_to_client,
    .to_mx = op_to_mx,
    .mx_backlog = op_mx_backlog,
    .mx_is_quiet = op_mx_is_quiet,
    .client_is_quiet = op_client_is_quiet,
    .connect = op_connect,
    .start_tls = op_start_tls,
    .check_dane = op_check_dane,
    .start_client_tls = op_never,
    .tls_verdict = op_tls_verdict,
    .pass_through = op_never,
    .hang_up = op_hang_up,
    .ask = op_ask,
    .policy_epoch = op_policy_epoch,
    .known = op_known,
    .forget = op_forget,
    .recall_list = op_recall_list,
    .learn_list = op_learn_list,
    .set_timer = op_set_timer,
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
    mx_leg_send(&p->mx, span_of("QUIT\r\n"));
    mx_leg_close(&p->mx, HANG_UP_POLITE);
    session_client_gone(p->session);
}

/* After every event. */
static void
update(struct probe *p)
{
    if (p->over)
        return;
    mx_leg_flush(&p->mx);
    while (!p->closing && !p->passes && p->next < LINES && session_wants_client(p->session))
        go_on(p);
    if (p->passes && !p->closing)
        take_leave(p);
    mx_leg_flush(&p->mx);
    p->over = p->closing;
    if (p->over)
        finish_soon(p);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct probe *p = w->data;

    (void)revents;
    ev_timer_stop(loop, w);
    if (session_state(p->session) == SES_CONNECT)
        p->result.end = PROBE_UNREACHABLE;
    if (session_state(p->session) == SES_HANDSHAKE)
        mx_leg_handshake_timeout(&p->mx);
    else
        session_timeout(p->session);
    update(p);
}

static void
on_connected(void *owner, bool ok)
{
    struct probe *p = owner;

    if (!ok && p->next == LINE_EHLO)
        p->result.end = PROBE_UNREACHABLE;
    if (ok)
        mx_leg_local(&p->mx, &session_observation(p->session)->local);
    session_connected(p->session, ok);
    update(p);
}

static void
on_input(void *owner, struct span bytes)
{
    struct probe *p = owner;

    session_mx_input(p->session, bytes);
    update(p);
}

static void
on_tls_over(void *owner, struct observation *obs)
{
    struct probe *p = owner;

    session_tls_over(p->session, obs);
    update(p);
}

static void
on_writable(void *owner)
{
    update(owner);
}

static void
on_gone(void *owner)
{
    struct probe *p = owner;

    session_mx_gone(p->session);
    update(p);
}

static const struct mx_leg_handler handler = {
    .connected = on_connected,
    .input = on_input,
    .tls_over = on_tls_over,
    .writable = on_writable,
    .gone = on_gone,
};

/* ---- life ---- */

static void
on_end(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct probe *p = w->data;
    struct probe_result result;

    (void)revents;
    ev_timer_stop(loop, &p->timer);
    op_forget(p);
    mx_leg_close(&p->mx, HANG_UP_POLITE);
    session_free(p->session);
    result = p->result;
    result.elapsed_ms = (unsigned)(clock_mono_ms(&p->shared->clock) - p->started_ms);
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
    p->started_ms = clock_mono_ms(&shared->clock);
    info = info_of(p);
    p->session = session_new(&ops, p, shared->config, &shared->clock, &info);
    if (!p->session) {
        free(p);
        return RES_NOMEM;
    }
    mx_leg_init(&p->mx, shared->loop, &handler, p, shared->scratch, &shared->clock);
    ev_init(&p->timer, on_timer);
    ev_init(&p->end, on_end);
    p->timer.data = p->end.data = p;
    forbidden = intercept_refuses(destination, port, shared->config);
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
