# SPDX-License-Identifier: Apache-2.0
"""Links between two agents, by real programs: offers and relays through the server, who may come and where to, the child that dies,
and (with the real child) bytes over a direct link and over the relay.

Where a case looks at the supervisor alone, scripted_child.py stands in for stile-agent-direct."""
import json
import os
import sys

from tunnel_world import *  # noqa: F401,F403
from tunnel_world import HERE, Failed, case, main, wait_for

SCRIPTED = os.path.join(HERE, "scripted_child.py")


def identity(w, agent):
    return w.agent_verb(agent, "agent.status")["identity"]


def notes(w, agent, what=None):
    """What the scripted child of this agent was told."""
    try:
        with open(w.path(f"{agent}.child")) as f:
            rows = [json.loads(line) for line in f]
    except FileNotFoundError:
        return []
    return [r for r in rows if what in (None, r["what"])]


def noted(w, agent, what, seconds=20, **values):
    def look():
        for r in notes(w, agent, what):
            if all(r.get(k) == v for k, v in values.items()):
                return r
        return None
    return wait_for(f"the child of {agent} hears: {what} {values or ''}", look, seconds)


def scripted(w, agent, do="", **keys):
    """An agent with the scripted child, enrolled, started, connected."""
    env = {"STILE_DIRECT": SCRIPTED, "STILE_CHILD_LOG": w.path(f"{agent}.child"), "STILE_CHILD_DO": do}
    keys.setdefault("code", f'"{w.enrol(agent)["code"]}"')
    w.agent_config(agent, **keys)
    w.start_agent(agent, env=env)
    w.connected(agent)


def configure(w, agent, **keys):
    w.agent_config(agent, **keys)
    w.agent_verb(agent, "service.reload")


def links(w, agent):
    return w.agent_verb(agent, "agent.peers")["rows"]


def meet(w, do="", **visit):
    """Two agents, home and site, that know each other; home visits site:22."""
    w.server()
    scripted(w, "site")
    scripted(w, "home", do)
    configure(w, "site", visitors=f'[ {{ name: home, identity: "{identity(w, "home")}", allow: "127.0.0.0/8:22" }} ]')
    visit = {"agent": "site", "identity": f'"{identity(w, "site")}"', "target": '"127.0.0.1:22"', **visit}
    configure(w, "home", visits="[ { " + ", ".join(f"{k}: {v}" for k, v in visit.items()) + " } ]")


@case("two agents meet: signed offers, a relay through the server that both children get, and the host decides where to")
def _(w):
    meet(w)
    noted(w, "home", "open", role=1, peer=identity(w, "site")[7:])
    there = noted(w, "site", "open", role=2, peer=identity(w, "home")[7:])
    if there["dcid"] != notes(w, "home", "open")[-1]["dcid"]:
        raise Failed("    the two do not expect the same connection id")
    noted(w, "home", "remote", ufrag="uf02")
    noted(w, "site", "remote", ufrag="uf01", candidates=["candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host"])
    noted(w, "home", "heard", text="I am role 2\n")
    noted(w, "site", "heard", text="I am role 1\n")
    noted(w, "site", "admitted", reason=0, addresses=1)  # port 22
    noted(w, "site", "admitted", addresses=0)            # port 23
    w.agent_logged("site", "agent.visitor.refused", "port=23")
    row = wait_for("the visit's link is up", lambda: [r for r in links(w, "home") if r["state"] == "up"])[0]
    if (row["path"], row["role"], row["peer"]) != ("relay", "visitor", "site"):
        raise Failed(f"    {row}")
    if "1.5 ms" not in w.ask_agent("home", "agent", "peers").exits(0).out:
        raise Failed("    stile agent peers does not show the round-trip time")
    if "1.23 ms" not in w.ask_agent("home", "ping", "site", "--count", "1").exits(0).out:
        raise Failed("    stile ping does not show the round-trip time")



def apart(w):
    """Two agents that do not know each other."""
    w.server()
    scripted(w, "site")
    scripted(w, "home")


def pending(w, agent):
    return w.agent_verb(agent, "agent.peers")["pending"]


def connect_in_background(w, *argv):
    return w.program_of_tool("connect", *argv, "--instance", "home")


@case("first contact: both sides show the same digits, nobody is let in before both have accepted, and the key counts from then on")
def _(w):
    apart(w)
    said = w.ask_agent("home", "connect", "site", "127.0.0.1:22").exits(1)
    digits = pending(w, "home")[0]["string"]
    if digits not in said.err:
        raise Failed(f"    stile connect does not show {digits}: {said.err}")
    there = wait_for("the host shows it", lambda: pending(w, "site"))[0]
    if there["string"] != digits or there["identity"] != identity(w, "home"):
        raise Failed(f"    the host shows {there}")
    w.ask_agent("home", "agent", "peer", "accept", digits).exits(0)
    p = connect_in_background(w, "site", "127.0.0.1:22")
    wait_for("the host refuses who is not accepted", lambda: any("does not know this one" in v["why"] for v in
                                                                 w.agent_verb("home", "agent.peers")["visits"]))
    w.ask_agent("site", "agent", "peer", "accept", digits).says("what the visitor may reach")
    w.ask_agent("site", "agent", "peer", "accept", digits, "--allow", "127.0.0.1:22").exits(0)
    noted(w, "site", "admitted", reason=0)
    p.kill()
    p.communicate()
    wait_for("the visit goes with stile connect", lambda: not w.agent_verb("home", "agent.peers")["visits"])
    w.ask_agent("site", "agent", "peer", "forget", "home").exits(0)
    wait_for("its links end", lambda: not links(w, "site"))


@case("first contact by a one-time code: no questions, used once, and of no use for another agent")
def _(w):
    apart(w)
    code = json.loads(w.ask_agent("site", "agent", "invite", "--allow", "127.0.0.1:22", "--json").exits(0).out)["code"]
    other = json.loads(w.ask_agent("home", "agent", "invite", "--allow", "127.0.0.1:22", "--json").exits(0).out)["code"]
    w.ask_agent("home", "connect", "site", "127.0.0.1:22", "--code", other).exits(1)
    p = connect_in_background(w, "site", "127.0.0.1:22", "--code", code)
    noted(w, "site", "admitted", reason=0)
    p.kill()
    p.communicate()
    w.ask_agent("home", "agent", "peer", "forget", "site").exits(0)
    w.ask_agent("home", "connect", "site", "127.0.0.1:22", "--code", code).exits(1)


if __name__ == "__main__":
    sys.exit(main(27700))
