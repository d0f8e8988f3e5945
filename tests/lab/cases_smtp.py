"""Bad SMTP from the client: local replies, exact octets, nothing of it upstream; and odd but good
SMTP that must pass."""

import threading

from case import ONCE, case, equal, fields, marker, message
from world import Site

TOO_LONG = "500 5.5.2 Line too long"
BAD_CHARACTER = "500 5.5.2 Bad character or line ending"
UNKNOWN = "500 5.5.1 Command not recognized"
NOT_IMPLEMENTED = "502 5.5.1 Command not implemented"
BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"
BAD_PARAMETERS = "501 5.5.4 Syntax error in parameters"
BAD_RECIPIENT = "501 5.1.3 Bad recipient address syntax"
VIOLATION = "421 4.7.0 gw.lab.test Protocol violation, closing"
BARE_NEWLINE = "550 5.5.2 Bare CR or LF in message data"
LOST = "421 4.4.2 gw.lab.test Connection to destination lost"

OUTSIDE = [  # line, reply; without an open transaction
    (b"MAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>", BAD_CHARACTER),
    (b"NOOP\rNOOP", BAD_CHARACTER),
    (b"NOOP \x00", BAD_CHARACTER),
    (b"NOOP " + b"x" * 20000, TOO_LONG),
    (b"XEXCH50 100 2", UNKNOWN),
    (b"XCLIENT ADDR=192.0.2.9", UNKNOWN),
    (b"ETRN example.test", NOT_IMPLEMENTED),
    (b"EXPN list", NOT_IMPLEMENTED),
    (b"BDAT 0 LAST", NOT_IMPLEMENTED),
    (b"STARTTLS", "502 5.5.1 STARTTLS not available"),
    (b"RCPT TO:<c@d.test>", BAD_SEQUENCE),
    (b"DATA", BAD_SEQUENCE),
    (b"DATA now", BAD_PARAMETERS),
    (b"QUIT now", BAD_PARAMETERS),
    (b"MAIL FROM:a@b.test", BAD_PARAMETERS),
    (b"MAIL <a@b.test>", BAD_PARAMETERS),
    (b"MAIL FROM:<a@b..test>", "501 5.1.7 Bad sender address syntax"),
    (b"MAIL FROM:<a@b.test> BODY=BINARYMIME", "555 5.5.4 Parameter not recognized"),
    (b"MAIL FROM:<a@b.test> SMTPUTF8", "555 5.5.4 Parameter not recognized"),
]
INSIDE = [  # after MAIL
    (b"MAIL FROM:<a@b.test>", BAD_SEQUENCE),
    (b"RCPT TO <c@d.test>", BAD_PARAMETERS),
    (b"RCPT TO:c@d.test", BAD_PARAMETERS),
    (b"RCPT TO:<c@d.test.>", BAD_RECIPIENT),
    (b"RCPT TO:<c@d..test>", BAD_RECIPIENT),
    (b"RCPT TO:<nobody>", BAD_RECIPIENT),
    (b"RCPT TO:<c@[999.1.1.1]>", BAD_RECIPIENT),
    (b"RCPT TO:<" + b"l" * 65 + b"@d.test>", BAD_RECIPIENT),
    (b"DATA", "503 5.5.1 No valid recipients"),
]


@case(Site("badlines", policy="enforce"), core=True)
def malformed_commands_are_answered_here(t, site):
    """REP-049 ... REP-054."""
    server = t.mx(site)
    peer = t.ready(site)
    for line, want in OUTSIDE:
        got = peer.cmd(line)
        equal(got, want, line[:60])
    peer.close()
    peer = t.ready(site)
    equal(peer.cmd("MAIL FROM:<a@b.test>").code, 250, "MAIL")
    for line, want in INSIDE:
        equal(peer.cmd(line), want, line[:60])
    peer.quit()
    server.wait_idle()
    for there in server.connections:
        equal({line.split(b" ")[0] for _, line in there.commands} - {b"EHLO", b"QUIT"}, set(),
              "what the MX saw")


@case(Site("flood", policy="enforce"), only=ONCE)
def a_flood_of_bad_commands_ends_the_session(t, site):
    """SMTP-015."""
    t.mx(site)
    peer = t.ready(site)
    peer.send(b"WHAT\r\n" * 50)
    seen = [peer.reply() for _ in range(21)]
    equal(seen[:20], [UNKNOWN] * 20, "replies")
    equal(seen[20], VIOLATION, "the last one (REP-064)")
    assert peer.ended()


@case(Site("http", policy="enforce"))
def other_protocols_are_turned_away(t, site):
    """PRX-052."""
    server = t.mx(site)
    for first in (b"GET / HTTP/1.1\r\nHost: mx\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"):
        peer = t.client(site)
        equal(peer.reply().code, 220, "greeting")
        peer.send(first)
        replies = [peer.reply(), peer.reply()]
        codes = [r.code for r in replies if r.lines]
        assert codes in ([500, 421], [421], []), replies
    server.wait_idle()
    equal(server.received("GET", "Host"), [], "what the MX saw")


@case(Site("local", policy="enforce"), only=ONCE)
def vrfy_help_and_noop_are_answered_here(t, site):
    """SMTP-010, SMTP-011, TC-GW-19: they carry addresses to a server not yet judged."""
    server = t.mx(site)
    peer = t.ready(site)
    equal([peer.cmd(c).code for c in ("VRFY user@local.test", "HELP", "NOOP x", "RSET")],
          [252, 214, 250, 250], "replies")
    peer.quit()
    server.wait_idle()
    equal(server.received("VRFY", "HELP", "NOOP"), [], "what the MX saw")


@case(Site("earlytalk", policy="enforce"), only=ONCE)
def an_early_client_waits_for_the_greeting(t, site):
    """SMTP-016."""
    sent = threading.Event()

    def late(connection, _line):
        sent.wait(20)
        return f"220 {connection.mx.host} late\r\n".encode()

    server = t.mx(site, steps={"GREETING": late})
    peer = t.client(site)
    peer.send(b"EHLO early.lab.test\r\n")
    sent.set()
    equal([peer.reply().code, peer.reply().code], [220, 250], "greeting, then EHLO")
    equal(server.connections[0].hello, b"EHLO early.lab.test", "EHLO at the MX")


@case(Site("again", policy="enforce"), only=ONCE)
def a_second_ehlo_clears_the_transaction(t, site):
    """SMTP-008."""
    server = t.mx(site)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope("user@again.test")], [250, 250], "envelope")
    equal(peer.cmd("EHLO again.lab.test").code, 250, "EHLO")
    equal(peer.cmd("DATA"), BAD_SEQUENCE, "DATA")
    peer.envelope("user@again.test")
    equal(peer.content(message(marker())).code, 250, "a transaction after it")
    equal(len(server.mailbox), 1, "mails")


@case(Site("reset", policy="enforce"), only=ONCE)
def rset_clears_the_transaction_on_both_legs(t, site):
    """SMTP-009."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("first@reset.test")
    equal(peer.cmd("RSET").code, 250, "RSET")
    equal(peer.cmd("DATA"), BAD_SEQUENCE, "DATA")
    peer.envelope("second@reset.test")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].recipients, [b"RCPT TO:<second@reset.test>"], "recipients")
    fields(t.recipients(site, 2)[0], outcome="failed")


@case(Site("literal", cert="self-signed"))
def a_literal_is_served_without_policy(t, site):
    """PRX-026, TC-TXT-30."""
    server = t.mx(site)
    peer = t.ready(site)
    address = site.address(t.family)
    literal = f"user@[{address}]" if t.family == 4 else f"user@[IPv6:{address}]"
    equal(peer.envelope(literal)[1].code, 250, "RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal((server.mailbox[0].recipients, server.mailbox[0].tls),
          ([f"RCPT TO:<{literal}>".encode()], "TLSv1.3"), "the mail")


@case(Site("postmaster", cert="self-signed"), only=ONCE)
def postmaster_needs_no_domain(t, site):
    """PRX-027."""
    server = t.mx(site)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope("postmaster", "PostMaster")], [250] * 3, "envelope")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].recipients, [b"RCPT TO:<postmaster>", b"RCPT TO:<PostMaster>"], "RCPT")


@case(Site("odd", policy="enforce"), Site("evil"), only=ONCE)
def the_domain_judged_is_the_domain_sent(t, site, _evil):
    """SMTP-021 ... SMTP-023: rebuilt from the parse."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.cmd("mail from:<A@b.test>  SIZE=10")
    lines = {'RCPT TO:<"a@evil.test>"@odd.test>': b'RCPT TO:<"a@evil.test>"@odd.test>',
             "rcpt to: <user@odd.test>": b"RCPT TO:<user@odd.test>",
             "RCPT TO:<@evil.test,@x.test:user@odd.test>": b"RCPT TO:<user@odd.test>",
             "RCPT TO:<user%evil.test@odd.test>   ": b"RCPT TO:<user%evil.test@odd.test>"}
    for line in lines:
        equal(peer.cmd(line).code, 250, line)
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].recipients, list(lines.values()), "recipients at the MX")
    equal({r["domain"] for r in t.recipients(site, 4)}, {"odd.test"}, "domains judged")


LOOK_ALIKES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
               b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n\0.\0\n", b"\r\0\n.\r\n",
               b"\r\n.\r\0\n"]
SMUGGLED = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@smuggled.test>\r\nDATA\r\nevil text"


@case(Site("smuggled", policy="enforce"), core=True)
def look_alikes_of_the_end_of_data_are_refused(t, site):
    """SMTP-043, SMTP-044: even a careless MX gets no second transaction and completes no first."""
    server = t.mx(site, careless=True)
    for sequence in LOOK_ALIKES:
        peer = t.ready(site)
        peer.envelope("user@smuggled.test")
        equal(peer.content(b"first" + sequence + SMUGGLED), BARE_NEWLINE, repr(sequence))
        equal(peer.cmd("NOOP"), LOST, f"the next command after {sequence!r}")
        peer.close()
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    equal([len(c.lines("MAIL")) for c in server.connections], [1] * len(LOOK_ALIKES), "MAILs")
    equal(server.received("evil", "victim"), [], "what the MX saw")


@case(Site("smuggledslow", policy="enforce"), only=ONCE)
def look_alikes_are_refused_at_every_split(t, site):
    server = t.mx(site, careless=True)
    count = 0
    for sequence in LOOK_ALIKES:
        whole = b"x" + sequence + b"y\r\n.\r\n"
        for at in range(1, 1 + len(sequence)):
            peer = t.ready(site)
            peer.envelope("user@smuggledslow.test")
            equal(peer.cmd("DATA").code, 354, "DATA")
            peer.send(whole[:at])
            peer.send(whole[at:])
            equal(peer.reply(), BARE_NEWLINE, f"{sequence!r} split at {at}")
            peer.close()
            count += 1
    server.wait_idle()
    equal((server.mailbox, len(server.connections)), ([], count), "mails, connections")


@case(Site("barelf", policy="enforce"), only=ONCE)
def bare_newlines_away_from_a_dot_are_content(t, site):
    """SMTP-043, -046: every octet passes."""
    server = t.mx(site)
    peer = t.ready(site)
    bodies = [b"a\nb\rc\r\n\n\r\nd", bytes(range(32)) + bytes(range(127, 256)) + b"\r\nx",
              b"x\n..\ny", b"x\n.y"]
    for body in bodies:
        peer.envelope("user@barelf.test")
        equal(peer.content(body).code, 250, body[:20])
    equal([m.content for m in server.mailbox], bodies, "contents")
