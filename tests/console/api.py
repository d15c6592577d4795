# SPDX-License-Identifier: Apache-2.0
"""The REST API with real services behind it: what it says of them, the verbs that it passes on, and its description."""
import http.client
import json
import os
import re
import socket
import sys
import time

from console_world import PASSWORD, Failed, Stream, case, main, trusting, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


@case("the console says what runs, with version, uptime and health, and sees a service stop")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    row = w.reached(alice, "turn")
    if row["version"] != "0.1.0" or row["instance"] != "" or row["program"] != "stile-turn" or row["pid"] != turn.process.pid:
        raise Failed(f"    {row}")
    one = alice.get("/api/v1/services/turn").is_(200).json
    if one["status"]["pid"] != turn.process.pid or "reload" not in one["can"]:
        raise Failed(f"    {one}")
    w.reached(alice, "console")
    turn.stop()
    w.reached(alice, "turn", "stopped")
    alice.get("/api/v1/services/turn/verbs/turn.status").is_(503, "stopped")
    alice.get("/api/v1/services/nobody").is_(404, "not-found")


@case("instances are services of their own")
def _(w):
    w.console()
    w.turn(instance="lab")
    alice = w.first()
    row = w.reached(alice, "turn@lab")
    if row["instance"] != "lab":
        raise Failed(f"    {row}")
    got = alice.get("/api/v1/services/turn@lab/verbs/turn.status").is_(200).json
    if got["workers"] != 1:
        raise Failed(f"    {got}")


@case("a verb is called with arguments, by GET if it is a viewer's, and its errors keep their words")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    wait_for("the verbs", lambda: alice.get("/api/v1/services/turn/verbs").status == 200)
    names = {v["verb"]: v["role"] for v in alice.get("/api/v1/services/turn/verbs").json["rows"]}
    if names["turn.kill"] != "operator" or names["turn.status"] != "viewer":
        raise Failed(f"    {names}")
    got = alice.get('/api/v1/services/turn/verbs/turn.sessions?args=%7B"limit":5%7D').is_(200).json
    if got["rows"] != []:
        raise Failed(f"    {got}")
    alice.get("/api/v1/services/turn/verbs/turn.kill").is_(405)
    alice.post("/api/v1/services/turn/verbs/turn.kill", {"id": 77}).is_(404, "not-found")
    alice.get("/api/v1/services/turn/verbs/turn.nothing").is_(404, "unknown-verb")
    alice.get("/api/v1/services/turn/verbs/turn.status?args=%7B").is_(400, "bad-request")
    alice.post("/api/v1/services/turn/verbs/turn.user.put", {"name": "bob", "password": "builder-of-things", "create": True}).is_(200)
    alice.post("/api/v1/services/turn/verbs/turn.user.put", {"name": "bob", "password": "builder-of-things", "create": True}).is_(409)
    users = alice.post("/api/v1/services/turn/verbs/turn.user.list").is_(200).json["rows"]
    if [u["name"] for u in users] != ["alice", "bob"]:
        raise Failed(f"    {users}")
    audit = alice.get("/api/v1/audit").is_(200)
    rows = [r for r in audit.json["rows"] if r["kind"] == "console.action"]
    if not rows or rows[0]["who"] != "console alice" or rows[0]["after"]["args"].get("name") != "bob" and "builder" in audit.text:
        raise Failed(f"    {rows[:2]}")
    if "builder-of-things" in audit.text:
        raise Failed("    a password stands in the audit")


@case("a service is told to reload, drain and stop; who may not is told so")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    oscar, vera = w.user(alice, "oscar", "operator"), w.user(alice, "vera", "viewer")
    w.reached(alice, "turn")
    vera.post("/api/v1/services/turn/reload").is_(403, "forbidden")
    oscar.post("/api/v1/services/turn/stop").is_(403, "forbidden")
    got = oscar.post("/api/v1/services/turn/reload", {"dry_run": True}).is_(200).json
    if got["dry_run"] is not True:
        raise Failed(f"    {got}")
    oscar.post("/api/v1/services/turn/reload").is_(200)
    oscar.post("/api/v1/services/turn/dance").is_(404)
    alice.post("/api/v1/services/turn/drain", {"deadline_ms": 100}).is_(200)
    turn.process.wait(20)
    turn.stop()
    w.logged("console.action", "user=alice", "action=drain", "of=turn")


@case("/metrics has every service's counters with its name, and needs no login on its own listener")
def _(w):
    w.console()
    w.turn()
    w.turn(instance="lab", listen=f'["udp:127.0.0.1:{w.base + 4}"]')
    alice = w.first()
    w.reached(alice, "turn")
    w.reached(alice, "turn@lab")
    inside = alice.get("/metrics").is_(200)
    w.web_port, own = w.web, w.client()
    own.port = w.base + 3
    plain = own.get("/metrics").is_(200)
    own.get("/api/v1/services").is_(404)
    w.client().get("/metrics").is_(401)
    for text in (inside.text, plain.text):
        for wanted in ('stile_up{service="turn",instance="lab"} 1', 'stile_up{service="console",instance=""} 1',
                       'stile_turn_allocations{service="turn",instance=""} 0', 'stile_turn_allocations{service="turn",instance="lab"} 0',
                       'stile_console_requests_total{service="console",instance="",class="2xx"}'):
            if wanted not in text:
                raise Failed(f"    {wanted} is not in\n{text[:2000]}")
        heads = re.findall(r"^# TYPE (\S+)", text, re.M)
        if len(heads) != len(set(heads)):
            raise Failed("    a metric has two heads")
        family, seen = None, set()
        for line in text.splitlines():  # samples of a name stand together
            if line.startswith("# TYPE "):
                family = line.split()[2]
            elif not line.startswith("#"):
                name = re.sub(r"_(bucket|sum|count)$", "", re.match(r"\w+", line).group()) if family + "_" in line else line.split("{")[0]
                if name != family and not line.startswith(family):
                    raise Failed(f"    {line} stands under {family}")
                seen.add(family)


@case("settings and objects are changed by the API: with revisions, as one, undone, and with the user's name")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    oscar, vera = w.user(alice, "oscar", "operator"), w.user(alice, "vera", "viewer")
    w.reached(alice, "turn")
    wait_for("the verbs", lambda: alice.get("/api/v1/services/turn/verbs").status == 200)
    turn = "/api/v1/services/turn"
    vera.get(turn + "/config").is_(403)
    rows = {r["path"]: r for r in oscar.get(turn + "/config").is_(200).json["rows"]}
    realm, drain = rows["turn.realm"], rows["turn.drain"]
    if realm["source"] != "file" or not realm["locked"] or realm["line"] < 1 or drain["source"] != "default" or "help" not in drain:
        raise Failed(f"    {realm} {drain}")
    oscar.put(turn + "/config/turn.drain", {"value": "20s"}).is_(403)
    got = alice.put(turn + "/config/turn.realm", {"value": "x.test"}).is_(423, "locked").json["error"]
    if f":{realm['line']}" not in got["text"]:
        raise Failed(f"    {got}")
    got = alice.put(turn + "/config/turn.drain", {"value": "soon"}).is_(400, "bad-request").json["error"]
    if got["fields"][0]["path"] != "turn.drain":
        raise Failed(f"    {got}")
    done = alice.put(turn + "/config/turn.drain", {"value": "20s"}, **{"If-Match": '"0"'}).is_(200).json
    revision = done["revisions"][0]["revision"]
    got = alice.put(turn + "/config/turn.drain", {"value": "30s"}, **{"If-Match": '"0"'})
    if got.status not in (409, 412) or got.json["error"]["theirs"]["revision"] != revision:
        raise Failed(f"    {got!r}")
    alice.put(turn + "/config/turn.drain", {"value": "30s"}, **{"If-Match": f'"{revision + 1}"'}).is_(412, "conflict")
    alice.put(turn + "/config/turn.drain", {"value": "30s"}, **{"If-Match": '"x"'}).is_(400)
    begun = alice.post(turn + "/changes").is_(200).json["transaction"]
    alice.put(f"{turn}/config/turn.drain?transaction={begun}", {"value": "40s"}).is_(200)
    alice.put(f"{turn}/objects/turn.user?transaction={begun}", {"key": "carol", "body": {"password": "long enough for it"}}).is_(200)
    if not alice.get(f"{turn}/changes/{begun}").is_(200).json["good"]:
        raise Failed(f"    it is not good: {alice.get(f'{turn}/changes/{begun}')!r}")
    alice.post(f"{turn}/changes/{begun}/validate").is_(200)
    change = alice.post(f"{turn}/changes/{begun}/commit").is_(200).json["change"]
    alice.post(f"{turn}/changes/{begun}/commit").is_(404)
    alice.post(f"{turn}/changes/x/commit").is_(404)
    if {r["path"]: r for r in alice.get(turn + "/config").json["rows"]}["turn.drain"]["value"] != "40s":
        raise Failed("    it is not done")
    alice.post(turn + "/undo", {"change": change}).is_(200)
    if {r["path"]: r for r in alice.get(turn + "/config").json["rows"]}["turn.drain"]["value"] != "20s":
        raise Failed("    it is not undone")
    if alice.get(turn + "/objects/turn.user").is_(200).json["rows"] != []:
        raise Failed("    an object is left")
    who = {r["who"] for r in oscar.get(turn + "/audit?limit=50").is_(200).json["rows"]}
    if who != {"console alice"}:
        raise Failed(f"    {who}")
    alice.delete(turn + "/config/turn.drain").is_(200)
    alice.put("/api/v1/services/console/objects/console.user", {"key": "eve", "body": {"role": "administrator"}}).is_(404)


@case("two administrators: who comes second sees both versions, or whom he waits for")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    bob = w.user(alice, "bob", "administrator")
    w.reached(alice, "turn")
    turn = "/api/v1/services/turn"
    wait_for("the verbs", lambda: alice.get(turn + "/verbs").status == 200)
    made = alice.put(turn + "/objects/turn.user", {"key": "carol", "body": {"password": "long enough for it"}}).is_(200).json
    seen = f'"{made["revisions"][0]["revision"]}"'
    bob.put(turn + "/objects/turn.user", {"key": "carol", "body": {"password": "bob has changed it"}}, **{"If-Match": seen}).is_(200)
    got = alice.put(turn + "/objects/turn.user", {"key": "carol", "body": {"password": "alice has, too"}}, **{"If-Match": seen}).is_(
        412, "conflict").json["error"]
    if got["theirs"]["who"] != "console bob" or "yours" not in got or "bob has" in json.dumps(got) or "alice has" in json.dumps(got):
        raise Failed(f"    {got}")
    got = alice.delete(turn + "/objects/turn.user?key=carol", **{"If-Match": seen}).is_(412, "conflict").json["error"]
    if "reason" not in got:
        raise Failed(f"    {got}")
    # The kind's own verbs hold a revision, too, and one that cannot says so.
    verbs = turn + "/verbs/turn."
    row = alice.post(verbs + "user.put", {"name": "dave", "password": "builder-of-things", "create": True}).is_(200).json
    bob.post(verbs + "user.put", {"name": "dave", "password": "bob was faster"}, **{"If-Match": f'"{row["revision"]}"'}).is_(200)
    alice.post(verbs + "user.put", {"name": "dave", "password": "alice was not"}, **{"If-Match": f'"{row["revision"]}"'}).is_(412, "conflict")
    alice.post(verbs + "user.delete", {"name": "dave"}, **{"If-Match": f'"{row["revision"]}"'}).is_(412, "conflict")
    alice.post(verbs + "kill", {"id": 1}, **{"If-Match": '"1"'}).is_(400, "bad-request")
    alice.post(verbs + "user.delete", {"name": "dave"}).is_(200)
    # Each collects changes of the same key; the second commit is refused by the revision that was seen.
    ours = {c: c.post(turn + "/changes").is_(200).json["transaction"] for c in (alice, bob)}
    for c, value in ((alice, "20s"), (bob, "30s")):
        c.put(f"{turn}/config/turn.drain?transaction={ours[c]}", {"value": value}, **{"If-Match": '"0"'}).is_(200)
    alice.post(f"{turn}/changes/{ours[alice]}/commit", {"confirm_within_ms": 60000}).is_(200)
    got = bob.post(f"{turn}/changes/{ours[bob]}/commit").is_(409, "busy").json["error"]
    if got["reason"] != "change-of-waits-for-its-confirmation" or got["values"][1] != "console alice":
        raise Failed(f"    {got}")
    alice.post(turn + "/confirm").is_(200)
    got = bob.post(f"{turn}/changes/{ours[bob]}/commit")
    if got.status not in (409, 412) or got.json["error"]["theirs"]["who"] != "console alice":
        raise Failed(f"    {got!r}")
    bob.post(f"{turn}/changes/{ours[bob]}/abort").is_(200)


@case("two administrators and one account: a change and a removal hold the revision that was seen")
def _(w):
    w.console()
    alice = w.first()
    bob = w.user(alice, "bob", "administrator")
    w.user(alice, "carol", "viewer")

    def seen():
        return next(r["revision"] for r in alice.get("/api/v1/users").is_(200).json["rows"] if r["name"] == "carol")

    first = seen()
    bob.put("/api/v1/users/carol", {"role": "operator"}, **{"If-Match": f'"{first}"'}).is_(200)
    for ask in ({"role": "viewer"}, {"password": "another one of hers"}):
        got = alice.put("/api/v1/users/carol", ask, **{"If-Match": f'"{first}"'}).is_(412, "conflict").json["error"]
        if got["theirs"] != {"body": {"name": "carol", "role": "operator", "totp": False}, "revision": seen()}:
            raise Failed(f"    {got}")
    alice.put("/api/v1/users/carol", {"role": "viewer"}, **{"If-Match": '"x"'}).is_(400, "bad-request")
    alice.delete("/api/v1/users/carol", **{"If-Match": f'"{first}"'}).is_(412, "conflict")
    before = seen()
    alice.put("/api/v1/users/carol", {"password": "another one of hers"}, **{"If-Match": f'"{before}"'}).is_(200)
    if seen() == before:
        raise Failed("    a password has changed and the revision has not")
    alice.delete("/api/v1/users/carol", **{"If-Match": f'"{seen()}"'}).is_(200)


@case("a change that cuts the console off takes itself back; by default it waits a minute for its confirmation")
def _(w):
    w.certificate("server")
    w.console()
    alice = w.first()
    w.reached(alice, "console")
    own = "/api/v1/services/console"
    wait_for("the verbs", lambda: alice.get(own + "/verbs").status == 200)
    # TLS comes: who speaks plain HTTP is out, the new one is in, and without his word the old one comes back.
    begun = alice.post(own + "/changes").is_(200).json["transaction"]
    for key, name in (("certificate", "server.pem"), ("key", "server.key")):
        alice.put(f"{own}/config/console.{key}?transaction={begun}", {"value": w.path(name)}).is_(200)
    with Stream(alice, "console:services") as stays:
        stays.next()
        got = alice.post(f"{own}/changes/{begun}/commit", {"confirm_within_ms": 8000}).is_(200).json
        if got["restart_needed"] or "confirm_until" not in got:
            raise Failed(f"    {got}")
        secure = w.client(tls=trusting(w.folder, "server"))
        secure.get("/healthz").is_(200)
        try:
            got = alice.get("/healthz")
            raise Failed(f"    plain HTTP is still answered: {got!r}")
        except (OSError, http.client.HTTPException):
            pass
        secure.login("alice").is_(200)

        def is_back():
            try:
                return alice.get("/healthz").status == 200
            except (OSError, http.client.HTTPException):
                return False
        wait_for("the old way back", is_back)
    rows = {r["path"]: r for r in alice.get(own + "/config").is_(200).json["rows"]}
    if rows["console.certificate"]["source"] != "default":
        raise Failed(f"    {rows['console.certificate']}")
    w.logged("config.rolled-back")
    # By default: a minute, and only where the console itself is concerned.
    got = alice.put(own + "/config/console.names", {"value": ["console.test"]}).is_(200).json
    if not 20000 < got["confirm_until"] - time.time() * 1000 <= 60000:
        raise Failed(f"    {got}")
    alice.put(own + "/config/console.names", {"value": ["other.test"]}).is_(409, "busy")
    alice.get("/healthz", Host="console.test").is_(200)
    alice.post(own + "/confirm").is_(200)
    if "confirm_until" in alice.put(own + "/config/log.level", {"value": "debug"}).is_((423 if rows["log.level"]["locked"] else 200)).json:
        raise Failed("    a change of the log waits")
    got = alice.delete(own + "/config/console.names?confirm_within_ms=0").is_(200).json
    if "confirm_until" in got:
        raise Failed(f"    {got}")
    alice.get("/healthz", Host="console.test").is_(421)


@case("addresses change while it runs, overlapping ones too; one that is taken changes nothing")
def _(w):
    w.console()
    alice = w.first()
    with Stream(alice, "console:load") as stays:
        stays.next()
        w.console_config(listen=f'["0.0.0.0:{w.web}", "127.0.0.1:{w.base + 6}"]', certificate=None, public=None)
        w.ask("reload", "console").exits(1).says("needs TLS")
        w.console_config(listen=f'"127.0.0.2:{w.web}"')
        w.ask("reload", "console").exits(0)
        try:
            alice.get("/healthz")
            raise Failed("    the old address is still there")
        except OSError:
            pass
        with socket.create_server(("127.0.0.1", w.base + 6)):
            w.console_config(listen=f'["127.0.0.1:{w.web}", "127.0.0.1:{w.base + 6}"]')
            w.ask("reload", "console").exits(1).says(str(w.base + 6))
            try:
                alice.get("/healthz")
                raise Failed("    half of it was done")
            except OSError:
                pass
        w.ask("reload", "console").exits(0)
        alice.get("/healthz").is_(200)
        w.certificate("server")
        w.console_config(listen=f'"0.0.0.0:{w.web}"', certificate="server.pem", key="server.key", public="true", metrics=None)
        w.ask("reload", "console").exits(0)
        w.client(tls=trusting(w.folder, "server")).get("/healthz").is_(200)
        w.console_config()
        w.ask("reload", "console").exits(0)
        alice.get("/healthz").is_(200)
        own = w.client()
        own.port = w.base + 3
        own.get("/metrics").is_(200)


@case("load and system tell of this machine")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    got = alice.get("/api/v1/system").is_(200).json
    if got["cores"] < 1 or got["memory"]["total"] <= got["memory"]["used"] or not any(i["name"] == "lo" for i in got["interfaces"]):
        raise Failed(f"    {got}")
    wait_for("a point of turn", lambda: any("turn" in p["services"] for p in alice.get("/api/v1/load").is_(200).json["points"]))


@case("a text becomes a QR code for whoever is logged in, and is not audited")
def _(w):
    w.console()
    w.client().post("/api/v1/qr", {"text": "7H2K"}).is_(401)
    alice = w.first()
    if not alice.post("/api/v1/qr", {"text": "7H2K-<b>&"}).is_(200).json["svg"].startswith("<svg"):
        raise Failed("    that is no picture")
    for bad in ({}, {"text": ""}, {"text": "x" * 513}, {"text": 7}):
        alice.post("/api/v1/qr", bad).is_(400)
    if "qr" in alice.get("/api/v1/audit").text:
        raise Failed("    it is in the audit")


@case("openapi.json describes every route, and no other")
def _(w):
    w.console()
    served = w.client().get("/api/v1/openapi.json").is_(200).json
    with open(os.path.join(HERE, "../../console/openapi.json"), encoding="utf-8") as f:
        if served != json.load(f):
            raise Failed("    another description is served than stands in the tree")
    with open(os.path.join(HERE, "../../console/routes.c"), encoding="utf-8") as f:
        text = f.read().replace('API "', '"/api/v1').replace('SERVICE "', '"/api/v1/services/{service}').replace(
            "SERVICE,", '"/api/v1/services/{service}",')
    rows = {(m, p): (role, flags) for m, p, role, flags in re.findall(
        r'\{ "([A-Z]+)",\s+"([^"]+)",\s+CONTROL_(\w+),\s+([^,]+),', text)}
    if len(rows) != text.count("{ \"GET\",") + text.count("{ \"POST\",") + text.count("{ \"PUT\",") + text.count("{ \"DELETE\",") - 1:
        raise Failed(f"    a row of routes.c is not understood: {len(rows)}")
    roles = {"VIEWER": "viewer", "OPERATOR": "operator", "ADMIN": "administrator"}
    described = {(m.upper(), p): op for p, ops in served["paths"].items() for m, op in ops.items()}
    for missing in sorted(set(rows) - set(described)):
        raise Failed(f"    {missing} is not described")
    for extra in sorted(set(described) - set(rows)):
        raise Failed(f"    {extra} is described and no route")
    for key, op in described.items():
        role, flags = rows[key]
        if "ROUTE_OPEN" in flags:
            good = op.get("security") == []
        else:
            good = op.get("x-role") == roles[role]
        if not good or ("ROUTE_BODY" in flags or "ROUTE_BYTES" in flags) != ("requestBody" in op):
            raise Failed(f"    {key}: role or body differ")
        if sorted(re.findall(r"\{(\w+)\}", key[1])) != sorted(p["name"] for p in op.get("parameters", []) if p["in"] == "path"):
            raise Failed(f"    {key}: parameters differ")
    # And the other way round: each is really there.
    alice = w.first()
    for method, path in described:
        got = alice.ask(method, re.sub(r"\{\w+\}", "x", path), *([{}] if method in ("POST", "PUT") else []),
                        **({"Last-Event-ID": "x"} if path.endswith("/events") else {}))
        if got.status == 405 or (got.status == 404 and "no such resource" in got.text):
            raise Failed(f"    {method} {path} is described and not there: {got!r}")
        if path.endswith("/logout"):
            alice.login("alice", PASSWORD).is_(200)


if __name__ == "__main__":
    sys.exit(main(28000))
