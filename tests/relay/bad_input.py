#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the relay meets in life: targets that refuse, hang, reset or vanish, sources that do not read, scan, or come in
crowds, and a process that runs out of descriptors. Each has its counter and its reason, and afterwards nothing is
left of it."""
import socket
import sys
import threading
import time

from relay_world import (Failed, Target, case, connect, descriptors, echo, main, pattern, read_all, reset, resets, resident_kib,
                         wait_for, was_reset)

ROUTE = 'name: r, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'


def expect(what, is_, should):
    if is_ != should:
        raise Failed(f"    {what} is {is_!r:.200}, not {should!r:.200}")


@case("a target that refuses: the source is reset, and the reason is told, counted and listed")
def _(w):
    w.config([ROUTE])
    w.start()
    if not resets(w.base):
        raise Failed("    the source was not reset")
    w.logged("relay.connection.failed", "route=r", "Connection refused")
    row = w.route("r")
    expect("counts", (row["failed"], row["targets"][0]["failures"]), (1, 1))
    expect("counted", w.metric("stile_relay_ended_total", "connect_failed"), 1)
    expect("tries", w.metric("stile_relay_target_failures_total"), 1)


@case("a target that hangs runs into the connect time-out")
def _(w):
    hung = socket.socket()
    hung.bind(("127.0.0.1", w.target_port()))
    hung.listen(0)
    fill = [socket.socket() for _ in range(4)]
    for s in fill:
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", w.target_port()))
    w.config([ROUTE + ", connect_timeout: 1500ms"])
    w.start()
    s = connect(w.base)
    wait_for("it is shown", lambda: [r for r in w.connections() if r["state"] == "connecting"])
    if not was_reset(s):
        raise Failed("    the source was not let go")
    w.logged("relay.connection.failed", "did not answer in time")
    expect("counted", w.metric("stile_relay_ended_total", "connect_timeout"), 1)
    for s in [*fill, hung]:
        s.close()


@case("a target that vanishes in mid-stream ends its connections, and new ones work when it is back")
def _(w):
    w.config([ROUTE])
    with Target(w.target_port(), lambda s: (s.sendall(b"part"), s.recv(1), reset(s))):
        w.start()
        s = connect(w.base)
        expect("its beginning", read_all(s, 4), b"part")
        s.sendall(b"x")
        if not was_reset(s):
            raise Failed("    the source was not reset")
    if not resets(w.base):
        raise Failed("    there is nobody, and yet somebody")
    with Target(w.target_port(), echo):
        with connect(w.base) as s:
            s.sendall(b"again")
            expect("an echo", read_all(s, 5), b"again")


@case("sources that are not allowed, and one too many, are refused with a reason")
def _(w):
    with Target(w.target_port(), echo):
        w.config([ROUTE + ", limits: { connections: 3 }",
                  'name: closed, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}", allow: [192.0.2.0/24, "2001:db8::/32"]'])
        w.start()
        held = [connect(w.base) for _ in range(3)]
        for s in held:
            s.sendall(b"x")
            read_all(s, 1)
        if not resets(w.base):
            raise Failed("    the fourth was not refused")
        w.logged("relay.connection.refused", "route=r", "as many connections as allowed")
        if not resets(w.base + 1):
            raise Failed("    a stranger was not refused")
        w.logged("relay.connection.refused", "route=closed", "does not allow this source")
        expect("counted", (w.metric("stile_relay_refused_total", "limit"), w.metric("stile_relay_refused_total", "source")), (1, 1))
        held.pop().close()
        wait_for("room again", lambda: w.route("r")["connections"] == 2)
        with connect(w.base) as s:
            s.sendall(b"y")
            expect("an echo", read_all(s, 1), b"y")
        for s in held:
            s.close()


@case("when descriptors run out, new connections are refused at once, old ones go on, and it recovers")
def _(w):
    with Target(w.target_port(), echo):
        w.config([ROUTE], workers="1")
        s = w.start(prefix=["prlimit", "--nofile=90:90"])
        held, refused = [], 0
        for _ in range(80):
            try:
                c = connect(w.base, timeout=20)
                c.sendall(b"x")
                if read_all(c, 1) == b"x":
                    held.append(c)
                    continue
                c.close()
            except (ConnectionResetError, BrokenPipeError):
                pass
            refused += 1
        if not (20 < len(held) < 45 and refused > 20):
            raise Failed(f"    {len(held)} were taken and {refused} refused with 90 descriptors")
        if w.metric("stile_relay_refused_total", "descriptors") < 1:
            raise Failed("    the refusals are not counted")
        w.logged("relay.accept", "Too many open files")
        for c in held:
            c.sendall(b"still here")
            expect("an echo", read_all(c, 10), b"still here")
        for c in held:
            c.close()
        wait_for("they have ended", lambda: not w.connections())
        with connect(w.base) as c:
            c.sendall(b"recovered")
            expect("an echo", read_all(c, 9), b"recovered")
        expect("state", (s.process.poll(), w.route("r")["state"]), (None, "listening"))


@case("sources that do not read cost a bounded amount of memory, and lose nothing when they do")
def _(w):
    total = 40 << 20
    data = pattern(total)
    with Target(w.target_port(), lambda s: s.sendall(data)):
        w.config([ROUTE])
        server = w.start()
        before = resident_kib(server)
        slow = []
        for _ in range(40):
            c = socket.socket()
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            c.connect(("127.0.0.1", w.base))
            c.settimeout(60)
            slow.append(c)
        time.sleep(2)
        grown = resident_kib(server) - before
        if grown > 40 * 200 + 6000:
            raise Failed(f"    {grown} KiB for 40 connections whose sources do not read")
        held = sum(r["held_down"] for r in w.connections())
        if not 0 < held <= 40 * (1 << 20):
            raise Failed(f"    {held} bytes are held")
        expect("what a slow one gets", read_all(slow[0]) == data, True)
        for c in slow:
            c.close()


@case("a port scan leaves nothing behind")
def _(w):
    with Target(w.target_port(), echo):
        w.config([ROUTE])
        server = w.start()
        time.sleep(1.2)
        before = descriptors(server)
        for i in range(400):
            s = connect(w.base)
            if i % 2:
                reset(s)
            else:
                s.close()
        wait_for("all have ended", lambda: not w.connections())
        wait_for("their descriptors are closed", lambda: descriptors(server) <= before + 2)
        expect("an old hand", w.route("r")["connections"], 0)


@case("TLS routes: garbage and silence end, and reach no target")
def _(w):
    w.certificate()
    with Target(w.target_port(), echo) as target:
        w.config([ROUTE + ", tls: { certificate: server.pem, key: server.key }"])
        w.start()
        for junk in (b"GET / HTTP/1.0\r\n\r\n", b"\0" * 600, b"\x16\x03\x01\xff\xff" + b"x" * 4000, b"\x80\x2e\x01"):
            with connect(w.base, timeout=20) as s:  # longer than the relay waits: who ends it is what is counted
                s.sendall(junk)
                try:
                    while s.recv(100):
                        pass
                except OSError:
                    pass
        quiet = connect(w.base, timeout=20)
        expect("silence", quiet.recv(1), b"")
        expect("targets reached", target.count, 0)
        # half a record is silence, too; the end is counted a moment after the source sees it
        wait_for("both are counted", lambda: w.metric("stile_relay_ended_total", "source_tls_timeout") == 2)


@case("a connection is kicked, and all of a route")
def _(w):
    with Target(w.target_port(), echo):
        w.config([ROUTE])
        w.start()
        held = [connect(w.base) for _ in range(5)]
        for s in held:
            s.sendall(b"x")
            read_all(s, 1)
        rows = w.connections()
        w.verb("relay.kick", {"id": rows[0]["id"]})
        wait_for("one has gone", lambda: len(w.connections()) == 4)
        gone = []
        wait_for("it is reset", lambda: gone.extend(s for s in held if was_reset_now(s)) or gone)
        expect("reset", len(gone), 1)
        w.verb("relay.kick", {"route": "r"})
        wait_for("all have gone", lambda: not w.connections())
        w.refused("relay.kick", {"id": rows[0]["id"]}, "not-found")
        w.refused("relay.kick", {"route": "none"}, "not-found")
        w.refused("relay.kick", {}, "bad-request")
        expect("counted", w.metric("stile_relay_ended_total", "killed"), 5)


def was_reset_now(s):
    s.setblocking(False)
    try:
        s.recv(1)
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False
    finally:
        s.settimeout(10)
    return False


@case("after a peak memory, pipes and descriptors are as they were")
def _(w):
    data = pattern(4 << 20)

    def burst():
        def one():
            try:
                with connect(w.base, timeout=60) as s:
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    read_all(s)
            except OSError:
                pass
        for _ in range(3):
            threads = [threading.Thread(target=one) for _ in range(30)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(60)
        idle = [connect(w.base) for _ in range(400)]
        for s in idle:
            s.close()
        wait_for("all have ended", lambda: not w.connections())
    with Target(w.target_port(), echo):
        w.config([ROUTE])
        server = w.start()
        time.sleep(1.2)
        before = descriptors(server)
        burst()
        first = resident_kib(server)
        for _ in range(2):
            burst()
        wait_for("pipes are closed", lambda: w.verb("relay.status")["pipes"]["spare"] == 0)
        expect("pipes lent", w.verb("relay.status")["pipes"]["lent"], 0)
        if descriptors(server) > before + 1:
            raise Failed(f"    {descriptors(server)} descriptors, {before} before the peak")
        grown = resident_kib(server) - first
        if grown > 4096 and "build-check" not in str(server.argv[0]) and "asan" not in str(server.argv[0]):
            raise Failed(f"    {grown} KiB more after two more peaks of the same height")


@case("nine thousand idle connections are held and answer")
def _(w):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 9000 if hard >= 20000 else 1500
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The target's ends live in a process of their own, or this one would run out first.
    import subprocess
    code = (f"import socket,selectors,resource\nresource.setrlimit(resource.RLIMIT_NOFILE,({hard},{hard}))\n"
            f"l=socket.socket();l.setsockopt(1,2,1);l.bind(('127.0.0.1',{w.target_port()}));l.listen(4096);l.setblocking(0)\n"
            "s=selectors.DefaultSelector();s.register(l,1)\n"
            "while 1:\n for k,_ in s.select():\n  f=k.fileobj\n  if f is l:\n   c,_=l.accept();c.setblocking(0);s.register(c,1)\n"
            "  else:\n   try:d=f.recv(99)\n   except OSError:d=b''\n   if d:f.send(d)\n   else:s.unregister(f);f.close()\n")
    target = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for("the target listens", lambda: socket.socket().connect_ex(("127.0.0.1", w.target_port())) == 0)
        w.config([ROUTE])
        server = w.start()
        before = resident_kib(server)
        held = []
        for i in range(n):
            s = socket.socket()
            s.settimeout(20)
            s.bind(("127.0.0.%d" % (2 + i % 5), 0))
            s.connect(("127.0.0.1", w.base))
            held.append(s)
        wait_for("all are relayed", lambda: w.route("r")["connections"] == n)
        for s in held[::500]:
            s.sendall(b"alive")
            expect("an echo", read_all(s, 5), b"alive")
        if not SANITIZED and (resident_kib(server) - before) * 1024 / n > 3584:
            raise Failed(f"    {(resident_kib(server) - before) * 1024 / n:.0f} bytes for each")
        for s in held:
            s.close()
        wait_for("all have ended", lambda: w.route("r")["connections"] == 0)
    finally:
        target.kill()
        target.wait()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def sanitized():
    from relay_world import TUNNEL
    with open(TUNNEL, "rb") as f:
        return b"__asan_init" in f.read() or False


SANITIZED = sanitized()

if __name__ == "__main__":
    sys.exit(main(24380))
