/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of TCP allocations (RFC 6062): listeners on relay addresses, connections to and from peers, and the
 * bytes between a peer and the client's data connection once they are bound. Nothing is read from a
 * peer before that, so what it says waits in the kernel. Who cannot write is not read from: an end that
 * does not read costs two buffers, and the other end waits.
 *
 * A flow belongs to the core's struct turn_tcp while it has one; after that it only flushes to its peer.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/reuseport.h"
#include "turn/edge.h"
#include "turn/tcp_alloc.h"

enum { FLOW_OUT = 256 << 10, RETRY_MS = 20 };
_Static_assert(FLOW_OUT >= TURN_STREAM_OUT / 2,
	       "whoever has no room left says when there is some: on_drained");

struct turn_flow {
	struct list node; /* in worker->flows */
	struct turn_worker *worker;
	struct turn_tcp *tcp;	 /* the core's; NULL: flushing */
	struct io io;		 /* connecting */
	int fd;			 /* until bound; then the stream's, and -1 */
	struct stream *peer, *client; /* bound; client is the connection's own */
	struct turn_conn *conn;
	struct timer retry; /* what the bit rate has held back is tried again */
};

static void flow_free(struct turn_flow *f)
{
	io_stop(&f->io);
	timer_stop(&f->retry);
	list_unlink(&f->node);
	stream_free(f->peer);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static void on_retry(struct timer *t, uint64_t now)
{
	struct turn_flow *f = container_of(t, struct turn_flow, retry);

	(void)now;
	if (f->client)
		stream_resume(f->client);
	stream_resume(f->peer);
}

static struct turn_flow *flow_new(struct turn_worker *w, int fd)
{
	struct turn_flow *f = calloc(1, sizeof *f);

	if (!f) {
		close(fd);
		return NULL;
	}
	f->worker = w;
	f->fd = fd;
	f->retry.fire = on_retry;
	list_append(&w->flows, &f->node);
	return f;
}

void turn_flows_close(struct turn_worker *w)
{
	list_for_each_safe(it, &w->flows)
		flow_free(list_entry(it, struct turn_flow, node));
}

/* ---- bytes ---- */

static size_t carry(struct turn_flow *f, struct stream *from, struct stream *to, enum turn_way way, const uint8_t *p,
		    size_t n)
{
	size_t used = 0;

	while (used < n) {
		size_t queued = stream_queued(to), room = queued < FLOW_OUT ? FLOW_OUT - queued : 0;
		size_t m = room ? turn_tcp_pass(f->tcp, way, MIN(n - used, room),
						loop_now(f->worker->loop))
				: 0;

		if (m == 0) {
			stream_pause(from);
			if (room) /* else on_drained goes on */
				loop_timer_set(f->worker->loop, &f->retry, RETRY_MS);
			break;
		}
		if (stream_write(to, p + used, m) < 0)
			return n; /* that end is closing: it has its own event */
		used += m;
	}
	return used;
}

size_t turn_flow_input(struct turn_flow *f, const uint8_t *p, size_t n)
{
	return carry(f, f->client, f->peer, TURN_UP, p, n);
}

static size_t on_peer_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct turn_flow *f = arg;

	return f->tcp ? carry(f, s, f->client, TURN_DOWN, p, n) : n;
}

static void on_peer_drained(struct stream *s, void *arg)
{
	struct turn_flow *f = arg;

	(void)s;
	if (f->client)
		stream_resume(f->client);
}

void turn_flow_drained(struct turn_flow *f)
{
	stream_resume(f->peer);
}

/* ---- ends ---- */

static void leave_client(struct turn_flow *f)
{
	if (f->conn)
		turn_conn_finish(f->conn);
	f->conn = NULL;
	f->client = NULL;
}

static void on_peer_close(struct stream *s, int err, const char *why, void *arg)
{
	struct turn_flow *f = arg;

	(void)s;
	(void)err;
	(void)why;
	leave_client(f);
	if (f->tcp)
		turn_tcp_closed(f->tcp);
	flow_free(f);
}

void turn_flow_client_gone(struct turn_flow *f)
{
	f->conn = NULL;
	f->client = NULL;
	turn_tcp_closed(f->tcp);
	f->tcp = NULL;
	stream_resume(f->peer);
	stream_finish(f->peer); /* what the client said last still goes out */
}

void turn_flow_cut(struct turn_flow *f)
{
	leave_client(f);
	flow_free(f);
}

static const struct stream_ops peer_ops = {
	.on_data = on_peer_data,
	.on_drained = on_peer_drained,
	.on_close = on_peer_close,
};

int turn_flow_bind(struct turn_flow *f, const struct turn_path *client)
{
	int fd = f->fd, r;

	io_stop(&f->io);
	f->fd = -1; /* the stream's, also when it fails */
	f->conn = client->handle;
	f->client = turn_conn_bind(f->conn, f);
	r = stream_new(f->worker->loop, fd, &(struct stream_options){ .max_out = FLOW_OUT }, &peer_ops, f, &f->peer);
	return r;
}

/* ---- peers ---- */

static void on_connected(struct io *io, int events)
{
	struct turn_flow *f = container_of(io, struct turn_flow, io);
	int err = 0;
	socklen_t n = sizeof err;

	(void)events;
	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	io_stop(&f->io);
	turn_tcp_connected(f->tcp, err, loop_now(f->worker->loop));
}

static int connect_from(const struct addr *at, const struct addr *peer, int *ret_fd)
{
	int fd = socket(addr_family(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, r = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0 || bind(fd, &at->sa, addr_len(at)) < 0 ||
	    (connect(fd, &peer->sa, addr_len(peer)) < 0 && errno != EINPROGRESS))
		r = -errno;
	if (r < 0)
		close(fd);
	*ret_fd = fd;
	return r;
}

int turn_flow_connect(struct turn_relay *relay, struct turn_tcp *t, const struct addr *peer, struct turn_flow **ret_f)
{
	struct turn_flow *f;
	int fd = -1, r = connect_from(&relay->at, peer, &fd);

	if (r < 0)
		return r;
	f = flow_new(relay->worker, fd);
	if (!f)
		return -ENOMEM;
	f->tcp = t;
	r = io_start(&f->io, relay->worker->loop, fd, IO_WRITE, on_connected);
	if (r < 0) {
		flow_free(f);
		return r;
	}
	*ret_f = f;
	return 0;
}

void turn_flow_name(struct turn_flow *f, struct turn_tcp *t)
{
	f->tcp = t;
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct turn_relay *r = arg;
	struct turn_flow *f = flow_new(r->worker, fd);

	(void)local;
	if (f && !turn_tcp_accepted(r->alloc, peer, f, loop_now(r->worker->loop)))
		flow_free(f);
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept };

int turn_relay_listen(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r)
{
	struct turn_worker *w = edge;
	struct turn_relay *r = calloc(1, sizeof *r);
	int fd, err;

	if (!r)
		return -ENOMEM;
	*r = (struct turn_relay){ .worker = w, .alloc = a, .at = *at };
	/* It shares its port with the connections that it makes itself, and with nobody else: neither a listener of ours nor
	 * of another service, whose clients would come to it. */
	err = reuseport_probe(SOCK_STREAM, at);
	if (err == 0)
		err = stream_listen_socket(
			at, &(struct listen_options){ .reuseport = true, .v6only = true, .backlog = 64 },
			&fd);
	if (err == 0)
		err = acceptor_new(w->loop, fd, &acceptor_ops, r, &r->acceptor);
	if (err < 0) {
		free(r);
		return err;
	}
	*ret_r = r;
	return 0;
}
