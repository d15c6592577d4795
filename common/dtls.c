/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS listener and sessions over OpenSSL (RFC 6347).
 *
 * A listener owns one session that is nobody's yet, the spare. Every ClientHello from an unknown
 * address is shown to it; DTLSv1_listen answers with a cookie and forgets, or finds a good cookie: then
 * the spare becomes the client's session and the next ClientHello makes a new one. So a flood of
 * spoofed addresses costs one HMAC each and no memory.
 *
 * Timers of a session: `resend` is OpenSSL's retransmission timer, asked for after every call;
 * `deadline` ends a handshake that takes too long. Both are stopped when the session closes.
 */
#include "common/dtls.h"
#include "common/bytes.h"
#include "common/dtls_cookie.h"
#include "common/dtls_wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum {
	HANDSHAKE_MS = 10 * 1000,
	RECORD_MAX = 16384,
	RECORD_HEADER = 13,	/* RFC 6347 4.1 */
	HANDSHAKE_HEADER = 12,	/* RFC 6347 4.2.2 */
	CONTENT_HANDSHAKE = 22, /* RFC 5246 6.2.1 */
	CLIENT_HELLO = 1,	/* RFC 5246 7.4 */
	CLIENT_VERSION = 2,	/* bytes; the random follows: RFC 5246 7.4.1.2 */
	GCM_NONCE = 8,		/* in each record: RFC 5288 3; ChaCha20-Poly1305 has none there: RFC 7905 2 */
	AEAD_TAG = 16,
};

enum dtls_state { DTLS_HANDSHAKE, DTLS_OPEN, DTLS_CLOSED };

struct dtls_session {
	struct loop *loop;
	struct tls_ctx *ctx;
	SSL *ssl;
	struct dtls_wire wire;
	const struct dtls_session_ops *ops;
	void *arg;
	enum dtls_state state;
	bool broken; /* after a fatal error nothing more may be said */
	bool freed;  /* by the owner, inside a callback */
	size_t overhead; /* of a record, once the session is open: record_overhead() */
	unsigned depth;
	struct timer resend, deadline;
};

struct dtls_listener {
	struct loop *loop;
	struct tls_ctx *ctx;
	const struct dtls_ops *ops;
	void *arg;
	struct dtls_cookie_jar jar;
	struct dtls_session *spare; /* made when needed */
};

/* ---- sessions ---- */

static void enter(struct dtls_session *s)
{
	s->depth++;
}

/* False if the session is gone. */
static bool leave(struct dtls_session *s)
{
	bool gone = s->freed;

	if (--s->depth == 0 && gone)
		free(s);
	return !gone;
}

static void close_now(struct dtls_session *s, int err, const char *why)
{
	if (s->state == DTLS_CLOSED)
		return;
	s->broken = s->broken || err != 0;
	s->state = DTLS_CLOSED;
	timer_stop(&s->resend);
	timer_stop(&s->deadline);
	if (!s->ops || !s->ops->on_close)
		return;
	enter(s);
	s->ops->on_close(s, err, why, s->arg);
	leave(s);
}

/* OpenSSL's clock is the wall clock; a jump of it only moves one retransmission. */
static void arm_resend(struct dtls_session *s)
{
	struct timeval tv;

	if (s->state == DTLS_CLOSED)
		return;
	if (DTLSv1_get_timeout(s->ssl, &tv) == 1)
		loop_timer_set(s->loop, &s->resend, (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1);
	else
		timer_stop(&s->resend);
}

/* What OpenSSL said other than success. False if the session is closed or gone. */
static bool after_failure(struct dtls_session *s, int r)
{
	char why[160], text[96];
	bool shaking = s->state == DTLS_HANDSHAKE;

	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return true;
	case SSL_ERROR_ZERO_RETURN:
		close_now(s, 0, "closed by the peer");
		return false;
	default:
		break;
	}
	s->broken = true;
	(void)snprintf(why, sizeof(why), "%s: %s", shaking ? "DTLS handshake failed" : "DTLS",
		       tls_failure_text(s->ssl, text, sizeof(text)));
	close_now(s, EPROTO, why);
	return false;
}

/* What the cipher adds to a record; 0: there is no cipher yet. All are AEAD ciphers (common/tls.c). */
static size_t record_overhead(const SSL *ssl)
{
	const SSL_CIPHER *c = SSL_get_current_cipher(ssl);
	const EVP_CIPHER *e;

	if (!c)
		c = SSL_get_pending_cipher(ssl);
	e = c ? EVP_get_cipherbynid(SSL_CIPHER_get_cipher_nid(c)) : NULL;
	if (!e)
		return 0;
	return EVP_CIPHER_get_mode(e) == EVP_CIPH_GCM_MODE ? GCM_NONCE + AEAD_TAG : AEAD_TAG;
}

static bool shake(struct dtls_session *s)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(s->ssl);
	if (r != 1)
		return after_failure(s, r);
	s->state = DTLS_OPEN;
	s->overhead = record_overhead(s->ssl); /* a look-up by name in OpenSSL */
	timer_stop(&s->deadline);
	if (!s->ops || !s->ops->on_open)
		return true;
	enter(s);
	s->ops->on_open(s, s->arg);
	return leave(s) && s->state != DTLS_CLOSED;
}

/* All records of the datagram, which OpenSSL takes in whole with the first, and those that waited for the handshake's end.
 * False if the session is closed or gone. */
static bool read_records(struct dtls_session *s)
{
	do {
		uint8_t record[RECORD_MAX];
		size_t n = 0;

		tls_forget_errors();
		if (SSL_read_ex(s->ssl, record, sizeof(record), &n) != 1)
			return after_failure(s, 0);
		if (!s->ops || !s->ops->on_data)
			continue;
		enter(s);
		s->ops->on_data(s, record, n, s->arg);
		if (!leave(s) || s->state == DTLS_CLOSED)
			return false;
	} while (s->wire.in || SSL_has_pending(s->ssl));
	return true;
}

/* The records at the front that OpenSSL may see. One that is too short for its cipher is to be dropped (RFC 6347
 * 4.1.2.7), but OpenSSL 3.0 ends the session over it, and anybody can send one in the peer's name. What
 * follows in the datagram is the forger's too. */
static size_t sound_records(const struct dtls_session *s, const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	size_t min = s->state == DTLS_OPEN ? s->overhead : record_overhead(s->ssl), sound = 0;

	while (rd_left(&r) >= RECORD_HEADER) {
		rd_take(&r, 3); /* type, version */
		uint16_t epoch = rd_u16(&r);
		rd_take(&r, 6); /* sequence number */
		uint16_t length = rd_u16(&r);

		if (epoch && (!min || length < min))
			break;
		rd_take(&r, length);
		sound = r.failed ? n : n - rd_left(&r); /* a record that is cut off is OpenSSL's to drop */
	}
	return sound;
}

void dtls_session_input(struct dtls_session *s, const void *p, size_t n)
{
	bool alive = true;

	if (s->state == DTLS_CLOSED || (n = sound_records(s, p, n)) == 0)
		return;
	enter(s);
	s->wire.in = p;
	s->wire.in_n = n;
	if (s->state == DTLS_HANDSHAKE)
		alive = shake(s);
	if (alive && s->state == DTLS_OPEN)
		alive = read_records(s);
	if (alive)
		arm_resend(s);
	s->wire.in = NULL; /* borrowed for this call only */
	leave(s);
}

int dtls_session_send(struct dtls_session *s, const void *p, size_t n)
{
	size_t done;

	if (s->state != DTLS_OPEN)
		return -ENOTCONN;
	if (n > RECORD_MAX)
		return -EMSGSIZE;
	if (!n)
		return 0;
	tls_forget_errors();
	if (SSL_write_ex(s->ssl, p, n, &done) == 1)
		return 0;
	ERR_clear_error();
	return -EIO;
}

static void on_resend(struct timer *t, uint64_t now)
{
	struct dtls_session *s = container_of(t, struct dtls_session, resend);

	(void)now;
	ERR_clear_error();
	if (DTLSv1_handle_timeout(s->ssl) < 0) {
		ERR_clear_error();
		close_now(s, ETIMEDOUT, "the peer does not answer the DTLS handshake");
		return;
	}
	arm_resend(s);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct dtls_session *s = container_of(t, struct dtls_session, deadline);

	(void)now;
	close_now(s, ETIMEDOUT, "the DTLS handshake was not finished in time");
}

static int session_new(struct loop *l, struct tls_ctx *ctx, const char *server_name, const struct dtls_ops *ops,
		       void *ops_arg, struct dtls_session **ret_s)
{
	_cleanup_(dtls_session_freep) struct dtls_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->ctx = tls_ctx_ref(ctx);
	s->wire.ops = ops;
	s->wire.arg = ops_arg;
	s->resend.fire = on_resend;
	s->deadline.fire = on_deadline;
	r = tls_session_new(ctx, server_name, &s->ssl);
	if (r == 0)
		r = dtls_wire_attach(&s->wire, s->ssl);
	if (r < 0)
		return r;
	*ret_s = steal_ptr(&s);
	return 0;
}

void dtls_session_bind(struct dtls_session *s, const struct dtls_session_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

void dtls_session_send_by(struct dtls_session *s, void *arg)
{
	s->wire.arg = arg;
}

int dtls_client_new(struct loop *l, const struct dtls_client_options *opt, const struct dtls_session_ops *ops,
		    void *arg, struct dtls_session **ret_s)
{
	_cleanup_(dtls_session_freep) struct dtls_session *s = NULL;
	int r = session_new(l, opt->ctx, opt->server_name, opt->ops, opt->ops_arg, &s);

	if (r < 0)
		return r;
	s->wire.peer = *opt->peer;
	if (!shake(s)) /* nobody is bound yet, so nothing was called back */
		return -EPROTO;
	dtls_session_bind(s, ops, arg);
	loop_timer_set(l, &s->deadline, HANDSHAKE_MS);
	arm_resend(s);
	*ret_s = steal_ptr(&s);
	return 0;
}

struct dtls_session *dtls_session_free(struct dtls_session *s)
{
	if (!s || s->freed)
		return NULL;
	timer_stop(&s->resend);
	timer_stop(&s->deadline);
	if (s->ssl && !s->broken && SSL_is_init_finished(s->ssl)) {
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl);
		ERR_clear_error();
	}
	SSL_free(s->ssl);
	s->ssl = NULL;
	tls_ctx_unref(s->ctx);
	s->state = DTLS_CLOSED;
	s->freed = true;
	if (!s->depth)
		free(s);
	return NULL;
}

const struct addr *dtls_session_peer(const struct dtls_session *s)
{
	return &s->wire.peer;
}

const struct addr *dtls_session_local(const struct dtls_session *s)
{
	return &s->wire.local;
}

SSL *dtls_session_ssl(const struct dtls_session *s)
{
	return s->ssl;
}

/* ---- the listener ---- */

int dtls_listener_new(struct loop *l, struct tls_ctx *ctx, const struct dtls_ops *ops, void *arg,
		      struct dtls_listener **ret_l)
{
	struct dtls_listener *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = dtls_cookie_init(&d->jar, loop_now(l));
	if (r < 0) {
		free(d);
		return r;
	}
	d->loop = l;
	d->ctx = tls_ctx_ref(ctx);
	d->ops = ops;
	d->arg = arg;
	*ret_l = d;
	return 0;
}

struct dtls_listener *dtls_listener_free(struct dtls_listener *d)
{
	if (!d)
		return NULL;
	dtls_session_free(d->spare);
	tls_ctx_unref(d->ctx);
	OPENSSL_cleanse(&d->jar, sizeof(d->jar));
	free(d);
	return NULL;
}

void dtls_listener_set_ctx(struct dtls_listener *d, struct tls_ctx *ctx)
{
	struct tls_ctx *old = d->ctx;

	d->ctx = tls_ctx_ref(ctx);
	d->spare = dtls_session_free(d->spare); /* of the old context, and nobody's yet */
	tls_ctx_unref(old);
}

/* Cheap look before OpenSSL's: only an unencrypted, unfragmented ClientHello can open a session. */
static bool looks_like_client_hello(const uint8_t *p, size_t n)
{
	return n >= RECORD_HEADER + HANDSHAKE_HEADER && p[0] == CONTENT_HANDSHAKE && p[1] == 0xfe &&
	       p[3] == 0 && p[4] == 0 /* epoch */ && p[RECORD_HEADER] == CLIENT_HELLO;
}

bool dtls_session_restarts(const struct dtls_session *s, const void *p, size_t n)
{
	uint8_t mine[SSL3_RANDOM_SIZE];
	const size_t at = RECORD_HEADER + HANDSHAKE_HEADER + CLIENT_VERSION;

	return s->state == DTLS_OPEN && n >= at + sizeof(mine) && looks_like_client_hello(p, n) &&
	       SSL_get_client_random(s->ssl, mine, sizeof(mine)) == sizeof(mine) &&
	       memcmp((const uint8_t *)p + at, mine, sizeof(mine)) != 0;
}

/* A ClientHello with a good cookie: the spare answers it and goes to the caller. */
static int promote(struct dtls_listener *d, struct dtls_session **ret_s)
{
	struct dtls_session *s = steal_ptr(&d->spare);
	bool alive = shake(s);

	s->wire.in = NULL;
	dtls_cookie_attach(NULL, s->ssl);
	if (!alive) { /* no common cipher, and the like: the alert is on its way */
		dtls_session_free(s);
		return -ECONNABORTED;
	}
	loop_timer_set(d->loop, &s->deadline, HANDSHAKE_MS);
	arm_resend(s);
	*ret_s = s;
	return 1;
}

int dtls_listener_input(struct dtls_listener *d, const struct addr *peer, const struct addr *local,
			const void *p, size_t n, struct dtls_session **ret_s)
{
	static const struct addr unknown;
	BIO_ADDR *ignored;
	int r;

	if (!looks_like_client_hello(p, n))
		return -EPROTO;
	if (!d->spare && (r = session_new(d->loop, d->ctx, NULL, d->ops, d->arg, &d->spare)) < 0)
		return r;
	local = local ? local : &unknown;
	r = dtls_cookie_begin(&d->jar, peer, local, loop_now(d->loop));
	if (r < 0)
		return r;
	ignored = BIO_ADDR_new(); /* DTLSv1_listen wants one; our BIO has nothing to put there */
	if (!ignored)
		return -ENOMEM;
	d->spare->wire.peer = *peer;
	d->spare->wire.local = *local;
	d->spare->wire.in = p;
	d->spare->wire.in_n = n;
	d->spare->wire.wrote = false;
	dtls_cookie_attach(&d->jar, d->spare->ssl);
	r = DTLSv1_listen(d->spare->ssl, ignored);
	BIO_ADDR_free(ignored);
	if (r > 0)
		return promote(d, ret_s);
	ERR_clear_error();
	d->spare->wire.in = NULL;
	if (r == 0 && d->spare->wire.wrote)
		return 0;
	if (r < 0)
		d->spare = dtls_session_free(d->spare);
	return -EPROTO;
}
