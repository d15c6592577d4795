/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libstile-agent (stile_agent.h): a thread that runs the agent's service as an embedded one, and a control client for each
 * question, so that the agent's own loop stays the only one that touches its state.
 *
 * The caller's text becomes FOLDER/conf.d/agent.yaml beside a stile.yaml of ours that names the store: an error in it is told with
 * its line, and `stile --runtime-dir FOLDER` shows a technician what the device does.
 */
#include "tunnel/library/stile_agent.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/fd.h"
#include "tunnel/agent/service.h"

#define EXPORT __attribute__((visibility("default")))

enum { FOLDER_MAX = 80, PATH_SIZE = 160, ASK_MS = 30000, POLL_MS = 50 };

struct stile_agent {
	pthread_t thread;
	sem_t begun;
	char folder[FOLDER_MAX + 1], config[PATH_SIZE], socket[PATH_SIZE];
	char why[512]; /* "": it runs */
	int stop_fd;   /* written to when it is to end: that needs neither a descriptor nor anything in the folder */
};
static atomic_flag taken = ATOMIC_FLAG_INIT;

/* ---- its files ---- */

static int write_file(const char *path, const char *text)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd_write(fd, text, strlen(text));
}

static int make_folder(const char *path)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_config(struct stile_agent *a, const char *text)
{
	char path[PATH_SIZE], ours[PATH_SIZE + FOLDER_MAX];
	int r = make_folder(a->folder);

	(void)snprintf(path, sizeof(path), "%s/conf.d", a->folder);
	if (r == 0)
		r = make_folder(path);
	(void)snprintf(path, sizeof(path), "%s/conf.d/agent.yaml", a->folder);
	if (r == 0)
		r = write_file(path, text);
	(void)snprintf(ours, sizeof(ours), "# written by libstile-agent at each start\nstore: { path: \"%s/store\" }\n", a->folder);
	return r < 0 ? r : write_file(a->config, ours);
}

/* ---- its thread ---- */

static void on_begun(const char *failed, void *arg)
{
	struct stile_agent *a = arg;

	(void)snprintf(a->why, sizeof(a->why), "%s", failed ? failed : "");
	(void)sem_post(&a->begun);
}

static void *run(void *arg)
{
	struct stile_agent *a = arg;

	service_run_embedded(&agent_service_ops, &(struct service_embedding){ a->config, a->folder, a->stop_fd, on_begun, a });
	return NULL;
}

/* Signals stay with the caller's threads. */
static int start_thread(struct stile_agent *a)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&a->thread, NULL, run, a);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	while (sem_wait(&a->begun) < 0)
		; /* a signal of the caller's came */
	if (a->why[0])
		(void)pthread_join(a->thread, NULL);
	return a->why[0] ? -EINVAL : 0;
}

static void agent_release(struct stile_agent *a)
{
	(void)sem_destroy(&a->begun);
	closep(&a->stop_fd);
	free(a);
	atomic_flag_clear(&taken);
}

static int start(const struct stile_agent_options *o, struct stile_agent *a, char *why, size_t why_size)
{
	int r;

	(void)snprintf(a->folder, sizeof(a->folder), "%s", o->folder);
	(void)snprintf(a->config, sizeof(a->config), "%s/stile.yaml", a->folder);
	(void)snprintf(a->socket, sizeof(a->socket), "%s/stile-agent.sock", a->folder);
	a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = a->stop_fd < 0 ? -errno : write_config(a, o->config);
	if (r < 0) {
		(void)snprintf(why, why_size, "%s: %s", a->folder, strerror(-r));
		return r;
	}
	r = start_thread(a);
	(void)snprintf(why, why_size, "%s", r == 0 ? "" : a->why[0] ? a->why : strerror(-r));
	return r;
}

EXPORT int stile_agent_start(const struct stile_agent_options *o, struct stile_agent **ret_agent, char *why, size_t why_size)
{
	struct stile_agent *a;
	int r;

	*ret_agent = NULL;
	if (!o || o->size < sizeof(*o) || !o->folder || o->folder[0] != '/' || strlen(o->folder) > FOLDER_MAX || !o->config ||
	    strpbrk(o->folder, "\"\\\n")) {
		(void)snprintf(why, why_size, "options: a folder (absolute, at most %d bytes, no quotes) and a configuration are needed", FOLDER_MAX);
		return -EINVAL;
	}
	if (atomic_flag_test_and_set(&taken)) {
		(void)snprintf(why, why_size, "there is an agent in this process already");
		return -EBUSY;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		(void)snprintf(why, why_size, "%s", strerror(ENOMEM));
		atomic_flag_clear(&taken);
		return -ENOMEM;
	}
	a->stop_fd = -1;
	(void)sem_init(&a->begun, 0, 0);
	r = start(o, a, why, why_size);
	if (r < 0)
		agent_release(a);
	else
		*ret_agent = a;
	return r;
}

/* ---- questions ---- */

EXPORT int stile_agent_ask(struct stile_agent *a, const char *verb, const char *args, char **ret_json)
{
	_cleanup_(control_client_freep) struct control_client *c = NULL;
	json_t *in = args ? json_loads(args, 0, NULL) : json_object(), *result = NULL, *error = NULL;
	int r = json_is_object(in) ? control_connect(a->socket, ASK_MS, &c) : -EINVAL;

	*ret_json = NULL;
	if (r < 0) {
		json_decref(in);
		return r;
	}
	r = control_call(c, verb, in, &result, &error);
	if (r >= 0) {
		*ret_json = json_dumps(r == 0 ? result : error, JSON_COMPACT);
		r = *ret_json ? r : -ENOMEM;
	}
	json_decref(result);
	json_decref(error);
	return r;
}

static int connected(struct stile_agent *a)
{
	char *text;
	int r = stile_agent_ask(a, "agent.status", NULL, &text);
	json_t *status = r == 0 ? json_loads(text, 0, NULL) : NULL;

	if (status)
		r = json_integer_value(json_object_get(status, "connected")) > 0;
	else if (r >= 0)
		r = -EIO;
	json_decref(status);
	free(text);
	return r;
}

static void pause_a_moment(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
}

EXPORT int stile_agent_wait(struct stile_agent *a, unsigned timeout_ms)
{
	uint64_t until = clock_steady_ms() + timeout_ms;

	for (;;) {
		int r = connected(a);

		if (r != 0)
			return r < 0 ? r : 0;
		if (clock_steady_ms() >= until)
			return -ETIMEDOUT;
		pause_a_moment();
	}
}

EXPORT struct stile_agent *stile_agent_stop(struct stile_agent *a)
{
	if (!a)
		return NULL;
	(void)eventfd_write(a->stop_fd, 1);
	(void)pthread_join(a->thread, NULL);
	agent_release(a);
	return NULL;
}

EXPORT const char *stile_agent_version(void)
{
	return STILE_VERSION;
}
