#!/usr/bin/env python3
"""Holds tests/conformance.tsv and tests/faults.tsv against the tests: conformance.py

Every requirement and every fault stands in its list once; a test that is named exists and names the
row, or the row names a case of it (PATH:CASE); what has no test says why it is not built. The last
line of each list counts."""

import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
STATUSES = ("met", "partly", "not-built")
# What the list has to hold: prefix, first and last number; gaps are numbers that nobody gave.
RANGES = (("CHNK", 1, 14), ("DANE", 1, 10), ("DANE", 12, 38), ("DANE", 40, 48), ("EXT", 1, 9),
          ("PIPE", 1, 14), ("PRX", 1, 54), ("REP", 1, 7), ("REP", 10, 14),
          ("REP", 20, 24), ("REP", 30, 35), ("REP", 40, 65), ("RPT", 1, 11), ("RPT", 20, 35),
          ("RPT", 40, 42), ("RPT", 50, 81), ("RPT", 90, 93), ("RTLS", 1, 8), ("SMTP", 1, 16),
          ("SMTP", 20, 28), ("SMTP", 30, 47), ("SMTP", 50, 54), ("STS", 1, 13), ("STS", 20, 36),
          ("STS", 40, 51), ("STS", 60, 73), ("STS", 80, 92), ("STS", 100, 109),
          ("STS", 120, 122), ("TLS", 1, 15), ("TLS", 20, 28), ("TLS", 30, 33), ("TLS", 40, 47))
# The cases with an expected outcome.
CASES = (("TC-CACHE", 1, 26), ("TC-DANE", 1, 42), ("TC-GW", 1, 27), ("TC-HTTP", 1, 24),
         ("TC-MX", 1, 17), ("TC-OPS", 1, 10), ("TC-POL", 1, 37), ("TC-PREC", 1, 12),
         ("TC-REQ", 1, 5), ("TC-RPT", 1, 29), ("TC-TLS", 1, 27), ("TC-TXT", 1, 30))
# The catalogue of faults: group and how many it has.
GROUPS = (("A", 17), ("B", 29), ("C", 22), ("D", 15), ("E", 22), ("F", 25), ("G", 19), ("H", 12))


def requirements():
    return {f"{prefix}-{n:0{digits}}" for ranges, digits in ((RANGES, 3), (CASES, 2))
            for prefix, first, last in ranges for n in range(first, last + 1)}


def faults():
    return {f"{group}{n}" for group, count in GROUPS for n in range(1, count + 1)}


def names(path, identifier):
    """Does the test's text name the row?"""
    return re.search(rf"(?<!\w){re.escape(identifier)}(?!\d)", path.read_text()) is not None


def test_complaint(identifier, test):
    """What is wrong with one test that a row names; None: nothing."""
    name, _, case = test.partition(":")
    path = TESTS / name
    if not path.is_file():
        return f"no test {name}"
    if case and case not in path.read_text():
        return f"{name} has no case {case!r}"
    if not case and not names(path, identifier):
        return f"{name} does not name it"
    return None


class List:
    """One file: what it has to hold, and how its rows are made up."""

    def __init__(self, file, expected, fields, separator):
        self.file, self.expected = file, expected
        self.fields, self.separator = fields, separator
        text = (TESTS / file).read_text().splitlines()
        self.rows = [(n, line.split("\t")) for n, line in enumerate(text, 1)
                     if line and not line.startswith("#")]

    def complaints(self):
        seen = set()
        for number, values in self.rows:
            if len(values) != len(self.fields):
                yield f"{number}: {len(values)} fields, not {len(self.fields)}"
                continue
            row = dict(zip(self.fields, values))
            if row["id"] in seen:
                yield f"{number}: {row['id']} a second time"
            seen.add(row["id"])
            yield from (f"{number}: {row['id']}: {what}" for what in self._row_complaints(row))
        yield from (f"{identifier} is missing" for identifier in sorted(self.expected - seen))

    def _row_complaints(self, row):
        if row["status"] not in STATUSES:
            yield f"status {row['status']!r}"
        if row["status"] != "met" and not row["note"]:
            yield f"is {row['status']}, and no note says why"
        if row["status"] != "not-built" and not row["tests"]:
            yield "has no test"
        for test in filter(None, row["tests"].split(self.separator)):
            complaint = test_complaint(row["id"], test)
            if complaint:
                yield complaint

    def summary(self):
        statuses = [values[self.fields.index("status")] for _, values in self.rows]
        return ", ".join(f"{statuses.count(status)} {status}" for status in STATUSES)


def main():
    lists = (List("conformance.tsv", requirements(), ("id", "level", "status", "tests", "note"), " "),
             List("faults.tsv", faults(),
                  ("id", "condition", "status", "tests", "outcome", "note"), " | "))
    found = [f"tests/{one.file}:{line}" for one in lists for line in one.complaints()]
    print("".join(f"{line}\n" for line in found), end="")
    for one in lists:
        print(f"{one.file.split('.')[0]}: {one.summary()}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
