"""What processes cost, from /proc: CPU and memory of a process and all that descend from it."""

import os
import pathlib
import re
import time

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Fields of /proc/PID/stat behind the command's name, None when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(root):
    """root and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(entry)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, ())
    return found


def _own_seconds(pid, fields):
    """User and system time of a process and its threads, those that ended too. Its CPU clock says in
    nanoseconds what utime and stime of /proc/PID/stat say in ticks."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    except OSError:
        return (int(fields[11]) + int(fields[12])) / TICK


def cpu_seconds(root):
    """Of the tree so far, with the children that have ended and were waited for."""
    total = 0.0
    for pid in tree(root):
        fields = _stat(pid)
        if fields:
            total += _own_seconds(pid, fields) + (int(fields[13]) + int(fields[14])) / TICK
    return total


def pss_bytes(root):
    """Memory of the tree, pages that several share divided between them."""
    total = 0
    for pid in tree(root):
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) * 1024
    return total


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
    return found.group(1) if found else os.uname().machine
