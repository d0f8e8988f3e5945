"""A raw SMTP client: sends exactly the bytes it is told, reads whole replies."""

import errno
import itertools
import socket
import ssl

# Each connection has a source port of its own, outside of what the kernel gives: one that comes again soon, to another MX,
# is another one behind a redirect (conntrack still has the first), and records are found by it.
PORTS = itertools.cycle(range(10_000, 32_000))


class Reply:
    """One reply, all lines. Compares with its text: reply == "250 2.0.0 OK"."""

    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[-1][:3]) if lines and lines[-1][:3].isdigit() else 0

    @property
    def text(self):
        return "\n".join(self.lines)

    def __eq__(self, other):
        return self.text == (other.text if isinstance(other, Reply) else other)

    __hash__ = None

    def __repr__(self):
        return repr(self.text)


class Client:
    """A connection from the client's namespace (or another one) to an address."""

    def __init__(self, lab, address, family, port=25, space="client", timeout=45.0):
        self.sock = lab.socket(space, family)
        self.sock.settimeout(timeout)
        self._bind()
        self.sock.connect((address, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.sock.getsockname()[1]
        self._buffer = b""

    def _bind(self):
        for port in PORTS:
            try:
                return self.sock.bind(("", port))
            except OSError as error:  # a listener's
                if error.errno != errno.EADDRINUSE:
                    raise

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def send_slowly(self, data):
        """One octet per packet."""
        for at in range(len(data)):
            self.sock.sendall(data[at:at + 1])

    def reply(self):
        """The next reply; at the end of the stream one without lines."""
        lines = []
        while not lines or lines[-1][3:4] == "-":
            while b"\r\n" not in self._buffer:
                try:
                    data = self.sock.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    return Reply(lines)
                self._buffer += data
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            lines.append(line.decode("latin-1"))
        return Reply(lines)

    def cmd(self, line):
        self.send(line.encode() + b"\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def greet(self, verb="EHLO", name="client.lab.test"):
        """Greeting and EHLO; returns the reply to EHLO."""
        greeting = self.reply()
        assert greeting.code == 220, f"greeting {greeting}"
        return self.cmd(f"{verb} {name}")

    def starttls(self, ca=None, host=None, newest=ssl.TLSVersion.TLSv1_3):
        """STARTTLS and the handshake; verified when ca is given. EHLO is the caller's."""
        reply = self.cmd("STARTTLS")
        assert reply.code == 220, f"STARTTLS: {reply}"
        self.shake_hands(ca, host, newest)

    def shake_hands(self, ca=None, host=None, newest=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=ca)
        if ca is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if newest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = newest
        context.maximum_version = newest
        self.sock = context.wrap_socket(self.sock, server_hostname=host)

    def envelope(self, *recipients, sender="sender@client.test"):
        """MAIL and RCPTs, one by one; their replies."""
        return [self.cmd(f"MAIL FROM:<{sender}>")] + [self.cmd(f"RCPT TO:<{r}>")
                                                      for r in recipients]

    def content(self, data):
        """DATA and the content, a whole message without the final dot; the last reply."""
        reply = self.cmd("DATA")
        if reply.code != 354:
            return reply
        self.send(data + b"\r\n.\r\n")
        return self.reply()

    def ended(self):
        """Has the gateway closed, with nothing more to say?"""
        try:
            return self._buffer == b"" and self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def quit(self):
        """QUIT, its reply, and the close."""
        reply = self.cmd("QUIT")
        self.close()
        return reply

    def cut(self):
        """Gone without a word: a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self):
        self.sock.close()
