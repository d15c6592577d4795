# SPDX-License-Identifier: Apache-2.0
"""What the API can do the tool can, and the other way round: accounts, tokens and sessions over the control socket, and both tables held
against each other, so that nothing new comes to one of them alone."""
import glob
import json
import os
import re
import sys

from console_world import HERE, PASSWORD, Failed, case, main, wait_for

ROOT_DIR = os.path.join(HERE, "../..")

# Each route, and the commands that do the same; or why there is none.
ROUTES = {
    "/healthz": "for load balancers", "/readyz": "for load balancers", "/metrics": ["turn metrics", "console metrics", "sip metrics"],
    "/openapi.json": "is about the API", "/setup": ["console setup"], "/login": "the tool is who calls it", "/logout": "as login",
    "/me": "as login", "/me/totp": "needs the browser's telephone", "/me/totp/confirm": "as totp", "/me/totp/off": ["console users set"],
    "/users": ["console users", "console users add"], "/users/{name}": ["console users set", "console users delete"],
    "/tokens": ["console tokens", "console tokens add"], "/tokens/{id}": ["console tokens delete"],
    "/sessions": ["console sessions"], "/sessions/{id}": ["console sessions end"], "/audit": ["console audit"],
    "/events": ["top", "logs"], "/load": ["top"], "/system": ["status"], "/services": ["status"], "/wizard": ["check"],
    "/tests": ["test", "netcheck", "test turn"], "/tests/{id}": ["test"], "/qr": ["share"], "/backup": ["backup"], "/restores": ["restore"],
    "/restores/{id}": ["restore"], "/logs.zip": ["logs zip"], "/logs": ["logs delete"], "/services/{service}": ["status"],
    "/services/{service}/{action}": ["start", "stop", "restart", "reload", "turn drain"], "/services/{service}/verbs": "its commands are the tool's",
    "/services/{service}/verbs/{verb}": "each verb has a command: see below", "/services/{service}/config": ["config get"],
    "/services/{service}/config/{path}": ["config set", "config unset"], "/services/{service}/objects/{kind}": ["config objects", "config put", "config delete"],
    "/services/{service}/changes": ["config begin"], "/services/{service}/changes/{id}": ["config review"],
    "/services/{service}/changes/{id}/validate": ["config review"], "/services/{service}/changes/{id}/commit": ["config commit"],
    "/services/{service}/changes/{id}/abort": ["config abort"], "/services/{service}/confirm": ["config confirm"],
    "/services/{service}/undo": ["config undo"], "/services/{service}/shares": ["share"], "/services/{service}/audit": ["config history"],
}
# Verbs that no command calls, and why.
NO_COMMAND = {
    "config.validate": "config review says the same and more", "events.subscribe": "stile top and logs look again", "verbs": "the tool knows them",
    "ping": "stile status", "service.stop": "stile stop asks who looks after the service", "console.sessions": "stile top",
    "fastpath.counts": "stile top", "sip.federation.check": "stile sip doctor DOMAIN",
}
# Tables whose verbs are the supervisor's or a test's, not a service's.
NOT_SERVICES = ("supervisor.",)


def verbs():
    """Every verb of the sources: name → file."""
    found = {}
    for folder in ("common", "turn", "turn/fastpath", "tunnel", "tunnel/server", "tunnel/agent", "sip-proxy", "gateway", "console", "share"):
        for path in glob.glob(os.path.join(ROOT_DIR, folder, "*.c")):
            with open(path, encoding="utf-8") as f:
                for name in re.findall(r'\{ "([a-z]+(?:\.[a-z_.-]+)?)", CONTROL_\w+,', f.read()):
                    found[name] = os.path.relpath(path, ROOT_DIR)
    return found


@case("every route has its command, every verb too, and each command that is named is there")
def _(w):
    with open(os.path.join(ROOT_DIR, "console/routes.c"), encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r'API "', '"', text)
    text = re.sub(r'SERVICE "', '"/services/{service}', text).replace("SERVICE,", '"/services/{service}",')
    routes = {p for _, p in re.findall(r'\{ "([A-Z]+)",\s+"([^"]+)",\s+CONTROL_', text)}
    for extra in sorted(routes - set(ROUTES)):
        raise Failed(f"    {extra}: what command does the same? Add it to ROUTES")
    for gone in sorted(set(ROUTES) - routes):
        raise Failed(f"    {gone} is no route any more")
    commands = {name for path in glob.glob(os.path.join(ROOT_DIR, "cli/*.c"))
                for name in re.findall(r'\{ (?:\.name = )?"([a-z][a-z -]*)",', open(path, encoding="utf-8").read())}
    for route, names in ROUTES.items():
        for name in names if isinstance(names, list) else []:
            if name not in commands:
                raise Failed(f"    {route}: there is no command {name}")
    sources = "".join(open(p, encoding="utf-8").read() for p in glob.glob(os.path.join(ROOT_DIR, "cli/*.c")))
    sources += "".join(open(p, encoding="utf-8").read() for p in glob.glob(os.path.join(ROOT_DIR, "common/manager*.c")))
    all_verbs = verbs()
    if len(all_verbs) < 100:
        raise Failed(f"    only {len(all_verbs)} verbs were found")
    for verb, path in sorted(all_verbs.items()):
        if f'"{verb}"' not in sources and verb not in NO_COMMAND and not verb.startswith(NOT_SERVICES):
            raise Failed(f"    {verb} ({path}) is called by no command of the tool")


def word_of(form):
    """As common/reason.c makes it."""
    form = re.sub(r"%[-+ #0123456789.*hljztL]*[a-zA-Z]", "\0", form.replace("%%", "\1"))
    form = form.replace("\1", "-").lower().replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", form).lstrip("-")[:71].rstrip("-")


@case("each reason that the catalogues translate is a sentence that there is")
def _(w):
    forms = set()
    for folder in ("common", "turn", "tunnel", "tunnel/server", "tunnel/agent", "sip-proxy", "gateway", "console", "stun"):
        for path in glob.glob(os.path.join(ROOT_DIR, folder, "*.c")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            text = re.sub(r'"\s*\n\s*"', "", text)  # strings that go on in the next line
            forms |= {word_of(json.loads('"' + s + '"')) for s in re.findall(r'"((?:[^"\\\n]|\\["\\nrt])*)"', text)}
    with open(os.path.join(ROOT_DIR, "console/web/src/lang/en.json"), encoding="utf-8") as f:
        for key in json.load(f):
            if key.startswith("reason.") and key[len("reason."):] not in forms:
                raise Failed(f"    {key}: no service says such a thing")


@case("accounts, tokens, sessions and the audit by the tool, with the API's rules")
def _(w):
    w.console()
    alice = w.first()
    w.ask("console", "users", "add", "bob", "--role", "operator", stdin=PASSWORD + "\n").exits(0).says("bob is made")
    w.ask("console", "users", "add", "bob", stdin=PASSWORD + "\n").exits(1).says("there is an account of this name")
    w.ask("console", "users", "add", "eve", stdin="short\n").exits(1).says("10 to 256")
    w.ask("console", "users", "add", "eve", "--role", "king", stdin=PASSWORD + "\n").exits(1).says("viewer, operator or administrator")
    bob = w.client()
    bob.login("bob").is_(200)
    w.ask("console", "sessions").exits(0).says("alice", "bob")
    w.ask("console", "users").exits(0).says("alice", "administrator", "bob", "operator")
    w.ask("console", "users", "set", "bob", "--role", "viewer").exits(0)
    bob.get("/api/v1/me").is_(401)  # whose role has changed logs in again
    bob.login("bob").is_(200)
    bob.post("/api/v1/tests").is_(403)
    w.ask("console", "users", "set", "alice", "--role", "viewer").exits(1).says("last administrator")
    w.ask("console", "users", "set", "bob").exits(2)
    w.ask("console", "users", "delete", "nobody").exits(1).says("no account")
    token = w.ask("console", "tokens", "add", "ci", "--role", "viewer", "--days", "7", "--json").exits(0)
    token = json.loads(token.out)
    by_token = w.client(token=token["token"])
    by_token.get("/api/v1/services").is_(200)
    by_token.get("/api/v1/users").is_(403)
    w.ask("console", "tokens").exits(0).says("ci", "viewer", "read")
    w.ask("console", "tokens", "delete", token["id"]).exits(0)
    by_token.get("/api/v1/services").is_(401)
    rows = json.loads(w.ask("console", "sessions", "--json").exits(0).out)
    mine = [r["id"] for r in rows if r["user"] == "bob"][0]
    w.ask("console", "sessions", "end", mine[:16]).exits(0)
    bob.get("/api/v1/me").is_(401)
    w.ask("console", "sessions", "end", "zzz").exits(1).says("there is no session")
    odd = "a b%?#ü"
    w.ask("console", "users", "add", odd, stdin=PASSWORD + "\n").exits(0)
    w.ask("console", "users", "delete", odd).exits(0)
    w.ask("console", "users", "delete", "bob").exits(0)
    w.ask("console", "audit").exits(0).says("console.user")
    w.ask("console", "api", "GET", "/api/v1/users").exits(0).says("alice")
    w.ask("console", "api", "GET", "/api/v1/services").exits(1).says("another way")
    w.ask("console", "api", "GET", "/api/v1/nothing").exits(1)
    w.ask("console", "api", "POST", "/api/v1/users", "[]").exits(2)
    w.ask("console", "api", "POST", "/api/v1/users", "{}").exits(1)
    alice.get("/api/v1/me").is_(200)
    who = {r["who"] for r in alice.get("/api/v1/audit").is_(200).json["rows"]}
    if not any(re.search(r"uid \d+", x) for x in who):
        raise Failed(f"    {who}")


@case("objects of a store are made, changed and deleted by the tool, with their revision")
def _(w):
    w.console()
    w.turn()
    turn = ("config", "put", "turn", "turn.user", "carol")
    w.ask(*turn, stdin=json.dumps({"password": "long enough for it"})).exits(0)
    w.ask("config", "objects", "turn").exits(0).says("turn.user", "setting")
    rows = json.loads(w.ask("config", "objects", "turn", "turn.user").exits(0).out)
    if [r["key"] for r in rows] != ["carol"] or "long enough" in json.dumps(rows):
        raise Failed(f"    {rows}")
    w.ask(*turn, '{"password": "another long word"}', "--revision", "0").exits(1)
    w.ask(*turn, '{"password": "another long word"}', "--revision", str(rows[0]["revision"])).exits(0)
    w.ask(*turn, '{"nothing": 1}').exits(1)
    w.ask(*turn, "[]").exits(2)
    w.ask("config", "put", "turn", "no.kind", "x", "{}").exits(1)
    w.ask("config", "delete", "turn", "turn.user", "carol", "--confirm-within", "60s").exits(0).says("unless you keep it")
    w.ask("config", "confirm", "turn").exits(0)
    if json.loads(w.ask("config", "objects", "turn", "turn.user").exits(0).out):
        raise Failed("    it is still there")


@case("stile test says with --json --follow which test has begun, and each result as it comes; the API passes both on")
def _(w):
    w.console()
    w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    lines = [json.loads(line) for line in w.ask("test", "--json", "--follow").out.splitlines() if line.startswith("{")]
    begun, results = [r for r in lines if "begins" in r], [r for r in lines if "good" in r]
    if not begun or len(begun) != len(results) or begun[0]["number"] != 1 or begun[-1]["number"] != begun[-1]["of"]:
        raise Failed(f"    {lines}")
    run = "/api/v1/tests/" + str(alice.post("/api/v1/tests", {"what": "all"}).is_(202).json["id"])
    seen = set()

    def done():
        got = alice.get(run).is_(200).json
        if got["progress"]:
            seen.add(got["progress"]["number"])
        if any("begins" in r for r in got["results"]):
            raise Failed(f"    {got}")
        return got if got["done"] else None
    got = wait_for("the end of the tests", done, 120)
    if len(got["results"]) != got["progress"]["of"] or not seen:
        raise Failed(f"    {got}")


if __name__ == "__main__":
    sys.exit(main(31600))
