#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The smuggling corpus: messages that two parsers could read differently, byte for byte, each with the verdict that it gets
on a stream and in a datagram.

Whatever must never be forwarded holds the word "smuggled", and what may be forwarded does not: so a test needs to know one
thing only. `smuggling.py --write` makes smuggling/NAME.bin, smuggling.h (the verdicts, for the unit test tests/unit/
sip_smuggling.c) and docs/reference/sip-smuggling.md; without an argument it compares them with what stands here. The
running proxy meets all of them in tests/sip/smuggling.py; the fuzz targets begin with them."""
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")

# What RFC 3261 and its extensions allow once only: name, compact form, a good value. The unit test holds this list against
# the rows of sip-proxy/header_rows.c.
SINGLE = [
    ("From", "f", "<sip:alice@uc.test>;tag=a"), ("To", "t", "<sip:bob@out.test>"), ("Call-ID", "i", "smuggled-too@test"),
    ("CSeq", None, "1 MESSAGE"), ("Max-Forwards", None, "70"), ("Expires", None, "60"), ("Min-Expires", None, "60"),
    ("Max-Breadth", None, "10"), ("Flow-Timer", None, "60"), ("Retry-After", None, "5"), ("Timestamp", None, "1"),
    ("Content-Length", "l", "0"), ("Content-Type", "c", "text/plain"), ("Content-Disposition", None, "render"),
    ("MIME-Version", None, "1.0"), ("Identity-Info", "n", "<https://a.test/c>;alg=rsa-sha1"), ("RAck", None, "1 1 INVITE"), ("RSeq", None, "1"),
    ("Event", "o", "presence"), ("Subscription-State", None, "active"), ("SIP-ETag", None, "e"), ("SIP-If-Match", None, "e"),
    ("Refer-To", "r", "<sip:c@out.test>"), ("Refer-Sub", None, "true"), ("Referred-By", "b", "<sip:c@out.test>"),
    ("Replaces", None, "a;to-tag=b;from-tag=c"), ("Join", None, "a;to-tag=b;from-tag=c"),
    ("Target-Dialog", None, "a;local-tag=b;remote-tag=c"), ("Session-Expires", "x", "1800"), ("Min-SE", None, "90"),
    ("Date", None, "Sat, 28 Nov 2026 12:00:00 GMT"), ("Organization", None, "O"), ("Priority", None, "urgent"),
    ("Reply-To", None, "<sip:c@out.test>"), ("Server", None, "s"), ("Subject", "s", "x"), ("User-Agent", None, "u"),
]
USUAL = {"Max-Forwards": "70", "From": "<sip:alice@uc.test>;tag=a", "To": "<sip:bob@out.test>", "CSeq": "1 MESSAGE"}
LINE = "MESSAGE sip:bob@out.test SIP/2.0"
ROWS, FRAMES = [], []


def text(s):
    """Latin-1, so that each byte can be written."""
    return s.encode("latin-1")


def message(name, *more, line=LINE, body="", good=False, leave_out=(), first=(), eol="\r\n", **replace):
    """A MESSAGE to out.test. more: lines at the end of the head, first: in front of all; a Content-Length that is right, unless a
    line says another, or leave_out that there shall be none."""
    fields = {"Via": f"SIP/2.0/TCP client.uc.test;branch=z9hG4bK{name};rport", **USUAL,
              "Call-ID": f"{'good' if good else 'smuggled'}-{name}@test", **{k.replace("_", "-"): v for k, v in replace.items()}}
    lines = [line, *first] + [f"{k}: {v}" for k, v in fields.items() if k not in leave_out] + list(more)
    if "Content-Length" not in leave_out and not any(re.match(r"(content-length|l)[ \t]*:", x, re.I) for x in more):
        lines.append(f"Content-Length: {len(body)}")
    return text(eol.join(lines) + eol + eol + body)


def add(name, data, stream, datagram=None, why="", before=0):
    """stream, datagram: verdicts, None: it is not said that way. before: so many good messages stand in front on a stream."""
    ROWS.append((name, data, stream, datagram, before, why))


def both(name, verdict, why, *more, **keys):
    add(name, message(name, *more, **keys), verdict, verdict, why)


def duplicates():
    for name, compact, value in SINGLE:
        slug = name.lower()
        in_usual = name in USUAL or name in ("Call-ID", "Content-Length")
        pair = [f"{name}: {value}"] * (1 if in_usual else 2)
        keys = {"first": [f"{name}: 0"]} if name == "Content-Length" else {}
        both(f"twice-{slug}", "SIP_DUPLICATE", f"{name} twice", *pair, **keys)
        pair[-1] = f"{name.swapcase()} \t:{value}"
        both(f"twice-{slug}-case", "SIP_DUPLICATE", f"{name} twice, once in other letters", *pair, **keys)
        if compact:
            pair[-1] = f"{compact}: {value}"
            both(f"twice-{slug}-compact", "SIP_DUPLICATE", f"{name} and its compact form", *pair, **keys)


def names():
    for slug, name, verdict in (
            ("soh", "To\x01", "SIP_BAD_VALUE"), ("nul", "To\0", "SIP_BAD_VALUE"), ("nul-inside", "T\0o", "SIP_BAD_VALUE"),
            ("del", "To\x7f", "SIP_BAD_VALUE"), ("vt", "To\v", "SIP_BAD_VALUE"), ("ff", "To\f", "SIP_BAD_VALUE"),
            ("backspace", "Tx\bo", "SIP_BAD_VALUE"), ("high", "To\x80", "SIP_BAD_NAME"), ("nbsp", "To\xa0", "SIP_BAD_NAME"),
            ("utf8", "T\xc3\xb6", "SIP_BAD_NAME"), ("fullwidth-colon", "To\xef\xbc\x9a", "SIP_BAD_NAME"), ("blank", "T o", "SIP_BAD_NAME"),
            ("tab", "T\to", "SIP_BAD_NAME"), ("parenthesis", "To(", "SIP_BAD_NAME"), ("quoted", '"To"', "SIP_BAD_NAME"),
            ("semicolon", "To;", "SIP_BAD_NAME"), ("comma", "To,", "SIP_BAD_NAME"), ("slash", "To/", "SIP_BAD_NAME"),
            ("hash", "X#", "SIP_BAD_NAME"), ("pipe", "X|", "SIP_BAD_NAME"), ("empty", "", "SIP_BAD_NAME"), ("backslash", "To\\", "SIP_BAD_NAME"),
            ("escaped-nul", "To\\\0", "SIP_BAD_VALUE"), ("length-nul", "Content-Length\0", "SIP_BAD_VALUE"),
            ("length-high", "Content-Length\xad", "SIP_BAD_NAME"), ("via-soh", "\x01Via", "SIP_BAD_VALUE")):
        both(f"name-{slug}", verdict, f"a name that is {ascii(name)}", f"{name}: 5")
    both("name-no-colon", "SIP_BAD_NAME", "a line without a colon", "To")
    both("name-colon-on-next-line", "SIP_BAD_NAME", "the colon on a continuing line", "Content-Length\r\n : 5")
    both("name-first-line-folded", "SIP_BAD_NAME", "the first header is a continuation of nothing", first=[" Content-Length: 5"])
    both("name-blank-line-first", "SIP_BAD_NAME", "a line of a blank behind the start line", first=[" "])


def line_ends():
    for slug, bad, verdict in (
            ("lf-in-value", "Subject: a\nTo: <sip:eve@out.test>", "SIP_BAD_LINE_END"), ("cr-in-value", "Subject: a\rTo: <sip:eve@out.test>", "SIP_BAD_LINE_END"),
            ("lf-fold", "Subject: a\n b", "SIP_BAD_LINE_END"), ("cr-fold", "Subject: a\r b", "SIP_BAD_LINE_END"),
            ("cr-cr-lf", "Subject: a\r", "SIP_BAD_LINE_END"), ("lf-cr", "Subject: a\n\r b", "SIP_BAD_LINE_END"),
            ("lf-lf", "Subject: a\n\nContent-Length: 5", "SIP_BAD_LINE_END"), ("crlf-lf", "Subject: a\r\n\nMESSAGE sip:eve@out.test SIP/2.0", "SIP_BAD_LINE_END"),
            ("cr-nul-lf", "Subject: a\r\0\nb", "SIP_BAD_LINE_END"), ("vt", "Subject: a\vTo: <sip:eve@out.test>", "SIP_BAD_VALUE"),
            ("ff", "Subject: a\fTo: b", "SIP_BAD_VALUE"), ("escaped-lf", 'Subject: "a\\\nTo: b"', "SIP_BAD_LINE_END"),
            ("escaped-cr", 'Subject: "a\\\rTo: b"', "SIP_BAD_LINE_END")):
        both(f"end-{slug}", verdict, f"{ascii(bad)}", bad)
    both("end-all-lf", "SIP_BAD_LINE_END", "LF for every line end", eol="\n")
    both("end-all-cr", "SIP_BAD_LINE_END", "CR for every line end, then CRLF CRLF", "X: y\r\n\r\n", eol="\r")
    both("end-all-lf-cr", "SIP_BAD_LINE_END", "LF CR for every line end", eol="\n\r")
    both("end-start-line-lf", "SIP_BAD_LINE_END", "LF behind the start line", line=LINE + "\nX: y")
    both("end-start-line-cr", "SIP_BAD_LINE_END", "CR in the start line", line="MESSAGE sip:bob@out.test\r SIP/2.0")


def lengths():
    for slug, value in (
            ("empty", ""), ("negative", "-1"), ("minus-zero", "-0"), ("plus", "+5"), ("hex", "0x5"), ("hex-digits", "a"), ("exponent", "5e0"),
            ("point", "5.0"), ("list", "5, 5"), ("list-differing", "0, 5"), ("2-31", str(1 << 31)), ("2-32", str(1 << 32)), ("2-32-and-5", str((1 << 32) + 5)),
            ("2-63", str(1 << 63)), ("2-64", str(1 << 64)), ("2-64-and-5", str((1 << 64) + 5)), ("30-digits", "1" + "0" * 29 + "5"),
            ("blank-inside", "1 0"), ("folded-inside", "1\r\n 0"), ("parameter", "5;x=1"), ("quoted", '"5"'), ("brackets", "<5>"),
            ("words", "five"), ("arabic", "\xd9\xa5"), ("nbsp", "\xa05"), ("comment", "5 (five)")):
        both(f"length-{slug}", "SIP_BAD_CONTENT_LENGTH", f"Content-Length: {ascii(value)}", f"Content-Length: {value}", body="hello")
    for slug, value in (("nul", "5\0"), ("nul-first", "\x005"), ("soh", "5\x01")):
        both(f"length-{slug}", "SIP_BAD_VALUE", f"Content-Length: {ascii(value)}", f"Content-Length: {value}", body="hello")
    both("length-beyond-limit", "SIP_BODY_TOO_LONG", "2^31-1, which no body has here", "Content-Length: 2147483647", body="hello")
    both("length-twice-differing", "SIP_DUPLICATE", "two, and they differ", "Content-Length: 5", "Content-Length: 0", body="hello")
    both("length-compact-differing", "SIP_DUPLICATE", "the full and the compact form, and they differ", "Content-Length: 0", "l: 5", body="hello")
    both("length-three", "SIP_DUPLICATE", "three of them", "l: 5", "L: 5", "content-length: 5", body="hello")
    # on a datagram the body is the rest (RFC 3261 18.3)
    add("length-missing", message("length-missing", body="hello", leave_out=["Content-Length"]), "SIP_NO_CONTENT_LENGTH", None, "none at all")
    add("length-missing-no-body", message("length-missing-no-body", leave_out=["Content-Length"]), "SIP_NO_CONTENT_LENGTH", None, "none, and no body")
    add("length-in-a-fold", message("length-in-a-fold", "Subject: a\r\n Content-Length: 5", body="hello", leave_out=["Content-Length"]),
        "SIP_NO_CONTENT_LENGTH", None, "it stands in a continuing line of another header")
    add("length-in-the-body", message("length-in-the-body", body="Content-Length: 5\r\n\r\nhello", leave_out=["Content-Length"]),
        "SIP_NO_CONTENT_LENGTH", None, "it stands behind the empty line")
    add("length-chunked", message("length-chunked", "Transfer-Encoding: chunked", body="5\r\nhello\r\n0\r\n\r\n", leave_out=["Content-Length"]),
        "SIP_NO_CONTENT_LENGTH", None, "chunked, as in HTTP: SIP has none (RFC 3261 7.4.2)")
    add("length-beyond-datagram", message("length-beyond-datagram", "Content-Length: 500", body="hello"), "SIP_INCOMPLETE", "SIP_SHORT_BODY",
        "longer than what comes: on a stream the rest is waited for, and never does")


def folding():
    both("fold-start-line", "SIP_NOT_SIP", "the start line goes on in the next", line="MESSAGE sip:bob@out.test\r\n SIP/2.0")
    both("fold-start-line-tab", "SIP_NOT_SIP", "the same with a tab", line="MESSAGE\r\n\tsip:bob@out.test SIP/2.0")
    both("fold-header-in-to", "SIP_BAD_TO", "a second header that continues To", To="<sip:bob@out.test>\r\n To: <sip:eve@out.test>")
    both("fold-via-in-via", "SIP_BAD_VIA", "a second Via that continues the first",
         Via="SIP/2.0/TCP client.uc.test;branch=z9hG4bKfold\r\n Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    both("fold-call-id", "SIP_BAD_CALL_ID", "a Call-ID of two lines", Call_ID="smuggled-\r\n fold-call-id@test")
    both("fold-cseq", "SIP_CSEQ_METHOD", "a method that goes on", CSeq="1\r\n MESSAG")
    both("fold-uri", "SIP_BAD_TO", "a URI that goes on in the next line", To="<sip:bob\r\n @out.test>")
    both("fold-max-forwards", "SIP_BAD_MAX_FORWARDS", "a number of two lines", Max_Forwards="7\r\n 0")
    both("fold-of-lf", "SIP_BAD_LINE_END", "a fold made of a bare LF", From="<sip:alice@uc.test>\n ;tag=a")


def controls():
    for slug, bad in (
            ("nul-in-value", "Subject: a\0b"), ("nul-at-end", "Subject: a\0"), ("nul-alone", "Subject: \0"), ("nul-line", "\0"),
            ("nul-quoted", 'Subject: "a\0b"'), ("escaped-nul-unquoted", "Subject: a\\\0b"), ("escaped-soh-unquoted", "Subject: a\\\x01b"),
            ("escaped-nul-behind-quotes", 'Subject: "a" \\\0b'), ("escaped-nul-behind-folded-quotes", 'Subject: "a\r\n b" \\\0c'), ("escaped-escape-nul", 'Subject: "a\\\\\0b"'), ("esc", "Subject: \x1b[2Ja"),
            ("backspace", "Subject: a\b"), ("del", "Subject: a\x7f"), ("in-fold", "Subject: a\r\n b\0")):
        both(f"control-{slug}", "SIP_BAD_VALUE", f"{ascii(bad)}", bad)
    for slug, line in (("nul-in-method", "MESS\0AGE sip:bob@out.test SIP/2.0"), ("nul-in-uri", "MESSAGE sip:bob\0@out.test SIP/2.0"),
                       ("nul-at-end-of-line", LINE + "\0"), ("escaped-nul-in-line", "MESSAGE sip:bob\\\0@out.test SIP/2.0")):
        both(f"control-{slug}", "SIP_BAD_VALUE", f"{ascii(line)}", line=line)
    both("control-nul-via", "SIP_BAD_VALUE", "NUL in Via", Via="SIP/2.0/TCP client.uc.test\0.evil.test;branch=z9hG4bKa")
    both("control-nul-from", "SIP_BAD_VALUE", "NUL in the host of From", From="<sip:ceo@uc.test\0.evil.test>;tag=a")


def start_lines():
    for slug, line, verdict in (
            ("two-blanks", "MESSAGE  sip:bob@out.test SIP/2.0", "SIP_BAD_START_LINE"), ("two-blanks-behind", "MESSAGE sip:bob@out.test  SIP/2.0", "SIP_BAD_START_LINE"),
            ("tab", "MESSAGE\tsip:bob@out.test\tSIP/2.0", "SIP_NOT_SIP"), ("trailing-blank", LINE + " ", "SIP_BAD_START_LINE"),
            ("trailing-tab", LINE + "\t", "SIP_BAD_START_LINE"), ("two-lines-in-one", LINE + " " + LINE, "SIP_BAD_START_LINE"),
            ("brackets", "MESSAGE <sip:bob@out.test> SIP/2.0", "SIP_BAD_URI"), ("quotes", 'MESSAGE "sip:bob@out.test" SIP/2.0', "SIP_BAD_URI"),
            ("blank-in-uri", "MESSAGE sip:bob @out.test SIP/2.0", "SIP_BAD_START_LINE"), ("separator-in-method", "MESS(AGE sip:bob@out.test SIP/2.0", "SIP_BAD_START_LINE"),
            ("colon-in-method", "MESSAGE: sip:bob@out.test SIP/2.0", "SIP_BAD_START_LINE"), ("high-in-uri", "MESSAGE sip:b\xc3\xb6b@out.test SIP/2.0", "SIP_BAD_START_LINE"),
            ("version-2.00", "MESSAGE sip:bob@out.test SIP/2.00", "SIP_BAD_VERSION"), ("version-02.0", "MESSAGE sip:bob@out.test SIP/02.0", "SIP_BAD_VERSION"),
            ("version-2.0.0", "MESSAGE sip:bob@out.test SIP/2.0.0", "SIP_BAD_START_LINE"), ("version-1.1", "MESSAGE sip:bob@out.test SIP/1.1", "SIP_BAD_VERSION"),
            ("headers-in-uri", "MESSAGE sip:bob@out.test?Route=%3Csip:eve.test%3E SIP/2.0", "SIP_BAD_URI"),
            ("two-hosts", "MESSAGE sip:bob@out.test@evil.test SIP/2.0", "SIP_BAD_URI"), ("parameter-twice", "MESSAGE sip:bob@out.test;transport=tcp;transport=udp SIP/2.0", "SIP_BAD_URI"),
            ("port-beyond", "MESSAGE sip:bob@out.test:65536 SIP/2.0", "SIP_BAD_URI"), ("port-wraps", "MESSAGE sip:bob@out.test:4294972356 SIP/2.0", "SIP_BAD_URI"),
            ("escape-cut", "MESSAGE sip:bo%0@out.test SIP/2.0", "SIP_BAD_URI")):
        both(f"line-{slug}", verdict, f"{ascii(line)}", line=line)
    both("line-cseq-method", "SIP_CSEQ_METHOD", "CSeq names another method", CSeq="1 INVITE")
    both("line-cseq-case", "SIP_CSEQ_METHOD", "CSeq names it in other letters", CSeq="1 message")
    both("line-cseq-beyond", "SIP_BAD_CSEQ", "a number beyond 2^31", CSeq="2147483648 MESSAGE")
    both("via-branch-twice", "SIP_BAD_VIA", "two branches", Via="SIP/2.0/TCP client.uc.test;branch=z9hG4bKa;branch=z9hG4bKb;rport")
    both("via-received-twice", "SIP_BAD_VIA", "received twice", Via="SIP/2.0/TCP client.uc.test;branch=z9hG4bKa;received=192.0.2.1;received=192.0.2.2")
    both("from-tag-twice", "SIP_BAD_FROM", "two tags", From="<sip:alice@uc.test>;tag=a;tag=b")
    both("to-quote-open", "SIP_BAD_TO", "a quote that does not end", To='"bob <sip:bob@out.test>')
    both("to-two-addresses", "SIP_BAD_TO", "two addresses in To", To="<sip:bob@out.test>, <sip:eve@out.test>")
    both("to-two-brackets", "SIP_BAD_TO", "two pairs of brackets", To="<sip:bob@out.test><sip:eve@out.test>")
    both("route-bare", "SIP_BAD_ROUTE", "a Route without brackets", "Route: sip:127.0.0.1;lr")


def pipelines():
    good = message("pipe-before", good=True)
    for slug, bad, verdict in (
            ("length", message("pipe-length", "Content-Length: -1"), "SIP_BAD_CONTENT_LENGTH"),
            ("duplicate", message("pipe-duplicate", "To: <sip:eve@out.test>"), "SIP_DUPLICATE"),
            ("name", message("pipe-name", "To\x01: x"), "SIP_BAD_VALUE"),
            ("lf", message("pipe-lf", "Subject: a\nb"), "SIP_BAD_LINE_END"),
            ("missing", message("pipe-missing", leave_out=["Content-Length"]), "SIP_NO_CONTENT_LENGTH"),
            ("http", b"POST / HTTP/1.1\r\nHost: smuggled\r\nContent-Length: 0\r\n\r\n", "SIP_NOT_SIP"),
            ("tls", b"\x16\x03\x01\0\x05smuggled\r\n\r\n", "SIP_BAD_VALUE"),
            ("nul", b"\0" + message("pipe-nul"), "SIP_BAD_VALUE"),
            ("lf-first", b"\n" + message("pipe-lf-first"), "SIP_BAD_LINE_END"),
            ("blank-first", b" " + message("pipe-blank-first"), "SIP_NOT_SIP")):
        after = message(f"pipe-{slug}-after")
        add(f"pipe-{slug}", bad + after, verdict, None, "a bad message, and a good one behind it: the connection is over")
        add(f"pipe-{slug}-between", good + bad + after, verdict, None, "a good one, a bad one, a good one: the first is taken", before=1)
    short = message("pipe-before", "Content-Length: 2", good=True, body="hi")
    add("pipe-length-too-small", short + b"smuggled tail\r\n\r\n" + message("pipe-too-small-after"), "SIP_NOT_SIP", None,
        "Content-Length is less than the body: the rest is no message", before=1)
    add("pipe-body-is-a-message", message("pipe-body", "Content-Length: 5", "Content-Length: 0", body=message("pipe-inner").decode("latin-1")),
        "SIP_DUPLICATE", None, "two lengths, and a message in the body")
    # a datagram is one message
    two = message("pipe-datagram", good=True) + message("pipe-datagram-second")
    add("datagram-two", two, None, "SIP_OK", "two messages in one datagram: the second is dropped")
    add("datagram-tail", message("datagram-tail", good=True, body="hi") + b"smuggled", None, "SIP_OK", "bytes behind the body are dropped")
    add("datagram-length-zero", message("datagram-zero", "Content-Length: 0", good=True) + b"smuggled", None, "SIP_OK", "a body that Content-Length denies is dropped")


def frame(data, op=1, final=True, mask=b"\1\2\3\4", bits=0, length=None, size=None):
    """length: what the head says, size: in which form (7, 16 or 64 bits)."""
    n = len(data) if length is None else length
    size = size or (7 if n < 126 else 16 if n < 65536 else 64)
    head = bytes([(0x80 if final else 0) | bits | op, (0x80 if mask else 0) | (n if size == 7 else 126 if size == 16 else 127)])
    head += b"" if size == 7 else struct.pack("!H" if size == 16 else "!Q", n)
    return head + (mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if mask else data)


def add_frame(name, data, end, why):
    """end: the close code, or the code of the SIP response after which the connection ends."""
    FRAMES.append((name, data, end, why))


def frames():
    sip = message("ws", Via="SIP/2.0/WS a.invalid;branch=z9hG4bKws")
    after = frame(message("ws-after", Via="SIP/2.0/WS a.invalid;branch=z9hG4bKwsafter"))
    for slug, data, end, why in (
            ("unmasked", frame(sip, mask=None), 1002, "a frame that is not masked"),
            ("rsv1", frame(sip, bits=0x40), 1002, "a reserved bit"), ("rsv2", frame(sip, bits=0x20), 1002, "a reserved bit"),
            ("rsv3", frame(sip, bits=0x10), 1002, "a reserved bit"), ("opcode-3", frame(sip, op=3), 1002, "an opcode of the future"),
            ("opcode-11", frame(b"smuggled", op=11), 1002, "a control opcode of the future"), ("opcode-15", frame(b"smuggled", op=15), 1002, "the same"),
            ("part-of-none", frame(sip, op=0), 1002, "a part of no message"),
            ("part-of-none-open", frame(sip, op=0, final=False), 1002, "a part of no message, which goes on"),
            ("new-within", frame(sip[:20], final=False) + frame(sip), 1002, "a message begins within another"),
            ("ping-in-parts", frame(b"smuggled", op=9, final=False), 1002, "a control frame in parts"),
            ("ping-long", frame(b"smuggled" * 16, op=9), 1002, "a control frame of more than 125 bytes"),
            ("close-long", frame(b"smuggled" * 16, op=8), 1002, "the same"),
            ("close-of-one-byte", frame(b"\x03", op=8), 1002, "half a close code"),
            ("length-16-for-7", frame(b"smuggled", size=16), 1002, "a length that would fit seven bits, in sixteen"),
            ("length-64-for-7", frame(b"smuggled", size=64), 1002, "in sixty-four"),
            ("length-64-for-16", frame(sip, size=64), 1002, "one that would fit sixteen bits, in sixty-four"),
            ("length-2-63", frame(sip, length=1 << 63, size=64), 1002, "the highest bit of the length"),
            ("length-all-bits", frame(sip, length=(1 << 64) - 1, size=64), 1002, "every bit of the length"),
            ("length-beyond", frame(sip, length=1 << 40, size=64), 1009, "longer than a message may be"),
            ("text-not-utf8", frame(message("ws", "Subject: a\xff", Via="SIP/2.0/WS a.invalid;branch=z9hG4bKws")), 1007, "text that is not UTF-8"),
            ("text-not-utf8-in-parts", frame(sip[:20], final=False) + frame(b"\xc3\r\n" + sip, op=0), 1007, "the same in parts"),
            ("sip-duplicate", frame(message("ws", "To: <sip:eve@out.test>")), 400, "a message with two To"),
            ("sip-duplicate-in-parts", frame(message("ws", "To: <sip:eve@out.test>")[:40], final=False)
             + frame(message("ws", "To: <sip:eve@out.test>")[40:], op=0), 400, "the same in parts"),
            ("sip-length-beyond", frame(message("ws", "Content-Length: 500", body="hello")), 400, "a Content-Length beyond the frame"),
            ("sip-length-negative", frame(message("ws", "Content-Length: -1")), 400, "a negative one"),
            ("sip-name", frame(message("ws", "To\x01: x")), 400, "a name with a control character"),
            ("sip-lf", frame(message("ws", "Subject: a\nb")), 400, "a bare LF"),
            ("no-frame", sip, 1002, "SIP without a frame"),
            ("not-sip", frame(b"{\"smuggled\": true}"), 0, "what is no SIP at all")):
        add_frame(f"ws-{slug}", data + after, end, why)
    head = ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n%s\r\n")
    for slug, more, why in (("body", "Content-Length: 5\r\n", "an upgrade with a body"), ("chunked", "Transfer-Encoding: chunked\r\n", "the same, chunked"),
                            ("host-twice", "Host: b\r\n", "Host twice"), ("key-twice", "Sec-WebSocket-Key: BAAAAAAAAAAAAAAAAAAAAA==\r\n", "the key twice"),
                            ("fold", "X: a\r\n b\r\n", "a folded header"), ("lf", "X: a\nY: b\r\n", "a bare LF"), ("blank-colon", "X : a\r\n", "a blank before the colon"),
                            ("nul", "X: a\0b\r\n", "NUL"), ("name", "Host\x01: b\r\n", "a name with a control character")):
        FRAMES.append((f"http-{slug}", text(head % more) + after, 400, why))


for part in (duplicates, names, line_ends, lengths, folding, controls, start_lines, pipelines, frames):
    part()


def codes():
    """verdict → the code of its response, from sip-proxy/verdicts.c."""
    with open(os.path.join(ROOT, "sip-proxy", "verdicts.c"), encoding="utf-8") as f:
        return {v: int(c) for v, c in re.findall(r"^\t\[(SIP_\w+)\]\s*=\s*\{ (\d+),", f.read(), re.M)}


# Faults of what a header says leave the framing whole: 400, and the connection goes on.
FRAMING_HOLDS = re.compile(r"SIP_(CSEQ_METHOD|URI_SCHEME|BAD_(VIA|FROM|TO|CALL_ID|CSEQ|MAX_FORWARDS|ROUTE|URI))$")
# Nothing of these can be answered: Via, From or more cannot be read.
NO_ANSWER = {"end-all-lf", "end-all-cr", "end-all-lf-cr", "control-nul-via", "control-nul-from", "fold-via-in-via", "fold-of-lf", "via-branch-twice",
             "via-received-twice", "pipe-tls", "pipe-tls-between"}
# A datagram that does not begin with a token is garbage, whatever follows.
NO_ANSWER_UDP = NO_ANSWER | {"control-nul-in-method", "line-separator-in-method", "line-colon-in-method"}


def header():
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */", "/* Made by smuggling.py --write: the verdicts of tests/torture/smuggling/. */", "#pragma once",
             '#include "sip-proxy/msg.h"', "", "struct smuggling_row {", "\tconst char *file;",
             "\tint stream, datagram; /* enum sip_verdict; -1: it is not said that way */",
             "\tunsigned before;      /* good messages in front of it, on the stream */", "};", "", "/* clang-format off */",
             "static const struct smuggling_row smuggling_rows[] = {"]
    lines += [f'\t{{ "{name}", {stream or -1}, {datagram or -1}, {before} }},' for name, _, stream, datagram, before, _ in ROWS]
    lines += ["};", "", "struct smuggling_frames {", "\tconst char *file;",
              "\tint end; /* the close code; a code of SIP (400) or 0: the frames are good, the message is not; of HTTP for http-* */", "};", "",
              "static const struct smuggling_frames smuggling_frames[] = {"]
    lines += [f'\t{{ "{name}", {end} }},' for name, _, end, _ in FRAMES]
    return "\n".join(lines + ["};", "/* clang-format on */", ""])


PAGE_HEAD = """# What two parsers could read differently

Made by `tests/torture/smuggling.py --write`; the bytes are in `tests/torture/smuggling/`. None of these is ever forwarded, in
whole or in part. `tests/unit/sip_smuggling.c` holds the parser to it, `tests/sip/smuggling.py` a running `stile-sip` over UDP,
TCP, TLS and WebSocket. *closed*: the connection ends, and nothing behind the message is read. A dash: it is not said that way.

| message | over TCP and TLS | over UDP | what is wrong |
|---|---|---|---|
"""


def said(name, verdict, stream):
    if not verdict:
        return "–"
    if verdict == "SIP_OK":
        return "forwarded without it"
    if verdict == "SIP_INCOMPLETE":
        return "waited for, then closed"
    code = codes()[verdict]
    answer = str(code) if code and name not in (NO_ANSWER if stream else NO_ANSWER_UDP) else "no answer" if stream else "dropped"
    return answer + (", closed" if stream and not FRAMING_HOLDS.match(verdict) else "")


def page():
    def cell(s):
        return s.replace("|", "\\|")
    rows = [f"| `{name}` | {said(name, stream, True)} | {said(name, datagram, False)} | {cell(why)} |\n" for name, _, stream, datagram, _, why in ROWS]
    rows += ["\n| over WebSocket | the connection ends with | what is wrong |\n|---|---|---|\n"]
    rows += [f"| `{name}` | {end if end else 'nothing'} | {cell(why)} |\n" for name, _, end, why in FRAMES]
    return PAGE_HEAD + "".join(rows)


def files():
    yield os.path.join(HERE, "smuggling.h"), header().encode()
    yield os.path.join(ROOT, "docs", "reference", "sip-smuggling.md"), page().encode()
    for name, data, *_ in ROWS + FRAMES:
        yield os.path.join(HERE, "smuggling", name + ".bin"), data


def main():
    wrong, wanted = 0, dict(files())
    assert len(wanted) == len(ROWS) + len(FRAMES) + 2, "a name is there twice"
    folder = os.path.join(HERE, "smuggling")
    os.makedirs(folder, exist_ok=True)
    for path, data in wanted.items():
        if sys.argv[1:] == ["--write"]:
            with open(path, "wb") as f:
                f.write(data)
        elif not os.path.exists(path) or open(path, "rb").read() != data:
            print(f"{path} is not what smuggling.py says")
            wrong += 1
    for name in os.listdir(folder):
        if os.path.join(folder, name) not in wanted:
            print(f"{name} is in no row")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
