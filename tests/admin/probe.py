# SPDX-License-Identifier: Apache-2.0
"""`stile test turn`: good servers pass, and each failure is explained."""
import concurrent.futures
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

from world import NETNS, SECRET, Failed, case, main, need_netns, silent
from harness import Server as InteropServer, Skipped

ALICE = ["--user", "alice", "--password", "wonderland"]


@case("this machine's server is tried on its listeners, with its own credential and certificate")
def _(w):
    w.certificate(names="DNS:turn.example.org")  # not the name it is tried by
    w.config(users=None)
    w.start()
    said = w.test("-c", w.path("stile.yaml")).exits(0)
    said.says(":stile-test (minted from the first of turn.secrets)", "udp binding", "the server sees you as 127.0.0.1:",
              "udp allocate", "relay address 127.0.0.1:", "realm admin.test", "udp send", "4 of 4 packets came back",
              "udp channel", "4 of 4", "udp guard", "403 Forbidden", "udp release", "tcp connect", "tls connect", "TLSv1.3",
              "certificate good until 20", "dtls connect", "DTLSv1.2", "certificate good until", "checks are good")
    said.never_says("✘", "udp connect")
    w.test("-c", w.path("stile.yaml"), "-t", "dtls").exits(0).says("all 7 checks are good").never_says("udp", "tls connect  T")
    report = w.test("-c", w.path("stile.yaml"), "-t", "udp,tls", "--json").exits(0).json()
    if [t["transport"] for t in report["transports"]] != ["udp", "tls"] or report["bad"] or report["good"] != 13:
        raise Failed(f"    {report}")
    w.test("127.0.0.1", "-c", w.path("stile.yaml"), "-t", "udp").exits(0)
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", "--shared-secret", SECRET).exits(0).says("minted from --shared-secret")


@case("wrong credentials, no credentials, a name that is not found and a port behind a colon are told")
def _(w):
    w.config(tls=False)
    w.start()
    at = ["127.0.0.1", "-p", str(w.port), "-t", "udp"]
    w.test(*at, "--user", "alice", "--password", "x").exits(1).says("✔ udp binding", "✘ udp allocate", "401 Unauthorized",
                                                                    "wrong user name or password", "1 check good, 1 failed")
    w.test(*at, "--shared-secret", "x").exits(1).says("401 Unauthorized")
    w.test(*at, "-c", w.path("none.yaml")).exits(2).says("none.yaml: cannot be read")
    w.test("no-such-host.invalid", *ALICE).exits(1).says("the name no-such-host.invalid is not found")
    w.test("127.0.0.1:3478", *ALICE).exits(1).says("its port goes to --port")
    report = w.test(*at, "--user", "alice", "--password", "x", "--json").exits(1).json()
    if report["bad"] != 1 or report["transports"][0]["steps"][-1]["ok"]:
        raise Failed(f"    {report}")


@case("a port where nobody listens, or another protocol, is told for each transport")
def _(w):
    w.config()
    w.start()
    wrong = ["127.0.0.1", "-p", str(w.base + 5), "--tls-port", str(w.base + 5), "--insecure", *ALICE, "--wait", "1s"]
    said = w.test(*wrong).exits(1)
    said.says("✘ udp binding", "nobody listens on this UDP port", "✘ tcp connect", "nobody listens on this TCP port",
              "✘ tls connect", "nobody listens on this TCP port", "✘ dtls connect", "nobody listens on this UDP port", "4 failed")
    said.never_says("refused: ")
    crossed = ["127.0.0.1", "-p", str(w.tls), "--tls-port", str(w.port), "--insecure", *ALICE, "--wait", "1s"]
    w.test(*crossed, "-t", "tls").exits(1).says("✘ tls connect", "is this port for TLS?")
    w.test(*crossed, "-t", "tcp").exits(1).says("✘ tcp binding", "is this a plain TCP port of a STUN server?")
    w.test(*crossed, "-t", "dtls").exits(1).says("✘ dtls connect", "no answer within 1 s", "this port is not for DTLS")


@case("a port that swallows everything is told as filtered, within the time that is given")
def _(w):
    with silent(socket.SOCK_DGRAM, w.port), silent(socket.SOCK_STREAM, w.port), concurrent.futures.ThreadPoolExecutor() as pool:
        at = ["127.0.0.1", "-p", str(w.port), "--tls-port", str(w.port), *ALICE, "--wait", "1s", "-t"]
        wanted = {"udp": "no answer within 1 s: a firewall drops it, or no STUN server listens on this UDP port",
                  "tcp": "no answer within 1 s: something listens there, but no STUN server",
                  "tls": "no answer within 1 s: a firewall drops it, the address is wrong, or this port is not for TLS",
                  "dtls": "no answer within 1 s: a firewall drops it, nothing listens there, or this port is not for DTLS"}
        for said, text in [(pool.submit(w.test, *at, t), text) for t, text in wanted.items()]:
            said.result().exits(1).says("✘", text)


@case("a firewall that drops, in earnest: the listeners' ports and the relay's")
def _(w):
    need_netns()
    if not shutil.which("nft"):
        raise Skipped("there is no nft here")
    w.config(tls=False)
    s = w.start(prefix=NETNS)
    inside = ["nsenter", "-t", str(s.process.pid), "-n"]
    if subprocess.run([*inside, "nft", "add table inet t; add chain inet t i { type filter hook input priority 0; }"],
                      capture_output=True, timeout=10).returncode:
        raise Skipped("nftables does not work here")
    test = ["127.0.0.1", "-p", str(w.port), *ALICE, "--wait", "1s", "-t"]
    w.test(*test[:-3], "-t", "udp,tcp", prefix=inside).exits(0)  # what answers may be late
    w.run(*inside, "nft", f"add rule inet t i udp dport {w.base + 10}-{w.base + 39} drop").exits(0)
    w.test(*test, "udp", prefix=inside).exits(1).says("✔ udp allocate", "✘ udp send", "0 of 4 packets came back",
                                                      "a firewall before its relay ports?", "✔ udp release")
    w.run(*inside, "nft", f"add rule inet t i tcp dport {w.port} drop; add rule inet t i udp dport {w.port} drop").exits(0)
    w.test(*test, "udp,tcp", prefix=inside).exits(1).says("✘ udp binding", "no answer within 1 s: a firewall drops it",
                                                          "✘ tcp connect", "no answer within 1 s: a firewall drops it, or the address is wrong")


@case("a certificate that is not trusted, expired, or for another name is told, with what to do")
def _(w):
    w.certificate("server", names="DNS:localhost,IP:127.0.0.1")
    w.certificate("old", valid=("20200101000000Z", "20210101000000Z"))
    w.certificate("other", names="DNS:turn.example.org")
    for name, ca, transport, *texts in (
            ("server", None, "tls", "the server's certificate is refused: self-signed certificate", "--ca FILE"),
            ("server", None, "dtls", "the server's certificate is refused: self-signed certificate", "--insecure"),
            ("old", "old", "tls", "certificate is refused: certificate has expired", "renew it"),
            ("other", "other", "tls", "is refused: hostname mismatch: it is not for localhost"),
            ("other", "other", "dtls", "hostname mismatch")):
        w.config(certificate=f"{name}.pem", key=f"{name}.key")
        s = w.start()
        trust = ["--ca", w.path(ca + ".pem")] if ca else []
        w.test("127.0.0.1", "--server-name", "localhost", "--tls-port", str(w.tls), "-t", transport, *trust, *ALICE).exits(1).says(f"✘ {transport} connect", *texts)
        if name != "server":
            w.test("127.0.0.1", "--server-name", "localhost", "--tls-port", str(w.tls), "-t", transport, "--insecure", *ALICE).exits(0).says("certificate not checked")
        else:
            w.test("127.0.0.1", "--tls-port", str(w.tls), "-t", transport, "--ca", w.path("server.pem"), *ALICE).exits(0)
        s.stop()
    w.test("127.0.0.1", "--server-name", "localhost", "-t", "tls", "--ca", w.path("none.pem"), *ALICE).exits(1).says("none.pem", "cannot be read")


@contextlib.contextmanager
def stun_only(port):
    """Answers Binding and nothing else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    request, client = s.recvfrom(2048)
                    if not request:
                        return
                    if request[:2] == b"\0\1":
                        mapped = struct.pack("!HHBBH4s", 0x0020, 8, 0, 1, client[1] ^ 0x2112,
                                             bytes(a ^ b for a, b in zip(socket.inet_aton(client[0]), b"\x21\x12\xa4\x42")))
                        s.sendto(struct.pack("!HH", 0x0101, 12) + request[4:20] + mapped, client)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        s.sendto(b"", ("127.0.0.1", port))
        thread.join()


@case("a server that answers Binding and no Allocate is told from one that refuses it")
def _(w):
    with stun_only(w.port):
        w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", *ALICE, "--wait", "1s").exits(1).says(
            "✔ udp binding", "✘ udp allocate", "no answer within 1 s: the server may offer STUN without TURN")
    w.config(tls=False, limits="{ allocations: 1 }")
    w.start()
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", *ALICE).exits(1).says(
        "✔ udp binding", "✘ udp allocate", "508 Insufficient Capacity", "no relay port left, or a limit is reached")
    if w.verb("turn.sessions")["rows"]:
        raise Failed("    a failed test left its allocation behind")


@case("peers that are denied, and packets that are lost on the relay, are told")
def _(w):
    w.config(tls=False, peers="{ deny: [127.0.0.0/8] }")
    s = w.start()
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", *ALICE).exits(1).says(
        "✔ udp allocate", "✘ udp send", "the server refused CreatePermission for 127.0.0.1:", "403 Forbidden", "turn.peers", "✔ udp release")
    if w.verb("turn.sessions")["rows"]:
        raise Failed("    a failed test left its allocations behind")
    s.stop()
    w.config(tls=False, limits="{ bitrate_per_user: 64kbit/s }")
    w.start()
    w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "-t", "udp", *ALICE, "--packets", "60", "--wait", "1s").exits(1).says(
        "✔ udp allocate", "✘ udp send", "of 60 packets came back", "some are lost on the way")


@case("a server that relays to link-local addresses fails the guard, with the danger in words")
def _(w):
    w.config(tls=False, peers="{ allow: [127.0.0.0/8, 169.254.0.0/16] }")
    w.start()
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", *ALICE).exits(1).says("✔ udp channel", "✘ udp guard", "169.254.169.254",
                                                                           "turn.peers.allow")


@case("coturn passes every check on every transport, but for the guard that it leaves to its administrator")
def _(w):
    if not shutil.which("turnserver"):
        raise Skipped("coturn is not installed")
    os.environ["STILE_PEER"] = "coturn"
    try:
        with InteropServer("users", w.base) as s:
            said = w.test("127.0.0.1", "-p", str(s.port), "--tls-port", str(s.tls_port), *ALICE, "--ca", s.path("server.pem"))
            bad = [line for line in said.out.splitlines() if "✘" in line and " guard " not in line]
            if bad or said.out.count("✔") != 23:
                said.fail("coturn did not pass")
            w.test("127.0.0.1", "-p", str(s.port), "-t", "udp", "--user", "alice", "--password", "x").exits(1).says(
                "✘ udp allocate", "401", "wrong user name or password")
    finally:
        del os.environ["STILE_PEER"]


if __name__ == "__main__":
    sys.exit(main(24160))
