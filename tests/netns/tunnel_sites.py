# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/netns/tunnel.py: every kind of site with everything at once, and networks coupled on one host."""
from lab import Failed
from tunnel_lab import DEVICE, KINDS, PROXY_PASSWORD, PROXY_PORT, PROXY_USER, ROUTER, SECOND, SERVER, echo
from tunnel_site import (ECHO, PASSWORD, Agent, Crowd, Server, answers, browse, case, datagrams, download, job, site, talk, targets,
                         upload, wait_answer)

MB = 1 << 20
PROXIES = {"proxy": f"http://{ROUTER}:{PROXY_PORT}", "proxy-password": f"http://{PROXY_USER}:{PROXY_PASSWORD}@{ROUTER}:{PROXY_PORT}"}
WHAT = {"cgnat": "two NATs", "udp-blocked": "a firewall without UDP", "only-443": "a firewall that lets out port 443 only",
        "proxy": "an HTTP proxy and nothing else", "proxy-password": "an HTTP proxy with a password and nothing else"}


def traffic(lab, hashes):
    """Everything at the same time; what the visitors noted."""
    size, browsers = (64, 24) if lab.full else (12, 8)
    crowd = Crowd(lab)
    crowd.add(talk)
    crowd.add(datagrams)
    work = [crowd.add(download, size * MB), crowd.add(upload, size * MB)]
    work += [crowd.add(browse, hashes, seed, 4, 6) for seed in range(browsers)]
    said = crowd.finish(180, work)
    return f"{crowd.counts['files']} files over {browsers * 4} connections, {2 * size} MB; {said}"


def everything(encrypt):
    def run(lab):
        hashes = targets(lab)
        proxy = PROXIES.get(lab.kind)
        server, agent = site(lab, encrypt, agent_more=f"  proxy: {proxy}\n" if proxy else "", by_code=lab.kind != "cgnat")
        note = traffic(lab, hashes)
        for service in (server, agent):
            for secret in (PASSWORD, PROXY_PASSWORD):
                if secret in service.logged() + service.process.said():
                    raise Failed(f"{service.name} wrote a password into its log")
        return note
    return run


for KIND in KINDS:
    case(f"behind {WHAT[KIND]}: nginx, an interactive stream, bulk and UDP at once, every byte compared", KIND,
         short=KIND in ("cgnat", "proxy-password"))(everything(True))
case("the same over unencrypted data connections", "cgnat")(everything(False))


@case("server and agent on one host couple two networks, and only what a job says", short=True)
def _(lab):
    """hub has a leg in the site's LAN and one in another, and forwards nothing."""
    hub_a, hub_b, other = "10.1.0.9", "10.2.0.9", "10.2.0.25"
    for host in ("hub", "other"):
        lab.add_host(host)
    lab.plug("router", "lan", "hub", hub_a)
    lab.veth("hub", "eth1", "other", "eth0")
    lab.address("hub", "eth1", f"{hub_b}/24")
    lab.address("other", "eth0", f"{other}/24")
    lab.at("other", "ip", "route", "add", "default", "via", hub_b)
    for port in (7, 8):
        lab.target(echo, port, where="other", address=other)
    server = Server(lab, where="hub", more=f"  bind: {hub_a}\n", listen=("127.0.0.1:7443",)).start()
    code = server.code("here").split("@", maxsplit=1)[0]  # what stands behind the @ is the server's public name, and not its way here
    Agent(lab, where="hub", servers=("127.0.0.1:7443",), jobs=[job(ECHO, 7, target=other)], more=f"  code: {code}\n").start()
    wait_answer(lab, where="device", address=hub_a, what="the other network's echo answers in this one")
    wrong = {"a port without a job": answers(lab, 8, where="device", address=hub_a, seconds=1),
             "its target directly": answers(lab, 7, where="device", address=other, seconds=1),
             "the job's port in the other network": answers(lab, ECHO, where="other", address=hub_b, seconds=1),
             "the control port in a network": lab.can_connect("device", hub_a, 7443)}
    if any(wrong.values()):
        raise Failed(f"reached, and should not be: {[k for k, v in wrong.items() if v]}")


@case("one agent serves two servers, and each of them alone when the other is gone")
def _(lab):
    lab.target(echo, 7)
    servers = [Server(lab, f"server-{a}", listen=(f"{a}:7443",), more=f"  bind: {a}\n").start() for a in (SERVER, SECOND)]
    at = [f"{a}:7443#{s.fingerprint()}" for a, s in zip((SERVER, SECOND), servers)]
    Agent(lab, servers=at, jobs=[job(ECHO, 7)], more=f"  password: {PASSWORD}\n").start()
    for a in (SERVER, SECOND):
        wait_answer(lab, address=a)
    servers[0].kill()
    if not answers(lab, ECHO, address=SECOND):
        raise Failed("the second server's job fell with the first one")
    servers[0].start()
    wait_answer(lab, address=SERVER, what="the first server's job is back")
    return f"target {DEVICE}"
