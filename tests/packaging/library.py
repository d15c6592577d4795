# SPDX-License-Identifier: Apache-2.0
"""libstile-agent as a device's maker meets it: installed somewhere, found by pkg-config, its example built outside of this tree, and that
carrying connections for a real stile-tunnel."""
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tunnel"))
from tunnel_world import Target, connect, echo, main, world  # noqa: E402
from world import BUILD, Failed, case  # noqa: E402

NAMES = {"stile_agent_start", "stile_agent_wait", "stile_agent_ask", "stile_agent_stop", "stile_agent_version"}


def sanitizers():
    """The example must be built with those of the library."""
    out = subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True, check=True).stdout
    have = next(o["value"] for o in json.loads(out) if o["name"] == "b_sanitize")
    return [] if have == "none" else [f"-fsanitize={have}"]


class Installed:
    """The library, its header, its pkg-config file and the example in a folder, as `meson install` puts them."""

    def __init__(self, w):
        self.w, self.root = w, w.path("root")
        w.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--tags", "devel,library", "--destdir", self.root, timeout=120)
        for folder, _, files in os.walk(self.root):
            if "stile-agent.pc" in files:
                self.pc = folder
            if "libstile-agent.so" in files:
                self.lib = folder
            if "camera.c" in files:
                self.example = os.path.join(folder, "camera.c")
        os.makedirs(w.path("device"))
        self.env = {"PKG_CONFIG_PATH": self.pc, "PKG_CONFIG_SYSROOT_DIR": self.root, "LD_LIBRARY_PATH": self.lib}

    def flags(self):
        return self.w.run("pkg-config", "--cflags", "--libs", "stile-agent", env=self.env).exits(0).out.split()

    def build(self):
        shutil.copy(self.example, self.w.path("device/camera.c"))
        cc = ["clang", *sanitizers()] if sanitizers() else ["cc"]
        self.w.run(*cc, "-Wall", "-Wextra", "-Werror", self.w.path("device/camera.c"), "-o", self.w.path("device/camera"), *self.flags(),
                   timeout=60).exits(0)
        return self.w.path("device/camera")


def line(process, begin):
    """The next line of its output, which must begin so."""
    said = process.stdout.readline()
    if not said.startswith(begin):
        raise Failed(f"    \"{said.strip()}\" instead of \"{begin}…\"; {process.stderr.read() if process.poll() is not None else ''}")
    return said


@case("the example builds outside of the tree with pkg-config, connects, carries bytes, and stops cleanly; it comes back with its key")
def _(w):
    installed = Installed(w)
    camera = installed.build()
    w.server()
    code = w.enrol("camera")["code"]
    env = {**os.environ, **installed.env, "NOTIFY_SOCKET": w.path("nobody-listens")}
    argv = [camera, w.path("keys"), f"127.0.0.1:{w.base}", code, str(w.job_port()), str(w.target_port())]
    for _ in range(2):  # the code is used up by the first: the second is let in by its key
        with Target(w.target_port(), echo):
            p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
            bound = threading.Timer(90, p.kill)
            bound.start()
            try:
                line(p, "libstile-agent 0.")
                line(p, "connected")
                if json.loads(line(p, "jobs ")[5:])["rows"][0]["target"] != f"127.0.0.1:{w.target_port()}":
                    raise Failed("    another job")
                with open(f"/proc/{p.pid}/status", encoding="utf-8") as f:
                    ignored = next(int(row.split()[1], 16) for row in f if row.startswith("SigIgn:"))
                if ignored & 1 << signal.SIGPIPE - 1:
                    raise Failed("    the library has the whole process ignore SIGPIPE")
                world.wait_for("the job's port", lambda: any(j["state"] == "active" for j in w.ask_verb("tunnel.jobs")["rows"]))
                with connect(w.job_port()) as c:
                    c.sendall(b"out of a camera")
                    if c.recv(100) != b"out of a camera":
                        raise Failed("    other bytes came back")
                out, err = p.communicate("", timeout=40)
            finally:
                bound.cancel()
                p.kill()
                p.wait()
            if p.returncode or "stopped" not in out:
                raise Failed(f"    status {p.returncode}\n{out}{err}")
    if os.stat(w.path("keys")).st_mode & 0o77:
        raise Failed("    others may look into the folder with the keys")


@case("the agent stops also when its folder is gone")
def _(w):
    installed = Installed(w)
    camera = installed.build()
    w.server()
    argv = [camera, w.path("keys"), f"127.0.0.1:{w.base}", w.enrol("camera")["code"], str(w.job_port()), str(w.target_port())]
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **installed.env})
    bound = threading.Timer(60, p.kill)
    bound.start()
    try:
        line(p, "libstile-agent 0.")
        line(p, "connected")
        shutil.rmtree(w.path("keys"))
        out, err = p.communicate("", timeout=40)
    finally:
        bound.cancel()
        p.kill()
        p.wait()
    if p.returncode or "stopped" not in out:
        raise Failed(f"    status {p.returncode}\n{out}{err}")


@case("a bad configuration is told by file, line and column; only the documented names are visible")
def _(w):
    installed = Installed(w)
    camera = installed.build()
    said = w.run(camera, w.path("keys"), "127.0.0.1:none", "x", "20000", "80", env=installed.env)
    said.exits(1).says("camera:", "conf.d/agent.yaml:3:")
    w.run(camera, "relative", "127.0.0.1:7443", "x", "20000", "80", env=installed.env).exits(1).says("absolute")
    out = w.run("nm", "-D", "--defined-only", os.path.join(installed.lib, "libstile-agent.so")).exits(0).out
    names = {row.split()[-1] for row in out.splitlines() if " T " in row}
    if names != NAMES and not sanitizers() or not NAMES <= names or any(n.startswith(("agent_", "cfg_", "wire_")) for n in names):
        raise Failed(f"    visible are {sorted(names)}")


sys.exit(main(29500))
