# SPDX-License-Identifier: Apache-2.0
"""A TURN client of a hundred lines over UDP or TCP (RFC 8656, long-term credentials with MD5 and SHA-1), for
requests that a well-behaved client does not make: one permission, one channel too many."""
import hashlib
import hmac
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from outcome import PATIENCE  # noqa: E402

COOKIE = 0x2112A442
ALLOCATE, REFRESH, SEND, PERMISSION, CHANNEL, CONNECT, CONNECTION_BIND = 0x003, 0x004, 0x006, 0x008, 0x009, 0x00A, 0x00B
USERNAME, INTEGRITY, ERROR, CHANNEL_NUMBER, LIFETIME = 0x0006, 0x0008, 0x0009, 0x000C, 0x000D
XOR_PEER, DATA, REALM, NONCE, XOR_RELAYED, TRANSPORT = 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0019
CONNECTION_ID = 0x002A


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def xor_address(host, port):
    return struct.pack("!BBHI", 0, 1, port ^ (COOKIE >> 16), struct.unpack("!I", socket.inet_aton(host))[0] ^ COOKIE)


def attributes(message):
    found, at = {}, 20
    while at + 4 <= len(message):
        kind, n = struct.unpack_from("!HH", message, at)
        found.setdefault(kind, message[at + 4:at + 4 + n])
        at += 4 + n + (-n % 4)
    return found


class Client:
    def __init__(self, port, user, password, host="127.0.0.1", kind=socket.SOCK_DGRAM):
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.connect((host, port))
        self.socket.settimeout(PATIENCE)
        self.user, self.password, self.realm, self.nonce = user, password, b"", b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _ask(self, method, body):
        tid = os.urandom(12)
        if self.nonce:
            body += attribute(USERNAME, self.user.encode()) + attribute(REALM, self.realm) + attribute(NONCE, self.nonce)
            head = struct.pack("!HHI", method, len(body) + 24, COOKIE) + tid
            key = hashlib.md5(b":".join((self.user.encode(), self.realm, self.password.encode()))).digest()
            body += attribute(INTEGRITY, hmac.new(key, head + body, hashlib.sha1).digest())
        self.socket.send(struct.pack("!HHI", method, len(body), COOKIE) + tid + body)
        while True:
            answer = self._receive()
            if answer[8:20] == tid:
                return answer

    def _receive(self):
        if self.socket.type == socket.SOCK_DGRAM:
            return self.socket.recv(2048)
        head = self.socket.recv(20, socket.MSG_WAITALL)
        return head + self.socket.recv(struct.unpack_from("!H", head, 2)[0], socket.MSG_WAITALL)

    def ask(self, method, body=b""):
        """0 for success, or the error code; the answer's attributes are in self.answer."""
        for _ in range(3):
            answer = self._ask(method, body)
            self.answer = attributes(answer)
            code = 0
            if struct.unpack_from("!H", answer)[0] & 0x0110 == 0x0110:
                code = self.answer[ERROR][2] * 100 + self.answer[ERROR][3]
            if code not in (401, 438) or (code == 401 and self.nonce):
                return code
            self.realm, self.nonce = self.answer[REALM], self.answer[NONCE]
        return code

    def allocate(self, protocol=socket.IPPROTO_UDP):
        return self.ask(ALLOCATE, attribute(TRANSPORT, bytes([protocol, 0, 0, 0])))

    def permit(self, host):
        return self.ask(PERMISSION, attribute(XOR_PEER, xor_address(host, 0)))

    def bind(self, number, host, port):
        return self.ask(CHANNEL, attribute(CHANNEL_NUMBER, struct.pack("!HH", number, 0))
                        + attribute(XOR_PEER, xor_address(host, port)))

    def connect(self, host, port):
        """Of a TCP allocation: the CONNECTION-ID is in self.answer."""
        return self.ask(CONNECT, attribute(XOR_PEER, xor_address(host, port)))

    def bind_connection(self, connection_id):
        """self.socket is the connection with the peer from then on."""
        return self.ask(CONNECTION_BIND, attribute(CONNECTION_ID, connection_id))

    def send_channel(self, number, data):
        self.socket.send(struct.pack("!HH", number, len(data)) + data)

    def refresh(self, seconds):
        return self.ask(REFRESH, attribute(LIFETIME, struct.pack("!I", seconds)))
