"""Several recipients and identities on one connection: PRX-016 ... PRX-038."""

from case import ONCE, case, equal, fields, marker, message
from cases_policy import NAME_MISMATCH
from world import Site

OTHER_IDENTITY = ("452 4.5.3 Recipient domain needs another TLS identity, retry in a separate "
                  "transaction")

FIRST = Site("a-twin", policy="enforce")
SECOND = Site("b-twin", policy="enforce", shares=FIRST)


@case(FIRST, SECOND, core=True)
def another_identity_gets_a_new_connection_with_its_sni(t, first, second):
    """PRX-030, TC-GW-21: two transactions of one client, two connections at the MX."""
    server = t.mx(first, pairs={s.mx: t.pair(s) for s in (first, second)})
    peer = t.ready(first)
    words = []
    for site in (first, second, first):
        words.append(marker())
        equal([r.code for r in peer.envelope(f"user@{site.domain}")], [250, 250], site.domain)
        equal(peer.content(message(words[-1])).code, 250, f"end of data for {site.domain}")
    equal(peer.quit().code, 221, "QUIT")
    server.wait_idle()
    equal([c.sni for c in server.connections], [first.mx, second.mx, first.mx], "SNI by connection")
    for word, there in zip(words, server.connections):
        assert word.encode() in there.tls and word.encode() not in there.clear
    equal(server.connections[1].hello, b"EHLO client.lab.test", "the client's name (PRX-031)")
    equal(t.session(peer)["reconnects"], 2, "reconnects in the record")
    fields(t.recipients(second)[0], outcome="delivered", tls__sni=second.mx, mx=second.mx)


THIRD = Site("c-twin", policy="enforce")
FOURTH = Site("d-twin", policy="enforce", shares=THIRD)


@case(THIRD, FOURTH, core=True)
def another_identity_inside_one_transaction_is_452(t, first, second):
    """PRX-033, TC-GW-02: with 452 the client sends the rest in a transaction of its own, which then passes."""
    server = t.mx(first, pairs={s.mx: t.pair(s) for s in (first, second)})
    peer = t.ready(first)
    got = peer.envelope(f"user@{first.domain}", f"user@{second.domain}")
    equal(got[1].code, 250, "first recipient")
    equal(got[2], OTHER_IDENTITY, "second recipient")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal([r.code for r in peer.envelope(f"user@{second.domain}")], [250, 250], "its own transaction")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal([len(m.recipients) for m in server.mailbox], [1, 1], "recipients per mail")
    equal([c.sni for c in server.connections], [first.mx, second.mx], "SNI by connection")
    refusal, delivery = t.recipients(second, 2)
    fields(refusal, outcome="refused", reply_id="REP-041")
    fields(delivery, outcome="delivered", mx_proven=True)


SHARED_A = Site("a-shared", policy="enforce", cert="wildcard", mx="one.shared-mx.test")
SHARED_B = Site("b-shared", policy="enforce", cert="wildcard", mx="two.shared-mx.test",
                shares=SHARED_A)


@case(SHARED_A, SHARED_B)
def a_certificate_that_proves_both_is_shared(t, first, second):
    """PRX-034."""
    server = t.mx(first)
    peer = t.ready(first)
    got = peer.envelope(f"user@{first.domain}", f"user@{second.domain}")
    equal([r.code for r in got], [250, 250, 250], "one transaction for both")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal((len(server.connections), len(server.mailbox[0].recipients)), (1, 2),
          "connections and recipients")
    fields(t.recipients(second)[0], outcome="delivered", mx=second.mx, mx_proven=True,
           tls__sni=first.mx)


NAMED_1 = Site("a-samehost", policy="enforce", mx="mx1.samehost.test")
NAMED_2 = Site("b-samehost", policy="enforce", mx="mx2.samehost.test", shares=NAMED_1)


@case(NAMED_1, NAMED_2, only=ONCE)
def two_names_of_one_address_are_told_apart_by_policy(t, first, second):
    """PRX-017: the policy of each lists its own name only."""
    server = t.mx(first, pairs={second.mx: t.pair(second)})
    for site in (first, second):
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1].code, 250, f"RCPT {site.domain}")
        peer.quit()
    server.wait_idle()
    equal([c.sni for c in server.connections], [first.mx, second.mx], "SNI")


@case(Site("unlisted", policy="enforce", listed=False))
def an_address_of_no_mx_passes_by_its_certificate(t, site):
    """PRX-019, TC-GW-10: as strong as the RFC's check, since the certificate proves the host."""
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@unlisted.test")[1].code, 250, "RCPT")
    equal(peer.content(message(marker())).code, 250, "end of data")
    peer.quit()
    server.wait_idle()
    equal(server.connections[0].sni, site.mx, "SNI")
    fields(t.recipients(site)[0], outcome="delivered", matched="certificate", mx_proven=True)


@case(Site("unlistedbad", policy="enforce", cert="wrong", listed=False))
def an_address_of_no_mx_with_another_name_is_refused(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope("user@unlistedbad.test")[1],
          "451 4.4.8 MX hosts of 'unlistedbad.test' failed MTA-STS validation.", "RCPT (PRX-019)")
    peer.quit()
    server.wait_idle()
    equal(server.received("MAIL", "RCPT"), [], "what the MX saw")
    fields(t.recipients(site)[0], outcome="refused", reply_id="REP-010", matched="certificate")
    hint = [line for line in t.gateway.read_log().splitlines()
            if f"event=address-of-no-mx" in line and f"domain={site.domain} " in line]
    assert hint and "smart_host" in hint[0], hint  # PRX-025


@case(Site("unlistednone", cert="self-signed", listed=False), only=ONCE)
def an_address_of_no_mx_without_policy_is_served(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    peer.envelope("user@unlistednone.test")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(server.mailbox[0].tls, "TLSv1.3", "TLS")


MIXED_BAD = Site("bad-mixed", policy="enforce")
MIXED_FREE = Site("free-mixed", shares=MIXED_BAD)


@case(MIXED_BAD, MIXED_FREE, core=True)
def pipelined_recipients_are_judged_one_by_one(t, bad, free):
    """PIPE-002, PRX-035, TC-GW-01: replies in order, local and relayed ones mixed; DATA for the good ones."""
    server = t.mx(bad, pair=t.pair(free))
    peer = t.ready(bad)
    word = marker()
    peer.send(f"MAIL FROM:<a@b.test>\r\nRCPT TO:<one@{bad.domain}>\r\n"
              f"RCPT TO:<two@{free.domain}>\r\nDATA\r\n")
    equal([peer.reply() for _ in range(4)],
          ["250 2.1.0 Sender OK", NAME_MISMATCH, "250 2.1.5 OK", "354 Go on"], "replies")
    peer.send(message(word) + b"\r\n.\r\nQUIT\r\n")
    equal([peer.reply().code for _ in range(2)], [250, 221], "end of data, QUIT")
    server.wait_idle()
    equal([m.recipients for m in server.mailbox], [[b"RCPT TO:<two@free-mixed.test>"]], "the mail")
    equal(server.received(f"one@{bad.domain}"), [], "what the MX saw")
    fields(t.recipients(bad)[0], outcome="refused", reply_id="REP-014")
    fields(t.recipients(free)[0], outcome="delivered")


ALL_BAD = Site("allbad", policy="enforce", cert="wrong")


@case(ALL_BAD)
def when_all_are_refused_data_is_refused_and_what_follows_it_closes(t, site):
    """PRX-036, PIPE-011: message text is never read as commands."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.send(f"MAIL FROM:<a@b.test>\r\nRCPT TO:<one@{site.domain}>\r\nRCPT TO:<two@{site.domain}>"
              "\r\nDATA\r\nRCPT TO:<x@y.test>\r\n.\r\n")
    equal([peer.reply() for _ in range(4)],
          ["250 2.1.0 Sender OK", NAME_MISMATCH, NAME_MISMATCH, "554 5.5.1 No valid recipients"],
          "replies")
    equal(peer.reply(), "421 4.7.0 gw.lab.test Protocol violation, closing", "the text (REP-064)")
    assert peer.ended()
    server.wait_idle()
    equal(server.received("MAIL", "RCPT", "DATA"), [], "what the MX saw")
    fields(t.recipients(site, 2)[1], outcome="refused", transaction=1)


@case(Site("many", policy="enforce"), only=ONCE)
def a_hundred_recipients_are_one_look_up(t, site):
    """SMTP-027, PRX-038."""
    server = t.mx(site)
    peer = t.ready(site)
    peer.send("MAIL FROM:<a@b.test>\r\n" + "".join(f"RCPT TO:<u{n}@many.test>\r\n"
                                                   for n in range(100)))
    equal([peer.reply().code for _ in range(101)], [250] * 101, "replies")
    equal(peer.content(message(marker())).code, 250, "end of data")
    equal(len(server.mailbox[0].recipients), 100, "recipients at the MX")
    equal(t.web.fetches(site), 1, "policy fetches")
    equal(len(t.recipients(site, 100)), 100, "records")


@case(Site("later", policy="enforce"))
def what_the_mx_says_is_relayed(t, site):
    """SMTP-034, TC-GW-14: same digits, same text, all lines; told apart from the gateway's own."""
    server = t.mx(site, steps={"RCPT": [b"450-4.2.0 try\r\n450 4.2.0 later\r\n",
                                        b"551 5.1.6 moved\r\n", b"250 2.1.5 fine\r\n"],
                               ".": b"552-5.3.4 too\r\n552 5.3.4 big\r\n"})
    peer = t.ready(site)
    got = peer.envelope(*[f"u{n}@later.test" for n in range(3)])
    equal(got[1:], ["450-4.2.0 try\n450 4.2.0 later", "551 5.1.6 moved", "250 2.1.5 fine"], "RCPTs")
    equal(peer.content(message(marker())), "552-5.3.4 too\n552 5.3.4 big", "end of data")
    peer.quit()
    server.wait_idle()
    equal(server.mailbox, [], "mails")
    outcomes = [r["outcome"] for r in t.recipients(site, 3)]
    equal(outcomes, ["rejected", "rejected", "failed"], "outcomes")


@case(Site("mail552", policy="enforce"), only=ONCE)
def a_refused_mail_is_the_answer_to_every_recipient(t, site):
    """PRX-014: 552 becomes 550, which no client reads as "too many recipients"."""
    server = t.mx(site, steps={"MAIL": b"552 5.3.4 too big\r\n"})
    peer = t.ready(site)
    equal(peer.envelope("a@mail552.test", "b@mail552.test")[1:], ["550 5.3.4 too big"] * 2, "RCPTs")
    equal(peer.cmd("DATA").code, 554, "DATA")
    peer.quit()
    server.wait_idle()
    equal(server.received("DATA", "b@mail552.test"), [], "what the MX saw")
