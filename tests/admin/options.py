#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The option list of stile.yaml(5), and docs/reference/configuration.md, made from `stile check --reference`: the schema rows are the one source.

  STILE_BUILD=build tests/admin/options.py --write    # after a row was added or changed
The test in check.py compares."""
import os
import re
import subprocess
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/man/stile.yaml.5.scd")
TABLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/reference/configuration.md")
HEAD = """# Configuration: every key

Made by `tests/admin/options.py` of the tables that the services themselves read (`stile check --reference`); the same text is in stile.yaml(5).
A map's keys have a table of their own; *reload* says whether a reload applies a change, or only a restart. Examples and rules that concern several keys are in
the [guides](../guides/) and in stile.yaml(5).

"""
BEGIN, END = "; options: made by tests/admin/options.py\n", "; end of options\n"


def plain(text):
    """A cell of the Markdown table as scdoc text."""
    text = text.replace("&lt;", "<").replace("\\|", "|").replace("`", "")
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"([_*\\#<>.~])", r"\\\1", text)


def entry(section, cells):
    keys, kind, default, extent, unit, reload, text = cells
    names = [k.strip("`") for k in keys.split(", ")]
    told = [plain(kind)]
    if extent:
        told.append(plain(extent) + (f" {plain(unit)}" if unit else ""))
    if default:
        told.append("required" if default == "required" else "default " + plain(default))
    told.append("reloadable" if reload else "needs a restart")
    if "map, see" in kind:
        told = [plain(kind)]
    return (", ".join(f"*{plain(section + n)}*" for n in names) + f" ({'; '.join(told)})\n\t{plain(text)}\n")


def render(reference):
    out, section = [], ""
    for line in reference.splitlines():
        if line.startswith("### "):
            section = "" if line == "### stile.yaml" else line[4:] + "."
            out.append("## " + ("Sections" if not section else plain(line[4:])) + "\n")
        elif line.startswith("| `"):
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            out.append(entry(section, cells))
    return "\n".join(out)


def parts():
    with open(PAGE, encoding="utf-8") as f:
        before, rest = f.read().split(BEGIN)
    now, after = rest.split(END)
    return before, now, after


def tables(reference):
    return HEAD + reference.replace("### ", "## ").strip() + "\n"


def of_tables():
    with open(TABLES, encoding="utf-8") as f:
        return f.read()


def of_page():
    return parts()[1].strip("\n") + "\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    stile = os.path.join(os.environ.get("STILE_BUILD", "build"), "cli/stile")
    said = subprocess.run([stile, "check", "--reference"], capture_output=True, text=True, check=True).stdout
    made = render(said)
    with open(TABLES, "w", encoding="utf-8") as page:
        page.write(tables(said))
    head, _, tail = parts()
    with open(PAGE, "w", encoding="utf-8") as page:
        page.write(head + BEGIN + "\n" + made + "\n" + END + tail)
