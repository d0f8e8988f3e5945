"""What a case is, and what it can do. A case is a function of (trial, its sites ...) under @case."""

import contextlib
import secrets

import client
import mx
from lab import wait_for



def case(*sites, only=None, core=False, direct=False):
    """A case. sites: the mail domains made for it alone, given to it in this order.

    only    "INTERCEPT/FAMILY" where one configuration says it all; default: every one
    core    also run on the sanitized build
    direct  run without a gateway, to show what the lab itself does"""
    def mark(function):
        function.sites, function.only = sites, only
        function.core, function.direct = core, direct
        function.title = function.__name__.replace("_", "-")
        return function
    return mark


ONCE = "tproxy/4"  # for cases to which neither interception nor family makes a difference


class Trial:
    """One run of one case: opens things, and closes them at its end."""

    def __init__(self, world):
        self.lab, self.gateway, self.family = world.lab, world.gateway, world.family
        self.world, self.long = world, world.long  # long: see run.py
        self.certificates, self.web, self.dns = world.certificates, world.web, world.dns
        self.sender, self.receiver = world.postfix_client, world.postfix_mx
        self.before = len(self.gateway.records()) if self.gateway else 0
        self._open = []

    # peers

    def mx(self, site, **script):
        """A scripted MX on the site's address. Its certificate is the site's."""
        script.setdefault("pair", self.world.pairs.get(site))
        peer = mx.ScriptedMx(self.lab, site.mx, site.address(self.family), self.family,
                             mx.Script(**script))
        self._open.append(peer)
        return peer

    def pair(self, site):
        return self.world.pairs[site]

    def client(self, site, **options):
        """A client that has dialled the site's MX."""
        peer = client.Client(self.lab, site.address(self.family), self.family, **options)
        self._open.append(peer)
        return peer

    def ready(self, site, **options):
        """A client that has had greeting and EHLO."""
        peer = self.client(site, **options)
        reply = peer.greet()
        assert reply.code == 250, f"EHLO: {reply}"
        return peer

    def dial(self, address, port, space="client"):
        peer = client.Client(self.lab, address, self.family, port=port, space=space)
        self._open.append(peer)
        return peer

    def account(self):
        """What the MX hosts saw, for the report of a failure."""
        return "".join(peer.account() for peer in self._open if isinstance(peer, mx.ScriptedMx))

    def close(self):
        for peer in reversed(self._open):
            peer.close()

    # records

    def recipients(self, site, count=1):
        """The recipient records of a domain, once there are as many."""
        def enough():
            found = [r for r in self.gateway.records(self.before)
                     if r["event"] == "recipient" and r["domain"] == site.domain]
            return found if len(found) >= count else None

        found = wait_for(enough, f"{count} recipient records of {site.domain}", 15)
        assert len(found) == count, f"{len(found)} recipient records of {site.domain}, not {count}"
        return found

    def session(self, peer):
        """The record of a client's session."""
        def ended():
            return [r for r in self.gateway.records(self.before)
                    if r["event"] == "session" and r["client_port"] == peer.port]

        return wait_for(ended, "the session's record", 15)[0]


def marker():
    """A word that stands in no other mail."""
    return f"marker-{secrets.token_hex(8)}"


def message(word):
    """A small mail with the word in header and body."""
    return (f"From: <sender@client.test>\r\nTo: <user@lab.test>\r\nSubject: {word}\r\n"
            f"Message-ID: <{word}@client.test>\r\n\r\nThe text says {word}.").encode()


def equal(got, want, what):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def fields(record, **wanted):
    """Check fields of a record; tls__version means record["tls"]["version"]."""
    for name, want in wanted.items():
        value = record
        for part in name.split("__"):
            value = value.get(part) if isinstance(value, dict) else None
        assert value == want, f"record {name}: got {value!r}, want {want!r} in {record}"


@contextlib.contextmanager
def configured(t, text):
    """The gateway with other lines in its configuration, by reload; afterwards without."""
    t.gateway.configure(text)
    t.gateway.reload()
    try:
        yield
    finally:
        t.gateway.configure("")
        t.gateway.reload()


@contextlib.contextmanager
def restarted(t, text):
    """The gateway with other listeners or another number of workers: a reload is not enough."""
    t.gateway.configure(text)
    t.gateway.restart()
    try:
        yield
    finally:
        t.gateway.configure("")
        t.gateway.restart()


def override(title, body, until="2099-12-31"):
    """A section for configured()."""
    return f'override "{title}" {{\n{body}\nreason = "test"\nuntil = {until}\n}}\n'


def rcpt(t, site, name="user"):
    """The reply to a recipient of the site, in a session of its own."""
    peer = t.ready(site)
    reply = peer.envelope(f"{name}@{site.domain}")[1]
    peer.quit()
    return reply
