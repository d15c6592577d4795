# SPDX-License-Identifier: Apache-2.0
"""Traffic through a server while something happens to it: `stile bench turn` in the background, which
counts every packet, and the wait until it has its allocations."""
import json
import subprocess
import time

from world import PATIENCE, STILE, Failed


class Traffic:
    """`stile bench turn` over one transport; at its end every packet that was sent must have come."""

    def __init__(self, w, transport, seconds, port=None, rate=150):
        port = port or (w.tls if transport in ("tls", "dtls") else w.port)
        self.transport, self.seconds = transport, seconds
        self.process = subprocess.Popen(
            [STILE, "bench", "turn", "127.0.0.1", "-t", transport, "-p", str(port), "-n", "3", "-r", str(rate), "-T", f"{seconds}s",
             "-u", "alice", "--password", "wonderland", "--runtime-dir", w.path("run"), "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def lost_nothing(self):
        """How many packets that were."""
        out, err = self.process.communicate(timeout=self.seconds + 2 * PATIENCE)
        if self.process.returncode:
            raise Failed(f"    traffic over {self.transport}: {err or out}")
        figures = json.loads(out)
        if figures["sent"] < 100 or figures["received"] != figures["sent"]:
            raise Failed(f"    over {self.transport} {figures['received']} of {figures['sent']} packets came through")
        return figures["sent"]


def wait_for(w, allocations, loads=()):
    deadline = time.monotonic() + PATIENCE
    while w.verb("turn.status")["allocations"] < allocations:
        for load in loads:
            if load.process.poll() is not None:
                load.lost_nothing()
                raise Failed(f"    traffic over {load.transport} was over before all of it had begun")
        if time.monotonic() > deadline:
            raise Failed(f"    {w.verb('turn.status')['allocations']} of {allocations} allocations")
        time.sleep(0.05)
