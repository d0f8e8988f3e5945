#include "proxy/report_sender.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/tlsrpt_record.h"

/* The next octet that is meant by a local part, without quotes and backslashes (RFC 5321 4.1.2);
 * -1: none. */
static int
next_octet(struct span *local)
{
    int octet;

    while (local->len && local->ptr[0] == '"')
        *local = span_from(*local, 1);
    if (local->len > 1 && local->ptr[0] == '\\')
        *local = span_from(*local, 1);
    if (local->len == 0)
        return -1;
    octet = (unsigned char)local->ptr[0];
    *local = span_from(*local, 1);
    return octet;
}

static bool
means_the_same(struct span a, struct span b)
{
    int one, other;

    do {
        one = next_octet(&a);
        other = next_octet(&b);
    } while (one == other && one >= 0);
    return one == other;
}

bool
report_address_is(const char *address, struct span local, const char *domain)
{
    const char *at = strrchr(address, '@');
    char normal[HOSTNAME_MAX + 1];

    return at && *domain && hostname_normalise(span_of(at + 1), normal) == RES_OK &&
           strcmp(normal, domain) == 0 &&
           means_the_same(span_make(address, (size_t)(at - address)), local);
}

bool
report_address_listed(const struct name_list *addresses, struct span local, const char *domain)
{
    for (size_t i = 0; i < addresses->count; i++)
        if (report_address_is(addresses->names[i], local, domain))
            return true;
    return false;
}

bool
report_senders_have(const struct report_senders *list, const struct ip_addr *client,
                    struct span local, const char *domain)
{
    for (size_t i = 0; i < list->count; i++)
        if (net_list_has(&list->senders[i].clients, client) &&
            report_address_listed(&list->senders[i].addresses, local, domain))
            return true;
    return false;
}

enum result
report_senders_add(struct report_senders *list, const char *title)
{
    struct report_sender *more;

    if (list->count >= REPORT_SENDERS_MAX)
        return RES_LIMIT;
    more = realloc(list->senders, (list->count + 1) * sizeof *more);
    if (!more)
        return RES_NOMEM;
    list->senders = more;
    more[list->count] = (struct report_sender){ 0 };
    snprintf(more[list->count++].title, sizeof more->title, "%s", title);
    return RES_OK;
}

enum result
report_sender_add_address(struct report_sender *sender, const char *address)
{
    if (!tlsrpt_address_is_valid(span_of(address)))
        return RES_SYNTAX;
    if (sender->addresses.count >= REPORT_ADDRESSES_MAX)
        return RES_LIMIT;
    return name_list_add(&sender->addresses, span_of(address));
}

const char *
report_sender_objection(const struct report_sender *sender)
{
    if (sender->clients.count == 0)
        return "client is missing: anybody may write an envelope sender";
    if (sender->addresses.count == 0)
        return "sender is missing: ordinary mail of the client is not exempt";
    return NULL;
}

void
report_senders_clear(struct report_senders *list)
{
    for (size_t i = 0; i < list->count; i++) {
        net_list_clear(&list->senders[i].clients);
        name_list_clear(&list->senders[i].addresses);
    }
    free(list->senders);
    *list = (struct report_senders){ 0 };
}
