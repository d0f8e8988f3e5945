#include "proxy/session_view.h"

#include "base/pack.h"

#define FIELDS 18u

static void
put_text(struct pack_writer *w, const char *key, const char *text)
{
    pack_str(w, span_of(key));
    pack_str(w, span_of(text));
}

static void
put_number(struct pack_writer *w, const char *key, uint64_t number)
{
    pack_str(w, span_of(key));
    pack_uint(w, number);
}

enum result
session_view_write(const struct record_session_info *info, const struct session_glance *glance,
                   int64_t now_s, struct buffer *out)
{
    int64_t age_s = now_s - glance->started_ns / 1000000000;
    bool tls = glance->obs->stage == TLS_STAGE_DONE;
    char client[IP_ADDR_TEXT_MAX], destination[IP_ADDR_TEXT_MAX];
    struct pack_writer w;

    pack_begin(&w, out);
    pack_map(&w, FIELDS);
    put_text(&w, "session", info->id);
    put_number(&w, "worker", info->worker);
    put_number(&w, "age", age_s > 0 ? (uint64_t)age_s : 0);
    put_text(&w, "state", glance->state);
    put_text(&w, "client", ip_addr_text(&info->client, client));
    put_number(&w, "client_port", info->client_port);
    put_text(&w, "client_tls", tls_version_name(info->client_tls.version));
    put_text(&w, "client_cipher", info->client_tls.cipher);
    put_text(&w, "destination", ip_addr_text(&info->destination, destination));
    put_number(&w, "destination_port", info->destination_port);
    put_text(&w, "domain", glance->domain);
    put_text(&w, "tls", tls ? tls_version_name(glance->obs->version) : "");
    put_text(&w, "cipher", tls ? glance->obs->cipher : "");
    put_number(&w, "transactions", glance->transactions);
    put_number(&w, "delivered", glance->delivered);
    put_number(&w, "refused", glance->refused);
    put_number(&w, "bytes_to_mx", glance->bytes_to_mx);
    put_number(&w, "bytes_to_client", glance->bytes_to_client);
    return pack_end(&w);
}
