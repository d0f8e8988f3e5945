/* proxy/survey.h: what passes by in roll-out mode survey, counted and otherwise let be (PRX-041): a
 * listener to both directions of a relayed connection. Context: worker. Pure. It reads what is said
 * in clear, and keeps no address and no content. */
#ifndef STSGATE_PROXY_SURVEY_H
#define STSGATE_PROXY_SURVEY_H

#include <stdint.h>

#include "base/span.h"

#define SURVEY_LINE_MAX 128u /* octets of a line that are looked at */

struct survey_line {
    char text[SURVEY_LINE_MAX];
    size_t len;
};

struct survey {
    /* what was seen */
    bool starttls_offered;  /* by the MX */
    bool starttls_asked;    /* by the client */
    bool starttls_accepted; /* 220 came: from then on nothing is read */
    unsigned mails;         /* MAIL commands in clear */
    unsigned recipients;    /* RCPT commands in clear */
    /* where it is */
    bool content;   /* message text, up to a line of "." */
    uint64_t chunk; /* octets of a BDAT that are still to come */
    struct survey_line client, mx;
};

/** Octets of one direction, in any pieces. */
void survey_client(struct survey *s, struct span bytes);
void survey_mx(struct survey *s, struct span bytes);

#endif
