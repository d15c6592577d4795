#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything that a reload can change, again and again, while clients on all four transports relay numbered packets:
each packet must arrive, also of the sessions whose listener is removed meanwhile.

  STILE_BUILD=build-check tests/admin/packets.py               # some ten seconds
  STILE_BUILD=build-check tests/admin/packets.py --seconds 60"""
import itertools
import os
import socket
import ssl
import sys
import time

from traffic import Traffic, wait_for
from turn_client import Client
from world import Failed, case, main

TRANSPORTS = ("udp", "tcp", "tls", "dtls")
SECONDS = 6
if "--seconds" in sys.argv:
    at = sys.argv.index("--seconds")
    SECONDS = int(sys.argv[at + 1])
    del sys.argv[at:at + 2]


class Settings:
    """What the file says now; each method changes one thing and says what the reload must name."""

    def __init__(self, w):
        self.w = w
        self.n = itertools.count(1)
        self.keys = {"top": "sandbox: false\n", "workers": "3", "peers": "{ allow: [127.0.0.0/8] }", "limits": "{ allocations_per_user: 100 }"}
        self.stay = [f"udp:127.0.0.1:{w.port}", f"tcp:127.0.0.1:{w.port}", f"tls:127.0.0.1:{w.tls}", f"dtls:127.0.0.1:{w.tls}"]
        self.come_and_go = [e.replace(f":{w.port}", f":{w.port + 2}").replace(f":{w.tls}", f":{w.tls + 2}") for e in self.stay]
        self.listen(self.stay + self.come_and_go)
        w.config(**self.keys)

    def listen(self, endpoints):
        self.keys["listen"] = "[" + ", ".join(f'"{e}"' for e in endpoints) + "]"

    def reload(self, *says, status=0):
        self.w.config(**self.keys)
        return self.w.ask("reload").exits(status).says(*says)

    def users(self):
        self.keys["users"] = "[ { name: alice, password: wonderland }, { name: user-%d, password: builders-tea } ]" % next(self.n)
        self.reload("turn.users[user-")

    def secrets(self):
        self.keys["secrets"] = "[ { id: s%d, secret: a-secret-of-this-reload } ]" % next(self.n)
        self.reload("turn.secrets[s")

    def limits(self):
        self.keys["limits"] = "{ allocations_per_user: 100, allocations: %d, bitrate_per_user: %dMbit/s }" % (1000 + next(self.n), 100 + next(self.n))
        self.reload("turn.limits.allocations")

    def peers(self):
        self.keys["peers"] = "{ allow: [127.0.0.0/8], deny: [198.51.100.%d/32] }" % (next(self.n) % 250)
        self.reload("turn.peers.deny")

    def log(self):
        n = next(self.n)
        self.keys["log"] = "{ level: %s, dir: %s, format: %s }" % (("info", "debug")[n // 2 % 2], self.w.path(f"log-{n}"),
                                                                 ("text", "json")[n // 4 % 2])
        self.reload("log.dir")

    def certificate(self):
        w, name = self.w, f"renewed-{next(self.n)}"
        w.certificate(name)
        os.rename(w.path(name + ".key"), w.path("server.key"))
        os.rename(w.path(name + ".pem"), w.path("server.pem"))
        self.reload("turn.certificate (contents)")
        with open(w.path("server.pem"), encoding="ascii") as f:
            if ssl.get_server_certificate(("127.0.0.1", w.tls)).strip() != f.read().strip():
                raise Failed("    a new connection does not see the new certificate")

    def remove(self):
        self.listen(self.stay)
        self.reload("removed; drains 3 allocations")
        with Client(self.w.port + 2, "alice", "wonderland") as c:
            if c.allocate() != 508:
                raise Failed("    a removed listener takes a new client")

    def to_wildcard(self):
        self.listen([e.replace("127.0.0.1", "0.0.0.0") for e in self.stay])
        self.reload("listener udp:0.0.0.0:")
        self.serves()

    def back(self):
        self.listen(self.stay + self.come_and_go)
        self.reload("listener udp:127.0.0.1:")
        self.serves()

    def serves(self):
        with Client(self.w.port, "alice", "wonderland") as c:
            if c.allocate() != 0 or c.refresh(0) != 0:
                raise Failed("    a new client is not served")

    def bad_file(self):
        good = dict(self.keys)
        self.keys.update(users="[ { name: mallory, password: x } ]", relam="x")
        self.reload("unknown key 'relam'", "the old configuration is at work", status=1)
        self.keys = dict(good, certificate="stile.yaml")
        self.reload("certificate", "the old configuration is at work", status=1)
        self.keys = dict(good)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", self.w.port + 6))
            self.listen(self.stay + [f"udp:127.0.0.1:{self.w.port + 5}", f"udp:127.0.0.1:{self.w.port + 6}"])
            self.reload("Address already in use", "the old configuration is at work", status=1)
        self.w.ask("status").exits(1).says("the last reload failed")
        self.keys = good
        self.serves()


class OpenConnection:
    """A TLS connection of before all reloads: it goes on, with the certificate that it began with."""

    def __init__(self, w):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tls = context.wrap_socket(socket.create_connection(("127.0.0.1", w.tls), 10))
        self.certificate = self.tls.getpeercert(True)

    def goes_on(self):
        tid = os.urandom(12)
        self.tls.send(b"\0\1\0\0\x21\x12\xa4\x42" + tid)
        if self.tls.recv(200)[8:20] != tid or self.tls.getpeercert(True) != self.certificate:
            raise Failed("    the open TLS connection does not go on")


@case("not one packet is lost while users, rules, certificate, log and listeners are reloaded, and bad files refused")
def _(w):
    s = Settings(w)
    w.start()
    steps = (s.users, s.remove, s.certificate, s.peers, s.to_wildcard, s.bad_file, s.back, s.secrets, s.limits, s.log)
    if reloads(w, steps, SECONDS) < len(steps):  # a machine that crawls
        s.back()
        done = reloads(w, steps, 5 * SECONDS)
        if done < len(steps):
            raise Failed(f"    only {done} of {len(steps)} kinds of reload fell into the traffic: give it more --seconds")


def reloads(w, steps, seconds):
    """How many of them fell into the traffic, of which nothing is lost."""
    loads = [Traffic(w, t, seconds, rate=80) for t in TRANSPORTS]
    loads += [Traffic(w, t, seconds, rate=80, port=w.tls + 2 if t in ("tls", "dtls") else w.port + 2) for t in TRANSPORTS]
    wait_for(w, 24, loads)
    open_one = OpenConnection(w)
    done, began = 0, time.monotonic()
    for step in itertools.cycle(steps):
        if any(load.process.poll() is not None for load in loads):
            break
        try:
            step()
        except Failed:
            if all(load.process.poll() is None for load in loads):
                raise
            break  # the traffic ended in the middle of it: there was nothing to drain any more
        done += 1
        if time.monotonic() - began < 20:  # it holds no allocation, so it is closed after 30 s
            open_one.goes_on()
    packets = sum(load.lost_nothing() for load in loads)
    print(f"  {packets} packets, {done} steps of reloads, nothing lost")
    return done


if __name__ == "__main__":
    sys.exit(main(21200))
