/* proxy/gateway_command.h: `stsgate status`, `sessions`, `mode`, `reload` and `drain`: an
 * operator's commands to a gateway that runs, over its control socket. Context: command line. */
#ifndef STSGATE_PROXY_GATEWAY_COMMAND_H
#define STSGATE_PROXY_GATEWAY_COMMAND_H

/** argv[0] is the verb. Exit status as policy_main()'s. */
int status_main(int argc, char **argv);
int sessions_main(int argc, char **argv);
int mode_main(int argc, char **argv);
int reload_main(int argc, char **argv);
int drain_main(int argc, char **argv);

#endif
