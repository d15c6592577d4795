# SPDX-License-Identifier: Apache-2.0
"""A load balancer in front: its clients are known by the address that its PROXY header tells, and nobody else
can tell one. Headers made here by hand, and haproxy's own, with coturn's client behind it."""
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

from balancer import BALANCER, COOKIE, LOCAL, SIGNATURE, connect, expect, header, is_closed, mapped, over_tls, uclient
from turn_client import Client
from world import Failed, Skipped, case, main

def behind(w, **more):
    w.config(proxy_protocol=f"{{ from: [{BALANCER}/32] }}", **more)
    w.start()


@case("clients of a named load balancer are known by the address that its header tells, over TCP and TLS")
def _(w):
    behind(w)
    with connect(w.port) as s:
        s.sendall(header(("::ffff:203.0.113.9", 4713), ("::ffff:198.51.100.1", 443)))
        expect("IPv4 in IPv6", mapped(s), ("203.0.113.9", 4713))
    for client in (("203.0.113.7", 4711), ("2001:db8::7", 4712)):
        server = ("2001:db8::1", 443) if ":" in client[0] else ("198.51.100.1", 443)
        with connect(w.port) as s:
            s.sendall(header(client, server))
            expect("over TCP", mapped(s), client)
            expect("and again", mapped(s), client)
        with connect(w.tls) as s:
            s.sendall(header(client, server, tlvs=b"\x02\x00\x03a.b"))
            with over_tls(s) as t:
                expect("ALPN", t.selected_alpn_protocol(), "stun.turn")
                expect("over TLS", mapped(t), client)


@case("a header that comes in pieces, and with the first request in one piece, is read alike")
def _(w):
    behind(w)
    with connect(w.port) as s:
        for byte in header(("203.0.113.7", 1)):
            s.sendall(bytes([byte]))
            time.sleep(0.005)
        expect("in pieces", mapped(s), ("203.0.113.7", 1))
    with connect(w.port) as s:
        tid = os.urandom(12)
        s.sendall(header(("203.0.113.8", 2)) + struct.pack("!HHI", 1, 0, COOKIE) + tid)
        expect("answered", s.recv(2048)[8:20], tid)


@case("a health check (LOCAL) keeps the load balancer's own address, and one without a byte is no event")
def _(w):
    behind(w)
    with connect(w.port) as s:
        s.sendall(LOCAL)
        expect("told", mapped(s), s.getsockname())
    connect(w.port).close()
    time.sleep(0.3)
    expect("counted", w.metric("stile_turn_drops_total", "proxy_header"), 0)


@case("what does not begin with a good header of version 2 is closed, counted, and logged with the reason")
def _(w):
    behind(w)
    bad = [(b"GET / HTTP/1.1\r\n", "does not begin with a PROXY"), (struct.pack("!HHI", 1, 0, COOKIE) + bytes(12), "does not begin"),
           (b"PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n", "version 1"), (SIGNATURE + b"\x31\x11\0\0", "unknown version"),
           (header(("203.0.113.7", 1), tlvs=b"\x03\0\4abcd"), "checksum"), (header(("203.0.113.7", 1), tlvs=b"\x03\0"), "TLV")]
    for data, reason in bad:
        with connect(w.port) as s:
            s.sendall(data)
            if not is_closed(s):
                raise Failed(f"    {data} was not closed")
        w.logged("warn turn.proxy.refused", f"sender={BALANCER}", reason)
    with connect(w.port) as s:
        s.sendall(header(("203.0.113.7", 1))[:20])
        s.shutdown(socket.SHUT_WR)
        expect("closed", is_closed(s), True)
    w.logged("turn.proxy.refused", "ended within")
    expect("counted", w.metric("stile_turn_drops_total", "proxy_header"), len(bad) + 1)


@case("from another address no header is looked for: it is garbage, and the address in it means nothing")
def _(w):
    behind(w)
    with connect(w.port, "127.0.0.3") as s:
        expect("told", mapped(s), s.getsockname())
    with connect(w.port, "127.0.0.3") as s:
        s.sendall(header(("203.0.113.7", 4711)))
        expect("closed", is_closed(s), True)
    expect("counted", w.metric("stile_turn_drops_total", "bad_frame"), 1)
    with connect(w.tls, "127.0.0.3") as s:
        s.sendall(header(("203.0.113.7", 4711)))
        expect("closed", is_closed(s), True)


@case("limits per address count the client that is told, not the load balancer")
def _(w):
    behind(w, limits="{ connections_per_address: 2 }")
    with contextlib.ExitStack() as stack:
        for i in range(6):
            s = stack.enter_context(connect(w.port))
            s.sendall(header((f"203.0.113.{i}", 1000)))
            expect("another client", mapped(s)[0], f"203.0.113.{i}")
        second, third = (stack.enter_context(connect(w.port)) for _ in range(2))
        second.sendall(header(("203.0.113.1", 1001)))
        expect("its second", mapped(second), ("203.0.113.1", 1001))
        third.sendall(header(("203.0.113.1", 1002)))
        expect("its third is closed", is_closed(third), True)
        w.logged("turn.connection.limit-address", "client=203.0.113.1")
    expect("counted", w.metric("stile_turn_drops_total", "connection_limit"), 1)


@case("sessions, log and why name the client that is told")
def _(w):
    behind(w)

    class Behind(Client):
        def __init__(self, port, user, password):
            super().__init__(port, user, password)
            self.socket.close()
            self.socket = connect(port)
            self.socket.sendall(header(("203.0.113.7", 4711)))

    with Behind(w.port, "alice", "wonderland") as c:
        expect("allocation", c.allocate(), 0)
        w.ask("turn", "sessions").exits(0).says("203.0.113.7:4711")
        w.logged("turn.alloc.created", "client=203.0.113.7:4711", "local=198.51.100.1:3478")
    with Behind(w.port, "alice", "guessed") as c:
        expect("a wrong password", c.allocate(), 401)
    w.ask("turn", "why", "203.0.113.7").exits(0).says("alice")


@case("a reload names another load balancer at once")
def _(w):
    w.config()
    w.start()
    with connect(w.port) as s:
        expect("nobody is named", mapped(s), s.getsockname())
    w.config(proxy_protocol=f"{{ from: [{BALANCER}/32] }}")
    w.ask("reload").exits(0).says("turn.proxy_protocol.from")
    with connect(w.port) as s:
        s.sendall(header(("203.0.113.7", 4711)))
        expect("named now", mapped(s), ("203.0.113.7", 4711))
    w.config()
    w.ask("reload").exits(0)
    with connect(w.port) as s:
        expect("and no more", mapped(s), s.getsockname())


@case("stile check warns of a prefix that lets everybody tell any address, and refuses what is none")
def _(w):
    w.config(proxy_protocol="{ from: [0.0.0.0/0] }")
    w.check().exits(0).says("0.0.0.0/0 lets everybody")
    w.config(proxy_protocol="{ from: [loadbalancer.example] }")
    w.check().exits(2).says("prefix")


@contextlib.contextmanager
def haproxy(w, ports):
    """tcp mode, a frontend for each (port, server port); it speaks to the server from BALANCER."""
    if not shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"):
        raise Skipped("no haproxy")
    text = "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
    for at, to, options in ports:
        text += f"listen l{at}\n bind 127.0.0.1:{at}\n source {BALANCER}\n server s 127.0.0.1:{to} send-proxy-v2 {options}\n"
    w.write("haproxy.cfg", text)
    p = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", w.path("haproxy.cfg")], stdin=subprocess.DEVNULL,
                         stdout=open(w.path("haproxy.log"), "w", encoding="utf-8"), stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[-1][0]), 1):
                break
            if p.poll() is not None or time.monotonic() > deadline:
                raise Failed("    haproxy does not listen:\n" + open(w.path("haproxy.log"), encoding="utf-8").read())
            time.sleep(0.05)
        yield
    finally:
        p.terminate()
        p.wait(60)


@case("through haproxy, turnutils_uclient relays over TCP and TLS and is known by its own address")
def _(w):
    behind(w)
    a, b = w.base + 6, w.base + 7
    with haproxy(w, [(a, w.port, "proxy-v2-options crc32c"), (b, w.tls, "proxy-v2-options unique-id check check-send-proxy inter 200")]):
        time.sleep(0.7)  # a few of its health checks
        uclient(w, a, "127.0.0.5")
        w.logged("turn.alloc.created", "client=127.0.0.5:", "transport=tcp")
        uclient(w, b, "127.0.0.6", "-S")
        w.logged("turn.alloc.created", "client=127.0.0.6:", "transport=tls")
    expect("nothing was refused", w.metric("stile_turn_drops_total", "proxy_header"), 0)
    if any("turn.alloc" in line and "client=127.0.0.2:" in line for line in w.log_text().splitlines()):
        raise Failed("    the load balancer was taken for a client")


if __name__ == "__main__":
    sys.exit(main(21500))
