# SPDX-License-Identifier: Apache-2.0
"""A real name server (nsd) for a case, in namespaces where loopback and /etc/resolv.conf are ours: root only."""
import os

from own_network import again, names_from
from sip_world import Program, Skipped, Ua, need, wait_for

# What each zone begins with: the server's own name, and the one address of this machine.
HEAD = """$ORIGIN test.
$TTL 60
@ IN SOA ns admin 1 3600 600 86400 2
@ IN NS ns
ns IN A 127.0.0.53
a IN A 127.0.0.1
"""


class NameServer(Program):
    """nsd, the only name server there is."""

    def __init__(self, w, zone, at="127.0.0.53"):
        need("nsd")
        if os.getuid() != 0:
            raise Skipped("it takes root to have a name server of one's own")
        super().__init__(w, "nsd", ["nsd", "-d", "-c", w.path("nsd.conf")])
        self.at = at
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
        return self.start()

    def start(self):
        super().start()
        wait_for("nsd answers", self.answers)
        return self

    def answers(self):
        self.must_run()
        with Ua("udp", (self.at, 53)) as q:
            q.s.settimeout(0.3)
            q.raw(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1")
            try:
                return len(q.s.recv(512)) > 20
            except OSError:
                return False

    def __exit__(self, *_):
        self.stop()


def inside():
    """Again, in namespaces where loopback and /etc/resolv.conf are ours."""
    again(["net", "mount"], *names_from("127.0.0.53"))
