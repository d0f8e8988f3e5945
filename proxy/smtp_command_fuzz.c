/* proxy/smtp_command_fuzz.c: the first octet says in what parts the rest, a stream of the client,
 * arrives, and in its lowest bit whether SMTPUTF8 is in effect. Promises: parts change nothing;
 * what is judged is a host name; what is written for the MX is one line that reads as the same
 * domain. */
#include "proxy/smtp_command.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check_path(const struct smtp_path *path)
{
    bool has_domain = path->domain[0] != '\0';

    must(path->null + path->postmaster + path->literal + has_domain == 1);
    must(!has_domain || hostname_is_valid(span_of(path->domain)));
    for (const char *c = path->domain; *c; c++)
        must(*c < 'A' || *c > 'Z');
    must(path->local.len <= SMTP_LOCAL_PART_MAX);
}

static void
check_written(const struct smtp_command *cmd, bool smtputf8)
{
    static char text[SMTP_LINE_MAX_BYTES + 64], again[SMTP_LINE_MAX_BYTES + 64];
    size_t len = smtp_command_write(cmd, text, sizeof text);
    struct smtp_command reread;
    struct span line = { text, len - 2 };

    must(len > 2 && text[len - 2] == '\r' && text[len - 1] == '\n');
    must(span_find(line, '\r') == line.len && span_find(line, '\n') == line.len);
    must(smtp_command_write(cmd, again, len - 1) == 0);
    smtp_command_parse(line, smtputf8, &reread);
    must(reread.error == REPLY_NONE && reread.verb == cmd->verb);
    must(strcmp(reread.path.domain, cmd->path.domain) == 0);
    must(span_equal(reread.path.local, cmd->path.local));
    must(reread.parameter_count == cmd->parameter_count);
    must(smtp_command_write(&reread, again, sizeof again) == len && memcmp(text, again, len) == 0);
}

static void
check_line(struct span line, bool smtputf8)
{
    struct smtp_command cmd;

    must(line.len <= SMTP_LINE_MAX_BYTES - 2);
    smtp_command_parse(line, smtputf8, &cmd);
    must(cmd.parameter_count <= SMTP_PARAMETERS_MAX);
    must(strlen(smtp_verb_name(cmd.verb)) > 0);
    if (cmd.error != REPLY_NONE)
        return;
    for (size_t i = 0; i < cmd.parameter_count; i++)
        (void)smtp_parameter_extension(cmd.verb, &cmd.parameters[i]);
    if (cmd.verb == SMTP_VERB_MAIL || cmd.verb == SMTP_VERB_RCPT) {
        check_path(&cmd.path);
        check_written(&cmd, smtputf8);
    } else if (cmd.verb == SMTP_VERB_BDAT) {
        must(cmd.chunk_len <= SMTP_CHUNK_MAX && cmd.argument.len > 0);
    } else if (cmd.verb == SMTP_VERB_EHLO) {
        must(cmd.argument.len > 0 && span_find(cmd.argument, ' ') == cmd.argument.len);
    }
}

/* What was taken, as a number that any difference changes. */
static uint64_t
take_all(struct span input, size_t part, bool smtputf8)
{
    uint64_t sum = 1;
    size_t from = 0, seen = 0;
    bool skipping = false;

    while (seen < input.len) {
        enum result res = RES_OK;

        seen = input.len - seen < part ? input.len : seen + part;
        while (res != RES_AGAIN) {
            struct span line;
            size_t used;

            res = smtp_line_take(span_make(input.ptr + from, seen - from), &skipping, &line, &used);
            must(used <= seen - from && (used == 0) == (res == RES_AGAIN));
            from += used;
            if (res == RES_OK)
                check_line(line, smtputf8);
            if (res != RES_AGAIN && !skipping)
                sum = (sum * 31 + (uint64_t)res) * 31 + from;
        }
    }
    return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_from(span_make(data, size), 1);
    bool smtputf8 = size && data[0] & 1;

    if (input.len == 0)
        return 0;
    must(take_all(input, data[0] + 1u, smtputf8) == take_all(input, input.len, smtputf8));
    check_line(span_first(input, SMTP_LINE_MAX_BYTES - 2),
               smtputf8); /* with line ends inside, too */
    return 0;
}
