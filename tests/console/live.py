# SPDX-License-Identifier: Apache-2.0
"""Live data: one stream of events for each page, its resume, what is lost, two hundred of them, and their end."""
import socket
import sys
import threading
import time

from console_world import Failed, Stream, case, main, wait_for
import world  # of tests/admin


@case("a page is told what happens, and goes on where it was")
def _(w):
    w.console()
    alice = w.first()
    with Stream(alice, "console:services,console:load") as s:
        if s.status != 200 or s.r.headers["Content-Type"] != "text/event-stream":
            raise Failed(f"    {s.status}")
        event, data = s.next()
        if event != "hello" or data["restarted"]:
            raise Failed(f"    {event} {data}")
        turn = w.turn()
        s.until("console:services", lambda d: d["service"] == "turn" and d["state"] == "running")
        s.until("console:load")
        last = s.last
    # Away, and back: what has happened meanwhile comes first.
    turn.stop()
    w.reached(alice, "turn", "stopped")
    with Stream(alice, "console:services", last) as s:
        if s.next()[1]["restarted"]:
            raise Failed("    it is the same console")
        s.until("console:services", lambda d: d["service"] == "turn" and d["state"] == "stopped")
    with Stream(alice, "console:services", "1234.5") as s:
        if not s.next()[1]["restarted"]:
            raise Failed("    an id of another console is taken")
    for bad in ("x", "x.y", "-1.-1", "ffffffffffffffffffffffff.1"):
        with Stream(alice, "console:services", bad) as s:
            s.next()


@case("a stream ends with the token that opened it: removed, or its time over")
def _(w):
    w.console()
    alice = w.first()

    def looking(**more):
        got = alice.post("/api/v1/tokens", {"name": "screen", "role": "viewer", "scope": ["read"], **more}).is_(201).json
        return Stream(w.client(token=got["token"]), "console:services"), got["id"]

    def looking_shortly():
        """Its token ends soon; where it was over before the stream began, another one lives longer."""
        for seconds in (1, 4, 16):
            s, _ = looking(expires_in_s=seconds)
            if s.status == 200:
                return s
            s.close()
        raise Failed("    no stream with a token that ends")

    def ended(s, how):
        patience = time.monotonic() + 40
        while s.r.readline():
            if time.monotonic() > patience:
                raise Failed(f"    the stream goes on: {how}")
    with looking()[0] as kept, looking_shortly() as short:
        for s in (kept, short):
            s.until("hello")
        removed, its_id = looking()
        with removed:
            removed.until("hello")
            alice.delete("/api/v1/tokens/" + its_id).is_(200)
            ended(removed, "its token was removed")
        ended(short, "the time of its token is over")
        w.turn()
        kept.until("console:services")


@case("events of a service come through, those that nobody asked for do not")
def _(w):
    w.console()
    alice = w.first()
    w.turn()
    w.reached(alice, "turn")
    with Stream(alice, "console:system") as s:
        got = s.until("console:system")
        if got["cores"] < 1:
            raise Failed(f"    {got}")
    with Stream(alice, "*:services") as s:
        s.next()
        w.turn(instance="lab", listen=f'["udp:127.0.0.1:{w.base + 4}"]')
        event, data = s.next()
        while data["service"] != "turn@lab":
            event, data = s.next()
        if event != "console:services":
            raise Failed(f"    {event}")


@case("a verb's progress comes as it happens: the bytes of a connection, until it ends or nobody looks on")
def _(w):
    w.console()
    alice = w.first()
    vera = w.user(alice, "vera", "viewer")
    w.write("stile.yaml", f"log: {{ dir: {w.path('log')} }}\nstore: {{ path: {w.path('store')} }}\ntunnel: {{ workers: 1, routes: "
            f"[ {{ listen: \"127.0.0.1:{w.base + 5}\", target: \"127.0.0.1:{w.base + 6}\" }} ] }}\n")
    w.beside(world.TUNNEL, "stile-tunnel")
    w.reached(alice, "tunnel")
    wait_for("the verbs", lambda: alice.get("/api/v1/services/tunnel/verbs").status == 200)
    target = socket.create_server(("127.0.0.1", w.base + 6))
    with target, socket.create_connection(("127.0.0.1", w.base + 5), timeout=20) as c:
        there, _ = target.accept()
        rows = wait_for("the connection", lambda: alice.get("/api/v1/services/tunnel/verbs/relay.connections").is_(200).json["rows"])
        watch = "/api/v1/services/tunnel/verbs/relay.watch"
        vera.post(watch, {"id": rows[0]["id"]}).is_(403, "forbidden")
        with Stream(alice, None, flow=(watch, {"id": rows[0]["id"]})) as s, Stream(alice, None, flow=(watch, {"id": rows[0]["id"]})):
            seen = threading.Event()

            def talk():  # a watch begins some time after it was asked for: what went before is not in it
                while not seen.wait(0.2):
                    c.sendall(b"<script>hello</script>")
                    there.recv(100)
            talker = threading.Thread(target=talk)
            talker.start()
            try:
                got = s.next()
            finally:
                seen.set()
                talker.join()
            if got[0] != "progress":
                raise Failed(f"    {got}")
            there.close()
            c.close()
            while got and got[0] == "progress":
                got = s.next()
            if got[0] != "result" or s.next() is not None:
                raise Failed(f"    {got}")
    alice.post(watch, {"id": 999999}).is_(404, "not-found")
    with Stream(alice, None, flow=(watch, {"id": 999999})) as s:
        event, data = s.next()
        if event != "error" or data["code"] != "not-found":
            raise Failed(f"    {event} {data}")


@case("two hundred streams are open, one more than allowed is refused, and each gets every event")
def _(w):
    w.console(streams=200, connections=1000)
    alice = w.first()
    streams = [Stream(alice, "console:load") for _ in range(200)]
    try:
        for s in streams:
            if s.status != 200:
                raise Failed(f"    {s.status}")
        with Stream(alice, "console:load") as one_more:
            if one_more.status != 503 or int(one_more.r.headers["Retry-After"]) < 1:
                raise Failed(f"    {one_more.status}")
        points = [s.until("console:load")["at"] for s in streams]
        wait = max(points)
        again = [s.until("console:load", lambda d: d["at"] >= wait)["at"] for s in streams]
        if len(set(again)) > 2:
            raise Failed(f"    {sorted(set(again))}")
        if w.verb("console.status")["streams"] != 200:
            raise Failed("    they are counted wrong")
        alice.get("/api/v1/services").is_(200)
    finally:
        for s in streams:
            s.close()
    wait_for("their end", lambda: w.verb("console.status")["streams"] == 0)


@case("streams end with their session, and a stop of the console does not wait for them")
def _(w):
    server = w.console()
    alice = w.first()
    bob = w.user(alice, "bob", "viewer")
    with Stream(bob, "console:services") as s, Stream(alice, "console:services") as stays:
        s.next()
        stays.next()
        alice.delete("/api/v1/users/bob").is_(200)
        while s.next():
            pass
        began = time.monotonic()
        server.stop()
        if time.monotonic() - began > 14:
            raise Failed("    the stop took long")
        while stays.next():
            pass


if __name__ == "__main__":
    sys.exit(main(30300))
