"""Real Postfix at both ends, over both families (PRX-004) and both ways of interception (PRX-001)."""

from capture import Capture
from case import case, equal, fields, marker, message
from cases_policy import NAME_MISMATCH
from lab import wait_for
from postfix import mailbox
from world import Site


def delivered(t, site, word):
    """The mail through both Postfixes: client's log line, the mail as it lies in the mailbox."""
    t.sender.send(f"user@{site.domain}", message(word).decode().replace("\r\n", "\n"))
    line = t.sender.outcome(f"<{word}@client.test>")
    assert "status=sent" in line and f"relay={site.mx}[{site.address(t.family)}]:25" in line, line
    queued = t.receiver.queue_id(f"<{word}@client.test>")
    assert f"250 2.0.0 Ok: queued as {queued}" in line, f"{line} but the MX queued {queued}"
    return wait_for(lambda: [m for m in mailbox(t.lab) if word.encode() in m], "the mailbox")[0]


@case(Site("pf-direct", postfix=True), direct=True)
def without_gateway_postfix_delivers_to_postfix(t, site):
    assert b"TLSv1.3" in delivered(t, site, marker())


@case(Site("pf-good", policy="enforce", postfix=True), core=True)
def postfix_delivers_to_a_proven_mx(t, site):
    word = marker()
    mail = delivered(t, site, word)
    assert b"using TLSv1.3 with cipher" in mail, mail
    fields(t.recipients(site)[0], verdict="allow", outcome="delivered", mx_proven=True,
           tls__version="TLSv1.3", destination=site.address(t.family))


@case(Site("pf-bad", policy="enforce", postfix=True, cert="wrong"), core=True)
def postfix_defers_for_an_mx_that_is_not_proven(t, site):
    capture, word = Capture(t.lab, "pf-bad"), marker()
    t.sender.send("user@pf-bad.test", message(word).decode().replace("\r\n", "\n"))
    line = t.sender.outcome(f"<{word}@client.test>")
    assert "status=deferred" in line and NAME_MISMATCH in line, line
    equal(capture.stop().in_clear(word.encode(), b"user@pf-bad.test"), 0, "in clear outside")
    equal([m for m in mailbox(t.lab) if word.encode() in m], [], "mails in the mailbox")
    equal(t.receiver.lines(word), [], "the MX's log")
    fields(t.recipients(site)[0], outcome="refused", reply_id="REP-014")


BACKUP = Site("pf-backup", postfix=True)


@case(Site("pf-two", policy="enforce", postfix=True, cert="expired", backup=BACKUP), BACKUP)
def postfix_goes_on_to_the_next_mx(t, site, backup):
    """PRX-045, STS-105, TC-MX-06: a 4xx at RCPT lets the client try its next candidate."""
    word = marker()
    t.sender.send("user@pf-two.test", message(word).decode().replace("\r\n", "\n"))
    line = t.sender.outcome(f"<{word}@client.test>")
    assert "status=sent" in line and f"relay={backup.mx}[" in line, line
    first, second = t.recipients(site, 2)
    fields(first, outcome="refused", reply_id="REP-013", mx=site.mx)
    fields(second, outcome="delivered", mx=backup.mx, mx_proven=True)


@case(Site("pf-none", postfix=True, cert="self-signed"))
def postfix_delivers_without_policy(t, site):
    assert b"using TLSv1.3" in delivered(t, site, marker())
    fields(t.recipients(site)[0], outcome="delivered", mx_proven=False)
