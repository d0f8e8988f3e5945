"""What an outsider found who read the specification and not these tests."""

from case import ONCE, case, equal, fields
from world import Site

NAME_MISMATCH = ("451 4.7.5 Remote certificate MUST have a subject alternative name matching the "
                 "hostname (MTA-STS)")


@case(Site("manymx", policy="enforce", cert="wrong", patterns=["mx.manymx.test"] + ["a"] * 9_000),
      only=ONCE)
def nine_thousand_mx_lines_are_a_policy(t, site):
    """TC-POL-31: such a policy is below 64 KiB, so it is good and holds."""
    server = t.mx(site)
    peer = t.ready(site)
    equal(peer.envelope(f"user@{site.domain}")[1], NAME_MISMATCH, "RCPT")
    peer.quit()
    server.wait_idle()
    record, = t.recipients(site)
    fields(record, policy__mx_count=9_001, reply_id="REP-014")
