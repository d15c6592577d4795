# SPDX-License-Identifier: Apache-2.0
"""A telephone (baresip) as a program of a case: its settings, and its control connection (netstrings with JSON)."""
import json
import os
import socket

from sip_world import Program, wait_for

MODULES = "/usr/lib/baresip/modules"
SETTINGS = ["poll_method epoll", "audio_alert aubridge,x", "ausrc_srate 48000", "auplay_srate 48000", "ausrc_channels 2",
            "auplay_channels 2", f"module_path {MODULES}", "module opus.so", "module ausine.so", "module aubridge.so",
            "module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so"]


class Baresip(Program):
    """It has a folder of its name in the case's."""

    patience = 15  # until it listens

    def __init__(self, w, name, control, settings, ns=None, options=(), **files):
        """control: the address of its control connection; files: what else is in its folder."""
        self.folder, self.control = w.path(name), control
        os.makedirs(self.folder)
        for file, text in dict(files, config=[*SETTINGS, *settings, f"ctrl_tcp_listen {control[0]}:{control[1]}"]).items():
            w.write(f"{name}/{file}", "".join(line + "\n" for line in text))
        super().__init__(w, name, ["baresip", *options, "-f", self.folder], ns)

    def start(self, **more):
        super().start(**more)
        self.events, self.buffer = [], b""
        self.s = wait_for(f"{self.name} is ready", self.connect, self.patience)
        return self

    def connect(self):
        self.must_run()
        try:
            return socket.create_connection(self.control, timeout=5)
        except OSError:
            return None

    def tell(self, command, params=""):
        """A command of its menu."""
        m = json.dumps({"command": command, "params": params, "token": command}).encode()
        self.s.sendall(b"%d:%s," % (len(m), m))

    def listen(self):
        self.s.settimeout(0.05)
        try:
            self.buffer += self.s.recv(65536)
        except TimeoutError:
            pass
        while b":" in self.buffer:
            n, _, rest = self.buffer.partition(b":")
            if len(rest) <= int(n):
                return
            self.events.append(json.loads(rest[:int(n)]))
            self.buffer = rest[int(n) + 1:]

    def heard(self, kind):
        """Its events of this kind."""
        self.listen()
        return [e for e in self.events if e.get("type") == kind]
