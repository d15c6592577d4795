# SPDX-License-Identifier: Apache-2.0
"""A site behind whatever its network allows, and a control room on the Internet, each host a network namespace:

    device 10.1.0.25 --+
    agent  10.1.0.2  --+-- router 10.1.0.1 / 100.64.0.2 -- provider 100.64.0.1 / 203.0.113.1 -- internet: server 203.0.113.10
                                 (NAT)                          (carrier's NAT)               and the visitors, 203.0.113.50

The agent's way out has addresses of its own (10.8.0.2, router 10.8.0.1), as a modem's has, so that it can change while the LAN stays.
What the router lets out is a row of KINDS. The targets at the device are threads of this process with sockets in its namespace,
and nginx; so every byte can be compared at both ends. Names carry this process's number; what was made here is
removed on the way out, also after a failure. Nothing leaves the namespaces."""
import contextlib
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from lab import SANITIZER, Built, Failed, Skipped, die_with_us, enter, inside, run, wait_for
from wire import Wire

SERVER, SECOND, VISITOR = "203.0.113.10", "203.0.113.11", "203.0.113.50"
AGENT, DEVICE, ROUTER = "10.1.0.2", "10.1.0.25", "10.1.0.1"
UPLINKS, UPLINK_ROUTER = ("10.8.0.2", "10.8.0.3"), "10.8.0.1"
PROXY_PORT, PROXY_USER, PROXY_PASSWORD = 8888, "site", "only-for-the-lab"
NUMBER = itertools.count()
NAT = 'chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade\n }\n'
CARRIER_NAT = 'chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade random,fully-random\n }\n'
LETS_OUT = """chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    %s
 }
"""
# What the router lets out: rules, arguments of the proxy that runs there (None: none).
KINDS = {
    "cgnat": (NAT, None),
    "udp-blocked": (NAT + LETS_OUT % 'iifname "lan" meta l4proto tcp accept', None),
    "only-443": (NAT + LETS_OUT % 'iifname "lan" tcp dport 443 accept', None),
    "proxy": (NAT + LETS_OUT % "", ""),
    "proxy-password": (NAT + LETS_OUT % "", f"BasicAuth {PROXY_USER} {PROXY_PASSWORD}"),
}


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Failed(f"{name} is not installed (tools/install-packages check)")
    return path


class Program:
    """A process in a namespace, its output in a file; ends with this one."""

    def __init__(self, lab, where, argv, name, env=None, prepare=die_with_us):
        self.argv, self.name = argv, name
        self.log = os.path.join(lab.folder, f"{name}-{next(NUMBER)}.out")
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen([*enter(lab.name(where)), *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env={**os.environ, **(env or {})}, preexec_fn=prepare)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """As a power cut: no word to anybody."""
        if self.alive():
            self.process.kill()
        self.process.wait()

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, seconds=30):
        """SIGTERM; of our programs exit status 0, and no sanitizer has spoken."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not stop within {seconds} s of SIGTERM:\n{self.said()[-2000:]}") from None

    def check(self):
        if SANITIZER.search(self.said()):
            raise Failed(f"a sanitizer spoke in {self.name}:\n{self.said()[-4000:]}")


class Target:
    """A TCP server at a host of the lab: serve(socket) in a thread for each connection."""

    def __init__(self, lab, where, address, port, serve):
        with inside(lab.name(where)):
            self.listener = socket.create_server((address, port), backlog=1024)
        self.serve, self.peers, self.open, self.lock = serve, [], set(), threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, peer = self.listener.accept()
                self.peers.append(peer)
                threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        with self.lock:
            self.open.add(s)
        with contextlib.suppress(OSError), s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(s)
        with self.lock:
            self.open.discard(s)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            left = list(self.open)
        for s in left:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


class UdpEcho:
    def __init__(self, lab, where, address, port):
        with inside(lab.name(where)):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(65536)
                if not data:
                    return
                self.socket.sendto(data, peer)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)


BLOCK = 1 << 16


def stream_bytes(n, seed=0):
    """The bytes that `source` sends, block by block: each has its number in front, so a doubled or lost one is seen."""
    rest = random.Random(seed).randbytes(BLOCK - 8)
    for i in range(0, n, BLOCK):
        yield (i.to_bytes(8, "big") + rest)[:n - i]


def source(s):
    """Reads "N\\n" and sends N bytes."""
    n = int(s.makefile("rb").readline())
    for part in stream_bytes(n):
        s.sendall(part)
    s.shutdown(socket.SHUT_WR)


def sink(s):
    """Takes everything, then answers with its hash."""
    got = hashlib.sha256()
    while data := s.recv(1 << 18):
        got.update(data)
    s.sendall(got.hexdigest().encode())
    s.shutdown(socket.SHUT_WR)


def stream_hash(n, seed=0):
    h = hashlib.sha256()
    for part in stream_bytes(n, seed):
        h.update(part)
    return h.hexdigest()


class Programs(Built):
    """What runs in a lab, for whoever has a folder, name() of a host, and the lists programs and services."""

    prepare = staticmethod(die_with_us)  # what a program does before it begins

    def launch(self, where, argv, name, env=None):
        p = Program(self, where, argv, name, env, self.prepare)
        self.programs.append(p)
        return p

    def start_until(self, what, answers, where, argv, name, seconds=30):
        """answers(program) says that it is there."""
        p = self.launch(where, argv, name)

        def ready():
            if not p.alive():
                raise Failed(f"{name} did not start")
            return answers(p)
        try:
            wait_for(what, ready, seconds)
        except Failed as e:
            raise Failed(f"{e}: {p.said()[-1500:]}") from None
        return p

    def stop_services(self):
        """Ours: each ends by SIGTERM, with status 0, and no sanitizer has spoken in any of its lives."""
        for service in reversed(self.services):
            if service.process and service.process.alive():
                service.stop()
            service.check()

    def last_words(self, n=25):
        """Of our programs, for a case that failed."""
        return "".join(f"  {s.name} | {line}\n" for s in self.services if s.process
                       for line in (s.process.said().splitlines() + s.logged().splitlines())[-n:])


class TunnelLab(Programs):
    """The namespaces of one kind of site; a context manager. line: values of a Wire between provider and internet."""

    def __init__(self, build, kind="cgnat", line=None):
        self.build, self.kind, self.line_values, self.wire = build, kind, line, None
        self.tag = f"stile{os.getpid()}-{next(NUMBER)}t"
        self.made, self.programs, self.targets, self.services = [], [], [], []
        self.env, self.full, self.seconds = {}, False, 0  # of our programs; what the cases may take
        self.uplink_address = None
        self.folder = tempfile.mkdtemp(prefix="stile-tunnel-")
        os.chmod(self.folder, 0o755)

    def set_up(self):
        self.build_net()

    def clean(self):
        for p in self.programs:
            p.kill()
        for t in self.targets:
            t.close()
        if self.wire:
            self.wire.close()
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", self.name(name)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the net ----

    def name(self, host):
        return f"{self.tag}-{host}"

    def at(self, host, *argv, **more):
        return run([*enter(self.name(host)), *argv], **more)

    def add_host(self, host):
        code, out = run(["ip", "netns", "add", self.name(host)], check=False)
        if code != 0:
            raise Skipped("network namespaces are not permitted: " + out.strip())
        self.made.append(host)
        self.at(host, "ip", "link", "set", "lo", "up")
        for key in ("all", "default"):
            self.sysctl(host, f"net.ipv4.conf.{key}.rp_filter", 0)
        self.sysctl(host, "net.ipv6.conf.all.disable_ipv6", 1)

    def sysctl(self, host, key, value):
        self.at(host, "sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}")

    def veth(self, one, its_device, other, other_device):
        code, out = self.at(one, "ip", "link", "add", its_device, "type", "veth", "peer", "name", other_device, "netns",
                            self.name(other), check=False)
        if code != 0:
            raise Skipped("veth pairs are not permitted: " + out.strip())
        self.at(one, "ip", "link", "set", its_device, "up")
        self.at(other, "ip", "link", "set", other_device, "up")

    def address(self, host, device, *addresses):
        for a in addresses:
            self.at(host, "ip", "address", "add", a, "dev", device)

    def add_lan(self, host, device="lan"):
        """A switch in the host, which has no address yet."""
        self.at(host, "ip", "link", "add", device, "type", "bridge")
        self.at(host, "ip", "link", "set", device, "up")
        self.at(host, "sh", "-c", "f=/proc/sys/net/bridge/bridge-nf-call-iptables; ! [ -e $f ] || echo 0 >$f")

    def plug(self, router, lan, host, address, gateway=None, device="eth0"):
        """A host at the switch of a router."""
        port = f"p{next(NUMBER)}"
        self.veth(router, port, host, device)
        self.at(router, "ip", "link", "set", port, "master", lan)
        self.address(host, device, f"{address}/24")
        if gateway:
            self.at(host, "ip", "route", "add", "default", "via", gateway)

    def build_net(self):
        for host in ("internet", "provider", "router", "agent", "device"):
            self.add_host(host)
        self.veth("provider", "wan", "internet", "eth0")
        self.address("internet", "eth0", *(f"{a}/24" for a in (SERVER, SECOND, VISITOR)))
        self.address("provider", "wan", "203.0.113.1/24")
        if self.line_values is None:
            self.veth("router", "wan", "provider", "cg")
            self.address("router", "wan", "100.64.0.2/24")
            self.address("provider", "cg", "100.64.0.1/24")
        else:
            self.wire = Wire(os.path.join(self.build, "tests/netns/wire"), self.name("provider"), self.name("router"), device="wan0",
                             addresses=("100.64.0.1", "100.64.0.2"), **self.line_values)
            self.at("router", "ip", "link", "set", "wan0", "name", "wan")
        self.at("router", "ip", "route", "add", "default", "via", "100.64.0.1")
        self.add_lan("router")
        self.address("router", "lan", f"{ROUTER}/24", f"{UPLINK_ROUTER}/24")
        self.plug("router", "lan", "agent", AGENT)
        self.uplink(UPLINKS[0])
        self.plug("router", "lan", "device", DEVICE, ROUTER)
        for host in ("router", "provider"):
            self.sysctl(host, "net.ipv4.ip_forward", 1)
        rules, proxy = KINDS[self.kind]
        self.rules("router", rules)
        self.rules("provider", CARRIER_NAT)
        if proxy is not None:
            self.start_proxy(proxy)

    def rules(self, host, text, table="lab"):
        """In place of those that the host has in this table; "" takes them away."""
        path = os.path.join(self.folder, "rules.nft")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"table ip {table}\ndelete table ip {table}\n" + (f"table ip {table} {{\n{text}\n}}\n" if text else ""))
        self.at(host, "nft", "-f", path)

    def cut(self, host="router", how="drop", match=""):
        """Nothing passes that host from now on (of what `match` says): the peers hear nothing of it."""
        self.rules(host, "".join(f"chain {hook} {{ type filter hook {hook} priority -300; {match} {how}\n }}\n"
                                 for hook in ("prerouting", "output")), table="cut")

    def mend(self, host="router"):
        self.rules(host, "", table="cut")

    def renumber(self):
        """The carrier has another address: no connection through its NAT goes on."""
        self.at("provider", "ip", "address", "del", "203.0.113.1/24", "dev", "wan")
        self.at("provider", "ip", "address", "add", "203.0.113.2/24", "dev", "wan")

    def uplink(self, new):
        self.at("agent", "ip", "address", "add", f"{new}/24", "dev", "eth0")
        self.at("agent", "ip", "route", "replace", "default", "via", UPLINK_ROUTER)
        self.uplink_address = new

    def move_agent(self):
        """The agent's uplink has another address from now on, and not the old one."""
        old = self.uplink_address
        self.at("agent", "ip", "address", "del", f"{old}/24", "dev", "eth0")
        self.uplink(next(a for a in UPLINKS if a != old))

    def kill_connections(self, host, *filters):
        """ss -K: every such TCP connection of the host ends at once, as its own program sees it; how many."""
        out = self.at(host, "ss", "-K", "-t", "-n", "-H", *filters, check=False)[1]
        return len([line for line in out.splitlines() if "ESTAB" in line])

    # ---- programs of others ----

    def can_connect(self, where, address, port):
        with contextlib.suppress(OSError), inside(self.name(where)), socket.create_connection((address, port), timeout=2):
            return True
        return False

    def start_other(self, where, argv, name, address, port):
        return self.start_until(f"{name} answers on {address}:{port}", lambda _: self.can_connect(where, address, port), where, argv, name)

    def start_proxy(self, more):
        """tinyproxy in the router, the only way out."""
        path = os.path.join(self.folder, "tinyproxy.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"Port {PROXY_PORT}\nListen {ROUTER}\nTimeout 600\nMaxClients 600\nAllow 10.1.0.0/24\nConnectPort 443\n"
                    f"ConnectPort 7443\nLogLevel Info\nDisableViaHeader Yes\n{more}\n")
        return self.start_other("router", [program("tinyproxy"), "-d", "-c", path], "tinyproxy", ROUTER, PROXY_PORT)

    def start_nginx(self, sizes, where="device", address=DEVICE, port=80):
        """Files f0, f1, … of random bytes; their hashes."""
        home = os.path.join(self.folder, f"www-{where}")
        os.makedirs(os.path.join(home, "html"))
        hashes = []
        for i, n in enumerate(sizes):
            data = random.Random(1000 + i).randbytes(n)
            hashes.append(hashlib.sha256(data).hexdigest())
            with open(os.path.join(home, "html", f"f{i}"), "wb") as f:
                f.write(data)
        path = os.path.join(home, "nginx.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"daemon off; master_process off; pid {home}/pid; user root; error_log stderr;\n"
                    "events { worker_connections 2000; }\n"
                    f"http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/c;\n"
                    f"uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; keepalive_requests 100000;\n"
                    f"server {{ listen {address}:{port} backlog=1024; root {home}/html; }} }}\n")
        self.start_other(where, [program("nginx"), "-p", home, "-c", path, "-e", "stderr"], f"nginx-{where}", address, port)
        return hashes

    def target(self, serve, port, where="device", address=DEVICE):
        t = Target(self, where, address, port, serve)
        self.targets.append(t)
        return t

    def udp_echo(self, port, where="device", address=DEVICE):
        t = UdpEcho(self, where, address, port)
        self.targets.append(t)
        return t

    # ---- visitors ----

    def connect(self, port, where="internet", address=SERVER, timeout=60):
        with inside(self.name(where)):
            s = socket.create_connection((address, port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def udp(self, port, where="internet", address=SERVER, timeout=2):
        with inside(self.name(where)):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(timeout)
        s.connect((address, port))
        return s


def http_get(s, path, close=False):
    """One request on the connection; (status, hash of the body)."""
    s.sendall(f"GET /{path} HTTP/1.1\r\nHost: lab\r\n{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = s.recv(65536)
        if not part:
            raise Failed(f"the connection ended within a head of HTTP: {head[:80]!r}")
        head += part
    head, body = head.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
    h, left = hashlib.sha256(body), length - len(body)
    while left > 0:
        part = s.recv(min(left, 1 << 18))
        if not part:
            raise Failed(f"the connection ended {left} bytes before the end of {path}")
        h.update(part)
        left -= len(part)
    return int(head.split()[1]), h.hexdigest()
