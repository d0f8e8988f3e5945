#!/usr/bin/env python3
"""What the bench concludes: each figure passes at its limit and fails beyond it, and the gate fails on more
than 5 %. judging.py FOLDER-OF-THE-SOURCES"""

import contextlib
import copy
import io
import pathlib
import sys

sys.dont_write_bytecode = True
root = pathlib.Path(sys.argv[1]).resolve()
sys.path += [str(root / "bench"), str(root / "tests" / "lab")]

import gate  # noqa: E402  found from here on
import report  # noqa: E402


def peer(**values):
    return {"cpu_s_per_gib": 1.0, "mib_per_s": 100.0, "cpu_us_per_session": 1000.0,
            "sessions_per_s": 100.0, "cpu_us_per_mail": 100.0, "session_p50_ms": 1.0} | values


# A run in which stsgate is exactly at every limit.
AT_LIMIT = {
    "summary": {
        "bulk": {"stunnel": peer(cpu_s_per_gib=2.0), "haproxy": peer(),
                 "stsgate": peer(mib_per_s=160.0)},
        "single": {"stunnel": peer(), "stsgate": peer(cpu_us_per_session=330.0,
                                                      sessions_per_s=200.0)},
        "kept": {"stunnel": peer(), "stsgate": peer(cpu_us_per_mail=50.0)},
        "piped": {"stunnel": peer(), "stsgate": peer(cpu_us_per_mail=50.0)},
        "latency": {"direct": peer(), "stsgate": peer(session_p50_ms=1.399)},
        "growth": {"stsgate": {1: {"kib_per_session": 90.0, "held": 1},
                               10000: {"kib_per_session": 14.0, "held": 10000}}},
    },
    "engine": {"seal": 1.25, "bare": 1.0},
    "system_calls": {"bulk": {"per_mib": 20.0}},
}

BEYOND = (  # where in the run, a value just beyond the limit, the figure that must fail
    (("summary", "bulk", "stunnel", "cpu_s_per_gib"), 1.99, "bulk: CPU per GiB, of stunnel's"),
    (("summary", "bulk", "haproxy", "cpu_s_per_gib"), 0.99, "bulk: CPU per GiB, of HAProxy's"),
    (("summary", "bulk", "stsgate", "mib_per_s"), 159.0, "bulk: throughput"),
    (("summary", "single", "stsgate", "cpu_us_per_session"), 331.0, "one mail per session: CPU"),
    (("summary", "single", "stsgate", "sessions_per_s"), 199.0, "one mail per session: sessions/s"),
    (("summary", "kept", "stsgate", "cpu_us_per_mail"), 50.1, "kept sessions: CPU"),
    (("summary", "piped", "stsgate", "cpu_us_per_mail"), 50.1, "kept sessions, pipelined"),
    (("summary", "latency", "stsgate", "session_p50_ms"), 1.401, "added latency"),
    (("summary", "growth", "stsgate", 10000, "kib_per_session"), 14.1, "10000 held sessions"),
    (("summary", "growth", "stsgate", 10000, "held"), 9999, "10000 held sessions"),
    (("engine", "seal"), 1.26, "engine for DATA"),
    (("system_calls", "bulk", "per_mib"), 20.1, "system calls of the worker"),
)

GATE = (  # what is measured of a recorded 1000, whether it passes
    (900.0, True), (1000.0, True), (1049.0, True), (1051.0, False), (2000.0, False),
)


def changed(path, value):
    run = copy.deepcopy(AT_LIMIT)
    place = run
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return run


def check_figures():
    for one in report.figures(AT_LIMIT):
        yield f"at its limit: {one['name']}", one["pass"] is True
    for path, value, name in BEYOND:
        failed = [one["name"] for one in report.figures(changed(path, value)) if not one["pass"]]
        yield f"beyond: {name}", len(failed) == 1 and failed[0].startswith(name)
    fewer = changed(("summary", "growth", "stsgate"), {1000: {"kib_per_session": 9.0, "held": 1000}})
    unjudged = [one["name"] for one in report.figures(fewer) if one["pass"] is None]
    yield "fewer held sessions are not judged", unjudged == ["1000 held sessions: memory each"]


def check_gate():
    recorded = {"library": "L 1", "figures": {"calls": {"value": 1000.0, "spread": 0.01}}}
    for value, passes in GATE:
        with contextlib.redirect_stdout(io.StringIO()):
            failed = gate.compare("L 1", {"calls": [value] * 3}, recorded)
        yield f"gate: {value:g} of 1000", (failed == 0) == passes
    with contextlib.redirect_stdout(io.StringIO()):
        failed = gate.compare("L 2", {"calls": [1000.0]}, recorded)
    yield "gate: another TLS library is not compared", failed == 1


def main():
    failed = 0
    for name, good in [*check_figures(), *check_gate()]:
        print(f"{'ok  ' if good else 'FAIL'} {name}")
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
