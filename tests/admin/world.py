# SPDX-License-Identifier: Apache-2.0
"""What the cases of an administrator share: a folder with configuration and certificate, the programs
of a build, and a runner that prints a line a case as cmocka does, so that tools/summary counts them.

A case is a function with a sentence. It runs the real programs and judges what they print and their exit
status. Everything runs on loopback, on ports of the script's own; only what was started here is stopped."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from harness import port_is_free  # noqa: E402
from outcome import PATIENCE, SANITIZER, Failed, Skipped, wait_for  # noqa: E402, F401

BUILD = os.environ.get("STILE_BUILD", "build")
TURN, STILE = os.path.join(BUILD, "turn/stile-turn"), os.path.join(BUILD, "cli/stile")
TUNNEL = os.path.join(BUILD, "tunnel/stile-tunnel")
AGENT = os.path.join(BUILD, "tunnel/stile-agent")
GATEWAY = os.path.join(BUILD, "gateway/stile-gateway")
FASTPATH = os.path.join(BUILD, "turn/fastpath/stile-fastpath")
SIP = os.path.join(BUILD, "sip-proxy/stile-sip")
CONSOLE = os.path.join(BUILD, "console/stile-console")
ROOT = os.getuid() == 0
SECRET = "shared-secret-of-the-rest-api"
PORTS = 40
BIND_ALONE = "0000000000000400"  # CAP_NET_BIND_SERVICE, as /proc/PID/status writes it
CASES = []
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")


def case(sentence):
    def keep(fn):
        CASES.append((sentence, fn))
        return fn
    return keep


def main(first_port):
    """Runs every case of the script (or those whose sentence holds argv[1]); status 1 if one failed."""
    failed = 0
    for sentence, fn in CASES:
        if fn.__module__ != "__main__":
            continue  # of a script that this one imports
        if len(sys.argv) > 1 and sys.argv[1] not in sentence:
            continue
        began, verdict, why = time.monotonic(), "       OK ", ""
        try:
            with World(first_port) as w:
                fn(w)
                w.stop_all()
        except Skipped as e:
            verdict, why = "  SKIPPED ", f": {e}"
        except Failed as e:
            verdict, why = "  FAILED  ", f"\n{e}"
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError) as e:
            verdict, why = "  FAILED  ", f"\nthe case broke: {type(e).__name__}: {e}"
        failed += verdict == "  FAILED  "
        print(f"[{verdict}] {sentence}", flush=True)
        if why:
            print(why.lstrip("\n"), flush=True)
        if time.monotonic() - began > 5:
            print(f"  ({time.monotonic() - began:.1f} s)", flush=True)
    return 1 if failed else 0


class Said:
    """What a program said and how it ended."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def fail(self, what):
        raise Failed(f"    {what}\n    $ {' '.join(self.argv)}\n    status {self.status}\n"
                     + "".join(f"    | {line}\n" for line in (self.out + self.err).splitlines()))

    def exits(self, status):
        if self.status != status:
            self.fail(f"expected exit status {status}")
        return self

    def says(self, *texts):
        """In this order, anywhere in what was printed; a text that begins with ~ is a pattern."""
        rest = self.err + self.out
        for t in texts:
            found = re.search(t[1:] if t[0] == "~" else re.escape(t), rest)
            if not found:
                self.fail(f"expected (here or in this order): {t}")
            rest = rest[found.end():]
        return self

    def never_says(self, *texts):
        for t in texts:
            if t in self.out + self.err:
                self.fail(f"did not expect: {t}")
        return self

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as e:
            return self.fail(f"this is no JSON: {e}")


def locked_hundreds(base):
    """Keeps the ports of base to base + PORTS ours against other runs, as tests/interop/harness.py does; None: somebody has
    some of them."""
    locks = []
    for hundred in range(base // 100 * 100, base + PORTS, 100):
        lock = socket.socket(socket.AF_UNIX)
        locks.append(lock)
        try:
            lock.bind(f"\0stile-ports-{hundred}")
        except OSError:
            for taken in locks:
                taken.close()
            return None
    return locks


def free_base(first):
    """Ports that nobody has, and what keeps them: SO_REUSEPORT would let two runs have the same. Below 32768, where those begin that
    the kernel gives to connections."""
    for step in range(39):
        base = 17000 + (first - 17000 + step * 400) % (39 * 400)
        locks = locked_hundreds(base)
        if locks and all(port_is_free(base + i) for i in range(PORTS)):
            return base, locks
        for lock in locks or []:
            lock.close()
    raise Failed(f"no free ports from {first} on")


class World:
    """Of stile-turn; the worlds of other services say what is another one there."""
    binary, full, patience = TURN, "stile-turn", PATIENCE  # the service's program, its name, seconds to wait for its log

    def __init__(self, first_port):
        self.folder = tempfile.mkdtemp(prefix="stile-admin-")
        os.chmod(self.folder, 0o711)
        self.base, self.port_locks = free_base(first_port)
        self.port, self.tls = self.base, self.base + 1
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.servers:
            s.kill()
        for lock in self.port_locks:
            lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def openssl(self, *argv):
        done = subprocess.run(["openssl", *argv], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE)
        if done.returncode:
            raise Failed(f"openssl {argv[0]}: {done.stderr.strip()}")

    def certificate(self, name="server", names="DNS:localhost,IP:127.0.0.1", valid=None):
        """NAME.pem and NAME.key; valid: (from, to) as openssl ca writes dates."""
        if os.path.exists(self.path(name + ".pem")):
            return
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")
        os.chmod(self.path(name + ".key"), 0o600)
        subject = ["-subj", "/CN=Stile test", "-key", name + ".key"]
        if not valid:
            self.openssl("req", "-x509", "-days", "90", *subject, "-addext", "subjectAltName=" + names, "-out", name + ".pem")
            return
        self.write("ca.cnf", f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.path('ca.txt')}\nserial={self.path('ca.serial')}\n"
                   f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\nx509_extensions=x\n"
                   f"[p]\ncommonName=supplied\n[x]\nsubjectAltName={names}\n")
        self.write("ca.txt", "")
        self.write("ca.serial", "01\n")
        self.openssl("req", "-new", *subject, "-out", name + ".csr")
        self.openssl("ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", name + ".key", "-in", name + ".csr",
                     "-startdate", valid[0], "-enddate", valid[1], "-notext", "-out", name + ".pem")

    def config(self, name="stile.yaml", tls=True, **keys):
        """A good configuration; keys replace those of the turn section, None leaves one out."""
        p = self.base
        turn = {
            "realm": "admin.test",
            "listen": f'["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}"'
                      + (f', "tls:127.0.0.1:{p + 1}", "dtls:127.0.0.1:{p + 1}"]' if tls else "]"),
            "relay": f"{{ addresses: [127.0.0.1], ports: {p + 10}-{p + PORTS - 1} }}",
            "users": "[ { name: alice, password: wonderland } ]",
            "secrets": f"[ {{ id: 2026a, secret: {SECRET} }} ]",
            "peers": "{ allow: [127.0.0.0/8] }",
            "workers": "1",
        }
        if tls:
            self.certificate()
            turn.update(certificate="server.pem", key="server.key")
        log = keys.pop("log", "{ level: debug, dir: %s }" % self.path("log"))
        top = keys.pop("top", "")  # lines beside the turn section
        turn.update(keys)
        lines = [f"  {k}: {v}\n" for k, v in turn.items() if v is not None]
        return self.write(name, f"log: {log}\nstore: {{ path: {self.path('store')} }}\n{top}turn:\n{''.join(lines)}")

    # ---- the programs ----

    def run(self, *argv, stdin="", timeout=PATIENCE * 2, prefix=(), env=None):
        full = [*prefix, *argv]
        done = subprocess.run(full, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout,
                              env={**os.environ, **(env or {})})
        said = Said(full, done.returncode, done.stdout, done.stderr)
        if SANITIZER.search(said.err):
            said.fail("a sanitizer spoke")
        return said

    def stile(self, *argv, **more):
        return self.run(STILE, *argv, **more)

    def ask(self, *argv, **more):
        """A command that goes to the running server."""
        return self.run(STILE, *argv, "--runtime-dir", self.path("run"), **more)

    def check(self, config="stile.yaml", *argv):
        return self.stile("check", "-c", self.path(config), *(["--user", "root"] if ROOT else []), *argv)

    def test(self, *argv, **more):
        return self.stile("test", "turn", *argv, "--packets", "4", **more)

    def turn_argv(self, config="stile.yaml", *options):
        as_root = ["--user", "root"] if ROOT and "--user" not in options else []
        return [self.binary, "-c", self.path(config), "--runtime-dir", self.path("run"), *as_root, *options]

    def start_fails(self, config="stile.yaml", *options, prefix=()):
        return self.run(*self.turn_argv(config, *options), prefix=prefix)

    def start(self, config="stile.yaml", *options, **more):
        s = Server(self, self.turn_argv(config, *options), **more)
        self.servers.append(s)
        s.wait_ready()
        return s

    def stop_all(self):
        for s in self.servers:
            s.stop()

    # ---- the log ----

    def log_text(self, name=None):
        try:
            with open(self.path(f"log/{name or self.full}.log"), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def logged(self, *texts, name=None, seconds=None):
        """A line of the log that holds all texts; waits for it, the log has a thread of its own."""
        deadline = time.monotonic() + (self.patience if seconds is None else seconds)
        while True:
            for line in self.log_text(name).splitlines():
                if all(t in line for t in texts):
                    return line
            if time.monotonic() > deadline:
                raise Failed(f"    no line of the log has {texts}; its end:\n"
                             + "".join(f"    | {line}\n" for line in self.log_text(name).splitlines()[-12:]))
            time.sleep(0.05)

    # ---- the control socket, as a program of the administrator's own would use it ----

    def verbs(self, calls, full=None):
        """(name, args) one after the other over one connection; their results."""
        results = []
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.path(f"run/{full or self.full}.sock"))
            f = s.makefile("rw", encoding="utf-8")
            json.loads(f.readline())  # the server's hello
            for i, (name, args) in enumerate(calls):
                f.write(json.dumps({"id": i + 1, "verb": name, "args": args}) + "\n")
                f.flush()
                answer = json.loads(f.readline())
                if "error" in answer:
                    raise Failed(f"    {name}: {answer['error']}")
                results.append(answer["result"])
        return results

    def verb(self, name, args=None, full=None):
        return self.verbs([(name, args or {})], full)[0]

    def metric(self, name, label=None):
        for m in self.verb("turn.metrics", {"text": True})["text"].splitlines():
            if m.startswith(name) and (label is None or f'"{label}"' in m):
                return float(m.rsplit(" ", 1)[1])
        raise Failed(f"    there is no metric {name} {label or ''}")


class Server:
    def __init__(self, world, argv, prefix=(), env=None):
        self.world, self.argv = world, [*prefix, *argv]
        self.full = world.full + (f"@{argv[argv.index('--instance') + 1]}" if "--instance" in argv else "")
        self.err = open(world.path(f"stderr-{len(world.servers)}"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err,
                                        env={**os.environ, **(env or {})})
        self.ended = False

    def said(self):
        self.err.flush()
        with open(self.err.name, encoding="utf-8", errors="replace") as f:
            return Said(self.argv, self.process.poll(), f.read(), "")

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.said().fail("the server ended at its start")
            try:
                self.world.verb("service.status", full=self.full)
                return
            except (OSError, ValueError):  # not there yet, or it ends in the middle of its hello
                time.sleep(0.03)
        self.said().fail(f"the server is not ready after {PATIENCE} s")

    def stop(self, status=0):
        """SIGTERM: a clean end."""
        if self.ended:
            return
        self.ended = True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.said().fail(f"the server did not stop within {PATIENCE} s")
        if SANITIZER.search(self.said().out):
            self.said().fail("a sanitizer spoke")
        self.said().exits(status)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.err.close()


def silent(kind, port=0):
    """A socket that takes everything and answers nothing, as a firewall that drops would look."""
    s = socket.socket(socket.AF_INET, kind)
    s.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        s.listen(8)
    return s


NETNS = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"']


def need_netns():
    """For what must not touch this machine's ports: a network namespace of the server's own."""
    need_root()
    if subprocess.run([*NETNS, "true"], capture_output=True, timeout=10).returncode:
        raise Skipped("no network namespaces here")


def need_root():
    if not ROOT:
        raise Skipped("needs root")
