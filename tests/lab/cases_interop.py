"""Real MTAs through the gateway, policies enforced: Postfix, Exim, OpenSMTPD, swaks and a raw client
send, Postfix, Exim and OpenSMTPD receive. Every mail arrives, with the SHA-256 that it was sent with,
and once. run.py --long sends 1000 of them."""

import concurrent.futures
import contextlib
import hashlib
import itertools
from dataclasses import dataclass, field

import peers
from case import ONCE, case, configured, equal, fields, marker, message
from lab import wait_for
from world import Site

SIZES = (0, 1, 75, 900, 4096, 70_000, 300_000, 16_384, 5_000, 1_500_000)
LARGEST = 25_000_000
SHORT, LONG = 10, 67  # mails of each client to each MX
SENDER = "sender@client.test"
SUBMISSION = {peers.Exim: 2501, peers.OpenSmtpd: 2502}


def body_of(size, kind):
    """That many octets, with CRLF at the end of each line and of the whole."""
    line = {"plain": b"The quick brown fox jumps over the lazy dog, and the dog does nothing at all",
            "dots": b".\r\n..\r\n...and a line that begins with dots, as some others here do",
            "eight": "grüße, žluťoučký kůň, 漢字, and something in plain letters behind".encode(),
            "long": b"x" * 950}[kind] + b"\r\n"
    if size < 2:
        return b"\r\n" * size
    text = (line * (size // len(line) + 1))[:size - 2].rstrip(b"\r")
    if kind == "eight":  # no part of a character at the end
        text = text.decode(errors="ignore").encode()
    return text + b"\r\n"


@dataclass
class Mail:
    """One to send, and what is to be found in a mailbox."""

    site: Site
    size: int
    kind: str = "plain"
    dsn: bool = False
    utf8: bool = False
    word: str = field(default_factory=marker)

    def __post_init__(self):
        self.body = body_of(self.size, self.kind)
        self.recipient = f"{'üser' if self.utf8 else 'user'}@{self.site.domain}"
        self.digest = hashlib.sha256(self.body.replace(b"\r\n", b"\n")).hexdigest()

    def text(self):
        head = (f"From: <{SENDER}>\r\nTo: <{self.recipient}>\r\nSubject: interop\r\n"
                f"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{self.word}@client.test>\r\n"
                f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Content-Transfer-Encoding: 8bit\r\nX-Interop: {self.word}\r\n\r\n")
        return head.encode() + self.body

    def stuffed(self):
        text = b"\r\n" + self.text()
        return text.replace(b"\r\n.", b"\r\n..")[2:]

    def parameters(self, offered):
        """For MAIL and RCPT, as far as the other side offers them."""
        mail = " BODY=8BITMIME" if "8BITMIME" in offered and self.kind == "eight" else ""
        mail += " SMTPUTF8" if self.utf8 else ""
        if self.dsn and "DSN" in offered:
            return mail + f" RET=HDRS ENVID={self.word}", " NOTIFY=FAILURE ORCPT=rfc822;user@x.test"
        return mail, ""


def batch(t, sites, utf8=()):
    """The mails of one client: sizes and kinds in turn, and one as large as they come."""
    count = LONG if t.long else SHORT
    kinds = itertools.cycle(("plain", "dots", "eight", "long"))
    mails = [Mail(site, SIZES[i % len(SIZES)], next(kinds), dsn=i % 4 == 1,
                  utf8=i % 5 == 2 and site in utf8)
             for i in range(count) for site in sites]
    mails[0].size = LARGEST
    mails[0].__post_init__()
    return mails


def keywords(reply):
    return {line[4:].split(" ")[0].upper() for line in reply.lines[1:]}


# --- the clients -------------------------------------------------------------------------------


def postfix_sends(t, mails):
    """By sendmail(1); Postfix pipelines where that is offered."""
    for mail in mails:
        dsn = ("-N", "failure", "-R", "hdrs", "-V", mail.word) if mail.dsn else ()
        t.lab.in_space("client", "sendmail", "-C", str(t.sender.conf), "-i", "-f", SENDER, *dsn,
                       "--", mail.recipient, stdin=None,
                       input=mail.text().decode().replace("\r\n", "\n"))


def submit(t, port, mails):
    """To a client MTA on the loopback, one after the other; some in each connection, since MTAs take so
    many and no more."""
    for begin in range(0, len(mails), 50):
        submit_some(t, port, mails[begin:begin + 50])


def submit_some(t, port, mails):
    peer = t.dial("127.0.0.1", port)
    offered = keywords(peer.greet())
    for mail in mails:
        of_mail, of_rcpt = mail.parameters(offered)
        for line in (f"MAIL FROM:<{SENDER}>{of_mail}", f"RCPT TO:<{mail.recipient}>{of_rcpt}"):
            reply = peer.cmd(line.encode())
            assert reply.code == 250, f"{line}: {reply}"
        equal(peer.cmd("DATA").code, 354, "DATA")
        peer.send(mail.stuffed() + b".\r\n")
        reply = peer.reply()
        assert reply.code == 250, f"end of data: {reply}"
    peer.quit()


def swaks_sends(t, mails):
    """Each in a session of its own; every second one pipelines."""
    def send(numbered):
        number, mail = numbered
        path = t.lab.folder / f"swaks-{mail.word}"
        path.write_bytes(mail.stuffed() + b".")
        t.lab.in_space("client", "swaks", "--server", mail.site.address(t.family), "--port", "25",
                       "--helo", "swaks.lab.test", "--from", SENDER, "--to", mail.recipient,
                       "--data", f"@{path}", "--no-data-fixup", "--hide-all", *(["--pipeline"] if number % 2 else []))
        path.unlink()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(send, enumerate(mails)))


def raw_sends(t, mails):
    """By BDAT in three chunks where it is offered, else MAIL, RCPT and DATA in one write."""
    for mail in mails:
        peer = t.client(mail.site)
        offered = keywords(peer.greet())
        assert not mail.utf8 or "SMTPUTF8" in offered, f"{mail.site.domain} offers {offered}"
        of_mail, of_rcpt = mail.parameters(offered)
        group = f"MAIL FROM:<{SENDER}>{of_mail}\r\nRCPT TO:<{mail.recipient}>{of_rcpt}\r\n".encode()
        peer.send(group + (b"" if "CHUNKING" in offered else b"DATA\r\n"))
        equal([peer.reply().code, peer.reply().code], [250, 250], "MAIL and RCPT")
        if "CHUNKING" in offered:
            send_chunks(peer, mail.text())
        else:
            equal(peer.reply().code, 354, "DATA")
            peer.send(mail.stuffed() + b".\r\n")
            equal(peer.reply().code, 250, "end of data")
        equal(peer.quit().code, 221, "QUIT")


def send_chunks(peer, text):
    """The cuts are where they please: within a line, too. Pipelined (RFC 3030 4.2)."""
    third = len(text) // 3
    for part, last in ((text[:third], ""), (text[third:2 * third], ""), (text[2 * third:], " LAST")):
        peer.send(f"BDAT {len(part)}{last}\r\n".encode() + part)
    equal([peer.reply().code for _ in range(3)], [250] * 3, "chunks")


# --- the servers, and what came ----------------------------------------------------------------


class Mailboxes:
    """What lies in the mailboxes of the three MXs; each file is read once."""

    def __init__(self, folders):
        self.folders, self.seen = folders, {}

    def read(self):
        """word: digests, for all mails of this kind."""
        for folder in self.folders:
            for path in folder.glob("new/*"):
                if path not in self.seen:
                    self.seen[path] = self._look(path)
        found = {}
        for word, digest in self.seen.values():
            found.setdefault(word, []).append(digest)
        return found

    @staticmethod
    def _look(path):
        head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        words = [line[11:].decode() for line in head.split(b"\n") if line.startswith(b"X-Interop: ")]
        return (words or [""])[0], hashlib.sha256(body).hexdigest()


@contextlib.contextmanager
def receivers(t, exim_site, opensmtpd_site):
    """Exim and OpenSMTPD as MX; Postfix is one already."""
    servers = [peers.Exim(t.lab, "mx", exim_site.name, exim_site, t.pair(exim_site)),
               peers.OpenSmtpd(t.lab, "mx", opensmtpd_site.name, opensmtpd_site)]
    try:
        for server, site in zip(servers, (exim_site, opensmtpd_site)):
            server.start(t.dns.resolv_conf)
            server.wait(25, site.address(t.family))
        yield Mailboxes([t.lab.folder / "mailbox", *(server.maildir for server in servers)])
    finally:
        for server in servers:
            server.stop()


@contextlib.contextmanager
def sending(t, kind, name):
    """A client MTA on the loopback of the client's namespace."""
    sender = kind(t.lab, "client", name, port=SUBMISSION[kind])
    sender.start(t.dns.resolv_conf)
    try:
        sender.wait(SUBMISSION[kind])
        yield sender
    finally:
        sender.stop()


def all_arrive(t, send, sites, utf8=(), sender=None):
    """Send, wait, compare: nothing is missing, changed or there twice, and all was proven that could be."""
    postfix_site, exim_site, opensmtpd_site = sites
    with receivers(t, exim_site, opensmtpd_site) as mailboxes:
        mails = batch(t, sites, [site for site in sites if site in utf8])
        send(t, mails)
        want = {mail.word: [mail.digest] for mail in mails}

        def ours():
            return {word: found for word, found in mailboxes.read().items() if word in want}

        try:
            wait_for(lambda: len(ours()) == len(want), f"{len(want)} mails", 1500 if t.long else 75)
        except Exception as error:
            missing = [(m.site.domain, m.size, m.kind, m.dsn, m.utf8) for m in mails
                       if m.word not in ours()]
            log = sender.read_log()[-1500:] if sender else ""
            raise AssertionError(f"{error}; missing: {missing[:8]} {log}") from error
        wrong = [(m.site.domain, m.size, m.kind) for m in mails
                 if ours()[m.word] != want[m.word]]
        equal(wrong, [], "mails that arrived changed or more than once")
    for site in sites:
        count = sum(mail.site == site for mail in mails)
        records = delivered(t, site, count)
        equal(len(records), count, f"deliveries to {site.domain}")
        for record in records:
            fields(record, mx_proven=site.policy == "enforce", verdict="allow")


def delivered(t, site, count):
    def enough():
        found = [r for r in t.gateway.records(t.before) if r["event"] == "recipient"
                 and r["domain"] == site.domain and r["outcome"] == "delivered"]
        return found if len(found) >= count else None

    return wait_for(enough, f"{count} records of {site.domain}", 30)


def three(name):
    """A site for each kind of MX, with a policy that is enforced where the MX has TLS."""
    return (Site(f"{name}-postfix", policy="enforce", postfix=True),
            Site(f"{name}-exim", policy="enforce"), Site(f"{name}-opensmtpd"))


@case(*three("from-postfix"), only=ONCE)
def interop_postfix_sends_to_all(t, *sites):
    """SMTP-040, EXT-001: pipelining, DSN, 8BITMIME, SMTPUTF8 as Postfix uses them."""
    all_arrive(t, postfix_sends, sites, utf8=sites[:2])


@case(*three("from-exim"), only=ONCE)
def interop_exim_sends_to_all(t, *sites):
    """CHNK-003: Exim sends by BDAT wherever it is offered."""
    with sending(t, peers.Exim, "exim-client") as sender:
        all_arrive(t, lambda _, mails: submit(t, SUBMISSION[peers.Exim], mails), sites,
                   utf8=sites[:2], sender=sender)


@case(*three("from-opensmtpd"), only=ONCE)
def interop_opensmtpd_sends_to_all(t, *sites):
    with sending(t, peers.OpenSmtpd, "opensmtpd-client") as sender:
        all_arrive(t, lambda _, mails: submit(t, SUBMISSION[peers.OpenSmtpd], mails), sites,
                   sender=sender)


@case(*three("from-swaks"), only=ONCE)
def interop_swaks_sends_to_all(t, *sites):
    all_arrive(t, swaks_sends, sites)


@case(*three("from-raw"), only=ONCE)
def interop_chunks_and_one_write_to_all(t, *sites):
    all_arrive(t, raw_sends, sites, utf8=sites[:2])


# --- the next MX -------------------------------------------------------------------------------

EXIM_BACKUP, OPENSMTPD_BACKUP = Site("exim-backup"), Site("opensmtpd-backup")


def send_one(t, kind, site, word):
    submission = t.dial("127.0.0.1", SUBMISSION[kind])
    submission.greet()
    submission.envelope(f"user@{site.domain}")
    equal(submission.content(message(word)).code, 250, "submission")
    submission.quit()


@case(Site("exim-two", policy="enforce", cert="expired", backup=EXIM_BACKUP), EXIM_BACKUP, only=ONCE)
def exim_goes_on_to_the_next_mx(t, site, backup):
    """PRX-045, STS-105, TC-MX-06."""
    word = marker()
    first, second = t.mx(site), t.mx(backup)
    with sending(t, peers.Exim, "exim-two"):
        send_one(t, peers.Exim, site, word)
        second.wait(lambda mx: mx.mailbox, "the mail")
    assert word.encode() in second.mailbox[0].content, second.mailbox
    equal(first.received("RCPT", word), [], "at the bad MX")
    refused, good = t.recipients(site, 2)
    fields(refused, outcome="refused", reply_id="REP-013", mx=site.mx)
    fields(good, outcome="delivered", mx=backup.mx, mx_proven=True)


@case(Site("opensmtpd-two", policy="enforce", cert="expired", backup=OPENSMTPD_BACKUP),
      OPENSMTPD_BACKUP, only=ONCE)
def opensmtpd_keeps_the_mail_for_later(t, site, backup):
    """PRX-046: it does not go on to the next MX, neither after a 4xx at RCPT nor where the session
    ends there with 421; the recipient is deferred, and nothing is lost."""
    first, second = t.mx(site), t.mx(backup)
    for number, setting in enumerate(("violation = reject", "violation = disconnect")):
        word = marker()
        with configured(t, setting), sending(t, peers.OpenSmtpd, f"opensmtpd-{number}") as sender:
            send_one(t, peers.OpenSmtpd, site, word)
            wait_for(lambda log=sender.read_log: 'result="TempFail"' in log(), "a deferral")
            equal(first.received("RCPT", word) + second.received(word), [], "at either MX")
            record = t.recipients(site, number + 1)[number]
            fields(record, outcome="refused", reply_id="REP-013")
            equal(record["reply"][:3], ("451", "421")[number], "reply")
