"""A receiver of Fluentd's forward protocol, by its specification: PackedForward with a chunk id, which
it acknowledges. What it keeps of a message are the records' bytes."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading

from lab import wait_for

NPM_PACKAGE = "@fluent-org/logger@1.0.10"


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
    """Listens on a UNIX socket. Use as a context manager; may be started again at the same path.

    reads   False: takes connections and nothing else, until wake()"""

    def __init__(self, path, acknowledges=True, reads=True):
        self.path, self.acknowledges = str(path), acknowledges
        self._awake = threading.Event()
        if reads:
            self._awake.set()
        self.records = b""      # of acknowledged messages
        self.entries = 0        # their number, as the messages say
        self.messages = 0       # seen, acknowledged or not
        self._socket = None
        self._lock = threading.Lock()  # each process of the gateway has a connection, and each a thread

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

    def wake(self):
        self._awake.set()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                self._open.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        data = b""
        self._awake.wait()
        with contextlib.suppress(OSError):
            while more := peer.recv(1 << 16):
                data += more
                with contextlib.suppress(Cut):
                    (tag, records, options), end = unpack(data)
                    assert tag == b"stsgate" and end == len(data), (tag, end, len(data))
                    data = b""
                    self._take(peer, records, options)

    def _take(self, peer, records, options):
        with self._lock:
            self.messages += 1
            if self.acknowledges:
                self.records += records
                self.entries += options[b"size"]
        if self.acknowledges:
            chunk = options[b"chunk"]
            peer.sendall(b"\x81\xa3ack" + bytes([0xA0 | len(chunk)]) + chunk)


class NpmServer:
    """A receiver that is not ours (tests/lab/fluent_server.js), at the same path. Needs npm and a registry;
    what it installs stays in a folder of the lab."""

    def __init__(self, path, folder):
        assert shutil.which("node") and shutil.which("npm"), "needs node and npm"
        self.path, self.output = str(path), folder / "fluent.json"
        self.modules = folder / "npm"
        self.modules.mkdir()
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", self.modules, NPM_PACKAGE],
                       check=True, capture_output=True, timeout=300)
        self._process = None

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        begun = self._lines().count("ready")
        program = pathlib.Path(__file__).with_name("fluent_server.js")
        self._process = subprocess.Popen(["node", program, self.path, self.output],
                                         env={**os.environ, "NODE_PATH": str(self.modules / "node_modules")})
        wait_for(lambda: self._lines().count("ready") > begun, "the npm server", 30)
        return self

    def __exit__(self, *exc):
        self._process.kill()
        self._process.wait()

    def _lines(self):
        """A line that is being written counts for nothing yet."""
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_text().split("\n")[:-1]]

    def entries_seen(self):
        return [line for line in self._lines() if line != "ready"]
