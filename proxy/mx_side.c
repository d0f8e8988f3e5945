#include "proxy/mx_side.h"

#include "tls/dane.h"

/* ---- what the session asks for ---- */

void
mx_side_to_mx(void *io, struct span bytes)
{
    struct mx_side *side = io;

    mx_leg_send(&side->leg, bytes);
}

size_t
mx_side_backlog(void *io)
{
    const struct mx_side *side = io;

    return mx_leg_backlog(&side->leg);
}

bool
mx_side_is_quiet(void *io)
{
    const struct mx_side *side = io;

    return mx_leg_is_quiet(&side->leg);
}

void
mx_side_connect(void *io)
{
    struct mx_side *side = io;
    const struct record_session_info *info = session_info(side->session);

    mx_leg_connect(&side->leg, side->as_client ? &info->client : NULL, &info->destination,
                   info->destination_port, side->world->mark);
}

void
mx_side_start_tls(void *io, const char *sni, uint16_t floor, uint16_t trust)
{
    struct mx_side *side = io;
    const struct mx_side_world *world = side->world;

    mx_leg_start_tls(&side->leg, trust < world->tls_count ? world->tls[trust] : NULL, sni, floor,
                     trust, session_observation(side->session));
}

bool
mx_side_check_dane(void *io, const struct peer_chain *chain, const struct requirement *req,
                   struct dane_facts *out)
{
    const struct mx_side *side = io;

    return dane_check(chain, req->dane.hosts, req->dane.host_count,
                      clock_wall_s(&side->world->clock), out) == RES_OK;
}

void
mx_side_tls_verdict(void *io, bool good)
{
    struct mx_side *side = io;

    mx_leg_tls_verdict(&side->leg, good);
}

void
mx_side_hang_up(void *io, enum hang_up how)
{
    struct mx_side *side = io;

    mx_leg_close(&side->leg, how);
}

const char *
mx_side_engine(void *io, const char **out_reason)
{
    const struct mx_side *side = io;

    return mx_leg_engine(&side->leg, out_reason);
}

static struct policy_subject
subject_of(const struct mx_side *side, const char *domain)
{
    const struct record_session_info *info = session_info(side->session);

    return (struct policy_subject){ .domain = domain,
                                    .destination = info->destination,
                                    .port = info->destination_port,
                                    .client = info->client,
                                    .report_to = session_asks_report_to(side->session) };
}

static void
on_answer(void *arg, struct requirement *req)
{
    struct mx_side *side = arg;

    side->question = NULL;
    session_requirement(side->session, req);
    side->handler->update(side->owner);
}

struct requirement *
mx_side_known(void *io, const char *domain)
{
    const struct mx_side *side = io;
    const struct policy_subject subject = subject_of(side, domain);

    return side->asks_anew ? NULL : policy_client_cached(side->world->policy, &subject);
}

bool
mx_side_ask(void *io, const char *domain, bool recheck, struct requirement **out)
{
    struct mx_side *side = io;
    const struct policy_subject subject = subject_of(side, domain);

    *out = recheck ? NULL : mx_side_known(io, domain);
    if (*out)
        return true;
    side->question = policy_client_ask(side->world->policy, &subject, recheck, on_answer, side);
    return side->question != NULL;
}

unsigned
mx_side_policy_epoch(void *io)
{
    const struct mx_side *side = io;

    return policy_client_epoch(side->world->policy);
}

void
mx_side_forget(void *io)
{
    struct mx_side *side = io;

    if (side->question)
        policy_question_forget(side->question);
    side->question = NULL;
}

void
mx_side_set_timer_ms(void *io, unsigned ms)
{
    mx_side_set_timer(io, ms / 1000.);
}

/* ---- what the leg and the timer tell ---- */

static void
on_connected(void *arg, bool ok)
{
    struct mx_side *side = arg;

    if (ok)
        mx_leg_local(&side->leg, &session_observation(side->session)->local);
    if (side->handler->connected)
        side->handler->connected(side->owner, ok);
    session_connected(side->session, ok);
    side->handler->update(side->owner);
}

static void
on_input(void *arg, struct span bytes)
{
    struct mx_side *side = arg;

    session_mx_input(side->session, bytes);
    side->handler->update(side->owner);
}

static void
on_tls_over(void *arg, struct observation *obs)
{
    struct mx_side *side = arg;

    if (side->handler->tls_over)
        side->handler->tls_over(side->owner, obs);
    session_tls_over(side->session, obs);
    side->handler->update(side->owner);
}

static void
on_writable(void *arg)
{
    struct mx_side *side = arg;

    side->handler->update(side->owner);
}

static void
on_gone(void *arg)
{
    struct mx_side *side = arg;

    session_mx_gone(side->session);
    side->handler->update(side->owner);
}

static const struct mx_leg_handler leg_handler = {
    .connected = on_connected,
    .input = on_input,
    .tls_over = on_tls_over,
    .writable = on_writable,
    .gone = on_gone,
};

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct mx_side *side = w->data;

    (void)revents;
    ev_timer_stop(loop, w); /* it repeats, but each wait is one */
    side->handler->timeout(side->owner);
}

void
mx_side_timeout(struct mx_side *side)
{
    if (session_state(side->session) == SES_HANDSHAKE)
        mx_leg_handshake_timeout(&side->leg);
    else
        session_timeout(side->session);
}

/* ---- life ---- */

void
mx_side_set_timer(struct mx_side *side, double seconds)
{
    side->timer.repeat = seconds;
    ev_timer_again(side->world->loop, &side->timer);
}

bool
mx_side_is_timed(const struct mx_side *side)
{
    return ev_is_active(&side->timer);
}

void
mx_side_init(struct mx_side *side, const struct mx_side_world *world,
             const struct mx_side_owner *handler, void *owner)
{
    *side = (struct mx_side){ .world = world, .handler = handler, .owner = owner };
    mx_leg_init(&side->leg, world->loop, &leg_handler, side, world->scratch, &world->clock);
    ev_init(&side->timer, on_timer);
    side->timer.data = side;
}

void
mx_side_close(struct mx_side *side, enum hang_up how)
{
    ev_timer_stop(side->world->loop, &side->timer);
    mx_side_forget(side);
    mx_leg_close(&side->leg, how);
}
