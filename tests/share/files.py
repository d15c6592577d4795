#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stile share and stile get by real programs on loopback: files and folders both ways, broken off and gone on with, a service, one receiver
only, a receiver without an agent, and the sender who is not there."""
import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from share_world import (
    BUILD, PATIENCE, Failed, Target, Ua, case, connect, credentials, echo, fill, get, main, need_root, same, sha, share, two_agents,
    wait_for, world)

MB = 1 << 20


@case("a file goes from one agent to another, with its hash, and is not written over one that is there")
def _(w):
    two_agents(w)
    path = fill(w.path("out/report ä.bin"), 5 * MB + 17)
    with share(w, path) as s:
        r = get(w, s.code, w.path("in")).ends(0)
        got = [x for x in r.lines if x["event"] == "got"][0]
        if sha(path) not in got["text"]:
            raise Failed(f"    no hash: {got}")
        same(path, w.path("in/report ä.bin"))
        s.event("sent", name="report ä.bin")
        w.ask_agent("site", "agent", "shares").exits(0).says(s.id, "found")
        get(w, s.code, w.path("in")).ends(0).event("there")
        with open(w.path("in/report ä.bin"), "r+b") as f:
            f.write(b"another")
        get(w, s.code, w.path("in")).ends(0)
        same(path, w.path("in/report ä (2).bin"))
        if sorted(os.listdir(w.path("in"))) != ["report ä (2).bin", "report ä.bin"]:
            raise Failed(f"    something was left: {os.listdir(w.path('in'))}")
    get(w, s.code, w.path("in2")).ends(1)


# renameat2() as a file system answers that does not know its flags (NFS): a filter of system calls, then the program.
NO_FLAGS = """
import ctypes, os, struct, sys
arch, number = {"x86_64": (0xc000003e, 316), "aarch64": (0xc00000b7, 276)}[os.uname().machine]
rows = [(0x20, 0, 0, 4), (0x15, 0, 3, arch), (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 22), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *r) for r in rows)
bytes_ = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rows), ctypes.addressof(bytes_)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


@case("on a file system that cannot be asked for a name that nobody has, a file gets one all the same, and none is written over")
def _(w):
    two_agents(w)
    path = fill(w.path("out/a.bin"), MB + 17)
    refusing = (sys.executable, "-c", NO_FLAGS)
    with share(w, path) as s:
        get(w, s.code, w.path("in"), prefix=refusing).ends(0).event("got")
        with open(w.path("in/a.bin"), "r+b") as f:
            f.write(b"another")
        get(w, s.code, w.path("in"), prefix=refusing).ends(0).event("got")
    same(path, w.path("in/a (2).bin"))
    with open(w.path("in/a.bin"), "rb") as f:
        if f.read(7) != b"another" or sorted(os.listdir(w.path("in"))) != ["a (2).bin", "a.bin"]:
            raise Failed(f"    {os.listdir(w.path('in'))}")


@case("a folder goes as it is: names in every encoding, no links, no devices, nothing outside of it")
def _(w):
    two_agents(w)
    top = w.path("out/folder")
    files = {"a.txt": 1, "empty": 0, "deep/er/x.bin": 70000, "Grüße/日本語.txt": 65536, "sp ace/-rf": 12, ".hidden": 5}
    for name, size in files.items():
        fill(os.path.join(top, name), size, name.encode())
    fill(w.path("out/secret"), 100)
    os.symlink("../secret", os.path.join(top, "link"))
    os.symlink("/etc", os.path.join(top, "etc"))
    os.mkfifo(os.path.join(top, "fifo"))
    with open(os.path.join(top, "deep").encode() + b"/l\xe4tin", "wb") as f:
        f.write(b"latin")
    with open(os.path.join(top, "deep", "new\nline\u202egnp.exe"), "wb") as f:
        f.write(b"line")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.path.join(top, "s"))
    with share(w, top) as s:
        get(w, s.code, w.path("in")).ends(0)
        for name in files:
            same(os.path.join(top, name), os.path.join(w.path("in/folder"), name))
        have = sorted(os.path.relpath(os.path.join(d, f), w.path("in/folder")) for d, _, fs in os.walk(w.path("in/folder")) for f in fs)
        want = sorted([*files, "deep/l_tin", "deep/new_line_gnp.exe"])
        if have != want:
            raise Failed(f"    {have}\n    {want}")
        r = get(w, s.code, w.path("in")).ends(0)  # all of it is there
        if len([x for x in r.lines if x["event"] == "there"]) != len(want):
            raise Failed(f"    {r.lines}")
        if known := w.agent_verb("site", "agent.peers")["known"]:
            raise Failed(f"    who takes a share stands among the known agents: {known}")
    sock.close()


def wrote(path, data=b"the receiver's own"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def holds(folder, *names):
    """These and no other files, and what the receiver wrote is as it was."""
    if sorted(os.listdir(folder)) != sorted(names):
        raise Failed(f"    {sorted(os.listdir(folder))}")
    for name in names:
        if name in ("x.bin.part", "x.bin.part.json") and open(os.path.join(folder, name), "rb").read(100) != b"the receiver's own":
            raise Failed(f"    {name} was written over")


@case("a receiver's own NAME.part and NAME.part.json are left alone, and the transfer goes on all the same")
def _(w):
    two_agents(w)
    path = fill(w.path("out/x.bin"), 60 * MB)
    wrote(w.path("in/x.bin.part"))
    wrote(w.path("noted/x.bin.part.json"))
    with share(w, path) as s:
        r = get(w, s.code, w.path("in"))
        part = w.path("in/x (2).bin.part")
        wait_for("some of it is there", lambda: r.p.poll() is not None or os.path.exists(part) and os.path.getsize(part) > 2 * MB)
        r.stop(signal.SIGKILL)
        get(w, s.code, w.path("in")).ends(0)
        if not [x for x in s.lines if x["event"] == "begun" and x["at"] > 0]:
            raise Failed("    it began anew")
        holds(w.path("in"), "x.bin", "x.bin.part")
        get(w, s.code, w.path("noted")).ends(0)
        holds(w.path("noted"), "x.bin", "x.bin.part.json")
        for folder in ("in", "noted"):
            same(path, w.path(f"{folder}/x.bin"))


@case("a sender cannot pass a receiver's own NAME.part off as the beginning of a file of his")
def _(w):
    def take_until(what, there):
        """A share looks every other second what it has."""
        wait_for(what, lambda: get(w, s.code, w.path("in")).ends(0) and there())

    two_agents(w)
    os.makedirs(w.path("out/d"))
    with share(w, w.path("out/d")) as s:
        wrote(w.path("out/d/x.bin.part.json"), json.dumps({"share": s.id, "salt": "00" * 16, "size": 17}).encode())
        take_until("a note is taken", lambda: os.path.isdir(w.path("in/d")) and os.listdir(w.path("in/d")))
        holds(w.path("in/d"), "x.bin.part (2).json")
        wrote(w.path("in/d/x.bin.part"))
        path = fill(w.path("out/d/x.bin"), MB)
        take_until("its file is taken", lambda: os.path.exists(w.path("in/d/x.bin")))
        same(path, w.path("in/d/x.bin"))
        holds(w.path("in/d"), "x.bin", "x.bin.part", *glob.glob("x.bin.part (*).json", root_dir=w.path("in/d")))


@case("a transfer that is broken off goes on where it was: the receiver killed, then the sender's agent, then the way")
def _(w):
    two_agents(w)
    path = fill(w.path("out/big.bin"), 200 * MB)
    with share(w, path) as s:
        r = get(w, s.code, w.path("in"))
        part = w.path("in/big.bin.part")
        wait_for("some of it is there", lambda: os.path.exists(part) and os.path.getsize(part) > 2 * MB)
        r.stop(signal.SIGKILL)
        had = os.path.getsize(part)
        r = get(w, s.code, w.path("in"))
        begun = wait_for("it goes on", lambda: [x for x in s.lines if x["event"] == "begun" and x["at"] > 0])[0]
        if not had // 65536 * 65536 - 65536 <= begun["at"] <= had:
            raise Failed(f"    it went on at {begun['at']}, and had {had}")
        wait_for("more of it is there", lambda: os.path.getsize(part) > had + 2 * MB if os.path.exists(part) else True)
        w.kill_hard(w.agents["site"])
        r.event("waiting")
        w.start_agent("site")
        r.ends(0)
        same(path, w.path("in/big.bin"))
        if sorted(os.listdir(w.path("in"))) != ["big.bin"]:
            raise Failed(f"    {os.listdir(w.path('in'))}")


@case("while the sender's machine is away the receiver says so, waits, and goes on")
def _(w):
    two_agents(w)
    path = fill(w.path("out/a.bin"), 3 * MB)
    with share(w, path) as s:
        w.kill_hard(w.agents["site"])
        wait_for("the server knows that it is gone", lambda: not w.link("site"))
        r = get(w, s.code, w.path("in"))
        wait_for("it is said that the sender is not there", lambda: [x for x in r.lines if x["event"] == "waiting" and "sender" in x["text"]])
        w.start_agent("site")
        r.ends(0)
        same(path, w.path("in/a.bin"))


@case("files go the other way, resumed, with their hash, under a name of our making")
def _(w):
    two_agents(w)
    box = w.path("box")
    os.mkdir(box)
    path = fill(w.path("out/photo.jpg"), 30 * MB + 1)
    with share(w, "--upload", box, "--limit", "100MB") as s:
        get(w, s.code, "--send", path).ends(0).event("sent")
        same(path, os.path.join(box, "photo.jpg"))
        get(w, s.code, "--send", path, "--send", fill(w.path("out/.profile"), 0)).ends(0)
        if sorted(os.listdir(box)) != ["photo (2).jpg", "photo.jpg", "profile"]:
            raise Failed(f"    {os.listdir(box)}")
        s.event("uploaded", name="photo (2).jpg")
        large = fill(w.path("out/large"), 60 * MB)
        r = get(w, s.code, "--send", large).ends(1)
        if "larger than this share allows" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")
        r = get(w, s.code, w.path("in")).ends(1)
        if "--send" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")
    with share(w, fill(w.path("out/x"), 10)) as s:
        r = get(w, s.code, "--send", path).ends(1)
        if "takes no files" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")


@case("an upload that the disk does not hold is refused before a byte of it comes, and what it holds is taken")
def _(w):
    need_root()
    two_agents(w)
    box = w.path("box")
    os.mkdir(box)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=84m", "none", box], check=True)  # 64 MB stay free
    try:
        with share(w, "--upload", box) as s:
            r = get(w, s.code, "--send", fill(w.path("out/large"), 30 * MB)).ends(1)
            if "not enough room on the disk" not in "".join(r.errors):
                raise Failed(f"    {r.errors}")
            if os.listdir(box):
                raise Failed(f"    left behind: {os.listdir(box)}")
            small = fill(w.path("out/small"), 10 * MB)
            get(w, s.code, "--send", small).ends(0)
            same(small, os.path.join(box, "small"))
    finally:
        subprocess.run(["umount", "-l", box], check=False)


@case("an upload whose file is written to while the way is away goes no further, be its date as before")
def _(w):
    two_agents(w)
    os.mkdir(w.path("box"))
    path = fill(w.path("out/a.bin"), 150 * MB)
    date = os.stat(path).st_mtime_ns
    with share(w, "--upload", w.path("box")) as s:
        r = get(w, s.code, "--send", path)
        s.event("uploading")
        w.kill_hard(w.agents["home"])
        with open(path, "r+b") as f:
            f.write(b"another")
        os.utime(path, ns=(date, date))
        w.start_agent("home")
        r.ends(1)
        if "has changed while it was sent" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")


@case("an upload that is broken off leaves nothing behind, and one that is interrupted goes on")
def _(w):
    two_agents(w)
    box = w.path("box")
    os.mkdir(box)
    path = fill(w.path("out/a.bin"), 150 * MB)
    with share(w, "--upload", box) as s:
        r = get(w, s.code, "--send", path)
        s.event("uploading")
        r.stop(signal.SIGKILL)
        r = get(w, s.code, "--send", path)
        wait_for("it began", lambda: len([x for x in s.lines if x["event"] == "uploading"]) == 2)
        w.kill_hard(w.agents["home"])
        w.start_agent("home")
        r.ends(0)
        same(path, os.path.join(box, "a.bin"))
        if os.listdir(box) != ["a.bin"]:
            raise Failed(f"    {os.listdir(box)}")


@case("--once: the first that begins has it, the other is told so, and it ends with that")
def _(w):
    two_agents(w)
    path = fill(w.path("out/a.bin"), 100 * MB)
    with share(w, path, "--once") as s:
        first = get(w, s.code, w.path("in"))
        s.event("begun")
        first.p.send_signal(signal.SIGSTOP)  # it is not to be done before the second one asks
        r = get(w, s.code, w.path("in2")).ends(1)
        if "somebody else" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")
        s.event("taken")
        first.p.send_signal(signal.SIGCONT)
        first.ends(0)
        same(path, w.path("in/a.bin"))
        s.ends(0)


def echoed(port):
    with contextlib.suppress(OSError), connect(port) as c:
        c.settimeout(20)
        c.sendall(b"again")
        return c.recv(100) == b"again"
    return False


def ended(c):
    c.settimeout(0.5)
    try:
        c.sendall(b"x")
        while c.recv(100):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


@case("a service: a port at the receiver leads to it, and to nothing else")
def _(w):
    two_agents(w)
    with Target(w.target_port(0), echo), share(w, "--tcp", f"127.0.0.1:{w.target_port(0)}") as s, get(w, s.code) as r:
        at = r.event("listening")["name"]
        c = connect(int(at.rsplit(":", 1)[1]))
        c.sendall(b"through")
        if c.recv(100) != b"through":
            raise Failed("    it does not lead there")
        c.close()
        w.kill_hard(w.agents["site"])
        w.start_agent("site")

        wait_for("it leads there again after a restart of the sender's agent", lambda: echoed(int(at.rsplit(":", 1)[1])))


@case("a service whose share is over is left, also by the guest of another one")
def _(w):
    two_agents(w)
    with Target(w.target_port(0), echo), share(w, "--tcp", f"127.0.0.1:{w.target_port(0)}") as first, \
            share(w, "--tcp", f"127.0.0.1:{w.target_port(0)}") as second, get(w, first.code) as a, get(w, second.code) as b:
        ports = [int(r.event("listening")["name"].rsplit(":", 1)[1]) for r in (a, b)]
        with connect(ports[0]) as c:
            c.sendall(b"through")
            if c.recv(100) != b"through":
                raise Failed("    it does not lead there")
            wait_for("the second one's port leads there, too", lambda: echoed(ports[1]))
            a.p.send_signal(signal.SIGSTOP)  # a receiver that does not care
            first.stop()
            wait_for("the first one's connection ends", lambda: ended(c))
            wait_for("the second one's port leads there again", lambda: echoed(ports[1]))
            a.p.send_signal(signal.SIGCONT)


@case("a receiver without an agent needs the code with its @HOST:PORT, and is a guest of that share alone")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    path = fill(w.path("out/a.bin"), 3 * MB)
    os.mkdir(w.path("nothing"))
    with share(w, path) as s:
        if not s.code.endswith(f"@127.0.0.1:{w.base}"):
            raise Failed(f"    {s.code}")
        get(w, s.code, w.path("in"), runtime="nothing").ends(0)
        same(path, w.path("in/a.bin"))
        r = get(w, s.code.split("@")[0], w.path("in"), runtime="nothing").ends(1)
        if "@HOST:PORT" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")
    r = get(w, s.code, w.path("in3"), runtime="nothing").ends(1, seconds=60)
    if "no such share" not in "".join(r.errors):
        raise Failed(f"    {r.errors}")


@case("root in a folder of its own: the agent that is started becomes nobody, cannot be run there, and the message says what to do")
def _(w):
    need_root()
    two_agents(w)
    os.makedirs(w.path("nothing"))
    os.mkdir(w.path("private"), 0o700)
    for program in (world.STILE, os.path.join(BUILD, "tunnel/stile-agent")):
        shutil.copy(program, w.path("private"))
    with share(w, fill(w.path("out/a"), 17)) as s:
        r = get(w, s.code, w.path("in"), runtime="nothing", program=w.path("private/stile")).ends(1)
    if "may not run it there: start stile get as an ordinary user" not in "".join(r.errors) or "(Permission denied)" in "".join(r.errors):
        raise Failed(f"    {r.errors}")


@case("share.connect_order goes with the code: a receiver without an agent, to whom the server's port is shut, tries the next one")
def _(w):
    shut, other = w.target_port(5), w.target_port(6)
    w.server(listen=f'["tls:127.0.0.1:{w.base}", "tls:127.0.0.1:{other}"]')
    w.agent("site")
    w.connected("site")
    os.mkdir(w.path("nothing"))
    path = fill(w.path("out/a.bin"), MB)
    order = w.write("order.yaml", f"share: {{ connect_order: [{shut}, {other}] }}\n")
    with share(w, path, "-c", order) as s:
        if not s.code.endswith(f"@127.0.0.1:{w.base},{shut},{other}"):
            raise Failed(f"    {s.code}")
        get(w, s.code.replace(f":{w.base},", f":{w.target_port(7)},"), w.path("in"), runtime="nothing").ends(0)
        same(path, w.path("in/a.bin"))


@case("--expire ends it by itself, and a wrong code is told apart from a mistyped one")
def _(w):
    two_agents(w)
    path = fill(w.path("out/a.bin"), 1000)
    s = share(w, path, "--expire", "10s")
    with share(w, "--tcp", "127.0.0.1:9") as told:  # meanwhile: at the agent another time is given, and an end
        w.ask_agent("site", "agent", "share", "change", told.id, "--expire", "30d").exits(0)
        told.event("expires")
        row = [r for r in w.agent_verb("site", "agent.shares")["rows"] if r["share"] == told.id][0]
        if not 29 * 86400 < row["expires"] - time.time() < 31 * 86400 or row["name"] != "127.0.0.1 port 9":
            raise Failed(f"    {row}")
        w.ask_agent("site", "agent", "share", "end", told.id).exits(0)
        if "was ended at the agent" not in "".join(told.ends(1).errors):
            raise Failed(f"    {told.errors}")
        w.ask_agent("site", "agent", "share", "end", told.id).exits(1).says("there is no share")
    with share(w, path, "--expire", "30d") as told:
        w.ask_agent("site", "agent", "share", "change", told.id, "--expire", "2s").exits(0)
        told.ends(0).event("done")
    s.ends(0)
    r = get(w, s.code, w.path("in")).ends(1)
    if "no such share" not in "".join(r.errors):
        raise Failed(f"    {r.errors}")
    get(w, ("0" if s.code[0] != "0" else "1") + s.code[1:], w.path("in")).ends(2)
    for bad in (["/dev/null"], ["/nonexistent"], [], ["--tcp", "x"], [path, "--expire", "never"], ["--upload", "/nonexistent"]):
        if w.ask("share", *bad, "--instance", "site").status == 0:
            raise Failed(f"    {bad} was taken")


@case("who asks for a share of his own agent is told so at once, and does not wait")
def _(w):
    w.server()
    w.agent("site")
    w.connected("site")
    with share(w, fill(w.path("out/a.bin"), 100)) as s:
        r = get(w, s.code, agent="site").ends(1)
        if "that is this agent's own share: what it has is on this machine" not in "".join(r.errors):
            raise Failed(f"    {r.errors}")


@case("--to sends the link as a SIP MESSAGE through stile-sip, with the password of one of its users")
def _(w):
    two_agents(w)
    port = w.base + 35
    w.write("sip.yaml", f"""log: {{ level: debug, dir: {w.path('log')} }}
store: {{ path: {w.path('store-sip')} }}
sip:
  domains: [uc.test]
  listen: ["udp:127.0.0.1:{port}", "tcp:127.0.0.1:{port}"]
  timers: {{ probe: 0s }}
  users: [ {{ name: alice, password: correct-horse }}, {{ name: bob, password: battery-staple }} ]
""")
    w.program([os.path.join(BUILD, "sip-proxy/stile-sip"), "-c", w.path("sip.yaml")], "stile-sip").wait_ready()
    with Ua("tcp", ("127.0.0.1", port)) as bob:
        me = {"From": "<sip:bob@uc.test>;tag=b", "To": "<sip:bob@uc.test>", "Contact": f"<sip:bob@{bob.place()};transport=tcp>", "Expires": "300"}
        r = bob.ask("REGISTER", "sip:uc.test", **me)
        line = "Authorization: " + credentials(r.get("WWW-Authenticate"), "bob", "battery-staple", "REGISTER", "sip:uc.test")
        r = bob.ask("REGISTER", "sip:uc.test", [line], **me)
        if r.status != 200:
            raise Failed(f"    {r}")
        with share(w, fill(w.path("out/a.bin"), 10), "--to", "sip:bob@uc.test", "-c", w.path("sip.yaml")) as s:
            m = bob.expect(method="MESSAGE", seconds=PATIENCE)
            bob.reply(m, 200)
            s.event("message")
            if s.code not in m.body.decode() or "sip:alice@uc.test" not in m.get("From"):
                raise Failed(f"    {m.get('From')}: {m.body}")
        with share(w, w.path("out/a.bin"), "--to", "sip:nobody@uc.test", "-c", w.path("sip.yaml")) as s:
            said = s.event("message-failed")
            if "404" not in said["text"] and "480" not in said["text"]:
                raise Failed(f"    {said}")


if __name__ == "__main__":
    sys.exit(main(26100))
