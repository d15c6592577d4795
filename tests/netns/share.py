#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile share behind a NAT, and stile get behind each kind of NAT and firewall of the laboratory, without an agent of its own: every file is
compared, the path is named, and one transfer is killed in its middle and goes on. --full: every kind at both ends. Root.

One line a case; exit 77 where namespaces are not permitted."""
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ice_ends import SECRET  # noqa: E402
from lab import Failed, Skipped, die_with_us, enter  # noqa: E402
from nat_world import KINDS, SERVERS, SERVERS6, SKIP, World, options  # noqa: E402
from tunnel_lab import wait_for  # noqa: E402
from tunnel_site import ASAN, Service  # noqa: E402

MB = 1 << 20
SENDERS, RECEIVERS = ("restricted-port-cone",), ("none", "symmetric", "cgnat", "udp-blocked", "only-443")
# Where theory knows a direct path, and the transfer is long enough to find it.
EXPECTED = {("restricted-port-cone", "none"): ("direct",), ("restricted-port-cone", "cgnat"): ("direct",)}
SIZE, PATIENCE, ATTEMPTS = 6 * MB, 120, 3


class TurnServer(Service):
    program, full = "turn/stile-turn", "stile-turn"

    def __init__(self, world):
        listen = [f"udp:{SERVERS[0]}:3478", f"tcp:{SERVERS[0]}:3478", f"udp:[{SERVERS6[0]}]:3478"]
        super().__init__(world, "turn", "net", f"""turn:
  listen: {json.dumps(listen)}
  secrets: [ {{ id: lab, secret: {SECRET} }} ]
  peers: {{ allow: [203.0.113.0/24] }}
""")


class TunnelServer(Service):
    program, full = "tunnel/stile-tunnel", "stile-tunnel"

    def __init__(self, world):
        at = [f"tls:{SERVERS[1]}:7443", f"tls:{SERVERS[1]}:443", f"tls:[{SERVERS6[1]}]:7443", f"tls:[{SERVERS6[1]}]:443"]
        super().__init__(world, "server", "net", f"""tunnel:
  public_name: {SERVERS[1]}
  listen: {json.dumps(at)}
  direct: {{ turn_servers: ["{SERVERS[0]}:3478"], turn_secret: {SECRET} }}
""")


class SiteAgent(Service):
    program, full = "tunnel/stile-agent", "stile-agent"

    def __init__(self, world, site, code):
        server = f"[{SERVERS6[1]}]" if not KINDS[site.kind].v4 else SERVERS[1]
        super().__init__(world, site.label, f"h{site.number}", f"agent:\n  name: {site.label}\n  server: \"{server}:7443\"\n  code: \"{code}\"\n")


class Told:
    """A command of the tool in a site, with the JSON lines that it says."""

    def __init__(self, world, site, *argv):
        self.lines = []
        self.p = subprocess.Popen([*enter(world.name(f"h{site.number}")), os.path.join(world.build, "cli/stile"), *argv, "--json"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **{**ASAN, **world.env}, TMPDIR=world.folder),
                                  preexec_fn=die_with_us)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.p.stdout:
            self.lines.append(json.loads(line))

    def event(self, name):
        def look():
            found = [x for x in self.lines if x["event"] == name]
            if not found and self.p.poll() is not None and not self.reader.is_alive():
                raise Failed(f"it ended with {self.p.returncode}: {self.lines[-3:]} {self.p.stderr.read()}")
            return found and found[0]
        return wait_for(f"it says {name}", look, PATIENCE)

    def ends_well(self):
        try:
            self.p.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failed(f"it does not end: {self.lines[-3:]}") from None
        self.reader.join(10)
        if self.p.returncode != 0:
            raise Failed(f"it ended with {self.p.returncode}: {self.lines[-3:]} {self.p.stderr.read()}")

    def stop(self, sig=signal.SIGTERM):
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


def sha(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for part in iter(lambda: f.read(MB), b""):
            h.update(part)
    return h.hexdigest()


def receive(world, site, code, path, cut):
    """Path and seconds. cut: it is killed in the middle first."""
    where = os.path.join(world.folder, f"in{site.number}-{time.monotonic_ns()}")
    os.mkdir(where)
    if not KINDS[site.kind].v4:
        code = code.split("@")[0] + f"@[{SERVERS6[1]}]:7443"
    got, part = os.path.join(where, "file.bin"), os.path.join(where, "file.bin.part")
    empty = os.path.join(where, "run")
    os.mkdir(empty)
    began = time.monotonic()
    if cut:
        r = Told(world, site, "get", code, where, "--runtime-dir", empty)
        wait_for("some of it is there", lambda: os.path.exists(part) and os.path.getsize(part) > 0 or os.path.exists(got), PATIENCE)
        r.stop(signal.SIGKILL)
    r = Told(world, site, "get", code, where, "--runtime-dir", empty)
    try:
        r.ends_well()
        row = r.event("got" if not cut or not any(x["event"] == "there" for x in r.lines) else "there")
    finally:
        r.stop()
    if sha(got) != sha(path):
        raise Failed("the file is another one")
    return row["text"].rsplit("(", 1)[-1].rstrip(")"), time.monotonic() - began


def by_expected_way(world, sender, site, code, path, cut):
    """Path and seconds. On a busy machine all may have come by the relay before the direct path is found: it is repeated twice."""
    expected = EXPECTED.get((sender.kind, site.kind))
    for _ in range(ATTEMPTS):
        way, took = receive(world, site, code, path, cut)
        if not expected or way in expected:
            return way, took
    raise Failed(f"it went by {way}, not by {expected}")


def one_sender(world, sender, agent, receivers, path):
    failed = 0
    s = Told(world, sender, "share", path, "--runtime-dir", agent.path("run"))
    try:
        code = s.event("ready")["code"]
        for i, site in enumerate(receivers):
            what = f"{sender.kind} shares, {site.kind} gets"
            try:
                way, took = by_expected_way(world, sender, site, code, path, cut=i == 0)
                print(f"# {way}, {took:.1f} s\n[       OK ] {what}", flush=True)
            except Failed as e:
                failed += 1
                print("".join(f"  {line}\n" for line in agent.logged().splitlines()[-20:]) + f"# {e}\n[  FAILED  ] {what}", flush=True)
    finally:
        s.stop()
    return failed


def main():
    o = options(__doc__, ("--full", {"action": "store_true", "help": "every kind at both ends"}),
                ("--size", {"type": int, "default": SIZE // MB, "help": f"MiB of the file (default {SIZE // MB})"}))
    senders, receivers = (tuple(KINDS), tuple(KINDS)) if o.full else (SENDERS, RECEIVERS)
    failed = 0
    try:
        with World(o.build, list(senders) + list(receivers)) as world:
            world.env = {"STILE_DIRECT": os.path.join(o.build, "tunnel/direct/stile-agent-direct")}
            path = os.path.join(world.folder, "file.bin")
            with open(path, "wb") as f:
                for _ in range(o.size):
                    f.write(os.urandom(MB))
            os.chmod(path, 0o644)
            TurnServer(world).start()
            server = TunnelServer(world).start()
            agents = []
            for site in world.sites[:len(senders)]:
                agents.append(SiteAgent(world, site, json.loads(server.tool("tunnel", "enrol", site.label, "--json"))["code"]).start())
            for a in agents:
                wait_for(f"{a.name} is connected", lambda a=a: "agent.connected" in a.logged(), PATIENCE)
            for site, agent in zip(world.sites, agents):
                failed += one_sender(world, site, agent, world.sites[len(senders):], path)
            world.stop_services()
    except Skipped as e:
        print(e)
        return SKIP
    except Failed as e:
        print(f"# {e}")
        failed += 1
    print(f"{len(senders) * len(receivers) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
