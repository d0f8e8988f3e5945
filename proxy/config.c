#include "proxy/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hostname.h"
#include "base/requirement.h"
#include "proxy/config_parse.h"
#include "proxy/config_section.h"
#include "proxy/config_value.h"
#include "proxy/control_msg.h"

#define WORKERS_MAX CONTROL_WORKERS_MAX
#define SECTION_KEYS_MAX 12u

/* What the callbacks of libconfuse work on. They get no pointer of ours, but the section that is
 * being parsed; and each section has a copy of its parent's file name, which nothing but its own
 * messages reads. So that name is where this hangs: its address as text; and nothing global is
 * needed. */
struct parse {
    struct config *config;         /* borrowed */
    const struct config_key *keys; /* the table */
    size_t key_count;
    struct config_lines lines;
    /* the section in hand */
    const cfg_t *section; /* NULL: none was begun yet */
    enum config_section section_kind;
    unsigned section_line;
    unsigned section_key_lines[SECTION_KEYS_MAX]; /* as `lines` */
    struct config_problem problem;
};

static struct parse *
parse_of(const cfg_t *cfg)
{
    void *parse = NULL;

    (void)sscanf(cfg->filename, "%p", &parse); /* written by new_section() */
    return parse;
}

void
config_problem_note(struct config_problem *problem, enum result res, unsigned line, const char *fmt,
                    ...)
{
    va_list args;

    if (problem->res != RES_OK)
        return; /* the first one is the cause */
    problem->res = res;
    problem->line = line;
    va_start(args, fmt);
    vsnprintf(problem->text, sizeof problem->text, fmt, args);
    va_end(args);
}

unsigned
config_line_of(const struct config_lines *lines, const char *name)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return lines->key[i];
    return 0;
}

/* Was a key given in this line? What libconfuse objects to behind it is most often the second word
 * of a value, which it takes for the next key. */
static bool
has_value_in(const struct parse *parse, unsigned line)
{
    for (size_t i = 0; i < parse->key_count; i++)
        if (parse->lines.key[i] == line)
            return true;
    for (size_t i = 0; i < SECTION_KEYS_MAX; i++)
        if (parse->section_key_lines[i] == line)
            return true;
    return false;
}

/* libconfuse's own findings: a syntax error, an unknown key. */
static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    char text[CONFIG_PROBLEM_MAX];

    vsnprintf(text, sizeof text, fmt, args);
    config_problem_note(&parse_of(cfg)->problem, RES_SYNTAX, (unsigned)cfg->line, "%s%s", text,
                        has_value_in(parse_of(cfg), (unsigned)cfg->line)
                            ? " (a value with blanks in it needs quotes)"
                            : "");
}

static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct parse *parse = parse_of(cfg);
    unsigned line = (unsigned)cfg->line;
    char problem[CONFIG_PROBLEM_MAX];
    enum result res;
    size_t at = 0;

    while (strcmp(parse->keys[at].name, opt->name) != 0) /* opt was made from parse->keys[] */
        at++;
    /* nvalues counts the value in hand, and begins anew with every "=". */
    if (parse->lines.key[at] && opt->nvalues == 1) {
        config_problem_note(&parse->problem, RES_SYNTAX, line, "%s was already given in line %u",
                            opt->name, parse->lines.key[at]);
        return -1;
    }
    parse->lines.key[at] = line;
    res = config_value_set(&parse->keys[at], value, parse->config, problem, sizeof problem);
    if (res != RES_OK) {
        config_problem_note(&parse->problem, res, line, "%s", problem);
        return -1;
    }
    *(const char **)result = value;
    return 0;
}

static void
end_section(struct parse *parse)
{
    char problem[CONFIG_PROBLEM_MAX];
    enum result res;

    if (!parse->section)
        return;
    parse->section = NULL;
    res = config_section_end(parse->section_kind, parse->config, problem, sizeof problem);
    if (res != RES_OK)
        config_problem_note(&parse->problem, res, parse->section_line, "%s", problem);
}

/* A value of a section that is not the one in hand ends that one: sections do not nest. */
static enum result
enter_section(struct parse *parse, const cfg_t *cfg, enum config_section kind, char *problem,
              size_t problem_size)
{
    if (parse->section == cfg)
        return RES_OK;
    end_section(parse);
    parse->section = cfg;
    parse->section_kind = kind;
    parse->section_line = (unsigned)cfg->line;
    memset(parse->section_key_lines, 0, sizeof parse->section_key_lines);
    if (kind == CONFIG_CLIENT && parse->config->clients.count < CLIENT_RULES_MAX)
        parse->lines.client[parse->config->clients.count] = parse->section_line;
    return config_section_begin(kind, cfg->title, parse->config, problem, problem_size);
}

static int
on_section_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, enum config_section kind)
{
    struct parse *parse = parse_of(cfg);
    unsigned line = (unsigned)cfg->line;
    char problem[CONFIG_PROBLEM_MAX];
    size_t at = 0, count;
    const struct config_section_key *section_keys = config_section_keys(kind, &count);
    enum result res = enter_section(parse, cfg, kind, problem, sizeof problem);

    while (strcmp(section_keys[at].name, opt->name) != 0) /* opt was made from them */
        at++;
    if (res == RES_OK && parse->section_key_lines[at] && opt->nvalues == 1) {
        config_problem_note(&parse->problem, RES_SYNTAX, line, "%s was already given in line %u",
                            opt->name, parse->section_key_lines[at]);
        return -1;
    }
    parse->section_key_lines[at] = line;
    if (res == RES_OK)
        res = config_section_set(kind, &section_keys[at], value, parse->config, problem,
                                 sizeof problem);
    if (res != RES_OK) {
        parse->section = NULL; /* one complaint is enough */
        config_problem_note(&parse->problem, res, line, "%s", problem);
        return -1;
    }
    return 0;
}

static int
on_override(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_OVERRIDE);
}

static int
on_smart_host(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_SMART_HOST);
}

static int
on_client(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_CLIENT);
}

static int
on_reply(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_REPLY);
}

static int
on_report_sender(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_REPORT_SENDER);
}

/* Every key as text: numbers are read by config_value.c, decimal and with a range. No function is
 * declared, so that include() is unknown like any other name. */
static void
make_section_options(enum config_section kind, cfg_opt_t opts[SECTION_KEYS_MAX + 1])
{
    static const cfg_callback_t callbacks[CONFIG_SECTIONS] = { on_override, on_smart_host,
                                                               on_client, on_reply,
                                                               on_report_sender };
    size_t count;
    const struct config_section_key *section_keys = config_section_keys(kind, &count);

    for (size_t i = 0; i < count; i++) {
        cfg_flag_t flags = CFGF_NODEFAULT | (section_keys[i].is_list ? CFGF_LIST : CFGF_NONE);

        opts[i] = (cfg_opt_t)CFG_STR_CB(section_keys[i].name, NULL, flags, callbacks[kind]);
    }
    opts[count] = (cfg_opt_t)CFG_END();
}

/* sections: copied by libconfuse, like all of it. */
static void
make_options(const struct parse *parse, cfg_opt_t opts[CONFIG_KEYS_MAX + CONFIG_SECTIONS + 1],
             cfg_opt_t sections[CONFIG_SECTIONS][SECTION_KEYS_MAX + 1])
{
    for (size_t i = 0; i < parse->key_count; i++) {
        cfg_flag_t flags = CFGF_NODEFAULT;

        if (config_type_is_list(parse->keys[i].type))
            flags |= CFGF_LIST;
        opts[i] = (cfg_opt_t)CFG_STR_CB(parse->keys[i].name, NULL, flags, on_value);
    }
    for (unsigned kind = 0; kind < CONFIG_SECTIONS; kind++) {
        make_section_options((enum config_section)kind, sections[kind]);
        opts[parse->key_count + kind] =
            (cfg_opt_t)CFG_SEC(config_section_name((enum config_section)kind), sections[kind],
                               CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    }
    opts[parse->key_count + CONFIG_SECTIONS] = (cfg_opt_t)CFG_END();
}

static void
read_text(cfg_t *cfg, struct span text)
{
    struct parse *parse = parse_of(cfg);
    char *clean = malloc(text.len + 1);
    unsigned unclosed_line;
    FILE *file = NULL;

    if (!clean) {
        config_problem_note(&parse->problem, RES_NOMEM, 1, "no memory");
        return;
    }
    config_text_clean(text, clean, &unclosed_line, &parse->problem);
    if (parse->problem.res != RES_OK || text.len == 0)
        goto done;
    file = fmemopen(clean, text.len, "r");
    if (!file || cfg_parse_fp(cfg, file) != CFG_SUCCESS)
        config_problem_note(&parse->problem, RES_NOMEM, 1,
                            "no memory"); /* anything else was noted before */
    if (unclosed_line)
        config_problem_note(&parse->problem, RES_SYNTAX, unclosed_line,
                            "premature end of file: a brace is not closed");
done:
    if (file)
        fclose(file);
    free(clean);
}

/* The default, without the quotes and braces that one would write around it. */
static void
use_default(struct parse *parse, size_t at)
{
    char text[128], problem[CONFIG_PROBLEM_MAX];
    size_t len = 0;
    enum result res;

    for (const char *c = parse->keys[at].fallback; *c && len < sizeof text - 1; c++)
        if (!strchr("{}\"", *c))
            text[len++] = *c;
    text[len] = '\0';
    if (len == 0 && config_type_is_list(parse->keys[at].type))
        return;
    res = config_value_set(&parse->keys[at], text, parse->config, problem, sizeof problem);
    if (res != RES_OK)
        config_problem_note(&parse->problem, res, 1, "%s", problem);
}

static void
use_defaults(cfg_t *cfg)
{
    struct parse *parse = parse_of(cfg);

    for (size_t i = 0; i < parse->key_count && parse->problem.res == RES_OK; i++) {
        if (parse->lines.key[i])
            continue;
        if (parse->keys[i].type == CONFIG_LIST_TPROXY && parse->config->listen_count)
            continue;
        if (parse->keys[i].type == CONFIG_LIST_PORT && (cfg->opts[i].flags & CFGF_MODIFIED)) {
            config_problem_note(&parse->problem, RES_SYNTAX, (unsigned)cfg->line,
                                "%s: an empty list would permit no destination",
                                parse->keys[i].name);
            continue;
        }
        use_default(parse, i);
    }
}

/* A section without a value was never seen by its callbacks. */
static void
find_empty_sections(cfg_t *cfg)
{
    struct parse *parse = parse_of(cfg);

    for (unsigned kind = 0; kind < CONFIG_SECTIONS; kind++) {
        const char *name = config_section_name((enum config_section)kind);
        size_t filled = config_section_count((enum config_section)kind, parse->config);

        if (cfg_size(cfg, name) != filled)
            config_problem_note(&parse->problem, RES_SYNTAX, (unsigned)cfg->line,
                                "%s: a section is empty", name);
    }
}

/* What only the machine knows. */
static void
ask_machine(struct parse *parse)
{
    struct config *config = parse->config;
    char name[HOSTNAME_MAX + 1] = "";
    cpu_set_t cpus;

    if (config->workers == 0) {
        int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

        config->workers = count < (int)WORKERS_MAX ? (unsigned)count : WORKERS_MAX;
    }
    /* The default needs a machine that was prepared for it, as the package does; whoever names a
     * user means it. */
    if (config_line_of(&parse->lines, "user") == 0 && !getpwnam(config->user)) {
        config->user[0] = '\0';
        config->user_is_missing = true;
    }
    if (*config->hostname)
        return;
    if (gethostname(name, sizeof name - 1) != 0 || !hostname_is_valid(span_of(name))) {
        config_problem_note(&parse->problem, RES_SYNTAX, 1,
                            "hostname: the machine has no usable name: set the key");
        return;
    }
    free(config->hostname);
    config->hostname = strdup(name);
    if (!config->hostname)
        config_problem_note(&parse->problem, RES_NOMEM, 1, "no memory");
}

/* NULL: no memory. */
static cfg_t *
new_section(struct parse *parse)
{
    cfg_opt_t opts[CONFIG_KEYS_MAX + CONFIG_SECTIONS + 1];
    cfg_opt_t sections[CONFIG_SECTIONS][SECTION_KEYS_MAX + 1];
    char *filename = NULL;
    cfg_t *cfg;

    make_options(parse, opts, sections);
    cfg = cfg_init(opts, CFGF_NONE);
    if (cfg && asprintf(&filename, "%p", (void *)parse) < 0) {
        cfg_free(cfg);
        cfg = NULL;
    }
    if (!cfg)
        return NULL;
    cfg->filename = filename;
    cfg_set_error_function(cfg, on_error);
    return cfg;
}

enum result
config_parse(const char *name, struct span text, struct config **out, char *error,
             size_t error_size)
{
    struct config *config = calloc(1, sizeof *config);
    enum result res = RES_NOMEM;
    cfg_t *cfg = NULL;
    struct parse *parse = calloc(1, sizeof *parse);

    *out = NULL;
    snprintf(error, error_size, "%s:1: no memory", name);
    if (text.len > CONFIG_FILE_MAX_BYTES) {
        snprintf(error, error_size, "%s:1: larger than %u bytes", name, CONFIG_FILE_MAX_BYTES);
        res = RES_LIMIT;
        goto done;
    }
    if (!config || !parse)
        goto done;
    parse->config = config;
    parse->keys = config_keys(&parse->key_count);
    cfg = new_section(parse);
    if (!cfg)
        goto done;
    read_text(cfg, text);
    end_section(parse);
    if (parse->problem.res == RES_OK)
        find_empty_sections(cfg);
    if (parse->problem.res == RES_OK)
        use_defaults(cfg);
    if (parse->problem.res == RES_OK)
        config_check_together(config, &parse->lines, &parse->problem);
    if (parse->problem.res == RES_OK)
        ask_machine(parse);
    res = parse->problem.res;
    if (res != RES_OK) {
        snprintf(error, error_size, "%s:%u: %s", name, parse->problem.line, parse->problem.text);
        goto done;
    }
    *out = config;
    config = NULL; /* now the caller's */
done:
    if (cfg)
        cfg_free(cfg);
    free(parse);
    config_free(config);
    return res;
}

void
config_free(struct config *config)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    if (!config)
        return;
    for (size_t i = 0; i < count; i++)
        if (config_type_is_text(keys[i].type))
            free(*(char **)((char *)config + keys[i].offset));
    name_list_clear(&config->tlsrpt_exclude);
    rules_clear(&config->rules);
    client_rules_clear(&config->clients);
    report_senders_clear(&config->report_senders);
    free(config);
}

/* All of the file, up to one byte more than is permitted. RES_SYNTAX: cannot be read. */
static enum result
read_file(const char *path, char **out_text, size_t *out_len, char *error, size_t error_size)
{
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum result res = RES_SYNTAX;
    size_t len = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (text && n > 0 && len <= CONFIG_FILE_MAX_BYTES) {
        n = read(fd, text + len, CONFIG_FILE_MAX_BYTES + 1 - len);
        if (n > 0)
            len += (size_t)n;
    }
    if (n < 0)
        snprintf(error, error_size, "%s:1: cannot be read: %s", path, strerror(errno));
    else if (!text)
        res = RES_NOMEM;
    else
        res = RES_OK;
    if (fd >= 0)
        close(fd);
    if (res == RES_OK) {
        *out_text = text;
        *out_len = len;
        text = NULL; /* now the caller's */
    }
    free(text);
    return res;
}

enum result
config_read(const char *path, struct config **out, char **out_text, size_t *out_text_len,
            char *error, size_t error_size)
{
    char *text = NULL;
    size_t len = 0;
    enum result res;

    *out = NULL;
    snprintf(error, error_size, "%s:1: no memory", path);
    res = read_file(path, &text, &len, error, error_size);
    if (res != RES_OK)
        goto done;
    res = config_parse(path, span_make(text, len), out, error, error_size);
    if (res == RES_OK && out_text) {
        *out_text = text;
        *out_text_len = len;
        text = NULL; /* now the caller's */
    }
done:
    free(text);
    return res;
}
