#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What stands in the guides is what happens: each guide's configuration is written to machines of its own (tests/guides/machines.py) and
its commands are given there, one after the other, as they stand. Each must succeed. Root; skipped where namespaces are not permitted.

The machine "here" is one shell from the beginning of the page to its end (the tutorial).

  STILE_BUILD=build tests/guides/guides.py [TOPIC...]        # STILE_VERBOSE=1: each command and when

A comment with "Ctrl-C" marks a command that runs on, one with "exit status 1" a command that may say no. CODE is what the last command that made a code has printed. A command that asks for
a password gets one."""
import glob
import os
import re
import shlex
import sys
import time
import traceback

from machines import PATIENCE, Failed, Network, Skipped, run
from pages import ROOT, pages

PASSWORD = "a-password-that-is-typed\n"
ASKS = re.compile(r"^stile (turn user (add|passwd)|sip user add|sip server add .*--password|config set \S+\.password$|backup|restore)")
# Commands that look, and change nothing: what they look at may take a moment. And whatever a machine with too much to do answers late.
LOOKS = re.compile(r"^((server|site) )?(curl|stile (test|netcheck|ready|status|agent (status|peers|identity)|tunnel (agents|jobs|connections)|relay status))")
BUSY = "no answer from the service"
STARTS = "is not running"  # yet: it was started in the background
CODE = re.compile(r"(?:stile get |for visitors?: |^ *)([0-9A-Z][0-9A-Z-]{20,}(?:@\S+)?)\s*$", re.M)
LISTENER = "import socket,sys,threading\n" + """
def serve(s):
    while True:
        c = s.accept()[0]
        threading.Thread(target=lambda c=c: [c.sendall(d) for d in iter(lambda: c.recv(4096), b"")], daemon=True).start()
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    threading.Thread(target=serve, args=(socket.create_server((host, int(port))),), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

SERVER, SITE, CUSTOMER = "192.0.2.10", "198.51.100.20", "203.0.113.40"
# topic → machines with their addresses, and what listens there: what a guide takes for granted.
WORLDS = {
    "tutorial": ({"here": [SERVER]}, {}),
    "turn-for-a-uc-server": ({"server": [SERVER]}, {}),
    "cameras-behind-lte": ({"server": [SERVER, "10.0.0.5"], "site": [SITE, "10.1.0.10", "10.1.0.20", "10.1.0.50"]},
                           {"site": ["10.1.0.10:443", "10.1.0.10:22", "10.1.0.50:502"] + [f"10.1.0.20:{p}" for p in range(554, 564)]}),
    "coupling-networks": ({"server": ["192.168.10.5", "10.20.0.11", "10.20.0.30"]}, {"server": ["10.20.0.11:502", "10.20.0.30:1433"]}),
    "relay-publishing": ({"server": [SERVER, "10.3.100.14", "10.3.100.30", "10.3.100.40"]},
                         {"server": ["10.3.100.14:25", "10.3.100.30:1433", "10.3.100.40:80"]}),
    "files-to-a-customer": ({"server": [SERVER], "site": [SITE], "customer": [CUSTOMER], "gateway": ["192.0.2.11"]}, {}),
    "sip-sites": ({"server": [SERVER, "10.0.0.5"]}, {}),
    "sip-federation": ({"server": [SERVER, "10.0.0.5"]}, {}),
    "consent-and-hardening": ({"server": [SERVER], "site": [SITE, "10.1.0.10", "10.1.0.50"]}, {}),
    "why-relayed": ({"server": [SERVER], "site": [SITE]}, {}),
}
# Further guides, in English only: docs/guides/TOPIC.md.
FURTHER = {
    "direct-links": ({"server": [SERVER], "site": [SITE, "10.1.0.25"], "home": [CUSTOMER]}, {"site": ["10.1.0.25:3389"]}),
    "realms": ({"server": [SERVER, "192.0.2.11", "10.20.0.1"]}, {}),
    "settings-and-backup": ({"server": [SERVER]}, {}),
    "services-and-logs": ({"server": [SERVER]}, {}),
    "turn-quick-tour": ({"server": [SERVER]}, {}),
}
TURN = """log: { dir: /var/log/stile }
store: { path: /var/lib/stile }
turn:
  certificate: /etc/stile/turn.example.org.pem
  key: /etc/stile/turn.example.org.key
  users: [ { name: alice, password: a-password-of-the-guides } ]
  secrets: [ { id: 2026a, secret: a-secret-of-the-guides } ]
  relay: { addresses: [192.0.2.10] }
"""
# What is there when a guide begins: an agent at work, a stile-turn at work.
ENROLLED = ("files-to-a-customer", "consent-and-hardening", "why-relayed", "direct-links")
SERVING = ("realms", "settings-and-backup", "services-and-logs", "turn-quick-tour")
# What the package of a service leaves behind (packaging/debian): it runs, on a configuration of its own.
PACKAGED = {"turn-for-a-uc-server": "turn", "cameras-behind-lte": "tunnel", "coupling-networks": "tunnel", "relay-publishing": "tunnel"}
TUNNEL = """log: { dir: /var/log/stile }
store: { path: /var/lib/stile }
tunnel: { public_name: tunnel.example.org, listen: ["tls:0.0.0.0:7443"] }
turn: { password: a-password-for-the-guides, relay: { addresses: [192.0.2.10] } }
"""
AGENT = """log: { dir: /var/log/stile }
store: { path: /var/lib/stile }
stun_servers: [tunnel.example.org:3478]
agent: { name: site-17, server: "tunnel.example.org:7443" }
"""
NAMES = {"turn.example.org": SERVER, "tunnel.example.org": SERVER, "uc.example.org": SERVER, "web.intra": "10.3.100.14"}


class Authority:
    """Certificates for whatever a configuration names, from one CA of the run."""

    def __init__(self, folder):
        self.folder, self.names = folder, []
        self.ca, self.ca_key = self.path("ca.pem"), self.path("ca.key")
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj",
             "/CN=Authority of the guides", "-keyout", self.ca_key, "-out", self.ca])

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, machine, path):
        """path: /etc/stile/NAME.pem; its key is NAME.key, of fullchain.pem privkey.pem. It names NAME, and the server names of the page."""
        name = re.sub(r"\.pem$", "", os.path.basename(path))
        out, key = machine.outside(path), machine.outside(re.sub(r"\.pem$", ".key", path).replace("fullchain.key", "privkey.pem"))
        extension = self.path("extension")
        with open(extension, "w", encoding="utf-8") as f:
            f.write("subjectAltName=" + ",".join(f"DNS:{n}" for n in [name, *self.names]) + "\n")
        run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key,
             "-out", self.path("request")])
        run(["openssl", "x509", "-req", "-in", self.path("request"), "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "90",
             "-extfile", extension, "-out", out])

    def trust(self, machine):
        run(["cp", self.ca, machine.outside("/etc/stile/ca.pem")])
        run(["cp", self.ca, machine.outside("/etc/ssl/certs/ca-certificates.crt")])  # reading all of the system's takes a second each time


def provide(machine, authority, path):
    """What a configuration names: a certificate with its key, or a secret."""
    os.makedirs(os.path.dirname(machine.outside(path)), exist_ok=True)
    if path.endswith("privkey.pem"):
        return
    if path.endswith(".pem"):
        authority.issue(machine, path)
    else:
        machine.write(path, "a-secret-of-the-guides\n")


class Reader:
    """Goes through a page as an administrator would."""

    def __init__(self, net, page):
        self.net, self.page, self.code, self.commands = net, page, None, 0
        self.authority = authority = Authority(net.folder)
        for name in {b.machine for b in page.blocks if b.machine}:
            text = "".join(b.text for b in page.blocks if b.machine == name)
            authority.trust(net[name])
            authority.names = re.findall(r"server_names: \[([\w.-]+)\]", text)
            for path in set(re.findall(r"[\w./-]+\.(?:pem|secret|password)\b", text)) - {"/etc/stile/ca.pem"}:
                provide(net[name], authority, os.path.join("/etc/stile", path))

    def block(self, b):
        if b.machine is None:
            return
        machine = self.net[b.machine]
        if b.kind == "yaml" and b.machine == "here":
            path = re.match(r"# (\S+)\n", b.text)[1]
            self.command(machine, f"echo {shlex.quote(b.text)} >{path}", "", b.place[0])
            return
        if b.kind == "yaml":
            machine.write("/etc/stile/stile.yaml", b.text)
            return
        for command, comment, place in b.lines():
            self.command(machine, command, comment, place)

    def command(self, machine, command, comment, place):
        if "CODE" in command:
            if not self.code:
                raise Failed(f"{place}: {command}: no command before it has made a code")
            command = command.replace("CODE", self.code)
        self.commands += 1
        if os.environ.get("STILE_VERBOSE"):
            print(f"{time.monotonic():.1f} {place} {command}", flush=True)
        if "Ctrl-C" in comment:
            self.run_on(machine, command, place)
            return
        # The services stay root here, for their programs may lie where nobody else may look.
        command = re.sub(r"^stile check$", "stile check --user root", command)
        give = machine.shell if machine.name == "here" else machine.run
        deadline, late = time.monotonic() + PATIENCE, False
        while True:
            status, said = give(command, PASSWORD if ASKS.match(command) else "")
            good = not status or (status == 1 and "exit status 1" in comment)
            good = good or (late and BUSY not in said)  # what was done late cannot be done again
            late = late or BUSY in said
            if good or time.monotonic() > deadline or not (LOOKS.match(command) or BUSY in said or STARTS in said):
                break
            time.sleep(0.5)
        if not good:
            raise Failed(f"{place}: {command}: status {status}\n{said.strip()[-2500:]}")
        self.keep_code(said)

    def run_on(self, machine, command, place):
        """It must say something and be there still."""
        if machine.name == "here":
            machine.shell(f"{command.rstrip(' &')} >ctrl-c.out 2>&1 &")
            wait = "for i in $(seq 600); do grep -q 'Ctrl-C' ctrl-c.out && break; sleep 0.1; done; cat ctrl-c.out"
            self.keep_code(machine.shell(wait)[1])
            return
        log = machine.start(command)
        deadline = time.monotonic() + PATIENCE
        while True:
            with open(log, encoding="utf-8", errors="replace") as f:
                said = f.read()
            if machine.background[-1][0].poll() is not None:
                raise Failed(f"{place}: {command} ended with {machine.background[-1][0].returncode}\n{said.strip()[-2000:]}")
            if "Ctrl-C" in said or "Ready" in said:
                break
            if time.monotonic() > deadline:
                raise Failed(f"{place}: {command} does not get ready\n{said.strip()[-2000:]}")
            time.sleep(0.1)
        self.keep_code(said)

    def keep_code(self, said):
        found = CODE.search(said)
        if found:
            self.code = found[1]


EXCERPT = re.compile("no password, users or secrets in turn|needs turn.certificate and turn.key|set sip.certificate and sip.key")


SECTION = re.compile(r"(?:#.*\n)*(?:log|store|stun_servers|turn|tunnel|agent|sip|console|gateway|share): *[\n{\[]")


def excerpts():
    """(place, text) of each block of YAML that has a section of its own and leaves nothing out ("…")."""
    for path in [path for where in ("README.md", "docs/guides/*.md", "docs/man/*.scd") for path in sorted(glob.glob(os.path.join(ROOT, where)))]:
        with open(path, encoding="utf-8") as f:
            page = f.read()
        for m in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", page, re.M | re.S):
            text = re.sub(f"(?m)^{m[1]}", "", m[3])
            if (m[2] == "yaml" or not m[2] and SECTION.match(text)) and re.search(r"^[a-z_]+:", text, re.M) and "…" not in text:
                yield f"{os.path.relpath(path, ROOT)}:{page.count(chr(10), 0, m.start()) + 1}", text


def listeners(net, places):
    for name, wanted in places.items():
        log = net[name].start(f"python3 -c '{LISTENER}' {' '.join(wanted)}")
        deadline = time.monotonic() + PATIENCE
        while True:
            with open(log, encoding="utf-8", errors="replace") as f:
                said = f.read()
            if "ready" in said:
                break
            if time.monotonic() > deadline or net[name].background[-1][0].poll() is not None:
                raise Failed(f"the targets at {name} do not listen: {said}")
            time.sleep(0.05)


def before(net, reader):
    """What the guide about cameras has done."""
    net["server"].write("/etc/stile/stile.yaml", TUNNEL)
    net["site"].write("/etc/stile/stile.yaml", AGENT)
    for machine, command in (("server", "systemctl enable --now stile-tunnel stile-turn"), ("server", "stile tunnel enrol site-17"),
                             ("site", "systemctl enable --now stile-agent"), ("site", "stile agent enrol CODE"),
                             ("site", "echo a report >report.pdf")):
        reader.command(net[machine], command, "", "before the guide")
    if "home" in net.machines:
        net["home"].write("/etc/stile/stile.yaml", AGENT.replace("site-17", "home"))
        for machine, command in (("server", "stile tunnel enrol home"), ("home", "systemctl start stile-agent"), ("home", "stile agent enrol CODE")):
            reader.command(net[machine], command, "", "before the guide")
    if "gateway" in net.machines:
        net["gateway"].write("/etc/stile/stile.yaml", TUNNEL)
        reader.command(net["gateway"], "systemctl start stile-tunnel", "", "before the guide")
    if "customer" in net.machines:
        reader.command(net["customer"], "echo a photo >photo.jpg", "", "before the guide")


def as_installed(net, reader, service):
    with open(os.path.join(ROOT, "packaging/stile.yaml"), encoding="utf-8") as f:
        net["server"].write("/etc/stile/stile.yaml", f.read())
    with open(os.path.join(ROOT, f"packaging/debian/stile-{service}.postinst"), encoding="utf-8") as f:
        text = re.search(r"<<YAML\n(.*?)^YAML$", f.read(), re.M | re.S)[1]
    net["server"].write(f"/etc/stile/conf.d/{service}.yaml", re.sub(r"\$\(.*\)$", "made-at-the-installation", text, flags=re.M))
    reader.command(net["server"], f"systemctl start stile-{service}", "", "before the guide")


def turn_at_work(net, reader):
    reader.authority.issue(net["server"], "/etc/stile/turn.example.org.pem")
    net["server"].write("/etc/stile/stile.yaml", TURN)
    reader.command(net["server"], "systemctl start stile-turn", "", "before the guide")


def follow(build, page):
    hosts, places = {**WORLDS, **FURTHER}[page.topic]
    with Network(build, hosts, NAMES) as net:
        listeners(net, places)
        reader = Reader(net, page)
        if page.topic in ENROLLED:
            before(net, reader)
        if page.topic in PACKAGED:
            as_installed(net, reader, PACKAGED[page.topic])
        if page.topic in SERVING:
            turn_at_work(net, reader)
        for b in page.blocks:
            reader.block(b)
        for m in net.machines.values():
            m.check()
    return reader.commands


def check_others(build):
    """The configurations of README, man pages and guides that are in English only: stile check finds nothing, but that an excerpt lacks the rest."""
    with Network(build, {"server": [SERVER, "192.0.2.11", "192.0.2.100", "10.0.0.5"]}, NAMES) as net:
        machine, authority, looked = net["server"], Authority(net.folder), 0
        authority.trust(machine)
        machine.run("mkdir -p /srv/records")
        for place, text in excerpts():
            for path in set(re.findall(r"[\w./-]+\.(?:pem|secret|password)\b", text)):
                provide(machine, authority, os.path.join("/etc/stile", path))
            machine.write("/etc/stile/stile.yaml", text)
            said = machine.run("stile check --user root")[1]
            faults = [x for x in said.splitlines() if re.match(r"\S+\.yaml:\d+:\d+: (?!warning)", x) and not EXCERPT.search(x)]
            if faults:
                raise Failed(f"{place}: " + "\n".join(faults))
            looked += 1
    if looked < 12:
        raise Failed(f"only {looked} configurations were found")
    return looked


def main():
    wanted = sys.argv[1:]
    build = os.environ.get("STILE_BUILD", "build")
    failed = 0
    if os.geteuid() != 0:
        print("needs root: skipped")
        return 77
    work = {page.topic: lambda page=page: follow(build, page) for page in pages("en") + pages("") if page.topic in WORLDS or page.topic in FURTHER}
    work["others"] = lambda: check_others(build)
    for topic, go in work.items():
        if wanted and topic not in wanted:
            continue
        began = time.monotonic()
        try:
            n = go()
            print(f"[       OK ] The guide {topic}: {n} steps ({time.monotonic() - began:.1f} s)", flush=True)
        except Skipped as e:
            print(f"skipped: {e}")
            return 77
        except Failed as e:
            failed += 1
            print(f"[  FAILED  ] The guide {topic}\n{e}", flush=True)
        except Exception:  # pylint: disable=broad-except  # one guide that breaks the test does not hide the others
            failed += 1
            print(f"[  FAILED  ] The guide {topic}\n{traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
