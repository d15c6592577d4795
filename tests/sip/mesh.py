# SPDX-License-Identifier: Apache-2.0
"""One domain and several UC servers, each a user agent of a few lines that says exactly what a case wants said: log-on and
its refusals, who lives where, the question to all at once, conflicts, weights, fail-over. Real servers (Kamailio) at real
sites are in sites.py."""
import base64
import hmac
import re
import threading
import time

from sip_world import Failed, Listening, Ua, case, credentials, main, wait_for

A, B, C = "uc-a", "uc-b", "uc-c"


def servers(*rows, more=""):
    return '{ listen: ["udp:127.0.0.1:{lan}", "tcp:127.0.0.1:{lan}"], ' + more + "servers: [ " + ", ".join(rows) + " ] }"


def row(name, more=""):
    return f"{{ user: {name}, password: pw-{name}{more} }}"


def begin(w, *rows, more="ask: 8s, ", **keys):
    w.config(lan=servers(*rows, more=more).replace("{lan}", str(w.lan)), **keys)
    return w.start()


def registered(ua, user, password, headers=(), status=200, **more):
    """The answer to a REGISTER, with credentials if they are asked for."""
    me, uri = f"sip:{user}@uc.test", "sip:uc.test"
    more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", **more}
    m = ua.ask("REGISTER", uri, headers, seconds=20, **more)
    if m.status == 401:
        auth = credentials(m.get("WWW-Authenticate"), user, password, "REGISTER", uri)
        m = ua.ask("REGISTER", uri, headers, seconds=20, Authorization=auth, **more)
    if m.status != status:
        raise Failed(f"    {user} registers: expected {status}, got {m.start}")
    return m


class Uc(threading.Thread):
    """A UC server: logs on and answers; it says yes to OPTIONS for its users, and keeps what it got."""

    def __init__(self, w, uc, users=(), transport="tcp", code=404, bind=("127.0.0.1", 0), to=None, **tls):  # pylint: disable=R0913
        super().__init__(daemon=True)
        self.w, self.name, self.users, self.code = w, uc, set(users), code
        self.ua = Ua(transport, to or ("127.0.0.1", w.lan), bind=bind, **tls)
        self.got, self.answers, self.ends, self.asked = [], {}, False, 0
        self.lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ends = True
        if self.is_alive():
            self.join(20)
        self.ua.close()

    def logon(self, password=None, expires=300, status=200):
        return registered(self.ua, self.name, password or f"pw-{self.name}", status=status,
                          Contact=f"<sip:{self.ua.place()};transport={self.ua.transport}>;expires={expires}")

    def serve(self):
        self.start()
        return self

    def run(self):
        while not self.ends:
            m = self.ua.next(0.1)
            if not m or not m.method:
                if m:
                    with self.lock:
                        self.answers[m.get("Call-ID")] = m
                if self.ua.ended:
                    return
                continue
            user = re.match(r"\w+ sip:(?:([^@>]+)@)?", m.start).group(1)
            known = user is None or user in self.users
            if m.method == "ACK":
                continue
            if m.method == "OPTIONS" and user:
                self.asked += 1
            else:
                with self.lock:
                    self.got.append(m)
            if self.code != 0 or known:
                self.ua.reply(m, 200 if known else self.code, "OK" if known else "No")

    def messages(self, method="MESSAGE"):
        with self.lock:
            return [m for m in self.got if m.method == method]

    def send(self, method, uri, **more):
        """A request of one of its users; its final response."""
        data = self.ua.request(method, uri, **more)
        call = re.search(rb"Call-ID: (\S+)", data).group(1).decode()
        self.ua.raw(data)
        return wait_for(f"an answer to {method}", lambda: self.answers.get(call))


def said(m, status):
    if m.status != status:
        raise Failed(f"    expected {status}, got {m.start}")
    return m


def state(w, name):
    return next(r for r in w.verb("sip.servers")["rows"] if r["name"] == name)


@case("servers log on with their password, are shown, and are gone when they log off or are silent")
def _(w):
    begin(w, row(A), row(B))
    with Uc(w, A) as a, Uc(w, B, transport="udp") as b:
        w.ask("sip", "servers").exits(1).says(A, "not logged on")
        a.logon()
        b.logon()
        a.serve()
        b.serve()
        wait_for("both are well", lambda: all(state(w, n)["health"] == "well" and state(w, n)["on"] for n in (A, B)))
        w.ask("sip", "servers").exits(0).says(A, "logged on", "tcp", B, "udp")
        b.close()
        wait_for("silence is seen", lambda: state(w, B)["health"] == "does not answer")
        w.ask("sip", "servers").exits(1).says("does not answer", "ICMP")
    w.logged("sip.server.on", A)
    w.logged("sip.server.sick", B)


@case("a wrong password, a wrong address, a stranger's name: refused, counted, told, and nobody else is hurt")
def _(w):
    begin(w, row(A), "{ user: uc-x, addresses: [ 10.9.9.0/24 ] }", row(C))
    with Uc(w, A, ["alice"]) as a, Uc(w, "uc-x") as x, Uc(w, C, bind=("127.0.0.3", w.other(3))) as c, \
            Uc(w, "uc-y", bind=("127.0.0.4", w.other(4))) as y:
        a.logon()
        a.serve()
        x.logon(status=403)
        c.logon(password="wrong", status=403)
        w.logged("sip.server.refused", "uc-x", "not from one of its addresses")
        w.logged("sip.server.refused", C, "password is wrong")
        y.logon(status=480)  # no server of ours; one that could know him is not there
        if state(w, C)["on"] or not state(w, A)["on"]:
            raise Failed("    the wrong one is logged on")
        if w.metric("stile_sip_server_logons_total", "refused") < 2:
            raise Failed("    not counted")
        with w.udp(lan=False) as eve:
            said(eve.ask("MESSAGE", "sip:alice@uc.test", From="<sip:eve@evil.test>;tag=e"), 200)
        # who has not logged on is a stranger, also in the LAN: it may not use our routes
        said(c.ua.ask("MESSAGE", "sip:zoe@out.test", From="<sip:eve@evil.test>;tag=e"), 403)


@case("the proxy asks all servers at once who has a user, remembers, and passes messages on from one to the other")
def _(w):
    begin(w, row(A), row(B), row(C))
    with Uc(w, A, ["alice"]) as a, Uc(w, B, ["bob"]) as b, Uc(w, C, ["carol"]) as c:
        for s in (a, b, c):
            s.logon()
            s.serve()
        said(a.send("MESSAGE", "sip:bob@uc.test", body="hello"), 200)
        said(a.send("MESSAGE", "sip:bob@uc.test", body="again"), 200)
        if [m.body for m in b.messages()] != [b"hello", b"again"] or c.messages() or b.asked != 1 or c.asked != 1 or a.asked:
            raise Failed(f"    b got {len(b.messages())}, c {len(c.messages())}, asked {a.asked} {b.asked} {c.asked}")
        if b.messages()[0].get("P-Asserted-Identity") != "<sip:alice@uc.test>":
            raise Failed(f"    P-Asserted-Identity is {b.messages()[0].get('P-Asserted-Identity')}")
        for method in ("SUBSCRIBE", "PUBLISH", "NOTIFY", "INFO", "UPDATE", "REFER", "OPTIONS", "INVITE"):
            said(a.send(method, "sip:carol@uc.test", headers=["Event: presence"] if method in ("SUBSCRIBE", "PUBLISH", "NOTIFY") else ()), 200)
            if method != "OPTIONS" and len(c.messages(method)) != 1:
                raise Failed(f"    {method} did not arrive")
        said(a.send("MESSAGE", "sip:nobody@uc.test"), 404)
        w.ask("sip", "server", "users").exits(0).says("bob@uc.test", B, "carol@uc.test", C, "answered")
        if state(w, B)["users"] != 1 or w.metric("stile_sip_server_questions_total", "nowhere") != 1:
            raise Failed("    not counted")
        with w.udp(lan=False) as eve:  # a stranger reaches our users, and may not say to be one of them
            said(eve.ask("MESSAGE", "sip:bob@uc.test", From="<sip:eve@evil.test>;tag=e"), 200)
            if b.messages()[-1].get("P-Asserted-Identity"):
                raise Failed("    a stranger is asserted")
            before = len(b.messages())
            a.users = set()
            said(eve.ask("MESSAGE", "sip:bob@uc.test", From="<sip:alice@uc.test>;tag=e"), 404)
            if len(b.messages()) != before:
                raise Failed("    bob heard from a false alice")


@case("one server that is silent does not make the others' users wait longer than sip.lan.ask")
def _(w):
    begin(w, row(A), row(B), row(C), more="ask: 3s, ")
    with Uc(w, A) as a, Uc(w, B, ["bob"]) as b, Uc(w, C, code=0) as c:
        for s in (a, b, c):
            s.logon()
            s.serve()
        said(a.send("MESSAGE", "sip:bob@uc.test"), 200)
        said(a.send("MESSAGE", "sip:nobody@uc.test"), 480)
        if w.metric("stile_sip_server_questions_total", "silent") != 1:
            raise Failed("    not counted")


@case("two servers that claim one user are told of; who has a range owns it; a group shares its users")
def _(w):
    begin(w, row(A), row(B), row(C, ", users: [ \"2*\", 100-199 ]"), "{ user: g1, password: pw-g1, group: g }",
          "{ user: g2, password: pw-g2, group: g, weight: 300 }")
    with Uc(w, A, ["bob"]) as a, Uc(w, B, ["bob"]) as b, Uc(w, C, ["22", "150"]) as c, \
            Uc(w, "g1", [f"g{i}" for i in range(40)]) as g1, Uc(w, "g2", [f"g{i}" for i in range(40)]) as g2, \
            w.udp(lan=False) as eve:
        for s in (a, b, c, g1, g2):
            s.logon()
            s.serve()
        anybody = {"From": "<sip:eve@evil.test>;tag=e"}
        said(eve.ask("MESSAGE", "sip:bob@uc.test", **anybody), 200)
        w.logged("sip.user.conflict", "bob@uc.test")
        asked = a.asked
        said(eve.ask("MESSAGE", "sip:22@uc.test", **anybody), 200)
        said(eve.ask("MESSAGE", "sip:150@uc.test", **anybody), 200)
        if len(c.messages()) != 2 or a.asked != asked:
            raise Failed("    the ranges were not believed")
        for i in range(40):
            said(eve.ask("MESSAGE", f"sip:g{i}@uc.test", **anybody), 200)
        one, two = len(g1.messages()), len(g2.messages())
        if one + two != 40 or not 3 <= one <= 20:
            raise Failed(f"    spread {one} to {two}")
        if w.metric("stile_sip_user_conflicts_total") != 1:
            raise Failed("    a group's users are no conflict")
        g2.close()  # its users are served by the other one
        for i in range(40):
            said(eve.ask("MESSAGE", f"sip:g{i}@uc.test", seconds=40, **anybody), 200)
        if len(g1.messages()) != one + 40:
            raise Failed(f"    {len(g1.messages())} at the one that is left")


@case("a client registers through the proxy at its server, is known to live there, and is called by its flow")
def _(w):
    begin(w, row(A), row(B))
    with Uc(w, A, ["alice"]) as a, Uc(w, B, ["bob"]) as b, w.tcp(lan=False) as alice:
        for s in (a, b):
            s.logon()
            s.serve()
        me = {"From": "<sip:alice@uc.test>;tag=r", "To": "<sip:alice@uc.test>"}
        said(alice.ask("REGISTER", "sip:uc.test", Contact="<sip:alice@10.1.1.1>;expires=300", **me), 200)
        path = a.messages("REGISTER")[0].get("Path")
        if not path or b.messages("REGISTER"):
            raise Failed("    no Path, or the wrong server")
        b.ua.raw(b.ua.request("MESSAGE", "sip:alice@10.1.1.1", headers=[f"Route: {path}"], body="by the path"))
        m = alice.expect("MESSAGE")
        if m.body != b"by the path":
            raise Failed("    not by the flow")
        alice.reply(m, 200)
        # her request goes to her server first; it comes back from there, and goes to bob's
        alice.raw(alice.request("MESSAGE", "sip:bob@uc.test", body="hi", **me))
        came = wait_for("it is at her server", a.messages)[0]
        if b.messages() or came.get("P-Asserted-Identity"):
            raise Failed("    past her server")


@case("stile test servers plays two of them, and says where it stops")
def _(w):
    begin(w, row(A), row(B))
    w.stile("test", "servers", A, B, "-c", w.path("stile.yaml")).exits(0).says(A, "logged on", B, "MESSAGE", "its 200 back")
    w.stile("test", "servers", A, "uc-z", "-c", w.path("stile.yaml")).exits(1).says("has no server uc-z")
    w.config("other.yaml", lan=servers("{ user: uc-a, password: wrong }", row(B)).replace("{lan}", str(w.lan)))
    w.stile("test", "servers", A, B, "-c", w.path("other.yaml")).exits(1).says("refuses its log-on: 403")


TURN = '{ uris: ["turn:turn.test:3478?transport=udp", "turns:turn.test:5349"], secret: shared, lifetime: 1h }'


def turn_of(m, name):
    """Name and password in the answer, proven against the secret as stile-turn does."""
    value = m.get("X-TURN-Credentials")
    if not value:
        raise Failed("    no credentials in the answer")
    user, password = re.match(r'username="([^"]+)"; password="([^"]+)"; ttl=3600; uris="turn:turn.test:3478', value).groups()
    expiry, _, who = user.partition(":")
    right = base64.b64encode(hmac.new(b"shared", user.encode(), "sha1").digest()).decode()
    if who != name or password != right or not 3500 < int(expiry) - time.time() < 3700:
        raise Failed(f"    {value}")


@case("who asks in a REGISTER gets credentials of stile-turn, over TLS, from us or with the answer of a UC server")
def _(w):
    begin(w, row(A), tls=True, users="[ { name: zoe, password: hush } ]", turn=TURN)
    with Uc(w, A, ["alice"]) as a, Ua("tls", ("127.0.0.1", w.base + 1), context=w.context(), name="uc.test") as ua, \
            w.tcp(lan=False) as open_one:
        a.logon()
        a.serve()

        def register(by, user, *headers):
            return registered(by, user, "hush", headers, Contact=f"<sip:{user}@10.1.1.1>;expires=300")

        asks = "X-TURN-Credentials: please"
        turn_of(register(ua, "zoe", asks), "zoe@uc.test")
        turn_of(register(ua, "alice", asks), "alice@uc.test")
        if a.messages("REGISTER")[0].get("X-TURN-Credentials"):
            raise Failed("    the question was passed on")
        for m in (register(ua, "zoe"), register(ua, "alice"), register(open_one, "zoe", asks), register(open_one, "alice", asks),
                  ua.ask("REGISTER", "sip:uc.test", [asks], To="<sip:zoe@uc.test>", From="<sip:zoe@uc.test>;tag=r")):
            if m.get("X-TURN-Credentials"):
                raise Failed(f"    credentials for one who should not have them: {m.start}")
    w.ask("sip", "credentials", "alice@uc.test").exits(0).says(":alice@uc.test", "good for  3600 s", "turn:turn.test:3478")
    w.ask("sip", "credentials", "x" * 400).exits(1).says("at most 250 bytes")
    for bad, text in (('{ secret: x }', "say where stile-turn is"), ('{ uris: ["turn:a"] }', "nothing can be minted"),
                      ('{ uris: ["http://a"], secret: x }', "must be as turn:"),
                      ('{ uris: ["turn:a"], secret: x, header: "a b" }', "must be a header's name")):
        w.config(turn=bad)
        w.check().exits(2).says(text)


@case("servers are made, changed and removed while it runs; wrong ones are refused with the reason; a restart keeps them")
def _(w):
    begin(w, row(A), users="[ { name: zoe, password: hush } ]")

    def server(*argv, stdin=""):
        return w.ask("sip", "server", *argv, stdin=stdin)
    with Uc(w, A, ["alice"]) as a, Uc(w, "uc-new", ["bob"]) as b:
        a.logon()
        a.serve()
        server("add", "uc-new", "--password", "--users", "bob,2*", stdin="pw-uc-new\n").exits(0).says("uc-new may log on")
        b.logon()
        b.serve()
        said(a.send("MESSAGE", "sip:bob@uc.test"), 200)
        server("list").exits(0).says("uc-a", "file", "uc-new", "set", "bob,2*", "store").never_says("pw-uc-new")
        if "pw-uc-new" in server("list", "--json").exits(0).out:
            raise Failed("    the password is shown")
        server("set", "uc-new", "--weight", "300", "--users", "").exits(0)
        if state(w, "uc-new")["weight"] != 300 or not state(w, "uc-new")["on"]:
            raise Failed(f"    {state(w, 'uc-new')}")
        for argv, words in ((("add", "uc-new", "--addresses", "10.0.0.1/32"), "already"), (("add", "uc-a", "--addresses", "10.0.0.1/32"), "stands in sip.lan"),
                            (("set", "uc-a", "--weight", "1"), "stands in sip.lan.servers"), (("add", "uc-x"), "could be anybody"),
                            (("add", "uc-x", "--addresses", "10.0.0"), "'addresses' must be a prefix"), (("add", "uc-x", "--contact", "10.0.0.6"), "must be a SIP URI"),
                            (("add", "uc-x", "--certificate-name", "a.test"), "mtls listener"), (("add", "zoe", "--addresses", "10.0.0.1/32"), "is a user, too"),
                            (("add", "uc-x", "--addresses", "10.0.0.1/32", "--weight", "5000"), "1000"),
                            (("set", "uc-new", "--no-password"), "could be anybody"), (("remove", "uc-z"), "there is no UC server")):
            server(*argv).exits(1).says(words)
        w.ask("sip", "user", "add", "joe", stdin="secret\n").exits(0)
        server("add", "joe", "--addresses", "10.0.0.1/32").exits(1).says("is a user, too")
        for program in list(w.servers):
            program.stop()
        w.start()
    with Uc(w, A, ["alice"]) as a, Uc(w, "uc-new", ["bob"]) as b:
        for s in (a, b):
            s.logon()
            s.serve()
        said(a.send("MESSAGE", "sip:bob@uc.test"), 200)
        server("remove", "uc-new").exits(0).says("logged off")
        w.logged("sip.server.off", "uc-new")
        said(a.send("MESSAGE", "sip:bob@uc.test"), 404)
        w.ask("sip", "servers").says("uc-a").never_says("uc-new")


@case("a server that did not answer and logs on from elsewhere is asked and reached at once")
def _(w):
    begin(w, row(A), row(B))
    with Uc(w, B, ["bob"]) as b:
        b.logon()
        b.serve()
        with Uc(w, A, ["alice"]) as a:
            a.logon()
            a.serve()
            wait_for("it is well", lambda: state(w, A)["health"] == "well")
        wait_for("its end is seen", lambda: state(w, A)["health"] == "does not answer")
        with Uc(w, A, ["alice"]) as a:
            a.logon()
            a.serve()
            said(b.send("MESSAGE", "sip:alice@uc.test"), 200)


@case("a restart of the proxy keeps who is logged on; one whose time was over has to log on again")
def _(w):
    begin(w, row(A), row(B), row(C))
    with Uc(w, A, ["alice"], "udp") as a, Uc(w, B, ["bob"], "udp") as b, Uc(w, C, transport="udp") as c:
        for s in (a, b):
            s.logon()
        c.logon()
        c.logon(expires=0)
        for s in (a, b):
            s.serve()
        for program in list(w.servers):
            program.stop()
        w.start()
        for name, on in ((A, True), (B, True), (C, False)):
            if state(w, name)["on"] != on or (on and state(w, name)["transport"] != "udp"):
                raise Failed(f"    {state(w, name)}")
        said(a.send("MESSAGE", "sip:bob@uc.test"), 200)
        said(b.send("MESSAGE", "sip:alice@uc.test"), 200)


@case("explain says of a user whom nobody knows that the servers are asked, and what comes of it; nothing is sent")
def _(w):
    begin(w, row(A), row(B))
    with Uc(w, A, ["alice"]) as a, Uc(w, B) as b, w.udp(lan=False) as eve:
        ask = ("sip", "explain", "--from", "eve@evil.test", "--to", "nobody@uc.test")
        w.ask(*ask).exits(1).says("no other UC server is logged on", "480")
        a.logon()
        a.serve()
        w.ask(*ask).exits(0).says("asked who has nobody@uc.test (1 of 2 are logged on)", "says yes; 404 if all say no")
        if a.asked:
            raise Failed("    it was asked")
        b.logon()
        b.serve()
        said(eve.ask("MESSAGE", "sip:nobody@uc.test", From="<sip:eve@evil.test>;tag=e"), 404)
        w.ask(*ask).exits(1).says("a moment ago", "404")


@case("every kind of request goes from a user of one server to one of another, and the answer back")
def _(w):
    begin(w, row(A), row(B))
    with Uc(w, A, ["alice"]) as a, Uc(w, B, ["bob"]) as b:
        for s in (a, b):
            s.logon()
            s.serve()
        kinds = ("MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INVITE", "INFO", "UPDATE", "REFER", "OPTIONS")
        for method in kinds:
            said(a.send(method, "sip:bob@uc.test"), 200)
            if method != "OPTIONS" and len(b.messages(method)) != 1:
                raise Failed(f"    {method}: {len(b.messages(method))} arrived")


@case("a server logs on over TLS, and is reached by that connection")
def _(w):
    w.certificate()
    w.config(tls=True, lan=f'{{ listen: ["udp:127.0.0.1:{w.lan}", "tls:127.0.0.1:{w.other(5)}"], servers: [ {row(A)}, {row(B)} ] }}')
    w.start()
    with Uc(w, A, ["alice"], "tls", to=("127.0.0.1", w.other(5)), context=w.context(), name="uc.test") as a, Uc(w, B, ["bob"], "udp") as b:
        a.logon()
        a.serve()
        b.logon()
        b.serve()
        wait_for("it is well", lambda: state(w, A)["health"] == "well" and state(w, A)["transport"] == "tls")
        said(a.send("MESSAGE", "sip:bob@uc.test"), 200)
        said(b.send("MESSAGE", "sip:alice@uc.test"), 200)
        if len(a.messages()) != 1:
            raise Failed("    not over its connection")


@case("what is wrong with sip.lan.servers is said with its place")
def _(w):
    def bad(text, *rows_, **keys):
        w.config(lan=servers(*rows_).replace("{lan}", str(w.lan)), **keys)
        w.check().exits(2).says(text)
    bad("could be anybody", "{ user: uc-a }")
    bad("there are two servers uc-a", row(A), row(A))
    bad("one of sip.users", row("bob"), users="[ { name: bob, password: x } ]")
    bad("must be a SIP URI", "{ user: uc-a, contact: \"10.0.0.6\" }")
    bad("mtls listener", "{ user: uc-a, certificate_name: a.test }")
    w.config(lan=servers(row(A), '{ user: old, contact: "sip:10.0.0.9;transport=tls" }').replace("{lan}", str(w.lan)))
    w.check().exits(0).says("sip.lan.listen has no tls interface")


@case("a server that cannot log on is there by its contact, is seen to die and to come back")
def _(w):
    with Listening(w.other(1)) as port:
        begin(w, row(A), f"{{ user: uc-b, contact: \"sip:127.0.0.1:{w.other(1)};transport=tcp\", users: [ bob ] }}")
        with port.accept(20) as ua:
            m = ua.expect("OPTIONS", seconds=20)
            ua.reply(m, 200)
            wait_for("it is well", lambda: state(w, B)["health"] == "well" and state(w, B)["state"] == "by configuration")
            with w.udp(lan=False) as eve:
                eve.raw(eve.request("MESSAGE", "sip:bob@uc.test", From="<sip:eve@evil.test>;tag=e", body="x"))
                m = ua.expect()
                while m.method == "OPTIONS":  # is it well? by now it may be asked again
                    ua.reply(m, 200)
                    m = ua.expect()
                if m.method != "MESSAGE":
                    raise Failed(f"    {m.start}")
                ua.reply(m, 200)
                eve.expect(status=200)
    wait_for("its end is seen", lambda: state(w, B)["health"] == "does not answer")
    with Listening(w.other(1)) as port:
        with port.accept(30) as ua:
            ua.reply(ua.expect("OPTIONS", seconds=20), 200)
            wait_for("it is well again", lambda: state(w, B)["health"] == "well")
    w.logged("sip.server.well", B)


if __name__ == "__main__":
    raise SystemExit(main(28700))
