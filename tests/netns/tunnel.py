#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tunnel in network namespaces: sites behind all that keeps a control room out, with nginx, an interactive stream, bulk
transfers and UDP through it, every byte compared, while processes are killed, addresses change and lines are cut. Root.

  tests/netns/tunnel.py --build build           # the short form, as ./check does: about a minute
  tests/netns/tunnel.py --build build --full    # every kind of site, more traffic
  tests/netns/tunnel.py --build build --only churn --seconds 1800

One line a case, then "N passed, N failed"; exit 77 where namespaces are not permitted."""
import argparse
import concurrent.futures
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tunnel_churn  # noqa: E402, F401
import tunnel_harm  # noqa: E402, F401
import tunnel_sites  # noqa: E402, F401
from lab import Failed, Skipped  # noqa: E402
from tunnel_lab import TunnelLab  # noqa: E402
from tunnel_site import CASES  # noqa: E402

SKIP, JOBS = 77, 2
SHORT_CHURN_S = 20


def run_case(o, c):
    """One line that tools/summary counts like a case of cmocka."""
    began, verdict, note, tail = time.monotonic(), "       OK ", "", ""
    lab = TunnelLab(o.build, c.kind, c.line)
    lab.full, lab.seconds = o.full, o.seconds or (60 if o.full else SHORT_CHURN_S)
    try:
        with lab:
            try:
                note = c.fn(lab) or ""
                lab.stop_services()
            except BaseException:
                tail = lab.last_words()
                raise
    except Skipped as e:
        verdict, note, tail = "  SKIPPED ", str(e), ""
    except Failed as e:
        verdict, note = "  FAILED  ", str(e)
    except Exception as e:  # a fault of the case is a failed case, never a lost one
        verdict, note = "  FAILED  ", f"the case broke: {type(e).__name__}: {e}"
    print(f"{tail}# {note} ({time.monotonic() - began:.1f} s)\n[{verdict}] {c.sentence}", flush=True)
    return verdict.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--build", default="build", type=os.path.abspath, help="build folder (default: build)")
    p.add_argument("--full", action="store_true", help="also the cases of the long form")
    p.add_argument("--only", default="", metavar="TEXT", help="cases whose sentence holds TEXT")
    p.add_argument("--seconds", type=int, metavar="N", help=f"length of the churn (default: {SHORT_CHURN_S}, with --full 60)")
    p.add_argument("--jobs", type=int, default=JOBS, metavar="N", help=f"cases at a time (default: {JOBS})")
    p.add_argument("--list", action="store_true", help="only name the cases")
    o = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the namespaces are removed
    cases = [c for c in CASES if (c.short or o.full or o.only) and o.only in c.sentence]
    if o.list:
        print("\n".join(c.sentence for c in cases))
        return 0
    if os.getuid() != 0:
        print("network namespaces need root")
        return SKIP
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        done = list(pool.map(lambda c: run_case(o, c), cases))
    failed, skipped = done.count("FAILED"), done.count("SKIPPED")
    print(f"{done.count('OK')} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else SKIP if skipped == len(done) else 0


if __name__ == "__main__":
    sys.exit(main())
