#!/usr/bin/env python3
"""Endurance: soak.py --build DIR [--seconds N] [--slow N] [--seed N] [--out FILE] [--keep FOLDER]

Clients send mails of mixed sizes, some die in the middle; thousands hold sessions open and say next to nothing, or have
an MX that reads slowly (soak_slow.py). Meanwhile
the gateway is reloaded and its records rotated every 10 s, and one fault follows the other: the MX is killed (its
connections are reset) or stopped; DNS, policy host, a worker, the policy process are stopped; the policy process is
killed; a worker gets no more descriptors, or no more memory; the disk of the records is full; the wall clock jumps an hour
ahead or back. In the last sixth, at least, there are no reloads, so that the same processes are seen for a while.

At the end every mail that a client was told accepted must be at the MX and have its record, every session that heard a
greeting must have its record, none may be lost, and memory and descriptors of all processes must be where they were; with all
clients gone workers must hold as many descriptors as before the first. 120 s unless --seconds says 1800, or 28800. --out FILE: the table, as
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
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lab"))

import cases_loss  # noqa: E402
import gateway  # noqa: E402
import lab  # noqa: E402
import run  # noqa: E402
import soak_watch as watch  # noqa: E402
import world  # noqa: E402
from case import Trial  # noqa: E402

SITE = world.Site("soak", policy="enforce")
QUIET = [world.Site(f"soak-slow-{number}") for number in range(4)]
QUIET_TLS = world.Site("soak-slow-tls", policy="enforce")
SOURCES = [f"192.0.2.{number}" for number in range(101, 105)]
CLIENTS = 6
RELOAD_S, OUTAGE_S = 10, 3
SLOW_PER_S = 400             # new slow sessions at most
SINK_OCTETS_PER_S = 4000     # of a mail that a slow session's MX reads
JUMP_S = 3600
DISK_MIB = 256
REST_S = 60                  # until all that clients left behind is gone
DESCRIPTORS = 262144         # LimitNOFILE of the unit
MAILS_MAX = 1_000_000
CLONE_NEWNS = 0x20000
# Growth that is still flat: KiB of the largest process of a kind; descriptors of all of them. A worker's go with its
# sessions. The status process holds about 1.3 MiB for each of up to four generations. The policy process is killed every
# minute, so it is never old; and when the clock jumps back no signature of the lab's zones is valid, and thousands of questions that are
# asked again and again take what its allocator keeps: it has a bound instead.
FLAT = {"supervisor": (1024, 8), "worker": (8192, 256), "policy": (None, 64), "status": (6144, 8)}
POLICY_MOST_KIB = 256 * 1024
EXPLAINED = """
- *mails accepted* may be fewer than those in the queue: clients that were killed, or whose MX was killed behind the dot, never
  heard of it. *false 250*: accepted and not there. The queue, and the records of mails that the MX took, are to be the same.
- Faults (*clock jumps* to *worker stopped*) are counted; each lasts 3 s. *reload, no word or a refusal*: the command had no answer
  within a minute, or a no. A reload behind four generations waits until the oldest has ended, so there are fewer than one in 10 s.
- *pieces of records* are what a full disk left of a record; the whole record follows once there is room. *records lost and told*: gone, and
  the log says so.
- *slow sessions*: *sent away with 421* by reloads (their generation was hurried, or its time was over) or for want of descriptors; *cut without a
  word* where a worker had no memory; *ended before a greeting*, *not greeted*: at the start, for the same reasons. Their mails
  (*accepted*) are to be at their MXs. *sessions that heard a greeting* are to be no more than *records of sessions*.
- *growth* is from the second quarter's median to the last quarter's, of the largest process of a kind (memory) and of all of them (descriptors);
  *without reloads* is the last part of the run, where all sessions come together in one generation. *memory of all* counts
  shared pages once for each process. The policy process, which is killed every minute, is to stay below 256 MiB instead.
- *descriptors before, after all clients*: of all workers at rest.
"""
OUTLIVE_RELOADS = ("supervisor", "status")


class SlowClients:
    """Sessions that are held open by next to nothing (soak_slow.py), through the gateway to MXs that read slowly."""

    def __init__(self, t, options):
        self.t, self.count, self.told = t, options.slow, t.lab.folder / "slow.json"
        sink = str(options.build / "bench" / "stsgate-sink")
        clear, tls = [site.address(4) for site in QUIET], QUIET_TLS.address(4)
        cert, key = t.pair(QUIET_TLS)
        self.log = t.lab.folder / "sinks"
        slow = ("--slow", str(SINK_OCTETS_PER_S))
        self.sinks = [t.lab.start("mx", sink, *slow, *listen_to(clear), log=self.log),
                      t.lab.start("mx", sink, *slow, *listen_to([tls]), "--cert", str(cert),
                                  "--key", str(key), log=self.log)]
        for source in SOURCES:
            lab.run("ip", "-n", t.lab.space("client"), "addr", "add", f"{source}/24", "dev", "eth0")
        self.process = t.lab.start(
            "client", sys.executable, str(pathlib.Path(__file__).with_name("soak_slow.py")),
            "--from", ",".join(SOURCES), "--clear", ",".join(clear), "--tls", tls, "--count",
            str(self.count), "--per-second", str(SLOW_PER_S), "--life", str(life_s(self.count)),
            "--told", str(self.told), log=t.lab.folder / "slow.log")

    def heard(self):
        """What they have heard so far."""
        return collections.Counter(json.loads(self.told.read_text()) if self.told.exists() else {})

    def stop(self):
        """All hang up."""
        if self.t.lab.stop(self.process, signal.SIGTERM, 60) != 0:
            raise lab.LabError((self.t.lab.folder / "slow.log").read_text()[-2000:])

    def taken(self):
        """Ends the MXs; how many mails they took."""
        for sink in self.sinks:
            self.t.lab.stop(sink, signal.SIGTERM)
        return sum(json.loads(line)["mails"] for line in self.log.read_text().splitlines()
                   if line.startswith("{"))


def listen_to(addresses):
    return [word for address in addresses for word in ("--listen", f"{address}:25")]


def life_s(slow):
    """How long a slow session lives, so that there can be so many."""
    return max(20.0, slow / SLOW_PER_S * 2)


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
            try:
                self.gateway.command("reload", check=True)
                self.faults["reload"] += 1
            except subprocess.SubprocessError as error:
                self.faults["reload, no word or a refusal"] += 1
                print(f"reload: {error} {(error.stderr or '')[:200]}", flush=True)


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


def set_up(t, build):
    """Returns the small disk and the clock of the gateway, which is started anew for both."""
    disk, clock = small_disk(t.lab.folder), Clock(build, t.lab.folder)
    t.gateway.record_file = disk / "records.msgpack"
    t.gateway.configure(f'record_file = "{disk}/records.msgpack"\nlog_level = "info"\n'
                        f'status_listen = "127.0.0.1:9125"\nrecord_loss = "defer"\n'
                        "dns_cache_max = 86400\nrequirement_cache_max = 60\n")
    with clock.preloaded():
        t.gateway.restart()
    return disk, clock


def soak(t, options, dice):
    """Returns the table, what is wrong, and all samples."""
    disk, clock = set_up(t, options.build)
    ended, outcomes, faults, samples = (threading.Event(), cases_loss.Outcomes(),
                                        collections.Counter(), [])
    server, records = cases_loss.Mx(t, SITE), watch.Records(t.gateway)
    server.start()
    server.wait()
    words = [(f"mail-{options.seed}-{i}-{n}" for n in range(MAILS_MAX)) for i in range(CLIENTS)]
    senders = [cases_loss.Sender(t, SITE, words[i], dice.random(), outcomes, ended)
               for i in range(CLIENTS)]
    reloads, begun = Reloads(t.gateway, records, faults), time.monotonic()
    rest = [watch.sample(t.gateway, begun)]
    slow, trouble = SlowClients(t, options), Trouble(t, server, dice, faults, disk, clock)

    def take():
        samples.append({**watch.sample(t.gateway, begun), "held": slow.heard()["held"]})

    for thread in (*senders, records, reloads):
        thread.start()
    try:
        trouble.go_on_until(begun + options.seconds - steady_s(options), take)
        reloads.ended.set()
        reloads.join()
        steady = len(samples)
        trouble.go_on_until(begun + options.seconds, take)
    finally:
        reloads.ended.set()
        ended.set()
        for sender in senders:
            sender.join(60)
    slow.stop()
    rest.append(come_to_rest(t, begun))
    status = t.gateway.stop()
    records.finish()
    t.lab.stop(server.process, signal.SIGTERM)
    taken = slow.taken()
    table, wrong = judge(t, server, outcomes, faults, records, senders, taken)
    for more, bad in (judge_slow(slow, outcomes, records, samples, taken), judge_growth(samples, steady),
                      judge_rest(rest)):
        table, wrong = table + more, wrong + bad
    return table, wrong + ([("exit status", status)] if status else []), samples


def steady_s(options):
    """How long there are no reloads at the end: until older generations are gone, and as long again."""
    return max(options.seconds / 6, min(4 * life_s(options.slow), options.seconds / 2))


def come_to_rest(t, begun):
    """All clients are gone: so are all generations but one, and all sessions, before long."""
    sample = watch.sample(t.gateway, begun)
    with contextlib.suppress(lab.LabError):
        lab.wait_for(lambda: sum(len(t.gateway.children(f"stsgate-{kind}"))
                                 for kind in ("worker", "policy")) == gateway.WORKERS + 1,
                     "one generation", REST_S)
    deadline = time.monotonic() + REST_S
    while time.monotonic() < deadline:
        before, sample = sample, watch.sample(t.gateway, begun)
        if sample["worker"]["fds"] == before["worker"]["fds"]:
            break
        time.sleep(3)
    return sample


def told_lost(t):
    """What a process that ended did not get rid of, and what was too large for a record. (A file that does not
    take a record for now says records-lost, too, and is offered it again.)"""
    return [line for line in t.gateway.read_log().splitlines()
            if "event=records-lost bytes=" in line or "event=record-lost" in line]


def judge(t, server, outcomes, faults, records, senders, slow):
    """slow: mails of the slow clients that were delivered."""
    taken = server.taken()
    lost = [word for word, told in outcomes.accepted.items() if taken[word] < told]
    twice = [word for word, there in taken.items()
             if there > outcomes.accepted[word] + outcomes.uncertain[word]]
    accepted, queued = sum(outcomes.accepted.values()), sum(taken.values())
    delivered, complaints = records.outcomes["delivered"] - slow, told_lost(t)
    log = t.gateway.read_log().splitlines()
    deaths = [line for line in log
              if "event=child-exited" in line and ("level=error" in line or "signal=" in line)
              and not ("child=policy" in line and "signal=9" in line)]
    spared = faults["mx killed"] * CLIENTS  # taken, and the MX was killed before it said so
    table = [("mails accepted, as the clients heard", accepted), ("mails in the MX's queue", queued),
             ("records of mails that the MX took", delivered),
             ("attempts refused or cut", outcomes.refused + outcomes.cut),
             *sorted(faults.items()),
             ("false 250", len(lost)), ("more copies than attempts", len(twice)),
             ("records of sessions", records.events["session"]),
             ("pieces of records, which a full disk cut", records.cut),
             ("records lost and told", len(complaints)), ("processes that died by themselves", len(deaths))]
    checks = [("a mail that a client heard 250 for is lost", lost[:5]),
              ("a mail is there more often than it was sent", twice[:5]),
              ("a process died", deaths[:5]),
              ("a sanitizer has spoken", [line for line in log if "Sanitizer" in line][:5]),
              ("a record is lost of which nothing is told", delivered + len(complaints) < accepted),
              ("a mail in the queue has no record", delivered + len(complaints) + spared < queued),
              ("a record is lost", complaints[:5]),
              ("a record without a mail", delivered > queued),
              ("records cannot be read", records.errors[:5]),
              ("no reload was done", not faults["reload"]),
              ("nothing was sent", not accepted),
              ("a client failed", [str(s.error) for s in senders if s.error])]
    return table, [(what, seen) for what, seen in checks if seen]


def judge_slow(slow, outcomes, records, samples, taken):
    heard = slow.heard()
    held = sorted(sample["held"] for sample in samples)
    greeted = heard["greeted"] + outcomes.greeted
    table = [("slow sessions wanted", slow.count),
             ("slow sessions at a time, most", heard.pop("most at a time")),
             ("slow sessions at a time, median", held[len(held) // 2]),
             ("slow mails at their MXs", taken),
             *((f"slow sessions: {what}", heard[what]) for what in sorted(heard) if what != "held"),
             ("sessions that heard a greeting", greeted)]
    checks = [("a slow mail that was accepted is lost", heard["mails accepted"] > taken),
              ("slow sessions were fewer than wanted", held[len(held) // 2] < slow.count * 0.9),
              ("a session has no record", records.events["session"] < greeted),
              ("a slow session was never ended", heard["never ended by the gateway"])]
    return table, [(what, seen) for what, seen in checks if seen]


def judge_rest(rest):
    """Nothing is left of so many sessions: descriptors before the first client, and after the last."""
    before, after = (sample["worker"]["fds"] for sample in rest)
    return ([("worker: descriptors before all clients", before),
             ("worker: descriptors after all clients", after)],
            [("descriptors of workers are left", after)] if after > before else [])


def judge_growth(samples, steady):
    """While there are reloads, and then without."""
    table, wrong = [], []
    for kind, (kib, fds) in FLAT.items():
        for when, part in (("with", samples[:steady]), ("without", samples[steady:])):
            memory, descriptors = (watch.growth(part, kind, what) for what in ("kib", "fds"))
            table += [(f"{kind}: memory, growth in KiB {when} reloads", memory),
                      (f"{kind}: descriptors, growth {when} reloads", descriptors)]
            if when == "with" and kind not in OUTLIVE_RELOADS:
                continue  # none of them is old
            if kib and memory > kib:
                wrong.append((f"memory of {kind} grew {when} reloads", memory))
            if descriptors > fds:
                wrong.append((f"descriptors of {kind} grew {when} reloads", descriptors))
        table += [(f"{kind}: {what}", max(one[kind][key] for one in samples)) for what, key in
                  (("largest memory of one in KiB", "kib"), ("most memory of all in KiB", "all_kib"),
                   ("most descriptors of all", "fds"), ("most processes", "count"))]
    most = max(one["policy"]["kib"] for one in samples)
    return table, wrong + ([("a policy process was too large", most)] if most > POLICY_MOST_KIB else [])


def more_descriptors():
    """As many as the unit gives, if the machine lets us; the processes that we start inherit them."""
    most = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1],
               min(DESCRIPTORS, int(pathlib.Path("/proc/sys/fs/nr_open").read_text())))
    with contextlib.suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where stsgate was built")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--slow", type=int, default=200, help="sessions that say next to nothing")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 32))
    parser.add_argument("--keep", type=pathlib.Path, help="copy the gateway's log here")
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
    folder, sites = lab.run_folder(), [SITE, *QUIET, QUIET_TLS]
    try:
        own_mounts()
        more_descriptors()
        world.number_sites(sites)
        materials = run.Materials(folder, sites)
        with run.World(materials, folder, "tproxy", 4, options) as up:
            table, wrong, samples = soak(Trial(up), options, random.Random(options.seed))
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(up.gateway.log, options.keep / "log")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [f"| {name} | {value} |" for name, value in
             [("seconds", options.seconds), ("seed", options.seed), *table]]
    text = "\n".join(["| | |", "|---|---|", *lines, ""])
    print(text)
    if options.out:
        command = " ".join(["tests/soak.py", *sys.argv[1:]])
        options.out.write_text(f"# Soak, {options.seconds} s\n\n`{command}`, two workers, {os.cpu_count()} cores: "
                               f"{'failed' if wrong else 'passed'}.\n{EXPLAINED}\n{text}"
                               + "".join(f"\n- FAIL {what}" for what, _ in wrong))
        options.out.with_suffix(".json").write_text(json.dumps(
            {"table": dict(table), "wrong": [str(one) for one in wrong], "samples": samples}))
    for what, seen in wrong:
        print(f"FAIL {what}: {seen}")
    print(f"{int(not wrong)} passed, {int(bool(wrong))} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
