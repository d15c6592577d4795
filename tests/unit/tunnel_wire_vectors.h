/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden vectors of the tunnel's wire format, version 1, written by hand from the tables of
 * docs/decisions/0016-tunnel-wire-format.md: whole frames, and the verdict on them. A good frame stands here as the
 * canonical writer would write it: fields in the order of their table, absent ones left out. These bytes do not change
 * while the version is 1.
 */
#pragma once
#include "tunnel/link/wire.h"

struct wire_vector {
	const char *name;
	unsigned way, where;
	enum wire_error error;
	const char *bytes;
	size_t n;
};
/* clang-format off */
#define W(name, way, where, error, bytes) { name, WIRE_##way, WIRE_##where, WIRE_##error, bytes, sizeof(bytes) - 1 }

#define B16 "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
#define B32 B16 "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
#define V6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define F_VERSION "\0\x01\0\x02\0\x01"
#define F_CONTROL "\0\x03\0\x01\x01"
#define F_CARRIER "\0\x03\0\x01\x02"
#define F_INSTANCE "\0\x05\0\x10" B16
#define F_STREAM7 "\0\x01\0\x08\0\0\0\0\0\0\0\x07"
#define F_ID5 "\0\x01\0\x04\0\0\0\x05"

static const struct wire_vector wire_good[] = {
	W("the least HELLO of a control connection", TO_SERVER, IN_HELLO, OK, "\x01\0\0\x1f" F_VERSION F_CONTROL F_INSTANCE),
	W("a HELLO that says all", TO_SERVER, IN_HELLO, OK, "\x01\0\0\x5b" F_VERSION "\0\x02\0\x02\0\x01" F_CONTROL
	  "\0\x04\0\x08\x80\0\0\0\0\0\0\x03" F_INSTANCE "\0\x07\0\x07site-17" "\x80\x01\0\x05stile" "\x80\x02\0\x03h-1"
	  "\x80\x03\0\x06\x0a\x01\0\x02\x1d\x13" "\x80\x04\0\x01\x01"),
	W("HELLO of a carrier", TO_SERVER, IN_HELLO, OK, "\x01\0\0\x2b" F_VERSION F_CARRIER F_INSTANCE "\0\x06\0\x08\0\0\0\x01\0\0\0\x02"),
	W("WELCOME of a carrier", TO_AGENT, IN_HELLO, OK, "\x02\0\0\x06" F_VERSION),
	W("WELCOME of a control connection", TO_AGENT, IN_HELLO, OK, "\x02\0\0\x93" F_VERSION "\0\x03\0\x08\0\0\0\0\0\0\0\x09" "\0\x04\0\x01m"
	  "\0\x05\0\x04\0\x40\0\0" "\0\x06\0\x04\0\0\x75\x30" "\0\x07\0\x20" B32 "\x80\x01\0\x0c" "Control room" "\x80\x02\0\x09" "t.example"
	  "\x80\x03\0\x12" V6 "\x1f\x90" "\x80\x04\0\x04\x4e\x20\x75\x2f" "\x80\x04\0\x04\x1f\x90\x1f\x90" "\x80\x05\0\x01" "p"),
	W("REFUSED", TO_AGENT, IN_CONTROL, OK, "\x03\0\0\x14" "\0\x01\0\x01\x05" "\0\x02\0\x03" "two" "\0\x03\0\x04\0\0\0\x3c"),
	W("PENDING", TO_AGENT, IN_HELLO, OK, "\x04\0\0\x48" "\0\x01\0\x20" B32 "\0\x02\0\x20" B32),
	W("ENROL", TO_SERVER, IN_HELLO, OK, "\x05\0\0\x2c" "\0\x01\0\x04" "abcd" "\0\x02\0\x20" B32),
	W("ENROLLED", TO_AGENT, IN_HELLO, OK, "\x06\0\0\x2a" "\0\x01\0\x20" B32 "\0\x02\0\x02\x30\x82"),
	W("SCRAM", TO_SERVER, IN_HELLO, OK, "\x07\0\0\x0f" "\0\x01\0\x0b" "p=x,,n=,r=y"),
	W("PING", TO_SERVER, IN_CONTROL, OK, "\x10\0\0\x08\x01\x02\x03\x04\x05\x06\x07\x08"),
	W("PONG on an idle carrier", TO_AGENT, IN_CARRIER, OK, "\x11\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff"),
	W("POOL", TO_AGENT, IN_CONTROL, OK, "\x12\0\0\x0c" "\0\x01\0\x02\0\x06" "\0\x02\0\x02\0\x01"),
	W("the least JOB", TO_SERVER, IN_CONTROL, OK, "\x13\0\0\x0d" F_ID5 "\0\x03\0\x01\x01"),
	W("a JOB with all its values", TO_SERVER, IN_CONTROL, OK, "\x13\0\0\x83" F_ID5 "\0\x02\0\x04\0\0\0\x02" "\0\x03\0\x01\x02" "\0\x04\0\x02\x56\xce"
	  "\0\x05\0\x02\0\x0a" "\0\x06\0\x09" "10.1.0.25" "\0\x07\0\x02\x0d\x3d" "\0\x08\0\x04\0\0\0\x03" "\0\x09\0\x02" "j1"
	  "\0\x0a\0\x06\xc0\0\x02\x01\0\0" "\0\x0b\0\x05\x18\xc6\x33\x64\0" "\0\x0b\0\x11\x20\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0"
	  "\0\x0c\0\x08\0\0\0\0\x70\0\0\0" "\0\x0d\0\x04\0\0\0\x64" "\x80\x01\0\x01n"),
	W("JOB-GONE", TO_SERVER, IN_CONTROL, OK, "\x14\0\0\x08" F_ID5),
	W("JOBS-SYNCED", TO_SERVER, IN_CONTROL, OK, "\x15\0\0\0"),
	W("JOB-STATE", TO_AGENT, IN_CONTROL, OK, "\x16\0\0\x28" F_ID5 "\0\x02\0\x04\0\0\0\x02" "\0\x03\0\x01\x04" "\0\x04\0\x01\x16" "\0\x05\0\x02\x56\xce"
	  "\0\x06\0\x04" "t:22"),
	W("OFFER-JOB that is withdrawn", TO_AGENT, IN_CONTROL, OK, "\x17\0\0\x12" F_ID5 "\0\x03\0\x01\x01" "\0\x0f\0\x01\x01"),
	W("OFFER-ANSWER", TO_SERVER, IN_CONTROL, OK, "\x18\0\0\x10" F_ID5 "\0\x02\0\x04\0\0\0\x01"),
	W("TARGET-STATE", TO_SERVER, IN_CONTROL, OK, "\x19\0\0\x15" F_ID5 "\0\x02\0\x01\x01" "\0\x04\0\x04\0\0\x03\xe8"),
	W("GOAWAY", TO_AGENT, IN_CONTROL, OK, "\x1a\0\0\x08" "\0\x02\0\x04\0\0\0\x05"),
	W("OPEN-PLAIN", TO_AGENT, IN_CONTROL, OK, "\x1b\0\0\x2f" F_STREAM7 "\0\x02\0\x04\0\0\0\x05" "\0\x04\0\x01\x01" "\0\x05\0\x06\xcb\0\x71\x09\xc0\0"
	  "\0\x07\0\x08\0\0\0\0\0\0\0\x03"),
	W("ENDED", TO_SERVER, IN_CONTROL, OK, "\x1c\0\0\x11" F_STREAM7 "\0\x02\0\x01\x14"),
	W("DETACHED", TO_AGENT, IN_CONTROL, OK, "\x1d\0\0\x0c" F_STREAM7),
	W("SIGNAL by name", TO_SERVER, IN_CONTROL, OK, "\x20\0\0\x1d" "\0\x02\0\x07" "site-17" "\0\x03\0\x08\0\0\0\0\0\0\0\x07" "\0\x04\0\x02" "\x01z"),
	W("SIGNAL of an identity", TO_AGENT, IN_CONTROL, OK, "\x20\0\0\x2a" "\0\x01\0\x20" "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii" "\0\x04\0\x02" "\x01z"),
	W("SIGNAL-LOST", TO_AGENT, IN_CONTROL, OK, "\x21\0\0\x11" "\0\x01\0\x08\0\0\0\0\0\0\0\x07" "\0\x02\0\x01\x1c"),
	W("RELAY", TO_AGENT, IN_CONTROL, OK, "\x22\0\0\x44" "\0\x01\0\x20" "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii" "\0\x02\0\x10" "cccccccccccccccc"
	  "\0\x03\0\x08\0\0\0\0\0\0\x01\x02"),
	W("TURN-ASK", TO_SERVER, IN_CONTROL, OK, "\x23\0\0\0"),
	W("TURN", TO_AGENT, IN_CONTROL, OK, "\x24\0\0\x26" "\0\x01\0\x06" "turn:a" "\0\x01\0\x06" "turn:b" "\0\x02\0\x01" "u" "\0\x03\0\x01" "p"
	  "\0\x05\0\x04\0\0\x0e\x10"),
	W("REACH", TO_SERVER, IN_CONTROL, OK, "\x28\0\0\x22" "\0\x01\0\x04\0\0\0\x05" "\0\x02\0\x02\x20\x1d" "\0\x03\0\x10" "nnnnnnnnnnnnnnnn"),
	W("REACHED", TO_AGENT, IN_CONTROL, OK, "\x29\0\0\x1f" "\0\x01\0\x04\0\0\0\x05" "\0\x02\0\x01\x01" "\0\x03\0\x06\xcb\0\x71\x09\x20\x1d"
	  "\0\x04\0\x04\0\0\x03\xe8"),
	W("PATH", TO_SERVER, IN_CONTROL, OK, "\x2a\0\0\x3c" "\0\x01\0\x20" "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii" "\0\x02\0\x01\x02" "\0\x03\0\x01\x05"
	  "\0\x05\0\x01" "b" "\0\x06\0\x05" "a NAT"),
	W("PATH that is over", TO_SERVER, IN_CONTROL, OK, "\x2a\0\0\x24" "\0\x01\0\x20" "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"),
	W("HELLO of a guest", TO_SERVER, IN_HELLO, OK, "\x01\0\0\x37" F_VERSION F_CONTROL "\0\x04\0\x08\0\0\0\0\0\0\0\x1c" F_INSTANCE
	  "\0\x08\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef"),
	W("SHARE", TO_SERVER, IN_CONTROL, OK, "\x25\0\0\x1d" "\0\x01\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef" "\0\x02\0\x01\x01" "\0\x03\0\x08\0\0\0\0\x70\0\0\0"),
	W("SHARE that is over", TO_SERVER, IN_CONTROL, OK, "\x25\0\0\x16" "\0\x01\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef" "\0\x02\0\x01\x02" "\0\x04\0\x01\x01"),
	W("SHARE-STATE", TO_AGENT, IN_CONTROL, OK, "\x26\0\0\x1b" "\0\x01\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef" "\0\x04\0\x0b" "https://g.x"),
	W("SIGNAL to whoever has a share", TO_SERVER, IN_CONTROL, OK, "\x20\0\0\x12" "\0\x04\0\x02" "\x01z" "\0\x05\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef"),
	W("OPEN of a share", TO_AGENT, IN_CARRIER, OK, "\x30\0\0\x27" F_STREAM7 "\0\x04\0\x01\x01" "\0\x05\0\x06\xcb\0\x71\x09\xc0\0"
	  "\0\x08\0\x08\x01\x23\x45\x67\x89\xab\xcd\xef"),
	W("OPEN", TO_AGENT, IN_CARRIER, OK, "\x30\0\0\x4d" F_STREAM7 "\0\x02\0\x04\0\0\0\x05" "\0\x03\0\x02\0\x01" "\0\x04\0\x01\x01"
	  "\0\x05\0\x06\xcb\0\x71\x09\xc0\0" "\0\x06\0\x12" V6 "\x56\xce" "\x80\x01\0\x0a" "pc.example"),
	W("OPENED", TO_SERVER, IN_CARRIER, OK, "\x31\0\0\x14" "\0\x01\0\x06\x0a\x01\0\x19\x0d\x3d" "\0\x02\0\x06\x0a\x01\0\x02\x9c\x40"),
	W("DATA", TO_SERVER, IN_CARRIER, OK, "\x32\0\0\x03" "a\0b"),
	W("ACK", TO_AGENT, IN_CARRIER, OK, "\x33\0\0\x10\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0"),
	W("FIN", TO_AGENT, IN_CARRIER, OK, "\x34\0\0\x08\0\0\0\x01\0\0\0\0"),
	W("RESET", TO_AGENT, IN_CARRIER, OK, "\x35\0\0\x16" F_STREAM7 "\0\x02\0\x01\x15" "\0\x03\0\x01x"),
	W("RESUME", TO_SERVER, IN_CARRIER, OK, "\x36\0\0\x18" F_STREAM7 "\0\x02\0\x08\0\0\0\0\0\x10\0\0"),
	W("RESUMED of a way that had nothing", TO_AGENT, IN_CARRIER, OK, "\x37\0\0\x0c" F_STREAM7),
	W("DATAGRAM", TO_AGENT, IN_CARRIER, OK, "\x38\0\0\x02hi"),
	W("an empty DATAGRAM", TO_AGENT, IN_CARRIER, OK, "\x38\0\0\0"),
	W("DONE", TO_SERVER, IN_CARRIER, OK, "\x39\0\0\0"),
};

static const struct wire_vector wire_bad[] = {
	W("HTTP", TO_SERVER, IN_HELLO, UNKNOWN_FRAME, "GET / HTTP/1.1\r\n"),
	W("nothing", TO_SERVER, IN_HELLO, INCOMPLETE, ""),
	W("a type alone", TO_SERVER, IN_HELLO, INCOMPLETE, "\x01"),
	W("a HELLO that has not come whole", TO_SERVER, IN_HELLO, INCOMPLETE, "\x01\0\0\x1f" F_VERSION F_CONTROL),
	W("an unknown frame below 0x80", TO_SERVER, IN_CONTROL, UNKNOWN_FRAME, "\x2f\0\0\0"),
	W("a frame of the other way", TO_SERVER, IN_HELLO, WRONG_WAY, "\x02\0\0\x06" F_VERSION),
	W("JOB before WELCOME", TO_SERVER, IN_HELLO, WRONG_WAY, "\x13\0\0\x0d" F_ID5 "\0\x03\0\x01\x01"),
	W("DATA on a control connection", TO_SERVER, IN_CONTROL, WRONG_WAY, "\x32\0\0\x01" "a"),
	W("HELLO again", TO_SERVER, IN_CARRIER, WRONG_WAY, "\x01\0\0\x1f" F_VERSION F_CONTROL F_INSTANCE),
	W("a stranger's long frame", TO_SERVER, IN_HELLO, TOO_LONG, "\x01\0\x10\x01"),
	W("a frame longer than all", TO_SERVER, IN_CARRIER, TOO_LONG, "\x32\0\x41\x01"),
	W("an unknown one as long", TO_SERVER, IN_CARRIER, TOO_LONG, "\xff\xff\xff\xff"),
	W("half a field's head", TO_SERVER, IN_CONTROL, CUT, "\x14\0\0\x03\0\x01\0"),
	W("a field longer than its frame", TO_SERVER, IN_CONTROL, CUT, "\x14\0\0\x08\0\x01\0\x05\0\0\0\x05"),
	W("a PING of seven bytes", TO_SERVER, IN_CONTROL, CUT, "\x10\0\0\x07\0\0\0\0\0\0\0"),
	W("a PING of nine bytes", TO_SERVER, IN_CONTROL, CUT, "\x10\0\0\x09\0\0\0\0\0\0\0\0\0"),
	W("a DONE that says something", TO_SERVER, IN_CARRIER, CUT, "\x39\0\0\x01\0"),
	W("an unknown field", TO_SERVER, IN_CONTROL, UNKNOWN_FIELD, "\x14\0\0\x0c" F_ID5 "\0\x63\0\0"),
	W("a field twice", TO_SERVER, IN_CONTROL, FIELD_TWICE, "\x14\0\0\x10" F_ID5 F_ID5),
	W("JOB-GONE of no job", TO_SERVER, IN_CONTROL, FIELD_MISSING, "\x14\0\0\0"),
	W("a HELLO without its instance", TO_SERVER, IN_HELLO, FIELD_MISSING, "\x01\0\0\x0b" F_VERSION F_CONTROL),
	W("a number of three bytes", TO_SERVER, IN_CONTROL, BAD_SIZE, "\x14\0\0\x07\0\x01\0\x03\0\0\x05"),
	W("an instance of fifteen bytes", TO_SERVER, IN_HELLO, BAD_SIZE, "\x01\0\0\x1e" F_VERSION F_CONTROL "\0\x05\0\x0f" "123456789012345"),
	W("job 0", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x14\0\0\x08\0\x01\0\x04\0\0\0\0"),
	W("a kind of job that is none", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x13\0\0\x0d" F_ID5 "\0\x03\0\x01\x03"),
	W("a name with a line feed", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x13\0\0\x13" F_ID5 "\0\x03\0\x01\x01" "\0\x09\0\x02" "a\n"),
	W("a name that is not UTF-8", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x13\0\0\x13" F_ID5 "\0\x03\0\x01\x01" "\0\x09\0\x02" "\xc3("),
	W("an empty name", TO_SERVER, IN_CONTROL, BAD_SIZE, "\x13\0\0\x11" F_ID5 "\0\x03\0\x01\x01" "\0\x09\0\0"),
	W("a prefix with host bits", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x13\0\0\x16" F_ID5 "\0\x03\0\x01\x01" "\0\x0b\0\x05\x18\xc6\x33\x64\x01"),
	W("a prefix of 33 bits", TO_SERVER, IN_CONTROL, BAD_VALUE, "\x13\0\0\x16" F_ID5 "\0\x03\0\x01\x01" "\0\x0b\0\x05\x21\0\0\0\0"),
	W("an address of five bytes", TO_AGENT, IN_HELLO, BAD_SIZE, "\x02\0\0\x0f" F_VERSION "\x80\x03\0\x05\x01\x02\x03\x04\x05"),
	W("a range that runs backwards", TO_AGENT, IN_HELLO, BAD_VALUE, "\x02\0\0\x0e" F_VERSION "\x80\x04\0\x04\0\x02\0\x01"),
};

/* A field and a frame of a later version that may be ignored. */
static const struct wire_vector wire_later[] = {
	W("an unknown field that may be ignored", TO_SERVER, IN_CONTROL, OK, "\x14\0\0\x0f" "\xff\x01\0\x03" "new" F_ID5),
	W("an unknown frame that may be ignored", TO_SERVER, IN_CONTROL, OK, "\x80\0\0\x03" "new"),
};

static const char wire_plain_vector[] = "sTpl\x01" "\0\0\0\0\0\0\0\x09" "\0\0\0\0\0\0\0\x03" B32;
/* clang-format on */
