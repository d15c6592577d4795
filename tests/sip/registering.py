# SPDX-License-Identifier: Apache-2.0
"""Our users: made with the tool or in the file, they register with digest authentication (sipp, and a user agent of a few
lines), are reached where they registered, over the connection that they made, and by nobody else's word."""
import os

from sip_world import Failed, Ua, case, credentials, main, wait_for


def register(ua, user, password, which=0, expires=300, status=200, contact="", headers=()):
    """REGISTER, the challenge, and REGISTER with the credentials for its nth algorithm."""
    me = f"sip:{user}@uc.test"
    more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", "Contact": f"<sip:{user}@10.9.9.9:5060>;expires={expires}{contact}"}
    m = ua.ask("REGISTER", "sip:uc.test", headers, **more)
    if m.status != 401:
        raise Failed(f"    expected 401, got: {m.start}")
    offered = m.all("WWW-Authenticate")
    m = ua.ask("REGISTER", "sip:uc.test", headers, Authorization=credentials(offered[which], user, password, "REGISTER", "sip:uc.test"), **more)
    if m.status != status:
        raise Failed(f"    expected {status}, got: {m.start}")
    return m


@case("a user registers with SHA-256 and MD5, and is called by the connection from which it came")
def _(w):
    w.config(users="[ { name: bob, password: hush } ]")
    w.start()
    with w.tcp(lan=False) as bob, w.udp(lan=False) as eve:
        for which in (0, 1):
            if not register(bob, "bob", "hush", which).get("Contact"):
                raise Failed("    no Contact in the 200")
        w.ask("sip", "registrations").exits(0).says("bob@uc.test", "sip:bob@10.9.9.9:5060")
        data = eve.request("MESSAGE", "sip:bob@uc.test", body="hello", From="<sip:eve@evil.test>;tag=e",
                           P_Asserted_Identity="<sip:boss@uc.test>")
        eve.raw(data)
        m = bob.expect("MESSAGE")
        if m.get("P-Asserted-Identity") or not m.start.startswith("MESSAGE sip:bob@10.9.9.9:5060 "):
            raise Failed(f"    {m.start}")
        bob.reply(m, 200)
        eve.expect(status=200)
        register(bob, "bob", "hush", expires=0)
        if eve.ask("MESSAGE", "sip:bob@uc.test", From="<sip:eve@evil.test>;tag=e").status != 480:
            raise Failed("    not 480 for one who has gone")
        if eve.ask("MESSAGE", "sip:nobody@uc.test", From="<sip:eve@evil.test>;tag=e").status != 404:
            raise Failed("    not 404 for one who does not exist")


@case("an administrator ends a registration, one or all of a user; the next REGISTER makes it anew")
def _(w):
    w.config(users="[ { name: bob, password: hush } ]")
    w.start()
    with w.tcp(lan=False) as bob, w.udp(lan=False) as other:
        register(bob, "bob", "hush")
        register(other, "bob", "hush", contact=";+sip.instance=\"<urn:uuid:1>\"")
        w.ask("sip", "unregister", "bob@uc.test", "sip:nobody@127.0.0.1").exits(1).says("is not registered with")
        w.ask("sip", "unregister", "eve@uc.test").exits(1).says("eve@uc.test is not registered")
        w.ask("sip", "unregister", "bob@uc.test", "sip:bob@10.9.9.9:5060").exits(0).says("are ended")
        w.ask("sip", "registrations").exits(0).says("nobody is registered")
        register(bob, "bob", "hush")
        w.ask("sip", "unregister", "bob@uc.test").exits(0).says("1 registrations")
        register(bob, "bob", "hush")
        w.ask("sip", "registrations").exits(0).says("bob@uc.test")


@case("for clients that give up at SHA-256 it can be left out, and then is not taken either")
def _(w):
    users = "[ { name: bob, password: hush } ]"
    w.config(users=users, digest="[md5]")
    w.start()
    with w.udp(lan=False) as bob:
        m = bob.ask("REGISTER", "sip:uc.test", From="<sip:bob@uc.test>;tag=r", To="<sip:bob@uc.test>")
        if len(m.all("WWW-Authenticate")) != 1 or "algorithm=MD5" not in m.get("WWW-Authenticate"):
            raise Failed(f"    {m.all('WWW-Authenticate')}")
        register(bob, "bob", "hush")
        w.config(users=users, digest="[sha-256]")
        w.reload()
        register(bob, "bob", "hush")
    w.config(users=users, digest="[sha1]")
    w.check().exits(2).says("'digest' must be one of md5, sha-256")


@case("a telephone whose outbound proxy is a name that we do not know is refused in words that help, and taken once we know it")
def _(w):
    for federation in ("off", "open"):
        keys = {"users": "[ { name: bob, password: hush } ]"}
        if federation == "open":
            w.certificate()
            keys.update(certificate="server.pem", key="server.key", ca="ca.pem", federation=f'{{ mode: open, listen: "mtls:127.0.0.1:{w.mtls}" }}')
        w.config(**keys)
        server = w.start()
        with w.udp(lan=False) as bob:
            m = bob.ask("REGISTER", "sip:uc.test", ["Route: <sip:proxy.uc.test:5060;lr>"], From="<sip:bob@uc.test>;tag=r", To="<sip:bob@uc.test>")
            if m.status != 403:
                raise Failed(f"    {m.start}")
            w.logged("sip.refused.relay", "its Route names proxy.uc.test", "advertise")
        server.stop()
        os.unlink(w.path("log/stile-sip.log"))
    w.config(users="[ { name: bob, password: hush } ]", listen=None,
             interfaces=f'[ {{ listen: "udp:127.0.0.1:{w.base}", advertise: "proxy.uc.test:5060" }} ]')
    w.start()
    with w.udp(lan=False) as bob:
        register(bob, "bob", "hush", headers=["Route: <sip:proxy.uc.test:5060;lr>"])


@case("users are made, changed and deleted with the tool, and are there after a restart")
def _(w):
    w.config(users="[ { name: bob, password: hush } ]")
    server = w.start()
    w.ask("sip", "user", "add", "carol", stdin="first\n").exits(0).says("carol@uc.test")
    w.ask("sip", "user", "add", "bob", stdin="other\n").exits(1).says("stile.yaml")
    server.stop()
    w.start()
    with w.udp(lan=False) as carol:
        register(carol, "carol", "first")
        w.ask("sip", "user", "passwd", "carol", stdin="second\n").exits(0)
        register(carol, "carol", "first", status=403)
        register(carol, "carol", "second")
        w.ask("sip", "user", "delete", "carol").exits(0)
        register(carol, "carol", "second", status=403)
    w.ask("sip", "user", "list").exits(0).says("bob@uc.test").never_says("carol")


@case("registrations outlive a restart and a kill: over UDP by the flow as before; 430 where the connection is gone")
def _(w):
    w.config(users="[ { name: bob, password: hush }, { name: carol, password: quiet } ]")
    server = w.start()
    with w.udp(lan=False) as bob, w.udp(lan=False) as eve:
        register(bob, "bob", "hush")
        with w.tcp(lan=False) as carol:
            register(carol, "carol", "quiet", contact=';+sip.instance="<urn:uuid:1>";reg-id=1', headers=["Supported: outbound, path"])
            server.stop()  # in an orderly way, at once
        for way in ("stopped", "killed"):
            server = w.start()
            w.ask("sip", "registrations").exits(0).says("sip:bob@10.9.9.9:5060")
            w.ask("sip", "registrations").exits(0).says("sip:carol@10.9.9.9:5060")
            eve.raw(eve.request("MESSAGE", "sip:bob@uc.test", body="hello", From="<sip:eve@evil.test>;tag=e"))
            bob.reply(bob.expect("MESSAGE"), 200)
            eve.expect(status=200)
            if eve.ask("MESSAGE", "sip:carol@uc.test", From="<sip:eve@evil.test>;tag=e").status != 430:
                raise Failed(f"    not 430 for a connection of before ({way})")
            if way == "stopped":
                register(bob, "bob", "hush", expires=600)
                wait_for("all to be written", lambda: w.metric("stile_sip_registrations_unwritten") == 0)
                server.process.kill()
                server.process.wait()
                server.ended = True
        register(bob, "bob", "hush", expires=0)
        server.stop()
        w.start()
        w.ask("sip", "registrations").exits(0).says("carol@uc.test").never_says("bob@uc.test")


@case("behind a restart a telephone behind its NAT is reached by its flow, also where the listener is for all addresses")
def _(w):
    w.config(listen=f'["udp:0.0.0.0:{w.base}"]', lan=f'{{ listen: ["tcp:127.0.0.1:{w.lan}"] }}', users="[ { name: bob, password: hush } ]")
    server = w.start()
    with w.udp(lan=False) as bob:
        register(bob, "bob", "hush")
        server.stop()
        w.start()
        with w.tcp() as eve:
            eve.raw(eve.request("MESSAGE", "sip:bob@uc.test", body="hello", From="<sip:eve@evil.test>;tag=e"))
            bob.reply(bob.expect("MESSAGE"), 200)
            eve.expect(status=200)


@case("two thousand users are listed whole, found at once, and told by which way to send (Service-Route)")
def _(w):
    users = ", ".join(f"{{ name: user{i}, password: p{i} }}" for i in range(2000))
    w.config(users=f"[ {users} ]", service_route='"sip:127.0.0.1:{p};lr"'.replace("{p}", str(w.base)))
    w.start()
    said = w.ask("sip", "user", "list").exits(0)
    if sum("@uc.test" in line for line in said.out.splitlines()) != 2000:
        raise Failed("    not all users are listed")
    with w.udp(lan=False) as ua:
        if register(ua, "user1999", "p1999").get("Service-Route") != f"<sip:127.0.0.1:{w.base};lr>":
            raise Failed("    no Service-Route")
        w.config(users=f"[ {users} ]")
        w.reload()
        if register(ua, "user0", "p0").get("Service-Route"):
            raise Failed("    a Service-Route that is not configured any more")
    w.config(users="[ { name: bob, password: hush } ]", service_route='"sip:alice@127.0.0.1"')
    w.check().exits(2).says("loose router")


@case("the routes of a call take a stranger into no registration and not back to us, however he writes our own address")
def _(w):
    w.config(users="[ { name: alice, password: secret }, { name: bob, password: hush } ]")
    w.start()
    with w.udp() as bob, w.udp(lan=False) as eve:
        bob.ask("REGISTER", "sip:uc.test", From="<sip:bob@uc.test>;tag=r", To="<sip:bob@uc.test>", Contact=f"<sip:bob@{bob.place()}>")
        dialog = {"From": "<sip:eve@evil.test>;tag=e", "Call-ID": "call@evil.test"}
        eve.raw(eve.request("INVITE", "sip:bob@uc.test", CSeq="1 INVITE", **dialog))
        bob.reply(bob.expect("INVITE"), 180, "Ringing")
        m = eve.next()
        while m and m.status == 100:
            m = eve.next()
        routes = [f"Route: {value}" for value in reversed(m.all("Record-Route"))]
        if not routes:
            raise Failed(f"    no Record-Route in {m.start}")
        for n, host in enumerate(("127.0.0.1", "0.0.0.0", "localhost"), 2):
            for method, status in (("REGISTER", (401, 403)), ("MESSAGE", (482,))):
                m = eve.ask(method, f"sip:{host}:{w.lan}", routes, CSeq=f"{n} {method}", To="<sip:alice@uc.test>;tag=b1", **dialog)
                if m.status not in status:
                    raise Failed(f"    {method} to {host}: {m.start}")
    w.ask("sip", "registrations").exits(0).says("bob@uc.test").never_says("alice@uc.test")


@case("who calls a user does not come back to us as from the own network, whatever Path or maddr the user has registered")
def _(w):
    w.config(users="[ { name: bob, password: hush } ]")
    w.start()
    places = [("127.0.0.1", "<sip:00491@out.test>", [f"Path: <sip:{host}:{w.lan};lr>"]) for host in ("127.0.0.1", "localhost", "0.0.0.0")]
    places.append(("127.0.0.2", f"<sip:bob@127.0.0.2:{w.lan};maddr=127.0.0.1>", []))
    with Ua("udp", None, bind=("127.0.0.1", w.other(0))) as gateway, w.udp(lan=False) as eve:
        for source, contact, headers in places:
            with w.udp(lan=False, bind=(source, w.lan if source == "127.0.0.2" else 0)) as bob:
                more = {"From": "<sip:bob@uc.test>;tag=r", "To": "<sip:bob@uc.test>", "Contact": contact + ";expires=300"}
                m = bob.ask("REGISTER", "sip:uc.test", headers, **more)
                auth = credentials(m.get("WWW-Authenticate"), "bob", "hush", "REGISTER", "sip:uc.test")
                m = bob.ask("REGISTER", "sip:uc.test", headers, Authorization=auth, **more)
                if m.status != 200:
                    raise Failed(f"    {contact}: {m.start}")
                eve.raw(eve.request("MESSAGE", "sip:bob@uc.test", From="<sip:eve@evil.test>;tag=e"))
                m = eve.next()
                if not m or m.status != 482:
                    raise Failed(f"    {contact} {headers}: {m.start if m else gateway.expect('MESSAGE').start}")
            w.ask("sip", "unregister", "bob@uc.test").exits(0)
    w.logged("sip.refused.loop", "leads back to a listener of ours")


@case("who guesses passwords waits, and the log says who")
def _(w):
    w.config(users="[ { name: bob, password: hush } ]")
    w.start()
    with w.udp(lan=False) as eve:
        for _i in range(6):
            register(eve, "bob", "guess", status=403)
        register(eve, "bob", "hush", status=403)
    w.logged("bob@uc.test", "the credential is not good")


if __name__ == "__main__":
    raise SystemExit(main(23100))
