# SPDX-License-Identifier: Apache-2.0
"""The services as tests/failure knows them, one class each: how it is configured and started, a round of its users, something that an
administrator changes in its store and how one sees that it was kept. What else a user needs (a server for the agent, shares for the gateway)
is begun beside it and not harmed.

Everything is in namespaces of the script's own (network and mounts), store and log on a small disk, and the name server is ours."""
import contextlib
import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("gateway", "tunnel", "console", "sip", "relay", "admin"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import gateway_world  # noqa: E402
import turn_client  # noqa: E402
import world  # noqa: E402
from console_world import PASSWORD, Client  # noqa: E402
from relay_world import Target, UdpTarget, echo  # noqa: E402
from sip_world import Ua, credentials, says_ok  # noqa: E402
from world import BUILD, PATIENCE, Failed, wait_for  # noqa: E402

NAMES_AT = "127.0.0.53"


class Names:
    """A name server that knows every name under .here as 127.0.0.1; gone: it says nothing."""

    def __init__(self):
        self.gone, self.asked = False, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NAMES_AT, 53))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(2048)
            self.asked += 1
            end = query.index(b"\0", 12) + 5
            kind = struct.unpack_from("!H", query, end - 4)[0]
            known = b"\x04here\0" in query[12:end]
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if known and kind == 1 else b""
            head = query[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, 1 if answer else 0, 0, 0)
            if not self.gone:
                self.socket.sendto(head + query[12:end] + answer, peer)


def begin(w, argv, full, env=None):
    """A service that answers; it ends with the world."""
    s = world.Server(w, argv, env=env)
    s.full = full
    w.servers.append(s)
    s.wait_ready()
    return s


def enrolment_code(w):
    return json.loads(w.ask("tunnel", "enrol", "site", "--json").exits(0).out)["code"]


class Service:
    """use() is a user's round; change(n) and has(n) an administrator's. A service without a store has no change()."""
    section, program, tls = "", "", True

    def __init__(self, w):
        self.w, self.p, self.server, self.extra = w, w.base, None, {}
        self.full = f"stile-{self.section}"

    def path(self, name):
        return self.w.path(name)

    @property
    def store(self):
        return self.path(f"disk/store/{self.full}.db")

    @property
    def pair(self):
        return {"certificate": "server.pem", "key": "server.key"}

    def begin_beside(self):
        """What it needs and is not its own."""

    def keys(self):
        """Of its section."""
        return {}

    def configure(self, **more):
        keys = {**self.keys(), **self.extra, **more}
        lines = "".join(f"  {k}: {v}\n" for k, v in keys.items() if v is not None)
        self.w.write(f"{self.section}.yaml", f"log: {{ level: info, dir: {self.path('disk/log')} }}\n"
                                             f"store: {{ path: {self.path('disk/store')} }}\n{self.section}:\n{lines}")

    def argv(self):
        return [os.path.join(BUILD, self.program), "-c", self.path(f"{self.section}.yaml"), "--runtime-dir", self.path("run"), "--user", "root"]

    def start(self, env=None):
        self.server = begin(self.w, self.argv(), self.full, env)

    def start_fails(self):
        return self.w.run(*self.argv(), timeout=PATIENCE)

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server.ended = True

    def stop(self):
        self.server.stop()

    def before_kill(self):
        """What users do once, and not again after the kill: as_before() sees to it."""

    def as_before(self):
        pass

    def alive(self):
        return self.server.process.poll() is None

    def verb(self, name, args=None):
        return self.w.verb(name, args or {}, self.full)

    def health(self):
        return {i["id"]: i for i in self.verb("service.health")["items"]}

    def use(self):
        raise NotImplementedError

    def works(self, what="it works"):
        """A round succeeds, now or soon: a client would ask again, too."""
        last = [""]

        def tried():
            try:
                self.use()
                return True
            except (OSError, Failed, ssl.SSLError) as e:
                last[0] = f"{type(e).__name__}: {e}"
                return False
        try:
            wait_for(what, tried)
        except Failed as e:
            raise Failed(f"{e}: {last[0]}") from None

    def logged(self, *texts):
        """In a line of its log."""
        try:
            with open(self.path(f"disk/log/{self.full}.log"), encoding="utf-8", errors="replace") as f:
                return any(all(t in line for t in texts) for line in f)
        except FileNotFoundError:
            return False


def exchange(s, data):
    s.settimeout(PATIENCE)
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        part = s.recv(65536)
        if not part:
            raise Failed("    the connection ended")
        got += part
    if got != data:
        raise Failed("    other bytes came back")


def through(port):
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        exchange(s, b"x" * 20000)


class Turn(Service):
    section, program = "turn", "turn/stile-turn"

    def begin_beside(self):
        self.w.targets.append(UdpTarget(self.p + 30))

    def keys(self):
        p = self.p
        return {"realm": "failure.test", "users": "[ { name: alice, password: wonderland } ]", "peers": "{ allow: [127.0.0.0/8] }",
                "listen": f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p + 1}"]', "workers": "1",
                "secrets": f"[ {{ id: one, secret: {world.SECRET} }} ]",
                "relay": f"{{ addresses: [127.0.0.1], ports: {p + 100}-{p + 300} }}", **self.pair}

    def client(self, user="alice", password="wonderland"):
        c = turn_client.Client(self.p, user, password)
        c.socket.settimeout(5)
        for code in (c.allocate(), c.permit("127.0.0.1"), c.bind(0x4000, "127.0.0.1", self.p + 30)):
            if code:
                c.socket.close()
                raise Failed(f"    stile-turn answers {code}")
        return c

    def relayed(self, c, tries=6):
        """There and back; what a busy machine has lost is said again."""
        for _ in range(tries):
            said = os.urandom(12)
            c.send_channel(0x4000, said)
            with contextlib.suppress(TimeoutError):
                while c.socket.recv(2000)[4:16] != said:
                    pass
                return
        raise Failed("    nothing came back")

    def use(self):
        with self.client() as c:
            self.relayed(c)
            c.refresh(0)

    def hold(self):
        c = self.client()
        c.still = lambda: self.relayed(c)
        c.close = c.socket.close
        return c

    def use_tls(self):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        with socket.create_connection(("127.0.0.1", self.p + 1), PATIENCE) as s, context.wrap_socket(s, server_hostname="uc.test") as t:
            t.sendall(struct.pack("!HHI", 1, 0, turn_client.COOKIE) + os.urandom(12))
            if t.recv(2)[:2] != b"\1\1":
                raise Failed("    no answer over TLS")

    def change(self, n):
        self.verb("turn.user.put", {"name": f"u{n}", "password": "builder-of-things"})

    def has(self, n):
        return any(r["name"] == f"u{n}" for r in pages(self, "turn.user.list"))


class Held:
    """A connection that stays: still() says and hears something."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.still()

    def still(self):
        exchange(self.s, b"still here")

    def close(self):
        self.s.close()


class Shared:
    """A file that stile share has at the agent; still() gets it without an agent of one's own."""

    def __init__(self, s):
        self.s, self.n = s, 0
        for folder in ("nothing", "out"):
            os.makedirs(s.path(folder), exist_ok=True)
        with open(s.path("out/a.bin"), "wb") as f:
            f.write(os.urandom(100000))
        self.p = subprocess.Popen([world.STILE, "share", s.path("out/a.bin"), "--json", "--runtime-dir", s.path("run")], stdout=subprocess.PIPE, text=True)
        self.code = next(row["code"] for row in map(json.loads, self.p.stdout) if row["event"] == "ready")

    def still(self):
        self.n += 1
        self.s.w.run(world.STILE, "get", self.code, self.s.path(f"in{self.n}"), "--runtime-dir", self.s.path("nothing")).exits(0)

    def close(self):
        self.p.terminate()
        self.p.communicate(timeout=PATIENCE)


class Tunnel(Service):
    """The server of the tunnel with an agent behind it, and the relay's routes."""
    section, program = "tunnel", "tunnel/stile-tunnel"

    def begin_beside(self):
        self.w.targets.append(Target(self.p + 30, echo))

    def keys(self):
        p = self.p
        return {"name": "Control room", "listen": f'["tls:127.0.0.1:{p}"]', "bind": "127.0.0.1", "ports": f"{p + 10}-{p + 29}", "workers": "1",
                "routes": f'[ {{ name: web, listen: "127.0.0.1:{p + 1}", target: "127.0.0.1:{p + 30}" }}, '
                          f'{{ name: named, listen: "127.0.0.1:{p + 2}", target: "target.here:{p + 30}", connect_timeout: 2s }}, '
                          f'{{ name: shown, listen: "127.0.0.1:{p + 3}", target: "127.0.0.1:{p + 30}", tls: {{ certificate: server.pem, key: server.key }} }} ]'}

    def begin_agent(self):
        """site, with a job; once the server runs."""
        self.w.write("site.yaml", f"log: {{ level: info, dir: {self.path('disk/log')} }}\nstore: {{ path: {self.path('store-site')} }}\n"
                                  f"agent:\n  name: site\n  server: server.here:{self.p}\n  fallback_ports: []\n  code: \"{enrolment_code(self.w)}\"\n"
                                  f"  jobs: [ {{ port: {self.p + 10}, target: \"127.0.0.1:{self.p + 30}\" }} ]\n")
        argv = [os.path.join(BUILD, "tunnel/stile-agent"), "-c", self.path("site.yaml"), "--runtime-dir", self.path("run"), "--user", "root"]
        begin(self.w, argv, "stile-agent")

    def use(self):
        through(self.p + 1)
        through(self.p + 10)

    def use_name(self):
        through(self.p + 2)

    def use_tls(self):
        """By a route that speaks TLS with its sources."""
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        with socket.create_connection(("127.0.0.1", self.p + 3), PATIENCE) as s, context.wrap_socket(s, server_hostname="uc.test") as t:
            exchange(t, b"shown to everybody")

    def hold(self):
        return Held(self.p + 10)

    def shared(self):
        """A share of site's."""
        return Shared(self)

    def change(self, n):
        route = {"name": f"r{n}", "listen": f"127.0.0.1:{self.p + 1000 + n}", "target": f"127.0.0.1:{self.p + 30}"}
        self.verb("relay.route.add", {"route": route})

    def has(self, n):
        return any(r["name"] == f"r{n}" for r in pages(self, "relay.route.list"))


def pages(service, verb):
    rows, args = [], {"limit": 100}
    while True:
        page = service.verb(verb, args)
        rows += page["rows"]
        if "cursor" not in page:
            return rows
        args["cursor"] = page["cursor"]


class Agent(Service):
    """An agent; its server runs beside it."""
    section, program, tls = "agent", "tunnel/stile-agent", False

    def begin_beside(self):
        p = self.p
        self.w.targets.append(Target(p + 30, echo))
        self.w.write("tunnel.yaml", f"log: {{ level: info, dir: {self.path('log')} }}\nstore: {{ path: {self.path('store')} }}\n"
                                    f"tunnel:\n  listen: [\"tls:127.0.0.1:{p}\"]\n  bind: 127.0.0.1\n  ports: {p + 10}-{p + 2000}\n  workers: 1\n")
        argv = [os.path.join(BUILD, "tunnel/stile-tunnel"), "-c", self.path("tunnel.yaml"), "--runtime-dir", self.path("run"), "--user", "root"]
        begin(self.w, argv, "stile-tunnel")
        self.code = enrolment_code(self.w)

    def keys(self):
        return {"name": "site", "server": f"server.here:{self.p}", "fallback_ports": "[]", "code": f'"{self.code}"',
                "jobs": f'[ {{ port: {self.p + 10}, name: one, target: "127.0.0.1:{self.p + 30}" }} ]'}

    def use(self):
        through(self.p + 10)

    def hold(self):
        return Held(self.p + 10)

    def change(self, n):
        job = {"name": f"j{n}", "port": str(self.p + 1000 + n), "target": f"127.0.0.1:{self.p + 30}"}
        self.verb("agent.job.add", {"job": job})

    def has(self, n):
        return any(r["name"] == f"j{n}" for r in pages(self, "agent.jobs"))


class Sip(Service):
    section, program = "sip", "sip-proxy/stile-sip"

    def keys(self):
        p = self.p
        return {"domains": "[uc.test]", "listen": f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p + 1}"]', "ca": "ca.pem",
                "lan": f'{{ listen: ["udp:127.0.0.1:{p + 3}"] }}', "users": "[ { name: bob, password: hush }, { name: carol, password: hush } ]",
                "routes": f"[ {{ domain: out.test, host: gateway.here, port: {p + 16}, transport: udp }} ]", **self.pair}

    def begin_beside(self):
        self.w.targets.append(UdpTarget(self.p + 16, says_ok))

    def register(self, ua, user="bob", password="hush", expires=600):
        me = f"sip:{user}@uc.test"
        more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", "Contact": f"<sip:{user}@{ua.place()}>;expires={expires}"}
        m = ua.ask("REGISTER", "sip:uc.test", **more)
        if m.status == 401:
            proof = credentials(m.all("WWW-Authenticate")[0], user, password, "REGISTER", "sip:uc.test")
            m = ua.ask("REGISTER", "sip:uc.test", Authorization=proof, **more)
        if m.status != 200:
            raise Failed(f"    REGISTER: {m.start}")

    def phone(self):
        return Ua("udp", ("127.0.0.1", self.p))

    def message(self, bob, user="bob", tries=30):
        """From the LAN to bob."""
        with Ua("udp", ("127.0.0.1", self.p + 3)) as alice:
            data = alice.request("MESSAGE", f"sip:{user}@uc.test", body="hello")
            for _ in range(tries):
                alice.raw(data)
                while (m := bob.next(1)) and m.method != "MESSAGE":
                    pass
                if m:
                    break
            else:
                raise Failed("    the message did not come")
            bob.reply(m, 200)
            if alice.final(data.decode().split("Call-ID: ")[1].split("\r\n")[0], tries).status != 200:
                raise Failed("    the message was refused")

    def use(self):
        with self.phone() as bob:
            self.register(bob)
            self.message(bob, tries=3)  # it may have been forgotten with the half second before a kill: then it registers again
            self.register(bob, expires=0)

    def before_kill(self):
        """A registration that is written, which it is half a second later."""
        self.stays = self.phone()
        self.register(self.stays, "carol")

        def written():
            with open(self.store + "-wal", "rb") as f:
                return self.stays.place().encode() in f.read()
        wait_for("the registration is on the disk", written)

    def as_before(self):
        self.message(self.stays, "carol")
        self.stays.close()

    def use_name(self):
        """By a route whose gateway is known by name."""
        with Ua("udp", ("127.0.0.1", self.p + 3)) as alice:
            m = alice.ask("MESSAGE", "sip:x@out.test", body="hello", seconds=PATIENCE)
            if m.status != 200:
                raise Failed(f"    {m.start}")

    def use_tls(self):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        with Ua("tls", ("127.0.0.1", self.p + 1), context=context, name="uc.test") as bob:
            self.register(bob, expires=0)

    def hold(self):
        phone = self.phone()
        self.register(phone, "carol")
        phone.still = lambda: self.message(phone, "carol")
        return phone

    def change(self, n):
        self.verb("sip.user.put", {"name": f"u{n}", "password": "builder-of-things"})

    def has(self, n):
        return any(r["name"] == f"u{n}@uc.test" for r in pages(self, "sip.user.list"))


def kept(client, path, status):
    """A browser's connection that stays; none is made in its place if the service ends it."""
    c = client.connection()
    c.connect()
    c.auto_open = 0

    def still():
        try:
            c.request("GET", path)
            r = c.getresponse()
            r.read()
        except http.client.HTTPException as e:
            raise Failed(f"    {path}: {type(e).__name__} {e}") from None
        if r.status != status:
            raise Failed(f"    {path}: {r.status}")
    c.still = still
    c.still()
    return c


class Console(Service):
    section, program = "console", "console/stile-console"
    client = None

    def keys(self):
        return {"listen": f'"127.0.0.1:{self.p}"', **self.pair}

    def browser(self):
        return Client(self.p, tls=ssl.create_default_context(cafile=self.path("ca.pem")))

    def use(self):
        if not self.client:
            self.client = self.browser()
            token = self.verb("console.setup")["token"]
            self.client.csrf = self.client.post("/api/v1/setup", {"token": token, "user": "alice", "password": PASSWORD}).is_(200).json["csrf"]
        if self.client.get("/api/v1/me").status == 401:
            self.client.login("alice").is_(200)
        self.client.get("/api/v1/services").is_(200)

    use_tls = use

    def as_before(self):
        """Nobody logs in again."""
        self.client.get("/api/v1/me").is_(200)

    def hold(self):
        """A browser's connection. (Its session ends by the wall clock, and lives in the store.)"""
        self.use()
        return kept(self.browser(), "/healthz", 200)

    def change(self, n):
        self.client.post("/api/v1/users", {"name": f"u{n}", "role": "viewer", "password": PASSWORD}).is_(200)

    def has(self, n):
        return any(r["name"] == f"u{n}" for r in self.client.get("/api/v1/users").is_(200).json["rows"])


class ShareGateway(Service):
    """stile-gateway, with shares behind it that are functions; it keeps nothing."""
    section, program = "gateway", "gateway/stile-gateway"
    change = None

    def begin_beside(self):
        self.tunnel = gateway_world.Tunnel(self.path("door.sock"))
        self.tunnel.shares[gateway_world.ID] = gateway_world.answers(200, b"sealed" * 1000)
        self.w.targets.append(self.tunnel)

    def keys(self):
        return {"listen": f'["tls:127.0.0.1:{self.p}"]', "tunnel": self.path("door.sock"), **self.pair}

    def use(self):
        argv = ["curl", "-sS", "--max-time", "30", "--cacert", self.path("ca.pem"), "--resolve", f"uc.test:{self.p}:127.0.0.1"]
        done = subprocess.run([*argv, f"https://uc.test:{self.p}/s/{gateway_world.ID}/meta"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=PATIENCE, check=False)
        if done.stdout != b"sealed" * 1000:
            raise Failed(f"    {done.stdout[:100]} {done.stderr.decode().strip()}")

    use_tls = use

    def hold(self):
        """A browser's connection, to where no share is."""
        return kept(Client(self.p, tls=ssl.create_default_context(cafile=self.path("ca.pem"))), "/", 404)


SERVICES = {"turn": Turn, "tunnel": Tunnel, "agent": Agent, "sip": Sip, "console": Console, "gateway": ShareGateway}
