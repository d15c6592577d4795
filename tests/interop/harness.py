# SPDX-License-Identifier: Apache-2.0
"""What the interop cases share: a server in a folder of its own, and cases that say ok or why not.

The server is stile-turn from a build folder, or coturn's turnserver (STILE_PEER=coturn), with the same
addresses and accounts: a case that fails against both is the case's fault. It runs on loopback, on ports
of its own, and only the process started here is ever stopped."""
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from outcome import PATIENCE, SANITIZER, Failed, Skipped, wait_for  # noqa: E402, F401

REALM = "interop.test"
USER, PASSWORD = "alice", "wonderland"
OTHER_USER, OTHER_PASSWORD = "bob", "looking-glass"
SECRET = "shared-secret-of-the-rest-api"
PORTS_PER_SERVER = 100  # listeners, then 35 for echo peers and clients, then 60 relay ports
FIRST_PEER, FIRST_RELAY = 5, 40


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def port_is_free(port):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_port_base(first):
    """The first run of ports, a multiple of PORTS_PER_SERVER from `first`, whose listeners are free, and the
    socket that keeps it ours against other runs: its abstract name is of the network namespace, as ports are,
    belongs to no user or folder, and goes with the process."""
    for base in range(first, first + 20 * PORTS_PER_SERVER, PORTS_PER_SERVER):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0stile-ports-{base}")
            if all(port_is_free(base + i) for i in range(FIRST_RELAY)):
                return base, lock
        except OSError:
            pass
        lock.close()
    raise Failed(f"no free ports from {first} on")


def run(argv, timeout=30, **kwargs):
    """Exit status and all output of a command; a command that hangs is a failure of the case."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              text=True, errors="replace", stdin=subprocess.DEVNULL, **kwargs)
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed (tools/install-packages check)") from None
    except subprocess.TimeoutExpired as e:
        out = (e.stdout or b"").decode(errors="replace").strip().splitlines()
        raise Failed(f"{argv[0]} hung for {timeout} s; last said: {out[-1] if out else 'nothing'}") from None
    return done.returncode, done.stdout


def binding_answered(host, port, timeout=0.3):
    """One STUN Binding request over UDP: did a success response come?"""
    transaction = os.urandom(12)
    request = struct.pack("!HHI", 0x0001, 0, 0x2112A442) + transaction
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((host, port))
            s.send(request)
            answer = s.recv(2048)
        except OSError:
            return False
    return answer[:2] == b"\x01\x01" and answer[8:20] == transaction


class Server:
    """A TURN server under test. auth is "users" or "secret": coturn cannot do both at once."""

    def __init__(self, auth="users", first_port=None, extra_yaml="", loopback_peers=True, relay_ports=None):
        self.auth = auth
        self.loopback_peers = loopback_peers
        self.extra_yaml = extra_yaml
        self.peer = os.environ.get("STILE_PEER", "stile")
        self.base, self.port_lock = free_port_base(first_port or int(os.environ.get("STILE_PORT_BASE", "21500")))
        self.port, self.tls_port = self.base, self.base + 1
        self.relay_ports = relay_ports or (self.base + FIRST_RELAY, self.base + PORTS_PER_SERVER - 1)
        self.peer_ports = itertools.cycle(range(self.base + FIRST_PEER, self.base + FIRST_RELAY))
        self.ipv6 = has_ipv6()
        self.hosts = ["127.0.0.1"] + (["::1"] if self.ipv6 else [])
        self.folder = tempfile.mkdtemp(prefix="stile-interop-")
        self.process = None
        self.stderr_path = self.path("stderr.log")

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()
        self.port_lock.close()
        if not os.environ.get("STILE_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def make_certificate(self):
        code, out = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                         "-nodes", "-days", "90", "-subj", "/CN=localhost", "-addext",
                         "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
                         "-keyout", self.path("server.key"), "-out", self.path("server.pem")])
        if code != 0:
            raise Failed("openssl made no certificate: " + out.strip())

    def write_stile_config(self):
        bracketed = ["127.0.0.1"] + (["[::1]"] if self.ipv6 else [])
        listen = [f'"{proto}:{host}:{port}"' for host in bracketed for proto, port in
                  (("udp", self.port), ("tcp", self.port), ("tls", self.tls_port), ("dtls", self.tls_port))]
        account = f"users: [ {{ name: {USER}, password: {PASSWORD} }}, " \
            f"{{ name: {OTHER_USER}, password: {OTHER_PASSWORD} }} ]" if self.auth == "users" \
            else f"secrets: [ {{ id: interop, secret: {SECRET} }} ]"
        with open(self.path("stile.yaml"), "w", encoding="utf-8") as f:
            f.write(f"""log: {{ level: debug, dir: "{self.folder}" }}
store: {{ path: "{self.path('store')}" }}
turn:
  realm: {REALM}
  listen: [{", ".join(listen)}]
  certificate: server.pem
  key: server.key
  relay: {{ addresses: [{", ".join(f'"{h}"' for h in self.hosts)}], ports: {self.relay_ports[0]}-{self.relay_ports[1]} }}
  {account}
  peers: {{ allow: [{'"127.0.0.0/8", "::1/128"' if self.loopback_peers else ""}] }}
  limits: {{ allocations_per_user: 1000 }}
{self.extra_yaml}""")
        os.chmod(self.path("stile.yaml"), 0o600)

    def stile_argv(self):
        self.write_stile_config()
        binary = os.environ.get("STILE_TURN") or os.path.join(os.environ.get("STILE_BUILD", "build"),
                                                              "turn/stile-turn")
        as_root = ["--user", "root"] if os.getuid() == 0 else []  # the folder is ours; root's rights go
        return [binary, "-c", self.path("stile.yaml"), "--runtime-dir", self.folder, *as_root]

    def coturn_argv(self):
        account = ["--lt-cred-mech", "-u", f"{USER}:{PASSWORD}", "-u", f"{OTHER_USER}:{OTHER_PASSWORD}"] if self.auth == "users" \
            else ["--use-auth-secret", f"--static-auth-secret={SECRET}"]
        places = [a for h in self.hosts for a in ("-L", h, "-E", h)]
        return ["turnserver", "-n", *places, "-p", str(self.port), f"--tls-listening-port={self.tls_port}",
                f"--min-port={self.relay_ports[0]}", f"--max-port={self.relay_ports[1]}", *account, "-r", REALM,
                f"--cert={self.path('server.pem')}", f"--pkey={self.path('server.key')}", "--no-cli", "-m", "1",
                *(["--allow-loopback-peers"] if self.loopback_peers else []), "--no-rfc5780", f"--pidfile={self.path('pid')}", "--simple-log",
                "-l", self.path("turnserver.log"), "--no-stdout-log", f"--userdb={self.path('db')}"]

    def start(self):
        self.make_certificate()
        argv = self.coturn_argv() if self.peer == "coturn" else self.stile_argv()
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        try:
            with open(self.stderr_path, "wb") as err:
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                                env=environment)
        except OSError as e:
            raise Failed(f"cannot start {argv[0]}: {e.strerror}") from None
        self.wait_ready()

    def wait_ready(self, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"the server ended with status {self.process.returncode} at its start:\n{self.log_tail()}")
            if all(binding_answered(h, self.port) for h in self.hosts):
                return
            time.sleep(0.05)
        raise Failed(f"the server answered no Binding request within {seconds} s:\n{self.log_tail()}")

    def log_tail(self, lines=30):
        """The end of all the server said, to read beside a failure."""
        text = ""
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(self.path(name), encoding="utf-8", errors="replace") as f:
                    text += "".join(f"    {name}: {line}" for line in f.readlines()[-lines:])
        return text

    def stop_cleanly(self):
        """SIGTERM (a second one ends the drain): exit status 0, and no sanitizer has said anything."""
        for wait in (3, 15):
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(wait)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            raise Failed("the server did not stop within 18 s of two SIGTERMs")
        with open(self.stderr_path, encoding="utf-8", errors="replace") as f:
            said = f.read()
        report = SANITIZER.search(said)
        if report:
            raise Failed("a sanitizer spoke:\n" + said[report.start():report.start() + 6000])
        if self.process.returncode != 0:
            raise Failed(f"exit status {self.process.returncode} after SIGTERM:\n{self.log_tail()}")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
