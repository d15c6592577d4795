# SPDX-License-Identifier: Apache-2.0
"""Bad datagrams: each kind by name with the answer or the silence the RFCs want, then mutations by the thousand."""
import os
import random
import socket
import struct
import time

import stunwire as wire
from world import PASSWORD, USER, Failed, Watch, counter, wait_for

SILENCE = None
TID = bytes(range(12))
UNKNOWN_REQUIRED, UNKNOWN_OPTIONAL, FINGERPRINT = 0x7F00, 0xFF00, 0x8028
QUEUE_HIGH = 48 << 10


def lying_attribute(kind, claimed, value=b"abcd"):
    """A message whose only attribute claims another length than it has."""
    body = struct.pack("!HH", wire.USERNAME, claimed) + value
    return struct.pack("!HHI", kind, len(body), wire.MAGIC) + TID + body


REQUEST, INDICATION = wire.ALLOCATE, wire.SEND | wire.INDICATION
# what, the bytes, the error code of the answer (0: success) or silence, the counter that tells
NAMED = [
    ("nothing", b"", SILENCE, "drops.not_turn"),
    ("one byte of STUN", b"\0", SILENCE, "drops.not_turn"),
    ("three bytes of ChannelData", b"\x40\x00\x00", SILENCE, "drops.malformed"),
    ("bytes of no protocol", b"\xff" * 64, SILENCE, "drops.not_turn"),
    ("HTTP, which begins like ChannelData", b"GET / HTTP/1.1\r\n\r\n", SILENCE, "drops.malformed"),
    ("DTLS on the plain port", b"\x16\xfe\xfd" + bytes(60), SILENCE, "drops.not_turn"),
    ("a header cut at 19 bytes", wire.message(wire.BINDING)[:19], SILENCE, "drops.not_turn"),
    ("a length that is too long", wire.message(wire.BINDING, length=4), SILENCE, "drops.not_turn"),
    ("a length that is too short", wire.message(wire.BINDING, [(UNKNOWN_OPTIONAL, b"1234")], length=0), SILENCE, "drops.not_turn"),
    ("a length of 65532", wire.message(wire.BINDING, length=65532), SILENCE, "drops.not_turn"),
    ("a length that is no multiple of four", wire.message(wire.BINDING, length=3) + b"abc", SILENCE, "drops.not_turn"),
    ("another cookie in Allocate", b"\0\3\0\0" + b"COOK" + TID, SILENCE, "drops.not_turn"),
    ("65507 bytes of zeros", bytes(65507), SILENCE, "drops.not_turn"),
    ("65507 bytes that claim to be a message", wire.message(REQUEST, length=65484) + bytes(65487), SILENCE, "drops.not_turn"),
    ("an attribute longer than the message", lying_attribute(REQUEST, 5), 400, "refusals.malformed"),
    ("an attribute of 65535 bytes in eight", lying_attribute(REQUEST, 65535), 400, "refusals.malformed"),
    ("half an attribute header", struct.pack("!HHI", REQUEST, 4, wire.MAGIC) + TID + b"\0\6\0\4", 400, "refusals.malformed"),
    ("a lying attribute in an indication", lying_attribute(INDICATION, 5), SILENCE, "drops.malformed"),
    ("a Binding with a lying attribute", lying_attribute(wire.BINDING, 9), 400, "refusals.malformed"),
    ("a fingerprint that is wrong", wire.message(wire.BINDING, [(FINGERPRINT, b"beef")]), SILENCE, "drops.fingerprint"),
    ("an unknown attribute that must be known", wire.message(wire.BINDING, [(UNKNOWN_REQUIRED, b"?")]), 420, "refusals.unknown_attribute"),
    ("an unknown attribute that may be ignored", wire.message(wire.BINDING, [(UNKNOWN_OPTIONAL, b"?")]), 0, "successes.binding"),
    ("4000 attributes", wire.message(wire.BINDING, [(UNKNOWN_OPTIONAL, b"")] * 4000), 0, "successes.binding"),
    ("a response nobody asked for", wire.message(wire.BINDING | wire.SUCCESS), SILENCE, "drops.unexpected"),
    ("an error response", wire.message(wire.ALLOCATE | wire.ERROR), SILENCE, "drops.unexpected"),
    ("an unknown method", wire.message(0x0EE), SILENCE, "drops.unexpected"),
    ("an unknown indication", wire.message(0x0EE | wire.INDICATION), SILENCE, "drops.unexpected"),
    ("a Send without an allocation", wire.message(INDICATION, [(wire.PEER, wire.xor_address("127.0.0.1", 9)),
                                                               (wire.DATA_ATTR, b"x")]), SILENCE, "drops.no_allocation"),
    ("a Send without a peer", wire.message(INDICATION, [(wire.DATA_ATTR, b"x")]), SILENCE, "drops.malformed"),
    ("a Send to an address of three bytes", wire.message(INDICATION, [(wire.PEER, b"\0\1\0"), (wire.DATA_ATTR, b"x")]), SILENCE, "drops.malformed"),
    ("ChannelData without an allocation", wire.channel_data(0x4000, b"data"), SILENCE, "drops.no_allocation"),
    ("ChannelData longer than its datagram", struct.pack("!HH", 0x4000, 65535) + b"data", SILENCE, "drops.malformed"),
    ("ChannelData much shorter than its datagram", struct.pack("!HH", 0x4000, 1) + bytes(400), SILENCE, "drops.malformed"),
    ("ChannelData of a reserved channel", wire.channel_data(0x5000, b"data"), SILENCE, None),
    ("an Allocate with three NONCEs of 763 bytes", wire.message(REQUEST, [(wire.TRANSPORT, wire.UDP), *[(wire.NONCE, b"n" * 763)] * 3,
                                                                          (wire.INTEGRITY, bytes(20))]), 400, "refusals.missing_attribute"),
]


def ask(sock, packet, wait):
    """The error code of the answer, 0 for success, None for silence."""
    sock.send(packet)
    sock.settimeout(wait)
    try:
        answer = wire.parse(sock.recv(65536))
    except TimeoutError:
        return None
    if answer is None:
        raise Failed("the server's answer is no STUN message")
    return wire.error_code(answer[2]) if answer[0] & wire.ERROR == wire.ERROR else 0


def named(server):
    wrong = []
    with Watch(server, {}) as watch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", server.port))
        for what, packet, expected, name in NAMED:
            before = server.counters()
            got = ask(s, packet, 0.03 if expected is SILENCE else 15)
            if got != expected:
                wrong.append(f"{what}: expected {expected}, got {got}")
                continue
            if not name:
                continue
            try:
                wait_for(f"counter {name}", lambda n=name, b=before: counter(server.counters(), n) > counter(b, n))
            except Failed as e:
                now = server.counters()
                moved = [k for k in now["stile_turn_drops_total"] if counter(now, "drops." + k) > counter(before, "drops." + k)]
                wrong.append(f"{what}: {e}; moved instead: {moved}")
    if wrong:
        raise Failed("\n      ".join([f"{len(wrong)} of {len(NAMED)}:", *wrong]))
    return f"{len(NAMED)} kinds; {watch.note}"


# ---- mutations ----

def seeds(client, peer):
    """Valid messages of a client that has an allocation: what is mutated gets as deep as it can."""
    credentials = [(wire.USERNAME, client.user), (wire.REALM, client.realm), (wire.NONCE, client.nonce)]
    to = (wire.PEER, wire.xor_address(*peer))

    def signed(method, *attributes):
        return wire.signed(method, [*attributes, *credentials], client.key)
    return [
        wire.message(wire.BINDING), wire.message(wire.BINDING, [(FINGERPRINT, b"\0" * 4)]),
        wire.message(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP)]),
        signed(wire.ALLOCATE, (wire.TRANSPORT, wire.UDP), (0x17, b"\1\0\0\0"), (0x18, b"\x80")),
        signed(wire.REFRESH, (wire.LIFETIME, struct.pack("!I", 600))),
        signed(wire.PERMIT, to, to), signed(wire.BIND, (wire.CHANNEL_NUMBER, b"\x40\x07\0\0"), to),
        wire.message(INDICATION, [to, (wire.DATA_ATTR, b"payload" * 30)]),
        wire.channel_data(0x4001, b"payload" * 30), wire.channel_data(0x4001, b""),
    ]


def flip(r, p):
    for _ in range(r.choice((1, 1, 2, 8, 40))):
        p[r.randrange(len(p))] ^= 1 << r.randrange(8)


def cut(r, p):
    del p[r.randrange(len(p)):]


def grow(r, p):
    p += r.randbytes(r.choice((1, 2, 3, 4, 17, 400, 3000)))


def lie(r, p):
    """Another length in the header or in an attribute."""
    at = 2 if len(p) < 28 or r.random() < 0.4 else 22 + 4 * r.randrange((len(p) - 24) // 4)
    if at + 2 <= len(p):
        struct.pack_into("!H", p, at, r.choice((0, 1, 3, 4, 5, len(p), max(0, len(p) - 19), 0x7FFF, 0x8000, 0xFFFC, 0xFFFF)))


def splice(r, p):
    at, n = r.randrange(len(p)), r.randrange(1, 32)
    p[at:at] = p[at:at + n] * r.choice((1, 2, 9))


def noise(r, p):
    p[:] = r.randbytes(r.choice((1, 4, 8, 19, 20, 21, 28, 60, 548, 1472)))
    if r.random() < 0.5:
        p[0] = r.choice((0, 1, 0x40, 0x4F, 0x16))


def server_queue(port):
    """The fullest of the server's receive queues: the flood waits for it, so that no loss is the kernel's."""
    with open("/proc/net/udp", encoding="ascii") as f:
        wanted = f":{port:04X}"
        return max((int(w[4].split(":")[1], 16) for w in map(str.split, f) if w[1].endswith(wanted)), default=0)


def mutations(count):
    def case(server):
        r = random.Random(os.environ.get("STILE_SEED") or 8656)
        ways = (flip, flip, cut, grow, lie, lie, splice, noise)
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        least = {"drops.not_turn": count // 10, "drops.malformed": count // 200, "refusals.malformed": count // 200,
                 "refusals.credential": 1}
        with peer, Watch(server, least) as watch, wire.Client(USER, PASSWORD, server.port) as client:
            client.allocate()
            client.bind(0x4001, *peer.getsockname())
            base = seeds(client, peer.getsockname())
            strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
            for s in strangers:  # of another address: what a client signed is worth nothing from there
                s.bind(("127.0.0.2", 0))
                s.connect(("127.0.0.1", server.port))
            for i in range(count):
                p = bytearray(r.choice(base))
                for _ in range(r.choice((1, 1, 2, 3))):
                    if p:
                        r.choice(ways)(r, p)
                (client.sock if i % 4 == 0 else r.choice(strangers)).send(p[:65507])
                if i % 32 == 0:
                    for end in (client.sock, *strangers, peer):
                        drain(end)
                    while server_queue(server.port) > QUEUE_HIGH:
                        time.sleep(0.0005)
            for s in strangers:
                s.close()
            drain(client.sock)
            if client.release() not in (0, 437):
                raise Failed("the allocation could not be released after all that")
        return f"{count} datagrams; {watch.note}"
    return case


def drain(sock):
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        while True:
            sock.recv(65536)
    except OSError:
        sock.settimeout(timeout)


def matrix():
    yield "bad datagrams get the RFC's answer or silence, each with its counter", True, named
    yield "20,000 mutated datagrams", True, mutations(20000)
    yield "a million mutated datagrams", False, mutations(1000000)
