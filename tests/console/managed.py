# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping from the console, with `stile supervise` in systemd's place: what runs, what stopped and why."""
import os
import signal
import subprocess
import sys

from console_world import PASSWORD, ROOT, Failed, case, main, wait_for
from world import STILE, Said


class Supervisor:
    """stile supervise of stile-turn; ends with the case."""

    def __init__(self, w, *services):
        self.w = w
        self.argv = [STILE, "supervise", *services, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"),
                     *(["--user", "root"] if ROOT else [])]
        self.out = open(w.path("supervise.out"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out)
        w.servers.append(self)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                with open(self.out.name, encoding="utf-8", errors="replace") as f:
                    Said(self.argv, None, f.read(), "").fail("the supervisor did not stop")

    def kill(self):
        self.stop()
        self.out.close()


@case("a service is stopped, started and restarted from the console, and who stopped by itself says why")
def _(w):
    w.console()
    alice = w.first()
    oscar = w.user(alice, "oscar", "operator")
    w.config(tls=False)
    Supervisor(w, "turn")
    row = w.reached(alice, "turn")
    pid = row["pid"]

    def managed():
        got = alice.get("/api/v1/services/turn").is_(200).json
        return got if got["by"] == "supervisor" and "restart" in got["can"] else None
    wait_for("the manager's row", managed)
    oscar.post("/api/v1/services/turn/stop").is_(403, "forbidden")
    alice.post("/api/v1/services/turn/restart").is_(200)
    wait_for("another process", lambda: w.reached(alice, "turn")["pid"] != pid)
    alice.post("/api/v1/services/turn/stop").is_(200)
    row = w.reached(alice, "turn", "stopped")
    if row["can"] != ["start"] or row["exit"]["signal"]:
        raise Failed(f"    {row}")
    alice.post("/api/v1/services/turn/start").is_(200)
    w.reached(alice, "turn")
    # A configuration that it cannot start with: the answer has the reason, and the page shows it.
    w.write("stile.yaml", "turn: { relm: x }\n")
    got = alice.post("/api/v1/services/turn/restart").is_(502, "failed").json["error"]
    if "relm" not in got["text"]:
        raise Failed(f"    {got}")
    row = wait_for("what became of it", lambda: [r for r in alice.get("/api/v1/services").json["services"] if r["service"] == "turn" and
                                                 r["exit"] and r["exit"].get("code") == 2])[0]
    if "relm" not in row["exit"]["error"] or row["state"] not in ("failed", "stopped"):
        raise Failed(f"    {row}")


@case("without systemd and supervisor a stop is the service's own verb, and a start says that nobody does it")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    alice.post("/api/v1/services/turn/restart").is_(503, "failed")
    alice.post("/api/v1/services/turn/stop").is_(200)
    turn.process.wait(20)
    turn.stop()
    w.reached(alice, "turn", "stopped")
    alice.post("/api/v1/services/turn/start").is_(503, "failed")
    alice.post("/api/v1/services/console/restart").is_(503, "failed")
    if not os.path.exists(w.path("run/stile-console.sock")) or alice.login("alice", PASSWORD).status != 200:
        raise Failed("    the console has gone")


if __name__ == "__main__":
    sys.exit(main(30600))
