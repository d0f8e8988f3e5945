"""TLS sessions that are resumed, and what is judged then; roots that are exchanged; handshakes that
fail in ways of their own (TLS-022 ... TLS-028, TLS-045)."""

import errno
import shutil
import socket
import ssl

from case import ONCE, case, configured, equal, fields, marker, message, rcpt, restarted
from lab import run
from world import Site

TCP_ULP = 31  # linux/tcp.h
STARTTLS_MISSING = "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy"


def kernel_has_tls():
    with socket.socket(socket.AF_INET) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as error:
            return error.errno == errno.ENOTCONN
    return True


@case(Site("t-ktls", policy="enforce"), only=ONCE)
def the_kernel_encrypts_a_bulk_where_it_can(t, site):
    """The same octets whoever makes the records, and the record says who did."""
    with configured(t, "ktls = true\n"):
        server = t.mx(site)
        peer = t.ready(site)
        text = b"".join(b"%d %s\r\n" % (n, b"x" * (n % 900)) for n in range(5000))
        for _ in range(2):
            peer.envelope(f"user@{site.domain}")
            equal(peer.content(text).code, 250, "end of data")
        peer.quit()
        server.wait_idle()
        equal([m.content == text for m in server.mailbox], [True, True], "the same octets")
        expected = ("ktls", "") if kernel_has_tls() else ("seal", "off")
        equal([(r["engine"], r["engine_reason"]) for r in t.recipients(site, 2)], [expected] * 2,
              "engine")


def one_worker(t, more=""):
    """Tickets are a worker's own."""
    return restarted(t, "workers = 1\n" + more)


def deliver(t, site):
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], f"to {site.domain}")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(peer.quit().code, 221, "QUIT")


@case(Site("resumed", policy="enforce"), only=ONCE, core=True)
def a_second_connection_is_resumed_and_still_judged(t, site):
    """TLS-026."""
    server = t.mx(site, keeps_tickets=True)
    with one_worker(t):
        deliver(t, site)
        deliver(t, site)
        server.wait_idle()
    equal([c.resumed for c in server.connections], [False, True], "resumed, says the MX")
    first, second = t.recipients(site, 2)
    fields(first, tls__resumed=False, tls__ticket_offered=False, outcome="delivered")
    fields(second, tls__resumed=True, tls__ticket_offered=True, outcome="delivered",
           mx_proven=True, tls__chain="good", tls__san=[site.mx],
           tls__leaf_sha256=first["tls"]["leaf_sha256"])


@case(Site("resumed12", policy="enforce"), only=ONCE)
def tls_1_2_is_resumed_as_well(t, site):
    """TLS-026."""
    server = t.mx(site, keeps_tickets=True, newest=ssl.TLSVersion.TLSv1_2)
    with one_worker(t):
        deliver(t, site)
        deliver(t, site)
        server.wait_idle()
    equal([c.resumed for c in server.connections], [False, True], "resumed, says the MX")
    fields(t.recipients(site, 2)[1], tls__resumed=True, tls__version="TLSv1.2", mx_proven=True)


STALE_FREE = Site("free-stale", cert="self-signed", mx="mx.stale.test")
STALE = Site("b-stale", policy="enforce", mx="mx.stale.test", shares=STALE_FREE)


@case(STALE_FREE, STALE, only=ONCE)
def what_a_resumed_session_would_refuse_is_asked_in_full(t, free, site):
    """TLS-026, TC-TLS-19, TC-GW-24: the chain that is kept was good enough for a domain without a policy,
    and is not for one with; by now the MX has a good one, so the mail goes."""
    server = t.mx(free, pair=t.pair(free), keeps_tickets=True)
    with one_worker(t, "tls_opportunistic_minimum = 1.2"):
        deliver(t, free)
        server.script.pair = t.pair(site)
        deliver(t, site)
        server.wait_idle()
    equal([c.resumed for c in server.connections], [False, True, False], "resumed, says the MX")
    equal(server.connections[1].lines("MAIL"), [], "mail on the resumed one")
    fields(t.recipients(site)[0], outcome="delivered", mx_proven=True, tls__resumed=False)


STAYS_FREE = Site("free-stays", cert="self-signed", mx="mx.stays.test")
STAYS = Site("b-stays", policy="enforce", mx="mx.stays.test", shares=STAYS_FREE)


@case(STAYS_FREE, STAYS, only=ONCE)
def a_refusal_rests_on_a_full_handshake(t, free, site):
    """TLS-026: the same, but the MX has nothing better to show."""
    server = t.mx(free, pair=t.pair(free), keeps_tickets=True)
    with one_worker(t, "tls_opportunistic_minimum = 1.2"):
        deliver(t, free)
        equal(rcpt(t, site).code, 451, "RCPT")
        server.wait_idle()
    equal([c.resumed for c in server.connections], [False, True, False], "resumed, says the MX")
    equal(server.received(f"@{site.domain}"), [], "what the MX saw")
    fields(t.recipients(site)[0], outcome="refused", reply_id="REP-013", tls__resumed=False)


@case(Site("newroots", policy="enforce", cert="unknown-ca"), only=ONCE, core=True)
def roots_are_exchanged_while_sessions_go_on(t, site):
    """TLS-045, TC-OPS-08: a folder of roots, and a reload; who is in the middle of a mail ends it."""
    folder = t.certificates.folder / "roots"
    folder.mkdir(exist_ok=True)
    t.mx(site)
    before = t.ready(site)
    equal(before.envelope(f"user@{site.domain}")[1].code, 451, "RCPT by the roots there were")
    for name, of in (("ca.pem", "ca.pem"), ("0a1b2c3d.0", "unknown-ca.pem")):
        shutil.copy(t.certificates.folder / of, folder / name)
    with configured(t, f'mx_ca_file = "{folder}"'):
        equal(before.cmd(f"RCPT TO:<other@{site.domain}>").code, 451, "the session goes on")
        deliver(t, site)
        before.quit()
    equal(rcpt(t, site).code, 451, "RCPT by the roots there were")
    fields(t.recipients(site, 4)[2], outcome="delivered", mx_proven=True)


def insist(context):
    context.verify_mode = ssl.CERT_REQUIRED


@case(Site("insists", policy="enforce"), only=ONCE)
def an_alert_behind_the_handshake_is_a_failed_handshake(t, site):
    """TC-TLS-17, TC-TLS-18, TLS-028: in TLS 1.3 a server that insists on a certificate says so late."""
    server = t.mx(site, tune=insist)
    equal(rcpt(t, site), STARTTLS_MISSING, "RCPT")
    server.wait_idle()
    equal(server.received("MAIL", "RCPT"), [], "what the MX saw")
    fields(t.recipients(site)[0], outcome="refused", result_type="validation-failure",
           tls__stage="failed", tls__failure="handshake", tls__version="TLSv1.3",
           tls__alert="received certificate required")


def only_dhe(context):
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256")


@case(Site("nosuite", policy="enforce"), only=ONCE)
def no_suite_in_common_is_a_reason_of_its_own(t, site):
    """TLS-022, TLS-023: BoringSSL has no DHE."""
    server = t.mx(site, newest=ssl.TLSVersion.TLSv1_2, tune=only_dhe)
    equal(rcpt(t, site), STARTTLS_MISSING, "RCPT")
    server.wait_idle()
    fields(t.recipients(site)[0], outcome="refused", result_type="validation-failure",
           reason="no common cipher suite", tls__failure_reason="no common cipher suite",
           tls__alert="received handshake failure", tls__version="")


def rsa_8192_pair(t, site):
    """A leaf whose key has 8192 bits, signed by an authority of that size below ours. Five primes are
    found faster than two, and nobody but their owner sees the difference."""
    pki = t.certificates.folder

    def openssl(*argv):
        run("openssl", *argv, cwd=pki)

    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:8192", "-pkeyopt",
            "rsa_keygen_primes:5", "-out", "big.key")
    issuer = "ca"
    for name, extension in (("big-ca", "basicConstraints=critical,CA:TRUE"),
                            ("big", f"subjectAltName=DNS:{site.mx}")):
        openssl("req", "-new", "-key", "big.key", "-subj", f"/CN={name}", "-addext", extension, "-out",
                f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey",
                "ca.key" if issuer == "ca" else "big.key", "-CAcreateserial", "-days", "30",
                "-copy_extensions", "copy", "-out", f"{name}.pem")
        issuer = name
    chain = pki / "big.chain"
    chain.write_text((pki / "big.pem").read_text() + (pki / "big-ca.pem").read_text())
    return chain, pki / "big.key"


@case(Site("rsa8192", policy="enforce"), only=ONCE)
def a_chain_of_rsa_8192_is_proven(t, site):
    """FAULTS C5: as large as keys get; the library verifies it, and in no time to speak of."""
    server = t.mx(site, pair=rsa_8192_pair(t, site))
    deliver(t, site)
    server.wait_idle()
    record = t.recipients(site)[0]
    fields(record, outcome="delivered", mx_proven=True, tls__chain="good")
    equal(len(record["tls"]["certs_sha256"]), 2, "certificates")
