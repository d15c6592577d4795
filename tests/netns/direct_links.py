#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links between real agents behind NATs: what a visitor's bytes travel over, how soon, and that they are all the same at the other end.
The tunnel server relays nothing here: what is not direct goes through stile-turn, with credentials that the agents were given. Root.

One line a case; exit 77 where namespaces are not permitted."""
import hashlib
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import SECRET, Turn  # noqa: E402
from lab import Failed, Skipped, inside  # noqa: E402
from nat_world import SERVERS, SERVERS6, World, options  # noqa: E402
from tunnel_lab import Target, echo, stream_bytes, stream_hash, wait_for  # noqa: E402
from tunnel_site import Service  # noqa: E402

SKIP, MB = 77, 1 << 20
CONTROL = f"{SERVERS[1]}:7443"
# kind of both ends: path, seconds that it may take with all around it: the child starts, offers are signed and carried (three attempts)
PAIRS = (("restricted-port-cone", "direct", 2.0), ("symmetric", "turn", 2.0), ("udp-blocked", "direct-tcp", 4.0))
BYTES = 2 * MB


class TunnelServer(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, world):
        super().__init__(world, "server", "net", f"""tunnel:
  public_name: {SERVERS[1]}
  listen: ["tls:{CONTROL}", "tls:[{SERVERS6[1]}]:7443"]
  direct: {{ relay: false, turn_servers: ["{SERVERS[0]}:3478"], turn_secret: {SECRET} }}
""")


class SiteAgent(Service):
    program, full = "tunnel/stile-agent", "stile-agent"

    def __init__(self, world, site, code):
        self.site, self.code = site, code
        super().__init__(world, site.label, f"h{site.number}", self.text(""))

    def text(self, more):
        return f"agent:\n  name: {self.site.label}\n  server: \"{CONTROL}\"\n  code: \"{self.code}\"\n{more}"

    def reconfigure(self, more):
        self.configure(self.text(more))
        self.verb("service.reload")

    def identity(self):
        return self.verb("agent.status")["identity"]

    def link(self):
        return next((r for r in self.verb("agent.peers")["rows"] if r["state"] == "up"), None)


def compare(s):
    """The echo of many bytes, on a connection that has been answered."""
    threading.Thread(target=lambda: [s.sendall(part) for part in stream_bytes(BYTES)], daemon=True).start()
    got, n = hashlib.sha256(), 0
    while n < BYTES:
        data = s.recv(1 << 16)
        if not data:
            raise Failed(f"the connection ended after {n} bytes")
        got.update(data)
        n += len(data)
    if got.hexdigest() != stream_hash(BYTES):
        raise Failed("other bytes came back")


def one_attempt(world, home, site, expected, port):
    """From the first byte of a visitor, without a link, to its answer over that path: seconds."""
    home.reconfigure(f'  visits: [ {{ agent: {site.site.label}, identity: "{site.identity()}", target: "127.0.0.1:7", '
                     f'listen: "127.0.0.1:{port}" }} ]\n')

    def connected():
        with inside(world.name(home.where)):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=40)
            except OSError:
                return None
    began = time.monotonic()
    with wait_for("the visit listens", connected) as s:
        s.sendall(b"hello")
        wait_for(f"the path is {expected}", lambda: (r := home.link()) and r["path"] == expected)
        if s.recv(5) != b"hello":
            raise Failed("the echo does not answer")
        took = time.monotonic() - began
        compare(s)
    return took


def one_pair(world, home, site, expected, seconds):
    target = Target(world, site.where, "127.0.0.1", 7, echo)
    try:
        site.reconfigure(f'  visitors: [ {{ name: home, identity: "{home.identity()}", allow: "127.0.0.1:7" }} ]\n')
        for port in (20001, 20002, 20003):
            took = one_attempt(world, home, site, expected, port)
            if took <= seconds:
                break
            home.reconfigure("")
            wait_for("the link has gone", lambda: home.link() is None, 60)
        else:
            raise Failed(f"{expected} only after {took:.2f} s, which may take {seconds} s")
        return f"{expected}, {BYTES // MB} MB there and back the same, after {took:.2f} s"
    finally:
        target.close()


def main():
    o = options(__doc__)
    failed = 0
    try:
        with World(o.build, [kind for kind, _, _ in PAIRS for _ in range(2)]) as world:
            world.env = {"STILE_DIRECT": os.path.join(o.build, "tunnel/direct/stile-agent-direct")}
            turn = Turn(world).start()
            server = TunnelServer(world).start()
            agents = []
            for site in world.sites:
                code = json.loads(server.tool("tunnel", "enrol", site.label, "--json"))["code"]
                agents.append(SiteAgent(world, site, code).start())
            for a in agents:
                wait_for(f"{a.name} is connected", lambda a=a: "agent.connected" in a.logged())
            for i, (kind, expected, seconds) in enumerate(PAIRS):
                try:
                    note = one_pair(world, agents[2 * i], agents[2 * i + 1], expected, seconds)
                    print(f"# {note}\n[       OK ] {kind} to {kind}: {expected}", flush=True)
                except Failed as e:
                    failed += 1
                    print("".join(f"  {s.name} | {line}\n" for s in (agents[2 * i], agents[2 * i + 1])
                                  for line in (s.process.said() + s.logged()).splitlines()[-30:]))
                    print(f"# {e}\n[  FAILED  ] {kind} to {kind}: {expected}", flush=True)
            world.stop_services()
            if turn.logged().count("turn.alloc.created") < 2:
                raise Failed("stile-turn had no allocation of the agents")
    except Skipped as e:
        print(e)
        return SKIP
    except Failed as e:
        print(f"# {e}")
        failed += 1
    print(f"{len(PAIRS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
