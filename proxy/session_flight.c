#include "proxy/session_impl.h"

#include <stdlib.h>

bool
session_gather(struct session *s)
{
    struct flight *flight = calloc(1, sizeof *flight);

    if (!flight)
        return false;
    if (buffer_append(&s->group, buffer_span(&s->rcpt_line)) != RES_OK) {
        free(flight);
        return false;
    }
    flight->req = requirement_ref(s->req);
    flight->verdict = s->verdict;
    flight->verdict_number = s->verdict_number;
    flight->dane = s->obs->dane;
    memcpy(flight->domain, s->rcpt_domain, sizeof flight->domain);
    if (!s->flights)
        s->flights_last = &s->flights;
    *s->flights_last = flight;
    s->flights_last = &flight->next;
    s->flight_count++;
    s->rcpt_in_hand = false;
    return true;
}

bool
session_land(struct session *s)
{
    struct flight *flight = s->flights;

    if (!flight)
        return false;
    s->flights = flight->next;
    s->flight_count--;
    session_forget_verdict(s);
    requirement_unref(s->req);
    s->req = flight->req;
    s->verdict = flight->verdict;
    s->verdict_number = flight->verdict_number;
    s->obs->dane = flight->dane;
    memcpy(s->rcpt_domain, flight->domain, sizeof s->rcpt_domain);
    s->rcpt_in_hand = true;
    free(flight);
    return true;
}
