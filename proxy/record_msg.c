/* proxy/record_msg.c: the records of proxy/record.h as MessagePack. docs/records.md lists every key
 * below, and a test compares the two. */
#include "base/pack.h"
#include "proxy/record.h"

/* Pairs of each map: written before them. A wrong number here makes a record that the reader
 * refuses, which the tests would show. */
#define EVENT_PAIRS 3u
#define SESSION_PAIRS 11u
#define RECIPIENT_PAIRS 34u
#define POLICY_PAIRS 11u
#define NO_POLICY_PAIRS 2u
#define JUDGED_PAIRS 9u
#define DANE_PAIRS 16u
#define DANE_HOST_PAIRS 6u
#define OVERRIDE_PAIRS 5u
#define TLS_PAIRS 18u
#define CERTIFICATE_PAIRS 7u
#define REPORT_PAIRS 8u
#define REPORT_DETAIL_PAIRS 3u
#define END_PAIRS 16u
#define SURVEY_PAIRS 14u
#define CHANGE_PAIRS 12u
#define PROCESS_PAIRS 6u

/* Inline, as all that take a key: its head and its text are then constants. */
static inline void
key(struct pack_writer *w, const char *name)
{
    pack_text(w, span_of(name));
}

static inline void
put_uint(struct pack_writer *w, const char *name, uint64_t value)
{
    key(w, name);
    pack_uint(w, value);
}

static inline void
put_int(struct pack_writer *w, const char *name, int64_t value)
{
    key(w, name);
    pack_int(w, value);
}

static inline void
put_bool(struct pack_writer *w, const char *name, bool value)
{
    key(w, name);
    pack_bool(w, value);
}

static inline void
put_bin(struct pack_writer *w, const char *name, struct span bytes)
{
    key(w, name);
    pack_bin(w, bytes);
}

/* At most RECORD_TEXT_MAX bytes, cut before a character and not within one. Cut also where a record
 * might start: else a peer could make record_decode() refuse its own record as torn. */
static struct span
cut(struct span text)
{
    size_t len = RECORD_TEXT_MAX;

    if (text.len > len) {
        while (len > RECORD_TEXT_MAX - 4 && (text.ptr[len] & 0xc0) == 0x80)
            len--;
        text = span_first(text, len);
    }
    return pack_is_text(text) ? text : span_first(text, record_find(text, 0));
}

static void
value_span(struct pack_writer *w, struct span text)
{
    if (text.len <= RECORD_TEXT_MAX && pack_is_text(text))
        pack_text(w, text);
    else
        pack_str(w, cut(text));
}

static struct span
span_or_empty(const char *text)
{
    return span_of(text ? text : "");
}

static void
value_text(struct pack_writer *w, const char *text)
{
    value_span(w, span_or_empty(text));
}

static void
value_word(struct pack_writer *w, const char *word)
{
    pack_text(w, span_of(word));
}

static inline void
put_span(struct pack_writer *w, const char *name, struct span text)
{
    key(w, name);
    value_span(w, text);
}

static inline void
put_text(struct pack_writer *w, const char *name, const char *text)
{
    key(w, name);
    value_text(w, text);
}

/* A word of our own, from a table or a literal: text, short, and never NULL. */
static inline void
put_word(struct pack_writer *w, const char *name, const char *word)
{
    key(w, name);
    value_word(w, word);
}

/* The list and its true length. It is cut at its first name that passes a bound, so that what
 * stands there is in the order and without gaps. */
static void
put_names(struct pack_writer *w, const char *name, const char *name_of_count,
          const struct name_list *list)
{
    size_t count = 0, bytes = 0;

    while (count < list->count && count < RECORD_NAMES_MAX) {
        bytes += strlen(list->names[count]) + 5; /* with the longest head of a str or bin */
        if (bytes > RECORD_LIST_BYTES)
            break;
        count++;
    }
    key(w, name);
    pack_array(w, count);
    for (size_t i = 0; i < count; i++) /* C strings: no record starts within */
        pack_str(w, span_of(list->names[i]));
    put_uint(w, name_of_count, list->count);
}

/* The frame and the head of the map of n pairs, the first of which are these. whose and number:
 * make an id that no other record has, so that a receiver knows one that comes twice. */
static void
begin_record(struct pack_writer *w, struct buffer *out, int64_t wall_ns, const char *event,
             size_t n, const char *whose, uint64_t number)
{
    char digits[SPAN_U64_DIGITS];
    const struct span id[] = { span_or_empty(event), span_of("/"), span_or_empty(whose),
                               span_of("/"), span_of_u64(number, digits) };

    pack_begin(w, out);
    pack_array(w, 2);
    pack_event_time(w, wall_ns);
    pack_map(w, EVENT_PAIRS + n);
    put_text(w, "event", event);
    put_uint(w, "v", RECORD_VERSION);
    key(w, "record");
    pack_text_parts(w, id, sizeof id / sizeof *id);
}

static void
put_session(struct pack_writer *w, const struct record_session_info *info)
{
    char client[IP_ADDR_TEXT_MAX], destination[IP_ADDR_TEXT_MAX];

    put_text(w, "session", info->id);
    put_uint(w, "worker", info->worker);
    put_text(w, "client", ip_addr_text(&info->client, client));
    put_uint(w, "client_port", info->client_port);
    put_text(w, "destination", ip_addr_text(&info->destination, destination));
    put_uint(w, "destination_port", info->destination_port);
    put_word(w, "intercept", record_intercept_name(info->intercept));
    put_text(w, "client_rule", info->client_rule ? info->client_rule->title : "");
    put_word(w, "client_starttls", client_starttls_name(info->client_starttls));
    put_word(w, "client_tls", tls_version_name(info->client_tls.version));
    put_text(w, "client_cipher", info->client_tls.cipher);
}

/* What one policy says of the session by itself; "" when it says nothing (RPT-022). */
static void
put_result(struct pack_writer *w, const struct policy_result *r)
{
    const char *name = result_type_name(r->result);

    put_word(w, "result_type", !r->judged ? "" : *name ? name : "success");
    put_text(w, "result_reason", r->reason);
}

static void
put_policy(struct pack_writer *w, const struct requirement *req, const struct policy_result *result)
{
    bool found = req->sts.fetched_at_s != 0;

    key(w, "policy");
    pack_map(w, found ? POLICY_PAIRS : NO_POLICY_PAIRS);
    put_word(w, "type", found ? "sts" : "no-policy-found"); /* RFC 8460 4.4, policy-type */
    put_text(w, "discovery", req->sts.discovery);
    if (!found)
        return;
    put_word(w, "mode", sts_mode_name(req->sts.mode));
    put_text(w, "id", req->sts.id);
    put_names(w, "mx", "mx_count", &req->sts.mx);
    put_bin(w, "text_sha256", span_make(req->sts.text_sha256, sizeof req->sts.text_sha256));
    put_int(w, "fetched_at", req->sts.fetched_at_s);
    put_int(w, "expires_at", req->sts.expires_at_s);
    put_result(w, result);
}

/* No less than what a host takes without its records, keys and heads included. */
static size_t
dane_host_bytes(const struct dane_host *host)
{
    size_t bytes = 128 + strlen(host->mx) + strlen(host->base);

    for (size_t i = 0; i < host->references.count; i++)
        bytes += strlen(host->references.names[i]) + 5;
    return bytes;
}

/* As many records as room has bytes for; it shrinks. */
static void
put_tlsa(struct pack_writer *w, const struct dane_host *host, size_t *room)
{
    size_t count = 0;

    for (; count < host->count; count++) {
        size_t more = TLSA_TEXT_MAX - 2u * (TLSA_DATA_MAX - host->records[count].len) + 5;

        if (more > *room)
            break;
        *room -= more;
    }
    key(w, "records");
    pack_array(w, count);
    for (size_t i = 0; i < count; i++) {
        char text[TLSA_TEXT_MAX];

        pack_text(w, span_make(text, tlsa_record_text(&host->records[i], text)));
    }
    put_uint(w, "records_count", host->count);
}

/* Hosts are cut at the end before records are. */
static void
put_dane_hosts(struct pack_writer *w, const struct requirement *req)
{
    size_t room = RECORD_DANE_BYTES, count = 0;

    for (; count < req->dane.host_count; count++) {
        size_t more = dane_host_bytes(&req->dane.hosts[count]);

        if (more > room)
            break;
        room -= more;
    }
    key(w, "hosts");
    pack_array(w, count);
    for (size_t i = 0; i < count; i++) {
        const struct dane_host *host = &req->dane.hosts[i];

        pack_map(w, DANE_HOST_PAIRS);
        put_text(w, "mx", host->mx);
        put_text(w, "base", host->base);
        put_names(w, "references", "references_count", &host->references);
        put_tlsa(w, host, &room);
    }
    put_uint(w, "hosts_count", req->dane.host_count);
}

static void
put_dane(struct pack_writer *w, const struct requirement *req, const struct dane_facts *facts,
         const struct policy_result *result)
{
    static const struct dane_facts none;
    char record[TLSA_NUMBERS_MAX] = "";

    key(w, "dane");
    if (req->dane.state == DANE_NONE && !req->dane.required) {
        pack_nil(w);
        return;
    }
    if (!facts || facts->key != requirement_dane_key(req)) /* of another recipient's records */
        facts = &none;
    if (facts->match >= DANE_TA_BROKEN)
        (void)tlsa_numbers_text(facts->usage, facts->selector, facts->matching, record);
    pack_map(w, DANE_PAIRS);
    put_word(w, "state", dane_state_name(req->dane.state));
    put_text(w, "lookup_reason", req->dane.reason);
    put_bool(w, "dnssec", req->dane.dnssec);
    put_bool(w, "required", req->dane.required);
    put_bool(w, "suffices", req->dane.suffices);
    put_bool(w, "mx_secure", req->dane.mx_secure);
    put_dane_hosts(w, req);
    put_word(w, "match", dane_match_name(facts->match));
    put_uint(w, "host", facts->host);
    put_text(w, "record", record);
    put_uint(w, "depth", facts->depth);
    put_text(w, "error", facts->error);
    put_text(w, "error_reason", facts->reason);
    put_result(w, result);
}

static void
put_local(struct pack_writer *w, const struct requirement *req)
{
    key(w, "override");
    if (req->local.action == RULE_NONE) {
        pack_nil(w);
        return;
    }
    pack_map(w, OVERRIDE_PAIRS);
    put_text(w, "id", req->local.id);
    put_word(w, "action", rule_action_name(req->local.action));
    put_names(w, "mx", "mx_count", &req->local.mx);
    put_uint(w, "trust", req->local.trust);
}

/* The chain as presented, leaf first. */
static void
put_certs(struct pack_writer *w, const struct peer_chain *chain)
{
    size_t count = chain ? chain->count : 0;

    key(w, "certs_sha256");
    pack_array(w, count);
    for (size_t i = 0; i < count; i++)
        pack_bin(w, span_make(chain->cert_sha256[i], sizeof chain->cert_sha256[i]));
}

static void
put_tls(struct pack_writer *w, const struct observation *obs)
{
    bool done;

    key(w, "tls");
    if (!obs) {
        pack_nil(w);
        return;
    }
    done = obs->stage == TLS_STAGE_DONE;
    pack_map(w, TLS_PAIRS + (done ? CERTIFICATE_PAIRS : 0));
    put_word(w, "stage", tls_stage_name(obs->stage));
    put_bool(w, "starttls_offered", obs->starttls_offered);
    put_uint(w, "starttls_code", obs->starttls_code);
    put_bool(w, "requiretls_offered", obs->requiretls_offered);
    put_bool(w, "bound", obs->bound);
    put_word(w, "failure", tls_failure_name(obs->failure));
    put_text(w, "failure_reason", obs->failure_reason);
    put_bool(w, "fallback", obs->stage == TLS_STAGE_CLEAR && obs->failure != TLS_FAILURE_NONE);
    put_text(w, "alert", obs->alert);
    put_text(w, "sni", obs->sni);
    put_uint(w, "trust", obs->trust);
    put_word(w, "floor", tls_version_name(obs->floor));
    put_word(w, "version", tls_version_name(obs->version));
    put_bool(w, "weak", observation_is_weak(obs));
    put_text(w, "cipher", obs->cipher);
    put_text(w, "group", obs->group);
    put_bool(w, "ticket_offered", obs->ticket_offered);
    put_bool(w, "resumed", obs->resumed);
    if (!done)
        return;
    put_word(w, "chain", chain_state_name(obs->chain));
    put_text(w, "chain_error", obs->chain_error);
    put_text(w, "chain_reason", obs->chain_reason);
    put_names(w, "san", "san_count", &obs->sans);
    put_bin(w, "leaf_sha256", span_make(obs->leaf_sha256, sizeof obs->leaf_sha256));
    put_certs(w, obs->certs);
}

static void
put_verdict(struct pack_writer *w, const struct verdict *verdict)
{
    const char *result = result_type_name(verdict->result);

    put_word(w, "verdict", verdict_action_name(verdict->action));
    put_text(w, "rule", verdict->rule);
    put_word(w, "result_type", *result ? result : "success");
    put_text(w, "reason", verdict->reason);
    put_text(w, "mx", verdict->mx);
    put_bool(w, "mx_proven", verdict->proven);
}

/* What the verdict was made of that stands nowhere else: enough to make it again. */
static void
put_judged(struct pack_writer *w, const struct requirement *req, const struct verdict *verdict)
{
    key(w, "judged");
    if (verdict->judged_at_s == 0) {
        pack_nil(w);
        return;
    }
    pack_map(w, JUDGED_PAIRS);
    put_int(w, "at", verdict->judged_at_s);
    put_bool(w, "bound", verdict->bound);
    put_bool(w, "client_tls", verdict->demand.client_tls);
    put_bool(w, "null_sender", verdict->demand.null_sender);
    put_bool(w, "cleartext_fallback", verdict->demand.cleartext_fallback);
    put_word(w, "floor", tls_version_name(verdict->demand.floor));
    put_bool(w, "mx_secure", req->dane.mx_secure);
    put_bool(w, "report_mail", verdict->demand.report_mail);
    put_text(w, "report_floor", tls_version_name(verdict->demand.report_floor));
}

static void
put_report_details(struct pack_writer *w, const struct tls_report *report)
{
    key(w, "details");
    pack_array(w, report->detail_count);
    for (size_t i = 0; i < report->detail_count; i++) {
        const struct tls_report_detail *detail = &report->details[i];

        pack_map(w, REPORT_DETAIL_PAIRS);
        put_word(w, "result_type", result_type_name(detail->result));
        put_text(w, "reason", detail->reason);
        put_bool(w, "fetch", detail->fetch);
    }
}

/* What TLSRPT counts; text, patterns and TLSA records of the policy stand in "policy" and "dane"
 * already. */
static void
put_reports(struct pack_writer *w, const struct session_report *report, unsigned number)
{
    size_t count = report ? report->count : 0;
    char sending[IP_ADDR_TEXT_MAX];

    put_uint(w, "verdict_number", number);
    key(w, "reports");
    pack_array(w, count);
    for (size_t i = 0; i < count; i++) {
        const struct tls_report *part = &report->parts[i];

        pack_map(w, REPORT_PAIRS);
        put_word(w, "type", tls_report_type_name(part->type));
        put_text(w, "policy_domain", part->policy_domain);
        put_bool(w, "fetched", part->type == TLS_REPORT_STS && part->mx.count);
        put_bool(w, "failed", part->failed);
        put_report_details(w, part);
        put_text(w, "sending", part->sending.len ? ip_addr_text(&part->sending, sending) : "");
        put_text(w, "mx_host", part->mx_host);
        put_text(w, "helo", part->helo);
    }
}

enum result
record_encode_recipient(const struct record_recipient *record, struct buffer *out)
{
    const struct requirement *req = record->req;
    struct pack_writer w;

    begin_record(&w, out, record->wall_ns, "recipient", SESSION_PAIRS + RECIPIENT_PAIRS,
                 record->session->id, record->number);
    put_session(&w, record->session);
    put_uint(&w, "transaction", record->transaction);
    put_text(&w, "rcpt_domain", record->rcpt_domain);
    put_text(&w, "domain", req->domain);
    put_text(&w, "outcome", record->outcome);
    put_verdict(&w, record->verdict);
    put_word(&w, "would", verdict_action_name(record->verdict->would));
    put_bool(&w, "monitored", req->monitored);
    put_bool(&w, "defer", req->defer);
    put_bool(&w, "null_mx", req->null_mx);
    put_bool(&w, "tls_required", record->verdict->demand.site_tls);
    put_bool(&w, "requiretls", record->verdict->demand.requiretls);
    put_judged(&w, req, record->verdict);
    put_local(&w, req);
    put_word(&w, "matched", mx_match_name(req->matched));
    put_bool(&w, "mx_lookup_failed", req->mx_lookup_failed);
    put_names(&w, "mx_candidates", "mx_candidates_count", &req->names);
    put_word(&w, "tls_floor", tls_version_name(req->tls_floor));
    put_policy(&w, req, &record->verdict->sts);
    put_dane(&w, req, record->dane, &record->verdict->tlsa);
    put_tls(&w, record->obs);
    put_span(&w, "reply", record->reply);
    put_text(&w, "reply_by", record->reply_by);
    put_text(&w, "reply_id", record->reply_id);
    put_span(&w, "final_reply", record->final_reply);
    put_reports(&w, record->report, record->verdict_number);
    put_text(&w, "engine", record->engine);
    put_text(&w, "engine_reason", record->engine_reason);
    return pack_end(&w);
}

enum result
record_encode_session(const struct record_session_end *record, struct buffer *out)
{
    int64_t duration_ns = record->wall_ns - record->started_ns;
    struct pack_writer w;

    begin_record(&w, out, record->wall_ns, "session", SESSION_PAIRS + END_PAIRS,
                 record->session->id, 0);
    put_session(&w, record->session);
    put_span(&w, "helo", record->helo);
    put_int(&w, "started_at", record->started_ns / 1000000000);
    put_uint(&w, "duration_ms", duration_ns > 0 ? (uint64_t)duration_ns / 1000000 : 0);
    put_uint(&w, "transactions", record->transactions);
    put_uint(&w, "delivered", record->delivered);
    put_uint(&w, "allowed", record->allowed);
    put_uint(&w, "refused", record->refused);
    put_uint(&w, "reconnects", record->reconnects);
    put_uint(&w, "violations", record->violations);
    put_bool(&w, "left_without_mail", record->left_without_mail);
    put_uint(&w, "bytes_to_mx", record->bytes_to_mx);
    put_uint(&w, "bytes_to_client", record->bytes_to_client);
    put_text(&w, "engine", record->engine);
    put_tls(&w, record->obs);
    put_text(&w, "end", record->end);
    put_text(&w, "state", record->state);
    return pack_end(&w);
}

enum result
record_encode_survey(const struct record_survey *record, struct buffer *out)
{
    int64_t duration_ns = record->wall_ns - record->started_ns;
    struct pack_writer w;

    begin_record(&w, out, record->wall_ns, record->event, SESSION_PAIRS + SURVEY_PAIRS,
                 record->session->id, 0);
    put_session(&w, record->session);
    put_int(&w, "started_at", record->started_ns / 1000000000);
    put_uint(&w, "duration_ms", duration_ns > 0 ? (uint64_t)duration_ns / 1000000 : 0);
    put_bool(&w, "connected", record->connected);
    put_bool(&w, "starttls_offered", record->starttls_offered);
    put_bool(&w, "starttls_asked", record->starttls_asked);
    put_bool(&w, "starttls_accepted", record->starttls_accepted);
    put_uint(&w, "mails_in_clear", record->mails_in_clear);
    put_uint(&w, "recipients_in_clear", record->recipients_in_clear);
    put_word(&w, "tls_version", tls_version_name(record->tls_version));
    put_uint(&w, "bytes_to_mx", record->bytes_to_mx);
    put_uint(&w, "bytes_to_client", record->bytes_to_client);
    put_text(&w, "engine", record->engine);
    put_text(&w, "engine_reason", record->engine_reason);
    put_text(&w, "end", record->end);
    return pack_end(&w);
}

enum result
record_encode_policy(const struct record_policy *record, struct buffer *out)
{
    struct pack_writer w;

    begin_record(&w, out, record->wall_ns, "policy", CHANGE_PAIRS, record->domain,
                 (uint64_t)record->wall_ns);
    put_text(&w, "domain", record->domain);
    put_text(&w, "id", record->id);
    put_text(&w, "old_id", record->old_id);
    put_text(&w, "mode", record->mode);
    put_uint(&w, "max_age", record->max_age_s);
    put_names(&w, "mx", "mx_count", record->mx);
    put_span(&w, "text", record->text);
    put_bin(&w, "text_sha256", span_make(record->text_sha256, 32));
    put_bin(&w, "old_sha256", span_make(record->old_sha256, 32));
    put_int(&w, "fetched_at", record->fetched_at_s);
    put_int(&w, "expires_at", record->expires_at_s);
    return pack_end(&w);
}

enum result
record_encode_process(const struct record_process *record, struct buffer *out)
{
    struct pack_writer w;

    begin_record(&w, out, record->wall_ns, "process", PROCESS_PAIRS, record->name,
                 (uint64_t)record->wall_ns);
    put_text(&w, "what", record->what);
    put_text(&w, "process", record->name);
    put_uint(&w, "index", record->index);
    put_int(&w, "pid", record->pid);
    put_text(&w, "version", record->version);
    put_text(&w, "reason", record->reason);
    return pack_end(&w);
}
