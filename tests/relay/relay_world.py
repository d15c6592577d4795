# SPDX-License-Identifier: Apache-2.0
"""What the cases of the relay share: the world of tests/admin with stile-tunnel in it, targets that behave or
misbehave as they are told, and questions to the control socket."""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
import world  # noqa: E402
from world import BUILD, Failed, World, case, wait_for  # noqa: E402, F401

TUNNEL = os.path.join(BUILD, "tunnel/stile-tunnel")
FULL = "stile-tunnel"


def main(first_port):
    world.World = RelayWorld
    return world.main(first_port)


def pattern(n, seed=1):
    block = bytes((i * 7 + (i >> 8) + seed) & 0xff for i in range(1 << 16))
    return (block * (n // len(block) + 1))[:n]


def read_all(s, n=None):
    parts, got = [], 0
    while n is None or got < n:
        part = s.recv(1 << 16)
        if not part:
            break
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def connect(port, host="127.0.0.1", timeout=10):
    s = socket.create_connection((host, port), timeout=timeout)
    s.settimeout(timeout)
    return s


def was_reset(s):
    try:
        return s.recv(1) == b"" and False
    except ConnectionResetError:
        return True
    except OSError:
        return False


def resets(port):
    """A new connection there is reset, be it while it is made."""
    try:
        with connect(port) as s:
            return was_reset(s)
    except ConnectionResetError:
        return True


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Target:
    """A TCP server; serve(socket) runs in a thread for each connection."""

    def __init__(self, port, serve, host="127.0.0.1", backlog=512):
        self.serve, self.peers, self.count = serve, [], 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(backlog)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                s, peer = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.peers.append(peer)
            threading.Thread(target=self.run, args=(s,), daemon=True).start()

    def run(self, s):
        s.settimeout(30)
        try:
            self.serve(s)
        except OSError:
            pass
        finally:
            s.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UdpTarget:
    """answer(datagram) goes back to where it came from; None: nothing does."""

    def __init__(self, port, answer=lambda data: data):
        self.answer = answer
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
                data = self.answer(data)
                if data is not None:
                    self.socket.sendto(data, peer)
            except ConnectionError:
                continue  # the last one had gone
            except OSError:
                return

    def close(self):
        self.socket.close()


def echo(s):
    while True:
        part = s.recv(1 << 16)
        if not part:
            return
        s.sendall(part)


def answer_when_done(s):
    """Reads to the end, then says how much and what came (a half-close that arrives)."""
    data = read_all(s)
    s.sendall(struct.pack("!Q", len(data)) + data[-64:])


def named(name):
    def serve(s):
        s.sendall(name.encode())
        read_all(s)
    return serve


class RelayWorld(World):
    binary, full, patience = TUNNEL, FULL, 20

    def target_port(self, i=0):
        return self.base + 20 + i

    def config(self, routes=(), name="stile.yaml", records=None, **keys):  # pylint: disable=arguments-differ
        """routes: texts of one flow map each, in which {p0} … are ports of ours and {t0} … of targets."""
        ports = {f"p{i}": self.base + i for i in range(20)} | {f"t{i}": self.target_port(i) for i in range(20)}
        lines = []
        for r in routes:
            for key, port in ports.items():
                r = r.replace("{%s}" % key, str(port))
            lines.append(f"    - {{ {r} }}\n")
        tunnel = {"workers": "2", "records": records, **keys}
        text = "".join(f"  {k}: {v}\n" for k, v in tunnel.items() if v is not None)
        if lines:
            text += "  routes:\n" + "".join(lines)
        log = "{ level: debug, dir: %s }" % self.path("log")
        return self.write(name, f"log: {log}\nstore: {{ path: {self.path('store')} }}\ntunnel:\n{text}")

    def refused(self, name, args, *texts):
        """The verb ends in an error that says all of these."""
        try:
            self.verb(name, args)
        except Failed as e:
            missing = [t for t in texts if t not in str(e)]
            if missing:
                raise Failed(f"    {name} did not say {missing}: {e}") from None
            return
        raise Failed(f"    {name} was not refused")

    def reload(self):
        return self.verb("service.reload")

    def routes(self):
        return {r["name"]: r for r in self.verb("relay.route.list")["rows"]}

    def route(self, name):
        rows = self.routes()
        if name not in rows:
            raise Failed(f"    there is no route {name}: {list(rows)}")
        return rows[name]

    def connections(self, route=None):
        rows, args = [], {"limit": 100}
        if route:
            args["route"] = route
        while True:
            page = self.verb("relay.connections", args)
            rows += page["rows"]
            if "cursor" not in page:
                return rows
            args["cursor"] = page["cursor"]

    def metric(self, name, label=None):
        for m in self.verb("relay.metrics", {"text": True})["text"].splitlines():
            if m.startswith(name) and (label is None or f'"{label}"' in m):
                return float(m.rsplit(" ", 1)[1])
        raise Failed(f"    there is no metric {name} {label or ''}")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4
