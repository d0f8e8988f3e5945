"""The policy hosts: one nginx for all, by SNI-less name-based folders, and one address that takes
connections and never answers."""

import select
import signal
import socket

from lab import LabError, wait_for
from world import HUNG_WEB, WEB


class PolicyHosts:
    """nginx in the services namespace. A policy is the file FOLDER/mta-sts.DOMAIN/mta-sts.txt."""

    def __init__(self, lab, sites, pair):
        self.lab = lab
        self.folder = lab.folder / "web"
        self.folder.mkdir()
        for site in sites:
            if site.policy:
                self.publish(site)
        (self.folder / "nginx.conf").write_text(self._conf(*pair))
        self.log = self.folder / "access.log"
        self.nginx = lab.start("services", "nginx", "-p", str(self.folder), "-c",
                               str(self.folder / "nginx.conf"), "-e",
                               str(self.folder / "error.log"), log=self.folder / "nginx.log")
        self.hung = [self._silent_listener(family) for family in (4, 6)]

    def _silent_listener(self, family):
        listener = self.lab.socket("services", family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HUNG_WEB[family], 443))
        listener.listen(64)
        return listener

    def wait_for_hung_fetch(self):
        """Until someone waits for the policy host that never answers."""
        ready, _, _ = select.select(self.hung, [], [], 20)
        if not ready:
            raise LabError("nobody asked the silent policy host")

    def publish(self, site):
        path = self.folder / f"mta-sts.{site.domain}"
        path.mkdir(exist_ok=True)
        (path / "mta-sts.txt").write_bytes(site.policy_text().encode())

    def publish_as(self, name, text):
        """A policy for any policy domain."""
        path = self.folder / f"mta-sts.{name}"
        path.mkdir(exist_ok=True)
        (path / "mta-sts.txt").write_bytes(text.encode())

    def withdraw(self, site):
        (self.folder / f"mta-sts.{site.domain}" / "mta-sts.txt").unlink()

    def fetches(self, site):
        """How often a site's policy was asked for."""
        return self.log.read_text().split().count(f"mta-sts.{site.domain}")

    def wait(self):
        def answers():
            with self.lab.socket("services", 4) as probe:
                return probe.connect_ex((WEB[4], 443)) == 0

        wait_for(answers, "nginx")

    def close(self):
        for listener in self.hung:
            listener.close()
        self.lab.stop(self.nginx, signal.SIGTERM)

    def _conf(self, crt, key):
        temp = "".join(f"  {kind}_temp_path {self.folder}/temp-{kind};\n" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""daemon off;
master_process off;
pid {self.folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
{temp}  log_format host '$host';
  access_log {self.folder}/access.log host;
  default_type text/plain;
  server {{
    listen {WEB[4]}:443 ssl;
    listen [{WEB[6]}]:443 ssl;
    ssl_certificate {crt};
    ssl_certificate_key {key};
    location = /.well-known/mta-sts.txt {{ alias {self.folder}/$host/mta-sts.txt; }}
    location / {{ return 404; }}
  }}
}}
"""
