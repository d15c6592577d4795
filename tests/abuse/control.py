# SPDX-License-Identifier: Apache-2.0
"""Abuse of the control socket, while the service relays: garbage, lines without end, clients that do not read."""
import contextlib
import json
import random
import socket
import time

from world import Failed, Watch, wait_for

MAX_LINE, MAX_DEPTH, MAX_PEERS = 1 << 20, 32, 256


def connect(server, timeout=15):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    for _ in range(500):
        with contextlib.suppress(BlockingIOError):  # the queue of those who wait to be accepted is full
            s.connect(server.path("stile-turn.sock"))
            return s
        time.sleep(0.01)
    raise Failed("the control socket accepts nobody")


def say(server, data):
    """The lines that come as an answer to the data, behind the greeting, until the server closes or is silent."""
    with connect(server, 10) as s:
        said = b""
        with contextlib.suppress(OSError):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while more := s.recv(1 << 16):
                said += more
    return [json.loads(line) for line in said.split(b"\n")[1:] if line]


REFUSED = [
    (b"garbage\n", "bad-request"), (b"{\n", "bad-request"), (b"[1,2]\n", "bad-request"), (b"null\n", "bad-request"),
    (b'{"id":1}\n', "bad-request"), (b'{"id":-1,"verb":"ping"}\n', "bad-request"), (b'{"id":1e400,"verb":"ping"}\n', "bad-request"),
    (b'{"id":1,"verb":"ping","args":7}\n', "bad-request"), (b'{"id":1,"verb":"\\u0000"}\n', None), (b"\xff\xfe\xfd\n", "bad-request"),
    (b'{"id":1,"verb":"no.such.verb %n%s"}\n', "unknown-verb"), (b'{"id":1,"verb":"turn.kill","args":{"id":"x"}}\n', "bad-request"),
    (b'{"id":1,"verb":"turn.kill","args":{"id":12345}}\n', "not-found"), (b"[" * (MAX_DEPTH * 40) + b"\n", "too-long"),
    (b'{"id":1,"verb":"' + b"x" * (MAX_LINE + 10) + b'"}\n', "too-long"),
]


def refused(server):
    with Watch(server, {}) as watch:
        for data, code in REFUSED:
            answers = say(server, data)
            if not answers or "error" not in answers[0]:
                raise Failed(f"{data[:60]!r} was answered with {answers}")
            if code and answers[0]["error"]["code"] != code:
                raise Failed(f"{data[:60]!r}: expected {code}, got {answers[0]['error']}")
    return watch.note


def noise(server):
    r = random.Random(1)
    with Watch(server, {}) as watch:
        for i in range(200):
            say_and_vanish(server, r.randbytes(r.choice((1, 40, 5000))) + (b"\n" if i % 2 else b""))
        ping(server)
    return watch.note


def say_and_vanish(server, data):
    with connect(server) as s, contextlib.suppress(ConnectionError):
        s.sendall(data)


def ping(server):
    with server.control() as c:
        c.call("ping")


def slow_readers(server):
    """Requests without end whose answers nobody reads: reading stops, then other clients go on as before."""
    line = b"".join(json.dumps({"id": i, "verb": "turn.metrics", "args": {"text": True}}).encode() + b"\n" for i in range(5000))
    with Watch(server, {}, slack_kb=4096) as watch, contextlib.ExitStack() as held:
        for _ in range(4):
            s = held.enter_context(connect(server))
            s.setblocking(False)
            with contextlib.suppress(OSError):
                while True:
                    line = line[s.send(line):] or line
        ping(server)
        rose = server.memory_kb() - watch.memory
        if rose > 4 * 9000 + watch.slack_kb:
            raise Failed(f"four clients that do not read cost {rose} kB")
    return f"four of them cost {rose} kB; {watch.note}"


def too_many(server):
    with Watch(server, {}) as watch, contextlib.ExitStack() as held:
        for _ in range(300):
            held.enter_context(connect(server))
        wait_for("most of the 300 to be held", lambda: server.descriptors_open() >= watch.held["descriptors"] + MAX_PEERS // 2)
        time.sleep(0.1)
        wait_for("the end of those above the limit", lambda: server.descriptors_open() <= watch.held["descriptors"] + MAX_PEERS)
    wait_for("the control socket", lambda: not ping(server))
    return watch.note


def matrix():
    yield "requests that are none are refused on the control socket", True, refused
    yield "noise on the control socket", True, noise
    yield "control clients that do not read", True, slow_readers
    yield "300 control connections at once", True, too_many
