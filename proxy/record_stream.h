/* proxy/record_stream.h: records read from a descriptor, one after the other, over whatever stands
 * between them: torn ones, garbage, a cut end (FAULTS H2, H5).
 * Context: command line; reads files that hostile peers helped to write, in bounded memory. */
#ifndef STSGATE_PROXY_RECORD_STREAM_H
#define STSGATE_PROXY_RECORD_STREAM_H

#include "base/span.h"

#include <stdint.h>
#include <stdio.h>

/* What record_stream() came upon. */
enum record_stream_end {
    RECORD_STREAM_CLEAN,   /* whole records and nothing else; perhaps a cut one at the end */
    RECORD_STREAM_GARBAGE, /* bytes were skipped, or the input could not be read to its end */
    RECORD_STREAM_STOPPED, /* who takes the records wants no more; nothing further was read */
};

struct record_taker {
    /** One record: its time and its map, as record_decode() gives them; borrowed for the call.
     * False: stop. */
    bool (*take)(void *arg, int64_t wall_ns, struct span map);
    /** What has been read is taken, and the next read may wait. False: stop. May be NULL. */
    bool (*pause)(void *arg);
    /** The input has ended for now. True once there is more of it; false: that was all. May be
     * NULL: that is all. */
    bool (*more)(void *arg);
    void *arg;
};

/** Read in, a descriptor, to its end. name: of the input, for complaints, which go to err with the
 * byte's offset. A record that is cut by the end of the input is mentioned and is no garbage. */
enum record_stream_end record_stream(const char *name, int in, FILE *err,
                                     const struct record_taker *taker);

#endif
