#include "proxy/command_peer.h"
#include "proxy/gateway_status.h"

void
command_mode(struct command_peer *c, const char *wanted)
{
    const struct command_server_config *config = &c->server->config;
    const struct rollout *now;
    struct rollout rollout;
    struct buffer scratch;
    struct pack_writer w;
    bool by_command;
    char text[16];

    now = config->mode(config->arg, &by_command);
    if (*wanted && rollout_parse(wanted, &rollout) != RES_OK) {
        command_peer_finish(c, "the mode is monitor, enforce or enforce N%");
        return;
    }
    if (*wanted && (rollout.mode == ROLLOUT_SURVEY || now->mode == ROLLOUT_SURVEY)) {
        command_peer_finish(
            c, "survey begins and ends with the configuration: set rollout, then stsgate reload");
        return;
    }
    if (*wanted)
        config->set_mode(config->arg, &rollout);
    now = config->mode(config->arg, &by_command);
    command_frame_begin(&w, &scratch);
    pack_map(&w, 2);
    command_put_text(&w, "mode", rollout_text(now, text));
    command_put_text(&w, "set_by", by_command ? "command" : "configuration");
    command_peer_send(c, &w, &scratch);
    command_peer_finish(c, "");
}

void
command_reload(struct command_peer *c, const char *argument)
{
    const struct command_server_config *config = &c->server->config;

    (void)argument;
    c->waiting = c->reloading = config->reload(config->arg);
    if (!c->waiting)
        command_peer_finish(c, "the supervisor cannot be reached");
}

void
command_drain(struct command_peer *c, const char *argument)
{
    const struct command_server_config *config = &c->server->config;

    (void)argument;
    command_peer_finish(c, config->drain(config->arg) ? "" : "the supervisor cannot be reached");
}

void
command_status(struct command_peer *c, const char *argument)
{
    struct buffer scratch;
    struct pack_writer w;

    (void)argument;
    command_frame_begin(&w, &scratch);
    gateway_status_write(c->server->config.status, &w);
    command_peer_send(c, &w, &scratch);
    command_peer_finish(c, "");
}

/* ---- open sessions ---- */

/* Worker by worker, page by page; each when the client has taken most of those before. */
void
command_go_on_paging(struct command_peer *c)
{
    const struct command_server_config *config = &c->server->config;

    if (buffer_len(&c->out) > COMMAND_OUT_MAX / 2)
        return;
    while (c->worker < config->workers && !c->paging) {
        c->paging = c->waiting = gateway_status_ask(config->status, c->worker, &c->ask);
        if (!c->paging) { /* it is being started anew: none of its sessions is left */
            c->worker++;
            c->ask.below = UINT64_MAX;
        }
    }
    if (c->paging)
        return;
    c->query = 0;
    command_peer_finish(c, "");
}

void
command_sessions(struct command_peer *c, const char *argument)
{
    (void)argument;
    c->query = ++c->server->queries;
    c->worker = 0;
    c->ask = (struct session_ask){ .query = c->query, .below = UINT64_MAX };
}

void
command_server_page(struct command_server *server, unsigned worker, const struct session_page *page)
{
    struct span rest = page->sessions, map;
    struct command_peer *c = server->clients;
    struct buffer scratch;
    struct pack_writer w;

    while (c && !(c->paging && c->query == page->query && c->worker == worker))
        c = c->next;
    if (!c)
        return; /* it has hung up */
    c->paging = c->waiting = false;
    while (session_page_next(&rest, &map)) {
        command_frame_begin(&w, &scratch);
        pack_raw(&w, map);
        command_peer_send(c, &w, &scratch);
    }
    c->ask.below = page->more ? page->below : UINT64_MAX;
    c->worker += !page->more;
    command_peer_serve(c);
}

void
command_server_reloaded(struct command_server *server, bool done)
{
    for (struct command_peer *c = server->clients, *next; c; c = next) {
        next = c->next;
        if (!c->reloading)
            continue;
        c->waiting = c->reloading = false;
        command_peer_finish(c, done ? "" : "the new configuration was refused: the log says why");
        command_peer_serve(c);
    }
}
