/* policy/policy_msg.h: what a worker asks the policy process, the answer, and what the policy
 * process says unasked; one SEQPACKET message each. Context: worker and policy process. Both sides
 * check what they read as if the other had been taken over. */
#ifndef STSGATE_POLICY_POLICY_MSG_H
#define STSGATE_POLICY_POLICY_MSG_H

#include "base/buffer.h"
#include "base/ip_addr.h"
#include "base/requirement.h"
#include "base/tls_report.h"

#define POLICY_MSG_VERSION 6u

enum policy_msg_type {
    POLICY_MSG_REQUEST = 1, /* worker to policy process */
    POLICY_MSG_ANSWER = 2,  /* policy process to worker */
    POLICY_MSG_FORGET = 3,  /* policy process to worker: what its cache holds is out of date */
    POLICY_MSG_LIST = 4,    /* worker to policy process, and on to the other workers: what a
                             * destination listed under TLS (PRX-029) */
    POLICY_MSG_REPORT = 5,  /* worker to policy process: to be counted */
    POLICY_MSG_COUNTED = 6, /* policy process to worker: reports that are in the store */
    POLICY_MSG_OTHERS = 16, /* from here on the types of proxy/status_msg.h, with the same head */
};

struct policy_request {
    uint64_t id;                   /* the worker's; comes back in the answer */
    char domain[HOSTNAME_MAX + 1]; /* policy domain, normalised; "" of an address literal and of
                                    * <postmaster>: only overrides by network are asked for */
    struct ip_addr destination;    /* original destination */
    uint16_t port;                 /* original destination port, never 0: TLSA records are published
                                    * by port (DANE-018) */
    struct ip_addr client;
    bool recheck; /* the recipient is about to be refused under MTA-STS: look past all caches first
                   * (STS-103) */
    bool report_to; /* the sender is one of TLS reports: where does the domain want them (RPT-080)?
                     */
};

#define POLICY_LIST_MAX_BYTES 1024u

struct policy_list {
    struct ip_addr destination;
    uint16_t port;    /* never 0 */
    bool proven;      /* a verdict rests on its certificate */
    struct span list; /* an EHLO reply, 1 .. POLICY_LIST_MAX_BYTES of printable ASCII in lines that
                       * end with CRLF; of a message that was read borrowed from it */
};

#define POLICY_REPORT_HEAD_BYTES 32u        /* at most, of the message before the report itself */
#define POLICY_REPORT_SESSIONS_MAX 1000000u /* more than any worker serves between two messages */

struct policy_report {
    uint64_t source;   /* of the worker, never 0; its numbers rise */
    uint64_t number;   /* 1 .. INT64_MAX */
    uint64_t sessions; /* that went so, 1 .. POLICY_REPORT_SESSIONS_MAX */
    struct tls_report report;
};

/** Of a whole message; 0: none of ours, or another version. */
unsigned policy_msg_type(struct span message);

/** Append the message to out, which is empty. RES_NOMEM, RES_LIMIT. */
MUST_CHECK enum result policy_request_encode(const struct policy_request *request,
                                             struct buffer *out);
MUST_CHECK enum result policy_request_decode(struct span message, struct policy_request *out);

/** req: NULL when the requirement could not be made (no memory). */
MUST_CHECK enum result policy_answer_encode(uint64_t id, const struct requirement *req,
                                            struct buffer *out);

/** out_req: a new reference, or NULL when the answer says that there is none; NULL on failure.
 * RES_SYNTAX, RES_LIMIT: no message of ours. */
MUST_CHECK enum result policy_answer_decode(struct span message, uint64_t *out_id,
                                            struct requirement **out_req);

/** domain: policy domain, normalised; "": all of them. */
MUST_CHECK enum result policy_forget_encode(const char *domain, struct buffer *out);
MUST_CHECK enum result policy_forget_decode(struct span message, char domain[HOSTNAME_MAX + 1]);

MUST_CHECK enum result policy_list_encode(const struct policy_list *list, struct buffer *out);
MUST_CHECK enum result policy_list_decode(struct span message, struct policy_list *out);

/** head: its report is not looked at; report: the same, by tls_report_encode(). */
MUST_CHECK enum result policy_report_encode(const struct policy_report *head, struct span report,
                                            struct buffer *out);
/** out: on RES_OK the caller clears out->report; otherwise that is empty. */
MUST_CHECK enum result policy_report_decode(struct span message, struct policy_report *out);

/** number: of the last report of the worker's that is in the store, and all before it are. */
MUST_CHECK enum result policy_counted_encode(uint64_t number, struct buffer *out);
MUST_CHECK enum result policy_counted_decode(struct span message, uint64_t *out_number);

#endif
