#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A C file begins with its SPDX line and an essay of 3 to 15 lines: what it is, what it is not, the
RFC clause, who owns what. The names of a test file's cases are sentences already: one line will do there.
Scripts, modules of the pages and files of the build carry the SPDX line among their first three lines."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, our_files, read, tracked_files  # noqa: E402

SPDX = "SPDX-License-Identifier: Apache-2.0"
MIN_LINES, MAX_LINES = 3, 15
FILLER = re.compile(r"(?m)^\W*to be written\b|\b(?:TODO|FIXME|XXX)\b", re.I)


def essay(text):
    """Lines of the comment that follows the SPDX line, or None if there is none."""
    m = re.match(r"/\*.*?\*/\s*\n/\*(.*?)\*/", text, re.S)
    if not m:
        return None
    return [line for line in m.group(1).splitlines() if line.strip(" \t*")]


def check_c(name, text):
    if text.split("\n", 1)[0] != f"/* {SPDX} */":
        return f"{name}:1: the first line is not /* {SPDX} */"
    lines = essay(text)
    if lines is None:
        return f"{name}:2: no essay follows the SPDX line"
    if FILLER.search("\n".join(lines)):
        return f"{name}:2: the essay says that the file is unfinished"
    fewest = 1 if name.startswith("tests/") else MIN_LINES
    if not fewest <= len(lines) <= MAX_LINES:
        return f"{name}:2: an essay of {len(lines)} line(s); {fewest} to {MAX_LINES} are asked for"
    return None


def is_script(root, name):
    if name.endswith((".py", ".sh", ".js", ".jsx", ".mjs", ".css", "meson.build", "meson_options.txt")):
        return True
    with open(os.path.join(root, name), "rb") as f:
        return f.read(2) == b"#!"


def check(root):
    for name in our_files(root, (".c", ".h")):
        why = check_c(name, read(root, name))
        if why:
            yield why
    for name in tracked_files(root):
        if name.startswith("tests/lint/bad/") or not is_script(root, name):
            continue
        if not any(SPDX in line for line in read(root, name).splitlines()[:3]):
            yield f"{name}:1: no SPDX line among the first three"


if __name__ == "__main__":
    main(check, "SPDX and essays")
