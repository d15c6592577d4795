#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tunnel beside `ssh -R` and bare TCP: the same loads in alternating runs, medians, one table, a bar for each row that
has one.

All ways are up at the same time and take turns (in a round forwards, in the next backwards), on loopback and over a line of
40 ms round trip and 500 Mbit/s that loses none, 0.1 % and 1 % of the packets each way (tests/netns/wire.c, a seed per
round). Near and far end share one CPU, load and line have the other. A ratio is the median of the rounds' ratios. Raw JSON of
every run is kept. Exit status: 0 every bar is met, 1 one is missed, 2 the benchmark cannot run here."""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tunnel_peers import LINE, Place, Raw, RawBbr, Ssh, SshAes, Stile, StilePlain, begin, enter, prepare_load  # noqa: E402
from servers import Unable, keep  # noqa: E402
from lab import Failed  # noqa: E402

RTT = 2 * LINE["delay"] / 1000
IDLE = 500
REST_S = 25  # after the start; for who gives back what only the start needed
MB = 1e6

# load: (place, loss in percent, mode, connections, seconds, warm seconds, ways)
HERE, THERE = "loopback", "line"
WAYS = ("ssh", "stile", "stile-plain")
BULK, QUICK, LONG = ("tcp", "ssh-aes", *WAYS), ("tcp", *WAYS), ("tcp", "tcp-bbr", *WAYS)
LOADS = {
    "rest": (HERE, 0, "rest", 0, 0, 0, WAYS),
    "idle": (HERE, 0, "idle", IDLE, 0, 0, WAYS),
    "down": (HERE, 0, "down", 8, 1.2, 0.3, BULK),
    "up": (HERE, 0, "up", 8, 1.2, 0.3, BULK),
    "one": (HERE, 0, "down", 1, 1.2, 0.3, BULK),
    "open": (HERE, 0, "open", 1, 1, 0.3, QUICK),
    "burst": (HERE, 0, "burst", 8, 1, 0.3, QUICK),
    "far-open": (THERE, 0, "open", 1, 2, 0.5, QUICK),
    "far-burst": (THERE, 0, "burst", 8, 2, 0.8, QUICK),
    "loss-0": (THERE, 0, "down", 1, 2, 1.2, LONG),
    "loss-0.1": (THERE, 0.1, "down", 1, 2, 1.2, LONG),
    "loss-1": (THERE, 1, "down", 1, 2, 1.2, LONG),
}


def rate(r):
    return r["bytes"] * 8 / r["seconds"] / 1e9


def per_gb(r):
    """None of bare TCP, which has no process of its own."""
    return r["cpu_s"] / (r["bytes"] / 1e9) if r["bytes"] and r["cpu_s"] else None


def ms(key):
    return lambda r: r[key] * 1000


def trips(key):
    """Round trips from connect() to the first byte back; one of them is the byte's own."""
    return lambda r: r[key] / RTT


def both_per_connection(r):
    return (r["near_bytes"] + r["far_bytes"]) / IDLE


# what, load, value, unit, bars per way: (most or least, limit, of which way; None: of the value itself)
NOT_WORSE, NO_LESS = ("most", 1.0, "ssh"), ("least", 1.0, "ssh")
ROWS = (
    ("far end (agent) at rest, memory (PSS)", "rest", lambda r: r["far_pss"] / MB, "MB", ("most", 10.0, None)),
    ("  with all of its shared pages (RSS)", "rest", lambda r: r["far_rss"] / MB, "MB", None),
    ("  of that its own (not shared)", "rest", lambda r: r["far_private"] / MB, "MB", None),
    ("near end (server) at rest, memory (PSS)", "rest", lambda r: r["near_pss"] / MB, "MB", None),
    ("memory per connection, both ends", "idle", both_per_connection, "B", None),
    ("  of the agent", "idle", lambda r: r["far_bytes"] / IDLE, "B", None),
    ("CPU per GB, 8 down, both ends", "down", per_gb, "s", NOT_WORSE),
    ("CPU per GB, 8 up, both ends", "up", per_gb, "s", NOT_WORSE),
    ("8 connections down", "down", rate, "Gbit/s", NO_LESS),
    ("8 connections up", "up", rate, "Gbit/s", NO_LESS),
    ("1 connection down", "one", rate, "Gbit/s", NO_LESS),
    ("first byte p50, one by one", "open", ms("p50_s"), "ms", None),
    ("first byte p99, one by one", "open", ms("p99_s"), "ms", None),
    ("first byte p50, 8 at once", "burst", ms("p50_s"), "ms", None),
    ("first byte p99, 8 at once", "burst", ms("p99_s"), "ms", None),
    ("round trips to 1st byte p50, singly", "far-open", trips("p50_s"), "RTT", ("most", 1.25, None)),
    ("round trips to 1st byte p99, singly", "far-open", trips("p99_s"), "RTT", ("most", 1.75, None)),
    ("round trips to 1st byte p50, 8 at once", "far-burst", trips("p50_s"), "RTT", ("most", 1.25, None)),
    ("round trips to 1st byte p99, 8 at once", "far-burst", trips("p99_s"), "RTT", ("most", 1.75, None)),
    ("40 ms, no loss, 1 down", "loss-0", rate, "Gbit/s", ("least", 0.95, "ssh")),
    ("40 ms, 0.1 % loss, 1 down", "loss-0.1", rate, "Gbit/s", NO_LESS),
    ("40 ms, 1 % loss, 1 down", "loss-1", rate, "Gbit/s", NO_LESS),
)
OURS = ("stile", "stile-plain")
COLUMNS = ("tcp", "tcp-bbr", "ssh", "ssh-aes", "stile", "stile-plain")


class Benchmark:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.build = os.path.abspath(os.environ.get("STILE_BUILD", "build-release"))
        self.raw, self.found = [], {}

    def wanted(self, place):
        return [n for n, load in LOADS.items() if load[0] == place and (not self.options.only or n in self.options.only)]

    def ways(self, loads):
        names = {w for n in loads for w in LOADS[n][6]} - set(self.options.without)
        return [c for c in (Raw, RawBbr, Ssh, SshAes, Stile, StilePlain) if c.name in names]

    def load(self, place, peer, mode, connections, seconds, warm):
        """The load as a process that is about to speak."""
        address, port = peer.visited()
        argv = [*enter(place.near), os.path.join(self.build, "tunnel_load"), mode, address, str(port), str(connections),
                str(seconds * self.options.scale), str(warm), ",".join(map(str, peer.all_pids())) or "0"]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=prepare_load)

    def once(self, place, peer, name):
        _, _, mode, connections, seconds, warm, _ = LOADS[name]
        if mode == "rest":
            time.sleep(max(0, peer.started + REST_S - time.monotonic()))
            return {f"{side}_{what}": getattr(peer, what)(side) for side in ("near", "far") for what in ("rss", "pss", "private")}
        before = peer.rss("near"), peer.rss("far")
        with self.load(place, peer, mode, connections, seconds, warm) as p:
            try:
                said = p.stdout.readline()
                if mode == "idle":
                    time.sleep(0.5)
                after = peer.rss("near"), peer.rss("far")
                p.stdin.close()
                p.wait(30)
                error = p.stderr.read().strip()
            finally:
                if p.poll() is None:
                    p.kill()
        try:
            result = json.loads(said)
        except ValueError:
            raise Unable(f"the load {name} failed over {peer.name}: {error}") from None
        if mode == "idle":
            result.update(near_bytes=after[0] - before[0], far_bytes=after[1] - before[1])
        return result

    def round(self, n, where):
        loads = self.wanted(where)
        ways = self.ways(loads)
        if not loads or not ways:
            return
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(Place(self.build, self.folder, where == THERE))
            peers = [stack.enter_context(c(place, self.folder)) for c in ways]
            for name in loads:
                if LOADS[name][2] == "rest" and n:
                    continue
                if place.wire:
                    place.wire.set(loss=LOADS[name][1])
                for peer in peers if n % 2 == 0 else reversed(peers):
                    if peer.name not in LOADS[name][6]:
                        continue
                    result = self.once(place, peer, name)
                    self.raw.append({"round": n, "load": name, "way": peer.name, **result})
                    self.found.setdefault((name, peer.name), {})[n] = result
                    if result.get("errors"):
                        print(f"  {peer.name}, {name}: {result['errors']} errors", file=sys.stderr)
                print(f"round {n + 1}: {where}, {name}", file=sys.stderr)

    def run(self):
        for n in range(self.options.rounds):
            self.round(n, HERE)
            self.round(n, THERE)


def judge(bench, row, way):
    """(what to show, met or None)."""
    _, load, value, _, bar = row
    rounds = bench.found.get((load, way))
    if not rounds:
        return None, None
    values = [v for v in (value(r) for r in rounds.values()) if v is not None]
    if not values:
        return None, None
    median = statistics.median(values)
    failed = any(r.get("errors") for r in rounds.values())
    if way not in OURS or not bar:
        return median, None
    kind, limit, of = bar
    if of is None:
        measured = median
    else:
        theirs = bench.found.get((load, of), {})
        ratios = [value(r) / value(theirs[n]) for n, r in rounds.items() if n in theirs and value(theirs[n])]
        if not ratios:
            return median, None
        measured = statistics.median(ratios)
    return median, not failed and (measured <= limit if kind == "most" else measured >= limit)


def show(bench):
    missed = 0
    print(f"{'':40}" + "".join(f"{c:>12}" for c in COLUMNS) + "  unit    bar for ours")
    for row in ROWS:
        what, _, _, unit, bar = row
        cells = [judge(bench, row, way) for way in COLUMNS]
        if all(median is None for median, _ in cells):
            continue
        verdicts = [met for _, met in cells if met is not None]
        missed += verdicts.count(False)
        told = "–"
        if bar:
            told = f"{'≤' if bar[0] == 'most' else '≥'} {bar[1]:g}" + (f" of {bar[2]}" if bar[2] else f" {unit}")
            told += " met" if verdicts and all(verdicts) else " MISSED" if verdicts else ""
        print(f"{what:40}" + "".join(f"{'' if m is None else f'{m:.4g}':>12}" for m, _ in cells) + f"  {unit:7} {told}")
    return missed


def main():
    options = begin(__doc__, LOADS, COLUMNS)
    began, load_before = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="stile-bench-") as folder:
        os.chmod(folder, 0o755)
        bench = Benchmark(options, folder)
        bench.run()
    name = keep("tunnel", load_average=load_before, line=LINE, runs=bench.raw)
    missed = show(bench)
    print(f"every run: {name}; {len({r['round'] for r in bench.raw})} rounds in {time.monotonic() - began:.0f} s; "
          f"load average before: {load_before:.1f}")
    return 1 if missed and not options.no_bars else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unable, Failed) as e:
        print(f"the benchmark cannot run here: {e}", file=sys.stderr)
        sys.exit(2)
