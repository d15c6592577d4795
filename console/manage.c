/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that speaks to systemd or the supervisor. A job goes there by mail and comes home by mail; until it is home it is
 * in the list of its owner, who answers for it when the console stops before.
 *
 * The list of services is asked for by the same thread, so an order that takes minutes (a drain) makes it old meanwhile: the
 * services' own sockets say what happens then.
 */
#include "console/manage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/manager.h"

enum { LIST_EVERY_MS = 3000, ORDERS_MAX = 16 };

struct manage {
	struct loop *home;
	struct workers workers;
	struct list jobs;
	unsigned orders;
	struct timer timer;
	char runtime_dir[256];
	void (*fn)(const json_t *rows, void *arg);
	void *arg;
};
struct job {
	struct mail mail;
	struct list node;
	struct manage *m;
	bool lists, done_there;
	enum manager_action action;
	char program[32], instance[64];
	int r;
	json_t *result;
	char err[MANAGER_ERRLEN];
	manage_done_fn done;
	void *arg;
};

static void job_free(struct job *j)
{
	json_decref(j->result);
	free(j);
}

/* Before the thread has had it, it is its owner's. */
static void drop(struct mail *m)
{
	struct job *j = container_of(m, struct job, mail);

	if (j->done_there)
		job_free(j);
}

static void deliver_home(struct mail *mail, struct loop *l)
{
	struct job *j = container_of(mail, struct job, mail);
	struct manage *m = j->m;

	list_unlink(&j->node);
	if (j->lists) {
		m->fn(j->r == 0 ? j->result : NULL, m->arg);
		loop_timer_set(l, &m->timer, LIST_EVERY_MS);
	} else {
		m->orders--;
		j->done(j->r, j->result, j->err, j->arg);
	}
	job_free(j);
}

static void deliver_there(struct mail *mail, struct loop *l)
{
	struct job *j = container_of(mail, struct job, mail);
	const struct manager_order o = { j->action, j->program, j->instance };

	(void)l;
	j->r = j->lists ? manager_list(j->m->runtime_dir, &j->result, j->err) : manager_do(j->m->runtime_dir, &o, &j->result, j->err);
	j->done_there = true;
	j->mail = (struct mail){ .deliver = deliver_home, .drop = drop };
	loop_post(j->m->home, &j->mail);
}

static struct job *job_new(struct manage *m)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	*j = (struct job){ .mail = { .deliver = deliver_there, .drop = drop }, .m = m };
	list_append(&m->jobs, &j->node);
	return j;
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct manage *m = container_of(t, struct manage, timer);
	struct job *j = job_new(m);

	(void)now;
	if (!j) {
		loop_timer_set(m->home, t, LIST_EVERY_MS);
		return;
	}
	j->lists = true;
	loop_post(m->workers.w[0].loop, &j->mail);
}

int manage_do(struct manage *m, const char *action, const char *program, const char *instance, manage_done_fn done, void *arg)
{
	struct job *j;

	if (m->orders >= ORDERS_MAX)
		return -EBUSY;
	j = job_new(m);
	if (!j)
		return -ENOMEM;
	j->action = strcmp(action, "start") == 0 ? MANAGER_START : strcmp(action, "stop") == 0 ? MANAGER_STOP : MANAGER_RESTART;
	(void)snprintf(j->program, sizeof(j->program), "%s", program);
	(void)snprintf(j->instance, sizeof(j->instance), "%s", instance);
	j->done = done;
	j->arg = arg;
	m->orders++;
	loop_post(m->workers.w[0].loop, &j->mail);
	return 0;
}

int manage_new(struct loop *home, const char *runtime_dir, void (*fn)(const json_t *rows, void *arg), void *arg, struct manage **ret_m)
{
	static const struct worker_ops ops;
	struct manage *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	*m = (struct manage){ .home = home, .fn = fn, .arg = arg, .timer.fire = on_timer };
	(void)snprintf(m->runtime_dir, sizeof(m->runtime_dir), "%s", runtime_dir);
	list_init(&m->jobs);
	r = workers_start(&m->workers, 1, &ops, m);
	if (r < 0) {
		free(m);
		return r;
	}
	loop_timer_set(home, &m->timer, 0);
	*ret_m = m;
	return 0;
}

struct manage *manage_free(struct manage *m)
{
	if (!m)
		return NULL;
	timer_stop(&m->timer);
	workers_stop(&m->workers);
	while (!list_empty(&m->jobs)) {
		struct job *j = list_entry(m->jobs.next, struct job, node);

		list_unlink(&j->node);
		if (!j->lists)
			j->done(-ECANCELED, NULL, "the console stops", j->arg);
		if (!j->done_there)
			job_free(j); /* else its mail is in the home loop, which frees it */
	}
	free(m);
	return NULL;
}
