"""What discovery and the operator say of a domain, followed into its report (RFC 8461 6, RFC 8460 4.4):
policies as they are served, failures beside a policy that is known, names, and what is left out."""

import gzip
import json
import re

import tlsrpt
from case import ONCE, case, equal, marker, message
from cases_proof import learn
from cases_report import HTTPS, counted, report_of, reporting, send, summary
from lab import wait_for
from tlsrpt import SINK_PORT, Sink
from world import Site

ODD = "version: STSv1\r\nMODE-x:  enforce \r\nmode: enforce\r\nmx: mx.fw-odd.test\r\nunknown:\tany thing\r\nmax_age: 86400\r\n"
GONE = Site("fw-gone", policy="enforce", rest=HTTPS)
SERVED = Site("fw-odd", policy="enforce", rest=HTTPS.replace("https://repo", 'https://repo" "'))
NONE = Site("fw-none", policy="none", cert="wrong", rest=HTTPS)
INVALID = Site("fw-invalid", policy="enforce", rest=HTTPS)
MISSPELT = Site("fw-misspelt", rest=HTTPS.replace("_smtp._tls", "smtp._tls"))
TLSA = Site("fw-tlsa", tlsa=["3 1 1", "3 1 1 " + "ab" * 32], rest=HTTPS)


def problem(t, site):
    """Why a domain's report of today did not leave, once it is said."""
    def said():
        listed = t.gateway.command("report", "list", "--day", "today", "--json").stdout
        lines = [json.loads(line) for line in listed.splitlines()]
        return [line for line in lines if line["domain"] == site.domain and line["problem"]]

    line, = wait_for(said, f"the end of {site.domain}'s report", 40)
    equal(line["sent"], 0, "sent")
    return line["problem"]


@case(GONE, SERVED, NONE, INVALID, MISSPELT, TLSA, only=ONCE)
def what_was_found_is_in_the_report(t, gone, served, none, invalid, misspelt, tlsa):
    """STS-051, STS-102, STS-120, STS-121, RPT-001, RPT-056, TC-RPT-08, TC-RPT-09. RPT-002: the record of
    `served` is in two strings, cut within its URI."""
    t.web.publish_as(served.domain, ODD)
    t.web.publish_as(invalid.domain, "version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\n")
    sink = Sink(t.lab, t.world.materials.web_pair)
    try:
        with reporting(t):
            learn(t, gone)
            counted(t, gone, 1)
            t.dns.republish(silent=[gone])
            for site in (gone, served, none, invalid, misspelt, tlsa):
                send(t, site)
                counted(t, site, 2 if site is gone else 1)
            found = {site: report_of(t, site, sink)["policies"] for site in
                     (gone, served, none, invalid, tlsa)}
            equal([summary(element) for element in found[gone]],
                  [("sts", 2, 0, {("sts-policy-fetch-error", "txt-missing"): 1})], "TXT gone (STS-121)")
            equal(found[served][0]["policy"]["policy-string"], ODD.split("\r\n")[:-1],
                  "the policy's lines, unknown ones and spelling (STS-051)")
            equal([summary(element) for element in found[none]], [("no-policy-found", 1, 0, {})],
                  "mode none, whatever the certificate (STS-102)")
            (kind, good, bad, details), = map(summary, found[invalid])
            equal((kind, good, bad), ("sts", 0, 1), "a policy that is none (STS-120)")
            assert [result for result, _ in details] == ["sts-policy-invalid"], details
            strings = found[tlsa][0]["policy"]["policy-string"]
            assert all(re.fullmatch(r"3 1 1 [0-9A-F]{64}", text) for text in strings), strings
            assert "3 1 1 " + "AB" * 32 in strings and len(strings) == 2, strings
            t.gateway.command("report", "send", misspelt.domain, "--day", "today")
            equal(problem(t, misspelt), "absent", "a record at smtp._tls (RPT-001)")
    finally:
        sink.close()


IDN = Site("xn--mller-kva", rest=HTTPS)
EXCLUDED = Site("fw-excluded", rest=HTTPS)


@case(IDN, EXCLUDED, only=ONCE)
def the_operator_says_who_is_told(t, idn, excluded):
    """RPT-093: exclude, redirect, preview. TC-RPT-22: a domain is told by its A-label."""
    sink = Sink(t.lab, t.world.materials.web_pair)
    t.mx(idn, keywords=("SMTPUTF8", "8BITMIME"))
    rua = f"https://reports.{idn.domain}:{SINK_PORT}/elsewhere"
    try:
        with reporting(t, f'tlsrpt_exclude = {{"{excluded.domain}"}}\ntlsrpt_rua = "{rua}"'):
            peer = t.ready(idn)
            equal([peer.cmd(line.encode()).code for line in
                   ("MAIL FROM:<a@b.test> SMTPUTF8", "RCPT TO:<user@müller.test>")], [250, 250], "envelope")
            peer.content(message(marker()))
            peer.quit()
            send(t, excluded)
            counted(t, idn, 1)
            counted(t, excluded, 1)
            preview = json.loads(t.gateway.command("report", "preview", idn.domain, check=True).stdout)
            for site in (idn, excluded):
                t.gateway.command("report", "send", site.domain, "--day", "today")
            report = tlsrpt.parse(gzip.decompress(sink.bodies("/elsewhere")[-1][2]))
            for one in (preview, report):
                equal([element["policy"]["policy-domain"] for element in one["policies"]], [idn.domain],
                      "policy-domain")
            assert idn.domain in report["report-id"], report["report-id"]
            equal(problem(t, excluded), "excluded", "what became of the other one")
            equal({path for path, *_ in sink.posts}, {"/elsewhere"}, "where reports went")
    finally:
        sink.close()
