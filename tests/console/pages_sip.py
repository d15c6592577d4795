#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The console's page SIP against real stile-sips, ours and a partner's, with a real name server, a STUN server, certificates,
UC servers, telephones and messages between domains. In namespaces of its own: root only.

Ports, from self.base on: 0 udp and tcp, 1 tls, 3 the console's, 4 for partners, 5 the LAN's; from 10 on those of others."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "sip"))
from page_world import PageWorld, run  # noqa: E402
from interfaces import Stun  # noqa: E402
from mesh import Uc, registered  # noqa: E402
from name_server import HEAD, NameServer, inside  # noqa: E402
from sip_world import SipWorld, Ua  # noqa: E402

FIRST_PORT = 27400
AWAY = "192.0.2.77"
HOSTILE = "<img src=x onerror=alert(1)>"
ZONE = HEAD + """far IN A 198.51.100.7
_sipfederationtls._tcp.uc IN SRV 10 0 {home} a
_sipfederationtls._tcp.friend IN SRV 10 0 {o0} a
"""


class Sip(PageWorld, SipWorld):
    def __init__(self, first_port):
        super().__init__(first_port)
        self.lan = self.base + 5
        self.ucs, self.phones, self.calls = {}, {}, []

    def begin(self):
        NameServer(self, ZONE.replace("{home}", str(self.base + 4))).start()
        self.stun = Stun((self.other(19), self.other(20)), "203.0.113.5")
        self.stun.start()
        self.certificate("server", "DNS:uc.test,IP:127.0.0.1")
        self.certificate("other", "DNS:other.test")
        self.certificate("friend", "DNS:friend.test,IP:127.0.0.1")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3", "-subj",
                     "/CN=" + HOSTILE, "-keyout", "hostile.key", "-out", "hostile.pem")
        p = self.base
        self.config(
            domains="[uc.test]", listen=f'["udp:0.0.0.0:{p}", "tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p + 1}"]', certificate="server.pem",
            key="server.key", ca="ca.pem", lan=f'{{ listen: ["tcp:127.0.0.1:{self.lan}"], ask: 8s, servers: [ {{ user: uc-a, password: pw-uc-a }} ] }}',
            users="[ { name: bob, password: hush } ]", timers="{ probe: 1s }",
            routes="[ { domain: file.test, host: far.test, port: 5060, transport: udp, active: false } ]",
            federation=f'{{ mode: open, listen: "mtls:127.0.0.1:{p + 4}", addresses: [127.0.0.0/8] }}')
        with open(self.path("stile.yaml"), "a", encoding="utf-8") as f:
            f.write(f'stun_servers: ["127.0.0.1:{self.other(19)}"]\n{self.console_section()}')
        self.config("friend.yaml", domains="[friend.test]", routes=None, certificate="friend.pem", key="friend.key", ca="ca.pem",
                    listen='["udp:127.0.0.1:{o2}"]', lan='{ listen: ["udp:127.0.0.1:{o3}"] }',
                    federation='{ mode: open, listen: "mtls:127.0.0.1:{o0}", addresses: [127.0.0.0/8], rate: 0 }')
        self.service("stile-sip")
        self.service("stile-sip", "friend.yaml", "--instance", "friend")

    # ---- what the cases ask for ----

    def do_server(self, name, users=()):
        """A UC server logs on; it has these users."""
        uc = self.ucs[name] = Uc(self, name, users)
        uc.logon()
        uc.serve()

    def do_server_away(self, name):
        self.ucs.pop(name).close()

    def do_message(self, server, to):
        """One of the server's users sends a message; the status that comes back."""
        return self.ucs[server].send("MESSAGE", f"sip:{to}").status

    def do_phone(self, user, password="hush"):
        """A telephone registers over TCP."""
        ua = Ua("tcp", ("127.0.0.1", self.base))
        registered(ua, user, password)
        self.phones.setdefault(user, []).append(ua)

    def do_friend(self, user):
        """Somebody of friend.test is there and answers what comes first."""
        ua = Ua("udp", ("127.0.0.1", self.other(3)))
        me = f"<sip:{user}@friend.test>"
        ua.ask("REGISTER", "sip:friend.test", From=me + ";tag=r", To=me, Contact=f"<sip:{user}@{ua.place()}>")
        self.phones[user] = [ua]

    def do_spoken(self, server, user):
        """A message from us to friend.test and back."""
        uc, ua = self.ucs[server], self.phones[user][0]
        data = uc.ua.request("MESSAGE", f"sip:{user}@friend.test", body="hello")
        uc.ua.raw(data)
        ua.reply(ua.expect("MESSAGE", seconds=60), 200)

    def do_ring(self, server, user):
        """A call that nobody answers yet."""
        uc, phone = self.ucs[server], self.phones[user][-1]
        uc.ua.raw(uc.ua.request("INVITE", f"sip:{user}@uc.test"))
        invite = phone.expect("INVITE", seconds=60)
        phone.reply(invite, 180, "Ringing")
        self.calls.append((phone, invite))

    def do_busy(self):
        phone, invite = self.calls.pop()
        phone.reply(invite, 486, "Busy Here")
        phone.expect("ACK", seconds=60)

    def do_gone(self, user):
        """The phone's connection was closed by the proxy."""
        phone = self.phones[user][-1]
        m = phone.next(60)
        return m is None and phone.ended

    def do_address(self):
        """This machine has one more address; it is in a namespace of its own."""
        subprocess.run(["ip", "addr", "add", AWAY + "/32", "dev", "lo"], check=True)

    def do_peer(self, user):
        return self.phones[user][-1].place()

    def end(self):
        for uc in self.ucs.values():
            uc.close()
        for ua in [ua for uas in self.phones.values() for ua in uas]:
            ua.close()
        self.stun.stop()
        super().end()


if __name__ == "__main__":
    inside()
    sys.exit(run(Sip, "pages_sip.mjs", FIRST_PORT))
