"""The manual pages hold what they are about: every key of the configuration, every key of a record,
every verb and option of the commands; and they are in man(7)'s language. manual.py BUILD

A page that groff or mandoc complains about fails, where these are installed."""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1])
TELL_MORE = ("check", "rules", "log", "status", "sessions", "policy", "report", "mode", "reload",
             "drain")
problems = []


def stsgate(*argv):
    done = subprocess.run([BUILD / "stsgate", *argv], capture_output=True, text=True, check=False,
                          timeout=30)
    return done.stdout + done.stderr


def read(name):
    """A page, and its plain words."""
    roff = (BUILD / "man" / name).read_text()
    words = re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
    return roff, words


def section(words, title):
    return words.split(f".SH {title}\n", 1)[1].split("\n.SH ", 1)[0]


def compare(what, told, there):
    if not told or told != there:
        problems.append(f"{what}: not there: {sorted(told - there)}; not told: {sorted(there - told)}")


def check_configuration():
    told = re.findall(r"^\.B ([a-z_]+)$", read("stsgate.conf.5")[0].split(".SH SECTIONS")[0], re.M)
    table = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "stsgate.conf.md").read_text(), re.M)
    missing = [key for key in told if key not in table]
    if len(told) < 50 or missing or len(set(told)) != len(told):
        problems.append(f"{len(told)} keys on the page; not in docs/stsgate.conf.md: {missing}")


def check_records():
    """test_record holds the document against the code; this holds the page against the document."""
    told = set(re.findall(r"^\.TP\n\\fB([a-z_0-9.]+)\\fR \(", read("stsgate-records.5")[0], re.M))
    table = set(re.findall(r"^\| `([a-z_0-9.]+)` \|", (ROOT / "docs" / "records.md").read_text(), re.M))
    compare("keys of records", told, table)


def check_commands():
    words = read("stsgate.8")[1]
    verbs = set(re.findall(r"^  ([a-z-]+)", stsgate("help"), re.M))
    told = set(re.findall(r"^\.TP\n([a-z-]+)", section(words, "DESCRIPTION"), re.M))
    compare("verbs", told, verbs)
    for verb in TELL_MORE:
        said = stsgate(verb, "--help")
        options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said)) - {"-h", "--help"}
        missing = {one for one in options if not re.search(rf"(?<![\w-]){one}(?![\w-])", words)}
        if not said or missing:
            problems.append(f"stsgate.8 has no {sorted(missing)} of {verb}")
        below = set(re.findall(r"^  ([a-z]{3,})\b", said, re.M)) - {"stsgate"}
        missing = {one for one in below if f"\n{verb} {one}" not in words}
        if missing:
            problems.append(f"stsgate.8 has no {sorted(missing)} below {verb}")


def check_language(page):
    for tool in (["groff", "-ww", "-man", "-Tutf8", "-z"], ["mandoc", "-Tlint", "-Werror"]):
        if not shutil.which(tool[0]):
            continue
        done = subprocess.run([*tool, page], capture_output=True, text=True, check=False, timeout=30)
        said = (done.stdout if tool[0] == "mandoc" else "") + done.stderr
        if done.returncode or (said and tool[0] == "groff"):
            problems.append(f"{page.name}: {tool[0]}: {said}")


check_configuration()
check_records()
check_commands()
pages = sorted((BUILD / "man").iterdir())
if [page.name for page in pages] != ["stsgate-records.5", "stsgate.8", "stsgate.conf.5"]:
    problems.append(f"pages: {pages}")
for one in pages:
    check_language(one)
sys.exit("\n".join(problems) or None)
