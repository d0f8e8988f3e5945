"""`stsgate check`: the verdict that the gateway has for a mail, its exit status, what it says of a
domain and how that is mended (TC-OPS-03, STS-073)."""

import contextlib
import json
import os
import pathlib
import re
import ssl
import subprocess

from case import ONCE, case, equal, fields
from cases_dane import one_address
from cases_proof import configured
from lab import wait_for
from world import Site

PASS, REFUSE, NO_POLICY, TEMPORARY, USAGE = range(5)
VERDICTS = {PASS: "pass", REFUSE: "refuse", NO_POLICY: "no-policy", TEMPORARY: "temporary"}
WRONG_KEY = "3 1 1 " + "00" * 32

# Keys and types of the object that --json prints.
SCHEMA = {
    "domain": str, "verdict": str, "status": int, "parts": list, "connections": list,
    "findings": list,
}
ANSWER = {"part": str, "name": str, "state": str, "reason": str, "security": str, "owner": str,
          "records": list}
PARTS = {
    "sts-txt": ANSWER, "tlsrpt-txt": ANSWER, "mx": {**ANSWER, "left_out": int}, "address": {**ANSWER, "type": str},
    "policy": {"part": str, "name": str, "state": str, "problem": str, "mode": str, "id": str,
               "max_age": int, "text": str},
    "tlsa": {"part": str, "name": str, "port": int, "state": str, "reason": str, "base": str,
             "dnssec": bool, "records": list},
}
CONNECTION = {"address": str, "port": int, "hosts": str, "end": str, "forbidden": str,
              "elapsed_ms": int, "action": str, "would": str, "reply": str,
              "record": (dict, type(None))}
FINDING = {"level": str, "code": str, "about": str, "text": str, "mend": str}


def shape(value, schema, what):
    equal(sorted(value), sorted(schema), f"keys of {what}")
    for key, kind in schema.items():
        assert isinstance(value[key], kind), f"{what} {key}: {value[key]!r}"


def schema(report):
    """The report is what docs/check.md says."""
    shape(report, SCHEMA, "report")
    for part in report["parts"]:
        shape(part, PARTS[part["part"]], part["part"])
    for connection in report["connections"]:
        shape(connection, CONNECTION, "connection")
        if connection["end"] == "judged":
            equal(connection["record"]["event"], "recipient", "record")
    for finding in report["findings"]:
        shape(finding, FINDING, "finding")
        assert finding["level"] in ("error", "warning", "note"), finding
    equal(VERDICTS[report["status"]], report["verdict"], "verdict and status")


def run(t, *argv, text=None, user=None, conf=None):
    """`stsgate check ...` on the gateway's host."""
    command = ["ip", "netns", "exec", t.lab.space("gateway")]
    if user is not None:
        command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                    "--bounding-set=-all"]
    return subprocess.run([*command, str(t.gateway.program), "check", *argv, "-c",
                           str(conf or t.gateway.conf)], input=text, capture_output=True, text=True,
                          timeout=100, check=False)


def check(t, site, status, *codes):
    """The report of a domain; it ends with that status and has findings of these codes."""
    done = run(t, "--json", site.domain)
    assert done.stdout, (done.returncode, done.stderr)
    report = json.loads(done.stdout)
    schema(report)
    found = [finding["code"] for finding in report["findings"]]
    equal((done.returncode, report["status"]), (status, status),
          f"status of {site.domain} with {found} {done.stderr}")
    for code in codes:
        assert code in found, f"{site.domain}: no finding {code} in {found}"
    return report


def command_lines():
    """Of every process that there is."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # some end meanwhile
            found.append(path.read_bytes())
    return found


def connection(t, report, site):
    return next(c for c in report["connections"] if c["address"] == site.address(t.family))


def judged_alike(t, site, report):
    """A mail to the site has the verdict, and where it is refused the reply, that the check told."""
    told = connection(t, report, site)
    peer = t.ready(site)
    reply = peer.envelope(f"postmaster@{site.domain}")[1]
    peer.quit()
    equal(told["action"], "allow" if reply.code == 250 else "refuse", f"verdict of {site.domain}")
    if reply.code != 250:
        equal(reply, told["reply"], f"reply of {site.domain}")
    mail = t.recipients(site)[-1]
    for record in (told["record"], mail):  # each has fetched the policy for itself
        for key in ("fetched_at", "expires_at"):
            record["policy"].pop(key, None)
    for key in ("verdict", "would", "result_type", "rule", "mx", "policy", "dane"):
        equal(told["record"].get(key), mail.get(key), f"{key} in the records of {site.domain}")


def untouched(server):
    """The check has told the MX of no mail, and taken its leave."""
    server.wait_idle()
    equal(server.received("MAIL", "RCPT", "DATA"), [], "what the MX saw")
    assert server.received("QUIT"), "no QUIT"


@case(Site("kgood", policy="enforce"), Site("kwrong", policy="enforce", cert="wrong"),
      Site("kexpired", policy="enforce", cert="expired"),
      Site("ktesting", policy="testing", cert="wrong"), Site("kopen"),
      Site("kdane", tlsa=["3 1 1"]), Site("kmiss", tlsa=[WRONG_KEY]),
      Site("kbogus", rest="_25._tcp.{mx}. IN CNAME x.bogus.test."),
      Site("kunusable", tlsa=["1 1 1 " + "00" * 32]), core=True)
def check_says_what_becomes_of_a_mail(t, good, wrong, expired, testing, open_, dane, miss, bogus,
                                      unusable):
    """TC-OPS-03: the same judge, the same reply, and nothing of a mail on the wire."""
    for site, status, codes in (
            (good, PASS, ()), (wrong, REFUSE, ("certificate-name",)),
            (expired, REFUSE, ("certificate",)),
            (testing, PASS, ("policy-testing", "certificate-name")),
            (open_, NO_POLICY, ("txt-missing", "tlsrpt-missing")), (dane, PASS, ()),
            (miss, REFUSE, ("tlsa-mismatch",)), (bogus, REFUSE, ("tlsa-failed", "dnssec-invalid")),
            (unusable, PASS, ("tlsa-unusable",))):
        server = t.mx(site)
        report = check(t, site, status, *codes)
        untouched(server)
        judged_alike(t, site, report)
        equal([f["code"] for f in report["findings"] if f["level"] == "error"], [
            code for code in codes if status == REFUSE or code == "tlsa-unusable"],
              f"errors of {site.domain}")
        server.wait_idle()
        server.close()


@case(Site("knotls", policy="enforce"), Site("kno454", policy="enforce"), Site("kclear"), only=ONCE)
def check_of_an_mx_without_starttls(t, hidden, refusing, clear):
    for site, status, code, script in (
            (hidden, REFUSE, "starttls-missing", {"starttls": False}),
            (refusing, REFUSE, "starttls-missing",
             {"steps": {"STARTTLS": b"454 4.7.0 TLS not available\r\n"}}),
            (clear, NO_POLICY, "no-tls", {"starttls": False})):
        server = t.mx(site, **script)
        report = check(t, site, status, code)
        untouched(server)
        judged_alike(t, site, report)
        server.close()


@case(Site("kgarbled"), Site("kgarbled2", policy="enforce"), Site("knopipe", policy="enforce"),
      Site("khelo"), Site("kold", policy="enforce"), Site("kinject", policy="enforce"), only=ONCE)
def check_goes_every_way_that_a_mail_goes(t, garbled, strict, plain, helo, old, inject):
    """A connection that is made again in clear (TLS-031), an MX without PIPELINING, HELO, old TLS, clear
    text behind the 220 (TLS-008)."""
    for site, status, code, script in (
            (garbled, NO_POLICY, "no-tls", {"instead_of_tls": b"garbage\r\n"}),
            (strict, REFUSE, "starttls-missing", {"instead_of_tls": b"garbage\r\n"}),
            (plain, PASS, None, {"keywords": ()}),
            (helo, NO_POLICY, "no-tls", {"steps": {"EHLO": b"502 5.5.1 What?\r\n"}}),
            (old, REFUSE, "tls-version", {"newest": ssl.TLSVersion.TLSv1_1}),
            (inject, REFUSE, None, {"after_220": b"250 2.0.0 Ok\r\n"})):
        server = t.mx(site, **script)
        report = check(t, site, status, *filter(None, [code]))
        server.wait_idle()
        equal(server.received("MAIL", "RCPT", "DATA"), [], "what the MX saw")
        judged_alike(t, site, report)
        server.close()


RELAY = Site("krelay", policy="enforce", cert="wrong")


@case(RELAY, Site("kanyone", shares=RELAY), only=ONCE)
def check_knows_smart_hosts(t, relay, anyone):
    """PRX-024: who stands at an address is the operator's to say, and it is that domain's policy that
    counts there."""
    with configured(t, f'smart_host "{relay.domain}" {{\n'
                       f'destination = {{"{relay.address(t.family)}"}}\n}}\n'):
        server = t.mx(relay)
        report = check(t, anyone, REFUSE, "mx-mismatch")
        untouched(server)
        fields(connection(t, report, anyone)["record"], domain=relay.domain,
               rcpt_domain=anyone.domain, policy__mode="enforce")
        peer = t.ready(anyone)
        equal(peer.envelope(f"postmaster@{anyone.domain}")[1],
              connection(t, report, anyone)["reply"], "reply to a mail")
        peer.quit()
        server.close()


@case(Site("kbroken", rest='_mta-sts.{domain}. IN TXT "v=STSv1; id=;"'),
      Site("ktwice", rest='_mta-sts.{domain}. IN TXT "v=STSv1; id=1;"\n'
                          '_mta-sts.{domain}. IN TXT "v=STSv1; id=2;"'),
      Site("kforeign", rest='_mta-sts.{domain}. IN TXT "hello"\n'
                            '_smtp._tls.{domain}. IN TXT "v=TLSRPTv1;rua=ftp://x.test"'),
      Site("kinvalid", policy="enforce"), Site("kgone", policy="enforce"),
      Site("kother", policy="enforce", patterns=["mx.elsewhere.test"]), only=ONCE)
def check_of_records_and_policies_that_are_broken(t, broken, twice, foreign, invalid, gone, other):
    """STS-073: TXT record, policy body and TLSRPT record with what is wrong in them."""
    t.web.publish_as(invalid.domain, "version: STSv1\r\nmode: enforce\r\nmx: -a\r\nmax_age: 1\r\n")
    t.web.withdraw(gone)
    for site, status, codes in ((broken, NO_POLICY, ("txt-invalid",)),
                                (twice, NO_POLICY, ("txt-several",)),
                                (foreign, NO_POLICY, ("txt-missing", "tlsrpt-unusable")),
                                (invalid, NO_POLICY, ("policy-invalid",)),
                                (gone, NO_POLICY, ("policy-http",)),
                                (other, REFUSE, ("mx-not-listed", "mx-mismatch", "mx-unused"))):
        t.mx(site)
        report = check(t, site, status, *codes)
        judged_alike(t, site, report)
        assert all(f["mend"] for f in report["findings"] if f["level"] == "error"), "a mend for each"
    invalid_text = run(t, invalid.domain).stdout
    assert "  3  mx: -a" in invalid_text and "line 3: bad mx pattern" in invalid_text, invalid_text


def agree(t, rows, sites):
    """TC-OPS-03: of each row the check says what becomes of a mail, and a mail is told the same."""
    for site, (what, status) in zip(sites, rows):
        server = t.mx(site)
        report = check(t, site, status)
        server.wait_idle()
        equal(server.received("MAIL", "RCPT", "DATA"), [], f"what the MX saw, {what}")
        judged_alike(t, site, report)
        server.close()


# What stands at _mta-sts, of a domain whose policy would refuse its MX: is the policy found?
TXT_ROWS = {
    "TC-TXT-01": (['"v=STSv1; id=20160831085700Z;"'], REFUSE),
    "TC-TXT-03": (['"v=STSv1;\t id=a \t; x=y"'], REFUSE),
    "TC-TXT-04 alone": (['"v=STSv1 ; id=a"'], REFUSE),
    "TC-TXT-04 beside another": (['"v=STSv1 ; id=a"', '"hello"'], NO_POLICY),
    "TC-TXT-05": (['"v=STSv1; i" "d=abc;"'], REFUSE),
    "TC-TXT-09": (['"v=STSv1; id=1;"', '"v=STSv12; id=2;"'], REFUSE),
    "TC-TXT-10": (['"v=stsv1; id=a;"'], NO_POLICY),
    "TC-TXT-11": (['"id=a; v=STSv1"'], NO_POLICY),
    "TC-TXT-13 32": ([f'"v=STSv1; id={32 * "a"};"'], REFUSE),
    "TC-TXT-13 33": ([f'"v=STSv1; id={33 * "a"};"'], NO_POLICY),
    "TC-TXT-15": (['"v=STSv1; id=abc; id=a-b"'], REFUSE),
    "TC-TXT-17": (['"v=STSv1; id=a; _x=1"'], NO_POLICY),
    "TC-TXT-18": (['"v=STSv1; id=a;;"'], NO_POLICY),
    "TC-TXT-19": (['"v=STSv1; id=a; x=\\195\\164"'], NO_POLICY),
}


@case(*one_address(
    Site("ktxt", policy="enforce", cert="wrong",
         web_names=[f"mta-sts.ktxt{n}.test" for n in range(len(TXT_ROWS))]),
    *(Site(f"ktxt{n}", cert="wrong",
           rest="\n".join(["mta-sts.{domain}. IN A {web4}",
                           *("_mta-sts.{domain}. IN TXT " + text for text in texts)]))
      for n, (texts, _) in enumerate(TXT_ROWS.values()))), only=ONCE)
def check_and_gateway_agree_on_records(t, _, *sites):
    """TC-OPS-03 with rows of TC-TXT."""
    for site in sites:
        t.web.publish_as(site.domain, Site(site.name, policy="enforce").policy_text())
    agree(t, [(what, status) for what, (_, status) in TXT_ROWS.items()], sites)


VERSION, MODE, MX, AGE = "version: STSv1\n", "mode: enforce\n", "mx: {mx}\n", "max_age: 604800\n"
# The body of a policy that would refuse the MX, if it is one.
BODY_ROWS = {
    "TC-POL-01 the last line has no end": (VERSION + MODE + MX + "max_age: 604800", REFUSE),
    "TC-POL-02": ((VERSION + MODE + MX + AGE).replace("\n", "\r"), NO_POLICY),
    "TC-POL-03": ("\n" + VERSION + MODE + "\n" + MX + AGE, REFUSE),
    "TC-POL-05": (VERSION + " " + MODE + MX + AGE, NO_POLICY),
    "TC-POL-06": ("\ufeff" + VERSION + MODE + MX + AGE, NO_POLICY),
    "TC-POL-07": (VERSION + MODE + "mode: none\n" + MX + AGE, REFUSE),
    "TC-POL-09": (VERSION + MODE + MX + AGE + "see: https://a.test/ \u00e4 b\n", REFUSE),
    "TC-POL-13": (MODE + MX + AGE, NO_POLICY),
    "TC-POL-15": (VERSION + MODE + MX + "max_age: 0\n", REFUSE),
    "TC-POL-16": (VERSION + MODE + MX + "max_age: 9999999999\n", REFUSE),
    "TC-POL-17": (VERSION + MODE + MX + "max_age: 10000000000\n", NO_POLICY),
    "TC-POL-20": (VERSION + "mode: none\n" + AGE, NO_POLICY),
    "TC-POL-23": (VERSION + MODE + "mx: *.*.test\n" + AGE, NO_POLICY),
    "TC-POL-30": ((VERSION + MODE + MX + AGE).ljust(65537, "\n"), NO_POLICY),
    "TC-POL-35": (VERSION + MODE + MX + AGE + 'x: {{ }} " \\ \u202e\n', REFUSE),
}


@case(*one_address(*(Site(f"kbody{n}", policy="enforce", cert="wrong") for n in range(len(BODY_ROWS)))),
      only=ONCE)
def check_and_gateway_agree_on_policies(t, *sites):
    """TC-OPS-03 with rows of TC-POL."""
    for site, (text, _) in zip(sites, BODY_ROWS.values()):
        t.web.publish_as(site.domain, text.format(mx=site.mx))
    agree(t, [(what, status) for what, (_, status) in BODY_ROWS.items()], sites)


# TLSA records of an MX host that shows a leaf of the lab's CA and the CA.
TLSA_ROWS = {
    "TC-DANE-02": (["3 0 2"], PASS),
    "TC-DANE-03": (["2 1 1 ca"], PASS),
    "TC-DANE-06": (["2 0 0 ca"], PASS),
    "TC-DANE-12": ([WRONG_KEY, "2 0 1 ca"], PASS),
    "TC-DANE-14": (["0 0 1", "1 1 1"], PASS),  # TLS is a must, and nobody is authenticated
    "TC-DANE-15": (["4 0 1", "3 2 1 " + "00" * 32, "3 1 3 00", "3 1 1 00ff"], PASS),
    "TC-DANE-16": (["1 1 1", WRONG_KEY], REFUSE),
    "TC-DANE-17": (["3 1 1", "3 1 2 " + "00" * 64], REFUSE),
    "TC-DANE-19": (["2 0 1 unknown-ca"], REFUSE),
}


@case(*one_address(*(Site(f"ktlsa{n}", cert="own+ca", tlsa=records)
                     for n, (records, _) in enumerate(TLSA_ROWS.values()))), only=ONCE)
def check_and_gateway_agree_on_tlsa_records(t, *sites):
    """TC-OPS-03 with rows of TC-DANE."""
    agree(t, [(what, status) for what, (_, status) in TLSA_ROWS.items()], sites)


@case(Site("kdown", policy="enforce"), Site("klame", lame=True), Site("kmx.dead"), Site("kmx.bogus"),
      Site("knomail", addresses=False, rest=""), only=ONCE)
def check_of_what_cannot_be_known_now(t, down, lame, dead, bogus, nowhere):
    """An MX that is not there, and look-ups that fail."""
    check(t, down, TEMPORARY, "mx-unreachable")
    t.mx(lame)
    check(t, lame, TEMPORARY, "txt-failed")
    check(t, dead, TEMPORARY, "dns-failed")
    check(t, bogus, TEMPORARY, "dnssec-bogus")
    check(t, nowhere, NO_POLICY, "mx-no-address")


@case(Site("kdeaf", policy="enforce"), only=ONCE)
def check_behind_a_dead_resolver_blames_the_resolver(t, site):
    """No server answers: nothing is put down to the domain, and no log line is among the text."""
    conf = t.gateway.folder / "deaf.conf"
    text, found = re.subn(r'(?m)^resolver_stub = .*$', 'resolver_stub = "127.0.0.9@5399"',
                          t.gateway.conf.read_text())
    equal(found, 1, "resolver_stub")
    conf.write_text(text)
    done = run(t, "--json", site.domain, conf=conf)
    report = json.loads(done.stdout)
    equal((done.returncode, report["verdict"]), (TEMPORARY, "temporary"), "status")
    equal([f["code"] for f in report["findings"]], ["resolver-failed"], "findings")
    equal([p["state"] for p in report["parts"] if p["part"] == "resolver"], ["failed"], "the root")
    done = run(t, site.domain, conf=conf)
    assert "resolver" in done.stdout and "zone" not in done.stdout, done.stdout
    equal(done.stderr, "", "nothing beside it")


@case(Site("krude"), only=ONCE)
def check_of_an_mx_that_refuses_everybody(t, site):
    server = t.mx(site, steps={"GREETING": b"554 5.7.1 Go \x1b[31maway\r\n"})
    report = check(t, site, TEMPORARY, "mx-ended")
    equal(connection(t, report, site)["reply"][:3], "554", "reply")
    text = run(t, site.domain).stdout
    assert "\x1b" not in text and "\\x1b[31maway" in text, "escape sequences of the MX are harmless"
    server.close()


@case(Site("kover", policy="enforce", cert="wrong"), only=ONCE)
def check_applies_overrides_and_rollout(t, site):
    """The configuration's own say on the domain counts, and is told."""
    override = (f'override "known" {{\ndomain = {{{site.domain}}}\naction = monitor\n'
                'reason = "test"\nuntil = 2099-12-31\n}\n')
    for text in (override, 'rollout = "monitor"\n'):
        with configured(t, text):
            server = t.mx(site)
            report = check(t, site, PASS, "certificate-name")
            equal(connection(t, report, site)["would"], "refuse", "would be")
            server.close()


@case(Site("klist", policy="enforce"), Site("klist2"), Site("klist3", policy="enforce", cert="wrong"),
      only=ONCE)
def check_of_a_list(t, good, open_, wrong):
    """--all: every domain of it; the status is the worst one. Wrong usage is 4."""
    for site in (good, open_, wrong):
        t.mx(site)
    names = [good.domain, open_.domain, wrong.domain]
    for count, status in ((1, PASS), (2, NO_POLICY), (3, REFUSE)):
        done = run(t, "--all", "-", "--json", text="# a list\n" + "\n".join(names[:count]) + "\n\n")
        equal(done.returncode, status, f"status of {count} domains: {done.stderr}")
        equal([json.loads(line)["domain"] for line in done.stdout.splitlines()], names[:count],
              "domains")
    done = run(t, "--all", "-", "--json", text=f"{good.domain}\n\x1b[2J bad\n")
    equal(done.returncode, USAGE, "status with a line that is no domain")
    assert "\x1b" not in done.stderr, done.stderr
    for argv in ((), ("--all",), ("a.test", "b.test"), ("not a name",), ("--frobnicate", "a.test"),
                 ("--all", "/nonexistent"), ("--all", "/"), ("192.0.2.1",), ("[192.0.2.1]",)):
        equal(run(t, *argv).returncode, USAGE, f"status of {argv}")
    told = subprocess.run([str(t.gateway.program), "check", "--help"], capture_output=True,
                          text=True, timeout=10, check=False)
    equal((told.returncode, told.stdout[:6], told.stderr), (0, "usage:", ""), "--help")


@case(Site("ktrace", policy="enforce"), only=ONCE)
def check_leaves_no_trace_and_needs_no_right(t, site):
    """No record, no policy in the store; a user with no rights at all may check."""
    server = t.mx(site)
    before = len(t.gateway.records())
    check(t, site, PASS)
    equal(len(t.gateway.records()), before, "records")
    assert "nothing is known" in t.gateway.command("policy", "show", site.domain).stderr
    for path in (t.lab.folder, *t.lab.folder.parents):
        if path.stat().st_uid == os.geteuid() and path != path.parent and path.name != "tmp":
            path.chmod(0o755)
    t.gateway.folder.chmod(0o755)
    done = run(t, "--json", site.domain, user=65534)
    equal(done.returncode, PASS, f"status for nobody: {done.stderr}")
    assert "upstream_mark" in done.stderr, done.stderr
    conf = str(t.gateway.conf).encode()
    wait_for(lambda: not any(b"--check-fd" in line and conf in line for line in command_lines()),
             "its policy process to end", 10)
    server.close()


@case(Site("kinspect", policy="enforce"), only=ONCE)
def policy_inspect_of_a_running_gateway(t, site):
    """STS-073: the same look-ups by command; and a name that has no room for _mta-sts."""
    done = t.gateway.command("policy", "inspect", site.domain)
    equal(done.returncode, 0, done.stderr)
    parts = [json.loads(line) for line in done.stdout.splitlines()]
    for part in parts:
        shape(part, PARTS[part["part"]], part["part"])
    equal(sorted({part["part"] for part in parts}), sorted(PARTS), "parts")
    long_name = ".".join(["a" * 60] * 4) + ".tests"
    equal(t.gateway.command("policy", "refresh", long_name).returncode, 1, "refresh of a long name")
    equal(t.gateway.command("policy", "inspect", long_name).returncode, 0, "inspect of a long name")
    equal(t.gateway.command("policy", "stats").returncode, 0, "and it goes on")
