# SPDX-License-Identifier: Apache-2.0
"""What strangers write into USERNAME stays one line of the log each, and is never a format string.
Advisory: format string."""
import re
import time

import stunwire as wire
from world import PASSWORD, USER, Failed, Watch, wait_for

LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug|trace) [a-z]+\.[a-z.-]+ [^\x00-\x1f\x7f]*$")
HOSTILE = [
    b"%n%n%n%n", b"%s%s%s%s%s%s%s%s", b"%1000000d", b"a\nb", b"a\r\n2026-01-01T00:00:00.000Z info service.ready forged",
    b"\x1b[2J\x1b]0;owned\x07", b"\0embedded\0nul", b"\xff\xfe\xc3\x28", b"\xed\xa0\x80", b"quote\" back\\slash =", b"\xe2\x80\xaeevil",
    b"x" * 508, b"\x01" * 508, b"\xf0\x9f\x98\x80" * 127, b"a\x7fb", b"\xc2\x85next", b"' OR 1=1 --", b"",
]


def lines_stay_lines(server):
    before = len(server.log_text())
    with Watch(server, {"refusals.credential": len(HOSTILE) // 2}) as watch, wire.Client(USER, PASSWORD, server.port) as client:
        client.request(wire.ALLOCATE)
        nonce, realm = client.nonce, client.realm
        for i, name in enumerate(HOSTILE):
            if i % 6 == 0:
                time.sleep(0.3)  # lines of one kind are held to twenty a second
            key = wire.long_term_key(name, realm, b"guess")
            client.transact(wire.signed(wire.ALLOCATE, [(wire.TRANSPORT, wire.UDP), (wire.USERNAME, name), (wire.REALM, realm),
                                                        (wire.NONCE, nonce)], key))
    wait_for("the log lines", lambda: server.log_text().count(b"turn.refused.", before) >= len(HOSTILE) - 2)
    fresh = server.log_text()[before:]
    for line in fresh.removesuffix(b"\n").split(b"\n"):
        try:
            line.decode()
        except UnicodeDecodeError:
            raise Failed(f"a line is not UTF-8: {line!r}") from None
        if not LINE.match(line) or b"\xc2\x85" in line or b"\xe2\x80\xae" in line:
            raise Failed(f"a line that is none: {line!r}")
    if b"%n%n%n%n" not in fresh or b"%1000000d" not in fresh:
        raise Failed("the names with per cent signs are not in the log as they came")
    forged = [line for line in fresh.split(b"\n") if re.match(rb"\S+ \S+ service\.ready", line)]
    if forged:
        raise Failed(f"a forged line: {forged[0]!r}")
    return f"{fresh.count(10)} lines; {watch.note}"


def matrix():
    yield "hostile user names stay one line each in the log", True, lines_stay_lines
