# SPDX-License-Identifier: Apache-2.0
"""Runs a program as the unit says that systemd would: in_unit.py UNIT UID WRITABLE[:WRITABLE…] PROGRAM [ARGUMENT…]

PID 1 of a test machine need not be systemd, so what the unit's lines ask of it is done here, with the kernel's own means:
its system call filter (libseccomp; the sets as systemd-analyze knows them), address families, no memory that is
writable and executable, a read-only file system but for the folders named, capabilities, and the user. The names of the lines are
systemd.exec(5)'s; a line of [Service] that this program does not know ends it, lest one be added and never
tried."""
import ctypes
import errno
import os
import socket
import subprocess
import sys

ALLOW, ERRNO_EPERM = 0x7fff0000, 0x00050000 | errno.EPERM
CMP_EQ, CMP_MASKED_EQ = 4, 7
# Lines that are systemd's own affair, or whose effect nothing here can tell from another's.
NOT_OURS = {
    "Type", "ExecStart", "ExecReload", "WatchdogSec", "TimeoutStopSec", "Restart", "RestartPreventExitStatus", "RestartSec",
    "LimitNOFILE", "User", "Group", "RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve", "StateDirectory",
    "StateDirectoryMode", "LogsDirectory", "LogsDirectoryMode", "ConfigurationDirectory", "ConfigurationDirectoryMode",
    "ProtectHome", "ProtectHostname", "ProtectProc", "ProcSubset", "PrivateTmp", "PrivateUsers", "PrivateMounts",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "RemoveIPC", "KeyringMode",
    "SystemCallArchitectures", "SystemCallErrorNumber", "PrivateDevices", "DevicePolicy", "ProtectClock", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectKernelTunables", "ProtectControlGroups", "UMask",
}


class Arg(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def service_lines(unit):
    section, lines = None, []
    with open(unit, encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and line[0] != "#":
                lines.append(tuple(line.split("=", 1)))
    return lines


def set_of_calls(name):
    """The names in a set of systemd's, with the sets inside it."""
    out = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    calls = set()
    for line in out.splitlines()[1:]:
        word = line.strip()
        if word and word[0] != "#":
            calls |= set_of_calls(word) if word[0] == "@" else {word}
    return calls


def allowed_calls(filters):
    """First line lists what is allowed; a line that begins with ~ takes away."""
    calls = set_of_calls("@default")
    for f in filters:
        names = set()
        for word in f.lstrip("~").split():
            names |= set_of_calls(word) if word[0] == "@" else {word}
        calls = calls - names if f[0] == "~" else calls | names
    return calls


def filters(lines):
    """What loads them: made while this program may still read and run what it likes."""
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Arg)]

    def rule(ctx, action, call, *args):
        number = lib.seccomp_syscall_resolve_name(call.encode())
        if number >= 0 and lib.seccomp_rule_add_array(ctx, action, number, len(args), (Arg * max(len(args), 1))(*args)):
            sys.exit(f"in_unit: no rule for {call}")

    calls = ctypes.c_void_p(lib.seccomp_init(ERRNO_EPERM))
    for name in sorted(allowed_calls([v for k, v in lines if k == "SystemCallFilter"])):
        rule(calls, ALLOW, name)
    more = ctypes.c_void_p(lib.seccomp_init(ALLOW))
    if ("MemoryDenyWriteExecute", "yes") in lines:
        for call in ("mmap", "mprotect", "pkey_mprotect"):
            both = 0x6 if call == "mmap" else 0x4  # PROT_WRITE | PROT_EXEC; what became executable later
            rule(more, ERRNO_EPERM, call, Arg(2, CMP_MASKED_EQ, both, both))
    families = {f: getattr(socket, f) for k, v in lines if k == "RestrictAddressFamilies" for f in v.split()}
    for family in set(range(46)) - set(families.values()) if families else set():
        rule(more, 0x00050000 | errno.EAFNOSUPPORT, "socket", Arg(0, CMP_EQ, family, 0))

    def load():
        for ctx in (more, calls):  # the second one ends the right to load a third
            if lib.seccomp_load(ctx):
                sys.exit("in_unit: the kernel refuses the filter")
    return load


def mount(*argv):
    subprocess.run(["mount", *argv], check=True, capture_output=True)


def shut_file_system(lines, writable):
    """A mount namespace of its own: everything is read-only but the named folders."""
    if ("ProtectSystem", "strict") not in lines:
        return
    ctypes.CDLL(None).unshare(0x00020000)  # CLONE_NEWNS
    mount("--make-rprivate", "/")
    for folder in writable:
        mount("--bind", folder, folder)
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split()[1].encode().decode("unicode_escape") for line in f]
    for m in sorted(set(mounts)):
        if m not in writable and not m.startswith(("/proc", "/dev", "/sys")):
            subprocess.run(["mount", "-o", "remount,bind,ro", m], capture_output=True, check=m == "/")  # some cannot be


def become(uid, capabilities):
    """That user with these capabilities alone, which a program that it starts has too, and never more."""
    ng, libc = ctypes.CDLL("libcap-ng.so.0"), ctypes.CDLL(None)
    caps, bounds, ambient = 16, 32, 64  # capng_select_t
    everywhere = 1 | 2 | 4 | 8 | 16  # effective, permitted, inheritable, bounding, ambient
    ng.capng_clear(caps | bounds | ambient)
    for name in capabilities:
        ng.capng_update(1, everywhere, ng.capng_name_to_capability(name.lower().removeprefix("cap_").encode()))
    if ng.capng_apply(bounds) or ng.capng_change_id(uid, uid, 1) or ng.capng_apply(ambient):
        sys.exit("in_unit: cannot become the user")
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS


def main():
    unit, uid, writable, *program = sys.argv[1:]
    lines = service_lines(unit)
    known = {"NoNewPrivileges", "ProtectSystem", "RestrictAddressFamilies", "MemoryDenyWriteExecute", "SystemCallFilter",
             "CapabilityBoundingSet", "AmbientCapabilities"}
    strange = {k for k, _ in lines} - known - NOT_OURS
    if strange:
        sys.exit(f"in_unit: {unit} has lines that this program does not try: {', '.join(sorted(strange))}")
    shut_file_system(lines, writable.split(":"))
    load = filters(lines)
    become(int(uid), dict(lines)["AmbientCapabilities"].split())
    load()
    os.execv(program[0], program)


main()
