"""Where records go: the file, Fluentd's forward protocol, and nowhere for a while (DESIGN 6, FAULTS
H1, G13)."""

import contextlib
import json
import pathlib
import subprocess

import forward
from case import ONCE, case, configured, equal, rcpt
from lab import run, wait_for
from world import Site


def decoded(t, data):
    """The records in these bytes, by `stsgate log`, which passes over one that a full disk tore."""
    done = subprocess.run([str(t.gateway.program), "log", "-"], input=data, capture_output=True,
                          timeout=30, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def written(t, site):
    """Ids of the recipient records of a site in the file."""
    return sorted(r["record"] for r in t.gateway.records(t.before)
                  if r["event"] == "recipient" and r["domain"] == site.domain)


def received(t, receiver, site):
    return sorted(r["record"] for r in decoded(t, receiver.records)
                  if r["event"] == "recipient" and r["domain"] == site.domain)


@case(Site("forwarded", policy="enforce"), only=ONCE)
def records_are_forwarded_as_they_are_written(t, site):
    """At least once, over a restart of the receiver; each record has its own id."""
    t.mx(site)
    path = t.gateway.folder / "forward.sock"
    with configured(t, f'forward_to = "{path}"'):
        with forward.Receiver(path) as receiver:
            for _ in range(5):
                equal(rcpt(t, site).code, 250, "RCPT")
            wait_for(lambda: len(received(t, receiver, site)) == 5, "five records")
        for _ in range(5):
            equal(rcpt(t, site).code, 250, "RCPT while nobody receives")
        wait_for(lambda: len(written(t, site)) == 10, "ten records in the file")
        with receiver:
            wait_for(lambda: len(set(received(t, receiver, site))) == 10, "ten records")
        equal(sorted(set(received(t, receiver, site))), written(t, site), "the same records")
        equal(len(decoded(t, receiver.records)), receiver.entries, "entries")


@case(Site("unheard", policy="enforce"), only=ONCE)
def a_receiver_that_is_silent_holds_up_no_mail(t, site):
    t.mx(site)
    path = t.gateway.folder / "forward.sock"
    with configured(t, f'forward_to = "{path}"'), forward.Receiver(path, False) as receiver:
        for _ in range(5):
            equal(rcpt(t, site).code, 250, "RCPT")
        wait_for(lambda: receiver.messages, "a message")
        equal(rcpt(t, site).code, 250, "RCPT behind it")


@contextlib.contextmanager
def small_disk(t):
    """A folder with room for little, as the gateway sees it, and the same as it is seen from here:
    its processes live in a mount namespace of their own."""
    folder = t.gateway.folder / "small"
    folder.mkdir(exist_ok=True)
    pid = str(t.gateway.process.pid)
    run("nsenter", "-m", "-t", pid, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder))
    try:
        yield folder, pathlib.Path(f"/proc/{pid}/root{folder}")
    finally:
        run("nsenter", "-m", "-t", pid, "umount", "-l", str(folder))


@case(Site("unrecorded", policy="enforce"), only=ONCE)
def nothing_passes_unrecorded_where_the_site_says_so(t, site):
    """A full disk: 421 to MAIL, nothing upstream; what was on its way is written later."""
    server = t.mx(site)
    with small_disk(t) as (folder, seen):
        records, filler = seen / "records.msgpack", seen / "filler"
        with configured(t, f'record_file = "{folder}/records.msgpack"\nrecord_loss = defer'):
            equal(rcpt(t, site).code, 250, "RCPT while there is room")
            peer = t.ready(site)
            with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as out:
                while True:
                    out.write(bytes(1024))
            equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT that nobody foresaw")
            peer.quit()

            def refused():
                """One more mail; each worker has to find out by itself that there is no room."""
                other = t.ready(site)
                replies = other.envelope(f"user@{site.domain}")
                other.close()
                return replies[0].code == 421

            wait_for(refused, "a 421 to MAIL")
            wait_for(lambda: server.connections[-1].over, "the end of its connection")
            assert b"MAIL" not in bytes(server.connections[-1].tls), "MAIL passed"
            filler.unlink()
            wait_for(lambda: not refused(), "service again")
            found = wait_for(lambda: [r for r in decoded(t, records.read_bytes())
                                      if r["event"] == "recipient"][1:], "the record that waited")
            equal(found[0]["domain"], site.domain, "its domain")
