#include "policy/https_get.h"

#include <stdio.h>
#include <sys/socket.h>

#include "policy/webpki.h"

#define HEAD_MAX_BYTES 65536u /* of all response headers together, 1xx and trailers included */
#define ADDRESS_WAIT_MS 10000 /* for an address that says nothing, while there is another one */
#define HTTPS_PORT 443
#define USER_AGENT "stsgate/" STSGATE_VERSION

/* CURLOPT_HEADERFUNCTION: one line of any response, so a flood of 1xx counts as well.
 * The empty line makes a head whole. */
static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
    struct https_get *get = arg;

    if (span_starts(span_make(line, size * count), span_of("HTTP/")))
        get->head_done = false;
    else if (count > 0 && (line[0] == '\r' || line[0] == '\n'))
        get->head_done = true;
    get->head_bytes += size * count;
    if (get->head_bytes <= HEAD_MAX_BYTES)
        return size * count;
    get->stopped = "too-large";
    return 0;
}

/* CURLOPT_WRITEFUNCTION. The body of any answer but 200 is not even read (STS-025). */
static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct https_get *get = arg;
    long status = 0;

    (void)curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return 0;
    switch (buffer_append(&get->body, span_make(bytes, size * count))) {
    case RES_OK:
        return size * count;
    case RES_NOMEM:
        get->stopped = "no memory";
        break;
    case RES_AGAIN:
    case RES_SYNTAX:
    case RES_LIMIT: /* STS-030 */
    case RES_TEMPFAIL:
    case RES_DENIED:
        get->stopped = "too-large";
        break;
    }
    return 0;
}

/* CURLOPT_OPENSOCKETFUNCTION: whatever libcurl may have resolved, only the address that was given
 * is ever connected to (STS-035). */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct https_get *get = arg;
    struct ip_addr addr;

    (void)purpose;
    ip_addr_from_sockaddr(&to->addr, &addr, NULL);
    if (!ip_addr_equal(&addr, &get->addrs[get->addr_at]))
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* CURLOPT_SSL_CTX_FUNCTION */
static CURLcode
on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
    struct https_get *get = arg;

    (void)easy;
    return webpki_prepare(ssl_ctx, get->host, &get->ended) == RES_OK ? CURLE_OK
                                                                     : CURLE_OUT_OF_MEMORY;
}

/* The address as if the name had been resolved to it; one at a time, since libcurl's own way from a
 * dead address to the next may lose all the time there is (curl issue 11920). libcurl keeps such an
 * entry for good in the handle's DNS cache; with a cache of its own it goes with the transfer. */
static unsigned
set_address(struct https_get *get, const struct fetch_config *config)
{
    char text[HTTPS_GET_HOST_MAX + IP_ADDR_TEXT_MAX + 16], addr[IP_ADDR_TEXT_MAX];
    uint16_t port = config->port;

    snprintf(text, sizeof text, "%s:%u:[%s]", get->host, port,
             ip_addr_text(&get->addrs[get->addr_at], addr));
    get->share = curl_share_init();
    get->resolve = curl_slist_append(NULL, text);
    if (!get->share || !get->resolve)
        return 1;
    if (port != HTTPS_PORT) {
        /* So a lab's request is to the octet that of the real world: no port in Host. */
        snprintf(text, sizeof text, ":::%u", port);
        get->connect_to = curl_slist_append(NULL, text);
        if (!get->connect_to)
            return 1;
    }
    return (unsigned)curl_share_setopt(get->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_SHARE, get->share) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_RESOLVE, get->resolve) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_CONNECT_TO, get->connect_to) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_OPENSOCKETDATA, get) |
           (unsigned)curl_easy_setopt(get->easy, CURLOPT_PROXY, ""); /* none from environment */
}

/* STS-022 … 024, STS-034. Without CAPATH libcurl reads the bundle once for all transfers. */
static unsigned
set_tls(struct https_get *get, const struct fetch_config *config)
{
    CURL *easy = get->easy;

    return (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_OPTIONS, CURLSSLOPT_NO_PARTIALCHAIN) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, get);
}

/* One plain GET that leaves nothing behind: libcurl's cookies, HSTS, Alt-Svc, .netrc, HTTP/0.9 and
 * decoding of content are off unless asked for. STS-020, 026, 027. */
static unsigned
set_http(struct https_get *get)
{
    CURL *easy = get->easy;
    char url[sizeof "https:///.well-known/mta-sts.txt" + HTTPS_GET_HOST_MAX];

    snprintf(url, sizeof url, "https://%s/.well-known/mta-sts.txt", get->host);
    return (unsigned)curl_easy_setopt(easy, CURLOPT_URL, url) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_HEADERDATA, get) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
}

static unsigned
left_ms(const struct https_get *get, const struct fetch_config *config)
{
    return get->spent_ms < config->timeout_ms ? config->timeout_ms - get->spent_ms : 0;
}

/* STS-029, STS-030. An address that says nothing has half of the time left, if another one waits.
 */
static unsigned
set_limits(struct https_get *get, const struct fetch_config *config)
{
    CURL *easy = get->easy;
    long timeout_ms = (long)left_ms(get, config), connect_ms = timeout_ms;

    if (get->addr_at + 1 < get->addr_count) {
        connect_ms = timeout_ms / 2 + 1; /* 0 would be libcurl's default */
        if (connect_ms > ADDRESS_WAIT_MS)
            connect_ms = ADDRESS_WAIT_MS;
    }
    return (unsigned)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)STS_POLICY_MAX_BYTES) |
           (unsigned)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

void
https_get_init(struct https_get *get, const char *domain, const struct ip_addr *addrs,
               size_t addr_count)
{
    *get = (struct https_get){ 0 };
    get->addr_count = addr_count < HTTPS_GET_ADDRS_MAX ? addr_count : HTTPS_GET_ADDRS_MAX;
    memcpy(get->addrs, addrs, get->addr_count * sizeof *addrs);
    snprintf(get->host, sizeof get->host, "mta-sts.%s", domain);
    buffer_init(&get->body, STS_POLICY_MAX_BYTES);
}

enum result
https_get_prepare(struct https_get *get, const struct fetch_config *config, void *private)
{
    get->easy = curl_easy_init();
    if (!get->easy || set_address(get, config) || set_tls(get, config) || set_http(get) ||
        set_limits(get, config) ||
        curl_easy_setopt(get->easy, CURLOPT_PRIVATE, private) != CURLE_OK)
        return RES_NOMEM;
    return RES_OK;
}

/* All that is libcurl's; the body stays. */
static void
close_transfer(struct https_get *get)
{
    curl_easy_cleanup(get->easy);
    (void)curl_share_cleanup(get->share); /* nobody else has it */
    curl_slist_free_all(get->resolve);
    curl_slist_free_all(get->connect_to);
    get->easy = NULL;
    get->share = NULL;
    get->resolve = get->connect_to = NULL;
}

bool
https_get_moves_on(struct https_get *get, const struct fetch_config *config, CURLcode code)
{
    curl_off_t handshake_us = 0, spent_us = 0;

    (void)curl_easy_getinfo(get->easy, CURLINFO_APPCONNECT_TIME_T, &handshake_us);
    (void)curl_easy_getinfo(get->easy, CURLINFO_TOTAL_TIME_T, &spent_us);
    if (code != CURLE_COULDNT_CONNECT && (code != CURLE_OPERATION_TIMEDOUT || handshake_us > 0))
        return false;
    get->spent_ms += (unsigned)(spent_us / 1000);
    if (get->addr_at + 1 >= get->addr_count || left_ms(get, config) == 0)
        return false;
    get->addr_at++;
    close_transfer(get);
    return true;
}

void
https_get_clear(struct https_get *get)
{
    close_transfer(get);
    buffer_clear(&get->body);
}

/* The value of a header of the final response. False: it is absent, or given more than once. */
static bool
single_header(CURL *easy, const char *name, struct span *out)
{
    struct curl_header *header;

    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK ||
        header->amount != 1)
        return false;
    *out = span_trim(span_of(header->value));
    return true;
}

static bool
has_header(CURL *easy, const char *name)
{
    struct curl_header *header;

    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
}

/* An absent header is fine, as is one that says `value`; anything else is not. */
static bool
header_is_plain(CURL *easy, const char *name, const char *value)
{
    struct span found;

    return !has_header(easy, name) ||
           (single_header(easy, name, &found) && span_equal_nocase(found, span_of(value)));
}

/* STS-028: the media type without its parameters. */
static bool
is_text_plain(CURL *easy)
{
    struct span value;

    if (!single_header(easy, "Content-Type", &value))
        return false;
    value = span_trim(span_first(value, span_find(value, ';')));
    return span_equal_nocase(value, span_of("text/plain"));
}

/* Did the answer come whole? libcurl takes the end of the connection for the end of a head, and of
 * a body without a length, even where the peer did not say that it is one. */
static bool
is_whole(const struct https_get *get)
{
    bool has_end =
        has_header(get->easy, "Content-Length") || has_header(get->easy, "Transfer-Encoding");

    return get->head_done && (has_end || get->ended);
}

/* What is wrong with the head of a 200, or NULL. Nothing was asked for but the plain octets: a
 * coded body is an error and is never decoded. Two lengths are two messages (RFC 9112 6.3). */
static const char *
head_fault(CURL *easy)
{
    struct span length;

    if (!is_text_plain(easy))
        return "content-type";
    if (!header_is_plain(easy, "Content-Encoding", "identity"))
        return "content-encoding";
    if (!header_is_plain(easy, "Transfer-Encoding", "chunked"))
        return "transfer-encoding";
    if (has_header(easy, "Content-Length") && !single_header(easy, "Content-Length", &length))
        return "content-length";
    return NULL;
}

/* Reasons that end in a report (RPT-040): no addresses, no internal names (RPT-041). */
static const char *
code_reason(CURLcode code)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* a hundred codes, most of other protocols */
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_INTERFACE_FAILED:
        return "connect";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
        return "tls";
    case CURLE_FILESIZE_EXCEEDED:
        return "too-large";
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return "truncated";
    case CURLE_OUT_OF_MEMORY:
        return "no memory";
    default:
        return "http-syntax";
    }
#pragma GCC diagnostic pop
}

/* Did the transfer get as far as a whole head, so that its status says what is wrong? */
static bool
code_has_status(CURLcode code)
{
    return code == CURLE_OK || code == CURLE_WRITE_ERROR || code == CURLE_PARTIAL_FILE ||
           code == CURLE_FILESIZE_EXCEEDED;
}

static void
set_fault(struct fetch_result *out, enum result_type type, const char *reason)
{
    out->type = type;
    snprintf(out->reason, sizeof out->reason, "%s", reason);
}

/* Anything that is wrong with the answer itself, or NULL. text: for a reason that is made up. */
static const char *
answer_fault(const struct https_get *get, CURLcode code, char *text, size_t size)
{
    long status = 0;

    (void)curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
    if (get->stopped)
        return get->stopped;
    if (status != 200 && code_has_status(code)) {
        snprintf(text, size, "http-%ld", status);
        return text;
    }
    if (code == CURLE_OK)
        return is_whole(get) ? head_fault(get->easy) : "truncated";
    if (code == CURLE_OUT_OF_MEMORY && get->head_bytes > 0)
        return "too-large"; /* so libcurl 7 says of a header line beyond its 100 kB */
    return code_reason(code);
}

void
https_get_conclude(struct https_get *get, CURLcode code, struct fetch_result *out)
{
    char text[32];
    const char *fault;
    long verify = 0;

    *out = (struct fetch_result){ .type = RESULT_SUCCESS };
    if (code == CURLE_PEER_FAILED_VERIFICATION) {
        (void)curl_easy_getinfo(get->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
        /* 0, or 1 from libcurl itself: OpenSSL was content, and libcurl's own name check was not.
         */
        set_fault(out, RESULT_STS_WEBPKI_INVALID,
                  verify > 1 ? webpki_error_name(verify) : "X509_V_ERR_HOSTNAME_MISMATCH");
    } else if ((fault = answer_fault(get, code, text, sizeof text))) {
        set_fault(out, RESULT_STS_POLICY_FETCH_ERROR, fault);
    } else {
        out->body = buffer_span(&get->body);
    }
    close_transfer(get);
}
