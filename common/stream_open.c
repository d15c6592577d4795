/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How streams begin: from a descriptor that somebody accepted, or as a connection of our own. Nothing
 * is called back from in here: the first step, be it a handshake or the report of a connect() that failed
 * at once, is taken by the loop. The descriptor is the stream's from the call on, also if that fails.
 */
#include "common/stream_priv.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { OUT_DEFAULT = 256 * 1024, HANDSHAKE_MS = 10 * 1000, FLUSH_DEFAULT_MS = 10 * 1000 };

void stream_learn_addresses(struct stream *s)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);

	if (!getpeername(s->fd, (struct sockaddr *)&ss, &n) && (ss.ss_family == AF_INET || ss.ss_family == AF_INET6))
		(void)addr_from_sockaddr((struct sockaddr *)&ss, n, &s->peer);
	n = sizeof(ss);
	if (!getsockname(s->fd, (struct sockaddr *)&ss, &n) && (ss.ss_family == AF_INET || ss.ss_family == AF_INET6))
		(void)addr_from_sockaddr((struct sockaddr *)&ss, n, &s->local);
}

static int stream_setup(struct stream *s, const struct stream_options *opt)
{
	int r, one = 1;

	s->max_in = opt->max_in ? opt->max_in : STREAM_IN_DEFAULT;
	s->max_out = opt->max_out ? opt->max_out : OUT_DEFAULT;
	s->idle_ms = opt->idle_ms;
	s->flush_ms = opt->flush_ms ? opt->flush_ms : FLUSH_DEFAULT_MS;
	s->handshake_wants = IO_READ;
	s->wire = opt->tls || opt->ssl ? &stream_wire_tls : &stream_wire_plain;
	stream_set_timers(s);
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* not on Unix sockets */
	s->ssl = opt->ssl;
	s->tls = opt->tls ? tls_ctx_ref(opt->tls) : NULL;
	if (s->tls && !s->ssl) {
		r = tls_session_new(opt->tls, opt->server_name, &s->ssl);
		if (r < 0)
			return r;
		if (SSL_set_fd(s->ssl, s->fd) != 1)
			return -ENOMEM;
	}
	r = io_start(&s->io, s->loop, s->fd, 0, stream_on_ready);
	if (r < 0)
		return r;
	loop_timer_set(s->loop, &s->deadline, opt->handshake_ms ? opt->handshake_ms : HANDSHAKE_MS);
	return 0;
}

static int stream_make(struct loop *l, int fd, const struct stream_options *opt, const struct stream_ops *ops,
		       void *arg, struct stream **ret_s)
{
	static const struct stream_options defaults;
	_cleanup_(stream_freep) struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(fd);
		if (opt && opt->ssl)
			SSL_free(opt->ssl);
		return -ENOMEM;
	}
	s->fd = fd;
	s->loop = l;
	s->ops = ops;
	s->arg = arg;
	s->state = STREAM_CONNECTING;
	r = stream_setup(s, opt ? opt : &defaults);
	if (r < 0)
		return r;
	*ret_s = steal_ptr(&s);
	return 0;
}

int stream_new(struct loop *l, int fd, const struct stream_options *opt, const struct stream_ops *ops,
	       void *arg, struct stream **ret_s)
{
	struct stream *s;
	int r = stream_make(l, fd, opt, ops, arg, &s);

	if (r < 0)
		return r;
	stream_learn_addresses(s);
	s->state = STREAM_HANDSHAKE;
	loop_timer_set(l, &s->soon, 0);
	*ret_s = s;
	return 0;
}

int stream_connect(struct loop *l, const struct addr *to, const struct stream_options *opt,
		   const struct stream_ops *ops, void *arg, struct stream **ret_s)
{
	int fd = socket(addr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stream *s;
	int r;

	if (fd < 0)
		return -errno;
	if (opt && opt->bind_to && bind(fd, &opt->bind_to->sa, addr_len(opt->bind_to)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	r = stream_make(l, fd, opt, ops, arg, &s);
	if (r < 0)
		return r;
	s->peer = *to;
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS && errno != EINTR)
		stream_fail_later(s, errno, "the connection cannot be started");
	else
		stream_watch(s);
	*ret_s = s;
	return 0;
}
