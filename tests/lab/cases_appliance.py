"""What makes a gateway of the program: children without privileges (TC-OPS-09)."""

import contextlib
import os
import pathlib
import pwd

from case import ONCE, case, equal
from lab import wait_for
from world import Site

NOBODY = pwd.getpwnam("nobody")
CAP_NET_RAW = 1 << 13


def status(pid):
    """What the kernel says of a process, by name."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def deliver(t, site):
    peer = t.ready(site)
    replies = peer.envelope(f"user@{site.domain}")
    peer.quit()
    return [reply.code for reply in replies]


@contextlib.contextmanager
def as_nobody(t):
    """The gateway's children as another user, with a folder of that user's; afterwards as before."""
    own = t.lab.folder / "nobody"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    for folder in [*t.gateway.folder.parents, t.certificates.folder]:  # to be passed through
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    before, t.gateway.record_file = t.gateway.record_file, own / "records.msgpack"
    t.gateway.configure(f'user = "nobody"\nrecord_file = "{own}/records.msgpack"\n'
                        f'store_file = "{own}/policies.sqlite"\n'
                        f'tlsrpt_store_file = "{own}/reports.sqlite"')
    t.gateway.restart()
    try:
        yield own
    finally:
        t.gateway.record_file = before
        t.gateway.configure("")
        t.gateway.restart()


@case(Site("unprivileged", policy="enforce"), Site("impostor", policy="enforce", cert="wrong"),
      only=ONCE)
def children_of_root_become_the_user(t, site, bad):
    """User, capabilities, system calls; mail is enforced, records rotate, the store is kept."""
    t.mx(site)
    t.mx(bad)
    with as_nobody(t) as own:
        for program, capabilities in (("stsgate-worker", CAP_NET_RAW), ("stsgate-policy", 0)):
            for pid in t.gateway.children(program):
                found = status(pid)
                equal(set(found["Uid"] + found["Gid"]), {str(NOBODY.pw_uid)}, "its ids")
                equal(int(found["CapEff"][0], 16), capabilities, f"capabilities of {program}")
                equal(int(found["CapPrm"][0], 16), capabilities, "those it may take up again")
                equal(int(found["CapAmb"][0], 16), 0, "those that it would hand on")
                equal(found["NoNewPrivs"], ["1"], "no_new_privs")
                if "-asan" not in str(t.world.build):
                    equal(found["Seccomp"], ["2"], "system calls are filtered")
        equal(deliver(t, site), [250, 250], "MAIL and RCPT to a proven MX")
        equal(deliver(t, bad), [250, 451], "MAIL and RCPT to an impostor")
        records = own / "records.msgpack"
        equal(records.stat().st_uid, NOBODY.pw_uid, "the owner of the records")
        equal((own / "policies.sqlite").stat().st_uid, NOBODY.pw_uid, "the owner of the store")
        records.rename(own / "records.msgpack.1")
        t.gateway.reload()
        equal(deliver(t, site), [250, 250], "MAIL and RCPT after the rotation")
        wait_for(lambda: any(r.get("event") == "recipient" for r in t.gateway.records()),
                 "its record in the new file", 10)
        log = t.gateway.read_log()
        assert f"event=confined uid={NOBODY.pw_uid} capabilities=cap_net_raw" in log, log[-2000:]


@case(only=ONCE)
def a_user_who_is_not_there_stops_the_start(t):
    """And `config check` says so before."""
    t.gateway.configure('user = "stsgate-not-here"')
    try:
        done = t.gateway.command("config", "check")
        equal(done.returncode, 2, "config check")
        assert "no user stsgate-not-here" in done.stderr, done.stderr
        done = t.gateway.command("run")
        equal(done.returncode, 2, "run")
        assert "adduser --system" in done.stderr, done.stderr
    finally:
        t.gateway.configure("")
