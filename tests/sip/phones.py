# SPDX-License-Identifier: Apache-2.0
"""Two telephones (baresip) call each other through stile-sip, over UDP, TCP and TLS on both sides, with audio that is
counted. In a network namespace of its own, for baresip leaves 127/8 alone: root only."""
import os

from baresip import Baresip
from own_network import HERE, inside
from sip_world import Failed, Skipped, case, main, need, wait_for


class Phone(Baresip):
    """One with a certificate, that runs at once."""

    def __init__(self, w, name, port, account):
        super().__init__(w, name, ("127.0.0.1", port + 5), [
            f"sip_listen {HERE}:{port}", f"sip_cafile {w.path('ca.pem')}", f"sip_certificate {w.path(name + '-phone.pem')}",
            f"audio_player aubridge,{name}", "audio_source ausine,440"], accounts=[account], contacts=[])
        self.start()


def ready(w):
    need("baresip")
    if os.getuid() != 0:
        raise Skipped("it takes root to have a network of one's own")
    for name in ("alice", "bob"):
        w.certificate(name + "-phone", f"IP:{HERE}")
        with open(w.path(name + "-phone.key"), encoding="ascii") as f:
            key = f.read()
        with open(w.path(name + "-phone.pem"), "a", encoding="ascii") as f:
            f.write(key)


def try_call(w, transport):
    ready(w)
    w.certificate(names=f"DNS:uc.test,IP:{HERE}")
    bob_port = 5090 + (transport == "tls")
    w.config(listen=f'["udp:{HERE}:5060", "tcp:{HERE}:5060", "tls:{HERE}:5061"]',
             lan=f'{{ listen: ["udp:{HERE}:5070", "tcp:{HERE}:5070", "tls:{HERE}:5071"] }}',
             certificate="server.pem", key="server.key", ca="ca.pem",
             routes=f"[ {{ domain: out.test, host: {HERE}, port: {bob_port}, transport: {transport} }} ]")
    w.start()
    port = 5071 if transport == "tls" else 5070
    bob = Phone(w, "bob", 5090, f"<sip:bob@{HERE};transport={transport}>;regint=0;answermode=auto")
    alice = Phone(w, "alice", 5080, f'<sip:alice@uc.test;transport={transport}>;regint=0;outbound="sip:{HERE}:{port};transport={transport}"')
    alice.tell("dial", "sip:bob@out.test")
    wait_for("the call is up", lambda: alice.heard("CALL_ESTABLISHED") and bob.heard("CALL_ESTABLISHED"))
    stats = wait_for("audio both ways", lambda: [e["rtcp_stats"] for e in alice.heard("CALL_RTCP")
                                                  if e["rtcp_stats"]["tx"]["sent"] > 20 and e["rtcp_stats"]["rx"]["sent"] > 20])
    print(f"  ({stats[0]['tx']['sent']} packets of audio there, {stats[0]['rx']['sent']} back)")
    alice.tell("hangup")
    wait_for("the call is over", lambda: bob.heard("CALL_CLOSED"))
    if w.metric("stile_sip_requests_sent_total", "BYE") < 1:
        raise Failed("    the BYE did not go through the proxy")
    other = {"udp": ("tcp", "tls"), "tcp": ("udp", "tls"), "tls": ("udp", "tcp")}[transport]
    for t in other:
        if w.metric("stile_sip_received_bytes_total", t):
            raise Failed(f"    something came by {t}")


@case("two telephones talk over UDP")
def _(w):
    try_call(w, "udp")


@case("two telephones talk over TCP")
def _(w):
    try_call(w, "tcp")


@case("two telephones talk over TLS")
def _(w):
    try_call(w, "tls")


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    raise SystemExit(main(27500))
