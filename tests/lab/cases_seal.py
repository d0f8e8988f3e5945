"""Bulks whose TLS records the gateway makes itself: OpenSSL reads them, with every suite, under new keys,
and to the close_notify."""

import ssl
import threading

from case import ONCE, case, equal, fields, marker
from lab import wait_for
from mx_tls import Library, note_end, only, only_1_2, updating
from postfix import mailbox
from world import Site

MAIL = "".join(f"{n:07d} {'x' * 68}\r\n" for n in range(40000)).encode()  # 3 MiB
HALF = len(MAIL) // 2
SEAL = {"engine": "seal", "engine_reason": "off"}
SUITES = {  # IANA's name: the newest version, and how the MX is brought to it
    "TLS_AES_128_GCM_SHA256": (ssl.TLSVersion.TLSv1_3, only("TLS_AES_128_GCM_SHA256")),
    "TLS_AES_256_GCM_SHA384": (ssl.TLSVersion.TLSv1_3, only("TLS_AES_256_GCM_SHA384")),
    "TLS_CHACHA20_POLY1305_SHA256": (ssl.TLSVersion.TLSv1_3, only("TLS_CHACHA20_POLY1305_SHA256")),
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": (
        ssl.TLSVersion.TLSv1_2, only_1_2("ECDHE-ECDSA-AES128-GCM-SHA256")),
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": (
        ssl.TLSVersion.TLSv1_2, only_1_2("ECDHE-ECDSA-AES256-GCM-SHA384")),
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": (
        ssl.TLSVersion.TLSv1_2, only_1_2("ECDHE-ECDSA-CHACHA20-POLY1305")),
}


def send(t, peer, site, half_way=None):
    """One mail; the code of the last reply. half_way: an Event that is waited for in the middle."""
    equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "envelope")
    equal(peer.cmd("DATA").code, 354, "DATA")
    peer.send(MAIL[:HALF])
    assert half_way is None or half_way.wait(20), "the MX did nothing half way"
    peer.send(MAIL[HALF:] + b".\r\n")
    equal(peer.reply().code, 250, "end of data")


def same(server):
    """Of each mail at the MX: are its octets those that were sent?"""
    return [m.content + b"\r\n" == MAIL for m in server.mailbox]


@case(Site("seal-suites", policy="enforce"), only=ONCE, core=True)
def sealed_bulks_are_read_with_every_suite(t, site):
    """FAULTS D14: two mails in a session, with replies between them; its end is a close_notify."""
    server = t.mx(site, steps={"QUIT": note_end})
    for server.script.newest, server.script.tune in SUITES.values():
        peer = t.ready(site)
        send(t, peer, site)
        send(t, peer, site)
        peer.quit()
        server.wait_idle()
    records = t.recipients(site, 2 * len(SUITES))
    equal([r["tls"]["cipher"] for r in records], [suite for suite in SUITES for _ in range(2)], "suites")
    for record in records:
        fields(record, outcome="delivered", **SEAL)
    equal(same(server), [True] * len(records), "the same octets")
    equal([c.end for c in server.connections], ["close_notify"] * len(SUITES), "the ends")


@case(Site("seal-keys", policy="enforce"), only=ONCE)
def sealed_bulks_go_on_under_new_keys(t, site):
    """FAULTS D3, RFC 8446 4.6.3: the MX changes its key, or asks for ours, in the middle of a mail."""
    ours, its = Library.UPDATE_REQUESTED, Library.UPDATE_NOT_REQUESTED
    turns = ([its], [ours], [ours, its], [its, ours])
    server = t.mx(site, steps={"QUIT": note_end})
    for kinds in turns:
        done = threading.Event()
        server.script.steps["DATA"] = [updating(kinds, HALF // 2, done), b"354 Go on\r\n"]
        peer = t.ready(site)
        send(t, peer, site, done)
        send(t, peer, site)
        peer.quit()
        server.wait_idle()
    for record in t.recipients(site, 2 * len(turns)):
        fields(record, outcome="delivered", **SEAL)
    equal(same(server), [True] * 2 * len(turns), "the same octets")
    equal([c.end for c in server.connections], ["close_notify"] * len(turns), "the ends")


def postfix_takes_a_bulk(t, site, version):
    word = marker()
    peer = t.ready(site)
    peer.envelope(f"user@{site.domain}")
    equal(peer.content(f"Subject: {word}\r\n\r\n".encode() + MAIL[:-2]).code, 250, "end of data")
    peer.quit()
    mail = wait_for(lambda: [m for m in mailbox(t.lab) if word.encode() in m], "the mailbox")[0]
    head, _, body = mail.partition(b"\n\n")
    assert body == MAIL.replace(b"\r\n", b"\n"), "other octets"
    assert f"using {version} with cipher".encode() in head, head
    fields(t.recipients(site)[0], tls__version=version, outcome="delivered", **SEAL)
    fields(t.session(peer), engine="seal")


@case(Site("seal-postfix", policy="enforce", postfix=True), only=ONCE)
def postfix_takes_a_sealed_bulk(t, site):
    postfix_takes_a_bulk(t, site, "TLSv1.3")


@case(Site("seal-postfix12", policy="enforce", postfix=True, newest="TLSv1.2"), only=ONCE)
def postfix_takes_a_sealed_bulk_under_tls_1_2(t, site):
    postfix_takes_a_bulk(t, site, "TLSv1.2")
