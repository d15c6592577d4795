#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile share --forward behind real routers: one whose administrator enters the printed rule, one that opens the port by UPnP, one that
does by PCP; a rule that leads to another machine, a public address that changes, and curl as the customer from the outside, with
every byte compared. Root.

One line a case; exit 77 where namespaces are not permitted."""
import hashlib
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from direct_links import CONTROL, SiteAgent, TunnelServer  # noqa: E402
from ice_ends import Turn  # noqa: E402
from lab import Failed, enter  # noqa: E402
from nat_world import NUMBER, SERVERS, Verdicts, World, options  # noqa: E402
from tunnel_lab import stream_bytes, wait_for  # noqa: E402

BYTES = 3_000_017
INSIDE = "192.168.7.2"
PORT = 8082  # 8080 and the last octet of INSIDE


class Share:
    """stile share --forward at a site: its events."""

    def __init__(self, world, agent, *argv):
        self.world, self.site, self.said = world, agent.site, os.path.join(world.folder, f"share-{next(NUMBER)}.jsonl")
        config = os.path.join(world.folder, f"{agent.site.label}-share.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'stun_servers: ["{SERVERS[0]}:3478"]\n')
        with open(self.said, "wb") as out:
            self.process = world.popen(agent.site.host, [os.path.join(world.build, "cli/stile"), "share", *argv, "--forward", "--json", "-c", config,
                                                         "--runtime-dir", agent.path("run")], stdout=out, stderr=subprocess.STDOUT,
                                       env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"})

    def rows(self):
        with open(self.said, encoding="utf-8") as f:
            out = f.read()
        try:
            return [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        except ValueError:
            return []  # half a line

    def event(self, name, seconds=40, n=1):
        def look():
            found = [r for r in self.rows() if r["event"] == name]
            if len(found) < n and self.process.poll() is not None:
                raise Failed(f"the share ended before it said {name}: {open(self.said, encoding='utf-8').read()[-1500:]}")
            return found[n - 1] if len(found) >= n else None
        return wait_for(f"the share says {name}", look, seconds)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        with open(self.said, encoding="utf-8") as f:
            out = f.read()
        if self.process.returncode != 0 or "Sanitizer" in out:
            raise Failed(f"the share ended with {self.process.returncode}: {out[-1500:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()


def curl(world, *argv):
    done = subprocess.run([*enter(world.internet), "curl", "-sS", "--max-time", "30", *argv], capture_output=True, check=False)
    if done.returncode:
        raise Failed(f"curl {argv[-1]}: {done.stderr.decode().strip()}")
    return done.stdout


def token_of(link):
    """As the page derives it: the code behind #, HKDF-SHA256."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "share"))
    from share_world import hkdf, secret_of
    return hkdf(secret_of(link.split("#")[1]), b"stile share 1 token", 16).hex()


def fetch(world, link, name, want):
    """As a browser does that came by the link: the page, what there is, the file in two parts."""
    url, token = link.split("#")[0], token_of(link)
    if b"<script src=\"app.js\">" not in curl(world, url):
        raise Failed("there is no page")
    if not curl(world, url + "app.js"):
        raise Failed("the page has no script")
    meta = json.loads(curl(world, f"{url}plain/meta?t={token}"))
    if meta["encrypted"] or meta["entries"][0]["path"] != name:
        raise Failed(f"{meta}")
    part = curl(world, "-r", "0-999999", f"{url}f/{name}?t={token}") + curl(world, "-r", "1000000-", f"{url}f/{name}?t={token}")
    if hashlib.sha256(part).hexdigest() != want:
        raise Failed(f"other bytes came: {len(part)}")
    refused = curl(world, "-o", "/dev/null", "-w", "%{http_code}", f"{url}f/{name}?t={'0' * 32}").decode()
    if refused != "403":
        raise Failed(f"a wrong token is answered with {refused}")


def send(world, link, data):
    path = os.path.join(world.folder, "sent.bin")
    with open(path, "wb") as f:
        f.write(data)
    url = link.split("#")[0]
    curl(world, "-f", "-T", path, f"{url}n/sent.bin?t={token_of(link)}")


def content(world):
    path, h = os.path.join(world.folder, "shared.bin"), hashlib.sha256()
    with open(path, "wb") as f:
        for part in stream_bytes(BYTES):
            f.write(part)
            h.update(part)
    return path, h.hexdigest()


def rule(world, site, to):
    """The administrator enters it; None: takes it away."""
    world.rules(site.router, "" if not to else f"""chain pre {{ type nat hook prerouting priority dstnat; iifname "out" tcp dport {PORT} dnat to {to}
        }}
        chain onward {{ type filter hook forward priority -10; ct status dnat accept
        }}""", table="byhand")


def expect(have, *words):
    for word in words:
        if word not in have:
            raise Failed(f"expected {word!r} in {have!r}")


def without(world, agents):
    """A router that opens nothing by itself: the rule is printed, tested, entered, tested again."""
    agent, (path, want) = agents[0], content(world)
    site = agent.site
    os.makedirs(os.path.join(world.folder, "in"), exist_ok=True)
    with Share(world, agent, path, "--upload", os.path.join(world.folder, "in")) as s:
        ready = s.event("ready")
        expect(ready["link"], f"http://{site.outside}:{PORT}/s/")
        expect(ready["rule"], f"TCP {site.outside}:{PORT} → {INSIDE}:{PORT}")
        expect(s.event("router")["text"], "has not opened")
        said = s.event("reach")
        expect(said["text"], "✘", "rule")
        s.stop()
    rule(world, site, f"{INSIDE}:{PORT}")
    with Share(world, agent, path, "--upload", os.path.join(world.folder, "in")) as s:
        expect(s.event("reach")["text"], "✔ the forwarding works", f"{site.outside}:{PORT}")
        link = s.event("ready")["link"]
        fetch(world, link, "shared.bin", want)
        send(world, link, b"from the customer" * 1000)
        with open(os.path.join(world.folder, "in", "sent.bin"), "rb") as f:
            if f.read() != b"from the customer" * 1000:
                raise Failed("the upload is another one")
        told = site.at(os.path.join(world.build, "cli/stile"), "test", "reach", str(PORT), "--json", "--runtime-dir", agent.path("run"))[1]
        expect(told, '"result": "ours"')
        s.stop()
    return f"{site.outside}:{PORT} leads to {INSIDE}:{PORT}"


def by_router(world, agents, n, upnp, by, closed):
    agent, (path, want) = agents[n], content(world)
    router = world.open_ports_on_request(agent.site, upnp)
    public = f"44.0.0.{agent.site.number}"
    world.rules(agent.site.router, f"""chain post {{ type nat hook postrouting priority srcnat; oifname "out" snat to {public}
        }}""")  # one public address, as most have
    with Share(world, agent, path) as s:
        expect(s.event("router")["text"], "has opened", f"{public}:{PORT}", by)
        link = s.event("ready")["link"]
        expect(link, f"http://{public}:{PORT}/s/")
        expect(s.event("reach")["text"], "✔ the forwarding works")
        fetch(world, link, "shared.bin", want)
        s.stop()
    wait_for("the port is closed again", lambda: closed in router.said())
    return f"{public}:{PORT} opened by {by}, and closed"


def elsewhere(world, agents):
    """The rule leads to another machine that has a share, too."""
    agent, other = agents[0], agents[3]
    path, _ = content(world)
    with Share(world, other, path) as theirs:
        port = int(theirs.event("ready")["link"].split(":")[2].split("/")[0])
        rule(world, agent.site, f"{other.site.address}:{port}")
        try:
            with Share(world, agent, path) as s:
                expect(s.event("reach")["text"], "✘", "another machine's share answers")
                s.stop()
        finally:
            rule(world, agent.site, None)
        theirs.stop()
    return "told apart from this machine's"


def moves(world, agents):
    agent, (path, _) = agents[0], content(world)
    site = agent.site
    with Share(world, agent, path) as s:
        expect(s.event("ready")["link"], site.outside)
        s.event("reach")
        world.ip(site.router, "addr add 203.0.113.99/24 dev out")
        world.rules(site.router, """chain post { type nat hook postrouting priority srcnat; oifname "out" snat to 203.0.113.99
        }""")
        world.ip(site.host, "addr add 192.168.7.77/32 dev lo")  # what is seen here of a change: the network is looked at anew
        moved = s.event("moved", 90)
        expect(moved["link"], f"http://203.0.113.99:{PORT}/s/")
        expect(moved["rule"], f"203.0.113.99:{PORT}")
        s.event("reach", 60, 2)
        s.stop()
    return f"from {site.outside} to 203.0.113.99, found and said"


def refusals(world, agents):
    """What is said before anybody listens."""
    agent, (path, _) = agents[0], content(world)

    def said(*argv):
        with Share(world, agent, path, *argv) as s:
            s.process.wait(20)
            with open(s.said, encoding="utf-8") as f:
                return f.read()
    expect(said("--base-port", "65534"), "65536, which is no port")
    expect(said("--interface", "eth9"), "no interface", "eth0")
    world.ip(agent.site.host, "link add second type veth peer name third", "link set second up", "link set third up", "addr add 10.9.9.2/24 dev second")
    with Share(world, agent, path) as s:
        expect(s.event("twin")["text"], "second", "the same last octet", str(PORT))
        expect(s.event("interfaces")["text"], "eth0", "second (10.9.9.2")
        expect(said(), f"port {PORT} is held by")
        s.event("ready")
        s.stop()
    world.ip(agent.site.host, "link del second")
    return "overflow, a missing interface, a twin in another subnet, a port that is held"


CASES = (
    ("a router that opens nothing: the printed rule, entered by hand", without),
    ("a router with UPnP", lambda w, a: by_router(w, a, 1, True, "UPnP", "DeletePortMapping: external port")),
    ("a router with PCP and NAT-PMP", lambda w, a: by_router(w, a, 2, False, "PCP", "mapping removed")),
    ("a rule that leads to another machine", elsewhere),
    ("overflow, interfaces, the same last octet in another subnet", refusals),
    ("a public address that changes", moves),
)


def main():
    o = options(__doc__)
    with Verdicts() as verdicts, \
            World(o.build, ["restricted-port-cone", "restricted-port-cone", "restricted-port-cone", "none"]) as world:
        world.env = {"STILE_DIRECT": os.path.join(o.build, "tunnel/direct/stile-agent-direct")}
        Turn(world).start()
        server = TunnelServer(world).start()
        agents = []
        for site in world.sites:
            code = json.loads(server.tool("tunnel", "enrol", site.label, "--json"))["code"]
            agents.append(SiteAgent(world, site, code).start())
        for a in agents:
            wait_for(f"{a.name} is connected to {CONTROL}", lambda a=a: "agent.connected" in a.logged())
        for sentence, fn in CASES:
            verdicts.show(sentence, fn, world, agents)
        world.stop_services()
    return verdicts.status()


if __name__ == "__main__":
    sys.exit(main())
