# SPDX-License-Identifier: Apache-2.0
"""packaging/oci with a container runtime: containers.py FOLDER-OF-DEBS (of packaging/build-deb)

podman builds every stage of the Containerfile on a debootstrap system (no registry is asked) and runs them as the guide and compose.yaml
say: root read-only, no capability, no new privileges. The health check of each image, TURN allocations with traffic from a container of the
tool, an agent that carries a connection, the console beside them, a stop that drains, a restart. Images and volumes are in a folder of its
own, and the containers' host has namespaces of its own, where compose.yaml's ports are free. oci.py carries the file out where no
runtime works. Long form of ./check; root."""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from install import FAILED, Chroot, must, run, step  # noqa: E402

OCI = os.path.join(HERE, "../../packaging/oci")
SERVICES = ("turn", "tunnel", "agent", "sip", "gateway", "console")
FILES = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)  # where root may not raise its own limits, no runtime may
PROCESSES = 4096
LOCKED = ("--network", "host", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
# What an administrator adds to the example: this world is all loopback, where a server relays only if it is told to.
ISOLATION = ("--isolation", "chroot", "--network", "host")  # of a build: asks the least of the machine
LOOPBACK = "  relay: { addresses: [127.0.0.1] }\n  peers: { allow: [127.0.0.0/8] }\n"
TURN = "turn:\n  password: of-the-test\n" + LOOPBACK
SIP = 'sip:\n  domains: [unit.test]\n  listen: ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]\n'
GATEWAY = 'gateway: { listen: "tls:127.0.0.1:8444", certificate: gateway.pem, key: gateway.key, tunnel: /run/stile/gateway.sock }\n'


class Podman:
    """podman with its images and volumes in a folder. Its host is a network namespace, and a mount namespace, with which its mounts end;
    control groups stand there as every runtime knows them, and are not used: they are the host's, and its systemd's."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="stile-podman-", dir="/var/tmp")
        self.host, self.ready = None, False
        os.chmod(self.folder, 0o755)
        self.env = {**os.environ, "CONTAINERS_CONF": self.path("containers.conf"), "CONTAINERS_STORAGE_CONF": self.path("storage.conf"),
                    "DISABLE_HC_SYSTEMD": "true", "BUILDAH_FORMAT": "docker", "TMPDIR": "/var/tmp"}
        self.write("storage.conf", f'[storage]\ndriver = "overlay"\ngraphroot = "{self.path("graph")}"\nrunroot = "{self.path("run")}"\n')
        limits = f'"nofile={FILES}:{FILES}", "nproc={PROCESSES}:{PROCESSES}"'
        self.write("containers.conf", '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                                      f'tmp_dir = "{self.path("tmp")}"\n[containers]\nlog_driver = "k8s-file"\ncgroups = "disabled"\n'
                                      f'default_ulimits = [{limits}]\n')

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        own = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && ip link set lo up && echo up && exec sleep infinity"
        self.host = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", own], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True)
        self.mounts, self.net = (f"--{kind}=/proc/{self.host.pid}/ns/{of}" for kind, of in (("mount", "mnt"), ("net", "net")))
        must(self.host.stdout.readline() == "up\n", "no namespaces")
        self.ready = True

    def __exit__(self, *_):
        if self.ready:
            self("rm", "--all", "--force", "--time", "5", check=False)
        if self.host:
            self.host.kill()
            self.host.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), 0o644)
        return self.path(name)

    def inside(self, *argv, check=True, **more):
        """In the containers' host."""
        return run("nsenter", self.mounts, self.net, *argv, check=check, env=self.env, **more)

    def __call__(self, *argv, check=True):
        return self.inside("podman", *argv, check=check)

    def outside(self, *argv, **more):
        """There, but with this machine's network: its way to packages."""
        return run("nsenter", self.mounts, *argv, env=self.env, **more)

    def base(self):
        """A base image without a registry: Debian 12 with this machine's sources of packages."""
        with Chroot([]) as c:
            os.rmdir(c.root + "/debs")
            os.unlink(c.root + "/usr/sbin/policy-rc.d")
            run("tar", "-C", c.root, "--exclude=./proc/*", "-cf", self.path("base.tar"), ".")
        self("import", self.path("base.tar"), "stile-base")
        os.unlink(self.path("base.tar"))

    def run(self, name, *options, config=None):
        """A service's container as the guide says."""
        mount = ("-v", f"{config}:/etc/stile/stile.yaml:ro") if config else ()
        return self("run", "-d", "--name", name, *LOCKED, *mount, "-v", f"{name}:/var/lib/stile", *options)

    def tool(self, *argv):
        return self("run", "--rm", *LOCKED, "stile", *argv)

    def healthy(self, name):
        for _ in range(600):
            if self("healthcheck", "run", name, check=False).returncode == 0:
                return
            must(self.inspect(name, "{{.State.Status}}") == "running", f"{name} ended: {self.logs(name)}")
            time.sleep(0.1)
        must(False, f"{name} is not healthy after a minute: {self.logs(name)}")

    def inspect(self, what, form):
        return self("inspect", "-f", form, what).stdout.strip()

    def logs(self, name):
        said = self("logs", name, check=False)
        return (said.stdout + said.stderr)[-2000:]

    def relays(self, port, password):
        for how in ("udp", "tcp"):
            self.tool("test", "turn", "127.0.0.1", "-p", str(port), "-t", how, "-u", "somebody", "--password", password, "--packets", "4")


def builds(p, debs):
    for target in ("stile", *(f"stile-{s}" for s in SERVICES)):
        p.outside("podman", "build", *ISOLATION, "--build-arg", "BASE=localhost/stile-base", "-f", os.path.join(OCI, "Containerfile"),
                  "--target", target, "-t", target, debs)
        must(p.inspect(target, "{{.Config.User}} {{.Config.Entrypoint}}") == f"stile [{target}]", f"{target} is not one service's")
        must(not p("run", "--rm", "--entrypoint", "find", target, "/etc/stile", "-type", "f").stdout, f"{target} has a configuration")


def alone(p):
    """The guide's command."""
    config = p.write("alone.yaml", TURN)
    p.run("alone", "stile-turn", config=config)
    p.healthy("alone")
    p.relays(3478, "of-the-test")
    must("sandbox: system calls and files" in p("exec", "alone", "stile", "status", "--verbose").stdout, "it has not shut itself in")
    must(p("exec", "alone", "touch", "/usr/x", check=False).returncode != 0, "the root is writable")
    with open(f"/proc/{p.inspect('alone', '{{.State.Pid}}')}/status", encoding="utf-8") as f:
        st = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    must(st["CapBnd"] == st["CapEff"] == "0" * 16 and st["NoNewPrivs"] == "1", f"{st['CapBnd']} {st['CapEff']} {st['NoNewPrivs']}")
    for _ in range(2):  # and it comes back over what it has left behind
        p("stop", "--time", "60", "alone")
        must(p.inspect("alone", "{{.State.ExitCode}}") == "0" and "service.stopped" in p.logs("alone"), p.logs("alone"))
        p("start", "alone")
        p.healthy("alone")
    p("rm", "--force", "--time", "60", "alone")


def others(p):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", "/CN=unit.test",
        "-keyout", p.path("gateway.key"), "-out", p.path("gateway.pem"))
    os.chmod(p.path("gateway.key"), 0o644)
    p.run("sip", "stile-sip", config=p.write("sip.yaml", SIP))
    p.run("gateway", *(o for kind in ("pem", "key") for o in ("-v", f"{p.path('gateway.' + kind)}:/etc/stile/gateway.{kind}:ro")),
          "stile-gateway", config=p.write("gateway.yaml", GATEWAY))
    for name in ("sip", "gateway"):
        p.healthy(name)
    p.tool("test", "sip", "sip:127.0.0.1:5060")
    p("rm", "--all", "--force", "--time", "60")


class Compose:
    """compose.yaml where it stands in a tree, by docker-compose through podman's socket (Debian 12's podman-compose knows no network_mode):
    the packages in dist/, the configuration that its head says to write."""

    def __init__(self, p, debs):
        self.p = p
        p.env["DOCKER_HOST"] = "unix://" + p.path("api.sock")
        shutil.copytree(OCI, p.path("tree/packaging/oci"))
        shutil.copytree(debs, p.path("tree/dist"), ignore=lambda d, names: [n for n in names if not n.endswith(".deb") or "dbgsym" in n])
        with open(os.path.join(OCI, "stile.yaml"), encoding="utf-8") as f:
            text = f.read()
        p.write("tree/stile.yaml", text.replace("\ntunnel:", "\n" + LOOPBACK + "tunnel:"))
        with open(os.path.join(OCI, "compose.yaml"), encoding="utf-8") as f:
            text = f.read()
        self.file = p.write("tree/packaging/oci/compose.yaml", text.replace("nofile: 1048576", f"nofile: {FILES}, nproc: {PROCESSES}"))

    def __call__(self, *argv, host=()):
        """By a service of podman in the containers' host, or with this machine's network."""
        p = self.p
        service = subprocess.Popen(["nsenter", p.mounts, *host, "podman", "system", "service", "--time", "0", p.env["DOCKER_HOST"]],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**p.env, "BUILDAH_ISOLATION": "chroot"})
        try:
            for _ in range(300):
                if os.path.exists(p.path("api.sock")):
                    return run("docker-compose", "-p", "stile", "-f", self.file, *argv, env=p.env)
                time.sleep(0.1)
            raise AssertionError("podman's service is not there after 30 s")
        finally:
            service.terminate()
            service.wait()
            if os.path.exists(p.path("api.sock")):
                os.unlink(p.path("api.sock"))


def together(p, debs):
    c = Compose(p, debs)
    c("build", "--build-arg", "BASE=localhost/stile-base")
    c("up", "-d", "--no-build", host=(p.net,))
    names = ("stile_turn_1", "stile_tunnel_1", "stile_console_1")
    for name in names:
        p.healthy(name)
    p.relays(3478, "write-a-long-one-here")
    said = p("exec", "stile_console_1", "stile", "status").stdout
    must(all(f"stile-{service}" in said for service in ("turn", "tunnel", "console")), f"the console's container sees {said}")
    must("8443" in p("exec", "stile_console_1", "stile", "console", "setup").stdout, "no first administrator's token")
    carried(p)
    for name in names:
        p("stop", "--time", "60", name)
        must(p.inspect(name, "{{.State.ExitCode}}") == "0", f"{name} ended badly: {p.logs(name)}")


def carried(p):
    """An agent in a container of its own, enrolled by a code, carries a connection to the console."""
    code = json.loads(p("exec", "stile_tunnel_1", "stile", "tunnel", "enrol", "site", "--for", "127.0.0.1:7443", "--json").stdout)["code"]
    config = p.write("agent.yaml", f'agent:\n  name: site\n  server: 127.0.0.1:7443\n  code: "{code}"\n  direct: {{ enabled: false }}\n'
                                   '  jobs: [ { port: 20001, target: "127.0.0.1:8443" } ]\n')
    p.run("agent", "stile-agent", config=config)
    p.healthy("agent")
    page = "import sys, urllib.request\nprint(urllib.request.urlopen('http://127.0.0.1:20001/healthz', timeout=10).status)"
    for _ in range(200):
        if p.inside(sys.executable, "-c", page, check=False).stdout == "200\n":
            return
        time.sleep(0.1)
    must(False, f"the job does not lead to the console: {p.logs('agent')}")


def skip(why):
    print(f"[  SKIPPED ] {why}")
    return 0


def main():
    debs = os.path.abspath(sys.argv[1])
    for program in ("podman", "crun", "docker-compose"):
        if not shutil.which(program):
            return skip(f"{program} is missing: tools/install-packages containers")
    with Podman() as p:
        step("a debootstrap system becomes the base image", p.base)
        if FAILED:
            return 1
        said = p("run", "--rm", *LOCKED, "stile-base", "true", check=False)
        if said.returncode:
            return skip(f"no container runs on this machine: {said.stderr.strip()}")
        step("every stage builds, for the user stile, with no configuration in it", lambda: builds(p, debs))
        if not FAILED:
            step("stile-turn read-only and without a capability is healthy, relays, drains and comes back", lambda: alone(p))
            step("stile-sip and stile-gateway are healthy", lambda: others(p))
            step("compose.yaml: TURN relays, the console sees the others, an agent carries a connection", lambda: together(p, debs))
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
