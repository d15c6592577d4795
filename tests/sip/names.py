# SPDX-License-Identifier: Apache-2.0
"""stile-sip with a real name server (nsd): NAPTR, SRV with priorities and weights, addresses; a place that dies, comes
back, never was; an answer that changes when its time is over. In a network namespace of its own, where /etc/resolv.conf
can be ours: root only."""
import os
import select
import socket
import time

from name_server import HEAD, NameServer, inside
from sip_world import Failed, Listening, Message, Ua, case, main, wait_for

ZONE = HEAD + """b IN A 127.0.0.1
six IN AAAA ::1
naptr IN NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.naptr
naptr IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.naptr
_sip._udp.naptr IN SRV 10 0 {o0} a
_sip._udp.two IN SRV 10 0 {o0} a
_sip._udp.two IN SRV 20 0 {o1} b
_sip._udp.even IN SRV 10 50 {o0} a
_sip._udp.even IN SRV 10 50 {o1} b
_sip._udp.moves 1 IN SRV 10 0 {o0} a
_sip._udp.none IN SRV 0 0 0 .
_sip._tcp.slow IN SRV 10 0 {o3} a
_sip._tcp.slow IN SRV 20 0 {o4} b
"""


def listens(w, i):
    return Ua("udp", None, ("127.0.0.1", w.other(i)))


def routes(*domains):
    return "[ " + ", ".join(f"{{ domain: {d}, host: {d}, transport: udp }}" for d in domains) + " ]"


def answered(w, alice, ua, domain):
    """A MESSAGE to that domain arrives there and is answered; how long it took."""
    began = time.monotonic()
    alice.raw(alice.request("MESSAGE", f"sip:bob@{domain}", body="x"))
    m = ua.expect("MESSAGE")
    took = time.monotonic() - began
    ua.reply(m, 200)
    alice.expect(status=200)
    return took


@case("stile test sip walks NAPTR, SRV and addresses of a real name server")
def _(w):
    with NameServer(w, ZONE):
        w.config(listen=f'["udp:127.0.0.1:{w.other(0)}"]', routes=None, domains="[naptr.test]")
        w.start()
        w.stile("test", "sip", "sip:naptr.test").exits(0).says("places", f"udp:127.0.0.1:{w.other(0)}", "✔", "udp", "200 OK")
        w.stile("test", "sip", "sip:none.test").exits(1).says("no SIP there")
        w.stile("test", "sip", "sip:nowhere.test").exits(1).says("the name does not exist")


@case("a place that is not there is gone by within a second, and is tried behind the others from then on")
def _(w):
    with NameServer(w, ZONE):
        w.config(routes=routes("two.test"))
        w.start()
        with w.udp() as alice, listens(w, 1) as second:
            took = [answered(w, alice, second, "two.test") for _i in range(4)]
            print("  (" + ", ".join(f"{t * 1000:.0f} ms" for t in took) + ")")
            if took[0] > 3:
                raise Failed(f"    {took}")
            if not w.verb("sip.health")["rows"]:
                raise Failed("    nothing is remembered")
            with listens(w, 0) as first:
                wait_for("the first one is tried again", lambda: tried(w, alice, first, second, "two.test"))


class Deaf:
    """A TCP port whose queue is full: who connects hears nothing at all, as from a machine that is off."""

    def __init__(self, port):
        self.sockets = [socket.socket()]
        self.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sockets[0].bind(("127.0.0.1", port))
        self.sockets[0].listen(0)
        for _i in range(3):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            self.sockets.append(s)
        time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


@case("a place to which no TCP connection comes about is given up within a second, and nothing arrives twice")
def _(w):
    with NameServer(w, ZONE), Deaf(w.other(3)), Listening(w.other(4)) as second:
        w.config(routes="[ { domain: slow.test, host: slow.test, transport: tcp } ]", limits="{ connect: 60s }")
        w.start()
        with w.udp() as alice:
            began = time.monotonic()
            alice.raw(alice.request("MESSAGE", "sip:bob@slow.test", body="x"))
            with second.accept() as b:
                m = b.expect("MESSAGE")
                took = time.monotonic() - began
                b.reply(m, 200)
                alice.expect(status=200)
                print(f"  ({took * 1000:.0f} ms)")
                if not 0.7 < took < 20:  # 0.8 s; the connection itself has a minute
                    raise Failed(f"    {took}")
                if b.next(1):
                    raise Failed("    it came twice")
        wait_for("it is remembered", lambda: any(str(w.other(3)) in r["address"] for r in w.verb("sip.health")["rows"]))


def tried(w, alice, first, second, domain):
    """Did it arrive at the first of two?"""
    data = alice.request("MESSAGE", f"sip:bob@{domain}", body="x")
    alice.raw(data)
    while True:
        ready, _, _ = select.select([first.s, second.s], [], [], 15)
        if not ready:
            raise Failed("    it arrived at neither")
        ua = first if first.s in ready else second
        m = ua.next(0.05)
        if not m:
            continue  # it was a repetition
        ua.reply(m, 200)
        if m.get("Call-ID") == Message(data).get("Call-ID"):
            alice.final(m.get("Call-ID"))
            return ua is first


@case("weights share the work, and each of two is used")
def _(w):
    with NameServer(w, ZONE):
        w.config(routes=routes("even.test"))
        w.start()
        got = [0, 0]
        with w.udp() as alice, listens(w, 0) as first, listens(w, 1) as second:
            for _i in range(40):
                got[not tried(w, alice, first, second, "even.test")] += 1
        if min(got) < 5:
            raise Failed(f"    {got}")


@case("a change in the DNS is seen when the old answer's time is over, and a dead name server hurts nobody until then")
def _(w):
    with NameServer(w, ZONE) as names:
        w.config(routes=routes("moves.test", "two.test"))
        w.start()
        with w.udp() as alice, listens(w, 0) as first, listens(w, 2) as third:
            answered(w, alice, first, "moves.test")
            answered(w, alice, first, "two.test")
            names.stop()
            answered(w, alice, first, "two.test")
            names.write(ZONE.replace("_sip._udp.moves 1 IN SRV 10 0 {o0} a", "_sip._udp.moves 1 IN SRV 10 0 {o2} a"))
            names.start()
            time.sleep(1.2)
            answered(w, alice, third, "moves.test")


@case("a name that does not exist, has no SIP or no answer is refused with the reason in the log")
def _(w):
    with NameServer(w, ZONE):
        w.config(routes=routes("nowhere.test", "none.test"))
        w.start()
        with w.udp() as alice:
            for domain in ("nowhere.test", "none.test"):
                got = alice.ask("MESSAGE", f"sip:bob@{domain}")
                if got.status < 400:
                    raise Failed(f"    {got.start}")
        w.logged("sip.refused", "nowhere.test")


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    raise SystemExit(main(27450))
