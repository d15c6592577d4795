# SPDX-License-Identifier: Apache-2.0
"""What the cases of the tunnel share: the world of tests/admin with a stile-tunnel and any number of stile-agents in it,
the targets of tests/relay, and questions to both control sockets.

    with Target(w.target_port(0), echo):
        w.server()                                  # stile.yaml, started
        w.agent("site", jobs=[f'port: {w.job_port(0)}, target: "127.0.0.1:{w.target_port(0)}"'])   # enrolled by a code
        w.connected("site")

Ports of a case, from w.base on: 0 the tunnel's, 1 a second server's, 10-29 jobs, 30-39 targets and others."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "relay"))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
import relay_world  # noqa: E402
import world  # noqa: E402
from relay_world import (  # noqa: E402, F401
    Target, connect, echo, pattern, read_all, resets, was_reset)
from world import BUILD, PATIENCE, ROOT, Failed, Skipped, case, need_root, wait_for  # noqa: E402, F401

SERVER, AGENT = os.path.join(BUILD, "tunnel/stile-tunnel"), os.path.join(BUILD, "tunnel/stile-agent")
PASSWORD = "correct horse battery"


def main(first_port):
    world.World = TunnelWorld
    return world.main(first_port)


def flow(values):
    """A YAML flow list of maps, each written without its braces."""
    return "[ " + ", ".join(f"{{ {v} }}" for v in values) + " ]" if values else "[]"


class TunnelWorld(relay_world.RelayWorld):
    """agents: instance → Server (of tests/admin/world.py)."""

    def __init__(self, first_port):
        super().__init__(first_port)
        self.agents = {}

    def job_port(self, i=0):
        return self.base + 10 + i

    def target_port(self, i=0):
        return self.base + 30 + i

    # ---- configurations ----

    def server_config(self, name="stile.yaml", **keys):
        """keys replace those of the tunnel section; None leaves one out."""
        tunnel = {
            "name": "Control room", "listen": f'["tls:127.0.0.1:{self.base}"]', "bind": "127.0.0.1",
            "ports": f"{self.base + 10}-{self.base + 29}", "workers": "2", "password": PASSWORD,
        }
        tunnel.update(keys)
        lines = "".join(f"  {k}: {v}\n" for k, v in tunnel.items() if v is not None)
        return self.write(name, f"log: {{ level: debug, dir: {self.path('log')} }}\n"
                                f"store: {{ path: {self.path('store')} }}\ntunnel:\n{lines}")

    def agent_config(self, agent, jobs=(), **keys):
        """Of the agent that is called so; jobs: flow maps without their braces."""
        section = {"name": agent, "server": f"127.0.0.1:{self.base}", "fallback_ports": "[]", "jobs": flow(jobs)}
        top = keys.pop("top", "")  # lines beside the agent section
        section.update(keys)
        lines = "".join(f"  {k}: {v}\n" for k, v in section.items() if v is not None)
        return self.write(f"{agent}.yaml", f"log: {{ level: debug, dir: {self.path('log')} }}\n{top}"
                                           f"store: {{ path: {self.path('store-' + agent)} }}\nagent:\n{lines}")

    # ---- programs ----

    def program(self, argv, full, **more):
        as_root = ["--user", "root"] if ROOT else []
        s = world.Server(self, [*argv, "--runtime-dir", self.path("run"), *as_root], **more)
        s.full = full
        self.servers.append(s)
        return s

    def start_server(self, config="stile.yaml", *options, **more):
        s = self.program([SERVER, "-c", self.path(config), *options], "stile-tunnel", **more)
        s.wait_ready()
        return s

    def start_agent(self, agent, *options, **more):
        s = self.program([AGENT, "-c", self.path(f"{agent}.yaml"), "--instance", agent, *options], f"stile-agent@{agent}", **more)
        self.agents[agent] = s
        s.wait_ready()
        return s

    def server(self, **keys):
        self.server_config(**keys)
        return self.start_server()

    def agent(self, agent, jobs=(), env=None, **keys):
        """With a code of the running server, unless the configuration says otherwise."""
        if not {"code", "password"} & set(keys):
            keys["code"] = f'"{self.enrol(agent)["code"]}"'
        self.agent_config(agent, jobs, **keys)
        return self.start_agent(agent, env=env)

    def kill_hard(self, server):
        """kill -9, and it may be started again."""
        server.kill()
        server.ended = True

    # ---- questions ----

    def ask_verb(self, verb, args=None):
        return self.verb(verb, args or {}, "stile-tunnel")

    def agent_verb(self, agent, verb, args=None):
        return self.verb(verb, args or {}, f"stile-agent@{agent}")

    def ask_agent(self, agent, *argv, **more):
        """A command of the tool that goes to this agent."""
        return self.ask(*argv, "--instance", agent, **more)

    def program_of_tool(self, *argv):
        """A command of the tool that runs on: a Popen with its output in a pipe."""
        return subprocess.Popen([world.STILE, *argv, "--runtime-dir", self.path("run")], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def enrol(self, name, *options):
        return json.loads(self.ask("tunnel", "enrol", name, "--json", *options).exits(0).out)

    def registered(self, name):
        """The registry's row of the agent with this name, or None."""
        for row in self.ask_verb("tunnel.agents")["rows"]:
            if row["name"] == name:
                return row
        return None

    def links(self):
        return self.ask_verb("tunnel.links")["rows"]

    def link(self, name):
        """The control connection of this agent, if it is up."""
        for row in self.links():
            if row["name"] == name and row.get("up", row.get("state") == "connected"):
                return row
        return None

    def connected(self, name, seconds=30):
        return wait_for(f"{name} is connected", lambda: self.link(name), seconds)

    def agent_logged(self, agent, *texts, seconds=20):
        return self.logged(*texts, name=f"stile-agent@{agent}", seconds=seconds)

    def server_logged(self, *texts, seconds=20):
        return self.logged(*texts, name="stile-tunnel", seconds=seconds)

    def tunnel_metric(self, name, label=None):
        """Of stile-tunnel; 0 if the line is not there."""
        for m in self.ask_verb("relay.metrics", {"text": True})["text"].splitlines():
            if m.startswith(name) and (label is None or f'"{label}"' in m):
                return float(m.rsplit(" ", 1)[1])
        return 0.0
