/* proxy/command_client.h: the operator's end of the control socket: asks, takes the frames of the
 * answer, shows them. Context: command line. */
#ifndef STSGATE_PROXY_COMMAND_CLIENT_H
#define STSGATE_PROXY_COMMAND_CLIENT_H

#include "proxy/command_msg.h"
#include "proxy/config.h"

#define COMMAND_FIELDS_MAX 80u

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_GATEWAY = 3 };

/* A connection to the gateway. */
struct command_session {
    int fd; /* owned; -1 for none */
    struct buffer in;
    size_t used; /* of in: the frame in hand */
};

/* One value of a frame. */
struct command_field {
    struct span key;
    enum pack_type type;
    struct span text; /* str and bin */
    int64_t number;   /* numbers; bool: 0 or 1 */
    struct span raw;  /* anything else */
};

/* One map. Borrowed from what it was read from. */
struct command_frame {
    struct span map;
    struct command_field fields[COMMAND_FIELDS_MAX];
    size_t count;
};

typedef void command_show(const struct command_frame *frame);

/** Connect, and send a verb with its argument ("" for none). EXIT_DONE, or what has been said on
 * standard error. command_close() in any case. */
int command_open(const char *path, struct command_session *out);
bool command_send(const struct command_session *s, const char *verb, const char *argument);
void command_close(struct command_session *s);

/** Show each frame of the answer; what: in messages. Returns the exit status. */
int command_take_answer(struct command_session *s, const char *what, command_show *show);

/** All of it: one command. */
int command_ask(const char *path, const char *verb, const char *argument, command_show *show);

/** Say that no gateway answers on path. EXIT_NO_GATEWAY. */
int command_say_gone(const char *path, const char *why);

/** Read a map that stands within a frame. False: it is none. */
bool command_read_map(struct span map, struct command_frame *out);

/** NULL, "" and 0 when the key is not there. */
const struct command_field *command_find(const struct command_frame *f, const char *key);
struct span command_text(const struct command_frame *f, const char *key);
int64_t command_number(const struct command_frame *f, const char *key);

/** Begin to read the array of a key. Returns how many elements *out has: 0 where there is none, or
 * more than max. */
size_t command_list(const struct command_frame *f, const char *key, size_t max,
                    struct pack_reader *out);

/** Print text of others, safe on a terminal; a span of time, as "3 d 4 h"; a moment in UTC. */
void command_print_text(struct span text);
void command_print_span(int64_t seconds);
void command_print_time(int64_t at_s);

/** The label that begins a row for people to read; a whole row whose value is the text of a key. */
void command_print_label(const char *label);
void command_print_row(const struct command_frame *f, const char *label, const char *key);

/** A line of JSON; every field on a line of its own. */
void command_show_json(const struct command_frame *f);
void command_show_fields(const struct command_frame *f);

struct command_options {
    const char *config; /* path */
    bool json, all, help;
    const char *words[3]; /* the others */
    int count;
};

/** -c FILE, --json, --all and up to three words. False: something else, or --help. */
bool command_read_options(int argc, char **argv, struct command_options *out);

/** Print to standard error; EXIT_USAGE. Who asked for it gets it on standard output; EXIT_DONE. */
int command_usage(const struct command_options *o, const char *text);

/** NULL: it cannot be read, which has been said. */
struct config *command_read_config(const char *path);

#endif
