#!/usr/bin/env python3
"""The slow clients of soak.py: one process, one epoll, thousands of sessions.

soak_slow.py --from ADDRESS,... --clear ADDRESS,... --tls ADDRESS,... --count N --per-second N --life S --told FILE

Each session says next to nothing: an octet or a command every PACE_S, until it has lived its time; then it says QUIT. Of
twenty, eight type one command line all their life, six say NOOP, four send a mail octet by octet, and two send a long
one to an MX that reads it slowly. One that ends has a successor. What they heard goes to FILE as JSON, each second and at the end
(SIGTERM)."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import resource
import select
import signal
import socket
import time

PACE_S = 10.0
TURN_S = 0.05
PATIENCE_S = 60.0            # for the end of a session whose client has said all
STUFFED = b"some text\r\n" * 8000
DOMAINS = {"clear": "soak-slow-0.test", "tls": "soak-slow-tls.test"}
ENVELOPE = ("EHLO slow.lab.test", "MAIL FROM:<slow@client.test>", "RCPT TO:<u@{domain}>", "DATA")
KINDS = ("types", "asks", "types", "writes", "types", "asks", "types", "writes", "asks", "stuffs") * 2


class Session:
    """One session, from connect() to its end."""

    def __init__(self, crowd, number):
        self.crowd, self.kind = crowd, KINDS[number % len(KINDS)]
        self.way = "tls" if number // len(KINDS) % 2 else "clear"
        self.script = [line.format(domain=DOMAINS[self.way]) for line in
                       (ENVELOPE if self.kind in ("writes", "stuffs") else ENVELOPE[:1])]
        if self.kind == "types":
            self.script = []
        self.heard, self.waiting = b"", b""
        self.greeted = self.in_content = self.dotted = self.said_all = self.told = False
        self.until = time.monotonic() + crowd.options.life
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.bind((crowd.sources[number % len(crowd.sources)], 0))
        addresses = crowd.addresses[self.way]
        self.socket.connect_ex((addresses[number // len(crowd.sources) % len(addresses)], 25))

    def count(self, what):
        self.crowd.counts[what] += 1

    def send(self, octets):
        """What the socket does not take now goes with the next turn."""
        self.waiting += octets
        with contextlib.suppress(BlockingIOError):
            self.waiting = self.waiting[self.socket.send(self.waiting):]

    def readable(self):
        """False: it is over."""
        try:
            octets = self.socket.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            octets = b""
        if not octets:
            self.ends()
            return False
        *lines, self.heard = (self.heard + octets).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self.reply(int(line[:3]))
        return True

    def ends(self):
        if not self.greeted and not self.told:
            self.count("ended before a greeting")
        elif not self.told:
            self.count("cut without a word")

    def reply(self, code):
        if not self.greeted:
            self.greeted, self.told = code == 220, code != 220
            self.count("greeted" if self.greeted else "not greeted")
        elif self.dotted:
            self.dotted, self.told = False, True
            self.count("mails accepted" if code == 250 else "mails refused")
        elif code in (221, 421):
            if code == 421 and not self.told:
                self.count("sent away with 421")
            self.told = True
        if not self.told and self.script and (code < 400 or self.script[0] == ENVELOPE[0]):
            self.send(self.script.pop(0).encode() + b"\r\n")
        elif code == 354:
            self.in_content = True
            self.send(STUFFED if self.kind == "stuffs" else b"")

    def turn(self, now):
        """Its time to say something. False: it waits for its end, and in vain."""
        if self.said_all:
            self.send(b"")
            return now < self.until + PATIENCE_S
        if now >= self.until:
            self.said_all, self.dotted = True, self.in_content
            self.send(b"\r\n.\r\nQUIT\r\n" if self.dotted else b"\r\nQUIT\r\n")
        elif self.greeted:
            self.send(b"NOOP\r\n" if self.kind == "asks" else b"N")
        return True


class Crowd:
    """All of them."""

    def __init__(self, options):
        self.options = options
        self.sources = options.source.split(",")
        self.addresses = {"clear": options.clear.split(","), "tls": options.tls.split(",")}
        self.counts, self.sessions = collections.Counter(), {}
        self.due = collections.deque()  # (when, session): all have the same pace, so it is in order
        self.free = collections.deque(range(options.count))
        self.numbers, self.poll, self.ended = {}, select.epoll(), False
        self.begun_at = time.monotonic()

    def begin_some(self, now):
        """As many as are due since the last time."""
        due = int((now - self.begun_at) * self.options.per_second)
        if due:
            self.begun_at = now
        for _ in range(min(len(self.free), due)):
            number = self.free.popleft()
            session = Session(self, number)
            fd = session.socket.fileno()
            self.sessions[fd], self.numbers[fd] = session, number
            self.poll.register(fd, select.EPOLLIN)
            self.due.append((now + PACE_S, fd, session))
            self.counts["begun"] += 1

    def end(self, fd):
        session = self.sessions.pop(fd)
        self.poll.unregister(fd)
        session.socket.close()
        self.free.append(self.numbers.pop(fd))

    def say_some(self, now):
        while self.due and self.due[0][0] <= now:
            _, fd, session = self.due.popleft()
            if self.sessions.get(fd) is not session:
                continue
            try:
                goes_on = session.turn(now)
            except OSError:  # reset: heard of when it is read
                goes_on = session.readable()
            if goes_on:
                self.due.append((now + PACE_S, fd, session))
            else:
                if session.said_all:
                    session.count("never ended by the gateway")
                self.end(fd)

    def tell(self):
        held = sum(session.greeted for session in self.sessions.values())
        self.counts["most at a time"] = max(self.counts["most at a time"], held)
        path = pathlib.Path(self.options.told)
        path.with_suffix(".new").write_text(json.dumps({"held": held, **self.counts}))
        os.replace(path.with_suffix(".new"), path)

    def run(self):
        tell_at = 0.0
        while not self.ended:
            now = time.monotonic()
            self.begin_some(now)
            if now >= tell_at:
                self.tell()
                tell_at = now + 1.0
            self.say_some(now)
            for fd, _ in self.poll.poll(TURN_S, 1024):
                if fd in self.sessions and not self.sessions[fd].readable():
                    self.end(fd)
        self.tell()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--clear", required=True)
    parser.add_argument("--tls", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--per-second", type=int, required=True)
    parser.add_argument("--life", type=float, required=True)
    parser.add_argument("--told", required=True)
    crowd = Crowd(parser.parse_args())
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def on_term(_number, _frame):
        crowd.ended = True

    signal.signal(signal.SIGTERM, on_term)
    crowd.run()


if __name__ == "__main__":
    main()
