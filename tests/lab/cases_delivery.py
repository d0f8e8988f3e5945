"""Mail that arrives: the lab without a gateway, the data path, what stands outside in clear."""

import hashlib
import random
import ssl

from capture import Capture
from case import ONCE, case, equal, fields, marker, message
from world import Site, mx_address

BIG = 8 * 1024 * 1024


def one_mail(trial, site, word, **script):
    """A whole mail to a scripted MX of the site; the MX afterwards."""
    server = trial.mx(site, **script)
    peer = trial.ready(site)
    replies = peer.envelope(f"user@{site.domain}")
    assert [r.code for r in replies] == [250, 250], replies
    equal(peer.content(message(word)), "250 2.0.0 Queued as LAB", "the MX's own reply")
    equal(peer.quit().code, 221, "QUIT")
    server.wait_idle()
    return server


@case(Site("d-clear", cert=None), direct=True)
def without_gateway_the_content_is_seen_outside(t, site):
    """The control of the captures below: what they look for can be found."""
    capture, word = Capture(t.lab, "direct"), marker()
    server = one_mail(t, site, word, starttls=False)
    equal(server.mailbox[0].tls, "", "TLS")
    traffic = capture.stop()
    assert traffic.in_clear(word.encode(), b"RCPT TO") > 2 * len(word), "the capture sees nothing"


@case(Site("d-tls"), direct=True)
def without_gateway_the_mx_speaks_tls(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.cmd("STARTTLS").code, 220, "STARTTLS")
    context = ssl.create_default_context(cafile=str(t.certificates.ca))
    peer.sock = context.wrap_socket(peer.sock, server_hostname=site.mx)
    equal(peer.cmd("EHLO client.lab.test").code, 250, "EHLO under TLS")
    equal(peer.quit().code, 221, "QUIT under TLS")
    server.wait_idle()
    equal(server.connections[0].sni, site.mx, "SNI")
    equal(server.connections[0].lines("EHLO"), [b"EHLO client.lab.test"] * 2, "both EHLOs")


@case(Site("good", policy="enforce"), core=True)
def enforce_and_right_certificate_is_delivered_over_tls13(t, site):
    word = marker()
    server = one_mail(t, site, word)
    equal(len(server.connections), 1, "connections at the MX (PRX-003)")
    there = server.connections[0]
    equal(there.sni, site.mx, "SNI (PRX-029)")
    equal(bytes(there.clear), b"EHLO client.lab.test\r\nSTARTTLS\r\n",
          "octets in clear (PRX-013)")
    mail = server.mailbox[0]
    equal((mail.tls, mail.recipients, mail.content),
          ("TLSv1.3", [b"RCPT TO:<user@good.test>"], message(word)), "the mail")
    record, = t.recipients(site)
    fields(record, verdict="allow", outcome="delivered", result_type="success", mx=site.mx,
           mx_proven=True, matched="address", policy__mode="enforce", policy__type="sts",
           policy__mx=[site.mx], tls__stage="done", tls__version="TLSv1.3", tls__sni=site.mx,
           tls__chain="good", reply="250 2.1.5 OK", reply_by="mx", reply_id="",
           final_reply="250 2.0.0 Queued as LAB", engine="library",
           destination=site.address(t.family), intercept=t.gateway.intercept)


@case(Site("hidden", policy="enforce"))
def nothing_of_a_policy_mail_stands_outside_in_clear(t, site):
    capture, word = Capture(t.lab, f"hidden-{t.family}"), marker()
    server = one_mail(t, site, word)
    traffic = capture.stop()
    assert traffic.packets > 10, f"only {traffic.packets} packets captured"
    equal(traffic.in_clear(word.encode(), b"MAIL FROM", b"RCPT TO", b"user@", b"DATA\r\n"), 0,
          "octets of envelope or content in clear outside")
    assert traffic.in_clear(b"STARTTLS"), "the capture did not see the connection"
    assert word.encode() in server.mailbox[0].content


@case(Site("greeting", policy="enforce"))
def greeting_of_the_mx_arrives_unchanged(t, site):
    t.mx(site, steps={"GREETING": b"220-mx.greeting.test odd  text \"%\" \r\n220 second line\r\n"})
    peer = t.client(site)
    equal(peer.reply().lines, ['220-mx.greeting.test odd  text "%" ', "220 second line"],
          "greeting (PRX-006)")


@case(Site("keywords", policy="enforce"))
def keywords_are_filtered_and_size_loses_its_number(t, site):
    t.mx(site, keywords=("XEXCH50", "SIZE 1", "PIPELINING", "CHUNKING", "AUTH PLAIN", "8BITMIME"))
    peer = t.client(site)
    equal(peer.greet().lines, [f"250-{site.mx}", "250-SIZE", "250-PIPELINING", "250-CHUNKING",
                                "250 8BITMIME"],
          "EHLO as shown to the client (SMTP-038, PRX-029)")


@case(Site("nopolicy", cert="self-signed"), core=True)
def without_policy_a_self_signed_mx_gets_it_over_tls(t, site):
    server = one_mail(t, site, marker())
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS (PRX-050)")
    equal(server.in_clear().count(b"MAIL"), 0, "MAIL in clear")
    record, = t.recipients(site)
    fields(record, verdict="allow", outcome="delivered", mx_proven=False,
           policy__type="no-policy-found", tls__stage="done", tls__chain="untrusted")


@case(Site("cleartext", cert=None), core=True)
def without_policy_and_starttls_it_goes_in_clear(t, site):
    server = one_mail(t, site, marker(), starttls=False)
    equal(server.mailbox[0].tls, "", "TLS (PRX-050)")
    record, = t.recipients(site)
    fields(record, verdict="allow", outcome="delivered", tls__stage="clear",
           tls__starttls_offered=False, result_type="starttls-not-supported")


@case(Site("helo", policy="enforce"))
def helo_client_is_served_over_tls(t, site):
    server = t.mx(site)
    peer = t.client(site)
    equal(peer.greet("HELO").lines, [f"250 {site.mx}"], "one line (PRX-047)")
    equal([r.code for r in peer.envelope("user@helo.test")], [250, 250], "envelope")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal(server.connections[0].lines("HELO"), [], "HELO upstream")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")


@case(Site("big", policy="enforce"))
def eight_mebibytes_arrive_equal(t, site):
    rng = random.Random(8461)
    lines = [bytes(rng.choice(range(32, 256)) for _ in range(72)) for _ in range(1000)]
    content = b"\r\n".join(rng.choice(lines) for _ in range(BIG // 74 + 1))
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@big.test")
    equal(peer.content(content).code, 250, "end of data")
    server.wait(lambda m: m.mailbox, "the mail")
    got = server.mailbox[0].content
    equal((len(got), hashlib.sha256(got).hexdigest()),
          (len(content), hashlib.sha256(content).hexdigest()), "length and SHA-256 (PRX-009)")
    peer.quit()
    assert t.session(peer)["bytes_to_mx"] > len(content)


@case(Site("bytewise", policy="enforce"))
def a_client_of_one_octet_per_packet_is_served(t, site):
    server = t.mx(site)
    peer = t.client(site)
    equal(peer.reply().code, 220, "greeting")
    word = marker()
    for line in (b"EHLO slow.lab.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<user@bytewise.test>"):
        peer.send_slowly(line + b"\r\n")
        equal(peer.reply().code, 250, line)
    peer.send_slowly(b"DATA\r\n")
    equal(peer.reply().code, 354, "DATA")
    peer.send_slowly(message(word) + b"\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")
    equal(server.mailbox[0].content, message(word), "content (SMTP-042)")


@case(Site("dots", policy="enforce"))
def dots_pass_as_they_are(t, site):
    """SMTP-041, -042: stuffing untouched, the end found wherever it can stand."""
    server = t.mx(site)
    peer = t.ready(site)
    bodies = [b"..", b"..x", b"x\r\n..\r\ny", b"...", b"x.\r\ny", b"..\r\n..\r\n..", b"x\r\n.y",
              b"x\r\n\r\n\r\n.. \r\n.z"]
    for body in bodies:
        peer.envelope("user@dots.test")
        equal(peer.content(body).code, 250, body)
    equal([m.content for m in server.mailbox], bodies, "contents")


@case(Site("empty", policy="enforce"))
def an_empty_message_ends_at_once(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@empty.test")
    equal(peer.cmd("DATA").code, 354, "DATA")
    peer.send(b".\r\n")
    equal(peer.reply().code, 250, "end of data (SMTP-042)")
    equal(server.mailbox[0].content, b"", "content")


@case(Site("split", policy="enforce"), only=ONCE)
def the_end_of_data_is_found_at_every_split(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    tail = b"x\r\n.\r\n"
    for at in range(1, len(tail)):
        peer.envelope("user@split.test")
        equal(peer.cmd("DATA").code, 354, "DATA")
        peer.send(tail[:at])
        peer.send(tail[at:])
        equal(peer.reply().code, 250, f"split at {at} (SMTP-042)")
    equal([m.content for m in server.mailbox], [b"x"] * (len(tail) - 1), "contents")


@case(Site("packet", policy="enforce"))
def commands_behind_the_end_of_data_are_commands(t, site):
    """PIPE-012, and judged like any other."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@packet.test")
    equal(peer.cmd("DATA").code, 354, "DATA")
    peer.send(b"one\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<user@packet.test>\r\nDATA\r\n")
    equal([peer.reply().code for _ in range(4)], [250, 250, 250, 354], "replies in order")
    peer.send(b"two\r\n.\r\nQUIT\r\n")
    equal([peer.reply().code for _ in range(2)], [250, 221], "end of data and QUIT")
    equal([m.content for m in server.mailbox], [b"one", b"two"], "contents")


@case(Site("peer", policy="enforce"))
def the_connection_comes_from_the_gateway(t, site):
    server = one_mail(t, site, marker())
    equal(server.connections[0].peer[0], mx_address(1, t.family), "peer at the MX (PRX-005)")
    equal(server.connections[0].lines("RCPT"), [b"RCPT TO:<user@peer.test>"], "the recipient")
