"""The data path by itself: what the worker asks of the kernel, and the engine against the least that a
TLS proxy can do in the same binary."""

import json
import signal
import statistics
import subprocess
import tempfile

import lab
import loads
import stage


class Strace:
    """Counts the system calls of processes between its begin and its end."""

    def __init__(self, pids):
        self.file = tempfile.NamedTemporaryFile(mode="r", prefix="stsgate-strace-")
        self.log = tempfile.TemporaryFile(mode="w+")
        argv = ["strace", "-f", "-c", "-S", "calls", "-U", "calls,name", "-o", self.file.name]
        for pid in pids:
            argv += ["-p", str(pid)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self.log)
        lab.wait_for(lambda: self._attached(len(pids)), "strace to attach", 20)

    def _attached(self, count):
        if self.process.poll() is not None:
            raise stage.StageError("strace does not run here")
        self.log.seek(0)
        return self.log.read().count("attached") >= count

    def stop(self):
        """{name: calls}"""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        counted = {}
        for line in self.file.read().splitlines():
            words = line.split()
            if len(words) == 2 and words[0].isdigit() and words[1] != "total":
                counted[words[1]] = int(words[0])
        return counted


def system_calls(on, peer, loads_wanted):
    """Of stsgate's workers during each of these loads, {name: options}: per MiB, and per session."""
    workers = peer.gateway.children("stsgate-worker")
    found = {}
    for name, options in loads_wanted.items():
        trace = Strace(workers)
        try:
            run = loads.measure(on, peer, options)
        finally:
            counted = trace.stop()
        total = sum(counted.values())
        found[name] = {"calls": counted, "total": total,
                       "per_mib": total / run["octets"] * loads.MIB,
                       "per_session": total / run["sessions"]}
    return found


def measure(build, mib, rounds):
    """bench_engine several times; of each way the median of its CPU seconds per GiB."""
    argv = [str(build.resolve() / "bench" / "bench_engine"), "--json", str(mib)]
    said = []
    for _ in range(rounds):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode != 0:
            raise stage.StageError(f"bench_engine: {done.stderr.strip()}")
        said.append(json.loads(done.stdout))
    return {key: statistics.median(one[key] for one in said) for key in said[0]}
