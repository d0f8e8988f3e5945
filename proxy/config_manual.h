/* proxy/config_manual.h: stsgate.conf(5), out of the one table of keys. Context: command
 * line, at build time. */
#ifndef STSGATE_PROXY_CONFIG_MANUAL_H
#define STSGATE_PROXY_CONFIG_MANUAL_H

#include <stdio.h>

/** Write the page in man(7)'s language. */
void config_manual_write(FILE *out);

#endif
