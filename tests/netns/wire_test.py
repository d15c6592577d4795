#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The line emulator does what the tests on it rely on: delay, rate, queue and loss, and not a byte changed. A busy machine may
make it slower, never faster, and never lose other packets than the seed says: so only such things are judged."""
import argparse
import hashlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Built, Failed, Skipped, enter, inside, run, wait_for  # noqa: E402
from wire import Wire  # noqa: E402

SKIP = 77
A, B = "10.99.0.1", "10.99.0.2"
SO_RCVBUFFORCE = 33
CASES = []


def case(sentence):
    def keep(fn):
        CASES.append((sentence, fn))
        return fn
    return keep


class Ends(Built):
    """Two namespaces, and a UDP socket in each as soon as there is a line."""

    def __init__(self, program):
        self.program, self.names = program, [f"stile{os.getpid()}-w{x}" for x in "ab"]

    def set_up(self):
        for name in self.names:
            code, out = run(["ip", "netns", "add", name], check=False)
            if code != 0:
                raise Skipped("network namespaces are not permitted: " + out.strip())
            run([*enter(name), "ip", "link", "set", "lo", "up"])

    def clean(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def line(self, **more):
        return Wire(self.program, *self.names, **more)

    def udp(self, side):
        with inside(self.names[side]):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        s.bind(((A, B)[side], 5000))
        s.settimeout(20)
        return s


def expect(what, good, found):
    if not good:
        raise Failed(f"{what}: {found}")


@case("a packet comes out when its delay is over, which can be changed meanwhile")
def delay(ends):
    with ends.line(delay=(5, 15)) as line, ends.udp(0) as a, ends.udp(1) as b:
        for ms in (20, 60):
            line.set(delay=(ms / 4, ms * 3 / 4))
            times = []
            while not times or (min(times) >= ms + 10 and len(times) < 50):
                began = time.monotonic()
                a.sendto(b"there", (B, 5000))
                b.sendto(b"back", b.recvfrom(100)[1])
                a.recv(100)
                times.append((time.monotonic() - began) * 1000)
            expect(f"the shortest round trip of a line of {ms} ms", ms <= min(times) < ms + 10, f"{min(times):.2f} ms")


def lost_of(ends, seed, n, percent):
    """The numbers of the packets that did not come through."""
    with ends.line(seed=seed, loss=(percent, 0)) as line, ends.udp(0) as a, ends.udp(1) as b:
        came = []
        for first in range(0, n, 500):
            for i in range(first, first + 500):
                a.sendto(struct.pack("!I", i) + b"x" * 96, (B, 5000))
            wait_for("all are in the line", lambda: line.stats()["a_to_b"]["packets"] == first + 500)
            wait_for("all are out of it", lambda: sum(line.stats()["a_to_b"][k] for k in ("delivered", "lost")) == first + 500)
            while len(came) < line.stats()["a_to_b"]["delivered"]:
                came.append(struct.unpack_from("!I", b.recv(200))[0])
        expect("packets in their order", came == sorted(came), "another one")
        stats = line.stats()["a_to_b"]
        expect("lost, overflowed and failed", (stats["lost"], stats["overflowed"], stats["failed"]) == (n - len(came), 0, 0), stats)
        b.sendto(b"back", (A, 5000))
        expect("the other way loses nothing", a.recv(100) == b"back", "it does")
        return sorted(set(range(n)) - set(came))


@case("the share of packets is lost that was said, and with one seed the same ones again")
def loss(ends):
    n = 10000
    first = lost_of(ends, 7, n, 2)
    expect("lost of 10000 at 2 %", 140 <= len(first) <= 260, len(first))
    expect("the same seed loses the same packets", lost_of(ends, 7, n, 2) == first, "others")
    expect("another seed loses other packets", lost_of(ends, 8, n, 2) != first, "the same")
    few = lost_of(ends, 7, n, 0.1)
    expect("lost of 10000 at 0.1 %", 1 <= len(few) <= 30, len(few))
    return f"{len(first)} at 2 %, {len(few)} at 0.1 %"


@case("no more gets through than the rate allows, and what the queue cannot hold is dropped")
def rate(ends):
    size, mbit, n = 1028, 40, 2000
    with ends.line(rate=mbit, queue=n * size * 2) as line, ends.udp(0) as a, ends.udp(1) as b:
        began = time.monotonic()  # of the first that is sent: when it is read is not the line's affair
        for i in range(n):
            a.sendto(struct.pack("!I", i) + b"x" * (size - 32), (B, 5000))
        for _ in range(n):
            b.recv(2000)
        took, least = time.monotonic() - began, (n - 1) * size * 8 / mbit / 1e6
        expect(f"time of {n} packets at {mbit} Mbit/s", least <= took < 10 * least, f"{took:.3f} s, not {least:.3f} s")
        line.set(rate=1, queue=20 * size)
        began = time.monotonic()
        for i in range(n):
            a.sendto(b"x" * (size - 28), (B, 5000))
        wait_for("all are in the line", lambda: line.stats()["a_to_b"]["packets"] == 2 * n)
        stats, out = line.stats()["a_to_b"], (time.monotonic() - began) * 1e6 / (size * 8)
        expect(f"dropped by a queue of 20 packets, {out:.0f} of which can be out again", n - 25 - out <= stats["overflowed"] <= n - 20, stats)
    return f"{took:.2f} s, at least {least:.2f} s"


def through(ends, data):
    """Sends it from A to B over TCP; what arrived, as a hash."""
    with inside(ends.names[1]):
        listener = socket.create_server((B, 5001))
    got = hashlib.sha256()

    def receive():
        s, _ = listener.accept()
        with s:
            s.settimeout(60)
            while part := s.recv(1 << 18):
                got.update(part)
            s.sendall(b"!")

    thread = threading.Thread(target=receive)
    thread.start()
    with inside(ends.names[0]):
        s = socket.create_connection((B, 5001), timeout=20)
    with s:
        s.settimeout(60)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
    thread.join()
    listener.close()
    return got.hexdigest()


@case("bytes of a TCP connection come through as they are, also over a line that loses some of them")
def bytes_kept(ends):
    data = random.Random(3).randbytes(3 << 20)
    with ends.line(delay=2, rate=200, queue=1 << 20, loss=0.5) as line:
        expect("bytes", through(ends, data) == hashlib.sha256(data).hexdigest(), "others")
        expect("something was lost meanwhile", line.stats()["a_to_b"]["lost"] > 0, line.stats())


@case("half a gigabit a second costs less than one CPU")
def cost(ends):
    n = 24 << 20
    with ends.line(delay=5, rate=500, queue=2 << 20) as line:
        through(ends, bytes(n))
        used = line.stats()["cpu_s"] / (n * 8 / 500e6)
    expect("CPUs at 500 Mbit/s", used < 1, f"{used:.2f}")
    return f"{used:.2f} CPU"


@case("a line ends with its input, and its interfaces with it")
def over(ends):
    with ends.line(delay=2) as line:
        expect("an unknown word", line.say("dance") == "not understood", "understood")
        expect("no number", line.say("delay soon") == "not understood", "understood")
        expect("exit status", line.close() == 0, line.process.returncode)
    for name in ends.names:
        expect("the interface", run([*enter(name), "ip", "link", "show", "wire0"], check=False)[0] != 0, "still there")


def run_case(program, sentence, fn):
    verdict, note = "       OK ", ""
    try:
        with Ends(program) as ends:
            note = fn(ends) or ""
    except Skipped as e:
        verdict, note = "  SKIPPED ", str(e)
    except Failed as e:
        verdict, note = "  FAILED  ", str(e)
    except (OSError, ValueError) as e:
        verdict, note = "  FAILED  ", f"the case broke: {type(e).__name__}: {e}"
    print((f"# {note}\n" if note else "") + f"[{verdict}] {sentence}", flush=True)
    return verdict.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("program", help="tests/netns/wire of a build")
    p.add_argument("--only", default="", metavar="TEXT")
    o = p.parse_args()
    if os.getuid() != 0:
        print("network namespaces need root")
        return SKIP
    done = [run_case(os.path.abspath(o.program), s, f) for s, f in CASES if o.only in s]
    return 1 if "FAILED" in done else SKIP if "OK" not in done else 0


if __name__ == "__main__":
    sys.exit(main())
