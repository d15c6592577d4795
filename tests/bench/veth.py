# SPDX-License-Identifier: Apache-2.0
"""Where a benchmark's packets go, and how the server's work is told from the network's: on veth pairs between two
network namespaces of the benchmark's own, or on loopback where these cannot be made.

    generator, CPU 0: 198.51.100.2, 203.0.113.2 -- veth pairs -- 198.51.100.1 and .3, 203.0.113.1 and .3: servers, CPU 1

Each side pays for what it receives: the kernel takes packets up in a thread for each interface (threaded NAPI), pinned to
its side's CPU, ahead of all else there as softirq is. So the scheduler knows to the nanosecond what the server used
(process) and what receiving used (with the former: host), whatever else the machine does. Receiving joins what arrives in a
row for a socket with UDP_GRO, as a network card's driver does."""
import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fastpath"))
from fastlab import SIOCETHTOOL, inside, set_offloads  # noqa: E402
from lab import Failed, enter, run  # noqa: E402

GSTRINGS, GSSET_INFO, SFEATURES, SS_FEATURES = 0x1B, 0x37, 0x3B, 4  # linux/ethtool.h
LINKS = (("l", "m", "198.51.100"), ("r", "s", "203.0.113"))  # letters of the interfaces: servers', generator's
POLLER_PRIORITY = 2  # before the servers (servers.py)


class Loopback:
    """Everything on addresses A.B.C.1 to .3 of this host."""

    name = "loopback"

    def __init__(self, net):
        self.hosts = {"stile": (f"{net}.1", f"{net}.1"), "turnserver": (f"{net}.2", f"{net}.2")}
        self.peer = f"{net}.3"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def server_side(self):
        return []

    generator_side = server_side

    def at_generator(self):
        return inside_nothing()

    def aggregate(self, _on):
        pass

    def receiving_s(self):
        """Sender and receiver cannot be told apart here."""
        return 0, 0


class inside_nothing:  # pylint: disable=invalid-name
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Veth:
    """Two namespaces, one veth pair for the clients' side and one for the peers'."""

    name = "veth"

    def __init__(self, cpu_generator, cpu_servers):
        self.gen, self.srv = (f"stile{os.getpid()}-b{x}" for x in "gs")
        self.cpu = {self.gen: cpu_generator, self.srv: cpu_servers}
        self.hosts = {"stile": ("198.51.100.1", "203.0.113.1"), "turnserver": ("198.51.100.3", "203.0.113.3")}
        self.peer = "203.0.113.2"
        self.pollers = {self.gen: [], self.srv: []}

    def __enter__(self):
        try:
            for name in (self.gen, self.srv):
                run(["ip", "netns", "add", name])
                run([*enter(name), "ip", "link", "set", "lo", "up"])
            for letter, other, net in LINKS:
                link, peer = self.device(letter), self.device(other)
                run([*enter(self.srv), "ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", self.gen])
                self.configure(self.srv, link, [f"{net}.1/24", f"{net}.3/24"])
                self.configure(self.gen, peer, [f"{net}.2/24"])
            self.aggregate(False)
        except BaseException:
            self.__exit__()
            raise
        return self

    @staticmethod
    def device(letter):
        """A name that no other run has: the pollers are found by it."""
        return f"b{letter}{os.getpid()}"

    def __exit__(self, *_):
        for name in (self.gen, self.srv):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def configure(self, name, dev, addresses):
        for address in addresses:
            run([*enter(name), "ip", "address", "add", address, "dev", dev])
        run([*enter(name), "ip", "link", "set", dev, "up"])
        with inside(name):
            set_offloads(dev, tx=1, tso=0, gso=1, gro=1)
        run([*enter(name), "unshare", "-m", "sh", "-c", f"mount -t sysfs none /sys && echo 1 > /sys/class/net/{dev}/threaded"])
        self.adopt_pollers(name, dev)

    def adopt_pollers(self, name, dev):
        for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if not f.read().startswith(f"napi/{dev}-"):
                        continue
                os.sched_setaffinity(pid, {self.cpu[name]})
                os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(POLLER_PRIORITY))
            except (OSError, UnicodeDecodeError):
                continue  # it ended meanwhile
            self.pollers[name].append(pid)
        if not self.pollers[name]:
            raise Failed(f"the kernel has no receiving thread for {dev}")

    def receiving_s(self):
        """CPU seconds that receiving has taken: for the servers, for the generator."""
        total = {}
        for name in (self.srv, self.gen):
            total[name] = 0
            for pid in self.pollers[name]:
                with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                    total[name] += int(f.read().split()[0])
        return total[self.srv] / 1e9, total[self.gen] / 1e9

    def server_side(self):
        return enter(self.srv)

    def generator_side(self):
        return enter(self.gen)

    def at_generator(self):
        return inside(self.gen)

    def aggregate(self, on):
        """The servers' network cards make checksums and cut UDP runs, as cards of today do. Whether what the generator
        sends crosses the links whole, as where the receiving card joins it, or is cut by its sender."""
        for name, side, whole in ((self.srv, 0, True), (self.gen, 1, on)):
            with inside(name):
                for letters in LINKS:
                    set_feature(self.device(letters[side]), b"tx-udp-segmentation", whole)


def set_feature(dev, name, on):
    """What ethtool -K does with a feature that has no call of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        def call(command):
            buffer = ctypes.create_string_buffer(command, len(command) + 1)
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP", dev.encode(), ctypes.addressof(buffer)))
            return buffer.raw[:len(command)]

        count = struct.unpack_from("I", call(struct.pack("IIQI", GSSET_INFO, 0, 1 << SS_FEATURES, 0)), 16)[0]
        names = call(struct.pack("III", GSTRINGS, SS_FEATURES, count) + bytes(32 * count))[12:]
        bit = [names[32 * i:32 * i + 32].rstrip(b"\0") for i in range(count)].index(name)
        words = [(1 << bit >> 32 * i & 0xFFFFFFFF) for i in range((count + 31) // 32)]
        call(struct.pack("II", SFEATURES, len(words)) + b"".join(struct.pack("II", w, w if on else 0) for w in words))


def counted(argv, data, pid):
    """The command, with the system calls of a process counted as long as it runs."""
    return ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", str(pid), "-o", data, "--", *argv]


def syscalls(data):
    with open(data, encoding="utf-8") as f:
        found = re.search(r"^(\d+),,raw_syscalls", f.read(), re.M)
    if not found:
        raise Failed("perf stat counted no system calls")
    return int(found.group(1))

