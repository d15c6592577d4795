# SPDX-License-Identifier: Apache-2.0
"""What the cases about load balancers and fronts share: PROXY headers of version 2 made by hand, a connection from
an address of one's choice, and what a Binding request is told."""
import os
import re
import socket
import ssl
import struct

from turn_client import PATIENCE, attributes
from world import Failed

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
COOKIE = 0x2112A442
BALANCER = "127.0.0.2"  # linux answers on all of 127/8


def header(client, server=("198.51.100.1", 3478), command=1, tlvs=b""):
    six = ":" in client[0]
    body = b"".join(socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, h) for h in (client[0], server[0]))
    body += struct.pack("!HH", client[1], server[1]) + tlvs
    return SIGNATURE + bytes([0x20 | command, 0x21 if six else 0x11]) + struct.pack("!H", len(body)) + body


LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def connect(port, source=BALANCER):
    s = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
    return s


def over_tls(s):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["stun.turn"])
    return context.wrap_socket(s)


def mapped(s):
    """The address that a Binding request is told."""
    tid = os.urandom(12)
    s.sendall(struct.pack("!HHI", 1, 0, COOKIE) + tid)
    answer = s.recv(2048)
    if not answer:
        raise Failed("    closed instead of answered")
    value = attributes(answer)[0x20]
    mask = struct.pack("!I", COOKIE) + tid
    ip = bytes(a ^ b for a, b in zip(value[4:], mask))
    return socket.inet_ntop(socket.AF_INET6 if value[1] == 2 else socket.AF_INET, ip), struct.unpack("!H", value[2:4])[0] ^ COOKIE >> 16


def is_closed(s, seconds=PATIENCE):
    s.settimeout(seconds)
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"    {what}: {got}, expected {wanted}")


def uclient(w, port, source, *options):
    said = w.run("turnutils_uclient", "-y", "-c", "-n", "10", "-z", "10", "-L", source, "-p", str(port), "-u", "alice",
                 "-w", "wonderland", "-t", *options, "127.0.0.1", timeout=120)
    lost = re.findall(r"Total lost packets (\d+)", said.out + said.err)
    sent = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said.out + said.err)
    if not lost or lost[-1] != "0" or not sent or sent[-1][0] == "0" or sent[-1][0] != sent[-1][1]:
        said.fail("turnutils_uclient did not get all its packets through")
