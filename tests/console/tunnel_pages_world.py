# SPDX-License-Identifier: Apache-2.0
"""What the pages Tunnel, Agent and Relay are tested against: a stile-tunnel with a route of its file, agents enrolled by code and by
password, one of them with a name in HTML, two that are linked, echoing targets, and connections that stay until they are ended.

Ports, from base on: 0 the tunnel's, 3 the console's, 10-29 jobs and routes, 30-39 targets and visits."""
import os
import socket
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
from page_world import Failed, PageWorld, wait_for  # noqa: E402
from world import STILE  # noqa: E402
from tunnel_world import PASSWORD, Target, TunnelWorld, connect, echo, flow  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_ROUTE = HOSTILE.replace(" ", "/")  # a route's name has no blanks
ROUTE = 15  # the port of the route of the file, and those that cases make


class Tunnels(PageWorld, TunnelWorld):
    def __init__(self, first_port):
        super().__init__(first_port)
        self.held, self.tools = {}, {}

    def begin(self):
        os.mkdir(self.path("records"))
        self.target = Target(self.target_port(0), echo)
        self.server_config(
            public_name="tunnel.example.org", records=f"{{ dir: {self.path('records')} }}", allow_plain="true",
            routes=f'[ {{ name: "{HOSTILE_ROUTE}", listen: "127.0.0.1:{self.job_port(ROUTE)}", target: "127.0.0.1:{self.target_port(0)}", '
                   f'note: "{HOSTILE}" }} ]')
        with open(self.path("stile.yaml"), "a") as f:
            f.write(self.console_section())
        self.running["stile-tunnel"] = self.start_server()
        self.do_agent("site", jobs=[f'name: ssh, port: {self.job_port(0)}, target: "127.0.0.1:{self.target_port(0)}"'],
                      allow="[127.0.0.0/8]")
        self.service("stile-console")

    def do_agent(self, agent, jobs=(), **keys):
        """Enrolled by a code unless keys say otherwise."""
        self.agent(agent, jobs, **keys)
        self.running[f"stile-agent@{agent}"] = self.agents[agent]
        if "password" not in keys:
            self.connected(keys.get("name", agent).strip('"'))

    def do_password_agent(self, agent, name):
        """It knows the password alone, and waits for approval."""
        self.do_agent(agent, password=f'"{PASSWORD}"', name=f"'{name}'")

    def do_strange_agent(self, agent):
        """It has neither code nor password, so no server lets it in."""
        self.do_agent(agent, password=None, code=None)

    def do_start(self, service):
        if service == "stile-tunnel":
            self.running[service] = self.start_server()
        elif service.startswith("stile-agent@"):
            self.running[service] = self.start_agent(service.partition("@")[2])
        else:
            super().do_start(service)

    def do_connected(self, name):
        return self.connected(name, 60)["name"]

    # ---- connections ----

    def do_hold(self, port, text="hello", bind=None):
        """Connects there, says something and hears it; stays. → its own port."""
        def reached():
            try:
                s = connect(port, timeout=30)
                s.sendall(text.encode())
                return s if s.recv(1 << 16) == text.encode() else None
            except OSError:
                return None
        s = wait_for(f"an echo behind port {port}", reached)
        own = s.getsockname()[1]
        self.held[own] = s
        return own

    def do_say(self, held, text):
        s = self.held[held]
        s.sendall(text.encode())
        return s.recv(1 << 16).decode()

    def do_over(self, held):
        """It ends, one way or the other."""
        s = self.held.pop(held)
        try:
            return s.recv(1) == b""
        except ConnectionResetError:
            return True
        finally:
            s.close()

    def do_let_go(self, held):
        self.held.pop(held).close()

    def do_closed(self, port):
        def look():
            try:
                connect(port).close()
                return False
            except OSError:
                return True
        return wait_for(f"port {port} is closed", look)

    def do_carries(self, port):
        self.do_let_go(self.do_hold(port))
        return True

    # ---- programs of the tool ----

    def do_tool(self, name, argv):
        """A command that runs on, until do_ended()."""
        self.tools[name] = self.program_of_tool(*argv)
        return True

    def do_ended(self, name):
        """It has ended by itself. → its errors."""
        return self.tools.pop(name).communicate(timeout=60)[1].decode()

    def do_got(self, code):
        """What a receiver without an agent has of the one file that is shared."""
        nothing, got = (tempfile.mkdtemp(dir=self.folder) for _ in range(2))
        self.run(STILE, "get", code.replace("tunnel.example.org", "127.0.0.1"), got, "--runtime-dir", nothing).exits(0)
        with open(os.path.join(got, os.listdir(got)[0]), encoding="utf-8") as f:
            return f.read()

    # ---- two agents that visit each other ----

    def do_introduce(self, visitor, host):
        """visitor reaches the echo behind host; by the relay of the server or directly, as it comes."""
        def identity(a):
            return self.agent_verb(a, "agent.status")["identity"]
        target = f"127.0.0.1:{self.target_port(0)}"
        self.agent_config(host, [f'name: ssh, port: {self.job_port(0)}, target: "{target}"'],
                          allow="[127.0.0.0/8]", visitors=flow([f'name: {visitor}, identity: "{identity(visitor)}", allow: "{target}"']))
        self.agent_verb(host, "service.reload")
        self.agent_config(visitor, visits=flow([f'agent: {host}, identity: "{identity(host)}", target: "{target}", listen: {self.target_port(5)}']))
        self.agent_verb(visitor, "service.reload")
        return self.do_hold(self.target_port(5))

    def do_records(self):
        return sorted(os.listdir(self.path("records")))

    def end(self):
        for s in self.held.values():
            s.close()
        for p in self.tools.values():
            p.kill()
            p.communicate()
        super().end()
        self.target.close()


__all__ = ["HOSTILE", "ROUTE", "Failed", "Tunnels", "socket"]
