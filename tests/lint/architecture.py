#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md and the tree agree: what it names in `code` (files by the end of their path, folders, functions) is there, and
each folder with C, and each suite, is named."""
import fnmatch
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import C_FOLDERS, main, read, tracked_files  # noqa: E402

PAGE = "docs/architecture.md"
FILE = re.compile(r"[\w./*-]+\.(?:c|h|def|py|js|jsx|mjs|md)$")
CALL = re.compile(r"(\w+)\(\)$")


def is_there(word, files, folders, code):
    call = CALL.match(word)
    if call:
        return re.search(rf"\b{call.group(1)}\(", code)
    if word.endswith("/"):
        return any(f == word[:-1] or f.endswith("/" + word[:-1]) for f in folders)
    return any(fnmatch.fnmatch(f, word) or fnmatch.fnmatch(f, "*/" + word) for f in files)


def check(root):
    text, files = read(root, PAGE), [f for f in tracked_files(root) if not f.startswith("tests/lint/bad/")]
    folders = {f[:i] for f in files for i, c in enumerate(f) if c == "/"}
    code = "\n".join(read(root, f) for f in files if f.endswith((".c", ".h")))
    for line, words in enumerate(text.split("\n"), 1):
        for word in re.findall(r"`([^`]+)`", words):
            if (word.endswith("/") or FILE.match(word) or CALL.match(word)) and not is_there(word, files, folders, code):
                yield f"{PAGE}:{line}: there is no {word}"
    for folder in sorted({os.path.dirname(f) for f in files if f.endswith(".c") and f.split("/")[0] in C_FOLDERS}):
        last = folder.split("/")[-1]
        if not folder.startswith("tests/") and last != "examples" and not re.search(rf"`[^`]*\b{re.escape(last)}/", text):
            yield f"{PAGE}:1: {folder}/ is not named"
    suites = re.search(r"a folder for each suite: `([^`]*)`", text)
    there = {f.split("/")[1] for f in files if f.startswith("tests/") and f.count("/") > 1}
    for suite in sorted(there ^ set(suites.group(1).split() if suites else ())):
        yield f"{PAGE}:1: the suites that it names and the folders of tests/ differ: {suite}"


if __name__ == "__main__":
    main(check, "the architecture's page")
