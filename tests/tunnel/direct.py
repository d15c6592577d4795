# SPDX-License-Identifier: Apache-2.0
"""Links between two agents, by real programs: offers and relays through the server, who may come and where to, the child that dies,
and (with the real child) bytes over a direct link and over the relay.

Where a case looks at the supervisor alone, scripted_child.py stands in for stile-agent-direct."""
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time

from false_server import FalseServer
from jobs import asked, udp_echo
from tunnel_world import BUILD, HERE, PATIENCE, Failed, Target, case, connect, echo, flow, main, pattern, wait_for
from names import NameServer, resolving  # tests/relay and tests/admin, where tunnel_world has looked
from settings import refused
from world import CASES

del CASES[:]  # those of names.py run there

SCRIPTED = os.path.join(HERE, "scripted_child.py")
OPEN = "sandbox: false\n"  # a script needs its interpreter


def identity(w, agent):
    return w.agent_verb(agent, "agent.status")["identity"]


def notes(w, agent, what=None):
    """What the scripted child of this agent was told."""
    try:
        with open(w.path(f"{agent}.child")) as f:
            rows = [json.loads(line) for line in f if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [r for r in rows if what in (None, r["what"])]


def noted(w, agent, what, seconds=PATIENCE, **values):
    def look():
        for r in notes(w, agent, what):
            if all(r.get(k) == v for k, v in values.items()):
                return r
        return None
    return wait_for(f"the child of {agent} hears: {what} {values or ''}", look, seconds)


def scripted_env(w, agent, do=""):
    return {"STILE_DIRECT": SCRIPTED, "STILE_CHILD_LOG": w.path(f"{agent}.child"), "STILE_CHILD_DO": do}


def scripted(w, agent, do=""):
    """An agent with the scripted child, enrolled, started, connected (it knows it, too: what its child is told depends on that)."""
    w.agent(agent, env=scripted_env(w, agent, do), top=OPEN)
    w.connected(agent)
    wait_for(f"{agent} knows it", lambda: w.agent_verb(agent, "agent.status")["servers"][0]["state"] == "connected")


def configure(w, agent, **keys):
    w.agent_config(agent, **keys, top=OPEN)
    w.agent_verb(agent, "service.reload")


def links(w, agent):
    return w.agent_verb(agent, "agent.peers")["rows"]


def links_up(w, agent, path=None):
    """Its links that are up (on that path), as soon as there are any."""
    return wait_for(f"a link of {agent} is up, {path or 'on any path'}",
                    lambda: [r for r in links(w, agent) if r["state"] == "up" and path in (None, r["path"])])


def introduce(w, allow, target, listen=None, more="", **keys):
    """home visits site, and the two know each other. more: of the visit; keys: of both agents' sections."""
    visitor = f'name: home, identity: "{identity(w, "home")}", allow: "{allow}"'
    visit = f'agent: site, identity: "{identity(w, "site")}", target: "{target}"' + (f", listen: {listen}" if listen else "") + more
    configure(w, "site", visitors=flow([visitor]), **keys)
    # A call that comes earlier is refused; each says what it has to say anew, and a peer may say a hundred words at once.
    wait_for("the host's child is ready", lambda: w.agent_verb("site", "agent.peers")["child"]["ready"])
    configure(w, "home", visits=flow([visit]), **keys)


def meet(w, do=""):
    """Two agents, home and site, that know each other; home visits site:22."""
    w.server()
    scripted(w, "site")
    scripted(w, "home", do)
    introduce(w, "127.0.0.0/8:22", "127.0.0.1:22")


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
    row = links_up(w, "home")[0]
    if (row["path"], row["role"], row["peer"]) != ("relay", "visitor", "site"):
        raise Failed(f"    {row}")
    told = wait_for("the server is told of both ends", lambda: len(r := [p for p in w.ask_verb("tunnel.paths")["rows"] if p["state"] == "up"]) == 2 and r)
    if sorted((p["agent"], p["peer"], p["role"], p["path"], p["direct"]) for p in told) != [("home", "site", "visitor", "relay", False),
                                                                                       ("site", "home", "host", "relay", False)]:
        raise Failed(f"    {told}")
    w.ask("tunnel", "paths").exits(0).says("~home +site +visitor +up +relay")
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


# ---- a server in the middle ----

def in_the_middle(w, do=""):
    """Two agents that know each other, and a server that is not what it should be; home visits site. The caller sets s.passes and
    begins with s.start()."""
    s = FalseServer(w, ["site", "home"], w.base)
    for agent in s.agents:
        w.agent_config(agent, server=s.address, top=OPEN)
        w.start_agent(agent, env=scripted_env(w, agent, do))
    introduce(w, "127.0.0.0/8", "127.0.0.1:22", server=s.address)
    return s


def nothing_more(w, agent, what, n, seconds=2):
    time.sleep(seconds)
    rows = notes(w, agent, what)
    if len(rows) != n:
        raise Failed(f"    {agent}: {len(rows)} times {what}, not {n}: {rows}")


@case("a server in the middle: words that are said twice, changed, or of somebody else are not listened to")
def _(w):
    with in_the_middle(w) as s:
        s.passes = lambda sender, body: [(sender, body), (sender, body), (sender, body[:-80] + bytes([body[-80] ^ 1]) + body[-79:]), (b"x" * 32, body)]
        s.start()
        noted(w, "home", "remote", ufrag="uf02")
        nothing_more(w, "site", "open", 1)
        nothing_more(w, "site", "remote", 1, 0)
        nothing_more(w, "home", "remote", 1, 0)
        w.agent_logged("site", "agent.peer.refused", "signature is false")
        w.agent_logged("site", "agent.peer.refused", "another key")
        s.relay("site", s.identity["home"], b"c" * 16, 77)  # of no call
        for _i in range(3000):  # the agent listens to ten a second
            s.say("site", "home", s.heard[0][1])
        for _i in range(3000):
            s.say("site", b"y" * 32, os.urandom(200))
        nothing_more(w, "site", "open", 1)
        lines = w.log_text("stile-agent@site").count("agent.peer.refused")
        if lines > 100:
            raise Failed(f"    a flood writes {lines} lines")


@case("an offer of before is not answered after a restart of the host")
def _(w):
    with in_the_middle(w) as s:
        s.start()
        noted(w, "home", "remote", ufrag="uf02")
        offers = [body for agent, body in s.heard if agent == "home" and body[1] == 1]
        w.kill_hard(w.agents["site"])
        w.agent_verb("home", "agent.disconnect")
        s.links.clear()
        os.unlink(w.path("site.child"))
        w.start_agent("site", env=scripted_env(w, "site"))
        noted(w, "site", "setup")
        wait_for("site is there again", lambda: "site" in s.links)
        before = len(s.heard)
        for body in offers * 3:
            s.say("site", "home", body)
        wait_for("the host tells its epoch", lambda: [b for a, b in s.heard[before:] if a == "site" and b[1] == 5])
        nothing_more(w, "site", "open", 0)


@case("a relay that was asked for is asked for again when the server was away meanwhile")
def _(w):
    with in_the_middle(w, "asks") as s:
        s.start()
        wait_for("home asks for a relay", lambda: "home" in s.relays_wanted)
        s.relays_wanted.clear()
        s.links.pop("home").shutdown(socket.SHUT_RDWR)
        wait_for("home asks again", lambda: "home" in s.relays_wanted)


@case("a link that nobody wants any more when it is answered ends")
def _(w):
    with in_the_middle(w) as s:
        s.start()
        noted(w, "home", "remote", ufrag="uf02")
        held = []
        s.passes = lambda sender, body: held.append((sender, body)) or []
        with connect_in_background(w, "site", "127.0.0.1:22", "--head-start", "1s") as p:
            wait_for("the call is on its way", lambda: held)
            p.kill()
        wait_for("the visit is over", lambda: len(w.agent_verb("home", "agent.peers")["visits"]) == 1)
        s.passes = lambda sender, body: [(sender, body)]
        s.say("site", *held[0])
        wait_for("the link ends", lambda: len(links(w, "home")) == 1 and len(links(w, "site")) == 1)


@case("a call that the host ends before it has answered is over for the visitor, too, and it hears why")
def _(w):
    w.server()
    scripted(w, "site", "gathers")
    scripted(w, "home")
    introduce(w, "127.0.0.0/8:22", "127.0.0.1:22", more=", head_start: unlimited")  # no relay: a host that gets one has answered
    noted(w, "site", "open")
    configure(w, "site")
    w.agent_logged("home", "agent.link.ended", "not welcome any more")


# ---- the child ----

@case("the child is killed at any moment: links are made anew, and the agent's other connections do not notice")
def _(w):
    meet(w)
    for i in range(6):
        up = links_up(w, "home")[0]["link"]
        agent = ("home", "site")[i % 2]
        before = w.agent_verb(agent, "agent.peers")["child"]["starts"]
        pid = wait_for("a child", lambda: w.agent_verb(agent, "agent.peers")["child"]["pid"])
        os.kill(pid, signal.SIGKILL)
        wait_for("another child", lambda: w.agent_verb(agent, "agent.peers")["child"]["starts"] > before)
        wait_for("another link", lambda: [r for r in links(w, "home") if r["state"] == "up" and r["link"] != up])
    w.agent_logged("home", "agent.direct.died", "killed by signal 9")
    for agent in ("home", "site"):
        if w.agent_verb(agent, "agent.status")["servers"][0]["reconnects"]:
            raise Failed(f"    {agent} lost its control connection")


@case("a child that dies at each call is started again ever more slowly, one that says nothing is waited for, and the agent lives")
def _(w):
    meet(w, do="die")
    wait_for("it has died some times", lambda: w.agent_verb("home", "agent.peers")["child"]["starts"] >= 4)
    time.sleep(2)
    starts = w.agent_verb("home", "agent.peers")["child"]["starts"]
    if starts > 8:
        raise Failed(f"    {starts} starts")
    w.agent_logged("home", "agent.direct.died", "exited with status 7")


def goodbyes(w, agent):
    return len(notes(w, agent, "goodbye"))


@case("a child that is not needed any more, or whose agent stops, has time to say goodbye; the next one does not wait for it")
def _(w):
    meet(w, do="slow")
    links_up(w, "home")
    visits = flow([f'agent: site, identity: "{identity(w, "site")}", target: "127.0.0.1:22"'])
    configure(w, "home")
    configure(w, "home", visits=visits)
    links_up(w, "home")
    first = noted(w, "home", "goodbye")["pid"]
    rows = notes(w, "home")
    if all(r["pid"] == first for r in rows[:rows.index({"pid": first, "what": "goodbye"})]):
        raise Failed("    the next child has waited for the one before")
    if "agent.direct.died" in w.log_text("stile-agent@home"):
        raise Failed("    a child that was not needed is said to have died")
    w.write("home.child.last", "")
    w.agents["home"].stop()
    if goodbyes(w, "home") != 2:
        raise Failed("    the agent has stopped, and its child could not say goodbye")


@case("ten thousand candidates: the other side's child is told of some")
def _(w):
    meet(w, do="candidates")

    def told():
        return sum(len(r["candidates"]) for r in notes(w, "site", "remote"))

    wait_for("it is told of some", lambda: told() >= 16)
    nothing_more(w, "site", "open", 1)
    if told() > 256:
        raise Failed(f"    {told()} candidates")
    links_up(w, "home")


@case("a link that has looked for a direct path many times still tells where it may be reached")
def _(w):
    meet(w, do="restarts")
    last = noted(w, "site", "remote", generation=40)
    if len(last["candidates"]) != 8:
        raise Failed(f"    of the last search the other side hears {len(last['candidates'])} candidates")


@case("a reload tells the child of other settings and STUN servers at once")
def _(w):
    meet(w)
    before = noted(w, "home", "setup")["flags"]
    visits = flow([f'agent: site, identity: "{identity(w, "site")}", target: "127.0.0.1:22"'])
    configure(w, "home", visits=visits, direct="{ ipv6: false, turn: false }")
    noted(w, "home", "setup", flags=f"{int(before, 16) | 1 << 1 | 1 << 5:08x}")
    w.agent_config("home", visits=visits, top=OPEN + "stun_servers: [ 192.0.2.9:3478 ]\n")
    w.agent_verb("home", "service.reload")
    noted(w, "home", "setup", flags=before, stun=["192.0.2.9:3478"])


@case("a STUN server whose name was not known at the start is asked for again")
def _(w):
    with NameServer({}, {"stun.lan": []}) as names:
        apart(w)
        target = f'agent: site, identity: "{identity(w, "site")}", target: "127.0.0.1:22"'
        w.agents["home"].stop()
        w.agent_config("home", visits=flow([target]), top=OPEN + "stun_servers: [ stun.lan:3478 ]\n")
        w.start_agent("home", env=scripted_env(w, "home"), prefix=resolving(w))
        noted(w, "home", "setup", stun=[])
        wait_for("it has asked", lambda: "stun.lan" in names.asked)
        names.addresses["stun.lan"] = ["192.0.2.9"]
        noted(w, "home", "setup", stun=["192.0.2.9:3478"])


@case("a reload is told also to the child that is just being started")
def _(w):
    meet(w, do="late")
    before = noted(w, "home", "setup")["flags"]
    configure(w, "home", visits=flow([f'agent: site, identity: "{identity(w, "site")}", target: "127.0.0.1:22"']), direct="{ ipv6: false }")
    noted(w, "home", "setup", flags=f"{int(before, 16) | 1 << 1:08x}")
    links_up(w, "home")


@case("a visitor that may reach less than before loses what it has; one that may reach more keeps it")
def _(w):
    meet(w)
    links_up(w, "home")
    visitor = f'name: home, identity: "{identity(w, "home")}", allow: '

    def reaches(*allow, own="[]"):
        before = len(notes(w, "site", "open"))
        configure(w, "site", visitors=flow([visitor + json.dumps(allow)]), allow=own)
        return before

    before = reaches("127.0.0.0/8:20-25", "10.0.0.0/8")
    nothing_more(w, "site", "open", before)
    for allow, own in (("127.0.0.0/8:20-25", "[]"), ("127.0.0.0/8:20-24", "[]"), ("127.0.0.0/8:20-24", "[ 127.0.0.0/8 ]"), ("127.0.0.0/9:20-24", "[ 127.0.0.0/8 ]")):
        before = reaches(allow, own=own)
        noted(w, "site", "close", text="what the visitor may reach is less than before")
        wait_for("the link is made anew", lambda n=before: len(notes(w, "site", "open")) > n)
        links_up(w, "home")  # or the next try would be after twice the time, and a call that is not answered yet ends by its own time
        os.truncate(w.path("site.child"), 0)


@case("a known agent is put into the store as an object, too")
def _(w):
    w.server()
    scripted(w, "site")
    key = "sha256:" + "1" * 64
    w.agent_verb("site", "config.put", {"kind": "agent.peer", "key": key, "body": {"identity": key, "name": "there", "host": "true"}})
    w.agent_verb("site", "config.put", {"kind": "agent.peer", "key": key, "body": {"identity": key, "host": "true"}})
    w.ask_agent("site", "agent", "peer", "forget", "nobody").exits(1).says("no agent nobody is known")
    w.ask_agent("site", "agent", "peer", "forget", key).exits(0)


# ---- with the real child ----

@case("the child that reads the network has no capabilities, gets no new ones, and cannot start programs")
def _(w):
    w.server()
    w.agent("site", visitors=flow(['name: nobody, identity: "sha256:' + "1" * 64 + '", allow: "127.0.0.1:1"']))
    pid = wait_for("a child", lambda: w.agent_verb("site", "agent.peers")["child"]["pid"])
    wait_for("it is ready", lambda: w.agent_verb("site", "agent.peers")["child"]["ready"])
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    for key, value in (("CapEff", "0" * 16), ("CapPrm", "0" * 16), ("CapInh", "0" * 16), ("CapAmb", "0" * 16), ("NoNewPrivs", "1"), ("Seccomp", "2")):
        if found[key].strip() != value:
            raise Failed(f"    {key} is {found[key]}")


def carried(port, size):
    """size bytes through the echo at the other end; compared."""
    with connect(port, timeout=60) as s:
        sent = pattern(size)
        got = bytearray()
        t = threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)))
        t.start()
        while chunk := s.recv(1 << 16):
            got += chunk
        t.join()
    if bytes(got) != sent:
        raise Failed(f"    {len(got)} bytes of {size} came back, or they are others")


def goes_through(port):
    """False: it came to the visit of before, which ended with it."""
    try:
        carried(port, 1000)
    except ConnectionResetError:
        return False
    return True


def waiting(s):
    """How long the next datagram is; 0: none comes."""
    try:
        return len(s.recv(65536))
    except TimeoutError:
        return 0


def visit_for_real(w, target, visit="", **keys):
    """visit: more of it; keys: of both agents' sections."""
    w.server()
    for agent in ("site", "home"):
        w.agent(agent, **keys)
        w.connected(agent)
    introduce(w, f"127.0.0.0/8:{target}", f"127.0.0.1:{target}", w.job_port(0), visit, **keys)


@case("bytes over a direct link between two agents, and stile ping says so")
def _(w):
    with Target(w.target_port(0), echo):
        visit_for_real(w, w.target_port(0))
        links_up(w, "home", "direct")
        links_up(w, "site", "direct")
        carried(w.job_port(0), 3 << 20)
        w.ask_agent("home", "ping", "site", "--until-direct").exits(0)
        w.agent_logged("site", "agent.direct.opened")


@case("datagrams that the kernel could join come out of a visit for UDP one by one")
def _(w):
    udp_segment = 103
    with contextlib.closing(udp_echo(w.target_port(0))), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        visit_for_real(w, w.target_port(0), visit=", protocol: udp")
        links_up(w, "home")
        s.connect(("127.0.0.1", w.job_port(0)))
        s.settimeout(2)
        asked(s, b"are you there?")
        while waiting(s):
            pass  # that one was asked again
        s.setsockopt(socket.SOL_UDP, udp_segment, 100)
        s.send(bytes(300))
        back = [waiting(s) for _ in range(3)]
        if back != [100, 100, 100]:
            raise Failed(f"    of three datagrams of 100 bytes came back: {back}")


@case("a visit whose target is changed keeps its port, and one whose port is taken gets it when it is free")
def _(w):
    with Target(w.target_port(0), echo), Target(w.target_port(1), echo):
        visit_for_real(w, w.target_port(0))
        links_up(w, "home", "direct")
        carried(w.job_port(0), 1000)
        introduce(w, "127.0.0.0/8", f"127.0.0.1:{w.target_port(1)}", w.job_port(0))
        wait_for("the port leads there", lambda: w.agent_verb("home", "agent.peers")["visits"][0]["listen"] and goes_through(w.job_port(0)))
        with socket.create_server(("127.0.0.1", w.job_port(1))):
            introduce(w, "127.0.0.0/8", f"127.0.0.1:{w.target_port(1)}", w.job_port(1))
            w.agent_logged("home", "agent.visit.waits", "Address already in use")
        wait_for("the port is taken when it is free", lambda: w.agent_verb("home", "agent.peers")["visits"][0]["listen"])
        carried(w.job_port(1), 1000)
        kept_visits(w, f"127.0.0.1:{w.target_port(0)}", w.job_port(2), w.job_port(1))


@case("a visit that ends, or leads elsewhere, while it waits for its link gives its port back")
def _(w):
    w.server()
    for agent in ("site", "home"):
        w.agent(agent)
        w.connected(agent)
    site = f'identity: "{identity(w, "site")}"'
    guests = flow([f'name: site, {site}, allow: "127.0.0.1:1"'])  # for them home keeps its child

    def visit(target):
        configure(w, "home", visitors=guests, visits=flow([f'agent: site, {site}, target: "127.0.0.1:{target}", listen: {w.job_port(0)}']))

    def row():
        return w.agent_verb("home", "agent.peers")["visits"][0]

    def until_it_waits():
        links_up(w, "home")
        configure(w, "site")  # nobody is let in there any more
        wait_for("the visit waits", lambda: row()["state"] == "waiting")

    def is_free():
        try:
            with socket.create_server(("127.0.0.1", w.job_port(0))):
                return True
        except OSError:
            return False

    introduce(w, "127.0.0.0/8", "127.0.0.1:22", w.job_port(0))
    visit(22)
    until_it_waits()
    configure(w, "home", visitors=guests)
    wait_for("the port of the visit that has ended is free", is_free)
    introduce(w, "127.0.0.0/8", "127.0.0.1:22", w.job_port(0))
    visit(22)
    until_it_waits()
    visit(23)
    wait_for("the visit listens with its other target", lambda: row()["listen"])


def refused_changes(w, target):
    """A change says what, and does not rename: the visit kept stays as it is, and so does one whose name is that of a long target."""
    long, full = "x" * 62 + ".test:22", "stile-agent@home"
    w.ask_agent("home", "agent", "visit", "add", "site", long, "--disabled").exits(0)
    refused(w, "agent.visit.change", "bad-request", "visit must be a map", full=full, name="kept")
    refused(w, "agent.visit.change", "bad-request", "the visit kept would be called other then", full=full, name="kept", visit={"name": "other"})
    refused(w, "agent.visit.change", "bad-request", f"would be called site {target} then", full=full, name=f"site {long}", visit={"target": target})
    w.ask_agent("home", "agent", "visit", "change", f"site {long}", "--limit", "3").exits(0)
    w.ask_agent("home", "agent", "visit", "delete", f"site {long}").exits(0)
    names = [v["name"] for v in w.agent_verb("home", "agent.peers")["visits"] if v["origin"] == "store"]
    if names != ["kept"]:
        raise Failed(f"    {names}")


def kept_visits(w, target, port, taken):
    """home knows site: a visit made while the agent runs, as the tool does it."""
    def visit(*argv):
        return w.ask_agent("home", "agent", "visit", *argv)

    def row(name):
        return next((v for v in w.agent_verb("home", "agent.peers")["visits"] if v["name"] == name), None)

    visit("add", "site", target, str(taken), "--name", "kept").exits(1).says("already")
    visit("add", "site", "nowhere", "--name", "kept").exits(1).says("port")
    visit("change", f"site 127.0.0.1:{w.target_port(1)}", "--limit", "5").exits(1).says("is set in")
    visit("add", "site", target, str(port), "--name", "kept").exits(0).says(f"127.0.0.1:{port}")
    visit("add", "site", target, "--name", "kept").exits(1).says("already")
    carried(port, 1000)
    with connect(port, timeout=30) as s:
        s.sendall(b"x")
        if s.recv(1) != b"x":
            raise Failed("    no echo")
        visit("stop", "kept").exits(0)
        s.settimeout(20)
        try:
            if s.recv(1):
                raise Failed("    bytes out of nowhere")
        except ConnectionResetError:
            pass
    want = ("interrupted", "", "store", False)
    if (got := tuple(row("kept")[k] for k in ("state", "listen", "origin", "enabled"))) != want:
        raise Failed(f"    {got}, not {want}")
    visit("change", "kept", "--listen", "0", "--limit", "7").exits(0)
    refused_changes(w, target)
    visit("start", "kept").exits(0)
    w.agents["home"].stop()
    w.start_agent("home")
    again = wait_for("it is there after a restart, at a port that is free", lambda: (r := row("kept")) and r["listen"] and r)
    if again["config"]["connections"] != "7" or again["listen"] == f"127.0.0.1:{port}":
        raise Failed(f"    {again}")
    carried(int(again["listen"].split(":")[1]), 1000)
    with connect_in_background(w, "site", target) as p:
        number = wait_for("stile connect has its visit", lambda: [v["number"] for v in w.agent_verb("home", "agent.peers")["visits"] if v["origin"] == "connect"])[0]
        visit("end", str(again["number"])).exits(1).says("not made by stile connect")
        visit("end", str(number)).exits(0)
        if b"ended at the agent" not in p.communicate(timeout=PATIENCE)[1]:
            raise Failed("    stile connect does not say why it has ended")
    visit("delete", "kept").exits(0)
    if row("kept"):
        raise Failed("    it is still there")


def answers(s):
    try:
        s.sendall(b"x")
        return s.recv(1) == b"x"
    except OSError:
        return False


@case("without a direct path bytes go over the relay of the server")
def _(w):
    with Target(w.target_port(0), echo):
        visit_for_real(w, w.target_port(0), direct="{ direct: false, turn: false }")
        links_up(w, "home", "relay")
        carried(w.job_port(0), 3 << 20)
        with connect(w.job_port(0), timeout=5) as s:
            if not answers(s):
                raise Failed("    no echo")
            w.ask("tunnel", "agents", "revoke", "home").exits(0)
            wait_for("the visitor that was revoked gets nothing more", lambda: not answers(s), 20)


def local_turn(w, secrets):
    """A stile-turn on this host, beside the tunnel server."""
    w.write("turn.yaml", f"""log: {{ level: debug, dir: {w.path('log')} }}
store: {{ path: {w.path('store-turn')} }}
turn:
  realm: tunnel.test
  listen: ["udp:127.0.0.1:{w.base + 50}", "tcp:127.0.0.1:{w.base + 50}"]
  relay: {{ addresses: [127.0.0.1], ports: {w.base + 60}-{w.base + 99} }}
  peers: {{ allow: [127.0.0.0/8] }}
  {secrets}
""")
    s = w.program([os.path.join(BUILD, "turn/stile-turn"), "-c", w.path("turn.yaml")], "stile-turn")
    s.wait_ready()
    return s


@case("a stile-turn on the tunnel's host is asked for the agents' credentials, and the link runs over it")
def _(w):
    turn = local_turn(w, "secrets: [ { id: one, secret: the-secret-of-this-test } ]")
    with Target(w.target_port(0), echo):
        w.server(public_name="127.0.0.1", direct="{ relay: false }")
        for agent in ("site", "home"):
            w.agent(agent, direct="{ direct: false }")
            w.connected(agent)
        introduce(w, f"127.0.0.0/8:{w.target_port(0)}", f"127.0.0.1:{w.target_port(0)}", w.job_port(0), direct="{ direct: false }")
        links_up(w, "home", "turn")
        carried(w.job_port(0), 300000)
    wait_for("stile-turn has relayed it", lambda: "agent-" in w.log_text("stile-turn") and "turn.alloc.created" in w.log_text("stile-turn"))
    for agent in ("site", "home"):
        os.kill(w.agent_verb(agent, "agent.peers")["child"]["pid"], signal.SIGTERM)  # as systemd does, which means all of the unit
        w.agents[agent].stop()
    # One that was asked for in this very moment may be left.
    wait_for("both ends give their allocations back", lambda: w.log_text("stile-turn").count('cause="released by the client"') >= 2)
    turn.stop()


@case("a stile-turn that has no secret gives agents none, and the log says what to do")
def _(w):
    turn = local_turn(w, "password: only-for-its-own-users")
    w.server(public_name="127.0.0.1")
    w.agent("site", visitors=flow(['name: nobody, identity: "sha256:' + "1" * 64 + '", allow: "127.0.0.1:1"']))
    w.connected("site")
    wait_for("the log says it", lambda: "tunnel.local-turn.none" in w.log_text("stile-tunnel"))
    turn.stop()


if __name__ == "__main__":
    sys.exit(main(17000))
