#include "proxy/policy_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/hostname.h"
#include "proxy/command_client.h"

static void
show_line(const struct command_frame *f)
{
    command_print_text(command_text(f, "domain"));
    putchar(' ');
    command_print_text(command_text(f, "state"));
    if (command_find(f, "mode")) {
        putchar(' ');
        command_print_text(command_text(f, "mode"));
        printf(" id=");
        command_print_text(command_text(f, "id"));
        printf(" expires=");
        command_print_time(command_number(f, "expires_at"));
    }
    if (command_number(f, "failed_count")) {
        printf(" failing=%" PRId64 " ", command_number(f, "failed_count"));
        command_print_text(command_text(f, "failed_type"));
        putchar(' ');
        command_print_text(command_text(f, "failed_reason"));
    }
    putchar('\n');
}

static void
show_patterns(const struct command_frame *f)
{
    struct pack_reader r;
    size_t count = command_list(f, "mx", UINT16_MAX, &r);

    for (size_t i = 0; i < count && r.res == RES_OK; i++) {
        command_print_label("mx");
        command_print_text(pack_read_str(&r));
        putchar('\n');
    }
}

static void
show_whole_text(struct span text)
{
    while (text.len) {
        size_t end = span_find(text, '\n');
        struct span line = span_first(text, end);

        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        printf("    ");
        command_print_text(line);
        putchar('\n');
        text = span_from(text, end < text.len ? end + 1 : end);
    }
}

static void
show_policy(const struct command_frame *f)
{
    int64_t now_s = time(NULL);

    command_print_row(f, "domain", "domain");
    command_print_row(f, "state", "state");
    if (command_find(f, "mode")) {
        command_print_row(f, "mode", "mode");
        command_print_row(f, "id", "id");
        command_print_label("fetched");
        command_print_time(command_number(f, "fetched_at"));
        putchar('\n');
        command_print_label("expires");
        command_print_time(command_number(f, "expires_at"));
        printf(" (in ");
        command_print_span(command_number(f, "expires_at") - now_s);
        printf(")\n");
        command_print_label("refresh");
        printf("in ");
        command_print_span(command_number(f, "refresh_in"));
        putchar('\n');
        command_print_label("last used");
        command_print_span(command_number(f, "unused"));
        printf(" ago\n");
    }
    show_patterns(f);
    if (command_number(f, "failed_count")) {
        command_print_label("failing");
        printf("%" PRId64 " times since ", command_number(f, "failed_count"));
        command_print_time(command_number(f, "failed_since"));
        printf(", id ");
        command_print_text(command_text(f, "failed_id"));
        printf(": ");
        command_print_text(command_text(f, "failed_type"));
        putchar(' ');
        command_print_text(command_text(f, "failed_reason"));
        putchar('\n');
    }
    if (command_find(f, "text")) {
        command_print_label("text");
        putchar('\n');
        show_whole_text(command_text(f, "text"));
    }
}

/* One line of a list of domains: the name, or "" for none. RES_SYNTAX: something else. */
static enum result
read_domain(char *line, char out[HOSTNAME_MAX + 1])
{
    struct span text;

    line[strcspn(line, "#\r\n")] = '\0';
    text = span_trim(span_of(line));
    out[0] = '\0';
    return text.len ? hostname_normalise(text, out) : RES_OK;
}

static int
warm_all(struct command_session *s, FILE *file, const char *name)
{
    char line[1024], domain[HOSTNAME_MAX + 1];
    unsigned number = 0, taken = 0;
    int status = EXIT_DONE;

    while (status != EXIT_NO_GATEWAY && fgets(line, sizeof line, file)) {
        number++;
        if (read_domain(line, domain) != RES_OK) {
            fprintf(stderr, "%s:%u: no domain name in A-labels\n", name, number);
            status = EXIT_REFUSED;
            continue;
        }
        if (!*domain)
            continue;
        if (!command_send(s, "warm", domain))
            return command_say_gone("the control socket", strerror(errno));
        if (command_take_answer(s, domain, command_show_fields) == EXIT_DONE)
            taken++;
        else
            status = EXIT_REFUSED;
    }
    printf("%u domains are being looked up\n", taken);
    return status;
}

static int
warm(const char *path, const char *name)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    struct command_session s;
    int status;

    if (!file) {
        fprintf(stderr, "stsgate: %s: %s\n", name, strerror(errno));
        return EXIT_USAGE;
    }
    status = command_open(path, &s);
    if (status == EXIT_DONE)
        status = warm_all(&s, file, name);
    command_close(&s);
    if (file != stdin)
        fclose(file);
    return status;
}

static const char policy_usage[] =
    "usage: stsgate policy VERB [--json] [-c FILE]\n\n"
    "  list              every domain that something is known of\n"
    "  show DOMAIN       its policy, its last failure, its text\n"
    "  refresh DOMAIN    look TXT record and policy up now, past all caches\n"
    "  inspect DOMAIN    all that the domain publishes for its mail, past all caches, as JSON\n"
    "  flush DOMAIN      forget it, here and in the store; --all: everything\n"
    "  warm FILE         look up the domains of a list before their first mail; -: standard input\n"
    "  stats             what was counted since the policy process started\n";

/* Is it a verb with what belongs to it? */
static bool
is_policy_command(const struct command_options *o)
{
    static const char *const of_a_word[] = { "show", "refresh", "inspect", "flush", "warm" };
    const char *verb = o->count ? o->words[0] : "";

    if (strcmp(verb, "list") == 0 || strcmp(verb, "stats") == 0)
        return o->count == 1 && !o->all;
    if (strcmp(verb, "flush") == 0 && o->all)
        return o->count == 1;
    for (size_t i = 0; i < sizeof of_a_word / sizeof *of_a_word; i++)
        if (strcmp(verb, of_a_word[i]) == 0)
            return o->count == 2 && !o->all;
    return false;
}

static int
run_policy(const struct command_options *o, const char *path)
{
    const char *verb = o->words[0];
    command_show *plain = strcmp(verb, "inspect") == 0 ? command_show_json
                          : strcmp(verb, "list") == 0  ? show_line
                          : strcmp(verb, "show") == 0 || strcmp(verb, "refresh") == 0
                              ? show_policy
                              : command_show_fields;
    command_show *show = o->json ? command_show_json : plain;
    char domain[HOSTNAME_MAX + 1] = "*";

    if (strcmp(verb, "list") == 0 || strcmp(verb, "stats") == 0)
        return command_ask(path, verb, "", show);
    if (strcmp(verb, "warm") == 0)
        return warm(path, o->words[1]);
    if (o->all) /* flush */
        return command_ask(path, verb, "*", show);
    if (hostname_normalise(span_of(o->words[1]), domain) != RES_OK) {
        fprintf(stderr, "stsgate: %s is no domain name in A-labels\n", o->words[1]);
        return EXIT_USAGE;
    }
    return command_ask(path, verb, domain, show);
}

int
policy_main(int argc, char **argv)
{
    struct config *config;
    struct command_options o;
    int status;

    if (!command_read_options(argc, argv, &o) || !is_policy_command(&o))
        return command_usage(&o, policy_usage);
    config = command_read_config(o.config);
    if (!config)
        return EXIT_USAGE;
    status = run_policy(&o, config->control_socket);
    config_free(config);
    return status;
}
