# SPDX-License-Identifier: Apache-2.0
"""Forward jobs in the hands of an administrator: from the file, added, interrupted, changed, deleted while running, made on
the server's side; ports, ranges, UDP, sources, limits, expiry, PROXY headers; what is refused, and why."""
import contextlib
import json
import signal
import socket
import struct
import sys
import threading
import time

from tunnel_world import Failed, Target, case, connect, echo, main, pattern, read_all, resets, wait_for, was_reset


def job(w, i, t=0, **more):
    """Job i of the agent, leading to target t: a flow map without its braces."""
    keys = {"port": w.job_port(i), "target": f'"127.0.0.1:{w.target_port(t)}"', **more}
    return ", ".join(f"{k}: {v}" for k, v in keys.items())


def jobs(w, **only):
    return [r for r in w.ask_verb("tunnel.jobs")["rows"] if all(r[k] == v for k, v in only.items())]


def one(w, name):
    rows = jobs(w, name=name)
    return rows[0] if rows else None


def in_state(w, name, state, seconds=25):
    try:
        return wait_for(f"job {name} is {state}", lambda: (r := one(w, name)) and r["state"] == state and r, seconds)
    except Failed as e:
        raise Failed(f"{e}\n    {json.dumps(one(w, name))}") from None


def says(port, data, host="127.0.0.1"):
    with connect(port, host) as s:
        s.sendall(data)
        return read_all(s, len(data))


def carries(w, i, data=b"through the job"):
    got = says(w.job_port(i), data)
    if got != data:
        raise Failed(f"    job {i} carried {got!r}")


def carried(w, i):
    """Whether it does, while its agent may be on its way."""
    try:
        return says(w.job_port(i), b"through the job") == b"through the job"
    except OSError:
        return False


def ended(s):
    """Whether the connection ends, one way or the other."""
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def heard(port):
    """What its target says by itself; nothing while the one before it, which waits for us, or nobody is there."""
    try:
        with connect(port, timeout=3) as s:
            return read_all(s)
    except OSError:
        return b""


def is_closed(port):
    try:
        connect(port).close()
        return False
    except ConnectionRefusedError:
        return True


def udp_echo(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))

    def serve():
        try:
            while True:
                data, peer = s.recvfrom(65536)
                s.sendto(data, peer)
        except OSError:
            pass
    threading.Thread(target=serve, daemon=True).start()
    return s


def asked(s, question):
    """UDP may lose one: a client asks again."""
    for _n in range(15):
        s.send(question)
        try:
            return s.recv(65536)
        except TimeoutError:
            pass
    raise Failed("    no datagram came back")


@case("jobs of the file carry bytes, are shown on both sides with every address, and change with a reload")
def _(w):
    with Target(w.target_port(0), echo), Target(w.target_port(1), echo):
        w.server(public_name="tunnel.example.org")
        w.agent("site", [job(w, 0), job(w, 1, 1, name="second", encrypt="true", note='"the second"')],
                code=f'"{w.enrol("site")["code"].split("@")[0]}"')
        in_state(w, str(w.job_port(0)), "active")
        row = in_state(w, "second", "active")
        if row["address"] != f"tunnel.example.org:{w.job_port(1)}" or row["sealed"] != "§" or row["mark"] != "--->":
            raise Failed(f"    {row}")
        carries(w, 0)
        with connect(w.job_port(1)) as s:
            s.sendall(b"x")
            s.recv(1)
            there = wait_for("the connection is shown", lambda: [c for c in w.ask_verb("tunnel.connections")["rows"]
                                                                  if c["job"] == "second" and c["target"]])[0]
            here = w.agent_verb("site", "agent.connections")["rows"]
            if there["target"] != f"127.0.0.1:{w.target_port(1)}" or there["id"] not in [c["id"] for c in here]:
                raise Failed(f"    {there} {here}")
            for key in ("source", "listener", "carrier_server", "carrier_agent", "agent_local"):
                if not there[key]:
                    raise Failed(f"    no {key} in {there}")
            w.ask("tunnel", "connections").exits(0).says("second", "§", f"127.0.0.1:{w.target_port(1)}")
            w.ask("tunnel", "connections", "site/second", "--json").exits(0).says('"job": "second"')
            w.ask_agent("site", "agent", "connections").exits(0).says("second")
        w.ask("tunnel", "jobs").exits(0).says("REACHED AT", "second", "--->", "§", "active")
        w.ask("tunnel", "control").exits(0).says("CONN", "IDENTITY", "CALLED", "RTT", "site", "agent", "stile-agent", "127.0.0.1", "§", "ms",
                                                 "connected")
        w.ask("tunnel", "status").exits(0).says("Control room", "1 connected, with 2 jobs", "descriptors")
        w.ask_agent("site", "agent", "jobs").exits(0).says("second", "active", "file")
        w.ask_agent("site", "agent", "status").exits(0).says("✔", "Control room")
        w.agent_config("site", [job(w, 0, 1), job(w, 2, 0, name="third")])
        w.agent_verb("site", "service.reload")
        in_state(w, "third", "active")
        wait_for("the second is gone", lambda: not one(w, "second"))
        carries(w, 2)
        w.agents["site"].stop()
        wait_for("it is shown as gone", lambda: "connected" not in w.ask("tunnel", "control").exits(0).out.replace("reconnecting", "").replace(
            "disconnected", ""))
        w.ask("tunnel", "control").exits(0).says("site")


@case("jobs are added, interrupted, started, changed and deleted while the agent runs, and are there after a restart")
def _(w):
    with Target(w.target_port(0), echo), Target(w.target_port(1), lambda s: s.sendall(b"other")):
        w.server()
        w.agent("site", [job(w, 0, name="file")])
        w.connected("site")
        add = ["agent", "job", "add", str(w.job_port(1)), "127.0.0.1", str(w.target_port(0)), "--name", "made"]
        w.ask_agent("site", *add).exits(0).says("job made is kept", "active", f"127.0.0.1:{w.job_port(1)}")
        w.ask_agent("site", *add).exits(1).says("made already")
        w.ask_agent("site", "agent", "job", "add", str(w.job_port(1)), "127.0.0.1:1", "--name", "rival").exits(1).says("has this port already")
        w.ask_agent("site", "agent", "job", "add", "0", "127.0.0.1:1").exits(1).says("port of the server")
        w.ask_agent("site", "agent", "job", "stop", "file").exits(1).says("is set in")
        in_state(w, "made", "active")
        carries(w, 1)
        with connect(w.job_port(1)) as s:
            s.sendall(b"x")
            s.recv(1)
            w.ask_agent("site", "agent", "job", "stop", "made").exits(0).says("interrupted")
            in_state(w, "made", "interrupted")
            if not ended(s):
                raise Failed("    a connection outlived its job's interruption")
        wait_for("an interrupted job does not listen", lambda: is_closed(w.job_port(1)))
        w.ask("tunnel", "jobs").exits(0).says("-||-")
        w.ask_agent("site", "agent", "job", "start", "made").exits(0)
        in_state(w, "made", "active")
        w.ask_agent("site", "agent", "job", "change", "made", "--target", f"127.0.0.1:{w.target_port(1)}").exits(0)
        wait_for("the new target answers", lambda: heard(w.job_port(1)) == b"other")
        agent = w.agents["site"]
        agent.stop()
        w.start_agent("site")
        in_state(w, "made", "active", 20)
        w.ask_agent("site", "agent", "job", "delete", "made").exits(0)
        wait_for("made is gone", lambda: not one(w, "made") and is_closed(w.job_port(1)))


@case("the server chooses a port for *, and the same one after both have been restarted")
def _(w):
    with Target(w.target_port(0), echo):
        server = w.server()
        w.agent("site", [f'port: "*", name: any, target: "127.0.0.1:{w.target_port(0)}"'])
        port = in_state(w, "any", "active")["bound"].rsplit(":", 1)[1]
        if says(int(port), b"hello") != b"hello":
            raise Failed("    it carries nothing")
        w.agents["site"].stop()
        server.stop()
        w.start_server()
        w.start_agent("site")
        again = in_state(w, "any", "active", 20)["bound"].rsplit(":", 1)[1]
        if again != port:
            raise Failed(f"    it was {port} and is {again}")


@case("an agent that is renamed keeps its jobs and what is offered to it, in the tables at once; a range that shrinks closes a port")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="own")], allow="[127.0.0.1/32]")
        in_state(w, "own", "active")
        w.ask("tunnel", "job", "add", "site", str(w.job_port(1)), "127.0.0.1", str(w.target_port(0)), "--name", "made").exits(0)
        in_state(w, "made", "active")
        w.ask("tunnel", "agents", "rename", "site", "plant").exits(0)
        if {j["agent"] for j in w.ask_verb("tunnel.jobs")["rows"]} != {"plant"}:
            raise Failed(f"    {w.ask_verb('tunnel.jobs')}")
        w.ask("tunnel", "kick", "plant/own").exits(0).says("0 data connections")
        w.ask("tunnel", "job", "stop", "plant", "made").exits(0)
        in_state(w, "made", "interrupted")
        w.ask("tunnel", "job", "start", "plant", "made").exits(0)
        in_state(w, "made", "active")
        carries(w, 1)
        w.agents["site"].stop()
        w.start_agent("site")
        wait_for("the job carries again", lambda: carried(w, 1))
        in_state(w, "made", "active", 20)
        w.ask("tunnel", "agents", "set", "plant", "--ports", str(w.job_port(0))).exits(0)
        in_state(w, "made", "refused")
        carries(w, 0)
        w.ask("tunnel", "agents", "set", "plant", "--ports", "").exits(0)
        in_state(w, "made", "active", 20)


@case("a range of ports leads to a range of ports, and UDP is carried per source")
def _(w):
    with Target(w.target_port(0), lambda s: s.sendall(b"first")), Target(w.target_port(2), lambda s: s.sendall(b"third")):
        dns = udp_echo(w.target_port(3))
        w.server()
        w.agent("site", [f'port: {w.job_port(0)}-{w.job_port(2)}, name: range, target: "127.0.0.1:{w.target_port(0)}"',
                         f'port: {w.job_port(0)}, protocol: udp, name: dns, target: "127.0.0.1:{w.target_port(3)}"'])
        in_state(w, "range", "active")
        in_state(w, "dns", "active")
        for i, text in ((0, b"first"), (2, b"third")):
            if (got := read_all(connect(w.job_port(i)))) != text:
                raise Failed(f"    port {i} of the range gave {got!r}")
        for _n in range(2):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(1)
                s.connect(("127.0.0.1", w.job_port(0)))
                for size in (1, 500, 1400):
                    if asked(s, pattern(size)) != pattern(size):
                        raise Failed("    a datagram came back as another one")
        flows = [c for c in w.ask_verb("tunnel.connections")["rows"] if c["protocol"] == "udp"]
        if len(flows) != 2:
            raise Failed(f"    {len(flows)} flows for two sources")
        dns.close()


@case("a port outside the agent's range, port 22, the server's own and another agent's are refused with the reason on both sides")
def _(w):
    with Target(w.target_port(0), echo):
        w.server(routes=f'[ {{ name: mail, listen: "127.0.0.1:{w.job_port(5)}", target: "127.0.0.1:{w.target_port(0)}" }} ]')
        w.agent("first", [job(w, 0, name="mine")])
        in_state(w, "mine", "active")
        w.agent("second", [job(w, 0, name="theirs"), f'port: 22, name: ssh, target: "127.0.0.1:{w.target_port(0)}"',
                           f'port: {w.base}, name: own, target: "127.0.0.1:{w.target_port(0)}"', job(w, 5, name="route"),
                           f'port: 65000, name: out, target: "127.0.0.1:{w.target_port(0)}"'])
        if "another agent" not in in_state(w, "theirs", "port taken")["reason"]:
            raise Failed(f"    {one(w, 'theirs')}")
        for name, part in (("ssh", "port 22"), ("own", f"port {w.base}"), ("route", "mail"), ("out", "port 65000")):
            if part not in in_state(w, name, "refused")["reason"] and part not in one(w, name)["reason"]:
                raise Failed(f"    {name}: {one(w, name)['reason']}")
        w.ask_agent("second", "agent", "jobs").exits(0).says("refused", "not among those that the agent may open")
        w.agent_logged("second", "agent.job.refused", "job=ssh")
        carries(w, 0)


@case("the port of an agent that is away is kept for it, and free when its job is deleted")
def _(w):
    with Target(w.target_port(0), echo):
        w.server(resume="1s")
        w.agent("first", [job(w, 0, name="mine")])
        in_state(w, "mine", "active")
        w.kill_hard(w.agents["first"])
        w.agent("second", [job(w, 0, name="theirs")])
        in_state(w, "theirs", "port taken")
        time.sleep(2)  # the link of the first is over by now
        in_state(w, "theirs", "port taken")
        w.start_agent("first")
        in_state(w, "mine", "active", 20)
        carries(w, 0)
        w.agent_config("first", [])
        w.agent_verb("first", "service.reload")
        in_state(w, "theirs", "active", 20)


@case("what an agent has no more does not count against its limits: a range that became wider and a job that was renamed while it was away")
def _(w):
    def wide(last):
        return f'port: {w.job_port(0)}-{w.job_port(last)}, target: "127.0.0.1:{w.target_port(0)}"', f"{w.job_port(0)}-{w.job_port(last)}"

    with Target(w.target_port(0), echo):
        w.server(limits="{ ports_per_agent: 10, jobs_per_agent: 1 }")
        values, name = wide(5)
        agent = w.agent("site", [values])
        in_state(w, name, "active")
        agent.stop()
        values, name = wide(6)  # 6 and 7 ports are more than 10
        w.agent_config("site", [values])
        agent = w.start_agent("site")
        in_state(w, name, "active")
        carries(w, 0)
        w.kill_hard(agent)  # its link waits for it, with the job
        w.agent_config("site", [job(w, 0, name="other")])
        w.start_agent("site")
        in_state(w, "other", "active")
        carries(w, 0)
        if one(w, name):
            raise Failed("    the former job is still there")


@case("sources, the number of connections and the time of a job are limited, and each refusal is counted")
def _(w):
    soon = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + 4))
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="closed", allow="[192.0.2.0/24]"), job(w, 1, name="two", limits="{ connections: 2 }"),
                         job(w, 2, name="short", expire=f'"{soon}"')])
        for name in ("closed", "two"):
            in_state(w, name, "active")
        if not resets(w.job_port(0)):
            raise Failed("    a source that is not allowed was taken")
        held = [connect(w.job_port(1)) for _i in range(2)]
        for s in held:
            s.sendall(b"x")
            s.recv(1)
        if not resets(w.job_port(1)):
            raise Failed("    a third connection was taken")
        if one(w, "closed")["refused"] != 1 or one(w, "two")["refused"] < 1:
            raise Failed(f"    {one(w, 'closed')} {one(w, 'two')}")
        if w.tunnel_metric("stile_tunnel_refused_total", "source") < 1 or w.tunnel_metric("stile_tunnel_refused_total", "limit") < 1:
            raise Failed("    the refusals were not counted")
        w.ask("tunnel", "reset", "site/two").exits(0).says("1 jobs count from zero")
        if one(w, "two")["refused"] or one(w, "two")["accepted"]:
            raise Failed("    the counters were not reset")
        for s in held:
            s.close()
        wait_for("the job has ended", lambda: is_closed(w.job_port(2)))


@case("a job of the file whose time is a duration does not begin anew with a reload, neither before its end nor behind it")
def _(w):
    def listed(note, seconds):
        w.agent_config("site", [job(w, 0, name="short", expire=f"{seconds}s", note=note)])

    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="short", expire="6s", note="first")])
        in_state(w, "short", "active")
        began = time.monotonic()
        time.sleep(2.5)
        listed("second", 6)  # another one by its note: its end is as it was
        w.agent_verb("site", "service.reload")
        wait_for("the job has ended", lambda: is_closed(w.job_port(0)))
        wait_for("and at the agent", lambda: not w.agent_verb("site", "agent.jobs")["rows"])
        if time.monotonic() - began > 8.4:  # it began anew 2.5 s behind its beginning, if at all
            raise Failed("    a reload has prolonged it")
        listed("third", 6)
        w.agent_verb("site", "service.reload")
        if w.agent_verb("site", "agent.jobs")["rows"]:
            raise Failed("    a reload has begun a job anew that had ended")
        listed("longer", 3600)
        w.agent_verb("site", "service.reload")
        in_state(w, "short", "active")


@case("a source that is struck off a job's list loses its connections and flows, and who is on it keeps them")
def _(w):
    with Target(w.target_port(0), echo), contextlib.closing(udp_echo(w.target_port(1))), contextlib.ExitStack() as held:
        def listed(**more):
            return [job(w, 0, name="tcp", **more), job(w, 1, 1, name="udp", protocol="udp", **more)]

        w.server()
        w.agent("site", listed())
        in_state(w, "tcp", "active")
        in_state(w, "udp", "active")
        streams = [held.enter_context(socket.create_connection(("127.0.0.1", w.job_port(0)), 20, (f"127.0.0.{n}", 0))) for n in (1, 2)]
        flows = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in (1, 2)]
        for n, s in enumerate(flows):
            s.settimeout(1)
            s.bind((f"127.0.0.{n + 1}", 0))
            s.connect(("127.0.0.1", w.job_port(1)))

        def works(n):
            streams[n].sendall(b"stream")
            if read_all(streams[n], 6) != b"stream" or asked(flows[n], b"camera") != b"camera":
                raise Failed(f"    source {n} is not answered")
        works(0)
        works(1)
        w.agent_config("site", listed(allow="[127.0.0.1/32]"))
        w.agent_verb("site", "service.reload")
        if not ended(streams[1]):
            raise Failed("    the connection of the other one goes on")
        wait_for("a flow is left, of the one on the list", lambda: len([c for c in w.ask_verb("tunnel.connections")["rows"] if c["job"] == "udp"]) == 1)
        works(0)
        flows[1].send(b"camera")
        wait_for("its datagram is refused", lambda: one(w, "udp")["refused"])
        try:
            raise Failed(f"    it has an answer: {flows[1].recv(100)}")
        except TimeoutError:
            pass
        for name in ("tcp", "udp"):
            w.server_logged("tunnel.connection.ended", f"job={name}", "does not allow this source any more")


@case("a job that is stopped, deleted, or gone from the file ends at its agent, whatever the server does")
def _(w):
    targets = {}

    def keep(name):
        def serve(s):
            targets[name] = s
            s.settimeout(None)
            try:
                echo(s)
            finally:
                targets[name] = None
        return serve

    def end(name, by):
        wait_for(f"the connection of the job that is {by} ends at its target", lambda: not targets[name])

    names = ["stays", "listed", "stopped", "deleted"]
    with contextlib.ExitStack() as held:
        for n, name in enumerate(names):
            held.enter_context(Target(w.target_port(n), keep(name)))
        server = w.server(resume="600s")
        w.agent("site", [job(w, n, n, name=names[n]) for n in (0, 1)])
        for n in (2, 3):
            w.ask_agent("site", "agent", "job", "add", str(w.job_port(n)), "127.0.0.1", str(w.target_port(n)), "--name", names[n]).exits(0)
        streams = []
        for n, name in enumerate(names):
            in_state(w, name, "active")
            streams.append(held.enter_context(connect(w.job_port(n))))
            streams[-1].sendall(b"x")
            read_all(streams[-1], 1)
        server.process.send_signal(signal.SIGSTOP)  # a server that does nothing
        try:
            w.agent_verb("site", "agent.job.stop", {"name": "stopped"})
            end("stopped", "stopped")
            w.agent_verb("site", "agent.job.delete", {"name": "deleted"})
            end("deleted", "deleted")
            w.agent_config("site", [job(w, 0, 0, name="stays")])
            w.agent_verb("site", "service.reload")
            end("listed", "not in the file any more")
        finally:
            server.process.send_signal(signal.SIGCONT)
        streams[0].sendall(b"y")
        if not targets["stays"] or read_all(streams[0], 1) != b"y":
            raise Failed("    the connection of another job ended, too")


@case("a bit rate holds for all connections of a job together")
def _(w):
    data = pattern(300_000)
    with Target(w.target_port(0), lambda s: s.sendall(data)):
        w.server()
        w.agent("site", [job(w, 0, name="slow", limits="{ bitrate: 1Mbit/s }")])
        in_state(w, "slow", "active")
        began = time.monotonic()
        if read_all(connect(w.job_port(0), timeout=30)) != data:
            raise Failed("    bytes are missing")
        took = time.monotonic() - began
        if took < 1.0:  # 2.4 Mbit at 1 Mbit/s with a second's worth at once
            raise Failed(f"    it took only {took:.1f} s")


@case("a PROXY header tells the target the source's address")
def _(w):
    seen = []

    def serve(s):
        seen.append(read_all(s, 28))
        s.sendall(b"ok")
    with Target(w.target_port(0), serve):
        w.server()
        w.agent("site", [job(w, 0, name="told", proxy_protocol="v2")])
        in_state(w, "told", "active")
        with connect(w.job_port(0)) as s:
            source = s.getsockname()
            if read_all(s, 2) != b"ok":
                raise Failed("    the target was not reached")
        head = seen[0]
        if head[:12] != b"\r\n\r\n\0\r\nQUIT\n" or socket.inet_ntoa(head[16:20]) != source[0] or \
                struct.unpack("!H", head[24:26])[0] != source[1]:
            raise Failed(f"    {head!r} for {source}")


@case("a job whose target is down is shown so, refuses at once, and is active again when the target is")
def _(w):
    w.server()
    w.agent("site", [job(w, 0, name="checked", health_check="1s")])
    in_state(w, "checked", "target down")
    if not resets(w.job_port(0)):
        raise Failed("    a connection to nowhere was taken")
    with Target(w.target_port(0), echo):
        in_state(w, "checked", "active")
        carries(w, 0)


@case("a target that agent.allow does not hold any more is not reached by a connection that was on its way there")
def _(w):
    with socket.create_server(("127.0.0.1", w.target_port(0)), backlog=0) as target:
        fillers = [socket.socket() for _ in range(3)]  # then nobody else gets in, until these are taken
        for f in fillers:
            f.setblocking(False)
            f.connect_ex(("127.0.0.1", w.target_port(0)))
        w.server()
        w.agent("site", [job(w, 0, name="slow")])
        in_state(w, "slow", "active")
        with connect(w.job_port(0), timeout=30) as s:
            wait_for("it is on its way", lambda: w.agent_verb("site", "agent.connections")["rows"])
            w.agent_config("site", [job(w, 0, name="slow")], allow="[10.0.0.0/8]")
            w.agent_verb("site", "service.reload")
            target.settimeout(10)
            for f in fillers:
                target.accept()[0].close()
                f.close()
            w.agent_logged("site", "agent.connection.refused", "does not hold the target any more")
            if not was_reset(s):
                raise Failed("    the connection was not reset")


@case("jobs made on the server need an entry in the agent's list, and are kept")
def _(w):
    with Target(w.target_port(0), echo):
        server = w.server()
        w.agent("strict", [])
        w.agent("open", [], allow="[127.0.0.1/32]")
        for name in ("strict", "open"):
            w.connected(name)
        add = ("tunnel", "job", "add")
        w.ask(*add, "strict", str(w.job_port(0)), "127.0.0.1", str(w.target_port(0)), "--name", "no").exits(0)
        w.ask(*add, "open", str(w.job_port(1)), "127.0.0.1", str(w.target_port(0)), "--name", "yes").exits(0)
        w.ask(*add, "open", str(w.job_port(2)), "127.0.0.2:80", "--name", "outside").exits(0)
        if "empty" not in in_state(w, "no", "refused")["reason"] or "does not hold" not in in_state(w, "outside", "refused")["reason"]:
            raise Failed(f"    {jobs(w)}")
        in_state(w, "yes", "active")
        carries(w, 1)
        listed = w.ask("tunnel", "job", "list").exits(0)
        for word in ("open", "yes", "taken", "agent.allow is empty"):
            listed.says(word)
        w.ask("tunnel", "job", "stop", "open", "yes").exits(0)
        wait_for("it is interrupted", lambda: is_closed(w.job_port(1)))
        w.ask("tunnel", "job", "start", "open", "yes").exits(0)
        in_state(w, "yes", "active")
        server.stop()
        w.start_server()
        in_state(w, "yes", "active", 20)
        carries(w, 1)
        w.ask("tunnel", "job", "delete", "open", "yes").exits(0)
        wait_for("it is gone", lambda: not one(w, "yes") and is_closed(w.job_port(1)))


@case("a job made on the server is there once, and works, after its agent was restarted and after it came back in time")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        agent = w.agent("open", [], allow="[127.0.0.1/32]")
        w.connected("open")
        w.ask("tunnel", "job", "add", "open", str(w.job_port(1)), "127.0.0.1", str(w.target_port(0)), "--name", "yes").exits(0)
        in_state(w, "yes", "active")
        agent.stop()
        w.start_agent("open")
        w.connected("open")
        wait_for("it works", lambda: carried(w, 1))  # what was active may be of the connection before
        wait_for("it is there once and active", lambda: [r["state"] for r in jobs(w, name="yes")] == ["active"])
        carries(w, 1)
        w.ask("tunnel", "job", "stop", "open", "yes").exits(0)
        wait_for("it is interrupted", lambda: is_closed(w.job_port(1)))


@case("the agent counts connections of a job made on the server over a reconnection, with which the job is offered anew")
def _(w):
    def count():
        return [r["connections"] for r in w.agent_verb("open", "agent.jobs")["rows"] if r["name"] == "yes"]
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("open", [], allow="[127.0.0.1/32]")
        w.connected("open")
        w.ask("tunnel", "job", "add", "open", str(w.job_port(1)), "127.0.0.1", str(w.target_port(0)), "--name", "yes").exits(0)
        in_state(w, "yes", "active")
        with connect(w.job_port(1), timeout=30) as s:
            s.sendall(b"x")
            s.recv(1)
            wait_for("it is counted", lambda: count() == [1])
            before = w.link("open")["reconnects"]
            w.ask_verb("tunnel.drop", {"agent": "open"})
            wait_for("it has come back", lambda: (r := w.link("open")) and r["reconnects"] > before)
            s.sendall(b"y")
            s.recv(1)
            wait_for("the job is offered again, with its connection", lambda: count() == [1])
        wait_for("none is left", lambda: count() == [0])


@case("kick ends a data connection, watch shows its bytes, sockets shows whose each is; who looked is in the log")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="web")])
        in_state(w, "web", "active")
        with connect(w.job_port(0)) as s:
            s.sendall(b"x")
            s.recv(1)
            number = w.ask_verb("tunnel.connections")["rows"][0]["id"]
            watch = w.program_of_tool("tunnel", "watch", str(number))
            wait_for("it is watched", lambda: w.ask_verb("tunnel.connections")["rows"][0]["watched"])
            s.sendall(b"seen by an operator")
            read_all(s, 19)
            rows = w.ask("tunnel", "sockets").exits(0)
            for word in ("control", "carrier", "source", "listener", "established", "web"):
                rows.says(word)
            w.ask("tunnel", "kick", str(number)).exits(0).says("1 data connections are ended")
            if not ended(s):
                raise Failed("    it was not ended")
            out, _err = watch.communicate(timeout=20)
            if b"seen by an" not in out or b"The connection has ended" not in out:
                raise Failed(f"    watch said {out!r}")
        w.server_logged("tunnel.watched")
        w.ask("tunnel", "kick", "999999").exits(1).says("no connection")
        w.ask("tunnel", "watch", "nonsense").exits(2)


@case("encrypt: false needs both sides, is shown, and carries every byte")
def _(w):
    data = pattern(2_000_000)
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="bare", encrypt="false")])
        if "allow_plain" not in in_state(w, "bare", "refused")["reason"]:
            raise Failed(f"    {one(w, 'bare')}")
        w.server_config(allow_plain="true")
        w.ask_verb("service.reload")
        in_state(w, "bare", "active")
        if one(w, "bare")["encrypted"] or one(w, "bare")["sealed"]:
            raise Failed("    it is shown as encrypted")
        s = connect(w.job_port(0), timeout=30)
        threading.Thread(target=s.sendall, args=(data,), daemon=True).start()
        if read_all(s, len(data)) != data:
            raise Failed("    bytes are missing")
        s.close()


@case("stile test agent checks a site end to end, stile test tcp says where a connection stops")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [job(w, 0, name="good"), job(w, 1, 9, name="dead")])
        in_state(w, "good", "active")
        in_state(w, "dead", "active")
        said = w.ask("test", "agent", "site").exits(1)
        for word in ("✔ connection", "✔ good", f"127.0.0.1:{w.target_port(0)}", "✘ dead", "Connection refused"):
            said.says(word)
        w.ask("test", "agent", "nobody").exits(1).says("is not connected")
        w.stile("test", "tcp", "127.0.0.1", str(w.job_port(0)), "--echo").exits(0).says("✔ connect", "✔ echo", "✔ throughput", "compared")
        w.stile("test", "tcp", "127.0.0.1", str(w.target_port(9))).exits(1).says("✘ connect", "refused")
        w.stile("test", "tcp", "no-such-name.invalid", "80").exits(1).says("✘ name")
        w.stile("test", "tcp", "127.0.0.1", str(w.target_port(0)), "--tls", "--timeout", "2s").exits(1).says("✘ TLS")


if __name__ == "__main__":
    sys.exit(main(25000))
