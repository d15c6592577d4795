/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a UC server is well: it is asked with OPTIONS every 10 s, every 2 s while it does not answer, and a question about a user that
 * finds nobody there counts, too. A tick of a second sees to log-ons that expire, to connections that are gone and to questions that
 * nobody answers. What a sick server is used for is not decided here: mesh_users.c, mesh_route.c.
 */
#include <string.h>
#include <time.h>
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

enum { PING_MS = 3000 };

void mesh_server_error(struct mesh_server *s, const char *why)
{
	s->error[0] = 0;
	text_append(s->error, sizeof(s->error), why);
	s->error_at = (int64_t)time(NULL);
}

void mesh_server_told(struct mesh_server *s, unsigned code, const char *why)
{
	if (code == 0) {
		mesh_server_error(s, why);
		if (!s->sick) {
			log_emit(&MSG_SIP_SERVER_SICK, LF_STR("server", s->user),
				 LF_STR("contact", s->contact), LF_STR("why", why));
			/* A question about a user has found it, long before its turn, perhaps. */
			s->ping_at = MIN(s->ping_at, mesh_now(s->mesh) + MESH_PING_SICK_MS);
		}
	} else if (s->sick) {
		log_emit(&MSG_SIP_SERVER_WELL, LF_STR("server", s->user), LF_STR("contact", s->contact));
	}
	s->sick = code == 0;
	s->was_well |= code != 0;
}

static void on_pong(void *arg, unsigned code, const char *why, const struct sip_target *target)
{
	struct mesh_server *s = arg;

	s->ping = NULL;
	if (code && target)
		s->seen = addr_canonical(&target->hop.remote);
	/* A connection may be dead and not know it, for as long as TCP hopes: its Contact is tried in turn with it. */
	s->aside = code == 0 && !s->aside;
	mesh_server_told(s, code, why);
	s->ping_at = mesh_now(s->mesh) + (s->sick ? MESH_PING_SICK_MS : MESH_PING_MS);
}

static void ping(struct mesh_server *s, uint64_t now)
{
	char uri[MESH_WORD_MAX + 8];
	struct sb b = sb_init(uri, sizeof(uri));
	struct sip_uri u;
	int r;

	if (sip_uri_parse(text_of(s->contact), &u) < 0)
		return;
	mesh_put_uri(&b, u.host_kind, u.host);
	s->ping_sent = now;
	r = mesh_server_ask(s, (struct text){ uri, b.n }, on_pong, s, &s->ping);
	if (r < 0)
		on_pong(s, 0, strerror(-r), NULL);
}

static void tick_one(struct mesh_server *s, uint64_t now)
{
	if (s->on && s->until <= now) {
		if (s->fixed[0])
			mesh_server_fix(s);
		else
			mesh_server_logoff(s, "its log-on has expired");
	}
	if (s->on && s->use_flow && !s->mesh->o.ops->alive(s->mesh->o.edge, &s->from)) {
		/* Another connection from now on, if its Contact can be reached: what was asked by this one says nothing. */
		s->use_flow = false;
		s->ping = sip_ask_cancel(s->ping);
		s->ping_at = now;
	}
	if (s->ping && now - s->ping_sent >= PING_MS) {
		s->ping_sent = now;
		if (!sip_ask_next(s->ping)) {
			s->ping = sip_ask_cancel(s->ping);
			on_pong(s, 0, "no answer to OPTIONS", NULL);
		}
	}
	if (s->on && !s->ping && s->mesh->px && !s->mesh->quiet && s->ping_at <= now)
		ping(s, now);
}

void mesh_servers_tick(struct sip_mesh *m, uint64_t now)
{
	for (unsigned i = 0; i < m->n; i++)
		tick_one(m->v[i], now);
}
