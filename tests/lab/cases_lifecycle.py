"""Processes that are stopped, killed, started again; the host's own mail; two gateways in a row (FAULTS D15, E22, G5, G6)."""

import contextlib
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import threading

import cases_appliance
import gateway
from case import ONCE, case, configured, equal, fields, marker, message
from lab import run, wait_for
from world import GATEWAY_OUTSIDE, Site

NOBODY = pwd.getpwnam("nobody")
CAPABILITIES = "-all,+net_raw,+net_admin"


# ---- processes ----

@case(Site("halted", policy="enforce"), only=ONCE)
def a_stopped_worker_goes_on_where_it_was(t, site):
    """G6: who is with another worker is served meanwhile, and nobody loses anything."""
    server = t.mx(site)
    inside = t.ready(site)
    equal([r.code for r in inside.envelope(f"user@{site.domain}")], [250, 250], "MAIL and RCPT")
    equal(inside.cmd("DATA").code, 354, "DATA")
    halted = t.gateway.children("stsgate-worker")
    word = marker()
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        inside.send(message(word) + b"\r\n.\r\n")
        crowd = [t.client(site) for _ in range(8)]  # the kernel takes them
        os.kill(halted[0], signal.SIGCONT)
        served = [False] * len(crowd)

        def greet(number):
            served[number] = crowd[number].greet().code == 250

        threads = [threading.Thread(target=greet, args=(number,), daemon=True)
                   for number in range(len(crowd))]
        for thread in threads:
            thread.start()
        late = [t.client(site) for _ in range(24)]  # one of them comes to the worker that runs
        threads += [threading.Thread(target=late_one.greet, daemon=True) for late_one in late]
        for thread in threads[len(crowd):]:
            thread.start()
        wait_for(lambda: not all(thread.is_alive() for thread in threads), "one who is served", 30)
    finally:
        for pid in halted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join(30)
    equal(served, [True] * len(crowd), "all who waited are served in the end")
    equal(inside.reply().code, 250, "end of data")
    assert [m for m in server.mailbox if word.encode() in m.content], "the mail"
    equal(t.gateway.children("stsgate-worker"), halted, "the workers are still the same")


@case(Site("orphaned", policy="enforce"), only=ONCE)
def a_killed_supervisor_is_replaced_beside_its_children(t, site):
    """G5: the control socket is the new one's, though the old policy process, stopped, still has it; and the old
    children end by themselves."""
    t.mx(site)
    equal(cases_appliance.deliver(t, site), [250, 250], "MAIL and RCPT before")
    policy, workers = (t.gateway.children(f"stsgate-{kind}") for kind in ("policy", "worker"))
    for pid in policy:
        os.kill(pid, signal.SIGSTOP)
    begun = len(t.gateway.read_log())
    try:
        t.lab.stop(t.gateway.process, signal.SIGKILL)
        t.gateway.launch(begun)
        assert "event=no-control-socket" not in t.gateway.read_log()[begun:], t.gateway.tail()
        equal(t.gateway.command("status").returncode, 0, "stsgate status")
        equal(cases_appliance.deliver(t, site), [250, 250], "MAIL and RCPT after")
    finally:
        for pid in policy:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in policy + workers),
             "the end of the old children", 20)
    equal(t.gateway.command("status").returncode, 0, "stsgate status, once they are gone")


@case(Site("cut-short", policy="enforce"), only=ONCE)
def who_has_no_time_left_hears_so_and_is_recorded(t, site):
    """G10, PRX-048: the message text that goes on and on when draining ends. No mail, a 421, both records, status 0."""
    server = t.mx(site)
    inside = t.ready(site)
    equal([r.code for r in inside.envelope(f"user@{site.domain}")], [250, 250], "MAIL and RCPT")
    equal(inside.cmd("DATA").code, 354, "DATA")
    inside.send(b"Subject: endless\r\n\r\nand so")
    skip, begun = len(t.gateway.records()), len(t.gateway.read_log())
    process = t.gateway.process
    try:
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: t.gateway.read_log()[begun:].count("event=draining") >= gateway.WORKERS,
                 "the workers to take no more clients")
        process.send_signal(signal.SIGTERM)  # not for half a minute
        equal(inside.reply().code, 421, "a word in the middle of the text")
        equal(process.wait(30), 0, "exit status")
    finally:
        t.gateway.restart()
    mine = [one for one in t.gateway.records(skip) if one["event"] in ("recipient", "session")]
    equal([(one["event"], one.get("outcome", one.get("end"))) for one in mine],
          [("recipient", "failed"), ("session", "give-up")], "records")
    equal([m for m in server.mailbox if b"endless" in m.content], [], "mails")


def as_nobody(*argv):
    return ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups",
            f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}", *argv)


@case(only=ONCE)
def no_process_leaves_a_dump(t):
    """D15: of no process that may hold a key or a password is there a core, nor can one of the same user look into it;
    the supervisor included, which is nobody here."""
    own = t.lab.folder / "dumps"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    with cases_appliance.passable(t):
        t.gateway.configure(f'user = ""\nrecord_file = "{own}/records.msgpack"\nstore_file = ""\n'
                            f'tlsrpt_store_file = ""\ncontrol_socket = "{own}/control"\n'
                            f'status_listen = "127.0.0.1:9126"\nlisten_tproxy = {{"[::]:2599"}}')
        process = t.lab.start("gateway", *as_nobody(str(t.gateway.program), "run", "-c",
                                                    str(t.gateway.conf)), log=own / "log")
        try:
            wait_for(lambda: "event=ready" in (own / "log").read_text(), "event=ready", 30)
            seen = {"stsgate": [process.pid]}
            for kind in ("worker", "policy", "status"):
                seen[kind] = cases_appliance.children_of(process.pid, f"stsgate-{kind}")
            for kind, found in seen.items():
                assert found, f"no {kind} runs"
                for pid in found:
                    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                    core = next(line for line in limits.splitlines() if "core file" in line)
                    equal(core.split()[4:6], ["0", "0"], f"limits of cores of {kind}")
                    peek = subprocess.run([*as_nobody("head", "-c1", f"/proc/{pid}/environ")],
                                          capture_output=True, check=False, stdin=subprocess.DEVNULL)
                    assert b"Permission denied" in peek.stderr, f"{kind} lets itself be read: {peek}"
        finally:
            t.lab.stop(process, signal.SIGTERM, 40)
            t.gateway.configure("")


# ---- the host's own mail ----

def own_mail(t, site):
    """A mail of the gateway host itself: the codes of MAIL and RCPT, or what became of the connection."""
    try:
        peer = t.dial(site.address(t.family), 25, space="gateway")
    except ConnectionRefusedError:
        return "refused"
    if peer.greet().code != 250:
        return "no greeting"
    codes = [reply.code for reply in peer.envelope(f"user@{site.domain}")]
    peer.quit()
    return codes


@case(Site("own-good", policy="enforce"), Site("own-bad", policy="enforce", cert="wrong"))
def the_hosts_own_mail_is_enforced_too(t, good, bad):
    """own_mail: by the gateway while it runs, through reloads; refused when it is stopped or killed, and never led to a
    mail server on the host itself (fail closed); past it once the rules are removed (fail open)."""
    server = t.mx(good)
    t.mx(bad)
    with cases_appliance.own_rules(t, "own_mail = true"), \
            t.lab.socket("gateway", t.family) as mail_server:
        mail_server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mail_server.bind(("::" if t.family == 6 else "0.0.0.0", 25))  # as an MTA on the gateway would
        mail_server.listen(5)
        mail_server.setblocking(False)
        equal(cases_appliance.rules(t, "--check").returncode, 0, "--check")
        equal(own_mail(t, good), [250, 250], "MAIL and RCPT to a proven MX")
        equal(own_mail(t, bad), [250, 451], "MAIL and RCPT to an impostor")
        fields(t.recipients(good)[0], client=GATEWAY_OUTSIDE[t.family], mx_proven=True)
        equal(cases_appliance.deliver(t, good), [250, 250], "a client's mail beside it")
        t.gateway.reload()  # as an upgrade does
        equal(own_mail(t, good), [250, 250], "MAIL and RCPT after a reload")
        server.wait_idle()
        before = len(server.connections)
        cases_appliance.kill_whole(t)
        equal([own_mail(t, good) for _ in range(3)], ["refused"] * 3, "own mail after a kill")
        t.gateway.launch(len(t.gateway.read_log()))
        equal(own_mail(t, good), [250, 250], "MAIL and RCPT with the gateway again")
        server.wait_idle()
        before = len(server.connections)
        t.gateway.stop()
        equal(own_mail(t, good), "refused", "own mail after a stop")
        equal(len(server.connections), before, "connections that reached the MX")
        try:
            mail_server.accept()
            raise AssertionError("the host's own mail server was given mail for the MX")
        except BlockingIOError:
            pass
        cases_appliance.in_gateway(t, "sh", text=cases_appliance.rules(t, "--remove").stdout)
        equal(own_mail(t, bad), [250, 250], "MAIL and RCPT past it, without rules")
        t.gateway.launch(len(t.gateway.read_log()))


# ---- two in a row ----

class Second:
    """Another gateway between the first and one site's MX, in a namespace of its own. Use as a context manager."""

    PORT = 2626
    RULES = f"""table inet stsgate {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "u2" tcp dport 25 redirect to :{PORT}
  }}
}}
"""

    def __init__(self, t, site, more):
        self.t, self.address = t, site.address(4)
        self.folder = t.lab.folder / "second"
        self.folder.mkdir(exist_ok=True)
        self.conf, self.log = self.folder / "stsgate.conf", self.folder / "log"
        self.log.write_text("")
        (self.folder / "records.msgpack").unlink(missing_ok=True)
        replaced = {"hostname": '"gw2.lab.test"', "record_file": f'"{self.folder}/records.msgpack"',
                    "store_file": '""', "tlsrpt_store_file": '""', "upstream_mark": "0",
                    "control_socket": f'"{self.folder}/control"', "workers": "1"}
        kept = [line for line in t.gateway.base.splitlines()
                if line.split("=")[0].strip() not in (*replaced, "listen_tproxy")]
        self.conf.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in replaced.items()),
                                        f'listen_redirect = {{"0.0.0.0:{self.PORT}"}}', more, ""]))

    def _ip(self, space, *lines):
        for line in lines:
            run("ip", "-n", self.t.lab.space(space), *line.split())

    def __enter__(self):
        lab = self.t.lab
        run("ip", "netns", "add", lab.space("second"))
        run("ip", "-n", lab.space("second"), "link", "add", "u2", "type", "veth", "peer", "name", "g2",
            "netns", lab.space("gateway"))
        run("ip", "-n", lab.space("second"), "link", "add", "d2", "type", "veth", "peer", "name",
            "m2", "netns", lab.space("mx"))
        self._ip("second", "addr add 10.99.0.2/30 dev u2", "addr add 10.99.1.1/30 dev d2",
                 "link set u2 up", "link set d2 up", "link set lo up",
                 "route add default via 10.99.0.1", f"route add {self.address}/32 via 10.99.1.2")
        self._ip("gateway", "addr add 10.99.0.1/30 dev g2", "link set g2 up",
                 f"route add {self.address}/32 via 10.99.0.2")
        self._ip("mx", "addr add 10.99.1.2/30 dev m2", "link set m2 up")
        lab.in_space("mx", "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        lab.in_space("second", "nft", "-f", "-", stdin=None, input=self.RULES)
        self.process = lab.start("second", str(self.t.gateway.program), "run", "-c", str(self.conf),
                                 log=self.log)
        wait_for(lambda: "event=ready" in self.log.read_text(), "event=ready of the second", 30)
        return self

    def __exit__(self, *exc):
        lab = self.t.lab
        lab.stop(self.process, signal.SIGTERM, 40)
        self._ip("gateway", f"route del {self.address}/32 via 10.99.0.2")
        self._ip("second", "link del u2", "link del d2")  # with a namespace they would go some time later
        run("ip", "netns", "del", lab.space("second"))

    def records(self, event):
        found = gateway.Gateway.records(_Reader(self.t.gateway.program, self.folder))
        return [one for one in found if one["event"] == event]


class _Reader:
    """What Gateway.records() needs of a gateway."""

    def __init__(self, program, folder):
        self.program, self.record_file = program, folder / "records.msgpack"


def one_of(second, event):
    return wait_for(lambda: second.records(event), f"a record {event} of the second gateway", 20)[-1]


@case(Site("tandem", policy="enforce"), only=ONCE)
def two_gateways_in_a_row(t, site):
    """E22: the first has the client, the second has the first. What the second hides the first cannot demand, and
    says so; where the second lets the first's TLS pass, or shows its own, each enforces its part, and no loop begins."""
    server = t.mx(site)
    no_starttls = "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy"
    with Second(t, site, "") as second:
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1], no_starttls, "RCPT, STARTTLS hidden by the second")
        peer.quit()
        fields(t.recipients(site)[0], reply_id="REP-011")
        equal(second.records("recipient"), [], "recipients that the second saw")
        server.wait_idle()
        assert b"RCPT" not in server.in_clear(), "a recipient in clear"
    client = f'client "the first" {{ client = {{10.99.0.1}} starttls = passthrough }}'
    with Second(t, site, client) as second:
        delivers(t, site, server)
        fields(t.recipients(site, 2)[1], mx_proven=True, mx=site.mx)
        one_of(second, "passthrough")
    with Second(t, site, "rollout = survey") as second:
        delivers(t, site, server)
        fields(t.recipients(site, 3)[2], mx_proven=True, outcome="delivered")
        fields(one_of(second, "survey"), starttls_accepted=True, mails_in_clear=0)
    with configured(t, "rollout = survey"), Second(t, site, "") as second:
        delivers(t, site, server)
        fields(one_of(second, "recipient"), mx_proven=True, outcome="delivered", client="10.99.0.1")


def delivers(t, site, server):
    word = marker()
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "MAIL and RCPT")
    equal(peer.content(message(word)).code, 250, "content")
    peer.quit()
    mail = next(m for m in server.mailbox if word.encode() in m.content)
    assert mail.tls, "the MX has it in clear"
