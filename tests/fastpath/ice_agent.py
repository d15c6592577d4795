# SPDX-License-Identifier: Apache-2.0
"""One aioice agent, for two in different network namespaces: its candidates go out on a line, the other's come in on
one. With a TURN server it may only relay, and sends; without one it has host candidates, and echoes."""
import asyncio
import json
import sys

import aioice

MESSAGES = 60


async def main(server, port, user, password):
    extra = {"turn_server": (server, int(port)), "turn_username": user, "turn_password": password,
             "transport_policy": aioice.ice.TransportPolicy.RELAY} if server else {}
    agent = aioice.Connection(ice_controlling=bool(server), use_ipv6=False, **extra)
    await agent.gather_candidates()
    print(json.dumps({"ufrag": agent.local_username, "pwd": agent.local_password,
                      "candidates": [c.to_sdp() for c in agent.local_candidates]}), flush=True)
    other = json.loads(await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline))
    for c in other["candidates"]:
        await agent.add_remote_candidate(aioice.Candidate.from_sdp(c))
    await agent.add_remote_candidate(None)
    agent.remote_username, agent.remote_password = other["ufrag"], other["pwd"]
    await agent.connect()
    for i in range(MESSAGES):
        message = bytes([i]) * (20 * i + 1)
        if server:
            await agent.send(message)
            if await agent.recv() != message:
                print(f"message {i} came back changed", flush=True)
                return 1
        else:
            await agent.send(await agent.recv())
    await asyncio.sleep(0.2)
    await agent.close()
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(asyncio.wait_for(main(*(sys.argv[1:] + [""] * 4)[:4]), 40)))
