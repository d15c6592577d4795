/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where visitors' programs come in: a listening socket of the supervisor's for each visit. Whoever comes while there is no link
 * yet, waits for one, for 20 s, and is then reset: a program that is refused at once does not come again, one that
 * waits a moment notices nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/fd.h"
#include "common/stream.h"
#include "tunnel/direct/engine_priv.h"
#include "tunnel/direct/flows.h"

enum { WAIT_MS = 20 * 1000 };

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct listener *n = arg;
	struct link *k = engine_link(n->e, n->link);

	(void)local;
	if (n->most && n->n >= n->most) {
		socket_reset(fd);
		engine_log(n->e, LOG_LVL_WARN, n->link, "a connection was refused: the visit has as many as it may have");
		return;
	}
	if (conn_accepted(n, fd, peer) < 0)
		return;
	if (k && k->up)
		listeners_link_up(n->e, k);
	else if (!timer_is_set(&n->give_up))
		loop_timer_set(n->e->loop, &n->give_up, WAIT_MS);
}

static void on_error(int err, void *arg)
{
	struct listener *n = arg;
	char text[128];

	(void)snprintf(text, sizeof(text), "no connection can be accepted: %s", strerror(err));
	engine_log(n->e, LOG_LVL_WARN, n->link, text);
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept, .on_error = on_error };

static void on_give_up(struct timer *t, uint64_t now)
{
	struct listener *n = container_of(t, struct listener, give_up);

	(void)now;
	while (!list_empty(&n->waiting))
		conn_give_up(conn_of_node(n->waiting.next), "there was no link to the other agent within 20 s");
}

static struct listener *find(struct engine *e, uint32_t id)
{
	list_for_each (it, &e->listeners)
		if (list_entry(it, struct listener, node)->id == id)
			return list_entry(it, struct listener, node);
	return NULL;
}

static int listen_on(struct listener *n, int *fd)
{
	if (*fd < 0)
		return -EBADF;
	return n->udp ? flows_listen(n, steal_fd(fd)) : acceptor_new(n->e->loop, steal_fd(fd), &acceptor_ops, n, &n->acceptor);
}

static void refuse(struct engine *e, const struct child_listen *m, int error)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "visit %u cannot listen: %s", m->visit, strerror(-error));
	engine_log(e, LOG_LVL_ERROR, m->link, text);
}

void listener_set(struct engine *e, const struct child_listen *m, int *fd)
{
	struct listener *n = find(e, m->visit);
	struct link *k = engine_link(e, m->link);
	int r;

	if (n) {
		n->link = m->link;
		n->most = m->connections;
		if (k && k->up)
			listeners_link_up(e, k);
		return;
	}
	if (e->n_listeners >= LISTENERS_MAX || !m->host.n || m->host.n > STREAM_HOST_MAX) {
		refuse(e, m, -EUSERS);
		return;
	}
	n = calloc(1, sizeof(*n));
	if (!n) {
		refuse(e, m, -ENOMEM);
		return;
	}
	n->e = e;
	n->id = m->visit;
	n->link = m->link;
	n->udp = m->kind == WIRE_JOB_UDP;
	n->port = m->port;
	n->most = m->connections;
	n->give_up.fire = on_give_up;
	memcpy(n->host, m->host.p, m->host.n);
	list_init(&n->waiting);
	htable_init(&n->flows);
	list_append(&e->listeners, &n->node);
	e->n_listeners++;
	r = listen_on(n, fd);
	if (r < 0) {
		refuse(e, m, r);
		listener_free(n);
	}
}

void listener_free(struct listener *n)
{
	timer_stop(&n->give_up);
	while (!list_empty(&n->waiting))
		conn_give_up(conn_of_node(n->waiting.next), "the visit was ended");
	acceptor_free(n->acceptor);
	flows_unlisten(n);
	htable_deinit(&n->flows);
	conns_forget_listener(n);
	list_unlink(&n->node);
	n->e->n_listeners--;
	free(n);
}

void listeners_link_up(struct engine *e, struct link *k)
{
	list_for_each (it, &e->listeners) {
		struct listener *n = list_entry(it, struct listener, node);

		if (n->link != k->id)
			continue;
		while (!list_empty(&n->waiting)) {
			struct list *first = n->waiting.next;

			conn_go(conn_of_node(first), k);
			if (n->waiting.next == first)
				break; /* as many streams as there may be */
		}
		if (list_empty(&n->waiting))
			timer_stop(&n->give_up);
	}
}

void listeners_link_gone(struct engine *e, struct link *k)
{
	list_for_each (it, &e->listeners)
		if (list_entry(it, struct listener, node)->link == k->id)
			list_entry(it, struct listener, node)->link = 0;
}
