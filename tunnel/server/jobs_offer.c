/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forward jobs made on the server's side (`stile tunnel job add AGENT …`): kept in the store under "AGENT/JOB", offered
 * to the agent whenever it comes, and started when it has taken them. The agent's list decides: agent.allow must hold
 * the target.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/server/jobs_priv.h"

enum { KEY_MAX = 64 + JOB_NAME_STRLEN };

struct key {
	char s[KEY_MAX];
};

static struct key key_of(const char *agent, const char *job)
{
	struct key k;

	(void)snprintf(k.s, sizeof(k.s), "%s/%.298s", agent, job);
	return k;
}

static const char *agent_of(const json_t *body)
{
	const char *s = json_string_value(json_object_get(body, "agent"));

	return s ? s : "";
}

/* Numbers are made anew at each start, and are the key's: a job that is changed stays the same one to its agent. */
static uint32_t id_of(struct tunnel_jobs *j, json_t *body)
{
	const char *name = json_string_value(json_object_get(body, "name"));
	struct key k = key_of(agent_of(body), name ? name : "");
	json_int_t id = json_integer_value(json_object_get(j->offer_ids, k.s));

	if (!id) {
		id = (json_int_t)((uint32_t)JOB_OFFERED | ++j->last_offer);
		json_object_set_new(j->offer_ids, k.s, json_integer(id));
	}
	json_object_set_new(body, "id", json_integer(id));
	return (uint32_t)id;
}

/* ---- to the agent ---- */

struct offer_mail {
	struct mail mail;
	struct jobs_worker *w;
	uint64_t link;
	uint32_t id, revision;
	json_t *json;
};

static void drop_offer(struct mail *m)
{
	struct offer_mail *o = container_of(m, struct offer_mail, mail);

	json_decref(o->json);
	free(o);
}

static void deliver_offer(struct mail *m, struct loop *l)
{
	struct offer_mail *o = container_of(m, struct offer_mail, mail);

	(void)l;
	jobs_on_offer(o->w, o->link, o->id, o->revision, steal_ptr(&o->json));
	free(o);
}

/* json is copied: it goes to another thread. */
static void post_offer(struct tunnel_jobs *j, uint64_t link, uint32_t id, const json_t *json)
{
	struct offer_mail *o = calloc(1, sizeof(*o));
	unsigned w = tunnel_worker_of(link);

	if (!o || w >= j->n_workers) {
		free(o);
		return;
	}
	o->mail = (struct mail){ .deliver = deliver_offer, .drop = drop_offer };
	o->w = j->workers[w];
	o->link = link;
	o->id = id;
	o->revision = ++j->revision;
	o->json = json ? json_deep_copy(json) : NULL;
	tunnel_server_post(j->server, w, &o->mail);
}

void jobs_offers_send(struct tunnel_jobs *j, const struct jobs_said *up)
{
	const char *key;
	json_t *body;

	json_object_foreach(stored_bodies(j->offers), key, body) {
		if (strcmp(agent_of(body), up->agent) != 0)
			continue;
		post_offer(j, up->link, id_of(j, body), json_object_get(body, "job"));
	}
}

void jobs_offers_answered(struct tunnel_jobs *j, const struct jobs_said *a)
{
	const char *key;
	json_t *body;

	json_object_foreach(stored_bodies(j->offers), key, body)
		if (json_integer_value(json_object_get(body, "id")) == (json_int_t)a->id)
			json_object_set_new(body, "answer", json_string(a->taken ? "taken" : a->text));
}

bool jobs_offers_has(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim)
{
	const char *key, *name;
	json_t *body;

	(void)identity; /* a name that is offered to anybody is kept */
	if (strncmp(claim, "server ", 7) != 0)
		return false;
	json_object_foreach(stored_bodies(j->offers), key, body) {
		name = json_string_value(json_object_get(body, "name"));
		if (name && strcmp(name, claim + 7) == 0)
			return true;
	}
	return false;
}

struct found {
	const char *agent;
	uint64_t link;
};

static void look(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);
	struct found *f = arg;

	list_for_each(it, &w->links) {
		const struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		if (strcmp(lj->agent, f->agent) == 0)
			f->link = lj->id;
	}
}

/* To the agent of this name, if it is here. */
static void offer_now(struct tunnel_jobs *j, const char *agent, uint32_t id, const json_t *json)
{
	struct found f = { .agent = agent };

	tunnel_server_call(j->server, look, &f);
	if (f.link)
		post_offer(j, f.link, id, json);
}

/* ---- another name ---- */

struct renaming {
	const uint8_t *identity;
	const char *now;
};

static void rename_links(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);
	const struct renaming *n = arg;

	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		if (memcmp(lj->identity, n->identity, WIRE_PIN) != 0)
			continue;
		(void)snprintf(lj->agent, sizeof(lj->agent), "%s", n->now);
		tunnel_link_rename(lj->link, n->now);
	}
}

void tunnel_jobs_renamed(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *before, const char *now)
{
	json_t *bodies = stored_bodies(j->offers), *body;
	const char *name;
	void *next;

	tunnel_server_call(j->server, rename_links, &(struct renaming){ identity, now });
	tunnel_server_rename(j->server, identity, now);
	json_object_foreach_safe(bodies, next, name, body) {
		struct key moved, old;

		if (strcmp(agent_of(body), before) != 0)
			continue;
		moved = key_of(now, json_string_value(json_object_get(body, "name")));
		(void)snprintf(old.s, sizeof(old.s), "%s", name); /* which goes with its body */
		body = json_deep_copy(body);
		if (json_object_set_new(body, "agent", json_string(now)) < 0) { /* no memory: it stays under the old name */
			json_decref(body);
			continue;
		}
		json_object_set(j->offer_ids, moved.s, json_object_get(j->offer_ids, old.s));
		json_object_del(j->offer_ids, old.s); /* a job that is made under the old key is another one */
		stored_set(j->offers, moved.s, body, "agent renamed"); /* first: what is there twice is not lost */
		stored_drop(j->offers, old.s, "agent renamed");
	}
}

/* ---- the store ---- */

static int on_put(const char *key, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	struct tunnel_jobs *j = arg;
	json_t *kept = json_object_get(stored_bodies(j->offers), key);

	(void)body;
	(void)flag;
	(void)err;
	(void)err_n;
	offer_now(j, agent_of(kept), id_of(j, kept), json_object_get(kept, "job"));
	return 0;
}

static void on_deleted(const char *key, bool flag, void *arg)
{
	struct tunnel_jobs *j = arg;

	(void)flag;
	json_object_del(j->offer_ids, key); /* the agent was told */
}

static json_t *row_of(const char *key, void *arg)
{
	struct tunnel_jobs *j = arg;

	return json_deep_copy(json_object_get(stored_bodies(j->offers), key));
}

/* Of an agent that is away, too. Its worker gives up what it has asked for meanwhile. */
static void give_up_port(struct tunnel_jobs *j, const json_t *body)
{
	const char *name = json_string_value(json_object_get(body, "name"));
	uint8_t identity[WIRE_PIN];
	char claim[JOB_NAME_STRLEN];

	if (!name || !j->o.look_up(agent_of(body), identity, j->o.arg))
		return;
	ports_release(j->ports, identity, jobs_claim_name(true, name, claim));
	jobs_keep_ports(j);
}

static void on_leaving(const char *key, json_t *body, void *arg)
{
	struct tunnel_jobs *j = arg;

	(void)key;
	offer_now(j, agent_of(body), id_of(j, body), NULL);
	give_up_port(j, body);
}

static int on_check(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *agent = json_string_value(json_object_get(*body, "agent")), *name = json_string_value(json_object_get(*body, "name"));
	json_t *o = json_object_get(*body, "job"), *job;
	char called[JOB_NAME_STRLEN];

	(void)arg;
	if (!agent || !*agent || strchr(agent, '/') || !name || strcmp(key_of(agent, name).s, key) != 0) {
		(void)snprintf(err, err_n, "'agent' and 'name' must be the object's key, AGENT/NAME");
		return -EINVAL;
	}
	if (!json_is_object(o) || job_parse(o, err, err_n, &cfg) < 0) {
		if (!json_is_object(o))
			(void)snprintf(err, err_n, "'job' must be a map with the keys of agent.jobs");
		return -EINVAL;
	}
	(void)job_name(cfg_values(cfg), called);
	if (strcmp(called, name) != 0) {
		(void)snprintf(err, err_n, "'job.name' must be %s", name);
		return -EINVAL;
	}
	job = job_config_json(cfg_values(cfg));
	job = job ? json_pack("{s:s, s:s, s:o}", "agent", agent, "name", name, "job", job) : NULL;
	json_decref(*body);
	*body = job;
	return job ? 0 : -ENOMEM;
}

static const struct stored_ops ops = { .kind = "tunnel.job", .noun = "job", .list_hint = "stile tunnel job list", .put = on_put,
				       .deleted = on_deleted, .row = row_of, .check = on_check, .leaving = on_leaving };

int jobs_offers_new(struct tunnel_jobs *j)
{
	const char *key;
	json_t *body;
	int r;

	j->offer_ids = json_object();
	r = j->offer_ids ? stored_new(j->o.svc, &ops, j, &j->offers) : -ENOMEM;
	if (r < 0)
		return r;
	json_object_foreach(stored_bodies(j->offers), key, body) {
		json_object_del(body, "id");
		json_object_del(body, "answer");
	}
	return 0;
}

/* ---- verbs ---- */

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	json_t *rows = json_array(), *body;
	const char *key;

	(void)args;
	json_object_foreach(stored_bodies(j->offers), key, body)
		json_array_append_new(rows, json_deep_copy(body));
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

static const char *words(struct control_request *rq, const json_t *args, const char **ret_name)
{
	const char *agent = json_string_value(json_object_get(args, "agent"));

	*ret_name = json_string_value(json_object_get(args, "name"));
	if (agent && *agent && !strchr(agent, '/'))
		return agent;
	control_fail(rq, "bad-request", "stile tunnel agents shows the names", "agent must be the name of an agent");
	return NULL;
}

static void verb_add(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	const json_t *o = json_object_get(args, "job");
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *given, *agent = words(rq, args, &given);
	char err[1024], name[JOB_NAME_STRLEN];
	json_t *job;

	if (!agent)
		return;
	if (!json_is_object(o) || job_parse(o, err, sizeof(err), &cfg) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", json_is_object(o) ? err : "job must be a map with the keys of agent.jobs");
		return;
	}
	job = job_config_json(cfg_values(cfg));
	job_settle_expiry(job, cfg_values(cfg), clock_unix_ms() / 1000);
	(void)job_name(cfg_values(cfg), name);
	stored_put(j->offers, rq, key_of(agent, name).s, json_pack("{s:s, s:s, s:o}", "agent", agent, "name", name, "job", job),
		   stored_revision(args, json_is_true(json_object_get(args, "replace")) ? STORE_ANY : 0), false);
}

/* NULL: there is none, and the request was ended. */
static json_t *one(struct tunnel_jobs *j, struct control_request *rq, const json_t *args, struct key *ret_key)
{
	const char *name, *agent = words(rq, args, &name);
	json_t *body;

	if (!agent)
		return NULL;
	*ret_key = key_of(agent, name ? name : "");
	body = json_object_get(stored_bodies(j->offers), ret_key->s);
	if (!body)
		control_fail(rq, "not-found", "stile tunnel jobs; jobs of the agent itself are changed there", "no job %s was made here for %s",
			     name ? name : "?", agent);
	return body;
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	struct key key;

	if (!one(j, rq, args, &key))
		return;
	stored_delete(j->offers, rq, key.s, false);
}

/* True: it is no job that was made here, but the agent's own, and the request is ended, now or later. */
static bool of_agent(struct tunnel_jobs *j, struct control_request *rq, const json_t *args, bool on)
{
	const char *agent = json_string_value(json_object_get(args, "agent")), *name = json_string_value(json_object_get(args, "name"));
	const char *origin = json_string_value(json_object_get(args, "origin"));

	if (!agent || !name || (origin ? strcmp(origin, "agent") != 0 : json_object_get(stored_bodies(j->offers), key_of(agent, name).s) != NULL))
		return false;
	if (jobs_hold(j, rq, agent, name, !on))
		return true;
	if (origin)
		control_fail(rq, "not-found", "stile tunnel jobs", "the agent %s has no job %s now", agent, name);
	return origin != NULL;
}

static void set_enabled(struct tunnel_jobs *j, struct control_request *rq, const json_t *args, bool on)
{
	struct key key;
	json_t *body, *copy;

	if (of_agent(j, rq, args, on))
		return;
	body = one(j, rq, args, &key);
	if (!body)
		return;
	copy = json_deep_copy(body);
	json_object_set_new(json_object_get(copy, "job"), "enabled", json_boolean(on));
	stored_put(j->offers, rq, key.s, copy, STORE_ANY, false);
}

static void verb_start(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, true);
}

static void verb_stop(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, false);
}

static const struct control_verb verbs[] = {
	{ "tunnel.job.list", CONTROL_VIEWER, verb_list, "jobs that were made here, with the agents' answers" },
	{ "tunnel.job.add", CONTROL_ADMIN, verb_add, "{agent, job: {port, target, …}, replace}: offers a job to an agent, now and whenever it comes" },
	{ "tunnel.job.delete", CONTROL_ADMIN, verb_delete, "{agent, name}: takes such a job away; its connections end" },
	{ "tunnel.job.start", CONTROL_OPERATOR, verb_start, "{agent, name, origin}: the job takes connections; one of the agent's own that was interrupted here, too, even while it is away" },
	{ "tunnel.job.stop", CONTROL_OPERATOR, verb_stop, "{agent, name, origin}: the job is interrupted; its connections end. One of the agent's own (origin agent) stays so until it is started "
							       "here: the ports are the server's" },
};

void jobs_offers_add_verbs(struct tunnel_jobs *j)
{
	control_add_verbs(j->o.svc->control, verbs, ARRAY_LEN(verbs), j);
}
