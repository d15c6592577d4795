# SPDX-License-Identifier: Apache-2.0
"""Starts that fail with their reason, instances side by side, users, systemd, a clean stop."""
import os
import shutil
import signal
import socket
import sys
import time

from world import BIND_ALONE, NETNS, PATIENCE, STILE, TURN, Failed, Server, case, main, need_netns, need_root, silent

PLAIN = ["setpriv", "--reuid", "61234", "--regid", "61234", "--clear-groups"]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@case("a taken port stops the start with status 1, and says which and how to find who has it")
def _(w):
    w.config()
    for kind, proto, letter in ((socket.SOCK_STREAM, "tcp", "t"), (socket.SOCK_DGRAM, "udp", "u")):
        with silent(kind, w.port):
            w.start_fails().exits(1).says(f"cannot listen on {proto}:127.0.0.1:{w.port}: Address already in use",
                                          f"ss -ln{letter}p 'sport = :{w.port}'")
    w.logged("service.start-failed", "Address already in use")


@case("a port that another Stile holds is refused too, although both would share it")
def _(w):
    w.config()
    w.start()
    w.start_fails("stile.yaml", "--instance", "two").exits(1).says("stile-turn@two: cannot listen on", "Address already in use")


@case("a second start of the same instance is refused and leaves the first alone")
def _(w):
    w.config()
    w.start()
    w.start_fails().exits(1).says("another stile-turn is running", "--instance NAME")
    w.ask("status").exits(0).says("nothing to do")


@case("a bad instance name is refused with status 2")
def _(w):
    w.config()
    w.start_fails("stile.yaml", "--instance", "a/b").exits(2).says("instance name")


@case("instances run side by side, each with socket, store and log of its own")
def _(w):
    w.config()
    p = w.base + 4
    w.config("two.yaml", listen=f'["udp:127.0.0.1:{p}"]', tls=False, relay=f"{{ addresses: [127.0.0.1], ports: {p}-{w.base + 9} }}"
             .replace(f"{p}-", f"{p + 1}-"))
    w.start()
    w.start("two.yaml", "--instance", "lab")
    for name in ("run/stile-turn.sock", "run/stile-turn@lab.sock", "store/stile-turn.db", "store/stile-turn@lab.db",
                 "log/stile-turn.log", "log/stile-turn@lab.log"):
        if not os.path.exists(w.path(name)):
            raise Failed(f"    there is no {name}")
    w.ask("status").exits(0).says("stile-turn  ", f"udp:127.0.0.1:{w.port}", "stile-turn@lab  ", f"udp:127.0.0.1:{p}")
    w.ask("status", "-i", "lab").exits(0).says("stile-turn@lab").never_says("stile-turn  ")
    w.ask("status", "-i", "none").exits(1).says("no service of Stile runs under this name")
    w.ask("turn", "user", "add", "labrat", "-i", "lab", stdin="cheese-please\n").exits(0)
    w.ask("turn", "user", "list", "-i", "lab").exits(0).says("labrat")
    w.ask("turn", "user", "list").exits(0).never_says("labrat")


@case("commands to a server that does not run say so")
def _(w):
    for command in (["turn", "sessions"], ["turn", "kill", "1"], ["reload"], ["log", "level"]):
        w.ask(*command).exits(1).says("stile-turn is not running", "--runtime-dir")
    w.ask("status").exits(1).says("no service of Stile runs")
    if w.ask("status", "--json").exits(1).json():
        raise Failed("    --json lists something")


@case("started as root it becomes another user, and owns its folders as that user")
def _(w):
    need_root()
    os.chmod(w.folder, 0o755)
    w.config(log="{ level: debug, dir: %s }" % w.path("log"))
    s = w.start("stile.yaml", "--user", "nobody")
    with open(f"/proc/{s.process.pid}/status", encoding="utf-8") as f:
        status = f.read()
    for line in ("Uid:\t65534\t65534\t65534\t65534", f"CapPrm:\t{BIND_ALONE}", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        if line not in status:
            raise Failed(f"    expected {line!r} in\n{status}")
    for task in os.listdir(f"/proc/{s.process.pid}/task"):
        with open(f"/proc/{s.process.pid}/task/{task}/status", encoding="utf-8") as f:
            status = f.read()
        if int(task) != s.process.pid and ("CapPrm:\t0000000000000000" not in status or "CapEff:\t0000000000000000" not in status):
            raise Failed(f"    a thread has a capability:\n{status}")
    for name in ("log/stile-turn.log", "store/stile-turn.db", "run/stile-turn.sock"):
        if os.stat(w.path(name)).st_uid != 65534:
            raise Failed(f"    {name} is not the user's")
    w.start_fails("stile.yaml", "--user", "nosuchuser").exits(2).says('there is no user "nosuchuser"')


@case("without --user root becomes stile or, with a warning, nobody")
def _(w):
    need_root()
    os.chmod(w.folder, 0o755)
    w.config()
    argv = [a for a in w.turn_argv() if a not in ("--user", "root")]
    s = Server(w, argv)
    w.servers.append(s)
    s.wait_ready()
    if os.stat(f"/proc/{s.process.pid}").st_uid == 0:
        raise Failed("    it is still root")
    with open("/etc/passwd", encoding="utf-8") as f:
        if not any(line.startswith("stile:") for line in f):
            w.logged("service.nobody", "running as nobody")


@case("a plain user starts it on high ports; a low port needs root, and says so")
def _(w):
    need_root()
    home = w.path("home")
    os.mkdir(home, 0o755)
    w.config()
    for name in ("stile.yaml", "server.pem", "server.key"):
        shutil.copy(w.path(name), home)
        os.chown(os.path.join(home, name), 61234, 61234)
    os.chown(home, 61234, 61234)
    text = open(w.path("stile.yaml"), encoding="utf-8").read().replace(w.path("log"), home).replace(w.path("store"), home)
    with open(os.path.join(home, "stile.yaml"), "w", encoding="utf-8") as f:
        f.write(text)
    argv = [os.path.abspath(TURN), "-c", os.path.join(home, "stile.yaml"), "--runtime-dir", home]
    os.chmod(w.folder, 0o755)
    for program in (TURN, STILE):  # the build folder may be closed to others
        shutil.copy(program, w.folder)
    argv[0] = w.path("stile-turn")
    os.symlink(home, w.path("run"))
    s = Server(w, argv, prefix=PLAIN)
    w.servers.append(s)
    s.wait_ready()
    for command in (["status"], ["reload"], ["turn", "user", "list"]):  # the server is this user's own
        w.run(w.path("stile"), *command, "--runtime-dir", home, prefix=PLAIN).exits(0)
    s.stop()
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="utf-8") as f:
        if int(f.read()) <= 443:
            return
    with open(os.path.join(home, "stile.yaml"), "w", encoding="utf-8") as f:
        f.write(text.replace(f"tls:127.0.0.1:{w.tls}", "tls:127.0.0.1:443"))
    w.run(*PLAIN, *argv).exits(1).says("cannot listen on tls:127.0.0.1:443", "ports below 1024 need root")


@case("who may not use the control socket is told whom to be")
def _(w):
    need_root()
    os.chmod(w.folder, 0o755)
    w.config(tls=False)
    w.start()
    os.chmod(w.path("run"), 0o755)
    shutil.copy(STILE, w.path("stile"))
    for command in (["status"], ["turn", "sessions"]):
        w.run(w.path("stile"), *command, "--runtime-dir", w.path("run"), prefix=NOBODY).exits(1).says("run as root or as a member of the group stile")


@case("SIGTERM is a clean end with status 0; the socket is gone and the log says so")
def _(w):
    w.config()
    s = w.start()
    began = time.monotonic()
    s.stop()
    if time.monotonic() - began > 5:
        raise Failed("    an idle server took more than 5 s to stop")
    w.logged("service.stopping")
    w.logged("service.stopped")
    if os.path.exists(w.path("run/stile-turn.sock")):
        raise Failed("    the control socket is still there")


@case("a killed server's socket is in nobody's way")
def _(w):
    w.config()
    s = w.start()
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    s.ended = True
    w.ask("status").exits(1).says("not answering", "it has ended without a clean stop")
    w.start()
    w.ask("status").exits(0)


@case("systemd is told READY, RELOADING, STOPPING, and is fed its watchdog")
def _(w):
    w.config(log="{ level: debug }")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
        n.bind(w.path("notify"))
        n.settimeout(PATIENCE)
        s = w.start(env={"NOTIFY_SOCKET": w.path("notify"), "WATCHDOG_USEC": "600000"})
        heard = []

        def hear(word, times=1):
            while sum(word in h for h in heard) < times:
                heard.append(n.recv(4096).decode())
        hear("READY=1")
        hear("WATCHDOG=1", 3)
        s.process.send_signal(signal.SIGHUP)
        hear("RELOADING=1")
        hear("READY=1", 2)
        s.process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")
        s.process.wait(PATIENCE)
        s.ended = True
        s.said().exits(0).says("service.ready")  # without log.dir the log is on stderr


@case("the listeners may be on 443, 80 and 1935, and the snippet lists them in their order")
def _(w):
    w.config(listen='["tls:127.0.0.1:443", "tcp:127.0.0.1:80", "udp:127.0.0.1:3478", "tcp:127.0.0.1:1935", "dtls:127.0.0.1:443"]')
    urls = w.stile("turn", "snippet", "turn.example.org", "-c", w.path("stile.yaml")).exits(0).json()["iceServers"][0]["urls"]
    if urls != ["turns:turn.example.org:443?transport=tcp", "turn:turn.example.org:80?transport=tcp",
                "turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:1935?transport=tcp"]:
        raise Failed(f"    {urls}")
    snippet = w.stile("turn", "snippet", "-c", w.path("stile.yaml")).exits(0).json()["iceServers"][0]
    if snippet["username"] != "alice" or snippet["credential"] != "wonderland" or not snippet["urls"][0].startswith("turns:127.0.0.1"):
        raise Failed(f"    {snippet}")
    w.run(STILE, "turn", "snippet", "-c", w.path("none.yaml")).exits(2).says("No such file")


@case("it really serves on 443, 80 and 1935")
def _(w):
    need_netns()
    w.config(listen='["tls:127.0.0.1:443", "tcp:127.0.0.1:80", "udp:127.0.0.1:1935"]', relay="{ addresses: [127.0.0.1] }")
    s = w.start(prefix=NETNS)
    w.test("-c", w.path("stile.yaml"), prefix=["nsenter", "-t", str(s.process.pid), "-n"]).exits(0).says(
        "tls 127.0.0.1:443", "tcp 127.0.0.1:80", "udp 127.0.0.1:1935", "checks are good")


if __name__ == "__main__":
    sys.exit(main(24040))
