#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who is who in the tunnel, with the real programs: enrolment by code and password, approval, revocation, keys that were
copied, lost, rotated or are another server's, and what an agent or a stranger says that is wrong."""
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from tunnel_world import (PASSWORD, Failed, Skipped, Target, case, connect, echo, main, resets, wait_for)


def expect(what, is_, should):
    if is_ != should:
        raise Failed(f"    {what} is {is_!r}, not {should!r}")


def echoes(port, text=b"hello through the tunnel"):
    with connect(port) as s:
        s.sendall(text)
        got = b""
        while len(got) < len(text):
            part = s.recv(4096)
            if not part:
                break
            got += part
    return got == text


def stays_out(w, name, seconds=2.0):
    """No connection of this agent, and none for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if w.link(name):
            raise Failed(f"    {name} is connected")
        time.sleep(0.1)


# ---- enrolment ----

@case("a code lets one agent in, which is pinned from then on and needs the code no longer")
def _(w):
    w.server()
    with Target(w.target_port(0), echo):
        code = w.enrol("site")
        w.agent("site", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'], code=f'"{code["code"].lower()}"')
        w.connected("site")
        row = w.registered("site")
        expect("state", (row["state"], row["enrolled_by"], row["root"]), ("approved", "code", "current"))
        known = w.agent_verb("site", "agent.identity")
        expect("the agent's fingerprint", known["fingerprint"], row["fingerprint"])
        expect("the pinned root", known["servers"][0]["root"], code["fingerprint"])
        w.agent_logged("site", "agent.pinned", code["fingerprint"])
        wait_for("the job works", lambda: _works(w.job_port()))
        w.agents["site"].stop()
        w.agent_config("site", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'])  # without the code
        w.start_agent("site")
        wait_for("the job works again", lambda: _works(w.job_port()))
        expect("modes", [oct(os.stat(w.path(f"store-site/stile-agent@site/{f}")).st_mode & 0o777)
                         for f in ("agent-identity.pem", "agent-servers.json")], ["0o600", "0o600"])
    w.agent("second", code=f'"{code["code"]}"')
    w.agent_logged("second", "code is not good")
    stays_out(w, "second")


def _works(port):
    try:
        return echoes(port)
    except OSError:
        return False


@case("stile agent enrol takes a code by hand, and says what is wrong with one")
def _(w):
    w.server()
    w.agent_config("site", password=None)
    w.start_agent("site")
    w.agent_logged("site", "nothing tells this server from a false one")
    w.ask_agent("site", "agent", "enrol", "not a code").exits(1).says("the code")
    code = w.enrol("site", "--for", f"127.0.0.1:{w.base}")["code"]
    if not code.endswith(f"@127.0.0.1:{w.base}"):
        raise Failed(f"    the code does not say where: {code}")
    digits, place = code.split("@")
    wrong = ("1" if digits[0] != "1" else "2") + digits[1:]
    w.ask_agent("site", "agent", "enrol", wrong).exits(1).says("mistyped")
    words = digits.lower().replace("0", "o").split("-")
    w.ask_agent("site", "agent", "enrol", *words[:-1], words[-1] + "@" + place).exits(0).says("enrolled at 127.0.0.1")
    w.connected("site")
    w.ask_agent("site", "agent", "enrol", code).exits(0)  # used up, but by this agent
    w.connected("site")
    other = "000G40R-40M30E2-09185GR-38E1W81-24GK2GA-HC5RR34-D1P70X3-RFGMMNN"
    w.ask_agent("site", "agent", "enrol", other).exits(1).says("not the server of the enrolment code")
    w.connected("site")  # and it is not cut off by that
    w.ask_agent("site", "agent", "identity").exits(0).says(w.registered("site")["fingerprint"])


@case("a code that has expired, was cancelled or is of another server is of no use")
def _(w):
    w.server()
    expired = w.enrol("a", "--expire", "1s")["code"]
    cancelled = w.enrol("b")["code"]
    w.ask("tunnel", "enrol", "b", "--cancel").exits(0)
    w.ask("tunnel", "enrol", "b", "--cancel").exits(1).says("there is no code for b")
    time.sleep(1.2)
    for name, code in (("a", expired), ("b", cancelled)):
        w.agent(name, code=f'"{code}"')
        w.agent_logged(name, "code is not good")
        expect("the registry", w.registered(name), None)
    w.ask("tunnel", "agents").exits(0).says("no agents").never_says("CODE FOR")
    foreign = "000G40R-40M30E2-09185GR-38E1W81-24GK2GA-HC5RR34-D1P70X3-RFGMMNN"
    w.agent("c", code=f'"{foreign}"')
    w.agent_logged("c", "this is not the server of the enrolment code")
    w.server_logged("tunnel.agent.refused", "there is no such code")
    w.agent_config("c", code=f'"{w.enrol("c")["code"]}"')
    expect("keys that a reload does not apply", w.agent_verb("c", "service.reload")["restart_needed"], "")
    w.connected("c")


@case("with the password alone an agent waits until it is approved, and both fingerprints are shown")
def _(w):
    w.server()
    w.agent("site", password=f'"{PASSWORD}"')
    row = wait_for("it waits", lambda: w.registered("site"))
    expect("state", row["state"], "pending")
    stays_out(w, "site", 0.5)
    root = w.ask_verb("tunnel.identity")["root"]
    w.agent_logged("site", "agent.pending", row["fingerprint"], root)
    w.ask("tunnel", "agents").exits(0).says("pending", "waits for approval", row["fingerprint"], root)
    w.ask_agent("site", "agent", "identity").exits(0).says(row["fingerprint"], "not pinned", "shows", root)
    w.ask("tunnel", "agents", "approve", row["fingerprint"][:20]).exits(0).says("is approved")
    w.connected("site")
    expect("the pinned root", w.agent_verb("site", "agent.identity")["servers"][0]["root"], root)
    w.agents["site"].stop()
    w.start_agent("site")
    w.connected("site")


@case("who waits for approval is sent away when no agents are let in, and waits again afterwards")
def _(w):
    w.server()
    w.agent("site", password=f'"{PASSWORD}"')
    row = wait_for("it waits", lambda: w.registered("site"))
    w.agent_logged("site", "agent.pending")
    w.ask("config", "set", "tunnel.accept", "false").exits(0)
    w.agent_logged("site", "lets no agents in at the moment")
    w.ask("tunnel", "agents", "approve", row["fingerprint"][:20]).exits(0)
    stays_out(w, "site", 1)
    w.ask("config", "set", "tunnel.accept", "true").exits(0)
    w.connected("site", 60)


class Holding:
    """Between an agent and the server: TCP connections are made, and while it holds, nothing goes through them."""

    def __init__(self, port, to):
        self.to, self.made, self.through = to, 0, threading.Event()
        self.through.set()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near = self.listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.made += 1
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        try:
            while data := a.recv(65536):
                self.through.wait()
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


@case("when no agents are let in, this is so too for one whose connection was there before, and said its name after")
def _(w):
    w.server()
    port = w.target_port(1)
    held = Holding(port, w.base)
    w.agent("site", server=f"127.0.0.1:{port}")
    w.agent_logged("site", "agent.connected")
    w.agents["site"].stop()
    wait_for("it is gone", lambda: not w.link("site"))
    held.through.clear()
    before = held.made
    w.start_agent("site")
    wait_for("its connection is made", lambda: held.made > before)
    time.sleep(0.5)  # and accepted
    w.ask("config", "set", "tunnel.accept", "false").exits(0)
    held.through.set()
    w.agent_logged("site", "lets no agents in at the moment")
    stays_out(w, "site", 1)
    w.ask("config", "set", "tunnel.accept", "true").exits(0)
    w.connected("site", 60)
    held.listener.close()


def hung(w):
    """site is connected and does not answer; the server asks it whether it lives, because twin has come with its key."""
    w.server()
    w.agent("site")
    w.connected("site")
    shutil.copytree(w.path("store-site/stile-agent@site"), w.path("store-twin/stile-agent@twin"), ignore=shutil.ignore_patterns("*.new"))
    w.agent_config("twin", name="site", store=None)
    w.agents["site"].process.send_signal(signal.SIGSTOP)
    w.start_agent("twin")
    time.sleep(1)  # of the three seconds that it has


@case("when no agents are let in, this is so too for one who waits because the link before it is asked whether it lives")
def _(w):
    hung(w)
    try:
        w.ask("config", "set", "tunnel.accept", "false").exits(0)
        w.agent_logged("twin", "lets no agents in at the moment")
        stays_out(w, "site", 4)
    finally:
        w.agents["site"].process.send_signal(signal.SIGCONT)


@case("an agent that is renamed while the link before it is asked whether it lives comes in under its new name")
def _(w):
    hung(w)
    try:
        w.ask("tunnel", "agents", "rename", "site", "plant").exits(0)
        w.agent_logged("twin", "agent.connected", "known_as=plant")
        w.connected("plant")
        if w.link("site"):
            raise Failed("    it is here under its old name")
    finally:
        w.agents["site"].process.send_signal(signal.SIGCONT)


@case("with the password and the fingerprint an agent is taken at once")
def _(w):
    w.server()
    root = w.ask_verb("tunnel.identity")["root"]
    w.agent("site", password=f'"{PASSWORD}"', server=f'"127.0.0.1:{w.base}#{root}"')
    w.connected("site")
    expect("enrolled by", w.registered("site")["enrolled_by"], "password")
    other = root[:-1] + ("0" if root[-1] != "0" else "1")
    w.agent("lost", password=f'"{PASSWORD}"', server=f'"127.0.0.1:{w.base}#{other}"')
    w.agent_logged("lost", "the server shows another root key", root)
    expect("what the server learned", w.registered("lost"), None)


@case("a password that none may be is told by stile check, and a reload with it leaves the one that holds")
def _(w):
    w.server()
    root = w.ask_verb("tunnel.agents")["fingerprint"]
    w.server_config(password='"private: \ue000"')
    w.stile("check", "-c", w.path("stile.yaml")).exits(2).says("RFC 4013")
    w.ask("reload", "tunnel").exits(1).says("RFC 4013")
    w.agent("site", password=f'"{PASSWORD}"', server=f'"127.0.0.1:{w.base}#{root}"')
    w.connected("site")


@case("a wrong password is refused, guesses wait, and nobody else notices")
def _(w):
    w.server()
    root = w.ask_verb("tunnel.identity")["root"]
    w.agent("site", password=f'"{PASSWORD}"', server=f'"127.0.0.1:{w.base}#{root}"')
    w.connected("site")
    w.agent("guess", password='"battery staple"', server=f'"127.0.0.1:{w.base}#{root}"')
    w.agent_logged("guess", "the password is wrong")
    for _ in range(6):  # it would come again in a minute; its administrator is impatient
        before = w.tunnel_metric("stile_tunnel_agents_refused_total", "password") + \
            w.tunnel_metric("stile_tunnel_agents_refused_total", "backoff")
        w.agents["guess"].stop()
        w.start_agent("guess")
        wait_for("it was refused", lambda: w.tunnel_metric("stile_tunnel_agents_refused_total", "password")
                 + w.tunnel_metric("stile_tunnel_agents_refused_total", "backoff") > before)
    w.agent_logged("guess", "too many wrong passwords")
    w.server_logged("tunnel.agent.backoff", "client=127.0.0.1")
    expect("the registry", w.registered("guess"), None)
    w.agents["site"].stop()
    w.start_agent("site")  # enrolled: no password is asked
    w.connected("site")


# ---- administration ----

@case("an agent is renamed, given ports, revoked while it works, and let in again")
def _(w):
    w.server()
    with Target(w.target_port(0), echo):
        w.agent("site", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'])
        wait_for("the job works", lambda: _works(w.job_port()))
        w.ask("tunnel", "agents", "rename", "site", "Werk 2, Köln").exits(0)
        w.ask("tunnel", "agents", "rename", "nobody", "x").exits(1).says("there is no agent nobody")
        w.ask("tunnel", "agents", "set", "Werk 2, Köln", "--ports", "1-2,77", "--note", "cellar").exits(0)
        expect("ports", w.registered("Werk 2, Köln")["ports"], ["1-2", "77"])
        w.ask("tunnel", "agents", "set", "Werk 2, Köln", "--ports", "0-99999").exits(1).says("ports:")
        w.ask("tunnel", "agents", "set", "Werk 2, Köln", "--ports", "").exits(0)
        with connect(w.job_port()) as s:
            s.sendall(b"x")
            s.recv(1)
            w.ask("tunnel", "agents", "revoke", "Werk 2, Köln").exits(0)
            s.settimeout(10)
            try:
                ended = s.recv(1) == b""
            except ConnectionError:
                ended = True
            if not ended:
                raise Failed("    the connection of the revoked agent lives")
        w.agent_logged("site", "key was revoked")
        w.agents["site"].stop()
        w.start_agent("site")
        w.server_logged("tunnel.agent.refused", "revoked")
        expect("state", w.registered("Werk 2, Köln")["state"], "revoked")
        if _works(w.job_port()):
            raise Failed("    the job of a revoked agent works")
        w.ask("tunnel", "agents", "approve", "Werk 2, Köln").exits(0)
        w.agents["site"].stop()
        w.start_agent("site")
        wait_for("the job works again", lambda: _works(w.job_port()))
        w.ask("tunnel", "agents", "delete", "Werk 2, Köln").exits(0)
        expect("the registry", w.registered("Werk 2, Köln"), None)


@case("a restarted server knows its agents; the audit keeps no secret of a code")
def _(w):
    s = w.server()
    code = w.enrol("kept")["code"]
    w.agent("site")
    w.connected("site")
    s.stop()
    w.start_server()
    w.connected("site", 40)
    w.agent("kept", code=f'"{code}"')
    w.connected("kept")
    for s in w.servers:
        s.stop()
    text = subprocess.run(["sqlite3", w.path("store/stile-tunnel.db"), "select before, after from audit"], capture_output=True,
                          text=True, timeout=20, check=False)
    if text.returncode:
        raise Skipped("no sqlite3")
    kept = re.search(r'"secret":\s*"[0-9a-f]{16}', text.stdout)
    if kept or "kept" not in text.stdout:
        raise Failed(f"    the audit holds a secret, or nothing: {text.stdout}")


# ---- keys ----

@case("a copied key in use twice: the second is refused, both are shown, and the first is never disturbed")
def _(w):
    w.server()
    w.agent("site")
    first = w.connected("site")
    shutil.copytree(w.path("store-site/stile-agent@site"), w.path("store-clone/stile-agent@clone"),
                    ignore=shutil.ignore_patterns("*.new"))  # the agent runs: what it is writing goes
    w.agent_config("clone", name="site", store=None)
    w.start_agent("clone")
    w.server_logged("tunnel.agent.copied-key", "name=site", "connected=127.0.0.1", "refused=127.0.0.1")
    w.agent_logged("clone", "another process")
    time.sleep(2)
    now = w.connected("site")
    expect("the first one's connection", (now.get("id"), now.get("reconnects")), (first.get("id"), first.get("reconnects")))
    expect("copied keys", w.tunnel_metric("stile_tunnel_copied_keys_total"), 1.0)
    w.ask("tunnel", "agents").exits(0).says("two machines use the key of site", "connected is 127.0.0.1", "refused was 127.0.0.1")
    w.agents["site"].stop()
    w.agents["clone"].stop()
    w.start_agent("clone")  # the first has gone: whoever has the key is the agent
    w.connected("site", 60)


@case("another server at the same place is not spoken to, and the right one is found again")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    right = w.ask_verb("tunnel.identity")["root"]
    w.servers[0].stop()
    os.rename(w.path("store"), w.path("store-right"))
    fake = w.start_server()  # with the same password
    wrong = w.ask_verb("tunnel.identity")["root"]
    w.agent_logged("site", "the server shows another root key", wrong, right)
    expect("what the other server learned", w.ask_verb("tunnel.agents")["rows"], [])
    fake.stop()
    shutil.rmtree(w.path("store"))
    os.rename(w.path("store-right"), w.path("store"))
    w.start_server()
    w.agents["site"].stop()
    w.start_agent("site")
    w.connected("site")


@case("an agent with a new key is nobody, whatever it is called")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    w.agents["site"].stop()
    os.unlink(w.path("store-site/stile-agent@site/agent-identity.pem"))
    w.start_agent("site")
    w.agent_logged("site", "does not know this agent's key")
    w.server_logged("tunnel.agent.refused", "name=site", "enrol it")
    stays_out(w, "site", 0.5)


@case("link and root keys are rotated, a root is lost, and no site is locked out")
def _(w):
    s = w.server()
    with Target(w.target_port(0), echo):
        w.agent("site", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'])
        wait_for("the job works", lambda: _works(w.job_port()))
        w.agent("away")
        w.connected("away")
        w.agents["away"].stop()
        was = w.ask_verb("tunnel.identity")
        with connect(w.job_port()) as data:
            data.sendall(b"before")
            expect("bytes", data.recv(6), b"before")
            w.ask("tunnel", "identity", "rotate", "link").exits(0).says(was["root"])
            w.ask("tunnel", "identity", "rotate", "root").exits(0).says(was["successor"])
            w.agent_logged("site", "agent.pinned", was["successor"])  # it hears of it at once
            w.connected("site")
            data.sendall(b"after")
            expect("bytes of a connection that went on", data.recv(5), b"after")
    w.ask("tunnel", "identity", "rotate", "root").exits(1).says("1 agents have not yet been told", "away")
    w.start_agent("away")
    w.connected("away")
    now = w.ask_verb("tunnel.identity")
    expect("the root", now["root"], was["successor"])
    expect("agents behind", now["agents_behind"], 0)
    expect("what the agent pins", w.agent_verb("site", "agent.identity")["servers"][0]["successor"], now["successor"])
    s.stop()
    os.unlink(w.path("store/stile-tunnel/tunnel-root.pem"))
    s = w.start_server()
    w.server_logged("tunnel.keys.succeeded")
    expect("the root", w.ask_verb("tunnel.identity")["root"], now["successor"])
    w.connected("site", 40)


@case("the backup makes another machine the same server, and a successor kept apart comes back")
def _(w):
    s = w.server()
    w.agent("site")
    w.connected("site")
    was = w.ask_verb("tunnel.identity")
    w.ask("tunnel", "identity", "export", w.path("backup.pem"), stdin="short\n").exits(1).says("at least 8")
    w.ask("tunnel", "identity", "export", w.path("backup.pem"), stdin="open sesame\n").exits(0)
    expect("mode", oct(os.stat(w.path("backup.pem")).st_mode & 0o777), "0o600")
    w.ask("tunnel", "identity", "export", w.path("backup.pem"), stdin="open sesame\n").exits(1).says("is there already")
    w.ask("tunnel", "identity", "successor", "export", w.path("successor.pem"), stdin="open sesame\n").exits(0)
    w.ask("tunnel", "identity").exits(0).says("its key is kept elsewhere")
    w.ask("tunnel", "identity", "rotate", "root").exits(1).says("import it first")
    w.ask("tunnel", "identity", "import", w.path("successor.pem"), stdin="wrong\n").exits(1).says("passphrase")
    w.ask("tunnel", "identity", "import", w.path("successor.pem"), stdin="open sesame\n").exits(0).never_says("elsewhere")
    s.stop()
    shutil.rmtree(w.path("store/stile-tunnel"))
    w.start_server()
    w.ask("tunnel", "identity", "import", w.path("backup.pem"), stdin="open sesame\n").exits(1).says("locked out")
    w.ask("tunnel", "identity", "import", w.path("backup.pem"), "--force", stdin="open sesame\n").exits(0).says(was["root"])
    w.agents["site"].stop()
    w.start_agent("site")
    w.connected("site")


@case("a successor that is lost at the server is another one then, which agents do not take: no rotation locks them out unawares")
def _(w):
    s = w.server()
    for name in ("site", "other"):
        w.agent(name)
        w.connected(name)
    was = w.ask_verb("tunnel.identity")
    w.ask("tunnel", "identity", "export", w.path("backup.pem"), stdin="open sesame\n").exits(0)
    s.stop()
    os.unlink(w.path("store/stile-tunnel/tunnel-successor.pem"))
    w.start_server()
    now = w.ask_verb("tunnel.identity")
    w.server_logged("tunnel.keys.successor", now["successor"])
    for name in ("site", "other"):
        w.connected(name)
        w.agent_logged(name, "agent.successor", f"pinned={was['successor']}", f"named={now['successor']}")
    expect("the pinned successor", w.agent_verb("site", "agent.identity")["servers"][0]["successor"], was["successor"])
    w.ask("tunnel", "identity").exits(0).says("2 agents know another successor")
    w.ask("tunnel", "identity", "rotate", "root").exits(1).says("2 agents know another successor")
    w.ask_agent("other", "agent", "enrol", w.enrol("other", "--replace")["code"]).exits(0)
    expect("the pinned successor", w.agent_verb("other", "agent.identity")["servers"][0]["successor"], now["successor"])
    w.ask("tunnel", "identity", "rotate", "root").exits(1).says("1 agents know another successor", "site")
    w.ask("tunnel", "identity", "import", w.path("backup.pem"), "--force", stdin="open sesame\n").exits(0).says("1 agent knows another successor")
    w.ask("tunnel", "agents", "delete", "other").exits(0)
    w.ask("tunnel", "identity", "rotate", "root").exits(0).says(was["successor"])
    w.agent_logged("site", "agent.pinned", f"root={was['successor']}")


# ---- strangers and liars ----

class Recorder:
    """Passes connections on to the server and keeps what the client sent."""

    def __init__(self, w, at):
        self.sent, self.to = [], w.base
        self.target = Target(at, self.serve)

    def serve(self, s):
        with socket.create_connection(("127.0.0.1", self.to), timeout=10) as far:
            kept = bytearray()
            self.sent.append(kept)
            back = threading.Thread(target=self.pump, args=(far, s, None), daemon=True)
            back.start()
            self.pump(s, far, kept)
            back.join(10)

    @staticmethod
    def pump(a, b, kept):
        try:
            while True:
                part = a.recv(65536)
                if not part:
                    break
                if kept is not None:
                    kept += part
                b.sendall(part)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@case("a recorded login that is played back lets nobody in")
def _(w):
    w.server()
    recorder = Recorder(w, w.target_port(5))
    root = w.ask_verb("tunnel.identity")["root"]
    w.agent("site", password=f'"{PASSWORD}"', server=f'"127.0.0.1:{w.target_port(5)}#{root}"')
    w.connected("site")
    w.ask("tunnel", "agents", "delete", "site").exits(0)
    w.agents["site"].stop()
    for sent in list(recorder.sent):
        with connect(w.base) as s:
            try:
                s.sendall(bytes(sent))
                while s.recv(65536):
                    pass
            except OSError:
                pass
    stays_out(w, "site", 0.5)
    expect("the registry", w.registered("site"), None)
    recorder.target.close()


def field(number, value):
    return struct.pack("!HH", number, len(value)) + value


def hello(version=1, oldest=1, purpose=1, features=0, name=b"site", more=b""):
    body = field(1, struct.pack("!H", version)) + field(2, struct.pack("!H", oldest)) + field(3, bytes([purpose])) + \
        field(4, struct.pack("!Q", features)) + field(5, os.urandom(16)) + field(7, name) + more
    return bytes([1]) + len(body).to_bytes(3, "big") + body


class Stranger:
    """An agent of this script's own: TLS as the agent's, with that agent's key, and whatever bytes it is told to send."""

    def __init__(self, w, pem=None, alpn="stile-agent/1", version=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        if alpn:
            context.set_alpn_protocols([alpn])
        if pem:
            context.load_cert_chain(pem)
        self.s = context.wrap_socket(socket.create_connection(("127.0.0.1", w.base), timeout=10))
        self.s.settimeout(20)

    def ask(self, data):
        """Type and payload of the first frame of the answer; None: the connection ended without one."""
        try:
            self.s.sendall(data)
            head = self.take(4)
            return (head[0], self.take(int.from_bytes(head[1:], "big"))) if head else None
        except OSError:
            return None

    def take(self, n):
        got = b""
        while len(got) < n:
            part = self.s.recv(n - len(got))
            if not part:
                return None
            got += part
        return got

    def close(self):
        self.s.close()


def key_of(w, agent):
    return w.path(f"store-{agent}/stile-agent@{agent}/agent-identity.pem")


@case("an agent of a newer version is let in if it still speaks ours, and else told which one we speak")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    w.agents["site"].stop()
    wait_for("it has gone", lambda: not w.link("site"))
    newer = Stranger(w, key_of(w, "site"))
    kind, payload = newer.ask(hello(version=9, oldest=1, more=field(0x9abc, b"what nobody knows yet")))
    expect("the answer", (kind, payload[4:6]), (2, b"\x00\x01"))  # WELCOME, version 1
    newer.close()
    too_new = Stranger(w, key_of(w, "site"))
    kind, payload = too_new.ask(hello(version=9, oldest=8))
    expect("the answer", (kind, payload[:5]), (3, b"\x00\x01\x00\x01\x02"))  # REFUSED, reason version
    if b"older than the agent" not in payload:
        raise Failed(f"    the reason does not say it: {payload}")
    too_new.close()


@case("an agent that asks for more connections back than it may has its answers, and fills no log")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    w.agents["site"].stop()
    wait_for("it has gone", lambda: not w.link("site"))
    s = Stranger(w, key_of(w, "site"))
    expect("the answer", s.ask(hello())[0], 2)  # WELCOME
    body = field(1, struct.pack("!I", 7)) + field(2, struct.pack("!H", w.target_port(5))) + field(3, os.urandom(16))
    s.s.sendall((bytes([0x28]) + len(body).to_bytes(3, "big") + body) * 200)
    answers = 0
    while answers < 200:
        head = s.take(4)
        s.take(int.from_bytes(head[1:], "big"))
        answers += head[0] == 0x29
    s.close()
    log = wait_for("the log tells its end, too", lambda: (t := w.log_text("stile-tunnel")).count(" tunnel.link.down ") == 2 and t)
    lines = log.count(" tunnel.reach ")
    if not 1 <= lines <= 10:
        raise Failed(f"    {lines} lines about it")


# ---- relays, asked for and used by hand ----

def known(w, *names, **more):
    """The keys of agents that are enrolled, and are not running (any more)."""
    for name in names:
        w.agent(name, **more)
        w.connected(name)
        w.agents[name].stop()
        wait_for("it has gone", lambda n=name: not w.link(n))
    return [bytes.fromhex(w.registered(n)["fingerprint"].removeprefix("sha256:")) for n in names]


def meets(w, *names):
    """Control connections of known agents that say that they look for others."""
    ends = [Stranger(w, key_of(w, name)) for name in names]
    for end in ends:
        expect("the answer", end.ask(hello(features=4))[0], 2)  # WELCOME
    return ends


def wants(end, other, call, more=b""):
    body = field(1, other) + field(2, call) + more
    end.s.sendall(bytes([0x22]) + len(body).to_bytes(3, "big") + body)


def hears(end):
    """The fields of the next RELAY, by their numbers."""
    while True:
        head = end.take(4)
        if not head:
            raise Failed("    the server has hung up")
        body, found = end.take(int.from_bytes(head[1:], "big")), {}
        while head[0] == 0x22 and body:
            number, n = struct.unpack_from("!HH", body)
            found[number], body = body[4:4 + n], body[4 + n:]
        if found:
            return found


def relay_of(a, b, pins):
    """The session of a relay that both want."""
    call = os.urandom(16)
    wants(a, pins[1], call)
    expect("what the other one hears", hears(b), {1: pins[0], 2: call})
    wants(b, pins[0], call)
    first, second = hears(a), hears(b)
    if set(first) != {1, 2, 3} or first[3] != second.get(3):
        raise Failed(f"    there is no relay: {first} {second}")
    return first[3]


def joined(w, session, *pems):
    """The ends of a relay, through which a byte goes each way."""
    ends = [Stranger(w, pem) for pem in pems]
    for end in ends:
        end.s.sendall(hello(purpose=4, more=field(6, session)))
    for end in ends:
        expect("the answer", end.take(4)[0], 2)  # WELCOME
        end.take(6)
        end.s.sendall(b"r")  # bytes from here on
    for a, b in (ends, ends[::-1]):
        a.s.sendall(b"x")
        expect("what comes through", b.take(1), b"x")
    return ends


def broken_off(ends):
    for end in ends:
        try:
            got = end.take(1)
        except TimeoutError:
            raise Failed("    the relay goes on") from None
        except OSError:
            continue
        expect("what comes through", got, None)
        end.close()


@case("an agent with as many relays as it may have asks again for one that it lost, or waits for, and gets it")
def _(w):
    w.server(direct="{ relays: 1 }")
    call, pins = os.urandom(16), known(w, "one", "two")
    ends = meets(w, "one", "two")
    for _i in range(2):
        wants(ends[0], pins[1], call)
        expect("what the other one hears", hears(ends[1]), {1: pins[0], 2: call})
    for _i in range(2):  # the first pair, and another one when it is lost
        wants(ends[1], pins[0], call)
        if set(hears(ends[0])) != {1, 2, 3} or set(hears(ends[1])) != {1, 2, 3}:
            raise Failed("    there is no relay")
        wants(ends[0], pins[1], call)
        expect("what the other one hears", hears(ends[1]), {1: pins[0], 2: call})
    for end in ends:
        end.close()


LIMIT = b"\x09"


def is_refused(end, peer, call, text):
    heard = hears(end)
    expect("what it hears", (heard.get(1), heard.get(2), heard.get(4)), (peer, call, LIMIT))
    expect("why", heard[5].decode(), text + " has as many relays as it may have (tunnel.direct.relays)")


@case("no agent has more relays than it may, whoever asks and whoever answers, and in however many calls")
def _(w):
    w.server(direct="{ relays: 1 }")
    call, pins = os.urandom(16), known(w, "one", "two", "three")
    one, two, three = meets(w, "one", "two", "three")
    wants(one, pins[1], call)
    expect("what the other one hears", hears(two), {1: pins[0], 2: call})
    wants(one, pins[2], call)  # with another one in the same call
    is_refused(one, pins[2], call, "this agent")
    wants(three, pins[0], other := os.urandom(16))
    is_refused(three, pins[0], other, "that agent")
    wants(one, pins[1], call)  # the one that it waits for is no other
    expect("what the other one hears", hears(two), {1: pins[0], 2: call})
    for end in (one, two, three):
        end.close()


@case("an agent that was asked by many answers as many as it may have relays, and the others hear that it has no more")
def _(w):
    w.server(direct="{ relays: 1 }")
    calls, pins = [os.urandom(16), os.urandom(16)], known(w, "site", "one", "two")
    site, *visitors = meets(w, "site", "one", "two")
    for i, end in enumerate(visitors):
        wants(end, pins[0], calls[i])
        expect("what the other one hears", hears(site), {1: pins[1 + i], 2: calls[i]})
    wants(site, pins[1], calls[0])
    expect("what both hear", (set(hears(site)), set(hears(visitors[0]))), ({1, 2, 3}, {1, 2, 3}))
    wants(site, pins[2], calls[1])
    is_refused(site, pins[2], calls[1], "this agent")
    is_refused(visitors[1], pins[0], calls[1], "that agent")
    for end in (site, *visitors):
        end.close()


@case("an agent that wants a relay no more after the half minute for which the server remembers that it did")
def _(w):
    w.server(direct="{ relays: 1 }")
    call, pins = os.urandom(16), known(w, "one", "two")
    one, two = meets(w, "one", "two")
    wants(one, pins[1], call)
    expect("what the other one hears", hears(two), {1: pins[0], 2: call})
    for end in (one, two):
        end.close()  # or it would have to answer PINGs
    time.sleep(31)
    one, two = meets(w, "one", "two")
    wants(one, pins[1], call, more=field(4, LIMIT))
    wants(one, pins[1], other := os.urandom(16))
    expect("what the other one hears", hears(two), {1: pins[0], 2: other})
    for end in (one, two):
        end.close()


def relay_ends_with(w, name, pin, act, closed):
    """closed: it has nothing but the relay left when that happens."""
    site, visitor = meets(w, "site", name)
    ends = joined(w, relay_of(visitor, site, [pin, w.site]), key_of(w, name), key_of(w, "site"))
    if closed:
        visitor.close()
        wait_for("it is away", lambda: not w.link(name))
    act()
    broken_off(ends)
    for end in (site, visitor):
        end.close()
    wait_for("both have gone", lambda: not w.link("site") and not w.link(name))


@case("a relay ends with the agent: revoked, deleted, thrown out or sent away, also if it is all that is left of it")
def _(w):
    w.server()
    w.site, *pins = known(w, "site", "stolen", "thief", "deleted", "thrown", "last")
    relay_ends_with(w, "stolen", pins[0], lambda: w.ask("tunnel", "agents", "revoke", "stolen").exits(0), False)
    relay_ends_with(w, "thief", pins[1], lambda: w.ask("tunnel", "agents", "revoke", "thief").exits(0), True)
    relay_ends_with(w, "deleted", pins[2], lambda: w.ask("tunnel", "agents", "delete", "deleted").exits(0), True)
    relay_ends_with(w, "thrown", pins[3], lambda: w.ask("tunnel", "drop", "thrown", "--over").exits(0), False)
    relay_ends_with(w, "last", pins[4], lambda: w.ask("config", "set", "tunnel.accept", "false").exits(0), True)


def own_key(w, name):
    """A key that nobody has enrolled: its file, and its fingerprint."""
    w.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=site",
              "-keyout", f"{name}.pem", "-out", f"{name}.crt")
    with open(w.path(f"{name}.pem"), "a", encoding="ascii") as f, open(w.path(f"{name}.crt"), encoding="ascii") as crt:
        f.write(crt.read())
    public = subprocess.run(["openssl", "pkey", "-in", w.path(f"{name}.pem"), "-pubout", "-outform", "DER"], capture_output=True, timeout=20, check=True)
    return w.path(f"{name}.pem"), hashlib.sha256(public.stdout).digest()


@case("a share's guest has four relays at most, and none when the share is over, also if that is all that is left of it")
def _(w):
    w.server()
    pins = known(w, "site")
    site, = meets(w, "site")
    share = field(1, os.urandom(8)) + field(2, b"\x01")
    site.s.sendall(bytes([0x25]) + len(share).to_bytes(3, "big") + share)
    guests, ends = [], []
    for name in ("guest", "ghost"):
        pem, pin = own_key(w, name)
        guests.append(Stranger(w, pem))
        expect("the answer", guests[-1].ask(hello(features=4 | 8 | 16, name=name.encode(), more=field(8, share[4:12])))[0], 2)
        ends += joined(w, relay_of(guests[-1], site, [pin, pins[0]]), pem, key_of(w, "site"))
    calls = [os.urandom(16) for _i in range(4)]
    for call in calls:
        wants(guests[0], pins[0], call)
    is_refused(guests[0], pins[0], calls[3], "this agent")
    guests[1].close()
    over = share + field(4, b"\x01")
    site.s.sendall(bytes([0x25]) + len(over).to_bytes(3, "big") + over)
    broken_off(ends)
    for end in (site, guests[0]):
        end.close()


@case("a restarted agent numbers its jobs anew: until it has told them nobody is led to a job by its old number")
def _(w):
    with Target(w.target_port(0), echo):
        w.server()
        w.agent("site", [f'port: {w.job_port(0)}, name: web, target: "127.0.0.1:{w.target_port(0)}"'])
        wait_for("the job works", lambda: [r for r in w.ask_verb("tunnel.jobs")["rows"] if r["state"] == "active"])
        w.agents["site"].stop()
        wait_for("it has gone", lambda: not w.link("site"))
        again = Stranger(w, key_of(w, "site"))  # another process, which says nothing of its jobs
        expect("the answer", again.ask(hello())[0], 2)  # WELCOME
        wait_for("it is there", lambda: w.link("site"))
        if not resets(w.job_port(0)):
            raise Failed("    a connection was taken")
        expect("refused", w.ask_verb("tunnel.jobs")["rows"][0]["refused"], 1)
        again.close()


@case("an agent that refuses to go on is quoted in the server's log and tables")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    w.agents["site"].stop()
    wait_for("it has gone", lambda: not w.link("site"))
    s = Stranger(w, key_of(w, "site"))
    expect("the answer", s.ask(hello())[0], 2)  # WELCOME
    body = field(1, b"\x01") + field(2, b"POOL at the wrong time")
    s.s.sendall(bytes([3]) + len(body).to_bytes(3, "big") + body)  # REFUSED, protocol
    w.server_logged("tunnel.link.down", "the agent says: the other side does not keep to the protocol: POOL at the wrong time")
    expect("why", w.links()[0]["why"].rpartition(": ")[2], "POOL at the wrong time")
    s.close()


@case("strangers without a certificate, of another protocol, or with a key that nobody knows get nothing")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    for what in ({"pem": None}, {"pem": key_of(w, "site"), "alpn": "h2"}, {"pem": key_of(w, "site"), "alpn": None},
                 {"pem": key_of(w, "site"), "version": ssl.TLSVersion.TLSv1_2}):
        try:
            s = Stranger(w, **what)
        except OSError:
            continue
        if s.ask(hello()) is not None:
            raise Failed(f"    an answer for {what}")
        s.close()
    own, _ = own_key(w, "own")
    nobody = Stranger(w, own)
    kind, payload = nobody.ask(hello())
    expect("the answer", (kind, payload[:5]), (3, b"\x00\x01\x00\x01\x03"))  # REFUSED, unknown key
    nobody.close()
    liar = Stranger(w, own)  # says that a login follows, and sends a proof of nothing
    body = field(1, os.urandom(8)) + field(2, os.urandom(32))
    kind, payload = liar.ask(hello(features=1) + bytes([5]) + len(body).to_bytes(3, "big") + body)
    expect("the answer", kind, 3)
    liar.close()
    expect("agents", len(w.ask_verb("tunnel.agents")["rows"]), 1)
    w.connected("site")


@case("a proxy that refuses the password is named as the reason, and the direct way is taken")
def _(w):
    if not shutil.which("tinyproxy"):
        raise Skipped("no tinyproxy")
    w.server()
    port = w.target_port(6)
    w.write("tinyproxy.conf", f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nLogLevel Error\n"
                              f"LogFile \"{w.path('tinyproxy.log')}\"\nBasicAuth stile secret\nConnectPort {w.base}\n")
    proxy = subprocess.Popen(["tinyproxy", "-d", "-c", w.path("tinyproxy.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the proxy listens", lambda: _listens(port))
        code = w.enrol("site")["code"]
        dead = w.target_port(7)  # nothing listens there, directly or behind the proxy
        w.agent("lost", code=f'"{w.enrol("lost")["code"]}"', server=f"127.0.0.1:{dead}", proxy=f"http://stile:wrong@127.0.0.1:{port}")
        w.agent_logged("lost", f"port {dead} through the proxy 127.0.0.1:{port}: the proxy refuses the user or password")
        w.agent("barred", code=f'"{w.enrol("barred")["code"]}"', server=f"127.0.0.1:{dead}", proxy=f"http://stile:secret@127.0.0.1:{port}")
        w.agent_logged("barred", f"127.0.0.1:{dead}: ", "the proxy answers 403", "does not let CONNECT through to this port")
        w.agent("site", code=f'"{code}"', proxy=f"http://stile:wrong@127.0.0.1:{port}")
        w.connected("site")
    finally:
        proxy.terminate()
        proxy.wait(10)


def _listens(port):
    try:
        connect(port, timeout=1).close()
        return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(24500))
