# SPDX-License-Identifier: Apache-2.0
"""Two UC servers (Kamailio with registrar and presence) of one domain at two sites, one reached by TCP and one by mutual TLS,
real names (nsd), a CA of the test's own, telephones (baresip, linphone) as users: calls with audio whose tone is looked for,
messages, presence; a server killed and back, the site's link cut and back, certificates replaced. Other domains, users
behind a NAT and a site behind a tunnel are in domains.py. Each site is a network namespace (site_world.py); root only.

  --full: five times over, with a message every 50 ms in between: what was said to be there is there, once."""
import hashlib
import math
import os
import re
import signal
import struct
import sys
import wave

from interfaces import Stun
from linphones import Died, Linphone
from name_server import NameServer
from site_world import NAMES, TONES, ZONE, Calls, Sites, inside, run
from sip_world import Failed, Skipped, Ua, case, main, need, wait_for

FULL_LENGTH = "--full" in sys.argv
PRESENCE_S = 70  # a telephone whose first PUBLISH or SUBSCRIBE failed tries again after 30 or 60 s


def sent(by, to, body, status=200, seconds=20):
    """A MESSAGE of anna's, and what is answered; `to` answers if it is there."""
    data = by.request("MESSAGE", "sip:bert@uc.test", body=body, From=f"<sip:anna@uc.test>;tag={body}",
                      Contact=None, Content_Type="text/plain")
    by.raw(data)
    call = data.split(b"Call-ID: ")[1].split(b"\r\n")[0].decode()
    if to and status == 200:
        m = to.expect("MESSAGE", seconds=seconds)
        while m.body != body.encode():  # a repetition of an earlier one
            to.reply(m, 200)
            m = to.expect("MESSAGE", seconds=seconds)
        to.reply(m, 200)
    got = by.final(call, seconds)
    if (got.status == status) if status else (got.status >= 400):
        return got
    raise Failed(f"    the message '{body}': {got.start}")


@case("two sites are one domain: presence, messages, and calls with audio both ways")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Sites(w)
        s.begin(s.bob, s.alice)
        for me, other in ((s.alice, s.bob), (s.bob, s.alice)):
            me.must_see(other, PRESENCE_S)
            me.tell("message", f"hello from {me.name}")
            wait_for(f"the message of {me.name} is there", lambda m=me, o=other: f"hello from {m.name}" in o.said())
        s.bob.tell("presence_offline")
        wait_for("alice sees that bob is away", lambda: s.alice.answers("contacts", "Offline"))
        Calls(s.alice, s.bob, "bob@uc.test").end()
        Calls(s.bob, s.alice, "alice@uc.test").end()
        w.ask("sip", "servers").exits(0).says("uc-a", "tcp", "uc-b", "mtls")
        w.ask("sip", "server", "users").exits(0).says("uc-")


def tone_of(w, name):
    """A file that linphone can play."""
    with wave.open(w.path("tone.wav"), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(48000)
        f.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(2 * math.pi * TONES[name] * i / 48000))) for i in range(48000 * 20)))
    return w.path("tone.wav")


def with_linphone(w, alice, n):
    larry = Linphone(w, "larry", 6060 + 100 * n, "udp", 5060, server="10.20.0.2", ns="b")
    wait_for("larry is registered", larry.registered)
    alice.tell("dial", "sip:larry@uc.test")
    wait_for("the call is up", lambda: larry.state() == "StreamsRunning")
    larry.must("incall-player-start " + tone_of(w, "larry"))
    wait_for("alice hears what larry plays", lambda: alice.hears() == "larry")
    wait_for("audio reaches larry", lambda: re.search(r"RTP : \[d=[1-9]\d", larry.log()))
    alice.tell("hangup")
    wait_for("the call is over", lambda: larry.state() == "")
    larry.must(f"message sip:alice@uc.test from larry {n}")
    wait_for("alice has his message", lambda: f"from larry {n}" in alice.said())


@case("linphone at one site and baresip at the other: a call with audio, and a message")
def _(w):
    need("linphone-daemon")
    with NameServer(w, ZONE, NAMES):
        s = Sites(w)
        s.begin(s.alice)
        for i in range(3):
            try:
                return with_linphone(w, s.alice, i)
            except Died as e:
                print(f"  (linphone crashed: {e})")
                s.alice.tell("hangup")
        raise Skipped("linphone crashed three times")


@case("a UC server is killed and comes back, the site's link is cut and comes back; calls go on, and the others notice nothing")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Sites(w)
        s.begin(s.bob, s.alice)
        call = Calls(s.alice, s.bob, "bob@uc.test")
        with s.user("anna") as anna, s.user("bert") as bert:
            sent(anna, bert, "first")
            s.b.kill(signal.SIGKILL)
            sent(anna, None, "nobody-there", status=0)
            wait_for("its end is seen", lambda: s.state("uc-b")["health"] == "does not answer")
            w.ask("sip", "servers").exits(1).says("uc-b", "does not answer")
            if not s.is_well("uc-a"):
                raise Failed("    the other one was hurt")
            s.b.start()
            wait_for("it is back", lambda: s.is_well("uc-b"))
            bert.close()
            call.heard_afresh()
            with s.user("bert") as bert2:
                sent(anna, bert2, "second")
                run("ip", "link", "set", "to-b", "down")
                wait_for("the cut is seen", lambda: s.state("uc-b")["health"] == "does not answer")
                sent(anna, None, "over-the-cut-link", status=0, seconds=40)
                run("ip", "link", "set", "to-b", "up")
                wait_for("the link is back", lambda: s.is_well("uc-b"))
                sent(anna, bert2, "third", seconds=40)
                call.heard_afresh()
                call.end()
        w.logged("sip.server.sick", "uc-b")
        w.logged("sip.server.well", "uc-b")


def shown(w, at):
    """The fingerprint of the certificate that the proxy shows there."""
    context = w.context(name="ucb")
    with Ua("tls", at, context=context, name="hub.test") as ua:
        return hashlib.sha256(ua.s.getpeercert(True)).hexdigest()


@case("certificates are replaced without dropping a connection; a server with another's certificate is not let in")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Sites(w).begin()
        at = ("10.20.0.1", 5071)
        before = shown(w, at), {f["id"] for f in w.flows() if f["remote"].startswith("10.20.0.2:")}
        s.certificate(again=True)
        w.reload()
        if shown(w, at) == before[0]:
            raise Failed("    the old certificate is still shown")
        if not before[1] <= {f["id"] for f in w.flows()}:
            raise Failed("    a connection was dropped")
        with s.user("anna") as anna, s.user("bert") as bert:
            sent(anna, bert, "after-the-reload")
        s.b.kill()
        w.certificate("ucb", "DNS:other.test", again=True)
        s.b.start()
        w.logged("sip.server.refused", "uc-b", "certificate", seconds=30)
        s.b.kill()
        w.certificate("ucb", "DNS:ucb.test", again=True)
        s.b.start()
        wait_for("it is back with a good one", lambda: s.is_well("uc-b"))
        with s.user("anna") as anna, s.user("bert") as bert:
            sent(anna, bert, "with-the-new-one")


@case("the NAT in front of an interface is named, and its public address followed")
def _(w):
    if os.getuid() != 0:
        raise Skipped("it takes root to have addresses of one's own")
    run("ip", "addr", "replace", "203.0.113.10/32", "dev", "lo")
    run("ip", "addr", "replace", "203.0.113.11/32", "dev", "lo")
    stun = Stun((3478, 3479), "198.51.100.5", ("203.0.113.10", "203.0.113.11"))
    stun.start()
    w.config(listen='["tcp:10.0.0.1:5060"]', lan=None, routes=None, interfaces='[ { listen: "udp:10.0.0.1:5060", advertise: auto } ]')
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write('stun_servers: ["203.0.113.10:3478"]\n')
    w.start()

    def row():
        return next(r for r in w.verb("sip.interface.list")["rows"] if r["name"] == "udp:10.0.0.1:5060")
    wait_for("address and NAT are known", lambda: row()["public"] == "198.51.100.5:5060" and row()["nat"] == "Full Cone")
    stun.address = "198.51.100.6"
    w.ask("sip", "interface", "detect").exits(0)
    wait_for("the new address is known", lambda: row()["public"] == "198.51.100.6:5060")
    w.ask("sip", "interface", "list").exits(0).says("198.51.100.6:5060", "Full Cone")
    w.logged("sip.nat.type", "Full Cone")
    w.ask("sip", "doctor", "nowhere.test", "-c", w.path("stile.yaml")).exits(1).says("NAT type", "Full Cone", "198.51.100.6")
    stun.stop()


def flow(anna, bert, n, first):
    """n messages; those that anna was told to have arrived."""
    told, came = set(), []
    for i in range(first, first + n):
        data = anna.request("MESSAGE", "sip:bert@uc.test", body=f"m{i}", From=f"<sip:anna@uc.test>;tag=m{i}", Call_ID=f"m{i}",
                            Contact=None, Content_Type="text/plain")
        anna.raw(data)
        m = bert.next(0.05)
        while m:
            if m.method == "MESSAGE":
                came.append((m.body.decode(), m.get("Via")))
                bert.reply(m, 200)
            m = bert.next(0.01)
        got = anna.next(0.01)
        while got:
            if got.status == 200 and got.get("CSeq").endswith("MESSAGE"):
                told.add(got.get("Call-ID"))
            got = anna.next(0.01)
    return told, came


def soak(w):
    with NameServer(w, ZONE, NAMES):
        s = Sites(w).begin()
        with s.user("anna") as anna, s.user("bert") as bert:
            told, came, first = set(), [], 0
            for turn in range(5):
                for what, back in ((lambda: run("ip", "link", "set", "to-b", "down"), lambda: run("ip", "link", "set", "to-b", "up")),
                                   (lambda: s.certificate(again=True), w.reload)):
                    for do in (None, what, back):
                        if do:
                            do()
                        a, b = flow(anna, bert, 100, first)
                        told, came, first = told | a, came + b, first + 100
                    wait_for("both are well again", lambda: s.is_well("uc-a") and s.is_well("uc-b"))
                print(f"  (turn {turn + 1}: {first} messages, {len(told)} answered)", flush=True)
            a, b = flow(anna, bert, 40, first)
            told, came = told | a, came + b
            bodies = {body for body, _ in came}
            twice = {x for x, _ in came if len({via for y, via in came if y == x}) > 1}
            if told - bodies or twice or len(told) < first // 3:
                raise Failed(f"    {len(told)} answered of {first}, of those not there: {len(told - bodies)}, twice: {sorted(twice)[:5]}")


if FULL_LENGTH:
    case("links are cut and certificates replaced, five times over, and each message that is answered has arrived, once")(soak)


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    sys.argv = [a for a in sys.argv if a != "--full"]
    raise SystemExit(main(28800))
