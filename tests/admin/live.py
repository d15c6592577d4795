# SPDX-License-Identifier: Apache-2.0
"""A running server: status, sessions, kill, users, credentials, reload, log."""
import json
import os
import signal
import subprocess
import sys
import time

from world import PATIENCE, SECRET, STILE, Failed, case, main, wait_for


class Load:
    """`stile bench turn` in the background: allocations that last for some seconds."""

    def __init__(self, w, allocations, *more, seconds=30):
        self.process = subprocess.Popen(
            [STILE, "bench", "turn", "127.0.0.1", "-p", str(w.port), "-n", str(allocations), "-r", "200", "-T", f"{seconds}s",
             "-u", "alice", "--password", "wonderland", "--runtime-dir", w.path("run"), *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wanted, self.w = allocations, w

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.w.verb("turn.status")["allocations"] >= self.wanted:
                return self
            time.sleep(0.05)
        raise Failed(f"    the load made {self.w.verb('turn.status')['allocations']} of {self.wanted} allocations")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@case("status tells listeners, relay addresses, what is accepted, and that all is well")
def _(w):
    w.config()
    w.start()
    w.ask("status").exits(0).says("stile-turn  ", "pid", "log level debug", f"listens on  udp:127.0.0.1:{w.port}, tcp:",
                                  "relays from 127.0.0.1", "accepts     1 user, 1 shared secret; realm admin.test",
                                  "allocations 0 of 10000", "nothing to do")
    row = w.ask("status", "--json").exits(0).json()[0]
    if row["program"] != "stile-turn" or len(row["turn"]["listeners"]) != 4:
        raise Failed(f"    {row}")


@case("sessions shows user, five-tuple, relay address, traffic, age and remaining lifetime; kill ends one")
def _(w):
    w.config()
    w.start()
    w.ask("turn", "sessions").exits(0).says("no sessions")
    with Load(w, 3):
        wait_for("packets both ways", lambda: all(r["packets_up"] and r["bytes_down"] for r in w.verb("turn.sessions")["rows"]))
        said = w.ask("turn", "sessions").exits(0)
        said.says("ID", "USER", "VIA", "CLIENT", "SERVER", "RELAY", "PKT UP", "UP", "PKT DOWN", "DOWN", "AGE", "REMAINING",
                  rf"~\d+  alice  udp  127.0.0.1:\d+  127.0.0.1:{w.port}  127.0.0.1:\d+ +\d+ +[\d.]+ K?B +\d+ +[\d.]+ K?B +\S+ m?s +9m \d+s")
        if len(said.out.splitlines()) != 4 or len({len(line) for line in said.out.splitlines()}) != 1:
            said.fail("the columns do not stand below each other")
        rows = w.ask("turn", "sessions", "--json").exits(0).json()
        for key in ("id", "user", "transport", "client", "local", "relay", "packets_up", "bytes_up", "packets_down", "bytes_down",
                    "age_ms", "remaining_ms"):
            if key not in rows[0]:
                raise Failed(f"    --json has no {key}: {rows[0]}")
        if not all(r["packets_up"] and r["bytes_down"] and 0 < r["remaining_ms"] <= 600000 for r in rows):
            raise Failed(f"    figures: {rows}")
        one = str(rows[1]["id"])
        w.ask("turn", "kill", one).exits(0).says(f"session {one} is ended")
        w.ask("turn", "kill", one).exits(1).says(f"there is no session {one}")
        if one in [str(r["id"]) for r in w.ask("turn", "sessions", "--json").exits(0).json()]:
            raise Failed("    the killed session is still listed")
        w.logged("turn.alloc.ended", f"id={one}", "user=alice")


@case("more than a thousand sessions are paged through, each once, over several workers")
def _(w):
    w.config(tls=False, workers="2", limits="{ allocations_per_user: 5000 }",
             relay="{ addresses: [127.0.0.77], ports: 61000-64999 }")  # where neither cases nor the kernel take ports
    w.start()
    with Load(w, 1100, "--in-flight", "256"):
        w.ask("turn", "sessions").exits(0).says("there may be more than these 1000; --limit shows them")
        rows = w.ask("turn", "sessions", "--limit", "5000", "--json").exits(0).json()
        if len(rows) < 1100 or len({r["id"] for r in rows}) != len(rows) or len({r["relay"] for r in rows}) != len(rows):
            raise Failed(f"    {len(rows)} rows, {len({r['id'] for r in rows})} ids")
        page = w.verb("turn.sessions", {"limit": 7})
        if len(page["rows"]) != 7 or "cursor" not in page:
            raise Failed("    a page of 7 has no cursor")
        if len(w.ask("turn", "sessions", "-n", "7").exits(0).out.splitlines()) != 8:
            raise Failed("    --limit 7 shows another number")


def works(w, user, password, good=True):
    said = w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", "--user", user, "--password", password)
    return said.exits(0) if good else said.exits(1).says("401 Unauthorized - wrong user name or password")


@case("users are made, changed and deleted at once, and stay over a restart")
def _(w):
    w.config(tls=False)
    s = w.start()
    works(w, "bob", "builders-tea", good=False)
    w.ask("turn", "user", "add", "bob", stdin="builders-tea\n").exits(0).says("user bob may use the server now")
    works(w, "bob", "builders-tea")
    w.ask("turn", "user", "add", "bob", stdin="again\n").exits(1).says("there is a user bob already", "passwd")
    w.ask("turn", "user", "passwd", "bob", stdin="earl-grey\n").exits(0).says("new password")
    works(w, "bob", "builders-tea", good=False)
    works(w, "bob", "earl-grey")
    w.ask("turn", "user", "list").exits(0).says("alice", "file", "yes", "bob", "store", "no").never_says("earl-grey", "wonderland")
    s.stop()
    w.start()
    works(w, "bob", "earl-grey")
    w.ask("turn", "user", "delete", "bob").exits(0).says("user bob is deleted")
    works(w, "bob", "earl-grey", good=False)
    w.ask("turn", "user", "delete", "bob").exits(1).says("there is no user bob")
    w.ask("turn", "user", "passwd", "bob", stdin="x\n").exits(1).says("there is no user bob", "user add")


@case("a user of the file is locked, and the tool says where it is set")
def _(w):
    w.config(tls=False)
    w.start()
    for command in (["add", "alice"], ["passwd", "alice"], ["delete", "alice"]):
        w.ask("turn", "user", *command, stdin="stolen-name\n").exits(1).says("user alice is set in", "stile.yaml", "reload")


@case("a user name or password that clients could never send is refused and harms nothing")
def _(w):
    w.config(tls=False)
    s = w.start()
    for name in ("a\x01b", "ali\u00adce", "x" * 256):
        w.ask("turn", "user", "add", name, stdin="builders-tea\n").exits(1).says("1 to 255 bytes").never_says("\x01")
    w.ask("turn", "user", "add", "bob", stdin="tab\there\n").exits(1).says("a password has")
    w.ask("turn", "user", "add", "bob", stdin="").exits(1).says("no password was given")
    w.ask("turn", "user", "add", "bob", stdin="y" * 300 + "\n").exits(1).says("too long")
    for args in ({"name": "bob", "password": "y" * 256}, {"name": "bob", "password": "y" * 256, "realm": "admin.test"}):
        try:
            w.verb("turn.user.put", args)
        except Failed as e:
            if "a password has 1 to 255 bytes" not in str(e):
                raise
        else:
            raise Failed("    a password that no file could have was taken")
    w.ask("turn", "user", "add", "Zo\u00eb", stdin="builders-tea\n").exits(0)
    w.ask("turn", "user", "add", "Zoe\u0308", stdin="builders-tea\n").exits(1).says("there is a user")
    s.stop()
    w.start()
    works(w, "Zo\u00eb", "builders-tea")


@case("credentials are minted from the file or by the server, and work; an expired one is refused and the log says since when")
def _(w):
    w.config(tls=False)
    w.start()
    file = ["-c", w.path("stile.yaml")]
    none = ["-c", w.path("none.yaml")]
    for where in (file, none):
        for mac in ("sha1", "sha256"):
            c = w.ask("credentials", "carol", *where, "--mac", mac, "--json").exits(0).json()
            if not c["username"].endswith(":carol") or c["ttl"] != 86400 or c["realm"] != "admin.test":
                raise Failed(f"    {c}")
            works(w, c["username"], c["password"])
    w.ask("credentials", *file).exits(0).says("username", ":user", "password", "valid until")
    w.ask("credentials", *file, "--secret", "none").exits(1).says("there is no secret none")
    w.ask("credentials", *none, "--secret", "none").exits(1).says("there is no secret none")
    old = w.ask("credentials", "dora", *file, "--ttl", "1s", "--json").exits(0).json()
    time.sleep(2.1)
    works(w, old["username"], old["password"], good=False)
    line = w.logged("turn.refused.credential", "time-limited credential has expired", f"user={old['username']}", "secret=2026a")
    if not any(f"{n} s ago" in line for n in range(1, 20)):
        raise Failed(f"    the line does not say since when: {line}")
    works(w, f"{int(time.time()) + 60}:eve", "guessed", good=False)
    w.logged("turn.refused.credential", ":eve", "wrong password")
    works(w, "mallory", "guessed", good=False)
    w.logged("turn.refused.credential", "unknown user", "user=mallory")


@case("SIGHUP and reload take new users and secrets; sessions go on; a removed user makes no new one")
def _(w):
    w.config(tls=False)
    s = w.start()
    with Load(w, 2):
        w.config(tls=False, users="[ { name: bob, password: builders-tea } ]", secrets="[ { id: 2026b, secret: another-shared-secret } ]")
        w.ask("reload").exits(0).says("has read its configuration again").never_says("restart")
        works(w, "bob", "builders-tea")
        works(w, "alice", "wonderland", good=False)
        old = w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "-t", "udp", "--shared-secret", SECRET)
        old.exits(1).says("401")
        w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "-t", "udp", "--shared-secret", "another-shared-secret").exits(0)
        before = {r["id"]: r["packets_down"] for r in w.verb("turn.sessions")["rows"] if r["user"] == "alice"}
        if len(before) != 2:
            raise Failed(f"    alice's sessions: {before}")

        def go_on():
            after = {r["id"]: r["packets_down"] for r in w.verb("turn.sessions")["rows"]}
            return all(after[i] > before[i] for i in before)
        wait_for("alice's sessions go on", go_on)
    w.config(tls=False)
    s.process.send_signal(signal.SIGHUP)
    wait_for("alice is a user again", lambda: "alice" in json.dumps(w.verb("turn.user.list")))
    works(w, "alice", "wonderland")


@case("a bad reload changes nothing, and is told by reload, status and log until a good one")
def _(w):
    w.config()
    w.start()
    w.config(users="[ { name: bob, password: builders-tea } ]", relam="x")
    w.ask("reload").exits(1).says("stile.yaml:", "unknown key 'relam'", "did you mean 'realm'?", "the old configuration is at work")
    works(w, "alice", "wonderland")
    works(w, "bob", "builders-tea", good=False)
    w.ask("status").exits(1).says("the last reload failed, the old configuration is at work", "unknown key 'relam'")
    if "relam" not in w.ask("status", "--json").exits(1).json()[0]["reload_error"]:
        raise Failed("    --json does not have it")
    w.logged("service.bad-config", "unknown key 'relam'")
    w.logged("service.reload-failed")
    os.remove(w.path("server.key"))
    w.config()
    w.ask("reload").exits(1).says("key file", "cannot be read")
    w.certificate("other")
    os.rename(w.path("other.key"), w.path("server.key"))
    w.ask("reload").exits(1).says("does not belong to the certificate")
    os.remove(w.path("server.pem"))
    w.config()
    w.ask("reload").exits(0)
    w.ask("status").exits(0).says("nothing to do")


@case("keys that a reload cannot apply are named as needing a restart, and keep their old value")
def _(w):
    w.config(tls=False)
    s = w.start()
    w.config(tls=False, realm="other.test", workers="3", users="[ { name: bob, password: builders-tea } ]")
    w.ask("reload").exits(0).says("need a restart: turn.workers")
    w.ask("status").exits(1).says("realm other.test", "workers 1", "needs a restart: turn.workers")
    w.logged("service.restart-needed", "turn.workers")
    works(w, "bob", "builders-tea").says("realm other.test")
    s.stop()
    w.start()
    w.ask("status").exits(0).says("workers 3", "nothing to do")


@case("the log level is changed while it runs, and a reload brings the file's back")
def _(w):
    w.config(log="{ level: warn, dir: %s }" % w.path("log"))
    w.start()
    if w.log_text():
        raise Failed(f"    level warn, and yet: {w.log_text()}")
    w.ask("log", "level").exits(0).says("stile-turn logs at level warn")
    w.ask("log", "level", "debug").exits(0).says("level debug")
    w.ask("log", "level", "stile-turn", "info").exits(0).says("level info")
    works(w, "alice", "wonderland")
    w.logged("info turn.alloc.created", "user=alice", "relay=127.0.0.1:")
    w.ask("reload").exits(0)
    w.ask("log", "level", "turn").exits(0).says("level warn")


@case("after logrotate has moved the log, SIGHUP opens a new one")
def _(w):
    w.config(tls=False)
    s = w.start()
    w.logged("service.ready")
    os.rename(w.path("log/stile-turn.log"), w.path("log/stile-turn.log.moved"))
    s.process.send_signal(signal.SIGHUP)
    w.logged("service.reloaded")
    if "service.ready" in w.log_text():
        raise Failed("    this is the old file")


@case("a full log file is put aside, and only as many as wished are kept")
def _(w):
    w.config(tls=False, log="{ level: debug, dir: %s, max_size: 64KiB, keep: 2 }" % w.path("log"))
    w.start()
    for _ in range(20):  # a line of the log for each
        if os.path.exists(w.path("log/stile-turn.log.2")):
            break
        w.verbs([("log.level", {"level": level}) for level in ("debug", "info") * 100])
    wait_for("it was put aside twice", lambda: os.path.exists(w.path("log/stile-turn.log.2")))  # the log has a thread of its own
    time.sleep(0.3)
    names = sorted(n for n in os.listdir(w.path("log")))
    sizes = [os.path.getsize(w.path("log/" + n)) for n in names]
    if names != ["stile-turn.log", "stile-turn.log.1", "stile-turn.log.2"] or max(sizes) > 70 << 10:
        raise Failed(f"    {names} {sizes}")


@case("with format json every line of the log is an object with time, level, id and text")
def _(w):
    w.config(tls=False, log="{ level: info, dir: %s, format: json }" % w.path("log"))
    s = w.start()
    works(w, "mallory", "x", good=False)
    s.stop()
    ids = set()
    for line in w.log_text().splitlines():
        o = json.loads(line)
        ids.add(o["id"])
        if not {"time", "level", "text"} <= o.keys():
            raise Failed(f"    {line}")
    if not {"service.ready", "turn.refused.credential", "service.stopped"} <= ids:
        raise Failed(f"    only these ids: {ids}")


def median_delay(w):
    said = w.ask("bench", "turn", "127.0.0.1", "-p", str(w.port), "-n", "8", "-r", "10000", "-T", "1s", "-u", "alice", "--password", "wonderland",
                 "--json").exits(0)
    return json.loads(said.out)["latency_us"]["p50"]


def sleeps(pid):
    """How often the process's threads have gone to sleep."""
    n = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            n += int(f.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return n


@case("a reload with coalesce makes packets wait, and an idle server still sleeps")
def _(w):
    w.config(tls=False)
    w.start()
    at_once = median_delay(w)
    w.config(tls=False, coalesce="200")
    w.ask("reload").exits(0).says("coalesce")
    waited = median_delay(w)
    if waited < at_once + 50:  # one comes every 100 µs: most find the worker waiting
        raise Failed(f"    the median delay was {at_once:.0f} µs, and with coalesce {waited:.0f} µs")
    pid = w.verb("service.status")["pid"]
    before = sleeps(pid)
    time.sleep(2)
    if sleeps(pid) - before > 200:
        raise Failed(f"    {sleeps(pid) - before} times woken in two idle seconds")


@case("no secret stands in the log, whatever the level")
def _(w):
    w.config(tls=False, log="{ level: trace, dir: %s }" % w.path("log"))
    s = w.start()
    works(w, "alice", "wonderland")
    w.ask("turn", "user", "add", "bob", stdin="builders-tea\n").exits(0)
    w.ask("credentials", "carol", "-c", w.path("none.yaml")).exits(0)
    w.ask("reload").exits(0)
    s.stop()
    for secret in ("wonderland", "builders-tea", SECRET):
        if secret in w.log_text():
            raise Failed(f"    the log holds '{secret}'")


if __name__ == "__main__":
    sys.exit(main(24080))
