# SPDX-License-Identifier: Apache-2.0
"""stile-sip between domains: a second stile-sip and Kamailio as other domains' proxies, a real name server with the SRV
records, a CA of the test's own. What goes each way over mutual TLS; everything that must be refused, with its status, its
counter and its line in the log, while the good partner goes on; lists that change while it runs; and the tools that
say where it stops. In network namespaces of its own: root only.
"""
import json
import os
import socket
import ssl
import threading
import time

from kamailio import Kamailio, write_tls
from name_server import HEAD, NameServer, inside
from sip_world import BUILD, Failed, Listening, Message, Ua, case, credentials, main, wait_for

FRIEND = "stile-sip@friend"

# Ports: base+4 our interface for partners; o0 friend's, o1 Kamailio's; o2 and o3 friend's udp and lan; o4 where somebody of the test listens.
ZONE = HEAD + """inside IN A 10.9.9.9
_sipfederationtls._tcp.uc IN SRV 10 0 {home} a
_sipfederationtls._tcp.friend IN SRV 10 0 {o0} a
_sipfederationtls._tcp.kam IN SRV 10 0 {o1} a
_sipfederationtls._tcp.wrong IN SRV 10 0 {o0} a
_sipfederationtls._tcp.lan IN SRV 10 0 5061 inside
_sipfederationtls._tcp.self IN SRV 10 0 {home} a
_sipfederationtls._tcp.stalls IN SRV 10 0 {o4} a
_sipfederationtls._tcp.moves 1 IN SRV 10 0 {o4} a
plain IN A 127.0.0.1
"""


def zone(w, text=ZONE):
    return text.replace("{home}", str(home(w)))


def home(w):
    return w.base + 4


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def home_config(w, **keys):
    federation = keys.pop("federation", "")
    w.certificate("uc", "DNS:uc.test,IP:127.0.0.1")
    usual = {"domains": "[uc.test]", "routes": None, "certificate": "uc.pem", "key": "uc.key", "ca": "ca.pem",
             "federation": f'{{ mode: open, listen: "mtls:127.0.0.1:{home(w)}", addresses: [127.0.0.0/8]{federation} }}'}
    usual.update(keys)
    w.config(**usual)


def friend_config(w, domain="friend.test", **keys):
    w.certificate("friend", f"DNS:{domain},IP:127.0.0.1")
    usual = {"domains": f"[{domain}]", "routes": None, "certificate": "friend.pem", "key": "friend.key", "ca": "ca.pem",
             "listen": '["udp:127.0.0.1:{o2}"]', "lan": '{ listen: ["udp:127.0.0.1:{o3}"] }',
             "federation": '{ mode: open, listen: "mtls:127.0.0.1:{o0}", addresses: [127.0.0.0/8], rate: 0 }'}
    usual.update(keys)
    w.config("friend.yaml", **usual)


def start_both(w, **keys):
    home_config(w, **keys)
    friend_config(w)
    w.start()
    w.start("friend.yaml", "--instance", "friend")


def registered(w, name, domain, port):
    """A user agent in the LAN of its proxy, registered there."""
    ua = Ua("udp", ("127.0.0.1", port))
    got = ua.ask("REGISTER", f"sip:{domain}", From=f"<sip:{name}@{domain}>;tag=r", To=f"<sip:{name}@{domain}>",
                 Contact=f"<sip:{name}@{ua.place()}>")
    if got.status != 200:
        raise Failed(f"    {name}@{domain} is not registered: {got.start}")
    ua.me, ua.tagged = f"sip:{name}@{domain}", f"<sip:{name}@{domain}>;tag={name}"
    return ua


def alice_of(w):
    return registered(w, "alice", "uc.test", w.lan)


def bob_of(w):
    return registered(w, "bob", "friend.test", w.other(3))


def send(ua, method, to, body="", headers=(), **replace):
    data = ua.request(method, to, headers, body, **{"From": ua.tagged, **replace})
    ua.raw(data)
    return Message(data)


def arrives(sender, receiver, to, method="MESSAGE", body="hello"):
    sent = send(sender, method, to, body)
    got = receiver.expect(method, seconds=20)
    if got.get("Call-ID") != sent.get("Call-ID") or got.body.decode() != body:
        raise Failed(f"    another message arrived: {got.start}")
    receiver.reply(got, 200)
    final = sender.final(sent.get("Call-ID"), 20)
    if final.status != 200:
        raise Failed(f"    {final.start}")
    return got


def final(ua, to):
    sent = send(ua, "MESSAGE", to, "x")
    return ua.final(sent.get("Call-ID"), 20)


def refused(ua, to, *codes):
    got = final(ua, to)
    if got.status not in codes:
        raise Failed(f"    {to}: {got.start}, expected {codes}")


def counted(w, **label):
    """At least so many refusals for each reason."""
    for reason, n in label.items():
        if w.metric("stile_sip_refusals_total", reason) < n:
            raise Failed(f"    {reason} was counted {w.metric('stile_sip_refusals_total', reason)} times")


class Partner:
    """The other end of a mutual TLS connection to our interface for partners, with a certificate of the test's."""

    def __init__(self, w, certificate, port=None, server="uc.test"):
        self.ua = Ua("tls", ("127.0.0.1", port or home(w)), context=context(w, certificate), name=server)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ua.close()

    def ask(self, method, to, sender, headers=(), body="x", **replace):
        return self.ua.ask(method, to, headers, body, From=f"<{sender}>;tag=p", **replace)


def context(w, certificate=None, server=False):
    c = w.context(server=server, name=certificate)
    if server:
        c.verify_mode = ssl.CERT_NONE
    return c


# ---- what goes ----

def dialog(caller, callee, to):
    """A call: INVITE, 180, 200, ACK, INFO back, BYE from the callee."""
    sent = send(caller, "INVITE", to, Contact=f"<sip:caller@{caller.place()}>")
    invite = callee.expect("INVITE", seconds=20)
    contact = [f"Contact: <sip:callee@{callee.place()}>"]
    callee.reply(invite, 180, "Ringing", contact)
    callee.reply(invite, 200, "OK", contact)
    ok = caller.final(sent.get("Call-ID"), 20)
    if ok.status != 200:
        raise Failed(f"    the call: {ok.start}")
    target = ok.get("Contact").strip("<>")
    routes = [f"Route: {r}" for r in reversed(ok.all("Record-Route"))]
    if not routes:
        raise Failed("    no Record-Route")
    caller.raw(caller.request("ACK", target, routes, From=sent.get("From"), To=ok.get("To"), Call_ID=sent.get("Call-ID"), CSeq="1 ACK"))
    callee.expect("ACK", seconds=20)
    back = [f"Route: {r}" for r in invite.all("Record-Route")]
    callee.raw(callee.request("BYE", invite.get("Contact").strip("<>"), back, From=ok.get("To"), To=sent.get("From"),
                              Call_ID=sent.get("Call-ID"), CSeq="7 BYE"))
    bye = caller.expect("BYE", seconds=20)
    caller.reply(bye, 200)
    if callee.final(sent.get("Call-ID"), 20).status != 200:
        raise Failed("    BYE was not answered")


@case("messages, presence and calls go to another domain by its SRV record, and back, over mutual TLS")
def _(w):
    with NameServer(w, zone(w)):
        start_both(w)
        with alice_of(w) as alice, bob_of(w) as bob:
            got = arrives(alice, bob, "sip:bob@friend.test")
            if "TLS" not in got.all("Via")[1]:
                raise Failed(f"    not over TLS: {got.all('Via')}")
            arrives(bob, alice, "sip:alice@uc.test")
            arrives(alice, bob, "sip:bob@friend.test", "SUBSCRIBE", "")
            arrives(bob, alice, "sip:alice@uc.test", "PUBLISH", "")
            dialog(alice, bob, "sip:bob@friend.test")
            dialog(bob, alice, "sip:alice@uc.test")
        seen = w.verb("sip.federation")["seen"]
        if not seen or seen[0]["domain"] != "friend.test" or seen[0]["in"]["messages"] != 1 or seen[0]["out"]["calls"] != 1:
            raise Failed(f"    {seen}")
        w.ask("sip", "federation").exits(0).says("mode open", "friend.test", "1 messages")
        names = [f["identity"] for f in w.flows() if f["transport"] == "tls"]
        if ["friend.test", "127.0.0.1"] not in names:
            raise Failed(f"    {names}")


KAMAILIO = """
#!KAMAILIO
children=2
fork=yes
log_stderror=yes
debug=2
enable_tls=yes
listen=udp:127.0.0.1:{udp}
listen=tls:127.0.0.1:{tls}
alias="kam.test"
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
modparam("tls", "config", "{tlscfg}")
request_route {{
	if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
	if (has_totag()) {{ loose_route(); t_relay(); exit; }}
	if (is_method("INVITE|SUBSCRIBE")) record_route();
	if (proto == TLS) {{ $du = "sip:127.0.0.1:{user}"; t_relay(); exit; }}
	$du = "sip:127.0.0.1:{home};transport=tls"; $fs = "tls:127.0.0.1:{tls}"; t_relay();
}}
"""


def start_kamailio(w, user):
    """kam.test: what comes over TLS goes to its one user, what its user sends goes to us over TLS."""
    w.certificate("kam", "DNS:kam.test,IP:127.0.0.1")
    tls = w.other(1)
    text = KAMAILIO.format(udp=w.other(5), tls=tls, user=user.at[1], home=home(w), tlscfg=write_tls(w, "kam"))
    Kamailio(w, text).start_until(lambda: is_open(tls), 20)


@case("a domain behind Kamailio: messages and calls both ways, certificates checked on both sides")
def _(w):
    with NameServer(w, zone(w)), Ua("udp", ("127.0.0.1", w.other(5))) as carol:
        start_kamailio(w, carol)
        carol.me, carol.tagged = "sip:carol@kam.test", "<sip:carol@kam.test>;tag=carol"
        home_config(w)
        w.start()
        with alice_of(w) as alice:
            arrives(alice, carol, "sip:carol@kam.test")
            arrives(carol, alice, "sip:alice@uc.test")
            dialog(alice, carol, "sip:carol@kam.test")
            dialog(carol, alice, "sip:alice@uc.test")
            # what Kamailio lets its users claim, we do not
            got = carol.ask("MESSAGE", "sip:alice@uc.test", From="<sip:ceo@uc.test>;tag=x")
            if got.status != 403:
                raise Failed(f"    {got.start}")
        w.logged("sip.refused.identity", "a partner speaks for one of our own domains")


# ---- what does not ----

@case("a valid certificate for the wrong domain is refused, whoever calls; a From must be of the certificate; nobody is relayed")
def _(w):
    with NameServer(w, zone(w)):
        start_both(w)
        with alice_of(w) as alice, bob_of(w) as bob:
            refused(alice, "sip:x@wrong.test", 500, 503)  # its SRV leads to who proves friend.test
            w.logged("sip.connection.failed", "wrong.test")
            with Partner(w, "friend") as p:
                for sender, headers, to, code in (
                        ("sip:eve@third.test", (), alice.me, 403), ("sip:ceo@uc.test", (), alice.me, 403),
                        ("sip:eve@sub.friend.test", (), alice.me, 403),
                        ("sip:bob@friend.test", ["P-Asserted-Identity: <sip:ceo@uc.test>"], alice.me, 403),
                        ("sip:bob@friend.test", (), "sip:x@third.test", 403), ("sip:bob@friend.test", (), "sip:x@127.0.0.1:5999", 403),
                        ("sip:bob@friend.test", (), "sip:nobody@uc.test", 404)):
                    got = p.ask("MESSAGE", to, sender, headers)
                    if got.status != code:
                        raise Failed(f"    From {sender} to {to} {headers}: {got.start} in place of {code}")
                got = p.ask("REGISTER", "sip:uc.test", "sip:alice@uc.test", To="<sip:alice@uc.test>")
                if got.status != 403:
                    raise Failed(f"    REGISTER: {got.start}")
            counted(w, identity=4, relay=2, unreachable=1)
            w.logged("sip.refused.identity", "the sender may not speak for this From")
            w.logged("sip.refused.relay", "sip:x@third.test")
            with w.udp(lan=False) as stranger:  # over UDP the same From is no better
                got = stranger.ask("MESSAGE", alice.me, From="<sip:bob@friend.test>;tag=s")
                if got.status != 403:
                    raise Failed(f"    {got.start}")
            if alice.next(0.2):
                raise Failed("    something reached alice")
            arrives(bob, alice, alice.me)


def made(w, name, names, *more, ca=True):
    """A certificate with dates or a CA of its own."""
    w.authority()
    w.write(name + ".ext", f"subjectAltName={names}\n")
    if not ca:
        w.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                  f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", name + ".key", "-out", name + ".pem")
        return
    w.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout",
              name + ".key", "-out", name + ".csr")
    if not os.path.exists(w.path("ca.conf")):
        w.write("index.txt", "")
        w.write("serial", "1001\n")
        w.write("crlnumber", "01\n")
        w.write("ca.conf", f"""[ca]
default_ca = d
[d]
database = {w.path("index.txt")}
serial = {w.path("serial")}
crlnumber = {w.path("crlnumber")}
new_certs_dir = {w.folder}
certificate = {w.path("ca.pem")}
private_key = {w.path("ca.key")}
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
""")
    w.openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-in", name + ".csr", "-extfile", name + ".ext", "-out", name + ".pem", *more)


def handshake_fails(w, certificate):
    """The server may only say so when something is read."""
    try:
        with Partner(w, certificate) as p:
            got = p.ask("MESSAGE", "sip:alice@uc.test", "sip:x@bad.test", seconds=20)
            return got.status
    except (ssl.SSLError, ConnectionError, Failed):
        return 0


@case("expired, not yet valid, revoked and self-signed certificates are refused in plain words, and the good one goes on")
def _(w):
    with NameServer(w, zone(w)):
        made(w, "old", "DNS:bad.test", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
        made(w, "new", "DNS:bad.test", "-startdate", "20480101000000Z", "-enddate", "20490201000000Z")
        made(w, "gone", "DNS:bad.test")
        made(w, "own", "DNS:bad.test", ca=False)
        start_both(w)
        with alice_of(w) as alice, bob_of(w) as bob:
            with Partner(w, "gone") as p:
                if p.ask("MESSAGE", "sip:nobody@uc.test", "sip:x@bad.test").status != 404:
                    raise Failed("    before it is revoked it is good")
            w.openssl("ca", "-config", "ca.conf", "-revoke", "gone.pem")
            w.openssl("ca", "-config", "ca.conf", "-gencrl", "-out", "crl.pem")
            home_config(w, crl="crl.pem")
            w.reload()
            for name, words in (("old", "certificate has expired"), ("new", "certificate is not yet valid"),
                                ("gone", "certificate revoked"), ("own", "self-signed certificate")):
                if handshake_fails(w, name):
                    raise Failed(f"    {name} was taken")
                w.logged("sip.connection.failed", words)
            if w.metric("stile_sip_connection_failures_total", "tls") < 4:
                raise Failed("    the counter did not move")
            arrives(bob, alice, alice.me)
            arrives(alice, bob, bob.me)
            # the same for those that we connect to
            for name in ("old", "own", "gone"):
                with Listening(w.other(4), context(w, name, server=True)) as there:
                    taker = threading.Thread(target=quietly, args=(there.accept,))
                    taker.start()
                    refused(alice, "sip:x@moves.test", 500, 503)
                    taker.join(20)
            w.write("bad.crl", "no list")
            home_config(w, crl="bad.crl")
            w.check().exits(2).says("holds no PEM revocation list")


def quietly(fn):
    try:
        fn()
    except Failed:
        pass


@case("TLS that stalls in the handshake ends in time, both ways, and hurts nobody else")
def _(w):
    with NameServer(w, zone(w)):
        start_both(w, limits="{ handshake: 1600ms, connect: 2s }")
        with alice_of(w) as alice, bob_of(w) as bob, w.udp() as other, Listening(w.other(4)):  # takes connections and says nothing
            other.tagged = alice.tagged
            stalled = [socket.create_connection(("127.0.0.1", home(w)), 10) for _i in range(20)]
            sent = send(other, "MESSAGE", "sip:x@stalls.test", "x")
            arrives(bob, alice, alice.me)
            arrives(alice, bob, bob.me)
            got = other.final(sent.get("Call-ID"), 20)
            if got.status not in (500, 503):
                raise Failed(f"    {got.start}")
            for s in stalled:
                s.settimeout(20)
                try:
                    if s.recv(1):
                        raise Failed("    something was said")
                except ConnectionError:
                    pass
                s.close()
            counted(w, unreachable=1)
            if w.metric("stile_sip_connection_failures_total", "tls") < 20:
                raise Failed("    the counter did not move")
            w.logged("sip.connection.failed", "direction=in", "the TLS handshake was not finished in time")
            w.logged("sip.refused.unreachable", "stalls.test", "the TLS handshake was not finished in time")


@case("a partner that sends 1,000 messages at once gets 503 with Retry-After, and the others what they send")
def _(w):
    with NameServer(w, zone(w)):
        w.certificate("fast", "DNS:fast.test")
        start_both(w, federation=", partners: [ { domain: friend.test } ]")
        with alice_of(w) as alice, bob_of(w) as bob, Partner(w, "fast") as p:
            p.ua.raw(b"".join(p.ua.request("MESSAGE", "sip:nobody@uc.test", From="<sip:x@fast.test>;tag=f", body="x") for _i in range(1000)))
            arrives(bob, alice, alice.me)
            codes = {}
            while sum(codes.values()) < 1000:
                m = p.ua.next(20)
                if not m:
                    raise Failed(f"    {codes}")
                codes[m.status] = codes.get(m.status, 0) + 1
                if m.status == 503 and not m.get("Retry-After"):
                    raise Failed("    503 without Retry-After")
            if codes.get(404, 0) < 20 or codes.get(503, 0) < 500:
                raise Failed(f"    {codes}")
            for _i in range(50):  # a partner that is listed has no limit
                arrives(bob, alice, alice.me)
        w.logged("sip.refused.rate", "fast.test")
        counted(w, rate=codes[503])
        rows = {r["domain"]: r for r in w.verb("sip.federation")["seen"]}
        if rows["fast.test"]["limited"] != codes[503] or rows["friend.test"]["limited"]:
            raise Failed(f"    {rows}")


@case("DNS that lies, is silent or changes: no way inside or to ourselves, and nobody else waits")
def _(w):
    with NameServer(w, zone(w)) as names:
        start_both(w)
        with alice_of(w) as alice, bob_of(w) as bob:
            refused(alice, "sip:x@lan.test", 502)
            w.logged("sip.refused", "10.9.9.9")
            refused(alice, "sip:x@self.test", 482)
            w.logged("sip.refused.loop", "leads back to a listener of ours")
            refused(alice, "sip:x@plain.test", 502)
            w.logged("sip.refused", "publishes no SRV record")
            refused(alice, "sip:x@127.0.0.1", 403)
            arrives(alice, bob, bob.me)
            with Listening(w.other(4), context(w, "friend", server=True)) as there:
                taker = threading.Thread(target=quietly, args=(there.accept,))
                taker.start()
                refused(alice, "sip:x@moves.test", 500, 503)  # it proves friend.test
                taker.join(20)
            names.write(zone(w, ZONE.replace("_sipfederationtls._tcp.moves 1 IN SRV 10 0 {o4} a", "_sipfederationtls._tcp.moves 1 IN SRV 0 0 0 .")))
            names.stop()
            with w.udp() as other:
                other.tagged = alice.tagged
                silent = send(other, "MESSAGE", "sip:x@silence.test", "x")
                arrives(alice, bob, bob.me)  # its record is remembered
                got = other.final(silent.get("Call-ID"), 25)
                if got.status != 502:
                    raise Failed(f"    {got.start}")
            names.start()
            wait_for("the changed record is seen", lambda: final(alice, "sip:x@moves.test").status == 502)
            w.logged("sip.refused", "no SIP there")
            w.logged("sip.refused.unreachable", "silence.test")
            counted(w, unresolved=4, loop=1)


@case("two proxies that lead to each other end a loop with 482 or 483, at once")
def _(w):
    with NameServer(w, zone(w)):
        w.certificate("uc", "DNS:uc.test,DNS:loop.test,IP:127.0.0.1")
        w.certificate("friend", "DNS:friend.test,DNS:loop.test,IP:127.0.0.1")
        friend_config(w, routes=f"[ {{ domain: loop.test, host: 127.0.0.1, port: {home(w)}, transport: mtls }} ]",
                      sources="{ trusted: [127.0.0.1] }")
        home_config(w, routes="[ { domain: loop.test, host: 127.0.0.1, port: {o0}, transport: mtls } ]", sources="{ trusted: [127.0.0.1] }")
        w.start()
        w.start("friend.yaml", "--instance", "friend")
        with alice_of(w) as alice, bob_of(w) as bob:
            began = time.monotonic()
            refused(alice, "sip:x@loop.test", 482, 483)
            if time.monotonic() - began > 10:
                raise Failed("    it took long")
            w.logged("sip.refused.loop", "was here before", name="stile-sip@friend")
            if 'stile_sip_refusals_total{reason="loop"} 1' not in w.verb("sip.metrics", {"text": True}, full="stile-sip@friend")["text"]:
                raise Failed("    the counter did not move")
            arrives(alice, bob, bob.me)


# ---- static routes ----

@case("routes are made, switched and taken away while it runs; wrong ones are refused with the reason")
def _(w):
    home_config(w, routes="[ { domain: file.test, host: 127.0.0.1, port: {o0}, transport: udp } ]")
    w.start()
    with w.udp() as alice, Ua("udp", None, ("127.0.0.1", w.other(4))) as gw:
        alice.tagged = "<sip:alice@uc.test>;tag=a"
        refused(alice, "sip:x@out.test", 502)
        w.ask("sip", "route", "add", "out.test", "127.0.0.1", "--port", str(w.other(4)), "--transport", "udp").exits(0)
        arrives(alice, gw, "sip:x@out.test")
        w.ask("sip", "route", "list").exits(0).says("file.test", "file", "out.test", "store")
        w.ask("sip", "route", "disable", "out.test").exits(0)
        refused(alice, "sip:x@out.test", 502)
        w.ask("sip", "route", "enable", "out.test").exits(0)
        arrives(alice, gw, "sip:x@out.test")
        for argv, words in ((("out.test", "127.0.0.1"), "already"), (("file.test", "127.0.0.1"), "stands in sip.routes"),
                            (("uc.test", "127.0.0.1"), "one of sip.domains"), (("10.0.0.1", "127.0.0.1"), "is an address"),
                            (("b.test", "127.0.0.1", "--transport", "udp", "--trusted"), "can be forged"),
                            (("b.test", "127.0.0.1", "--port", "99999", "--transport", "udp"), "65535"),
                            (("b.test", "127.0.0.1", "--transport", "sctp"), "sctp"),
                            (("b.test", "127.0.0.1", "--port", str(w.base), "--transport", "udp"), "is this proxy itself"),
                            (("b.test", "127.0.0.1", "--transport", "udp", "--bind", "10.1.2.3"), "no listener for udp has this address")):
            w.ask("sip", "route", "add", *argv).exits(1).says(words)
        for server in list(w.servers):
            server.stop()
        w.start()
        arrives(alice, gw, "sip:x@out.test")
        w.ask("sip", "route", "delete", "out.test").exits(0)
        refused(alice, "sip:x@out.test", 502)
        w.ask("sip", "route", "delete", "out.test").exits(1).says("there is no")
        home_config(w, routes="[ { domain: file.test, host: 127.0.0.1, port: {o4}, transport: udp } ]", use_routes="false")
        w.reload()
        refused(alice, "sip:x@file.test", 502)
        home_config(w, routes="[ { domain: file.test, host: 127.0.0.1, port: {o4}, transport: udp } ]")
        w.reload()
        arrives(alice, gw, "sip:x@file.test")


@case("a route that is not trusted logs on with an account of sip.users, and its challenges do not reach our users")
def _(w):
    home_config(w, users="[ { name: gateway, password: secret }, { name: alice, password: secret } ]", federation=", sips_srv: true",
                routes="[ { domain: out.test, host: 127.0.0.1, port: {o4}, transport: udp, user: gateway }, "
                       "{ domain: tcp.test, host: 127.0.0.1, port: {o4}, transport: tcp, trusted: true } ]")
    w.start()
    with alice_of(w) as alice, w.udp(lan=False) as gw, Ua("udp", None, ("127.0.0.1", w.other(4))) as far:
        sender = "<sip:x@out.test>;tag=o"
        got = gw.ask("MESSAGE", alice.me, body="x", From=sender)
        if got.status != 407 or 'realm="uc.test"' not in got.get("Proxy-Authenticate"):
            raise Failed(f"    {got.start}")
        for user, code in (("alice", 403), ("gateway", 200)):
            challenge = gw.ask("MESSAGE", alice.me, body="x", From=sender)
            line = "Proxy-Authorization: " + credentials(challenge.get("Proxy-Authenticate"), user, "secret", "MESSAGE", alice.me)
            data = gw.request("MESSAGE", alice.me, [line], "x", From=sender)
            gw.raw(data)
            if code == 200:
                m = alice.expect("MESSAGE", seconds=20)
                alice.reply(m, 200)
                if m.get("Proxy-Authorization"):
                    raise Failed("    the credentials went on")
            got = gw.final(Message(data).get("Call-ID"), 20)
            if got.status != code:
                raise Failed(f"    {user}: {got.start}")
        sent = send(alice, "MESSAGE", "sip:y@out.test", "x", ["P-Asserted-Identity: <sip:alice@uc.test>"])
        m = far.expect("MESSAGE")
        if m.get("P-Asserted-Identity"):
            raise Failed("    what is asserted went to a route that is not trusted")
        far.reply(m, 407, "Proxy Authentication Required", ['Proxy-Authenticate: Digest realm="evil.test", nonce="1"'])
        got = alice.final(sent.get("Call-ID"))
        if got.status != 403 or got.get("Proxy-Authenticate"):
            raise Failed(f"    {got.start}")
        with w.tcp(lan=False) as near:  # from the trusted route's own address, over TCP
            data = near.request("MESSAGE", alice.me, body="x", From="<sip:x@tcp.test>;tag=t")
            near.raw(data)
            alice.reply(alice.expect("MESSAGE"), 200)
            if near.final(Message(data).get("Call-ID")).status != 200:
                raise Failed("    a trusted route over TCP")
        got = gw.ask("MESSAGE", alice.me, body="x", From="<sip:x@tcp.test>;tag=u")  # the same address, over UDP
        if got.status != 407:
            raise Failed(f"    {got.start}")


@case("partners are allowed, limited to some traffic and denied while it runs; the mode is changed by a reload")
def _(w):
    with NameServer(w, zone(w)):
        w.certificate("uc", "DNS:uc.test,IP:127.0.0.1")
        listed = f'{{ mode: listed, listen: "mtls:127.0.0.1:{home(w)}", addresses: [127.0.0.0/8] }}'
        config = {"domains": "[uc.test]", "routes": None, "certificate": "uc.pem", "key": "uc.key", "ca": "ca.pem"}
        w.config(**config, federation=listed)
        friend_config(w)
        w.start()
        w.start("friend.yaml", "--instance", "friend")
        with alice_of(w) as alice, bob_of(w) as bob:
            refused(alice, bob.me, 403)
            refused(bob, alice.me, 403)
            w.ask("sip", "federation", "allow", "friend.test", "--messages", "out").exits(0)
            arrives(alice, bob, bob.me)
            refused(bob, alice.me, 403)
            w.logged("sip.refused.policy", "does not let this come")
            arrives(bob, alice, alice.me, "SUBSCRIBE", "")
            w.ask("sip", "federation", "allow", "friend.test", "--messages", "both").exits(0)
            arrives(bob, alice, alice.me)
            w.ask("sip", "federation", "list").exits(0).says("friend.test", "store")
            w.ask("sip", "federation", "deny", "friend.test").exits(0)
            refused(alice, bob.me, 403)
            refused(bob, alice.me, 403)
            w.ask("sip", "federation", "allow", "uc.test").exits(1).says("one of sip.domains")
            w.ask("sip", "federation", "allow", "x.test", "--calls", "never").exits(1).says("never")
            w.ask("sip", "federation", "forget", "friend.test").exits(0)
            w.config(**config, federation=listed.replace("listed", "open"))
            w.reload()
            arrives(alice, bob, bob.me)
            arrives(bob, alice, alice.me)
            w.config(**config, federation='{ mode: "off" }')
            w.reload()
            refused(alice, bob.me, 403)
            w.config(**config, federation=listed.replace("listed", "open").replace("mtls:", "tcp:"))
            w.check().exits(2).says("partners must prove their names")


@case("all static routes and the mode of federation are switched by command, and stay so; what the file says is locked")
def _(w):
    with NameServer(w, zone(w)):
        w.certificate("uc", "DNS:uc.test,IP:127.0.0.1")
        config = {"domains": "[uc.test]", "certificate": "uc.pem", "key": "uc.key", "ca": "ca.pem",
                  "routes": "[ { domain: file.test, host: 127.0.0.1, port: {o4}, transport: udp } ]"}
        federation = f'listen: "mtls:127.0.0.1:{home(w)}", addresses: [127.0.0.0/8] }}'
        w.config(**config, federation="{ " + federation)
        friend_config(w)
        server = w.start()
        w.start("friend.yaml", "--instance", "friend")
        with alice_of(w) as alice, bob_of(w) as bob, Ua("udp", None, ("127.0.0.1", w.other(4))) as gw:
            refused(alice, bob.me, 403)  # mode off, by default
            w.ask("sip", "interface", "list").exits(0).says(f"mtls:127.0.0.1:{home(w)}", "switched off", "file, federation")
            w.ask("sip", "federation", "mode", "open").exits(0).says("mode of federation is open")
            w.ask("sip", "interface", "list").exits(0).says(f"mtls:127.0.0.1:{home(w)}", "listening", "file, federation", "CN=uc")
            arrives(alice, bob, bob.me)
            arrives(bob, alice, alice.me)
            arrives(alice, gw, "sip:x@file.test")
            w.ask("sip", "routes", "off").exits(0)
            refused(alice, "sip:x@file.test", 502)
            w.ask("sip", "route", "list").exits(0).says("none of them is used").says("file.test")
            arrives(alice, bob, bob.me)
            w.ask("sip", "federation", "mode", "never").exits(1).says("off, listed, open")
        server.stop()
        w.start()
        with alice_of(w) as alice, bob_of(w) as bob, Ua("udp", None, ("127.0.0.1", w.other(4))) as gw:
            refused(alice, "sip:x@file.test", 502)
            arrives(bob, alice, alice.me)
            w.ask("sip", "routes", "on").exits(0)
            arrives(alice, gw, "sip:x@file.test")
            w.config(**config, federation="{ mode: listed, " + federation, use_routes="true")
            w.reload()
            w.ask("sip", "federation", "mode", "open").exits(1).says("stile.yaml")
            w.ask("sip", "routes", "off").exits(1).says("stile.yaml")
            refused(alice, bob.me, 403)


# ---- the tools ----

@case("explain says which rule decides, doctor where it stops, and federation check what to publish")
def _(w):
    with NameServer(w, zone(w)):
        start_both(w, routes="[ { domain: route.test, host: 127.0.0.1, port: {o0}, transport: mtls } ]")
        with alice_of(w), bob_of(w):
            def explain(*argv):
                return w.ask("sip", "explain", *argv)
            explain("--from", "alice@uc.test", "--to", "bob@friend.test", "--via", "lan").exits(0).says(
                "own network", "federation", "_sipfederationtls._tcp.friend.test", "must name friend.test")
            explain("--from", "alice@uc.test", "--to", "x@route.test", "--via", "lan").exits(0).says("static route for route.test", "must name route.test")
            explain("--from", "bob@friend.test", "--to", "alice@uc.test", "--certificate", "friend.test").exits(0).says("names the domain of its From")
            explain("--from", "eve@third.test", "--to", "alice@uc.test", "--certificate", "friend.test").exits(1).says("403", "names other domains")
            explain("--from", "alice@uc.test", "--to", "bob@friend.test").exits(1).says("407")
            explain("--from", "x@route.test", "--to", "alice@uc.test", "--via", "tcp", "--source", "127.0.0.1").exits(1).says("mtls", "407")
            explain("--from", "a b@uc.test", "--to", "alice@uc.test").exits(1).says("addresses")
            if w.metric("stile_sip_requests_sent_total", "MESSAGE"):
                raise Failed("    explain has sent something")
            doctor = ("-c", w.path("stile.yaml"))
            w.stile("sip", "doctor", "friend.test", *doctor).exits(0).says(
                "SRV _sipfederationtls._tcp.friend.test", "connected", "TLSv1.3", "the chain is good", "names friend.test", "shown", "200 OK", "NAT")
            w.stile("sip", "doctor", "wrong.test", *doctor).exits(1).says("does not name wrong.test, but friend.test")
            w.stile("sip", "doctor", "plain.test", *doctor).exits(1).says("must publish it")
            w.stile("sip", "doctor", "route.test", *doctor).exits(1).says("static route", "does not name route.test")
            made(w, "own", "DNS:friend.test", ca=False)
            w.stile("sip", "doctor", "friend.test", *doctor, "--ca", w.path("own.pem")).exits(1).says("its CA is not among ours")
            w.stile("sip", "doctor", "friend.test", *doctor, "--certificate", w.path("own.pem"), "--key", w.path("own.key")).exits(1).says(
                "does not name uc.test", "they refuse our certificate")
            w.stile("sip", "federation", "check", *doctor).exits(1).says("names uc.test", f"host a.test, port {home(w)}", "not public")
            found = w.verb("sip.federation.check")
            if [(d["domain"], d["named"], d["why"]) for d in found["domains"]] != [("uc.test", True, "")] or found["mode"] != "open" or [
                    (h["host"], h["port"], h["port_fits"], h["addresses"], h["public"]) for h in found["domains"][0]["hosts"]] != [
                    ("a.test", home(w), True, ["127.0.0.1"], False)]:
                raise Failed(f"    {found}")
            w.write("other.yaml", open(w.path("stile.yaml"), encoding="utf-8").read().replace("[uc.test]", "[nowhere.test]"))
            w.stile("sip", "federation", "check", "-c", w.path("other.yaml")).exits(1).says("but not nowhere.test", "publish in the DNS", "SRV 10 0")


@case("doctor asks the running service for routes, partners and mode, and walks a route over UDP")
def _(w):
    with NameServer(w, zone(w)):
        start_both(w)
        doctor = ("sip", "doctor", "out.test", "-c", w.path("stile.yaml"))
        with Ua("udp", None, ("127.0.0.1", w.other(4))) as gw:
            w.ask("sip", "route", "add", "out.test", "127.0.0.1", "--port", str(w.other(4)), "--transport", "udp").exits(0)
            answering = threading.Thread(target=lambda: gw.reply(gw.expect("OPTIONS", seconds=20), 200))
            answering.start()
            w.ask(*doctor).exits(0).says("static route", "udp 127.0.0.1", "200 OK", "NAT type")
            answering.join(20)
        w.ask(*doctor).exits(1).says("udp 127.0.0.1", "nothing listens there")
        w.ask("sip", "route", "disable", "out.test").exits(0)
        w.ask(*doctor).exits(1).says("switched off")
        w.stile(*doctor).exits(1).says("must publish it")  # the file alone
        w.ask("sip", "federation", "deny", "friend.test").exits(0)
        doctor = ("sip", "doctor", "friend.test", "-c", w.path("stile.yaml"))
        w.ask(*doctor).exits(1).says("denied here")
        w.stile(*doctor).exits(0).says("allowed here", "200 OK")
        for server in list(w.servers):
            if getattr(server, "full", "") == "stile-sip":
                server.stop()
        w.ask(*doctor).exits(0).says("service", "not running")


# ---- with the tunnel ----

def tunnel_to(w, target):
    """A stile-tunnel, and an agent at the site with one forward job to target; the port at the server."""
    server, port = w.other(6), w.other(7)
    log = f"log: {{ level: debug, dir: {w.path('log')} }}\n"
    w.write("tunnel.yaml", log + f"""store: {{ path: {w.path("store-tunnel")} }}
tunnel: {{ name: Control room, listen: ["tls:127.0.0.1:{server}"], bind: 127.0.0.1, ports: {port}, workers: 1 }}
""")
    w.program(os.path.join(BUILD, "tunnel/stile-tunnel"), "tunnel.yaml")
    code = json.loads(w.ask("tunnel", "enrol", "site", "--json").exits(0).out)["code"]
    w.write("agent.yaml", log + f"""store: {{ path: {w.path("store-agent")} }}
agent: {{ name: site, server: "127.0.0.1:{server}", fallback_ports: [], code: "{code}", jobs: [ {{ port: {port}, target: "127.0.0.1:{target}" }} ] }}
""")
    w.program(os.path.join(BUILD, "tunnel/stile-agent"), "agent.yaml", "--instance", "site")
    return port


@case("a federation route goes through a tunnel job to a site that has no public address, and nobody on the way can read it")
def _(w):
    with NameServer(w, zone(w)):
        friend_config(w)
        w.start("friend.yaml", "--instance", "friend")
        port = tunnel_to(w, w.other(0))
        home_config(w, routes=f"[ {{ domain: friend.test, host: 127.0.0.1, port: {port}, transport: mtls }} ]")
        w.start()
        wait_for("the job's port is open", lambda: is_open(port))
        with alice_of(w) as alice, bob_of(w) as bob:
            arrives(alice, bob, bob.me)
            arrives(bob, alice, alice.me)
            dialog(alice, bob, bob.me)
        flows = [f for f in w.flows() if f["remote"] == f"127.0.0.1:{port}"]
        if not flows or "friend.test" not in flows[0]["identity"]:
            raise Failed(f"    the site has not proven its name: {flows}")


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    raise SystemExit(main(28350))
