/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN rounds and the router's mapping put together; see opener.h. A change of the machine's network asks both again: a
 * mapping belongs to the router that was there before.
 * What is told is always the whole state.
 */
#include "share/forward/opener.h"
#include <errno.h>
#include <stdio.h>
#include "common/net_changes.h"
#include "stun/public_watch.h"
#include "tunnel/direct/port_mapper.h"

struct opener {
	struct opener_options o;
	struct opener_state state;
	struct dns *dns;
	struct public_watch *watch;
	struct port_mapper *mapper;
	struct port_wish wish;
	struct net_changes *changes; /* NULL: there is no rtnetlink */
	struct timer soon;	     /* what was learnt within opener_new() is told after it */
	struct addr told;	     /* public address that was told last */
};

static void tell(struct opener *o)
{
	bool known = addr_family(&o->state.outside) != AF_UNSPEC;
	bool moved = known && addr_family(&o->told) != AF_UNSPEC && !addr_equal(&o->told, &o->state.outside);

	if (known)
		o->told = o->state.outside;
	if (o->o.changed)
		o->o.changed(&o->state, moved, o->o.arg);
}

/* What STUN says counts: a router behind another one knows only its own outside. */
static void settle(struct opener *o, const struct public_state *p)
{
	struct opener_state *s = &o->state;

	s->why = p ? p->why : s->why;
	if (p && p->known)
		s->outside = p->external;
	else if (addr_family(&s->router_says) != AF_UNSPEC && addr_classify(&s->router_says) == ADDR_GLOBAL)
		s->outside = s->router_says;
	if (addr_family(&s->outside) != AF_UNSPEC)
		addr_set_port(&s->outside, addr_port(&s->inside));
	s->behind_more = p && p->known && addr_family(&s->router_says) != AF_UNSPEC && !addr_equal_ip(&p->external, &s->router_says);
}

static const struct public_state *found(const struct opener *o)
{
	struct addr local = o->state.inside;

	addr_set_port(&local, 0);
	return o->watch ? public_watch_find(o->watch, &local) : NULL;
}

static void on_public(const struct public_watched *w, bool changed, void *arg)
{
	struct opener *o = arg;
	enum public_why before = o->state.why;

	settle(o, &w->state);
	if (changed || before != o->state.why)
		tell(o);
}

static void on_wish(struct port_wish *w, const struct addr *outside, const char *why)
{
	struct opener *o = container_of(w, struct opener, wish);
	struct opener_state *s = &o->state;

	s->router_says = outside ? *outside : (struct addr){ 0 };
	s->mapping = !outside ? OPENER_NO : addr_port(outside) == addr_port(&s->inside) ? OPENER_OPEN : OPENER_ELSEWHERE;
	(void)snprintf(s->how, sizeof(s->how), "%s", why ? why : "");
	settle(o, found(o));
	tell(o);
}

static void ask_router(struct opener *o)
{
	int r;

	if (!o->mapper)
		return;
	port_mapper_remove(&o->wish);
	o->wish = (struct port_wish){ .inside = o->o.inside, .tcp = true, .changed = on_wish };
	o->state.mapping = OPENER_ASKING;
	r = port_mapper_add(o->mapper, &o->wish);
	if (r < 0) {
		o->state.mapping = OPENER_NO;
		(void)snprintf(o->state.how, sizeof(o->state.how), "there is no router to ask: %s", strerror(-r));
		loop_timer_set(o->o.loop, &o->soon, 0);
	}
}

static void on_soon(struct timer *t, uint64_t now)
{
	(void)now;
	tell(container_of(t, struct opener, soon));
}

static void on_network(void *arg)
{
	struct opener *o = arg;

	dns_forget(o->dns);
	if (o->watch)
		public_watch_now(o->watch);
	ask_router(o);
}

int opener_new(const struct opener_options *options, struct opener **ret_o)
{
	_cleanup_(opener_freep) struct opener *o = calloc(1, sizeof(*o));
	struct public_watched w = { .local = options->inside, .state = PUBLIC_STATE_NEW };
	int r = o ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	o->o = *options;
	o->soon.fire = on_soon;
	o->state = (struct opener_state){ .inside = options->inside, .why = options->n_stun_servers ? PUBLIC_ASKING : PUBLIC_NO_SERVERS };
	addr_set_port(&w.local, 0);
	r = dns_new(options->loop, NULL, &o->dns);
	if (r == 0 && options->n_stun_servers)
		r = public_watch_new(&(struct public_watch_options){ .loop = options->loop, .dns = o->dns, .servers = options->stun_servers,
								     .n_servers = options->n_stun_servers, .watched = &w, .n_watched = 1,
								     .told = on_public, .arg = o }, &o->watch);
	if (r == 0 && options->mapping)
		r = port_mapper_new(options->loop, &o->mapper);
	if (r < 0)
		return r;
	(void)net_changes_new(options->loop, on_network, o, &o->changes);
	ask_router(o);
	if (!o->watch && !o->mapper)
		loop_timer_set(options->loop, &o->soon, 0);
	*ret_o = steal_ptr(&o);
	return 0;
}

struct opener *opener_free(struct opener *o)
{
	if (!o)
		return NULL;
	timer_stop(&o->soon);
	net_changes_free(o->changes);
	if (o->mapper)
		port_mapper_remove(&o->wish);
	port_mapper_free(o->mapper);
	public_watch_free(o->watch);
	dns_free(o->dns);
	free(o);
	return NULL;
}

const struct opener_state *opener_state(const struct opener *o)
{
	return &o->state;
}

const char *opener_text(const struct opener_state *s, char *buf, size_t n)
{
	char at[ADDR_STRLEN];

	switch (s->mapping) {
	case OPENER_NOT_ASKED: (void)snprintf(buf, n, "the router was not asked to open the port"); break;
	case OPENER_ASKING: (void)snprintf(buf, n, "the router is asked to open the port"); break;
	case OPENER_OPEN: (void)snprintf(buf, n, "the router has opened %s by %s", addr_print(&s->router_says, at), s->how); break;
	case OPENER_ELSEWHERE:
		(void)snprintf(buf, n, "another machine behind this router has port %u (the same last octet in another subnet?); the router offers %s instead",
			       addr_port(&s->inside), addr_print(&s->router_says, at));
		break;
	case OPENER_NO: (void)snprintf(buf, n, "the router has not opened the port: %s", s->how); break;
	}
	return buf;
}
