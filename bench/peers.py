"""Who is measured: stsgate, and what else one could put in its place. Each takes the same mail from the
same client to the same MX; what runs is one process tree, whose CPU and memory are its own."""

import re
import subprocess

import lab
import postfix
import proc
from stage import OPEN_PORT, sessions_of_one_process

GATEWAY = "192.0.2.1"


class Peer:
    """A proxy that the client dials by the gateway's address."""

    name = title = ""
    port = 0
    load_options = ()
    tls = True        # it speaks TLS to the MX
    slow = False      # stores and forwards: its 250 is not the MX's

    def __init__(self, stage):
        self.stage, self.process = stage, None
        self.mx = stage.site.address(4)

    @property
    def to(self):
        return f"{GATEWAY}:{self.port}"

    @property
    def sessions_max(self):
        """How many at a time it can be asked for."""
        return sessions_of_one_process()

    def make_room(self, sessions):
        """For so many at a time, <= sessions_max. True: it had to begin anew."""
        return False

    def start(self):
        raise NotImplementedError

    def wait(self):
        """Until it has taken a session, to its end: nothing of it is left to be counted later."""
        def answers():
            if self.process.poll() is not None:
                raise lab.LabError(f"{self.name} ended with {self.process.returncode}")
            with self.stage.lab.socket("client", 4) as probe:
                probe.settimeout(5)
                try:
                    probe.connect((GATEWAY, self.port))
                    probe.sendall(b"QUIT\r\n")
                    with probe.makefile("rb") as said:
                        return b"221" in said.read()
                except OSError:
                    return False

        lab.wait_for(answers, f"{self.name} to listen", 60)

    def cpu_seconds(self):
        return proc.cpu_seconds(self.process.pid) if self.process else 0.0

    def pss_bytes(self):
        return proc.pss_bytes(self.process.pid) if self.process else 0

    def version(self):
        return ""

    def _conf(self, text):
        path = self.stage.lab.folder / f"{self.name}.conf"
        path.write_text(text)
        return str(path)


class Direct(Peer):
    """No proxy: the client does STARTTLS itself, and resumes."""

    name, title = "direct", "direct TLS"

    @property
    def to(self):
        return f"{self.mx}:{OPEN_PORT}"

    @property
    def sessions_max(self):
        return 2 * sessions_of_one_process()

    def start(self):
        self.load_options = ("--tls-ca", str(self.stage.certificates.ca), "--tls-host",
                             self.stage.site.mx, "--resume")

    def wait(self):
        pass


class Stsgate(Peer):
    """Taken over by TPROXY; policy judged, records written."""

    name, title = "stsgate", "stsgate"

    def __init__(self, stage):
        super().__init__(stage)
        self.gateway = None

    @property
    def to(self):
        return f"{self.mx}:25"

    @property
    def sessions_max(self):
        return sessions_of_one_process() * 3 // 2  # two workers, and chance divides them

    def start(self):
        self.gateway = self.stage.gateway({})
        self.process = self.gateway.process

    def make_room(self, sessions):
        if sessions <= len(self.stage.proxy_cpus) * sessions_of_one_process():
            return False
        self.stage.configure(self.gateway, {"workers": 2 * len(self.stage.proxy_cpus)})
        self.gateway.restart()
        self.process = self.gateway.process
        return True

    def wait(self):
        pass  # the gateway's start() has waited

    def version(self):
        told = subprocess.run([str(self.gateway.program), "--version"], capture_output=True,
                              stdin=subprocess.DEVNULL, text=True, check=False).stdout.strip()
        found = re.search(r'event=worker-start.* tls="([^"]*)"', self.gateway.read_log())
        return f"{told or 'stsgate'}, {found.group(1) if found else 'TLS library not named'}"


class Stunnel(Peer):
    name, title, port = "stunnel", "stunnel", 2631

    def start(self):
        conf = self._conf(f"""foreground = yes
syslog = no
debug = err
[smtp]
client = yes
protocol = smtp
accept = {GATEWAY}:{self.port}
connect = {self.mx}:{OPEN_PORT}
CAfile = {self.stage.certificates.ca}
verifyChain = yes
checkHost = {self.stage.site.mx}
sni = {self.stage.site.mx}
""")
        self.process = self.stage.lab.start("gateway", "stunnel4", conf,
                                            log=self.stage.lab.folder / "stunnel.log")

    def version(self):
        told = subprocess.run(["stunnel4", "-version"], capture_output=True, text=True, check=False)
        found = re.search(r"stunnel [\d.]+", told.stderr + told.stdout)
        library = re.search(r"OpenSSL [\d.]+", told.stderr + told.stdout)
        return f"{found.group(0) if found else 'stunnel'}, {library.group(0) if library else ''}"


class Haproxy(Peer):
    """In clear, octets moved by splice(): the least that a proxy can do."""

    name, title, port, tls = "haproxy", "HAProxy, clear splice", 2632, False

    @property
    def sessions_max(self):
        return sessions_of_one_process() * 4 // 5  # it keeps room for a pipe per four sessions

    def start(self):
        conf = self._conf(f"""global
  maxconn {self.sessions_max}
  nbthread {len(self.stage.proxy_cpus)}
defaults
  mode tcp
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  option splice-request
  option splice-response
listen smtp
  bind {GATEWAY}:{self.port}
  server mx {self.mx}:{OPEN_PORT}
""")
        self.process = self.stage.lab.start("gateway", "haproxy", "-db", "-f", conf,
                                            log=self.stage.lab.folder / "haproxy.log")

    def version(self):
        told = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=False).stdout
        return " ".join(told.split()[:3])


class Postfix(Peer):
    """A relay that stores each mail before it sends it on."""

    name, title, port, slow = "postfix", "Postfix relay", 2633, True

    def start(self):
        made = postfix.Postfix(self.stage.lab, "gateway", "relay", {
            "inet_interfaces": "all", "inet_protocols": "ipv4", "mynetworks": "192.0.2.0/24",
            "relayhost": f"[{self.mx}]:{OPEN_PORT}", "smtp_tls_security_level": "secure",
            "smtp_tls_CAfile": self.stage.certificates.ca,
            "smtp_tls_secure_cert_match": self.stage.site.mx, "disable_dns_lookups": "yes",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject", "in_flow_delay": "0",
            "smtpd_client_connection_count_limit": "0",
        }, f"{GATEWAY}:{self.port} inet n - n - - smtpd\n")
        made.start(None)
        made.wait()
        self.process = made.process

    def version(self):
        told = subprocess.run(["postconf", "-dh", "mail_version"], capture_output=True, text=True,
                              check=False).stdout
        return f"Postfix {told.strip()}"


ALL = (Direct, Haproxy, Stunnel, Postfix, Stsgate)
