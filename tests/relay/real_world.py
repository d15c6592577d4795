# SPDX-License-Identifier: Apache-2.0
"""What the cases of tests/relay/run share: a stile-tunnel in a folder of its own, targets behind it that are threads of this
process or programs of others, and sockets that say what they got.

Everything runs on loopback, on ports of the run's own; only what was started here is stopped."""
import contextlib
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
import world as admin  # noqa: E402
from world import BUILD, PATIENCE, ROOT, STILE, Failed, Skipped, case, need_root, wait_for  # noqa: E402, F401

TUNNEL = os.path.join(BUILD, "tunnel/stile-tunnel")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def free_base(first):
    """As the administrator's, but ports that only wait for late packets (TIME_WAIT of the case before) are free."""
    for base in range(first, first + 980, 40):
        with contextlib.ExitStack() as stack:
            locks = admin.locked_hundreds(base)
            if not locks:
                continue
            try:
                for i in range(admin.PORTS):
                    s = stack.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + i))
                return base, locks
            except OSError:
                for lock in locks:
                    lock.close()
    raise Failed(f"    no free ports from {first} on")


admin.free_base = free_base


class World(admin.World):
    """A folder; ports base … base+39, of which the first 20 are for routes and the rest for targets."""

    def __init__(self, first_port):
        super().__init__(first_port)
        self.targets = []
        os.chmod(self.folder, 0o755)

    def __exit__(self, *what):
        for t in self.targets:
            t.stop()
        super().__exit__(*what)

    def tunnel_config(self, routes, records="", more="", name="stile.yaml"):
        """routes: YAML flow maps, one a route."""
        return self.write(name, f"""log: {{ level: debug, dir: {self.path('log')} }}
store: {{ path: {self.path('store')} }}
tunnel:
  workers: 2
{more}{f'  records: {{ dir: {self.records()}, {records} }}' if records else ''}
  routes:
{''.join(f'    - {r}' + chr(10) for r in routes) if routes else '    []'}
""")

    def records(self):
        os.makedirs(self.path("records"), exist_ok=True)
        return self.path("records")

    def tunnel_argv(self, config="stile.yaml", *options):
        as_root = ["--user", "root"] if ROOT else []
        return [TUNNEL, "-c", self.path(config), "--runtime-dir", self.path("run"), *as_root, *options]

    def tunnel(self, *options, **more):
        s = TunnelServer(self, self.tunnel_argv("stile.yaml", *options), **more)
        self.servers.append(s)
        s.wait_ready()
        return s

    def relay(self, routes, records="", **more):
        """A running stile-tunnel with these routes, which listen."""
        self.tunnel_config(routes, records)
        s = self.tunnel(**more)
        self.ask("ready", "tunnel", "--wait", "10s").exits(0)
        return s

    def verb(self, name, args=None, full="stile-tunnel"):
        return super().verb(name, args, full)

    def logged(self, *texts, name="stile-tunnel", seconds=PATIENCE):
        return super().logged(*texts, name=name, seconds=seconds)

    def connections(self, n, seconds=PATIENCE):
        """Waits until there are so many."""
        deadline = time.monotonic() + seconds
        while (rows := self.verb("relay.connections")["rows"]) is not None:
            if len(rows) == n:
                return rows
            if time.monotonic() > deadline:
                raise Failed(f"    {len(rows)} connections, not {n}: {rows}")
            time.sleep(0.05)

    def target(self, serve, port=None):
        t = Target(serve, port if port is not None else self.base + 20 + len(self.targets))
        self.targets.append(t)
        return t

    def record_files(self, prefix):
        return sorted(f for f in os.listdir(self.records()) if f.startswith(prefix))

    def record_text(self, name):
        with open(os.path.join(self.records(), name), encoding="utf-8") as f:
            return f.read()

    def record_lines(self, prefix, suffix):
        """Those that are whole: records may be being written."""
        texts = (self.record_text(f) for f in self.record_files(prefix) if f.endswith(suffix))
        return [line.rstrip("\r\n") for text in texts for line in text.splitlines(True) if line.endswith("\n")]

    def json_lines(self):
        return [json.loads(line) for line in self.record_lines("CO", ".jsonl")]


class TunnelServer(admin.Server):
    def __init__(self, world, argv, **more):
        super().__init__(world, argv, **more)
        self.full = "stile-tunnel" + (f"@{argv[argv.index('--instance') + 1]}" if "--instance" in argv else "")

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Target:
    """A server of this process: serve(socket) in a thread for each connection."""

    def __init__(self, serve, port, host="127.0.0.1"):
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(512)
        self.port, self.serve, self.open = port, serve, set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        self.open.add(s)
        with contextlib.suppress(OSError), s:
            self.serve(s)
        self.open.discard(s)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)


def swallow(s):
    while s.recv(65536):
        pass


def connect(port, host="127.0.0.1", timeout=20):
    return socket.create_connection((host, port), timeout=timeout)


def read_all(s):
    got = bytearray()
    while data := s.recv(1 << 16):
        got += data
    return bytes(got)


def said(port, data, host="127.0.0.1"):
    """What comes back for these bytes, end of stream passed on both ways."""
    with connect(port, host) as s:
        sender = threading.Thread(target=send_and_end, args=(s, data))
        sender.start()
        got = read_all(s)
        sender.join()
        return got


def send_and_end(s, data):
    with contextlib.suppress(OSError):
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)


def noise(n, seed=7):
    return random.Random(seed).randbytes(n)


def ends(s, what, seconds=10):
    """The connection ends: "closed" or "reset"."""
    s.settimeout(seconds)
    try:
        while s.recv(65536):
            pass
        how = "closed"
    except ConnectionError:
        how = "reset"
    except TimeoutError:
        how = f"open after {seconds} s"
    if how not in what:
        raise Failed(f"    the connection is {how}, not {what}")
    return how


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Failed(f"    {name} is not installed (tools/install-packages check)")
    return path


@contextlib.contextmanager
def running(argv, ready, **more):
    """A program of others while the block runs; ready() becomes true first."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"    {argv[0]} did not start")
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(port):
    def ask():
        with contextlib.suppress(OSError), connect(port, timeout=1):
            return True
        return False
    return ask
