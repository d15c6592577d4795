# SPDX-License-Identifier: Apache-2.0
"""Scripts that run again in namespaces of their own: root only. inside() is for telephones that leave 127/8 alone: it has one
address that is not of loopback, and a default route, without which some of them think that there is no network."""
import os
import sys

HERE = "10.77.0.1"


def again(spaces, *lines):
    """This script once more, in new namespaces of these kinds that a shell has made ready with these lines."""
    if os.environ.get("STILE_SIP_INSIDE"):
        return
    os.environ["STILE_SIP_INSIDE"] = "1"
    script = "\n".join(["set -e", "ip link set lo up", *lines, 'exec "$@"'])
    os.execvp("unshare", ["unshare", *(f"--{space}" for space in spaces), "--", "sh", "-c", script, "sh", sys.executable, "-B", *sys.argv])


def names_from(address):
    """The lines after which a name server there is the only one; they need a mount namespace."""
    return ["mount -t tmpfs none /mnt", f"echo 'nameserver {address}' > /mnt/resolv.conf", "mount --bind /mnt/resolv.conf /etc/resolv.conf"]


def inside():
    """Again, in a namespace with an address that is not of loopback."""
    again(["net"], "ip link add v0 type veth peer name v1", f"ip addr add {HERE}/24 dev v0", "ip link set v0 up", "ip link set v1 up",
          "ip route add default via 10.77.0.2")
