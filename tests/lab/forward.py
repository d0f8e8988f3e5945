"""A receiver of Fluentd's forward protocol, by its specification: PackedForward with a chunk id, which
it acknowledges. What it keeps of a message are the records' bytes."""

import contextlib
import os
import socket
import struct
import threading


class Cut(Exception):
    """The bytes end within an object."""


def unpack(data, at=0):
    """The MessagePack object at an offset, and the offset behind it. As much as a message has."""
    def take(n):
        nonlocal at
        if at + n > len(data):
            raise Cut
        at += n
        return data[at - n:at]

    def number(form):
        return struct.unpack(">" + form, take(struct.calcsize(form)))[0]

    head = take(1)[0]
    lengths = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I"}
    if head < 0x80:
        value = head
    elif head in lengths:
        value = bytes(take(number(lengths[head])))
    elif 0xA0 <= head < 0xC0:
        value = bytes(take(head & 31))
    elif 0x90 <= head < 0xA0:
        value = []
        for _ in range(head & 15):
            item, at = unpack(data, at)
            value.append(item)
    elif 0x80 <= head < 0x90:
        value = {}
        for _ in range(head & 15):
            key, at = unpack(data, at)
            value[key], at = unpack(data, at)
    elif head in (0xCC, 0xCD, 0xCE):
        value = number({0xCC: "B", 0xCD: "H", 0xCE: "I"}[head])
    else:
        raise AssertionError(f"no part of a message of the forward protocol: {head:#x}")
    return value, at


class Receiver:
    """Listens on a UNIX socket. Use as a context manager; may be started again at the same path."""

    def __init__(self, path, acknowledges=True):
        self.path, self.acknowledges = str(path), acknowledges
        self.records = b""      # of acknowledged messages
        self.entries = 0        # their number, as the messages say
        self.messages = 0       # seen, acknowledged or not
        self._socket = None

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._open = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen()
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for peer in self._open:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                self._open.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        data = b""
        with contextlib.suppress(OSError):
            while more := peer.recv(1 << 16):
                data += more
                with contextlib.suppress(Cut):
                    (tag, records, options), end = unpack(data)
                    assert tag == b"stsgate" and end == len(data), (tag, end, len(data))
                    data = b""
                    self.messages += 1
                    if self.acknowledges:
                        self.records += records
                        self.entries += options[b"size"]
                        chunk = options[b"chunk"]
                        peer.sendall(b"\x81\xa3ack" + bytes([0xA0 | len(chunk)]) + chunk)
