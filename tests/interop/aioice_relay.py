# SPDX-License-Identifier: Apache-2.0
"""python3-aioice: an ICE agent that shares no code with anybody. Two agents that may only relay gather
candidates from the server, connect, and echo through them."""
import asyncio

from harness import PASSWORD, USER, Failed, Skipped


async def connect_by_relay(server, transport):
    import aioice
    agents = [aioice.Connection(ice_controlling=controlling, turn_server=("127.0.0.1", server.port),
                                turn_username=USER, turn_password=PASSWORD, turn_transport=transport,
                                use_ipv6=False, transport_policy=aioice.ice.TransportPolicy.RELAY)
              for controlling in (True, False)]
    try:
        for agent in agents:
            await agent.gather_candidates()
            kinds = [c.type for c in agent.local_candidates]
            if kinds != ["relay"]:
                raise Failed(f"gathered {kinds or 'nothing'}, not one relay candidate")
        for agent, other in (agents, agents[::-1]):
            for candidate in other.local_candidates:
                await agent.add_remote_candidate(candidate)
            await agent.add_remote_candidate(None)
            agent.remote_username, agent.remote_password = other.local_username, other.local_password
        await asyncio.gather(*(a.connect() for a in agents))
        for i in range(50):
            message = bytes([i]) * (20 * i + 1)
            for agent, other in (agents, agents[::-1]):
                await agent.send(message)
                if await other.recv() != message:
                    raise Failed(f"message {i} arrived changed")
    finally:
        for agent in agents:
            await agent.close()


def relay(transport):
    def case(server):
        try:
            import aioice  # noqa: F401
        except ImportError:
            raise Failed("python3-aioice is not installed (tools/install-packages check)") from None
        try:
            asyncio.run(asyncio.wait_for(connect_by_relay(server, transport), 30))
        except (OSError, asyncio.TimeoutError, ConnectionError) as e:
            raise Failed(f"{type(e).__name__}: {e}") from None
        except Exception as e:  # aioice's own errors have no common base
            if isinstance(e, (Failed, Skipped)):
                raise
            raise Failed(f"aioice: {type(e).__name__}: {e}") from None
    return case


def matrix():
    yield "aioice relay over udp", True, relay("udp")
    yield "aioice relay over tcp", True, relay("tcp")
