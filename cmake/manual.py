#!/usr/bin/env python3
"""A manual page out of a document: manual.py DOCUMENT 'NAME(SECTION)' VERSION WHATIS SYNOPSIS [SEE...]

Writes man(7) to standard output; an empty SYNOPSIS is left out. Of Markdown it knows what docs/ uses where pages are made of it:
headings, paragraphs, tables, bullets, fenced and indented examples; `code`, **bold**, links. The text
below the title is the page's DESCRIPTION. In a table whose columns are key, type, unit and meaning
type and unit stand in brackets behind the key; of any other the last column tells of the first."""

import pathlib
import re
import sys

ASCII = str.maketrans({"…": "...", "–": "-", "—": "-", "→": "->", "×": "x", "≤": "<="})


def escape(text):
    return text.replace("\\", "\\e").replace("-", "\\-")


def inline(text):
    """One paragraph's words, with code and what is bold in bold type."""
    def code(match):
        return "\\fB" + escape(match[2].replace("\\|", "|").strip()) + "\\fR"

    def link(match):
        return f"{match[1]} ({match[2]})" if match[2].startswith("http") else match[1]

    text = re.sub(r"\[([^]]+)\]\(([^)]+)\)", link, text.translate(ASCII))
    parts = re.split(r"(``? ?[^`]+``?)", text)
    words = "".join(re.sub(r"(``?)([^`]+)\1", code, part) if part.startswith("`") else
                    re.sub(r"\*([^*]+)\*", r"\\fI\1\\fR",
                           re.sub(r"\*\*([^*]+)\*\*", r"\\fB\1\\fR", escape(part.replace("\\|", "|"))))
                    for part in parts)
    return re.sub(r"^([.'])", r"\\&\1", words)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def table(lines):
    head, _, *rows = map(cells, lines)
    for row in rows:
        yield ".TP"
        if head == ["key", "type", "unit", "meaning"]:
            kind = ", ".join(filter(None, row[1:3]))
            yield f"{inline(row[0])} ({kind})"
        else:
            yield inline(row[0])
        yield inline(row[-1])


def example(lines):
    yield from (".PP", ".nf", ".RS 4")
    yield from (re.sub(r"^([.'])", r"\\&\1", escape(line.translate(ASCII))) for line in lines)
    yield from (".RE", ".fi")


def blocks(lines):
    """(kind, lines) for each block of a document."""
    at = 0

    def run(belongs):
        nonlocal at
        begun = at
        while at < len(lines) and belongs(lines[at]):
            at += 1
        return lines[begun:at]

    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("#"):
            at += 1
            yield "heading", [line]
        elif line.startswith("```"):
            at += 1
            yield "example", run(lambda l: not l.startswith("```"))
            at += 1
        elif line.startswith("    "):
            yield "example", [l[4:] for l in run(lambda l: l.startswith("    "))]
        elif line.startswith("|"):
            yield "table", run(lambda l: l.startswith("|"))
        elif line.startswith("- "):
            at += 1
            yield "bullet", [line[2:]] + [l.strip() for l in run(lambda l: l.startswith("  "))]
        else:
            yield "text", run(lambda l: l.strip() and not re.match(r"[#|]|- |```", l))


def body(lines):
    for kind, part in blocks(lines):
        if kind == "heading" and part[0].startswith("# "):
            yield ".SH DESCRIPTION"
        elif kind == "heading":
            level, title = part[0].split(" ", 1)
            title = escape(title.replace("`", "").replace('"', ""))
            yield f".SH {title.upper()}" if level == "##" else f".SS {title}"
        elif kind == "table":
            yield from table(part)
        elif kind == "example":
            yield from example(part)
        elif kind == "bullet":
            yield from (".IP \\(bu 2", inline(" ".join(part)))
        else:
            yield from (".PP", inline(" ".join(part)))


def named(text):
    return re.fullmatch(r"(.+)\((\d)\)", text).groups()


def page(document, title, version, what, synopsis, see):
    name, section = named(title)
    yield f'.\\" Made of docs/{document.name}.'
    yield f'.TH {name.upper()} {section} "" "stsgate {version}"'
    yield from (".SH NAME", f"{escape(name)} \\- {escape(what)}")
    if synopsis:
        yield from (".SH SYNOPSIS", inline(synopsis))
    yield from body(document.read_text().splitlines())
    yield ".SH SEE ALSO"
    yield " ,\n".join(f".BR {escape(other)} ({number})" for other, number in map(named, see))
    yield from (".PP", "More is told in /usr/share/doc/stsgate/.")


def main():
    document, title, version, what, synopsis, *see = sys.argv[1:]
    text = "\n".join(page(pathlib.Path(document), title, version, what, synopsis, see)) + "\n"
    text.encode("ascii")  # what a terminal of any kind can show
    # A heading says enough of the space before what follows.
    sys.stdout.write(re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.M))


if __name__ == "__main__":
    main()
