"""Extensions: CHUNKING, SMTPUTF8, and what an MX lists before and under TLS."""

import contextlib
import pathlib
import re
import socket
import threading

from case import ONCE, case, equal, fields
from world import Site

CHUNKING = ("PIPELINING", "CHUNKING", "BINARYMIME")
GONE = "451 4.3.0 Destination no longer offers a requested extension"


def behind_mail(connection, _line):
    """A step of MAIL: its reply comes when three recipients are there already."""
    connection.wait_for(b"RCPT TO", 3)
    return b"250 2.1.0 OK\r\n"


def peak_kib(pid):
    """The most memory that the process ever had."""
    return int(re.search(r"VmHWM:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def chunk(octets, last=False):
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets


@case(Site("bdat", policy="enforce"), core=True)
def chunks_pass_octet_for_octet(t, site):
    """CHNK-003, CHNK-005, CHNK-014, TC-GW-07: pipelined, and one octet at a time."""
    server = t.mx(site, keywords=CHUNKING)
    octets = bytes(range(256)) + b"\r\n.\r\nRCPT TO:<victim@evil.test>\r\n"
    peer = t.client(site)
    equal(peer.greet().lines, [f"250-{site.mx}"] + ["250-" + w for w in CHUNKING[:2]]
          + ["250 BINARYMIME"], "EHLO")
    group = (b"MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<user@bdat.test>\r\n"
             + chunk(octets) + chunk(b"") + chunk(b"end", last=True))
    peer.send(group)
    equal([peer.reply().code for _ in range(5)], [250] * 5, "replies")
    peer.send_slowly(group)
    equal([peer.reply().code for _ in range(5)], [250] * 5, "replies, one octet at a time")
    equal([m.content for m in server.mailbox], [octets + b"end"] * 2, "contents")
    equal({m.tls for m in server.mailbox}, {"TLSv1.3"}, "TLS")
    peer.quit()
    equal([r["outcome"] for r in t.recipients(site, 2)], ["delivered"] * 2, "records")


@case(Site("bigbdat", policy="enforce"), only=ONCE)
def a_large_chunk_waits_for_its_verdict(t, site):
    """CHNK-013: 64 MiB pipelined behind the recipient; memory stays small, which the gateway's limits see to."""
    server = t.mx(site, keywords=CHUNKING)
    octets = bytes(range(256)) * 4096 * 64
    peer = t.ready(site)
    peer.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<user@bigbdat.test>\r\n" + chunk(octets, last=True))
    equal([peer.reply().code for _ in range(3)], [250] * 3, "replies")
    assert server.mailbox[0].content == octets, "the content differs"


@case(Site("bdatno", policy="enforce", cert="self-signed"), only=ONCE)
def refused_chunks_are_read_away(t, site):
    """CHNK-004, CHNK-006, CHNK-007: nothing of it upstream; EXT-004: nor any other mail."""
    server = t.mx(site, keywords=CHUNKING)
    peer = t.ready(site)
    peer.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<user@bdatno.test>\r\n" + chunk(b"secret" * 200000)
              + chunk(b"secret", last=True) + b"RSET\r\n")
    equal([peer.reply().code for _ in range(5)], [250, 451, 554, 503, 250], "replies")
    peer.quit()
    server.wait_idle()
    equal(server.received("secret", "BDAT ", "MAIL"), [], "what the MX saw")
    equal((server.mailbox, len(server.connections)), ([], 1), "mails, connections")


@case(Site("bdatcut", policy="enforce"), only=ONCE)
def a_client_that_leaves_completes_no_chunk(t, site):
    """CHNK-011."""
    server = t.mx(site, keywords=CHUNKING)
    peer = t.ready(site)
    peer.envelope("user@bdatcut.test")
    peer.send(b"BDAT 100 LAST\r\n" + b"x" * 99)
    server.wait(lambda mx: mx.received("x" * 99), "the octets")
    peer.cut()
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    fields(t.recipients(site, 1)[0], outcome="failed")


@case(Site("bdatgone", policy="enforce"), only=ONCE)
def chunking_that_is_gone_under_tls(t, site):
    """PRX-032, TC-GW-22."""
    server = t.mx(site, keywords=CHUNKING, keywords_tls=("PIPELINING",))
    peer = t.ready(site)
    equal([r.code for r in peer.envelope("user@bdatgone.test")], [250, 250], "envelope")
    peer.send(chunk(b"text", last=True))
    equal(peer.reply(), GONE, "BDAT")
    peer.quit()
    server.wait_idle()
    equal(server.received("BDAT ", "text"), [], "what the MX saw")


@case(Site("xn--bcher-kva", policy="enforce"), only=ONCE)
def an_international_domain_is_judged_by_its_alabels(t, site):
    """EXT-005: the address goes on as it came."""
    server = t.mx(site, keywords=("SMTPUTF8", "8BITMIME"))
    peer = t.ready(site)
    peer.send("MAIL FROM:<jürgen@b.test> SMTPUTF8\r\n")
    equal(peer.reply().code, 250, "MAIL")
    peer.send("RCPT TO:<ü@Bücher.test>\r\n")
    equal(peer.reply().code, 250, "RCPT")
    equal(peer.content(b"Subject: x").code, 250, "end of data")
    equal(server.mailbox[0].recipients, ["RCPT TO:<ü@Bücher.test>".encode()], "recipient")
    fields(t.recipients(site, 1)[0], domain=site.domain, outcome="delivered")


@case(Site("trulist", policy="enforce"), only=ONCE)
def the_next_session_is_shown_the_true_list(t, site):
    """PRX-029, PRX-032, TC-GW-22, TC-TLS-07: what was forged in clear makes nobody bounce; one worker tells the others."""
    t.mx(site, keywords=("SIZE 1", "DSN"), keywords_tls=("SIZE 5000000", "SMTPUTF8", "8BITMIME"))
    true = [f"250-{site.mx}", "250-SIZE", "250-SMTPUTF8", "250 8BITMIME"]
    peer = t.client(site)
    equal(peer.greet().lines, [f"250-{site.mx}", "250-SIZE", "250 DSN"], "EHLO of the first session")
    equal(peer.cmd("MAIL FROM:<a@b.test> RET=HDRS SIZE=1000000").code, 250, "MAIL")
    equal(peer.cmd("RCPT TO:<user@trulist.test>"), GONE, "RCPT")
    equal(peer.cmd("EHLO client.lab.test").lines, [true[0], "250-SIZE 5000000", *true[2:]], "EHLO under TLS")
    peer.quit()
    t.recipients(site, 1)
    for session in range(12):
        peer = t.client(site)
        equal(peer.greet().lines, true, f"EHLO of session {session} after it")
        if session < 11:
            peer.quit()
    peer.cmd("MAIL FROM:<a@b.test> SMTPUTF8 SIZE=1000000")
    equal(peer.cmd("RCPT TO:<user@trulist.test>").code, 250, "RCPT")


GROUP = (b"MAIL FROM:<a@b.test>\r\n" + b"".join(b"RCPT TO:<u%d@grouped.test>\r\n" % n for n in range(3))
         + b"DATA\r\n")


@case(Site("grouped", policy="enforce"), core=True)
def a_group_goes_upstream_as_one(t, site):
    """PIPE-002, PIPE-007: MAIL and its recipients in one write, DATA after their replies."""
    server = t.mx(site, steps={"MAIL": behind_mail})
    peer = t.ready(site)
    for _ in range(2):
        peer.send(GROUP)
        equal([peer.reply().code for _ in range(5)], [250] * 4 + [354], "replies")
        peer.send(b"text\r\n.\r\n")
        equal(peer.reply().code, 250, "end of data")
    equal([len(m.recipients) for m in server.mailbox], [3, 3], "recipients")


@case(Site("ungrouped", policy="enforce"), only=ONCE)
def an_mx_without_pipelining_hears_one_command_at_a_time(t, site):
    """PIPE-007, PRX-032: PIPELINING was listed in clear only."""
    early = []

    def step(connection, _line):
        connection.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            early.append(connection.sock.recv(1))
        connection.sock.settimeout(60)
        return b"250 2.0.0 OK\r\n"

    server = t.mx(site, keywords_tls=("DSN",), steps={"MAIL": step, "RCPT": step})
    peer = t.ready(site)
    peer.send(GROUP.replace(b"grouped", b"ungrouped"))
    equal([peer.reply().code for _ in range(5)], [250] * 4 + [354], "replies")
    peer.send(b"text\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")
    equal((early, len(server.mailbox[0].recipients)), ([], 3), "what came too early, recipients")


@case(Site("unit"), only=ONCE)
def replies_come_at_once_and_as_a_unit(t, site):
    """PIPE-004, PIPE-005, PIPE-006: none waits for the next command; those of one write come in one."""
    t.mx(site)
    peer = t.ready(site)
    for line in ("NOOP", "VRFY x", "WHAT", "HELP", "RSET"):
        assert peer.cmd(line).code, line  # nothing follows it
    peer.send(b"RSET\r\nMAIL FROM:<a@b.test>\r\nRSET\r\nMAIL FROM:<a@b.test>\r\n")
    equal(peer.sock.recv(65536).count(b"\r\n"), 4, "replies in one read")


@case(Site("slow-data", policy="enforce"), only=ONCE)
def a_reply_does_not_wait_for_a_slow_one(t, site):
    """PIPE-004, PIPE-006: the MX says nothing to DATA until the client has its replies to the group."""
    go = threading.Event()

    def slow(connection, line):
        del line
        assert go.wait(20), "the client has no replies"
        connection.send(b"354 Go on\r\n")
        connection.read_content()
        return b"250 2.0.0 OK\r\n"

    t.mx(site, steps={"DATA": slow})
    peer = t.ready(site)
    peer.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@slow-data.test>\r\nDATA\r\n")
    equal([peer.reply().code for _ in range(2)], [250, 250], "replies before that to DATA")
    go.set()
    equal(peer.reply().code, 354, "DATA")
    peer.send(b"text\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")


@case(Site("wide"), only=ONCE)
def a_wide_group_does_not_lock(t, site):
    """PIPE-009: more commands and replies than any socket holds, each side busy with writing."""
    reply = b"250-" + b"y" * 900 + b"\r\n"
    t.mx(site, keywords=("PIPELINING", "DSN"), steps={"RCPT": reply * 20 + b"250 2.1.5 OK\r\n"})
    peer = t.ready(site)
    count = 300
    peer.send(b"MAIL FROM:<a@b.test>\r\n" + b"".join(
        b"RCPT TO:<u%d@wide.test> ORCPT=rfc822;%s\r\n" % (n, b"x" * 4000) for n in range(count))
        + b"DATA\r\n")
    equal([peer.reply().code for _ in range(count + 2)], [250] * (count + 1) + [354], "replies")
    peer.send(b"x\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")


@case(Site("long-line"), only=ONCE)
def a_long_line_takes_no_memory(t, site):
    """SMTP-045: 64 MiB in one line, to an MX that reads nothing at first."""
    go = threading.Event()

    def read(connection, line):
        del line
        connection.send(b"354 Go on\r\n")
        go.wait(30)
        content = connection.read_content()
        connection.mx.sizes = [len(content), content[:2]]
        return b"250 2.0.0 OK\r\n"

    server = t.mx(site, steps={"DATA": read})
    peer = t.ready(site)
    peer.envelope("user@long-line.test")
    equal(peer.cmd("DATA").code, 354, "DATA")
    sender = threading.Thread(target=peer.send, args=(b"x" * (64 << 20) + b"\r\n.\r\n",), daemon=True)
    sender.start()
    sender.join(1)
    assert sender.is_alive(), "there is no back-pressure"
    go.set()
    equal(peer.reply().code, 250, "end of data")
    equal(server.sizes, [64 << 20, b"xx"], "what came")
    peak = max(peak_kib(pid) for pid in t.gateway.children("stsgate-worker"))
    assert peak < 48 << 10, f"a worker took {peak} KiB"


@case(Site("deaf"), only=ONCE)
def a_client_that_does_not_read_holds_its_mx_up(t, site):
    """PIPE-009, SMTP-045: 3 MB of replies to one group; none is lost, and no more than a few wait in the gateway."""
    reply = b"".join(b"250-" + b"y" * 900 + b"\r\n" for _ in range(66))
    server = t.mx(site, steps={"RCPT": reply + b"250 2.1.5 OK\r\n"})
    peer = t.ready(site)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    count = 51
    peer.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@deaf.test>\r\n")
    equal([peer.reply().code for _ in range(2)], [250, 250], "the first")
    peer.send(b"RCPT TO:<u@deaf.test>\r\n" * (count - 1) + b"DATA\r\n")
    server.wait(lambda mx: len(mx.connections[0].lines("RCPT")) > 10, "some recipients")
    equal([peer.reply().code for _ in range(count)], [250] * (count - 1) + [354], "replies")
