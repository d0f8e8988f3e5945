#!/usr/bin/env python3
"""Holds tests/conformance.tsv and tests/faults.tsv against the tests: conformance.py

Every requirement, case and fault stands in its list once; a test that is named exists and names the
row, or the row names a case of it (PATH:CASE); what has no test says why it is not built. The last
line of each list counts."""

import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
DOCS = TESTS.parent / "docs"
STATUSES = ("met", "partly", "not-built")
# The catalogue of faults: group and how many it has.
GROUPS = (("A", 17), ("B", 29), ("C", 22), ("D", 15), ("E", 22), ("F", 25), ("G", 19), ("H", 12))


def requirements():
    """All that docs/requirements.md and docs/testcases.md define: an item or a row that begins with it."""
    text = "".join((DOCS / name).read_text() for name in ("requirements.md", "testcases.md"))
    return set(re.findall(r"^(?:- \*\*|\| )((?:TC-)?[A-Z]+-\d+)(?:\*\*| \|)", text, re.M))


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
            if row["id"] not in self.expected:
                yield f"{number}: {row['id']} is defined nowhere"
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
