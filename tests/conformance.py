#!/usr/bin/env python3
"""Holds tests/conformance.tsv against the tests: conformance.py [--summary]

Every requirement of the list stands there once; a test that is named exists and names the requirement;
a MUST without a test is an error unless the note says why it is not built. The last line counts."""

import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
STATUSES = ("met", "partly", "not-built")
# What the list has to hold: prefix, first and last number; gaps are numbers that nobody gave.
RANGES = (("STS", 1, 13), ("STS", 20, 36), ("STS", 40, 51), ("STS", 60, 73), ("STS", 80, 92),
          ("STS", 100, 109), ("STS", 120, 122), ("PRX", 16, 30), ("PRX", 41, 42), ("PRX", 45, 45),
          ("PRX", 50, 51), ("PRX", 53, 53), ("PRX", 14, 14), ("PRX", 32, 32), ("PRX", 36, 36),
          ("PIPE", 1, 14), ("CHNK", 1, 14), ("EXT", 1, 7), ("EXT", 9, 9), ("SMTP", 1, 16),
          ("SMTP", 20, 28), ("SMTP", 30, 47), ("SMTP", 50, 54),
          ("PRX", 13, 13), ("PRX", 15, 15), ("PRX", 31, 38), ("PRX", 46, 46), ("TLS", 10, 13),
          ("TLS", 30, 33), ("RTLS", 1, 7), ("EXT", 8, 8), ("REP", 1, 7), ("REP", 10, 14),
          ("REP", 20, 24), ("REP", 30, 35), ("REP", 40, 65),
          ("TLS", 20, 28), ("TLS", 40, 47),
          ("DANE", 1, 10), ("DANE", 12, 38), ("DANE", 40, 48))


def expected():
    return {f"{prefix}-{n:03}" for prefix, first, last in RANGES for n in range(first, last + 1)}


def names(path, requirement):
    """Does the test's text name the requirement?"""
    return re.search(re.escape(requirement) + r"(?!\d)", path.read_text()) is not None


def complaints(rows):
    seen = set()
    for number, row in rows:
        fields = row.split("\t")
        if len(fields) != 5:
            yield f"{number}: {len(fields)} fields, not 5"
            continue
        requirement, level, status, tests, note = fields
        if requirement in seen:
            yield f"{number}: {requirement} a second time"
        seen.add(requirement)
        if status not in STATUSES:
            yield f"{number}: {requirement}: status {status!r}"
        if status != "met" and not note:
            yield f"{number}: {requirement} is {status}, and no note says why"
        if status != "not-built" and not tests:
            yield f"{number}: {requirement} ({level}) has no test"
        for name in tests.split():
            path = TESTS / name
            if not path.is_file():
                yield f"{number}: {requirement}: no test {name}"
            elif not names(path, requirement):
                yield f"{number}: {requirement}: {name} does not name it"
    for requirement in sorted(expected() - seen):
        yield f"{requirement} is missing"


def main():
    text = (TESTS / "conformance.tsv").read_text().splitlines()
    rows = [(n, line) for n, line in enumerate(text, 1) if line and not line.startswith("#")]
    found = list(complaints(rows))
    for line in found:
        print(f"tests/conformance.tsv:{line}")
    count = {status: sum(row.split("\t")[2] == status for _, row in rows) for status in STATUSES}
    print("conformance: " + ", ".join(f"{count[s]} {s}" for s in STATUSES))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
