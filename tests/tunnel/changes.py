# SPDX-License-Identifier: Apache-2.0
"""Settings, undo and changes of stile-tunnel and stile-agent by the verbs that every service has: what was made by a command of its own
is changed and undone by them, and what they make is at work like the command's."""
import json
import os
import socket
import sys

from tunnel_world import PATIENCE, Failed, Target, case, connect, echo, flow, main, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
from settings import call, refused, row, want  # noqa: E402

AGENT, SERVER = "stile-agent@site", "stile-tunnel"


def echoes(w, port):
    try:
        with connect(port) as s:
            s.sendall(b"hello")
            return s.recv(5) == b"hello"
    except OSError:
        return False


def closed(port):
    try:
        connect(port).close()
        return False
    except OSError:
        return True


def over(s):
    """Whether the connection ends, one way or the other."""
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def held_here(w):
    return call(w, "service.objects", SERVER, kind="tunnel.held")["rows"]


def last(w, full):
    return call(w, "config.audit", full)["rows"][0]["change"]


@case("a port range and a password of the tunnel, a log level of the agent: set, kept over a restart, undone")
def _(w):
    server = w.server(ports=None, password=None)
    call(w, "config.set", SERVER, path="tunnel.ports", value=f"{w.base + 10}-{w.base + 20}")
    secret = call(w, "config.set", SERVER, path="tunnel.password", value="correct horse battery 2")
    refused(w, "config.set", "bad-request", "tunnel.ports", full=SERVER, path="tunnel.ports", value="9-1")
    refused(w, "config.set", "locked", "stile.yaml:", full=SERVER, path="tunnel.name", value="x")
    w.agent("site")
    w.connected("site")
    level = call(w, "config.set", AGENT, path="log.keep", value=7)
    server.stop()
    server = w.start_server()
    want(row(w, "tunnel.ports", SERVER)["value"], [f"{w.base + 10}-{w.base + 20}"])
    w.connected("site")
    call(w, "config.undo", SERVER, change=secret["change"])
    want(row(w, "tunnel.password", SERVER)["source"], "default")
    call(w, "config.undo", AGENT, change=level["change"])
    want(row(w, "log.keep", AGENT)["value"], "5")
    if "correct horse battery 2" in json.dumps(call(w, "config.audit", SERVER)):
        raise Failed("    the password is in the audit")


@case("jobs, routes and agents that were made, changed or deleted come back by an undo and work")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site")
        w.connected("site")
        port, target = w.job_port(0), f"127.0.0.1:{w.target_port(0)}"
        # A job of the agent's store: deleted by its command, back by an undo.
        w.verb("agent.job.add", {"job": {"port": str(port), "target": target, "name": "one"}}, AGENT)
        wait_for("the job works", lambda: echoes(w, port))
        w.verb("agent.job.delete", {"name": "one"}, AGENT)
        wait_for("the job is gone", lambda: not echoes(w, port))
        call(w, "config.undo", AGENT, change=last(w, AGENT))
        wait_for("the job works again", lambda: echoes(w, port))
        refused(w, "config.put", "bad-request", "key", full=AGENT, kind="agent.job", key="two", body={"port": str(port), "target": target, "name": "one"})
        refused(w, "config.put", "bad-request", "target", full=AGENT, kind="agent.job", key="two", body={"port": "1", "target": "a b", "name": "two"})
        call(w, "config.delete", AGENT, kind="agent.job", key="one")
        wait_for("the job is gone", lambda: not echoes(w, port))
        # A job that the server offers.
        body = {"agent": "site", "name": "offer", "job": {"port": str(port), "target": target, "name": "offer"}}
        call(w, "config.put", SERVER, kind="tunnel.job", key="site/offer", body=body)
        want(len(w.verb("tunnel.job.list", {}, SERVER)["rows"]), 1)
        call(w, "config.undo", SERVER, change=last(w, SERVER))
        want(w.verb("tunnel.job.list", {}, SERVER)["rows"], [])
        # A route of the relay.
        route = {"listen": f"127.0.0.1:{w.job_port(1)}", "target": target, "name": "r"}
        made = call(w, "config.put", SERVER, kind="relay.route", key="r", body=route)
        wait_for("the route works", lambda: echoes(w, w.job_port(1)))
        refused(w, "config.put", "bad-request", "port already", full=SERVER, kind="relay.route", key="r2", body={**route, "name": "r2"})
        call(w, "config.undo", SERVER, change=made["change"])
        wait_for("the route is gone", lambda: not echoes(w, w.job_port(1)))
        # An agent: revoked by mistake, and back.
        w.verb("tunnel.agents.revoke", {"agent": "site"}, SERVER)
        want([a["state"] for a in w.verb("tunnel.agents", {}, SERVER)["rows"]], ["revoked"])
        call(w, "config.undo", SERVER, change=last(w, SERVER))
        want([a["state"] for a in w.verb("tunnel.agents", {}, SERVER)["rows"]], ["approved"])


@case("a list of which only the first items would be used is refused: ranges of ports, STUN and TURN servers; in files, settings, objects")
def _(w):
    def ranges(n):
        return [str(w.base + 10 + i) for i in range(n)]

    def hosts(n):
        return "[" + ", ".join(f'"192.0.2.{i + 1}:3478"' for i in range(n)) + "]"

    own = 'server: "192.0.2.{}", user: u, password: p'
    for n, over in ((16, None), (17, "'ports' has at most 16 items, not 17")):
        w.server_config(ports="[" + ", ".join(ranges(n)) + "]")
        w.check().exits(2 if over else 0).says(over or "good")
    for n, over in ((4, None), (5, "'turn_servers' has at most 4 items, not 5")):
        w.server_config(direct=f"{{ turn_servers: {hosts(n)}, turn_secret: some-secret-of-these }}")
        w.check().exits(2 if over else 0).says(over or "good")
    for n, over in ((8, None), (9, "has at most 8 items, not 9")):
        for lists in ({"top": f"stun_servers: {hosts(n)}\n"}, {"direct": f"{{ turn_servers: {flow([own.format(i + 1) for i in range(n)])} }}"}):
            w.agent_config("site", **lists)
            w.check("site.yaml").exits(2 if over else 0).says(over or "good")
    w.server(ports=None)
    refused(w, "config.set", "bad-request", "at most 16 items", full=SERVER, path="tunnel.ports", value=ranges(17))
    w.agent("site")
    w.connected("site")
    agent = call(w, "service.objects", SERVER, kind="tunnel.agent")["rows"][0]
    for n in (16, 17):
        put = {"kind": "tunnel.agent", "key": agent["key"], "body": {**agent["body"], "ports": ranges(n)}}
        if n == 16:
            call(w, "config.put", SERVER, **put)
        else:
            refused(w, "config.put", "bad-request", "at most 16 items", full=SERVER, **put)


@case("who is late with a job is shown both versions, by the job's own command as by config.put")
def _(w):
    w.server()
    w.agent("site")
    job = {"port": str(w.job_port(0)), "target": "127.0.0.1:9", "name": "one"}
    w.verb("agent.job.add", {"job": job}, AGENT)
    seen = call(w, "service.objects", AGENT, kind="agent.job")["rows"][0]["revision"]
    w.verb("agent.job.change", {"name": "one", "job": {"target": "127.0.0.1:10"}, "revision": seen}, AGENT)
    error = refused(w, "agent.job.change", "conflict", "meanwhile", full=AGENT, name="one", job={"target": "127.0.0.1:11"}, revision=seen)
    want((error["yours"]["target"], error["theirs"]["body"]["target"]), ("127.0.0.1:11", "127.0.0.1:10"))
    # A change says what, and does not rename.
    refused(w, "agent.job.change", "bad-request", "job must be a map", full=AGENT, name="one")
    refused(w, "agent.job.change", "bad-request", "the job one would be called two then", full=AGENT, name="one", job={"name": "two"})
    refused(w, "agent.job.change", "not-found", "there is no job two", full=AGENT, name="two", job={"note": "x"})
    want([r["key"] for r in call(w, "service.objects", AGENT, kind="agent.job")["rows"]], ["one"])


@case("a job that was made here and is changed stays one job, at its new port alone")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", allow="[127.0.0.0/8]")
        w.connected("site")
        for port in (w.job_port(0), w.job_port(1)):
            body = {"agent": "site", "name": "moves", "job": {"port": str(port), "target": f"127.0.0.1:{w.target_port(0)}", "name": "moves"}}
            call(w, "config.put", SERVER, kind="tunnel.job", key="site/moves", body=body)
            wait_for("the job works", lambda p=port: echoes(w, p))
        wait_for("its old port is closed", lambda: closed(w.job_port(0)))
        want([r["name"] for r in w.ask_verb("tunnel.jobs")["rows"]], ["moves"])
        call(w, "config.delete", SERVER, kind="tunnel.job", key="site/moves")
        wait_for("it is gone", lambda: closed(w.job_port(1)) and not w.ask_verb("tunnel.jobs")["rows"])


@case("the port of a job that was made here is free when the job is deleted, whether its agent is there or away")
def _(w):
    def made(agent, name):
        body = {"agent": agent, "name": name, "job": {"port": str(w.job_port(0)), "target": f"127.0.0.1:{w.target_port(0)}", "name": name}}
        call(w, "config.put", SERVER, kind="tunnel.job", key=f"{agent}/{name}", body=body)

        def active():
            rows = [r for r in w.ask_verb("tunnel.jobs")["rows"] if r["name"] == name]
            return rows and rows[0]["state"] == "active" or (rows and rows[0]["reason"].startswith("port ") and rows)
        if wait_for("the job has its port or is told why not", active) is not True:
            raise Failed(f"    {w.ask_verb('tunnel.jobs')['rows']}")
    with Target(w.target_port(0), echo):
        w.server(resume="1s")
        for agent in ("site", "other"):
            w.agent(agent, allow="[127.0.0.0/8]")
            w.connected(agent)
        made("site", "first")
        call(w, "config.delete", SERVER, kind="tunnel.job", key="site/first")
        made("other", "second")
        w.agents["other"].stop()
        wait_for("the agent is away", lambda: not [r for r in w.links() if r["name"] == "other"])
        call(w, "config.delete", SERVER, kind="tunnel.job", key="other/second")
        made("site", "third")


@case("agents are let in or not by one switch: off, they go with their connections and nothing listens; on, they and their jobs come back")
def _(w):
    with Target(w.target_port(0), echo):
        server = w.server(resume="1s")  # an agent that is stopped is soon away
        w.agent("site", jobs=[f'port: {w.job_port(0)}, target: "127.0.0.1:{w.target_port(0)}"'])
        w.connected("site")
        wait_for("the job works", lambda: echoes(w, w.job_port(0)))
        with connect(w.job_port(0), timeout=30) as s:
            s.sendall(b"x")
            want(s.recv(1), b"x")
            call(w, "config.set", SERVER, path="tunnel.accept", value=False)
            if not over(s):
                raise Failed("    the data connection went on")
        wait_for("the agent is gone", lambda: not w.link("site"))
        want(w.ask_verb("tunnel.status")["accept"], False)
        wait_for("the port for agents is closed", lambda: closed(w.base))
        wait_for("the job's port is closed", lambda: closed(w.job_port(0)))
        wait_for("the agent says why", lambda: w.agent_verb("site", "agent.status")["servers"][0]["state"] == "reconnecting")
        call(w, "config.set", SERVER, path="tunnel.accept", value=True)
        w.connected("site", 60)
        wait_for("the job works again", lambda: echoes(w, w.job_port(0)))
        # Its own job is interrupted on this side, which holds over a restart of both, until it is started here again.
        name = str(w.job_port(0))
        w.ask("tunnel", "job", "start", "site", name).exits(1).says("not interrupted on this side")
        with connect(w.job_port(0), timeout=30) as s:
            s.sendall(b"x")
            want(s.recv(1), b"x")
            w.ask("tunnel", "job", "stop", "site", name).exits(0)
            if not over(s):
                raise Failed("    the data connection went on")
        wait_for("the job's port is closed", lambda: closed(w.job_port(0)))
        server.stop()
        w.start_server()
        w.connected("site", 60)
        held = wait_for("the job is interrupted still", lambda: [r for r in w.ask_verb("tunnel.jobs")["rows"] if r["held"]])[0]
        want((held["state"], held["mark"], held["reason"]), ("interrupted", "-||-", "interrupted on the server's side"))
        told = wait_for("the agent is told", lambda: (t := w.agent_verb("site", "agent.jobs")["rows"][0]["servers"][0])["state"] == "interrupted" and t)
        want((told["reason"], told["text"]), ("kicked", "interrupted on the server's side"))
        if not closed(w.job_port(0)):
            raise Failed("    the port is open")
        w.ask("tunnel", "job", "start", "site", name).exits(0)
        wait_for("the job works again", lambda: echoes(w, w.job_port(0)))
        # While the agent is away it is let go of by its name, for when it comes back.
        w.ask("tunnel", "job", "stop", "site", name).exits(0)
        w.agents["site"].stop()
        away = wait_for("the agent is gone", lambda: [r for r in w.ask_verb("tunnel.jobs")["rows"] if "number" not in r])
        want([(r["agent"], r["name"], r["state"], r["held"], r["origin"]) for r in away], [("site", name, "interrupted", True, "agent")])
        w.ask("tunnel", "jobs", "site").exits(0).says(name, "interrupted on the server's side")
        w.ask("tunnel", "jobs", "other").exits(0).never_says(name)
        w.ask("tunnel", "job", "stop", "site", name).exits(1).says("no job")
        w.ask("tunnel", "job", "start", "site", "another").exits(1).says("no job")
        w.ask("tunnel", "job", "start", "site", name).exits(0)
        want((held_here(w), w.ask_verb("tunnel.jobs")["rows"]), ([], []))
        w.start_agent("site")
        wait_for("the job works again", lambda: echoes(w, w.job_port(0)))
        w.ask("tunnel", "job", "stop", "site", name).exits(0)
        w.agent_config("site", [f'port: {w.job_port(1)}, target: "127.0.0.1:{w.target_port(0)}"'])
        w.agent_verb("site", "service.reload")
        wait_for("a job that the agent has no more is forgotten here", lambda: not held_here(w))
        w.ask("tunnel", "job", "stop", "site", name).exits(1).says("no job")
        # One of that name that is made here is another one: who means the agent's does not get it.
        call(w, "tunnel.job.add", SERVER, agent="site", job={"port": name, "name": name, "target": f"127.0.0.1:{w.target_port(0)}"})
        refused(w, "tunnel.job.stop", "not-found", full=SERVER, agent="site", name=name, origin="agent")
        offered = call(w, "service.objects", SERVER, kind="tunnel.job")["rows"]
        want([(r["key"], r["body"]["job"]["enabled"]) for r in offered], [(f"site/{name}", True)])
        # Nothing is held of an agent that may not come, or that there is no more.
        for verb in ("tunnel.agents.revoke", "tunnel.agents.delete"):
            wait_for("the job works", lambda: echoes(w, w.job_port(1)))
            w.ask("tunnel", "job", "stop", "site", str(w.job_port(1))).exits(0)
            want(len(held_here(w)), 1)
            w.ask_verb(verb, {"agent": "site"})
            wait_for("nothing is held", lambda: not held_here(w))
            if verb.endswith("revoke"):
                w.ask_verb("tunnel.agents.approve", {"agent": "site"})
                w.agent_verb("site", "agent.disconnect")
                w.agent_verb("site", "agent.connect")


@case("the control connection of an agent is reset, and its data connections go on; kicked, they end and it stays away")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", jobs=[f'port: {w.job_port(0)}, target: "127.0.0.1:{w.target_port(0)}"'])
        w.connected("site")
        wait_for("the job works", lambda: echoes(w, w.job_port(0)))
        with connect(w.job_port(0), timeout=30) as s:
            s.sendall(b"x")
            want(s.recv(1), b"x")
            w.ask("tunnel", "drop", "site").exits(0).says("comes back")
            wait_for("the agent is back", lambda: (k := w.link("site")) and k["reconnects"] == 1)
            s.sendall(b"y")
            want(s.recv(1), b"y")
            w.ask("tunnel", "drop", "site", "--over").exits(0)
            if not over(s):
                raise Failed("    the data connection went on")
        wait_for("the agent is gone", lambda: not w.link("site"))
        status = wait_for("the agent says why", lambda: (a := w.agent_verb("site", "agent.status")["servers"][0])["state"] == "reconnecting" and a)
        if not status["why"].endswith("closed by an operator"):
            raise Failed(f"    {status}")
        w.ask("tunnel", "drop", "site").exits(1).says("is not connected")
        w.ask("tunnel", "drop", "nobody").exits(1).says("is not connected")
        w.server_logged("tunnel.dropped", "agent=site", "over=true")


@case("a tunnel that cannot begin with a reload leaves nothing behind: when the fault is mended it begins, and what is put is held by it")
def _(w):
    routes = f'[ {{ name: r, listen: "127.0.0.1:{w.job_port(15)}", target: "127.0.0.1:{w.target_port(0)}" }} ]'
    with Target(w.target_port(0), echo):
        w.server(listen=None, ports=None, password=None, routes=routes)
        for _ in range(9):
            w.server_config(routes=routes, gateway=f"unix:{w.path('run')}/nodir/g.sock")
            w.ask("reload", "tunnel").exits(1).says("tunnel.gateway: cannot listen on", "No such file or directory")
            want(closed(w.base), True, "the port of the tunnel that did not begin")
            want(echoes(w, w.job_port(15)), True, "the route")
        w.server_config(routes=routes, gateway=f"unix:{w.path('run')}/g.sock")
        w.ask("reload", "tunnel").exits(0)
        w.agent("site", allow="[127.0.0.0/8]")
        w.connected("site")
        body = {"agent": "site", "name": "j", "job": {"port": str(w.job_port(0)), "target": f"127.0.0.1:{w.target_port(0)}", "name": "j"}}
        made = call(w, "config.put", SERVER, kind="tunnel.job", key="site/j", body=body)
        wait_for("the job works", lambda: echoes(w, w.job_port(0)))
        call(w, "config.undo", SERVER, change=made["change"])
        wait_for("the job is gone", lambda: closed(w.job_port(0)))


def knock(path):
    """What the door for gateways says to who asks for a share that is not there; None: there is no door."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(path)
            s.sendall(b"STILE-GATEWAY 1 0123456789abcdef 203.0.113.9\n")
            return s.recv(100).decode()
    except (FileNotFoundError, ConnectionRefusedError):
        return None


@case("a reload that is refused has changed nothing: routes, listeners, the gateways' door; a dry run refuses it, too")
def _(w):
    route = f'name: r, listen: "127.0.0.1:{w.job_port(15)}", target: "127.0.0.1:{w.target_port(0)}"'
    old = {"routes": f"[ {{ {route} }} ]", "gateway": f"unix:{w.path('run')}/g.sock"}
    base, moved = f'"tls:127.0.0.1:{w.base}"', f'"tls:127.0.0.1:{w.base + 1}"'

    def nothing_changed(*texts):
        w.check().exits(0)
        for option in ("--dry-run", None):
            w.ask("reload", "tunnel", *([option] if option else [])).exits(1).says(*texts)
            want(echoes(w, w.job_port(15)), True, "the route")
            want((closed(w.base), closed(w.base + 1)), (False, True), "the listeners")
            want((knock(f"{w.path('run')}/g.sock") or "").startswith("NO unknown-share"), True, "the door")
            want(os.path.exists(f"{w.path('run')}/h.sock"), False, "another door")

    with Target(w.target_port(0), echo):
        w.server(**old)
        with Target(w.target_port(1), echo):
            taken = f'"tls:127.0.0.1:{w.target_port(1)}"'
            w.server_config(listen=f"[ {base}, {taken} ]", gateway=f"unix:{w.path('run')}/h.sock")
            nothing_changed("cannot listen on", "Address already in use")
        w.server_config(**{**old, "gateway": f"unix:{w.path('run')}/nodir/g.sock", "listen": f"[ {moved} ]"})
        nothing_changed("tunnel.gateway: cannot listen on", "No such file or directory")
        w.write("run/file", "")
        for path, why in (("stile-tunnel.sock", "Address already in use"), ("file", "File exists")):
            w.server_config(gateway=f"unix:{w.path('run')}/{path}", listen=f"[ {moved} ]")
            nothing_changed("tunnel.gateway: cannot listen on", why)
        # Ports that change hands between a route and the tunnel do so in one step; the door moves.
        w.server_config(listen=f'[ "tls:127.0.0.1:{w.job_port(15)}" ]', gateway=f"unix:{w.path('run')}/h.sock",
                        routes=f'[ {{ name: r, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.target_port(0)}" }} ]')
        w.ask("reload", "tunnel", "--dry-run").exits(0)
        w.ask("reload", "tunnel").exits(0)
        want(echoes(w, w.base), True, "the route in the tunnel's place")
        want((knock(f"{w.path('run')}/g.sock"), knock(f"{w.path('run')}/h.sock")[:16]), (None, "NO unknown-share"))
        w.agent("site", server=f"127.0.0.1:{w.job_port(15)}")
        w.connected("site")


@case("the relay's events are kept for people, with the numbers of old, and a route that is made tells")
def _(w):
    w.server()
    w.verb("relay.route.add", {"route": {"name": "mail", "listen": f"127.0.0.1:{w.job_port(15)}", "target": "127.0.0.1:1"}}, SERVER)
    rows = wait_for("the event", lambda: [r for r in w.ask_verb("relay.events")["rows"] if r["route"] == "mail"])
    want([rows[0]["event"], rows[0]["id"], rows[0]["severity"]], [101, "relay.route.ready", "info"])
    want(w.ask_verb("relay.events")["rows"][0]["sentence"], "Service started")
    w.ask("relay", "events").exits(0).says("Ready to get data from local port")


@case("what was made in the stores of tunnel and agent is exported where a file has it: it can be read as a file, and is alike")
def _(w):
    def alike(config, clear, masked, *more):
        for other in (clear, masked):
            w.ask("config", "diff", "-", "-c", w.path(config), *more, stdin=other).exits(0).says("alike")
        w.write("copy.yaml", clear)
        w.check("copy.yaml").exits(0)

    w.server()
    w.agent("site", jobs=[f'name: of-file, port: {w.job_port(3)}, target: "127.0.0.1:9"'])
    w.connected("site")
    pins = ["sha256:" + c * 64 for c in "ab"]
    call(w, "config.put", SERVER, kind="relay.route", key="r", body={"listen": f"127.0.0.1:{w.target_port(1)}", "target": "127.0.0.1:9", "name": "r"})
    offered = {"agent": "site", "name": "offer", "job": {"port": str(w.job_port(1)), "target": "127.0.0.1:9", "name": "offer"}}
    call(w, "config.put", SERVER, kind="tunnel.job", key="site/offer", body=offered)
    w.verb("agent.job.add", {"job": {"port": str(w.job_port(0)), "target": "127.0.0.1:9", "name": "one"}}, AGENT)
    call(w, "config.put", AGENT, kind="agent.visit", key="v", body={"name": "v", "agent": "home", "target": "pc:3389", "listen": str(w.target_port(2))})
    guest = {"identity": pins[0], "name": "home", "visitor": "true", "allow": ["127.0.0.1/32:22"]}
    call(w, "config.put", AGENT, kind="agent.peer", key=pins[0], body=guest)
    call(w, "config.put", AGENT, kind="agent.peer", key=pins[1], body={"identity": pins[1], "name": "host", "host": "true"})

    def export(config, *more):
        return w.ask("config", "export", "-c", w.path(config), *more).exits(0)
    clear = export("stile.yaml", "--secrets").out
    want([r["name"] for r in export("stile.yaml", "--json").json()["tunnel"]["routes"]], ["r"])
    alike("stile.yaml", clear, export("stile.yaml").never_says("correct horse").out)
    here = ("--instance", "site")
    agent = export("site.yaml", "--json", *here).json()["agent"]
    want([j["name"] for j in agent["jobs"]], ["of-file", "one"])
    want([(v["name"], v["target"]) for v in agent["visits"]], [("v", "pc:3389")])
    want(agent["visitors"], [{k: guest[k] for k in ("identity", "name", "allow")}])
    alike("site.yaml", export("site.yaml", "--secrets", *here).out, export("site.yaml", *here).out, *here)


if __name__ == "__main__":
    sys.exit(main(17400))
