/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the control protocol, for the tool and for tests: blocking, one call at a time, every
 * wait with a deadline. Events that arrive while a call waits are kept for control_next_event();
 * answers to calls that were given up are skipped. Not for use inside a service's loop.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/control.h"

enum { MAX_KEPT_EVENTS = 4096, MAX_ANSWER = CONTROL_MAX_LINE + 4096, READ_SIZE = 64 << 10 };

struct control_client {
	int fd;
	int timeout_ms;
	json_int_t last_id;
	json_t *hello;
	json_t *events; /* array, oldest first */
	char *in; /* in_n bytes, of which the first in_seen hold no newline */
	size_t in_n, in_seen, in_cap;
	void (*on_progress)(const json_t *, void *);
	void *progress_arg;
};

static int64_t now_ms(void)
{
	return (int64_t)clock_steady_ms();
}

static int64_t deadline_in(int timeout_ms)
{
	return timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
}

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left;
	int n, ms;

	do {
		left = deadline == INT64_MAX ? 0 : MAX(deadline - now_ms(), 0);
		ms = deadline == INT64_MAX ? -1 : (int)MIN(left, 1 << 30);
		n = poll(&p, 1, ms);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

static int send_all(struct control_client *c, const char *p, size_t n, int64_t deadline)
{
	int r;

	while (n) {
		ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			p += sent;
			n -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_for(c->fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill(struct control_client *c, int64_t deadline)
{
	ssize_t n;
	int r;

	if (c->in_n > MAX_ANSWER)
		return -EMSGSIZE;
	if (c->in_cap - c->in_n < READ_SIZE) {
		char *in = realloc(c->in, c->in_cap * 2 + READ_SIZE);
		if (!in)
			return -ENOMEM;
		c->in = in;
		c->in_cap = c->in_cap * 2 + READ_SIZE;
	}
	do {
		r = wait_for(c->fd, POLLIN, deadline);
		if (r < 0)
			return r;
		n = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, MSG_DONTWAIT);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	c->in_n += (size_t)n;
	return 0;
}

static int next_line(struct control_client *c, int64_t deadline, json_t **ret_o)
{
	size_t line_n;
	json_t *o;
	char *nl;
	int r;

	while (!c->in_n || !(nl = memchr(c->in + c->in_seen, '\n', c->in_n - c->in_seen))) {
		c->in_seen = c->in_n;
		r = fill(c, deadline);
		if (r < 0)
			return r;
	}
	line_n = (size_t)(nl - c->in) + 1;
	o = json_loadb(c->in, line_n, JSON_REJECT_DUPLICATES, NULL);
	c->in_n -= line_n;
	c->in_seen = 0;
	memmove(c->in, c->in + line_n, c->in_n);
	if (!json_is_object(o)) {
		json_decref(o);
		return -EPROTO;
	}
	*ret_o = o;
	return 0;
}

static int dial(const char *path, int timeout_ms, int *ret_fd)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	int fd, r;

	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (timeout_ms > 0) /* connect() waits while the server's queue is full */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int control_connect(const char *path, int timeout_ms, struct control_client **ret_c)
{
	_cleanup_(control_client_freep) struct control_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	c->events = json_array();
	if (!c->events)
		return -ENOMEM;
	r = dial(path, timeout_ms, &c->fd);
	if (r == 0)
		r = next_line(c, deadline_in(timeout_ms), &c->hello);
	if (r < 0)
		return r;
	if (json_object_get(c->hello, "error"))
		return -EBUSY; /* the only thing said instead of a greeting */
	if (!json_is_string(json_object_get(c->hello, "stile")))
		return -EPROTO;
	if (json_integer_value(json_object_get(c->hello, "protocol")) != CONTROL_PROTOCOL)
		return -EPROTONOSUPPORT;
	*ret_c = steal_ptr(&c);
	return 0;
}

struct control_client *control_client_free(struct control_client *c)
{
	if (!c)
		return NULL;
	if (c->fd >= 0)
		close(c->fd);
	json_decref(c->hello);
	json_decref(c->events);
	free(c->in);
	free(c);
	return NULL;
}

const json_t *control_hello(const struct control_client *c)
{
	return c->hello;
}

void control_on_progress(struct control_client *c, void (*fn)(const json_t *, void *), void *arg)
{
	c->on_progress = fn;
	c->progress_arg = arg;
}

static int keep_event(struct control_client *c, json_t *event)
{
	if (json_array_size(c->events) >= MAX_KEPT_EVENTS)
		json_array_remove(c->events, 0);
	return json_array_append(c->events, event) < 0 ? -ENOMEM : 0;
}

static int send_request(struct control_client *c, const char *verb, json_t *args, int64_t deadline)
{
	_cleanup_(json_decrefp) json_t *o = json_pack("{s:I, s:s, s:o*}", "id", ++c->last_id, "verb",
						      verb, "args", args);
	_cleanup_(freep) char *line = NULL;
	size_t n;

	if (!o)
		return -ENOMEM;
	line = json_dumps(o, JSON_COMPACT);
	if (!line)
		return -ENOMEM;
	n = strlen(line);
	line[n] = '\n'; /* the NUL is not sent */
	return send_all(c, line, n + 1, deadline);
}

/* What a line is to the call under way; events and late answers are dealt with here. */
enum line_kind { LINE_OTHER, LINE_PROGRESS, LINE_ANSWER };

static int take_line(struct control_client *c, const json_t *o, enum line_kind *ret_kind)
{
	const json_t *id = json_object_get(o, "id");
	json_t *event = json_object_get(o, "event"), *progress = json_object_get(o, "progress");

	*ret_kind = LINE_OTHER;
	if (event)
		return keep_event(c, event);
	/* id null: the service did not understand our line, and only one call is under way. */
	if (!json_is_null(id) && json_integer_value(id) != c->last_id)
		return 0;
	*ret_kind = progress ? LINE_PROGRESS : LINE_ANSWER;
	if (progress && c->on_progress)
		c->on_progress(progress, c->progress_arg);
	return 0;
}

static int read_answer(const json_t *o, json_t **ret_result, json_t **ret_error)
{
	json_t *result = json_object_get(o, "result"), *error = json_object_get(o, "error");

	if (result) {
		*ret_result = json_incref(result);
		return 0;
	}
	if (!json_is_object(error))
		return -EPROTO;
	*ret_error = json_incref(error);
	return CONTROL_ERROR;
}

int control_call(struct control_client *c, const char *verb, json_t *args, json_t **ret_result,
		 json_t **ret_error)
{
	int64_t deadline = deadline_in(c->timeout_ms);
	enum line_kind kind;
	int r;

	r = send_request(c, verb, args, deadline);
	while (r == 0) {
		_cleanup_(json_decrefp) json_t *o = NULL;
		r = next_line(c, deadline, &o);
		if (r == 0)
			r = take_line(c, o, &kind);
		if (r == 0 && kind == LINE_ANSWER)
			return read_answer(o, ret_result, ret_error);
		if (r == 0 && kind == LINE_PROGRESS)
			deadline = deadline_in(c->timeout_ms);
	}
	return r;
}

int control_next_event(struct control_client *c, int timeout_ms, json_t **ret_event)
{
	int64_t deadline = deadline_in(timeout_ms);
	json_t *event;
	int r = 0;

	while (r == 0 && json_array_size(c->events) == 0) {
		_cleanup_(json_decrefp) json_t *o = NULL;
		r = next_line(c, deadline, &o);
		event = r == 0 ? json_object_get(o, "event") : NULL;
		if (event)
			r = keep_event(c, event);
	}
	if (r < 0)
		return r;
	*ret_event = json_incref(json_array_get(c->events, 0));
	json_array_remove(c->events, 0);
	return 0;
}
