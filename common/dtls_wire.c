/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BIO of one datagram. Reading takes the whole datagram, as from a socket: what does not fit is
 * cut off. Writing is sending; OpenSSL collects a flight up to the MTU before it writes. The MTU is
 * answered, never asked for: nothing here knows the path.
 */
#include "common/dtls_wire.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <string.h>

enum { UDP_OVERHEAD = 48 }; /* IPv6 and UDP headers */

static int wire_write(BIO *bio, const char *p, size_t n, size_t *ret_n)
{
	struct dtls_wire *w = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	w->wrote = true;
	w->ops->send(&w->peer, &w->local, p, n, w->arg);
	*ret_n = n; /* a datagram that was lost is retransmitted by the protocol, not by us */
	return 1;
}

static int wire_read(BIO *bio, char *p, size_t n, size_t *ret_n)
{
	struct dtls_wire *w = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!w->in) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*ret_n = MIN(n, w->in_n);
	memcpy(p, w->in, *ret_n);
	if (!w->peek)
		w->in = NULL;
	return 1;
}

static long wire_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct dtls_wire *w = BIO_get_data(bio);

	(void)ptr;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
	case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT:
		return 1;
	case BIO_CTRL_DGRAM_QUERY_MTU:
	case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
		return DTLS_HANDSHAKE_MTU;
	case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
		return UDP_OVERHEAD;
	case BIO_CTRL_DGRAM_SET_PEEK_MODE:
		w->peek = num != 0;
		return 1;
	default:
		return 0;
	}
}

static BIO_METHOD *method;

static void make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "one datagram");

	if (m && BIO_meth_set_write_ex(m, wire_write) && BIO_meth_set_read_ex(m, wire_read) &&
	    BIO_meth_set_ctrl(m, wire_ctrl))
		method = m; /* lives as long as the process */
	else
		BIO_meth_free(m);
}

int dtls_wire_attach(struct dtls_wire *w, SSL *ssl)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, make_method);
	bio = method ? BIO_new(method) : NULL;
	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, w);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	if (SSL_set_mtu(ssl, DTLS_HANDSHAKE_MTU) != DTLS_HANDSHAKE_MTU)
		return -EINVAL;
	return 0;
}
