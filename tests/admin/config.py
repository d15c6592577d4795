# SPDX-License-Identifier: Apache-2.0
"""`stile config export`, `stile config diff` and `stile ready`: what a node does, whether another does the same."""
import os
import stat
import sys

from world import SECRET, Failed, case, main


def export(w, *more):
    return w.ask("config", "export", "-c", w.path("stile.yaml"), *more).exits(0)


def diff(w, *words, **more):
    return w.ask("config", "diff", "-c", w.path("stile.yaml"), *words, **more)


@case("an export holds file, conf.d and the store's objects, can be read as a file, and masks secrets")
def _(w):
    w.config(tls=False, top="share: { base_port: 9000 }\n")
    w.write("conf.d/more.yaml", "turn:\n  drain: 7s\n")
    w.start()
    w.ask("turn", "user", "add", "bob \"x\"", stdin="builder12\n").exits(0)
    said = export(w).says("# stile config export of", "turn:", "realm: admin.test")
    said.says("- name: alice", 'password: "***"', '- name: "bob \\"x\\""', 'password: "***"')
    said.says("drain: 7s", "base_port: 9000").never_says("wonderland", "builder12", SECRET, "share cannot be asked")
    w.write("copy/stile.yaml", export(w, "--secrets").says("wonderland", "builder12", SECRET).out)
    w.check("copy/stile.yaml").exits(0)
    users = export(w, "--json").json()["turn"]["users"]
    if [u["name"] for u in users] != ["alice", 'bob "x"'] or any(u["password"] != "***" for u in users):
        raise Failed(f"    {users}")


@case("an export without its service says what is missing; a bad file is exit status 2")
def _(w):
    w.config(tls=False)
    export(w).says("cannot be asked", "turn:")
    w.write("stile.yaml", "turn: { relam: x }\n")
    w.ask("config", "export", "-c", w.path("stile.yaml")).exits(2).says("did you mean 'realm'?")


@case("of an instance's folder, the store is the instance's")
def _(w):
    w.config(tls=False)
    w.start()
    w.config("branch/stile.yaml", tls=False, listen=f'["udp:127.0.0.1:{w.base + 2}"]')
    w.start("branch", "--instance", "branch")
    w.ask("turn", "user", "add", "bob", "--instance", "branch", stdin="builder12\n").exits(0)
    w.ask("config", "export", "-c", w.path("branch")).exits(0).says("name: bob")
    w.ask("config", "export", "-c", w.path("branch"), "--instance", "none").exits(0).says("stile-turn@none cannot be asked").never_says("bob")
    export(w).never_says("bob")


@case("diff tells what differs by key, exit 1; by value, not by spelling; from a file, standard input or a host")
def _(w):
    w.config(tls=False, limits="{ bitrate_per_user: 2Mbit/s }")
    w.start()
    w.write("other.yaml", export(w).out)
    diff(w, w.path("other.yaml")).exits(0).says("alike")
    other = export(w).out.replace("2Mbit/s", "2000kbit/s").replace("2000000", "2000kbit/s")
    diff(w, "-", stdin=other).exits(0).says("alike, as far as")
    w.ask("turn", "user", "add", "bob", stdin="builder12\n").exits(0)
    said = diff(w, "-", stdin=other.replace("realm: admin.test", "realm: other.test"))
    said.exits(1).says("KEY", "HERE", "THERE", "turn.realm", "admin.test", "other.test", "turn.users[bob]", "here", "not there")
    diff(w, "-", "--ignore", "turn.realm", "--ignore", "turn.users",
         stdin=other.replace("realm: admin.test", "realm: other.test")).exits(0)
    clear = export(w, "--secrets").out
    diff(w, "-", stdin=clear).exits(0).says("alike\n")
    diff(w, "-", stdin=clear.replace("wonderland", "otherland")).exits(1).says("turn.users[alice].password", "another one")
    diff(w, w.path("none.yaml")).exits(1).says("none.yaml", "No such file")
    diff(w, "-", stdin="turn: { relam: x }\n").exits(2).says("-:1:", "did you mean")
    # A host is asked by ssh: here one that only looks what it is told.
    w.write("bin/ssh", "#!/bin/sh\n[ \"$1 $2 $3\" = '-- node-b stile config export' ] && cat %s\n" % w.path("other.yaml"))
    os.chmod(w.path("bin/ssh"), stat.S_IRWXU)
    path = {"PATH": w.path("bin") + ":" + os.environ["PATH"]}
    diff(w, "node-b", "--ignore", "turn.users", env=path).exits(0).says("alike")
    diff(w, "node-c", env=path).exits(1).says("node-c gave no export", "ssh node-c stile config export | stile config diff -")


@case("users and secrets of a realm are exported with it, wherever the realm was made")
def _(w):
    w.config(tls=False, listen=f'["udp:127.0.0.1:{w.base}", "udp:127.0.0.1:{w.base + 2}"]')
    w.start()
    w.ask("config", "set", "turn.realms",
          f'[{{"name": "partner.example", "listen": ["udp:127.0.0.1:{w.base + 2}"], "users": [{{"name": "carol", "password": "of-carol"}}]}}]').exits(0)
    w.ask("turn", "user", "add", "dan", "--realm", "partner.example", stdin="builder12\n").exits(0)
    w.ask("turn", "secret", "add", "web", "--realm", "partner.example", stdin="a-long-secret-of-web\n").exits(0)
    realm = export(w, "--json", "--secrets").json()["turn"]["realms"][0]
    if [u["name"] for u in realm["users"]] != ["carol", "dan"] or realm["secrets"] != [{"id": "web", "secret": "a-long-secret-of-web"}]:
        raise Failed(f"    {realm}")
    for other in (export(w).out, export(w, "--secrets").out):
        diff(w, "-", stdin=other).exits(0).says("alike")


@case("ready: 0 while the service runs, 1 and why when it does not, 2 if there is none of the name")
def _(w):
    w.config(tls=False)
    w.ask("ready").exits(1).says("stile-turn is not ready: it is not running")
    s = w.start()
    w.ask("ready", "turn", "--wait", "5s").exits(0).says("stile-turn is ready")
    if w.ask("ready", "--json").exits(0).json() != {"service": "stile-turn", "ready": True, "why": ""}:
        raise Failed("    --json")
    s.stop()
    w.ask("ready", "stile-turn").exits(1)
    w.ask("ready", "trun").exits(2).says("no service 'trun'")
    for other in ("tunnel", "agent", "sip", "console", "gateway"):
        w.ask("ready", "turn", other).exits(1).says(f"stile-{other} is not ready: it is not running")
    if [r["service"] for r in w.ask("ready", "turn", "sip", "--json").exits(1).json()] != ["stile-turn", "stile-sip"]:
        raise Failed("    of several there is not a row each")


if __name__ == "__main__":
    sys.exit(main(25200))
