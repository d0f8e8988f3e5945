/* proxy/status_command.h: `stsgate status`, `stsgate sessions` and `stsgate drain`, over the
 * control socket of a gateway that runs. Context: command line. */
#ifndef STSGATE_PROXY_STATUS_COMMAND_H
#define STSGATE_PROXY_STATUS_COMMAND_H

/** argv[0] is the verb. Exit status as policy_main()'s. */
int status_main(int argc, char **argv);
int sessions_main(int argc, char **argv);
int drain_main(int argc, char **argv);

#endif
