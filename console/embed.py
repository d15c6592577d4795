#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file as a C array: embed.py INPUT OUTPUT NAME. For the build."""
import sys

source, target, name = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
rows = [",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32)]
with open(target, "w", encoding="ascii") as f:
    f.write(f'#include "console/openapi.h"\n\nconst unsigned char {name}[] = {{\n' + ",\n".join(rows) +
            f"\n}};\nconst size_t {name}_n = sizeof({name});\n")
