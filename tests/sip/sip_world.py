# SPDX-License-Identifier: Apache-2.0
"""What the cases of stile-sip share: the world of tests/admin with stile-sip in it, a user agent of a few lines that
says exactly what a case wants said, sipp with scenarios of ours, and questions to the control socket.

Everything is on loopback, on ports of the script's own."""
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
import world  # noqa: E402
from world import BUILD, SIP, STILE, Failed, Skipped, World, case, wait_for  # noqa: E402, F401

FULL = "stile-sip"
HERE = os.path.dirname(os.path.abspath(__file__))
SCENARIOS = os.path.join(HERE, "scenarios")
CRLF = "\r\n"


def main(first_port):
    world.World = SipWorld
    return world.main(first_port)


def need(program):
    if not shutil.which(program):
        raise Skipped(f"{program} is not here")
    return program


def listens(port, proto):
    """Of this machine's sockets one that waits there; not what is left of a connection."""
    with open(f"/proc/net/{proto}", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return any(r[1].endswith(f":{port:04X}") and r[3] == ("0A" if proto == "tcp" else "07") for r in rows)


def credentials(challenge, user, password, method, uri):
    """The value of (Proxy-)Authorization for a challenge, MD5 or SHA-256."""
    p = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    h = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[p.get("algorithm", "MD5")]

    def digest(*parts):
        return h(":".join(parts).encode()).hexdigest()

    right = digest(digest(user, p["realm"], password), p["nonce"], "00000001", "c1", "auth", digest(method, uri))
    return (f'Digest username="{user}", realm="{p["realm"]}", nonce="{p["nonce"]}", uri="{uri}", response="{right}", '
            f'algorithm={p.get("algorithm", "MD5")}, qop=auth, nc=00000001, cnonce="c1"')


class Message:
    """A message that came in, as text."""

    def __init__(self, raw, peer=None):
        self.raw, self.peer = raw, peer
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape")).split(CRLF)
        self.start = lines[0]
        self.fields = [tuple(x.strip() for x in line.partition(":")[::2]) for line in lines[1:]]
        self.status = int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0 ") else 0
        self.method = "" if self.status else self.start.split(" ")[0]

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default


def says_ok(data):
    """What a gateway that takes everything answers to this datagram; None to a response and an ACK."""
    head = data.split(b"\r\n\r\n")[0].split(b"\r\n")
    if head[0].startswith((b"SIP/", b"ACK")):
        return None
    keep = [x for x in head[1:] if x.lower().startswith((b"via:", b"from:", b"to:", b"call-id:", b"cseq:"))]
    return b"\r\n".join([b"SIP/2.0 200 OK", *keep, b"Content-Length: 0", b"", b""])


class Ua:
    """One socket: a datagram's, or a connection. It says what it is told and keeps what came. A datagram that comes again, for this
    machine has much to do, gets the answer that it had and is not told of a second time."""

    seq, patience = 0, 15

    def __init__(self, transport, to, bind=("127.0.0.1", 0), context=None, name=None, connected=None):
        self.transport, self.to, self.buffer = transport, to, b""
        self.came = {}  # datagrams, and what was answered
        family = socket.AF_INET6 if ":" in (to or bind)[0] else socket.AF_INET
        if connected:
            self.s = connected
        elif transport == "udp":
            self.s = socket.socket(family, socket.SOCK_DGRAM)
            self.s.bind(bind if family == socket.AF_INET else ("::1", 0))
        else:
            self.s = socket.socket(family, socket.SOCK_STREAM)
            self.s.settimeout(15)
            if bind != ("127.0.0.1", 0):
                self.s.bind(bind)
            self.s.connect(to)
            if transport == "tls":
                self.s = context.wrap_socket(self.s, server_hostname=name)
        self.s.settimeout(15)
        self.at = self.s.getsockname()[:2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.s.close()

    def raw(self, data, to=None):
        if self.transport == "udp":
            self.s.sendto(data, to or self.to)
        else:
            self.s.settimeout(self.patience)  # next() has left its own
            self.s.sendall(data)

    def place(self):
        return f"[{self.at[0]}]:{self.at[1]}" if ":" in self.at[0] else f"{self.at[0]}:{self.at[1]}"

    def request(self, method, uri, headers=(), body="", **replace):
        """Text of a request; headers are further lines, replace puts others in the place of the usual ones."""
        Ua.seq += 1
        usual = {
            "Via": f"SIP/2.0/{self.transport.upper()} {self.place()};branch=z9hG4bK{os.getpid()}x{Ua.seq};rport",
            "Max-Forwards": "70",
            "From": f"<sip:alice@uc.test>;tag=a{Ua.seq}",
            "To": f"<{uri}>",
            "Call-ID": f"{Ua.seq}.{os.getpid()}@test",
            "CSeq": f"1 {method}",
            "Contact": f"<sip:alice@{self.place()};transport={self.transport}>",
        }
        usual.update({k.replace("_", "-"): v for k, v in replace.items()})
        lines = [f"{method} {uri} SIP/2.0"] + [f"{k}: {v}" for k, v in usual.items() if v is not None] + list(headers)
        if not any(line.lower().startswith("content-length") for line in headers):
            lines.append(f"Content-Length: {len(body.encode())}")
        return (CRLF.join(lines) + CRLF * 2 + body).encode()

    def ask(self, method, uri, headers=(), body="", seconds=15, **replace):
        """The request's final response."""
        data = self.request(method, uri, headers, body, **replace)
        call = Message(data).get("Call-ID")
        self.raw(data)
        return self.final(call, seconds, data if self.transport == "udp" else None)

    def final(self, call, seconds=15, again=None):
        """again: what is repeated meanwhile, for a packet may be lost when the machine has much to do."""
        deadline, repeat = time.monotonic() + seconds, time.monotonic() + 3
        while time.monotonic() < deadline:
            m = self.next(min(1, max(0.05, deadline - time.monotonic())))
            if m and m.status >= 200 and m.get("Call-ID") == call:
                return m
            if again and not m and time.monotonic() > repeat:
                self.raw(again)
                repeat += 3
        raise Failed(f"    no final response to {call} within {seconds} s")

    def next(self, seconds=15):
        """The next message, or None: nothing came, or the connection ended (then self.ended)."""
        self.ended = False
        deadline = time.monotonic() + seconds
        while True:
            if self.transport != "udp":
                m = self.cut()
                if m:
                    return m
            self.s.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                if self.transport == "udp":
                    data, peer = self.s.recvfrom(65535)
                    if self.is_new(data, peer):
                        return Message(data, peer)
                    continue
                part = self.s.recv(65535)
            except (TimeoutError, ssl.SSLWantReadError):
                return None
            except ConnectionResetError:
                part = b""
            if not part:
                self.ended = True
                return None
            self.buffer += part

    def is_new(self, data, peer):
        if data not in self.came:
            self.came[data] = None
            if len(self.came) > 1000:
                del self.came[next(iter(self.came))]
            return True
        if self.came[data]:
            self.raw(self.came[data], peer)
        return False

    def cut(self):
        while self.buffer.startswith(b"\r\n"):
            self.buffer = self.buffer[2:]
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        found = re.search(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*(\d+)", self.buffer[:end + 2], re.I)
        n = end + 4 + (int(found.group(1)) if found else 0)
        if len(self.buffer) < n:
            return None
        m = Message(self.buffer[:n], self.to)
        self.buffer = self.buffer[n:]
        return m

    def expect(self, method=None, status=None, seconds=15):
        m = self.next(seconds)
        if not m:
            raise Failed(f"    waited {seconds} s for {method or status}" + (": the connection has ended" if self.ended else ""))
        if (method and m.method != method) or (status and m.status != status):
            raise Failed(f"    expected {method or status}, got: {m.start}")
        return m

    def reply(self, m, code, reason="OK", headers=(), tag="b1", body=""):
        """A response to a request that came, where its Via says; on a connection over that one."""
        lines = [f"SIP/2.0 {code} {reason}"]
        for name in ("Via", "From", "To", "Call-ID", "CSeq", "Record-Route"):
            if name == "Record-Route" and not 100 < code < 300:
                continue
            lines += [f"{name}: {v}" + (f";tag={tag}" if name == "To" and "tag=" not in v and code > 100 else "") for v in m.all(name)]
        lines += list(headers) + [f"Content-Length: {len(body.encode())}"]
        data = (CRLF.join(lines) + CRLF * 2 + body).encode()
        if self.transport == "udp":
            self.came[m.raw] = data
        self.raw(data, m.peer)


class WsUa(Ua):
    """SIP over WebSocket, as a browser speaks it: masked frames, a message each."""

    def __init__(self, port, context=None, name=None, protocol="sip", origin="https://uc.test"):
        super().__init__("tls" if context else "tcp", ("127.0.0.1", port), context=context, name=name)
        self.secure = context is not None
        key = base64.b64encode(os.urandom(16)).decode()
        self.raw((f"GET /sip HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                  f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, {protocol}\r\n"
                  + (f"Origin: {origin}\r\n" if origin else "") + "\r\n").encode())
        answer = self.head()
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.upgraded = answer.startswith(b"HTTP/1.1 101 ") and want in answer
        self.answer = answer.split(b"\r\n")[0].decode()
        self.transport = "wss" if self.secure else "ws"

    def head(self):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = self.s.recv(1)
            if not part:
                break
            data += part
        return data

    def frame(self, data, op=1, final=True, mask=True, bits=0):
        n, key = len(data), os.urandom(4)
        head = bytes([(0x80 if final else 0) | bits | op])
        size = bytes([n]) if n < 126 else b"\x7e" + struct.pack("!H", n) if n < 65536 else b"\x7f" + struct.pack("!Q", n)
        size = bytes([size[0] | (0x80 if mask else 0)]) + size[1:]
        body = bytes(b ^ key[i % 4] for i, b in enumerate(data)) if mask else data
        self.s.settimeout(self.patience)
        self.s.sendall(head + size + (key if mask else b"") + body)

    def raw(self, data, to=None):
        if self.transport in ("ws", "wss"):
            self.frame(data)
        else:
            self.s.sendall(data)

    def take(self, n, seconds):
        self.s.settimeout(seconds)
        while len(self.buffer) < n:
            part = self.s.recv(65536)
            if not part:
                raise ConnectionResetError
            self.buffer += part
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_frame(self, seconds=15):
        """(opcode, data); None when nothing came or the connection ended."""
        self.ended = False
        try:
            first, size = self.take(2, seconds)
            if size == 126:
                size = struct.unpack("!H", self.take(2, seconds))[0]
            elif size == 127:
                size = struct.unpack("!Q", self.take(8, seconds))[0]
            return first & 15, self.take(size, seconds)
        except TimeoutError:
            return None
        except (ConnectionResetError, BrokenPipeError):
            self.ended = True
            return None

    def next(self, seconds=15):
        got = self.read_frame(seconds)
        return Message(got[1], self.to) if got and got[0] in (1, 2) else None


class Listening:
    """A TCP or TLS port: accept() gives a Ua."""

    def __init__(self, port, context=None, host="127.0.0.1"):
        self.context, self.s = context, socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.s.bind((host, port))
        self.s.listen(64)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def accept(self, seconds=15):
        self.s.settimeout(seconds)
        try:
            c, peer = self.s.accept()
            c.settimeout(seconds)
            if self.context:
                c = self.context.wrap_socket(c, server_side=True)
        except (TimeoutError, ssl.SSLError, ConnectionResetError) as e:
            raise Failed(f"    nobody connected: {e}") from None
        return Ua("tls" if self.context else "tcp", peer[:2], connected=c)


class SipWorld(World):
    """Ports: base udp+tcp, base+1 tls, base+2 mtls, base+3 lan; from base+10 on those of the other ends."""
    binary, full, patience = SIP, FULL, 10

    def __init__(self, first_port):
        super().__init__(first_port)
        self.lan, self.mtls = self.base + 3, self.base + 2

    def other(self, i=0):
        return self.base + 10 + i

    def authority(self):
        """A CA of the world's own, once."""
        if os.path.exists(self.path("ca.pem")):
            return
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj",
                     "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "ca.key", "-out", "ca.pem")

    def certificate(self, name="server", names="DNS:uc.test,IP:127.0.0.1", valid=None, again=False, days=60):
        if os.path.exists(self.path(name + ".pem")) and not again:
            return
        self.authority()
        self.write(name + ".ext", f"subjectAltName={names}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout",
                     name + ".key", "-out", name + ".csr")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                     str(days), "-extfile", name + ".ext", "-out", name + ".pem")

    def context(self, server=False, name=None):
        """A TLS context of the other ends: trusts the world's CA, shows NAME's certificate."""
        self.authority()
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.path("ca.pem"))
        if name:
            c.load_cert_chain(self.path(name + ".pem"), self.path(name + ".key"))
        return c

    def config(self, name="stile.yaml", tls=False, **keys):  # pylint: disable=arguments-differ
        """A good configuration; keys replace those of the sip section, None leaves one out. {o0} … are ports of others."""
        p = self.base
        sip = {
            "domains": "[uc.test]",
            "listen": f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}"'
                      + (f', "tls:127.0.0.1:{p + 1}", "mtls:127.0.0.1:{p + 2}"]' if tls else "]"),
            "lan": f'{{ listen: ["udp:127.0.0.1:{p + 3}", "tcp:127.0.0.1:{p + 3}"] }}',
            "timers": "{ probe: 0s }",
            "routes": "[ { domain: out.test, host: 127.0.0.1, port: {o0}, transport: udp } ]",
        }
        if tls:
            self.certificate()
            sip.update(certificate="server.pem", key="server.key", ca="ca.pem")
        log = keys.pop("log", "{ level: debug, dir: %s }" % self.path("log"))
        sip.update(keys)
        text = "".join(f"  {k}: {v}\n" for k, v in sip.items() if v is not None)
        for i in range(10):
            text = text.replace("{o%d}" % i, str(self.other(i)))
        return self.write(name, f"log: {log}\nstore: {{ path: {self.path('store')} }}\nsip:\n{text}")

    def program(self, binary, config, *options, prefix=()):
        """Another service beside stile-sip."""
        s = world.Server(self, [binary, *self.turn_argv(config, *options)[1:]], prefix=prefix)
        s.full = s.full.replace(self.full, os.path.basename(binary))
        self.servers.append(s)
        s.wait_ready()
        return s

    def reload(self):
        return self.verb("service.reload")

    def metric(self, name, label=None):
        for m in self.verb("sip.metrics", {"text": True})["text"].splitlines():
            if (m.startswith(name + " ") or m.startswith(name + "{")) and (label is None or f'"{label}"' in m):
                return float(m.rsplit(" ", 1)[1])
        raise Failed(f"    there is no metric {name} {label or ''}")

    def flows(self):
        return self.verb("sip.flows", {"limit": 1000})["rows"]

    def udp(self, lan=True, **more):
        return Ua("udp", ("127.0.0.1", self.lan if lan else self.base), **more)

    def tcp(self, lan=True, **more):
        return Ua("tcp", ("127.0.0.1", self.lan if lan else self.base), **more)

    # ---- sipp ----

    def sipp(self, scenario, *argv, target=None, background=False, seconds=60):
        """Runs a scenario of ours; in the background it is the caller's to wait for with sipp_done()."""
        full = [need("sipp"), "-sf", os.path.join(SCENARIOS, scenario), "-i", "127.0.0.1", "-nostdin", "-timeout", str(seconds),
                "-timeout_error", "-trace_err", "-error_file", self.path(scenario + ".errors"), *map(str, argv),
                *([target] if target else [])]
        with open(self.path(scenario + ".out"), "wb") as out:
            p = subprocess.Popen(full, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        p.scenario, p.full, p.seconds = scenario, full, seconds
        self.servers.append(Sipp(p))
        return p if background else self.sipp_done(p)

    def sipp_done(self, p):
        try:
            status = p.wait(p.seconds + 15)
        except subprocess.TimeoutExpired:
            p.kill()
            status = -1
        if status:
            said = ""
            for kind in (".errors", ".out"):
                if os.path.exists(self.path(p.scenario + kind)):
                    with open(self.path(p.scenario + kind), encoding="utf-8", errors="replace") as f:
                        said += f.read()[-1500:]
            raise Failed(f"    sipp {p.scenario} ended with {status}\n" + "".join(f"    | {line}\n" for line in said.splitlines()))
        return p


class Program:
    """Another program of a case, in a network namespace if one is named; World.stop_all() ends it."""

    stdin = subprocess.DEVNULL

    def __init__(self, w, name, argv, ns=None):
        self.w, self.name, self.argv, self.p = w, name, ["ip", "netns", "exec", ns, *argv] if ns else argv, None
        w.servers.append(self)

    def start(self, **more):
        with open(self.w.path(self.name + ".out"), "ab") as out:
            self.p = subprocess.Popen(self.argv, stdin=self.stdin, stdout=out, stderr=out, cwd=self.w.folder, start_new_session=True,
                                      **more)
        return self

    def said(self):
        with open(self.w.path(self.name + ".out"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def must_run(self):
        if self.p.poll() is not None:
            raise Failed(f"    {self.name} ended: {self.said()[-800:]}")

    def kill(self, how=signal.SIGTERM):
        if not self.p:
            return
        try:  # its group is its own: Kamailio's workers, and whoever `ip netns exec` has become
            os.killpg(self.p.pid, how)
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.p.pid, signal.SIGKILL)
            self.p.wait(10)
        except ProcessLookupError:
            self.p.wait(10)
        self.p = None

    def stop(self):
        self.kill()


class Sipp:
    """For World.stop_all(): whoever still runs at the end of a case is ended."""

    def __init__(self, p):
        self.p = p

    def stop(self):
        self.kill()

    def kill(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait(10)
