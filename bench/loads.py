"""What is measured: each load once per peer and round, checked by what the MX counted."""

import itertools
import time

import lab
from stage import StageError

MIB, GIB = 1 << 20, 1 << 30
SMALL = 4096


class Plan:
    """Sizes of a run. quick: for a look, within two minutes; its figures scatter more."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 3 if quick else 5
        self.bulk = ("--sessions", "4", "--messages", "3" if quick else "12", "--size", str(8 * MIB))
        self.single = ("--sessions", "16", "--count", "300" if quick else "1500")
        self.kept = ("--sessions", "16", "--messages", "60" if quick else "250")
        self.piped = (*self.kept, "--pipelining")
        self.latency = ("--sessions", "1", "--count", "60" if quick else "300")
        self.traced = ("--sessions", "1", "--count", "50")
        self.growth = (1, 10, 100, 1000) if quick else (1, 10, 100, 1000, 10000)
        self.growth_mails = 400 if quick else 2000

    def loads(self):
        return (("bulk", self.bulk), ("single", self.single), ("kept", self.kept),
                ("piped", self.piped), ("latency", self.latency))

    def skips(self, load, peer):
        """Postfix answers before the MX has the mail: its latency is another thing."""
        return peer.slow and load == "latency"

    def growth_peers(self, peers):
        return [peer for peer in peers if not peer.slow]


def _delta(before, after):
    return {key: after[key] - before[key] for key in
            ("sessions", "tls_sessions", "tls13_sessions", "resumed", "mails", "octets", "failed")}


def _wait_for_mails(stage, before, wanted):
    """Until the MX has as many more; its counters then, and when."""
    def arrived():
        now = stage.sink.counters()
        return now if now["mails"] - before["mails"] >= wanted else None

    found = lab.wait_for(arrived, f"{wanted} mails at the MX", 120)
    return found, time.monotonic()


def _check(peer, load, got):
    if load["failed"] or got["failed"]:
        raise StageError(f"{peer.name}: {load['failed']} sessions failed at the client "
                         f"({load['first_error']}), {got['failed']} at the MX")
    if got["mails"] != load["mails"]:
        raise StageError(f"{peer.name}: {load['mails']} mails sent, {got['mails']} came")
    if not peer.slow and got["octets"] != load["octets"]:
        raise StageError(f"{peer.name}: {load['octets']} octets sent, {got['octets']} came")
    if peer.tls and got["tls13_sessions"] != got["sessions"]:
        raise StageError(f"{peer.name}: only {got['tls13_sessions']} of {got['sessions']} sessions "
                         "were under TLS 1.3")


def measure(stage, peer, options):
    """One load through one peer: what the client saw, what the MX counted, what the proxy took."""
    before, cpu = stage.sink.counters(), peer.cpu_seconds()
    begun = time.monotonic()
    load = stage.load(peer.to, (*options, *peer.load_options))
    after, ended = _wait_for_mails(stage, before, load["mails"])
    seconds = ended - begun if peer.slow else load["seconds"]
    return _figures(peer, load, _delta(before, after), peer.cpu_seconds() - cpu, seconds)


def _figures(peer, load, got, cpu, seconds):
    _check(peer, load, got)
    return {
        "seconds": seconds, "proxy_cpu_s": cpu, "load_cpu_s": load["cpu_s"],
        "mails": got["mails"], "sessions": load["sessions"], "octets": got["octets"],
        "mx_sessions": got["sessions"], "resumed": got["resumed"],
        "mib_per_s": got["octets"] / MIB / seconds, "mails_per_s": got["mails"] / seconds,
        "sessions_per_s": load["sessions"] / seconds,
        "cpu_s_per_gib": cpu / got["octets"] * GIB, "cpu_us_per_mail": cpu / got["mails"] * 1e6,
        "cpu_us_per_session": cpu / load["sessions"] * 1e6,
        "mail_ms": load["mail_ms"], "session_ms": load["session_ms"],
    }


def measure_growth(stage, peer, sessions, mails):
    """So many sessions at a time: each delivers a mail and rests, memory is read, each goes on."""
    before, cpu, empty = stage.sink.counters(), peer.cpu_seconds(), peer.pss_bytes()
    memory = []
    messages = max(2, mails // sessions)
    load = stage.load_held(peer.to, ("--sessions", str(sessions), "--messages", str(messages),
                                     *peer.load_options), lambda: memory.append(peer.pss_bytes()))
    after, _ = _wait_for_mails(stage, before, load["mails"])
    figures = _figures(peer, load, _delta(before, after), peer.cpu_seconds() - cpu, load["seconds"])
    figures |= {"held": load["held"], "pss_empty": empty, "pss_held": memory[0],
                "kib_per_session": (memory[0] - empty) / sessions / 1024}
    return figures


def run_all(stage, peers, plan, tell):
    """All rounds, peers in turn within each, so that what else the machine does meets all of them.
    Yields records of one measurement each."""
    for number in range(plan.rounds):
        for (name, options), peer in itertools.product(plan.loads(), peers):
            if not plan.skips(name, peer):
                tell(f"round {number + 1} of {plan.rounds}: {name}, {peer.title}")
                yield {"load": name, "peer": peer.name, "round": number,
                       **measure(stage, peer, options)}
    for sessions, peer in itertools.product(plan.growth, plan.growth_peers(peers)):
        if sessions > peer.sessions_max:
            tell(f"{sessions} sessions at a time, {peer.title}: too few descriptors here")
            continue
        tell(f"{sessions} sessions at a time, {peer.title}")
        if peer.make_room(sessions):
            warm_up(stage, peer)
        yield {"load": "growth", "peer": peer.name, "at_a_time": sessions,
               **measure_growth(stage, peer, sessions, plan.growth_mails)}


def warm_up(stage, peer):
    """Caches filled, tickets given, lazy pages touched."""
    for _ in range(2):
        measure(stage, peer, ("--sessions", "2", "--messages", "2", "--size", str(SMALL)))


