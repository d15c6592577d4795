# SPDX-License-Identifier: Apache-2.0
"""What is asked of a running stile-turn by an administrator, and by the console's page of it: secrets made while it runs, several
sessions ended at once, which rule decides about a peer, certificates as they are, a test of the server as it is, the snippet."""
import contextlib
import json
import os
import sys

from turn_client import Client
from world import SECRET, Failed, case, main, wait_for

MADE = "a-secret-made-while-it-runs"


def minted(w, secret, code, *realm):
    """A credential of this secret is good, or refused with this code: by real traffic."""
    said = w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", "--shared-secret", secret, *realm)
    return said.exits(0) if code == 0 else said.exits(1).says(str(code))


@case("a secret is made, used, replaced and deleted while the server runs, is there after a restart, and is never shown")
def _(w):
    w.config(tls=False)
    w.start()
    minted(w, MADE, 401)
    w.ask("turn", "secret", "add", "2027", stdin=MADE + "\n").exits(0).says("secret 2027 counts now").never_says(MADE)
    minted(w, MADE, 0)
    minted(w, SECRET, 0)  # side by side
    c = w.ask("credentials", "carol", "-c", w.path("stile.yaml"), "--secret", "2027", "--json").exits(0).json()
    w.test("127.0.0.1", "-p", str(w.port), "-t", "udp", "--user", c["username"], "--password", c["password"]).exits(0)
    w.ask("turn", "secret", "list").exits(0).says("2026a", "file", "yes", "2027", "store", "no").never_says(MADE, SECRET)
    for verb in ("turn.secret.list", "turn.user.list"):
        row = w.verb(verb)["rows"][0]
        if not row["locked"] or not row["file"].endswith("/stile.yaml") or row["line"] < 3:
            raise Failed(f"    where it is set is not told: {row}")
    w.ask("turn", "secret", "add", "2027", stdin=MADE + "\n").exits(1).says("there is a secret 2027 already")
    w.ask("turn", "secret", "change", "2027", stdin="another-secret-of-now\n").exits(0).says("is another now")
    minted(w, MADE, 401)
    minted(w, "another-secret-of-now", 0)
    exported = w.ask("config", "export", "-c", w.path("stile.yaml"), "--secrets", "--json").exits(0).json()["turn"]["secrets"]
    if [(s["id"], s["secret"]) for s in exported] != [("2026a", SECRET), ("2027", "another-secret-of-now")]:
        raise Failed(f"    the export has {exported}")
    w.servers[-1].stop()
    w.start()
    minted(w, "another-secret-of-now", 0)
    w.ask("turn", "secret", "delete", "2027").exits(0)
    minted(w, "another-secret-of-now", 401)
    minted(w, SECRET, 0)


def refused(w, key, body, why):
    """The same by config.put, as the console asks."""
    try:
        w.verb("config.put", {"kind": "turn.secret", "key": key, "body": body})
    except Failed as e:
        if why in str(e):
            return
        raise
    raise Failed(f"    config.put of {key} was not refused")


@case("what is wrong with a secret is said: short, no id, set in the file, not there, no such realm")
def _(w):
    w.config(tls=False)
    w.start()
    w.ask("turn", "secret", "add", "x", stdin="short\n").exits(1).says("16 to 1024 bytes")
    w.ask("turn", "secret", "add", "a/b", stdin=MADE + "\n").exits(1).says("no slash")
    w.ask("turn", "secret", "add", "x").exits(1).says("no secret was given", "--random")
    w.ask("turn", "secret", "add", "2026a", stdin=MADE + "\n").exits(1).says("is set in", "stile.yaml")
    w.ask("turn", "secret", "delete", "2026a").exits(1).says("is set in")
    w.ask("turn", "secret", "change", "x", stdin=MADE + "\n").exits(1).says("there is no secret x")
    w.ask("turn", "secret", "delete", "x").exits(1).says("there is no secret x")
    w.ask("turn", "secret", "add", "x", "-r", "nowhere", stdin=MADE + "\n").exits(1).says("there is no realm nowhere")
    refused(w, "y", {"secret": "short"}, "16 to 1024 bytes")
    refused(w, "y", {"secret": MADE, "id": "y"}, "all there is")
    refused(w, "2026a", {"secret": MADE}, "is set in")
    random = w.ask("turn", "secret", "add", "made", "--random").exits(0).out.strip().split("\n")[-1]
    minted(w, random, 0)


@case("secrets of a realm are that realm's, and come in by config.put with an undo")
def _(w):
    w.config(tls=False, listen=f'["udp:127.0.0.1:{w.port}", "udp:127.0.0.1:{w.port + 2}"]',
             realms=f'[ {{ name: partner.test, listen: ["udp:127.0.0.1:{w.port + 2}"], password: of-the-partner }} ]')
    w.start()
    at = ["127.0.0.1", "-p", str(w.port + 2), "-t", "udp", "--shared-secret", MADE]
    w.ask("turn", "secret", "add", "p1", "--realm", "partner.test", stdin=MADE + "\n").exits(0)
    w.test(*at).exits(0)
    minted(w, MADE, 401)
    w.ask("turn", "secret", "list", "--realm", "partner.test").exits(0).says("p1").never_says("2026a")
    done = w.verb("config.put", {"kind": "turn.realms.secret", "key": "partner.test/p2", "body": {"secret": "another-of-the-partner"}})
    w.test(*at[:-1], "another-of-the-partner").exits(0)
    w.verb("config.undo", {"change": done["change"]})
    w.test(*at[:-1], "another-of-the-partner").exits(1).says("401")
    w.ask("turn", "secret", "delete", "p1", "-r", "partner.test").exits(0)
    w.test(*at).exits(1).says("401")
    w.ask("turn", "secret", "add", "p3", "--realm", "partner.test", stdin=MADE + "\n").exits(0)
    w.config(tls=False)
    w.ask("reload").exits(0)
    w.ask("turn", "secret", "list").exits(0).says("partner.test")  # of a realm that is gone
    w.ask("turn", "secret", "delete", "p3", "-r", "partner.test").exits(0)
    w.ask("turn", "secret", "delete", "p3", "-r", "partner.test").exits(1).says("there is no realm partner.test")


@case("several sessions end at once; those that had ended before are named")
def _(w):
    w.config(tls=False)
    w.start()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(w.port, "alice", "wonderland")) for _ in range(3)]
        if any(c.allocate() for c in clients):
            raise Failed("    no allocation")
        ids = [str(r["id"]) for r in w.verb("turn.sessions")["rows"]]
        w.ask("turn", "kill", ids[0], ids[1]).exits(0).says("2 sessions are ended")
        w.ask("turn", "kill", ids[0], ids[2]).exits(1).says("1 sessions are ended", f"there is no session {ids[0]}")
        w.ask("turn", "kill", ids[0], "x").exits(2).says("an ID is a number")
    w.ask("turn", "sessions").exits(0).says("no sessions")
    done = w.verb("turn.kill", {"ids": ["x", {}, None, 2 ** 53 - 1]})
    if done["killed"] or len(done["gone"]) != 4:
        raise Failed(f"    {done}")


@case("which rule decides about a peer is told, for clients of a realm, too")
def _(w):
    w.config(peers="{ allow: [127.0.0.0/8], deny: [198.51.100.0/24] }",
             realms="[ { name: partner.test, password: of-the-partner, server_names: [p.test], peers: { deny: [9.9.9.0/24] } } ]")
    w.start()
    w.ask("turn", "peer", "9.9.8.7").exits(0)
    w.ask("turn", "peer", "9.9.9.9").exits(0)
    w.ask("turn", "peer", "9.9.9.9", "-r", "partner.test").exits(1).says("9.9.9.0/24")
    w.ask("turn", "peer", "198.51.100.1:9").exits(1).says("turn.peers.deny 198.51.100.0/24")
    w.ask("turn", "peer", "::ffff:10.1.2.3").exits(1).says("private")
    w.ask("turn", "peer", "nonsense").exits(1).says("an IP address")


@case("certificates are shown as their files are now, with what is wrong, and whether they are at work")
def _(w):
    w.config()
    w.start()
    w.ask("turn", "certificate", "list").exits(0).says("server.pem", "subject", "Stile test", "DNS:localhost", "EC ", "its key is there")
    row = w.verb("turn.certificates")["rows"][0]
    if not row["at_work"] or row["faults"] or row["server_names"] or not 80 < row["days_left"] < 91:
        raise Failed(f"    {row}")
    w.certificate("other")
    with open(w.path("other.pem"), encoding="utf-8") as f:
        w.write("server.pem", f.read())
    w.ask("turn", "certificate", "list").exits(1).says("nowhere yet: stile reload turn", "fault")
    w.ask("turn", "certificate", "list", "--json").exits(1)
    if w.verb("turn.certificates")["rows"][0]["at_work"]:
        raise Failed("    a certificate that nobody has loaded is at work")
    w.servers[-1].stop()
    w.config("plain.yaml", tls=False, certificate="other.pem", key="other.key")
    w.start("plain.yaml")
    w.ask("turn", "certificate", "list").exits(0).says("nowhere: no listener needs it")


@case("a certificate whose name is so long that it is cut, within a character even, is shown none the less")
def _(w):
    unit = "/OU=a" + 60 * "\u00fc"
    w.openssl("req", "-x509", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj",
              "/CN=Stile test" + 3 * unit, "-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.pem")
    os.chmod(w.path("server.key"), 0o600)
    w.config()
    w.start()
    row = w.verb("turn.certificates")["rows"][0]
    if not row["at_work"] or "OU=a?" not in row["subject"]:
        raise Failed(f"    {row}")
    w.ask("turn", "certificate", "list").exits(0).says("OU=a?")


@case("certificates to choose from are found beside the configuration, each with its key")
def _(w):
    w.config()
    w.certificate("other", names="DNS:turn.example.org")
    w.start()
    w.ask("turn", "certificate", "files").exits(0).says("other.pem", "other.key", "turn.example.org", "server.pem")
    rows = {row["file"].rsplit("/", 1)[1]: row for row in w.verb("turn.certificate.files")["rows"]}
    if sorted(rows) != ["other.pem", "server.pem"] or not rows["other.pem"]["key"].endswith("other.key"):
        raise Failed(f"    {rows}")


@case("the running server is tried as it is: a credential of its own, settings that only the store has, and its realms")
def _(w):
    w.config(users=None, secrets=None, password="of-the-file")
    w.start()
    w.verb("config.set", {"path": "turn.mobility", "value": False})
    said = w.ask("test", "turn", "--live", "--packets", "4").exits(0)
    said.says("made for this test", "udp allocate", "tls connect", "certificate good", "checks are good").never_says("of-the-file")
    if w.verb("turn.status")["users"] != 0 or w.verb("turn.user.list")["rows"]:
        raise Failed("    the user of a test shows")
    report = w.ask("test", "turn", "--live", "-t", "udp", "--packets", "4", "--json").exits(0).json()
    if [t["transport"] for t in report["transports"]] != ["udp"] or report["bad"]:
        raise Failed(f"    {report}")
    w.ask("test", "turn", "127.0.0.1", "--live").exits(2).says("no HOST")
    w.ask("test", "turn", "--live", "--realm", "nowhere").exits(1).says("there is no realm nowhere")
    first = w.verb("turn.test.credential")
    with Client(w.port, first["username"], first["password"]) as c:
        if c.allocate():
            raise Failed("    the credential of the test is not good")
    if w.verb("turn.test.credential")["username"] != first["username"]:
        raise Failed("    a second test ends the first one's credential")


@case("the snippet of the running server has its listeners, and a credential only where one can be minted")
def _(w):
    w.config(users=None)
    w.start()
    got = w.ask("turn", "snippet", "turn.example.org", "--live").exits(0).json()["iceServers"][0]
    if got["urls"] != [f"turn:turn.example.org:{w.port}?transport=udp", f"turn:turn.example.org:{w.port}?transport=tcp",
                       f"turns:turn.example.org:{w.tls}?transport=tcp"]:
        raise Failed(f"    {got}")
    with Client(w.port, got["username"], got["credential"]) as c:
        if c.allocate():
            raise Failed("    the credential of the snippet is not good")
    w.servers[-1].stop()
    w.config(users=None, secrets=None, password="of-the-file")
    w.start()
    said = w.ask("turn", "snippet", "--live").exits(0).says("gives no password away", "turn.password").never_says("of-the-file")
    if json.loads(said.out)["iceServers"][0]["credential"] != "turn.password":
        raise Failed(f"    {said.out}")


@case("a refusal says its key, by which the console finds its words, and hostile names stay text")
def _(w):
    w.config(tls=False)
    w.start()
    with Client(w.port, '<img src=x onerror="alert(1)">', "guess") as c:
        c.allocate()
    row = wait_for("the refusal", lambda: w.verb("turn.why")["rows"])[0]
    if row["key"] != "credential" or row["user"] != '<img src=x onerror="alert(1)">' or row["code"] != 401 or row["at"] < 1e12:
        raise Failed(f"    {row}")


if __name__ == "__main__":
    sys.exit(main(23400))
