# SPDX-License-Identifier: Apache-2.0
"""What the tool does on a terminal and for shells: `stile top` and its keys, `stile test` with progress and Ctrl-C, `stile
capacity`, and completions and the man page that are made from the command tables and hold all of them."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

from world import AGENT, PATIENCE, SIP, STILE, TUNNEL, Failed, Server, case, main, silent, wait_for


class Terminal:
    """A program on a pseudo-terminal of a given size; what it wrote so far is .text."""

    def __init__(self, w, *argv, rows=24, columns=100):
        self.text, self.status = "", None
        self.fd, end = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.fd)  # before the program may change them
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.fd)
            os.login_tty(end)
            os.execv(STILE, ["stile", *argv, "--runtime-dir", w.path("run")])
        os.close(end)

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and select.select([self.fd], [], [], 0.05)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                return

    def until(self, *texts):
        """Waits until it has written all of these since the last call."""
        deadline = time.monotonic() + PATIENCE
        while not all(t in self.text for t in texts):
            if time.monotonic() > deadline:
                raise Failed(f"    the terminal never showed {texts}; its end:\n    {self.text[-1500:]!r}")
            self.read(0.3)
        seen, self.text = self.text, ""
        return seen

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def ends(self, status):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.read(0.1)
            pid, got = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                if os.waitstatus_to_exitcode(got) != status:
                    raise Failed(f"    it ended with {os.waitstatus_to_exitcode(got)}, not {status}:\n    {self.text[-800:]!r}")
                return self.text
        raise Failed("    it did not end")

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def frames(text):
    """What stood on the screen, frame by frame, without what steers the terminal."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", f).replace("\r", "") for f in text.split("\x1b[H")[1:]]


def with_terminal(fn):
    def run(w):
        ts = []

        def make(*argv, **more):
            ts.append(Terminal(w, *argv, **more))
            return ts[-1]
        try:
            fn(w, make)
        finally:
            for t in ts:
                t.close()
    run.__module__ = fn.__module__
    return run


def start_beside(w, binary):
    """Another service of the same file."""
    full, w.full = w.full, os.path.basename(binary)
    s = Server(w, [binary, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"), *(["--user", "root"] if os.getuid() == 0 else [])])
    w.full = full
    w.servers.append(s)
    s.wait_ready()


@case("top shows the tables, follows keys and the size of the terminal, and gives the terminal back as it was")
@with_terminal
def _(w, terminal):
    w.config(tls=False)
    w.start()
    # allocations, so that there is something to scroll
    load = subprocess.Popen([STILE, "bench", "turn", "127.0.0.1", "--port", str(w.port), "--user", "alice", "--password", "wonderland",
                             "--allocations", "15", "--rate", "200", "--time", "120s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the allocations", lambda: w.verb("turn.status")["allocations"] == 15)
        t = terminal("top", "--every", "200ms", rows=12)
        seen = t.until("\x1b[?1049h", "1 services", "2 turn sessions", "SERVICE", "running")
        t.type("2")
        seen = t.until("RELAY", "15 rows, by DOWN/s", "alice")
        for f in frames(seen)[-1:]:
            if len(f.splitlines()) > 12 or any(len(line) > 100 for line in f.splitlines()):
                raise Failed(f"    it does not fit:\n{f}")
        time.sleep(0.5)
        t.text = ""
        t.until("15 rows")
        t.type("s")
        t.until("by UP")
        t.type("\x1b[B\x1b[B\x1b[6~")
        t.until("15 rows")
        t.type("p")
        t.until("paused")
        t.read(0.8)
        if "\x1b[H" in t.text:  # the rest of the frame may have come, no other one
            raise Failed(f"    paused, it writes {t.text[:200]!r}")
        t.type("p")
        t.resize(8, 40)
        t.until("15 rows")
        seen = t.until("15 rows")
        for f in frames(seen)[-1:]:
            if len(f.splitlines()) > 8 or any(len(line) > 40 for line in f.splitlines()):
                raise Failed(f"    it does not fit after the change of size:\n{f}")
        t.type("\t\x1b[D\x1b[Z\x1b[999;999R??")  # chosen away and back, and keys that mean nothing
        t.until("15 rows")
        t.type("q")
        if "\x1b[?1049l" not in t.ends(0):
            raise Failed("    the screen was not given back")
        if termios.tcgetattr(t.fd)[3] != t.before[3]:
            raise Failed("    the terminal's modes are others than before")
    finally:
        load.terminate()
        load.wait(20)


@case("top shows the far end of a SIP connection, and the port that an agent's job asks for")
@with_terminal
def _(w, terminal):
    w.config(tls=False, top=f'sip:\n  domains: [uc.test]\n  listen: ["tcp:127.0.0.1:{w.base + 2}"]\n'
                            f'agent:\n  server: 127.0.0.1:{w.base + 3}\n  jobs: [ {{ name: of-file, port: 2222-2224, target: "127.0.0.1:22" }} ]\n')
    start_beside(w, SIP)
    start_beside(w, AGENT)
    with socket.create_connection(("127.0.0.1", w.base + 2)) as s:
        t = terminal("top", "--every", "200ms")
        number = re.compile(r"(\d) (sip flows|agent jobs)")
        views = {name: n for n, name in number.findall(t.until("sip flows", "agent jobs"))}
        t.type(views["sip flows"])
        t.until("PEER", "127.0.0.1:%d" % s.getsockname()[1])
        t.type(views["agent jobs"])
        t.until("PORT", "2222-2224")


@case("top ends with SIGTERM and gives the terminal back; without a terminal it says so, and --json prints all tables once")
@with_terminal
def _(w, terminal):
    w.config(tls=False)
    w.start()
    t = terminal("top")
    t.until("SERVICE", "running")
    os.kill(t.pid, signal.SIGTERM)
    if "\x1b[?1049l" not in t.ends(0):
        raise Failed("    the screen was not given back")
    w.ask("top").exits(1).says("needs a terminal", "--json")
    rows = w.ask("top", "--json").exits(0).json()
    if rows["services"][0]["program"] != "stile-turn" or rows["turn sessions"] != []:
        raise Failed(f"    {rows}")


@case("test runs what fits the services that run, with an outcome for each; one that fails is shown with all that it said")
def _(w):
    p = w.base + 2
    w.config(top=f'sip:\n  domains: [uc.test]\n  listen: ["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}"]\n')
    w.start()
    start_beside(w, SIP)
    said = w.ask("test", timeout=240).exits(0)
    said.says("✔ stile check -c").says("✔ stile test turn -c", "all").says(f"✔ stile test sip sip:127.0.0.1:{p};transport=udp").says(
        "✔ stile status", "all 5 tests are good")
    w.config(users="[ { name: alice, password: another-one-now } ]",
             top=f'sip:\n  domains: [uc.test]\n  listen: ["udp:127.0.0.1:{p}", "tcp:127.0.0.1:{p}"]\n')  # the server has the old one
    said = w.ask("test", timeout=240).exits(1)
    said.says("✘ stile test turn", "401", "of 5 tests failed")
    report = {r["test"].split(" -c")[0]: r for r in w.ask("test", "--json", timeout=240).exits(1).json()}
    if report["test turn"]["good"] or not report["check"]["good"]:
        raise Failed(f"    {report}")
    w.stop_all()
    w.ask("test").exits(1).says("no service of Stile runs")


@case("on a terminal test shows which one runs, and Ctrl-C ends it and says how far it came")
@with_terminal
def _(w, terminal):
    w.config(tls=False)
    w.start()
    # The configuration names a server now that answers nothing, so that the test takes its time.
    w.config(tls=False, listen='["udp:127.0.0.1:%d"]' % (w.port + 3))
    with silent(socket.SOCK_DGRAM, w.port + 3):
        t = terminal("test")
        t.until("[2/3] test turn")
        t.type("\x03")
        if "interrupted after 1 of 3 tests" not in t.ends(1):
            raise Failed(f"    {t.text!r}")


@case("capacity counts by the clients' rates, measures a packet's cost here, and says what the limit is")
def _(w):
    said = w.stile("capacity", "--audio", "1000", "--video", "100", "--speed", "1Gbit/s", "--cost", "10,2", "--cpus", "4", "--json").json()
    expected = {"bits_per_second_high": 2 * (1000 * 45e3 + 100 * 2.3e6), "bits_per_second_low": 2 * (1000 * 45e3 + 100 * 0.3e6),
                "packets_per_second_high": 2 * (1000 * 50 + 100 * 2.3e6 / 8 / 1200)}
    for key, value in expected.items():
        if abs(said[key] - value) > 1:
            raise Failed(f"    {key} is {said[key]}, not {value}")
    cpu = (2 * 1000 * 50 * 10 + 2 * 100 * 2.3e6 / 8 / 1200 * 2) / 1e6 / 4 * 100
    if abs(said["cpu_percent"] - cpu) > 0.1 or abs(said["interface_percent"] - 55) > 0.1 or not said["good"]:
        raise Failed(f"    {said}")
    if said["most_audio"] != int(4 * 0.7 / (100 * 10e-6)) or said["most_video"] != int(0.7e9 / 4.6e6):
        raise Failed(f"    {said}")
    w.stile("capacity", "--video", "1000", "--speed", "1Gbit/s", "--cost", "10,2").exits(1).says("✘ interface", "the limit is the interface")
    w.stile("capacity", "--audio", "1000", "--speed", "1Gbit/s", "--cost", "100,2", "--cpus", "1").exits(1).says("✘ CPU", "the limit is the CPUs")
    w.stile("capacity").exits(2).says("--audio N")
    w.stile("capacity", "--audio", "1", "--speed", "fast").exits(2).says("1Gbit/s")
    w.stile("capacity", "--audio", "1", "--interface", "no-such-one").exits(1).says("no interface no-such-one")
    said = w.stile("capacity", "--audio", "1", "--speed", "1Gbit/s", "--time", "300ms", "--json", timeout=60, env={"TMPDIR": w.folder}).json()
    if not 0 < said["microseconds_audio"] < 5000 or not 0 < said["microseconds_video"] < 5000:
        raise Failed(f"    {said}")
    if [n for n in os.listdir(w.folder) if n.startswith("stile-capacity-")]:
        raise Failed("    it left its folder behind")


# ---- what is made from the tables ----

def names_of(w):
    """All command names, from the script that bash reads: one line each."""
    return re.findall(r"^\t\['([a-z][a-z -]*)'\]='--", w.stile("completion", "bash").out, re.M)


def complete(w, *words):
    script = w.write("stile.bash", w.stile("completion", "bash").out)
    line = " ".join("'" + x + "'" for x in ("stile", *words))
    return sorted(w.run("bash", "-c", f'set -u; source {script}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _stile; '
                        'printf "%s\\n" "${COMPREPLY[@]-}"', env={"HOME": w.folder}).exits(0).out.split())


@case("every command and option stands in the completions of bash, zsh and fish and in stile-commands(1)")
def _(w):
    names = names_of(w)
    if len(names) < 100 or len(set(names)) != len(names):
        raise Failed(f"    {len(names)} commands")
    scripts = {s: w.stile("completion", s).exits(0).out for s in ("bash", "zsh", "fish", "man")}
    for name in names:
        said = w.stile(*name.split(), "--help").exits(0).says(f"Usage: stile {name}")
        options = re.findall(r"^ .{5}--([a-z][a-z0-9-]*)", said.out, re.M)
        line = next(x for x in scripts["bash"].splitlines() if x.startswith(f"\t['{name}']='--"))
        zsh = scripts["zsh"].split(f"_stile_opts+=('{name}' ", 1)[1].split("\n_stile_", 1)[0]
        roff = name.replace("-", "\\-")
        page = re.split(r'^\.S[SH] ', scripts["man"].split(f'.SS "stile {roff}', 1)[1], maxsplit=1, flags=re.M)[0]
        for o in options:
            if f"--{o}" not in re.split(r"[ ']", line) or f"--{o}:" not in zsh or "\\-\\-" + o.replace("-", "\\-") + "\\fR" not in page or \
                    f"'__stile_is {name}' -l {o}" not in scripts["fish"]:
                raise Failed(f"    --{o} of {name} is missing somewhere")
        if f"_stile_summaries+=('{name}' " not in scripts["zsh"]:
            raise Failed(f"    zsh does not know {name}")
    w.stile("completion", "csh").exits(2).says("bash, zsh, fish and man")


@case("bash completes commands, options, services, levels and files")
def _(w):
    for words, expected in ((("turn", "us"), ["user"]), (("turn", "user", ""), ["add", "delete", "list", "passwd"]), (("sta",), ["start", "status"]),
                            (("restart", "tu"), ["tunnel", "turn"]), (("logs", "--le"), ["--level"]), (("logs", "--level", "w"), ["warn"]),
                            (("logs", "turn", "--fo"), ["--follow"]), (("relay", "log-data", ""), ["off", "on"]), (("--",), []),
                            (("nonsense", ""), []), (("logs", "z"), ["zip"])):
        if complete(w, *words) != expected:
            raise Failed(f"    {words}: {complete(w, *words)}, not {expected}")
    if w.path("stile.bash") not in complete(w, "check", "-c", w.path("stile.b")):
        raise Failed("    no file is completed")
    shells = {"zsh": ["zsh", "-n"], "fish": ["fish", "-n"], "bash": ["bash", "-n"]}
    for shell, argv in shells.items():
        if shutil.which(shell):
            w.run(*argv, w.write("stile." + shell, w.stile("completion", shell).out)).exits(0)
    if shutil.which("zsh"):  # with its own helpers played by what prints their arguments
        stubs = ('_describe() { print -l -- "$1:" ${(P)2} }; compadd() { print -- ${(P)2} }; _files() { print files }; words=(stile); CURRENT=1; '
                 f'source {w.path("stile.zsh")} >/dev/null; ')
        for line, expected in (("stile turn ''", ["sessions:the allocations", "user:commands of user"]), ("stile logs --level ''", ["error warn"]),
                               ("stile logs ''", ["zip:pack", "turn tunnel"]), ("stile check --", ["--reference:print"]), ("stile check -c ''", ["files"])):
            w.run("zsh", "-f", "-c", stubs + f"words=({line}); CURRENT=${{#words}}; _stile").exits(0).says(*expected)
    if shutil.which("fish"):
        fish = w.run("fish", "-c", f"source {w.path('stile.fish')}; complete -C 'stile turn us'; complete -C 'stile logs --fo'",
                     env={"HOME": w.folder, "XDG_CONFIG_HOME": w.folder}).exits(0)
        fish.says("user", "--follow")
    if shutil.which("man"):
        page = w.write("stile-commands.1", w.stile("completion", "man").out)
        w.run("man", "--warnings", "-l", page, env={"MANPAGER": "cat", "LANG": "C.UTF-8"}).exits(0).says("stile turn sessions", "--realm").never_says(
            "warning:")


@case("a passphrase that locks a backup is typed twice; of two that differ nothing is made, and the key stays where it is")
@with_terminal
def _(w, terminal):
    w.config(tls=False, top=f'tunnel:\n  listen: ["tls:127.0.0.1:{w.base + 2}"]\n  ports: {w.base + 3}-{w.base + 4}\n')
    start_beside(w, TUNNEL)
    for again, status in (("open sesama", 1), ("open sesame", 0)):
        t = terminal("tunnel", "identity", "successor", "export", w.path("successor.pem"))
        t.until("Passphrase of the backup:")
        t.type("open sesame\n")
        t.until("Passphrase of the backup once more:")
        if os.path.exists(w.path("successor.pem")):
            raise Failed("    it is written before the passphrase was typed again")
        t.type(again + "\n")
        if "another one" in t.ends(status) and os.path.exists(w.path("successor.pem")):
            raise Failed("    a backup was written with a passphrase that was mistyped once")
        gone = w.ask("tunnel", "identity").exits(0)
        gone.never_says("kept elsewhere") if status else gone.says("kept elsewhere")


if __name__ == "__main__":
    sys.exit(main(27900))
