#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile-sip beside Kamailio: calls with Record-Route over UDP, MESSAGEs over UDP and TCP, at growing rates, in
alternating runs; CPU for each call and message, memory for each live transaction, failures and reorderings.

Each run starts the proxy anew, ours and Kamailio's in turn (A B B A); a ratio is the median of the ratios of
neighbouring runs. Both relay statefully from sipp to sipp by the same routes. The proxy has one CPU, both sipps have
the other. CPU is that of all of the proxy's processes; memory their proportional share (Pss) while INVITEs ring. A call
fails, too, when a message of it comes out of turn (a 180 behind the 200): those are counted apart. Then the parser beside
sofia-sip, libosip2 and libre (sip-parse.sh). Raw JSON of every run is kept. Exit status: 0 every bar is met, 1 one is
missed, 2 the benchmark cannot run here."""
import argparse
import csv
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "sip")]
from servers import Unable, cpus, keep, on_cpu  # noqa: E402
from sipp_scenarios import answer, pause, recv, request, scenario, send, within  # noqa: E402

HOST = "127.0.0.1"
TICK = os.sysconf("SC_CLK_TCK")

BODY = "x" * 100
SCENARIOS = {  # caller, callee
    "call": (
        scenario(send(request("INVITE", body="v=0"), True), recv(100, optional=True), recv(180, optional=True), recv(200, rrs=True),
                 send(within("ACK", 1)), send(within("BYE", 2), True), recv(200)),
        scenario(recv("INVITE", rrs=True), send(answer(180)), send(answer(200), True), recv("ACK"), recv("BYE"),
                 send(answer(200, tag=False)))),
    "message": (
        scenario(send(request("MESSAGE", body=BODY), True), recv(200)),
        scenario(recv("MESSAGE"), send(answer(200)))),
    "ringing": (
        scenario(send(request("INVITE", body=BODY), True), recv(100, optional=True), recv(180), pause(60000)),
        scenario(recv("INVITE"), send(answer(180)), pause(60000))),
}

# name: scenario, transport, rate
LOADS = {}
for _rate in (1000, 2000, 3000):
    LOADS[f"call-{_rate}"] = ("call", "udp", _rate)
for _rate in (1000, 2000, 4000, 8000):
    LOADS[f"message-{_rate}"] = ("message", "udp", _rate)
    LOADS[f"message-tcp-{_rate}"] = ("message", "tcp", _rate)
LOADS["ringing"] = ("ringing", "udp", 1000)
PARSER = "parser"
QUICK = {"rounds": 2, "seconds": 2, "ringing": 3000, "only": ["call-1000", "call-3000", "message-4000", "message-tcp-4000", "ringing", PARSER]}
PATIENCE_S = 20  # for what a proxy that is overloaded has not finished

KAMAILIO = """
debug=0
log_stderror=no
fork=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
{more}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
request_route {{
	if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
	if (has_totag()) {{
		if (loose_route()) {{ t_relay(); exit; }}
		if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
		sl_send_reply("404", "Not here");
		exit;
	}}
	if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
	t_check_trans();
	if (is_method("INVITE|SUBSCRIBE")) record_route();
	$du = "{next}";
	t_relay();
}}
"""

STILE = """sip:
  domains: [caller.test]
  listen: ["udp:{host}:{outside}"]
  lan: {{ listen: ["udp:{host}:{port}", "tcp:{host}:{port}"] }}
  sources: {{ unlimited: [127.0.0.0/8] }}
  limits: {{ rate: 0, transactions: 1000000, transactions_per_source: 1000000 }}
  routes: [ {{ domain: callee.test, host: {host}, port: {callee}, transport: {transport} }} ]
store: {{ path: {folder}/store.db }}
"""


class Proxy:
    """One of the two, on a CPU of its own."""

    def __init__(self, bench, name, transport):
        self.bench, self.name, self.process, self.port = bench, name, None, bench.port
        self.folder = tempfile.mkdtemp(prefix="run-", dir=bench.folder)
        os.chmod(self.folder, 0o777)
        words = {"host": HOST, "port": bench.port, "outside": bench.port + 1, "callee": bench.port + 2, "transport": transport,
                 "folder": self.folder, "next": f"sip:{HOST}:{bench.port + 2};transport={transport}", "more": "disable_tcp=no"}
        self.config = os.path.join(self.folder, "config")
        with open(self.config, "w", encoding="ascii") as f:
            f.write((STILE if name == "stile" else KAMAILIO).format(**words))

    def argv(self):
        if self.name == "stile":
            return [os.path.join(self.bench.build, "sip-proxy/stile-sip"), "-c", self.config, "--runtime-dir", self.folder]
        return ["kamailio", "-f", self.config, "-DD", "-m", "1024", "-M", "16", "-Y", self.folder]

    def __enter__(self):
        with open(os.path.join(self.folder, "output"), "wb") as out:
            self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=on_cpu(cpus()[1]))
        until = time.monotonic() + 15
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex((HOST, self.port)) == 0:
                    time.sleep(0.5)
                    return self
            time.sleep(0.1)
        with open(os.path.join(self.folder, "output"), encoding="utf-8", errors="replace") as f:
            raise Unable(f"{self.name} did not start:\n{f.read()[-1500:]}")

    def __exit__(self, *_):
        for sig in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(sig)
                try:
                    self.process.wait(3)
                except subprocess.TimeoutExpired:
                    pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                        parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += [p for p, parent in parents.items() if parent == pid]
        return found

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def pss(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return total * 1024


class Sipp:
    def __init__(self, bench, folder, end, xml, transport, arguments):
        path = os.path.join(folder, end + ".xml")
        with open(path, "w", encoding="ascii") as f:
            f.write(xml)
        self.stat = os.path.join(folder, end + ".csv")
        port = bench.port + (2 if end == "callee" else 3)
        with open(os.path.join(folder, end + ".out"), "wb") as out:
            self.process = subprocess.Popen(
                ["sipp", "-sf", path, "-i", HOST, "-p", str(port), "-t", {"udp": "u1", "tcp": "t1"}[transport], "-nostdin", "-buff_size", "4194304",
                 "-trace_stat", "-stf", self.stat, "-fd", "1", *arguments], stdout=out, stderr=out, cwd=folder, preexec_fn=on_cpu(cpus()[0]))

    def counts(self):
        """(good, ended by a message out of turn) by the last line of its statistics."""
        with open(self.stat, encoding="ascii") as f:
            rows = list(csv.DictReader(f, delimiter=";"))
        return (int(rows[-1]["SuccessfulCall(C)"]), int(rows[-1]["FailedUnexpectedMessage(C)"])) if rows else (0, 0)

    def wait(self, seconds):
        """Its counts when it is through, or then."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        return self.counts()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def caller_of(bench, folder, xml, transport, n, rate):
    return Sipp(bench, folder, "caller", xml, transport,
                ["-m", str(n), "-r", str(rate), "-l", "100000", "-s", "bob", f"{HOST}:{bench.port}"])


class Benchmark:
    """Runs in turn; run_once() says what a run is, and puts it down."""

    loads = LOADS

    def __init__(self, options, folder):
        self.options, self.folder, self.port = options, folder, options.port
        self.build = os.environ.get("STILE_BUILD", "build-release")
        self.raw, self.pairs = [], {}

    def run_once(self, name, load):
        kind, transport, rate = LOADS[load]
        n = int(self.options.ringing if kind == "ringing" else rate * self.options.seconds)
        caller, callee = SCENARIOS[kind]
        with Proxy(self, name, transport) as proxy:
            ends = [Sipp(self, proxy.folder, "callee", callee, transport, [])]
            try:
                time.sleep(0.5)
                cpu, memory, begun = proxy.cpu_s(), proxy.pss(), time.monotonic()
                ends.append(caller_of(self, proxy.folder, caller, transport, n, rate))
                if kind == "ringing":
                    time.sleep(n / rate + 4)
                    good, disorder = n, 0
                else:
                    good, disorder = ends[1].wait(n / rate + PATIENCE_S)
                result = {"proxy": name, "load": load, "n": n, "good": good, "failed": n - good, "disorder": disorder,
                          "cpu_us": (proxy.cpu_s() - cpu) / max(good, 1) * 1e6, "bytes": (proxy.pss() - memory) / n,
                          "seconds": time.monotonic() - begun}
            finally:
                for e in ends:
                    e.end()
        return self.put_down(result)

    def put_down(self, result):
        self.raw.append(result)
        print(f"  {result['proxy']:9} {result['load']:18} {result['cpu_us']:8.1f} µs, {result['failed']} failed of {result['n']}",
              file=sys.stderr)
        return result

    def wants(self, load):
        return not self.options.only or any(load.startswith(o) for o in self.options.only)

    def run_parser(self):
        """sip-parse.sh: (what it printed, bars missed)."""
        done = subprocess.run([os.path.join(HERE, "sip-parse.sh"), "50" if self.options.quick else "200"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, env=dict(os.environ, STILE_BUILD=self.build))
        if done.returncode not in (0, 1):
            raise Unable("sip-parse.sh cannot run here (tools/install-packages bench)")
        return done.stdout, done.returncode

    def run(self):
        wanted = [x for x in self.loads if self.wants(x)]
        for i in range(self.options.rounds):
            for load in wanted:
                order = ("stile", "kamailio") if i % 2 == 0 else ("kamailio", "stile")
                results = {name: self.run_once(name, load) for name in order}
                self.pairs.setdefault(load, []).append((results["stile"], results["kamailio"]))


def show(bench):
    missed = 0
    print(f"{'':32} {'kamailio':>10} {'stile':>10}      {'ratio':>6}  bar")
    for load, pairs in bench.pairs.items():
        kind = LOADS[load][0]
        what, bar, unit = ("bytes", 0.30, "B") if kind == "ringing" else ("cpu_us", 0.45 if kind == "call" else 0.40, "µs")
        ours, theirs = (statistics.median(p[i][what] for p in pairs) for i in (0, 1))
        ratio = statistics.median(a[what] / max(b[what], 1e-9) for a, b in pairs)
        lost = sum(p[0]["failed"] for p in pairs)
        disorder = [sum(p[i]["disorder"] for p in pairs) for i in (0, 1)]
        good = ratio <= bar and lost == 0
        title = ("memory per ringing INVITE" if kind == "ringing" else f"CPU per {kind}, {LOADS[load][1]}, {LOADS[load][2]}/s")
        print(f"{title:32} {theirs:10.1f} {ours:10.1f} {unit:4} {ratio:6.3f}  ≤ {bar:.2f} {'met' if good else 'MISSED'}"
              f"; failed: {lost} (kamailio {sum(p[1]['failed'] for p in pairs)}), out of turn: {disorder[0]} ({disorder[1]})")
        missed += not good
    return missed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=4, help="A B B A …")
    p.add_argument("--seconds", type=float, default=8, help="of each run")
    p.add_argument("--ringing", type=int, default=8000, help="INVITEs that ring at once")
    p.add_argument("--quick", action="store_true", help="two rounds of 2 s at few rates, about 2 minutes: whether it works, not how well")
    p.add_argument("--only", type=lambda s: s.split(","), help="beginnings of loads: " + ", ".join([*LOADS, PARSER]))
    p.add_argument("--no-bars", action="store_true", help="exit 0 whatever the figures are")
    p.add_argument("--port", type=int, default=27100, help="first of four ports")
    options = p.parse_args()
    if options.quick:
        vars(options).update({k: v for k, v in QUICK.items() if k != "only" or not options.only})
    for program in ("kamailio", "sipp"):
        if not shutil.which(program):
            raise Unable(f"{program} is not installed (tools/install-packages bench check)")
    if cpus()[0] is None:
        raise Unable("it needs two CPUs, one for the proxy and one for sipp")
    with tempfile.TemporaryDirectory(prefix="stile-bench-") as folder:
        os.chmod(folder, 0o777)
        bench = Benchmark(options, folder)
        load_before, begun = os.getloadavg()[0], time.monotonic()
        bench.run()
        parser, parser_missed = bench.run_parser() if bench.wants(PARSER) else ("", 0)
    name = keep("sip", load_average=load_before, runs=bench.raw, parser=parser.splitlines())
    missed = show(bench) + parser_missed
    print(parser, end="")
    print(f"every run: {name}; load average before: {load_before:.1f}; {time.monotonic() - begun:.0f} s")
    return 1 if missed and not options.no_bars else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unable as e:
        print(f"cannot run: {e}", file=sys.stderr)
        sys.exit(2)
