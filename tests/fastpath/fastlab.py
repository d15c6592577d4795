# SPDX-License-Identifier: Apache-2.0
"""A server between two networks, each a network namespace and a veth pair, with stile-fastpath beside it:

    client 198.51.100.2, 2001:db8:1::2 -- left, server: stile-turn, right -- 203.0.113.2, 2001:db8:2::2 peer

The server forwards nothing by itself. Checksum and segmentation offload are off, so that packets look as they
do on a wire. Sockets of client and peer belong to this process: it makes them inside the namespaces."""
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
import turn_client  # noqa: E402
from lab import PATIENCE, SANITIZER, Built, Failed, Skipped, die_with_us, enter, inside, run, wait_for  # noqa: E402

CLIENT = {4: "198.51.100.2", 6: "2001:db8:1::2"}
LEFT = {4: "198.51.100.1", 6: "2001:db8:1::1"}
RIGHT = {4: "203.0.113.1", 6: "2001:db8:2::1"}
PEER = {4: "203.0.113.2", 6: "2001:db8:2::2"}
PORT = 3478
USER, PASSWORD = "alice", "wonderland-of-the-fast-path"
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SIOCETHTOOL, SETTERS = 0x8946, {"tx": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}


def set_offloads(link, **states):
    """What ethtool -K does, in the namespace that is entered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for name, on in states.items():
            value = ctypes.create_string_buffer(struct.pack("II", SETTERS[name], on))
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP", link.encode(), ctypes.addressof(value)))


class Client(turn_client.Client):
    """A TURN client in the client's namespace, of either family, with peers of either."""

    def __init__(self, lab, family=4, port=0):  # pylint: disable=super-init-not-called
        with inside(lab.client):
            self.socket = socket.socket(FAMILY[family], socket.SOCK_DGRAM)
            self.socket.bind((CLIENT[family], port))
        self.socket.connect((LEFT[family], PORT))
        self.socket.settimeout(5)
        self.user, self.password, self.realm, self.nonce = USER, PASSWORD, b"", b""
        self.relay = None

    def ask(self, method, body=b"", peer=None, seconds=3):
        """peer: (host, port) of XOR-PEER-ADDRESS, whose IPv6 form depends on the transaction."""
        for _ in range(3):
            tid = os.urandom(12)
            more = turn_client.attribute(turn_client.XOR_PEER, xor_peer(*peer, tid)) if peer else b""
            answer = self.exchange(method, body + more, tid, seconds)
            self.answer = turn_client.attributes(answer)
            code = 0
            if struct.unpack_from("!H", answer)[0] & 0x0110 == 0x0110:
                error = self.answer[turn_client.ERROR]
                code = error[2] * 100 + error[3]
            if code not in (401, 438) or (code == 401 and self.nonce):
                return code
            self.realm, self.nonce = self.answer[turn_client.REALM], self.answer[turn_client.NONCE]
        return code

    def exchange(self, method, body, tid, seconds):
        real_urandom, os.urandom = os.urandom, lambda n: tid  # the transaction is chosen here
        self.socket.settimeout(seconds)
        try:
            return self._ask(method, body)
        finally:
            os.urandom = real_urandom

    def allocate(self, family=4, lifetime=None):
        body = turn_client.attribute(turn_client.TRANSPORT, b"\x11\0\0\0")
        if family == 6:
            body += turn_client.attribute(0x0017, b"\x02\0\0\0")
        if lifetime:
            body += turn_client.attribute(turn_client.LIFETIME, struct.pack("!I", lifetime))
        code = self.ask(turn_client.ALLOCATE, body)
        if code:
            raise Failed(f"Allocate was answered with {code}")
        relayed = self.answer[turn_client.XOR_RELAYED]
        self.relay = (RIGHT[family], struct.unpack_from("!H", relayed, 2)[0] ^ (turn_client.COOKIE >> 16))

    def bind(self, number, host, port):
        return self.ask(turn_client.CHANNEL, turn_client.attribute(turn_client.CHANNEL_NUMBER, struct.pack("!HH", number, 0)),
                        (host, port))

    def permit(self, host):
        return self.ask(turn_client.PERMISSION, b"", (host, 0))

    def receive(self, seconds=3):
        """(channel, data); None: nothing came."""
        self.socket.settimeout(seconds)
        try:
            packet = self.socket.recv(65536)
        except (TimeoutError, BlockingIOError, ConnectionRefusedError):
            return None
        number, n = struct.unpack_from("!HH", packet)
        if number < 0x4000:
            return number, packet
        if n != len(packet) - 4:
            raise Failed(f"ChannelData says {n} bytes and has {len(packet) - 4}")
        return number, packet[4:]


def xor_peer(host, port, tid):
    if ":" not in host:
        return turn_client.xor_address(host, port)
    mask = struct.pack("!I", turn_client.COOKIE) + tid
    ip = bytes(a ^ b for a, b in zip(socket.inet_pton(socket.AF_INET6, host), mask))
    return struct.pack("!BBH", 0, 2, port ^ (turn_client.COOKIE >> 16)) + ip


class Lab(Built):
    """Namespaces, stile-turn and stile-fastpath; a context manager."""

    def __init__(self, build, mode, extra=""):
        self.build, self.mode, self.extra = build, mode, extra
        tag = f"stile{os.getpid()}-f"
        self.client, self.server, self.peer = (f"{tag}{x}" for x in "csp")
        self.folder = tempfile.mkdtemp(prefix="stile-fastpath-")
        self.made, self.processes, self.sockets = [], {}, []

    def set_up(self):
        self.build_net()
        self.configure()
        self.start("turn")
        if self.mode != "off":
            self.start("fastpath")

    def clean(self):
        for s in self.sockets:
            s.close()
        for process, _ in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def build_net(self):
        for name in (self.client, self.server, self.peer):
            code, out = run(["ip", "netns", "add", name], check=False)
            if code != 0:
                raise Skipped("network namespaces are not permitted: " + out.strip())
            self.made.append(name)
            self.at(name, "ip", "link", "set", "lo", "up")
        for link, other, ours, theirs in (("left", self.client, LEFT, CLIENT), ("right", self.peer, RIGHT, PEER)):
            code, out = self.at(self.server, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", other, check=False)
            if code != 0:
                raise Skipped("veth pairs are not permitted: " + out.strip())
            for name, dev, addresses in ((self.server, link, ours), (other, "eth0", theirs)):
                self.at(name, "ip", "address", "add", addresses[4] + "/24", "dev", dev)
                self.at(name, "ip", "address", "add", addresses[6] + "/64", "dev", dev, "nodad")
                self.at(name, "ip", "link", "set", dev, "up")
                with inside(name):
                    # A frame that XDP sends into a pair is taken by the other end only if that polls, as it does with GRO.
                    set_offloads(dev, tx=0, tso=0, gso=0, gro=self.mode == "xdp")

    def at(self, name, *argv, **kwargs):
        return run([*enter(name), *argv], **kwargs)

    def stop_all(self):
        for which in list(self.processes):
            if self.processes[which][0].poll() is None:
                self.stop(which)
        self.sane()

    def configure(self, extra=None, peers='allow: [203.0.113.2/31, "2001:db8:2::2"]'):
        path = os.path.join(self.folder, "stile.yaml")
        extra = self.extra if extra is None else extra
        slots = f", channels: {extra.split()[1]}" if extra.startswith("SLOTS") else ""
        relay = "" if "relay:" in extra else f'  relay: {{ addresses: ["{RIGHT[4]}", "{RIGHT[6]}"], ports: 50000-59999 }}'
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""store: {{ path: "{self.folder}/store" }}
log: {{ level: debug }}
turn:
  listen: ["udp:{LEFT[4]}:{PORT}", "udp:[{LEFT[6]}]:{PORT}", "tcp:{LEFT[4]}:{PORT}"]
{relay}
  users: [ {{ name: {USER}, password: {PASSWORD} }} ]
  peers: {{ {peers} }}
  workers: 2
  fast_path: {{ mode: {self.mode}, interfaces: [left, right]{slots} }}
{"" if slots else extra}""")
        os.chmod(path, 0o600)

    def start(self, which, user="root"):
        log = os.path.join(self.folder, which + ".log")
        binary = {"turn": "turn/stile-turn", "fastpath": "turn/fastpath/stile-fastpath"}[which]
        with open(log, "ab") as err:
            process = subprocess.Popen([*enter(self.server), os.path.join(self.build, binary), "-c", os.path.join(self.folder, "stile.yaml"),
                                        "--runtime-dir", self.folder, "--user", user],
                                       stdin=subprocess.DEVNULL, stdout=err, stderr=err, preexec_fn=die_with_us)
        began = len(self.said(which))
        self.processes[which] = (process, log)
        self.wait(lambda: "service.ready" in self.said(which)[began:] or process.poll() is not None, f"stile-{which} to start")
        if process.poll() is not None:
            raise Failed(f"stile-{which} did not start:\n" + self.said(which)[-1500:])

    def said(self, which):
        try:
            with open(os.path.join(self.folder, which + ".log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def signal(self, which, number):
        self.processes[which][0].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[which][0].wait()

    def stop(self, which):
        process = self.processes[which][0]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            raise Failed(f"stile-{which} did not stop") from None
        if process.returncode != 0:
            raise Failed(f"stile-{which} ended with status {process.returncode}:\n{self.said(which)[-1500:]}")

    def sane(self):
        for which in self.processes:
            if SANITIZER.search(self.said(which)):
                raise Failed(f"a sanitizer spoke in stile-{which}:\n" + self.said(which)[-3000:])

    def wait(self, true, what, seconds=PATIENCE):
        wait_for(what, true, seconds)

    def stile(self, *argv, check=True):
        return self.at(self.server, os.path.join(self.build, "cli/stile"), *argv, "--runtime-dir", self.folder, check=check)[1]

    def json(self, *argv):
        out = self.stile(*argv, check=False)
        try:
            return json.loads(out)
        except ValueError:
            raise Failed(f"stile {' '.join(argv)} gave no JSON: {out.strip()[-2000:]}") from None

    def status(self):
        """({…fast_path of turn.status}, {…fastpath.status})"""
        rows = self.json("status", "--json")
        turn = next((r["turn"]["fast_path"] for r in rows if r.get("program") == "stile-turn" and "turn" in r), {})
        return turn, next((r["fastpath"] for r in rows if r.get("program") == "stile-fastpath" and "fastpath" in r), {})

    def sessions(self):
        return self.json("turn", "sessions", "--json")

    def wait_offloaded(self, n):
        self.wait(lambda: self.status()[0].get("offloaded") == n, f"{n} channels in the kernel ({self.status()})")

    def wait_connected(self):
        self.wait(lambda: self.status()[0].get("workers_connected") == 2, "stile-fastpath's connections")

    def udp(self, name, host, port=0):
        with inside(name):
            s = socket.socket(FAMILY[6 if ":" in host else 4], socket.SOCK_DGRAM)
            s.bind((host, port))
        s.settimeout(3)
        self.sockets.append(s)
        return s

    def sniffer(self, name):
        """All IP packets that arrive at eth0 of that namespace."""
        with inside(name):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind(("eth0", 0))
        s.settimeout(0.2)
        self.sockets.append(s)
        return s
