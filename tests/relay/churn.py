# SPDX-License-Identifier: Apache-2.0
"""Churn: connections of all kinds come and go, some logged, routes are reloaded; memory, descriptors and pipes are at the
end what they were after the first moments. Five seconds in ./check; in ./check all half an hour without a
sanitizer, and shorter with each."""
import contextlib
import os
import random
import socket
import threading
import time

from real_world import RESET, TUNNEL, Failed, case, connect, echo, noise, said

SECONDS = int(os.environ.get("STILE_CHURN_SECONDS", "5"))
NOISE = noise(2 << 20)
# What ASan keeps looks like a leak until it is full: freed blocks, as installed 256 MiB and 1 MiB in each thread besides, and
# the frames of functions that have returned, whose places are used in turn. The first are full after the
# first moments, the second are left to the other suites.
ASAN_KEEPS_LITTLE = ":quarantine_size_mb=1:thread_local_quarantine_size_kb=32:malloc_context_size=5:detect_stack_use_after_return=0"
PARTS = 4


def whole(w, r):
    data = NOISE[:r.randrange(1, r.choice((100, 10000, 2 << 20)))]
    if said(w.base + r.randrange(2), data) != data:
        raise Failed("    other bytes came back")


def cut(w, r):
    with connect(w.base + r.randrange(2)) as s:
        with contextlib.suppress(OSError):
            s.settimeout(0.2)
            s.sendall(NOISE[:r.randrange(1, 200000)])
        if r.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def refused(w, r):
    with contextlib.suppress(OSError), connect(w.base + 2) as s:
        s.settimeout(2)
        s.recv(1)


def lazy(w, r):
    with connect(w.base) as s:
        s.sendall(b"x")
        s.recv(1)
        time.sleep(r.random())


def allowance():
    """KiB that a sanitizer's own books may grow: ASan's by half a MiB a minute where the plain build grows by nothing; of TSan
    all that was once touched has a shadow, which stays."""
    with open(TUNNEL, "rb") as f:
        program = f.read()
    return float("inf") if b"__tsan_init" in program else SECONDS / 60 * 1024 if b"__asan_init" in program else 0


def visitor(w, until, seed, wrong):
    r = random.Random(seed)
    while time.monotonic() < until and not wrong:
        try:
            r.choice((whole, whole, cut, refused, lazy))(w, r)
        except (Failed, OSError) as e:
            wrong.append(f"{type(e).__name__}: {e}")


def churn(w, seconds, seed):
    wrong = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=visitor, args=(w, until, seed + i, wrong)) for i in range(8)]
    for t in threads:
        t.start()
    while time.monotonic() < until and not wrong:
        time.sleep(min(2, max(0.1, until - time.monotonic())))
        w.ask("reload", "tunnel").exits(0)
    for t in threads:
        t.join()
    if wrong:
        raise Failed(f"    {wrong[0]}")
    w.connections(0, 20)


@case("churn: memory, descriptors and pipes at the end are what they were after the first moments")
def _(w):
    w.target(echo)
    routes = [f'{{ name: r{i}, listen: "127.0.0.1:{w.base + i}", target: "127.0.0.1:{w.base + t}", log_data: {log} }}'
              for i, t, log in ((0, 20, "false"), (1, 20, "true"), (2, 39, "false"))]
    options = os.environ.get("ASAN_OPTIONS", "") + ASAN_KEEPS_LITTLE
    w.tunnel_config(routes, "data_floor: 50MB, data_max_size: 100kB, keep: 1h, json: true", "")
    server = w.tunnel(env={"ASAN_OPTIONS": options})
    w.ask("ready", "tunnel", "--wait", "10s").exits(0)
    churn(w, max(3, min(60, SECONDS / 5)), 1)
    before, descriptors = server.rss_kib(), server.descriptors()
    course = []
    for i in range(PARTS):
        churn(w, SECONDS / PARTS, 1000 * (i + 1))
        course.append(server.rss_kib())
    status = w.verb("relay.status")
    after = course[-1]
    if server.descriptors() > descriptors + 32:
        raise Failed(f"    {descriptors} descriptors before, {server.descriptors()} after: {status['pipes']}")
    if after > before * 1.1 + 6144 + allowance():
        raise Failed(f"    {before} KiB after the first moments, {after} KiB at the end")
    if status["records"]["data_logs_open"] or status["pipes"]["lent"]:
        raise Failed(f"    {status}")
    accepted = sum(r["accepted"] for r in w.verb("relay.route.list")["rows"])
    return f"{accepted} connections in {SECONDS} s; {before} KiB, then {course} KiB; {descriptors} descriptors, then {server.descriptors()}"
