#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names, asked of a name server of this process: of sources, shown and recorded, and never waited for; of targets that
move or go away."""
import json
import os
import socket
import struct
import sys
import threading
import time

from relay_world import Failed, Target, case, echo, main, wait_for
from world import need_netns

# resolv.conf knows no port, so the address is this process's alone: tests/tunnel/bad_input.py has a name server, too.
RESOLVER = ("127.77.%d.%d" % divmod(256 + os.getpid() % 60000, 256), 53)


class NameServer:
    """Answers PTR questions out of names, and others out of addresses (a name of which there is none has no address), with
    a time to live of 0; what is in neither stays without an answer."""

    def __init__(self, names, addresses=None):
        self.names, self.asked = {self.arpa(ip): name for ip, name in names.items()}, []
        self.addresses = addresses or {}
        self.heard = set()  # a question that is said again, because we were slow, is no other one
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.settimeout(0.1)
        self.s.bind(RESOLVER)
        self.over, self.thread = False, threading.Thread(target=self.run)
        self.thread.start()

    @staticmethod
    def arpa(ip):
        return ".".join(reversed(ip.split("."))) + ".in-addr.arpa"

    @staticmethod
    def labels(name):
        return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"

    def run(self):
        while not self.over:
            try:
                question, peer = self.s.recvfrom(512)
            except TimeoutError:
                continue
            end, parts = 12, []
            while question[end]:
                parts.append(question[end + 1:end + 1 + question[end]].decode())
                end += 1 + question[end]
            name, kind = ".".join(parts), question[end + 1:end + 3]
            if (question, peer) not in self.heard:
                self.heard.add((question, peer))
                self.asked.append(name)
            if name in self.names:
                answers = [self.labels(self.names[name])]
            elif name in self.addresses:
                answers = [socket.inet_aton(a) for a in self.addresses[name] if kind == b"\0\1"]
            else:
                continue
            records = b"".join(b"\xc0\x0c" + kind + b"\0\1" + struct.pack("!IH", 0, len(a)) + a for a in answers)
            self.s.sendto(question[:2] + b"\x81\x80\0\1" + struct.pack("!H", len(answers)) + b"\0\0\0\0" + question[12:end + 5]
                          + records, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        self.s.close()


def resolving(w):
    """The service in a mount namespace whose resolv.conf names our name server alone."""
    need_netns()
    conf = w.write("resolv.conf", f"nameserver {RESOLVER[0]}\n")
    return ["unshare", "-m", "sh", "-c", f'mount --bind "{conf}" /etc/resolv.conf && exec "$0" "$@"']


def visit(w, source, port=0):
    """A connection from there that has had its echo, and how long that took."""
    began = time.monotonic()
    s = socket.create_connection(("127.0.0.1", w.base + port), 10, (source, 0))
    s.sendall(b"x")
    if s.recv(1) != b"x":
        raise Failed("    no echo")
    return s, time.monotonic() - began


def named(w, s):
    me = "%s:%d" % s.getsockname()
    return next(r["source_name"] for r in w.connections() if r["source"] == me)


@case("sources have their names in the table of connections and in the records, and nobody waits for a name server")
def _(w):
    prefix = resolving(w)
    with Target(w.target_port(), echo), NameServer({"127.0.7.1": "client.example", "127.0.7.3": "<b>.example"}) as names:
        records = f"{{ dir: {w.path('records')}, json: true }}"
        os.mkdir(w.path("records"))
        w.config(['name: a, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'], records=records)
        w.start(prefix=prefix)
        known, _ = visit(w, "127.0.7.1")
        wait_for("the name", lambda: named(w, known) == "client.example")
        silent = [visit(w, "127.0.7.2") for _ in range(100)]  # all of them while the first question is still open
        slowest = max(took for _, took in silent)
        if slowest > 1.5:  # the name server would have had 2 s
            raise Failed(f"    a connection waited {slowest:.1f} s")
        bad, _ = visit(w, "127.0.7.3")
        wait_for("a strange name is asked for", lambda: names.arpa("127.0.7.3") in names.asked)
        again, _ = visit(w, "127.0.7.1")
        wait_for("the name that is remembered", lambda: named(w, again) == "client.example")
        if (named(w, bad), named(w, silent[0][0])) != ("", ""):
            raise Failed("    a name came from nowhere")
        if names.asked.count(names.arpa("127.0.7.1")) > 2:  # once in each worker
            raise Failed(f"    {names.asked}")
        w.run(os.path.join(os.environ.get("STILE_BUILD", "build"), "cli/stile"), "relay", "connections", "--runtime-dir",
              w.path("run")).exits(0).says("NAME", "127.0.7.1", "client.example")
        found, none = (w.metric("stile_relay_source_names_total", r) for r in ("found", "none"))
        if found != 2 or none < 1:
            raise Failed(f"    {found} names found, {none} not")
        for s in (known, bad, again, *(s for s, _ in silent)):
            s.close()
        wait_for("the end", lambda: not w.connections())
        ended = wait_for("the records", lambda: len(rows := ends(w)) == 103 and rows)
        if {(r["source"].split(":")[0], r.get("source_name")) for r in ended} != {("127.0.7.1", "client.example"),
                                                                               ("127.0.7.2", None), ("127.0.7.3", None)}:
            raise Failed(f"    {ended[:3]}")


def ends(w):
    rows = []
    for name in os.listdir(w.path("records")):
        if name.endswith(".jsonl"):
            with open(os.path.join(w.path("records"), name), encoding="utf-8") as f:
                rows += [json.loads(line) for line in f]
    return [r for r in rows if r["id"] == "relay.connection.ended"]


@case("tunnel.resolve_names: false, by a reload, asks nobody; nor does a source of UDP")
def _(w):
    prefix = resolving(w)
    route = 'name: a, listen: "127.0.0.1:{p0}", target: "127.0.0.1:{t0}"'
    with Target(w.target_port(), echo), NameServer({"127.0.7.1": "client.example"}) as names:
        w.config([route, 'name: u, udp: true, listen: "127.0.0.1:{p1}", target: "127.0.0.1:{t1}"'])
        w.start(prefix=prefix)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
            target.bind(("127.0.0.1", w.target_port(1)))
            udp.bind(("127.0.7.1", 0))
            udp.sendto(b"x", ("127.0.0.1", w.base + 1))
            wait_for("a flow", lambda: w.connections("u"))
        w.config([route], resolve_names="false")
        w.reload()
        s, _ = visit(w, "127.0.7.1")
        time.sleep(0.3)
        if names.asked or named(w, s):
            raise Failed(f"    asked: {names.asked}")
        s.close()
        w.config([route], resolve_names="true")
        w.reload()
        s, _ = visit(w, "127.0.7.1")
        wait_for("the name", lambda: named(w, s) == "client.example")
        s.close()


def greeting(w):
    try:
        with socket.create_connection(("127.0.0.1", w.base), 10) as s:
            return s.recv(64).decode()
    except ConnectionResetError:  # it may be there before connect() has looked
        return "reset"


@case("a target whose name moves is followed by the next connection; one that has no address any more is told and comes back")
def _(w):
    prefix = resolving(w)
    here, there = (Target(w.target_port(), lambda s, n=n: s.sendall(n), host=h) for n, h in ((b"one", "127.0.7.11"), (b"two", "127.0.7.12")))
    with here, there, NameServer({}, {"mail.example": ["127.0.7.11"]}) as names:
        w.config(['name: a, listen: "127.0.0.1:{p0}", target: "mail.example:{t0}"'], resolve_names="false")
        w.start(prefix=prefix)
        for address, answer in (("127.0.7.11", "one"), ("127.0.7.12", "two"), ("127.0.7.11", "one")):
            names.addresses["mail.example"] = [address]
            if (got := greeting(w)) != answer:
                raise Failed(f"    {got} at {address}")
        names.addresses["mail.example"] = ["127.0.7.13", "127.0.7.12"]  # nobody is at the first
        if (got := greeting(w)) != "two":
            raise Failed(f"    {got} by the second address")
        names.addresses["mail.example"] = []
        if (got := greeting(w)) != "reset":
            raise Failed(f"    {got} without an address")
        w.logged("relay.connection.failed", "could not resolve mail.example: the name has no address of this kind")
        names.addresses["mail.example"] = ["127.0.7.12"]
        wait_for("the name is asked for again", lambda: greeting(w) == "two")


if __name__ == "__main__":
    sys.exit(main(25100))
