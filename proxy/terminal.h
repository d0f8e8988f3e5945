/* proxy/terminal.h: text of others on a terminal, which their escape sequences must not reach.
 * Context: command line. */
#ifndef STSGATE_PROXY_TERMINAL_H
#define STSGATE_PROXY_TERMINAL_H

#include "base/span.h"

#include <stdio.h>

/** Write text to out: printable ASCII as it is, every other octet as \xNN. */
void terminal_text(FILE *out, struct span text);

#endif
