# SPDX-License-Identifier: Apache-2.0
"""A fail-over pair in network namespaces: two nodes with stile-tunnel and keepalived as docs/guides/relay-failover.md has
it, a client, and a target. Root. What is made here is removed on the way out."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time

from real_world import HERE, STILE, Failed, Skipped, case, need_root, program

GUIDE = os.path.join(HERE, "..", "..", "docs", "guides", "relay-failover.md")
VIP, PORT = "10.77.0.100", 2500
NODES = {"a": "10.77.0.1", "b": "10.77.0.2"}
CLIENT = "10.77.0.3"
LIMIT = 3.0
TARGET = """
import socket, sys, threading
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
def one(c):
    with c:
        while d := c.recv(4096):
            c.sendall(d)
while True:
    threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()
"""
# Connects again and again, a line "monotonic-time ok|why" each.
CLIENT_LOOP = """
import socket, sys, time
while True:
    began = time.monotonic()
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.4) as c:
            c.sendall(b"hello")
            said = "ok" if c.recv(5, socket.MSG_WAITALL) == b"hello" else "closed"
    except OSError as e:
        said = type(e).__name__
    print(began, time.monotonic(), said, flush=True)
    time.sleep(0.05)
"""


def guide_conf():
    with open(GUIDE, encoding="utf-8") as f:
        return re.search(r"```\n(# /etc/keepalived.*?)```", f.read(), re.S).group(1)


class Lab:
    def __init__(self, w):
        self.w, self.made, self.processes = w, [], []
        self.tag = f"stile{os.getpid()}r"

    def ns(self, name):
        return f"{self.tag}-{name}"

    def sh(self, *argv):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise Skipped(f"{' '.join(argv)}: {done.stderr.strip()}")

    def inside(self, name, *argv):
        return ["nsenter", f"--net=/run/netns/{self.ns(name)}", *argv]

    def build(self):
        for name in ("sw", "a", "b", "c"):
            self.sh("ip", "netns", "add", self.ns(name))
            self.made.append(name)
            self.sh(*self.inside(name, "ip", "link", "set", "lo", "up"))
        self.sh(*self.inside("sw", "ip", "link", "add", "br0", "type", "bridge"))
        self.sh(*self.inside("sw", "ip", "link", "set", "br0", "up"))
        for name, address in {**NODES, "c": CLIENT}.items():
            self.sh(*self.inside("sw", "ip", "link", "add", f"p{name}", "type", "veth", "peer", "name", "eth0", "netns", self.ns(name)))
            self.sh(*self.inside("sw", "ip", "link", "set", f"p{name}", "master", "br0", "up"))
            self.sh(*self.inside(name, "ip", "address", "add", f"{address}/24", "dev", "eth0"))
            self.sh(*self.inside(name, "ip", "link", "set", "eth0", "up"))

    def start(self, name, argv, log):
        with open(self.w.path(log), "wb") as out:
            p = subprocess.Popen(self.inside(name, *argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.processes.append(p)
        return p

    def read(self, log):
        with open(self.w.path(log), encoding="utf-8", errors="replace") as f:
            return f.read()

    def start_node(self, name):
        """stile-tunnel and keepalived of one node; the machine's name is the node's."""
        w = self.w
        w.write(f"{name}/stile.yaml", f"""store: {{ path: {w.path(name)}/store }}
tunnel:
  records: {{ dir: {w.records()}, json: true }}
  routes: [ {{ name: smtp, listen: "{VIP}:{PORT}", target: "{CLIENT}:2525" }} ]
""")
        run = w.path(f"{name}/run")
        argv = w.tunnel_argv(f"{name}/stile.yaml")
        argv[argv.index("--runtime-dir") + 1] = run
        tunnel = self.start(name, ["unshare", "-u", "sh", "-c", 'hostname node-$0 && exec "$@"', name, *argv], f"tunnel-{name}")
        conf = guide_conf().replace("/usr/bin/stile ready tunnel", f"{os.path.abspath(STILE)} ready tunnel --runtime-dir {run}") \
            .replace("192.0.2.100", VIP).replace("priority 100 ", f"priority {101 if name == 'a' else 100} ")
        w.write(f"{name}/keepalived.conf", conf, mode=0o644)
        keepalived = self.start(name, [program("keepalived"), "-n", "-l", "-D", "-P", "-f", w.path(f"{name}/keepalived.conf"),
                                       "-p", w.path(f"{name}/ka.pid"), "-r", w.path(f"{name}/vrrp.pid")], f"keepalived-{name}")
        return tunnel, keepalived

    def has_address(self, name):
        out = subprocess.run(self.inside(name, "ip", "-o", "address", "show", "eth0"), capture_output=True, text=True, check=False)
        return VIP + "/" in out.stdout

    def wait(self, what, why, seconds=20):
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                logs = "".join(f"    {n}: " + self.read(n)[-1200:].replace("\n", f"\n    {n}: ") + "\n"
                               for n in ("tunnel-a", "tunnel-b", "keepalived-a", "keepalived-b"))
                raise Failed(f"    {why} within {seconds} s\n{logs}")
            time.sleep(0.05)

    def tries(self):
        return [(float(a), float(b), said) for a, b, said in (line.split() for line in self.read("client").splitlines()[:-1])]

    def clean(self):
        for p in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGTERM)
        for p in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(5)
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", self.ns(name)], check=False, stderr=subprocess.DEVNULL)


def first_ok_after(lab, when):
    return next((end for began, end, said in lab.tries() if said == "ok" and began >= when), None)


def gap(lab, when, what):
    """From the moment of the fault to the end of the first connection that went all the way."""
    lab.wait(lambda: first_ok_after(lab, when), f"{what}: no connection", 15)
    took = first_ok_after(lab, when) - when
    if took > LIMIT:
        raise Failed(f"    {what}: {took:.2f} s until a new connection")
    return f"{what} {took:.2f} s"


def check_records(lab):
    """Both nodes have written into one folder, and each line is whole."""
    w = lab.w
    ok = sum(said == "ok" for _, _, said in lab.tries())  # first: it goes on
    texts = []

    def written():
        texts[:] = w.record_lines("CO", ".LOG")
        return len(texts) >= ok
    lab.wait(written, f"there is not a line for each of {ok} connections")
    form = re.compile(rf"\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d Connection from {CLIENT}:\d+ to {CLIENT}:2525$")
    wrong = [t for t in texts if not form.match(t)]
    if wrong:
        raise Failed(f"    {len(texts)} lines for {ok} connections, wrong ones: {wrong[:3]}")
    nodes = {j["node"] for j in w.json_lines() if j["id"] == "relay.connection.opened"}
    if nodes != {"node-a", "node-b"}:
        raise Failed(f"    nodes in the records: {nodes}")


@case("pair: a new connection is accepted within 3 s after stile-tunnel, or the whole node, dies; one shared log folder")
def _(w):
    need_root()
    lab = Lab(w)
    try:
        lab.build()
        lab.start("c", [sys.executable, "-c", TARGET, CLIENT, "2525"], "target")
        a_tunnel, _ = lab.start_node("a")
        lab.start_node("b")
        lab.wait(lambda: lab.has_address("a") and not lab.has_address("b"), "node a did not get the address")
        lab.start("c", [sys.executable, "-c", CLIENT_LOOP, VIP, str(PORT)], "client")
        lab.wait(lambda: first_ok_after(lab, 0), "no connection at all")
        # stile-tunnel alone dies: the check script sees it.
        fault = time.monotonic()
        os.killpg(a_tunnel.pid, signal.SIGKILL)
        notes = [gap(lab, fault, "stile-tunnel killed:")]
        lab.wait(lambda: lab.has_address("b") and not lab.has_address("a"), "the address is not at node b")
        # It comes back, takes the address, and then the node's link is cut, as when the machine dies.
        for p in list(lab.processes):
            if p is not a_tunnel and p.poll() is None and "keepalived" in " ".join(p.args) and f"{lab.ns('a')}" in " ".join(p.args):
                os.killpg(p.pid, signal.SIGTERM)
                p.wait(10)
        lab.start_node("a")
        lab.wait(lambda: lab.has_address("a") and not lab.has_address("b"), "node a did not get the address back")
        time.sleep(1)
        fault = time.monotonic()
        lab.sh(*lab.inside("sw", "ip", "link", "set", "pa", "down"))
        notes.append(gap(lab, fault, "link cut:"))
        check_records(lab)
        return ", ".join(notes)
    finally:
        lab.clean()
