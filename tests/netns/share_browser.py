#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chromium behind each kind of NAT as the customer of a share whose sender is behind another one: down and up through stile-gateway,
every byte compared. Root.

One line a case; exit 77 where namespaces are not permitted."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "gateway"), os.path.join(HERE, "..", "interop")]
import browser as customer  # noqa: E402
from chromium import Browser  # noqa: E402
from direct_links import CONTROL, SiteAgent  # noqa: E402
from lab import Failed, enter  # noqa: E402
from nat_world import KINDS, SERVERS, SERVERS6, Verdicts, World, options  # noqa: E402
from tunnel_lab import wait_for  # noqa: E402
from tunnel_site import Service  # noqa: E402

MB = 1 << 20
SHORT = ("symmetric", "only-443")
SENDER = "cgnat"


class Server(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, world):
        world.ip(world.internet, f"addr add {CONTROL}/24 dev net")
        super().__init__(world, "server", "net", "")
        self.configure(f"""tunnel:
  public_name: {CONTROL}
  listen: ["tls:{CONTROL}:7443"]
  gateway: "unix:{self.path("door.sock")}"
  gateway_url: "https://{SERVERS[0]}"
""")


class Gateway(Service):
    program, full = "gateway/stile-gateway", "stile-gateway"

    def __init__(self, world, door):
        super().__init__(world, "gateway", "net", "")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=lab",
                        "-addext", f"subjectAltName=IP:{SERVERS[0]},IP:{SERVERS6[0]}", "-keyout", self.path("key.pem"), "-out", self.path("cert.pem")],
                       check=True, capture_output=True)
        self.configure(f"""gateway:
  listen: ["tls:{SERVERS[0]}:443", "tls:[{SERVERS6[0]}]:443"]
  certificate: {self.path("cert.pem")}
  key: {self.path("key.pem")}
  tunnel: {door}
""")


class Sender:
    """stile share at a site, with an upload folder."""

    def __init__(self, world, agent, path, to):
        self.said = os.path.join(world.folder, "sender.jsonl")
        with open(self.said, "wb") as out:
            self.process = world.popen(agent.site.host, [os.path.join(world.build, "cli/stile"), "share", path, "--upload", to, "--json",
                                                         "--runtime-dir", agent.path("run")], stdout=out, stderr=subprocess.STDOUT)

    def ready(self):
        def look():
            with open(self.said, encoding="utf-8") as f:
                for line in f.read().splitlines():
                    if line.startswith("{") and line.endswith("}") and json.loads(line)["event"] == "ready":
                        return json.loads(line)["link"]
            if self.process.poll() is not None:
                raise Failed(f"the share ended: {open(self.said, encoding='utf-8').read()[-800:]}")
            return None
        return wait_for("the share is ready", look)


def one(world, site, link, path, to, size):
    """Down and up, each broken off by nothing but the NAT."""
    got = os.path.join(world.folder, f"got-{site.label}")
    mine = customer.fill(os.path.join(world.folder, f"mine-{site.label}", f"{site.label}.bin"), size + site.number)
    os.makedirs(got)
    if not KINDS[site.kind].v4:
        link = link.replace(SERVERS[0], f"[{SERVERS6[0]}]")
    b = Browser(enter(site.host))
    try:
        b.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": got})
        page = customer.Page(b, link).state("ready")
        page.click("#entries button")
        page.line("entries", "done")
        have = os.path.join(got, os.path.basename(path))
        wait_for("the download is there", lambda: os.path.exists(have))
        if customer.sha(have) != customer.sha(path):
            raise Failed("other bytes came down")
        page.choose(mine)
        page.line("uploads", "done")
        if customer.sha(os.path.join(to, os.path.basename(mine))) != customer.sha(mine):
            raise Failed("other bytes went up")
    finally:
        b.close()


def main():
    o = options(__doc__, ("--full", {"action": "store_true", "help": "every kind of NAT, 50 MB each way"}))
    kinds = [k for k in KINDS if o.full or k in SHORT]
    size = (50 if o.full else 5) * MB
    with Verdicts() as verdicts, World(o.build, [SENDER, *kinds]) as world:
        world.env = {"STILE_DIRECT": os.path.join(o.build, "tunnel/direct/stile-agent-direct")}
        server = Server(world).start()
        Gateway(world, server.path("door.sock")).start()
        code = json.loads(server.tool("tunnel", "enrol", world.sites[0].label, "--json"))["code"]
        agent = SiteAgent(world, world.sites[0], code).start()
        wait_for("the sender's agent is connected", lambda: "agent.connected" in agent.logged())
        path, to = customer.fill(os.path.join(world.folder, "out", "shared.bin"), size), os.path.join(world.folder, "in")
        os.makedirs(to)
        link = Sender(world, agent, path, to).ready()
        for site in world.sites[1:]:
            verdicts.show(f"Chromium behind {KINDS[site.kind].what}, the sender behind {KINDS[SENDER].what}", one, world, site, link, path, to, size)
        world.stop_services()
    return verdicts.status()


if __name__ == "__main__":
    sys.exit(main())
