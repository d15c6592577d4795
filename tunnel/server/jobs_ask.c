/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job asks for its ports and is answered: what the configuration, the book of ports and the agent's own ranges say, and the sockets, which
 * are bound here because only the main thread may bind low ports. A job that is interrupted on this side gets none.
 *
 * Main thread; the answer goes by mail.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"
#include "tunnel/server/jobs_priv.h"

static void granted_free(struct jobs_granted *g)
{
	for (unsigned i = 0; i < g->n_fds; i++)
		close(g->fds[i]);
	free(g->fds);
	free(g);
}

static void drop_granted(struct mail *m)
{
	granted_free(container_of(m, struct jobs_granted, mail));
}

static void deliver_granted(struct mail *m, struct loop *l)
{
	struct jobs_granted *g = container_of(m, struct jobs_granted, mail);

	(void)l;
	jobs_on_grant(g->w, g);
	granted_free(g);
}

static int bind_all(const struct addr *at, unsigned n, bool udp, int *fds)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++) {
		struct addr one = *at;

		addr_set_port(&one, (uint16_t)(addr_port(at) + i));
		r = port_socket(&one, &(struct port_socket_options){ .udp = udp }, &fds[i]);
		if (r == -EADDRNOTAVAIL)
			r = port_socket(&one, &(struct port_socket_options){ .udp = udp, .absent = true }, &fds[i]);
		while (r < 0 && i > 0)
			close(fds[--i]);
	}
	return r;
}

static bool is_busy(const struct addr *at, bool udp, void *arg)
{
	int fd;

	(void)arg;
	if (bind_all(at, 1, udp, &fd) < 0)
		return true;
	close(fd);
	return false;
}

static bool has_public_address(void)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		struct addr a;
		socklen_t n = i->ifa_addr && i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

		if (i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6))
			found = addr_from_sockaddr(i->ifa_addr, n, &a) == 0 && addr_classify(&a) == ADDR_GLOBAL;
	}
	freeifaddrs(all);
	return found;
}

static void warn_if_open(const struct jobs_said *s, struct ports_grant *g)
{
	enum addr_class c = addr_classify(&g->at);

	if (!s->open || (c != ADDR_GLOBAL && (c != ADDR_UNSPECIFIED || !has_public_address())))
		return;
	(void)snprintf(g->text, sizeof(g->text), "open to every source on a public address: name the sources in allow");
	if (!s->have)
		log_emit(&MSG_TUNNEL_JOB_OPEN, LF_STR("agent", s->agent), LF_STR("job", s->job), LF_ADDR("address", &g->at));
}

static void print_address(const struct tunnel_jobs *j, const struct jobs_said *s, const struct addr *at, char *out, size_t n)
{
	struct addr shown = *at;
	char buf[ADDR_STRLEN];

	if (addr_classify(at) == ADDR_UNSPECIFIED && addr_family(&s->local) == addr_family(at)) {
		shown = s->local; /* where the agent came in */
		addr_set_port(&shown, addr_port(at));
	}
	if (j->config->public_name)
		(void)snprintf(out, n, strchr(j->config->public_name, ':') ? "[%s]:%u" : "%s:%u", j->config->public_name, addr_port(at));
	else
		(void)snprintf(out, n, "%s", addr_print(&shown, buf));
}

static void judge(struct tunnel_jobs *j, const struct jobs_said *s, struct jobs_granted *g)
{
	struct wire_range ranges[WIRE_RANGES_MAX];
	struct ports_ask a = { .job = s->job, .bind = s->bind, .first = s->first, .count = s->count, .udp = s->udp, .ranges = ranges };
	bool same;
	int r;

	memcpy(a.identity, s->identity, WIRE_PIN);
	g->held = jobs_held(j, s->identity, s->job);
	if (g->held)
		return;
	if (s->plain && !j->config->allow_plain) {
		g->g.reason = WIRE_R_PLAIN_FORBIDDEN;
		(void)snprintf(g->g.text, sizeof(g->g.text), "the server takes no jobs that are not encrypted (tunnel.allow_plain)");
		return;
	}
	a.n_ranges = j->o.ranges(s->identity, ranges, ARRAY_LEN(ranges), j->o.arg);
	ports_claim(j->ports, &a, is_busy, j, &g->g);
	if (g->g.reason)
		return;
	same = s->have && addr_equal(&s->at, &g->g.at);
	if (!same) {
		g->fds = malloc(s->count * sizeof(*g->fds));
		r = g->fds ? bind_all(&g->g.at, s->count, s->udp, g->fds) : -ENOMEM;
		if (r < 0) {
			g->g.reason = WIRE_R_PORT_TAKEN;
			(void)snprintf(g->g.text, sizeof(g->g.text), "%s%s", strerror(-r), port_socket_advice(-r));
			return;
		}
		g->n_fds = s->count;
	}
	warn_if_open(s, &g->g);
	print_address(j, s, &g->g.at, g->address, sizeof(g->address));
}

void jobs_answer(struct tunnel_jobs *j, const struct jobs_said *s)
{
	struct jobs_granted *g = calloc(1, sizeof(*g));
	unsigned w = tunnel_worker_of(s->link);

	if (!g || w >= j->n_workers) {
		free(g); /* the job asks again when its agent tells it again */
		return;
	}
	g->mail = (struct mail){ .deliver = deliver_granted, .drop = drop_granted };
	g->w = j->workers[w];
	g->link = s->link;
	g->ticket = s->ticket;
	memcpy(g->job, s->job, sizeof(g->job));
	judge(j, s, g);
	jobs_keep_ports(j);
	tunnel_server_post(j->server, w, &g->mail);
}
