# SPDX-License-Identifier: Apache-2.0
"""The world of a soak: every service of Stile in one folder, with its default limits and a log of level info, as one would run them.

Ports, from w.base on: 0 stile-tunnel, 1 and 2 stile-turn (plain, TLS), 3 to 5 stile-sip (plain, TLS, of the LAN), 6 and 7 the console and
its /metrics, 8 stile-gateway, 10 to 12 forward jobs (TLS, plain, UDP), 13 a visit over a direct link, 14 and 15 routes of the relay (TCP,
UDP), 16 a SIP gateway outside, 30 and 31 targets that echo (TCP, UDP)."""
import contextlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("tunnel", "console", "sip", "relay", "admin"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
sys.path.append(os.path.join(HERE, "..", "share"))  # behind the library's own: it has a http.py
import tunnel_world  # noqa: E402
from console_world import PASSWORD, Client, trusting  # noqa: E402
from relay_world import UdpTarget  # noqa: E402
from sip_world import says_ok  # noqa: E402
from tunnel_world import Failed, Target, echo, flow, wait_for  # noqa: E402
from world import BUILD  # noqa: E402

PROGRAMS = {"turn": "turn/stile-turn", "sip": "sip-proxy/stile-sip", "console": "console/stile-console", "gateway": "gateway/stile-gateway"}
USERS = [f"u{i}" for i in range(6)]


class SoakWorld(tunnel_world.TunnelWorld):
    """programs: what is watched, name → process id."""

    def __init__(self, first_port):
        super().__init__(first_port)
        self.echoes, self.admin = [], None

    def __exit__(self, *more):
        for e in self.echoes:
            e.close()
        super().__exit__(*more)

    def section(self, name, **keys):
        """NAME.yaml, with the section NAME."""
        lines = "".join(f"  {k}: {v}\n" for k, v in keys.items())
        self.write(f"{name}.yaml", f"log: {{ level: info, dir: {self.path('log')}, max_size: 1MB, keep: 2 }}\n"
                                   f"store: {{ path: {self.path('store')} }}\n{name}:\n{lines}")

    def begin(self, name):
        s = self.program([os.path.join(BUILD, PROGRAMS[name]), "-c", self.path(f"{name}.yaml")], f"stile-{name}")
        s.wait_ready()

    def quiet_log(self, file):
        """The worlds of other tests log all there is."""
        with open(self.path(file), encoding="utf-8") as f:
            text = f.read().replace("{ level: debug, ", "{ level: info, max_size: 1MB, keep: 2, ")
        self.write(file, text)

    def start_all(self):
        p = self.base
        self.certificate(names="DNS:localhost,DNS:uc.test,IP:127.0.0.1")
        self.echoes = [Target(p + 30, echo), UdpTarget(p + 31), UdpTarget(p + 16, says_ok)]
        pair = {"certificate": "server.pem", "key": "server.key"}
        # Who goes without a word holds an allocation for ten minutes: some sixty at a time, all of one user.
        self.section("turn", realm="soak.test", limits="{ allocations_per_user: 500 }",
                     users="[ { name: alice, password: wonderland } ]", peers="{ allow: [127.0.0.0/8] }",
                     listen=f'["udp:127.0.0.1:{p + 1}", "tcp:127.0.0.1:{p + 1}", "tls:127.0.0.1:{p + 2}", "dtls:127.0.0.1:{p + 2}"]',
                     relay="{ addresses: [127.0.0.1] }", **pair)
        self.section("sip", domains="[uc.test]", listen=f'["udp:127.0.0.1:{p + 3}", "tcp:127.0.0.1:{p + 3}", "tls:127.0.0.1:{p + 4}"]',
                     lan=f'{{ listen: ["udp:127.0.0.1:{p + 5}", "tcp:127.0.0.1:{p + 5}"] }}', ca="server.pem",
                     users=flow([f"name: {u}, password: hush" for u in USERS]),
                     routes=f"[ {{ domain: out.test, host: 127.0.0.1, port: {p + 16}, transport: udp }} ]", **pair)
        self.section("console", listen=f'"127.0.0.1:{p + 6}"', metrics=f'{{ listen: "127.0.0.1:{p + 7}" }}')
        self.section("gateway", listen=f'"tls:127.0.0.1:{p + 8}"', tunnel=self.path("door.sock"), **pair)
        self.start_tunnel()
        for name in PROGRAMS:
            self.begin(name)
        self.first_admin()

    def start_tunnel(self):
        p = self.base
        self.server_config(allow_plain='true', gateway=f'"unix:{self.path("door.sock")}"', gateway_url=f'"https://localhost:{p + 8}"',
                           routes=flow([f'name: web, listen: "127.0.0.1:{p + 14}", target: "127.0.0.1:{p + 30}"',
                                        f'name: dns, listen: "127.0.0.1:{p + 15}", target: "127.0.0.1:{p + 31}", udp: true']))
        self.quiet_log("stile.yaml")
        self.start_server()
        jobs = [f'port: {p + 10}, name: one, target: "127.0.0.1:{p + 30}"',
                f'port: {p + 11}, name: two, encrypt: false, target: "127.0.0.1:{p + 30}"',
                f'port: {p + 12}, name: three, protocol: udp, target: "127.0.0.1:{p + 31}"']
        for agent, mine in (("site", jobs), ("home", [])):
            self.agent_config(agent, mine, code=f'"{self.enrol(agent)["code"]}"')
            self.quiet_log(f"{agent}.yaml")
            self.start_agent(agent)
            self.connected(agent, 60)
        self.introduce(jobs)

    def introduce(self, jobs):
        """home visits the target of site over a direct link."""
        def identity(agent):
            return self.agent_verb(agent, "agent.status")["identity"]
        target = f"127.0.0.1:{self.base + 30}"
        visitor = f'name: home, identity: "{identity("home")}", allow: "127.0.0.0/8:{self.base + 30}"'
        visit = f'agent: site, identity: "{identity("site")}", target: "{target}", listen: {self.base + 13}'
        self.agent_config("site", jobs, visitors=flow([visitor]))
        self.agent_config("home", [], visits=flow([visit]))
        for agent in ("site", "home"):
            self.quiet_log(f"{agent}.yaml")
            self.agent_verb(agent, "service.reload")
        wait_for("the link between the agents is direct",
                 lambda: [r for r in self.agent_verb("home", "agent.peers")["rows"] if r["state"] == "up" and r["path"] == "direct"], 90)

    def first_admin(self):
        self.admin = self.client_of_console()
        token = self.verb("console.setup", full="stile-console")["token"]
        self.admin.csrf = self.admin.post("/api/v1/setup", {"token": token, "user": "alice", "password": PASSWORD}).is_(200).json["csrf"]
        for service in ("turn", "tunnel", "sip", "gateway", "agent@site"):
            wait_for(f"the console knows {service}", lambda: [r for r in self.admin.get("/api/v1/services").is_(200).json["services"]
                                                              if r["service"] == service and r["state"] == "running"])

    def client_of_console(self):
        return Client(self.base + 6)

    def trust(self):
        return trusting(self.folder, "server")

    def programs(self):
        """What is watched: name → process id."""
        found = {s.full: s.process.pid for s in self.servers}
        for agent in self.agents:
            with contextlib.suppress(OSError):  # an agent that has ended is told by its own row
                pid = self.agent_verb(agent, "agent.peers")["child"]["pid"]
                if pid:
                    found[f"stile-agent-direct@{agent}"] = pid
        return found

    def must_run(self):
        for s in self.servers:
            if s.process.poll() is not None:
                raise Failed(f"    {s.full} ended with status {s.process.returncode}")
