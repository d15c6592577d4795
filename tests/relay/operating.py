# SPDX-License-Identifier: Apache-2.0
"""The relay in the hands of an administrator: routes made and switched while it runs, records, watching, kicking, the
one-shot command, events."""
import os
import pty
import re
import signal
import socket
import subprocess
import time

from real_world import STILE, Failed, case, connect, echo, ends, noise, said
from world import wait_for


@case("routes are added, shown, disabled, enabled, deleted live, and are there after a restart")
def _(w):
    w.target(echo)
    s = w.relay([f'{{ name: file, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    add = ["relay", "route", "add", f"127.0.0.1:{w.base + 1}", "127.0.0.1", str(w.base + 20), "--name", "made"]
    w.ask(*add).exits(0).says("route made: listening")
    w.ask(*add).exits(1).says("made", "already")
    if said(w.base + 1, b"through the new route") != b"through the new route":
        raise Failed("    the new route does not relay")
    w.ask("relay", "route", "list").exits(0).says("ROUTE", "LISTENS ON", "file", "listening", "yes", "made", "listening", "no")
    w.ask("relay", "route", "disable", "made").exits(0).says("route made takes no new connections")
    try:
        connect(w.base + 1).close()
        raise Failed("    a disabled route takes connections")
    except ConnectionRefusedError:
        pass
    w.ask("relay", "route", "enable", "made").exits(0).says("listening")
    with connect(w.base + 1) as kept, connect(w.base) as other:
        for c in (kept, other):
            c.sendall(b"x")
            c.recv(1)
        w.ask("relay", "route", "disable", "made").exits(0)
        kept.sendall(b"y")
        if kept.recv(1) != b"y":
            raise Failed("    a connection of the disabled route was cut")
        w.ask("relay", "route", "disable", "made", "--drop").exits(0)
        ends(kept, ("reset",))
        other.sendall(b"z")
        if other.recv(1) != b"z":
            raise Failed("    another route's connection was cut")
    w.ask("relay", "route", "enable", "made").exits(0).says("listening")
    s.stop()
    w.tunnel()
    w.ask("ready", "tunnel", "--all-routes", "--wait", "10s").exits(0)
    if said(w.base + 1, b"after a restart") != b"after a restart":
        raise Failed("    the route is not there after a restart")
    w.ask("relay", "route", "delete", "made").exits(0).says("route made is deleted")
    w.ask("relay", "route", "delete", "made").exits(1).says("no route made")
    w.ask("relay", "route", "delete", "file").exits(1).says("set in", "stile.yaml")
    w.ask("relay", "route", "add", "70000", "x", "1").exits(1).says("70000")


@case("a route that cannot bind: status, ready and events say so and why, and that it is well again")
def _(w):
    w.target(echo)
    routes = [f'{{ listen: "127.0.0.{2 + i}:{w.base}", target: "127.0.0.1:{w.base + 20}" }}' for i in range(3)]
    thief = socket.create_server(("127.0.0.1", w.base + 1))
    s = w.relay([*routes, f'{{ name: taken, listen: "127.0.0.1:{w.base + 1}", target: "127.0.0.1:{w.base + 20}" }}'])
    if said(w.base, b"x", "127.0.0.3") != b"x":
        raise Failed("    the others do not relay")
    w.ask("relay", "status").exits(1).says("4, 4 enabled, 3 listen", "taken", "not listening", "in use")
    w.ask("relay", "status", "--json").exits(1).json()
    w.ask("ready", "tunnel").exits(0)
    w.ask("ready", "tunnel", "--all-routes").exits(1).says("3 of 4 routes listen")
    w.logged("relay.route.bind", "event=101", "Could not bind to local port")
    thief.close()
    w.logged("relay.route.ready", "route=taken", "Ready to get data from local port", seconds=15)
    w.ask("relay", "status").exits(0)
    s.stop()


@case("no route at all is an error and exit status 1, with the event of the original")
def _(w):
    w.tunnel_config([])
    w.run(*w.tunnel_argv(), timeout=30).exits(1).says("nothing to relay")
    w.logged("relay.no-routes", "event=100", "There are no routes to relay")


@case("connections: both ends, bytes, rates; kicked by number or by route; ended in the records")
def _(w):
    w.target(echo)
    w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "localhost:{w.base + 20}" }}'], "connections: true, json: true")
    a, b = connect(w.base), connect(w.base)
    a.sendall(b"x" * 1000)
    a.recv(1000, socket.MSG_WAITALL)
    rows = w.connections(2)
    me = f"127.0.0.1:{a.getsockname()[1]}"
    row = next(r for r in rows if r["source"] == me)
    if row["bytes_up"] != 1000 or row["bytes_down"] != 1000 or row["target"] != f"127.0.0.1:{w.base + 20}":
        raise Failed(f"    {row}")
    w.ask("relay", "connections").exits(0).says("CONN", "SOURCE", "UP/s", "a  ", "open")
    w.ask("relay", "connections", "--names").exits(0).says("localhost")
    w.ask("relay", "kick", str(row["id"])).exits(0).says(f"connection {row['id']} is ended")
    ends(a, ("reset",))
    w.connections(1)
    w.ask("relay", "kick", str(row["id"])).exits(1).says("there is no connection")
    w.ask("relay", "kick", "a").exits(0).says("the connections of route a are ended")
    ends(b, ("reset",))
    w.connections(0)
    lines = wait_for("both ends are recorded", lambda: len(found := [j for j in w.json_lines() if j["id"] == "relay.connection.ended"]) > 1 and found)
    one = next(j for j in lines if j["source"] == me)
    if len(lines) != 2 or one["bytes_up"] != 1000 or not one["reason"] or "duration_ms" not in one or one["route"] != "a":
        raise Failed(f"    {lines}")
    text = w.record_text(w.record_files("CO")[0])
    if not re.search(rf"(?m)^\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d Connection from {re.escape(me)} to 127.0.0.1:{w.base + 20}$", text):
        raise Failed(f"    {text}")


def hex_of(text, way):
    """The bytes of one direction, read back from the hex columns; way: "from A to B"."""
    got, mine = [], False
    for line in text.splitlines():
        if " Packet " in line:
            mine = way in line
        elif mine and (m := re.match(r"[0-9a-f]{8,}  ((?:[0-9a-f]{2} +)+)\|", line)):
            got.append(bytes.fromhex(m.group(1)))
    return b"".join(got)


@case("data log: every byte both ways reads back from the hex columns, switched live for a route and for a connection")
def _(w):
    w.target(echo)
    w.relay([f'{{ name: a, log_data: true, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'], "data_floor: 1MB")
    w.ask("relay", "route", "add", f"127.0.0.1:{w.base + 1}", "127.0.0.1", str(w.base + 20), "--name", "b").exits(0)
    data = noise(1 << 20)
    if said(w.base, data) != data:
        raise Failed("    other bytes came back")
    w.connections(0)

    def whole():
        """What the one data log has, in both directions, as soon as that is all; the log has a thread of its own."""
        text = "".join(w.record_text(f) for f in w.record_files("RL")[:1])
        found = re.search(r"from (127\.0\.0\.1:\d+) to", text)
        return found and hex_of(text, f"from {found.group(1)} to") == data and hex_of(text, f"to {found.group(1)},") == data
    wait_for("the log holds what was sent", whole)
    files = w.record_files("RL")
    if len(files) != 1 or not re.match(r"RL\d{12}\.LOG$", files[0]):
        raise Failed(f"    {files}")
    if os.stat(os.path.join(w.records(), files[0])).st_mode & 0o777 != 0o600:
        raise Failed("    others may read it")
    with connect(w.base + 1) as s:
        for on, word in (("on", "b"), ("off", "b")):
            s.sendall(b"before " + on.encode())
            s.recv(100)
            w.ask("relay", "log-data", on, word).exits(0).says("1 connection", "route b", "new ones")
        row = w.connections(1)[0]
        w.ask("relay", "log-data", "on", str(row["id"])).exits(0).says("is logged from now on")
        s.sendall(b"seen")
        s.recv(100)
        w.ask("relay", "log-data", "off", str(row["id"])).exits(0)
        s.sendall(b"not seen")
        s.recv(100)
    w.connections(0)

    def all_up():
        return b"".join(hex_of(w.record_text(f), f"to 127.0.0.1:{w.base + 20},") for f in w.record_files("RL")[1:])
    wait_for("what was logged is there", lambda: len(all_up()) >= len(b"before offseen"))
    time.sleep(0.5)  # and nothing else
    if all_up() != b"before offseen":
        raise Failed(f"    {all_up()}")


@case("watch shows bytes live, both ways, and ends with the connection; who watched is in the log")
def _(w):
    w.target(echo)
    w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    with connect(w.base) as s:
        row = w.connections(1)[0]
        p = subprocess.Popen([STILE, "relay", "watch", str(row["id"]), "--runtime-dir", w.path("run")], stdout=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, text=True)
        w.logged("relay.watched", f"connection={row['id']}")
        wait_for("the tap is on", lambda: w.connections(1)[0]["watched"])
        s.sendall(b"look at \x1b[2J this")
        s.recv(100)
        time.sleep(0.5)
    out, _ = p.communicate(timeout=15)
    if p.returncode != 0 or out.count("Packet from") != 2 or "|look at .[2J thi|" not in out or "has ended" not in out or "\x1b" in out:
        raise Failed(f"    status {p.returncode}: {out}")
    w.ask("relay", "watch", "12345").exits(1).says("there is no connection 12345")
    w.ask("relay", "watch", "x").exits(2)


def one_shot(w, *words, **more):
    return subprocess.Popen([STILE, "relay", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            text=True, cwd=w.records(), **more)


def line_of(p, what):
    line = p.stdout.readline()
    if what not in line:
        raise Failed(f"    expected {what!r}: {line}")


@case("stile relay in the foreground: says it listens and is ready, relays, writes data logs, ends on Ctrl-C and closes")
def _(w):
    w.target(echo)
    p = one_shot(w, f"127.0.0.1:{w.base}", "localhost", str(w.base + 20), "-d")
    line_of(p, "Listening on")
    line_of(p, "Ready to relay data to localhost")
    if said(w.base, b"HELO example\r\n") != b"HELO example\r\n":
        raise Failed("    other bytes")
    held = connect(w.base)
    held.sendall(b"x")
    held.recv(1)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=15)
    if p.returncode != 0 or "Closing connections" not in out or "2 connections" not in out:
        raise Failed(f"    {p.returncode}: {out}")
    ends(held, ("closed", "reset"))
    files = w.record_files("RL")
    if len(files) != 2 or "HELO example.." not in "".join(w.record_text(f) for f in files):
        raise Failed(f"    {files}")


@case("stile relay --udp with a bare port, and --log-dir: datagrams go through, the connection log is in the folder")
def _(w):
    p = one_shot(w, str(w.base), "127.0.0.1", str(w.base + 20), "--udp", "--log-dir", w.records())
    line_of(p, f"Listening on 0.0.0.0:{w.base}/udp")
    line_of(p, f"Ready to relay data to 127.0.0.1, port {w.base + 20}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
        for s in (target, c):
            s.settimeout(5)
        target.bind(("127.0.0.1", w.base + 20))
        c.connect(("127.0.0.1", w.base))
        c.send(b"question")
        data, who = target.recvfrom(100)
        target.sendto(data[::-1], who)
        if c.recv(100) != b"noitseuq":
            raise Failed("    another datagram came back")
        me = f"127.0.0.1:{c.getsockname()[1]}"
    p.send_signal(signal.SIGTERM)
    out, _ = p.communicate(timeout=15)
    if p.returncode != 0 or "1 connection, 8 B to the target, 8 B back" not in out:
        raise Failed(f"    {p.returncode}: {out}")
    text = w.record_text(next(f for f in w.record_files("CO") if f.endswith(".LOG")))
    if f"Connection from {me} to 127.0.0.1:{w.base + 20}" not in text or w.record_files("RL"):
        raise Failed(f"    {text}")


@case("stile relay on a terminal ends on ESC, and an arrow key is no ESC")
def _(w):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(STILE, [STILE, "relay", f"127.0.0.1:{w.base}", "127.0.0.1", str(w.base + 20)])
    out = b""
    try:
        while b"ESC or Ctrl-C" not in out:
            out += os.read(fd, 1000)
        os.write(fd, b"\x1b[A")
        time.sleep(0.7)
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise Failed("    an arrow key ended it")
        os.write(fd, b"\x1b")
        while True:
            out += os.read(fd, 1000)
    except OSError:
        pass
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0 or "Closing connections…".encode() not in out:
        raise Failed(f"    {status}: {out}")


@case("stile relay's errors say what to do: port in use and by whom, a name that is none, words that are wrong")
def _(w):
    with socket.create_server(("127.0.0.1", w.base)):
        w.stile("relay", str(w.base), "127.0.0.1", "1").exits(1).says("not bound to port", f"{w.base}", "in use by python", "pid",
                                                                     "End that program, or listen on another port")
    w.stile("relay", f"127.0.0.1:{w.base}", "no.such.invalid", "1").exits(1).says("cannot resolve no.such.invalid", "getent hosts")
    w.stile("relay", f"127.0.0.1:{w.base}", "127.0.0.1", "port").exits(2).says("port")
    w.stile("relay", f"127.0.0.1:{w.base}", "127.0.0.1").exits(2).says("something is missing")
    w.stile("relay", f"127.0.0.1:{w.base}", "127.0.0.1", "1", "--log-dir", "/nonexistent").exits(1).says("/nonexistent", "make it first")


@case("a service that is asked to pause says that it cannot; started, ready and stopped are events with their numbers")
def _(w):
    s = w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    s.process.send_signal(signal.SIGTSTP)
    w.logged("relay.no-pause", "event=100", "The service cannot be paused")
    w.logged("relay.started", "event=100")
    w.logged("relay.route.ready", "event=101", f"Ready to get data from local port 127.0.0.1:{w.base} and relay to 127.0.0.1:{w.base + 20}")
    s.stop()
    w.logged("relay.stopped", "event=100")


@case("events are in the journal, with the priority of their severity, their number and their sentence")
def _(w):
    w.write("stile.yaml", f"""store: {{ path: {w.path('store')} }}
tunnel:
  routes:
    - {{ name: good, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}
    - {{ name: bad, listen: "127.0.0.1:{w.base + 1}", target: "127.0.0.1:{w.base + 20}" }}
""")
    with socket.create_server(("127.0.0.1", w.base + 1)), open(w.path("journal"), "w+", encoding="utf-8") as journal:
        at = os.fstat(journal.fileno())  # as systemd tells a service that its standard error is the journal
        p = subprocess.Popen(w.tunnel_argv(), stdin=subprocess.DEVNULL, stdout=journal, stderr=journal,
                             env={**os.environ, "JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"})
        try:
            w.ask("ready", "tunnel", "--wait", "10s").exits(0)
        finally:
            p.send_signal(signal.SIGTERM)
            p.wait(15)
        journal.seek(0)
        text = journal.read()
    for form in (r'<6>\S+ info relay\.started .*event=100 sentence="Service started"',
                 rf'<6>\S+ info relay\.route\.ready .*event=101 route=good .*sentence="Ready to get data from local port 127.0.0.1:{w.base} and relay to',
                 rf'<3>\S+ error relay\.route\.bind .*event=101 route=bad .*sentence="Could not bind to local port 127.0.0.1:{w.base + 1}: Address already',
                 r'<6>\S+ info relay\.stopped .*event=100 sentence="Service stopped"'):
        if not re.search(rf"(?m)^{form}", text):
            raise Failed(f"    no {form} in\n{text}")


@case("records are switched live by a reload, each for itself, and no connection ends")
def _(w):
    w.target(echo)
    route = f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'
    w.relay([route], "connections: false, json: false")
    with connect(w.base) as held:
        for connections, json, suffixes in ((False, True, {".jsonl"}), (True, False, {".jsonl", ".LOG"})):
            before = {f: os.stat(os.path.join(w.records(), f)).st_size for f in w.record_files("CO")}
            w.tunnel_config([route], f"connections: {str(connections).lower()}, json: {str(json).lower()}")
            w.ask("reload", "tunnel").exits(0)
            said(w.base, b"x")

            def after():
                return {f: os.stat(os.path.join(w.records(), f)).st_size for f in w.record_files("CO")}

            def grown():
                return {os.path.splitext(f)[1] for f, size in after().items() if size != before.get(f)}  # pylint: disable=cell-var-from-loop
            wait_for("one of them has grown", grown)
            time.sleep(0.4)  # and not the other
            if {os.path.splitext(f)[1] for f in after()} != suffixes or grown() != {".LOG" if connections else ".jsonl"}:
                raise Failed(f"    {before}, then {after()}")
        held.sendall(b"still")
        if held.recv(5, socket.MSG_WAITALL) != b"still":
            raise Failed("    the connection was cut")


@case("a node that drains is not ready, refuses new connections and ends with the last")
def _(w):
    w.target(echo)
    s = w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "127.0.0.1:{w.base + 20}" }}'])
    with connect(w.base) as c:
        c.sendall(b"x")
        c.recv(1)
        w.verb("service.drain", {})
        w.ask("ready", "tunnel").exits(1).says("its state is draining")
        w.ask("status").says("stile-tunnel", "draining", "1 connection left")
        c.sendall(b"y")
        if c.recv(1) != b"y":
            raise Failed("    the connection was cut")
    s.process.wait(15)


@case("config export has the routes of file and store, and config diff tells by name what another node does otherwise")
def _(w):
    w.relay([f'{{ name: a, listen: "127.0.0.1:{w.base}", target: "10.0.0.1:1" }}'])
    for i, name in ((1, "b"), (2, "c")):
        w.ask("relay", "route", "add", f"127.0.0.1:{w.base + i}", "10.0.0.2", "2", "--name", name).exits(0)
    conf = ("-c", w.path("stile.yaml"))
    export = w.ask("config", "export", *conf).exits(0).says("tunnel:", "routes:", "name: a", "name: b", "name: c").out
    w.ask("config", "diff", "-", *conf, stdin=export).exits(0).says("alike")
    other = export.replace("10.0.0.1:1", "10.0.0.9:1").replace("name: b", "name: d")
    said_so = w.ask("config", "diff", "-", *conf, stdin=other).exits(1)
    said_so.says("tunnel.routes[b]", "here", "not there").says("tunnel.routes[d]", "not here").says("tunnel.routes[a].target", "10.0.0.9:1")
    said_so.never_says("routes[c]", "secret")
    w.write("copy/stile.yaml", export)
    w.check("copy/stile.yaml").exits(0)
