# SPDX-License-Identifier: Apache-2.0
"""Listeners that come and go while the server runs: what is added is served at once, what is removed drains,
and sessions that a reload does not name lose nothing."""
import os
import resource
import shutil
import socket
import sys
import time

from traffic import Traffic, wait_for
from turn_client import Client
from world import BIND_ALONE, NETNS, PATIENCE, TURN, Failed, Server, case, main, need_netns
from world import wait_for as until


def listen(w, *endpoints):
    return "[" + ", ".join(f'"{e}"' for e in endpoints) + "]"


def usual(w):
    return [f"udp:127.0.0.1:{w.port}", f"tcp:127.0.0.1:{w.port}", f"tls:127.0.0.1:{w.tls}", f"dtls:127.0.0.1:{w.tls}"]


def states(w):
    """{"udp:127.0.0.1:3478": (state, allocations)}"""
    return {f"{l['transport']}:{l['address']}": (l["state"], l["allocations"]) for l in w.verb("turn.status")["listeners"]}


def wait_gone(w, endpoint, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while endpoint in states(w):
        if time.monotonic() > deadline:
            raise Failed(f"    {endpoint} is still there: {states(w)}")
        time.sleep(0.1)


def expect_states(w, want):
    have = {e: s for e, (s, _) in states(w).items()}
    if have != want:
        raise Failed(f"    listeners are {have}\n    not           {want}")


def client(w, port):
    return Client(port, "alice", "wonderland")


def allocates(w, transport, port):
    w.stile("test", "turn", "127.0.0.1", "--server-name", "localhost", "-t", transport, "-p", str(port), "--tls-port", str(port), "-u", "alice", "--password",
            "wonderland", "--ca", w.path("server.pem"), "--packets", "4").exits(0)


def bindable(kind, port):
    with socket.socket(socket.AF_INET, kind) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@case("listeners that a reload adds are served at once, over udp, tcp, tls and dtls, by every worker")
def _(w):
    w.config(workers="3")
    w.start()
    p = w.port + 2
    more = [f"udp:127.0.0.1:{p}", f"tcp:127.0.0.1:{p}", f"tls:127.0.0.1:{p + 1}", f"dtls:127.0.0.1:{p + 1}"]
    w.config(workers="3", listen=listen(w, *usual(w), *more))
    w.ask("reload", "--dry-run").exits(0).says("would change:", f"listener udp:127.0.0.1:{p}", "added").never_says("restart")
    if len(states(w)) != 4 or not bindable(socket.SOCK_STREAM, p):
        raise Failed("    the dry run opened a listener")
    said = w.ask("reload").exits(0)
    for e in more:
        said.says(f"~listener {e} +added")
    said.never_says("restart")
    expect_states(w, {e: "listening" for e in usual(w) + more})
    w.logged("turn.listening", "transport=dtls", f"address=127.0.0.1:{p + 1}")
    w.logged("service.changed", f"listener tls:127.0.0.1:{p + 1}", "what=added")
    workers = set()
    for _ in range(60):
        with client(w, p) as c:
            if c.allocate() != 0:
                raise Failed("    no allocation on the new listener")
            workers |= {row["id"] & 0xff for row in w.verb("turn.sessions")["rows"]}
            c.refresh(0)
        if len(workers) == 3:
            break
    if workers != {0, 1, 2}:
        raise Failed(f"    only workers {workers} serve the new listener")
    for t, port in (("udp", p), ("tcp", p), ("tls", p + 1), ("dtls", p + 1)):
        allocates(w, t, port)


@case("removed listeners drain: traffic over all four transports loses nothing, and nothing new begins")
def _(w):
    w.config(workers="2")
    w.start()
    loads = [Traffic(w, t, 10) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    w.config(workers="2", listen=listen(w, f"udp:127.0.0.1:{w.port + 2}"))
    w.ask("reload", "--dry-run").exits(0).says(f"~listener udp:127.0.0.1:{w.port} +removed; drains 3 allocations")
    w.ask("reload").exits(0).says(f"~listener dtls:127.0.0.1:{w.tls} +removed; drains 3 allocations").never_says("restart")
    have = states(w)
    for e in usual(w):
        if have[e] != ("draining", 3):
            raise Failed(f"    {e} is {have[e]}")
    w.ask("status").exits(0).says("draining", f"tls:127.0.0.1:{w.tls} (3 allocations)")
    with client(w, w.port) as c:
        if c.allocate() != 508:
            raise Failed("    an Allocate to a removed listener is not told to go elsewhere")
    w.ask("turn", "why", "alice").exits(0).says("the listener was removed")
    for port in (w.port, w.tls):
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
            raise Failed(f"    the removed listener on tcp port {port} accepts")
        except ConnectionRefusedError:
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # a Binding, and a record of DTLS
        before = w.metric("stile_turn_drops_total", "listener_removed")
        s.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), ("127.0.0.1", w.port))
        s.sendto(b"\x16\xfe\xfd" + bytes(40), ("127.0.0.1", w.tls))
        s.settimeout(0.3)
        try:
            s.recv(100)
            raise Failed("    a stranger is answered by a removed listener")
        except TimeoutError:
            pass
        until("what was dropped is counted", lambda: w.metric("stile_turn_drops_total", "listener_removed") == before + 2)
    with client(w, w.port + 2) as c:
        if c.allocate() != 0:
            raise Failed("    the listener that stayed serves nobody")
        for load in loads:
            load.lost_nothing()
        for e in usual(w):
            wait_gone(w, e)
    expect_states(w, {f"udp:127.0.0.1:{w.port + 2}": "listening"})
    w.logged("turn.listener.closed", "transport=dtls")
    for kind, port in ((socket.SOCK_DGRAM, w.port), (socket.SOCK_DGRAM, w.tls), (socket.SOCK_STREAM, w.tls)):
        until(f"port {port} is free again", lambda: bindable(kind, port))


@case("a listener that is removed and added again while it drains comes back to life")
def _(w):
    w.config(workers="2")
    w.start()
    loads = [Traffic(w, t, 15) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    for _ in range(3):
        w.config(workers="2", listen=listen(w, f"udp:127.0.0.1:{w.port + 2}"))
        w.ask("reload").exits(0)
        time.sleep(0.3)
        w.config(workers="2")
        said = w.ask("reload").exits(0)
        said.says(f"~listener udp:127.0.0.1:{w.port} +back")
        time.sleep(0.3)
        with client(w, w.port) as c:
            if c.allocate() != 0:
                raise Failed("    it serves nobody")
            c.refresh(0)
    w.logged("turn.listener.back", "transport=udp")
    for t, port in (("udp", w.port), ("tcp", w.port), ("tls", w.tls), ("dtls", w.tls)):
        allocates(w, t, port)
    for load in loads:
        load.lost_nothing()
    wait_gone(w, f"udp:127.0.0.1:{w.port + 2}")
    expect_states(w, {e: "listening" for e in usual(w)})


@case("a listener's address changes between one and all of them, under traffic, and nothing is lost")
def _(w):
    w.config(workers="3")
    w.start()
    loads = [Traffic(w, t, 8) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    wild = [e.replace("127.0.0.1", "0.0.0.0") for e in usual(w)]
    for i in range(6):
        now = (wild, usual(w), wild + usual(w))[i % 3]
        w.config(workers="3", listen=listen(w, *now))
        w.ask("reload").exits(0).never_says("restart")
        for t, port in (("udp", w.port), ("tcp", w.port), ("tls", w.tls), ("dtls", w.tls)):
            allocates(w, t, port)
        if any(s == "draining" for e, (s, _) in states(w).items() if i % 3 == 0 and e.startswith(("udp", "dtls"))):
            raise Failed(f"    what 0.0.0.0 covers refuses clients: {states(w)}")
    for load in loads:
        load.lost_nothing()
    w.config(workers="3", listen=listen(w, *wild))
    w.ask("reload").exits(0)
    for e in usual(w):
        wait_gone(w, e)
    expect_states(w, {e: "listening" for e in wild})
    allocates(w, "udp", w.port)


@case("DTLS sessions that came by a listener on all addresses go on by the one that takes its place, when the first is gone")
def _(w):
    wild = f"dtls:0.0.0.0:{w.tls}"
    w.config(workers="2", listen=listen(w, wild))
    w.start()
    load = Traffic(w, "dtls", 8)
    wait_for(w, 3, [load])
    w.config(workers="2", listen=listen(w, f"dtls:127.0.0.1:{w.tls}"))
    w.ask("reload").exits(0)
    wait_gone(w, wild)
    if load.process.poll() is not None:
        raise Failed("    the traffic was over before the first listener was")
    load.lost_nothing()


@case("one address and all addresses may be listened on with one port, from the start or both from one reload")
def _(w):
    both = [f"{t}:{host}:{w.port + 2}" for t in ("udp", "tcp") for host in ("127.0.0.1", "0.0.0.0")]
    w.config(workers="2", tls=False, listen=listen(w, *both))
    w.start()
    for t in ("udp", "tcp"):
        w.stile("test", "turn", "127.0.0.1", "-t", t, "-p", str(w.port + 2), "-u", "alice", "--password", "wonderland",
                "--packets", "4").exits(0)
    more = [f"{t}:{host}:{w.port + 4}" for t in ("tcp", "udp") for host in ("0.0.0.0", "127.0.0.1")]
    w.config(workers="2", tls=False, listen=listen(w, *both, *more))
    w.ask("reload", "--dry-run").exits(0)
    w.ask("reload").exits(0)
    expect_states(w, {e: "listening" for e in both + more})


@case("a port that cannot be had leaves the old configuration at work, and is named in answer, status and log")
def _(w):
    w.config()
    w.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", w.port + 3))
        w.config(listen=listen(w, f"udp:127.0.0.1:{w.port + 2}", f"tcp:127.0.0.1:{w.port + 2}", f"udp:127.0.0.1:{w.port + 3}"),
                 limits="{ allocations: 7 }")
        why = f"cannot listen on udp:127.0.0.1:{w.port + 3}: Address already in use; another program has this port"
        w.ask("reload", "--dry-run").exits(1).says(why)
        w.ask("reload").exits(1).says(why, "the old configuration is at work")
        w.ask("status").exits(1).says("the last reload failed", why)
        w.logged("service.reload-failed", why)
        expect_states(w, {e: "listening" for e in usual(w)})
        if w.verb("turn.status")["allocations_limit"] == 7 or not bindable(socket.SOCK_STREAM, w.port + 2):
            raise Failed("    a reload that failed was applied in part")
        for t, port in (("udp", w.port), ("tls", w.tls)):
            allocates(w, t, port)
    w.ask("reload").exits(0).says(f"~listener udp:127.0.0.1:{w.port + 3} +added")
    w.ask("status").exits(0)


@case("without descriptors for its sockets a new listener is refused as a whole, and taken when there are some")
def _(w):
    w.config(workers="2")
    s = w.start()
    soft, hard = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
    before = w.verb("service.status")["descriptors"]
    w.config(workers="2", listen=listen(w, *usual(w), *[f"{t}:127.0.0.1:{w.port + i}" for i in (2, 3, 4, 5) for t in ("tcp", "udp")]),
             limits="{ allocations: 7 }")
    for spare in (9, 14, 20):  # before the first socket, in between, near the end
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (before + spare, hard))
        w.ask("reload").exits(1).says("cannot listen on", "Too many open files; raise LimitNOFILE", "the old configuration is at work")
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        expect_states(w, {e: "listening" for e in usual(w)})
        until("what was opened is closed", lambda: w.verb("service.status")["descriptors"] <= before)  # connections of before may end late
        if w.verb("turn.status")["allocations_limit"] == 7:
            raise Failed("    the limit was taken")
        for t, port in (("udp", w.port), ("tls", w.tls)):
            allocates(w, t, port)
    w.ask("reload").exits(0)
    allocates(w, "udp", w.port + 5)


@case("one address changes from udp to dtls and back, and from tcp to tls, while its sessions go on")
def _(w):
    w.config(workers="2")
    w.start()
    loads = [Traffic(w, t, 5) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    w.config(workers="2", listen=listen(w, f"dtls:127.0.0.1:{w.port}", f"tls:127.0.0.1:{w.port}", f"tcp:127.0.0.1:{w.tls}",
                                        f"udp:127.0.0.1:{w.tls}"))
    w.ask("reload").exits(0).says(f"~listener dtls:127.0.0.1:{w.port} +added", f"~listener udp:127.0.0.1:{w.port} +removed; drains 3")
    allocates(w, "dtls", w.port)
    allocates(w, "tls", w.port)
    allocates(w, "udp", w.tls)
    allocates(w, "tcp", w.tls)
    with client(w, w.port) as c:
        if c.allocate() != 508:
            raise Failed("    udp is served where dtls is now")
    w.config(workers="2")
    w.ask("reload").exits(0)
    for t, port in (("udp", w.port), ("tcp", w.port), ("tls", w.tls), ("dtls", w.tls)):
        allocates(w, t, port)
    for load in loads:
        load.lost_nothing()


@case("the first tls listener comes with a reload; without a certificate it is an error")
def _(w):
    w.config(tls=False)
    w.start()
    w.config(tls=False, listen=listen(w, *usual(w)))
    w.ask("reload").exits(1).says("needs turn.certificate and turn.key", "the old configuration is at work")
    w.config()
    w.ask("reload").exits(0).says(f"~listener tls:127.0.0.1:{w.tls} +added")
    for t, port in (("tls", w.tls), ("dtls", w.tls), ("udp", w.port)):
        allocates(w, t, port)
    loads = [Traffic(w, t, 4) for t in ("tls", "dtls")]
    wait_for(w, 6)
    w.config(tls=False)  # neither listener nor certificate any more
    w.ask("reload").exits(0)
    for load in loads:
        load.lost_nothing()


@case("NAT behaviour discovery begins and ends with the listeners that it takes")
def _(w):
    def other_address():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE)
            s.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(range(12)), ("127.0.0.1", w.port))
            return b"\x80\x2c\0\x08" in s.recv(500)

    four = [f"udp:127.0.0.{i}:{p}" for i in (1, 2) for p in (w.port, w.port + 2)]
    w.config(workers="2", tls=False)
    w.start()
    if other_address():
        raise Failed("    discovery with one address")
    for _ in range(3):
        w.config(workers="2", tls=False, listen=listen(w, *four))
        w.ask("reload").exits(0)
        if not other_address():
            raise Failed("    no discovery with two addresses and two ports")
        w.config(workers="2", tls=False)
        w.ask("reload").exits(0)
        if other_address():
            raise Failed("    discovery is still offered")
    w.logged("turn.discovery ", "other=127.0.0.2")
    w.logged("turn.discovery.none")


def user_server(w, prefix):
    """As a plain user in a network namespace of the server's own; the build folder may be closed to him."""
    need_netns()
    os.chmod(w.folder, 0o755)
    w.config(log="{ level: debug }", tls=False, relay="{ addresses: [127.0.0.1] }")
    os.chmod(w.path("stile.yaml"), 0o644)
    for name in ("run", "store"):
        os.mkdir(w.path(name), 0o755)
        os.chown(w.path(name), 61234, 61234)
    shutil.copy(TURN, w.folder)
    s = Server(w, [w.path("stile-turn"), "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run")], prefix=[*NETNS, *prefix])
    w.servers.append(s)
    s.wait_ready()
    w.config(log="{ level: debug }", tls=False, relay="{ addresses: [127.0.0.1] }",
             listen=listen(w, f"udp:127.0.0.1:{w.port}", "tcp:127.0.0.1:443", "udp:127.0.0.1:443"))
    os.chmod(w.path("stile.yaml"), 0o644)
    return s


def serves_443(w, s):
    for t in ("udp", "tcp"):
        w.stile("test", "turn", "127.0.0.1", "-t", t, "-p", "443", "-u", "alice", "--password", "wonderland", "--packets", "4",
                prefix=["nsenter", "-t", str(s.process.pid), "-n"]).exits(0)


@case("a server that was started as root and became another user opens port 443 at a reload; its workers could not")
def _(w):
    need_netns()
    os.chmod(w.folder, 0o755)
    w.config(tls=False, workers="2", relay="{ addresses: [127.0.0.1] }")
    os.chmod(w.path("stile.yaml"), 0o644)
    s = w.start("stile.yaml", "--user", "nobody", prefix=NETNS)
    w.config(tls=False, workers="2", relay="{ addresses: [127.0.0.1] }",
             listen=listen(w, f"udp:127.0.0.1:{w.port}", "tcp:127.0.0.1:443", "udp:127.0.0.1:443"))
    os.chmod(w.path("stile.yaml"), 0o644)
    w.ask("reload", "--dry-run").exits(0).says("~listener udp:127.0.0.1:443 +added")
    w.ask("reload").exits(0).says("~listener tcp:127.0.0.1:443 +added")
    serves_443(w, s)
    w.config(tls=False, workers="2", relay="{ addresses: [127.0.0.1] }", listen=listen(w, "udp:0.0.0.0:443", "udp:127.0.0.1:443"))
    os.chmod(w.path("stile.yaml"), 0o644)
    w.ask("reload").exits(0).says("~listener udp:0.0.0.0:443 +added")  # beside a socket of its own
    for task in os.listdir(f"/proc/{s.process.pid}/task"):
        with open(f"/proc/{s.process.pid}/task/{task}/status", encoding="utf-8") as f:
            have = next(line.split()[1] for line in f if line.startswith("CapEff:"))
        if have != (BIND_ALONE if int(task) == s.process.pid else "0" * 16):
            raise Failed(f"    thread {task} of {s.process.pid} has the capabilities {have}")


@case("a plain user's server opens port 443 at a reload if it was given that right at its start")
def _(w):
    s = user_server(w, ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "--inh-caps=+net_bind_service",
                        "--ambient-caps=+net_bind_service", "--"])
    w.ask("reload").exits(0).says("~listener tcp:127.0.0.1:443 +added")
    serves_443(w, s)


@case("without that right the reload fails as a whole, and says what to do")
def _(w):
    user_server(w, ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "--"])
    why = "cannot listen on tcp:127.0.0.1:443: Permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
    w.ask("reload", "--dry-run").exits(1).says(why, "AmbientCapabilities=CAP_NET_BIND_SERVICE")
    w.ask("reload").exits(1).says(why, "AmbientCapabilities=CAP_NET_BIND_SERVICE")
    expect_states(w, {f"{t}:127.0.0.1:{w.port}": "listening" for t in ("udp", "tcp")})


@case("a TCP allocation gets no port that anything of this user listens on, be it a listener or another program")
def _(w):
    mine, foreign = w.base + 10, w.base + 11
    w.config(tls=False, relay=f"{{ addresses: [127.0.0.1], ports: {mine}-{foreign} }}",
             listen=listen(w, f"udp:127.0.0.1:{w.port}", f"tcp:127.0.0.1:{w.port}", f"tcp:0.0.0.0:{mine}"))
    w.start()
    with socket.socket() as other, Client(w.port, "alice", "wonderland", kind=socket.SOCK_STREAM) as c:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as services do that come and go by reloads
        other.bind(("0.0.0.0", foreign))
        other.listen()
        code = c.allocate(socket.IPPROTO_TCP)
        if code != 508:
            raise Failed(f"    the answer is {code}, not 508: it listens on a port that somebody has")
        other.close()
        if c.allocate(socket.IPPROTO_TCP) != 0:
            raise Failed("    the port that is free again is refused")


if __name__ == "__main__":
    sys.exit(main(21000))
