#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which kinds of sites reach each other directly: every pair of NATs and firewalls, two ends of tunnel/direct in it, and a table of
the path and of the time until it was there. Root.

  tests/netns/matrix.py --build build           # the short form, as ./check does
  tests/netns/matrix.py --build build --full    # every pair of kinds, each kind first judged by stile netcheck and by others' tools
  tests/netns/matrix.py --build build --only symmetric
  tests/netns/matrix.py --build build --probe 20    # how often and how soon a symmetric NAT is punched

A pair that theory lets cross (nat_world.crosses() says which and why) must be direct within 2 s, by UDP or else by TCP, every other
one relayed by stile-turn within 1 s; exit 1 otherwise, 77 where namespaces are not permitted. Time counts from when both ends have begun; an attempt that
was late is repeated twice, for a busy machine is no fault of the path."""
import concurrent.futures
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import PASSWORD, End, Turn, carry  # noqa: E402
from lab import Failed, Skipped  # noqa: E402
from nat_world import KINDS, SERVERS, SERVERS6, SKIP, World, crosses, options  # noqa: E402

JOBS, ATTEMPTS = 2, 3
DIRECT_S, RELAYED_S, PATIENCE_S, PROBE_S, LEARN_S = 2.0, 1.0, 20.0, 60.0, 600.0
SHORT = ("none", "restricted-port-cone", "symmetric", "udp-blocked")
ALONE = ("hairpin", "no-hairpin")  # two homes of one carrier: paired with each other only
TURN = [word for server in (("udp", SERVERS[0]), ("tcp", f"{SERVERS[0]}:443"), ("udp", f"[{SERVERS6[0]}]:3478"))
        for word in ("--turn", *server, "lab", PASSWORD)]
# What `stile netcheck` says of a kind, somebody else's tool, and what that says.
CONE, FIREWALL = "Independent Mapping, %s Filter", "with Address and Port Dependent Filtering"
JUDGED = {
    "none": ("open-internet", "stun", ["Primary: Open"]),
    "full-cone": ("full-cone", "stun", [CONE % "Independent"]),
    "restricted-cone": ("restricted-cone", "stun", [CONE % "Address Dependent"]),
    "restricted-port-cone": ("restricted-port-cone", "stun", [CONE % "Port Dependent"]),
    "symmetric": ("symmetric", "stun", ["Dependent Mapping"]),
    "cgnat": ("restricted-port-cone", "stun", [CONE % "Port Dependent"]),
    "symmetric-firewall": ("symmetric-firewall", "stun", ["Primary: Firewall"]),
    "udp-blocked": ("udp-blocked", "stun", ["Blocked or could not reach STUN server"]),
    "only-443": ("udp-blocked", "stun", ["Blocked or could not reach STUN server"]),
    "ipv6-only": ("symmetric-firewall", "turnutils_natdiscovery -m -f", ["No NAT!", FIREWALL]),
    "hairpin": ("full-cone", "stun", [CONE % "Independent", "will hairpin"]),
    "no-hairpin": ("full-cone", "stun", [CONE % "Independent", "no hairpin"]),
}
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


PATHS = ("direct", "tcp", "turn")  # best first


def one_attempt(world, a, b):
    """(path kinds seen at both ends with the seconds until both had it, why the first end is not direct, its address of a direct path)"""
    ends = [End(world, site, [*TURN, *(["--controlling"] if i == 0 else [])]) for i, site in enumerate((a, b))]
    wanted = crosses(a.kind, b.kind)[0] or "turn"
    try:
        carry(*ends)
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_S and not all(wanted in e.paths for e in ends):
            time.sleep(0.005)
        if wanted == "turn":
            time.sleep(0.3)  # a direct path that theory does not know would show itself
        start = max(e.began for e in ends)
        seen = {k: max(e.paths[k] for e in ends) - start for k in PATHS if all(k in e.paths for e in ends)}
        return seen, ends[0].why(), ends[0].places.get("direct", "")
    finally:
        for e in ends:
            e.close()


def one_pair(world, a, b):
    """A row of the table; whether it is as it must be: what theory lets cross directly within its time, and relayed meanwhile."""
    wanted, reason = crosses(a.kind, b.kind)
    for _ in range(ATTEMPTS):
        seen, why, place = one_attempt(world, a, b)
        good = wanted in seen and seen[wanted] <= DIRECT_S if wanted else not {"direct", "tcp"} & set(seen)
        good = good and (not (KINDS[a.kind].v6 and KINDS[b.kind].v6) or place.startswith("["))  # IPv6 first
        if wanted != "direct":
            good = good and seen.get("turn", PATIENCE_S) <= RELAYED_S
        if good:
            break
    best = next((k for k in PATHS if k in seen), None)
    took = f"{seen[best]:.2f} s" if best else "-"
    print(f"{'ok' if good else 'NOT OK':7}{a.kind:22}{b.kind:22}{best or 'none':8}{took:>8}  "
          f"{reason}{'' if best in ('direct', 'tcp') else '; it says: ' + why}", flush=True)
    return good


def netcheck(world, site, server, *words):
    out = site.at(os.path.join(world.build, "cli/stile"), "netcheck", "--json", "--server", server, "--no-port-mapping", *words, check=False,
                  timeout=120)[1]
    return json.loads(out)


def reaches(site, port):
    return site.at("python3", "-c", CONNECT, SERVERS[0], str(port), check=False)[0] == 0


def judge(world, site):
    """The kind is what it is called: by netcheck, and by somebody else's tool."""
    key, tool, words = JUDGED[site.kind]
    if site.kind == "ipv6-only":
        found = netcheck(world, site, SERVERS6[0], "--no-443")
        good, what = found["ipv4"] is None, found["ipv6"]["type_key"]
        said = site.at(*tool.split(), "-L", site.address6, SERVERS6[0], check=False, timeout=120)[1]
    else:
        what = netcheck(world, site, SERVERS[0], *(() if site.kind == "only-443" else ("--no-443",)))["ipv4"]["type_key"]
        good = site.kind != "only-443" or (reaches(site, 443) and not reaches(site, 3478))
        said = site.at(*tool.split(), SERVERS[0], check=False, timeout=120)[1]
    good = good and what == key and all(w in said for w in words)
    print(f"{'ok' if good else 'NOT OK':7}{site.kind}: netcheck says {what}" + ("" if good else f"; the other: {said.strip()[-300:]}"), flush=True)
    return bool(good)


def probe(world, rounds):
    """A symmetric site and one that lets in known ports only meet by probes: within a minute in nine of ten rounds."""
    took = []
    for i in range(rounds):
        ends = [End(world, site, ["--no-tcp", *(["--controlling"] if k == i % 2 else [])]) for k, site in enumerate(world.sites)]
        try:
            carry(*ends)
            began = time.monotonic()
            while time.monotonic() - began < PROBE_S and not all("raw" in e.paths for e in ends):
                time.sleep(0.02)
            took.append(time.monotonic() - began if all("raw" in e.paths for e in ends) else None)
        finally:
            for e in ends:
                e.close()
    hits = sorted(t for t in took if t is not None)
    good = len(hits) * 10 >= 9 * rounds
    print(f"{'ok' if good else 'NOT OK':7}probing a symmetric NAT: {len(hits)} of {rounds} within {PROBE_S:.0f} s" +
          (f", half of them within {hits[len(hits) // 2]:.1f} s, the last after {hits[-1]:.1f} s" if hits else ""), flush=True)
    return good


def learned(world):
    """What an end finds out about its NAT in the background: how it filters, and how long a silent binding lives (6 s here)."""
    site = world.sites[0]
    world.sysctl(site.router, {"net.netfilter.nf_conntrack_udp_timeout": 6, "net.netfilter.nf_conntrack_udp_timeout_stream": 6})
    end = End(world, site, ["--no-relay", "--study-after", "200"])
    end.reader.start()
    nat, began = {}, time.monotonic()
    try:
        while not nat.get("filtering") and time.monotonic() - began < LEARN_S:
            time.sleep(0.5)
            end.tell("site")
            lines = [line for _, line in end.said if line.startswith("site ")]
            nat = json.loads(lines[-1][5:])["nat"] if lines else {}
    finally:
        end.close()
    good = nat.get("filtering") == "address-and-port-dependent" and 3 <= nat["lifetime_min_s"] <= 7 and 5 <= nat["lifetime_max_s"] <= 10
    print(f"{'ok' if good else 'NOT OK':7}learned of a NAT after {time.monotonic() - began:.0f} s: mapping {nat.get('mapping')}, filtering "
          f"{nat.get('filtering')}, a silent binding of 6 s lives {nat.get('lifetime_min_s')} to {nat.get('lifetime_max_s')} s", flush=True)
    return good


def pairs(world, kinds):
    half = len(kinds)
    for i in range(half):
        for j in range(i, half):
            a, b = world.sites[i], world.sites[half + j]
            if a.kind == b.kind or not ({a.kind, b.kind} & set(ALONE)):
                yield a, b


def main():
    o = options(__doc__, ("--full", {"action": "store_true", "help": "every kind, and what others say of it"}),
                ("--probe", {"type": int, "default": 0, "metavar": "N",
                             "help": "only the probing of symmetric NATs, so often (--full: 20)"}),
                ("--learn", {"action": "store_true", "help": "only what an end learns of its NAT in the background"}),
                ("--only", {"default": "", "metavar": "KIND", "help": "pairs with that kind"}))
    rounds = o.probe or (20 if o.full else 0)
    kinds = list(KINDS) if o.full or o.only else list(SHORT)
    try:
        results = []
        if rounds:
            with World(o.build, ["symmetric", "restricted-port-cone"]) as world:
                Turn(world).start()
                results.append(probe(world, rounds))
                world.stop_services()
            if o.probe:
                return 0 if all(results) else 1
        if o.full or o.learn:
            with World(o.build, ["restricted-port-cone"]) as world:
                Turn(world).start()
                results.append(learned(world))
                world.stop_services()
            if o.learn:
                return 0 if all(results) else 1
        with World(o.build, kinds + kinds) as world, concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            Turn(world).start()
            if o.full:
                results += list(pool.map(lambda s: judge(world, s), world.sites[:len(kinds)]))
            results += list(pool.map(lambda ab: one_pair(world, *ab), [ab for ab in pairs(world, kinds)
                                                                       if not o.only or o.only in (ab[0].kind, ab[1].kind)]))
            world.stop_services()
    except Skipped as e:
        print(e)
        return SKIP
    except Failed as e:
        print(f"NOT OK {e}")
        return 1
    print(f"{results.count(True)} as they must be, {results.count(False)} not")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
