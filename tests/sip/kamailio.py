# SPDX-License-Identifier: Apache-2.0
"""Kamailio as a program of a case, and what the configurations of ours for it have in common."""
from sip_world import Program, need, wait_for

TLS = """[{side}:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
private_key = {key}
certificate = {certificate}
ca_list = {ca}
"""


def write_tls(w, name):
    """The path of a configuration for its module tls: it shows NAME's certificate and asks for the others', on both sides."""
    files = {"key": w.path(name + ".key"), "certificate": w.path(name + ".pem"), "ca": w.path("ca.pem")}
    return w.write(name + ".tls", "".join(TLS.format(side=side, **files) for side in ("server", "client")))


class Kamailio(Program):
    def __init__(self, w, text):
        need("kamailio")
        config = w.write("kamailio.cfg", text)
        super().__init__(w, "kamailio", ["kamailio", "-f", config, "-DD", "-E", "-m", "64", "-M", "8", "-Y", w.folder])

    def start_until(self, there, seconds):
        """Runs, and is there."""
        self.start()
        wait_for("Kamailio is there", lambda: self.must_run() or there(), seconds)
