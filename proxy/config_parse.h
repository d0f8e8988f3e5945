/* proxy/config_parse.h: what the files of the parser share: config.c (libconfuse and the order of
 * things), config_text.c (what libconfuse should not see), config_check.c (what fits together).
 * Context: any process. Pure. */
#ifndef STSGATE_PROXY_CONFIG_PARSE_H
#define STSGATE_PROXY_CONFIG_PARSE_H

#include "base/span.h"
#include "proxy/config.h"

#define CONFIG_KEYS_MAX 128u
#define CONFIG_PROBLEM_MAX 512u /* bytes of one message, without file and line */

/* The first complaint; whatever follows it is a consequence. */
struct config_problem {
    enum result res; /* RES_OK: none */
    unsigned line;
    char text[CONFIG_PROBLEM_MAX];
};

/* Where things were given: 1 .., 0 for not at all. */
struct config_lines {
    unsigned key[CONFIG_KEYS_MAX];     /* by place in config_keys() */
    unsigned client[CLIENT_RULES_MAX]; /* where each section of clients begins */
};

/** Keep a complaint, unless there is one. res: not RES_OK. */
void config_problem_note(struct config_problem *problem, enum result res, unsigned line,
                         const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** The line of a key, by name. */
unsigned config_line_of(const struct config_lines *lines, const char *name);

/** Copy text to clean, of the same size, with blanks for comments: libconfuse 3.3 counts a line of
 * comment twice, so that every message behind it would name a wrong line. And complain of what
 * libconfuse understands but a configuration should not say: "${NAME}" becomes a variable of the
 * environment, "\" within quotes makes any octet, even NUL, and a block comment that nobody closes
 * swallows the rest of the file unnoticed.
 *
 * out_unclosed_line  0, or the last line of a text in which a brace is not closed: libconfuse takes
 *                    its end for the end of the section, and may have more to say of it first */
void config_text_clean(struct span text, char *clean, unsigned *out_unclosed_line,
                       struct config_problem *problem);

/** Does what is right by itself fit together? */
void config_check_together(const struct config *config, const struct config_lines *lines,
                           struct config_problem *problem);

#endif
