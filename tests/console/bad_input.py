# SPDX-License-Identifier: Apache-2.0
"""What a stranger or a broken client may send, a service that is down or late, and names with HTML in them. Meanwhile a page
goes on as if nothing were."""
import os
import signal
import socket
import sys
import threading
import time

from console_world import PASSWORD, PATIENCE, Failed, case, main, wait_for


def raw(w, data, wait=True):
    """Bytes as they are; what comes back until the end."""
    with socket.create_connection(("127.0.0.1", w.web), timeout=PATIENCE) as s:
        try:
            s.sendall(data)
        except OSError:
            pass
        got = b""
        while wait:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            got += more
        return got


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@case("heads and bodies that are too large, or none, are refused and cost nobody else anything")
def _(w):
    s = w.console()
    alice = w.first()
    host = f"Host: 127.0.0.1:{w.web}\r\n".encode()
    rows = [
        (b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 20000 + b"\r\n\r\n", (431,)),
        (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + host + b"\r\n", (414, 431, 400)),
        (b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n" * 20000 + b"\r\n", (431,)),
        (b"GET / HTTP/1.1\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\n" + host + host + b"Connection: close\r\n\r\n", (400, 421)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", (0, 400)),
        (b"GET http://evil/ HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", (400, 404)),
        (b"POST /api/v1/login HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n", (413,)),
        (b"POST /api/v1/login HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: -1\r\n\r\n", (400,)),
        (b"POST /api/v1/login HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: "
         b"chunked\r\n\r\nzz\r\n", (400,)),
    ]
    for data, wanted in rows:
        try:
            got = raw(w, data)
        except TimeoutError:
            raise Failed(f"    no answer and no end for {data[:60]!r}") from None
        if status(got) not in wanted:
            raise Failed(f"    {data[:60]!r}: {got[:200]!r}, expected {wanted}")
    for body in (b"", b"{", b"[]", b"null", b"5", b'{"user":"a","user":"b","password":"c"}', b"\xff\xfe", b"[" * 100000, b'{"user":5}',
                 b'{"user":"\\u0000","password":"x"}'):
        got = w.client().ask("POST", "/api/v1/login", body, **{"Content-Type": "application/json"})
        if got.status not in (400, 401):
            raise Failed(f"    {body[:40]!r}: {got!r}")
    for path in ("/api/v1/services/%00", "/api/v1/services/%2e%2e%2fx", "/api/v1/services/x/verbs/%ff", "/../etc/passwd", "/%2e%2e/",
                 "/api/v1/services//verbs", "/api/v1/users/" + "a" * 600, "/api", "//", "/api/v1/events?topics=", "/api/v1/events?topics=%00",
                 "/api/v1/events?topics=" + "a:b," * 100, "/api/v1/events?topics=<script>:x"):
        got = alice.get(path)
        if got.status not in (400, 404, 405):
            raise Failed(f"    {path}: {got!r}")
    alice.get("/api/v1/me").is_(200)
    if s.process.poll() is not None:
        raise Failed("    the console has ended")


@case("slow clients are cut, and a hundred of them leave room for others")
def _(w):
    w.console()
    alice = w.first()
    slow = []
    for i in range(100):
        s = socket.create_connection(("127.0.0.1", w.web), timeout=PATIENCE)
        s.sendall(b"GET /api/v1/me HT" if i % 2 else b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                  b"application/json\r\nContent-Length: 100\r\n\r\n{")
        slow.append(s)
    began = time.monotonic()
    alice.get("/api/v1/me").is_(200)
    if time.monotonic() - began > 9:  # the heads of the others end after 10
        raise Failed(f"    a page waited {time.monotonic() - began:.1f} s")
    for s in slow[:4]:  # heads end after 10 s, bodies after 20
        s.settimeout(60)
        try:
            if s.recv(100) != b"":
                raise Failed("    an answer to half a request")
        except ConnectionResetError:
            pass
    w.logged("console.refused", "slow-head")
    w.logged("console.refused", "slow-body")
    for s in slow:
        s.close()


@case("a service that is late costs its own callers, and nobody else")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    wait_for("the verbs", lambda: alice.get("/api/v1/services/turn/verbs").status == 200)
    os.kill(turn.process.pid, signal.SIGSTOP)
    try:
        waits = threading.Thread(target=lambda: w.results.append(alice.get("/api/v1/services/turn/verbs/turn.status")))
        w.results = []
        waits.start()
        row = w.reached(alice, "turn", "late")
        if row["version"] != "0.1.0":
            raise Failed(f"    {row}")
        began = time.monotonic()
        for _ in range(20):
            alice.get("/api/v1/services").is_(200)
            w.client().get("/readyz").is_(200)
        if time.monotonic() - began > 20:  # each would wait 2.5 s
            raise Failed("    others wait for a service that is late")
        text = alice.get("/metrics").is_(200).text
        if 'stile_up{service="turn",instance=""} 0' not in text or 'stile_up{service="console",instance=""} 1' not in text:
            raise Failed(f"    {text[:300]}")
        waits.join(PATIENCE)
        w.results[0].is_(504, "late")
    finally:
        os.kill(turn.process.pid, signal.SIGCONT)
    w.reached(alice, "turn")
    alice.get("/api/v1/services/turn/verbs/turn.status").is_(200)
    turn.kill()
    turn.ended = True
    w.reached(alice, "turn", "failed")
    alice.get("/api/v1/services/turn/verbs/turn.status").is_(503)


@case("HTML in names that others choose stays text, no answer is a page, and what is no UTF-8 names nothing")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    evil = '<script>alert(1)</script>"\'&'
    alice.post("/api/v1/users", {"name": evil.replace("/", ""), "role": "viewer", "password": PASSWORD}).is_(200)
    w.client().post("/api/v1/login", {"user": evil, "password": "x"}).is_(401)
    w.client().login("alice").is_(200)
    w.reached(alice, "turn")
    wait_for("the verbs", lambda: alice.get("/api/v1/services/turn/verbs").status == 200)
    answers = [alice.get("/api/v1/users"), alice.get("/api/v1/audit"), alice.get("/api/v1/services/" + "%3Cscript%3E"),
               alice.post("/api/v1/services/turn/verbs/turn.user.put", {"name": evil, "password": "builder-of-things"}),
               alice.post("/api/v1/services/turn/verbs/turn.user.list"), alice.get("/%3Cscript%3Ealert(1)%3C/script%3E"),
               w.client().get("/api/v1/me", **{"User-Agent": evil})]
    for a in answers:
        kind = a.headers["Content-Type"]
        if kind.startswith("text/html") or a.headers["X-Content-Type-Options"] != "nosniff" or \
                "default-src 'none'" not in a.headers["Content-Security-Policy"] or "unsafe" in a.headers["Content-Security-Policy"]:
            raise Failed(f"    {a!r} {a.headers}")
        if not kind.startswith("application/json") and "<script>" in a.text:
            raise Failed(f"    {a!r}")
    if not any(u["name"] == evil.replace("/", "") for u in alice.get("/api/v1/users").json["rows"]):
        raise Failed("    the name is not kept as it is")
    turn = "/api/v1/services/turn"
    for method, path, status in (("PUT", "/config/turn.%8f", 404), ("DELETE", "/config/%ff", 404), ("PUT", "/objects/%c0%af", 404),
                                 ("DELETE", "/objects/turn.user?key=%8f", 400), ("GET", "/objects/turn.user?after=%8f", 400),
                                 ("PUT", "/config/turn.realm?transaction=%8f", 400)):
        alice.ask(method, turn + path, {"value": 1}).is_(status)


if __name__ == "__main__":
    sys.exit(main(32000))
