"""Verify the DKIM signatures of a mail by python3-dkim, which is a Debian package, so for the system's
Python: /usr/bin/python3 dkim_check.py KEY-RECORD < MAIL. Prints the signature's tags as JSON; ends
with 1 when it does not verify."""

import json
import sys

import dkim

raw = sys.stdin.buffer.read()
verifier = dkim.DKIM(raw, tlsrpt=True)
good = verifier.verify(dnsfunc=lambda _name, **_options: sys.argv[1].encode())
tags = {key.decode(): value.decode() for key, value in verifier.signature_fields.items()}
print(json.dumps(tags))
sys.exit(not good)
