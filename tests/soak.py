#!/usr/bin/env python3
"""Endurance: soak.py --build DIR [--seconds N] [--slow N] [--seed N] [--out FILE]

Clients send mails of mixed sizes, some die in the middle; others hold sessions open and say next to nothing. Meanwhile
the gateway is reloaded and its records rotated every 10 s, and one fault follows the other: the MX is killed (its
connections are reset) or stopped; DNS, policy host, a worker, the policy process are stopped; the policy process is
killed; a worker gets no more descriptors, or no more memory; the disk of the records is full; the wall clock jumps an hour
ahead or back. In the last sixth there are no reloads, so that the same processes are seen for a while.

At the end every mail that a client was told accepted must be at the MX and have its record, no record may be lost, and memory
and descriptors of all processes must be where they were. 120 s unless --seconds says 1800, or 28800. --out FILE: the table, as
Markdown, and beside it the samples (.json). The last line counts; exit status 1: something failed."""

import argparse
import collections
import contextlib
import ctypes
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lab"))

import cases_loss  # noqa: E402
import lab  # noqa: E402
import run  # noqa: E402
import soak_watch as watch  # noqa: E402
import world  # noqa: E402
from case import Trial  # noqa: E402

SITE = world.Site("soak", policy="enforce")
QUIET = world.Site("soak-slow")
CLIENTS = 6
RELOAD_S, OUTAGE_S = 10, 3
SLOW_PER_S = 40              # new slow sessions at most
JUMP_S = 3600
DISK_MIB = 64
MAILS_MAX = 1_000_000
CLONE_NEWNS = 0x20000
# Growth that is still flat, per process: KiB of memory; and of all descriptors of a kind.
FLAT = {"supervisor": (1024, 8), "worker": (8192, 64), "policy": (8192, 64), "status": (8192, 8)}


class SlowClients(threading.Thread):
    """Sessions that are held open by an octet now and then, until the gateway ends them."""

    def __init__(self, t, count, ended):
        super().__init__(daemon=True)
        self.t, self.ended = t, ended
        self.held, self.served, self.most = [None] * count, 0, 0

    def turn(self, number):
        try:
            if self.held[number] is None:
                self.held[number] = self.t.lab.socket("client", self.t.family)
                self.held[number].setblocking(False)
                self.held[number].connect_ex((QUIET.address(self.t.family), 25))
                self.served += 1
                return
            with contextlib.suppress(BlockingIOError):
                if not self.held[number].recv(4096):
                    raise OSError("ended")
            self.held[number].send(b"N")
        except OSError:
            if self.held[number] is not None:
                self.held[number].close()
            self.held[number] = None

    def run(self):
        number = 0
        while not self.ended.wait(1 / SLOW_PER_S):
            number = (number + 1) % len(self.held)
            self.turn(number)
            self.most = max(self.most, sum(one is not None for one in self.held))
        for one in filter(None, self.held):
            one.close()


@contextlib.contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


class Reloads(threading.Thread):
    """A rotation of the records and a reload every 10 s, until it is told to stop."""

    def __init__(self, gateway, records, faults):
        super().__init__(daemon=True)
        self.gateway, self.records, self.faults = gateway, records, faults
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(RELOAD_S):
            self.records.move()
            done = self.gateway.command("reload")
            self.faults["reload" if done.returncode == 0 else "reload, no word or a refusal"] += 1
            if done.returncode != 0:
                print(f"reload: {done.stderr.strip()[:200]}", flush=True)


class Trouble:
    """One fault after the other, until the time is up."""

    def __init__(self, t, server, dice, faults, disk, clock):
        self.t, self.server, self.dice, self.faults = t, server, dice, faults
        self.disk, self.clock = disk, clock
        self.kinds = {"mx killed": server.kill, "mx stalls": lambda: self.outage(server.process),
                      "dns out": lambda: self.outage(t.dns.nsd),
                      "policy host out": lambda: self.outage(t.web.nginx),
                      "policy process killed":
                          lambda: cases_loss.kill_one_of(t, "stsgate-policy", dice),
                      "worker stopped": lambda: self.stop_one("stsgate-worker"),
                      "policy process stopped": lambda: self.stop_one("stsgate-policy"),
                      "no descriptors": lambda: self.limit(resource.RLIMIT_NOFILE, self.fds_of),
                      "no memory": lambda: self.limit(resource.RLIMIT_AS, self.size_of),
                      "disk full": self.fill, "clock jumps": self.jump}

    def outage(self, process):
        with stopped(process):
            time.sleep(OUTAGE_S)

    def one_of(self, program):
        running = self.t.gateway.children(program)
        return self.dice.choice(running) if running else None

    def stop_one(self, program):
        pid = self.one_of(program)
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(OUTAGE_S)
            os.kill(pid, signal.SIGCONT)

    @staticmethod
    def fds_of(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    @staticmethod
    def size_of(pid):
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * watch.PAGE_KIB * 1024

    def limit(self, what, now):
        """A worker may not have more of it than it has now, for a while."""
        pid = self.one_of("stsgate-worker")
        with contextlib.suppress(OSError, TypeError):
            before = resource.prlimit(pid, what)
            resource.prlimit(pid, what, (now(pid), before[1]))
            time.sleep(OUTAGE_S)
            resource.prlimit(pid, what, before)

    def fill(self):
        path = self.disk / "filler"
        with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 16))
        time.sleep(OUTAGE_S)
        path.unlink()

    def jump(self):
        self.clock.set(self.dice.choice((-JUMP_S, JUMP_S)))
        time.sleep(OUTAGE_S)
        self.clock.set(0)

    def go_on_until(self, end, sample):
        kinds = []
        while time.monotonic() < end:
            kinds = kinds or self.dice.sample(sorted(self.kinds), len(self.kinds))
            kind = kinds.pop()
            self.kinds[kind]()
            self.faults[kind] += 1
            sample()
            time.sleep(self.dice.uniform(0.2, 1.0))


class Clock:
    """The gateway's wall clock: clock_shift.c, preloaded."""

    def __init__(self, build, folder):
        self.library = (build / "tests" / "libclock_shift.so").resolve()
        self.path = folder / "clock"
        self.set(0)

    def set(self, seconds):
        with open(self.path, "r+b" if self.path.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("q", seconds))

    @contextlib.contextmanager
    def preloaded(self):
        os.environ.update(LD_PRELOAD=str(self.library), CLOCK_SHIFT=str(self.path))
        try:
            yield
        finally:
            for name in ("LD_PRELOAD", "CLOCK_SHIFT"):
                del os.environ[name]


def small_disk(folder):
    """A file system of its own, in a mount namespace of ours that ends with us."""
    disk = folder / "disk"
    disk.mkdir()
    lab.run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(disk))
    return disk


def own_mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise lab.LabError("no mount namespace")
    lab.run("mount", "--make-rprivate", "/")


def set_up(t, build, slow):
    """Returns the small disk and the clock of the gateway, which is started anew for both."""
    disk, clock = small_disk(t.lab.folder), Clock(build, t.lab.folder)
    t.gateway.record_file = disk / "records.msgpack"
    t.gateway.configure(f'record_file = "{disk}/records.msgpack"\nlog_level = "info"\n'
                        f'status_listen = "127.0.0.1:9125"\nrecord_loss = "defer"\n'
                        f"client_sessions_max = {slow + 1000}")
    with clock.preloaded():
        t.gateway.restart()
    return disk, clock


def soak(t, options, dice):
    """Returns the table, what is wrong, and all samples."""
    disk, clock = set_up(t, options.build, options.slow)
    ended, outcomes, faults, samples = (threading.Event(), cases_loss.Outcomes(),
                                        collections.Counter(), [])
    server, records = cases_loss.Mx(t, SITE), watch.Records(t.gateway)
    server.start()
    server.wait()
    sink = t.lab.start("mx", str(options.build / "bench" / "stsgate-sink"), "--listen",
                       f"{QUIET.address(t.family)}:25")
    words = [(f"mail-{options.seed}-{i}-{n}" for n in range(MAILS_MAX)) for i in range(CLIENTS)]
    senders = [cases_loss.Sender(t, SITE, words[i], dice.random(), outcomes, ended)
               for i in range(CLIENTS)]
    slow, reloads = SlowClients(t, options.slow, ended), Reloads(t.gateway, records, faults)
    begun = time.monotonic()
    trouble = Trouble(t, server, dice, faults, disk, clock)

    def take():
        samples.append(watch.sample(t.gateway, begun))

    for thread in (*senders, slow, records, reloads):
        thread.start()
    try:
        trouble.go_on_until(begun + options.seconds * 5 / 6, take)
        reloads.ended.set()
        reloads.join()
        steady = len(samples)
        trouble.go_on_until(begun + options.seconds, take)
    finally:
        reloads.ended.set()
        ended.set()
        for thread in (*senders, slow):
            thread.join(60)
    status = t.gateway.stop()
    records.finish()
    t.lab.stop(sink, signal.SIGTERM)
    t.lab.stop(server.process, signal.SIGTERM)
    table, wrong = judge(t, server, outcomes, faults, records, slow, senders)
    more, flat = judge_growth(samples, steady)
    return table + more, wrong + flat + ([("exit status", status)] if status else []), samples


def told_lost(t):
    """What a process that ended did not get rid of, and what was too large for a record. (A file that does not
    take a record for now says records-lost, too, and is offered it again.)"""
    return [line for line in t.gateway.read_log().splitlines()
            if "event=records-lost bytes=" in line or "event=record-lost" in line]


def judge(t, server, outcomes, faults, records, slow, senders):
    taken = server.taken()
    lost = [word for word, told in outcomes.accepted.items() if taken[word] < told]
    twice = [word for word, there in taken.items()
             if there > outcomes.accepted[word] + outcomes.uncertain[word]]
    accepted, queued = sum(outcomes.accepted.values()), sum(taken.values())
    delivered, complaints = records.outcomes["delivered"], told_lost(t)
    deaths = [line for line in t.gateway.read_log().splitlines()
              if "event=child-exited" in line and "level=error" in line
              and not ("child=policy" in line and "signal=9" in line)]
    spared = faults["mx killed"] * CLIENTS  # taken, and the MX was killed before it said so
    table = [("mails accepted, as the clients heard", accepted), ("mails in the MX's queue", queued),
             ("records of mails that the MX took", delivered),
             ("attempts refused or cut", outcomes.refused + outcomes.cut),
             ("slow sessions", slow.served), ("slow sessions at a time", slow.most),
             *sorted(faults.items()),
             ("false 250", len(lost)), ("more copies than attempts", len(twice)),
             ("records of sessions", records.events["session"]),
             ("pieces of records, which a full disk cut", records.cut),
             ("records told lost", len(complaints)), ("processes that died by themselves", len(deaths))]
    checks = [("a mail that a client heard 250 for is lost", lost[:5]),
              ("a mail is there more often than it was sent", twice[:5]),
              ("a process died", deaths[:5]),
              ("a record is lost of which nothing is told", delivered + len(complaints) < accepted),
              ("a mail in the queue has no record", delivered + len(complaints) + spared < queued),
              ("a record is lost, and not for want of memory",
               [line for line in complaints if "reason=no-memory" not in line][:5]),
              ("a record without a mail", delivered > queued),
              ("records cannot be read", records.errors[:5]),
              ("no reload was done", not faults["reload"]),
              ("nothing was sent", not accepted),
              ("a client failed", [str(s.error) for s in senders if s.error])]
    return table, [(what, seen) for what, seen in checks if seen]


def judge_growth(samples, steady):
    """Over all of the time, and without reloads."""
    table, wrong = [], []
    for kind, (kib, fds) in FLAT.items():
        for when, part in (("", samples), (" without reloads", samples[steady:])):
            memory, descriptors = (watch.growth(part, kind, what) for what in ("kib", "fds"))
            table += [(f"{kind}: memory, growth in KiB{when}", memory),
                      (f"{kind}: descriptors, growth{when}", descriptors)]
            if memory > kib:
                wrong.append((f"memory of {kind} grew{when}", memory))
            if descriptors > fds and not (when == "" and kind != "supervisor"):
                wrong.append((f"descriptors of {kind} grew{when}", descriptors))
        table += [(f"{kind}: largest memory in KiB", max(one[kind]["kib"] for one in samples)),
                  (f"{kind}: most descriptors", max(one[kind]["fds"] for one in samples)),
                  (f"{kind}: most processes", max(one[kind]["count"] for one in samples))]
    return table, wrong


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where stsgate was built")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--slow", type=int, default=200, help="sessions that say next to nothing")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 32))
    parser.add_argument("--out", type=pathlib.Path, help="the table, as Markdown; the samples beside it")
    options = parser.parse_args()
    options.long = False
    return options


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, run.on_signal)
    reason = lab.why_not_here()
    if reason:
        print(f"skipped: {reason}\n0 passed, 0 failed, 1 skipped")
        return 0
    folder = lab.run_folder()
    try:
        own_mounts()
        world.number_sites([SITE, QUIET])
        materials = run.Materials(folder, [SITE, QUIET])
        with run.World(materials, folder, "tproxy", 4, options) as up:
            table, wrong, samples = soak(Trial(up), options, random.Random(options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [f"| {name} | {value} |" for name, value in
             [("seconds", options.seconds), ("seed", options.seed), *table]]
    text = "\n".join(["| | |", "|---|---|", *lines, ""])
    print(text)
    if options.out:
        options.out.write_text(f"# Soak, {options.seconds} s\n\n{text}")
        options.out.with_suffix(".json").write_text(json.dumps(
            {"table": dict(table), "wrong": [str(one) for one in wrong], "samples": samples}))
    for what, seen in wrong:
        print(f"FAIL {what}: {seen}")
    print(f"{int(not wrong)} passed, {int(bool(wrong))} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
