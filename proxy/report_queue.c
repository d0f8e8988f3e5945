#include "proxy/report_queue.h"

#include "base/msg_link.h"
#include "base/tls_report_msg.h"
#include "policy/policy_msg.h"

#include <stdlib.h>
#include <utlist.h>

#define ALIKE_MAX 16u /* reports that are looked at for one that says the same */

struct report_queue_entry {
    struct report_queue_entry *prev, *next;
    uint64_t number, sessions;
    size_t len;
    char bytes[]; /* the report, encoded */
};

void
report_queue_init(struct report_queue *q, uint64_t source)
{
    *q = (struct report_queue){ .source = source ? source : 1 };
    buffer_init(&q->message, MSG_LINK_MAX_BYTES);
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
    buffer_clear(&q->message);
}

static bool
is_full(const struct report_queue *q, size_t len)
{
    return q->count >= REPORT_QUEUE_MAX || q->bytes + len > REPORT_QUEUE_BYTES_MAX;
}

/* One more of what is said already, in what never was sent: what was is in the store, perhaps, with
 * the number of sessions that it had. */
static bool
joins(struct report_queue *q, struct span report)
{
    struct report_queue_entry *e = q->unsent ? q->entries->prev : NULL; /* the last */

    for (unsigned i = 0; e && i < ALIKE_MAX; i++) {
        if (e->number > q->told && e->len == report.len &&
            e->sessions < POLICY_REPORT_SESSIONS_MAX &&
            memcmp(e->bytes, report.ptr, report.len) == 0) {
            e->sessions++;
            return true;
        }
        e = e == q->unsent ? NULL : e->prev;
    }
    return false;
}

static enum result
keep(struct report_queue *q, struct span report)
{
    struct report_queue_entry *e;

    while (is_full(q, report.len) && q->entries && q->entries != q->unsent)
        drop_first(q);
    if (is_full(q, report.len))
        return RES_LIMIT;
    e = malloc(sizeof *e + report.len);
    if (!e)
        return RES_NOMEM;
    e->number = ++q->last;
    e->sessions = 1;
    e->len = report.len;
    memcpy(e->bytes, report.ptr, report.len);
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
    struct pack_writer w;
    struct buffer bytes;
    enum result res;

    buffer_init(&bytes, MSG_LINK_MAX_BYTES - POLICY_REPORT_HEAD_BYTES);
    pack_begin(&w, &bytes);
    tls_report_encode(report, &w);
    res = pack_end(&w);
    if (res == RES_OK && !joins(q, buffer_span(&bytes)))
        res = keep(q, buffer_span(&bytes));
    buffer_clear(&bytes);
    if (res != RES_OK)
        q->lost++;
    return res;
}

bool
report_queue_next(struct report_queue *q, struct span *out)
{
    struct policy_report head = { .source = q->source };

    if (!q->unsent)
        return false;
    head.number = q->unsent->number;
    head.sessions = q->unsent->sessions;
    buffer_rewind(&q->message);
    if (policy_report_encode(&head, span_make(q->unsent->bytes, q->unsent->len), &q->message) !=
        RES_OK)
        return false;
    *out = buffer_span(&q->message);
    return true;
}

void
report_queue_sent(struct report_queue *q)
{
    if (!q->unsent)
        return;
    if (q->unsent->number > q->told)
        q->told = q->unsent->number;
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
