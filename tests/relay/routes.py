#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Routes in the hands of an administrator: from the file and from the store, changed while connections run, with
reasons for what does not work."""
import os
import socket
import ssl
import subprocess
import sys

from relay_world import Failed, Target, case, connect, echo, main, named, read_all, wait_for
from world import NETNS, need_netns


def says(port, host="127.0.0.1"):
    """What the target behind a port calls itself."""
    with connect(port, host) as s:
        return s.recv(64).decode()


def expect(what, is_, should):
    if is_ != should:
        raise Failed(f"    {what} is {is_!r}, not {should!r}")


@case("routes of the file listen and lead to their targets; a range keeps its ports")
def _(w):
    with Target(w.target_port(0), named("a")), Target(w.target_port(1), named("b")), Target(w.target_port(2), named("c")):
        w.config(['name: one, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"',
                  f'listen: "127.0.0.1:{w.base + 1}-{w.base + 2}", target: "127.0.0.1:{{t1}}"'])
        w.start()
        expect("the first", says(w.base), "a")
        expect("the range's first", says(w.base + 1), "b")
        expect("the range's second", says(w.base + 2), "c")
        w.logged("relay.route.ready", "event=101", "route=one")
        w.logged("relay.started", "event=100")
        expect("state", w.route("one")["state"], "listening")
        expect("name", w.route(f"127.0.0.1:{w.base + 1}-{w.base + 2}")["ports_bound"], 2)


@case("a route that cannot bind leaves the rest running, says why, and takes its port when it is free")
def _(w):
    with Target(w.target_port(0), named("a")):
        holder = socket.socket()
        holder.bind(("127.0.0.1", w.base + 1))
        holder.listen()
        w.config(['name: good, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"',
                  'name: held, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}"'])
        w.start()
        expect("the other", says(w.base), "a")
        row = w.route("held")
        expect("state", row["state"], "not listening")
        if "Address already in use" not in row["reason"] or "ss -lnp" not in row["reason"]:
            raise Failed(f"    the reason is {row['reason']!r}")
        w.logged("relay.route.bind", "event=101", "route=held")
        holder.close()
        wait_for("the port is taken", lambda: w.route("held")["state"] == "listening")
        expect("the late one", says(w.base + 1), "a")


@case("a name that cannot be resolved is told, tried again, and leaves the rest running")
def _(w):
    with Target(w.target_port(0), named("a")):
        w.config(['name: good, listen: "127.0.0.1:{p0}", target: "localhost:{t0}"',
                  'name: lost, listen: "127.0.0.1:{p1}", target: "no-such-host.invalid:25", connect_timeout: 2s'])
        w.start()
        expect("a name of /etc/hosts", says(w.base), "a")
        row = wait_for("the name is known to be bad", lambda: (lambda r: r if r["reason"] else None)(w.route("lost")))
        expect("state", row["state"], "target not resolved")
        w.logged("relay.route.resolve", "event=101", "no-such-host.invalid")
        with connect(w.base + 1, timeout=20) as s:
            try:
                if s.recv(1):
                    raise Failed("    there is somebody behind no-such-host.invalid")
            except ConnectionResetError:
                pass
        w.logged("relay.connection.failed", "could not resolve no-such-host.invalid")


@case("without any route the service says so and does not start")
def _(w):
    w.config()
    w.start_fails().exits(1).says("there is nothing to relay", "tunnel: { routes:")
    w.logged("relay.no-routes", "event=100")
    w.config(['listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}", enabled: false'])
    w.start_fails().exits(1).says("there is nothing to relay")


@case("a bad route is an error with its place, for the check and for the service alike")
def _(w):
    w.config(['name: x y, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"',
              'name: z, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"',
              'name: u, listen: "127.0.0.1:{p1}", target: "127.0.0.1", udp: true, proxy_protocol: v2',
              'name: c, listen: "127.0.0.1:{p2}", target: "t", tls: { certificate: none.pem, key: none.key }',
              'name: r, listen: "1000-2000", target: "h:65000"',
              'name: d, listen: "127.0.0.1:{p3}", target: "t:1", log_data: true'])
    for said in (w.check(), w.start_fails()):
        said.exits(2).says("no blanks").exits(2)
        for text in ("is taken by the route", "PROXY header goes in front of a TCP connection", "none.pem",
                     "would end behind port 65535", "set tunnel.records.dir"):
            said.says(text)


@case("routes are added, disabled, enabled and deleted while the service runs, and come back after a restart")
def _(w):
    with Target(w.target_port(0), named("a")), Target(w.target_port(1), named("b")):
        w.config(['name: fixed, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'])
        s = w.start()
        route = {"name": "live", "listen": f"127.0.0.1:{w.base + 1}", "target": f"127.0.0.1:{w.target_port(1)}", "note": "for a while"}
        row = w.verb("relay.route.add", {"route": route})
        expect("origin", (row["from"], row["locked"], row["state"], row["note"]), ("store", False, "listening", "for a while"))
        expect("the new route", says(w.base + 1), "b")
        w.refused("relay.route.add", {"route": route}, "exists", "there is a route live already")
        w.refused("relay.route.add", {"route": {**route, "name": "other"}}, "the route live has this port already")
        w.refused("relay.route.add", {"route": {"name": "n", "lissten": "1"}}, "did you mean 'listen'")
        w.refused("relay.route.add", {"route": {**route, "name": "fixed"}}, "locked")
        w.refused("relay.route.delete", {"name": "fixed"}, "locked", "change the file")
        w.refused("relay.route.delete", {"name": "nobody"}, "not-found")
        expect("disabled", w.verb("relay.route.disable", {"name": "live"})["state"], "disabled")
        try:
            connect(w.base + 1).close()
            raise Failed("    a disabled route still listens")
        except ConnectionRefusedError:
            pass
        w.verb("relay.route.enable", {"name": "live"})
        expect("enabled again", says(w.base + 1), "b")
        w.verb("relay.route.add", {"route": {**route, "target": f"127.0.0.1:{w.target_port(0)}"}, "replace": True})
        expect("with another target", says(w.base + 1), "a")
        s.stop()
        s = w.start()
        expect("after a restart", says(w.base + 1), "a")
        w.verb("relay.route.delete", {"name": "live"})
        expect("those that are left", list(w.routes()), ["fixed"])
        s.stop()
        w.start()
        expect("for good", list(w.routes()), ["fixed"])


@case("a name that the file takes hides the store's route, which comes back when the file lets go")
def _(w):
    with Target(w.target_port(0), named("a")), Target(w.target_port(1), named("b")):
        one = 'name: one, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'
        w.config([one])
        w.start()
        w.verb("relay.route.add", {"route": {"name": "two", "listen": f"127.0.0.1:{w.base + 1}",
                                             "target": f"127.0.0.1:{w.target_port(1)}"}})
        w.config([one, 'name: two, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}"'])
        w.reload()
        expect("the file's", (says(w.base + 1), w.route("two")["from"]), ("a", "file"))
        w.config([one])
        w.reload()
        expect("the store's", (says(w.base + 1), w.route("two")["from"]), ("b", "store"))


@case("a reload drops nothing that it does not name, and not even that")
def _(w):
    keep = 'name: keep, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'
    with Target(w.target_port(0), echo), Target(w.target_port(1), named("b")):
        w.config([keep, 'name: gone, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t0}"',
                  'name: moved, listen: "127.0.0.1:{p2}", target: "127.0.0.1:{t0}"'])
        w.start()
        held = [connect(w.base + i) for i in range(3)]
        for s in held:
            s.sendall(b"before")
            expect("an echo", read_all(s, 6), b"before")
        w.config([keep, 'name: moved, listen: "127.0.0.1:{p2}", target: "127.0.0.1:{t1}", note: new'])
        w.reload()
        for s in held:
            s.sendall(b"after!")
            expect("an echo after the reload", read_all(s, 6), b"after!")
            s.close()
        expect("what is new goes by the new target", says(w.base + 2), "b")
        try:
            connect(w.base + 1).close()
            raise Failed("    the removed route still listens")
        except ConnectionRefusedError:
            pass
        w.config([keep, "name: bad, listen: 1"])
        try:
            w.reload()
            raise Failed("    a bad file was taken")
        except Failed as e:
            if "target" not in str(e):
                raise
        expect("the old routes", sorted(w.routes()), ["keep", "moved"])


@case("two routes may change their ports in one reload")
def _(w):
    with Target(w.target_port(0), named("a")), Target(w.target_port(1), named("b")):
        form = ['name: a, listen: "127.0.0.1:{%s}", target: "127.0.0.1:{t0}"', 'name: b, listen: "127.0.0.1:{%s}", target: "127.0.0.1:{t1}"']
        w.config([form[0] % "p0", form[1] % "p1"])
        w.start()
        w.config([form[0] % "p1", form[1] % "p0"])
        w.reload()
        expect("their places", (says(w.base), says(w.base + 1)), ("b", "a"))


@case("a reload brings a new certificate for who comes after it")
def _(w):
    with Target(w.target_port(0), echo):
        w.certificate()
        w.config(['name: t, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}", tls: { certificate: server.pem, key: server.key }'])
        w.start()
        before = ssl.get_server_certificate(("127.0.0.1", w.base))
        w.certificate("renewed")
        os.rename(w.path("renewed.key"), w.path("server.key"))
        os.rename(w.path("renewed.pem"), w.path("server.pem"))
        w.reload()
        if ssl.get_server_certificate(("127.0.0.1", w.base)) == before:
            raise Failed("    the old certificate is still shown")


@case("a thousand routes listen, and a reload that changes one leaves the others alone")
def _(w):
    with Target(w.target_port(0), named("a")):
        routes = [f'name: r{i}, listen: "127.0.{i // 250 + 1}.{i % 250 + 1}:{{p0}}", target: "127.0.0.1:{{t0}}"' for i in range(1000)]
        w.config(routes)
        w.start()
        expect("listening", w.verb("relay.status")["listening"], 1000)
        expect("one of them", says(w.base, "127.0.3.7"), "a")
        w.config(routes[:-1])
        w.reload()
        expect("listening", w.verb("relay.status")["listening"], 999)
        expect("one of them", says(w.base, "127.0.3.7"), "a")


@case("an address that is not there yet is listened on, and answers within three seconds of its coming")
def _(w):
    need_netns()
    w.config(['name: vip, listen: "10.99.99.9:{p0}", target: "127.0.0.1:{t0}"'])
    s = w.start(prefix=NETNS)
    expect("state", w.route("vip")["state"], "waiting for its address")
    inside = ["nsenter", "-t", str(s.process.pid), "-n"]
    ask = (f"import socket,time\nl=socket.socket();l.bind(('127.0.0.1',{w.target_port(0)}));l.listen()\n"
           f"import subprocess;subprocess.run(['ip','addr','add','10.99.99.9/32','dev','lo'],check=True)\nt=time.monotonic()\n"
           f"c=socket.create_connection(('10.99.99.9',{w.base}),3);c.send(b'x')\nl.accept()[0].recv(1)\nprint(time.monotonic()-t)")
    done = subprocess.run([*inside, sys.executable, "-c", ask], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode or float(done.stdout) > 3:
        raise Failed(f"    {done.stdout}{done.stderr}")


@case("started by root it gives its rights up, but for those that a route with a low port needs, also one made later")
def _(w):
    need_netns()
    w.config(['name: low, listen: "127.0.0.1:81", target: "127.0.0.1:{t0}"'])
    for folder in ("run", "store", "log"):
        os.mkdir(w.path(folder))
        os.chmod(w.path(folder), 0o777)
    os.chmod(w.path("stile.yaml"), 0o644)
    s = w.start("stile.yaml", "--user", "nobody", prefix=NETNS)
    with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
        status = dict(line.rstrip().split(":\t", 1) for line in f if ":\t" in line)
    if status["Uid"].split()[0] == "0" or int(status["CapEff"], 16) != 1 << 10:
        raise Failed(f"    uid {status['Uid']}, capabilities {status['CapEff']}")
    for task in os.listdir(f"/proc/{s.process.pid}/task"):
        with open(f"/proc/{s.process.pid}/task/{task}/status", encoding="ascii") as f:
            if int(task) != s.process.pid and "CapPrm:\t0000000000000000\n" not in f.read():
                raise Failed(f"    thread {task} has a capability")
    row = w.verb("relay.route.add", {"route": {"name": "later", "listen": "127.0.0.1:82", "target": "127.0.0.1:1"}})
    expect("state", (row["state"], row["reason"]), ("listening", ""))


if __name__ == "__main__":
    sys.exit(main(24300))
