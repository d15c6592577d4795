# SPDX-License-Identifier: Apache-2.0
"""A tunnel server in the middle: it has a key that the agents trust, lets them in, and does with what they say to each other as a test
wants. Only as much of tunnel/link/wire.h as that takes.

    with FalseServer(w, ["site", "home"]) as s:        # both are configured with s.address
        s.passes = lambda sender, body: [(sender, body)]   # what the other one is told, for each word: (who says it, bytes)"""
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

HELLO, WELCOME, PING, PONG, SIGNAL, RELAY = 1, 2, 0x10, 0x11, 0x20, 0x22


def field(number, value):
    return struct.pack(">HH", number, len(value)) + value


def frame(kind, payload):
    return struct.pack(">I", kind << 24 | len(payload)) + payload


def fields_of(payload):
    at, found = 0, {}
    while at < len(payload):
        number, n = struct.unpack_from(">HH", payload, at)
        found[number] = payload[at + 4:at + 4 + n]
        at += 4 + n
    return found


def openssl(*argv, **more):
    return subprocess.run(["openssl", *argv], check=True, capture_output=True, **more).stdout


def hash_of_key(*where, **more):
    """SHA-256 of the SubjectPublicKeyInfo of a certificate; where, more: how openssl gets at it."""
    key = openssl("x509", *where, "-noout", "-pubkey", **more)
    return openssl("dgst", "-sha256", "-binary", input=openssl("pkey", "-pubin", "-outform", "DER", input=key))


class FalseServer:
    def __init__(self, w, agents, port):
        self.w, self.agents, self.port = w, agents, port
        self.folder = w.path("false-server")
        os.makedirs(self.folder)
        self.make_keys()
        self.address = f'"127.0.0.1:{port}#sha256:{hash_of_key("-in", self.at("root.pem")).hex()}"'
        self.passes = lambda sender, body: [(sender, body)]
        self.links, self.heard = {}, []  # agent → TLS connection; (agent, body) of each word
        self.relays_wanted = []  # agents, in the order in which they asked; none gets one
        self.lock = threading.Lock()

    def at(self, name):
        return os.path.join(self.folder, name)

    def make_keys(self):
        for name in ("root", "link"):
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.at(f"{name}.key"))
        openssl("req", "-x509", "-new", "-key", self.at("root.key"), "-subj", "/CN=root", "-days", "30", "-out", self.at("root.pem"))
        openssl("req", "-new", "-key", self.at("link.key"), "-subj", "/CN=link", "-out", self.at("link.csr"))
        openssl("x509", "-req", "-in", self.at("link.csr"), "-CA", self.at("root.pem"), "-CAkey", self.at("root.key"), "-CAcreateserial",
                "-days", "30", "-out", self.at("link.pem"))
        with open(self.at("chain.pem"), "w") as f:
            for name in ("link", "root"):
                f.write(open(self.at(f"{name}.pem")).read())

    def start(self):
        """After the agents have made their keys."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.at("chain.pem"), self.at("link.key"))
        context.set_alpn_protocols(["stile-agent/1"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= 0x80000  # a certificate that is listed needs no issuer
        self.identity = {}
        for agent in self.agents:
            pem = os.path.join(self.w.path(f"store-{agent}"), f"stile-agent@{agent}", "agent-identity.pem")
            context.load_verify_locations(pem)
            self.identity[agent] = hash_of_key("-in", pem)
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for c in self.links.values():
            c.close()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            c = self.context.wrap_socket(plain, server_side=True)
            who = hash_of_key("-inform", "DER", input=c.getpeercert(True))
            agent = next(a for a, i in self.identity.items() if i == who)
            self.talk(c, agent)
        except (OSError, StopIteration, struct.error):
            plain.close()

    def receive(self, c, n):
        data = b""
        while len(data) < n:
            more = c.recv(n - len(data))
            if not more:
                raise OSError("the agent has gone")
            data += more
        return data

    def talk(self, c, agent):
        while True:
            head = struct.unpack(">I", self.receive(c, 4))[0]
            payload = self.receive(c, head & 0xffffff)
            kind = head >> 24
            if kind == HELLO:
                if fields_of(payload)[3] != b"\1":  # no carriers
                    return
                session = struct.pack(">Q", 1 + self.agents.index(agent))
                c.sendall(frame(WELCOME, field(1, b"\0\1") + field(2, struct.pack(">Q", 4)) + field(3, session) + field(4, agent.encode())))
                self.links[agent] = c
            elif kind == PING:
                with self.lock:  # two threads must not write over one TLS connection
                    c.sendall(frame(PONG, payload))
            elif kind == SIGNAL:
                self.word(agent, fields_of(payload))
            elif kind == RELAY:
                self.relays_wanted.append(agent)

    def word(self, agent, f):
        other = next((a for a in self.agents if self.identity[a] == f.get(1) or a.encode() == f.get(2)), None)
        self.heard.append((agent, f[4]))
        deadline = time.monotonic() + 10
        while other not in self.links and time.monotonic() < deadline:
            time.sleep(0.02)
        for sender, body in self.passes(agent, f[4]):
            self.say(other, sender, body)

    def say(self, to, sender, body):
        """A SIGNAL to an agent, as if sender (an agent, or 32 bytes) had said it."""
        identity = sender if isinstance(sender, bytes) else self.identity[sender]
        name = sender if isinstance(sender, str) else "somebody"
        self.send(to, SIGNAL, field(1, identity) + field(2, name.encode()) + field(4, body))

    def send(self, to, kind, payload):
        link = self.links.get(to)
        if link:
            with self.lock:
                link.sendall(frame(kind, payload))

    def relay(self, to, identity, call, session):
        self.send(to, RELAY, field(1, identity) + field(2, call) + field(3, struct.pack(">Q", session)))
