# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and as what: set-up, login, sessions, CSRF, roles, tokens, one-time codes, throttling, TLS."""
import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import threading
import time
from urllib.parse import quote

from console_world import HERE, PASSWORD, Answer, Client, Failed, case, main, trusting, wait_for

NEW = "another one entirely"


def totp(secret, at=None):
    """RFC 6238 in eight lines, to be held against the console's."""
    key = base64.b32decode(secret)
    step = struct.pack(">Q", int((time.time() if at is None else at) // 30))
    mac = hmac.new(key, step, hashlib.sha1).digest()
    at = mac[-1] & 15
    return "%06d" % ((struct.unpack(">I", mac[at:at + 4])[0] & 0x7FFFFFFF) % 1000000)


@case("the first administrator is made with the one-time token, and with nothing else")
def _(w):
    s = w.console()
    c = w.client()
    if not c.get("/api/v1/setup").is_(200).json["needed"]:
        raise Failed("    no set-up is needed at the first start")
    said = w.ask("console", "setup").exits(0).says(f"http://127.0.0.1:{w.web}/", "token").out
    token = re.search(r"token\s+([0-9a-f]{32})", said).group(1)
    good = {"token": token, "user": "alice", "password": PASSWORD}
    c.post("/api/v1/setup", {**good, "token": token[:-1] + ("0" if token[-1] != "0" else "1")}).is_(403, "bad-token")
    c.post("/api/v1/setup", {**good, "token": ""}).is_(403)
    c.post("/api/v1/setup", {"user": "alice", "password": PASSWORD}).is_(403)
    got = c.post("/api/v1/setup", {**good, "password": "short"}).is_(400).json["error"]
    if got["fields"][0]["path"] != "password":
        raise Failed(f"    {got}")
    c.post("/api/v1/setup", {**good, "language": "fr"}).is_(400)
    first = c.post("/api/v1/setup", {**good, "language": "de"}).is_(200)
    cookie = first.headers["Set-Cookie"]
    for part in ("__Host-stile=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"):
        if part not in cookie:
            raise Failed(f"    {part} is not in {cookie}")
    if first.json["role"] != "administrator" or first.json["language"] != "de":
        raise Failed(f"    {first.json}")
    w.client().post("/api/v1/setup", {**good, "user": "mallory"}).is_(409, "exists")
    if w.client().get("/api/v1/setup").json["needed"]:
        raise Failed("    the set-up is still needed")
    w.ask("console", "setup").exits(0).says("the set-up is done").never_says(token)
    # It outlives a restart: account and session, too.
    c.csrf = first.json["csrf"]
    s.stop()
    w.start("console.yaml")
    if c.get("/api/v1/me").is_(200).json["user"] != "alice":
        raise Failed("    another user")
    c.post("/api/v1/logout").is_(200)
    c.login("alice").is_(200)
    for text in (w.log_text(), c.get("/api/v1/audit").text):
        if token in text or PASSWORD in text or "$y$" in text:
            raise Failed("    a secret stands in log or audit")


@case("nothing is shown without a login, and a session that has ended is none")
def _(w):
    w.console(session_idle="60s", session_life="24h")
    alice = w.first()
    stranger = w.client()
    for path in ("/api/v1/me", "/api/v1/services", "/api/v1/events?topics=*:*", "/api/v1/users", "/metrics", "/api/v1/audit",
                 "/api/v1/services/turn/verbs/turn.status"):
        stranger.get(path).is_(401, "not-logged-in")
    stranger.cookie = "A" * 43
    stranger.get("/api/v1/me").is_(401)
    stranger.cookie = alice.cookie + "; __Host-stile=" + alice.cookie  # somebody has planted one
    stranger.get("/api/v1/me").is_(401)
    old = w.client()
    old.cookie, old.csrf = alice.cookie, alice.csrf
    alice.post("/api/v1/logout").is_(200)
    if alice.cookie:
        raise Failed("    the cookie stays after the logout")
    old.get("/api/v1/me").is_(401)
    alice.login("alice").is_(200)
    bob = w.user(alice, "bob", "viewer")
    rows = alice.get("/api/v1/sessions").is_(200).json["rows"]
    if len(rows) != 2 or [r["own"] for r in rows if r["user"] == "alice"] != [True] or bob.cookie in str(rows):
        raise Failed(f"    {rows}")
    alice.delete("/api/v1/sessions/" + [r["id"] for r in rows if r["user"] == "bob"][0]).is_(200)
    bob.get("/api/v1/me").is_(401)


class Held:
    """A request whose head was judged; its body comes later."""

    def __init__(self, client, method, path, body, kind="application/json"):
        self.said, self.body, self.c = f"{method} {path}", body, client.connection()
        self.c.putrequest(method, path)
        for name, value in {**client.headers(method), "Content-Type": kind, "Content-Length": len(body), "Expect": "100-continue"}.items():
            self.c.putheader(name, value)
        self.c.endheaders()
        go = b""
        while not go.endswith(b"\r\n\r\n"):
            more = self.c.sock.recv(1)
            if not more:
                raise Failed(f"    {self.said}: {go!r}")
            go += more
        if b" 100 " not in go:
            raise Failed(f"    {self.said}: {go!r}")

    def go(self):
        self.c.send(self.body)
        r = self.c.getresponse()
        answer = Answer(self.said, r.status, dict(r.getheaders()), r.read())
        self.c.close()
        return answer


@case("who has ended, or may less, before the body of his request is there is refused")
def _(w):
    w.console()
    alice = w.first()
    for method, path, body in (("POST", "/logout", b"{}"), ("PUT", "/me", b'{"language":"it"}'), ("POST", "/me/totp", b"{}"),
                               ("POST", "/me/totp/confirm", b'{"code":"123456"}'),
                               ("POST", "/me/totp/off", b'{"password":"' + PASSWORD.encode() + b'"}')):
        held = Held(alice, method, "/api/v1" + path, body)
        other = w.client()
        other.cookie, other.csrf = alice.cookie, alice.csrf
        other.post("/api/v1/logout").is_(200)
        held.go().is_(401, "not-logged-in")
        alice.login("alice").is_(200)
    if alice.get("/api/v1/me").is_(200).json["language"] == "it":
        raise Failed("    what was refused is done")
    bob = w.user(alice, "bob", "administrator")
    made = bob.post("/api/v1/tokens", {"name": "x", "role": "administrator", "scope": ["write"]}).is_(201).json
    token = w.client(token=made["token"])
    carol = b'{"name":"carol","role":"administrator","password":"' + PASSWORD.encode() + b'"}'
    files = (("/api/v1/restores", b"no backup"), ("/api/v1/services/agent/shares?name=x", b"a file"))

    def wait():
        return [Held(token, "POST", "/api/v1/users", carol)] + [Held(token, "POST", *f, "application/octet-stream") for f in files]
    by_session, by_token = Held(bob, "POST", "/api/v1/users", carol), wait()
    alice.put("/api/v1/users/bob", {"role": "viewer"}).is_(200)
    by_session.go().is_(401, "not-logged-in")
    for held in by_token:
        held.go().is_(403, "forbidden")
    alice.put("/api/v1/users/bob", {"role": "administrator"}).is_(200)
    by_token = wait()
    alice.delete("/api/v1/tokens/" + made["id"]).is_(200)
    for held in by_token:
        held.go().is_(401, "not-logged-in")
    if "carol" in alice.get("/api/v1/users").is_(200).text:
        raise Failed("    what was refused is done")


@case("what changes something needs the session's token, and comes from no other page")
def _(w):
    w.console()
    alice = w.first()
    bob = {"name": "bob", "role": "viewer", "password": PASSWORD}
    csrf, alice.csrf = alice.csrf, None
    alice.post("/api/v1/users", bob).is_(403, "csrf")
    alice.post("/api/v1/users", bob, **{"X-Stile-CSRF": csrf[:-1] + "x"}).is_(403, "csrf")
    alice.csrf = csrf
    alice.post("/api/v1/users", bob, Origin="http://evil.example").is_(403, "csrf")
    alice.post("/api/v1/users", bob, Origin="null").is_(403, "csrf")
    alice.post("/api/v1/users", bob, **{"Sec-Fetch-Site": "cross-site"}).is_(403, "csrf")
    w.client().post("/api/v1/login", {"user": "alice", "password": PASSWORD}, Origin="http://evil.example").is_(403, "csrf")
    alice.ask("POST", "/api/v1/users", b'{"name":"bob","role":"viewer","password":"' + PASSWORD.encode() + b'"}',
              **{"Content-Type": "text/plain"}).is_(415)
    alice.post("/api/v1/users", bob, Origin=f"http://127.0.0.1:{w.web}").is_(200)
    # A name that leads here is not enough: pages of another site could read what it answers.
    w.client().get("/api/v1/setup", Host="evil.example").is_(421)
    w.client().get("/", Host="evil.example:80").is_(421)
    w.client().get("/api/v1/setup", Host=f"localhost:{w.web}").is_(200)


@case("roles: a viewer looks, an operator acts, an administrator changes; the last one stays")
def _(w):
    w.console()
    alice = w.first()
    vera, oscar = w.user(alice, "vera", "viewer"), w.user(alice, "oscar", "operator")
    for c in (vera, oscar):
        c.get("/api/v1/services").is_(200)
        c.get("/api/v1/users").is_(403, "forbidden")
        c.get("/api/v1/audit").is_(403)
        c.post("/api/v1/tokens", {"name": "t", "role": "viewer", "scope": ["read"]}).is_(403)
        c.put("/api/v1/users/alice", {"role": "viewer"}).is_(403)
    alice.put("/api/v1/users/alice", {"role": "viewer"}).is_(409, "conflict")
    alice.delete("/api/v1/users/alice").is_(409)
    alice.put("/api/v1/users/vera", {"role": "administrator"}).is_(200)
    vera.get("/api/v1/me").is_(401)  # his rights have changed: he logs in again
    vera.login("vera").is_(200)
    vera.put("/api/v1/users/alice", {"role": "operator"}).is_(200)
    alice.get("/api/v1/me").is_(401)
    alice.login("alice").is_(200)
    alice.get("/api/v1/users").is_(403)
    vera.delete("/api/v1/users/oscar").is_(200)
    oscar.get("/api/v1/me").is_(401)
    vera.delete("/api/v1/users/oscar").is_(404)
    audit = vera.get("/api/v1/audit").is_(200).json["rows"]
    row = [r for r in audit if r["kind"] == "console.user" and r["key"] == "alice" and r["before"]][0]
    if row["before"]["role"] != "administrator" or row["after"]["role"] != "operator" or row["who"] != "console vera":
        raise Failed(f"    {row}")


@case("one's own password: the old one is asked for, and other sessions end")
def _(w):
    w.console()
    alice = w.first()
    other = w.client()
    other.login("alice").is_(200)
    alice.put("/api/v1/me", {"password": "another one entirely"}).is_(400)
    alice.put("/api/v1/me", {"language": "it", "password": "another one entirely", "old_password": "wrong wrong wrong"}).is_(401, "bad-login")
    if alice.get("/api/v1/me").json["language"] == "it":
        raise Failed("    half of what was refused is done")
    alice.put("/api/v1/me", {"password": "another one entirely", "old_password": PASSWORD}).is_(200)
    alice.get("/api/v1/me").is_(200)
    other.get("/api/v1/me").is_(401)
    other.login("alice").is_(401, "bad-login")
    other.login("alice", "another one entirely").is_(200)
    w.ask("console", "password", "alice", stdin="back on the machine\n").exits(0).says("alice has a new password")
    w.ask("console", "password", "nobody", stdin="back on the machine\n").exits(1).says("no account")
    alice.get("/api/v1/me").is_(401)
    alice.login("alice", "back on the machine").is_(200)
    alice.put("/api/v1/me", {"language": "it"}).is_(200)
    if alice.get("/api/v1/me").json["language"] != "it":
        raise Failed("    the language is not kept")


@case("tokens have a role, a scope and an end, and are shown once")
def _(w):
    s = w.console()
    alice = w.first()
    alice.post("/api/v1/tokens", {"name": "x", "role": "viewer", "scope": []}).is_(400)
    alice.post("/api/v1/tokens", {"name": "x", "role": "king", "scope": ["read"]}).is_(400)
    alice.post("/api/v1/tokens", {"name": "x", "role": "viewer", "scope": ["read"], "expires_at": 1000}).is_(400)

    def token(name, role, scope, **more):
        got = alice.post("/api/v1/tokens", {"name": name, "role": role, "scope": scope, **more}).is_(201).json
        return got["id"], w.client(token=got["token"])
    _, reads = token("reads", "administrator", ["read"])
    _, writes = token("writes", "administrator", ["read", "write"])
    _, scrapes = token("scrapes", "viewer", ["metrics"])
    ends, short = token("short", "viewer", ["read"], expires_in_s=2)
    reads.get("/api/v1/users").is_(200)
    reads.post("/api/v1/users", {"name": "m", "role": "viewer", "password": PASSWORD}).is_(403, "forbidden")
    writes.post("/api/v1/users", {"name": "m", "role": "viewer", "password": PASSWORD}).is_(200)
    scrapes.get("/metrics").is_(200)
    scrapes.get("/api/v1/services").is_(403)
    writes.post("/api/v1/logout").is_(400)
    wait_for("the end of a token", lambda: short.get("/api/v1/services").status == 401)
    listed = alice.get("/api/v1/tokens").is_(200)
    if len(listed.json["rows"]) != 4 or "stile_" in listed.text or "hash" in listed.text:
        raise Failed(f"    {listed!r}")
    s.stop()
    w.start("console.yaml")
    reads.get("/api/v1/users").is_(200)
    with open(w.path("store/stile-console.db"), "rb") as f:
        if reads.token.encode() in f.read():
            raise Failed("    the store holds a token in the clear")
    alice.delete("/api/v1/tokens/" + ends).is_(200)
    alice.delete("/api/v1/tokens/" + ends).is_(404)
    w.client(token="stile_" + "A" * 43).get("/api/v1/users").is_(401)


@case("a token does no more than its maker may, and goes with him, as do those that were made with it")
def _(w):
    w.console()
    alice = w.first()
    bob = w.user(alice, "bob", "administrator")
    like = {"name": "x", "role": "administrator", "scope": ["read", "write"]}
    first = w.client(token=bob.post("/api/v1/tokens", like).is_(201).json["token"])
    second = w.client(token=first.post("/api/v1/tokens", like).is_(201).json["token"])
    for role, status in (("viewer", 403), ("administrator", 200)):
        alice.put("/api/v1/users/bob", {"role": role}).is_(200)
        for token in (first, second):
            token.get("/api/v1/users").is_(status)
            token.get("/api/v1/services").is_(200)
    alice.delete("/api/v1/users/bob").is_(200)
    for token in (first, second):
        token.get("/api/v1/services").is_(401)


@case("one-time codes: switched on with a code, asked for at the login, each taken once")
def _(w):
    console = w.console()
    alice = w.first()
    alice.post("/api/v1/me/totp/confirm", {"code": "123456"}).is_(400)
    got = alice.post("/api/v1/me/totp").is_(200).json
    if not got["uri"].startswith("otpauth://totp/Stile:alice?secret=" + got["secret"]) or not got["qr"].startswith("<svg"):
        raise Failed(f"    {got}")
    wrong = "%06d" % ((int(totp(got["secret"])) + 1) % 1000000)
    alice.post("/api/v1/me/totp/confirm", {"code": wrong}).is_(400)
    used = totp(got["secret"])
    alice.post("/api/v1/me/totp/confirm", {"code": used}).is_(200)
    alice.post("/api/v1/me/totp").is_(409)
    c = w.client()
    c.login("alice").is_(401, "totp-needed")
    c.login("alice", "wrong wrong wrong").is_(401, "bad-login")  # who does not know the password learns nothing of it
    c.login("alice", totp=used).is_(401, "bad-login")
    later = totp(got["secret"], time.time() + 30)
    c.login("alice", totp=later).is_(200)
    w.client().login("alice", totp=later).is_(401, "bad-login")
    console.stop()
    w.console()
    w.client().login("alice", totp=later).is_(401, "bad-login")  # nor after a restart
    c.post("/api/v1/me/totp/off", {"password": "wrong wrong wrong"}).is_(401)
    c.post("/api/v1/me/totp/off", {"password": PASSWORD}).is_(200)
    w.client().login("alice").is_(200)


@case("who guesses waits, and a stranger's name takes as long as a known one's")
def _(w):
    w.console()
    alice = w.first()
    c = w.client()
    times = {}
    for name in ("alice", "nobody"):
        took = []
        for _ in range(3):
            began = time.monotonic()
            c.login(name, "guess guess guess").is_(401, "bad-login")
            took.append(time.monotonic() - began)
        times[name] = min(took)  # what it costs: the others may have waited for the machine
    if times["nobody"] < times["alice"] / 4:
        raise Failed(f"    an account that is not there is answered faster: {times}")
    for _ in range(10):
        got = c.login("alice", "guess guess guess")
        if got.status == 429:
            break
    got.is_(429, "throttled")
    if int(got.headers["Retry-After"]) < 1:
        raise Failed(f"    {got.headers}")
    alice.get("/api/v1/me").is_(200)  # who is in stays in
    wait_for("the end of the wait", lambda: c.login("alice").status == 200)


@case("an argument that needs more than its verb does is not to be had by who has less")
def _(w):
    w.console()
    alice = w.first()
    w.turn()
    w.reached(alice, "turn")
    bob, carol = w.user(alice, "bob", "viewer"), w.user(alice, "carol", "operator")
    at = "/api/v1/services/turn/verbs/"

    def by_get(client, verb, args):
        return client.get(f"{at}{verb}?args={quote(json.dumps(args))}")
    level = wait_for("the verbs are known", lambda: (a := bob.post(at + "log.level")).status == 200 and a.json["level"])
    bob.post(at + "log.level", {"level": "trace"}).is_(403, "forbidden")
    by_get(bob, "log.level", {"level": "trace"}).is_(405)
    if bob.post(at + "log.level").json["level"] != level:
        raise Failed("    a viewer has set the log level")
    carol.post(at + "log.level", {"level": "debug"}).is_(200)
    kind = {"kind": "turn.user"}
    carol.post(at + "service.objects", kind).is_(200)
    carol.post(at + "service.objects", {**kind, "secrets": False}).is_(200)
    carol.post(at + "service.objects", {**kind, "secrets": True}).is_(403, "forbidden")
    by_get(carol, "service.objects", kind).is_(200)
    for client in (carol, alice):
        by_get(client, "service.objects", {**kind, "secrets": True}).is_(405)
    alice.post(at + "service.objects", {**kind, "secrets": True}).is_(200)
    seen = [r["after"]["action"] for r in alice.get("/api/v1/audit").is_(200).json["rows"] if r["kind"] == "console.action"]
    if seen != ["service.objects", "log.level"]:
        raise Failed(f"    {seen}")
    # Where services hold an argument against the role of their caller ("as" goes with verbs of administrators alone).
    folders = [os.path.join(HERE, "..", "..", f) for f in ("common", "turn", "tunnel", "tunnel/server", "tunnel/agent", "sip-proxy", "gateway")]
    files = [f for d in folders for f in sorted(os.listdir(d)) if f.endswith(".c") and not f.startswith("control_")
             and "control_request_role(" in open(os.path.join(d, f), encoding="utf-8").read()]
    if files != ["service_edits.c", "service_objects.c", "service_verbs.c"]:
        raise Failed(f"    console/backends.c does not know all arguments that need a role: {files}")


def many_at_once(guess):
    answers = []
    crowd = [threading.Thread(target=lambda: answers.append(guess().status)) for _ in range(20)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    if answers.count(401) > 10 or answers.count(401) + answers.count(429) != 20:
        raise Failed(f"    five may fail before they wait, one, two, four seconds: {sorted(answers)}")


@case("who guesses many at once gains nothing by it")
def _(w):
    w.console()
    w.first()
    many_at_once(lambda: w.client().login("alice", "guess guess guess"))


@case("who has a session and guesses its password many times at once gains nothing by it")
def _(w):
    w.console()
    alice = w.first()
    many_at_once(lambda: alice.put("/api/v1/me", {"old_password": "guess guess guess", "password": NEW}))


def while_he_goes_on(ask, change):
    """change() while one asks again and again; he ends with the first answer that is not 200."""
    began = threading.Event()

    def go_on():
        while ask().status == 200:
            began.set()
    one = threading.Thread(target=go_on)
    one.start()
    wait_for("he has begun", began.is_set)
    change()
    one.join()


def has_new_password(w):
    wait_for("the new password is taken", lambda: w.client().login("bob", NEW).status == 200)  # who failed before has to wait
    w.client().login("bob").is_(401, "bad-login")


@case("a new password keeps out who was let wait with the old one: logins, and changes of one's own account")
def _(w):
    w.console()
    alice = w.first()
    bob = w.user(alice, "bob", "viewer")
    thieves = []

    def log_in():
        while True:
            thief = w.client()
            if thief.login("bob").status != 200:
                return
            thieves.append(thief)
    crowd = [threading.Thread(target=log_in) for _ in range(8)]
    for t in crowd:
        t.start()
    wait_for("some are in", lambda: len(thieves) >= 4)
    alice.put("/api/v1/users/bob", {"password": NEW}).is_(200)
    for t in crowd:
        t.join()
    stay = [t for t in thieves if t.get("/api/v1/me").status == 200]
    if stay:
        raise Failed(f"    {len(stay)} of {len(thieves)} sessions, begun with the old password, outlive it")
    has_new_password(w)
    alice.put("/api/v1/users/bob", {"password": PASSWORD}).is_(200)
    bob.login("bob").is_(200)
    while_he_goes_on(lambda: bob.put("/api/v1/me", {"old_password": PASSWORD, "password": PASSWORD}),
                     lambda: alice.put("/api/v1/users/bob", {"password": NEW}).is_(200))
    has_new_password(w)
    bob.get("/api/v1/me").is_(401)


@case("who may no longer change passwords does not while his last one is hashed")
def _(w):
    w.console()
    alice = w.first()
    bob = w.user(alice, "bob", "administrator")
    w.user(alice, "carol", "viewer")

    def revision():
        return [r["revision"] for r in alice.get("/api/v1/users").is_(200).json["rows"] if r["name"] == "carol"][0]
    seen = []

    def less():
        alice.put("/api/v1/users/bob", {"role": "viewer"}).is_(200)
        seen.append(revision())
    while_he_goes_on(lambda: bob.put("/api/v1/users/carol", {"password": NEW}), less)
    if revision() != seen[0]:
        raise Failed("    a viewer has set somebody's password")


@case("TLS: clients show their certificate, a reload brings another one, and a public address needs either")
def _(w):
    w.certificate("server")
    ends = (time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() - 86400)), time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 12.5 * 86400)))
    w.certificate("known", names="DNS:known", valid=ends)
    w.certificate("stranger", names="DNS:stranger")
    w.console_config(listen='"0.0.0.0:%d"' % w.web)
    w.start_fails("console.yaml").exits(2).says("console.yaml:4:", "needs TLS")
    w.console_config(listen='"0.0.0.0:%d"' % w.web, certificate="server.pem", key="server.key")
    w.start_fails("console.yaml").exits(2).says("console.client_ca", "public")
    w.stile("check", "-c", w.path("console.yaml"), "--user", "root").exits(2).says("console.public")
    s = w.console(listen='"0.0.0.0:%d"' % w.web, certificate="server.pem", key="server.key", client_ca="known.pem")
    known = w.client(tls=trusting(w.folder, "server", "known"))
    got = known.get("/api/v1/setup").is_(200)
    if "max-age" not in got.headers.get("Strict-Transport-Security", ""):
        raise Failed(f"    {got.headers}")
    for who in (None, "stranger"):
        try:
            got = Client(w.web, tls=trusting(w.folder, "server", who)).get("/api/v1/setup")
            raise Failed(f"    without a certificate that is known: {got!r}")
        except OSError:
            pass
    w.logged("console.refused", "bad-certificate")
    said = [i for i in w.verb("service.health")["items"] if i["id"] == "certificate-ends"]
    if len(said) != 1 or said[0]["args"]["key"] != "console.client_ca" or said[0]["args"]["days"] != 12:
        raise Failed(f"    a CA that ends is not told: {said}")
    w.certificate("other")
    w.console_config(listen='"0.0.0.0:%d"' % w.web, certificate="other.pem", key="other.key", client_ca="known.pem")
    w.ask("reload", "console").exits(0)
    w.client(tls=trusting(w.folder, "other", "known")).get("/api/v1/setup").is_(200)
    w.write("other.pem", "no certificate\n")
    w.ask("reload", "console").exits(1).says("other.pem")
    s.stop()


if __name__ == "__main__":
    sys.exit(main(30000))
