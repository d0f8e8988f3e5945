#!/usr/bin/env python3
"""The load generator against the measuring MX, on loopback: what one says it sent the other says it
got. load_and_sink.py FOLDER-OF-THE-PROGRAMS"""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

HOST = "mx.bench.test"
TLS = ["--tls-ca", "crt.pem", "--tls-host", HOST]

CASES = (  # name, options of the sink, options of the load, its exit status, mails, a check of both
    ("one mail in clear", [], [], 0, 1, lambda load, sink: load["tls"] == ""),
    ("many sessions at a time", [], ["--sessions", "16", "--count", "200"], 0, 200, None),
    ("kept sessions, pipelined", [], ["--sessions", "4", "--messages", "50", "--pipelining"], 0, 200,
     lambda load, sink: sink["sessions"] == 4),
    ("a large mail", [], ["--size", "20000000"], 0, 1, lambda load, sink: load["octets"] > 2e7),
    ("TLS 1.3", [], TLS, 0, 1, lambda load, sink: sink["tls13_sessions"] == 1),
    ("TLS 1.2, a large mail", [], TLS + ["--only-tls12", "--size", "5000000"], 0, 1,
     lambda load, sink: sink["tls_sessions"] == 1 and sink["tls13_sessions"] == 0),
    ("a server without TLS 1.3", ["--only-tls12"], TLS, 0, 1,
     lambda load, sink: load["tls"].startswith("TLSv1.2")),
    ("resumption", [], TLS + ["--count", "5", "--resume"], 0, 5,
     lambda load, sink: load["resumed"] == 4 and sink["resumed"] == 4),
    ("no resumption without a ticket", ["--no-resumption"], TLS + ["--count", "5", "--resume"], 0, 5,
     lambda load, sink: load["resumed"] == 0),
    ("resumption, TLS 1.2", [], TLS + ["--count", "5", "--resume", "--only-tls12"], 0, 5,
     lambda load, sink: load["resumed"] == 4),
    ("open loop", [], ["--sessions", "50", "--count", "40", "--rate", "200"], 0, 40,
     lambda load, sink: load["seconds"] >= 0.19),
    ("a slow reader", ["--slow", "2000000"], ["--size", "1000000"], 0, 1,
     lambda load, sink: load["seconds"] >= 0.4),
    ("held sessions go on", [], ["--sessions", "200", "--messages", "2", "--hold"], 0, 400,
     lambda load, sink: load["held"] == 200),
    ("held under TLS", [], TLS + ["--sessions", "100", "--messages", "3", "--hold"], 0, 300,
     lambda load, sink: load["held"] == 100),
    ("a certificate for another name is refused", [], TLS[:3] + ["other.test"], 1, 0,
     lambda load, sink: load["failed"] == 1),
    ("a refusal of the server is a failure", [], ["--recipient", "x>\r\nBAD <x"], 1, 0,
     lambda load, sink: load["failed"] == 1),
    ("a nonsensical option", [], ["--size", "much"], 2, 0, None),
    ("a hold without a second mail", [], ["--hold"], 2, 0, None),
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    def __init__(self, programs, folder, options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [programs / "stsgate-sink", "--listen", f"127.0.0.1:{self.port}", "--cert", "crt.pem",
             "--key", "key.pem", *options], cwd=folder, stdout=subprocess.PIPE, text=True)
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    probe.recv(64)
                    return
        raise SystemExit("the sink does not start")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        counted = json.loads(self.process.communicate(timeout=20)[0])
        counted["sessions"] -= 1  # the probe's
        return counted


def run_load(programs, folder, port, options):
    """Exit status, and the fields of all its lines together. Held sessions are let go on."""
    done = subprocess.run([programs / "stsgate-load", "--to", f"127.0.0.1:{port}", *options],
                          cwd=folder, input="\n", capture_output=True, text=True, timeout=60,
                          check=False)
    said = {}
    for line in done.stdout.splitlines():
        said.update(json.loads(line))
    return done.returncode, said


def run_case(programs, folder, case):
    """None, or what is wrong."""
    _, sink_options, load_options, status, mails, check = case
    sink = Sink(programs, folder, sink_options)
    try:
        got, load = run_load(programs, folder, sink.port, load_options)
    finally:
        counted = sink.stop()
    if got != status or load.get("mails", 0) != mails or counted["mails"] != mails:
        return f"status {got}, load {load}, sink {counted}"
    if load and load["octets"] != counted["octets"]:
        return f"{load['octets']} octets were sent, {counted['octets']} came"
    if check and not check(load, counted):
        return f"load {load}, sink {counted}"
    return None


def edge_sizes(programs, folder):
    """Every size around a line's length, and around that of the lines that repeat: the end of the
    content is found wherever lines end."""
    sink = Sink(programs, folder, [])
    sent = 0
    sizes = [*range(128, 290), *range(65580, 65680)]
    for size in sizes:
        _, load = run_load(programs, folder, sink.port, ["--size", str(size), "--messages", "2"])
        sent += load["octets"] if load["mails"] == 2 else -1
    counted = sink.stop()
    if counted["octets"] != sent or counted["mails"] != 2 * len(sizes):
        return f"{sent} octets were sent; sink {counted}"
    return None


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                        "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "key.pem", "-out",
                        "crt.pem"], cwd=folder, check=True, capture_output=True)
        results = [(case[0], run_case(programs, folder, case)) for case in CASES]
        results.append(("mails of every length", edge_sizes(programs, folder)))
    for name, wrong in results:
        print(f"ok   {name}" if wrong is None else f"FAIL {name}: {wrong}")
        failed += wrong is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
