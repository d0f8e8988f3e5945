#include "proxy/config_parse.h"

/* What the scanner of comments and quotes is in. */
enum scan { SCAN_PLAIN, SCAN_COMMENT, SCAN_QUOTED };

/* One octet of the file that the configuration has no use for: the complaint, or NULL. */
static const char *
objection(enum scan scan, unsigned char c, char next)
{
    if (c == '\0')
        return "NUL byte: this is no text file";
    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
        return "control character";
    if (scan == SCAN_COMMENT)
        return NULL;
    if (c == '\\')
        return "\"\\\" is not permitted: values need no escapes";
    if (c == '$' && next == '{')
        return "\"${\" is not permitted: write the value itself";
    if (scan == SCAN_PLAIN && c == '/' && (next == '/' || next == '*'))
        return "comments begin with #, and a path with // or /* needs quotes";
    return NULL;
}

static enum scan
scan_next(enum scan scan, char c, char *quote)
{
    switch (scan) {
    case SCAN_PLAIN:
        if (c == '#')
            return SCAN_COMMENT;
        if (c != '"' && c != '\'')
            return SCAN_PLAIN;
        *quote = c;
        return SCAN_QUOTED;
    case SCAN_COMMENT:
        return c == '\n' ? SCAN_PLAIN : SCAN_COMMENT;
    case SCAN_QUOTED:
        return c == *quote ? SCAN_PLAIN : SCAN_QUOTED;
    }
    return SCAN_PLAIN;
}

void
config_text_clean(struct span text, char *clean, unsigned *out_unclosed_line,
                  struct config_problem *problem)
{
    static const char bom[] = "\xef\xbb\xbf";
    enum scan scan = SCAN_PLAIN;
    unsigned line = 1;
    char quote = '\0';
    int depth = 0;

    *out_unclosed_line = 0;
    if (span_starts(text, span_of(bom)))
        config_problem_note(problem, RES_SYNTAX, 1,
                            "starts with a byte order mark: save it without one");
    for (size_t i = 0; i < text.len && problem->res == RES_OK; i++) {
        char c = text.ptr[i];
        const char *why =
            objection(scan, (unsigned char)c, i + 1 < text.len ? text.ptr[i + 1] : '\0');

        if (why)
            config_problem_note(problem, RES_SYNTAX, line, "%s", why);
        scan = scan_next(scan, c, &quote);
        clean[i] = scan == SCAN_COMMENT ? ' ' : c;
        depth += scan == SCAN_PLAIN && c == '{';
        depth -= scan == SCAN_PLAIN && c == '}';
        line += c == '\n';
    }
    if (depth > 0)
        *out_unclosed_line = line - (text.len && text.ptr[text.len - 1] == '\n');
}
