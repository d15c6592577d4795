#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page TURN in Chromium against two real stile-turn (one whose listeners and users the file sets, one whose listeners are
the console's to change), with coturn's turnutils_uclient, hostile names and a browser's own WebRTC. argv[1] chooses cases."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from page_world import TURN, Failed, PageWorld, Server, run, wait_for  # noqa: E402
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
from turn_client import Client  # noqa: E402

FIRST_PORT = 18200
LAB = "stile-turn@lab"


class Turn(PageWorld):
    """Ports from base on: 0 and 1 stile-turn's, 3 the console's, 4 to 7 those of lab, 10-29 relays, 30-39 lab's relays."""

    def begin(self):
        self.clients = {}
        self.certificate()
        self.certificate("other")
        for end in ("pem", "key"):
            shutil.copy(self.path(f"server.{end}"), self.path(f"kept.{end}"))
        p = self.base
        self.config(top=self.console_section(), password="for-all-of-them", limits="{ bad_credentials: 1000, bad_credentials_per_address: 1000 }",
                    relay=f"{{ addresses: [127.0.0.1], ports: {p + 10}-{p + 29} }}")
        self.service("stile-turn", "stile.yaml")
        self.begin_lab()

    def begin_lab(self):
        """Its listeners and its password are in the store: set while the file, which had them at the start, has them no longer."""
        p = self.base
        keys = {"tls": False, "users": None, "secrets": None, "relay": f"{{ ports: {p + 30}-{p + 39} }}", "limits": "{ bad_credentials: 1000 }"}
        self.config("lab.yaml", listen=f'["udp:127.0.0.1:{p + 4}"]', password="of-the-lab", **keys)
        self.full, self.binary = "stile-turn", TURN
        s = Server(self, self.turn_argv("lab.yaml", "--instance", "lab"))
        self.servers.append(s)
        self.running[LAB] = s
        s.wait_ready()
        self.config("lab.yaml", listen=None, **keys)
        change = self.verb("config.begin", full=LAB)
        self.verb("config.set", {"path": "turn.listen", "value": [f"udp:127.0.0.1:{p + 4}"], **change}, full=LAB)
        self.verb("config.set", {"path": "turn.password", "value": "of-the-lab", **change}, full=LAB)
        self.verb("config.commit", change, full=LAB)
        self.verb("service.reload", full=LAB)

    # ---- what the cases ask for ----

    def do_uclient(self, user="alice", password="wonderland", seconds=60):
        """Two allocations of this user that talk to each other for so long."""
        if not shutil.which("turnutils_uclient"):
            raise Failed("there is no turnutils_uclient: tools/install-packages check")
        before = len(self.of(user))
        self.child("turnutils_uclient", "-y", "-c", "-n", str(seconds * 20), "-z", "50", "-p", str(self.port), "-u", user, "-w", password, "127.0.0.1")
        wait_for(f"sessions of {user}", lambda: len(self.of(user)) > before)

    def of(self, user):
        return [r for r in self.verb("turn.sessions", full="stile-turn")["rows"] if r["user"] == user]

    def do_client(self, user="alice", password="wonderland", port=0):
        """One allocation that stays; the code if it is refused."""
        c = Client(port or self.port, user, password)
        code = c.allocate()
        if code:
            c.socket.close()
            return code
        self.clients.setdefault(user, []).append(c)
        return 0

    def do_sessions(self, service="stile-turn"):
        return [r["user"] for r in self.verb("turn.sessions", full=service)["rows"]]

    def do_gone(self, user):
        """Waits until nobody of this name is there."""
        wait_for(f"the end of {user}'s sessions", lambda: not self.of(user))

    def do_minted(self, username, password):
        return self.do_client(username, password)

    def do_replace(self, name):
        """server.pem with its key becomes another certificate."""
        for end in ("pem", "key"):
            shutil.copy(self.path(f"{name}.{end}"), self.path(f"new.{end}"))
            os.rename(self.path(f"new.{end}"), self.path(f"server.{end}"))

    def do_mismatch(self):
        """A certificate whose key is another's."""
        shutil.copy(self.path("other.pem"), self.path("new.pem"))
        os.rename(self.path("new.pem"), self.path("server.pem"))

    def do_line(self, text):
        """Where stile.yaml has it."""
        with open(self.path("stile.yaml"), encoding="utf-8") as f:
            return next(i + 1 for i, line in enumerate(f) if text in line)

    def end(self):
        for c in [c for list_ in self.clients.values() for c in list_]:
            c.socket.close()
        super().end()


if __name__ == "__main__":
    sys.exit(run(Turn, "pages_turn.mjs", FIRST_PORT))
