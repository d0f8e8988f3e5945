/* proxy/packet_command.h: the verb `stsgate rules`. Context: command line. */
#ifndef STSGATE_PROXY_PACKET_COMMAND_H
#define STSGATE_PROXY_PACKET_COMMAND_H

/** argv[0] is "rules". Returns the exit status: 0 well; 1 --check found something; 2 wrong usage,
 * or a configuration of which no rules can be made; 3 --check could not look. */
int packet_main(int argc, char **argv);

#endif
