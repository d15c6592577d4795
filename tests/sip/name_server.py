# SPDX-License-Identifier: Apache-2.0
"""A real name server (nsd) for a case, in namespaces where loopback and /etc/resolv.conf are ours: root only."""
import os
import subprocess
import sys

from sip_world import Failed, Skipped, Ua, need, wait_for


class NameServer:
    """nsd, the only name server there is."""

    def __init__(self, w, zone, at="127.0.0.53"):
        need("nsd")
        if os.getuid() != 0:
            raise Skipped("it takes root to have a name server of one's own")
        self.w, self.p, self.serial, self.at = w, None, 1, at
        self.write(zone)

    def write(self, zone):
        for i in range(10):
            zone = zone.replace("{o%d}" % i, str(self.w.other(i)))
        self.w.write("test.zone", zone, 0o644)
        self.w.write("nsd.conf", f"""server:
  ip-address: {self.at}
  username: ""
  pidfile: ""
  zonesdir: "{self.w.folder}"
  database: ""
  xfrdfile: "{self.w.path('xfrd')}"
  zonelistfile: "{self.w.path('zones')}"
  cookie-secret-file: ""
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: test.zone
""", 0o644)

    def __enter__(self):
        self.start()
        return self

    def start(self):
        with open(self.w.path("nsd.out"), "ab") as out:
            self.p = subprocess.Popen(["nsd", "-d", "-c", self.w.path("nsd.conf")], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_for("nsd answers", self.answers)

    def answers(self):
        if self.p.poll() is not None:
            with open(self.w.path("nsd.out"), encoding="utf-8") as f:
                raise Failed(f"    nsd ended: {f.read()[-600:]}")
        with Ua("udp", (self.at, 53)) as q:
            q.s.settimeout(0.3)
            q.raw(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1")
            try:
                return len(q.s.recv(512)) > 20
            except OSError:
                return False

    def stop(self):
        self.p.terminate()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait(10)

    def __exit__(self, *_):
        self.stop()


def inside():
    """Again, in namespaces where loopback and /etc/resolv.conf are ours."""
    if os.environ.get("STILE_SIP_INSIDE"):
        return
    os.environ["STILE_SIP_INSIDE"] = "1"
    script = ("ip link set lo up && mount -t tmpfs none /mnt && echo 'nameserver 127.0.0.53' > /mnt/resolv.conf && "
              "mount --bind /mnt/resolv.conf /etc/resolv.conf && exec \"$@\"")
    os.execvp("unshare", ["unshare", "--net", "--mount", "--", "sh", "-c", script, "sh", sys.executable, "-B", *sys.argv])
