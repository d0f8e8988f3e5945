/* proxy/command_msg.h: what an operator's command and the policy process say to each other over the
 * control socket: a line of text one way, frames the other. Context: policy process, command line.
 * Pure.
 *
 * A command is one line, "VERB ARGUMENT\n". Its answer is any number of frames, the last of which
 * has the key "status". A frame is a length in four octets, big-endian, and that many octets: one
 * MessagePack map whose keys are those of `--json`. */
#ifndef STSGATE_PROXY_COMMAND_MSG_H
#define STSGATE_PROXY_COMMAND_MSG_H

#include "base/buffer.h"
#include "base/pack.h"

#define COMMAND_LINE_MAX 320u            /* octets with the line end: a verb and a domain */
#define COMMAND_FRAME_MAX (160u * 1024u) /* a whole policy, its text and its patterns */

enum command_verb {
    COMMAND_LIST,
    COMMAND_SHOW,    /* DOMAIN */
    COMMAND_REFRESH, /* DOMAIN */
    COMMAND_INSPECT, /* DOMAIN */
    COMMAND_FLUSH,   /* DOMAIN, or "*" for all */
    COMMAND_WARM,    /* DOMAIN */
    COMMAND_STATS,
    COMMAND_MODE, /* nothing, or a roll-out as in the configuration */
    COMMAND_RELOAD,
    COMMAND_STATUS,
    COMMAND_SESSIONS,
    COMMAND_DRAIN,
    COMMAND_VERBS
};

struct command {
    enum command_verb verb;
    char argument[COMMAND_LINE_MAX]; /* a domain is normalised; "" for none, or for all */
};

/** line: without its line end. RES_SYNTAX: an unknown verb, a missing or malformed argument. */
MUST_CHECK enum result command_parse(struct span line, struct command *out);

/** "list", "show" ... Static storage. */
const char *command_verb_name(enum command_verb verb);

/** Append a frame to out: begin, write one map, end. RES_LIMIT: no room; out is as before.
 * RES_NOMEM: the connection is of no use any more. */
void command_frame_begin(struct pack_writer *w, struct buffer *scratch);
MUST_CHECK enum result command_frame_end(struct pack_writer *w, struct buffer *scratch,
                                         struct buffer *out);

/** The first frame of bytes: its map, borrowed, and how many octets it took.
 * RES_AGAIN: not whole yet; RES_LIMIT: longer than COMMAND_FRAME_MAX. */
MUST_CHECK enum result command_frame_read(struct span bytes, struct span *out_map,
                                          size_t *out_used);

#endif
