# SPDX-License-Identifier: Apache-2.0
"""Where a benchmark's packets go, and how the server's work is told from the network's: on veth pairs between two
network namespaces of the benchmark's own, or on loopback where these cannot be made.

    generator, CPU 0: 198.51.100.2, 203.0.113.2 -- veth pairs -- 198.51.100.1 and .3, 203.0.113.1 and .3: servers, CPU 1

On veth each side pays for what it receives: packets for the servers' side are taken up by network softirq on
the servers' CPU (RPS). perf samples that CPU during a run; a sample inside net_rx_action is softirq, one of the
server's own threads outside it is process, both together are host; whatever else ran there is not counted."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fastpath"))
from fastlab import inside, set_offloads  # noqa: E402
from lab import Failed, enter, run  # noqa: E402

HZ = 4000
LINKS = (("left", "eth0", "198.51.100"), ("right", "eth1", "203.0.113"))


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

    def __enter__(self):
        try:
            for name in (self.gen, self.srv):
                run(["ip", "netns", "add", name])
                run([*enter(name), "ip", "link", "set", "lo", "up"])
            for link, other, net in LINKS:
                run([*enter(self.srv), "ip", "link", "add", link, "type", "veth", "peer", "name", other, "netns", self.gen])
                self.configure(self.srv, link, [f"{net}.1/24", f"{net}.3/24"])
                self.configure(self.gen, other, [f"{net}.2/24"])
            self.aggregate(False)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.gen, self.srv):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def configure(self, name, dev, addresses):
        for address in addresses:
            run([*enter(name), "ip", "address", "add", address, "dev", dev])
        run([*enter(name), "ip", "link", "set", dev, "up"])
        run([*enter(name), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && "
             f"echo {1 << self.cpu[name]:x} > /sys/class/net/{dev}/queues/rx-0/rps_cpus"])

    def server_side(self):
        return enter(self.srv)

    def generator_side(self):
        return enter(self.gen)

    def at_generator(self):
        return inside(self.gen)

    def aggregate(self, on):
        """Whether runs cross the links whole, as between network cards that cut and join them (UDP segmentation and
        receive aggregation), or are cut by their sender and arrive one by one."""
        for name, devices in ((self.srv, ("left", "right")), (self.gen, ("eth0", "eth1"))):
            with inside(name):
                for dev in devices:
                    set_offloads(dev, tx=on, tso=0, gso=on, gro=0)


def sampled(argv, data, cpu):
    """The command, with perf sampling that CPU as long as it runs."""
    return ["perf", "record", "-q", "-B", "-N", "-C", str(cpu), "-e", "cpu-clock", "-F", str(HZ), "-g", "-o", data, "--", *argv]


def counted(argv, data, pid):
    """The command, with the system calls of a process counted as long as it runs."""
    return ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", str(pid), "-o", data, "--", *argv]


def syscalls(data):
    with open(data, encoding="utf-8") as f:
        found = re.search(r"^(\d+),,raw_syscalls", f.read(), re.M)
    if not found:
        raise Failed("perf stat counted no system calls")
    return int(found.group(1))


def cpu_seconds(data, pid):
    """(process, host): CPU seconds of a server's threads, and these with the network's softirq."""
    script = subprocess.run(["perf", "script", "-i", data, "-F", "pid,ip,sym"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, errors="replace", check=False).stdout
    process = softirq = 0
    for sample in re.split(r"\n\s*\n", script):
        head = sample.split(None, 1)
        if "net_rx_action" in sample:
            softirq += 1
        elif head and head[0].split("/")[0] == str(pid):
            process += 1
    return process / HZ, (process + softirq) / HZ
