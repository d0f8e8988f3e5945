#include "proxy/command_peer.h"
#include "proxy/inspect_frame.h"

#define LIST_CHUNK 200u /* entries of a list that are written at a time */

/* ---- what is known of a domain ---- */

static void
put_failure(struct pack_writer *w, const struct policy_info *info)
{
    command_put_int(w, "failed_count", info->failed_count);
    command_put_int(w, "failed_since", info->failed_since_s);
    command_put_text(w, "failed_id", info->failed_id);
    command_put_text(w, "failed_type", info->failed_type);
    command_put_text(w, "failed_reason", info->failed_reason);
}

static void
send_info(struct command_peer *c, const struct policy_info *info)
{
    size_t fields =
        2u + (info->has_policy ? 7u : 0u) + (info->failed_count ? 5u : 0u) + (info->mx ? 2u : 0u);
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, fields);
    command_put_text(&w, "domain", info->domain);
    command_put_text(&w, "state",
                     !info->has_policy ? "none"
                     : info->is_valid  ? "valid"
                                       : "expired");
    if (info->has_policy) {
        command_put_text(&w, "mode", sts_mode_name(info->mode));
        command_put_text(&w, "id", info->id);
        command_put_int(&w, "max_age", info->max_age_s);
        command_put_int(&w, "fetched_at", info->fetched_at_s);
        command_put_int(&w, "expires_at", info->expires_at_s);
        command_put_int(&w, "unused", info->unused_s);
        command_put_int(&w, "refresh_in", info->refresh_in_s);
    }
    if (info->failed_count)
        put_failure(&w, info);
    if (info->mx) {
        pack_str(&w, span_of("mx"));
        pack_array(&w, info->mx->count);
        for (size_t i = 0; i < info->mx->count; i++)
            pack_str(&w, span_of(info->mx->names[i]));
        pack_str(&w, span_of("text"));
        pack_bin(&w, info->text);
    }
    command_peer_send(c, &w, &scratch);
}

static void
on_info(void *arg, const struct policy_info *info)
{
    struct command_peer *c = arg;

    send_info(c, info);
}

/* ---- the verbs ---- */

void
command_go_on_listing(struct command_peer *c)
{
    while (c->listing && buffer_len(&c->out) < COMMAND_OUT_MAX / 2) {
        policy_admin_list(c->server->config.admin, &c->place, LIST_CHUNK, on_info, c);
        c->listing = c->place != 0;
    }
    if (!c->listing)
        command_peer_finish(c, "");
}

static void
on_refreshed(void *arg, const char *problem, const struct policy_info *info)
{
    struct command_peer *c = arg;

    if (!command_peer_wait_over(c))
        return;
    if (info)
        send_info(c, info);
    command_peer_finish(c, problem);
    command_peer_serve(c);
}

void
command_refresh(struct command_peer *c, const char *domain)
{
    c->waiting = true;
    if (policy_admin_refresh(c->server->config.admin, domain, on_refreshed, c) == RES_OK)
        return;
    c->waiting = false;
    command_peer_finish(c, "no memory");
}

/* Sent at once: who waits sees how it goes on. */
static void
on_part(void *arg, const struct inspect_part *part)
{
    struct command_peer *c = arg;
    struct buffer scratch;
    struct pack_writer w;

    if (c->fd < 0)
        return;
    command_frame_begin(&w, &scratch);
    inspect_frame_write(&w, part);
    command_peer_send(c, &w, &scratch);
    command_peer_serve(c);
}

static void
on_inspected(void *arg)
{
    struct command_peer *c = arg;

    if (!command_peer_wait_over(c))
        return;
    command_peer_finish(c, "");
    command_peer_serve(c);
}

void
command_inspect(struct command_peer *c, const char *domain)
{
    c->waiting = true;
    if (inspect_start(c->server->config.inspect, domain, on_part, on_inspected, c) == RES_OK)
        return;
    c->waiting = false;
    command_peer_finish(c, "no memory");
}

void
command_flush(struct command_peer *c, const char *domain)
{
    size_t count = policy_admin_flush(c->server->config.admin, *domain ? domain : NULL);
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, 1);
    command_put_int(&w, "flushed", (int64_t)count);
    command_peer_send(c, &w, &scratch);
    command_peer_finish(c, "");
}

void
command_warm(struct command_peer *c, const char *domain)
{
    enum result res = policy_admin_warm(c->server->config.admin, domain);

    command_peer_finish(c, res == RES_OK      ? ""
                           : res == RES_LIMIT ? "too many wait already"
                                              : "no memory");
}

void
command_stats(struct command_peer *c, const char *argument)
{
    const struct policy_stats *stats = policy_admin_stats(c->server->config.admin);
    struct buffer scratch;
    struct pack_writer w;

    (void)argument;
    command_frame_begin(&w, &scratch);
    pack_map(&w, POLICY_STATS + 1);
    for (unsigned i = 0; i < POLICY_STATS; i++)
        command_put_int(&w, policy_stat_name((enum policy_stat)i), (int64_t)stats->counts[i]);
    command_put_int(&w, "warming", (int64_t)policy_admin_warming(c->server->config.admin));
    command_peer_send(c, &w, &scratch);
    command_peer_finish(c, "");
}

void
command_list(struct command_peer *c, const char *argument)
{
    (void)argument;
    c->listing = true;
    c->place = 0;
}

void
command_show(struct command_peer *c, const char *domain)
{
    command_peer_finish(c, policy_admin_show(c->server->config.admin, domain, on_info, c)
                               ? ""
                               : "nothing is known of that domain");
}
