/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people hand to each other to take part in a share (docs/decisions/0024-sharing.md): 128 random bits as a code that can be
 * read out, and as a link for a browser; and the keys that both ends derive from them. No I/O.
 *
 *     K3T9-QZ1A-7HX0-M2VB-0000-1111-ABCD@tunnel.example.org:7443
 *     https://share.example.org/s/0123456789abcdef#K3T9…
 *
 * The id is for servers, which find the share by it; it tells nothing of the secret. What follows # a browser keeps to itself.
 */
#pragma once
#include "common/text.h"

enum {
	SHARE_SECRET = 16,
	SHARE_ID = 8,
	SHARE_TOKEN = 16,
	SHARE_KNOCK = 32,
	SHARE_KEY = 32, /* of a stream of records */
	SHARE_SALT = 16,
	SHARE_DIGITS = 28, /* of five bits: the secret and 12 bits of checksum */
	SHARE_HOST_MAX = 253,
	SHARE_MORE_PORTS = 7,
	SHARE_PLACE_STRLEN = SHARE_HOST_MAX + 2 + 6 + 6 * SHARE_MORE_PORTS + 1,
	SHARE_CODE_STRLEN = SHARE_DIGITS + 6 + 1 + SHARE_PLACE_STRLEN,
	SHARE_ID_STRLEN = 2 * SHARE_ID + 1,
	SHARE_HEX_STRLEN = 2 * 16 + 1, /* of a token, a salt */
};

struct share_code {
	uint8_t secret[SHARE_SECRET];
	char host[SHARE_HOST_MAX + 1]; /* of the tunnel server; "": not in it. An IPv6 address without brackets */
	uint16_t port;
	uint16_t more[SHARE_MORE_PORTS]; /* of the same server, tried after it, in this order (@HOST:PORT,PORT,…) */
	unsigned n_more;
};
enum share_code_error { /* positive module codes */
	SHARE_CODE_OK,
	SHARE_CODE_CHARACTER,
	SHARE_CODE_LENGTH,
	SHARE_CODE_CHECKSUM,
	SHARE_CODE_PLACE, /* what follows @ is not HOST:PORT or HOST:PORT,PORT… */
	SHARE_CODE_LINK,  /* a link without #CODE, or with an id that is not the code's */
};
const char *share_code_error_text(enum share_code_error e);

int share_code_make(struct share_code *ret_c); /* random. 0 or -EIO */
/* "K3T9-…", with @HOST:PORT if it has a place. */
const char *share_code_write(const struct share_code *c, char buf[static SHARE_CODE_STRLEN]);
/* A code, or a link with one; case, blanks, dashes, O for 0, I and L for 1 do not matter. */
enum share_code_error share_code_parse(struct text t, struct share_code *ret_c);

/* HKDF-SHA256 of the secret. 0 or -EIO. */
struct share_keys {
	uint8_t id[SHARE_ID], token[SHARE_TOKEN], knock[SHARE_KNOCK];
};
int share_keys_make(const uint8_t secret[static SHARE_SECRET], struct share_keys *ret_k);
/* Of one stream of records: kind is "file", "meta", "upload", "name" or "archive". */
int share_stream_key(const uint8_t secret[static SHARE_SECRET], const uint8_t salt[static SHARE_SALT], const char *kind,
		     uint8_t out[static SHARE_KEY]);
/* Sixteen bytes as 32 lower-case hexadecimal digits. -EINVAL. */
int share_hex16(struct text t, uint8_t out[static 16]);
int share_id_parse(struct text t, uint64_t *ret_id); /* sixteen lower-case digits. -EINVAL */
uint64_t share_id_number(const uint8_t id[static SHARE_ID]);
