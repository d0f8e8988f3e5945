#!/usr/bin/env python3
"""The story of `./dev demo`: two mails through real Postfix, one MX that is proven, one that is not."""

import argparse
import pathlib
import re
import shutil
import signal
import sys

import lab
import world
from capture import Capture
from case import marker, message
from run import Materials, World
from world import Site

GOOD = Site("good", policy="enforce", postfix=True)
WRONG = Site("wrongcert", policy="enforce", postfix=True, cert="wrong")

PICTURE = """
   client                gateway                    MX hosts
  +-------------+       +------------------+       +------------------------------------+
  | Postfix     | clear | nftables TPROXY  |  TLS  | Postfix                            |
  | no MTA-STS  |------>| stsgate          |======>| {good:<14}  {good_mx:<18} |
  | {client:<10}  |       | worker, policy   |       | {wrong:<14}  {wrong_mx:<18} |
  +-------------+       +--------+---------+       +------------------------------------+
                                 | DNSSEC, HTTPS
                        +--------+---------+
                        | NSD: ., test.    |
                        | nginx: mta-sts.* |
                        +------------------+
"""
WHO = """
Four network namespaces on this machine, nothing outside them. Both domains publish an MTA-STS
policy in mode enforce. The certificate of mx.good.test is right; the one of mx.wrongcert.test is
from the same trusted authority, but made out to mx.somewhere-else.test.
"""


def say(text=""):
    print(text, flush=True)


def heading(text):
    say(f"\n== {text}")


def send(up, site):
    """One mail by sendmail(1); its word."""
    word = marker()
    up.postfix_client.send(f"user@{site.domain}", message(word).decode().replace("\r\n", "\n"))
    say(f"   sendmail user@{site.domain}")
    return word


def shorten(line):
    """A Postfix log line without date, host and process path."""
    return re.sub(r"^\S+ +\d+ [\d:]+ \S+ postfix/", "", line)


def print_postfix(up, words):
    """What the log of each side says of each mail."""
    for who, instance in (("client", up.postfix_client), ("MX", up.postfix_mx)):
        for site, word in words.items():
            for line in of_one_mail(instance, word):
                say(f"   {who:<6} {shorten(line)}")
            if not instance.lines(word):
                say(f"   {who:<6} nothing of the mail to {site.domain}")


def of_one_mail(instance, word):
    found = instance.lines(f"message-id=<{word}@client.test>")
    if not found:
        return []
    queue_id = instance.queue_id(f"<{word}@client.test>", 1)
    return found + instance.lines(f" {queue_id}: ", " status=")


def recipient_record(up, site):
    def find():
        return [r for r in up.gateway.records()
                if r["event"] == "recipient" and r["domain"] == site.domain]

    return lab.wait_for(find, f"the record of {site.domain}", 30)[-1]


def rules():
    """What each rule says: the table of docs/rules.md."""
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "rules.md"
    return dict(re.findall(r"^\| `([A-Z]+-\d+)` \|[^|]*\| (.+) \|$", page.read_text(), re.M))


def print_record(record):
    policy, tls = record["policy"], record["tls"]
    permitted, named = ", ".join(policy["mx"]), ", ".join(tls["san"])
    proven = "proven by its certificate" if record["mx_proven"] else "not proven"
    says = "the MX" if record["reply_by"] == "mx" else "the gateway"
    say(f"   {record['time'][:23]}Z mail to {record['domain']}: {record['outcome']}")
    say(f"      policy  MTA-STS, mode {policy['mode']}; it permits {permitted}")
    say(f"      MX      {record['mx']} at {record['destination']}; {proven}")
    trust = "from a trusted CA" if tls["chain"] == "good" else f"not good: {tls['chain']}"
    say(f"      TLS     {tls['version']}, {tls['cipher']}; a certificate {trust}, for {named}")
    say(f"      rule    {record['rule']}: {rules()[record['rule'].split()[0]]}")
    say(f"      TLSRPT  counted for the domain's report as {record['result_type']}")
    say(f"      reply   {record['reply']}  (of {says})")


def verdict_line(record):
    policy = record["policy"]
    line = (f"{record['outcome']:<10} rcpt-domain={record['domain']} mx={record['mx']} "
            f"tls={record['tls']['version']} policy={policy['type']}/{policy.get('mode')}")
    if record["outcome"] == "refused":
        return f'{line} reply="{record["reply"]}"'
    return f"{line} engine={record['engine']}"


def tell(up):
    """Runs the story; True when it went as it should."""
    heading("Who is who")
    say(PICTURE.format(client=world.CLIENT[4], good=GOOD.address(4), good_mx=GOOD.mx,
                       wrong=WRONG.address(4), wrong_mx=WRONG.mx))
    say(WHO.strip())

    heading("Two mails from the client, whose Postfix knows nothing of MTA-STS")
    capture = Capture(up.lab)
    words = {site: send(up, site) for site in (GOOD, WRONG)}
    outcomes = {site: up.postfix_client.outcome(f"<{word}@client.test>")
                for site, word in words.items()}

    heading("What both Postfixes logged")
    lab.wait_for(lambda: of_one_mail(up.postfix_mx, words[GOOD])[1:], "the MX's delivery")
    print_postfix(up, words)

    heading("What stsgate recorded (stsgate log)")
    records = {site: recipient_record(up, site) for site in words}
    for record in records.values():
        print_record(record)

    heading("What stood outside, between gateway and MX (tcpdump)")
    traffic = capture.stop()
    clear = traffic.in_clear(*(word.encode() for word in words.values()))
    say(f"   {traffic.packets} packets outside, {clear} bytes of the words that mark the messages in clear")

    heading("Verdicts")
    for record in records.values():
        say(verdict_line(record))
    return ("status=sent" in outcomes[GOOD] and "status=deferred" in outcomes[WRONG]
            and records[GOOD]["outcome"] == "delivered" and records[WRONG]["outcome"] == "refused"
            and clear == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.set_defaults(long=False, seed=None)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    reason = lab.why_not_here()
    if reason:
        say(f"The demo cannot run here: {reason}.")
        return 1
    folder = lab.run_folder()
    try:
        say("Bringing up namespaces, DNS, policy hosts, Postfix and stsgate ...")
        world.number_sites([GOOD, WRONG])
        with World(Materials(folder, [GOOD, WRONG]), folder, "tproxy", 4, options) as up:
            return 0 if tell(up) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
