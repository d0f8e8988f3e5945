#include "proxy/config_manual.h"

#include "proxy/config_section.h"

/* Text in roff: a backslash, a hyphen and a leading dot or quote mean something else there. */
static void
put_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (c == text && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else
            putc(*c, out);
    }
}

static void
put_key(FILE *out, const struct config_key *key)
{
    fprintf(out, ".TP\n.B %s\n", key->name);
    put_text(out, key->help);
    fputs(".\nOne of: ", out);
    put_text(out, key->range);
    if (*key->unit)
        fprintf(out, ", in %s", key->unit);
    fputs(".\nDefault: ", out);
    put_text(out, key->fallback);
    fputs(".\n", out);
}

static void
put_section(FILE *out, enum config_section kind)
{
    size_t count;
    const struct config_section_key *keys = config_section_keys(kind, &count);

    fprintf(out, ".SS %s\n", config_section_name(kind));
    for (size_t i = 0; i < count; i++) {
        fprintf(out, ".TP\n.B %s\n", keys[i].name);
        put_text(out, keys[i].help);
        fputs(".\nOne of: ", out);
        put_text(out, keys[i].range);
        fputs(".\n", out);
    }
}

void
config_manual_write(FILE *out)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    fputs(
        ".TH STSGATE.CONF 5 \"\" \"stsgate " STSGATE_VERSION "\"\n"
        ".SH NAME\nstsgate.conf \\- configuration of stsgate\n"
        ".SH SYNOPSIS\n.B /etc/stsgate/stsgate.conf\n"
        ".SH DESCRIPTION\n"
        "Each line is KEY = VALUE; \"#\" begins a comment; a list stands in braces. A key that is\n"
        "not known, or given twice, is an error with its line. Check a file by\n"
        ".BR \"stsgate config check\" .\n"
        ".SH KEYS\n",
        out);
    for (size_t i = 0; i < count; i++)
        put_key(out, &keys[i]);
    fputs(".SH SECTIONS\nNAME \"TITLE\" { KEY = VALUE ... }, any number of each.\n", out);
    for (unsigned i = 0; i < CONFIG_SECTIONS; i++)
        put_section(out, (enum config_section)i);
    fputs(".SH SEE ALSO\n.BR stsgate (8) ,\n.BR stsgate\\-records (5)\n", out);
}
