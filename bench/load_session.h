/* bench/load_session.h: one SMTP client session of the load generator: so many mails of one size,
 * and how long each took. Context: stsgate-load, one event loop. */
#ifndef STSGATE_BENCH_LOAD_SESSION_H
#define STSGATE_BENCH_LOAD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "bench/load_content.h"
#include "bench/program.h"

struct ev_loop;
struct load_session;
struct stream_tls;

#define LOAD_COMMAND_MAX 1024u

/* What all sessions share: the plan, and what came of it. */
struct load {
    struct ev_loop *loop;
    struct program_endpoint to;
    struct stream_tls *tls; /* NULL: no STARTTLS of our own */
    char mail[LOAD_COMMAND_MAX];
    char rcpt[LOAD_COMMAND_MAX];
    struct load_content content;
    uint64_t mails_per_session;
    bool pipelining; /* MAIL, RCPT and DATA in one write */
    bool hold;       /* after its first mail a session waits for load_session_release() */
    double timeout_s;
    void (*ready)(void *arg,
                  struct load_session *s); /* it has said EHLO, and its first mail starts */
    void (*held)(void *arg, struct load_session *s); /* it waits */
    void (*ended)(void *arg, struct load_session *s, bool was_ready);
    void *arg;
    struct histogram mail_ns;    /* from MAIL to the reply to the final dot */
    struct histogram session_ns; /* from the moment it was due to that reply of its last mail */
    uint64_t mails, octets, failed, tls_sessions, resumed;
    char first_error[160];
    char tls_name[80]; /* version and suite of the latest handshake */
};

/** due_ns: CLOCK_MONOTONIC moment at which it should have started; it counts from there. The
 * session frees itself after ended(). Calls nothing back before it returns. */
void load_session_start(struct load *load, int64_t due_ns);

/** Let a held session go on with its other mails. */
void load_session_release(struct load_session *s);

#endif
