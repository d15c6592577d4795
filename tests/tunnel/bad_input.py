# SPDX-License-Identifier: Apache-2.0
"""What must not be reached and what must not run out: targets outside of the agent's list, also by a name that is bound
anew, slow readers, descriptors, a server that goes down under many connections."""
import sys
import time

from jobs import carries, ended, in_state, job, one
from names import NameServer, resolving
from world import CASES
from tunnel_world import Failed, Target, case, connect, echo, main, pattern, resets, wait_for

del CASES[:]  # those of jobs.py run there


def refused_by_agent(w, name, port, part):
    if not resets(port):
        raise Failed(f"    {name}: the connection was not refused")
    wait_for(f"{name} says why", lambda: part in one(w, name)["last_error"])


@case("a target outside of the agent's list is refused by the agent, and its own jobs are bound by the list, too")
def _(w):
    with Target(w.target_port(0), echo), Target(w.target_port(0), echo, host="127.0.0.2"):
        w.server()
        w.agent("site", [job(w, 0, name="in", target=f'"127.0.0.2:{w.target_port(0)}"'), job(w, 1, name="out"),
                         job(w, 2, name="named", target=f'"localhost:{w.target_port(0)}"')], allow="[127.0.0.2/32]")
        for name in ("in", "out", "named"):
            in_state(w, name, "active")
        carries(w, 0)
        refused_by_agent(w, "out", w.job_port(1), "agent.allow does not hold")
        refused_by_agent(w, "named", w.job_port(2), "agent.allow does not hold")
        w.agent_logged("site", "agent.connection.refused", "job=out")
        w.agent_config("site", [job(w, 0, name="in", target=f'"127.0.0.2:{w.target_port(0)}"')], allow="[127.0.0.3/32]")
        with connect(w.job_port(0)) as s:
            s.sendall(b"x")
            s.recv(1)
            w.agent_verb("site", "service.reload")
            if not ended(s):
                raise Failed("    a connection outlived its place in the list")


@case("a name that is bound to another address after its job was made leads nowhere (DNS rebinding)")
def _(w):
    with Target(w.target_port(0), echo, host="127.0.0.2"), Target(w.target_port(0), echo), \
            NameServer({}, {"cam.lan": ["127.0.0.2"]}) as names:
        w.server(resolve_names="false")
        code = w.enrol("site")["code"]
        w.agent_config("site", [job(w, 0, name="cam", target=f'"cam.lan:{w.target_port(0)}"')], allow="[127.0.0.2/32]", code=f'"{code}"')
        w.start_agent("site", prefix=resolving(w))
        in_state(w, "cam", "active")
        carries(w, 0)
        names.addresses["cam.lan"] = ["127.0.0.1"]
        refused_by_agent(w, "cam", w.job_port(0), "cam.lan means 127.0.0.1")
        names.addresses["cam.lan"] = ["127.0.0.1", "127.0.0.2"]
        carries(w, 0)  # the one that is allowed


@case("a client that does not read holds up nobody, and costs bounded memory")
def _(w):
    big = 64 << 20

    def flood(s):
        block = pattern(1 << 16)
        for _i in range(big >> 16):
            s.sendall(block)
    with Target(w.target_port(0), flood), Target(w.target_port(1), echo):
        server = w.server()
        w.agent("site", [job(w, 0, name="flood"), job(w, 1, 1, name="echo")])
        in_state(w, "flood", "active")
        in_state(w, "echo", "active")
        slow = [connect(w.job_port(0), timeout=60) for _i in range(4)]
        for s in slow:
            s.recv(1)
        time.sleep(2)
        held = [c["held_down"] for c in w.ask_verb("tunnel.connections")["rows"] if c["job"] == "flood"]
        if max(held) > 16 << 20:
            raise Failed(f"    {held} bytes are held for clients that do not read")
        for _i in range(20):
            carries(w, 1)
        for s in slow:
            s.close()
        if server.process.poll() is not None:
            raise Failed("    the server ended")


@case("with its descriptors used up the server refuses who comes, keeps who is there, says so, and recovers")
def _(w):
    limit = 200
    with Target(w.target_port(0), echo):
        w.server_config()
        server = w.start_server(prefix=["prlimit", f"--nofile={limit}:{limit}"])
        w.agent("site", [job(w, 0, name="web")])
        in_state(w, "web", "active")
        there = []
        for _i in range(limit):
            try:
                s = connect(w.job_port(0), timeout=15)
                s.sendall(b"x")
                if s.recv(1) == b"x":
                    there.append(s)
            except OSError:
                break
        if not 5 < len(there) < limit - 20:
            raise Failed(f"    {len(there)} were taken")
        if not any("descriptors are used" in x for x in w.ask_verb("tunnel.status")["monitor"]["warnings"]):
            raise Failed(f"    the monitor does not warn: {w.ask_verb('tunnel.status')['monitor']}")
        for s in there:
            s.sendall(b"y")
            if s.recv(1) != b"y":
                raise Failed("    one who was there was cut")
        for s in there:
            s.close()
        if w.tunnel_metric("stile_tunnel_refused_total", "descriptors") < 1:
            raise Failed("    the refusal was not counted")
        wait_for("it recovers", lambda: works(w))
        if server.process.poll() is not None:
            raise Failed("    the server ended")


def works(w):
    try:
        carries(w, 0)
        return True
    except (OSError, Failed):
        return False


@case("a server that is killed under many connections has its jobs back within ten seconds of its return")
def _(w):
    with Target(w.target_port(0), echo):
        server = w.server()
        w.agent("site", [job(w, i, name=f"j{i}") for i in range(5)])
        in_state(w, "j4", "active")
        held = []
        for i in range(40):
            s = connect(w.job_port(i % 5))
            s.sendall(b"x")
            s.recv(1)
            held.append(s)
        w.kill_hard(server)
        for s in held:
            s.close()
        w.start_server()
        began = time.monotonic()
        for i in range(5):
            in_state(w, f"j{i}", "active")
        took = time.monotonic() - began
        for i in range(5):
            carries(w, i)
        if took > 10:
            raise Failed(f"    the jobs were back after {took:.1f} s")


if __name__ == "__main__":
    sys.exit(main(25200))
