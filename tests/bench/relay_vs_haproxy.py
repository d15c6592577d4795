#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The relay of stile-tunnel beside haproxy: the same loads in alternating runs, medians, one table, a bar for
each row.

Each run starts the relay anew, ours and haproxy's in turn (A B A B), so that a machine that gets slower or faster
does so for both; the ratio is the median of the ratios of neighbouring runs. haproxy runs as installed, with
tune.bufsize 262144 ("tuned"), and with splice-auto, whatever a row compares with. Relays have one thread
on one CPU; all sources and targets are tests/bench/relay_load.c on the other. Raw JSON of every run is kept.
Exit status: 0 every bar is met, 1 one is missed, 2 the benchmark cannot run here."""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import Unable, cpus, keep, make_certificate, on_cpu  # noqa: E402

HOST = "127.0.0.1"
PEERS = {"haproxy": "", "tuned": "  tune.bufsize 262144\n", "splice": ""}
GB = 1e9

# name: mode of the load, connections, seconds
LOADS = {
    "plain": ("up", 8, 2), "one": ("up", 1, 2), "connect": ("connect", 32, 2), "idle": ("idle", 3000, 0),
    "tls-up": ("tls-up", 8, 2), "tls-down": ("tls-down", 8, 2),
}


def per_gb(r):
    return r["relay_cpu_s"] / (r["bytes"] / GB)


def rate(r):
    return r["bytes"] * 8 / r["seconds"] / GB


def per_connection(r):
    return r["relay_cpu_s"] / r["done"] * 1e6


# what, load, value, unit, peer, bar, kind of bar: "most" and "least" bound the ratio ours/peer, "value" ours
ROWS = (
    ("CPU per GB, plain", "plain", per_gb, "s", "haproxy", 0.40, "most"),
    ("CPU per GB, plain, haproxy tuned", "plain", per_gb, "s", "tuned", 1.05, "most"),
    ("rate of one stream, haproxy splicing", "one", rate, "Gbit/s", "splice", 0.97, "least"),
    ("CPU per connection", "connect", per_connection, "µs", "haproxy", 1.05, "most"),
    ("connections per second", "connect", lambda r: r["done"] / r["seconds"], "/s", "haproxy", 1 / 1.05, "least"),
    ("CPU per GB, TLS from the source", "tls-up", per_gb, "s", "haproxy", 0.85, "most"),
    ("CPU per GB, TLS to the source", "tls-down", per_gb, "s", "haproxy", 0.85, "most"),
    ("memory per idle connection", "idle", lambda r: r["bytes_per_connection"], "B", "haproxy", 3584, "value"),
)


class Relay:
    def __init__(self, bench, name):
        self.bench, self.name, self.process = bench, name, None

    def stile(self):
        b, path = self.bench, os.path.join(self.bench.folder, "stile.yaml")
        tls = f", tls: {{ certificate: {b.folder}/server.pem, key: {b.folder}/server.key }}"
        routes = "".join(f'    - {{ name: {n}, listen: "{HOST}:{port}", target: "{HOST}:{b.target}", '
                         f'limits: {{ connections: 20000 }}{more} }}\n'
                         for n, port, more in (("plain", b.plain, ""), ("tls", b.tls, tls)))
        with open(path, "w", encoding="ascii") as f:
            f.write(f"store: {{ path: {b.folder}/store }}\ntunnel:\n  workers: 1\n  routes:\n{routes}")
        return [os.path.join(b.build, "tunnel/stile-tunnel"), "-c", path, "--runtime-dir", b.folder + "/run"]

    def haproxy(self):
        b, path = self.bench, os.path.join(self.bench.folder, "haproxy.cfg")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"global\n  nbthread 1\n  maxconn 4000\n{PEERS[self.name]}defaults\n  mode tcp\n  timeout client 60s\n"
                    f"  timeout server 60s\n  timeout connect 5s\n{'  option splice-auto' if self.name == 'splice' else ''}\n"
                    f"frontend plain\n  bind {HOST}:{b.plain}\n  default_backend t\n"
                    f"frontend tls\n  bind {HOST}:{b.tls} ssl crt {b.folder}/both.pem\n  default_backend t\n"
                    f"backend t\n  server t {HOST}:{b.target}\n")
        return ["haproxy", "-db", "-f", path]

    def __enter__(self):
        argv = self.stile() if self.name == "stile" else self.haproxy()
        try:
            self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                            preexec_fn=on_cpu(cpus()[1]))
        except OSError as e:
            raise Unable(f"cannot start {self.name}: {e.strerror}") from None
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Unable(f"{self.name} did not start: {self.process.stderr.read().strip()[-500:]}")
            with socket.socket() as s:
                if s.connect_ex((HOST, self.bench.tls)) == 0:
                    time.sleep(0.2)
                    return self
            time.sleep(0.05)
        raise Unable(f"{self.name} does not listen")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM if self.name == "stile" else signal.SIGKILL)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


class Benchmark:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.build = os.environ.get("STILE_BUILD", "build-release")
        self.target, self.plain, self.tls = options.port, options.port + 1, options.port + 2
        self.raw, self.pairs = [], {}

    def run_once(self, name, load):
        mode, connections, seconds = LOADS[load]
        with Relay(self, name) as relay:
            port = self.tls if mode.startswith("tls") else self.plain
            argv = [os.path.join(self.build, "relay_load"), str(self.target), str(port), mode, str(connections),
                    str(seconds * self.options.scale), str(relay.process.pid), HOST]
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                                  preexec_fn=on_cpu(cpus()[0]))
        if done.returncode:
            raise Unable(f"the load failed against {name}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        self.raw.append({"relay": name, "load": load, **result})
        if result.get("errors"):
            print(f"  {name}, {load}: {result['errors']} errors", file=sys.stderr)
        return result

    def run(self):
        wanted = sorted({(r[1], r[4]) for r in ROWS if not self.options.only or r[1] in self.options.only})
        for n in range(self.options.rounds):
            for load, peer in wanted:
                print(f"round {n + 1}: {load}, stile and {peer}", file=sys.stderr)
                pair = (self.run_once("stile", load), self.run_once(peer, load))
                self.pairs.setdefault((load, peer), []).append(pair)


def show(bench, bars):
    missed = 0
    print(f"{'':40} {'haproxy':>10} {'stile':>10} {'':8} {'ratio':>6}  bar")
    for what, load, value, unit, peer, bar, kind in ROWS:
        pairs = bench.pairs.get((load, peer))
        if not pairs:
            continue
        ours, theirs = (statistics.median(value(p[i]) for p in pairs) for i in (0, 1))
        ratio = statistics.median(value(a) / value(b) for a, b in pairs)
        good = {"most": ratio <= bar, "least": ratio >= bar, "value": ours <= bar}[kind]
        sign = {"most": "≤", "least": "≥", "value": "≤"}[kind]
        told = f"{sign} {bar:.2f}" if kind != "value" else f"{sign} {bar} {unit}"
        print(f"{what:40} {theirs:10.4g} {ours:10.4g} {unit:8} {ratio:6.3f}  {told} {'met' if good else 'MISSED'}")
        missed += not good
    return 1 if missed and bars else 0


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--quick", action="store_true", help="one round, half as long: a first impression")
    p.add_argument("--only", type=lambda s: s.split(","), help="loads: " + ", ".join(LOADS))
    p.add_argument("--no-bars", action="store_true", help="exit 0 whatever the figures are")
    p.add_argument("--port", type=int, default=24900, help="first of three ports")
    p.add_argument("--scale", type=float, default=1.0, help="longer or shorter runs")
    options = p.parse_args()
    if options.quick:
        options.rounds, options.scale = 1, 0.5
    return options


def prepare(folder):
    os.chmod(folder, 0o777)
    for part in ("store", "run"):
        os.mkdir(os.path.join(folder, part))
        os.chmod(os.path.join(folder, part), 0o777)
    make_certificate(folder)
    with open(os.path.join(folder, "both.pem"), "w", encoding="ascii") as both:
        for part in ("server.pem", "server.key"):
            with open(os.path.join(folder, part), encoding="ascii") as f:
                both.write(f.read())
    for part in ("server.pem", "server.key", "both.pem"):
        os.chmod(os.path.join(folder, part), 0o644)


def main():
    options = parse()
    if not shutil.which("haproxy"):
        raise Unable("haproxy is not installed (tools/install-packages bench)")
    if cpus()[0] is None:
        raise Unable("it needs two CPUs, one for the relay and one for the load")
    with tempfile.TemporaryDirectory(prefix="stile-bench-") as folder:
        prepare(folder)
        bench = Benchmark(options, folder)
        load_before = os.getloadavg()[0]
        bench.run()
    name = keep("relay", load_average=load_before, runs=bench.raw)
    status = show(bench, not options.no_bars)
    print(f"every run: {name}; load average before: {load_before:.1f}")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unable as e:
        print(f"the benchmark cannot run here: {e}", file=sys.stderr)
        sys.exit(2)
