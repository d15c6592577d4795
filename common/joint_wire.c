/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways in which a joint's side moves bytes: plain, and through OpenSSL.
 *
 * TLS reads ahead: one recv() brings as many records as the socket holds, and one read of ours takes all of
 * them that fit the loop's buffer, so that the far side gets them in one write. OpenSSL gives its buffers
 * back while nothing is under way.
 */
#include "common/joint_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { RECORD_MAX = 16384 };

static void set_why(char why[static JOINT_WHY], const char *text)
{
	(void)snprintf(why, JOINT_WHY, "%s", text);
}

/* ---- plain ---- */

static ssize_t plain_read(struct joint_end_side *s, uint8_t *p, size_t n, char why[static JOINT_WHY])
{
	ssize_t r;

	do {
		r = recv(s->fd, p, n, MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	s->drained = r < (ssize_t)n && !s->hung_up;
	if (r >= 0)
		return r;
	if (errno != EAGAIN)
		set_why(why, strerror(errno));
	return -errno;
}

static ssize_t plain_write(struct joint_end_side *s, const uint8_t *p, size_t n, char why[static JOINT_WHY])
{
	ssize_t r;

	do {
		r = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno != EAGAIN)
		set_why(why, strerror(errno));
	return -errno;
}

static int plain_finish(struct joint_end_side *s)
{
	(void)shutdown(s->fd, SHUT_WR);
	return 0;
}

const struct joint_wire joint_wire_plain = {
	.splices = true,
	.read = plain_read,
	.write = plain_write,
	.finish = plain_finish,
};

/* ---- TLS ---- */

/* The verdict on a call of OpenSSL that did not succeed. */
static int tls_verdict(struct joint_end_side *s, int ret, int sys_error, char why[static JOINT_WHY])
{
	int e = SSL_get_error(s->ssl, ret);

	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (e == SSL_ERROR_ZERO_RETURN)
		return 0;
	return tls_stream_broken(s->ssl, e, sys_error, why, JOINT_WHY);
}

static int tls_handshake(struct joint_end_side *s, char why[static JOINT_WHY])
{
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(s->ssl);
	if (r == 1)
		return 0;
	r = tls_verdict(s, r, errno, why);
	if (r == 0) {
		set_why(why, "closed by the peer during the TLS handshake");
		r = -ECONNRESET;
	}
	return r;
}

static ssize_t tls_read(struct joint_end_side *s, uint8_t *p, size_t n, char why[static JOINT_WHY])
{
	size_t got = 0, total = 0;
	int r;

	s->drained = false;
	tls_forget_errors();
	do {
		errno = 0;
		r = SSL_read_ex(s->ssl, p + total, n - total, &got);
		if (r == 1)
			total += got;
	} while (r == 1 && n - total >= RECORD_MAX);
	if (r == 1)
		return (ssize_t)total;
	if (total && SSL_get_error(s->ssl, 0) != SSL_ERROR_WANT_READ) {
		ERR_clear_error();
		return (ssize_t)total; /* the next read tells what is wrong */
	}
	if (total) {
		s->drained = true;
		return (ssize_t)total;
	}
	return tls_verdict(s, 0, errno, why);
}

static void cork(const struct joint_end_side *s, int on)
{
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)); /* not on Unix sockets */
}

/* Several records in a row leave together: the way through the kernel costs by packet train, not by byte. */
static ssize_t tls_write(struct joint_end_side *s, const uint8_t *p, size_t n, char why[static JOINT_WHY])
{
	bool many = n > RECORD_MAX;
	size_t total = 0, done;
	int r, saved;

	tls_forget_errors();
	errno = 0;
	if (many)
		cork(s, 1);
	do {
		r = SSL_write_ex(s->ssl, p + total, n - total, &done);
		if (r == 1)
			total += done;
	} while (r == 1 && total < n);
	saved = errno;
	if (many)
		cork(s, 0);
	if (total) {
		if (r != 1)
			ERR_clear_error(); /* the next write tells what is wrong */
		return (ssize_t)total;
	}
	r = tls_verdict(s, 0, saved, why);
	return r ? r : -EPIPE;
}

static int tls_finish(struct joint_end_side *s)
{
	int r;

	ERR_clear_error();
	r = SSL_shutdown(s->ssl);
	if (r < 0 && SSL_get_error(s->ssl, r) == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	ERR_clear_error();
	(void)shutdown(s->fd, SHUT_WR);
	return 0;
}

const struct joint_wire joint_wire_tls = {
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.finish = tls_finish,
};

int joint_side_wire(struct joint_end_side *s, const struct joint_tls *tls)
{
	int r;

	s->wire = &joint_wire_plain;
	if (!tls || !tls->ctx)
		return 0;
	s->wire = &joint_wire_tls;
	s->tls = tls_ctx_ref(tls->ctx);
	r = tls_session_new(tls->ctx, tls->server_name, &s->ssl);
	if (r < 0)
		return r;
	if (SSL_set_fd(s->ssl, s->fd) != 1)
		return -ENOMEM;
	SSL_set_read_ahead(s->ssl, 1);
	SSL_set_default_read_buffer_len(s->ssl, JOINT_BUFFER);
	return 0;
}
