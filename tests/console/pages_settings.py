#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pages Settings and Diagnosis, with a stile-turn that `stile supervise` looks after (a restore stops and starts it) and that
is the STUN server of the network test. argv[1] chooses cases by a part of their sentence."""
import os
import sys

from page_world import PageWorld, run


class Kept(PageWorld):
    def begin(self):
        self.config(tls=False, top=self.console_section() + f'stun_servers: ["127.0.0.1:{self.base}"]\n',
                    log=f"{{ level: info, dir: {self.path('log')} }}", realm=None)
        self.supervised("turn")

    def do_fill(self, name):
        """Old log files of stile-turn, and lines that somebody looks for."""
        for i in (1, 2):
            self.write(f"log/stile-turn.log.{i}", f"2026-01-0{i}T00:00:00.000Z warn turn.old {name}\n", mode=0o644)
            os.utime(self.path(f"log/stile-turn.log.{i}"), (1_760_000_000, 1_760_000_000))
        return sorted(os.listdir(self.path("log")))

    def do_logs(self):
        return {f: os.path.getsize(self.path(f"log/{f}")) for f in os.listdir(self.path("log")) if f.startswith("stile-turn.log")}

    def do_say(self):
        """A line of the log at once."""
        self.verb("service.reload", {}, full="stile-turn")

    def do_read(self, path):
        """What a browser has kept: what kind of file it is."""
        with open(path, "rb") as f:
            return f.read(4).hex()


if __name__ == "__main__":
    sys.exit(run(Kept, "pages_settings.mjs", 18300))
