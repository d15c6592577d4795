# SPDX-License-Identifier: Apache-2.0
"""Our programs in the lab of tests/netns/tunnel_lab.py: stile-tunnel and stile-agent, each with a folder of its own that outlives
the process, and what visitors do with the jobs between them while every byte is compared."""
import contextlib
import hashlib
import json
import os
import random
import socket
import statistics
import struct
import threading
import time

from lab import Failed, run
from tunnel_lab import DEVICE, SERVER, echo, http_get, sink, source, stream_bytes, stream_hash, wait_for

HTTP, ECHO, SOURCE, SINK, UDP = 20080, 20007, 20019, 20009, 20053
FORWARDED = ((HTTP, 80), (ECHO, 7), (SOURCE, 19), (SINK, 9), (UDP, 7))
PASSWORD = "for-enrolment-in-the-lab"
CASES = []
ASAN = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"}


class Case:
    def __init__(self, sentence, fn, kind, short, line):
        self.sentence, self.fn, self.kind, self.short, self.line = sentence, fn, kind, short, line


def case(sentence, kind="cgnat", short=False, line=None):
    """A function that gets a lab of that kind; line: a long one between the site and the Internet (values of a Wire)."""
    def keep(fn):
        CASES.append(Case(sentence, fn, kind, short, line))
        return fn
    return keep


class Service:
    """One of our services in a folder of the lab; start() and kill() as often as one likes."""

    program, full = "", ""

    def __init__(self, lab, name, where, text):
        self.lab, self.name, self.where, self.process, self.ran = lab, name, where, None, []
        self.folder = os.path.join(lab.folder, name)
        os.makedirs(self.folder, exist_ok=True)
        self.configure(text)
        lab.services.append(self)

    def path(self, name):
        return os.path.join(self.folder, name)

    def configure(self, text):
        with open(self.path("stile.yaml"), "w", encoding="utf-8") as f:
            f.write(f"log: {{ level: debug, dir: {self.path('log')} }}\nstore: {{ path: {self.path('store')} }}\n{text}")
        os.chmod(self.path("stile.yaml"), 0o600)

    def start(self):
        self.process = self.lab.launch(self.where, [os.path.join(self.lab.build, self.program), "-c", self.path("stile.yaml"), "--runtime-dir",
                                                    self.path("run"), "--user", "root"], self.name, {**ASAN, **self.lab.env})
        self.ran.append(self.process)
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if not self.process.alive():
                raise Failed(f"{self.name} ended at its start:\n{self.process.said()[-3000:]}")
            with contextlib.suppress(OSError, ValueError):
                return self.verb("service.status") is not None
        wait_for(f"{self.name} is ready", ready)

    def verb(self, name, args=None):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.path(f"run/{self.full}.sock"))
            f = s.makefile("rw", encoding="utf-8")
            json.loads(f.readline())
            f.write(json.dumps({"id": 1, "verb": name, "args": args or {}}) + "\n")
            f.flush()
            answer = json.loads(f.readline())
        if "error" in answer:
            raise Failed(f"{name}: {answer['error']}")
        return answer["result"]

    def tool(self, *argv, check=True):
        """`stile ARGV` of this service."""
        return run([os.path.join(self.lab.build, "cli/stile"), *argv, "--runtime-dir", self.path("run")], check=check)[1]

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop()
        if self.process.process.returncode != 0:
            raise Failed(f"{self.name} ended with status {self.process.process.returncode}:\n{self.process.said()[-3000:]}")

    def restart(self):
        self.kill()
        self.start()

    def logged(self):
        """All that it wrote into its log."""
        text = ""
        for root, _, names in os.walk(self.path("log")):
            for name in sorted(names):
                with open(os.path.join(root, name), encoding="utf-8", errors="replace") as f:
                    text += f.read()
        return text

    def check(self):
        for p in self.ran:
            p.check()


class Server(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, lab, name="server", where="internet", more="", listen=("0.0.0.0:7443", "0.0.0.0:443")):
        super().__init__(lab, name, where, f"""tunnel:
  name: Control room
  public_name: {SERVER}
  workers: 2
  listen: [{", ".join(f'"tls:{at}"' for at in listen)}]
  password: {PASSWORD}
  ports: 20000-29999
{more}""")

    def code(self, name):
        """What `stile tunnel enrol` says an agent's administrator has to type."""
        said = json.loads(self.tool("tunnel", "enrol", name, "--json"))
        return said["code"]

    def fingerprint(self):
        """As it stands behind a server's name in an agent's file: sha256:…"""
        return json.loads(self.tool("tunnel", "identity", "--json"))["root"]


class Agent(Service):
    program, full = "tunnel/stile-agent", "stile-agent"

    def __init__(self, lab, name="agent", where="agent", servers=(f"{SERVER}:7443",), jobs=(), more=""):
        rows = "".join(f"    - {{ {job} }}\n" for job in jobs)
        super().__init__(lab, name, where, f"agent:\n  name: {name}\n  server: {json.dumps(servers)}\n{more}  jobs:{chr(10) + rows if rows else ' []'}\n")


def job(port, target_port, udp=False, encrypt=True, target=DEVICE, more=""):
    return (f'port: "{port}", target: "{target}:{target_port}"' + (", protocol: udp" if udp else "")
            + ("" if encrypt else ", encrypt: false") + more)


def usual_jobs(encrypt=True):
    return [job(port, target, udp=port == UDP, encrypt=encrypt or port == UDP) for port, target in FORWARDED]


# ---- visitors, each a thread that compares what it gets ----

class Crowd:
    """Visitors at the same time. Whoever sees something wrong says so; finish() waits for all."""

    def __init__(self, lab):
        self.lab, self.threads, self.wrong, self.over = lab, [], [], threading.Event()
        self.notes, self.counts, self.lock = [], {}, threading.Lock()

    def add(self, fn, *args):
        t = threading.Thread(target=self.run, args=(fn, args), daemon=True)
        self.threads.append(t)
        t.start()
        return t

    def run(self, fn, args):
        try:
            fn(self, *args)
        except Failed as e:
            self.wrong.append(f"{fn.__name__}: {e}")
        except Exception as e:  # whatever it is, it is the case's failure
            self.wrong.append(f"{fn.__name__}: {type(e).__name__}: {e}")

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n

    def note(self, text):
        with self.lock:
            self.notes.append(text)

    def check(self):
        if self.wrong:
            raise Failed("; ".join(self.wrong[:3]))

    def finish(self, seconds=120, workers=()):
        """workers: threads that end by themselves; after them the others are told to."""
        deadline = time.monotonic() + seconds
        for t in workers:
            t.join(max(0.1, deadline - time.monotonic()))
        self.over.set()
        for t in self.threads:
            t.join(max(0.1, deadline - time.monotonic()))
            if t.is_alive():
                self.check()
                raise Failed(f"a visitor hung for {seconds} s; {self.counts}")
        self.check()
        return ", ".join(self.notes)


class Marks:
    """What is to be done when so many bytes of a transfer are there: {bytes: function}. It waits for the function."""

    def __init__(self, at):
        self.at, self.done = dict(at or {}), 0

    def add(self, n):
        self.done += n
        for mark in [m for m in self.at if self.done >= m]:
            self.at.pop(mark)()


def download(crowd, n, at=None, port=SOURCE):
    """N bytes of the source, to be read while at's functions do something to the line."""
    marks, h = Marks(at), hashlib.sha256()
    with crowd.lab.connect(port) as s:
        s.sendall(f"{n}\n".encode())
        while data := s.recv(1 << 18):
            h.update(data)
            marks.add(len(data))
    if (marks.done, h.hexdigest()) != (n, stream_hash(n)):
        raise Failed(f"{marks.done} bytes of {n} came, or other ones")
    crowd.count("bytes down", n)


def upload(crowd, n, at=None, port=SINK):
    marks = Marks(at)
    with crowd.lab.connect(port) as s:
        for part in stream_bytes(n, 5):
            s.sendall(part)
            marks.add(len(part))
        s.shutdown(socket.SHUT_WR)
        said = fetch_text(s, 64)
    if said != stream_hash(n, 5):
        raise Failed(f"the target got other bytes than the {n} that were sent: {said!r}")
    crowd.count("bytes up", n)


def fetch_text(s, n):
    got = b""
    while len(got) <= n and (data := s.recv(4096)):
        got += data
    return got.decode()


def browse(crowd, hashes, seed, connections, requests, port=HTTP):
    """A browser: some connections one after the other, some requests on each."""
    r = random.Random(seed)
    for _ in range(connections):
        with crowd.lab.connect(port) as s:
            for _ in range(requests):
                i = r.randrange(len(hashes))
                status, found = http_get(s, f"f{i}")
                if status != 200 or found != hashes[i]:
                    raise Failed(f"f{i} came with status {status} and other bytes")
                crowd.count("files")


def talk(crowd, pause=0.02, port=ECHO, longest=None):
    """An interactive stream: a line there, the same back, until all others are done."""
    times, i, r = [], 0, random.Random(11)
    with crowd.lab.connect(port) as s:
        f = s.makefile("rb")
        while not crowd.over.is_set() or i == 0:
            line = f"{i} {r.random()}\n".encode()
            began = time.monotonic()
            s.sendall(line)
            if (got := f.readline()) != line:
                raise Failed(f"line {i} came back as {got!r}")
            times.append(time.monotonic() - began)
            i += 1
            time.sleep(pause)
    p99 = sorted(times)[len(times) * 99 // 100]
    crowd.note(f"{i} lines, p50 {statistics.median(times) * 1000:.1f} ms, p99 {p99 * 1000:.0f} ms, at most {max(times):.2f} s")
    if longest and max(times) > longest:
        raise Failed(f"an interactive line took {max(times):.2f} s")


OPENING = b"open"


def datagrams(crowd, pause=0.02, port=UDP, share=0.8):
    """Numbered datagrams of all sizes; those that come back are what was sent. They begin once the flow carries: only a few wait
    for that, and through a proxy on a busy machine it takes longer than those few."""
    r, sent, back = random.Random(12), 0, set()
    with crowd.lab.udp(port, timeout=pause) as s:
        wait_for("the first datagram comes back", lambda: echoed(s, OPENING))
        last = 0
        while not crowd.over.is_set() or sent < 20 or (time.monotonic() - last < 5 and len(back) < sent):
            if not crowd.over.is_set() or sent < 20:
                s.send(datagram(sent, r.randrange(8, r.choice((200, 1400, 1400, 1400, 9000)))))
                sent, last = sent + 1, time.monotonic()
            began = time.monotonic()
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                if (data := s.recv(65536)) == OPENING:
                    continue
                number = struct.unpack_from("!II", data)
                if data != datagram(*number) or number[0] in back:
                    raise Failed(f"datagram {number[0]} came back damaged or twice")
                back.add(number[0])
            time.sleep(max(0, pause - (time.monotonic() - began)))
    crowd.note(f"{len(back)} of {sent} datagrams")
    if len(back) < sent * share:
        missing = [i for i in range(sent) if i not in back]
        raise Failed(f"only {len(back)} of {sent} datagrams came back; missing are {missing}")


def echoed(s, data):
    with contextlib.suppress(TimeoutError, ConnectionRefusedError):
        s.send(data)
        return s.recv(len(data)) == data
    return False


def datagram(number, n):
    return struct.pack("!II", number, n) + random.Random(number).randbytes(n - 8)


# ---- sites ----

def answers(lab, port, address=SERVER, where="internet", seconds=3):
    """Whether the echo target answers behind that port now."""
    with contextlib.suppress(OSError), lab.connect(port, where, address, timeout=seconds) as s:
        s.sendall(b"hello")
        return s.recv(5, socket.MSG_WAITALL) == b"hello"
    return False


def wait_answer(lab, port=ECHO, seconds=60, what="the job answers", **more):
    began = time.monotonic()
    wait_for(what, lambda: answers(lab, port, **more), seconds)
    return time.monotonic() - began


def targets(lab, sizes=(0, 700, 30000, 400000, 2000000)):
    """What stands at the device; hashes of nginx's files."""
    lab.target(echo, 7)
    lab.target(source, 19)
    lab.target(sink, 9)
    lab.udp_echo(7)
    return lab.start_nginx(sizes)


def site(lab, encrypt=True, agent_more="", server_more="", by_code=True, more_jobs=()):
    """Server and agent with the usual jobs, connected."""
    if not encrypt:
        server_more += "  allow_plain: true\n"
    server = Server(lab, more=server_more).start()
    login = f"  code: {server.code('site-17')}\n" if by_code else f"  password: {PASSWORD}\n"
    at = f"{SERVER}:7443" + ("" if by_code else f"#{server.fingerprint()}")
    agent = Agent(lab, servers=(at,), jobs=[*usual_jobs(encrypt), *more_jobs], more=login + agent_more).start()
    wait_answer(lab, seconds=90)
    return server, agent

