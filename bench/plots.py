"""SVG plots by gnuplot: bars per peer, and curves over the number of sessions."""

import subprocess

HEAD = """set terminal svg size 720,420 font "sans,12" background "white"
set output "{file}"
set title "{title}" noenhanced
set ylabel "{unit}" noenhanced
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
"""
BARS = """set style fill solid 0.85 border -1
set boxwidth 0.6
set yrange [0:*]
set xtics noenhanced
unset key
plot "-" using 0:2:xtic(1) with boxes lc rgb "#4477aa", "" using 0:2:3 with labels offset 0,0.7
"""
CURVES = """set logscale x
set xlabel "sessions at a time"
set key outside right noenhanced
set yrange [{low}:*]
"""


def _gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True, timeout=60)


def _bars(path, title, unit, values):
    data = "".join(f'"{name}" {value} "{value:.3g}"\n' for name, value in values) + "e\n"
    _gnuplot(HEAD.format(file=path, title=title, unit=unit) + BARS + data * 2)


def _curves(path, title, unit, growth, key, log):
    peers = list(growth)
    script = HEAD.format(file=path, title=title, unit=unit) + CURVES.format(low="*" if log else 0)
    script += "set logscale y\n" if log else ""
    script += "plot " + ", ".join(f'"-" using 1:2 with linespoints lw 2 title "{peer}"'
                                  for peer in peers) + "\n"
    for peer in peers:
        script += "".join(f"{n} {growth[peer][n][key]}\n" for n in sorted(growth[peer])) + "e\n"
    _gnuplot(script)


def _per_peer(summary, load, key, without=()):
    return [(peer, one[key]) for peer, one in summary[load].items() if peer not in without]


def draw(summary, folder, stem):
    """[(title, file name)] of what was drawn."""
    bars = (
        ("throughput", "Throughput, 8 MiB mails", "MiB/s", _per_peer(summary, "bulk", "mib_per_s")),
        ("cpu-per-gib", "Proxy CPU, 8 MiB mails", "CPU s per GiB",
         _per_peer(summary, "bulk", "cpu_s_per_gib", ("direct",))),
        ("cpu-per-session", "Proxy CPU, one 4 KiB mail per session", "CPU µs per session",
         _per_peer(summary, "single", "cpu_us_per_session", ("direct",))),
        ("latency", "Session of one 4 KiB mail, p50", "ms",
         _per_peer(summary, "latency", "session_p50_ms")),
    )
    curves = (
        ("memory", "Memory per held session", "KiB", "kib_per_session", True, ("direct",)),
        ("growth-cpu", "Proxy CPU per 4 KiB mail", "µs", "cpu_us_per_mail", False, ("direct",)),
        ("growth-latency", "4 KiB mail, p50", "ms", "mail_p50_ms", True, ()),
    )
    made = []
    for name, title, unit, values in bars:
        _bars(folder / f"{stem}-{name}.svg", title, unit, values)
        made.append((title, f"{stem}-{name}.svg"))
    for name, title, unit, key, log, without in curves:
        chosen = {peer: one for peer, one in summary["growth"].items() if peer not in without}
        _curves(folder / f"{stem}-{name}.svg", title, unit, chosen, key, log)
        made.append((title, f"{stem}-{name}.svg"))
    return made
