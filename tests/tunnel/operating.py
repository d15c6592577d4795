# SPDX-License-Identifier: Apache-2.0
"""The tunnel in operation: an agent for two servers, agents in folders of their own, events for whoever subscribes, records
and data logs, warnings, what is counted.

  STILE_BUILD=build tests/tunnel/operating.py --write    # docs/metrics.md, after a metric was added or changed"""
import glob
import json
import os
import signal
import socket
import sys
import time

from jobs import asked, carries, ended, in_state, job, one, udp_echo
from tunnel_world import AGENT, PASSWORD, SERVER, Failed, Target, TunnelWorld, case, connect, echo, main, read_all, wait_for
from world import CASES, STILE, TURN

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
from front import Nginx  # noqa: E402
from metrics import Page, samples  # noqa: E402

del CASES[:]  # those of the modules that lend their tools run there
METRICS = Page("tests/tunnel/operating.py", ("stile_relay_", "stile_tunnel_"), "end of stile-tunnel")


def counted(w):
    return samples(w.ask("tunnel", "metrics").exits(0).out)


@case("every metric stands in docs/metrics.md as the server has it, and those of a job move")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        METRICS.check(counted(w))
        w.agent("site", [job(w, 0, name="web")])
        in_state(w, "web", "active")
        carries(w, 0)
        moved = wait_for("its bytes are counted", lambda: [v for _, have, v in counted(w)["stile_tunnel_bytes_total"]["all"] if v])
        if len(moved) != 2 or counted(w)["stile_tunnel_accepted_total"]["all"][0][2] != 1:
            raise Failed(f"    {counted(w)['stile_tunnel_bytes_total']}")
        w.ask("relay", "metrics", "ended").exits(0).says("# HELP stile_relay_ended_total").never_says("bytes")


@case("a port that another program of this user listens on is refused, not shared, however many workers")
def _(w):
    w.server_config(workers=2)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as services do that come and go by reloads
        other.bind(("127.0.0.1", w.base))
        other.listen()
        w.run(SERVER, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"),
              *(["--user", "root"] if os.getuid() == 0 else [])).exits(1).says(f"cannot listen on 127.0.0.1:{w.base}: Address already in use")
    w.server(workers=2)
    w.server_config(workers=2, listen=f'["tls:0.0.0.0:{w.base}"]')
    w.ask("reload", "tunnel").exits(0)  # its own listener gives the port up to its own
    w.server_config(workers=2)
    w.ask("reload", "tunnel").exits(0)


@case("an agent for two servers runs each job on both, and goes on with one when the other is gone")
def _(w):
    with Target(w.target_port(0), echo):
        first = w.server()
        w.server_config(name="second.yaml", listen=f'["tls:127.0.0.1:{w.base + 1}"]', bind="127.0.0.2")
        text = open(w.path("second.yaml"), encoding="utf-8").read()
        w.write("second.yaml", text.replace(w.path("store"), w.path("store2")))
        other = w.program([SERVER, "-c", w.path("second.yaml"), "--instance", "second"], "stile-tunnel@second")
        other.wait_ready()
        prints = [w.verb("tunnel.identity", {}, full)["root"] for full in ("stile-tunnel", "stile-tunnel@second")]
        w.agent("site", [job(w, 0, name="web")], password=f'"{PASSWORD}"',
                server=f'["127.0.0.1:{w.base}#{prints[0]}", "127.0.0.1:{w.base + 1}#{prints[1]}"]')
        wait_for("both are connected", lambda: w.agent_verb("site", "agent.status")["connected"] == 2)
        for host in ("127.0.0.1", "127.0.0.2"):
            wait_for(f"the job runs at {host}", lambda: answers(w.job_port(0), host))
        first.stop()
        wait_for("one is left", lambda: w.agent_verb("site", "agent.status")["connected"] == 1)
        if not answers(w.job_port(0), "127.0.0.2"):
            raise Failed("    the other server's job is gone, too")
        w.ask_agent("site", "agent", "status").exits(1).says("✘", "✔")


def answers(port, host):
    try:
        with connect(port, host) as s:
            s.sendall(b"x")
            return read_all(s, 1) == b"x"
    except OSError:
        return False


@case("auto_connect: false waits for connect, disconnect lasts until the next connect, and ready and status tell")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="web")], auto_connect="false")
        w.ask_agent("site", "ready", "agent").exits(1).says("0 of 1 servers are connected")
        w.ask_agent("site", "agent", "jobs").exits(0).says("web", "not connected")
        w.ask_agent("site", "agent", "connect", "elsewhere").exits(1).says("has no server elsewhere")
        w.ask_agent("site", "agent", "connect").exits(0).says("the agent connects")
        w.ask_agent("site", "ready", "agent", "--wait", "20s").exits(0)
        in_state(w, "web", "active")
        carries(w, 0)
        w.ask("ready", "tunnel").exits(0)
        w.ask("status").exits(0).says("stile-agent", "stile-tunnel")
        w.ask_agent("site", "agent", "disconnect", "127.0.0.1").exits(0)
        wait_for("it is disconnected", lambda: not w.link("site"))
        time.sleep(1)
        if w.link("site"):
            raise Failed("    it came back by itself")


@case("agents in folders of their own (-c DIR) are instances of their own")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        for i, name in enumerate(("north", "south")):
            os.mkdir(w.path(name))
            w.agent_config(name, [job(w, i, name=f"web-{name}")], code=f'"{w.enrol(name)["code"]}"')
            os.rename(w.path(f"{name}.yaml"), w.path(f"{name}/stile.yaml"))
            s = w.program([AGENT, "-c", w.path(name) + "/"], f"stile-agent@{name}")
            s.wait_ready()
        for i, name in enumerate(("north", "south")):
            in_state(w, f"web-{name}", "active")
            carries(w, i)
            w.ask("agent", "jobs", "--instance", name).exits(0).says(f"web-{name}")


class Events:
    """A subscription at the control socket."""

    def __init__(self, w, full, topics):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(os.path.join(w.path("run"), full + ".sock"))
        self.f = self.s.makefile("rw")
        self.f.readline()
        self.f.write(json.dumps({"id": 1, "verb": "events.subscribe", "args": {"topics": topics}}) + "\n")
        self.f.flush()
        self.f.readline()
        self.s.settimeout(15)

    def until(self, topic, **values):
        for _n in range(200):
            event = json.loads(self.f.readline()).get("event", {})
            if event.get("topic") == topic and all(event["data"].get(k) == v for k, v in values.items()):
                return event["data"]
        raise Failed(f"    no event {topic} {values}")


@case("whoever subscribes hears of agents, jobs and data connections")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        events = Events(w, "stile-tunnel", ["tunnel.agents", "tunnel.jobs", "tunnel.connections"])
        w.agent("site", [job(w, 0, name="web")])
        events.until("tunnel.agents", what="connected", agent="site")
        events.until("tunnel.jobs", what="active", job="web")
        here = Events(w, "stile-agent@site", ["agent.jobs", "agent.status"])
        time.sleep(1.2)  # the workers hear of the subscription within half a second
        carries(w, 0, b"hello")
        events.until("tunnel.connections", what="opened", job="web")
        if events.until("tunnel.connections", what="ended", job="web")["bytes_up"] != 5:
            raise Failed("    the end does not tell the bytes")
        w.agent_config("site", [job(w, 0, name="web", enabled="false")])
        w.agent_verb("site", "service.reload")
        here.until("agent.jobs", job="web", state="interrupted")
        events.until("tunnel.jobs", what="interrupted", job="web")


@case("connections of jobs stand in the connection log, and their bytes in data logs when that is wanted")
def _(w):
    os.mkdir(w.path("records"))
    with Target(w.target_port(0), echo):
        w.server(records=f'{{ dir: {w.path("records")}, json: true }}')
        w.agent("site", [job(w, 0, name="web")])
        in_state(w, "web", "active")
        with connect(w.job_port(0)) as s:
            s.sendall(b"x")
            s.recv(1)
            w.ask("tunnel", "log-data", "on", "site/web").exits(0).says("1 data connections are logged")
            s.sendall(b"in the data log")
            read_all(s, 15)
        lines = wait_for("the connection's end is recorded", lambda: [
            r for p in glob.glob(w.path("records/CO*.jsonl")) for r in map(json.loads, open(p, encoding="utf-8")) if "web" in r.values()
            and "16" in (str(r.get("bytes_up")), str(r.get("bytes_down")))])
        if not lines:
            raise Failed("    no line")
        wait_for("the bytes are in a data log", lambda: any(b"in the data log"[:10] in open(p, "rb").read()
                                                            for p in glob.glob(w.path("records/RL*.LOG"))))


@case("what a client has sent before it was accepted is in the data log, and within the bit rate, of its job")
def _(w):
    os.mkdir(w.path("records"))
    with Target(w.target_port(0), echo):
        server = w.server(records=f'{{ dir: {w.path("records")} }}', workers="1")
        w.agent("site", [job(w, 0, name="web", limits="{ bitrate: 8000 }")])
        in_state(w, "web", "active")
        wait_for("there are carriers", lambda: w.link("site")["ready"])
        w.ask("tunnel", "log-data", "on", "site/web").exits(0)
        server.process.send_signal(signal.SIGSTOP)
        try:
            s = connect(w.job_port(0))
            s.sendall(b"said at once" + bytes(50000))
        finally:
            server.process.send_signal(signal.SIGCONT)
        with s:
            if not read_all(s, 12).startswith(b"said at once"):
                raise Failed("    it did not come back")
            passed = [r["bytes_up"] for r in w.ask_verb("tunnel.jobs")["rows"]]
            if passed[0] > 10000:
                raise Failed(f"    {passed} bytes have passed, at a thousand a second")
        wait_for("its first bytes are in the data log", lambda: any(b"said at once" in open(p, "rb").read()
                                                                   for p in glob.glob(w.path("records/RL*.LOG"))))


@case("a bit rate that a job is given holds for the connections that it has")
def _(w):
    with Target(w.target_port(0), echo):
        w.server(workers="1")
        w.agent("site")
        keys = {"port": str(w.job_port(0)), "target": f"127.0.0.1:{w.target_port(0)}", "name": "web"}
        w.agent_verb("site", "agent.job.add", {"job": keys})
        in_state(w, "web", "active")
        with connect(w.job_port(0)) as s:
            s.sendall(b"x")
            s.recv(1)
            w.agent_verb("site", "agent.job.change", {"name": "web", "job": {"limits": {"bitrate": "8000"}, "note": "slow"}})
            wait_for("the server knows", lambda: [r for r in w.ask_verb("tunnel.jobs")["rows"] if r["note"] == "slow"])
            s.sendall(bytes(50000))
            s.recv(1)
            passed = [r["bytes_up"] for r in w.ask_verb("tunnel.jobs")["rows"]]
            if passed[0] > 10000:
                raise Failed(f"    {passed} bytes have passed, at a thousand a second")


@case("a job's data logs are switched on for connections to come: unencrypted ones and flows, each byte once")
def _(w):
    def logs():
        return [open(p, encoding="utf-8").read() for p in sorted(glob.glob(w.path("records/RL*.LOG")))]

    os.mkdir(w.path("records"))
    with Target(w.target_port(0), echo), udp_echo(w.target_port(1)):
        w.server(records=f'{{ dir: {w.path("records")} }}', allow_plain="true")
        w.agent("site", [job(w, 0, name="bare", encrypt="false"),
                         f'port: {w.job_port(1)}, protocol: udp, name: dns, target: "127.0.0.1:{w.target_port(1)}"'])
        in_state(w, "bare", "active")
        in_state(w, "dns", "active")
        w.ask("tunnel", "log-data", "on", "site").exits(0).says("0 data connections")
        if not one(w, "bare")["logged"]:
            raise Failed(f"    {one(w, 'bare')}")
        with connect(w.job_port(0), timeout=20) as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            s.sendall(b"in the clear")
            read_all(s, 12)
            u.connect(("127.0.0.1", w.job_port(1)))
            u.settimeout(1)
            asked(u, b"datagram")
            wait_for("both are logged", lambda: [sum(text in log for log in logs()) for text in ("in the clear", "datagram")] == [1, 1])
        log = next(log for log in logs() if "in the clear" in log)
        if (log.count("in the clear"), log.count("Packet from")) != (2, 2):
            raise Failed(f"    {log}")
        w.ask("tunnel", "log-data", "off", "site/bare").exits(0)
        if one(w, "bare")["logged"] or not one(w, "dns")["logged"]:
            raise Failed(f"    {one(w, 'bare')} {one(w, 'dns')}")


@case("one port for stile-turn, the tunnel and a web server: agents come through its front, known by their own address")
def _(w):
    with Target(w.target_port(0), echo), Nginx(w):
        front = w.base + 2
        w.certificate()
        w.write("turn.yaml", f"""log: {{ dir: {w.path('log')} }}
turn:
  listen: ["udp:127.0.0.1:{front}", "front:127.0.0.1:{front}"]
  password: "a good long password"
  certificate: server.pem
  key: server.key
  front:
    routes:
      - {{ alpn: [stile-agent/1], to: "unix:{w.path('tunnel.sock')}" }}
      - {{ server_name: [www.example.org], to: "unix:{w.path('nginx.sock')}" }}
""")
        turn = w.program([TURN, "-c", w.path("turn.yaml")], "stile-turn")
        turn.wait_ready()
        w.server(listen=f'["tls:unix:{w.path("tunnel.sock")}"]')
        w.agent("site", [job(w, 0, name="web")], server=f"127.0.0.1:{front}")
        in_state(w, "web", "active")
        carries(w, 0)
        link = next(r for r in w.ask_verb("tunnel.links")["rows"] if r["name"] == "site")
        if not link["address"].startswith("127.0.0.1:"):
            raise Failed(f"    {link}")
        w.ask("status").exits(0).says(f"unix:{w.path('tunnel.sock')}")
        said = w.run("curl", "-sS", "--max-time", "20", "--cacert", w.path("web.pem"), "--connect-to", f"::127.0.0.1:{front}",
                     "https://www.example.org/")
        said.exits(0).says("the web server")
        w.run(STILE, "test", "turn", "-c", w.path("turn.yaml"), "--transport", "udp").exits(0)
        with socket.socket(socket.AF_UNIX) as s:  # whoever gets at the socket must say for whom he comes
            s.settimeout(20)
            s.connect(w.path("tunnel.sock"))
            s.sendall(b"\x16\x03\x01\x00\x05hello")
            if not ended(s):
                raise Failed("    it may stay without a PROXY header")
        wait_for("it is counted", lambda: w.tunnel_metric("stile_tunnel_arrived_total", "garbage") >= 1)
        w.server_config(listen=f'["tls:unix:{w.path("tunnel.sock")}", "tls:127.0.0.1:{w.base}"]')
        w.ask_verb("service.reload")
        carries(w, 0)
        w.server_config(listen=f'["tls:127.0.0.1:{w.base}"]')
        w.ask_verb("service.reload")
        if os.path.exists(w.path("tunnel.sock")):
            raise Failed("    the socket stays behind")
        carries(w, 0)  # who is connected stays


@case("a job that is open to every source on a public address warns, and so does a job that runs out of its time")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="open", bind="8.8.4.4"), job(w, 1, name="closed", bind="8.8.4.4", allow="[192.0.2.0/24]")])
        if "open to every source" not in in_state(w, "open", "active")["reason"] or in_state(w, "closed", "active")["reason"]:
            raise Failed(f"    {one(w, 'open')} {one(w, 'closed')}")
        w.server_logged("tunnel.job.open", "job=open")
        w.ask_agent("site", "agent", "job", "add", str(w.job_port(2)), "127.0.0.1", str(w.target_port(0)), "--name", "brief", "--expire",
                    "3s").exits(0)
        in_state(w, "brief", "active")
        wait_for("it is over", lambda: not one(w, "brief"))
        w.agent_logged("site", "agent.job.expired", "job=brief")
        w.agents["site"].stop()
        w.start_agent("site")
        in_state(w, "open", "active")
        if [r for r in w.agent_verb("site", "agent.jobs")["rows"] if r["name"] == "brief"]:
            raise Failed("    it is back after a restart")


if __name__ == "__main__":
    if "--write" in sys.argv:
        with TunnelWorld(25300) as w:
            w.server()
            METRICS.write(counted(w))
    else:
        sys.exit(main(25300))
