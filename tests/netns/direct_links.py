#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links between real agents behind every pair of NATs and firewalls: what a visitor's bytes travel over, how soon, and that they are all
the same at the other end. Root.

  tests/netns/direct_links.py --build build           # the short form, as ./check does
  tests/netns/direct_links.py --build build --full    # every pair of kinds
  tests/netns/direct_links.py --build build --only symmetric

What theory lets cross (nat_world.crosses() says which and why) must be direct within 2 s, all else relayed within 1 s, by stile-turn or by
the tunnel server; from when the visit is configured, with offers signed and carried. An attempt that was late is repeated twice, for
a busy machine is no fault of the path. At last the tunnel server relays nothing more, and stile-turn's own counters say what went
through it. Exit 1 if anything is otherwise, 77 where namespaces are not permitted."""
import hashlib
import itertools
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import SECRET, Turn  # noqa: E402
from lab import PATIENCE, Failed, Skipped, inside  # noqa: E402
from matrix import SHORT, pairs  # noqa: E402
from nat_world import KINDS, SERVERS, SERVERS6, SKIP, World, crosses, options  # noqa: E402
from tunnel_lab import Target, echo, stream_bytes, stream_hash, wait_for  # noqa: E402
from tunnel_site import Service  # noqa: E402

MB, ATTEMPTS = 1 << 20, 3
DIRECT_S, RELAYED_S = 2.0, 1.0
CONTROL, CONTROL6, TARGET = "203.0.113.13", "2001:db8::13", 7
PATHS = {"direct": ("direct",), "tcp": ("direct-tcp",), None: ("turn", "relay")}  # of what crosses() says
BYTES = MB
PORTS = itertools.count(20001)


class TunnelServer(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, world):
        world.ip(world.internet, f"addr add {CONTROL}/24 dev net", f"addr add {CONTROL6}/64 dev net nodad")
        super().__init__(world, "server", "net", self.text(True))

    @staticmethod
    def text(relay):
        return f"""tunnel:
  public_name: {CONTROL}
  listen: ["tls:{CONTROL}:7443", "tls:{CONTROL}:443", "tls:[{CONTROL6}]:7443"]
  direct:
    relay: {str(relay).lower()}
    turn_servers: ["{SERVERS[0]}:3478", "[{SERVERS6[0]}]:3478"]
    turn_secret: {SECRET}
"""


class SiteAgent(Service):
    program, full = "tunnel/stile-agent", "stile-agent"

    def __init__(self, world, site, code):
        self.site, self.code = site, code
        self.server = f"[{CONTROL6}]:7443" if not KINDS[site.kind].v4 else f"{CONTROL}:{443 if site.kind == 'only-443' else 7443}"
        super().__init__(world, site.label, f"h{site.number}", self.text(""))

    def text(self, more):
        return f"agent:\n  name: {self.site.label}\n  server: \"{self.server}\"\n  code: \"{self.code}\"\n{more}"

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


def visit(site, port):
    return (f'  visits: [ {{ agent: {site.site.label}, identity: "{site.identity()}", target: "127.0.0.1:{TARGET}", '
            f'listen: "127.0.0.1:{port}" }} ]\n')


def connect(home, port):
    def connected():
        with inside(home.lab.name(home.where)):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            except OSError:
                return None
    return wait_for("the visit listens", connected)


def one_attempt(home, site, expected, port):
    """Without a link, from the visit on: (path, seconds until a byte came back over one of the expected paths)."""
    home.reconfigure(visit(site, port))
    began = time.monotonic()
    with connect(home, port) as s:
        s.sendall(b"hello")
        row = wait_for(f"the path is {' or '.join(expected)}", lambda: (r := home.link()) and r["path"] in expected and r)
        if s.recv(5, socket.MSG_WAITALL) != b"hello":
            raise Failed("the echo does not answer")
        took = time.monotonic() - began
        compare(s)
    return row, took


def one_pair(home, site, expected, seconds):
    """(path, seconds, why it is not better)"""
    world = home.lab
    target = Target(world, site.where, "127.0.0.1", TARGET, echo)
    try:
        for _ in range(ATTEMPTS):
            site.reconfigure(f'  visitors: [ {{ name: home, identity: "{home.identity()}", allow: "127.0.0.1:{TARGET}" }} ]\n')
            row, took = one_attempt(home, site, expected, next(PORTS))
            for agent in (home, site):
                agent.reconfigure("")  # who is not known has no link
            wait_for("the link has gone", lambda: not any(a.verb("agent.peers")["rows"] for a in (home, site)))
            if took <= seconds:
                return row["path"], took, row["reason"]
        raise Failed(f"{row['path']} only after {took:.2f} s, which may take {seconds} s")
    finally:
        target.close()


def show_pair(a, b, reason, home, site):
    wanted = crosses(a.kind, b.kind)[0]
    try:
        path, took, why = one_pair(home, site, PATHS[wanted], DIRECT_S if wanted else RELAYED_S)
    except (Failed, OSError) as e:
        print("".join(f"  {s.name} | {line}\n" for s in (home, site) for line in (s.process.said() + s.logged()).splitlines()[-30:]))
        print(f"NOT OK {a.kind:22}{b.kind:22}{e}", flush=True)
        return False
    print(f"ok     {a.kind:22}{b.kind:22}{path:12}{took:6.2f} s  {reason}{'' if wanted else '; it says: ' + why}", flush=True)
    return True


def relayed_bytes(turn):
    found = turn.verb("turn.metrics", {"text": True})["text"]
    return sum(float(line.split()[-1]) for line in found.splitlines() if line.startswith("stile_turn_relayed_bytes_total"))


def over_turn(turn, server, home, site):
    """Two symmetric NATs whose tunnel server relays nothing: over stile-turn, which has counted it."""
    server.configure(server.text(False))
    server.verb("service.reload")
    before = relayed_bytes(turn)
    path, took, _ = one_pair(home, site, ("turn",), RELAYED_S)
    wait_for("stile-turn has counted what it relayed", lambda: relayed_bytes(turn) >= before + 2 * BYTES)
    if turn.logged().count("turn.alloc.created") < 2:
        raise Failed("stile-turn had no allocation of the agents")
    print(f"ok     {'symmetric':22}{'symmetric':22}{path:12}{took:6.2f} s  the tunnel server relays nothing; stile-turn counted "
          f"{(relayed_bytes(turn) - before) / MB:.1f} MB", flush=True)


def outlives(turn, home, site):
    """A link over TURN goes on looking for a direct path: the next search has allocations of its own, and the connection goes on."""
    def allocations():
        return turn.logged().count("turn.alloc.created")

    target = Target(home.lab, site.where, "127.0.0.1", TARGET, echo)
    try:
        site.reconfigure(f'  visitors: [ {{ name: home, identity: "{home.identity()}", allow: "127.0.0.1:{TARGET}" }} ]\n')
        port = next(PORTS)
        home.reconfigure(visit(site, port))
        with connect(home, port) as s:
            row = wait_for("the path is turn", lambda: (r := home.link()) and r["path"] == "turn" and r)
            before, began, lines = allocations(), time.monotonic(), 0
            again = began
            while allocations() < before + 2 or time.monotonic() - again < 10:
                again = time.monotonic() if allocations() < before + 2 else again
                s.sendall(b"a line\n")
                if s.recv(7, socket.MSG_WAITALL) != b"a line\n":
                    raise Failed("the connection has ended")
                lines += 1
                time.sleep(0.1)
                if time.monotonic() - began > 180:
                    raise Failed("no other search for a direct path began in 180 s")
            now = home.link()
            if not now or now["link"] != row["link"] or now["path"] != "turn":
                raise Failed(f"the link is not what it was: {now}")
            compare(s)
    finally:
        target.close()
    print(f"ok     {'symmetric':22}{'symmetric':22}turn, and another search after {again - began:.0f} s: {lines} lines and {BYTES // MB} MB over one "
          "connection meanwhile", flush=True)


def remembered(agent):
    """What a site has learned of its NAT is there after a restart."""
    with open(agent.path("store/stile-agent/agent-network"), encoding="ascii") as f:
        learned = f.read()
    if not learned.startswith(f"{agent.site.outside} varies "):
        raise Failed(f"{agent.name} has learned {learned!r} of its NAT")
    agent.stop()
    agent.start()
    agent.reconfigure(f'  visitors: [ {{ name: nobody, identity: "sha256:{"1" * 64}", allow: "127.0.0.1:1" }} ]\n')
    wait_for("what was learned is known", lambda: agent.verb("agent.peers").get("site") or None)
    print(f"ok     {agent.site.kind:22}has learned of its NAT: {learned.strip()}", flush=True)


def start(world):
    turn, server = Turn(world).start(), TunnelServer(world).start()
    agents = {}
    for site in world.sites:
        code = json.loads(server.tool("tunnel", "enrol", site.label, "--json"))["code"]
        agents[site] = SiteAgent(world, site, code).start()
    for a in agents.values():
        wait_for(f"{a.name} is connected", lambda a=a: "agent.connected" in a.logged())
    return turn, server, agents


def main():
    o = options(__doc__, ("--full", {"action": "store_true", "help": "every pair of kinds"}),
                ("--only", {"default": "", "metavar": "KIND", "help": "pairs with that kind"}))
    kinds = list(KINDS) if o.full or o.only else list(SHORT)
    results = []
    try:
        with World(o.build, kinds + kinds) as world:
            world.env = {"STILE_DIRECT": os.path.join(o.build, "tunnel/direct/stile-agent-direct")}
            turn, server, agents = start(world)
            for a, b in pairs(world, kinds):
                if not o.only or o.only in (a.kind, b.kind):
                    results.append(show_pair(a, b, crosses(a.kind, b.kind)[1], agents[a], agents[b]))
            a, b = (s for s in world.sites if s.kind == "symmetric")
            over_turn(turn, server, agents[a], agents[b])
            if o.full:
                outlives(turn, agents[a], agents[b])
            remembered(agents[a])
            results += [True, True]
            world.stop_services()
    except Skipped as e:
        print(e)
        return SKIP
    except Failed as e:
        print(f"NOT OK {e}")
        results.append(False)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
