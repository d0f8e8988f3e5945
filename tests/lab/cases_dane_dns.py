"""DANE by what DNS says: secure, insecure, bogus and failing MX, address and TLSA look-ups, with real
servers and a validating resolver (RFC 7672 2.1, 2.2). What certificates must look like is elsewhere."""


from case import ONCE, case, configured, equal, override, rcpt
from lab import wait_for
from world import Site

DNSSEC = "451 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records."
NO_TLS = ("451 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
          "mail.")
WRONG_KEY = "3 1 1 " + "00" * 32


def dns_failure(site):
    return f"451 4.4.3 Temporary DNS failure for '{site.domain}'"


@case(Site("dmatch", cert="self-signed", tlsa=["3 1 1"]), Site("dwrong", tlsa=[WRONG_KEY]),
      Site("dinsecure.plain", tlsa=[WRONG_KEY]),
      Site("dhost", mx="mx.dhost.plain.test", tlsa=[WRONG_KEY]),
      Site("dshared", cert="self-signed", tlsa=["3 0 2"], tlsa_at="_dane.{domain}",
           rest="_25._tcp.{mx}. IN CNAME _dane.{domain}."))
def secure_records_hold_and_insecure_ones_do_not(t, match, wrong, insecure, host, shared):
    """DANE-013, DANE-015, DANE-019, TC-DANE-20, TC-DANE-23."""
    for site, code in ((match, 250), (wrong, 451), (insecure, 250), (host, 250), (shared, 250)):
        t.mx(site)
        equal(rcpt(t, site).code, code, f"RCPT of {site.domain}")


@case(Site("dtlsadead", rest="_25._tcp.{mx}. IN CNAME x.dead.test."),
      Site("dtlsabogus", rest="_25._tcp.{mx}. IN CNAME x.bogus.test."),
      Site("daddress", mx="mx.daddress.bogus.test"), Site("dmx.bogus"), Site("dmx.dead"),
      Site("dplainmx.plain", mx="mx.dplainmx.dead.test"), only=ONCE)
def what_cannot_be_looked_up_waits(t, tlsa, tlsa_bogus, address, mx_bogus, mx_dead, plain):
    """DANE-004, DANE-006, PRX-023, TC-DANE-22, TC-DANE-24, TC-DANE-26, TC-DANE-42."""
    for site, reply in ((tlsa, DNSSEC), (tlsa_bogus, DNSSEC), (address, DNSSEC), (mx_bogus, DNSSEC),
                        (mx_dead, dns_failure(mx_dead))):
        server = t.mx(site)
        equal(rcpt(t, site), reply, f"RCPT of {site.domain}")
        server.wait_idle()
        assert not any(c.tls for c in server.connections), "a handshake that could change nothing"
    t.mx(plain)  # its MX records are insecure: DANE does not apply
    equal(rcpt(t, plain).code, 250, "RCPT of an unsigned domain whose MX host fails")


ACTIONS = {"bypass": 451, "no-dane": 250, "monitor": 250, "require": 451,
           "floor\ntls_minimum = 1.2": 451, "verify": 451, "dane": 451}
EACH = "*.{domain}. IN MX 10 {mx}."


@case(Site("dswitch", tlsa=[WRONG_KEY], rest=EACH), Site("dbroken.bogus", rest=EACH),
      Site("dfree"), only=ONCE)
def an_operator_decides_where_dane_counts(t, site, broken, free):
    """PRX-042, DANE-041, DANE-042, DANE-044, TC-PREC-09: of all actions only no-dane and monitor let go."""
    for one in (site, broken, free):
        t.mx(one)

    def reply(one, name):
        peer = t.ready(one)
        got = peer.envelope(f"user@{name}.{one.domain}")[1]
        peer.quit()
        return got

    rules = "".join(override(f"of {n}", f"domain = {{n{n}.{site.domain}, n{n}.{broken.domain}}}\n"
                                        f"action = {action}") for n, action in enumerate(ACTIONS))
    rules += override("one host", f"domain = {{host.{site.domain}, host.{broken.domain}}}\n"
                                  f"action = no-dane\nmx = {{{site.mx}}}")
    rules += override("must", f"domain = {{{free.domain}}}\naction = dane")
    with configured(t, rules):
        for n, (action, code) in enumerate(ACTIONS.items()):
            equal(reply(site, f"n{n}").code, code, f"{action}, a key that does not match")
            equal(reply(broken, f"n{n}").code, code, f"{action}, MX records that are bogus")
        equal(reply(site, "host").code, 250, "no-dane for this MX host")
        equal(reply(broken, "host"), DNSSEC, "no-dane for an MX host that cannot be looked up")
        equal(rcpt(t, free).code, 451, "dane for a domain without records")
    with configured(t, "dane = false\n" + override("x", f"domain = {{must.{site.domain}}}\n"
                                                        "action = dane")):
        equal(reply(site, "any").code, 250, "DANE is off, a key that does not match")
        equal(reply(broken, "any").code, 250, "DANE is off, MX records that are bogus")
        equal(reply(site, "must").code, 451, "DANE is off and required nevertheless")


@case(Site("dany", cert="self-signed", tlsa=["3 1 1"], listed=False),
      Site("dnone", cert="self-signed", listed=False), only=ONCE)
def an_address_of_no_mx(t, with_records, without):
    """PRX-020: where every MX host has records, one of them must be matched."""
    t.mx(with_records)
    equal(rcpt(t, with_records).code, 250, "RCPT, the right key")
    t.mx(without)
    equal(rcpt(t, without).code, 250, "RCPT, DANE does not apply")
    with_records.tlsa = [WRONG_KEY]
    t.dns.republish()
    equal(rcpt(t, with_records).code, 451, "RCPT, the wrong key")


@case(Site("dprovider", cert="self-signed", tlsa=[WRONG_KEY]),
      Site("dcustomer.plain", mx="mx.dprovider.test"), only=ONCE)
def an_unsigned_domain_with_a_signed_provider(t, provider, customer):
    """DANE-009, DANE-010, TC-DANE-25."""
    t.mx(provider)

    def reply():
        peer = t.ready(provider)
        code = peer.envelope(f"user@{customer.domain}")[1].code
        peer.quit()
        return code

    equal(reply(), 250, "RCPT by default")
    with configured(t, "dane_insecure_mx = true"):
        equal(reply(), 451, "RCPT where the site wants it")
        assert (f"event=dane-insecure-mx domain={customer.domain} mx={provider.mx}"
                in t.gateway.read_log())


@case(Site("drelay", mx="drelay.test", cert="self-signed", tlsa=[WRONG_KEY]), only=ONCE)
def a_smart_host_has_records_of_its_own(t, relay):
    """PRX-024, RFC 7672 2.2.2: the operator's word stands for the MX records."""
    t.mx(relay)
    with configured(t, f'smart_host "{relay.domain}" {{\n'
                       f'destination = {{{relay.address(t.family)}}}\n}}\n'):
        peer = t.ready(relay)
        equal(peer.envelope("user@somewhere.example")[1].code, 451, "RCPT")
        peer.quit()


@case(only=ONCE)
def a_validation_that_does_not_work_is_loud(t):
    """DANE-001, TC-DANE-34: an anchor that is not the root's; DANE stays on."""
    foreign = t.gateway.folder / "foreign.ds"
    foreign.write_text(". IN DS 1 13 2 " + "ab" * 32 + "\n")

    def stats():
        lines = t.gateway.command("policy", "stats").stdout.splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}

    equal(stats()["dane_blind"], 0, "dane_blind with the root's anchor")
    begun = len(t.gateway.read_log())
    with configured(t, f'trust_anchor_file = "{foreign}"'):
        wait_for(lambda: stats()["dane_blind"] == 1, "dane_blind", 20)
        assert "event=dane-blind" in t.gateway.read_log()[begun:]
        equal(stats()["dane_probes_failed"], 1, "dane_probes_failed")
    wait_for(lambda: stats()["dane_probes"] == 1, "the next probe", 20)
    equal(stats()["dane_blind"], 0, "dane_blind afterwards")
