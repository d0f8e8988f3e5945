"""What soak.py watches: each process's memory and descriptors, and records that are counted as the
file is rotated, so that half an hour of them needs no room."""

import collections
import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time

KINDS = ("supervisor", "worker", "policy", "status")
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


def measure(pid):
    """Resident memory in KiB, and descriptors, of a process; None: it is gone."""
    try:
        return (int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB,
                len(os.listdir(f"/proc/{pid}/fd")))
    except (OSError, IndexError):
        return None


def processes(gateway):
    """(kind, process id) of all that run now, older generations too."""
    found = [("supervisor", gateway.process.pid)]
    for kind in KINDS[1:]:
        found += [(kind, pid) for pid in gateway.children(f"stsgate-{kind}")]
    return found


def sample(gateway, begun):
    """At one moment: for each kind how many there are, the largest one's memory, all memory and descriptors."""
    taken = {"at": round(time.monotonic() - begun, 1)}
    for kind in KINDS:
        taken[kind] = {"count": 0, "kib": 0, "all_kib": 0, "fds": 0}
    for kind, pid in processes(gateway):
        size = measure(pid)
        if size:
            one = taken[kind]
            one["count"] += 1
            one["kib"] = max(one["kib"], size[0])
            one["all_kib"] += size[0]
            one["fds"] += size[1]
    return taken


def median(samples, kind, what):
    values = sorted(one[kind][what] for one in samples)
    return values[len(values) // 2] if values else 0


def growth(samples, kind, what):
    """From the median of the second quarter to that of the last."""
    quarter = max(len(samples) // 4, 1)
    return (median(samples[-quarter:], kind, what)
            - median(samples[quarter:2 * quarter] or samples, kind, what))


class Records(threading.Thread):
    """Files of records that have been moved away are counted and removed, once nobody writes to them."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.ended = gateway, threading.Event()
        self.events, self.outcomes = collections.Counter(), collections.Counter()
        self.number, self.moved, self.errors, self.cut = 0, [], [], 0

    def move(self):
        """As logrotate does; a reload follows."""
        self.number += 1
        path = self.gateway.record_file.with_suffix(f".{self.number}")
        with contextlib.suppress(FileNotFoundError):
            self.gateway.record_file.rename(path)
            self.moved.append(path)

    def written_now(self):
        opened = set()
        for _, pid in processes(self.gateway):
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        opened.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        return opened

    def count(self, path):
        done = subprocess.run([str(self.gateway.program), "log", str(path)], text=True, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        for record in map(json.loads, done.stdout.splitlines()):
            self.events[record["event"]] += 1
            if record["event"] == "recipient":
                self.outcomes[record["outcome"]] += 1
        cut = done.stderr.count("are no record: skipped")  # a disk that was full in the middle of one
        self.cut += cut
        if done.returncode != 0 and not cut:
            self.errors.append(f"{path.name}: exit {done.returncode}: {done.stderr[:200]}")
        path.unlink()

    def turn(self):
        opened = self.written_now() if self.moved else ()
        for path in [path for path in self.moved if str(path) not in opened]:
            self.count(path)
            self.moved.remove(path)

    def run(self):
        while not self.ended.wait(2):
            self.turn()

    def finish(self):
        """After the gateway's end: all that is left."""
        self.ended.set()
        self.join()
        self.move()
        for path in self.moved:
            self.count(path)
        self.moved.clear()
