"""kill -9 of worker, policy process, MX and client at random points while mails flow: nothing is lost
that a client was told accepted, and nothing arrives twice but where it was told nothing for certain
(PRX-008, PRX-011). run.py --long sends 10 000 mails; --seed N throws the dice of a failure again."""

import collections
import contextlib
import os
import pathlib
import random
import signal
import sys
import threading
import time

from case import ONCE, case, equal
from lab import LabError, wait_for
from world import Site

SHORT, LONG = 600, 10_000  # mails
CLIENTS = 8
KILLS_BETWEEN_RELOADS = 4   # a new generation has a clean record, so that restarts stay quick
PROCESS = pathlib.Path(__file__).with_name("mx_process.py")


class Mx:
    """The MX in a process of its own, and what it has taken."""

    def __init__(self, t, site):
        self.t, self.site, self.process = t, site, None
        self.queue = t.lab.folder / "loss-queue"
        self.queue.touch()

    def start(self):
        address, (cert, key) = self.site.address(self.t.family), self.t.pair(self.site)
        self.process = self.t.lab.start("mx", sys.executable, str(PROCESS), self.site.mx, address,
                                        str(cert), str(key), str(self.queue),
                                        log=self.t.lab.folder / "loss-mx.log")

    def wait(self):
        def answers():
            with self.t.lab.socket("mx", self.t.family) as probe:
                return probe.connect_ex((self.site.address(self.t.family), 25)) == 0

        wait_for(answers, "the MX", 20)

    def kill(self):
        self.t.lab.stop(self.process, signal.SIGKILL)
        self.start()

    def taken(self):
        return collections.Counter(self.queue.read_text().split())


class Outcomes:
    """What the clients were told of each mail."""

    def __init__(self):
        self.lock = threading.Lock()
        self.accepted = collections.Counter()
        self.uncertain = collections.Counter()  # the whole mail was sent, and no clear word came
        self.greeted = self.refused = self.cut = 0


class Sender(threading.Thread):
    """A client that sends its mails one after the other, each until it is accepted, and that is killed
    now and then itself."""

    def __init__(self, t, site, words, seed, outcomes, ended):
        super().__init__(daemon=True)
        self.t, self.site, self.words, self.outcomes = t, site, words, outcomes
        self.random, self.ended, self.error = random.Random(seed), ended, None

    def run(self):
        try:
            for word in self.words:
                while not self.ended.is_set() and not self.attempt(word):
                    self.ended.wait(self.random.uniform(0, 0.05))
        except Exception as error:  # told to the case, which fails
            self.error = error

    def attempt(self, word):
        """One session with one mail. Has it been accepted?"""
        try:
            peer = self.t.client(self.site, timeout=20.0)
        except OSError:
            return False
        try:
            return self.converse(peer, word)
        except OSError:
            return False
        finally:
            peer.close()

    def converse(self, peer, word):
        dies_at = self.random.randrange(7) if self.random.random() < 0.05 else None
        commands = ("EHLO client.lab.test", "MAIL FROM:<s@client.test>",
                    f"RCPT TO:<u@{self.site.domain}>", "DATA")
        if peer.reply().code != 220:
            return self.refused()
        with self.outcomes.lock:
            self.outcomes.greeted += 1
        for number, command in enumerate(commands):
            if dies_at == number:
                return self.dies(peer)
            if peer.cmd(command).code not in (250, 354):
                return self.refused()
        return self.sends_text(peer, word, dies_at)

    def sends_text(self, peer, word, dies_at):
        text = (f"Subject: {word}\r\n\r\n" + "some text\r\n" * self.random.randrange(2000)).encode()
        if dies_at == 4:
            peer.send(text)
            return self.dies(peer)
        peer.send(text + b".\r\n")
        if dies_at is not None:
            self.note(self.outcomes.uncertain, word)
            return self.dies(peer)
        reply = peer.reply()
        if reply.code == 250:
            self.note(self.outcomes.accepted, word)
            return True
        if reply.code == 0 or reply.text[4:9] == "4.4.2":  # nothing, or "connection lost"
            self.note(self.outcomes.uncertain, word)
        return self.refused()

    def dies(self, peer):
        peer.cut()
        with self.outcomes.lock:
            self.outcomes.cut += 1
        return False

    def refused(self):
        with self.outcomes.lock:
            self.outcomes.refused += 1
        return False

    def note(self, counter, word):
        with self.outcomes.lock:
            counter[word] += 1


def kill_one_of(t, program, dice):
    running = t.gateway.children(program)
    if running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(running), signal.SIGKILL)
    return bool(running)


def reload(t):
    """By command, as soon as one gets through to a gateway whose children die."""
    wait_for(lambda: t.gateway.command("reload").returncode == 0, "a reload", 60)


def dealt(dice):
    """What is killed next, without end: dealt as cards are, so that a short run has each, too."""
    while True:
        yield from dice.sample(("worker", "worker", "policy", "mx"), 4)


def kill_around(t, server, senders, dice):
    """Until all has been sent. How often what was killed."""
    kills, next_one = collections.Counter(), dealt(dice)
    while busy := [sender for sender in senders if sender.is_alive()]:
        busy[0].join(dice.uniform(0.05, 0.4))
        what = next(next_one)
        if what == "mx":
            server.kill()
            kills[what] += 1
        else:
            kills[what] += kill_one_of(t, f"stsgate-{what}", dice)
        if sum(kills.values()) % KILLS_BETWEEN_RELOADS == 0:
            reload(t)
            kills["reload"] += 1
    return kills


def balance(words, outcomes, taken):
    """What is wrong with what clients were told and the MX has taken; empty when all is well."""
    for word in words:
        told, unsure, there = outcomes.accepted[word], outcomes.uncertain[word], taken[word]
        if told != 1:
            yield f"{word} was accepted {told} times"
        elif there < told:
            yield f"{word} is lost: the client heard 250"
        elif there > told + unsure:
            yield f"{word} is there {there} times; only {unsure} attempts ended unsure"


@case(Site("loss", policy="enforce"), only=ONCE)
def kills_at_random_lose_nothing(t, site):
    """PRX-008, PRX-011; G5, F23: and every mail is accepted in the end."""
    seed = t.world.seed or random.SystemRandom().randrange(1, 1 << 32)
    count, dice = LONG if t.long else SHORT, random.Random(seed)
    words = [f"mail-{seed}-{number}" for number in range(count)]
    outcomes, ended, server = Outcomes(), threading.Event(), Mx(t, site)
    server.start()
    server.wait()
    senders = [Sender(t, site, words[i::CLIENTS], dice.random(), outcomes, ended)
               for i in range(CLIENTS)]
    begun = time.monotonic()
    try:
        for sender in senders:
            sender.start()
        kills = kill_around(t, server, senders, dice)
    finally:
        ended.set()
        for sender in senders:
            sender.join(60)
        t.lab.stop(server.process, signal.SIGTERM)
        t.gateway.restart()  # a clean record for the cases behind
    errors = [sender.error for sender in senders if sender.error]
    equal(errors, [], f"clients that failed (seed {seed})")
    wrong = list(balance(words, outcomes, server.taken()))
    equal(wrong[:5], [], f"{len(wrong)} of {count} mails (seed {seed}, {dict(kills)})")
    if not (kills["worker"] and kills["policy"] and kills["mx"] and outcomes.cut):
        raise LabError(f"nothing was killed: {dict(kills)}, {outcomes.cut} clients (seed {seed})")
    print(f"     {count} mails, {sum(outcomes.uncertain.values())} attempts unsure, "
          f"{sum(server.taken().values()) - count} duplicates, {outcomes.refused} refusals, "
          f"{outcomes.cut} clients killed, {dict(kills)}, {time.monotonic() - begun:.0f} s, "
          f"seed {seed}", flush=True)
