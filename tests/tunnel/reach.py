# SPDX-License-Identifier: Apache-2.0
"""stile test reach: the server connects back to the agent's own address, and to no other; who listens there, how often it may
be asked, and what is said of it."""
import json
import sys

from tunnel_world import Failed, Target, case, echo, main, wait_for


def reach(w, port, **more):
    return w.agent_verb("site", "agent.reach", dict(more, port=port))


def ready(w):
    w.server()
    w.agent("site")
    w.connected("site")


@case("a port that nobody holds is listened on for the test, and reached")
def _(w):
    ready(w)
    port = w.target_port(0)
    said = w.ask_agent("site", "test", "reach", str(port), "--json").exits(0)
    told = json.loads(said.out)
    if not told["reached"] or not told["here"] or told["outside"] != f"127.0.0.1:{port}" or told["inside"] != f"127.0.0.1:{port}":
        raise Failed(f"    {told}")
    w.ask_agent("site", "test", "reach", str(port)).exits(0).says("the server has reached this machine", "There is no NAT")
    if w.tunnel_metric("stile_tunnel_reach_tests_total", "ours") != 2:
        raise Failed("    it is not counted")
    w.server_logged("tunnel.reach", "agent=site")


@case("what listens already is told apart: another program, nobody at all, and who only repeats the question")
def _(w):
    ready(w)
    with Target(w.target_port(0), echo):  # sends the question back, which is no answer
        w.ask_agent("site", "test", "reach", str(w.target_port(0))).exits(1).says("something that is not Stile answers", "the port is held by")
        if reach(w, w.target_port(0))["result"] != "open":
            raise Failed("    an echo is taken for an answer")
    if reach(w, w.target_port(1))["result"] != "refused":
        raise Failed("    nobody listens there")


@case("bad ports, nonces and servers are refused, and so is a test without a connection")
def _(w):
    ready(w)
    for argv in (["0"], ["65536"], ["x"], []):
        w.ask_agent("site", "test", "reach", *argv).exits(2)
    for args in ({"port": 0}, {"port": 70000}, {}, {"port": 80, "nonce": "zz"}, {"port": 80, "nonce": "00" * 17}, {"port": 80, "server": "elsewhere.test"}):
        try:
            w.agent_verb("site", "agent.reach", args)
        except Failed:
            continue
        raise Failed(f"    {args} is taken")
    w.ask_agent("site", "agent", "disconnect").exits(0)
    wait_for("it is gone", lambda: not w.link("site"))
    w.ask_agent("site", "test", "reach", str(w.target_port(0))).exits(1).says("not connected")


@case("an agent that asks all the time is told to wait, and the server goes on with others")
def _(w):
    ready(w)
    results = [reach(w, w.target_port(1))["result"] for _ in range(12)]
    if results.count("refused") < 8 or "limit" not in results:
        raise Failed(f"    {results}")
    w.agent("other")
    w.connected("other")
    if w.agent_verb("other", "agent.reach", {"port": w.target_port(1)})["result"] != "refused":
        raise Failed("    another agent pays for it")
    w.ask_agent("site", "test", "reach", str(w.target_port(0))).exits(1).says("too many tests")


if __name__ == "__main__":
    sys.exit(main(27900))
