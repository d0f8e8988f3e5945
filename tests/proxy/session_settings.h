/* tests/proxy/session_settings.h: who is there and who demands what, out of a few octets: the part
 * of a fuzzer's input that is fixed before anything happens. */
#ifndef STSGATE_TESTS_PROXY_SESSION_SETTINGS_H
#define STSGATE_TESTS_PROXY_SESSION_SETTINGS_H

#include "tests/proxy/session_world.h"

#define SESSION_SETTINGS 8u /* octets */
#define SESSION_GOOD_KEY 1  /* of an MX: what the TLSA records are about */

/* Of the first octet. */
#define SESSION_RAW (1u << 0) /* what follows is text alone */

/** A world, not started: a.example and b.example share an MX host, d.example has its own, and
 * relay.example is what a smart host is called. octets: SESSION_SETTINGS of any value; what each is
 * for stands in the source. */
struct world *session_settings_world(const unsigned char *octets);

/** Bytes into a socket arrive at once or one by one, and what is queued for the MX has left, or
 * not. */
void session_settings_sockets(struct world *w, unsigned how);

#endif
