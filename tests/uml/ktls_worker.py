#!/usr/bin/env python3
"""A whole gateway whose kernel makes the TLS records: run.sh ktls_worker.py BUILD

The lab's namespaces, its DNS and its scripted MX, in a machine whose kernel has TLS: that kernel's
nftables knows no tproxy, so the client comes by a PROXY header. One worker, fenced in as ever. Each
case is a line; the exit status is 1 when one failed."""

import contextlib
import pathlib
import ssl
import subprocess
import sys
import threading
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "lab"))

import certs
import dns
import gateway
import lab
import world
from cases_client import header
from client import Client
from mx import ScriptedMx, Script
from mx_tls import Library, note_end, only, only_1_2, updating

MAIL = "".join(f"{n:07d} {'x' * 68}\r\n" for n in range(40000)).encode()  # 3 MiB
HALF = len(MAIL) // 2
SLOWNESS = 4
PATIENCE_S = 90.0


class Proxied(gateway.Gateway):
    """Its listener takes a PROXY header from the client's network."""

    def __init__(self, on, build, certificates, zones):
        super().__init__(on, build, "proxy", certificates, zones)
        self.configure('ktls = true\nworkers = 1\nhandshake_timeout = 60\nconnect_timeout = 60\n'
                       f'proxy_networks = {{"{world.CLIENT[4]}/32"}}\n')


class Stage:
    """Everything that is up. Use as a context manager."""

    def __init__(self, build):
        self.build, self.lab = build, lab.Lab()
        self.site = world.Site("ktls", tlsa=["3 1 1"])
        self.gateway = self.pair = None
        self.seen = 0  # records of recipients, by the cases so far

    def __enter__(self):
        self.lab.__enter__()
        try:
            self._bring_up()
        except BaseException:
            self.lab.close()
            raise
        return self

    def _bring_up(self):
        world.number_sites([self.site])
        certificates = certs.Certificates(self.lab.folder / "certs")
        self.pair = certificates.make("ktls", [self.site.mx])
        zones = dns.Zones(self.lab.folder / "zones", [self.site], certificates,
                          {self.site: self.pair})
        dns.NameServer(self.lab, zones).wait()
        self.gateway = Proxied(self.lab, self.build, certificates, zones)
        self.gateway.launch()

    def __exit__(self, *exc):
        try:
            self.gateway.stop()
        finally:
            self.lab.close()

    @contextlib.contextmanager
    def mx(self, **script):
        script.setdefault("steps", {}).setdefault("QUIT", note_end)
        server = ScriptedMx(self.lab, self.site.mx, self.site.address(4), 4,
                            Script(pair=self.pair, **script))
        try:
            yield server
        finally:
            server.close()

    def by_kernel(self):
        """How many connections of the gateway's namespace the kernel has taken over so far."""
        text = self.lab.in_space("gateway", "cat", "/proc/net/tls_stat")
        return int(dict(line.split() for line in text.splitlines())["TlsTxSw"])

    def ready(self):
        """A client that is past EHLO."""
        peer = Client(self.lab, world.GATEWAY_INSIDE[4], 4, self.gateway.port, timeout=PATIENCE_S)
        peer.send(header(world.CLIENT[4], self.site.address(4)))
        assert peer.greet().code == 250, "EHLO"
        return peer

    def send(self, peer, half_way=None):
        """One mail; the reply to it. half_way: an Event that is waited for in the middle."""
        for line in (f"MAIL FROM:<a@{self.site.domain}>", f"RCPT TO:<b@{self.site.domain}>"):
            reply = peer.cmd(line)
            assert reply.code == 250, f"{line}: {reply}"
        assert peer.cmd("DATA").code == 354, "DATA"
        peer.send(MAIL[:HALF])
        assert half_way is None or half_way.wait(PATIENCE_S), "what was to happen half way"
        peer.send(MAIL[HALF:] + b".\r\n")
        return peer.reply()

    def deliver(self, server, peer, half_way=None):
        """One mail, the same octets at the MX."""
        before = len(server.mailbox)
        reply = self.send(peer, half_way)
        assert reply.code == 250, f"end of data: {reply}"
        assert len(server.mailbox) == before + 1, "one mail more"
        assert server.mailbox[-1].content + b"\r\n" == MAIL, "the same octets"

    def records(self, peer, count=1):
        """Those of the recipients of a session, which ends here."""
        peer.cmd("QUIT")

        def written():
            found = [r for r in self.gateway.records() if r["event"] == "recipient"]
            return found[self.seen:] if len(found) >= self.seen + count else None

        found = lab.wait_for(written, "the records")
        self.seen += len(found)
        expect(len(found), count, "records")
        return found


def engines(records):
    return {(record["engine"], record["engine_reason"]) for record in records}


def expect(got, want, what):
    assert got == want, f"{what}: {got!r}, wanted {want!r}"


def run_suite(stage, suite, **script):
    """Two mails in one session, replies between them, an end by close_notify."""
    before = stage.by_kernel()
    with stage.mx(**script) as server:
        peer = stage.ready()
        stage.deliver(server, peer)
        stage.deliver(server, peer)
        records = stage.records(peer, 2)
        server.wait_idle()
        expect([c.end for c in server.connections], ["close_notify"], "the ends")
    expect(engines(records), {("ktls", "")}, "engines")
    expect({r["tls"]["cipher"] for r in records}, {suite}, "suites")
    expect(stage.by_kernel(), before + 1, "connections that the kernel took over")


def tls_1_3_aes_128(stage):
    run_suite(stage, "TLS_AES_128_GCM_SHA256", tune=only("TLS_AES_128_GCM_SHA256"))


def tls_1_3_aes_256(stage):
    run_suite(stage, "TLS_AES_256_GCM_SHA384", tune=only("TLS_AES_256_GCM_SHA384"))


def tls_1_3_chacha20(stage):
    run_suite(stage, "TLS_CHACHA20_POLY1305_SHA256", tune=only("TLS_CHACHA20_POLY1305_SHA256"))


def tls_1_2_aes_256(stage):
    run_suite(stage, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", newest=ssl.TLSVersion.TLSv1_2,
              tune=only_1_2("ECDHE-ECDSA-AES256-GCM-SHA384"))


def the_peer_changes_its_own_key(stage):
    """Its replies are under another key; ours is not concerned."""
    done = threading.Event()
    with stage.mx(steps={"DATA": updating([Library.UPDATE_NOT_REQUESTED], HALF // 2, done)}) as server:
        peer = stage.ready()
        stage.deliver(server, peer, done)
        expect(engines(stage.records(peer)), {("ktls", "")}, "engines")


def the_peer_asks_for_a_new_key(stage):
    """FAULTS D5: this kernel cannot give one. The mail is not half delivered, the client hears to try
    again, and from then on the worker asks the kernel no more."""
    done = threading.Event()
    with stage.mx(steps={"DATA": updating([Library.UPDATE_REQUESTED], HALF // 2, done)}) as server:
        peer = stage.ready()
        reply = stage.send(peer, done)
        expect(reply.code, 451, f"end of data, {reply}")
        expect(server.mailbox, [], "mails")
        expect(engines(stage.records(peer)), {("ktls", "rekey-unsupported")}, "engines")
        server.wait_idle()
        server.script.steps["DATA"] = b"354 Go on\r\n"
        peer = stage.ready()
        stage.deliver(server, peer)
        expect(engines(stage.records(peer)), {("seal", "off")}, "engines")


def the_worker_is_confined(stage):
    """What it may call includes what kernel TLS needs: the cases above have run behind the filter."""
    said = [line for line in stage.gateway.read_log().splitlines()
            if "proc=worker" in line and "event=confined" in line]
    assert said and all("call_filter=yes" in line for line in said), said


CASES = (tls_1_3_aes_128, tls_1_3_aes_256, tls_1_3_chacha20, tls_1_2_aes_256,
         the_peer_changes_its_own_key, the_peer_asks_for_a_new_key, the_worker_is_confined)


def main():
    subprocess.run(["/run/modprobe", "ipv6"], check=True)  # of the guest; the lab has both families
    lab.slowness = SLOWNESS  # all of it is emulated, and others may run beside
    failed = 0
    with Stage(sys.argv[1]) as stage:
        for one in CASES:
            try:
                one(stage)
                print(f"ok   {one.__name__}", flush=True)
            except Exception:  # a case may fail in any way; the others go on
                failed += 1
                print(f"FAIL {one.__name__}\n{traceback.format_exc()}{stage.gateway.tail()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
