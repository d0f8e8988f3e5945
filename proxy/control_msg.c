#include "proxy/control_msg.h"

#include <assert.h>

#include "base/pack.h"

#define FIELDS 4u /* version, type, worker, value */

static const char *const type_names[] = {
    [CONTROL_POLICY_LINK] = "policy-link",
    [CONTROL_READY] = "ready",
    [CONTROL_STOP] = "stop",
    [CONTROL_RELOAD] = "reload",
    [CONTROL_RELOADED] = "reloaded",
    [CONTROL_MODE] = "mode",
    [CONTROL_RETIRE] = "retire",
    [CONTROL_STATUS_LINK] = "status-link",
    [CONTROL_DRAIN] = "drain",
};

size_t
control_msg_write(const struct control_message *msg, char dst[CONTROL_MSG_MAX_BYTES])
{
    struct pack_writer w;
    enum result res;

    pack_begin_block(&w, dst, CONTROL_MSG_MAX_BYTES);
    pack_array(&w, FIELDS);
    pack_uint(&w, CONTROL_VERSION);
    pack_uint(&w, (uint64_t)msg->type);
    pack_uint(&w, msg->worker);
    pack_uint(&w, msg->value);
    res = pack_end(&w);
    assert(res == RES_OK); /* a header and four numbers of at most 3 bytes each always fit */
    (void)res;
    return pack_written(&w);
}

enum result
control_msg_read(struct span packet, struct control_message *out)
{
    struct pack_reader r;
    uint64_t version, type, worker, value;

    *out = (struct control_message){ 0 };
    pack_reader_init(&r, packet);
    pack_read_tuple(&r, FIELDS);
    version = pack_read_uint(&r, CONTROL_VERSION);
    type = pack_read_uint(&r, CONTROL_DRAIN);
    worker = pack_read_uint(&r, CONTROL_WORKERS_MAX - 1);
    value = pack_read_uint(&r, CONTROL_VALUE_MAX);
    if (pack_reader_end(&r) != RES_OK || version != CONTROL_VERSION || type < CONTROL_POLICY_LINK)
        return RES_SYNTAX;
    if (worker && type != CONTROL_POLICY_LINK)
        return RES_SYNTAX;
    if (value && type != CONTROL_STOP && type != CONTROL_RELOADED && type != CONTROL_MODE)
        return RES_SYNTAX;
    out->value = (unsigned)value;
    out->type = (enum control_type)type;
    out->worker = (unsigned)worker;
    return RES_OK;
}

unsigned
control_msg_descriptors(enum control_type type)
{
    return type == CONTROL_POLICY_LINK || type == CONTROL_STATUS_LINK ? 1 : 0;
}

const char *
control_type_name(enum control_type type)
{
    return type_names[type];
}
