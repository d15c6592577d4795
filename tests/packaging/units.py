# SPDX-License-Identifier: Apache-2.0
"""The systemd units of packaging/systemd: what systemd-analyze says of each, and the services at work under their filters, users and
read-only file system, as tests/packaging/in_unit.py applies them; ports and notifications as PID 1 would hand them over."""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
from tunnel_world import AGENT, SERVER, Target, connect, echo, main, world  # noqa: E402
from world import GATEWAY, SIP, TURN, Failed, Server, Skipped, World, case, need_root  # noqa: E402

UNITS = os.path.join(HERE, "..", "..", "packaging", "systemd")
WORST = 1.6
HELPERS = {"stile-fastpath.service"}  # loads eBPF: a unit of its own so that no other needs its rights
UID = 61234  # nobody's
LISTEN_FDS_START = 3
ALICE = ["-u", "alice", "--password", "wonderland"]


def unit(name):
    return os.path.join(UNITS, name + ".service")


def instances_unit(w, path):
    """stile-turn@.service as the packages make it."""
    text = w.run("sed", "-f", os.path.join(UNITS, "instance.sed"), path).exits(0).out
    name = os.path.basename(path).removesuffix(".service")
    if f"\nExecStart=/usr/bin/{name} -c /etc/stile/%i\n" not in text:
        raise Failed(f"    {name}@ is started with another folder:\n{text}")
    return w.write(f"{name}@.service", text)


@case("systemd finds no fault with a unit or that of its instances, and each is exposed by at most 1.6 but for the named helper")
def _(w):
    found = sorted(glob.glob(os.path.join(UNITS, "*.service")))
    if len(found) < 6:
        raise Failed(f"    only {len(found)} units in {UNITS}")
    for path in found:
        name = os.path.basename(path)
        said = w.run("systemd-analyze", "security", "--offline=yes", path)
        score = re.search(r"exposure level for \S+: ([0-9.]+)", said.out)
        if not score:
            said.fail("no score")
        if name not in HELPERS and float(score[1]) > WORST:
            said.fail(f"{name} has {score[1]}, more than {WORST}")
    for path in [*found, *(instances_unit(w, path) for path in found)]:  # programs need not be installed here: only what systemd does not understand counts
        said = w.run("systemd-analyze", "verify", "--man=no", path)
        for line in said.err.splitlines():
            if "is not executable" not in line and "Unknown lvalue" in line or "Failed to parse" in line:
                said.fail(line)


def in_unit(w, name, program):
    """A prefix for the world's programs; the program's copy is where the unit's user can read it."""
    need_root()
    os.chmod(w.folder, 0o755)
    shutil.copy(program, w.folder)
    for part in ("run", "log", "store"):
        os.makedirs(w.path(part), exist_ok=True)
        os.chown(w.path(part), UID, UID)
    writable = ":".join(w.path(p) for p in ("run", "log", "store"))
    return [sys.executable, "-B", os.path.join(HERE, "in_unit.py"), unit(name), str(UID), writable, w.path(os.path.basename(program))]


def give(w, *names):
    for name in names:
        os.chown(w.path(name), UID, UID)


def turn_config(w, **keys):
    """This case is of stile-turn: the world's configuration, name and program are its."""
    w.full, w.binary = "stile-turn", TURN
    World.config(w, **keys)


class Notified:
    """What PID 1 hears on the notification socket."""

    def __init__(self, w):
        self.path = w.path(f"run/notify-{len(w.servers)}")
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.path)
        os.chmod(self.path, 0o666)
        self.s.settimeout(world.PATIENCE)
        self.heard = []

    def env(self):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "600000", "ASAN_OPTIONS": "detect_leaks=0"}

    def hear(self, word, times=1):
        while sum(word in h for h in self.heard) < times:
            try:
                self.heard.append(self.s.recv(4096).decode())
            except TimeoutError:
                raise Failed(f"    never heard {word}; only {self.heard}") from None


def start(w, name, program, *options, full=None, prefix=()):
    """Starts the service in its unit and waits for READY and the watchdog."""
    argv = [*in_unit(w, name, program), *options, "--runtime-dir", w.path("run")]
    n = Notified(w)
    s = Server(w, argv, prefix=prefix, env=n.env())
    s.full = full or name
    w.servers.append(s)
    s.wait_ready()
    n.hear("READY=1")
    n.hear("WATCHDOG=1", 2)
    return s, n


def status_of(process):
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def is_confined(process, bind):
    """The kernel's word that the filter, the user and the capabilities are in force."""
    st = status_of(process)
    want = {"Seccomp": "2", "NoNewPrivs": "1", "CapBnd": world.BIND_ALONE if bind else "0" * 16}
    for key, value in want.items():
        if st[key] != value and not (key == "CapBnd" and st[key] == "0" * 16):
            raise Failed(f"    {key} is {st[key]}, not {value}")
    if not st["Uid"].startswith(str(UID)):
        raise Failed(f"    Uid is {st['Uid']}")


@case("stile-turn relays, reloads and stops in its unit; a port below 1024 is bound with the one capability it has")
def _(w):
    turn_config(w, listen=f'["udp:127.0.0.1:{w.port}", "tcp:127.0.0.1:{w.port}", "tls:127.0.0.1:{w.port + 1}", "tcp:127.0.0.61:61"]')
    give(w, "stile.yaml", "server.pem", "server.key")
    s, n = start(w, "stile-turn", TURN, "-c", w.path("stile.yaml"))
    is_confined(s.process, bind=True)
    for how in ("udp", "tcp"):
        w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "--packets", "4", *ALICE, "-t", how).exits(0)
    socket.create_connection(("127.0.0.61", 61), timeout=10).close()
    s.process.send_signal(1)
    n.hear("RELOADING=1")
    n.hear("READY=1", 2)
    s.stop()


@case("stile-tunnel and stile-agent carry bytes in their units")
def _(w):
    w.server_config()
    give(w, "stile.yaml")
    start(w, "stile-tunnel", SERVER, "-c", w.path("stile.yaml"))
    w.agent_config("site", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'], code=f'"{w.enrol("site")["code"]}"')
    text = open(w.path("site.yaml"), encoding="utf-8").read().replace(w.path("store-site"), w.path("store"))
    w.write("site.yaml", text)
    give(w, "site.yaml")
    agent, _ = start(w, "stile-agent", AGENT, "-c", w.path("site.yaml"), "--instance", "site", full="stile-agent@site")
    is_confined(agent.process, bind=False)
    with Target(w.target_port(), echo):
        w.connected("site")
        world.wait_for("the job's port", lambda: any(j["state"] == "active" for j in w.ask_verb("tunnel.jobs")["rows"]))
        with connect(w.job_port()) as c:
            c.sendall(b"through two sandboxes")
            if c.recv(100) != b"through two sandboxes":
                raise Failed("    other bytes came back")
        
    w.stop_all()


@case("stile-sip answers in its unit")
def _(w):
    w.write("stile.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\n"
                          f"sip:\n  domains: [unit.test]\n  listen: [\"udp:127.0.0.1:{w.port}\", \"tcp:127.0.0.1:{w.port}\"]\n")
    give(w, "stile.yaml")
    s, _ = start(w, "stile-sip", SIP, "-c", w.path("stile.yaml"))
    is_confined(s.process, bind=True)
    w.stile("test", "sip", f"sip:127.0.0.1:{w.port}").exits(0)
    s.stop()


@case("stile-console answers in its unit")
def _(w):
    w.write("stile.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\n"
                          f"console: {{ listen: \"127.0.0.1:{w.port}\" }}\n")
    give(w, "stile.yaml")
    s, _ = start(w, "stile-console", os.path.join(world.BUILD, "console/stile-console"), "-c", w.path("stile.yaml"))
    is_confined(s.process, bind=False)
    with socket.create_connection(("127.0.0.1", w.port), timeout=20) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not c.recv(100).startswith(b"HTTP/1.1 200"):
            raise Failed("    /healthz does not say 200")
    s.stop()


@case("stile-gateway serves HTTPS in its unit, on a port below 1024 like the 443 of its guide")
def _(w):
    w.certificate()
    w.write("stile.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\ngateway: {{ listen: [\"tls:127.0.0.61:62\"], "
                          f"tunnel: {w.path('run/door.sock')}, certificate: server.pem, key: server.key }}\n")
    give(w, "stile.yaml", "server.pem", "server.key")
    s, _ = start(w, "stile-gateway", GATEWAY, "-c", w.path("stile.yaml"))
    is_confined(s.process, bind=True)
    said = w.run("curl", "-sS", "--cacert", w.path("server.pem"), "--resolve", "localhost:62:127.0.0.61", "https://localhost:62/nothing", "-w", "%{http_code}")
    said.exits(0).says("404")
    s.stop()


@case("stile-fastpath loads its programs in its unit")
def _(w):
    program = os.path.join(world.BUILD, "turn/fastpath/stile-fastpath")
    if not os.path.exists(program):
        raise Skipped("built without it")
    w.full = "stile-fastpath"
    World.config(w, fast_path="{ mode: auto, interfaces: [u0] }")
    give(w, "stile.yaml", "server.pem", "server.key")
    own = ["unshare", "-n", "sh", "-c", 'ip link set lo up && ip link add u0 type veth peer name u1 && ip link set u0 up && exec "$0" "$@"']
    s, _ = start(w, "stile-fastpath", program, "-c", w.path("stile.yaml"), prefix=own)
    st = status_of(s.process)
    if st["Seccomp"] != "2" or int(st["CapEff"], 16) & ~(1 << 12 | 1 << 38 | 1 << 39):
        raise Failed(f"    Seccomp {st['Seccomp']}, CapEff {st['CapEff']}")
    if not w.verb("fastpath.status")["interfaces"]:
        raise Failed("    no interface has its program")
    s.stop()


# ---- socket activation ----

class Activated(Server):
    """Started with sockets as systemd passes them: descriptors from 3 on, LISTEN_FDS, LISTEN_PID."""

    def __init__(self, w, argv, sockets):
        high = []
        for s in sockets:  # out of the way of the places they are put to
            high.append(os.dup2(s.fileno(), 200 + len(high), inheritable=False))

        def place():
            for i, fd in enumerate(high):
                os.dup2(fd, LISTEN_FDS_START + i, inheritable=True)
        self.world, self.full, self.ended = w, w.full, False
        self.argv = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *argv]
        self.err = open(w.path(f"stderr-{len(w.servers)}"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err, preexec_fn=place,
                                        close_fds=False, env={**os.environ, "LISTEN_FDS": str(len(high))})
        for fd in high:
            os.close(fd)
        w.servers.append(self)


def bound(kind, port, host="127.0.0.1"):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.SOCK_DGRAM:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((host, port))
    if kind == socket.SOCK_STREAM:
        s.listen(64)
    return s


@case("sockets that systemd has bound are used, by all workers, and one that nobody wants is told")
def _(w):
    turn_config(w, workers="2", listen=f'["udp:127.0.0.1:{w.port}", "tcp:127.0.0.1:{w.port}", "tls:127.0.0.1:{w.port + 1}"]')
    sockets = [bound(socket.SOCK_DGRAM, w.port) for _ in range(6)]
    sockets += [bound(socket.SOCK_STREAM, w.port + i) for i in range(3)]
    s = Activated(w, w.turn_argv(), sockets)
    for x in sockets:
        x.close()
    s.wait_ready()
    w.logged("service.socket-unused", f"127.0.0.1:{w.port + 2}")
    for how in ("udp", "tcp"):
        for _ in range(3):
            w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "--packets", "4", *ALICE, "-t", how).exits(0)
    s.stop()


@case("a reload that is refused uses up no datagram socket of systemd's: the next one has them")
def _(w):
    turn_config(w, workers="1", listen=f'["udp:127.0.0.1:{w.port}"]')
    sockets = [bound(socket.SOCK_DGRAM, w.port + i) for i in (0, 0, 0, 1, 1, 1, 2)]
    s = Activated(w, w.turn_argv(), sockets)
    for x in sockets:
        x.close()
    s.wait_ready()
    for _ in range(2):  # the last one has fewer sockets than it needs
        turn_config(w, workers="1", listen=f'["udp:127.0.0.1:{w.port}", "udp:127.0.0.1:{w.port + 1}", "udp:127.0.0.1:{w.port + 2}"]')
        w.ask("reload", "turn").exits(1).says(f"udp:127.0.0.1:{w.port + 2}", "systemd passed fewer sockets")
    turn_config(w, workers="1", listen=f'["udp:127.0.0.1:{w.port}", "udp:127.0.0.1:{w.port + 1}"]')
    w.ask("reload", "turn").exits(0)
    for port in (w.port, w.port + 1):
        w.stile("test", "turn", "127.0.0.1", "-p", str(port), "--packets", "4", *ALICE, "-t", "udp").exits(0)
    s.stop()


@case("stile-sip, which binds to see whether a reload could, has systemd's socket in the reload itself, too")
def _(w):
    def listen(*ports):
        places = ", ".join(f'"udp:127.0.0.1:{p}"' for p in ports)
        w.write("stile.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\n"
                              f"sip:\n  domains: [unit.test]\n  listen: [{places}]\n")
    listen(w.port)
    w.full = "stile-sip"
    sockets = [bound(socket.SOCK_DGRAM, w.port + i) for i in range(2)]
    s = Activated(w, [SIP, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"), *(["--user", "root"] if world.ROOT else [])], sockets)
    for x in sockets:
        x.close()
    s.wait_ready()
    listen(w.port, w.port + 1)
    w.ask("reload", "sip", "--dry-run").exits(0)
    w.ask("reload", "sip").exits(0)
    w.stile("test", "sip", f"sip:127.0.0.1:{w.port + 1}").exits(0)
    s.stop()


@case("stile-console, whose unit gives it no right to a low port, takes one that systemd has bound")
def _(w):
    w.certificate()
    w.write("stile.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\n"
                          "console: { listen: \"127.0.0.61:63\", public: true, certificate: server.pem, key: server.key }\n")
    give(w, "stile.yaml", "server.pem", "server.key")
    program = os.path.join(world.BUILD, "console/stile-console")
    argv = ["env", "ASAN_OPTIONS=detect_leaks=0", *in_unit(w, "stile-console", program), "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run")]
    w.run(*argv).exits(1).says("127.0.0.61:63: Permission denied", ".socket unit")
    w.full = "stile-console"
    low = bound(socket.SOCK_STREAM, 63, "127.0.0.61")
    s = Activated(w, argv, [low])
    low.close()
    s.wait_ready()
    is_confined(s.process, bind=False)
    w.run("curl", "-sS", "--cacert", w.path("server.pem"), "--resolve", "localhost:63:127.0.0.61", "https://localhost:63/healthz", "-w", "%{http_code}").exits(0).says("200")
    s.stop()


@case("too few datagram sockets, a connection and a socket for both families stop the start, and say what to write")
def _(w):
    turn_config(w, workers="1", listen=f'["udp:127.0.0.1:{w.port}"]')
    few = [bound(socket.SOCK_DGRAM, w.port)]
    s = Activated(w, w.turn_argv(), few)
    few[0].close()
    s.process.wait(20)
    s.ended = True
    s.said().exits(1).says("systemd passed fewer sockets", "ListenDatagram=")
    both = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    both.bind(("::", w.port + 3))
    both.listen(4)
    s = Activated(w, w.turn_argv(), [both])
    both.close()
    s.process.wait(20)
    s.ended = True
    s.said().exits(1).says("BindIPv6Only=ipv6-only")


sys.exit(main(29100))
