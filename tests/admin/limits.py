# SPDX-License-Identifier: Apache-2.0
"""Each limit has its own error on the wire, its own counter and its own line in the log."""
import contextlib
import os
import socket
import sys
import time

from turn_client import CONNECTION_ID, PATIENCE, Client
from world import Failed, case, main, wait_for


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"    {what}: {got}, expected {wanted}")


def refused(w, label):
    return w.metric("stile_turn_refusals_total", label)


@contextlib.contextmanager
def clients(w, n, user="alice", password="wonderland"):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(w.port, user, password)) for _ in range(n)]


@case("one allocation too many for a user: 486, a counter of its own, a line that names the key to raise")
def _(w):
    w.config(tls=False, limits="{ allocations_per_user: 2 }")
    w.start()
    with clients(w, 3) as (a, b, c):
        expect("first", a.allocate(), 0)
        expect("second", b.allocate(), 0)
        expect("third", c.allocate(), 486)
        expect("counter", refused(w, "user_allocations"), 1)
        w.logged("warn turn.limit.user", "code=486", "user=alice")
        expect("given back", a.refresh(0), 0)
        expect("third again", c.allocate(), 0)
    with clients(w, 1) as (d,):
        expect("another", d.allocate(), 486)
        w.config(tls=False, limits="{ allocations_per_user: 3 }")
        w.ask("reload").exits(0)
        expect("after a reload with more", d.allocate(), 0)
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", "-u", "alice", "--password", "wonderland").exits(1).says(
        "486 Allocation Quota Reached", "turn.limits.allocations_per_user")


@case("with time-limited credentials the limit counts the name behind the expiry")
def _(w):
    w.config(tls=False, limits="{ allocations_per_user: 1 }")
    w.start()
    made = [w.ask("credentials", "carol", "-c", w.path("stile.yaml"), "--ttl", ttl, "--json").exits(0).json() for ttl in ("1h", "2h")]
    with Client(w.port, made[0]["username"], made[0]["password"]) as a, Client(w.port, made[1]["username"], made[1]["password"]) as b:
        expect("first", a.allocate(), 0)
        expect("same name, another expiry", b.allocate(), 486)


@case("one allocation too many for the server: 508, another counter, another line")
def _(w):
    w.config(tls=False, limits="{ allocations: 2 }")
    w.start()
    with clients(w, 3) as (a, b, c):
        expect("first", a.allocate(), 0)
        expect("second", b.allocate(), 0)
        expect("third", c.allocate(), 508)
    expect("counter", refused(w, "total_allocations"), 1)
    expect("the other counter", refused(w, "user_allocations"), 0)
    w.logged("warn turn.limit.server", "code=508")
    w.ask("status").exits(0).says("allocations 2 of 2")


@case("no relay port left: 508 with the reason in the log")
def _(w):
    w.config(tls=False, relay=f"{{ addresses: [127.0.0.1], ports: {w.base + 10}-{w.base + 11} }}")
    w.start()
    with clients(w, 3) as (a, b, c):
        expect("first", a.allocate(), 0)
        expect("second", b.allocate(), 0)
        expect("third", c.allocate(), 508)
    expect("counter", refused(w, "relay_ports"), 1)
    w.logged("warn turn.limit.ports", "code=508")


@case("one permission and one channel too many: 508, each with its counter and line")
def _(w):
    w.config(tls=False, limits="{ permissions_per_allocation: 2, channels_per_allocation: 2 }")
    w.start()
    with clients(w, 2) as (a, b):
        expect("allocate", a.allocate(), 0)
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            expect("permission", a.permit(host), 0)
        expect("third permission", a.permit("127.0.0.4"), 508)
        expect("counter", refused(w, "permissions"), 1)
        w.logged("warn turn.limit.permissions", "user=alice", "code=508")
        expect("allocate", b.allocate(), 0)
        expect("channel", b.bind(0x4000, "127.0.0.2", 1000), 0)
        expect("channel", b.bind(0x4001, "127.0.0.2", 1001), 0)
        expect("third channel", b.bind(0x4002, "127.0.0.2", 1002), 508)
        expect("counter", refused(w, "channels"), 1)
        w.logged("warn turn.limit.channels", "user=alice", "code=508")


@case("a peer that is denied: 403, counter, and a line with the rule and what to do")
def _(w):
    w.config(tls=False, peers="{ allow: [127.0.0.0/8], deny: [127.0.0.9/32] }")
    w.start()
    with clients(w, 1) as (a,):
        expect("allocate", a.allocate(), 0)
        expect("denied", a.permit("127.0.0.9"), 403)
        expect("private", a.permit("10.1.2.3"), 403)
    expect("counter", refused(w, "peer_denied"), 2)
    w.logged("warn turn.refused.peer", "127.0.0.9", "turn.peers.deny")
    w.logged("warn turn.refused.peer", "10.1.2.3", "refused by default")


def flood(w, a, peer):
    expect("allocate", a.allocate(), 0)
    expect("channel", a.bind(0x4000, "127.0.0.1", peer.getsockname()[1]), 0)
    for _ in range(60):
        a.send_channel(0x4000, b"x" * 1000)
    peer.settimeout(PATIENCE)
    got = 0
    with contextlib.suppress(TimeoutError):
        while peer.recv(2000):  # the first one comes when the server gets to it
            peer.settimeout(0.5)
            got += 1
    if not 0 < got < 30:
        raise Failed(f"    {got} of 60 packets of 1000 bytes came through at 64 kbit/s")


@case("packets over the bit rate of a user, or of the server, are dropped, counted and told")
def _(w):
    for key, label, line in (("bitrate_per_user", "bitrate_user", "warn turn.limit.bitrate-user"),
                             ("bitrate", "bitrate_total", "warn turn.limit.bitrate ")):
        w.config(tls=False, limits="{ %s: 64kbit/s }" % key)
        s = w.start()
        with clients(w, 1) as (a,), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            flood(w, a, peer)
        for other in ("bitrate_user", "bitrate_total"):
            dropped = w.metric("stile_turn_drops_total", other)
            if (dropped > 30) != (other == label):
                raise Failed(f"    turn.limits.{key}: the counter {other} stands at {dropped}")
        w.logged(line, "user=alice")
        s.stop()


@case("a connection too many from an address, or in total, is closed, with a line each")
def _(w):
    for key, line in (("connections_per_address", "turn.connection.limit-address"), ("connections", "turn.connection.limit ")):
        w.config(tls=False, limits="{ %s: 2 }" % key)
        s = w.start()
        open_ones = [socket.create_connection(("127.0.0.1", w.port)) for _ in range(2)]
        wait_for("two connections", lambda: w.verb("turn.status")["connections"] == 2)
        with socket.create_connection(("127.0.0.1", w.port)) as third:
            third.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                expect("the third connection's end", third.recv(1), b"")
        w.logged("warn " + line)
        for c in open_ones:
            c.close()
        s.stop()


def wakeups(process):
    """How often the workers have waited so far."""
    n = 0
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/status", encoding="utf-8") as f:
            fields = dict(line.split(":", 1) for line in f)
        if fields["Name"].strip().startswith("worker"):
            n += int(fields["voluntary_ctxt_switches"])
    return n


@case("a TCP connection whose far end does not read waits for it, and keeps no worker awake")
def _(w):
    w.config(tls=False)
    s = w.start()
    with socket.create_server(("127.0.0.1", 0)) as listening, \
            Client(w.port, "alice", "wonderland", kind=socket.SOCK_STREAM) as c, \
            Client(w.port, "alice", "wonderland", kind=socket.SOCK_STREAM) as data:
        expect("the allocation", c.allocate(socket.IPPROTO_TCP), 0)
        expect("the connection", c.connect(*listening.getsockname()), 0)
        peer = listening.accept()[0]
        expect("its binding", data.bind_connection(c.answer[CONNECTION_ID]), 0)
        data.socket.setblocking(False)
        sent, idle = 0, 0
        while idle < 10:  # until nothing more goes for half a second
            try:
                sent += data.socket.send(b"x" * 65536)
                idle = 0
            except BlockingIOError:
                idle += 1
                time.sleep(0.05)
        before = wakeups(s.process)
        time.sleep(2)
        woken = wakeups(s.process) - before
        if woken > 30:
            raise Failed(f"    {woken} times in two seconds")
        peer.settimeout(PATIENCE)
        while sent > 0:  # and it goes on from where it stood
            got = peer.recv(1 << 20)
            if not got:
                raise Failed(f"    it has hung up with {sent} bytes to come")
            sent -= len(got)
        expect("bytes that came and were not sent", sent, 0)
        peer.close()


if __name__ == "__main__":
    sys.exit(main(24120))
