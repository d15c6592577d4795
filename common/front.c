/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a front, in one loop. One waits until its ClientHello is complete, then goes its way: to the
 * service itself with not a byte taken, or into a joint (common/joint.h) with its backend, behind a PROXY
 * header.
 *
 * A hello that comes in pieces must not wake us for what we have seen: the kernel is asked to wake at one
 * byte more than that (SO_RCVLOWAT), and where it wakes all the same, a timer stands in.
 *
 * Timers: `deadline` ends the wait for a hello; `again` looks once more at one that woke us with nothing new.
 */
#include "common/front.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/joint.h"
#include "common/proxy_protocol.h"

enum { AGAIN_MS = 50, IDLE_MS = 3600 * 1000, HALF_CLOSE_MS = 120 * 1000, STUN_FIRST_BYTE_MAX = 1 };

struct front {
	struct loop *loop;
	const struct front_ops *ops;
	void *arg;
	struct front_table *table; /* referenced */
	struct joint_pool *pool;
	struct list conns; /* struct conn */
	unsigned n_waiting;
	uint64_t idle_ms;
	uint8_t peeked[CLIENT_HELLO_MAX];
};

struct conn {
	struct list node;
	struct front *f;
	int fd; /* -1 once it is somebody else's */
	bool waiting, open;
	struct io io;
	struct timer deadline, again;
	struct addr client, server;
	void *tag;
	size_t seen; /* bytes of the hello at the last look */
	struct front_backend *to; /* referenced; NULL while it waits */
	struct joint *joint;
};

static void conn_free(struct conn *c)
{
	struct front *f = c->f;

	io_stop(&c->io);
	timer_stop(&c->deadline);
	timer_stop(&c->again);
	list_unlink(&c->node);
	joint_free(c->joint);
	if (c->fd >= 0)
		close(c->fd);
	if (c->waiting)
		f->n_waiting--;
	if (c->open)
		atomic_fetch_sub_explicit(&c->to->open, 1, memory_order_relaxed);
	front_backend_unref(c->to);
	f->ops->leave(&c->client, c->tag, f->arg);
	free(c);
}

static void refuse(struct conn *c, enum front_refusal r, struct front_visit v)
{
	struct front *f = c->f;
	struct addr client = c->client, server = c->server;
	struct front_backend *to = c->to ? front_backend_ref(c->to) : NULL;

	conn_free(c);
	v.client = &client;
	v.server = &server;
	v.to = to;
	f->ops->on_refused(r, &v, f->arg);
	front_backend_unref(to);
}

/* ---- to the service itself ---- */

static void stop_waiting(struct conn *c)
{
	io_stop(&c->io);
	timer_stop(&c->deadline);
	timer_stop(&c->again);
	if (c->seen)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 1 }, sizeof(int));
	c->waiting = false;
	c->f->n_waiting--;
}

static void give_to_self(struct conn *c, struct front_backend *self, bool tls)
{
	struct front_own o = { .fd = c->fd, .client = &c->client, .server = &c->server, .tls = tls, .tag = c->tag };

	stop_waiting(c);
	c->fd = -1;
	atomic_fetch_add_explicit(&self->taken, 1, memory_order_relaxed);
	c->f->ops->on_self(&o, c->f->arg);
	conn_free(c);
}

/* ---- to a backend ---- */

static void backend_down(struct conn *c, int err, const char *why)
{
	atomic_fetch_add_explicit(&c->to->failed, 1, memory_order_relaxed);
	atomic_store_explicit(&c->to->last_error, err ? err : EIO, memory_order_relaxed);
	refuse(c, FRONT_BACKEND_DOWN, (struct front_visit){ .error = err, .why = why });
}

static void want_b(struct joint *j, int err, const char *why, void *arg)
{
	(void)arg;
	joint_refuse(j, err, why); /* one address, one try */
}

static void on_open(struct joint *j, void *arg)
{
	struct conn *c = arg;
	struct front_visit v = { .client = &c->client, .server = &c->server, .to = c->to };

	(void)j;
	c->open = true;
	atomic_fetch_add_explicit(&c->to->taken, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->to->open, 1, memory_order_relaxed);
	atomic_store_explicit(&c->to->last_error, 0, memory_order_relaxed);
	if (c->f->ops->on_joined)
		c->f->ops->on_joined(&v, c->f->arg);
}

static void on_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct conn *c = arg;

	(void)j;
	if (end == JOINT_END_CONNECT || end == JOINT_END_CONNECT_TIMEOUT)
		backend_down(c, err ? err : ETIMEDOUT, why);
	else
		conn_free(c);
}

static const struct joint_ops joint_ops = { .want_b = want_b, .on_open = on_open, .on_end = on_end };

static int dial(const struct front_backend *to, int *ret_fd)
{
	int r, fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	r = connect(fd, &to->sa, to->len) < 0 && errno != EINPROGRESS && errno != EINTR ? -errno : 0;
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

static void give_to_backend(struct conn *c, const struct client_hello *h, struct text alpn)
{
	uint8_t header[PROXY_WRITE_MAX];
	struct wr w = wr_init(header, sizeof(header));
	struct proxy_header told = { .client = c->client, .server = c->server, .authority = h->server_name, .alpn = alpn };
	struct joint_options o = { .fd = c->fd, .preface = header, .connect_ms = FRONT_CONNECT_MS,
				   .idle_ms = c->f->idle_ms, .half_close_ms = MIN(c->f->idle_ms, (uint64_t)HALF_CLOSE_MS) };
	int fd = -1, r = dial(c->to, &fd);

	stop_waiting(c);
	if (r < 0) { /* of a Unix socket, -EAGAIN */
		backend_down(c, -r, r == -EAGAIN ? "its queue of new connections is full" : strerror(-r));
		return;
	}
	if (c->to->proxy)
		proxy_write(&w, &told);
	o.preface_n = wr_len(&w);
	c->fd = -1; /* the joint's, in any case */
	r = joint_new(c->f->pool, &o, &joint_ops, c, &c->joint);
	if (r < 0) {
		close(fd);
		refuse(c, FRONT_NO_MEMORY, (struct front_visit){ .error = -r, .why = strerror(-r) });
		return;
	}
	joint_dial(c->joint, fd, NULL);
}

/* ---- the hello ---- */

static void wait_for_more(struct conn *c, size_t n)
{
	struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };
	int wake_at = (int)n + 1;

	if (n > c->seen) {
		c->seen = n;
		(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &wake_at, sizeof(wake_at));
	} else if (poll(&p, 1, 0) > 0) {
		refuse(c, FRONT_BAD_HELLO, (struct front_visit){ .why = "it ended within its TLS ClientHello" });
	} else {
		(void)io_change(&c->io, 0);
		loop_timer_set(c->f->loop, &c->again, AGAIN_MS);
	}
}

static void on_hello(struct conn *c, const struct client_hello *h)
{
	struct text alpn;
	struct front_backend *to = front_table_match(c->f->table, h, &alpn);

	if (to->self) {
		give_to_self(c, to, true);
		return;
	}
	c->to = front_backend_ref(to);
	give_to_backend(c, h, alpn);
}

/* STUN over TCP is told by its first byte; for this one no ClientHello must be waited for. */
static void on_plain(struct conn *c, uint8_t first)
{
	struct front_backend *const *list;

	(void)front_table_backends(c->f->table, &list);
	if (first <= STUN_FIRST_BYTE_MAX && front_table_serves_self(c->f->table))
		give_to_self(c, list[0], false);
	else
		refuse(c, FRONT_NOT_TLS, (struct front_visit){ .why = client_hello_error_text(CLIENT_HELLO_NOT_TLS) });
}

/* c may be gone afterwards. */
static void look(struct conn *c)
{
	uint8_t *p = c->f->peeked;
	struct client_hello h;
	enum client_hello_error e;
	ssize_t n;

	do
		n = recv(c->fd, p, CLIENT_HELLO_MAX, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) { /* it came and went: no event */
		conn_free(c);
		return;
	}
	e = client_hello_parse(p, (size_t)n, &h);
	if (e == CLIENT_HELLO_OK)
		on_hello(c, &h);
	else if (e == CLIENT_HELLO_INCOMPLETE)
		wait_for_more(c, (size_t)n);
	else if (e == CLIENT_HELLO_NOT_TLS)
		on_plain(c, p[0]);
	else
		refuse(c, FRONT_BAD_HELLO, (struct front_visit){ .why = client_hello_error_text(e) });
}

static void on_ready(struct io *io, int events)
{
	(void)events;
	look(container_of(io, struct conn, io));
}

static void on_again(struct timer *t, uint64_t now)
{
	struct conn *c = container_of(t, struct conn, again);

	(void)now;
	(void)io_change(&c->io, IO_READ);
	look(c);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct conn *c = container_of(t, struct conn, deadline);

	(void)now;
	refuse(c, FRONT_SLOW, (struct front_visit){ .why = c->seen ? "its TLS ClientHello was not complete in time" :
								      "it said nothing" });
}

bool front_take(struct front *f, int fd, const struct addr *client, const struct addr *server, void *tag)
{
	bool full = f->n_waiting >= FRONT_WAITING;
	struct front_visit v = { .client = client, .server = server };
	struct conn *c = NULL;

	if (!full && f->ops->admit(client, f->arg)) {
		c = calloc(1, sizeof(*c));
		if (!c)
			f->ops->leave(client, NULL, f->arg);
	} else if (!full) {
		close(fd);
		return false;
	}
	if (!c) {
		close(fd);
		v.why = full ? "as many connections wait for their ClientHello as may" : "out of memory";
		f->ops->on_refused(full ? FRONT_WAITING_LIMIT : FRONT_NO_MEMORY, &v, f->arg);
		return false;
	}
	*c = (struct conn){ .f = f, .fd = fd, .waiting = true, .client = *client, .server = *server, .tag = tag };
	c->deadline.fire = on_deadline;
	c->again.fire = on_again;
	list_append(&f->conns, &c->node);
	f->n_waiting++;
	if (io_start(&c->io, f->loop, fd, IO_READ, on_ready) < 0) {
		refuse(c, FRONT_NO_MEMORY, (struct front_visit){ .error = ENOMEM, .why = "out of memory" });
		return true;
	}
	loop_timer_set(f->loop, &c->deadline, FRONT_HELLO_MS);
	look(c); /* it is often there already */
	return true;
}

/* ---- the front ---- */

unsigned front_waiting(const struct front *f)
{
	return f->n_waiting;
}

void front_set_table(struct front *f, struct front_table *t, uint64_t idle_ms)
{
	front_table_ref(t);
	front_table_unref(f->table);
	f->table = t;
	f->idle_ms = idle_ms ? idle_ms : IDLE_MS;
}

int front_new(struct loop *l, struct front_table *t, const struct front_ops *ops, void *arg, struct front **ret_f)
{
	_cleanup_(front_freep) struct front *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->loop = l;
	f->ops = ops;
	f->arg = arg;
	list_init(&f->conns);
	front_set_table(f, t, 0);
	r = joint_pool_new(l, NULL, &f->pool);
	if (r < 0)
		return r;
	*ret_f = steal_ptr(&f);
	return 0;
}

struct front *front_free(struct front *f)
{
	if (!f)
		return NULL;
	list_for_each_safe(it, &f->conns)
		conn_free(list_entry(it, struct conn, node));
	joint_pool_free(f->pool);
	front_table_unref(f->table);
	free(f);
	return NULL;
}
