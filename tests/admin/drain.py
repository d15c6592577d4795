# SPDX-License-Identifier: Apache-2.0
"""The end of a server that still has clients: no new ones, the old ones go on, until the last has gone
or the time is over."""
import subprocess
import sys
import time

from traffic import Traffic, wait_for
from turn_client import Client
from world import PATIENCE, Failed, case, main
from world import wait_for as until


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"    {what}: {got} instead of {wanted}")


def ends(server, seconds=PATIENCE):
    """By itself and cleanly, and not with the allocations, which live for ten minutes; returns how long it took."""
    began = time.monotonic()
    try:
        server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"    the server still runs after {seconds} s") from None
    server.ended = True
    server.said().exits(0)
    return time.monotonic() - began


@case("a drain refuses new allocations with 508, refreshes the old ones, and ends with the last of them")
def _(w):
    w.config(workers="2")
    s = w.start()
    with Client(w.port, "alice", "wonderland") as old, Client(w.port, "alice", "wonderland") as fresh:
        expect("an allocation", old.allocate(), 0)
        w.ask("turn", "drain").exits(0).says("makes no new allocations; it stops when the last of 1 has ended")
        expect("a new one", fresh.allocate(), 508)
        expect("a refresh", old.refresh(600), 0)
        expect("a permission", old.permit("127.0.0.1"), 0)
        w.ask("status").exits(0).says("draining, 1 allocation left; stops when nothing is left")
        rows = w.ask("status", "--json").exits(0).json()
        expect("status --json", (rows[0]["state"], rows[0]["drain_left_ms"], rows[0]["turn"]["draining"]), ("draining", -1, True))
        w.ask("turn", "why").exits(0).says("508", "the server drains")
        expect("the counter", w.metric("stile_turn_refusals_total", "draining"), 1)
        w.logged("turn.limit.draining")
        w.logged("service.draining")
        time.sleep(1)
        expect("still there", s.process.poll(), None)
        expect("the last refresh", old.refresh(0), 0)
    ends(s)
    w.logged("service.stopped")


@case("traffic goes on through a drain without a packet lost, and the server ends behind it")
def _(w):
    w.config(workers="2")
    s = w.start()
    loads = [Traffic(w, t, 5) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    w.ask("turn", "drain").exits(0).says("the last of 12 has ended")
    for load in loads:
        load.lost_nothing()
    ends(s)


@case("a drain ends at its deadline, whoever is still there, and another deadline may be set")
def _(w):
    w.config(tls=False)
    s = w.start()
    with Client(w.port, "alice", "wonderland") as c:
        expect("an allocation", c.allocate(), 0)
        w.ask("turn", "drain", "--deadline", "1h").exits(0).says("the last of 1 has ended, or in ")
        w.ask("status").exits(0).says("draining, 1 allocation left", "or in 59m")
        w.ask("turn", "drain", "--deadline", "soon").exits(2).says("--deadline must be a time")
        w.ask("turn", "drain", "--deadline", "1s").exits(0)
        ends(s)
    w.logged("service.drain-limit", "limit_ms=1000")
    w.logged("turn.alloc.ended", "user=alice")


@case("SIGTERM stops at once as installed; with turn.drain it waits so long, and a second one does not wait")
def _(w):
    w.config(tls=False)
    s = w.start()
    with Client(w.port, "alice", "wonderland") as c:
        expect("an allocation", c.allocate(), 0)
        s.process.terminate()
        took = ends(s)
        if took > 5:
            raise Failed(f"    turn.drain is 0, and yet the stop took {took:.1f} s")
    w.config(tls=False, drain="1h")
    s = w.start()
    with Client(w.port, "alice", "wonderland") as c, Client(w.port, "alice", "wonderland") as d:
        expect("an allocation", c.allocate(), 0)
        s.process.terminate()
        w.logged("service.stopping", "limit_ms=3600000")
        expect("a new one", d.allocate(), 508)
        expect("a refresh", c.refresh(600), 0)
        expect("still there", s.process.poll(), None)
        c.refresh(0)
        ends(s)
    s = w.start()
    with Client(w.port, "alice", "wonderland") as c:
        expect("an allocation", c.allocate(), 0)
        s.process.terminate()
        until("the third stop", lambda: w.log_text().count("service.stopping") == 3)  # two signals that come together are one
        expect("still there", s.process.poll(), None)
        s.process.terminate()
        s.process.wait(PATIENCE)
        s.ended = True
        s.said().exits(1)


@case("a stop during a drain waits for turn.drain at most, and a reload may change that")
def _(w):
    w.config(tls=False, drain="1h")
    s = w.start()
    with Client(w.port, "alice", "wonderland") as c:
        expect("an allocation", c.allocate(), 0)
        w.ask("turn", "drain").exits(0)
        w.config(tls=False, drain="500ms")
        w.ask("reload").exits(0).says("~turn.drain +1h → 500ms")
        w.ask("status").exits(0).says("draining, 1 allocation left")
        s.process.terminate()
        ends(s)
    w.logged("service.stopping", "limit_ms=500")


if __name__ == "__main__":
    sys.exit(main(25420))
