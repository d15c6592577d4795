/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which site is direct and which is relayed, and why: agents tell their server what their links to each other take (PATH), for people. The
 * server needs none of it, and believes none of it: it is shown as what that agent says. Both ends of a link tell theirs.
 *
 * What an agent tells is bounded (PATHS_MAX) and is the link's; a new control connection begins with an empty table, and the agent tells all anew.
 */
#include <stdio.h>
#include <string.h>
#include "tunnel/server/jobs_priv.h"

enum { PATHS_MAX = 256 };

struct agent_path {
	struct list node;
	uint8_t peer[WIRE_PIN];
	uint8_t state, kind;
	bool host;
	char name[WIRE_NAME_MAX + 1], reason[513];
	uint32_t rtt_us, streams;
	uint64_t since;
};

static const char *const states[WIRE_PATH_STATES] = { "over", "connecting", "up", "interrupted" };
static const char *const kinds[WIRE_PATH_KINDS] = { "none", "direct", "direct-punched", "direct-tcp", "turn", "relay" };

static bool is_direct(unsigned kind)
{
	return kind == WIRE_PATH_DIRECT || kind == WIRE_PATH_PUNCHED || kind == WIRE_PATH_TCP;
}

static struct agent_path *path_to(struct link_jobs *lj, const uint8_t peer[static WIRE_PIN], bool host, unsigned *ret_n)
{
	struct agent_path *found = NULL;

	*ret_n = 0;
	list_for_each(it, &lj->paths) {
		struct agent_path *p = list_entry(it, struct agent_path, node);

		++*ret_n;
		if (p->host == host && memcmp(p->peer, peer, WIRE_PIN) == 0)
			found = p;
	}
	return found;
}

static json_t *path_json(const struct link_jobs *lj, const struct agent_path *p)
{
	char hex[2 * WIRE_PIN + 1];

	hex_encode(p->peer, WIRE_PIN, hex);
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:I}", "agent", lj->agent, "peer", p->name, "identity",
			 json_sprintf("sha256:%s", hex), "role", p->host ? "host" : "visitor", "state", states[p->state], "path", kinds[p->kind], "direct",
			 is_direct(p->kind), "reason", p->reason, "rtt_us", (json_int_t)p->rtt_us, "connections", (json_int_t)p->streams, "since",
			 (json_int_t)p->since);
}

static void path_free(struct agent_path *p)
{
	list_unlink(&p->node);
	free(p);
}

void paths_forget(struct link_jobs *lj)
{
	list_for_each_safe(it, &lj->paths)
		path_free(list_entry(it, struct agent_path, node));
}

void paths_said(struct link_jobs *lj, const struct wire_path_msg *m)
{
	unsigned n;
	struct agent_path *p = path_to(lj, m->peer.p, m->host != 0, &n);

	if (!p && m->state == WIRE_PATH_OVER)
		return;
	if (!p) {
		p = n < PATHS_MAX ? calloc(1, sizeof(*p)) : NULL;
		if (!p)
			return; /* it is for people: who has more links sees them at the agent */
		memcpy(p->peer, m->peer.p, WIRE_PIN);
		p->host = m->host != 0;
		list_append(&lj->paths, &p->node);
	}
	p->state = m->state;
	p->kind = m->path;
	p->rtt_us = m->rtt_us;
	p->streams = m->streams;
	p->since = m->since;
	wire_text_copy(p->name, sizeof(p->name), m->name);
	wire_text_copy(p->reason, sizeof(p->reason), m->reason);
	jobs_post_json(lj, JOBS_EVENT, "tunnel.paths", path_json(lj, p));
	if (m->state == WIRE_PATH_OVER)
		path_free(p);
}

static void add_paths(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);

	list_for_each(it, &w->links) {
		const struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		list_for_each(pt, &lj->paths)
			json_array_append_new(arg, path_json(lj, list_entry(pt, struct agent_path, node)));
	}
}

json_t *paths_json(struct tunnel_jobs *j)
{
	json_t *rows = json_array();

	tunnel_server_call(j->server, add_paths, rows);
	return rows;
}
