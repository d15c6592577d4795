/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates out of ports that the router opens (port_mapper.h): told to the peer as server-reflexive ones of the host candidate
 * that they lead to. libnice need not know of them: a check that comes in through one reaches the socket of its host candidate.
 *
 * Timer: the end of our lines waits PORTS_MS for the router's answer, and no longer.
 */
#include <stdio.h>
#include "tunnel/direct/ice_priv.h"

enum { PORTS_MS = 1600, PREFERENCE = 65000 /* before the address that STUN tells: it lets everybody in */ };

bool ice_ports_are_told(const struct ice_try *t)
{
	if (!timer_is_set(&t->ports_timer))
		return true;
	for (size_t i = 0; i < t->n_ports; i++)
		if (!t->ports[i].answered)
			return false;
	return true;
}

static void on_late(struct timer *timer, uint64_t now)
{
	(void)now;
	ice_tell_end(container_of(timer, struct ice_try, ports_timer));
}

static void tell_candidate(struct ice_port *p)
{
	struct ice_try *t = p->t;
	struct candidate c = { .component = CANDIDATE_DIRECT, .type = CANDIDATE_SRFLX, .addr = p->outside, .related = p->host.addr,
			       .priority = candidate_priority(CANDIDATE_SRFLX, PREFERENCE, CANDIDATE_DIRECT) };
	char line[CANDIDATE_STRLEN];

	for (size_t i = 0; i < t->n_local; i++)
		if (candidate_same_place(&t->local[i], &c))
			return;
	if (t->n_local == CANDIDATES_MAX || t->told_all)
		return;
	snprintf(c.foundation, sizeof c.foundation, "m%u", (unsigned)(p - t->ports));
	t->local[t->n_local++] = c;
	candidate_print(&c, line);
	t->o.ops->on_line(t, line, t->o.arg);
}

static void on_changed(struct port_wish *w, const struct addr *outside, const char *why)
{
	struct ice_port *p = container_of(w, struct ice_port, wish);
	struct ice_try *t = p->t;

	p->answered = true;
	snprintf(p->how, sizeof p->how, "%s", why);
	p->outside = outside ? *outside : (struct addr){ 0 };
	if (ice_ports_are_told(t) && timer_is_set(&t->ports_timer))
		loop_timer_set(t->loop, &t->ports_timer, 0); /* the end of our lines, in a turn of its own */
	if (outside)
		tell_candidate(p);
}

/* Behind a NAT by IPv4; by IPv6 behind a firewall, which cannot be known. */
static bool is_worth_it(const struct addr *a)
{
	enum addr_class c = addr_classify(a);

	if (addr_family(a) == AF_INET)
		return c == ADDR_PRIVATE || c == ADDR_SHARED;
	return c == ADDR_GLOBAL || c == ADDR_DOCUMENTATION;
}

void ice_ports_candidate(struct ice_try *t, const struct candidate *host)
{
	struct ice_port *p = &t->ports[t->n_ports];

	if (!t->ice->mapper || t->s.no_port_mapping || t->n_ports == ICE_LOCAL_MAX || !is_worth_it(&host->addr))
		return;
	*p = (struct ice_port){ .t = t, .host = *host, .wish = { .inside = host->addr, .changed = on_changed } };
	if (port_mapper_add(t->ice->mapper, &p->wish) != 0)
		return; /* there is no router */
	t->n_ports++;
	t->ports_timer.fire = on_late;
	if (!timer_is_set(&t->ports_timer))
		loop_timer_set(t->loop, &t->ports_timer, PORTS_MS);
}

void ice_ports_end(struct ice_try *t)
{
	timer_stop(&t->ports_timer);
	for (size_t i = 0; i < t->n_ports; i++)
		port_mapper_remove(&t->ports[i].wish);
}

json_t *ice_ports_show(const struct ice_try *t)
{
	json_t *list = json_array();
	char inside[ADDR_STRLEN], outside[ADDR_STRLEN];

	for (size_t i = 0; i < t->n_ports; i++) {
		const struct ice_port *p = &t->ports[i];
		bool open = addr_family(&p->outside) != AF_UNSPEC;
		json_array_append_new(list, json_pack("{s:s, s:s?, s:s}", "inside", addr_print(&p->host.addr, inside), "outside",
						      open ? addr_print(&p->outside, outside) : NULL, open ? "by" : "why",
						      p->answered ? p->how : "the router has not answered yet"));
	}
	return list;
}
