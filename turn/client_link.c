/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets for a TURN client: datagrams over a connected UDP socket (DTLS on top of it where asked), or a
 * stream cut into frames by turn_frame_length. One small vtable row per kind. The owner may free the
 * link in any callback but those of turn_link_new itself, which calls none.
 */
#include "turn/client_link.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/dgram.h"
#include "common/dtls.h"
#include "common/stream.h"

struct link_kind {
	int (*open)(struct turn_link *l, const struct turn_link_options *o);
	void (*close)(struct turn_link *l);
	int (*send)(struct turn_link *l, const void *p, size_t n);
};

struct turn_link {
	const struct link_kind *kind;
	struct loop *loop;
	enum turn_proto proto;
	const struct turn_link_ops *ops;
	void *arg;
	struct addr server, local;
	struct tls_ctx *tls;
	struct timer opened; /* UDP: on_open must not come from turn_link_new */
	struct io io;	     /* UDP and DTLS; fd -1: none */
	struct dtls_session *dtls;
	struct stream *stream;
	unsigned depth; /* of callbacks under way: the struct outlives them */
	bool dead;	/* freed by its owner in one of them */
};

static void leave(struct turn_link *l)
{
	if (--l->depth == 0 && l->dead)
		free(l);
}

/* ---- datagrams ---- */

static void on_datagrams(struct io *io, int events)
{
	struct turn_link *l = container_of(io, struct turn_link, io);
	uint8_t buf[DGRAM_MAX];

	(void)events;
	l->depth++;
	for (int i = 0; i < DGRAM_BATCH && !l->dead; i++) {
		ssize_t n = recv(io->fd, buf, sizeof buf, MSG_DONTWAIT);
		if (n < 0 && errno == ECONNREFUSED)
			l->ops->on_close(l, ECONNREFUSED, "nobody listens on that port", l->arg);
		if (n < 0)
			break;
		if (l->dtls)
			dtls_session_input(l->dtls, buf, (size_t)n);
		else
			l->ops->on_message(l, buf, (size_t)n, l->arg);
	}
	leave(l);
}

static void on_opened(struct timer *t, uint64_t now)
{
	struct turn_link *l = container_of(t, struct turn_link, opened);

	(void)now;
	if (l->ops->on_open)
		l->ops->on_open(l, l->arg);
}

static int udp_socket(struct turn_link *l, const struct turn_link_options *o)
{
	struct addr any = addr_family(&o->server) == AF_INET ? addr_v4(0, 0) : addr_v6((uint8_t[16]){ 0 }, 0);
	socklen_t len = sizeof l->local;
	int fd, r = dgram_socket(o->bind_to ? o->bind_to : &any,
				 &(struct dgram_socket_options){ .v6only = true, .rcvbuf = 1 << 20, .sndbuf = 1 << 20 }, &fd);

	if (r < 0)
		return r;
	if (connect(fd, &o->server.sa, addr_len(&o->server)) < 0 || getsockname(fd, &l->local.sa, &len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if ((r = io_start(&l->io, l->loop, fd, IO_READ, on_datagrams)) < 0) {
		close(fd);
		l->io.fd = -1;
	}
	return r;
}

static int udp_open(struct turn_link *l, const struct turn_link_options *o)
{
	int r = udp_socket(l, o);

	if (r == 0)
		loop_timer_set(l->loop, &l->opened, 0);
	return r;
}

static void udp_close(struct turn_link *l)
{
	if (l->io.fd < 0)
		return;
	int fd = l->io.fd;
	io_stop(&l->io);
	close(fd);
	l->io.fd = -1;
}

static int udp_send(struct turn_link *l, const void *p, size_t n)
{
	/* An ICMP error of an earlier datagram is reported by the next call: it is not this one's. */
	for (int i = 0; i < 2; i++) {
		if (send(l->io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != ECONNREFUSED)
			break;
	}
	return errno == EAGAIN ? -ENOBUFS : -errno;
}

static const struct link_kind kind_udp = { udp_open, udp_close, udp_send };

/* ---- DTLS ---- */

static void dtls_out(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg)
{
	(void)to;
	(void)from;
	(void)udp_send(arg, p, n); /* lost like any datagram; DTLS repeats its handshake */
}

static void on_dtls_open(struct dtls_session *s, void *arg)
{
	struct turn_link *l = arg;

	(void)s;
	if (l->ops->on_open)
		l->ops->on_open(l, l->arg);
}

static void on_dtls_data(struct dtls_session *s, uint8_t *p, size_t n, void *arg)
{
	struct turn_link *l = arg;

	(void)s;
	l->ops->on_message(l, p, n, l->arg);
}

static void on_dtls_close(struct dtls_session *s, int err, const char *why, void *arg)
{
	struct turn_link *l = arg;

	(void)s;
	l->ops->on_close(l, err, why, l->arg);
}

static int dtls_open(struct turn_link *l, const struct turn_link_options *o)
{
	static const struct dtls_ops out = { dtls_out };
	static const struct dtls_session_ops ops = { on_dtls_open, on_dtls_data, on_dtls_close };
	const struct dtls_client_options client = { l->tls, o->server_name, &o->server, &out, l };
	int r = udp_socket(l, o);

	return r < 0 ? r : dtls_client_new(l->loop, &client, &ops, l, &l->dtls);
}

static void dtls_close(struct turn_link *l)
{
	l->dtls = dtls_session_free(l->dtls);
	udp_close(l);
}

static int dtls_send(struct turn_link *l, const void *p, size_t n)
{
	return dtls_session_send(l->dtls, p, n);
}

static const struct link_kind kind_dtls = { dtls_open, dtls_close, dtls_send };

/* ---- TCP and TLS ---- */

static void on_stream_open(struct stream *s, void *arg)
{
	struct turn_link *l = arg;

	l->local = *stream_local(s);
	if (l->ops->on_open)
		l->ops->on_open(l, l->arg);
}

static size_t on_stream_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct turn_link *l = arg;
	size_t used = 0;

	l->depth++;
	while (used < n && !l->dead) {
		size_t payload;
		ssize_t frame = turn_frame_length(p + used, n - used, &payload);
		if (frame < 0) { /* no way to find the next frame */
			stream_finish(s);
			used = n;
			break;
		}
		if (frame == 0 || (size_t)frame > n - used)
			break;
		l->ops->on_message(l, p + used, payload, l->arg);
		used += (size_t)frame;
	}
	leave(l);
	return used;
}

static void on_stream_close(struct stream *s, int err, const char *why, void *arg)
{
	struct turn_link *l = arg;

	(void)s;
	l->ops->on_close(l, err ? err : ECONNRESET, err ? why : "the server closed the connection", l->arg);
}

static int stream_link_open(struct turn_link *l, const struct turn_link_options *o)
{
	static const struct stream_ops ops = { .on_open = on_stream_open, .on_data = on_stream_data,
					       .on_close = on_stream_close };

	return stream_connect(l->loop, &o->server,
			      &(struct stream_options){ .tls = l->tls, .server_name = o->server_name,
							.bind_to = o->bind_to,
							.max_in = 1 << 17, .max_out = 1 << 20 },
			      &ops, l, &l->stream);
}

static void stream_link_close(struct turn_link *l)
{
	l->stream = stream_free(l->stream);
}

static int stream_link_send(struct turn_link *l, const void *p, size_t n)
{
	return stream_write(l->stream, p, n);
}

static const struct link_kind kind_stream = { stream_link_open, stream_link_close, stream_link_send };

/* ---- all kinds ---- */

static const struct {
	const char *name;
	const struct link_kind *kind;
	bool secure, stream;
	uint16_t port;
} protos[] = {
	[TURN_UDP] = { "udp", &kind_udp, false, false, 3478 },
	[TURN_TCP] = { "tcp", &kind_stream, false, true, 3478 },
	[TURN_TLS] = { "tls", &kind_stream, true, true, 5349 },
	[TURN_DTLS] = { "dtls", &kind_dtls, true, false, 5349 },
};

int turn_link_new(struct loop *loop, const struct turn_link_options *o, char *err, struct turn_link **ret_l)
{
	struct turn_link *l = calloc(1, sizeof *l);
	int r = 0;

	if (!l)
		return -ENOMEM;
	l->kind = protos[o->proto].kind;
	l->loop = loop;
	l->proto = o->proto;
	l->ops = o->ops;
	l->arg = o->arg;
	l->server = o->server;
	l->io.fd = -1;
	l->opened.fire = on_opened;
	err[0] = 0;
	if (protos[o->proto].secure)
		r = tls_ctx_new(&(struct tls_options){ .client = true, .dtls = o->proto == TURN_DTLS,
						       .verify_peer = o->verify, .ca_file = o->ca_file }, err, &l->tls);
	if (r == 0)
		r = l->kind->open(l, o);
	if (r < 0) {
		if (!err[0])
			snprintf(err, TLS_ERRLEN, "%s", strerror(-r));
		turn_link_free(l);
		return r;
	}
	*ret_l = l;
	return 0;
}

struct turn_link *turn_link_free(struct turn_link *l)
{
	if (!l)
		return NULL;
	timer_stop(&l->opened);
	l->kind->close(l);
	l->tls = tls_ctx_unref(l->tls);
	l->dead = true;
	if (l->depth == 0)
		free(l);
	return NULL;
}

int turn_link_send(struct turn_link *l, const void *p, size_t n)
{
	return l->kind->send(l, p, n);
}

bool turn_link_is_stream(const struct turn_link *l)
{
	return protos[l->proto].stream;
}

const struct addr *turn_link_local(const struct turn_link *l)
{
	return &l->local;
}

SSL *turn_link_ssl(const struct turn_link *l)
{
	return l->dtls ? dtls_session_ssl(l->dtls) : l->stream ? stream_ssl(l->stream) : NULL;
}

const char *turn_proto_name(enum turn_proto p)
{
	return protos[p].name;
}

int turn_proto_parse(struct text t, enum turn_proto *ret_p)
{
	for (unsigned i = 0; i < ARRAY_LEN(protos); i++)
		if (text_eq(t, text_of(protos[i].name))) {
			*ret_p = (enum turn_proto)i;
			return 0;
		}
	return -EINVAL;
}

uint16_t turn_proto_default_port(enum turn_proto p)
{
	return protos[p].port;
}
