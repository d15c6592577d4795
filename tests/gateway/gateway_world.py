# SPDX-License-Identifier: Apache-2.0
"""What the cases of stile-gateway share: the world of tests/admin with a gateway in it, and in the place of stile-tunnel a
socket whose shares are functions, so that a share may also do what none of ours would.

Ports of a case, from w.base on: 0 https, 1 http, 2 a front, 3 to 9 others."""
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
import world  # noqa: E402
from world import BUILD, PATIENCE, ROOT, TURN, Failed, World, case, wait_for  # noqa: E402, F401

GATEWAY = os.path.join(BUILD, "gateway/stile-gateway")
ID = "0123456789abcdef"


def main(first_port):
    world.World = GatewayWorld
    return world.main(first_port)


class Tunnel:
    """In the place of stile-tunnel: a share is a function of (connection, request head as text, body read so far)."""

    def __init__(self, path):
        self.shares, self.called, self.path = {}, [], path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(1024)  # as stile-tunnel does: a crowd is not told to come again
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            if self.over:
                c.close()
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        c.settimeout(60)
        try:
            with c, c.makefile("rb") as f:
                line = f.readline().decode().split()
                if not line:
                    return  # only whether somebody is here
                self.called.append(line)
                share = self.shares.get(line[2])
                if not callable(share):
                    c.sendall(f"NO {share or 'unknown-share there is none'}\n".encode())
                    return
                c.sendall(b"OK\n")
                share(c, f)
        except OSError:
            pass  # the gateway went first

    def close(self):
        self.over = True
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.path)
        except OSError:
            pass
        self.thread.join(20)
        self.socket.close()
        os.unlink(self.path)


def head_of(f):
    """Request line and fields (names in lower case)."""
    first, fields = f.readline().decode("latin-1").split(), {}
    while True:
        line = f.readline().decode("latin-1").strip()
        if not line:
            return first, fields
        name, value = line.split(":", 1)
        fields[name.lower()] = value.strip()


def answers(status, body=b"", **fields):
    """A share that answers so; _ in a field's name is -."""
    def share(c, f):
        head_of(f)
        lines = [f"HTTP/1.0 {status} x", f"Content-Length: {len(body)}", *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items())]
        c.sendall("\r\n".join(lines + ["", ""]).encode() + body)
    return share


def says(raw):
    """A share that says these very bytes, whatever it was asked."""
    def share(c, f):
        head_of(f)
        c.sendall(raw)
    return share


class GatewayWorld(World):
    full, patience = "stile-gateway", 20

    def __init__(self, first_port):
        super().__init__(first_port)
        self.tunnel = None

    def __exit__(self, *more):
        if self.tunnel:
            self.tunnel.close()
        super().__exit__(*more)

    def gateway_config(self, **keys):
        self.certificate()
        gateway = {"listen": f'["tls:127.0.0.1:{self.base}", "http:127.0.0.1:{self.base + 1}"]', "certificate": "server.pem", "key": "server.key",
                   "tunnel": self.path("gateway.sock")}
        gateway.update(keys)
        lines = "".join(f"  {k}: {v}\n" for k, v in gateway.items() if v is not None)
        return self.write("stile.yaml", f"log: {{ level: debug, dir: {self.path('log')} }}\ngateway:\n{lines}")

    def start_gateway(self):
        """What ASan keeps of freed memory (256 MB) would hide what the gateway keeps."""
        asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1"]))
        s = world.Server(self, [GATEWAY, "-c", self.path("stile.yaml"), "--runtime-dir", self.path("run"), *(["--user", "root"] if ROOT else [])],
                         env={"ASAN_OPTIONS": asan})
        s.full = self.full
        self.servers.append(s)
        s.wait_ready()
        return s

    def gateway(self, **keys):
        self.gateway_config(**keys)
        self.tunnel = Tunnel(self.path("gateway.sock"))
        return self.start_gateway()

    def url(self, path="", share=ID):
        return f"https://localhost:{self.base}/s/{share}/{path}"

    def curl(self, *argv, stdin=None, timeout=60):
        done = subprocess.run(["curl", "-sS", "--max-time", str(timeout - 5), "--cacert", self.path("server.pem"), "--resolve",
                               f"localhost:{self.base}:127.0.0.1", *argv], input=stdin, capture_output=True, timeout=timeout)
        return world.Said(["curl", *argv], done.returncode, done.stdout.decode("latin-1"), done.stderr.decode(errors="replace"))

    def status_of(self, url, *argv):
        """Status and Stile-Error."""
        out = self.curl("-o", "/dev/null", "-w", "%{http_code} %header{stile-error}", *argv, url).exits(0).out.split()
        return int(out[0]), out[1] if len(out) > 1 else ""

    def counted(self, name, label=None):
        for m in self.verb("gateway.metrics", {"text": True}, self.full)["text"].splitlines():
            if m.startswith(name) and (label is None or f'"{label}"' in m):
                return float(m.rsplit(" ", 1)[1])
        return 0.0
