"""Cases of docs/testcases.md that are of the gateway as a whole: one connection and several demands
on it, what cannot be known in time, and what a message says of itself."""

import socket
import ssl

from case import ONCE, case, configured, equal, fields, marker, message, override, rcpt
from cases_policy import NAME_MISMATCH, STARTTLS_MISSING
from world import Site

POLICY_UNKNOWN = "451 4.3.0 Policy service not available"

OPEN = Site("gw-open")
PROVEN = Site("gw-proven", policy="enforce", shares=OPEN)
UNPROVEN = Site("gw-unproven", policy="enforce", shares=OPEN)


@case(OPEN, PROVEN, UNPROVEN, only=ONCE)
def a_later_recipient_is_judged_by_the_connection_there_is(t, site, proven, unproven):
    """TC-GW-02: the first has no policy; the channel proves the second one's MX host, not the third's."""
    both = t.certificates.make("gw-both", [site.mx, proven.mx])
    server = t.mx(site, pair=both, pairs={unproven.mx: t.certificates.make("gw-none", ["x.test"])})
    peer = t.ready(site)
    got = peer.envelope(*[f"user@{s.domain}" for s in (site, proven, unproven)])
    equal([r.code for r in got], [250, 250, 250, 452], "MAIL and three RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(peer.envelope(f"user@{unproven.domain}")[1], NAME_MISMATCH, "the third alone")
    peer.quit()
    server.wait_idle()
    equal([len(m.recipients) for m in server.mailbox], [2], "recipients of the mail")
    fields(t.recipients(proven)[0], outcome="delivered", mx_proven=True)


@case(Site("gw-again", policy="testing", cert="wrong"), only=ONCE)
def each_transaction_is_judged_anew(t, site):
    """TC-GW-06, PRX-037: the policy became strict between two mails of one session."""
    with configured(t, "requirement_cache_max = 0"):
        server = t.mx(site)
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT under testing")
        equal(peer.content(message(marker())).code, 250, "end of data")
        site.policy, site.id = "enforce", "2"
        t.web.publish(site)
        t.dns.republish()
        equal(peer.envelope(f"user@{site.domain}")[1], NAME_MISMATCH, "RCPT under enforce")
        equal(peer.cmd("RSET").code, 250, "RSET")
        equal(peer.envelope(f"user@{site.domain}")[1], NAME_MISMATCH, "RCPT behind RSET")
        peer.quit()
        equal(len(server.mailbox), 1, "mails")


def _resets_sent(t):
    """By the clients' namespace so far."""
    names, values = [line.split() for line in t.lab.in_space(
        "client", "cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("OutRsts")])


@case(Site("gw-port"), only=ONCE)
def a_port_that_is_used_again_at_once_is_none_of_the_old_connection(t, site):
    """The gateway's end of the old connection is in TIME-WAIT. A SYN that is led to it, and not to the listener,
    gets an ACK for an answer; the client resets that, and tries again some ticks later."""
    t.mx(site)
    first = t.ready(site)
    first.quit()
    before = _resets_sent(t)
    with t.lab.socket("client", 4) as again:
        again.settimeout(10)
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("", first.port))
        again.connect((site.address(4), 25))
        again.sendall(b"QUIT\r\n")
        with again.makefile("rb") as said:
            equal([line[:3] for line in said], [b"220", b"221"], "replies")
    equal(_resets_sent(t), before, "resets")


@case(Site("gw-slow", policy="enforce", hung_web=True), only=ONCE)
def greeting_and_ehlo_wait_for_no_policy(t, site):
    """TC-GW-12, PRX-053: a policy host that never answers is felt at RCPT, and there it is bounded."""
    with configured(t, "policy_wait = 2"):
        t.mx(site)
        before = len(t.gateway.read_log())
        peer = t.ready(site)
        assert site.domain not in t.gateway.read_log()[before:], "looked up before it was named"
        peer.sock.settimeout(30)
        equal(peer.envelope(f"user@{site.domain}")[1], POLICY_UNKNOWN, "RCPT: no policy is known")
        peer.quit()
        fields(t.recipients(site)[0], outcome="refused", reply_id="REP-065")


@case(Site("gw-header", policy="enforce"), Site("gw-header-bad", policy="enforce", cert="wrong"), only=ONCE)
def a_header_that_waives_tls_waives_nothing(t, site, bad):
    """TC-REQ-03, RTLS-007: it comes after the recipients were judged, and passes as it is."""
    server = t.mx(site)
    peer = t.ready(site)
    text = b"TLS-Required: No\r\nSubject: x\r\n\r\nbody"
    equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT")
    equal(peer.content(text).code, 250, "end of data")
    peer.quit()
    equal((server.mailbox[0].content, server.mailbox[0].tls), (text, "TLSv1.3"), "the mail")
    t.mx(bad)
    equal(rcpt(t, bad), NAME_MISMATCH, "RCPT of a mail that would have said so")


@case(Site("gw-sni", policy="enforce"), Site("gw-nosni", policy="enforce"), only=ONCE)
def the_certificate_for_the_name_that_was_asked_counts(t, right, wrong):
    """TC-TLS-11: an MX with one certificate for the SNI and another for everybody else."""
    other = t.certificates.make("gw-other", ["other.test"])
    t.mx(right, pair=other, pairs={right.mx: t.pair(right)})
    equal(rcpt(t, right).code, 250, "the right one for the SNI")
    t.mx(wrong, pair=t.pair(wrong), pairs={wrong.mx: other})
    equal(rcpt(t, wrong), NAME_MISMATCH, "the right one for no SNI only")


HOST = Site("gw-host", policy="enforce")
HOST_TOO = Site("gw-host-too", mx=HOST.mx)


@case(HOST, HOST_TOO, only=ONCE)
def the_next_address_of_a_host_is_the_clients_affair(t, site, second):
    """TC-TLS-22: one address of the MX host fails TLS, another one does not."""
    broken, sound = t.mx(site, instead_of_tls=b"500 what?\r\n"), t.mx(second, pair=t.pair(site))
    equal(rcpt(t, site).code, 451, "RCPT at the first address")
    peer = t.ready(second)
    word = marker()
    equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT at the second address")
    equal(peer.content(message(word)).code, 250, "end of data")
    peer.quit()
    equal((len(broken.mailbox), len(sound.mailbox)), (0, 1), "mails")
    refusal, delivery = t.recipients(site, 2)
    fields(refusal, outcome="refused")
    fields(delivery, outcome="delivered", mx_proven=True)


@case(Site("gw-helo", policy="enforce"), Site("gw-helo-open"), only=ONCE)
def an_mx_that_knows_helo_only_has_no_tls(t, site, free):
    """TC-TLS-27: as one without STARTTLS."""
    no_ehlo = {"EHLO": b"502 5.5.1 Never heard of it\r\n"}
    for one, code in ((site, 451), (free, 250)):
        server = t.mx(one, steps=no_ehlo)
        peer = t.ready(one)
        got = peer.envelope(f"user@{one.domain}")[1]
        equal(got.code, code, f"RCPT of {one.domain}")
        if one is site:
            equal(got, STARTTLS_MISSING, "RCPT")
        peer.quit()
        server.wait_idle()
        equal(server.received("HELO client"), ["HELO client"], "HELO after all")
        equal(server.received("STARTTLS"), [], "what the MX saw")
        fields(t.recipients(one)[0], tls__stage="clear")


@case(Site("gw-high", policy="enforce"), Site("gw-low"), Site("gw-low-enforced", policy="enforce"), only=ONCE)
def floors_by_domain(t, high, low, enforced):
    """TC-PREC-10: 1.3 for one domain, 1.0 for another; for one with a policy never below 1.2."""
    rules = override("high", f"domain = {{{high.domain}}}\naction = floor\ntls_minimum = 1.3")
    rules += override("low", f"domain = {{{low.domain}, {enforced.domain}}}\naction = floor\n"
                             "tls_minimum = 1.0")
    with configured(t, rules):
        t.mx(high, newest=ssl.TLSVersion.TLSv1_2)
        equal(rcpt(t, high).code, 451, "1.2 below a floor of 1.3")
        t.mx(low, newest=ssl.TLSVersion.TLSv1)
        equal(rcpt(t, low).code, 250, "1.0 at a floor of 1.0")
        t.mx(enforced, newest=ssl.TLSVersion.TLSv1)
        equal(rcpt(t, enforced).code, 451, "1.0 under a policy")
        fields(t.recipients(low)[0], tls__version="TLSv1")
