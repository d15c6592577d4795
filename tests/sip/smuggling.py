#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The smuggling corpus (tests/torture/smuggling.py) at a running stile-sip, over UDP, TCP, TLS and WebSocket: each message is
refused as its row says, streams end, nothing behind it is read, and none of it reaches the other end. Behind each one a good
message is sent: what arrives before that one would have been forwarded."""
import os
import sys

from sip_world import Failed, Listening, Message, Ua, WsUa, case, main

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torture"))
import smuggling  # noqa: E402

FULL_LENGTH = "--full" in sys.argv
LAN = '{{ listen: ["udp:127.0.0.1:{0}", "tcp:127.0.0.1:{0}", "tls:127.0.0.1:{1}", "ws:127.0.0.1:{2}"] }}'


def start(w):
    w.config(tls=True, lan=LAN.format(w.lan, w.other(5), w.other(6)), limits="{ ban_after: 0, rate: 0 }",
             log="{ level: info, dir: %s }" % w.path("log"))
    w.start()


class Checked:
    """bob, behind the proxy, who must never read the word; and alice, who asks him something behind each message."""

    def __init__(self, w):
        self.bob, self.alice = Ua("udp", None, ("127.0.0.1", w.other())), w.udp()
        self.name, self.wrong, self.got, self.old = "", [], [], set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bob.close()
        self.alice.close()

    def complain(self, what):
        self.wrong.append(f"    {self.name}: {what}")

    def sentinel(self):
        """A good request to bob; whatever came to him before it is kept, and answered."""
        m = Message(self.alice.request("MESSAGE", "sip:bob@out.test"))
        self.alice.raw(m.raw)
        self.old |= {g.get("Call-ID") for g in self.got}
        self.got = []
        while True:
            got = self.bob.expect("MESSAGE", seconds=20)
            if b"smuggled" in got.raw:
                self.complain(f"it was forwarded: {got.raw!r}")
            self.bob.reply(got, 200)
            if got.get("Call-ID") == m.get("Call-ID"):
                break
            if got.get("Call-ID") not in self.old:  # or it was repeated, for this machine has much to do
                self.got.append(got)
        self.old.add(m.get("Call-ID"))
        heard = []
        while True:
            a = self.alice.next(20)
            if not a:
                raise Failed(f"    {self.name}: no answer to a good message behind it")
            if a.get("Call-ID") == m.get("Call-ID"):
                return heard
            heard.append(a)

    def done(self):
        if self.wrong:
            raise Failed("\n".join(self.wrong[:20]))


def responses(ua, seconds=20):
    """Until the end of the connection."""
    codes = []
    while True:
        m = ua.next(seconds)
        if m is None:
            return codes, ua.ended
        codes.append(m.status)


def over_stream(w, dial, rows):
    with Checked(w) as c:
        for name, data, stream, _, before, _ in rows:
            if not stream:
                continue
            c.name = name
            with dial() as ua:
                ua.raw(data)
                code = 0 if name in smuggling.NO_ANSWER else smuggling.codes()[stream]
                if stream == "SIP_INCOMPLETE":
                    if ua.next(0.05):
                        c.complain("half a message is answered")
                elif smuggling.FRAMING_HOLDS.match(stream):
                    if code and ua.expect(seconds=20).status != code:
                        c.complain(f"not {code}")
                else:
                    codes, ended = responses(ua)  # bob has not answered the good ones in front yet
                    if codes != ([code] if code else []) or not ended:
                        c.complain(f"answered with {codes}, not {code or 'nothing'}; {'closed' if ended else 'not closed'}")
            c.sentinel()
            if len({m.get("Call-ID") for m in c.got}) > before:
                c.complain(f"{[m.start for m in c.got]} came to the other end")
        c.done()


@case("none of it passes over TCP, and the connection ends")
def _(w):
    start(w)
    over_stream(w, w.tcp, smuggling.ROWS)


@case("nor over TLS")
def _(w):
    start(w)
    context = w.context()
    over_stream(w, lambda: Ua("tls", ("127.0.0.1", w.other(5)), context=context, name="uc.test"),
                smuggling.ROWS if FULL_LENGTH else [r for r in smuggling.ROWS if r[0].startswith(("length-", "pipe-"))])


@case("nor over UDP")
def _(w):
    start(w)
    with Checked(w) as c:
        for name, data, _, datagram, _, _ in smuggling.ROWS:
            if not datagram:
                continue
            c.name = name
            c.alice.came.clear()  # the answer to this one may be that of another one
            c.alice.raw(data)
            code = 0 if name in smuggling.NO_ANSWER_UDP or datagram == "SIP_OK" else smuggling.codes()[datagram]
            heard = [m.status for m in c.sentinel()]
            if datagram == "SIP_OK":
                if len({m.get("Call-ID") for m in c.got}) != 1:
                    c.complain("the message in front did not arrive, or more than it")
            elif heard != ([code] if code else []):
                c.complain(f"answered with {heard}, not {code or 'nothing'}")
        c.done()


@case("nor over WebSocket, in no frame and by no upgrade")
def _(w):
    start(w)
    with Checked(w) as c:
        for name, data, end, _ in smuggling.FRAMES:
            c.name = name
            if name.startswith("http-"):
                with Ua("tcp", ("127.0.0.1", w.other(6))) as ua:
                    ua.raw(data)
                    got = ua.s.recv(4096)
                    if not got.startswith(b"HTTP/1.1 400 "):
                        c.complain(f"{got[:60]!r}")
            else:
                with WsUa(w.other(6)) as ua:
                    ua.s.sendall(data)
                    got = list(iter(ua.read_frame, None))
                    want = [(8, end.to_bytes(2, "big"))] if end > 1000 else [end] if end else []
                    if [Message(d).status if op != 8 and end < 1000 else (op, d) for op, d in got] != want or not ua.ended:
                        c.complain(f"{got}, not {want}")
            c.sentinel()
            if c.got:
                c.complain("something came to the other end")
        c.done()


@case("a response that two could read differently is not passed on, and ends its connection")
def _(w):
    w.config(routes="[ { domain: out.test, host: 127.0.0.1, port: {o1}, transport: tcp } ]", limits="{ ban_after: 0 }")
    w.start()
    tricks = (["To: <sip:smuggled@out.test>;tag=x"], ["To\x01: smuggled"], ["Subject: smuggled\nb"], ["Subject: smuggled\0"],
              ["Content-Length: -1"], ["Content-Length: 0"], ["Content-Length: 4294967296"])
    with Listening(w.other(1)) as port, w.udp() as alice:
        for trick in tricks:
            data = alice.request("INVITE", "sip:bob@out.test")
            alice.raw(data)
            with port.accept(20) as bob:
                m = bob.expect("INVITE", seconds=20)
                bob.reply(m, 200, "OK", headers=trick, tag="smuggled")
                after = bob.next(20)
                if after or not bob.ended:
                    raise Failed(f"    {trick}: the connection goes on with {after and after.start}")
            got = alice.final(Message(data).get("Call-ID"), 20)
            if got.status < 500 or b"smuggled" in got.raw:
                raise Failed(f"    {trick}: {got.start}")
            alice.raw(alice.request("ACK", "sip:bob@out.test", Call_ID=got.get("Call-ID"), CSeq="1 ACK", Via=got.get("Via").split(";received")[0],
                                    From=got.get("From"), To=got.get("To")))


@case("what came in a datagram without a length goes over TCP with the right one, and without what stands behind it")
def _(w):
    w.config(routes="[ { domain: out.test, host: 127.0.0.1, port: {o1}, transport: tcp } ]")
    w.start()
    with Listening(w.other(1)) as port, w.udp() as alice:
        alice.raw(alice.request("MESSAGE", "sip:bob@out.test", body="hello").replace(b"Content-Length: 5\r\n", b""))
        with port.accept(20) as bob:
            m = bob.expect("MESSAGE", seconds=20)
            if m.get("Content-Length") != "5" or m.body != b"hello":
                raise Failed(f"    {m.raw!r}")
            bob.reply(m, 200)
            alice.expect(status=200)
            alice.raw(alice.request("MESSAGE", "sip:bob@out.test", body="hello") + alice.request("MESSAGE", "sip:bob@out.test", body="smuggled"))
            m = bob.expect("MESSAGE", seconds=20)
            bob.reply(m, 200)
            alice.expect(status=200)
            alice.raw(alice.request("OPTIONS", "sip:bob@out.test"))
            bob.expect("OPTIONS", seconds=20)


if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--full"]
    raise SystemExit(main(27250))
