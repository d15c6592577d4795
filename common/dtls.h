/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS 1.2 sessions without sockets: datagrams in, datagrams and application records out.
 *
 * The listener holds no memory for a source that has not returned its cookie (RFC 6347 4.2.1;
 * the cookie is a MAC over the source address under a rotating key). A ClientHello with a good
 * cookie becomes a session. Retransmission runs on the timers of the loop given; a handshake has ten
 * seconds. Callbacks come from dtls_session_input() and from timers; any of them may free the session.
 * An idle open session is its owner's to end.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"
#include "common/tls.h"

struct dtls_ops {
	/* Sends one datagram to the peer (of a session, or during the cookie exchange). */
	void (*send)(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg);
};

/* Installs the cookie callbacks; called by tls_ctx_new() for a DTLS server, before ctx is shared. */
void dtls_prepare_ctx(SSL_CTX *ctx);

struct dtls_listener;
struct dtls_session;

int dtls_listener_new(struct loop *l, struct tls_ctx *ctx, const struct dtls_ops *ops, void *arg,
		      struct dtls_listener **ret_l);
struct dtls_listener *dtls_listener_free(struct dtls_listener *d);
/* What opens from now on gets this context (a new certificate); open sessions and handshakes keep theirs. Not
 * from inside dtls_listener_input(). */
void dtls_listener_set_ctx(struct dtls_listener *d, struct tls_ctx *ctx);
/* A datagram from an address without a session. 0: answered with a cookie request; 1: *ret_s is a new
 * session (the caller owns it, keeps it by (peer, local) and feeds it from now on). -EPROTO: dropped, for
 * it is no ClientHello that could open one; -ECONNABORTED: its cookie was good, but there is no common
 * version or cipher, and an alert says so; -ENOMEM. */
int dtls_listener_input(struct dtls_listener *d, const struct addr *peer, const struct addr *local,
			const void *p, size_t n, struct dtls_session **ret_s);

struct dtls_session_ops {
	void (*on_open)(struct dtls_session *s, void *arg);
	void (*on_data)(struct dtls_session *s, uint8_t *p, size_t n, void *arg); /* one record */
	void (*on_close)(struct dtls_session *s, int err, const char *why, void *arg); /* once; may free s */
};
/* Right after dtls_listener_input() returned 1; nothing is called back before it. */
void dtls_session_bind(struct dtls_session *s, const struct dtls_session_ops *ops, void *arg);
/* Sends its ClientHello before it returns. */
struct dtls_client_options {
	struct tls_ctx *ctx;
	const char *server_name; /* SNI and name to verify; may be NULL */
	const struct addr *peer;
	const struct dtls_ops *ops;
	void *ops_arg;
};
int dtls_client_new(struct loop *l, const struct dtls_client_options *opt, const struct dtls_session_ops *ops,
		    void *arg, struct dtls_session **ret_s);
void dtls_session_input(struct dtls_session *s, const void *p, size_t n);
/* True: the datagram is a ClientHello of a peer that has lost this open session and begins anew from the same
 * address and port (RFC 6347 4.2.8). It is for the listener: if that returns 1, the peer has returned a cookie,
 * and this session is to be freed. A late copy of the hello that began this session is none. */
bool dtls_session_restarts(const struct dtls_session *s, const void *p, size_t n);
/* What it sends goes by this arg of its dtls_ops from now on: the listener that it came by will not outlive it. */
void dtls_session_send_by(struct dtls_session *s, void *arg);
/* One record in one datagram: 0, -ENOTCONN, -EMSGSIZE (over 16 KiB), -EIO. */
int dtls_session_send(struct dtls_session *s, const void *p, size_t n);
struct dtls_session *dtls_session_free(struct dtls_session *s); /* sends close_notify if open */
const struct addr *dtls_session_peer(const struct dtls_session *s);
const struct addr *dtls_session_local(const struct dtls_session *s);
SSL *dtls_session_ssl(const struct dtls_session *s);
DEFINE_CLEANUP(struct dtls_session, dtls_session_free)
