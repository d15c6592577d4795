#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An end of a direct path that is not ours: python3-aioice, with the words of tests/netns/ice_peer.c on standard input and output.

  aioice_end.py [--controlling] [--stun ADDRESS] [--turn udp ADDRESS USER PASSWORD]"""
import asyncio
import sys

import aioice


def options(words):
    o = {"ice_controlling": False, "use_ipv6": False}
    while words:
        word = words.pop(0)
        if word == "--controlling":
            o["ice_controlling"] = True
        elif word == "--stun":
            o["stun_server"] = (words.pop(0), 3478)
        elif word == "--turn":
            words.pop(0)
            o["turn_server"] = (words.pop(0), 3478)
            o["turn_username"], o["turn_password"] = words.pop(0), words.pop(0)
        elif word != "--no-port-mapping":
            raise SystemExit(f"what is {word}?")
    return o


async def main():
    ice = aioice.Connection(components=1, **options(sys.argv[1:]))
    print("local", ice.local_username, ice.local_password, flush=True)
    await ice.gather_candidates()
    for c in ice.local_candidates:
        print("candidate:" + c.to_sdp(), flush=True)
    print("done", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    connecting = None
    while line := (await reader.readline()).decode().strip():
        if line.startswith("remote "):
            ice.remote_username, ice.remote_password = line.split()[1:]
        elif line.startswith("candidate:"):
            c = aioice.Candidate.from_sdp(line[len("candidate:"):])
            if c.component == 1:
                await ice.add_remote_candidate(c)
        elif line == "done":
            await ice.add_remote_candidate(None)
            connecting = asyncio.create_task(connect(ice))
        elif line == "quit":
            break
    if connecting:
        await connecting
    await ice.close()


async def connect(ice):
    try:
        await ice.connect()
        pair = ice._nominated[1]  # pylint: disable=protected-access
        print("path direct", "%s:%d" % pair.local_addr, "%s:%d" % pair.remote_addr, flush=True)
    except ConnectionError as e:
        print("state 3", e, flush=True)


asyncio.run(main())
