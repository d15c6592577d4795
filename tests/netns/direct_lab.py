# SPDX-License-Identifier: Apache-2.0
"""Two agents with a line between them, and longer ways round, for tests of links that move and for tests/bench/direct.py:

    home 10.99.0.1 ------------- the direct line (a Wire) ------------- 10.99.0.2 site
    home 10.98.1.2 ---- a line to the server, 10.98.1.1 | 10.98.2.1 ---- 10.98.2.2 site

home is the visitor's agent, site the one whose network is visited. Between the two ways there is no routing, so the direct line is the
only direct path, and it dies when all of its packets are lost. The targets are threads of this process with sockets in the site's
namespace, so every byte can be compared."""
import itertools
import json
import os
import shutil
import subprocess
import tempfile

from lab import Skipped, die_with_us, enter, inside, run
from tunnel_lab import Programs, wait_for
from tunnel_site import Service
from wire import Wire

CONTROL_PORT = 7443
SERVER = {"home": "10.98.1.1", "site": "10.98.2.1"}
DIRECT = {"home": "10.99.0.1", "site": "10.99.0.2"}
PASSWORD = "for-enrolment-in-the-lab"
NUMBER = itertools.count()


class TunnelServer(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, lab, direct="{ relay: true }", name="server", port=CONTROL_PORT):
        super().__init__(lab, name, "net", f"""tunnel:
  public_name: {SERVER["home"]}
  workers: 1
  listen: ["tls:0.0.0.0:{port}"]
  password: {PASSWORD}
  direct: {direct}
""")
        self.port = port

    def at(self, agent):
        """As it stands in that agent's file."""
        return f"{SERVER[agent]}:{self.port}#" + json.loads(self.tool("tunnel", "identity", "--json"))["root"]


class EndAgent(Service):
    """name: home or site."""

    program, full = "tunnel/stile-agent", "stile-agent"

    def __init__(self, lab, name, servers):
        self.servers = [s.at(name) for s in servers]
        super().__init__(lab, name, name, self.text(name, ""))

    def text(self, name, more):
        return f"agent:\n  name: {name}\n  server: {json.dumps(self.servers)}\n  password: {PASSWORD}\n  fallback_ports: []\n{more}"

    def reconfigure(self, more, reload=True):
        self.configure(self.text(self.name, more))
        if reload:
            self.verb("service.reload")

    def identity(self):
        return self.verb("agent.status")["identity"]

    def link(self, path=None):
        """The link that is up (on that path), or None."""
        return next((r for r in self.verb("agent.peers")["rows"] if r["state"] == "up" and path in (None, r["path"])), None)

    def child_pid(self):
        return self.verb("agent.peers")["child"]["pid"]

    def connected(self, n=1):
        wait_for(f"{self.name} is connected to {n} servers", lambda: self.logged().count(" agent.connected ") >= n)


class DirectLab(Programs):
    """A context manager. direct, legs: values of the Wires (delay in ms one way, rate in Mbit/s, queue in bytes, loss in percent)."""

    def __init__(self, build, direct, legs, wire=None, prepare=die_with_us, prepare_wire=die_with_us):
        self.build, self.values, self.leg_values, self.prepare, self.prepare_wire = build, direct, legs, prepare, prepare_wire
        self.wire_program = wire or os.path.join(build, "tests/netns/wire")
        self.tag = f"stile{os.getpid()}-{next(NUMBER)}d"
        self.made, self.programs, self.services, self.targets, self.wires = [], [], [], [], []
        self.env = {"STILE_DIRECT": os.path.join(build, "tunnel/direct/stile-agent-direct")}
        self.folder = tempfile.mkdtemp(prefix="stile-direct-")
        os.chmod(self.folder, 0o755)
        self.line = self.server = self.home = self.site = None

    def name(self, host):
        return f"{self.tag}-{host}"

    def at(self, host, *argv, **more):
        return run([*enter(self.name(host)), *argv], **more)

    def inside(self, host):
        return inside(self.name(host))

    def wire(self, a, b, device, addresses, values):
        w = Wire(self.wire_program, self.name(a), self.name(b), device=device, addresses=addresses, prepare=self.prepare_wire, **values)
        self.wires.append(w)
        return w

    def set_up(self):
        if os.getuid() != 0:
            raise Skipped("network namespaces need root")
        for host in ("home", "site", "net"):
            code, out = run(["ip", "netns", "add", self.name(host)], check=False)
            if code != 0:
                raise Skipped("network namespaces are not permitted: " + out.strip())
            self.made.append(host)
            self.at(host, "ip", "link", "set", "lo", "up")
            self.at(host, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        self.line = self.wire("home", "site", "wire0", (DIRECT["home"], DIRECT["site"]), self.values)
        self.wire("net", "home", "leg1", ("10.98.1.1", "10.98.1.2"), self.leg_values)
        self.wire("net", "site", "leg2", ("10.98.2.1", "10.98.2.2"), self.leg_values)

    def clean(self):
        for p in self.programs:
            p.kill()
        for t in self.targets:
            t.close()
        for w in self.wires:
            w.close()
        for host in reversed(self.made):
            subprocess.run(["ip", "netns", "del", self.name(host)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- programs ----

    def start_agents(self, visits, allow, more="", visit="", direct="{ relay: true }", second=False):
        """Server (or two) and both agents, connected. visits: (target, port of home on 127.0.0.1) each; allow: what they may reach; more, visit:
        of both agents' section, of each visit; direct: of the server's section."""
        self.server = TunnelServer(self, direct).start()
        servers = [self.server] + ([TunnelServer(self, direct, "second", CONTROL_PORT + 1).start()] if second else [])
        agents = [EndAgent(self, name, servers).start() for name in ("home", "site")]
        self.home, self.site = agents
        for a in agents:
            a.connected(len(servers))
        self.site.reconfigure(f'  visitors: [ {{ name: home, identity: "{self.home.identity()}", allow: {json.dumps(allow)} }} ]\n{more}')
        rows = ", ".join(f'{{ agent: site, identity: "{self.site.identity()}", target: "{target}", listen: "127.0.0.1:{port}"{visit} }}'
                         for target, port in visits)
        self.home.reconfigure(f"  visits: [ {rows} ]\n{more}")

    def until_path(self, path, seconds=60):
        """Home's link is up on that path."""
        return wait_for(f"the link is {path}", lambda: self.home.link(path), seconds)

    def cut(self):
        """From now on nothing passes the direct line."""
        self.line.set(loss=100)

    def mend(self):
        self.line.set(loss=self.values.get("loss", 0))

