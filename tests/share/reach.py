#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile test reach without an agent of one's own: with the code of a share its holder is a guest of the server, and may have his own
address tried, and no other."""
import sys

from share_world import Failed, case, fill, main, share


@case("whoever has the code of a share may have a port of his own address tried; a wrong or old code may not")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    port = str(w.target_port(0))
    with share(w, fill(w.path("out/a.bin"), 100)) as s:
        if "@" not in s.code:
            raise Failed(f"    {s.code} has no place")
        w.stile("test", "reach", port, "--code", s.code, timeout=90).exits(0).says("the server has reached this machine", f"127.0.0.1:{port}")
        w.stile("test", "reach", port, "--code", s.code.split("@")[0]).exits(2).says("@HOST:PORT")
        w.stile("test", "reach", port, "--code", "0" + s.code[1:] if s.code[0] != "0" else "1" + s.code[1:]).exits(2)
        code = s.code
    w.stile("test", "reach", port, "--code", code, timeout=90).exits(1).says("the server of the code")


if __name__ == "__main__":
    sys.exit(main(22800))
