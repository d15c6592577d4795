#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The error catalogue, docs/reference/errors.md: every id of the log and every error code of the control protocol and the API with its
cause and what to do. It is made of the rows of *log_msgs.def, whose advice stands there, and of docs/reference/causes.txt; what warns or
fails must have both.

  tests/lint/catalogue.py --write     # after a row, a cause or a code has changed"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import log_ids  # noqa: E402
from csource import main, our_files, read  # noqa: E402

CAUSES, PAGE = "docs/reference/causes.txt", "docs/reference/errors.md"
LINE = re.compile(r"(code )?([a-z][\w.-]*): ([^|]+?)(?: \| (.+))?$")
CALL = re.compile(r"\b(?:control_fail(?:_with)?|ask_fail|restore_refuse)\(")
ELSEWHERE = re.compile(r'"code", "([a-z-]+)", "text"|\{ "([a-z-]+)", [45]\d\d \}')  # an object of its own; the codes that the tool answers with
STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
WORD = re.compile(r"[a-z]+(-[a-z]+)*$")
FAILS = re.compile(r"refused|failed")
FOLDERS = {"common": "All services", "turn": "stile-turn and stile-fastpath", "tunnel": "stile-tunnel, its relay, and stile-agent",
           "sip-proxy": "stile-sip", "console": "stile-console", "gateway": "stile-gateway"}
HEAD = """# Error catalogue

Every id that the services log, and every error code of their control sockets and of the console's REST API: what it says, why it appears, and what
to do. Ids and codes stay as they are over versions; new ones may come. In a line of the log the id stands behind time and level; `reason` and the other
fields name the case at hand. `stile logs --match ID` finds lines. Lines of the levels info and debug tell what happens, and ask for nothing unless
something stands here.
"""


def causes(root):
    """{("", id) or ("code ", code): (cause, what to do or None, line)}, and complaints."""
    found, wrong = {}, []
    for i, line in enumerate(read(root, CAUSES).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        m = LINE.match(line)
        if not m or (m[1] or "", m[2]) in found:
            wrong.append(f"{CAUSES}:{i}: no \"id: cause | what to do\", or a second one")
        else:
            found[m[1] or "", m[2]] = m[3], m[4], i
    return found, wrong


def literal(text):
    return None if text == "NULL" else "".join(re.findall(STRING, text)).replace('\\"', '"')


def messages(root):
    """(place, id, level, text, advice or None), as the tables have them."""
    for place, name, *row in log_ids.rows(root):
        if name is not None and not place.startswith("tests/"):
            yield place, row[0], row[1].lower(), literal(row[2]), literal(row[3])


def codes(root):
    """{code: place}: the words in front of the sentence in calls that refuse."""
    found = {}
    for name in our_files(root, (".c",)):
        if name.startswith("tests/"):
            continue
        text = read(root, name)
        for call in CALL.finditer(text):
            for word in STRING.findall(text[call.end():call.end() + 240].split("{")[0]):
                if not WORD.match(word):
                    break
                found.setdefault(word, f"{name}:{text.count(chr(10), 0, call.start()) + 1}")
        for m in ELSEWHERE.finditer(text):
            found.setdefault(m[1] or m[2], f"{name}:{text.count(chr(10), 0, m.start()) + 1}")
    return found


def cell(text):
    return text.replace("|", "\\|")


def sentence(text):
    return text[:1].upper() + text[1:].rstrip(".") + "."


def render(root):
    known, _ = causes(root)
    out = [HEAD, "## Error codes\n", "| code | cause | what to do |", "|---|---|---|"]
    for (kind, code), (cause, advice, _) in sorted(known.items()):
        if kind:
            out.append(f"| `{code}` | {cell(cause)} | {cell(advice or '')} |")
    folder = None
    for place, ident, level, text, advice in sorted(messages(root), key=lambda m: (list(FOLDERS).index(m[0].split("/")[0]), m[1])):
        if place.split("/")[0] != folder:
            folder = place.split("/")[0]
            out += [f"\n## {FOLDERS[folder]}\n", "| id | level | what it says | cause | what to do |", "|---|---|---|---|---|"]
        cause, own, _ = known.get(("", ident), ("", None, 0))
        out.append(f"| `{ident}` | {level} | {cell(text)} | {cell(cause)} | {cell(sentence(advice or own)) if advice or own else ''} |")
    return "\n".join(out) + "\n"


def check(root):
    if not os.path.exists(os.path.join(root, CAUSES)):
        return
    known, wrong = causes(root)
    yield from wrong
    left, used = set(known), codes(root)
    for place, ident, level, _, advice in messages(root):
        cause, own, _ = known.get(("", ident), (None, None, 0))
        left.discard(("", ident))
        if (level in ("warn", "error") or FAILS.search(ident)) and (not cause or not (advice or own)):
            yield f"{place}: {CAUSES} has no {'cause of' if not cause else 'advice for'} {ident}"
        if advice and own:
            yield f"{CAUSES}:{known['', ident][2]}: {ident} has its advice at {place} already"
    for code, place in sorted(used.items()):
        left.discard(("code ", code))
        if not known.get(("code ", code), (None, None))[1]:
            yield f"{place}: {CAUSES} has no \"code {code}: cause | what to do\""
    for kind, name in sorted(left):
        yield f"{CAUSES}:{known[kind, name][2]}: nothing says {name}"
    if not os.path.exists(os.path.join(root, PAGE)) or read(root, PAGE) != render(root):
        yield f"{PAGE}:1: not as the tables are: tests/lint/catalogue.py --write"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        with open(os.path.join(TOP, PAGE), "w", encoding="utf-8") as page:
            page.write(render(TOP))
    else:
        main(check, "error catalogue")
