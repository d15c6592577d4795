#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the system refuses: descriptors, sockets of a family, threads. Each is really refused, by a limit or by a filter in
the kernel (sandbox.py), and both the command and the service say what has run out and what to do about it."""
import os
import resource
import signal
import subprocess
import sys
import time

import sandbox
from relay_world import Failed, Target, case, connect, main, named, wait_for
from world import STILE, Skipped, need_root

HERE = os.path.dirname(os.path.abspath(__file__))


def filtered(kind):
    if not sandbox.available:
        raise Skipped("the filter is not written for this machine")
    return [sys.executable, os.path.join(HERE, "sandbox.py"), kind]


def says(port, host="127.0.0.1"):
    with connect(port, host) as s:
        return s.recv(64).decode()


def one_shot(w, limit):
    """stile relay with so many descriptors: what it said, and its status; None: it listens, and was stopped."""
    argv = [STILE, "relay", f"127.0.0.1:{w.base}", "127.0.0.1", str(w.target_port())]
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    first = p.stdout.readline()
    if first.startswith("Listening on"):
        if "Ready to relay" not in p.stdout.readline():
            raise Failed(f"    with {limit} descriptors it is not ready")
        p.send_signal(signal.SIGINT)
    rest = p.stdout.read()
    p.wait(15)
    return first + rest, None if first.startswith("Listening on") and p.returncode == 0 else p.returncode


@case("stile relay with too few descriptors: no resources, whatever step lacks one, and with enough it listens")
def _(w):
    refusals = 0
    for limit in range(6, 80, 2):
        out, status = one_shot(w, limit)
        if status is None:
            break
        first, second = (out.splitlines() + ["", ""])[:2]
        if status != 1 or not first.startswith("stile relay: no resources to relay: ") or not first.endswith("Too many open files") or \
           second != "Raise the limit of descriptors (ulimit -n), or free memory":
            raise Failed(f"    with {limit} descriptors, status {status}: {out}")
        refusals += 1
    else:
        raise Failed("    it never listened")
    if refusals < 3:
        raise Failed(f"    it listened with {limit} descriptors already")


@case("stile relay where sockets or threads are refused: no socket support, no resources, and what to look at")
def _(w):
    route = ["127.0.0.1", str(w.target_port())]
    w.stile("relay", f"127.0.0.1:{w.base}", *route, prefix=filtered("no-ipv4")).exits(1).says(
        "stile relay: no socket support: Address family not supported", "Is IPv4 or IPv6 switched off, or does a sandbox forbid")
    w.stile("relay", f"[::1]:{w.base}", *route, prefix=filtered("no-ipv6")).exits(1).says("no socket support")
    w.stile("relay", f"127.0.0.1:{w.base}", *route, prefix=filtered("no-threads")).exits(1).says(
        "stile relay: no resources to relay: cannot start the workers: Resource temporarily unavailable",
        "Raise the limit of processes (ulimit -u)").never_says("Listening", "ulimit -n")


@case("a family without sockets: event 100 of that route, and the others relay")
def _(w):
    with Target(w.target_port(), named("a")):
        w.config(['name: four, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"',
                  'name: six, listen: "[::1]:{p0}", target: "127.0.0.1:{t0}"'])
        w.start(prefix=filtered("no-ipv6"))
        w.logged("error relay.no-sockets", "event=100", "route=six", 'sentence="There is no socket support: Address family not supported')
        row = w.route("six")
        if row["state"] != "not listening" or "Address family not supported" not in row["reason"]:
            raise Failed(f"    {row}")
        if says(w.base) != "a":
            raise Failed("    the other route does not relay")


def limit_that_leaves(n, server):
    """The limit of descriptors under which it may open n more, once the last question's connection is closed."""
    taken, before = descriptors_of(server), None
    while taken != before:
        time.sleep(0.3)
        taken, before = descriptors_of(server), taken
    return [i for i in range(len(taken) + n) if i not in taken][n - 1] + 1


def descriptors_of(server):
    return {int(n) for n in os.listdir(f"/proc/{server.process.pid}/fd")}


@case("a service whose descriptors have run out: event 101 of the new route, which listens once there are some")
def _(w):
    with Target(w.target_port(), named("a")), Target(w.target_port(1), named("b")):
        w.config(['name: old, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'])
        s = w.start()
        before = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        limit = limit_that_leaves(2, s)  # one for our question, one for the first of two workers
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        add = {"name": "new", "listen": f"127.0.0.1:{w.base + 1}", "target": f"127.0.0.1:{w.target_port(1)}"}
        row = w.verb("relay.route.add", {"route": add})
        if row["state"] != "not listening" or row["reason"] != "Too many open files; raise LimitNOFILE of the service":
            raise Failed(f"    {row}")
        w.logged("error relay.route.resources", "event=101", "route=new",
                 f'sentence="No resources to relay from local port 127.0.0.1:{w.base + 1}: Too many open files')
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, before)
        wait_for("the route listens", lambda: w.route("new")["state"] == "listening")
        w.logged("relay.route.ready", "event=101", "route=new")
        if (says(w.base), says(w.base + 1)) != ("a", "b"):
            raise Failed("    they do not relay")


@case("a service without threads does not start, and says so in event 101 and event 100")
def _(w):
    need_root()  # which gives its rights up: the limit does not bind root
    w.config(['name: a, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'])
    for folder in ("run", "store", "log"):
        os.mkdir(w.path(folder))
        os.chmod(w.path(folder), 0o777)
    os.chmod(w.path("stile.yaml"), 0o644)
    said, limit = None, 0
    while not said or "the workers" not in said.out + said.err:  # others may run as nobody, too; some threads come before those
        limit += 1
        said = w.start_fails("stile.yaml", "--user", "nobody", prefix=["env", "ASAN_OPTIONS=detect_leaks=0", "prlimit",
                                                                       f"--nproc={limit}"]).exits(1)
    said.says("cannot start the workers: Resource temporarily unavailable")
    w.logged("error relay.route.thread", "event=101", "reason=\"cannot start the workers: Resource temporarily unavailable\"",
             "sentence=\"No thread to relay: cannot start the workers")
    w.logged("error relay.start-error", "event=100", "sentence=\"Error starting the service: cannot start the workers")


if __name__ == "__main__":
    sys.exit(main(25000))
