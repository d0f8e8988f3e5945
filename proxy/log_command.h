/* proxy/log_command.h: `stsgate log`: records as lines of JSON.
 * Context: a process of its own, run by an administrator; reads files that hostile peers helped to
 * write, in bounded memory. */
#ifndef STSGATE_PROXY_LOG_COMMAND_H
#define STSGATE_PROXY_LOG_COMMAND_H

#include <stdio.h>

/** The command, argv[0] being "log". Exit status: 0 all records were printed (a cut last one
 * aside); 1 something in a file is no record, or a file could not be read or the output written; 2
 * wrong usage. A reader that closes the output early is no error. Ignores SIGPIPE from then on. */
int log_main(int argc, char **argv);

/* What log_stream() came upon. */
enum log_end {
    LOG_END_CLEAN,   /* whole records and nothing else; perhaps a cut one at the end */
    LOG_END_GARBAGE, /* bytes were skipped, or the input could not be read to its end */
    LOG_END_OUTPUT,  /* the output takes no more: errno says why; nothing further was read */
};

/** Print the records read from in, a descriptor, to its end: lines to out, flushed whenever it has
 * to wait; complaints with name and byte offset to err. A record that is cut by the end of the
 * input is mentioned and is no garbage (FAULTS H5). */
enum log_end log_stream(const char *name, int in, FILE *out, FILE *err);

#endif
