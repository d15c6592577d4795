#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing secret and no package host is committed: private keys, tokens of known shape, URLs of a
package registry or mirror (lock files included: a resolved address ties the project to one host).

The words below are parts of host names on purpose; no host is named in this tree, not even here."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, read, tracked_files  # noqa: E402

HOST_LABELS = {"registry", "deb", "security-cdn", "snapshot", "npm", "npmjs", "npmmirror", "yarnpkg", "pypi",
               "pythonhosted", "crates", "proxy", "mirror", "mirrors", "artifactory", "nexus"}
PATTERNS = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("an access token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|"
                                   r"glpat-[\w-]{20,}|xox[abprs]-[\w-]{20,})\b")),
    ("a resolved download address", re.compile(r'"resolved"\s*:\s*"https?:')),
)
URL = re.compile(r"\b(?:https?|ftp)://([A-Za-z0-9.-]+\.[A-Za-z]{2,})")


def line_complaint(line):
    for what, pattern in PATTERNS:
        if pattern.search(line):
            return what
    for host in URL.findall(line):
        if set(host.lower().split(".")[:-1]) & HOST_LABELS:
            return "the address of a package host"
    return None


def check(root):
    for name in tracked_files(root):
        base = os.path.basename(name)
        if name.startswith("tests/lint/bad/"):
            continue
        if base == ".npmrc" or base.endswith((".key", ".p12", ".pfx")):
            yield f"{name}:1: a file of this kind holds secrets or hosts and is not committed"
        for n, line in enumerate(read(root, name).splitlines(), 1):
            what = line_complaint(line)
            if what:
                yield f"{name}:{n}: {what}"


if __name__ == "__main__":
    main(check, "secrets and package hosts")
