#include "proxy/command_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proxy/record_json.h"
#include "proxy/terminal.h"

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"
#define ERROR_MAX 1024u

/* ---- the other side ---- */

int
command_say_gone(const char *path, const char *why)
{
    fprintf(stderr, "stsgate: no gateway answers on %s: %s\n", path, why);
    return EXIT_NO_GATEWAY;
}

int
command_open(const char *path, struct command_session *out)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    *out = (struct command_session){ .fd = -1 };
    buffer_init(&out->in, 2 * COMMAND_FRAME_MAX);
    if (!*path) {
        fputs("stsgate: control_socket is empty in the configuration\n", stderr);
        return EXIT_USAGE;
    }
    if (strlen(path) >= sizeof addr.sun_path)
        return command_say_gone(path, "the path is too long for a socket");
    memcpy(addr.sun_path, path, strlen(path) + 1);
    out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (out->fd < 0 || connect(out->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return command_say_gone(path, strerror(errno));
    return EXIT_DONE;
}

void
command_close(struct command_session *s)
{
    if (s->fd >= 0)
        close(s->fd);
    buffer_clear(&s->in);
}

bool
command_send(const struct command_session *s, const char *verb, const char *argument)
{
    char line[COMMAND_LINE_MAX + 32];
    int len = snprintf(line, sizeof line, *argument ? "%s %s\n" : "%s%s\n", verb, argument);

    return send(s->fd, line, (size_t)len, MSG_NOSIGNAL) == len;
}

bool
command_read_map(struct span map, struct command_frame *f)
{
    struct pack_reader r;

    f->map = map;
    pack_reader_init(&r, map);
    f->count = pack_read_map(&r, COMMAND_FIELDS_MAX);
    for (size_t i = 0; i < f->count && r.res == RES_OK; i++) {
        struct command_field *field = &f->fields[i];

        *field = (struct command_field){ .key = pack_read_str(&r) };
        field->type = pack_peek_type(&r);
        if (field->type == PACK_STR)
            field->text = pack_read_str(&r);
        else if (field->type == PACK_BIN)
            field->text = pack_read_bin(&r);
        else if (field->type == PACK_UINT || field->type == PACK_INT)
            field->number = pack_read_int(&r, INT64_MIN, INT64_MAX);
        else if (field->type == PACK_BOOL)
            field->number = pack_read_bool(&r);
        else
            field->raw = pack_read_raw(&r);
    }
    return pack_reader_end(&r) == RES_OK;
}

/* The next frame. False: the gateway has gone, or talks nonsense. */
static bool
next_frame(struct command_session *s, struct command_frame *out)
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
    return command_read_map(out->map, out);
}

const struct command_field *
command_find(const struct command_frame *f, const char *key)
{
    for (size_t i = 0; i < f->count; i++)
        if (span_equal(f->fields[i].key, span_of(key)))
            return &f->fields[i];
    return NULL;
}

/* ---- showing ---- */

void
command_print_text(struct span text)
{
    terminal_text(stdout, text);
}

struct span
command_text(const struct command_frame *f, const char *key)
{
    const struct command_field *field = command_find(f, key);

    return field ? field->text : span_of("");
}

int64_t
command_number(const struct command_frame *f, const char *key)
{
    const struct command_field *field = command_find(f, key);

    return field ? field->number : 0;
}

size_t
command_list(const struct command_frame *f, const char *key, size_t max, struct pack_reader *out)
{
    const struct command_field *list = command_find(f, key);

    if (!list || list->type != PACK_ARRAY)
        return 0;
    pack_reader_init(out, list->raw);
    return pack_read_array(out, max);
}

/* "3 d 4 h", "12 min", "5 s": as much as one wants to know. */
void
command_print_span(int64_t seconds)
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

void
command_print_time(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm;
    char text[32] = "?";

    if (gmtime_r(&at, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &tm);
    fputs(text, stdout);
}

void
command_print_label(const char *label)
{
    printf("%-10s ", label);
}

void
command_print_row(const struct command_frame *f, const char *label, const char *key)
{
    command_print_label(label);
    command_print_text(command_text(f, key));
    putchar('\n');
}

void
command_show_json(const struct command_frame *f)
{
    (void)record_json_print(f->map, stdout); /* what cannot be shown is left out */
}

/* Every field on a line of its own. */
void
command_show_fields(const struct command_frame *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct command_field *field = &f->fields[i];

        printf("%-22.*s ", (int)field->key.len, field->key.ptr);
        if (field->type == PACK_STR)
            command_print_text(field->text);
        else
            printf("%" PRId64, field->number);
        putchar('\n');
    }
}

/* ---- asking ---- */

/* Frames until the last one, which says how it ended. */
int
command_take_answer(struct command_session *s, const char *what, command_show *show)
{
    struct command_frame frame;

    while (next_frame(s, &frame)) {
        struct span problem = command_text(&frame, "problem");

        if (!command_find(&frame, "status")) {
            show(&frame);
            continue;
        }
        if (span_equal(command_text(&frame, "status"), span_of("ok")))
            return EXIT_DONE;
        fprintf(stderr, "stsgate: %s: %.*s\n", what, (int)problem.len, problem.ptr);
        return EXIT_REFUSED;
    }
    fprintf(stderr, "stsgate: %s: the gateway has hung up\n", what);
    return EXIT_NO_GATEWAY;
}

int
command_ask(const char *path, const char *verb, const char *argument, command_show *show)
{
    struct command_session s;
    int status = command_open(path, &s);

    if (status == EXIT_DONE)
        status = command_send(&s, verb, argument) ? command_take_answer(&s, verb, show)
                                                  : command_say_gone(path, strerror(errno));
    command_close(&s);
    return status;
}

/* ---- command lines ---- */

bool
command_read_options(int argc, char **argv, struct command_options *out)
{
    *out = (struct command_options){ .config = DEFAULT_CONFIG };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            out->config = argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            out->json = true;
        else if (strcmp(argv[i], "--all") == 0)
            out->all = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            out->help = true;
        else if ((argv[i][0] == '-' && argv[i][1]) || out->count == 3)
            return false;
        else
            out->words[out->count++] = argv[i];
    }
    return !out->help;
}

int
command_usage(const struct command_options *o, const char *text)
{
    fputs(text, o->help ? stdout : stderr);
    return o->help ? EXIT_DONE : EXIT_USAGE;
}

struct config *
command_read_config(const char *path)
{
    char error[ERROR_MAX];
    struct config *config;

    if (config_read(path, &config, NULL, NULL, error, sizeof error) == RES_OK)
        return config;
    fprintf(stderr, "%s\n", error);
    return NULL;
}
