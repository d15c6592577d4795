#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every metric that a program has is explained in docs/metrics.md, and the page explains none that is gone."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, our_files, read  # noqa: E402

PAGE = "docs/metrics.md"
OTHERS = {"stile_backup"}  # words that look like one


def check(root):
    known = set(re.findall(r"`(stile_[a-z0-9_]+)`", read(root, PAGE)))
    found = {}
    for name in our_files(root, (".c", ".h", ".def")):
        if name.startswith("tests/"):
            continue
        text = read(root, name)
        for m in re.finditer(r'"(?:# HELP )?(stile_[a-z0-9_]+)["{ ]', text):
            found.setdefault(m[1], f"{name}:{text.count(chr(10), 0, m.start()) + 1}")
    for metric, at in sorted(found.items()):
        if metric not in known | OTHERS:
            yield f"{at}: {metric} is not in {PAGE}"
    for metric in sorted(known - set(found)):
        yield f"{PAGE}: no program has {metric}"


if __name__ == "__main__":
    main(check, "metrics")
