# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/netns/tunnel.py in which something is taken away: processes, addresses, connections, the line. What must not be
lost is compared byte by byte; what is lost must be said at once and not hang."""
import contextlib
import socket
import threading
import time

from lab import Failed
from tunnel_lab import SERVER, wait_for
from tunnel_site import ECHO, Crowd, browse, case, download, site, talk, targets, upload, wait_answer

MB = 1 << 20
BACK_S = 10  # the issue's
FOUND_S = 15  # "within seconds": what a visitor would put up with


def opened(lab, n, port=ECHO):
    """So many connections, each of which has had an answer."""
    sockets = []
    for i in range(n):
        s = lab.connect(port)
        s.sendall(i.to_bytes(2, "big"))
        sockets.append(s)
    for i, s in enumerate(sockets):
        if s.recv(2, socket.MSG_WAITALL) != i.to_bytes(2, "big"):
            raise Failed(f"connection {i} of {n} was not answered")
    return sockets


def all_ended(sockets, seconds=20):
    """Each has ended, closed or reset; none hangs."""
    deadline, how = time.monotonic() + seconds, {"closed": 0, "reset": 0}
    for s in sockets:
        s.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            while s.recv(65536):
                pass
            how["closed"] += 1
        except ConnectionError:
            how["reset"] += 1
        except TimeoutError:
            raise Failed(f"a connection still hangs after {seconds} s; {how}") from None
        finally:
            s.close()
    return how


def links(server):
    """The control connections that are connected now."""
    return [r for r in server.verb("tunnel.links")["rows"] if r["state"] == "connected"]


@case("killed and started again, server and agent have their jobs back within 10 s", short=True)
def _(lab):
    targets(lab, sizes=(100,))
    server, agent = site(lab)
    notes = []
    for service in (server, agent, agent, server):
        sockets = opened(lab, 5)
        service.kill()
        began = time.monotonic()
        service.start()
        wait_answer(lab)
        took = time.monotonic() - began
        notes.append(f"{service.name} {took:.1f} s")
        if took > BACK_S:
            raise Failed(f"{service.name} was back after {took:.1f} s")
        all_ended(sockets)
    return ", ".join(notes)


@case("a server restarted under 200 active connections: all end at once, and as many new ones work")
def _(lab):
    targets(lab, sizes=(100,))
    server, agent = site(lab)
    target = lab.targets[0]
    base = agent.process.descriptors()
    notes = []
    for end in (server.kill, server.stop):
        sockets = opened(lab, 200)
        end()
        how = all_ended(sockets)
        began = time.monotonic()
        server.start()
        wait_answer(lab)
        notes.append(f"{end.__name__}: {how}, back in {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        wait_for("the targets' connections of the old server are closed", lambda: len(target.open) <= 1)
        notes.append(f"targets told after {time.monotonic() - began:.1f} s")
        for s in opened(lab, 200):
            s.close()
        wait_for("the new connections have ended at the target", lambda: len(target.open) == 0)
    began = time.monotonic()
    wait_for(f"the agent's descriptors are about what they were ({base})", lambda: agent.process.descriptors() <= base + 64, 90)
    notes.append(f"descriptors given back after {time.monotonic() - began:.1f} s")
    return "; ".join(notes)


def in_transfer(lab, harm, times=1, size=None):
    """Downloads, uploads, an interactive stream and files while harm() is done so often in the middle of a download, which waits
    for it (so the line is full), and beside which an upload goes on."""
    size = size or (32 if lab.full else 12) * MB
    hashes = targets(lab)
    site_pair = site(lab)
    crowd = Crowd(lab)
    crowd.add(talk)
    marks = {size * (i + 1) // (times + 1): lambda i=i: harm(*site_pair, i) for i in range(times)}
    work = [crowd.add(download, size, marks), crowd.add(upload, size), crowd.add(browse, hashes, 1, 3, 8)]
    return site_pair, crowd.finish(150, work)


@case("an agent whose address changes in mid-transfer loses no byte", short=True)
def _(lab):
    pair, note = in_transfer(lab, lambda *_: lab.move_agent())
    if not links(pair[0]):
        raise Failed("the agent is not connected at the end")
    return note


@case("a carrier's NAT that gets another address in mid-transfer costs no byte")
def _(lab):
    return in_transfer(lab, lambda *_: lab.renumber())[1]


@case("connections of the tunnel that are killed in mid-transfer, at either end, cost no byte")
def _(lab):
    killed = []

    def kill(server, agent, i):
        del server, agent
        where = ("agent", "dst", SERVER) if i % 2 else ("internet", "sport", "=", ":7443")
        killed.append(wait_for("there is something to kill", lambda: lab.kill_connections(*where)))
    note = in_transfer(lab, kill, times=6)[1]
    return f"killed {killed}; {note}"


@case("a firewall that resets the tunnel's connections in mid-transfer costs no byte")
def _(lab):
    def reset(*_):
        lab.cut("provider", "reject with tcp reset", "meta l4proto tcp ip saddr 203.0.113.0/24")
        time.sleep(0.3)
        lab.mend("provider")
    return in_transfer(lab, reset, times=3)[1]


@case("a line that says nothing any more is found out within seconds at both ends, and goes on when it is back", short=True)
def _(lab):
    targets(lab, sizes=(100,))
    server, agent = site(lab)
    sockets = opened(lab, 10)
    time.sleep(1)  # the link is at rest
    lab.cut("provider")
    began = time.monotonic()
    wait_for("the agent knows that its server is gone", lambda: not connected(agent))
    by_agent = time.monotonic() - began
    wait_for("the server knows that its agent is gone", lambda: not links(server))
    by_server = time.monotonic() - began
    lab.mend("provider")
    back = wait_answer(lab)
    if max(by_agent, by_server) > FOUND_S:
        raise Failed(f"found out by the agent after {by_agent:.1f} s, by the server after {by_server:.1f} s")
    notes = f"found out after {by_agent:.1f} s (agent), {by_server:.1f} s (server), back {back:.1f} s after the line"
    for i, s in enumerate(sockets):  # they are within the 30 s that data connections survive
        s.settimeout(30)
        s.sendall(b"still")
        if s.recv(5, socket.MSG_WAITALL) != b"still":
            raise Failed(f"connection {i} did not survive: {notes}")
        s.close()
    return notes


def connected(agent):
    return any(s["state"] == "connected" for s in agent.verb("agent.status")["servers"])


@case("data connections whose line stays away end when their time is over, with a word in the log")
def _(lab):
    targets(lab, sizes=(100,))
    server, agent = site(lab, server_more="  resume: 5s\n")
    sockets = opened(lab, 5)
    lab.cut("provider")
    how = all_ended(sockets, 60)
    wait_for("the target's connections end", lambda: not lab.targets[0].open)
    lab.mend("provider")
    wait_answer(lab)
    for service, words in ((server, "tunnel.data.lost"), (agent, "agent.connection.lost")):
        wait_for(f"{service.name}'s log says {words}", lambda s=service, w=words: w in s.logged())
    return str(how)


@case("a line that comes and goes all the time costs no byte", line={"delay": 10, "rate": 100, "queue": 500000, "loss": 0.5})
def _(lab):
    over = threading.Event()

    def shake():
        while not over.wait(2.5):
            with contextlib.suppress(Failed, OSError):
                lab.cut("provider", match="meta l4proto tcp")
                over.wait(1.5)
                lab.mend("provider")
    shaker = threading.Thread(target=shake)

    def begin(*_):
        shaker.start()
    try:
        return in_transfer(lab, begin, size=(24 if lab.full else 8) * MB)[1]
    finally:
        over.set()
        if shaker.is_alive():
            shaker.join()
