/* tests/proxy/test_command_msg.c: an operator's commands, and the frames of their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/command_msg.h"

static const struct row {
    const char *line;
    enum command_verb verb;
    const char *argument; /* NULL: refused */
} rows[] = {
    { "list", COMMAND_LIST, "" },
    { "show a.example", COMMAND_SHOW, "a.example" },
    { "show A.Example.", COMMAND_SHOW, "a.example" },
    { "refresh a.example", COMMAND_REFRESH, "a.example" },
    { "inspect a.example", COMMAND_INSPECT, "a.example" },
    { "inspect", 0, NULL },
    { "inspect *", 0, NULL },
    { "flush a.example", COMMAND_FLUSH, "a.example" },
    { "flush *", COMMAND_FLUSH, "" },
    { "warm a.example", COMMAND_WARM, "a.example" },
    { "stats", COMMAND_STATS, "" },
    { "mode", COMMAND_MODE, "" },
    { "mode enforce 30%", COMMAND_MODE, "enforce 30%" },
    { "reload", COMMAND_RELOAD, "" },
    { "status", COMMAND_STATUS, "" },
    { "sessions", COMMAND_SESSIONS, "" },
    { "drain", COMMAND_DRAIN, "" },
    { "drain now", 0, NULL },
    { "sessions a.example", 0, NULL },
    { "", 0, NULL },
    { "LIST", 0, NULL },
    { "list all", 0, NULL },
    { "show", 0, NULL },
    { "show a b", 0, NULL },
    { "show *", 0, NULL },
    { "show ../../etc/passwd", 0, NULL },
    { "show a.example\r", 0, NULL },
    { "flush", 0, NULL },
    { "mode \033[2J", 0, NULL },
    { "shutdown", 0, NULL },
};

static void
test_row(void **state)
{
    const struct row *row = *state;
    struct command command;
    enum result res = command_parse(span_of(row->line), &command);

    assert_int_equal(res, row->argument ? RES_OK : RES_SYNTAX);
    if (!row->argument)
        return;
    assert_int_equal(command.verb, row->verb);
    assert_string_equal(command.argument, row->argument);
}

static void
test_frames(void **state)
{
    struct buffer out, scratch;
    struct pack_writer w;
    struct span map;
    size_t used;

    (void)state;
    buffer_init(&out, 64);
    command_frame_begin(&w, &scratch);
    pack_map(&w, 1);
    pack_str(&w, span_of("status"));
    pack_str(&w, span_of("ok"));
    assert_int_equal(command_frame_end(&w, &scratch, &out), RES_OK);
    for (size_t len = 0; len < buffer_len(&out); len++)
        assert_int_equal(command_frame_read(span_first(buffer_span(&out), len), &map, &used),
                         RES_AGAIN);
    assert_int_equal(command_frame_read(buffer_span(&out), &map, &used), RES_OK);
    assert_int_equal(used, buffer_len(&out));
    assert_int_equal(map.len, used - 4);
    assert_int_equal(command_frame_read(span_make("\x00\x10\x00\x00", 4), &map, &used), RES_LIMIT);

    command_frame_begin(&w, &scratch); /* no room: what is there stays as it is */
    pack_str(&w, span_of("a text that is longer than what is left of sixty-four"));
    assert_int_equal(command_frame_end(&w, &scratch, &out), RES_LIMIT);
    assert_int_equal(buffer_len(&out), used);
    buffer_clear(&out);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows + 1] = { 0 };
    size_t n = 0;

    for (; n < sizeof rows / sizeof *rows; n++)
        tests[n] = (struct CMUnitTest){ .name = rows[n].line,
                                        .test_func = test_row,
                                        .initial_state = (void *)(uintptr_t)&rows[n] };
    tests[n] = (struct CMUnitTest)cmocka_unit_test(test_frames);
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
