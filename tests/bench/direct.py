#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A direct link between two agents beside the kernel's TCP over the same line, and what happens when the direct path dies.

Real programs in network namespaces (tests/netns/direct_lab.py), a line that delays, loses and limits (tests/netns/wire.c). Rates:
bare TCP with cubic, bare TCP with BBR, and ours take turns, in a round forwards, in the next backwards; a ratio is the median of the
rounds' ratios. Death: a transfer runs over the direct line, which loses everything from one moment on; the gap is the longest time
without a byte, and then it counts until half of what the relay gives is reached; what it gives is measured on a link of
its own that never had a direct path. Both agents share one CPU, load and lines have the other. Raw JSON of every
run is kept. Exit status: 0 every bar is met, 1 one is missed, 2 the benchmark cannot run here."""
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "netns"))
from direct_lab import DirectLab  # noqa: E402
from lab import Failed, Skipped, enter  # noqa: E402
from servers import Unable, keep  # noqa: E402
from tunnel_lab import wait_for  # noqa: E402
from tunnel_peers import begin, prepare_end, prepare_load  # noqa: E402

TARGET, VISIT, FLOW, FLOW_VISIT = 26100, 26120, 26101, 26121
CONTROLS = {"tcp": "cubic", "tcp-bbr": "bbr"}
FAR = {"tcp": "10.99.1.2", "tcp-bbr": "10.99.2.2"}
WAYS = ("tcp", "tcp-bbr", "direct")
LEGS = {"delay": 10, "rate": 100, "queue": 500000}  # the relay: 40 ms there and back, 100 Mbit/s
FAST = {"delay": 20, "rate": 500, "queue": 2500000, "loss": 1}
SLOW = {"delay": 30, "rate": 20, "queue": 150000, "loss": 1}
LONG = {"delay": 30, "rate": 200, "queue": 1500000, "loss": 0}
NEAR = {"delay": 0.5, "rate": 400, "queue": 500000, "loss": 0}
BEFORE_S, AFTER_S, WINDOW_S = 4, 6, 0.5

# name: (what, line, ways, bars: of ours, (kind, limit, of whom or None))
RATES = {
    "fast": ("500 Mbit/s, 40 ms, 1 % loss", FAST, WAYS, ("least", 1.3, "tcp-bbr")),
    "slow": ("20 Mbit/s, 60 ms, 1 % loss", SLOW, WAYS, ("least", 18.0, None)),
}
DEATHS = {
    "dies-60ms": ("a path of 60 ms dies", LONG),
    "dies-1ms": ("a path of 1 ms dies", NEAR),
}
GAP_S, HALF_S = 0.9, 3.0


class Flow:
    """Bytes one way through the link, as fast as they go, and when they arrived."""

    def __init__(self, lab, direction):
        self.lab, self.direction, self.stamps, self.ended, self.sockets = lab, direction, [], False, []
        with lab.inside("site"):
            listener = socket.create_server(("127.0.0.1", FLOW))
        self.sockets.append(listener)
        with lab.inside("home"):
            visitor = socket.create_connection(("127.0.0.1", FLOW_VISIT), timeout=60)
        self.sockets.append(visitor)
        visitor.sendall(b"!")  # a stream exists from its first byte on
        target = listener.accept()[0]
        target.recv(1)
        self.sockets.append(target)
        sender, receiver = (target, visitor) if direction == "down" else (visitor, target)
        self.threads = [threading.Thread(target=self.send, args=(sender,), daemon=True),
                        threading.Thread(target=self.receive, args=(receiver,), daemon=True)]
        for t in self.threads:
            t.start()

    @staticmethod
    def send(s):
        data = bytes(1 << 16)
        with contextlib.suppress(OSError):
            while True:
                s.sendall(data)

    def receive(self, s):
        buffer = bytearray(1 << 18)
        with contextlib.suppress(OSError):
            while n := s.recv_into(buffer):
                self.stamps.append((time.monotonic(), n))
        self.ended = True

    def rate(self, begin, end):
        """bit/s"""
        return 8 * sum(n for t, n in self.stamps if begin <= t < end) / (end - begin)

    def close(self):
        for s in self.sockets:
            with contextlib.suppress(OSError):
                s.shutdown(2)
            s.close()
        for t in self.threads:
            t.join(10)


class Benchmark:
    def __init__(self, options):
        self.options = options
        self.build = os.path.abspath(os.environ.get("STILE_BUILD", "build-release"))
        self.raw, self.found = [], {}

    def keep(self, n, load, way, result):
        self.raw.append({"round": n, "load": load, "way": way, **result})
        self.found.setdefault((load, way), {})[n] = result
        print(f"round {n + 1}: {load}, {way}: " + ", ".join(f"{k} {v:.4g}" for k, v in result.items() if isinstance(v, float)), file=sys.stderr)

    def lab(self, line):
        return DirectLab(self.build, line, LEGS, os.path.join(self.build, "wire"), prepare_end, prepare_load)

    # ---- rates ----

    @staticmethod
    def add_routes(lab):
        """Addresses with a congestion control each; Debian's default is cubic."""
        for number, control in enumerate(CONTROLS.values(), 1):
            for host, own, other in (("home", 1, 2), ("site", 2, 1)):
                lab.at(host, "ip", "address", "add", f"10.99.{number}.{own}/32", "dev", "wire0")
                lab.at(host, "ip", "route", "add", f"10.99.{number}.{other}", "dev", "wire0", "src", f"10.99.{number}.{own}", "congctl", control)

    def load(self, lab, way, direction, seconds, warm):
        address, port = ("127.0.0.1", VISIT) if way == "direct" else (FAR[way], TARGET)
        pids = [s.process.process.pid for s in (lab.home, lab.site)] + [a.child_pid() for a in (lab.home, lab.site)]
        argv = [*enter(lab.name("home")), os.path.join(self.build, "tunnel_load"), direction, address, str(port), "1",
                str(seconds * self.options.scale), str(warm * self.options.scale), ",".join(map(str, pids)) if way == "direct" else "0"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              preexec_fn=prepare_load, timeout=120)
        try:
            r = json.loads(done.stdout)
        except ValueError:
            raise Unable(f"the load failed over {way}: {done.stderr.strip()}") from None
        r["mbit"] = r["bytes"] * 8 / r["seconds"] / 1e6
        return r

    def rates(self, n, name):
        _, line, ways, _ = RATES[name]
        ways = [w for w in ways if w not in self.options.without]
        with self.lab(line) as lab:
            self.add_routes(lab)
            lab.launch("site", [os.path.join(self.build, "tunnel_load"), "serve", "0.0.0.0", str(TARGET)], "target")
            lab.start_agents([(f"127.0.0.1:{TARGET}", VISIT)], [f"127.0.0.1:{TARGET}"])
            lab.until_path("direct")
            for direction in ("down", "up"):
                for way in ways if n % 2 == 0 else reversed(ways):
                    r = self.load(lab, way, direction, 5, 3)
                    if way == "direct" and not lab.home.link("direct"):
                        raise Unable("the link has left its direct path meanwhile")
                    self.keep(n, f"{name}-{direction}", way, r)

    # ---- the death of a path ----

    def start(self, lab):
        lab.start_agents([(f"127.0.0.1:{FLOW}", FLOW_VISIT)], [f"127.0.0.1:{FLOW}"])

    def relay_rate(self, lab, direction):
        flow = Flow(lab, direction)
        time.sleep(BEFORE_S)
        now = time.monotonic()
        rate = flow.rate(now - BEFORE_S / 2, now)
        flow.close()
        return rate

    def death(self, lab, direction, relay):
        flow = Flow(lab, direction)
        time.sleep(BEFORE_S)
        before = time.monotonic()
        if not lab.home.link("direct"):
            raise Unable("the link has left its direct path before it was cut")
        lab.cut()
        died = time.monotonic()
        time.sleep(AFTER_S)
        flow.close()
        stamps = [t for t, _ in flow.stamps if t >= before - 0.5]
        half = next((t + WINDOW_S for t in (died + 0.02 * i for i in range(int((AFTER_S - WINDOW_S) * 50)))
                     if flow.rate(t, t + WINDOW_S) >= relay / 2 and t > died + 0.1), died + AFTER_S)
        return {"gap_s": max((b - a for a, b in zip(stamps, stamps[1:])), default=float(AFTER_S)), "half_s": half - died,
                "direct_mbit": flow.rate(before - 2, before) / 1e6, "relay_mbit": relay / 1e6,
                "after_mbit": [round(flow.rate(died + t / 2, died + t / 2 + 0.5) / 1e6, 2) for t in range(2 * AFTER_S)],
                "ended": flow.ended and not stamps}

    def deaths(self, n, name):
        _, line = DEATHS[name]
        with self.lab(line) as lab:
            lab.cut()
            self.start(lab)
            lab.until_path("relay")
            relay = {d: self.relay_rate(lab, d) for d in ("down", "up")}
            for direction in ("down", "up"):
                lab.mend()
                lab.home.stop()
                lab.home.start()
                lab.until_path("direct")
                wait_for("a relay stands by", lambda: any(p["path"] == "relay" and p["state"] == "stands by" and p["rtt_us"]
                                                          for p in lab.home.link("direct").get("paths", [])))
                self.keep(n, f"{name}-{direction}", "direct", self.death(lab, direction, relay[direction]))

    def run(self):
        for n in range(self.options.rounds):
            for name in RATES:
                if not self.options.only or name in self.options.only:
                    self.rates(n, name)
            for name in DEATHS:
                if not self.options.only or name in self.options.only:
                    self.deaths(n, name)


def rows():
    """(what, load, way's value, unit, bar)"""
    for name, (what, _, _, bar) in RATES.items():
        for direction, words in (("down", "to the visitor"), ("up", "from the visitor")):
            yield f"{what}, {words}", f"{name}-{direction}", lambda r: r["mbit"], "Mbit/s", bar
    for name, (what, _) in DEATHS.items():
        for direction, words in (("down", "to the visitor"), ("up", "from the visitor")):
            yield f"{what}, {words}: gap", f"{name}-{direction}", lambda r: r["gap_s"], "s", ("most", GAP_S, None)
            yield "  until half of the relay's rate", f"{name}-{direction}", lambda r: r["half_s"], "s", ("most", HALF_S, None)


def judge(found, load, value, bar):
    """(measured, met) of ours; None where it was not."""
    ours = found.get((load, "direct"))
    if not ours:
        return None, None
    kind, limit, of = bar
    values = [value(r) for r in ours.values()]
    if of:
        theirs = found.get((load, of), {})
        values = [value(r) / value(theirs[n]) for n, r in ours.items() if n in theirs and value(theirs[n])]
        if not values:
            return None, None
    measured = statistics.median(values)
    return measured, measured <= limit if kind == "most" else measured >= limit


def show(found):
    missed = 0
    print(f"{'':56}" + "".join(f"{w:>9}" for w in WAYS) + "  unit    bar")
    for what, load, value, unit, bar in rows():
        cells = [statistics.median(map(value, found[load, w].values())) if (load, w) in found else None for w in WAYS]
        if all(c is None for c in cells):
            continue
        measured, met = judge(found, load, value, bar)
        told = f"{'≤' if bar[0] == 'most' else '≥'} {bar[1]:g}" + (f" of {bar[2]}: {measured:.2f}" if bar[2] and measured else f" {unit}")
        told += "" if met is None else " met" if met else " MISSED"
        missed += met is False
        print(f"{what:56}" + "".join(f"{'' if c is None else f'{c:.3g}':>9}" for c in cells) + f"  {unit:7} {told}")
    return missed


def main():
    options = begin(__doc__, (*RATES, *DEATHS), WAYS)
    began, load_before = time.monotonic(), os.getloadavg()[0]
    bench = Benchmark(options)
    bench.run()
    name = keep("direct", load_average=load_before, lines={"fast": FAST, "slow": SLOW, "long": LONG, "near": NEAR, "relay": LEGS}, runs=bench.raw)
    missed = show(bench.found)
    print(f"every run: {name}; {options.rounds} rounds in {time.monotonic() - began:.0f} s; load average before: {load_before:.1f}")
    return 1 if missed and not options.no_bars else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unable, Failed, Skipped) as e:
        print(f"the benchmark cannot run here: {e}", file=sys.stderr)
        sys.exit(2)
