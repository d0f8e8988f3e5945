#!/usr/bin/env python3
"""Mail through a gateway, for package.sh: package_load.py mx ADDRESS QUEUE | clients ADDRESS ENDED OUT |
ask ADDRESS RECIPIENT

mx: takes mail in clear, and writes each mail's number to QUEUE before it is answered. clients: send mails until the
file ENDED is there: some in a session each, some one after the other in a session, some slowly. A client that is told
421 behind a mail, as RFC 5321 3.8 has it, comes back; so does one that is put off by 421 before its first. What no client
may see: a connection that is refused, or not answered in time; a session that ends without a word, or in the middle of
a mail.
OUT gets the numbers of the mails that were accepted.

ask: prints the code of the reply to one recipient, or "refused" if there is no connection."""

import contextlib
import itertools
import pathlib
import socket
import socketserver
import sys
import threading
import time

KEPT, SINGLE, SLOW = 2, 3, 2
PATIENCE_S = 60  # a restart lets earlier sessions finish first: 30 s


class Mx(socketserver.StreamRequestHandler):
    """A mail server that knows no extension."""

    queue, lock = None, threading.Lock()

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 mx.package.test ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.say("354 go on")
                self.take()
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 mx.package.test")

    def take(self):
        number = ""
        for line in self.rfile:
            if line.startswith(b"Subject: "):
                number = line.split()[1].decode()
            if line == b".\r\n":
                with self.lock:
                    self.queue.write(number + "\n")
                    self.queue.flush()
                self.say("250 taken")
                return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512


class Goodbye(Exception):
    """421 while no mail is under way."""


class Client(threading.Thread):
    numbers = itertools.count(1)

    def __init__(self, address, ended, mails, pause):
        super().__init__(daemon=True)
        self.sock = None
        self.address, self.ended, self.mails, self.pause = address, ended, mails, pause
        self.accepted, self.refused, self.cut, self.goodbyes, self.deferred = [], [], [], 0, 0

    def reply(self):
        lines = self.stream.readline()
        while lines[3:4] == b"-":
            lines = self.stream.readline()
        return lines

    def command(self, text, want, idle=False):
        self.stream.write(text)
        self.stream.flush()
        self.expect(want, text[:20], idle)

    def expect(self, want, where, idle=False):
        """idle: no mail is under way, and 421 is in order."""
        got = self.reply()
        if idle and got.startswith(b"421"):
            raise Goodbye
        if not got.startswith(want):
            raise OSError(f"{where!r}: {got!r}")

    def close(self):
        if self.sock:
            with contextlib.suppress(OSError):  # what could not be written any more
                self.stream.close()
            self.sock.close()
            self.sock = None

    def begin(self):
        self.sock = socket.create_connection((self.address, 25), PATIENCE_S)
        self.stream = self.sock.makefile("rwb")
        self.expect(b"220", "greeting", idle=True)
        self.command(b"EHLO client.package.test\r\n", b"250", idle=True)

    def mail(self):
        number = str(next(self.numbers))
        self.command(b"MAIL FROM:<a@client.package.test>\r\n", b"250", idle=True)
        self.command(b"RCPT TO:<b@domain.test>\r\n", b"250")
        self.command(b"DATA\r\n", b"354")
        self.stream.write(f"Subject: {number}\r\n\r\n".encode())
        for _ in range(10):
            self.stream.write(b"a line of text\r\n" * 20)
            self.stream.flush()
            time.sleep(self.pause)
        self.command(b".\r\n", b"250")
        self.accepted.append(number)

    def session(self):
        before = len(self.accepted)
        try:
            self.begin()
            for _ in range(self.mails):
                if self.ended.exists():
                    break
                self.mail()
            self.command(b"QUIT\r\n", b"221", idle=True)
        except Goodbye:
            if len(self.accepted) > before:
                self.goodbyes += 1
            else:
                self.deferred += 1
        except OSError as error:
            answered = self.sock and not isinstance(error, TimeoutError)
            (self.cut if answered else self.refused).append(str(error))
            time.sleep(0.1)
        finally:
            self.close()

    def run(self):
        while not self.ended.exists():
            self.session()


def serve(address, queue):
    with open(queue, "a", encoding="ascii") as Mx.queue, Server((address, 25), Mx) as server:
        server.serve_forever()


def load(address, ended, out):
    ended = pathlib.Path(ended)
    clients = ([Client(address, ended, 1, 0) for _ in range(SINGLE)]
               + [Client(address, ended, 1_000_000, 0.01) for _ in range(KEPT)]
               + [Client(address, ended, 2, 0.4) for _ in range(SLOW)])
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    accepted = [number for client in clients for number in client.accepted]
    refused, cut = ([text for client in clients for text in getattr(client, what)]
                    for what in ("refused", "cut"))
    pathlib.Path(out).write_text("".join(f"{number}\n" for number in accepted))
    print(f"{len(accepted)} mails, {len(refused)} refused, {len(cut)} cut, "
          f"{sum(client.deferred for client in clients)} put off, "
          f"{sum(client.goodbyes for client in clients)} told behind a mail to come back", *refused[:3], *cut[:3],
          flush=True)
    return 1 if refused or cut or not accepted else 0


def ask(address, recipient):
    client = Client(address, None, 0, 0)
    try:
        client.begin()
        client.command(b"MAIL FROM:<a@client.package.test>\r\n", b"250")
        client.stream.write(f"RCPT TO:<{recipient}>\r\n".encode())
        client.stream.flush()
        print(client.reply()[:3].decode())
    except ConnectionRefusedError:
        print("refused")
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit({"mx": serve, "clients": load, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
