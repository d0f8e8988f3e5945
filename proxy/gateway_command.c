#include "proxy/gateway_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "proxy/command_client.h"

#define LIST_MAX 64u /* workers, overrides */

/* Walk the maps of an array that stands in a frame. */
static void
each_map(const struct command_frame *f, const char *key, command_show *show)
{
    struct pack_reader r;
    size_t count = command_list(f, key, LIST_MAX, &r);

    for (size_t i = 0; i < count && r.res == RES_OK; i++) {
        struct command_frame map;

        if (command_read_map(pack_read_raw(&r), &map))
            show(&map);
    }
}

static void
show_worker(const struct command_frame *f)
{
    command_print_label("worker");
    printf("%" PRId64 " ", command_number(f, "worker"));
    command_print_text(command_text(f, "state"));
    printf(", pid %" PRId64 ", %" PRId64 " sessions, %" PRId64 " relayed, ",
           command_number(f, "pid"), command_number(f, "sessions"), command_number(f, "relayed"));
    command_print_text(command_text(f, "tls_library"));
    putchar('\n');
}

static void
show_override(const struct command_frame *f)
{
    int64_t until_s = command_number(f, "until");

    command_print_label("override");
    command_print_text(command_text(f, "override"));
    if (command_number(f, "ended")) {
        printf(" has ended ");
        command_print_time(until_s);
    } else {
        printf(" ends in ");
        command_print_span(until_s - time(NULL));
    }
    putchar('\n');
}

static void
show_policies(const struct command_frame *f)
{
    const struct command_field *field = command_find(f, "policies");
    struct command_frame map;

    if (!field || !command_read_map(field->raw, &map))
        return;
    command_print_label("policies");
    for (size_t i = 0; i < map.count; i++) {
        printf("%s%" PRId64 " ", i ? ", " : "", map.fields[i].number);
        command_print_text(map.fields[i].key);
    }
    putchar('\n');
}

static void
show_records(const struct command_frame *f)
{
    command_print_label("records");
    printf("%s, %" PRId64 " written, %" PRId64 " lost\n",
           command_number(f, "records_ready") ? "good" : "FAILING",
           command_number(f, "records_written"), command_number(f, "records_lost"));
}

static void
show_status(const struct command_frame *f)
{
    command_print_row(f, "version", "version");
    command_print_label("up");
    command_print_span(command_number(f, "uptime"));
    printf(", configuration %" PRId64 "\n", command_number(f, "generation"));
    command_print_label("mode");
    command_print_text(command_text(f, "mode"));
    printf(", set by ");
    command_print_text(command_text(f, "set_by"));
    putchar('\n');
    command_print_label("sessions");
    printf("%" PRId64 ", and %" PRId64 " relayed\n", command_number(f, "sessions"),
           command_number(f, "relayed"));
    show_records(f);
    command_print_row(f, "store", "store");
    command_print_row(f, "dane", "dane");
    show_policies(f);
    each_map(f, "workers", show_worker);
    each_map(f, "overrides_ending", show_override);
}

/* "TLSv1.3", or "clear". */
static void
print_leg(const struct command_frame *f, const char *key)
{
    struct span version = command_text(f, key);

    command_print_text(version.len ? version : span_of("clear"));
}

static void
show_session(const struct command_frame *f)
{
    struct span domain = command_text(f, "domain");

    command_print_text(command_text(f, "session"));
    printf(" %" PRId64 " s ", command_number(f, "age"));
    command_print_text(command_text(f, "state"));
    putchar(' ');
    command_print_text(command_text(f, "client"));
    printf(" (");
    print_leg(f, "client_tls");
    printf(") -> ");
    command_print_text(command_text(f, "destination"));
    printf(" (");
    print_leg(f, "tls");
    printf(") ");
    command_print_text(domain.len ? domain : span_of("-"));
    printf(" delivered=%" PRId64 " refused=%" PRId64 " to_mx=%" PRId64 " to_client=%" PRId64 "\n",
           command_number(f, "delivered"), command_number(f, "refused"),
           command_number(f, "bytes_to_mx"), command_number(f, "bytes_to_client"));
}

struct gateway_verb {
    const char *usage;
    command_show *show; /* without --json */
    bool takes_json;
    int words_max; /* of its argument */
};

static int
run(int argc, char **argv, const struct gateway_verb *verb)
{
    char argument[64] = "";
    struct command_options o;
    struct config *config;
    int status;

    if (!command_read_options(argc, argv, &o) || o.all || o.count > verb->words_max ||
        (o.json && !verb->takes_json))
        return command_usage(&o, verb->usage);
    config = command_read_config(o.config); /* a mistake is told here, and nobody is asked */
    if (!config)
        return EXIT_USAGE;
    for (int i = 0; i < o.count; i++)
        snprintf(argument + strlen(argument), sizeof argument - strlen(argument), "%s%s",
                 i ? " " : "", o.words[i]);
    status = command_ask(config->control_socket, argv[0], argument,
                         o.json ? command_show_json : verb->show);
    config_free(config);
    return status;
}

int
status_main(int argc, char **argv)
{
    static const struct gateway_verb verb = { "usage: stsgate status [--json] [-c FILE]\n",
                                              show_status, true, 0 };

    return run(argc, argv, &verb);
}

int
sessions_main(int argc, char **argv)
{
    static const struct gateway_verb verb = { "usage: stsgate sessions [--json] [-c FILE]\n",
                                              show_session, true, 0 };

    return run(argc, argv, &verb);
}

int
mode_main(int argc, char **argv)
{
    static const struct gateway_verb verb = {
        "usage: stsgate mode [monitor | enforce | enforce N%] [--json] [-c FILE]\n",
        command_show_fields, true, 2
    };

    return run(argc, argv, &verb);
}

int
reload_main(int argc, char **argv)
{
    static const struct gateway_verb verb = { "usage: stsgate reload [-c FILE]\n",
                                              command_show_fields, false, 0 };

    return run(argc, argv, &verb);
}

int
drain_main(int argc, char **argv)
{
    static const struct gateway_verb verb = { "usage: stsgate drain [-c FILE]\n", command_show_json,
                                              false, 0 };

    return run(argc, argv, &verb);
}
