# SPDX-License-Identifier: Apache-2.0
"""Other domains in the set-up of site_world.py: a third party's with its own proxy (Kamailio), found by real SRV records and
proven by mutual TLS; calls with audio whose tone is looked for, messages, presence. Certificates, DNS and static routes that
change during calls; a user behind a NAT whose media goes by stile-turn; a site behind the same NAT whose proxy is reached
through a forward job of stile-tunnel. Root only."""
import json
import os
import re

from name_server import NameServer
from site_world import NAMES, ZONE, Calls, Phone, Server, Sites, inside, within
from sip_world import BUILD, Failed, Message, Ua, case, credentials, main, wait_for
from sites import PRESENCE_S, sent, shown

TURN = "10.0.0.1:3478"
AT_HOME = ("ip", "netns", "exec", "home")


class Domains(Sites):
    """The sites, open to other domains, and a partner whose proxy is Kamailio."""

    def __init__(self, w, watches=None, **more):
        keys = {"interfaces": '[ { listen: "tls:10.0.0.1:5063", advertise: "wan.test:5063" } ]',
                "federation": '{ mode: open, listen: "mtls:10.30.0.1:5061", advertise: "fed.test:5061", addresses: [10.30.0.0/24] }'}
        super().__init__(w, watches, **{**keys, **more})
        w.certificate("friend", "DNS:friend.test,DNS:gate.test,IP:10.30.0.2,IP:10.30.0.4")
        self.c = Server(w, "friend", ["carol", "carl"], ("friend.test", "gate.test"), ns="c", here="10.30.0.2", tls="friend",
                        listen=["tls:10.30.0.2:5061", "tls:10.30.0.4:5061", "tcp:10.30.0.2:5060"], contact="10.30.0.2:5061;transport=tls",
                        proxy="sip:fed.test:5061;transport=tls", proxy_ip="10.30.0.1")
        self.carol = Phone(w, "carol", "c", "10.30.0.3", {"domain": "friend.test", "outbound": '"sip:10.30.0.2:5060;transport=udp"'},
                           (watches or {}).get("carol"))

    def begin(self, *phones):
        self.c.start()
        return super().begin(*phones)

    def to_partner(self):
        """The connections to the partner: where they lead, and their numbers."""
        return {(f["remote"], f["id"]) for f in self.w.flows() if f["remote"].startswith("10.30.0.")}


def final(by, to):
    """The answer to a MESSAGE of anna's that nobody of ours takes."""
    data = by.request("MESSAGE", f"sip:{to}", body="x", From="<sip:anna@uc.test>;tag=d", Contact=None, Content_Type="text/plain")
    by.raw(data)
    return by.final(Message(data).get("Call-ID"), 40).status


def exchange(one, two, sees=None):
    """Each sees that the other is there (or those who can), and gets a message from him."""
    for me, other in ((one, two), (two, one)):
        if me in (sees or (one, two)):
            me.must_see(other, PRESENCE_S)
        me.tell("message", f"hello from {me.name}")
        wait_for(f"the message of {me.name} is there", lambda m=me, o=other: f"hello from {m.name}" in o.said())


@case("two domains, each with its own servers: presence, messages, and calls with audio both ways, over mutual TLS")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Domains(w, {"alice": "carol@friend.test", "carol": "alice@uc.test"})
        s.begin(s.carol, s.alice)
        exchange(s.alice, s.carol)
        Calls(s.alice, s.carol, "carol@friend.test").end()
        Calls(s.carol, s.alice, "alice@uc.test").end()
        seen = {r["domain"]: r for r in w.verb("sip.federation")["seen"]}["friend.test"]
        for way in ("in", "out"):
            if not seen[way]["calls"] or not seen[way]["messages"] or not seen[way]["presence"]:
                raise Failed(f"    {seen}")
        proven = [f["identity"] for f in w.flows() if f["remote"].startswith("10.30.0.2")]
        if not proven or "friend.test" not in proven[0]:
            raise Failed(f"    {proven}")


@case("during calls to another domain the certificate is replaced, the DNS changes, and a static route is switched off and on")
def _(w):
    with NameServer(w, ZONE, NAMES) as names:
        s = Domains(w)
        s.begin(s.carol, s.alice)
        with s.user("anna") as anna:
            call = Calls(s.alice, s.carol, "carol@friend.test")
            before, certificate = s.to_partner(), shown(w, ("10.30.0.1", 5061))
            s.certificate(again=True)
            w.reload()
            if shown(w, ("10.30.0.1", 5061)) == certificate:
                raise Failed("    the old certificate is still shown")
            if not before <= s.to_partner():
                raise Failed("    a connection was dropped")
            if final(anna, "carl@friend.test") != 480 or not before <= s.to_partner():  # he is not registered there
                raise Failed("    messages do not go on by the connection that is there")
            names.write(ZONE.replace("5061 friend1", "5061 friend2"))
            names.stop()
            names.start()
            wait_for("the other address is used", lambda: final(anna, "carl@friend.test") == 480 and any(
                at.startswith("10.30.0.4:") for at, _n in s.to_partner()))
            call.heard_afresh()
            call.end()
            w.ask("sip", "route", "add", "gate.test", "10.30.0.2", "--port", "5060", "--transport", "tcp").exits(0)
            call = Calls(s.alice, s.carol, "carol@gate.test")
            w.ask("sip", "route", "disable", "gate.test").exits(0).says("calls that are there go on")
            if final(anna, "carl@gate.test") != 502:
                raise Failed("    it goes on though the route is off")
            call.heard_afresh()
            s.alice.tell("hold")  # a re-INVITE
            wait_for("the re-INVITE is there", lambda: w.metric("stile_sip_requests_sent_total", "INVITE") >= 3)
            w.ask("sip", "route", "enable", "gate.test").exits(0)
            if final(anna, "carl@gate.test") != 480:
                raise Failed("    it does not go though the route is on again")
            call.end()


# ---- media by stile-turn ----

def start_turn(w):
    w.write("turn.yaml", f"""log: {{ level: debug, dir: {w.path("log")} }}
store: {{ path: {w.path("store-turn")} }}
turn: {{ realm: uc.test, listen: ["udp:{TURN}"], relay: {{ addresses: [10.0.0.1], ports: 49152-49251 }}, workers: 1,
  secrets: [ {{ id: sip, secret: shared }} ], peers: {{ allow: [10.0.0.0/8] }} }}
""")
    w.program(os.path.join(BUILD, "turn/stile-turn"), "turn.yaml")


def media_by(name, password):
    """Parameters of a telephone whose media goes by stile-turn."""
    return {"medianat": "turn", "stunserver": f'"turn:{TURN}"', "stunuser": name, "stunpass": password}


def must_be_relayed(w, user):
    """Each way a second of audio at least has gone by an allocation of this user's."""
    def relayed():
        rows = [r for r in w.verb("turn.sessions", {"limit": 100}, full="stile-turn")["rows"] if r["user"].endswith(":" + user)]
        return any(r["packets_up"] > 50 and r["packets_down"] > 50 for r in rows)
    wait_for(f"stile-turn relays {user}'s audio", relayed)


@case("a user behind a NAT gets credentials with REGISTER's answer: presence, messages, and audio by stile-turn with both domains")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Domains(w, {"carol": "nina@uc.test"}, users="[ { name: nina, password: of-nina } ]", digest="[md5]",
                    turn=f'{{ uris: ["turn:{TURN}?transport=udp"], secret: shared, lifetime: 1h }}')
        start_turn(w)
        s.begin(s.carol, s.bob)
        context = w.context()
        with within("home", lambda: Ua("tls", ("10.0.0.1", 5063), bind=("192.168.7.3", 0), context=context, name="wan.test")) as ua:
            me = {"From": "<sip:nina@uc.test>;tag=r", "To": "<sip:nina@uc.test>", "Contact": None}  # a question, no registration
            asks = "X-TURN-Credentials: please"
            got = ua.ask("REGISTER", "sip:uc.test", [asks], seconds=20, **me)
            line = "Authorization: " + credentials(got.get("WWW-Authenticate"), "nina", "of-nina", "REGISTER", "sip:uc.test")
            got = ua.ask("REGISTER", "sip:uc.test", [asks, line], seconds=20, **me)
            found = re.match(r'username="([^"]+)"; password="([^"]+)"', got.get("X-TURN-Credentials", ""))
            if got.status != 200 or not found:
                raise Failed(f"    {got.start} {got.fields}")
        nina = Phone(w, "nina", "home", "192.168.7.3", {
            "transport": "tls", "auth_user": "nina", "auth_pass": "of-nina", "outbound": '"sip:wan.test:5063;transport=tls"',
            "pubint": 0, **media_by(*found.groups())}, "carol@friend.test", ("stun", "turn")).on()
        exchange(nina, s.carol, sees=(nina,))  # nobody has nina's presence: our registrar is no presence server
        for me, other, to in ((nina, s.carol, "carol@friend.test"), (s.bob, nina, "nina@uc.test"), (s.carol, nina, "nina@uc.test")):
            call = Calls(me, other, to)
            must_be_relayed(w, "nina@uc.test")
            call.end()


# ---- a site without a public address ----

def tunnel_home(w):
    """stile-tunnel at the hub, stile-agent at home with a forward job to the proxy there."""
    log = f"log: {{ level: debug, dir: {w.path('log')} }}\n"
    w.write("tunnel.yaml", log + f"""store: {{ path: {w.path("store-tunnel")} }}
tunnel: {{ name: Control room, listen: ["tls:10.0.0.1:7443"], bind: 10.0.0.1, ports: 15061, workers: 1 }}
""")
    w.program(os.path.join(BUILD, "tunnel/stile-tunnel"), "tunnel.yaml")
    code = json.loads(w.ask("tunnel", "enrol", "site", "--json").exits(0).out)["code"]
    w.write("agent.yaml", log + f"""store: {{ path: {w.path("store-agent")} }}
agent: {{ name: site, server: "10.0.0.1:7443", fallback_ports: [], code: "{code}", jobs: [ {{ port: 15061, target: "127.0.0.1:5061" }} ] }}
""")
    w.program(os.path.join(BUILD, "tunnel/stile-agent"), "agent.yaml", "--instance", "site", prefix=AT_HOME)


def home_proxy(w):
    w.certificate("site", "DNS:site.test")
    w.config("site.yaml", domains="[site.test]", routes=None, certificate="site.pem", key="site.key", ca="ca.pem", listen='["udp:192.168.7.2:5060"]',
             lan='{ listen: ["udp:192.168.7.2:5070"] }', users="[ { name: nina, password: of-nina } ]", digest="[md5]",
             turn=f'{{ uris: ["turn:{TURN}?transport=udp"], secret: shared }}',
             federation='{ mode: open, listen: ["mtls:127.0.0.1:5061", "mtls:192.168.7.2:5061"], advertise: "site.test:15061", addresses: [10.0.0.0/8] }')
    w.start("site.yaml", "--instance", "site", prefix=AT_HOME)


@case("a site behind a NAT federates through a forward job of stile-tunnel: messages, and calls with audio both ways")
def _(w):
    with NameServer(w, ZONE, NAMES):
        s = Domains(w, routes="[ { domain: site.test, host: 10.0.0.1, port: 15061, transport: mtls } ]")
        start_turn(w)
        tunnel_home(w)
        home_proxy(w)
        s.begin(s.alice)
        c = json.loads(w.ask("sip", "credentials", "nina@site.test", "--json", "--instance", "site").exits(0).out)
        nina = Phone(w, "nina", "home", "192.168.7.3", {
            "domain": "site.test", "auth_user": "nina", "auth_pass": "of-nina", "outbound": '"sip:192.168.7.2:5070;transport=udp"',
            **media_by(c["username"], c["password"])}, modules=("stun", "turn")).on()
        for me, other, to in ((s.alice, nina, "nina@site.test"), (nina, s.alice, "alice@uc.test")):
            call = Calls(me, other, to)
            must_be_relayed(w, "nina@site.test")
            call.end()
        flows = [f for f in w.flows() if f["remote"] == "10.0.0.1:15061"]
        if not flows or "site.test" not in flows[0]["identity"]:
            raise Failed(f"    the site has not proven its name: {flows}")
        with s.user("anna") as anna, s.user("bert") as bert:
            sent(anna, bert, "the-others-go-on")


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    raise SystemExit(main(29200))
