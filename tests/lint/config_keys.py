#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A configuration key does something: what a schema row fills is read by code that is not the row. That each row is in
stile.yaml(5) is held by tests/admin/check.py, which compares the page with what the program prints."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import code_only, main, our_files, read  # noqa: E402

ROW = re.compile(r'\{\s*\.name = "([^"]+)"(.*?)(?=\{\s*\.name = "|\n\};)', re.S)
MEMBER = re.compile(r"\.(?:type|item) = &\w+,\s*[A-Z_]+\((?:[^(),]+,\s*)?([\w.]+)\)")


def check(root):
    rows, reads = [], set()
    for name in our_files(root, (".c", ".h")):
        if name.startswith("tests/"):
            continue
        text = read(root, name)
        for m in ROW.finditer(text):
            member = MEMBER.search(m[2])
            if member and ".sub =" not in m[2]:
                rows.append((name, text.count("\n", 0, m.start()) + 1, m[1], member[1].rsplit(".", 1)[-1]))
        reads |= set(re.findall(r"(?:->|(?<=[\w)\]])\.)(\w+)\b(?!\s*=[^=])", code_only(text)))
    for name, line, key, member in rows:
        if member not in reads:
            yield f"{name}:{line}: the key {key} fills {member}, which nothing reads"


if __name__ == "__main__":
    main(check, "config_keys")
