#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Python as pyflakes reads it: a name that nobody defines shows only when its line runs, and in a test that is the line of a failure.
An import that is there for others says so (noqa: F401); `import *` would hide what is looked for."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import main, read, tracked_files  # noqa: E402

FOR_OTHERS = re.compile(r"# noqa: .*F401")
FAULT = re.compile(r"(.+?):(\d+):(?:\d+:?)? (.*)")


def is_python(root, name):
    if name.startswith("tests/lint/bad/"):
        return False
    return name.endswith(".py") or ("." not in os.path.basename(name) and re.match(r"#!.*\bpython3", read(root, name)[:80]))


def check(root):
    names = [n for n in tracked_files(root) if is_python(root, n)]
    done = subprocess.run(["pyflakes3", *names], cwd=root, capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        m = FAULT.fullmatch(line)
        if not m:
            yield f"pyflakes3: {line}"
        elif "imported but unused" not in m[3] or not FOR_OTHERS.search(read(root, m[1]).splitlines()[int(m[2]) - 1]):
            yield f"{m[1]}:{m[2]}: {m[3]}"


if __name__ == "__main__":
    main(check, "scripts")
