/* proxy/policy_command.h: `stsgate policy`: what a gateway that runs knows of recipient domains,
 * over its control socket. Context: command line. */
#ifndef STSGATE_PROXY_POLICY_COMMAND_H
#define STSGATE_PROXY_POLICY_COMMAND_H

/** argv[0] is the verb. Exit status: 0 done; 1 refused or failed, the reason is on standard error;
 * 2 wrong usage or configuration; 3 no gateway answers. */
int policy_main(int argc, char **argv);

#endif
