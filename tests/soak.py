#!/usr/bin/env python3
"""Endurance: soak.py --build DIR [--seconds N] [--seed N] [--out FILE]

Clients send mails of mixed sizes, some die in the middle; others hold sessions open and say next to nothing. Meanwhile
the MX is killed (its connections are reset) or stopped, DNS and policy host are stopped, workers and policy process are
killed, and the gateway is reloaded every 10 s. At the end every mail that a client was told accepted must be at the MX,
every session must have its record, and memory and descriptors of the supervisor, which lives through all of it, must be
where they were. 120 s unless --seconds says 1800, or 28800. The last line counts; exit status 1: something failed."""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lab"))

import cases_loss  # noqa: E402
import lab  # noqa: E402
import run  # noqa: E402
import world  # noqa: E402
from case import Trial  # noqa: E402

SITE = world.Site("soak", policy="enforce")
CLIENTS, SLOW = 6, 40
RELOAD_S, OUTAGE_S, HELD_S = 10, 3, 15
GROWTH_KIB, GROWTH_FDS = 1024, 8  # of the supervisor, from the first quarter to the end
MAILS_MAX = 1_000_000


class SlowClients(threading.Thread):
    """Sessions that are held open by an octet now and then, for HELD_S at most: a reload is refused while
    those of three earlier configurations are not over."""

    def __init__(self, t, ended):
        super().__init__(daemon=True)
        self.t, self.ended, self.served = t, ended, 0

    def run(self):
        held, until = [None] * SLOW, [0.0] * SLOW
        while not self.ended.wait(0.05):
            number = random.randrange(SLOW)
            try:
                if held[number] is None:
                    held[number] = self.t.client(SITE, timeout=5.0)
                    self.served += 1
                    until[number] = time.monotonic() + HELD_S
                if time.monotonic() > until[number]:
                    raise OSError("long enough")
                held[number].send(b"N")
            except OSError:
                if held[number] is not None:
                    held[number].close()
                held[number] = None


def measure(pid):
    """Resident memory in KiB, and descriptors, of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(memory.split()[1]), len(os.listdir(f"/proc/{pid}/fd"))


@contextlib.contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


class Trouble:
    """One fault after the other, until the time is up."""

    def __init__(self, t, server, dice, faults):
        self.t, self.server, self.dice, self.faults = t, server, dice, faults
        self.kinds = {"mx-killed": server.kill, "mx-stalls": lambda: self.outage(server.process),
                      "dns-out": lambda: self.outage(t.dns.nsd),
                      "policy-host-out": lambda: self.outage(t.web.nginx),
                      "worker-killed": lambda: cases_loss.kill_one_of(t, "stsgate-worker", dice),
                      "policy-killed": lambda: cases_loss.kill_one_of(t, "stsgate-policy", dice)}

    def outage(self, process):
        with stopped(process):
            time.sleep(OUTAGE_S)

    def go_on_until(self, end, sample):
        reload_at = time.monotonic() + RELOAD_S
        while time.monotonic() < end:
            kind = self.dice.choice(sorted(self.kinds))
            self.kinds[kind]()
            self.faults[kind] += 1
            if time.monotonic() >= reload_at:
                done = self.t.gateway.command("reload").returncode == 0
                self.faults["reload" if done else "reload-refused"] += 1
                reload_at = time.monotonic() + RELOAD_S
            sample()
            time.sleep(self.dice.uniform(0.2, 1.0))


def growth(samples):
    """From the median of the second quarter to that of the last, of memory and descriptors."""
    quarter = max(len(samples) // 4, 1)

    def median(part, column):
        return sorted(sample[column] for sample in part)[len(part) // 2]

    return [median(samples[-quarter:], column) - median(samples[quarter:2 * quarter] or samples, column)
            for column in (0, 1)]


def records_by_event(t):
    return collections.Counter(r["event"] for r in t.gateway.records())


def soak(t, options, dice):
    """Returns the table, and what is wrong."""
    ended, outcomes, faults, samples = (threading.Event(), cases_loss.Outcomes(),
                                        collections.Counter(), [])
    server = cases_loss.Mx(t, SITE)
    server.start()
    server.wait()
    words = [(f"mail-{options.seed}-{i}-{n}" for n in range(MAILS_MAX)) for i in range(CLIENTS)]
    senders = [cases_loss.Sender(t, SITE, words[i], dice.random(), outcomes, ended)
               for i in range(CLIENTS)]
    slow = SlowClients(t, ended)
    supervisor = t.gateway.process.pid
    for thread in [*senders, slow]:
        thread.start()
    try:
        Trouble(t, server, dice, faults).go_on_until(
            time.monotonic() + options.seconds, lambda: samples.append(measure(supervisor)))
    finally:
        ended.set()
        for thread in [*senders, slow]:
            thread.join(60)
        t.lab.stop(server.process, signal.SIGTERM)
    return judge(t, server, outcomes, faults, samples, slow, senders)


def judge(t, server, outcomes, faults, samples, slow, senders):
    taken = server.taken()
    lost = [word for word, told in outcomes.accepted.items() if taken[word] < told]
    twice = [word for word, there in taken.items()
             if there > outcomes.accepted[word] + outcomes.uncertain[word]]
    memory, descriptors = growth(samples)
    records = records_by_event(t)
    complaints = [line for line in t.gateway.read_log().splitlines()
                  if "event=records-lost" in line or "event=record-lost" in line]
    table = [("mails accepted", sum(outcomes.accepted.values())),
             ("attempts refused or cut", outcomes.refused + outcomes.cut),
             ("slow sessions", slow.served), *sorted(faults.items()),
             ("false 250", len(lost)), ("more copies than attempts", len(twice)),
             ("records of sessions", records["session"]), ("records told lost", len(complaints)),
             ("supervisor's memory, growth in KiB", memory),
             ("supervisor's descriptors, growth", descriptors)]
    checks = [("a mail that a client heard 250 for is lost", lost[:5]),
              ("a mail is there more often than it was sent", twice[:5]),
              ("a record is lost", complaints[:5]),
              ("no reload was done", not faults["reload"]),
              ("nothing was sent", not sum(outcomes.accepted.values())),
              ("fewer sessions than accepted mails are recorded",
               records["session"] < sum(outcomes.accepted.values()) - faults["worker-killed"] * CLIENTS),
              (f"memory grew by more than {GROWTH_KIB} KiB", memory > GROWTH_KIB),
              (f"descriptors grew by more than {GROWTH_FDS}", descriptors > GROWTH_FDS),
              ("a client failed", [str(s.error) for s in senders if s.error])]
    return table, [(what, seen) for what, seen in checks if seen]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where stsgate was built")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 32))
    parser.add_argument("--out", type=pathlib.Path, help="the table, as Markdown")
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
        world.number_sites([SITE])
        materials = run.Materials(folder, [SITE])
        with run.World(materials, folder, "tproxy", 4, options) as up:
            table, wrong = soak(Trial(up), options, random.Random(options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [f"| {name} | {value} |" for name, value in
             [("seconds", options.seconds), ("seed", options.seed), *table]]
    text = "\n".join(["| | |", "|---|---|", *lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text)
    for what, seen in wrong:
        print(f"FAIL {what}: {seen}")
    print(f"{int(not wrong)} passed, {int(bool(wrong))} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
