# SPDX-License-Identifier: Apache-2.0
"""Whoever may not send gets nothing through: strangers, channels that ended, rules that changed. What the peer and the
client hear is the proof, and the kernel's own counters."""
import os
import signal
import time

from fastlab import PEER, Client, Failed, inside, run
from ways import Pair, expect, in_kernel

LIFETIME = 8  # s, of an allocation that is to expire: a busy machine is late by seconds


def quiet(pair, tries=10):
    """Sends both ways and hears nothing."""
    while pair.heard(seconds=0.05) is not None:
        pass
    for send in (lambda: pair.client.send_channel(pair.number, b"forbidden"), lambda: pair.say(b"forbidden")) * tries:
        try:
            send()
        except ConnectionRefusedError:
            pass  # what the server answered to the one before: nobody has this port
    heard = pair.heard(seconds=0.5)
    if heard is not None:
        raise Failed(f"the peer heard {heard!r}")
    pair.client.socket.settimeout(0.3)
    try:
        got = pair.client.socket.recv(2048)
        if b"forbidden" in got:
            raise Failed(f"the client heard {got!r}")
    except (TimeoutError, ConnectionError):
        pass


def strangers(lab):
    pair = Pair(lab)
    lab.at(lab.peer, "ip", "address", "add", "203.0.113.3/24", "dev", "eth0")
    same, other = lab.udp(lab.peer, PEER[4]), lab.udp(lab.peer, "203.0.113.3")
    imposter = Client(lab)  # another five-tuple, the same channel
    lab.sockets.append(imposter.socket)
    kernel = in_kernel(lab)
    other.sendto(b"nobody asked for this", pair.client.relay)
    imposter.send_channel(pair.number, b"not my channel")
    pair.client.send_channel(pair.number + 1, b"never bound")
    if pair.heard(seconds=0.5) is not None or pair.client.receive(0.5) is not None:
        raise Failed("a stranger was heard")
    same.sendto(b"by indication", pair.client.relay)  # its address has a permission, its port no channel
    got = pair.client.receive()
    if not got or got[0] != 0x0017 or b"by indication" not in got[1]:
        raise Failed(f"no Data indication came: {got}")
    expect("packets in the kernel", in_kernel(lab), kernel)
    pair.both((100,))


def released(lab):
    pair = Pair(lab)
    pair.both((10, 20))
    expect("Refresh", pair.client.refresh(0), 0)
    quiet(pair)
    expect("packets in the kernel", in_kernel(lab), (2, 2))
    lab.wait(lambda: "turn.alloc.ended" in lab.said("turn"), "the line of its end")
    line = [text for text in lab.said("turn").splitlines() if "turn.alloc.ended" in text][-1]
    for words in ("packets_up=2 bytes_up=30 packets_down=2 bytes_down=30", "released by the client"):
        if words not in line:
            raise Failed(f"the log says: {line}")


def killed(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.stile("turn", "kill", str(pair.session()["id"]))
    quiet(pair)
    expect("packets in the kernel", in_kernel(lab), (1, 1))
    lab.wait(lambda: lab.status()[1]["channels"] == 0, "the rules to go")


def datagrams_at(name):
    """UDP datagrams that have come in there, those included for which the socket had no room."""
    with inside(name), open("/proc/thread-self/net/snmp", encoding="ascii") as f:
        names, values = [line.split()[1:] for line in f if line.startswith("Udp:")]
    counted = dict(zip(names, map(int, values)))
    return counted["InDatagrams"] + counted["RcvbufErrors"]


def counted_under_load(lab):
    """Ended in the middle of a stream: what the peer got is what was counted, to the packet."""
    pair = Pair(lab)
    before = datagrams_at(lab.peer)
    child = os.fork()
    if child == 0:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            for _ in range(20):
                pair.client.send_channel(pair.number, b"n" * 100)
            time.sleep(0.0005)  # or the peer's queue overflows, which is nobody's fault
        os._exit(0)
    time.sleep(0.7)
    lab.stile("turn", "kill", str(pair.session()["id"]))
    os.waitpid(child, 0)
    while pair.heard(seconds=0.3) is not None:
        pass  # what is read is counted
    got = datagrams_at(lab.peer) - before
    line = [text for text in lab.said("turn").splitlines() if "turn.alloc.ended" in text][-1]
    counted = int(line.split("packets_up=")[1].split()[0])
    if not got or got != counted:
        raise Failed(f"the peer got {got} packets, {counted} were counted")
    expect("packets in the kernel", in_kernel(lab)[0] > got // 2, True)


def expires(lab):
    """The kernel's clock ends it: stile-turn is stopped (SIGSTOP) and can do nothing."""
    pair = Pair(lab, lifetime=LIFETIME)
    began = time.monotonic()
    pair.both((10,))
    lab.signal("turn", signal.SIGSTOP)
    pair.both((10,))
    while time.monotonic() - began < 3:
        pair.both((1,))
        time.sleep(0.2)
    time.sleep(max(0.0, LIFETIME + 0.2 - (time.monotonic() - began)))
    quiet(pair)
    lab.signal("turn", signal.SIGCONT)
    lab.wait(lambda: "cause=expired" in lab.said("turn"), "the allocation's end")
    quiet(pair)


def refreshed(lab):
    pair = Pair(lab, lifetime=LIFETIME)
    expect("Refresh", pair.client.refresh(60), 0)
    time.sleep(LIFETIME + 1)
    kernel = in_kernel(lab)
    pair.both((10,))
    expect("packets in the kernel", in_kernel(lab), (kernel[0] + 1, kernel[1] + 1))
    expect("ChannelBind again", pair.client.bind(pair.number, *pair.at), 0)
    pair.both((10,))
    expect("packets in the kernel", in_kernel(lab), (kernel[0] + 2, kernel[1] + 2))


def forbidden_by_reload(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.configure(peers='allow: [203.0.113.2/31], deny: [203.0.113.2]')
    out = lab.stile("reload", "turn")
    if "turn.peers.deny" not in out:
        raise Failed("stile reload says: " + out)
    quiet(pair)
    expect("packets in the kernel", in_kernel(lab), (1, 1))
    if "turn.peer.revoked" not in lab.said("turn"):
        raise Failed("the log does not say that the permission ended")
    lab.configure()
    lab.stile("reload", "turn")
    quiet(pair)  # what ended does not come back by itself
    expect("ChannelBind", pair.client.bind(pair.number, *pair.at), 0)
    lab.wait_offloaded(1)
    pair.both((10,))


def limited_by_reload(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.configure("  limits: { bitrate_per_user: 1Mbit/s }\n")
    lab.stile("reload", "turn")
    expect("the fast path", [lab.status()[0][k] for k in ("channels", "offloaded")], [1, 0])
    expect("the reason", lab.status()[0]["others"], [{"why": "a bit rate is limited", "channels": 1}])
    pair.both((10,))
    expect("packets in the kernel", in_kernel(lab), (1, 1))
    lab.configure("")
    lab.stile("reload", "turn")
    lab.wait_offloaded(1)
    pair.both((10,))
    expect("packets in the kernel", in_kernel(lab), (2, 2))
    s = pair.session()
    expect("the session's counters", [s[k] for k in ("packets_up", "packets_down")], [3, 3])


def port_again(lab):
    """The next allocation on the same relay port has nothing of the last one."""
    pair = Pair(lab)
    pair.both((10,))
    pair.client.refresh(0)
    again = Client(lab)
    again.allocate(4)
    lab.sockets.append(again.socket)
    expect("the port", again.relay, pair.client.relay)
    pair.say(b"for the one before")
    if again.receive(0.5) is not None:
        raise Failed("the new allocation heard the old peer")
    expect("ChannelBind", again.bind(0x4005, *pair.at), 0)
    lab.wait_offloaded(1)
    pair.say(b"for you")
    expect("what it hears", again.receive(), (0x4005, b"for you"))


def foreign_user(lab):
    """Its socket is for stile-turn's user; and who breaks the protocol loses the connection, nobody else."""
    pair = Pair(lab)
    path = os.path.join(lab.folder, "stile-fastpath.channels")
    expect("the socket's mode", os.stat(path).st_mode & 0o777, 0o600)
    code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n"
            "s.settimeout(5)\n"
            "try:\n s.send(b'x'*128)\n print(len(s.recv(256)))\nexcept OSError as e:\n print(type(e).__name__)\n")
    _, out = run(["python3", "-c", code, path], check=False)
    if out.strip() not in ("0", "ConnectionResetError"):
        raise Failed(f"garbage was answered: {out}")
    lab.wait(lambda: "it broke the protocol" in lab.said("fastpath"), "the helper's line")
    os.chmod(lab.folder, 0o755)
    os.chmod(path, 0o666)
    _, out = run(["setpriv", "--reuid", "65534", "--clear-groups", "python3", "-c", code, path], check=False)
    if out.strip() not in ("0", "ConnectionResetError", "BrokenPipeError"):
        raise Failed(f"another user was answered: {out}")
    lab.wait(lambda: "fastpath.client.refused" in lab.said("fastpath"), "the refusal")
    kernel = in_kernel(lab)
    pair.both((10,))
    expect("packets in the kernel", in_kernel(lab), (kernel[0] + 1, kernel[1] + 1))


CASES = (
    ("strangers, other channels and other ports do not pass", strangers, ""),
    ("a released allocation relays nothing more, and its last counters are exact", released, ""),
    ("a killed allocation relays nothing more", killed, ""),
    ("an allocation killed under load has counted every packet", counted_under_load, ""),
    ("an allocation expires in the kernel while stile-turn is stopped", expires, "  lifetime: { default: 3s }\n"),
    ("a refresh prolongs it in the kernel", refreshed, "  lifetime: { default: 3s }\n"),
    ("a reload that forbids the peer ends it at once", forbidden_by_reload, ""),
    ("a reload that limits the bit rate takes it out of the kernel", limited_by_reload, ""),
    ("a relay port that is used again starts clean", port_again, "  relay: { addresses: [203.0.113.1], ports: 50000-50000 }\n"),
    ("the helper's socket answers to stile-turn's user only", foreign_user, ""),
)
