/* proxy/counters.h: what a worker counts, as plain numbers with one table of names: those of the
 * metrics. Every label takes its values from a closed set, so that no peer can make a series
 * (FAULTS H8). Context: worker (counts), policy process and status page (add up). Pure. */
#ifndef STSGATE_PROXY_COUNTERS_H
#define STSGATE_PROXY_COUNTERS_H

#include "proxy/record.h"

#include <stdint.h>

enum counted_family { COUNTED_IPV4, COUNTED_IPV6, COUNTED_FAMILIES };
enum counted_leg { COUNTED_MX, COUNTED_CLIENT, COUNTED_LEGS };
enum counted_direction { COUNTED_TO_MX, COUNTED_TO_CLIENT, COUNTED_DIRECTIONS };
enum counted_records { COUNTED_WRITTEN, COUNTED_LOST, COUNTED_RECORDS };

/* What came of a session: of its messages and of the recipients that were refused by us. */
enum counted_session {
    COUNTED_EMPTY,     /* no recipient, or none that was judged */
    COUNTED_DELIVERED, /* a message or more was taken, and nobody refused */
    COUNTED_PARTLY,    /* the same, but somebody was */
    COUNTED_REFUSED,   /* nothing was taken, and somebody refused */
    COUNTED_UNTAKEN,   /* recipients were permitted, and the MX took no message */
    COUNTED_SESSIONS
};

/* Whose demand a recipient's mail is under; where several are, the first of these. */
enum counted_policy {
    COUNTED_DANE,
    COUNTED_STS,
    COUNTED_LOCAL, /* an override, or the key tls */
    COUNTED_NO_POLICY,
    COUNTED_POLICIES
};

enum counted_mode {
    COUNTED_ENFORCE,
    COUNTED_TESTING,   /* the domain's policy says so */
    COUNTED_MONITORED, /* the site does: roll-out or override */
    COUNTED_NO_MODE,
    COUNTED_MODES
};

/* What became of a recipient: the columns of `stsgate log --summary`. */
enum counted_result {
    COUNTED_CLEAR, /* delivered, without TLS */
    COUNTED_TLS,   /* under TLS, whoever answered */
    COUNTED_BY_STS,
    COUNTED_BY_DANE,
    COUNTED_GATEWAY_REFUSED,
    COUNTED_MX_REJECTED,
    COUNTED_FAILED,
    COUNTED_RESULTS
};

enum { COUNTED_VERSIONS = 5, COUNTED_ENDS = 5, COUNTED_REPLIES = 100, COUNTED_AWAY = 10 };
/* Bounds of the time that a handshake takes, and the number behind them: the sum. */
enum { COUNTED_TIMES = 12, COUNTED_TIME_SUM = COUNTED_TIMES };
enum { COUNTED_ENGINES = 5, COUNTED_RELAYS = 3, COUNTED_INTERCEPTS = 3, COUNTED_FALLBACKS = 5 };

/* Nothing but numbers of 64 bits: counters_table() finds them by their offsets. */
struct counters {
    uint64_t connections[COUNTED_FAMILIES][COUNTED_INTERCEPTS];
    uint64_t turned_away[COUNTED_AWAY];
    uint64_t sessions[COUNTED_SESSIONS];
    uint64_t relays[COUNTED_RELAYS];
    uint64_t recipients[COUNTED_POLICIES][COUNTED_MODES][COUNTED_RESULTS];
    uint64_t replies[COUNTED_REPLIES]; /* by the number of the row: 13 is REP-013; 0 any other */
    uint64_t handshakes[COUNTED_LEGS][COUNTED_VERSIONS][COUNTED_ENDS];
    uint64_t resumed;
    uint64_t handshake_ms[COUNTED_TIMES + 1];
    uint64_t octets[COUNTED_DIRECTIONS][COUNTED_ENGINES];
    uint64_t fallbacks[COUNTED_FALLBACKS];
    uint64_t violations;
    uint64_t left_without_mail; /* PRX-044 */
    uint64_t records[COUNTED_RECORDS];
    uint64_t cpu_ms; /* CPU time of the process, user and system */
};

#define COUNTERS (sizeof(struct counters) / sizeof(uint64_t))

/* One label. The last label of a family runs fastest. */
struct counter_label {
    const char *name;
    const char *const *values; /* NULL: of replies, "REP-000" ... */
    unsigned count;
};

enum counter_kind {
    COUNTER_NUMBER,    /* as it stands */
    COUNTER_SECONDS,   /* milliseconds, told in seconds */
    COUNTER_HISTOGRAM, /* of milliseconds: how many up to each bound and above the one before it,
                        * the last bound being infinite; then the sum of all. One label, the
                        * bounds in seconds */
};

struct counter_row {
    const char *name, *help;
    size_t offset; /* in struct counters */
    struct counter_label labels[3];
    unsigned label_count; /* 0: one number */
    enum counter_kind kind;
};

/** The table, in the order of struct counters: every number belongs to one row. Static storage. */
const struct counter_row *counters_table(size_t *out_rows);

/** How many numbers a row has: the product of its labels' counts. */
size_t counter_row_size(const struct counter_row *row);

/** The number of that index in struct counters' order, 0 .. COUNTERS - 1. */
uint64_t counters_get(const struct counters *c, size_t index);
void counters_set(struct counters *c, size_t index, uint64_t value);

/* Facts, each counted where it is recorded. */
void counters_connection(struct counters *c, const struct record_session_info *info);
void counters_turned_away(struct counters *c, const char *reason); /* the log's word */
void counters_recipient(struct counters *c, const struct record_recipient *record);
void counters_session(struct counters *c, const struct record_session_end *record);
void counters_relay(struct counters *c, const struct record_survey *record);
/* took_ms: from STARTTLS's reply to the end; of one that succeeded it is counted. */
void counters_mx_handshake(struct counters *c, const struct observation *obs, int64_t took_ms);
/** version: 0 when it failed. */
void counters_client_handshake(struct counters *c, uint16_t version);

/** What protects a recipient's mail, or what became of it, as `stsgate log --summary` says. */
enum counted_result counters_result(const struct record_recipient *record);

#endif
