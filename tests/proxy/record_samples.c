#include "tests/proxy/record_samples.h"

#include <stdio.h>
#include <stdlib.h>

static void
must(bool holds)
{
    if (!holds)
        abort();
}

#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static void
fill_requirement(struct requirement *req)
{
    SET(req->domain, "example.com");
    req->matched = MX_MATCH_ADDRESS;
    must(name_list_add(&req->names, span_of("mx1.example.com")) == RES_OK);
    must(name_list_add(&req->names, span_of("mx2.example.com")) == RES_OK);
    req->sts.mode = STS_MODE_ENFORCE;
    SET(req->sts.id, "20231114T2213");
    must(name_list_add(&req->sts.mx, span_of("*.example.com")) == RES_OK);
    memset(req->sts.text_sha256, 0xab, sizeof req->sts.text_sha256);
    req->sts.fetched_at_s = 1699990000;
    req->sts.expires_at_s = 1700594800;
    SET(req->sts.discovery, "sts-policy-fetch-error http-503");
    req->local.action = RULE_VERIFY;
    SET(req->local.id, "bank");
    must(name_list_add(&req->local.mx, span_of("*.example.com")) == RES_OK);
    req->local.trust = 1;
    req->tls_floor = TLS_VERSION_1_2;
    req->ttl_s = 300;
    req->dane.state = DANE_SECURE;
    req->dane.mx_secure = true;
    req->dane.hosts = calloc(1, sizeof *req->dane.hosts);
    must(req->dane.hosts);
    req->dane.host_count = 1;
    SET(req->dane.hosts->mx, "mx1.example.com");
    SET(req->dane.hosts->base, "mx1.real.example");
    must(name_list_add(&req->dane.hosts->references, span_of("mx1.real.example")) == RES_OK);
    must(dane_host_add(req->dane.hosts, 3, 1, 1, span_of("\x01\xab")) == RES_OK);
}

static void
fill_observation(struct observation *obs, const struct requirement *req)
{
    obs->starttls_offered = true;
    obs->starttls_code = 220;
    obs->stage = TLS_STAGE_DONE;
    SET(obs->sni, "mx1.example.com");
    obs->floor = TLS_VERSION_1_2;
    obs->version = TLS_VERSION_1_3;
    SET(obs->cipher, "TLS_AES_128_GCM_SHA256");
    SET(obs->group, "X25519");
    obs->chain = CHAIN_EXPIRED;
    SET(obs->chain_error, "X509_V_ERR_CERT_HAS_EXPIRED");
    SET(obs->chain_reason, "certificate has expired");
    must(name_list_add(&obs->sans, span_of("mx1.example.com")) == RES_OK);
    memset(obs->leaf_sha256, 0x0f, sizeof obs->leaf_sha256);
    obs->dane = (struct dane_facts){ .key = requirement_dane_key(req),
                                     .match = DANE_MATCHED,
                                     .usage = 3,
                                     .selector = 1,
                                     .matching = 1,
                                     .error = "X509_V_OK",
                                     .reason = "ok" };
    must(peer_chain_new((struct span[]){ span_of("leaf"), span_of("issuer") }, 2, &obs->certs) ==
         RES_OK);
}

static void
fill_report(struct session_report *report)
{
    struct tls_report *part = &report->parts[0];

    report->count = 1;
    *part = (struct tls_report){ .at_s = SAMPLE_WALL_NS / 1000000000,
                                 .type = TLS_REPORT_STS,
                                 .failed = true,
                                 .detail_count = 1,
                                 .sending = { 4, { 192, 0, 2, 1 } } };
    part->details[0].result = RESULT_CERTIFICATE_EXPIRED;
    SET(part->details[0].reason, "X509_V_ERR_CERT_HAS_EXPIRED");
    SET(part->domain, "example.com");
    SET(part->policy_domain, "example.com");
    SET(part->mx_host, "mx1.example.com");
    SET(part->helo, "mx1.example.com");
}

static void
fill_recipient(struct record_samples *s)
{
    s->recipient = (struct record_recipient){
        .wall_ns = SAMPLE_WALL_NS,
        .session = &s->info,
        .req = s->req,
        .obs = s->obs,
        .dane = &s->obs->dane,
        .verdict = &s->verdict,
        .number = 3,
        .transaction = 2,
        .rcpt_domain = "example.com",
        .outcome = "refused",
        .reply = span_of("451 4.7.5 refused"),
        .reply_by = "gateway",
        .reply_id = "REP-013",
        .final_reply = span_of("250 2.0.0 queued"),
        .verdict_number = 3,
        .report = &s->report,
        .engine = "library",
        .engine_reason = "small",
    };
}

static void
fill_session(struct record_samples *s)
{
    s->end = (struct record_session_end){
        .wall_ns = SAMPLE_WALL_NS,
        .started_ns = SAMPLE_WALL_NS - 2500000000,
        .session = &s->info,
        .obs = s->obs,
        .helo = span_of("client.example"),
        .transactions = 2,
        .delivered = 1,
        .allowed = 3,
        .refused = 4,
        .reconnects = 5,
        .violations = 6,
        .bytes_to_mx = UINT64_C(5000000000),
        .bytes_to_client = 321,
        .engine = "seal",
        .end = "quit",
        .state = "closed",
    };
    s->survey = (struct record_survey){
        .event = "survey",
        .wall_ns = SAMPLE_WALL_NS,
        .started_ns = SAMPLE_WALL_NS - 2500000000,
        .session = &s->info,
        .connected = true,
        .starttls_offered = true,
        .mails_in_clear = 1,
        .recipients_in_clear = 2,
        .bytes_to_mx = 300,
        .bytes_to_client = 321,
        .engine = "copy",
        .engine_reason = "looked-at",
        .end = "closed",
    };
}

static void
fill_policy(struct record_samples *s)
{
    s->policy = (struct record_policy){
        .wall_ns = SAMPLE_WALL_NS,
        .domain = "example.com",
        .id = "20231114T2213",
        .old_id = "20221114T2213",
        .mode = "enforce",
        .max_age_s = 604800,
        .mx = &s->req->sts.mx,
        .text = span_of("version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n"),
        .text_sha256 = s->req->sts.text_sha256,
        .old_sha256 = s->obs->leaf_sha256,
        .fetched_at_s = 1699990000,
        .expires_at_s = 1700594800,
    };
}

void
record_samples_init(struct record_samples *s)
{
    *s = (struct record_samples){
        .info = { .id = "00000000deadbeef",
                  .worker = 1,
                  .client = { 4, { 192, 0, 2, 7 } },
                  .client_port = 50123,
                  .destination = { 16, { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x19 } },
                  .destination_port = 25,
                  .intercept = INTERCEPT_TPROXY,
                  .client_starttls = CLIENT_STARTTLS_TERMINATE,
                  .client_tls = { TLS_VERSION_1_3, "TLS_AES_256_GCM_SHA384" } },
        .req = requirement_new(),
        .obs = observation_new(),
        .verdict = { .action = VERDICT_REFUSE,
                     .reply = REPLY_STS_CERTIFICATE,
                     .result = RESULT_CERTIFICATE_EXPIRED,
                     .reason = "certificate has expired",
                     .rule = "STS-085 RFC 8461 4.2",
                     .mx = "mx1.example.com",
                     .tlsa = { .judged = true },
                     .judged_at_s = 1699999999,
                     .demand = { .cleartext_fallback = true, .floor = TLS_VERSION_1_2 } },
        .process = { .wall_ns = SAMPLE_WALL_NS,
                     .what = "stop",
                     .name = "worker",
                     .index = 1,
                     .pid = 4711,
                     .version = "0.1.0",
                     .reason = "drained" },
    };
    must(s->req && s->obs);
    fill_requirement(s->req);
    fill_observation(s->obs, s->req);
    fill_report(&s->report);
    fill_recipient(s);
    fill_session(s);
    fill_policy(s);
}

void
record_samples_clear(struct record_samples *s)
{
    requirement_unref(s->req);
    observation_unref(s->obs);
}
