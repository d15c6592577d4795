# SPDX-License-Identifier: Apache-2.0
"""What the lint tests know about C: the files of a tree, their text without comments and strings,
includes and function definitions. It reads Stile's own layout (Linux braces, no K&R parameter lists)
and is not a C parser; whoever writes C that it misreads has left the house style."""
import os
import re
import subprocess
import sys

C_FOLDERS = ("common", "stun", "turn", "tunnel", "sip-proxy", "console", "gateway", "share", "cli", "tests")


def tracked_files(root):
    """Paths relative to root: what git knows or would add; a plain walk for a tree outside git."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                         capture_output=True)
    top = subprocess.run(["git", "-C", root, "rev-parse", "--show-toplevel"],
                         capture_output=True, text=True)
    if git.returncode == 0 and os.path.realpath(top.stdout.strip()) == os.path.realpath(root):
        names = [n for n in git.stdout.decode().split("\0") if n]
        return sorted(n for n in names if os.path.isfile(os.path.join(root, n)))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f != ".git" and not f.startswith("build")]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(found)


def our_files(root, suffixes):
    """Files with one of the suffixes, without the fixtures that break the rules on purpose."""
    return [n for n in tracked_files(root)
            if n.endswith(suffixes) and not n.startswith("tests/lint/bad/")]


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def _blank(match):
    text = match.group(0)
    keep = text[0] if text[0] in "\"'" else " "
    return keep + re.sub(r"[^\n]", " ", text[1:-1]) + keep if len(text) > 1 else keep


def code_only(text):
    """The same text with comments, strings and preprocessor lines blanked; lines keep their number."""
    text = TOKEN.sub(_blank, text)
    return re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def includes(text):
    """(line, path, is_system) of each #include."""
    for m in re.finditer(r'(?m)^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text):
        yield text.count("\n", 0, m.start()) + 1, m.group(2), m.group(1) == "<"


class Function:
    def __init__(self, name, line, lines, params):
        self.name, self.line, self.lines, self.params = name, line, lines, params


def _count_params(text):
    text = text.strip()
    if text in ("", "void"):
        return 0
    depth, n = 0, 1
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        n += c == "," and depth == 0
    return n


def _head_of(code, brace):
    """Name and parameter text if the brace at `brace` opens a function, else None."""
    start = max(code.rfind(c, 0, brace) for c in ";}")
    head = code[start + 1:brace]
    head = re.sub(r"__attribute__\s*\(\(.*?\)\)|\b_\w+_\b(\([^()]*\))?", " ", head, flags=re.S).rstrip()
    if not head.endswith(")"):
        return None
    depth, i = 0, len(head) - 1
    while i >= 0:
        depth += (head[i] == ")") - (head[i] == "(")
        if depth == 0:
            break
        i -= 1
    m = re.search(r"(\w+)\s*$", head[:max(i, 0)])
    return (m.group(1), head[i + 1:-1], start + 1) if m and "=" not in head[:i] else None


def functions(text):
    """Every function definition at file level; lines counts from its opening to its closing brace."""
    code = code_only(text)
    depth, opened, head = 0, 0, None
    for i, c in enumerate(code):
        if c == "{":
            if depth == 0:
                opened, head = i, _head_of(code, i)
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0 and head:
                first = code.count("\n", 0, opened) + 1
                last = code.count("\n", 0, i) + 1
                yield Function(head[0], first, last - first + 1, _count_params(head[1]))


def main(check, description):
    """check(root) yields "file:line: what is wrong". The self-test fixture of a lint is a tree that
    breaks it: `--expect TEXT…` demands a complaint that holds each text, so no lint can be blind."""
    args = sys.argv[1:]
    root = args[0] if args else os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    complaints = list(check(root))
    if "--expect" in args:
        wanted = args[args.index("--expect") + 1:]
        blind = [w for w in wanted if not any(w in c for c in complaints)]
        extra = [c for c in complaints if not any(w in c for w in wanted)]
        for w in blind:
            print(f"the lint did not see: {w}")
        for c in extra:
            print(f"the lint complained where it should not: {c}")
        print(f"{len(wanted) - len(blind)} of {len(wanted)} planted faults found")
        sys.exit(1 if blind or extra or not wanted else 0)
    for c in complaints:
        print(c)
    print(f"{description}: {len(complaints)} complaint(s)")
    sys.exit(1 if complaints else 0)
