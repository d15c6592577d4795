#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A function of a header that nobody calls is written, tested and read for nothing: each one that a header of ours declares is named
by something beside its declaration and its definition. A test counts, for some are there to be looked at by it."""
import collections
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import TOKEN, code_only, main, our_files, read  # noqa: E402

DECLARED = re.compile(r"^(?![ \t#])[A-Za-z_][\w \t*]*?\b(\w+)\((?:[^;{}])*\)[^;{}]*;", re.M)
INLINE = re.compile(r"^static inline [^;{}()]*?\b(\w+)\(", re.M)
WORD = re.compile(r"[A-Za-z_]\w*")
OUTSIDE = "tunnel/library/"  # whose callers are other people's programs


def check(root):
    uses, declared = collections.Counter(), []
    for name in our_files(root, (".c", ".h", ".def")):
        text = read(root, name)
        uses.update(WORD.findall(TOKEN.sub(" ", text)))  # macros call, too
        if name.endswith(".h") and not name.startswith((OUTSIDE, "tests/")):
            code = code_only(text)
            declared += [(name, code.count("\n", 0, m.start(1)) + 1, m.group(1), 2) for m in DECLARED.finditer(code)]
            declared += [(name, code.count("\n", 0, m.start(1)) + 1, m.group(1), 1) for m in INLINE.finditer(code)]
    for name, line, function, own in declared:
        if uses[function] <= own:
            yield f"{name}:{line}: nobody calls {function}()"


if __name__ == "__main__":
    main(check, "functions that nobody calls")
