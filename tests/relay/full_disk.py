# SPDX-License-Identifier: Apache-2.0
"""Data logs where the disk is full or slow: the connection goes on, and the others do not notice."""
import contextlib
import os
import threading
import time

from real_world import Failed, case, connect, echo, need_root, noise, said, swallow


def route(w, i, target, more="", name=None):
    return f'{{ name: {name or f"r{i}"}, listen: "127.0.0.1:{w.base + i}", target: {target}{", " + more if more else ""} }}'


def at(w, i):
    return f'"127.0.0.1:{w.base + 20 + i}"'


@case("a full disk under data logging: logging stops and says so, the connection goes on and loses nothing")
def _(w):
    need_root()
    w.tunnel_config([route(w, 0, at(w, 0), "log_data: true")], "data_floor: 0, json: true")
    w.target(echo)
    mount = f'mount -t tmpfs -o size=400k,mode=0700 none {w.records()} && exec "$0" "$@"'
    server = w.tunnel(prefix=["unshare", "-m", "sh", "-c", mount])
    w.ask("ready", "tunnel", "--wait", "10s").exits(0)
    data = noise(3 << 20)
    if said(w.base, data) != data:
        raise Failed("    the connection suffers")
    w.logged("relay.data-log.stopped", "disk is full", "No space left")
    if w.verb("relay.status")["records"]["data_logs_stopped"] != 1:
        raise Failed("    not counted")
    seen = f"/proc/{server.process.pid}/root{w.records()}"
    name = next(f for f in os.listdir(seen) if f.startswith("RL"))
    with open(os.path.join(seen, name), encoding="ascii") as f:
        text = f.read()
    if not text.endswith("\n") or "|" not in text.splitlines()[-2]:
        raise Failed(f"    the log does not end in whole lines: {text[-200:]}")


@case("switching the data log on slows only that connection")
def _(w):
    w.target(echo)
    w.target(swallow)
    w.relay([route(w, 0, at(w, 0)), route(w, 1, at(w, 1), "log_data: true")], "data_floor: 1MB, data_max_size: 400MB")
    data = noise(8 << 20)
    said(w.base, data)
    began = time.monotonic()
    said(w.base, data)
    alone = time.monotonic() - began
    with connect(w.base + 1) as logged:
        logged.setblocking(False)
        began, sent = time.monotonic(), 0
        stop = threading.Event()

        def push():
            nonlocal sent
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    sent += logged.send(data[:65536])
                time.sleep(0.0005)
        t = threading.Thread(target=push)
        t.start()
        time.sleep(0.3)
        began = time.monotonic()
        if said(w.base, data) != data:
            raise Failed("    other bytes")
        beside = time.monotonic() - began
        stop.set()
        t.join()
    if beside > 10 * alone + 3:
        raise Failed(f"    {alone:.2f} s alone, {beside:.2f} s beside a logged connection")
    return f"{alone:.2f} s alone, {beside:.2f} s beside a logged connection that sent {sent >> 20} MiB"
