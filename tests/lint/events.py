#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The relay's events: the rows of tunnel/events.c and the table of docs/reference/relay-events.md say the same."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, read  # noqa: E402

SOURCE, MESSAGES, PAGE = "tunnel/events.c", "tunnel/log_msgs.def", "docs/reference/relay-events.md"
SEVERITY = {"INFO": "info", "WARN": "warning", "ERROR": "error"}


def rows(root):
    """What the page should say: {(number, id, severity, sentence)}."""
    messages = {m[0]: m[1:] for m in re.findall(r'MSG\((\w+), "([\w.-]+)", (\w+),', read(root, MESSAGES))}
    for number, name, form in re.findall(r'\{ (\d+), &MSG_(\w+),\s*"([^"]*)" \}', read(root, SOURCE)):
        ident, level = messages[name]
        yield number, ident, SEVERITY[level], re.sub(r"%.", "…", re.sub(r"\[.*\]", "", form))


def check(root):
    if not os.path.exists(os.path.join(root, SOURCE)):
        return
    said = set(re.findall(r"(?m)^\| (\d+) \| `([\w.-]+)` \| (\w+) \| ([^|]*?) \|", read(root, PAGE)))
    meant = set(rows(root))
    if not meant:
        yield f"{SOURCE}:1: no rows were found"
    for number, ident, severity, sentence in sorted(meant - said):
        yield f"{PAGE}:1: there is no row | {number} | `{ident}` | {severity} | {sentence} |"
    for number, ident, *_ in sorted(said - meant):
        yield f"{SOURCE}:1: the page tells of {number} {ident}, and no row says the same"


if __name__ == "__main__":
    main(check, "relay events")
