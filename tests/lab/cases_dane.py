"""DANE and TLS by what the MX shows: chains held against TLSA records, DANE beside MTA-STS, servers of
each TLS version (RFC 7672 2.2, 3; RFC 8461 2; RFC 8460 4.3). What DNS says is elsewhere."""

import inspect
import ssl

import cases_faults
import cases_policy
import cases_proof
from case import ONCE, case, equal, fields, marker, message
from cases_identity import OTHER_IDENTITY
from lab import wait_for
from world import Site

NO_TLS = ("451 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
          "mail.")
INVALID = "451 4.7.323 tlsa-invalid: The domain failed DANE validation."
EXPIRED = "451 4.7.322 certificate-expired: Destination mail server's certificate is expired."
MISNAMED = "451 4.7.325 certificate-host-mismatch: The certificate does not match the MX host."
DNSSEC = "451 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records."
WRONG_KEY = "3 1 1 " + "00" * 32


def one_address(first, *others):
    """Sites that are served one after the other at one address."""
    for site in others:
        site.shares = first
    return first, *others


def delivered(t, site, **script):
    """A mail to the site arrives under TLS; the record of its recipient."""
    server = t.mx(site, **script)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250],
          f"envelope for {site.domain}")
    word = marker()
    equal(peer.content(message(word)).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    server.close()
    assert server.mailbox[-1].tls, "in clear"
    assert word.encode() in server.mailbox[-1].content
    record = t.recipients(site)[-1]
    fields(record, outcome="delivered", tls__stage="done")
    equal(server.connections[0].sni, record["dane"]["hosts"][0]["base"], "SNI (DANE-035)")
    return record


def refused(t, site, reply, result, **script):
    """The recipient gets this reply, and the MX learns nothing of him (PRX-015)."""
    server = t.mx(site, **script)
    peer = t.ready(site)
    equal(peer.envelope(f"user@{site.domain}")[1], reply, f"RCPT of {site.domain}")
    peer.quit()
    server.wait_idle()
    server.close()
    equal(server.received("MAIL FROM", "RCPT TO", site.domain + ">"), [], "what the MX saw")
    cases_faults.never_in_clear(server)
    record, = t.recipients(site)
    fields(record, outcome="refused", reply=reply, result_type=result)
    return record


# --- what matches

LEAVES = {"3 1 1": "expired", "3 0 1": "wrong", "3 1 2": "self-signed", "3 0 2": "unknown-ca",
          "3 0 0": "self-signed", "3 1 0": "wrong"}


@case(*one_address(*(Site(f"ee{n}", cert=cert, tlsa=[record])
                     for n, (record, cert) in enumerate(LEAVES.items()))), core=True)
def the_leaf_alone_matches(t, *sites):
    """TC-DANE-01, TC-DANE-02, DANE-027: expired, for another name, self-signed, of a CA nobody knows."""
    for site, record in zip(sites, LEAVES):
        got = delivered(t, site)
        fields(got, verdict="allow", result_type="success", mx=site.mx, mx_proven=True,
               dane__state="secure", dane__mx_secure=True, dane__match="matched",
               dane__record=record, dane__depth=0, dane__error="X509_V_OK")
        equal(len(got["tls"]["certs_sha256"]), 1, "certificates in the record")


ANCHORS = {"2 0 1 ca": "own+ca", "2 1 1 unknown-ca": "unknown-ca+unknown-ca",
           "2 1 2 ca": "own+ca", "2 0 0 unknown-ca": "unknown-ca", "2 1 0 unknown-ca": "unknown-ca"}


@case(*one_address(*(Site(f"ta{n}", cert=cert, tlsa=[record])
                     for n, (record, cert) in enumerate(ANCHORS.items()))), only=ONCE)
def a_trust_anchor_matches(t, *sites):
    """TC-DANE-03, TC-DANE-06, TC-DANE-07, DANE-028, DANE-031, DANE-032: presented, or brought by DNS."""
    for site, record in zip(sites, ANCHORS):
        fields(delivered(t, site), result_type="success", mx_proven=True, dane__match="matched",
               dane__record=record[:5], dane__depth=1)


MIXED = {"a": [WRONG_KEY, "2 0 1 ca"], "b": ["3 1 1", "2 0 1 unknown-ca"],
         "c": [WRONG_KEY, "3 1 1"], "d": ["1 1 1", "3 1 1 00ff", "3 1 1"]}


@case(*one_address(*(Site(f"mixed{name}", cert="own+ca", tlsa=records)
                     for name, records in MIXED.items())), only=ONCE)
def one_record_of_several_is_enough(t, *sites):
    """TC-DANE-12, TC-DANE-13, TC-DANE-16."""
    for site in sites:
        fields(delivered(t, site), dane__match="matched", result_type="success")


# --- what does not

@case(Site("nomatch", tlsa=[WRONG_KEY]), core=True)
def a_key_that_does_not_match_is_refused(t, site):
    """TC-DANE-19, DANE-022, REP-032."""
    record = refused(t, site, INVALID, "tlsa-invalid")
    fields(record, reason="X509_V_ERR_DANE_NO_MATCH", dane__match="no-match", reply_id="REP-032",
           dane__result_type="tlsa-invalid")


@case(*one_address(Site("taname", cert="wrong+ca", tlsa=["2 1 1 ca"]),
                   Site("taold", cert="expired+ca", tlsa=["2 1 1 ca"]),
                   Site("tanotsent", tlsa=["2 0 1 ca"]), Site("taleaf", cert="self-signed", tlsa=["2 1 1"]),
                   Site("taforeign", cert="self-signed+ca", tlsa=["2 1 1 ca"]),
                   Site("agility", tlsa=["3 1 1", "3 1 2 " + "00" * 64])), only=ONCE)
def a_trust_anchor_does_not_prove_everything(t, name, old, not_sent, leaf, foreign, agility):
    """TC-DANE-04, TC-DANE-05, TC-DANE-08, TC-DANE-09, TC-DANE-11, TC-DANE-17."""
    fields(refused(t, name, MISNAMED, "certificate-host-mismatch"), dane__match="ta-misnamed",
           reply_id="REP-034")
    fields(refused(t, old, EXPIRED, "certificate-expired"), dane__match="ta-expired",
           reply_id="REP-033")
    fields(refused(t, not_sent, INVALID, "tlsa-invalid"), dane__match="no-match")
    fields(refused(t, leaf, INVALID, "tlsa-invalid"), dane__match="no-match")
    fields(refused(t, foreign, INVALID, "certificate-not-trusted"), dane__match="ta-broken")
    fields(refused(t, agility, INVALID, "tlsa-invalid"), dane__match="no-match")


@case(*one_address(Site("dnotls", tlsa=["3 1 1"]), Site("d454", tlsa=["3 1 1"]), Site("dbroken", tlsa=["3 1 1"]),
                   Site("dinject", tlsa=["3 1 1"])), core=True)
def without_tls_nothing_goes(t, none, refusing, broken, injected):
    """TC-DANE-18, DANE-025, REP-030, TLS-030: never in clear, no retry in clear."""
    refused(t, none, NO_TLS, "starttls-not-supported", starttls=False)
    refused(t, refusing, NO_TLS, "starttls-not-supported",
            steps={"STARTTLS": b"454 4.7.0 TLS not available\r\n"})
    record = refused(t, broken, NO_TLS, "validation-failure", instead_of_tls=b"500 what?\r\n")
    fields(record, tls__stage="failed")
    record = refused(t, injected, NO_TLS, "validation-failure", after_220=b"250 x\r\n")
    fields(record, reason="plaintext-after-starttls", tls__failure="injected")


ODD = ["0 0 1 " + "11" * 32, "1 1 1", "3 1 1 00ff", "3 2 1 " + "22" * 32, "3 1 9 00", "3 0 0 3003",
       "7 1 1 " + "33" * 32]


@case(*one_address(Site("oddtls", cert="self-signed", tlsa=ODD), Site("oddclear", tlsa=ODD)), core=True)
def records_that_nobody_can_use_ask_for_tls(t, site, clear):
    """TC-DANE-14, TC-DANE-15, DANE-023, DANE-033: anybody under TLS, nobody in clear."""
    fields(delivered(t, site), result_type="tlsa-invalid", reason="all-TLSA-records-unusable",
           mx_proven=False, dane__match="unusable", dane__hosts_count=1)
    refused(t, clear, NO_TLS, "starttls-not-supported", starttls=False)


# --- beside MTA-STS

@case(*one_address(Site("both", policy="enforce", tlsa=["3 1 1"]),
                   Site("stsfails", policy="enforce", cert="unknown-ca", tlsa=["3 1 1"]),
                   Site("danefails", policy="enforce", tlsa=[WRONG_KEY]),
                   Site("danelist", policy="enforce", patterns=["mx.elsewhere.test"], tlsa=["3 1 1"]),
                   Site("unusable", policy="enforce", cert="unknown-ca", tlsa=["1 1 1"]),
                   Site("lookup", policy="enforce", rest="_25._tcp.{mx}. IN CNAME x.bogus.test."),
                   Site("testdane", policy="testing", tlsa=[WRONG_KEY]),
                   Site("testodd", policy="testing", tlsa=["1 1 1"])), core=True)
def both_must_pass(t, both, sts_fails, dane_fails, unlisted, unusable, lookup, testing, odd):
    """TC-PREC-01 ... TC-PREC-07, DANE-045, STS-106, STS-107."""
    fields(delivered(t, both), dane__result_type="success", policy__result_type="success")
    unknown = cases_policy.certificate_failed("unable to get local issuer certificate")
    fields(refused(t, sts_fails, unknown, "certificate-not-trusted"), dane__match="matched",
           dane__result_type="success", policy__result_type="certificate-not-trusted")
    fields(refused(t, dane_fails, INVALID, "tlsa-invalid"), policy__result_type="success",
           dane__result_type="tlsa-invalid")
    refused(t, unlisted, "451 4.4.8 MX hosts of 'danelist.test' failed MTA-STS validation.",
            "validation-failure")
    fields(refused(t, unusable, unknown, "certificate-not-trusted"), dane__match="unusable")
    fields(refused(t, lookup, DNSSEC, "dnssec-invalid"), dane__state="failed", tls__stage="clear")
    refused(t, testing, INVALID, "tlsa-invalid")
    refused(t, odd, NO_TLS, "starttls-not-supported", starttls=False)


@case(*one_address(Site("suffice", policy="enforce", cert="unknown-ca", tlsa=["3 1 1"]),
                   Site("sufficeno", policy="enforce", patterns=["mx.elsewhere.test"],
                        tlsa=["3 1 1"])), only=ONCE)
def a_match_may_make_up_for_the_certificate(t, site, unlisted):
    """TC-PREC-01, TC-PREC-03, STS-107: dane-suffices; the host filter stays."""
    t.gateway.configure("dane_and_sts = dane-suffices\n")
    t.gateway.reload()
    try:
        fields(delivered(t, site), dane__suffices=True, dane__match="matched",
               policy__result_type="certificate-not-trusted")
        refused(t, unlisted, "451 4.4.8 MX hosts of 'sufficeno.test' failed MTA-STS validation.",
                "validation-failure")
    finally:
        t.gateway.configure("")
        t.gateway.reload()


FIRST = Site("d-first", cert="self-signed", tlsa=["3 0 1"])
SECOND = Site("d-second", cert="self-signed", tlsa=["3 0 1"], shares=FIRST)
PLAIN = Site("d-none", cert="", shares=FIRST)


@case(FIRST, SECOND, PLAIN)
def each_domain_by_its_own_records(t, first, second, plain):
    """PRX-030, PRX-033, TC-DANE-41: one address, a certificate by SNI for each domain."""
    server = t.mx(first, pairs={s.mx: t.pair(s) for s in (first, second)})
    peer = t.ready(first)
    got = peer.envelope(f"user@{first.domain}", f"user@{second.domain}", f"user@{plain.domain}")
    equal(got[1].code, 250, "RCPT of the first")
    equal(got[2], OTHER_IDENTITY, "RCPT of the second")
    equal(got[3].code, 250, "RCPT of one without records")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal([r.code for r in peer.envelope(f"user@{second.domain}")], [250, 250], "the second alone")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal([c.sni for c in server.connections], [first.mx, second.mx], "SNI by connection")
    fields(t.recipients(first)[0], dane__match="matched", mx=first.mx)
    fields(t.recipients(second, 2)[1], dane__match="matched", mx=second.mx)
    fields(t.recipients(plain)[0], dane=None)


D_ONE = Site("d-next", tlsa=[WRONG_KEY])


@case(D_ONE, Site("d-mx2", tlsa=["3 1 1"]), only=ONCE)
def the_next_mx_is_the_clients_affair(t, bad, good):
    """TC-DANE-40: refused for now at the first MX; the same mail passes at another one."""
    refused(t, bad, INVALID, "tlsa-invalid")
    delivered(t, good)


@case(Site("rollover", cert="self-signed", tlsa=["3 1 1", WRONG_KEY]), only=ONCE)
def the_chain_is_kept_by_its_hashes(t, site):
    """PRX-051, RPT-056: the records in presentation form, as `stsgate log` prints them."""
    record = delivered(t, site)
    host, = record["dane"]["hosts"]
    equal(host["mx"], site.mx, "MX host")
    equal(host["references"][0], site.mx, "reference name")
    equal(sorted(r[:6] for r in host["records"]), ["3 1 1 ", "3 1 1 "], "records")
    assert ("3 1 1 " + "00" * 32) in host["records"], host["records"]
    equal(record["tls"]["certs_sha256"][0], record["tls"]["leaf_sha256"], "hash of the leaf")


# --- servers of each TLS version

VERSIONS = {"tls12": (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), "tls13": (ssl.TLSVersion.TLSv1_3, "TLSv1.3")}


@case(*one_address(*(Site(f"only{name}", policy="enforce", tlsa=["3 1 1"]) for name in VERSIONS),
                   Site("retry", policy="enforce", tlsa=["3 1 1"])), only=ONCE)
def tls12_tls13_and_another_group_are_good(t, *sites):
    """TC-TLS-09: 1.2 only, 1.3 only, HelloRetryRequest."""
    for site, (version, name) in zip(sites, VERSIONS.values()):
        fields(delivered(t, site, oldest=version, newest=version), tls__version=name)
    fields(delivered(t, sites[-1], group="secp384r1"), tls__version="TLSv1.3", tls__group="P-384")


@case(*one_address(Site("d10", tlsa=["3 1 1"]), Site("d11", tlsa=["3 1 1"])), only=ONCE)
def tls11_and_below_do_not_do(t, tls10, tls11):
    """TC-TLS-08, DANE-038, TLS-020: the floor holds for DANE as well."""
    for site, version in ((tls10, ssl.TLSVersion.TLSv1), (tls11, ssl.TLSVersion.TLSv1_1)):
        fields(refused(t, site, NO_TLS, "validation-failure", newest=version),
               tls__failure="version", tls__floor="TLSv1.2")


def pass_to(address):
    """A step: 220, then every octet to and from another server."""
    def step(connection, _line):
        connection.send(b"220 2.0.0 Go ahead\r\n")
        connection.tls_error = "left to another server"
        with connection.mx.lab.socket("mx", 4) as other:
            other.connect(address)
            other.settimeout(10)
            while True:
                if not connection.receive():
                    return b""
                other.sendall(connection.take_all())
                try:
                    connection.send(other.recv(65536))
                except OSError:
                    return b""
    return step


@case(Site("gnutls11", policy="enforce"), only=ONCE)
def gnutls_says_its_version_in_a_server_hello(t, site):
    """TLS-022: the version that the reply names is that of the ServerHello."""
    crt, key = t.pair(site)
    server = t.lab.start("mx", "gnutls-serv", "--echo", "-p", "4433", "--x509certfile", str(crt),
                         "--x509keyfile", str(key), "--priority",
                         "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT:+SIGN-ALL")
    try:
        def listens():
            with t.lab.socket("mx", 4) as probe:
                return probe.connect_ex(("127.0.0.1", 4433)) == 0

        wait_for(listens, "gnutls-serv")
        record = cases_policy.refused(
            t, site, "451 4.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: TLS 1.1",
            "REP-012", "validation-failure", steps={"STARTTLS": pass_to(("127.0.0.1", 4433))})[1]
        fields(record, tls__version="TLSv1.1", tls__failure="version")
    finally:
        t.lab.stop(server)


# --- policy hosts, and the table of results

@case(Site("badpolicy", policy="enforce"),
      Site("badhost", rest='_mta-sts.{domain}. IN TXT "v=STSv1; id=1;"\n'
                           "mta-sts.{domain}. IN A {web4}"), only=ONCE)
def a_policy_that_cannot_be_had_is_said_why(t, malformed, webpki):
    """RFC 8460 4.3.2.2: sts-policy-invalid, sts-webpki-invalid; mail goes as without a policy."""
    t.web.publish_as(malformed.domain, "version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\n")
    t.web.publish_as(webpki.domain, "version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n")
    for site, result in ((malformed, "sts-policy-invalid"), (webpki, "sts-webpki-invalid")):
        t.mx(site)
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT")
        peer.quit()
        equal(t.recipients(site)[0]["policy"]["discovery"].split()[0], result, "discovery")


# RFC 8460 4.3: each result-type, and a case that reaches it with real servers.
RESULTS = {
    "starttls-not-supported": cases_policy.enforce_refuses_an_mx_without_starttls,
    "certificate-host-mismatch": cases_policy.enforce_refuses_a_certificate_for_another_name,
    "certificate-expired": cases_policy.enforce_refuses_an_expired_certificate,
    "certificate-not-trusted": cases_policy.enforce_refuses_an_unknown_ca,
    "validation-failure": cases_policy.enforce_refuses_tls11_seen_only_as_an_alert,
    "tlsa-invalid": a_key_that_does_not_match_is_refused,
    "dnssec-invalid": both_must_pass,
    "dane-required": None,  # below
    "sts-policy-fetch-error": cases_proof.first_contact_blocked_is_loud,
    "sts-policy-invalid": a_policy_that_cannot_be_had_is_said_why,
    "sts-webpki-invalid": a_policy_that_cannot_be_had_is_said_why,
}


@case(Site("mustdane"), only=ONCE)
def dane_that_is_required_and_not_there(t, site):
    """DANE-041, REP-035: dane-required."""
    t.gateway.configure(f'override "must" {{\ndomain = {{{site.domain}}}\naction = dane\n'
                        'reason = "test"\nuntil = 2099-12-31\n}\n')
    t.gateway.reload()
    try:
        record = refused(t, site, "451 4.7.0 DANE is required for 'mustdane.test' but no "
                         "DNSSEC-validated TLSA records were found", "dane-required")
        fields(record, dane__required=True, dane__state="none", tls__stage="clear")
    finally:
        t.gateway.configure("")
        t.gateway.reload()


RESULTS["dane-required"] = dane_that_is_required_and_not_there


@case(direct=True, only="direct/4")
def every_result_type_is_reached(_t):
    """RPT-040: the table above is true as far as a text can tell; the cases themselves do the rest."""
    equal(len(RESULTS), 11, "result types of RFC 8460 4.3")
    for result, reached_by in RESULTS.items():
        assert hasattr(reached_by, "core"), f"{result}: {reached_by} is no case"
        assert result in inspect.getsource(reached_by), f"{reached_by.title} does not name {result}"
