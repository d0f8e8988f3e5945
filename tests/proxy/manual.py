"""stsgate.conf(5) names every key of the configuration's manual. Usage: manual.py PROGRAM"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
page = subprocess.run([sys.argv[1], "config", "manual"], check=True, capture_output=True,
                      text=True).stdout
told = re.findall(r"^\.B ([a-z_]+)$", page.split(".SH SECTIONS")[0], re.M)
table = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "stsgate.conf.md").read_text(), re.M)
missing = [key for key in told if key not in table]
if len(told) < 50 or missing or len(set(told)) != len(told):
    sys.exit(f"{len(told)} keys on the page; not in docs/stsgate.conf.md: {missing}")
