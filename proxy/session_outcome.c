#include "base/log.h"
#include "proxy/judge.h"
#include "proxy/replies.h"
#include "proxy/session_impl.h"

#include <stdlib.h>

/* Is that refusal said to be for ever? Under MTA-STS only once the domain was asked whether it
 * still wants it so (REP-005, RFC 8461 5). */
static bool
is_permanent(const struct session *s, enum reply_row row)
{
    enum reply_class class = reply_class(row);
    const struct rule *rule =
        s->req && *s->req->local.id ? rules_named(&s->config->rules, s->req->local.id) : NULL;
    enum reply_profile profile = rule ? rule->profiles[class] : REPLY_PROFILE_SITE;

    if (class == REPLY_CLASS_NONE ||
        (class == REPLY_CLASS_STS && s->rcpt_recheck != RECHECK_CURRENT))
        return false;
    return profile == REPLY_PROFILE_SITE ? s->config->permanent[class]
                                         : profile == REPLY_PROFILE_PERMANENT;
}

/* Is the client sent away to its next MX by it (PRX-046)? Not where it would cost other recipients
 * their mail, and not where the next MX would not help. */
static bool
is_closing(const struct session *s, enum reply_row row)
{
    return s->config->violation_closes && s->accepted_count == 0 && !is_permanent(s, row) &&
           reply_class(row) != REPLY_CLASS_NONE;
}

static size_t
write_reply(const struct session *s, enum reply_row row, char text[REPLY_MAX_BYTES + 1])
{
    const struct reply_style style = {
        .permanent = is_permanent(s, row),
        .policy_code = s->config->policy_code,
        .closing = is_closing(s, row),
        .text = rules_reply_text(&s->config->rules, reply_id(row, false)),
        .session_id = s->config->reply_ids ? s->info.id : NULL,
    };
    char ip[IP_ADDR_TEXT_MAX];
    const struct reply_args args = {
        .gateway = s->config->hostname,
        .domain = s->req ? s->req->domain : s->rcpt_domain,
        .reason = s->verdict.detail,
        .tls_version = tls_version_reply_name(s->obs->version),
        .ip = ip_addr_text(&s->info.destination, ip),
    };

    return reply_write(row, &args, &style, text);
}

void
session_say_grouped(struct session *s, struct span text)
{
    s->ops->to_client(s->io, text);
    s->stats.bytes_to_client += text.len;
}

void
session_say(struct session *s, struct span text)
{
    s->reply_is_urgent = true;
    session_say_grouped(s, text);
}

void
session_tell_mx(struct session *s, struct span bytes)
{
    s->ops->to_mx(s->io, bytes);
    s->stats.bytes_to_mx += bytes.len;
}

/* What goes as one is one TLS record: an MX that reads it at once answers it by one packet. */
void
session_tell_mx_all(struct session *s, const struct span *parts, size_t count)
{
    struct buffer whole;
    enum result res = RES_OK;

    buffer_init(&whole, (SESSION_GROUP_MAX + 1) * SESSION_LINE_BYTES);
    for (size_t i = 0; i < count && res == RES_OK; i++)
        res = buffer_append(&whole, parts[i]);
    if (res == RES_OK) {
        session_tell_mx(s, buffer_span(&whole));
    } else {
        for (size_t i = 0; i < count; i++) /* no memory: they go one by one */
            session_tell_mx(s, parts[i]);
    }
    buffer_clear(&whole);
}

void
session_reply(struct session *s, enum reply_row row)
{
    char text[REPLY_MAX_BYTES + 1];
    size_t len = write_reply(s, row, text);

    session_say(s, span_make(text, len));
}

void
session_accept_sender(struct session *s)
{
    char text[REPLY_MAX_BYTES + 1];
    size_t len = write_reply(s, REPLY_SENDER_OK, text);

    session_say_grouped(s, span_make(text, len));
}

void
session_owe(struct session *s, enum reply_row row)
{
    char text[REPLY_MAX_BYTES + 1];
    size_t len = write_reply(s, row, text);

    buffer_clear(&s->parting);
    if (buffer_append(&s->parting, span_make(text, len)) != RES_OK)
        buffer_clear(&s->parting); /* no memory: the client gets a 421 instead */
}

struct span
session_chomp(struct span reply)
{
    while (reply.len && (reply.ptr[reply.len - 1] == '\n' || reply.ptr[reply.len - 1] == '\r'))
        reply.len--;
    return reply;
}

/* Of the connection to the MX that obs tells of. */
static const char *
engine_of(struct session *s, const struct observation *obs, const char **out_reason)
{
    *out_reason = "";
    return obs->stage == TLS_STAGE_DONE ? s->ops->engine(s->io, out_reason) : "copy";
}

/* The evidence of one recipient decision (PRX-051). */
static void
record(struct session *s, const struct requirement *req, const struct observation *obs,
       const struct verdict *verdict, unsigned number, struct record_recipient details)
{
    struct session_report report = { .count = 0 };

    details.wall_ns = s->clock.wall_ns(s->clock.arg);
    details.session = &s->info;
    details.req = req;
    details.obs = obs;
    details.verdict = verdict;
    details.number = ++s->stats.records;
    details.transaction = s->transaction;
    if (!details.dane)
        details.dane = &obs->dane;
    if (!details.rcpt_domain)
        details.rcpt_domain = s->rcpt_domain;
    details.engine = engine_of(s, obs, &details.engine_reason);
    details.verdict_number = number;
    if (number &&
        session_report_make(&(struct session_report_facts){ .req = req,
                                                            .obs = obs,
                                                            .dane = details.dane,
                                                            .verdict = verdict,
                                                            .destination = s->info.destination,
                                                            .at_s = verdict->judged_at_s },
                            &report) == RES_OK)
        details.report = &report; /* without memory the log counts one less than the reports */
    s->ops->record_recipient(s->io, &details);
    session_report_clear(&report);
}

static void
tell_report(void *arg, const struct tls_report *report)
{
    struct session *s = arg;

    s->ops->report(s->io, report);
}

/* The verdict is the last one: what TLSRPT counts, unless a later one under the same policy takes
 * its place (RPT-020). */
static void
settle(struct session *s)
{
    struct session_report report = { .count = 0 };

    s->verdict_number = ++s->stats.verdicts;
    if (session_report_make(&(struct session_report_facts){ .req = s->req,
                                                            .obs = s->obs,
                                                            .dane = &s->obs->dane,
                                                            .verdict = &s->verdict,
                                                            .destination = s->info.destination,
                                                            .at_s = s->verdict.judged_at_s },
                            &report) != RES_OK)
        log_warn("event=no-memory where=report session=%s", s->info.id);
    for (size_t i = 0; i < report.count; i++)
        session_report_keep(&s->reports, &report.parts[i], tell_report, s);
}

/* Where no requirement could be had the record says so with an empty one of the same domain. */
static const struct requirement *
requirement_in_hand(const struct session *s, struct requirement *unknown)
{
    if (s->req)
        return s->req;
    *unknown = (struct requirement){ .matched = MX_MATCH_CERTIFICATE };
    memcpy(unknown->domain, s->rcpt_domain, sizeof unknown->domain);
    return unknown;
}

void
session_refuse_recipient(struct session *s, enum reply_row row)
{
    char text[REPLY_MAX_BYTES + 1];
    size_t len = write_reply(s, row, text);
    struct requirement unknown;

    session_say(s, span_make(text, len));
    if (row == REPLY_POLICY_UNAVAILABLE)
        s->verdict =
            (struct verdict){ .action = VERDICT_REFUSE, .reply = row, .rule = "REP-065", .mx = "" };
    record(s, requirement_in_hand(s, &unknown), s->obs, &s->verdict, s->verdict_number,
           (struct record_recipient){ .outcome = "refused",
                                      .reply = session_chomp(span_make(text, len)),
                                      .reply_by = "gateway",
                                      .reply_id = reply_id(row, is_permanent(s, row)) });
    s->stats.refused++;
    s->rcpt_in_hand = false;
}

static void
too_late(struct session *s)
{
    s->verdict_number = 0;
    s->verdict = (struct verdict){ .action = VERDICT_REFUSE,
                                   .reply = REPLY_UPSTREAM_LOST_DATA,
                                   .rule = "PRX-053",
                                   .mx = s->req ? requirement_sni(s->req) : "",
                                   .detail = "" };
    session_refuse_recipient(s, REPLY_UPSTREAM_LOST_DATA);
}

void
session_recipients_too_late(struct session *s)
{
    if (s->rcpt_in_hand)
        too_late(s);
    while (session_land(s))
        too_late(s);
}

void
session_recipient_rejected(struct session *s, struct span reply)
{
    record(s, s->req, s->obs, &s->verdict, s->verdict_number,
           (struct record_recipient){ .outcome = "rejected",
                                      .reply = session_chomp(reply),
                                      .reply_by = "mx",
                                      .reply_id = "" });
    s->stats.allowed++;
    s->rcpt_in_hand = false;
}

void
session_forget_verdict(struct session *s)
{
    s->verdict = (struct verdict){ .action = VERDICT_CLOSE, .rule = "", .mx = "", .detail = "" };
    s->verdict_number = 0;
}

static void
failed(struct session *s, struct record_recipient how)
{
    struct requirement unknown;

    if (!s->req)
        session_forget_verdict(s);
    how.outcome = "failed";
    record(s, requirement_in_hand(s, &unknown), s->obs, &s->verdict, s->verdict_number, how);
    s->rcpt_in_hand = false;
}

/* The one whose turn it is has heard how; those behind it hear nothing any more. */
static void
all_failed(struct session *s, struct record_recipient how)
{
    static const struct record_recipient unheard = { .reply = { "", 0 },
                                                     .reply_by = "gateway",
                                                     .reply_id = "" };

    while (s->rcpt_in_hand || session_land(s)) {
        failed(s, how);
        how = unheard;
    }
}

void
session_recipients_failed(struct session *s, enum reply_row row)
{
    char text[REPLY_MAX_BYTES + 1];
    size_t len = row == REPLY_NONE ? 0 : write_reply(s, row, text);

    all_failed(s, (struct record_recipient){ .reply = session_chomp(span_make(text, len)),
                                             .reply_by = "gateway",
                                             .reply_id = len ? reply_id(row, false) : "" });
}

void
session_recipients_dismissed(struct session *s, struct span reply)
{
    all_failed(s, (struct record_recipient){
                      .reply = session_chomp(reply), .reply_by = "mx", .reply_id = "" });
}

void
session_recipient_accepted(struct session *s, struct span reply)
{
    /* What its record holds, and an octet more, by which it shows that there was more. */
    struct span text = span_first(session_chomp(reply), RECORD_TEXT_MAX + 1);
    struct accepted *more;
    char *copy;

    s->rcpt_in_hand = false;
    s->stats.allowed++;
    more = realloc(s->accepted, (s->accepted_count + 1) * sizeof *more);
    if (more)
        s->accepted = more;
    copy = strndup(text.ptr, text.len);
    if (!more || !copy) { /* without its record it must not be delivered */
        free(copy);
        session_step(s, SEV_MX_LOST);
        return;
    }
    s->accepted[s->accepted_count++] = (struct accepted){ .req = requirement_ref(s->req),
                                                          .obs = observation_ref(s->obs),
                                                          .dane = s->obs->dane,
                                                          .verdict = s->verdict,
                                                          .verdict_number = s->verdict_number,
                                                          .reply = copy };
    memcpy(s->accepted[s->accepted_count - 1].domain, s->rcpt_domain, sizeof s->rcpt_domain);
}

void
session_message_over(struct session *s, bool delivered, struct span final_reply)
{
    for (size_t i = 0; i < s->accepted_count; i++) {
        struct accepted *a = &s->accepted[i];

        record(s, a->req, a->obs, &a->verdict, a->verdict_number,
               (struct record_recipient){ .rcpt_domain = a->domain,
                                          .dane = &a->dane,
                                          .outcome = delivered ? "delivered" : "failed",
                                          .reply = span_of(a->reply),
                                          .reply_by = "mx",
                                          .reply_id = "",
                                          .final_reply = final_reply });
        requirement_unref(a->req);
        observation_unref(a->obs);
        free(a->reply);
    }
    if (delivered)
        s->stats.delivered++;
    free(s->accepted);
    s->accepted = NULL;
    s->accepted_count = 0;
}

void
session_end_transaction(struct session *s)
{
    session_message_over(s, false, span_of(""));
    buffer_clear(&s->mail_line);
    buffer_clear(&s->bounce_line);
    buffer_clear(&s->mail_refusal);
    session_memo_clear(&s->memo); /* the next one is judged anew (PRX-037) */
    s->mail_open = false;
    s->mail_sent = false;
    s->sends_reports = false;
    s->chunked = false;
    s->rcpt_seen = 0;
}

/* May the recipient go upstream with the extensions its command and the MAIL before it use? The
 * list that was shown may have come in clear (PRX-032). */
static bool
extensions_there(const struct session *s)
{
    unsigned used = s->mail_extensions | s->rcpt_extensions;

    if (buffer_len(&s->bounce_line)) /* goes without, if need be (RTLS-006) */
        used &= ~(unsigned)EHLO_REQUIRETLS;
    return (used & ~s->mx_keywords) == 0;
}

/* Before mail is refused for an MTA-STS policy, that policy is looked up anew, once for each
 * recipient: it often has just been changed (STS-103, RFC 8461 5.1). */
static bool
wants_recheck(const struct session *s)
{
    enum reply_row row = s->verdict.reply;

    return row >= REPLY_STS_MX_MISMATCH && row <= REPLY_STS_NAME_MISMATCH &&
           s->rcpt_recheck == RECHECK_NONE;
}

/* The verdict allows this MX, or only misses a keyword of it (RTLS-001): what it lists is worth
 * telling, and how much so (PRX-029). */
static void
tell_list(struct session *s)
{
    bool proven = s->verdict.proven || s->verdict.reply == REPLY_REQUIRETLS_MISSING;

    if (buffer_len(&s->mx_list) == 0)
        return;
    s->ops->learn_list(s->io, buffer_span(&s->mx_list), proven);
    if (proven)
        buffer_clear(&s->mx_list);
}

/* A refusal that says 421 ends the session, whatever it is for. */
static enum session_event
refuse(struct session *s, enum reply_row row)
{
    session_refuse_recipient(s, row);
    return is_closing(s, row) ? SEV_GIVE_UP : SEV_REFUSE;
}

/* judge() ends by itself; should it ever go in circles, the client does not. */
static enum session_event
reconnect_once_more(struct session *s)
{
    if (s->authenticated) { /* another connection would not be (PRX-031) */
        s->verdict.action = VERDICT_REFUSE;
        s->verdict.reply = REPLY_IDENTITY_REQUIRED;
        s->verdict.rule = "PRX-031";
        s->verdict.detail = "the connection is authenticated and cannot be changed";
        return refuse(s, REPLY_IDENTITY_REQUIRED);
    }
    if (++s->rcpt_reconnects <= SESSION_RECONNECTS_MAX)
        return SEV_NEW_CONNECTION;
    log_error("event=reconnect-loop session=%s domain=%s rule=\"%s\"", s->info.id, s->req->domain,
              s->verdict.rule);
    return SEV_MX_LOST;
}

/* Is the recipient in hand, of a listed pair's mail, whom the domain has its TLS reports sent to?
 * (RPT-080) */
static bool
takes_reports(const struct session *s)
{
    struct smtp_command cmd;

    if (!s->sends_reports || !s->rcpt_in_hand || s->req->report_to.count == 0)
        return false;
    smtp_command_parse(session_chomp(buffer_span(&s->rcpt_line)), true, &cmd);
    return cmd.error == REPLY_NONE &&
           report_address_listed(&s->req->report_to, cmd.path.local, cmd.path.domain);
}

static struct demand
demand_of(const struct session *s)
{
    return (struct demand){ .site_tls = s->config->tls_required,
                            .client_tls = s->info.client_tls.version != 0,
                            .requiretls = s->mail_extensions & EHLO_REQUIRETLS,
                            .null_sender = buffer_len(&s->bounce_line) > 0,
                            .cleartext_fallback = s->config->cleartext_fallback,
                            .floor = s->config->tls_minimum,
                            .report_mail = takes_reports(s),
                            .report_floor = s->config->tls_opportunistic_minimum };
}

uint16_t
session_floor(const struct session *s)
{
    const struct demand demand = demand_of(s);

    return judge_floor(s->req, &demand);
}

/* For the further recipients of that domain (PRX-038). */
static void
remember_requirement(struct session *s)
{
    if (!s->rcpt_without_policy)
        session_memo_keep(&s->memo, s->rcpt_domain, s->req, s->rcpt_recheck,
                          s->ops->policy_epoch(s->io), clock_mono_ms(&s->clock));
}

/* The facts of DANE are about one set of records; those of an earlier recipient stay with it.
 * False: no memory. */
static bool
know_dane(struct session *s)
{
    uint64_t key = requirement_dane_key(s->req);

    if (s->obs->stage != TLS_STAGE_DONE || key == 0 || s->obs->dane.key == key)
        return true;
    s->obs->dane = (struct dane_facts){ .key = key };
    return s->ops->check_dane(s->io, s->obs->certs, s->req, &s->obs->dane);
}

/* Only what passed, or had nothing to pass, is worth a ticket (TLS-026); a failure that is counted
 * and lets the mail go did not pass. */
static void
tell_tls(struct session *s)
{
    bool good = s->verdict.action == VERDICT_ALLOW && s->verdict.result == RESULT_SUCCESS;

    if (s->verdict.full_handshake || (good && s->obs->stage == TLS_STAGE_DONE))
        s->ops->tls_verdict(s->io, good);
}

/* The verdict about the recipient in hand. False: no memory. */
static bool
reach_verdict(struct session *s)
{
    const struct demand demand = demand_of(s);

    if (!know_dane(s))
        return false;
    s->obs->bound = s->accepted_count > 0 || s->flights;
    s->verdict = judge(s->req, &demand, s->obs, clock_wall_s(&s->clock));
    log_debug("session=%s domain=%s mx=%s verdict=%s rule=\"%s\"", s->info.id, s->req->domain,
              requirement_sni(s->req), verdict_action_name(s->verdict.action), s->verdict.rule);
    return true;
}

/* What waits already cannot be the reply to a command not yet sent (TLS-003). Nor is STARTTLS said
 * to an MX that has MAIL from before: some refuse it there, and it would have to be told all again.
 */
static enum session_event
start_tls(struct session *s)
{
    if (s->mx_mail_open)
        return reconnect_once_more(s);
    return s->ops->mx_is_quiet(s->io) ? SEV_START_TLS : SEV_MX_LOST;
}

/* Of a smart host, before any recipient: TLS, if it is to be had. What it is worth is judged again
 * for each recipient, and only then is anything refused. */
static enum session_event
judge_smart_host(struct session *s)
{
    if (!reach_verdict(s))
        return SEV_MX_LOST;
    tell_tls(s);
    s->host_proven = s->verdict.action == VERDICT_ALLOW && s->verdict.proven;
    if (s->verdict.action == VERDICT_START_TLS)
        return start_tls(s);
    if (!session_announce(s))
        return SEV_MX_LOST;
    if (s->verdict.action == VERDICT_ALLOW)
        tell_list(s);
    return SEV_ANNOUNCED;
}

enum session_event
session_judge(struct session *s)
{
    if (s->hand != SMTP_VERB_RCPT)
        return judge_smart_host(s);
    if (!s->mx_up && s->mx_stale)
        return SEV_NEW_CONNECTION;
    if (!reach_verdict(s))
        return SEV_MX_LOST;
    tell_tls(s);
    switch (s->verdict.action) {
    case VERDICT_REFUSE:
        if (wants_recheck(s)) {
            s->rcpt_recheck = RECHECK_ASKED;
            return SEV_RECHECK;
        }
        settle(s);
        remember_requirement(s);
        if (s->verdict.reply == REPLY_REQUIRETLS_MISSING)
            tell_list(s);
        return refuse(s, s->verdict.reply);
    case VERDICT_START_TLS:
        return start_tls(s);
    case VERDICT_RECONNECT:
        return reconnect_once_more(s);
    case VERDICT_CLOSE:
        settle(s);
        session_refuse_recipient(s, s->verdict.reply);
        return SEV_GIVE_UP;
    case VERDICT_ALLOW:
        break;
    }
    settle(s);
    remember_requirement(s);
    if (!s->mx_up)
        return SEV_MX_LOST; /* judged on a connection that is gone: nothing to send it on */
    tell_list(s);
    if (!extensions_there(s))
        return refuse(s, REPLY_EXTENSION_GONE);
    return s->mx_mail_open && !s->mail_sent ? SEV_STALE_MAIL : SEV_ALLOW;
}

/* May the recipient in hand go with those before it, at once? All that would take longer, or say
 * anything to the client, waits until they are answered: then it is judged in its turn. */
enum session_event
session_judge_ahead(struct session *s)
{
    if (!s->req || !reach_verdict(s) || s->verdict.action != VERDICT_ALLOW ||
        !extensions_there(s)) {
        s->rcpt_in_hand = false;
        return SEV_SEND;
    }
    settle(s);
    tell_tls(s);
    tell_list(s);
    remember_requirement(s);
    return SEV_ALLOW;
}

void
session_write_end(struct session *s, enum session_state from, enum session_event event)
{
    const char *reason;
    const struct record_session_end end = {
        .wall_ns = s->clock.wall_ns(s->clock.arg),
        .started_ns = s->stats.started_ns,
        .session = &s->info,
        .obs = s->obs,
        .helo = s->client_name ? span_of(s->client_name) : span_of(""),
        .transactions = s->transaction,
        .delivered = s->stats.delivered,
        .allowed = s->stats.allowed,
        .refused = s->stats.refused,
        .reconnects = s->stats.reconnects,
        .violations = s->bad_commands,
        .left_without_mail = session_left_without_mail(s, from, event),
        .bytes_to_mx = s->stats.bytes_to_mx,
        .bytes_to_client = s->stats.bytes_to_client,
        .engine = s->obs->local.len ? engine_of(s, s->obs, &reason) : "", /* it came up */
        .end = session_event_name(event),
        .state = session_state_name(from),
    };

    s->ops->record_session(s->io, &end);
    session_report_tell_all(&s->reports, tell_report, s);
}
