/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY protocol version 2 (haproxy's proxy-protocol.txt, 2.2): the header in front of a connection by
 * which a load balancer tells whose connection it really is. Reader and writer; no I/O, no allocation.
 *
 * Whoever may send such a header can claim any address, so the caller reads one only from senders it has
 * been told of, and then demands it. Version 1, the line of text, is refused with a reason of its own.
 * Stricter than the text where it leaves a choice: TLVs must fill the rest of the header exactly, and
 * those that are understood come once.
 */
#pragma once
#include "common/addr.h"
#include "common/bytes.h"
#include "common/text.h"

enum {
	PROXY_FIXED = 16,	/* signature, version and command, family, length */
	PROXY_MAX = 4096,	/* longest header that is read; with a client's certificate they take 1 to 2 KiB */
	PROXY_WRITE_MAX = 640,	/* longest that proxy_write() makes: IPv6, both names, checksum */
};

/* Positive module codes. */
enum proxy_error {
	PROXY_OK,
	PROXY_INCOMPLETE, /* a good beginning; not an error on a stream */
	PROXY_MISSING,	  /* something else than a header */
	PROXY_VERSION_1,
	PROXY_BAD_VERSION,
	PROXY_BAD_COMMAND,
	PROXY_BAD_FAMILY,
	PROXY_TOO_LONG,
	PROXY_BAD_ADDRESS, /* the header is too short for addresses of its family */
	PROXY_BAD_TLV,
	PROXY_BAD_CHECKSUM,
	PROXY_ERRORS
};
const char *proxy_error_text(enum proxy_error e); /* a sentence for the log: what came instead, and perhaps why */

struct proxy_header {
	size_t length; /* of the whole header: what follows is the connection's own */
	bool local;    /* LOCAL: the sender speaks for itself (a health check); nothing below is set */
	/* Both unset if the sender did not know them, or it was no TCP: the connection's own addresses hold. */
	struct addr client, server;
	struct text alpn, authority; /* PP2_TYPE_ALPN and _AUTHORITY, into the bytes parsed; p is NULL without one */
	bool checksum;		     /* it carries one (and it is right); to proxy_write: add one */
};

/* How many bytes may be read, given the n there are, without reading beyond the header; 0: it is whole, or
 * no header. So that a reader leaves to the connection what is the connection's. */
size_t proxy_wanted(const uint8_t *p, size_t n);
/* What it says about a beginning it also says about the whole, or PROXY_INCOMPLETE. */
enum proxy_error proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_h);
/* Client and server must be of one family, or both unset. w latches if there is no room, or if a name has
 * more than 255 bytes. h->length is not looked at. */
void proxy_write(struct wr *w, const struct proxy_header *h);
