# SPDX-License-Identifier: Apache-2.0
"""What a service says of its own health, and what `stile status` makes of it: certificates, disks, limits, ports, routes,
servers and gateways that are not there; and that each line goes when its cause is gone."""
import os
import socket
import subprocess
import sys
import time

from world import AGENT, SIP, TUNNEL, Failed, Server, case, main, need_root, silent, wait_for


def items(w, full="stile-turn"):
    return {(i["id"], i["subject"]): i for i in w.verb("service.health", full=full)["items"]}


def ids(w, full="stile-turn"):
    return sorted({i[0] for i in items(w, full)})


def start(w, program, name):
    """Another service on the same file; ready when it answers."""
    full, w.full = w.full, name
    s = Server(w, [program, "-c", w.path("stile.yaml"), "--runtime-dir", w.path("run"), *(["--user", "root"] if os.getuid() == 0 else [])])
    w.full = full
    w.servers.append(s)
    s.wait_ready()
    return s


def days(n):
    return time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + n * 86400))


def renew(w, until):
    for name in ("server.pem", "server.key"):
        if os.path.exists(w.path(name)):
            os.unlink(w.path(name))
    w.certificate(valid=(days(-30), days(until)))


@case("a certificate that ends is warned of with its day and what to do; a renewed one wants a reload, and then all is well")
def _(w):
    renew(w, 12.5)
    w.config()
    w.start()
    pem = w.path("server.pem")
    item = items(w)[("certificate-ends", pem)]
    if item["severity"] != "warning" or item["args"]["days"] != 12 or item["args"]["key"] != "turn.certificate":
        raise Failed(f"    {item}")
    w.ask("status").exits(1).says("! turn", f"the certificate {pem} ends in 12 days", "stile reload")
    renew(w, 60)
    if ids(w) != ["certificate-changed", "certificate-ends"]:
        raise Failed(f"    {ids(w)}")
    w.ask("reload").exits(0)
    w.ask("status").exits(0).says("✔ health", "nothing to do")
    renew(w, 2.5)
    w.ask("reload").exits(0)
    w.ask("status").exits(1).says("✘ turn", "ends in 2 days")
    os.unlink(pem)
    if ids(w) != ["certificate-ends", "certificate-unreadable"]:
        raise Failed(f"    {ids(w)}")


@case("a full disk of the log is an error that names the folder, and the log says itself that it loses lines")
def _(w):
    need_root()
    os.makedirs(w.path("log"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", w.path("log")], capture_output=True, check=False).returncode:
        raise Failed("    cannot mount a tmpfs")
    try:
        w.config()
        w.start()
        with open(w.path("log/ballast"), "wb") as f:
            try:
                f.write(b"x" * (1 << 20))
                f.flush()
            except OSError:
                pass

        def fails():
            w.ask("reload")  # it wants to say something
            return "log-failing" in ids(w)
        wait_for("the log fails", fails)
        item = items(w)[("disk-space", w.path("log"))]
        if item["severity"] != "error" or item["args"]["what"] != "log":
            raise Failed(f"    {item}")
        w.ask("status").exits(1).says("✘ turn", "on the disk of the log folder " + w.path("log"), "stile logs delete")
        os.unlink(w.path("log/ballast"))
        w.ask("reload").exits(0)
        wait_for("the log works again", lambda: "log-failing" not in ids(w))
    finally:
        w.stop_all()
        subprocess.run(["umount", "-l", w.path("log")], check=False)


@case("descriptors are warned of before they are used up")
def _(w):
    w.config(tls=False)
    w.start(prefix=["prlimit", "--nofile=128"])
    held = []

    def more():
        held.append(socket.create_connection(("127.0.0.1", w.port), timeout=20))
        return "descriptors" in ids(w)
    try:
        wait_for("the warning", more)
        w.ask("status").exits(1).says("file descriptors are in use", "LimitNOFILE")
    finally:
        for s in held:
            s.close()
    wait_for("no warning", lambda: "descriptors" not in ids(w))


@case("a route without its port, an agent without its server and a gateway that is silent are told until they are there")
def _(w):
    taken, route, server, sip, gateway = (w.base + i for i in range(2, 7))
    w.config(tls=False, top=f"""tunnel:
  listen: []
  routes: [ {{ name: mail, listen: "127.0.0.1:{route}", target: "127.0.0.1:{taken}" }},
            {{ name: web, listen: "127.0.0.1:{taken}", target: "127.0.0.1:1" }} ]
agent: {{ name: site, server: "127.0.0.1:{server}" }}
sip:
  domains: [uc.test]
  listen: ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
  routes: [ {{ domain: partner.test, host: 127.0.0.1, port: {gateway}, transport: tcp, bind: 127.0.0.1 }} ]
  timers: {{ probe: 200ms }}
""")
    with silent(socket.SOCK_STREAM, taken):
        start(w, TUNNEL, "stile-tunnel")
        start(w, AGENT, "stile-agent")
        start(w, SIP, "stile-sip")
        item = items(w, "stile-tunnel")[("listener-not-bound", "web")]
        if item["severity"] != "error" or "in use" not in item["text"]:
            raise Failed(f"    {item}")
        wait_for("the agent says so", lambda: ("server-unreachable", f"127.0.0.1:{server}") in items(w, "stile-agent"))
        wait_for("the proxy says so", lambda: ("partner-failing", "127.0.0.1") in items(w, "stile-sip"))
        w.ask("status").exits(1).says("✘ agent", f"the server 127.0.0.1:{server}").says("✘ sip", "the gateway 127.0.0.1").says(
            "✘ tunnel", "the route web")
        rows = {r["program"]: r for r in w.ask("status", "--json").exits(1).json()}
        if rows["stile-tunnel"]["health"]["worst"] != "error":
            raise Failed(f"    {rows['stile-tunnel']['health']}")
    wait_for("the port is bound", lambda: "listener-not-bound" not in ids(w, "stile-tunnel"))


@case("many services have one line each where their lines do not fit, and all of them with --verbose")
def _(w):
    p = w.base
    w.config(tls=False)
    w.start()
    for i in range(1, 6):
        w.config(f"{i}.yaml", tls=False, listen=f'["udp:127.0.0.1:{p + i}"]',
                 relay=f"{{ addresses: [127.0.0.1], ports: {p + 10 + i * 4}-{p + 13 + i * 4} }}")
        w.start(f"{i}.yaml", "--instance", f"i{i}")
    short = w.ask("status").exits(0).says("✔ turn ", "running, up", "0 allocations", "✔ turn@i5", "nothing to do").never_says("relays from")
    if len(short.out.splitlines()) > 24:
        short.fail("more than a screen")
    w.ask("status", "--verbose").exits(0).says("relays from", "stile-turn@i5", f"udp:127.0.0.1:{p + 5}")


if __name__ == "__main__":
    sys.exit(main(26400))
