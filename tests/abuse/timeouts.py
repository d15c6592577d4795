# SPDX-License-Identifier: Apache-2.0
"""Clients that keep the server waiting. All of them at once, because the case mostly waits: a TLS handshake has
ten seconds, a connection without an allocation thirty."""
import contextlib
import time

import stunwire as wire
from handshakes import half_dtls_handshake, tls_client_hello
from world import PASSWORD, USER, Failed, Watch, counter, wait_for

HANDSHAKE_S, UNUSED_S, LATE_S = 10, 30, 6
TLS_CLIENTS, DTLS_CLIENTS, TCP_CLIENTS = 200, 50, 20
# ASan's allocator keeps what 250 sessions gave back, and malloc_trim() (turn/trim.c) is not for it; that no
# session is left behind says its leak check at the end.
ASAN_TLS_KB = 24 << 10


def everything_that_waits(server):
    hello = tls_client_hello()
    half = wire.message(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)])[:24]
    least = {"drops.connection_failed": TLS_CLIENTS + DTLS_CLIENTS, "drops.connection_unused": TCP_CLIENTS}
    with Watch(server, least, settle=2 * LATE_S, slack_kb=ASAN_TLS_KB if server.asan else 0) as watch, contextlib.ExitStack() as held:
        keep = held.enter_context
        began = time.monotonic()
        for i in range(TLS_CLIENTS):  # silent, with half a ClientHello, or with all of it but no more
            s = keep(wire.dial(server.tls_port, source=f"127.0.1.{i % 100 + 1}"))
            s.sendall(hello[:(0, 100, len(hello))[i % 3]])
        for i in range(DTLS_CLIENTS):
            keep(half_dtls_handshake(server, f"127.0.2.{i + 1}"))
        silent = [keep(wire.dial(server.port)) for _ in range(TCP_CLIENTS)]
        for i, s in enumerate(silent):
            s.sendall((half, b"", half[:3], wire.message(wire.BINDING))[i % 4])
        tls = keep(wire.dial(server.tls_port, tls=True))
        held_now = server.status()["connections"] - watch.held["connections"]
        if held_now < TLS_CLIENTS + DTLS_CLIENTS + TCP_CLIENTS:
            raise Failed(f"only {held_now} connections are held to begin with")
        # The handshakes end at their time; who finished one, or needs none, stays.
        moved = lambda name: counter(server.counters(), name) - counter(watch.counters, name)  # noqa: E731
        wait_for("the end of all unfinished handshakes", lambda: moved("drops.connection_failed") >= TLS_CLIENTS + DTLS_CLIENTS,
                 HANDSHAKE_S + LATE_S - (time.monotonic() - began), 0.2)
        tls.sendall(wire.message(wire.BINDING))
        if wire.parse(tls.recv(2048))[0] != wire.BINDING | wire.SUCCESS:
            raise Failed("a TLS client that finished its handshake is not served beside the others")
        # An allocation on a connection made before its time is up keeps it open.
        used = wire.Client(USER, PASSWORD, server.port, silent.pop(1))
        used.allocate()
        wait_for("the end of all unused connections", lambda: moved("drops.connection_unused") >= TCP_CLIENTS,
                 UNUSED_S + LATE_S - (time.monotonic() - began), 0.2)
        took = time.monotonic() - began
        if took < UNUSED_S - 2:
            raise Failed(f"unused connections were closed after {took:.1f} s already")
        for s in silent:
            s.settimeout(1)
            while s.recv(2048):
                pass
        if used.release():
            raise Failed("the connection that holds an allocation was closed with the unused ones")
    return f"{held_now} connections, all gone after {took:.1f} s; {watch.note}"


def matrix():
    yield "handshakes that never end and connections nobody uses are closed in time", True, everything_that_waits
