/* proxy/control_msg.h: the messages between the supervisor and its children, one per SEQPACKET
 * packet: a MessagePack array [version, type, worker, value]. Context: supervisor and its
 * children. Pure. Either side reads what the other wrote as if it had been taken over. */
#ifndef STSGATE_PROXY_CONTROL_MSG_H
#define STSGATE_PROXY_CONTROL_MSG_H

#include "base/result.h"
#include "base/span.h"

#define CONTROL_VERSION 2u
#define CONTROL_MSG_MAX_BYTES                                                                      \
    16u                         /* the longest is 9 bytes; room to see that a packet is too long */
#define CONTROL_WORKERS_MAX 64u /* as the key `workers` */
#define CONTROL_VALUE_MAX 65535u

enum control_type {
    CONTROL_POLICY_LINK = 1, /* to a child, with one descriptor: its end of a new SEQPACKET pair
                              * between worker and policy process; replaces the one before */
    CONTROL_READY = 2,       /* to the supervisor: the child serves */
    CONTROL_STOP = 3,        /* to a child: finish what is open and exit with 0; value 1: a newer
                              * generation serves, so who has just come may have one transaction */
    CONTROL_RELOAD = 4,      /* to the supervisor, from the policy process: read the configuration
                              * again; CONTROL_RELOADED follows */
    CONTROL_RELOADED = 5,    /* to the policy process that asked: value 1 done, 0 refused */
    CONTROL_MODE = 6,        /* to the supervisor: the operator has set this roll-out (value:
                              * rollout_to_number()); and back to a policy process that was
                              * started since */
    CONTROL_RETIRE = 7,      /* to the policy process of an older generation: no more commands,
                              * nothing is written to the store, nothing refreshed */
    CONTROL_STATUS_LINK = 8, /* to the policy process and to the status process, with one
                              * descriptor: its end of a new SEQPACKET pair between the two */
    CONTROL_DRAIN = 9,       /* to the supervisor, from the policy process: the operator wants all
                              * to finish and end */
};

struct control_message {
    enum control_type type;
    unsigned worker; /* CONTROL_POLICY_LINK: 0 .. CONTROL_WORKERS_MAX - 1; otherwise 0 */
    unsigned value;  /* CONTROL_STOP, CONTROL_RELOADED, CONTROL_MODE: 0 .. CONTROL_VALUE_MAX;
                        otherwise 0 */
};

/** Returns the length written, at least 1. msg: within the ranges above. */
size_t control_msg_write(const struct control_message *msg, char dst[CONTROL_MSG_MAX_BYTES]);

/** Read one whole packet. RES_SYNTAX: another version, an unknown type, a worker out of range or
 * given where none belongs, a value likewise, bytes missing or left over; *out is then all zero. */
MUST_CHECK enum result control_msg_read(struct span packet, struct control_message *out);

/** How many descriptors come with a message of this type: 0 or 1. */
unsigned control_msg_descriptors(enum control_type type);

/** "policy-link", "ready", "stop", "reload", "reloaded", "mode", "retire", "status-link", "drain".
 * Static storage. */
const char *control_type_name(enum control_type type);

#endif
