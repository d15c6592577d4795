# SPDX-License-Identifier: Apache-2.0
"""Floods at line rate from forged sources, over a real path: established sessions lose less than one packet in a
hundred, memory stays flat, and the counters tell what happened.

Three network namespaces, joined by veth pairs: attackers, server, clients. The whole of 10.64.0.0/13 is local to the
attackers, so they send from any address of it and hear the answers. The sender (flood.c -t) never waits for the
server. Sessions are `stile bench turn`: both directions, every packet checked. What is measured goes into
docs/benchmarks.md: tests/abuse/run --full --only "line rate"."""
import contextlib
import itertools
import json
import os
import subprocess
import time

import stunwire as wire
from handshakes import dtls_client_hello
from harness import PASSWORD, REALM, USER
from world import Failed, Skipped, Victim, counter, wait_for

SERVER, CLIENT = "10.78.0.1", "10.78.0.2"
SESSIONS, RATE, LOSS = 20, 1000, 0.01
NUMBER = itertools.count()


def run(*argv, check=True):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    if check and done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stdout.strip()}")
    return done.returncode == 0


class Namespaces:
    def __init__(self):
        tag = f"stile-flood-{os.getpid()}-{next(NUMBER)}"
        self.attackers, self.server, self.clients = (f"{tag}-{x}" for x in "asc")
        self.made = []

    def enter(self, which):
        return ["nsenter", f"--net=/run/netns/{which}"]

    def ip(self, which, *args):
        run(*self.enter(which), "ip", *args)

    def __enter__(self):
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        try:
            for name in (self.attackers, self.server, self.clients):
                if not run("ip", "netns", "add", name, check=False):
                    raise Skipped("this machine permits no network namespaces")
                self.made.append(name)
                self.ip(name, "link", "set", "lo", "up")
            for other, link, ours, theirs in ((self.attackers, "a0", "10.77.0.1/24", "10.77.0.2/24"), (self.clients, "c0", f"{SERVER}/24", f"{CLIENT}/24")):
                run("ip", "link", "add", link, "netns", other, "type", "veth", "peer", "name", link, "netns", self.server)
                for name, address in ((self.server, ours), (other, theirs)):
                    self.ip(name, "address", "add", address, "dev", link)
                    self.ip(name, "link", "set", link, "up")
            self.ip(self.attackers, "route", "add", "local", "10.64.0.0/13", "dev", "lo")
            self.ip(self.attackers, "route", "add", f"{SERVER}/32", "via", "10.77.0.1")
            self.ip(self.server, "route", "add", "10.64.0.0/13", "via", "10.77.0.2")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.made:
            run("ip", "netns", "del", name, check=False)


class Besieged(Victim):
    """stile-turn in its namespace, with UDP and DTLS and two workers."""

    def __init__(self, first_port):
        super().__init__(first_port)
        self.net = Namespaces()

    def __enter__(self):
        self.net.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.net.__exit__()
            raise

    def __exit__(self, *args):
        super().__exit__(*args)
        self.net.__exit__()

    def write_stile_config(self):
        with open(self.path("stile.yaml"), "w", encoding="utf-8") as f:
            f.write(f"""log: {{ level: info, dir: "{self.folder}" }}
store: {{ path: "{self.folder}" }}
turn:
  realm: {REALM}
  listen: ["udp:{SERVER}:3478", "dtls:{SERVER}:5349"]
  certificate: server.pem
  key: server.key
  workers: 2
  relay: {{ addresses: [{SERVER}] }}
  users: [ {{ name: {USER}, password: {PASSWORD} }} ]
  peers: {{ allow: ["{CLIENT}/32"] }}
  limits: {{ allocations_per_user: 1000 }}
""")
        os.chmod(self.path("stile.yaml"), 0o600)

    def stile_argv(self):
        return [*self.net.enter(self.net.server), *super().stile_argv()]

    def wait_ready(self, seconds=20):
        def ready():
            if self.process.poll() is not None:
                raise Failed(f"the server ended with status {self.process.returncode} at its start:\n{self.log_tail()}")
            with contextlib.suppress(OSError):
                return self.status()["workers"] == 2
            return False
        wait_for("the server's start", ready, seconds, 0.1)


@contextlib.contextmanager
def sessions(server, transport, seconds):
    """Yields when they stand; the report is in what it yields when they have ended."""
    build = os.environ.get("STILE_BUILD", "build")
    argv = [*server.net.enter(server.net.clients), os.path.join(build, "cli/stile"), "bench", "turn", SERVER, "-t", transport,
            "-p", "3478" if transport == "udp" else "5349", "--peer", CLIENT, "-n", str(SESSIONS), "-r", str(RATE), "-T", f"{seconds}s",
            "-u", USER, "--password", PASSWORD, "--json", "--runtime-dir", server.folder]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as bench:
        report = {}
        try:
            wait_for("the sessions", lambda: server.status()["allocations"] >= SESSIONS)
            yield report
            out, err = bench.communicate(timeout=seconds + 60)
        except BaseException:
            bench.kill()
            raise
        if bench.returncode:
            raise Failed(f"stile bench turn: {err.strip()}")
        report.update(json.loads(out))


def flood(server, port, template, seconds):
    path = server.path("template")
    with open(path, "wb") as f:
        f.write(template)
    program = os.environ.get("STILE_FLOOD") or os.path.join(os.environ.get("STILE_BUILD", "build"), "tests/abuse/flood")
    done = subprocess.run([*server.net.enter(server.net.attackers), program, "-d", SERVER, "-t", str(seconds), str(port), str(10**12), "10.66", path],
                          capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise Failed(f"flood: {done.stderr.strip()}")
    return json.loads(done.stdout)


def moved(before, after, names):
    return {n: counter(after, n) - counter(before, n) for n in names}


def settled(server, kind, before, done):
    """The counters when all of the flood is in them, or 20 s later: queues are read first, and their drops are looked at
    once a second."""
    deadline = time.monotonic() + 20
    while True:
        after = server.counters()
        if counted_of(kind, before, after) >= done["sent"] or time.monotonic() > deadline:
            return after
        time.sleep(0.5)


def counted_of(kind, before, after):
    """What the server did with the flood's datagrams, and those lost in the queue of strangers."""
    return sum(moved(before, after, kind["counters"] + ["receive_queue_drops.strangers"]).values())


def judge(server, kind, before, after, done, report):
    """kind's counters; the flood; the sessions."""
    told = moved(before, after, kind["counters"])
    queue = moved(before, after, ["receive_queue_drops." + lane for lane in ("strangers", "requests", "data")])
    if not report["sent"] or report["loss"] > LOSS or report["corrupt"]:
        raise Failed(f"the sessions lost {report['sent'] - report['received']} of {report['sent']} packets; queues lost {queue}")
    counted = counted_of(kind, before, after)
    if counted < 0.98 * done["sent"] or not told[kind["counters"][0]]:
        raise Failed(f"{done['sent']} datagrams were sent, {counted} were counted: {told}, {queue}")
    if queue["receive_queue_drops.data"]:
        raise Failed(f"the data lane lost {queue['receive_queue_drops.data']} datagrams")
    return f"{done['sent'] / done['seconds']:,.0f} a second for {done['seconds']:.0f} s ({queue['receive_queue_drops.strangers']} lost in the queue), " \
        f"sessions {report['received']}/{report['sent']}, p99 {report['latency_us']['p99'] / 1000:.1f} ms; {told}"


def case_of(kind, seconds):
    def case(server):
        with sessions(server, kind["transport"], seconds + 2) as report:
            before, memory = server.counters(), server.memory_kb()
            peak = [memory]
            done = flood(server, 3478 if kind["transport"] == "udp" else 5349, kind["template"](), seconds)
            peak.append(server.memory_kb())
        after = settled(server, kind, before, done)
        note = judge(server, kind, before, after, done, report)
        wait_for("the sessions' end", lambda: server.status()["allocations"] == 0)
        slack = 20 * 1024 if server.asan else 1024
        if server.memory_kb() > memory + slack or max(peak) > memory + slack:
            raise Failed(f"memory grew from {memory} kB to {max(peak)} kB, and is {server.memory_kb()} kB")
        return f"{note}; memory {server.memory_kb() - memory:+} kB"
    return case


def forged_allocate():
    return wire.signed(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP), (wire.USERNAME, USER.encode()), (wire.REALM, REALM.encode()),
                                       (wire.NONCE, b"obMatJos2AAAA" + b"0123456789abcdef" * 3)], b"0" * 16)


# What each datagram of a flood may have become; the first is what it is about. The budget of unauthenticated answers
# holds for all of them.
KINDS = {
    "Bindings": {"transport": "udp", "template": lambda: wire.message(wire.BINDING), "counters": ["successes.binding"]},
    "bare Allocates": {"transport": "udp", "template": lambda: wire.message(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)]),
                       "counters": ["refusals.challenge"]},
    "Allocates with forged nonces": {"transport": "udp", "template": forged_allocate, "counters": ["refusals.stale_nonce"]},
    "DTLS ClientHellos": {"transport": "dtls", "template": dtls_client_hello, "counters": ["dtls_cookie_requests"]},
}


def matrix():
    for name, kind in KINDS.items():
        yield f"{name} at line rate for 3 s", True, case_of(kind, 3)
    for name, kind in KINDS.items():
        yield f"{name} at line rate for 30 s", False, case_of(kind, 30)
