# SPDX-License-Identifier: Apache-2.0
"""The Debian packages in a clean Debian 12: install.py FOLDER-OF-DEBS (of packaging/build-deb)

debootstrap makes the system in a folder of /var/tmp, apt installs the packages and what they depend on, nothing starts by
itself (a policy-rc.d says no: PID 1 is not systemd here), and the services are started as their units say: by their user,
from the configuration that the installation made. Then upgraded to a version made by repacking, removed, purged; what the packages
ask of systemd meanwhile is written down by a systemctl that knows what runs. Takes some minutes; long form of ./check. Needs root."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

SERVICES = ("turn", "tunnel", "agent", "sip", "console", "gateway")
FAILED = []
# systemd's part while packages are upgraded and removed: /running names what runs, /asked is what it was told.
SYSTEMCTL = """#!/bin/sh
for unit; do :; done
case " $* " in
*" is-active "*) grep -qx -- "$unit" /running ;;
*" is-enabled "*) exec /bin/systemctl.real "$@" ;;
*) echo "$*" >>/asked ;;
esac
"""


def run(*argv, check=True, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=3600, **more)
    if check and done.returncode:
        raise RuntimeError(f"$ {' '.join(argv)}\nstatus {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done


class Chroot:
    def __init__(self, debs):
        self.root = tempfile.mkdtemp(prefix="stile-install-", dir="/var/tmp")
        os.chmod(self.root, 0o755)
        self.debs, self.processes, self.mounted = debs, [], []

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        run("debootstrap", "--variant=minbase", "bookworm", self.root)
        os.unlink(self.root + "/etc/apt/sources.list")  # debootstrap's; this machine's own follow
        for name in ("/etc/apt/sources.list", "/etc/resolv.conf", "/etc/apt/apt.conf.d", "/etc/apt/sources.list.d"):
            if os.path.isdir(name):
                shutil.copytree(name, self.root + name, dirs_exist_ok=True)
            elif os.path.exists(name):
                shutil.copy(name, self.root + name)
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.write("/etc/dpkg/dpkg.cfg.d/throw-away", "force-unsafe-io\n")
        run("mount", "-t", "proc", "proc", self.root + "/proc")
        self.mounted.append(self.root + "/proc")
        for name in ("null", "urandom", "random", "zero"):
            if not os.path.exists(f"{self.root}/dev/{name}"):
                run("cp", "-a", f"/dev/{name}", f"{self.root}/dev/")
        os.mkdir(self.root + "/debs")
        self.inside("apt-get", "update")

    def __exit__(self, *_):
        for p in self.processes:
            p.kill()
            p.wait()
        for m in (*reversed(self.mounted), self.root + "/sys", self.root + "/proc"):  # those of an interrupted debootstrap, too
            run("umount", m, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def write(self, path, text, mode=0o644):
        with open(self.root + path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.root + path, mode)

    def inside(self, *argv, check=True):
        return run("chroot", self.root, "env", "DEBIAN_FRONTEND=noninteractive", *argv, check=check)

    def apt(self, *argv):
        return self.inside("apt-get", "-y", "--no-install-recommends", *argv)

    def with_systemd(self, *running):
        if not os.path.exists(self.root + "/bin/systemctl.real"):
            os.rename(self.root + "/bin/systemctl", self.root + "/bin/systemctl.real")
            self.write("/bin/systemctl", SYSTEMCTL, 0o755)
            os.unlink(self.root + "/usr/sbin/policy-rc.d")
            os.makedirs(self.root + "/run/systemd/system")
        self.write("/running", "".join(f"{unit}\n" for unit in running))
        self.write("/asked", "")

    def asked(self, action):
        """The units for which systemd was asked to start, stop …"""
        with open(self.root + "/asked", encoding="utf-8") as f:
            said = [line.split() for line in f]
        return {unit for words in said if action in words for unit in words if unit.endswith(".service")}

    def stat(self, path):
        return os.stat(self.root + path)

    def uid(self):
        return int(self.inside("id", "-u", "stile").stdout)

    def start(self, service, *options):
        """As its unit: the user, the folders that systemd makes, its readiness awaited on the control socket."""
        self.inside("install", "-d", "-o", "stile", "-g", "stile", "/run/stile")
        p = subprocess.Popen(["chroot", "--userspec=stile:stile", self.root, f"/usr/bin/stile-{service}", "--runtime-dir", "/run/stile",
                              *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.processes.append(p)
        for _ in range(400):
            if p.poll() is not None:
                raise RuntimeError(f"stile-{service} ended: {p.stderr.read()}")
            if self.inside("stile", "status", "--json", check=False).stdout.find(f'"stile-{service}"') >= 0:
                return p
            time.sleep(0.05)
        raise RuntimeError(f"stile-{service} is not ready after 20 s")

    def stop_all(self):
        for p in self.processes:
            p.terminate()
            if p.wait(20):
                raise RuntimeError(f"a service ended with {p.returncode}")
        self.processes.clear()


def step(sentence, fn):
    began = time.monotonic()
    try:
        fn()
    except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
        FAILED.append(sentence)
        print(f"[  FAILED  ] {sentence}\n    {e}", flush=True)
        return
    print(f"[       OK ] {sentence} ({time.monotonic() - began:.0f} s)", flush=True)


def must(fact, what):
    if not fact:
        raise AssertionError(what)


def newer(debs, folder):
    """The same packages as the next version."""
    for deb in debs:
        tree = os.path.join(folder, "tree")
        run("dpkg-deb", "-R", deb, tree)
        with open(tree + "/DEBIAN/control", encoding="utf-8") as f:
            text = f.read()
        version = re.search(r"^Version: (.*)$", text, re.M)[1]
        with open(tree + "/DEBIAN/control", "w", encoding="utf-8") as f:
            f.write(text.replace(version, version + "+next"))
        run("dpkg-deb", "--root-owner-group", "-b", tree, os.path.join(folder, os.path.basename(deb).replace(version, version + "+next")))
        shutil.rmtree(tree)


def installed(c):
    for deb in c.debs:
        shutil.copy(deb, c.root + "/debs")
    c.apt("install", *[f"/debs/{os.path.basename(d)}" for d in c.debs])
    must(c.inside("stile", "--version").stdout.strip(), "stile --version says nothing")
    for s in SERVICES:
        must(os.path.exists(f"{c.root}/lib/systemd/system/stile-{s}.service"), f"no unit of stile-{s}")
        with open(f"{c.root}/lib/systemd/system/stile-{s}@.service", encoding="utf-8") as f:
            must(f"\nExecStart=/usr/bin/stile-{s} -c /etc/stile/%i\n" in f.read(), f"no unit of stile-{s}'s instances")
        must(os.path.exists(f"{c.root}/usr/share/man/man8/stile-{s}.8.gz"), f"no man page of stile-{s}")


def safe_as_installed(c):
    uid = c.uid()
    for s in ("turn", "tunnel"):
        st = c.stat(f"/etc/stile/conf.d/{s}.yaml")
        must(st.st_mode & 0o777 == 0o640 and st.st_uid == 0, f"{s}.yaml has mode {st.st_mode:o}")
    st, gid = c.stat("/etc/stile/stile.yaml"), int(c.inside("id", "-g", "stile").stdout)
    must((st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o640, 0, gid), f"stile.yaml, which may get secrets, has mode {st.st_mode:o}, group {st.st_gid}")
    for d in ("/etc/stile", "/etc/stile/conf.d"):  # as ConfigurationDirectoryMode= of the units: else systemd complains at each start
        st = c.stat(d)
        must((st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o750, 0, gid), f"{d} has mode {st.st_mode:o}, group {st.st_gid}")
    for d in ("/var/lib/stile", "/var/log/stile"):
        must(c.stat(d).st_uid == uid and c.stat(d).st_mode & 0o7 == 0, f"{d} is not the services' alone")
    enabled = os.listdir(c.root + "/etc/systemd/system/multi-user.target.wants")
    must("stile-turn.service" in enabled and "stile-agent.service" not in enabled, f"enabled are {enabled}")
    must(not any("@" in unit for unit in enabled), f"enabled are instances: {enabled}")


def password(c, service):
    with open(f"{c.root}/etc/stile/conf.d/{service}.yaml", encoding="utf-8") as f:
        return re.search(r"^  password: (\S+)$", f.read(), re.M)[1]


def works(c):
    c.start("turn")
    for how in ("udp", "tcp"):  # TLS wants a certificate of the administrator's
        c.inside("stile", "test", "turn", "127.0.0.1", "-t", how, "-u", "somebody", "--password", password(c, "turn"), "--packets", "4")
    c.start("tunnel")
    said = c.inside("stile", "status").stdout
    must("stile-turn" in said and "stile-tunnel" in said, said)
    c.stop_all()


def upgraded(c, folder):
    before = password(c, "turn")
    c.with_systemd("stile-turn.service", "stile-agent.service")
    c.write("/etc/stile/stile.yaml", "log: { level: debug, dir: /var/log/stile }\nstore: { path: /var/lib/stile }\n", 0o640)
    names = []
    for deb in glob.glob(folder + "/*.deb"):
        shutil.copy(deb, c.root + "/debs")
        names.append(f"/debs/{os.path.basename(deb)}")
    c.apt("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install", *names)
    must("+next" in c.inside("dpkg-query", "-W", "-f", "${Version}", "stile-turn").stdout, "the version is the old one")
    must(password(c, "turn") == before, "the upgrade made another password")
    with open(c.root + "/etc/stile/stile.yaml", encoding="utf-8") as f:
        must("debug" in f.read(), "the administrator's stile.yaml was overwritten")
    again = c.asked("restart")
    must("stile-turn.service" in again and "stile-agent.service" in again, f"what ran was not restarted: {again}")
    must("stile-sip.service" not in again, "stile-sip, which is not enabled and did not run, was started")
    instances = {f"stile-{s}@*.service" for s in SERVICES}
    must(instances <= c.asked("try-restart"), f"instances go on with the old program: {instances - c.asked('try-restart')}")
    c.start("turn")
    c.stop_all()


def packages(c):
    return [os.path.basename(d).split("_", 1)[0] for d in c.debs]


def removed(c):
    c.write("/var/log/stile/CO261129.LOG", "who connected where, with its data in the next\n")
    c.write("/var/log/stile/RL2611291200001.LOG", "00 01\n")
    c.with_systemd("stile-turn.service", "stile-agent.service")
    c.apt("remove", *packages(c))
    for s in SERVICES:
        must({f"stile-{s}.service", f"stile-{s}@*.service"} <= c.asked("stop"), f"stile-{s} and its instances go on running: {c.asked('stop')}")
    for path in ("/etc/stile/conf.d/turn.yaml", "/etc/stile/stile.yaml", "/var/log/stile/stile-turn.log", "/var/lib/stile/stile-turn.db",
                 "/var/log/stile/CO261129.LOG"):
        must(os.path.exists(c.root + path), f"removing deleted {path}")
    must(not os.path.exists(c.root + "/usr/bin/stile-turn"), "the program is still there")


def purged(c):
    c.inside("dpkg", "--purge", *packages(c))
    left = run("find", c.root + "/etc/stile", c.root + "/var/lib/stile", c.root + "/var/log/stile", "-type", "f", check=False).stdout
    must(not left, f"left after the purge: {left}")
    must(not glob.glob(c.root + "/etc/systemd/system/*/stile-*"), "a unit is still enabled")


def main():
    debs = sorted(d for d in glob.glob(os.path.join(sys.argv[1], "*.deb")) if "-dbgsym" not in d)
    if not debs:
        sys.exit("no packages there: packaging/build-deb makes them")
    with Chroot(debs) as c, tempfile.TemporaryDirectory() as later:
        step("the packages install in a clean Debian 12 with what they depend on", lambda: installed(c))
        step("folders, secrets and what is enabled are as they should be", lambda: safe_as_installed(c))
        step("stile-turn relays with the password of the installation, stile-tunnel is ready", lambda: works(c))
        newer(debs, later)
        step("an upgrade keeps passwords and the administrator's files", lambda: upgraded(c, later))
        step("removing keeps configuration, logs and stores", lambda: removed(c))
        step("purging deletes them", lambda: purged(c))
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
