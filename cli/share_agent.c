/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long verb of stile-agent, in a thread: what it tells is kept, the last word only. An agent that was restarted is asked again, so that a
 * share outlives it; one that is not there at the beginning is an error at once.
 *
 * The thread ends with the process: the agent sees that the connection is closed, and takes the share or the visit back.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/share.h"
#include "common/service.h"

enum { FOR_EVER_MS = INT_MAX, AGAIN_US = 1000 * 1000 };

static void tell(struct agent_watch *w)
{
	w->seq++;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->news)
		w->news(w);
}

static void on_progress(const json_t *progress, void *arg)
{
	struct agent_watch *w = arg;

	pthread_mutex_lock(&w->lock);
	json_decref(w->last);
	w->last = json_deep_copy(progress);
	w->there = true;
	tell(w);
}

static void ended(struct agent_watch *w, int r, json_t *error)
{
	const char *text = json_string_value(json_object_get(error, "text")), *hint = json_string_value(json_object_get(error, "hint"));
	const char *code = json_string_value(json_object_get(error, "code"));

	pthread_mutex_lock(&w->lock);
	w->there = false;
	if (r == CONTROL_ERROR) {
		w->over = strcmp(code ? code : "", "cancelled") != 0; /* cancelled: the agent stops, and may come again */
		(void)snprintf(w->error, sizeof(w->error), "%s%s%s", text ? text : "refused", hint && *hint ? "\n  try: " : "", hint ? hint : "");
	} else if (r < 0) {
		(void)snprintf(w->error, sizeof(w->error), r == -EACCES ? "no access to %s: run as root or as a member of the group stile" :
								     "stile-agent does not run (no answer at %s)", w->socket);
	} else {
		w->over = true;
	}
	tell(w);
}

static void *run(void *arg)
{
	struct agent_watch *w = arg;

	for (;;) {
		struct control_client *cl = NULL;
		json_t *args, *result = NULL, *error = NULL;
		int r = control_connect(w->socket, FOR_EVER_MS, &cl);

		if (r == 0) {
			control_on_progress(cl, on_progress, w);
			pthread_mutex_lock(&w->lock);
			args = json_deep_copy(w->args);
			pthread_mutex_unlock(&w->lock);
			r = control_call(cl, w->verb, args, &result, &error);
		}
		ended(w, r, error);
		json_decref(result);
		json_decref(error);
		control_client_free(cl);
		if (w->over)
			return NULL;
		(void)usleep(AGAIN_US);
	}
}

int agent_watch_start(struct agent_watch *w, struct cli *cli, const char *socket, const char *verb, json_t *args)
{
	struct instance i;
	pthread_t thread;
	char err[256];
	int r;

	w->verb = verb;
	w->args = args;
	if (!socket && cli_place(cli, AGENT_PROGRAM, &i, err, sizeof err) < 0)
		return -EINVAL;
	if (snprintf(w->socket, sizeof(w->socket), "%s", socket ? socket : i.socket_path) >= (int)sizeof(w->socket))
		return -ENAMETOOLONG;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	r = pthread_create(&thread, NULL, run, w);
	if (r == 0)
		(void)pthread_detach(thread);
	return -r;
}

void agent_watch_set(struct agent_watch *w, const char *key, json_t *value)
{
	pthread_mutex_lock(&w->lock);
	(void)json_object_set_new(w->args, key, value);
	pthread_mutex_unlock(&w->lock);
}

json_t *agent_watch_next(struct agent_watch *w, unsigned *seq, int ms)
{
	struct timespec until;
	json_t *copy;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (w->seq == *seq && pthread_cond_timedwait(&w->changed, &w->lock, &until) == 0)
		;
	*seq = w->seq;
	copy = w->last ? json_deep_copy(w->last) : NULL;
	pthread_mutex_unlock(&w->lock);
	return copy;
}
