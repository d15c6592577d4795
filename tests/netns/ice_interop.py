#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our ICE with somebody else's at the other end (python3-aioice), over somebody else's TURN server (coturn), and through ports
that somebody else's router opens (miniupnpd), between NATs. Root.

One line a case; exit 77 where namespaces are not permitted."""
import argparse
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import PASSWORD, End, carry, start_coturn, start_turn  # noqa: E402
from lab import Failed, Skipped  # noqa: E402
from nat_world import SERVERS, World  # noqa: E402

SKIP = 77
AIOICE = [sys.executable if os.path.dirname(sys.executable) == "/usr/bin" else "/usr/bin/python3",
          os.path.join(os.path.dirname(os.path.abspath(__file__)), "aioice_end.py")]
COTURN = "203.0.113.12"


def both(ends, kind, seconds=20):
    for e in ends:
        e.wait(f"path {kind} ", seconds)


def with_aioice(world, controlling):
    """Ours and aioice, each behind a NAT; who controls says `controlling`."""
    ours = End(world, world.sites[0], ["--controlling"] if controlling == "ours" else [])
    theirs = End(world, world.sites[1], ["--controlling"] if controlling == "theirs" else [], program=AIOICE)
    try:
        carry(ours, theirs)
        both((ours, theirs), "direct")
    finally:
        ours.close()
        theirs.close()


def over_turn(world, server, transport, log):
    """Two symmetric NATs: the path is relayed, bytes arrive, and that server has had them."""
    words = ["--turn", transport, server, "lab", PASSWORD]
    ends = [End(world, site, [*words, *(["--controlling"] if i == 0 else [])]) for i, site in enumerate(world.sites[2:4])]
    try:
        carry(*ends)
        both(ends, "turn")
        for one, other, text in ((ends[0], ends[1], "there"), (ends[1], ends[0], "back")):
            one.tell(f"send {text}")
            other.wait(f"data {text}")
    finally:
        for e in ends:
            e.close()
    deadline = time.monotonic() + 20
    while not all(words in world.log(log[0]) for words in log[1:]):
        if time.monotonic() > deadline:
            raise Failed(f"{server} does not tell of it: {world.log(log[0])[-600:]}")
        time.sleep(0.05)


def opened(world, site, upnp, by):
    """Between two ends that have nothing else (symmetric NATs), or beside what they have: a port that the router opened, and closed again."""
    log = world.open_ports_on_request(world.sites[site], upnp)
    ends = [End(world, world.sites[site], ["--controlling"], ports=True), End(world, world.sites[site + 1], [])]
    try:
        carry(*ends)
        both(ends, "direct")
        ends[0].tell("show")
        ports = json.loads(ends[0].wait("show ")[5:])["ports"]
        if not any(p.get("by") == by for p in ports):
            raise Failed(f"no port was opened by {by}: {ports}")
    finally:
        for e in ends:
            e.close()
    closed = "DeletePortMapping: external port" if upnp else "mapping removed"
    deadline = time.monotonic() + 20
    while closed not in world.log(log):
        if time.monotonic() > deadline:
            raise Failed(f"the port was not closed: {world.log(log)[-600:]}")
        time.sleep(0.05)


OURS = ("turn/log", "turn.alloc.created", 'cause="released by the client"')
THEIRS = ("coturn/log", "ALLOCATE processed, success", "REFRESH processed, success")
CASES = (
    ("aioice behind a NAT, controlled by us", lambda w: with_aioice(w, "ours")),
    ("aioice behind a NAT, controlling", lambda w: with_aioice(w, "theirs")),
    ("two symmetric NATs over stile-turn, UDP", lambda w: over_turn(w, SERVERS[0], "udp", OURS)),
    ("two symmetric NATs over stile-turn, TCP", lambda w: over_turn(w, SERVERS[0], "tcp", OURS)),
    ("two symmetric NATs over coturn, UDP", lambda w: over_turn(w, COTURN, "udp", THEIRS)),
    ("two symmetric NATs over coturn, TCP", lambda w: over_turn(w, COTURN, "tcp", THEIRS)),
    ("two symmetric NATs, one of which opens a port by PCP", lambda w: opened(w, 4, False, "PCP")),
    ("two symmetric NATs, one of which opens a port by UPnP", lambda w: opened(w, 5, True, "UPnP")),
    ("a pinhole in a firewall of IPv6 by PCP", lambda w: opened(w, 7, False, "PCP")),
)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--build", default="build", type=os.path.abspath, help="build folder (default: build)")
    o = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the namespaces are removed
    if os.getuid() != 0:
        print("network namespaces need root")
        return SKIP
    failed = 0
    try:
        with World(o.build, ["restricted-port-cone", "restricted-cone", "symmetric", "symmetric", "symmetric",
                             "symmetric", "symmetric", "ipv6-only", "ipv6-only"]) as world:
            start_turn(world)
            start_coturn(world, COTURN)
            for name, case in CASES:
                try:
                    case(world)
                    print(f"[       OK ] {name}", flush=True)
                except Failed as e:
                    failed += 1
                    print(f"# {e}\n[  FAILED  ] {name}", flush=True)
            world.stop_turn()
    except Skipped as e:
        print(e)
        return SKIP
    except Failed as e:
        print(f"# {e}")
        failed += 1
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
