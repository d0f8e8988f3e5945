#include "proxy/connection.h"

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/client_leg.h"
#include "proxy/counters.h"
#include "proxy/ehlo_memory.h"
#include "proxy/mx_leg.h"
#include "proxy/relay.h"
#include "proxy/session_view.h"
#include "proxy/status_msg.h"
#include "proxy/top_refused.h"
#include "tls/dane.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_HIGH_WATER (64u * 1024u)   /* beyond it the client is not read */
#define COMMAND_READ_BYTES (16u * 1024u)  /* of pipelined commands at a time */
#define CONTENT_READ_BYTES (192u * 1024u) /* 12 records: one gathered send (DESIGN 5) */
#define LINGER_S 2.                       /* for the client to read the last reply */
#define LINGER_BYTES_MAX (1024u * 1024u)  /* of what it still sends meanwhile */

struct connection {
    struct connection_shared *shared;
    struct connection *next, **link; /* in shared->first, later in shared->finished */
    uint64_t number;                 /* in the order of arrival, 1 .. */
    struct session *session;
    struct client_leg client;
    bool passing; /* it is: the sockets go on without it, once the client has its reply (PRX-040) */
    bool closing; /* the session is over: what waits is sent, then the rest is read away */
    bool lingering;
    size_t lingered;
    bool over;
    bool passed_on; /* the relay has its place now */
    struct mx_leg mx;
    struct policy_question *question; /* NULL: none is open */
    ev_io readable, writable;
    ev_timer timer;
};

/* ---- what the session asks for ---- */

static void
op_to_client(void *io, struct span bytes)
{
    struct connection *c = io;

    client_leg_send(&c->client, bytes); /* if it breaks, update() ends the session */
}

static void
op_to_mx(void *io, struct span bytes)
{
    struct connection *c = io;

    mx_leg_send(&c->mx, bytes);
}

static size_t
op_mx_backlog(void *io)
{
    const struct connection *c = io;

    return mx_leg_backlog(&c->mx);
}

static bool
op_mx_is_quiet(void *io)
{
    const struct connection *c = io;

    return mx_leg_is_quiet(&c->mx);
}

static bool
op_client_is_quiet(void *io)
{
    const struct connection *c = io;

    return client_leg_is_quiet(&c->client);
}

static void
op_connect(void *io)
{
    struct connection *c = io;
    const struct record_session_info *info = session_info(c->session);

    mx_leg_connect(&c->mx, c->shared->config->upstream_as_client ? &info->client : NULL,
                   &info->destination, info->destination_port, c->shared->config->upstream_mark);
}

static void
op_start_tls(void *io, const char *sni, uint16_t floor, uint16_t trust)
{
    struct connection *c = io;

    mx_leg_start_tls(&c->mx, trust < c->shared->tls_count ? c->shared->tls[trust] : NULL, sni,
                     floor, trust, session_observation(c->session));
}

static bool
op_check_dane(void *io, const struct peer_chain *chain, const struct requirement *req,
              struct dane_facts *out)
{
    const struct connection *c = io;

    return dane_check(chain, req->dane.hosts, req->dane.host_count, clock_wall_s(&c->shared->clock),
                      out) == RES_OK;
}

static void
op_start_client_tls(void *io)
{
    struct connection *c = io;

    client_leg_start_tls(&c->client, c->shared->client_tls, c->shared->scratch,
                         MX_LEG_SCRATCH_BYTES);
}

static void
op_tls_verdict(void *io, bool good)
{
    struct connection *c = io;

    mx_leg_tls_verdict(&c->mx, good);
}

static void
op_pass_through(void *io)
{
    struct connection *c = io;

    c->passing = true;
}

static void
op_hang_up(void *io, enum hang_up how)
{
    struct connection *c = io;

    mx_leg_close(&c->mx, how);
}

static const char *
op_engine(void *io, const char **out_reason)
{
    const struct connection *c = io;

    return mx_leg_engine(&c->mx, out_reason);
}

static void update(struct connection *c);

static void
on_answer(void *arg, struct requirement *req)
{
    struct connection *c = arg;

    c->question = NULL;
    session_requirement(c->session, req);
    update(c);
}

static struct policy_subject
subject_of(const struct connection *c, const char *domain)
{
    const struct record_session_info *info = session_info(c->session);

    return (struct policy_subject){ .domain = domain,
                                    .destination = info->destination,
                                    .port = info->destination_port,
                                    .client = info->client };
}

static bool
op_ask(void *io, const char *domain, bool recheck, struct requirement **out)
{
    struct connection *c = io;
    struct policy_client *policy = c->shared->policy;
    const struct policy_subject subject = subject_of(c, domain);

    *out = recheck ? NULL : policy_client_cached(policy, &subject);
    if (*out)
        return true;
    c->question = policy_client_ask(policy, &subject, recheck, on_answer, c);
    return c->question != NULL;
}

static unsigned
op_policy_epoch(void *io)
{
    const struct connection *c = io;

    return policy_client_epoch(c->shared->policy);
}

static struct requirement *
op_known(void *io, const char *domain)
{
    const struct connection *c = io;
    const struct policy_subject subject = subject_of(c, domain);

    return policy_client_cached(c->shared->policy, &subject);
}

static void
op_forget(void *io)
{
    struct connection *c = io;

    if (c->question)
        policy_question_forget(c->question);
    c->question = NULL;
}

static struct span
op_recall_list(void *io)
{
    struct connection *c = io;
    const struct record_session_info *info = session_info(c->session);

    return ehlo_memory_recall(c->shared->lists, &info->destination, info->destination_port,
                              clock_mono_ms(&c->shared->clock) / 1000);
}

static void
op_learn_list(void *io, struct span list, bool proven)
{
    struct connection *c = io;
    const struct record_session_info *info = session_info(c->session);

    if (ehlo_memory_learn(c->shared->lists, &info->destination, info->destination_port, list,
                          proven, clock_mono_ms(&c->shared->clock) / 1000))
        policy_client_tell_list(c->shared->policy,
                                &(struct policy_list){ .destination = info->destination,
                                                       .port = info->destination_port,
                                                       .proven = proven,
                                                       .list = list });
}

static void
op_set_timer(void *io, unsigned ms)
{
    struct connection *c = io;

    c->timer.repeat = ms / 1000.;
    ev_timer_again(c->shared->loop, &c->timer); /* a repeat of 0 stops it */
}

static void
write_record(struct connection *c, enum result encoded, struct buffer *bytes)
{
    if (encoded != RES_OK)
        log_error("event=record-lost session=%s reason=%s", session_info(c->session)->id,
                  result_name(encoded));
    else /* which counts it */
        record_sink_write(c->shared->records, buffer_span(bytes));
    buffer_clear(bytes);
}

/* No exemption for a smart host that nobody has told us of; but a hint (PRX-025). */
static void
warn_of_unknown_address(const struct record_recipient *record)
{
    char ip[IP_ADDR_TEXT_MAX];

    if (record->verdict->action == VERDICT_REFUSE && record->req->matched == MX_MATCH_CERTIFICATE &&
        record->req->sts.mode != STS_MODE_NONE)
        log_warn("event=address-of-no-mx session=%s domain=%s destination=%s hint=\"a relay of the "
                 "site's own choice belongs into a smart_host section\"",
                 record->session->id, record->req->domain,
                 ip_addr_text(&record->session->destination, ip));
}

/* For those who ask how it goes; the record is for those who ask what was. */
static void
count_recipient(struct connection_shared *shared, const struct record_recipient *record)
{
    struct top_refusal refusal = { .result = record->verdict->result, .count = 1 };

    counters_recipient(shared->counters, record);
    if (counters_result(record) != COUNTED_GATEWAY_REFUSED)
        return;
    snprintf(refusal.domain, sizeof refusal.domain, "%s", record->req->domain);
    snprintf(refusal.reply, sizeof refusal.reply, "%s", record->reply_id);
    top_refused_add(shared->refused, &refusal);
}

static const char *
leg_name(const struct record_client_tls *tls)
{
    return tls->version ? tls_version_name(tls->version) : "none";
}

static bool
op_can_record(void *io)
{
    const struct connection *c = io;

    return record_sink_is_ready(c->shared->records);
}

static void
op_record_recipient(void *io, const struct record_recipient *record)
{
    struct connection *c = io;
    struct buffer bytes;

    log_info("event=recipient session=%s domain=%s mx=%s outcome=%s tls=%s client_tls=%s result=%s "
             "reply=%s",
             record->session->id, record->req->domain, record->verdict->mx, record->outcome,
             record->obs->stage == TLS_STAGE_DONE ? tls_version_name(record->obs->version) : "none",
             leg_name(&record->session->client_tls),
             record->verdict->result == RESULT_SUCCESS ? "success"
                                                       : result_type_name(record->verdict->result),
             record->reply_id);
    warn_of_unknown_address(record);
    count_recipient(c->shared, record);
    buffer_init(&bytes, RECORD_MAX_BYTES);
    write_record(c, record_encode_recipient(record, &bytes), &bytes);
}

/* It may be one that insists on what it is not shown (PRX-044): the section that lets it through.
 */
static void
tell_of_leaving(struct admission *admission, const struct record_session_info *info)
{
    char client[IP_ADDR_TEXT_MAX];

    ip_addr_text(&info->client, client);
    log_info("event=client-left session=%s client=%s times=%u starttls=%s hint=\"client '%s' { "
             "client = {%s} "
             "starttls = passthrough }\"",
             info->id, client, admission_left(admission, &info->client),
             client_starttls_name(info->client_starttls), client, client);
}

static void
op_record_session(void *io, const struct record_session_end *record)
{
    struct connection *c = io;
    struct buffer bytes;

    log_info("event=session session=%s client_tls=%s end=%s state=%s delivered=%u refused=%u",
             record->session->id, leg_name(&record->session->client_tls), record->end,
             record->state, record->delivered, record->refused);
    counters_session(c->shared->counters, record);
    if (record->left_without_mail)
        tell_of_leaving(c->shared->admission, record->session);
    buffer_init(&bytes, RECORD_MAX_BYTES);
    write_record(c, record_encode_session(record, &bytes), &bytes);
}

static void
op_report(void *io, const struct tls_report *report)
{
    const struct connection *c = io;

    if (*c->shared->config->tlsrpt_store_file)
        policy_client_report(c->shared->policy, report);
}

static void
op_close(void *io)
{
    struct connection *c = io;

    c->closing = true;
}

static const struct session_ops ops = {
    .to_client = op_to_client,
    .to_mx = op_to_mx,
    .mx_backlog = op_mx_backlog,
    .mx_is_quiet = op_mx_is_quiet,
    .client_is_quiet = op_client_is_quiet,
    .connect = op_connect,
    .start_tls = op_start_tls,
    .check_dane = op_check_dane,
    .start_client_tls = op_start_client_tls,
    .tls_verdict = op_tls_verdict,
    .pass_through = op_pass_through,
    .hang_up = op_hang_up,
    .engine = op_engine,
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

/* ---- the sockets ---- */

/* Over: out of the list of the living; freed when no function of ours is on the stack. */
static void
retire(struct connection *c)
{
    struct connection_shared *shared = c->shared;

    if (c->over)
        return;
    c->over = true;
    ev_io_stop(shared->loop, &c->readable);
    ev_io_stop(shared->loop, &c->writable);
    ev_timer_stop(shared->loop, &c->timer);
    op_forget(c);
    mx_leg_close(&c->mx, HANG_UP_ABORT);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->next = shared->finished;
    c->link = NULL;
    shared->finished = c;
    shared->open--;
    if (!c->passed_on)
        admission_leave(shared->admission, session_info(c->session));
}

static void
watch(struct connection *c, ev_io *w, bool wanted)
{
    if (wanted)
        ev_io_start(c->shared->loop, w);
    else
        ev_io_stop(c->shared->loop, w);
}

/* The last reply must reach the client: a close with unread bytes would reset the connection and
 * take the reply with it. So we say that nothing more comes, and read away what it still sends. */
static void
linger(struct connection *c)
{
    c->lingering = true;
    client_leg_end(&c->client);
    c->timer.repeat = LINGER_S;
    ev_timer_again(c->shared->loop, &c->timer);
}

/* The reply to STARTTLS is with the client; what follows is none of the session's business. */
static void
hand_over(struct connection *c)
{
    int mx_fd = mx_leg_release(&c->mx);
    int client_fd = mx_fd < 0 ? -1 : client_leg_release(&c->client);

    if (client_fd < 0) {
        if (mx_fd >= 0)
            (void)close(mx_fd);
    } else {
        c->passed_on = true;
        if (relay_pass_through(c->shared->relays, client_fd, mx_fd, session_info(c->session)) !=
            RES_OK)
            log_error("event=no-memory where=passthrough");
    }
    retire(c);
}

static bool
wants_to_read(const struct connection *c)
{
    if (client_leg_is_handshaking(&c->client))
        return true;
    return !c->closing && session_wants_client(c->session) &&
           client_leg_backlog(&c->client) < CLIENT_HIGH_WATER &&
           mx_leg_backlog(&c->mx) < MX_LEG_HIGH_WATER;
}

/* After every event: send what was said, read whom the session wants to hear. */
static void
update(struct connection *c)
{
    if (c->over)
        return;
    client_leg_flush(&c->client);
    mx_leg_flush(&c->mx);
    if (c->client.broken && !c->closing)
        session_client_gone(c->session); /* may close it: what follows looks again */
    if (c->passing && client_leg_backlog(&c->client) == 0) {
        hand_over(c);
        return;
    }
    if (c->closing && (c->client.broken || (c->lingering && c->lingered > LINGER_BYTES_MAX))) {
        retire(c);
        return;
    }
    if (c->closing && !c->lingering && client_leg_backlog(&c->client) == 0)
        linger(c);
    else if (c->closing && !c->lingering && !ev_is_active(&c->timer)) {
        c->timer.repeat = LINGER_S; /* it does not take the last reply: not for ever */
        ev_timer_again(c->shared->loop, &c->timer);
    }
    watch(c, &c->writable, client_leg_backlog(&c->client) > 0);
    mx_leg_hold(&c->mx, client_leg_backlog(&c->client) >= CLIENT_HIGH_WATER);
    watch(c, &c->readable, c->lingering || wants_to_read(c));
    if (ev_is_active(&c->readable) && client_leg_has_pending(&c->client))
        ev_feed_event(c->shared->loop, &c->readable, EV_READ); /* no readiness tells of it */
}

static void
client_tls_failed(struct connection *c, const char *reason)
{
    const struct record_session_info *info = session_info(c->session);
    char ip[IP_ADDR_TEXT_MAX];

    log_info("event=client-tls-failed session=%s client=%s reason=\"%s\"", info->id,
             ip_addr_text(&info->client, ip), reason);
    counters_client_handshake(c->shared->counters, 0);
    c->client.broken = true; /* and no word in clear (REP-062) */
    session_client_tls_over(c->session, NULL);
}

static void
shake_hands(struct connection *c)
{
    struct record_client_tls tls;
    char reason[CLIENT_LEG_REASON_BYTES];

    switch (client_leg_handshake(&c->client, &tls, reason)) {
    case RES_AGAIN:
        return;
    case RES_OK:
        log_info("event=client-tls session=%s version=%s cipher=%s", session_info(c->session)->id,
                 tls_version_name(tls.version), tls.cipher);
        counters_client_handshake(c->shared->counters, tls.version);
        session_client_tls_over(c->session, &tls);
        return;
    case RES_TEMPFAIL:
    case RES_DENIED:
    case RES_NOMEM:
    case RES_LIMIT:
    case RES_SYNTAX:
        break;
    }
    client_tls_failed(c, reason);
}

/* Bytes of the client, or of its end. */
static void
read_client(struct connection *c)
{
    size_t want = session_is_streaming(c->session) ? CONTENT_READ_BYTES : COMMAND_READ_BYTES, n;
    enum result res = client_leg_read(&c->client, c->shared->scratch, want, &n);

    if (res == RES_AGAIN)
        return;
    if (c->lingering)
        c->lingered += res == RES_OK ? n : LINGER_BYTES_MAX + 1;
    else if (res == RES_OK)
        session_client_input(c->session, span_make(c->shared->scratch, n));
    else
        session_client_gone(c->session);
}

static void
on_client_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct connection *c = w->data;

    (void)loop, (void)revents;
    if (client_leg_is_handshaking(&c->client))
        shake_hands(c);
    else
        read_client(c);
    update(c);
}

static void
on_client_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct connection *c = w->data;

    (void)loop, (void)revents;
    if (client_leg_is_handshaking(&c->client))
        shake_hands(c);
    update(c);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct connection *c = w->data;

    (void)revents;
    ev_timer_stop(loop, w); /* it repeats, but each wait is one */
    if (c->closing) {
        retire(c);
        return;
    }
    if (session_state(c->session) == SES_HANDSHAKE)
        mx_leg_handshake_timeout(&c->mx);
    else if (session_state(c->session) == SES_CLIENT_TLS)
        client_tls_failed(c, "handshake timed out");
    else
        session_timeout(c->session);
    update(c);
}

/* ---- what the MX leg tells ---- */

static void
on_mx_connected(void *owner, bool ok)
{
    struct connection *c = owner;

    if (ok)
        mx_leg_local(&c->mx, &session_observation(c->session)->local);
    session_connected(c->session, ok);
    update(c);
}

static void
on_mx_input(void *owner, struct span bytes)
{
    struct connection *c = owner;

    session_mx_input(c->session, bytes);
    update(c);
}

static void
on_mx_tls_over(void *owner, struct observation *obs)
{
    struct connection *c = owner;

    counters_mx_handshake(c->shared->counters, obs);
    session_tls_over(c->session, obs);
    update(c);
}

static void
on_mx_writable(void *owner)
{
    update(owner);
}

static void
on_mx_gone(void *owner)
{
    struct connection *c = owner;

    session_mx_gone(c->session);
    update(c);
}

static const struct mx_leg_handler mx_handler = {
    .connected = on_mx_connected,
    .input = on_mx_input,
    .tls_over = on_mx_tls_over,
    .writable = on_mx_writable,
    .gone = on_mx_gone,
};

enum result
connection_start(struct connection_shared *shared, int fd, const struct record_session_info *info)
{
    static const int one = 1;
    struct connection *c = calloc(1, sizeof *c);

    if (c)
        c->session = session_new(&ops, c, shared->config, &shared->clock, info);
    if (!c || !c->session) {
        admission_leave(shared->admission, info);
        free(c);
        (void)close(fd);
        return RES_NOMEM;
    }
    /* One write per group of replies, and none waits for an acknowledgement (DESIGN 5). */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->shared = shared;
    client_leg_init(&c->client, fd);
    mx_leg_init(&c->mx, shared->loop, &mx_handler, c, shared->scratch, &shared->clock);
    ev_io_init(&c->readable, on_client_readable, fd, EV_READ);
    ev_io_init(&c->writable, on_client_writable, fd, EV_WRITE);
    ev_init(&c->timer, on_timer);
    c->readable.data = c->writable.data = c->timer.data = c;

    c->next = shared->first;
    c->link = &shared->first;
    if (c->next)
        c->next->link = &c->next;
    shared->first = c;
    shared->open++;
    c->number = ++shared->started;
    session_start(c->session);
    update(c);
    return RES_OK;
}

bool
connection_list(const struct connection_shared *shared, uint64_t below, struct buffer *out,
                uint64_t *out_below, enum result *out_res)
{
    unsigned listed = 0;

    *out_res = RES_OK;
    for (const struct connection *c = shared->first; c; c = c->next) {
        struct session_glance glance;

        if (c->number >= below)
            continue;
        if (listed == STATUS_PAGE_SESSIONS)
            return true;
        session_glance(c->session, &glance);
        *out_res = session_view_write(session_info(c->session), &glance,
                                      clock_wall_s(&shared->clock), out);
        if (*out_res != RES_OK)
            return false;
        *out_below = c->number;
        listed++;
    }
    return false;
}

void
connection_reap(struct connection_shared *shared)
{
    while (shared->finished) {
        struct connection *c = shared->finished;

        shared->finished = c->next;
        session_free(c->session);
        client_leg_close(&c->client);
        free(c);
    }
}

void
connection_drain_all(struct connection_shared *shared, bool gently)
{
    for (struct connection *c = shared->first, *next; c; c = next) {
        next = c->next;
        if (!c->closing)
            session_drain(c->session, gently);
        update(c);
    }
}

void
connection_free_all(struct connection_shared *shared)
{
    while (shared->first)
        retire(shared->first);
    connection_reap(shared);
}
