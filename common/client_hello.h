/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first message of a TLS client (RFC 8446 4.1.2, RFC 5246 7.4.1.2), read before anybody answers it: for
 * whom it is (server_name, RFC 6066 3) and what is to be spoken (ALPN, RFC 7301 3.1). Enough to hand the
 * connection on; the handshake is somebody else's, and so is every check that this needs no more than.
 *
 * The hello may lie in several records, cut anywhere. Nothing is allocated: the pieces are moved together
 * within the caller's buffer, a copy that it must be able to lose. With Encrypted Client Hello the name
 * is the outer one, as whoever set it up meant it to be.
 */
#pragma once
#include "common/bytes.h"
#include "common/text.h"

enum { CLIENT_HELLO_MAX = 16384 }; /* bytes of records; a browser's takes about 2 KiB */

/* Positive module codes. */
enum client_hello_error {
	CLIENT_HELLO_OK,
	CLIENT_HELLO_INCOMPLETE, /* a good beginning */
	CLIENT_HELLO_NOT_TLS,	 /* it does not begin with a handshake record */
	CLIENT_HELLO_BAD_RECORD,
	CLIENT_HELLO_OTHER_MESSAGE, /* a handshake record that holds something else */
	CLIENT_HELLO_TOO_LONG,
	CLIENT_HELLO_MALFORMED, /* a length that lies, a list that is empty */
	CLIENT_HELLO_BAD_NAME,	/* the name or the protocols it asks for */
	CLIENT_HELLO_ERRORS
};
const char *client_hello_error_text(enum client_hello_error e);

struct client_hello {
	struct text server_name; /* p is NULL without one; printable ASCII, at most 255 bytes, its case as it came */
	struct rd alpn;		 /* the list, checked, for client_hello_next_alpn(); empty without one */
};
/* Slices point into p, whose bytes have been moved. What it says about a beginning it also says about the
 * whole, or INCOMPLETE. */
enum client_hello_error client_hello_parse(uint8_t *p, size_t n, struct client_hello *ret_h);
/* False at the end of the list. */
bool client_hello_next_alpn(struct rd *list, struct text *ret_name);
bool client_hello_offers(const struct client_hello *h, struct text protocol);
