# SPDX-License-Identifier: Apache-2.0
"""What the cases of the console share: the world of tests/admin with a stile-console and other services in it, and an HTTP
client that keeps cookie and CSRF token as a browser's page would.

    w.console()                     # stile.yaml, started
    alice = w.first()               # the first administrator, logged in
    alice.get("/api/v1/services").is_(200)

Ports of a case, from w.base on: 0 and 1 stile-turn's, 2 the console's, 3 /metrics, 10-39 relays."""
import http.client
import json
import os
import ssl
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
import world  # noqa: E402
from world import BUILD, ROOT, Failed, Skipped, World, case, wait_for  # noqa: E402, F401

CONSOLE = os.path.join(BUILD, "console/stile-console")
PASSWORD = "correct horse battery"
PATIENCE = 30  # of a client: longer than any time-out of the console's that a test waits for


def main(first_port):
    world.World = ConsoleWorld
    return world.main(first_port)


class Answer:
    def __init__(self, said, status, headers, body):
        self.said, self.status, self.headers, self.body = said, status, headers, body

    def __repr__(self):
        return f"{self.said}: {self.status} {self.body[:400]!r}"

    def is_(self, status, code=None):
        if self.status != status:
            raise Failed(f"    expected {status}: {self!r}")
        if code is not None and self.json["error"]["code"] != code:
            raise Failed(f"    expected the code {code}: {self!r}")
        return self

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failed(f"    this is no JSON: {self!r}") from None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


class Client:
    """One user; each request has a connection of its own."""

    def __init__(self, port, tls=None, token=None):
        self.port, self.tls, self.token, self.cookie, self.csrf = port, tls, token, None, None

    def connection(self):
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def headers(self, method):
        h = {}
        if self.token:
            h["Authorization"] = "Bearer " + self.token
        if self.cookie:
            h["Cookie"] = "__Host-stile=" + self.cookie
            if method != "GET" and self.csrf:
                h["X-Stile-CSRF"] = self.csrf
        return h

    def ask(self, method, path, body=None, **more):
        headers = {**self.headers(method), **more}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        c = self.connection()
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            answer = Answer(f"{method} {path}", r.status, dict(r.getheaders()), r.read())
        finally:
            c.close()
        for part in answer.headers.get("Set-Cookie", "").split(";"):
            if part.strip().startswith("__Host-stile="):
                self.cookie = part.strip().split("=", 1)[1] or None
        return answer

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, {} if body is None else body, **more)

    def put(self, path, body, **more):
        return self.ask("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.ask("DELETE", path, **more)

    def login(self, user, password=PASSWORD, **more):
        answer = self.post("/api/v1/login", {"user": user, "password": password, **more})
        if answer.status == 200:
            self.csrf = answer.json["csrf"]
        return answer


class Stream:
    """Server-sent events of a client, read as they come."""

    def __init__(self, client, topics, last=None, flow=None):
        """flow: (path, arguments) of a verb whose progress is wanted."""
        self.c = client.connection()
        if flow:
            self.c.request("POST", flow[0], json.dumps(flow[1]), {**client.headers("POST"), "Accept": "text/event-stream",
                                                                   "Content-Type": "application/json"})
        else:
            headers = client.headers("GET")
            if last:
                headers["Last-Event-ID"] = last
            self.c.request("GET", "/api/v1/events?topics=" + topics, headers=headers)
        self.r = self.c.getresponse()
        self.status, self.last = self.r.status, last

    def next(self):
        """(event, data) of the next one; None at the end."""
        event, data = "message", []
        while True:
            line = self.r.readline()
            if not line:
                return None
            line = line.decode().rstrip("\n")
            if not line and data:
                return event, json.loads("\n".join(data))
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                self.last = value

    def until(self, wanted, of=lambda data: True):
        """The data of the next event of this name of which it holds."""
        while True:
            got = self.next()
            if got is None:
                raise Failed(f"    the stream ended before {wanted}")
            if got[0] == wanted and of(got[1]):
                return got[1]

    def close(self):
        self.r.close()
        self.c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ConsoleWorld(World):
    binary, full, patience = CONSOLE, "stile-console", world.PATIENCE

    @property
    def web(self):
        return self.base + 2

    def console_config(self, **keys):
        """console.yaml; keys replace those of the console section; None leaves one out."""
        console = {"listen": f'"127.0.0.1:{self.web}"', "metrics": f'{{ listen: "127.0.0.1:{self.base + 3}" }}'}
        console.update(keys)
        lines = "".join(f"  {k}: {v}\n" for k, v in console.items() if v is not None)
        return self.write("console.yaml", f"log: {{ level: debug, dir: {self.path('log')} }}\nstore: {{ path: {self.path('store')} }}\n"
                          f"console:\n{lines}")

    def console(self, *options, **keys):
        self.console_config(**keys)
        return self.start("console.yaml", *options)

    def turn(self, instance=None, **keys):
        """A stile-turn beside it."""
        self.config(tls=False, **keys)
        return self.beside(world.TURN, "stile-turn", *(["--instance", instance] if instance else []))

    def beside(self, binary, full, *options):
        """Another service, by stile.yaml."""
        self.binary, self.full = binary, full
        try:
            return self.start("stile.yaml", *options)
        finally:
            del self.binary, self.full

    def client(self, **more):
        return Client(self.web, **more)

    def first(self, user="alice"):
        """The first administrator, logged in."""
        c = self.client()
        token = self.verb("console.setup")["token"]
        c.csrf = c.post("/api/v1/setup", {"token": token, "user": user, "password": PASSWORD}).is_(200).json["csrf"]
        return c

    def user(self, admin, name, role):
        """Another account, logged in."""
        admin.post("/api/v1/users", {"name": name, "role": role, "password": PASSWORD}).is_(200)
        c = self.client()
        c.login(name).is_(200)
        return c

    def reached(self, client, service, state="running"):
        """The console knows this service in this state; its row."""
        def look():
            rows = client.get("/api/v1/services").is_(200).json["services"]
            return [r for r in rows if r["service"] == service and r["state"] == state and (state != "running" or r.get("pid"))]
        row = wait_for(f"{service} {state}", look)[0]
        if state == "running":  # its verbs are asked for after that
            wait_for(f"the verbs of {service}", lambda: client.get(f"/api/v1/services/{service}/verbs").status == 200)
        return row


def trusting(folder, ca, cert=None):
    """A TLS context of a client that trusts this CA, and shows this certificate."""
    c = ssl.create_default_context(cafile=os.path.join(folder, ca + ".pem"))
    c.check_hostname = False
    if cert:
        c.load_cert_chain(os.path.join(folder, cert + ".pem"), os.path.join(folder, cert + ".key"))
    return c
