#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A well-behaved client: echo.py udp|tcp PORT USER PASSWORD RATE.

Sends RATE numbered packets a second through its channel to an echo peer of its own and counts those that come
back. A line on stdin is a question: it stops sending, waits for what is under way (at most 4 s), and prints
[sent, lost, worst round trip in ms] since the last question. The end of stdin ends it."""
import json
import select
import socket
import struct
import sys
import time

import stunwire as wire

REFRESH_S, GIVE_UP_S, CHANNEL = 200, 4.0, 0x4001
PAYLOAD = 148
FRAME = 4 + PAYLOAD  # needs no padding


def open_client(transport, port, user, password):
    sock = None if transport == "udp" else wire.dial(port)
    client = wire.Client(user, password, port, sock)
    client.allocate()
    return client


class Loop:
    def __init__(self, client, peer, rate):
        self.client, self.peer, self.every = client, peer, 1 / rate
        self.number = 0
        self.waiting = {}
        self.restart()

    def restart(self):
        self.sent = self.worst = 0
        self.waiting.clear()

    def send(self):
        self.number += 1
        data = struct.pack("!I", self.number) + b"well behaved" * 12
        self.waiting[self.number] = time.monotonic()
        self.client.sock.sendall(wire.channel_data(CHANNEL, data, pad=self.client.stream))
        self.sent += 1

    def back(self, frame):
        channel, length, number = struct.unpack_from("!HHI", frame)
        began = self.waiting.pop(number, None)
        if channel == CHANNEL and length == PAYLOAD and began is not None:
            self.worst = max(self.worst, (time.monotonic() - began) * 1000)

    def step(self, until, others=()):
        """What can be read by then: echoes at the peer, frames at the client. True if others can be read, too."""
        ready, _, _ = select.select([self.client.sock, self.peer, *others], [], [], max(0, until - time.monotonic()))
        if self.peer in ready:
            data, source = self.peer.recvfrom(65536)
            self.peer.sendto(data, source)
        if self.client.sock in ready:
            self.back(self.client.receive())
            while self.client.stream and len(self.client.rest) >= FRAME:
                self.back(self.client.receive())
        return any(o in ready for o in others)

    def answer(self):
        deadline = time.monotonic() + GIVE_UP_S
        while self.waiting and time.monotonic() < deadline:
            self.step(deadline)
        print(json.dumps([self.sent, len(self.waiting), self.worst]), flush=True)
        self.restart()

    def run(self):
        due, renew = time.monotonic(), time.monotonic() + REFRESH_S
        while True:
            now = time.monotonic()
            if now >= due:
                self.send()
                due = max(due + self.every, now)
            if now >= renew:  # also the permission, which lives 300 s
                self.client.bind(CHANNEL, *self.peer.getsockname())
                self.client.request(wire.REFRESH)
                renew = now + REFRESH_S
            if self.step(due, [sys.stdin]):
                if not sys.stdin.readline():
                    return
                self.answer()
                due = time.monotonic()


def main():
    transport, port, user, password, rate = sys.argv[1:]
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    with open_client(transport, int(port), user, password) as client:
        client.bind(CHANNEL, *peer.getsockname())
        Loop(client, peer, float(rate)).run()
        client.release()


if __name__ == "__main__":
    main()
