#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the documentation says about commands, files and reasons, held against the tree without running anything: the guides have the same
blocks in every language, each `stile …` is a command with these options, links lead somewhere, and what is quoted from the programs is
what they say.

  STILE_BUILD=build tests/guides/texts.py"""
import glob
import os
import re
import subprocess
import sys
from collections import Counter

from pages import LANGUAGES, ROOT, pages

BUILD = os.environ.get("STILE_BUILD", "build")
INLINE = re.compile(r"`(stile [^`]+)`")
COMMAND = re.compile(r"(?:^|[\s(\"$|&;])(?:server |site |home\$ |you\$ |he\$ |site\$ |\$ )?(stile [a-z][^\n]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TROFF = re.compile(r"\\f[BIRP]|\\&")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def documents():
    """Every Markdown page that people read, decisions and tests apart."""
    for pattern in ("*.md", "docs/*.md", "docs/guides/*.md", "docs/guides/*/*.md", "docs/manual/*/*.md", "docs/reference/*.md"):
        for path in sorted(glob.glob(os.path.join(ROOT, pattern))):
            yield os.path.relpath(path, ROOT)


def commands():
    """Of the tool itself: ("turn", "user", "add") → its options."""
    page = subprocess.run([os.path.join(BUILD, "cli/stile"), "completion", "man"], capture_output=True, text=True, check=True).stdout
    found = {}
    for part in page.split('\n.SS "')[1:]:
        title, _, body = part.replace("\\-", "-").partition('"')
        words = tuple(w for w in title.split()[1:] if re.match(r"[a-z][a-z0-9-]*$", w))
        body = TROFF.sub("", body)
        found.setdefault(words, set()).update(re.findall(r"(?<![\w-])(--[a-z0-9][a-z0-9-]*|-[a-zA-Z])(?=[ ,\n=])", body), {"--help", "-h"})
    return found


def command_fault(line, known, whole):
    """What is wrong with "stile turn user add bob --realm x", or None. whole: "stile turn user" is not enough."""
    line = re.split(r"\s#|\s*[|;&>]|…$", line)[0]
    words = re.sub(r"'[^']*'|\"[^\"]*\"", "X", line).split()[1:]
    best = max((c for c in known if tuple(words[:len(c)]) == c), key=len, default=None)
    if best is None:
        begun = any(c[:len(words)] == tuple(words) for c in known)
        return "is no command" if not begun else "is not a whole command" if whole else None
    for w in words[len(best):]:
        if re.match(r"--?[a-zA-Z]", w) and w.split("=")[0].rstrip("],.)…") not in known[best]:
            return f"has no option {w}"
    return None


def check_commands(known):
    for name in documents():
        if name == "CHANGELOG.md":
            continue
        text = read(name)
        fenced = "".join(re.findall(r"^```.*?^```$", text, re.M | re.S))
        said = [(m, "`") for m in INLINE.findall(text)] + [(m, "block") for m in COMMAND.findall(fenced)]
        for line, where in said:
            if re.match(r"stile [A-Z(]", line):
                continue
            fault = command_fault(line.replace("\n", " "), known, where == "block" and not line.endswith("…"))
            if fault:
                yield f"{name}: `{line}` {fault}"


def check_manual_pages(known):
    """The reverse of tests/admin/check.py, which holds that nothing is missing: no page has a command or an option that there is not."""
    every = set().union(*known.values())
    commands = read("docs/man/stile.1.scd").replace("\\", "").split("\n# COMMANDS\n")[1].split("\n# ")[0]
    for entry in re.split(r"\n\n(?=\*)", commands):
        named = [tuple(m.split()) for m in re.findall(r"\*([a-z][a-z0-9 -]*)\*", entry)]
        head = [tuple(m.split()) for m in re.findall(r"\*([a-z][a-z0-9 -]*)\*", entry.split("\n\t")[0])]
        for n, words in enumerate(head):
            if words not in known and (n == 0 or len(words) > 1):  # one word behind it is a choice: *link* | *root*
                yield f"stile.1.scd: there is no command {' '.join(words)}"
        have = set().union(*(known.get(w, set()) for w in named))
        for option in sorted(set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", entry)) - have):
            yield f"stile.1.scd: {option} of {' '.join(head[0]) if head else entry[:40]} is {'none of its options' if option in every else 'no option'}"
    for service in ("turn", "tunnel", "agent", "sip", "console", "gateway", "fastpath"):
        program = next((p for p in glob.glob(f"{BUILD}/*/stile-{service}") + glob.glob(f"{BUILD}/*/*/stile-{service}")), None)
        if program:
            options = set(re.findall(r"--[a-z][a-z-]+", subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout))
            page = read(f"docs/man/stile-{service}.8.scd").replace("\\", "")
            for option in sorted(set(re.findall(r"^\*(?:-\w\*, \*)?(--[a-z-]+)|\[\*(--[a-z-]+)", page, re.M))):
                if "".join(option) not in options:
                    yield f"stile-{service}.8.scd: {''.join(option)} is none of its options"


def check_languages():
    english = {p.topic: p for p in pages("en")}
    if len(english) < 10:
        yield "docs/guides/en: fewer than ten guides"
    for language in LANGUAGES[1:]:
        theirs = {p.topic: p for p in pages(language)}
        for topic in sorted(english.keys() ^ theirs.keys()):
            yield f"docs/guides/{language}: {topic} is there or in English only"
        for topic in sorted(english.keys() & theirs.keys()):
            for mine, other in zip(english[topic].code(), theirs[topic].code()):
                if mine != other:
                    yield f"docs/guides/{language}/…{topic}: another block than in English:\n    {mine}\n    {other}"
            if len(english[topic].code()) != len(theirs[topic].code()):
                yield f"docs/guides/{language}/…{topic}: not as many blocks as in English"


def facts(path):
    """Of each section of a page what is the same in every language: `words of the programs`, numbers, rows of tables, items of lists."""
    found = []
    for section in re.split(r"^#+ .*$", re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S), flags=re.M):
        words = Counter(re.sub(r"(?<![\w-])[A-Z]{2,}(?![\w-])", "X", w) for w in re.findall(r"`([^`]+)`", section))  # NUMBER, NUMMER, NUMERO
        bare = re.sub(r"`[^`]+`|\]\([^)]*\)", "", section)
        numbers = Counter(re.sub(r"[.,]", "", n) for n in re.findall(r"(?<!\w)\d+(?:[.,:/-]\d+)*", bare))
        found.append({"words": words, "numbers": numbers, "rows": Counter(re.findall(r"^\||^ *(?:-|\d+\.) ", section, re.M))})
    return found


def check_facts():
    pages_of = [os.path.relpath(p, ROOT) for p in sorted(glob.glob(os.path.join(ROOT, "docs/*/en/*.md")))]
    if len(pages_of) < 20:
        yield f"docs: only {len(pages_of)} pages are in English"
    for english in pages_of:
        for language in LANGUAGES[1:]:
            other = english.replace("/en/", f"/{language}/")
            ours, theirs = facts(english), facts(other)
            if len(ours) != len(theirs):
                yield f"{other}: {len(theirs)} sections, in English {len(ours)}"
            for n, (a, b) in enumerate(zip(ours, theirs)):
                for kind in a:
                    if a[kind] != b[kind]:
                        yield f"{other}: {kind} of section {n}: not {sorted(a[kind] - b[kind])} of the English, but {sorted(b[kind] - a[kind])}"


def check_links():
    for name in documents():
        folder = os.path.dirname(os.path.join(ROOT, name))
        text = re.sub(r"^```.*?^```$", "", read(name), flags=re.M | re.S)
        for to in LINK.findall(text):
            if "://" in to or to.startswith(("#", "mailto:")) or name.startswith("docs/manual/"):
                continue
            if not os.path.exists(os.path.join(folder, to.split("#")[0])):
                yield f"{name}: the link to {to} leads nowhere"


def check_index():
    """docs/guides/README.md leads to each guide."""
    index = set(LINK.findall(read("docs/guides/README.md")))
    for path in sorted(glob.glob(os.path.join(ROOT, "docs/guides/*.md")) + glob.glob(os.path.join(ROOT, "docs/guides/*/*.md"))):
        name = os.path.relpath(path, os.path.join(ROOT, "docs/guides"))
        if name != "README.md" and name not in index:
            yield f"docs/guides/README.md: no link to {name}"


def check_reasons():
    """The reasons that the guide about relayed links explains are the program's, word for word."""
    sources = "".join(read(os.path.relpath(p, ROOT)) for p in glob.glob(os.path.join(ROOT, "tunnel/direct/*.c")))
    sources = re.sub(r'"\s*\n\s*"', "", sources)
    for language in LANGUAGES:
        text = next((p.text for p in pages(language) if p.topic == "why-relayed"), "")
        quoted = re.findall(r"^\| `([^`]+)` \|", text, re.M)
        if len(quoted) < 6:
            yield f"docs/guides/{language}: why-relayed explains {len(quoted)} reasons"
        for reason in quoted:
            if reason not in sources:
                yield f'docs/guides/{language}: nothing in tunnel/direct says "{reason}"'


def check_paths():
    """Files and functions that the documentation names are there. In docs/architecture.md also those named by their end ("jobs_conn.c"), and each folder
    of sources has its row."""
    tree = set(subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False).stdout.split("\n"))
    if len(tree) < 100:  # a tree without git
        tree = {os.path.relpath(os.path.join(d, f), ROOT) for d, _, files in os.walk(ROOT) for f in files}
    folders = {"/".join(p.split("/")[:n]) for p in tree for n in range(1, p.count("/") + 1)}
    top = {f for f in folders if "/" not in f}
    paths = tree | folders

    def there(word, anywhere):
        end = re.compile(("(^|/)" if anywhere else "^") + re.escape(word.rstrip("/")).replace(r"\*", "[^/]*") + "$")
        return any(end.search(p) for p in paths)

    for name in documents():
        anywhere = name == "docs/architecture.md"
        for word in sorted(set(re.findall(r"`([\w./*-]+)`", read(name)))):
            word = word.removeprefix("./")
            named = word.split("/")[0] in top and "/" in word and not re.search(r"[A-Z]{4}|^tests/bench/results/", word)  # NAME; made by a run
            if (named or anywhere and ("/" in word or re.search(r"\.(c|h|py|jsx?|mjs|md)$", word))) and not there(word, anywhere):
                yield f"{name}: there is no {word}"
    code = set(re.findall(r"\w+", "".join(read(p) for p in tree if p.endswith((".c", ".h", ".def", ".py", ".jsx", ".mjs", ".js")))))
    for name in ("docs/architecture.md", "docs/security-model.md", "docs/conformance.md", "CONTRIBUTING.md"):
        for word in sorted(set(re.findall(r"`(?:struct |enum )?([\w.]+)\(\)`|`(?:struct|enum) (\w+)`", read(name)))):
            if "".join(word).rsplit(".", 1)[-1] not in code:
                yield f"{name}: nothing in the tree is called {''.join(word)}"
    rows = set(re.findall(r"(?m)^\| `([\w-]+)/", read("docs/architecture.md")))
    for folder in sorted(f for f in top if any(p.startswith(f + "/") and p.endswith(".c") for p in tree) and f not in rows):
        yield f"docs/architecture.md: no row for the folder {folder}/"


def check_capacity():
    """The example of docs/capacity.md is what the tool prints."""
    block = re.search(r"^```\n\$ stile (capacity .*)\n(.*?)^```$", read("docs/capacity.md"), re.M | re.S)
    done = subprocess.run([os.path.join(BUILD, "cli/stile"), *block[1].split()], capture_output=True, text=True, check=False)
    if done.stdout != block[2]:
        yield f"docs/capacity.md: stile {block[1]} prints another text (status {done.returncode}):\n{done.stdout}{done.stderr}"


def main():
    known = commands()
    failed = 0
    for sentence, faults in (
            ("The guides have the same blocks in every language", check_languages()),
            ("The pages of the guides and of the manual say the same numbers and words of the programs in every language", check_facts()),
            ("Each command that the documentation names exists, with its options", check_commands(known)),
            ("Each command and option of the manual pages exists", check_manual_pages(known)),
            ("Links of the documentation lead somewhere", check_links()),
            ("The index of the guides is complete", check_index()),
            ("The reasons that the guides explain are the program's", check_reasons()),
            ("Files and functions that the documentation names are there", check_paths()),
            ("The example of docs/capacity.md is what the tool prints", check_capacity())):
        found = list(faults)
        failed += bool(found)
        print(f"[{'  FAILED  ' if found else '       OK '}] {sentence}")
        print("".join(f + "\n" for f in found), end="")
    if len(known) < 80:
        print(f"[  FAILED  ] only {len(known)} commands were found in stile completion man")
        failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
