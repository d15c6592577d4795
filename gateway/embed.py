#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pages of gateway/web/ as a C file: embed.py OUTPUT FILE... Each file is a row of page_files[]."""
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def main(output, files):
    rows, arrays = [], []
    for i, path in enumerate(files):
        with open(path, "rb") as f:
            data = f.read()
        name = os.path.basename(path)
        body = "".join(("\n\t" if k % 24 == 0 else " ") + f"{b}," for k, b in enumerate(data))
        arrays.append(f"static const unsigned char data_{i}[] = {{{body}\n}};\n")
        rows.append('\t{ "%s", "%s", "\\"%s\\"", { (const char *)data_%d, sizeof(data_%d) } },\n' % (
            "" if name == "index.html" else name, TYPES[os.path.splitext(name)[1]], hashlib.sha256(data).hexdigest()[:16], i, i))
    with open(output, "w", encoding="ascii") as f:
        f.write('/* Made by gateway/embed.py. */\n#include "gateway/page.h"\n' + "".join(arrays) +
                "const struct page_file page_files[] = {\n" + "".join(rows) + "};\n"
                f"const size_t page_n_files = {len(rows)};\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
