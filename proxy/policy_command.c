#include "proxy/policy_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/hostname.h"
#include "proxy/command_msg.h"
#include "proxy/config.h"
#include "proxy/record_json.h"
#include "proxy/terminal.h"

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"
#define ERROR_MAX 1024u
#define FIELDS_MAX 80u

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_GATEWAY = 3 };

/* A connection to the gateway. */
struct session {
    int fd;
    struct buffer in;
    size_t used; /* of in: the frame in hand */
};

/* One value of a frame. */
struct field {
    struct span key;
    enum pack_type type;
    struct span text; /* str and bin */
    int64_t number;
    struct span raw; /* anything */
};

struct frame {
    struct span map;
    struct field fields[FIELDS_MAX];
    size_t count;
};

typedef void show_frame(const struct frame *frame);

/* ---- the other side ---- */

static int
say_gone(const char *path, const char *why)
{
    fprintf(stderr, "stsgate: no gateway answers on %s: %s\n", path, why);
    return EXIT_NO_GATEWAY;
}

static int
open_session(const char *path, struct session *out)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    *out = (struct session){ .fd = -1 };
    buffer_init(&out->in, 2 * COMMAND_FRAME_MAX);
    if (!*path) {
        fputs("stsgate: control_socket is empty in the configuration\n", stderr);
        return EXIT_USAGE;
    }
    if (strlen(path) >= sizeof addr.sun_path)
        return say_gone(path, "the path is too long for a socket");
    memcpy(addr.sun_path, path, strlen(path) + 1);
    out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (out->fd < 0 || connect(out->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return say_gone(path, strerror(errno));
    return EXIT_DONE;
}

static void
close_session(struct session *s)
{
    if (s->fd >= 0)
        close(s->fd);
    buffer_clear(&s->in);
}

static bool
send_command(const struct session *s, const char *verb, const char *argument)
{
    char line[COMMAND_LINE_MAX + 32];
    int len = snprintf(line, sizeof line, *argument ? "%s %s\n" : "%s%s\n", verb, argument);

    return send(s->fd, line, (size_t)len, MSG_NOSIGNAL) == len;
}

static bool
read_frame_fields(struct frame *f)
{
    struct pack_reader r;

    pack_reader_init(&r, f->map);
    f->count = pack_read_map(&r, FIELDS_MAX);
    for (size_t i = 0; i < f->count && r.res == RES_OK; i++) {
        struct field *field = &f->fields[i];

        *field = (struct field){ .key = pack_read_str(&r) };
        field->type = pack_peek_type(&r);
        if (field->type == PACK_STR)
            field->text = pack_read_str(&r);
        else if (field->type == PACK_BIN)
            field->text = pack_read_bin(&r);
        else if (field->type == PACK_UINT || field->type == PACK_INT)
            field->number = pack_read_int(&r, INT64_MIN, INT64_MAX);
        else
            field->raw = pack_read_raw(&r);
    }
    return pack_reader_end(&r) == RES_OK;
}

/* The next frame. False: the gateway has gone, or talks nonsense. */
static bool
next_frame(struct session *s, struct frame *out)
{
    size_t used;

    buffer_consume(&s->in, s->used);
    s->used = 0;
    for (;;) {
        enum result res = command_frame_read(buffer_span(&s->in), &out->map, &used);
        char *place;
        ssize_t n;

        if (res == RES_OK)
            break;
        if (res != RES_AGAIN || buffer_reserve(&s->in, 4096, &place) != RES_OK)
            return false;
        n = recv(s->fd, place, 4096, 0);
        if (n <= 0)
            return false;
        buffer_commit(&s->in, (size_t)n);
    }
    s->used = used;
    return read_frame_fields(out);
}

static const struct field *
find_field(const struct frame *f, const char *key)
{
    for (size_t i = 0; i < f->count; i++)
        if (span_equal(f->fields[i].key, span_of(key)))
            return &f->fields[i];
    return NULL;
}

/* ---- showing ---- */

static void
print_text(struct span text)
{
    terminal_text(stdout, text);
}

static struct span
text_of(const struct frame *f, const char *key)
{
    const struct field *field = find_field(f, key);

    return field ? field->text : span_of("");
}

static int64_t
number_of(const struct frame *f, const char *key)
{
    const struct field *field = find_field(f, key);

    return field ? field->number : 0;
}

/* "3 d 4 h", "12 min", "5 s": as much as one wants to know. */
static void
print_span(int64_t seconds)
{
    if (seconds < 0)
        printf("-");
    else if (seconds >= 86400)
        printf("%" PRId64 " d %" PRId64 " h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        printf("%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        printf("%" PRId64 " min", seconds / 60);
    else
        printf("%" PRId64 " s", seconds);
}

static void
print_time(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm;
    char text[32] = "?";

    if (gmtime_r(&at, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &tm);
    fputs(text, stdout);
}

static void
show_json(const struct frame *f)
{
    char *line = NULL;

    if (record_json_map(f->map, &line) == RES_OK)
        puts(line);
    free(line);
}

static void
show_line(const struct frame *f)
{
    print_text(text_of(f, "domain"));
    putchar(' ');
    print_text(text_of(f, "state"));
    if (find_field(f, "mode")) {
        putchar(' ');
        print_text(text_of(f, "mode"));
        printf(" id=");
        print_text(text_of(f, "id"));
        printf(" expires=");
        print_time(number_of(f, "expires_at"));
    }
    if (number_of(f, "failed_count")) {
        printf(" failing=%" PRId64 " ", number_of(f, "failed_count"));
        print_text(text_of(f, "failed_type"));
        putchar(' ');
        print_text(text_of(f, "failed_reason"));
    }
    putchar('\n');
}

static void
print_label(const char *label)
{
    printf("%-10s ", label);
}

static void
show_patterns(const struct frame *f)
{
    const struct field *mx = find_field(f, "mx");
    struct pack_reader r;
    size_t count;

    if (!mx)
        return;
    pack_reader_init(&r, mx->raw);
    count = pack_read_array(&r, UINT16_MAX);
    for (size_t i = 0; i < count && r.res == RES_OK; i++) {
        print_label("mx");
        print_text(pack_read_str(&r));
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
        print_text(line);
        putchar('\n');
        text = span_from(text, end < text.len ? end + 1 : end);
    }
}

static void
show_policy(const struct frame *f)
{
    int64_t now_s = time(NULL);

    print_label("domain");
    print_text(text_of(f, "domain"));
    putchar('\n');
    print_label("state");
    print_text(text_of(f, "state"));
    putchar('\n');
    if (find_field(f, "mode")) {
        print_label("mode");
        print_text(text_of(f, "mode"));
        putchar('\n');
        print_label("id");
        print_text(text_of(f, "id"));
        putchar('\n');
        print_label("fetched");
        print_time(number_of(f, "fetched_at"));
        putchar('\n');
        print_label("expires");
        print_time(number_of(f, "expires_at"));
        printf(" (in ");
        print_span(number_of(f, "expires_at") - now_s);
        printf(")\n");
        print_label("refresh");
        printf("in ");
        print_span(number_of(f, "refresh_in"));
        putchar('\n');
        print_label("last used");
        print_span(number_of(f, "unused"));
        printf(" ago\n");
    }
    show_patterns(f);
    if (number_of(f, "failed_count")) {
        print_label("failing");
        printf("%" PRId64 " times since ", number_of(f, "failed_count"));
        print_time(number_of(f, "failed_since"));
        printf(", id ");
        print_text(text_of(f, "failed_id"));
        printf(": ");
        print_text(text_of(f, "failed_type"));
        putchar(' ');
        print_text(text_of(f, "failed_reason"));
        putchar('\n');
    }
    if (find_field(f, "text")) {
        print_label("text");
        putchar('\n');
        show_whole_text(text_of(f, "text"));
    }
}

/* Every field on a line of its own. */
static void
show_fields(const struct frame *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct field *field = &f->fields[i];

        printf("%-22.*s ", (int)field->key.len, field->key.ptr);
        if (field->type == PACK_STR)
            print_text(field->text);
        else
            printf("%" PRId64, field->number);
        putchar('\n');
    }
}

/* ---- asking ---- */

/* Frames until the last one, which says how it ended. */
static int
take_answer(struct session *s, const char *what, show_frame *show)
{
    struct frame frame;

    while (next_frame(s, &frame)) {
        struct span problem = text_of(&frame, "problem");

        if (!find_field(&frame, "status")) {
            show(&frame);
            continue;
        }
        if (span_equal(text_of(&frame, "status"), span_of("ok")))
            return EXIT_DONE;
        fprintf(stderr, "stsgate: %s: %.*s\n", what, (int)problem.len, problem.ptr);
        return EXIT_REFUSED;
    }
    fprintf(stderr, "stsgate: %s: the gateway has hung up\n", what);
    return EXIT_NO_GATEWAY;
}

static int
ask(const char *path, const char *verb, const char *argument, show_frame *show)
{
    struct session s;
    int status = open_session(path, &s);

    if (status == EXIT_DONE)
        status = send_command(&s, verb, argument) ? take_answer(&s, verb, show)
                                                  : say_gone(path, strerror(errno));
    close_session(&s);
    return status;
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
warm_all(struct session *s, FILE *file, const char *name)
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
        if (!send_command(s, "warm", domain))
            return say_gone("the control socket", strerror(errno));
        if (take_answer(s, domain, show_fields) == EXIT_DONE)
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
    struct session s;
    int status;

    if (!file) {
        fprintf(stderr, "stsgate: %s: %s\n", name, strerror(errno));
        return EXIT_USAGE;
    }
    status = open_session(path, &s);
    if (status == EXIT_DONE)
        status = warm_all(&s, file, name);
    close_session(&s);
    if (file != stdin)
        fclose(file);
    return status;
}

/* ---- command lines ---- */

struct options {
    const char *config;
    bool json, all;
    const char *words[3]; /* the others */
    int count;
};

static bool
read_options(int argc, char **argv, struct options *out)
{
    *out = (struct options){ .config = DEFAULT_CONFIG };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            out->config = argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            out->json = true;
        else if (strcmp(argv[i], "--all") == 0)
            out->all = true;
        else if ((argv[i][0] == '-' && argv[i][1]) || out->count == 3)
            return false;
        else
            out->words[out->count++] = argv[i];
    }
    return true;
}

static int
usage(const char *text)
{
    fputs(text, stderr);
    return EXIT_USAGE;
}

static struct config *
read_config(const char *path)
{
    char error[ERROR_MAX];
    struct config *config;

    if (config_read(path, &config, NULL, NULL, error, sizeof error) == RES_OK)
        return config;
    fprintf(stderr, "%s\n", error);
    return NULL;
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

static int
run_policy(const struct options *o, const char *path)
{
    const char *verb = o->words[0];
    bool inspects = strcmp(verb, "inspect") == 0;
    show_frame *plain = inspects                                                    ? show_json
                        : strcmp(verb, "list") == 0                                 ? show_line
                        : strcmp(verb, "show") == 0 || strcmp(verb, "refresh") == 0 ? show_policy
                                                                                    : show_fields;
    show_frame *show = o->json ? show_json : plain;
    char domain[HOSTNAME_MAX + 1] = "*";

    if (strcmp(verb, "list") == 0 || strcmp(verb, "stats") == 0)
        return o->count == 1 && !o->all ? ask(path, verb, "", show) : usage(policy_usage);
    if (strcmp(verb, "warm") == 0)
        return o->count == 2 ? warm(path, o->words[1]) : usage(policy_usage);
    if (strcmp(verb, "flush") == 0 && o->all)
        return o->count == 1 ? ask(path, verb, "*", show) : usage(policy_usage);
    if (o->count != 2 || o->all ||
        (strcmp(verb, "show") != 0 && strcmp(verb, "refresh") != 0 && strcmp(verb, "flush") != 0 &&
         !inspects))
        return usage(policy_usage);
    if (hostname_normalise(span_of(o->words[1]), domain) != RES_OK) {
        fprintf(stderr, "stsgate: %s is no domain name in A-labels\n", o->words[1]);
        return EXIT_USAGE;
    }
    return ask(path, verb, domain, show);
}

int
policy_main(int argc, char **argv)
{
    struct config *config;
    struct options o;
    int status;

    if (!read_options(argc, argv, &o) || o.count == 0)
        return usage(policy_usage);
    config = read_config(o.config);
    if (!config)
        return EXIT_USAGE;
    status = run_policy(&o, config->control_socket);
    config_free(config);
    return status;
}

int
mode_main(int argc, char **argv)
{
    char wanted[64] = "";
    struct config *config;
    struct options o;
    int status;

    if (!read_options(argc, argv, &o) || o.all || o.count > 2)
        return usage("usage: stsgate mode [monitor | enforce | enforce N%] [--json] [-c FILE]\n");
    config = read_config(o.config);
    if (!config)
        return EXIT_USAGE;
    for (int i = 0; i < o.count; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s%s", i ? " " : "",
                 o.words[i]);
    status = ask(config->control_socket, "mode", wanted, o.json ? show_json : show_fields);
    config_free(config);
    return status;
}

int
reload_main(int argc, char **argv)
{
    struct config *config;
    struct options o;
    int status;

    if (!read_options(argc, argv, &o) || o.all || o.json || o.count)
        return usage("usage: stsgate reload [-c FILE]\n");
    config = read_config(o.config); /* a mistake is told here, and the gateway is not asked */
    if (!config)
        return EXIT_USAGE;
    status = ask(config->control_socket, "reload", "", show_fields);
    config_free(config);
    return status;
}
