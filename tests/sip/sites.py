# SPDX-License-Identifier: Apache-2.0
"""Two UC servers (Kamailio with registrar and presence) of one domain at two sites, one reached by TCP and one by mutual TLS,
real names (nsd), a CA of the test's own, telephones (baresip) as users: calls with audio whose tone is looked for, messages,
presence; a server killed and back, the site's link cut and back, certificates replaced. Each site is a network namespace;
root only.

    site a (10.10.0.2 server, .3 alice) -- hub (10.10.0.1 | 10.20.0.1: stile-sip, nsd) -- site b (10.20.0.2 server, .3 bob)

  --full: five times over, with a message every 50 ms in between: what was said to be there is there, once."""
import hashlib
import math
import os
import signal
import sqlite3
import struct
import subprocess
import sys

from baresip import Baresip
from interfaces import Stun
from kamailio import write_tls
from name_server import NameServer
from own_network import again, names_from
from sip_world import Failed, Program, Skipped, Ua, case, main, need, wait_for

MODULES = "/usr/lib/x86_64-linux-gnu/kamailio/modules"
SCHEMAS = "/usr/share/kamailio/db_sqlite"
FULL_LENGTH = "--full" in sys.argv
TONES = {"alice": 440, "bob": 880}

ZONE = """$ORIGIN test.
$TTL 5
@ IN SOA ns admin 1 3600 600 86400 2
@ IN NS ns
ns IN A 10.0.0.53
hub IN A 10.20.0.1
ucb IN A 10.20.0.2
_sip._tcp.uc IN SRV 10 0 5060 hub
"""

KAMAILIO = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls={tls}
alias="uc.test"
listen=udp:{here}:5060
listen={kind}:{here}:{port}
tcp_connection_lifetime=600
mpath="{modules}"
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "db_sqlite.so"
loadmodule "uac.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
{load_tls}
modparam("uac", "reg_db_url", "sqlite:///{db}")
modparam("uac", "reg_contact_addr", "{contact}")
modparam("uac", "reg_timer_interval", 2)
modparam("uac", "reg_retry_interval", 3)
modparam("presence", "db_url", "sqlite:///{db}")
modparam("presence", "server_address", "sip:{contact}")
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "timeout_rm_subs", 0)
modparam("presence_xml", "db_url", "sqlite:///{db}")
modparam("presence_xml", "force_active", 1)
modparam("rr", "enable_double_rr", 1)

request_route {{
	if (!mf_process_maxfwd_header("20")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
	if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
	if (has_totag()) {{
		if (is_method("SUBSCRIBE") && uri == myself) {{ loose_route(); if (t_newtran()) handle_subscribe(); exit; }}
		if (loose_route()) {{ t_relay(); exit; }}
		if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
		sl_send_reply("404", "Not Here"); exit;
	}}
	remove_hf("Route");
	if (is_method("INVITE|SUBSCRIBE")) record_route();
	if (is_method("REGISTER")) {{ save("location"); exit; }}
	if (is_method("OPTIONS") && $rU == $null) {{ sl_send_reply("200", "Here"); exit; }}
	if ($rd != "uc.test") {{ $du = "{proxy}"; t_relay(); exit; }}
	if ($rU =~ "^({users})$") {{
		if (is_method("OPTIONS")) {{ sl_send_reply("200", "Lives Here"); exit; }}
		if (is_method("PUBLISH")) {{ if (t_newtran()) handle_publish(); exit; }}
		if (is_method("SUBSCRIBE")) {{ if (t_newtran()) handle_subscribe(); exit; }}
		if (!lookup("location")) {{ sl_send_reply("480", "Not Registered"); exit; }}
		t_relay(); exit;
	}}
	if ($si == "{proxy_ip}") {{ sl_send_reply("404", "Not Here"); exit; }}
	$du = "{proxy}";
	t_relay();
}}
"""


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise Failed(f"    {' '.join(argv)}: {done.stderr.strip()}")


class Server(Program):
    """A Kamailio: registrar, presence, and a user of the proxy."""

    def __init__(self, w, name, users, **more):
        self.db = w.path(name + ".sqlite")
        db = sqlite3.connect(self.db)
        for schema in ("standard", "presence", "uac"):
            with open(f"{SCHEMAS}/{schema}-create.sql", encoding="utf-8") as f:
                db.executescript(f.read())
        db.execute("insert into uacreg (l_uuid, l_username, l_domain, r_username, r_domain, realm, auth_username, auth_password, "
                   "auth_proxy, expires) values (?, ?, 'uc.test', ?, 'uc.test', 'uc.test', ?, ?, ?, 60)",
                   (name, name, name, name, "pw-" + name, more["proxy"]))
        db.commit()
        db.close()
        w.write(name + ".cfg", KAMAILIO.format(modules=MODULES, db=self.db, users="|".join(users), **more))
        super().__init__(w, name, ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", w.path(name + ".cfg"), "-Y",
                                   w.path(name + ".run")], more["ns"])
        os.makedirs(w.path(name + ".run"))


class Phone(Baresip):
    """One whose tone is known, that records what it hears and says its presence; its control connection is reached from the hub."""

    stdin, patience = subprocess.PIPE, 30

    def __init__(self, w, name, ns, here, server, watches):
        super().__init__(w, name, (here, 4444), [
            f"sip_listen {here}:5060", f"audio_source ausine,{TONES[name]}", f"audio_player aubridge,{name}",
            f"snd_path {w.path(name)}/heard", "module stdio.so", "module sndfile.so", "module_app contact.so",
            "module_app presence.so", f"net_interface {here}"], ns, ["-v"],
            accounts=[f'<sip:{name}@uc.test>;regint=60;pubint=60;answermode=auto;outbound="sip:{server};transport=udp"'],
            contacts=[f'"{watches}" <sip:{watches}@uc.test>;presence=p2p'], current_contact=[f"sip:{watches}@uc.test"])
        os.makedirs(self.folder + "/heard")

    def count(self, kind):
        return len(self.heard(kind))

    def answers(self, command, text):
        """The command's answer has this text; asked again each time."""
        self.tell(command)
        self.listen()
        said = [e.get("data", "") for e in self.events if e.get("response") and e.get("token") == command]
        return bool(said) and text in said[-1]

    def hears(self):
        """Whose tone is the last that it heard."""
        records = [os.path.join(self.folder, "heard", f) for f in os.listdir(self.folder + "/heard") if f.endswith("-dec.wav")]
        return loudest(max(records, key=os.path.getmtime)) if records else None


def loudest(path, last=0.4, rate=48000, frame=4):
    """Of the known tones the one that is loudest in the end of a record (which grows: its head says nothing yet of its
    length); None: there is too little of it."""
    with open(path, "rb") as f:
        data = f.read()[44:]
    want = int(rate * last) * frame
    data = data[:len(data) // frame * frame][-want:]
    if len(data) < want:
        return None
    left = struct.unpack(f"<{len(data) // 2}h", data)[::2][::4]
    rate /= 4

    def power(tone):
        step = 2 * math.pi * tone / rate
        return math.hypot(sum(x * math.cos(step * i) for i, x in enumerate(left)), sum(x * math.sin(step * i) for i, x in enumerate(left)))

    powers = {name: power(tone) for name, tone in TONES.items()}
    best = max(powers, key=powers.get)
    others = max(p for name, p in powers.items() if name != best)
    return best if powers[best] > 10 * max(1.0, others) and powers[best] > len(left) * 100 else None


class Sites:
    """Everything: names, both sites with server and telephone, the proxy between them."""

    def __init__(self, w):
        for program in ("kamailio", "baresip", "nsd"):
            need(program)
        if os.getuid() != 0:
            raise Skipped("it takes root to have networks of one's own")
        for module in ("presence", "tls", "db_sqlite"):
            if not os.path.exists(f"{MODULES}/{module}.so"):
                raise Skipped(f"Kamailio's module {module} is not here")
        self.w = w
        w.certificate(names="DNS:hub.test,DNS:uc.test,IP:10.20.0.1")
        w.certificate("ucb", "DNS:ucb.test")
        w.config(listen='["udp:10.0.0.1:5060", "tcp:10.0.0.1:5060"]', routes=None, certificate="server.pem", key="server.key", ca="ca.pem",
                 lan='{ listen: ["tcp:10.10.0.1:5070", "mtls:10.20.0.1:5071"], servers: [ '
                     '{ user: uc-a, password: pw-uc-a, addresses: [ 10.10.0.2/32 ] }, { user: uc-b, certificate_name: ucb.test } ] }')
        self.a = Server(w, "uc-a", ["alice", "anna"], ns="a", here="10.10.0.2", kind="tcp", port=5062, tls="no", load_tls="",
                        contact="10.10.0.2:5062;transport=tcp", proxy="sip:10.10.0.1:5070;transport=tcp", proxy_ip="10.10.0.1")
        self.b = Server(w, "uc-b", ["bob", "bert"], ns="b", here="10.20.0.2", kind="tls", port=5061, tls="yes",
                        load_tls=f'loadmodule "tls.so"\nmodparam("tls", "config", "{write_tls(w, "ucb")}")',
                        contact="ucb.test:5061;transport=tls", proxy="sip:hub.test:5071;transport=tls", proxy_ip="10.20.0.1")
        self.alice = Phone(w, "alice", "a", "10.10.0.3", "10.10.0.2:5060", "bob")
        self.bob = Phone(w, "bob", "b", "10.20.0.3", "10.20.0.2:5060", "alice")

    def state(self, name):
        return next(r for r in self.w.verb("sip.servers")["rows"] if r["name"] == name)

    def is_well(self, name):
        s = self.state(name)
        return s["on"] and s["health"] == "well"

    def begin(self, phones=True):
        self.w.start()
        self.a.start()
        self.b.start()
        wait_for("both servers are logged on and well", lambda: self.is_well("uc-a") and self.is_well("uc-b"), 30)
        for phone in (self.bob, self.alice) if phones else ():
            phone.start()
            wait_for(f"{phone.name} is registered", lambda p=phone: " 200 OK" in p.said(), 30)
        return self

    def user(self, name):
        """anna of site a, bert of site b: user agents of a few lines, of the hub's addresses at the sites."""
        net = {"anna": "10.10.0", "bert": "10.20.0"}[name]
        ua = Ua("udp", (net + ".2", 5060), bind=(net + ".9", 5060))
        me = f"<sip:{name}@uc.test>"
        got = ua.ask("REGISTER", "sip:uc.test", From=me + ";tag=r", To=me, Contact=f"<sip:{name}@{net}.9:5060>;expires=3600", seconds=20)
        if got.status != 200:
            raise Failed(f"    {name} registers: {got.start}")
        return ua


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
    with NameServer(w, ZONE, "10.0.0.53"):
        s = Sites(w).begin()
        for me, other in ((s.alice, s.bob), (s.bob, s.alice)):
            wait_for(f"{me.name} sees the other one", lambda m=me: m.answers("contacts", "Online"), 40)
            me.tell("message", f"hello from {me.name}")
            wait_for(f"the message of {me.name} is there", lambda m=me, o=other: f"hello from {m.name}" in o.said(), 20)
        s.bob.tell("presence_offline")
        wait_for("alice sees that bob is away", lambda: s.alice.answers("contacts", "Offline"), 20)
        for me, other in ((s.alice, s.bob), (s.bob, s.alice)):
            before = other.count("CALL_ESTABLISHED"), me.count("CALL_CLOSED"), other.count("CALL_CLOSED")
            me.tell("dial", f"sip:{other.name}@uc.test")
            wait_for("the call is up", lambda o=other, n=before[0]: o.count("CALL_ESTABLISHED") > n, 20)
            wait_for("each hears the other's tone", lambda m=me, o=other: m.hears() == o.name and o.hears() == m.name, 20)
            me.tell("hangup")
            wait_for("the call is over", lambda o=other, n=before[2]: o.count("CALL_CLOSED") > n, 20)
        w.ask("sip", "servers").exits(0).says("uc-a", "tcp", "uc-b", "mtls")
        w.ask("sip", "server", "users").exits(0).says("uc-")


@case("a UC server is killed and comes back, the site's link is cut and comes back, and the others notice nothing")
def _(w):
    with NameServer(w, ZONE, "10.0.0.53"):
        s = Sites(w).begin(phones=False)
        with s.user("anna") as anna, s.user("bert") as bert:
            sent(anna, bert, "first")
            s.b.kill(signal.SIGKILL)
            sent(anna, None, "nobody-there", status=0)
            wait_for("its end is seen", lambda: s.state("uc-b")["health"] == "does not answer", 30)
            w.ask("sip", "servers").exits(1).says("uc-b", "does not answer")
            if not s.is_well("uc-a"):
                raise Failed("    the other one was hurt")
            s.b.start()
            wait_for("it is back", lambda: s.is_well("uc-b"), 40)
            bert.close()
            with s.user("bert") as bert2:
                sent(anna, bert2, "second")
                run("ip", "link", "set", "to-b", "down")
                wait_for("the cut is seen", lambda: s.state("uc-b")["health"] == "does not answer", 40)
                sent(anna, None, "over-the-cut-link", status=0, seconds=40)
                run("ip", "link", "set", "to-b", "up")
                wait_for("the link is back", lambda: s.is_well("uc-b"), 60)
                sent(anna, bert2, "third", seconds=40)
        w.logged("sip.server.sick", "uc-b")
        w.logged("sip.server.well", "uc-b")


def shown(w, at):
    """The fingerprint of the certificate that the proxy shows there."""
    context = w.context(name="ucb")
    with Ua("tls", at, context=context, name="hub.test") as ua:
        return hashlib.sha256(ua.s.getpeercert(True)).hexdigest()


@case("certificates are replaced without dropping a connection; a server with another's certificate is not let in")
def _(w):
    with NameServer(w, ZONE, "10.0.0.53"):
        s = Sites(w).begin(phones=False)
        at = ("10.20.0.1", 5071)
        before = shown(w, at), {f["id"] for f in w.flows() if f["remote"].startswith("10.20.0.2:")}
        w.certificate(names="DNS:hub.test,DNS:uc.test,IP:10.20.0.1", again=True)
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
        wait_for("it is back with a good one", lambda: s.is_well("uc-b"), 40)
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
    wait_for("address and NAT are known", lambda: row()["public"] == "198.51.100.5:5060" and row()["nat"] == "Full Cone", 40)
    stun.address = "198.51.100.6"
    w.ask("sip", "interface", "detect").exits(0)
    wait_for("the new address is known", lambda: row()["public"] == "198.51.100.6:5060", 20)
    w.ask("sip", "interface", "list").exits(0).says("198.51.100.6:5060", "Full Cone")
    w.logged("sip.nat.type", "Full Cone")
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
    with NameServer(w, ZONE, "10.0.0.53"):
        s = Sites(w).begin(phones=False)
        with s.user("anna") as anna, s.user("bert") as bert:
            told, came, first = set(), [], 0
            for turn in range(5):
                for what, back in ((lambda: run("ip", "link", "set", "to-b", "down"), lambda: run("ip", "link", "set", "to-b", "up")),
                                   (lambda: w.certificate(names="DNS:hub.test,DNS:uc.test,IP:10.20.0.1", again=True), w.reload)):
                    for do in (None, what, back):
                        if do:
                            do()
                        a, b = flow(anna, bert, 100, first)
                        told, came, first = told | a, came + b, first + 100
                    wait_for("both are well again", lambda: s.is_well("uc-a") and s.is_well("uc-b"), 60)
                print(f"  (turn {turn + 1}: {first} messages, {len(told)} answered)", flush=True)
            a, b = flow(anna, bert, 40, first)
            told, came = told | a, came + b
            bodies = {body for body, _ in came}
            twice = {x for x, _ in came if len({via for y, via in came if y == x}) > 1}
            if told - bodies or twice or len(told) < first // 3:
                raise Failed(f"    {len(told)} answered of {first}, of those not there: {len(told - bodies)}, twice: {sorted(twice)[:5]}")


if FULL_LENGTH:
    case("links are cut and certificates replaced, five times over, and each message that is answered has arrived, once")(soak)


def inside():
    """Again, in namespaces of our own: a hub and two sites."""
    lines = ["ip addr add 10.0.0.1/32 dev lo", "ip addr add 10.0.0.53/32 dev lo", "sysctl -qw net.ipv4.ip_forward=1",
             *names_from("10.0.0.53"), "mkdir -p /run/netns", "mount -t tmpfs none /run/netns"]
    for ns, net in (("a", "10.10.0"), ("b", "10.20.0")):
        lines += [f"ip netns add {ns}", f"ip link add to-{ns} type veth peer name eth0 netns {ns}", f"ip addr add {net}.1/24 dev to-{ns}",
                  f"ip link set to-{ns} up", f"ip addr add {net}.9/24 dev to-{ns}", f"ip -n {ns} addr add {net}.2/24 dev eth0", f"ip -n {ns} addr add {net}.3/24 dev eth0",
                  f"ip -n {ns} link set lo up", f"ip -n {ns} link set eth0 up", f"ip -n {ns} route add default via {net}.1"]
    again(["net", "mount"], *lines)


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    sys.argv = [a for a in sys.argv if a != "--full"]
    raise SystemExit(main(28800))
