/* Any bytes as an operator's command, and as the frames of an answer. */
#include <stdint.h>
#include <stdlib.h>

#include "base/hostname.h"
#include "proxy/command_msg.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_command(const struct command *command)
{
    CHECK(command->verb < COMMAND_VERBS);
    for (const char *c = command->argument; *c; c++)
        CHECK(*c >= ' ' && *c <= '~');
    if (command->verb == COMMAND_SHOW || command->verb == COMMAND_REFRESH ||
        command->verb == COMMAND_WARM)
        CHECK(hostname_is_valid(span_of(command->argument)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size), map;
    struct command command;
    size_t used;

    if (command_parse(rest, &command) == RES_OK)
        check_command(&command);
    while (command_frame_read(rest, &map, &used) == RES_OK) {
        CHECK(used == map.len + 4 && used <= rest.len);
        rest = span_from(rest, used);
    }
    return 0;
}
