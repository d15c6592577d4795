# SPDX-License-Identifier: Apache-2.0
"""Two linphones, registered at stile-sip with their passwords, call each other and send each other messages through it, over
UDP, TCP and TLS. In a network namespace of its own, for a telephone wants an address that is not of loopback: root only."""
import os
import re
import signal
import socket

from own_network import HERE, inside
from sip_world import Failed, Program, Skipped, case, main, need, wait_for


class Died(Exception):
    """linphone has crashed. It does so by itself at times, and with MALLOC_PERTURB_ always: it reads what it has freed."""


PORTS = {"udp": "sip_port", "tcp": "sip_tcp_port", "tls": "sip_tls_port"}


class Linphone(Program):
    """linphone-daemon and its pipe: a command, an answer. (Its call-stats ends it, and message does without a place for its
    data base.)"""

    def __init__(self, w, name, port, transport, at, server=HERE, ns=None):
        """server, at: where it registers."""
        self.home = w.path(f"{name}-{port}")
        os.makedirs(self.path(".local/share/linphone"))
        os.makedirs(self.path(".config/linphone"))
        ports = "".join(f"{key}={port if t == transport else 0}\n" for t, key in PORTS.items())
        config = w.write(f"{name}-{port}/linphonerc", f"""[sip]
{ports}default_proxy=0
root_ca={w.path("ca.pem")}
verify_server_certs=1
verify_server_cn=1
[rtp]
audio_rtp_port={port + 10}
[video]
enabled=0
[proxy_0]
reg_proxy=<sip:{server}:{at};transport={transport}>
reg_route=<sip:{server}:{at};transport={transport};lr>
reg_identity=sip:{name}@uc.test
reg_sendregister=1
reg_expires=600
publish=0
[auth_info_0]
username={name}
passwd=of-{name}
realm=uc.test
domain=uc.test
""")
        self.pipe = f"/tmp/stile-{os.path.basename(w.folder)}-{name}"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MALLOC_"))}
        super().__init__(w, name, ["linphone-daemon", "--pipe", os.path.basename(self.pipe), "--config", config, "--auto-answer", "--log",
                                   w.path(name + ".log"), "--disable-stats-events"], ns)
        self.start(env=dict(env, HOME=self.home))
        self.s = wait_for(f"{name} is ready", self.connect)

    def path(self, *more):
        return os.path.join(self.home, *more)

    def connect(self):
        if self.p.poll() is not None:
            raise Died("at its start")
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(self.pipe)
        except OSError:
            s.close()
            return None
        s.settimeout(30)
        return s

    def tell(self, command):
        try:
            self.s.sendall(command.encode() + b"\n")
            said = self.s.recv(65536).decode("utf-8", "replace")
        except ConnectionError:
            raise Died(command) from None
        if not said:
            raise Died(command)
        return said

    def must(self, command):
        said = self.tell(command)
        if "Status: Ok" not in said:
            raise Failed(f"    {self.name}: {command}: {said}")
        return said

    def log(self):
        with open(self.w.path(self.name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def state(self):
        """Of its call, or nothing."""
        found = re.search(r"State: LinphoneCall(\w+)", self.tell("call-status"))
        return found.group(1) if found else ""

    def registered(self):
        return "LinphoneRegistrationOk" in self.tell("register-status ALL")

    def message(self):
        """The next message that came, or nothing yet; other events are passed over."""
        while True:
            said = self.tell("pop-event")
            if "Event-type" not in said:
                return ""
            if "message-received" in said:
                return said

    def kill(self, how=signal.SIGTERM):
        super().kill(how)
        if os.path.exists(self.pipe):
            os.unlink(self.pipe)


def try_both(w, transport):
    need("linphone-daemon")
    if os.getuid() != 0:
        raise Skipped("it takes root to have a network of one's own")
    for i in range(3):
        try:
            converse(w, transport, 6060 + 100 * i)
            return
        except Died:
            w.stop_all()
    raise Skipped("linphone crashed three times")


def converse(w, transport, port):
    w.certificate(names=f"DNS:uc.test,DNS:{HERE},IP:{HERE}")  # its TLS library looks for addresses among the DNS names
    w.config(listen=f'["udp:{HERE}:5060", "tcp:{HERE}:5060", "tls:{HERE}:5061"]', lan=None, routes=None, certificate="server.pem", key="server.key",
             users="[ { name: alice, password: of-alice }, { name: bob, password: of-bob } ]")
    w.start()
    at = 5061 if transport == "tls" else 5060
    alice, bob = phones = [Linphone(w, name, port + 20 * i, transport, at) for i, name in enumerate(("alice", "bob"))]
    for p in phones:
        wait_for(f"{p.name} is registered", p.registered)
    w.ask("sip", "registrations").exits(0).says("~(alice@uc.test[^$]*bob@uc.test|bob@uc.test[^$]*alice@uc.test)")
    alice.must("call sip:bob@uc.test")
    wait_for("the call is up", lambda: alice.state() == bob.state() == "StreamsRunning")
    bob.must("terminate")
    wait_for("the call is over", lambda: alice.state() == bob.state() == "")
    for one, other in ((alice, bob), (bob, alice)):
        one.must(f"message sip:{other.name}@uc.test from {one.name}")
        said = wait_for("a message", other.message)
        if f"sip:{one.name}@uc.test" not in said or f"from {one.name}" not in said:
            raise Failed(f"    {said}")
    for method in ("INVITE", "BYE", "MESSAGE"):
        if w.metric("stile_sip_requests_sent_total", method) < 1:
            raise Failed(f"    the {method} did not go through the proxy")
    for t in PORTS:
        if t != transport and w.metric("stile_sip_received_bytes_total", t):
            raise Failed(f"    something came by {t}")


@case("two linphones register, call each other and send messages over UDP")
def _(w):
    try_both(w, "udp")


@case("and over TCP")
def _(w):
    try_both(w, "tcp")


@case("and over TLS, whose certificate they verify")
def _(w):
    try_both(w, "tls")


if __name__ == "__main__":
    if os.getuid() == 0:
        inside()
    raise SystemExit(main(27600))
