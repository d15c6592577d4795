# SPDX-License-Identifier: Apache-2.0
"""`stile backup` and `stile restore`: all services and instances, running or not, in one file that nobody reads without its
passphrase, and back again on an empty machine."""
import json
import os
import shutil
import signal
import subprocess
import sys

from settings import call, minimal, row, want
from supervise import Supervisor, row as supervised
from world import PATIENCE, SECRET, STILE, Failed, case, main, wait_for

PASS = "a long passphrase"


def backup(w, name="all.backup", *more, code=0, config="stile.yaml"):
    return w.ask("backup", w.path(name), "-c", w.path(config), *more, stdin=PASS + "\n").exits(code)


def restore(w, name="all.backup", *more, code=0, word=PASS):
    return w.ask("restore", w.path(name), *more, stdin=word + "\n").exits(code)


@case("a running and a stopped instance are taken, sealed, and come back on an empty machine; nothing is read without the passphrase")
def _(w):
    w.certificate()
    minimal(w, "  realm: admin.test\n  certificate: server.pem\n  key: server.key\n  password_file: word.txt\n")
    w.write("word.txt", "word-of-a-file\n")
    s = w.start()
    w.ask("turn", "user", "add", "bob", stdin="builder12\n").exits(0)
    minimal(w, "  realm: lab.test\n", name="lab.yaml", port=w.base + 2)
    lab = w.start("lab.yaml", "--instance", "lab")
    call(w, "config.set", "stile-turn@lab", path="turn.software", value="Lab")
    call(w, "config.set", path="turn.software", value="Backed up")
    call(w, "config.set", path="turn.limits.allocations", value=4321)
    backup(w).says("2 services", "passphrase")
    bytes_of = open(w.path("all.backup"), "rb").read()
    about = json.loads(bytes_of.split(b"\n")[0])
    want((about["stile_backup"], sorted(about["services"])), (1, ["stile-turn", "stile-turn@lab"]))
    for hidden in (b"builder12", b"word-of-a-file", b"PRIVATE KEY", SECRET.encode(), b"Backed up"):
        if hidden in bytes_of:
            raise Failed(f"    {hidden} stands in the backup")
    if os.stat(w.path("all.backup")).st_mode & 0o077:
        raise Failed("    others may read the backup")
    backup(w, code=1).says("is there already")
    restore(w, word="another passphrase", code=1).says("not the passphrase")
    restore(w, code=1).says("stop what runs", "(stile stop turn turn@lab)")
    restore(w, "all.backup", "--dry-run").says("stile-turn, ", "turn.user", "server.key", "word.txt", "nothing was changed")
    s.stop()
    restore(w, "all.backup", "--only", "nothing", code=1).says("not in this backup")
    restore(w, "all.backup", code=1).says("stile-turn@lab: stop what runs")
    restore(w, "all.backup", "--only", "turn").says("restored", "stile start turn\n")  # beside the one that runs
    lab.stop()
    backup(w, "stopped.backup").says("2 services")
    for gone in ("stile.yaml", "server.pem", "server.key", "word.txt"):
        os.remove(w.path(gone))
    shutil.rmtree(w.path("store"))
    for name in ("all.backup", "stopped.backup"):
        restore(w, name).says("restored", "stile start turn turn@lab\n")
        if open(w.path("word.txt"), encoding="ascii").read() != "word-of-a-file\n" or os.stat(w.path("server.key")).st_mode & 0o077:
            raise Failed("    files are not as they were")
        s = w.start()
        want((row(w, "turn.software")["value"], row(w, "turn.limits.allocations")["value"]), ("Backed up", "4321"))
        want([u["name"] for u in call(w, "turn.user.list")["rows"]], ["bob"])
        call(w, "config.unset", path="turn.software")
        s.stop()
        if name == "all.backup":
            lab = w.start("lab.yaml", "--instance", "lab")
            want(row(w, "turn.software", "stile-turn@lab")["value"], "Lab")
            lab.stop()
        w.write("word.txt", "changed meanwhile\n")
    if open(w.path("word.txt.before-restore"), encoding="ascii").read() != "changed meanwhile\n":
        raise Failed("    what was there is not kept")


@case("a restore that is repeated leaves what the first one has kept of a store, and keeps what it replaces beside it")
def _(w):
    minimal(w, "  realm: admin.test\n")
    s = w.start()
    backup(w)
    call(w, "config.set", path="turn.software", value="Made after the backup")
    s.stop()

    def kept(suffix=""):
        with open(w.path(f"store/stile-turn.db.before-restore{suffix}"), "rb") as f:
            return f.read()
    restore(w).says("restored")
    first = kept()
    want(b"Made after the backup" in first, True)
    restore(w).says("restored")
    restore(w).says("restored")
    want(kept() == first, True, "what the first one has kept")
    want([b"Made after the backup" in kept(suffix) for suffix in ("-2", "-3")], [False, False])
    s = w.start()
    want(row(w, "turn.software")["source"], "default")


@case("Ctrl-C in the middle of a restore leaves no service stopped: what was stopped runs again first")
def _(w):
    minimal(w, "  realm: admin.test\n")
    s = Supervisor(w, "turn")
    s.says("stile-turn runs, pid")
    backup(w)
    w.write("pass", PASS + "\n")
    for _ in range(5):  # it may be over before we have seen it begin
        p = subprocess.Popen([STILE, "restore", w.path("all.backup"), "--stop", "--passphrase-file", w.path("pass"),
                              "--runtime-dir", w.path("run")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("it stops", lambda: supervised(w)["state"] != "running" or p.poll() is not None)
        p.send_signal(signal.SIGINT)
        status = p.wait(PATIENCE)
        if status:
            break
    want(status, -signal.SIGINT)
    want(supervised(w)["state"], "running")
    if not os.path.exists(w.path("store/stile-turn.db.before-restore")):
        raise Failed("    it ended before it had begun")


@case("a backup of a newer version, a damaged one and what is none are refused with words")
def _(w):
    minimal(w, "  realm: admin.test\n")
    w.start().stop()
    backup(w)
    line, _, rest = open(w.path("all.backup"), "rb").read().partition(b"\n")
    about = json.loads(line)

    def changed(name, **keys):
        with open(w.path(name), "wb") as f:
            f.write(json.dumps({**about, **keys}).encode() + b"\n" + rest)
        return restore(w, name, code=1)
    changed("newer", version="7.0.0").says("made by Stile 7.0.0", "newer than this one", "install that version")
    changed("format", stile_backup=2).says("newer than this one")
    changed("schema", store=99).says("newer than this one")
    changed("host", host="elsewhere").says("was changed")
    with open(w.path("cut"), "wb") as f:
        f.write(line + b"\n" + rest[:-1])
    restore(w, "cut", code=1).says("was changed")
    restore(w, "stile.yaml", code=1).says("no backup of Stile")
    restore(w, "nothing", code=1).says("No such file")
    w.ask("backup", w.path("short.backup"), "-c", w.path("stile.yaml"), stdin="short\n").exits(1).says("at least 8 characters")
    w.ask("backup", w.path("none.backup"), "-c", w.path("nowhere.yaml"), stdin=PASS + "\n").exits(1).says("no service to back up")
    if os.path.exists(w.path("short.backup")) or os.path.exists(w.path("none.backup")):
        raise Failed("    half a backup was left")


if __name__ == "__main__":
    sys.exit(main(27600))
