"""Zones: a signed ".", a signed "test." with every domain, an unsigned "plain.test."; NSD serves
them, unbound resolves for the client. The gateway brings its own validating resolver."""

import signal
import socket
import struct
import time

from lab import run, wait_for
from world import HUNG_WEB, NAME_SERVER, RESOLVER, WEB

HEADER = "$TTL 300\n@ IN SOA ns.test. hostmaster.test. {serial} 3600 600 86400 1\n@ IN NS ns.test.\n"
NS_GLUE = f"ns.test. IN A {NAME_SERVER[4]}\nns.test. IN AAAA {NAME_SERVER[6]}\n"


class Zones:
    """Zone files and keys, made once per run and served by each lab of it."""

    def __init__(self, folder, sites):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.sites = sites
        self.serial = 0
        self.root_keys = [self._key(".", "-k"), self._key(".")]
        self.test_keys = [self._key("test.", "-k"), self._key("test.")]
        self.anchor = folder / "root.ds"
        self.anchor.write_text((folder / f"{self.root_keys[0]}.ds").read_text())

    def _key(self, zone, *options):
        return run("ldns-keygen", "-a", "ECDSAP256SHA256", *options, zone, cwd=self.folder).strip()

    def write(self, silent=()):
        """All zones anew, with a higher serial. silent: sites whose _mta-sts record is left out."""
        self.serial += 1
        test = NS_GLUE + "plain.test. IN NS ns.test.\n"
        test += "".join(self._site(s, s not in silent) for s in self.sites if s.signed)
        plain = "".join(self._site(s, s not in silent) for s in self.sites if not s.signed)
        self._sign("test.", "test", test, self.test_keys)
        self._file("plain", "plain.test.", plain)
        ds = (self.folder / f"{self.test_keys[0]}.ds").read_text()
        self._sign(".", "root", f"test. IN NS ns.test.\n{NS_GLUE}{ds}", self.root_keys)

    def _file(self, name, origin, records):
        text = f"$ORIGIN {origin}\n{HEADER.format(serial=self.serial)}{records}"
        (self.folder / name).write_text(text)

    def _sign(self, origin, name, records, keys):
        self._file(name, origin, records)
        run("ldns-signzone", "-n", "-o", origin, "-f", f"{name}.signed", name, *keys,
            cwd=self.folder)

    @staticmethod
    def _site(site, with_record):
        web = HUNG_WEB if site.hung_web else WEB
        lines = [f"{site.domain}. IN MX 10 {site.mx}.",
                 f"{site.mx}. IN A {site.listed_address(4)}",
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
        lines.append(site.rest.format(domain=site.domain, web4=WEB[4],
                                      mx4=site.listed_address(4)))
        return "\n".join(lines) + "\n"


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
                        ((".", "root.signed"), ("test", "test.signed"), ("plain.test", "plain")))
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
