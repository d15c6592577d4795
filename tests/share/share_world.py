# SPDX-License-Identifier: Apache-2.0
"""What the cases of sharing have in common: the world of tests/tunnel, and in it programs of stile share and stile get that run on,
with what they say as JSON lines."""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
from tunnel_world import BUILD, PATIENCE, Failed, Target, case, connect, echo, main, need_root, wait_for  # noqa: E402, F401
import world  # noqa: E402
sys.path.insert(0, os.path.join(HERE, "..", "sip"))
from sip_world import Ua, credentials  # noqa: E402, F401



class Told:
    """A command of the tool that runs on and prints JSON lines."""

    def __init__(self, w, *argv, runtime="run", env=None, prefix=(), program=world.STILE):
        self.lines, self.errors = [], []
        self.p = subprocess.Popen([*prefix, program, *argv, "--json", "--runtime-dir", w.path(runtime)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, env=dict(os.environ, **(env or {})))
        self.threads = [threading.Thread(target=self.read, daemon=True), threading.Thread(target=self.read_errors, daemon=True)]
        for t in self.threads:
            t.start()

    def read(self):
        for line in self.p.stdout:
            self.lines.append(json.loads(line))

    def read_errors(self):
        for line in self.p.stderr:
            self.errors.append(line)

    def event(self, event, seconds=PATIENCE, **values):
        def look():
            for row in self.lines:
                if row["event"] == event and all(row.get(k) == v for k, v in values.items()):
                    return row
            if self.p.poll() is not None and not self.threads[0].is_alive():
                raise Failed(f"    it ended with {self.p.returncode} before {event}: {self.lines} {''.join(self.errors)}")
            return None
        return wait_for(f"it says {event} {values or ''}", look, seconds)

    def ends(self, code, seconds=PATIENCE * 2):
        try:
            self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"    it does not end: {self.lines[-3:]} {''.join(self.errors)}") from None
        for t in self.threads:
            t.join(10)
        if self.p.returncode != code or world.SANITIZER.search("".join(self.errors)):
            raise Failed(f"    it ended with {self.p.returncode}, not {code}: {self.lines[-3:]} {''.join(self.errors)}")
        return self

    def stop(self, sig=signal.SIGTERM):
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def share(w, *argv, agent="site"):
    """Runs; .code, .link, .id, .token, .http(…)."""
    t = Told(w, "share", *argv, "--instance", agent)
    try:
        ready = t.event("ready")
    except BaseException:
        t.stop()
        raise
    t.code, t.link, t.id = ready["code"], ready["link"], ready["id"]
    return t


def get(w, code, *argv, agent="home", **more):
    return Told(w, "get", code, *argv, "--instance", agent, **more)


def own_address():
    """Of the way to the outside, as the share finds it; loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return s.getsockname()[0]


def sha(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for part in iter(lambda: f.read(1 << 20), b""):
            h.update(part)
    return h.hexdigest()


def fill(path, size, seed=b"x"):
    """A file that is nowhere the same."""
    h = hashlib.shake_128(seed)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        block = h.digest(min(size, 1 << 20)) if size else b""
        left = size
        n = 0
        while left > 0:
            part = bytearray(block[:left])
            part[:8] = n.to_bytes(8, "big")[:len(part)]
            f.write(part)
            left -= len(part)
            n += 1
    return path


def same(a, b):
    if sha(a) != sha(b):
        raise Failed(f"    {a} and {b} are not the same")


def two_agents(w, server=None, **keys):
    w.server(**(server or {}))
    for name in ("site", "home"):
        w.agent(name, **keys)
        w.connected(name)


# ---- the share's own HTTP server, as a stranger speaks to it ----

A = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def hkdf(secret, info, n):
    import hmac
    prk = hmac.new(b"\0" * 32, secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\1", hashlib.sha256).digest()[:n]


def secret_of(code):
    v = 0
    for c in code.split("@")[0].replace("-", ""):
        v = v << 5 | A.index(c)
    return (v >> 12).to_bytes(16, "big")


def port_of(w, agent="site"):
    """Of the share's HTTP server, as its agent was told."""
    return w.agent_verb(agent, "agent.shares")["rows"][0]["port"]


def ask(port, head, body=b"", timeout=20):
    """The whole answer to these bytes: (status, fields, body)."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(head if isinstance(head, bytes) else head.encode())
        if body:
            s.sendall(body)
        data = b""
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    break
                data += part
        except (ConnectionResetError, socket.timeout):
            pass
    top, _, rest = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    fields = {k.lower(): v for k, _, v in (x.partition(": ") for x in lines[1:])}
    return (int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/") else 0), fields, rest


def request(t, method, path, fields=None, token=True, body=b""):
    lines = [f"{method} /s/{t.id}/{path} HTTP/1.1", "Host: x", "Connection: close"]
    if token:
        lines.append("Stile-Token: " + hkdf(secret_of(t.code), b"stile share 1 token", 16).hex())
    lines += [f"{k}: {v}" for k, v in (fields or {}).items()]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
