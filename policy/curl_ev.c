#include "policy/curl_ev.h"

#include <stdlib.h>

#include <ev.h>

struct curl_ev {
    struct ev_loop *loop;
    CURLM *multi; /* owned */
    ev_timer timer;
    curl_ev_done *done;
    void *arg;
};

/* One of libcurl's sockets; libcurl keeps the pointer (curl_multi_assign). */
struct socket_watch {
    ev_io io;
    struct curl_ev *curl;
};

static void
report_done(struct curl_ev *curl)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(curl->multi, &left)))
        if (msg->msg == CURLMSG_DONE)
            curl->done(curl->arg, msg->easy_handle, msg->data.result);
}

/* Errors of this call concern the multi handle and our use of it; transfers fail by themselves. */
static void
act(struct curl_ev *curl, curl_socket_t fd, int events)
{
    int running;

    (void)curl_multi_socket_action(curl->multi, fd, events, &running);
    report_done(curl);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    struct socket_watch *watch = w->data;
    int events = 0;

    (void)loop;
    if (revents & EV_READ)
        events |= CURL_CSELECT_IN;
    if (revents & EV_WRITE)
        events |= CURL_CSELECT_OUT;
    act(watch->curl, w->fd, events); /* may free the watch */
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    act(w->data, CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_TIMERFUNCTION */
static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_ev *curl = arg;

    (void)multi;
    ev_timer_stop(curl->loop, &curl->timer);
    if (timeout_ms >= 0) {
        ev_now_update(curl->loop);
        ev_timer_set(&curl->timer, (double)timeout_ms / 1e3, 0.);
        ev_timer_start(curl->loop, &curl->timer);
    }
    return 0;
}

static void
watch_free(struct curl_ev *curl, curl_socket_t fd, struct socket_watch *watch)
{
    if (!watch)
        return;
    ev_io_stop(curl->loop, &watch->io);
    (void)curl_multi_assign(curl->multi, fd, NULL); /* libcurl is forgetting fd as well */
    free(watch);
}

/* NULL without memory: the socket is not watched then, and its transfer ends by its time limit. An
 * error told to libcurl would end every transfer, now and later. */
static struct socket_watch *
watch_new(struct curl_ev *curl, curl_socket_t fd)
{
    struct socket_watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return NULL;
    watch->curl = curl;
    ev_init(&watch->io, on_io);
    watch->io.data = watch;
    if (curl_multi_assign(curl->multi, fd, watch) != CURLM_OK) {
        free(watch);
        return NULL;
    }
    return watch;
}

/* CURLMOPT_SOCKETFUNCTION */
static int
set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_ev *curl = arg;
    struct socket_watch *watch = socket_arg;
    int interest = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        watch_free(curl, fd, watch);
        return 0;
    }
    if (!watch)
        watch = watch_new(curl, fd);
    if (!watch)
        return 0;
    if (what & CURL_POLL_IN)
        interest |= EV_READ;
    if (what & CURL_POLL_OUT)
        interest |= EV_WRITE;
    ev_io_stop(curl->loop, &watch->io);
    ev_io_set(&watch->io, fd, interest);
    ev_io_start(curl->loop, &watch->io);
    return 0;
}

enum result
curl_ev_new(struct ev_loop *loop, curl_ev_done *done, void *arg, struct curl_ev **out)
{
    struct curl_ev *curl = calloc(1, sizeof *curl);
    unsigned bad = 0;

    *out = NULL;
    if (!curl)
        return RES_NOMEM;
    curl->loop = loop;
    curl->done = done;
    curl->arg = arg;
    ev_init(&curl->timer, on_timer);
    curl->timer.data = curl;
    curl->multi = curl_multi_init();
    if (!curl->multi) {
        free(curl);
        return RES_NOMEM;
    }
    bad |= (unsigned)curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    bad |= (unsigned)curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl);
    bad |= (unsigned)curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    bad |= (unsigned)curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl);
    if (bad) {
        curl_ev_free(curl);
        return RES_NOMEM;
    }
    *out = curl;
    return RES_OK;
}

void
curl_ev_free(struct curl_ev *curl)
{
    if (!curl)
        return;
    (void)curl_multi_cleanup(curl->multi); /* calls set_socket() and set_timer() for what is left */
    ev_timer_stop(curl->loop, &curl->timer);
    free(curl);
}

enum result
curl_ev_add(struct curl_ev *curl, CURL *easy)
{
    return curl_multi_add_handle(curl->multi, easy) == CURLM_OK ? RES_OK : RES_NOMEM;
}

void
curl_ev_remove(struct curl_ev *curl, CURL *easy)
{
    (void)curl_multi_remove_handle(curl->multi, easy); /* fails only for one that is not in */
}
