#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes through the relay, compared one by one: plain, TLS on either side, behind a PROXY header, logged, watched,
limited; half-closes and resets passed on; UDP flows."""
import glob
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time

from relay_world import (Failed, Target, answer_when_done, case, connect, echo, main, named, pattern, read_all, reset, resets,
                         wait_for, was_reset)

PLAIN = 'name: r, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'


def expect(what, is_, should):
    if is_ != should:
        raise Failed(f"    {what} is {is_!r:.200}, not {should!r:.200}")


def both_ways(s, n):
    """n bytes there and back at once, through an echo."""
    data = pattern(n)
    sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    sender.start()
    got = read_all(s, n)
    sender.join(20)
    compare(got, data)


def tls_both_ways(s, n):
    """The same over TLS, in one thread: Python's TLS sockets are not for two."""
    data, sent, got = pattern(n), 0, bytearray()
    until = time.monotonic() + 60
    s.setblocking(False)
    while len(got) < n and time.monotonic() < until:
        moved = False
        try:
            if sent < n:
                sent += s.send(data[sent:sent + 65536])
                moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            part = s.recv(65536)
            if not part:
                break
            got += part
            moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if not moved:
            select.select([s], [s] if sent < n else [], [], 1)
    compare(bytes(got), data)


def compare(got, data):
    if got != data:
        raise Failed(f"    {len(got)} of {len(data)} bytes came back, or not as they were sent")


@case("megabytes both ways at once, many connections, every byte compared")
def _(w):
    with Target(w.target_port(), echo):
        w.config([PLAIN])
        w.start()
        errors = []

        def one():
            try:
                with connect(w.base, timeout=60) as s:
                    both_ways(s, 4 << 20)
            except (OSError, Failed) as e:
                errors.append(str(e))
        threads = [threading.Thread(target=one) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(90)
        expect("errors", errors, [])
        wait_for("all have ended", lambda: not w.connections())
        row = w.route("r")
        expect("bytes", (row["bytes_up"], row["bytes_down"], row["accepted"]), (8 * (4 << 20), 8 * (4 << 20), 8))
        wait_for("bulk is counted as spliced", lambda: w.metric("stile_relay_carried_bytes_total", "spliced") > 0)


@case("a half-close arrives behind the last byte, and the answer after it")
def _(w):
    with Target(w.target_port(), answer_when_done):
        w.config([PLAIN])
        w.start()
        data = pattern(3_000_001)
        with connect(w.base) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            expect("the answer", read_all(s), struct.pack("!Q", len(data)) + data[-64:])


@case("resets are passed on, either way")
def _(w):
    seen = []

    def serve(s):
        s.sendall(b"hi")
        try:
            seen.append(s.recv(1))
        except ConnectionResetError:
            seen.append("reset")
    with Target(w.target_port(0), serve), Target(w.target_port(1), lambda s: (s.recv(2), reset(s))):
        w.config([PLAIN, 'name: q, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t1}"'])
        w.start()
        s = connect(w.base)
        expect("a greeting", s.recv(2), b"hi")
        reset(s)
        wait_for("the target sees the reset", lambda: seen == ["reset"])
        s = connect(w.base + 1)
        s.sendall(b"go")
        if not was_reset(s):
            raise Failed("    the source was not reset")
        wait_for("both are counted", lambda: w.metric("stile_relay_ended_total", "reset_by_source") == 1 and
                 w.metric("stile_relay_ended_total", "reset_by_target") == 1)


@case("TLS with the source, with the target, and both; the target's name is verified")
def _(w):
    w.certificate()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(w.path("server.pem"), w.path("server.key"))

    def tls_echo(s):
        with server.wrap_socket(s, server_side=True) as t:
            echo(t)
    own = "tls: { certificate: server.pem, key: server.key }"
    with Target(w.target_port(0), echo), Target(w.target_port(1), tls_echo):
        w.config([f'name: front, listen: "127.0.0.1:{{p0}}", target: "127.0.0.1:{{t0}}", {own}',
                  'name: back, listen: "127.0.0.1:{p1}", target: "localhost:{t1}", target_tls: { ca: server.pem }',
                  f'name: both, listen: "127.0.0.1:{{p2}}", target: "127.0.0.1:{{t1}}", {own}, target_tls: {{ ca: server.pem, server_name: localhost }}',
                  'name: wrong, listen: "127.0.0.1:{p3}", target: "127.0.0.1:{t1}", target_tls: { ca: server.pem, server_name: other.test }',
                  'name: blind, listen: "127.0.0.1:{p4}", target: "127.0.0.1:{t1}", target_tls: { server_name: other.test, verify: false }'])
        w.start()
        client = ssl.create_default_context(cafile=w.path("server.pem"))
        for i in (0, 2):
            with client.wrap_socket(connect(w.base + i, timeout=60), server_hostname="localhost") as s:
                tls_both_ways(s, 3 << 20)
        for i in (1, 4):
            with connect(w.base + i, timeout=60) as s:
                both_ways(s, 3 << 20)
        if not resets(w.base + 3):
            raise Failed("    a target with another name was taken")
        w.logged("relay.connection.failed", "route=wrong", "certificate")


@case("a PROXY header tells the target who it is")
def _(w):
    heads = []
    def serve(s):
        head = b""
        while len(head) < 28:
            head += s.recv(28 - len(head))
        heads.append(head)
        echo(s)
    with Target(w.target_port(), serve):
        w.config([PLAIN + ", proxy_protocol: v2"])
        w.start()
        with connect(w.base) as s:
            own = s.getsockname()
            s.sendall(b"mine")
            expect("what follows the header", read_all(s, 4), b"mine")
        head = heads[0]
        expect("signature", head[:16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")
        expect("addresses", struct.unpack("!4s4sHH", head[16:28]),
               (socket.inet_aton("127.0.0.1"), socket.inet_aton("127.0.0.1"), own[1], w.base))


@case("the first target that can be reached is taken; one that could not is left aside for a while")
def _(w):
    w.config(['name: r, listen: "127.0.0.1:{p0}", target: ["127.0.0.1:{t0}", "127.0.0.1:{t1}"], source_address: 127.0.0.5'])
    with Target(w.target_port(1), named("second")) as second:
        w.start()
        for _ in range(3):
            with connect(w.base) as s:
                expect("who answers", s.recv(10), b"second")
        first = w.route("r")["targets"][0]
        if not first["aside"] or first["failures"] != 1:
            raise Failed(f"    the dead target is asked each time: {first}")
        expect("the outgoing address", {p[0] for p in second.peers}, {"127.0.0.5"})
        with Target(w.target_port(0), named("first")):
            def by_first():
                with connect(w.base) as s:
                    return s.recv(10) == b"first"
            wait_for("the first is tried again", by_first)


@case("a data log holds every byte of its connection, switched on in the file or live, and others stay spliced")
def _(w):
    with Target(w.target_port(), echo):
        os.mkdir(w.path("rec"))
        w.config([PLAIN + ", log_data: true", 'name: q, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}"'],
                 records=f"{{ dir: {w.path('rec')}, json: true }}")
        w.start()
        with connect(w.base) as s:
            s.sendall(b"EHLO example.org\r\n")
            expect("an echo", read_all(s, 18), b"EHLO example.org\r\n")
        wait_for("a data log", lambda: [f for f in glob.glob(w.path("rec/RL*.LOG")) if b"EHLO exa" in open(f, "rb").read().replace(b"  ", b" ")
                                        or b"45 48 4c 4f" in open(f, "rb").read()])
        with connect(w.base + 1) as s:
            s.sendall(b"x")
            read_all(s, 1)
            row = w.connections("q")[0]
            w.verb("relay.log", {"id": row["id"], "on": True})
            expect("logged", w.connections("q")[0]["logged"], True)
            s.sendall(b"SECRETWORD")
            read_all(s, 10)
            w.verb("relay.log", {"id": row["id"], "on": False})
            expect("logged", w.connections("q")[0]["logged"], False)
        wait_for("its data log", lambda: len(glob.glob(w.path("rec/RL*.LOG"))) == 2)
        lines = wait_for("the connection log", lambda: [json.loads(line) for f in glob.glob(w.path("rec/CO*.jsonl"))
                                                        for line in open(f, encoding="utf-8")])
        if not {"relay.connection.opened"} <= {line["id"] for line in lines}:
            raise Failed(f"    the connection log has {lines}")
        w.refused("relay.log", {"id": 1 << 40, "on": True}, "not-found")


def pour(s):
    data = pattern(1 << 18)
    while True:
        s.sendall(data)


def drink(s, stop):
    """As fast as a line of 30 MB/s, until told."""
    while not stop.is_set() and s.recv(1 << 16):
        time.sleep(0.002)


@case("only a connection that is logged or limited leaves splice, and it comes back when it is not logged any more")
def _(w):
    os.mkdir(w.path("rec"))
    stop = threading.Event()
    with Target(w.target_port(), pour):
        w.config([PLAIN, 'name: other, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}"',
                  'name: logged, listen: "127.0.0.1:{p2}", target: "127.0.0.1:{t0}", log_data: true',
                  'name: limited, listen: "127.0.0.1:{p3}", target: "127.0.0.1:{t0}", limits: { bitrate: 1Gbit/s }'],
                 records=f"{{ dir: {w.path('rec')}, data_floor: 1MB, data_max_size: 500MB }}")
        w.start()
        drinkers = [connect(w.base + i) for i in range(4)]
        threads = [threading.Thread(target=drink, args=(s, stop)) for s in drinkers]
        for t in threads:
            t.start()

        def spliced():
            return {r["route"]: r["spliced"] for r in w.connections() if r["bytes_down"] > 1 << 20}
        try:
            calm = {"r": True, "other": True, "logged": False, "limited": False}
            wait_for("bulk is spliced where it may be", lambda: spliced() == calm)
            number = w.connections("r")[0]["id"]
            for verb, args in (("relay.log", {"id": number, "on": True}), ("relay.log", {"id": number, "on": False})):
                w.verb(verb, args)
                wait_for(f"{args}", lambda: spliced() == {**calm, "r": not args["on"]})  # pylint: disable=cell-var-from-loop
            expect("logged with its route", w.connections("logged")[0]["logged"], True)
        finally:
            stop.set()
            for t in threads:
                t.join(20)
            for s in drinkers:
                s.close()


@case("an operator watches a connection's bytes as they pass, until it ends")
def _(w):
    with Target(w.target_port(), echo):
        w.config([PLAIN])
        w.start()
        s = connect(w.base)
        s.sendall(b"a")
        read_all(s, 1)
        number = w.connections()[0]["id"]
        with socket.socket(socket.AF_UNIX) as c:
            c.settimeout(10)
            c.connect(w.path("run/stile-tunnel.sock"))
            f = c.makefile("rw", encoding="utf-8")
            f.readline()
            f.write(json.dumps({"id": 7, "verb": "relay.watch", "args": {"id": number}}) + "\n")
            f.flush()
            wait_for("the tap is on", lambda: w.connections()[0]["watched"])
            s.sendall(b"visible")
            read_all(s, 7)
            up, down = json.loads(f.readline())["progress"], json.loads(f.readline())["progress"]
            expect("what is seen", (up["way"], bytes.fromhex(up["hex"]), down["way"], bytes.fromhex(down["hex"])),
                   ("up", b"visible", "down", b"visible"))
            s.close()
            expect("the end", json.loads(f.readline())["result"], {"ended": True})
        w.logged("relay.watched", f"connection={number}")


@case("a bit rate is kept, by waiting")
def _(w):
    with Target(w.target_port(), answer_when_done):
        w.config([PLAIN + ", limits: { bitrate: 8Mbit/s }"])
        w.start()
        began = time.monotonic()
        with connect(w.base, timeout=30) as s:
            s.sendall(pattern(3_000_000))
            s.shutdown(socket.SHUT_WR)
            expect("the answer", read_all(s)[:8], struct.pack("!Q", 3_000_000))
        took = time.monotonic() - began
        if not 1.5 < took < 6:  # a megabyte a second, the first one at once
            raise Failed(f"    3 MB at 8 Mbit/s took {took:.1f} s")


@case("idle and half-closed connections end in their time")
def _(w):
    with Target(w.target_port(0), echo), Target(w.target_port(1), lambda s: s.recv(1) or time.sleep(20)):
        w.config([PLAIN + ", idle_timeout: 1s", 'name: h, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t1}", half_close_timeout: 1s'])
        w.start()
        with connect(w.base) as idle, connect(w.base + 1) as half:
            half.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            expect("the end", (idle.recv(1), half.recv(1)), (b"", b""))
            if not 0.5 < time.monotonic() - began < 5:
                raise Failed("    not in its time")
        expect("counted", (w.metric("stile_relay_ended_total", "idle"), w.metric("stile_relay_ended_total", "half_closed")), (1, 1))


# ---- UDP ----

class UdpTarget:
    def __init__(self, port, answer, host="127.0.0.1"):
        self.sources = set()
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind((host, port))
        self.answer = answer
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                data, peer = self.s.recvfrom(65535)
                if data == b"stop":
                    return
                self.sources.add(peer)
                self.s.sendto(self.answer(data), peer)
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"stop", self.s.getsockname())
        self.thread.join(5)
        self.s.close()


def source():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    return s


@case("UDP: a flow for each source, answers come from the port that was asked, flows end when they are idle")
def _(w):
    with UdpTarget(w.target_port(), lambda d: d[::-1]) as target:
        w.config(['name: u, listen: "0.0.0.0:{p0}", target: "127.0.0.1:{t0}", udp: true, idle_timeout: 6s'])
        w.start()
        sources = [source() for _ in range(10)]
        for i, s in enumerate(sources):
            s.connect(("127.0.0.1", w.base))
            for size in (1, 100, 1400, 9000):
                data = pattern(size, i)
                s.send(data)
                expect("an answer", s.recv(65535), data[::-1])
        expect("flows", (len(target.sources), len(w.connections())), (10, 10))
        expect("protocol", {r["protocol"] for r in w.connections()}, {"udp"})
        wait_for("they end", lambda: not w.connections())
        expect("bytes", (w.route("u")["bytes_up"], w.route("u")["bytes_down"]), (10 * 10501, 10 * 10501))
        for s in sources:
            s.close()


@case("UDP: a flow's data log holds each datagram both ways once, and so does what a watcher sees; switched in the file or live")
def _(w):
    def logs():
        return [open(f, encoding="utf-8").read() for f in sorted(glob.glob(w.path("rec/RL*.LOG")))]

    with UdpTarget(w.target_port(), lambda d: d[::-1]), source() as s, source() as q:
        os.mkdir(w.path("rec"))
        w.config(['name: u, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}", udp: true, log_data: true',
                  'name: v, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}", udp: true'], records=f"{{ dir: {w.path('rec')} }}")
        w.start()
        s.connect(("127.0.0.1", w.base))
        q.connect(("127.0.0.1", w.base + 1))
        s.send(b"camera")
        expect("an answer", s.recv(100), b"aremac")
        wait_for("a data log", lambda: logs() and "aremac" in logs()[0])
        expect("each datagram once", (logs()[0].count("camera"), logs()[0].count("aremac"), logs()[0].count("Packet from")), (1, 1, 2))
        q.send(b"unseen")
        q.recv(100)
        row = w.connections("v")[0]
        w.verb("relay.log", {"id": row["id"], "on": True})
        q.send(b"viewer")
        q.recv(100)
        w.verb("relay.log", {"id": row["id"], "on": False})
        wait_for("its data log", lambda: len(logs()) == 2 and "reweiv" in logs()[1] and "switched off" in logs()[1])
        expect("packets", logs()[1].count("Packet from"), 2)


@case("UDP: a target that refuses is followed by the next; limits and allowed sources hold")
def _(w):
    with UdpTarget(w.target_port(1), lambda d: b"second"):
        w.config(['name: u, listen: "127.0.0.1:{p0}", target: ["127.0.0.1:{t0}", "127.0.0.1:{t1}"], udp: true',
                  'name: few, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t1}", udp: true, limits: { connections: 2 }',
                  'name: none, listen: "127.0.0.1:{p2}", target: "127.0.0.1:{t1}", udp: true, allow: [192.0.2.0/24]'])
        w.start()
        with source() as s:
            s.settimeout(0.3)
            s.connect(("127.0.0.1", w.base))

            def answered():
                s.send(b"?")
                try:
                    return s.recv(100) == b"second"
                except TimeoutError:
                    return False
            wait_for("the second answers", answered)
        sources = [source() for _ in range(3)]
        for s in sources:
            s.sendto(b"?", ("127.0.0.1", w.base + 1))
        wait_for("one is over the limit", lambda: w.route("few")["refused"] == 1)
        sources[0].sendto(b"?", ("127.0.0.1", w.base + 2))
        wait_for("a source is refused", lambda: w.route("none")["refused"] == 1)
        w.logged("relay.connection.refused", "route=none", "does not allow this source")
        for s in sources:
            s.close()


@case("a source that a reload strikes off a route's list loses its connections and flows, and who is on it keeps them")
def _(w):
    tcp = 'name: tcp, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'
    udp = 'name: udp, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t1}", udp: true'
    with Target(w.target_port(0), echo), UdpTarget(w.target_port(1), lambda d: d[::-1]):
        w.config([tcp, udp])
        w.start()
        streams = [socket.create_connection(("127.0.0.1", w.base), 10, (f"127.0.0.{n}", 0)) for n in (1, 2)]
        flows = [source() for _ in (1, 2)]
        for n, s in enumerate(flows):
            s.bind((f"127.0.0.{n + 1}", 0))
            s.connect(("127.0.0.1", w.base + 1))

        def works(n):
            streams[n].sendall(b"stream")
            expect("an echo", read_all(streams[n], 6), b"stream")
            flows[n].send(b"camera")
            expect("an answer", flows[n].recv(100), b"aremac")
        works(0)
        works(1)
        w.config([f"{r}, allow: [127.0.0.1/32]" for r in (tcp, udp)])
        w.reload()
        works(0)
        if not was_reset(streams[1]):
            raise Failed("    the connection of the other one goes on")
        flows[1].send(b"camera")
        wait_for("its datagram is refused", lambda: w.route("udp")["refused"] == 1)
        flows[1].settimeout(0.3)
        try:
            raise Failed(f"    it has an answer: {flows[1].recv(100)}")
        except TimeoutError:
            pass
        for route in ("tcp", "udp"):
            w.logged("relay.connection.ended", f"route={route}", "does not allow this source any more")
        for s in streams + flows:
            s.close()


if __name__ == "__main__":
    sys.exit(main(24340))
