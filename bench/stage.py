"""The stage of a bench run: the lab's namespaces with DNS and a policy host, the measuring MX, and the
proxies side by side in the gateway's namespace, on CPUs of their own."""

import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess

import certs
import dns
import gateway
import lab
import web
import world

OPEN_PORT = 2025  # of the MX, for those that the gateway does not take over
RUN_SECONDS = 300
SYSCTLS = ("net.ipv4.ip_local_port_range=10000 65000", "net.ipv4.tcp_tw_reuse=1",
           "net.core.somaxconn=65535",
           # as Linux has them, whatever this machine is set to
           "net.ipv4.tcp_rmem=4096 131072 6291456", "net.ipv4.tcp_wmem=4096 16384 4194304")
CONGESTION_CONTROL = "cubic"  # as well; BBR sends by timers, which here cost more than the proxies do


class StageError(Exception):
    """A run did not do what it was to do; its figures mean nothing."""


def split_cpus():
    """CPUs of the proxies, and of what loads them and receives; the same when there is one only."""
    cpus = sorted(os.sched_getaffinity(0))
    half = len(cpus) // 2
    return (cpus[:half], cpus[half:]) if half else (cpus, cpus)


def sessions_of_one_process():
    """How many sessions, of two descriptors each, a process of this machine can have."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500) // 2


def cpu_list(cpus):
    return ",".join(map(str, cpus))


@contextlib.contextmanager
def congestion_control_allowed():
    """That namespaces may choose it, as long as this lasts."""
    knob = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    before = knob.read_text()
    if CONGESTION_CONTROL in before.split():
        yield
        return
    knob.write_text(f"{before.strip()} {CONGESTION_CONTROL}")
    try:
        yield
    finally:
        knob.write_text(before)


class PinnedLab(lab.Lab):
    """Everything in the gateway's namespace runs on the proxies' CPUs, all else on the others."""

    def __init__(self, proxy_cpus, other_cpus):
        super().__init__("bench")
        self.cpus = {"gateway": cpu_list(proxy_cpus)}
        self.other_cpus = cpu_list(other_cpus)

    def pinned(self, space, argv):
        return ("taskset", "-c", self.cpus.get(space, self.other_cpus), *argv)

    def start(self, space, *argv, log=None, resolver=None):
        return super().start(space, *self.pinned(space, argv), log=log, resolver=resolver)


class Zones(dns.Zones):
    """As the world has them: that a domain has no TLSA records is remembered for a while."""

    negative_ttl = 300


class Sink:
    """stsgate-sink in the MX's namespace."""

    def __init__(self, stage, options=()):
        self.log = stage.lab.folder / "sink.json"
        address = stage.site.address(4)
        crt, key = stage.pair
        self.process = stage.lab.start(
            "mx", str(stage.programs / "stsgate-sink"), "--listen", f"{address}:25", "--listen",
            f"{address}:{OPEN_PORT}", "--cert", str(crt), "--key", str(key), *options, log=self.log)
        self.lines = 0

    def counters(self):
        """What it has counted since it was started."""
        self.process.send_signal(signal.SIGUSR1)
        text = lab.wait_for(self._new_line, "the MX's counters")
        return json.loads(text)

    def _new_line(self):
        lines = self.log.read_text().split("\n")[:-1]  # whole ones only
        if len(lines) <= self.lines:
            return None
        self.lines = len(lines)
        return lines[-1]


class Stage:
    """Use as a context manager; `peers` are started by whoever measures."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.programs = self.build / "bench"
        self.proxy_cpus, self.other_cpus = split_cpus()
        self.lab = PinnedLab(self.proxy_cpus, self.other_cpus)
        self.site = world.Site("bench", policy="enforce")
        self.certificates = self.pair = self.zones = self.web = self.sink = None
        self.has_rules = False

    def __enter__(self):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.lab.__enter__()
        try:
            self._bring_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _bring_up(self):
        world.number_sites([self.site])
        with congestion_control_allowed():
            for space in ("client", "gateway", "mx"):
                self.lab.in_space(space, "sysctl", "-qw", *SYSCTLS,
                                  f"net.ipv4.tcp_congestion_control={CONGESTION_CONTROL}")
        self.certificates = certs.Certificates(self.lab.folder / "certs")
        self.pair = self.certificates.make("bench", [self.site.mx])
        self.zones = Zones(self.lab.folder / "zones", [self.site], self.certificates,
                           {self.site: self.pair})
        web_pair = self.certificates.make("web", [f"mta-sts.{self.site.domain}"])
        names = dns.NameServer(self.lab, self.zones)
        self.web = web.PolicyHosts(self.lab, [self.site], web_pair)
        self.sink = Sink(self)
        names.wait()
        self.web.wait()

    def __exit__(self, *exc):
        try:
            if self.web:
                self.web.close()
        finally:
            self.lab.close()

    def gateway(self, settings, build=None):
        """stsgate behind TPROXY, with the caches that the lab's cases turn off. settings: {key: value}
        of its configuration; build: a folder with other programs than those of this stage."""
        made = gateway.Gateway(self.lab, build or self.build, "tproxy", self.certificates, self.zones)
        self.configure(made, settings)
        if not self.has_rules:
            made.set_rules()
            self.has_rules = True
        made.launch()
        return made

    def configure(self, made, settings):
        """As many workers as CPUs, as by default: HAProxy has as many threads."""
        keys = {"log_level": "info", "dns_cache_max": 86400, "requirement_cache_max": 60,
                "workers": len(self.proxy_cpus), "sessions_max": 100000,
                "client_sessions_max": 100000} | settings
        made.configure("".join(f"{key} = {value}\n" for key, value in keys.items()))

    def load_argv(self, to, options):
        return ("ip", "netns", "exec", self.lab.space("client"),
                *self.lab.pinned("client", (str(self.programs / "stsgate-load"), "--to", to,
                                            "--recipient", f"user@{self.site.domain}", *options)))

    def load(self, to, options):
        """The load generator to its end; its result."""
        done = subprocess.run(self.load_argv(to, options), stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, timeout=RUN_SECONDS, text=True)
        return self._result(done.stdout)

    def load_held(self, to, options, when_held):
        """A load with --hold; when_held() is called while all its sessions rest."""
        process = subprocess.Popen(self.load_argv(to, (*options, "--hold")), text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            held = json.loads(process.stdout.readline() or "{}")
            if "held" in held:
                when_held()
            out, _ = process.communicate("\n", timeout=RUN_SECONDS)
        finally:
            process.kill()
        return self._result(out) | {"held": held.get("held", 0)}

    @staticmethod
    def _result(text):
        lines = text.splitlines()
        if not lines:
            raise StageError("the load generator said nothing")
        return json.loads(lines[-1])
