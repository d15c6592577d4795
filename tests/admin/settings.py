# SPDX-License-Identifier: Apache-2.0
"""Settings of the store and changes of every service over its control socket: set at run time, kept over a restart, undone,
refused with the field's name, in conflict, committed as one, rolled back when nobody confirms."""
import json
import os
import signal
import socket
import struct
import sys
import time

from world import PATIENCE, SECRET, Failed, case, main, wait_for


class Refused(Exception):
    def __init__(self, error):
        super().__init__(str(error))
        self.error = error


def call(w, verb, full=None, **args):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(w.path(f"run/{full or w.full}.sock"))
        f = s.makefile("rw", encoding="utf-8")
        json.loads(f.readline())
        f.write(json.dumps({"id": 1, "verb": verb, "args": args}) + "\n")
        f.flush()
        answer = json.loads(f.readline())
    if "error" in answer:
        raise Refused(answer["error"])
    return answer["result"]


def refused(w, verb, code, *texts, full=None, **args):
    try:
        result = call(w, verb, full, **args)
    except Refused as r:
        missing = [t for t in texts if t not in json.dumps(r.error, ensure_ascii=False)]
        if r.error["code"] != code or missing:
            raise Failed(f"    {verb} {args}: {r.error} is not {code} {missing}") from r
        return r.error
    raise Failed(f"    {verb} {args} was not refused: {result}")


def row(w, path, full=None):
    return call(w, "config.get", full, path=path)["rows"][0]


def want(got, expected, what=""):
    if got != expected:
        raise Failed(f"    {what}: {got!r} is not {expected!r}")


def minimal(w, more="", name="stile.yaml", port=None):
    """A file without what the store sets."""
    p = port or w.base
    return w.write(name, f"log: {{ dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\nturn:\n"
                   f'  listen: ["udp:127.0.0.1:{p}"]\n  peers: {{ allow: [127.0.0.0/8] }}\n  secrets: [ {{ id: a, secret: {SECRET} }} ]\n{more}')


@case("a password, a port range and a log level are set at run time, hold over a restart, and are undone")
def _(w):
    p = w.base
    minimal(w, "  realm: admin.test\n")
    s = w.start()
    want(row(w, "turn.password")["value"], None)
    first = call(w, "config.set", path="turn.password", value="one-password")
    call(w, "config.set", path="turn.relay.addresses", value=["127.0.0.1"])
    call(w, "config.set", path="turn.relay.ports", value=f"{p + 20}-{p + 60}")
    level = call(w, "config.set", path="log.level", value="debug")
    want([r["key"] for r in level["changes"]], ["log.level"])
    r = row(w, "turn.relay.ports")
    want((r["value"], r["source"], r["locked"]), (f"{p + 20}-{p + 60}", "store", False))
    want(row(w, "turn.password")["value"], "***")
    want(w.verb("service.status")["log_level"], "debug")
    s.stop()
    s = w.start()
    want(row(w, "turn.relay.ports")["value"], f"{p + 20}-{p + 60}")
    want(row(w, "log.level")["source"], "store")
    want(w.verb("service.status")["log_level"], "debug")
    second = call(w, "config.set", path="turn.password", value="another-password")
    call(w, "config.undo", change=level["change"])
    want((row(w, "log.level")["value"], row(w, "log.level")["source"]), ("info", "default"))
    refused(w, "config.undo", "conflict", "changed again", change=first["change"])
    call(w, "config.undo", change=second["change"])
    text = json.dumps(call(w, "config.audit"))
    for secret in ("one-password", "another-password"):
        if secret in text or secret in w.log_text():
            raise Failed(f"    {secret} is in the audit or the log")
    s.stop()
    w.start()
    want(row(w, "log.level")["source"], "default")
    # What the password is shows in the export of an administrator.
    said = w.ask("config", "export", "-c", w.path("stile.yaml"), "--secrets").exits(0)
    said.says("password: one-password", f"{p + 20}-{p + 60}")
    said.never_says("another-password")


@case("what the file sets wins and is locked; a setting that it hides is shown, and counts when the file lets go")
def _(w):
    minimal(w, "  realm: admin.test\n  limits: { allocations: 77 }\n")
    w.start()
    error = refused(w, "config.set", "locked", "turn.limits.allocations", "stile.yaml:8", path="turn.limits.allocations", value=5)
    want((error["fields"][0]["path"], error["fields"][0]["line"]), ("turn.limits.allocations", 8))
    r = row(w, "turn.limits.allocations")
    want((r["value"], r["source"], r["locked"], r["line"]), ("77", "file", True, 8))
    call(w, "config.set", path="turn.limits.allocations_per_user", value=9)
    minimal(w, "  realm: admin.test\n  limits: { allocations_per_user: 3 }\n")
    w.ask("reload").exits(0)
    r = row(w, "turn.limits.allocations_per_user")
    want((r["value"], r["locked"], r["stored"]), ("3", True, "9"))
    minimal(w, "  realm: admin.test\n")
    w.ask("reload").exits(0)
    want(row(w, "turn.limits.allocations_per_user")["value"], "9")


@case("a bad value of each type is refused with its key, and nothing is changed")
def _(w):
    minimal(w, "  realm: admin.test\n")
    w.start()
    for path, value, text in [
            ("turn.limits.allocations", "many", "turn.limits.allocations"), ("turn.limits.allocations", -1, "turn.limits.allocations"),
            ("turn.relay.ports", "70000-80000", "turn.relay.ports"), ("turn.relay.ports", "500-400", "turn.relay.ports"),
            ("log.level", "loud", "log.level"), ("log.max_size", "1", "log.max_size"), ("log.delete_daily", "perhaps", "log.delete_daily"),
            ("turn.drain", "soon", "turn.drain"), ("stun_servers", ["stun.test:99999"], "stun_servers[0]"), ("stun_servers", "stun.test", "must be a list"),
            ("stun_servers", [["x"]], "stun_servers[0]"), ("stun_servers", {"a": "b"}, "stun_servers"),
            ("turn.peers.deny", ["10.0.0.0/40"], "turn.peers.deny"), ("turn.users", [{"name": "x"}], "turn.users"),
            ("turn.users", [{"name": "x", "password": "p", "passwort": "y"}], "did you mean 'password'"), ("turn.software", "x" * 2000, "turn.software"),
            ("turn.software", ["a"], "turn.software"), ("turn.relam", "x", "did you mean 'realm'"), ("turn.limits", "x", "is a map"),
            ("turn.software", None, "must have a value"), ("turn", "x", "is a map"), ("nix.da", "x", "there is no key"),
            ("store.path", "/tmp", "file"), ("", "x", "key")]:
        refused(w, "config.set", "bad-request", text, path=path, value=value)
    refused(w, "config.set", "bad-request", "missing", path="log.level")
    refused(w, "config.set", "bad-request", "no argument", path="log.level", value="x", vaule=1)
    refused(w, "config.set", "bad-request", "revision", path="log.level", value="info", revision="x")
    refused(w, "config.set", "bad-request", "confirm_within_ms", path="log.level", value="info", confirm_within_ms=10)
    refused(w, "config.unset", "not-found", path="log.level")
    refused(w, "config.undo", "not-found", change=1)
    want(call(w, "config.audit")["rows"], [])
    want([r for r in call(w, "config.get")["rows"] if r["source"] == "store"], [])


@case("two administrators: who comes second is shown both versions, and may then change what is there")
def _(w):
    minimal(w, "  realm: admin.test\n")
    w.start()
    one = call(w, "config.set", path="turn.software", value="one", revision=0)["revisions"][0]["revision"]
    refused(w, "config.set", "exists", "one", "two", path="turn.software", value="two", revision=0)
    call(w, "config.set", path="turn.software", value="two", revision=one, **{"as": "console alice"})
    error = refused(w, "config.set", "conflict", "alice", path="turn.software", value="three", revision=one)
    want(error["theirs"]["body"], {"turn": {"software": "two"}})
    want(error["yours"], {"turn": {"software": "three"}})
    call(w, "config.set", path="turn.software", value="three", revision=error["theirs"]["revision"])
    want(row(w, "turn.software")["value"], "three")
    call(w, "config.unset", path="turn.software")
    refused(w, "config.set", "conflict", "not there any more", path="turn.software", value="four", revision=one)
    # Objects have revisions, too, by any way they were made; of a secret neither version is shown.
    w.ask("turn", "user", "add", "bob", stdin="builder12\n").exits(0)
    have = call(w, "service.objects", kind="turn.user")["rows"][0]
    call(w, "config.put", kind="turn.user", key="bob", body={"password": "second12"}, revision=have["revision"])
    error = refused(w, "config.put", "conflict", "bob", kind="turn.user", key="bob", body={"password": "third123"}, revision=have["revision"])
    want((error["yours"], error["theirs"]["body"]), ({"password": "***"}, {"password": "***"}))
    refused(w, "config.put", "bad-request", "stands for a secret", kind="turn.user", key="bob", body={"password": "***"})  # as it was read
    error = refused(w, "config.put", "bad-request", "password", kind="turn.user", key="carl", body={"password": ""})
    want((error["fields"][0]["path"], error["fields"][0]["key"]), ("password", "carl"))
    refused(w, "config.put", "not-found", kind="nothing", key="carl", body={})


@case("a transaction is looked at, tried and committed as one; a bad one changes nothing; undo takes all of it back")
def _(w):
    minimal(w, "  realm: admin.test\n")
    w.start()
    t = call(w, "config.begin")["transaction"]
    call(w, "config.set", path="turn.software", value="Relay", transaction=t)
    call(w, "config.set", path="turn.limits.allocations", value="lots", transaction=t)
    call(w, "config.put", kind="turn.user", key="dora", body={"password": "explorer1"}, transaction=t)
    tried = call(w, "config.validate", transaction=t)
    want((tried["good"], [e["path"] for e in tried["errors"]]), (False, ["turn.limits.allocations"]))
    refused(w, "config.commit", "bad-request", "turn.limits.allocations", transaction=t)
    want(call(w, "config.audit")["rows"], [])
    want(call(w, "config.set", path="turn.limits.allocations", value=55, transaction=t)["changes"], 3)
    diff = call(w, "config.diff", transaction=t)
    want(sorted(r["key"] for r in diff["rows"]), ["turn.limits.allocations", "turn.software"])
    want(diff["objects"][0]["after"], {"password": "***"})
    done = call(w, "config.commit", transaction=t)
    want(len(done["revisions"]), 3)
    refused(w, "config.commit", "not-found", transaction=t)
    want(w.verb("turn.status")["allocations_limit"], 55)
    want([u["name"] for u in call(w, "turn.user.list")["rows"]], ["dora"])
    rows = call(w, "config.audit")["rows"]
    want({r["change"] for r in rows}, {done["change"]})
    undone = call(w, "config.undo", change=rows[0]["audit"])
    want(call(w, "turn.user.list")["rows"], [])
    want(row(w, "turn.software")["source"], "default")
    call(w, "config.undo", change=undone["change"])
    want([u["name"] for u in call(w, "turn.user.list")["rows"]], ["dora"])
    t = call(w, "config.begin")["transaction"]
    call(w, "config.abort", transaction=t)
    refused(w, "config.set", "not-found", path="turn.software", value="x", transaction=t)
    for _ in range(16):
        call(w, "config.begin")
    refused(w, "config.begin", "busy")


@case("what nobody confirms is taken back by itself, also over a crash; what is confirmed stays")
def _(w):
    minimal(w, "  realm: admin.test\n")
    s = w.start()
    call(w, "config.set", path="turn.software", value="Try", confirm_within_ms=1500)
    wait_for("rolled back", lambda: row(w, "turn.software")["source"] == "default")
    w.logged("config.rolled-back")
    refused(w, "config.confirm", "not-found")
    call(w, "config.set", path="turn.software", value="Keep", confirm_within_ms=20000)
    call(w, "config.confirm")
    want(call(w, "config.get")["pending"], None)
    # A change that cuts off who made it: the log's folder cannot be written any more after a crash, say. Here: a kill.
    call(w, "config.set", path="turn.software", value="Gone", confirm_within_ms=2000)
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    s.ended = True
    time.sleep(2.1)
    w.start()
    want(row(w, "turn.software")["value"], "Keep")
    w.logged("config.rolled-back", "at this start")
    # It may be undone at once, too, instead of waited for.
    done = call(w, "config.set", path="turn.software", value="Soon", confirm_within_ms=60000)
    refused(w, "config.set", "busy", "waits for its confirmation", path="log.level", value="debug")
    want(call(w, "config.get")["pending"]["change"], done["change"])
    call(w, "config.undo", change=done["change"])
    want(row(w, "turn.software")["value"], "Keep")
    want(call(w, "config.get")["pending"], None)


@case("a roll-back restarts the service for a key that was at work by a restart, and for no other")
def _(w):
    minimal(w)
    s = w.start()
    call(w, "config.set", path="turn.workers", value=1)  # waits for a restart
    want(call(w, "config.set", path="turn.fast_path.channels", value=1000, confirm_within_ms=1500)["restart_needed"], "turn.workers, turn.fast_path.channels")
    wait_for("rolled back", lambda: row(w, "turn.fast_path.channels")["source"] == "default")
    want(call(w, "service.status")["restart_needed"], "turn.workers")
    call(w, "config.set", path="turn.fast_path.channels", value=1000, confirm_within_ms=8000)
    s.stop()
    s = w.start()
    wait_for("it ends, to be started with what was before", lambda: s.process.poll() is not None)
    s.ended = True
    w.logged("config.restarts", "turn.fast_path.channels")


CLOCK = os.path.join(os.environ.get("STILE_BUILD", "build"), "tests/failure/libfailure-clock.so")


@case("the wall clock jumps while a change waits for its confirmation: it is taken back all the same, or says why it is not, once")
def _(w):
    def clock(seconds):
        with open(w.path("clock"), "r+b" if os.path.exists(w.path("clock")) else "wb") as f:
            f.write(struct.pack("q", seconds))

    minimal(w, "  realm: admin.test\n")
    clock(0)
    env = {"LD_PRELOAD": os.path.abspath(CLOCK), "STILE_TEST_CLOCK": w.path("clock")}
    s = w.start(env=env)
    call(w, "config.set", path="turn.software", value="Try", confirm_within_ms=1500)
    clock(-86400)
    wait_for("rolled back", lambda: row(w, "turn.software")["source"] == "default")
    # A day further nobody knows any more what the password was.
    call(w, "config.set", path="turn.password", value="first-secret")
    done = call(w, "config.set", path="turn.password", value="second-secret", confirm_within_ms=2500)
    clock(90000)
    wait_for("given up", lambda: call(w, "config.get")["pending"] is None)
    w.logged("config.stuck", f"change={done['change']}", "set it anew")
    time.sleep(1)
    want(w.log_text().count("config.stuck"), 1, "lines of config.stuck")
    call(w, "config.set", path="turn.software", value="Goes on")
    # A machine that has no clock while it is off.
    call(w, "config.set", path="turn.software", value="Try again", confirm_within_ms=1500)
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    s.ended = True
    clock(-10 * 365 * 86400)
    w.start(env=env)
    wait_for("rolled back after a start in another year", lambda: row(w, "turn.software")["value"] == "Goes on")


@case("a setting that has become bad beside a new file does not keep the server from starting, and says so")
def _(w):
    minimal(w, "  realm: admin.test\n")
    s = w.start()
    call(w, "config.set", path="turn.relay.ports", value=f"{w.base + 20}-{w.base + 40}")
    s.stop()
    os.remove(w.path("stile.yaml"))
    w.write("stile.yaml", "turn: { relam: x }\n")
    w.start_fails().exits(2).says("did you mean 'realm'")


@case("the tool sets, shows, tries, commits, confirms and undoes; a secret is asked for; a refusal shows its key")
def _(w):
    minimal(w, "  realm: admin.test\n")
    w.start()
    w.ask("config", "set", "turn.software", "Relay 1").exits(0).says("change 1 is made", "turn.software Stile → Relay 1", "config undo turn 1")
    w.ask("config", "get", "turn.software").exits(0).says("value      Relay 1", "set in     store", "default    Stile")
    w.ask("config", "get", "turn").exits(0).says("turn.software", "Relay 1").says("turn.realm", "admin.test", "stile.yaml:7")
    w.ask("config", "set", "turn.password", stdin="hush-hush-1\n").exits(0).never_says("hush-hush-1")
    w.ask("config", "set", "log.level", "debug").exits(2).says("--service")
    w.ask("config", "set", "log.level", "debug", "--service", "turn").exits(0).says("log.level info → debug")
    w.ask("config", "set", "turn.realm", "x").exits(1).says("stile.yaml:7", "the file wins", "stile reload")
    w.ask("config", "set", "turn.limits.allocations", "lots").exits(1).says("turn.limits.allocations:", "lots")
    w.ask("config", "set", "turn.relam", "x").exits(1).says("no key turn.relam")
    w.ask("config", "set", "turn.peers.deny", "198.51.100.0/24", "203.0.113.0/24").exits(0)
    want(row(w, "turn.peers.deny")["value"], ["198.51.100.0/24", "203.0.113.0/24"])
    # Addresses and prefixes in brackets are items, and no JSON; what is meant as JSON and is none is refused.
    w.ask("config", "set", "stun_servers", "[::1]:3478", "--service", "turn").exits(0)
    want(row(w, "stun_servers")["value"], ["[::1]:3478"])
    w.ask("config", "set", "stun_servers", '["[::1]:3479"]', "--service", "turn").exits(0)
    want(row(w, "stun_servers")["value"], ["[::1]:3479"])
    w.ask("config", "set", "turn.users", "[{name: eve}]").exits(2).says("no JSON")
    # Who unsets what has been changed meanwhile is told so, too.
    w.ask("config", "unset", "stun_servers", "--service", "turn", "--revision", "1").exits(1).says("meanwhile")
    want(row(w, "stun_servers")["value"], ["[::1]:3479"])
    w.ask("config", "unset", "stun_servers", "--service", "turn", "--revision", str(row(w, "stun_servers")["revision"])).exits(0)
    want(row(w, "stun_servers")["source"], "default")
    w.ask("config", "set", "turn.users", '[{"name": "eve", "password": "eves-own-1"}]').exits(0)
    want(row(w, "turn.users")["value"], [{"name": "eve", "password": "***"}])
    w.ask("config", "begin", "turn").exits(0).says("transaction 1")
    w.ask("config", "set", "turn.software", "Relay 2", "-t", "1").exits(0).says("1 changes")
    w.ask("config", "set", "turn.limits.allocations", "none", "-t", "1").exits(0).says("2 changes")
    w.ask("config", "review", "turn", "1").exits(1).says("✘ turn.limits.allocations", "cannot be committed")
    w.ask("config", "set", "turn.limits.allocations", "66", "-t", "1").exits(0)
    w.ask("config", "review", "turn", "1").exits(0).says("Relay 1 → Relay 2", "nothing stands against it")
    w.ask("config", "commit", "turn", "1", "--confirm-within", "60s").exits(0).says("taken back in", "stile config confirm turn")
    w.ask("config", "set", "turn.software", "Relay 3").exits(1).says("waits for its confirmation")
    w.ask("config", "confirm", "turn").exits(0).says("stays")
    w.ask("config", "confirm", "turn").exits(1).says("no change waits")
    number = str(call(w, "config.audit")["rows"][0]["change"])
    w.ask("config", "undo", "turn", number).exits(0).says("Relay 2 → Relay 1")
    w.ask("config", "undo", "turn", "9999").exits(1).says("no such change")
    said = w.ask("config", "history", "turn").exits(0).says("uid ", "turn.software", "undoes " + number, "Relay 2", "Relay 1")
    said.says("turn.password", "a secret").never_says("hush-hush-1", "eves-own-1")
    w.ask("config", "unset", "turn.software").exits(0).says("Relay 1 → Stile")
    seen = row(w, "turn.peers.deny")["revision"]
    w.ask("config", "set", "turn.peers.deny", "198.51.100.0/24").exits(0)
    w.ask("config", "set", "turn.peers.deny", "192.0.2.0/24", "--revision", str(seen)).exits(1).says("changed meanwhile", "there is:", "yours is:")
    w.ask("config", "begin", "turn").exits(0)
    w.ask("config", "abort", "turn", "2").exits(0).says("dropped")
    w.ask("config", "get", "--service", "agent").exits(1).says("not running")
    w.ask("config", "export", "-c", w.path("stile.yaml")).exits(0).says("deny: [198.51.100.0/24]", "name: eve").never_says("eves-own-1")


if __name__ == "__main__":
    sys.exit(main(27200))
