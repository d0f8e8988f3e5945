"""The gateway's resolver dies: nothing crashes, it is seen, and mail goes as the site says (TC-OPS-07)."""

import json
import os
import signal

from case import ONCE, case, configured, equal, rcpt
from lab import wait_for
from world import Site

DEAD = 'resolver_stub = "127.0.0.9@5399"\n'  # nobody listens there


def dane_state(t):
    return json.loads(t.gateway.command("status", "--json", check=True).stdout)["dane"]


def children(t):
    return sorted([*t.gateway.children("stsgate-policy"), *t.gateway.children("stsgate-worker")])


def put_off(t, site):
    """A recipient while DNS is dead; no process has died of it."""
    before = children(t)
    reply = rcpt(t, site)
    assert reply.text.startswith("451 4.4.3 "), reply
    equal(children(t), before, "processes")


@case(Site("deafstart"), only=ONCE)
def a_resolver_that_is_dead_at_the_start_is_seen(t, site):
    t.mx(site)
    t.gateway.configure(DEAD)
    t.gateway.restart()
    try:
        wait_for(lambda: dane_state(t) == "blind", "the self-test to fail", 60)
        assert "event=dane-blind" in t.gateway.read_log(), "not in the log"
        put_off(t, site)
    finally:
        t.gateway.configure("")
        t.gateway.reload()
    wait_for(lambda: dane_state(t) == "good", "the self-test to pass", 60)
    equal(rcpt(t, site).code, 250, "RCPT behind a resolver that answers")


@case(Site("deafopen"), only=ONCE)
def without_dns_mail_goes_as_the_site_says(t, site):
    """Without DANE nothing is known to be demanded: sts_dns_failure decides."""
    t.mx(site)
    with configured(t, DEAD + "dane = false"):
        equal(rcpt(t, site).code, 250, "RCPT, sts_dns_failure = open")
    with configured(t, DEAD + "dane = false\nsts_dns_failure = defer"):
        put_off(t, site)


@case(Site("deafrun"), only=ONCE)
def a_resolver_that_dies_in_the_run_puts_mail_off(t, site):
    t.mx(site)
    equal(rcpt(t, site).code, 250, "RCPT before")
    os.killpg(t.dns.nsd.pid, signal.SIGSTOP)
    try:
        put_off(t, site)
    finally:
        os.killpg(t.dns.nsd.pid, signal.SIGCONT)
    wait_for(lambda: rcpt(t, site).code == 250, "service again", 60)
