/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server under test and its verbs, each of which does one thing that a service may do: answer at
 * once, later, with too much, with nothing, refuse, publish, show progress. The server runs in a
 * thread of its own, as it does in a service.
 */
#include "tests/unit/control_world.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* --- verbs of the server under test --- */

static void on_echo(struct control_request *rq, const json_t *args, void *arg)
{
	(void)arg;
	control_reply(rq, json_deep_copy(args));
}

static void on_who(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_reply(rq, json_pack("{s:s, s:i}", "who", control_request_who(rq), "role",
				    (int)control_request_role(rq)));
}

static void on_cancelled(struct control_request *rq, void *arg)
{
	struct world *w = arg;

	(void)rq;
	w->cancelled++;
}

static void on_keep(struct control_request *rq, const json_t *args, void *arg)
{
	struct world *w = arg;

	if (json_is_true(json_object_get(args, "cancellable")))
		control_on_cancel(rq, on_cancelled, w);
	w->kept[w->n_kept++] = rq;
}

static void on_release(struct control_request *rq, const json_t *args, void *arg)
{
	struct world *w = arg;
	size_t n = w->n_kept, bytes = (size_t)json_integer_value(json_object_get(args, "bytes"));
	char *blob = calloc(1, bytes + 1);

	memset(blob, 'x', bytes);
	for (size_t i = 0; i < n; i++)
		control_reply(w->kept[i], json_pack("{s:i, s:s}", "released", (int)i, "blob", blob));
	w->n_kept = 0;
	free(blob);
	control_reply(rq, json_pack("{s:i}", "released", (int)n));
}

static void on_count_cancelled(struct control_request *rq, const json_t *args, void *arg)
{
	struct world *w = arg;

	(void)args;
	control_reply(rq, json_pack("{s:i, s:i}", "cancelled", (int)w->cancelled, "kept", (int)w->n_kept));
}

static void on_big(struct control_request *rq, const json_t *args, void *arg)
{
	json_t *rows = json_array();
	json_int_t n = json_integer_value(json_object_get(args, "rows"));

	(void)arg;
	for (json_int_t i = 0; i < n; i++)
		json_array_append_new(rows, json_string("0123456789abcdef0123456789abcdef0123456789abcdef"));
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

static void on_publish(struct control_request *rq, const json_t *args, void *arg)
{
	struct world *w = arg;
	json_int_t n = json_integer_value(json_object_get(args, "n"));
	const char *topic = json_string_value(json_object_get(args, "topic"));
	const char *text = json_string_value(json_object_get(args, "text"));
	bool wanted = control_has_subscribers(w->server, topic);

	for (json_int_t i = 0; i < n; i++)
		control_publish(w->server, topic, json_pack("{s:I, s:s}", "i", i, "text", text ? text : ""));
	control_reply(rq, json_pack("{s:b}", "wanted", wanted));
}

static void on_work(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	for (int i = 0; i < 3; i++)
		control_progress(rq, json_pack("{s:i}", "step", i));
	control_reply(rq, json_pack("{s:b}", "done", 1));
}

static void on_refuse(struct control_request *rq, const json_t *args, void *arg)
{
	const char *why = json_string_value(json_object_get(args, "why"));

	(void)arg;
	if (why)
		control_fail(rq, "failed", NULL, "%s", why);
	else
		control_fail(rq, "not-found", "try another", "no session %d", 17);
}

static void on_out_of_memory(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_reply(rq, NULL);
}

static const struct control_verb verbs[] = {
	{ "test.echo", CONTROL_VIEWER, on_echo, "Answers with its arguments." },
	{ "test.who", CONTROL_VIEWER, on_who, "Says who asks." },
	{ "test.keep", CONTROL_VIEWER, on_keep, "Answers later." },
	{ "test.release", CONTROL_VIEWER, on_release, "Answers what was kept." },
	{ "test.cancelled", CONTROL_VIEWER, on_count_cancelled, "Counts." },
	{ "test.big", CONTROL_VIEWER, on_big, "A long answer." },
	{ "test.publish", CONTROL_VIEWER, on_publish, "Publishes events." },
	{ "test.work", CONTROL_VIEWER, on_work, "Shows progress." },
	{ "test.refuse", CONTROL_VIEWER, on_refuse, "Refuses." },
	{ "test.memory", CONTROL_VIEWER, on_out_of_memory, "Has no memory." },
	{ "test.operate", CONTROL_OPERATOR, on_echo, "For operators." },
	{ "test.own", CONTROL_ADMIN, on_echo, "For admins." },
};

/* --- the world --- */

struct control_options world_options(const struct world *w)
{
	return (struct control_options){ .path = w->path, .program = "stile-test", .instance = "lab",
					 .version = "1.2.3", .mode = 0666, .group = "daemon" };
}

static void *run(void *arg)
{
	struct world *w = arg;

	loop_run(w->loop);
	return NULL;
}

static void on_stop_mail(struct mail *m, struct loop *l)
{
	free(m);
	loop_stop(l);
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct control_options o;
	char err[256] = "";

	strcpy(w->dir, "/tmp/stile-control-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(chmod(w->dir, 0755), 0);
	snprintf(w->path, sizeof(w->path), "%s/s.sock", w->dir);
	o = world_options(w);
	assert_int_equal(loop_new(&w->loop), 0);
	if (control_server_new(w->loop, &o, err, sizeof(err), &w->server) < 0)
		fail_msg("%s", err);
	assert_int_equal(control_add_verbs(w->server, verbs, ARRAY_LEN(verbs), w), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	struct mail *m = calloc(1, sizeof(*m));

	m->deliver = on_stop_mail;
	loop_post(w->loop, m);
	pthread_join(w->thread, NULL);
	control_server_free(w->server);
	for (size_t i = 0; i < w->n_kept; i++)
		control_reply(w->kept[i], json_object()); /* after the server: nobody is there */
	loop_free(w->loop);
	assert_int_not_equal(access(w->path, F_OK), 0);
	assert_int_equal(rmdir(w->dir), 0); /* the lock is gone too */
	free(w);
	return 0;
}

struct control_client *dial(const struct world *w)
{
	struct control_client *c = NULL;

	assert_int_equal(control_connect(w->path, 60000, &c), 0);
	return c;
}

json_t *call(struct control_client *c, const char *verb, json_t *args)
{
	json_t *result = NULL, *error = NULL;
	int r = control_call(c, verb, args, &result, &error);

	if (r == CONTROL_ERROR)
		fail_msg("%s: %s", verb, json_string_value(json_object_get(error, "text")));
	assert_int_equal(r, 0);
	return result;
}

void assert_refused(struct control_client *c, const char *verb, json_t *args, const char *code,
			   const char *hint)
{
	json_t *result = NULL, *error = NULL;

	assert_int_equal(control_call(c, verb, args, &result, &error), CONTROL_ERROR);
	assert_string_equal(json_string_value(json_object_get(error, "code")), code);
	if (hint)
		assert_non_null(strstr(json_string_value(json_object_get(error, "hint")), hint));
	json_decref(error);
}

/* Raw connections, for what the client library would never send. */

int raw_dial(const struct world *w)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(at.sun_path, w->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

void raw_send(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

char *raw_line(int fd)
{
	static char line[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n < sizeof(line) - 1) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		if (recv(fd, line + n, 1, 0) <= 0)
			return NULL;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return line;
}

void assert_line(int fd, const char *part)
{
	const char *line = raw_line(fd);

	assert_non_null(line);
	if (!strstr(line, part))
		fail_msg("no %s in %s", part, line);
}

int raw_greeted(const struct world *w)
{
	int fd = raw_dial(w);

	assert_line(fd, "{\"stile\":\"stile-test\"");
	return fd;
}

json_int_t int_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}
