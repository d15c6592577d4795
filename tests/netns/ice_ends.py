# SPDX-License-Identifier: Apache-2.0
"""Ends of direct paths in the sites of nat_world.py: programs of tests/netns/ice_peer.c whose lines are carried between them here, as
the rendezvous does between agents; and the TURN server they use."""
import json
import os
import subprocess
import threading
import time

from lab import SANITIZER, Failed
from nat_world import SERVERS, SERVERS6
from tunnel_site import Service

PASSWORD = "the-laboratory-s-password"
SECRET = "a-secret-of-the-laboratory"
CARRIED = ("candidate:", "nat:", "tcp:", "done")  # what one end says to the other


class End:
    """One ice_peer. paths: kind → when it was first told (monotonic)."""

    def __init__(self, world, site, words, program=None, ports=False):
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}
        argv = [*(program or [os.path.join(world.build, "tests/netns/ice_peer")]), "--stun", SERVERS[0], *([] if ports else ["--no-port-mapping"]), *words]
        self.process = world.popen(site.host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   bufsize=1, env=env)
        self.paths, self.places, self.said, self.state, self.other = {}, {}, [], 0, None
        self.changed = threading.Condition()
        self.began = 0.0
        first = self.process.stdout.readline().split()
        if len(first) != 3 or first[0] != "local":
            self.process.kill()
            raise Failed(f"ice_peer did not start: {self.process.stderr.read()[-1500:]}")
        self.began = time.monotonic()
        self.ufrag, self.pwd = first[1:]
        self.reader = threading.Thread(target=self.read, daemon=True)

    def read(self):
        for line in self.process.stdout:
            line = line.strip()
            with self.changed:
                self.said.append((time.monotonic(), line))
                if line.startswith("path "):
                    self.paths.setdefault(line.split()[1], time.monotonic())
                    self.places[line.split()[1]] = line.split()[2]
                elif line.startswith("state "):
                    self.state = int(line.split()[1])
                self.changed.notify_all()
            if line.startswith(CARRIED) and self.other:
                self.other.tell(line)

    def tell(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            pass

    def wait(self, word, seconds=20):
        """The first line that begins so."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                for _, line in self.said:
                    if line.startswith(word):
                        return line
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failed(f"an end never said {word!r}: {[line for _, line in self.said[-8:]]}")
                self.changed.wait(left)

    def why(self):
        self.tell("why")
        return self.wait("why ")[4:]

    def close(self):
        """It must end by itself, and no sanitizer may have spoken."""
        self.tell("quit")
        try:
            err = self.process.stderr.read()
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("ice_peer did not end") from None
        if self.process.returncode != 0 or SANITIZER.search(err):
            raise Failed(f"ice_peer ended with status {self.process.returncode}: {err[-2500:]}")


def carry(a, b):
    """Their lines go to each other from now on, behind who the other is: aioice begins with the last of them."""
    for one, other in ((a, b), (b, a)):
        one.other = other
        one.tell(f"remote {other.ufrag} {other.pwd}")
    for one in (a, b):
        one.reader.start()


class Turn(Service):
    """stile-turn in the internet, on all that the sites may need."""

    program, full = "turn/stile-turn", "stile-turn"

    def __init__(self, world):
        listen = [f"udp:{a}:{p}" for a in SERVERS for p in (3478, 3479)] + [f"tcp:{a}:{p}" for a in SERVERS for p in (3478, 443)]
        listen += [f"udp:[{a}]:{p}" for a in SERVERS6 for p in (3478, 3479)]
        super().__init__(world, "turn", "net", f"""turn:
  listen: {json.dumps(listen)}
  password: {PASSWORD}
  secrets: [ {{ id: lab, secret: {SECRET} }} ]
  peers: {{ allow: [203.0.113.0/24] }}  # the laboratory's internet; addresses for documentation are refused by default
""")


def start_coturn(world, address):
    """Somebody else's TURN server, on an address of its own."""
    folder = os.path.join(world.folder, "coturn")
    os.mkdir(folder)
    world.ip(world.internet, f"addr add {address}/24 dev net")
    return world.start_until("coturn listens", lambda p: "UDP listener opened on" in p.said(), "net",
                             ["turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "-a", "-v", "-r", "lab", "-u", f"lab:{PASSWORD}",
                              "-L", address, "-E", address, "--log-file", "stdout", "--pidfile", os.path.join(folder, "pid"), "--db",
                              os.path.join(folder, "db")], "coturn")
