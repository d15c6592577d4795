#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every test that docs/security-regressions.md names exists, and says in the comment above it (in Python: in the
file) which advisory it is for: "Advisory: CVE-2020-26262, embedded IPv4". And the other way round: what such a
comment names has a row."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, our_files, read  # noqa: E402

PAGE = "docs/security-regressions.md"
COMMENT_LINES = 12  # the longest distance of a comment's first line from its test
MENTION = re.compile(r"Advisory: ([^.*\n]+)")


def rows(root):
    """(line, advisory, [(file, [tests])])."""
    for n, line in enumerate(read(root, PAGE).splitlines(), 1):
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 3 or cells[0] in ("advisory", "---"):
            continue
        held = []
        for part in cells[2].split(";"):
            found = re.fullmatch(r"`([^`]+)`(.*)", part.strip())
            held.append((found.group(1), [t.strip() for t in re.split(r", (?=[a-z])", found.group(2)) if t.strip()]) if found
                        else (part.strip(), []))
        yield n, cells[0], held


def mentions(text):
    return {a.strip() for m in MENTION.findall(text) for a in m.split(",")}


def complaint(root, name, test, advisory):
    if not os.path.isfile(os.path.join(root, name)):
        return f"there is no {name}"
    text = read(root, name)
    if not name.endswith(".c"):
        if test and test not in text:
            return f"{name} has no test \"{test}\""
        return None if advisory in mentions(text) else f"{name} does not say \"Advisory: {advisory}\""
    found = re.search(rf"(?m)^static void {re.escape(test)}\(void \*\*state\)", text)
    if not test or not found or not re.search(rf"\b{re.escape(test)}\b", text[found.end():]):
        return f"{name} has no test {test}"
    above = "\n".join(text[:found.start()].splitlines()[-COMMENT_LINES:])
    comment = above[above.rfind("/*"):] if above.rstrip().endswith("*/") else ""
    return None if advisory in mentions(comment) else f"{name}: the comment of {test} does not say \"Advisory: {advisory}\""


def check(root):
    known = set()
    for n, advisory, held in rows(root):
        known.add(advisory)
        for name, tests in held:
            for test in tests or [""]:
                what = complaint(root, name, test, advisory)
                if what:
                    yield f"{PAGE}:{n}: {what}"
    if not known:
        yield f"{PAGE}:1: no row was understood"
    for name in our_files(root, (".c", ".py")):
        if name.startswith("tests/") and name != "tests/lint/advisories.py":
            for a in sorted(mentions(read(root, name)) - known):
                yield f"{name}:1: \"Advisory: {a}\" has no row in {PAGE}"


if __name__ == "__main__":
    main(check, "advisories")
