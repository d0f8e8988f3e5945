"""Zones of the lab; NSD serves them, unbound resolves for the client, the gateway brings its own
validating resolver. The name says what a record's zone is like:

    NAME.test         signed
    NAME.plain.test   unsigned, by a proven insecure delegation
    NAME.bogus.test   signed, but by other keys than those that its parent vouches for
    NAME.dead.test    signed as its parent says, but its name server has lost it and answers SERVFAIL

A site's domain, its MX host and each line of its `rest` go to their zones by name, one by one, so that a
case mixes them at will: Site("a", mx="mx.a.plain.test") is a signed domain with an unsigned MX host,
Site("a.plain", mx="mx.a.test") the reverse.

TLSA records are a site's `tlsa`: "3 1 1" alone is made from the site's own certificate, "2 0 1 ca" from
the authority's (any PEM file's name without its suffix, see certs.py), "3 1 1 00ff" is taken as it is.
They stand at `tlsa_at`, which is _25._tcp. and the MX host. Examples for `rest`, where {mx} and {domain}
are filled in:

    _25._tcp.{mx}. IN CNAME _dane.{domain}.     with tlsa_at="_dane.{domain}": a shared RRset
    _25._tcp.{mx}. IN CNAME x.dead.test.        the look-up of TLSA records fails
    _25._tcp.{mx}. IN CNAME x.bogus.test.       and here it is bogus
    {mx}. IN CNAME host.example.plain.test.     with addresses=False: an alias, its target elsewhere

A case that changes a site's records calls t.dns.republish()."""

import signal
import socket
import struct
import time

from lab import run, wait_for
from world import HUNG_WEB, NAME_SERVER, RESOLVER, WEB

HEADER = ("$TTL 300\n@ IN SOA ns.test. hostmaster.test. {serial} 3600 600 86400 {negative_ttl}\n"
          "@ IN NS ns.test.\n")
UNUSUAL = ("plain.test", "bogus.test", "dead.test")
NS_GLUE = f"ns.test. IN A {NAME_SERVER[4]}\nns.test. IN AAAA {NAME_SERVER[6]}\n"


def zone_of(name):
    """The zone that holds a name, given with or without its trailing dot."""
    labels = name.rstrip(".").split(".")
    return ".".join(labels[-2:]) if ".".join(labels[-2:]) in UNUSUAL else "test"


class Zones:
    """Zone files and keys, made once per run and served by each lab of it.

    certificates, pairs: what TLSA records are made from; pairs by site."""

    negative_ttl = 1  # s that the absence of a record may be remembered

    def __init__(self, folder, sites, certificates, pairs):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.sites, self.certificates, self.pairs = sites, certificates, pairs
        self.serial = 0
        self.keys = {zone: [self._key(zone, "-k"), self._key(zone)]
                     for zone in (".", "test.", "bogus.test.")}
        self.foreign_keys = {zone: self._key(zone, "-k") for zone in ("bogus.test.", "dead.test.")}
        self.anchor = folder / "root.ds"
        self.anchor.write_text(self._ds(self.keys["."][0]))

    def _key(self, zone, *options):
        return run("ldns-keygen", "-a", "ECDSAP256SHA256", *options, zone, cwd=self.folder).strip()

    def _ds(self, key):
        return (self.folder / f"{key}.ds").read_text()

    def write(self, silent=()):
        """All zones anew, with a higher serial. silent: sites whose _mta-sts record is left out."""
        self.serial += 1
        records = {zone: "" for zone in ("test", *UNUSUAL)}
        for site in self.sites:
            for line in self._site(site, site not in silent):
                records[zone_of(line.split()[0])] += line + "\n"
        records["test"] += NS_GLUE + "".join(f"{zone}. IN NS ns.test.\n" for zone in UNUSUAL)
        records["test"] += "".join(map(self._ds, self.foreign_keys.values()))
        self._file("plain", "plain.test.", records["plain.test"])
        self._sign("bogus.test.", "bogus", records["bogus.test"])
        self._sign("test.", "test", records["test"])
        self._sign(".", "root", f"test. IN NS ns.test.\n{NS_GLUE}" + self._ds(self.keys["test."][0]))

    def _file(self, name, origin, records):
        header = HEADER.format(serial=self.serial, negative_ttl=self.negative_ttl)
        text = f"$ORIGIN {origin}\n{header}{records}"
        (self.folder / name).write_text(text)

    def _sign(self, origin, name, records):
        self._file(name, origin, records)
        run("ldns-signzone", "-n", "-o", origin, "-f", f"{name}.signed", name, *self.keys[origin],
            cwd=self.folder)

    def _site(self, site, with_record):
        web = HUNG_WEB if site.hung_web else WEB
        names = {"domain": site.domain, "mx": site.mx, "web4": WEB[4],
                 "mx4": site.listed_address(4), "mx6": site.listed_address(6)}
        lines = [f"{site.domain}. IN MX 10 {site.mx}."]
        if site.addresses:
            lines += [f"{site.mx}. IN A {site.listed_address(4)}",
                      f"{site.mx}. IN AAAA {site.listed_address(6)}"]
        if site.backup:
            lines.append(f"{site.domain}. IN MX 20 {site.backup.mx}.")
        if site.policy:
            lines += [f"mta-sts.{site.domain}. IN A {web[4]}",
                      f"mta-sts.{site.domain}. IN AAAA {web[6]}"]
        if site.lame:  # delegated to an address where no name server is
            lines += [f"_mta-sts.{site.domain}. IN NS dead.{site.domain}.",
                      f"dead.{site.domain}. IN A {web[4]}"]
        elif site.policy and with_record:
            lines.append(f'_mta-sts.{site.domain}. IN TXT "v=STSv1; id={site.id};"')
        lines += [f"{site.tlsa_at.format(**names)}. IN TLSA {self._tlsa(site, record)}"
                  for record in site.tlsa]
        return lines + [line for line in site.rest.format(**names).splitlines() if line]

    def _tlsa(self, site, record):
        numbers, data = record.split()[:3], "".join(record.split()[3:])
        if not data:
            data = self.certificates.tlsa_data(self.pairs[site][0], *numbers[1:])
        elif (self.certificates.folder / f"{data}.pem").exists():
            data = self.certificates.tlsa_data(self.certificates.folder / f"{data}.pem",
                                               *numbers[1:])
        return " ".join([*numbers, data])


class NameServer:
    """NSD for the zones and unbound for the client, in the services namespace."""

    def __init__(self, lab, zones):
        self.lab, self.zones = lab, zones
        zones.write()
        self.folder = lab.folder / "dns"
        self.folder.mkdir()
        (self.folder / "nsd.conf").write_text(self._nsd_conf())
        (self.folder / "unbound.conf").write_text(self._unbound_conf())
        self.resolv_conf = self.folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {RESOLVER[4]}\n")
        self.nsd = lab.start("services", "nsd", "-d", "-c", str(self.folder / "nsd.conf"),
                             log=self.folder / "nsd.log")
        self.unbound = lab.start("services", "unbound", "-d", "-c",
                                 str(self.folder / "unbound.conf"), log=self.folder / "unbound.log")

    def wait(self):
        wait_for(lambda: self.served_serial() == self.zones.serial, "the name server")

    def republish(self, silent=()):
        """New zones without the MTA-STS records of some sites, served when this returns."""
        self.zones.write(silent)
        self.nsd.send_signal(signal.SIGHUP)
        wait_for(lambda: self.served_serial() == self.zones.serial, "the new zones")

    def served_serial(self):
        """Of test., asked by a SOA query; 0 when there is no answer."""
        name = b"\x04test\x00"
        query = struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + name + struct.pack("!2H", 6, 1)
        with self.lab.socket("services", 4, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.2)
            try:
                udp.sendto(query, (NAME_SERVER[4], 53))
                answer = udp.recv(4096)
            except OSError:
                time.sleep(0.02)
                return 0
        if answer[3] & 15 or struct.unpack("!H", answer[6:8])[0] < 1:
            return 0
        rdata = answer.index(struct.pack("!2H", 6, 1), len(query)) + 10
        for _ in range(2):  # mname, rname
            while answer[rdata] and answer[rdata] < 0xC0:
                rdata += answer[rdata] + 1
            rdata += 2 if answer[rdata] else 1
        return struct.unpack("!I", answer[rdata:rdata + 4])[0]

    def _nsd_conf(self):
        zones = "".join(f'zone:\n  name: "{name}"\n  zonefile: "{file}"\n' for name, file in
                        ((".", "root.signed"), ("test", "test.signed"), ("plain.test", "plain"),
                         ("bogus.test", "bogus.signed"), ("dead.test", "no-such-file")))
        return f"""server:
  ip-address: {NAME_SERVER[4]}
  ip-address: {NAME_SERVER[6]}
  username: ""
  chroot: ""
  server-count: 1
  zonesdir: "{self.zones.folder}"
  pidfile: "{self.folder}/nsd.pid"
  database: ""
  xfrdfile: "{self.folder}/xfrd.state"
  xfrdir: "{self.folder}"
  zonelistfile: "{self.folder}/zone.list"
  verbosity: 1
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
{zones}"""

    def _unbound_conf(self):
        return f"""server:
  interface: {RESOLVER[4]}
  interface: {RESOLVER[6]}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  username: ""
  chroot: ""
  directory: "{self.folder}"
  pidfile: "{self.folder}/unbound.pid"
  use-syslog: no
  num-threads: 1
  trust-anchor-file: "{self.zones.anchor}"
  trust-anchor-signaling: no
  local-zone: "test." nodefault
  cache-max-ttl: 1
remote-control:
  control-enable: no
stub-zone:
  name: "."
  stub-addr: {NAME_SERVER[4]}
"""
