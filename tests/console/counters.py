# SPDX-License-Identifier: Apache-2.0
"""What the console counts, and what packaging/ makes of all services' counters: the dashboard of Grafana and the alert rules ask
only for metrics that there are, with labels that they have.

  STILE_BUILD=build python3 -B tests/console/counters.py --write    # after a metric was added or changed"""
import json
import os
import re
import shutil
import subprocess
import sys

from console_world import HERE, ConsoleWorld, Failed, Skipped, case, main, wait_for
from metrics import PAGE, Page, samples  # of tests/admin

CONSOLE_PAGE = Page("tests/console/counters.py", "stile_console_", "end of the console")
PACKAGING = os.path.join(HERE, "../../packaging")


def rows_of(w):
    w.console()
    return samples(w.verb("console.metrics", {"text": True})["text"])


@case("docs/metrics.md has every metric of the console, and they move")
def _(w):
    CONSOLE_PAGE.check(rows_of(w))
    alice = w.first()
    w.client().login("alice", "wrong wrong wrong").is_(401)
    text = w.verb("console.metrics", {"text": True})["text"]
    for wanted in ('stile_console_logins_total{result="good"} 1', 'stile_console_logins_total{result="bad"} 1'):
        if wanted not in text:
            raise Failed(f"    {wanted} is not in\n{text}")
    alice.get("/api/v1/nothing").is_(404)
    wait_for("a request that failed", lambda: not re.search(
        r'requests_total\{class="4xx"\} 0', w.verb("console.metrics", {"text": True})["text"]))


def expressions():
    """(where, PromQL) of the dashboard and the rules."""
    with open(os.path.join(PACKAGING, "grafana/stile.json"), encoding="utf-8") as f:
        board = json.load(f)
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    with open(os.path.join(PACKAGING, "prometheus/stile-rules.yml"), encoding="utf-8") as f:
        for alert, expr in re.findall(r"- alert: (\w+)\n\s+expr: (.*)", f.read()):
            yield alert, expr


@case("dashboard and alert rules ask only for metrics and values that there are")
def _(w):
    with open(PAGE, encoding="utf-8") as f:
        known = {m: (label, set(values.split())) for m, label, values in re.findall(
            r"^\| `(stile_\w+)` \| \w+ \| (?:`(\w+)`: ([^|]*))? *\|", f.read(), re.M)}
    known["stile_up"] = ("", set())
    seen = 0
    for where, expr in expressions():
        if expr.count("(") != expr.count(")") or expr.count("{") != expr.count("}"):
            raise Failed(f"    {where}: {expr}")
        for name, labels in re.findall(r"(stile_\w+?)(?:\{([^}]*)\})?(?=[\[\])\s]|$)", expr):
            seen += 1
            if name not in known:
                raise Failed(f"    {where}: there is no metric {name}")
            for label, value in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', labels or ""):
                if label in ("job", "service", "instance"):
                    continue
                if label != known[name][0] or not set(value.split("|")) <= known[name][1]:
                    raise Failed(f"    {where}: {name} has no {label} {value}")
    if seen < 20:
        raise Failed(f"    only {seen} metrics were understood")


@case("each alert rings for its cause, and none on a quiet day (promtool)")
def _(w):
    if not shutil.which("promtool"):
        raise Skipped("no promtool here (Debian's prometheus)")
    rules = os.path.join(PACKAGING, "prometheus/stile-rules.yml")
    with open(os.path.join(HERE, "alerts.yml"), encoding="utf-8") as f:
        tests = f.read()
    with open(rules, encoding="utf-8") as f:
        for alert in re.findall(r"- alert: (\w+)", f.read()):
            if tests.count(f"alertname: {alert}") < 2:
                raise Failed(f"    {alert} is not tried in tests/console/alerts.yml")
    for command in (["check", "rules", rules], ["test", "rules", w.write("alerts.yml", tests.replace("RULES", rules))]):
        got = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=120, check=False)
        if got.returncode:
            raise Failed(f"    promtool {' '.join(command)}:\n{got.stdout}{got.stderr}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        with ConsoleWorld(30900) as world_of_one:
            CONSOLE_PAGE.write(rows_of(world_of_one))
            world_of_one.stop_all()
    else:
        sys.exit(main(30900))
