"""Namespaces client -- gateway -- MX and services, the processes in them, and their certain end.

    client 192.0.2.2 --- 192.0.2.1 gateway 198.51.100.1 --- MX hosts 198.51.100.2 ...
                                           203.0.113.1  --- DNS .53 .54, policy hosts .80

IPv6 likewise on 2001:db8:{1,2,3}::/64. Everything is named after the process that made it, so that
labs live side by side. However that process ends, a reaper that waits for its end removes what it
made: processes by their ids, namespaces, files.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import world

PREFIX = "stsgate-lab-"
SPACES = ("client", "gateway", "mx", "services")
CLONE_NEWNET = 0x40000000
LINKS = (  # namespace, its addresses, the gateway's interface and addresses
    ("client", "192.0.2.2/24", "2001:db8:1::2/64", "c0", "192.0.2.1/24", "2001:db8:1::1/64"),
    ("mx", "198.51.100.251/22", "2001:db8:2::fb/64", "m0", "198.51.100.1/22", "2001:db8:2::1/64"),
    ("services", "203.0.113.2/24", "2001:db8:3::2/64", "s0", "203.0.113.1/24", "2001:db8:3::1/64"),
)


class LabError(Exception):
    """The lab itself does not work; says why."""


def run(*argv, **options):
    """A command that must succeed, with its error text in the exception."""
    done = subprocess.run(argv, stdin=options.pop("stdin", subprocess.DEVNULL),
                          capture_output=True, text=True, timeout=60, check=False, **options)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


slowness = 1  # how many times slower than others this machine is


def wait_for(condition, what, seconds=20.0):
    """The first true value of condition(), asked again and again for a bounded time."""
    seconds *= slowness
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)


def why_not_here():
    """A reason why this machine cannot run the lab, or None."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    for tool in ("ip", "nft", "nsd", "unbound", "nginx", "tcpdump", "openssl", "ldns-signzone"):
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{tool} is not installed"
    name = f"{PREFIX}{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "the kernel refuses network namespaces"
    rules = ("table inet probe {\nchain pre {\ntype filter hook prerouting priority mangle;\n"
             "tcp dport 25 tproxy to :2525 meta mark set 1 accept\n}\n}\n")
    tried = subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules.encode(),
                           capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "the kernel has no nftables TPROXY" if tried.returncode else None


def _kill_inhabitants(name):
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True,
                            check=False)
    for pid in map(int, listed.stdout.split()):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def remove(prefix, folder):
    """Take down everything that a lab with this prefix made. Harmless when nothing is left."""
    names = [f"{prefix}-{space}" for space in SPACES]
    existing = [name for name in names if os.path.exists(f"/run/netns/{name}")]
    for name in existing * 2:  # what a dying parent forked meanwhile goes in the second round
        _kill_inhabitants(name)
    for name in existing:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale():
    """Namespaces whose maker is dead: a machine that lost power, or a reaper that was killed."""
    for path in pathlib.Path("/run/netns").glob(PREFIX + "*"):
        owner = path.name[len(PREFIX):].split("-")[0]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            _kill_inhabitants(path.name)
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


def run_folder():
    """A new folder, traversable for the users that Postfix changes to."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    return path


class Lab:
    """Four namespaces with links and routes. Use as a context manager."""

    def __init__(self, name="0", folder=None):
        self.prefix = f"{PREFIX}{os.getpid()}-{name}"
        self.own_folder = folder is None
        self.folder = run_folder() if folder is None else folder / name
        self.processes = []
        self.reaper = None

    def __enter__(self):
        self.folder.mkdir(exist_ok=True)
        remove_stale()
        self._start_reaper()
        try:
            for space in SPACES:
                run("ip", "netns", "add", self.space(space))
            self._link_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def space(self, name):
        return f"{self.prefix}-{name}"

    def _start_reaper(self):
        """It waits on its standard input for a word that all is well; without one this process has
        died, and it cleans up."""
        folder = self.folder if self.own_folder else self.folder.parent
        argv = [sys.executable, __file__, "--reap", self.prefix, str(folder)]
        self.reaper = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)

    def _link_up(self):
        gateway = self.space("gateway")
        for space, here4, here6, far, far4, far6 in LINKS:
            run("ip", "-n", self.space(space), "link", "add", "eth0", "type", "veth",
                "peer", "name", far, "netns", gateway)
            self._ip(space, f"addr add {here4} dev eth0", f"addr add {here6} dev eth0 nodad",
                     "link set eth0 up", "link set lo up")
            self._ip("gateway", f"addr add {far4} dev {far}", f"addr add {far6} dev {far} nodad",
                     f"link set {far} up")
            self._ip(space, f"route add default via {far4.split('/')[0]}",
                     f"-6 route add default via {far6.split('/')[0]}")
        self._ip("gateway", "link set lo up")
        self.in_space("gateway", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                      "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
                      *(f"net.ipv4.conf.{link[3]}.rp_filter=0" for link in LINKS))
        mx = [f"addr add {world.mx_address(n, 4)}/22 dev eth0" for n in world.MX_NUMBERS]
        mx += [f"addr add {world.mx_address(n, 6)}/64 dev eth0 nodad" for n in world.MX_NUMBERS]
        self._batch("mx", mx)
        served = (world.NAME_SERVER, world.RESOLVER, world.WEB, world.HUNG_WEB)
        self._batch("services", [f"addr add {a[4]}/24 dev eth0" for a in served]
                    + [f"addr add {a[6]}/64 dev eth0 nodad" for a in served])

    def _ip(self, space, *lines):
        for line in lines:
            run("ip", "-n", self.space(space), *line.split())

    def _batch(self, space, lines):
        path = self.folder / f"{space}.ip"
        path.write_text("\n".join(lines) + "\n")
        run("ip", "-n", self.space(space), "-batch", str(path))

    def in_space(self, space, *argv, **options):
        """Run a command to its end in a namespace."""
        return run("ip", "netns", "exec", self.space(space), *argv, **options)

    def start(self, space, *argv, log=None, resolver=None):
        """A process that lives in a namespace until stop() or until this process ends.

        log: file for its output. resolver: a resolv.conf for it alone."""
        if resolver:
            bind = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            argv = ("sh", "-c", bind, str(resolver), *argv)
        argv = ("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.space(space), *argv)
        with open(log or os.devnull, "ab") as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       start_new_session=True)
        self.processes.append(process)
        return process

    def stop(self, process, sig=signal.SIGTERM, seconds=10.0):
        """Ask a process to end, then make it. Returns its exit status."""
        if process.poll() is None:
            process.send_signal(sig)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    def socket(self, space, family, kind=socket.SOCK_STREAM):
        """A socket of that namespace: the thread that makes it visits the namespace."""
        made = []

        def visit():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.space(space)}", "rb") as door:
                if libc.setns(door.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket(
                        socket.AF_INET if family == 4 else socket.AF_INET6, kind))

        visitor = threading.Thread(target=visit)
        visitor.start()
        visitor.join()
        if not made:
            raise LabError(f"cannot enter the namespace {space}")
        return made[0]

    def close(self):
        for process in reversed(self.processes[:]):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(process)
        remove(self.prefix, self.folder if self.own_folder else "")
        if self.reaper:
            self.reaper.communicate(b"clean")
            self.reaper = None


def _reap(prefix, folder):
    if not sys.stdin.buffer.read():
        remove(prefix, folder)


if __name__ == "__main__" and sys.argv[1:2] == ["--reap"]:
    _reap(*sys.argv[2:4])
