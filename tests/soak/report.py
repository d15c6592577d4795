#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a soak was flat: a figure of each program and each kind of traffic over time, and one rule for all of them.

The rule. The first fifth of the run is warm-up (at least five minutes of a run of half an hour or more) and is left out. Of the rest the
Theil-Sen slope is taken: the median of the slopes between all pairs of points, which no single outlier moves. Slope × length of the rest
is the growth, and a figure is flat if it grew by at most

  resident and private memory   the larger of 3 % of its median and 512 KiB
  descriptors                   the larger of 2 % of their median and 2
  threads                       0.5
  latency                       the larger of 25 % of its median and 1 ms, after what the bare echo grew by is taken off: that is the
                                machine. Judged is the tenth percentile of so many samples as hold twenty rounds, which tells what a
                                service takes when the machine lets it; the median is shown beside it, and is the machine's as much as ours

What shrinks is flat. Failures of a kind of traffic are allowed to one in 2000 rounds, for the machine is shared. Below half an hour only
failures and ends of programs are judged: the slopes are shown and not called anything.

  tests/soak/report.py FILE [FROM]   # the samples of a soak, finished or under way, from this second on; Markdown; status 1: not flat"""
import json
import statistics
import sys

MIN_JUDGED = 1800  # s
POINTS = 300       # of a series; more are thinned out
FIGURES = {"rss_kib": (0.03, 512), "private_kib": (0.03, 512), "descriptors": (0.02, 2), "threads": (0, 0.5)}
LATENCY = (0.25, 1.0)


def thinned(points):
    step = max(1, -(-len(points) // POINTS))
    return points[::step]


def slope(points):
    """Theil and Sen's: of (time, value), per second."""
    points = thinned(points)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1:] if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def after_warm_up(points, length):
    warm = max(length / 5, 300) if length >= MIN_JUDGED else length / 5
    return [p for p in points if p[0] >= warm]


def in_bins(points, enough=20):
    """(time, latency, rounds) joined until a bin has enough rounds: its time, and the tenth percentile of its latencies."""
    bins, held, n = [], [], 0
    for at, value, rounds in points:
        held.append(value)
        n += rounds
        if n >= enough:
            bins.append((at, sorted(held)[len(held) // 10]))
            held, n = [], 0
    return bins


def judge(points, length, allowance, less=0.0):
    """A row of the verdict, or None where there are too few points. less: growth that is not the figure's own fault."""
    rest = after_warm_up(points, length)
    if len(rest) < 3:
        return None
    values = [v for _, v in rest]
    median = statistics.median(values)
    grew = slope(rest) * (rest[-1][0] - rest[0][0])
    allowed = max(allowance[0] * median, allowance[1])
    tenth = max(1, len(values) // 10)
    return {"first": statistics.median(values[:tenth]), "median": median, "last": statistics.median(values[-tenth:]),
            "most": max(values), "grew": grew, "allowed": allowed, "flat": grew - max(0.0, less) <= allowed}


def series_of(samples):
    """{(program, figure): points}, {kind: points}, {kind: median of the medians}"""
    programs, kinds, medians = {}, {}, {}
    for s in samples:
        for name, row in s["programs"].items():
            for figure in FIGURES:
                programs.setdefault((name, figure), []).append((s["at"], row[figure]))
        for name, row in s["latency_ms"].items():
            kinds.setdefault(name, []).append((s["at"], row["p10"], row["n"]))
            medians.setdefault(name, []).append(row["p50"])
    kinds = {name: in_bins(points) for name, points in kinds.items()}
    return programs, kinds, {name: statistics.median(v) for name, v in medians.items()}


def verdict(header, samples):
    """All rows, and whether everything is flat (None: too short to say)."""
    length = samples[-1]["at"]
    programs, kinds, medians = series_of(samples)
    bare = judge(kinds.get("bare_echo", []), length, LATENCY)
    rows = {"programs": {}, "latency_ms": {}, "p50": medians, "failures": {}, "length_s": length, "wrong": []}
    for (name, figure), points in sorted(programs.items()):
        row = judge(points, length, FIGURES[figure])
        if row:
            rows["programs"].setdefault(name, {})[figure] = row
            if not row["flat"] and length >= MIN_JUDGED:
                rows["wrong"].append(f"{name}: {figure} grew by {row['grew']:.1f}, {row['allowed']:.1f} allowed")
    for name, points in sorted(kinds.items()):
        row = judge(points, length, LATENCY, bare["grew"] if bare and name != "bare_echo" else 0.0)
        if row:
            rows["latency_ms"][name] = row
            if not row["flat"] and length >= MIN_JUDGED and name != "bare_echo":
                rows["wrong"].append(f"{name}: latency grew by {row['grew']:.2f} ms, {row['allowed']:.2f} allowed")
    last = samples[-1]
    for name in header["kinds"]:
        done, failed = last["rounds"].get(name, 0), last["failures"].get(name, 0)
        rows["failures"][name] = (done, failed)
        if failed > max(1, done / 2000):
            rows["wrong"].append(f"{name}: {failed} failures in {done} rounds: {last['words'].get(name, '')}")
        if not done and length >= 1.5 * header["kinds"][name]["period"] + 20:
            rows["wrong"].append(f"{name}: not one round: {last['words'].get(name, '')}")
    rows["wrong"] += last.get("ended", [])
    return rows


def mib(kib):
    return f"{kib / 1024:.1f}"


def markdown(header, samples, rows):
    judged = rows["length_s"] >= MIN_JUDGED
    cpu = (samples[-1]["cpu_s"] - samples[0]["cpu_s"]) / max(1, samples[-1]["at"] - samples[0]["at"])
    loads = sorted(s["load"] for s in samples)
    yield f"{header['when']}, {rows['length_s'] / 60:.0f} minutes, {len(samples)} samples, {header['machine']}. The machine's load was " \
          f"{statistics.median(loads):.1f} (median; most {loads[-1]:.1f}); the soak's programs together took {100 * cpu:.1f} % of one core."
    yield ""
    yield "| program | resident, MiB: first, last, most | grew | private, MiB: first, last | grew | descriptors: first, last, " \
          "most | threads | flat |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, f in rows["programs"].items():
        r, p, d, t = f["rss_kib"], f["private_kib"], f["descriptors"], f["threads"]
        flat = "yes" if all(x["flat"] for x in f.values()) else "**no**"
        yield f"| {name} | {mib(r['first'])}, {mib(r['last'])}, {mib(r['most'])} | {r['grew']:+.0f} KiB | {mib(p['first'])}, " \
              f"{mib(p['last'])} | {p['grew']:+.0f} KiB | {d['first']:.0f}, {d['last']:.0f}, {d['most']:.0f} | {t['last']:.0f} | " \
              f"{flat if judged else '–'} |"
    yield ""
    yield "| traffic | rounds | failed | latency, ms: p50 | p10: first, last | grew | flat |"
    yield "|---|---|---|---|---|---|---|"
    for name, (done, failed) in rows["failures"].items():
        row = rows["latency_ms"].get(name)
        p50 = f"{rows['p50'][name]:.2f}" if name in rows["p50"] else "–"
        if not row:
            yield f"| {name} | {done} | {failed} | {p50} | – | – | – |"
            continue
        flat = "–" if not judged or name == "bare_echo" else "yes" if row["flat"] else "**no**"
        yield f"| {name} | {done} | {failed} | {p50} | {row['first']:.2f}, {row['last']:.2f} | {row['grew']:+.2f} ms | {flat} |"
    yield ""
    if rows["wrong"]:
        yield "Not flat:"
        yield from (f"- {w}" for w in rows["wrong"])
    elif judged:
        yield "Everything is flat."
    else:
        yield f"Nothing failed; below {MIN_JUDGED // 60} minutes slopes are not judged."


def read(path):
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f if line.endswith("\n")]
    return lines[0], lines[1:]


def since(samples, start):
    """As if the soak had begun then: what was counted before is taken off."""
    rest = [s for s in samples if s["at"] >= start]
    if rest and start:
        zero = {key: dict(rest[0][key]) for key in ("rounds", "failures")}
        at = rest[0]["at"]
        for s in rest:
            s["at"] -= at
            for key, before in zero.items():
                s[key] = {k: v - before.get(k, 0) for k, v in s[key].items()}
    return rest


def main():
    header, samples = read(sys.argv[1])
    samples = since(samples, float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    if not samples:
        print("there are no samples yet")
        return 2
    rows = verdict(header, samples)
    print("\n".join(markdown(header, samples, rows)))
    return 1 if rows["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
