/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol's client in a loop, over common/stream. A call is sent when the greeting is there; until then it waits
 * in its list like those that were sent. Answers find their call by its id.
 *
 * Calls that fail at once are failed by a timer, so that no answer comes from inside of control_link_call().
 */
#include "common/control_link.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include "common/fd.h"
#include "common/stream.h"

enum { MAX_ANSWER = CONTROL_MAX_LINE + 4096, MAX_OUT = 8 << 20, HELLO_MS = 5000 };

struct call {
	struct list node;
	struct control_link *c;
	struct timer timer;
	uint64_t id;
	char *line; /* until it is sent */
	size_t line_n;
	int failed; /* the timer says so: -errno */
	uint64_t timeout_ms;
	control_answer_fn fn;
	void *arg;
	void (*on_progress)(json_t *progress, void *arg);
	void *progress_arg;
};
struct control_link {
	struct loop *loop;
	struct stream *s;
	struct timer hello_timer;
	struct list calls;
	uint64_t last_id, subscription;
	bool up, in_callback, freed;
	const struct control_link_ops *ops;
	void *arg;
};

static void call_end(struct call *k, int r, json_t *result, json_t *error)
{
	control_answer_fn fn = k->fn;
	void *arg = k->arg;

	list_unlink(&k->node);
	timer_stop(&k->timer);
	free(k->line);
	free(k);
	if (fn)
		fn(r, result, error, arg);
}

static void fail_all(struct control_link *c, int r)
{
	while (!list_empty(&c->calls))
		call_end(list_entry(c->calls.next, struct call, node), r, NULL, NULL);
}

static void go_down(struct control_link *c, int err, const char *why)
{
	if (c->freed)
		return;
	c->up = false;
	timer_stop(&c->hello_timer);
	c->s = stream_free(c->s);
	fail_all(c, -ECONNRESET);
	if (!c->freed)
		c->ops->on_down(c, err, why, c->arg);
}

/* ---- calls ---- */

static int send_line(struct control_link *c, json_t *o /* taken */)
{
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t n = line ? strlen(line) : 0;
	int r = -ENOMEM;

	json_decref(o);
	if (line) {
		line[n] = '\n'; /* the NUL is not sent */
		r = stream_write(c->s, line, n + 1);
	}
	free(line);
	return r;
}

static void on_call_timer(struct timer *t, uint64_t now)
{
	struct call *k = container_of(t, struct call, timer);
	struct control_link *c = k->c;
	uint64_t id = k->id;
	bool sent = !k->line;

	(void)now;
	if (!k->failed && sent && c->s)
		(void)send_line(c, json_pack("{s:I, s:I}", "id", (json_int_t)++c->last_id, "cancel", (json_int_t)id));
	call_end(k, k->failed ? k->failed : -ETIMEDOUT, NULL, NULL);
}

static void fail_soon(struct call *k, int r)
{
	k->failed = r;
	loop_timer_set(k->c->loop, &k->timer, 0);
}

static void send_call(struct call *k)
{
	int r = stream_write(k->c->s, k->line, k->line_n);

	if (r < 0) {
		fail_soon(k, r == -ENOBUFS ? -ETIMEDOUT : r); /* it does not read */
		return;
	}
	free(k->line);
	k->line = NULL;
}

static char *call_line(uint64_t id, const char *verb, json_t *args, size_t *ret_n)
{
	json_t *o = json_pack("{s:I, s:s, s:O*}", "id", (json_int_t)id, "verb", verb, "args", args);
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (line) {
		*ret_n = strlen(line) + 1;
		line[*ret_n - 1] = '\n';
	}
	return line;
}

uint64_t control_link_call(struct control_link *c, const char *verb, json_t *args, uint64_t timeout_ms, control_answer_fn fn, void *arg)
{
	struct call *k = calloc(1, sizeof(*k));

	if (!k) { /* nothing is left to wait with */
		json_decref(args);
		fn(-ENOMEM, NULL, NULL, arg);
		return 0;
	}
	*k = (struct call){ .c = c, .id = ++c->last_id, .timeout_ms = timeout_ms, .fn = fn, .arg = arg, .timer.fire = on_call_timer };
	list_append(&c->calls, &k->node);
	k->line = call_line(k->id, verb, args, &k->line_n);
	json_decref(args);
	loop_timer_set(c->loop, &k->timer, timeout_ms);
	if (!k->line)
		fail_soon(k, -ENOMEM);
	else if (!c->s)
		fail_soon(k, -ECONNRESET);
	else if (c->up)
		send_call(k);
	return k->id;
}

static struct call *find_call(struct control_link *c, uint64_t id)
{
	list_for_each(it, &c->calls) {
		struct call *k = list_entry(it, struct call, node);

		if (k->id == id)
			return k;
	}
	return NULL;
}

void control_link_on_progress(struct control_link *c, uint64_t id, void (*fn)(json_t *progress, void *arg), void *arg)
{
	struct call *k = find_call(c, id);

	if (!k)
		return;
	k->on_progress = fn;
	k->progress_arg = arg;
}

void control_link_forget(struct control_link *c, uint64_t id)
{
	struct call *k = find_call(c, id);

	if (!k)
		return;
	if (!k->line && c->s)
		(void)send_line(c, json_pack("{s:I, s:I}", "id", (json_int_t)++c->last_id, "cancel", (json_int_t)id));
	k->fn = NULL;
	call_end(k, 0, NULL, NULL);
}

void control_link_subscribe(struct control_link *c, json_t *topics)
{
	uint64_t old = c->subscription;

	if (!c->s || !c->up) {
		json_decref(topics);
		return;
	}
	c->subscription = ++c->last_id;
	(void)send_line(c, json_pack("{s:I, s:s, s:{s:o}}", "id", (json_int_t)c->subscription, "verb", "events.subscribe", "args", "topics",
				     topics));
	if (old)
		(void)send_line(c, json_pack("{s:I, s:I}", "id", (json_int_t)++c->last_id, "cancel", (json_int_t)old));
}

/* ---- lines that come ---- */

static bool is_hello(const json_t *o)
{
	return json_is_string(json_object_get(o, "stile")) &&
	       json_integer_value(json_object_get(o, "protocol")) == CONTROL_PROTOCOL;
}

static void take_hello(struct control_link *c, const json_t *o)
{
	if (!is_hello(o)) {
		go_down(c, EPROTO, json_object_get(o, "error") ? "the service takes no more connections" : "this is no control socket of Stile");
		return;
	}
	c->up = true;
	timer_stop(&c->hello_timer);
	c->ops->on_up(c, o, c->arg);
	if (c->freed || !c->s)
		return;
	list_for_each_safe(it, &c->calls) {
		struct call *k = list_entry(it, struct call, node);

		if (k->line)
			send_call(k);
	}
}

static void take_line(struct control_link *c, const json_t *o)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(o, "id"));
	json_t *event = json_object_get(o, "event"), *result = json_object_get(o, "result"), *error = json_object_get(o, "error");
	struct call *k;

	if (!c->up) {
		take_hello(c, o);
		return;
	}
	if (event) {
		if (id == c->subscription)
			c->ops->on_event(c, event, c->arg);
		return;
	}
	k = find_call(c, id);
	if (k && (result || json_is_object(error))) {
		call_end(k, 0, result, result ? NULL : error);
	} else if (k && json_object_get(o, "progress") && !k->failed) {
		loop_timer_set(c->loop, &k->timer, k->timeout_ms);
		if (k->on_progress)
			k->on_progress(json_object_get(o, "progress"), k->progress_arg);
	} /* else an answer that nobody waits for any more */
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct control_link *c = arg;
	size_t taken = 0;
	uint8_t *nl;

	(void)s;
	while (!c->freed && c->s && taken < n && (nl = memchr(p + taken, '\n', n - taken))) {
		json_t *o = json_loadb((const char *)p + taken, (size_t)(nl - (p + taken)), JSON_REJECT_DUPLICATES, NULL);

		taken = (size_t)(nl - p) + 1;
		if (json_is_object(o))
			take_line(c, o);
		else
			go_down(c, EPROTO, "the service sent a line that is no JSON object");
		json_decref(o);
	}
	return taken;
}

static size_t on_stream_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct control_link *c = arg;
	size_t taken;

	c->in_callback = true;
	taken = on_data(s, p, n, c);
	c->in_callback = false;
	if (c->freed)
		free(c);
	return taken;
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct control_link *c = arg;

	(void)s;
	c->in_callback = true;
	go_down(c, err, why);
	c->in_callback = false;
	if (c->freed)
		free(c);
}

static const struct stream_ops stream_ops = { .on_data = on_stream_data, .on_close = on_close };

static void on_no_hello(struct timer *t, uint64_t now)
{
	struct control_link *c = container_of(t, struct control_link, hello_timer);

	(void)now;
	c->in_callback = true;
	go_down(c, ETIMEDOUT, "the service accepts connections and says nothing");
	c->in_callback = false;
	if (c->freed)
		free(c);
}

/* ---- life ---- */

static int dial(const char *path, int *ret_fd)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno; /* EAGAIN: its queue is full */
	*ret_fd = steal_fd(&fd);
	return 0;
}

int control_link_new(struct loop *l, const char *path, const struct control_link_ops *ops, void *arg, struct control_link **ret_c)
{
	struct stream_options o = { .max_in = MAX_ANSWER, .max_out = MAX_OUT };
	struct control_link *c;
	int fd = -1, r = dial(path, &fd);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct control_link){ .loop = l, .ops = ops, .arg = arg, .hello_timer.fire = on_no_hello };
	list_init(&c->calls);
	r = stream_new(l, fd, &o, &stream_ops, c, &c->s);
	if (r < 0) {
		free(c);
		return r;
	}
	loop_timer_set(l, &c->hello_timer, HELLO_MS);
	*ret_c = c;
	return 0;
}

struct control_link *control_link_free(struct control_link *c)
{
	if (!c || c->freed)
		return NULL;
	c->freed = true;
	timer_stop(&c->hello_timer);
	c->s = stream_free(c->s);
	fail_all(c, -ECONNRESET);
	if (!c->in_callback)
		free(c);
	return NULL;
}

bool control_link_is_up(const struct control_link *c)
{
	return c->up;
}
