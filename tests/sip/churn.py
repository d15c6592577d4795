# SPDX-License-Identifier: Apache-2.0
"""Churn: one stile-sip under everything at once, then a clean stop.

Users register and go, call and write over UDP, TCP and TLS, connections break off in the middle of things, names are looked
up that do not exist, garbage comes in; and at the same time an administrator reloads with other listeners, certificates and
limits, makes and deletes users, ends connections, traces, and asks for every list there is. It is made for a build
under a sanitizer, or for valgrind: what it looks for is a report, a server that ended, one that does not end, or
descriptors that stay.

  STILE_BUILD=build-tsan tests/sip/churn.py                            # ThreadSanitizer, say
  STILE_BUILD=build STILE_WRAP='valgrind -q …' tests/sip/churn.py      # the same server under valgrind
  STILE_CHURN_SECONDS=60 …                                             # longer than 6 s"""
import json
import os
import random
import shlex
import socket
import ssl
import threading
import time

from sip_world import Failed, Ua, case, credentials, main, wait_for, world

SECONDS = float(os.environ.get("STILE_CHURN_SECONDS", "6"))
OURS = ("127.0.0.3", 0)  # who calls comes from another address than who guesses: that one has to wait more and more (decision 0012)
WRAP = shlex.split(os.environ.get("STILE_WRAP", ""))


class Churn:
    """Every method of `kinds` runs in a thread of its own, again and again, until the time is over. What breaks because
    somebody kicked the connection or took the listener away is no failure; that nothing at all succeeds is one."""

    def __init__(self, world):
        self.w, self.over, self.done = world, threading.Event(), {}
        self.context = world.context()
        self.failures = []

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def ua(self, *transports, lan=False, **more):
        transport = random.choice(transports or ("udp", "tcp", "tls"))
        if transport == "udp":
            return self.w.udp(lan=lan, **more)
        if transport == "tcp":
            return self.w.tcp(lan=lan, **more)
        return Ua("tls", ("127.0.0.1", self.w.tls), context=self.context, name="uc.test", **more)

    def loop(self, kind):
        while not self.over.is_set():
            try:
                kind()
                self.count(kind.__name__)
            except (Failed, OSError, ssl.SSLError) as e:
                self.count(f"{kind.__name__} broke off")
                self.last = f"{kind.__name__}: {e}"
            except Exception as e:  # pylint: disable=broad-except
                self.failures.append(f"{kind.__name__}: {type(e).__name__}: {e}")
                return

    def silent(self, kinds):
        return [k.__name__ for k in kinds if not self.done.get(k.__name__)]

    def kick(self, flow):
        """It may have ended by itself since."""
        try:
            self.w.verb("sip.kick", {"id": flow["id"]})
        except Failed:
            pass

    def no_flows(self):
        flows = self.w.flows()
        for f in flows:
            self.kick(f)
        return not flows

    def run(self, kinds):
        threads = [threading.Thread(target=self.loop, args=(k,)) for k in kinds]
        for t in threads:
            t.start()
        began = time.monotonic()  # on a busy machine some take longer until they have come through once
        while time.monotonic() < began + SECONDS or (time.monotonic() < began + SECONDS + 90 and self.silent(kinds) and not self.failures):
            time.sleep(0.1)
        self.over.set()
        for t in threads:
            t.join(60)
            if t.is_alive():
                raise Failed("    a client hangs")
        if self.failures or self.silent(kinds):
            raise Failed(f"    {self.failures or ''} nothing came of: {self.silent(kinds)}\n    {self.done}\n    {getattr(self, 'last', '')}")

    # ---- clients ----

    def register(self, ua, user, expires=300, contact="", passwords=("hush", "hush", "guess")):
        me = f"sip:{user}@uc.test"
        more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", "Contact": f"<sip:{user}@{ua.place()}>;expires={expires}{contact}"}
        m = ua.ask("REGISTER", "sip:uc.test", seconds=5, **more)
        if m.status == 401:
            auth = credentials(random.choice(m.all("WWW-Authenticate")), user, random.choice(passwords), "REGISTER", "sip:uc.test")
            m = ua.ask("REGISTER", "sip:uc.test", Authorization=auth, seconds=5, **more)
        return m.status

    def registrations(self):
        """Many contacts of few users, some with Outbound, over connections that are dropped without a word."""
        with self.ua() as ua:
            user = f"u{random.randrange(8)}"
            self.register(ua, user, contact=random.choice(("", f';+sip.instance="<urn:uuid:{user}>";reg-id=1')))
            if random.random() < 0.3:
                self.register(ua, user, expires=0)

    @staticmethod
    def invited(alice, bob):
        """Bob's INVITE; or alice was told at once that there will be none (a limit that has just been set, a connection kicked)."""
        for _ in range(50):
            got = bob.next(0.1)
            if got or bob.ended:
                return got
            said = alice.next(0.01)
            if said and said.status >= 300:
                raise Failed(f"    refused: {said.start}")
        raise Failed("    waited 5 s for INVITE")

    def calls(self):
        """From a trusted server to a user that registered over a connection: INVITE … BYE, or CANCEL, or silence."""
        user = f"v{random.randrange(100000)}"
        with self.ua("tcp", "tls", bind=OURS) as bob, self.ua("udp", "tcp", lan=True) as alice:
            self.w.verb("sip.user.put", {"name": user, "password": "hush"})
            for _ in range(5):
                if self.register(bob, user, passwords=("hush",)) == 200:
                    break
                time.sleep(0.1)  # until the limits are others
            data = alice.request("INVITE", f"sip:{user}@uc.test", body="x" * random.choice((10, 2000)))
            alice.raw(data)
            got = self.invited(alice, bob)
            if not got or random.random() < 0.2:
                return
            bob.reply(got, 180, "Ringing")
            if random.random() < 0.2:
                alice.raw(data.replace(b"INVITE ", b"CANCEL ", 1).replace(b"1 INVITE", b"1 CANCEL"))
            bob.reply(got, random.choice((200, 200, 486)), headers=[f"Contact: <sip:{user}@{bob.place()}>"])
            alice.next(2)
            self.w.verb("sip.user.delete", {"name": user})

    def messages(self):
        """By a static route whose gateway answers, or to a name that nobody knows."""
        with self.ua("udp", "tcp", lan=True) as ua:
            for _ in range(20):
                where = random.choice(("out.test", "out.test", "nowhere.test", "gone.test"))
                ua.raw(ua.request("MESSAGE", f"sip:x@{where}", body="y" * random.choice((5, 500, 1500))))
            for _ in range(5):
                ua.next(0.2)

    def strangers(self):
        with self.ua() as ua:
            ua.ask("OPTIONS", "sip:uc.test", seconds=5, From="<sip:eve@evil.test>;tag=e")
            ua.ask("MESSAGE", "sip:x@elsewhere.test", seconds=5, From="<sip:eve@evil.test>;tag=e")

    def garbage(self):
        with self.ua("udp") as ua:
            for _ in range(50):
                ua.raw(os.urandom(random.randrange(1, 300)))
            ua.raw(b"INVITE sip:a@b SIP/2.0\r\n" + os.urandom(200))
        port = self.w.base + random.choice((0, 1))
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(random.choice((os.urandom(100), b"INVITE sip:a@uc.test SIP/2.0\r\nContent-Le", b"\r\n\r\n", b"\x16\x03\x01")))
        time.sleep(0.05)

    # ---- the administrator ----

    def reloads(self):
        p = self.w.base
        if random.random() < 0.3:
            self.w.certificate(again=True)
        extra = random.choice(("", f', "udp:127.0.0.1:{p + 5}"', f', "tls:127.0.0.1:{p + 6}", "tcp:127.0.0.1:{p + 7}"'))
        self.w.config_of_churn(extra, limits=random.choice(("{ burst: 8000 }", "{ transactions: 50, registrations: 20 }")))
        self.w.reload()
        time.sleep(0.1)

    def questions(self):
        for verb in ("sip.status", "sip.transactions", "sip.flows", "sip.registrations", "sip.health", "sip.metrics", "sip.user.list",
                     "service.status"):
            self.w.verb(verb, {"limit": 10})
        flows = self.w.flows()
        if flows and random.random() < 0.2:
            self.kick(random.choice(flows))
        time.sleep(0.02)

    def traces(self):
        """Read for a while, and left without a word."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.w.path("run/stile-sip.sock"))
            ask = {"id": 1, "verb": "sip.trace", "args": {"address": "127.0.0.0/8", "messages": random.choice((5, 1000)), "seconds": 1}}
            s.sendall(json.dumps(ask).encode() + b"\n")
            said = b""
            for _ in range(random.randrange(1, 30)):
                said = s.recv(65536)
                if not said or b'"result"' in said or b'"error"' in said:
                    break


def is_ready(w):
    try:
        return w.verb("service.status")
    except OSError:
        return None


def gateway(port, over):
    """Answers every request with 200 and takes its time now and then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        s.settimeout(0.2)
        while not over.is_set():
            try:
                data, peer = s.recvfrom(65535)
            except (TimeoutError, ConnectionError):
                continue
            head = data.split(b"\r\n\r\n")[0].split(b"\r\n")
            keep = [x for x in head[1:] if x.lower().startswith((b"via:", b"from:", b"to:", b"call-id:", b"cseq:"))]
            if random.random() < 0.9 and not head[0].startswith((b"SIP/", b"ACK")):
                s.sendto(b"\r\n".join([b"SIP/2.0 200 OK", *keep, b"Content-Length: 0", b"", b""]), peer)


@case(f"a server under everything at once for {SECONDS:.0f} s, then a clean stop")
def _(w):
    def config_of_churn(extra="", limits="{ burst: 8000 }"):
        p = w.base
        text = w.config("next.yaml", tls=True, limits=limits, drain="1s", sources="{ unlimited: [127.0.0.0/8] }",
                        listen=f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p + 1}", "mtls:127.0.0.1:{p + 2}"{extra}]',
                        users="[ %s ]" % ", ".join(f"{{ name: u{i}, password: hush }}" for i in range(8)),
                        timers="{ probe: 1s, t1: 100ms, t2: 400ms, t4: 400ms }",
                        routes="[ { domain: out.test, host: 127.0.0.1, port: {o0}, transport: udp }, "
                               "{ domain: nowhere.test, host: no-such-name.invalid, transport: tcp }, "
                               "{ domain: gone.test, host: 127.0.0.1, port: {o1}, transport: tcp } ]")
        os.rename(text, w.path("stile.yaml"))  # in one step, for the server may be reading it

    w.config_of_churn = config_of_churn
    config_of_churn()
    server = world.Server(w, w.turn_argv("stile.yaml"), prefix=WRAP)  # patience: valgrind takes its time to start and to end
    w.servers.append(server)
    wait_for("the server is ready", lambda: server.process.poll() is None and is_ready(w), 120)
    churn = Churn(w)
    helper = threading.Thread(target=gateway, args=(w.other(0), churn.over))
    helper.start()
    before = w.verb("service.status")["descriptors"]
    try:
        churn.run([churn.registrations, churn.calls, churn.messages, churn.messages, churn.strangers, churn.garbage, churn.reloads,
                   churn.questions, churn.traces])
    finally:
        churn.over.set()
        helper.join()
    config_of_churn()
    w.reload()
    wait_for("connections to end", churn.no_flows)
    wait_for(f"descriptors to be as before ({before})", lambda: w.verb("service.status")["descriptors"] <= before + 2)
    server.process.terminate()
    server.process.wait(120)
    server.stop()
    print(f"  ({', '.join(f'{v} {k}' for k, v in sorted(churn.done.items()))})", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(23900))
