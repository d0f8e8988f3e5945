#!/usr/bin/env python3
"""Runs the lab's cases: run.py [--filter X] [--list] [--core] [--long] [--seed N] --build DIR

One line per case: ok, FAIL or skip, its name, its seconds. The last line counts them; the exit status
is 1 when one failed. One lab is brought up per way of interception and family, and shared."""

import argparse
import pathlib
import re
import shutil
import signal
import sys
import time
import traceback

import cases_appliance
import cases_blackbox
import cases_check
import cases_client
import cases_dane
import cases_dane_dns
import cases_delivery
import cases_extensions
import cases_gateway
import cases_faults
import cases_followed
import cases_huge
import cases_identity
import cases_interop
import cases_lifecycle
import cases_loss
import cases_policy
import cases_postfix
import cases_proof
import cases_rare
import cases_records
import cases_report
import cases_report_mail
import cases_resolver
import cases_seal
import cases_session
import cases_smtp
import cases_status
import cases_summary
import cases_tls
import cases_zones
import certs
import dns
import gateway
import lab
import postfix
import web
import world
from case import Trial

MODULES = (cases_delivery, cases_policy, cases_identity, cases_faults, cases_smtp, cases_postfix,
           cases_proof, cases_session, cases_zones, cases_tls, cases_extensions, cases_gateway,
           cases_client, cases_records, cases_report, cases_report_mail, cases_dane, cases_dane_dns,
           cases_huge, cases_interop, cases_loss, cases_rare, cases_seal,
           cases_appliance, cases_check, cases_status, cases_blackbox, cases_summary,
           cases_followed, cases_resolver, cases_lifecycle)
CONFIGURATIONS = [("direct", 4), ("direct", 6), ("tproxy", 4), ("tproxy", 6), ("redirect", 4),
                  ("redirect", 6)]
CASE_SECONDS, LONG_CASE_SECONDS = 120, 3600


class CaseTimeout(Exception):
    """A case that did not end by itself."""


def all_cases():
    return [value for module in MODULES for value in vars(module).values()
            if callable(value) and hasattr(value, "core")]


def all_sites(cases):
    """In order, and a site that others share before them."""
    found = []
    for one in cases:
        for site in one.sites:
            for other in filter(None, (site.shares, site.backup, site)):
                if other not in found:
                    found.append(other)
    return found


class Materials:
    """Keys, certificates and zones: made once, used by each lab of the run."""

    def __init__(self, folder, sites):
        self.sites = sites
        self.certificates = certs.Certificates(folder / "certs")
        self.pairs = {site: self._pair(site) for site in sites if site.cert}
        self.zones = dns.Zones(folder / "zones", sites, self.certificates, self.pairs)
        self.web_pair = self.certificates.make(
            "web", [name for site in sites if site.policy
                    for name in [f"mta-sts.{site.domain}", *site.web_names]])
        self.chains = {site: self.certificates.chain_file(f"{site.name}.chain", [site.mx],
                                                          site.cert)
                       for site in sites if site.postfix}

    def _pair(self, site):
        hosts = [site.mx] if site.cert != "wildcard" else ["*." + site.mx.split(".", 1)[1]]
        return self.certificates.make(site.name, hosts, site.cert)


class World:
    """Everything that is up for one configuration. Use as a context manager."""

    def __init__(self, materials, folder, intercept, family, options):
        self.lab = lab.Lab(f"{intercept}{family}", folder)
        self.materials, self.intercept, self.family = materials, intercept, family
        self.build, self.long, self.seed = options.build, options.long, options.seed
        self.certificates, self.pairs = materials.certificates, materials.pairs
        self.gateway = self.web = self.dns = self.postfix_client = self.postfix_mx = None

    def __enter__(self):
        self.lab.__enter__()
        try:
            self._bring_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _bring_up(self):
        real = [site for site in self.materials.sites if site.postfix]
        self.dns = dns.NameServer(self.lab, self.materials.zones)
        self.web = web.PolicyHosts(self.lab, self.materials.sites, self.materials.web_pair)
        self.postfix_mx = postfix.mx(self.lab, real, self.materials.chains)
        self.postfix_client = postfix.client(self.lab, self.family, self.certificates.ca)
        self.postfix_mx.start(self.dns.resolv_conf)
        self.postfix_client.start(self.dns.resolv_conf)
        self.dns.wait()
        self.web.wait()
        if self.intercept != "direct":
            self.gateway = gateway.Gateway(self.lab, self.build, self.intercept,
                                           self.certificates, self.materials.zones)
            self.gateway.start()
        self.postfix_mx.wait()
        self.postfix_client.wait()

    def __exit__(self, *exc):
        try:
            if self.gateway and self.gateway.process:
                self.gateway.stop()
            if self.web:
                self.web.close()
        finally:
            self.lab.close()


class Report:
    """Counts, and one line per case."""

    def __init__(self, keep):
        self.passed = self.failed = self.skipped = 0
        self.keep = keep

    def line(self, word, name, text):
        print(f"{word:<4} {name} {text}", flush=True)

    def skip(self, names, reason):
        for name in names:
            self.skipped += 1
            self.line("skip", name, f"({reason})")

    def fail(self, name, why, seconds=0.0):
        self.failed += 1
        self.line("FAIL", name, f"({seconds:.2f} s)")
        print("     " + why.rstrip().replace("\n", "\n     "), flush=True)

    def total(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)


def run_case(one, name, world_up, report):
    begun = time.monotonic()
    trial = Trial(world_up)
    signal.alarm(LONG_CASE_SECONDS if world_up.long else CASE_SECONDS)
    try:
        one(trial, *one.sites)
        signal.alarm(0)
        report.passed += 1
        report.line("ok", name, f"({time.monotonic() - begun:.2f} s)")
    except (Exception, CaseTimeout) as error:  # a case may fail in any way; the others go on
        signal.alarm(0)
        why = f"{type(error).__name__}: {error}\n" + "".join(
            traceback.format_tb(error.__traceback__)[-3:]) + trial.account()
        if world_up.gateway:
            why += "gateway's log:\n" + world_up.gateway.tail()
        report.fail(name, why, time.monotonic() - begun)
    finally:
        trial.close()


def run_configuration(intercept, family, chosen, materials, folder, options, report):
    names = [f"{intercept}/{family} {one.title}" for one in chosen]
    try:
        with World(materials, folder, intercept, family, options) as world_up:
            for one, name in zip(chosen, names):
                run_case(one, name, world_up, report)
            if world_up.gateway:
                check_records(f"{intercept}/{family} records-are-judged-again", world_up, report)
                check_end(f"{intercept}/{family} gateway-ends-cleanly", world_up, report)
    except Exception:  # the lab did not come up, or broke
        report.fail(f"{intercept}/{family} lab", traceback.format_exc(limit=-3))
    finally:
        if report.keep:
            shutil.copytree(folder / f"{intercept}{family}", report.keep / f"{intercept}{family}",
                            dirs_exist_ok=True, ignore=shutil.ignore_patterns("queue", "data"))


def check_records(name, world_up, report):
    """TC-OPS-06: every verdict of the run comes out of its record again. One of them may rest on
    a list longer than a record has room for (cases_blackbox)."""
    done = world_up.gateway.command("log", "--rejudge", str(world_up.gateway.record_file))
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode == 0 and re.search(r" 0 different, [01] cut, 0 not to be read$", last):
        report.passed += 1
        report.line("ok", name, f"({last})")
    else:
        report.fail(name, done.stdout[-4000:] + done.stderr[-1000:])


def check_end(name, world_up, report):
    """SIGTERM ends the gateway with status 0, and no sanitizer has spoken."""
    status = world_up.gateway.stop()
    text = world_up.gateway.read_log()
    spoken = [line for line in text.splitlines()
              if "Sanitizer" in line or "runtime error:" in line]
    if status == 0 and not spoken:
        report.passed += 1
        report.line("ok", name, "")
    else:
        report.fail(name, f"exit status {status}\n" + "\n".join(spoken))


def wanted(one, intercept, family, options):
    if one.direct != (intercept == "direct"):
        return False
    if one.only and one.only != f"{intercept}/{family}":
        return False
    if options.core and not (one.core and (intercept, family) in
                             (("tproxy", 4), ("redirect", 6))):
        return False
    name = f"{intercept}/{family} {one.title}"
    return any(part in name for part in options.filter.split(","))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="where stsgate was built")
    parser.add_argument("--filter", default="", help="only cases whose name holds this, or one of several: A,B")
    parser.add_argument("--core", action="store_true", help="only the core cases")
    parser.add_argument("--long", action="store_true",
                        help="cases that repeat something do it often enough to prove it")
    parser.add_argument("--seed", type=int, help="for cases that throw dice; else they choose one")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--keep", type=pathlib.Path, help="copy logs and records here")
    return parser.parse_args()


def on_signal(number, _frame):
    if number == signal.SIGALRM:
        raise CaseTimeout("not over in the time that a case has")
    sys.exit(128 + number)


def main():
    options = arguments()
    cases = all_cases()
    plan = [(i, f, [c for c in cases if wanted(c, i, f, options)]) for i, f in CONFIGURATIONS]
    plan = [(i, f, chosen) for i, f, chosen in plan if chosen]
    if options.list:
        for intercept, family, chosen in plan:
            for one in chosen:
                print(f"{intercept}/{family} {one.title}")
        return 0
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    report = Report(options.keep)
    reason = lab.why_not_here()
    if reason:
        report.skip([f"{i}/{f} {c.title}" for i, f, chosen in plan for c in chosen], reason)
    else:
        run_all(plan, cases, options, report)
    report.total()
    return 1 if report.failed else 0


def run_all(plan, cases, options, report):
    folder = lab.run_folder()
    try:
        sites = all_sites(cases)
        world.number_sites(sites)
        materials = Materials(folder, sites)
        for intercept, family, chosen in plan:
            run_configuration(intercept, family, chosen, materials, folder, options, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
