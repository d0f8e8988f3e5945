"""TLSRPT, RFC 8460: a day's traffic becomes reports, which reach an https host and a real mailbox
(RPT-009, 020 ... 035, 040, 050 ... 063, 070 ... 075, 079, 080, 090, RTLS-008, TC-RPT-05 ... 11, 15, 17,
18, 19, 23).

In DAY and check_policy(): details added up (RPT-025), policies that cannot be had (RPT-026), mode none
(RPT-028), a result type each (RPT-040), an MX that is not listed (RPT-042), lines and patterns
(RPT-056, RPT-057, TC-RPT-08, TC-RPT-10), addresses (RPT-059), both policies and none (TC-RPT-06,
TC-RPT-07), contact-info (TC-RPT-23); copies in a folder (RPT-093). The sink's certificate names
another host (RPT-073). In tlsrpt.parse_mail(): RPT-061, RPT-062, RPT-063. Reports by mail are not
counted (RPT-029, RPT-081, TC-RPT-17). Destinations: TC-RPT-19, TC-RPT-20."""

import base64
import contextlib
import gzip
import json
import os
import signal
import sqlite3
import time

import tlsrpt
from case import ONCE, case, equal, marker, message, rcpt
from cases_status import metrics, total
from lab import run, wait_for
from postfix import MILTER_PORT, mailbox
from tlsrpt import SINK_PORT, Sink
from world import GATEWAY_OUTSIDE, Site

CONTACT = "tlsrpt@gate.test"
HTTPS = ('_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=https://reports.{domain}:%d/{domain}"\n'
         'reports.{domain}. IN A {web4}' % SINK_PORT)


@contextlib.contextmanager
def reporting(t, more="", retry_max=5):
    """The gateway reports, with seconds in place of hours; the folder for copies."""
    copies = t.gateway.folder / "copies"
    copies.mkdir(exist_ok=True)
    t.gateway.configure(f"""tlsrpt_organization = "Lab"
tlsrpt_contact = "{CONTACT}"
tlsrpt_directory = "{copies}"
tlsrpt_spread = 1
tlsrpt_retry = 1
tlsrpt_retry_max = {retry_max}
{more}""")
    t.gateway.reload()
    try:
        yield copies
    finally:
        t.gateway.configure("")
        t.gateway.reload()


def send(t, site, count=1, rcpts=1, **script):
    """Sessions to the site's MX; each to its end."""
    server = t.mx(site, **script)
    for _ in range(count):
        peer = t.ready(site)
        for _ in range(rcpts):
            replies = peer.envelope(f"secret-user@{site.domain}", sender="hidden@client.test")
            if replies[1].code == 250:
                peer.content(message(marker()))
            else:
                peer.cmd("RSET")
        peer.quit()
        t.session(peer)
    server.close()


def counted(t, site, total):
    """Wait until the store has all that was told."""
    def enough():
        done = t.gateway.command("report", "list", "--day", "today", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [line for line in lines if line["domain"] == site.domain
                and line["succeeded"] + line["failed"] == total]

    return wait_for(enough, f"{total} sessions of {site.domain} in the store", 15)[0]


def midnight(t, sites):
    """The day is over for these: what was counted today was counted yesterday. Other cases' domains, a thousand
    and more, would have to be reported first."""
    with contextlib.closing(sqlite3.connect(t.gateway.folder / "reports.sqlite", 20)) as store:
        with store:
            store.executemany("UPDATE domain SET day = day - 86400 WHERE state = 0 AND name = ?",
                              [(site.domain,) for site in sites])


def report_of(t, site, sink):
    done = t.gateway.command("report", "send", site.domain, "--day", "today")
    assert done.returncode == 0, done.stdout + done.stderr
    return posted(site, sink)


def posted(site, sink):
    _, headers, body, _ = sink.bodies(f"/{site.domain}")[-1]
    equal(headers["Content-Type"], "application/tlsrpt+gzip", "Content-Type (RPT-071)")
    equal(body[:2], b"\x1f\x8b", "gzip (RPT-064)")
    text = gzip.decompress(body)
    for word in (b"secret-user", b"hidden@", b"192.0.2."):
        assert word not in text, f"{word} in a report (RPT-090)"
    return tlsrpt.parse(text)


def summary(element):
    counts = element["summary"]
    return (element["policy"]["policy-type"], counts["total-successful-session-count"],
            counts["total-failure-session-count"],
            {(d["result-type"], d.get("failure-reason-code", "").partition(": no keys")[0]):
             d["failed-session-count"]
             for d in element.get("failure-details", [])})


# What each kind of domain ends in: site, script of its MX, sessions, elements of the report.
GOOD = Site("rp-good", policy="enforce", rest=HTTPS)
WRONG = Site("rp-wrong", policy="enforce", cert="wrong", rest=HTTPS)
EXPIRED = Site("rp-expired", policy="testing", cert="expired", rest=HTTPS)
UNKNOWN = Site("rp-unknown", policy="testing", cert="unknown-ca", rest=HTTPS)
CLEAR = Site("rp-clear", policy="enforce", rest=HTTPS)
UNLISTED = Site("rp-unlisted", policy="testing", patterns=["mx.elsewhere.test"], rest=HTTPS)
NOPOLICY = Site("rp-nopolicy", cert="self-signed", rest=HTTPS)
NOTLS = Site("rp-notls", rest=HTTPS)
MODENONE = Site("rp-none", policy="none", rest=HTTPS)
FETCH = Site("rp-fetch", policy="enforce", rest=HTTPS)
BAD = Site("rp-bad", policy="enforce", rest=HTTPS)
BROKEN = Site("rp-broken", policy="enforce", rest=HTTPS)
TLSA = Site("rp-tlsa", tlsa=["3 1 1"], rest=HTTPS)
MISMATCH = Site("rp-mismatch", policy="enforce", tlsa=["3 1 1 " + "00" * 32], rest=HTTPS)
BOGUS = Site("rp-bogus", tlsa=[], rest=HTTPS + "\n_25._tcp.{mx}. IN CNAME x.bogus.test.")
MUST = Site("rp-must", rest=HTTPS)
INVALID = Site("rp-invalid", policy="enforce", rest=HTTPS)
WEBPKI = Site("rp-webpki", rest=HTTPS + '\n_mta-sts.{domain}. IN TXT "v=STSv1; id=1;"\n'
              "mta-sts.{domain}. IN A {web4}")
MUST_HAVE_DANE = """override "must" {
domain = {rp-must.test}
action = dane
reason = "test"
until = 2099-12-31
}
"""
UNKNOWN_POLICY = (FETCH, INVALID, WEBPKI)
DAY = [
    (GOOD, {}, [("sts", 3, 0, {})], 3),
    (WRONG, {}, [("sts", 0, 2, {("certificate-host-mismatch", ""): 2})], 2),
    (EXPIRED, {}, [("sts", 0, 1, {("certificate-expired", "X509_V_ERR_CERT_HAS_EXPIRED"): 1})], 1),
    (UNKNOWN, {}, [("sts", 0, 1, {("certificate-not-trusted",
                                   "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY"): 1})], 1),
    (CLEAR, {"starttls": False}, [("sts", 0, 1, {("starttls-not-supported", ""): 1})], 1),
    (UNLISTED, {}, [("sts", 0, 1, {("validation-failure", "sts-mx-mismatch"): 1})], 1),
    (NOPOLICY, {}, [("no-policy-found", 1, 0, {})], 1),
    (NOTLS, {"starttls": False}, [("no-policy-found", 0, 1, {("starttls-not-supported", ""): 1})],
     1),
    (MODENONE, {}, [("no-policy-found", 1, 0, {})], 1),
    (FETCH, {}, [("sts", 0, 1, {("sts-policy-fetch-error", "http-404"): 1})], 1),
    (TLSA, {}, [("tlsa", 1, 0, {})], 1),
    (MISMATCH, {}, [("sts", 1, 0, {}),
                    ("tlsa", 0, 1, {("tlsa-invalid", "X509_V_ERR_DANE_NO_MATCH"): 1})], 1),
    (BOGUS, {}, [("tlsa", 0, 1, {("dnssec-invalid", "tlsa bogus"): 1})], 1),
    (MUST, {}, [("tlsa", 0, 1, {("dane-required", ""): 1})], 1),
    (INVALID, {}, [("sts", 0, 1, {("sts-policy-invalid", "line 0: mx missing"): 1})], 1),
    (WEBPKI, {}, [("sts", 0, 1, {("sts-webpki-invalid", "X509_V_ERR_HOSTNAME_MISMATCH"): 1})], 1),
]


@case(GOOD, WRONG, EXPIRED, UNKNOWN, CLEAR, UNLISTED, NOPOLICY, NOTLS, MODENONE, FETCH, TLSA,
      MISMATCH, BOGUS, MUST, INVALID, WEBPKI, core=True, only=ONCE)
def a_days_traffic_becomes_reports(t, *_sites):
    """TC-RPT-05 ... 07, 10, 11: each kind of session, with each result type of RFC 8460 4.3
    (TC-RPT-11), in its domain's report, which leaves by itself when the day is over (RPT-076) and has
    the form of tlsrpt.schema.json."""
    sink = Sink(t.lab, t.world.materials.web_pair)
    t.web.withdraw(FETCH)
    t.web.publish_as(INVALID.domain, "version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\n")
    t.web.publish_as(WEBPKI.domain, "version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n")
    try:
        with reporting(t, MUST_HAVE_DANE) as copies:
            for site, script, _, count in DAY:
                send(t, site, count, rcpts=3 if site is GOOD else 1, **script)
            for site, _, wanted, count in DAY:
                counted(t, site, count * len(wanted))
            midnight(t, [site for site, *_ in DAY])
            yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400))
            for site, _, wanted, _ in DAY:
                report = posted(site, sink)
                equal(report["date-range"]["start-datetime"][:10], yesterday, "date-range")
                equal(sorted(map(summary, report["policies"]), key=str), sorted(wanted, key=str),
                      site.domain)
                equal(report["contact-info"], CONTACT, "contact-info")
                check_policy(t, site, report)
            tlsrpt.validate(t.gateway.folder, [gzip.decompress(body) for _, _, body, _ in
                                               sink.posts])
            seen = {result for *_, details in map(summary, every(sink)) for result, _ in details}
            equal(seen, tlsrpt.RESULT_TYPES, "result types in all reports (RPT-040)")
            copied = [path.name for path in copies.iterdir() if ".tmp" not in path.name]
            assert any(GOOD.domain in name for name in copied), copied
            check_from_log(t, sink)
    finally:
        sink.close()
        t.web.publish(FETCH)


def every(sink):
    """The elements of all reports that came."""
    return [element for _, _, body, _ in sink.posts
            for element in json.loads(gzip.decompress(body))["policies"]]


def check_policy(t, site, report):
    """RPT-055 ... 057, 059."""
    for element in report["policies"]:
        policy = element["policy"]
        if policy["policy-type"] == "sts" and site not in UNKNOWN_POLICY:
            equal(policy["policy-string"], site.policy_text().split("\r\n")[:-1], "policy-string")
            equal(policy["mx-host"], site.patterns, "mx-host")
            equal(policy["policy-domain"], site.domain, "policy-domain")
        if policy["policy-type"] == "tlsa":
            equal(policy["mx-host"], [site.mx], "mx-host")
            equal(policy["policy-domain"], site.mx, "policy-domain (RPT-055)")
        for detail in element.get("failure-details", []):
            if site in UNKNOWN_POLICY:
                assert "receiving-ip" not in detail, detail
            else:
                equal(detail["receiving-ip"], site.address(t.family), "receiving-ip")
                equal(detail["sending-mta-ip"], GATEWAY_OUTSIDE[t.family], "sending-mta-ip")


def check_from_log(t, sink):
    """RPT-020: the same out of the records alone."""
    for site, *_ in DAY:
        done = t.gateway.command("report", "show", site.domain, "--from-log",
                                 str(t.gateway.record_file))
        assert done.returncode == 0, done.stderr
        again, sent = json.loads(done.stdout), tlsrpt.parse(
            gzip.decompress(sink.bodies(f"/{site.domain}")[-1][2]))
        key = lambda element: json.dumps(element, sort_keys=True)  # noqa: E731
        equal(sorted(again["policies"], key=key), sorted(sent["policies"], key=key),
              f"{site.domain} from records")


MAIL = Site("rp-mailbox", postfix=True)


SIGNED = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type",
          "tls-report-domain", "tls-report-submitter")


@contextlib.contextmanager
def signing(t, domain):
    """opendkim beside the site's server, as docs/tlsrpt.md has it; p= of its key's record."""
    folder = t.gateway.folder / "dkim"
    folder.mkdir(mode=0o700)
    key = folder / "key"
    run("openssl", "genrsa", "-out", str(key), "2048")
    run("openssl", "rsa", "-in", str(key), "-pubout", "-outform", "DER", "-out", f"{key}.der")
    (folder / "conf").write_text(f"""Mode s
Domain {domain}
Selector sel
KeyFile {key}
Socket inet:{MILTER_PORT}@127.0.0.1
InternalHosts 0.0.0.0/0
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
SignHeaders {",".join(SIGNED)}
RequireSafeKeys no
""")
    daemon = t.lab.start("mx", "opendkim", "-f", "-x", str(folder / "conf"), log=folder / "log")

    def listens():
        with t.lab.socket("mx", 4) as probe:
            return probe.connect_ex(("127.0.0.1", MILTER_PORT)) == 0

    try:
        wait_for(listens, "opendkim")
        public = base64.b64encode((folder / "key.der").read_bytes()).decode()
        yield f"p={public}"
    finally:
        t.lab.stop(daemon, signal.SIGTERM)


def check_signature(raw, record, domain):
    """RPT-065, RPT-066 (no l=), RPT-067 (what it covers), RPT-068 (the key record), TC-RPT-16."""
    for service in ("s=tlsrpt; ", ""):  # a list of services is more than python3-dkim reads
        good, tags = tlsrpt.verify_dkim(raw, f"v=DKIM1; k=rsa; {service}{record}")
        assert good, f"the signature does not verify: {tags}"
    equal(tags["d"], domain, "d=")
    assert "l" not in tags, f"l= in {tags}"
    assert set(SIGNED) <= {name.strip().lower() for name in tags["h"].split(":")}, tags["h"]
    other = raw.replace(b"TLS-Report-Domain: rp-", b"TLS-Report-Domain: xp-")
    assert other != raw and not tlsrpt.verify_dkim(
        other, f"v=DKIM1; k=rsa; {record}")[0], "a changed header verifies"


@case(Site("rp-mail", policy="testing", cert="wrong",
           rest='_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:box@rp-mailbox.test"'),
      MAIL, only=ONCE)
def a_report_reaches_a_real_mailbox(t, site, mail):
    """RPT-060 ... 069, RTLS-008, TC-RPT-04 (a mailbox of another domain), TC-RPT-15, TC-RPT-16."""
    with (signing(t, "gate.test") as key,
          reporting(t, f'tlsrpt_relay = "{mail.address(4)}:587"\ntlsrpt_dkim = external\n'
                       f'tlsrpt_from = "bounces@gate.test"')):
        send(t, site)
        counted(t, site, 1)
        equal(t.gateway.command("report", "send", "--day", "today", site.domain).returncode, 0,
              "report send")
        raw = wait_for(lambda: [m for m in mailbox(t.lab) if b"rp-mail.test" in m], "the mailbox",
                       30)[0]
        check_signature(raw, key, "gate.test")
        report, parsed = tlsrpt.parse_mail(raw, CONTACT)
        equal(parsed["To"].addresses[0].addr_spec, "box@rp-mailbox.test", "To")
        equal(parsed["Return-Path"], "<bounces@gate.test>", "envelope sender (RPT-069)")
        equal(summary(report["policies"][0]),
              ("sts", 0, 1, {("certificate-host-mismatch", ""): 1}), "what it says")
        listed = t.gateway.command("report", "list", "--day", "today", "--json").stdout
        assert "rp-mailbox.test" not in listed, f"a report that counts itself (RPT-080): {listed}"


def is_told(t):
    """Do the metrics have every kind of end that the case above provokes?"""
    samples = metrics(t)

    def ways(**labels):
        return total(samples, "stsgate_tlsrpt_deliveries_total", channel="https", **labels)

    return (ways(result="sent") and ways(result="later") and ways(result="refused")
            and total(samples, "stsgate_tlsrpt_sessions_total", result="counted")
            and all(total(samples, "stsgate_tlsrpt_reports_total", result=result)
                    for result in ("made", "sent", "failed", "no_record")))


@case(Site("rp-endless", rest=HTTPS), Site("rp-flood", rest=HTTPS), Site("rp-rebind", rest=HTTPS),
      only=ONCE)
def hostile_destinations_get_nowhere(t, endless, flood, rebind):
    """RPT-075: an answer without end is not read, neither its body nor its header. RPT-074: a name
    that moves inside between two attempts is not followed there."""
    sink = Sink(t.lab, t.world.materials.web_pair,
                {f"/{endless.domain}": "endless", f"/{flood.domain}": "flood",
                 f"/{rebind.domain}": 503})

    def entry(site):
        done = t.gateway.command("report", "list", "--day", "today", "--json")
        return next(line for line in map(json.loads, done.stdout.splitlines())
                    if line["domain"] == site.domain)

    def ends(site, problem):
        wait_for(lambda: entry(site)["problem"] == problem, f"{problem} of {site.domain}", 40)

    try:
        with reporting(t, retry_max=600):
            for site in (endless, flood, rebind):
                send(t, site)
            for site in (endless, flood, rebind):
                counted(t, site, 1)
                t.gateway.command("report", "send", "--day", "today", site.domain)
            wait_for(lambda: entry(endless)["sent"], "2xx with a body that does not end", 20)
            ends(flood, "protocol")
            assert not entry(flood)["sent"], "a header that does not end is no acceptance"
            sink.bodies(f"/{rebind.domain}")  # the first attempt
            rebind.rest = HTTPS.replace("{web4}", "10.9.8.7")
            t.dns.republish()
            t.gateway.command("report", "send", "--day", "today", rebind.domain)
            ends(rebind, "address-not-permitted")
    finally:
        sink.close()


@case(Site("rp-relay"), Site("rp-smart", rest=HTTPS), Site("rp-other", rest=HTTPS), only=ONCE)
def a_smart_host_gets_the_report(t, relay, smart, other):
    """RPT-010: the policy domain of mail through a smart host is that host; the recipient's domain
    hears nothing of it."""
    sink = Sink(t.lab, t.world.materials.web_pair)
    more = (f'smart_host "{smart.domain}" {{\n'
            f"destination = {{{relay.address(4)}}}\n}}\n")
    try:
        with reporting(t, more):
            t.mx(relay)
            peer = t.ready(relay)
            equal(peer.envelope(f"user@{other.domain}")[1].code, 250, "RCPT")
            peer.content(message(marker()))
            peer.quit()
            counted(t, smart, 1)
            report = report_of(t, smart, sink)
            equal(summary(report["policies"][0]), ("no-policy-found", 1, 0, {}), "what it says")
            equal(report["policies"][0]["policy"]["policy-domain"], smart.domain, "policy-domain")
            listed = t.gateway.command("report", "list", "--day", "today", "--json").stdout
            assert other.domain not in listed, listed
    finally:
        sink.close()


@case(Site("rp-two", rest='_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=https://127.0.0.1/x , '
                          'https://reports.{domain}:%d/dead,https://reports.{domain}:%d/{domain}"\n'
                          'reports.{domain}. IN A {web4}' % (SINK_PORT, SINK_PORT)),
      Site("rp-refused", rest=HTTPS), Site("rp-moved", rest=HTTPS), Site("rp-inside", rest=(
          '_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=https://reports.{domain}/x"\n'
          'reports.{domain}. IN A 10.1.2.3')), Site("rp-silent"),
      Site("rp-lame", rest="_smtp._tls.{domain}. IN CNAME x.dead.test."), only=ONCE)
def destinations_are_tried_as_they_deserve(t, two, refused, moved, inside, silent, lame):
    """RPT-009, RPT-070, RPT-072, RPT-074, RPT-077, TC-RPT-18, 19, 20, TC-RPT-27."""
    sink = Sink(t.lab, t.world.materials.web_pair,
                {"/dead": 503, f"/{refused.domain}": 404, f"/{moved.domain}": 302})
    sites = (two, refused, moved, inside, silent, lame)

    def ended(site):
        def look():
            done = t.gateway.command("report", "list", "--json")
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            return [line for line in lines
                    if line["domain"] == site.domain and line["due"] == 0 and line["problem"]
                    or line["domain"] == site.domain and line["sent"]]
        return wait_for(look, f"an end of {site.domain}'s report", 40)[0]

    try:
        with reporting(t):
            for site in sites:
                send(t, site)
            for site in sites:
                counted(t, site, 1)
                t.gateway.command("report", "send", "--day", "today", site.domain)
            assert ended(two)["sent"], "the last destination has accepted"
            equal(ended(refused)["problem"], "http-404", "a 4xx ends it")
            equal(len(sink.bodies(f"/{refused.domain}")), 1, "attempts")
            equal(ended(inside)["problem"], "address-not-permitted", "an address inside")
            equal(ended(silent)["problem"], "absent", "no record, no report")
            equal(ended(moved)["problem"], "http-302", "a redirect")
            # Within 5 s at 0, 1 and 3 s: the wait doubles (RPT-077).
            assert 2 <= len(sink.bodies(f"/{moved.domain}")) <= 4, "attempts"
            problem = ended(lame)["problem"]
            assert problem.startswith("txt-"), f"a record that nobody gives: {problem}"
            equal(counted(t, lame, 1)["failed"], 0, "what was counted stays")
            equal([p for p in sink.posts if p[0] == "/elsewhere"], [], "a redirect was followed")
            ids = {tlsrpt.parse(gzip.decompress(p[2]))["report-id"]
                   for p in sink.bodies(f"/{moved.domain}")}
            equal(len(ids), 1, "report-ids of one report (RPT-054)")
            rests = t.gateway.command("report", "suppress").stdout
            assert f"/{moved.domain} until=" in rests, rests
            wait_for(lambda: is_told(t), "the metrics to say so", 10)
    finally:
        sink.close()


@case(Site("rp-crash", policy="testing", cert="wrong", rest=HTTPS), only=ONCE)
def counts_survive_a_crash(t, site):
    """RPT-032, RPT-054: kill -9 of the policy process. RPT-033, TC-RPT-12: no MX there, nothing to
    count."""
    sink = Sink(t.lab, t.world.materials.web_pair)
    try:
        with reporting(t):
            equal(t.client(site).reply().code, 421, "nobody listens")
            send(t, site, 3)
            counted(t, site, 3)
            first = report_of(t, site, sink)
            send(t, site, 2)
            for pid in t.gateway.children("stsgate-policy"):  # at once: what the store has not
                os.kill(pid, signal.SIGKILL)  # yet is told again, and counts once
            # Until it is there again recipients are put off before any TLS, which nobody counts.
            server = t.mx(site)
            wait_for(lambda: rcpt(t, site).code == 250, "the policy process", 20)
            server.close()
            send(t, site, 1)
            counted(t, site, 7)
            t.gateway.command("report", "send", site.domain, "--day", "today")
            _, _, body, _ = sink.bodies(f"/{site.domain}", 2)[-1]
            again = tlsrpt.parse(gzip.decompress(body))
            equal(again["report-id"], first["report-id"], "report-id")
            equal(summary(again["policies"][0])[2], 7, "failures")
    finally:
        sink.close()
