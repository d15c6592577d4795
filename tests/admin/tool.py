# SPDX-License-Identifier: Apache-2.0
"""The tool's own manners, whatever the command: what cannot be written, who reads no further, words that name a service, secrets that
are typed, and names that would steer a terminal."""
import os
import signal
import subprocess
import sys
import termios
import time

from terminal import with_terminal
from world import STILE, Failed, case, main, wait_for


def ends(process, seconds, what):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failed(f"    {what}: it goes on after {seconds} s") from None


@case("an answer that does not fit on the disk is a failure and says so; one that nobody reads to its end is none")
def _(w):
    w.config(tls=False)
    w.start()
    for words in (["config", "export", "-c", w.path("stile.yaml")], ["turn", "sessions", "--json"], ["status"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([STILE, *words, "--runtime-dir", w.path("run")], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        if done.returncode != 1 or "not written to its end" not in done.stderr:
            raise Failed(f"    {words}: {done.returncode} {done.stderr!r}")
    said = w.run("bash", "-c", f"{STILE} turn metrics --runtime-dir {w.path('run')} | head -1; exit ${{PIPESTATUS[0]}}").exits(0)
    if said.err or len(said.out.splitlines()) != 1:
        raise Failed(f"    {said.out!r} {said.err!r}")


@case("what shows something again and again ends where nobody reads it any more")
def _(w):
    w.config(tls=False)
    w.start()
    for words in (["logs", "--follow", "-c", w.path("stile.yaml")],
                  ["netcheck", "--server", f"127.0.0.1:{w.port}", "--every", "1s", "--no-443", "--no-port-mapping", "--json"]):
        p = subprocess.Popen([STILE, *words, "--runtime-dir", w.path("run")], stdout=subprocess.PIPE)
        p.stdout.readline()
        p.stdout.close()
        ends(p, 30, words)


if __name__ == "__main__":
    sys.exit(main(29100))
