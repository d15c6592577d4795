# SPDX-License-Identifier: Apache-2.0
"""Streams that do not behave: the largest frames byte by byte, garbage, clients that vanish or stop reading."""
import socket
import struct
import time

import stunwire as wire
from datagrams import server_queue
from world import PASSWORD, USER, Failed, Watch

LARGEST_UDP = 65507  # payload of a datagram over IPv4
QUEUED_KB = 2048     # what the server may hold for a client that does not read: 512 KiB, and some room


def open_peer():
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(15)
    return peer


def stream_client(server, tls=False, rcvbuf=None):
    sock = wire.dial(server.tls_port if tls else server.port, tls=tls, rcvbuf=rcvbuf)
    client = wire.Client(USER, PASSWORD, server.port, sock)
    client.allocate()
    return client


def feed(sock, data):
    for i in range(len(data)):
        sock.send(data[i:i + 1])


def still_relays(client, peer):
    client.sock.sendall(wire.channel_data(0x4000, b"still here", pad=True))
    if peer.recv(100) != b"still here":
        raise Failed("the connection relays something else afterwards")


def largest_frames(server):
    """ChannelData as large as a datagram can be arrives whole; one that no datagram can hold is dropped."""
    data = bytes(i * 7 & 0xFF for i in range(65535))
    with Watch(server, {"drops.too_big": 1}) as watch, open_peer() as peer, stream_client(server) as client:
        client.bind(0x4000, *peer.getsockname())
        feed(client.sock, wire.channel_data(0x4000, data[:LARGEST_UDP], pad=True))
        if peer.recv(65536) != data[:LARGEST_UDP]:
            raise Failed("65,507 bytes did not arrive as they were sent")
        feed(client.sock, wire.channel_data(0x4000, data, pad=True))
        still_relays(client, peer)
        client.release()
    return watch.note


def largest_message(server):
    """A STUN message that claims 65,532 bytes is legal: it is read to its end and answered."""
    body = b"".join(wire.attribute(0xFF00, bytes(65000 // 4)) for _ in range(4))
    body += wire.attribute(0xFF00, bytes(65532 - len(body) - 4))
    packet = struct.pack("!HHI", wire.BINDING, len(body), wire.MAGIC) + bytes(12) + body
    assert len(packet) == 20 + 65532
    with Watch(server, {"successes.binding": 2}) as watch, wire.dial(server.port) as s:
        client = wire.Client(USER, PASSWORD, server.port, s)
        feed(s, packet)
        if wire.parse(client.receive())[0] != wire.BINDING | wire.SUCCESS:
            raise Failed("the largest Binding request got no success")
        kind, _, _ = client.transact(wire.message(wire.BINDING))
        if kind != wire.BINDING | wire.SUCCESS:
            raise Failed("the connection is of no use afterwards")
    return watch.note


def closed(sock, seconds=15):
    """Did the server close it, with whatever it said before?"""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except OSError:
        return False


GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "another cookie": b"\0\1\0\0COOK" + bytes(12),
    "a length that is no multiple of four": struct.pack("!HHI", 1, 3, wire.MAGIC) + bytes(15),
    "garbage behind a good message": wire.message(wire.BINDING) + b"\x90garbage",
}


def garbage(server):
    with Watch(server, {"drops.bad_frame": len(GARBAGE)}) as watch:
        for what, data in GARBAGE.items():
            with wire.dial(server.port) as s:
                s.sendall(data)
                if not closed(s):
                    raise Failed(f"{what}: the connection stays open")
    return watch.note


def vanish(server):
    """Allocations whose connections end in the middle of a frame, by FIN and by RST."""
    with Watch(server, {"allocations_created.tcp": 30, "allocations_ended.disconnected": 30}) as watch:
        for i in range(30):
            with stream_client(server) as client:
                client.sock.sendall(wire.channel_data(0x4000, bytes(1000))[:500])
                if i % 2:
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return watch.note


def stop_reading(tls):
    def case(server):
        packet, count = bytes(1200), 20000
        with Watch(server, {"drops.client_slow": count // 4}) as watch, open_peer() as peer, \
                stream_client(server, tls, rcvbuf=16384) as client:
            client.bind(0x4000, *peer.getsockname())
            highest = 0
            for i in range(count):
                peer.sendto(struct.pack("!I", i) + packet, client.relay)
                if i % 64 == 0:
                    while server_queue(client.relay[1]) > 128 << 10:
                        time.sleep(0.0005)
                if i % 2000 == 0:
                    highest = max(highest, server.memory_kb())
            if highest > watch.memory + watch.slack_kb + QUEUED_KB:
                raise Failed(f"memory rose from {watch.memory} to {highest} kB for a client that does not read")
            frames = read_what_is_left(client)
            client.release()
        return f"{frames} of {count} packets were kept for it, whole and in order; {watch.note}"
    return case


def read_what_is_left(client):
    """Frames are dropped whole or not at all: what is read afterwards is still a stream of frames."""
    client.sock.settimeout(1)
    last, frames = -1, 0
    try:
        while True:
            channel, length, number = struct.unpack_from("!HHI", client.receive())
            if channel != 0x4000 or length != 1204 or number <= last:
                raise Failed(f"after {frames} frames the stream is torn ({channel:#x}, {length} bytes, {number} after {last})")
            last, frames = number, frames + 1
    except TimeoutError:
        client.sock.settimeout(15)
    if frames == 0:
        raise Failed("nothing at all was kept for the client that read late")
    return frames


def matrix():
    yield "ChannelData of 65,535 bytes over TCP, byte by byte", True, largest_frames
    yield "a STUN message of 65,532 bytes over TCP, byte by byte", True, largest_message
    yield "garbage on a TCP connection closes it", True, garbage
    yield "TCP clients that vanish in the middle of a frame", True, vanish
    yield "a TCP client that stops reading loses its packets, not the server's memory", True, stop_reading(False)
    yield "a TLS client that stops reading loses its packets, not the server's memory", True, stop_reading(True)
