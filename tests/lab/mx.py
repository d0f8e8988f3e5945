"""A scriptable MX: any reply at any stage, STARTTLS with certificates by SNI, faults on request, and
a log of every byte received, before and under TLS apart.

It is an honest SMTP server unless its Script says otherwise. It answers one command at a time, so
what a peer sends too early is seen in the log, not lost.
"""

import contextlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

import lab

END = b"\r\n.\r\n"
# What a careless server takes for the end of data as well (SMTP-043).
CARELESS_END = re.compile(rb"(?:\r\n|\n|\r)\0*\.\0*(?:\r\n|\n|\r)")
PATIENCE_S = 60.0


class Close(Exception):
    """Raised by a step: close the connection here, without a word."""


class Reset(Exception):
    """Raised by a step: reset the connection."""


def close(_connection=None, _line=b""):
    raise Close


def reset(_connection=None, _line=b""):
    raise Reset


def say_and_close(reply):
    """A step: this reply, then the end of the connection."""
    def step(connection, _line):
        connection.send(reply)
        raise Close
    return step


def say_and_reset(reply):
    def step(connection, _line):
        connection.send(reply)
        raise Reset
    return step


def silent(connection, _line):
    """A step: no answer, until the peer gives up."""
    while connection.receive():
        pass
    raise Close


@dataclass
class Script:
    """What the MX does differently. Steps are keyed by verb: "GREETING", "EHLO", "HELO", "STARTTLS",
    "MAIL", "RCPT", "DATA", "BDAT" (but the last one), "." (after the end of data), "RSET", "NOOP", "QUIT". A step is the bytes
    of a reply, a function of (connection, line) that does anything and may return such bytes, or a
    list of steps for the first, second ... time in one connection; the last one stays."""

    steps: dict = field(default_factory=dict)
    keywords: tuple = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")
    keywords_tls: tuple | None = None      # under TLS; default: the same
    starttls: bool = True                  # offered in clear
    pair: tuple | None = None              # (certificate, key) for an SNI that pairs lacks
    pairs: dict = field(default_factory=dict)  # by SNI
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1
    group: str = ""                        # the only one for key exchange
    after_220: bytes = b""                 # in clear, in the same packet as the 220 to STARTTLS
    instead_of_tls: bytes | None = None    # in place of a ServerHello, then the connection ends
    keeps_tickets: bool = False            # takes its own session tickets back
    tune: object = None                    # called with each SSLContext before it is used
    careless: bool = False                 # takes look-alikes for the end of data


@dataclass
class Message:
    """Accepted with a 2xx after the end of data."""

    sender: bytes
    recipients: list
    content: bytes  # as sent, dots stuffed, without the final CRLF.CRLF
    tls: str        # "TLSv1.3", or "" when it came in clear


class Connection:
    """One connection: what came, and the running of the script."""

    def __init__(self, mx, sock, peer, number):
        self.mx, self.script, self.sock = mx, mx.script, sock
        self.peer, self.number = peer, number  # 1 is the MX's first connection
        self.clear, self.tls = bytearray(), bytearray()
        self.failed_tls = bytearray()  # what followed our 220 when no TLS came of it
        self.tls_version = self.tls_error = ""
        self.resumed = False
        self.sni = None
        self.hello = b""
        self.commands = []   # (under TLS?, line without CRLF)
        self.over = False
        self._buffer = bytearray()
        self._times = {}
        self._mail, self._rcpt = b"", []
        self._chunks = bytearray()

    # bytes

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        """Some bytes into the log and the buffer; False at the end of the stream."""
        try:
            data = self.sock.recv(1 << 18)
        except (OSError, ValueError):
            return False
        self._log().extend(data)
        self._buffer += data
        self.mx.notify()
        return bool(data)

    def _log(self):
        if self.tls_version:
            return self.tls
        return self.failed_tls if self.tls_error else self.clear

    def take_all(self):
        """What was received and not yet looked at."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def read_line(self):
        while (end := self._buffer.find(b"\n")) < 0:
            if not self.receive():
                raise Close
        line = bytes(self._buffer[:end + 1])
        del self._buffer[:end + 1]
        return line.rstrip(b"\r\n")

    def _end_of_data(self, start):
        if self.script.careless:
            found = CARELESS_END.search(self._buffer, start)
            return found.span() if found else None
        at = self._buffer.find(END, start)
        return (at, at + len(END)) if at >= 0 else None

    def read_content(self):
        """Message data to its end; the CRLF of DATA counts as the first half of an end."""
        self._buffer[:0] = b"\r\n"
        start = 0
        while (end := self._end_of_data(start)) is None:
            start = max(0, len(self._buffer) - 8)
            if not self.receive():
                raise Close
        content = bytes(self._buffer[2:end[0]]) if end[0] >= 2 else b""
        del self._buffer[:end[1]]
        return content

    def wait_for(self, word, count):
        """Until so many of these have come that no command has used up."""
        while self._buffer.count(word) < count:
            if not self.receive():
                raise Close

    def read_octets(self, count):
        while len(self._buffer) < count:
            if not self.receive():
                raise Close
        octets = bytes(self._buffer[:count])
        del self._buffer[:count]
        return octets

    # script

    def run(self):
        try:
            self._answer("GREETING", b"", f"220 {self.mx.host} ESMTP lab\r\n".encode())
            while True:
                self._command(self.read_line())
        except Close:
            pass
        except Reset:
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                self.sock.close()
            self.mx.note_end(self)

    def _answer(self, verb, line, usual):
        """Run the step of verb and send its reply. Returns what was sent."""
        reply = self._reply(verb, line, usual)
        if reply:
            self.send(reply)
        return reply

    def _reply(self, verb, line, usual):
        """Run the step of verb; usual is the reply when there is none."""
        step = self.script.steps.get(verb, usual)
        if isinstance(step, list):
            count = self._times.get(verb, 0)
            self._times[verb] = count + 1
            step = step[min(count, len(step) - 1)]
        if callable(step):
            step = step(self, line)
        return step or b""

    def _command(self, line):
        self.commands.append((bool(self.tls_version), line))
        verb = line[:8].split(b" ")[0].split(b":")[0].upper().decode("latin-1")
        handler = {"EHLO": self._ehlo, "HELO": self._helo, "STARTTLS": self._starttls,
                   "MAIL": self._mail_from, "RCPT": self._rcpt_to, "DATA": self._data, "BDAT": self._bdat,
                   "RSET": self._rset, "QUIT": self._quit}.get(verb)
        if handler:
            handler(line)
        else:
            self._answer(verb, line, b"250 2.0.0 OK\r\n" if verb == "NOOP"
                         else b"500 5.5.1 What?\r\n")

    def _ehlo(self, line):
        self.hello = line
        words = list(self.script.keywords)
        if self.tls_version:
            words = list(self.script.keywords if self.script.keywords_tls is None
                         else self.script.keywords_tls)
        elif self.script.starttls:
            words.append("STARTTLS")
        lines = [self.mx.host, *words]
        text = "".join(f"250-{word}\r\n" for word in lines[:-1]) + f"250 {lines[-1]}\r\n"
        self._answer("EHLO", line, text.encode())

    def _helo(self, line):
        self.hello = line
        self._answer("HELO", line, f"250 {self.mx.host}\r\n".encode())

    def _starttls(self, line):
        reply = self._answer("STARTTLS", line, b"220 2.0.0 Go ahead\r\n" + self.script.after_220)
        if not reply.startswith(b"220"):
            return
        if self.script.instead_of_tls is not None:
            self.tls_error = "none was meant"
            self.receive()
            self.send(self.script.instead_of_tls)
            while self.receive():
                pass
            raise Close
        self._handshake()

    def _handshake(self):
        context = self.mx.context(self)
        early = bytes(self._buffer)
        self._buffer.clear()
        if early:
            self.tls_error = "bytes before the handshake"
            raise Close
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except (ssl.SSLError, OSError) as error:
            self.tls_error = str(error) or "failed"
            while self.receive():
                pass
            raise Close from None
        self.tls_version = self.sock.version()
        self.resumed = self.sock.session_reused

    def _mail_from(self, line):
        reply = self._answer("MAIL", line, b"250 2.1.0 OK\r\n")
        if reply.startswith(b"2"):
            self._mail, self._rcpt = line, []

    def _rcpt_to(self, line):
        if self._answer("RCPT", line, b"250 2.1.5 OK\r\n").startswith(b"2"):
            self._rcpt.append(line)

    def _data(self, line):
        if not self._answer("DATA", line, b"354 Go on\r\n").startswith(b"354"):
            return
        self._take(self.read_content())

    def _bdat(self, line):
        words = line.split()
        self._chunks += self.read_octets(int(words[1]))
        if len(words) == 2:
            self._answer("BDAT", line, b"250 2.0.0 Go on\r\n")
            return
        self._take(bytes(self._chunks))

    def _take(self, content):
        """The end of data has come."""
        self._chunks.clear()
        reply = self._reply(".", b"", b"250 2.0.0 Queued as LAB\r\n")
        if reply.startswith(b"2"):
            self.mx.deliver(Message(self._mail, self._rcpt, content, self.tls_version))
        self._mail, self._rcpt = b"", []
        self.send(reply)

    def _rset(self, line):
        self._mail, self._rcpt = b"", []
        self._chunks.clear()
        self._answer("RSET", line, b"250 2.0.0 OK\r\n")

    def _quit(self, line):
        self._answer("QUIT", line, b"221 2.0.0 Bye\r\n")
        raise Close

    # what a case asks about

    def clear_after_220(self):
        """What followed the 220 to STARTTLS and is no TLS record (RFC 3207 4)."""
        rest = bytes(self.failed_tls)
        while len(rest) >= 5 and rest[0] in (20, 21, 22, 23) and rest[1] == 3:
            rest = rest[5 + int.from_bytes(rest[3:5], "big"):]
        return rest

    def lines(self, verb):
        """All command lines with this verb."""
        return [line for _, line in self.commands if line.upper().startswith(verb.encode())]


class ScriptedMx:
    """Listens on an address of the MX namespace until closed."""

    def __init__(self, lab, host, address, family, script):
        self.lab, self.host, self.script = lab, host, script
        self.connections, self.mailbox = [], []
        self._context = None
        self._changed = threading.Condition()
        self._listener = lab.socket("mx", family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, 25))
        self._listener.listen(64)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self):
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, peer, len(self.connections) + 1)
            with self._changed:
                self.connections.append(connection)
                self._changed.notify_all()
            threading.Thread(target=connection.run, daemon=True).start()

    def context(self, connection):
        # The keys of tickets belong to a context.
        context = self._context if self.script.keeps_tickets and self._context else (
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._context = context
        if self.script.newest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = min(self.script.oldest, self.script.newest)
        context.maximum_version = self.script.newest
        if self.script.group:
            context.set_ecdh_curve(self.script.group)
        if self.script.pair:
            context.load_cert_chain(*self.script.pair)

        def choose(sock, name, _context):
            connection.sni = name or ""
            if name in self.script.pairs:
                chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                chosen.load_cert_chain(*self.script.pairs[name])
                sock.context = chosen

        context.sni_callback = choose
        if self.script.tune:
            self.script.tune(context)
        return context

    def notify(self):
        """Something changed; wait() looks again."""
        with self._changed:
            self._changed.notify_all()

    def note_end(self, connection):
        connection.over = True
        self.notify()

    def deliver(self, message):
        self.mailbox.append(message)
        self.notify()

    def wait(self, condition, what, seconds=20.0):
        """Until condition(self) holds."""
        seconds *= lab.slowness
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                raise AssertionError(f"the MX waited {seconds:g} s in vain for {what}")

    def wait_idle(self):
        """Until every connection that was made is over: then the logs are whole."""
        self.wait(lambda mx: all(c.over for c in mx.connections), "the end of its connections")

    def received(self, *words):
        """Which of these words reached this MX, in clear or under TLS."""
        everything = b"".join(bytes(c.clear) + b"\0" + bytes(c.tls) for c in self.connections)
        return [word for word in words if word.upper().encode() in everything.upper()]

    def in_clear(self):
        return b"".join(bytes(c.clear) for c in self.connections)

    def account(self):
        """One line per connection."""
        return "".join(
            f"{self.host} connection {c.number}: sni={c.sni} tls={c.tls_version or '-'} "
            f"{c.tls_error} over={c.over} {[line.decode('latin-1')[:60] for _, line in c.commands]}\n"
            for c in self.connections)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 5
        with self._changed:
            self._changed.wait_for(lambda: all(c.over for c in self.connections),
                                   max(0, deadline - time.monotonic()))
