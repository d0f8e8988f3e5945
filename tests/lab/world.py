"""The small internet of the lab: addresses, and the mail domains that the cases ask for.

A site is one mail domain: its MX host, that host's address and certificate, and its MTA-STS policy.
Every case names its own sites, so that no case sees what another one left in a cache.
"""

from dataclasses import dataclass, field

CLIENT = {4: "192.0.2.2", 6: "2001:db8:1::2"}
GATEWAY_INSIDE = {4: "192.0.2.1", 6: "2001:db8:1::1"}
GATEWAY_OUTSIDE = {4: "198.51.100.1", 6: "2001:db8:2::1"}
NAME_SERVER = {4: "203.0.113.53", 6: "2001:db8:3::53"}
RESOLVER = {4: "203.0.113.54", 6: "2001:db8:3::54"}
WEB = {4: "203.0.113.80", 6: "2001:db8:3::80"}
HUNG_WEB = {4: "203.0.113.81", 6: "2001:db8:3::81"}  # takes connections and says nothing

# 251 and 254 have other uses; no address of /24 networks that is not a host's.
MX_NUMBERS = [n for n in range(2, 500) if n % 256 not in (0, 251, 254, 255)]
GATEWAY_NAME = "gw.lab.test"


def mx_address(number, family):
    return f"198.51.{100 + number // 256}.{number % 256}" if family == 4 else f"2001:db8:2::{number:x}"


@dataclass(eq=False)
class Site:
    """One mail domain. Cases set what they need; the runner sets numbers."""

    name: str                     # becomes NAME.test, in the zone that dns.py says
    policy: str | None = None     # mode of its MTA-STS policy; None: no record, no policy
    cert: str = "own"             # see certs.py: own, wrong, unknown-ca, expired, self-signed, shared
    mx: str = ""                  # MX host; default mx.NAME.test
    patterns: list[str] = field(default_factory=list)  # mx lines of the policy; default the MX host
    shares: "Site | None" = None  # has its MX host on this site's address
    backup: "Site | None" = None  # whose MX host is this site's second one
    listed: bool = True           # False: the address dialled stands in no MX host's A or AAAA
    postfix: bool = False         # a real Postfix serves the address, not a scripted MX
    newest: str = ""              # version of TLS that this Postfix has, as OpenSSL writes it; "": all
    hung_web: bool = False        # its policy host answers nothing
    id: str = "20260101000000Z"   # of its _mta-sts record
    lame: bool = False            # questions for its _mta-sts record fail
    max_age: int = 86400          # of its policy
    addresses: bool = True        # False: none for the MX host, whose records are in `rest`
    tlsa: list[str] = field(default_factory=list)  # see dns.py: "3 1 1", "2 0 1 ca", "3 1 1 00ff"
    tlsa_at: str = "_25._tcp.{mx}"
    rest: str = ""                # more lines of any zone, "{domain}", "{mx}", "{web4}", "{mx4}" and
                                  # "{mx6}" filled in; each begins with an absolute name
    web_names: list[str] = field(default_factory=list)  # more names of policy hosts
    number: int = 0               # the last part of the address

    def __post_init__(self):
        self.domain = f"{self.name}.test"
        self.mx = self.mx or f"mx.{self.domain}"
        hosts = [self.mx, self.backup.mx] if self.backup else [self.mx]
        self.patterns = self.patterns or hosts

    @property
    def dialled(self):
        """Number of the address that a client dials."""
        return self.shares.number if self.shares else self.number

    def address(self, family):
        return mx_address(self.dialled, family)

    def listed_address(self, family):
        """What DNS says of the MX host: for an unlisted site a neighbour that nobody serves."""
        return mx_address(self.dialled if self.listed else 254, family)

    def policy_text(self):
        lines = ["version: STSv1", f"mode: {self.policy}"]
        lines += [f"mx: {pattern}" for pattern in self.patterns]
        return "\r\n".join(lines + [f"max_age: {self.max_age}", ""])


def number_sites(sites):
    """Give each site an address of its own; those that share one follow the other's."""
    numbers = iter(MX_NUMBERS)
    for site in sites:
        if site.shares is None:
            site.number = next(numbers)
    names = [site.domain for site in sites]
    assert len(set(names)) == len(names), "two sites of the same name"
