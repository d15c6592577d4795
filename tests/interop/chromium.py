# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium: two peer connections forced to relay move 10 MB over a data channel.

The browser is driven over --remote-debugging-pipe: the DevTools protocol as JSON with a NUL after each
message, on descriptors 3 and 4. That needs neither npm nor a driver nor a port."""
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time

from harness import PASSWORD, USER, Failed

FLAGS = ["--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-gpu", "--disable-quic",
         "--disable-dev-shm-usage", "--disable-features=WebRtcHideLocalIpsWithMdns",
         "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
         "--disable-backgrounding-occluded-windows", "--allow-loopback-in-peer-connection",
         "--force-webrtc-ip-handling-policy=default", "--autoplay-policy=no-user-gesture-required",
         "--ignore-certificate-errors", "--remote-debugging-pipe"]
PAGE = "file://" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "chromium.html")
# The browser without its windows takes half the CPU time of the whole one.
PROGRAM = shutil.which("chromium-headless-shell") or "chromium"
MEGABYTES = 10
one_browser = threading.Lock()  # a browser wants both cores of a small machine


def high_pipe():
    """A pipe on descriptors from 10 on, so that placing its ends on 3 and 4 overwrites neither."""
    pair = os.pipe()
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in pair]
    for fd in pair:
        os.close(fd)
    return moved


class Browser:
    """prefix: what the browser is started by, as "ip netns exec NAME"."""

    def __init__(self, prefix=()):
        self.prefix = list(prefix)
        self.profile = tempfile.mkdtemp(prefix="stile-chromium-")
        self.buffer, self.last_id, self.process = b"", 0, None
        to_read, self.to = high_pipe()
        self.at, from_write = high_pipe()
        try:
            self.process = self._spawn(to_read, from_write)
        except OSError as e:
            self.close()
            raise Failed(f"cannot start chromium: {e.strerror} (tools/install-packages check)") from None
        finally:
            os.close(to_read)
            os.close(from_write)

    def _spawn(self, to_read, from_write):
        """The browser reads commands on descriptor 3 and writes answers on 4; a shell puts them there."""
        script = f'exec 3<&{to_read} 4>&{from_write}; exec "$@"'
        with open(os.path.join(self.profile, "stderr.log"), "wb") as err:
            return subprocess.Popen([*self.prefix, "bash", "-c", script, PROGRAM, PROGRAM, *FLAGS,
                                     f"--user-data-dir={self.profile}", "about:blank"],
                                    pass_fds=(to_read, from_write), stdin=subprocess.DEVNULL, stdout=err,
                                    stderr=err, start_new_session=True)

    def call(self, method, params=None, session=None, timeout=30):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        try:
            os.write(self.to, json.dumps(message).encode() + b"\0")
        except OSError:
            raise Failed("chromium closed its pipe: " + self.last_words()) from None
        deadline = time.monotonic() + timeout
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error'].get('message')}")
                return answer["result"]

    def _next(self, deadline, method):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.at], [], [], left)[0]:
                raise Failed(f"chromium did not answer {method} in time")
            piece = os.read(self.at, 65536)
            if not piece:
                raise Failed("chromium ended: " + self.last_words())
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def last_words(self):
        with open(os.path.join(self.profile, "stderr.log"), errors="replace") as f:
            return " / ".join(f.read().strip().splitlines()[-3:])

    def open_page(self, url):
        target = self.call("Target.createTarget", {"url": url})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Runtime.enable", session=session)
        for _ in range(400):
            if self.evaluate(session, "typeof relay === 'function' && document.readyState") == "complete":
                return session
            time.sleep(0.05)
        raise Failed(f"chromium did not load {url}")

    def evaluate(self, session, expression, timeout=30):
        result = self.call("Runtime.evaluate", {"expression": expression, "awaitPromise": True,
                                                "returnByValue": True}, session, timeout)
        if "exceptionDetails" in result:
            thrown = result["exceptionDetails"]
            raise Failed(thrown.get("exception", {}).get("description", thrown.get("text", "?")).split("\n")[0])
        return result["result"].get("value")

    def close(self):
        if self.process and self.process.poll() is None:
            try:
                self.call("Browser.close", timeout=5)
                self.process.wait(10)
            except (Failed, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, 9)  # its own session: the browser and its children only
                self.process.wait()
        os.close(self.to)
        os.close(self.at)
        shutil.rmtree(self.profile, ignore_errors=True)


def judge(result, by):
    if result["sent"] != result["received"]:
        raise Failed(f"SHA-256 of what was sent {result['sent']} and received {result['received']} differ")
    for p in result["pairs"]:
        if p != {"local": "relay", "remote": "relay", "by": by}:
            raise Failed(f"the selected pair is {p}, not relay/relay by {by}")


def relay(url, by):
    def case(server):
        servers = [{"urls": [url.format(plain=server.port, tls=server.tls_port)], "username": USER,
                    "credential": PASSWORD}]
        seconds = 60
        with one_browser:
            browser = Browser()
            try:
                page = browser.open_page(PAGE)
                result = browser.evaluate(page, f"relay({json.dumps(servers)}, {MEGABYTES * 1000 * 1000}, "
                                                f"{seconds * 1000})", seconds + 10)
            finally:
                browser.close()
        judge(result, by)
        return f"{MEGABYTES} MB in {result['ms'] / 1000:.1f} s"
    return case


def matrix():
    yield "chromium turn: over udp", True, relay("turn:127.0.0.1:{plain}?transport=udp", "udp")
    yield "chromium turn: over tcp", True, relay("turn:127.0.0.1:{plain}?transport=tcp", "tcp")
    yield "chromium turns:", True, relay("turns:localhost:{tls}?transport=tcp", "tls")
