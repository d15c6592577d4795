#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A link between two real agents whose direct path dies and comes back while bytes flow over it: all of them are compared, in both
directions, beside an interactive stream, and the gaps are shown. Also: another address in mid-transfer, the child killed, a reader that
stalls, UDP, a server's quotas, two servers, idle time. Root.

  tests/netns/direct_moves.py --build build           # the short form, as ./check does: 30 MB, four changes
  tests/netns/direct_moves.py --build build --full    # 1 GB, ten changes; 70 s idle
  tests/netns/direct_moves.py --build build --only killed

Exit 77 where namespaces are not permitted."""
import hashlib
import os
import random
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from direct_lab import DIRECT, DirectLab  # noqa: E402
from lab import Failed, Skipped  # noqa: E402
from nat_world import SKIP, options  # noqa: E402
from tunnel_lab import Target, UdpEcho, echo, wait_for  # noqa: E402

MB, BLOCK = 1 << 20, 1 << 16
ECHO, OTHER = 7, 8
VISITS = {ECHO: 20007, OTHER: 20008}
LINE = {"delay": 5, "rate": 60, "queue": 250000, "loss": 0.1}
LEGS = {"delay": 8, "rate": 40, "queue": 250000}
HISTOGRAM_MS = (10, 30, 100, 300, 600, 900, 2000)
RELAY_MB, RELAY_MBIT = 8, 24
LATE_S = 120  # a busy machine is no fault


class Bulk:
    """Bytes there and back, each block another one, until it is told to end; what comes back is compared."""

    def __init__(self, lab, port=ECHO):
        with lab.inside("home"):
            self.socket = socket.create_connection(("127.0.0.1", VISITS[port]), timeout=LATE_S)
        self.sent, self.got, self.back, self.ending = hashlib.sha256(), hashlib.sha256(), 0, threading.Event()
        self.least, self.stamps, self.wrong = 0, [], None
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.send, self.receive)]
        for t in self.threads:
            t.start()

    def send(self):
        r = random.Random(1)
        n = 0
        try:
            while n < self.least or not self.ending.is_set():
                part = n.to_bytes(8, "big") + r.randbytes(BLOCK - 8)
                self.sent.update(part)
                self.socket.sendall(part)
                n += len(part)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as e:
            self.wrong = f"after {n} bytes sent: {e}"

    def receive(self):
        try:
            while data := self.socket.recv(1 << 18):
                self.got.update(data)
                self.back += len(data)
                self.stamps.append(time.monotonic())
        except OSError as e:
            self.wrong = f"after {self.back} bytes received: {e}"

    def until(self, n):
        wait_for(f"{n} bytes have come back", lambda: self.wrong or self.back >= n, LATE_S)
        if self.wrong:
            raise Failed(self.wrong)

    def finish(self):
        """Both directions are the same, to the last byte."""
        self.ending.set()
        for t in self.threads:
            t.join(LATE_S + 20 * self.least / (10 * MB))
            if t.is_alive():
                raise Failed(f"the transfer does not end: {self.back} bytes are back")
        self.socket.close()
        if self.wrong or self.got.digest() != self.sent.digest():
            raise Failed(self.wrong or "other bytes came back than were sent")
        return self.back


class Talk:
    """A key stroke each 20 ms, and its echo; how long each took."""

    def __init__(self, lab):
        with lab.inside("home"):
            self.socket = socket.create_connection(("127.0.0.1", VISITS[ECHO]), timeout=LATE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.times, self.ending, self.wrong = [], threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        try:
            while not self.ending.is_set():
                said = b"%08d\n" % number
                began = time.monotonic()
                self.socket.sendall(said)
                heard = b""
                while len(heard) < len(said):
                    part = self.socket.recv(len(said) - len(heard))
                    if not part:
                        raise OSError("the connection ended")
                    heard += part
                if heard != said:
                    raise OSError(f"{heard} came back for {said}")
                self.times.append(time.monotonic() - began)
                number += 1
                time.sleep(max(0, 0.02 - (time.monotonic() - began)))
        except OSError as e:
            self.wrong = f"the interactive stream after {number} lines: {e}"

    def finish(self):
        self.ending.set()
        self.thread.join(LATE_S)
        self.socket.close()
        if self.wrong or self.thread.is_alive():
            raise Failed(self.wrong or "the interactive stream hangs")


def histogram(title, gaps_ms):
    """Lines of a histogram; the last row is open."""
    print(f"# {title}")
    low = 0
    for high in (*HISTOGRAM_MS, None):
        n = sum(low <= g and (high is None or g < high) for g in gaps_ms)
        if n:
            print(f"#   {low:5d} to {high if high else '':5} ms  {n:6d} {'*' * min(60, n)}")
        low = high


def gap_around(stamps, moment):
    """The longest time without a byte in the seconds after a moment."""
    near = [t for t in stamps if moment - 0.2 <= t <= moment + 4]
    return max((b - a for a, b in zip(near, near[1:])), default=4.0) * 1000


def moves(lab, n_bytes, n_moves):
    """n_bytes and an interactive stream through forced path changes."""
    lab.until_path("direct")
    wait_for("the relay stands by", lambda: any(p["path"] == "relay" and p["rtt_us"] for p in lab.home.link("direct").get("paths", [])))
    bulk, talk = Bulk(lab), Talk(lab)
    bulk.least = n_bytes
    changed = []
    for i in range(n_moves):
        bulk.until(n_bytes * (i + 1) // (n_moves + 2))
        moment = time.monotonic()
        if i % 2 == 0:
            lab.cut()
        else:
            lab.mend()
        lab.until_path("direct" if i % 2 else "relay", LATE_S)
        bulk.until(bulk.back + BLOCK)  # it goes on
        changed.append((moment, i % 2 == 0))
    back = bulk.finish()
    talk.finish()
    wait_for(f"{n_moves} moves are told", lambda: (r := lab.home.link()) and r["moves"] >= n_moves, LATE_S)
    histogram("gaps of the bulk stream, away from a dead path", [gap_around(bulk.stamps, t) for t, down in changed if down])
    histogram("gaps of the bulk stream, to the direct path", [gap_around(bulk.stamps, t) for t, down in changed if not down])
    histogram("round trips of the interactive stream", [1000 * t for t in talk.times])
    worst = max(gap_around(bulk.stamps, t) for t, down in changed if down)
    return (f"{back / MB:.0f} MB there and back the same, {n_moves} changes, longest gap {worst:.0f} ms; "
            f"{len(talk.times)} lines, slowest {1000 * max(talk.times):.0f} ms")


def address_change(lab):
    """Home's address on the direct line becomes another one in mid-transfer."""
    lab.until_path("direct")
    bulk = Bulk(lab)
    bulk.until(4 * MB)
    new = "10.99.0.7"
    lab.at("site", "ip", "route", "add", new, "dev", "wire0")
    lab.at("home", "ip", "address", "add", f"{new}/32", "dev", "wire0")
    lab.at("home", "ip", "address", "del", DIRECT["home"], "dev", "wire0")
    lab.at("home", "ip", "route", "replace", DIRECT["site"], "dev", "wire0", "src", new)
    wait_for("the link is direct from the new address", lambda: (r := lab.home.link("direct")) and r["local"].startswith(new + ":"), LATE_S)
    bulk.until(bulk.back + 4 * MB)
    return f"{bulk.finish() / MB:.0f} MB there and back the same"


def killed(lab, rounds):
    """The child of either side is killed at any moment: the agent lives, the next connection goes."""
    r = random.Random(5)
    for i in range(rounds):
        agent = (lab.home, lab.site)[i % 2]
        before, starts = agent.child_pid(), agent.verb("agent.peers")["child"]["starts"]
        with lab.inside("home"), socket.create_connection(("127.0.0.1", VISITS[ECHO]), timeout=LATE_S) as s:
            s.sendall(b"before")
            time.sleep(r.uniform(0, 0.3))
            os.kill(before, signal.SIGKILL)
            moment = time.monotonic()
            wait_for("another child", lambda: agent.verb("agent.peers")["child"]["starts"] > starts and agent.child_pid() not in (0, before))
            took = time.monotonic() - moment

        def answers():
            with lab.inside("home"):
                try:
                    with socket.create_connection(("127.0.0.1", VISITS[ECHO]), timeout=30) as s:
                        s.sendall(b"hello")
                        return s.recv(5, socket.MSG_WAITALL) == b"hello"
                except OSError:
                    return False
        wait_for("the visit answers again", answers, LATE_S)
    for a in (lab.home, lab.site):
        if a.verb("agent.status")["servers"][0]["reconnects"]:
            raise Failed(f"{a.name} lost its control connection")
    return f"{rounds} times; the last child was there again after {took:.2f} s"


def stalled(lab):
    """A visitor who does not read leaves the other streams at full speed."""
    lab.until_path("direct")
    stop = threading.Event()

    def flood(s):
        s.settimeout(1)
        while not stop.is_set():
            try:
                s.sendall(bytes(BLOCK))
            except TimeoutError:
                continue
    lab.targets.append(Target(lab, "site", "127.0.0.1", OTHER, flood))

    def rate(seconds=3):
        bulk = Bulk(lab)
        bulk.until(2 * MB)
        began, n = time.monotonic(), bulk.back
        time.sleep(seconds)
        got = (bulk.back - n) / (time.monotonic() - began)
        bulk.finish()
        return got
    alone = rate()
    with lab.inside("home"):
        lazy = [socket.create_connection(("127.0.0.1", VISITS[OTHER]), timeout=LATE_S) for _ in range(3)]
    for s in lazy:
        s.sendall(b"x")
    wait_for("the lazy ones are full", lambda: lab.home.link()["bytes_down"] > 2 * MB and full(lab))
    beside = max(rate() for _ in range(2))
    stop.set()
    for s in lazy:
        s.close()
    if beside < 0.5 * alone:
        raise Failed(f"{8 * beside / 1e6:.1f} Mbit/s beside three that stall, {8 * alone / 1e6:.1f} alone")
    return f"{8 * alone / 1e6:.1f} Mbit/s alone, {8 * beside / 1e6:.1f} beside three that stall"


def full(lab):
    """Nothing more comes in: they hold what they may. What is told is a second old, at most."""
    before = lab.home.link()["bytes_down"]
    time.sleep(4)
    return lab.home.link()["bytes_down"] == before


def idle(lab, seconds):
    """The path and its connections outlive a time in which nobody says anything."""
    lab.until_path("direct")
    with lab.inside("home"), socket.create_connection(("127.0.0.1", VISITS[ECHO]), timeout=LATE_S) as s:
        s.sendall(b"before")
        s.recv(6, socket.MSG_WAITALL)
        link = lab.home.link("direct")
        time.sleep(seconds)
        began = time.monotonic()
        s.sendall(b"after!")
        if s.recv(6, socket.MSG_WAITALL) != b"after!":
            raise Failed("the connection is not what it was")
        took = time.monotonic() - began
        now = lab.home.link("direct")
        if not now or now["link"] != link["link"] or now["moves"] != link["moves"]:
            raise Failed(f"the link is not what it was: {now}")
    return f"{seconds} s idle, the next answer after {1000 * took:.0f} ms"


def datagrams(lab):
    """A visit for UDP: datagrams of all sizes come back whole, in spite of a path change; none twice."""
    lab.until_path("direct")
    with lab.inside("home"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.1", VISITS[ECHO]))
    r, sent, back, began, late = random.Random(3), {}, set(), time.monotonic(), 0

    def listen(seconds):
        s.settimeout(seconds)
        try:
            data = s.recv(65536)
        except (TimeoutError, ConnectionRefusedError):
            return False
        number = int.from_bytes(data[:4], "big")
        if data != sent.get(number) or number in back:
            raise Failed(f"datagram {number} came back damaged or twice")
        back.add(number)
        return True
    while len(sent) < 300 or (sum(n >= 150 for n in back) < 50 and time.monotonic() - began < LATE_S):
        if len(sent) == 150:
            lab.cut()
        number = len(sent)
        sent[number] = number.to_bytes(4, "big") + r.randbytes(r.choice((1, 160, 1100, 1400, 4000, 9000)))
        s.send(sent[number])
        listen(0.02)
        while number < 149 and len(sent) - len(back) - late > 8:  # a process that does not run for a moment has a socket for few
            late += not listen(2)
    while listen(2 if time.monotonic() - began < LATE_S else 0.01):
        pass
    s.close()
    before = sum(n < 150 for n in back)
    if before < 120 or len(back) - before < 50:
        raise Failed(f"{before} of 150 datagrams came back before the line was cut, {len(back) - before} after that")
    return f"{len(back)} of {len(sent)} datagrams came back, the line was cut among them"


def quotas(lab):
    """A relay of the server ends after its bytes and is asked for again: nothing is lost; and it is no faster than it may be."""
    lab.until_path("relay")
    began = time.monotonic()  # from the first byte on: later, what waits in our socket could come all at once
    bulk = Bulk(lab)
    bulk.least = 10 * MB
    bulk.until(6 * MB)
    rate = 8 * 2 * bulk.back / (time.monotonic() - began) / 1e6  # both ways count
    back = bulk.finish()
    ended = lab.server.logged().count("tunnel.direct.relay_bytes")
    if ended < 2:
        raise Failed(f"{ended} relays ended by their quota of {RELAY_MB} MB")
    if rate > 1.25 * RELAY_MBIT:
        raise Failed(f"{rate:.1f} Mbit/s over a relay that may have {RELAY_MBIT}")
    return f"{back / MB:.0f} MB there and back the same over relays of {RELAY_MB} MB each, {rate:.1f} Mbit/s of {RELAY_MBIT}, {ended} of which were used up"


def one_of_two(lab):
    """Two tunnel servers: the one through which the agents met goes away; connections go on, and new links are made through the other."""
    link = lab.until_path("direct")
    gone, left = (s for s in sorted((x for x in lab.services if x.full == "stile-tunnel"),
                                    key=lambda x: not link["server"].endswith(f":{x.port}")))
    bulk = Bulk(lab)
    bulk.until(2 * MB)
    gone.kill()
    lab.services.remove(gone)
    bulk.until(6 * MB)
    back = bulk.finish()
    lab.home.stop()
    lab.home.start()
    row = wait_for("another link is up", lambda: (r := lab.home.link("direct")) and r["server"].endswith(f":{left.port}") and r, LATE_S)
    return f"{back / MB:.0f} MB there and back the same while a server went; the next link through {row['server']}"


def only_direct(lab):
    """head_start: unlimited: while no direct path exists there is no link, and no relay; then there is one."""
    began = time.monotonic()
    while time.monotonic() - began < 8:
        if lab.home.link():
            raise Failed(f"there is a link: {lab.home.link()}")
        time.sleep(0.2)
    if "purpose=4" in lab.server.logged() or lab.site.link():
        raise Failed("a relay was asked for")
    lab.mend()
    lab.until_path("direct", LATE_S)
    return f"none for 8 s, direct {time.monotonic() - began - 8:.1f} s after it became possible"


def cases(full_form):
    yield ("bytes through forced path changes", lambda lab: moves(lab, 1024 * MB if full_form else 30 * MB, 10 if full_form else 4))
    yield ("another address in mid-transfer", address_change)
    yield ("a reader that stalls", stalled)
    yield ("the child is killed at any moment", lambda lab: killed(lab, 10 if full_form else 3))
    yield ("datagrams", datagrams, {"visit": ", protocol: udp"})
    yield ("a server's quotas for relays", quotas,
           {"more": "  direct: { direct: false }\n", "direct": f"{{ relay_bytes: {RELAY_MB}MB, relay_bitrate: {RELAY_MBIT}Mbit/s }}"})
    yield ("two servers, of which one goes", one_of_two, {"second": True})
    if full_form:
        yield ("only direct paths", only_direct, {"visit": ", head_start: unlimited"})
        yield ("70 s idle", lambda lab: idle(lab, 70))


def run_case(build, name, case, how=None):
    with DirectLab(build, LINE, LEGS) as lab:
        try:
            lab.targets += [Target(lab, "site", "127.0.0.1", ECHO, echo), UdpEcho(lab, "site", "127.0.0.1", ECHO)]
            if case is only_direct:
                lab.cut()
            lab.start_agents([(f"127.0.0.1:{t}", p) for t, p in VISITS.items()], [f"127.0.0.1:{t}" for t in VISITS], **(how or {}))
            note = case(lab)
            lab.stop_services()
            print(f"# {note}\n[       OK ] {name}", flush=True)
            return True
        except Failed as e:
            print(lab.last_words() + f"# {e}\n[  FAILED  ] {name}", flush=True)
            return False


def main():
    o = options(__doc__, ("--full", {"action": "store_true", "help": "1 GB, ten changes; idle time"}),
                ("--only", {"default": "", "metavar": "TEXT", "help": "cases whose name holds TEXT"}),
                ("--but", {"metavar": "TEXT", "help": "not those whose name holds TEXT"}))
    try:
        results = [run_case(o.build, *case) for case in cases(o.full) if o.only in case[0] and not (o.but and o.but in case[0])]
    except Skipped as e:
        print(e)
        return SKIP
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
