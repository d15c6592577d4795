# SPDX-License-Identifier: Apache-2.0
"""The server's edge as strangers meet it: TLS and DTLS by openssl's client, garbage, connections that break.

Each case reads the server's own counters before and after over the control socket: bad input has a reason
there, and a flood of it does not fill the log. Only for stile-turn; coturn has no such counters."""
import json
import os
import re
import select
import socket
import struct
import subprocess
import time

from harness import PATIENCE, Failed, Skipped, run

GATE_LINES = 20  # a second and worker, turn/core.h


def ask(server, verb):
    if server.peer != "stile":
        raise Skipped("a case of stile-turn's own counters")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(server.path("stile-turn.sock"))
        lines = s.makefile("r", encoding="utf-8")
        lines.readline()
        s.sendall(json.dumps({"id": 1, "verb": verb, "args": {"text": True}}).encode() + b"\n")
        return json.loads(lines.readline())["result"]


def drops(server, reason):
    found = re.search(rf'^stile_turn_drops_total{{.*reason="{reason}".*}} (\d+)$', ask(server, "turn.metrics")["text"], re.M)
    if not found:
        raise Failed(f"there is no counter for drops because of {reason}")
    return int(found[1])


def expect_drops(server, reason, before, least, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while (now := drops(server, reason)) - before < least:
        if time.monotonic() > deadline:
            raise Failed(f"{now - before} drops because of {reason} were counted, {least} were caused")
        time.sleep(0.05)


def openssl(server, *options, say=""):
    return run(["sh", "-c", f"({say} sleep 0.5) | timeout 10 openssl s_client -connect 127.0.0.1:{server.tls_port} "
                + " ".join(options)], timeout=20)[1]


def tls(version, name):
    def case(server):
        out = openssl(server, version, "-alpn stun.turn", "-CAfile", server.path("server.pem"))
        for part in (f"New, {name}", "ALPN protocol: stun.turn", "Verify return code: 0"):
            if part not in out:
                raise Failed(f"no \"{part}\" in what openssl s_client {version} said: {out[-400:]}")
    return case


def tls_resumption(version):
    def case(server):
        ticket = server.path("session" + version)
        # stdin stays open until the ticket has come: with TLS 1.3 behind the handshake
        openssl(server, version, "-sess_out", ticket, say=f"for i in $(seq 80); do [ -s {ticket} ] && break; sleep 0.1; done;")
        out = openssl(server, version, "-sess_in", ticket)
        if "Reused, TLSv" not in out:
            raise Failed("the session was not resumed: " + out[-400:])
    return case


def tls_renegotiation(server):
    if "no renegotiation" not in openssl(server, "-tls1_2", say="printf 'R\\n';"):
        raise Failed("a renegotiation was not refused")


def old_tls(version):
    def case(server):
        before = drops(server, "connection_failed")
        out = openssl(server, version, "-cipher", "DEFAULT:@SECLEVEL=0")
        if "alert protocol version" not in out:
            raise Failed(f"{version} was not refused by an alert: {out[-400:]}")
        expect_drops(server, "connection_failed", before, 1)
    return case


def dtls(server):
    out = openssl(server, "-dtls1_2", "-CAfile", server.path("server.pem"))
    if "New, TLSv1.2" not in out or "Verify return code: 0" not in out:
        raise Failed("no DTLS 1.2: " + out[-400:])


def dtls_again(server):
    """A client that died comes back from the same port (RFC 6347 4.2.8): at once, and not when the old session ends."""
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.tls_port}", "-dtls1_2", "-bind", f"127.0.0.1:{next(server.peer_ports)}"]
    for life in ("first", "second"):
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            out, deadline = b"", time.monotonic() + 20
            while b"New, TLSv1.2" not in out and select.select([client.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                part = os.read(client.stdout.fileno(), 65536)
                if not part:
                    break
                out += part
            client.kill()  # so that it says no goodbye
        if b"New, TLSv1.2" not in out:
            raise Failed(f"no handshake in its {life} life: {out[-300:]}")


def dtls_garbage(server):
    before = drops(server, "not_dtls")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(100):
            s.sendto(os.urandom(i + 1), ("127.0.0.1", server.tls_port))
    expect_drops(server, "not_dtls", before, 100)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def broken_connections(server):
    """400 of them: all are counted, the log gets a bounded number of lines."""
    reasons = ("bad_frame", "connection_failed")
    before = {r: drops(server, r) for r in reasons}
    path, started = server.path("stile-turn.log"), time.time()
    size = os.path.getsize(path)
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"\xff" * 8)
            s.settimeout(5)
            s.recv(1)
        s = socket.create_connection(("127.0.0.1", server.port))
        reset(s)
    for r in reasons:
        expect_drops(server, r, before[r], 200)
    seconds = int(time.time() - started) + 2
    with open(path, encoding="utf-8", errors="replace") as f:
        f.seek(size)
        lines = [line for line in f if "turn.connection." in line]
    workers = ask(server, "turn.status")["workers"]
    if len(lines) > 2 * GATE_LINES * seconds * workers:
        raise Failed(f"{len(lines)} lines in {seconds} s for broken connections")
    return f"{len(lines)} lines"


def matrix():
    """(name, short form too, case) for a server with named users."""
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        yield f"openssl s_client {version} with ALPN", True, tls(version, name)
        yield f"openssl s_client {version} resumes", True, tls_resumption(version)
    yield "openssl s_client renegotiation refused", True, tls_renegotiation
    yield "openssl s_client -tls1_1 refused", True, old_tls("-tls1_1")
    yield "openssl s_client -dtls1 refused", True, old_tls("-dtls1")
    yield "openssl s_client -dtls1_2", True, dtls
    yield "a DTLS client that died comes back from its port", True, dtls_again
    yield "garbage to a DTLS listener is counted", True, dtls_garbage
    yield "broken connections are counted, and do not fill the log", True, broken_connections
