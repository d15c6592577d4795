/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways a stream moves bytes: plain, and through OpenSSL. No switch on the transport stands
 * anywhere else.
 *
 * A peer's close_notify is the end of the stream. A bare FIN is one too, because many clients never
 * send close_notify and the protocols above are framed; the log line says which it was.
 */
#include "common/stream_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_MAX = 16384 };

static void set_why(char why[static STREAM_WHY], const char *text)
{
	(void)snprintf(why, STREAM_WHY, "%s", text);
}

/* ---- plain ---- */

static ssize_t plain_read(struct stream *s, void *p, size_t n, char why[static STREAM_WHY])
{
	ssize_t r;

	do {
		r = recv(s->fd, p, n, MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	if (r > 0)
		return r;
	if (r < 0 && errno == EAGAIN)
		return -EAGAIN;
	set_why(why, r == 0 ? "closed by the peer" : strerror(errno));
	return r == 0 ? 0 : -errno;
}

static ssize_t plain_writev(struct stream *s, const struct iovec *v, int n, char why[static STREAM_WHY])
{
	struct msghdr h = { .msg_iov = (struct iovec *)v, .msg_iovlen = (size_t)n };
	ssize_t r;

	do {
		r = sendmsg(s->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno == EAGAIN)
		return -EAGAIN;
	set_why(why, strerror(errno));
	return -errno;
}

static void plain_shutdown(struct stream *s)
{
	(void)shutdown(s->fd, SHUT_WR);
}

static bool plain_pending(const struct stream *s)
{
	(void)s;
	return false;
}

const struct stream_wire stream_wire_plain = {
	.read = plain_read,
	.writev = plain_writev,
	.shutdown = plain_shutdown,
	.pending = plain_pending,
};

/* ---- TLS ---- */

/* An error that ends the stream. The FIN without close_notify is an end and not an error. */
static int tls_broken(struct stream *s, int ssl_error, int sys_error, char why[static STREAM_WHY])
{
	s->broken = true;
	return tls_stream_broken(s->ssl, ssl_error, sys_error, why, STREAM_WHY);
}

static int tls_handshake(struct stream *s, char why[static STREAM_WHY])
{
	int r, e, saved;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(s->ssl);
	if (r == 1)
		return 0;
	saved = errno;
	e = SSL_get_error(s->ssl, r);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
		s->handshake_wants = e == SSL_ERROR_WANT_READ ? IO_READ : IO_WRITE;
		return -EAGAIN;
	}
	r = tls_broken(s, e, saved, why);
	if (r == 0) {
		set_why(why, "closed by the peer during the TLS handshake");
		r = -ECONNRESET;
	}
	return r;
}

static ssize_t tls_read(struct stream *s, void *p, size_t n, char why[static STREAM_WHY])
{
	size_t got = 0;
	int e, saved;

	tls_forget_errors();
	errno = 0;
	s->read_wants_write = false;
	if (SSL_read_ex(s->ssl, p, n, &got) == 1)
		return (ssize_t)got;
	saved = errno;
	e = SSL_get_error(s->ssl, 0);
	switch (e) {
	case SSL_ERROR_WANT_WRITE:
		s->read_wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		set_why(why, "closed by the peer");
		return 0;
	default:
		return tls_broken(s, e, saved, why);
	}
}

/* One record at most. After -EAGAIN the caller comes back with the same bytes, or more behind them. */
static ssize_t tls_writev(struct stream *s, const struct iovec *v, int n, char why[static STREAM_WHY])
{
	uint8_t record[RECORD_MAX];
	const void *p = v[0].iov_base;
	size_t len = v[0].iov_len, done = 0;
	int e, r, saved;

	if (n > 1) {
		len = 0;
		for (int i = 0; i < n && len < sizeof(record); i++) {
			size_t part = MIN(v[i].iov_len, sizeof(record) - len);

			if (part) /* an empty part may have no address */
				memcpy(record + len, v[i].iov_base, part);
			len += part;
		}
		p = record;
	}
	tls_forget_errors();
	errno = 0;
	if (SSL_write_ex(s->ssl, p, len, &done) == 1)
		return (ssize_t)done;
	saved = errno;
	e = SSL_get_error(s->ssl, 0);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	r = tls_broken(s, e, saved, why);
	return r ? r : -EPIPE;
}

static void tls_shutdown(struct stream *s)
{
	if (!s->broken && SSL_is_init_finished(s->ssl)) {
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl);
		ERR_clear_error();
	}
	(void)shutdown(s->fd, SHUT_WR);
}

static bool tls_pending(const struct stream *s)
{
	return SSL_pending(s->ssl) > 0;
}

const struct stream_wire stream_wire_tls = {
	.handshake = tls_handshake,
	.read = tls_read,
	.writev = tls_writev,
	.shutdown = tls_shutdown,
	.pending = tls_pending,
};
