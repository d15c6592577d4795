# SPDX-License-Identifier: Apache-2.0
"""stile-gateway between browsers (curl, and sockets where curl is too polite) and shares that may do anything: pages, bodies of
any length in both directions, back-pressure, what must be refused, and the service itself."""
import fcntl
import hashlib
import os
import re
import socket
import ssl
import struct
import sys
import termios
import threading
import time

from gateway_world import HERE, GatewayWorld, ID, PATIENCE, ROOT, TURN, Failed, Tunnel, answers, case, head_of, main, says, wait_for
import world
from metrics import Page, samples  # of tests/admin

BIG = 24_000_000
METRICS = Page("tests/gateway/gateway.py", "stile_gateway_", "end of stile-gateway")
FILES = ("", "app.js", "stile.js", "sw.js", "words.js", "style.css")


def expect(have, want):
    if have != want:
        raise Failed(f"    expected {want!r}, got {have!r}")


@case("the pages are served to whoever asks, load nothing from elsewhere, and are the same in every language")
def _(w):
    w.gateway()
    for name in FILES:
        said = w.curl("-D", "-", w.url(name)).exits(0).says("200", "default-src 'none'", "frame-ancestors 'none'", "nosniff")
        etag = re.search(r'(?i)etag: ("[^"]+")', said.out).group(1)
        expect(w.status_of(w.url(name), "-H", f"If-None-Match: {etag}")[0], 304)
    expect(w.status_of(w.url(""), "-I")[0], 200)
    expect(w.status_of(f"https://localhost:{w.base}/s/{ID}")[0], 308)
    for path in ("/", "/s/", "/s/0123456789abcde/", "/s/0123456789ABCDEF/", f"/s/{ID}x/", "/meta", "/favicon.ico", "/s/%30123456789abcdef/"):
        expect(w.status_of(f"https://localhost:{w.base}{path}")[0], 404)
    with open(os.path.join(HERE, "../../gateway/web/words.js"), encoding="utf-8") as f:
        text = f.read()
    keys = {}
    for language, body in re.findall(r"^\t(\w\w): \{\n(.*?)^\t\},", text, re.S | re.M):
        words = dict(re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', body))
        keys[language] = {k: sorted(set(re.findall(r"\{\d\}", v))) for k, v in words.items()}
    expect(sorted(keys), ["de", "en", "it"])
    expect(keys["de"], keys["en"])
    expect(keys["it"], keys["en"])
    with open(os.path.join(HERE, "../../gateway/web/app.js"), encoding="utf-8") as f:
        for k in re.findall(r'say\("(\w+)"', f.read()):
            if k not in keys["en"]:
                raise Failed(f"    the page says {k!r}, which has no words")


def pattern(n, seed=b"x"):
    block = hashlib.sha512(seed).digest() * 1024
    return (block * (n // len(block) + 1))[:n]


@case("bodies of many megabytes go through in both directions as they come, with fields that matter and no others")
def _(w):
    w.gateway()
    body, seen, got = pattern(BIG), [], []

    def download(c, f):
        first, fields = head_of(f)
        seen.append((first, fields))
        c.sendall(b"HTTP/1.0 206 Partial\r\nContent-Length: %d\r\nContent-Type: application/octet-stream\r\nETag: \"x\"\r\nSet-Cookie: a=b\r\n"
                  b"Content-Range: bytes 0-%d/%d\r\nLocation: https://elsewhere.test/\r\n\r\n" % (len(body), len(body) - 1, len(body)))
        c.sendall(body)

    def upload(c, f):
        first, fields = head_of(f)
        got.append(f.read(int(fields["content-length"])))
        c.sendall(b"HTTP/1.0 201 ok\r\nContent-Length: 4\r\nUpload-Offset: 7\r\n\r\ndone")

    w.tunnel.shares[ID] = download
    said = w.curl("-D", w.path("head"), "-o", w.path("got"), "-H", "Stile-Token: abc", "-H", "Range: bytes=0-", "-H", "Cookie: c=d", "-H",
                  "Stile-Client: 8.8.8.8", "-H", "X-Forwarded-For: 8.8.8.8", w.url("e/0?r=7")).exits(0)
    with open(w.path("got"), "rb") as f:
        expect(hashlib.sha256(f.read()).hexdigest(), hashlib.sha256(body).hexdigest())
    with open(w.path("head"), encoding="latin-1") as f:
        head = f.read().lower()
    for there in ('etag: "x"', "content-range: bytes 0-", "content-length: %d" % BIG, "sandbox", "no-store"):
        if there not in head:
            raise Failed(f"    {there!r} is missing in {head}")
    for gone in ("set-cookie", "location", "elsewhere"):
        if gone in head:
            raise Failed(f"    {gone!r} came through")
    first, fields = seen[0]
    expect(first, ["GET", f"/s/{ID}/e/0?r=7", "HTTP/1.0"])
    expect(fields["stile-client"], "127.0.0.1")
    expect(fields["stile-token"], "abc")
    expect(sorted(fields), ["connection", "host", "range", "stile-client", "stile-token"])
    expect(w.tunnel.called[0], ["STILE-GATEWAY", "1", ID, "127.0.0.1"])
    w.tunnel.shares[ID] = upload
    with open(w.path("body"), "wb") as f:
        f.write(body)
    said = w.curl("-X", "PUT", "-T", w.path("body"), "-H", "Content-Range: bytes 0-1/2", "-D", "-", w.url("u/00")).exits(0)
    said.says("201", "Upload-Offset: 7", "done")
    expect(hashlib.sha256(got[0]).hexdigest(), hashlib.sha256(body).hexdigest())
    if w.counted("stile_gateway_bytes_total", "to_browser") < BIG or w.counted("stile_gateway_bytes_total", "to_share") < BIG:
        raise Failed("    the bytes are not counted")
    w.tunnel.shares[ID] = answers(200, b"all of it")
    expect(w.curl(w.url("a")).exits(0).out, "all of it")
    w.tunnel.shares[ID] = says(b"HTTP/1.1 200 x\r\n\r\nuntil the end")
    expect(w.curl(w.url("a")).exits(0).out, "until the end")
    w.tunnel.shares[ID] = says(b"HTTP/1.1 204 x\r\nUpload-Offset: 5\r\n\r\n")
    expect(w.status_of(w.url("u/0"), "-X", "PUT", "-d", "x")[0], 204)
    w.tunnel.shares[ID] = answers(200, b"", Upload_Offset=9)
    w.curl("-I", w.url("u/0")).exits(0).says("Upload-Offset: 9")


def memory(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


@case("nothing is kept: a browser that does not read makes the share wait, and the other way round, and memory stays as it was")
def _(w):
    server = w.gateway(**{"limits": "{ stall: 30s, wait: 3s }"})
    sent, held = [0], []

    def endless(c, f):
        head_of(f)
        c.sendall(b"HTTP/1.0 200 x\r\nContent-Length: 100000000000\r\n\r\n")
        block = b"x" * 65536
        while True:
            c.sendall(block)
            sent[0] += len(block)

    def deaf(c, f):
        head_of(f)
        held.append(c)
        time.sleep(30)  # or until the gateway goes

    w.tunnel.shares[ID] = endless
    before = memory(server)
    with socket.create_connection(("127.0.0.1", w.base + 1), 20) as s:
        s.sendall(f"GET /s/{ID}/e/0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.recv(1)

        def still():
            n = sent[0]
            time.sleep(0.3)
            return n and n == sent[0]
        wait_for("the share waits", still)
        if sent[0] > 12_000_000:  # buffers of three sockets
            raise Failed(f"    {sent[0]} bytes went to somebody who reads none")
        if memory(server) > before + 8000:
            raise Failed(f"    {before} kB before, {memory(server)} kB now")
    wait_for("it is over", lambda: w.counted("stile_gateway_transfers") == 0)
    w.tunnel.shares[ID] = deaf
    with socket.create_connection(("127.0.0.1", w.base + 1), 20) as s:
        s.sendall(f"PUT /s/{ID}/u/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n".encode())
        s.setblocking(False)
        total, quiet = 0, time.monotonic()
        while time.monotonic() < quiet + 1:
            try:
                total += s.send(b"y" * 65536)
                quiet = time.monotonic()
            except BlockingIOError:
                time.sleep(0.02)
            if total > 30_000_000:
                raise Failed("    more than 30 MB went to a share that reads none")
        if memory(server) > before + 12000:
            raise Failed(f"    {before} kB before, {memory(server)} kB now")
    wait_for("it is over", lambda: w.counted("stile_gateway_transfers") == 0)


@case("a hundred downloads at once: each is whole, and memory is what a hundred connections take")
def _(w):
    server = w.gateway(limits="{ transfers_per_address: 200, connections_per_address: 200 }")
    body, before = pattern(3_000_000), memory(server)
    w.tunnel.shares[ID] = answers(200, body)
    most, over = [0], []

    def watch():
        while not over:
            most[0] = max(most[0], memory(server))
            time.sleep(0.02)
    t = threading.Thread(target=watch)
    t.start()
    try:
        w.curl("-Z", "--parallel-max", "100", "-o", w.path("got-#1"), w.url("e/[1-100]"), timeout=120).exits(0)
    finally:
        over.append(1)
        t.join()
    for i in range(1, 101):
        with open(w.path(f"got-{i}"), "rb") as f:
            if f.read() != body:
                raise Failed(f"    the {i}th is another one")
    if most[0] > before + 60_000:  # kB; the bodies are 300 MB, TLS and heads of a hundred connections the rest
        raise Failed(f"    {before} kB before, {most[0]} kB meanwhile")
    wait_for("all are over", lambda: w.counted("stile_gateway_transfers") == 0)


@case("a share that is unknown, asleep, busy or broken is told apart, and who guesses is refused")
def _(w):
    w.gateway(limits="{ guesses: 5, wait: 1s, stall: 1s }")
    t = w.tunnel
    t.shares[ID] = lambda c, f: time.sleep(5)
    expect(w.status_of(w.url("meta")), (504, "silent"))
    w.gateway_config(limits="{ guesses: 5, wait: 30s, stall: 30s }")  # all others answer, if not at once
    w.ask("reload", "gateway").exits(0)
    t.shares[ID] = "not-there the agent is not connected"
    expect(w.status_of(w.url("meta")), (503, "not-there"))
    t.shares[ID] = "limit as many as allowed"
    expect(w.status_of(w.url("meta")), (503, "busy"))
    t.shares[ID] = "whatever else"
    expect(w.status_of(w.url("meta")), (502, "tunnel"))
    t.shares[ID] = answers(403, b"no\n", Stile_Error="token")
    expect(w.status_of(w.url("meta")), (403, "token"))
    for raw in (b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 99 x\r\n\r\n",
                b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 200 x\r\nContent-Length: -1\r\n\r\n",
                b"HTTP/1.1 200 x\r\nETag: \x01\r\n\r\n", b"HTTP/1.1 200 x\r\nETag : x\r\n\r\n", b"HTTP/1.1 200 x\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
                b"HTTP/1.1 200 x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        t.shares[ID] = says(raw)
        status = w.status_of(w.url("meta"))[0]
        if status != 502:
            raise Failed(f"    {raw[:60]!r} becomes {status}")
    t.shares[ID] = says(b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\nhalf")
    if w.curl("-o", "/dev/null", w.url("meta")).status == 0:
        raise Failed("    a browser takes half of an answer for the whole")
    for _ in range(6):
        expect(w.status_of(w.url("meta", "ffffffffffffffff")), (404, "unknown-share"))
    expect(w.status_of(w.url("meta")), (429, "guessing"))
    expect(w.status_of(w.url(""))[0], 200)  # the page says it in words
    w.logged("gateway.guessing", name=w.full)
    if w.counted("stile_gateway_transfers_ended_total", "guessing") != 1 or w.counted("stile_gateway_transfers_ended_total", "unknown-share") != 6:
        raise Failed("    it is not counted")


def raw(w, head, seconds=20):
    """What comes for these bytes over plain http, until its end."""
    with socket.create_connection(("127.0.0.1", w.base + 1), seconds) as s:
        s.settimeout(seconds)
        s.sendall(head)
        out = b""
        while True:
            try:
                piece = s.recv(65536)
            except ConnectionResetError:
                return out
            if not piece:
                return out
            out += piece


@case("requests that two servers could read differently, methods that mean nothing, and heads without end go no further")
def _(w):
    w.gateway(limits="{ transfers_per_address: 2 }")
    asked = []

    def share(c, f):
        asked.append(head_of(f))
        c.sendall(b"HTTP/1.0 200 x\r\nContent-Length: 2\r\n\r\nok")
    w.tunnel.shares[ID] = share
    line = f"GET /s/{ID}/meta HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    put = line.replace(b"GET", b"PUT")
    for head, status in ((line + b"\r\n", b"200"), (line + b"Stile-Token: a\r\nStile-Token: b\r\n\r\n", b"400"),
                         (line + b"Range: bytes=0-\x01\r\n\r\n", b"400"), (line + b"Stile-Token: " + b"x" * 600 + b"\r\n\r\n", b"400"),
                         (put + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"400"),
                         (line.replace(b"GET", b"DELETE") + b"\r\n", b"405"), (line.replace(b"GET", b"CONNECT") + b"\r\n", b"40"),
                         (line + b"X: " + b"y" * 40000 + b"\r\n\r\n", b"431")):
        before = len(asked)
        got = raw(w, head)
        if status not in got.split(b"\r\n")[0]:
            raise Failed(f"    {head[:90]!r}: {got[:80]!r}")
        if status != b"200" and len(asked) != before:
            raise Failed(f"    {head[:90]!r} has reached the share")
    for n in range(0, len(line), 3):  # a head that is not whole is no request
        with socket.create_connection(("127.0.0.1", w.base + 1), 20) as s:
            s.sendall(line[:n])
    expect(w.status_of(w.url("meta"))[0], 200)
    w.tunnel.shares[ID] = lambda c, f: time.sleep(8)
    held = []
    try:
        for _ in range(3):
            s = socket.create_connection(("127.0.0.1", w.base + 1), 20)
            held.append(s)
            s.sendall(line + b"\r\n")
            time.sleep(0.1)
        if b"503" not in held[2].recv(4096):
            raise Failed("    a third transfer of one address begins")
    finally:
        for s in held:
            s.close()


@case("a reload of the time in which something must move holds for browsers, too")
def _(w):
    w.gateway(limits="{ stall: 10m }")
    w.tunnel.shares[ID] = lambda c, f: (head_of(f), f.read())
    w.gateway_config(limits="{ stall: 1s }")
    w.ask("reload", "gateway").exits(0)
    began = time.monotonic()
    try:
        raw(w, f"PUT /s/{ID}/u/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
    except TimeoutError:
        pass
    if time.monotonic() - began > 15:
        raise Failed("    a browser that sends no more is waited for")
    w.logged("gateway.refused", "slow-body")


@case("behind the front of stile-turn on one port: chosen by server name, and the browser's own address is known")
def _(w):
    w.certificate("share", "DNS:share.example.org")
    w.config("turn.yaml", listen=f'["front:127.0.0.1:{w.base + 2}", "udp:127.0.0.1:{w.base + 3}"]',
             relay=f"{{ addresses: [127.0.0.1], ports: {w.base + 4}-{w.base + 8} }}", front=f"""
    routes:
      - {{ server_name: [share.example.org], to: "unix:{w.path('front.sock')}" }}
""")
    turn = world.Server(w, [TURN, "-c", w.path("turn.yaml"), "--runtime-dir", w.path("run"), *(["--user", "root"] if ROOT else [])])
    turn.full = "stile-turn"
    w.servers.append(turn)
    turn.wait_ready()
    w.gateway(listen=f'["tls:unix:{w.path("front.sock")}"]', certificate="share.pem", key="share.key")
    w.tunnel.shares[ID] = answers(200, b"through the front")
    said = w.curl("--cacert", w.path("share.pem"), "--connect-to", f"::127.0.0.1:{w.base + 2}", f"https://share.example.org/s/{ID}/meta").exits(0)
    expect(said.out, "through the front")
    expect(w.tunnel.called[0][3], "127.0.0.1")
    with socket.socket(socket.AF_UNIX) as s:  # whoever gets at the socket must say for whom he comes
        s.settimeout(20)
        s.connect(w.path("front.sock"))
        s.sendall(b"\x16\x03\x01\x00\x05hello, I am nobody")
        try:
            if s.recv(1):
                raise Failed("    it may stay without a PROXY header")
        except ConnectionResetError:
            pass


def read_of(s):
    """The gateway has taken the connection, and what was said on it."""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0] == 0


@case("a Unix socket that a reload closes: who waits there for his PROXY header goes on as what he came for")
def _(w):
    places = {kind: w.path(kind + ".sock") for kind in ("tls", "http")}
    w.gateway(listen="[" + ", ".join(f'"{kind}:unix:{place}"' for kind, place in places.items()) + "]")
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4s4sHH", 12, b"\xc0\0\2\1", b"\xc0\0\2\2", 4000, 443)  # haproxy's version 2
    waiting = {}
    for kind, place in places.items():
        s = waiting[kind] = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(place)
        s.sendall(header[:1])
        wait_for("it is taken", lambda: read_of(s))
    w.gateway_config()
    w.ask("reload", "gateway").exits(0)
    for kind, s in waiting.items():
        s.sendall(header[1:])
        if kind == "tls":
            s = ssl.create_default_context(cafile=w.path("server.pem")).wrap_socket(s, server_hostname="localhost")
        with s:
            s.sendall(f"GET /s/{ID}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            expect(s.recv(12), b"HTTP/1.1 200")


def proxied(w, kind, source):
    """A connection of this address through a front to the listener of this kind; None if the gateway has refused it."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(PATIENCE)
    s.connect(w.path(kind + ".sock"))
    s.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4s4sHH", 12, socket.inet_aton(source), b"\xc0\0\2\2", 4000, 443))
    try:
        if kind == "tls":
            s = ssl.create_default_context(cafile=w.path("server.pem")).wrap_socket(s, server_hostname="localhost")
        s.sendall(f"GET /s/{ID}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if s.recv(12) == b"HTTP/1.1 200":
            return s
    except (ConnectionError, ssl.SSLError):
        pass
    s.close()
    return None


@case("limits of connections hold for listeners with TLS and without it together, also where the first certificate comes by a reload")
def _(w):
    def listeners(*kinds, **keys):
        w.gateway_config(listen="[" + ", ".join(f'"{k}:unix:{w.path(k + ".sock")}"' for k in kinds) + "]",
                         limits="{ connections: 3, connections_per_address: 2 }", **keys)

    listeners("http", certificate=None, key=None)
    w.start_gateway()
    listeners("http", "tls")
    w.ask("reload", "gateway").exits(0)
    taken = []
    try:
        for kind, source, may in (("http", "192.0.2.1", True), ("tls", "192.0.2.1", True), ("http", "192.0.2.1", False), ("tls", "192.0.2.1", False),
                                  ("http", "192.0.2.2", True), ("http", "192.0.2.3", False), ("tls", "192.0.2.3", False)):
            s = proxied(w, kind, source)
            if s:
                taken.append(s)
            if bool(s) != may:
                raise Failed(f"    {kind} from {source} behind {len(taken) - bool(s)} connections: {'refused' if may else 'taken'}")
        wait_for("the refusals are counted", lambda: (w.counted("stile_gateway_connections_refused_total", "full"),
                                                      w.counted("stile_gateway_connections_refused_total", "full-of-address")) == (2, 2))
    finally:
        for s in taken:
            s.close()


@case("whether stile-tunnel is there is told before a browser asks")
def _(w):
    w.gateway()
    w.ask("gateway", "status").exits(0).never_says("not reached")
    w.ask("status").exits(0)
    w.tunnel.close()
    w.ask("gateway", "status").exits(1).says(f"stile-tunnel {w.tunnel.path}, not reached: No such file")
    said = w.ask("status", "--verbose")
    said.says("no stile-tunnel takes what is for shares at", "its key tunnel.gateway")
    w.tunnel = Tunnel(w.tunnel.path)
    w.ask("gateway", "status").exits(0)


@case("status, transfers, an end by the administrator, another certificate and listener while a transfer runs, a drain")
def _(w):
    server = w.gateway()
    go = []

    def slow(c, f):
        head_of(f)
        c.sendall(b"HTTP/1.0 200 x\r\nContent-Length: 8\r\n\r\nhalf")
        wait_for("the rest is asked for", lambda: go)
        c.sendall(b"rest")

    w.tunnel.shares[ID] = slow
    w.ask("gateway", "status").exits(0).says("stile-tunnel", "0 transfers")
    w.ask("gateway", "transfers").exits(0).says("no transfers")
    w.ask("status").exits(0).says("stile-gateway", "transfers")

    def begin():
        s = ssl.create_default_context(cafile=w.path("server.pem")).wrap_socket(socket.create_connection(("127.0.0.1", w.base), 20), server_hostname="localhost")
        s.settimeout(40)
        s.sendall(f"GET /s/{ID}/e/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while b"half" not in got:
            got += s.recv(4096)
        return s
    with begin() as s:
        row = w.verb("gateway.transfers", {}, w.full)["rows"][0]
        expect((row["share"], row["method"], row["what"], row["bytes_to_browser"]), (ID, "GET", "e", 4))
        w.ask("gateway", "transfers").exits(0).says(ID)
        w.ask("gateway", "kick", str(row["id"])).exits(0)
        expect(s.recv(10), b"")
    w.ask("gateway", "kick", "999").exits(1).says("no transfer")
    w.ask("gateway", "kick", "x").exits(2)
    with begin() as s:
        for name in ("server.pem", "server.key"):
            os.unlink(w.path(name))
        w.certificate("server")
        w.gateway_config(listen=f'["tls:127.0.0.1:{w.base}", "tls:127.0.0.1:{w.base + 3}"]')
        w.ask("reload", "gateway").exits(0)
        go.append(1)
        got = b""
        while len(got) < 4:
            got += s.recv(4)
        expect(got, b"rest")
    expect(w.status_of(w.url(""))[0], 200)  # by the new certificate, which curl checks
    w.curl("--resolve", f"localhost:{w.base + 3}:127.0.0.1", f"https://localhost:{w.base + 3}/s/{ID}/").exits(0)
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", w.base + 1)) == 0:
            raise Failed("    the http listener is still there")
    w.gateway_config(certificate="missing.pem")
    w.ask("reload", "gateway").exits(1).says("missing.pem")
    expect(w.status_of(w.url(""))[0], 200)
    before = ssl.get_server_certificate(("127.0.0.1", w.base))
    with socket.socket() as taken:  # what is refused is refused as a whole
        taken.bind(("127.0.0.1", w.base + 4))
        taken.listen()
        os.rename(w.path("server.pem"), w.path("old.pem"))
        os.rename(w.path("server.key"), w.path("old.key"))
        w.certificate("server")
        w.gateway_config(listen=f'["tls:127.0.0.1:{w.base}", "tls:127.0.0.1:{w.base + 4}"]')
        for options in (["--dry-run"], []):
            w.ask("reload", "gateway", *options).exits(1).says("cannot listen", str(w.base + 4))
    expect(ssl.get_server_certificate(("127.0.0.1", w.base)), before)
    METRICS.check(samples(w.ask("gateway", "metrics").exits(0).out))
    server.stop()
    expect(server.process.returncode, 0)


@case("without stile-tunnel the pages are there, and what is missing is said; bad configurations are refused with their place")
def _(w):
    w.gateway_config()
    w.start_gateway()
    expect(w.status_of(w.url(""))[0], 200)
    expect(w.status_of(w.url("meta")), (503, "not-there"))
    w.logged("gateway.tunnel", name=w.full)
    w.tunnel = Tunnel(w.path("gateway.sock"))
    w.tunnel.shares[ID] = answers(200, b"now")
    expect(w.curl(w.url("meta")).exits(0).out, "now")
    w.gateway_config(key=None)
    w.check().exits(2).says("stile.yaml:", "gateway.key")
    w.gateway_config(listen="[]")
    w.check().exits(2).says("a gateway needs a place")
    w.gateway_config(listen="udp:127.0.0.1:1")
    w.check().exits(2).says("tls:, http:")


if __name__ == "__main__":
    if "--write" in sys.argv:  # docs/metrics.md, after a metric was added or changed
        with GatewayWorld(22400) as world_of_it:
            world_of_it.gateway()
            METRICS.write(samples(world_of_it.ask("gateway", "metrics").exits(0).out))
    else:
        sys.exit(main(22400))
