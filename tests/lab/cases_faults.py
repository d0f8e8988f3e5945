"""What breaks: an MX that lies, stalls or goes away, a client that is cut, processes that die. The
rule of all cases: no 2xx of our own, and never in clear what was to be under TLS."""

import os
import signal
import socket
import threading

import mx
from case import ONCE, case, equal, fields, marker, message
from cases_policy import STARTTLS_MISSING
from lab import wait_for
from world import GATEWAY_INSIDE, Site

LOST = "421 4.4.2 gw.lab.test Connection to destination lost"
LOST_IN_DATA = "451 4.4.2"


def never_in_clear(server):
    """Nothing but EHLO, STARTTLS and QUIT went over any of its connections in clear."""
    for line in server.in_clear().splitlines():
        assert line.split(b" ")[0] in (b"EHLO", b"STARTTLS", b"QUIT"), f"in clear: {line!r}"
    for there in server.connections:
        equal(there.clear_after_220(), b"", "in clear where TLS should be")


def attacked(t, site, reply, **script):
    """A recipient on a connection whose TLS is broken by the MX or by someone before it."""
    server = t.mx(site, **script)
    peer = t.ready(site)
    got = peer.envelope(f"user@{site.domain}")
    equal(got[1], reply, "RCPT")
    if got[1].code == 421:
        assert peer.ended(), "the gateway has not closed"
    else:
        peer.quit()
    server.wait_idle()
    never_in_clear(server)
    equal(server.received(site.domain + ">"), [], "what the MX saw")
    return t.recipients(site)[0]


@case(Site("injected", policy="enforce"), core=True)
def a_line_behind_the_220_is_an_attack(t, site):
    """RFC 3207 6, TLS-008."""
    record = attacked(t, site, STARTTLS_MISSING, after_220=b"250-evil\r\n250 x\r\n")
    fields(record, verdict="refuse", tls__failure="injected", reason="plaintext-after-starttls",
           result_type="validation-failure", reply_id="REP-011")


@case(Site("injectedpart", policy="enforce"))
def a_fragment_behind_the_220_is_an_attack(t, site):
    record = attacked(t, site, STARTTLS_MISSING, after_220=b"25")
    fields(record, tls__failure="injected", reply_id="REP-011")


@case(Site("injectedfree", cert="self-signed"))
def without_policy_an_attack_is_no_reason_for_clear_text(t, site):
    attacked(t, site, LOST, after_220=b"250 x\r\n")


@case(Site("garbagetls", policy="enforce"))
def garbage_in_place_of_tls_is_refused(t, site):
    record = attacked(t, site, STARTTLS_MISSING, instead_of_tls=b"500 5.5.1 What?\r\n")
    fields(record, tls__stage="failed", result_type="validation-failure")


@case(Site("starttlsfin"), only=ONCE)
def an_mx_that_hangs_up_behind_its_220_is_no_attack(t, site):
    """TLS-006, TLS-008, TLS-031: the end of a stream is no clear text. Who has no policy is served in
    clear, and the handshake is what failed."""
    server = t.mx(site, steps={"STARTTLS": mx.say_and_close(b"220 2.0.0 Go ahead\r\n")})
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], "MAIL, RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    fields(t.recipients(site)[0], outcome="delivered", tls__failure="handshake",
           result_type="validation-failure")


@case(Site("starttlscut", policy="enforce"), only=ONCE)
def an_mx_that_hangs_up_on_starttls_is_421(t, site):
    server = t.mx(site, steps={"STARTTLS": mx.close})
    peer = t.ready(site)
    equal(peer.envelope("user@starttlscut.test")[1], LOST, "RCPT (PRX-012)")
    server.wait_idle()
    never_in_clear(server)


def upstream_broken(t, site, step, recipients=1, **script):
    """The MX does something impossible at RCPT: 421, the end, and nothing delivered."""
    server = t.mx(site, steps={"RCPT": step}, **script)
    peer = t.ready(site)
    got = peer.envelope(*[f"u{n}@{site.domain}" for n in range(recipients)])
    equal(got[-1], LOST, "RCPT (SMTP-032, REP-046)")
    assert peer.ended(), "the gateway has not closed"
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    never_in_clear(server)
    return t.recipients(site, recipients)[-1]


@case(Site("tworeplies", policy="enforce"), core=True)
def two_replies_to_one_command_break_the_connection(t, site):
    upstream_broken(t, site, b"250 2.1.5 OK\r\n250 2.1.5 OK\r\n")


@case(Site("nodigits", policy="enforce"))
def a_reply_without_digits_breaks_the_connection(t, site):
    upstream_broken(t, site, b"OK fine\r\n")


@case(Site("othercode", policy="enforce"), only=ONCE)
def a_reply_of_two_codes_breaks_the_connection(t, site):
    upstream_broken(t, site, b"250-first\r\n251 second\r\n")


@case(Site("cutreply", policy="enforce"))
def a_cut_reply_is_no_reply(t, site):
    """TLS-027: whatever stood there, the end of the stream completes no line."""
    record = upstream_broken(t, site, mx.say_and_close(b"250 2.1.5 OK"))
    fields(record, outcome="failed")


@case(Site("resetreply", policy="enforce"), only=ONCE)
def a_reset_in_place_of_a_reply_is_421(t, site):
    upstream_broken(t, site, mx.reset)


@case(Site("longreply", policy="enforce"), only=ONCE)
def an_endless_reply_breaks_the_connection(t, site):
    upstream_broken(t, site, b"250-" + b"x" * 500 + b"\r\n" + b"250-y\r\n" * 20000)


@case(Site("mx421", policy="enforce"))
def the_421_of_the_mx_is_relayed_and_ends_the_session(t, site):
    t.mx(site, steps={"RCPT": mx.say_and_close(b"421 4.3.2 Going down\r\n")})
    peer = t.ready(site)
    equal(peer.envelope("user@mx421.test")[1], "421 4.3.2 Going down", "RCPT (SMTP-036)")
    assert peer.ended()


@case(Site("early", policy="enforce"), core=True)
def a_250_before_the_end_of_data_is_never_believed(t, site):
    """SMTP-032: it would be taken for the final reply."""
    server = t.mx(site, steps={"DATA": b"354 Go on\r\n250 2.0.0 Queued already\r\n"})
    peer = t.ready(site)
    peer.envelope("user@early.test")
    reply = peer.cmd("DATA")
    if reply.code == 354:
        peer.send(message(marker()) + b"\r\n.\r\n")
        reply = peer.reply()
    assert reply.code in (421, 451), f"the client was told {reply}"
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    fields(t.recipients(site)[0], outcome="failed")


@case(Site("dotgone", policy="enforce"), core=True)
def an_mx_gone_after_the_final_dot_is_no_250(t, site):
    """PRX-008: only its own 2xx counts."""
    server = t.mx(site, steps={".": mx.close})
    peer = t.ready(site)
    peer.envelope("user@dotgone.test")
    reply = peer.content(message(marker()))
    assert reply.text.startswith(LOST_IN_DATA), f"end of data: {reply}"
    equal(peer.cmd("NOOP"), LOST, "the next command (SMTP-035)")
    assert peer.ended()
    server.wait_idle()
    fields(t.recipients(site)[0], outcome="failed", reply_by="mx", final_reply="")


@case(Site("dotcut", policy="enforce"))
def an_mx_gone_within_its_final_reply_is_no_250(t, site):
    t.mx(site, steps={".": mx.say_and_close(b"250 2.0.0 Que")})
    peer = t.ready(site)
    peer.envelope("user@dotcut.test")
    assert peer.content(message(marker())).text.startswith(LOST_IN_DATA)


def at_the_final_dot(t, site, leave):
    """A client that leaves behind its final dot, before the MX has said anything; its connection and
    the record of its recipient."""
    goes_on = threading.Event()
    server = t.mx(site, steps={".": lambda _c, _l: goes_on.wait(mx.PATIENCE_S) and b"250 2.0.0 Mine\r\n"})
    peer = t.ready(site)
    peer.envelope(f"user@{site.domain}")
    equal(peer.cmd("DATA").code, 354, "DATA")
    peer.send(message(marker()) + mx.END)
    server.wait(lambda m: m.connections[0].tls.endswith(mx.END), "the final dot")
    leave(peer)
    goes_on.set()
    return peer, t.recipients(site)[0]


@case(Site("dotfin", policy="enforce"), only=ONCE)
def a_client_that_half_closes_behind_the_dot_is_answered(t, site):
    """FAULTS A9: the end of what it sends is no end of its interest."""
    peer, record = at_the_final_dot(t, site, lambda p: p.sock.shutdown(socket.SHUT_WR))
    equal(peer.reply(), "250 2.0.0 Mine", "end of data")
    assert peer.ended()
    fields(record, outcome="delivered", final_reply="250 2.0.0 Mine")


@case(Site("dotrst", policy="enforce"), only=ONCE)
def a_client_gone_behind_the_dot_has_its_end_recorded(t, site):
    """FAULTS E19: the mail is the MX's by now, whoever hears of it."""
    _, record = at_the_final_dot(t, site, lambda p: p.cut())
    fields(record, outcome="delivered", final_reply="250 2.0.0 Mine")


@case(Site("sigterm", policy="enforce"), only=ONCE)
def a_stop_lets_the_mail_at_hand_go(t, site):
    """PRX-048: SIGTERM in the middle of DATA: the mail completes, who is at no mail hears 421."""
    server = t.mx(site)
    idle, peer = t.ready(site), t.ready(site)
    peer.envelope(f"user@{site.domain}")
    equal(peer.cmd("DATA").code, 354, "DATA")
    word = marker().encode()
    peer.send(word + b"\r\n")
    server.wait(lambda m: any(word in c.tls for c in m.connections), "the content")
    begun = len(t.gateway.read_log())
    t.gateway.process.send_signal(signal.SIGTERM)
    equal(idle.reply(), "421 4.3.2 gw.lab.test Service not available", "to who is idle")
    assert idle.ended()
    peer.send(b"the rest" + mx.END)
    equal(peer.reply().code, 250, "end of data")
    equal(peer.reply(), "421 4.3.2 gw.lab.test Service not available", "behind its mail")
    assert peer.ended()
    equal(t.lab.stop(t.gateway.process, signal.SIGTERM, 40), 0, "status of the gateway")
    t.gateway.launch(begun)
    equal(len(server.mailbox), 1, "mails")
    fields(t.recipients(site)[0], outcome="delivered")


@case(Site("datagone", policy="enforce"))
def an_mx_gone_in_the_middle_of_data_is_451(t, site):
    """SMTP-035: the rest is swallowed, in sync, then 421."""
    def leave(connection, _line):
        connection.send(b"354 Go on\r\n")
        connection.receive()
        raise mx.Reset

    t.mx(site, steps={"DATA": leave})
    peer = t.ready(site)
    peer.envelope("user@datagone.test")
    reply = peer.content(b"RCPT TO:<x@y.test>\r\n" * 200000)
    assert reply.text.startswith(LOST_IN_DATA), f"end of data: {reply}"
    equal(peer.cmd("RSET"), LOST, "the next command")


@case(Site("clientcut", policy="enforce"), core=True)
def a_client_cut_in_the_middle_of_data_completes_nothing(t, site):
    """PRX-011: no end of data reaches the MX, not even by the closing of TLS."""
    server = t.mx(site)
    for tail in (b"half a li", b"line\r\n", b"line\r\n.", b"line\r\n.\r"):
        peer = t.ready(site)
        peer.envelope("user@clientcut.test")
        equal(peer.cmd("DATA").code, 354, "DATA")
        word = marker().encode()
        peer.send(word + b"\r\n" + tail)
        server.wait(lambda m, w=word: w in m.connections[-1].tls, "the content")
        peer.cut()
        server.wait_idle()
        there = server.connections[-1]
        assert mx.END not in there.tls.split(word, 1)[1], f"an end after {tail!r}"
    equal(server.mailbox, [], "mails")
    equal([r["outcome"] for r in t.recipients(site, 4)], ["failed"] * 4, "outcomes")


@case(Site("clientfin", policy="enforce"), only=ONCE)
def a_client_gone_between_transactions_means_quit(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    peer.close()
    server.wait_idle()
    equal(server.connections[0].lines("QUIT"), [b"QUIT"], "QUIT at the MX (PRX-011)")


@case(Site("noserver", policy="enforce"), core=True)
def an_mx_that_cannot_be_reached_is_421(t, site):
    peer = t.client(site)
    equal(peer.reply(), f"421 4.4.1 gw.lab.test Destination {site.address(t.family)} not reachable",
          "greeting (PRX-007, REP-045)")
    assert peer.ended()
    equal(t.session(peer)["destination"], site.address(t.family), "destination in the record")


@case(Site("greet554", policy="enforce"), Site("greet521"), Site("greet421"))
def a_refusing_greeting_is_relayed(t, *sites):
    """SMTP-037: then the client may only QUIT."""
    for site, greeting in zip(sites, ("554-5.7.1 No\n554 5.7.1 Not you", "521 no mail here", "421 4.3.2 too busy")):
        t.mx(site, steps={"GREETING": greeting.replace("\n", "\r\n").encode() + b"\r\n"})
        peer = t.client(site)
        equal(peer.reply(), greeting, "greeting")
        equal(peer.cmd("EHLO client.lab.test"), "503 5.5.1 Bad sequence of commands", "EHLO")
        equal(peer.quit().code, 221, "QUIT")


@case(Site("greetjunk", policy="enforce"))
def a_greeting_that_is_none_is_421(t, site):
    for number, step in enumerate((b"hello\r\n", mx.close, mx.say_and_close(b"220 mx"),
                                   b"220-a\r\n250 b\r\n", b"SSH-2.0-OpenSSH_9.2\r\n")):
        server = t.mx(site, steps={"GREETING": step})
        equal(t.client(site).reply(), LOST, f"greeting number {number}")
        server.close()


@case()
def dialling_the_listener_itself_is_421(t):
    """PRX-002: no connection that was not intercepted, no loop."""
    before = t.gateway.read_log().count("event=accept")
    peer = t.dial(GATEWAY_INSIDE[t.family], t.gateway.port)
    equal(peer.reply(), "421 4.3.2 gw.lab.test Service not available", "greeting (REP-047)")
    assert peer.ended()
    assert t.gateway.read_log().count("event=accept") <= before + 1, "a loop"


@case(Site("ongateway", policy="enforce"))
def our_own_connections_are_not_intercepted(t, site):
    """PRX-003, TC-GW-16: an MTA on the gateway is intercepted (redirect), the proxy's own connections never."""
    server = t.mx(site)
    space = "gateway" if t.gateway.intercept == "redirect" else "client"
    peer = t.ready(site, space=space)
    equal(peer.envelope("user@ongateway.test")[1].code, 250, "RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal((len(server.connections), server.mailbox[0].tls), (1, "TLSv1.3"), "connections, TLS")
    records = t.recipients(site)
    equal(len(records), 1, "records")


@case(Site("hungpolicy", policy="enforce", hung_web=True), Site("afterkill", policy="enforce"),
      core=True)
def a_dead_policy_process_costs_a_451_and_comes_back(t, hung, after):
    """REP-065: what waits for it is answered; what comes after its restart is judged again."""
    server = t.mx(hung)
    peer = t.ready(hung)
    peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<user@hungpolicy.test>\r\n")
    equal(peer.reply().code, 250, "MAIL")
    t.web.wait_for_hung_fetch()
    t.gateway.kill("stsgate-policy")
    equal(peer.reply(), "451 4.3.0 Policy service not available", "RCPT")
    peer.quit()
    server.wait_idle()
    equal(server.received("MAIL FROM", "RCPT"), [], "what the MX saw")
    fields(t.recipients(hung)[0], outcome="refused", reply_id="REP-065")

    server = t.mx(after)

    def judged():
        other = t.ready(after)
        reply = other.envelope("user@afterkill.test")[1]
        assert reply.code in (250, 451), reply
        other.quit()
        return reply.code == 250

    wait_for(judged, "a verdict of the new policy process", 30)
    equal(server.connections[-1].tls_version, "TLSv1.3", "TLS")


@case(Site("workerkill", policy="enforce"), core=True)
def a_dead_worker_costs_its_sessions_only(t, site):
    """The listening sockets live on, and connections wait for the new worker."""
    server = t.mx(site)
    peer = t.ready(site)
    t.gateway.kill("stsgate-worker")
    equal(peer.reply().lines, [], "the old session ends without a reply")
    server.wait_idle()
    peer = t.ready(site)
    equal(peer.envelope("user@workerkill.test")[1].code, 250, "RCPT in a new session")
    equal(peer.content(message(marker())).code, 250, "end of data")


@case(Site("workeridle", policy="enforce"), only=ONCE)
def a_dead_worker_in_the_middle_of_data_completes_nothing(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@workeridle.test")
    equal(peer.cmd("DATA").code, 354, "DATA")
    word = marker().encode()
    peer.send(word + b"\r\n")
    server.wait(lambda m: word in m.connections[-1].tls, "the content")
    for pid in t.gateway.children("stsgate-worker"):
        os.kill(pid, signal.SIGKILL)
    equal(peer.reply().lines, [], "no reply")
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    wait_for(lambda: len(t.gateway.children("stsgate-worker")) == 2, "new workers", 30)
