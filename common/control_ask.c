/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection, the greeting, one line out, one line in; see control_ask.h.
 *
 * The other service is ours, and yet its lines are bounded and parsed as strictly as a client's. What it answers may be a
 * password: it is wiped.
 */
#include "common/control_ask.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/control.h"
#include "common/fd.h"

enum { TIMEOUT_MS = 5000, ANSWER_MAX = 64 << 10, REFUSAL_MAX = 200 };

struct control_ask {
	struct control_ask_options o;
	struct io io;
	int fd;
	struct timer late;
	char *line; /* the question, until it is sent */
	bool greeted, over;
	size_t n;
	char in[ANSWER_MAX];
};

struct control_ask *control_ask_free(struct control_ask *a)
{
	if (!a)
		return NULL;
	timer_stop(&a->late);
	io_stop(&a->io);
	closep(&a->fd);
	free(a->line);
	bytes_wipe(a->in, a->n); /* there may be a password in it */
	free(a);
	return NULL;
}

/* Tail call: a may be freed in it. */
static void finish(struct control_ask *a, const json_t *result, const char *why)
{
	if (a->over)
		return;
	a->over = true;
	timer_stop(&a->late);
	io_stop(&a->io);
	a->o.done(a, result, why, a->o.arg);
}

static void on_late(struct timer *t, uint64_t now)
{
	(void)now;
	finish(container_of(t, struct control_ask, late), NULL, "it does not answer in time");
}

static int say(struct control_ask *a)
{
	size_t n = strlen(a->line);

	return send(a->fd, a->line, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -EIO; /* a fresh socket has room for one line */
}

static void take_answer(struct control_ask *a, const json_t *o)
{
	const json_t *error = json_object_get(o, "error"), *result = json_object_get(o, "result");
	const char *text = json_string_value(json_object_get(error, "text"));
	char why[REFUSAL_MAX];

	(void)snprintf(why, sizeof(why), "%s", text ? text : result ? "" : "its answer is not understood");
	finish(a, text ? NULL : result, why);
}

/* False: there is none yet, or it is over. */
static bool take_line(struct control_ask *a)
{
	char *nl = memchr(a->in, '\n', a->n);
	const char *why = "its answer is too long";
	json_t *o = NULL;

	if (!nl && a->n < sizeof(a->in))
		return false;
	if (!nl || control_parse_line((struct text){ a->in, (size_t)(nl - a->in) }, &o, &why) != 0) {
		finish(a, NULL, why);
		return false;
	}
	a->n -= (size_t)(nl + 1 - a->in);
	memmove(a->in, nl + 1, a->n);
	if (!a->greeted) {
		a->greeted = true;
		json_decref(o);
		if (say(a) == 0)
			return true;
		finish(a, NULL, "it does not read");
		return false;
	}
	take_answer(a, o);
	json_decref(o);
	return false;
}

static void on_ready(struct io *io, int events)
{
	struct control_ask *a = container_of(io, struct control_ask, io);
	ssize_t n = recv(a->fd, a->in + a->n, sizeof(a->in) - a->n, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(a, NULL, "it has hung up");
		return;
	}
	a->n += (size_t)n;
	while (take_line(a))
		;
}

static char *question(const struct control_ask_options *o)
{
	json_t *q = json_pack("{s:i, s:s, s:O*}", "id", 1, "verb", o->verb, "args", o->args);
	char *text = q ? json_dumps(q, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	char *line = text ? malloc(n + 2) : NULL;

	if (line) {
		memcpy(line, text, n);
		memcpy(line + n, "\n", 2);
	}
	free(text);
	json_decref(q);
	return line;
}

static int reach(struct control_ask *a, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, strlen(path) + 1);
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	return io_start(&a->io, a->o.loop, a->fd, IO_READ, on_ready);
}

int control_ask_new(const struct control_ask_options *o, struct control_ask **ret_a)
{
	_cleanup_(control_ask_freep) struct control_ask *a = calloc(1, sizeof(*a));
	int r;

	if (a) {
		a->fd = -1;
		a->o = *o;
		a->line = question(o);
		a->o.args = NULL;
		a->o.path = a->o.verb = NULL;
	}
	json_decref(o->args);
	if (!a || !a->line)
		return -ENOMEM;
	r = reach(a, o->path);
	if (r < 0)
		return r;
	a->late.fire = on_late;
	loop_timer_set(o->loop, &a->late, o->timeout_ms ? o->timeout_ms : TIMEOUT_MS);
	*ret_a = steal_ptr(&a);
	return 0;
}
