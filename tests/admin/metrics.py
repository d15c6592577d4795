# SPDX-License-Identifier: Apache-2.0
"""What the server counts: each metric is explained in docs/metrics.md, moves while things happen, and names nobody.

  STILE_BUILD=build tests/admin/metrics.py --write    # after a metric was added or changed"""
import os
import re
import sys
import time

from turn_client import Client
from world import Failed, World, case, main

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/metrics.md")


def samples(text):
    """{name: (type, help, label, values, [(labels, value)])}; le is no label of its own."""
    rows = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, told = line[7:].split(" ", 1)
            rows[name] = {"help": told, "label": "", "values": [], "all": []}
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            rows[name]["kind"] = kind
        else:
            full, labels, value = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line).groups()
            row = rows.get(full) or rows[re.sub(r"_(bucket|sum|count)$", "", full)]
            pairs = re.findall(r'([a-z_]+)="([^"]*)"', labels or "")
            row["all"].append((full, dict(pairs), float(value)))
            for key, v in pairs:
                if key != "le":
                    row["label"] = key
                    row["values"] += [v] if v not in row["values"] else []
    return rows


def table(rows):
    out = ["| metric | type | label and its values | meaning |\n", "|---|---|---|---|\n"]
    for name, r in rows.items():
        labels = f"`{r['label']}`: " + " ".join(r["values"]) if r["label"] else ""
        out.append(f"| `{name}` | {r['kind']} | {labels} | {r['help']} |\n")
    return "".join(out)


class Page:
    """The part of docs/metrics.md that one program's test keeps: between two comments, the first of which names the test."""
    def __init__(self, maker, prefixes, end="end"):
        self.maker, self.prefixes = maker, prefixes
        self.begin, self.end = f"<!-- made by {maker} -->\n", f"<!-- {end} -->\n"

    def check(self, rows):
        with open(PAGE, encoding="utf-8") as f:
            if f.read().split(self.begin)[1].split(self.end)[0] != table(rows):
                raise Failed(f"    docs/metrics.md differs; write it anew: {self.maker} --write")
        for name, r in rows.items():
            if not name.startswith(self.prefixes) or (r["kind"] == "counter") != name.endswith("_total"):
                raise Failed(f"    {name} is a {r['kind']}")

    def write(self, rows):
        with open(PAGE, encoding="utf-8") as f:
            head, rest = f.read().split(self.begin)
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(head + self.begin + table(rows) + self.end + rest.split(self.end, 1)[1])


TURN = Page("tests/admin/metrics.py", "stile_turn_")


def metrics_of(w):
    return samples(w.ask("turn", "metrics").exits(0).out)


@case("every metric stands in docs/metrics.md as the server has it")
def _(w):
    w.config(tls=False)
    w.start()
    found = metrics_of(w)
    TURN.check(found)
    on = {have["feature"]: v for _name, have, v in found["stile_turn_batching_workers"]["all"]}
    if (on["gro"], on["gso"]) != (1, 1) or on["ring"] not in (0, 1):  # an administrator may forbid io_uring; Linux 4.18 and 5.0 have the others
        raise Failed(f"    {on}")


@case("counters move while a session lives, and no label names a user or an address")
def _(w):
    w.config(tls=False)
    w.start()

    def moved(name, **labels):
        return sum(v for full, have, v in metrics_of(w)[name]["all"] if full == name and labels.items() <= have.items())

    with Client(w.port, "alice", "wonderland") as a:
        if a.allocate() or a.permit("127.0.0.1") or a.bind(0x4000, "127.0.0.1", 9):
            raise Failed("    the client got no session")
        for _i in range(7):
            a.send_channel(0x4000, b"x" * 100)
        a.permit("127.0.0.1")  # an answer: what was sent before has been read
        now = {"allocations": moved("stile_turn_allocations"), "permissions": moved("stile_turn_permissions_created_total"),
               "packets": moved("stile_turn_relayed_packets_total", direction="to_peer"),
               "bytes": moved("stile_turn_relayed_bytes_total", direction="to_peer"),
               "ok": moved("stile_turn_auth_total", result="ok"), "ended": moved("stile_turn_allocations_ended_total")}
        if now != {"allocations": 1, "permissions": 1, "packets": 7, "bytes": 700, "ok": 4, "ended": 0}:
            raise Failed(f"    {now}")
        text = w.ask("turn", "metrics").exits(0).out
        for secret in ("alice", "127.0.0.1"):
            if secret in text:
                raise Failed(f"    {secret} stands in the metrics")
        a.refresh(0)
    if moved("stile_turn_allocations") or moved("stile_turn_allocations_ended_total", cause="released") != 1:
        raise Failed("    the end of the session was not counted")


@case("how long requests take is a histogram for each method")
def _(w):
    w.config(tls=False)
    w.start()
    with Client(w.port, "alice", "wonderland") as a:
        a.allocate()
        began = time.monotonic()
        for _i in range(20):
            a.permit("127.0.0.1")
        took = time.monotonic() - began
        a.refresh(0)
    rows = metrics_of(w)["stile_turn_request_duration_seconds"]["all"]

    def of(method, suffix, le=None):
        return [v for full, have, v in rows if full.endswith(suffix) and have.get("method") == method and (le is None or have["le"] == le)]
    buckets = of("create_permission", "_bucket")
    if of("create_permission", "_count") != [20] or of("create_permission", "_bucket", "+Inf") != [20] or buckets != sorted(buckets):
        raise Failed(f"    {rows}")
    if not 0 < of("create_permission", "_sum")[0] < took or of("allocate", "_count") != [2] or of("binding", "_count") != [0]:
        raise Failed(f"    {rows}")
    w.ask("turn", "metrics", "duration").exits(0).says("# HELP stile_turn_request_duration_seconds", 'le="+Inf"').never_says("drops")
    if "stile_turn_drops_total" not in w.ask("turn", "metrics", "--json").exits(0).json():
        raise Failed("    --json lacks them")


def write():
    with World(23000) as w:
        w.config(tls=False)
        w.start()
        TURN.write(metrics_of(w))


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        sys.exit(main(23000))
