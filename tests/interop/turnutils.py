# SPDX-License-Identifier: Apache-2.0
"""coturn's own clients: turnutils_uclient over every transport, and the two STUN clients.

turnutils_uclient exits with 0 even when every packet is lost, so only its counts are believed. Modes
that fail against coturn itself (TLS client to client, -T -P, mobility over TCP) are not asked for."""
import contextlib
import re
import subprocess
import time

from harness import PASSWORD, PATIENCE, SECRET, USER, Failed, Skipped, run

TRANSPORTS = {"udp": [], "tcp": ["-t"], "tls": ["-t", "-S"], "dtls": ["-S"]}
MESSAGES = "20"


def judge(out):
    """Raises unless uclient's last figures say that everything sent came back."""
    counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\n", out)
    lost = re.findall(r"Total lost packets (\d+)", out)
    if not counts or not lost:
        errors = [line for line in out.splitlines() if re.search(r"error|cannot|fail|\b4\d\d\b", line, re.I)]
        raise Failed("no result; said: " + " / ".join((errors or out.strip().splitlines() or ["nothing"])[-3:]))
    sent, received = map(int, counts[-1])
    if sent == 0 or sent != received or lost[-1] != "0":
        raise Failed(f"sent {sent}, received {received}, lost {lost[-1]}")


def uclient(server, host, transport, options, login=None, timeout=60):
    port = server.tls_port if transport in ("tls", "dtls") else server.port
    login = login or ["-u", USER, "-w", PASSWORD]
    return run(["turnutils_uclient", "-c", "-n", MESSAGES, "-z", "10", "-p", str(port), *login,
                *TRANSPORTS[transport], *options, host], timeout=timeout)[1]


def listens(port):
    rows = []
    for family in ("udp", "udp6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{family}", encoding="ascii") as f:
            rows += f.readlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") for row in rows)


@contextlib.contextmanager
def echo_peer(server, host):
    """coturn's echo server, one per case so that cases can run side by side."""
    port = next(server.peer_ports)
    peer = subprocess.Popen(["turnutils_peer", "-L", host, "-p", str(port)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            if peer.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"turnutils_peer did not start on {host} port {port}")
            time.sleep(0.02)
        yield ["-e", host, "-r", str(port)]
    finally:
        peer.kill()
        peer.wait()


def need_ipv6(server, *hosts):
    if any(":" in h for h in hosts) and not server.ipv6:
        raise Skipped("this machine has no IPv6 on loopback")


def relayed_echo(transport, host, peer_host, options):
    def case(server):
        need_ipv6(server, host, peer_host)
        family = ["-x"] if ":" in peer_host else []
        with echo_peer(server, peer_host) as peer:
            judge(uclient(server, host, transport, [*peer, *family, *options]))
    return case


def client_to_client(transport, host, options):
    def case(server):
        need_ipv6(server, host)
        judge(uclient(server, host, transport, ["-y", *(["-x"] if ":" in host else []), *options]))
    return case


def tried_again(case, times=5):
    """uclient -M draws a DTLS version by lot for each connection and gives up when it drew one that is refused, one
    run in four: only that is tried again."""
    def again(server):
        for left in reversed(range(times)):
            try:
                return case(server)
            except Failed as e:
                if left == 0 or "no result" not in str(e) or "alert protocol version" not in str(e):
                    raise
    return again


def tcp_allocation(transport):
    """RFC 6062: two clients over TCP relay addresses; the transport's own -t is -T's."""
    secure = ["-S"] if transport == "tls" else []

    def case(server):
        port = server.tls_port if secure else server.port
        judge(run(["turnutils_uclient", "-T", "-y", "-n", MESSAGES, "-z", "10", "-p", str(port), "-u", USER,
                   "-w", PASSWORD, *secure, "127.0.0.1"], timeout=60)[1])
    return case


def rest_secret(transport):
    def case(server):
        judge(uclient(server, "127.0.0.1", transport, ["-y"], ["-u", USER, "-W", SECRET]))
    return case


def refused(login):
    """The same client with credentials that are wrong: the relay must not carry a thing. The client tries on and on,
    until it gets no answer any more and waits for one without an end."""
    def case(server):
        try:
            judge(uclient(server, "127.0.0.1", "udp", ["-y"], login, timeout=10))
        except Failed as e:
            if "no result" in str(e) or "hung for 10 s" in str(e):
                return
            raise Failed(f"expected a refusal, not this: {e}") from None
        raise Failed("the server relayed for wrong credentials")
    return case


def stunclient(host):
    def case(server):
        need_ipv6(server, host)
        out = run(["turnutils_stunclient", "-p", str(server.port), host])[1]
        if not re.search(r"UDP reflexive addr: " + re.escape(host) + r":\d+", out):
            raise Failed("no reflexive address in: " + " / ".join(out.split("\n")[-4:]))
    return case


def classic_stun(server):
    """The RFC 3489 client: its first test, which every STUN server answers."""
    out = run(["stun", f"127.0.0.1:{server.port}", "1", "-v"])[1]
    opened = re.search(r"Opened port (\d+)", out)
    if not opened or f"mappedAddr=127.0.0.1:{opened[1]}\n" not in out or "ok=1" not in out:
        raise Failed("no mapped address in: " + " / ".join(out.strip().split("\n")[-4:]))


def lost_packets_are_seen(server):
    """The judge itself: an echo from a port where nobody listens must not pass."""
    try:
        judge(uclient(server, "127.0.0.1", "udp", ["-e", "127.0.0.1", "-r", str(next(server.peer_ports))]))
    except Failed as e:
        if "received 0" in str(e):
            return
        raise
    raise Failed("uclient's figures passed although nobody echoed")


V4, V6 = "127.0.0.1", "::1"


def matrix():
    """(name, short form too, case) of everything for a server with named users."""
    for transport in TRANSPORTS:
        for how, options in (("channels", []), ("send", ["-s"])):
            for host in (V4, V6):
                family = "ipv6" if host == V6 else "ipv4"
                yield f"uclient {transport} {how} {family}", True, relayed_echo(transport, host, host, options)
    for transport in ("udp", "tcp", "dtls"):
        for host in (V4, V6):
            family = "ipv6" if host == V6 else "ipv4"
            yield (f"uclient client to client {transport} {family}", transport == "udp" or host == V4,
                   client_to_client(transport, host, []))
    yield "uclient ipv6 relay for an ipv4 client", True, relayed_echo("udp", V4, V6, [])
    yield "uclient ipv4 relay asked for by name", True, client_to_client("udp", V4, ["-X"])
    yield "uclient 1200-byte messages", True, client_to_client("udp", V4, ["-l", "1200"])
    yield "uclient odd length, padded channels", True, client_to_client("udp", V4, ["-D", "-l", "101"])
    yield "uclient odd length over tcp", True, relayed_echo("tcp", V4, V4, ["-l", "101"])
    yield "uclient extra requests", True, client_to_client("udp", V4, ["-G"])
    yield "uclient DONT-FRAGMENT", True, client_to_client("udp", V4, ["-g"])
    yield "uclient dual allocation", True, client_to_client("udp", V4, ["-Z"])
    yield "uclient dual allocation tls", False, relayed_echo("tls", V4, V4, ["-Z"])
    yield "uclient mobility", True, client_to_client("udp", V4, ["-M"])
    yield "uclient mobility dtls", False, tried_again(client_to_client("dtls", V4, ["-M"]))
    for transport in ("tcp", "tls"):
        yield f"uclient TCP allocation {transport}", True, tcp_allocation(transport)
    yield "uclient negative tests", False, client_to_client("udp", V4, ["-N"])
    yield "uclient ten clients at once", False, client_to_client("udp", V4, ["-m", "10"])
    yield "uclient with a wrong password", True, refused(["-u", USER, "-w", "not-" + PASSWORD])
    yield "uclient with an unknown user", True, refused(["-u", "mallory", "-w", PASSWORD])
    yield "turnutils_stunclient ipv4", True, stunclient(V4)
    yield "turnutils_stunclient ipv6", True, stunclient(V6)
    yield "stun (RFC 3489 client)", True, classic_stun
    yield "lost packets are seen", False, lost_packets_are_seen


def secret_matrix():
    """The same for a server with a REST secret."""
    for transport in ("udp", "tcp", "dtls"):
        yield f"uclient REST secret {transport}", transport == "udp", rest_secret(transport)
    yield "uclient with a wrong REST secret", True, refused(["-u", USER, "-W", "not-" + SECRET])
