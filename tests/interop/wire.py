# SPDX-License-Identifier: Apache-2.0
"""What only sockets show: IP header fields across the relay, ICMP errors, moved and many-worker sessions.

A TURN client of a few lines, written from the RFCs and not with our library, so that both ends cannot be
wrong together. It speaks from a socket of its own, whose options are what the cases are about."""
import base64
import contextlib
import ctypes
import hashlib
import hmac
import os
import socket
import struct
import threading
import time

from harness import PASSWORD, PATIENCE, SECRET, USER, Failed, Skipped

COOKIE = 0x2112A442
ALLOCATE, REFRESH, SEND, DATA, PERMISSION, CHANNEL = 3, 4, 6, 7, 8, 9
CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT, CONNECTION_ID = 10, 11, 12, 0x2A
LIFETIME, PEER, PAYLOAD, RELAYED, TRANSPORT, FAMILY = 0x0D, 0x12, 0x13, 0x16, 0x19, 0x17
DONT_FRAGMENT, ICMP, MOBILITY_TICKET = 0x1A, 0x8004, 0x8030
UDP = struct.pack("!B3x", 17)
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def attr(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def message(method, kind, attrs, tid=None):
    """kind: 0x000 request, 0x010 indication. A value that is an address is XORed."""
    tid = tid or os.urandom(12)
    body = b"".join(attr(k, xor_address(v, tid) if isinstance(v, tuple) else v) for k, v in attrs)
    return struct.pack("!HHI", method | kind, len(body), COOKIE) + tid + body


def parse(raw):
    """(type, transaction, {attribute: its first value})"""
    kind, length, cookie = struct.unpack_from("!HHI", raw)
    if cookie != COOKIE or length != len(raw) - 20:
        raise Failed("what came is no STUN message")
    found, at = {}, 20
    while at < len(raw):
        a, n = struct.unpack_from("!HH", raw, at)
        found.setdefault(a, raw[at + 4:at + 4 + n])
        at += 4 + n + -n % 4
    return kind, raw[8:20], found


def xor_address(where, tid):
    host, port = where[:2]
    six = ":" in host
    ip = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host)
    mask = struct.pack("!I", COOKIE) + tid
    return struct.pack("!BBH", 0, 2 if six else 1, port ^ COOKIE >> 16) + bytes(a ^ b for a, b in zip(ip, mask))


def address_of(value, tid):
    _, family, port = struct.unpack_from("!BBH", value)
    mask = struct.pack("!I", COOKIE) + tid
    ip = bytes(a ^ b for a, b in zip(value[4:], mask))
    return socket.inet_ntop(socket.AF_INET6 if family == 2 else socket.AF_INET, ip), port ^ COOKIE >> 16


def error_code(found):
    return found[9][2] * 100 + found[9][3] if 9 in found else 0


class Client:
    """One five-tuple to the server, over UDP or TCP."""

    def __init__(self, server, family=socket.AF_INET, tcp=False, user=USER, password=PASSWORD, tos=None):
        self.family, self.tcp, self.user, self.password = family, tcp, user, password
        self.socket = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        if tos is not None:
            set_option(self.socket, "TOS", tos)
        self.socket.connect((LOOPBACK[family], server.port))
        self.realm = self.nonce = None
        self.relay = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exactly(self, n):
        got = b""
        while len(got) < n:
            part = self.socket.recv(n - len(got))
            if not part:
                raise Failed("the server closed the connection")
            got += part
        return got

    def receive(self):
        if not self.tcp:
            return self.socket.recv(65535)
        head = self.exactly(4)
        n = struct.unpack("!HH", head)[1]
        return head + self.exactly(n + 16 if head[0] < 0x40 else n + -n % 4)

    def sign(self, method, attrs, tid):
        key = hashlib.md5(f"{self.user}:{self.realm}:{self.password}".encode()).digest()
        raw = message(method, 0, attrs + [(6, self.user.encode()), (0x14, self.realm.encode()), (0x15, self.nonce)], tid)
        raw = raw[:2] + struct.pack("!H", len(raw) - 20 + 24) + raw[4:]
        return raw + attr(8, hmac.new(key, raw, hashlib.sha1).digest())

    def ask(self, method, attrs):
        """(error code or 0, attributes, transaction); goes through the challenge by itself."""
        for _ in range(3):
            tid = os.urandom(12)
            self.socket.send(self.sign(method, attrs, tid) if self.nonce else message(method, 0, attrs, tid))
            while True:
                kind, got, found = parse(self.receive())
                if got == tid:
                    break
            code = error_code(found)
            if code not in (401, 438) or (code == 401 and self.nonce):
                return code, found, tid
            self.realm, self.nonce = found[0x14].decode(), found[0x15]
        raise Failed("the server challenges without end")

    def handshake(self):
        """A first request that is only there to be challenged."""
        code, _, _ = self.ask(REFRESH, [])
        expect("a Refresh without an allocation", code, 437)

    def must(self, method, attrs):
        code, found, tid = self.ask(method, attrs)
        if code:
            raise Failed(f"method {method} was refused with {code}")
        return found, tid

    def allocate(self, *more, transport=UDP):
        family = [(FAMILY, struct.pack("!B3x", 2))] if self.family == socket.AF_INET6 else []
        found, tid = self.must(ALLOCATE, [(TRANSPORT, transport), *family, *more])
        self.relay = address_of(found[RELAYED], tid)
        return found

    def permit(self, peer):
        self.must(PERMISSION, [(PEER, peer)])

    def send_to(self, peer, data, *more):
        self.socket.send(message(SEND, 0x10, [(PEER, peer), (PAYLOAD, data), *more]))

    def data(self):
        kind, tid, found = parse(self.receive())
        if kind != DATA | 0x10:
            raise Failed(f"a message of type {kind:#x} came, not a Data indication")
        return address_of(found[PEER], tid), found


def set_option(s, name, value):
    six = s.family == socket.AF_INET6
    option = {"TOS": socket.IPV6_TCLASS if six else socket.IP_TOS,
              "TTL": socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL,
              "RECVTOS": socket.IPV6_RECVTCLASS if six else socket.IP_RECVTOS,
              "RECVTTL": socket.IPV6_RECVHOPLIMIT if six else 12}[name]  # IP_RECVTTL has no name in Python
    s.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, option, value)


def receive_marked(s):
    """(data, source, TOS, TTL) of the next datagram."""
    six = s.family == socket.AF_INET6
    data, control, _, source = s.recvmsg(65535, 256)
    tos = ttl = None
    for _, kind, value in control:
        number = value[0] if len(value) == 1 else struct.unpack("=i", value[:4])[0]
        if kind == (socket.IPV6_TCLASS if six else socket.IP_TOS):
            tos = number
        elif kind == (socket.IPV6_HOPLIMIT if six else socket.IP_TTL):
            ttl = number
    return data, source, tos, ttl


def peer_socket(family):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(PATIENCE)
    s.bind((LOOPBACK[family], 0))
    for name in ("RECVTOS", "RECVTTL"):
        set_option(s, name, 1)
    return s


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what} is {got}, not {wanted}")


def need_family(server, family):
    if family == socket.AF_INET6 and not server.ipv6:
        raise Skipped("this machine has no IPv6 on loopback")


def header_fields(family):
    """RFC 8656 14: one hop less, DSCP and ECN as they came, both ways."""
    def case(server):
        need_family(server, family)
        with Client(server, family) as c, peer_socket(family) as peer:
            for name in ("RECVTOS", "RECVTTL"):
                set_option(c.socket, name, 1)
            c.allocate()
            c.permit(peer.getsockname())
            for tos, ttl in ((0xB9, 33), (0x02, 64), (0x00, 2)):
                set_option(c.socket, "TOS", tos)
                set_option(c.socket, "TTL", ttl)
                for _ in range(80):  # the server's socket learns a TTL that stays
                    c.send_to(peer.getsockname(), b"up")
                    _, relay, got_tos, got_ttl = receive_marked(peer)
                    expect("TOS at the peer", got_tos, tos)
                    expect("TTL at the peer", got_ttl, ttl - 1)
                set_option(peer, "TOS", tos)
                set_option(peer, "TTL", ttl)
                peer.sendto(b"down", relay)
                _, _, got_tos, got_ttl = receive_marked(c.socket)
                expect("TOS at the client", got_tos, tos)
                expect("TTL at the client", got_ttl, ttl - 1)
            ttls = [ttl for ttl in (40, 50, 60) for _ in range(70)]  # and another one while datagrams wait to leave
            for i, ttl in enumerate(ttls):
                set_option(c.socket, "TTL", ttl)
                c.send_to(peer.getsockname(), str(i).encode())
            for i, ttl in enumerate(ttls):
                data, _, _, got_ttl = receive_marked(peer)
                expect("number and TTL of one in a row", (data, got_ttl), (str(i).encode(), ttl - 1))
            set_option(c.socket, "TTL", 1)  # its last hop was to us
            c.send_to(peer.getsockname(), b"dead")
            set_option(c.socket, "TTL", 9)
            c.send_to(peer.getsockname(), b"alive")
            expect("what reaches the peer", receive_marked(peer)[0], b"alive")
    return case


def one_peer(server):
    """Two clients with one peer: the peer hears each from its own relay socket, and each hears what was sent to its own."""
    with Client(server) as one, Client(server) as other, peer_socket(socket.AF_INET) as peer:
        for c in (one, other):
            c.allocate()
            c.permit(peer.getsockname())
        for _ in range(100):
            for name, c in ((b"one", one), (b"other", other)):
                c.send_to(peer.getsockname(), name)
                data, source, _, _ = receive_marked(peer)
                expect("what the peer hears, and from where", (data, source), (name, c.relay))
            peer.sendto(b"for the other", other.relay)
            peer.sendto(b"for the one", one.relay)
            for name, c in ((b"for the one", one), (b"for the other", other)):
                expect("what a client hears", c.data()[1][PAYLOAD], name)


def connection_fields(family):
    """RFC 8656 15: the connection's DSCP, Not-ECT, a TTL of the server's own."""
    def case(server):
        need_family(server, family)
        with Client(server, family, tcp=True, tos=0xB8) as c, peer_socket(family) as peer:
            c.allocate()
            c.permit(peer.getsockname())
            c.send_to(peer.getsockname(), b"even")
            _, relay, tos, ttl = receive_marked(peer)
            expect("TOS at the peer", tos, 0xB8)
            expect("TTL at the peer", ttl, 64)
            set_option(peer, "TOS", 0x03)
            peer.sendto(b"back", relay)
            expect("what comes back", c.data()[1][PAYLOAD], b"back")
    return case


SO_ATTACH_FILTER = 26


def datagrams_from(port):
    """A sniffer of UDP over IPv4 from that port on loopback. The kernel looks for them: what others send there would fill the queue."""
    try:
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError:
        raise Skipped("a packet socket needs root") from None
    code = ((0x30, 0, 0, 9), (0x15, 0, 4, 17),  # protocol: UDP
            (0xb1, 0, 0, 0), (0x48, 0, 0, 0), (0x15, 0, 1, port),  # the source port, behind the header of IP
            (0x06, 0, 0, 65535), (0x06, 0, 0, 0))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
    sniffer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(code), ctypes.addressof(program)))
    sniffer.bind(("lo", 0x0800))
    sniffer.settimeout(PATIENCE)
    return sniffer


def fragment_bit(server):
    """RFC 8656 14: DF for a Send with DONT-FRAGMENT and for nothing else, as a sniffer on loopback sees it."""
    with Client(server) as c, peer_socket(socket.AF_INET) as peer:
        c.allocate()
        c.permit(peer.getsockname())
        with datagrams_from(c.relay[1]) as sniffer:
            for more, wanted in (((), 0), (((DONT_FRAGMENT, b""),), 0x4000), ((), 0)):
                mark = os.urandom(8)
                c.send_to(peer.getsockname(), mark, *more)
                while mark not in (p := sniffer.recv(65535)):
                    pass
                expect("DF", struct.unpack_from("!H", p, 6)[0] & 0x4000, wanted)


def unreachable_peer(family):
    """RFC 8656 11.5: port unreachable comes back as an ICMP attribute."""
    def case(server):
        need_family(server, family)
        with Client(server, family) as c:
            with peer_socket(family) as peer:
                closed = peer.getsockname()[:2]
            c.allocate()
            c.permit(closed)
            c.send_to(closed, b"anybody?")
            source, found = c.data()
            expect("the peer", source, closed)
            expect("the ICMP attribute", found.get(ICMP),
                   bytes([0, 0, 1, 4] if family == socket.AF_INET6 else [0, 0, 3, 3]) + bytes(4))
    return case


def moves(server):
    """RFC 8016: one allocation through ten sockets, and so through every worker, over UDP and TCP."""
    with contextlib.ExitStack() as stack, peer_socket(socket.AF_INET) as peer:
        c = stack.enter_context(Client(server))
        ticket = c.allocate((MOBILITY_TICKET, b""))[MOBILITY_TICKET]
        c.permit(peer.getsockname())
        relay = c.relay
        for i in range(10):
            before, c = c, stack.enter_context(Client(server, tcp=i % 3 == 2))
            thief = stack.enter_context(Client(server, password="not-" + PASSWORD))
            c.handshake()
            expect("the answer to a thief", thief.ask(REFRESH, [(MOBILITY_TICKET, ticket)])[0], 401)
            if before.tcp:
                before.socket.close()  # the break that mobility is there for
            found, _ = c.must(REFRESH, [(MOBILITY_TICKET, ticket)])
            expect("a used ticket again", found[MOBILITY_TICKET] == ticket, False)
            ticket = found[MOBILITY_TICKET]
            c.send_to(peer.getsockname(), b"up")
            expect("the relay address", peer.recvfrom(100), (b"up", relay))
            peer.sendto(b"down", relay)
            expect("what comes back", c.data()[1][PAYLOAD], b"down")
        c.must(REFRESH, [(LIFETIME, bytes(4))])


def bound(server, found, **credential):
    """A data connection for the connection id that was found."""
    data = Client(server, tcp=True, **credential)
    data.must(CONNECTION_BIND, [(CONNECTION_ID, found[CONNECTION_ID])])
    return data


def exchange(data, peer, size):
    """Bytes both ways at once, more than buffers hold, and the same bytes at the other end."""
    blob = os.urandom(size)
    for here, there in ((data.socket, peer), (peer, data.socket)):
        there.settimeout(PATIENCE)
        sender = threading.Thread(target=here.sendall, args=(blob,))
        sender.start()
        got = b""
        while len(got) < size:
            part = there.recv(1 << 20)
            if not part:
                raise Failed(f"the connection ended after {len(got)} of {size} bytes")
            got += part
        sender.join()
        expect("what came through", got == blob, True)


def outlives(server):
    """A credential of two seconds: what lives goes on behind it, through every worker; nothing new begins."""
    if server.peer != "stile":
        raise Skipped("a promise of this server's, not of the RFCs")
    expiry = int(time.time()) + 2
    mac = hmac.new(SECRET.encode(), f"{expiry}:wire".encode(), hashlib.sha1).digest()
    minted = {"user": f"{expiry}:wire", "password": base64.b64encode(mac).decode()}
    with contextlib.ExitStack() as stack, peer_socket(socket.AF_INET) as peer:
        c = stack.enter_context(Client(server, tcp=True, **minted))
        mobile = stack.enter_context(Client(server, **minted))
        c.allocate(transport=struct.pack("!B3x", 6))
        c.permit(("127.0.0.1", 1))
        ticket = mobile.allocate((MOBILITY_TICKET, b""))[MOBILITY_TICKET]
        mobile.permit(peer.getsockname())
        time.sleep(max(0.0, expiry + 1.1 - time.time()))
        late = stack.enter_context(Client(server, **minted))
        expect("an Allocate", late.ask(ALLOCATE, [(TRANSPORT, UDP)])[0], 401)
        for _ in range(8):
            guest = stack.enter_context(socket.create_connection(c.relay))
            found = parse(c.receive())[2]
            thief = stack.enter_context(Client(server, tcp=True, user=minted["user"], password="not-" + minted["password"]))
            expect("a thief's bind", thief.ask(CONNECTION_BIND, [(CONNECTION_ID, found[CONNECTION_ID])])[0], 401)
            data = stack.enter_context(bound(server, found, **minted))
            exchange(data, guest, 1000)
            away = stack.enter_context(Client(server, **minted))
            ticket = away.must(REFRESH, [(MOBILITY_TICKET, ticket)])[0][MOBILITY_TICKET]
            away.send_to(peer.getsockname(), b"up")
            expect("what the peer hears", peer.recvfrom(100), (b"up", mobile.relay))


def tcp_relay(server):
    """RFC 6062: Connect and ConnectionAttempt, data both ways with back-pressure, through every worker, ends."""
    with contextlib.ExitStack() as stack:
        c = stack.enter_context(Client(server, tcp=True))
        c.allocate(transport=struct.pack("!B3x", 6))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        c.permit(listener.getsockname())
        for _ in range(8):  # data connections land on every worker
            found, _ = c.must(CONNECT, [(PEER, listener.getsockname())])
            expect("a second Connect", c.ask(CONNECT, [(PEER, listener.getsockname())])[0], 446)
            peer = stack.enter_context(listener.accept()[0])
            expect("where the peer sees it come from", peer.getpeername(), c.relay)
            peer.sendall(b"early")  # before anybody is bound
            thief = stack.enter_context(Client(server, tcp=True, password="not-" + PASSWORD))
            expect("a thief's bind", thief.ask(CONNECTION_BIND, [(CONNECTION_ID, found[CONNECTION_ID])])[0], 401)
            data = stack.enter_context(bound(server, found))
            expect("what was said early", data.exactly(5), b"early")
            exchange(data, peer, 3 << 20)
            peer.sendall(b"last")
            peer.close()
            expect("the last words", data.exactly(4), b"last")
            expect("then the end", data.socket.recv(1), b"")
        for _ in range(4):
            guest = stack.enter_context(socket.create_connection(c.relay))
            kind, tid, found = parse(c.receive())
            expect("the announcement", kind, CONNECTION_ATTEMPT | 0x10)
            expect("whose it is", address_of(found[PEER], tid), guest.getsockname())
            data = stack.enter_context(bound(server, found))
            exchange(data, guest, 100000)
            data.socket.close()
            expect("the end", guest.recv(1), b"")
        expect("a Connect to nobody", c.ask(CONNECT, [(PEER, ("127.0.0.1", 1))])[0], 447)
        found, _ = c.must(CONNECT, [(PEER, listener.getsockname())])
        peer = stack.enter_context(listener.accept()[0])
        data = stack.enter_context(bound(server, found))
        c.must(REFRESH, [(LIFETIME, bytes(4))])
        peer.settimeout(PATIENCE)
        expect("the peer's end with the allocation", peer.recv(1), b"")
        expect("the client's", data.socket.recv(1), b"")


V4, V6 = socket.AF_INET, socket.AF_INET6


def matrix():
    for name, family in (("ipv4", V4), ("ipv6", V6)):
        yield f"wire TTL, DSCP and ECN {name}", True, header_fields(family)
        yield f"wire DSCP of a connection {name}", True, connection_fields(family)
        yield f"wire ICMP error {name}", True, unreachable_peer(family)
    yield "wire mobility over all workers", True, moves
    yield "wire TCP allocation", True, tcp_relay
    yield "wire two clients with one peer", True, one_peer
    yield "wire DF", True, fragment_bit


def secret_matrix():
    yield "wire credential that has run out", True, outlives
