"""What a scripted MX does with its TLS that Python's ssl does not offer."""

import ctypes

from mx import Close


class Library:
    """What OpenSSL can and Python's ssl does not show. Its objects stand in those of CPython: behind
    the head of an SSLContext, and behind one more pointer in what an SSLSocket holds."""

    POINTER = ctypes.sizeof(ctypes.c_void_p)
    UPDATE_NOT_REQUESTED, UPDATE_REQUESTED = 0, 1

    def __init__(self):
        self.ssl = ctypes.CDLL("libssl.so.3")

    def _pointer(self, holder, index):
        return ctypes.c_void_p.from_address(id(holder) + object.__basicsize__ + index * self.POINTER)

    def choose_suite(self, context, name):
        """The only one of TLS 1.3."""
        done = self.ssl.SSL_CTX_set_ciphersuites(self._pointer(context, 0), name.encode())
        assert done == 1, f"OpenSSL does not know {name}"

    def update_key(self, sock, kind):
        """A KeyUpdate, sent at once."""
        pointer = self._pointer(sock._sslobj, 1)
        assert self.ssl.SSL_version(pointer) == 0x304, "that is no SSL of TLS 1.3"
        assert self.ssl.SSL_key_update(pointer, kind) == 1, "no KeyUpdate"
        sock.do_handshake()


LIBRARY = Library()


def only(suite):
    """For a Script's tune: the only suite of TLS 1.3."""
    return lambda context: LIBRARY.choose_suite(context, suite)


def only_1_2(ciphers):
    """The same of TLS 1.2, in OpenSSL's words."""
    return lambda context: context.set_ciphers(ciphers)


def updating(kinds, octets, done):
    """A step DATA that sends KeyUpdates once it has so many octets of the content, and then says so.
    What the client holds back until then should be more than the gateway reads at a time, so that it
    hears of them before the last of it."""
    def step(connection, _line):
        connection.send(b"354 Go on\r\n")
        while len(connection._buffer) < octets:
            if not connection.receive():
                raise Close
        for kind in kinds:
            LIBRARY.update_key(connection.sock, kind)
        done.set()
        connection._take(connection.read_content())
        return b""
    return step


def note_end(connection, _line):
    """The step QUIT: says goodbye, and notes whether a close_notify ends the stream or a cut."""
    connection.send(b"221 2.0.0 Bye\r\n")
    connection.sock.suppress_ragged_eofs = False
    try:
        connection.end = "data" if connection.sock.recv(1) else "close_notify"
    except OSError as error:
        connection.end = f"{error}"
    raise Close
