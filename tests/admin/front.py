# SPDX-License-Identifier: Apache-2.0
"""One port for everything: stile-turn in front, behind it nginx, a second stile-turn on a Unix socket, and itself.
Real clients (curl, openssl, coturn's) and bad ones; what each backend believes of its client."""
import contextlib
import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time

from balancer import connect, expect, header, is_closed, mapped, over_tls, uclient
from world import PATIENCE, Failed, Skipped, case, main

BIG = 100 << 20
OUTSIDE = "127.0.0.1"


def eventually(true, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


class Nginx:
    """A web server with TLS on a Unix socket that takes PROXY headers, as the guide says."""

    def __init__(self, w, name="nginx"):
        self.w, self.name = w, name
        if not os.path.exists("/usr/sbin/nginx"):
            raise Skipped("no nginx")
        os.makedirs(w.path("www"), exist_ok=True)
        self.socket = w.path(name + ".sock")
        w.write("www/index.html", "the web server\n", 0o644)
        w.write(name + ".conf", f"""daemon off; pid {w.path(name + '.pid')}; error_log stderr; worker_processes 1;
{'user root;' if os.getuid() == 0 else ''}
events {{ }}
http {{
  log_format f '$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port $ssl_server_name $ssl_alpn_protocol $request';
  access_log {w.path(name + '.access')} f;
  client_body_temp_path {w.path('body')}; proxy_temp_path {w.path('p')}; fastcgi_temp_path {w.path('f')};
  uwsgi_temp_path {w.path('u')}; scgi_temp_path {w.path('s')};
  server {{
    listen unix:{self.socket} ssl http2 proxy_protocol;
    ssl_certificate {w.path('web.pem')}; ssl_certificate_key {w.path('web.key')};
    client_max_body_size 0; root {w.path('www')};
  }}
}}""")

    def __enter__(self):
        self.w.certificate("web", "DNS:www.example.org,DNS:localhost")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        self.p = subprocess.Popen(["/usr/sbin/nginx", "-p", self.w.folder, "-c", self.w.path(self.name + ".conf")],
                                  stdin=subprocess.DEVNULL, stdout=open(self.w.path("nginx.err"), "w", encoding="utf-8"),
                                  stderr=subprocess.STDOUT)
        if not eventually(lambda: self.listens() or self.p.poll() is not None) or self.p.poll() is not None:
            raise Failed("    nginx did not start:\n" + open(self.w.path("nginx.err"), encoding="utf-8").read())
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.wait(PATIENCE)

    def listens(self):
        """The file is there before anybody may connect."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            return True
        return False

    def access(self):
        with open(self.w.path(self.name + ".access"), encoding="utf-8") as f:
            return f.read()


def front(w, routes, name="stile.yaml", **more):
    """stile-turn with UDP on w.port and the front on w.tls."""
    w.certificate()
    w.config(name, tls=False, listen=f'["udp:127.0.0.1:{w.port}", "front:127.0.0.1:{w.tls}"]', certificate="server.pem",
             key="server.key", front=f"{{ routes: [ {', '.join(routes)} ] }}", **more)


def curl(w, *argv, name="www.example.org", **more):
    return w.run("curl", "-sS", "--max-time", "60", "--cacert", w.path("web.pem"), "--connect-to", f"::{OUTSIDE}:{w.tls}", *argv[:-1],
                 f"https://{name}{argv[-1]}", **more)


def refused(said):
    if said.status == 0:
        said.fail("expected a failure")


def dropped(w, label):
    return w.metric("stile_turn_drops_total", label)


def s_client(w, *options):
    said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{w.tls}", *options], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    return said.stdout + said.stderr


def hello(name="www.example.org", protocols=("h2", "http/1.1")):
    """A ClientHello as Python's TLS makes it."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(list(protocols))
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def web(w):
    return f'{{ to: "unix:{w.path("nginx.sock")}" }}'


TURN = "{ alpn: [stun.turn, stun.nat-discovery], to: turn }"


@case("by name and protocol: TURN here, the web server on a Unix socket, a second TURN server on another")
def _(w):
    second = w.path("second.sock")

    def second_listens(path):
        w.config("second.yaml", tls=False, listen=f'["udp:127.0.0.1:{w.base + 2}", "tls:unix:{path}"]', certificate="web.pem",
                 key="web.key", relay=f"{{ addresses: [127.0.0.1], ports: {w.base + 30}-{w.base + 39} }}",
                 log="{ level: debug, dir: %s }" % w.path("log"))
    second_listens(second)
    front(w, [f'{{ server_name: ["*.second.example"], to: "unix:{second}" }}', TURN, '{ server_name: [turn.example.org], to: turn }', web(w)])
    with Nginx(w) as nginx:
        w.start("second.yaml", "--instance", "second")
        expect("mode of the socket", oct(os.stat(second).st_mode & 0o777), "0o660")
        w.start()
        curl(w, "/").exits(0).says("the web server")
        curl(w, "--http1.1", "/index.html").exits(0).says("the web server")

        def seen():  # it writes a line when the client has its answer
            text = nginx.access()
            return re.search(rf"^127\.0\.0\.1:\d+ {w.tls} www\.example\.org h2 GET / ", text) and "http/1.1 GET /index.html" in text
        if not eventually(seen):
            raise Failed("    nginx saw: " + nginx.access())
        with open(w.path("server.pem"), encoding="ascii") as f:
            ours = f.read().split("-----")[2].split()[0]
        with open(w.path("web.pem"), encoding="ascii") as f:
            webs = f.read().split("-----")[2].split()[0]
        for options, whose in ((["-alpn", "stun.turn"], ours), (["-alpn", "stun.nat-discovery"], ours), (["-servername", "TURN.example.org"], ours),
                               (["-servername", "a.second.example", "-alpn", "stun.turn"], webs), (["-noservername"], webs), (["-tls1_2"], webs),
                               (["-servername", "second.example"], webs)):
            out = s_client(w, *options)
            if whose not in out:
                raise Failed(f"    openssl s_client {options} was shown another certificate:\n{out[-1500:]}")
        for source, name in (("127.0.0.7", "a.second.example"), ("127.0.0.8", "turn.example.org")):
            with connect(w.tls, source) as s, ssl._create_unverified_context().wrap_socket(s, server_hostname=name) as t:
                expect(name, mapped(t), t.getsockname())
        second_listens(w.path("nodir/second.sock"))
        for options in (["--dry-run"], []):
            w.ask("reload", "turn", "--instance", "second", *options).exits(1).says("cannot listen on tls:unix:", "No such file or directory")
        w.ask("status").says("front:127.0.0.1:%d" % w.tls, "front ", "turn 4 taken", "second.sock 2 taken", "nginx.sock 5 taken")
        w.stop_all()
        expect("the socket's file is gone", os.path.exists(second), False)


@case("ALPN: both of TURN's protocols are agreed on, ours first; another or none does not stop a client (RFC 7443)")
def _(w):
    w.config(front="{ routes: [] }")
    w.start()
    for offered, agreed in (("stun.turn", "stun.turn"), ("stun.nat-discovery", "stun.nat-discovery"), ("stun.nat-discovery,stun.turn", "stun.turn"),
                            ("h2,stun.nat-discovery", "stun.nat-discovery"), ("h2", None), (None, None)):
        out = s_client(w, *(["-alpn", offered] if offered else []))
        wanted = f"ALPN protocol: {agreed}" if agreed else "No ALPN negotiated"
        if wanted not in out or "Cipher is (NONE)" in out:
            raise Failed(f"    offered {offered}, expected {wanted}:\n{out[-1200:]}")


@case("turnutils_uclient over TLS gets through with a catch-all web server behind, by its ALPN or its name")
def _(w):
    front(w, [web(w)])  # it offers neither: so it must be the default
    w.write("stile.yaml", open(w.path("stile.yaml"), encoding="utf-8").read().replace(web(w), '{ server_name: [www.example.org], to: "unix:%s" }' % w.path("nginx.sock")))
    with Nginx(w):
        w.start()
        uclient(w, w.tls, "127.0.0.6", "-S")
        w.logged("turn.alloc.created", "client=127.0.0.6:", "transport=tls")
        curl(w, "/").exits(0).says("the web server")


@case("plain STUN over TCP on the port is TURN's; HTTP and noise are closed and counted")
def _(w):
    front(w, [TURN, '{ to: "127.0.0.1:%d" }' % (w.base + 8)])
    w.start()
    uclient(w, w.tls, "127.0.0.5")
    w.logged("turn.alloc.created", "client=127.0.0.5:", "transport=tcp")
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 50, b"\x80\x2e\x01\x03\x01", b"\x15\x03\x01\x00\x02\x02\x28"):
        with connect(w.tls) as s:
            s.sendall(noise)
            expect(f"{noise[:4]} is closed", is_closed(s), True)
    expect("counted", dropped(w, "front_not_tls"), 4)
    w.logged("turn.front.not-tls", "client=127.0.0.2:")
    with connect(w.tls) as s:
        s.sendall(b"\x16\x03\x01\x00\x06\x02\x00\x00\x02\x03\x03")
        expect("a handshake that is no hello is closed", is_closed(s), True)
    expect("counted", dropped(w, "front_bad_hello"), 1)


@case("a browser's large hello in pieces gets through; one that never ends costs no more than its deadline and no CPU")
def _(w):
    front(w, [web(w)])
    with Nginx(w):
        server = w.start()
        names = [f"p{i:02d}-of-a-browser-with-a-long-list" for i in range(60)] + ["http/1.1"]
        first = hello(protocols=names)
        if len(first) < 2000:
            raise Failed(f"    the hello has only {len(first)} bytes")
        with connect(w.tls) as s:
            for i in range(0, len(first), 97):
                s.sendall(first[i:i + 97])
                time.sleep(0.01)
            s.settimeout(PATIENCE)
            expect("a server hello comes back", s.recv(3)[:2], b"\x16\x03")

        def cpu():
            with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
                return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
        before = cpu()
        slow = [connect(w.tls) for _ in range(20)]
        for i, s in enumerate(slow):
            s.sendall(first[:i * 50])
        began = time.monotonic()
        if not eventually(lambda: "20 waiting" in w.ask("status").out, 4):  # it accepts them when it gets to it
            raise Failed("    the status does not say that 20 wait")
        for s in slow:
            expect("closed at its deadline", is_closed(s), True)
        took = time.monotonic() - began
        if not 3.5 < took < 15:  # five seconds, as late as the machine is; the next bound, of who has no allocation, is 30
            raise Failed(f"    they were closed after {took:.1f} s")
        expect("counted", dropped(w, "front_slow"), 20)
        w.logged("turn.front.slow")
        if cpu() - before > 60:  # hundredths of a second, in a sanitizer's build
            raise Failed(f"    {(cpu() - before) / 100} s of CPU for 20 connections that said nothing new")
        with connect(w.tls) as s:
            s.sendall(first[:300])
            s.shutdown(socket.SHUT_WR)
            expect("one that ends within its hello is closed at once", is_closed(s, 4), True)  # before the deadline of 5 s


@case("a backend that is down is said, counted and shown, and used again when it is back; another is not touched")
def _(w):
    front(w, [TURN, web(w)])
    w.start()
    refused(curl(w, "/"))
    w.logged("warn turn.front.backend-down", "nginx.sock", "client=127.0.0.1")
    expect("counted", dropped(w, "front_backend_down"), 1)
    w.ask("status").says("nginx.sock", "down: No such file or directory")
    with Nginx(w):
        curl(w, "/").exits(0)
        w.ask("status").never_says("down:")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(w.path("nginx.sock"))
    refused(curl(w, "/"))
    w.logged("turn.front.backend-down", "Connection refused")
    with Nginx(w):
        curl(w, "/").exits(0).says("the web server")
    uclient(w, w.tls, "127.0.0.5")


@case("a hundred megabytes each way come through byte for byte, also to a client that reads slowly")
def _(w):
    front(w, [TURN, web(w)])
    blob = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with Nginx(w):
        with open(w.path("www/blob"), "wb") as f:
            for i in range(BIG >> 20):
                piece = blob[i:] + blob[:i]
                f.write(piece)
                digest.update(piece)
        os.chmod(w.path("www/blob"), 0o644)
        server = w.start()
        rss = lambda: int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{server.process.pid}/status", encoding="ascii").read())[1])  # noqa: E731
        before = rss()
        began = time.monotonic()
        curl(w, "--http1.1", "-o", w.path("got"), "/blob").exits(0)
        print(f"  100 MB in {time.monotonic() - began:.2f} s", flush=True)
        with open(w.path("got"), "rb") as f:
            expect("bytes", hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest(), digest.hexdigest())
        curl(w, "--http1.1", "--limit-rate", "20M", "-o", w.path("got"), "/blob").exits(0)
        if rss() - before > 30000:
            raise Failed(f"    the server has grown by {rss() - before} KiB")
        with open(w.path("got"), "rb") as f:
            expect("slowly", hashlib.sha256(f.read()).hexdigest(), digest.hexdigest())


@case("connections per address are limited at the front, with a counter and a line that names the key")
def _(w):
    front(w, [TURN, web(w)])
    text = open(w.path("stile.yaml"), encoding="utf-8").read()
    w.write("stile.yaml", text.replace("front: {", "front: { connections_per_address: 3,"))
    w.start()
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(w.tls)) for _ in range(3)]
        time.sleep(0.2)
        fourth = stack.enter_context(connect(w.tls))
        expect("the fourth is closed", is_closed(fourth), True)
        other = stack.enter_context(connect(w.tls, "127.0.0.9"))
        expect("another address is not", is_closed(other, 0.5), False)
        held[0].close()
        time.sleep(0.2)
        expect("there is room again", is_closed(stack.enter_context(connect(w.tls)), 0.5), False)
    expect("counted", dropped(w, "front_limit"), 1)
    w.logged("turn.front.limit-address", "client=127.0.0.2")


@case("routes change with a reload: at once for new connections, not for those that are open")
def _(w):
    front(w, [TURN, web(w)])
    with Nginx(w):
        w.start()
        with connect(w.tls) as s, ssl._create_unverified_context().wrap_socket(s, server_hostname="www.example.org") as t:
            front(w, [TURN])
            w.ask("reload").exits(0).says("turn.front.routes")
            out = s_client(w, "-servername", "www.example.org")
            with open(w.path("server.pem"), encoding="ascii") as f:
                if f.read().split("-----")[2].split()[0] not in out:
                    raise Failed("    the new route is not at work")
            t.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := t.recv(4096):
                got += piece
            if b"the web server" not in got:
                raise Failed(f"    the open connection was cut: {got}")


@case("the front behind a load balancer passes on the client that it was told of")
def _(w):
    front(w, [TURN, web(w)], proxy_protocol="{ from: [127.0.0.2/32] }")
    with Nginx(w) as nginx:
        w.start()
        with connect(w.tls) as s:
            s.sendall(header(("203.0.113.7", 4711), ("198.51.100.1", 443)))
            with ssl._create_unverified_context().wrap_socket(s, server_hostname="www.example.org") as t:
                t.sendall(b"GET / HTTP/1.0\r\n\r\n")
                expect("answered", b"the web server" in t.recv(4096) + t.recv(4096), True)
        if not eventually(lambda: "203.0.113.7:4711 443" in nginx.access()):
            raise Failed("    nginx saw: " + nginx.access())
        with connect(w.tls) as s:
            s.sendall(header(("203.0.113.8", 4712)))
            with over_tls(s) as t:
                expect("TURN", mapped(t), ("203.0.113.8", 4712))


@case("stile check finds what cannot be meant: a route behind a catch-all, a bad name, a loop, a missing certificate")
def _(w):
    for routes, words in (([web(w), TURN], ["never reached", "turn.front.routes[0]"]),
                          (['{ server_name: ["a.*.b"], to: turn }'], ["a.*.b"]),
                          (['{ to: "127.0.0.1:%d" }' % w.tls], ["itself"]),
                          (['{ to: "unix:relative.sock" }'], ["whole path"]),
                          (['{ to: "www.example.org:443" }'], ["unix:"])):
        front(w, routes)
        said = w.check()
        said.says(*words)
    front(w, [TURN])
    text = open(w.path("stile.yaml"), encoding="utf-8").read()
    w.write("stile.yaml", text.replace("  certificate: server.pem\n  key: server.key\n", ""))
    w.check().exits(2).says("front:", "certificate")
    w.config(listen=f'["udp:unix:{w.path("x.sock")}"]')
    w.check().exits(2).says("Unix socket")


if __name__ == "__main__":
    sys.exit(main(21940))
