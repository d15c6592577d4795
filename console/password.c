/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords: yescrypt by libcrypt, at its default cost, in a thread of its own, because one hash takes as long as the loop may
 * not wait. What waits is bounded: a crowd that logs in gets "busy", and costs no more than one core.
 *
 * A check without a hash to check against costs the same time, so that nobody learns which accounts exist.
 */
#include "console/console.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { WAITING_MAX = 32 };

struct hasher {
	struct loop *home;
	struct workers workers;
	struct list jobs; /* of the home thread */
	unsigned waiting;
};
struct job {
	struct mail mail;
	struct hasher *h;
	char password[PASSWORD_MAX + 1];
	char against[HASH_MAX]; /* "": make one */
	char hash[HASH_MAX];
	bool fake, match;
	bool hashed; /* its mail is the home loop's */
	struct list node;
	hash_done_fn done;
	void *arg;
};

static void job_free(struct job *j)
{
	explicit_bzero(j, sizeof(*j));
	free(j);
}

/* Before it was hashed it is in the list, which frees it. */
static void drop(struct mail *m)
{
	struct job *j = container_of(m, struct job, mail);

	if (j->hashed)
		job_free(j);
}

static void job_end(struct job *j)
{
	list_unlink(&j->node);
	j->h->waiting--;
	j->done(j->match, j->hash, j->arg);
}

static void deliver_home(struct mail *m, struct loop *l)
{
	struct job *j = container_of(m, struct job, mail);

	(void)l;
	job_end(j);
	job_free(j);
}

static void deliver_worker(struct mail *m, struct loop *l)
{
	struct job *j = container_of(m, struct job, mail);
	struct crypt_data *data = calloc(1, sizeof(*data));
	char setting[CRYPT_GENSALT_OUTPUT_SIZE] = "";
	const char *hash = NULL;

	(void)l;
	if (data && (*j->against || crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting))))
		hash = crypt_rn(j->password, *j->against ? j->against : setting, data, sizeof(*data));
	if (hash && strlen(hash) < sizeof(j->hash)) {
		j->match = *j->against && !j->fake && same_secret(hash, j->against);
		memcpy(j->hash, hash, strlen(hash) + 1);
	}
	if (data)
		explicit_bzero(data, sizeof(*data));
	free(data);
	j->hashed = true;
	j->mail = (struct mail){ .deliver = deliver_home, .drop = drop };
	loop_post(j->h->home, &j->mail);
}

static int queue(struct hasher *h, const char *password, const char *against, bool fake, hash_done_fn done, void *arg)
{
	struct job *j;

	if (h->waiting >= WAITING_MAX)
		return -EBUSY;
	if (strlen(password) > PASSWORD_MAX || strlen(against) >= HASH_MAX)
		return -EINVAL;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	*j = (struct job){ .mail = { .deliver = deliver_worker, .drop = drop }, .h = h, .fake = fake, .done = done, .arg = arg };
	(void)snprintf(j->password, sizeof(j->password), "%s", password);
	(void)snprintf(j->against, sizeof(j->against), "%s", against);
	h->waiting++;
	list_append(&h->jobs, &j->node);
	loop_post(h->workers.w[0].loop, &j->mail);
	return 0;
}

int hasher_make(struct hasher *h, const char *password, hash_done_fn done, void *arg)
{
	return queue(h, password, "", false, done, arg);
}

int hasher_check(struct hasher *h, const char *password, const char *hash, hash_done_fn done, void *arg)
{
	/* A setting of yescrypt at its default cost; the hash behind it is nobody's. */
	static const char nobody[] = "$y$j9T$9Ny4Nq0QcE0ZQmsZ5V8NR.$";

	return queue(h, password, hash ? hash : nobody, !hash, done, arg);
}

int hasher_new(struct loop *home, struct hasher **ret_h)
{
	static const struct worker_ops ops;
	struct hasher *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->home = home;
	list_init(&h->jobs);
	r = workers_start(&h->workers, 1, &ops, h);
	if (r < 0) {
		free(h);
		return r;
	}
	*ret_h = h;
	return 0;
}

/* Who waits is told that it has no match. What is on its way home is freed with the home loop, which outlives us. */
struct hasher *hasher_free(struct hasher *h)
{
	if (!h)
		return NULL;
	workers_stop(&h->workers);
	while (!list_empty(&h->jobs)) {
		struct job *j = list_entry(h->jobs.next, struct job, node);

		j->match = false;
		j->hash[0] = 0;
		job_end(j);
		if (!j->hashed)
			job_free(j);
	}
	free(h);
	return NULL;
}
