/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs made while the agent runs (`stile agent job add`): kept in the store under the kind "agent.job", by name. A name
 * that the file uses is locked: the file's job runs, and the store's waits until the file lets go of the name.
 *
 * A change is checked as the file would be, stored, and then done: told to the servers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tunnel/agent/service.h"
#include "tunnel/log_msgs.h"

static int put(struct agent_service *as, const json_t *body, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	int r = job_parse(body, err, err_n, &c);

	if (r < 0)
		return r;
	r = agent_jobs_put(as->jobs, &(struct agent_job_from){ .origin = AGENT_JOB_OF_STORE }, cfg_values(c), NULL);
	if (r < 0)
		(void)snprintf(err, err_n, "%s", strerror(-r));
	return r;
}

static struct agent_job *own(struct agent_service *as, const char *name)
{
	struct agent_job *j = name ? agent_jobs_find(as->jobs, name) : NULL;

	return j && j->origin != AGENT_JOB_OF_SERVER ? j : NULL;
}

void agent_store_apply(struct agent_service *as)
{
	const char *name;
	json_t *body;
	char err[256];

	json_object_foreach(stored_bodies(as->stored), name, body)
		if (!own(as, name) && put(as, body, err, sizeof(err)) < 0) /* one bad job must not keep the agent from the others */
			log_emit(&MSG_AGENT_JOB_SKIPPED, LF_STR("job", name), LF_STR("why", err));
}

/* ---- a change that is on the disk ---- */

static int on_put(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	(void)name;
	(void)flag;
	return put(arg, body, err, err_n);
}

static void on_deleted(const char *name, bool flag, void *arg)
{
	struct agent_job *j = own(arg, name);

	(void)flag;
	if (j && j->origin == AGENT_JOB_OF_STORE)
		agent_jobs_remove(j);
}

static json_t *row_of(const char *name, void *arg)
{
	struct agent_service *as = arg;
	json_t *rows = agent_jobs_json(as), *row, *found = NULL;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0 &&
		    strcmp(json_string_value(json_object_get(row, "origin")), "server") != 0)
			found = json_incref(row);
	json_decref(rows);
	return found;
}

/* The other job that has a port of c; NULL: none. */
static const struct agent_job *rival(struct agent_service *as, const struct job_config *c, const char *name)
{
	list_for_each(it, agent_jobs_all(as->jobs)) {
		const struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->origin != AGENT_JOB_OF_SERVER && strcmp(j->name, name) != 0 && c->enabled && j->c->enabled && job_same_port(c, j->c))
			return j;
	}
	return NULL;
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	struct agent_service *as = arg;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct agent_job *there = own(as, name), *other;
	char called[JOB_NAME_STRLEN];
	const struct job_config *c;
	int r = job_parse(*body, err, err_n, &cfg);

	if (r < 0)
		return r;
	c = cfg_values(cfg);
	(void)job_name(c, called);
	other = rival(as, c, name);
	if (strcmp(called, name) != 0)
		snprintf(err, err_n, "'name' must be the object's key, %s", name);
	else if (there && there->origin == AGENT_JOB_OF_FILE) {
		snprintf(err, err_n, "the job %s is set in %s", name, as->svc->config_path);
		return -EEXIST;
	} else if (other)
		snprintf(err, err_n, "the job %s has this port already", other->name);
	else {
		json_decref(*body);
		*body = job_config_json(c);
		job_settle_expiry(*body, c, time(NULL));
		return *body ? 0 : -ENOMEM;
	}
	return -EINVAL;
}

/* ---- verbs ---- */

static bool locked(struct control_request *rq, const char *name, void *arg)
{
	struct agent_service *as = arg;
	const struct agent_job *j = own(as, name);

	if (!name || !*name)
		control_fail(rq, "bad-request", "stile agent jobs shows the names", "name must be the name of a job");
	else if (j && j->origin == AGENT_JOB_OF_FILE)
		control_fail(rq, "locked", "change the file and run stile reload agent", "the job %s is set in %s", name, as->svc->config_path);
	else
		return false;
	return true;
}

static void submit(struct control_request *rq, const char *changed, const json_t *body, uint64_t revision, void *arg)
{
	struct agent_service *as = arg;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char err[1024], name[JOB_NAME_STRLEN];
	const struct job_config *c;
	const struct agent_job *other;
	json_t *whole;

	if (!json_is_object(body) || job_parse(body, err, sizeof(err), &cfg) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", json_is_object(body) ? err : "job must be a map with the keys of agent.jobs");
		return;
	}
	c = cfg_values(cfg);
	(void)job_name(c, name);
	if ((changed && !stored_keeps_name(as->stored, rq, changed, name)) || locked(rq, name, as))
		return;
	other = rival(as, c, name);
	if (other) {
		control_fail(rq, "exists", "choose another port, or stop that job", "the job %s has this port already", other->name);
		return;
	}
	whole = job_config_json(c);
	job_settle_expiry(whole, c, time(NULL));
	stored_put(as->stored, rq, name, whole, revision, false);
}

static const struct stored_ops ops = { .kind = "agent.job", .noun = "job", .list_hint = "stile agent jobs; those of the server are changed there",
				       .put = on_put, .deleted = on_deleted, .row = row_of, .check = on_check, .name_max = JOB_NAME_MAX,
				       .locked = locked, .submit = submit };

int agent_store_new(struct agent_service *as)
{
	return stored_new(as->svc, &ops, as, &as->stored);
}

static const struct control_verb verbs[] = {
	{ "agent.job.add", CONTROL_ADMIN, stored_verb_add, "{job: {port, target, …}, replace}: makes a job, or changes one of the store" },
	{ "agent.job.change", CONTROL_ADMIN, stored_verb_change, "{name, job: {key: value, …}}: other values for some keys of a job of the store" },
	{ "agent.job.start", CONTROL_OPERATOR, stored_verb_start, "{name}: the job takes connections" },
	{ "agent.job.stop", CONTROL_OPERATOR, stored_verb_stop, "{name}: the job is interrupted; its connections end" },
	{ "agent.job.delete", CONTROL_ADMIN, stored_verb_delete, "{name}: deletes a job of the store; its connections end" },
};

void agent_store_add_verbs(struct agent_service *as)
{
	control_add_verbs(as->svc->control, verbs, ARRAY_LEN(verbs), as->stored);
}
