/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BIO between OpenSSL and datagrams that somebody else receives and sends: it holds at most one
 * datagram, borrowed for the time of one call, and hands what is written to the owner's send callback.
 * Private to the DTLS files.
 */
#pragma once
#include "common/dtls.h"

enum { DTLS_HANDSHAKE_MTU = 1200 }; /* UDP payload; fits every path that IPv6 allows */

struct dtls_wire {
	const struct dtls_ops *ops;
	void *arg;
	struct addr peer, local;
	const uint8_t *in; /* NULL: nothing waits */
	size_t in_n;
	bool peek; /* reading leaves it there */
	bool wrote; /* set by each datagram that is sent */
};

/* Gives ssl a BIO over w, which must outlive it. 0 or -ENOMEM. */
int dtls_wire_attach(struct dtls_wire *w, SSL *ssl);
