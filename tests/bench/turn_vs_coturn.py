#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile-turn beside coturn: the same loads in alternating runs, medians, one table, a bar for each row.

Each round starts both servers anew and gives them every load in turn, A B B A, so that a machine that gets
slower or faster does so for both. The figures are medians; the ratio is the median of the ratios of
neighbouring runs. A run that lost, reordered or damaged packets, or whose generator could not keep the
rate, is not a measurement: it is repeated once, and a row without any is missed. Raw JSON of every run is
kept. Exit status: 0 every bar is met, 1 one is missed, 2 the benchmark cannot run here."""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from servers import PASSWORD, PORT, TLS_PORT, USER, Coturn, Stile, Unable, answers_in_bytes, cpus, make_certificate, on_cpu  # noqa: E402
from veth import Failed, Loopback, Veth, counted, syscalls  # noqa: E402

ALLOWED_LOSS, KEPT_RATE = 0.001, 0.98
RATE, VIDEO_RATE, AGGREGATED_RATE = 50000, 100000, 150000  # packets a second; coturn can do 200,000 in bursts
HALF_LOAD, HALF_LOAD_MAX = 0.5, 100000  # a part of what coturn can do, as scattered packets without volleys say, and not more
NEARLY_FULL = 0.8
BUSY = 0.05  # of the machine, by others: more, and the figures are no verdict
SCATTERED = ("-n", "64", "-s", "160")
VIDEO = ("-n", "64", "-s", "1200")
# The load that the bars were measured with; docs/benchmarks.md says how that is known. Without, each burst leaves at its own time.
VOLLEYS = ("--volley", "1ms")

AGGREGATED = ("burst32",)  # loads whose runs cross the links whole
TWICE = ("scattered", "busy", "burst8", "rush", "half")  # loads whose verdict needs more runs: A B B A A B B A
COUNTED = ("scattered", "busy", "burst8", "burst32", "own", "own8")  # one run more in each round, with perf counting system calls

# name, arguments of `stile bench turn`, packets a second
LOADS = {
    "scattered": ((*SCATTERED, *VOLLEYS), RATE),
    # Early: memory is that of a process that has touched its buffers and has held little.
    "allocate": (("-m", "allocate", "-n", "2000", "--no-sha256"), None),
    "burst8": ((*VIDEO, "-b", "8", *VOLLEYS), VIDEO_RATE),
    "burst32": ((*VIDEO, "-b", "32", *VOLLEYS), AGGREGATED_RATE),
    "single8": ((*VIDEO, "-b", "8", "--no-gso", *VOLLEYS), VIDEO_RATE),
    "busy": ((*SCATTERED, *VOLLEYS), NEARLY_FULL),
    "own": (SCATTERED, RATE),
    "own8": ((*VIDEO, "-b", "8"), RATE),
    "rush": (("-m", "allocate", "-n", "8000", "--no-sha256", "--in-flight", "512"), None),
    "binding": (("-m", "binding", "-n", "64"), RATE),
    "half": (SCATTERED, HALF_LOAD),
    "tcp": (("-t", "tcp", *SCATTERED), RATE // 2),
    "tls": (("-t", "tls", *SCATTERED), RATE // 2),
    "dtls": (("-t", "dtls", *SCATTERED), RATE // 2),
    # stile-turn alone
    "few": (("-n", "16", "-s", "160"), RATE),
    "many": (("-n", "9000", "-s", "160"), RATE),
    "one": (("-n", "32", "-s", "160"), RATE // 2),
    "other": (("-n", "32", "-s", "160"), RATE // 2),
    "two": (("-n", "64", "-s", "160"), RATE),
    # not of the generator: Benchmark.sizes, Benchmark.in_the_kernel
    "bytes": None,
    "kernel": None,
}
OTHERWISE = ("bytes", "kernel")
ALONE = ("few", "many")
# Loads for a server of its own: how many workers, and on which CPU the first is (0: the generator's, 1: the servers').
WORKERS = {"one": (1, 1), "other": (1, 0), "two": (2, 1)}

CPU, HOST, CALLS = "server_cpu_us_per_packet", "server_host_us_per_packet", "server_syscalls_per_packet"
GENERATOR = "generator_cpu_us_per_packet"
CORE, HOST_CORE = "allocations_per_core_second", "allocations_per_host_core_second"
MEASURED_REQUESTS = 2 / 3  # of an allocation: its release comes behind the measured part
# what, load, key in its JSON, unit, bar, kind of bar: "most" and "least" bound the ratio ours/coturn, "value" ours
ROWS = (
    ("CPU per packet, 160 B scattered", "scattered", CPU, "µs", 0.70, "most"),
    ("  host, with softirq", "scattered", HOST, "µs", 0.75, "most"),
    ("  system calls per packet", "scattered", CALLS, "", 1.2, "value"),
    ("  CPU near what coturn can do", "busy", CPU, "µs", 0.70, "most"),
    ("  host, near what coturn can do", "busy", HOST, "µs", 0.75, "most"),
    ("  system calls, near what coturn can do", "busy", CALLS, "", 1.2, "value"),
    ("CPU per packet, 1200 B in bursts of 8", "burst8", CPU, "µs", 0.30, "most"),
    ("  host, with softirq", "burst8", HOST, "µs", 0.40, "most"),
    ("  system calls per packet", "burst8", CALLS, "", 0.2, "value"),
    ("CPU per packet, bursts of 32, aggregated", "burst32", CPU, "µs", 1 / 7, "most"),
    ("  host, with softirq", "burst32", HOST, "µs", None, "most"),
    ("  system calls per packet", "burst32", CALLS, "", 0.2, "value"),
    ("CPU per packet, 8 in a row one by one", "single8", CPU, "µs", None, "most"),
    ("CPU per packet, 160 B, each at its own time", "own", CPU, "µs", None, "most"),
    ("  host, with softirq", "own", HOST, "µs", None, "most"),
    ("  system calls per packet", "own", CALLS, "", None, "value"),
    ("CPU per packet, bursts of 8, at their own time", "own8", CPU, "µs", None, "most"),
    ("  host, with softirq", "own8", HOST, "µs", None, "most"),
    ("  system calls per packet", "own8", CALLS, "", None, "value"),
    ("host CPU per packet, 160 B, in the kernel (TC)", "kernel", HOST, "µs", 1 / 3.5, "most"),
    ("CPU per allocation, 401 included", "allocate", "server_cpu_us_per_allocation", "µs", 1 / 3, "most"),
    ("allocations per second that a core can make", "rush", CORE, "/s", 3, "least"),
    ("  if it receives for the server, too", "rush", HOST_CORE, "/s", None, "least"),
    ("  as many as this generator made", "rush", "allocations_per_second", "/s", None, "least"),
    ("memory per allocation", "allocate", "server_bytes_per_allocation", "B", 1536, "value"),
    ("  still held after the release", "allocate", "server_bytes_per_allocation_released", "B", 384, "value"),
    ("CPU per Binding", "binding", CPU, "µs", 0.75, "most"),
    ("Binding's answer to its request, bytes", "bytes", "binding", "", 1.6, "value"),
    ("  401 to its request", "bytes", "challenge", "", None, "value"),
    ("latency p50 at half load", "half", "latency_us.p50", "µs", 1, "most"),
    ("latency p99 at half load", "half", "latency_us.p99", "µs", 1, "most"),
    ("CPU per packet over TCP, 160 B", "tcp", CPU, "µs", 1, "most"),
    ("CPU per packet over TLS, 160 B", "tls", CPU, "µs", 1, "most"),
    ("CPU per packet over DTLS, 160 B", "dtls", CPU, "µs", 1, "most"),
)
# Ours alone: what, the load, the loads whose mean it is compared with, the most that the first may cost of it.
GROWTH = (("CPU per packet, 9,000 allocations to 16", "many", ("few",), CPU, "µs", 1.3),
          ("CPU per packet, two workers to one", "two", ("one", "other"), CPU, "µs", 1.05))


def value_of(result, key):
    for part in key.split("."):
        result = result.get(part) if isinstance(result, dict) else None
    return result


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def others_share(result):
    """The part of the machine that neither server nor generator used during a run."""
    if not result.get("host_cpu_us_per_packet"):
        return None
    used = result.get(HOST, result[CPU]) + result[GENERATOR]
    spare = (result["host_cpu_us_per_packet"] - used) * 1e-6 * result["received"]
    return max(0.0, spare / (result["seconds"] * os.cpu_count()))


class Benchmark:
    def __init__(self, options, folder, net):
        self.options, self.folder, self.net = options, folder, net
        self.build = os.environ.get("STILE_BUILD", "build-release")
        self.stile = os.path.join(self.build, "cli/stile")
        self.servers = [Stile(folder, net, self.build, options.coalesce), Coturn(folder, net)]
        self.many_workers = {load: Stile(folder, net, self.build, options.coalesce, *how) for load, how in WORKERS.items()}
        self.versions = {s.name: s.version() for s in self.servers}
        self.runs = {s.name: {load: [] for load in options.loads} for s in self.servers}
        self.spoiled = []

    # ---- one run ----

    def part_of_capacity(self, load, part):
        """That part of what coturn, or the generator beside it, can do with one CPU; within reason."""
        runs = self.runs["turnserver"].get("scattered" if "--volley" in LOADS[load][0] else "own") or []
        keys = (HOST, CPU, GENERATOR)
        cost = max((median(r.get(k) for r in runs) or 0 for k in keys), default=0)
        return min(int(part * 1e6 / cost), HALF_LOAD_MAX) if cost else RATE

    def argv(self, server, load):
        arguments, rate = LOADS[load]
        port = TLS_PORT if load in ("tls", "dtls") else PORT
        argv = [self.stile, "bench", "turn", server.host, "--json", "--port", str(port), "--pid", str(server.process.pid),
                "--user", USER, "--password", PASSWORD, "--peer", self.net.peer, "--time", f"{self.options.time}ms", *arguments]
        if rate is not None:
            argv += ["--rate", str(self.part_of_capacity(load, rate) if rate < 1 else rate)]
        return [*self.net.generator_side(), *argv]

    def warmed_up(self):
        """The part of a run's packets that is measured: behind a warm-up of a quarter, at most half a second."""
        return self.options.time / (self.options.time + min(self.options.time / 4, 500))

    def all_packets(self, result):
        """Those of the warm-up included."""
        return result["received"] / self.warmed_up()

    @staticmethod
    def flaw(result):
        """Why this result measures nothing, or None."""
        if "sent" not in result:
            return None
        if result["corrupt"]:
            return f'{result["corrupt"]} packets damaged'
        if result["reordered"]:
            return f'{result["reordered"]} packets out of order'
        if result["loss"] is None or result["loss"] > ALLOWED_LOSS:
            return f'{100 * (result["loss"] or 1):.2f} % of the packets lost'
        if result["sent"] < KEPT_RATE * result["rate_asked"] * result["seconds"]:
            return f'the generator sent {result["sent"] / result["seconds"]:.0f}/s instead of {result["rate_asked"]}/s'
        return None

    def run_once(self, server, load, calls=False):
        data, argv = os.path.join(self.folder, "perf.data"), self.argv(server, load)
        if calls:
            argv = counted(argv, data, server.process.pid)
        receiving = self.net.receiving_s()
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=60 + self.options.time / 1000, check=False, preexec_fn=on_cpu(cpus()[0]))
        except subprocess.TimeoutExpired:
            return None, "the generator hung"
        except OSError as e:
            raise Unable(f"cannot start {argv[0]}: {e.strerror}") from None
        if done.returncode:
            return None, done.stderr.strip()
        result = json.loads(done.stdout)
        flaw = self.flaw(result)
        if not flaw and calls:
            result[CALLS] = syscalls(data) / self.all_packets(result)
        if not flaw and not calls:
            self.add_receiving(result, *(after - before for after, before in zip(self.net.receiving_s(), receiving)))
        return result, flaw

    def add_receiving(self, result, seconds, for_generator):
        """What receiving took for the server, and for the generator, all of the run."""
        if "received" in result and seconds:
            result[HOST] = result[CPU] + seconds / self.all_packets(result) * 1e6
            result[GENERATOR] += for_generator / self.all_packets(result) * 1e6
        elif "received" not in result:
            share = seconds * MEASURED_REQUESTS / result["allocations"] * 1e6
            cost = result["server_cpu_us_per_allocation"]
            result[CORE], result[HOST_CORE] = 1e6 / cost, 1e6 / (cost + share)

    def spoil(self, name, load, attempt, flaw, result):
        self.spoiled.append({"server": name, "load": load, "attempt": attempt, "why": flaw, "result": result})
        print(f"  {name}, {load}: {flaw}", file=sys.stderr)

    def run(self, server, load, pair, calls=False):
        for attempt in (1, 2):
            result, flaw = self.run_once(server, load, calls)
            if not flaw:
                result["pair"] = pair
                if calls:  # perf's counting costs time: only the count is used
                    result = {"pair": pair, CALLS: result[CALLS]}
                self.runs[server.name][load].append(result)
                return
            self.spoil(server.name, load, attempt, flaw, result)

    def round(self, number):
        order = self.servers if number % 2 else self.servers[::-1]
        try:
            for server in order:
                server.start()
            for server in order if "bytes" in self.options.loads else ():
                self.sizes(server, number)
            for load in (x for x in self.options.loads if x not in ALONE and x not in WORKERS and x not in OTHERWISE):
                self.net.aggregate(load in AGGREGATED)
                # A process that has held many grows less: allocations are measured once in its life.
                pairs = [order] if load == "allocate" else [order, order[::-1]] * (2 if load in TWICE else 1)
                for i, two in enumerate(pairs):
                    for server in two:
                        self.run(server, load, f"{number}.{i}")
                for server in order if load in COUNTED and shutil.which("perf") else ():
                    self.run(server, load, f"{number}.calls", calls=True)
            for i in range(2):
                for load in (x for x in self.options.loads if x in ALONE):
                    self.run(self.servers[0], load, f"{number}.{i}")
        finally:
            for server in self.servers:
                server.stop()
        for i, loads in enumerate((("one", "two", "other"), ("other", "two", "one")) * 2):
            for load in (x for x in loads if x in self.options.loads):
                self.round_alone(load, f"{number}.{i}")

    def sizes(self, server, number):
        try:
            with self.net.at_generator():
                binding, challenge = answers_in_bytes(server.host)
        except OSError as e:
            self.spoil(server.name, "bytes", 1, e.strerror or "no answer", None)
        else:
            self.runs[server.name]["bytes"].append({"pair": str(number), "binding": binding, "challenge": challenge})

    def in_the_kernel(self):
        """The fast path has links and a way of measuring of its own: softirq is most of what it costs."""
        name = os.path.join(self.folder, "kernel.json")
        argv = [sys.executable, os.path.join(HERE, "fastpath.py"), "--only", "coturn,tc", "--rounds", str(self.options.rounds), "--seconds", "3",
                "--json", name, "--no-bars"]
        try:
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "STILE_BUILD": self.build}, timeout=60 * self.options.rounds)
        except subprocess.SubprocessError as e:
            self.spoil("stile", "kernel", 1, str(e), None)
            return
        with open(name, encoding="utf-8") as f:
            found = json.load(f)
        for run in found:
            server, flaw = {"coturn": "turnserver", "tc": "stile"}[run["which"]], self.flaw(run["generator"])
            if flaw:
                self.spoil(server, "kernel", 1, flaw, run)
            else:
                self.runs[server]["kernel"].append({"pair": str(run["round"]), HOST: run["us"]})

    def round_alone(self, load, pair):
        server = self.many_workers[load]
        try:
            server.start()
            self.run(server, load, pair)
        finally:
            server.stop()

    # ---- what came out ----

    def row(self, row):
        what, load, key, unit, bar, kind = row
        mine, other = ({r["pair"]: value_of(r, key) for r in self.runs[name][load]} for name in ("stile", "turnserver"))
        ours, theirs = median(mine.values()), median(other.values())
        ratio = median(mine[p] / other[p] for p in mine if mine[p] is not None and other.get(p))
        judged = ours if kind == "value" else ratio
        met = None if bar is None else judged is not None and (judged >= bar if kind == "least" else judged <= bar)
        return {"what": what, "coturn": theirs, "ours": ours, "unit": unit, "ratio": ratio, "bar": bar, "kind": kind, "met": met}

    def others(self):
        return median(others_share(r) for loads in self.runs.values() for runs in loads.values() for r in runs)

    def growth(self, row):
        """Ours, and ours under the loads that it is compared with where the other rows have coturn."""
        what, load, bases, key, unit, bar = row
        ours, *others = (median(value_of(r, key) for r in self.runs["stile"][x]) for x in (load, *bases))
        theirs = statistics.mean(others) if all(others) else None
        ratio = ours / theirs if ours and theirs else None
        return {"what": what, "coturn": theirs, "ours": ours, "unit": unit, "ratio": ratio, "bar": bar, "kind": "most",
                "met": ratio is not None and ratio <= bar}

    def table(self):
        rows = [self.row(r) for r in ROWS if r[1] in self.options.loads and (r[2] != HOST or self.net.name == "veth")]
        return rows + [self.growth(r) for r in GROWTH if {r[1], *r[2]} <= set(self.options.loads)]


def number(v, unit=""):
    if v is None:
        return "-"
    text = f"{v:.0f}" if abs(v) >= 100 else f"{v:.1f}" if abs(v) >= 10 else f"{v:.2f}"
    return f"{text} {unit}" if unit else text


def bar_text(row):
    if row["bar"] is None:
        return "-"
    if row["kind"] == "value":
        return f'≤ {row["bar"]} {row["unit"]}'
    return ("≥ " if row["kind"] == "least" else "≤ ") + number(row["bar"])


def print_table(rows):
    print(f'{"":50}{"coturn":>12}{"ours":>12}{"ratio":>8}  {"bar":<10} met')
    for r in rows:
        verdict = "-" if r["met"] is None else "yes" if r["met"] else "NO"
        if r["ratio"] is None:
            verdict += " (not measured)"
        print(f'{r["what"]:50}{number(r["coturn"], r["unit"]):>12}{number(r["ours"], r["unit"]):>12}'
              f'{number(r["ratio"]):>8}  {bar_text(r):<10} {verdict}')


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0],
            "generator_cpu": cpus()[0], "server_cpu": cpus()[1]}


def check_build(build, exploring):
    """A figure of an unoptimised or instrumented build is none."""
    path = os.path.join(build, "meson-info/intro-buildoptions.json")
    try:
        with open(path, encoding="utf-8") as f:
            options = {o["name"]: o["value"] for o in json.load(f)}
    except (OSError, ValueError) as e:
        raise Unable(f"{build} is no meson build folder ({e}); run tests/bench/turn-vs-coturn.sh") from None
    slow = options.get("optimization") in ("0", "g", "1") or options.get("b_sanitize", "none") != "none"
    if slow and not exploring:
        raise Unable(f"{build} is built without optimisation or with sanitizers: use STILE_BUILD, or --no-bars to explore")


def parse_options():
    p = argparse.ArgumentParser(prog="tests/bench/turn-vs-coturn.sh", description=__doc__.split("\n\n", maxsplit=1)[0],
                                epilog="Loads: " + " ".join(LOADS) + ". STILE_BUILD names the build folder.")
    p.add_argument("--rounds", type=int, metavar="N", help="rounds, each with every load twice on both (default 3)")
    p.add_argument("--quick", action="store_true", help="one round of short runs: a first impression")
    p.add_argument("--no-bars", action="store_true", help="exit with 0 whatever the figures are")
    p.add_argument("--only", metavar="LOADS", help="these loads only, separated by commas")
    p.add_argument("--coalesce", type=int, default=0, metavar="US", help="turn.coalesce of stile-turn (default 0: off)")
    p.add_argument("--loopback", action="store_true", help="on loopback although veth pairs could be made (root)")
    p.add_argument("--net", metavar="A.B.C", default=f"127.77.{os.getpid() % 254 + 1}",
                   help="on loopback: addresses A.B.C.1 to .3 are used (default 127.77.x, x by the process)")
    p.add_argument("--json", metavar="FILE", default=os.path.join(os.path.dirname(__file__), "results/turn-vs-coturn.json"),
                   help="where the raw results go (default tests/bench/results/turn-vs-coturn.json)")
    options = p.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.time = 500 if options.quick else 800
    options.loads = options.only.split(",") if options.only else list(LOADS)
    unknown = [name for name in options.loads if name not in LOADS]
    if unknown or options.rounds < 1:
        p.error(f"no such load: {unknown[0]} (there are: {' '.join(LOADS)})" if unknown else "--rounds must be at least 1")
    return options


def choose_net(options):
    """Namespaces where they can be made; else loopback, where the sender pays for the delivery."""
    able = os.getuid() == 0 and cpus()[1] is not None and shutil.which("ip")
    return Veth(*cpus()) if able and not options.loopback else Loopback(options.net)


def main():
    options = parse_options()
    folder = tempfile.mkdtemp(prefix="stile-bench-")
    os.chmod(folder, 0o755)  # stile-turn gives up root and must still pass through
    began = time.monotonic()
    try:
        check_build(os.environ.get("STILE_BUILD", "build-release"), options.no_bars)
        make_certificate(folder)
        with choose_net(options) as net:
            bench, here = Benchmark(options, folder, net), {**machine(), "net": net.name}
            print(f'{bench.versions["stile"]} and {bench.versions["turnserver"]}; {here["cpus"]} × {here["cpu"]}, '
                  f'Linux {here["kernel"]}, load {here["load"]:.1f}; on {net.name}, {options.rounds} rounds of {options.time / 1000:g} s a run')
            for n in range(1, options.rounds + 1):
                print(f"round {n} of {options.rounds}", file=sys.stderr)
                bench.round(n)
            if "kernel" in options.loads and net.name == "veth":
                print("in the kernel", file=sys.stderr)
                bench.in_the_kernel()
    except (Unable, Failed) as e:
        print(f"turn-vs-coturn: {e}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows, others = bench.table(), bench.others()
    print_table(rows)
    if others is not None and others > BUSY:
        print(f"Other work took {100 * others:.0f} % of the machine during the runs: this is an impression, no verdict.")
    os.makedirs(os.path.dirname(options.json) or ".", exist_ok=True)
    with open(options.json, "w", encoding="utf-8") as f:
        json.dump({"machine": here, "versions": bench.versions, "rounds": options.rounds, "coalesce_us": options.coalesce, "run_ms": options.time,
                   "seconds": time.monotonic() - began, "others_share": others, "rows": rows, "runs": bench.runs, "spoiled": bench.spoiled}, f, indent=1)
    missed = [r["what"].strip() for r in rows if r["met"] is False]
    if missed:
        print(f"{len(missed)} of {sum(r['met'] is not None for r in rows)} bars missed: " + "; ".join(missed))
    return 1 if missed and not options.no_bars else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
