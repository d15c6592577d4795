# SPDX-License-Identifier: Apache-2.0
"""Floods from forged sources: they cost neither memory nor the peace of those who are served, and the server
sends a victim no more than its budget. The sender is flood.c.
Advisory: amplification."""
import json
import os
import struct
import subprocess

import stunwire as wire
from world import Failed, Watch, counter

BUDGET_BYTES = 64000 // 8  # turn.limits.unauthenticated_bitrate, per prefix and worker and second


def templates(server):
    """A Binding, a bare Allocate, an Allocate whose nonce is forged, ChannelData."""
    forged = wire.signed(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP), (wire.USERNAME, b"alice"), (wire.REALM, b"interop.test"),
                                         (wire.NONCE, b"obMatJos2AAAA" + b"0123456789abcdef" * 3)], b"0" * 16)
    made = {"binding": wire.message(wire.BINDING), "allocate": wire.message(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)]),
            "forged": forged, "channel": wire.channel_data(0x4000, bytes(160))}
    paths = {}
    for name, packet in made.items():
        paths[name] = server.path(f"template-{name}")
        with open(paths[name], "wb") as f:
            f.write(packet)
    return paths


def flood(port, count, prefix, paths):
    program = os.environ.get("STILE_FLOOD") or os.path.join(os.environ.get("STILE_BUILD", "build"), "tests/abuse/flood")
    if not os.path.exists(program):
        raise Failed(f"{program} is not built")
    done = subprocess.run([program, str(port), str(count), prefix, *paths], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Failed(f"flood: {done.stderr.strip()}")
    return json.loads(done.stdout)


def everywhere(count):
    def case(server):
        paths = templates(server)
        quarter = count // 4
        least = {"successes.binding": quarter // 2, "refusals.challenge": quarter // 2, "refusals.stale_nonce": quarter // 2,
                 "drops.no_allocation": quarter * 9 // 10}
        with Watch(server, least, loss=0.01) as watch:
            done = flood(server.port, count, "127", list(paths.values()))
        return f"{done['sent']} datagrams, {done['answers']} answers in {done['seconds']:.1f} s; {watch.note}"
    return case


def one_victim(count):
    """All sources in one /24: what the answers exceed the requests by is held to the budget."""
    def case(server):
        path = templates(server)["allocate"]
        with Watch(server, {"drops.unauthenticated_budget": count // 2}, loss=0.01) as watch:
            done = flood(server.port, count, "127.77.7", [path])
            challenged = counter(server.counters(), "refusals.challenge") - counter(watch.counters, "refusals.challenge")
            dropped = counter(server.counters(), "drops.unauthenticated_budget") - counter(watch.counters, "drops.unauthenticated_budget")
            workers = server.status()["workers"]
        if done["answers"] == 0:
            raise Failed("no answer at all: the budget is not meant to be nothing")
        excess = done["answer_bytes"] - done["answers"] * os.path.getsize(path)
        # One second's worth may go at once, then the rate; the last answers wait 0.2 s in the sockets.
        allowed = workers * BUDGET_BYTES * (1 + done["seconds"] + 0.5)
        if excess > allowed:
            raise Failed(f"the answers exceed the requests by {excess} bytes in {done['seconds']} s, allowed are {allowed:.0f}")
        if dropped + done["answers"] < done["sent"] * 0.99:
            raise Failed(f"{done['sent']} requests, {done['answers']} answers and {dropped} drops do not add up ({challenged} challenges)")
        return f"{done['sent']} requests, {done['answers']} answers, excess {excess} of {allowed:.0f} bytes; {watch.note}"
    return case


def an_honest_client_gets_in(server):
    """While its own prefix is flooded, a client whose nonce is valid passes before the budget."""
    path = templates(server)["allocate"]
    with Watch(server, {"allocations_created.udp": 1}, loss=0.01) as watch:
        with wire.Client("alice", "wonderland", server.port, source="127.78.7.7") as client:
            client.request(wire.ALLOCATE)  # a challenge: realm and nonce, before the flood
            flood(server.port, 4000, "127.78.7", [path])
            code, _ = client.request(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP), (wire.LIFETIME, struct.pack("!I", 600))])
            if code:
                raise Failed(f"the client with a valid nonce was refused with {code}")
            client.release()
    return watch.note


def matrix():
    yield "50,000 datagrams from forged sources all over 127/8", True, everywhere(50000)
    yield "a million datagrams from forged sources all over 127/8", False, everywhere(1000000)
    yield "forged requests of one prefix are answered within its budget", True, one_victim(8000)
    yield "a valid nonce passes while its prefix is flooded", True, an_honest_client_gets_in
