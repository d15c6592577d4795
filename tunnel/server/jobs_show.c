/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for people: control connections, jobs, data connections, sockets; and what is done with those that they point
 * at. The main thread walks the workers one after the other; a page of connections ends where it is full.
 *
 * A data connection's number is its stream, whose lowest byte is its worker, so it is looked for in one of them.
 */
#include <errno.h>
#include <string.h>
#include "common/clock.h"
#include "common/sock_diag.h"
#include "tunnel/server/jobs_priv.h"

static int set_addr(json_t *o, const char *key, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	return json_object_set_new(o, key, json_string(addr_family(a) == AF_UNSPEC ? "" : addr_print(a, buf)));
}

static int set_text(json_t *o, const char *key, const char *s)
{
	return json_object_set_new(o, key, json_string(s ? s : ""));
}

static int set_number(json_t *o, const char *key, uint64_t v)
{
	return json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* ---- control connections ---- */

static json_t *link_row(const struct link_jobs *lj)
{
	struct tunnel_link_info i;
	char hex[2 * WIRE_PIN + 1];
	json_t *o = json_object();
	int64_t now = clock_unix_ms();

	tunnel_link_info(lj->link, &i);
	hex_encode(i.identity, WIRE_PIN, hex);
	set_number(o, "id", lj->number);
	set_number(o, "session", i.id);
	set_text(o, "name", i.name);
	json_object_set_new(o, "up", json_boolean(i.up));
	set_text(o, "state", i.up ? "connected" : "reconnecting");
	set_text(o, "why", i.why);
	set_number(o, "started_at", (uint64_t)i.begun);
	set_number(o, "age_ms", (uint64_t)MAX(0, now - i.since));
	set_text(o, "type", "agent");
	set_text(o, "version", i.program);
	set_number(o, "protocol", i.version);
	json_object_set_new(o, "identity", json_sprintf("sha256:%s", hex));
	set_text(o, "host", i.host);
	set_text(o, "dns_name", lj->peer_name);
	set_addr(o, "address", &i.peer);
	set_addr(o, "local", &i.local);
	set_addr(o, "lan", &i.lan);
	json_object_set_new(o, "encrypted", json_true());
	set_number(o, "rtt_us", i.rtt_us);
	set_number(o, "reconnects", i.reconnects);
	set_number(o, "carriers", i.carriers);
	set_number(o, "ready", i.ready);
	set_number(o, "wanted", i.wanted);
	set_number(o, "connections", i.streams);
	set_number(o, "detached", i.detached);
	set_number(o, "jobs", lj->n_jobs);
	set_number(o, "bytes_up", i.bytes[DATA_UP]);
	set_number(o, "bytes_down", i.bytes[DATA_DOWN]);
	return o;
}

static void add_links(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);

	list_for_each(it, &w->links)
		json_array_append_new(arg, link_row(list_entry(it, struct link_jobs, node)));
}

json_t *jobs_links_json(struct tunnel_jobs *j)
{
	json_t *rows = json_array();

	tunnel_server_call(j->server, add_links, rows);
	return rows;
}

struct departing {
	const struct jobs_departure *d;
	unsigned n;
};

static void depart(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);
	struct departing *g = arg;
	struct tunnel_link_info i;

	list_for_each_safe(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		tunnel_link_info(lj->link, &i);
		if (g->d->agent ? strcmp(g->d->agent, lj->agent) != 0 || !i.up : !i.up && !g->d->over)
			continue;
		g->n += i.up;
		if (g->d->over)
			tunnel_link_end(lj->link, WIRE_R_KICKED, g->d->why, g->d->retry_after_s);
		else
			tunnel_link_drop(lj->link, g->d->why);
	}
}

unsigned jobs_depart(struct tunnel_jobs *j, const struct jobs_departure *d)
{
	struct departing g = { .d = d };

	if (j->server)
		tunnel_server_call(j->server, depart, &g);
	return g.n;
}

void tunnel_jobs_send_away(struct tunnel_jobs *j, const char *why)
{
	(void)jobs_depart(j, &(struct jobs_departure){ .why = why, .over = true, .retry_after_s = TUNNEL_AGAIN_S });
}

/* ---- jobs ---- */

static const char *mark_of(const struct server_job *j)
{
	return j->state == WIRE_JOB_ACTIVE || j->state == WIRE_JOB_TARGET_DOWN ? "--->" : "-||-";
}

json_t *job_row(const struct server_job *j)
{
	struct tunnel_link_info i;
	json_t *o = json_object(), *config = j->c ? job_config_json(j->c) : json_object();

	tunnel_link_info(j->of->link, &i);
	set_number(o, "number", j->number);
	set_number(o, "id", j->id);
	set_number(o, "link", j->of->number);
	set_text(o, "agent", j->of->agent);
	set_text(o, "name", j->name);
	set_text(o, "origin", j->offered ? "server" : "agent");
	set_text(o, "mark", mark_of(j));
	set_text(o, "state", !j->of->up && j->state == WIRE_JOB_ACTIVE ? "agent away" : job_state_text(j->state));
	set_text(o, "reason", j->text);
	set_text(o, "address", j->address);
	set_addr(o, "bound", &j->at);
	set_number(o, "ports", j->c ? job_ports(j->c) : 0);
	set_addr(o, "lan", &i.lan);
	json_object_set(o, "target", json_object_get(config, "target"));
	json_object_set(o, "allow", json_object_get(config, "allow"));
	set_text(o, "protocol", j->c && j->c->udp ? "udp" : "tcp");
	json_object_set_new(o, "encrypted", json_boolean(j->c && j->c->encrypt));
	set_text(o, "sealed", j->c && j->c->encrypt ? "§" : "");
	set_number(o, "connections", (uint64_t)j->connections);
	set_number(o, "accepted", j->accepted);
	set_number(o, "refused", j->refused);
	set_number(o, "errors", j->errors);
	set_text(o, "last_error", j->error);
	set_number(o, "last_error_at", (uint64_t)j->error_at);
	set_number(o, "started_at", (uint64_t)j->begun_at);
	set_number(o, "expires_at", (uint64_t)j->expires * 1000);
	set_number(o, "connect_us", j->connect_us);
	set_number(o, "bytes_up", j->bytes[DATA_UP]);
	set_number(o, "bytes_down", j->bytes[DATA_DOWN]);
	json_object_set_new(o, "logged", json_boolean(j->logged));
	json_object_set_new(o, "held", json_boolean(j->held));
	set_text(o, "note", j->c ? j->c->note : "");
	json_decref(config);
	return o;
}

struct rows {
	json_t *rows;
	const char *agent;
};

static bool is_meant(const struct link_jobs *lj, const char *agent)
{
	return !agent || strcmp(agent, lj->agent) == 0;
}

static void add_jobs(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);
	struct rows *r = arg;

	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		if (!is_meant(lj, r->agent))
			continue;
		list_for_each(jt, &lj->jobs) {
			struct server_job *j = list_entry(jt, struct server_job, node);

			job_count_all(j);
			json_array_append_new(r->rows, job_row(j));
		}
	}
}

json_t *jobs_rows_json(struct tunnel_jobs *j, const char *agent)
{
	struct rows r = { json_array(), agent };

	tunnel_server_call(j->server, add_jobs, &r);
	jobs_held_rows(j, agent, r.rows);
	return r.rows;
}

/* ---- data connections ---- */

static json_t *conn_row(const struct job_conn *c)
{
	struct data_info i;
	json_t *o = json_object();

	data_conn_info(c->d, &i);
	set_number(o, "id", c->id);
	set_number(o, "link", c->job->of->number);
	set_number(o, "job_number", c->job->number);
	set_text(o, "agent", c->job->of->agent);
	set_text(o, "job", c->job->name);
	set_number(o, "job_id", c->job->id);
	set_text(o, "protocol", c->job->c->udp ? "udp" : "tcp");
	set_text(o, "state", data_state_names[i.state]);
	json_object_set_new(o, "encrypted", json_boolean(!i.plain));
	set_text(o, "sealed", i.plain ? "" : "§");
	set_number(o, "opened_at", (uint64_t)c->opened_at);
	set_number(o, "age_ms", i.age_ms);
	set_number(o, "quiet_ms", i.quiet_ms);
	set_addr(o, "source", &c->source);
	set_text(o, "source_name", c->source_name);
	set_addr(o, "listener", &c->server);
	set_addr(o, "carrier_server", &i.carrier_local);
	set_addr(o, "carrier_agent", &i.carrier_peer);
	set_addr(o, "agent_local", &c->local);
	set_addr(o, "target", &c->target);
	set_number(o, "bytes_up", i.bytes[DATA_UP]);
	set_number(o, "bytes_down", i.bytes[DATA_DOWN]);
	set_number(o, "rate_up", i.rate[DATA_UP]);
	set_number(o, "rate_down", i.rate[DATA_DOWN]);
	set_number(o, "held_up", i.held[DATA_UP]);
	set_number(o, "held_down", i.held[DATA_DOWN]);
	set_number(o, "resumed", i.resumed);
	json_object_set_new(o, "logged", json_boolean(c->log != NULL));
	json_object_set_new(o, "watched", json_boolean(c->watched));
	return o;
}

/* Calls fn for each connection of the worker, until it says no. */
static void each_conn(struct jobs_worker *w, bool (*fn)(struct job_conn *c, void *arg), void *arg)
{
	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		list_for_each(jt, &lj->jobs) {
			struct server_job *j = list_entry(jt, struct server_job, node);

			list_for_each_safe(ct, &j->conns)
				if (!fn(list_entry(ct, struct job_conn, node), arg))
					return;
		}
	}
}

/* The cursor counts connections in the order of the walk: what ends meanwhile may shift a row, as in any live table. */
struct paging {
	const struct jobs_page *p;
	json_t *rows;
	uint64_t at;
	bool more;
};

static bool add_conn(struct job_conn *c, void *arg)
{
	struct paging *g = arg;

	if (!is_meant(c->job->of, g->p->agent) || (g->p->job && strcmp(g->p->job, c->job->name) != 0))
		return true;
	if (json_array_size(g->rows) == g->p->limit) {
		g->more = true;
		return false;
	}
	if (g->at++ >= g->p->cursor)
		json_array_append_new(g->rows, conn_row(c));
	return true;
}

static void add_conns(struct tunnel_worker *tw, void *arg)
{
	struct paging *g = arg;

	if (!g->more)
		each_conn(tunnel_worker_owner(tw), add_conn, g);
}

json_t *jobs_connections_json(struct tunnel_jobs *j, const struct jobs_page *p)
{
	struct paging g = { .p = p, .rows = json_array() };
	json_t *result;

	tunnel_server_call(j->server, add_conns, &g);
	result = json_pack("{s:o}", "rows", g.rows);
	if (g.more)
		json_object_set_new(result, "cursor", json_integer((json_int_t)g.at));
	return result;
}

/* ---- acts ---- */

struct acting {
	const char *agent, *job;
	uint64_t id; /* 0: all of agent and job */
	enum job_act what;
	unsigned n;
	int r;
};

static bool act_on(struct job_conn *c, void *arg)
{
	struct acting *a = arg;

	if (a->id ? c->id != a->id : !is_meant(c->job->of, a->agent) || (a->job && strcmp(a->job, c->job->name) != 0))
		return true;
	a->r = job_conn_act(c, a->what);
	a->n += a->r == 0;
	return !a->id;
}

static void each_job(struct jobs_worker *w, struct acting *a, void (*fn)(struct server_job *j, struct acting *a))
{
	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		list_for_each(jt, &lj->jobs) {
			struct server_job *j = list_entry(jt, struct server_job, node);

			if (is_meant(lj, a->agent) && (!a->job || strcmp(a->job, j->name) == 0))
				fn(j, a);
		}
	}
}

/* Of connections to come. */
static void set_logged(struct server_job *j, struct acting *a)
{
	j->logged = a->what == JOB_LOG_ON;
}

static void act(struct tunnel_worker *tw, void *arg)
{
	struct acting *a = arg;
	struct jobs_worker *w = tunnel_worker_owner(tw);

	if (a->id && tunnel_worker_of(a->id) != tunnel_worker_index(tw))
		return;
	each_conn(w, act_on, a);
	if (!a->id && (a->what == JOB_LOG_ON || a->what == JOB_LOG_OFF))
		each_job(w, a, set_logged);
}

int jobs_act(struct tunnel_jobs *j, uint64_t id, enum job_act what)
{
	struct acting a = { .id = id, .what = what, .r = -ENOENT };

	if (id && j->server)
		tunnel_server_call(j->server, act, &a);
	return a.r;
}

unsigned jobs_act_all(struct tunnel_jobs *j, const char *agent, const char *job, enum job_act what)
{
	struct acting a = { .agent = agent, .job = job, .what = what };

	tunnel_server_call(j->server, act, &a);
	return a.n;
}

static void reset_counters(struct server_job *j, struct acting *a)
{
	job_count_all(j);
	j->accepted = j->refused = j->errors = 0;
	j->bytes[0] = j->bytes[1] = 0;
	j->error[0] = 0;
	j->error_at = 0;
	a->n++;
}

static void reset(struct tunnel_worker *tw, void *arg)
{
	each_job(tunnel_worker_owner(tw), arg, reset_counters);
}

unsigned jobs_reset(struct tunnel_jobs *j, const char *agent, const char *job)
{
	struct acting a = { .agent = agent, .job = job };

	tunnel_server_call(j->server, reset, &a);
	return a.n;
}

uint64_t jobs_lag_ms(const struct tunnel_jobs *j)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < j->n_workers; i++)
		most = MAX(most, atomic_load_explicit(&j->workers[i]->lag_ms, memory_order_relaxed));
	return most;
}

/* ---- sockets ---- */

struct owners {
	json_t *of;   /* "local peer" → whose */
	json_t *rows;
	uint32_t *own;
	size_t n_own;
};

struct whose {
	const char *what, *agent, *job;
	uint64_t conn;
};

static void name_socket(struct owners *o, const struct addr *local, const struct addr *peer,
			struct whose w)
{
	char a[ADDR_STRLEN], b[ADDR_STRLEN];
	json_t *key = json_sprintf("%s %s", addr_print(local, a), peer ? addr_print(peer, b) : "");

	if (key && addr_family(local) != AF_UNSPEC)
		json_object_set_new(o->of, json_string_value(key),
				    json_pack("{s:s, s:s, s:s, s:I}", "what", w.what, "agent", w.agent,
					      "job", w.job, "connection", (json_int_t)w.conn));
	json_decref(key);
}

static bool name_conn(struct job_conn *c, void *arg)
{
	struct data_info i;
	struct whose w = { "source", c->job->of->agent, c->job->name, c->id };

	data_conn_info(c->d, &i);
	name_socket(arg, &c->server, &c->source, w);
	w.what = "carrier";
	name_socket(arg, &i.carrier_local, &i.carrier_peer, w);
	return true;
}

static void name_link(struct owners *o, const struct link_jobs *lj)
{
	struct tunnel_link_info i;

	tunnel_link_info(lj->link, &i);
	if (i.up)
		name_socket(o, &i.local, &i.peer, (struct whose){ "control", lj->agent, "", 0 });
	list_for_each (it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		for (unsigned k = 0; k < j->n_listeners; k++)
			name_socket(o, &j->listeners[k].at, NULL,
				    (struct whose){ "listener", lj->agent, j->name, 0 });
	}
}

static void name_sockets(struct tunnel_worker *tw, void *arg)
{
	struct jobs_worker *w = tunnel_worker_owner(tw);

	list_for_each (it, &w->links)
		name_link(arg, list_entry(it, struct link_jobs, node));
	each_conn(w, name_conn, arg);
}

static void add_socket(const struct sock_diag *s, void *arg)
{
	struct owners *o = arg;
	char a[ADDR_STRLEN], b[ADDR_STRLEN];
	bool alone = addr_family(&s->peer) == AF_UNSPEC;
	json_t *key, *of, *row;

	if (!sock_diag_is_own(o->own, o->n_own, s->inode))
		return;
	key = json_sprintf("%s %s", addr_print(&s->local, a), alone ? "" : addr_print(&s->peer, b));
	of = json_object_get(o->of, json_string_value(key));
	row = of ? json_deep_copy(of) : json_pack("{s:s, s:s, s:s, s:i}", "what", alone ? "service" : "idle carrier", "agent", "", "job", "",
						  "connection", 0);
	json_decref(key);
	set_text(row, "protocol", s->udp ? "udp" : "tcp");
	set_text(row, "state", s->state);
	set_addr(row, "local", &s->local);
	set_addr(row, "peer", &s->peer);
	set_number(row, "recv_queue", s->recv_queue);
	set_number(row, "send_queue", s->send_queue);
	set_number(row, "rtt_us", s->rtt_us);
	set_number(row, "retransmits", s->retransmits);
	set_number(row, "lost", s->lost);
	json_array_append_new(o->rows, row);
}

json_t *jobs_sockets_json(struct tunnel_jobs *j)
{
	struct owners o = { .of = json_object(), .rows = json_array() };
	int r;

	tunnel_server_call(j->server, name_sockets, &o);
	o.own = sock_diag_own(&o.n_own);
	r = o.own ? sock_diag_each(add_socket, &o) : -ENOMEM;
	free(o.own);
	json_decref(o.of);
	if (r == 0)
		return o.rows;
	json_decref(o.rows);
	return NULL;
}
