#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dialogs of sipp through stile-sip, end to end, over UDP, TCP and from one to the other: Record-Route, 100rel, re-INVITE,
CANCEL, refusals, MESSAGE, SUBSCRIBE with NOTIFY, PUBLISH; over a network that loses and doubles datagrams; and that what
one sender says in one call arrives in the order in which it was said. The scenarios are in sipp_scenarios.py."""
import random
import socket
import sys
import threading

from sip_world import Failed, case, listens, main, wait_for
from sipp_scenarios import CALLS, for_bad_networks

SIPP_TRANSPORT = {"udp": "u1", "tcp": "t1"}


class BadNetwork(threading.Thread):
    """Between proxy and callee: each datagram is lost or doubled by chance."""

    def __init__(self, port, callee):
        super().__init__(daemon=True)
        self.inside, self.outside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.inside.bind(("127.0.0.1", port))
        self.outside.bind(("127.0.0.1", port + 1))
        self.callee, self.proxy, self.lost, self.doubled, self.on = ("127.0.0.1", callee), None, 0, 0, True
        self.chance = random.Random(7)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.join()
        self.inside.close()
        self.outside.close()

    def run(self):
        for s in (self.inside, self.outside):
            s.settimeout(0.02)
        while self.on:
            for s, other in ((self.inside, self.outside), (self.outside, self.inside)):
                try:
                    data, source = s.recvfrom(65536)
                except OSError:
                    continue
                if s is self.inside:
                    self.proxy = source
                to, roll = self.callee if s is self.inside else self.proxy, self.chance.random()
                self.lost += roll < 0.05
                self.doubled += roll > 0.9
                for _ in range(0 if roll < 0.05 else 2 if roll > 0.9 else 1):
                    if to:
                        other.sendto(data, to)


def configure(w, port, transport="udp", host="127.0.0.1"):
    w.config(domains="[caller.test]", sources="{ unlimited: [127.0.0.0/8] }",
             routes=f"[ {{ domain: callee.test, host: {host}, port: {port}, transport: {transport} }} ]")
    w.start()


def converse(w, scenarios, transports, calls=20):
    """So many of these dialogs; the callee stands ready until the caller has made them all."""
    caller, callee = scenarios
    w.sipp(w.write("callee.xml", callee), "-p", w.other(), "-t", SIPP_TRANSPORT[transports[1]], background=True, seconds=120)
    wait_for("the callee listens", lambda: listens(w.other(), transports[1]))
    w.sipp(w.write("caller.xml", caller), "-p", w.other(4), "-t", SIPP_TRANSPORT[transports[0]], "-m", calls, "-r", 20, "-s", "bob",
           "-recv_timeout", 45000, target=f"127.0.0.1:{w.lan}", seconds=90)


def add_dialog(name, transports):
    @case(f"{name}, {transports[0]} to {transports[1]}")
    def _(w):
        configure(w, w.other(), transports[1])
        converse(w, CALLS[name], transports)
        if w.metric("stile_sip_strays_total", "ack") or w.metric("stile_sip_strays_total", "response"):
            raise Failed("    something found no transaction and no dialog")


def add_bad_network(name):
    @case(f"{name}, while datagrams are lost and doubled on the way to the callee")
    def _(w):
        configure(w, w.other(2))
        with BadNetwork(w.other(2), w.other()) as network:
            converse(w, for_bad_networks(CALLS[name]), ("udp", "udp"))
            if not network.lost or not network.doubled:
                raise Failed("    the bad network was good")


for dialog in CALLS:
    add_dialog(dialog, ("udp", "udp"))
    if dialog in ("a call", "SUBSCRIBE and NOTIFY"):
        add_dialog(dialog, ("tcp", "tcp"))
        add_dialog(dialog, ("udp", "tcp"))
for dialog in ("a call", "MESSAGE", "a busy callee"):
    add_bad_network(dialog)


@case("what one sender says in a call arrives in order, though the name of the next hop is looked up for each")
def _(w):
    n = 300
    configure(w, w.other(), "udp", "localhost")
    with w.udp() as caller, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as callee:
        callee.bind(("127.0.0.1", w.other()))
        callee.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        callee.settimeout(20)
        got, seen = [], set()

        def take(until):
            while len(got) < until:
                data, proxy = callee.recvfrom(65536)
                data = data.decode()
                callee.sendto(("SIP/2.0 200 OK\r\n" + data.split("\r\n", 1)[1].replace("bob@callee.test>", "bob@callee.test>;tag=b")).encode(),
                              proxy)
                cseq = int(data.split("CSeq: ")[1].split()[0])
                if cseq not in seen:  # not a repetition
                    seen.add(cseq)
                    got.append(cseq)

        for i in range(1, n + 1):
            caller.raw(caller.request("MESSAGE", "sip:bob@callee.test", From="<sip:a@caller.test>;tag=a", Call_ID="in-order",
                                      CSeq=f"{i} MESSAGE"))
            take(i - 24)  # a lane holds 32 at most, however slow the machine is
        take(n)
        if got != sorted(got):
            raise Failed(f"    out of order: {[c for c, d in zip(got, sorted(got)) if c != d][:10]}")


if __name__ == "__main__":
    sys.exit(main(27150))
