# SPDX-License-Identifier: Apache-2.0
"""The tool's own manners, whatever the command: what cannot be written, who reads no further, words that name a service, secrets that
are typed, and names that would steer a terminal."""
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading

from terminal import start_beside, with_terminal
from world import SIP, STILE, Failed, case, main, wait_for


def ends(process, seconds, what):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failed(f"    {what}: it goes on after {seconds} s") from None


@case("an answer that does not fit on the disk is a failure and says so; one that nobody reads to its end is none")
def _(w):
    w.config(tls=False)
    w.start()
    for words in (["config", "export", "-c", w.path("stile.yaml")], ["turn", "sessions", "--json"], ["status"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([STILE, *words, "--runtime-dir", w.path("run")], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        if done.returncode != 1 or "not written to its end" not in done.stderr:
            raise Failed(f"    {words}: {done.returncode} {done.stderr!r}")
    said = w.run("bash", "-c", f"{STILE} turn metrics --runtime-dir {w.path('run')} | head -1; exit ${{PIPESTATUS[0]}}").exits(0)
    if said.err or len(said.out.splitlines()) != 1:
        raise Failed(f"    {said.out!r} {said.err!r}")


@case("what shows something again and again ends where nobody reads it any more")
def _(w):
    w.config(tls=False)
    w.start()
    for words in (["logs", "--follow", "-c", w.path("stile.yaml")],
                  ["netcheck", "--server", f"127.0.0.1:{w.port}", "--every", "1s", "--no-443", "--no-port-mapping", "--json"]):
        p = subprocess.Popen([STILE, *words, "--runtime-dir", w.path("run")], stdout=subprocess.PIPE)
        p.stdout.readline()
        p.stdout.close()
        ends(p, 30, words)


@case("a word names a service and its instance in every command alike; one that names none is refused with those that there are")
def _(w):
    w.config(tls=False)
    w.start("stile.yaml", "--instance", "lab")
    w.ask("ready", "turn@lab").exits(0).says("stile-turn@lab is ready")
    w.ask("ready", "turn@lab", "turn").exits(1).says("stile-turn is not ready: it is not running")
    w.ask("ready", "fastpath").exits(1).says("not running")
    w.ask("reload", "turn@lab").exits(0).says("stile-turn@lab has read its configuration again")
    w.ask("log", "level", "turn@lab", "info").exits(0).says("stile-turn@lab logs at level info")
    w.ask("ask", "turn@lab", "service.status").exits(0).says('"instance": "lab"')
    w.ask("config", "get", "log.level", "--service", "turn@lab").exits(0).says("info")
    number = w.ask("config", "begin", "turn@lab", "--json").exits(0).json()["transaction"]
    w.ask("config", "abort", "turn@lab", str(number)).exits(0).says("dropped")
    w.ask("config", "set", "turn.software", "lab", "--service", "turn@lab").exits(0).says("stile config undo turn@lab")
    w.ask("config", "history", "turn@lab").exits(0).says("turn.software")
    w.ask("config", "objects", "turn@lab").exits(0).says("turn.user")
    w.ask("config", "history", "turn", "-i", "lab").exits(0).says("turn.software")
    for words in (["reload"], ["log", "level"], ["ready"], ["ask"], ["config", "begin"], ["config", "history"], ["config", "objects"], ["config", "confirm"],
                  ["config", "get", "log.level", "--service"]):
        w.ask(*words, "tu\x1b[31mrn").exits(2).says("there is no service 'tu?[31mrn'", "turn tunnel agent sip").never_says("\x1b")
    w.ask("config", "undo", "turn", "x").exits(2).says("a change is a number")
    w.ask("config", "get", "share.base_port").exits(2).says("read from the file by each stile share", "set it there")


@case("a secret that is typed is asked for with one colon and not shown; Ctrl-C gives the terminal back as it was")
@with_terminal
def _(w, terminal):
    w.config(tls=False)
    w.start()
    for words in (["backup", w.path("a.backup"), "-c", w.path("stile.yaml")], ["turn", "user", "add", "bob"], ["config", "set", "turn.password"]):
        t = terminal(*words)
        seen = t.until(": ")
        if ": :" in seen or not termios.tcgetattr(t.fd)[3] & termios.ECHO == 0:
            raise Failed(f"    {words}: {seen!r}, or it is shown")
        t.type("\x03")
        t.ends(-signal.SIGINT)
        if not termios.tcgetattr(t.fd)[3] & termios.ECHO:
            raise Failed(f"    {words}: what is typed is not shown any more")


@case("--json has JSON on standard output, and the exit status of the same without it")
def _(w):
    p = w.base + 2
    w.config(tls=False, top=f'sip:\n  domains: [uc.test]\n  listen: ["tcp:127.0.0.1:{p}"]\n')
    start_beside(w, SIP)
    made = w.stile("sip", "certificate", "self-signed", "uc.test", "--key", w.path("k.pem"), "--out", w.path("c.pem"), "--json").exits(0).json()
    if made != {"file": w.path("c.pem"), "key": w.path("k.pem")}:
        raise Failed(f"    {made}")
    row = w.stile("sip", "certificate", "check", w.path("c.pem"), "--name", "other.test", "--json").exits(1).json()
    if "uc.test" not in row["names"] or not row["faults"]:
        raise Failed(f"    {row}")
    w.stile("sip", "certificate", "check", w.path("c.pem")).exits(0).says("subject", "uc.test", "valid from", "usable")
    if w.ask("sip", "user", "add", "bob", "--json", stdin="builder12\n").exits(0).json()["name"] != "bob@uc.test":
        raise Failed("    another user")
    w.ask("sip", "interface", "add", f"udp:127.0.0.1:{p}", "--json").exits(0).json()
    with socket.create_connection(("127.0.0.1", p)):
        flow = wait_for("the connection is there", lambda: w.ask("sip", "flows", "--json").json())
        w.ask("sip", "kick", str(flow[0]["id"]), "--json").exits(0).json()


@case("what would steer a terminal, or is no UTF-8, is harmless in sentences and not missing in JSON")
def _(w):
    evil = "x\x1b[31my"
    for words in (["turn", "sessions", "--" + evil], ["turn", "sessions", "-n", evil], ["turn", "sessions", evil], ["turn", "drain", "-d", evil],
                  ["--" + evil], ["start", evil], ["sip", "kick", evil], ["test", "reach", evil], ["restore", evil], ["test", "sip", evil + ">"],
                  ["capacity", "--audio", "1", "--speed", evil], ["completion", evil], ["netcheck", "--server", evil + ":x"], ["supervise", evil, "-c", w.write("c", "")]):
        said = w.stile(*words)
        if "\x1b" in said.out + said.err or "x?[31my" not in said.err or said.status == 0:
            raise Failed(f"    {words}: {said.status} {said.out!r} {said.err!r}")
    with socket.create_server(("127.0.0.1", w.port)) as server:
        def banner():
            for _ in range(2):
                s = server.accept()[0]
                s.sendall(b"\xff\xfe\x1b[31m hello\r\n")
                s.close()
        thread = threading.Thread(target=banner, daemon=True)  # it may wait for ever where the case fails
        thread.start()
        rows = {r["check"]: r["text"] for r in w.stile("test", "tcp", "127.0.0.1", str(w.port), "--json").exits(0).json()}
        w.stile("test", "tcp", "127.0.0.1", str(w.port)).exits(0).says("says", "hello").never_says("\x1b")
        thread.join()
    if "hello" not in rows.get("says", ""):
        raise Failed(f"    {rows}")


@case("on a terminal of 40 columns a line that is written anew stays one line, and the table that top shows is named")
@with_terminal
def _(w, terminal):
    w.config(tls=False)
    w.start()
    t = terminal("test", columns=40)
    lines = re.findall(r"\r\x1b\[K(\S*?)  \[\d/\d\][^\r\n]*?(\x1b\S*)?(?=[\r\n])", t.ends(0))
    if not lines or any(line != ("\x1b[?7l", "\x1b[?7h") for line in lines):
        raise Failed(f"    {lines}")
    t = terminal("top", "--every", "200ms", columns=40)
    for n, name in enumerate(w.ask("top", "--json").exits(0).json(), 1):
        t.until(f"\x1b[7m {n} {name} ")
        t.type("\x1b[C")


@case("bytes are not written to a terminal; a trace is for its owner alone and replaces no file; logs -n 0 shows none of what there is")
@with_terminal
def _(w, terminal):
    w.config(tls=False, top=f'sip:\n  domains: [uc.test]\n  listen: ["tcp:127.0.0.1:{w.base + 2}"]\n')
    w.start()
    start_beside(w, SIP)
    for words in (["backup", "-", "-c", w.path("stile.yaml")], ["logs", "zip", "-o", "-", "-c", w.path("stile.yaml")], ["sip", "trace", "--call", "x"]):
        if "not for a terminal: name a file" not in terminal(*words).ends(2):
            raise Failed(f"    {words}")
    w.stile("sip", "trace", "--call", "x", "--seconds", "1", "-w", w.path("t.pcap"), "--runtime-dir", w.path("run")).exits(0)
    if os.stat(w.path("t.pcap")).st_mode & 0o077:
        raise Failed("    others may read it")
    w.ask("sip", "trace", "--call", "x", "-w", w.path("t.pcap")).exits(1).says("t.pcap is there already", "name another file")
    w.write("stile.yaml", f"log: {{ dir: {w.path('log')} }}\nturn: {{ realm: x }}\n")
    w.write("log/stile-turn@a.log", "2026-11-29T10:00:00.000Z info a.b c\n")
    w.ask("logs", "turn@a", "-n", "1", "-c", w.path("stile.yaml")).exits(0).says("a.b c")
    w.ask("logs", "turn@a", "-n", "0", "-c", w.path("stile.yaml")).exits(0).never_says("a.b c")


if __name__ == "__main__":
    sys.exit(main(29100))
