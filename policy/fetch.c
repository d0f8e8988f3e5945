#include "policy/fetch.h"

#include <stdlib.h>

#include <ev.h>
#include <utlist.h>

#include "policy/curl_ev.h"
#include "policy/https_get.h"
#include "policy/webpki.h"

#define FETCHES_MAX 10000u /* open at once, most of them in line */

enum fetch_state { FETCH_WAITING, FETCH_RUNNING, FETCH_READY };

struct fetcher {
    struct ev_loop *loop;
    struct curl_ev *curl; /* owned */
    char *ca_file;        /* owned; config.ca_file is the same */
    struct fetch_config config;
    unsigned running_count, open; /* open: in all three lists */
    struct fetch *waiting;        /* owned lists, by state */
    struct fetch *running;
    struct fetch *ready;
    ev_idle deliver; /* runs while `ready` holds any */
};

struct fetch {
    struct fetcher *fetcher;
    struct fetch *prev, *next;
    enum fetch_state state;
    fetch_done *done;
    void *arg;
    struct https_get get;
    struct fetch_result result;
};

static struct fetch **
list_of(struct fetch *fetch)
{
    switch (fetch->state) {
    case FETCH_WAITING:
        return &fetch->fetcher->waiting;
    case FETCH_RUNNING:
        return &fetch->fetcher->running;
    case FETCH_READY:
        break;
    }
    return &fetch->fetcher->ready;
}

static void
fetch_move(struct fetch *fetch, enum fetch_state to)
{
    struct fetcher *f = fetch->fetcher;
    struct fetch **list = list_of(fetch);

    f->running_count -= fetch->state == FETCH_RUNNING;
    DL_DELETE(*list, fetch);
    fetch->state = to;
    list = list_of(fetch);
    DL_APPEND(*list, fetch);
    f->running_count += to == FETCH_RUNNING;
    if (f->ready)
        ev_idle_start(f->loop, &f->deliver);
}

static void
fetch_free(struct fetch *fetch)
{
    https_get_clear(&fetch->get);
    free(fetch);
}

static void
fetch_unlink(struct fetch *fetch)
{
    struct fetcher *f = fetch->fetcher;
    struct fetch **list = list_of(fetch);

    f->running_count -= fetch->state == FETCH_RUNNING;
    f->open--;
    DL_DELETE(*list, fetch);
    if (!f->ready)
        ev_idle_stop(f->loop, &f->deliver);
}

/* One at a time: done may do anything, fetcher_free() included, so f is not touched after it. */
static void
on_deliver(struct ev_loop *loop, ev_idle *w, int revents)
{
    struct fetcher *f = w->data;
    struct fetch *fetch = f->ready;

    (void)loop, (void)revents;
    fetch_unlink(fetch);
    fetch->done(fetch->arg, &fetch->result);
    fetch_free(fetch);
}

/* A result that is ready is delivered from the loop, and never from here: libcurl is on the stack,
 * or fetch_start() has not returned yet. */
static void
fetch_run(struct fetch *fetch)
{
    enum result res = https_get_prepare(&fetch->get, &fetch->fetcher->config, fetch);

    if (res == RES_OK)
        res = curl_ev_add(fetch->fetcher->curl, fetch->get.easy);
    if (res == RES_OK)
        return;
    https_get_clear(&fetch->get);
    fetch->result =
        (struct fetch_result){ .type = RESULT_STS_POLICY_FETCH_ERROR, .reason = "no memory" };
    fetch_move(fetch, FETCH_READY);
}

static void
start_waiting(struct fetcher *f)
{
    while (f->waiting && f->running_count < f->config.max_parallel) {
        struct fetch *fetch = f->waiting;

        fetch_move(fetch, FETCH_RUNNING);
        fetch_run(fetch);
    }
}

static void
on_transfer_done(void *arg, CURL *easy, CURLcode code)
{
    struct fetcher *f = arg;
    struct fetch *fetch;
    char *private = NULL;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    fetch = (struct fetch *)(void *)private;
    curl_ev_remove(f->curl, easy);
    if (https_get_moves_on(&fetch->get, &f->config, code)) {
        fetch_run(fetch);
    } else {
        https_get_conclude(&fetch->get, code, &fetch->result);
        fetch_move(fetch, FETCH_READY);
    }
    start_waiting(f);
}

enum result
fetch_start(struct fetcher *f, const char *domain, const struct ip_addr *addrs, size_t addr_count,
            fetch_done *done, void *arg, struct fetch **out)
{
    struct fetch *fetch;

    *out = NULL;
    if (f->open >= FETCHES_MAX)
        return RES_LIMIT;
    fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return RES_NOMEM;
    fetch->fetcher = f;
    fetch->done = done;
    fetch->arg = arg;
    https_get_init(&fetch->get, domain, addrs, addr_count);
    fetch->state = FETCH_WAITING;
    DL_APPEND(f->waiting, fetch);
    f->open++;
    start_waiting(f);
    *out = fetch;
    return RES_OK;
}

void
fetch_cancel(struct fetch *fetch)
{
    struct fetcher *f = fetch->fetcher;

    if (fetch->state == FETCH_RUNNING)
        curl_ev_remove(f->curl, fetch->get.easy);
    fetch_unlink(fetch);
    fetch_free(fetch);
    start_waiting(f);
}

enum result
fetcher_new(struct ev_loop *loop, const struct fetch_config *config, struct fetcher **out,
            const char **out_error)
{
    struct fetcher *f = calloc(1, sizeof *f);
    enum result res = RES_NOMEM;

    *out = NULL;
    *out_error = "no memory";
    if (!f)
        return RES_NOMEM;
    f->loop = loop;
    f->config = *config;
    ev_idle_init(&f->deliver, on_deliver);
    ev_set_priority(&f->deliver, EV_MAXPRI); /* a result never waits for a quiet moment */
    f->deliver.data = f;
    if (curl_global_init(CURL_GLOBAL_SSL) != CURLE_OK) {
        free(f);
        return RES_NOMEM;
    }
    f->ca_file = strdup(config->ca_file);
    if (!f->ca_file)
        goto done;
    f->config.ca_file = f->ca_file;
    res = webpki_check_bundle(f->ca_file);
    if (res == RES_SYNTAX)
        *out_error = "the CA file for policy hosts cannot be read or holds no certificate";
    if (res == RES_OK)
        res = curl_ev_new(loop, on_transfer_done, f, &f->curl);
    if (res != RES_OK)
        goto done;
    *out = f;
    *out_error = "";
    f = NULL;
done:
    fetcher_free(f);
    return res;
}

void
fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    f->config.max_parallel = 0; /* a place that gets free is not given to the next in line */
    while (f->waiting)
        fetch_cancel(f->waiting);
    while (f->running)
        fetch_cancel(f->running);
    while (f->ready)
        fetch_cancel(f->ready);
    curl_ev_free(f->curl);
    curl_global_cleanup();
    free(f->ca_file);
    free(f);
}
