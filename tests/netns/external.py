# SPDX-License-Identifier: Apache-2.0
"""stile-turn behind a 1:1 NAT: its public address is found by a STUN server outside, told to clients, followed when
it changes and remembered over a restart; clients outside relay through it and reach each other by it, also where
the NAT does not turn packets around. The rest of the server's own addresses stays refused."""
import json
import os
import sys

from lab import OUTSIDE, SANITIZER, SERVERS, Failed, one_to_one, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "admin"))
import turn_client  # noqa: E402

INSIDE, OUTSIDE_2 = "192.168.7.2", "203.0.113.2"
PASSWORD = "the-laboratory-s-password"
PROBE = """
import sys
sys.path.insert(0, {folder!r})
import turn_client as t
with t.Client(3478, "bob", {password!r}, host={host!r}) as c:
    print("allocate", c.allocate())
    print("inside", c.permit("192.168.7.2"))
    print("outside", c.permit({host!r}))
    print("ssh", c.bind(0x4001, {host!r}, 22))
    print("listener", c.bind(0x4002, {host!r}, 3478))
"""


def start(lab, more="", listen=("udp:0.0.0.0:3478", "tcp:0.0.0.0:3478"), name="behind", servers=SERVERS[:1]):
    top = "stun_servers: [" + ", ".join(f'"{s}:3478"' for s in servers) + "]"
    lab.start_server(name, listen, "  workers: 2\n" + (more or "  relay: { external: auto, ports: 50000-50999 }\n"), lab.client, top)


def stile(lab, *words, folder="behind", check=True):
    code, out = lab.at_client(os.path.join(lab.build, "cli/stile"), *words, "--runtime-dir", os.path.join(lab.folder, folder),
                              check=False)
    if SANITIZER.search(out) or (check and code != 0):
        raise Failed(f"stile {' '.join(words)}: status {code}: {out.strip()[-800:]}")
    return out


def relay(lab, folder="behind"):
    """The first relay address in `stile status`."""
    return json.loads(stile(lab, "status", "--json", folder=folder, check=False))[0]["turn"]["relay_addresses"][0]


def known_as(lab, outside, folder="behind"):
    wait_for(f"the public address {outside}", lambda: relay(lab, folder).get("external") == outside)


def clients_talk(lab, outside):
    """Two allocations that talk to each other through the server, by its external address: `stile test turn`."""
    code, out = lab.inside(lab.internet, os.path.join(lab.build, "cli/stile"), "test", "turn", outside, "--transport", "udp,tcp",
                           "--user", "alice", "--password", PASSWORD, check=False, timeout=60)
    if code != 0 or outside not in out:
        raise Failed(f"clients do not reach each other by {outside}: {out.strip()[-900:]}")


def refused(lab, outside):
    script = PROBE.format(folder=os.path.dirname(turn_client.__file__), password=PASSWORD, host=outside)
    got = dict(line.split() for line in lab.inside(lab.internet, sys.executable, "-c", script)[1].splitlines())
    want = {"allocate": "0", "inside": "403", "outside": "0", "ssh": "403", "listener": "403"}
    if got != want:
        raise Failed(f"the server's own addresses as peers: {got}, not {want}")


def move(lab, outside):
    """The NAT has another public address; what it remembers of connections goes."""
    lab.inside(lab.router, "ip", "address", "add", f"{outside}/24", "dev", "out", check=False)
    lab.set_rules(one_to_one(outside, False))


def found_and_followed(lab):
    start(lab)
    known_as(lab, OUTSIDE)
    if relay(lab)["external_state"] != "found" or relay(lab)["external_server"] != f"{SERVERS[0]}:3478":
        raise Failed(f"status says {relay(lab)}")
    clients_talk(lab, OUTSIDE)
    refused(lab, OUTSIDE)
    move(lab, OUTSIDE_2)
    lab.at_client("ip", "address", "add", "192.168.7.3/24", "dev", "eth0")  # the network changes: asked at once
    known_as(lab, OUTSIDE_2)
    clients_talk(lab, OUTSIDE_2)
    for words in ("turn.external.found", "turn.external.changed", f"was={OUTSIDE}", f"is={OUTSIDE_2}"):
        if words not in lab.said(-1):
            raise Failed(f"the log does not say {words!r}: {lab.said(-1)[-1200:]}")


def hairpin_on(lab):
    start(lab)
    known_as(lab, OUTSIDE)
    clients_talk(lab, OUTSIDE)
    refused(lab, OUTSIDE)


def told_nothing(lab):
    """The only STUN server is on our side of the NAT: allocations are refused, with the reason, until one outside is
    named; what was found is remembered when nobody answers after a restart."""
    lab.start_server("near", ["udp:192.168.7.1:3478"], where=lab.router)
    start(lab, servers=("192.168.7.1",))
    wait_for("the reason", lambda: relay(lab).get("external_why_key") == "same-nat")
    code, out = lab.inside(lab.internet, os.path.join(lab.build, "cli/stile"), "test", "turn", OUTSIDE, "--transport", "udp",
                           "--user", "alice", "--password", PASSWORD, check=False)
    if code == 0 or "508" not in out:
        raise Failed(f"an allocation without a known public address: {out.strip()[-600:]}")
    config = os.path.join(lab.folder, "behind", "stile.yaml")
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace("192.168.7.1:3478", f"{SERVERS[0]}:3478"))
    stile(lab, "reload")
    known_as(lab, OUTSIDE)
    clients_talk(lab, OUTSIDE)
    process, _ = lab.services.pop()
    process.terminate()
    if process.wait(15) != 0:
        raise Failed(f"stile-turn ended with status {process.returncode}")
    lab.set_rules(one_to_one(OUTSIDE, False) + "chain f { type filter hook forward priority filter; "
                  f"ip daddr {SERVERS[0]} udp dport 3478 drop\n}}\n")
    lab.launch(os.path.join(lab.folder, "behind"), lab.client)
    wait_for("what is remembered", lambda: relay(lab)["external_state"] == "remembered" and relay(lab).get("external") == OUTSIDE)
    clients_talk(lab, OUTSIDE)


def by_coturn(lab):
    """The STUN server outside and the clients are coturn's: client to client through the relay (-y)."""
    lab.start_helper(lab.internet, ["turnserver", "-n", "-S", "-L", "203.0.113.20", "-p", "3478", "--no-tls", "--no-dtls", "--no-cli",
                                    "--log-file", "stdout", "--simple-log", "--pidfile", os.path.join(lab.folder, "coturn.pid")],
                     "Total General servers")
    start(lab, servers=("203.0.113.20",))
    known_as(lab, OUTSIDE)
    out = lab.inside(lab.internet, "turnutils_uclient", "-u", "alice", "-w", PASSWORD, "-y", "-c", "-n", "20", "-m", "2", OUTSIDE,
                     timeout=90)[1]
    if "Total lost packets 0 (0.000000%)" not in out:
        raise Failed("turnutils_uclient -y lost packets: " + out.strip()[-600:])

CASES = [
    ("1:1 NAT: found, followed, relay to relay", "one-to-one", True, found_and_followed),
    ("1:1 NAT that turns packets around", "one-to-one-hairpin", False, hairpin_on),
    ("1:1 NAT: nobody outside to ask, and a restart", "one-to-one", False, told_nothing),
    ("1:1 NAT, coturn's server and clients outside", "one-to-one", False, by_coturn),
]
