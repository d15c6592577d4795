# SPDX-License-Identifier: Apache-2.0
"""A NAT laboratory: a client, a router and an internet, each a network namespace, and NATs of nftables.

    client (in, 192.168.7.2 or 198.51.100.2) -- router -- (out, 203.0.113.1) internet: stile-turn on 203.0.113.10, .11

Namespaces carry this process's number, so several labs run side by side; what was made here is removed on
the way out, also after a failure. Everything stays inside the namespaces."""
import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from outcome import PATIENCE, SANITIZER, Failed, Skipped, wait_for  # noqa: E402, F401

SERVERS = ("203.0.113.10", "203.0.113.11")
SERVERS6 = ("2001:db8:2::10", "2001:db8:2::11")
LONELY = "203.0.113.20"  # a server with one address
PORTS = (3478, 3479)
OUTSIDE = "203.0.113.1"
NUMBER = itertools.count()
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def run(argv, timeout=60, check=True, **kwargs):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              timeout=timeout, text=True, errors="replace", check=False, **kwargs)
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed (tools/install-packages check)") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(argv)} hung for {timeout} s") from None
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: status {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.returncode, done.stdout


# What each NAT does, in the router. A packet that nobody asked for is dropped in `input`: a confirmed connection of
# it would take the port away from a later outgoing one (and a refusal would be visible outside).
STRICT = """chain input { type filter hook input priority filter; iifname "out" meta l4proto udp drop;
    }
"""
RECORD = """
    map inside { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 3m; size 4096; }
    set called { type inet_service . ipv4_addr; flags dynamic,timeout; timeout 3m; size 4096; }
    chain post { type nat hook postrouting priority srcnat;
        oifname "out" meta l4proto udp update @inside { udp sport : ip saddr }
        oifname "out" meta l4proto udp update @called { udp sport . ip daddr }
        oifname "in" ct status dnat ip saddr 192.168.7.0/24 snat to """ + OUTSIDE + """
        oifname "out" masquerade
    }
"""
NATS = {
    "none": "",
    "full-cone": STRICT + RECORD + """chain pre { type nat hook prerouting priority dstnat;
        iifname "out" meta l4proto udp dnat to udp dport map @inside
    }
""",
    "full-cone-hairpin": STRICT + RECORD + """chain pre { type nat hook prerouting priority dstnat;
        ip daddr """ + OUTSIDE + """ meta l4proto udp dnat to udp dport map @inside
    }
""",
    "restricted-cone": STRICT + RECORD + """chain pre { type nat hook prerouting priority dstnat;
        iifname "out" meta l4proto udp udp dport . ip saddr @called dnat to udp dport map @inside
    }
""",
    "restricted-port-cone": STRICT + """chain post { type nat hook postrouting priority srcnat;
        oifname "out" masquerade
    }
""",
    "symmetric": STRICT + """chain post { type nat hook postrouting priority srcnat;
        oifname "out" masquerade random,fully-random
    }
""",
    "udp-blocked": """chain forward { type filter hook forward priority filter; meta l4proto udp drop
    }
        chain post { type nat hook postrouting priority srcnat; oifname "out" masquerade
    }
""",
    "symmetric-firewall": """chain forward { type filter hook forward priority filter; policy drop;
        ct state established,related accept; iifname "in" accept;
    }
""",
}
# A 1:1 NAT, as clouds have it: all of one public address belongs to one inside, port for port.
ONE_TO_ONE = """chain pre { type nat hook prerouting priority dstnat;
        {from} ip daddr {outside} dnat to 192.168.7.2
    }
    chain post { type nat hook postrouting priority srcnat;
        {turned}
        oifname "out" ip saddr 192.168.7.2 snat to {outside}
    }
"""


def one_to_one(outside, hairpin):
    return (ONE_TO_ONE.replace("{outside}", outside).replace("{from}", "" if hairpin else 'iifname "out"')
            .replace("{turned}", f'iifname "in" oifname "in" ip saddr 192.168.7.2 snat to {outside}' if hairpin else ""))


NATS["one-to-one"] = one_to_one(OUTSIDE, False)
NATS["one-to-one-hairpin"] = one_to_one(OUTSIDE, True)
PUBLIC = ("none", "symmetric-firewall")  # the client has a public address: no NAT


def enter(name):
    """What runs a command in the namespace. `ip netns exec` also remounts /sys, which fails in a chroot."""
    return ["nsenter", f"--net=/run/netns/{name}"]


@contextlib.contextmanager
def inside(name):
    """This thread's sockets are made in that namespace meanwhile."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise Failed(f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def die_with_us():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Built:
    """A context manager that is set up as a whole or not at all: what there was before a failure is cleaned away."""

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.clean()
            raise
        return self

    def __exit__(self, *_):
        self.clean()


class Lab(Built):
    """The three namespaces with one NAT."""

    def __init__(self, build, nat):
        self.build, self.nat = build, nat
        tag = f"stile{os.getpid()}-{next(NUMBER)}"
        self.client, self.router, self.internet = (f"{tag}-{x}" for x in ("c", "r", "i"))
        self.made, self.services, self.helpers = [], [], []
        self.folder = tempfile.mkdtemp(prefix="stile-netns-")
        self.address = "198.51.100.2" if nat in PUBLIC else "192.168.7.2"

    def set_up(self):
        self.build_net()
        self.start_server("two", [f"udp:{a}:{p}" for a in SERVERS for p in PORTS] + [f"tcp:{a}:3478" for a in SERVERS])

    def clean(self):
        for process in [p for p, _ in self.services] + self.helpers:
            self.stop(process)
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def stop(process):
        if process.poll() is None:
            process.kill()
            process.wait()

    def inside(self, name, *argv, **kwargs):
        return run([*enter(name), *argv], **kwargs)

    def build_net(self):
        for name in (self.client, self.router, self.internet):
            code, out = run(["ip", "netns", "add", name], check=False)
            if code != 0:
                raise Skipped("network namespaces are not permitted: " + out.strip())
            self.made.append(name)
            self.inside(name, "ip", "link", "set", "lo", "up")
        for inner, peer, name in (("in", "eth0", self.client), ("out", "eth0", self.internet)):
            code, out = self.inside(self.router, "ip", "link", "add", inner, "type", "veth", "peer", "name", peer, "netns", name,
                                    check=False)
            if code != 0:
                raise Skipped("veth pairs are not permitted: " + out.strip())
        gateway = self.address.rsplit(".", 1)[0] + ".1"
        self.configure(self.router, "in", [gateway])
        self.configure(self.router, "out", [OUTSIDE])
        self.configure(self.client, "eth0", [self.address])
        self.configure(self.internet, "eth0", [*SERVERS, LONELY])
        self.inside(self.client, "ip", "route", "add", "default", "via", gateway)
        if self.nat in PUBLIC:
            self.inside(self.internet, "ip", "route", "add", "198.51.100.0/24", "via", OUTSIDE)
        self.set_router("net.ipv4.ip_forward", 1)
        for path in ("all", "in", "out"):
            self.set_router(f"net.ipv4.conf.{path}.rp_filter", 0)
        if NATS[self.nat]:
            self.set_rules(NATS[self.nat])

    def set_rules(self, text):
        """In place of those that the router has."""
        rules = os.path.join(self.folder, "rules.nft")
        with open(rules, "w", encoding="utf-8") as f:
            f.write("table ip lab\ndelete table ip lab\ntable ip lab {\n" + text + "\n}\n")
        self.inside(self.router, "nft", "-f", rules)

    def add_ipv6(self):
        """The same without a NAT: client 2001:db8:1::2, servers 2001:db8:2::10 and ::11."""
        self.set_router("net.ipv6.conf.all.forwarding", 1)
        for name, link, addresses, gateway in (
                (self.router, "in", ["2001:db8:1::1"], None), (self.router, "out", ["2001:db8:2::1"], None),
                (self.client, "eth0", ["2001:db8:1::2"], "2001:db8:1::1"), (self.internet, "eth0", SERVERS6, "2001:db8:2::1")):
            for a in addresses:
                self.inside(name, "ip", "address", "add", f"{a}/64", "dev", link, "nodad")
            if gateway:
                self.inside(name, "ip", "-6", "route", "add", "default", "via", gateway)

    def configure(self, name, link, addresses):
        for a in addresses:
            self.inside(name, "ip", "address", "add", f"{a}/24", "dev", link)
        self.inside(name, "ip", "link", "set", link, "up")

    def set_router(self, key, value):
        self.inside(self.router, "sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}")

    def start_server(self, name, listen, more="", where=None, top=""):
        """In the internet, unless a namespace is named; more: lines of the turn section, top: of the whole."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        with open(os.path.join(folder, "stile.yaml"), "w", encoding="utf-8") as f:
            f.write(f"""store: {{ path: "{folder}/store" }}
{top}
turn:
  listen: [{", ".join(f'"{entry}"' for entry in listen)}]
  password: the-laboratory-s-password
{more}""")
        os.chmod(os.path.join(folder, "stile.yaml"), 0o600)
        self.launch(folder, where or self.internet)

    def launch(self, folder, where):
        log = os.path.join(folder, "stderr")
        with open(log, "wb") as err:
            process = subprocess.Popen([*enter(where), os.path.join(self.build, "turn/stile-turn"), "-c",
                                        os.path.join(folder, "stile.yaml"), "--runtime-dir", folder, "--user", "root"],
                                       stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        self.services.append((process, log))
        deadline = time.monotonic() + PATIENCE
        while "service.ready" not in self.said(-1):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("stile-turn did not start:\n" + self.said(-1)[-1500:])
            time.sleep(0.05)

    def start_helper(self, name, argv, ready):
        """A program of others in one of the namespaces, until `ready` says that it is."""
        log = os.path.join(self.folder, os.path.basename(argv[0]) + ".log")
        with open(log, "wb") as out:
            try:
                process = subprocess.Popen(["ip", "netns", "exec", name, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            except FileNotFoundError:
                raise Failed("ip is not installed (tools/install-packages check)") from None
        self.helpers.append(process)
        deadline = time.monotonic() + PATIENCE
        while True:
            with open(log, encoding="utf-8", errors="replace") as f:
                said = f.read()
            if ready in said:
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{argv[0]} did not start: {said.strip()[-600:]}")
            time.sleep(0.05)

    def start_miniupnpd(self, outside):
        conf = os.path.join(self.folder, "miniupnpd.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"""ext_ifname=out
listening_ip=in
ext_ip={outside}
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
uuid=fa5c1a1e-0000-4000-8000-000000000001
allow 1024-65535 192.168.7.0/24 1024-65535
""")
        self.start_helper(self.router, ["miniupnpd", "-d", "-f", conf, "-P", conf + ".pid"], "Listening for NAT-PMP/PCP")

    def make_certificate(self):
        """Lines of the turn section that name it."""
        key, certificate = os.path.join(self.folder, "key.pem"), os.path.join(self.folder, "certificate.pem")
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
             "-subj", "/CN=laboratory", "-keyout", key, "-out", certificate])
        return f"  certificate: {certificate}\n  key: {key}\n"

    def said(self, i):
        with open(self.services[i][1], encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop_servers(self):
        """SIGTERM: exit status 0, and no sanitizer has said anything."""
        for i, (process, _) in enumerate(self.services):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                raise Failed("stile-turn did not stop within 15 s of SIGTERM") from None
            if process.returncode != 0 or SANITIZER.search(self.said(i)):
                raise Failed(f"stile-turn ended with status {process.returncode}:\n{self.said(i)[-3000:]}")

    def at_client(self, *argv, **kwargs):
        return self.inside(self.client, *argv, **kwargs)
