/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's ear and mouth: messages of the supervisor, each to whom it concerns, and what is said back. The supervisor is
 * trusted, and still nothing it says can break this: numbers are looked up, descriptors checked by those who use them.
 *
 * Once a pass, every link sends what has gathered, and tells what has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "tunnel/direct/engine_priv.h"

void engine_say(struct engine *e, unsigned type, const void *msg)
{
	if (e->channel)
		(void)channel_send(e->channel, type, msg); /* if it cannot be said, closed() follows */
}

void engine_log(struct engine *e, enum log_level level, uint32_t link, const char *text)
{
	engine_say(e, CHILD_LOG, &(struct child_log){ .level = (uint8_t)level, .link = link, .text = text_of(text) });
}

struct link *engine_link(struct engine *e, uint32_t id)
{
	list_for_each (it, &e->links) {
		struct link *k = list_entry(it, struct link, node);

		if (k->id == id && !k->gone)
			return k;
	}
	return NULL;
}

static void end(struct engine *e)
{
	if (e->ended)
		return;
	e->ended = true;
	e->gone(e->arg);
}

/* ---- SETUP ---- */

static void on_memory(struct text memory, void *arg)
{
	engine_say(arg, CHILD_MEMORY, &(struct child_memory){ .memory = { (const uint8_t *)memory.p, memory.n } });
	engine_show_site(arg);
}

static enum quic_congestion congestion_of(struct text t)
{
	return text_eq(t, text_of("bbr2")) ? QUIC_BBR2 : text_eq(t, text_of("cubic")) ? QUIC_CUBIC : QUIC_BBR;
}

static int set_ice(struct engine *e)
{
	return e->ice ? ice_set(e->ice, e->ice_settings) : ice_new(e->loop, e->ice_settings, &e->ice);
}

static void on_setup(struct engine *e, const struct child_setup *m)
{
	struct ice_settings *s = e->ice_settings;
	int r = 0;

	e->flags = m->flags;
	e->congestion = congestion_of(m->congestion);
	if (!e->creds)
		r = quic_creds_new(m->certificate.p, m->certificate.n, m->key.p, m->key.n, &e->creds);
	s->n_stun = 0;
	for (unsigned i = 0; i < m->n_stun && s->n_stun < ICE_STUN_MAX; i++)
		if (addr_parse(m->stun[i], 3478, &s->stun[s->n_stun]) == 0)
			s->n_stun++;
	s->port_min = m->first_port;
	s->port_max = m->last_port;
	s->no_ipv6 = m->flags & CHILD_F_NO_IPV6;
	s->no_port_mapping = m->flags & CHILD_F_NO_PORTMAP;
	s->no_probing = m->flags & CHILD_F_NO_PROBES;
	s->no_tcp = m->flags & CHILD_F_NO_TCP;
	s->loopback = m->flags & CHILD_F_LOOPBACK;
	s->memory = (struct text){ (const char *)m->memory.p, m->memory.n };
	s->on_memory = on_memory;
	s->arg = e;
	if (r == 0)
		r = set_ice(e);
	s->memory = (struct text){ 0 };
	if (r < 0) {
		engine_log(e, LOG_LVL_ERROR, 0, r == -ENOMEM ? "out of memory" : "the identity or the ICE thread cannot be set up");
		end(e);
		return;
	}
	if (!e->ready)
		engine_say(e, CHILD_READY, &(struct child_nothing){ 0 });
	engine_show_site(e);
	e->ready = true;
}

static void on_turn(struct engine *e, const struct child_turn *m)
{
	struct ice_settings *s = e->ice_settings;
	struct ice_turn *t;

	if (!m->number)
		s->n_turn = 0;
	if (m->host.n && s->n_turn < ICE_TURN_MAX && m->username.n < sizeof(s->turn->user) && m->password.n < sizeof(s->turn->password)) {
		t = &s->turn[s->n_turn];
		memset(t, 0, sizeof(*t));
		if (addr_parse(m->host, m->port, &t->server) == 0) {
			addr_set_port(&t->server, m->port);
			t->tcp = m->tcp;
			memcpy(t->user, m->username.p, m->username.n);
			memcpy(t->password, m->password.p, m->password.n);
			s->n_turn++;
		}
	}
	if (e->ice)
		(void)ice_set(e->ice, s);
}

/* ---- messages ---- */

static void on_unlisten(struct engine *e, uint32_t id)
{
	list_for_each_safe (it, &e->listeners) {
		struct listener *n = list_entry(it, struct listener, node);

		if (n->id == id)
			listener_free(n);
	}
}

static void on_network_changed(struct engine *e)
{
	if (e->ice)
		ice_network_changed(e->ice);
	list_for_each (it, &e->links)
		link_network_changed(list_entry(it, struct link, node));
}

static void on_link_message(struct engine *e, unsigned type, const union child_any *m, int *fd)
{
	struct link *k = engine_link(e, m->link.link); /* the first member of all of these */

	if (!k)
		return;
	switch (type) {
	case CHILD_ICE_REMOTE: link_ice_remote(k, &m->ice); break;
	case CHILD_CARRIER: link_carrier(k, &m->carrier, fd); break;
	case CHILD_LINK_CLOSE: {
		char why[160];

		wire_text_copy(why, sizeof(why), m->link.text);
		link_close(k, why);
		break;
	}
	case CHILD_PING: link_ping(k, m->ping.cookie); break;
	default: break;
	}
}

static void on_message(struct channel *c, unsigned type, const union child_any *m, int *fd, void *arg)
{
	struct engine *e = arg;

	(void)c;
	if (!e->ready && type != CHILD_SETUP && type != CHILD_TURN && type != CHILD_PROBE)
		return;
	switch (type) {
	case CHILD_SETUP: on_setup(e, &m->setup); break;
	case CHILD_TURN: on_turn(e, &m->turn); break;
	case CHILD_NETWORK_CHANGED: on_network_changed(e); break;
	case CHILD_PROBE: engine_say(e, CHILD_ALIVE, &(struct child_nothing){ 0 }); break;
	case CHILD_LINK_OPEN:
		if (link_open(e, &m->link_open) < 0)
			engine_say(e, CHILD_LINK_GONE, &(struct child_link){ .link = m->link_open.link, .reason = WIRE_R_MEMORY,
									     .text = text_of("the child cannot open one more link") });
		break;
	case CHILD_LISTEN: listener_set(e, &m->listen, fd); break;
	case CHILD_UNLISTEN: on_unlisten(e, m->visit.visit); break;
	case CHILD_ADMITTED: conns_admitted(e, &m->admitted); break;
	case CHILD_SIGNAL: break; /* nothing is said that way yet: other versions may */
	default: on_link_message(e, type, m, fd); break;
	}
}

static void on_closed(struct channel *c, const char *why, void *arg)
{
	(void)c;
	(void)why;
	end(arg);
}

static void on_pass(struct pass_hook *h)
{
	struct engine *e = container_of(h, struct engine, hook);

	list_for_each_safe (it, &e->links)
		link_pass(list_entry(it, struct link, node));
}

static const struct channel_ops channel_ops = { .message = on_message, .closed = on_closed };

int engine_new(struct loop *l, int fd, void (*gone)(void *arg), void *arg, struct engine **ret_e)
{
	_cleanup_(closep) int owned = fd;
	_cleanup_(engine_freep) struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->loop = l;
	e->gone = gone;
	e->arg = arg;
	e->next_request = 1;
	e->seed = hash_seed_random();
	list_init(&e->links);
	list_init(&e->listeners);
	e->hook.run = on_pass;
	loop_add_hook(l, &e->hook);
	e->ice_settings = calloc(1, sizeof(*e->ice_settings));
	if (!e->ice_settings)
		return -ENOMEM;
	r = channel_new(l, steal_fd(&owned), CHILD_TO_CHILD, &channel_ops, e, &e->channel);
	if (r < 0)
		return r;
	*ret_e = steal_ptr(&e);
	return 0;
}

struct engine *engine_free(struct engine *e)
{
	if (!e)
		return NULL;
	e->channel = channel_free(e->channel);
	while (!list_empty(&e->listeners))
		listener_free(list_entry(e->listeners.next, struct listener, node));
	while (!list_empty(&e->links))
		link_free(list_entry(e->links.next, struct link, node));
	ice_free(e->ice);
	loop_remove_hook(&e->hook);
	quic_creds_free(e->creds);
	chunk_pool_trim(&e->pool);
	if (e->ice_settings)
		bytes_wipe(e->ice_settings, sizeof(*e->ice_settings));
	free(e->ice_settings);
	free(e);
	return NULL;
}
