/* proxy/packet_check.h: are the packet rules and routes of a configuration in force on this
 * machine? Context: command line, as root: nft and ip are executed. */
#ifndef STSGATE_PROXY_PACKET_CHECK_H
#define STSGATE_PROXY_PACKET_CHECK_H

#include <stdio.h>

#include "proxy/config.h"

/** Say in one line each what is missing, and what stands in our table that does not belong there.
 * The kernel's rules are compared with what the same nft makes of ours in an empty network
 * namespace, so that its ways of writing make no difference.
 *
 * out_faults: on RES_OK how many lines there were.
 * RES_DENIED: not root, or no network namespace may be made. RES_TEMPFAIL: nft is missing.
 * RES_SYNTAX: nft or the kernel refuses our rules; nft has said why, and what the kernel lacks has
 * been said, on standard error. RES_NOMEM. */
MUST_CHECK enum result packet_check(const struct config *config, FILE *out, unsigned *out_faults);

#endif
