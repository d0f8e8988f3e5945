"""Mails that are TLS reports: those of other generators behind the gateway are delivered whatever fails, and
nothing of it is counted (RPT-029, RPT-080, RPT-081, TC-RPT-17); the gateway's own never come by it (TC-GW-16);
clients that are passed through are not counted (TC-RPT-28)."""

import json

import mx

from case import ONCE, case, configured, equal, fields, marker, message
from cases_client import PASS
from cases_report import HTTPS, counted, midnight, reporting, send
from lab import wait_for
from postfix import mailbox
from tlsrpt import Sink
from world import CLIENT, GATEWAY_OUTSIDE, Site

SENDER = "tlsrpt-noreply@generator.test"
# "TLS.rpt+x": encoded, with its case; and two more that are none of the domain's mailboxes for it.
RUA = '_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:TLS.rpt%2bx@{domain},mailto:ext@rm-other.test"'
BOTH = HTTPS.replace("rua=", "rua=mailto:tlsrpt@{domain},")


def listed(client, sender=SENDER):
    return f'report_sender "generator" {{\nclient = {{"{client}"}}\nsender = {{{sender}}}\n}}\n'


def try_report(t, site, to, sender=SENDER):
    """The code of RCPT; mail that may go is sent."""
    peer = t.ready(site)
    code = peer.envelope(to, sender=sender)[1].code
    if code == 250:
        equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    t.session(peer)
    return code


def store_has(t, site):
    """What is counted of the domain today."""
    done = t.gateway.command("report", "list", "--day", "today", "--json")
    equal(done.returncode, 0, done.stderr)
    return [line for line in map(json.loads, done.stdout.splitlines()) if line["domain"] == site.domain]


@case(Site("rm-broken", policy="enforce", rest=RUA), Site("rm-garbage", policy="enforce", rest=RUA),
      Site("rm-cert", policy="enforce", cert="wrong", rest=RUA),
      Site("rm-other", policy="enforce", cert="expired", rest=RUA),
      Site("rm-none", policy="enforce", cert="wrong"), core=True)
def a_report_of_another_generator_arrives(t, broken, garbage, wrong, other, none):
    """RPT-080, RPT-029, TC-RPT-17: policies in enforce, and no STARTTLS, a handshake that breaks, a certificate
    of another host: for a listed client and sender mail to the domain's own rua goes, no other, and no counter
    moves. TLS = required and no clear text after a failure change nothing of it."""
    servers = [t.mx(broken, starttls=False), t.mx(garbage, steps={"STARTTLS": mx.say_and_close(b"220 go\r\n")}),
               t.mx(wrong), t.mx(other), t.mx(none)]
    tests = [(site, f"TLS.rpt+x@{site.domain}") for site in (broken, garbage, wrong)]
    strict = "tls = required\ncleartext_fallback = false\n"
    with configured(t, strict + listed(CLIENT[t.family])):
        for site, address in tests:
            equal(try_report(t, site, address), 250, f"a report to {address}")
        for site, address in tests:
            for to, sender in ((f"tls.rpt+x@{site.domain}", SENDER),       # another local part
                               (f"user@{site.domain}", SENDER),            # another recipient
                               (address, "user@generator.test"),           # another sender
                               (address, SENDER.replace("tlsrpt", "TLSRPT"))):
                equal(try_report(t, site, to, sender), 451, f"{sender} to {to}")
        for site in (other, none):  # listed by other domains, and by none
            equal(try_report(t, site, f"ext@{site.domain}"), 250 if site is other else 451, site.domain)
        equal(try_report(t, none, f"TLS.rpt+x@{none.domain}"), 451, "a domain without a record")
    with configured(t, strict + listed("198.51.100.200" if t.family == 4 else "2001:db8:200::1")):
        equal(try_report(t, broken, tests[0][1]), 451, "from a client that is not listed")
    for server in servers:
        server.wait_idle()
    equal([len(server.mailbox) for server in servers[:3]], [1, 1, 1], "mails that arrived")
    equal([server.mailbox[0].tls for server in servers[:3]], ["", "", "TLSv1.3"], "under TLS")
    for site in (broken, garbage, wrong):
        first, *more = t.recipients(site, 6 if site is broken else 5)
        fields(first, outcome="delivered", rule="RPT-080 RFC 8460 3", result_type="success", would="refuse",
               reports=[], judged__report_mail=True)
        assert "rpt+x" not in json.dumps(first).lower(), f"a local part in {first}"
        for record in more:
            fields(record, outcome="refused", judged__report_mail=False)
            assert len(record["reports"]) == 1, record


@case(Site("rm-twin", policy="enforce", cert="wrong", rest=BOTH), Site("rm-day"), only=ONCE)
def reports_about_reports_do_not_grow(t, site, control):
    """RPT-081: one session of a domain is counted on the first of three days. Its report, and that of another
    gateway, are mailed to the domain through this one, every day; there is never a second."""
    sink = Sink(t.lab, t.world.materials.web_pair)
    server = t.mx(site)
    try:
        with reporting(t, listed(CLIENT[t.family])):
            equal(try_report(t, site, f"user@{site.domain}"), 451, "the mail that is reported")
            counted(t, site, 1)
            for day in range(3):
                midnight(t, [site])
                sink.bodies(f"/{site.domain}")
                for _ in range(2):
                    equal(try_report(t, site, f"tlsrpt@{site.domain}"), 250, f"day {day}: a report by mail")
                send(t, control)
                counted(t, control, day + 1)
                equal(store_has(t, site), [], f"day {day}: counted")
            equal([path for path, *_ in sink.posts], [f"/{site.domain}"], "reports in three days")
        server.wait_idle()
        equal(len(server.mailbox), 6, "reports that arrived")
    finally:
        sink.close()


@case(Site("rm-own", policy="testing", cert="wrong",
           rest='_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:box@rm-relay.test"'),
      Site("rm-relay", policy="enforce", postfix=True), only="redirect/4")
def the_gateways_own_report_is_not_taken_over(t, site, relay):
    """TC-GW-16, PRX-003: to a relay on port 25, where the rules take over what the gateway's own programs send. The
    other half, policy fetches, go to port 443, which no rule takes over (cases_policy.py fetches them)."""
    with reporting(t, f'tlsrpt_relay = "{relay.address(4)}:25"\ntlsrpt_dkim = external\n'):
        send(t, site)
        counted(t, site, 1)
        equal(t.gateway.command("report", "send", "--day", "today", site.domain).returncode, 0, "report send")
        wait_for(lambda: [m for m in mailbox(t.lab) if b"rm-own.test" in m], "the mailbox", 30)
        equal(store_has(t, relay), [], "counted")
        mine = [r for r in t.gateway.records(t.before) if r.get("client") == GATEWAY_OUTSIDE[4]]
        equal(mine, [], "records of connections by the gateway itself")


@case(Site("rm-pass", policy="enforce"), Site("rm-seen"), only=ONCE)
def who_is_passed_through_is_not_counted(t, site, control):
    """TC-RPT-28: nobody here saw what became of it; the record says how it went, apart from all verdicts."""
    with configured(t, PASS.format()):
        t.mx(site)
        peer = t.ready(site)
        peer.starttls(ca=t.certificates.ca, host=site.mx)
        peer.cmd("EHLO client.lab.test")
        equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT")
        equal(peer.content(message(marker())).code, 250, "end of data")
        peer.quit()
        fields(t.session(peer), end="passthrough", client_starttls="passthrough")
    send(t, control)
    counted(t, control, 1)
    equal(store_has(t, site), [], "counted")
