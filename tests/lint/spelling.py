#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""English that is spelt right, as far as codespell knows: all tracked text but other languages and tests of pages in them, recorded bytes and generated files.
A word that is right here and not in its list, or misspelt on purpose in a test, stands in tests/lint/words.txt."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, tracked_files  # noqa: E402

WORDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "words.txt")
SKIP = re.compile(r"^tests/(fuzz/corpus|torture|console|guides|lint/(bad|words))|/(lang|said)/([a-z_]*\.)?(de|it)\.json$|(^|/)(manual|guides)/(de|it)/|\.(de|it)\.md$"
                  r"|words\.m?js$|package-lock|^docs/glossary\.md$|\.(png|svg|woff2|ico|gz|zip|pem|key)$")


def check(root):
    names = [n for n in tracked_files(root) if not SKIP.search(n)]
    done = subprocess.run(["codespell", "-q", "3", "-I", WORDS, *names], cwd=root, capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()
    if done.returncode not in (0, 65) and not done.stdout:
        yield f"codespell failed: {done.stderr.strip()[-300:]}"


if __name__ == "__main__":
    main(check, "spelling")
