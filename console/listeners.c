/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new address may overlap one that goes: 127.0.0.1:8443 becomes 0.0.0.0:8443. Two sockets can have both only if both say so
 * (SO_REUSEPORT). Nobody joins them by mistake: a second console does not say it, and is refused the port.
 *
 * Who waits in the queue of an address that goes is accepted first.
 */
#include "console/listeners.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct listener *find(const struct listeners *l, const struct addr *at, bool metrics)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->v[i].metrics == metrics && addr_equal(&l->v[i].at, at))
			return &l->v[i];
	return NULL;
}

static void share_port(const struct listeners *now, uint16_t port)
{
	int on = 1;

	for (unsigned i = 0; i < now->n; i++)
		if (now->v[i].acceptor && addr_port(&now->v[i].at) == port)
			(void)setsockopt(now->v[i].fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

static int open_one(const struct listeners *now, const struct addr *at, int *ret_fd)
{
	struct listen_options o = { .v6only = true };
	int r = stream_listen_socket(at, &o, ret_fd);

	if (r != -EADDRINUSE || !now->n)
		return r;
	o.reuseport = true;
	share_port(now, addr_port(at));
	return stream_listen_socket(at, &o, ret_fd);
}

static int add_list(const struct listeners *now, const struct cfg_list *list, bool metrics, struct listeners *plan, char *err, size_t err_n)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct addr *at = &((const struct addr *)list->items)[i];
		const struct listener *old = find(now, at, metrics);
		struct listener *l = &plan->v[plan->n];
		char text[ADDR_STRLEN];
		int r = 0;

		if (find(plan, at, metrics))
			continue;
		if (plan->n == CONSOLE_LISTENERS) {
			(void)snprintf(err, err_n, "more than %d listeners", CONSOLE_LISTENERS);
			return -E2BIG;
		}
		*l = old ? *old : (struct listener){ .at = *at, .metrics = metrics, .fd = -1 };
		if (!old)
			r = open_one(now, at, &l->fd);
		if (r < 0) {
			(void)snprintf(err, err_n, "cannot listen on %s: %s%s", addr_print(at, text), strerror(-r),
				       stream_listen_advice(r));
			return r;
		}
		plan->n++;
	}
	return 0;
}

int listeners_plan(const struct listeners *now, const struct console_config *k, struct listeners *ret_plan, char *err, size_t err_n)
{
	int r;

	*ret_plan = (struct listeners){ .n = 0 };
	r = add_list(now, &k->listen, false, ret_plan, err, err_n);
	if (r == 0)
		r = add_list(now, &k->metrics.listen, true, ret_plan, err, err_n);
	if (r < 0)
		listeners_drop(ret_plan);
	return r;
}

void listeners_drop(struct listeners *plan)
{
	for (unsigned i = 0; i < plan->n; i++) {
		if (plan->v[i].acceptor)
			continue;
		if (plan->v[i].fd >= 0)
			close(plan->v[i].fd);
	}
	plan->n = 0;
}

static bool is_kept(const struct listeners *plan, const struct acceptor *a)
{
	for (unsigned i = 0; i < plan->n; i++)
		if (plan->v[i].acceptor == a)
			return true;
	return false;
}

static void close_one(struct listener *l)
{
	if (l->acceptor)
		acceptor_finish(l->acceptor);
	l->acceptor = acceptor_free(l->acceptor);
}

int listeners_take(struct listeners *now, struct listeners *plan, bool anew, listener_begin_fn begin, void *arg)
{
	struct acceptor *made[CONSOLE_LISTENERS] = { NULL };
	int fds[CONSOLE_LISTENERS] = { 0 }, r = 0; /* one for each of made */

	for (unsigned i = 0; i < plan->n && r == 0; i++) {
		struct listener *l = &plan->v[i];

		if (l->acceptor && (l->metrics || !anew))
			continue;
		fds[i] = l->acceptor ? fcntl(l->fd, F_DUPFD_CLOEXEC, 3) : l->fd;
		r = fds[i] < 0 ? -errno : begin(l, fds[i], &made[i], arg);
		if (r < 0 && !l->acceptor)
			l->fd = -1;
	}
	if (r < 0) {
		for (unsigned i = 0; i < plan->n; i++)
			if (made[i]) {
				acceptor_free(made[i]);
				plan->v[i].fd = plan->v[i].acceptor ? plan->v[i].fd : -1;
			}
		listeners_drop(plan);
		return r;
	}
	for (unsigned i = 0; i < plan->n; i++)
		if (made[i]) {
			plan->v[i].acceptor = made[i];
			plan->v[i].fd = fds[i];
		}
	for (unsigned i = 0; i < now->n; i++)
		if (!is_kept(plan, now->v[i].acceptor))
			close_one(&now->v[i]);
	*now = *plan;
	return 0;
}

void listeners_close(struct listeners *now)
{
	for (unsigned i = 0; i < now->n; i++) {
		if (!now->v[i].acceptor && now->v[i].fd >= 0)
			close(now->v[i].fd);
		acceptor_free(now->v[i].acceptor);
	}
	now->n = 0;
}
