/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of agents that are interrupted on this side (`stile tunnel job stop AGENT JOB`): the ports are the server's, so it may keep them
 * closed whatever the agent's file says. Kept in the store by the agent's key and the job's name, until it is started here again, the
 * agent has the job no more, or is revoked or deleted. The job itself stays the agent's: nothing else of it is changed here.
 *
 * Main thread. A job asks for its ports (jobs.c) and hears of it there.
 */
#include <stdio.h>
#include <string.h>
#include "common/json.h"
#include "tunnel/link/identity.h"
#include "tunnel/server/jobs_priv.h"

struct key {
	char s[IDENTITY_STRLEN + 1 + JOB_NAME_STRLEN];
};

static struct key key_of(const uint8_t identity[static WIRE_PIN], const char *job)
{
	struct identity_hash id;
	char text[IDENTITY_STRLEN];
	struct key k;

	memcpy(id.b, identity, sizeof(id.b));
	(void)snprintf(k.s, sizeof(k.s), "%s/%.298s", identity_print(&id, text), job);
	return k;
}

bool jobs_held(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim)
{
	return json_object_get(stored_bodies(j->held), key_of(identity, claim).s) != NULL;
}

void jobs_held_gone(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim)
{
	struct key k = key_of(identity, claim);

	if (json_object_get(stored_bodies(j->held), k.s))
		stored_drop(j->held, k.s, "stile-tunnel");
}

void jobs_held_retain(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], bool (*keep)(const char *job, void *arg), void *arg)
{
	struct key own = key_of(identity, "");
	json_t *bodies = stored_bodies(j->held), *body;
	const char *key;
	void *next;

	json_object_foreach_safe(bodies, next, key, body)
		if (strncmp(key, own.s, strlen(own.s)) == 0 && !keep(key + strlen(own.s), arg))
			stored_drop(j->held, key, "stile-tunnel");
}

static bool no_job(const char *job, void *arg)
{
	(void)job;
	(void)arg;
	return false;
}

void tunnel_jobs_forget(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN])
{
	jobs_held_retain(j, identity, no_job, NULL);
}

/* ---- the store ---- */

static int on_put(const char *key, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	(void)key;
	(void)body;
	(void)flag;
	(void)err;
	(void)err_n;
	tunnel_jobs_recheck(arg);
	return 0;
}

static void on_deleted(const char *key, bool flag, void *arg)
{
	(void)key;
	(void)flag;
	tunnel_jobs_recheck(arg);
}

static json_t *row_of(const char *key, void *arg)
{
	struct tunnel_jobs *j = arg;

	return json_deep_copy(json_object_get(stored_bodies(j->held), key));
}

static const struct stored_ops ops = { .kind = "tunnel.held", .noun = "job", .list_hint = "stile tunnel jobs", .put = on_put, .deleted = on_deleted,
				       .row = row_of };

int jobs_held_new(struct tunnel_jobs *j)
{
	return stored_new(j->o.svc, &ops, j, &j->held);
}

/* ---- shown ---- */

static bool has_row(const json_t *rows, const char *agent, const char *job)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "agent"), agent) == 0 && strcmp(text_of_key(row, "name"), job) == 0 &&
		    strcmp(text_of_key(row, "origin"), "agent") == 0)
			return true;
	return false;
}

/* Of one whose agent is away no more is known than that. */
void jobs_held_rows(const struct tunnel_jobs *j, const char *agent, json_t *rows)
{
	json_t *body;
	const char *key;

	json_object_foreach(stored_bodies(j->held), key, body) {
		struct text job = text_of(key), identity = text_cut(&job, '/');
		struct identity_hash id;
		const char *name = identity_parse(identity, &id) == 0 && j->o.name_of ? j->o.name_of(id.b, j->o.arg) : NULL;

		if (!name || (agent && strcmp(agent, name) != 0) || has_row(rows, name, job.p))
			continue;
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "agent", name, "name", job.p, "origin", "agent", "mark", "-||-",
						      "state", "interrupted", "reason", JOBS_HELD_WHY, "held", 1));
	}
}

/* ---- asked for ---- */

struct sought {
	const char *agent, *job;
	bool found;
	uint8_t identity[WIRE_PIN];
};

static void look(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);
	struct sought *s = arg;

	list_for_each (it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		if (strcmp(lj->agent, s->agent) != 0)
			continue;
		list_for_each (jt, &lj->jobs) {
			const struct server_job *j = list_entry(jt, struct server_job, node);

			if (j->offered || strcmp(j->name, s->job) != 0)
				continue;
			s->found = true;
			memcpy(s->identity, lj->identity, WIRE_PIN);
		}
	}
}

/* Which jobs it has is not known while it is away; what is held here is. */
static bool held_of_absent(struct tunnel_jobs *j, struct sought *s)
{
	return j->o.look_up(s->agent, s->identity, j->o.arg) && jobs_held(j, s->identity, s->job);
}

bool jobs_hold(struct tunnel_jobs *j, struct control_request *rq, const char *agent, const char *job, bool on)
{
	struct sought s = { .agent = agent, .job = job };
	struct key k;

	tunnel_server_call(j->server, look, &s);
	if (!s.found && (on || !held_of_absent(j, &s)))
		return false;
	k = key_of(s.identity, job);
	if (on)
		stored_put(j->held, rq, k.s, json_pack("{s:s, s:s}", "agent", agent, "name", job), STORE_ANY, false);
	else if (jobs_held(j, s.identity, job))
		stored_delete(j->held, rq, k.s, false);
	else
		control_fail(rq, "conflict", "stile agent job start JOB, on the agent's host", "the job %s of %s is not interrupted on this side", job, agent);
	return true;
}
