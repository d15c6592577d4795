# SPDX-License-Identifier: Apache-2.0
"""TLS and DTLS clients that do not come to an end: garbage, vanishing in mid-handshake, floods of ClientHellos.
Advisory: CVE-2022-2576."""
import os
import socket
import ssl
import struct

import stunwire as wire
from spoofed import flood
from datagrams import server_queue
from streams import closed
from world import Failed, Watch, wait_for


def tls_client_hello():
    """A genuine one, as OpenSSL makes it."""
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = context.wrap_bio(ssl.MemoryBIO(), out)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


DTLS12, HANDSHAKE, CLIENT_HELLO, HELLO_VERIFY = b"\xfe\xfd", 22, 1, 3
SUITES = struct.pack("!HHHH", 0xC02B, 0xC02F, 0xC02C, 0xC030)  # ECDHE with AES-GCM
EXTENSIONS = (struct.pack("!HHHHH", 10, 6, 4, 0x1D, 0x17) +            # groups: X25519, P-256
              struct.pack("!HHBB", 11, 2, 1, 0) +                      # points: uncompressed
              struct.pack("!HHHHHH", 13, 8, 6, 0x0403, 0x0804, 0x0401) +  # signatures
              struct.pack("!HHB", 0xFF01, 1, 0))                       # renegotiation info


def dtls_client_hello(cookie=b"", random=None, sequence=0):
    body = (DTLS12 + (random or os.urandom(32)) + b"\0" + bytes([len(cookie)]) + cookie + struct.pack("!H", len(SUITES)) +
            SUITES + b"\1\0" + struct.pack("!H", len(EXTENSIONS)) + EXTENSIONS)
    length = struct.pack("!I", len(body))[1:]
    fragment = bytes([CLIENT_HELLO]) + length + struct.pack("!H", sequence) + bytes(3) + length + body
    return bytes([HANDSHAKE]) + DTLS12 + struct.pack("!HIHH", 0, 0, sequence, len(fragment)) + fragment


def cookie_of(answer):
    """The cookie of a HelloVerifyRequest; None if it is none."""
    if len(answer) < 28 or answer[0] != HANDSHAKE or answer[13] != HELLO_VERIFY:
        return None
    return answer[28:28 + answer[27]]


def half_dtls_handshake(server, source):
    """A session that exists and waits for a client that says no more. The socket, to be closed by the caller."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((source, 0))
    s.connect(("127.0.0.1", server.tls_port))
    s.settimeout(15)
    random = os.urandom(32)
    s.send(dtls_client_hello(random=random))
    cookie = cookie_of(s.recv(2048))
    if not cookie:
        raise Failed("a ClientHello without a cookie was not answered by a HelloVerifyRequest")
    s.send(dtls_client_hello(cookie, random, 1))
    if s.recv(2048)[13] != 2:
        raise Failed("a ClientHello with a good cookie was not answered by a ServerHello")
    return s


def tls_garbage(server):
    hello = tls_client_hello()
    bad = [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\xff" * 100, wire.message(wire.BINDING) * 5, hello[:60] + os.urandom(len(hello) - 60),
           b"\x16\x03\x01\x40\x00" + bytes(0x4000), b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x15\x03\x03\x00\x02\x02\x28"]
    with Watch(server, {"drops.connection_failed": len(bad)}) as watch:
        for data in bad:
            with wire.dial(server.tls_port) as s:
                try:
                    s.sendall(data)
                except ConnectionError:
                    continue
                if not closed(s):
                    raise Failed(f"the connection stays open after {data[:12]!r}…")
    return watch.note


def tls_vanish(server):
    """Connected and gone: before a byte, within and behind the ClientHello, by FIN and by RST."""
    hello = tls_client_hello()
    with Watch(server, {"drops.connection_failed": 100}) as watch:
        for i in range(120):
            with wire.dial(server.tls_port) as s:
                s.sendall(hello[:(0, 1, 5, 200, len(hello))[i % 5]])
                if i % 2:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return watch.note


def dtls_flood(count):
    """ClientHellos without a cookie: an answer each, and nothing is kept."""
    def case(server):
        path = server.path("template-dtls")
        with open(path, "wb") as f:
            f.write(dtls_client_hello())
        # ASan's allocator spreads by some 50 bytes an OpenSSL call (a release build does not: +0.6 MB a million).
        slack_kb = count * 64 // 1024 if server.asan else 0
        with Watch(server, {}, loss=0.01, slack_kb=slack_kb) as watch:
            done = flood(server.tls_port, count, "127", [path])
            connections = server.status()["connections"]
        if connections > watch.held["connections"]:
            raise Failed(f"{connections - watch.held['connections']} sessions were made for forged sources")
        if done["answers"] < done["sent"] // 2:
            raise Failed(f"only {done['answers']} of {done['sent']} ClientHellos got an answer")
        if done["answer_bytes"] > done["sent_bytes"]:
            raise Failed(f"the answers are longer than the ClientHellos: {done}")
        return f"{done['sent']} sources, {done['answers']} answers of {done['answer_bytes'] // done['answers']} bytes; {watch.note}"
    return case


def dtls_garbage(server):
    hello = dtls_client_hello()
    bad = [b"", b"\x16", hello[:13], hello[:25], hello[:-1], b"\x16\xfe\xfd" + b"\xff" * 60, b"\x17" + hello[1:], b"\x14\xfe\xfd" + bytes(11),
           dtls_client_hello(b"c" * 255), dtls_client_hello(b"forged cookie of twenty"), wire.message(wire.BINDING), hello + os.urandom(1200),
           hello[:14] + b"\xff\xff\xff" + hello[17:], hello[:19] + b"\0\0\5" + hello[22:], bytes(65507)]
    with Watch(server, {"drops.not_dtls": 20 * 8}) as watch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", server.tls_port))
        for _ in range(20):
            for data in bad:
                s.send(data)
            wait_for("the server to read", lambda: server_queue(server.tls_port) == 0)
        with half_dtls_handshake(server, "127.0.0.1"):
            pass  # a genuine client still gets its session after all that
        watch.held["connections"] += 1  # it waits for that client's timeout now
    return watch.note


def matrix():
    yield "garbage on the TLS port", True, tls_garbage
    yield "120 TLS clients that connect and vanish", True, tls_vanish
    yield "DTLS ClientHellos from 20,000 forged sources", True, dtls_flood(20000)
    yield "DTLS ClientHellos from a million forged sources", False, dtls_flood(1000000)
    yield "garbage on the DTLS port", True, dtls_garbage
