# SPDX-License-Identifier: Apache-2.0
"""What the scripts of all folders share: how a case says that it failed, and how it waits."""
import re
import time

PATIENCE = 60  # s for what comes at all: the machine may be busy, and only what fails waits so long
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:")


class Failed(Exception):
    """A case did not show what it should; the text says why."""


class Skipped(Exception):
    """A case cannot run on this machine; the text says why."""


def wait_for(what, probe, seconds=PATIENCE, step=0.03):
    """probe() until it is true; its value. seconds: only where how long it takes is what the case is about."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:g} s in vain: {what}")
        time.sleep(step)
