#include "proxy/status_http.h"

#include "base/log.h"
#include "proxy/status_metrics.h"
#include "proxy/status_page.h"

#include <ev.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#define NONCE_BYTES 16u
#define ADDRESS_MAX 64u
#define CSP_MAX 256u

/* One connection; begins before its first octet. */
struct client {
    struct client *next, **link;
    int fd;
    int64_t since_ms;
};

struct status_http {
    struct ev_loop *loop;
    const struct status_state *state;
    struct clock clock;
    const char *address, *hostname;
    struct MHD_Daemon *daemon;
    struct client *clients;
    ev_io readable;
    ev_timer timer;
};

/* ---- who asks ---- */

static bool
is_name(struct span host, const char *name)
{
    return *name && span_equal_nocase(host, span_of(name));
}

bool
status_http_is_ours(const char *host, const char *address, const char *hostname)
{
    struct span text = span_of(host), own = span_of(address);
    size_t colon = text.len;

    /* A port behind the name, and behind the brackets of IPv6, is not looked at. */
    while (colon > 0 && text.ptr[colon - 1] >= '0' && text.ptr[colon - 1] <= '9')
        colon--;
    if (colon > 0 && colon < text.len && text.ptr[colon - 1] == ':')
        text = span_first(text, colon - 1);
    own = span_first(own, (size_t)(strrchr(address, ':') - address));
    return span_equal(text, own) || is_name(text, hostname) || is_name(text, "localhost") ||
           is_name(text, "127.0.0.1") || is_name(text, "[::1]");
}

/* ---- answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char csp[CSP_MAX]; /* Content-Security-Policy */
    char *text;        /* owned */
    size_t len;
};

static bool
make_nonce(char out[NONCE_BYTES * 2 + 1])
{
    unsigned char bytes[NONCE_BYTES];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (unsigned i = 0; i < NONCE_BYTES; i++)
        snprintf(out + i * 2, 3, "%02x", bytes[i]);
    return true;
}

static void
write_page(const struct status_http *http, struct answer *a, FILE *out)
{
    char nonce[NONCE_BYTES * 2 + 1];

    if (!make_nonce(nonce)) {
        a->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        return;
    }
    snprintf(a->csp, sizeof a->csp,
             "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             nonce, nonce);
    a->type = "text/html; charset=utf-8";
    status_page_write(http->state, nonce, clock_mono_ms(&http->clock), clock_wall_s(&http->clock),
                      out);
}

static void
write_health(const struct status_http *http, struct answer *a, FILE *out)
{
    const char *problem = status_problem(http->state, clock_mono_ms(&http->clock));

    a->status = problem ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
    fprintf(out, "%s\n", problem ? problem : "ok");
}

static void
write_answer(const struct status_http *http, const char *path, const char *method, const char *host,
             struct answer *a, FILE *out)
{
    if (!host || !status_http_is_ours(host, http->address, http->hostname)) {
        a->status = MHD_HTTP_MISDIRECTED_REQUEST;
        fputs("ask by the address, the gateway's host name or localhost\n", out);
    } else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        a->status = MHD_HTTP_METHOD_NOT_ALLOWED;
        fputs("GET or HEAD\n", out);
    } else if (strcmp(path, "/") == 0) {
        write_page(http, a, out);
    } else if (strcmp(path, "/metrics") == 0) {
        a->type = "text/plain; version=0.0.4; charset=utf-8";
        status_metrics_write(http->state, clock_mono_ms(&http->clock), clock_wall_s(&http->clock),
                             out);
    } else if (strcmp(path, "/healthz") == 0) {
        write_health(http, a, out);
    } else {
        a->status = MHD_HTTP_NOT_FOUND;
        fputs("/, /metrics or /healthz\n", out);
    }
}

static void
add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_warn("event=no-memory where=http");
}

static struct MHD_Response *
make_response(struct answer *a)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->len, a->text, MHD_RESPMEM_MUST_FREE);

    if (!response) {
        free(a->text);
        return NULL;
    }
    add_header(response, "Content-Type", a->type);
    add_header(response, "Content-Security-Policy", a->csp);
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Referrer-Policy", "no-referrer");
    add_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "Connection", "close");
    if (a->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, "Allow", "GET, HEAD");
    return response;
}

static enum MHD_Result
answer(const struct status_http *http, struct MHD_Connection *connection, const char *path,
       const char *method)
{
    struct answer a = { .status = MHD_HTTP_OK,
                        .type = "text/plain; charset=utf-8",
                        .csp = "default-src 'none'; frame-ancestors 'none'" };
    struct MHD_Response *response;
    enum MHD_Result res;
    FILE *out = open_memstream(&a.text, &a.len);

    if (!out)
        return MHD_NO;
    write_answer(http, path, method,
                 MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host"), &a, out);
    if (fclose(out) != 0) {
        free(a.text);
        return MHD_NO; /* the connection is closed */
    }
    response = make_response(&a);
    if (!response)
        return MHD_NO;
    res = MHD_queue_response(connection, a.status, response);
    MHD_destroy_response(response);
    return res;
}

/* libmicrohttpd calls with the header first, then with each part of a body, then at its end. A body
 * is none of our business: it is answered to and not read. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *body, size_t *body_len, void **state)
{
    (void)version, (void)body, (void)body_len;
    if (*state)
        return MHD_NO;
    *state = arg;
    return answer(arg, connection, url, method);
}

/* ---- connections ---- */

static void
on_connection(void *arg, struct MHD_Connection *connection, void **state,
              enum MHD_ConnectionNotificationCode what)
{
    const union MHD_ConnectionInfo *info;
    struct status_http *http = arg;
    struct client *c = *state;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED && c) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
        free(c);
        *state = NULL;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    c = what == MHD_CONNECTION_NOTIFY_STARTED && info ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return; /* libmicrohttpd's own time-out holds */
    c->fd = info->connect_fd;
    c->since_ms = clock_mono_ms(&http->clock);
    c->next = http->clients;
    c->link = &http->clients;
    if (c->next)
        c->next->link = &c->next;
    http->clients = c;
    *state = c;
}

/* One octet now and then keeps nobody here: libmicrohttpd counts only silence. */
static void
cut_slow(const struct status_http *http)
{
    int64_t now_ms = clock_mono_ms(&http->clock);

    for (const struct client *c = http->clients; c; c = c->next)
        if (now_ms - c->since_ms >= STATUS_HTTP_S * 1000)
            (void)shutdown(c->fd, SHUT_RDWR);
}

/* Once a second in any case: a daemon that was full listens again only when it is run next. */
static void
run(struct status_http *http)
{
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(http->daemon);
    ev_timer_stop(http->loop, &http->timer);
    if (MHD_get_timeout(http->daemon, &ms) != MHD_YES || ms > 1000)
        ms = 1000;
    ev_timer_set(&http->timer, (double)ms / 1000., 0.);
    ev_timer_start(http->loop, &http->timer);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    run(w->data);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    cut_slow(w->data);
    run(w->data);
}

/* Its own lines would be of no form of ours, and cite what clients send. */
static void __attribute__((format(printf, 2, 0))) on_log(void *arg, const char *fmt, va_list args)
{
    (void)arg, (void)fmt, (void)args;
}

struct status_http *
status_http_new(struct ev_loop *loop, int listen_fd, const struct status_state *state,
                const struct clock *clock, const char *address, const char *hostname)
{
    struct status_http *http = calloc(1, sizeof *http);
    const union MHD_DaemonInfo *info;

    if (!http)
        return NULL;
    *http = (struct status_http){
        .loop = loop, .state = state, .clock = *clock, .address = address, .hostname = hostname
    };
    ev_init(&http->readable, on_readable);
    ev_init(&http->timer, on_timer);
    http->readable.data = http->timer.data = http;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, STATUS_HTTP_CLIENTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)STATUS_HTTP_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)STATUS_HTTP_S,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_END);
    info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        status_http_free(http);
        return NULL;
    }
    ev_io_set(&http->readable, info->epoll_fd, EV_READ);
    ev_io_start(loop, &http->readable);
    run(http);
    return http;
}

void
status_http_free(struct status_http *http)
{
    if (!http)
        return;
    ev_io_stop(http->loop, &http->readable);
    ev_timer_stop(http->loop, &http->timer);
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    free(http);
}
