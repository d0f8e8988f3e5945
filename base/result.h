/* base/result.h: the one result type of the program.
 * Context: any process. It says what the caller may do next; why a peer failed is data beside it.
 */
#ifndef STSGATE_BASE_RESULT_H
#define STSGATE_BASE_RESULT_H

enum result {
    RES_OK = 0,
    RES_AGAIN,    /* nothing wrong, nothing complete: call again on the next event */
    RES_NOMEM,    /* no memory; the object given in is unchanged */
    RES_SYNTAX,   /* the input breaks its grammar */
    RES_LIMIT,    /* the input or a queue is beyond a named bound */
    RES_TEMPFAIL, /* DNS, HTTPS or a peer failed; may work later */
    RES_DENIED,   /* not permitted, and trying again will not help */
};

#define MUST_CHECK __attribute__((warn_unused_result))

/** The result's name for log lines, e.g. "syntax". Static storage, never NULL. */
const char *result_name(enum result res);

#endif
