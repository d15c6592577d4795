/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address is tried next: each address of the first target, then those of the next one. A target that has just
 * failed others is left for the end. Names are resolved for each connection (the resolver remembers answers for
 * as long as it may), so a name that changes is followed at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/relay_priv.h"

static void go_on(struct relay_dial *d);

static uint16_t port_of(const struct relay_dial *d)
{
	const struct route_target *t = d->route->c->target.items;
	uint16_t first = t[d->target].port ? t[d->target].port : addr_port(&d->route->c->listen.at);

	return (uint16_t)(first + d->index);
}

static void set_why(struct relay_dial *d, int err, const char *why)
{
	d->err = err;
	(void)snprintf(d->why, sizeof(d->why), "%s", why);
}

static void missed(struct relay_dial *d)
{
	relay_count(d->worker, RELAY_M_TRIES, 0, 1);
	route_missed(d->route, d->target, loop_now(d->worker->loop));
}

static void on_answer(const struct dns_answer *a, void *arg)
{
	struct relay_dial *d = arg;
	const struct route_target *t = d->route->c->target.items;

	d->query = NULL;
	d->at = d->n_addr = 0;
	if (a->status == DNS_OK)
		d->addr = malloc(a->n * sizeof(*d->addr));
	if (d->addr) {
		memcpy(d->addr, a->addr, a->n * sizeof(*d->addr));
		d->n_addr = (unsigned)a->n;
	} else {
		char why[JOINT_WHY];

		(void)snprintf(why, sizeof(why), "could not resolve %.80s: %s", t[d->target].host,
			       a->status == DNS_OK ? strerror(ENOMEM) : dns_status_text(a->status));
		set_why(d, EHOSTUNREACH, why);
		missed(d);
	}
	go_on(d);
}

static bool choose(struct relay_dial *d)
{
	uint64_t now = loop_now(d->worker->loop);

	for (unsigned i = 0; i < d->route->c->target.n; i++) {
		if (d->tried & 1u << i || (!d->desperate && route_aside(d->route, i, now)))
			continue;
		d->tried |= 1u << i;
		d->target = i;
		return true;
	}
	return false;
}

static void ask(struct relay_dial *d, const char *host)
{
	struct dns_request rq = { .host = host, .port = port_of(d), .done = on_answer, .arg = d,
				  .family = addr_family(&d->route->c->source_address),
				  .deadline_ms = d->route->c->connect_ms };
	struct dns *dns = relay_worker_dns(d->worker);
	int r = dns ? dns_addresses(dns, &rq, &d->query) : -ENOMEM;

	if (r < 0) {
		set_why(d, -r, strerror(-r));
		d->next(d, NULL);
	}
}

static void go_on(struct relay_dial *d)
{
	const struct route_target *t = d->route->c->target.items;
	struct addr numeric;

	if (d->at < d->n_addr) {
		d->next(d, &d->addr[d->at++]);
		return;
	}
	free(d->addr);
	d->addr = NULL;
	d->at = d->n_addr = 0;
	if (!choose(d)) {
		d->desperate = true;
		if (!choose(d)) {
			d->next(d, NULL);
			return;
		}
	}
	if (addr_parse(text_of(t[d->target].host), port_of(d), &numeric) == 0) {
		addr_set_port(&numeric, port_of(d));
		d->next(d, &numeric);
	} else {
		ask(d, t[d->target].host);
	}
}

void relay_dial_begin(struct relay_dial *d)
{
	set_why(d, EHOSTUNREACH, "no target is left to try");
	go_on(d);
}

void relay_dial_failed(struct relay_dial *d, int err, const char *why)
{
	set_why(d, err, why);
	if (d->at >= d->n_addr) /* its last address */
		missed(d);
	go_on(d);
}

void relay_dial_reached(struct relay_dial *d)
{
	route_reached(d->route, d->target);
	free(d->addr);
	d->addr = NULL;
}

void relay_dial_end(struct relay_dial *d)
{
	d->query = dns_cancel(d->query);
	free(d->addr);
	d->addr = NULL;
}
