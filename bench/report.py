"""From the records of a run: medians, the figures that stsgate is held to, a table, JSON and plots."""

import json
import statistics

import plots

PEERS = ("direct", "haproxy", "stunnel", "postfix", "stsgate")
HELD = 10000
MEDIANS = ("mib_per_s", "mails_per_s", "sessions_per_s", "cpu_s_per_gib", "cpu_us_per_mail",
           "cpu_us_per_session")
LOADS = (  # load, what it is, columns: (key, head, decimals)
    ("bulk", "8 MiB mails, 4 sessions", (("mib_per_s", "MiB/s", 0),
                                         ("cpu_s_per_gib", "proxy CPU s/GiB", 2))),
    ("single", "one 4 KiB mail per session, 16 at a time",
     (("sessions_per_s", "sessions/s", 0), ("cpu_us_per_session", "proxy CPU µs/session", 0))),
    ("kept", "4 KiB mails in 16 kept sessions",
     (("mails_per_s", "mails/s", 0), ("cpu_us_per_mail", "proxy CPU µs/mail", 0))),
    ("piped", "the same, MAIL, RCPT and DATA in one write as MTAs do",
     (("mails_per_s", "mails/s", 0), ("cpu_us_per_mail", "proxy CPU µs/mail", 0))),
    ("latency", "one 4 KiB mail per session, one at a time",
     (("session_p50_ms", "session p50 ms", 2), ("session_p99_ms", "p99 ms", 2))),
)


def _median(runs, value):
    return statistics.median(value(run) for run in runs)


def _spread(runs, key):
    """Half of what lies between the smallest and the largest, as a share of the median."""
    values = [run[key] for run in runs]
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def summarise(result):
    """{load: {peer: medians over the rounds}}; growth: {peer: {sessions: figures}}."""
    summary = {"growth": {}}
    for load, _, _ in LOADS:
        summary[load] = {}
        for peer in PEERS:
            runs = [r for r in result["runs"] if r["load"] == load and r["peer"] == peer]
            if not runs:
                continue
            one = {key: _median(runs, lambda run, key=key: run[key]) for key in MEDIANS}
            for kind in ("mail", "session"):
                for name in ("p50", "p99", "p999"):
                    one[f"{kind}_{name}_ms"] = _median(
                        runs, lambda run, k=kind, n=name: run[f"{k}_ms"][n])
            one["spread"] = _spread(runs, "seconds")
            summary[load][peer] = one
    for run in result["runs"]:
        if run["load"] == "growth":
            summary["growth"].setdefault(run["peer"], {})[run["at_a_time"]] = {
                "kib_per_session": run["kib_per_session"], "held": run["held"],
                "cpu_us_per_mail": run["cpu_us_per_mail"], "mails_per_s": run["mails_per_s"],
                "mail_p50_ms": run["mail_ms"]["p50"]}
    return summary


def _figure(name, value, limit, unit, at_least=False, note=""):
    good = value >= limit if at_least else value <= limit
    return {"name": name, "value": value, "limit": limit, "unit": unit, "at_least": at_least,
            "pass": good, "note": note}


def _against(summary, load, key, peer):
    return summary[load]["stsgate"][key] / summary[load][peer][key]


def _held_figure(summary):
    """With the most sessions that the run had. Of fewer than HELD nothing is concluded."""
    sessions, figures = max(summary["growth"]["stsgate"].items())
    one = _figure(f"{sessions} held sessions: memory each", figures["kib_per_session"], 14, "KiB")
    if figures["held"] < sessions:
        one["pass"], one["note"] = False, f"only {figures['held']} could be held"
    elif sessions < HELD:
        one["pass"], one["note"] = None, f"the figure is of {HELD}: not in a quick run"
    return one


def figures(result):
    """One row per figure of docs/performance.md."""
    summary, engine = result["summary"], result["engine"]
    latency = summary["latency"]
    return [
        _figure("bulk: CPU per GiB, of stunnel's",
                _against(summary, "bulk", "cpu_s_per_gib", "stunnel"), 0.50, "x"),
        _figure("bulk: CPU per GiB, of HAProxy's clear splice",
                _against(summary, "bulk", "cpu_s_per_gib", "haproxy"), 1.00, "x"),
        _figure("bulk: throughput, of stunnel's",
                _against(summary, "bulk", "mib_per_s", "stunnel"), 1.60, "x", True),
        _figure("one mail per session: CPU, of stunnel's",
                _against(summary, "single", "cpu_us_per_session", "stunnel"), 0.33, "x"),
        _figure("one mail per session: sessions/s, of stunnel's",
                _against(summary, "single", "sessions_per_s", "stunnel"), 2.00, "x", True),
        _figure("kept sessions: CPU per mail, of stunnel's",
                _against(summary, "kept", "cpu_us_per_mail", "stunnel"), 0.50, "x"),
        _figure("kept sessions, pipelined: CPU per mail, of stunnel's",
                _against(summary, "piped", "cpu_us_per_mail", "stunnel"), 0.50, "x"),
        _figure("engine for DATA, of read + AES-GCM + write",
                engine["seal"] / engine["bare"], 1.25, "x"),
        _figure("system calls of the worker, bulk", result["system_calls"]["bulk"]["per_mib"], 20,
                "per MiB"),
        _held_figure(summary),
        _figure("added latency, one 4 KiB mail, p50",
                (latency["stsgate"]["session_p50_ms"] - latency["direct"]["session_p50_ms"]) * 1e3,
                400, "µs"),
    ]


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _figure_rows(result):
    for one in result["figures"]:
        sign = "≥" if one["at_least"] else "≤"
        note = f" ({one['note']})" if one["note"] else ""
        word = {True: "PASS", False: "FAIL", None: "not judged"}[one["pass"]]
        yield (one["name"], f"{one['value']:.2f} {one['unit']}",
               f"{sign} {one['limit']:g} {one['unit']}", word + note)


def _load_table(result, load, title, columns):
    rows = []
    for peer, one in result["summary"][load].items():
        rows.append([peer] + [f"{one[key]:.{digits}f}" for key, _, digits in columns]
                    + [f"±{one['spread'] * 100:.0f} %"])
    return ["", f"**{title}**", ""] + _table(
        ["through"] + [head for _, head, _ in columns] + ["spread of the run times"], rows)


def _growth_table(result):
    growth = result["summary"]["growth"]
    sessions = sorted({n for one in growth.values() for n in one})
    lines = ["", "**Growth: so many sessions at a time, each held after a mail** (stsgate with two workers per "
             "CPU where one has too few descriptors)", ""]
    rows = [[peer, what] + [f"{growth[peer][n][key]:.{digits}f}" if n in growth[peer] else "–"
                            for n in sessions]
            for peer in growth for key, what, digits in (
                ("kib_per_session", "KiB per session", 1), ("cpu_us_per_mail", "CPU µs/mail", 0),
                ("mail_p50_ms", "mail p50 ms", 2)) if peer != "direct" or key == "mail_p50_ms"]
    return lines + _table(["through", "figure"] + [str(n) for n in sessions], rows)


def _provisional(machine):
    """A busy machine stretches times and, by cold caches, CPU too; ratios suffer less."""
    if machine["load_average_before"] < machine["cpus"] / 4:
        return []
    return ["**Provisional:** the machine had other work to do. Latency and throughput say little, "
            "CPU and its ratios more.", ""]


def markdown(result):
    machine, calls = result["machine"], result["system_calls"]
    lines = [f"# Bench of {result['date']}", "",
             f"Revision {result['revision']}; {machine['cpu']}, {machine['cpus']} CPUs "
             f"(proxies on {machine['proxy_cpus']}, load and MX on {machine['other_cpus']}), Linux "
             f"{machine['kernel']}; load average before the run {machine['load_average_before']:.1f}.",
             f"TCP as Linux has it by default: {machine['congestion_control']}, buffers of at most 6 and "
             "4 MiB.",
             "", *_provisional(machine), f"Medians of {result['rounds']} interleaved rounds"
             + (", quick form" if result["quick"] else "")
             + f". {result['records']['mails']} mails through stsgate, each judged under a policy in "
             "mode enforce, each with its record.", ""]
    lines += [f"- {version}" for version in result["versions"].values()] + [""]
    lines += _table(("figure", "measured", "wanted", ""), _figure_rows(result))
    for load, title, columns in LOADS:
        lines += _load_table(result, load, title, columns)
    lines += _growth_table(result)
    lines += ["", f"System calls of the worker: {calls['bulk']['per_mib']:.1f} per MiB of bulk, "
              f"{calls['single']['per_session']:.0f} per session of one small mail. CPU s per GiB of "
              "the engines alone: " + ", ".join(f"{name} {value:.2f}" for name, value
                                                in result["engine"].items()) + "."]
    return "\n".join(lines) + "\n"


def _json(result):
    """One line for each run and each other part."""
    parts = [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}"
             for key, value in sorted(result.items()) if key != "runs"]
    runs = ",\n".join(json.dumps(run, sort_keys=True) for run in result["runs"])
    return "{" + ",\n".join(parts + [f'"runs": [\n{runs}\n]']) + "}\n"


def write(result, text, folder, day):
    """DAY-bench.json, .md and plots; of a quick run DAY-quick, with an upstream BoringSSL
    DAY-bench-upstream. A second run of a day replaces the first."""
    stem = f"{day}-{'quick' if result['quick'] else 'bench'}{'-upstream' if result['upstream'] else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(_json(result))
    made = plots.draw(result["summary"], folder, stem)
    shown = "".join(f"\n![{title}]({name})\n" for title, name in made)
    (folder / f"{stem}.md").write_text(text + shown)
