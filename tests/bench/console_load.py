# SPDX-License-Identifier: Apache-2.0
"""What two hundred viewers cost the relays: CPU per relayed packet of stile-turn with the console's pages open and without, A B
A B, medians. Each viewer has one stream with the topics of the overview (services, load, system) and every event of stile-turn,
reads all of it, and asks for /api/v1/services now and then, as the page does.

The bar: within 3 % of the rounds without (the measure itself repeats within 1 to 2 % on a quiet machine). Exit status 1 if missed.
stile-turn and its generator have a CPU each; console and viewers run on the generator's, as they would on a machine that has
other work: they must not be what makes a packet dear."""
import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "console"))
sys.path.insert(0, HERE)
from console_world import ConsoleWorld, Failed  # noqa: E402
from servers import cpus, keep  # noqa: E402

STILE = os.path.join(os.environ.get("STILE_BUILD", "build-release"), "cli/stile")
TOPICS = "console:services,console:load,console:system,turn:*"
BAR = 1.03


class Viewers(threading.Thread):
    """Streams that are read in one thread; events counted."""

    def __init__(self, client, n):
        super().__init__(daemon=True)
        self.client, self.events, self.bytes, self.ending = client, 0, 0, False
        self.streams = []
        for _ in range(n):
            c = client.connection()
            c.request("GET", "/api/v1/events?topics=" + TOPICS, headers=client.headers("GET"))
            r = c.getresponse()
            if r.status != 200:
                raise Failed(f"    a stream is refused: {r.status}")
            c.sock and c.sock.setblocking(False)
            self.streams.append((c, r))

    def run(self):
        poll = select.poll()
        by_fd = {}
        for _, r in self.streams:
            fd = r.fp.raw._sock.fileno() if hasattr(r.fp.raw, "_sock") else r.fileno()
            by_fd[fd] = fd
            poll.register(fd, select.POLLIN)
        asked = time.monotonic()
        while not self.ending:
            for fd, _ in poll.poll(200):
                got = os.read(fd, 65536)
                self.bytes += len(got)
                self.events += got.count(b"\nevent: ")
                if not got:
                    poll.unregister(fd)
            if time.monotonic() - asked > 1:
                asked = time.monotonic()
                self.client.get("/api/v1/services")

    def end(self):
        self.ending = True
        self.join()
        for c, _ in self.streams:
            c.close()


def measure(w, turn, options, cpu):
    argv = [STILE, "bench", "turn", "127.0.0.1", "--json", "--port", str(w.port), "--pid", str(turn.process.pid), "--allocations", "64",
            "--rate", str(options.rate), "--time", options.time, "--user", "alice", "--password", "wonderland"]
    prefix = [] if cpu is None else ["taskset", "-c", str(cpu)]
    done = subprocess.run([*prefix, *argv], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failed(done.stdout + done.stderr)
    return json.loads(done.stdout)


def cpu_of(result):
    """Microseconds of the server's CPU for a packet, by whatever name the tool has for it."""
    for key in ("server_cpu_us_per_packet", "cpu_us_per_packet", "server_us_per_packet"):
        if key in result:
            return result[key]
    raise Failed(f"    no CPU per packet in {sorted(result)}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--viewers", type=int, default=200)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--rate", type=int, default=20000)
    p.add_argument("--time", default="5s")
    options = p.parse_args()
    client_cpu, server_cpu = cpus()
    with ConsoleWorld(36000) as w:
        w.console(streams=options.viewers + 10, connections=4 * options.viewers + 100)
        turn = w.turn(relay="{ addresses: [127.0.0.1], ports: 40000-49999 }", limits="{ allocations_per_user: unlimited, "
                      "unauthenticated_bitrate: unlimited }")
        if server_cpu is not None:
            subprocess.run(["taskset", "-a", "-c", "-p", str(server_cpu), str(turn.process.pid)], check=True, stdout=subprocess.DEVNULL)
        alice = w.first()
        w.reached(alice, "turn")
        results = {"without": [], "with": []}
        events = 0
        for i in range(options.rounds):
            for mode in ("without", "with"):
                viewers = Viewers(alice, options.viewers) if mode == "with" else None
                if viewers:
                    viewers.start()
                    time.sleep(2)
                results[mode].append(cpu_of(measure(w, turn, options, client_cpu)))
                if viewers:
                    viewers.end()
                    events += viewers.events
            print(f"round {i + 1}: without {results['without'][-1]:.3f} us, with {options.viewers} viewers {results['with'][-1]:.3f} us",
                  flush=True)
        w.stop_all()
    medians = {k: statistics.median(v) for k, v in results.items()}
    ratio = medians["with"] / medians["without"]
    print(f"CPU per packet of stile-turn, median of {options.rounds}: without {medians['without']:.3f} us, with {options.viewers} viewers "
          f"{medians['with']:.3f} us; ratio {ratio:.3f}, bar {BAR}; viewers got {events} events")
    print("raw results:", keep("console-load", rounds=results, ratio=ratio, events=events, load=os.getloadavg()))
    return 0 if ratio <= BAR and events > 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        print(e, file=sys.stderr)
        sys.exit(1)
