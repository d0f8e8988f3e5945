"""The lab's own zones: each is to DNSSEC what its name says. What the gateway makes of them is tested
elsewhere; this shows that those tests rest on what they say they rest on."""

import re

from case import case, equal
from world import RESOLVER, Site


def asked(t, name, kind):
    """What a validating resolver says: "secure", "insecure" or the name of an error, and how many
    answers."""
    text = t.lab.in_space("services", "drill", "-D", name, kind, f"@{RESOLVER[4]}")
    rcode = re.search(r"rcode: (\w+)", text)[1].lower()
    flags = re.search(r"flags: ([\w ]*);", text)[1].split()
    count = sum(f"\tIN\t{kind}\t" in line for line in text.splitlines())
    if rcode not in ("noerror", "nxdomain"):
        return rcode, count
    return "secure" if "ad" in flags else "insecure", count


@case(Site("zsigned", tlsa=["3 1 1", "2 0 1 ca", "3 1 1 00ff"]),
      Site("zunsigned.plain", tlsa=["3 1 1"]), Site("zbroken.bogus", tlsa=["3 1 1"]),
      Site("zfailing.dead"), Site("zhalf", mx="mx.zhalf.plain.test", tlsa=["3 1 1"]),
      Site("zalias", addresses=False, tlsa=["3 0 2"], tlsa_at="_dane.{domain}",
           rest="{mx}. IN CNAME mx.zunsigned.plain.test.\n"
                "_25._tcp.{mx}. IN CNAME _dane.{domain}."),
      direct=True)
def zones_are_what_their_names_say(t, signed, unsigned, broken, failing, half, alias):
    for site, zone in ((signed, "secure"), (unsigned, "insecure"), (broken, "servfail"),
                       (failing, "servfail")):
        fine = zone.endswith("secure")
        equal(asked(t, site.domain, "MX"), (zone, int(fine)), f"MX of {site.domain}")
        equal(asked(t, site.mx, "A"), (zone, int(fine)), f"A of {site.mx}")
        equal(asked(t, f"_25._tcp.{site.mx}", "TLSA"), (zone, len(site.tlsa) if fine else 0),
              f"TLSA of {site.mx}")
        equal(asked(t, f"nothing.{site.domain}", "A"), (zone, 0), f"denial in {site.domain}")
    equal(asked(t, half.domain, "MX"), ("secure", 1), "MX of a signed domain")
    equal(asked(t, half.mx, "A"), ("insecure", 1), "A of its unsigned host")
    equal(asked(t, alias.mx, "A"), ("insecure", 1), "A of an alias into an unsigned zone")
    equal(asked(t, f"_25._tcp.{alias.mx}", "TLSA"), ("secure", 1), "TLSA behind an alias")
