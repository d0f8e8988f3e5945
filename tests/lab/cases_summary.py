"""`stsgate log --summary` against what the MX hosts and the clients counted themselves: sessions of every
kind, and each number of each domain the same. Nothing here is computed from a record."""

import json
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field

import mx
from case import ONCE, case, configured, equal, marker, message, override
from lab import wait_for
from world import Site

COLUMNS = ("clear", "tls", "mta-sts", "dane", "refused", "rejected", "failed")
WRONG_KEY = "3 1 1 " + "00" * 32


@dataclass
class Kind:
    """A domain and how its MX behaves. column: where what the MX took is counted; would: and refused if
    all were enforced; reason: of what the gateway refuses."""

    site: Site
    column: str = "tls"
    script: dict = field(default_factory=dict)
    would: bool = False
    reason: str = ""


def refused(name, reason, script=None, **site):
    site.setdefault("policy", "enforce")
    return Kind(Site(f"sum-{name}", **site), "refused", script or {}, reason=reason)


KINDS = [
    Kind(Site("sum-clear", cert=None), "clear", {"starttls": False}),
    Kind(Site("sum-tls", cert="self-signed")),
    Kind(Site("sum-none", policy="none", cert="wrong")),
    Kind(Site("sum-sts", policy="enforce"), "mta-sts"),
    Kind(Site("sum-testing", policy="testing"), "mta-sts"),
    Kind(Site("sum-testbad", policy="testing", cert="wrong"), would=True),
    Kind(Site("sum-dane", cert="self-signed", tlsa=["3 1 1"]), "dane"),
    Kind(Site("sum-both", policy="enforce", tlsa=["3 1 1"]), "dane"),
    Kind(Site("sum-bypass", policy="enforce", cert="wrong"), would=True),
    Kind(Site("sum-monitor", policy="enforce", cert="wrong"), would=True),
    Kind(Site("sum-verify")),
    Kind(Site("sum-says550", policy="enforce"), "mta-sts", {"steps": {"RCPT": b"550 5.1.1 No such user\r\n"}}),
    Kind(Site("sum-greylist", cert=None), "clear",
         {"starttls": False, "steps": {"RCPT": [b"450 4.7.1 Later\r\n", b"250 2.1.5 OK\r\n"]}}),
    Kind(Site("sum-nodata", policy="enforce"), "mta-sts", {"steps": {"DATA": b"451 4.3.0 No\r\n"}}),
    Kind(Site("sum-spam", policy="enforce"), "mta-sts", {"steps": {".": b"554 5.7.1 Spam\r\n"}}),
    Kind(Site("sum-dies", policy="enforce"), "mta-sts", {"steps": {".": mx.close}}),
    refused("wrong", "certificate-host-mismatch", cert="wrong"),
    refused("expired", "certificate-expired", cert="expired"),
    refused("unknown", "certificate-not-trusted", cert="unknown-ca"),
    refused("unlisted", "validation-failure", patterns=["mx.elsewhere.test"]),
    refused("nostarttls", "starttls-not-supported", {"starttls": False}),
    refused("says454", "starttls-not-supported", {"steps": {"STARTTLS": b"454 4.7.0 Not now\r\n"}}),
    refused("injects", "validation-failure", {"after_220": b"250 x\r\n"}),
    refused("tls11", "validation-failure", {"newest": ssl.TLSVersion.TLSv1_1}),
    refused("nomatch", "tlsa-invalid", policy=None, tlsa=[WRONG_KEY]),
    refused("danenotls", "starttls-not-supported", {"starttls": False}, policy=None, tlsa=["3 1 1"]),
    refused("floor", "validation-failure", {"newest": ssl.TLSVersion.TLSv1_2}),
    refused("required", "starttls-not-supported", {"starttls": False}, policy=None),
    refused("lame", "", policy=None, lame=True),
]
# One transaction to both, at one address: the second needs another identity, the first goes on.
PAIR = Site("sum-pair", policy="enforce")
BESIDE = Kind(Site("sum-beside", policy="enforce", cert="wrong", shares=PAIR), "refused",
              reason="REP-041")
PASSED = Site("sum-passed")


def rules():
    one = "domain = {sum-%s.test}\naction = %s"
    return (override("s1", one % ("bypass", "bypass")) + override("s2", one % ("monitor", "monitor")) +
            override("s3", one % ("verify", "verify\nmx = {mx.sum-verify.test}")) +
            override("s4", one % ("floor", "floor\ntls_minimum = 1.3")) +
            override("s5", one % ("required", "require")) + "sts_dns_failure = defer\n"
            'client "all" { client = {192.0.2.0/24} starttls = passthrough }\n')


class Counts:
    """What the clients saw: replies to RCPT by domain; and the ports of their sessions."""

    def __init__(self):
        self.accepted, self.turned_away, self.ports = Counter(), Counter(), []

    def recipients(self, peer, *domains):
        """MAIL and a recipient in each domain; are there any that were taken?"""
        replies = peer.envelope(*(f"user{n}@{domain}" for n, domain in enumerate(domains)))
        equal(replies[0].code, 250, "MAIL")
        for domain, reply in zip(domains, replies[1:]):
            (self.accepted if reply.code == 250 else self.turned_away)[domain] += 1
        return any(reply.code == 250 for reply in replies[1:])

    def begin(self, t, site):
        peer = t.ready(site)
        self.ports.append(peer.port)
        return peer

    def mails(self, t, site, *mails):
        """A session with a mail to each list of domains."""
        peer = self.begin(t, site)
        for domains in mails:
            if self.recipients(peer, *domains):
                reply = peer.content(message(marker()))
                if reply.code == 421 or not reply.lines:
                    break
            if peer.cmd("RSET").code != 250:
                break
        peer.quit()

    def leaves(self, t, site, how):
        """A session whose client goes while its mail is on the way."""
        peer = self.begin(t, site)
        self.recipients(peer, site.domain)
        if how == "data":
            peer.cmd("DATA")
            peer.send(b"From: half a mail\r\n")
        if how == "quit":
            peer.quit()
        else:
            peer.cut()


class Seen:
    """What an MX counted of a domain: recipients named to it, and those of mails that it took."""

    def __init__(self, server, domain):
        def of_domain(lines):
            return sum(f"@{domain}>".encode() in line for line in lines)

        self.named = sum(of_domain(there.lines("RCPT")) for there in server.connections)
        self.clear = sum(of_domain(mail.recipients) for mail in server.mailbox if not mail.tls)
        self.tls = sum(of_domain(mail.recipients) for mail in server.mailbox if mail.tls)


def row(kind, counts, seen):
    """What the summary has to say of a domain. What the MX was told of and the client heard refused,
    the MX refused; what the client heard refused besides, the gateway."""
    domain = kind.site.domain
    accepted, turned_away = counts.accepted[domain], counts.turned_away[domain]
    rejected = seen.named - accepted
    wanted = dict.fromkeys(COLUMNS, 0)
    wanted.update(rejected=rejected, refused=turned_away - rejected,
                  failed=accepted - seen.clear - seen.tls)
    if kind.column != "refused":
        wanted[kind.column] += seen.tls
        wanted["clear"] += seen.clear
        equal(wanted["refused"], 0, f"refused by the gateway of {domain}")
    else:
        equal((seen.named, seen.clear, seen.tls), (0, 0, 0), f"what the MX saw of {domain}")
    return wanted


def summary(t):
    """{domain: counts} of `log --summary --json`, the total under None; and the table says the same."""
    lines = t.gateway.command("log", "--summary", "--json", str(t.gateway.record_file), check=True).stdout
    rows = {line["domain"]: line for line in map(json.loads, lines.splitlines())}
    table = t.gateway.command("log", "--summary", str(t.gateway.record_file), check=True).stdout
    shown = {name: [int(n) for n in numbers.split()] for numbers, name in
             re.findall(r"^((?: +\d+){8})  (\S+)$", table, re.M)}
    for domain, line in rows.items():
        equal(shown["total" if domain is None else domain or "(none)"],
              [line[column] for column in COLUMNS] + [line["would_refuse"]], f"table, {domain}")
    for column in COLUMNS:
        equal(rows[None][column], sum(line[column] for domain, line in rows.items() if domain is not None),
              f"total of {column}")
    return rows


def run_sessions(t, counts, servers):
    for kind in KINDS:
        site, domain = kind.site, kind.site.domain
        servers[domain] = t.mx(site, **kind.script)
        counts.mails(t, site, [domain])
        counts.mails(t, site, [domain, domain], [domain])
    sts = KINDS[3].site
    for how in ("rcpt", "data", "quit"):
        counts.leaves(t, sts, how)
    servers[PAIR.domain] = servers[BESIDE.site.domain] = t.mx(PAIR, pairs={BESIDE.site.mx: t.pair(BESIDE.site)})
    counts.mails(t, PAIR, [PAIR.domain, BESIDE.site.domain], [PAIR.domain])


def pass_through(t):
    """A mail under the client's own TLS: nothing of it is a recipient's."""
    server = t.mx(PASSED)
    peer = t.ready(PASSED)
    peer.starttls(ca=t.certificates.ca, host=PASSED.mx)
    peer.cmd("EHLO client.lab.test")
    peer.envelope(f"user@{PASSED.domain}")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal(len(server.mailbox), 1, "mails that passed through")
    return peer.port


@case(*(kind.site for kind in KINDS), PAIR, BESIDE.site, PASSED, only=ONCE)
def the_summary_is_what_mxs_and_clients_saw(t, *_sites):
    """PRX-051, issue 7: delivered in clear, over TLS, by MTA-STS, by DANE; refused for each reason, put
    off, let by, rejected, given up; number for number."""
    counts, servers = Counts(), {}
    with configured(t, rules()):
        run_sessions(t, counts, servers)
        counts.ports.append(pass_through(t))

        def over():
            ended = {r["client_port"] for r in t.gateway.records(t.before) if r["event"] == "session"}
            return ended >= set(counts.ports)

        wait_for(over, "the end of all sessions", 30)
    for server in servers.values():
        server.wait_idle()
    rows = summary(t)
    assert len(counts.ports) >= 60, len(counts.ports)
    assert PASSED.domain not in rows, "what passed through was judged"
    for kind in [*KINDS, Kind(PAIR, "mta-sts"), BESIDE]:
        domain = kind.site.domain
        seen = Seen(servers[domain], domain)
        got = rows[domain]
        equal({column: got[column] for column in COLUMNS}, row(kind, counts, seen), f"counts of {domain}")
        passed = sum(got[column] for column in COLUMNS if column != "refused")
        equal(got["would_refuse"], passed if kind.would else 0, f"would-not of {domain}")
        equal(sum(reason["count"] for reason in got["reasons"]), got["refused"], f"reasons of {domain}")
        assert all(kind.reason in reason["reason"] for reason in got["reasons"]), got
