#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a program in which the kernel refuses something, by a seccomp filter as a service manager or a container sets one:

  sandbox.py no-ipv4 PROGRAM …   socket(AF_INET, …) is EAFNOSUPPORT, as by systemd's RestrictAddressFamilies=
  sandbox.py no-ipv6 PROGRAM …   the same of AF_INET6
  sandbox.py no-landlock PROGRAM …   a kernel without Landlock
  sandbox.py no-threads PROGRAM …   a further thread is EAGAIN, as by TasksMax= or ulimit -u (which does not bind root)"""
import ctypes
import errno
import os
import socket
import struct
import sys

# Numbers of the system calls, by machine: socket, clone, clone3; of landlock_create_ruleset on all of them.
CALLS = {"x86_64": (41, 56, 435), "aarch64": (198, 220, 435)}
LANDLOCK = 444
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
NR, ARG0 = 0, 16  # offsets in struct seccomp_data; little endian
ALLOW, ERROR = 0x7fff0000, 0x00050000
CLONE_THREAD = 0x10000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
available = os.uname().machine in CALLS and sys.byteorder == "little"


def no_family(family):
    call = CALLS[os.uname().machine][0]
    return [(LOAD, 0, 0, NR), (EQUAL, 0, 3, call), (LOAD, 0, 0, ARG0), (EQUAL, 0, 1, int(family)),
            (RETURN, 0, 0, ERROR | errno.EAFNOSUPPORT), (RETURN, 0, 0, ALLOW)]


def no_landlock():
    return [(LOAD, 0, 0, NR), (EQUAL, 0, 1, LANDLOCK), (RETURN, 0, 0, ERROR | errno.ENOSYS), (RETURN, 0, 0, ALLOW)]


def no_threads():
    """clone3 hides its flags behind a pointer: it is said to be unknown, and the C library goes back to clone."""
    _, clone, clone3 = CALLS[os.uname().machine]
    return [(LOAD, 0, 0, NR), (EQUAL, 0, 1, clone3), (RETURN, 0, 0, ERROR | errno.ENOSYS), (EQUAL, 0, 3, clone),
            (LOAD, 0, 0, ARG0), (ANY_BIT, 0, 1, CLONE_THREAD), (RETURN, 0, 0, ERROR | errno.EAGAIN), (RETURN, 0, 0, ALLOW)]


def enter(rows):
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code)))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0):
        sys.exit(f"sandbox: no filter: {os.strerror(ctypes.get_errno())}")


KINDS = {"no-ipv4": lambda: no_family(socket.AF_INET), "no-ipv6": lambda: no_family(socket.AF_INET6), "no-landlock": no_landlock,
         "no-threads": no_threads}

if __name__ == "__main__":
    enter(KINDS[sys.argv[1]]())
    os.execv(sys.argv[2], sys.argv[2:])
