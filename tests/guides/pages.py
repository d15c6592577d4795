# SPDX-License-Identifier: Apache-2.0
"""The guides as the tests read them: docs/guides/LANGUAGE/NN-TOPIC.md, and in them the blocks of code.

A block's first line says what it is and at which machine: "```yaml server" is /etc/stile/stile.yaml there, "```sh server" are
commands that are given there, one a line, in the order of the page. A block without a machine is only looked at: what a
program prints, a record of the DNS. Web pages and editors ignore the second word."""
import glob
import os
import re

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
LANGUAGES = ("en", "de", "it")
FENCE = re.compile(r"^```(\w*)(?: (\w+))?\n(.*?)^```$", re.M | re.S)
NOTE = re.compile(r"(?:^|\s+)#(?= |!).*$")  # a comment: in a guide's language, so it is not compared


class Block:
    def __init__(self, kind, machine, text, place):
        self.kind, self.machine, self.text, self.place = kind, machine, text, place

    def lines(self):
        """Commands, each with its comment: (command, comment, place)."""
        for i, line in enumerate(self.text.splitlines()):
            bare = NOTE.sub("", line).strip()
            if bare:
                yield bare, line[len(line.rstrip()) and line.find(bare) + len(bare):].strip(), f"{self.place[0]}:{self.place[1] + i + 1}"


class Page:
    def __init__(self, language, path):
        self.language, self.path = language, path
        self.topic = re.sub(r"^\d+-|\.md$", "", os.path.basename(path))
        with open(path, encoding="utf-8") as f:
            self.text = f.read()
        name = os.path.relpath(path, ROOT)
        self.blocks = [Block(m[1], m[2], m[3], (name, self.text.count("\n", 0, m.start()) + 1)) for m in FENCE.finditer(self.text)]

    def code(self):
        """What must be the same in every language: the blocks without comments and blank lines."""
        return [(b.kind, b.machine, [NOTE.sub("", x).rstrip() for x in b.text.splitlines() if NOTE.sub("", x).strip()])
                for b in self.blocks]


def pages(language):
    return [Page(language, p) for p in sorted(glob.glob(os.path.join(ROOT, "docs/guides", language, "*.md")))]
