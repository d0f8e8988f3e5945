/* proxy/packet_rules.h: the packet rules and routes that lead mail to the listeners of a
 * configuration, as text: for nft and sh. Everything is in one table of ours, `inet stsgate`, so
 * that what others have loaded is left alone and removal is one command. Context: command line.
 * Pure.
 *
 * Fails closed: what comes from inside for the ports of interest and was not taken over is refused
 * in `forward`, also when no gateway listens. Mail that comes in is not touched. */
#ifndef STSGATE_PROXY_PACKET_RULES_H
#define STSGATE_PROXY_PACKET_RULES_H

#include <stdio.h>

#include "proxy/config.h"

#define PACKET_RULES_TABLE "inet stsgate"

/** What keeps rules from being made of it, as one line that says what to do; NULL: nothing. */
const char *packet_rules_objection(const struct config *config);

/** For `nft -f -`, any number of times. config: without objection, in all three. */
void packet_rules_print(const struct config *config, FILE *out);

/** Do packets for the listeners need routes, as they do for tproxy and the clients' addresses? */
bool packet_rules_need_routes(const struct config *config);

/** For `sh`, any number of times; where no routes are needed, a comment. */
void packet_rules_print_routes(const struct config *config, FILE *out);

/** For `sh`: takes away rules and routes, also when only some of them are there. */
void packet_rules_print_removal(const struct config *config, FILE *out);

#endif
