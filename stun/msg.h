/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN messages (RFC 8489, RFC 5389, elders' RFC 3489 without the cookie recognised only to be
 * answered or refused): header, attribute table, parser and writer. No I/O, no memory of its own.
 *
 * The parser makes one pass over the datagram and yields an index of known attributes as slices of the
 * received buffer. It checks each against its table row (length, where allowed, repeats: the first
 * counts), collects unknown comprehension-required types, and ignores what stands behind MESSAGE-INTEGRITY
 * (except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT), as RFC 8489 14.5–14.7 say.
 */
#pragma once
#include <sys/types.h>
#include "common/addr.h"
#include "common/bytes.h"
#include "common/text.h"

enum {
	STUN_MAGIC = 0x2112A442,
	STUN_HEADER_LEN = 20,
	STUN_TID_LEN = 12,
	STUN_MAX_UNKNOWN = 16, /* unknown types reported in one 420 */
};

enum stun_class { STUN_REQUEST = 0, STUN_INDICATION = 1, STUN_SUCCESS = 2, STUN_ERROR = 3 };
enum stun_method {
	STUN_BINDING = 0x001,
	STUN_ALLOCATE = 0x003,
	STUN_REFRESH = 0x004,
	STUN_SEND = 0x006,
	STUN_DATA = 0x007,
	STUN_CREATE_PERMISSION = 0x008,
	STUN_CHANNEL_BIND = 0x009,
	STUN_CONNECT = 0x00a, /* RFC 6062 */
	STUN_CONNECTION_BIND = 0x00b,
	STUN_CONNECTION_ATTEMPT = 0x00c,
};
static inline uint16_t stun_type(enum stun_method m, enum stun_class c)
{
	return (uint16_t)((m & 0x000f) | ((m & 0x0070) << 1) | ((m & 0x0f80) << 2) |
			  ((c & 1) << 4) | ((c & 2) << 7));
}
static inline enum stun_method stun_type_method(uint16_t t)
{
	return (enum stun_method)((t & 0x000f) | ((t & 0x00e0) >> 1) | ((t & 0x3e00) >> 2));
}
static inline enum stun_class stun_type_class(uint16_t t)
{
	return (enum stun_class)(((t & 0x0010) >> 4) | ((t & 0x0100) >> 7));
}

/* Dense ids of the attributes we know; the 16-bit type is in the table row. The order is that of
 * stun/attr_table.c. */
enum stun_attr {
	STUN_A_MAPPED_ADDRESS,
	STUN_A_RESPONSE_ADDRESS, /* RFC 3489 relics, 0x0002, 0x0004, 0x0005, 0x0007, 0x000b: known, ignored */
	STUN_A_CHANGE_REQUEST,
	STUN_A_SOURCE_ADDRESS,
	STUN_A_CHANGED_ADDRESS,
	STUN_A_USERNAME,
	STUN_A_PASSWORD,
	STUN_A_MESSAGE_INTEGRITY,
	STUN_A_ERROR_CODE,
	STUN_A_UNKNOWN_ATTRIBUTES,
	STUN_A_REFLECTED_FROM,
	STUN_A_CHANNEL_NUMBER,
	STUN_A_LIFETIME,
	STUN_A_XOR_PEER_ADDRESS, /* may repeat (CreatePermission) */
	STUN_A_DATA,
	STUN_A_REALM,
	STUN_A_NONCE,
	STUN_A_XOR_RELAYED_ADDRESS,
	STUN_A_REQUESTED_ADDRESS_FAMILY,
	STUN_A_EVEN_PORT,
	STUN_A_REQUESTED_TRANSPORT,
	STUN_A_DONT_FRAGMENT,
	STUN_A_ACCESS_TOKEN,
	STUN_A_MESSAGE_INTEGRITY_SHA256,
	STUN_A_PASSWORD_ALGORITHM,
	STUN_A_USERHASH,
	STUN_A_XOR_MAPPED_ADDRESS,
	STUN_A_RESERVATION_TOKEN,
	STUN_A_PRIORITY,
	STUN_A_USE_CANDIDATE,
	STUN_A_PADDING,
	STUN_A_RESPONSE_PORT,
	STUN_A_CONNECTION_ID,
	STUN_A_ADDITIONAL_ADDRESS_FAMILY,
	STUN_A_ADDRESS_ERROR_CODE,
	STUN_A_PASSWORD_ALGORITHMS,
	STUN_A_ALTERNATE_DOMAIN,
	STUN_A_ICMP,
	STUN_A_SOFTWARE,
	STUN_A_ALTERNATE_SERVER,
	STUN_A_TRANSACTION_TRANSMIT_COUNTER,
	STUN_A_CACHE_TIMEOUT,
	STUN_A_FINGERPRINT,
	STUN_A_ICE_CONTROLLED,
	STUN_A_ICE_CONTROLLING,
	STUN_A_RESPONSE_ORIGIN,
	STUN_A_OTHER_ADDRESS,
	STUN_A_ECN_CHECK,
	STUN_A_THIRD_PARTY_AUTHORIZATION,
	STUN_A_MOBILITY_TICKET,
	STUN_ATTRS
};

/* What an attribute's value looks like. */
enum stun_shape {
	STUN_SHAPE_BYTES,
	STUN_SHAPE_TEXT,
	STUN_SHAPE_ADDRESS,
	STUN_SHAPE_XOR_ADDRESS,
	STUN_SHAPE_U32,
	STUN_SHAPE_U64,
	STUN_SHAPE_FLAG,
	STUN_SHAPE_ERROR,
	STUN_SHAPE_TYPES,
};
/* Where an attribute stands: a row is read only while its place is behind the last ordered one. */
enum stun_order { STUN_BODY, STUN_INTEGRITY, STUN_INTEGRITY_SHA256, STUN_LAST };
enum {
	STUN_IN_REQUEST = 1,
	STUN_IN_INDICATION = 2,
	STUN_IN_SUCCESS = 4,
	STUN_IN_ERROR = 8,
	STUN_IN_ANY = 15
};
struct stun_attr_row {
	enum stun_attr id;
	uint16_t type; /* < 0x8000: comprehension required */
	const char *name;
	enum stun_shape shape;
	uint16_t min, max; /* length of the value */
	uint8_t unit;	   /* the length is a multiple of it */
	uint8_t where;	   /* classes in which it means something; elsewhere it is ignored */
	enum stun_order order;
	bool repeat;
	const char *clause; /* "RFC 8489 14.3" */
};
extern const struct stun_attr_row stun_attr_table[STUN_ATTRS];
const struct stun_attr_row *stun_attr_by_type(uint16_t type); /* NULL: unknown */

/* Positive module codes of stun_parse. */
enum stun_error_kind {
	STUN_OK,
	/* First bits, magic or length say that it is something else: drop silently. */
	STUN_NOT_STUN,
	/* A length that lies, a bad attribute: 400 for a request, drop for the rest. */
	STUN_MALFORMED,
	STUN_BAD_FINGERPRINT,
};

struct stun_value {
	const uint8_t *p; /* NULL: absent */
	uint16_t n;
};
struct stun_msg {
	const uint8_t *raw; /* the whole message, in the caller's buffer */
	size_t raw_n;
	uint16_t type;
	enum stun_method method;
	enum stun_class class;
	const uint8_t *tid;		    /* 12 bytes */
	bool rfc3489;			    /* no magic cookie: tid is 16 bytes at raw+4 */
	struct stun_value attr[STUN_ATTRS]; /* first occurrence of each */
	uint16_t unknown[STUN_MAX_UNKNOWN]; /* comprehension-required, unknown to us, each once */
	uint8_t n_unknown;
	bool has_fingerprint; /* present and right */
	uint16_t mi_offset;   /* of the MESSAGE-INTEGRITY attribute's header from raw; 0: absent */
	uint16_t mi256_offset;
	enum stun_attr bad_attr; /* for STUN_MALFORMED: which; STUN_ATTRS if the frame itself is bad */
};
static inline bool stun_has(const struct stun_msg *m, enum stun_attr a)
{
	return m->attr[a].p != NULL;
}

/* The types a 420 must name: unknown ones, and known comprehension-required ones that stand where they
 * mean something but are not in the receiver's set. `understood` is made of STUN_BIT()s. */
_Static_assert(STUN_ATTRS <= 64, "a set of attributes is one word");
#define STUN_BIT(a) (UINT64_C(1) << (a))
unsigned stun_not_understood(const struct stun_msg *m, uint64_t understood,
			     uint16_t ret_types[static STUN_MAX_UNKNOWN]);

/* RFC 7983: what the first byte of a datagram (or of a TCP frame) announces. */
enum stun_demux { DEMUX_STUN, DEMUX_CHANNEL_DATA, DEMUX_DTLS, DEMUX_ZRTP, DEMUX_RTP, DEMUX_OTHER };
enum stun_demux stun_demux(uint8_t first_byte);

/* STUN_OK, or a positive stun_error_kind. The message must be exactly n bytes (datagram or frame). On
 * STUN_MALFORMED the header fields are set if the header itself was good (so a 400 can be sent). */
int stun_parse(const void *p, size_t n, struct stun_msg *ret_m);
/* On a stream: the length of the STUN message that begins here, 0 if fewer than 20 bytes are there,
 * -EBADMSG if it is none. */
ssize_t stun_frame_length(const void *p, size_t n);

/* Typed getters: 0, -ENOENT if absent, -EBADMSG if the value is not well-formed. */
/* The XOR of a XOR- attribute is undone. */
int stun_get_addr(const struct stun_msg *m, enum stun_attr a, struct addr *ret_a);
int stun_get_u32(const struct stun_msg *m, enum stun_attr a, uint32_t *ret_v);
int stun_get_u64(const struct stun_msg *m, enum stun_attr a, uint64_t *ret_v);
int stun_get_text(const struct stun_msg *m, enum stun_attr a, struct text *ret_t);
int stun_get_error(const struct stun_msg *m, unsigned *ret_code, struct text *ret_reason);
/* ADDRESS-ERROR-CODE, RFC 8656 18.12. */
int stun_get_address_error(const struct stun_msg *m, sa_family_t *ret_family, unsigned *ret_code,
			   struct text *ret_reason);
/* All occurrences of a repeatable address attribute, in order: *it = 0 to begin; 0, -ENOENT at the end,
 * -EBADMSG. */
int stun_next_addr(const struct stun_msg *m, enum stun_attr a, size_t *it, struct addr *ret_a);
/* The next attribute, raw, up to the integrity attribute or the fingerprint: *it = 0 to begin; 0 or
 * -ENOENT. For tests, dumps, unknown ones. */
int stun_next_attr(const struct stun_msg *m, size_t *it, uint16_t *ret_type, struct stun_value *ret_v);

/* Writer: begin, attributes, integrity, fingerprint, end. Latches like wr. */
struct stun_writer {
	struct wr w;
	bool rfc3489;
};
void stun_begin(struct stun_writer *sw, void *buf, size_t cap, enum stun_method m,
		enum stun_class c, const uint8_t tid[static STUN_TID_LEN]);
void stun_begin_response(struct stun_writer *sw, void *buf, size_t cap,
			 const struct stun_msg *request, enum stun_class c);
void stun_put(struct stun_writer *sw, enum stun_attr a, const void *p, size_t n);
/* Plain or XORed by the attribute's shape. */
void stun_put_addr(struct stun_writer *sw, enum stun_attr a, const struct addr *addr);
void stun_put_u32(struct stun_writer *sw, enum stun_attr a, uint32_t v);
void stun_put_u64(struct stun_writer *sw, enum stun_attr a, uint64_t v);
void stun_put_text(struct stun_writer *sw, enum stun_attr a, struct text t);
void stun_put_flag(struct stun_writer *sw, enum stun_attr a);
void stun_put_error(struct stun_writer *sw, unsigned code, const char *reason);
void stun_put_address_error(struct stun_writer *sw, sa_family_t family, unsigned code,
			    const char *reason);
void stun_put_unknown(struct stun_writer *sw, const uint16_t *types, unsigned n);
void stun_put_raw(struct stun_writer *sw, uint16_t type, const void *p, size_t n); /* any type: tests */
/* Length of the finished message, or -ENOSPC. Patches the header's length. */
ssize_t stun_end(struct stun_writer *sw);
const char *stun_method_name(enum stun_method m);
