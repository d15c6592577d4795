/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jobs of one agent, in its link's worker: told by JOB frames, checked, given ports by the main thread, listened
 * for, and taken back by JOB-GONE or because JOBS-SYNCED did not name them. While the control connection is lost the
 * listeners stay; a link that is over closes them, and the book keeps the ports.
 *
 * A job's timers: `retry` asks for its ports again when they were taken, or the agent had too many; `ending` is its expiry.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/jobs_priv.h"

enum { RETRY_MS = 5000, RETRY_LIMIT_MS = 30000, FRAMES_AT_ONCE = 4000, FRAME_MS = 2 };

static const char *claim_name(const struct server_job *j, char buf[static JOB_NAME_STRLEN])
{
	return jobs_claim_name(j->offered, j->name, buf);
}

/* ---- ports ---- */

static void listens(struct server_job *j)
{
	if (j->down)
		job_set_state(j, WIRE_JOB_TARGET_DOWN, WIRE_R_NONE, j->down_why);
	else
		job_set_state(j, WIRE_JOB_ACTIVE, WIRE_R_NONE, j->warning);
}

static void ask(struct server_job *j, bool have)
{
	struct jobs_said *s = jobs_say(j->of, JOBS_ASK);
	struct tunnel_link_info i;

	if (!s) {
		loop_timer_set(j->of->w->loop, &j->retry, RETRY_MS);
		return;
	}
	(void)claim_name(j, s->job);
	s->bind = j->c->bind;
	s->first = j->c->port.first;
	s->count = (uint16_t)job_ports(j->c);
	s->udp = j->c->udp;
	s->plain = !j->c->encrypt;
	s->open = !j->c->allow.n;
	s->at = j->at;
	tunnel_link_info(j->of->link, &i);
	s->local = i.local;
	s->have = have;
	s->ticket = ++j->ticket;
	jobs_post(s);
}

static void release(struct server_job *j)
{
	struct jobs_said *s = jobs_say(j->of, JOBS_RELEASE);

	if (!s)
		return;
	(void)claim_name(j, s->job);
	jobs_post(s);
}

static bool same_place(const struct job_config *a, const struct job_config *b)
{
	return a->udp == b->udp && a->port.first == b->port.first && a->port.last == b->port.last && addr_equal_ip(&a->bind, &b->bind);
}

static void interrupt(struct server_job *j, const char *text)
{
	job_drop_all(j, "the job was interrupted");
	job_unlisten(j);
	job_set_state(j, WIRE_JOB_INTERRUPTED, *text ? WIRE_R_KICKED : WIRE_R_NONE, text);
}

static void start(struct server_job *j)
{
	timer_stop(&j->retry);
	if (j->expires && j->expires <= clock_unix_ms() / 1000) {
		job_drop_all(j, "the time of the job is over");
		job_unlisten(j);
		job_set_state(j, WIRE_JOB_OVER, WIRE_R_EXPIRED, "the time of the job is over");
	} else if (!j->c->enabled) {
		j->held = false; /* it is asked for again when the agent starts it */
		interrupt(j, "");
	} else {
		ask(j, j->n_listeners > 0);
	}
}

static void on_retry(struct timer *t, uint64_t now)
{
	(void)now;
	start(container_of(t, struct server_job, retry));
}

static void on_ending(struct timer *t, uint64_t now)
{
	struct server_job *j = container_of(t, struct server_job, ending);
	int64_t left = j->expires - clock_unix_ms() / 1000;

	(void)now;
	if (left > 0) /* the clock was set, or it is far away */
		loop_timer_set(j->of->w->loop, t, (uint64_t)MIN(left, 3600) * 1000);
	else
		start(j);
}

/* Others have the ports, or other jobs of the agent too many; both may end. 0: no. */
static unsigned retry_ms(unsigned reason)
{
	return reason == WIRE_R_PORT_TAKEN ? RETRY_MS : reason == WIRE_R_LIMIT ? RETRY_LIMIT_MS : 0;
}

void jobs_on_grant(struct jobs_worker *w, struct jobs_granted *g)
{
	struct server_job *j = jobs_find(w, g->link, g->job);
	int r;

	if (!j || g->ticket != j->ticket || !j->c || !j->c->enabled)
		return; /* the descriptors are closed with the mail; what is current was asked for again */
	j->held = g->held;
	if (g->held) {
		interrupt(j, JOBS_HELD_WHY);
		return;
	}
	if (retry_ms(g->g.reason) && g->ticket == j->unsynced) { /* judged beside what the agent has no more */
		start(j);
		return;
	}
	if (g->g.reason) {
		job_unlisten(j);
		if (g->g.reason != WIRE_R_PORT_TAKEN)
			job_drop_all(j, g->g.text);
		j->at = (struct addr){ 0 };
		j->address[0] = 0;
		job_set_state(j, g->g.reason == WIRE_R_PORT_TAKEN ? WIRE_JOB_PORT_TAKEN : WIRE_JOB_REFUSED, g->g.reason, g->g.text);
		if (retry_ms(g->g.reason))
			loop_timer_set(w->loop, &j->retry, retry_ms(g->g.reason));
		return;
	}
	(void)snprintf(j->address, sizeof(j->address), "%s", g->address);
	(void)snprintf(j->warning, sizeof(j->warning), "%s", g->g.text);
	if (g->n_fds) {
		r = job_listen(j, &g->g.at, g->fds, g->n_fds);
		g->n_fds = 0;
		if (r < 0) {
			job_set_state(j, WIRE_JOB_PORT_TAKEN, WIRE_R_ERROR, strerror(-r));
			loop_timer_set(w->loop, &j->retry, RETRY_MS);
			return;
		}
	}
	listens(j);
}

/* ---- the table ---- */

struct server_job *jobs_find(struct jobs_worker *w, uint64_t link, const char *name)
{
	struct tunnel_link *l = tunnel_link_find(w->w, link);
	struct link_jobs *lj = l ? tunnel_link_state(l) : NULL;
	char buf[JOB_NAME_STRLEN];

	if (!lj)
		return NULL;
	list_for_each(it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		if (strcmp(claim_name(j, buf), name) == 0)
			return j;
	}
	return NULL;
}

static struct server_job *numbered(struct link_jobs *lj, uint32_t id)
{
	list_for_each(it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		if (j->id == id && (!j->stale || j->offered)) /* the server's own numbers stay good */
			return j;
	}
	return NULL;
}

static struct server_job *named(struct link_jobs *lj, const char *name, bool offered)
{
	list_for_each(it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		if (j->offered == offered && strcmp(j->name, name) == 0)
			return j;
	}
	return NULL;
}

static void job_free(struct server_job *j, const char *why)
{
	job_drop_all(j, why);
	job_unlisten(j);
	jobs_event(j, "tunnel.jobs", "gone");
	timer_stop(&j->retry);
	timer_stop(&j->ending);
	list_unlink(&j->node);
	j->of->n_jobs--;
	jobs_count(j->of->w, JOB_M_JOBS, 0, -1);
	cfg_free(j->cfg);
	free(j);
}

static struct server_job *job_new(struct link_jobs *lj, const char *name, bool offered)
{
	struct server_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->of = lj;
	j->offered = offered;
	j->number = atomic_fetch_add_explicit(&lj->w->all->last_job, 1, memory_order_relaxed) + 1;
	j->ticket = j->number << 32; /* what was asked for by a job of this name before is not granted to this one */
	j->begun_at = clock_unix_ms();
	j->retry.fire = on_retry;
	j->ending.fire = on_ending;
	list_init(&j->conns);
	(void)snprintf(j->name, sizeof(j->name), "%s", name);
	list_append(&lj->jobs, &j->node);
	lj->n_jobs++;
	jobs_count(lj->w, JOB_M_JOBS, 0, 1);
	return j;
}

/* Takes cfg. */
static void set_values(struct server_job *j, struct cfg *cfg)
{
	const struct job_config *c = cfg_values(cfg);

	if (j->c && !same_place(j->c, c))
		job_unlisten(j);
	if (j->c && (j->c->encrypt != c->encrypt || j->c->udp != c->udp))
		job_drop_all(j, "the job was changed");
	cfg_free(j->cfg);
	j->cfg = cfg;
	j->c = c;
	job_limit_all(j);
	j->expires = c->expire.at;
	timer_stop(&j->ending);
	if (j->expires)
		loop_timer_set(j->of->w->loop, &j->ending, (uint64_t)MAX(0, MIN(j->expires - clock_unix_ms() / 1000, 3600)) * 1000);
	if (!c->health_ms)
		j->down = false;
}

static void refuse(struct link_jobs *lj, const struct wire_job *w, unsigned reason, const char *text)
{
	struct wire_job_state_msg m = { .id = w->id, .revision = w->revision, .state = WIRE_JOB_REFUSED, .reason = (uint8_t)reason,
					.text = text_of(text) };

	(void)tunnel_link_send(lj->link, WIRE_JOB_STATE, &m);
	log_emit(&MSG_TUNNEL_JOB_REFUSED, LF_STR("agent", lj->agent), LF_TEXT("job", w->name), LF_STR("state", "refused"),
		 LF_STR("reason", text));
}

/*
 * A job counts when the agent has told it since it came back; what is stale ends with JOBS-SYNCED. As many again may be stale: who comes back
 * under other names again and again, and never says JOBS-SYNCED, has no more.
 */
static bool has_room(const struct link_jobs *lj)
{
	uint64_t most = atomic_load_explicit(&lj->w->all->most_jobs, memory_order_relaxed), n = 0;

	list_for_each (it, &lj->jobs) {
		const struct server_job *j = list_entry(it, struct server_job, node);

		n += !j->stale || j->offered;
	}
	return n < most && lj->n_jobs < 2 * most;
}

static void on_job(struct link_jobs *lj, const struct wire_job *w)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char err[JOB_TEXT], name[JOB_NAME_STRLEN];
	struct server_job *j;
	int r = job_from_wire(w, err, sizeof(err), &cfg);

	if (r < 0 || (w->id & (uint32_t)JOB_OFFERED)) {
		refuse(lj, w, WIRE_R_ERROR, r < 0 ? err : "this number is the server's");
		return;
	}
	(void)job_name(cfg_values(cfg), name);
	j = named(lj, name, false);
	if (!j && !has_room(lj)) {
		refuse(lj, w, WIRE_R_LIMIT, "the agent has as many jobs as it may (tunnel.limits.jobs_per_agent)");
		return;
	}
	if (!j)
		j = job_new(lj, name, false);
	if (!j) {
		refuse(lj, w, WIRE_R_MEMORY, "the server is out of memory");
		return;
	}
	j->id = w->id;
	j->revision = w->revision;
	j->stale = j->foreign = false;
	set_values(j, steal_ptr(&cfg));
	start(j);
}

/* ---- what agents say ---- */

static void on_gone(struct link_jobs *lj, uint32_t id)
{
	struct server_job *j = numbered(lj, id);

	if (!j || j->offered)
		return;
	release(j);
	job_free(j, "the job was deleted");
}

/* Those that were not named are over; ports kept for others are, too, unless there was no memory to name all. */
static void on_synced(struct link_jobs *lj)
{
	json_t *names = json_array();

	list_for_each_safe(it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		if (j->stale && !j->offered)
			job_free(j, "the agent has this job no more");
		else if (json_array_append_new(names, json_string(j->name)) < 0) {
			json_decref(names);
			names = NULL;
		}
	}
	jobs_post_json(lj, JOBS_SYNCED, NULL, names);
	list_for_each(it, &lj->jobs) { /* their ports may be free by now: the order of the mail holds */
		struct server_job *j = list_entry(it, struct server_job, node);

		if (j->state == WIRE_JOB_PORT_TAKEN ||
		    (j->state == WIRE_JOB_REFUSED && j->reason == WIRE_R_LIMIT))
			start(j);
		else
			j->unsynced = j->ticket; /* whose answer may still be on its way */
	}
}

static void on_target(struct link_jobs *lj, const struct wire_target_state *t)
{
	struct server_job *j = numbered(lj, t->job);

	if (!j || !j->c)
		return;
	j->down = !t->up;
	j->connect_us = t->connect_us;
	wire_text_copy(j->down_why, sizeof(j->down_why), t->text);
	if (j->down)
		job_failed(j, j->down_why);
	if (j->n_listeners)
		listens(j);
}

static void on_answer(struct link_jobs *lj, const struct wire_offer_answer *a)
{
	struct server_job *j = numbered(lj, a->id);
	struct jobs_said *s = j && j->offered ? jobs_say(lj, JOBS_ANSWERED) : NULL; /* to an offer of its own */
	char text[JOB_TEXT];

	wire_text_copy(text, sizeof(text), a->text);
	if (s) {
		s->id = a->id;
		s->taken = a->taken;
		(void)snprintf(s->text, sizeof(s->text), "%s", text);
		jobs_post(s);
	}
	if (!j || !j->offered || j->revision != a->revision)
		return;
	if (a->taken) {
		start(j);
		return;
	}
	timer_stop(&j->retry);
	job_drop_all(j, text);
	job_unlisten(j);
	job_set_state(j, WIRE_JOB_REFUSED, WIRE_R_NOT_ALLOWED, *text ? text : "the agent does not take the job");
}

/* Each frame may ask the main thread for ports and make a line in the log: no agent may say more than can be meant. */
static bool says_too_much(struct link_jobs *lj)
{
	uint64_t now = loop_now(lj->w->loop);
	uint64_t at_once = FRAMES_AT_ONCE + 8 * MIN(atomic_load_explicit(&lj->w->all->most_jobs, memory_order_relaxed), (uint64_t)1 << 20);

	lj->busy_until = MAX(lj->busy_until, now) + FRAME_MS;
	return lj->busy_until - now > at_once * FRAME_MS;
}

static void on_frame(struct tunnel_link *l, unsigned type, const union wire_msg *m, void *arg)
{
	struct link_jobs *lj = tunnel_link_state(l);

	(void)arg;
	if (!lj)
		return;
	if (says_too_much(lj)) {
		tunnel_link_end(l, WIRE_R_LIMIT, "the agent says more about its jobs than can be meant", 60);
		return;
	}
	switch (type) {
	case WIRE_JOB:
		on_job(lj, &m->job);
		break;
	case WIRE_JOB_GONE:
		on_gone(lj, m->job_gone.id);
		break;
	case WIRE_JOBS_SYNCED:
		on_synced(lj);
		break;
	case WIRE_TARGET_STATE:
		on_target(lj, &m->target_state);
		break;
	case WIRE_OFFER_ANSWER:
		on_answer(lj, &m->offer_answer);
		break;
	case WIRE_PATH:
		paths_said(lj, &m->path);
		break;
	default:
		break;
	}
}

/* ---- jobs made here ---- */

void jobs_on_offer(struct jobs_worker *w, uint64_t link, uint32_t id, uint32_t revision, json_t *json)
{
	struct tunnel_link *l = tunnel_link_find(w->w, link);
	struct link_jobs *lj = l ? tunnel_link_state(l) : NULL;
	struct server_job *j = lj ? numbered(lj, id) : NULL;
	struct wire_job m = { .id = id, .revision = revision, .over = 1, .kind = WIRE_JOB_TCP };
	struct cfg *cfg = NULL;
	char err[JOB_TEXT], name[JOB_NAME_STRLEN];

	if (lj && !json) {
		if (j) {
			release(j);
			job_free(j, "the job was deleted");
		}
		(void)tunnel_link_send(l, WIRE_OFFER_JOB, &m);
	}
	if (lj && json && job_parse(json, err, sizeof(err), &cfg) == 0) {
		const struct job_config *c = cfg_values(cfg);

		(void)job_name(c, name);
		j = j ? j : job_new(lj, name, true);
		if (!j) {
			cfg_free(cfg);
			json_decref(json);
			return;
		}
		set_values(j, cfg);
		j->id = id;
		j->revision = revision;
		j->stale = false;
		job_to_wire(c, name, j->expires, &m);
		m.id = id;
		m.revision = revision;
		if (tunnel_link_send(l, WIRE_OFFER_JOB, &m) < 0)
			job_set_state(j, WIRE_JOB_REFUSED, WIRE_R_ERROR, "the agent could not be told");
	}
	json_decref(json);
}

/* ---- the link ---- */

static void on_peer_name(const struct dns_answer *a, void *arg)
{
	struct link_jobs *lj = arg;

	lj->naming = NULL;
	(void)snprintf(lj->peer_name, sizeof(lj->peer_name), "%s", a->name ? a->name : "");
}

static void ask_peer_name(struct link_jobs *lj, const struct tunnel_link_info *i)
{
	const struct dns_request rq = { .done = on_peer_name, .arg = lj };
	struct dns *dns = atomic_load_explicit(&lj->w->all->resolve_names, memory_order_relaxed) ? jobs_dns(lj->w) : NULL;

	lj->naming = dns_cancel(lj->naming);
	lj->peer_name[0] = 0;
	if (dns)
		(void)dns_name(dns, &i->peer, &rq, &lj->naming);
}

static struct link_jobs *link_new(struct tunnel_link *l)
{
	struct link_jobs *lj = calloc(1, sizeof(*lj));

	if (!lj)
		return NULL;
	lj->w = tunnel_worker_owner(tunnel_link_worker(l));
	lj->link = l;
	lj->id = tunnel_link_id(l);
	lj->number = atomic_fetch_add_explicit(&lj->w->all->last_link, 1, memory_order_relaxed) + 1;
	list_init(&lj->jobs);
	list_init(&lj->paths);
	list_append(&lj->w->links, &lj->node);
	tunnel_link_set_state(l, lj);
	return lj;
}

static void on_up(struct tunnel_link *l, bool again, bool other_process, void *arg)
{
	struct link_jobs *lj = tunnel_link_state(l);
	struct tunnel_link_info i;

	(void)arg;
	(void)again;
	if (!lj)
		lj = link_new(l);
	if (!lj) {
		tunnel_link_end(l, WIRE_R_MEMORY, "the server is out of memory", 30);
		return;
	}
	tunnel_link_info(l, &i);
	memcpy(lj->identity, i.identity, WIRE_PIN);
	(void)snprintf(lj->agent, sizeof(lj->agent), "%s", i.name);
	lj->up = true;
	paths_forget(lj);
	list_for_each (it, &lj->jobs) {
		struct server_job *j = list_entry(it, struct server_job, node);

		j->stale = true;
		j->foreign |= other_process && !j->offered;
	}
	ask_peer_name(lj, &i);
	jobs_post_json(lj, JOBS_UP, NULL, json_null()); /* that it is so */
	jobs_link_event(lj, "connected", "");
}

static void on_down(struct tunnel_link *l, enum wire_reason reason, const char *why, void *arg)
{
	struct link_jobs *lj = tunnel_link_state(l);

	(void)arg;
	(void)reason;
	if (!lj)
		return;
	lj->up = false;
	jobs_link_event(lj, "disconnected", why);
}

static void on_over(struct tunnel_link *l, void *arg)
{
	struct link_jobs *lj = tunnel_link_state(l);

	(void)arg;
	if (!lj)
		return;
	list_for_each_safe(it, &lj->jobs)
		job_free(list_entry(it, struct server_job, node), "the agent is gone");
	paths_forget(lj);
	lj->naming = dns_cancel(lj->naming);
	list_unlink(&lj->node);
	tunnel_link_set_state(l, NULL);
	free(lj);
}

const struct tunnel_link_ops tunnel_jobs_link_ops = { .up = on_up, .frame = on_frame, .down = on_down, .over = on_over };

/* By this server, not by the agent. */
static bool is_refused_here(const struct server_job *j)
{
	return j->state == WIRE_JOB_REFUSED && !(j->offered && (j->reason == WIRE_R_NOT_ALLOWED || j->reason == WIRE_R_ERROR));
}

void jobs_on_recheck(struct jobs_worker *w)
{
	list_for_each(it, &w->links) {
		struct link_jobs *lj = list_entry(it, struct link_jobs, node);

		list_for_each(jt, &lj->jobs) {
			struct server_job *j = list_entry(jt, struct server_job, node);

			if (j->c && (j->n_listeners || j->held || is_refused_here(j) || j->state == WIRE_JOB_PORT_TAKEN))
				start(j);
		}
	}
}
