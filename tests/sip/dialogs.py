#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of sipp through stile-sip, end to end, over UDP, TCP and from one to the other: Record-Route, 100rel, re-INVITE,
CANCEL, refusals, MESSAGE, SUBSCRIBE with NOTIFY, PUBLISH; over a network that loses and doubles datagrams; and that
what one sender says in one call arrives in the order in which it was said.

    tests/sip/dialogs.py --build build-check [--only WORD]"""
import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sipp_scenarios import CALLS, for_bad_networks  # noqa: E402

LAN, OUTSIDE, CALLEE, CALLER = 27000, 27001, 27010, 27020
LIMIT_S = 60


class Failed(Exception):
    """A case did not go as it must; the text says how."""


def make_folder():
    folder = tempfile.mkdtemp(prefix="stile-sip-")
    os.chmod(folder, 0o777)  # the service gives root's rights up
    return folder


class Proxy:
    """stile-sip with a route to the callee; who comes in by the LAN's interface may use it."""

    def __init__(self, build, folder, callee_port, transport, host="127.0.0.1"):
        self.folder, self.build = folder, build
        self.config = os.path.join(folder, "stile.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(f"""sip:
  domains: [caller.test]
  listen: ["udp:127.0.0.1:{OUTSIDE}", "tcp:127.0.0.1:{OUTSIDE}"]
  lan:
    listen: ["udp:127.0.0.1:{LAN}", "tcp:127.0.0.1:{LAN}"]
  sources: {{ unlimited: [127.0.0.0/8] }}
  routes:
    - {{ domain: callee.test, host: {host}, port: {callee_port}, transport: {transport} }}
store: {{ path: {folder}/store.db }}
""")
        self.process = None

    def __enter__(self):
        with open(os.path.join(self.folder, "log"), "wb") as out:
            self.process = subprocess.Popen([os.path.join(self.build, "sip-proxy/stile-sip"), "-c", self.config],
                                            stdout=out, stderr=out, env={**os.environ, "RUNTIME_DIRECTORY": self.folder})
        end = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed("stile-sip did not start:\n" + self.log())
        return self

    def answers(self):
        text = (f"OPTIONS sip:127.0.0.1:{LAN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{random.random()}\r\n"
                "From: <sip:t@caller.test>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: hello\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
                "Content-Length: 0\r\n\r\n").encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            try:
                s.connect(("127.0.0.1", LAN))
                s.send(text)
                return s.recv(4096).startswith(b"SIP/2.0 200")
            except OSError:
                time.sleep(0.1)
                return False

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-4000:]

    def __exit__(self, *_):
        for sig in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(sig)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    pass
        if self.process.returncode not in (0, -signal.SIGTERM):
            raise Failed(f"stile-sip ended with {self.process.returncode}:\n{self.log()}")


class Sipp:
    """One end. The callee stands ready until it is ended; the caller makes its calls and says how they went."""

    def __init__(self, folder, name, xml, port, transport, arguments):
        path = os.path.join(folder, name + ".xml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(xml)
        self.folder, self.name = folder, name
        with open(os.path.join(folder, name + ".out"), "wb") as out:
            self.process = subprocess.Popen(
                ["sipp", "-sf", path, "-i", "127.0.0.1", "-p", str(port), "-t", {"udp": "u1", "tcp": "t1"}[transport], "-nostdin",
                 "-trace_err", "-error_file", os.path.join(folder, name + ".err"), "-timeout", f"{LIMIT_S}s", *arguments],
                stdout=out, stderr=out, cwd=folder)

    def said(self):
        text = ""
        for end in (".err", ".out"):
            path = os.path.join(self.folder, self.name + end)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read()[-1500 if end == ".out" else -3000:]
        return text

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class BadNetwork(threading.Thread):
    """Between proxy and callee: each datagram is lost or doubled by chance."""

    def __init__(self, port, callee):
        super().__init__(daemon=True)
        self.inside, self.outside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.inside.bind(("127.0.0.1", port))
        self.outside.bind(("127.0.0.1", port + 1))
        self.callee, self.proxy, self.lost, self.doubled, self.on = ("127.0.0.1", callee), None, 0, 0, True
        self.chance = random.Random(7)

    def run(self):
        for s in (self.inside, self.outside):
            s.settimeout(0.02)
        while self.on:
            for s, other in ((self.inside, self.outside), (self.outside, self.inside)):
                try:
                    data, source = s.recvfrom(65536)
                except OSError:
                    continue
                if s is self.inside:
                    self.proxy = source
                to = self.callee if s is self.inside else self.proxy
                roll = self.chance.random()
                self.lost += roll < 0.05
                self.doubled += roll > 0.9
                for _ in range(0 if roll < 0.05 else 2 if roll > 0.9 else 1):
                    if to:
                        other.sendto(data, to)
        self.inside.close()
        self.outside.close()


def run_case(build, name, calls, transports, rate=20, bad=False):
    caller, callee = for_bad_networks(CALLS[name]) if bad else CALLS[name]
    folder = make_folder()
    ends, network = [], None
    route = CALLEE + 2 if bad else CALLEE
    if bad:
        network = BadNetwork(route, CALLEE)
        network.start()
    try:
        with Proxy(build, folder, route, transports[1]) as proxy:
            try:
                ends.append(Sipp(folder, "callee", callee, CALLEE, transports[1], []))
                time.sleep(0.3)
                ends.append(Sipp(folder, "caller", caller, CALLER, transports[0],
                                 ["-m", str(calls), "-r", str(rate), "-s", "bob", "-recv_timeout", "30000", f"127.0.0.1:{LAN}"]))
                try:
                    code = ends[1].process.wait(LIMIT_S + 10)
                except subprocess.TimeoutExpired:
                    code = "no end"
                if code != 0:
                    raise Failed(f"the caller ended with {code}:\n{ends[1].said()}\nthe callee:\n{ends[0].said()}\nproxy:\n{proxy.log()}")
                if network and not (network.lost and network.doubled):
                    raise Failed("the bad network was good")
            finally:
                for e in ends:
                    e.end()
    finally:
        if network:
            network.on = False
            network.join()
        shutil.rmtree(folder, ignore_errors=True)


def in_order(build):
    """Three hundred MESSAGEs of one sender in one call arrive as they were sent, though the name of the
    next hop is looked up for each."""
    folder = make_folder()
    n = 300
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as callee, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        callee.bind(("127.0.0.1", CALLEE))
        caller.bind(("127.0.0.1", CALLER))
        for s in (callee, caller):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.settimeout(20)
        try:
            with Proxy(build, folder, CALLEE, "udp", "localhost"):
                got, seen = [], set()

                def take(until):
                    while len(got) < until:
                        data, proxy = callee.recvfrom(65536)
                        data = data.decode()
                        callee.sendto(("SIP/2.0 200 OK\r\n" + data.split("\r\n", 1)[1].replace("bob@callee.test>", "bob@callee.test>;tag=b")).encode(),
                                      proxy)
                        cseq = int(data.split("CSeq: ")[1].split()[0])
                        if cseq not in seen:  # not a repetition
                            seen.add(cseq)
                            got.append(cseq)

                for i in range(1, n + 1):
                    caller.sendto((f"MESSAGE sip:bob@callee.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{CALLER};branch=z9hG4bKo{i}\r\n"
                                   "From: <sip:a@caller.test>;tag=a\r\nTo: <sip:bob@callee.test>\r\nCall-ID: in-order\r\n"
                                   f"CSeq: {i} MESSAGE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n").encode(), ("127.0.0.1", LAN))
                    take(i - 24)  # a lane holds 32 at most, however slow the machine is
                take(n)
                if got != sorted(got):
                    raise Failed(f"out of order: {[c for c, d in zip(got, sorted(got)) if c != d][:10]}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def cases(build):
    for name in CALLS:
        for transports in (("udp", "udp"),) + ((("tcp", "tcp"), ("udp", "tcp")) if name in ("a call", "SUBSCRIBE and NOTIFY") else ()):
            yield (f"{name}, {transports[0]} to {transports[1]}",
                   lambda name=name, t=transports: run_case(build, name, 20, t))
    for name in ("a call", "MESSAGE", "a busy callee"):
        yield f"{name}, datagrams lost and doubled", lambda name=name: run_case(build, name, 20, ("udp", "udp"), 40, True)
    yield "what one sender says in a call arrives in order", lambda: in_order(build)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.environ.get("STILE_BUILD", "build-check"))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not shutil.which("sipp"):
        print("sipp is not installed (package sip-tester)")
        return 77
    bad = 0
    for title, run in cases(options.build):
        if options.only not in title:
            continue
        begun = time.monotonic()
        try:
            run()
            print(f"ok    {title} ({time.monotonic() - begun:.1f} s)", flush=True)
        except (Failed, OSError) as e:
            bad += 1
            print(f"FAIL  {title}: {e}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
