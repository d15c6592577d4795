#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two proxies with mutual TLS between them: stile-sip to stile-sip beside Kamailio to Kamailio, calls with Record-Route and
MESSAGEs from sipp to sipp, in alternating runs (A B B A); a ratio is the median of the ratios of neighbouring runs.

    sipp -- UDP --> near (caller.test) == mutual TLS ==> far (callee.test) -- UDP --> sipp

Both pairs do the same: relay statefully, demand and verify certificates on both sides. Ours holds the names against the
domains as well, which Kamailio does not. The four proxies share one CPU, both sipps have the other. CPU is that of
both proxies' processes for each call or message that ended well. Raw JSON of every run is kept. Exit status: 0 every bar
is met, 1 one is missed, 2 the benchmark cannot run here."""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import Unable, cpus, keep  # noqa: E402
from sip_vs_kamailio import HOST, KAMAILIO, PATIENCE_S, SCENARIOS, Benchmark, Proxy, Sipp, caller_of  # noqa: E402

# Ports, from the first on: 0 near, 2 callee's sipp, 3 caller's, 4 near's TLS, 5 far's TLS, 6 far.
LOADS = {f"{kind}-{rate}": (kind, rate) for kind, rates in (("call", (500, 1000)), ("message", (1000, 4000))) for rate in rates}
BARS = {"call": 0.45, "message": 0.40}

STILE = """sip:
  domains: [{domain}.test]
  certificate: {folder}/{domain}.pem
  key: {folder}/{domain}.key
  ca: {folder}/ca.pem
  listen: ["mtls:{host}:{tls}"]
  lan: {{ listen: ["udp:{host}:{port}", "tcp:{host}:{port}"] }}
  sources: {{ unlimited: [127.0.0.0/8] }}
  limits: {{ rate: 0, transactions: 1000000, transactions_per_source: 1000000, queue: 16MiB }}
  timers: {{ probe: 0s }}
  routes: [ {{ domain: {other}.test, host: {host}, port: {other_tls}, transport: mtls }} ]
store: {{ path: {folder}/store-{domain} }}
"""

KAMAILIO_MORE = """enable_tls=yes
listen=tls:{host}:{tls}
loadmodule "tls.so"
modparam("tls", "config", "{folder}/{domain}.tls")"""
KAMAILIO_TLS = "".join(f"[{side}:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n"
                       "certificate = {folder}/{domain}.pem\nprivate_key = {folder}/{domain}.key\nca_list = {folder}/ca.pem\n"
                       for side in ("server", "client"))


def certificates(folder):
    def openssl(*argv):
        done = subprocess.run(["openssl", *argv], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Unable("openssl made no certificate: " + done.stdout.strip())
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=Bench CA", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "ca.key",
            "-out", "ca.pem")
    for name in ("caller", "callee"):
        with open(os.path.join(folder, name + ".ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{name}.test,IP:{HOST}\n")
        openssl("req", *key, "-subj", f"/CN={name}.test", "-keyout", name + ".key", "-out", name + ".csr")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile",
                name + ".ext", "-out", name + ".pem")
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)


class Side(Proxy):
    """near or far; of either kind."""

    def __init__(self, bench, name, domain):
        super().__init__(bench, name, "udp")
        near, first = domain == "caller", bench.port
        self.port = first if near else first + 6
        for f in os.listdir(bench.certificates):
            shutil.copy(os.path.join(bench.certificates, f), self.folder)
        tls = (first + 4, first + 5) if near else (first + 5, first + 4)
        words = {"host": HOST, "folder": self.folder, "domain": domain, "other": "callee" if near else "caller", "port": self.port,
                 "tls": tls[0], "other_tls": tls[1],
                 "next": f"sip:{HOST}:{first + 5};transport=tls" if near else f"sip:{HOST}:{first + 2};transport=udp"}
        with open(os.path.join(self.folder, domain + ".tls"), "w", encoding="ascii") as f:
            f.write(KAMAILIO_TLS.format(**words))
        with open(self.config, "w", encoding="ascii") as f:
            f.write((STILE if name == "stile" else KAMAILIO).format(**words, more=KAMAILIO_MORE.format(**words)))


def register(bench):
    """bob@callee.test is at the callee's sipp: our far proxy looks him up, as a registrar does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        port = bench.port + 2  # a registration over UDP is reached where it came from
        s.bind((HOST, port))
        s.settimeout(5)
        s.sendto((f"REGISTER sip:callee.test SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bKbench;rport\r\nMax-Forwards: 70\r\n"
                  f"From: <sip:bob@callee.test>;tag=r\r\nTo: <sip:bob@callee.test>\r\nCall-ID: r@bench\r\nCSeq: 1 REGISTER\r\n"
                  f"Contact: <sip:bob@{HOST}:{port}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n").encode(), (HOST, bench.port + 6))
        if not s.recv(4096).startswith(b"SIP/2.0 200"):
            raise Unable("the far proxy does not register bob")


class Federations(Benchmark):
    loads = LOADS

    def __init__(self, options, folder):
        super().__init__(options, folder)
        self.certificates = os.path.join(folder, "certificates")
        os.mkdir(self.certificates, 0o755)
        certificates(self.certificates)

    def run_once(self, name, load):
        kind, rate = LOADS[load]
        n = int(rate * self.options.seconds)
        with Side(self, name, "callee") as far, Side(self, name, "caller") as near:
            if name == "stile":
                register(self)
            ends = [Sipp(self, near.folder, "callee", SCENARIOS[kind][1], "udp", [])]
            try:
                time.sleep(0.5)
                self.call(near, ends, kind, 20, 20)  # the TLS connection is there before anything is counted
                cpu = near.cpu_s() + far.cpu_s()
                good, disorder = self.call(near, ends, kind, n, rate)
                result = {"proxy": name, "load": load, "n": n, "good": good, "failed": n - good, "disorder": disorder,
                          "cpu_us": (near.cpu_s() + far.cpu_s() - cpu) / max(good, 1) * 1e6}
            finally:
                for e in ends:
                    e.end()
        return self.put_down(result)

    def call(self, near, ends, kind, n, rate):
        caller = caller_of(self, near.folder, SCENARIOS[kind][0], "udp", n, rate)
        ends.append(caller)
        counts = caller.wait(n / rate + PATIENCE_S)
        caller.end()
        os.unlink(caller.stat)
        return counts


def show(bench):
    missed = 0
    print(f"{'':32} {'2 kamailio':>10} {'2 stile':>10}      {'ratio':>6}  bar")
    for load, pairs in bench.pairs.items():
        kind, rate = LOADS[load]
        ours, theirs = (statistics.median(p[i]["cpu_us"] for p in pairs) for i in (0, 1))
        ratio = statistics.median(a["cpu_us"] / max(b["cpu_us"], 1e-9) for a, b in pairs)
        lost = sum(p[0]["failed"] for p in pairs)
        disorder = [sum(p[i]["disorder"] for p in pairs) for i in (0, 1)]
        good = ratio <= BARS[kind] and lost == 0 and disorder[0] == 0
        print(f"{f'CPU per {kind}, {rate}/s':32} {theirs:10.1f} {ours:10.1f} µs   {ratio:6.3f}  ≤ {BARS[kind]:.2f} "
              f"{'met' if good else 'MISSED'}; failed: {lost} (kamailio {sum(p[1]['failed'] for p in pairs)}), "
              f"out of turn: {disorder[0]} ({disorder[1]})")
        missed += not good
    return missed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=4, help="A B B A …")
    p.add_argument("--seconds", type=float, default=8, help="of each run")
    p.add_argument("--quick", action="store_true", help="two rounds of 2 s, about 2 minutes: whether it works, not how well")
    p.add_argument("--only", type=lambda s: s.split(","), help="beginnings of loads: " + ", ".join(LOADS))
    p.add_argument("--no-bars", action="store_true", help="exit 0 whatever the figures are")
    p.add_argument("--port", type=int, default=27200, help="first of seven ports")
    options = p.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 2
    for program in ("kamailio", "sipp", "openssl"):
        if not shutil.which(program):
            raise Unable(f"{program} is not installed (tools/install-packages bench check)")
    if cpus()[0] is None:
        raise Unable("it needs two CPUs, one for the proxies and one for sipp")
    with tempfile.TemporaryDirectory(prefix="stile-bench-") as folder:
        os.chmod(folder, 0o777)
        bench = Federations(options, folder)
        load_before, begun = os.getloadavg()[0], time.monotonic()
        bench.run()
    name = keep("sip-federation", load_average=load_before, runs=bench.raw)
    missed = show(bench)
    print(f"every run: {name}; load average before: {load_before:.1f}; {time.monotonic() - begun:.0f} s")
    return 1 if missed and not options.no_bars else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unable as e:
        print(f"cannot run: {e}", file=sys.stderr)
        sys.exit(2)
