# SPDX-License-Identifier: Apache-2.0
"""Machines for the commands of a guide: each a network, mount and process namespace with an /etc/stile, /var/lib, /var/log and /run of
its own, all in one network. What is written in a guide runs there as it stands: addresses, names, paths and all.

    with Network({"server": ["192.0.2.10", "10.0.0.5"], "site": ["198.51.100.20"]}, {"tunnel.example.org": "192.0.2.10"}) as net:
        net["server"].write("/etc/stile/stile.yaml", text)
        net["server"].run("systemctl enable --now stile-tunnel")

systemctl is a few lines of shell that start what they are told and wait until it answers. Root. A machine's processes end with it."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../netns"))
from lab import PATIENCE, SANITIZER, Failed, Skipped, die_with_us, run  # noqa: E402, F401

PROGRAMS = {"stile": "cli/stile", "stile-turn": "turn/stile-turn", "stile-tunnel": "tunnel/stile-tunnel", "stile-agent": "tunnel/stile-agent",
            "stile-sip": "sip-proxy/stile-sip", "stile-gateway": "gateway/stile-gateway", "stile-console": "console/stile-console"}
SYSTEMCTL = """#!/bin/bash
# Only what the guides ask of it: start these services, and wait until they answer. What runs is not started again.
for word; do
	case $word in
	stile-*)
		if pid=$(pidof "$word"); then
			[ "$1" = restart ] || continue
			kill "$pid"
			while grep -q "^State:.[^Z]" "/proc/$pid/status" 2>/dev/null; do sleep 0.1; done # nobody reaps it here
		fi
		name=${word#stile-}
		setsid "$word" --user root </dev/null >>"/var/log/$word.out" 2>&1 &
		for ((i = 0; i < 600; i++)); do
			stile ask "$name" service.status >/dev/null 2>&1 && continue 2
			kill -0 $! 2>/dev/null || break
			sleep 0.1
		done
		cat "/var/log/$word.out" >&2
		exit 1
		;;
	enable | start | restart | --now) ;;
	*) echo "systemctl $word: not here" >&2; exit 1 ;;
	esac
done
"""
# Of the host's /etc, in which nothing may be made.
ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "localtime", "protocols", "services", "ssl/openssl.cnf")
# In the new namespaces, before anything else.
SETUP = """set -e
mount --bind "$0/etc" /etc
for d in /run /var/log /var/lib /root; do mount -t tmpfs none $d; done
ip link set lo up
echo ready
exec sleep infinity
"""


class Machine:
    def __init__(self, net, name, addresses):
        self.net, self.name, self.addresses, self.background, self.stays = net, name, addresses, [], None
        self.folder = os.path.join(net.folder, name)
        os.makedirs(os.path.join(self.folder, "etc/ssl/certs"))
        os.makedirs(os.path.join(self.folder, "etc/stile/conf.d"))
        for path in ETC:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(os.path.join("/etc", path), os.path.join(self.folder, "etc", path))
        with open(self.outside("/etc/group"), "a", encoding="utf-8") as f:  # the package's; the user is not there, for all stay root here
            f.write("stile:x:64123:\n")
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
             "sh", "-c", SETUP, self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=die_with_us)
        said = self.process.stdout.readline()
        if said.strip() != "ready":
            raise Skipped(f"namespaces with mounts of their own are not permitted: {said.strip()}")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            self.pid = f.read().split()[0]

    def enter(self):
        return ["nsenter", "-t", self.pid, "-n", "-m", "-p", "-r"]  # -r: the root, too, is that of the machine, where this is a chroot

    def environment(self):
        return {"PATH": self.net.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=1")}

    def outside(self, path):
        """A path of /etc as this process sees it."""
        return os.path.join(self.folder, path.lstrip("/"))

    def write(self, path, text):
        with open(self.outside(path), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.outside(path), 0o640)

    def run(self, command, stdin=""):
        """Exit status and output of a line for a shell."""
        try:
            done = subprocess.run([*self.enter(), "bash", "-c", f"cd /root && {command}"], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", env=self.environment(), timeout=PATIENCE * 2, check=False)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{self.name}: {command} hung:\n{(e.stdout or b'').decode(errors='replace')}") from None
        return done.returncode, done.stdout

    def start(self, command):
        """A line that runs on; its output is in the file that comes back."""
        log = os.path.join(self.folder, f"background-{len(self.background)}")
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen([*self.enter(), "bash", "-c", f"cd /root && exec {command}"], stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=out, env=self.environment(), preexec_fn=die_with_us)
        self.background.append((process, command, log))
        return log

    def shell(self, command, stdin=""):  # stdin is the shell's own: nothing of it is for the command
        """The same in one shell that stays: its functions, folder and background jobs do, too."""
        if not self.stays:
            self.said = os.path.join(self.folder, "shell")
            with open(self.said, "w", encoding="utf-8") as out:
                self.stays = subprocess.Popen([*self.enter(), "bash", "-c", "cd /root; exec bash"], stdin=subprocess.PIPE, stdout=out, stderr=out,
                                              text=True, env=self.environment(), preexec_fn=die_with_us)
            self.background.append((self.stays, "bash", self.said))
        begins = os.path.getsize(self.said)
        self.stays.stdin.write(f"{command}\necho \"<status $?>\"\n")
        self.stays.stdin.flush()
        deadline = time.monotonic() + PATIENCE * 2
        while True:
            with open(self.said, "rb") as f:
                f.seek(begins)
                said = f.read().decode(errors="replace")
            done = re.search(r"<status (\d+)>\n", said)
            if done:
                return int(done[1]), said[:done.start()]
            if self.stays.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.name}: {command} hung, or ended the shell:\n{said[-2000:]}")
            time.sleep(0.05)

    def check(self):
        """No sanitizer has spoken in a service or a command that ran on."""
        said = self.run("cat /var/log/*.out 2>/dev/null; true")[1]
        for _, _, log in self.background:
            with open(log, encoding="utf-8", errors="replace") as f:
                said += f.read()
        if SANITIZER.search(said):
            raise Failed(f"a sanitizer spoke at {self.name}:\n{said[-4000:]}")

    def end(self):
        for process, _, _ in self.background:
            if process is self.stays:
                process.stdin.close()
            elif process.poll() is None:
                process.terminate()
        for process, _, _ in self.background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.process.poll() is None:
            self.process.kill()  # with it goes the first process of its namespace, and with that all others
        self.process.wait()
        self.process.stdout.close()


class Network:
    """A context manager. hosts: machine → addresses, the first one in the common network; names: for everybody's /etc/hosts."""

    def __init__(self, build, hosts, names):
        self.build, self.hosts, self.names, self.machines = os.path.abspath(build), hosts, names, {}
        self.folder = tempfile.mkdtemp(prefix="stile-guides-")
        self.bin = os.path.join(self.folder, "bin")

    def __getitem__(self, name):
        return self.machines[name]

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self):
        os.makedirs(self.bin)
        for name, path in PROGRAMS.items():
            os.symlink(os.path.join(self.build, path), os.path.join(self.bin, name))
        with open(os.path.join(self.bin, "systemctl"), "w", encoding="utf-8") as f:
            f.write(SYSTEMCTL)
        os.chmod(os.path.join(self.bin, "systemctl"), 0o755)
        for name, addresses in self.hosts.items():
            self.machines[name] = Machine(self, name, addresses)
        hosts = "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in self.names.items())
        switch = next(iter(self.machines.values()))  # the first machine has the bridge
        must(switch, "ip link add br0 type bridge && ip link set br0 up")
        for i, m in enumerate(self.machines.values()):
            m.write("/etc/hosts", hosts)
            m.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            os.chmod(m.outside("/etc/hosts"), 0o644)
            if m is not switch:  # from outside, where both processes have a number
                inside = ["nsenter", "-t", switch.pid, "-n"]
                run([*inside, "ip", "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0", "netns", m.pid])
                run([*inside, "ip", "link", "set", f"p{i}", "master", "br0", "up"])
            link = "br0" if m is switch else "eth0"
            for a in m.addresses:
                must(m, f"ip address add {a}/32 dev {link}")
            must(m, f"ip link set {link} up && ip route add default dev {link}")

    def __exit__(self, *_):
        for m in self.machines.values():
            m.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def must(machine, command):
    code, out = machine.run(command)
    if code:
        raise Skipped(f"{command}: {out.strip()}")
