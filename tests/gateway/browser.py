# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium as the customer of a real share: browser → stile-gateway → stile-tunnel → stile-agent → stile share. Downloads and
uploads, broken off on the way and gone on with, compared by their hashes; folders, words, and what the page says when the
sender's machine is asleep.

  STILE_BUILD=build tests/gateway/browser.py --full    # 1 GB each way instead of some 20 MB"""
import json
import os
import socket
import sys
import threading
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "share"), os.path.join(HERE, "..", "interop")]
from share_world import Failed, case, fill, main, own_address, share, sha, wait_for  # noqa: E402
from chromium import Browser  # noqa: E402
from tunnel_world import BUILD  # noqa: E402

FULL = "--full" in sys.argv
MB = 1 << 20
SIZE = 1024 * MB if FULL else 20 * MB
PATIENCE = 900 if FULL else 120
GATEWAY = os.path.join(BUILD, "gateway/stile-gateway")


class Way:
    """A way between browser and gateway that breaks: each connection is cut when so many bytes have gone down (or up), as long as
    there are entries in cut_down (cut_up); asleep: nothing goes on, and nothing is closed; lose: (bytes, how often):
    when so much has gone up, a connection is cut instead of bringing something down."""

    def __init__(self, port, to):
        self.to, self.cut_down, self.cut_up, self.cuts, self.asleep, self.lose = to, [], [], 0, False, (0, 0)
        self.carried = [0, 0]
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen(64)
        self.lock = threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return  # closed
            try:
                s = socket.create_connection(("127.0.0.1", self.to), 20)
            except OSError:
                c.close()  # as if the gateway had refused
                continue
            s.settimeout(None)
            for way, (a, b) in enumerate(((s, c), (c, s))):
                threading.Thread(target=self.carry, args=(way, a, b), daemon=True).start()

    def carry(self, way, a, b):
        cuts, mine = (self.cut_down, self.cut_up)[way], 0
        try:
            while True:
                data = a.recv(65536)
                while self.asleep:
                    time.sleep(0.05)
                mine += len(data)
                with self.lock:
                    self.carried[way] += len(data)
                    lost = data and way == 0 and self.lose[1] and self.carried[1] >= self.lose[0]
                    cut = lost or (bool(cuts) and mine > cuts[0])
                    if lost:
                        self.lose = (self.lose[0], self.lose[1] - 1)
                    elif cut:
                        cuts.pop(0)
                    self.cuts += bool(cut)
                if not data or cut:
                    break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Page:
    """One tab, on the link of a share."""

    def __init__(self, browser, url):
        self.b = browser
        self.target = browser.call("Target.createTarget", {"url": url})["targetId"]
        self.session = browser.call("Target.attachToTarget", {"targetId": self.target, "flatten": True})["sessionId"]
        browser.call("Runtime.enable", session=self.session)

    def js(self, expression, timeout=60):
        return self.b.evaluate(self.session, expression, timeout)

    def says(self, selector):
        return self.js(f"(document.querySelector({json.dumps(selector)}) || {{}}).textContent") or ""

    def state(self, want, seconds=60):
        wait_for(f"the page is {want}", lambda: self.js("document.querySelector('#state') && document.querySelector('#state').dataset.state") == want, seconds)
        return self

    def line(self, table, want, seconds=PATIENCE, n=0):
        """Until the n-th line of a table is in this state."""
        def look():
            row = f"document.querySelectorAll('#{table} tr')[{n}]"
            have = self.js(f"{row} && {row}.dataset.state")
            if have == "failed" and want != "failed":
                raise Failed(f"    it failed: {self.js(f'{row}.textContent')}")
            return have == want
        wait_for(f"line {n} of {table} is {want}", look, seconds)

    def click(self, selector, n=0):
        self.js(f"document.querySelectorAll({json.dumps(selector)})[{n}].click()")

    def choose(self, *paths):
        self.b.call("DOM.enable", session=self.session)
        root = self.b.call("DOM.getDocument", session=self.session)["root"]["nodeId"]
        node = self.b.call("DOM.querySelector", {"nodeId": root, "selector": "#pick"}, self.session)["nodeId"]
        self.b.call("DOM.setFileInputFiles", {"files": list(paths), "nodeId": node}, self.session)

    def close(self):
        self.b.call("Target.closeTarget", {"targetId": self.target})


class Set:
    """A server, the sender's agent, a gateway, the way to it, and a browser that keeps its downloads in w.path("got")."""

    def __init__(self, w):
        self.w, self.port, self.browser = w, w.base + 3, None
        w.certificate()
        w.server(gateway=f'"unix:{w.path("door.sock")}"', gateway_url=f'"https://localhost:{self.port}"')
        w.agent("site")
        w.connected("site")
        w.write("gateway.yaml", f"log: {{ level: debug, dir: {w.path('log')} }}\ngateway:\n  listen: \"tls:127.0.0.1:{w.base + 2}\"\n"
                                f"  certificate: server.pem\n  key: server.key\n  tunnel: {w.path('door.sock')}\n")
        self.gateway = self.start_gateway()
        self.way = Way(self.port, w.base + 2)
        os.makedirs(w.path("got"), exist_ok=True)

    def start_gateway(self):
        s = self.w.program([GATEWAY, "-c", self.w.path("gateway.yaml")], "stile-gateway")
        s.wait_ready()
        return s

    def open(self, link):
        if not self.browser:
            self.browser = Browser()
            self.browser.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": self.w.path("got")})
        return Page(self.browser, link)

    def got(self, name, path, seconds=PATIENCE):
        """The download is there, and the same."""
        have = os.path.join(self.w.path("got"), name)
        wait_for(f"{name} is there", lambda: os.path.exists(have) and not [f for f in os.listdir(self.w.path("got")) if f.endswith(".crdownload")], seconds)
        if path and sha(have) != sha(path):
            raise Failed(f"    {name} is not the same: {os.path.getsize(have)} bytes")
        return have

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.browser:
            self.browser.close()
        self.way.close()


@case("a file comes down as it was sent, broken off on the way and gone on with, and its checksum is the sender's")
def _(w):
    path = fill(w.path("out/report ä (1).bin"), SIZE + 12345)
    with Set(w) as s, share(w, path) as t:
        page = s.open(t.link).state("ready")
        if "report" not in page.says("#title"):
            raise Failed(f"    {page.says('#title')}")
        s.way.cut_down[:] = [SIZE // 5, SIZE // 4]
        page.click("#entries button")
        page.line("entries", "done")
        if s.way.cuts != 2:
            raise Failed(f"    it was cut {s.way.cuts} times")
        s.got(os.path.basename(path), path)
        wait_for("the checksum is compared", lambda: page.js("document.querySelector('.hash').classList.contains('good')"))
        if sha(path) not in page.says(".hash"):
            raise Failed(f"    {page.says('.hash')}")
        for language, word in (("de", "Prüfsumme"), ("it", "somma di controllo"), ("en", "checksum")):
            page.js(f"(() => {{ const l = document.querySelector('#language'); l.value = '{language}'; l.dispatchEvent(new Event('change')); }})()")
            if word not in page.says(".hash"):
                raise Failed(f"    {language}: {page.says('.hash')}")


@case("a file goes up, broken off and gone on with, and again after the page was closed in its middle")
def _(w):
    path, other = fill(w.path("mine/photo ß.bin"), SIZE + 999), fill(w.path("mine/second.bin"), SIZE + 7, b"y")
    os.makedirs(w.path("in"))
    with Set(w) as s, share(w, "--upload", w.path("in")) as t:
        page = s.open(t.link).state("ready")
        s.way.cut_up[:] = [SIZE // 3]
        page.choose(path)
        page.line("uploads", "done")
        if s.way.cuts < 1:
            raise Failed("    it was not cut")
        t.event("uploaded", name="photo ß.bin")
        if sha(w.path("in/photo ß.bin")) != sha(path):
            raise Failed("    it is not the same")
        if "good" not in page.js("document.querySelector('#uploads .hash').className") or sha(path) not in page.says("#uploads .hash"):
            raise Failed(f"    {page.says('#uploads .hash')}")
        before = s.way.carried[1]
        s.way.cut_up[:] = [SIZE // 2]
        page.choose(other)
        wait_for("it is cut", lambda: s.way.cuts >= 2, PATIENCE)
        s.way.asleep = True
        page.close()
        s.way.asleep = False
        again = s.open(t.link).state("ready")
        again.choose(other)
        again.line("uploads", "done")
        if sha(w.path("in/second.bin")) != sha(other):
            raise Failed("    it is not the same")
        if s.way.carried[1] - before > 1.6 * SIZE:
            raise Failed(f"    {s.way.carried[1] - before} bytes went for {SIZE}: it began anew")


def salts(page):
    """Of the uploads that this page has asked for."""
    return set(page.js("performance.getEntriesByType('resource').map((e) => e.name).filter((n) => n.includes('/u/')).map((n) => n.split('/u/')[1])"))


@case("no two contents of uploads meet one salt: files alike in name, size and date, at once or one after the other")
def _(w):
    size, date = 9 * MB, time.time_ns()
    paths = [fill(w.path(f"mine/{n}/x.bin"), size, n.encode()) for n in ("a", "b")]
    for path in paths:
        os.utime(path, ns=(date, date))
    os.makedirs(w.path("in"))
    with Set(w) as s, share(w, "--upload", w.path("in")) as t:
        page = s.open(t.link).state("ready")
        page.choose(*paths)
        for n in (0, 1):
            page.line("uploads", "done", n=n)
        got = {sha(os.path.join(w.path("in"), name)) for name in os.listdir(w.path("in"))}
        if got != {sha(p) for p in paths} or len(salts(page)) != 2:
            raise Failed(f"    {os.listdir(w.path('in'))} by {salts(page)}")
        page.close()
        page = s.open(t.link).state("ready")
        s.way.cut_up[:] = [MB] * 20
        page.choose(paths[0])
        wait_for("it is cut", lambda: s.way.cuts, PATIENCE)
        s.way.asleep = True
        other = fill(w.path("mine/other"), size, b"c")
        os.utime(other, ns=(date, date))
        os.replace(other, paths[0])
        s.way.asleep = False
        page.line("uploads", "failed")
        if "changed meanwhile" not in page.says("#uploads .note"):
            raise Failed(f"    {page.says('#uploads .note')}")
        s.way.cut_up[:] = []
        before = salts(page)
        page.close()
        page = s.open(t.link).state("ready")
        page.choose(paths[0])
        page.line("uploads", "done")
        if not before or len(salts(page)) != 1 or salts(page) & before:
            raise Failed(f"    {salts(page)} after {before}")
        if sha(paths[0]) not in {sha(os.path.join(w.path("in"), name)) for name in os.listdir(w.path("in"))}:
            raise Failed("    it is not the same")


@case("an upload that a gateway would have go on within a record does not, for it would go under another one's number")
def _(w):
    path = fill(w.path("mine/x.bin"), MB)
    os.makedirs(w.path("in"))
    with Set(w) as s, share(w, "--upload", w.path("in")) as t:
        page = s.open(t.link).state("ready")
        page.js("""{ const real = window.fetch; window.asked = []; window.fetch = async (url, o) => {
            const r = await real(url, o);
            window.asked.push(o.method);
            return o.method === "POST" ? new Response(null, { status: 200, headers: { "Upload-Offset": "32776" } }) : r; }; }""")
        page.choose(path)
        wait_for("it has failed, or goes on", lambda: page.js("asked.includes('PUT') || document.querySelector('#uploads tr').dataset.state === 'failed'"))
        if page.js("asked.includes('PUT')") or "altered" not in page.says("#uploads .note"):
            raise Failed(f"    {page.says('#uploads .note')}")


@case("an upload whose last answer is lost on the way is known to be there, with its checksum, and is there once")
def _(w):
    path = fill(w.path("mine/small.bin"), 100000)
    os.makedirs(w.path("in"))
    with Set(w) as s, share(w, "--upload", w.path("in")) as t:
        page = s.open(t.link).state("ready")
        s.way.lose = (s.way.carried[1] + 100000, 6)  # a browser asks some times by itself
        page.choose(path)
        t.event("uploaded", name="small.bin")
        page.line("uploads", "done")
        if s.way.cuts != 6:
            raise Failed(f"    the answer was lost {s.way.cuts} times")
        if "good" not in page.js("document.querySelector('#uploads .hash').className") or sha(path) not in page.says("#uploads .hash"):
            raise Failed(f"    {page.says('#uploads .hash')}")
        if os.listdir(w.path("in")) != ["small.bin"]:
            raise Failed(f"    {os.listdir(w.path('in'))}")
        for fragment in ("#%", "#%ff"):
            again = s.open(t.link.partition("#")[0] + fragment)
            wait_for("a link that is none is told", lambda: "#" in again.says("#state"))


@case("a folder: each file, and all of it as one ZIP; names of every kind")
def _(w):
    top = w.path("out/folder")
    names = {"a.txt": 10, "deep/b ü.bin": 3 * MB + 1, "empty": 0, "whole": 65536, "quo\"te'&<b>.txt": 7}
    for name, size in names.items():
        fill(os.path.join(top, name), size, name.encode())
    with Set(w) as s, share(w, top) as t:
        page = s.open(t.link).state("ready")
        listed = page.js("Array.from(document.querySelectorAll('#entries .name'), (e) => e.textContent)")
        if sorted(n for n in listed if not n.endswith(".zip")) != sorted(names):
            raise Failed(f"    {listed}")
        for name in ("deep/b ü.bin", "empty", "whole"):
            page.click("#entries tr button", listed.index(name))
            page.line("entries", "done", n=listed.index(name))
            s.got(os.path.basename(name), os.path.join(top, name))
        page.click("#all")
        page.line("entries", "done", n=listed.index("folder.zip"))
        with zipfile.ZipFile(s.got("folder.zip", None)) as z:
            if z.testzip() is not None:
                raise Failed("    the ZIP is broken")
            for name in names:
                with open(os.path.join(top, name), "rb") as f:
                    if z.read("folder/" + name) != f.read():
                        raise Failed(f"    {name} is another one in the ZIP")


@case("port-forwarding mode: the same page by plain http, which says so; downloads by the browser itself, uploads in pieces")
def _(w):
    path, mine = fill(w.path("out/plain ä.bin"), 9 * MB + 5), fill(w.path("mine/up.bin"), 9 * MB + 3)
    os.makedirs(w.path("in"))
    octet = int(own_address().rsplit(".", 1)[1])
    w.write("forward.yaml", "share: { port_mapping: false, test: false }\n")
    with Set(w) as s, share(w, path, "--upload", w.path("in"), "--forward", "--base-port", str(w.base + 9 - octet), "-c", w.path("forward.yaml")) as t:
        page = s.open(t.link).state("ready")
        if not t.link.startswith(f"http://{own_address()}:{w.base + 9}/s/") or "without encryption" not in page.says("#privacy"):
            raise Failed(f"    {t.link}: {page.says('#privacy')}")
        page.click("#entries button")
        s.got("plain ä.bin", path)
        page.choose(mine)
        page.line("uploads", "done")
        if sha(w.path("in/up.bin")) != sha(mine):
            raise Failed("    the upload is not the same")


@case("a sender who is asleep is waited for; a wrong link, and a share that is over, are said in words")
def _(w):
    path = fill(w.path("out/small.bin"), 100000)
    with Set(w) as s:
        with share(w, path) as t:
            w.ask_agent("site", "agent", "disconnect").exits(0)
            wait_for("it is gone", lambda: not w.link("site"))
            page = s.open(t.link).state("waiting")
            w.ask_agent("site", "agent", "connect").exits(0)
            page.state("ready", 90)
            page.click("#entries button")
            page.line("entries", "done")
            s.got("small.bin", path)
            wrong = t.link.replace("#", "#0", 1)
            s.open(wrong).state("no_code")
        over = s.open(t.link).state("trouble")
        if "does not exist, or is over" not in over.says("#state"):
            raise Failed(f"    {over.says('#state')}")


if __name__ == "__main__":
    if FULL:
        sys.argv.remove("--full")
    sys.exit(main(22600))
