# SPDX-License-Identifier: Apache-2.0
"""What relaying costs the whole host, softirq included: coturn, stile-turn in user space, and its channels in the
kernel by TC and by XDP, on veth pairs between two network namespaces.

    generator, CPU 0: 198.51.100.2, 203.0.113.2 -- veth pairs -- 198.51.100.1, 203.0.113.1: the server, CPU 1

The server's side of the network (RPS, or polling threads for XDP) is pinned to CPU 1 and the generator's to CPU 0. perf
samples CPU 1; counted are the samples of the server's processes and of network softirq, without the interrupts that
wake the other CPU, which are this wire's own. So other programs on the machine disturb, but are not counted. Rounds run A B C D
D C B A."""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "fastpath"))
from fastlab import die_with_us, inside, set_offloads  # noqa: E402
from lab import Failed, enter, run  # noqa: E402
from servers import cpus, on_cpu  # noqa: E402

USER, PASSWORD, REALM = "bench", "for-the-benchmark", "bench.test"
LEFT, RIGHT, CLIENT, PEER = "198.51.100.1", "203.0.113.1", "198.51.100.2", "203.0.113.2"
BAR = 1 / 3.5
HZ = 3989  # prime, or the samples fall into step with the generator, whose timer has 100 µs
NAMES = {"coturn": "coturn", "user": "stile-turn, user space", "tc": "stile-turn, kernel by TC", "xdp": "stile-turn, kernel by XDP"}


class Net:
    def __init__(self, mode):
        self.gen, self.srv = (f"stile{os.getpid()}-b{x}" for x in "gs")
        self.mode = mode
        self.cpu_gen, self.cpu_srv = cpus()

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.gen, self.srv):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def build(self):
        for name in (self.gen, self.srv):
            run(["ip", "netns", "add", name])
            run([*enter(name), "ip", "link", "set", "lo", "up"])
        for link, other, ours, theirs in (("left", "eth0", LEFT, CLIENT), ("right", "eth1", RIGHT, PEER)):
            run([*enter(self.srv), "ip", "link", "add", link, "type", "veth", "peer", "name", other, "netns", self.gen])
            for name, dev, address in ((self.srv, link, ours), (self.gen, other, theirs)):
                run([*enter(name), "ip", "address", "add", address + "/24", "dev", dev])
                run([*enter(name), "ip", "link", "set", dev, "up"])
                with inside(name):
                    set_offloads(dev, tx=0, tso=0, gso=0, gro=self.mode == "xdp")
                self.pin(name, dev, self.cpu_srv if name == self.srv else self.cpu_gen)

    def pin(self, name, dev, cpu):
        """Where what this interface receives is worked on."""
        what = "threaded" if self.mode == "xdp" else "queues/rx-0/rps_cpus"
        value = "1" if self.mode == "xdp" else f"{1 << cpu:x}"
        run([*enter(name), "unshare", "-m", "sh", "-c",
             f"mount -t sysfs none /sys && echo {value} > /sys/class/net/{dev}/{what}"])
        for pid in (p for p in os.listdir("/proc") if self.mode == "xdp" and p.isdigit()):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().startswith(f"napi/{dev}-"):
                        os.sched_setaffinity(int(pid), {cpu})
                        os.sched_setscheduler(int(pid), os.SCHED_RR, os.sched_param(1))
            except OSError:
                pass

    def start(self, argv, folder, name, cpu):
        with open(os.path.join(folder, name + ".log"), "wb") as log:
            return subprocess.Popen([*enter(self.srv), *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    preexec_fn=lambda: (die_with_us(), on_cpu(cpu)()))


def stile_config(folder, mode):
    path = os.path.join(folder, "stile.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"""store: {{ path: "{folder}/store" }}
turn:
  realm: {REALM}
  listen: ["udp:{LEFT}:3478"]
  relay: {{ addresses: [{RIGHT}], ports: 20000-59999 }}
  users: [ {{ name: {USER}, password: {PASSWORD} }} ]
  peers: {{ allow: [{PEER}] }}
  limits: {{ allocations: 20000, allocations_per_user: unlimited, unauthenticated_bitrate: unlimited }}
  workers: 1
  fast_path: {{ mode: "{mode}", interfaces: [left, right] }}
""")
    os.chmod(path, 0o600)
    return ["-c", path, "--runtime-dir", folder, "--user", "root"]


def keep_awake(cpu):
    """Uses what nobody else wants of a CPU: perf's clock samples nothing of an idle one, not even its softirq."""
    def prepare():
        die_with_us()
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    return subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=prepare)


def start_server(net, build, which, folder):
    cpu = net.cpu_srv
    if which == "coturn":
        return [net.start(["turnserver", "-n", "-L", LEFT, "-E", RIGHT, "-p", "3478", "--min-port=20000", "--max-port=59999",
                           "--lt-cred-mech", "-u", f"{USER}:{PASSWORD}", "-r", REALM, "--no-cli", "--no-tls", "--no-dtls",
                           "--relay-threads=1", "--no-rfc5780", f"--pidfile={folder}/pid", "--simple-log", "-l", f"{folder}/log",
                           "--no-stdout-log", f"--userdb={folder}/db"], folder, "coturn", cpu)]
    options = stile_config(folder, "off" if which == "user" else which)
    started = [net.start([os.path.join(build, "turn/stile-turn"), *options], folder, "turn", cpu)]
    if which != "user":
        started.append(net.start([os.path.join(build, "turn/fastpath/stile-fastpath"), *options], folder, "fastpath", cpu))
    return started


def busy(data, servers):
    """How many samples were ours: all of them, over all packets, so that nothing depends on when perf began."""
    script = subprocess.run(["perf", "script", "-i", data, "-F", "comm,pid,ip,sym"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, errors="replace", check=False).stdout
    ours = total = 0
    for sample in re.split(r"\n\s*\n", script):
        head = sample.strip().split("\n", 1)[0].split()
        pid = next((int(w.split("/")[0]) for w in head[1:] if w.split("/")[0].isdigit()), -1)
        total += bool(head)
        ours += pid in servers or (bool(head) and head[0].startswith("napi/")) or \
            ("net_rx_action" in sample and "net_rps_send_ipi" not in sample)
    return ours, total


def sent(net):
    """Packets that the generator's interfaces have sent: what the server got."""
    rows = json.loads(run([*enter(net.gen), "ip", "-s", "-j", "link"])[1])
    return sum(r["stats64"]["tx"]["packets"] for r in rows if r["ifname"] != "lo")


def measure(build, which, o):
    folder = tempfile.mkdtemp(prefix="stile-bench-")
    started, data = [], os.path.join(folder, "perf.data")
    try:
        with Net(which) as net:
            started = start_server(net, build, which, folder)
            servers = {p.pid for p in started}
            started.append(keep_awake(net.cpu_srv))
            perf = subprocess.Popen(["perf", "record", "-q", "-B", "-N", "-m", "16384", "-C", str(net.cpu_srv), "-e", "cpu-clock", "-F", str(HZ),
                                     "-g", "-o", data], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: (die_with_us(), on_cpu(net.cpu_gen)()))
            started.append(perf)
            time.sleep(4)  # everybody has begun
            before, began = sent(net), time.monotonic()
            generator = subprocess.Popen(
                [*enter(net.gen), os.path.join(build, "cli/stile"), "bench", "turn", LEFT, "-u", USER, "--password", PASSWORD, "--peer", PEER,
                 "-n", str(o.allocations), "-s", str(o.size), "-r", str(o.rate), "-T", f"{o.seconds}s", "--no-gso", "--json",
                 "--pid", str(started[0].pid)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: (die_with_us(), on_cpu(net.cpu_gen)()))
            started.append(generator)
            out, err = generator.communicate(timeout=o.seconds + 60)
            packets, took = sent(net) - before, time.monotonic() - began
            perf.send_signal(signal.SIGINT)
            perf.wait(30)
            if generator.returncode:
                raise Failed(f"{which}: {err.strip()[-400:] or out[-400:]}")
            if o.profile:
                shutil.copy(data, o.profile)
            samples, all_of_them = busy(data, servers)
            if all_of_them < 0.95 * HZ * took:
                raise Failed(f"perf lost samples: {all_of_them} of {HZ * took:.0f}")
            return {"which": which, "us": samples / HZ / packets * 1e6, "samples": samples, "packets": packets, "generator": json.loads(out)}
    finally:
        for p in started:
            if p.poll() is None:
                p.send_signal(signal.SIGKILL)
                p.wait()
        shutil.rmtree(folder, ignore_errors=True)


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--rate", type=int, default=50000, help="packets a second")
    p.add_argument("--size", type=int, default=160)
    p.add_argument("--allocations", type=int, default=64)
    p.add_argument("--only", default="coturn,user,tc,xdp")
    p.add_argument("--json", metavar="FILE", help="every run, raw")
    p.add_argument("--profile", metavar="FILE", help="keep perf's data of the last run there")
    p.add_argument("--no-bars", action="store_true", help="exit 0 whatever was measured")
    return p.parse_args()


def table(runs, which):
    middle = {w: statistics.median(r["us"] for r in runs if r["which"] == w) for w in which if any(r["which"] == w for r in runs)}
    met = True
    print("| host CPU per packet | µs | of coturn | bar | met |\n|---|---|---|---|---|")
    for w, us in middle.items():
        ratio = us / middle["coturn"] if "coturn" in middle else None
        # XDP is told, not judged: here each packet wakes a polling thread, which no card does.
        verdict = "–" if ratio is None or w != "tc" else "yes" if ratio <= BAR else "no"
        met &= verdict != "no"
        print(f"| {NAMES[w]} | {us:.2f} | {f'{ratio:.2f}' if ratio else '–'} | {f'≤ {BAR:.2f}' if verdict != '–' else '–'} | {verdict} |")
    return met


def main():
    o = options()
    build = os.environ.get("STILE_BUILD", "build-release")
    which = o.only.split(",")
    if os.getuid() != 0 or cpus()[1] is None or not shutil.which("perf"):
        print("it needs root, two CPUs and perf (tools/install-packages bench)", file=sys.stderr)
        return 2
    runs = []
    print(f"load {os.getloadavg()[0]:.1f} at the start; {o.allocations} allocations, {o.size} bytes, {o.rate} packets a second, "
          f"{o.rounds} rounds of {o.seconds} s", flush=True)
    for i in range(o.rounds):
        for w in which if i % 2 == 0 else reversed(which):
            try:
                runs.append({"round": i, **measure(build, w, o)})
                g = runs[-1]["generator"]
                print(f"  {w:7} {runs[-1]['us']:.2f} µs, lost {g.get('lost', g.get('loss'))}", flush=True)
            except (Failed, ValueError, KeyError, subprocess.SubprocessError) as e:
                print(f"  {w:7} no measurement: {e}", flush=True)
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(runs, f, indent=1)
    if not runs:
        return 2
    return 0 if table(runs, which) or o.no_bars else 1


if __name__ == "__main__":
    sys.exit(main())
