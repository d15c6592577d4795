# SPDX-License-Identifier: Apache-2.0
"""Files that come from the console or go to it: backups, what is restored of one, archives of logs and their deletion."""
import io
import json
import os
import re
import socket
import sys
import zipfile

from console_world import Failed, case, main, wait_for
from managed import Supervisor
import world  # of tests/admin

PASS = "a long passphrase"
BYTES = {"Content-Type": "application/octet-stream"}


def named(answer, pattern):
    """The name under which a browser would keep it."""
    got = re.fullmatch(r'attachment; filename="(.*)"', answer.headers.get("Content-Disposition", ""))
    if not got or not re.fullmatch(pattern, got.group(1)):
        raise Failed(f"    {answer.headers}")
    return answer.body


@case("a backup comes from the page, is judged before its passphrase, looked into, and restored while the services stop and start")
def _(w):
    w.console()
    alice = w.first()
    oscar = w.user(alice, "oscar", "operator")
    w.config(tls=False)
    Supervisor(w, "turn")
    w.reached(alice, "turn")
    turn = "/api/v1/services/turn"
    wait_for("the verbs", lambda: alice.get(turn + "/verbs").status == 200)
    alice.put(turn + "/config/turn.software", {"value": "Backed up"}).is_(200)
    oscar.post("/api/v1/backup", {"passphrase": PASS}).is_(403, "forbidden")
    for bad in ({}, {"passphrase": "short"}, {"passphrase": "two\nlines of it"}, {"passphrase": 5}):
        if alice.post("/api/v1/backup", bad).is_(400).json["error"]["fields"][0]["path"] != "passphrase":
            raise Failed(f"    {bad}")
    got = alice.post("/api/v1/backup", {"passphrase": PASS}).is_(200)
    data = named(got, r"stile-[\w-]+-\d{8}-\d{6}\.backup")
    if got.headers["Content-Type"] != "application/octet-stream" or b"Backed up" in data:
        raise Failed(f"    {got!r}")
    line, _, rest = data.partition(b"\n")
    newer = json.dumps({**json.loads(line), "version": "7.0.0"}).encode() + b"\n" + rest
    alice.ask("POST", "/api/v1/restores", newer, **BYTES).is_(409, "newer-version")
    for bad in (b"x", b"{}\n", data[:len(line) + 5], b"\0" * 100000):
        alice.ask("POST", "/api/v1/restores", bad, **BYTES).is_(400, "bad-backup")
    alice.ask("POST", "/api/v1/restores", data, **{"Content-Type": "application/json"}).is_(415)
    oscar.ask("POST", "/api/v1/restores", data, **BYTES).is_(403, "forbidden")
    up = alice.ask("POST", "/api/v1/restores", data, **BYTES).is_(201).json
    if sorted(up["about"]["services"]) != ["stile-console", "stile-turn"] or up["about"]["made_at"] < 1e12:
        raise Failed(f"    {up}")
    one = "/api/v1/restores/" + up["id"]
    alice.post(one, {"passphrase": "another passphrase", "dry_run": True}).is_(403, "wrong-passphrase")
    alice.post("/api/v1/restores/" + "0" * 32, {"passphrase": PASS}).is_(404)
    alice.put(turn + "/config/turn.software", {"value": "Changed since"}).is_(200)
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write("# changed since\n")
    plan = alice.post(one, {"passphrase": PASS, "dry_run": True}).is_(200).json
    files = {os.path.basename(f["path"]): f for f in plan["files"]}
    left = {s["service"]: s["left_out"] for s in plan["services"]}
    if plan["restored"] or files["stile.yaml"]["state"] != "differs" or not files["stile.yaml"]["writable"] or \
            files["console.yaml"]["state"] != "same" or left != {"stile-console": True, "stile-turn": False}:
        raise Failed(f"    {plan}")
    pid = w.reached(alice, "turn")["pid"]
    done = alice.post(one, {"passphrase": PASS}).is_(200).json
    if not done["restored"]:
        raise Failed(f"    {done}")
    wait_for("another process", lambda: w.reached(alice, "turn")["pid"] != pid)

    def value():
        got = alice.get(turn + "/config")
        return {r["path"]: r for r in got.json["rows"]}["turn.software"]["value"] if got.status == 200 else None
    wait_for("the value of the backup", lambda: value() == "Backed up")
    with open(w.path("stile.yaml"), encoding="utf-8") as f:
        if "changed since" in f.read():
            raise Failed("    the file is not restored")
    alice.delete(one).is_(200)
    alice.post(one, {"passphrase": PASS}).is_(404)
    actions = [r["after"]["action"] for r in alice.get("/api/v1/audit").is_(200).json["rows"] if r["kind"] == "console.action"]
    if not {"backup", "restore upload", "restore"} <= set(actions) or PASS in alice.get("/api/v1/audit").text:
        raise Failed(f"    {actions}")


@case("a restore that cannot be is refused before anything stops: nobody looks after the service")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    w.reached(alice, "turn")
    data = alice.post("/api/v1/backup", {"passphrase": PASS}).is_(200).body
    one = "/api/v1/restores/" + alice.ask("POST", "/api/v1/restores", data, **BYTES).is_(201).json["id"]
    got = alice.post(one, {"passphrase": PASS}).is_(409, "running").json["error"]
    if "stile-turn" not in got["text"] or turn.process.poll() is not None:
        raise Failed(f"    {got}")
    turn.stop()
    w.reached(alice, "turn", "stopped")
    alice.post(one, {"passphrase": PASS, "keep_files": True}).is_(200)


@case("logs come as a ZIP, of one service or of all, and are deleted by who may")
def _(w):
    w.console()
    turn = w.turn()
    alice = w.first()
    oscar, vera = w.user(alice, "oscar", "operator"), w.user(alice, "vera", "viewer")
    w.reached(alice, "turn")
    vera.get("/api/v1/logs.zip").is_(403)
    data = named(oscar.get("/api/v1/logs.zip").is_(200), r"stile-[\w-]+-\d{8}-\d{6}\.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        if z.testzip() or sorted(z.namelist()) != ["stile-console.log", "stile-turn.log"] or b"turn" not in z.read("stile-turn.log"):
            raise Failed(f"    {z.namelist()}")
    with zipfile.ZipFile(io.BytesIO(oscar.get("/api/v1/logs.zip?service=turn").is_(200).body)) as z:
        if z.namelist() != ["stile-turn.log"]:
            raise Failed(f"    {z.namelist()}")
    oscar.get("/api/v1/logs.zip?service=--all").is_(404)
    oscar.delete("/api/v1/logs?all=1").is_(403)
    for bad in ("", "?all=1&file=x", "?older_than_days=0", "?older_than_days=x", "?file=%00"):
        alice.delete("/api/v1/logs" + bad).is_(400, "bad-request")
    alice.delete("/api/v1/logs?service=turn&file=../stile.yaml").is_(502, "failed")
    for name in ("%C3%A4" * 250, "x" + "%C3%A4" * 250):  # what the tool says is cut between letters
        alice.delete("/api/v1/logs?file=" + name).is_(502, "failed")
    old = w.write("log/stile-turn.log.1", "long ago\n")
    os.utime(old, (1e9, 1e9))
    got = alice.delete("/api/v1/logs?older_than_days=7").is_(200).json["rows"]
    if [n for r in got for n in r["deleted"]] != ["stile-turn.log.1"] or os.path.exists(old):
        raise Failed(f"    {got}")
    got = alice.delete("/api/v1/logs?service=turn&all=1").is_(200).json["rows"]
    if [r["service"] for r in got] != ["stile-turn"] or turn.process.poll() is not None:
        raise Failed(f"    {got}")
    w.logged("console.action", "user=alice", "logs delete")


@case("the relay's connection and data logs come along, and go, only where they are asked for")
def _(w):
    w.console()
    alice = w.first()
    records = w.path("records")
    os.mkdir(records)
    w.write("stile.yaml", f"log: {{ dir: {w.path('log')} }}\ntunnel: {{ workers: 1, records: {{ dir: {records} }}, routes: "
            f"[ {{ listen: \"127.0.0.1:{w.base + 5}\", target: \"127.0.0.1:{w.base + 6}\", log_data: true }} ] }}\n")
    tunnel = w.beside(world.TUNNEL, "stile-tunnel")
    w.reached(alice, "tunnel")
    with socket.create_server(("127.0.0.1", w.base + 6)) as target, socket.create_connection(("127.0.0.1", w.base + 5), timeout=20) as c:
        there, _ = target.accept()
        c.sendall(b"every byte of it")
        there.recv(100)
        there.close()
    w.write("records/strangers.LOG", "not ours\n")
    os.symlink(w.path("stile.yaml"), os.path.join(records, "CO991231.LOG"))
    verbs = "/api/v1/services/tunnel/verbs/records."
    wait_for("the verbs", lambda: alice.get("/api/v1/services/tunnel/verbs").status == 200)

    def files():
        rows = alice.post(verbs + "files").is_(200).json["rows"]
        return {r["name"]: r["size"] for r in rows}
    wait_for("both logs", lambda: {n[:2] for n, size in files().items() if size} == {"CO", "RL"})
    with zipfile.ZipFile(io.BytesIO(alice.get("/api/v1/logs.zip").is_(200).body)) as z:
        if any("records" in n for n in z.namelist()):
            raise Failed(f"    {z.namelist()}")

    def archive():
        with zipfile.ZipFile(io.BytesIO(alice.get("/api/v1/logs.zip?service=tunnel&records=1").is_(200).body)) as z:
            return {n: z.read(n) for n in z.namelist()}
    got = wait_for("the end of the data log", lambda: (a := archive()) and any(b"every byte of it".hex().encode() in bytes(b).lower().replace(b" ", b"")
                                                                          or b"every byte of it" in b for b in a.values()) and a)
    if any("strangers" in n or "991231" in n for n in got) or not all(n == "stile-tunnel.log" or n.startswith("stile-tunnel-records/") for n in got):
        raise Failed(f"    {sorted(got)}")
    for bad in ("../stile.yaml", "strangers.LOG", "CO991231.LOG", "CO000101.LOG"):
        alice.post(verbs + "read", {"name": bad}).is_(404 if bad != "CO991231.LOG" else 502)
    alice.post(verbs + "read", {"name": "CO000101.LOG", "offset": -1}).is_(400, "bad-request")
    alice.post(verbs + "delete", {}).is_(400, "bad-request")
    alice.delete("/api/v1/logs?service=tunnel&all=1").is_(200)
    if not any(files().values()):
        raise Failed("    the records went with the logs")
    for name in os.listdir(records):
        if name.startswith("RL"):
            os.utime(os.path.join(records, name), (1e9, 1e9))
    rows = alice.delete("/api/v1/logs?service=tunnel&all=1&records=1").is_(200).json["rows"]
    if {n[:2] for r in rows for n in r["deleted"]} != {"CO", "RL", "st"}:
        raise Failed(f"    {rows}")
    left = files()
    if [n for n in left if n.startswith("RL")] or any(left.values()) or not os.path.exists(os.path.join(records, "strangers.LOG")):
        raise Failed(f"    {left}")
    tunnel.stop()


if __name__ == "__main__":
    sys.exit(main(31300))
