/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's part of the jobs: it has the right to bind low ports, the book of who has which, the store and the
 * control socket. Workers ask by mail and are answered by mail; nobody waits.
 * Whatever is told in a mail is copied into it.
 */
#include "tunnel/server/jobs.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"
#include "tunnel/server/jobs_priv.h"

enum {
	HEARTBEAT_MS = 1000,
	LAG_KEEP_MS = 60000,
	LAG_WARN_MS = 500,
	SAMPLE_MS = 10000,
	LOOK_MS = 500,
	FD_KEEP_LEAST = 24,
	FD_KEEP_MOST = 256
};

/* ---- to the worker ---- */

struct recheck {
	struct mail mail;
	struct jobs_worker *w;
};

static void drop_recheck(struct mail *m)
{
	free(container_of(m, struct recheck, mail));
}

static void deliver_recheck(struct mail *m, struct loop *l)
{
	struct recheck *r = container_of(m, struct recheck, mail);

	(void)l;
	jobs_on_recheck(r->w);
	free(r);
}

void tunnel_jobs_recheck(struct tunnel_jobs *j)
{
	for (unsigned i = 0; i < j->n_workers; i++) {
		struct recheck *r = calloc(1, sizeof(*r));

		if (!r)
			continue;
		*r = (struct recheck){ .mail = { .deliver = deliver_recheck, .drop = drop_recheck }, .w = j->workers[i] };
		tunnel_server_post(j->server, i, &r->mail);
	}
}

/* ---- ports ---- */

static const char *own_port(const struct addr *at, bool udp, void *arg)
{
	struct tunnel_jobs *j = arg;
	const struct cfg_endpoint *l = j->config->listen.items;

	for (size_t i = 0; !udp && i < j->config->listen.n; i++)
		if (!l[i].path[0] && addr_port(&l[i].at) == addr_port(at))
			return "tunnel.listen";
	return j->o.own ? j->o.own(at, udp, j->o.arg) : NULL;
}

static bool is_known(const uint8_t identity[static WIRE_PIN], void *arg)
{
	struct tunnel_jobs *j = arg;

	return !j->o.name_of || j->o.name_of(identity, j->o.arg);
}

/* A name of the agent's has no blank, so this is nobody else's. */
const char *jobs_claim_name(bool offered, const char *name, char buf[static JOB_NAME_STRLEN])
{
	(void)snprintf(buf, JOB_NAME_STRLEN, "%s%.280s", offered ? "server " : "", name);
	return buf;
}

static void on_kept(const char *key, json_t *claim, void *arg)
{
	struct tunnel_jobs *j = arg;

	if (claim)
		stored_set(j->kept, key, claim, "stile-tunnel");
	else
		stored_drop(j->kept, key, "stile-tunnel");
}

void jobs_keep_ports(struct tunnel_jobs *j)
{
	ports_changes(j->ports, on_kept, j);
}

static bool is_wanted(const char *job, void *arg)
{
	const struct jobs_said *s = arg;
	size_t i;
	json_t *name;

	json_array_foreach(s->json, i, name)
		if (strcmp(json_string_value(name), job) == 0)
			return true;
	return jobs_offers_has(s->all, s->identity, job);
}

/* ---- from the workers ---- */

static void said_free(struct jobs_said *s)
{
	json_decref(s->json);
	free(s);
}

static void drop_said(struct mail *m)
{
	said_free(container_of(m, struct jobs_said, mail));
}

static void deliver_said(struct mail *m, struct loop *l)
{
	struct jobs_said *s = container_of(m, struct jobs_said, mail);
	struct tunnel_jobs *j = s->all;

	(void)l;
	switch (s->what) {
	case JOBS_ASK:
		jobs_answer(j, s);
		break;
	case JOBS_RELEASE:
		ports_release(j->ports, s->identity, s->job);
		jobs_held_gone(j, s->identity, s->job);
		jobs_keep_ports(j);
		break;
	case JOBS_SYNCED:
		ports_retain(j->ports, s->identity, is_wanted, s);
		jobs_held_retain(j, s->identity, is_wanted, s);
		jobs_keep_ports(j);
		break;
	case JOBS_UP:
		jobs_offers_send(j, s);
		break;
	case JOBS_ANSWERED:
		jobs_offers_answered(j, s);
		break;
	case JOBS_EVENT:
		control_publish(j->o.svc->control, s->topic, json_incref(s->json));
		break;
	}
	said_free(s);
}

struct jobs_said *jobs_say(const struct link_jobs *lj, enum jobs_says what)
{
	struct jobs_said *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->mail = (struct mail){ .deliver = deliver_said, .drop = drop_said };
	s->all = lj->w->all;
	s->what = what;
	s->link = lj->id;
	memcpy(s->identity, lj->identity, WIRE_PIN);
	memcpy(s->agent, lj->agent, sizeof(s->agent));
	return s;
}

void jobs_post(struct jobs_said *s)
{
	loop_post(s->all->loop, &s->mail);
}

void jobs_post_json(const struct link_jobs *lj, enum jobs_says what, const char *topic, json_t *json)
{
	struct jobs_said *s = json ? jobs_say(lj, what) : NULL;

	if (!s) {
		json_decref(json);
		return;
	}
	s->topic = topic;
	s->json = json;
	jobs_post(s);
}

void jobs_event(const struct server_job *j, const char *topic, const char *what)
{
	jobs_post_json(j->of, JOBS_EVENT, topic,
		       json_pack("{s:s, s:s, s:s, s:s, s:s}", "what", what, "agent", j->of->agent, "job", j->name, "text", j->text, "address", j->address));
}

void jobs_conn_event(const struct job_conn *c, const char *what, const char *why)
{
	char source[ADDR_STRLEN], target[ADDR_STRLEN] = "";

	if (!atomic_load_explicit(&c->job->of->w->all->conn_events, memory_order_relaxed))
		return;
	if (addr_family(&c->target) != AF_UNSPEC)
		(void)addr_print(&c->target, target);
	jobs_post_json(c->job->of, JOBS_EVENT, "tunnel.connections",
		   json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:s}", "what", what, "agent",
			     c->job->of->agent, "job", c->job->name, "id", (json_int_t)c->id,
			     "source", addr_print(&c->source, source), "target", target, "bytes_up",
			     (json_int_t)c->counted[0], "bytes_down", (json_int_t)c->counted[1],
			     "text", why));
}

void jobs_link_event(const struct link_jobs *lj, const char *what, const char *why)
{
	jobs_post_json(lj, JOBS_EVENT, "tunnel.agents",
		       json_pack("{s:s, s:s, s:I, s:s}", "what", what, "agent", lj->agent, "link", (json_int_t)lj->id, "text", why));
}

/* ---- a worker ---- */

void jobs_count(struct jobs_worker *w, unsigned row, unsigned label, int64_t v)
{
	metric_add(w->all->metrics, w->index, row, label, v);
}

struct dns *jobs_dns(struct jobs_worker *w)
{
	if (!w->dns && dns_new(w->loop, NULL, &w->dns) < 0)
		return NULL;
	return w->dns;
}

static void look_at_lag(struct jobs_worker *w, uint64_t now)
{
	uint64_t late = w->beat_at && now > w->beat_at ? now - w->beat_at : 0;

	if (late >= LAG_WARN_MS)
		log_emit(&MSG_TUNNEL_LAG, LF_U64("worker", w->index), LF_U64("late_ms", late));
	if (late >= atomic_load_explicit(&w->lag_ms, memory_order_relaxed) || now >= w->lag_until) {
		atomic_store_explicit(&w->lag_ms, late, memory_order_relaxed);
		w->lag_until = now + LAG_KEEP_MS;
	}
	metric_observe(w->all->metrics, w->index, JOB_M_LAG, 0, (double)late / 1000);
}

static void on_heartbeat(struct timer *t, uint64_t now)
{
	struct jobs_worker *w = container_of(t, struct jobs_worker, heartbeat);

	look_at_lag(w, now);
	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		list_for_each(jt, &lj->jobs)
			job_count_all(list_entry(jt, struct server_job, node));
	}
	if (w->spare < 0)
		w->spare = acceptor_spare();
	w->beat_at = now + HEARTBEAT_MS;
	loop_timer_set(w->loop, t, HEARTBEAT_MS);
}

void *tunnel_jobs_worker_begin(struct tunnel_jobs *j, struct tunnel_worker *tw, int *ret_r)
{
	struct jobs_worker *w = calloc(1, sizeof(*w));

	if (!w) {
		*ret_r = -ENOMEM;
		return NULL;
	}
	w->all = j;
	w->w = tw;
	w->loop = tunnel_worker_loop(tw);
	w->index = tunnel_worker_index(tw);
	list_init(&w->links);
	htable_init(&w->flows);
	w->spare = acceptor_spare();
	*ret_r = dgram_io_new(w->loop, NULL, &w->dgram);
	if (*ret_r < 0) {
		tunnel_jobs_worker_end(w);
		return NULL;
	}
	w->heartbeat.fire = on_heartbeat;
	loop_timer_set(w->loop, &w->heartbeat, HEARTBEAT_MS);
	j->workers[w->index] = w;
	j->n_workers = MAX(j->n_workers, w->index + 1);
	return w;
}

void tunnel_jobs_worker_end(void *owner)
{
	struct jobs_worker *w = owner;

	if (!w)
		return;
	timer_stop(&w->heartbeat);
	htable_deinit(&w->flows);
	dns_free(w->dns);
	dgram_io_free(w->dgram);
	if (w->spare >= 0)
		close(w->spare);
	free(w);
}

/* ---- life ---- */

/* A connection costs no mail while nobody listens. */
static void on_looking(struct timer *t, uint64_t now)
{
	struct tunnel_jobs *j = container_of(t, struct tunnel_jobs, looking);

	(void)now;
	atomic_store_explicit(&j->conn_events,
			      control_has_subscribers(j->o.svc->control, "tunnel.connections"),
			      memory_order_relaxed);
	loop_timer_set(j->loop, t, LOOK_MS);
}

/* Warns once when it becomes more, before a limit is reached. */
static void on_sampling(struct timer *t, uint64_t now)
{
	struct tunnel_jobs *j = container_of(t, struct tunnel_jobs, sampling);
	char line[160];
	unsigned n = 0;

	j->monitor.lag_ms = jobs_lag_ms(j);
	monitor_sample(&j->monitor, now);
	for (; monitor_warning(&j->monitor, n, line, sizeof(line)); n++)
		if (n >= j->warned)
			log_emit(&MSG_TUNNEL_MONITOR, LF_STR("warning", line));
	j->warned = n;
	loop_timer_set(j->loop, t, SAMPLE_MS);
}

/* Only ever written by stored_set() and stored_drop(). */
static const struct stored_ops kept_ops = { .kind = "tunnel.port", .noun = "port", .list_hint = "stile tunnel jobs" };

static int read_kept(struct tunnel_jobs *j)
{
	const char *key;
	json_t *claim;
	int r = stored_new(j->o.svc, &kept_ops, j, &j->kept);

	if (r < 0)
		return r;
	json_object_foreach(stored_bodies(j->kept), key, claim)
		(void)ports_load(j->ports, key, claim); /* what makes no sense is not kept */
	return 0;
}

static int tap(uint64_t id, bool on, void *arg)
{
	return jobs_act(arg, id, on ? JOB_WATCH_ON : JOB_WATCH_OFF);
}

/* Descriptors are given lowest first, so the number of a new one tells how many there are. */
static int descriptors_for_clients(void)
{
	struct rlimit lim = { .rlim_cur = 1024 };
	int most;

	(void)getrlimit(RLIMIT_NOFILE, &lim);
	most = (int)MIN(lim.rlim_cur, (rlim_t)INT32_MAX);
	return most - MAX(FD_KEEP_LEAST, MIN(FD_KEEP_MOST, most / 8));
}

int tunnel_jobs_new(const struct tunnel_jobs_options *o, struct tunnel_jobs **ret_j)
{
	struct tunnel_jobs *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	j->o = *o;
	j->loop = o->svc->loop;
	j->seen.loop = j->loop;
	j->seed = hash_seed_random();
	j->fd_most = descriptors_for_clients();
	(void)gethostname(j->host, sizeof(j->host) - 1);
	j->ports = ports_new();
	r = j->ports ? metrics_new(job_metric_rows, JOB_METRICS, JOBS_WORKERS_MAX, &j->metrics) : -ENOMEM;
	if (r == 0)
		r = read_kept(j);
	if (r == 0)
		r = jobs_offers_new(j);
	if (r == 0)
		r = jobs_held_new(j);
	if (r == 0)
		r = watchers_new(&(struct watch_source){ &j->seen, tap, j, "stile tunnel connections", &MSG_TUNNEL_WATCHED }, &j->watchers);
	if (r < 0) {
		tunnel_jobs_free(j);
		return r;
	}
	j->looking.fire = on_looking;
	loop_timer_set(j->loop, &j->looking, LOOK_MS);
	j->sampling.fire = on_sampling;
	loop_timer_set(j->loop, &j->sampling, SAMPLE_MS);
	*ret_j = j;
	return 0;
}

void tunnel_jobs_stop(struct tunnel_jobs *j)
{
	timer_stop(&j->sampling);
	timer_stop(&j->looking);
	j->watchers = watchers_free(j->watchers);
}

struct tunnel_jobs *tunnel_jobs_free(struct tunnel_jobs *j)
{
	if (!j)
		return NULL;
	tunnel_jobs_stop(j);
	stored_free(j->offers);
	stored_free(j->held);
	json_decref(j->offer_ids);
	stored_free(j->kept);
	ports_free(j->ports);
	metrics_free(j->metrics);
	free(j);
	return NULL;
}

void tunnel_jobs_use_server(struct tunnel_jobs *j, struct tunnel_server *s)
{
	j->server = s;
}

void tunnel_jobs_configure(struct tunnel_jobs *j, const struct tunnel_config *c, bool resolve_names)
{
	j->config = c;
	ports_set_rules(j->ports, &(struct ports_rules){ .binds = &c->binds, .bind = c->bind, .most_ports = c->limits.ports, .own = own_port, .known = is_known,
							 .arg = j });
	atomic_store_explicit(&j->most_jobs, c->limits.jobs, memory_order_relaxed);
	atomic_store_explicit(&j->most_connections, c->limits.connections, memory_order_relaxed);
	atomic_store_explicit(&j->resolve_names, resolve_names, memory_order_relaxed);
	tunnel_jobs_recheck(j);
}

int64_t tunnel_jobs_connections(const struct tunnel_jobs *j)
{
	return atomic_load_explicit(&j->connections, memory_order_relaxed);
}

struct metrics *tunnel_jobs_metrics(struct tunnel_jobs *j)
{
	return j->metrics;
}

uint64_t tunnel_jobs_links(struct tunnel_jobs *j)
{
	json_t *rows = jobs_links_json(j);
	size_t n = json_array_size(rows);

	json_decref(rows);
	return n;
}

uint64_t tunnel_jobs_count(struct tunnel_jobs *j)
{
	return (uint64_t)MAX(0, metric_sum(j->metrics, JOB_M_JOBS, 0));
}

void tunnel_jobs_drain(struct tunnel_jobs *j)
{
	atomic_store_explicit(&j->draining, true, memory_order_relaxed);
}
