# SPDX-License-Identifier: Apache-2.0
"""For telephones that leave 127/8 alone: the script runs again in a network namespace of its own, which has one address that is
not of loopback, and a default route, without which some of them think that there is no network. Root only."""
import os
import sys

HERE = "10.77.0.1"


def inside():
    """Again, in a namespace with an address that is not of loopback."""
    if os.environ.get("STILE_SIP_INSIDE"):
        return
    os.environ["STILE_SIP_INSIDE"] = "1"
    script = (f"ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add {HERE}/24 dev v0 && ip link set v0 up && "
              "ip link set v1 up && ip route add default via 10.77.0.2 && exec \"$@\"")
    os.execvp("unshare", ["unshare", "--net", "--", "sh", "-c", script, "sh", sys.executable, "-B", *sys.argv])
