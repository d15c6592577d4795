/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of a route: bound in the main thread, once for each worker (SO_REUSEPORT, so the kernel spreads
 * sources over the workers and nobody hands a connection on), and owned by the workers from then on.
 *
 * A port that another program holds is refused although both would share it: the first bind is made without
 * SO_REUSEPORT, as a question. An address that this machine does not have yet (the virtual address of a
 * pair) is bound all the same, so that nothing has to be noticed when it comes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/reuseport.h"
#include "tunnel/policy.h"
#include "tunnel/relay_priv.h"

static struct addr port_at(const struct relay_entry *e, unsigned i)
{
	struct addr at = e->route->c->listen.at;

	addr_set_port(&at, (uint16_t)(addr_port(&at) + i));
	return at;
}

static void close_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; fds && i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
}

/* All workers' sockets of one port, or none. */
static int bind_all(const struct relay_entry *e, const struct addr *at, bool absent, int **ret_fds)
{
	unsigned n = e->relay->n_workers;
	bool udp = e->route->c->udp;
	int *fds = malloc(n * sizeof(*fds)), probe, r;

	if (!fds)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		fds[i] = -1;
	r = port_socket(at, &(struct port_socket_options){ .udp = udp, .absent = absent }, &probe);
	if (r == 0)
		close(probe);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = port_socket(
			at, &(struct port_socket_options){ .udp = udp, .share = true, .absent = absent },
			&fds[i]);
	if (r < 0) {
		close_fds(fds, n);
		return r;
	}
	(void)reuseport_steer(fds[0], addr_family(at), n); /* without it the kernel's own choice will do */
	*ret_fds = fds;
	return 0;
}

static int hand_over(struct relay_entry *e, unsigned i)
{
	struct relay_order o = { .what = RELAY_LISTEN, .id = e->ports[i].id, .route = e->route, .index = i,
				 .at = port_at(e, i), .fds = e->ports[i].fds };

	workers_call(&e->relay->workers, relay_obey, &o);
	free(e->ports[i].fds); /* the descriptors are the workers' */
	e->ports[i].fds = NULL;
	if (o.error) {
		o.what = RELAY_UNLISTEN;
		workers_call(&e->relay->workers, relay_obey, &o);
		e->ports[i].id = RELAY_NO_ID;
	}
	return o.error;
}

static int bind_port(struct relay_entry *e, unsigned i)
{
	struct addr at = port_at(e, i);
	int r = bind_all(e, &at, false, &e->ports[i].fds);

	if (r == -EADDRNOTAVAIL) {
		r = bind_all(e, &at, true, &e->ports[i].fds);
		e->absent |= r == 0;
	}
	if (r < 0)
		return r;
	e->ports[i].id = ++e->relay->last_id;
	return e->relay->started ? hand_over(e, i) : 0;
}

void relay_ports_bind(struct relay_entry *e)
{
	unsigned port = 0;

	e->error = 0;
	e->absent = false;
	e->bind_why[0] = 0;
	e->n_bound = 0;
	for (unsigned i = 0; i < e->n_ports; i++) {
		int r = e->ports[i].id ? 0 : bind_port(e, i);

		e->n_bound += r == 0;
		if (r == 0 || e->error)
			continue;
		e->error = -r;
		port = i;
	}
	if (e->error && e->n_ports > 1)
		(void)snprintf(e->bind_why, sizeof(e->bind_why), "port %u: %s%s",
			       addr_port(&e->route->c->listen.at) + port, strerror(e->error),
			       port_socket_advice(e->error));
	else if (e->error)
		(void)snprintf(e->bind_why, sizeof(e->bind_why), "%s%s", strerror(e->error),
			       port_socket_advice(e->error));
}

bool relay_ports_hand_over(struct relay_entry *e)
{
	unsigned before = e->n_bound;

	for (unsigned i = 0; i < e->n_ports; i++)
		if (e->ports[i].fds && hand_over(e, i) != 0)
			e->n_bound--;
	return e->n_bound == before;
}

void relay_ports_close(struct relay_entry *e)
{
	for (unsigned i = 0; i < e->n_ports; i++) {
		struct relay_order o = { .what = RELAY_UNLISTEN, .id = e->ports[i].id };

		if (e->ports[i].fds)
			close_fds(e->ports[i].fds, e->relay->n_workers);
		else if (e->ports[i].id && e->relay->started)
			workers_call(&e->relay->workers, relay_obey, &o);
		e->ports[i] = (struct relay_port){ 0 };
	}
	e->n_bound = 0;
	e->absent = false;
}

void relay_ports_reroute(struct relay_entry *e)
{
	for (unsigned i = 0; i < e->n_ports; i++) {
		struct relay_order o = { .what = RELAY_REROUTE, .id = e->ports[i].id, .route = e->route };

		if (e->ports[i].id && !e->ports[i].fds)
			workers_call(&e->relay->workers, relay_obey, &o);
	}
}

bool relay_same_ports(const struct route_config *a, const struct route_config *b)
{
	return a->udp == b->udp && a->listen.last == b->listen.last && addr_equal(&a->listen.at, &b->listen.at);
}
