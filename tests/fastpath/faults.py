# SPDX-License-Identifier: Apache-2.0
"""Programs that die: user space carries on without the helper, and without stile-turn nothing is relayed."""
import os
import signal
import time

from ends import quiet
from fastlab import Failed
from ways import Pair, expect, in_kernel


def programs_left(lab):
    """Programs attached to the server's interfaces, by anybody."""
    out = lab.at(lab.server, "ip", "-d", "link", "show", check=False)[1]
    return out.count("prog/xdp")


def helper_killed(lab):
    pair = Pair(lab)
    pair.both((10, 20))
    lab.signal("fastpath", signal.SIGKILL)
    pair.both((30, 40))  # at once, by whatever way
    lab.wait(lambda: lab.status()[0]["offloaded"] == 0, "stile-turn to notice")
    expect("the reason", lab.status()[0]["others"], [{"why": "stile-fastpath does not answer", "channels": 1}])
    kernel = in_kernel(lab)
    pair.both((50,))
    expect("packets in the kernel", in_kernel(lab), kernel)
    expect("programs of XDP", programs_left(lab), 0)
    if "turn.fast-path.down" not in lab.said("turn"):
        raise Failed("the log does not say that the helper is gone")
    lab.start("fastpath")
    lab.wait_offloaded(1)
    pair.both((60,))
    expect("packets in the kernel", in_kernel(lab), (kernel[0] + 1, kernel[1] + 1))
    s = pair.session()
    expect("the session's counters", [s[k] for k in ("packets_up", "bytes_up", "packets_down", "bytes_down")], [6, 210, 6, 210])


def helper_stopped(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.stop("fastpath")
    pair.both((10,))
    del lab.processes["fastpath"]
    expect("the reason", lab.status()[0]["others"], [{"why": "stile-fastpath does not answer", "channels": 1}])


def turn_killed(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.signal("turn", signal.SIGKILL)
    lab.wait(lambda: lab.status()[1]["channels"] == 0, "the helper to notice", 3)
    quiet(pair)
    lab.start("turn")
    lab.wait_connected()
    quiet(pair)


def both_killed(lab):
    pair = Pair(lab)
    pair.both((10,))
    lab.signal("fastpath", signal.SIGKILL)
    lab.signal("turn", signal.SIGKILL)
    time.sleep(2.5)  # where the kernel has no links for TC, what is left over does nothing after 2 s
    quiet(pair)


def helper_hangs(lab):
    """A helper that does not answer delays nobody: channels ended meanwhile pass nothing."""
    pair = Pair(lab)
    lab.signal("fastpath", signal.SIGSTOP)
    pair.both((10,))
    other = Pair(lab, number=0x4007, n_offloaded=0)
    other.both((10,))
    pair.client.refresh(0)
    quiet(pair)
    other.client.refresh(0)
    lab.signal("fastpath", signal.SIGCONT)
    lab.wait(lambda: lab.status()[1]["channels"] == 0, "the rules to go")
    third = Pair(lab, number=0x4008)
    third.both((10,))


def no_capabilities(lab):
    """stile-turn has none for it, and its workers none at all; the helper two; and it lives as another user."""
    Pair(lab)

    def effective(which):
        with open(f"/proc/{which}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("CapEff")).split()[1], 16)
    turn, fastpath = (lab.processes[name][0].pid for name in ("turn", "fastpath"))
    expect("stile-turn's capabilities", effective(turn), 1 << 10)  # for listeners of later reloads: docs/decisions/0015
    with open(f"/proc/{turn}/exe", "rb") as f:
        own_threads = 1 if b"__tsan_init" in f.read() else 0  # the sanitizer's, older than our first line
    tasks = sorted(int(t) for t in os.listdir(f"/proc/{turn}/task") if int(t) != turn)
    for task in tasks[own_threads:]:
        expect("a worker's capabilities", effective(f"{turn}/task/{task}"), 0)
    expect("stile-fastpath's capabilities", effective(fastpath), 1 << 39 | 1 << 12)


def many_channels(lab):
    """More channels than there are slots: the rest stays in user space, and gets in when there is room."""
    pairs = [Pair(lab, number=0x4000 + i, n_offloaded=0) for i in range(6)]
    lab.wait_offloaded(4)
    expect("the reason", lab.status()[0]["others"], [{"why": "turn.fast_path.channels is reached", "channels": 2}])
    for p in pairs:
        p.both((10,))
    for p in pairs[:4]:
        p.client.refresh(0)
    for p in pairs[4:]:
        p.client.bind(p.number, *p.at)
    lab.wait_offloaded(2)
    for p in pairs[4:]:
        p.both((10,))


CASES = (
    ("with the helper killed sessions go on in user space, and come back", helper_killed, ""),
    ("the helper may be stopped", helper_stopped, ""),
    ("with stile-turn killed nothing is relayed", turn_killed, ""),
    ("with both killed nothing is relayed", both_killed, ""),
    ("a helper that hangs delays nobody", helper_hangs, ""),
    ("stile-turn needs no capability for it, the helper two", no_capabilities, ""),
    ("more channels than there is room for", many_channels, "SLOTS 4"),
)
