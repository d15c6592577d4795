/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ClientHello, out of its records. Two steps: assemble() takes the record headers out, as far as the
 * hello goes, and the rest reads one message through child readers, each of which must be used up.
 *
 * Unknown extensions are skipped, their lengths are not. An extension that is read here may come once
 * (RFC 8446 4.2); the others are checked by whoever does the handshake.
 */
#include "common/client_hello.h"

enum {
	RECORD_HEAD = 5,
	RECORD_HANDSHAKE = 22,
	RECORD_FRAGMENT_MAX = 16384,
	MESSAGE_HEAD = 4,
	MESSAGE_CLIENT_HELLO = 1,
	TLS_MAJOR = 3,
	RANDOM = 32,
	SESSION_ID_MAX = 32,
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_ALPN = 16,
	HOST_NAME = 0,
	SERVER_NAME_MAX = 255,
};

const char *client_hello_error_text(enum client_hello_error e)
{
	static const char *const texts[CLIENT_HELLO_ERRORS] = {
		[CLIENT_HELLO_OK] = "ok",
		[CLIENT_HELLO_INCOMPLETE] = "the TLS ClientHello is not complete",
		[CLIENT_HELLO_NOT_TLS] = "it does not begin as TLS does",
		[CLIENT_HELLO_BAD_RECORD] = "a TLS record is malformed",
		[CLIENT_HELLO_OTHER_MESSAGE] = "its first TLS message is no ClientHello",
		[CLIENT_HELLO_TOO_LONG] = "the TLS ClientHello is longer than 16 KiB",
		[CLIENT_HELLO_MALFORMED] = "the TLS ClientHello is malformed",
		[CLIENT_HELLO_BAD_NAME] = "the TLS ClientHello asks for a malformed server name or protocol",
	};
	return (unsigned)e < CLIENT_HELLO_ERRORS ? texts[e] : "unknown";
}

/* ---- records ---- */

/* Length of the record at p, head included, 0 if that cannot be seen yet. */
static enum client_hello_error look_at_record(const uint8_t *p, size_t n, bool first, size_t *ret_length)
{
	size_t fragment;

	*ret_length = 0;
	if (n >= 1 && p[0] != RECORD_HANDSHAKE)
		return first ? CLIENT_HELLO_NOT_TLS : CLIENT_HELLO_BAD_RECORD;
	if (n >= 2 && p[1] != TLS_MAJOR)
		return first ? CLIENT_HELLO_NOT_TLS : CLIENT_HELLO_BAD_RECORD;
	if (n < RECORD_HEAD)
		return CLIENT_HELLO_OK;
	fragment = load_be16(p + 3);
	if (fragment == 0 || fragment > RECORD_FRAGMENT_MAX)
		return CLIENT_HELLO_BAD_RECORD;
	*ret_length = RECORD_HEAD + fragment;
	return CLIENT_HELLO_OK;
}

/* What the first bytes of the message say: its length with its head, 0 if that cannot be seen yet. */
static enum client_hello_error look_at_message(const uint8_t *p, size_t n, size_t *ret_length)
{
	*ret_length = 0;
	if (n >= 1 && p[0] != MESSAGE_CLIENT_HELLO)
		return CLIENT_HELLO_OTHER_MESSAGE;
	if (n < MESSAGE_HEAD)
		return CLIENT_HELLO_OK;
	*ret_length = MESSAGE_HEAD + ((size_t)p[1] << 16 | load_be16(p + 2));
	return *ret_length > CLIENT_HELLO_MAX ? CLIENT_HELLO_TOO_LONG : CLIENT_HELLO_OK;
}

/* Moves the message's pieces to the front of p. Its length, or that it is not whole. */
static enum client_hello_error assemble(uint8_t *p, size_t n, size_t *ret_length)
{
	size_t at = 0, have = 0, want = 0, record;
	enum client_hello_error e;

	while (!want || have < want) {
		e = look_at_record(p + at, n - at, at == 0, &record);
		if (e != CLIENT_HELLO_OK)
			return e;
		if (at + record > CLIENT_HELLO_MAX)
			return CLIENT_HELLO_TOO_LONG;
		if (!record)
			return n >= CLIENT_HELLO_MAX ? CLIENT_HELLO_TOO_LONG : CLIENT_HELLO_INCOMPLETE;
		size_t piece = MIN(record, n - at) - RECORD_HEAD;

		memmove(p + have, p + at + RECORD_HEAD, piece);
		have += piece;
		e = look_at_message(p, have, &want);
		if (e != CLIENT_HELLO_OK)
			return e;
		if (want && want < have - piece + record - RECORD_HEAD)
			return CLIENT_HELLO_MALFORMED; /* something stands behind the hello in its record (RFC 8446 5.1) */
		if (piece < record - RECORD_HEAD)
			return CLIENT_HELLO_INCOMPLETE;
		at += record;
	}
	*ret_length = want;
	return CLIENT_HELLO_OK;
}

/* ---- the message ---- */

static bool is_printable(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= 0x20 || t.p[i] >= 0x7f) /* char may be signed: what is above is below, then */
			return false;
	return true;
}

/* RFC 6066 3: a list that in practice has one host_name; other types of names have never been defined. */
static enum client_hello_error read_server_name(struct rd *extension, struct client_hello *h)
{
	struct rd list = rd_sub(extension, rd_u16(extension));

	if (!rd_done(extension) || list.failed || !rd_left(&list) || h->server_name.p)
		return CLIENT_HELLO_MALFORMED;
	while (rd_left(&list)) {
		uint8_t type = rd_u8(&list);
		struct rd name = rd_sub(&list, rd_u16(&list));

		if (name.failed)
			return CLIENT_HELLO_MALFORMED;
		if (type != HOST_NAME)
			continue;
		struct text host = { (const char *)name.pos, rd_left(&name) };

		if (h->server_name.p || !host.n || host.n > SERVER_NAME_MAX || !is_printable(host))
			return CLIENT_HELLO_BAD_NAME;
		h->server_name = host;
	}
	return CLIENT_HELLO_OK;
}

static enum client_hello_error read_alpn(struct rd *extension, struct client_hello *h)
{
	struct rd list = rd_sub(extension, rd_u16(extension));

	if (!rd_done(extension) || list.failed || !rd_left(&list) || h->alpn.pos)
		return CLIENT_HELLO_MALFORMED;
	h->alpn = list;
	while (rd_left(&list)) {
		struct rd name = rd_sub(&list, rd_u8(&list));

		if (name.failed || !rd_left(&name))
			return CLIENT_HELLO_BAD_NAME;
	}
	return CLIENT_HELLO_OK;
}

static enum client_hello_error read_extensions(struct rd *r, struct client_hello *h)
{
	struct rd list = rd_sub(r, rd_u16(r));

	if (list.failed || !rd_done(r))
		return CLIENT_HELLO_MALFORMED;
	while (rd_left(&list)) {
		uint16_t type = rd_u16(&list);
		struct rd extension = rd_sub(&list, rd_u16(&list));
		enum client_hello_error e = CLIENT_HELLO_OK;

		if (extension.failed)
			return CLIENT_HELLO_MALFORMED;
		if (type == EXTENSION_SERVER_NAME)
			e = read_server_name(&extension, h);
		else if (type == EXTENSION_ALPN)
			e = read_alpn(&extension, h);
		if (e != CLIENT_HELLO_OK)
			return e;
	}
	return CLIENT_HELLO_OK;
}

enum client_hello_error client_hello_parse(uint8_t *p, size_t n, struct client_hello *ret_h)
{
	struct client_hello h = { 0 };
	size_t length;
	enum client_hello_error e = assemble(p, MIN(n, (size_t)CLIENT_HELLO_MAX), &length);

	if (e != CLIENT_HELLO_OK)
		return e;
	struct rd r = rd_init(p + MESSAGE_HEAD, length - MESSAGE_HEAD), session, suites, compression;
	unsigned major = rd_u8(&r);

	rd_u8(&r);
	rd_take(&r, RANDOM);
	session = rd_sub(&r, rd_u8(&r));
	suites = rd_sub(&r, rd_u16(&r));
	compression = rd_sub(&r, rd_u8(&r));
	if (r.failed || major != TLS_MAJOR || rd_left(&session) > SESSION_ID_MAX || rd_left(&suites) < 2 ||
	    rd_left(&suites) % 2 || !rd_left(&compression))
		return CLIENT_HELLO_MALFORMED;
	if (rd_left(&r)) /* none at all: as SSL 3 and early TLS clients are */
		e = read_extensions(&r, &h);
	if (e == CLIENT_HELLO_OK)
		*ret_h = h;
	return e;
}

/* ---- what it offers ---- */

bool client_hello_next_alpn(struct rd *list, struct text *ret_name)
{
	struct rd name;

	if (!rd_left(list))
		return false;
	name = rd_sub(list, rd_u8(list));
	*ret_name = (struct text){ (const char *)name.pos, rd_left(&name) };
	return !name.failed;
}

bool client_hello_offers(const struct client_hello *h, struct text protocol)
{
	struct rd list = h->alpn;
	struct text name;

	while (client_hello_next_alpn(&list, &name))
		if (text_eq(name, protocol))
			return true;
	return false;
}
