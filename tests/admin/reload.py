# SPDX-License-Identifier: Apache-2.0
"""Reloads while clients are at work: what changes is told, nothing of a session is lost, and a new
certificate is for who comes after it."""
import os
import socket
import ssl
import struct
import sys
import time

from traffic import Traffic, wait_for
from turn_client import COOKIE, XOR_RELAYED, Client
from world import PATIENCE, Failed, case, main


def presented(w):
    """The certificate that a new TLS connection is shown."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", w.tls)))


def of_file(w, name):
    with open(w.path(name), encoding="ascii") as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def renew(w, name="renewed"):
    """As certbot does: new contents under the old names."""
    w.certificate(name)
    os.rename(w.path(name + ".key"), w.path("server.key"))
    os.rename(w.path(name + ".pem"), w.path("server.pem"))


LIMITS = "{ allocations: 500, allocations_per_user: 50 }"
OPEN = "sandbox: false\n"  # a log may move anywhere


@case("a reload names what it changes, key by key; of secrets only that they changed")
def _(w):
    w.config(tls=False)
    w.start()
    w.ask("reload").exits(0).says("nothing has changed")
    w.config(tls=False, limits=LIMITS, software="Relay",
             users="[ { name: alice, password: other-password }, { name: bob, password: builders-tea } ]")
    said = w.ask("reload").exits(0)
    said.says("has read its configuration again; changed:", "~turn.users.bob. +added", "~turn.users.alice..password +changed",
              "~turn.limits.allocations +10000 → 500", "~turn.limits.allocations_per_user +not set → 50",
              "~turn.software +Stile → Relay")
    said.never_says("builders-tea", "other-password", "wonderland", "restart")
    w.logged("service.changed", "key=turn.limits.allocations", "was=10000", "is=500")
    w.logged("service.changed", "key=turn.users[bob]", "what=added")
    w.logged("service.reloaded", "changes=5")
    w.config(tls=False, limits=LIMITS, software="Relay", users="[ { name: bob, password: builders-tea } ]", realm="new.test")
    said = w.ask("reload").exits(0)
    said.says("~turn.realm +admin.test → new.test", "~turn.users.alice. +removed")
    said.never_says("restart")
    w.ask("status").exits(0).says("realm new.test")
    w.config(tls=False, limits=LIMITS, software="Relay", users="[ { name: bob, password: builders-tea } ]", realm="new.test", workers=3)
    w.ask("reload").exits(0).says("~turn.workers +[0-9]+ → 3  .needs a restart.", "old values, because they need a restart: turn.workers")
    w.ask("reload").exits(0).says("nothing has changed", "need a restart: turn.workers")


@case("reload --dry-run shows the changes and applies none; a bad file is told and leaves no trace")
def _(w):
    w.config(top=OPEN)
    w.start()
    before = presented(w)
    w.ask("reload", "--dry-run").exits(0).says("would change nothing")
    renew(w)
    w.config(limits=LIMITS, users="[ { name: bob, password: builders-tea } ]", log="{ level: error, dir: %s }" % w.path("elsewhere"),
             top=OPEN)
    said = w.ask("reload", "--dry-run").exits(0)
    said.says("would change:", "~log.level +debug → error", "~log.dir .*/log → .*/elsewhere", "~turn.users.alice. +removed",
              "~turn.users.bob. +added", "~turn.limits.allocations +10000 → 500", "~turn.certificate .contents. .*sha256 .* → .*sha256")
    rows = w.ask("reload", "--dry-run", "--json").exits(0).json()
    if not rows["dry_run"] or {"key": "turn.limits.allocations", "what": "changed", "was": "10000", "is": "500",
                               "restart": False} not in rows["changes"]:
        raise Failed(f"    {rows}")
    status = w.verb("service.status")
    if w.verb("turn.status")["allocations_limit"] != 10000 or presented(w) != before or status["reloaded_at"]:
        raise Failed("    the dry run changed something")
    if status["log_level"] != "debug" or os.path.exists(w.path("elsewhere")):
        raise Failed("    the dry run changed the log")
    w.config(relam="x", top=OPEN)
    w.ask("reload", "--dry-run").exits(1).says("unknown key 'relam'", "nothing was changed")
    os.remove(w.path("server.key"))
    w.config(top=OPEN)
    w.ask("reload", "--dry-run").exits(1).says("key file", "cannot be read")
    w.ask("status").exits(1).says("there is another certificate in", "than the one at work")
    if "service.bad-config" in w.log_text():
        raise Failed("    a dry run's errors are in the log")


@case("log settings follow a reload: level, format and another folder, which is made")
def _(w):
    w.config(tls=False, top=OPEN)
    w.start()
    w.config(tls=False, log="{ level: info, dir: %s, format: json }" % w.path("new/log"), top=OPEN)
    w.ask("reload").exits(0).says("~log.dir .* → ", "~log.format +text → json")
    w.ask("log", "level").exits(0).says("level info")
    deadline = time.monotonic() + PATIENCE
    while not os.path.exists(w.path("new/log/stile-turn.log")) or "service.reloaded" not in open(w.path("new/log/stile-turn.log")).read():
        if time.monotonic() > deadline:
            raise Failed("    no log in the new folder")
        time.sleep(0.05)
    w.write("afile", "")
    w.config(tls=False, limits=LIMITS, log="{ level: info, dir: %s }" % w.path("afile/log"), top=OPEN)
    w.ask("reload").exits(1).says("afile")
    if w.verb("turn.status")["allocations_limit"] != 10000:
        raise Failed("    a reload that failed was applied in part")


@case("twenty reloads under traffic over udp, tcp, tls and dtls lose not one packet")
def _(w):
    w.config(workers="2")
    w.start()
    loads = [Traffic(w, t, 8) for t in ("udp", "tcp", "tls", "dtls")]
    wait_for(w, 12)
    for i in range(20):
        renew(w, f"renewed-{i}")
        w.config(workers="2", limits="{ allocations: %d }" % (100 + i), peers="{ allow: [127.0.0.0/8], deny: [198.51.100.%d/32] }" % i,
                 lifetime="{ max: %ds }" % (1000 + i), secrets="[ { id: s%d, secret: a-secret-of-this-reload-%d } ]" % (i, i))
        w.ask("reload").exits(0).says("turn.limits.allocations", "turn.certificate (contents)").never_says("restart")
        time.sleep(0.15)
    for load in loads:
        load.lost_nothing()


@case("a renewed certificate is shown to new connections; open TLS and DTLS sessions go on with the old")
def _(w):
    w.config()
    w.start()
    old = of_file(w, "server.pem")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", w.tls)) as raw, context.wrap_socket(raw) as tls:
        if tls.getpeercert(True) != old or presented(w) != old:
            raise Failed("    not the certificate of the file")
        loads = [Traffic(w, t, 4) for t in ("tls", "dtls")]
        wait_for(w, 6)
        renew(w)
        w.ask("reload").exits(0).says("turn.certificate (contents)", "CN")
        if presented(w) != of_file(w, "server.pem") or presented(w) == old:
            raise Failed("    a new connection is not shown the new certificate")
        tid = os.urandom(12)
        tls.send(b"\0\1\0\0\x21\x12\xa4\x42" + tid)  # a Binding request over the connection of before
        if tls.recv(200)[8:20] != tid:
            raise Failed("    the open connection does not answer")
        w.stile("test", "turn", "127.0.0.1", "--server-name", "localhost", "-t", "tls", "--tls-port", str(w.tls), "-u", "alice", "--password", "wonderland",
                "--ca", w.path("server.pem")).exits(0)
        w.stile("test", "turn", "127.0.0.1", "--server-name", "localhost", "-t", "dtls", "--tls-port", str(w.tls), "-u", "alice", "--password", "wonderland",
                "--ca", w.path("server.pem")).exits(0)
        for load in loads:
            load.lost_nothing()


@case("a certificate under another name is taken; one that is bad leaves everything as it was")
def _(w):
    w.config()
    w.start()
    w.certificate("second")
    w.config(certificate="second.pem", key="second.key", limits=LIMITS)
    w.ask("reload").exits(0).says("~turn.certificate +.*server.pem → .*second.pem", "turn.key")
    if presented(w) != of_file(w, "second.pem"):
        raise Failed("    not the second certificate")
    w.write("second.pem", "no certificate\n")
    w.config(certificate="second.pem", key="second.key", limits="{ allocations: 7 }", users="[ { name: bob, password: builders-tea } ]")
    w.ask("reload").exits(1).says("second.pem", "the old configuration is at work")
    w.ask("status").exits(1).says("the last reload failed", "second.pem")
    with Client(w.port, "alice", "wonderland") as c:
        if c.allocate() != 0 or w.verb("turn.status")["allocations_limit"] != 500:
            raise Failed("    a reload that failed was applied in part")


def granted(w, user="alice", password=None):
    """A client with an allocation, and the relay address that it was told."""
    c = Client(w.port, user, password or "wonderland")
    code = c.allocate()
    if code:
        c.socket.close()
        raise Failed(f"    an allocation was refused: {code}")
    value = c.answer[XOR_RELAYED]
    port = struct.unpack_from("!H", value, 2)[0] ^ (COOKIE >> 16)
    return c, socket.inet_ntoa(struct.pack("!I", struct.unpack_from("!I", value, 4)[0] ^ COOKIE)), port


@case("relay addresses, external ones and ports are reloaded: new allocations have them, old ones go on as they are")
def _(w):
    first, second = w.base + 10, w.base + 20
    w.config(tls=False, relay=f"{{ ports: {first}-{first + 9} }}")
    w.start()
    old, ip, port = granted(w)
    if ip != "127.0.0.1" or not first <= port <= first + 9:
        raise Failed(f"    the first relay address is {ip}:{port}")
    w.config(tls=False, relay=f"{{ addresses: [127.0.0.2], external: 203.0.113.9, ports: {second}-{second + 9} }}")
    w.ask("reload").exits(0).says("~turn.relay.addresses", "~turn.relay.external", f"~turn.relay.ports +{first}-{first + 9} → {second}-{second + 9}") \
        .never_says("restart")
    new, ip, port = granted(w)
    if ip != "203.0.113.9" or not second <= port <= second + 9:
        raise Failed(f"    the relay address after the reload is {ip}:{port}")
    w.ask("status").says(f"relays from 127.0.0.2 seen as 203.0.113.9 (as configured), ports {second}-{second + 9}")
    if old.refresh(600) or old.permit("127.0.0.1"):
        raise Failed("    the old allocation does not go on")
    w.config(tls=False, relay="{ addresses: [192.0.2.77] }")
    w.ask("reload").exits(1).says("192.0.2.77 is no address of this machine")
    w.ask("status").says("relays from 127.0.0.2", "the last reload failed")
    third, ip, port = granted(w)
    if ip != "203.0.113.9" or old.refresh(600):
        raise Failed(f"    a refused reload has changed something: {ip}")
    for c in (old, new, third):
        c.socket.close()


@case("without a server that can tell, an automatic external address is not known: refused, and said why")
def _(w):
    w.config(tls=False, relay="{ external: auto }", top=f"stun_servers: [\"127.0.0.1:{w.port}\"]\n")  # itself: inside
    w.start()
    w.logged("turn.external.unknown", "address=127.0.0.1", "same NAT")
    with Client(w.port, "alice", "wonderland") as c:
        if c.allocate() != 508:
            raise Failed("    an allocation whose address is not known was not refused")
    w.ask("turn", "why", "alice").says("the public address is not known yet")
    w.ask("status").exits(1).says("relays from 127.0.0.1 (public address not known yet)",
                                  "allocations are refused: the servers of stun_servers are behind the same NAT")
    w.config(tls=False, relay="{ external: auto }")
    w.check().exits(2).says("stun_servers names none")


if __name__ == "__main__":
    sys.exit(main(25300))
