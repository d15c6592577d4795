#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The log tables (<folder>/log_msgs.def): every id is well formed, unique over all programs, says
something to people, and is emitted somewhere; an error tells the administrator what to do."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, our_files, read  # noqa: E402

STRING = r'("(?:\\.|[^"\\])*"(?:\s*"(?:\\.|[^"\\])*")*)'
ROW = re.compile(r"^\s*MSG\(\s*(\w+)\s*,\s*" + STRING + r"\s*,\s*(\w+)\s*,\s*" + STRING +
                 r"\s*,\s*(NULL|" + STRING + r")\s*\)", re.M)
LEVELS = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"}
ID = re.compile(r"^[a-z][a-z0-9]*(\.[a-z0-9][a-z0-9_-]*)+$")


def rows(root):
    for name in our_files(root, ("log_msgs.def",)):
        text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), read(root, name), flags=re.S)
        seen = 0
        for m in ROW.finditer(text):
            seen += 1
            line = text.count("\n", 0, m.start(1)) + 1
            yield f"{name}:{line}", m.group(1), m.group(2).strip('"'), m.group(3), m.group(4), m.group(5)
        meant = len(re.findall(r"(?m)^\s*MSG\(", text))
        if seen != meant:
            yield f"{name}:1", None, f"{meant - seen} row(s) are not MSG(NAME, \"id\", LEVEL, \"text\", advice)", \
                  None, None, None


def row_complaints(place, name, ident, level, text, advice):
    if not ID.match(ident):
        yield f'{place}: "{ident}" is not words joined by dots in lower case'
    if level not in LEVELS:
        yield f"{place}: {level} is no level"
    if not text.strip('"').strip():
        yield f"{place}: {name} has no text"
    if level == "ERROR" and advice == "NULL":
        yield f"{place}: {name} is logged as {level} without advice for the administrator"


def check(root):
    used = set()
    for path in our_files(root, (".c", ".h")):
        if not path.startswith("tests/") and os.path.basename(path) not in ("log_msgs.c", "log_msgs.h"):
            used |= set(re.findall(r"\bMSG_(\w+)", read(root, path)))
    ids, names = {}, {}
    for place, name, ident, level, text, advice in rows(root):
        if name is None:
            yield f"{place}: {ident}"
            continue
        yield from row_complaints(place, name, ident, level, text, advice)
        for table, key in ((ids, ident), (names, name)):
            if key in table:
                yield f"{place}: {key} is already at {table[key]}"
            table[key] = place
        if name not in used:
            yield f"{place}: nothing emits MSG_{name}"


if __name__ == "__main__":
    main(check, "log ids")
