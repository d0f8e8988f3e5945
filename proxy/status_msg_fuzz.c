/* proxy/status_msg_fuzz.c: any bytes as a message of the links by which it is told how things go.
 * What is read can be written, and then reads the same; what is shown of it is harmless. */
#include "base/msg_link.h"
#include "proxy/status_msg.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const char *text)
{
    for (; *text; text++)
        CHECK(*text >= ' ' && *text <= '~' && *text != '<');
}

static void
check_report(struct span bytes)
{
    static struct worker_report first, second;
    struct buffer again;

    if (worker_report_read(bytes, &first) != RES_OK)
        return;
    for (size_t i = 0; i < first.refused.count; i++)
        check_text(first.refused.all[i].domain);
    CHECK(first.worker < STATUS_PEERS_MAX && first.refused.count <= TOP_REFUSED_MAX);
    buffer_init(&again, MSG_LINK_MAX_BYTES);
    CHECK(worker_report_write(&first, &again) == RES_OK);
    CHECK(worker_report_read(buffer_span(&again), &second) == RES_OK);
    CHECK(memcmp(&first, &second, sizeof first) == 0);
    buffer_clear(&again);
}

static void
check_facts(struct span bytes)
{
    static struct gateway_facts first, second;
    struct buffer again;

    if (gateway_facts_read(bytes, &first) != RES_OK)
        return;
    buffer_init(&again, MSG_LINK_MAX_BYTES);
    CHECK(gateway_facts_write(&first, &again) == RES_OK);
    CHECK(gateway_facts_read(buffer_span(&again), &second) == RES_OK);
    CHECK(memcmp(&first, &second, sizeof first) == 0);
    buffer_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_make(data, size), map;
    struct session_page page;
    struct session_ask ask;
    size_t count = 0;

    check_report(bytes);
    check_facts(bytes);
    (void)!session_ask_read(bytes, &ask);
    if (session_page_read(bytes, &page) == RES_OK)
        while (session_page_next(&page.sessions, &map))
            CHECK(++count <= STATUS_PAGE_SESSIONS && map.len <= STATUS_SESSION_BYTES);
    return 0;
}
