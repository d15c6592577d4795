#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Arrows point down: who may include whom (CONTRIBUTING.md).

Includes in quotes are written from the root ("stun/msg.h"). A header whose name ends in _priv.h belongs
to its folder: only that folder and the tests include it. Nothing includes tests."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from csource import C_FOLDERS, includes, main, our_files, read  # noqa: E402

MAY_INCLUDE = {  # a folder within a folder stands for itself where it has a row
    "common": {"common"},
    "stun": {"common", "stun"},
    "turn": {"common", "stun", "turn"},
    "tunnel": {"common", "stun", "turn", "tunnel"},
    "sip-proxy": {"common", "stun", "sip-proxy"},
    "console": {"common", "console"},
    "gateway": {"common", "gateway"},
    "share": {"common", "share"},
    "share/forward": {"common", "stun", "turn", "tunnel", "share/forward"},
    "cli": {"common", "stun", "turn", "tunnel", "sip-proxy", "console", "gateway", "share", "share/forward", "cli"},
    "tests": {*C_FOLDERS, "share/forward"},
}


def folder_of(path):
    """What stands for it in the table: "share/forward" before "share"."""
    two = "/".join(path.split("/")[:2])
    return two if two in MAY_INCLUDE else path.split("/")[0]


def complaint(name, path):
    """Why this file may not include that path, or None."""
    folder, target = folder_of(name), folder_of(path)
    if ".." in path.split("/") or path.startswith("./"):
        return f'write "{path}" from the root of the tree, without dots'
    if "/" not in path or path.split("/")[0] not in C_FOLDERS:
        return f'"{path}" is not written from the root (folder/name.h)'
    if target not in MAY_INCLUDE[folder]:
        return f'{folder}/ may not include {target}/ ("{path}")'
    if path.endswith("_priv.h") and path.split("/")[0] != name.split("/")[0] and folder != "tests":  # the tool: public headers only
        return f'"{path}" is private to {target}/'
    return None


def check(root):
    for name in our_files(root, (".c", ".h", ".def")):
        if folder_of(name) not in MAY_INCLUDE:
            yield f"{name}:1: C in {folder_of(name)}/, which the table of tests/lint/includes.py does not know"
            continue
        for line, path, is_system in includes(read(root, name)):
            why = None
            if is_system and path.split("/")[0] in C_FOLDERS and "/" in path:
                why = f"<{path}> is ours: include it in quotes"
            elif not is_system:
                why = complaint(name, path)
            if why:
                yield f"{name}:{line}: {why}"


if __name__ == "__main__":
    main(check, "include arrows")
