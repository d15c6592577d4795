/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nobody knows where this user lives: all servers are asked at once with an OPTIONS for him. The first that says yes has
 * him, and what waits goes there; the question stays open for the others, for a second yes is a conflict. Requests for
 * one user share one question. Bounded: questions, what waits behind each, and how long.
 *
 * Yes is a 2xx, and what only a user's home says (480, 486, 600); no is 404, 410 and 604; all else is no answer.
 *
 *	limit	fires sip.lan.ask behind the question: who has said nothing by then does not count
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

struct question;
struct probe {
	struct question *q;
	unsigned server;
	struct sip_ask *ask; /* NULL: it has answered */
};
struct waiter {
	struct list node; /* in question->waiting */
	struct question *q;
	struct sip_passage *p;
};
struct question {
	struct list node; /* in mesh->questions */
	struct sip_mesh *mesh;
	struct timer limit;
	struct list waiting;
	unsigned n_waiting, n, open, but; /* but: number of the server that is not asked */
	bool found, silent;
	struct probe v[MESH_SERVERS_MAX];
	char aor[SIP_AOR_MAX];
};

static void question_free(struct question *q)
{
	timer_stop(&q->limit);
	for (unsigned i = 0; i < q->n; i++)
		q->v[i].ask = sip_ask_cancel(q->v[i].ask);
	list_unlink(&q->node);
	q->mesh->n_questions--;
	free(q);
}

/* ---- who waits ---- */

static void on_gone(struct sip_passage *p)
{
	struct waiter *w = p->scratch[SIP_STAGE_ROUTING];

	list_unlink(&w->node);
	w->q->n_waiting--;
	free(w);
}

static enum sip_step refuse(const struct sip_mesh *m, struct sip_passage *p, enum mesh_result r,
			    const char *aor)
{
	static const enum sip_refusal why[MESH_RESULTS] = {
		[MESH_NOWHERE] = SIP_REFUSE_UNKNOWN_USER,
		[MESH_SILENT] = SIP_REFUSE_OFFLINE,
		[MESH_REFUSED] = SIP_REFUSE_OVERLOAD,
	};

	(void)m;
	sip_refuse(p, why[r], aor);
	return SIP_DECIDED;
}

static void release(struct question *q, enum mesh_result r)
{
	struct sip_mesh *m = q->mesh;
	const struct mesh_server *v[MESH_SERVERS_MAX];
	uint64_t now = mesh_now(m);

	list_for_each_safe (it, &q->waiting) {
		struct waiter *w = list_entry(it, struct waiter, node);
		struct sip_passage *p = w->p;
		unsigned n = r == MESH_FOUND
				     ? mesh_candidates(m, q->aor, mesh_server(m, p->server), now, v)
				     : 0;
		list_unlink(&w->node);
		q->n_waiting--;
		free(w);
		if (n)
			mesh_send(m, p, q->aor, v, n);
		else
			refuse(m, p, r == MESH_FOUND ? MESH_NOWHERE : r, q->aor);
		sip_passage_resume(p, now);
	}
}

/* ---- the question ---- */

static void settle(struct question *q)
{
	struct sip_mesh *m = q->mesh;
	enum mesh_result r = q->silent ? MESH_SILENT : MESH_NOWHERE;

	if (!q->found) {
		if (r == MESH_NOWHERE && !q->but)
			mesh_user_learn(m, q->aor, NULL, MESH_NOBODY, mesh_now(m) + MESH_NOBODY_MS);
		mesh_count(m, SIP_M_QUESTIONS, r);
		release(q, r);
	}
	question_free(q);
}

static bool says_yes(unsigned code)
{
	return (code >= 200 && code < 300) || code == 480 || code == 486 || code == 600;
}

static void on_answer(void *arg, unsigned code, const char *why, const struct sip_target *target)
{
	struct probe *pr = arg;
	struct question *q = pr->q;
	struct sip_mesh *m = q->mesh;
	struct mesh_server *s = mesh_server(m, pr->server);

	pr->ask = NULL;
	q->open--;
	if (s && target && code)
		s->seen = addr_canonical(&target->hop.remote);
	if (s && code == 0)
		mesh_server_told(s, 0, why);
	if (s && says_yes(code)) {
		mesh_user_learn(m, q->aor, s, MESH_ANSWERED, mesh_now(m) + m->remember_ms);
		if (!q->found) {
			q->found = true;
			mesh_count(m, SIP_M_QUESTIONS, MESH_FOUND);
			release(q, MESH_FOUND);
		}
	} else if (code != 404 && code != 410 && code != 604) {
		q->silent = true;
	}
	if (!q->open)
		settle(q);
}

static void on_limit(struct timer *t, uint64_t now)
{
	struct question *q = container_of(t, struct question, limit);

	(void)now;
	q->silent = true;
	settle(q);
}

/* One that has found somebody has let go who waited, and is open for a conflict alone: whoever comes when that has been forgotten begins
 * anew. */
static struct question *find(const struct sip_mesh *m, const char *aor, unsigned but)
{
	list_for_each (it, &m->questions) {
		struct question *q = list_entry(it, struct question, node);
		if (!q->found && q->but == but && strcmp(q->aor, aor) == 0)
			return q;
	}
	return NULL;
}

/* How many were asked; the sick ones are not waited for, but then nobody can say that he is nowhere. */
static void ask_all(struct question *q, const struct mesh_server *but)
{
	struct sip_mesh *m = q->mesh;
	uint64_t now = mesh_now(m);
	char uri[SIP_AOR_MAX + 8];
	struct sb b = sb_init(uri, sizeof(uri));

	sb_str(&b, "sip:");
	sb_str(&b, q->aor);
	for (unsigned i = 0; i < m->n; i++) {
		struct mesh_server *s = m->v[i];
		struct probe *pr = &q->v[q->n];
		if (s == but)
			continue;
		if (!mesh_server_is_on(s, now) || s->sick) {
			q->silent = true;
			continue;
		}
		*pr = (struct probe){ .q = q, .server = s->number };
		if (mesh_server_ask(s, (struct text){ uri, b.n }, on_answer, pr, &pr->ask) < 0) {
			q->silent = true;
			continue;
		}
		q->n++;
		q->open++;
	}
}

static struct question *begin(struct sip_mesh *m, const char *aor, const struct mesh_server *but)
{
	struct question *q = m->n_questions < MESH_QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return NULL;
	q->mesh = m;
	q->but = but ? but->number : 0;
	q->limit.fire = on_limit;
	list_init(&q->waiting);
	text_append(q->aor, sizeof(q->aor), aor);
	list_append(&m->questions, &q->node);
	m->n_questions++;
	ask_all(q, but);
	timers_set(m->o.timers, &q->limit, mesh_now(m) + m->ask_ms);
	return q;
}

/* 0, or -ENOMEM. */
static int wait_for(struct question *q, struct sip_passage *p)
{
	struct waiter *w = calloc(1, sizeof(*w));
	struct sip_passage *kept = w ? sip_passage_keep(p) : NULL;

	if (!kept) {
		free(w);
		return -ENOMEM;
	}
	*w = (struct waiter){ .q = q, .p = kept };
	kept->scratch[SIP_STAGE_ROUTING] = w;
	kept->gone = on_gone;
	list_init(&w->node);
	list_append(&q->waiting, &w->node);
	q->n_waiting++;
	return 0;
}

enum sip_step mesh_ask(struct sip_mesh *m, struct sip_passage *p, const char *aor,
		       const struct mesh_server *but)
{
	const struct mesh_user *u = mesh_user_find(m, aor, p->now);
	struct question *q = find(m, aor, but ? but->number : 0);
	enum mesh_result r = MESH_REFUSED;

	if (u && u->how == MESH_NOBODY)
		return refuse(m, p, MESH_NOWHERE, aor);
	if (!q)
		q = begin(m, aor, but);
	if (q && !q->open) { /* nobody could be asked */
		r = q->silent ? MESH_SILENT : MESH_NOWHERE;
		question_free(q);
		q = NULL;
	}
	if (q && q->n_waiting < MESH_WAITING_MAX && wait_for(q, p) == 0)
		return SIP_WAIT;
	mesh_count(m, SIP_M_QUESTIONS, r);
	return refuse(m, p, r, aor);
}

void mesh_questions_end(struct sip_mesh *m)
{
	list_for_each_safe (it, &m->questions) {
		struct question *q = list_entry(it, struct question, node);
		list_for_each_safe (n, &q->waiting) {
			struct waiter *w = list_entry(n, struct waiter, node);
			w->p->gone = NULL; /* the core forgets what waits */
			list_unlink(&w->node);
			free(w);
		}
		question_free(q);
	}
}
