#include "proxy/inspect_frame.h"

static const char *const part_names[] = {
    [INSPECT_STS_TXT] = "sts-txt",       [INSPECT_POLICY] = "policy",
    [INSPECT_TLSRPT_TXT] = "tlsrpt-txt", [INSPECT_MX] = "mx",
    [INSPECT_ADDRESS] = "address",       [INSPECT_TLSA] = "tlsa",
    [INSPECT_RESOLVER] = "resolver",
};

static void
put_text(struct pack_writer *w, const char *key, struct span text)
{
    pack_str(w, span_of(key));
    pack_str(w, text);
}

static void
put_number(struct pack_writer *w, const char *key, uint64_t value)
{
    pack_str(w, span_of(key));
    pack_uint(w, value);
}

static void
begin_list(struct pack_writer *w, const char *key, size_t count)
{
    pack_str(w, span_of(key));
    pack_array(w, count);
}

static const char *
state_name(const struct resolver_answer *a)
{
    if (a->status == RESOLVER_FAILED)
        return a->bogus ? "bogus" : "failed";
    return a->answer.rcode == DNS_RCODE_NXDOMAIN ? "no-such-name" : "answered";
}

static const char *
security_name(const struct resolver_answer *a)
{
    static const char *const names[] = {
        [DNS_BOGUS] = "bogus", [DNS_INSECURE] = "insecure", [DNS_SECURE] = "secure"
    };

    return a->status == RESOLVER_FAILED ? "unknown" : names[a->security];
}

static void
put_records(struct pack_writer *w, enum inspect_kind kind, const struct dns_answer *answer)
{
    char ip[IP_ADDR_TEXT_MAX];

    begin_list(w, "records", answer->count);
    for (size_t i = 0; i < answer->count; i++) {
        if (kind == INSPECT_MX) {
            pack_map(w, 2);
            put_number(w, "preference", answer->mx[i].preference);
            put_text(w, "host", span_of(answer->mx[i].host));
        } else if (kind == INSPECT_ADDRESS) {
            pack_str(w, span_of(ip_addr_text(&answer->addrs[i], ip)));
        } else {
            pack_str(w, answer->texts[i]);
        }
    }
}

static void
write_answer(struct pack_writer *w, const struct inspect_part *part)
{
    const struct resolver_answer *a = part->answer;

    pack_map(w, part->kind == INSPECT_ADDRESS || part->kind == INSPECT_MX ? 8 : 7);
    put_text(w, "part", span_of(part_names[part->kind]));
    put_text(w, "name", span_of(part->name));
    if (part->kind == INSPECT_ADDRESS)
        put_text(w, "type", span_of(part->qtype == DNS_TYPE_A ? "A" : "AAAA"));
    put_text(w, "state", span_of(state_name(a)));
    put_text(w, "reason", span_of(a->reason));
    put_text(w, "security", span_of(security_name(a)));
    put_text(w, "owner", span_of(a->answer.owner));
    put_records(w, part->kind, &a->answer);
    if (part->kind == INSPECT_MX)
        put_number(w, "left_out", a->answer.left_out);
}

static void
write_policy(struct pack_writer *w, const struct inspect_part *part)
{
    const struct sts_finding *p = part->policy;
    bool has = p->has_policy;

    pack_map(w, 8);
    put_text(w, "part", span_of(part_names[part->kind]));
    put_text(w, "name", span_of(part->name));
    put_text(w, "state", span_of(has ? "valid" : "none"));
    put_text(w, "problem", span_of(p->problem));
    put_text(w, "mode", span_of(has ? sts_mode_name(p->entry.mode) : ""));
    put_text(w, "id", span_of(has ? p->entry.id : ""));
    put_number(w, "max_age", has ? p->entry.max_age_s : 0);
    pack_str(w, span_of("text"));
    pack_bin(w, has ? p->entry.text : p->body);
}

static void
write_tlsa(struct pack_writer *w, const struct inspect_part *part)
{
    const struct tlsa_finding *t = part->tlsa;
    char text[TLSA_TEXT_MAX];

    pack_map(w, 8);
    put_text(w, "part", span_of(part_names[part->kind]));
    put_text(w, "name", span_of(part->name));
    put_number(w, "port", part->port);
    put_text(w, "state", span_of(dane_state_name(t->state)));
    put_text(w, "reason", span_of(t->reason));
    put_text(w, "base", span_of(t->host.base));
    pack_str(w, span_of("dnssec"));
    pack_bool(w, t->dnssec);
    begin_list(w, "records", t->host.count);
    for (size_t i = 0; i < t->host.count; i++) {
        pack_map(w, 2);
        put_text(w, "record", span_make(text, tlsa_record_text(&t->host.records[i], text)));
        pack_str(w, span_of("usable"));
        pack_bool(w, tlsa_record_is_usable(&t->host.records[i]));
    }
}

void
inspect_frame_write(struct pack_writer *w, const struct inspect_part *part)
{
    if (part->kind == INSPECT_POLICY)
        write_policy(w, part);
    else if (part->kind == INSPECT_TLSA)
        write_tlsa(w, part);
    else
        write_answer(w, part);
}
