"""What nobody on the path can undo, and what an operator can: policies that change, are withheld or
withdrawn; the store; roll-out, overrides, mode, reload (STS-031 ... STS-073, STS-103, PRX-024,
PRX-041, PRX-042)."""

import contextlib
import os
import signal
import sqlite3
import ssl
import threading

from case import ONCE, case, configured, equal, fields, marker, message, override, rcpt
from lab import wait_for
from world import CLIENT, Site

NAME_MISMATCH = ("451 4.7.5 Remote certificate MUST have a subject alternative name matching the "
                 "hostname (MTA-STS)")
STARTTLS_MISSING = "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy"
TLS_REQUIRED = "451 4.7.0 TLS is required by local policy"
IDENTITY = "451 4.7.5 Server identity required by local policy could not be verified. Reason: "


def wrong_pair(t, site):
    return t.certificates.make(f"wrong-{site.name}", [], "wrong")


def stored(t, domain):
    """Is the domain's policy in the store?"""
    with contextlib.closing(sqlite3.connect(
            f"file:{t.gateway.folder}/policies.sqlite?mode=ro", uri=True)) as store:
        return store.execute("SELECT 1 FROM policy WHERE domain = ?", (domain,)).fetchone()


def learn(t, site):
    """A mail to the site passes, and its policy is known from then on."""
    server = t.mx(site)
    equal(rcpt(t, site).code, 250, "RCPT while all is well")
    server.wait_idle()
    server.close()


@case(Site("blocked", policy="enforce"), only=ONCE)
def a_new_id_and_https_blocked_changes_nothing(t, site):
    """STS-064, TC-CACHE-03: the old policy still refuses a wrong MX."""
    learn(t, site)
    site.id = "2"
    t.web.withdraw(site)
    t.dns.republish()
    t.mx(site, pair=wrong_pair(t, site))
    equal(rcpt(t, site), NAME_MISMATCH, "RCPT")
    fields(t.recipients(site, 2)[1], policy__id="20260101000000Z",
           policy__discovery="sts-policy-fetch-error http-404")


@case(Site("stripped", policy="enforce"), Site("lamed", policy="enforce"), only=ONCE)
def a_stripped_or_failing_txt_changes_nothing(t, site, lame):
    """STS-062, STS-069, STS-121, TC-CACHE-05."""
    learn(t, site)
    learn(t, lame)
    lame.lame = True
    t.dns.republish(silent=[site])
    for one, problem in ((site, "sts-policy-fetch-error txt-missing"),
                         (lame, "sts-policy-fetch-error txt-servfail")):
        t.mx(one, pair=wrong_pair(t, one))
        equal(rcpt(t, one), NAME_MISMATCH, f"RCPT of {one.domain}")
        fields(t.recipients(one, 2)[1], policy__mode="enforce", policy__discovery=problem)


@case(Site("movedmx", policy="enforce"), only=ONCE)
def a_moved_mx_with_a_new_id_passes_at_once(t, site):
    """STS-012, STS-064: without any restart. TC-CACHE-02: the records keep the text that was in
    force before. TC-HTTP-23: the gateway's own requests are no sessions."""
    learn(t, site)
    site.mx, site.id = "mx9.movedmx.test", "2"
    site.patterns = [site.mx]
    t.web.publish(site)
    t.dns.republish()
    t.mx(site, pair=t.certificates.make("mx9", [site.mx]))
    equal(rcpt(t, site).code, 250, "RCPT")
    fields(t.recipients(site, 2)[1], policy__id="2", mx=site.mx, mx_proven=True)
    written = t.gateway.records(t.before)
    first, second = [r for r in written if r["event"] == "policy" and r["domain"] == site.domain]
    fields(first, id="20260101000000Z", old_id="", old_sha256="0" * 64)
    fields(second, id="2", old_id=first["id"], old_sha256=first["text_sha256"], mx=[site.mx])
    assert "mode: enforce" in first["text"] and site.mx not in first["text"], first
    assert {r["client"] for r in written if "client" in r} == {"192.0.2.2"}, written


@case(Site("recheck", policy="enforce"), Site("standing", policy="enforce"), only=ONCE)
def before_a_refusal_all_caches_are_passed(t, site, other):
    """STS-103, TC-MX-16: TXT and MX are still cached for minutes, and the mail passes."""
    with configured(t, "dns_cache_max = 300\nrequirement_cache_max = 60"):
        learn(t, site)
        learn(t, other)
        site.mx, site.id = "mx9.recheck.test", "2"
        site.patterns = [site.mx]
        t.web.publish(site)
        t.dns.republish()
        t.mx(site, pair=t.certificates.make("mx9-recheck", [site.mx]))
        equal(rcpt(t, site).code, 250, "RCPT, by the policy of now")
        fields(t.recipients(site, 2)[1], policy__id="2", mx=site.mx)
        t.mx(other, pair=wrong_pair(t, other))
        fetches = t.web.fetches(other)
        for _ in range(12):
            equal(rcpt(t, other), NAME_MISMATCH, "RCPT where nothing has changed")
        equal(t.web.fetches(other), fetches, "fetches under the same id")
        stats = t.gateway.command("policy", "stats").stdout
        assert "recheck_refused        2" in stats, stats  # 10 in 5 minutes


@case(Site("withdrawn", policy="enforce"), only=ONCE)
def mode_none_ends_a_policy_at_once(t, site):
    """STS-068, TC-CACHE-19."""
    learn(t, site)
    site.policy, site.id = "none", "2"
    t.web.publish(site)
    t.dns.republish()
    t.mx(site, pair=wrong_pair(t, site))
    equal(rcpt(t, site).code, 250, "RCPT")
    fields(t.recipients(site, 2)[1], policy__mode="none", policy__id="2")


@case(Site("cold", policy="enforce"), only=ONCE)
def fifty_clients_share_one_fetch(t, site):
    """STS-032, TC-HTTP-22."""
    t.mx(site)
    peers = [t.ready(site) for _ in range(50)]
    for peer in peers:
        equal(peer.cmd("MAIL FROM:<sender@client.test>").code, 250, "MAIL")
    for peer in peers:
        peer.send(f"RCPT TO:<user@{site.domain}>\r\n")
    for peer in peers:
        equal(peer.reply().code, 250, "RCPT")
    equal(t.web.fetches(site), 1, "fetches")


@case(Site("slowhost", policy="enforce"), only=ONCE)
def a_slow_policy_host_holds_up_no_mail_that_is_known(t, site):
    """TC-CACHE-25, PRX-053: a new id, and a policy host that never answers."""
    learn(t, site)
    site.id, site.hung_web = "2", True
    t.dns.republish()
    t.mx(site)
    peer = t.ready(site)
    peer.sock.settimeout(15)
    equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT within 15 s")
    peer.quit()
    fields(t.recipients(site, 2)[1], policy__id="20260101000000Z",
           policy__discovery="sts-policy-fetch-error timeout")


@case(Site("brief", policy="enforce", max_age=2), only=ONCE)
def an_expired_policy_is_never_applied(t, site):
    """STS-065: HTTPS is down when it ends."""
    learn(t, site)
    t.web.withdraw(site)
    t.mx(site, pair=wrong_pair(t, site))
    wait_for(lambda: "expired" in t.gateway.command("policy", "show", site.domain).stdout,
             "the end of the policy", 10)
    equal(rcpt(t, site).code, 250, "RCPT")
    assert f"event=policy-expired domain={site.domain}" in t.gateway.read_log()


@case(Site("firstblocked", policy="enforce"), only=ONCE)
def first_contact_blocked_is_loud(t, site):
    """TC-HTTP-24, STS-036: delivered as though there were no policy, and said."""
    t.web.withdraw(site)
    t.mx(site, pair=wrong_pair(t, site))
    equal(rcpt(t, site).code, 250, "RCPT")
    fields(t.recipients(site)[0], policy__discovery="sts-policy-fetch-error http-404")
    assert f"event=first-contact-blocked domain={site.domain}" in t.gateway.read_log()
    fetches = t.web.fetches(site)
    equal(rcpt(t, site).code, 250, "RCPT again")
    equal(t.web.fetches(site), fetches, "fetches of the same id within 5 minutes (STS-031)")


@case(Site("stored", policy="enforce"), Site("storedgood", policy="enforce"), only=ONCE)
def a_restart_without_network_still_enforces(t, site, good):
    """STS-061, TC-CACHE-15: killed, and all of DNS and HTTPS dead. Without DANE: with it no mail goes
    while MX records cannot be looked up (PRX-023)."""
    learn(t, site)
    learn(t, good)
    wait_for(lambda: stored(t, site.domain) and stored(t, good.domain), "the store", 10)
    for server in (t.dns.nsd, t.web.nginx):
        os.killpg(server.pid, signal.SIGSTOP)
    try:
        t.gateway.configure("dane = false")
        t.gateway.restart(signal.SIGKILL)
        t.mx(site, pair=wrong_pair(t, site))
        t.mx(good)
        reply = rcpt(t, site)
        equal(reply, f"451 4.4.3 Temporary DNS failure for '{site.domain}'", "RCPT (PRX-023)")
        fields(t.recipients(site, 2)[1], policy__mode="enforce", policy__id=site.id)
        equal(rcpt(t, good).code, 250, "RCPT of the MX that proves itself (PRX-019)")
    finally:
        for server in (t.dns.nsd, t.web.nginx):
            os.killpg(server.pid, signal.SIGCONT)
        t.gateway.configure("")
        t.gateway.reload()


@case(Site("damaged", policy="enforce"), only=ONCE)
def a_damaged_store_is_loud_and_mail_flows(t, site):
    """TC-CACHE-16."""
    learn(t, site)
    begun = len(t.gateway.read_log())
    store = t.gateway.folder / "policies.sqlite"
    t.gateway.lab.stop(t.gateway.process, signal.SIGTERM, 40)
    store.write_bytes(b"damaged" * 1000)
    t.gateway.launch(begun)
    assert "event=store-damaged" in t.gateway.read_log()[begun:]
    assert store.with_name("policies.sqlite.bad").exists()
    learn(t, site)
    assert f"{site.domain} valid enforce" in t.gateway.command("policy", "list").stdout


ROLL = 1000


@case(Site("roll.plain", policy="enforce",
           rest="*.{domain}. IN MX 10 mx.{domain}.\n*.{domain}. IN A {web4}\n"
                '*.{domain}. IN TXT "v=STSv1; id=1;"',
           web_names=[f"mta-sts.d{n}.roll.plain.test" for n in range(ROLL)]), only=ONCE)
def roll_out_at_30_percent_refuses_30_percent(t, site):
    """PRX-041, TC-PREC-11: of 1000 domains 30 % +- 5 %, and the same ones after a restart."""
    for number in range(ROLL):
        t.web.publish_as(f"d{number}.{site.domain}", site.policy_text())
    t.mx(site, starttls=False)

    def refused():
        peer = t.ready(site)
        equal(peer.cmd("MAIL FROM:<sender@client.test>").code, 250, "MAIL")
        found = set()
        for number in range(ROLL):
            reply = peer.cmd(f"RCPT TO:<user@d{number}.{site.domain}>")
            if reply == STARTTLS_MISSING:
                found.add(number)
            else:
                equal(reply.code, 250, f"RCPT of d{number}")
        peer.quit()
        return found

    t.gateway.configure('rollout = "enforce 30%"\nrecipients_max = 10000')
    t.gateway.reload()
    try:
        first = refused()
        assert 250 <= len(first) <= 350, f"{len(first)} of {ROLL} refused"
        t.gateway.restart()
        equal(refused(), first, "those refused after a restart")
        would = [r for r in t.gateway.records(t.before) if r["event"] == "recipient"
                 and r["domain"].endswith(f".{site.domain}")]
        equal({r["would"] for r in would}, {"refuse"}, "the would-be verdict of each")
    finally:
        t.gateway.configure("")
        t.gateway.reload()


@case(Site("killswitch", policy="enforce", cert="wrong"), only=ONCE)
def mode_monitor_is_a_kill_switch(t, site):
    """PRX-041, TC-PREC-11, TC-PREC-12: at once, also for what the workers remember; it survives the policy process."""
    with configured(t, "requirement_cache_max = 60\ndns_cache_max = 300"):
        t.mx(site)
        equal(rcpt(t, site), NAME_MISMATCH, "RCPT under enforce")
        done = t.gateway.command("mode", "monitor")
        equal((done.returncode, done.stderr), (0, ""), "stsgate mode monitor")
        assert "monitor" in done.stdout and "command" in done.stdout, done.stdout
        equal(rcpt(t, site).code, 250, "RCPT under monitor")
        t.gateway.kill("stsgate-policy")
        equal(rcpt(t, site).code, 250, "RCPT after a crash of the policy process")
        equal(t.gateway.command("mode", "enforce").returncode, 0, "stsgate mode enforce")
        equal(rcpt(t, site), NAME_MISMATCH, "RCPT under enforce again")
        fields(t.recipients(site, 4)[1], outcome="failed", verdict="allow", would="refuse")
        equal(t.gateway.command("mode", "survey").returncode, 1, "stsgate mode survey")
        equal(t.gateway.command("mode", "sometimes").returncode, 1, "no mode")


@case(Site("flushed", policy="enforce"), Site("warmed", policy="enforce"), only=ONCE)
def an_operator_sees_and_moves_policies(t, site, warm):
    """STS-073, TC-CACHE-22, TC-CACHE-26: list, show, refresh, flush, warm, stats."""
    gateway = t.gateway
    with configured(t, "requirement_cache_max = 60\ndns_cache_max = 300"):
        learn(t, site)
        shown = gateway.command("policy", "show", site.domain)
        for line in ("state      valid", "mode       enforce", f"mx         {site.mx}",
                     "    version: STSv1"):
            assert line in shown.stdout, shown.stdout
        site.policy = "none"  # and no new id
        t.web.publish(site)
        done = gateway.command("policy", "refresh", site.domain)
        equal(done.returncode, 0, "refresh")
        assert "mode       none" in done.stdout, done.stdout
        t.mx(site, pair=wrong_pair(t, site))
        equal(rcpt(t, site).code, 250, "RCPT by the refreshed policy, whatever was remembered")
        equal(gateway.command("policy", "flush", site.domain).stdout.split(), ["flushed", "1"],
              "flush")
        equal(gateway.command("policy", "show", site.domain).returncode, 1, "show of nothing")
        listing = gateway.folder / "domains"
        listing.write_text(f"# ours\n{warm.domain}\n\nno domain\n")
        done = gateway.command("policy", "warm", str(listing))
        equal(done.returncode, 1, "warm with a line that is no domain")
        assert f"{listing}:4:" in done.stderr, done.stderr
        wait_for(lambda: f"{warm.domain} valid enforce" in gateway.command("policy", "list").stdout,
                 "the warmed policy", 10)
        equal(t.web.fetches(warm), 1, "fetches before any mail")
        listed = gateway.command("policy", "list", "--json").stdout
        assert f'"domain":"{warm.domain}"' in listed, listed
    equal(gateway.command("policy", "show", "no domain").returncode, 2, "no domain")
    equal(os.stat(gateway.control_socket).st_mode & 0o777, 0o600, "mode of the socket")


@case(Site("pinned", cert="wrong"), Site("partner"), Site("bypassed", policy="enforce",
                                                          cert="wrong"), only=ONCE)
def overrides_for_domains_and_clients(t, pinned, partner, bypassed):
    """PRX-042: each with a reason and an end; expired ones are ignored and said."""
    rules = override("pin", "domain = {pinned.test}\naction = verify\nmx = {mx.pinned.test}")
    rules += override("pin 2", "domain = {partner.test}\naction = verify\nmx = {\"*.other.test\"}")
    rules += override("over", "domain = {bypassed.test}\naction = bypass", "2020-01-01")
    rules += override("elsewhere", "domain = {bypassed.test}\nclient = {10.9.9.0/24}\n"
                                   "action = bypass")
    with configured(t, rules):
        t.mx(pinned)
        equal(rcpt(t, pinned), IDENTITY + "certificate does not name the MX host", "RCPT")
        fields(t.recipients(pinned)[0], reply_id="REP-043", override__id="pin")
        t.mx(partner)
        equal(rcpt(t, partner), IDENTITY + "MX host is not permitted", "RCPT of a wrong MX")
        t.mx(bypassed)
        equal(rcpt(t, bypassed), NAME_MISMATCH, "RCPT; one override is over, one for others")
        assert "override \\\"over\\\" has ended and is ignored" in t.gateway.read_log()
    here = override("here", f"domain = {{bypassed.test}}\nclient = {{{CLIENT[4]}}}\n"
                            "action = bypass")
    with configured(t, here):
        equal(rcpt(t, bypassed).code, 250, "RCPT from the client that is named")
        fields(t.recipients(bypassed, 2)[1], override__id="here", would="refuse")


@case(Site("noliteral"), only=ONCE)
def an_override_by_network_holds_for_who_has_no_domain(t, site):
    """PRX-042, TLS-011, PRX-026, PRX-027: an address literal and <postmaster> have no policy, but come
    from a client and go to a destination."""
    literal = f"user@[{site.address(t.family)}]"
    server = t.mx(site, starttls=False)
    for selector, value in (("client", CLIENT[4]), ("destination", site.address(t.family))):
        for action in ("require", "verify"):
            rule = override(selector, f"{selector} = {{{value}}}\naction = {action}")
            with configured(t, rule):
                peer = t.ready(site)
                got = peer.envelope(literal, "postmaster")
                equal(got[1:], [TLS_REQUIRED] * 2, f"RCPT under {action} by {selector}")
                peer.quit()
    server.wait_idle()
    assert b"RCPT" not in server.in_clear(), "a recipient in clear"


@case(Site("ownca", cert="unknown-ca"), only=ONCE)
def an_override_brings_its_own_roots(t, site):
    """PRX-042: verify with a CA file of its own, and no other roots beside."""
    body = 'override "own roots" {{\ndomain = {{ownca.test}}\naction = verify\nca_file = "{ca}"\n' \
           'reason = "test"\nuntil = 2099-12-31\n}}\n'
    t.mx(site)
    with configured(t, body.format(ca=t.certificates.folder / "unknown-ca.pem")):
        equal(rcpt(t, site).code, 250, "RCPT by the override's roots")
        fields(t.recipients(site)[0], mx_proven=True)
    with configured(t, body.format(ca=t.certificates.ca)):
        reply = rcpt(t, site)
        assert reply.text.startswith(IDENTITY), reply


@case(Site("relayhost", policy="enforce"), Site("anyone", policy="enforce", cert="wrong"),
      only=ONCE)
def a_smart_host_is_the_policy_domain(t, relay, anyone):
    """PRX-024, TC-MX-13: recipients of any domain pass together; their own policies are not looked up."""
    with configured(t, f'smart_host "{relay.domain}" {{\n'
                       f'destination = {{{relay.address(t.family)}}}\n}}\n'):
        t.mx(relay, pair=t.certificates.make("relay", [relay.domain]))
        peer = t.ready(relay)
        replies = peer.envelope(f"user@{anyone.domain}", "user@somewhere.example")
        assert [r.code for r in replies] == [250, 451, 451], replies  # the policy lists mx.relayhost
        peer.quit()
        equal(t.web.fetches(anyone), 0, "fetches of the recipient's own policy")
        relay.patterns, relay.id = [relay.domain], "2"
        t.web.publish(relay)
        t.dns.republish()
        peer = t.ready(relay)
        replies = peer.envelope(f"user@{anyone.domain}", "user@somewhere.example")
        equal([r.code for r in replies], [250, 250, 250], "envelope under a policy that lists it")


@case(Site("reloaded", policy="enforce", cert="wrong"), Site("slow", policy="enforce"), only=ONCE)
def a_reload_cuts_no_message(t, site, slow):
    """What is under way ends by the MX's own words; a mistake in the file changes nothing."""
    server = t.mx(slow)
    t.mx(site)
    peer = t.ready(slow)
    equal(peer.envelope(f"user@{slow.domain}")[1].code, 250, "RCPT")
    equal(peer.cmd("DATA").code, 354, "DATA")
    word = marker()
    peer.send(message(word) + b"\r\n")
    equal(rcpt(t, site), NAME_MISMATCH, "RCPT under enforce")
    with configured(t, "rollout = monitor"):
        equal(rcpt(t, site).code, 250, "RCPT by the new configuration")
        peer.send(b"and its end\r\n.\r\n")
        equal(peer.reply().code, 250, "end of data, by the generation before")
        equal([word.encode() in m.content for m in server.mailbox], [True], "the mail")
        t.gateway.configure("workers = many")
        done = t.gateway.command("reload")
        equal(done.returncode, 2, "reload of a broken file")
        assert "workers: expected 0 .. 64" in done.stderr, done.stderr
        os.kill(t.gateway.process.pid, signal.SIGHUP)
        wait_for(lambda: "event=reload-refused" in t.gateway.read_log(), "the refusal", 10)
        equal(rcpt(t, site).code, 250, "RCPT: the configuration stays")
    equal(rcpt(t, site), NAME_MISMATCH, "RCPT under enforce again")


@case(Site("crowd"), only=ONCE)
def reloads_lose_no_connection(t, site):
    """Five reloads under load; every client is served."""
    t.mx(site)
    stop, served, failed = threading.Event(), [], []

    def crowd():
        while not stop.is_set():
            try:
                served.append(rcpt(t, site).code)
            except (OSError, AssertionError) as error:
                failed.append(repr(error))

    clients = [threading.Thread(target=crowd) for _ in range(4)]
    for one in clients:
        one.start()
    try:
        for _ in range(5):
            t.gateway.reload()
    finally:
        stop.set()
        for one in clients:
            one.join()
    equal(failed, [], "clients that were not served")
    assert len(served) > 10 and set(served) <= {250, 421}, set(served)


@case(Site("nomail", rest="none.{domain}. IN MX 0 ."), only=ONCE)
def a_null_mx_is_the_mx_business_unless_the_site_says_otherwise(t, site):
    """PRX-022, TC-MX-09."""
    t.mx(site)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@none.{site.domain}")], [250, 250], "envelope")
    peer.quit()
    with configured(t, "null_mx = refuse"):
        peer = t.ready(site)
        equal(peer.envelope(f"user@none.{site.domain}")[1],
              "556 5.1.10 Recipient address has null MX", "RCPT")


@case(Site("aliased", policy="enforce", web_names=["mta-sts.cn.aliased.test"],
           rest="cn.{domain}. IN MX 10 alias.{domain}.\nalias.{domain}. IN CNAME mx.{domain}.\n"
                "mta-sts.cn.{domain}. IN CNAME mta-sts.{domain}.\n"
                '_mta-sts.cn.{domain}. IN TXT "v=STSv1; id=1;"\n'
                "dn.{domain}. IN CNAME {domain}.\nsub.{domain}. IN MX 10 mx.{domain}."), only=ONCE)
def names_before_aliases_are_what_counts(t, site):
    """STS-002, STS-082, STS-108, TC-HTTP-15, TC-MX-05, TC-MX-12, SEEDS S1."""
    def policy(host):
        return f"version: STSv1\nmode: enforce\nmx: {host}\nmax_age: 86400\n"

    t.mx(site, pair=t.certificates.make("aliased-both", [site.mx, f"alias.{site.domain}"]))
    t.web.publish_as(f"cn.{site.domain}", policy(site.mx))
    peer = t.ready(site)
    equal(peer.envelope(f"user@cn.{site.domain}")[1].code, 451, "the policy lists the target only")
    peer.quit()
    with configured(t, "sts_mx_cname = also-target"):
        peer = t.ready(site)
        equal(peer.envelope(f"user@cn.{site.domain}")[1].code, 250, "and so does the site")
        peer.quit()
    t.web.publish_as(f"cn.{site.domain}", policy(f"alias.{site.domain}"))
    t.gateway.command("policy", "refresh", f"cn.{site.domain}")
    peer = t.ready(site)
    equal(peer.envelope(f"user@cn.{site.domain}")[1].code, 250, "the policy lists the record's name")
    peer.quit()
    fetches = t.web.fetches(site)
    peer = t.ready(site)
    equal([r.code for r in peer.envelope(f"user@dn.{site.domain}", f"user@sub.{site.domain}")],
          [250] * 3, "a domain that is an alias, one below a policy domain")
    peer.quit()
    equal(t.web.fetches(site), fetches, "fetches of the target's, the parent's policy")
    others = wait_for(lambda: [r for r in t.gateway.records(t.before) if r["event"] == "recipient"
                               and r["domain"].split(".")[0] in ("dn", "sub")] or None, "records", 10)
    equal({r["policy"]["type"] for r in others}, {"no-policy-found"}, "their policies")


@case(Site("deferring", lame=True), only=ONCE)
def a_txt_that_fails_defers_where_the_site_says_so(t, site):
    """STS-011: otherwise it is as if there were no policy."""
    t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope(f"user@{site.domain}")[1].code, 250, "RCPT")
    peer.quit()
    with configured(t, "sts_dns_failure = defer"):
        peer = t.ready(site)
        equal(peer.envelope(f"user@{site.domain}")[1],
              f"451 4.4.3 Temporary DNS failure for '{site.domain}'", "RCPT")


@case(Site("surveyed", policy="enforce", cert="wrong"), Site("nobody"), only=ONCE)
def survey_changes_nothing_and_counts(t, site, nobody):
    """PRX-041: every byte untouched, STARTTLS included; what was in clear is counted."""
    server = t.mx(site, keywords=("X-UNHEARD-OF 7", "PIPELINING", "SIZE 99"))
    with configured(t, "rollout = survey"):
        equal(t.gateway.command("mode", "enforce").returncode, 1, "mode during a survey")
        clear = t.client(site)
        reply = clear.greet()
        assert "250-X-UNHEARD-OF 7" in reply.text and "STARTTLS" in reply.text, reply
        equal([r.code for r in clear.envelope(f"user@{site.domain}")], [250, 250], "envelope")
        word = marker()
        equal(clear.content(message(word) + b"\r\nMAIL FROM:<x@in.content>").code, 250, "content")
        equal(clear.quit().code, 221, "QUIT of the MX itself")
        equal(server.mailbox[0].tls, "", "TLS")

        secure = t.client(site)
        equal(secure.greet().code, 250, "EHLO")
        equal(secure.cmd("STARTTLS").code, 220, "STARTTLS, by the MX")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure.sock = context.wrap_socket(secure.sock, server_hostname="asked.by.the.client")
        equal(secure.cmd("EHLO client.lab.test").code, 250, "EHLO under the client's own TLS")
        secure.envelope(f"user@{site.domain}")
        secure.quit()
        server.wait_idle()
        equal(server.connections[1].sni, "asked.by.the.client", "SNI")

        with contextlib.suppress(ConnectionError):  # a reset, or the end of the stream
            equal(t.client(nobody).reply().lines, [], "what an MX that is not there says")

        def seen():
            found = [r for r in t.gateway.records(t.before) if r["event"] == "survey"]
            return found if len(found) >= 3 else None

        records = wait_for(seen, "three records of the survey", 10)
        fields(next(r for r in records if r["client_port"] == clear.port), starttls_offered=True,
               starttls_asked=False, mails_in_clear=1, recipients_in_clear=1, end="closed")
        fields(next(r for r in records if r["client_port"] == secure.port), starttls_accepted=True,
               mails_in_clear=0)
        equal([r["connected"] for r in records if r["destination"] == nobody.address(t.family)],
              [False], "the MX that is not there")
