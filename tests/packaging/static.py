# SPDX-License-Identifier: Apache-2.0
"""The static agent of packaging/build-static at work: static.py FOLDER [EMULATOR], as static.py dist/static-arm64 qemu-aarch64-static

An agent of another architecture, by qemu's emulation of one process, with a server of this machine: it enrols, keeps its key, carries every
byte of a forward job, and stops cleanly. The emulator has no seccomp and no Landlock, so it is also an agent on such a kernel."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
import tunnel_world  # noqa: E402
from tunnel_world import Target, connect, echo, main, world  # noqa: E402
from world import Failed, case  # noqa: E402

FOLDER, EMULATOR = os.path.abspath(sys.argv[1]), sys.argv[2:3]
del sys.argv[1:]
if EMULATOR and not shutil.which(EMULATOR[0]):
    sys.exit(f"{EMULATOR[0]} is missing: tools/install-packages crossbuild")


@case("the static agent enrols, carries every byte, comes back with its key, and stops cleanly")
def _(w):
    tunnel_world.AGENT = os.path.join(FOLDER, "stile-agent")
    w.server()
    code = w.enrol("device")["code"]
    w.agent_config("device", [f'port: {w.job_port()}, target: "127.0.0.1:{w.target_port()}"'], code=f'"{code}"', direct="{ enabled: false }")
    data = os.urandom(1 << 20)
    for _ in range(2):
        agent = w.start_agent("device", prefix=EMULATOR)
        with Target(w.target_port(), echo):
            world.wait_for("the job's port", lambda: any(j["state"] == "active" for j in w.ask_verb("tunnel.jobs")["rows"]))
            with connect(w.job_port()) as c:
                c.settimeout(60)
                back = b""
                for at in range(0, len(data), 1 << 16):
                    c.sendall(data[at:at + (1 << 16)])
                    while len(back) < at + (1 << 16):
                        back += c.recv(1 << 16)
        if back != data:
            raise Failed("    other bytes came back")
        agent.stop()
        w.servers.remove(agent)


sys.exit(main(29900))
