"""What makes a gateway of the program: children without privileges (TC-OPS-09)."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from case import ONCE, case, equal
from lab import wait_for
from world import Site

NOBODY = pwd.getpwnam("nobody")
CAP_NET_RAW = 1 << 13


def status(pid):
    """What the kernel says of a process, by name."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def deliver(t, site):
    peer = t.ready(site)
    replies = peer.envelope(f"user@{site.domain}")
    peer.quit()
    return [reply.code for reply in replies]


def children_of(parent, program):
    """Process ids, by the program's name."""
    found = []
    for entry in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):
            argv0 = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[0]
            if os.path.basename(argv0.decode()) == program:
                found.append(int(entry))
    return found


@contextlib.contextmanager
def passable(t):
    """What leads to the lab's files may be passed through by others than root."""
    for folder in [*t.gateway.folder.parents, t.gateway.folder, t.certificates.folder]:
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    yield


@contextlib.contextmanager
def as_nobody(t):
    """The gateway's children as another user, with a folder of that user's; afterwards as before."""
    own = t.lab.folder / "nobody"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    for folder in [*t.gateway.folder.parents, t.certificates.folder]:  # to be passed through
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    before, t.gateway.record_file = t.gateway.record_file, own / "records.msgpack"
    t.gateway.configure(f'user = "nobody"\nrecord_file = "{own}/records.msgpack"\n'
                        f'store_file = "{own}/policies.sqlite"\n'
                        f'tlsrpt_store_file = "{own}/reports.sqlite"')
    t.gateway.restart()
    try:
        yield own
    finally:
        t.gateway.record_file = before
        t.gateway.configure("")
        t.gateway.restart()


@case(Site("unprivileged", policy="enforce"), Site("impostor", policy="enforce", cert="wrong"),
      only=ONCE)
def children_of_root_become_the_user(t, site, bad):
    """User, capabilities, system calls; mail is enforced, records rotate, the store is kept."""
    t.mx(site)
    t.mx(bad)
    with as_nobody(t) as own:
        for program, capabilities in (("stsgate-worker", CAP_NET_RAW), ("stsgate-policy", 0)):
            for pid in t.gateway.children(program):
                found = status(pid)
                equal(set(found["Uid"] + found["Gid"]), {str(NOBODY.pw_uid)}, "its ids")
                equal(int(found["CapEff"][0], 16), capabilities, f"capabilities of {program}")
                equal(int(found["CapPrm"][0], 16), capabilities, "those it may take up again")
                equal(int(found["CapAmb"][0], 16), 0, "those that it would hand on")
                equal(found["NoNewPrivs"], ["1"], "no_new_privs")
                if "-asan" not in str(t.world.build):
                    equal(found["Seccomp"], ["2"], "system calls are filtered")
        equal(deliver(t, site), [250, 250], "MAIL and RCPT to a proven MX")
        equal(deliver(t, bad), [250, 451], "MAIL and RCPT to an impostor")
        records = own / "records.msgpack"
        equal(records.stat().st_uid, NOBODY.pw_uid, "the owner of the records")
        equal((own / "policies.sqlite").stat().st_uid, NOBODY.pw_uid, "the owner of the store")
        records.rename(own / "records.msgpack.1")
        t.gateway.reload()
        equal(deliver(t, site), [250, 250], "MAIL and RCPT after the rotation")
        wait_for(lambda: any(r.get("event") == "recipient" for r in t.gateway.records()),
                 "its record in the new file", 10)
        log = t.gateway.read_log()
        assert f"event=confined uid={NOBODY.pw_uid} capabilities=cap_net_raw" in log, log[-2000:]


@case(only=ONCE)
def a_user_who_is_not_there_stops_the_start(t):
    """And `config check` says so before."""
    t.gateway.configure('user = "stsgate-not-here"')
    try:
        done = t.gateway.command("config", "check")
        equal(done.returncode, 2, "config check")
        assert "no user stsgate-not-here" in done.stderr, done.stderr
        done = t.gateway.command("run")
        equal(done.returncode, 2, "run")
        assert "adduser --system" in done.stderr, done.stderr
    finally:
        t.gateway.configure("")


@case(only=ONCE)
def a_record_file_out_of_reach_stops_the_start(t):
    """TC-OPS-02: `config check` says so before, for the user who is to write; a reload changes nothing."""
    closed = t.lab.folder / "closed"
    closed.mkdir(mode=0o700)
    t.gateway.configure(f'user = "nobody"\nrecord_file = "{closed}/records.msgpack"')
    try:
        for verb in (("config", "check"), ("run",)):
            done = t.gateway.command(*verb)
            equal(done.returncode, 2, verb)
            assert "Permission denied for the user nobody: the gateway will not start" in done.stderr, done.stderr
            equal(done.stdout, "", f"output of {verb}")
        equal(t.gateway.command("reload").returncode, 1, "reload")
        equal(t.gateway.command("status").returncode, 0, "the gateway serves on")
    finally:
        t.gateway.configure("")


# ---- the packet rules ----

def rules(t, *arguments):
    """`stsgate rules` in the gateway's namespace."""
    return subprocess.run(["ip", "netns", "exec", t.lab.space("gateway"), str(t.gateway.program),
                           "rules", *arguments, "-c", str(t.gateway.conf)], timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def in_gateway(t, *argv, text=None):
    t.lab.in_space("gateway", *argv, stdin=None, input=text)


def load(t):
    in_gateway(t, "nft", "-f", "-", text=rules(t).stdout)
    in_gateway(t, "sh", text=rules(t, "--routes").stdout)


@contextlib.contextmanager
def own_rules(t, more=""):
    """The rules of this configuration in place of the lab's; afterwards the lab's again."""
    t.gateway.configure(f"inside_interfaces = {{c0}}\n{more}")
    t.gateway.reload()
    load(t)
    try:
        yield
    finally:
        in_gateway(t, "sh", text=rules(t, "--remove").stdout)
        if t.gateway.intercept == "tproxy":
            for option in ("-4", "-6"):
                in_gateway(t, "ip", option, "route", "flush", "table", "100")
        t.gateway.set_rules()
        t.gateway.configure("")
        if t.gateway.process.poll() is None:
            t.gateway.reload()
        else:
            t.gateway.launch(len(t.gateway.read_log()))


def complaints(t):
    done = rules(t, "--check")
    equal(done.returncode, 1, f"exit status of --check ({done.stderr})")
    return done.stdout


def kill_whole(t):
    """Supervisor and children, with SIGKILL; returns once none is left."""
    children = t.gateway.children("stsgate-worker") + t.gateway.children("stsgate-policy")
    t.lab.stop(t.gateway.process, signal.SIGKILL)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children),
             "the end of the children", 20)


def refused(t, site):
    """A client gets no connection to the site's MX."""
    try:
        t.client(site)
    except ConnectionRefusedError:
        return True
    return False


def passes_without_the_gateway(t, site, listed):
    """By configuration what is listed, and it alone; without rules everything. Afterwards there are none."""
    before = t.gateway.conf.read_text()
    t.gateway.conf.write_text(before.replace(
        "inside_interfaces", f'bypass_networks = {{"{listed.address(t.family)}"}}\ninside_interfaces'))
    load(t)
    equal(deliver(t, listed), [250, 250], "MAIL and RCPT to one that is listed")
    equal(refused(t, site), True, "refused, since it is not listed")
    t.gateway.conf.write_text(before)
    in_gateway(t, "sh", text=rules(t, "--remove").stdout)
    equal(deliver(t, site), [250, 250], "MAIL and RCPT without rules")


@case(Site("ruled", policy="enforce"), Site("ruled-out", policy="enforce", cert="wrong"))
def mail_flows_by_the_rules_that_are_printed(t, site, bad):
    """TC-GW-13: and it is enforced; without the gateway nothing passes (fail closed), unless the rules are taken away
    or the client is listed in bypass_networks (fail open)."""
    server = t.mx(site)
    t.mx(bad)
    with own_rules(t):
        equal(rules(t, "--check").stdout, "rules and routes are in force\n", "--check")
        equal(deliver(t, site), [250, 250], "MAIL and RCPT to a proven MX")
        equal(deliver(t, bad), [250, 451], "MAIL and RCPT to an impostor")
        load(t)  # any number of times
        equal(rules(t, "--check").returncode, 0, "--check after a second load")
        server.wait_idle()
        before = len(server.connections)
        kill_whole(t)
        equal([refused(t, site) for _ in range(3)], [True] * 3, "refusals without the gateway")
        equal(len(server.connections), before, "connections that reached the MX")
        passes_without_the_gateway(t, site, bad)
        load(t)
        equal(refused(t, site), True, "refused again")
        t.gateway.launch(len(t.gateway.read_log()))
        equal(deliver(t, site), [250, 250], "MAIL and RCPT with the gateway")


@case(only=ONCE)
def the_check_of_the_rules_finds_what_is_wrong(t):
    """A rule that is missing, one that is not ours, another order, a route, the whole table."""
    with own_rules(t):
        in_gateway(t, "nft", "flush", "chain", "inet", "stsgate", "forward")
        found = complaints(t)
        assert "missing in table inet stsgate, chain forward: iifname @inside" in found, found
        load(t)
        in_gateway(t, "nft", "add", "rule", "inet", "stsgate", "forward", "tcp", "dport", "26", "drop")
        found = complaints(t)
        assert "not ours in table inet stsgate, chain forward: tcp dport 26 drop" in found, found
        equal(len(found.splitlines()), 1, "complaints")
        load(t)
        in_gateway(t, "nft", "add", "element", "inet", "stsgate", "inside", "{", "eth9", "}")
        assert "eth9" in complaints(t)
        load(t)
        in_gateway(t, "ip", "rule", "del", "fwmark", "1", "lookup", "100")
        equal(complaints(t), "missing: ip -4 rule for mark 0x1 and table 100: "
              "stsgate rules --routes | sh\n", "complaint without the rule")
        load(t)
        in_gateway(t, "ip", "-6", "route", "flush", "table", "100")
        equal(complaints(t), "missing: ip -6 route in table 100: stsgate rules --routes | sh\n",
              "complaint without the route")
        in_gateway(t, "sh", text=rules(t, "--remove").stdout)
        assert "missing: table inet stsgate" in complaints(t)
        in_gateway(t, "sh", text=rules(t, "--remove").stdout)  # any number of times


NFT_WITHOUT_TPROXY = """#!/bin/sh
text="$*"
[ "$text" != "-f -" ] || text=$(cat)
case $text in
*" tproxy "*) echo "Error: Could not process rule: No such file or directory" >&2; exit 1 ;;
esac
printf '%s\\n' "$text" | exec {nft} -f -
"""


@case(only=ONCE)
def a_kernel_without_tproxy_is_named(t):
    """G15: by `rules --check`. The kernel's refusal is played, by a program in the place of nft."""
    true, played = t.lab.folder / "nft", t.lab.folder / "nft-without-tproxy"
    shutil.copy("/usr/sbin/nft", true)
    played.write_text(NFT_WITHOUT_TPROXY.format(nft=true))
    played.chmod(0o755)
    with own_rules(t):
        done = subprocess.run(
            ["ip", "netns", "exec", t.lab.space("gateway"), "unshare", "--mount", "sh", "-c",
             'mount --bind "$1" /usr/sbin/nft && shift && exec "$@"', "sh", str(played),
             str(t.gateway.program), "rules", "--check", "-c", str(t.gateway.conf)],
            timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    equal((done.returncode, done.stdout), (3, ""), f"exit status and output ({done.stderr})")
    equal([line for line in done.stderr.splitlines() if line.startswith("stsgate:")],
          ["stsgate: the rules need what this kernel lacks: tproxy (module nft_tproxy; listen_redirect does without)",
           "stsgate: --check could not look: nft and this kernel do not take the rules"], "what is said")


@case(Site("passed-by", policy="enforce", cert="wrong"), only=ONCE)
def a_bypassed_network_is_left_alone(t, site):
    """PRX-003: what the operator lists goes past the gateway, by any rule."""
    server = t.mx(site)
    with own_rules(t, f'bypass_networks = {{"{site.address(t.family)}"}}'):
        equal(rules(t, "--check").returncode, 0, "--check")
        equal(deliver(t, site), [250, 250], "MAIL and RCPT past the gateway")
        server.wait_idle()
        assert not [r for r in t.gateway.records(t.before) if r.get("domain") == site.domain]
