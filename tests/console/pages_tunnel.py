#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page Tunnel in Chromium against stile-tunnel, agents and TCP connections through them."""
import sys

from page_world import run
from tunnel_pages_world import Tunnels

if __name__ == "__main__":
    sys.exit(run(Tunnels, "pages_tunnel.mjs", 28450))
