"""Where records go: the file, Fluentd's forward protocol, and nowhere for a while
(FAULTS H1, G13)."""

import contextlib
import json
import pathlib
import subprocess
import time

import forward
from case import ONCE, case, configured, equal, marker, message, rcpt
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
    records = receiver.entries_seen() if isinstance(receiver, forward.NpmServer) else decoded(t, receiver.records)
    return sorted(r["record"] for r in records if r["event"] == "recipient" and r["domain"] == site.domain)


def forward_path(t, site):
    """A socket of the case's own: a worker of an earlier configuration may still have records for its own."""
    return t.gateway.folder / f"{site.name}.sock"


@case(Site("forwarded", policy="enforce"), only=ONCE)
def records_are_forwarded_as_they_are_written(t, site):
    """At least once, over a restart of the receiver; each record has its own id."""
    t.mx(site)
    path = forward_path(t, site)
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


@case(Site("forwardednpm", policy="enforce"), only=ONCE)
def a_receiver_of_somebody_else_understands_them(t, site):
    """npm's implementation of the protocol, with --long; without, ours stands in for it."""
    t.mx(site)
    path = forward_path(t, site)
    receiver = forward.NpmServer(path, t.lab.folder) if t.long else forward.Receiver(path)
    with configured(t, f'forward_to = "{path}"'):
        with receiver:
            for _ in range(5):
                equal(rcpt(t, site).code, 250, "RCPT")
            wait_for(lambda: len(received(t, receiver, site)) == 5, "five records")
        for _ in range(5):
            equal(rcpt(t, site).code, 250, "RCPT while nobody receives")
        with receiver:
            wait_for(lambda: len(set(received(t, receiver, site))) == 10, "ten records", 60)
            equal(sorted(set(received(t, receiver, site))), written(t, site), "the same records")


@case(Site("unheard", policy="enforce"), only=ONCE)
def a_receiver_that_is_silent_holds_up_no_mail(t, site):
    t.mx(site)
    path = forward_path(t, site)
    with configured(t, f'forward_to = "{path}"'), forward.Receiver(path, False) as receiver:
        for _ in range(5):
            equal(rcpt(t, site).code, 250, "RCPT")
        wait_for(lambda: receiver.messages, "a message")
        equal(rcpt(t, site).code, 250, "RCPT behind it")


def filed_by_now(t, begun):
    """What has come to the file since it was begun octets long, as it is: nobody waits."""
    with t.gateway.record_file.open("rb") as file:
        file.seek(begun)
        return file.read()


def outcomes_in(t, data, site):
    return [r["outcome"] for r in decoded(t, data)
            if r["event"] == "recipient" and r["domain"] == site.domain]


@case(Site("filedfirst", policy="enforce"), Site("refusedfirst", policy="enforce", cert="expired"), only=ONCE)
def a_record_is_filed_before_its_reply_leaves(t, site, bad):
    """docs/records.md: no client hears what a killed worker takes out of the records with it."""
    t.mx(site)
    t.mx(bad)
    good_peer, bad_peer = t.ready(site), t.ready(bad)
    for _ in range(30):
        begun = t.gateway.record_file.stat().st_size
        good_peer.envelope(f"one@{site.domain}", f"two@{site.domain}")
        reply = good_peer.content(message(marker()))
        found = filed_by_now(t, begun)
        equal(reply.code, 250, "end of data")
        equal(outcomes_in(t, found, site), ["delivered"] * 2, "at the reply to the end of data")
        begun = t.gateway.record_file.stat().st_size
        replies = bad_peer.envelope(f"user@{bad.domain}")
        found = filed_by_now(t, begun)
        equal(replies[1].code, 451, "RCPT")
        equal(outcomes_in(t, found, bad), ["refused"], "at the reply to RCPT")
        equal(bad_peer.cmd("RSET").code, 250, "RSET")


CROWD = 900  # recipients of one transaction: their records do not fit into a buffer of 1 MiB
STALL_S = 60


def crowd(t, site, count):
    """A transaction with so many recipients; their records wait in the one worker that has it. None of
    them may wait for a record."""
    peer = t.ready(site)
    replies = peer.envelope(*(f"user{n}@{site.domain}" for n in range(count)))
    equal({reply.code for reply in replies}, {250}, "MAIL and RCPTs")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()


def records_lost(t):
    """What the workers' sinks lost, as the operator is told."""
    return json.loads(t.gateway.command("status", "--json", check=True).stdout)["records_lost"]


def keep_sending(t, site):
    """With --long as long as a receiver may be away; a mail each second."""
    end = time.monotonic() + (STALL_S if t.long else 0)
    while True:
        equal(rcpt(t, site).code, 250, "RCPT while the receiver stands still")
        if time.monotonic() > end:
            return
        time.sleep(1)  # the case is about time that passes


@case(Site("stalled", policy="enforce"), only=ONCE)
def a_receiver_that_reads_nothing_costs_records_and_no_mail(t, site):
    """Issue 7, proof: what did not fit is counted, and what was kept arrives; together they are all."""
    t.mx(site)
    path = forward_path(t, site)
    with configured(t, f'forward_to = "{path}"\nforward_buffer = 1'), \
            forward.Receiver(path, reads=False) as receiver:
        crowd(t, site, CROWD)
        keep_sending(t, site)
        wait_for(lambda: len(written(t, site)) >= CROWD + 1, "all records in the file", 30)
        wait_for(lambda: records_lost(t), "losses to be told", 10)
        assert "reason=\"forward_buffer is full\"" in t.gateway.read_log(), "no word in the log"
        receiver.wake()

        def of_sessions(records):
            return {r["record"] for r in records if r["event"] in ("recipient", "session")}

        def missing():
            there, arrived = of_sessions(t.gateway.records(t.before)), of_sessions(decoded(t, receiver.records))
            assert arrived <= there, arrived - there
            return len(there) - len(arrived)

        wait_for(lambda: missing() == records_lost(t), "what arrived and what was lost to be all of them", 60)


@case(Site("stalldefer", policy="enforce"), only=ONCE)
def a_receiver_that_reads_nothing_stops_mail_where_the_site_says_so(t, site):
    """record_loss = defer: 421 before the buffer is full; nothing is lost, and mail flows again."""
    t.mx(site)
    path = forward_path(t, site)
    more = f'forward_to = "{path}"\nforward_buffer = 1\nrecord_loss = defer'
    with configured(t, more), forward.Receiver(path, reads=False) as receiver:
        crowd(t, site, CROWD // 2)

        def codes():
            """A new session may meet either worker; only one of them is full."""
            peer = t.ready(site)
            replies = peer.envelope(f"user@{site.domain}")
            peer.close()
            return [reply.code for reply in replies]

        wait_for(lambda: codes()[0] == 421, "a 421 to MAIL", 30)
        receiver.wake()
        wait_for(lambda: all(codes() == [250, 250] for _ in range(8)), "service again", 60)
        equal(records_lost(t), 0, "lost")
        wait_for(lambda: set(received(t, receiver, site)) >= set(written(t, site)), "all of them", 60)


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


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as out:
        while True:
            out.write(bytes(1024))


@case(Site("fulldisk", policy="enforce"), only=ONCE)
def a_full_disk_costs_records_and_no_mail(t, site):
    """FAULTS G13, without record_loss = defer."""
    t.mx(site)
    with small_disk(t) as (folder, seen):
        with configured(t, f'record_file = "{folder}/records.msgpack"'):
            fill(seen / "filler")
            for _ in range(6):
                equal(rcpt(t, site).code, 250, "RCPT while there is no room")
            wait_for(lambda: records_lost(t) >= 6, "losses to be told", 10)
            (seen / "filler").unlink()

            def recorded():
                rcpt(t, site)
                return [r for r in decoded(t, (seen / "records.msgpack").read_bytes())
                        if r["event"] == "recipient"]

            wait_for(recorded, "a record again", 30)


@case(Site("unrecorded", policy="enforce"), only=ONCE)
def nothing_passes_unrecorded_where_the_site_says_so(t, site):
    """A full disk: 421 to MAIL, nothing upstream; what was on its way is written later."""
    server = t.mx(site)
    with small_disk(t) as (folder, seen):
        records, filler = seen / "records.msgpack", seen / "filler"
        with configured(t, f'record_file = "{folder}/records.msgpack"\nrecord_loss = defer'):
            equal(rcpt(t, site).code, 250, "RCPT while there is room")
            peer = t.ready(site)
            fill(filler)
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
