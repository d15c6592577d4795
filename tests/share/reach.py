#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile test reach without an agent of one's own: with the code of a share its holder is a guest of the server, and may have his own
address tried, and no other."""
import os
import signal
import socket
import sys

from share_world import Failed, Told, case, fill, main, own_address, share


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


def listens(at):
    with socket.socket() as s:
        return s.connect_ex(at) == 0


@case("who ends a share in port-forwarding mode while it is being tested does not wait for the agent, whose answer then reaches nobody")
def _(w):
    path, octet = fill(w.path("out/a.bin"), 100), int(own_address().rsplit(".", 1)[1])
    w.write("forward.yaml", "share: { port_mapping: false }\n")
    for n in range(3):
        with socket.socket(socket.AF_UNIX) as agent:
            os.makedirs(w.path(f"run{n}"))
            agent.bind(w.path(f"run{n}/stile-agent.sock"))
            agent.listen()
            agent.settimeout(60)
            with Told(w, "share", path, "--forward", "--base-port", str(w.base + 9 - octet), "-c", w.path("forward.yaml"), runtime=f"run{n}") as t:
                asks, _ = agent.accept()
                t.event("ready")
                t.p.send_signal(signal.SIGINT)
                while listens((own_address(), w.base + 9)):
                    pass
                asks.close()  # just while it ends
                t.ends(0)


if __name__ == "__main__":
    sys.exit(main(22800))
