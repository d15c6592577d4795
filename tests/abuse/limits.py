# SPDX-License-Identifier: Apache-2.0
"""More connections than allowed, and fewer descriptors than wanted: the new are refused, the old are kept."""
import contextlib

import stunwire as wire
from streams import closed
from world import PASSWORD, USER, Failed, Watch, wait_for

PER_ADDRESS, TOTAL = 20, 30  # as tests/abuse/run sets them


def count_open(sockets):
    """Those that answer a Binding request; who was refused is closed by the server."""
    answered = 0
    for s in sockets:
        try:
            s.sendall(wire.message(wire.BINDING))
            answered += bool(s.recv(2048))
        except OSError:
            pass
    return answered


def dial_many(held, server, n, source):
    return [held.enter_context(wire.dial(server.port, source=source)) for _ in range(n)]


def per_address(server):
    with Watch(server, {"drops.connection_limit": 10}) as watch, contextlib.ExitStack() as held:
        old = wire.Client(USER, PASSWORD, server.port, held.enter_context(wire.dial(server.port, source="127.0.3.1")))
        old.allocate()
        many = dial_many(held, server, PER_ADDRESS + 9, "127.0.3.1")
        served = count_open(many)
        if served != PER_ADDRESS - 1:
            raise Failed(f"{served + 1} connections of one address are served, allowed are {PER_ADDRESS}")
        if count_open(dial_many(held, server, 1, "127.0.3.2")) != 1:
            raise Failed("another address is refused, too")
        if old.request(wire.REFRESH)[0]:
            raise Failed("the old connection's allocation is gone")
        for s in many:
            s.close()
        wait_for("room after the others have gone", lambda: count_open(dial_many(held, server, 1, "127.0.3.1")) == 1)
        old.release()
    return watch.note


def in_total(server):
    with Watch(server, {"drops.connection_limit": 10}) as watch, contextlib.ExitStack() as held:
        sockets = [s for i in range(8) for s in dial_many(held, server, 5, f"127.0.4.{i + 1}")]
        served = count_open(sockets)
        if served != TOTAL:
            raise Failed(f"{served} connections are served, allowed are {TOTAL}")
        refused = [s for s in sockets if closed(s, 0.02)]
        if len(refused) != 10:
            raise Failed(f"{len(refused)} of 10 refused connections are closed")
    return watch.note


def out_of_descriptors(server):
    """The echo client's connection and allocation stay; what is new waits or is refused, until there is room."""
    with Watch(server, {"refusals.resources": 1}) as watch, contextlib.ExitStack() as held:
        many = dial_many(held, server, 80, "127.0.5.1")
        wait_for("the last descriptor", lambda: server.descriptors_open() >= server.descriptors)
        with wire.Client(USER, PASSWORD, server.port) as late:
            def refused():
                code, _ = late.request(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)])
                if code == 0:
                    late.release()  # the descriptor of a control connection that has just ended
                return code == 508
            wait_for("508 for an Allocate without a descriptor left", refused, step=0.15)  # accepting goes on after 0.1 s
            sent, lost, _ = server.echoes[0].ask()
            if lost or not sent:
                raise Failed(f"the old client lost {lost} of {sent} packets")
            for s in many:
                s.close()
            wait_for("an allocation after there is room again", lambda: not late.request(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)])[0])
            late.release()
    if b"turn.accept.failed" not in server.log_text():
        raise Failed("the log does not say that connections could not be accepted")
    return watch.note


class connections:  # noqa: N801 - a group of cases, as a module would be
    @staticmethod
    def matrix():
        yield "connections over the limit of an address are refused", True, per_address
        yield "connections over the limit in total are refused", True, in_total


class descriptors:  # noqa: N801
    @staticmethod
    def matrix():
        yield "without descriptors the new is refused, the old kept, and it recovers", True, out_of_descriptors
