/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol's client in a loop, against the real server in the same loop: calls side by side, errors, a service that
 * is late, events, and the end of either side. A false service says what it likes through a socket of the test's own.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control_link.h"

struct answer {
	bool come;
	int r;
	json_t *result, *error;
};
struct scene {
	struct support_dir dir;
	struct loop *l;
	struct control_server *server;
	struct control_link *link;
	struct control_request *late;
	unsigned cancels;
	bool up, down, event;
	unsigned progress;
	json_t *last_event;
	char why[200];
	int fd; /* of the false service */
};

/* ---- the service ---- */

static void verb_echo(struct control_request *rq, const json_t *args, void *arg)
{
	(void)arg;
	control_reply(rq, json_deep_copy(args));
}

static void verb_fail(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_fail(rq, "not-found", "look elsewhere", "there is no %d", 17);
}

static void on_cancel(struct control_request *rq, void *arg)
{
	struct scene *sc = arg;

	sc->cancels++;
	sc->late = NULL;
	control_fail(rq, "cancelled", NULL, "it was cancelled");
}

static void verb_late(struct control_request *rq, const json_t *args, void *arg)
{
	struct scene *sc = arg;

	(void)args;
	sc->late = rq;
	control_on_cancel(rq, on_cancel, sc);
}

static const struct control_verb verbs[] = { { "echo", CONTROL_VIEWER, verb_echo, "" },
					     { "fail", CONTROL_VIEWER, verb_fail, "" },
					     { "late", CONTROL_VIEWER, verb_late, "" } };

/* ---- the client ---- */

static void on_up(struct control_link *l, const json_t *hello, void *arg)
{
	struct scene *sc = arg;

	assert_ptr_equal(l, sc->link);
	assert_string_equal(json_string_value(json_object_get(hello, "stile")), "stile-demo");
	sc->up = true;
}

static void on_event(struct control_link *l, const json_t *event, void *arg)
{
	struct scene *sc = arg;

	(void)l;
	json_decref(sc->last_event);
	sc->last_event = json_deep_copy(event);
	sc->event = true;
}

static void on_down(struct control_link *l, int err, const char *why, void *arg)
{
	struct scene *sc = arg;

	(void)l;
	(void)err;
	(void)snprintf(sc->why, sizeof(sc->why), "%s", why);
	sc->link = control_link_free(sc->link);
	sc->down = true;
}

static const struct control_link_ops link_ops = { on_up, on_event, on_down };

static void on_answer(int r, json_t *result, json_t *error, void *arg)
{
	struct answer *a = arg;

	assert_false(a->come);
	assert_true(r < 0 ? !result && !error : !result != !error);
	a->come = true;
	a->r = r;
	a->result = json_incref(result);
	a->error = json_incref(error);
}

static void answer_done(struct answer *a)
{
	json_decref(a->result);
	json_decref(a->error);
	*a = (struct answer){ 0 };
}

/* ---- scenes ---- */

static int setup(void **state)
{
	struct scene *sc = calloc(1, sizeof(*sc));

	assert_non_null(sc);
	sc->fd = -1;
	support_dir_make(&sc->dir);
	assert_int_equal(loop_new(&sc->l), 0);
	*state = sc;
	return 0;
}

static int teardown(void **state)
{
	struct scene *sc = *state;

	control_link_free(sc->link);
	control_server_free(sc->server);
	if (sc->fd >= 0)
		close(sc->fd);
	json_decref(sc->last_event);
	loop_free(sc->l);
	support_dir_remove(&sc->dir);
	free(sc);
	return 0;
}

static void open_both(struct scene *sc)
{
	struct control_options o = { .path = support_path(&sc->dir, "s.sock"), .program = "stile-demo", .instance = "", .version = "1", .mode = 0600 };
	char err[200];

	assert_int_equal(control_server_new(sc->l, &o, err, sizeof(err), &sc->server), 0);
	assert_int_equal(control_add_verbs(sc->server, verbs, ARRAY_LEN(verbs), sc), 0);
	assert_int_equal(control_link_new(sc->l, o.path, &link_ops, sc, &sc->link), 0);
}

/* A service that says exactly this, and nothing more. */
static void open_false(struct scene *sc, const char *says, size_t n)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", support_path(&sc->dir, "f.sock"));
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(control_link_new(sc->l, at.sun_path, &link_ops, sc, &sc->link), 0);
	sc->fd = accept(listener, NULL, NULL);
	assert_true(sc->fd >= 0);
	close(listener);
	assert_int_equal(send(sc->fd, says, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void calls_go_side_by_side(void **state)
{
	struct scene *sc = *state;
	struct answer a = { 0 }, b = { 0 }, c = { 0 };

	open_both(sc);
	assert_false(control_link_is_up(sc->link));
	/* Before the greeting is there, too. */
	assert_true(control_link_call(sc->link, "late", NULL, 20000, on_answer, &a) > 0);
	(void)control_link_call(sc->link, "echo", json_pack("{s:s}", "k", "v"), 20000, on_answer, &b);
	(void)control_link_call(sc->link, "fail", NULL, 20000, on_answer, &c);
	assert_false(b.come);
	support_run_until(sc->l, &b.come, 20000);
	support_run_until(sc->l, &c.come, 20000);
	assert_true(sc->up && control_link_is_up(sc->link));
	assert_string_equal(json_string_value(json_object_get(b.result, "k")), "v");
	assert_string_equal(json_string_value(json_object_get(c.error, "code")), "not-found");
	assert_string_equal(json_string_value(json_object_get(c.error, "hint")), "look elsewhere");
	assert_false(a.come);
	control_reply(sc->late, json_pack("{s:b}", "at_last", 1));
	support_run_until(sc->l, &a.come, 20000);
	assert_true(json_is_true(json_object_get(a.result, "at_last")));
	answer_done(&a);
	answer_done(&b);
	answer_done(&c);
}

static void a_late_service_costs_its_deadline(void **state)
{
	struct scene *sc = *state;
	struct answer a = { 0 }, b = { 0 };

	open_both(sc);
	(void)control_link_call(sc->link, "late", NULL, 50, on_answer, &a);
	support_run_until(sc->l, &a.come, 20000);
	assert_int_equal(a.r, -ETIMEDOUT);
	/* It is told to stop, its answer is thrown away, and the link goes on. */
	(void)control_link_call(sc->link, "echo", json_object(), 20000, on_answer, &b);
	support_run_until(sc->l, &b.come, 20000);
	assert_int_equal(b.r, 0);
	assert_int_equal(sc->cancels, 1);
	answer_done(&a);
	answer_done(&b);
}

static void on_progress(json_t *progress, void *arg)
{
	struct scene *sc = arg;

	assert_int_equal(json_integer_value(json_object_get(progress, "n")), ++sc->progress);
}

static void progress_comes_before_the_answer(void **state)
{
	struct scene *sc = *state;
	struct answer a = { 0 };
	uint64_t id;

	open_both(sc);
	id = control_link_call(sc->link, "late", NULL, 20000, on_answer, &a);
	control_link_on_progress(sc->link, id, on_progress, sc);
	control_link_on_progress(sc->link, id + 99, on_progress, sc);
	while (!sc->late)
		support_run_for(sc->l, 1);
	control_progress(sc->late, json_pack("{s:i}", "n", 1));
	control_progress(sc->late, json_pack("{s:i}", "n", 2));
	control_reply(sc->late, json_object());
	support_run_until(sc->l, &a.come, 20000);
	assert_int_equal(sc->progress, 2);
	answer_done(&a);
}

static void a_forgotten_call_is_cancelled(void **state)
{
	struct scene *sc = *state;
	struct answer a = { 0 }, b = { 0 };
	uint64_t id;

	open_both(sc);
	support_run_until(sc->l, &sc->up, 20000);
	id = control_link_call(sc->link, "late", NULL, 20000, on_answer, &a);
	while (!sc->late)
		support_run_for(sc->l, 1);
	control_link_forget(sc->link, id);
	control_link_forget(sc->link, id);
	(void)control_link_call(sc->link, "echo", json_object(), 20000, on_answer, &b);
	support_run_until(sc->l, &b.come, 20000);
	assert_int_equal(sc->cancels, 1);
	assert_false(a.come);
	answer_done(&b);
}

static void events_come_for_the_topics_of_now(void **state)
{
	struct scene *sc = *state;

	open_both(sc);
	support_run_until(sc->l, &sc->up, 20000);
	control_link_subscribe(sc->link, json_pack("[s]", "a.b"));
	while (!control_has_subscribers(sc->server, "a.b"))
		support_run_for(sc->l, 1);
	control_publish(sc->server, "a.b", json_pack("{s:i}", "n", 1));
	support_run_until(sc->l, &sc->event, 20000);
	assert_string_equal(json_string_value(json_object_get(sc->last_event, "topic")), "a.b");
	control_link_subscribe(sc->link, json_pack("[s]", "c.*"));
	while (control_has_subscribers(sc->server, "a.b"))
		support_run_for(sc->l, 1);
	sc->event = false;
	control_publish(sc->server, "a.b", json_object());
	control_publish(sc->server, "c.d", json_object());
	support_run_until(sc->l, &sc->event, 20000);
	assert_string_equal(json_string_value(json_object_get(sc->last_event, "topic")), "c.d");
}

static void calls_fail_when_the_service_goes(void **state)
{
	struct scene *sc = *state;
	struct answer a = { 0 }, b = { 0 };

	open_both(sc);
	support_run_until(sc->l, &sc->up, 20000);
	(void)control_link_call(sc->link, "late", NULL, 20000, on_answer, &a);
	while (!sc->late)
		support_run_for(sc->l, 1);
	sc->server = control_server_free(sc->server);
	support_run_until(sc->l, &sc->down, 20000);
	assert_int_equal(a.r, -ECONNRESET);
	assert_null(sc->link);
	assert_true(strlen(sc->why) > 3);
	/* And when the client goes. */
	answer_done(&a);
	open_both(sc);
	(void)control_link_call(sc->link, "echo", NULL, 20000, on_answer, &b);
	sc->link = control_link_free(sc->link);
	assert_int_equal(b.r, -ECONNRESET);
	assert_int_equal(control_link_new(sc->l, support_path(&sc->dir, "nobody.sock"), &link_ops, sc, &sc->link), -ENOENT);
	answer_done(&b);
}

static void what_is_no_service_of_stile_ends_the_link(void **state)
{
	static const struct {
		const char *says, *why;
	} rows[] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", "no JSON object" },
		{ "{\"stile\":\"stile-demo\",\"protocol\":99}\n", "no control socket" },
		{ "{\"error\":{\"code\":\"busy\",\"text\":\"x\"}}\n", "takes no more" },
		{ "[]\n", "no JSON object" },
		{ "{\"stile\":\"stile-demo\",\"protocol\":1}\n{\"id\":1,\"id\":2}\n", "no JSON object" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene *sc = *state;

		sc->down = false;
		open_false(sc, rows[i].says, strlen(rows[i].says));
		support_run_until(sc->l, &sc->down, 20000);
		if (!strstr(sc->why, rows[i].why))
			fail_msg("row %zu: %s", i, sc->why);
		close(sc->fd);
		sc->fd = -1;
		unlink(support_path(&sc->dir, "f.sock"));
	}
}

static void answers_nobody_asked_for_are_harmless(void **state)
{
	static const char says[] = "{\"stile\":\"stile-demo\",\"protocol\":1}\n{\"id\":7,\"result\":{}}\n{\"id\":null,\"error\":{}}\n"
				   "{\"id\":1,\"progress\":{}}\n{\"id\":1,\"event\":{\"seq\":1,\"topic\":\"a\"}}\n{\"id\":1,\"error\":5}\n"
				   "{\"id\":1,\"result\":{\"x\":1}}\n";
	struct scene *sc = *state;
	struct answer a = { 0 };

	open_false(sc, says, 30);
	(void)control_link_call(sc->link, "echo", NULL, 20000, on_answer, &a);
	for (size_t i = 30; i < sizeof(says) - 1; i++) { /* byte by byte */
		assert_int_equal(send(sc->fd, says + i, 1, MSG_NOSIGNAL), 1);
		support_run_for(sc->l, 0);
	}
	support_run_until(sc->l, &a.come, 20000);
	assert_int_equal(json_integer_value(json_object_get(a.result, "x")), 1);
	assert_false(sc->event);
	answer_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_go_side_by_side, setup, teardown),
		cmocka_unit_test_setup_teardown(a_late_service_costs_its_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(progress_comes_before_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_forgotten_call_is_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(events_come_for_the_topics_of_now, setup, teardown),
		cmocka_unit_test_setup_teardown(calls_fail_when_the_service_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_service_of_stile_ends_the_link, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_nobody_asked_for_are_harmless, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
