/* proxy/config_files.h: do the files that a configuration names exist, and are they what it takes
 * them for? Context: supervisor and command line; no certificate is parsed here. */
#ifndef STSGATE_PROXY_CONFIG_FILES_H
#define STSGATE_PROXY_CONFIG_FILES_H

#include "proxy/config.h"

/** error: on anything but RES_OK "KEY: PATH: what is wrong", NUL-terminated.
 * RES_SYNTAX: a file that the gateway cannot start without (certificates, trust anchor, root hints)
 * cannot be read, or holds none. */
MUST_CHECK enum result config_check_files(const struct config *config, char *error,
                                          size_t error_size);

/** Whether the gateway's user could write record_file, without which it does not start; who runs
 * this counts as that user unless root does. error: as above. RES_DENIED. Forks: not from an event
 * loop. */
MUST_CHECK enum result config_check_records(const struct config *config, char *error,
                                            size_t error_size);

/** What it can do without: stores, the control socket, a user of its own. Forks, too. */
void config_warn_of_files(const struct config *config, config_warning *each, void *arg);

#endif
