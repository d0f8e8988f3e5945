"""What the site and the client demand of a session, beside the recipients' policies."""

from case import ONCE, case, configured, equal, fields, marker, message
from cases_client import certificate, under_tls
from cases_policy import NAME_MISMATCH, STARTTLS_MISSING
from world import GATEWAY_NAME, Site

BROKEN = Site("a-broken", policy="enforce")
BROKEN_FREE = Site("b-broken", shares=BROKEN, mx="mx.a-broken.test")
ALERT = b"\x15\x03\x01\x00\x02\x02\x28"  # handshake_failure


@case(BROKEN, BROKEN_FREE, core=True)
def broken_tls_costs_only_those_who_need_it(t, strict, free):
    """TLS-031, TLS-033: clear text once, on a new connection; enforcement stands."""
    server = t.mx(strict, instead_of_tls=ALERT)
    peer = t.ready(strict)
    got = peer.envelope(f"user@{free.domain}", f"user@{strict.domain}")
    equal(got[1].code, 250, "RCPT without policy")
    equal(got[2], STARTTLS_MISSING, "RCPT of the same mail with enforce")
    word = marker()
    equal(peer.content(message(word)).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal(len(server.connections), 2, "connections")
    equal(server.connections[0].clear_after_220(), b"", "in clear where TLS should be (TLS-006)")
    assert word.encode() in server.connections[1].clear
    equal(server.received(strict.domain + ">"), [], "what the MX saw of the other (PRX-015)")
    fields(t.recipients(free)[0], outcome="delivered", result_type="validation-failure",
           tls__stage="clear", tls__failure="handshake", tls__fallback=True)
    fields(t.recipients(strict)[0], outcome="refused", reply_id="REP-011")


@case(Site("permanent", policy="enforce", cert="wrong"), only=ONCE)
def a_permanent_refusal_when_asked_for(t, site):
    """REP-005, REP-006, REP-023: after a look past all caches; and with the session's id (REP-007)."""
    server = t.mx(site)
    with configured(t, "reply_profile = permanent\npermanent_code = 550\nreply_id = true"):
        peer = t.ready(site)
        got = peer.envelope(f"user@{site.domain}")[1]
        peer.quit()
        record = t.recipients(site)[0]
    server.wait_idle()
    equal(got, NAME_MISMATCH.replace("451 4", "550 5") + f" [sg:{record['session']}]", "RCPT")
    fields(record, outcome="refused", reply_id="REP-023")


@case(Site("disconnect", policy="enforce", cert="wrong"), only=ONCE)
def a_violation_may_end_the_session(t, site):
    """PRX-046."""
    server = t.mx(site)
    with configured(t, "violation = disconnect"):
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1], NAME_MISMATCH.replace("451", "421"), "RCPT")
        assert peer.ended(), "the gateway has not closed"
    server.wait_idle()
    equal(server.received("MAIL", "RCPT"), [], "what the MX saw")
    equal(len(server.received("QUIT")), 1, "QUIT under TLS (TLS-010)")


KEYWORDS = ("PIPELINING", "SIZE", "8BITMIME", "REQUIRETLS")
WANTS_TLS = Site("requiretls", policy="testing")
WANTS_BAD = Site("requiretlsbad", policy="testing", cert="wrong")


@case(WANTS_TLS, only=ONCE)
def requiretls_goes_on_to_a_proven_mx(t, site):
    """RTLS-001, RTLS-005, TC-REQ-05: offered on first contact, then by what the MX listed."""
    with configured(t, certificate(t)):
        server, word = t.mx(site, keywords_tls=KEYWORDS), marker()
        for _ in range(2):
            peer = under_tls(t, site)
            assert "REQUIRETLS" in peer.cmd("EHLO client.lab.test").text
            equal(peer.cmd("MAIL FROM:<a@client.test> REQUIRETLS").code, 250, "MAIL")
            equal(peer.cmd(f"RCPT TO:<user@{site.domain}>").code, 250, "RCPT")
            equal(peer.content(message(word)).code, 250, "end of data")
            peer.quit()
        server.wait_idle()
        mails = [line for c in server.connections for _, line in c.commands
                 if line.startswith(b"MAIL")]
        equal(mails, [b"MAIL FROM:<a@client.test> REQUIRETLS"] * 2, "MAIL (RTLS-005)")
        fields(t.recipients(site, 2)[0], outcome="delivered", requiretls=True,
               tls__requiretls_offered=True)


@case(WANTS_BAD, only=ONCE)
def requiretls_is_kept_where_no_policy_is_enforced(t, site):
    """RTLS-002, RTLS-003, RTLS-004, TC-REQ-01, TC-REQ-02."""
    with configured(t, certificate(t)):
        server = t.mx(site, keywords_tls=KEYWORDS)
        peer = t.ready(site)
        equal(peer.cmd("MAIL FROM:<a@client.test> REQUIRETLS"),
              "555 5.5.4 Parameter not recognized", "MAIL in clear")
        peer.quit()
        peer = under_tls(t, site)
        peer.cmd("EHLO client.lab.test")
        equal(peer.cmd("MAIL FROM:<a@client.test> REQUIRETLS").code, 250, "MAIL")
        equal(peer.cmd(f"RCPT TO:<user@{site.domain}>"), "451 4.7.10 Encryption needed", "RCPT")
        peer.quit()
        server.wait_idle()
        equal(server.received("MAIL", "RCPT"), [], "what the MX saw")
        fields(t.recipients(site)[0], outcome="refused", reply_id="REP-056", requiretls=True)


RELAY = Site("ehlorelay", policy="enforce")
FOR_RELAY = Site("ehlofor", policy=None)


@case(RELAY, FOR_RELAY, only=ONCE)
def a_smart_host_is_asked_for_tls_at_ehlo(t, relay, anyone):
    """PRX-024, PRX-029: the client sees what the relay lists under TLS, on its first connection."""
    with configured(t, f'smart_host "{relay.mx}" {{ destination = {{"{relay.address(t.family)}"}} }}'):
        server = t.mx(relay, keywords_tls=("PIPELINING", "SIZE 12345", "DSN"))
        peer = t.client(relay)
        reply = peer.greet()
        assert "SIZE 12345" in reply.text and "DSN" in reply.text, reply
        equal(peer.envelope(f"user@{anyone.domain}")[1].code, 250, "RCPT")
        equal(peer.content(message(marker())).code, 250, "end of data")
        peer.quit()
        server.wait_idle()
        equal([c.sni for c in server.connections], [relay.mx], "connections")


LOGIN = Site("authrelay", policy="enforce")
SELF_SIGNED = Site("authbad", cert="self-signed")


@case(LOGIN, SELF_SIGNED, only=ONCE)
def only_a_proven_smart_host_hears_a_secret(t, relay, bad):
    """EXT-008, PRX-031: AUTH from a client under TLS passes, line by line, and is not logged."""
    secret = b"c2VjcmV0LXdvcmQ="
    keywords = ("PIPELINING", "AUTH PLAIN LOGIN")
    steps = {"AUTH": lambda there, _line: (there.send(b"334 VXNlcm5hbWU6\r\n"), there.read_line(),
                                           b"235 2.7.0 welcome\r\n")[2]}
    hosts = "".join(f'smart_host "{s.mx}" {{ destination = {{"{s.address(t.family)}"}} }}\n'
                    for s in (relay, bad))
    with configured(t, certificate(t) + hosts):
        server = t.mx(relay, keywords_tls=keywords, steps=steps)
        peer = t.client(relay)
        assert "AUTH" not in peer.greet().text, "AUTH in clear"
        equal(peer.cmd("AUTH LOGIN"), "502 5.5.1 Command not implemented", "AUTH in clear")
        peer.starttls(ca=t.certificates.ca, host=GATEWAY_NAME)
        assert "AUTH PLAIN LOGIN" in peer.cmd("EHLO client.lab.test").text
        equal(peer.cmd("AUTH LOGIN").code, 334, "AUTH")
        equal(peer.cmd(secret).code, 235, "response")
        equal(peer.envelope(f"user@{relay.domain}")[1].code, 250, "RCPT")
        equal(peer.content(message(marker())).code, 250, "end of data")
        peer.quit()
        server.wait_idle()
        assert secret in server.connections[0].tls
        assert secret.decode() not in t.gateway.read_log(), "a secret in the log"
        other = t.mx(bad, keywords_tls=keywords)
        peer = t.client(bad)
        peer.greet()
        peer.starttls(ca=t.certificates.ca, host=GATEWAY_NAME)
        assert "AUTH" not in peer.cmd("EHLO client.lab.test").text
        equal(peer.cmd("AUTH LOGIN"), "502 5.5.1 Command not implemented", "AUTH to the self-signed")
        peer.quit()
        other.wait_idle()
        equal(other.received("AUTH"), [], "what it saw")
