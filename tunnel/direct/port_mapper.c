/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is asked for a wish, and by what; see port_mapper.h. Each wish has a socket, bound to its inside address (a router takes the
 * sender's for the inside one: RFC 6886 3.3, RFC 6887 8.1) and connected to the default gateway. Gateways are read from /proc
 * for each wish: networks change. UPnP is tried when the lease says that nobody answers, and only for IPv4.
 */
#include "tunnel/direct/port_mapper.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/gateway.h"
#include "tunnel/direct/port_lease.h"
#include "tunnel/direct/upnp.h"

enum { SILENCE_MS = 150 };

struct port_mapper {
	struct loop *loop;
	struct upnp *upnp;
	struct list wishes;
	uint32_t numbers;
};

/* ---- leases ---- */

static void on_send(const void *p, size_t n, void *arg)
{
	struct port_wish *w = arg;

	(void)!send(w->io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_lease(const struct addr *outside, const char *why, void *arg)
{
	struct port_wish *w = arg;

	timer_stop(&w->timer);
	if (outside && w->number) {
		upnp_unmap(w->m->upnp, w->number);
		w->number = 0;
	}
	if (outside || !w->number) /* else UPnP has the last word */
		w->changed(w, outside, why);
}

/* Neither PCP nor NAT-PMP has been answered, as by most routers in homes. */
static void on_silence(struct timer *t, uint64_t now)
{
	struct port_wish *w = container_of(t, struct port_wish, timer);

	(void)now;
	w->number = ++w->m->numbers;
	if (upnp_map(w->m->upnp, w->number, &w->inside, w->tcp) != 0)
		w->number = 0;
}

static const struct port_lease_ops lease_ops = { on_send, on_lease };

static void on_upnp(uint32_t number, const struct addr *outside, void *arg)
{
	struct port_mapper *m = arg;

	list_for_each(it, &m->wishes) {
		struct port_wish *w = list_entry(it, struct port_wish, node);
		if (w->number == number) {
			w->upnp_outside = *outside;
			bool yes = addr_family(outside) != AF_UNSPEC;
			w->changed(w, yes ? &w->upnp_outside : NULL, yes ? "UPnP" : "no router answers PCP, NAT-PMP or UPnP, or it refuses");
			return;
		}
	}
}

static void on_readable(struct io *io, int events)
{
	struct port_wish *w = container_of(io, struct port_wish, io);
	uint8_t buf[PORTMAP_ANSWER_MAX + 1];
	ssize_t n = recv(io->fd, buf, sizeof buf, MSG_DONTWAIT);

	(void)events;
	if (n > 0)
		port_lease_input(w->lease, buf, (size_t)n, loop_now(w->m->loop));
}

static int open_socket(struct port_wish *w)
{
	struct addr local = w->inside, gateway;

	addr_set_port(&local, 0);
	if (!gateway_default(addr_family(&w->inside), PORTMAP_PORT, &gateway))
		return -ENETUNREACH;
	w->io.fd = socket(addr_family(&local), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->io.fd < 0)
		return -errno;
	if (bind(w->io.fd, &local.sa, addr_len(&local)) < 0 || connect(w->io.fd, &gateway.sa, addr_len(&gateway)) < 0)
		return -errno;
	return io_start(&w->io, w->m->loop, w->io.fd, IO_READ, on_readable);
}

int port_mapper_add(struct port_mapper *m, struct port_wish *w)
{
	struct port_lease_options o = { .timers = loop_timers(m->loop), .ops = &lease_ops, .arg = w, .inside = w->inside, .tcp = w->tcp };
	int r;

	w->m = m;
	w->io.fd = -1;
	w->number = 0;
	list_append(&m->wishes, &w->node);
	if ((r = open_socket(w)) != 0 || (r = port_lease_new(&o, loop_now(m->loop), &w->lease)) != 0)
		port_mapper_remove(w);
	else if (addr_family(&w->inside) == AF_INET) {
		w->timer.fire = on_silence;
		loop_timer_set(m->loop, &w->timer, SILENCE_MS);
	}
	return r;
}

void port_mapper_remove(struct port_wish *w)
{
	if (!w->m)
		return;
	list_unlink(&w->node);
	timer_stop(&w->timer);
	w->lease = port_lease_free(w->lease);
	io_stop(&w->io);
	if (w->io.fd >= 0)
		close(w->io.fd);
	if (w->number)
		upnp_unmap(w->m->upnp, w->number);
	w->io.fd = -1;
	w->m = NULL;
}

int port_mapper_new(struct loop *l, struct port_mapper **ret_m)
{
	struct port_mapper *m = calloc(1, sizeof *m);
	int r;

	if (!m)
		return -ENOMEM;
	m->loop = l;
	list_init(&m->wishes);
	if ((r = upnp_new(l, on_upnp, m, &m->upnp)) != 0) {
		free(m);
		return r;
	}
	*ret_m = m;
	return 0;
}

struct port_mapper *port_mapper_free(struct port_mapper *m)
{
	if (!m)
		return NULL;
	upnp_free(m->upnp);
	free(m);
	return NULL;
}
