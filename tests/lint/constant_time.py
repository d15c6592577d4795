#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a stranger may not guess piece by piece (MACs, tickets, tokens, cookies, nonces, passwords) is compared by
bytes_equal_ct() alone: memcmp and its kind stop at the first byte that differs, and how long they took tells where.
Advisory: compare time. The names are what is looked at, so such a thing must be named as what it is."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import code_only, main, our_files, read  # noqa: E402

CALL = re.compile(r"\b(memcmp|bcmp|strn?cmp|strn?casecmp|text_eq|text_eq_case)\s*\(")
SECRET = re.compile(r"\b\w*(?:hmac|_mac|mac_|integrity|ticket|token|cookie|nonce|password|secret|digest)\w*\b|\bmac\b", re.I)
PUBLIC = re.compile(r"\b(?:COOKIE|\w+_id|\w*_len|\w*_n|\w+_LEN|MAGIC_COOKIE)\b")  # the magic cookie and lengths are no secrets
FOLDERS = ("common/", "stun/", "turn/", "tunnel/", "sip-proxy/", "console/", "gateway/")


def arguments(code, start):
    """The text between the parentheses that opens at start."""
    depth = 0
    for i in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            return code[start + 1:i]
    return code[start + 1:]


def check(root):
    for name in our_files(root, (".c", ".h")):
        if not name.startswith(FOLDERS):
            continue
        code = code_only(read(root, name))
        for m in CALL.finditer(code):
            inside = arguments(code, m.end() - 1)
            if '"' in inside:  # with a word of ours, which is no secret
                continue
            secret = SECRET.search(PUBLIC.sub("", inside))
            if secret:
                line = code.count("\n", 0, m.start()) + 1
                yield f"{name}:{line}: {secret.group(0)} is compared by {m.group(1)}; use bytes_equal_ct"


if __name__ == "__main__":
    main(check, "comparisons of secrets")
