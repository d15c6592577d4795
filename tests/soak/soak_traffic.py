# SPDX-License-Identifier: Apache-2.0
"""The traffic of a soak: for each service somebody who stays, somebody who comes and goes, and somebody who asks.

A kind is a function with the service that it is for and a period; it runs in a thread of its own until the end, and what it returns (or, if
it returns nothing, what it took) is its latency. What a kind keeps open between two rounds is in the dictionary that it gets, and is opened
anew after a failure. "bare" is the same echo without any service: what the machine and this program make of a round."""
import contextlib
import http.client
import os
import random
import socket
import struct
import subprocess
import threading
import time

import turn_client
from console_world import PASSWORD, Stream
from share_world import Told, fill, hkdf, secret_of, share
from sip_world import Failed, Ua, credentials
from soak_world import USERS
from world import STILE

KINDS = []
NO_LATENCY = -1.0  # of a round that waits for something
NOISE = os.urandom(20000)


def kind(service, period):
    def keep(fn):
        KINDS.append((fn.__name__, service, period, fn))
        return fn
    return keep


class Traffic:
    """latencies: kind → seconds since they were taken last; failures: kind → (when, in which words) of each."""

    def __init__(self, w):
        self.w, self.over, self.lock = w, threading.Event(), threading.Lock()
        self.latencies, self.rounds, self.failures, self.threads = {}, {}, {}, []

    def start(self):
        for name, _service, period, fn in KINDS:
            t = threading.Thread(target=self.again, args=(name, period, fn), daemon=True)
            self.threads.append(t)
            t.start()

    def again(self, name, period, fn):
        keep = {}
        self.over.wait(random.random() * min(period, 10))  # they do not march in step
        while not self.over.is_set():
            began = time.monotonic()
            try:
                took = fn(self.w, keep)
                with self.lock:
                    if took != NO_LATENCY:
                        self.latencies.setdefault(name, []).append(took if took is not None else time.monotonic() - began)
                    self.rounds[name] = self.rounds.get(name, 0) + 1
            except Exception as e:  # pylint: disable=broad-except
                self.let_go(keep)
                if self.over.is_set():
                    break
                with self.lock:
                    self.failures.setdefault(name, []).append((time.time(), f"{type(e).__name__}: {e}"))
                self.over.wait(2)
            self.over.wait(max(0.0, period - (time.monotonic() - began)))
        self.let_go(keep)

    def let_go(self, keep):
        for value in keep.values():
            for close in ("stop", "close"):
                if hasattr(value, close):
                    with contextlib.suppress(Exception):
                        getattr(value, close)()
                    break
        keep.clear()

    def take(self):
        """The latencies since the last time."""
        with self.lock:
            taken, self.latencies = self.latencies, {}
        return taken

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(90)
        if any(t.is_alive() for t in self.threads):
            raise Failed("    a client hangs at the end")


def tcp(port):
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def exchange(s, data):
    """Said, heard back, compared; the time."""
    began = time.monotonic()
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        part = s.recv(65536)
        if not part:
            raise Failed("the connection ended")
        got += part
    if got != data:
        raise Failed("other bytes came back")
    return time.monotonic() - began


def kept_tcp(keep, port):
    if "s" not in keep:
        keep["s"] = tcp(port)
    return exchange(keep["s"], NOISE[:1000])


def one_tcp(port):
    """A connection that comes, says 20 kB and goes: from the connect to the last byte."""
    began = time.monotonic()
    with tcp(port) as s:
        exchange(s, NOISE)
    return time.monotonic() - began


def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.1", port))
    return s


def datagram(s, tries=4):
    """One there and back. A lost datagram is said again, for nobody promised it; four in a row are a failure."""
    said = os.urandom(160)
    for _ in range(tries):
        began = time.monotonic()
        s.send(said)
        s.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while s.recv(2000) != said:
                pass
            return time.monotonic() - began
    raise Failed("four datagrams in a row were lost")


@kind("bare", 1)
def bare_echo(w, keep):
    keep.setdefault("s", udp(w.base + 31))
    return datagram(keep["s"])


# ---- stile-turn ----

class Framed:
    """A stream with the face of a datagram socket: recv() gives one STUN message or ChannelData."""

    type = socket.SOCK_DGRAM

    def __init__(self, stream):
        self.stream, self.buffer = stream, b""
        stream.settimeout(10)

    def send(self, data):
        self.stream.sendall(data + b"\0" * (-len(data) % 4))

    def recv(self, _most):
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack_from("!H", self.buffer, 2)[0]
                n = 4 + size + (-size % 4) if self.buffer[0] & 0xc0 else 20 + size
                if len(self.buffer) >= n:
                    message, self.buffer = self.buffer[:n], self.buffer[n:]
                    return message
            part = self.stream.recv(65536)
            if not part:
                raise Failed("the server closed the connection")
            self.buffer += part

    def settimeout(self, seconds):
        self.stream.settimeout(seconds)

    def close(self):
        self.stream.close()


def turn(w, transport):
    """A client with an allocation and a channel to the echo."""
    c = turn_client.Client(w.base + 1, "alice", "wonderland")
    c.close = c.socket.close
    if transport != "udp":
        c.socket.close()
        stream = tcp(w.base + (1 if transport == "tcp" else 2))
        c.socket = Framed(w.trust().wrap_socket(stream, server_hostname="localhost") if transport == "tls" else stream)
        c.close = c.socket.close
    try:
        for answer in (c.allocate(), c.permit("127.0.0.1"), c.bind(0x4000, "127.0.0.1", w.base + 31)):
            if answer:
                raise Failed(f"stile-turn answers {answer}")
    except BaseException:
        c.close()
        raise
    c.since = time.monotonic()
    return c


def over_channel(c):
    said = os.urandom(160)
    for _ in range(4):
        began = time.monotonic()
        c.send_channel(0x4000, said)
        with contextlib.suppress(TimeoutError):
            while c.socket.recv(2048)[4:] != said:
                pass
            return time.monotonic() - began
    raise Failed("four packets in a row were lost")


def stays(w, keep, transport):
    """An allocation for as long as it lasts: a packet a round, refreshed as clients do."""
    if "c" not in keep:
        keep["c"] = turn(w, transport)
    c = keep["c"]
    if time.monotonic() - c.since > 200:
        c.since = time.monotonic()
        if c.refresh(600) or c.permit("127.0.0.1") or c.bind(0x4000, "127.0.0.1", w.base + 31):
            raise Failed("a refresh is refused")
    return over_channel(c)


@kind("stile-turn", 0.5)
def turn_packet_udp(w, keep):
    return stays(w, keep, "udp")


@kind("stile-turn", 1)
def turn_packet_tcp(w, keep):
    return stays(w, keep, "tcp")


@kind("stile-turn", 1)
def turn_packet_tls(w, keep):
    return stays(w, keep, "tls")


@kind("stile-turn", 1)
def turn_session(w, _keep):
    """Comes, relays, goes: over each transport in turn; some go without a word."""
    c = turn(w, random.choice(("udp", "udp", "tcp", "tls")))
    try:
        over_channel(c)
        if random.random() < 0.9 and c.refresh(0):
            raise Failed("a refresh to nothing is refused")
    finally:
        c.close()


@kind("stile-turn", 60)
def turn_dtls(w, _keep):
    """What Python does not speak the tool does."""
    argv = [STILE, "bench", "turn", "localhost", "-t", "dtls", "-p", str(w.base + 2), "-n", "2", "-r", "50", "-T", "2s", "-u", "alice"]
    subprocess.run([*argv, "--password", "wonderland", "--runtime-dir", w.path("run"), "--json"], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=60, check=True)
    return NO_LATENCY


# ---- stile-tunnel, its agents, the relay ----

@kind("stile-tunnel", 0.5)
def job_kept(w, keep):
    return kept_tcp(keep, w.base + 10)


@kind("stile-tunnel", 1)
def job_connection(w, _keep):
    return one_tcp(w.base + 10)


@kind("stile-tunnel", 2)
def job_plain(w, _keep):
    return one_tcp(w.base + 11)


@kind("stile-tunnel", 1)
def job_udp(w, keep):
    if "n" not in keep or keep["n"] > 100:
        if "s" in keep:
            keep.pop("s").close()
        keep.update(s=udp(w.base + 12), n=0)  # another flow
    keep["n"] += 1
    return datagram(keep["s"])


@kind("stile-agent", 0.5)
def direct_kept(w, keep):
    return kept_tcp(keep, w.base + 13)


@kind("stile-agent", 1)
def direct_connection(w, _keep):
    return one_tcp(w.base + 13)


@kind("relay", 0.5)
def relay_kept(w, keep):
    return kept_tcp(keep, w.base + 14)


@kind("relay", 0.5)
def relay_connection(w, _keep):
    return one_tcp(w.base + 14)


@kind("relay", 1)
def relay_udp(w, keep):
    keep.setdefault("s", udp(w.base + 15))
    return datagram(keep["s"])


# ---- stile-sip ----

def phone(w, transport):
    port = w.base + (4 if transport == "tls" else 3)
    return Ua(transport, ("127.0.0.1", port), context=w.trust() if transport == "tls" else None, name="uc.test")


def register(ua, user, expires=300):
    me = f"sip:{user}@uc.test"
    more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", "Contact": f"<sip:{user}@{ua.place()};transport={ua.transport}>;expires={expires}"}
    m = ua.ask("REGISTER", "sip:uc.test", **more)
    if m.status == 401:
        proof = credentials(m.all("WWW-Authenticate")[0], user, "hush", "REGISTER", "sip:uc.test")
        m = ua.ask("REGISTER", "sip:uc.test", Authorization=proof, **more)
    if m.status != 200:
        raise Failed(f"REGISTER of {user}: {m.start}")


def kept_pair(w, keep, user):
    """A user who stays registered, and a server of the LAN."""
    if "phone" not in keep:
        keep["phone"] = phone(w, random.choice(("tcp", "tls")))
        keep["lan"] = Ua("udp", ("127.0.0.1", w.base + 5))
        keep["since"] = -1e9
    if time.monotonic() - keep["since"] > 120:
        register(keep["phone"], user)
        keep["since"] = time.monotonic()
    return keep["phone"], keep["lan"]


@kind("stile-sip", 1)
def sip_register(w, _keep):
    """Comes and goes, over each transport."""
    with phone(w, random.choice(("udp", "tcp", "tls"))) as ua:
        user = random.choice(USERS[2:])
        began = time.monotonic()
        register(ua, user)
        took = time.monotonic() - began
        register(ua, user, 0)
    return took


def heard(ua, method):
    """The next request of this method; what was said twice meanwhile is passed over."""
    for _ in range(10):
        m = ua.next(20)
        if m and m.method == method:
            return m
        if not m:
            break
    raise Failed(f"no {method} came")


@kind("stile-sip", 2)
def sip_call(w, keep):
    """INVITE, 180, 200, ACK, BYE, 200; the latency is that from INVITE to 200."""
    bob, alice = kept_pair(w, keep, "u0")
    began = time.monotonic()
    invite = alice.request("INVITE", "sip:u0@uc.test", body="v=0\r\n")
    mine = {n: v for n, v in (line.split(": ", 1) for line in invite.decode().split("\r\n\r\n")[0].split("\r\n")[1:])}
    alice.raw(invite)
    m = heard(bob, "INVITE")
    bob.reply(m, 180, "Ringing")
    contact = f"sip:u0@{bob.place()};transport={bob.transport}"
    bob.reply(m, 200, headers=[f"Contact: <{contact}>"])
    ok = alice.final(mine["Call-ID"])
    took = time.monotonic() - began
    if ok.status != 200:
        raise Failed(f"INVITE: {ok.start}")
    dialog = {"From": mine["From"], "To": ok.get("To"), "Call-ID": mine["Call-ID"]}
    route = [f"Route: {v}" for v in reversed(ok.all("Record-Route"))]
    alice.raw(alice.request("ACK", contact, route, CSeq="1 ACK", **dialog))
    heard(bob, "ACK")
    alice.raw(alice.request("BYE", contact, route, CSeq="2 BYE", **dialog))
    bob.reply(heard(bob, "BYE"), 200)
    if alice.final(mine["Call-ID"]).status != 200:
        raise Failed("BYE was refused")
    return took


@kind("stile-sip", 1)
def sip_message(w, keep):
    """To a user of ours and to another domain, in turn."""
    bob, alice = kept_pair(w, keep, "u1")
    keep["odd"] = not keep.get("odd")
    began = time.monotonic()
    if keep["odd"]:
        m = alice.ask("MESSAGE", "sip:x@out.test", body="hello")
    else:
        data = alice.request("MESSAGE", "sip:u1@uc.test", body="hello")
        alice.raw(data)
        bob.reply(heard(bob, "MESSAGE"), 200)
        m = alice.final(data.decode().split("Call-ID: ")[1].split("\r\n")[0])
    if m.status != 200:
        raise Failed(f"MESSAGE: {m.start}")
    return time.monotonic() - began


# ---- stile-gateway and sharing ----

def shared(w, keep):
    """A share that is renewed every few minutes, with a file of 200 kB."""
    if "share" in keep and time.monotonic() - keep["since"] > 300:
        keep.pop("share").stop()
    if "share" not in keep:
        keep["share"], keep["since"] = share(w, fill(w.path("out/a.bin"), 200000)), time.monotonic()
    return keep["share"]


@kind("stile-gateway", 3)
def gateway_download(w, keep):
    s = shared(w, keep)
    c = http.client.HTTPSConnection("localhost", w.base + 8, timeout=30, context=w.trust())
    token = {"Stile-Token": hkdf(secret_of(s.code), b"stile share 1 token", 16).hex()}
    began = time.monotonic()
    try:
        for path, size in (("meta", None), ("e/0", 200064)):
            c.request("GET", f"/s/{s.id}/{path}", headers=token)
            r = c.getresponse()
            body = r.read()
            if r.status != 200 or (size and len(body) != size):
                raise Failed(f"GET {path}: {r.status}, {len(body)} bytes")
    finally:
        c.close()
    return time.monotonic() - began


@kind("stile-gateway", 60)
def share_and_get(w, _keep):
    """stile share at one agent, stile get at the other one."""
    with share(w, fill(w.path("out/b.bin"), 200000)) as s:
        began = time.monotonic()
        with Told(w, "get", s.code, w.path("got"), "--instance", "home") as g:
            g.ends(0)
        took = time.monotonic() - began
    for name in os.listdir(w.path("got")) if os.path.isdir(w.path("got")) else []:
        os.unlink(w.path(f"got/{name}"))
    return took


# ---- stile-console ----

VERBS = (("turn", "turn.status"), ("turn", "turn.sessions"), ("tunnel", "tunnel.agents"), ("tunnel", "relay.connections"),
         ("sip", "sip.user.list"), ("sip", "sip.status"), ("gateway", "gateway.status"), ("agent@site", "agent.status"))


@kind("stile-console", 1)
def console_request(w, _keep):
    service, verb = random.choice(VERBS)
    w.admin.post(f"/api/v1/services/{service}/verbs/{verb}").is_(200)


@kind("stile-console", 15)
def console_metrics(w, _keep):
    c = http.client.HTTPConnection("127.0.0.1", w.base + 7, timeout=30)
    try:
        c.request("GET", "/metrics")
        if c.getresponse().read().count(b"\n") < 100:
            raise Failed("/metrics is short")
    finally:
        c.close()


@kind("stile-console", 60)
def console_login(w, _keep):
    c = w.client_of_console()
    c.login("alice", PASSWORD).is_(200)
    c.post("/api/v1/logout").is_(200)


def viewer(w, keep):
    """A page that is open for ten minutes; a round is its next event."""
    if "stream" in keep and time.monotonic() - keep["since"] > 600:
        keep.pop("stream").close()
    if "stream" not in keep:
        keep["stream"], keep["since"] = Stream(w.admin, "console:services,console:load,console:system,turn:*,sip:*"), time.monotonic()
    if not keep["stream"].next():
        raise Failed("the stream ended")
    return NO_LATENCY


@kind("viewers", 0)
def console_viewer_one(w, keep):
    return viewer(w, keep)


@kind("viewers", 0)
def console_viewer_two(w, keep):
    return viewer(w, keep)


# ---- the administrator ----

@kind("all", 300)
def reloads(w, _keep):
    for s in w.servers:
        w.verb("service.reload", full=s.full)

