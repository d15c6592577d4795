# SPDX-License-Identifier: Apache-2.0
"""The product's own conformance suite against the server of this run: every check that is not advisory must
pass. It runs against servers of its own, once with this machine's sockets as peers and once with the
server's relayed addresses, because the other cases would find no free relay ports beside it. Against
coturn it must find what is known to be wrong there: the suite can see faults."""
import json
import os
import subprocess

from harness import OTHER_PASSWORD, OTHER_USER, PASSWORD, PORTS_PER_SERVER, USER, Failed, Server

LEAST_CHECKS = {"udp": 200, "tcp": 200, "tls": 200, "dtls": 200}  # passed, so that skipping is no way out


def stile():
    return os.environ.get("STILE_TOOL") or os.path.join(os.environ.get("STILE_BUILD", "build"), "cli/stile")


def run_suite(server, transport):
    done = subprocess.run([stile(), "conform", "turn", "127.0.0.1", "--port", str(server.port), "--tls-port",
                           str(server.tls_port), "--insecure", "--user", USER, "--password", PASSWORD,
                           "--other-user", OTHER_USER, "--other-password", OTHER_PASSWORD,
                           "--transport", transport, "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, timeout=300, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise Failed(f"no JSON came, exit {done.returncode}: {done.stderr.strip() or done.stdout[:200]}") from None


def judge_coturn(code, report):
    failed = {c["id"] for c in report["transports"][0].get("checks", []) if c["result"] == "failed"}
    unseen = {"lifetime-behind-mac", "transport-sctp", "token-unknown", "release"} - failed
    if unseen or code != 1:
        raise Failed(f"exit status {code}; not seen: {', '.join(sorted(unseen)) or 'nothing'}")
    return f"{len(failed)} departures seen"


def judge(code, report, transport):
    tried = report["transports"][0]
    bad = [f"{c['id']} ({c['clause']}): {c['note']}" for c in tried.get("checks", [])
           if c["result"] == "failed" and not c["advisory"]]
    if tried.get("unreachable") or bad or code != 0:
        raise Failed("; ".join(bad) or tried.get("unreachable") or f"exit status {code}")
    passed = tried["summary"]["passed"]
    if passed < LEAST_CHECKS[transport]:
        raise Failed(f"only {passed} checks could be tried")
    return f"{passed} checks passed"


def conform(transport, place, loopback_peers):
    def case(server):
        first = server.base + (20 + place) * PORTS_PER_SERVER
        wide = (61000, 65535) if os.environ.get("STILE_PEER") == "coturn" else None  # it rests a used port for long
        with Server("users", first, loopback_peers=loopback_peers, relay_ports=wide) as own:
            if own.peer == "coturn":
                return judge_coturn(*run_suite(own, transport))
            note = judge(*run_suite(own, transport), transport)
            own.stop_cleanly()
            return note
    return case


def matrix():
    for place, transport in enumerate(("udp", "tcp", "tls", "dtls")):
        yield f"conform over {transport}", transport in ("udp", "tcp"), conform(transport, place, True)
    yield "conform with relayed peers", True, conform("udp", 4, False)
