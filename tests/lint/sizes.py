#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small, with a hard tail: a function of C, Python or the pages has at most 80 lines, of C at most 6 parameters, a file at most 600 lines
(1200 in tests/, where a file is a list of conversations).

An exception is a line in tests/lint/size-exceptions.txt, "path  reason" or "path:function  reason";
one that is no longer needed is a complaint too, so the list cannot rot."""
import ast
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import functions, main, our_files, read  # noqa: E402

MAX_FUNCTION_LINES = 80
MAX_PARAMETERS = 6
MAX_FILE_LINES = 600
MAX_TEST_LINES = 1200
EXCEPTIONS = "tests/lint/size-exceptions.txt"


def exceptions(root):
    """{name: reason}, and the complaints about lines without a reason."""
    rows, bad = {}, []
    if os.path.isfile(os.path.join(root, EXCEPTIONS)):
        for n, line in enumerate(read(root, EXCEPTIONS).splitlines(), 1):
            fields = line.split(None, 1)
            if not fields or line.startswith("#"):
                continue
            if len(fields) < 2:
                bad.append(f"{EXCEPTIONS}:{n}: {fields[0]} is excepted without a reason")
            rows[fields[0]] = n
    return rows, bad


def long_python(name, text):
    for f in ast.walk(ast.parse(text)):
        if isinstance(f, ast.FunctionDef) and f.end_lineno - f.lineno >= MAX_FUNCTION_LINES:
            yield f"{name}:{f.name}", f"{name}:{f.lineno}: {f.name}() has {f.end_lineno - f.lineno + 1} lines; at most {MAX_FUNCTION_LINES}"


# What begins at the margin and ends with a brace there: the pages are laid out so, and what is nested counts to it.
SCRIPT_FUNCTION = re.compile(r"^(?:export )?(?:default )?(?:async )?(?:function\*? (\w+)\(|const (\w+) = [^\n]*=> \{$)(.*?)^\}", re.M | re.S)


def long_script(name, text):
    for m in SCRIPT_FUNCTION.finditer(text):
        lines, what = m[0].count("\n") + 1, m[1] or m[2]
        if lines > MAX_FUNCTION_LINES:
            at = text.count("\n", 0, m.start()) + 1
            yield f"{name}:{what}", f"{name}:{at}: {what}() has {lines} lines; at most {MAX_FUNCTION_LINES}"


def too_big(root):
    """(key of the exception list, complaint) of everything over a limit."""
    for name in our_files(root, (".c", ".h", ".def", ".py", ".sh", ".js", ".jsx", ".mjs")):
        text = read(root, name)
        lines = text.count("\n")
        most = MAX_TEST_LINES if name.startswith("tests/") else MAX_FILE_LINES
        if lines > most:
            yield name, f"{name}:1: {lines} lines; a file has at most {most}"
        if name.endswith(".py"):
            yield from long_python(name, text)
        if name.endswith((".js", ".jsx", ".mjs")):
            yield from long_script(name, text)
        if not name.endswith((".c", ".h")):
            continue
        for f in functions(text):
            key = f"{name}:{f.name}"
            if f.lines > MAX_FUNCTION_LINES:
                yield key, f"{name}:{f.line}: {f.name}() has {f.lines} lines; at most {MAX_FUNCTION_LINES}"
            if f.params > MAX_PARAMETERS:
                yield key, f"{name}:{f.line}: {f.name}() has {f.params} parameters; at most " \
                           f"{MAX_PARAMETERS}, then a struct"


def check(root):
    allowed, bad = exceptions(root)
    yield from bad
    used = set()
    for key, complaint in too_big(root):
        if key in allowed:
            used.add(key)
        else:
            yield complaint
    for key in sorted(set(allowed) - used):
        yield f"{EXCEPTIONS}:{allowed[key]}: {key} is within the limits; drop the exception"


if __name__ == "__main__":
    main(check, "size limits")
