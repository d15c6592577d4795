# SPDX-License-Identifier: Apache-2.0
"""Several realms on one server: certificates by server name, credentials, users of the store, limits, reloads."""
import subprocess
import sys

from traffic import Traffic, wait_for
from turn_client import Client
from world import PATIENCE, Failed, case, main

PARTNER_SECRET = "the-partners-own-shared-secret"


def configure(w, partner=True, more="", realm_more="", **keys):
    """The default realm on base and base + 1, the partner's on base + 2 or by its server names."""
    w.certificate()
    w.certificate("partner", "DNS:turn.partner.test,DNS:*.calls.partner.test")
    p = w.base
    realm = (f"\n    - name: partner.test\n      server_names: [turn.partner.test, \"*.calls.partner.test\"]\n"
             f"      listen: [\"udp:127.0.0.1:{p + 2}\", \"tcp:127.0.0.1:{p + 2}\"]\n"
             f"      certificate: partner.pem\n      key: partner.key\n"
             f"      users: [ {{ name: alice, password: looking-glass }}, {{ name: carol, password: christmas }} ]\n"
             f"      secrets: [ {{ id: p1, secret: {PARTNER_SECRET} }} ]\n{realm_more}")
    listen = (f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p + 1}", "dtls:127.0.0.1:{p + 1}", '
              f'"udp:127.0.0.1:{p + 2}", "tcp:127.0.0.1:{p + 2}"]')
    return w.config(listen=listen, realms=(realm if partner else "") + more or "[]", **keys)


def shown(w, name, dtls=False):
    """The subjects' alternative names of the certificate that openssl is shown for this server name (None: for none)."""
    sni = ["-servername", name] if name else ["-noservername"]
    kind = ["-dtls1_2"] if dtls else []
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{w.tls}", *kind, *sni, "-alpn", "stun.turn"],
                          input="", capture_output=True, text=True, timeout=PATIENCE)
    made = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=done.stdout, capture_output=True,
                          text=True, timeout=PATIENCE)
    if not dtls and "ALPN protocol: stun.turn" not in done.stdout:
        raise Failed(f"    no ALPN for {name}:\n{done.stdout[-500:]}{done.stderr[-300:]}")
    return made.stdout


@case("each server name is shown its certificate, over TLS and DTLS; no name or another gets the default one")
def _(w):
    configure(w)
    w.check().exits(0)
    w.start()
    for dtls in (False, True):
        for name, wanted in (("turn.partner.test", "turn.partner.test"), ("TURN.Partner.Test", "turn.partner.test"),
                             ("a.calls.partner.test", "turn.partner.test"), ("a.b.calls.partner.test", "localhost"),
                             ("localhost", "localhost"), ("elsewhere.test", "localhost"), (None, "localhost")):
            if wanted not in shown(w, name, dtls):
                raise Failed(f"    {name} over {'DTLS' if dtls else 'TLS'} is shown: {shown(w, name, dtls)}")


@case("stile test turn passes in each realm, by its addresses and by its server name")
def _(w):
    configure(w)
    w.start()
    config = ("-c", w.path("stile.yaml"))
    w.test(*config).exits(0).says("realm admin.test", "checks are good", "--realm tries another, such as partner.test")
    said = w.test(*config, "--realm", "partner.test").exits(0)
    said.says("as user alice (the first of turn.users) in realm partner.test", "tls connect", "realm partner.test", "dtls connect", "realm partner.test",
              f"udp 127.0.0.1:{w.base + 2}", "realm partner.test", f"tcp 127.0.0.1:{w.base + 2}", "checks are good")
    said.never_says("realm admin.test", f"udp 127.0.0.1:{w.base}\n")
    w.test("127.0.0.1", "--tls-port", str(w.tls), "-t", "tls,dtls", "--server-name", "x.calls.partner.test", "-u", "carol",
           "--password", "christmas", "--ca", w.path("partner.pem")).exits(0).says("realm partner.test")
    w.test("127.0.0.1", "--tls-port", str(w.tls), "-t", "tls", "-u", "carol", "--password", "christmas", "-k").exits(1)
    w.test(*config, "--realm", "nobody.test").exits(1).says("has no realm nobody.test")
    only = ("--only", "challenge", "-p", str(w.base + 2), "-t", "udp")
    w.stile("conform", "turn", "127.0.0.1", *config, "--realm", "partner.test", *only).exits(0)


@case("coturn's client works in each realm over UDP, TCP, TLS and DTLS, with that realm's credentials only")
def _(w):
    configure(w)
    w.start()

    def uclient(port, password, *how):
        said = w.run("turnutils_uclient", "-c", "-y", "-n", "5", "-z", "10", "-p", str(port), "-u", "alice", "-w", password, *how,
                     "127.0.0.1", timeout=60)
        return "tot_send_msgs=10, tot_recv_msgs=10" in said.out or "lost packets 0 (0.000000%)" in said.out
    for port, password, wrong in ((w.base, "wonderland", "looking-glass"), (w.base + 2, "looking-glass", "wonderland")):
        for how in ((), ("-t",)):
            if not uclient(port, password, *how):
                raise Failed(f"    port {port} {how}: packets were lost")
        if uclient(port, wrong):
            raise Failed(f"    port {port} takes the other realm's password")
    for how in (("-S",), ("-S", "-t")):  # it sends no server name: the default realm
        if not uclient(w.tls, "wonderland", *how):
            raise Failed(f"    {how}: packets were lost")
    w.ask("turn", "why", "alice", "--realm", "partner.test").exits(0).says("the credential is not good: wrong password")


@case("a request that names another realm is refused, and the administrator reads why")
def _(w):
    configure(w)
    w.start()
    with Client(w.base + 2, "alice", "wonderland") as c:
        c.allocate()  # with the right realm, and the default realm's password
        c.realm = b"admin.test"
        if c.allocate() != 401:
            raise Failed("    it was not refused")
    reason = f'realm "admin.test" is not served on udp 127.0.0.1:{w.base + 2}, which is realm "partner.test"'
    w.ask("turn", "why", "alice").exits(0).says(reason)
    w.logged("turn.refused.credential", "admin.test", "is not served on udp")


@case("users of a realm are made, changed and deleted while it runs, and are kept; the same name elsewhere is another")
def _(w):
    configure(w)
    s = w.start()

    def works(port, user, password, good=True):
        w.test("127.0.0.1", "-p", str(port), "-t", "udp", "-u", user, "--password", password).exits(0 if good else 1)
    w.ask("turn", "user", "add", "dora", "--realm", "partner.test", stdin="explorer-1\n").exits(0)
    w.ask("turn", "user", "add", "dora", stdin="explorer-2\n").exits(0)
    w.ask("turn", "user", "add", "alice", "--realm", "partner.test", stdin="x-x-x-x\n").exits(1).says("is set in")
    w.ask("turn", "user", "add", "dora", "--realm", "nobody.test", stdin="x-x-x-x\n").exits(1).says("there is no realm nobody.test")
    w.ask("turn", "user", "list").exits(0).says("REALM", "~alice +admin.test +file", "~alice +partner.test +file",
                                                "~dora +partner.test +store", "~dora +admin.test +store")
    w.ask("turn", "user", "list", "--realm", "partner.test").exits(0).never_says("admin.test")
    w.write("exported.yaml", w.ask("config", "export", "--secrets", "-c", w.path("stile.yaml")).exits(0).out)
    w.ask("config", "export", "-c", w.path("stile.yaml")).exits(0).says("partner.test", "dora").never_says("explorer-1")
    w.check("exported.yaml").exits(0)
    realms = w.ask("config", "export", "--secrets", "--json", "-c", w.path("stile.yaml")).exits(0).json()["turn"]["realms"]
    if {"name": "dora", "password": "explorer-1"} not in realms[0]["users"]:
        raise Failed(f"    the exported realm does not have its user of the store: {realms}")
    works(w.base + 2, "dora", "explorer-1")
    works(w.base + 2, "dora", "explorer-2", good=False)
    works(w.base, "dora", "explorer-2")
    s.stop()
    w.start()
    works(w.base + 2, "dora", "explorer-1")
    w.ask("turn", "user", "passwd", "dora", "--realm", "partner.test", stdin="explorer-3\n").exits(0)
    works(w.base + 2, "dora", "explorer-3")
    works(w.base, "dora", "explorer-2")
    w.ask("turn", "user", "delete", "dora", "--realm", "partner.test").exits(0)
    works(w.base + 2, "dora", "explorer-3", good=False)
    works(w.base, "dora", "explorer-2")


@case("a server whose users are all made in the store starts without any, and the last one can be deleted")
def _(w):
    configure(w, users=None, secrets=None)
    text = open(w.path("stile.yaml"), encoding="utf-8").read()
    kept = [line for line in text.splitlines(True) if "users:" not in line and "secrets:" not in line]
    w.write("stile.yaml", "".join(kept))
    w.check().exits(0).says("only users made by `stile turn user add NAME --realm partner.test` can use this realm")
    s = w.start()
    login = ("127.0.0.1", "-p", str(w.base + 2), "-t", "udp", "-u", "dora", "--password", "explorer-1")
    w.ask("turn", "user", "add", "dora", "--realm", "partner.test", stdin="explorer-1\n").exits(0)
    w.test(*login).exits(0)
    w.ask("turn", "user", "delete", "dora", "--realm", "partner.test").exits(0)
    w.test(*login).exits(1)
    s.stop()
    w.start()


@case("credentials are minted from a realm's secrets, by the file and by the server, and open that realm only")
def _(w):
    path = configure(w)
    w.start()
    for made in (w.stile("credentials", "erin", "--realm", "partner.test", "-c", path, "--json").exits(0).json(),
                 w.verb("turn.credentials", {"name": "erin", "realm": "partner.test"})):
        if made["realm"] != "partner.test":
            raise Failed(f"    {made}")
        for port, status in ((w.base + 2, 0), (w.base, 1)):
            w.test("127.0.0.1", "-p", str(port), "-t", "udp", "-u", made["username"], "--password", made["password"]).exits(status)
    w.stile("credentials", "erin", "--realm", "nobody.test", "-c", path).exits(1).says("has no realm nobody.test")


@case("status, sessions, metrics and log lines show the realm; a realm's sessions are ended together")
def _(w):
    configure(w, realm_more="      limits: { allocations: 7 }\n")
    w.start()
    with Client(w.base, "alice", "wonderland") as here, Client(w.base + 2, "alice", "looking-glass") as there:
        here.allocate()
        there.allocate()
        w.ask("status").exits(0).says("realm admin.test", f"realm       partner.test: turn.partner.test, *.calls.partner.test, udp:127.0.0.1:{w.base + 2}",
                                      "allocations 1 of 7")
        w.ask("turn", "sessions").exits(0).says("REALM", "~alice +admin.test +udp", "~alice +partner.test +udp")
        if len(w.ask("turn", "sessions", "--realm", "partner.test", "--json").exits(0).json()) != 1:
            raise Failed("    not one session")
        for realm in ("admin.test", "partner.test"):
            if w.metric("stile_turn_realm_allocations{", realm) != 1:
                raise Failed(f"    {realm}: {w.verb('turn.metrics')}")
        w.logged("turn.alloc.created", "user=alice", "realm=partner.test")
        w.ask("turn", "kill", "--realm", "partner.test").exits(0).says("1 sessions of realm partner.test are ended")
        if [r["realm"] for r in w.verb("turn.sessions")["rows"]] != ["admin.test"]:
            raise Failed("    it was not the partner's alone")


@case("a reload adds, changes and removes realms under traffic, and no packet is lost")
def _(w):
    configure(w)
    w.start()
    flows = [Traffic(w, t, 6) for t in ("udp", "tls", "dtls")]
    with Client(w.base + 2, "alice", "looking-glass") as there:
        there.allocate()
        wait_for(w, 3 * 2 + 1)
        extra = "\n    - name: third.test\n      server_names: [turn.third.test]\n      password: open-sesame\n"
        configure(w, more=extra, realm_more="      limits: { allocations: 5 }\n")
        said = w.ask("reload").exits(0)
        said.says("~turn.realms.third.test. +added")
        said.says("~turn.realms.partner.test..limits.allocations +not set → 5").never_says("restart")
        w.test("127.0.0.1", "--tls-port", str(w.tls), "-t", "tls", "--server-name", "turn.third.test", "-u", "any", "--password",
               "open-sesame", "-k").exits(0).says("realm third.test")
        configure(w, partner=False, realm="renamed.test")
        said = w.ask("reload").exits(0)
        for change in ("~turn.realm +admin.test → renamed.test", "~turn.realms.partner.test. +removed", "~turn.realms.third.test. +removed"):
            said.says(change)
        w.ask("status").exits(0).says("realm renamed.test", "partner.test: removed from the configuration, but not empty; allocations 1")
        if there.refresh(600):
            raise Failed("    a refresh in the removed realm is refused")
        if "localhost" not in shown(w, "turn.partner.test"):
            raise Failed("    the removed realm's certificate is still shown")
        with Client(w.base + 2, "alice", "looking-glass") as late:
            if late.allocate() != 401 or late.realm != b"renamed.test":
                raise Failed(f"    {late.realm}")
        for f in flows:
            f.lost_nothing()


@case("a renewed certificate of a realm is taken by a reload, which names it")
def _(w):
    configure(w)
    w.start()
    before = shown(w, "turn.partner.test")
    for name in ("partner.pem", "partner.key"):
        w.run("rm", w.path(name)).exits(0)
    w.certificate("partner", "DNS:turn.partner.test,DNS:new.partner.test")
    w.ask("reload").exits(0).says("certificate for turn.partner.test (contents)", "sha256")
    if shown(w, "turn.partner.test") == before or "new.partner.test" not in shown(w, "turn.partner.test"):
        raise Failed("    the old one is still shown")
    w.run("rm", w.path("partner.key")).exits(0)
    w.ask("reload").exits(1).says("partner.key", "the old configuration is at work")
    if "new.partner.test" not in shown(w, "turn.partner.test"):
        raise Failed("    a bad reload took the certificate away")


if __name__ == "__main__":
    sys.exit(main(22000))
