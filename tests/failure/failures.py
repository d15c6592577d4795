#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One failure each, of each service: it is killed under load, its disk is full, it has no descriptors or no memory, the clock jumps,
the name server is gone, its store is damaged or somebody else has it, its certificate is rubbish. FAILURES is the table; docs/failures.md
says of each row what a user sees and what survives, and a case compares the two.

  STILE_BUILD=build tests/failure/failures.py turn            # one service, all its failures
  STILE_BUILD=build tests/failure/failures.py sip "clock"     # those whose sentence holds this

Root, for namespaces of its own. Memory runs out only where the build has no sanitizer, for those want terabytes of addresses."""
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from services import BUILD, NAMES_AT, PATIENCE, SERVICES, Failed, Names, wait_for  # noqa: E402
from sip_world import SipWorld  # noqa: E402
from world import Skipped  # noqa: E402

FAILURES = []
DOCS = os.path.join(HERE, "..", "..", "docs", "failures.md")
DISK = 24 << 20
CLOCK = os.path.join(BUILD, "tests/failure/libfailure-clock.so")


def failure(sentence, *services, fresh=False):
    """A row: of these services. fresh: it wants a service of its own, started by itself."""
    def keep(fn):
        FAILURES.append((sentence, services, fresh, fn))
        return fn
    return keep


ALL = tuple(SERVICES)
STORED = tuple(name for name, s in SERVICES.items() if s.change)
TLS = tuple(name for name, s in SERVICES.items() if s.tls)


class World(SipWorld):
    """A folder with a disk of its own in it, certificates, and targets that are closed at the end."""

    def __init__(self):
        super().__init__(20000)
        self.targets = []
        os.mkdir(self.path("disk"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", self.path("disk")], check=True)
        self.certificate()
        self.clock = 0

    @property
    def clock(self):
        return self._clock

    @clock.setter
    def clock(self, seconds):
        """The services' wall clock is so many seconds ahead."""
        self._clock = seconds
        with open(self.path("clock"), "r+b" if os.path.exists(self.path("clock")) else "wb") as f:
            f.write(struct.pack("q", seconds))

    def __exit__(self, *more):
        super_exit = super().__exit__
        for t in self.targets:
            with contextlib.suppress(OSError):
                t.close()
        subprocess.run(["umount", "-l", self.path("disk")], check=False)
        super_exit(*more)


def begin(w, service):
    s = SERVICES[service](w)
    s.begin_beside()
    s.configure()
    s.start(clock_env(w))
    if service == "tunnel":
        s.begin_agent()
    s.works()
    return s


def clock_env(w):
    return {"LD_PRELOAD": os.path.abspath(CLOCK), "STILE_TEST_CLOCK": w.path("clock")} if os.path.exists(CLOCK) else None


def again(s):
    s.start(clock_env(s.w))


# ---- the failures ----

class Load:
    """Users and an administrator at work; what was acknowledged to the latter is in .changed."""

    def __init__(self, s):
        self.s, self.over, self.changed, self.rounds = s, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.users) for _ in range(2)]
        if s.change:
            self.threads.append(threading.Thread(target=self.administrator))
        for t in self.threads:
            t.start()

    def users(self):
        while not self.over.is_set():
            try:
                self.s.use()
                self.rounds += 1
            except (OSError, Failed, ssl.SSLError):
                self.over.wait(0.05)

    def administrator(self):
        n = 0
        while not self.over.is_set():
            n += 1
            try:
                self.s.change(n)
                self.changed.append(n)
            except (OSError, Failed, ValueError):
                return  # it was killed in the middle of this one

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(PATIENCE * 2)


@failure("killed under load", *ALL)
def _(s):
    s.before_kill()
    load = Load(s)
    try:
        wait_for("there is load", lambda: load.rounds >= 3 and (not s.change or len(load.changed) >= 5))
        s.kill()
        again(s)
        s.as_before()
        s.works("it works again after a kill")
        before = load.rounds
        wait_for("the users are back without a word to them", lambda: load.rounds > before)
    finally:
        load.stop()
    lost = [n for n in load.changed if not s.has(n)]
    if lost:
        raise Failed(f"    acknowledged and lost: {lost} of {len(load.changed)}")


@failure("the wall clock jumps", *ALL)
def _(s):
    if not clock_env(s.w):
        raise Skipped("the clock is not built")
    held = [s.hold()]
    try:
        if hasattr(s, "shared"):
            held.append(s.shared())
        for seconds in (7200, 90000, -86400, 0):
            s.w.clock = seconds
            for h in held:
                h.still()
            s.works(f"it works {seconds} s off")
            with Control(s) as control:
                up = control.ask("service.status")["uptime_ms"]
            if not 0 <= up < 3600000:
                raise Failed(f"    it says that it runs for {up} ms")
        if not s.alive():
            raise Failed("    it ended")
    finally:
        s.w.clock = 0
        for h in held:
            h.close()


def descriptors_of(s):
    return {int(n) for n in os.listdir(f"/proc/{s.server.process.pid}/fd")}


class Control:
    """A connection to the control socket that was there before."""

    def __init__(self, s):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        self.s.connect(s.path(f"run/{s.full}.sock"))
        self.f = self.s.makefile("rw", encoding="utf-8")
        self.f.readline()

    def ask(self, verb):
        self.f.write(json.dumps({"id": 1, "verb": verb, "args": {}}) + "\n")
        self.f.flush()
        return json.loads(self.f.readline())["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()
        self.s.close()


@failure("no descriptors are left", *ALL)
def _(s):
    held, pid = s.hold(), s.server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with Control(s) as control:
        try:
            control.ask("service.status")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(descriptors_of(s)) + 1, limits[1]))
            held.still()
            strangers = [stranger(s) for _ in range(20)]  # they wait, or are refused
            held.still()
            if not any(i["id"] == "descriptors" for i in control.ask("service.health")["items"]):
                raise Failed(f"    its health says nothing of it: {control.ask('service.health')}")
            for c in strangers:
                c.close()
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            held.close()
    s.works("it works once there are some")


def ballast(s, full):
    if not full:
        os.unlink(s.path("disk/ballast"))
        return
    with open(s.path("disk/ballast"), "wb", buffering=0) as f:
        for size in (1 << 16, 4096):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * size)


@failure("the disk is full", *ALL)
def _(s):
    held = s.hold()
    try:
        ballast(s, True)
        held.still()
        s.works("users do not notice")
        if s.change:
            refused_for_space(s)
        if "disk-space" not in s.health():
            raise Failed(f"    its health says nothing of it: {list(s.health())}")
    finally:
        ballast(s, False)
        held.close()
    if s.change:
        wait_for("an administrator's changes are taken again", lambda: changes(s, 9001))
        if not s.has(9001):
            raise Failed("    it was acknowledged and is not there")

    def good():
        s.verb("service.reload")  # the log knows that it works when it has something to say
        return not {"store-failing", "log-failing"} & set(s.health())
    wait_for("its health is good again", good)


def changes(s, n):
    try:
        s.change(n)
        return True
    except Failed:
        return False


def refused_for_space(s):
    """The write-ahead log may have some room of its own left."""
    for n in range(9100, 9900):
        try:
            s.change(n)
        except Failed as e:
            if not re.search(r"disk|space|full|store", str(e)):
                raise Failed(f"    the refusal does not say why: {e}") from None
            if s.has(n):
                raise Failed("    it was refused and is there") from None
            if "store-failing" not in s.health():
                raise Failed(f"    its health says nothing of it: {list(s.health())}") from None
            return
    raise Failed("    it took 800 changes on a full disk")


def spoilt(w, name):
    with open(w.path(name), "wb") as f:
        f.write(b"-----BEGIN CERTIFICATE-----\nrubbish\n")


@failure("its certificate is replaced by rubbish", *TLS)
def _(s):
    w = s.w
    shutil.copy(w.path("server.pem"), w.path("good.pem"))
    try:
        spoilt(w, "server.pem")
        try:
            s.verb("service.reload")
            raise Failed("    a reload took it")
        except Failed as e:
            if "server.pem" not in str(e):
                raise Failed(f"    the refusal does not name the file: {e}") from None
        s.use_tls()
        if not {"certificate-unreadable", "reload-failed"} & set(s.health()):
            raise Failed(f"    its health says nothing of it: {list(s.health())}")
        s.stop()
        s.start_fails().exits(2).says("server.pem")
    finally:
        shutil.copy(w.path("good.pem"), w.path("server.pem"))
    again(s)
    s.works("with the right one it starts")


@failure("its keys are replaced by rubbish", "tunnel", "agent")
def _(s):
    w = s.w
    folder = w.path(f"disk/store/{s.full}")
    names = [n for n in sorted(os.listdir(folder)) if n.endswith(".pem")]
    if not names:
        raise Failed(f"    there are no keys in {os.listdir(folder)}")
    s.stop()
    for name in names:
        path = os.path.join(folder, name)
        shutil.copy2(path, w.path("good.pem"))
        spoilt(w, path)
        said = s.start_fails()
        if said.status == 0:
            said.fail("it started")
        said.says(path)
        if os.path.getsize(path) > 40:
            said.fail("it wrote there")
        shutil.copy2(w.path("good.pem"), path)
    again(s)
    s.works("with the right ones it starts, and is known as before")


@failure("its store is damaged", *STORED)
def _(s):
    s.change(5000)
    s.stop()
    with open(s.store, "rb") as f:
        good = f.read()
    for bad in (b"no store of anybody's" * 400, good[:5000], good[:4096] + os.urandom(len(good) - 4096)):
        with open(s.store, "wb") as f:
            f.write(bad)
        said = s.start_fails()
        if said.status == 0:
            said.fail("it started")
        said.says(s.store).says("~damaged|not a store")
        with open(s.store, "rb") as f:
            if f.read() != bad:
                raise Failed("    it changed the damaged file, of which something might have been saved")
    with open(s.store, "wb") as f:
        f.write(good)
    again(s)
    if not s.has(5000):
        raise Failed("    what was in the good one is not there")
    s.works()


@failure("another process has its store", *STORED)
def _(s):
    s.stop()
    db = sqlite3.connect(s.store, isolation_level=None)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("BEGIN EXCLUSIVE")
    said = s.start_fails()
    db.execute("ROLLBACK")
    db.close()
    if said.status == 0:
        said.fail("it started")
    said.says("another process has the store " + s.store)
    again(s)
    s.works("it starts once the other one has gone")


@failure("the name server is gone", "tunnel", "agent", "sip")
def _(s):
    held = s.hold()
    try:
        s.w.names.gone = True
        held.still()
        s.works("what needs no name works")
        if hasattr(s, "use_name"):
            without_names(s)
        else:
            s.kill()  # an agent that begins without a name server waits for it
            again(s)
            wait_for("it says so", lambda: "server-unreachable" in s.health())
    finally:
        s.w.names.gone = False
        held.close()
    s.works("it works when the names are back")


def without_names(s):
    """What is remembered may do for a while; then the user is told, soon, and nobody else waits."""
    def told():
        try:
            s.use_name()
            return False
        except (Failed, OSError):
            return True
    wait_for("a name that nobody can look up is refused", told)
    s.works("what needs no name works")
    s.w.names.gone = False

    def back():
        return not told()
    wait_for("the name is looked up again", back)


def is_sanitized():
    with open(os.path.join(BUILD, "turn/stile-turn"), "rb") as f:
        return b"__asan_init" in f.read() or b"__tsan_init" in f.read()


@failure("no memory is left", *ALL, fresh=True)
def _(s):
    if is_sanitized():
        raise Skipped("the build has a sanitizer")
    held, pid = s.hold(), s.server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_AS)
    load = Load(s)
    try:
        wait_for("there is load", lambda: load.rounds >= 3)
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            now = int(f.read().split()[0]) * 4096
        resource.prlimit(pid, resource.RLIMIT_AS, (now, limits[1]))
        crowd = [stranger(s) for _ in range(400)]
        time.sleep(1)
        ended = not s.alive()
        for c in crowd:
            c.close()
        if ended:
            raise Failed(f"    it ended with status {s.server.process.returncode}: {s.server.said().out[-500:]}")
        wait_for("who was there goes on", lambda: still(held))
    finally:
        if s.alive():
            resource.prlimit(pid, resource.RLIMIT_AS, limits)
        load.stop()
        held.close()
    s.works("it works once there is some")


def still(held):
    """Now and then something is refused, which is as it should be."""
    try:
        held.still()
        return True
    except (Failed, OSError):
        return False


def stranger(s):
    """A connection that says nothing, and costs a descriptor and memory."""
    c = socket.socket()
    c.setblocking(False)
    with contextlib.suppress(OSError):
        c.connect(("127.0.0.1", s.p))
    return c


# ---- the table and the page ----

def rows_of_docs():
    """(failure, service) of the table in docs/failures.md."""
    with open(DOCS, encoding="utf-8") as f:
        table = re.findall(r"^\| ([a-z ]+) \| ([a-z, ]+) \|", f.read().partition("Beside these:")[0], re.M)[1:]
    return {(sentence, service) for sentence, services in table for service in services.split(", ")}


def table_agrees():
    ours = {(sentence, service) for sentence, services, _, _ in FAILURES for service in services}
    theirs = rows_of_docs()
    if ours != theirs:
        raise Failed(f"    only here: {sorted(ours - theirs)}; only in docs/failures.md: {sorted(theirs - ours)}")


def inside():
    """This script once more, in namespaces whose network, mounts and name server are ours."""
    if os.environ.get("STILE_FAILURE_INSIDE"):
        return
    if subprocess.run(["unshare", "--net", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, timeout=60,
                      check=False).returncode:
        print(f"[  SKIPPED ] {sys.argv[1]}: no namespaces of one's own here")
        sys.exit(0)
    os.environ["STILE_FAILURE_INSIDE"] = "1"
    script = "\n".join(["set -e", "ip link set lo up", "mount -t tmpfs none /mnt", f"echo 'nameserver {NAMES_AT}' > /mnt/resolv.conf",
                        "mount --bind /mnt/resolv.conf /etc/resolv.conf", 'exec "$@"'])
    os.execvp("unshare", ["unshare", "--net", "--mount", "--", "sh", "-c", script, "sh", sys.executable, "-B", *sys.argv])


def say(verdict, sentence, why, began):
    print(f"[{verdict}] {sentence}", flush=True)
    if why:
        print(why, flush=True)
    if time.monotonic() - began > 5:
        print(f"  ({time.monotonic() - began:.1f} s)", flush=True)


def run_all(service, only):
    """Status 1 if a case failed; one service lives as long as its cases succeed."""
    failed, w, s = 0, None, None
    names = Names()
    try:
        for sentence, services, fresh, fn in FAILURES:
            if service not in services or only not in sentence:
                continue
            began, verdict, why = time.monotonic(), "       OK ", ""
            try:
                if w is None or fresh:
                    w, s = close(w), None
                    w = World()
                    w.names = names
                    s = begin(w, service)
                fn(s)
            except Skipped as e:
                verdict, why = "  SKIPPED ", str(e)
            except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError, ssl.SSLError) as e:
                verdict, why = "  FAILED  ", f"{type(e).__name__}: {e}"
                failed = 1
                if s is not None and s.server:
                    why += "\n" + s.server.said().out[-3000:]
                with contextlib.suppress(OSError):
                    w.__exit__()
                w = None
            say(verdict, f"{service}: {sentence}", why, began)
        if w is not None:
            began = time.monotonic()
            try:
                w.stop_all()
                say("       OK ", f"{service}: after all that it stops cleanly", "", began)
            except Failed as e:
                failed = 1
                say("  FAILED  ", f"{service}: after all that it stops cleanly", str(e), began)
    finally:
        close(w)
    return failed


def close(w):
    if w is not None:
        w.__exit__()


def main():
    if sys.argv[1:] == ["table"]:
        sentence, began = "docs/failures.md has a row for every failure of every service that is tried here, and no other", time.monotonic()
        try:
            table_agrees()
            say("       OK ", sentence, "", began)
        except Failed as e:
            say("  FAILED  ", sentence, str(e), began)
            return 1
        return 0
    if os.getuid() != 0:
        print(f"[  SKIPPED ] {sys.argv[1]}: needs root")
        return 0
    inside()
    return run_all(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")


if __name__ == "__main__":
    sys.exit(main())
