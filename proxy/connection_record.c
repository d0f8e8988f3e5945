#include "proxy/connection_record.h"

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/connection.h"
#include "proxy/counters.h"
#include "proxy/top_refused.h"

#include <stdio.h>

/* What has been encoded into shared->record. */
static void
write_record(struct connection_shared *shared, const char *session, enum result encoded)
{
    if (encoded != RES_OK)
        log_error("event=record-lost session=%s reason=%s", session, result_name(encoded));
    else /* which counts it */
        record_sink_write(shared->records, buffer_span(&shared->record));
    buffer_rewind(&shared->record);
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

void
connection_record_recipient(struct connection_shared *shared, const struct record_recipient *record)
{
    log_info("event=recipient session=%s domain=%s mx=%s outcome=%s tls=%s client_tls=%s result=%s "
             "reply=%s weak=%s",
             record->session->id, record->req->domain, record->verdict->mx, record->outcome,
             record->obs->stage == TLS_STAGE_DONE ? tls_version_name(record->obs->version) : "none",
             leg_name(&record->session->client_tls),
             record->verdict->result == RESULT_SUCCESS ? "success"
                                                       : result_type_name(record->verdict->result),
             record->reply_id, observation_is_weak(record->obs) ? "yes" : "no");
    warn_of_unknown_address(record);
    count_recipient(shared, record);
    write_record(shared, record->session->id, record_encode_recipient(record, &shared->record));
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

void
connection_record_session(struct connection_shared *shared, const struct record_session_end *record)
{
    log_info("event=session session=%s client_tls=%s end=%s state=%s delivered=%u refused=%u",
             record->session->id, leg_name(&record->session->client_tls), record->end,
             record->state, record->delivered, record->refused);
    counters_session(shared->counters, record);
    if (record->left_without_mail)
        tell_of_leaving(shared->admission, record->session);
    write_record(shared, record->session->id, record_encode_session(record, &shared->record));
}
