/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of a job, or a flow of a UDP one: admitted by the job's rules, handed to the agent as a data
 * connection, counted, recorded, shown, watched. The data connection has the bytes; what happens to the carriers
 * beneath it is not seen here.
 *
 * A flow ends when nothing came either way for FLOW_IDLE_MS, when its job allows its source no more, or with its listener.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/stream.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"
#include "tunnel/server/jobs_priv.h"

enum { FLOW_IDLE_MS = 60000 };

const char *const job_refusal_texts[JOB_REFUSALS] = {
	[JOB_REFUSED_SOURCE] = "the job does not allow this source",
	[JOB_REFUSED_LIMIT] = "the job has as many connections as allowed",
	[JOB_REFUSED_TOTAL] = "the server has as many data connections as allowed (tunnel.limits.connections)",
	[JOB_REFUSED_DESCRIPTORS] = "no descriptors are left",
	[JOB_REFUSED_AWAY] = "the agent is not connected",
	[JOB_REFUSED_TARGET] = "the target of the job is down",
	[JOB_REFUSED_DRAINING] = "the service is about to stop",
	[JOB_REFUSED_MEMORY] = "out of memory",
};

static void record_of(const struct server_job *j, enum record_kind kind, struct record *r)
{
	*r = (struct record){ .kind = kind, .protocol = j->c->udp ? "udp" : "tcp", .route = j->name, .target_name = j->c->target.host };
}

static void put_record(struct jobs_worker *w, const struct record *r)
{
	if (w->all->o.records)
		records_connection(w->all->o.records, r, clock_unix_ms());
}

void job_refused(struct server_job *j, const struct addr *source, const struct addr *server, enum job_refusal why)
{
	struct jobs_worker *w = j->of->w;
	struct record r;
	uint64_t suppressed;

	j->refused++;
	jobs_count(w, JOB_M_REFUSED, why, 1);
	record_of(j, RECORD_REFUSED, &r);
	r.source = *source;
	r.listener = *server;
	r.reason = job_refusal_texts[why];
	put_record(w, &r);
	if (log_gate_pass(&w->gates[JOB_LINE_REFUSED], loop_now(w->loop), &suppressed))
		log_emit(&MSG_TUNNEL_CONNECTION_REFUSED, LF_STR("agent", j->of->agent), LF_STR("job", j->name), LF_ADDR("source", source),
			 LF_STR("reason", job_refusal_texts[why]), LF_U64("suppressed", suppressed));
}

void job_failed(struct server_job *j, const char *why)
{
	j->errors++;
	j->error_at = clock_unix_ms();
	(void)snprintf(j->error, sizeof(j->error), "%s", why);
}

/* ---- admission ---- */

static bool allows(const struct server_job *j, const struct addr *source)
{
	return !j->c->allow.n || prefixes_hold(&j->c->allow, source);
}

static bool admits(struct server_job *j, const struct addr *source, enum job_refusal *ret_why)
{
	struct tunnel_jobs *all = j->of->w->all;

	if (atomic_load_explicit(&all->draining, memory_order_relaxed))
		*ret_why = JOB_REFUSED_DRAINING;
	else if (j->foreign) /* it would be led to whatever has its number now */
		*ret_why = JOB_REFUSED_AWAY;
	else if (!allows(j, source))
		*ret_why = JOB_REFUSED_SOURCE;
	else if (j->down)
		*ret_why = JOB_REFUSED_TARGET;
	else if ((uint64_t)j->connections >= j->c->limits.connections)
		*ret_why = JOB_REFUSED_LIMIT;
	else if ((uint64_t)MAX(0, atomic_load_explicit(&all->connections, memory_order_relaxed)) >=
		 atomic_load_explicit(&all->most_connections, memory_order_relaxed))
		*ret_why = JOB_REFUSED_TOTAL;
	else
		return true;
	return false;
}

static void count_bytes(struct job_conn *c)
{
	struct data_info i;

	data_conn_info(c->d, &i);
	for (unsigned w = 0; w < 2; w++) {
		uint64_t more = i.bytes[w] - c->counted[w];

		c->counted[w] = i.bytes[w];
		c->job->bytes[w] += more;
		jobs_count(c->job->of->w, JOB_M_BYTES, w, (int64_t)more);
	}
}

void job_count_all(struct server_job *j)
{
	list_for_each(it, &j->conns)
		count_bytes(list_entry(it, struct job_conn, node));
}

/* ---- its end ---- */

static void put_end(struct job_conn *c, enum record_kind kind, const char *why)
{
	struct server_job *j = c->job;
	struct record r;

	record_of(j, kind, &r);
	r.id = c->id;
	r.source = c->source;
	r.listener = c->server;
	r.target = c->target;
	r.source_name = c->source_name;
	r.reason = why;
	r.opened_at = c->opened_at;
	r.bytes_up = c->counted[DATA_UP];
	r.bytes_down = c->counted[DATA_DOWN];
	put_record(j->of->w, &r);
	if (!log_enabled(LOG_LVL_DEBUG)) /* as the relay: the connection log has them all */
		return;
	log_emit(kind == RECORD_OPENED ? &MSG_TUNNEL_CONNECTION_OPENED : &MSG_TUNNEL_CONNECTION_ENDED,
		 LF_STR("agent", j->of->agent), LF_STR("job", j->name), LF_ADDR("source", &c->source),
		 LF_U64("connection", c->id), LF_U64("bytes_up", c->counted[0]),
		 LF_U64("bytes_down", c->counted[1]), LF_STR("reason", why ? why : ""));
}

/* After its last count. */
static void conn_free(struct job_conn *c)
{
	struct server_job *j = c->job;
	struct jobs_worker *w = j->of->w;

	c->log = data_log_close(c->log, NULL, clock_unix_ms());
	if (c->watched)
		seen_ended(&w->all->seen, c->id);
	timer_stop(&c->idle);
	htable_remove(&w->flows, &c->flow);
	c->naming = dns_cancel(c->naming);
	list_unlink(&c->node);
	data_conn_free(c->d);
	j->connections--;
	atomic_fetch_sub_explicit(&w->all->connections, 1, memory_order_relaxed);
	jobs_count(w, JOB_M_CONNECTIONS, j->c->udp, -1);
	free(c->source_name);
	free(c);
}

static void end(struct job_conn *c, const char *why)
{
	count_bytes(c);
	put_end(c, c->opened ? RECORD_ENDED : RECORD_FAILED, why);
	jobs_conn_event(c, c->opened ? "ended" : "failed", why);
	conn_free(c);
}

static void log_failed(const struct job_conn *c, const struct data_end *e)
{
	struct server_job *j = c->job;
	struct jobs_worker *w = j->of->w;
	uint64_t suppressed;

	if (log_gate_pass(&w->gates[JOB_LINE_FAILED], loop_now(w->loop), &suppressed))
		log_emit(&MSG_TUNNEL_CONNECTION_FAILED, LF_STR("agent", j->of->agent), LF_STR("job", j->name), LF_ADDR("source", &c->source),
			 LF_U64("connection", c->id), LF_STR("cause", wire_reason_label(e->reason)), LF_STR("reason", e->text),
			 LF_BOOL("bytes_lost", e->lost), LF_U64("suppressed", suppressed));
}

static void on_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	struct job_conn *c = arg;

	(void)d;
	jobs_count(c->job->of->w, JOB_M_ENDED, e->reason, 1);
	if (e->reason != WIRE_R_NONE && (!c->opened || e->lost)) {
		job_failed(c->job, e->text);
		log_failed(c, e);
	}
	end(c, e->reason == WIRE_R_NONE ? "both sides have closed" : e->text);
}

void job_drop_all(struct server_job *j, const char *why)
{
	list_for_each_safe(it, &j->conns)
		end(list_entry(it, struct job_conn, node), why);
}

/* ---- its bytes ---- */

static void on_opened(struct data_conn *d, const struct wire_opened *o, void *arg)
{
	struct job_conn *c = arg;

	(void)d;
	c->opened = true;
	c->target = o->target;
	c->local = o->local;
	put_end(c, RECORD_OPENED, NULL);
	jobs_conn_event(c, "opened", "");
}

static void update_taps(struct job_conn *c)
{
	data_conn_tap(c->d, c->log || c->watched);
	data_conn_limit(c->d, c->log || c->job->c->limits.bitrate != UINT64_MAX);
}

void job_limit_all(struct server_job *j)
{
	list_for_each_safe (it, &j->conns) {
		struct job_conn *c = list_entry(it, struct job_conn, node);

		if (allows(j, &c->source))
			update_taps(c);
		else
			end(c, "the job does not allow this source any more");
	}
}

static void on_log_room(void *arg)
{
	struct job_conn *c = arg;

	c->log_waits = false;
}

static void on_tap(struct data_conn *d, enum data_way w, const uint8_t *p, size_t n, void *arg)
{
	struct job_conn *c = arg;
	int r = c->log ? data_log_packet(c->log, w == DATA_UP ? DATA_LOG_UP : DATA_LOG_DOWN, p, n, clock_unix_ms()) : 0;

	(void)d;
	if (r == DATA_LOG_WAIT) {
		c->log_waits = true;
	} else if (r != 0) {
		c->log = data_log_close(c->log, NULL, clock_unix_ms());
		c->log_waits = false;
		update_taps(c);
	}
	if (c->watched)
		seen_push(&c->job->of->w->all->seen, c->id, (unsigned)w, &c->unseen, p, n);
}

static size_t room(struct data_conn *d, enum data_way w, size_t want, void *arg)
{
	struct job_conn *c = arg;
	uint64_t rate = c->job->c->limits.bitrate;

	(void)d;
	(void)w;
	if (c->log_waits)
		return 0;
	return rate == UINT64_MAX ? want : bucket_room(&c->job->spent_until, rate, want, loop_now(c->job->of->w->loop));
}

static void passed(struct data_conn *d, enum data_way w, size_t n, void *arg)
{
	struct job_conn *c = arg;

	(void)d;
	(void)w;
	if (c->job->c->limits.bitrate != UINT64_MAX)
		bucket_take(&c->job->spent_until, c->job->c->limits.bitrate, n, loop_now(c->job->of->w->loop));
}

/* A datagram: true: it is within the job's bit rate, which it is taken from. False: it is dropped, and counted. */
static bool may_pass(struct job_conn *c, size_t n)
{
	if (room(c->d, DATA_UP, n, c) < n) {
		data_conn_dropped(c->d);
		return false;
	}
	passed(c->d, DATA_UP, n, c);
	return true;
}

static void from_target(struct data_conn *d, const uint8_t *p, size_t n, void *arg)
{
	struct job_conn *c = arg;
	struct jobs_worker *w = c->job->of->w;
	struct dgram_route to = { .fd = c->listener->fd, .to = &c->source, .from = &c->server, .mark = DGRAM_MARK_NONE };

	(void)d;
	c->last_ms = loop_now(w->loop);
	if (may_pass(c, n))
		dgram_send_copy(w->dgram, &to, p, n);
}

static const struct data_ops ops = { .on_opened = on_opened, .on_datagram = from_target, .tap = on_tap, .room = room, .passed = passed,
				     .on_end = on_end };

/* ---- its beginning ---- */

static void on_source_name(const struct dns_answer *a, void *arg)
{
	struct job_conn *c = arg;

	c->naming = NULL;
	c->source_name = a->name ? strdup(a->name) : NULL;
}

static void ask_name(struct job_conn *c)
{
	const struct dns_request rq = { .done = on_source_name, .arg = c };
	struct jobs_worker *w = c->job->of->w;
	struct dns *dns = atomic_load_explicit(&w->all->resolve_names, memory_order_relaxed) ? jobs_dns(w) : NULL;

	if (dns && !c->job->c->udp)
		(void)dns_name(dns, &c->source, &rq, &c->naming);
}

static int open_log(struct job_conn *c)
{
	struct data_log_options o = { .loop = c->job->of->w->loop, .room = on_log_room, .arg = c, .id = c->id, .route = c->job->name,
				      .source = c->source, .source_name = c->source_name, .target = c->target,
				      .target_name = c->job->c->target.host };

	if (c->log)
		return 0;
	return c->job->of->w->all->o.records ? data_log_open(c->job->of->w->all->o.records, &o, clock_unix_ms(), &c->log) : -ENOENT;
}

static void on_begun(struct data_conn *d, void *arg)
{
	struct job_conn *c = arg;
	struct server_job *j = c->job;
	struct jobs_worker *w = j->of->w;

	c->d = d;
	c->id = data_conn_stream(d);
	c->opened_at = clock_unix_ms();
	c->last_ms = loop_now(w->loop);
	list_append(&j->conns, &c->node);
	j->connections++;
	j->accepted++;
	atomic_fetch_add_explicit(&w->all->connections, 1, memory_order_relaxed);
	jobs_count(w, JOB_M_CONNECTIONS, j->c->udp, 1);
	jobs_count(w, JOB_M_ACCEPTED, j->c->udp, 1);
	if (j->logged)
		(void)open_log(c);
	update_taps(c);
}

static struct job_conn *conn_new(struct job_listener *l, int fd, const struct addr *source, const struct addr *server, int *ret_r)
{
	struct server_job *j = l->job;
	struct job_conn *c = calloc(1, sizeof(*c));
	struct tunnel_open o = { .job = j->id,
				 .offset = (uint16_t)l->offset,
				 .kind = j->c->udp ? WIRE_JOB_UDP : WIRE_JOB_TCP,
				 .plain = !j->c->encrypt,
				 .fd = fd,
				 .source = *source,
				 .server = *server,
				 .ops = &ops,
				 .begun = on_begun,
				 .arg = c };

	if (!c) {
		if (fd >= 0)
			close(fd);
		*ret_r = -ENOMEM;
		return NULL;
	}
	c->job = j;
	c->source = *source;
	c->server = *server;
	*ret_r = tunnel_stream_open(j->of->link, &o, &c->d);
	if (*ret_r < 0) {
		free(c);
		return NULL;
	}
	ask_name(c);
	return c;
}

static enum job_refusal refusal_of(int r)
{
	return r == -ENOTCONN ? JOB_REFUSED_AWAY : r == -EUSERS ? JOB_REFUSED_LIMIT : JOB_REFUSED_MEMORY;
}

void job_accepted(struct job_listener *l, int fd, const struct addr *source, const struct addr *server)
{
	bool short_of = fd >= l->job->of->w->all->fd_most;
	enum job_refusal why = JOB_REFUSED_DESCRIPTORS;
	int r;

	if (short_of || !admits(l->job, source, &why)) {
		socket_reset(fd);
		job_refused(l->job, source, server, why);
		return;
	}
	if (!conn_new(l, fd, source, server, &r))
		job_refused(l->job, source, server, refusal_of(r));
}

/* ---- flows ---- */

static void on_idle(struct timer *t, uint64_t now)
{
	struct job_conn *c = container_of(t, struct job_conn, idle);
	uint64_t quiet = now - c->last_ms;

	if (quiet >= FLOW_IDLE_MS)
		end(c, "nothing came for a while");
	else
		loop_timer_set(c->job->of->w->loop, t, FLOW_IDLE_MS - quiet);
}

struct flow_key {
	const struct addr *source;
	const struct job_listener *listener;
};

static bool has_key(const struct hnode *n, const void *key)
{
	const struct job_conn *c = container_of(n, struct job_conn, flow);
	const struct flow_key *k = key;

	return c->listener == k->listener && addr_equal(&c->source, k->source);
}

static struct job_conn *flow_new(struct job_listener *l, const struct dgram *d, uint64_t hash)
{
	struct jobs_worker *w = l->job->of->w;
	struct addr server = addr_family(&d->local) == AF_UNSPEC ? l->at : d->local;
	enum job_refusal why;
	struct job_conn *c;
	int r;

	if (!admits(l->job, &d->from, &why)) {
		job_refused(l->job, &d->from, &server, why);
		return NULL;
	}
	c = conn_new(l, -1, &d->from, &server, &r);
	if (!c) {
		job_refused(l->job, &d->from, &server, refusal_of(r));
		return NULL;
	}
	c->listener = l;
	c->idle.fire = on_idle;
	loop_timer_set(w->loop, &c->idle, FLOW_IDLE_MS);
	if (htable_insert(&w->flows, &c->flow, hash) < 0) {
		end(c, job_refusal_texts[JOB_REFUSED_MEMORY]);
		return NULL;
	}
	return c;
}

void job_datagram(struct job_listener *l, const struct dgram *d)
{
	struct jobs_worker *w = l->job->of->w;
	uint64_t hash = addr_hash_pair(&w->all->seed, &d->from, &l->at);
	struct flow_key k = { &d->from, l };
	struct hnode *n = htable_find(&w->flows, hash, has_key, &k);
	struct job_conn *c = n ? container_of(n, struct job_conn, flow) : flow_new(l, d, hash);

	if (!c)
		return;
	c->last_ms = loop_now(w->loop);
	if (may_pass(c, d->len))
		data_conn_datagram(c->d, d->data, d->len);
}

/* ---- what may be done with one ---- */

int job_conn_act(struct job_conn *c, enum job_act what)
{
	int r = 0;

	switch (what) {
	case JOB_KICK:
		data_conn_kill(c->d, WIRE_R_KICKED, "ended by an operator");
		return 0;
	case JOB_WATCH_ON:
	case JOB_WATCH_OFF:
		c->watched = what == JOB_WATCH_ON;
		break;
	case JOB_LOG_ON:
		r = open_log(c);
		break;
	case JOB_LOG_OFF:
		c->log = data_log_close(c->log, "switched off", clock_unix_ms());
		c->log_waits = false;
		break;
	}
	update_taps(c);
	return r;
}
