#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our ICE with somebody else's at the other end (python3-aioice), over somebody else's TURN server (coturn), and through ports
that somebody else's router opens (miniupnpd), between NATs. Root.

One line a case; exit 77 where namespaces are not permitted."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import PASSWORD, End, Turn, carry, start_coturn  # noqa: E402
from lab import Failed  # noqa: E402
from nat_world import SERVERS, Verdicts, World, options  # noqa: E402
from tunnel_lab import wait_for  # noqa: E402

AIOICE = [sys.executable if os.path.dirname(sys.executable) == "/usr/bin" else "/usr/bin/python3",
          os.path.join(os.path.dirname(os.path.abspath(__file__)), "aioice_end.py")]
COTURN = "203.0.113.12"


def both(ends, kind, seconds=20):
    for e in ends:
        e.wait(f"path {kind} ", seconds)


def has_said(who, log, *texts):
    try:
        wait_for(f"{who} says {texts}", lambda: all(t in log() for t in texts))
    except Failed as e:
        raise Failed(f"{e}; {log()[-600:]}") from None


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


def over_turn(world, server, transport, log, texts, who=(0, 1)):
    """Two symmetric NATs: the path is relayed, bytes arrive, and that server has had them: texts in its log. who: has that server."""
    words = ["--turn", transport, server, "lab", PASSWORD]
    ends = [End(world, site, [*(words if i in who else []), *(["--controlling"] if i == 0 else [])]) for i, site in enumerate(world.sites[2:4])]
    try:
        carry(*ends)
        both(ends, "turn")
        for one, other, text in ((ends[0], ends[1], "there"), (ends[1], ends[0], "back")):
            one.tell(f"send {text}")
            other.wait(f"data {text}")
    finally:
        for e in ends:
            e.close()
    has_said(server, log, *texts)


def ports(end):
    """What it says of its ports now: beside a path that needs none the router may be the slower one."""
    before = len(end.said)
    end.tell("show")
    return json.loads(wait_for("it shows itself", lambda: next((x for _, x in end.said[before:] if x.startswith("show ")), None))[5:])["ports"]


def opened(world, site, upnp, by):
    """Between two ends that have nothing else (symmetric NATs), or beside what they have: a port that the router opened, and closed again."""
    router = world.open_ports_on_request(world.sites[site], upnp)
    ends = [End(world, world.sites[site], ["--controlling"], ports=True), End(world, world.sites[site + 1], [])]
    try:
        carry(*ends)
        both(ends, "direct")
        wait_for(f"a port is opened by {by}", lambda: any(p.get("by") == by for p in ports(ends[0])))
    finally:
        for e in ends:
            e.close()
    closed = "DeletePortMapping: external port" if upnp else "mapping removed"
    has_said("the router", router.said, closed)


OURS = ("turn.alloc.created", 'cause="released by the client"')
THEIRS = ("ALLOCATE processed, success", "REFRESH processed, success")
CASES = (
    ("aioice behind a NAT, controlled by us", lambda w: with_aioice(w, "ours")),
    ("aioice behind a NAT, controlling", lambda w: with_aioice(w, "theirs")),
    ("two symmetric NATs over stile-turn, UDP", lambda w: over_turn(w, SERVERS[0], "udp", w.turn.logged, OURS)),
    ("two symmetric NATs over stile-turn, TCP", lambda w: over_turn(w, SERVERS[0], "tcp", w.turn.logged, OURS)),
    ("two symmetric NATs, of which one has a TURN server", lambda w: over_turn(w, SERVERS[0], "udp", w.turn.logged, OURS, (0,))),
    ("two symmetric NATs, of which the other has a TURN server", lambda w: over_turn(w, SERVERS[0], "udp", w.turn.logged, OURS, (1,))),
    ("two symmetric NATs over coturn, UDP", lambda w: over_turn(w, COTURN, "udp", w.coturn.said, THEIRS)),
    ("two symmetric NATs over coturn, TCP", lambda w: over_turn(w, COTURN, "tcp", w.coturn.said, THEIRS)),
    ("two symmetric NATs, one of which opens a port by PCP", lambda w: opened(w, 4, False, "PCP")),
    ("two symmetric NATs, one of which opens a port by UPnP", lambda w: opened(w, 5, True, "UPnP")),
    ("a pinhole in a firewall of IPv6 by PCP", lambda w: opened(w, 7, False, "PCP")),
)


def main():
    o = options(__doc__)
    with Verdicts() as verdicts, World(o.build, ["restricted-port-cone", "restricted-cone", "symmetric", "symmetric", "symmetric",
                                                 "symmetric", "symmetric", "ipv6-only", "ipv6-only"]) as world:
        world.turn = Turn(world).start()
        world.coturn = start_coturn(world, COTURN)
        for name, case in CASES:
            verdicts.show(name, case, world)
        world.stop_services()
    return verdicts.status()


if __name__ == "__main__":
    sys.exit(main())
