"""The client's leg: TLS with the client, what a section `client` changes, and who is turned away."""

import ipaddress
import os
import pathlib
import resource
import socket
import ssl
import struct
import time

from case import ONCE, case, configured, equal, fields, marker, message, restarted
from lab import wait_for
from world import CLIENT, GATEWAY_INSIDE, GATEWAY_NAME, GATEWAY_OUTSIDE, Site

SHUTDOWN = "421 4.3.2 gw.lab.test Service not available"
TLS_REQUIRED = "451 4.7.0 TLS is required by local policy"
NO_STARTTLS = "502 5.5.1 STARTTLS not available"
TLS_FIRST = "530 5.7.0 Must issue a STARTTLS command first"
BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"


def certificate(t):
    """The site's certificate, as configuration."""
    chain, key = t.certificates.make("gateway", [GATEWAY_NAME])
    return f'client_certificate_file = "{chain}"\nclient_key_file = "{key}"\n'


def under_tls(t, site, **options):
    """A client that has begun TLS with the gateway, whose certificate it has checked."""
    peer = t.ready(site)
    peer.starttls(ca=t.certificates.ca, host=GATEWAY_NAME, **options)
    return peer


@case(Site("cl-terminate", policy="enforce"), core=True)
def a_client_may_begin_tls(t, site):
    """PRX-039 terminate, PRX-043, TLS-014, SMTP-008."""
    with configured(t, certificate(t)):
        server, word = t.mx(site), marker()
        peer = under_tls(t, site)
        equal(peer.cmd("MAIL FROM:<a@b.test>"), BAD_SEQUENCE, "MAIL before the second EHLO")
        reply = peer.cmd("EHLO again.lab.test")
        assert reply.code == 250 and "STARTTLS" not in reply.text, reply
        equal(peer.cmd("STARTTLS"), BAD_SEQUENCE, "a second STARTTLS")
        equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
        equal(peer.content(message(word)).code, 250, "end of data")
        equal(peer.quit().code, 221, "QUIT")
        equal((server.mailbox[0].content, server.mailbox[0].tls), (message(word), "TLSv1.3"),
              "the mail at the MX")
        equal(server.connections[0].hello, b"EHLO again.lab.test", "EHLO at the MX")
        fields(t.recipients(site)[0], outcome="delivered", client_tls="TLSv1.3",
               client_starttls="terminate", tls__version="TLSv1.3")
        session = t.session(peer)
        fields(session, client_tls="TLSv1.3", helo="again.lab.test", delivered=1)
        assert session["client_cipher"].startswith("TLS_"), session
        lines = [line for line in t.gateway.read_log().splitlines()
                 if session["session"] in line and "event=recipient" in line]
        assert "tls=TLSv1.3 client_tls=TLSv1.3" in lines[0], lines


def tcp_state(sock):
    """tcp_states.h: 1 established, 7 closed or reset, 8 the other side has ended its half."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


@case(Site("cl-last-word", policy="enforce"), only=ONCE)
def the_last_word_reaches_a_client_that_sends_on(t, site):
    """PRX-012, REP-064: in clear and under TLS; what it still sends is read away, so that no reset overtakes
    the 421."""
    with configured(t, certificate(t)):
        t.mx(site)
        for begin in (t.ready, lambda site: under_tls(t, site)):
            peer = begin(site)
            equal(peer.cmd("EHLO client.lab.test").code, 250, "EHLO")
            peer.send(b"WHAT\r\n" * 21 + b"NOOP\r\n" * 50000)
            equal([peer.reply().code for _ in range(21)], [500] * 20 + [421], "replies")
            assert peer.ended()
            peer.send(b"NOOP\r\n" * 1000)
            wait_for(lambda: tcp_state(peer.sock) != 1, "the end of the connection", 10)
            equal(tcp_state(peer.sock), 8, "state of the connection, which is not reset")
            peer.close()


@case(Site("cl-large", policy="enforce"), only=ONCE)
def a_large_mail_passes_two_legs_of_tls(t, site):
    with configured(t, certificate(t)):
        server = t.mx(site)
        peer = under_tls(t, site)
        peer.cmd("EHLO client.lab.test")
        peer.envelope(f"user@{site.domain}")
        text = b"".join(b"%d %s\r\n" % (n, b"x" * (n % 900)) for n in range(20000))
        equal(peer.content(text).code, 250, "end of data")
        equal(server.mailbox[0].content == text, True, "the same octets")


@case(Site("cl-behind", policy="enforce"), only=ONCE)
def what_stands_behind_starttls_is_dropped(t, site):
    """TC-TLS-06, B23, PRX-043: in one packet, and in a second one that nobody has read yet."""
    with configured(t, certificate(t)):
        server = t.mx(site)
        for rest in (b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<victim@cl-behind.test>\r\n", b"EHLO e",
                     b"NOOP\r\n" * 5000):
            peer = t.ready(site)
            peer.send(b"STARTTLS\r\n" + rest)
            equal(peer.reply().code, 220, "STARTTLS")
            if len(rest) > 20000:  # more than one read: it may arrive where a ClientHello is due
                peer.close()
                continue
            peer.shake_hands(ca=t.certificates.ca, host=GATEWAY_NAME)
            equal(peer.cmd("RCPT TO:<user@cl-behind.test>"), BAD_SEQUENCE, "RCPT under TLS")
            equal(peer.cmd("EHLO client.lab.test").code, 250, "EHLO under TLS")
            equal(peer.cmd("RSET"), "250 2.0.0 OK", "RSET: no transaction is open")
            peer.quit()
        server.wait_idle()
        equal(server.received("evil", "victim"), [], "what the MX saw")


@case(Site("cl-nostarttls"), Site("cl-454"), Site("cl-broken"), only=ONCE)
def a_client_under_tls_never_goes_on_in_clear(t, none, refuses, broken):
    """TLS-030, PRX-039, TC-GW-23: also without any policy."""
    with configured(t, certificate(t)):
        server = t.mx(none, starttls=False)
        peer = t.client(none)
        equal(peer.reply().code, 220, "greeting")
        reply = peer.cmd("EHLO client.lab.test")
        assert "STARTTLS" not in reply.text, reply
        equal(peer.cmd("STARTTLS"), NO_STARTTLS, "REP-051")
        equal([r.code for r in peer.envelope(f"user@{none.domain}")], [250, 250], "in clear")
        equal(peer.content(message(marker())).code, 250, "and so delivered")
        equal(server.mailbox[0].tls, "", "in clear")
        for site, script in ((refuses, {"steps": {"STARTTLS": b"454 4.7.0 Not now\r\n"}}),
                             (broken, {"instead_of_tls": b"\x15\x03\x01\x00\x02\x02\x28"})):
            server = t.mx(site, **script)
            peer = under_tls(t, site)
            peer.cmd("EHLO client.lab.test")
            equal(peer.envelope(f"user@{site.domain}")[1], TLS_REQUIRED, f"RCPT at {site.domain}")
            equal(peer.cmd("NOOP").code, 250, "the session goes on")
            peer.quit()
            server.wait_idle()
            equal(server.received("MAIL FROM", site.domain + ">"), [], "what the MX saw")
            fields(t.recipients(site)[0], outcome="refused", reply_id="REP-042",
                   client_tls="TLSv1.3")


@case(Site("cl-failing", policy="enforce"), only=ONCE)
def a_failed_handshake_is_no_fallback(t, site):
    """REP-062: closed; nothing in clear."""
    with configured(t, certificate(t)):
        server = t.mx(site)
        for what in (b"MAIL FROM:<a@b.test>\r\n", b"\x16\x03\x01\x00\x05hello", b""):
            peer = t.ready(site)
            equal(peer.cmd("STARTTLS").code, 220, "STARTTLS")
            if what:
                peer.send(what)
                rest = b""
                while data := receive(peer):
                    rest += data
                assert not rest[:3].isdigit() and b"421" not in rest, rest
            peer.close()
            fields(t.session(peer), end="client-tls-failed", transactions=0)
        peer = t.ready(site)
        try:
            peer.starttls(newest=ssl.TLSVersion.TLSv1_1)
            raise AssertionError("TLS 1.1 was taken")
        except (ssl.SSLError, ConnectionError):
            pass
        server.wait_idle()
        equal(server.received("MAIL"), [], "what the MX saw")


def receive(peer):
    try:
        return peer.sock.recv(65536)
    except ConnectionError:
        return b""


DEMANDED = 'client "inside" {{ client = {{192.0.2.0/24, "2001:db8:1::/64"}} require_tls = true }}\n'


@case(Site("cl-demanded", policy="enforce"))
def tls_may_be_demanded_of_clients(t, site):
    """TLS-015, REP-063."""
    with configured(t, certificate(t) + DEMANDED.format()):
        server = t.mx(site)
        peer = t.ready(site)
        for line in ("MAIL FROM:<a@b.test>", "RCPT TO:<user@cl-demanded.test>", "DATA", "RSET",
                     "HELP", "VRFY x", "HELO client"):
            equal(peer.cmd(line), TLS_FIRST, line)
        equal(peer.cmd("NOOP").code, 250, "NOOP")
        peer.starttls(ca=t.certificates.ca, host=GATEWAY_NAME)
        equal(peer.cmd("EHLO client.lab.test").code, 250, "EHLO")
        equal([r.code for r in peer.envelope("user@cl-demanded.test")], [250, 250], "envelope")
        equal(peer.content(message(marker())).code, 250, "end of data")
        peer.quit()
        equal(len(server.mailbox), 1, "mails")
        fields(t.session(peer), client_rule="inside")


@case(Site("encrypt-terminate", policy="enforce", postfix=True), core=True)
def postfix_that_insists_on_tls_is_served(t, site):
    """PRX-039 with a real client at level encrypt: deferred under hide, delivered under terminate."""
    with configured(t, certificate(t)):
        word = marker()
        t.sender.send(f"user@{site.domain}", message(word).decode().replace("\r\n", "\n"))
        line = t.sender.outcome(f"<{word}@client.test>")
        assert "status=sent" in line, line
        fields(t.recipients(site)[0], outcome="delivered", client_tls="TLSv1.3",
               tls__version="TLSv1.3")


@case(Site("cl-wrongkey"), only=ONCE)
def a_certificate_that_does_not_fit_is_refused(t, site):
    """A reload with it leaves the gateway as it was; config check names a missing file."""
    chain, _ = t.certificates.make("gateway", [GATEWAY_NAME])
    other = t.certificates.folder / "ca.key"
    try:
        t.gateway.configure(f'client_certificate_file = "{chain}"\nclient_key_file = "{other}"\n')
        done = t.gateway.command("reload")
        assert done.returncode != 0, done
        wait_for(lambda: "is not the key of the first certificate" in t.gateway.read_log(),
                 "the reason in the log", 10)
        t.gateway.configure(f'client_certificate_file = "{chain}"\nclient_key_file = "/none"\n')
        done = t.gateway.command("config", "check")
        assert done.returncode == 2 and "client_key_file: /none: No such file" in done.stderr, done
    finally:
        t.gateway.configure("")
    t.mx(site)
    equal(t.ready(site).cmd("STARTTLS"), NO_STARTTLS, "STARTTLS: it serves as before")


PASS = 'client "verifiers" {{ client = {{192.0.2.0/24, "2001:db8:1::/64"}} starttls = passthrough }}\n'


@case(Site("cl-pass"), core=True)
def a_listed_client_sees_the_mx_itself(t, site):
    """PRX-040, TC-GW-03, TC-GW-04, B22: it verifies the MX's own certificate; recorded as unverified."""
    with configured(t, PASS.format()):
        server, word = t.mx(site), marker()
        peer = t.ready(site)
        peer.starttls(ca=t.certificates.ca, host=site.mx)
        equal(peer.cmd("EHLO client.lab.test").code, 250, "EHLO to the MX")
        equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
        equal(peer.content(message(word)).code, 250, "end of data")
        peer.quit()
        server.wait_idle()
        equal((server.mailbox[0].content, server.mailbox[0].tls), (message(word), "TLSv1.3"), "mail")
        equal([r for r in t.gateway.records(t.before) if r["event"] == "recipient"], [],
              "nothing is judged")
        passed = relayed(t, peer, "passthrough")
        fields(passed, end="closed", tls_version="TLSv1.3", client_rule="verifiers",
               client_starttls="passthrough", engine="copy", engine_reason="small")
        fields(t.session(peer), end="passthrough", transactions=0)


@case(Site("cl-passbulk"), only=ONCE)
def a_bulk_that_passes_never_enters_the_worker(t, site):
    """PRX-040, TC-GW-18: spliced from socket to socket, and the same octets."""
    with configured(t, PASS.format()):
        server = t.mx(site)
        peer = t.ready(site)
        peer.starttls(ca=t.certificates.ca, host=site.mx)
        peer.cmd("EHLO client.lab.test")
        peer.envelope(f"user@{site.domain}")
        text = b"".join(b"%d %s\r\n" % (n, b"x" * (n % 900)) for n in range(9000))
        equal(peer.content(text).code, 250, "end of data")
        peer.quit()
        equal(server.mailbox[0].content == text, True, "the same octets")
        fields(relayed(t, peer, "passthrough"), end="closed", engine="splice", engine_reason="")


def relayed(t, peer, event):
    def ended():
        return [r for r in t.gateway.records(t.before)
                if r["event"] == event and r["client_port"] == peer.port]

    return wait_for(ended, f"the record {event}", 15)[0]


@case(Site("cl-passclear", policy="enforce", cert="wrong"), only=ONCE)
def mail_of_a_listed_client_in_clear_is_enforced(t, site):
    """PRX-040: an ordinary session."""
    with configured(t, PASS.format()):
        server = t.mx(site)
        peer = t.ready(site)
        assert peer.envelope(f"user@{site.domain}")[1].text.startswith("451 4.7.5"), "RCPT"
        peer.quit()
        server.wait_idle()
        equal(server.mailbox, [], "mails")


@case(Site("cl-passold"), Site("cl-passnohello"), Site("cl-passinject"), only=ONCE)
def what_passes_must_be_tls_of_today(t, old, nohello, inject):
    """PRX-040: the site's floor holds; what follows STARTTLS is a ClientHello, or the end."""
    with configured(t, PASS.format()):
        t.mx(old, newest=ssl.TLSVersion.TLSv1_1)
        peer = t.ready(old)
        try:
            peer.starttls(newest=ssl.TLSVersion.TLSv1_1)
            raise AssertionError("TLS 1.1 passed")
        except (ssl.SSLError, ConnectionError):
            pass
        fields(relayed(t, peer, "passthrough"), end="tls-version-too-low", tls_version="TLSv1.1")
        server = t.mx(nohello)
        peer = t.ready(nohello)
        equal(peer.cmd("STARTTLS").code, 220, "STARTTLS")
        peer.send(b"MAIL FROM:<evil@b.test>\r\n")
        equal(receive(peer), b"", "the end")
        fields(relayed(t, peer, "passthrough"), end="no-client-hello", bytes_to_mx=0)
        server.wait_idle()
        equal(server.received("evil"), [], "what the MX saw")
        t.mx(inject, after_220=b"250 injected\r\n")
        peer = t.ready(inject)
        equal(peer.cmd("STARTTLS").code, 421, "STARTTLS")


@case(Site("verify-pass", postfix=True), Site("verify-left", postfix=True), only=ONCE)
def postfix_that_verifies_passes_or_leaves_a_hint(t, site, hidden):
    """PRX-040, PRX-044 with a real client at level verify."""
    word = marker()
    t.sender.send(f"user@{hidden.domain}", message(word).decode().replace("\r\n", "\n"))
    line = t.sender.outcome(f"<{word}@client.test>")
    assert "status=deferred" in line and "TLS is required, but was not offered" in line, line
    hints = [one for one in t.gateway.read_log().splitlines()
             if "event=client-left" in one and "client=192.0.2.2" in one]
    assert hints and "client = {192.0.2.2} starttls = passthrough }" in hints[-1], hints
    with configured(t, PASS.format()):
        word = marker()
        t.sender.send(f"user@{site.domain}", message(word).decode().replace("\r\n", "\n"))
        line = t.sender.outcome(f"<{word}@client.test>")
        assert "status=sent" in line, line


RELAY = 'client "untouched" {{ destination = {{{0}}} relay = true }}\n'


@case(Site("cl-relay", policy="enforce", cert="wrong"), Site("cl-other", policy="enforce", cert="wrong"),
      only=ONCE)
def a_listed_destination_is_relayed_untouched(t, site, other):
    """TC-GW-08: and the others are served as before."""
    with configured(t, RELAY.format(site.address(t.family))):
        server = t.mx(site, steps={"GREETING": b"220 odd\x01 service\r\n", "NOOP": b"999 any\r\n"})
        peer = t.client(site)
        equal(peer.reply().text, "220 odd\x01 service", "greeting")
        equal(peer.cmd("NOOP").text, "999 any", "what is no SMTP")
        equal(peer.cmd("EHLO x").code, 250, "EHLO")
        equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
        equal(peer.content(message(marker())).code, 250, "end of data")
        peer.quit()
        equal(len(server.mailbox), 1, "mails")
        fields(relayed(t, peer, "relay"), client_rule="untouched", mails_in_clear=1, end="closed")
        t.mx(other)
        peer = t.ready(other)
        assert peer.envelope(f"user@{other.domain}")[1].text.startswith("451 4.7.5"), "RCPT"


def header(client, destination, port=25, *, command=1, family=None, rest=b""):
    """A PROXY header, version 2."""
    source, target = ipaddress.ip_address(client), ipaddress.ip_address(destination)
    family = (0x11 if source.version == 4 else 0x21) if family is None else family
    body = source.packed + target.packed + struct.pack("!HH", 50003, port) + rest
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family])
            + struct.pack("!H", len(body)) + body)


def proxied(t):
    inside = {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}[t.family]
    listen = f'"[{GATEWAY_INSIDE[6]}]:2528"' if t.family == 6 else f'"{GATEWAY_INSIDE[4]}:2528"'
    return f'listen_proxy = {{{listen}}}\nproxy_networks = {{"{inside}"}}\n'


BALANCED = {4: "10.9.8.7", 6: "2001:db8:9::7"}


@case(Site("cl-proxy", policy="enforce"))
def a_proxy_header_tells_client_and_destination(t, site):
    """PRX-054: in one write, and by octets, with the client's first command right behind it."""
    with restarted(t, proxied(t)):
        server = t.mx(site)
        for slowly in (False, True):
            peer = t.dial(GATEWAY_INSIDE[t.family], 2528)
            head = header(BALANCED[t.family], site.address(t.family), rest=b"\x04\x00\x01x")
            (peer.send_slowly if slowly else peer.send)(head)
            peer.send(b"EHLO behind.lab.test\r\n")
            equal([peer.reply().code, peer.reply().code], [220, 250], "greeting, EHLO")
            equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
            equal(peer.content(message(marker())).code, 250, "end of data")
            peer.quit()
        equal(len(server.mailbox), 2, "mails")
        fields(t.recipients(site, 2)[1], client=BALANCED[t.family], client_port=50003,
               destination=site.address(t.family), intercept="proxy", outcome="delivered")


@case(Site("cl-badproxy", policy="enforce"), only=ONCE)
def what_is_no_good_header_is_closed(t, site):
    """TC-GW-27, PRX-054, A16."""
    with restarted(t, proxied(t)):
        server = t.mx(site)
        address = site.address(4)
        good = header(BALANCED[4], address)
        for head in (header(BALANCED[4], address, command=0), header(BALANCED[4], address, family=0x31),
                     header(BALANCED[4], address, family=0x12), good[:15] + b"\x05" + good[16:],
                     b"PROXY TCP4 10.9.8.7 198.51.100.2 50003 25\r\n", b"EHLO client\r\n",
                     good[:-1] + b"\x19" + b"\x99", header(BALANCED[4], address, rest=b"\x04\x00\x09x")):
            peer = t.dial(GATEWAY_INSIDE[4], 2528)
            peer.send(head)
            if head[:28] == good[:28]:
                equal(peer.reply().code, 220, "octets behind the header are the session's")
            else:
                equal(receive(peer), b"", repr(head))
        for destination, port in (("127.0.0.1", 25), (GATEWAY_INSIDE[4], 25), ("0.0.0.0", 25),
                                  ("169.254.1.1", 25), ("224.0.0.1", 25), (address, 6379)):
            peer = t.dial(GATEWAY_INSIDE[4], 2528)
            peer.send(header(BALANCED[4], destination, port))
            equal(peer.reply(), SHUTDOWN, f"to {destination}:{port}")
        peer = t.dial(GATEWAY_INSIDE[4], 2528)
        begun = time.monotonic()
        peer.send(good[:20])
        equal(receive(peer), b"", "half a header")
        assert 4.5 < time.monotonic() - begun < 7, "5 s"
        equal(len(server.connections), 1, "connections at the MX")


@case(Site("cl-unlisted", policy="enforce"), only=ONCE)
def a_header_of_somebody_else_is_not_read(t, site):
    """TC-GW-27: the peer is in no listed network."""
    with restarted(t, proxied(t).replace("192.0.2.0/24", "192.0.2.77")):
        server = t.mx(site)
        peer = t.dial(GATEWAY_INSIDE[4], 2528)
        try:
            peer.send(header(BALANCED[4], site.address(4)))
        except ConnectionError:
            pass
        equal(receive(peer), b"", "the end")
        equal(server.connections, [], "connections at the MX")


@case(Site("cl-limit"), only=ONCE)
def a_client_has_so_many_sessions_and_no_more(t, site):
    """PRX-049, G12, REP-047: per client, and per section; who leaves makes room."""
    t.mx(site)
    for text, reason in (("client_sessions_max = 3", "too-many-sessions-of-client"),
                         (f'client "few" {{ destination = {{{site.address(4)}}} sessions_max = 3 }}',
                          "too-many-sessions-of-section"),
                         ("sessions_max = 3", "too-many-sessions")):
        with restarted(t, "workers = 1\n" + text + "\n"):
            inside = [t.ready(site) for _ in range(3)]
            peer = t.client(site)
            equal(peer.reply(), SHUTDOWN, text)
            assert peer.ended()
            assert f"reason={reason}" in t.gateway.read_log()
            inside[0].quit()
            wait_for(lambda: t.client(site).reply().code == 220, "room for another", 5)
            for peer in inside[1:]:
                peer.quit()


@case(Site("cl-fds"), only=ONCE)
def without_descriptors_clients_are_told(t, site):
    """A15, G2: a 421 with the descriptor in reserve, and service again once there are some."""
    server = t.mx(site)
    with restarted(t, "workers = 1\n"):
        worker = t.gateway.children("stsgate-worker")[0]
        soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 8, hard))
        peers = [t.client(site) for _ in range(12)]
        codes = [peer.reply().code for peer in peers]
        assert codes.count(220) >= 3 and codes.count(421) >= 4, codes
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
        for peer in peers:
            peer.close()
        wait_for(lambda: t.client(site).reply().code == 220, "service again", 10)
    assert "event=accept-paused" in t.gateway.read_log()
    assert server.connections


@case(Site("cl-idle"), only=ONCE)
def a_thousand_idle_clients_cost_little(t, site):
    """PRX-049, TC-GW-17: a bounded amount of memory each, and others are served meanwhile."""
    t.mx(site)
    with restarted(t, "workers = 1\n"):
        worker = t.gateway.children("stsgate-worker")[0]
        before = resident(worker)
        peers = []
        for _ in range(20):  # in lots, which the backlog of the MX takes
            lot = [t.client(site) for _ in range(50)]
            equal({peer.reply().code for peer in lot}, {220}, "greetings")
            peers += lot
        each = (resident(worker) - before) / 1000
        assert each < 32, f"{each:.1f} KiB each"
        busy = t.ready(site)
        equal([r.code for r in busy.envelope(f"user@{site.domain}")], [250, 250], "envelope")
        equal(busy.content(message(marker())).code, 250, "end of data")
        for peer in peers:
            peer.cut()
        wait_for(lambda: t.client(site).reply().code == 220, "service afterwards", 10)


def resident(pid):
    """KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@case(Site("cl-slow"), only=ONCE)
def a_command_has_to_be_whole_in_time(t, site):
    """A14: octets of a command do not count as patience (SMTP-051)."""
    t.mx(site)
    with configured(t, "client_timeout = 2\n"):
        for text in (b"NOOP " + b"x" * 40, b"y" * 13000):
            peer = t.ready(site)
            begun, ended = time.monotonic(), False
            peer.sock.settimeout(0.2)
            for at in range(30):
                try:
                    peer.send(text[at:at + 1] if len(text) < 100 else text)
                    ended = peer.sock.recv(100).startswith(b"421 4.4.2 gw.lab.test Timeout")
                    break
                except TimeoutError:
                    pass
            took = time.monotonic() - begun
            assert ended and 1.5 < took < 4, f"{took:.1f} s for {text[:10]!r}"


@case(Site("cl-urgent", policy="enforce"), only=ONCE)
def urgent_data_is_no_part_of_the_stream(t, site):
    """A17."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.send(b"NO")
    peer.sock.send(b"X", socket.MSG_OOB)
    peer.send(b"OP\r\n")
    equal(peer.reply(), "250 2.0.0 OK", "NOOP")
    peer.envelope(f"user@{site.domain}")
    equal(peer.cmd("DATA").code, 354, "DATA")
    peer.send(b"before ")
    peer.sock.send(b"!", socket.MSG_OOB)
    peer.send(b"after\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")
    equal(server.mailbox[0].content, b"before after", "the text")


@case(Site("cl-lf"), only=ONCE)
def a_listed_client_may_end_commands_by_lf(t, site):
    """SMTP-002, the option."""
    t.mx(site)
    with configured(t, 'client "old" { client = {192.0.2.0/24} accept_lf = true }\n'):
        peer = t.client(site)
        equal(peer.reply().code, 220, "greeting")
        peer.send(b"EHLO old.lab.test\nNOOP\nNOOP\r\n")
        equal([peer.reply().code for _ in range(3)], [250, 250, 250], "replies")


@case(Site("cl-source", policy="enforce"))
def the_mx_sees_the_address_that_is_configured(t, site):
    """PRX-005, A8, TC-GW-09: the gateway's own, or the client's; the same client several times at once."""
    server = t.mx(site)
    t.ready(site).quit()
    equal(server.connections[0].peer[0], GATEWAY_OUTSIDE[t.family], "the gateway's")
    if t.gateway.intercept != "tproxy":  # the rules for REDIRECT do not bring the answers back
        return
    with configured(t, "upstream_source = client\n"):
        peers = [t.ready(site) for _ in range(5)]
        for peer in peers:
            equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
            equal(peer.content(message(marker())).code, 250, "end of data")
            peer.quit()
        equal({c.peer[0] for c in server.connections[1:]}, {CLIENT[t.family]}, "the client's")
        equal((len(server.mailbox), len(server.connections)), (5, 6), "mails, connections (PRX-010)")
