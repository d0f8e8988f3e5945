#include "proxy/relay.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/counters.h"
#include "proxy/intercept.h"
#include "proxy/relay_way.h"
#include "proxy/survey.h"
#include "tls/hello_peek.h"

/* What a passed-through handshake still has to show. */
enum hello {
    HELLO_ANY,    /* nothing is looked at */
    HELLO_CLIENT, /* a ClientHello; until then nothing goes to the MX */
    HELLO_SERVER, /* a ServerHello; until then nothing goes to the client */
};

struct relay {
    struct relay_shared *shared;
    struct relay *next, **link;
    struct record_session_info info;
    int64_t started_ns;
    int client_fd, mx_fd; /* owned */
    const char *event;    /* of its record */
    bool connected;
    bool listens; /* to what is said in clear, and counts it */
    enum hello hello;
    uint16_t tls_version;
    struct relay_way to_mx, to_client;
    struct survey survey;
    ev_io client, mx;
    ev_timer idle;
};

static void
write_record(const struct relay *r, const char *end)
{
    const struct record_survey record = {
        .event = r->event,
        .wall_ns = r->shared->clock.wall_ns(r->shared->clock.arg),
        .started_ns = r->started_ns,
        .session = &r->info,
        .connected = r->connected,
        .starttls_offered = r->survey.starttls_offered,
        .starttls_asked = r->survey.starttls_asked,
        .starttls_accepted = r->survey.starttls_accepted,
        .mails_in_clear = r->survey.mails,
        .recipients_in_clear = r->survey.recipients,
        .tls_version = r->tls_version,
        .bytes_to_mx = r->to_mx.octets,
        .bytes_to_client = r->to_client.octets,
        .engine = relay_way_engine(&r->to_mx),
        .engine_reason = relay_way_reason(&r->to_mx),
        .end = end,
    };
    struct buffer *bytes = r->shared->record;

    log_info("event=%s session=%s starttls=%s tls=%s mails_in_clear=%u end=%s", r->event,
             r->info.id, r->survey.starttls_accepted ? "yes" : "no",
             r->tls_version ? tls_version_name(r->tls_version) : "unknown", r->survey.mails, end);
    counters_relay(r->shared->counters, &record);
    if (record_encode_survey(&record, bytes) == RES_OK)
        record_sink_write(r->shared->records, buffer_span(bytes));
    else
        log_error("event=record-lost session=%s", r->info.id);
    buffer_rewind(bytes);
}

/* abort: the other side sees a reset. */
static void
close_fd(int fd, bool abort)
{
    const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

    if (fd < 0)
        return;
    if (abort)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
}

static void
end_relay(struct relay *r, const char *end)
{
    struct relay_shared *shared = r->shared;
    bool whole = r->to_mx.told && r->to_client.told;

    write_record(r, end);
    ev_io_stop(shared->loop, &r->client);
    ev_io_stop(shared->loop, &r->mx);
    ev_timer_stop(shared->loop, &r->idle);
    close_fd(r->client_fd, !whole);
    close_fd(r->mx_fd, !whole);
    relay_way_clear(&r->to_mx);
    relay_way_clear(&r->to_client);
    admission_leave(shared->admission, &r->info);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    shared->open--;
    free(r);
}

static void
watch(struct relay *r, ev_io *w, int fd, bool readable, bool writable)
{
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

    ev_io_stop(r->shared->loop, w);
    ev_io_set(w, fd, events);
    if (events)
        ev_io_start(r->shared->loop, w);
}

static void
watch_both(struct relay *r)
{
    bool from_client = r->connected && relay_way_wants_read(&r->to_mx);
    bool from_mx = r->connected && relay_way_wants_read(&r->to_client);

    bool to_client = r->hello == HELLO_ANY && relay_way_wants_write(&r->to_client);
    bool to_mx = r->hello != HELLO_CLIENT && relay_way_wants_write(&r->to_mx);

    watch(r, &r->client, r->client_fd, from_client, to_client);
    watch(r, &r->mx, r->mx_fd, from_mx, !r->connected || to_mx);
    ev_timer_again(r->shared->loop, &r->idle);
}

/* Nobody looks at what passes once the survey has seen TLS begin, or the handshake that passes
 * through is known to be one. */
static void
note_opaque(struct relay *r)
{
    bool opaque = r->hello == HELLO_ANY && (!r->listens || r->survey.starttls_accepted);

    r->to_mx.opaque = r->to_client.opaque = opaque;
}

/* Nothing, or why the handshake that passes by must not go on (PRX-040). */
static const char *
look_at_handshake(struct relay *r)
{
    if (r->hello == HELLO_CLIENT)
        switch (client_hello_begins(buffer_span(&r->to_mx.held))) {
        case RES_AGAIN:
            return r->to_client.ended || buffer_len(&r->to_client.held) ? "no-client-hello" : NULL;
        case RES_OK:
            r->hello = HELLO_SERVER;
            break;
        case RES_SYNTAX:
        case RES_LIMIT:
        case RES_NOMEM:
        case RES_TEMPFAIL:
        case RES_DENIED:
            return "no-client-hello";
        }
    switch (server_hello_in_stream(buffer_span(&r->to_client.held), &r->tls_version)) {
    case RES_AGAIN:
        return r->to_client.ended ? "no-server-hello" : NULL;
    case RES_OK:
        if (r->tls_version < r->shared->config->tls_minimum)
            return "tls-version-too-low";
        break;
    case RES_DENIED: /* an alert: the client may know why */
        break;
    case RES_SYNTAX:
    case RES_LIMIT:
    case RES_NOMEM:
    case RES_TEMPFAIL:
        return "no-server-hello";
    }
    r->hello = HELLO_ANY;
    r->idle.repeat = RELAY_IDLE_S;
    return NULL;
}

static void
go_on(struct relay *r)
{
    const char *objection = r->hello == HELLO_ANY ? NULL : look_at_handshake(r);

    if (objection)
        end_relay(r, objection);
    else if ((r->hello != HELLO_CLIENT && !relay_way_write(&r->to_mx, r->mx_fd)) ||
             (r->hello == HELLO_ANY && !relay_way_write(&r->to_client, r->client_fd)))
        end_relay(r, "broken");
    else if (r->to_mx.told && r->to_client.told)
        end_relay(r, "closed");
    else {
        note_opaque(r);
        watch_both(r);
    }
}

static void
on_client(struct ev_loop *loop, ev_io *w, int revents)
{
    struct relay *r = w->data;
    struct span seen;

    (void)loop;
    if (revents & EV_READ && !relay_way_read(&r->to_mx, r->client_fd, &seen)) {
        end_relay(r, "client-broken");
        return;
    }
    if (revents & EV_READ && r->listens)
        survey_client(&r->survey, seen);
    go_on(r);
}

static void
on_mx(struct ev_loop *loop, ev_io *w, int revents)
{
    struct relay *r = w->data;
    socklen_t len = sizeof(int);
    struct span seen;
    int error = 0;

    (void)loop;
    if (!r->connected &&
        (getsockopt(r->mx_fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)) {
        end_relay(r, "mx-unreachable");
        return;
    }
    r->connected = true;
    if (revents & EV_READ && !relay_way_read(&r->to_client, r->mx_fd, &seen)) {
        end_relay(r, "mx-broken");
        return;
    }
    if (revents & EV_READ && r->listens)
        survey_mx(&r->survey, seen);
    go_on(r);
}

static void
on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    end_relay(w->data, "idle");
}

/* NULL: no memory; then both are closed. */
static struct relay *
new_relay(struct relay_shared *shared, int client_fd, int mx_fd,
          const struct record_session_info *info, const char *event)
{
    struct relay *r = calloc(1, sizeof *r);

    if (!r) {
        close_fd(client_fd, true);
        close_fd(mx_fd, true);
        admission_leave(shared->admission, info);
        return NULL;
    }
    r->shared = shared;
    r->info = *info;
    r->event = event;
    r->started_ns = shared->clock.wall_ns(shared->clock.arg);
    r->client_fd = client_fd;
    r->mx_fd = mx_fd;
    relay_way_init(&r->to_mx, &shared->pipes);
    relay_way_init(&r->to_client, &shared->pipes);
    ev_init(&r->client, on_client);
    ev_init(&r->mx, on_mx);
    ev_init(&r->idle, on_idle);
    r->idle.repeat = RELAY_IDLE_S;
    r->client.data = r->mx.data = r->idle.data = r;
    r->next = shared->first;
    r->link = &shared->first;
    if (r->next)
        r->next->link = &r->next;
    shared->first = r;
    shared->open++;
    return r;
}

enum result
relay_start(struct relay_shared *shared, int fd, const struct record_session_info *info)
{
    bool survey = shared->config->rules.rollout.mode == ROLLOUT_SURVEY;
    struct relay *r = new_relay(shared, fd, -1, info, survey ? "survey" : "relay");
    char error[160];

    if (!r)
        return RES_NOMEM;
    r->listens = true;
    if (intercept_connect(shared->config->upstream_as_client ? &info->client : NULL,
                          &info->destination, info->destination_port, shared->config->upstream_mark,
                          &r->mx_fd, error, sizeof error) != RES_OK) {
        log_warn("event=connect-failed reason=\"%s\"", error);
        end_relay(r, "mx-unreachable");
        return RES_OK;
    }
    watch_both(r);
    return RES_OK;
}

enum result
relay_pass_through(struct relay_shared *shared, int client_fd, int mx_fd,
                   const struct record_session_info *info)
{
    struct relay *r = new_relay(shared, client_fd, mx_fd, info, "passthrough");

    if (!r)
        return RES_NOMEM;
    r->connected = true;
    r->hello = HELLO_CLIENT;
    r->idle.repeat = shared->config->handshake_timeout_ms / 1000.;
    watch_both(r);
    return RES_OK;
}

void
relay_free_all(struct relay_shared *shared)
{
    while (shared->first)
        end_relay(shared->first, "stopped");
    pipe_pool_clear(&shared->pipes);
}
