# SPDX-License-Identifier: Apache-2.0
"""Interfaces made, changed and removed while stile-sip runs: what cannot be served is refused with the reason; connections go
on; after a restart they are there again; and the public address of one behind a NAT, given or found by STUN and followed, over
UDP with its port."""
import select
import socket
import struct
import threading

from registering import register
from sip_world import Failed, SipWorld, Ua, case, main, wait_for


def row(w, name):
    return next((r for r in w.verb("sip.interface.list")["rows"] if r["name"] == name), None)


@case("an interface is added, answers, is switched off and on and removed; its connections go on; a restart keeps it")
def _(w):
    w.config(tls=True)
    server = w.start()
    port = w.other(5)
    name = f"tcp:127.0.0.1:{port}"
    w.ask("sip", "interface", "list").exits(0).says(f"tls:127.0.0.1:{w.base + 1}", "listening", "file")
    w.ask("sip", "interface", "add", name).exits(0).says("is listening")
    with Ua("tcp", ("127.0.0.1", port)) as ua:
        ping = {"From": "<sip:x@else.test>;tag=1"}
        if ua.ask("OPTIONS", "sip:uc.test", **ping).status != 200:
            raise Failed("    no answer")
        w.ask("sip", "interface", "list").exits(0).says(name, "listening", "store")
        w.ask("sip", "interface", "off", name).exits(0).says("connections go on")
        if row(w, name)["state"] != "switched off" or ua.ask("OPTIONS", "sip:uc.test", **ping).status != 200:
            raise Failed("    the connection is gone, or the state is wrong")
        try:
            Ua("tcp", ("127.0.0.1", port)).close()
            raise Failed("    it still listens")
        except ConnectionRefusedError:
            pass
        w.ask("sip", "interface", "on", name).exits(0)
        Ua("tcp", ("127.0.0.1", port)).close()
    server.stop()
    server = w.start()
    Ua("tcp", ("127.0.0.1", port)).close()
    w.ask("sip", "interface", "remove", name).exits(0).says("is removed")
    if row(w, name):
        raise Failed("    it is still shown")
    w.ask("sip", "interface", "remove", name).exits(1).says("there is no interface")


@case("what cannot be served is refused with the reason, and nothing is kept of it")
def _(w):
    w.config(tls=True)
    w.start()
    before = w.verb("sip.interface.list")["rows"]
    taken = socket.socket()
    taken.bind(("127.0.0.1", w.other(6)))
    taken.listen(1)

    def refused(text, *argv, status=1):
        w.ask("sip", "interface", "add", *argv).exits(status).says(text)
    refused("another program has this port", f"tcp:127.0.0.1:{w.other(6)}")
    refused("does not have that address", "tcp:192.0.2.77:5060")
    refused("has a listener already", f"tls:127.0.0.1:{w.base}")
    refused("none.pem", f"tls:127.0.0.1:{w.other(7)}", "--certificate", w.path("none.pem"), "--key", w.path("server.key"))
    w.certificate("another")
    refused("key", f"tls:127.0.0.1:{w.other(7)}", "--certificate", w.path("another.pem"), "--key", w.path("server.key"))
    super(SipWorld, w).certificate("old", valid=("20200101000000Z", "20200102000000Z"))
    refused("it expired on", f"tls:127.0.0.1:{w.other(7)}", "--certificate", w.path("old.pem"), "--key", w.path("old.key"))
    refused("must be a host", f"tcp:127.0.0.1:{w.other(7)}", "--advertise", "a b")
    refused("udp:, tcp:", "sctp:127.0.0.1:5060")
    w.ask("sip", "interface", "add", f"tcp:127.0.0.1:{w.other(8)}").exits(0)
    refused("has a listener already", f"tls:127.0.0.1:{w.other(8)}")
    w.ask("sip", "interface", "remove", f"tcp:127.0.0.1:{w.other(8)}").exits(0)
    taken.close()
    if w.verb("sip.interface.list")["rows"] != before:
        raise Failed("    something was kept")
    w.config(tls=True, certificate=None, key=None, listen=f'["udp:127.0.0.1:{w.base}"]')
    w.check().exits(0)
    w.reload()
    refused("TLS needs a certificate and its key", f"tls:127.0.0.1:{w.other(7)}")


@case("one of the store whose port is taken at the start waits with the reason, and the others are served")
def _(w):
    w.config()
    server = w.start()
    name = f"tcp:127.0.0.1:{w.other(5)}"
    w.ask("sip", "interface", "add", name).exits(0)
    server.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", w.other(5)))
        taken.listen(1)
        w.start()
        r = row(w, name)
        if r["state"] != "not served" or "another program" not in r["why"]:
            raise Failed(f"    {r}")
        Ua("tcp", ("127.0.0.1", w.base)).close()
    w.ask("sip", "interface", "on", name).exits(0)
    Ua("tcp", ("127.0.0.1", w.other(5))).close()


class Stun(threading.Thread):
    """A STUN server with two addresses and two ports (RFC 5780) that says of everybody that he is at self.address: the client
    sees a NAT that maps in one way and lets everybody in."""

    def __init__(self, ports, address, hosts=("127.0.0.1", "127.0.0.2")):
        super().__init__(daemon=True)
        self.address, self.shift, self.asked, self.ends = address, 0, 0, False  # shift: the ports outside are others by it
        self.socket = {}
        for host in hosts:
            for port in ports:
                s = self.socket[host, port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.bind((host, port))
                s.setblocking(False)

    @staticmethod
    def place(kind, host, port, key=b"\0\0\0\0"):
        ip = bytes(a ^ b for a, b in zip(socket.inet_aton(host), key))
        return struct.pack("!HHBBH", kind, 8, 0, 1, port ^ int.from_bytes(key[:2], "big")) + ip

    def other(self, at, host=True, port=True):
        return next(k for k in self.socket if (k[0] != at[0]) == host and (k[1] != at[1]) == port)

    def answer(self, at, data, peer):
        change = data.find(struct.pack("!HH", 3, 4), 20)
        flags = data[change + 7] if change >= 0 else 0
        by = self.other(at, bool(flags & 4), bool(flags & 2)) if flags & 6 else at
        value = (self.place(0x20, self.address, peer[1] + self.shift, b"\x21\x12\xa4\x42") + self.place(0x802b, *by)
                 + self.place(0x802c, *self.other(at)))
        self.socket[by].sendto(struct.pack("!HH", 0x101, len(value)) + data[4:20] + value, peer)

    def run(self):
        at = {s: k for k, s in self.socket.items()}
        while not self.ends:
            for s in select.select(list(at), [], [], 0.1)[0]:
                try:
                    data, peer = s.recvfrom(2048)
                    self.asked += 1
                    self.answer(at[s], data, peer)
                except OSError:
                    pass

    def stop(self):
        self.ends = True
        self.join(10)
        for s in self.socket.values():
            s.close()


def reaches(eve, bob, via):
    """What a stranger sends to bob comes to him, by this Via of ours."""
    eve.raw(eve.request("MESSAGE", "sip:bob@uc.test", From="<sip:eve@evil.test>;tag=e"))
    m = bob.expect("MESSAGE")
    bob.reply(m, 200)
    if not m.get("Via").startswith(f"SIP/2.0/{via};"):
        raise Failed(f"    {m.get('Via')}")


@case("the public address of an interface is given, or found by STUN, used in Via, and followed when it changes")
def _(w):
    stun = Stun((w.other(9), w.other(10)), "203.0.113.5")
    stun.start()
    w.config(users="[ { name: bob, password: hush } ]")
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write(f'stun_servers: ["127.0.0.1:{w.other(9)}"]\n')
    w.start()
    name = f"tcp:127.0.0.1:{w.other(5)}"
    w.ask("sip", "interface", "add", name, "--advertise", "sip.uc.test").exits(0)
    if row(w, name)["public"] != "sip.uc.test":
        raise Failed(f"    {row(w, name)}")
    w.ask("sip", "interface", "set", name, "--advertise", "auto").exits(0)
    wait_for("it is the one that STUN says", lambda: row(w, name)["public"] == f"203.0.113.5:{w.other(5)}")
    with Ua("tcp", ("127.0.0.1", w.other(5))) as bob, w.udp(lan=False) as eve:
        register(bob, "bob", "hush")
        for address in ("203.0.113.5", "203.0.113.9"):
            stun.address = address
            w.ask("sip", "interface", "detect").exits(0).says("203.0.113.")
            wait_for("the new one is known", lambda a=address: row(w, name)["public"] == f"{a}:{w.other(5)}")
            reaches(eve, bob, f"TCP {address}:{w.other(5)}")
    w.logged("sip.public.address", "203.0.113.9")
    w.ask("sip", "interface", "set", name, "--advertise", "").exits(0)
    if row(w, name)["public"]:
        raise Failed("    it is still known by another name")
    stun.stop()


@case("determine says by what address one of ours is seen and what NAT that is, changes nothing, and says why it cannot tell")
def _(w):
    stun = Stun((w.other(9), w.other(10)), "203.0.113.5")
    stun.start()
    w.config()
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write(f'stun_servers: ["127.0.0.1:{w.other(9)}"]\n')
    w.start()
    before = w.verb("sip.interface.list")["rows"]
    w.ask("sip", "interface", "determine", "127.0.0.1").exits(0).says("203.0.113.5", f"127.0.0.1:{w.other(9)}", "NAT", "means")
    w.ask("sip", "interface", "determine", "nonsense").exits(1).says("must be one of this machine's addresses")
    w.ask("sip", "interface", "determine", "192.0.2.77").exits(1).says("why not")
    if w.verb("sip.interface.list")["rows"] != before:
        raise Failed("    something has changed")
    stun.stop()


@case("what is not protected outside a LAN is warned of: an interface by its address, a route by its gateway's")
def _(w):
    w.config(listen=f'["udp:0.0.0.0:{w.base}", "tcp:127.0.0.1:{w.base}", "tls:0.0.0.0:{w.other(5)}"]', certificate="server.pem", key="server.key",
             ca="ca.pem", routes="[ { domain: near.test, host: 10.1.2.3, transport: udp }, { domain: far.test, host: 198.51.100.7, transport: tcp }, "
                                 "{ domain: known.test, host: 198.51.100.7, transport: tls, trusted: true }, "
                                 "{ domain: here.test, host: localhost, transport: tcp, trusted: true } ]")
    w.certificate()
    w.start()
    warned = {r["name"]: r["warn"] for r in w.verb("sip.interface.list")["rows"]}
    if warned[f"udp:0.0.0.0:{w.base}"] != "not-protected" or [v for v in warned.values() if v] != ["not-protected"]:
        raise Failed(f"    {warned}")

    def routes():
        return {r["domain"]: r["warn"] for r in w.verb("sip.route.list")["rows"]}
    wait_for("the gateways' addresses are known", lambda: routes() == {
        "near.test": "", "far.test": "not-protected", "known.test": "trusted-by-address", "here.test": ""})
    w.ask("sip", "interface", "list").exits(0).says("not-protected")


@case("the port that a router gives a UDP interface is found from its own socket, used in Via, and followed; one that is given stays")
def _(w):
    stun = Stun((w.other(9), w.other(10)), "203.0.113.5")
    stun.shift = 1000
    stun.start()
    port, given = w.other(5), w.other(6)
    w.config(interfaces=f'[ {{ listen: "udp:127.0.0.1:{port}", advertise: auto }}, {{ listen: "udp:127.0.0.1:{given}", advertise: "auto:5060" }} ]',
             users="[ { name: bob, password: hush } ]")
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write(f'stun_servers: ["127.0.0.1:{w.other(9)}"]\n')
    w.start()
    name = f"udp:127.0.0.1:{port}"
    wait_for("the port is known", lambda: row(w, name)["public"] == f"203.0.113.5:{port + 1000}")
    wait_for("the given one is kept", lambda: row(w, f"udp:127.0.0.1:{given}")["public"] == "203.0.113.5:5060")
    wait_for("another port is told of", lambda: "another port" in row(w, name)["why"])
    w.logged("sip.public.port", str(port + 1000))
    with Ua("udp", ("127.0.0.1", port)) as bob, w.udp(lan=False) as eve:
        register(bob, "bob", "hush")
        for shift in (1000, 2000):
            stun.shift = shift
            w.ask("sip", "interface", "detect").exits(0)
            wait_for("the new port is known", lambda s=shift: row(w, name)["public"] == f"203.0.113.5:{port + s}")
            reaches(eve, bob, f"UDP 203.0.113.5:{port + shift}")
        forged = b"\x01\x01\0\x0c\x21\x12\xa4\x42" + bytes(12) + Stun.place(0x20, "198.51.100.9", 9, b"\x21\x12\xa4\x42")
        bob.raw(forged)  # an answer that was not asked for
        bob.ask("OPTIONS", "sip:uc.test", From="<sip:x@else.test>;tag=1")
        if row(w, name)["public"] != f"203.0.113.5:{port + 2000}":
            raise Failed("    a stranger's answer was believed")
    stun.stop()


if __name__ == "__main__":
    raise SystemExit(main(29000))
