/* base/requirement_msg_fuzz.c: any bytes as a requirement. Promises: NULL unless RES_OK; what is
 * accepted is what the rest of the program relies on, and is the same when sent on. */
#include "base/requirement_msg.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check_dane(const struct requirement *req)
{
    must(req->dane.state <= DANE_FAILED && req->dane.host_count <= DANE_HOSTS_MAX);
    must((req->dane.state == DANE_SECURE) == (req->dane.host_count > 0));
    must((req->dane.state == DANE_FAILED) == (req->dane.reason[0] != '\0'));
    must(req->dane.required == (req->local.action == RULE_DANE));
    for (size_t i = 0; i < req->dane.host_count; i++) {
        const struct dane_host *host = &req->dane.hosts[i];

        must(hostname_is_valid(span_of(host->mx)) && hostname_is_valid(span_of(host->base)));
        must(host->references.count >= 1 && host->references.count <= DANE_REFERENCES_MAX);
        must(strcmp(host->references.names[0], host->base) == 0);
        must(host->count >= 1 && host->count <= TLSA_RECORDS_MAX);
        for (size_t k = 0; k < host->count; k++)
            must(host->records[k].len <= TLSA_DATA_MAX &&
                 (host->records[k].data != NULL) == (host->records[k].len > 0));
    }
}

static void
check_promises(const struct requirement *req)
{
    must(req->domain[0] == '\0' || hostname_is_valid(span_of(req->domain)));
    must(req->matched <= MX_MATCH_TABLE && req->sts.mode <= STS_MODE_ENFORCE);
    must(req->names.count <= REQUIREMENT_MSG_NAMES_MAX);
    for (size_t i = 0; i < req->names.count; i++)
        must(hostname_matches(span_of(req->names.names[i]), span_of(req->names.names[i])));
    must(req->sts.mode == STS_MODE_NONE || (req->sts.mx.count > 0 && req->sts.fetched_at_s > 0));
    must(req->sts.expires_at_s >= req->sts.fetched_at_s || req->sts.fetched_at_s == 0);
    must(req->tls_floor >= TLS_VERSION_1_0 && req->tls_floor <= TLS_VERSION_1_3);
    must(req->ttl_s <= 3600);
    check_dane(req);
}

static void
encode(const struct requirement *req, struct buffer *out)
{
    struct pack_writer w;

    buffer_init(out, REQUIREMENT_MSG_MAX_BYTES);
    pack_begin(&w, out);
    requirement_encode(req, &w);
    must(pack_end(&w) == RES_OK);
}

static enum result
decode(struct span bytes, struct requirement **out)
{
    struct pack_reader r;

    pack_reader_init(&r, bytes);
    return requirement_decode(&r, out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct requirement *req, *again;
    struct buffer once, twice;
    enum result res = decode(span_make(data, size), &req);

    must((req != NULL) == (res == RES_OK));
    if (!req)
        return 0;
    check_promises(req);
    encode(req, &once);
    must(buffer_len(&once) <= size); /* ours is the shortest form */
    must(decode(buffer_span(&once), &again) == RES_OK);
    encode(again, &twice);
    must(span_equal(buffer_span(&once), buffer_span(&twice)));
    buffer_clear(&once);
    buffer_clear(&twice);
    requirement_unref(again);
    requirement_unref(req);
    return 0;
}
