#!/usr/bin/env python3
"""The bench of ./dev bench: stsgate against what one would pick instead, in one run.

run.py [--quick] [--out FOLDER] --build DIR

Every figure comes from this run, on this machine. With --out: DATE.json, DATE.md and the plots are left
there. The exit status is 1 when a figure of the table is missed, 2 when the run itself failed."""

import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "lab"))

import engine  # the lab's modules, which these use, are found from here on
import lab
import loads
import peers
import proc
import report
import stage


def tell(text):
    """What goes on: one line that changes on a terminal, else a line each."""
    start, end = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}   {text}", file=sys.stderr, end=end, flush=True)


def machine(on):
    return {"cpu": proc.cpu_model(), "cpus": len(os.sched_getaffinity(0)),
            "kernel": os.uname().release, "proxy_cpus": stage.cpu_list(on.proxy_cpus),
            "other_cpus": stage.cpu_list(on.other_cpus),
            "congestion_control": stage.CONGESTION_CONTROL,
            "load_average_before": os.getloadavg()[0]}


def revision():
    done = subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "describe", "--always",
                           "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not in a work tree"


def tls_library(build):
    """Whose BoringSSL the programs were built with: (does it come from upstream, its name)."""
    root = re.search(r"^BORINGSSL_ROOT:PATH=(.+)$", (build / "CMakeCache.txt").read_text(), re.M)
    if root:
        argv = ["git", "-C", root.group(1), "describe", "--always", "--abbrev=12"]
    else:
        argv = ["dpkg-query", "-W", "-f", "${Version}", "android-libboringssl"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    version = done.stdout.strip() or "of unknown version"
    return bool(root), f"BoringSSL: {'upstream' if root else 'Debian'} {version}"


def check_records(gateway, runs):
    """Every mail through stsgate has its record, and each was judged and proven."""
    mails = sum(run["mails"] for run in runs if run["peer"] == "stsgate")
    found = [r for r in gateway.records() if r["event"] == "recipient"]
    judged = [r for r in found if r["outcome"] == "delivered" and r["mx_proven"]
              and r["result_type"] == "success" and r["policy"].get("mode") == "enforce"]
    if len(judged) < mails or len(judged) != len(found):
        raise stage.StageError(f"{mails} mails, {len(found)} records, {len(judged)} of them of a "
                               "delivery that a policy in mode enforce allowed")
    return {"mails": mails, "records": len(found)}


def run(options):
    """All of a run as one structure."""
    plan = loads.Plan(options.quick)
    with stage.Stage(options.build) as on:
        described = machine(on)
        playing = [peer(on) for peer in peers.ALL]
        for peer in playing:
            tell(f"starting {peer.title}")
            peer.start()
        for peer in playing:
            peer.wait()
            loads.warm_up(on, peer)
        runs = list(loads.run_all(on, playing, plan, tell))
        gateway = next(peer.gateway for peer in playing if peer.name == "stsgate")
        tell("records")
        records = check_records(gateway, runs)
        versions = {peer.name: peer.version() for peer in playing if peer.version()}
        upstream, versions["boringssl"] = tls_library(on.build)
        tell("system calls of the worker, by strace")
        calls = engine.system_calls(on, playing[-1], {"bulk": plan.bulk, "single": plan.traced})
        tell("the engine alone")
        alone = engine.measure(options.build, 64 if options.quick else 256, plan.rounds)
    return {"quick": options.quick, "upstream": upstream, "revision": revision(), "machine": described,
            "versions": versions, "records": records, "rounds": plan.rounds, "runs": runs,
            "engine": alone, "system_calls": calls}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where stsgate was built")
    parser.add_argument("--quick", action="store_true", help="within two minutes")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the results")
    return parser.parse_args()


def on_signal(number, _frame):
    sys.exit(128 + number)


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    reason = lab.why_not_here()
    if reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 2
    try:
        result = run(options)
    except (stage.StageError, lab.LabError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    now = datetime.datetime.now(datetime.timezone.utc)
    result["date"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    result["summary"] = report.summarise(result)
    result["figures"] = report.figures(result)
    text = report.markdown(result)
    tell("done")
    print(f"\n{text}")
    if options.out:
        report.write(result, text, options.out, now.strftime("%Y-%m-%d"))
    return 0 if all(figure["pass"] is not False for figure in result["figures"]) else 1


if __name__ == "__main__":
    sys.exit(main())
