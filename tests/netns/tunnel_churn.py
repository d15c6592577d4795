# SPDX-License-Identifier: Apache-2.0
"""Churn of the tunnel: connections of all kinds and UDP flows come and go, jobs are added and deleted, carriers and control
connections are killed, configurations are read again; memory and descriptors of server and agent are at the end what they were
after the first moments. 20 s in ./check, half an hour in ./check all without a sanitizer, and a while under TSan."""
import contextlib
import os
import random
import socket
import struct
import threading
import time

from lab import Failed
from tunnel_lab import DEVICE, SERVER, http_get, wait_for
from tunnel_site import ECHO, HTTP, SINK, SOURCE, UDP, Crowd, case, datagram, download, job, site, targets, upload, wait_answer

RESET = struct.pack("ii", 1, 0)
PARTS, VISITORS = 4, 6
READY_MAX = 60  # carriers that may be ready at one time and not at another (tunnel/link/pool.h), and some
REFUSED, ADDED = 20099, 20200
NOISE = random.Random(3).randbytes(1 << 20)
# What ASan keeps looks like a leak until it is full; see tests/relay/churn.py.
ASAN_KEEPS_LITTLE = ":quarantine_size_mb=1:thread_local_quarantine_size_kb=32:malloc_context_size=5:detect_stack_use_after_return=0"


def exchange(crowd, r):
    data = NOISE[:r.randrange(1, r.choice((100, 20000, 1 << 20)))]
    got = bytearray()
    with crowd.lab.connect(ECHO) as s:
        sender = threading.Thread(target=send_and_end, args=(s, data))
        sender.start()
        while part := s.recv(1 << 16):
            got += part
        sender.join()
    if bytes(got) != data:
        raise Failed(f"{len(got)} bytes of {len(data)} came back, or other ones")


def send_and_end(s, data):
    with contextlib.suppress(OSError):
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)


def bulk(crowd, r):
    (download if r.random() < 0.5 else upload)(crowd, r.randrange(1 << 10, 3 << 20))


def cut_short(crowd, r):
    with contextlib.suppress(OSError), crowd.lab.connect(r.choice((SOURCE, SINK, ECHO))) as s:
        s.settimeout(0.2)
        s.sendall(b"100000000\n")
        s.recv(r.randrange(1, 100000))
        if r.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def refused(crowd, _):
    """Nothing listens at that job's target."""
    with contextlib.suppress(OSError), crowd.lab.connect(REFUSED) as s:
        s.settimeout(20)
        if s.recv(1):
            raise Failed("a target that is not there said something")


def lazy(crowd, r):
    with crowd.lab.connect(ECHO) as s:
        s.sendall(b"x")
        if s.recv(1) != b"x":
            raise Failed("one byte did not come back")
        crowd.over.wait(r.random())


def page(crowd, r):
    with crowd.lab.connect(HTTP) as s:
        for _ in range(r.randrange(1, 6)):
            if http_get(s, "f0")[1] != crowd.hashes[0]:
                raise Failed("nginx's file came with other bytes")


def flow(crowd, r):
    with crowd.lab.udp(UDP, timeout=1) as s:
        for _ in range(r.randrange(1, 5)):
            number = r.randrange(1 << 30)
            s.send(datagram(number, 100))
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                if (data := s.recv(2000)) != datagram(number, 100) and len(data) != 100:
                    raise Failed("a datagram came back damaged")


KINDS = (exchange, exchange, bulk, cut_short, refused, lazy, page, page, flow)


def visitor(crowd, seed, until):
    r = random.Random(seed)
    while time.monotonic() < until and not crowd.wrong:
        r.choice(KINDS)(crowd, r)
        crowd.count("visits")


def disturb(lab, server, agent, added, i):
    """What administrators and networks do; nothing of it may cost a byte. added: jobs that are there now."""
    what = i % 4
    if what == 0:
        lab.kill_connections("agent", "dst", SERVER)
    elif what == 1:
        agent.tool("reload", "agent")
        server.tool("reload", "tunnel")
    elif what == 2 or not added:
        port = ADDED + i % 100
        agent.tool("agent", "job", "add", str(port), DEVICE, "7")
        added.append(port)
        wait_answer(lab, port)
    else:
        agent.tool("agent", "job", "delete", str(added.pop()))


def churn(lab, server, agent, hashes, seconds, seed):
    crowd, until, added = Crowd(lab), time.monotonic() + seconds, []
    crowd.hashes = hashes
    work = [crowd.add(visitor, seed + i, until) for i in range(VISITORS)]
    i = 0
    while (left := until - time.monotonic()) > 0 and not crowd.wrong:
        time.sleep(min(1.5, left))
        disturb(lab, server, agent, added, i)
        i += 1
    crowd.finish(90, work)
    for port in added:
        agent.tool("agent", "job", "delete", str(port))
    wait_for("no TCP connection is left", lambda: all(r["protocol"] == "udp" for r in server.verb("tunnel.connections")["rows"]))
    return crowd.counts["visits"]


def descriptors(service, server):
    """Without those of UDP flows, which end a minute after their last datagram: a carrier, and a socket at the agent."""
    flows = sum(r["protocol"] == "udp" for r in server.verb("tunnel.connections")["rows"])
    return service.process.descriptors() - flows * (1 if service is server else 2)


def sanitizer(service):
    with open(os.path.join(service.lab.build, service.program), "rb") as f:
        program = f.read()
    return "tsan" if b"__tsan_init" in program else "asan" if b"__asan_init" in program else None


def allowance_kib(service, seconds):
    """What a sanitizer's own books may grow: ASan's by half a MiB a minute; TSan's shadow of all once touched stays."""
    return {"tsan": float("inf"), "asan": 4096 + seconds / 60 * 1024, None: 0}[sanitizer(service)]


@case("churn: memory and descriptors of server and agent stay what they were after the first moments", short=True)
def _(lab):
    seconds = lab.seconds
    lab.env = {"ASAN_OPTIONS": "detect_leaks=1" + ASAN_KEEPS_LITTLE}
    hashes = targets(lab, sizes=(20000,))
    server, agent = site(lab, more_jobs=(job(REFUSED, 99),))
    churn(lab, server, agent, hashes, max(5, min(60, seconds / 4)), 1)
    before = {s: (s.process.rss_kib(), descriptors(s, server)) for s in (server, agent)}
    course, visits = {server: [], agent: []}, 0
    for i in range(PARTS):
        visits += churn(lab, server, agent, hashes, seconds / PARTS, 1000 * (i + 1))
        for s, list_ in course.items():
            list_.append(s.process.rss_kib())
    for s, (_, fds) in before.items():  # carriers that a burst wanted are given back as time goes by
        wait_for(f"descriptors of the {s.name} are about what they were ({fds})", lambda: descriptors(s, server) <= fds + READY_MAX, 120)
    after = {s: descriptors(s, server) for s in (server, agent)}
    for s, (rss, _) in before.items():
        if course[s][-1] > rss * 1.1 + 6144 + allowance_kib(s, seconds):
            raise Failed(f"{s.name}: {rss} KiB after the first moments, then {course[s]}")
    wait_answer(lab)
    told = "; ".join(f"{s.name} {rss} KiB, then {course[s]}, {d} descriptors, then {after[s]}" for s, (rss, d) in before.items())
    return f"{visits} visits in {seconds} s; {told}"
