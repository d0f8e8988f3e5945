"""Mails beyond any memory: made as they are sent, hashed as they arrive. A gigabyte with --long, else a little."""

import hashlib

from case import ONCE, case, equal
from cases_extensions import peak_kib
from world import Site

MIB = 1 << 20
SHORT_MIB, LONG_MIB = 32, 1024
WORKER_MAX_KIB = 48 << 10
LINE = b"%07d some words of a mail that nobody will read, and no two lines of it are the same\r\n"


def text(mib):
    """About so many MiB in pieces of about one, no two the same."""
    lines = MIB // len(LINE % 0)
    for piece in range(mib):
        yield b"".join(LINE % (piece * lines + n) for n in range(lines))


def hashing(connection, _line):
    """A step of DATA: takes the text, and keeps its length and hash."""
    connection.send(b"354 Go on\r\n")
    tail, digest, size = connection.take_all(), hashlib.sha256(), 0
    while not tail.endswith(b"\r\n.\r\n"):
        data = connection.sock.recv(MIB)
        if not data:
            return b""
        digest.update(tail[:-5])
        size += len(tail[:-5])
        tail = tail[-5:] + data
    digest.update(tail[:-5])
    connection.mx.taken = (size + len(tail[:-5]), digest.hexdigest())
    return b"250 2.0.0 OK\r\n"


@case(Site("gigabyte", policy="enforce"), only=ONCE)
def a_huge_mail_takes_no_memory(t, site):
    """SMTP-045, E7: every octet arrives, and no worker grows by it."""
    server, digest, size = t.mx(site, steps={"DATA": hashing}), hashlib.sha256(), 0
    peer = t.ready(site)
    peer.envelope("user@gigabyte.test")
    equal(peer.cmd("DATA").code, 354, "DATA")
    for piece in text(LONG_MIB if t.long else SHORT_MIB):
        digest.update(piece)
        size += len(piece)
        peer.send(piece)
    peer.send(b"\r\n.\r\n")
    equal(peer.reply().code, 250, "end of data")
    equal(server.taken, (size, digest.hexdigest()), "length and SHA-256 at the MX")
    peak = max(peak_kib(pid) for pid in t.gateway.children("stsgate-worker"))
    assert peak < WORKER_MAX_KIB, f"a worker took {peak} KiB"


@case(Site("hugechunk", policy="enforce"), only=ONCE)
def a_chunk_of_four_gigabytes_is_announced_as_it_is(t, site):
    """CHNK-002, CHNK-011, E8: lengths beyond 32 bits of sign and value; what does not come of them completes nothing."""
    server = t.mx(site, keywords=("PIPELINING", "CHUNKING"))
    lengths = (2**31, 2**32 - 1, 2**32, 2**63 - 1)
    for length in lengths:
        peer = t.ready(site)
        peer.envelope("user@hugechunk.test")
        peer.send(b"BDAT %d LAST\r\n" % length + b"octets")
        server.wait(lambda mx: mx.received("octets") and mx.connections[-1].lines("BDAT"), "the octets")
        peer.cut()
        server.wait_idle()
        equal(server.connections[-1].lines("BDAT"), [b"BDAT %d LAST" % length], "at the MX")
    equal((len(server.connections), server.mailbox), (len(lengths), []), "connections, mails")
    for length in (b"%d" % 2**63, b"%d" % 2**64, b"1" * 30, b"-1", b"+1", b"0x10", b"1e3"):
        peer = t.ready(site)
        peer.envelope("user@hugechunk.test")
        peer.send(b"BDAT " + length + b" LAST\r\nx")
        equal(peer.reply(), "501 5.5.4 Syntax error in parameters", length)
        assert peer.ended()
    server.wait_idle()
    equal([c.lines("BDAT") for c in server.connections[len(lengths):]], [[]] * 7, "chunks at the MX")
