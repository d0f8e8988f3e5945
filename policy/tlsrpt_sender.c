#include "policy/tlsrpt_sender.h"

#include "base/hostname.h"
#include "base/log.h"
#include "policy/curl_ev.h"
#include "policy/tlsrpt_record.h"

#include <ev.h>
#include <ifaddrs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define ADDRS_MAX 8u
#define HEAD_MAX_BYTES 65536u /* of the answer's headers */
#define USER_AGENT "stsgate/" STSGATE_VERSION

/* For the addresses of one family. */
struct question {
    struct tlsrpt_delivery *delivery;
    struct resolver_query *query; /* NULL: answered, or never asked */
};

struct tlsrpt_delivery {
    struct tlsrpt_sender *sender;
    struct tlsrpt_delivery *prev, *next;
    tlsrpt_sent_done *done;
    void *arg;
    CURL *easy; /* owned; NULL before it is known where to */
    CURLSH *share;
    struct curl_slist *resolve, *headers, *recipients; /* owned */
    char *uri;                                         /* owned; NULL for mail */
    char host[HOSTNAME_MAX + 1];
    unsigned port;
    struct ip_addr addrs[ADDRS_MAX];
    size_t addr_count, addr_at;
    struct question questions[2];
    bool literal, dns_failed, denied;
    struct span left; /* of the message, still to be sent */
    size_t head_bytes;
    enum tlsrpt_sent sent;
    char reason[64];
    ev_timer deliver; /* an end that is known at once is told from the loop */
};

struct tlsrpt_sender {
    struct tlsrpt_sender_config config;
    struct curl_ev *curl; /* owned */
    struct tlsrpt_delivery *open;
    struct ip_addr relay;
    uint16_t relay_port;
    bool mark_failed;
};

/* ---- ends ---- */

static void
close_transfer(struct tlsrpt_delivery *d)
{
    curl_easy_cleanup(d->easy);
    if (d->share)
        (void)curl_share_cleanup(d->share);
    curl_slist_free_all(d->resolve);
    curl_slist_free_all(d->headers);
    curl_slist_free_all(d->recipients);
    d->easy = NULL;
    d->share = NULL;
    d->resolve = d->headers = d->recipients = NULL;
}

static void
free_delivery(struct tlsrpt_delivery *d)
{
    ev_timer_stop(d->sender->config.loop, &d->deliver);
    DL_DELETE(d->sender->open, d);
    close_transfer(d);
    free(d->uri);
    free(d);
}

static void
on_deliver(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct tlsrpt_delivery *d = w->data;
    tlsrpt_sent_done *done = d->done;
    void *arg = d->arg;
    enum tlsrpt_sent sent = d->sent;
    char reason[sizeof d->reason];

    (void)loop, (void)revents;
    memcpy(reason, d->reason, sizeof reason);
    free_delivery(d);
    done(arg, sent, reason);
}

static void __attribute__((format(printf, 3, 4)))
end(struct tlsrpt_delivery *d, enum tlsrpt_sent sent, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(d->reason, sizeof d->reason, fmt, args);
    va_end(args);
    d->sent = sent;
    close_transfer(d);
    ev_timer_start(d->sender->config.loop, &d->deliver);
}

void
tlsrpt_delivery_cancel(struct tlsrpt_delivery *d)
{
    for (unsigned i = 0; i < 2; i++)
        if (d->questions[i].query)
            resolver_cancel(d->questions[i].query);
    if (d->easy)
        curl_ev_remove(d->sender->curl, d->easy);
    free_delivery(d);
}

/* ---- the transfer ---- */

/* CURLOPT_OPENSOCKETFUNCTION: only the address that was found permitted (RPT-074). */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct tlsrpt_delivery *d = arg;
    struct tlsrpt_sender *s = d->sender;
    const struct ip_addr *wanted = d->uri ? &d->addrs[d->addr_at] : &s->relay;
    struct ip_addr addr;
    int fd;

    (void)purpose;
    ip_addr_from_sockaddr(&to->addr, &addr, NULL);
    if (!ip_addr_equal(&addr, wanted))
        return CURL_SOCKET_BAD;
    fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd >= 0 && s->config.mark &&
        setsockopt(fd, SOL_SOCKET, SO_MARK, &s->config.mark, sizeof s->config.mark) != 0 &&
        !s->mark_failed) {
        s->mark_failed = true;
        log_warn("event=no-mark where=reports reason=\"no rule may take over the gateway's own "
                 "connections to tlsrpt_relay\"");
    }
    return fd;
}

/* CURLOPT_WRITEFUNCTION: an answer has nothing to say beside its code; a long one is not waited for
 * (RPT-075). */
static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes, (void)size, (void)count, (void)arg;
    return 0;
}

/* CURLOPT_HEADERFUNCTION: a flood of them neither. */
static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
    struct tlsrpt_delivery *d = arg;

    (void)line;
    d->head_bytes += size * count;
    return d->head_bytes <= HEAD_MAX_BYTES ? size * count : 0;
}

/* CURLOPT_READFUNCTION */
static size_t
on_read(char *place, size_t size, size_t count, void *arg)
{
    struct tlsrpt_delivery *d = arg;
    struct span chunk = span_first(d->left, size * count);

    memcpy(place, chunk.ptr, chunk.len);
    d->left = span_from(d->left, chunk.len);
    return chunk.len;
}

static unsigned
set_common(struct tlsrpt_delivery *d)
{
    CURL *easy = d->easy;

    return (unsigned)curl_easy_setopt(easy, CURLOPT_PRIVATE, d) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, d) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_PROXY, "") |
           (unsigned)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TLSRPT_SEND_TIMEOUT_MS) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HEADERDATA, d);
}

static unsigned
set_address(struct tlsrpt_delivery *d)
{
    char text[HOSTNAME_MAX + IP_ADDR_TEXT_MAX + 16], addr[IP_ADDR_TEXT_MAX];

    if (d->literal) /* there is nothing to resolve */
        return 0;
    d->share = curl_share_init();
    snprintf(text, sizeof text, "%s:%u:[%s]", d->host, d->port,
             ip_addr_text(&d->addrs[d->addr_at], addr));
    d->resolve = curl_slist_append(NULL, text);
    if (!d->share || !d->resolve)
        return 1;
    return (unsigned)curl_share_setopt(d->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_SHARE, d->share) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_RESOLVE, d->resolve);
}

static unsigned
set_post(struct tlsrpt_delivery *d)
{
    const struct tlsrpt_sender_config *c = &d->sender->config;
    CURL *easy = d->easy;

    d->headers = curl_slist_append(NULL, "Content-Type: application/tlsrpt+gzip");
    if (!d->headers || !curl_slist_append(d->headers, "Expect:"))
        return 1;
    return (unsigned)curl_easy_setopt(easy, CURLOPT_URL, d->uri) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, d->headers) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_POST, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, d->left.ptr) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->left.len) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, c->verify ? 1L : 0L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, c->verify ? 2L : 0L) |
           set_address(d);
}

/* TLS if the site's server has it; which certificate it shows does not matter: the address is the
 * operator's own. */
static unsigned
set_mail(struct tlsrpt_delivery *d, const char *to)
{
    const struct tlsrpt_sender *s = d->sender;
    char url[2 * HOSTNAME_MAX], addr[IP_ADDR_TEXT_MAX], from[TLSRPT_ADDRESS_MAX_BYTES + 3],
        recipient[TLSRPT_ADDRESS_MAX_BYTES + 3];

    snprintf(url, sizeof url, s->relay.len == 4 ? "smtp://%s:%u/%s" : "smtp://[%s]:%u/%s",
             ip_addr_text(&s->relay, addr), s->relay_port, s->config.hostname);
    snprintf(from, sizeof from, "<%s>", s->config.from);
    snprintf(recipient, sizeof recipient, "<%s>", to);
    d->recipients = curl_slist_append(NULL, recipient);
    if (!d->recipients)
        return 1;
    return (unsigned)curl_easy_setopt(d->easy, CURLOPT_URL, url) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_PROTOCOLS_STR, "smtp") |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_MAIL_FROM, from) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_MAIL_RCPT, d->recipients) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_SSL_VERIFYPEER, 0L) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_SSL_VERIFYHOST, 0L) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_READFUNCTION, on_read) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_READDATA, d) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)d->left.len) |
           (unsigned)curl_easy_setopt(d->easy, CURLOPT_UPLOAD, 1L);
}

static void
start_post(struct tlsrpt_delivery *d)
{
    d->easy = curl_easy_init();
    if (!d->easy || set_common(d) || set_post(d) || curl_ev_add(d->sender->curl, d->easy) != RES_OK)
        end(d, TLSRPT_LATER, "no memory");
}

/* ---- the answer ---- */

static const char *
failure_reason(CURLcode code)
{
    if (code == CURLE_OPERATION_TIMEDOUT)
        return "timeout";
    if (code == CURLE_COULDNT_CONNECT)
        return "connect";
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR)
        return "tls";
    return "protocol";
}

/* What has no better certificate than that is told, and served all the same (RPT-073). */
static void
note_certificate(const struct tlsrpt_delivery *d)
{
    long verify = 0;

    (void)curl_easy_getinfo(d->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    if (!d->sender->config.verify && verify != 0)
        log_info("event=report-certificate host=%s verify=%ld", d->host, verify);
}

/* Of the requests that may well be repeated: 408, 429 and all of 5xx. A redirect is not followed
 * (RPT-072). */
static void
conclude_post(struct tlsrpt_delivery *d, CURLcode code, long status)
{
    if (code == CURLE_OK || code == CURLE_WRITE_ERROR)
        note_certificate(d);
    if (status >= 200 && status < 300 && d->head_bytes <= HEAD_MAX_BYTES &&
        (code == CURLE_OK || code == CURLE_WRITE_ERROR))
        end(d, TLSRPT_DELIVERED, "%s", "");
    else if (status >= 300)
        end(d,
            status >= 400 && status < 500 && status != 408 && status != 429 ? TLSRPT_REFUSED
                                                                            : TLSRPT_LATER,
            "http-%ld", status);
    else
        end(d, TLSRPT_LATER, "%s", failure_reason(code));
}

static void
conclude_mail(struct tlsrpt_delivery *d, CURLcode code, long status)
{
    if (code == CURLE_OK)
        end(d, TLSRPT_DELIVERED, "%s", "");
    else if (status >= 400)
        end(d, status >= 500 ? TLSRPT_REFUSED : TLSRPT_LATER, "smtp-%ld", status);
    else
        end(d, TLSRPT_LATER, "%s", failure_reason(code));
}

static void
on_transfer_done(void *arg, CURL *easy, CURLcode code)
{
    struct tlsrpt_sender *s = arg;
    struct tlsrpt_delivery *d;
    char *private = NULL;
    long status = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    d = (struct tlsrpt_delivery *)(void *)private;
    curl_ev_remove(s->curl, easy);
    if (d->uri && code == CURLE_COULDNT_CONNECT && d->addr_at + 1 < d->addr_count) {
        d->addr_at++;
        close_transfer(d);
        start_post(d);
    } else if (d->uri) {
        conclude_post(d, code, status);
    } else {
        conclude_mail(d, code, status);
    }
}

/* ---- where to ---- */

static bool
is_own(const struct ip_addr *addr)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return true; /* strict: it is asked again later */
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        struct ip_addr own = { .len = 0 };

        if (!i->ifa_addr ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        ip_addr_from_sockaddr(i->ifa_addr, &own, NULL);
        found = ip_addr_equal(&own, addr);
    }
    freeifaddrs(all);
    return found;
}

/* Strangers name it: nothing that is not public, nor ourselves, unless the operator says so. */
static bool
is_permitted(const struct tlsrpt_sender_config *c, const struct ip_addr *addr)
{
    for (size_t i = 0; i < c->network_count; i++)
        if (ip_net_has(&c->networks[i], addr))
            return true;
    return ip_addr_is_public(addr) && !is_own(addr);
}

static void
add_address(struct tlsrpt_delivery *d, const struct ip_addr *addr)
{
    if (!is_permitted(&d->sender->config, addr))
        d->denied = true;
    else if (d->addr_count < ADDRS_MAX)
        d->addrs[d->addr_count++] = *addr;
}

static void
connect_to_host(struct tlsrpt_delivery *d)
{
    if (d->addr_count)
        start_post(d);
    else if (d->denied)
        end(d, TLSRPT_REFUSED, "address-not-permitted");
    else
        end(d, TLSRPT_LATER, "%s", d->dns_failed ? "dns-failure" : "no-address");
}

static void
on_address(void *arg, const struct resolver_answer *a)
{
    struct question *question = arg;
    struct tlsrpt_delivery *d = question->delivery;

    question->query = NULL;
    d->dns_failed |= a->status == RESOLVER_FAILED;
    for (size_t i = 0; i < a->answer.count; i++)
        add_address(d, &a->answer.addrs[i]);
    if (!d->questions[0].query && !d->questions[1].query)
        connect_to_host(d);
}

static void
ask_addresses(struct tlsrpt_delivery *d)
{
    static const unsigned types[2] = { DNS_TYPE_A, DNS_TYPE_AAAA };

    for (unsigned i = 0; i < 2; i++) {
        struct question *question = &d->questions[i];

        question->delivery = d;
        if (resolver_ask(d->sender->config.resolver, d->host, types[i], on_address, question,
                         &question->query) != RES_OK)
            question->query = NULL;
    }
    if (!d->questions[0].query && !d->questions[1].query)
        end(d, TLSRPT_LATER, "dns-failure");
}

/* An https URI without user information, as libcurl will read it. False: it is something else. */
static bool
read_uri(struct tlsrpt_delivery *d)
{
    char *host = NULL, *port = NULL, *scheme = NULL, *user = NULL;
    CURLU *url = curl_url();
    bool good = url && curl_url_set(url, CURLUPART_URL, d->uri, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                strcmp(scheme, "https") == 0 &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
                strlen(host) < sizeof d->host;

    if (good) {
        snprintf(d->host, sizeof d->host, "%s", host);
        d->port = (unsigned)strtoul(port, NULL, 10);
    }
    curl_free(host);
    curl_free(port);
    curl_free(scheme);
    curl_free(user);
    curl_url_cleanup(url);
    return good;
}

/* "[::1]" or "192.0.2.1" instead of a name. */
static bool
is_literal(const char *host, struct ip_addr *out)
{
    char text[IP_ADDR_TEXT_MAX + 2];
    size_t len = strlen(host);

    if (len > 2 && len < sizeof text && host[0] == '[') {
        memcpy(text, host + 1, len - 2);
        text[len - 2] = '\0';
        return ip_addr_parse(text, out) == RES_OK;
    }
    return ip_addr_parse(host, out) == RES_OK;
}

static struct tlsrpt_delivery *
new_delivery(struct tlsrpt_sender *s, struct span text, tlsrpt_sent_done *done, void *arg)
{
    struct tlsrpt_delivery *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->sender = s;
    d->done = done;
    d->arg = arg;
    d->left = text;
    ev_timer_init(&d->deliver, on_deliver, 0., 0.);
    d->deliver.data = d;
    DL_APPEND(s->open, d);
    return d;
}

enum result
tlsrpt_post(struct tlsrpt_sender *s, const char *uri, struct span gzip, tlsrpt_sent_done *done,
            void *arg, struct tlsrpt_delivery **out)
{
    struct tlsrpt_delivery *d = new_delivery(s, gzip, done, arg);
    char normal[HOSTNAME_MAX + 1];
    struct ip_addr literal;

    *out = d;
    if (!d)
        return RES_NOMEM;
    d->uri = strdup(uri);
    if (!d->uri) {
        free_delivery(d);
        *out = NULL;
        return RES_NOMEM;
    }
    if (!read_uri(d)) {
        end(d, TLSRPT_REFUSED, "bad-uri");
    } else if (is_literal(d->host, &literal)) {
        d->literal = true;
        add_address(d, &literal);
        connect_to_host(d);
    } else if (hostname_normalise(span_of(d->host), normal) != RES_OK ||
               !span_equal_nocase(span_of(normal), span_of(d->host))) {
        end(d, TLSRPT_REFUSED, "bad-uri"); /* libcurl would look another name up */
    } else {
        memcpy(d->host, normal, sizeof normal);
        ask_addresses(d);
    }
    return RES_OK;
}

enum result
tlsrpt_submit(struct tlsrpt_sender *s, const char *to, struct span message, tlsrpt_sent_done *done,
              void *arg, struct tlsrpt_delivery **out)
{
    struct tlsrpt_delivery *d = new_delivery(s, message, done, arg);

    *out = d;
    if (!d)
        return RES_NOMEM;
    d->easy = curl_easy_init();
    if (!d->easy || set_common(d) || set_mail(d, to) || curl_ev_add(s->curl, d->easy) != RES_OK)
        end(d, TLSRPT_LATER, "no memory");
    return RES_OK;
}

struct tlsrpt_sender *
tlsrpt_sender_new(const struct tlsrpt_sender_config *config)
{
    struct tlsrpt_sender *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->config = *config;
    if (curl_global_init(CURL_GLOBAL_SSL) != CURLE_OK) {
        free(s);
        return NULL;
    }
    if ((*config->relay && !ip_endpoint_parse(config->relay, &s->relay, &s->relay_port)) ||
        curl_ev_new(config->loop, on_transfer_done, s, &s->curl) != RES_OK) {
        tlsrpt_sender_free(s);
        return NULL;
    }
    return s;
}

void
tlsrpt_sender_free(struct tlsrpt_sender *s)
{
    if (!s)
        return;
    while (s->open)
        tlsrpt_delivery_cancel(s->open);
    curl_ev_free(s->curl);
    curl_global_cleanup();
    free(s);
}
