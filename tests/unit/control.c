/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server as its clients meet it: a real server in a thread, a real socket, and raw
 * lines where a well-behaved client would not send them. The client library is tested by the way.
 * Run as root, other roles are tried by children that change their uid.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "common/control.h"
#include "common/fd.h"

struct world {
	char dir[64], path[96];
	struct loop *loop;
	struct control_server *server;
	pthread_t thread;
	struct control_request *kept[100]; /* by test.keep, until test.release */
	size_t n_kept;
	_Atomic unsigned cancelled;
};

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
	(void)args;
	(void)arg;
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

static struct control_options options(const struct world *w)
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

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct control_options o;
	char err[256] = "";

	strcpy(w->dir, "/tmp/stile-control-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(chmod(w->dir, 0755), 0);
	snprintf(w->path, sizeof(w->path), "%s/s.sock", w->dir);
	o = options(w);
	assert_int_equal(loop_new(&w->loop), 0);
	if (control_server_new(w->loop, &o, err, sizeof(err), &w->server) < 0)
		fail_msg("%s", err);
	assert_int_equal(control_add_verbs(w->server, verbs, ARRAY_LEN(verbs), w), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
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

static struct control_client *dial(const struct world *w)
{
	struct control_client *c = NULL;

	assert_int_equal(control_connect(w->path, 5000, &c), 0);
	return c;
}

static json_t *call(struct control_client *c, const char *verb, json_t *args)
{
	json_t *result = NULL, *error = NULL;
	int r = control_call(c, verb, args, &result, &error);

	if (r == CONTROL_ERROR)
		fail_msg("%s: %s", verb, json_string_value(json_object_get(error, "text")));
	assert_int_equal(r, 0);
	return result;
}

static void assert_refused(struct control_client *c, const char *verb, json_t *args, const char *code,
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

static int raw_dial(const struct world *w)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(at.sun_path, w->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void raw_send(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

/* One line, without its newline; NULL at the end of the stream. */
static char *raw_line(int fd)
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

static void assert_line(int fd, const char *part)
{
	const char *line = raw_line(fd);

	assert_non_null(line);
	if (!strstr(line, part))
		fail_msg("no %s in %s", part, line);
}

static int raw_greeted(const struct world *w)
{
	int fd = raw_dial(w);

	assert_line(fd, "{\"stile\":\"stile-test\"");
	return fd;
}

/* --- requests --- */

static void the_greeting_names_program_instance_version_and_role(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	const json_t *h = control_hello(c);

	assert_string_equal(json_string_value(json_object_get(h, "stile")), "stile-test");
	assert_string_equal(json_string_value(json_object_get(h, "instance")), "lab");
	assert_string_equal(json_string_value(json_object_get(h, "version")), "1.2.3");
	assert_int_equal(json_integer_value(json_object_get(h, "protocol")), 1);
	assert_string_equal(json_string_value(json_object_get(h, "role")), "admin");
}

static void a_call_is_answered_with_its_result(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *r = call(c, "test.echo", json_pack("{s:s}", "key", "v\xc3\xa4lue\n"));

	assert_string_equal(json_string_value(json_object_get(r, "key")), "v\xc3\xa4lue\n");
	json_decref(r);
	r = call(c, "test.echo", NULL);
	assert_true(json_is_object(r));
	json_decref(r);
	r = call(c, "ping", NULL);
	assert_true(json_integer_value(json_object_get(r, "time")) > 1500000000000);
	json_decref(r);
}

static void a_refusal_has_a_code_a_text_and_a_hint(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":7,\"verb\":\"test.refuse\"}\n");
	assert_string_equal(raw_line(fd), "{\"id\":7,\"error\":{\"code\":\"not-found\",\"text\":\"no session 17\","
					  "\"hint\":\"try another\"}}");
	raw_send(fd, "{\"id\":8,\"verb\":\"test.memory\"}\n");
	assert_line(fd, "{\"id\":8,\"error\":{\"code\":\"failed\",\"text\":\"out of memory\"}}");
	close(fd);
}

static void an_unknown_verb_is_answered_with_the_nearest_one(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);

	assert_refused(c, "test.ecko", NULL, "unknown-verb", "did you mean 'test.echo'?");
	assert_refused(c, "nothing.like.it", NULL, "unknown-verb", "'verbs' lists");
}

static void the_verbs_are_listed_with_their_roles(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *r = call(c, "verbs", NULL), *row, *rows = json_object_get(r, "rows");
	size_t i;
	bool seen = false;

	json_array_foreach(rows, i, row) {
		if (strcmp(json_string_value(json_object_get(row, "verb")), "test.own") == 0) {
			seen = true;
			assert_string_equal(json_string_value(json_object_get(row, "role")), "admin");
			assert_true(json_is_true(json_object_get(row, "allowed")));
		}
	}
	assert_true(seen);
	json_decref(r);
}

static void bad_lines_are_answered_and_the_connection_goes_on(void **state)
{
	static const struct {
		const char *line, *answer;
	} cases[] = {
		{ "\n", "{\"id\":null,\"error\":{\"code\":\"bad-request\",\"text\":\"not JSON\"" },
		{ "hello\n", "not JSON" },
		{ "{\"id\":1,\"verb\":\"ping\"\n", "not JSON" },
		{ "{\"id\":1,\"verb\":\"ping\"} {}\n", "something follows the object" },
		{ "[1,2]\n", "not a JSON object" },
		{ "{\"id\":1,\"id\":2,\"verb\":\"ping\"}\n", "stands twice" },
		{ "{\"id\":1,\"verb\":\"pi\\u0000ng\"}\n", "NUL" },
		{ "{\"id\":1,\"verb\":\"\xff\"}\n", "not UTF-8" },
		{ "{\"id\":99999999999999999999,\"verb\":\"ping\"}\n", "out of range" },
		{ "{\"verb\":\"ping\"}\n", "needs an \\\"id\\\"" },
		{ "{\"id\":-1,\"verb\":\"ping\"}\n", "needs an \\\"id\\\"" },
		{ "{\"id\":9007199254740992,\"verb\":\"ping\"}\n", "needs an \\\"id\\\"" },
		{ "{\"id\":\"x\",\"verb\":\"ping\"}\n", "needs an \\\"id\\\"" },
		{ "{\"id\":1}\n", "{\"id\":1,\"error\":{\"code\":\"bad-request\"" },
		{ "{\"id\":1,\"verb\":5}\n", "needs a \\\"verb\\\"" },
		{ "{\"id\":1,\"verb\":\"ping\",\"args\":[]}\n", "\\\"args\\\" is an object" },
		{ "{\"id\":1,\"verb\":\"ping\",\"cancel\":2}\n", "needs a \\\"verb\\\"" },
		{ "{\"id\":1,\"cancel\":\"x\"}\n", "\\\"cancel\\\" is the id" },
		{ "{\"id\":1,\"cancel\":77}\n", "not-found" },
		{ "{\"id\":1,\"verb\":\"ping\",\"extra\":1}\n", "and no other" },
	};
	int fd = raw_greeted(*state);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		raw_send(fd, cases[i].line);
		assert_line(fd, cases[i].answer);
	}
	raw_send(fd, "{\"id\":9007199254740991,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":9007199254740991,\"result\"");
	close(fd);
}

static void a_line_without_end_closes_the_connection(void **state)
{
	static char block[64 << 10];
	int fd = raw_greeted(*state);
	ssize_t sent = 0, n;

	memset(block, 'a', sizeof(block));
	while (sent < 4 * CONTROL_MAX_LINE && (n = send(fd, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		sent += n;
	assert_true(sent >= CONTROL_MAX_LINE);
	assert_true(sent < 4 * CONTROL_MAX_LINE);
	assert_line(fd, "\"too-long\"");
	assert_null(raw_line(fd));
	close(fd);
}

static void a_line_of_the_full_length_is_served(void **state)
{
	char *line = malloc(CONTROL_MAX_LINE + 2);
	int fd = raw_greeted(*state);
	size_t n = (size_t)snprintf(line, CONTROL_MAX_LINE, "{\"id\":1,\"verb\":\"ping\"}"), sent = 0;

	memset(line + n, ' ', CONTROL_MAX_LINE - n);
	line[CONTROL_MAX_LINE] = '\n';
	while (sent < CONTROL_MAX_LINE + 1) {
		ssize_t k = send(fd, line + sent, CONTROL_MAX_LINE + 1 - sent, MSG_NOSIGNAL);
		assert_true(k > 0);
		sent += (size_t)k;
	}
	assert_line(fd, "{\"id\":1,\"result\"");
	free(line);
	close(fd);
}

static void a_request_sent_byte_by_byte_is_served(void **state)
{
	const char *line = "{\"id\":5,\"verb\":\"test.echo\",\"args\":{\"a\":1}}\n";
	int fd = raw_greeted(*state);

	for (; *line; line++) {
		assert_int_equal(send(fd, line, 1, MSG_NOSIGNAL), 1);
		usleep(200);
	}
	assert_string_equal(raw_line(fd), "{\"id\":5,\"result\":{\"a\":1}}");
	close(fd);
}

static void answers_come_in_the_order_that_the_service_ends_them(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"test.keep\"}\n{\"id\":2,\"verb\":\"ping\"}\n"
		     "{\"id\":3,\"verb\":\"test.release\"}\n");
	assert_line(fd, "{\"id\":2,\"result\"");
	assert_line(fd, "{\"id\":1,\"result\"");
	assert_line(fd, "{\"id\":3,\"result\"");
	close(fd);
}

static void an_id_in_use_is_refused_without_disturbing_its_owner(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"test.keep\"}\n{\"id\":1,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":null,\"error\":{\"code\":\"bad-request\",\"text\":\"the id 1 is in use\"");
	raw_send(fd, "{\"id\":2,\"verb\":\"test.release\"}\n");
	assert_line(fd, "{\"id\":1,\"result\"");
	assert_line(fd, "{\"id\":2,\"result\"");
	raw_send(fd, "{\"id\":1,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":1,\"result\"");
	close(fd);
}

static void more_than_64_requests_in_flight_are_refused(void **state)
{
	char line[64];
	int fd = raw_greeted(*state);

	for (int i = 0; i < 64; i++) {
		snprintf(line, sizeof(line), "{\"id\":%d,\"verb\":\"test.keep\"}\n", i);
		raw_send(fd, line);
	}
	raw_send(fd, "{\"id\":64,\"verb\":\"test.keep\"}\n");
	assert_line(fd, "{\"id\":64,\"error\":{\"code\":\"busy\"");
	close(fd);
}

static void cancel_reaches_the_work_and_both_are_answered(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"test.keep\",\"args\":{\"cancellable\":true}}\n"
		     "{\"id\":2,\"verb\":\"test.keep\"}\n{\"id\":3,\"cancel\":1}\n{\"id\":4,\"cancel\":1}\n"
		     "{\"id\":5,\"cancel\":2}\n{\"id\":6,\"verb\":\"test.cancelled\"}\n");
	assert_line(fd, "{\"id\":3,\"result\":{\"cancelled\":true}}");
	assert_line(fd, "{\"id\":4,\"result\":{\"cancelled\":true}}");
	assert_line(fd, "{\"id\":5,\"error\":{\"code\":\"failed\",\"text\":\"this request cannot be cancelled");
	assert_line(fd, "{\"id\":6,\"result\":{\"cancelled\":1,\"kept\":2}}");
	raw_send(fd, "{\"id\":7,\"verb\":\"test.release\"}\n");
	assert_line(fd, "{\"id\":1,\"result\"");
	close(fd);
}

static void work_for_a_client_that_went_is_told_and_its_answer_dropped(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	int fd = raw_greeted(*state);
	json_t *r = NULL;

	raw_send(fd, "{\"id\":1,\"verb\":\"test.keep\",\"args\":{\"cancellable\":true}}\n"
		     "{\"id\":2,\"verb\":\"test.keep\"}\n{\"id\":3,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":3");
	close(fd);
	for (int i = 0; i < 500; i++) {
		json_decref(r);
		r = call(c, "test.cancelled", NULL);
		if (json_integer_value(json_object_get(r, "cancelled")))
			break;
		usleep(2000);
	}
	assert_int_equal(json_integer_value(json_object_get(r, "cancelled")), 1);
	assert_int_equal(json_integer_value(json_object_get(r, "kept")), 2);
	json_decref(r);
	json_decref(call(c, "test.release", NULL));
	json_decref(call(c, "ping", NULL));
}

static void a_client_that_only_stops_sending_gets_its_answers(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"test.keep\"}\n{\"id\":2,\"verb\":\"ping\"}\n{\"id\":3,\"ve");
	shutdown(fd, SHUT_WR);
	assert_line(fd, "{\"id\":2");
	json_decref(call(c, "test.release", NULL));
	assert_line(fd, "{\"id\":1,\"result\"");
	assert_null(raw_line(fd));
	close(fd);
}

static void progress_comes_before_the_result(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"test.work\"}\n");
	assert_string_equal(raw_line(fd), "{\"id\":1,\"progress\":{\"step\":0}}");
	assert_string_equal(raw_line(fd), "{\"id\":1,\"progress\":{\"step\":1}}");
	assert_string_equal(raw_line(fd), "{\"id\":1,\"progress\":{\"step\":2}}");
	assert_string_equal(raw_line(fd), "{\"id\":1,\"result\":{\"done\":true}}");
	close(fd);
}

static void count_step(const json_t *progress, void *arg)
{
	assert_true(json_is_integer(json_object_get(progress, "step")));
	(*(int *)arg)++;
}

static void the_client_library_reports_progress(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	int steps = 0;

	control_on_progress(c, count_step, &steps);
	json_decref(call(c, "test.work", NULL));
	assert_int_equal(steps, 3);
}

static void a_call_that_is_not_answered_times_out_and_the_next_one_works(void **state)
{
	struct world *w = *state;
	_cleanup_(control_client_freep) struct control_client *c = NULL;
	json_t *r = NULL, *e = NULL;

	assert_int_equal(control_connect(w->path, 100, &c), 0);
	assert_int_equal(control_call(c, "test.keep", NULL, &r, &e), -ETIMEDOUT);
	r = call(c, "test.release", NULL); /* the late answer to the first comes before it */
	assert_int_equal(json_integer_value(json_object_get(r, "released")), 1);
	json_decref(r);
}

static void an_answer_that_fits_no_line_becomes_an_error(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *r = call(c, "test.big", json_pack("{s:i}", "rows", 20000));

	assert_int_equal(json_array_size(json_object_get(r, "rows")), 20000);
	json_decref(r);
	assert_refused(c, "test.big", json_pack("{s:i}", "rows", 25000), "too-long", "limit");
}

/* --- clients that do not read --- */

/* Sends until the socket has taken nothing for a while; the number of whole lines it took. */
static int send_until_held_back(int fd, const char *line, int at_most)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	for (int sent = 0; sent < at_most; sent++) {
		const char *left = line;
		while (*left) {
			ssize_t n = send(fd, left, strlen(left), MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n > 0)
				left += n;
			else if (errno != EAGAIN || poll(&p, 1, 300) == 0)
				return sent;
		}
	}
	return at_most;
}

static void a_client_that_sends_without_reading_is_held_back(void **state)
{
	int fd = raw_greeted(*state);
	int sent = send_until_held_back(fd, "{\"id\":1,\"verb\":\"verbs\"}\n", 100000);

	assert_true(sent > 500);
	assert_true(sent < 100000); /* each answer has 1 KB: 100 MB would have to be somewhere */
	assert_line(fd, "{\"id\":1,\"result\"");
	close(fd);
}

static void held_back_requests_are_served_when_the_client_reads(void **state)
{
	enum { N = 3000 };
	struct world *w = *state;
	pid_t pid;
	int status, fd = raw_greeted(w);
	char line[64];

	pid = fork();
	if (pid == 0) { /* the sender; the parent reads only later */
		for (int i = 0; i < N; i++) {
			int n = snprintf(line, sizeof(line), "{\"id\":%d,\"verb\":\"verbs\"}\n", i);
			if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
				_exit(1);
		}
		_exit(0);
	}
	usleep(300000);
	for (int i = 0; i < N; i++) {
		snprintf(line, sizeof(line), "{\"id\":%d,\"result\"", i);
		assert_line(fd, line);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
}

static void a_client_with_8_mib_of_unread_answers_is_closed(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	int fd = raw_greeted(*state);
	char line[64];
	size_t n = 0;
	ssize_t k;
	static char block[64 << 10];

	for (int i = 0; i < 60; i++) {
		snprintf(line, sizeof(line), "{\"id\":%d,\"verb\":\"test.keep\"}\n", i);
		raw_send(fd, line);
	}
	raw_send(fd, "{\"id\":100,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":100");
	json_decref(call(c, "test.release", json_pack("{s:i}", "bytes", 1000000)));
	while ((k = recv(fd, block, sizeof(block), 0)) > 0)
		n += (size_t)k;
	assert_true(n < 9 << 20);
	close(fd);
	json_decref(call(c, "ping", NULL));
}

/* --- events --- */

static json_int_t event_int(const json_t *e, const char *key)
{
	return json_integer_value(json_object_get(e, key));
}

static void publish(struct control_client *c, const char *topic, int n, bool wanted)
{
	json_t *r = call(c, "test.publish", json_pack("{s:s, s:i}", "topic", topic, "n", n));

	assert_int_equal(json_is_true(json_object_get(r, "wanted")), wanted);
	json_decref(r);
}

static void subscribe(struct control_client *c, const char *topic)
{
	json_decref(call(c, "events.subscribe", json_pack("{s:[s]}", "topics", topic)));
}

static void a_subscriber_gets_the_events_of_its_topics_in_order(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state), *other = dial(*state);
	json_t *e = NULL;

	publish(other, "turn.sessions", 1, false);
	subscribe(c, "turn.*");
	publish(other, "log.lines", 2, false);
	publish(other, "turn.sessions", 3, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(control_next_event(c, 5000, &e), 0);
		assert_int_equal(event_int(e, "seq"), i + 1);
		assert_string_equal(json_string_value(json_object_get(e, "topic")), "turn.sessions");
		assert_int_equal(event_int(json_object_get(e, "data"), "i"), i);
		json_decref(e);
	}
	assert_int_equal(control_next_event(c, 50, &e), -ETIMEDOUT);
}

static void events_that_come_during_a_call_are_kept(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *e = NULL;

	subscribe(c, "a.b");
	publish(c, "a.b", 200, true);
	publish(c, "a.b", 1, true);
	for (int i = 0; i < 201; i++) {
		assert_int_equal(control_next_event(c, 5000, &e), 0);
		assert_int_equal(event_int(e, "seq"), i + 1);
		json_decref(e);
	}
}

static void a_cancelled_subscription_is_silent_and_its_id_free(void **state)
{
	int fd = raw_greeted(*state);

	raw_send(fd, "{\"id\":1,\"verb\":\"events.subscribe\",\"args\":{\"topics\":[\"a.b\",\"*\"]}}\n");
	assert_line(fd, "{\"id\":1,\"result\":{\"topics\":[\"a.b\",\"*\"]}}");
	raw_send(fd, "{\"id\":1,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":null,\"error\"");
	raw_send(fd, "{\"id\":2,\"verb\":\"test.publish\",\"args\":{\"topic\":\"a.b\",\"n\":1}}\n");
	assert_line(fd, "{\"id\":1,\"event\":{\"seq\":1,\"topic\":\"a.b\",\"data\":{\"i\":0");
	assert_line(fd, "{\"id\":2,\"result\"");
	raw_send(fd, "{\"id\":3,\"cancel\":1}\n");
	assert_line(fd, "{\"id\":3,\"result\":{\"cancelled\":true}}");
	raw_send(fd, "{\"id\":1,\"verb\":\"test.publish\",\"args\":{\"topic\":\"a.b\",\"n\":1}}\n");
	assert_line(fd, "{\"id\":1,\"result\":{\"wanted\":false}}");
	close(fd);
}

static void bad_subscriptions_are_refused(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *many = json_array();

	for (int i = 0; i < 33; i++)
		json_array_append_new(many, json_string("a"));
	assert_refused(c, "events.subscribe", NULL, "bad-request", "topics");
	assert_refused(c, "events.subscribe", json_pack("{s:[]}", "topics"), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:[s]}", "topics", ""), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:[s]}", "topics", "a*"), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:[s]}", "topics", "*.a"), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:[s]}", "topics", "a\"b"), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:[i]}", "topics", 5), "bad-request", NULL);
	assert_refused(c, "events.subscribe", json_pack("{s:o}", "topics", many), "bad-request", NULL);
	for (int i = 0; i < 16; i++)
		subscribe(c, "a.b");
	assert_refused(c, "events.subscribe", json_pack("{s:[s]}", "topics", "a"), "busy", NULL);
}

static void a_subscriber_that_does_not_read_is_told_how_many_it_lost(void **state)
{
	enum { N = 20000 };
	_cleanup_(control_client_freep) struct control_client *slow = dial(*state), *c = dial(*state);
	json_int_t last = 0, lost = 0, got = 0;
	json_t *e = NULL;

	subscribe(slow, "a.b");
	subscribe(slow, "never.comes");
	for (int i = 0; i < 20; i++)
		publish(c, "a.b", N / 20, true);
	while (last < N) {
		assert_int_equal(control_next_event(slow, 5000, &e), 0);
		if (json_object_get(e, "lost")) {
			lost += event_int(e, "lost");
			assert_int_equal(event_int(e, "seq"), last + event_int(e, "lost"));
		} else {
			got++;
			assert_int_equal(event_int(e, "seq"), last + 1);
		}
		last = event_int(e, "seq");
		json_decref(e);
	}
	assert_true(lost > 0);
	assert_true(got >= 256); /* at least the ring, the newest */
	assert_int_equal(lost + got, N);
}

static void an_event_that_is_too_large_counts_as_lost(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	static char blob[70 << 10];
	json_t *e = NULL;

	memset(blob, 'x', sizeof(blob) - 1);
	subscribe(c, "a.b");
	json_decref(call(c, "test.publish", json_pack("{s:s, s:i, s:s}", "topic", "a.b", "n", 2, "text", blob)));
	publish(c, "a.b", 1, true);
	for (int lost = 0; lost < 2; lost += (int)event_int(e, "lost"), json_decref(e)) {
		assert_int_equal(control_next_event(c, 5000, &e), 0);
		assert_true(event_int(e, "lost") > 0);
	}
	assert_int_equal(control_next_event(c, 5000, &e), 0);
	assert_int_equal(event_int(e, "seq"), 3);
	json_decref(e);
}

/* --- who may --- */

/* Runs in a child as somebody else: 0 if every verb of the role is granted and no other. */
static int try_as(const struct world *w, uid_t uid, gid_t gid, gid_t extra, const char *role)
{
	static const char *const tried[] = { "test.echo", "test.operate", "test.own" };
	struct control_client *c = NULL;
	json_t *result = NULL, *error = NULL;
	int granted = 0;

	if (setgroups(1, &extra) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return 10;
	if (control_connect(w->path, 5000, &c) < 0)
		return 11;
	if (strcmp(json_string_value(json_object_get(control_hello(c), "role")), role) != 0)
		return 12;
	for (size_t i = 0; i < ARRAY_LEN(tried); i++) {
		if (control_call(c, tried[i], NULL, &result, &error) == 0)
			granted++;
		else if (strcmp(json_string_value(json_object_get(error, "code")), "forbidden") != 0)
			return 13;
	}
	return granted == 1 + (strcmp(role, "viewer") != 0) + (strcmp(role, "admin") == 0) ? 0 : 14;
}

static void assert_role(const struct world *w, uid_t uid, gid_t gid, gid_t extra, const char *role)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(try_as(w, uid, gid, extra, role));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_role_comes_from_uid_and_groups(void **state)
{
	struct group *g = getgrnam("daemon");

	if (geteuid() != 0 || !g)
		skip();
	assert_role(*state, 0, 0, 0, "admin");
	assert_role(*state, 12345, 12345, 12345, "viewer");
	assert_role(*state, 65534, 65534, 65534, "viewer");
	assert_role(*state, 12345, 12345, g->gr_gid, "operator"); /* a supplementary group */
	assert_role(*state, 12345, g->gr_gid, 12345, "operator"); /* the primary one */
}

static void a_request_knows_who_asks(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *r = call(c, "test.who", NULL);

	if (geteuid() == 0)
		assert_string_equal(json_string_value(json_object_get(r, "who")), "uid 0 (root)");
	assert_int_equal(event_int(r, "role"), CONTROL_ADMIN);
	json_decref(r);
}

/* --- the socket --- */

static void the_socket_has_its_mode_and_group(void **state)
{
	struct world *w = *state;
	struct group *g = getgrnam("daemon");
	struct stat st;

	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	if (geteuid() == 0 && g)
		assert_int_equal(st.st_gid, g->gr_gid);
}

static void a_second_server_on_the_path_is_refused(void **state)
{
	struct world *w = *state;
	struct control_options o = options(w);
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[256] = "", lock[128];

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EADDRINUSE);
	assert_non_null(strstr(err, "another stile-test is running"));
	/* Also when somebody took the lock file away. */
	snprintf(lock, sizeof(lock), "%s.lock", w->path);
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EADDRINUSE);
	_cleanup_(control_client_freep) struct control_client *c = dial(w);
	json_decref(call(c, "ping", NULL));
}

static void a_dead_socket_is_taken_over_and_a_file_is_not(void **state)
{
	struct world *w = *state, there = *w;
	struct control_options o;
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[256] = "", lock[128];
	FILE *f;
	pid_t pid;

	snprintf(there.path, sizeof(there.path), "%s/dead.sock", w->dir);
	snprintf(lock, sizeof(lock), "%s.lock", there.path);
	o = options(&there);
	pid = fork();
	if (pid == 0) {
		if (loop_new(&l) < 0 || control_server_new(l, &o, err, sizeof(err), &s) < 0)
			_exit(1);
		_exit(0); /* dies without a word */
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(access(there.path, F_OK), 0);
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), 0);
	s = control_server_free(s);
	assert_int_not_equal(access(there.path, F_OK), 0);
	assert_int_not_equal(access(lock, F_OK), 0);

	f = fopen(there.path, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EEXIST);
	assert_non_null(strstr(err, "is not a socket"));
	assert_int_equal(unlink(there.path), 0);
}

static void a_path_that_fits_no_socket_address_is_refused(void **state)
{
	struct world *w = *state;
	struct control_options o = options(w);
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[512] = "", path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	o.path = path;
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -ENAMETOOLONG);
	assert_non_null(strstr(err, "longer than"));
}

static void too_many_connections_are_told_so(void **state)
{
	struct world *w = *state;
	int fds[257];

	for (size_t i = 0; i < 256; i++)
		fds[i] = raw_greeted(w);
	fds[256] = raw_dial(w);
	assert_line(fds[256], "\"busy\"");
	assert_null(raw_line(fds[256]));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	/* and there is room again */
	for (int i = 0; i < 500; i++) {
		struct control_client *c = NULL;
		int r = control_connect(w->path, 5000, &c);
		control_client_free(c);
		if (r == 0)
			return;
		assert_int_equal(r, -EBUSY);
		usleep(2000);
	}
	fail_msg("no room after all were closed");
}

static void nothing_listens_means_an_error_at_once(void **state)
{
	struct control_client *c = NULL;

	(void)state;
	assert_int_equal(control_connect("/tmp/stile-there-is-no-such.sock", 1000, &c), -ENOENT);
	assert_null(c);
}

/* --- one line --- */

static void a_line_is_bounded_in_depth_and_in_values(void **state)
{
	char deep[128] = "";
	static char wide[300000];
	const char *why = NULL;
	json_t *o = NULL;
	size_t n = 0;

	(void)state;
	strcpy(deep, "{\"a\":");
	for (int i = 0; i < CONTROL_MAX_DEPTH - 1; i++)
		strcat(deep, "[");
	for (int i = 0; i < CONTROL_MAX_DEPTH - 1; i++)
		strcat(deep, "]");
	strcat(deep, "}");
	assert_int_equal(control_parse_line(text_of(deep), &o, &why), 0);
	json_decref(o);
	deep[4] = '\0';
	strcat(deep, ":[");
	for (int i = 0; i < CONTROL_MAX_DEPTH; i++)
		strcat(deep, "[");
	assert_int_equal(control_parse_line(text_of(deep), &o, &why), -EMSGSIZE);
	assert_string_equal(why, "nested too deeply");
	/* Brackets in strings are no nesting, whatever is escaped before them. */
	assert_int_equal(control_parse_line(TEXT("{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\"}"),
					    &o, &why),
			 0);
	json_decref(o);

	n = (size_t)sprintf(wide, "{\"a\":[0");
	while (n < 200000) {
		wide[n++] = ',';
		wide[n++] = '0';
	}
	strcpy(wide + n, "]}");
	assert_int_equal(control_parse_line(text_of(wide), &o, &why), -EMSGSIZE);
	assert_string_equal(why, "too many values");
}

#define ON_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_bounded_in_depth_and_in_values),
		cmocka_unit_test(nothing_listens_means_an_error_at_once),
		ON_SERVER(the_greeting_names_program_instance_version_and_role),
		ON_SERVER(a_call_is_answered_with_its_result),
		ON_SERVER(a_refusal_has_a_code_a_text_and_a_hint),
		ON_SERVER(an_unknown_verb_is_answered_with_the_nearest_one),
		ON_SERVER(the_verbs_are_listed_with_their_roles),
		ON_SERVER(bad_lines_are_answered_and_the_connection_goes_on),
		ON_SERVER(a_line_without_end_closes_the_connection),
		ON_SERVER(a_line_of_the_full_length_is_served),
		ON_SERVER(a_request_sent_byte_by_byte_is_served),
		ON_SERVER(answers_come_in_the_order_that_the_service_ends_them),
		ON_SERVER(an_id_in_use_is_refused_without_disturbing_its_owner),
		ON_SERVER(more_than_64_requests_in_flight_are_refused),
		ON_SERVER(cancel_reaches_the_work_and_both_are_answered),
		ON_SERVER(work_for_a_client_that_went_is_told_and_its_answer_dropped),
		ON_SERVER(a_client_that_only_stops_sending_gets_its_answers),
		ON_SERVER(progress_comes_before_the_result),
		ON_SERVER(the_client_library_reports_progress),
		ON_SERVER(a_call_that_is_not_answered_times_out_and_the_next_one_works),
		ON_SERVER(an_answer_that_fits_no_line_becomes_an_error),
		ON_SERVER(a_client_that_sends_without_reading_is_held_back),
		ON_SERVER(held_back_requests_are_served_when_the_client_reads),
		ON_SERVER(a_client_with_8_mib_of_unread_answers_is_closed),
		ON_SERVER(a_subscriber_gets_the_events_of_its_topics_in_order),
		ON_SERVER(events_that_come_during_a_call_are_kept),
		ON_SERVER(a_cancelled_subscription_is_silent_and_its_id_free),
		ON_SERVER(bad_subscriptions_are_refused),
		ON_SERVER(a_subscriber_that_does_not_read_is_told_how_many_it_lost),
		ON_SERVER(an_event_that_is_too_large_counts_as_lost),
		ON_SERVER(the_role_comes_from_uid_and_groups),
		ON_SERVER(a_request_knows_who_asks),
		ON_SERVER(the_socket_has_its_mode_and_group),
		ON_SERVER(a_second_server_on_the_path_is_refused),
		ON_SERVER(a_dead_socket_is_taken_over_and_a_file_is_not),
		ON_SERVER(a_path_that_fits_no_socket_address_is_refused),
		ON_SERVER(too_many_connections_are_told_so),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
