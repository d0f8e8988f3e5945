/* proxy/log_command.h: `stsgate log`: records as lines of JSON, or what they add up to.
 * Context: a process of its own, run by an administrator; reads files that hostile peers helped to
 * write, in bounded memory. */
#ifndef STSGATE_PROXY_LOG_COMMAND_H
#define STSGATE_PROXY_LOG_COMMAND_H

#include "proxy/record_stream.h"

/** The command, argv[0] being "log". Exit status: 0 all records were printed (a cut last one
 * aside); 1 something in a file is no record, or a file could not be read or the output written; 2
 * wrong usage. A reader that closes the output early is no error. Ignores SIGPIPE from then on. */
int log_main(int argc, char **argv);

/** Print the records read from in, a descriptor, to its end: lines to out, flushed whenever it has
 * to wait; complaints with name and byte offset to err. RECORD_STREAM_STOPPED: the output takes no
 * more, errno says why. */
enum record_stream_end log_stream(const char *name, int in, FILE *out, FILE *err);

#endif
