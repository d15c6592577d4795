#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for stile-agent-direct that speaks the supervisor's channel (tunnel/direct/child_msg.h) and nothing else: so that what
the supervisor does is seen without ICE and QUIC. It gathers one candidate, wants the relay at once, says one line over it,
and writes down whatever it is told ($STILE_CHILD_LOG, a JSON line each).

$STILE_CHILD_DO: words by commas. "die": exits after each LINK-OPEN; "candidates": tells of 10,240; "mute": never READY; "late": only when
it is set up again; "slow": takes a moment to end; "restarts": ICE begins anew forty times; "asks": wants a relay each second;
"gathers": finds nothing, and goes on looking."""
import array
import json
import os
import select
import socket
import struct
import sys
import time

SETUP, TURN, NETWORK, PROBE, LINK_OPEN, ICE_REMOTE, CARRIER, LINK_CLOSE = 1, 2, 3, 4, 0x10, 0x11, 0x12, 0x13
LISTEN, UNLISTEN, ADMITTED, PING = 0x14, 0x15, 0x16, 0x18
READY, ICE_LOCAL, WANT_CARRIER, LINK_STATE, LINK_GONE, ADMIT, STREAM, PONG, ALIVE = 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x4a
SIGNAL = 0x60


def field(number, value):
    return struct.pack(">HH", number, len(value)) + value


def u8(v):
    return bytes([v])


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


class Child:
    def __init__(self):
        self.sock = socket.socket(fileno=3)
        self.sock.setblocking(True)  # it comes non-blocking: a supervisor that is slow to read would be the end of us
        self.log = open(os.environ.get("STILE_CHILD_LOG", "/dev/null"), "a", buffering=1)
        self.do = os.environ.get("STILE_CHILD_DO", "").split(",")
        self.pipes = {}  # link → socket
        self.roles = {}
        self.set_up = False

    def note(self, what, **more):
        self.log.write(json.dumps({"pid": os.getpid(), "what": what, **more}) + "\n")

    def send(self, kind, *fields):
        self.sock.send(bytes([kind]) + b"".join(fields))

    def wait_for_the_next(self):
        """As one that gives back ports and allocations: until the next child has written something, or half a second where it is said
        that there is none; the supervisor has patience for three."""
        deadline, size = time.monotonic() + 2.5, os.fstat(self.log.fileno()).st_size
        while time.monotonic() < deadline and os.fstat(self.log.fileno()).st_size == size:
            if os.path.exists(self.log.name + ".last"):
                time.sleep(0.5)
                return
            time.sleep(0.02)

    def receive(self):
        fds = array.array("i")
        data, ancillary, _flags, _addr = self.sock.recvmsg(65536, socket.CMSG_SPACE(4))
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(value[:4])
        if not data:
            if "slow" in self.do:
                self.wait_for_the_next()
            self.note("goodbye")
            sys.exit(0)
        fields, at = {}, 1
        while at < len(data):
            number, n = struct.unpack_from(">HH", data, at)
            fields.setdefault(number, []).append(data[at + 4:at + 4 + n])
            at += 4 + n
        return data[0], {k: v[0] for k, v in fields.items()}, fields, fds[0] if fds else -1

    def state(self, link, path):
        self.send(LINK_STATE, field(1, link), field(2, u8(2)), field(3, u8(path)), field(6, u32(1500)))

    def open(self, f):
        link = f[1]
        self.roles[link] = f[2][0]
        self.note("open", role=f[2][0], peer=f[3].hex(), name=f.get(4, b"").decode(), dcid=f[5].hex(), head_start=f.get(6, b"").hex())
        if "die" in self.do:
            os._exit(7)
        if "gathers" in self.do:
            return
        candidate = b"candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host"
        self.send(ICE_LOCAL, field(1, link), field(3, b"uf" + b"%02d" % self.roles[link]), field(4, b"p" * 24), field(5, candidate), field(6, u8(1)))
        self.send(WANT_CARRIER, field(1, link))
        for i in range(1, 41 if "restarts" in self.do else 0):
            several = (b"candidate:1 1 UDP %d 192.0.2.%d %d typ host" % (k + 1, k, 1024 + i) for k in range(8))
            self.send(ICE_LOCAL, field(1, link), field(2, u32(i)), field(3, b"uf%02d" % i), field(4, b"p" * 24), *[field(5, c) for c in several])
        for i in range(640 if "candidates" in self.do else 0):
            many = (b"candidate:%d 1 UDP 1 192.0.2.%d %d typ host" % (i, k, 1024 + i) for k in range(16))
            self.send(ICE_LOCAL, field(1, link), *[field(5, c) for c in many])

    def carrier(self, f, fd):
        link = f[1]
        self.note("carrier", fd=fd >= 0, text=f.get(3, b"").decode())
        if fd < 0:
            return
        if link in self.pipes:
            self.pipes[link].close()
        self.pipes[link] = socket.socket(fileno=fd)
        self.pipes[link].sendall(b"I am role %d\n" % self.roles[link])

    def take(self):
        kind, f, many, fd = self.receive()
        if kind == SETUP:
            self.note("setup", flags=f.get(5, b"").hex(), stun=[s.decode() for s in many.get(4, [])])
            if "mute" not in self.do and ("late" not in self.do or self.set_up):
                self.send(READY)
            self.set_up = True
        elif kind == PROBE:
            self.send(ALIVE)
        elif kind == LINK_OPEN:
            self.open(f)
        elif kind == ICE_REMOTE:
            self.note("remote", generation=int.from_bytes(f.get(2, b""), "big"), ufrag=f.get(3, b"").decode(), candidates=[c.decode() for c in many.get(5, [])])
        elif kind == CARRIER:
            self.carrier(f, fd)
        elif kind == LISTEN:
            self.note("listen", host=f[4].decode(), port=f[5].hex(), fd=fd >= 0)
        elif kind == PING:
            self.send(PONG, field(1, f[1]), field(2, f[2]), field(3, u32(1234)), field(4, u8(5)))
        elif kind == ADMITTED:
            self.note("admitted", reason=f.get(2, b"\0")[0], text=f.get(3, b"").decode(), addresses=len(many.get(4, [])))
        elif kind == SIGNAL:
            self.note("signal", body=f[2].decode())
        elif kind == LINK_CLOSE:
            self.note("close", text=f.get(3, b"").decode())
            self.pipes.pop(f[1], socket.socket()).close()

    def hear(self, link):
        try:
            data = self.pipes[link].recv(65536)
        except OSError:
            data = b""
        if not data:
            self.note("pipe-end")
            self.pipes.pop(link).close()
            return
        self.note("heard", text=data.decode())
        self.state(link, 5)
        if self.roles[link] == 2:
            for port in (22, 23):  # may it go there?
                self.send(ADMIT, field(1, u64(port)), field(2, link), field(3, u8(1)), field(4, b"127.0.0.1"), field(5, struct.pack(">H", port)))

    def run(self):
        while True:
            ready, _, _ = select.select([self.sock, *self.pipes.values()], [], [], 1 if "asks" in self.do else None)
            for link in self.roles if not ready else []:
                self.send(WANT_CARRIER, field(1, link))
            for r in ready:
                if r is self.sock:
                    self.take()
                else:
                    for link in [k for k, v in self.pipes.items() if v is r]:
                        self.hear(link)


if __name__ == "__main__":
    Child().run()
