# SPDX-License-Identifier: Apache-2.0
"""Clients of others with the fast path on: coturn's turnutils_uclient and aioice's agents, in the client's namespace,
with their peers in the peer's. What they send over channels must have gone through the kernel."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import turnutils  # noqa: E402
from fastlab import LEFT, PASSWORD, PEER, PORT, USER, Failed, die_with_us, enter  # noqa: E402
from ways import in_kernel  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
MESSAGES = 100


def popen(name, *argv):
    return subprocess.Popen([*enter(name), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, preexec_fn=die_with_us)


def uclient(client, peer, options=(), kernel=True):
    def case(lab):
        lab.wait_connected()
        with open(os.path.join(lab.folder, "peer.log"), "wb") as log:
            echo = subprocess.Popen([*enter(lab.peer), "turnutils_peer", "-L", PEER[peer], "-p", "3480"], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, preexec_fn=die_with_us)
        try:
            lab.wait(lambda: is_bound(lab, 3480) or echo.poll() is not None, "turnutils_peer")
            _, out = lab.at(lab.client, "turnutils_uclient", "-c", "-n", str(MESSAGES), "-z", "20", "-p", str(PORT), "-u", USER,
                            "-w", PASSWORD, *(["-x"] if peer == 6 else []), "-e", PEER[peer], "-r", "3480", *options, LEFT[client],
                            check=False, timeout=90)
        finally:
            echo.kill()
            echo.wait()
        turnutils.judge(out)
        up, down = in_kernel(lab)
        if kernel and min(up, down) < MESSAGES // 2:
            raise Failed(f"only {up} and {down} packets went through the kernel: {lab.status()}")
        if kernel is False and (up or down):
            raise Failed(f"{up} and {down} packets went through the kernel")
    return case


def is_bound(lab, port):
    out = lab.at(lab.peer, "ss", "-lun", check=False)[1]
    return f":{port} " in out


def aioice(lab):
    lab.wait_connected()
    agent = os.path.join(HERE, "ice_agent.py")
    agents = [popen(lab.client, "/usr/bin/python3", agent, LEFT[4], str(PORT), USER, PASSWORD), popen(lab.peer, "/usr/bin/python3", agent)]
    try:
        lines = [a.stdout.readline() for a in agents]
        for a, line in zip(agents, reversed(lines)):
            if not line.startswith("{"):
                raise Failed(f"an agent said {line.strip()!r} {[x.poll() for x in agents]}")
            a.stdin.write(line)
            a.stdin.flush()
        for a in agents:
            said = a.stdout.read()
            if a.wait(60) != 0 or "done" not in said:
                raise Failed(f"an agent ended with {a.returncode}: {said.strip()[-300:]}")
    finally:
        for a in agents:
            a.kill()
            a.wait()
    up, down = in_kernel(lab)
    if min(up, down) < 50:
        raise Failed(f"only {up} and {down} packets went through the kernel")


CASES = (
    ("turnutils_uclient, IPv4 to IPv4", uclient(4, 4), ""),
    ("turnutils_uclient, IPv4 to IPv6", uclient(4, 6), ""),
    ("turnutils_uclient, IPv6 to IPv4", uclient(6, 4), ""),
    ("turnutils_uclient, IPv6 to IPv6", uclient(6, 6), ""),
    ("turnutils_uclient with 1200 bytes", uclient(4, 4, ["-l", "1200"]), ""),
    ("turnutils_uclient with padding", uclient(4, 4, ["-D", "-l", "101"], kernel=None), ""),
    ("turnutils_uclient with DONT-FRAGMENT", uclient(4, 4, ["-g"]), ""),
    ("turnutils_uclient with mobility", uclient(4, 4, ["-M"]), ""),
    ("turnutils_uclient with ten clients", uclient(4, 4, ["-m", "10"]), ""),
    ("turnutils_uclient with Send indications stays in user space", uclient(4, 4, ["-s"], kernel=False), ""),
    ("turnutils_uclient over TCP stays in user space", uclient(4, 4, ["-t"], kernel=False), ""),
    ("aioice relays to a host candidate", aioice, ""),
)
