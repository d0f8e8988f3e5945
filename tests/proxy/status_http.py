"""Raw HTTP against the status process, started as the supervisor starts it (FAULTS H7): what it
answers, what it refuses, and that nobody keeps it from others. Usage: status_http.py PROGRAM"""

import contextlib
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import unittest

from status_served import LINK, PATIENCE_S, Served

PROGRAM = sys.argv.pop(1)
CLIENTS_MAX = 64
ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = re.compile(r"\bstsgate_[a-z_]+[a-z]\b")


class Asking(unittest.TestCase):
    """With a status process, of a supervisor that has no gateway yet."""

    def setUp(self):
        self.served = Served(PROGRAM)

    def tearDown(self):
        self.assertEqual(self.served.end(), 0)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.served.port), PATIENCE_S)

    def wait(self, condition):
        """Until it holds: the process comes to what has happened when it comes to it."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited in vain")
            time.sleep(0.01)

    def ask(self, data):
        with self.connect() as s, contextlib.suppress(ConnectionError):
            s.sendall(data)
            return self.rest(s)
        return b""

    @staticmethod
    def rest(s):
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := s.recv(65536):
                got += part
        return got

    def get(self, path="/healthz", method="GET", host="localhost", more=""):
        return self.ask(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())

    @staticmethod
    def status(answer):
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


class StatusProcess(Asking):
    def test_paths(self):
        for path, status in (("/", 200), ("/metrics", 200), ("/healthz", 503), ("/nothing", 404),
                             ("//", 404), ("/../../etc/passwd", 404), ("/%2e%2e/etc/passwd", 404),
                             ("/metrics/", 404), ("/?query=1", 200), ("/favicon.ico", 404)):
            with self.subTest(path):
                answer = self.get(path)
                self.assertEqual(self.status(answer), status)
                self.assertNotIn(b"root:", answer)

    def test_health_without_a_gateway(self):
        self.assertIn(b"the policy process is not heard", self.get("/healthz"))

    def test_head_is_get_without_a_body(self):
        head, _, body = self.get("/metrics", "HEAD").partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.split(b"\r\n")[0])
        self.assertIn(b"Content-Length: ", head)
        self.assertEqual(body, b"")

    def test_methods(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get"):
            with self.subTest(method):
                answer = self.get("/", method)
                self.assertEqual(self.status(answer), 405)
                self.assertIn(b"\r\nAllow: GET, HEAD\r\n", answer)

    def test_a_body_is_not_read(self):
        answer = self.get("/", "POST", more="Content-Length: 5\r\n\r\nhello")
        self.assertIn(self.status(answer), (405, None))

    def test_other_names(self):
        for host, status in (("evil.example", 421), ("", 421), ("localhost.evil.example", 421),
                             (f"127.0.0.1:{self.served.port}", 200), ("GW.example.com", 200)):
            with self.subTest(host):
                self.assertEqual(self.status(self.get("/metrics", host=host)), status)

    def test_no_name(self):
        self.assertEqual(self.status(self.ask(b"GET / HTTP/1.1\r\n\r\n")), 400)
        self.assertEqual(self.status(self.ask(b"GET / HTTP/1.0\r\n\r\n")), 421)

    def test_headers(self):
        answer = self.get("/")
        policy = [line for line in answer.split(b"\r\n")
                  if line.startswith(b"Content-Security-Policy: ")]
        self.assertEqual(len(policy), 1)
        self.assertIn(b"default-src 'none'", policy[0])
        self.assertNotIn(b"unsafe", policy[0])
        self.assertIn(b"\r\nX-Content-Type-Options: nosniff\r\n", answer)
        self.assertNotIn(b"Access-Control-Allow-Origin", answer)

    def test_nonces_differ(self):
        first, second = self.get("/"), self.get("/")
        nonce = first.split(b"style-src 'nonce-")[1].split(b"'")[0]
        self.assertIn(b'<style nonce="' + nonce, first)
        self.assertNotIn(nonce, second)

    def test_malformed(self):
        for name, data in (("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10),
                           ("no version", b"GET /\r\n\r\n"),
                           ("long URL", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n"),
                           ("long header", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
                            + b"a" * 100000 + b"\r\n\r\n"),
                           ("many headers", b"GET / HTTP/1.1\r\nHost: localhost\r\n"
                            + b"X: 1\r\n" * 20000 + b"\r\n")):
            with self.subTest(name):
                self.assertNotEqual(self.status(self.ask(data)), 200)
        self.assertEqual(self.status(self.get("/metrics")), 200)

    def test_one_request_a_connection(self):
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.assertEqual(self.ask(request * 3).count(b"HTTP/1.1 200"), 1)

    def test_a_slow_client_is_cut(self):
        """One octet a second, which is no silence; and it costs nobody else anything."""
        with self.connect() as slow:
            begun = time.monotonic()
            data = iter(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000)
            while True:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    slow.send(bytes([next(data)]))
                if select.select([slow], [], [], 1)[0]:
                    break
                self.assertLess(time.monotonic() - begun, PATIENCE_S)
            self.assertEqual(self.status(self.get("/metrics")), 200)

    def test_many_clients(self):
        """More than may be there at a time: those beyond wait or are closed, and once the others
        have gone it serves again."""
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(self.connect()) for _ in range(CLIENTS_MAX + 40)]
            for s in crowd:
                with contextlib.suppress(ConnectionError):
                    s.send(b"GET /metr")
        self.wait(lambda: self.status(self.get("/metrics")) == 200)
        self.wait(lambda: len(os.listdir(f"/proc/{self.served.process.pid}/fd")) < CLIENTS_MAX)

    def test_nonsense_on_the_control_channel(self):
        self.served.control.send(b"nonsense")
        self.served.control.send(LINK)  # a link without its descriptor
        self.assertEqual(self.status(self.get("/metrics")), 200)

    def test_nonsense_on_a_link(self):
        with self.served.link() as link:
            link.send(b"nonsense")
            link.settimeout(PATIENCE_S)
            self.assertEqual(link.recv(100), b"")  # it listens to that no more
        self.assertEqual(self.status(self.get("/metrics")), 200)


@unittest.skipUnless(shutil.which("promtool"), "promtool is not installed (package prometheus)")
class Promtool(Asking):
    """What the makers of Prometheus object to."""

    def promtool(self, *argv, data=None):
        done = subprocess.run(["promtool", "check", *argv], input=data, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)

    def test_metrics(self):
        body = self.get("/metrics").partition(b"\r\n\r\n")[2]
        self.promtool("metrics", data=body)

    def test_alerts(self):
        self.promtool("rules", str(ROOT / "deploy" / "prometheus-alerts.yml"))


class Names(unittest.TestCase):
    def test_what_is_used_exists(self):
        """Dashboard, alerts and manual name metrics that there are; the manual names them all."""
        there = set()
        for name in ("counters.c", "status_metrics.c"):
            there |= set(NAME.findall((ROOT / "proxy" / name).read_text()))
        for name in ("deploy/grafana-dashboard.json", "deploy/prometheus-alerts.yml"):
            used = {re.sub("_(bucket|sum|count)$", "", one)
                    for one in NAME.findall((ROOT / name).read_text())}
            self.assertGreater(len(used), 5)
            self.assertEqual(used - there, set(), name)
        manual = (ROOT / "docs" / "operate.md").read_text()
        told = set(NAME.findall(manual))
        told |= {f"stsgate_policy{end}" for end in re.findall(r"`\u2026(_[a-z_]+)`", manual)}
        self.assertEqual(told, there)


if __name__ == "__main__":
    unittest.main()
