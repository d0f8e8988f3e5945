"""How the gateway says that it goes: metrics, page, health, and the operator's commands (TC-OPS-02,
TC-OPS-04, TC-OPS-07, FAULTS H6 ... H8)."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import stat

from case import ONCE, case, equal, marker, message
from cases_proof import configured, rcpt, wrong_pair
from lab import wait_for
from world import Site

PAGE = "http://127.0.0.1:9125"
SAMPLE = re.compile(r'(stsgate_[a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\d+(?:\.\d+)?)')
RESULTS = ("clear", "tls", "mta-sts", "dane", "refused", "rejected", "failed")


def fetch(t, path, *options):
    return t.lab.in_space("gateway", "curl", "-s", "--max-time", "10", *options, PAGE + path)


def metrics(t):
    """{name{labels}: value}; every line is a comment or a sample, and no sample comes twice."""
    samples = {}
    for line in fetch(t, "/metrics").splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP|TYPE) stsgate_[a-z_]+ .+", line), line
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        name = found[1] + ("{" + found[2] + "}" if found[2] else "")
        assert name not in samples, f"twice: {name}"
        samples[name] = float(found[3])
    return samples


def total(samples, name, **labels):
    """Sum of a metric over all labels but these."""
    return sum(value for key, value in samples.items() if key.split("{")[0] == name
               and all(f'{label}="{want}"' in key for label, want in labels.items()))


def result_of(record):
    """The column of `stsgate log --summary`."""
    if record["outcome"] != "delivered":
        return record["outcome"]
    if record["tls"]["stage"] != "done":
        return "clear"
    if (record["dane"] or {}).get("match") == "matched":
        return "dane"
    proven = record["policy"]["type"] == "sts" and record["policy"]["mode"] != "none"
    return "mta-sts" if proven and record["mx_proven"] and record["would"] == "allow" else "tls"


def grown(t, before):
    after = metrics(t)
    for name, value in before.items():
        if "_total" in name:
            assert after.get(name, 0) >= value, f"{name} fell from {value} to {after.get(name)}"
    return {name: value - before.get(name, 0) for name, value in after.items()}


def send(t, site):
    peer = t.ready(site)
    if all(reply.code == 250 for reply in peer.envelope(f"user@{site.domain}")):
        peer.content(message(marker()))
    peer.quit()


@case(Site("counted", policy="enforce"), Site("countedwrong", policy="enforce"),
      Site("countedtls", cert="self-signed"), Site("countedclear", cert=None), only=ONCE)
def metrics_and_page_say_what_happened_in_30_sessions(t, good, wrong, tls, clear):
    """Sums over the records are the growth of the metrics; over a reload and a killed worker, too."""
    t.mx(good)
    t.mx(wrong, pair=wrong_pair(t, wrong))
    t.mx(tls)
    t.mx(clear, starttls=False)
    before = wait_for(lambda: metrics(t) if fetch(t, "/healthz") == "ok\n" else None, "health", 20)
    sites = (good, wrong, tls, clear, good, tls)
    for number in range(30):
        send(t, sites[number % 6])
        if number == 12:
            t.gateway.reload()

    def recipients():
        return [r for r in t.gateway.records(t.before) if r["event"] == "recipient"]

    wait_for(lambda: len(recipients()) == 30, "30 recipient records")
    records = recipients()
    want = {result: sum(result_of(r) == result for r in records) for result in RESULTS}
    equal(want, {**dict.fromkeys(RESULTS, 0), "mta-sts": 10, "tls": 10, "clear": 5, "refused": 5},
          "what the records say")

    def counted():
        growth = grown(t, before)
        return all(total(growth, "stsgate_recipients_total", result=result) == want[result]
                   for result in RESULTS) and total(growth, "stsgate_sessions_total") == 30

    wait_for(counted, "the metrics to say the same", 10)
    growth = grown(t, before)
    equal(total(growth, "stsgate_refusals_total", reply=records[1]["reply_id"]), 5, "refusals by reply")
    equal(total(growth, "stsgate_sessions_total", outcome="refused"), 5, "sessions refused")
    equal(total(growth, "stsgate_sessions_total", outcome="delivered"), 25, "sessions delivered")
    equal(total(growth, "stsgate_connections_total"), 30, "connections")
    handshakes = total(growth, "stsgate_tls_handshakes_total", leg="mx", result="done")
    assert handshakes >= 25, f"{handshakes} handshakes in 25 sessions under TLS"
    names = (good.domain, wrong.domain, tls.domain, clear.domain)
    assert not any(name in key for name in names for key in growth), "a domain among the labels"
    page = fetch(t, "/")
    assert f"<td>{wrong.domain}<td>{records[1]['reply_id']}<td>" in page, page
    written = metrics(t)['stsgate_log_records_total{result="written"}']
    assert re.search(r'records written<td class="n">\d+<', page) and written >= 60, written


@case(Site("looked", policy="enforce"), only=ONCE)
def status_and_sessions_show_what_is_now(t, site):
    t.mx(site)
    with configured(t, 'override "soon" { domain = {"nobody.test"} action = bypass '
                       'reason = "x" until = "2000-01-01" }'):
        peers = [t.ready(site) for _ in range(3)]
        equal(peers[0].envelope(f"user@{site.domain}")[1].code, 250, "RCPT")

        def status():
            return json.loads(t.gateway.command("status", "--json", check=True).stdout)

        wait_for(lambda: status()["sessions"] == 3, "three sessions")
        now = status()
        equal((now["mode"], now["set_by"], now["records_ready"], now["store"], now["dane"]),
              ("enforce", "configuration", True, "good", "good"), "status")
        equal([w["state"] for w in now["workers"]], ["serving", "serving"], "workers")
        equal([o["override"] for o in now["overrides_ending"]], ["soon"], "overrides")
        assert now["workers"][0]["tls_library"].startswith("BoringSSL")
        assert "override   soon has ended" in t.gateway.command("status", check=True).stdout
        listed = [json.loads(line) for line in
                  t.gateway.command("sessions", "--json", check=True).stdout.splitlines()]
        equal(sorted(s["client_port"] for s in listed), sorted(p.port for p in peers), "sessions")
        mine, = [s for s in listed if s["client_port"] == peers[0].port]
        equal((mine["domain"], mine["tls"], mine["client_tls"], mine["state"]),
              (site.domain, "TLSv1.3", "", "command"), "the session with a recipient")
        assert mine["destination"] == site.address(t.family) and mine["bytes_to_mx"] > 0, mine
        equal(len(t.gateway.command("sessions", check=True).stdout.splitlines()), 3, "lines")
        for peer in peers:
            peer.quit()
        wait_for(lambda: status()["sessions"] == 0, "no session")
        equal(t.gateway.command("sessions", check=True).stdout, "", "no lines")


@case(Site("drained", policy="enforce"), only=ONCE)
def drain_ends_the_gateway_after_the_mail_that_is_on_its_way(t, site):
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT")
    equal(t.gateway.command("drain").returncode, 0, "drain")
    wait_for(lambda: t.gateway.read_log().count("event=draining") >= 2, "the workers to drain")
    equal(peer.content(message(marker())).code, 250, "the message that was on its way")
    equal(t.gateway.process.wait(40), 0, "exit status")
    equal(t.gateway.command("status").returncode, 3, "status of a gateway that is gone")
    equal(len(server.mailbox), 1, "mails")
    t.gateway.launch(len(t.gateway.read_log()))


@case(Site("pageless", policy="enforce"), only=ONCE)
def a_dead_status_process_costs_no_mail_and_comes_back(t, site):
    t.mx(site)
    before = metrics(t)
    t.gateway.kill("stsgate-status")
    equal(rcpt(t, site).code, 250, "RCPT")
    wait_for(lambda: fetch(t, "/healthz") == "ok\n", "the page", 20)
    wait_for(lambda: total(metrics(t), "stsgate_recipients_total")
             >= total(before, "stsgate_recipients_total"),
             "each worker's report: what they count does not die with the page", 10)


@case(only=ONCE)
def a_reload_is_no_illness(t):
    """Whoever asks for health meanwhile, as load balancers do, hears of nothing bad; and `status`
    knows the new workers at once."""
    wait_for(lambda: fetch(t, "/healthz") == "ok\n", "health", 20)
    for _ in range(3):
        t.gateway.reload()
        now = json.loads(t.gateway.command("status", "--json", check=True).stdout)
        equal([w["state"] for w in now["workers"]], ["serving", "serving"], "workers")
        for _ in range(10):
            equal(fetch(t, "/healthz"), "ok\n", "health")


@case(only=ONCE)
def the_control_socket_holds_out(t):
    """FAULTS H6, TC-OPS-02: its mode, lines without an end, lines of 1 MB, noise, thousands of
    clients; and what it costs the policy process that serves them."""
    pid, = t.gateway.children("stsgate-policy")

    def files():
        return len(os.listdir(f"/proc/{pid}/fd"))

    before = files()
    dice = random.Random(7)
    equal(stat.S_IMODE(t.gateway.control_socket.stat().st_mode), 0o600, "mode of the socket")

    def dial():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(str(t.gateway.control_socket))
        return s

    for size in (1, 7, 64, 319, 4096, 65536):
        with dial() as s, contextlib.suppress(ConnectionError):
            s.sendall(dice.randbytes(size) + b"\n")
            s.sendall(b"status\n")  # and an honest command behind it
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    with dial() as s:
        s.sendall(b"stat")  # and no more
        with dial() as other:
            with contextlib.suppress(OSError):
                other.sendall(b"x" * 1000000)
        for _ in range(10000 if t.world.long else 1000):
            with contextlib.suppress(BlockingIOError):  # the queue is full: not even accepted
                dial().close()
        wait_for(lambda: t.gateway.command("status").returncode == 0, "an answer", 20)
        equal(s.recv(1), b"", "the end of a client that says no more")
    wait_for(lambda: files() <= before, "its descriptors to be closed", 20)
    equal(t.gateway.children("stsgate-policy"), [pid], "the policy process")


@case(only=ONCE)
def a_stale_control_socket_is_replaced(t):
    """TC-OPS-02: a gateway that was killed leaves its socket behind."""
    t.gateway.restart(signal.SIGKILL)
    equal(t.gateway.command("status").returncode, 0, "status")


@case(only=ONCE)
def who_asks_by_another_name_sees_nothing(t):
    """FAULTS H7: a name that somebody has pointed at this address."""
    answer = fetch(t, "/metrics", "-i", "-H", "Host: rebound.example")
    assert answer.startswith("HTTP/1.1 421 ") and "stsgate_" not in answer, answer
    assert fetch(t, "/", "-i", "-X", "OPTIONS").startswith("HTTP/1.1 405 ")
    assert fetch(t, "/../../etc/passwd", "-i", "--path-as-is").startswith("HTTP/1.1 404 ")
