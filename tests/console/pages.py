#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The console's pages in Chromium against the real stile-console, stile-turn and stile-tunnel: starts them as an administrator
would and hands over to pages.mjs, which prints a line a case. argv[1] chooses cases by a part of their sentence."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
from world import BUILD, TUNNEL, Failed, Server, World  # noqa: E402

CONSOLE = os.path.join(BUILD, "console/stile-console")
FIRST_PORT = 27300
PATIENCE = 550  # s for all cases; meson's own limit is longer


class Pages(World):
    def begin(self, program, binary):
        """One more service on the same file."""
        self.full, self.binary = program, binary
        s = Server(self, self.turn_argv("stile.yaml"))
        self.servers.append(s)
        s.wait_ready()
        return s


def main():
    with World(FIRST_PORT) as probe:
        base = probe.base
    with Pages(base) as w:
        p = w.base
        w.config(realm=None, top=f'tunnel: {{ name: "<b>Room</b>", listen: ["tls:127.0.0.1:{p + 2}"], bind: 127.0.0.1, ports: {p + 4}-{p + 6} }}\n'
                                 f'console: {{ listen: "127.0.0.1:{p + 3}" }}\n')
        turn = w.start()
        w.begin("stile-tunnel", TUNNEL)
        w.begin("stile-console", CONSOLE)
        setup = w.verb("console.setup", full="stile-console")
        env = {**os.environ, "STILE_URL": setup["url"], "STILE_TOKEN": setup["token"], "STILE_TURN_PID": str(turn.process.pid),
               "STILE_TURN": json.dumps(turn.argv), "STILE_RUN": w.path("run"), "STILE_CONFIG": w.path("stile.yaml")}
        done = subprocess.run(["node", os.path.join(HERE, "pages.mjs"), *sys.argv[1:]], env=env, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        turn.ended = True  # a case has killed it and started another
        w.stop_all()
        return done.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        print(f"[  FAILED  ] the pages' services\n{e}")
        sys.exit(1)
