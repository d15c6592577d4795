# SPDX-License-Identifier: Apache-2.0
"""What the kernel relays: every byte of it, its IP header, the counters; and what it leaves to user space."""
import os
import socket
import struct

from fastlab import CLIENT, LEFT, PEER, PORT, RIGHT, Client, Failed, inside, set_offloads

SIZES = (0, 1, 2, 3, 4, 5, 16, 17, 160, 161, 700, 1200, 1401)
FAMILIES = [(c, p) for c in (4, 6) for p in (4, 6)]


def expect(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got!r} instead of {want!r}")


class Pair:
    """A client with a channel to a peer, which is in the kernel."""

    def __init__(self, lab, client=4, peer=4, number=0x4001, port=0, n_offloaded=1, lifetime=None):
        self.lab, self.number = lab, number
        lab.wait_connected()
        self.client = Client(lab, client)
        self.client.allocate(peer, lifetime)
        self.peer = lab.udp(lab.peer, PEER[peer], port)
        self.at = self.peer.getsockname()[:2]
        expect("ChannelBind", self.client.bind(number, *self.at), 0)
        lab.sockets.append(self.client.socket)
        if n_offloaded:
            lab.wait_offloaded(n_offloaded)

    def up(self, data):
        self.client.send_channel(self.number, data)
        return self.heard(data)

    def heard(self, data=None, seconds=3):
        self.peer.settimeout(seconds)
        try:
            got, at = self.peer.recvfrom(65536)
        except (TimeoutError, ConnectionRefusedError):
            return None
        expect("the relay's address", at[:2], self.client.relay)
        if data is not None:
            expect("what the peer got", got, data)
        return got

    def say(self, data):
        self.peer.sendto(data, self.client.relay)

    def down(self, data):
        self.say(data)
        expect("what the client got", self.client.receive(), (self.number, data))

    def both(self, sizes=SIZES):
        for n in sizes:
            data = os.urandom(n)
            if self.up(data) is None:
                raise Failed(f"{n} bytes did not reach the peer")
            self.down(os.urandom(n))
        return len(sizes), sum(sizes)

    def session(self):
        return self.lab.sessions()[0]


def in_kernel(lab):
    f = lab.status()[0]
    return f["packets_to_peer"], f["packets_to_client"]


def every_byte(client, peer):
    def case(lab):
        pair = Pair(lab, client, peer)
        n, size = pair.both()
        expect("packets in the kernel", in_kernel(lab), (n, n))
        s = pair.session()
        expect("the session's counters", [s[k] for k in ("packets_up", "bytes_up", "packets_down", "bytes_down")], [n, size, n, size])
        if client == peer == 4:
            expect("a payload that looks like ChannelData", pair.down(struct.pack("!HH", 0x4001, 4) + b"data"), None)
    return case


def all_families(lab):
    pairs = [Pair(lab, c, p, 0x4000 + i, n_offloaded=i + 1) for i, (c, p) in enumerate(FAMILIES)]
    for pair in pairs:
        pair.both((0, 3, 160, 1200))
    expect("packets in the kernel", in_kernel(lab), (16, 16))


# ---- headers ----

def raw_frames(sniffer, source_port, n=1):
    """The next IP packets of UDP from this port: (version, tos, ttl, flags, payload length, checksum)."""
    found = []
    for _ in range(200):
        try:
            frame = sniffer.recv(65536)
        except TimeoutError:
            break
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == 0x0800 and frame[23] == 17 and frame[14] == 0x45:
            udp = frame[34:]
            fields = (4, frame[15], frame[22], frame[20] & 0xE0)
        elif kind == 0x86DD and frame[20] == 17:
            udp = frame[54:]
            fields = (6, (frame[14] & 0x0F) << 4 | frame[15] >> 4, frame[21], None)
        else:
            continue
        if struct.unpack_from("!H", udp)[0] == source_port:
            found.append((*fields, struct.unpack_from("!H", udp, 4)[0], struct.unpack_from("!H", udp, 6)[0]))
            if len(found) == n:
                break
    return found


def set_mark(s, family, tos, ttl):
    if family == 4:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)


def headers(lab):
    """RFC 8656 14 to 16: TTL one less, DSCP and ECN kept, DF clear, both ways, in the kernel as in user space."""
    for i, (c, p) in enumerate(FAMILIES):
        pair = Pair(lab, c, p, 0x4100 + i, n_offloaded=i + 1)
        at_peer, at_client = lab.sniffer(lab.peer), lab.sniffer(lab.client)
        set_mark(pair.client.socket, c, 0xB9, 37)  # EF and ECT(1)
        set_mark(pair.peer, p, 0x2A, 41)
        before = in_kernel(lab)
        pair.up(b"x" * 31)
        pair.down(b"y" * 33)
        expect("packets in the kernel", tuple(b - a for a, b in zip(before, in_kernel(lab))), (1, 1))
        for what, sniffer, port, want in (("peer", at_peer, pair.client.relay[1], (p, 0xB9, 36, 0 if p == 4 else None, 39)),
                                          ("client", at_client, PORT, (c, 0x2A, 40, 0 if c == 4 else None, 45))):
            frames = raw_frames(sniffer, port)
            if not frames or frames[0][:5] != want:
                raise Failed(f"IPv{c} to IPv{p}: the {what} sees {frames} instead of {want}")
            if not frames[0][5]:
                raise Failed(f"IPv{c} to IPv{p}: no checksum at the {what}")


# ---- what is left to user space, and goes through it ----

def left(lab, why):
    return lab.status()[1]["left_to_user_space"][why]


def passes_up(lab, pair, why, send, want):
    before, kernel = left(lab, why), in_kernel(lab)
    send()
    if want is not None:
        expect(f"what the peer got ({why})", pair.heard(), want)
    elif pair.heard(seconds=0.3) is not None:
        raise Failed(f"something reached the peer ({why})")
    if left(lab, why) <= before:
        raise Failed(f"the kernel did not leave it: {why}, {lab.status()[1]}")
    expect(f"packets in the kernel ({why})", in_kernel(lab), kernel)


def plain_cases_only(lab):
    pair = Pair(lab)
    client = pair.client.socket
    channel = struct.pack("!HH", pair.number, 5) + b"12345"
    passes_up(lab, pair, "length", lambda: client.send(channel + b"\0\0\0"), b"12345")  # padding is allowed over UDP too
    passes_up(lab, pair, "length", lambda: client.send(channel[:-1]), None)
    set_mark(client, 4, 0, 1)
    passes_up(lab, pair, "ttl", lambda: client.send(channel), None)
    set_mark(client, 4, 0, 64)
    pair.up(b"again in the kernel")


def too_big(lab):
    lab.at(lab.peer, "ip", "link", "set", "eth0", "mtu", "1300")
    lab.at(lab.server, "ip", "link", "set", "right", "mtu", "1300")
    pair = Pair(lab)
    pair.up(b"s" * 1272)
    big = b"b" * 1273
    passes_up(lab, pair, "too_big", lambda: pair.client.send_channel(pair.number, big), big)
    lab.at(lab.client, "ip", "link", "set", "eth0", "mtu", "1280")
    lab.at(lab.server, "ip", "link", "set", "left", "mtu", "1280")
    lab.wait(lambda: lab.status()[0]["offloaded"] == 1, "the channel")
    pair.lab.wait(lambda: down_leaves(lab, pair), "a packet to the client that was too big")


def down_leaves(lab, pair):
    before = left(lab, "too_big")
    pair.down(b"d" * 1250)  # with ChannelData and headers 1282
    return left(lab, "too_big") > before


def checksum(lab):
    """None is allowed on IPv4, and stays none there; towards IPv6 user space makes one."""
    pair, across = Pair(lab), Pair(lab, 4, 6, 0x4002, n_offloaded=2)
    for p in (pair, across):
        p.client.socket.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
    at_peer = lab.sniffer(lab.peer)
    pair.up(b"unchecked")
    frames = raw_frames(at_peer, pair.client.relay[1])
    expect("its checksum", frames and frames[0][5], 0)
    passes_up(lab, across, "checksum", lambda: across.client.send_channel(0x4002, b"unchecked"), b"unchecked")


def to_be_finished(lab):
    """A device that is to finish the checksum (veth, virtio): user space relays, and the checksum is right."""
    if lab.mode == "xdp":
        return  # a driver with XDP gets finished packets only, but for veth
    pair = Pair(lab)
    with inside(lab.client):
        set_offloads("eth0", tx=1)
    passes_up(lab, pair, "checksum", lambda: pair.client.send_channel(pair.number, b"p" * 100), b"p" * 100)
    with inside(lab.client):
        set_offloads("eth0", tx=0)
    pair.up(b"q" * 100)


def options(lab):
    pair = Pair(lab)
    kernel = in_kernel(lab)
    pair.client.socket.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01\x01\x01\x00")
    pair.up(b"with options")
    pair.client.socket.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
    pair.client.socket.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragments may be made
    pair.up(b"f" * 4000)
    expect("packets in the kernel", in_kernel(lab), kernel)


def wrong_checksum(lab):
    """A payload damaged on its way is not made good by a fresh checksum."""
    pair = Pair(lab)
    me = pair.client.socket.getsockname()
    data = struct.pack("!HH", pair.number, 4) + b"evil"
    udp = struct.pack("!HHHH", me[1], PORT, 8 + len(data), 0xABCD) + data
    with inside(lab.client):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        raw.bind((CLIENT[4], 0))
    with raw:
        raw.sendto(udp, (LEFT[4], 0))
    if pair.heard(seconds=0.5) is not None:
        raise Failed("the peer took a datagram with a wrong checksum")
    pair.up(b"good")


def why_not_offloaded(lab):
    lab.wait_connected()
    c = Client(lab)
    c.allocate(4)
    lab.sockets.append(c.socket)
    other = Client(lab)
    other.allocate(4)
    lab.sockets.append(other.socket)
    expect("ChannelBind to a client of the same server", c.bind(0x4000, *other.relay), 0)
    lab.wait(lambda: lab.status()[0]["others"], "the reason")
    expect("the reason", lab.status()[0]["others"], [{"why": "the peer is a client of this server", "channels": 1}])
    other.permit(RIGHT[4])
    c.send_channel(0x4000, b"by user space")
    got = other.receive()
    if not got or b"by user space" not in got[1]:
        raise Failed("it did not arrive")
    said = lab.stile("status", check=False)
    if "0 of 1 channel in the kernel" not in said or "1 not: the peer is a client of this server" not in said:
        raise Failed("stile status says:\n" + said)


def reply_route(lab):
    """A packet that comes in where an answer would not leave is left to user space and its filters."""
    pair = Pair(lab)
    lab.at(lab.server, "ip", "route", "add", CLIENT[4] + "/32", "dev", "right")
    lab.wait(lambda: pair_leaves(lab, pair), "the change of route")
    lab.at(lab.server, "ip", "route", "del", CLIENT[4] + "/32", "dev", "right")
    lab.wait_offloaded(1)
    lab.wait(lambda: not pair_leaves(lab, pair), "the old route")


def pair_leaves(lab, pair):
    before = in_kernel(lab)[0]
    pair.client.send_channel(pair.number, b"?")
    pair.heard(seconds=0.3)
    return in_kernel(lab)[0] == before


CASES = (
    ("every byte passes both ways between every two families, in the kernel", all_families, ""),
    ("IPv4 to IPv4: every length, and exact counters", every_byte(4, 4), ""),
    ("IPv4 to IPv6: every length, and exact counters", every_byte(4, 6), ""),
    ("IPv6 to IPv4: every length, and exact counters", every_byte(6, 4), ""),
    ("IPv6 to IPv6: every length, and exact counters", every_byte(6, 6), ""),
    ("TTL, DSCP, ECN and DF are as RFC 8656 says", headers, ""),
    ("padding, lies and the last hop are left to user space", plain_cases_only, ""),
    ("what is too big for the way out is left to user space", too_big, ""),
    ("a missing checksum stays missing on IPv4 and is made for IPv6", checksum, ""),
    ("a checksum that a device is to finish is left to user space", to_be_finished, ""),
    ("IP options and fragments are left to user space", options, ""),
    ("a damaged payload arrives nowhere", wrong_checksum, ""),
    ("channels that stay in user space say why", why_not_offloaded, ""),
    ("routes that change are followed", reply_route, ""),
)
