"""Reports of TLSRPT from the outside: a place to POST them to, and a check against RFC 8460 written
from its text alone (sections 4.4, 5.1 and 5.3).

Names, types and numbers as they have to be, no name twice (RPT-050); subject, headers and file name as
the JSON says (RPT-092)."""

import contextlib
import email
import email.policy
import gzip
import http.server
import json
import re
import ssl
import subprocess
import threading

from pathlib import Path

from lab import wait_for
from world import WEB

SINK_PORT = 8443
SCHEMA = Path(__file__).with_name("tlsrpt.schema.json")
RESULT_TYPES = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
                "certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid",
                "dane-required", "sts-policy-fetch-error", "sts-policy-invalid",
                "sts-webpki-invalid"}
TEXT, NUMBER, LIST, OBJECT = str, int, list, dict
# name: (type, may be left out)
TOP = {"organization-name": (TEXT, False), "date-range": (OBJECT, False),
       "contact-info": (TEXT, False), "report-id": (TEXT, False), "policies": (LIST, False)}
RANGE = {"start-datetime": (TEXT, False), "end-datetime": (TEXT, False)}
ELEMENT = {"policy": (OBJECT, False), "summary": (OBJECT, False), "failure-details": (LIST, True)}
POLICY = {"policy-type": (TEXT, False), "policy-string": (LIST, True),
          "policy-domain": (TEXT, False), "mx-host": (LIST, True)}
SUMMARY = {"total-successful-session-count": (NUMBER, False),
           "total-failure-session-count": (NUMBER, False)}
DETAIL = {"result-type": (TEXT, False), "sending-mta-ip": (TEXT, True),
          "receiving-mx-hostname": (TEXT, True), "receiving-mx-helo": (TEXT, True),
          "receiving-ip": (TEXT, True), "failed-session-count": (NUMBER, False),
          "additional-information": (TEXT, True), "failure-reason-code": (TEXT, True)}
ADDRESS = re.compile(r"[^@\s]+@[a-z0-9.-]+")


class Sink:
    """An https server that takes what is POSTed to it: path -> bodies. answers: status of a path, or
    "endless" for a body, "flood" for a header, that does not end."""

    def __init__(self, lab, pair, answers=None):
        self.posts, self.answers = [], answers or {}
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = sink.answers.get(self.path, 201)
                sink.posts.append((self.path, dict(self.headers), body, status))
                if status == "flood":
                    self.flood(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 1000 + b"\r\n")
                    return
                if status == "endless":
                    self.flood(b"HTTP/1.1 200 OK\r\n\r\n", b"more " * 2000)
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                with contextlib.suppress(OSError):  # nobody reads it all (RPT-075)
                    self.wfile.write(b"thank you" * 20000)

            def flood(self, head, more):
                """An answer without end, as long as somebody listens (RPT-075)."""
                with contextlib.suppress(OSError):
                    self.wfile.write(head)
                    while True:
                        self.wfile.write(more)
                self.close_connection = True

            def log_message(self, *_args):
                pass

        listener = lab.socket("services", 4)
        listener.setsockopt(1, 2, 1)  # SOL_SOCKET, SO_REUSEADDR
        listener.bind((WEB[4], SINK_PORT))
        listener.listen(64)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self.server = http.server.ThreadingHTTPServer((WEB[4], SINK_PORT), Handler,
                                                      bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = context.wrap_socket(listener, server_side=True,
                                                 do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self, path, count=1, seconds=30):
        """What was posted to a path, once there is as much."""
        def enough():
            found = [post for post in self.posts if post[0] == path]
            return found if len(found) >= count else None

        return wait_for(enough, f"{count} reports at {path}", seconds)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def check_object(value, shape, where):
    assert isinstance(value, dict), f"{where}: {value!r} is no object"
    for name in value:
        assert name in shape, f"{where}: unknown {name!r}"
    for name, (kind, optional) in shape.items():
        if name not in value:
            assert optional, f"{where}: {name!r} is missing"
            continue
        assert type(value[name]) is kind, f"{where}.{name}: {value[name]!r}"
        if kind is LIST:
            assert value[name], f"{where}.{name} is empty"
        if kind is NUMBER:
            assert 0 <= value[name] < 2 ** 53, f"{where}.{name}: {value[name]}"


def no_duplicates(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), f"a name twice: {pairs}"
    return dict(pairs)


def parse(text):
    """A report's JSON, checked against RFC 8460 4.4 and RFC 7493."""
    report = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates)
    check_object(report, TOP, "report")
    check_object(report["date-range"], RANGE, "date-range")
    start = report["date-range"]["start-datetime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", start), start
    assert report["date-range"]["end-datetime"] == start[:10] + "T23:59:59Z", report["date-range"]
    assert ADDRESS.fullmatch(report["contact-info"]), report["contact-info"]
    assert ADDRESS.fullmatch(report["report-id"]), report["report-id"]
    for element in report["policies"]:
        check_element(element)
    return report


def validate(folder, reports):
    """Reports, as JSON text, against the schema, by python3-jsonschema of the system's Python."""
    argv = ["/usr/bin/python3", "-m", "jsonschema"]
    for n, text in enumerate(reports):
        path = folder / f"report-{n}.json"
        path.write_bytes(text)
        argv += ["-i", str(path)]
    done = subprocess.run([*argv, str(SCHEMA)], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def verify_dkim(raw, record):
    """(verifies, tags of the signature)"""
    done = subprocess.run(["/usr/bin/python3", str(SCHEMA.with_name("dkim_check.py")), record],
                          input=raw, capture_output=True, timeout=60, check=False)
    assert done.stdout, done.stderr.decode()
    return done.returncode == 0, json.loads(done.stdout)


def check_element(element):
    check_object(element, ELEMENT, "policies")
    policy = element["policy"]
    check_object(policy, POLICY, "policy")
    check_object(element["summary"], SUMMARY, "summary")
    kind = policy["policy-type"]
    assert kind in ("sts", "tlsa", "no-policy-found"), kind
    assert kind != "no-policy-found" or not {"policy-string", "mx-host"} & set(policy), policy
    for name in ("policy-string", "mx-host"):
        assert all(isinstance(text, str) for text in policy.get(name, [])), policy
    details = element.get("failure-details", [])
    for detail in details:
        check_object(detail, DETAIL, "failure-details")
        assert detail["result-type"] in RESULT_TYPES, detail
        assert detail["failed-session-count"] > 0, detail
    distinct = {json.dumps({k: v for k, v in d.items() if k != "failed-session-count"},
                           sort_keys=True) for d in details}
    assert len(distinct) == len(details), f"not added up: {details}"
    failures = element["summary"]["total-failure-session-count"]
    assert failures == 0 or details, element


def parse_mail(raw, contact):
    """(report, message) of a mail, checked against RFC 8460 5.1 and 5.3."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    submitter = contact.split("@")[1]
    assert message["From"].addresses[0].addr_spec == contact, message["From"]
    assert message["TLS-Report-Submitter"] == submitter, message["TLS-Report-Submitter"]
    assert message["TLS-Required"] == "No", message["TLS-Required"]
    assert message["MIME-Version"] == "1.0" and message["Date"] and message["Message-ID"]
    assert message.get_content_type() == "multipart/report", message["Content-Type"]
    assert message.get_param("report-type") == "tlsrpt", message["Content-Type"]
    human, attached = message.iter_parts()
    assert human.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    report = parse(gzip.decompress(attached.get_content()))
    domain = str(message["TLS-Report-Domain"])
    assert str(message["Subject"]) == (f"Report Domain: {domain} Submitter: {submitter} "
                                       f"Report-ID: <{report['report-id']}>"), message["Subject"]
    name = attached.get_filename()
    assert re.fullmatch(rf"{re.escape(submitter)}!{re.escape(domain)}!\d+!\d+![0-9a-f]+\.json\.gz",
                        name), name
    begin, end = map(int, name.split("!")[2:4])
    assert begin % 86400 == 0 and end == begin + 86399, name
    return report, message
