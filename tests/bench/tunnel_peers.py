# SPDX-License-Identifier: Apache-2.0
"""Ways from a visitor to a target for tests/bench/tunnel.py: bare TCP, `ssh -R` with an sshd and keys of its own, and ours.
Each has a near end, where the visitors are, and a far end beside the target; both on one CPU, load and line on the other. In a
place the ends are in one namespace (loopback) or in two with a long line between them. How a run begins and where its programs run
is for tests/bench/direct.py, too."""
import argparse
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "netns"))
import lab  # noqa: E402
from lab import die_with_us, enter, inside, run  # noqa: E402
from servers import Unable, cpus, on_cpu  # noqa: E402
from wire import Wire  # noqa: E402

TARGET, SSH, CONTROL, FORWARDED = 26100, 26101, 26110, 26120
LINE = {"delay": 20, "rate": 500, "queue": 2500000}
# Addresses of the line: 10.99.N.1 near, 10.99.N.2 far; N stands for the congestion control that its route asks for. Ours gets
# none: the namespaces' default is the slowest one, and it has to ask for a better one itself.
OWN_CHOICE, CUBIC, BBR = 0, 1, 2
CONTROL_OF_ROUTE = {CUBIC: "cubic", BBR: "bbr"}
wait_for = functools.partial(lab.wait_for, seconds=30)


def begin(doc, loads, ways):
    """The options of a benchmark between namespaces, where it can run at all."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--quick", action="store_true", help="one round, half as long: a first impression")
    p.add_argument("--only", type=lambda s: s.split(","), help="loads: " + ", ".join(loads))
    p.add_argument("--without", type=lambda s: s.split(","), default=[], help="ways to leave out: " + ", ".join(ways))
    p.add_argument("--no-bars", action="store_true", help="exit 0 whatever the figures are")
    p.add_argument("--scale", type=float, default=1.0, help="longer or shorter runs")
    options = p.parse_args()
    if options.quick:
        options.rounds, options.scale = 1, 0.5
    if os.getuid() != 0:
        raise Unable("network namespaces need root")
    if cpus()[0] is None:
        raise Unable("it needs two CPUs, one for both ends and one for the load")
    return options


def prepare_end():
    die_with_us()
    on_cpu(cpus()[1])()


def prepare_load():
    die_with_us()
    on_cpu(cpus()[0])()


class Place:
    """Where it runs: loopback of one namespace, or (far) two with a line between them."""

    def __init__(self, build, folder, far):
        self.build, self.folder, self.kind = build, folder, "line" if far else "loopback"
        tag = f"stile{os.getpid()}-t{self.kind[1]}"
        self.near, self.far = f"{tag}n", f"{tag}f" if far else f"{tag}n"
        self.wire = self.target = None

    def address(self, side, number):
        if self.near == self.far:
            return "127.0.0.1"
        return f"10.99.{number}.{1 if side == 'near' else 2}"

    def add_line(self):
        """Its routes: with a congestion control each (Debian's default is cubic)."""
        self.wire = Wire(os.path.join(self.build, "wire"), self.near, self.far, prepare=prepare_load, **LINE)
        for number, control in CONTROL_OF_ROUTE.items():
            for side, other in (("near", "far"), ("far", "near")):
                here = enter(getattr(self, side))
                run([*here, "ip", "address", "add", f"{self.address(side, number)}/32", "dev", "wire0"])
                run([*here, "ip", "route", "add", self.address(other, number), "dev", "wire0", "src", self.address(side, number),
                     "congctl", control])

    def __enter__(self):
        try:
            for name in sorted({self.near, self.far}):
                run(["ip", "netns", "add", name])
                run([*enter(name), "ip", "link", "set", "lo", "up"])
                run([*enter(name), "sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control"])
            if self.near != self.far:
                self.add_line()
            self.target = subprocess.Popen([*enter(self.far), os.path.join(self.build, "tunnel_load"), "serve", "0.0.0.0", str(TARGET)],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=prepare_load)
            if self.target.stdout.readline().strip() != "ready":
                raise Unable("the target did not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.target:
            self.target.kill()
            self.target.wait()
            self.target.stdout.close()
        if self.wire:
            self.wire.close()
        for name in {self.near, self.far}:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def answers(self, address, port, namespace=None):
        with contextlib.suppress(OSError), inside(namespace or self.near), socket.create_connection((address, port), timeout=2):
            return True
        return False


class Peer:
    """A way to the target. It is up inside a `with`."""

    name, route = "", CUBIC

    def __init__(self, place, folder):
        self.place, self.folder, self.near, self.far = place, os.path.join(folder, f"{self.name}-{place.kind}"), [], []
        self.started = 0
        os.makedirs(self.folder, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        self.started = time.monotonic()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.near + self.far:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.near + self.far:
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(5)
            if p.poll() is None:
                p.kill()
                p.wait()
        self.near, self.far = [], []

    def start(self):
        pass

    def visited(self):
        return self.place.address("far", self.route), TARGET

    def run(self, side, argv, log):
        """A process at the "near" or "far" end."""
        with open(self.path(log), "ab") as out:
            try:
                p = subprocess.Popen([*enter(getattr(self.place, side)), *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     preexec_fn=prepare_end)
            except OSError as e:
                raise Unable(f"cannot start {argv[0]}: {e.strerror}") from None
        getattr(self, side).append(p)
        return p

    def said(self, log):
        with open(self.path(log), encoding="utf-8", errors="replace") as f:
            return f.read()

    def pids(self, side):
        return [p for root in getattr(self, side) for p in family(root.pid)]

    def all_pids(self):
        return self.pids("near") + self.pids("far")

    def rss(self, side):
        """Bytes in memory, shared pages included."""
        return sum(field(pid, "status", "VmRSS") for pid in self.pids(side)) * 1024

    def pss(self, side):
        """Bytes in memory, a page that several programs share counted in parts: what they cost this machine."""
        return sum(field(pid, "smaps_rollup", "Pss") for pid in self.pids(side)) * 1024

    def private(self, side):
        """Bytes that this process alone has."""
        return sum(field(pid, "smaps_rollup", key) for pid in self.pids(side) for key in ("Private_Clean", "Private_Dirty")) * 1024


def family(pid):
    """It and its descendants."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            for child in f.read().split():
                found += family(int(child))
    return found


def field(pid, name, key):
    with open(f"/proc/{pid}/{name}", encoding="ascii") as f:
        return next((int(line.split()[1]) for line in f if line.startswith(key + ":")), 0)


class Raw(Peer):
    """No tunnel at all: what the network gives."""

    name = "tcp"


class RawBbr(Raw):
    name, route = "tcp-bbr", BBR


class Ssh(Peer):
    """OpenSSH's remote forward as it is installed."""

    name, offset, cipher = "ssh", 0, ()

    def start(self):
        for program in ("sshd", "ssh", "ssh-keygen"):
            if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
                raise Unable(f"{program} is not installed (tools/install-packages bench)")
        for key in ("host", "user"):
            if not os.path.exists(self.path(key)):
                run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path(key)])
        shutil.copy(self.path("user.pub"), self.path("authorized"))
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        port, forwarded = SSH + self.offset, FORWARDED + self.offset
        near, far = (self.place.address(side, self.route) for side in ("near", "far"))
        with open(self.path("sshd_config"), "w", encoding="ascii") as f:
            f.write(f"""Port {port}
ListenAddress {near}
HostKey {self.path("host")}
AuthorizedKeysFile {self.path("authorized")}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
AllowTcpForwarding remote
MaxSessions 10
LogLevel ERROR
""")
        self.run("near", [shutil.which("sshd", path="/usr/sbin:" + os.environ["PATH"]), "-D", "-e", "-f", self.path("sshd_config")], "sshd.log")
        wait_for("sshd answers", lambda: self.place.answers(near, port))
        self.run("far", ["ssh", "-F", "none", "-N", "-p", str(port), "-i", self.path("user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                         "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=ERROR", *self.cipher,
                         "-R", f"127.0.0.1:{forwarded}:{far}:{TARGET}", f"root@{near}"], "ssh.log")
        wait_for("ssh's port answers", lambda: self.place.answers("127.0.0.1", forwarded))

    def visited(self):
        return "127.0.0.1", FORWARDED + self.offset


class SshAes(Ssh):
    """The same, told to use the cipher that this CPU is good at."""

    name, offset, cipher = "ssh-aes", 1, ("-c", "aes128-gcm@openssh.com")


class Stile(Peer):
    """stile-tunnel with one worker at the near end, stile-agent at the far one."""

    name, route, offset, encrypt = "stile", OWN_CHOICE, 2, True

    def program(self, name):
        path = os.path.join(self.place.build, name)
        if not os.access(path, os.X_OK):
            raise Unable(f"{path} is not built; tests/bench/tunnel.sh builds it")
        return path

    def service(self, side, name, text):
        """Starts it with a folder of its own, which outlives it: keys and pins are made once."""
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "stile.yaml"), "w", encoding="ascii") as f:
            f.write(f"log: {{ level: warn, dir: {folder}/log }}\nstore: {{ path: {folder}/store }}\n{text}")
        os.chmod(os.path.join(folder, "stile.yaml"), 0o600)
        p = self.run(side, [self.program(f"tunnel/{name}"), "-c", os.path.join(folder, "stile.yaml"), "--runtime-dir", folder + "/run",
                            "--user", "root"], name + ".log")

        def ready():
            if p.poll() is not None:
                raise Unable(f"{name} did not start: {self.said(name + '.log')[-800:]}")
            return os.path.exists(f"{folder}/run/{name}.sock")
        wait_for(f"{name} is ready", ready)

    def tool(self, *argv):
        return run([self.program("cli/stile"), *argv, "--runtime-dir", self.path("stile-tunnel/run")])[1]

    def code(self):
        """Of the first round: from then on both know each other."""
        if not os.path.exists(self.path("code")):
            with open(self.path("code"), "w", encoding="ascii") as f:
                f.write(json.loads(self.tool("tunnel", "enrol", "bench", "--json"))["code"])
        with open(self.path("code"), encoding="ascii") as f:
            return f.read()

    def start(self):
        control, forwarded = CONTROL + self.offset, FORWARDED + self.offset
        near, far = (self.place.address(side, self.route) for side in ("near", "far"))
        self.service("near", "stile-tunnel", f"""tunnel:
  name: bench
  workers: 1
  listen: ["tls:{near}:{control}"]
  ports: {FORWARDED}-{FORWARDED + 9}
  bind: 127.0.0.1
  allow_plain: true
  limits: {{ connections: 20000 }}
""")
        code = self.code()
        self.service("far", "stile-agent", f"""agent:
  name: bench
  server: "{near}:{control}"
  code: {code}
  allow_plain: true
  jobs: [ {{ port: "{forwarded}", target: "{far}:{TARGET}", encrypt: {str(self.encrypt).lower()}, limits: {{ connections: 20000 }} }} ]
""")
        wait_for("the job's port answers", lambda: self.place.answers("127.0.0.1", forwarded))

    def visited(self):
        return "127.0.0.1", FORWARDED + self.offset


class StilePlain(Stile):
    name, offset, encrypt = "stile-plain", 3, False
