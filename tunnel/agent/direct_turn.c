/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TURN servers of direct links: those of agent.direct.turn_servers, and those that tunnel servers give with credentials made for
 * this agent (decision 0016, TURN-ASK). Names are resolved here, for the child resolves none; what is known goes to the child as
 * a whole whenever it changes. A given server is a STUN server as well, where none is configured.
 *
 * Timer: given credentials are asked for again at half of their lifetime.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/agent/direct_priv.h"
#include "tunnel/link/turn_uri.h"

enum { LIFETIME_MIN_S = 120, LIFETIME_MAX_S = 86400, USER_MAX = 512, PASSWORD_MAX = 256 };

/* What is known of it goes to the child; also that there is none. */
void direct_turn_tell(struct direct *d)
{
	const struct agent_config *c = &d->conf->agent;
	struct child_turn m = { 0 };

	for (unsigned i = 0; i < DIRECT_TURN_MAX && c->direct.turn; i++) {
		struct direct_turn *t = &d->turn[i];
		struct addr a;
		char ip[ADDR_STRLEN];

		if (!t->address[0] || !t->user[0] || addr_parse(text_of(t->address), 0, &a) != 0)
			continue;
		m.host = text_of(addr_print_ip(&a, ip));
		m.port = addr_port(&a);
		m.tcp = t->tcp;
		m.username = text_of(t->user);
		m.password = text_of(t->password);
		(void)direct_tell(d, CHILD_TURN, &m, -1);
		m.number++;
	}
	if (m.number == 0)
		(void)direct_tell(d, CHILD_TURN, &(struct child_turn){ 0 }, -1);
}

/* Of the STUN servers that are given to the child: those that speak TURN over UDP speak STUN. */
const char *direct_turn_stun(const struct direct *d, unsigned i)
{
	return d->turn[i].address[0] && !d->turn[i].tcp ? d->turn[i].address : NULL;
}

static void clear(struct direct_turn *t)
{
	t->query = dns_cancel(t->query);
	bytes_wipe(t->password, sizeof(t->password));
	t->host[0] = t->address[0] = '\0';
	t->end = NULL;
}

static void on_address(const struct dns_answer *a, void *arg)
{
	struct direct_turn *t = arg;

	t->query = NULL;
	direct_name_found(t->d, a, t->address);
}

static void find(struct direct_turn *t)
{
	struct dns_request rq = { .host = t->host, .port = t->port, .family = AF_UNSPEC, .done = on_address, .arg = t };

	if (!t->query)
		(void)dns_addresses(t->d->dns, &rq, &t->query); /* without it there is one server less */
}

bool direct_turn_find(struct direct *d)
{
	bool known = true;

	for (unsigned i = 0; i < DIRECT_TURN_MAX; i++) {
		if (!d->turn[i].host[0])
			continue;
		find(&d->turn[i]);
		known &= d->turn[i].address[0] != '\0';
	}
	return known;
}

static struct direct_turn *free_one(struct direct *d)
{
	for (unsigned i = 0; i < DIRECT_TURN_MAX; i++)
		if (!d->turn[i].host[0])
			return &d->turn[i];
	return NULL;
}

static void add(struct direct *d, struct agent_end *end, const struct direct_turn *what)
{
	struct direct_turn *t = free_one(d);

	if (!t)
		return;
	*t = *what;
	t->d = d;
	t->end = end;
	find(t);
}

/* ---- configured ---- */

void direct_turn_configure(struct direct *d, const struct agent_config *c)
{
	const struct direct_turn_config *list = c->direct.turn_servers.items;

	for (unsigned i = 0; i < DIRECT_TURN_MAX; i++)
		if (d->turn[i].host[0] && !d->turn[i].end)
			clear(&d->turn[i]);
	for (size_t i = 0; i < c->direct.turn_servers.n; i++) {
		struct direct_turn t = { .port = list[i].server.port, .tcp = list[i].tcp };

		(void)snprintf(t.host, sizeof(t.host), "%s", list[i].server.host);
		(void)snprintf(t.user, sizeof(t.user), "%s", list[i].user);
		(void)snprintf(t.password, sizeof(t.password), "%s", list[i].password);
		add(d, NULL, &t);
		bytes_wipe(&t, sizeof(t));
	}
}

/* ---- given by a tunnel server ---- */

static void ask(struct agent_end *e)
{
	if (agent_meets(e->agent))
		(void)agent_send(e->agent, WIRE_TURN_ASK, &(struct wire_nothing){ 0 });
}

void direct_turn_ask(struct direct *d, struct agent_end *e)
{
	if (!d->conf->agent.direct.turn)
		return;
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (!e || e == &d->as->ends[i])
			ask(&d->as->ends[i]);
}

static void on_half_time(struct timer *t, uint64_t now)
{
	(void)now;
	direct_turn_ask(container_of(t, struct direct, turn_timer), NULL);
}

static bool read_uri(struct text text, struct direct_turn *t)
{
	struct turn_uri u;

	if (turn_uri_parse(text, &u) != 0)
		return false;
	memcpy(t->host, u.host, sizeof(u.host));
	t->port = u.port;
	t->tcp = u.tcp;
	return true;
}

void direct_turn_given(struct direct *d, struct agent_end *e, const struct wire_turn *m)
{
	uint64_t lifetime = MIN(MAX(m->lifetime, LIFETIME_MIN_S), LIFETIME_MAX_S);

	for (unsigned i = 0; i < DIRECT_TURN_MAX; i++)
		if (d->turn[i].host[0] && d->turn[i].end == e)
			clear(&d->turn[i]);
	for (unsigned i = 0; i < m->n_uris; i++) {
		struct direct_turn t = { 0 };

		if (m->username.n > USER_MAX || m->password.n > PASSWORD_MAX || !read_uri(m->uris[i], &t))
			continue;
		wire_text_copy(t.user, sizeof(t.user), m->username); /* none: for STUN alone */
		wire_text_copy(t.password, sizeof(t.password), m->password);
		add(d, e, &t);
		bytes_wipe(&t, sizeof(t));
	}
	if (m->n_uris) {
		d->turn_timer.fire = on_half_time;
		loop_timer_set(d->loop, &d->turn_timer, lifetime * 1000 / 2);
	}
	direct_turn_tell(d);
}

void direct_turn_free(struct direct *d)
{
	timer_stop(&d->turn_timer);
	for (unsigned i = 0; i < DIRECT_TURN_MAX; i++)
		clear(&d->turn[i]);
}
