# SPDX-License-Identifier: Apache-2.0
"""STUN and TURN on the wire, as far as an attacker and an honest client need them (RFC 8489, 8656).

Messages are made here by hand, so that a mistake of the server's own library cannot hide itself. Client is
blocking and small: it allocates, binds, and is then only a socket with a relay address."""
import hashlib
import hmac
import os
import socket
import ssl
import struct

MAGIC = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, PERMIT, BIND = 1, 3, 4, 6, 7, 8, 9
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x06, 0x08, 0x09, 0x0C, 0x0D
PEER, DATA_ATTR, REALM, NONCE, RELAYED, TRANSPORT, MAPPED = 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x20
UDP = struct.pack("!BBH", 17, 0, 0)


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def message(kind, attributes=(), tid=None, length=None):
    """kind: method | class. length: what the header claims, when it is to lie."""
    body = b"".join(attribute(k, v) for k, v in attributes)
    return struct.pack("!HHI", kind, len(body) if length is None else length, MAGIC) + (tid or os.urandom(12)) + body


def xor_address(host, port):
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    if len(packed) == 4:
        packed = struct.pack("!I", struct.unpack("!I", packed)[0] ^ MAGIC)
    return struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, port ^ (MAGIC >> 16)) + packed


def from_xor_address(value):
    port, = struct.unpack_from("!H", value, 2)
    ip, = struct.unpack_from("!I", value, 4)
    return socket.inet_ntoa(struct.pack("!I", ip ^ MAGIC)), port ^ (MAGIC >> 16)


def parse(data):
    """(kind, transaction, {type: first value}) of a message from the server; None if it is none."""
    if len(data) < 20 or data[0] > 3:
        return None
    kind, length, magic = struct.unpack_from("!HHI", data)
    if magic != MAGIC or length + 20 > len(data):
        return None
    found, at = {}, 20
    while at + 4 <= 20 + length:
        k, n = struct.unpack_from("!HH", data, at)
        found.setdefault(k, data[at + 4:at + 4 + n])
        at += 4 + n + (-n % 4)
    return kind, data[8:20], found


def error_code(found):
    value = found.get(ERROR_CODE, b"\0\0\0\0")
    return value[2] * 100 + value[3]


def long_term_key(user, realm, password):
    return hashlib.md5(b":".join((user, realm, password))).digest()


def signed(kind, attributes, key, tid=None):
    """With MESSAGE-INTEGRITY (SHA-1) over a header that already counts it."""
    plain = message(kind, attributes, tid)
    head = struct.pack("!HH", kind, len(plain) - 20 + 24) + plain[4:]
    return head + attribute(INTEGRITY, hmac.new(key, head, hashlib.sha1).digest())


def channel_data(channel, data, pad=False):
    return struct.pack("!HH", channel, len(data)) + data + (b"\0" * (-len(data) % 4) if pad else b"")


class Gone(Exception):
    """The server closed, or did not answer in time."""


def dial(port, host="127.0.0.1", tls=False, timeout=15, source=None, rcvbuf=None):
    """A TCP or TLS connection; nobody's certificate is checked here."""
    s = socket.socket()
    s.settimeout(timeout)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if source:
        s.bind((source, 0))
    s.connect((host, port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        s = context.wrap_socket(s)
    return s


class Client:
    """One allocation. sock: an own UDP socket when None, else a connected stream."""

    def __init__(self, user, password, port, sock=None, source="127.0.0.1"):
        self.stream = sock is not None
        self.sock = sock or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.user, self.password = user.encode(), password.encode()
        self.realm = self.nonce = self.key = None
        self.rest = b""
        if not self.stream:
            self.sock.bind((source, 0))
            self.sock.connect(("127.0.0.1", port))
            self.sock.settimeout(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def receive(self):
        """The next datagram, or the next frame of the stream without its padding."""
        if not self.stream:
            return self.sock.recv(65536)
        while True:
            if len(self.rest) >= 4:
                length, = struct.unpack_from("!H", self.rest, 2)
                n = 20 + length if self.rest[0] < 4 else 4 + length
                if len(self.rest) >= n + (-n % 4):
                    frame, self.rest = self.rest[:n], self.rest[n + (-n % 4):]
                    return frame
            more = self.sock.recv(65536)
            if not more:
                raise Gone("the server closed the connection")
            self.rest += more

    def transact(self, packet):
        """The answer to one request; other things that arrive meanwhile are passed over."""
        for _ in range(5 if not self.stream else 1):
            self.sock.sendall(packet)
            try:
                while True:
                    answer = parse(self.receive())
                    if answer and answer[1] == packet[8:20] and answer[0] & 0x110 >= SUCCESS:
                        return answer
            except TimeoutError:
                continue
        raise Gone("no answer from the server")

    def request(self, method, attributes=()):
        """(0 or the error's code, the attributes of the answer); follows 401 and 438 once each."""
        for _ in range(3):
            if self.key:
                packet = signed(method, [*attributes, (USERNAME, self.user), (REALM, self.realm), (NONCE, self.nonce)], self.key)
            else:
                packet = message(method, attributes)
            kind, _, found = self.transact(packet)
            code = error_code(found) if kind & ERROR == ERROR else 0
            if code not in (401, 438) or (code == 401 and self.key):
                return code, found
            self.realm, self.nonce = found.get(REALM, self.realm), found[NONCE]
            self.key = long_term_key(self.user, self.realm, self.password)
        return code, found

    def allocate(self):
        code, found = self.request(ALLOCATE, [(TRANSPORT, UDP)])
        if code:
            raise Gone(f"Allocate was refused with {code}")
        self.relay = from_xor_address(found[RELAYED])
        return self.relay

    def permit(self, host):
        code, _ = self.request(PERMIT, [(PEER, xor_address(host, 0))])
        if code:
            raise Gone(f"CreatePermission was refused with {code}")

    def bind(self, channel, host, port):
        code, _ = self.request(BIND, [(CHANNEL_NUMBER, struct.pack("!HH", channel, 0)), (PEER, xor_address(host, port))])
        if code:
            raise Gone(f"ChannelBind was refused with {code}")

    def release(self):
        code, _ = self.request(REFRESH, [(LIFETIME, struct.pack("!I", 0))])
        return code
