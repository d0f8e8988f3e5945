"""MTA-STS verdicts, RFC 8461 4 and 5: one row of docs/requirements.md 10.2 per failure, exact octets, and
what the MX never saw."""

import ssl

import mx
from case import ONCE, case, equal, fields, marker, message
from world import Site

STARTTLS_MISSING = "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy"
NAME_MISMATCH = ("451 4.7.5 Remote certificate MUST have a subject alternative name matching the "
                 "hostname (MTA-STS)")
NO_RECIPIENTS = "554 5.5.1 No valid recipients"


def certificate_failed(reason):
    return f"451 4.7.5 Remote certificate failed MTA-STS validation. Reason: {reason}"


def refused(t, site, reply, reply_id, result, **script):
    """The site's recipient gets this reply, the MX no trace of it; the record afterwards."""
    server = t.mx(site, **script)
    peer = t.ready(site)
    got = peer.envelope(f"user@{site.domain}")
    equal(got[0], "250 2.1.0 Sender OK", "MAIL, held (PRX-013)")
    equal(got[1], reply, f"RCPT ({reply_id})")
    equal(peer.cmd("DATA"), NO_RECIPIENTS, "DATA (PRX-036)")
    equal(peer.quit().code, 221, "QUIT")
    server.wait_idle()
    equal(server.received("MAIL FROM", "RCPT TO", site.domain + ">", "DATA"), [],
          "what the MX saw (PRX-015)")
    equal(server.mailbox, [], "mails")
    record, = t.recipients(site)
    fields(record, verdict="refuse", outcome="refused", reply=reply, reply_by="gateway",
           reply_id=reply_id, result_type=result, policy__mode="enforce", final_reply="")
    return server, record


@case(Site("wrongcert", policy="enforce", cert="wrong"), core=True)
def enforce_refuses_a_certificate_for_another_name(t, site):
    server, record = refused(t, site, NAME_MISMATCH, "REP-014", "certificate-host-mismatch")
    fields(record, tls__stage="done", tls__chain="good", tls__san=["mx.somewhere-else.test"],
           tls__sni=site.mx, mx=site.mx, mx_proven=False)
    equal(server.connections[0].sni, site.mx, "SNI (STS-091)")


@case(Site("unknownca", policy="enforce", cert="unknown-ca"))
def enforce_refuses_an_unknown_ca(t, site):
    _, record = refused(t, site, certificate_failed("unable to get local issuer certificate"),
                        "REP-013", "certificate-not-trusted")
    fields(record, tls__chain="untrusted",
           tls__chain_error="X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY")


@case(Site("expired", policy="enforce", cert="expired"), core=True)
def enforce_refuses_an_expired_certificate(t, site):
    _, record = refused(t, site, certificate_failed("certificate has expired"), "REP-013",
                        "certificate-expired")
    fields(record, tls__chain="expired", tls__chain_error="X509_V_ERR_CERT_HAS_EXPIRED")


@case(Site("selfsigned", policy="enforce", cert="self-signed"))
def enforce_refuses_a_self_signed_certificate(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    got = peer.envelope("user@selfsigned.test")[1].text.lower()
    assert got.startswith(certificate_failed("self").lower()) and "certificate" in got, got
    peer.quit()
    server.wait_idle()
    equal(server.received("RCPT"), [], "what the MX saw")
    fields(t.recipients(site)[0], reply_id="REP-013", result_type="certificate-not-trusted")


@case(Site("nostarttls", policy="enforce"), core=True)
def enforce_refuses_an_mx_without_starttls(t, site):
    server, record = refused(t, site, STARTTLS_MISSING, "REP-011", "starttls-not-supported",
                             starttls=False)
    fields(record, tls__stage="clear", tls__starttls_offered=False)
    equal(server.connections[0].lines("STARTTLS"), [], "STARTTLS (TLS-001)")


@case(Site("tls454", policy="enforce"), core=True)
def enforce_refuses_starttls_answered_454(t, site):
    _, record = refused(t, site, STARTTLS_MISSING, "REP-011", "starttls-not-supported",
                        steps={"STARTTLS": b"454 4.7.0 TLS not available\r\n"})
    fields(record, tls__stage="refused", tls__starttls_code=454,
           tls__failure_reason="454 4.7.0 TLS not available", reason="454 4.7.0 TLS not available")


@case(Site("tls502", policy="enforce"), only=ONCE)
def enforce_refuses_starttls_answered_502(t, site):
    refused(t, site, STARTTLS_MISSING, "REP-011", "starttls-not-supported",
            steps={"STARTTLS": b"502 5.5.1 What?\r\n"})


@case(Site("tls250", policy="enforce"), only=ONCE)
def enforce_refuses_starttls_answered_250(t, site):
    refused(t, site, STARTTLS_MISSING, "REP-011", "starttls-not-supported",
            steps={"STARTTLS": b"250 2.0.0 Fine\r\n"})


@case(Site("lookalike", policy="enforce"), only=ONCE)
def keywords_like_starttls_are_not_starttls(t, site):
    refused(t, site, STARTTLS_MISSING, "REP-011", "starttls-not-supported", starttls=False,
            keywords=("XSTARTTLS", "STARTTLSX", "PIPELINING"))


@case(Site("tls11", policy="enforce"))
def enforce_refuses_tls11_seen_only_as_an_alert(t, site):
    refused(t, site, "451 4.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: unknown",
            "REP-012", "validation-failure", newest=ssl.TLSVersion.TLSv1_1)


def server_hello(version):
    """A ServerHello of an old version: random, no session, ECDHE-RSA-AES128-SHA, no compression."""
    body = version + b"\x5a" * 32 + b"\x00" + b"\xc0\x13" + b"\x00"
    handshake = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16" + version + len(handshake).to_bytes(2, "big") + handshake


@case(Site("hello11", policy="enforce"), core=True)
def enforce_refuses_tls11_and_names_it(t, site):
    _, record = refused(t, site,
                        "451 4.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: TLS 1.1",
                        "REP-012", "validation-failure", instead_of_tls=server_hello(b"\x03\x02"))
    fields(record, tls__stage="failed", tls__failure="version", tls__version="TLSv1.1")


@case(Site("hello10", policy="enforce"), only=ONCE)
def enforce_refuses_tls10_and_names_it(t, site):
    refused(t, site, "451 4.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: TLS 1.0",
            "REP-012", "validation-failure", instead_of_tls=server_hello(b"\x03\x01"))


@case(Site("old", cert="self-signed"))
def without_policy_tls11_is_good_enough(t, site):
    """TLS-021: the alternative would be clear text."""
    server = t.mx(site, newest=ssl.TLSVersion.TLSv1_1)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope("user@old.test")], [250, 250], "envelope")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "TLSv1.1", "TLS")
    fields(t.recipients(site)[0], outcome="delivered", tls__version="TLSv1.1",
           tls__weak=True)


@case(Site("notlisted", policy="enforce", patterns=["mx.elsewhere.test", "*.mx.notlisted.test"]),
      core=True)
def enforce_refuses_an_mx_that_the_policy_does_not_list(t, site):
    server, _ = refused(t, site,
                        "451 4.4.8 MX hosts of 'notlisted.test' failed MTA-STS validation.",
                        "REP-010", "validation-failure")
    equal(server.connections[0].lines("STARTTLS"), [], "a handshake for nothing")


@case(Site("wildmx", policy="enforce", patterns=["*.wildmx.test"]))
def a_wildcard_pattern_lists_the_mx(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@wildmx.test")[1].code, 250, "RCPT (STS-080)")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")
    fields(t.recipients(site)[0], policy__mx=["*.wildmx.test"], mx=site.mx, mx_proven=True)


@case(Site("testing", policy="testing", cert="wrong"), core=True)
def testing_delivers_and_counts_the_failure(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope("user@testing.test")], [250, 250], "envelope (STS-101)")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")
    fields(t.recipients(site)[0], verdict="allow", outcome="delivered", policy__mode="testing",
           result_type="certificate-host-mismatch", mx_proven=False)


@case(Site("testclear", policy="testing"), only=ONCE)
def testing_delivers_in_clear_and_counts_the_failure(t, site):
    server = t.mx(site, starttls=False)
    peer = t.ready(site)
    peer.envelope("user@testclear.test")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "", "TLS")
    # STS-122: counted as what it is, in testing as in enforce
    fields(t.recipients(site)[0], outcome="delivered", result_type="starttls-not-supported")


@case(Site("none", policy="none", cert="self-signed"))
def mode_none_asks_for_nothing(t, site):
    """TC-TLS-21."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@none.test")
    equal(peer.content(message(marker())).code, 250, "end of data (STS-102)")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")
    record = t.recipients(site)[0]
    fields(record, verdict="allow", outcome="delivered", result_type="success")
    equal([r["failed"] for r in record["reports"]], [False], "failures for the report")


@case(Site("plain", policy="enforce"))
def an_unsigned_zone_has_its_policy_too(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@plain.test")[1].code, 250, "RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")
    fields(t.recipients(site)[0], policy__mode="enforce", mx_proven=True)


@case(Site("bad.plain", policy="enforce", cert="wrong"), only=ONCE)
def an_unsigned_zone_is_enforced_too(t, site):
    refused(t, site, NAME_MISMATCH, "REP-014", "certificate-host-mismatch")


@case(Site("cached", policy="enforce"), core=True)
def a_cached_policy_outlives_record_and_policy_host(t, site):
    """RFC 8461 3.3 and 5.1: who can block DNS and HTTPS must not be able to downgrade."""
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@cached.test")[1].code, 250, "RCPT while the policy is there")
    peer.quit()
    server.close()
    t.web.withdraw(site)
    t.dns.republish(silent=[site])
    server = t.mx(site, starttls=False)
    peer = t.ready(site)
    equal(peer.envelope("user@cached.test")[1], STARTTLS_MISSING, "RCPT under the cached policy")
    peer.quit()
    server.wait_idle()
    equal(server.received("MAIL", "RCPT"), [], "what the MX saw")
    fields(t.recipients(site, 2)[1], outcome="refused", policy__mode="enforce",
           reply_id="REP-011")


@case(Site("upper", policy="enforce"), only=ONCE)
def the_policy_domain_has_no_case(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("MiXed@UPPER.Test")[1].code, 250, "RCPT")
    peer.content(message(marker()))
    equal(server.mailbox[0].recipients, [b"RCPT TO:<MiXed@UPPER.Test>"], "RCPT (SMTP-001)")
    fields(t.recipients(site)[0], domain="upper.test", policy__mode="enforce")


@case(Site("nullsender", policy="enforce", cert="wrong"), only=ONCE)
def the_null_sender_is_no_exception(t, site):
    """PRX-028, STS-109: evaluated per recipient, whoever sends."""
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@nullsender.test", sender="")[1], NAME_MISMATCH, "RCPT")
    peer.quit()
    server.wait_idle()
    equal(server.received("MAIL"), [], "what the MX saw")


@case(Site("silenttls", policy="enforce"), only=ONCE)
def a_handshake_that_stalls_is_refused(t, site):
    def stall(connection, _line):
        connection.send(b"220 2.0.0 Go ahead\r\n")
        mx.silent(connection, b"")

    server = t.mx(site, steps={"STARTTLS": stall})
    peer = t.ready(site)
    equal(peer.envelope("user@silenttls.test")[1], STARTTLS_MISSING, "RCPT (TLS-025)")
    server.wait_idle()
    equal(server.received("MAIL FROM"), [], "what the MX saw")
    fields(t.recipients(site)[0], tls__failure="timeout", result_type="validation-failure")
