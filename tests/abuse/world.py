# SPDX-License-Identifier: Apache-2.0
"""The server under attack and what is watched while a case runs.

A case runs inside Watch, which holds for every case alike: the server lives and answers, no packet of the
well-behaved clients is lost, the counters named by the case have moved, and when the attackers are gone the
server holds as many descriptors, connections, allocations and as much memory as before."""
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from harness import PASSWORD, PATIENCE, USER, Failed, Server, Skipped, binding_answered, wait_for  # noqa: E402, F401

RELEASE_SLACK_KB = 3 * 1024  # the allocator's own rounding
# A freed block waits in ASan's quarantine (made small below), its shadow and the record of each call
# stack stay: growth with the attack's size is looked for, not single bytes. LeakSanitizer does those.
ASAN_SLACK_KB = 20 * 1024  # 20,000 mutated datagrams were seen to leave 14.1 MB of that


def raise_descriptor_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


def keep_quarantine_small():
    """So that ASan gives freed memory back and growth can be seen."""
    os.environ["ASAN_OPTIONS"] = ":".join((os.environ.get("ASAN_OPTIONS", "detect_leaks=1"), "quarantine_size_mb=1",
                                           "thread_local_quarantine_size_kb=64", "malloc_context_size=8"))


class Control:
    """The control socket, one JSON line each way."""

    def __init__(self, path, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.lines = self.sock.makefile("rb")
        self.hello = json.loads(self.lines.readline())
        self.ids = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.sock.close()

    def call(self, verb, **args):
        self.ids += 1
        self.sock.sendall(json.dumps({"id": self.ids, "verb": verb, "args": args}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        if "result" not in answer:
            raise Failed(f"{verb}: {answer}")
        return answer["result"]


class Victim(Server):
    """stile-turn for attacks: limits and descriptors as a case wants them."""

    def __init__(self, first_port, limits="", descriptors=None):
        super().__init__("users", first_port)
        self.limits, self.descriptors = limits, descriptors
        with open(self.binary(), "rb") as f:
            self.asan = b"__asan_init" in f.read()

    @staticmethod
    def binary():
        return os.environ.get("STILE_TURN") or os.path.join(os.environ.get("STILE_BUILD", "build"), "turn/stile-turn")

    def write_stile_config(self):
        super().write_stile_config()
        with open(self.path("stile.yaml"), encoding="utf-8") as f:
            text = f.read()
        if self.limits:
            before = "allocations_per_user: 1000"
            if before not in text:
                raise Failed("the harness writes its limits in another way now")
            text = text.replace(before, f"{before}, {self.limits}")
        if "\nstore:" not in text:
            text += f'\nstore: {{ path: "{self.folder}" }}\n'
        with open(self.path("stile.yaml"), "w", encoding="utf-8") as f:
            f.write(text)

    def stile_argv(self):
        argv = super().stile_argv()
        if os.geteuid() == 0 and "--user" not in argv:
            argv += ["--user", "root"]
        if self.descriptors:
            argv = ["prlimit", f"--nofile={self.descriptors}:{self.descriptors}", *argv]
        return argv

    # what can be seen from outside

    def control(self, timeout=10):
        return Control(self.path("stile-turn.sock"), timeout)

    def counters(self):
        with self.control() as c:
            return c.call("turn.metrics")

    def status(self):
        with self.control() as c:
            return c.call("turn.status")

    def memory_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))

    def descriptors_open(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def log_text(self):
        with open(self.path("stile-turn.log"), "rb") as f:
            return f.read()


def counter(counters, name):
    """"drops.not_turn" or "refusals.challenge": short for the row's name and its label."""
    row, _, label = name.partition(".")
    value = counters[f"stile_turn_{row}_total"]
    return value[label] if label else value


class Echo:
    """A well-behaved client in a process of its own: packets through the relay to an echo peer and back."""

    def __init__(self, server, transport, rate=50):
        self.transport = transport
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "echo.py"), transport, str(server.port), USER,
                                         PASSWORD, str(rate)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask()

    def ask(self):
        """Waits until all that is under way has arrived or is given up: [sent, lost, worst round trip in ms]."""
        try:
            self.process.stdin.write("?\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise Failed(f"the well-behaved {self.transport} client has ended")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def echoes(server, transports=("udp", "tcp")):
    running = []
    try:
        for t in transports:
            running.append(Echo(server, t))
        server.echoes = running
        yield
    finally:
        server.echoes = []
        for e in running:
            e.stop()


class Watch:
    """with Watch(server, {"drops.malformed": 100}): attack. The numbers are the least by which a counter moves."""

    def __init__(self, server, moved, loss=0.0, settle=PATIENCE, slack_kb=0):
        self.server, self.moved, self.loss, self.settle = server, moved, loss, settle
        self.slack_kb = slack_kb + (ASAN_SLACK_KB if server.asan else RELEASE_SLACK_KB)
        self.note = ""

    def __enter__(self):
        for e in self.server.echoes:
            e.ask()
        self.counters = self.server.counters()
        self.held = self.what_is_held()
        self.memory = self.server.memory_kb()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.judge()

    def what_is_held(self):
        status = self.server.status()
        # The status call itself is one descriptor; it is gone, or not yet, when they are counted.
        return {"allocations": status["allocations"], "connections": status["connections"],
                "descriptors": self.server.descriptors_open()}

    def gave_back(self):
        now = self.what_is_held()
        return all(now[k] <= self.held[k] + (k == "descriptors") for k in now)

    def alive(self):
        if self.server.process.poll() is not None:
            raise Failed(f"the server ended with status {self.server.process.returncode}:\n{self.server.log_tail()}")
        for host in self.server.hosts:
            wait_for(f"a Binding answer on {host}", lambda h=host: binding_answered(h, self.server.port))

    def undisturbed(self):
        for e in self.server.echoes:
            sent, lost, worst = e.ask()
            if sent == 0 or lost > sent * self.loss:
                raise Failed(f"the well-behaved {e.transport} client lost {lost} of {sent} packets")
            self.note += f", {e.transport} echo {sent - lost}/{sent} (worst {worst:.0f} ms)"

    def short_of(self, now):
        """Counters that have not moved as far as they must: the server may still have something to read."""
        moved = {name: counter(now, name) - counter(self.counters, name) for name in self.moved}
        return {name: n for name, n in moved.items() if n < self.moved[name]}

    def counted(self):
        try:
            wait_for("the counters", lambda: not self.short_of(self.server.counters()), self.settle)
        except Failed:
            now = self.server.counters()
            raise Failed(f"counters moved by {self.short_of(now)}, expected {self.moved} or more; "
                         f"drops: {now['stile_turn_drops_total']}") from None

    def judge(self):
        self.alive()
        self.counted()
        self.undisturbed()
        try:
            wait_for("everything given back", self.gave_back, self.settle)
        except Failed:
            raise Failed(f"held before {self.held}, and after {self.what_is_held()}") from None
        try:
            wait_for("memory", lambda: self.server.memory_kb() <= self.memory + self.slack_kb, self.settle)
        except Failed:
            raise Failed(f"memory grew from {self.memory} to {self.server.memory_kb()} kB") from None
        self.note = f"memory {self.server.memory_kb() - self.memory:+} kB{self.note}"
