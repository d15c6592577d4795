# SPDX-License-Identifier: Apache-2.0
"""Services that shut themselves in (common/service_sandbox.c), as in a container without systemd: what the kernel says of every thread,
what a service says of itself, what it is refused, and kernels and configurations without. That everything else works is what all other
suites show: in them every service is shut in, unless a case says "sandbox: false"."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
from tunnel_world import Target, connect, echo, main, world  # noqa: E402
from world import CONSOLE, SIP, TURN, Failed, World, case  # noqa: E402

BOTH = "system calls and files"
OUTSIDE = os.path.join(HERE, "..", "relay", "sandbox.py")


def told(w, full, text):
    said = w.verb("service.status", full=full)["sandbox"]
    if said != text:
        raise Failed(f"    {full} says \"{said}\", not \"{text}\"")


def filters(process):
    """How many filters each thread of a process has."""
    found = []
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{thread}/status", encoding="utf-8") as f:
            st = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        found.append(int(st["Seccomp_filters"]) if st["Seccomp"] == "2" else 0)
    return found


def outer():
    """Filters that this test has itself, of a container."""
    with open("/proc/self/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Seccomp_filters"))


def shut_in(w, server, full):
    told(w, full, BOTH)
    w.logged("service.sandbox ", BOTH, name=full)
    have = filters(server.process)
    if not have or min(have) <= outer():
        raise Failed(f"    filters of the threads of {full}: {have}")


def turn(w, top="", prefix=(), log=None):
    w.full, w.binary = "stile-turn", TURN
    World.config(w, tls=False, top=top, log=log or "{ level: debug, dir: %s }" % w.path("log"))
    if w.servers:
        return w.servers[0]
    return World.start(w, "stile.yaml", prefix=prefix)


def relays(w):
    w.stile("test", "turn", "127.0.0.1", "-p", str(w.port), "-t", "udp", "--packets", "4", "-u", "alice",
            "--password", "wonderland").exits(0)


@case("every service has given up calls and files in all of its threads when it is ready, and says so")
def _(w):
    w.server_config()
    shut_in(w, w.start_server(), "stile-tunnel")
    agent = w.agent("site", jobs=[f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'])
    shut_in(w, agent, "stile-agent@site")
    with Target(w.target_port(), echo):
        w.connected("site")
        world.wait_for("the job's port", lambda: any(j["state"] == "active" for j in w.ask_verb("tunnel.jobs")["rows"]))
        with connect(w.job_port()) as c:
            c.sendall(b"from one locked room to the other")
            if c.recv(100) != b"from one locked room to the other":
                raise Failed("    other bytes came back")
    base = f"log: {{ level: debug, dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\n"
    w.write("sip.yaml", base + f"sip:\n  domains: [unit.test]\n  listen: [\"udp:127.0.0.1:{w.port + 2}\"]\n")
    sip = w.program([SIP, "-c", w.path("sip.yaml")], "stile-sip")
    sip.wait_ready()
    shut_in(w, sip, "stile-sip")
    w.stile("test", "sip", f"sip:127.0.0.1:{w.port + 2}").exits(0)
    w.write("console.yaml", base + f"console: {{ listen: \"127.0.0.1:{w.port + 3}\" }}\n")
    console = w.program([CONSOLE, "-c", w.path("console.yaml")], "stile-console")
    console.wait_ready()
    shut_in(w, console, "stile-console")
    w.certificate()
    w.write("gateway.yaml", base + f"gateway: {{ listen: \"tls:127.0.0.1:{w.port + 4}\", certificate: server.pem, key: server.key,"
                                   f" tunnel: {w.path('run/none.sock')} }}\n")
    gateway = w.program([world.GATEWAY, "-c", w.path("gateway.yaml")], "stile-gateway")
    gateway.wait_ready()
    shut_in(w, gateway, "stile-gateway")
    w.ask("ready", "tunnel", "sip", "console", "gateway").exits(0)


@case("stile-turn is shut in; a log folder that is exchanged for another place is not followed there")
def _(w):
    os.makedirs(w.path("elsewhere"))
    s = turn(w)
    shut_in(w, s, "stile-turn")
    relays(w)
    os.rename(w.path("log"), w.path("log-was"))
    os.symlink(w.path("elsewhere"), w.path("log"))
    s.process.send_signal(1)  # the log is reopened by its name
    seen = lambda: "Permission denied" in open(w.path("log-was/stile-turn.log"), encoding="utf-8").read()  # noqa: E731
    world.wait_for("the refusal in the log that is still open", seen)
    if os.listdir(w.path("elsewhere")):
        raise Failed(f"    it wrote into {os.listdir(w.path('elsewhere'))}")
    os.unlink(w.path("log"))
    os.rename(w.path("log-was"), w.path("log"))
    relays(w)


@case("the rings by which stile-turn sends are made before: it has them in the sandbox where it has them without")
def _(w):
    rings = []
    for top in ("sandbox: false\n", ""):
        s = turn(w, top=top)
        rings.append(w.verb("turn.status")["io"]["ring"])
        relays(w)
        s.stop()
        w.servers.clear()
    if rings[0] != rings[1]:
        raise Failed(f"    a ring without the sandbox: {rings[0]}, in it: {rings[1]}")


@case("a reload or a setting that names a folder outside is refused with that reason, and changes nothing")
def _(w):
    turn(w)
    turn(w, log="{ level: info, dir: %s }" % w.path("elsewhere"))
    for options in ([], ["--dry-run"]):
        w.ask("reload", *options).exits(1).says(w.path("elsewhere"), "sandbox", "restart it")
    if os.path.exists(w.path("elsewhere")) or w.verb("service.status")["log_level"] != "debug":
        raise Failed("    the reload that was refused changed something")
    turn(w, log="{ level: info, dir: %s }" % w.path("log/below"))
    w.ask("reload").exits(0).says("log.dir")
    relays(w)


@case("without Landlock a service works, holds the rest, and says what the kernel does not have")
def _(w):
    s = turn(w, prefix=[sys.executable, "-B", OUTSIDE, "no-landlock"])
    told(w, "stile-turn", "system calls; files not: this kernel has no Landlock")
    w.logged("service.sandbox-partly", "no Landlock")
    if min(filters(s.process)) <= outer() + 1:  # the prefix's is one
        raise Failed("    the calls are not given up")
    turn(w, log="{ level: info, dir: %s }" % w.path("elsewhere"))
    w.ask("reload").exits(0).says("log.dir")
    relays(w)
    w.ask("status", "--verbose").says("files not: this kernel has no Landlock")


@case("\"sandbox: false\" leaves everything as it was, and is told in status and log; a change of it waits for a restart")
def _(w):
    s = turn(w, top="sandbox: false\n")
    told(w, "stile-turn", "off")
    w.logged("service.sandbox-off")
    if max(filters(s.process)) > outer():
        raise Failed("    it has a filter")
    relays(w)
    turn(w)
    w.ask("reload").exits(0).says("sandbox", "restart")
    told(w, "stile-turn", "off")


sys.exit(main(29300))
