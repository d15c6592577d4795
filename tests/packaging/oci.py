# SPDX-License-Identifier: Apache-2.0
"""packaging/oci/Containerfile without a container runtime: oci.py FOLDER-OF-DEBS [TARGET]

The instructions of a stage and of those it stands on are carried out in a debootstrap system: RUN in a chroot with the packages mounted
where the file says, ENV, USER, ENTRYPOINT and HEALTHCHECK as the runtime would. Then it runs as `--read-only --cap-drop all` with the
configuration and a volume mounted: the health check, real traffic, and what it says of its sandbox. Of the other stages it is compared
that package, program and health check are one service's, which `stile ready` knows. Long form of ./check; root."""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from install import Chroot, must, run  # noqa: E402

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/oci/Containerfile")
CONFIG = 'log: { level: info }\nturn:\n  listen: ["udp:127.0.0.1:23878", "tcp:127.0.0.1:23878"]\n  password: of-the-test\n' \
         "  relay: { addresses: [127.0.0.1] }\n  peers: { allow: [127.0.0.0/8] }\n"


def stages():
    """stage → (word, rest) of it and of its bases, from the first on."""
    with open(FILE, encoding="utf-8") as f:
        lines = re.sub(r"\\\n\s*", "", "".join(line for line in f if not line.startswith("#"))).splitlines()
    found, name = {}, None
    for line in filter(None, (line.strip() for line in lines)):
        word, rest = line.split(None, 1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            must(base in found or base == "$BASE", f"a base that is not there: {base}")
            found[name] = list(found.get(base, []))
        elif name is not None:
            found[name].append((word, rest))
    return found


def build(c, rows):
    """Carries the instructions out; what remains for the run."""
    image = {"USER": "root", "ENV": []}
    args = []  # of the build alone
    for word, rest in rows:
        if word == "RUN":
            mount = re.match(r"--mount=type=bind,target=(\S+) ", rest)
            must(mount and mount[1] == "/debs", f"the packages are not mounted at /debs: {rest}")
            must(image["USER"] == "root", "a RUN as somebody else")
            c.inside(*args, *image["ENV"], "sh", "-c", rest[mount.end():])
        elif word == "ARG":
            args.append(rest)
        elif word == "ENV":
            image["ENV"].append(rest)
        elif word in ("ENTRYPOINT", "USER", "VOLUME", "STOPSIGNAL"):
            image[word] = json.loads(rest) if rest[0] == "[" else rest
        elif word == "HEALTHCHECK":
            image[word] = json.loads(rest[rest.index("CMD ") + 4:])
        else:
            must(False, f"this test does not know {word}")
    return image


def each_is_of_one_service(c):
    for target, rows in stages().items():
        if target == "stile":
            continue
        service, last = target.removeprefix("stile-"), dict(rows)
        must(f"/debs/{target}_*.deb" in last["RUN"], f"{target} installs {last['RUN']}")
        must(json.loads(last["ENTRYPOINT"]) == [target], f"{target} starts {last['ENTRYPOINT']}")
        must(last["HEALTHCHECK"].endswith(f'CMD ["stile", "ready", "{service}"]'), f"{target} is asked {last['HEALTHCHECK']}")
        must(last["USER"] == "stile", f"{target} runs as {last['USER']}")
        said = c.inside("stile", "ready", service, check=False)
        must(said.returncode == 1 and "is not running" in said.stdout, f"stile ready {service}: {said.stdout}{said.stderr}")


class Container:
    def __init__(self, c, image):
        c.write("/root/stile.yaml", CONFIG, 0o644)
        # A private mount namespace: the root read-only, the volumes beneath it not. Another user than root has no capability.
        script = f"""set -e
mount --make-rprivate /; touch {c.root}/etc/stile/stile.yaml; mount --rbind {c.root} {c.root}
for v in {' '.join(image['VOLUME'])}; do mount -t tmpfs -o mode=755 tmpfs {c.root}$v; chroot {c.root} chown stile:stile $v; done
mount --bind {c.root}/root/stile.yaml {c.root}/etc/stile/stile.yaml; mount -o remount,bind,ro {c.root}
exec chroot --userspec={image['USER']}:{image['USER']} {c.root} "$@"
"""
        self.c, self.image = c, image
        self.env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *image["ENV"]]
        self.log = open(c.root + "/container.log", "w+", encoding="utf-8")
        self.p = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", *self.env, *image["ENTRYPOINT"]], stdin=subprocess.DEVNULL,
                                  stdout=self.log, stderr=self.log)
        c.processes.append(self.p)

    def exec(self, *argv):
        """As podman exec does: in its namespaces and as its user."""
        user = f"--userspec={self.image['USER']}:{self.image['USER']}"
        return run("nsenter", "-m", "-t", str(self.p.pid), "chroot", user, self.c.root, *self.env, *argv, check=False)

    def healthy(self):
        said = None
        for _ in range(400):
            said = self.exec(*self.image["HEALTHCHECK"])
            if said.returncode == 0:
                return
            must(self.p.poll() is None, "it ended: " + self.output())
            time.sleep(0.1)
        must(False, f"not healthy after 40 s: {said.stdout}{said.stderr}\n{self.output()}")

    def output(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()


def main():
    folder, target = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "stile-turn"
    with Chroot([]) as c:
        run("mount", "--bind", folder, c.root + "/debs")
        c.mounted.append(c.root + "/debs")
        began = time.monotonic()
        image = build(c, stages()[target])
        must(os.listdir(c.root + "/etc/stile") == [], f"the image has a configuration: {os.listdir(c.root + '/etc/stile')}")
        print(f"[       OK ] the stages of {target} build; no password is in the image ({time.monotonic() - began:.0f} s)", flush=True)
        each_is_of_one_service(c)
        print("[       OK ] each stage has one service's package, program and health check", flush=True)
        k = Container(c, image)
        k.healthy()
        said = k.exec("stile", "test", "turn", "127.0.0.1", "-p", "23878", "-t", "udp", "-u", "somebody", "--password", "of-the-test",
                      "--packets", "4")
        must(said.returncode == 0, said.stdout + said.stderr)
        said = k.exec("stile", "status", "--verbose")
        must("sandbox: system calls and files" in said.stdout, said.stdout + said.stderr)
        k.p.terminate()
        must(k.p.wait(30) == 0, f"it ended with {k.p.returncode}: {k.output()}")
        must("service.stopped" in k.output(), k.output())
        print("[       OK ] it runs read-only as the user stile, is healthy, relays, shuts itself in, and stops at SIGTERM", flush=True)


try:
    main()
except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
    print(f"[  FAILED  ] the image\n    {e}")
    sys.exit(1)
