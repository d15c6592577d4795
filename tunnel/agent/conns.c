/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data connections at the agent: a server opens one for a job; the job's target is resolved and held against the agent's
 * list, for each connection anew, and connected. The link layer has the bytes then. A job is named by its number all the
 * while, for it may be changed before its connections are gone.
 *
 * What an own job does not allow any more ends here, whether its servers do their part or not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/agent/direct.h"
#include "tunnel/agent/service.h"
#include "tunnel/agent/target.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"

enum { SHARE_CONNECT_MS = 5000 };

struct agent_conn {
	struct list node;
	struct agent_end *end;
	struct data_conn *d;
	struct agent_target *reaching;
	uint32_t job_id;
	char job[JOB_NAME_STRLEN], source_name[256];
	struct addr source;
	int64_t opened_at;
	bool limited; /* held against agent.allow, also where that is empty */
	bool share;   /* of a gateway: to this host, whatever agent.allow holds */
};
static const char over_list[] = "agent.allow does not hold the target any more",
		  plain_over[] = "the job is encrypted at the agent";

static struct agent_job *job_of(const struct agent_conn *c)
{
	return agent_jobs_numbered(c->end->as->jobs, c->end->index, c->job_id);
}

static void conn_free(struct agent_conn *c)
{
	c->reaching = agent_target_free(c->reaching);
	list_unlink(&c->node);
	data_conn_free(c->d);
	free(c);
}

static void count(struct agent_conn *c)
{
	struct agent_job *j = job_of(c);
	struct data_info i;

	if (!j)
		return;
	data_conn_info(c->d, &i);
	j->bytes[DATA_UP] += i.bytes[DATA_UP];
	j->bytes[DATA_DOWN] += i.bytes[DATA_DOWN];
	j->connections--;
}

static void on_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	struct agent_conn *c = arg;
	struct agent_job *j = job_of(c);

	(void)d;
	if (e->lost)
		log_emit(&MSG_AGENT_CONNECTION_LOST, LF_STR("job", c->job), LF_U64("connection", data_conn_stream(c->d)),
			 LF_STR("reason", e->text));
	if (e->lost && j)
		agent_job_failed(j, e->text);
	count(c);
	conn_free(c);
}

static const struct data_ops ops = { .on_end = on_end };

static void refuse(struct agent_conn *c, unsigned reason, const char *text)
{
	struct agent_job *j = job_of(c);

	if (j)
		agent_job_failed(j, text);
	log_emit(&MSG_AGENT_CONNECTION_REFUSED, LF_STR("job", c->job), LF_ADDR("source", &c->source), LF_STR("reason", text));
	agent_data_refuse(c->d, (enum wire_reason)reason, text);
}

/* Whether the list, which may be another one by now, holds where it leads to. */
static bool is_held(const struct agent_conn *c, const struct cfg_list *allow, const struct addr *target)
{
	return (!allow->n && !c->limited) || prefixes_hold(allow, target);
}

static void on_reached(const struct agent_target_answer *a, void *arg)
{
	struct agent_conn *c = arg;

	c->reaching = NULL;
	if (a->fd >= 0 && !c->share && !is_held(c, &agent_config_of(c->end->as)->allow, &a->target)) {
		close(a->fd);
		refuse(c, WIRE_R_NOT_ALLOWED, over_list);
	} else if (a->fd >= 0) {
		agent_data_dialled(c->d, a->fd, &a->target, &a->local);
	} else {
		refuse(c, a->reason, a->text);
	}
}

/* A gateway's connection: to the share's own server, on this host. */
static unsigned reach_share(struct agent_conn *c, uint64_t id, const char **ret_text)
{
	struct agent_service *as = c->end->as;
	char host[256];
	struct agent_target_ask ask = { .host = host, .connect_ms = SHARE_CONNECT_MS };

	if (!as->direct || !direct_share_target(as->direct, id, host, &ask.port)) {
		*ret_text = "the share is over";
		return WIRE_R_UNKNOWN_SHARE;
	}
	*ret_text = "out of memory";
	return agent_target_reach(as->svc->loop, direct_dns(as->direct), &ask, on_reached, c, &c->reaching) < 0 ? WIRE_R_MEMORY : WIRE_R_NONE;
}

void agent_conn_open(struct agent_end *e, struct data_conn *d, const struct wire_open *o)
{
	struct agent_conn *c = calloc(1, sizeof(*c));
	struct agent_open open = { .offset = o->offset, .udp = o->kind == WIRE_JOB_UDP, .source = o->source, .server = o->server };
	const char *text = "the agent does not know this job";
	unsigned reason = WIRE_R_UNKNOWN_JOB;
	struct agent_job *j;
	struct data_info i;

	if (!c) {
		data_conn_free(d);
		return;
	}
	*c = (struct agent_conn){ .end = e, .d = d, .job_id = o->job, .source = o->source,
				  .opened_at = clock_unix_ms() };
	wire_text_copy(c->source_name, sizeof(c->source_name), o->source_name);
	list_append(&e->as->conns, &c->node);
	data_conn_own(d, &ops, c);
	if (o->share) {
		c->share = true;
		(void)snprintf(c->job, sizeof(c->job), "share");
		reason = reach_share(c, o->share, &text);
	}
	j = o->share ? NULL : job_of(c);
	if (j) {
		(void)snprintf(c->job, sizeof(c->job), "%s", j->name);
		j->connections++;
		j->accepted++;
		c->limited = j->origin == AGENT_JOB_OF_SERVER;
		data_conn_info(d, &i);
		if (i.plain && j->c->encrypt) {
			reason = WIRE_R_NOT_ALLOWED;
			text = plain_over;
		} else {
			reason = agent_jobs_reach(j, &open, on_reached, c, &c->reaching, &text);
		}
	}
	if (reason != WIRE_R_NONE)
		refuse(c, reason, text);
}

void agent_conns_free(struct agent_service *as)
{
	list_for_each_safe(it, &as->conns)
		conn_free(list_entry(it, struct agent_conn, node));
}

void agent_conns_recheck(struct agent_service *as, const struct cfg_list *allow)
{
	list_for_each_safe(it, &as->conns) {
		struct agent_conn *c = list_entry(it, struct agent_conn, node);
		struct data_info i;

		data_conn_info(c->d, &i);
		if (addr_family(&i.target) != AF_UNSPEC && !c->share && !is_held(c, allow, &i.target))
			data_conn_kill(c->d, WIRE_R_NOT_ALLOWED, over_list);
	}
}

static enum wire_reason forbids(const struct agent_job *j, bool gone, const struct data_info *i,
				const char **ret_text)
{
	if (gone || !j->c->enabled) {
		*ret_text = gone ? "the agent does not have the job any more"
				 : "the job was interrupted at the agent";
		return WIRE_R_UNKNOWN_JOB;
	}
	if ((i->kind == WIRE_JOB_UDP) != j->c->udp) {
		*ret_text = "the agent's job is another one by now";
		return WIRE_R_UNKNOWN_JOB;
	}
	*ret_text = plain_over;
	return i->plain && j->c->encrypt ? WIRE_R_NOT_ALLOWED : WIRE_R_NONE;
}

void agent_conns_of_job(struct agent_service *as, const struct agent_job *j, bool gone)
{
	list_for_each_safe (it, &as->conns) {
		struct agent_conn *c = list_entry(it, struct agent_conn, node);
		enum wire_reason reason;
		struct data_info i;
		const char *text;

		data_conn_info(c->d, &i);
		reason = c->share || c->job_id != j->id ? WIRE_R_NONE : forbids(j, gone, &i, &text);
		if (reason != WIRE_R_NONE)
			data_conn_kill(c->d, reason, text);
	}
}

unsigned agent_conns_count(const struct agent_end *e, uint32_t job_id)
{
	unsigned n = 0;

	list_for_each (it, &e->as->conns) {
		const struct agent_conn *c = list_entry(it, struct agent_conn, node);

		n += c->end == e && !c->share && c->job_id == job_id;
	}
	return n;
}

int agent_conns_kick(struct agent_service *as, uint64_t stream)
{
	list_for_each(it, &as->conns) {
		struct agent_conn *c = list_entry(it, struct agent_conn, node);

		if (data_conn_stream(c->d) != stream)
			continue;
		data_conn_kill(c->d, WIRE_R_KICKED, "ended by an operator at the agent");
		return 0;
	}
	return -ENOENT;
}

/* ---- for people ---- */

static void set_addr(json_t *o, const char *key, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	json_object_set_new(o, key, json_string(addr_family(a) == AF_UNSPEC ? "" : addr_print(a, buf)));
}

static json_t *row(const struct agent_conn *c)
{
	struct data_info i;
	json_t *o;

	data_conn_info(c->d, &i);
	o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:i}", "id", (json_int_t)i.stream, "server",
		      c->end->server, "job", c->job, "protocol", i.kind == WIRE_JOB_UDP ? "udp" : "tcp", "state", data_state_names[i.state],
		      "encrypted", !i.plain, "sealed", i.plain ? "" : "§", "opened_at", (json_int_t)c->opened_at, "age_ms",
		      (json_int_t)i.age_ms, "quiet_ms", (json_int_t)i.quiet_ms, "source_name", c->source_name, "bytes_up",
		      (json_int_t)i.bytes[DATA_UP], "bytes_down", (json_int_t)i.bytes[DATA_DOWN], "rate_up", (json_int_t)i.rate[DATA_UP],
		      "rate_down", (json_int_t)i.rate[DATA_DOWN], "resumed", (int)i.resumed);
	if (!o)
		return NULL;
	set_addr(o, "source", &i.source);
	set_addr(o, "listener", &i.server);
	set_addr(o, "carrier_agent", &i.carrier_local);
	set_addr(o, "carrier_server", &i.carrier_peer);
	set_addr(o, "agent_local", &i.local);
	set_addr(o, "target", &i.target);
	return o;
}

json_t *agent_conns_json(struct agent_service *as, const char *job)
{
	json_t *rows = json_array();

	list_for_each(it, &as->conns) {
		const struct agent_conn *c = list_entry(it, struct agent_conn, node);

		if (!job || strcmp(job, c->job) == 0)
			json_array_append_new(rows, row(c));
	}
	return rows;
}
