#include "proxy/report_queue.h"

#include "base/msg_link.h"
#include "policy/policy_msg.h"

#include <stdlib.h>
#include <utlist.h>

/* One whole message. */
struct report_queue_entry {
    struct report_queue_entry *prev, *next;
    uint64_t number;
    size_t len;
    char bytes[];
};

void
report_queue_init(struct report_queue *q, uint64_t source)
{
    *q = (struct report_queue){ .source = source ? source : 1 };
}

static void
drop_first(struct report_queue *q)
{
    struct report_queue_entry *e = q->entries;

    DL_DELETE(q->entries, e);
    q->count--;
    q->bytes -= e->len;
    free(e);
}

void
report_queue_clear(struct report_queue *q)
{
    while (q->entries)
        drop_first(q);
    q->unsent = NULL;
}

static bool
is_full(const struct report_queue *q, size_t len)
{
    return q->count >= REPORT_QUEUE_MAX || q->bytes + len > REPORT_QUEUE_BYTES_MAX;
}

static enum result
keep(struct report_queue *q, struct span message)
{
    struct report_queue_entry *e;

    while (is_full(q, message.len) && q->entries && q->entries != q->unsent)
        drop_first(q);
    if (is_full(q, message.len))
        return RES_LIMIT;
    e = malloc(sizeof *e + message.len);
    if (!e)
        return RES_NOMEM;
    e->number = q->last;
    e->len = message.len;
    memcpy(e->bytes, message.ptr, message.len);
    DL_APPEND(q->entries, e);
    if (!q->unsent)
        q->unsent = e;
    q->count++;
    q->bytes += e->len;
    return RES_OK;
}

enum result
report_queue_add(struct report_queue *q, const struct tls_report *report)
{
    struct policy_report message = { .source = q->source, .number = ++q->last };
    struct buffer bytes;
    enum result res;

    message.report = *report; /* its lists stay the caller's */
    buffer_init(&bytes, MSG_LINK_MAX_BYTES);
    res = policy_report_encode(&message, &bytes);
    if (res == RES_OK)
        res = keep(q, buffer_span(&bytes));
    buffer_clear(&bytes);
    if (res != RES_OK)
        q->lost++;
    return res;
}

bool
report_queue_next(const struct report_queue *q, struct span *out)
{
    if (!q->unsent)
        return false;
    *out = span_make(q->unsent->bytes, q->unsent->len);
    return true;
}

void
report_queue_sent(struct report_queue *q)
{
    if (q->unsent)
        q->unsent = q->unsent->next;
}

void
report_queue_restart(struct report_queue *q)
{
    q->unsent = q->entries;
}

enum result
report_queue_counted(struct report_queue *q, uint64_t number)
{
    if (number > q->last || (q->unsent && number >= q->unsent->number))
        return RES_SYNTAX;
    while (q->entries && q->entries->number <= number)
        drop_first(q);
    return RES_OK;
}
