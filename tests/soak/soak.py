#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A soak: every service of Stile under mixed, gentle traffic for hours, and a verdict whether memory, descriptors, threads and
latency stayed what they were. soak_traffic.py has the traffic, soak_world.py the services, report.py the rule.

  tests/soak/soak.sh --hours 2                 # builds an optimised stile where there is none
  tests/soak/soak.sh --seconds 30              # that all of it works; nothing is said about slopes
  tests/soak/report.py tests/soak/results/….jsonl   # at any time, of a run that is under way, too

Every ten seconds a line of JSON goes to the file of samples. Status 0: flat (or too short to say), 1: not, 2: it cannot run here."""
import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import report  # noqa: E402
from soak_world import Failed, SoakWorld  # noqa: E402
from soak_traffic import KINDS, Traffic  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def program_row(pid):
    """Memory in KiB (resident; private: what is the heap's and the stacks'), descriptors, threads, and CPU seconds."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        found = dict(re.findall(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", f.read(), re.M))
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        times = f.read().rsplit(")", 1)[1].split()[11:13]
    return {"rss_kib": int(found["VmRSS"]), "private_kib": int(found["RssAnon"]), "threads": int(found["Threads"]),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "cpu_s": sum(map(int, times)) / TICK, "pid": pid}


def latency_row(values):
    values = sorted(values)
    return {"n": len(values), "p50": 1000 * statistics.median(values),
            **{f"p{p}": 1000 * values[min(len(values) - 1, p * len(values) // 100)] for p in (10, 99)}}


def own_cpu():
    """Of the traffic's makers: this program and what it has started and seen end."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Soak:
    def __init__(self, w, path, seconds):
        self.w, self.seconds, self.traffic, self.over = w, seconds, Traffic(w), False
        self.file = open(path, "w", encoding="utf-8")

    def write(self, row):
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()

    def header(self):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            model = re.search(r"model name\s*:\s*(.*)", f.read())
        machine = f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, Linux {platform.release()}"
        self.write({"when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine, "seconds": self.seconds,
                    "kinds": {name: {"service": service, "period": period} for name, service, period, _ in KINDS}})

    def sample(self, began):
        programs, ended = {}, []
        for name, pid in self.w.programs().items():
            try:
                programs[name] = program_row(pid)
            except (OSError, KeyError):  # it is gone, or a zombie, which has no memory
                ended.append(f"{name} has ended")
        t = self.traffic
        latencies = {name: latency_row(v) for name, v in t.take().items() if v}
        cpu = own_cpu() + sum(p["cpu_s"] for p in programs.values())
        row = {"at": round(time.monotonic() - began, 1), "programs": programs, "latency_ms": latencies, "cpu_s": round(cpu, 2),
               "load": os.getloadavg()[0], "rounds": dict(t.rounds), "failures": {k: len(v) for k, v in t.failures.items()},
               "words": {k: v[-1][1] for k, v in t.failures.items()}, "ended": ended}
        self.write(row)
        return row

    def run(self, every):
        self.header()
        self.traffic.start()
        began, last = time.monotonic(), {}
        while not self.over and time.monotonic() - began < self.seconds:
            time.sleep(max(0.1, min(every - (time.monotonic() - began) % every, self.seconds - (time.monotonic() - began))))
            last = self.sample(began)
            if last["ended"]:
                break
        self.traffic.stop()
        return last

    def end(self, *_):
        self.over = True


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hours", type=float, help="how long")
    p.add_argument("--seconds", type=float, help="the same in seconds (default: 30)")
    p.add_argument("--every", type=float, help="seconds between two samples (default: 10, or 2 below two minutes)")
    p.add_argument("--samples", help="where they go (default: tests/soak/results/TIME.jsonl)")
    o = p.parse_args()
    o.seconds = o.hours * 3600 if o.hours else o.seconds or 30
    o.every = o.every or (10 if o.seconds >= 120 else 2)
    if not o.samples:
        os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
        o.samples = os.path.join(HERE, "results", time.strftime("%Y%m%d-%H%M%S.jsonl", time.gmtime()))
    return o


def main():
    o = options()
    print(f"samples go to {o.samples}", flush=True)
    with SoakWorld(19200) as w:
        try:
            w.start_all()
            soak = Soak(w, o.samples, o.seconds)
            signal.signal(signal.SIGTERM, soak.end)
            signal.signal(signal.SIGINT, soak.end)
            print(f"all services run; {o.seconds:.0f} s of traffic", flush=True)
            soak.run(o.every)
            w.must_run()
            w.stop_all()
        except Failed as e:
            print(f"it broke:\n{e}", flush=True)
            return 1
        finally:
            with contextlib.suppress(OSError):
                os.makedirs(o.samples + ".logs", exist_ok=True)
                for name in os.listdir(w.path("log")):
                    shutil.copy(w.path(f"log/{name}"), o.samples + ".logs")
    header, samples = report.read(o.samples)
    rows = report.verdict(header, samples)
    print("\n".join(report.markdown(header, samples, rows)))
    return 1 if rows["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
