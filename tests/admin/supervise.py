# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping and looking after services without systemd, and their logs: `stile supervise`, `start`, `stop`, `restart`,
`status` of what does not run, `logs`, `logs zip`, `logs delete`; and who may do so by the polkit rule."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

from world import BUILD, PATIENCE, ROOT, STILE, Failed, Said, Skipped, case, main, need_root, silent, wait_for
import socket

USER = ["--user", "root"] if ROOT else []
JOURNAL = os.path.join(BUILD, "tests/admin/libadmin-journal.so")


class Supervisor:
    """stile supervise in the foreground; ends with the case."""

    def __init__(self, w, *words):
        self.w, self.argv = w, [STILE, "supervise", *words, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"), *USER]
        self.out = open(w.path("supervise.out"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out)
        self.ended = False
        w.servers.append(self)

    def said(self):
        with open(self.out.name, encoding="utf-8", errors="replace") as f:
            return Said(self.argv, self.process.poll(), f.read(), "")

    def says(self, text):
        wait_for(f"it says {text}", lambda: text in self.said().out or self.process.poll() is not None)
        return self.said().says(text)

    def stop(self, status=0):
        if self.ended:
            return
        self.ended = True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.said().fail("the supervisor did not stop")
        self.said().exits(status)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.out.close()


def row(w, full="stile-turn"):
    for r in w.verb("supervisor.services", full="stile-supervisor")["rows"]:
        if r["program"] + ("@" if r["instance"] else "") + r["instance"] == full:
            return r
    return {}


def text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def pid(w):
    return w.verb("service.status")["pid"]


def with_lab(w):
    """Supervises two of a service: stile-turn, and stile-turn@lab with a file of its own."""
    w.config(tls=False)
    p = w.base + 4
    w.config("lab.yaml", tls=False, listen=f'["udp:127.0.0.1:{p}"]', relay=f"{{ addresses: [127.0.0.1], ports: {p + 1}-{p + 5} }}")
    s = Supervisor(w, "turn", "turn@lab=" + w.path("lab.yaml"))
    s.says("stile-turn runs, pid")
    s.says("stile-turn@lab runs, pid")
    return s


def want_lines(said, ends):
    """A line each, with this in it."""
    lines = said.exits(0).out.splitlines()
    if len(lines) != len(ends) or not all(e in line for e, line in zip(ends, lines)):
        said.fail(f"not a line each with {ends}")


@case("supervise starts what the file configures; start, stop and restart wait until it is done, and status shows what is stopped")
def _(w):
    w.config(tls=False, top="share: { base_port: 9000 }\n")  # a section that belongs to no service
    s = Supervisor(w)
    s.says("stile-turn runs, pid")
    before = pid(w)
    w.ask("restart", "turn").exits(0).says("stile-turn runs, pid")
    if pid(w) == before:
        raise Failed("    it is the same process")
    w.ask("start", "turn").exits(0).says("stile-turn runs, pid")  # it does already
    w.ask("stop", "turn").exits(0).says("stile-turn has stopped")
    w.ask("status").exits(1).says("- turn", "stopped since")
    if row(w)["state"] != "stopped" or row(w)["exit_code"] != 0:
        raise Failed(f"    {row(w)}")
    time.sleep(1.5)
    if row(w)["pid"]:
        raise Failed("    what was stopped came back")
    started = w.ask("start", "turn", "--json").exits(0).json()[0]
    if started["state"] != "running" or started["by"] != "supervisor":
        raise Failed(f"    {started}")
    w.ask("status").exits(0).says("nothing to do")
    w.ask("start", "bakery").exits(2).says("there is no service 'bakery'", "turn", "console")
    w.ask("start", "turn@lab").exits(1).says("knows no service stile-turn@lab", "stile supervise")
    s.stop()
    s.said().says("asked for by", "stile-turn stopped")
    w.ask("start", "turn", env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + w.path("nobody")}).exits(1).says("system bus")


@case("what falls is started again, and says by which signal; a service that does not start says its exit code and last error")
def _(w):
    w.config(tls=False)
    s = Supervisor(w, "turn")
    s.says("stile-turn runs, pid")
    first = pid(w)
    os.kill(first, signal.SIGKILL)
    s.says("stile-turn fell: ended by SIGKILL")
    wait_for("it runs again", lambda: row(w)["state"] == "running" and row(w)["pid"] != first)
    if row(w)["restarts"] != 1:
        raise Failed(f"    {row(w)}")
    w.ask("stop", "turn").exits(0)
    with silent(socket.SOCK_STREAM, w.port):
        said = w.ask("start", "turn").exits(1)
        said.says("stile-turn did not start: exit code 1", "cannot listen on", f"127.0.0.1:{w.port}")
        wait_for("it is tried again", lambda: row(w)["restarts"] > 1)
        wait_for("status says so", lambda: "Address already in use" in w.ask("status").out + w.ask("status").err)
    wait_for("it runs when the port is free", lambda: row(w)["state"] == "running")
    w.ask("stop", "turn").exits(0)
    w.config(tls=False, relam="x")
    w.ask("start", "turn").exits(1).says("exit code 2", "unknown key 'relam'")
    restarts = row(w)["restarts"]
    w.ask("status").exits(1).says("✘ turn", "failed since", "exit code 2", "unknown key")
    time.sleep(2)
    if row(w)["restarts"] != restarts:
        raise Failed("    a bad configuration is tried again, although nobody has changed it")


@case("a service that is stopped as soon as it was started, ends, and none but it")
def _(w):
    s = with_lab(w)
    w.ask("stop", "turn@lab").exits(0)
    lab = {"program": "stile-turn", "instance": "lab"}
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(PATIENCE)
        c.connect(w.path("run/stile-supervisor.sock"))
        f = c.makefile("rb")
        f.readline()  # its hello
        for i in range(20):
            both = [{"id": 2 * i, "verb": "supervisor.start", "args": lab}, {"id": 2 * i + 1, "verb": "supervisor.stop", "args": lab}]
            c.sendall("".join(json.dumps(r) + "\n" for r in both).encode())
            answers = {a["id"]: a for a in (json.loads(f.readline()) for _n in both)}
            if answers[2 * i + 1].get("result", {}).get("state") != "stopped":
                raise Failed(f"    {answers}")
    if row(w)["state"] != "running" or s.process.poll() is not None:
        raise Failed(f"    {s.said().out}")


@case("a viewer may look and not start or stop; an instance has a file of its own")
def _(w):
    need_root()
    with_lab(w)
    lines = w.ask("logs", "-n", "3").exits(0).out.splitlines()
    if len(lines) != 3:  # of both together
        raise Failed(f"    {len(lines)} lines")
    os.chmod(w.folder, 0o755)
    os.chmod(w.path("run/stile-supervisor.sock"), 0o666)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    w.run(*nobody, STILE, "stop", "turn", "--runtime-dir", w.path("run")).exits(1).says("role operator")
    w.ask("stop", "turn@lab").exits(0).says("stile-turn@lab has stopped")
    w.ask("stop", "turn", "-i", "lab").exits(0)
    if row(w)["state"] != "running" or row(w, "stile-turn@lab")["state"] != "stopped":
        raise Failed("    the wrong one was stopped")


@case("logs shows the last lines of a running service and of one that is stopped, filtered, and follows what comes over a rotation")
def _(w):
    w.config(tls=False, log="{ level: debug, dir: %s, max_size: 64KiB, keep: 3 }" % w.path("log"))
    s = Supervisor(w)
    s.says("stile-turn runs, pid")
    w.logged("service.ready")  # the log has a thread of its own
    w.ask("logs", "turn", "-n", "3").exits(0).says("service.ready")
    if len(w.ask("logs", "-n", "3").exits(0).out.splitlines()) > 3:
        raise Failed("    more than three lines")
    w.ask("logs", "--match", "LISTENING").exits(0).says("turn.listening").never_says("service.ready")
    w.ask("logs", "--level", "error").exits(0).never_says("info")
    w.ask("logs", "--level", "loud").exits(2).says("a level is")
    with open(w.path("follow"), "wb") as out:
        follow = subprocess.Popen([STILE, "logs", "-f", "turn", "-n", "1", "--runtime-dir", w.path("run")], stdout=out, stderr=out)
    try:
        wait_for("it follows", lambda: os.path.getsize(w.path("follow")))
        for _i in range(4):
            w.verbs([("log.level", {"level": "debug" if i % 2 else "trace"}) for i in range(250)])
        wait_for("the log was put aside", lambda: os.path.exists(w.path("log/stile-turn.log.1")))
        wait_for("the follower has each line", lambda: text(w.path("follow")).count("service.log-level") == 1000)
    finally:
        follow.send_signal(signal.SIGINT)
    if follow.wait(20):
        raise Failed(f"    Ctrl-C ended it with status {follow.returncode}")
    w.ask("stop", "turn").exits(0)
    w.ask("logs", "turn", "-c", w.path("stile.yaml"), "-n", "1").exits(0).says("service.stopped")
    w.ask("logs", "sip", "-c", w.path("stile.yaml")).exits(1).says("there is no log of stile-sip")


@case("a service that logs to its standard error is read from the supervisor's memory")
def _(w):
    w.config(tls=False, log="{ level: info }")
    s = Supervisor(w)
    s.says("stile-turn runs, pid")
    wait_for("the log has it", lambda: "service.ready" in w.ask("logs", "turn", "-c", w.path("stile.yaml")).exits(0).out)
    w.ask("logs", "zip", "-o", w.path("x.zip"), "-c", w.path("stile.yaml")).exits(0)
    with zipfile.ZipFile(w.path("x.zip")) as z:
        if b"service.ready" not in z.read("stile-turn.log"):
            raise Failed("    the archive lacks it")


@case("of the supervisor's memory and of the journal, too, --match and --level find the last lines that fit, not those among the last")
def _(w):
    w.config(tls=False, log="{ level: debug }")
    s = Supervisor(w)
    s.says("stile-turn runs, pid")
    here = ("logs", "turn", "-c", w.path("stile.yaml"))
    wait_for("the log has it", lambda: "service.ready" in w.ask(*here).exits(0).out)
    for _ in range(5):  # lines behind it
        w.verb("service.reload")
    want_lines(w.ask(*here, "-n", "1", "--match", "Service.Ready"), ["service.ready"])
    want_lines(w.ask(*here, "-n", "2", "--match", "service.re"), ["service.re", "service.re"])
    s.stop()
    lines = [f"2026-01-01T00:00:{i:02}.000Z {'warn' if i in (3, 7) else 'info'} turn.line number={i}" for i in range(20)]
    w.write("journal", "\n".join(lines) + "\n")
    env = {"LD_PRELOAD": os.path.abspath(JOURNAL), "STILE_TEST_JOURNAL": w.path("journal")}
    for more, expected in ((("-n", "2"), (18, 19)), (("-n", "50"), range(20)), (("-n", "1", "--level", "warn"), (7,)), (("--level", "warn"), (3, 7)),
                           (("-n", "2", "--match", "NUMBER=1"), (18, 19)), (("-n", "3", "--match", "number=4"), (4,))):
        want_lines(w.ask(*here, *more, env=env), [f"number={i}" for i in expected])


@case("logs zip has every file byte for byte, logs delete empties and removes, and neither touches anything else")
def _(w):
    w.config(tls=False, log="{ level: trace, dir: %s, max_size: 64KiB, keep: 3 }" % w.path("log"))
    w.start()
    w.verbs([("log.level", {"level": "debug" if i % 2 else "trace"}) for i in range(900)])
    wait_for("it was put aside", lambda: os.path.exists(w.path("log/stile-turn.log.1")))
    w.write("log/secret", "not a log")
    w.ask("logs", "zip", "turn", "-o", w.path("a.zip"), "-c", w.path("stile.yaml")).exits(0).says("a.zip: ", "files with")
    with zipfile.ZipFile(w.path("a.zip")) as z:
        if z.testzip() or "secret" in z.namelist():
            raise Failed(f"    {z.namelist()}")
        for name in z.namelist():
            with open(w.path("log/" + name), "rb") as f:
                if not f.read().startswith(z.read(name)):
                    raise Failed(f"    {name} differs")
    if os.stat(w.path("a.zip")).st_mode & 0o077:
        raise Failed("    others may read the archive")
    w.ask("logs", "zip", "-o", w.path("a.zip"), "-c", w.path("stile.yaml")).exits(1).says("is there already")
    w.ask("logs", "delete", "-c", w.path("stile.yaml")).exits(2).says("One of --file NAME")
    w.ask("logs", "delete", "--file", "secret", "-c", w.path("stile.yaml")).exits(1).says("no service has a log file secret")
    w.ask("logs", "delete", "--older-than", "1", "-c", w.path("stile.yaml")).exits(0).says("0 files deleted")
    w.ask("logs", "delete", "turn", "--all", "-c", w.path("stile.yaml")).exits(0).says("stile-turn.log", "files deleted")
    if sorted(n for n in os.listdir(w.path("log")) if n.startswith("stile-turn")) != ["stile-turn.log"] or not os.path.exists(w.path("log/secret")):
        raise Failed(f"    {os.listdir(w.path('log'))}")
    w.logged("service.log-deleted", "uid")
    w.ask("logs", "delete", "--file", "stile-turn.log", "-c", w.path("stile.yaml")).exits(0).says("1 file deleted")


@case("packaging/polkit lets the group stile start, stop and restart our units, and nobody do anything else")
def _(w):
    node = shutil.which("node")
    if not node:
        raise Skipped("no node to run the rule with")
    rule = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/polkit/50-stile.rules")
    script = w.write("rule.js", """
var YES = "yes", NOT_HANDLED = undefined, rule;
var polkit = { Result: { YES: YES, NOT_HANDLED: NOT_HANDLED }, addRule: function (f) { rule = f; } };
eval(require("fs").readFileSync(process.argv[2], "utf8"));
function may(id, unit, verb, user, groups) {
    return rule({ id: id, lookup: function (k) { return { unit: unit, verb: verb }[k]; } },
                { user: user, isInGroup: function (g) { return groups.indexOf(g) >= 0; } }) === YES;
}
var units = "org.freedesktop.systemd1.manage-units", bad = [];
function is(expected, id, unit, verb, user, groups) {
    if (may(id, unit, verb, user, groups) !== expected) bad.push([id, unit, verb, user, groups].join(" "));
}
["turn", "tunnel", "agent", "sip", "fastpath", "console", "gateway", "turn@lab"].forEach(function (s) {
    ["start", "stop", "restart"].forEach(function (v) {
        is(true, units, "stile-" + s + ".service", v, "lena", ["stile"]);
        is(true, units, "stile-" + s + ".service", v, "stile", ["stile"]); // the console
        is(false, units, "stile-" + s + ".service", v, "lena", ["users"]);
    });
});
["mask", "kill", "set-property", "reload", undefined, ""].forEach(function (v) { is(false, units, "stile-turn.service", v, "lena", ["stile"]); });
["ssh.service", "stile-turn.service.evil", "evil-stile-turn.service", "stile-turn@a b.service", "stile-turn@.service", "stile-x.service",
 "stile-turn.socket", undefined, ""].forEach(function (u) { is(false, units, u, "start", "lena", ["stile"]); });
is(false, "org.freedesktop.systemd1.manage-unit-files", "stile-turn.service", "start", "lena", ["stile"]);
console.log(bad.length ? bad.join("\\n") : "all as they should be");
""")
    w.run(node, script, rule).exits(0).says("all as they should be")


if __name__ == "__main__":
    sys.exit(main(26800))
