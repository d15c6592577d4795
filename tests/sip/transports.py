# SPDX-License-Identifier: Apache-2.0
"""The transports of stile-sip as others meet them: UDP, TCP, TLS, mutual TLS, IPv6; what is kept alive, used again,
cut, refused and switched."""
import os
import socket
import struct
import time

from sip_world import Failed, Listening, Message, Ua, WsUa, case, main, wait_for

SDP = "v=0\r\ns=" + "x" * 1500 + "\r\n"


def relay(w, asks, headers=(), body="", method="OPTIONS", to=None):
    """A request from the trusted side to out.test, whose other end is `to`: what arrived there."""
    asks.raw(asks.request(method, "sip:bob@out.test", headers, body))
    return to.expect(method)


@case("a request over UDP comes out at its route with a Via of ours, and its response comes back")
def _(w):
    w.config()
    w.start()
    with Ua("udp", None, ("127.0.0.1", w.other())) as bob, w.udp() as alice:
        m = relay(w, alice, to=bob)
        vias = m.all("Via")
        if len(vias) != 2 or f"127.0.0.1:{w.base};branch=z9hG4bK" not in vias[0] and f"127.0.0.1:{w.lan};branch" not in vias[0]:
            raise Failed(f"    {vias}")
        if f"received=127.0.0.1;rport={alice.at[1]}" not in vias[1] or m.get("Max-Forwards") != "69":
            raise Failed(f"    {m.fields}")
        bob.reply(m, 200)
        got = alice.expect(status=200)
        if len(got.all("Via")) != 1:
            raise Failed(f"    {got.fields}")


@case("strangers are not relayed for, and get 404 or 403 without a look into the routes")
def _(w):
    w.config()
    w.start()
    with w.udp(lan=False) as alice, w.tcp(lan=False) as other:
        for ua in (alice, other):
            got = ua.ask("MESSAGE", "sip:bob@out.test", From="<sip:eve@evil.test>;tag=e")
            if got.status != 403:
                raise Failed(f"    {got.start}")
            if ua.ask("MESSAGE", "sip:bob@elsewhere.test", From="<sip:eve@evil.test>;tag=e").status != 403:
                raise Failed("    relayed")
            if ua.ask("MESSAGE", "sip:bob@out.test").status != 407:
                raise Failed("    who says to be one of ours did not have to prove it")
    w.logged("sip.refused.relay")


@case("TCP carries several messages in one piece and one message in several; CRLF pings are answered")
def _(w):
    w.config()
    w.start()
    with w.tcp(lan=False) as a:
        a.raw(b"\r\n\r\n" + a.request("OPTIONS", "sip:uc.test") + a.request("OPTIONS", "sip:uc.test"))
        first = a.s.recv(2)
        if first != b"\r\n":
            raise Failed(f"    no pong: {first!r}")
        a.expect(status=200)
        a.expect(status=200)
        data = a.request("OPTIONS", "sip:uc.test", body="hello")
        for i in range(0, len(data), 40):
            a.raw(data[i:i + 40])
            time.sleep(0.005)
        a.expect(status=200)
    if w.metric("stile_sip_keepalives_total", "tcp") != 1:
        raise Failed("    not counted")


@case("STUN on the SIP port tells a client its address")
def _(w):
    w.config()
    w.start()
    with w.udp(lan=False) as a:
        tid = b"0123456789ab"
        a.s.settimeout(15)
        a.raw(b"\0\1\0\0\x21\x12\xa4\x42" + tid)
        data = a.s.recv(1500)
        port = struct.unpack("!H", data[26:28])[0] ^ 0x2112
        if data[:2] != b"\1\1" or data[8:20] != tid or port != a.at[1]:
            raise Failed(f"    {data!r}")


@case("what is not well-formed gets 400, ends a connection, and its sender is banned when it goes on")
def _(w):
    w.config(limits="{ ban_after: 3 }")
    w.start()
    with w.udp(lan=False) as a:
        a.raw(a.request("OPTIONS", "sip:uc.test", ["CSeq: 2 OPTIONS"]))
        a.expect(status=400)
        for junk in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 200, b"{}", b"INVITE"):
            a.raw(junk)
        if a.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    not served any more")
    for i in range(3):
        with w.tcp(lan=False) as a:
            a.raw(a.request("OPTIONS", "sip:uc.test", ["Content-Length: -1"]))
            a.expect(status=400)
            if a.next() or not a.ended:
                raise Failed("    the connection goes on")
    w.logged("sip.banned", "127.0.0.1")
    with w.tcp(lan=False) as a:
        if a.next() or not a.ended:
            raise Failed("    a banned source is let in")
    if w.metric("stile_sip_bans_total") != 1 or w.metric("stile_sip_bad_messages_total", "duplicate") != 1:
        raise Failed("    not counted")


@case("who sends slowly is cut, who never says anything too, and others do not notice")
def _(w):
    w.config(limits="{ partial: 500ms, first: 2s }")
    w.start()
    with w.tcp(lan=False) as slow, w.tcp(lan=False) as silent, w.tcp(lan=False) as good:
        good.raw(good.request("OPTIONS", "sip:uc.test"))
        good.expect(status=200)
        slow.raw(b"OPTIONS sip:uc.test SIP/2.0\r\n")
        for ua in (slow, silent):
            if ua.next() or not ua.ended:
                raise Failed("    not cut")
        good.raw(good.request("OPTIONS", "sip:uc.test"))
        good.expect(status=200)
    if w.metric("stile_sip_drops_total", "slow") != 2:
        raise Failed("    not counted")


@case("a request of more than 1300 bytes goes by TCP, and by UDP where there is no TCP")
def _(w):
    w.config()
    w.start()
    with Ua("udp", None, ("127.0.0.1", w.other())) as bob, w.tcp() as alice:
        with Listening(w.other()) as port:
            alice.raw(alice.request("MESSAGE", "sip:bob@out.test", body=SDP))
            with port.accept() as over_tcp:
                m = over_tcp.expect("MESSAGE")
                if not m.get("Via").startswith("SIP/2.0/TCP ") or len(m.body) != len(SDP):
                    raise Failed(f"    {m.fields}")
                over_tcp.reply(m, 202, "Accepted")
                alice.expect(status=202)
        wait_for("the connection is gone", lambda: not [f for f in w.flows() if f["direction"] == "out"])
        alice.raw(alice.request("MESSAGE", "sip:bob@out.test", body=SDP))
        m = bob.expect("MESSAGE")
        if not m.get("Via").startswith("SIP/2.0/UDP "):
            raise Failed(f"    {m.fields}")
        bob.reply(m, 202, "Accepted")
        alice.expect(status=202)
        small = relay(w, alice, to=bob)
        bob.reply(small, 200)
        alice.expect(status=200)


@case("TLS shows the certificate, mutual TLS wants one, and knows whose it is")
def _(w):
    w.config(tls=True)
    w.certificate("partner", "URI:sip:partner.test,DNS:not-this.test")
    w.start()
    with Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test") as a:
        if a.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    no answer over TLS")
    with Ua("tls", ("127.0.0.1", w.mtls), context=w.context(name="partner"), name="uc.test") as a:
        if a.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    no answer over mutual TLS")
        flow = [f for f in w.flows() if f["identity"]]
        if len(flow) != 1 or flow[0]["identity"] != ["partner.test"]:
            raise Failed(f"    {w.flows()}")
    try:
        with Ua("tls", ("127.0.0.1", w.mtls), context=w.context(), name="uc.test") as a:
            a.raw(a.request("OPTIONS", "sip:uc.test"))
            got = a.next()
    except OSError:
        got = None
    if got:
        raise Failed("    let in without a certificate")
    w.logged("sip.connection.failed", "certificate")


@case("a connection to a partner must prove its name, and is not used for another domain")
def _(w):
    routes = ("[ { domain: one.test, host: 127.0.0.1, port: {o0}, transport: mtls }, "
              "{ domain: two.test, host: 127.0.0.1, port: {o0}, transport: tls }, "
              "{ domain: bad.test, host: 127.0.0.1, port: {o1}, transport: tls } ]")
    w.config(tls=True, routes=routes)
    w.certificate("good", "DNS:one.test,IP:127.0.0.1")
    w.certificate("evil", "DNS:evil.test")
    w.start()
    with Listening(w.other(), w.context(server=True, name="good")) as port, w.tcp() as alice:
        alice.raw(alice.request("MESSAGE", "sip:bob@one.test", body="one"))
        with port.accept() as bob:
            for i in range(2):
                m = bob.expect("MESSAGE")
                bob.reply(m, 200)
                alice.expect(status=200)
                alice.raw(alice.request("MESSAGE", "sip:bob@one.test", body="again"))
            bob.expect("MESSAGE")
        if len([f for f in w.flows() if f["direction"] == "out"]) > 1:
            raise Failed(f"    {w.flows()}")
    with Listening(w.other(1), w.context(server=True, name="evil")) as port, w.tcp() as alice:
        alice.raw(alice.request("MESSAGE", "sip:bob@bad.test", body="secret"))
        try:
            with port.accept() as bob:
                if bob.next(2):
                    raise Failed("    a message went to whoever is there")
        except Failed as e:
            if "nobody connected" not in str(e):
                raise
        if alice.final(alice_call(alice)).status not in (500, 502, 503):
            raise Failed("    no answer that it failed")
    w.logged("sip.connection.failed", "the certificate is not for 127.0.0.1, but for evil.test")


def alice_call(ua):
    return f"{Ua.seq}.{os.getpid()}@test"


@case("a partner that proved its name may ask for its connection to be used again (alias), a nameless one may not")
def _(w):
    w.config(tls=True, routes="[ { domain: partner.test, host: 127.0.0.1, port: {o4}, transport: mtls } ]")
    w.certificate("partner", "DNS:partner.test,IP:127.0.0.1")
    w.start()
    via = "SIP/2.0/TLS 127.0.0.1:%d;branch=z9hG4bKal%d;alias"
    with Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test") as nameless, w.udp() as alice:
        nameless.raw(nameless.request("OPTIONS", "sip:uc.test", Via=via % (w.other(4), 1)))
        nameless.expect(status=200)
        if alice.ask("MESSAGE", "sip:bob@partner.test").status < 500:
            raise Failed("    it was used")
        with Ua("tls", ("127.0.0.1", w.mtls), context=w.context(name="partner"), name="uc.test") as partner:
            partner.raw(partner.request("OPTIONS", "sip:uc.test", Via=via % (w.other(4), 2)))
            partner.expect(status=200)
            alice.raw(alice.request("MESSAGE", "sip:bob@partner.test", body="hello"))
            m = partner.expect("MESSAGE")
            partner.reply(m, 200)
            alice.expect(status=200)


@case("a handshake that stalls is ended, and hinders nobody")
def _(w):
    w.config(tls=True, limits="{ handshake: 1500ms }")
    w.start()
    stalled = [Ua("tcp", ("127.0.0.1", port)) for port in (w.tls, w.mtls) for _i in range(20)]
    try:
        for a in stalled[::2]:
            a.raw(b"\x16\x03\x01\x02\x00\x01")  # a ClientHello begins
        with Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test") as good:
            if good.ask("OPTIONS", "sip:uc.test").status != 200:
                raise Failed("    not served")
        for a in stalled:
            if a.next() or not a.ended:
                raise Failed("    not ended")
    finally:
        for a in stalled:
            a.close()
    wait_for("they are gone", lambda: not w.flows())


@case("without descriptors connections are refused, datagrams go on, and all is well again when there are some")
def _(w):
    w.config()
    w.start(prefix=("prlimit", "--nofile=48"))
    held = [w.tcp(lan=False) for _i in range(60)]
    try:
        with w.udp(lan=False) as a:
            if a.ask("OPTIONS", "sip:uc.test").status != 200:
                raise Failed("    UDP is not served")
        w.logged("sip.accept.failed", "Too many open files")
        wait_for("some are refused", lambda: any((not h.next(0.05)) and h.ended for h in held[-10:]))
    finally:
        for a in held:
            a.close()
    wait_for("a connection is served again", lambda: is_served(w))  # it has seen the end of some of the others


def is_served(w):
    with w.tcp(lan=False) as ua:
        try:
            ua.raw(ua.request("OPTIONS", "sip:uc.test"))
        except ConnectionError:
            return False
        m = ua.next()
        return m and m.status == 200


@case("a browser speaks SIP over WebSocket, with and without TLS, whole or in fragments")
def _(w):
    w.config(tls=True, listen=f'["wss:127.0.0.1:{w.tls}"]', lan=f'{{ listen: ["ws:127.0.0.1:{w.lan}", "udp:127.0.0.1:{w.lan}"] }}')
    w.start()
    with WsUa(w.tls, context=w.context(), name="uc.test") as a:
        if not a.upgraded or a.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed(f"    {a.answer}")
    with WsUa(w.lan, origin=None) as alice, Ua("udp", None, ("127.0.0.1", w.other())) as bob:
        via = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKws%d;rport"
        data = alice.request("MESSAGE", "sip:bob@out.test", ["Content-Type: text/plain"], "hello", Via=via % 1)
        alice.frame(data[:50], final=False)
        alice.frame(b"are you there", op=9)
        if alice.read_frame() != (10, b"are you there"):
            raise Failed("    no pong")
        alice.frame(data[50:60], op=0, final=False)
        alice.frame(data[60:], op=0)
        m = bob.expect("MESSAGE")
        if m.body != b"hello" or "SIP/2.0/WS df7jal23ls0d.invalid" not in m.all("Via")[1]:
            raise Failed(f"    {m.fields}")
        bob.reply(m, 200)
        alice.expect(status=200)
        alice.frame(b"\r\n\r\n")
        if alice.read_frame() != (1, b"\r\n"):
            raise Failed("    no keep-alive")
        alice.frame(data[:-5], op=2)  # without its body: 400, and the end
        alice.expect(status=400)
        if alice.read_frame() or not alice.ended:
            raise Failed("    it goes on")


@case("a page in a browser is not trusted for where it is looked at, a program that speaks WebSocket is")
def _(w):
    w.config(listen=f'["ws:127.0.0.1:{w.base}", "udp:127.0.0.1:{w.base}"]', lan=f'{{ listen: ["ws:127.0.0.1:{w.lan}"] }}', sources="{ trusted: [127.0.0.1] }")
    w.start()
    for port in (w.lan, w.base):
        for origin in ("http://evil.test", "null"):
            with WsUa(port, origin=origin) as page:
                if page.ask("MESSAGE", "sip:bob@out.test", From="<sip:eve@evil.test>;tag=e").status != 403:
                    raise Failed("    a page calls by the static routes")
                if page.ask("MESSAGE", "sip:bob@out.test").status != 407:
                    raise Failed("    a page speaks for one of ours")
                if page.ask("REGISTER", "sip:uc.test", To="<sip:alice@uc.test>").status != 401:
                    raise Failed("    a page registers one of ours")
        with WsUa(port, origin=None) as program, Ua("udp", None, ("127.0.0.1", w.other())) as bob:
            bob.reply(relay(w, program, method="MESSAGE", to=bob), 200)
            program.expect(status=200)


@case("what is no WebSocket for SIP is refused by HTTP, and a frame that is wrong ends the connection")
def _(w):
    w.config(listen=f'["ws:127.0.0.1:{w.base}", "udp:127.0.0.1:{w.base}"]', lan=None, routes=None, limits="{ ban_after: 0, message: 4096 }")
    w.start()
    with WsUa(w.base, protocol="mqtt") as a:
        if a.upgraded or " 400 " not in a.answer:
            raise Failed(f"    {a.answer}")
    for said, want in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"), (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
                       (b"OPTIONS sip:x SIP/2.0\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nHost: x\nUpgrade: y\r\n\r\n", b"400")):
        with Ua("tcp", ("127.0.0.1", w.base)) as a:
            a.raw(said)
            got = a.s.recv(500)
            if want not in got.split(b"\r\n")[0]:
                raise Failed(f"    {said!r}: {got!r}")
    ask = dict(Via="SIP/2.0/WS a.invalid;branch=z9hG4bKbad")
    for bad in (dict(mask=False), dict(bits=0x40), dict(op=3), dict(op=0), dict(op=9, final=False)):
        with WsUa(w.base) as a:
            a.frame(a.request("OPTIONS", "sip:uc.test", **ask), **bad)
            got = a.read_frame()
            if not got or got[0] != 8 or got[1] != b"\x03\xea" or a.read_frame() or not a.ended:
                raise Failed(f"    {bad}: {got}")
    with WsUa(w.base) as a:
        a.frame(b"x" * 200000)
        got = a.read_frame()
        if not got or got != (8, b"\x03\xf1"):
            raise Failed(f"    {got}")
    with WsUa(w.base) as a:
        if a.ask("OPTIONS", "sip:uc.test", **ask).status != 200:
            raise Failed("    not served any more")
        a.frame(b"\x03\xe8", op=8)
        if a.read_frame()[0] != 8 or a.read_frame() or not a.ended:
            raise Failed("    the close is not answered")
    wait_for("they are gone", lambda: not w.flows())


@case("who is not there is answered for at once, over UDP, TCP and TLS")
def _(w):
    routes = ("[ { domain: udp.test, host: 127.0.0.1, port: {o5}, transport: udp }, "
              "{ domain: tcp.test, host: 127.0.0.1, port: {o5}, transport: tcp }, "
              "{ domain: tls.test, host: 127.0.0.1, port: {o5}, transport: tls } ]")
    w.config(tls=True, routes=routes)
    w.start()
    with w.udp() as alice:
        for domain in ("udp.test", "tcp.test", "tls.test"):
            began = time.monotonic()
            got = alice.ask("MESSAGE", f"sip:bob@{domain}")
            if got.status not in (500, 503) or time.monotonic() - began > 8:
                raise Failed(f"    {domain}: {got.start} after {time.monotonic() - began:.1f} s")
    if len(w.verb("sip.health")["rows"]) != 3:
        raise Failed(f"    {w.verb('sip.health')}")


@case("IPv6 is served like IPv4, and a wildcard names the address that was used")
def _(w):
    p = w.base
    w.config(listen=f'["udp:[::]:{p}", "tcp:[::]:{p}", "udp:0.0.0.0:{p}"]',
             lan=f'{{ listen: ["udp:[::1]:{w.lan}"] }}', routes="[ { domain: out.test, host: '::1', port: {o0}, transport: udp } ]")
    w.start()
    with Ua("udp", ("::1", w.lan)) as alice, Ua("udp", ("::1", w.other())) as bob:
        bob.s.close()
        bob = Bound6(w.other())
        try:
            m = relay(w, alice, to=bob)
            if "[::1]:" not in m.get("Via"):
                raise Failed(f"    {m.fields}")
            bob.reply(m, 200)
            alice.expect(status=200)
        finally:
            bob.close()
    with Ua("tcp", ("::1", p)) as a:
        a.raw(a.request("OPTIONS", f"sip:[::1]:{p}"))
        a.expect(status=200)
    with Ua("udp", ("127.0.0.1", p)) as a:
        if a.ask("OPTIONS", f"sip:127.0.0.1:{p}").status != 200:
            raise Failed("    the wildcard does not know itself")


@case("what waits for a connection that does not come about is not counted as sent")
def _(w):
    w.config(routes="[ { domain: out.test, host: 127.0.0.1, port: {o0}, transport: tcp } ]")  # where nobody listens
    w.start()
    with w.udp() as alice:
        if alice.ask("MESSAGE", "sip:bob@out.test").status < 500:
            raise Failed("    nobody was there to answer")
    if w.metric("stile_sip_requests_sent_total", "MESSAGE"):
        raise Failed("    a request is counted that never left")


@case("a wildcard goes on serving when a hundred addresses of the machine have come and gone")
def _(w):
    p = w.base
    w.config(listen=f'["udp:0.0.0.0:{p}", "tcp:0.0.0.0:{p}"]')
    w.start()
    with Ua("tcp", ("127.0.0.2", p)) as held:
        for i in [*range(2, 102), 2]:
            with Ua("udp", (f"127.0.0.{i}", p)) as a:
                if a.ask("OPTIONS", f"sip:127.0.0.{i}:{p}").status != 200:
                    raise Failed(f"    127.0.0.{i} is not served")
        for i in range(2, 102):
            with Ua("tcp", (f"127.0.0.{i}", p)) as a:
                if a.ask("OPTIONS", f"sip:127.0.0.{i}:{p}").status != 200:
                    raise Failed(f"    127.0.0.{i} is not served by TCP")
        if held.ask("OPTIONS", f"sip:127.0.0.2:{p}").status != 200:
            raise Failed("    a connection of before has lost its interface")


class Bound6(Ua):
    def __init__(self, port):
        super().__init__("udp", ("::1", 0))
        self.s.close()
        self.s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.s.bind(("::1", port))
        self.at = self.s.getsockname()[:2]


@case("a peer that does not read costs its queue and no more, and others go on")
def _(w):
    w.config(limits="{ queue: 64KiB }", routes="[ { domain: out.test, host: 127.0.0.1, port: {o0}, transport: tcp }, "
             "{ domain: udp.test, host: 127.0.0.1, port: {o1}, transport: udp } ]")
    w.start()
    with Listening(w.other()) as port, w.tcp() as alice, Ua("udp", None, ("127.0.0.1", w.other(1))) as bob:
        port.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = "y" * 30000
        refused = 0
        for i in range(400):
            alice.raw(alice.request("MESSAGE", "sip:bob@out.test", body=body))
            m = alice.next(0.001)
            if m and m.status >= 500:
                refused += 1
                if refused > 3:
                    break
        if not refused:
            wait_for("refusals", lambda: (lambda m: m and m.status >= 500)(alice.next(1)))
        alice2 = w.udp()
        m = None
        alice2.raw(alice2.request("OPTIONS", "sip:bob@udp.test"))
        m = bob.expect("OPTIONS")
        bob.reply(m, 200)
        alice2.expect(status=200)
        alice2.close()
    if w.metric("stile_sip_drops_total", "queue") < 1:
        raise Failed("    not counted")


@case("a response finds its way when the connection of its request is gone")
def _(w):
    w.config()
    w.start()
    with Listening(w.other(2)) as back, Ua("udp", None, ("127.0.0.1", w.other())) as bob:
        with w.tcp() as alice:
            data = alice.request("OPTIONS", "sip:bob@out.test",
                                 Via=f"SIP/2.0/TCP 127.0.0.1:{w.other(2)};branch=z9hG4bKgone{w.base}")
            alice.raw(data)
            m = bob.expect("OPTIONS")
        wait_for("the connection is gone", lambda: not w.flows())
        bob.reply(m, 200)
        with back.accept() as later:
            got = later.expect(status=200)
            if got.get("Call-ID") != Message(data).get("Call-ID"):
                raise Failed(f"    {got.fields}")


if __name__ == "__main__":
    raise SystemExit(main(27300))
