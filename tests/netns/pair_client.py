# SPDX-License-Identifier: Apache-2.0
"""A client of tests/netns/pairs.py: begins a session of its kind again and again, a line "began ended ok|why" of the monotonic clock each. Each
session is as short of patience as a client that knows of a second server.

  pair_client.py turn|sip|job ADDRESS OURS"""
import os
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "sip"), os.path.join(HERE, "..", "admin")]
import turn_client  # noqa: E402
from sip_world import Ua, credentials  # noqa: E402

PATIENCE = 0.5


def turn(server, ours):
    """An allocation, a channel, a packet there and back."""
    with turn_client.Client(3478, "alice", "wonderland", server) as c, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        c.socket.settimeout(PATIENCE)
        peer.bind((ours, 0))
        peer.settimeout(PATIENCE)
        if c.allocate() or c.bind(0x4000, *peer.getsockname()):
            return f"refused {c.answer.get(turn_client.ERROR)}"
        c.send_channel(0x4000, b"hello")
        data, relay = peer.recvfrom(100)
        peer.sendto(data, relay)
        c.socket.recv(100)
        c.refresh(0)
    return "ok"


def sip(server, ours):
    """A user registers, and goes."""
    me = "sip:bob@uc.test"

    def register(bob, expires):
        more = {"From": f"<{me}>;tag=r", "To": f"<{me}>", "Contact": f"<sip:bob@{bob.place()}>;expires={expires}"}
        m = bob.ask("REGISTER", "sip:uc.test", seconds=PATIENCE, **more)
        proof = credentials(m.all("WWW-Authenticate")[0], "bob", "hush", "REGISTER", "sip:uc.test")
        return bob.ask("REGISTER", "sip:uc.test", seconds=PATIENCE, Authorization=proof, **more)

    with Ua("udp", (server, 5060), bind=(ours, 0)) as bob:
        m = register(bob, 60)
        register(bob, 0)
        return "ok" if m.status == 200 else m.start


def job(server, _ours):
    """A connection to the port of the agent's job, through to its target."""
    with socket.create_connection((server, 20001), timeout=PATIENCE) as c:
        c.sendall(b"hello")
        return "ok" if c.recv(5, socket.MSG_WAITALL) == b"hello" else "closed"


def main():
    session = {"turn": turn, "sip": sip, "job": job}[sys.argv[1]]
    while True:
        began = time.monotonic()
        try:
            said = session(*sys.argv[2:4])
        except Exception as e:  # pylint: disable=broad-except
            said = f"{type(e).__name__} {e}".replace("\n", " ")
        print(began, time.monotonic(), said, flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
