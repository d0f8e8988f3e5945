#include "tests/proxy/session_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/tls_report_msg.h"
#include "proxy/ehlo_memory.h"
#include "proxy/replies.h"

struct span
pipe_span(const struct pipe_bytes *p)
{
    return span_make(p->bytes + p->start, p->end - p->start);
}

void
pipe_consume(struct pipe_bytes *p, size_t n)
{
    p->start += n;
    if (p->start == p->end)
        p->start = p->end = 0;
}

static void
pipe_append(struct pipe_bytes *p, struct span bytes)
{
    if (bytes.len > sizeof p->bytes - p->end)
        fail_msg("more bytes than a test can hold");
    if (bytes.len)
        memcpy(p->bytes + p->end, bytes.ptr, bytes.len);
    p->end += bytes.len;
}

static size_t
pipe_len(const struct pipe_bytes *p)
{
    return p->end - p->start;
}

static void
tap(struct world *w, enum world_wire wire, struct span bytes)
{
    if (w->tap)
        w->tap(w->tap_arg, wire, bytes);
}

/* ---- what the session asks for ---- */

static void
must_be_open(const struct world *w, const char *op)
{
    if (w->closed)
        fail_msg("%s after close", op);
}

static void
op_to_client(void *io, struct span bytes)
{
    struct world *w = io;

    must_be_open(w, "to_client");
    tap(w, WIRE_TO_CLIENT, bytes);
    if (w->client_tls == CLIENT_HANDSHAKE)
        fail_msg("said to the client where a ServerHello is due: \"%.*s\"", (int)bytes.len,
                 bytes.ptr);
    pipe_append(&w->client, bytes);
}

static bool
is_text(const struct world *w)
{
    enum session_state state = session_state(w->session);

    return state == SES_CONTENT || state == SES_CHUNK;
}

/* Several commands at a time? */
static bool
is_group(struct span bytes)
{
    return span_find(bytes, '\n') + 1 < bytes.len;
}

/* Outside of message text one command is in flight, and none before the greeting, unless the MX
 * does PIPELINING; then recipients go behind MAIL (PIPE-007). */
static void
op_to_mx(void *io, struct span bytes)
{
    struct world *w = io;
    bool behind_mail = session_state(w->session) == SES_MAIL && w->pipelining;

    must_be_open(w, "to_mx");
    if (w->leg != LEG_CLEAR && w->leg != LEG_TLS)
        fail_msg("bytes for an MX that is not there: \"%.*s\"", (int)bytes.len, bytes.ptr);
    if (!is_text(w) &&
        ((w->mx_owes && !w->line_open && !behind_mail) || (is_group(bytes) && !w->pipelining)))
        fail_msg("said to the MX before its reply: \"%.*s\"", (int)bytes.len, bytes.ptr);
    if (bytes.len == 0)
        return;
    tap(w, WIRE_TO_MX, bytes);
    w->line_open = bytes.ptr[bytes.len - 1] != '\n';
    w->mx_owes = true;
    pipe_append(&w->mx, bytes);
}

static size_t
op_mx_backlog(void *io)
{
    return ((struct world *)io)->backlog;
}

static bool
op_mx_is_quiet(void *io)
{
    return pipe_len(&((struct world *)io)->from_mx) == 0;
}

static bool
op_client_is_quiet(void *io)
{
    return pipe_len(&((struct world *)io)->from_client) == 0;
}

static void
op_connect(void *io)
{
    struct world *w = io;

    must_be_open(w, "connect");
    if (w->leg != LEG_CLOSED)
        fail_msg("connect while a connection is up");
    w->leg = LEG_CONNECTING;
    w->pipelining = false;
    w->mx_owes = true; /* its greeting */
    w->line_open = false;
    w->connects++;
}

static void
op_start_tls(void *io, const char *sni, uint16_t floor, uint16_t trust)
{
    struct world *w = io;

    must_be_open(w, "start_tls");
    if (w->leg != LEG_CLEAR)
        fail_msg("handshake on no connection in clear");
    if (pipe_len(&w->from_mx))
        fail_msg("handshake while clear text waits (TLS-008)");
    w->leg = LEG_HANDSHAKE;
    w->pipelining = false;
    snprintf(w->sni, sizeof w->sni, "%s", sni);
    w->floor = floor;
    w->trust = trust;
}

/* A record matches the MX whose key has its name; one that nobody can use says so by its usage. */
static bool
op_check_dane(void *io, const struct peer_chain *chain, const struct requirement *req,
              struct dane_facts *out)
{
    struct world *w = io;
    const struct dane_host *host = &req->dane.hosts[0];
    bool usable = false;

    (void)chain;
    must_be_open(w, "check_dane");
    w->dane_checks++;
    out->match = DANE_NO_MATCH;
    snprintf(out->error, sizeof out->error, "X509_V_ERR_DANE_NO_MATCH");
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *r = &host->records[i];

        usable |= r->usage == TLSA_DANE_EE;
        if (r->usage != TLSA_DANE_EE || r->data[0] != w->key)
            continue;
        out->match = DANE_MATCHED;
        out->usage = r->usage;
        snprintf(out->error, sizeof out->error, "X509_V_OK");
    }
    if (!usable)
        out->match = DANE_UNUSABLE;
    return true;
}

/* The handshake with the client is the script's; what waits in clear is gone. */
static void
op_start_client_tls(void *io)
{
    struct world *w = io;

    must_be_open(w, "start_client_tls");
    if (w->client_tls != CLIENT_CLEAR)
        fail_msg("a second handshake with the client");
    w->client_tls = CLIENT_HANDSHAKE;
    w->from_client.start = w->from_client.end = 0;
}

static void
op_tls_verdict(void *io, bool good)
{
    struct world *w = io;

    must_be_open(w, "tls_verdict");
    *(good ? &w->tls_good : &w->tls_bad) += 1;
}

static void
op_pass_through(void *io)
{
    struct world *w = io;

    must_be_open(w, "pass_through");
    if (w->leg != LEG_CLEAR || pipe_len(&w->from_mx) || pipe_len(&w->from_client))
        fail_msg("passed through with something in the way");
    w->leg = LEG_CLOSED;
    w->passed_through = true;
}

static void
op_hang_up(void *io, enum hang_up how)
{
    struct world *w = io;

    must_be_open(w, "hang_up");
    w->leg = LEG_CLOSED;
    w->from_mx.start = w->from_mx.end = 0;
    w->hang_ups++;
    w->how = how;
}

static struct world_answer *
find_answer(struct world *w, const char *domain, bool recheck)
{
    for (size_t i = 0; i < w->answer_count; i++)
        if (strcmp(w->answers[i].domain, domain) == 0 && w->answers[i].recheck == recheck)
            return &w->answers[i];
    return NULL;
}

/* A domain that no script names has no policy, and one MX of its own. */
static struct requirement *
plain_requirement(const char *domain)
{
    struct requirement *req = requirement_new();
    char host[HOSTNAME_MAX + 8];

    if (!req)
        return NULL;
    snprintf(req->domain, sizeof req->domain, "%s", domain);
    snprintf(host, sizeof host, "mx.%s", domain);
    req->matched = MX_MATCH_ADDRESS;
    req->ttl_s = 3600;
    if (name_list_add(&req->names, span_of(host)) == RES_OK)
        return req;
    requirement_unref(req);
    return NULL;
}

static bool
op_ask(void *io, const char *domain, bool recheck, struct requirement **out)
{
    struct world *w = io;
    const struct world_answer *answer = find_answer(w, domain, recheck);

    must_be_open(w, "ask");
    if (w->waiting)
        fail_msg("asked again before the answer or forget");
    snprintf(w->asked, sizeof w->asked, "%s", domain);
    w->asked_recheck = recheck;
    *out = NULL;
    if (recheck) {
        w->rechecks++;
        w->waiting = answer && !answer->unavailable;
        return w->waiting;
    }
    w->questions++;
    if (answer && answer->unavailable)
        return false;
    w->waiting = answer && answer->late;
    if (!w->waiting)
        *out = answer && answer->req ? requirement_ref(answer->req) : plain_requirement(domain);
    return w->waiting || *out;
}

static unsigned
op_policy_epoch(void *io)
{
    return ((struct world *)io)->epoch;
}

static struct requirement *
op_known(void *io, const char *domain)
{
    struct world *w = io;
    const struct world_answer *answer = find_answer(w, domain, false);

    if (!answer)
        return plain_requirement(domain);
    return answer->late || answer->unavailable || !answer->req ? NULL
                                                               : requirement_ref(answer->req);
}

static void
op_forget(void *io)
{
    ((struct world *)io)->waiting = false;
}

static struct span
op_recall_list(void *io)
{
    struct world *w = io;

    return ehlo_memory_recall(w->lists, &w->info.destination, 25, w->now_ms / 1000);
}

static void
op_learn_list(void *io, struct span list, bool proven)
{
    struct world *w = io;

    (void)ehlo_memory_learn(w->lists, &w->info.destination, 25, list, proven, w->now_ms / 1000);
}

static void
op_set_timer(void *io, unsigned ms)
{
    struct world *w = io;

    must_be_open(w, "set_timer");
    w->timer_ms = ms;
    w->timer_at_ms = ms ? w->now_ms + ms : 0;
}

/* One word of a record: blanks would end it. */
static void
put_word(char *line, size_t size, const char *key, struct span value)
{
    size_t len = strlen(line);

    snprintf(line + len, size - len, "%s%s=%.*s", len ? " " : "", key, (int)value.len,
             value.len ? value.ptr : "");
    for (char *c = line + len + 1; *c; c++)
        if (*c == ' ' || *c == '\r' || *c == '\n')
            *c = '_';
}

static bool
op_can_record(void *io)
{
    const struct world *w = io;

    return !w->records_full;
}

/* What is said of version and certificate must be true of a handshake in full (TLS-026). */
static void
check_ground(const struct record_recipient *r)
{
    static const char *const about_tls[] = { "REP-012", "REP-013", "REP-014", "REP-030",
                                             "REP-032", "REP-033", "REP-034" };

    for (size_t i = 0; i < sizeof about_tls / sizeof *about_tls; i++)
        if (r->obs->resumed && strcmp(r->reply_id, about_tls[i]) == 0)
            fail_msg("%s rests on a resumed session", r->reply_id);
}

static void
op_record_recipient(void *io, const struct record_recipient *r)
{
    struct world *w = io;
    const struct verdict *v = r->verdict;
    char number[16], *line;
    size_t size = sizeof w->records[0];

    must_be_open(w, "record_recipient");
    check_ground(r);
    if (strcmp(r->outcome, "delivered") == 0 && r->reply.len > RECORD_TEXT_MAX + 1)
        fail_msg("of a reply %zu octets were kept, more than a record holds", r->reply.len);
    if (w->record_count == WORLD_RECORDS_MAX)
        fail_msg("more records than a test can hold");
    line = w->records[w->record_count++];
    snprintf(number, sizeof number, "%u", r->transaction);
    put_word(line, size, "outcome", span_of(r->outcome));
    put_word(line, size, "domain", span_of(r->req->domain));
    put_word(line, size, "result", span_of(result_type_name(v->result)));
    put_word(line, size, "reply", span_of(r->reply_id));
    put_word(line, size, "by", span_of(r->reply_by));
    put_word(line, size, "action", span_of(verdict_action_name(v->action)));
    put_word(line, size, "mx", span_of(v->mx));
    put_word(line, size, "rule", span_first(span_of(v->rule), span_find(span_of(v->rule), ' ')));
    put_word(line, size, "transaction", span_of(number));
    put_word(line, size, "client_tls", span_of(tls_version_name(r->session->client_tls.version)));
    put_word(line, size, "stage", span_of(tls_stage_name(r->obs->stage)));
    put_word(line, size, "proven", span_of(v->proven ? "yes" : "no"));
    put_word(line, size, "dane", span_of(dane_match_name(r->dane->match)));
    put_word(line, size, "text", r->reply);
    put_word(line, size, "final", r->final_reply);
}

static void
put_number(char *line, size_t size, const char *key, unsigned value)
{
    char number[16];

    snprintf(number, sizeof number, "%u", value);
    put_word(line, size, key, span_of(number));
}

static void
op_record_session(void *io, const struct record_session_end *r)
{
    struct world *w = io;
    size_t size = sizeof w->end;

    must_be_open(w, "record_session");
    if (w->end[0])
        fail_msg("a second record of the session's end");
    put_word(w->end, size, "end", span_of(r->end));
    put_word(w->end, size, "state", span_of(r->state));
    put_word(w->end, size, "helo", r->helo);
    put_word(w->end, size, "client_tls", span_of(tls_version_name(r->session->client_tls.version)));
    put_number(w->end, size, "transactions", r->transactions);
    put_number(w->end, size, "delivered", r->delivered);
    put_number(w->end, size, "allowed", r->allowed);
    put_number(w->end, size, "refused", r->refused);
    put_number(w->end, size, "reconnects", r->reconnects);
    put_number(w->end, size, "violations", r->violations);
    put_number(w->end, size, "left", r->left_without_mail);
}

static void
note_report(struct world *w, const struct tls_report *report)
{
    const struct tls_report_detail *d = report->details;
    size_t size = sizeof w->reports[0];
    char *line;

    if (w->report_count == WORLD_REPORTS_MAX)
        return;
    line = w->reports[w->report_count++];
    put_word(line, size, "domain", span_of(report->domain));
    put_word(line, size, "type", span_of(tls_report_type_name(report->type)));
    put_word(line, size, "policy_domain", span_of(report->policy_domain));
    put_word(line, size, "outcome", span_of(report->failed ? "failure" : "success"));
    put_word(line, size, "result",
             span_of(report->detail_count ? result_type_name(d->result) : ""));
    put_word(line, size, "reason", span_of(report->detail_count ? d->reason : ""));
    put_word(line, size, "mx", span_of(report->mx_host));
    put_word(line, size, "helo", span_of(report->helo));
    put_number(line, size, "at", (unsigned)report->at_s);
}

/* Whatever a session tells must pass the check of the one it is told to. */
static void
op_report(void *io, const struct tls_report *report)
{
    struct world *w = io;
    struct tls_report again;
    struct pack_writer writer;
    struct pack_reader reader;
    struct buffer bytes;
    enum result res;

    must_be_open(w, "report");
    buffer_init(&bytes, 1u << 20);
    pack_begin(&writer, &bytes);
    tls_report_encode(report, &writer);
    res = pack_end(&writer);
    pack_reader_init(&reader, buffer_span(&bytes));
    if (res == RES_OK) {
        res = tls_report_decode(&reader, &again);
        tls_report_clear(&again);
    }
    if (res != RES_OK && res != RES_NOMEM)
        fail_msg("a report that nobody would read, of %s", report->domain);
    buffer_clear(&bytes);
    note_report(w, report);
}

static void
op_close(void *io)
{
    struct world *w = io;

    must_be_open(w, "close");
    if (w->leg != LEG_CLOSED)
        fail_msg("closed without hanging up on the MX");
    if (w->waiting)
        fail_msg("closed without forgetting the question");
    if (w->timer_at_ms)
        fail_msg("closed with the timer running");
    if (!w->end[0])
        fail_msg("closed without a record");
    w->closed = true;
}

static const char *
op_engine(void *io, const char **out_reason)
{
    (void)io;
    *out_reason = "off";
    return "library";
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
    .start_client_tls = op_start_client_tls,
    .tls_verdict = op_tls_verdict,
    .pass_through = op_pass_through,
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

/* ---- the world's own doings ---- */

static int64_t
wall_ns(void *arg)
{
    return (WORLD_START_S * INT64_C(1000) + ((struct world *)arg)->now_ms) * 1000000;
}

static int64_t
mono_ns(void *arg)
{
    return ((struct world *)arg)->now_ms * 1000000;
}

/* The manual's defaults. */
static void
configure(struct config *c)
{
    static char hostname[] = "gw.example";

    c->hostname = hostname;
    c->tls_minimum = TLS_VERSION_1_2;
    c->tls_opportunistic_minimum = TLS_VERSION_1_0;
    c->cleartext_fallback = true;
    c->policy_wait_ms = 20000;
    c->connect_timeout_ms = 30000;
    c->greeting_timeout_ms = 301000; /* each its own, to see which is armed */
    c->command_timeout_ms = 302000;
    c->data_timeout_ms = 120000;
    c->block_timeout_ms = 180000;
    c->final_timeout_ms = 600000;
    c->client_timeout_ms = 300000;
    c->handshake_timeout_ms = 60000;
    c->chunking = true;
    c->recipients_max = 1000;
    c->rules.rollout.percent = 100;
    c->recipient_budget_ms = 900000; /* beyond every wait, unless a test says otherwise */
}

struct world *
world_new(void)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    w->lists = ehlo_memory_new();
    assert_non_null(w->lists);
    w->now_ms = 1000;
    configure(&w->config);
    snprintf(w->info.id, sizeof w->info.id, "0123456789abcdef");
    assert_int_equal(ip_addr_parse("192.0.2.1", &w->info.destination), RES_OK);
    assert_int_equal(ip_addr_parse("10.0.0.1", &w->info.client), RES_OK);
    w->info.destination_port = 25;
    return w;
}

bool
world_start(struct world *w)
{
    const struct clock clock = { .wall_ns = wall_ns, .mono_ns = mono_ns, .arg = w };

    w->session = session_new(&ops, w, &w->config, &clock, &w->info);
    if (!w->session)
        return false;
    session_start(w->session);
    return true;
}

void
world_free(struct world *w)
{
    if (!w)
        return;
    session_free(w->session);
    ehlo_memory_free(w->lists);
    report_senders_clear(&w->config.report_senders);
    for (size_t i = 0; i < w->answer_count; i++)
        requirement_unref(w->answers[i].req);
    free(w);
}

void
world_add_answer(struct world *w, const struct world_answer *answer)
{
    struct world_answer *old = find_answer(w, answer->domain, answer->recheck);

    if (!old && w->answer_count == WORLD_ANSWERS_MAX)
        fail_msg("more domains than a test can hold");
    if (!old)
        old = &w->answers[w->answer_count++];
    else
        requirement_unref(old->req);
    *old = *answer;
}

void
world_map_destination(struct world *w, const char *name)
{
    assert_int_equal(ip_net_parse("192.0.2.1", &w->smart_host_net), RES_OK);
    w->smart_host.destinations = (struct net_list){ &w->smart_host_net, 1 };
    snprintf(w->smart_host.name, sizeof w->smart_host.name, "%s", name);
    w->config.rules.smart_hosts = &w->smart_host;
    w->config.rules.smart_host_count = 1;
}

void
world_let_auth(struct world *w, const char *net)
{
    assert_int_equal(ip_net_parse(net, &w->auth_net), RES_OK);
    w->smart_host.auth_clients = (struct net_list){ &w->auth_net, 1 };
}

void
world_monitor(struct world *w, const char *domain)
{
    snprintf(w->overridden, sizeof w->overridden, "%s", domain);
    w->override_domains[0] = w->overridden;
    w->override = (struct rule){ .id = "spared",
                                 .domains = { w->override_domains, 1 },
                                 .action = RULE_MONITOR,
                                 .until_s = INT64_MAX };
    w->config.rules.rules = &w->override;
    w->config.rules.rule_count = 1;
}

void
world_set_reply_text(struct world *w, const char *id, const char *text)
{
    snprintf(w->reply_text.id, sizeof w->reply_text.id, "%s", id);
    snprintf(w->text, sizeof w->text, "%s", text);
    w->reply_text.text = w->text;
    w->config.rules.reply_texts = &w->reply_text;
    w->config.rules.reply_text_count = 1;
}

void
world_sends_reports(struct world *w, const char *address)
{
    struct report_senders *list = &w->config.report_senders;
    char client[IP_ADDR_TEXT_MAX];

    if (report_senders_add(list, "reports") == RES_OK) /* without memory it is none */
        (void)!(net_list_add(&list->senders[list->count - 1].clients,
                             ip_addr_text(&w->info.client, client)) == RES_OK &&
                report_sender_add_address(&list->senders[list->count - 1], address) == RES_OK);
}

void
world_client_sends(struct world *w, struct span bytes)
{
    if (!w->closed)
        pipe_append(&w->from_client, bytes);
}

void
world_mx_sends(struct world *w, struct span bytes)
{
    if (w->leg != LEG_CLOSED)
        pipe_append(&w->from_mx, bytes);
}

/* Out of the socket first, as recv() does: what is left tells whether a side is quiet. The copy is
 * exact, so that a sanitizer sees one byte too many. */
static char *
take(struct pipe_bytes *p, size_t step, size_t *out_len)
{
    struct span all = pipe_span(p);
    void *copy;

    *out_len = step && step < all.len ? step : all.len;
    if (posix_memalign(&copy, sizeof(void *), *out_len) != 0) /* no allocation that may be failed */
        abort();
    memcpy(copy, all.ptr, *out_len);
    pipe_consume(p, *out_len);
    return copy;
}

static bool
deliver_client(struct world *w)
{
    size_t len;
    char *bytes;

    if (w->closed || pipe_len(&w->from_client) == 0 || !session_wants_client(w->session))
        return false;
    bytes = take(&w->from_client, w->client_step, &len);
    tap(w, WIRE_FROM_CLIENT, span_make(bytes, len));
    session_client_input(w->session, span_make(bytes, len));
    free(bytes);
    return true;
}

/* Does the MX list PIPELINING? Bytes may come one by one. */
static void
look_for_pipelining(struct world *w, struct span bytes)
{
    static const char word[] = "PIPELINING";

    for (size_t i = 0; i < bytes.len; i++) {
        char c = (char)toupper((unsigned char)bytes.ptr[i]);

        w->word_len = c == word[w->word_len] ? w->word_len + 1 : c == word[0];
        w->pipelining |= w->word_len == sizeof word - 1;
        w->word_len %= sizeof word - 1;
    }
}

static bool
deliver_mx(struct world *w)
{
    size_t len;
    char *bytes;

    if ((w->leg != LEG_CLEAR && w->leg != LEG_TLS) || pipe_len(&w->from_mx) == 0)
        return false;
    bytes = take(&w->from_mx, w->mx_step, &len);
    if (memchr(bytes, '\n', len))
        w->mx_owes = false;
    tap(w, WIRE_FROM_MX, span_make(bytes, len));
    look_for_pipelining(w, span_make(bytes, len));
    session_mx_input(w->session, span_make(bytes, len));
    free(bytes);
    return true;
}

void
world_pump(struct world *w)
{
    while (deliver_mx(w) || deliver_client(w))
        continue;
}

/* The end of a connection is told again and again until somebody hangs up. */
static void
tell_gone(struct world *w)
{
    session_mx_gone(w->session);
    if (w->leg != LEG_CLOSED)
        fail_msg("the MX is gone and nobody hung up");
}

void
world_connected(struct world *w, bool ok)
{
    if (w->leg != LEG_CONNECTING)
        fail_msg("no connection was asked for");
    w->leg = ok ? LEG_CLEAR : LEG_CLOSED;
    session_connected(w->session, ok);
    world_pump(w);
}

void
world_tls_over(struct world *w, struct observation *obs)
{
    bool refused_late = w->leg == LEG_TLS && (!obs || obs->stage == TLS_STAGE_FAILED);

    if (w->leg != LEG_HANDSHAKE && !refused_late)
        fail_msg("no handshake was asked for");
    if (!obs) {
        tell_gone(w);
    } else {
        if (obs->stage == TLS_STAGE_DONE)
            w->leg = LEG_TLS;
        session_tls_over(w->session, obs);
    }
    world_pump(w);
}

void
world_client_tls_over(struct world *w, bool ok)
{
    const struct record_client_tls tls = { .version = TLS_VERSION_1_3, .cipher = "CIPHER" };

    if (w->client_tls != CLIENT_HANDSHAKE)
        fail_msg("no handshake with the client was asked for");
    w->client_tls = ok ? CLIENT_TLS : CLIENT_CLEAR;
    session_client_tls_over(w->session, ok ? &tls : NULL);
    world_pump(w);
}

void
world_answer(struct world *w, struct requirement *req)
{
    if (!w->waiting)
        fail_msg("no question is open");
    w->waiting = false;
    session_requirement(w->session, req);
    world_pump(w);
}

void
world_mx_closes(struct world *w)
{
    if (w->leg != LEG_CLOSED)
        tell_gone(w);
    world_pump(w);
}

void
world_client_closes(struct world *w)
{
    if (!w->closed)
        session_client_gone(w->session);
}

void
world_wait(struct world *w, int64_t ms)
{
    w->now_ms += ms;
    if (w->timer_at_ms && w->timer_at_ms <= w->now_ms) {
        w->timer_at_ms = 0;
        session_timeout(w->session);
    }
    world_pump(w);
}
