# SPDX-License-Identifier: Apache-2.0
"""What the tests of single pages share: the console and the services that a page is about, started as an administrator would,
and the cases of pages_NAME.mjs in Chromium against them.

    class Turn(PageWorld):
        def begin(self):
            self.config(realm="example.org", top=self.console_section())
            self.service("stile-turn", TURN)
        def do_client(self, name):          # a case asks for it: await world('client', { name: 'alice' })
            ...
    sys.exit(run(Turn, "pages_turn.mjs", FIRST_PORT))

What a case asks for runs in a thread of its own, while the pages go on; what it returns is JSON, what it raises fails the case.
Ports, from self.base on: 0 and 1 stile-turn's, 3 the console's, 10-39 relays; the rest is free to use."""
import json
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
from world import AGENT, CONSOLE, SIP, TUNNEL, TURN, Failed, Server, World, wait_for  # noqa: E402, F401
from managed import Supervisor  # noqa: E402

PATIENCE = 550  # s for all cases; meson's own limit is longer


class PageWorld(World):
    """begin() starts the services, the console last or not at all (then it is started behind them)."""
    binaries = {"stile-turn": TURN, "stile-tunnel": TUNNEL, "stile-agent": AGENT, "stile-sip": SIP, "stile-console": CONSOLE}

    def __init__(self, first_port):
        super().__init__(first_port)
        self.running = {}  # program, or program@instance → Server
        self.children = []  # programs of cases that end with the world

    @property
    def web(self):
        return self.base + 3

    def console_section(self):
        return f'console: {{ listen: "127.0.0.1:{self.web}" }}\n'

    def begin(self):
        raise NotImplementedError

    def service(self, program, config="stile.yaml", *options):
        """Starts one, on this configuration; waits until it answers."""
        self.full, self.binary = program, self.binaries[program]
        s = Server(self, self.turn_argv(config, *options))
        self.servers.append(s)
        self.running[s.full] = s
        s.wait_ready()
        return s

    def status(self, full):
        """What a service says of itself, or None of one that is away."""
        try:
            return self.verb("service.status", full=full)
        except OSError:
            return None

    def supervised(self, service):
        """Looked after by `stile supervise` on stile.yaml, from here to the end; waits until it answers."""
        Supervisor(self, service)
        wait_for(f"stile-{service}", lambda: self.status(f"stile-{service}"))

    def child(self, *argv, **more):
        """A program that plays a part (a client, a phone); it ends with the world."""
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.children.append(p)
        return p

    # ---- what every page's cases may ask for ----

    def do_stop(self, service):
        """The service ends cleanly."""
        self.running[service].stop()

    def do_start(self, service):
        """The same again."""
        argv = self.running[service].argv
        full, _, _ = service.partition("@")
        self.full, self.binary = full, self.binaries[full]
        s = Server(self, argv)
        self.servers.append(s)
        self.running[service] = s
        s.wait_ready()

    def do_restart(self, service):
        self.do_stop(service)
        self.do_start(service)

    def do_kill(self, service):
        """It ends as by a fault."""
        s = self.running[service]
        s.ended = True
        s.process.kill()
        s.process.wait()

    def do_verb(self, service, verb, args=None):
        return self.verb(verb, args, full=service)

    def do_log(self, service, *texts):
        return self.logged(*texts, name=service)

    def end(self):
        for p in self.children:
            if p.poll() is None:
                p.kill()
            p.wait()
        self.stop_all()


class Asked(threading.Thread):
    """Answers the cases: one line of JSON each way over a Unix socket, {do, args} → {result} or {error}."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.path = world, world.path("cases.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s, s.makefile("rw", encoding="utf-8") as f:
                for line in f:
                    f.write(json.dumps(self.answer(json.loads(line))) + "\n")
                    f.flush()

    def answer(self, asked):
        try:
            return {"result": getattr(self.world, "do_" + asked["do"])(**asked.get("args", {}))}
        except Failed as e:
            return {"error": str(e)}
        except Exception as e:  # pylint: disable=broad-except  # whatever it was, the case must fail with it
            return {"error": f"{type(e).__name__}: {e}"}


def run(kind, cases, first_port):
    """Status of the cases; argv[1] chooses by a part of their sentence."""
    try:
        with kind(first_port) as w:
            w.begin()
            if "stile-console" not in w.running:
                w.service("stile-console")
            setup = w.verb("console.setup", full="stile-console")
            asked = Asked(w)
            asked.start()
            env = {**os.environ, "STILE_URL": setup["url"], "STILE_TOKEN": setup["token"], "STILE_CASES": asked.path,
                   "STILE_BASE": str(w.base), "STILE_FOLDER": w.folder, "NODE_NO_WARNINGS": "1"}
            done = subprocess.run(["node", os.path.join(HERE, cases), *sys.argv[1:]], env=env, stdin=subprocess.DEVNULL, timeout=PATIENCE)
            asked.listener.close()
            w.end()
            return done.returncode
    except (Failed, OSError, subprocess.SubprocessError) as e:
        print(f"[  FAILED  ] the services of {cases}\n{e}")
        return 1
