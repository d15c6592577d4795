# SPDX-License-Identifier: Apache-2.0
"""Real clients and servers with the relay between them: nginx with curl and wrk, SMTP, a telnet-like server, raw
sockets. Every byte is compared, both ways."""
import contextlib
import hashlib
import os
import re
import smtplib
import socket
import threading

from real_world import Failed, case, answers, connect, echo, noise, program, read_all, running, said, wait_for


def nginx(w, port):
    w.write("www/big.bin", "")
    with open(w.path("www/big.bin"), "wb") as f:
        f.write(noise(8 << 20))
    os.chmod(w.path("www/big.bin"), 0o644)
    os.chmod(w.path("www"), 0o755)
    w.write("www/small.txt", "hello from behind the relay\n", mode=0o644)
    conf = w.write("nginx.conf", f"""daemon off; master_process off; pid {w.path('nginx.pid')}; error_log {w.path('nginx.err')};
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {w.path('t1')}; proxy_temp_path {w.path('t2')}; fastcgi_temp_path {w.path('t3')};
uwsgi_temp_path {w.path('t4')}; scgi_temp_path {w.path('t5')};
server {{ listen 127.0.0.1:{port}; root {w.path('www')}; client_max_body_size 64m;
location /up {{ dav_methods PUT; }} }}
server {{ listen 127.0.0.1:{port + 1} proxy_protocol; return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port"; }} }}
""")
    return running([program("nginx"), "-c", conf, "-e", w.path("nginx.err")], answers(port))


@case("nginx behind a route: curl's downloads and uploads are equal byte by byte, with keep-alive and in parallel")
def _(w):
    w.relay([f'{{ name: web, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    want = hashlib.sha256(noise(8 << 20)).hexdigest()
    os.makedirs(w.path("www/up"), exist_ok=True)
    with nginx(w, w.base + 20):
        urls = [f"http://127.0.0.1:{w.base}/big.bin"] * 4
        outs = [x for i in range(4) for x in ("-o", w.path(f"got{i}"))]
        w.run(program("curl"), "-sSf", "--parallel", *outs, *urls, timeout=60).exits(0)
        for i in range(4):
            with open(w.path(f"got{i}"), "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != want:
                    raise Failed(f"    download {i} differs")
        w.run(program("curl"), "-sSf", "-T", w.path("got0"), f"http://127.0.0.1:{w.base}/up/back.bin", timeout=60).exits(0)
        with open(w.path("www/up/back.bin"), "rb") as f:
            if hashlib.sha256(f.read()).hexdigest() != want:
                raise Failed("    the upload differs")


@case("nginx behind a PROXY header (v2) knows the source's address and port, and ours")
def _(w):
    w.relay([f'{{ name: web, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 21}", proxy_protocol: v2 }}'])
    with nginx(w, w.base + 20), connect(w.base) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        body = read_all(s).split(b"\r\n\r\n", 1)[1].decode()
        if body != f"127.0.0.1:{s.getsockname()[1]} {w.base}":
            raise Failed(f"    nginx was told {body}")


@case("wrk through a route: no error, and every connection is counted and gone")
def _(w):
    w.relay([f'{{ name: web, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    with nginx(w, w.base + 20):
        out = w.run(program("wrk"), "-t2", "-c40", "-d3s", f"http://127.0.0.1:{w.base}/small.txt", timeout=30).exits(0)
        out.says("requests in").never_says("Socket errors", "Non-2xx")
        w.connections(0)
        row = w.verb("relay.route.list")["rows"][0]
        requests = int(re.search(r"(\d+) requests in", out.out).group(1))
        if not (row["accepted"] >= 40 and row["failed"] == 0 and row["refused"] == 0 and row["bytes_down"] > requests * 200):
            raise Failed(f"    {row}")


def smtp_server(got):
    """Enough of RFC 5321 for smtplib; keeps what it got, and how."""
    def serve(s):
        f = s.makefile("rwb")

        def say(line):
            f.write(line + b"\r\n")
            f.flush()
        say(b"220 mail.test ESMTP")
        while line := f.readline():
            verb = line.split(b" ")[0].strip().upper()
            if verb == b"DATA":
                say(b"354 go on")
                body = bytearray()
                while (line := f.readline()) not in (b".\r\n", b""):
                    body += line[1:] if line.startswith(b"..") else line
                got.append(bytes(body))
                say(b"250 taken")
            elif verb == b"QUIT":
                say(b"221 bye")
                return
            else:
                say(b"250 ok")
    return serve


@case("SMTP behind a route: smtplib's messages arrive as they were sent")
def _(w):
    got = []
    w.target(smtp_server(got))
    w.relay([f'{{ name: smtp, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    bodies = [b"Subject: %d\r\n\r\n" % i + b"line of text, .\r\n..dots\r\n" * (1 + 500 * i) for i in range(4)]
    for body in bodies:
        with smtplib.SMTP("127.0.0.1", w.base, timeout=20) as c:
            c.sendmail("a@example.test", ["b@example.test"], body)
    if got != bodies:
        raise Failed("    a message differs")


def telnet_server(s):
    """Negotiates, greets, echoes single keys, answers a line, and closes on "quit"."""
    s.sendall(bytes([255, 251, 1, 255, 253, 31]) + b"login: ")
    line = b""
    while key := s.recv(1):
        s.sendall(key)
        line += key
        if line.endswith(b"\n"):
            if line.strip() == b"quit":
                return
            s.sendall(b"you said " + line)
            line = b""


@case("a telnet-like server: keys go through one by one, negotiation bytes untouched, and its close is passed on")
def _(w):
    w.target(telnet_server)
    w.relay([f'{{ name: telnet, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    with connect(w.base) as s:
        greeting = b""
        while not greeting.endswith(b"login: "):
            greeting += s.recv(100)
        if greeting != bytes([255, 251, 1, 255, 253, 31]) + b"login: ":
            raise Failed(f"    {greeting}")
        for key in b"hello\xff\xf4\n":
            s.sendall(bytes([key]))
            if s.recv(1) != bytes([key]):
                raise Failed("    a key came back as another")
        want = b"you said hello\xff\xf4\n"
        if s.recv(len(want), socket.MSG_WAITALL) != want:
            raise Failed("    the answer differs")
        s.sendall(b"quit\n")
        if read_all(s) != b"quit\n":
            raise Failed("    the end differs")


@case("raw sockets: noise of odd sizes both ways at once, half-closed by either side, on IPv4 and IPv6, in 20 connections")
def _(w):
    w.target(echo)

    def talker(s):  # sends first, then reads to the end, then says how much it was
        s.sendall(noise(300001, 3))
        s.shutdown(socket.SHUT_WR)
        count = len(read_all(s))
        w.counts.append(count)
    w.counts = []
    w.target(talker)
    w.relay([f'{{ name: echo, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}',
             f'{{ name: six, listen: "[::1]:{w.base + 1}", target: "localhost:{w.base + 20}" }}',
             f'{{ name: talker, listen: "127.0.0.1:{w.base + 2}", target: "127.0.0.1:{w.base + 21}" }}'])
    wrong = []

    def one(i):
        data = noise(1 + i * 77777, i)
        if said(w.base + i % 2, data, "::1" if i % 2 else "127.0.0.1") != data:
            wrong.append(i)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise Failed(f"    connections {wrong} got other bytes")
    if said(w.base + 2, noise(123457, 4)) != noise(300001, 3):
        raise Failed("    what the target said first differs")
    w.connections(0)
    wait_for("the target has read to the end", lambda: w.counts)
    if w.counts != [123457]:
        raise Failed(f"    the target got {w.counts}")


@case("a range of ports leads to the same ports; UDP routes keep a flow for each source")
def _(w):
    for i in range(3):
        w.target(lambda s, i=i: s.sendall(b"%d" % i), w.base + 20 + i)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", w.base + 30))
    w.relay([f'{{ name: range, listen: "127.0.0.2:{w.base + 20}-{w.base + 22}", target: "127.0.0.1" }}',
             f'{{ name: dns, udp: true, listen: "127.0.0.1:{w.base + 1}", target: "127.0.0.1:{w.base + 30}" }}'])
    for i in range(3):
        if said(w.base + 20 + i, b"", "127.0.0.2") != b"%d" % i:
            raise Failed(f"    port {i} of the range leads elsewhere")

    def answer():
        with contextlib.suppress(OSError):
            while True:
                data, who = udp.recvfrom(2048)
                udp.sendto(data[::-1], who)
    threading.Thread(target=answer, daemon=True).start()
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
    for n, c in enumerate(clients):
        c.settimeout(5)
        c.connect(("127.0.0.1", w.base + 1))
        for size in (1, 500, 1400):
            data = noise(size, n)
            c.send(data)
            if c.recv(2048) != data[::-1]:
                raise Failed("    a datagram came back as another")
    rows = w.connections(5)
    if {r["protocol"] for r in rows} != {"udp"} or any(r["packets_up"] != 3 for r in rows):
        raise Failed(f"    {rows}")
    udp.close()


@case("the route may change while it carries: connections go on, new ones go by the new target")
def _(w):
    w.target(echo)
    w.target(lambda s: s.sendall(b"the other one"))
    w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    with connect(w.base) as old:
        old.sendall(b"before")
        if old.recv(100) != b"before":
            raise Failed("    no echo")
        w.tunnel_config([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 21}" }}'])
        w.ask("reload", "tunnel").exits(0)
        if said(w.base, b"") != b"the other one":
            raise Failed("    a new connection goes to the old target")
        old.sendall(b"after")
        if old.recv(100) != b"after":
            raise Failed("    the old connection was cut")
