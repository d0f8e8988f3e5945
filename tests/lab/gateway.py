"""The gateway: nftables rules and routes, `stsgate run`, its processes and its records."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

from lab import LabError, run, wait_for
from world import GATEWAY_NAME, NAME_SERVER

TPROXY_PORT, REDIRECT_PORT = 2525, 2526
MARK_OURS = 2  # upstream_mark
WORKERS = 2

# Fail closed: without a listener the tproxy rule does not match, and the packet would be forwarded.
FORWARD = """  chain forward {
    type filter hook forward priority filter; policy accept;
    tcp dport 25 reject with tcp reset
  }
"""
RULES = {
    "tproxy": f"""table inet stsgate {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    tcp flags & (syn | ack) != syn socket transparent 1 meta mark set 0x1 accept
    iifname "c0" tcp dport 25 tproxy to :{TPROXY_PORT} meta mark set 0x1 accept
  }}
{FORWARD}}}
""",
    "redirect": f"""table inet stsgate {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "c0" tcp dport 25 redirect to :{REDIRECT_PORT}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    meta mark != {MARK_OURS} tcp dport 25 redirect to :{REDIRECT_PORT}
  }}
{FORWARD}}}
""",
}
ROUTES = ("rule add fwmark 0x1 lookup 100", "route add local 0.0.0.0/0 dev lo table 100",
          "-6 rule add fwmark 0x1 lookup 100", "-6 route add local ::/0 dev lo table 100")


class Gateway:
    """stsgate in the gateway's namespace, intercepting in one way."""

    def __init__(self, lab, build, intercept, certificates, zones):
        self.lab, self.intercept = lab, intercept
        self.folder = lab.folder / "gateway"
        self.folder.mkdir()
        self.program = pathlib.Path(build).resolve() / "stsgate"
        self.record_file = self.folder / "records.msgpack"
        self.log = self.folder / "log"
        self.control_socket = self.folder / "control"
        self.conf = self.folder / "stsgate.conf"
        self.base = self._conf(certificates, zones)
        self.conf.write_text(self.base)
        self.process = None
        self.port = TPROXY_PORT if intercept == "tproxy" else REDIRECT_PORT

    def _conf(self, certificates, zones):
        listen = f'listen_{self.intercept} = {{"[::]:{self._port()}"}}'
        return f"""hostname = "{GATEWAY_NAME}"
workers = {WORKERS}
log_level = "debug"
user = ""
record_file = "{self.record_file}"
{listen}
upstream_mark = {MARK_OURS}
mx_ca_file = "{certificates.ca}"
policy_ca_file = "{certificates.ca}"
policy_networks = {{"203.0.113.0/24", "2001:db8:3::/64"}}
resolver_stub = "{NAME_SERVER[4]}"
trust_anchor_file = "{zones.anchor}"
resolver_local_zones = false
dns_cache_max = 0
requirement_cache_max = 0
store_file = "{self.folder}/policies.sqlite"
tlsrpt_store_file = "{self.folder}/reports.sqlite"
control_socket = "{self.control_socket}"
connect_timeout = 5
handshake_timeout = 4
"""

    def configure(self, text):
        """Other lines behind those that every configuration has; a key that stands there already is
        replaced. Takes effect by reload() or restart()."""
        given = {line.split("=")[0].strip() for line in text.splitlines() if "=" in line}
        base = [line for line in self.base.splitlines() if line.split("=")[0].strip() not in given]
        self.conf.write_text("\n".join(base + [text, ""]))

    def reload(self):
        """By command, as an operator does; returns once the new generation serves, alone."""
        begun = len(self.read_log())
        done = self.command("reload")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: self.read_log()[begun:].count("event=draining") >= WORKERS,
                 "the generation before to take no more clients", 10)
        return done

    def command(self, *argv, check=False):
        """`stsgate VERB ...` with this gateway's configuration."""
        return subprocess.run([str(self.program), *argv, "-c", str(self.conf)], timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=check)

    def restart(self, sig=signal.SIGTERM):
        """Ends and starts again, all of it; SIGKILL takes the children too."""
        begun = len(self.read_log())
        if sig == signal.SIGKILL:
            for program in ("stsgate-policy", "stsgate-worker"):
                for pid in self.children(program):
                    os.kill(pid, signal.SIGSTOP)  # no last words
        ended = [*self.children("stsgate-policy"), *self.children("stsgate-worker")]
        self.lab.stop(self.process, sig, 40)
        for pid in ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.launch(begun)

    def launch(self, begun=0):
        self.process = self.lab.start("gateway", str(self.program), "run", "-c", str(self.conf),
                                      log=self.log)

        def ready():
            if self.process.poll() is not None:
                raise LabError(f"stsgate ended with {self.process.returncode}: {self.tail()}")
            return "event=ready" in self.read_log()[begun:]

        wait_for(ready, "event=ready of stsgate", 30)

    def _port(self):
        return TPROXY_PORT if self.intercept == "tproxy" else REDIRECT_PORT

    def start(self):
        """Rules first, then the program; returns once it serves."""
        self.set_rules()
        self.launch()

    def set_rules(self):
        """Once in a namespace."""
        if self.intercept == "tproxy":
            for line in ROUTES:
                run("ip", "-n", self.lab.space("gateway"), *line.split())
        self.lab.in_space("gateway", "nft", "-f", "-", stdin=None,
                          input=RULES[self.intercept])

    def read_log(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=15):
        return "\n".join(self.read_log().splitlines()[-lines:])

    def children(self, program):
        """Ids of the running children of stsgate that run this program."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
                argv0 = (stat.parent / "cmdline").read_bytes().split(b"\0")[0]
            except (OSError, IndexError):
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z" \
                    and os.path.basename(argv0.decode(errors="replace")) == program:
                found.append(int(stat.parent.name))
        return sorted(found)

    def kill(self, program):
        """Kill all children that run this program; returns once others run in their place."""
        before = self.children(program)
        assert before, f"no {program} runs"
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(self.children(program)) == len(before)
                 and not set(before) & set(self.children(program)), f"a new {program}", 30)

    def records(self, skip=0):
        """All records but the first ones, decoded by `stsgate log`, which tolerates that the last
        one is being written just now."""
        if not self.record_file.exists():
            return []
        done = subprocess.run([str(self.program), "log", str(self.record_file)], timeout=30,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"stsgate log: exit {done.returncode}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()[skip:]]

    def stop(self):
        """Ends it; its exit status."""
        status = self.lab.stop(self.process, signal.SIGTERM, 40)
        self.process = None
        return status
