/* tests/support/dns_script.h: a resolver that answers from lines of text: resolver_ask() is this
 * file's, so the program under test must not link policy/resolver.c. One script at a time. */
#ifndef STSGATE_TESTS_SUPPORT_DNS_SCRIPT_H
#define STSGATE_TESTS_SUPPORT_DNS_SCRIPT_H

#include "policy/resolver.h"

#define DNS_SCRIPT_QUESTIONS_MAX 200

/* zone: lines of "TYPE NAME STATE[@OWNER][/TTL] DATA ...". TYPE: mx, a, aaaa, cname, tlsa, soa,
 * txt. STATE: secure, insecure, or the reason of a failure, where "bogus" is one. OWNER: where the
 * records are, behind CNAMEs; "-" for no host name. TTL: 3600 without it. A name that stands
 * nowhere is securely denied. Data of MX: PREFERENCE:HOST; of TLSA: three digits, ':' and text; of
 * TXT a word. */
struct dns_script {
    const char *zone;
    bool full; /* no question can be asked */
    struct {
        char name[HOSTNAME_MAX + 1];
        unsigned qtype;
        resolver_done *done;
        void *arg;
        struct resolver *resolver;
    } asked[DNS_SCRIPT_QUESTIONS_MAX];
    size_t asked_count, answered;
    char log[1024]; /* the questions for TLSA and CNAME records, in order, ';' behind each */
};

extern struct dns_script dns_script; /* set to zero to begin anew */

/** Answer all questions, those that come up meanwhile too. */
void dns_script_pump(void);

#endif
