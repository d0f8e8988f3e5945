#!/usr/bin/env python3
"""The regression gate of ./dev bench --gate: what the worker costs, in units that a busy machine does not
change: instructions counted by callgrind, system calls counted by strace.

gate.py [--record] [--rounds N] --build DIR

Compares with bench/gate.json and fails on more than 5 % above. A figure well below asks to be recorded
anew. --record measures and writes that file, with the spread of the rounds beside each value."""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "lab"))

import engine  # the lab's modules, which these use, are found from here on
import lab
import loads
import peers
import proc
import stage

RECORDED = pathlib.Path(__file__).resolve().parent / "gate.json"
TOLERANCE = 0.05
NETWORK_CALLS = ("recvfrom", "sendto", "epoll_wait", "epoll_ctl")  # valgrind makes none of its own
SINGLES, KEPT, BULK_MAILS, BULK_MIB = 40, 200, 8, 8
LOADS = {
    "nothing": (),
    "single": ("--sessions", "1", "--count", str(SINGLES)),
    "kept": ("--sessions", "1", "--messages", str(KEPT)),
    "bulk": ("--sessions", "1", "--messages", str(BULK_MAILS), "--size", str(BULK_MIB * loads.MIB)),
}


class Instrumented(peers.Stsgate):
    """stsgate whose one worker runs under callgrind."""

    def __init__(self, on, number):
        super().__init__(on)
        self.folder = on.lab.folder / f"callgrind-{number}"

    def start(self):
        self.folder.mkdir()
        for program in ("stsgate", "stsgate-policy"):
            shutil.copy2(self.stage.build / program, self.folder / program)
        worker = self.folder / "stsgate-worker"
        worker.write_text("#!/bin/sh\nexec valgrind --quiet --tool=callgrind "
                          f"--callgrind-out-file={self.folder}/out "
                          f'{self.stage.programs}/stsgate-worker-counted "$@"\n')
        worker.chmod(0o755)
        self.gateway = self.stage.gateway({"workers": 1, "handshake_timeout": 60}, self.folder)
        self.process = self.gateway.process

    def worker(self):
        """Its process id: whatever of the tree is not the supervisor or the policy process."""
        others = {self.process.pid, *self.gateway.children("stsgate-policy")}
        return [pid for pid in proc.tree(self.process.pid) if pid not in others]

    def stop(self):
        """Ends it; the instructions that its worker has executed."""
        self.gateway.stop()
        shutil.rmtree(self.gateway.folder)  # the next one makes it anew
        found = re.search(r"^(?:summary|totals): (\d+)", (self.folder / "out").read_text(), re.M)
        if not found:
            raise stage.StageError("callgrind has not counted")
        return int(found.group(1))


def under_callgrind(on, number):
    """Instructions of the worker for each load, beyond what its start and two mails cost; and the calls
    that bulk takes: a worker so slow always finds the socket full, so chance has no part in it."""
    total, calls = {}, {}
    for name, options in LOADS.items():
        peer = Instrumented(on, f"{number}-{name}")
        peer.start()
        loads.warm_up(on, peer)
        if name == "bulk":
            trace = engine.Strace(peer.worker())
            loads.measure(on, peer, options)
            calls = trace.stop()
        elif options:
            loads.measure(on, peer, options)
        total[name] = peer.stop()
    beyond = {name: value - total["nothing"] for name, value in total.items()}
    mib = BULK_MAILS * BULK_MIB
    return {"instructions_per_session": beyond["single"] / SINGLES,
            "instructions_per_kept_mail": beyond["kept"] / KEPT,
            "instructions_per_mib": beyond["bulk"] / mib,
            "network_calls_per_mib": sum(calls.get(call, 0) for call in NETWORK_CALLS) / mib}


def system_calls(on):
    peer = peers.Stsgate(on)
    peer.start()
    loads.warm_up(on, peer)
    found = engine.system_calls(on, peer, {name: LOADS[name] for name in ("single", "kept")})
    version = peer.version()
    peer.gateway.stop()
    shutil.rmtree(peer.gateway.folder)
    return version, {"calls_per_session": found["single"]["per_session"],
                     "calls_per_kept_mail": found["kept"]["total"] / KEPT}


def measure(build, rounds):
    """(TLS library, {figure: values of the rounds})"""
    values = {}
    with stage.Stage(build) as on:
        for number in range(rounds):
            version, calls = system_calls(on)
            for key, value in (calls | under_callgrind(on, number)).items():
                values.setdefault(key, []).append(value)
    return version.split(", ", 1)[1], values


def compare(library, values, recorded):
    """Prints a line per figure; how many are too large."""
    if library != recorded["library"]:
        print(f"gate: recorded with {recorded['library']}, this is {library}: nothing to compare")
        return 1
    failed = 0
    for key, one in recorded["figures"].items():
        now = statistics.median(values[key])
        ratio = now / one["value"]
        word = "FAIL" if ratio > 1 + TOLERANCE else "ok"
        hint = " (better: --record it)" if ratio < 1 - TOLERANCE else ""
        print(f"{word:<4} {key} {now:.1f}, recorded {one['value']:.1f}: {(ratio - 1) * 100:+.1f} %"
              f"{hint}")
        failed += word == "FAIL"
    return failed


def record(library, values):
    figures = {}
    for key, found in sorted(values.items()):
        middle = statistics.median(found)
        figures[key] = {"value": round(middle, 2),
                        "spread": round((max(found) - min(found)) / middle, 4)}
        print(f"{key} {middle:.1f}, spread {figures[key]['spread'] * 100:.2f} %")
    RECORDED.write_text(json.dumps({"library": library, "figures": figures}, indent=2) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where stsgate was built")
    parser.add_argument("--record", action="store_true", help="write bench/gate.json")
    parser.add_argument("--rounds", type=int, help="default 3; 5 with --record")
    return parser.parse_args()


def main():
    options = arguments()
    reason = lab.why_not_here()
    if reason:
        print(f"gate: {reason}", file=sys.stderr)
        return 2
    try:
        library, values = measure(options.build, options.rounds or (5 if options.record else 3))
    except (stage.StageError, lab.LabError, subprocess.SubprocessError) as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    if options.record:
        record(library, values)
        return 0
    return 1 if compare(library, values, json.loads(RECORDED.read_text())) else 0


if __name__ == "__main__":
    sys.exit(main())
