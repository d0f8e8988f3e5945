"""Real Postfix, as client and as MX: own configuration, queue and log in the lab's folder."""

import grp
import os
import pwd
import re
import signal

from lab import wait_for

QUEUE = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
         "saved", "trace")
SERVICES = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
MILTER_PORT = 8891
MASTER = "/usr/lib/postfix/sbin/master"


class Postfix:
    """One instance. start() it, then wait()."""

    def __init__(self, lab, space, name, settings, services=""):
        self.lab, self.space, self.name = lab, space, name
        self.folder = lab.folder / f"postfix-{name}"
        self.conf = self.folder / "conf"
        self.log = self.folder / "log"
        self.process = None
        self._make_folders()
        main = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "queue", "data_directory": self.folder / "data",
            "daemon_directory": "/usr/lib/postfix/sbin", "command_directory": "/usr/sbin",
            "shlib_directory": "/usr/lib/postfix", "mail_owner": "postfix",
            "setgid_group": "postdrop", "maillog_file": self.log,
            "maillog_file_prefixes": self.folder, "myhostname": f"{name}.lab.test",
            "mydestination": "", "alias_maps": "", "local_recipient_maps": "",
            "smtpd_peername_lookup": "no", "message_size_limit": "52428800",
            "mailbox_size_limit": "0", "biff": "no", **settings,
        }
        text = "".join(f"{key} = {value}\n" for key, value in main.items())
        (self.conf / "main.cf").write_text(text)
        (self.conf / "master.cf").write_text(SERVICES + services)

    def _make_folders(self):
        owner = pwd.getpwnam("postfix").pw_uid
        drop = grp.getgrnam("postdrop").gr_gid
        self.folder.mkdir(mode=0o755)
        for path, mode, uid, gid in (
                [("conf", 0o755, 0, 0), ("data", 0o700, owner, -1), ("queue", 0o755, 0, 0),
                 ("queue/pid", 0o755, 0, 0), ("queue/maildrop", 0o730, owner, drop),
                 ("queue/public", 0o710, owner, drop)]
                + [(f"queue/{name}", 0o700, owner, -1) for name in QUEUE]):
            (self.folder / path).mkdir()
            os.chown(self.folder / path, uid, gid)
            (self.folder / path).chmod(mode)

    def start(self, resolv_conf):
        self.process = self.lab.start(self.space, MASTER, "-c", str(self.conf), "-d",
                                      resolver=resolv_conf, log=self.folder / "master.log")

    def wait(self):
        wait_for(lambda: "daemon started" in self.read_log(), f"Postfix {self.name}", 60)

    def read_log(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, *words):
        """Log lines that hold all of these words."""
        return [line for line in self.read_log().splitlines() if all(w in line for w in words)]

    def queue_id(self, message_id, seconds=30):
        def find():
            for line in self.lines(f"message-id={message_id}"):
                return re.search(r"cleanup\[\d+\]: (\w+):", line).group(1)
            return None

        return wait_for(find, f"{message_id} in the log of Postfix {self.name}", seconds)

    def send(self, recipient, message, sender="sender@client.test"):
        """Hand a message to sendmail(1)."""
        self.lab.in_space(self.space, "sendmail", "-C", str(self.conf), "-i", "-f", sender, "--",
                          recipient, stdin=None, input=message)

    def outcome(self, message_id, seconds=60):
        """The log line with the first status of that message: "… status=sent (250 …)"."""
        queue_id = self.queue_id(message_id, seconds)
        found = wait_for(lambda: self.lines(f" {queue_id}: ", " status="),
                         f"an outcome of {message_id}", seconds)
        return found[0]

    def stop(self):
        self.lab.stop(self.process, signal.SIGTERM)


def client(lab, family, ca):
    """An MTA as it comes: opportunistic TLS, no MTA-STS. It thinks every host is its neighbour's. To
    domains named encrypt-…, verify-… it sends at that security level."""
    services = "".join(f"{level} unix - - n - - smtp -o smtp_tls_security_level={level}\n"
                       for level in ("encrypt", "verify"))
    return Postfix(lab, "client", "client", {
        "transport_maps": "regexp:{ {/@encrypt-/ encrypt:}, {/@verify-/ verify:} }",
        "smtp_tls_CAfile": ca,
        "inet_interfaces": "loopback-only", "inet_protocols": f"ipv{family}",
        "mynetworks": "127.0.0.0/8 [::1]/128", "smtp_tls_security_level": "may",
        "smtp_dns_support_level": "enabled", "minimal_backoff_time": "1000s",
        "queue_run_delay": "1000s", "smtp_connect_timeout": "10s", "disable_vrfy_command": "yes",
    }, services)


def mx(lab, sites, certificates):
    """One MTA that is the MX of all these sites, each on its own address with its own certificate."""
    box = lab.folder / "mailbox"
    box.mkdir(mode=0o700)
    os.chown(box, 65534, 65534)
    services = ""
    for site in sites:
        pem = certificates[site]
        versions = f" -o smtpd_tls_protocols=<={site.newest}" if site.newest else ""
        for family in (4, 6):
            address = site.address(family)
            where = f"[{address}]" if family == 6 else address
            services += (f"{where}:25 inet n - n - - smtpd -o smtpd_tls_chain_files={pem}"
                         f" -o myhostname={site.mx}{versions}\n")
    # Submission, as a site's own server has it, which signs: opendkim is started by who needs it.
    services += (f"587 inet n - n - - smtpd -o smtpd_milters=inet:127.0.0.1:{MILTER_PORT}"
                 " -o milter_default_action=tempfail\n")
    return Postfix(lab, "mx", "mx", {
        "inet_interfaces": "all", "inet_protocols": "all", "mynetworks": "127.0.0.0/8",
        "virtual_mailbox_domains": " ".join(sorted(site.domain for site in sites)),
        "virtual_mailbox_base": lab.folder, "virtual_mailbox_maps": "static:mailbox/",
        "virtual_uid_maps": "static:65534", "virtual_gid_maps": "static:65534",
        "virtual_mailbox_limit": "0", "virtual_minimum_uid": "100",
        "smtpd_tls_security_level": "may", "smtpd_tls_loglevel": "1",
        "smtpd_tls_received_header": "yes",
        "smtpd_recipient_restrictions": "reject_unauth_destination",
    }, services)


def mailbox(lab):
    """Contents of all mails that the real MX has delivered."""
    folder = lab.folder / "mailbox" / "new"
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []
