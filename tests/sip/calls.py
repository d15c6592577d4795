# SPDX-License-Identifier: Apache-2.0
"""Real programs through stile-sip: sipp's calls over UDP and TCP along the recorded route,
sipsak's questions, and garbage at a high rate while calls go on."""
import json
import os
import subprocess
import sys

from sip_world import BUILD, Failed, case, listens, main, need, wait_for

FULL_LENGTH = "--full" in sys.argv


def call(w, transport="u1", n=40, rate=20):
    """n calls from the trusted side to out.test. The other end stays until all is over: a packet may come again. (Lost packets
    are dialogs.py's: these scenarios cannot send an ACK twice.)"""
    w.sipp("call-uas.xml", "-p", w.other(), "-t", transport, background=True, seconds=120)
    wait_for("the other end listens", lambda: listens(w.other(), "tcp" if transport[0] == "t" else "udp"))
    w.sipp("call-uac.xml", "-p", w.other(2), "-t", transport, "-m", n, "-r", rate, target=f"127.0.0.1:{w.lan}")


@case("sipp calls through the proxy over UDP, along the recorded route")
def _(w):
    w.config()
    w.start()
    call(w)
    started = w.metric("stile_sip_transactions_started_total", "server")  # INVITE and BYE; a repetition of sipp's starts none
    if started != 80 or w.metric("stile_sip_requests_sent_total", "BYE") < 40:
        raise Failed("    not all of it went through the proxy")
    if w.metric("stile_sip_strays_total", "ack"):
        raise Failed("    an ACK was lost")


@case("sipp calls through the proxy over TCP")
def _(w):
    w.config(routes="[ { domain: out.test, host: 127.0.0.1, port: {o0}, transport: tcp } ]")
    w.start()
    call(w, "t1")
    if w.metric("stile_sip_received_bytes_total", "udp"):
        raise Failed("    something went by UDP")


@case("sipsak's ping is answered over UDP and TCP")
def _(w):
    need("sipsak")
    w.config(domains="[localhost]")
    w.start()
    for transport in ("udp", "tcp"):
        w.run("sipsak", "-E", transport, "-s", "sip:localhost", "-r", str(w.base), "-vv").exits(0).says("200 OK")


def flood(w, seconds):
    """tests/abuse's flooder from everywhere in 127.5/16, 50,000 datagrams a second if the machine lets it."""
    kinds = {"noise": os.urandom(300), "text": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"y" * 60, "dtls": b"\x16\xfe\xff" + os.urandom(200),
             "json": b'{"method": "INVITE"}'}
    for name, data in kinds.items():
        with open(w.path(name), "wb") as f:
            f.write(data)
    return subprocess.Popen([os.path.join(BUILD, "tests/abuse/flood"), "-t", str(seconds), "-r", "50000", str(w.base), str(50000 * seconds),
                             "127.5", *map(w.path, ["noise", "dtls", "json"] * 4 + ["text"])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


@case("50,000 datagrams of garbage a second cost no call")
def _(w):
    w.config()
    w.start()
    f = flood(w, 10 if FULL_LENGTH else 5)
    try:
        call(w, n=800 if FULL_LENGTH else 50, rate=100 if FULL_LENGTH else 15)
        if FULL_LENGTH and f.poll() is not None:
            raise Failed("    the flood was over before the calls were")
        out, _ = f.communicate(timeout=60)
    finally:
        f.kill()
    sent = json.loads(out)
    kernel = wait_for("the flood is counted", lambda: w.metric("stile_sip_kernel_drops_total"))
    ours = w.metric("stile_sip_bad_messages_total", "not_sip")
    print(f"  ({sent['sent'] / sent['seconds']:.0f} datagrams/s, {sent['sent']} in all: {kernel:.0f} dropped by the kernel, {ours:.0f} by us)")
    if FULL_LENGTH and sent["sent"] < 45000 * sent["seconds"]:
        raise Failed(f"    this machine lets nobody send so much: {sent}")
    if sent["answers"]:
        raise Failed(f"    garbage was answered: {sent}")


if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--full"]
    raise SystemExit(main(27350))
