#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What can happen to services and console under an open Overview: starts, stops, restarts and drains by `stile supervise`, a service that
answers late, a certificate that ends, two hundred open streams, and a change that cuts the console off. argv[1] chooses cases."""
import http.client
import os
import signal
import ssl
import sys
import time

from page_world import PageWorld, run, wait_for
from turn_client import Client

STREAMS = 200


class Happenings(PageWorld):
    def begin(self):
        self.clients, self.streams = [], []
        now = time.time()
        self.certificate(valid=tuple(time.strftime("%y%m%d%H%M%SZ", time.gmtime(now + d * 86400)) for d in (-1, 10.5)))
        self.certificate(name="web")
        self.config(top=f'console: {{ listen: "127.0.0.1:{self.web}", streams: {STREAMS}, connections: 1000, certificate: web.pem, key: web.key }}\n')
        self.supervised("turn")

    def do_pid(self):
        return wait_for("stile-turn", lambda: self.status("stile-turn"))["pid"]

    def do_client(self):
        """An allocation that lives until do_leave()."""
        c = Client(self.base, "alice", "wonderland")
        c.allocate()
        self.clients.append(c)

    def do_leave(self):
        for c in self.clients:
            c.refresh(0)
            c.__exit__()
        self.clients = []

    def do_freeze(self):
        os.kill(self.do_pid(), signal.SIGSTOP)

    def do_thaw(self, pid):
        os.kill(pid, signal.SIGCONT)

    def do_streams(self, cookie, more):
        """As many pages of others as the console takes, or their end."""
        while self.streams:
            self.streams.pop().close()
        for _ in range(STREAMS if more else 0):
            c = self.connection()
            c.request("GET", "/api/v1/events?topics=console:services", headers={"Cookie": cookie})
            if c.getresponse().status != 200:
                raise OSError(f"stream {len(self.streams)} is refused")
            self.streams.append(c)
        wait_for("the streams", lambda: (self.verb("console.status", full="stile-console")["streams"] >= STREAMS) == more)

    def connection(self):
        """Of who has no certificate and asks for none."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.web, timeout=30, context=context)

    def do_reached(self):
        """Whether a browser that comes now reaches the console."""
        c = self.connection()
        try:
            c.request("GET", "/healthz")
            return c.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            c.close()

    def end(self):
        self.do_streams("", False)
        super().end()


if __name__ == "__main__":
    sys.exit(run(Happenings, "pages_overview.mjs", 18700))
