"""The status process, started as the supervisor starts it, and told what a gateway would tell it."""

import contextlib
import os
import socket
import subprocess
import time

PATIENCE_S = 60  # for what comes at once where nothing else runs
LINK = b"\x94\x02\x08\x00\x00"  # the control message that brings a policy process's link


class Served:
    """Its page is at http://127.0.0.1:port/. environment: more variables for it."""

    def __init__(self, program, environment=None):
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (theirs.fileno(), listener.fileno())
        self.process = subprocess.Popen(
            [program, "--control-fd", str(fds[0]), "--listen-fd", str(fds[1]), "--address",
             f"127.0.0.1:{self.port}", "--hostname", "gw.example.com", "--user", ""],
            pass_fds=fds, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        listener.close()
        theirs.close()

    def end(self):
        self.control.close()  # as when the supervisor dies: it ends by itself
        return self.process.wait(PATIENCE_S)

    def link(self):
        """A policy process comes: what is sent there is its word."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.control, [LINK], [theirs.fileno()])
        theirs.close()
        return ours

    def get(self, path):
        """The body."""
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as s, \
                contextlib.suppress(ConnectionError):
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while part := s.recv(65536):
                got += part
        return got.partition(b"\r\n\r\n")[2].decode()


def samples(program, kind, *more, now=None):
    """Messages of status_sample."""
    done = subprocess.run([program, kind, str(int(now or time.time())), *map(str, more)],
                          capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return [bytes.fromhex(line) for line in done.stdout.splitlines()]
