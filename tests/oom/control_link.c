/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol in a loop, client and server, with every allocation failed once: each call is answered, with a result, an error or
 * the news that it broke; whichever side was hit, nothing hangs and nothing leaks. The blocking client is tests/oom/control.c's.
 *
 * A client that is hit before its answer can be kept goes down, and its calls with it; a service that is hit answers so, or closes.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <string.h>
#include "common/control_link.h"
#include "tests/oom/failing.h"

enum { PATIENCE_MS = 20000 };

static struct {
	struct support_dir dir;
	struct loop *l;
	struct control_server *server;
	struct control_link *link;
	unsigned answers;
	bool all;
} w;

static void verb_echo(struct control_request *rq, const json_t *args, void *arg)
{
	(void)arg;
	control_progress(rq, json_pack("{s:i}", "half", 1));
	control_reply(rq, json_deep_copy(args));
}

static void verb_fail(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_fail(rq, "not-found", "look elsewhere", "there is no %d", 17);
}

static const struct control_verb verbs[] = { { "echo", CONTROL_VIEWER, verb_echo, "" }, { "fail", CONTROL_VIEWER, verb_fail, "" } };

static void on_answer(int r, json_t *result, json_t *error, void *arg)
{
	bool *come = arg;

	assert_false(*come); /* once */
	*come = true;
	assert_true(r < 0 ? !result && !error : !result != !error);
	w.all = ++w.answers == 3;
}

static void on_up(struct control_link *l, const json_t *hello, void *arg)
{
	(void)l;
	(void)hello;
	(void)arg;
}

static void on_event(struct control_link *l, const json_t *event, void *arg)
{
	(void)l;
	(void)event;
	(void)arg;
}

static void on_down(struct control_link *l, int err, const char *why, void *arg)
{
	(void)err;
	(void)why;
	(void)arg;
	assert_ptr_equal(l, w.link);
	w.link = control_link_free(w.link);
}

static const struct control_link_ops ops = { on_up, on_event, on_down };

static void open_server(void)
{
	struct control_options o = { .path = support_path(&w.dir, "s.sock"), .program = "stile-demo", .instance = "", .version = "1", .mode = 0600 };
	char err[200];

	assert_int_equal(control_server_new(w.l, &o, err, sizeof(err), &w.server), 0);
	assert_int_equal(control_add_verbs(w.server, verbs, ARRAY_LEN(verbs), NULL), 0);
}

static void converse(void)
{
	bool come[3] = { false };
	int r = control_link_new(w.l, support_path(&w.dir, "s.sock"), &ops, NULL, &w.link);

	assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
	if (r < 0)
		return;
	w.answers = 0;
	w.all = false;
	control_link_subscribe(w.link, json_pack("[s]", "things"));
	(void)control_link_call(w.link, "echo", json_pack("{s:s}", "k", "v"), PATIENCE_MS, on_answer, &come[0]);
	(void)control_link_call(w.link, "fail", NULL, PATIENCE_MS, on_answer, &come[1]);
	(void)control_link_call(w.link, "unknown", NULL, PATIENCE_MS, on_answer, &come[2]);
	control_publish(w.server, "things", json_pack("{s:i}", "n", 1));
	if (!w.all)
		support_run_until(w.l, &w.all, PATIENCE_MS / 2);
	w.link = control_link_free(w.link);
}

static void each_call_is_answered_or_broken(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		oom_pause();
		open_server();
		oom_resume();
		converse();
		oom_pause();
		w.server = control_server_free(w.server);
		support_run_for(w.l, 1);
		oom_resume();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_call_is_answered_or_broken) };
	int r;

	support_dir_make(&w.dir);
	if (loop_new(&w.l) < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	loop_free(w.l);
	support_dir_remove(&w.dir);
	return r;
}
