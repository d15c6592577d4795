/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the mesh, its configuration, and what is shown of it; see mesh.h. A configuration replaces the servers as a
 * whole; who was there before, by its user, keeps its log-on, its number and what is known of its users.
 *
 * Who is taken out lives on as a name only, for targets that are under way may point to it.
 */
#include "sip-proxy/mesh.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

/* ---- life ---- */

static void on_tick(struct timer *t, uint64_t now)
{
	struct sip_mesh *m = container_of(t, struct sip_mesh, tick);

	mesh_servers_tick(m, now);
	if (m->n)
		timers_set(m->o.timers, &m->tick, now + MESH_TICK_MS);
}

int sip_mesh_new(const struct sip_mesh_options *o, struct sip_mesh **ret_m)
{
	struct sip_mesh *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->o = *o;
	htable_init(&m->users);
	list_init(&m->lru);
	list_init(&m->questions);
	m->tick.fire = on_tick;
	*ret_m = m;
	return 0;
}

struct sip_mesh *sip_mesh_free(struct sip_mesh *m)
{
	if (!m)
		return NULL;
	timer_stop(&m->tick);
	mesh_questions_end(m);
	mesh_users_free(m);
	for (unsigned i = 0; i < m->n; i++)
		mesh_server_free(m->v[i]);
	while (m->retired) {
		struct mesh_server *s = m->retired;
		m->retired = s->next;
		mesh_server_free(s);
	}
	free(m->v);
	free(m->trusted);
	free(m);
	return NULL;
}

void sip_mesh_set_core(struct sip_mesh *m, struct sip_proxy *px)
{
	if (!px) {
		mesh_questions_end(m);
		for (unsigned i = 0; i < m->n; i++)
			m->v[i]->ping = sip_ask_cancel(m->v[i]->ping);
	}
	m->px = px;
}

void sip_mesh_drain(struct sip_mesh *m)
{
	m->quiet = true;
	for (unsigned i = 0; i < m->n; i++)
		m->v[i]->ping = sip_ask_cancel(m->v[i]->ping);
}

/* ---- configuration ---- */

static void put_word(char *to, size_t cap, const char *from)
{
	to[0] = 0;
	if (from)
		text_append(to, cap, from);
}

static struct mesh_server *server_of(struct sip_mesh *m, const struct sip_server_section *c)
{
	struct mesh_server *s = calloc(1, sizeof(*s));
	char *const *users = c->users.items;

	if (!s)
		return NULL;
	s->mesh = m;
	s->addresses = calloc(c->addresses.n + 1, sizeof(*s->addresses));
	s->users = calloc(c->users.n + 1, sizeof(*s->users));
	if (!s->addresses || !s->users)
		return mesh_server_free(s);
	put_word(s->user, sizeof(s->user), c->user);
	put_word(s->group, sizeof(s->group), c->group);
	put_word(s->name, sizeof(s->name), c->certificate_name);
	put_word(s->password, sizeof(s->password), c->password);
	put_word(s->fixed, sizeof(s->fixed), c->contact);
	for (size_t i = 0; i < c->addresses.n; i++)
		s->addresses[s->n_addresses++] = ((const struct prefix *)c->addresses.items)[i];
	for (size_t i = 0; i < c->users.n; i++)
		put_word(s->users[s->n_users++], sizeof(*s->users), users[i]);
	s->weight = (unsigned)c->weight;
	return s;
}

/* What the configuration says anew; who is logged on stays so. */
static void take_over(struct mesh_server *was, struct mesh_server *fresh)
{
	bool still_fixed = fresh->fixed[0] != 0;

	if (was->fixed[0] && !still_fixed && was->until == UINT64_MAX)
		mesh_server_logoff(was, "it has to log on now");
	memcpy(was->group, fresh->group, sizeof(was->group));
	memcpy(was->name, fresh->name, sizeof(was->name));
	memcpy(was->password, fresh->password, sizeof(was->password));
	memcpy(was->fixed, fresh->fixed, sizeof(was->fixed));
	free(was->addresses);
	free(was->users);
	was->addresses = steal_ptr(&fresh->addresses);
	was->n_addresses = fresh->n_addresses;
	was->users = steal_ptr(&fresh->users);
	was->n_users = fresh->n_users;
	was->weight = fresh->weight;
	mesh_server_free(fresh);
}

static struct mesh_server *pull(struct sip_mesh *m, const char *user)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->v[i] && strcmp(m->v[i]->user, user) == 0)
			return steal_ptr(&m->v[i]);
	return NULL;
}

static void retire(struct sip_mesh *m, struct mesh_server *s)
{
	bytes_wipe(s->password, sizeof(s->password));
	s->next = m->retired;
	m->retired = s;
}

static void replace(struct sip_mesh *m, struct mesh_server **v, unsigned n)
{
	struct mesh_server **old = m->v;
	unsigned n_old = m->n;

	for (unsigned i = 0; i < n; i++) {
		struct mesh_server *was = pull(m, v[i]->user);
		if (!was) {
			v[i]->number = ++m->last_number;
			continue;
		}
		take_over(was, v[i]);
		v[i] = was;
	}
	m->v = v;
	m->n = n;
	for (unsigned i = 0; i < n_old; i++) {
		if (!old[i])
			continue;
		mesh_users_drop_server(m, old[i]->number);
		mesh_server_logoff(old[i], "it is not in sip.lan.servers any more");
		retire(m, old[i]);
	}
	free(old);
	for (unsigned i = 0; i < n; i++)
		if (v[i]->fixed[0] && (!v[i]->on || v[i]->until == UINT64_MAX)) /* a log-on counts until it is over */
			mesh_server_fix(v[i]);
}

int sip_mesh_configure(struct sip_mesh *m, const struct sip_config *c)
{
	const struct sip_server_section *s = c->lan.servers.items;
	size_t n = MIN(c->lan.servers.n, (size_t)MESH_SERVERS_MAX), made = 0;
	struct mesh_server **v = calloc(n + 1, sizeof(*v));
	struct prefix *trusted = calloc(c->sources.trusted.n + 1, sizeof(*trusted));

	while (v && trusted && made < n && (v[made] = server_of(m, &s[made])) != NULL)
		made++;
	if (!v || !trusted || made < n) {
		while (made > 0)
			mesh_server_free(v[--made]);
		free(v);
		free(trusted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < c->sources.trusted.n; i++)
		trusted[i] = ((const struct prefix *)c->sources.trusted.items)[i];
	free(m->trusted);
	m->trusted = trusted;
	m->n_trusted = c->sources.trusted.n;
	m->remember_ms = c->lan.remember_ms;
	m->ask_ms = c->lan.ask_ms;
	replace(m, v, (unsigned)n);
	if (m->n)
		timers_set(m->o.timers, &m->tick, mesh_now(m) + MESH_TICK_MS);
	return 0;
}

/* ---- asked ---- */

bool mesh_trusts(const struct sip_mesh *m, const struct sip_hop *from)
{
	struct addr real = addr_canonical(&from->remote);

	if (!sip_proto_rows[from->proto].reliable || mesh_from_page(m, from))
		return false;
	for (size_t i = 0; i < m->n_trusted; i++)
		if (prefix_contains(&m->trusted[i], &real))
			return true;
	return false;
}

/* ---- shown ---- */

static json_t *row_of(const struct mesh_server *s, uint64_t now)
{
	bool on = mesh_server_is_on(s, now);
	char at[ADDR_STRLEN] = "";

	if (addr_family(&s->seen) != AF_UNSPEC)
		addr_print(&s->seen, at);
	else if (on && addr_family(&s->from.remote) != AF_UNSPEC)
		addr_print(&s->from.remote, at);
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:I}",
			 "name", s->user, "contact", s->contact, "address", at, "transport",
			 !on	     ? ""
			 : s->mutual ? "mtls"
				     : sip_proto_rows[s->proto].name,
			 "on", on, "state",
			 !on	       ? "not logged on"
			 : s->fixed[0] ? "by configuration"
				       : "logged on",
			 "since", (json_int_t)(on ? s->since : 0), "expires_s",
			 (json_int_t)(on && s->until != UINT64_MAX ? (s->until - now + 999) / 1000 : 0),
			 "users", (json_int_t)s->known, "weight", (int)s->weight, "group", s->group,
			 "health",
			 !on	   ? "-"
			 : s->sick ? "does not answer"
				   : "well",
			 "last_error", s->error, "last_error_at", (json_int_t)s->error_at);
}

void sip_mesh_gauges(const struct sip_mesh *m)
{
	int64_t n[3] = { 0 };

	for (unsigned i = 0; i < m->n; i++)
		n[!mesh_server_is_on(m->v[i], mesh_now(m)) ? SIP_SERVER_OFF
		  : m->v[i]->sick			   ? SIP_SERVER_SICK
							   : SIP_SERVER_WELL]++;
	for (unsigned i = 0; i < ARRAY_LEN(n) && m->o.metrics; i++)
		metric_set(m->o.metrics, 0, SIP_M_SERVERS, i, n[i]);
	if (m->o.metrics)
		metric_set(m->o.metrics, 0, SIP_M_SERVER_USERS, 0, (int64_t)m->users.count);
}

json_t *sip_mesh_servers_json(struct sip_mesh *m)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < m->n; i++)
		json_array_append_new(rows, row_of(m->v[i], mesh_now(m)));
	return rows;
}

void sip_mesh_users_each(struct sip_mesh *m, bool (*fn)(const struct sip_mesh_user *u, void *arg),
			 void *arg)
{
	static const char *const how[] = {
		[MESH_NOBODY] = "nowhere", [MESH_ANSWERED] = "answered", [MESH_REGISTERED] = "registered"
	};
	uint64_t now = mesh_now(m);

	list_for_each (it, &m->lru) {
		const struct mesh_user *u = list_entry(it, struct mesh_user, lru);
		const struct mesh_server *s = mesh_server(m, u->server);
		struct sip_mesh_user shown = { .aor = u->aor,
					       .server = s ? s->user : "",
					       .how = how[u->how],
					       .expires_ms = u->until - now };
		if (u->until > now && !fn(&shown, arg))
			return;
	}
}
