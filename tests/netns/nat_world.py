# SPDX-License-Identifier: Apache-2.0
"""Many sites on one internet, each behind a NAT or firewall of its kind, with the servers between them:

    host 192.168.7.2 -- router 192.168.7.1 / 203.0.113.N --+
    host 192.168.7.2 -- home   100.64.0.N -- provider -----+-- internet: 203.0.113.10, .11 and 2001:db8::10 (servers)
    host 198.51.100.N, public -- router -------------------+

All homes have the same private addresses, as they do. The rules are those of lab.py; what a site is stands in KINDS, and what
theory says about a pair of them in crosses(). Everything stays inside the namespaces, whose names carry this process's number."""
import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from lab import NATS, OUTSIDE, STRICT, Failed, Skipped, enter, run
from tunnel_lab import Programs

SERVERS = ("203.0.113.10", "203.0.113.11")
SERVERS6 = ("2001:db8::10", "2001:db8::11")
NUMBER = itertools.count()
SKIP = 77
# A router drops what nobody asked for, without a word: also a TCP connection, or its refusal would end one that both ends open.
SILENT = STRICT.replace("meta l4proto udp drop;", "meta l4proto { tcp, udp } drop;").replace(
    "priority filter;", "priority filter; ct state established,related accept;", 1)
FIREWALL6 = """chain forward { type filter hook forward priority filter; policy drop;
        ct state established,related accept; iifname "in" accept; meta l4proto icmpv6 accept;
    }
"""
ONLY_443 = """chain forward { type filter hook forward priority filter; policy drop;
        ct state established,related accept; iifname "in" tcp dport 443 accept;
    }
    chain post { type nat hook postrouting priority srcnat; oifname "out" masquerade
    }
"""
EI, AD, APD, NO = "endpoint", "address", "address and port", "nothing"  # mapping, filtering (RFC 4787)


class Kind:
    """What a site is made of, and what it lets through, as theory has it. No router here lets in a TCP connection that nobody
    asked for, or refuses one aloud."""

    def __init__(self, nat, what, mapping, filtering, tcp_mapping=EI, public=False, v4=True, v6=False, provider=None, any_tcp=True):
        self.nat, self.what, self.mapping, self.filtering, self.tcp_mapping = nat, what, mapping, filtering, tcp_mapping
        self.public, self.v4, self.v6, self.provider, self.any_tcp = public, v4, v6, provider, any_tcp


KINDS = {
    "none": Kind("none", "a public address", EI, EI, public=True, v6=True),
    "full-cone": Kind("full-cone", "full cone NAT", EI, EI),
    "restricted-cone": Kind("restricted-cone", "address-restricted NAT", EI, AD),
    "restricted-port-cone": Kind("restricted-port-cone", "port-restricted NAT", EI, APD),
    "symmetric": Kind("symmetric", "symmetric NAT", APD, APD, tcp_mapping=APD),
    "cgnat": Kind("restricted-port-cone", "two NATs, one of the carrier", EI, APD, provider="restricted-port-cone"),
    "symmetric-firewall": Kind("symmetric-firewall", "public address, stateful firewall", EI, APD, public=True),
    "udp-blocked": Kind("udp-blocked", "NAT that blocks UDP", NO, NO),
    "only-443": Kind("only-443", "only TCP port 443 goes out", NO, NO, any_tcp=False),
    "ipv6-only": Kind("ipv6", "IPv6 only, stateful firewall", EI, APD, v4=False, v6=True),
    "hairpin": Kind("full-cone", "two homes of one carrier, hairpinning", EI, EI, provider="full-cone-hairpin"),
    "no-hairpin": Kind("full-cone", "two homes of one carrier, no hairpinning", EI, EI, provider="full-cone"),
}


def opens(a, b, mapping, blocked):
    """Does a packet pass between the two, once both send to each other's known address? mapping: of each."""
    if blocked:
        return False
    return not any(m == APD and other.filtering == APD for m, other in zip(mapping, (b, a)))


def crosses(a, b):
    """(by what path theory lets a pair of kinds reach each other at once, None if by none; why)"""
    one, other = KINDS[a], KINDS[b]
    if a == b == "no-hairpin":
        return None, "the carrier's NAT does not turn their packets around"
    if a == b == "hairpin":
        return "direct", "the carrier's NAT turns their packets around"
    if one.v6 and other.v6:
        return "direct", "IPv6 on both sides: a firewall is opened by what is sent"
    if one.v4 != other.v4:
        return None, "no address family in common"
    if opens(one, other, (one.mapping, other.mapping), NO in (one.filtering, other.filtering)):
        return "direct", "each side's filter is opened by what it sends itself"
    if NO not in (one.filtering, other.filtering):
        return None, "the symmetric side's port is not known to the other, which lets in known ports only"
    if one.any_tcp and other.any_tcp and APD not in (one.tcp_mapping, other.tcp_mapping):
        return "tcp", "UDP is blocked; two TCP connections that cross become one"
    if not (one.any_tcp and other.any_tcp):
        return None, "UDP is blocked, and TCP to any port but 443"
    return None, "UDP is blocked, and the symmetric side's TCP port is not known"


class Site:
    def __init__(self, world, kind, number):
        self.world, self.kind, self.number = world, kind, number
        self.label = f"{kind}{number}"
        self.host, self.router = world.name(f"h{number}"), world.name(f"r{number}")
        k = KINDS[kind]
        self.outside = f"203.0.113.{20 + number}"
        self.gateway, self.address = ("198.51.100.%d" % (4 * number + 1), "198.51.100.%d" % (4 * number + 2)) if k.public else (
            "192.168.7.1", "192.168.7.2")
        self.gateway6, self.address6 = f"2001:db8:{number:x}::1", f"2001:db8:{number:x}::2"

    def at(self, *argv, **more):
        return run([*enter(self.host), *argv], **more)


def options(doc, *more):
    """The command line of a script: --build, and (name, keywords of add_argument) of its own."""
    p = argparse.ArgumentParser(description=doc.split("\n\n", maxsplit=1)[0])
    p.add_argument("--build", default="build", type=os.path.abspath, help="build folder (default: build)")
    for name, keywords in more:
        p.add_argument(name, **keywords)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the namespaces are removed
    return p.parse_args()


class Verdicts:
    """What became of a script's cases, told as they end; its status is the script's. As a context it takes what ends all of them."""

    def __init__(self):
        self.results, self.skipped = [], False

    def show(self, sentence, fn, *args):
        """One case; what it returns is told, too."""
        try:
            note = fn(*args)
        except Failed as e:
            note = e
            self.results.append(False)
        else:
            self.results.append(True)
        print((f"# {note}\n" if note else "") + ("[       OK ] " if self.results[-1] else "[  FAILED  ] ") + sentence, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if isinstance(value, Skipped):
            self.skipped = True
            print(value)
        elif isinstance(value, Failed):
            self.results.append(False)
            print(f"# {value}")
        elif value:
            return False
        if not self.skipped:
            print(f"{self.results.count(True)} passed, {self.results.count(False)} failed")
        return True

    def status(self):
        return SKIP if self.skipped else 0 if all(self.results) else 1


class World(Programs):
    """A context manager: World(build, ["none", "cgnat", …]) has a site for each word; a carrier is shared by its two homes."""

    def __init__(self, build, kinds):
        self.build, self.kinds = build, kinds
        self.tag = f"stile{os.getpid()}-{next(NUMBER)}n"
        self.made, self.sites, self.programs, self.popened = [], [], [], []
        self.services, self.env = [], {}  # ours, of tunnel_site.py
        self.folder = tempfile.mkdtemp(prefix="stile-nats-")
        os.chmod(self.folder, 0o755)
        self.internet = self.name("net")
        self.carriers = {}

    def name(self, host):
        return f"{self.tag}-{host}"

    def set_up(self):
        if os.getuid() != 0:
            raise Skipped("network namespaces need root")
        self.build_internet()
        for number, kind in enumerate(self.kinds, 1):
            self.sites.append(self.add_site(kind, number))

    def clean(self):
        for p in self.programs:
            p.kill()
        for p in self.popened:
            if p.poll() is None:
                p.kill()
            p.wait()
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the net ----

    def add(self, name):
        code, out = run(["ip", "netns", "add", name], check=False)
        if code != 0:
            raise Skipped("network namespaces are not permitted: " + out.strip())
        self.made.append(name)
        self.ip(name, "link set lo up")
        if os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):  # or what a switch carries would be translated
            self.sysctl(name, {"net.bridge.bridge-nf-call-iptables": 0})
        self.sysctl(name, {"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,
                           "net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0})

    def ip(self, name, *commands):
        """Several `ip` commands in a namespace at once."""
        done = subprocess.run([*enter(name), "ip", "-batch", "-"], input="\n".join(commands), text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Failed(f"ip in {name}: {done.stdout.strip()[-400:]} ({commands})")

    def sysctl(self, name, values):
        run([*enter(name), "sh", "-c", "; ".join(f"echo {v} > /proc/sys/{k.replace('.', '/')}" for k, v in values.items())])

    def forward(self, name):
        self.sysctl(name, {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1, "net.ipv4.conf.all.send_redirects": 0,
                           "net.ipv4.conf.default.send_redirects": 0})

    def rules(self, name, text, family="ip", table="lab"):
        done = subprocess.run([*enter(name), "nft", "-f", "-"], text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              input=f"table {family} {table}\ndelete table {family} {table}\n" +
                              (f"table {family} {table} {{\n{text}\n}}\n" if text else ""))
        if done.returncode != 0:
            raise Failed(f"nft in {name}: {done.stdout.strip()[-600:]}")

    def build_internet(self):
        self.add(self.internet)
        self.ip(self.internet, "link add net type bridge", "link set net up", "addr add 203.0.113.1/24 dev net",
                *(f"addr add {a}/24 dev net" for a in SERVERS), "addr add 2001:db8::1/64 dev net nodad",
                *(f"addr add {a}/64 dev net nodad" for a in SERVERS6))
        self.forward(self.internet)

    def uplink(self, router, number, address, address6=None):
        """A leg of a router in the internet, named out."""
        self.ip(router, f"link add out type veth peer name w{number} netns {self.internet}", f"addr add {address}/24 dev out",
                "link set out up", *([f"addr add {address6}/64 dev out nodad"] if address6 else []), "route add default via 203.0.113.1",
                *(["route add ::/0 via 2001:db8::1"] if address6 else []))
        self.ip(self.internet, f"link set w{number} master net up")

    def carrier(self, kind, number):
        """The provider's router, and its leg towards a home."""
        key = kind if kind in ("hairpin", "no-hairpin") else f"{kind}{number}"
        if key not in self.carriers:
            name = self.name(f"p{number}")
            outside = f"203.0.113.{20 + number}"
            self.add(name)
            self.forward(name)
            self.uplink(name, number, outside)
            self.ip(name, "link add in type bridge", "link set in up", "addr add 100.64.0.1/24 dev in")
            self.rules(name, self.silent(NATS[KINDS[kind].provider]).replace(OUTSIDE, outside).replace("192.168.7.0/24", "100.64.0.0/24"))
            self.carriers[key] = name
        return self.carriers[key]

    @staticmethod
    def silent(rules):
        return rules.replace(STRICT, SILENT) if STRICT in rules else SILENT + rules

    def add_site(self, kind, number):
        site, k = Site(self, kind, number), KINDS[kind]
        for name in (site.host, site.router):
            self.add(name)
        self.forward(site.router)
        if k.provider:
            provider, inner = self.carrier(kind, number), f"100.64.0.{10 + number}"
            site.outside = inner
            self.ip(site.router, f"link add out type veth peer name h{number} netns {provider}", f"addr add {inner}/24 dev out",
                    "link set out up", "route add default via 100.64.0.1")
            self.ip(provider, f"link set h{number} master in up")
        else:
            self.uplink(site.router, number, site.outside, f"2001:db8::{100 + number:x}" if k.v6 else None)
        self.ip(site.router, f"link add in type veth peer name eth0 netns {site.host}", "link set in up",
                *([f"addr add {site.gateway}/{30 if k.public else 24} dev in"] if k.v4 else []),
                *([f"addr add {site.gateway6}/64 dev in nodad"] if k.v6 else []))
        self.ip(site.host, "link set eth0 up",
                *([f"addr add {site.address}/{30 if k.public else 24} dev eth0", f"route add default via {site.gateway}"] if k.v4 else []),
                *([f"addr add {site.address6}/64 dev eth0 nodad", f"route add ::/0 via {site.gateway6}"] if k.v6 else []))
        if k.public:
            self.ip(self.internet, f"route add 198.51.100.{4 * number}/30 via {site.outside}")
        if k.v6:
            self.ip(self.internet, f"route add 2001:db8:{number:x}::/64 via 2001:db8::{100 + number:x}")
        if kind == "ipv6-only":
            self.rules(site.router, FIREWALL6, "ip6")
        elif k.nat != "none":
            self.rules(site.router, ONLY_443 if k.nat == "only-443" else self.silent(NATS[k.nat]).replace(OUTSIDE, site.outside))
        return site

    def open_ports_on_request(self, site, upnp):
        """The site's router runs miniupnpd: UPnP only, or PCP and NAT-PMP only. It serves on a public address alone, so it has one.
        Returns the Program."""
        public = f"44.0.0.{site.number}"
        self.ip(site.router, f"addr add {public}/32 dev out")
        self.ip(self.internet, f"route add {public}/32 via {site.outside}")
        forward = ("policy drop; ct state established,related accept; iifname \"in\" accept; meta l4proto icmpv6 accept; jump miniupnpd"
                   if site.kind == "ipv6-only" else "policy accept; jump miniupnpd")
        self.rules(site.router, f"""chain miniupnpd {{
            }}
            chain forward {{ type filter hook forward priority 0; {forward}
            }}
            chain prerouting_miniupnpd {{
            }}
            chain prerouting {{ type nat hook prerouting priority -100; jump prerouting_miniupnpd
            }}
            chain postrouting_miniupnpd {{
            }}
            chain postrouting {{ type nat hook postrouting priority 90; jump postrouting_miniupnpd
            }}""", "inet", table="filter")
        if site.kind == "ipv6-only":
            self.rules(site.router, "", "ip6")
        conf = os.path.join(self.folder, f"miniupnpd{site.number}.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"""ext_ifname=out
listening_ip=in
ext_ip={public}
enable_natpmp={"no" if upnp else "yes"}
enable_upnp={"yes" if upnp else "no"}
secure_mode=yes
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
uuid=fa5c1a1e-0000-4000-8000-00000000000{site.number}
allow 1024-65535 192.168.7.0/24 1024-65535
""")
        ready = "HTTP listening on port" if upnp else "Listening for NAT-PMP/PCP"
        return self.start_until("miniupnpd listens", lambda p: ready in p.said(), f"r{site.number}",
                                ["miniupnpd", "-d", "-f", conf, "-P", conf + ".pid"], "miniupnpd", 20)

    # ---- programs ----

    def stop_services(self):
        """None is killed here: one that runs no more has ended by itself."""
        for service in self.services:
            if not service.process.alive():
                raise Failed(f"{service.name} has ended by itself:\n{service.process.said()[-3000:]}")
        super().stop_services()

    def popen(self, name, argv, **more):
        """One that is spoken with."""
        p = subprocess.Popen([*enter(name), *argv], **more)
        self.popened.append(p)
        return p
