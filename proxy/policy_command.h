/* proxy/policy_command.h: `stsgate policy`, `stsgate mode` and `stsgate reload`: an operator's
 * commands to a gateway that runs, over its control socket. Context: command line. */
#ifndef STSGATE_PROXY_POLICY_COMMAND_H
#define STSGATE_PROXY_POLICY_COMMAND_H

/** argv[0] is the verb. Exit status: 0 done; 1 refused or failed, the reason is on standard error;
 * 2 wrong usage or configuration; 3 no gateway answers. */
int policy_main(int argc, char **argv);
int mode_main(int argc, char **argv);
int reload_main(int argc, char **argv);

#endif
