/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The STUN attributes registry: one row per registered attribute (IANA "STUN Attributes", as of RFC
 * 8656), in the order of their types. A new attribute is a new row here and a name in enum stun_attr;
 * nothing else in the library knows single attributes, except where an RFC gives one a role of its own
 * (integrity, fingerprint).
 *
 * Not here: vendors' types (all comprehension-optional) and reserved numbers that never had a
 * definition in an RFC (0x0010 BANDWIDTH and 0x0021 TIMER-VAL of the TURN drafts): unknown to us,
 * hence refused with 420 as the RFC says for them. The RFC 3489 relics are known so that an elder's
 * message can be read; what a server does not serve it refuses by stun_not_understood().
 *
 * Lengths: RFC 8489 limits REALM, NONCE, SOFTWARE and reasons to 127 characters, "up to 763 bytes when
 * decoding". USERNAME: below 509 bytes in RFC 8489, up to 512 in RFC 5389; both are read.
 */
#include "stun/msg.h"

#define REQ STUN_IN_REQUEST
#define IND STUN_IN_INDICATION
#define OK_ STUN_IN_SUCCESS
#define ERR STUN_IN_ERROR
#define RESP (OK_ | ERR)
#define ANY STUN_IN_ANY

/* clang-format off */
/*   name                         type    wire name                     shape        min    max unit where       order             repeat clause */
#define ROWS(R) \
	R(MAPPED_ADDRESS,             0x0001, "MAPPED-ADDRESS",             ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 8489 14.1") \
	R(RESPONSE_ADDRESS,           0x0002, "RESPONSE-ADDRESS",           ADDRESS,      8,    20, 4, REQ,          BODY,             false, "RFC 3489 11.2.2") \
	R(CHANGE_REQUEST,             0x0003, "CHANGE-REQUEST",             U32,          4,     4, 4, REQ,          BODY,             false, "RFC 5780 7.2") \
	R(SOURCE_ADDRESS,             0x0004, "SOURCE-ADDRESS",             ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 3489 11.2.5") \
	R(CHANGED_ADDRESS,            0x0005, "CHANGED-ADDRESS",            ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 3489 11.2.3") \
	R(USERNAME,                   0x0006, "USERNAME",                   TEXT,         1,   512, 1, REQ | IND,    BODY,             false, "RFC 8489 14.3") \
	R(PASSWORD,                   0x0007, "PASSWORD",                   TEXT,         0,   512, 1, OK_,          BODY,             false, "RFC 3489 11.2.7") \
	R(MESSAGE_INTEGRITY,          0x0008, "MESSAGE-INTEGRITY",          BYTES,       20,    20, 4, ANY,          INTEGRITY,        false, "RFC 8489 14.5") \
	R(ERROR_CODE,                 0x0009, "ERROR-CODE",                 ERROR,        4,   767, 1, ERR,          BODY,             false, "RFC 8489 14.8") \
	R(UNKNOWN_ATTRIBUTES,         0x000a, "UNKNOWN-ATTRIBUTES",         TYPES,        0, 65532, 2, ERR,          BODY,             false, "RFC 8489 14.13") \
	R(REFLECTED_FROM,             0x000b, "REFLECTED-FROM",             ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 3489 11.2.11") \
	R(CHANNEL_NUMBER,             0x000c, "CHANNEL-NUMBER",             U32,          4,     4, 4, REQ,          BODY,             false, "RFC 8656 18.1") \
	R(LIFETIME,                   0x000d, "LIFETIME",                   U32,          4,     4, 4, REQ | OK_,    BODY,             false, "RFC 8656 18.2") \
	R(XOR_PEER_ADDRESS,           0x0012, "XOR-PEER-ADDRESS",           XOR_ADDRESS,  8,    20, 4, REQ | IND,    BODY,             true,  "RFC 8656 18.3") \
	R(DATA,                       0x0013, "DATA",                       BYTES,        0, 65532, 1, IND,          BODY,             false, "RFC 8656 18.4") \
	R(REALM,                      0x0014, "REALM",                      TEXT,         1,   763, 1, REQ | RESP,   BODY,             false, "RFC 8489 14.9") \
	R(NONCE,                      0x0015, "NONCE",                      TEXT,         0,   763, 1, REQ | RESP,   BODY,             false, "RFC 8489 14.10") \
	R(XOR_RELAYED_ADDRESS,        0x0016, "XOR-RELAYED-ADDRESS",        XOR_ADDRESS,  8,    20, 4, OK_,          BODY,             true,  "RFC 8656 18.5") \
	R(REQUESTED_ADDRESS_FAMILY,   0x0017, "REQUESTED-ADDRESS-FAMILY",   U32,          4,     4, 4, REQ,          BODY,             false, "RFC 8656 18.6") \
	R(EVEN_PORT,                  0x0018, "EVEN-PORT",                  BYTES,        1,     1, 1, REQ,          BODY,             false, "RFC 8656 18.7") \
	R(REQUESTED_TRANSPORT,        0x0019, "REQUESTED-TRANSPORT",        U32,          4,     4, 4, REQ,          BODY,             false, "RFC 8656 18.8") \
	R(DONT_FRAGMENT,              0x001a, "DONT-FRAGMENT",              FLAG,         0,     0, 1, REQ | IND,    BODY,             false, "RFC 8656 18.9") \
	R(ACCESS_TOKEN,               0x001b, "ACCESS-TOKEN",               BYTES,        2, 65532, 1, REQ,          BODY,             false, "RFC 7635 6.2") \
	R(MESSAGE_INTEGRITY_SHA256,   0x001c, "MESSAGE-INTEGRITY-SHA256",   BYTES,       16,    32, 4, ANY,          INTEGRITY_SHA256, false, "RFC 8489 14.6") \
	R(PASSWORD_ALGORITHM,         0x001d, "PASSWORD-ALGORITHM",         BYTES,        4, 65532, 4, REQ,          BODY,             false, "RFC 8489 14.12") \
	R(USERHASH,                   0x001e, "USERHASH",                   BYTES,       32,    32, 4, REQ,          BODY,             false, "RFC 8489 14.4") \
	R(XOR_MAPPED_ADDRESS,         0x0020, "XOR-MAPPED-ADDRESS",         XOR_ADDRESS,  8,    20, 4, OK_,          BODY,             false, "RFC 8489 14.2") \
	R(RESERVATION_TOKEN,          0x0022, "RESERVATION-TOKEN",          U64,          8,     8, 4, REQ | OK_,    BODY,             false, "RFC 8656 18.10") \
	R(PRIORITY,                   0x0024, "PRIORITY",                   U32,          4,     4, 4, REQ,          BODY,             false, "RFC 8445 16.1") \
	R(USE_CANDIDATE,              0x0025, "USE-CANDIDATE",              FLAG,         0,     0, 1, REQ,          BODY,             false, "RFC 8445 16.1") \
	R(PADDING,                    0x0026, "PADDING",                    BYTES,        0, 65532, 1, REQ | OK_,    BODY,             false, "RFC 5780 7.6") \
	R(RESPONSE_PORT,              0x0027, "RESPONSE-PORT",              BYTES,        2,     4, 2, REQ,          BODY,             false, "RFC 5780 7.5") \
	R(CONNECTION_ID,              0x002a, "CONNECTION-ID",              U32,          4,     4, 4, REQ|IND|OK_,  BODY,             false, "RFC 6062 6.2.1") \
	R(ADDITIONAL_ADDRESS_FAMILY,  0x8000, "ADDITIONAL-ADDRESS-FAMILY",  U32,          4,     4, 4, REQ,          BODY,             false, "RFC 8656 18.11") \
	R(ADDRESS_ERROR_CODE,         0x8001, "ADDRESS-ERROR-CODE",         ERROR,        4,   767, 1, OK_,          BODY,             false, "RFC 8656 18.12") \
	R(PASSWORD_ALGORITHMS,        0x8002, "PASSWORD-ALGORITHMS",        BYTES,        4, 65532, 4, REQ | RESP,   BODY,             false, "RFC 8489 14.11") \
	R(ALTERNATE_DOMAIN,           0x8003, "ALTERNATE-DOMAIN",           TEXT,         1,   255, 1, ERR,          BODY,             false, "RFC 8489 14.16") \
	R(ICMP,                       0x8004, "ICMP",                       BYTES,        8,     8, 4, IND,          BODY,             false, "RFC 8656 18.13") \
	R(SOFTWARE,                   0x8022, "SOFTWARE",                   TEXT,         0,   763, 1, ANY,          BODY,             false, "RFC 8489 14.14") \
	R(ALTERNATE_SERVER,           0x8023, "ALTERNATE-SERVER",           ADDRESS,      8,    20, 4, ERR,          BODY,             false, "RFC 8489 14.15") \
	R(TRANSACTION_TRANSMIT_COUNTER, 0x8025, "TRANSACTION_TRANSMIT_COUNTER", U32,      4,     4, 4, REQ | RESP,   BODY,             false, "RFC 7982 3.1") \
	R(CACHE_TIMEOUT,              0x8027, "CACHE-TIMEOUT",              U32,          4,     4, 4, REQ | OK_,    BODY,             false, "RFC 5780 9.1") \
	R(FINGERPRINT,                0x8028, "FINGERPRINT",                U32,          4,     4, 4, ANY,          LAST,             false, "RFC 8489 14.7") \
	R(ICE_CONTROLLED,             0x8029, "ICE-CONTROLLED",             U64,          8,     8, 4, REQ,          BODY,             false, "RFC 8445 16.1") \
	R(ICE_CONTROLLING,            0x802a, "ICE-CONTROLLING",            U64,          8,     8, 4, REQ,          BODY,             false, "RFC 8445 16.1") \
	R(RESPONSE_ORIGIN,            0x802b, "RESPONSE-ORIGIN",            ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 5780 7.3") \
	R(OTHER_ADDRESS,              0x802c, "OTHER-ADDRESS",              ADDRESS,      8,    20, 4, OK_,          BODY,             false, "RFC 5780 7.4") \
	R(ECN_CHECK,                  0x802d, "ECN-CHECK STUN",             U32,          4,     4, 4, REQ | OK_,    BODY,             false, "RFC 6679 7.2.2") \
	R(THIRD_PARTY_AUTHORIZATION,  0x802e, "THIRD-PARTY-AUTHORIZATION",  TEXT,         1,   763, 1, ERR,          BODY,             false, "RFC 7635 6.1") \
	R(MOBILITY_TICKET,            0x8030, "MOBILITY-TICKET",            BYTES,        0, 65532, 1, REQ | OK_,    BODY,             false, "RFC 8016 3.3")

#define ROW(id_, type_, name_, shape_, min_, max_, unit_, where_, order_, repeat_, clause_) \
	[STUN_A_##id_] = { .id = STUN_A_##id_, .type = type_, .name = name_, .shape = STUN_SHAPE_##shape_, \
		.min = min_, .max = max_, .unit = unit_, .where = where_, .order = STUN_##order_, \
		.repeat = repeat_, .clause = clause_ },

/* All registered types differ in their low seven bits and the top one. */
#define SLOT(type) (((type) & 0x7f) | ((type) >> 15 << 7))
#define SLOT_ROW(id_, type_, ...) [SLOT(type_)] = STUN_A_##id_,
/* clang-format on */

const struct stun_attr_row stun_attr_table[STUN_ATTRS] = { ROWS(ROW) };

static const uint8_t slots[256] = { ROWS(SLOT_ROW) };

/* The number that ADDITIONAL-ADDRESS-FAMILY had in the drafts of RFC 8656, and has in coturn to this day; registered
 * for nothing else. Read as what it means, never written. */
enum { DRAFT_ADDITIONAL_ADDRESS_FAMILY = 0x8032 };

const struct stun_attr_row *stun_attr_by_type(uint16_t type)
{
	if (type == DRAFT_ADDITIONAL_ADDRESS_FAMILY)
		return &stun_attr_table[STUN_A_ADDITIONAL_ADDRESS_FAMILY];
	/* The slot only proposes a row; an empty slot proposes row 0. The row's type decides. */
	const struct stun_attr_row *row = &stun_attr_table[slots[SLOT(type)]];
	return row->type == type ? row : NULL;
}
