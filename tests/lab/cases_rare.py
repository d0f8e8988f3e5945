"""Faults of the catalogue that seldom come: see tests/faults.tsv."""

import os
import signal
import socket

from case import ONCE, case, configured, equal, fields, rcpt
from world import CLIENT, Site


@case(Site("port-a", policy="enforce"), Site("port-b", policy="enforce"))
def one_client_port_reaches_two_mxs(t, first, second):
    """A7: the kernel tells them apart by their destinations, and so do we; the records hold that port."""
    port, peers = 40_025, []
    for site in (first, second):
        t.mx(site)
        sock = t.lab.socket("client", t.family)
        sock.settimeout(20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((CLIENT[t.family], port))
        sock.connect((site.address(t.family), 25))
        peers.append(sock)
    for sock, site in zip(peers, (first, second)):
        with sock, sock.makefile("rwb") as stream:
            greeting = stream.readline()
            assert site.mx.encode() in greeting, f"{site.mx} greets with {greeting}"
            stream.write(b"QUIT\r\n")
            stream.flush()
            equal(stream.readline()[:3], b"221", "QUIT")


@case(Site("urgent"), only=ONCE)
def urgent_data_is_no_part_of_the_stream(t, site):
    """A17: on either leg."""
    def urgent_reply(connection, _line):
        connection.send(b"250 2.1.")
        connection.sock.send(b"!", socket.MSG_OOB)
        return b"5 ok\r\n"

    t.mx(site, starttls=False, steps={"RCPT": urgent_reply})
    peer = t.ready(site)
    peer.send(b"NO")
    peer.sock.send(b"!", socket.MSG_OOB)
    equal(peer.cmd("OP"), "250 2.0.0 OK", "NOOP")
    equal([reply.code for reply in peer.envelope("user@urgent.test")], [250, 250], "MAIL and RCPT")
    equal(peer.quit().code, 221, "QUIT")


@case(Site("stopped", policy="enforce"), only=ONCE)
def a_stopped_policy_process_is_not_waited_for(t, site):
    """G6, F23, REP-065: 451 after policy_wait; it goes on, and so does the mail."""
    t.mx(site)
    with configured(t, "policy_wait = 1"):
        stopped = t.gateway.children("stsgate-policy")
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            equal(rcpt(t, site), "451 4.3.0 Policy service not available", "RCPT")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        equal(rcpt(t, site).code, 250, "RCPT once it goes on")


@case(Site("unasked", policy="enforce", cert="wrong"), only=ONCE)
def nobody_is_put_off_in_monitor(t, site):
    """PRX-041, REP-065: also while the policy process does not answer; that it would have been, the record says."""
    t.mx(site)
    with configured(t, "policy_wait = 1\nrollout = monitor"):
        stopped = t.gateway.children("stsgate-policy")
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            equal(rcpt(t, site).code, 250, "RCPT")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        fields(t.recipients(site)[0], verdict="allow", would="refuse", monitored=True, defer=True, tls__stage="done")


@case(Site("inward", rest='_mta-sts.{domain}. IN TXT "v=STSv1; id=1;"\n'
                          "mta-sts.{domain}. IN A 127.0.0.1"), only=ONCE)
def a_policy_host_inside_is_not_asked(t, site):
    """F24: who names a host of the gateway's own in DNS makes it ask nobody there."""
    t.mx(site)
    equal(rcpt(t, site).code, 250, "RCPT, as without a policy")
    fields(t.recipients(site)[0], policy__discovery="sts-policy-fetch-error address-not-permitted")
