# SPDX-License-Identifier: Apache-2.0
"""The set-up of sites.py and domains.py: networks, names, UC servers, telephones, and the proxy between them. Each place is a
network namespace; root only.

    site a (10.10.0.2 Kamailio, .3 alice) ---------- hub: stile-sip, nsd, stile-turn and stile-tunnel (10.0.0.1, and .1 of
    site b (10.20.0.2 Kamailio, .3 bob, linphone) --      each site's network); nothing of 192.168 is known here
    partner c (10.30.0.2 and .4 Kamailio, .3 carol) -
    home (192.168.7.2, .3 nina) -- nat (10.40.0.2, each flow another port) -

Sites a and b are uc.test, one by TCP and one by mutual TLS; friend.test and gate.test are c's; site.test is the home's, where it
has a proxy."""
import ctypes
import math
import os
import sqlite3
import struct
import subprocess
import threading

from baresip import Baresip
from kamailio import write_tls
from own_network import again, names_from
from sip_world import Failed, Program, Skipped, Ua, need, wait_for

MODULES = "/usr/lib/x86_64-linux-gnu/kamailio/modules"
SCHEMAS = "/usr/share/kamailio/db_sqlite"
TONES = {"alice": 440, "bob": 880, "carol": 620, "nina": 1200, "larry": 1700}
NAMES = "10.0.0.53"  # where the name server is
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
# baresip publishes as soon as it runs and as soon as it is registered. If both is at once its server has two of it, and which of them
# watchers get is open; so a telephone's registration takes its time.
QUIET_US = 500000

ZONE = """$ORIGIN test.
$TTL 5
@ IN SOA ns admin 1 3600 600 86400 2
@ IN NS ns
ns IN A 10.0.0.53
hub IN A 10.20.0.1
wan IN A 10.0.0.1
fed IN A 10.30.0.1
ucb IN A 10.20.0.2
friend1 IN A 10.30.0.2
friend2 IN A 10.30.0.4
site IN A 10.0.0.1
_sip._tcp.uc IN SRV 10 0 5060 hub
_sipfederationtls._tcp.uc IN SRV 10 0 5061 fed
_sipfederationtls._tcp.friend IN SRV 10 0 5061 friend1
"""

KAMAILIO = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=4
tcp_children=2
auto_aliases=no
enable_tls={tls}
{aliases}
listen=udp:{here}:5060
{listen}
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
loadmodule "cfgutils.so"
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
modparam("registrar", "gruu_enabled", 0)

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
	if (is_method("REGISTER")) {{ if ($ua =~ "baresip") usleep("{quiet}"); save("location"); exit; }}
	if (is_method("OPTIONS") && $rU == $null) {{ sl_send_reply("200", "Here"); exit; }}
	if (!($rd =~ "^({domains})$")) {{ $du = "{proxy}"; t_relay(); exit; }}
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


def run(*argv, stdin=None):
    done = subprocess.run(argv, input=stdin or "", capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise Failed(f"    {' '.join(argv)}: {done.stderr.strip()}")


def within(ns, fn):
    """fn() in a network namespace: the sockets that it makes stay there."""
    result = []

    def work():
        with open(f"/run/netns/{ns}", "rb") as f:
            if LIBC.setns(f.fileno(), CLONE_NEWNET):
                result.append(Failed(f"    {ns}: {os.strerror(ctypes.get_errno())}"))
                return
        try:
            result.append(fn())
        except (OSError, Failed) as e:
            result.append(e)
    t = threading.Thread(target=work)
    t.start()
    t.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


class Server(Program):
    """A Kamailio: registrar, presence, and, if it has a password, a user of the proxy."""

    def __init__(self, w, name, users, domains=("uc.test",), **more):
        self.db = w.path(name + ".sqlite")
        db = sqlite3.connect(self.db)
        for schema in ("standard", "presence", "uac"):
            with open(f"{SCHEMAS}/{schema}-create.sql", encoding="utf-8") as f:
                db.executescript(f.read())
        if name.startswith("uc-"):
            db.execute("insert into uacreg (l_uuid, l_username, l_domain, r_username, r_domain, realm, auth_username, auth_password, "
                       "auth_proxy, expires) values (?, ?, 'uc.test', ?, 'uc.test', 'uc.test', ?, ?, ?, 60)",
                       (name, name, name, name, "pw-" + name, more["proxy"]))
        db.commit()
        db.close()
        tls = more.pop("tls", None)
        load_tls = f'loadmodule "tls.so"\nmodparam("tls", "config", "{write_tls(w, tls)}")' if tls else ""
        w.write(name + ".cfg", KAMAILIO.format(
            modules=MODULES, quiet=QUIET_US, db=self.db, users="|".join(users), domains="|".join(domains), tls="yes" if tls else "no", load_tls=load_tls,
            aliases="".join(f'alias="{d}"\n' for d in domains), listen="".join(f"listen={at}\n" for at in more.pop("listen")), **more))
        super().__init__(w, name, ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", w.path(name + ".cfg"), "-Y",
                                   w.path(name + ".run")], more["ns"])
        os.makedirs(w.path(name + ".run"))


class Phone(Baresip):
    """One whose tone is known, that records what it hears and says its presence; its control connection is reached from where it
    is: in a namespace of its own it takes `within`."""

    stdin, patience = subprocess.PIPE, 30

    def __init__(self, w, name, ns, here, account, watches=None, modules=()):
        """account: the parameters of its account; watches: whose presence it asks for."""
        domain = account.pop("domain", "uc.test")
        transport = account.pop("transport", "udp")
        usual = {"regint": 60, "pubint": 60 if watches else 0, "answermode": "auto"}
        params = "".join(f";{k}={v}" for k, v in {**usual, **account}.items())
        self.ns = ns
        super().__init__(w, name, (here, 4444), [
            f"sip_listen {here}:5060", f"audio_source ausine,{TONES[name]}", f"audio_player aubridge,{name}",
            f"snd_path {w.path(name)}/heard", f"sip_cafile {w.path('ca.pem')}", "module stdio.so", "module sndfile.so",
            *(f"module {m}.so" for m in modules), *(["module_app contact.so", "module_app presence.so"] if watches else []),
            f"net_interface {here}"], ns, ["-v"], accounts=[f"<sip:{name}@{domain};transport={transport}>{params}"],
            contacts=[f'"{watches}" <sip:{watches}>;presence=p2p'] if watches else [], current_contact=[f"sip:{watches}"] if watches else [])
        os.makedirs(self.folder + "/heard")

    def connect(self):
        return within(self.ns, super().connect)

    def count(self, kind):
        return len(self.heard(kind))

    def answers(self, command, text):
        """The command's answer has this text; asked again each time."""
        self.tell(command)
        self.listen()
        said = [e.get("data", "") for e in self.events if e.get("response") and e.get("token") == command]
        return bool(said) and text in said[-1]

    def must_see(self, other, seconds):
        """That the one whom it watches is online. After a second SUBSCRIBE or PUBLISH that failed baresip waits for five minutes;
        whose telephones they are would start them anew, and so is it here, once."""
        def seen():
            return self.answers("contacts", "Online")
        try:
            wait_for(f"{self.name} sees {other.name}", seen, seconds)
        except Failed:
            print(f"  ({self.name} did not see {other.name} in {seconds} s)")
            for phone in (other, self):
                print(f"  what {phone.name} said:\n{phone.said()[-3000:]}")
                phone.kill()
                phone.on()
            wait_for(f"{self.name} sees {other.name}, both started anew", seen, seconds)

    def records(self):
        """Of what it heard; the last one is what it hears now."""
        found = [os.path.join(self.folder, "heard", f) for f in os.listdir(self.folder + "/heard") if f.endswith("-dec.wav")]
        return sorted(found, key=os.path.getmtime)

    def hears(self):
        """Whose tone is the last that it heard."""
        return loudest(self.records()[-1]) if self.records() else None

    def on(self):
        """It runs, and is registered."""
        self.start()
        wait_for(f"{self.name} is registered", lambda: self.must_run() or " 200 OK" in self.said())
        return self


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


class Calls:
    """A call from one telephone to another, until it is ended."""

    def __init__(self, me, other, to):
        self.me, self.other = me, other
        up, self.closed = other.count("CALL_ESTABLISHED"), (me.count("CALL_CLOSED"), other.count("CALL_CLOSED"))
        me.tell("dial", f"sip:{to}")
        wait_for(f"{me.name}'s call to {to} is up", lambda: other.count("CALL_ESTABLISHED") > up)
        self.must_be_heard()

    def must_be_heard(self):
        wait_for(f"{self.me.name} and {self.other.name} hear each other's tone",
                 lambda: self.me.hears() == self.other.name and self.other.hears() == self.me.name)

    def heard_afresh(self):
        """What is heard from now on, not what stands in the record already."""
        for phone in (self.me, self.other):
            path = phone.records()[-1]
            size = os.path.getsize(path)
            wait_for(f"{phone.name} goes on hearing", lambda p=path, n=size: os.path.getsize(p) > n + 200000)
        self.must_be_heard()

    def end(self):
        self.me.tell("hangup")
        wait_for("the call is over", lambda: self.me.count("CALL_CLOSED") > self.closed[0] and
                 self.other.count("CALL_CLOSED") > self.closed[1])


class Sites:
    """Both sites of uc.test with server and telephone, the proxy between them."""

    def __init__(self, w, watches=None, **more):
        """watches: who asks for whose presence; more: keys of the proxy's configuration."""
        for program in ("kamailio", "baresip", "nsd"):
            need(program)
        if os.getuid() != 0:
            raise Skipped("it takes root to have networks of one's own")
        for module in ("presence", "tls", "db_sqlite"):
            if not os.path.exists(f"{MODULES}/{module}.so"):
                raise Skipped(f"Kamailio's module {module} is not here")
        self.w, self.more = w, more
        watches = watches or {"alice": "bob@uc.test", "bob": "alice@uc.test"}
        self.certificate()
        self.configure()
        w.certificate("ucb", "DNS:ucb.test")
        self.a = Server(w, "uc-a", ["alice", "anna"], ns="a", here="10.10.0.2", listen=["tcp:10.10.0.2:5062"],
                        contact="10.10.0.2:5062;transport=tcp", proxy="sip:10.10.0.1:5070;transport=tcp", proxy_ip="10.10.0.1")
        self.b = Server(w, "uc-b", ["bob", "bert", "larry"], ns="b", here="10.20.0.2", listen=["tls:10.20.0.2:5061"], tls="ucb",
                        contact="ucb.test:5061;transport=tls", proxy="sip:hub.test:5071;transport=tls", proxy_ip="10.20.0.1")
        self.alice = Phone(w, "alice", "a", "10.10.0.3", {"outbound": '"sip:10.10.0.2:5060;transport=udp"'}, watches.get("alice"))
        self.bob = Phone(w, "bob", "b", "10.20.0.3", {"outbound": '"sip:10.20.0.2:5060;transport=udp"'}, watches.get("bob"))

    def certificate(self, again=False):
        """The proxy's; again: another one."""
        self.w.certificate(names="DNS:hub.test,DNS:uc.test,DNS:wan.test,DNS:fed.test,IP:10.20.0.1", again=again)

    def configure(self, **more):
        keys = {"listen": '["udp:10.0.0.1:5060", "tcp:10.0.0.1:5060"]', "routes": None, "certificate": "server.pem", "key": "server.key",
                "ca": "ca.pem", "lan": '{ listen: ["tcp:10.10.0.1:5070", "mtls:10.20.0.1:5071"], servers: [ '
                                       '{ user: uc-a, password: pw-uc-a, addresses: [ 10.10.0.2/32 ] }, '
                                       '{ user: uc-b, certificate_name: ucb.test } ] }'}
        keys.update(self.more, **more)
        self.w.config(**keys)

    def state(self, name):
        return next(r for r in self.w.verb("sip.servers")["rows"] if r["name"] == name)

    def is_well(self, name):
        s = self.state(name)
        return s["on"] and s["health"] == "well"

    def begin(self, *phones):
        self.w.start()
        self.a.start()
        self.b.start()
        wait_for("both servers are logged on and well", lambda: self.a.must_run() or self.b.must_run() or (
            self.is_well("uc-a") and self.is_well("uc-b")))
        for phone in phones:
            phone.on()
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


NFT = """table ip nat {
	chain post { type nat hook postrouting priority srcnat; oifname "eth0" masquerade random,fully-random
	}
}
"""


def inside():
    """Again, in namespaces of our own: a hub, and around it the sites, the partner, and a home behind a NAT."""
    lines = ["ip addr add 10.0.0.1/32 dev lo", f"ip addr add {NAMES}/32 dev lo", "sysctl -qw net.ipv4.ip_forward=1",
             *names_from(NAMES), "mkdir -p /run/netns", "mount -t tmpfs none /run/netns"]
    for ns, net in (("a", "10.10.0"), ("b", "10.20.0"), ("c", "10.30.0"), ("nat", "10.40.0")):
        lines += [f"ip netns add {ns}", f"ip link add to-{ns} type veth peer name eth0 netns {ns}", f"ip addr add {net}.1/24 dev to-{ns}",
                  f"ip link set to-{ns} up", f"ip addr add {net}.9/24 dev to-{ns}", f"ip -n {ns} addr add {net}.2/24 dev eth0",
                  f"ip -n {ns} addr add {net}.3/24 dev eth0", f"ip -n {ns} addr add {net}.4/24 dev eth0",
                  f"ip -n {ns} link set lo up", f"ip -n {ns} link set eth0 up", f"ip -n {ns} route add default via {net}.1",
                  f"ip -n {ns} route add 10.0.0.1 via {net}.1 src {net}.3"]  # media of the telephone for a relay there
    lines += ["ip netns add home", "ip -n nat link add eth1 type veth peer name eth0 netns home", "ip -n nat addr add 192.168.7.1/24 dev eth1",
              "ip -n nat link set eth1 up", "ip netns exec nat sysctl -qw net.ipv4.ip_forward=1", "ip -n home link set lo up",
              "ip -n home addr add 192.168.7.2/24 dev eth0", "ip -n home addr add 192.168.7.3/24 dev eth0", "ip -n home link set eth0 up",
              "ip -n home route add default via 192.168.7.1", f"ip netns exec nat nft -f - <<'EOF'\n{NFT}EOF"]
    again(["net", "mount"], *lines)
