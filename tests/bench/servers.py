# SPDX-License-Identifier: Apache-2.0
"""The two servers of a benchmark: stile-turn and coturn's turnserver, set up to do the same work.

Each listens on an address of its own (tests/bench/veth.py), so that ports clash with nobody's; each has one worker
(stile `workers: 1`, coturn `--relay-threads=1`) and all its threads on one CPU, the generator having
another. Only processes started here are ever signalled."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

REALM, USER, PASSWORD = "bench.test", "bench", "for-the-benchmark"
PORT, TLS_PORT, RELAY_PORTS = 3478, 5349, (20000, 59999)
START_S, STOP_S = 10, 5
PRIORITY = 1  # of real time


class Unable(Exception):
    """The benchmark cannot run here; the text says why."""


def cpus():
    """(generator's CPU, servers' CPU), or (None, None) where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def on_cpu(*wanted):
    """What a measured process does before it begins: stays on its CPU or CPUs, ahead of the machine's other work (as
    real-time work: the kernel keeps a part of the CPU back from it)."""
    def prepare():
        if None not in wanted:
            os.sched_setaffinity(0, wanted)
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
        except OSError:
            pass  # not root: then the machine had better be quiet
    return prepare


def keep(benchmark, **results):
    """The raw results as JSON, in a file of this run's own under results/; its path."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, time.strftime(f"{benchmark}-%Y%m%d-%H%M%S.json"))
    with open(name, "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    return os.path.relpath(name)


def make_certificate(folder):
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", os.path.join(folder, "server.key"), "-out", os.path.join(folder, "server.pem")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Unable("openssl made no certificate: " + done.stdout.strip())


def answers(host):
    request = struct.pack("!HHI", 0x0001, 0, 0x2112A442) + os.urandom(12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        try:
            s.connect((host, PORT))
            s.send(request)
            return s.recv(2048)[8:20] == request[8:20]
        except OSError:
            return False


def answers_in_bytes(host):
    """Bytes of the answers to a bare Binding and to an Allocate without credentials, each to one of its request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect((host, PORT))
        found = []
        for kind, attributes in ((0x0001, b""), (0x0003, struct.pack("!HHB3x", 0x0019, 4, socket.IPPROTO_UDP))):
            request = struct.pack("!HHI", kind, len(attributes), 0x2112A442) + os.urandom(12) + attributes
            s.send(request)
            found.append(len(s.recv(2048)) / len(request))
        return found


class Server:
    """One server process. Subclasses say how it is started."""

    name = program = ""

    def __init__(self, folder, net):
        self.net = net
        self.host, self.relay = net.hosts[self.name]
        self.folder = os.path.join(folder, self.name)
        self.process = None
        os.makedirs(self.folder, exist_ok=True)
        self.cert, self.key = os.path.join(folder, "server.pem"), os.path.join(folder, "server.key")

    def path(self, name):
        return os.path.join(self.folder, name)

    def place(self):
        """The CPUs it may use."""
        return (cpus()[1],)

    def argv(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def start(self):
        if self.answers():
            raise Unable(f"something answers on {self.host}:{PORT} already: another benchmark runs; --net moves this one")
        with open(self.path("output"), "wb") as out:
            try:
                self.process = subprocess.Popen([*self.net.server_side(), *self.argv()], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                                preexec_fn=on_cpu(*self.place()))
            except OSError as e:
                raise Unable(f"cannot start {self.program}: {e.strerror}") from None
        end = time.monotonic() + START_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.path("output"), encoding="utf-8", errors="replace") as f:
                    raise Unable(f"{self.program} did not start:\n" + f.read()[-2000:])
            time.sleep(0.05)

    def answers(self):
        with self.net.at_generator():
            return answers(self.host)

    def stop(self):
        """Ends what start() started; twice SIGTERM, because stile-turn drains after the first."""
        for sig in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process is None or self.process.poll() is not None:
                break
            self.process.send_signal(sig)
            try:
                self.process.wait(STOP_S if sig == signal.SIGKILL else 1)
            except subprocess.TimeoutExpired:
                continue
        self.process = None


class Stile(Server):
    name, program = "stile", "stile-turn"

    def __init__(self, folder, net, build, coalesce=0, workers=0, first=1):
        """workers 0: one, all of the server on the servers' CPU; else so many, the first on CPU number `first` (0: the generator's,
        1: the servers') and the next on the other."""
        super().__init__(folder, net)
        self.coalesce, self.workers, self.first = coalesce, workers, first
        self.binary = os.path.join(build, "turn/stile-turn")
        if not os.access(self.binary, os.X_OK):
            raise Unable(f"{self.binary} is not built; tests/bench/turn-vs-coturn.sh builds it")

    def version(self):
        return subprocess.run([self.binary, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    def place(self):
        return cpus() if self.workers else super().place()

    def start(self):
        super().start()
        for task in os.listdir(f"/proc/{self.process.pid}/task") if self.workers else ():
            with open(f"/proc/{self.process.pid}/task/{task}/comm", encoding="ascii") as f:
                name = f.read().split()
            if name[0] == "worker" and None not in cpus():
                os.sched_setaffinity(int(task), {cpus()[(self.first + int(name[1])) % 2]})

    def argv(self):
        listen = ", ".join(f'"{p}:{self.host}:{TLS_PORT if "tls" in p else PORT}"' for p in ("udp", "tcp", "tls", "dtls"))
        with open(self.path("stile.yaml"), "w", encoding="utf-8") as f:
            f.write(f"""log: {{ level: info, dir: "{self.path("log")}" }}
turn:
  realm: {REALM}
  listen: [{listen}]
  certificate: {self.cert}
  key: {self.key}
  relay: {{ addresses: [{self.relay}], ports: {RELAY_PORTS[0]}-{RELAY_PORTS[1]} }}
  users: [ {{ name: {USER}, password: {PASSWORD} }} ]
  peers: {{ allow: [127.0.0.0/8, 203.0.113.0/24] }}
  limits:
    allocations: 20000
    allocations_per_user: unlimited
    connections_per_address: 20000
    unauthenticated_bitrate: unlimited
  workers: {self.workers or 1}
  coalesce: {self.coalesce}
store: {{ path: "{self.path("store")}" }}
""")
        os.chmod(self.path("stile.yaml"), 0o600)
        return [self.binary, "-c", self.path("stile.yaml"), "--runtime-dir", self.path("run")]


class Coturn(Server):
    name = program = "turnserver"

    def version(self):
        path = shutil.which(self.program)
        if not path:
            raise Unable("turnserver is not installed (apt-get install coturn)")
        found = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "coturn"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()
        return f"coturn {found or '(version not known)'}"

    def argv(self):
        return [self.program, "-n", "-L", self.host, "-E", self.relay, "-p", str(PORT), f"--tls-listening-port={TLS_PORT}",
                f"--min-port={RELAY_PORTS[0]}", f"--max-port={RELAY_PORTS[1]}", "--lt-cred-mech", "-u",
                f"{USER}:{PASSWORD}", "-r", REALM, f"--cert={self.cert}", f"--pkey={self.key}", "--no-cli",
                "--relay-threads=1", "--allow-loopback-peers", "--no-rfc5780", f"--pidfile={self.path('pid')}",
                "--simple-log", "-l", self.path("log"), "--no-stdout-log", f"--userdb={self.path('db')}"]
