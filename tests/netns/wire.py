# SPDX-License-Identifier: Apache-2.0
"""The long line of tests/netns/wire.c as Python sees it: a process between two namespaces, whose delay, rate, queue and loss
can be changed while traffic flows. It ends with this process, whatever happens to it."""
import json
import subprocess

from lab import Failed, Skipped

SKIP = 77


class Wire:
    """values: delay (ms), rate (Mbit/s), queue (bytes), loss (percent); a pair is A to B and B to A."""

    def __init__(self, program, a, b, device="wire0", addresses=("10.99.0.1", "10.99.0.2"), seed=1, prepare=None, **values):
        argv = [program, "--device", device, "--addresses", ":".join(addresses), "--seed", str(seed)]
        for name, value in values.items():
            argv += [f"--{name}", written(value)]
        try:
            self.process = subprocess.Popen([*argv, a, b], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                            text=True, preexec_fn=prepare)
        except FileNotFoundError:
            raise Failed(f"{program} is not built") from None
        if self.process.stdout.readline().strip() != "ready":
            said = self.process.stderr.read().strip()
            self.close()
            raise (Skipped if self.process.returncode == SKIP else Failed)(f"no line between {a} and {b}: {said}")

    def say(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise Failed(f"the line ended at {words!r}: {self.process.stderr.read().strip()}")
        return answer

    def set(self, **values):
        for name, value in values.items():
            if self.say(f"{name} {written(value)}") != "ok":
                raise Failed(f"the line does not understand {name} {value}")

    def stats(self):
        return json.loads(self.say("stats"))

    def close(self):
        """Its exit status; the interfaces are gone."""
        self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.close()


def written(value):
    return ":".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:.12g}"
