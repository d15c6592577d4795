/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads PROXY headers off fresh connections: never more than proxy_wanted() allows, so that nothing of the
 * connection's own is taken from the kernel. A waiting one costs its header's buffer and is in the list;
 * it leaves it by exactly one of arrive() and refuse().
 */
#include "common/proxy_intake.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING = 512, DEADLINE_MS = 10 * 1000 };

struct proxy_intake {
	struct loop *loop;
	const struct proxy_intake_ops *ops;
	void *arg;
	struct list list; /* struct waiting */
	unsigned n, max;
	uint64_t deadline_ms;
};

struct waiting {
	struct list node;
	struct proxy_intake *in;
	struct io io;
	struct timer deadline;
	int fd; /* -1 once it is somebody else's */
	struct addr sender, local;
	struct proxy_tag tag;
	size_t n;
	uint8_t bytes[PROXY_MAX];
};

static void waiting_free(struct waiting *w)
{
	io_stop(&w->io);
	timer_stop(&w->deadline);
	list_unlink(&w->node);
	w->in->n--;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

static void refuse(struct waiting *w, const char *why)
{
	struct proxy_intake *in = w->in;
	struct addr sender = w->sender;
	struct proxy_tag tag = w->tag;

	waiting_free(w);
	in->ops->on_refused(&sender, tag, why, in->arg);
}

/* An IPv4 client of a sender that listens on [::] for both is told as ::ffff:192.0.2.1, and is an IPv4 client. */
static struct addr unmapped(const struct addr *a)
{
	bool mapped = addr_family(a) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);

	return mapped ? addr_canonical(a) : *a;
}

static void arrive(struct waiting *w, const struct proxy_header *h)
{
	struct proxy_intake *in = w->in;
	bool told = addr_family(&h->client) != AF_UNSPEC;
	struct proxy_arrival a = { .client = told ? unmapped(&h->client) : w->sender,
				   .server = told ? unmapped(&h->server) : w->local,
				   .sender = w->sender, .tag = w->tag };

	if (addr_family(&a.client) == AF_UNSPEC) {
		refuse(w, "the PROXY protocol header tells no client's address, and a Unix socket has none of its own");
		return;
	}
	a.fd = w->fd;
	w->fd = -1;
	waiting_free(w);
	in->ops->on_arrival(&a, in->arg);
}

/* All that may be read now; w may be gone afterwards. */
static void read_header(struct waiting *w)
{
	struct proxy_header h;
	enum proxy_error e;
	size_t wanted;

	while ((wanted = proxy_wanted(w->bytes, w->n)) > 0) {
		ssize_t r = recv(w->fd, w->bytes + w->n, wanted, MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return;
		if (r <= 0) {
			refuse(w, w->n ? "it ended within its PROXY protocol header" : NULL);
			return;
		}
		w->n += (size_t)r;
	}
	e = proxy_parse(w->bytes, w->n, &h);
	if (e == PROXY_OK)
		arrive(w, &h);
	else
		refuse(w, proxy_error_text(e));
}

static void on_ready(struct io *io, int events)
{
	(void)events;
	read_header(container_of(io, struct waiting, io));
}

static void on_deadline(struct timer *t, uint64_t now)
{
	(void)now;
	refuse(container_of(t, struct waiting, deadline), "its PROXY protocol header did not come in time");
}

void proxy_intake_take(struct proxy_intake *in, int fd, const struct addr *sender, const struct addr *local,
		       struct proxy_tag tag)
{
	struct waiting *w = in->n < in->max ? malloc(sizeof(*w)) : NULL;

	if (!w) {
		close(fd);
		in->ops->on_refused(sender, tag, in->n < in->max ? "out of memory" :
				    "as many connections wait for their PROXY protocol header as may", in->arg);
		return;
	}
	memset(w, 0, offsetof(struct waiting, bytes));
	w->in = in;
	w->fd = fd;
	w->sender = *sender;
	w->local = *local;
	w->tag = tag;
	w->deadline.fire = on_deadline;
	list_append(&in->list, &w->node);
	in->n++;
	if (io_start(&w->io, in->loop, fd, IO_READ, on_ready) < 0) {
		refuse(w, "out of memory");
		return;
	}
	loop_timer_set(in->loop, &w->deadline, in->deadline_ms);
	read_header(w);
}

unsigned proxy_intake_waiting(const struct proxy_intake *in)
{
	return in->n;
}

int proxy_intake_new(struct loop *l, const struct proxy_intake_options *o, const struct proxy_intake_ops *ops, void *arg,
		     struct proxy_intake **ret_in)
{
	struct proxy_intake *in = calloc(1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	*in = (struct proxy_intake){ .loop = l, .ops = ops, .arg = arg, .max = o && o->waiting ? o->waiting : WAITING,
				     .deadline_ms = o && o->deadline_ms ? o->deadline_ms : DEADLINE_MS };
	list_init(&in->list);
	*ret_in = in;
	return 0;
}

struct proxy_intake *proxy_intake_free(struct proxy_intake *in)
{
	if (!in)
		return NULL;
	list_for_each_safe(it, &in->list)
		waiting_free(list_entry(it, struct waiting, node));
	free(in);
	return NULL;
}
