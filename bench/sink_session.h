/* bench/sink_session.h: one SMTP session of the measuring MX: it accepts everything, keeps nothing,
 * and counts.
 * Context: stsgate-sink, one event loop. */
#ifndef STSGATE_BENCH_SINK_SESSION_H
#define STSGATE_BENCH_SINK_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct ev_loop;
struct stream_tls;

#define SINK_READ_BYTES (256u * 1024u)

/* What all sessions share. */
struct sink {
    struct ev_loop *loop;
    struct stream_tls *tls; /* NULL: STARTTLS is not offered */
    uint64_t slow_per_s;    /* content octets that a session reads per second; 0: no bound */
    char scratch[SINK_READ_BYTES];
    /* counters since the start */
    uint64_t sessions, open, tls_sessions, tls13_sessions, resumed, mails, octets, failed;
    char cipher[64]; /* of the latest handshake */
};

/** Takes fd. The session frees itself at its end. */
void sink_session_start(struct sink *sink, int fd);

#endif
