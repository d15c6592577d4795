/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server without memory: every allocation of a short life fails once (ours, jansson's and
 * libevent's buffers), from the socket to a subscription's last event. A client may be refused or
 * closed; the server must go on, leak nothing, and serve the next client. So must a change of what is stored.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>
#include "common/control_priv.h"
#include "common/service_priv.h"
#include "common/stored.h"
#include "tests/oom/failing.h"

struct world {
	struct loop *loop;
	struct control_server *server;
	struct timer timer;
};

static void on_echo(struct control_request *rq, const json_t *args, void *arg)
{
	struct world *w = arg;

	control_publish(w->server, "a.b", json_pack("{s:i}", "i", 1));
	control_progress(rq, json_pack("{s:i}", "step", 1));
	control_reply(rq, json_deep_copy(args));
}

static const struct control_verb verbs[] = { { "echo", CONTROL_VIEWER, on_echo, "Echoes." } };

static void on_tick(struct timer *t, uint64_t now)
{
	(void)now;
	loop_stop(container_of(t, struct world, timer)->loop);
}

static void run_for_a_millisecond(struct world *w)
{
	w->timer.fire = on_tick;
	loop_timer_set(w->loop, &w->timer, 1);
	assert_int_equal(loop_run(w->loop), 0);
}

/* Sends lines and waits until `want` was said, or the connection closed, or for so many ms. */
static bool converse(struct world *w, const char *path, const char *lines, const char *want, int ms)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	static char said[65536];
	size_t n = 0;
	bool heard = false;
	ssize_t got = -1;

	memcpy(at.sun_path, path, strlen(path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(send(fd, lines, strlen(lines), MSG_NOSIGNAL), (ssize_t)strlen(lines));
	for (; ms && !heard && got != 0; ms--) {
		run_for_a_millisecond(w);
		got = recv(fd, said + n, sizeof(said) - 1 - n, MSG_DONTWAIT);
		n += got > 0 ? (size_t)got : 0;
		said[n] = 0;
		heard = strstr(said, want) != NULL;
	}
	close(fd);
	return heard;
}

static int server_start(struct world *w, const char *path)
{
	struct control_options o = { .path = path, .program = "oom", .version = "1", .mode = 0600 };
	char err[256];
	int r;

	r = control_server_new(w->loop, &o, err, sizeof(err), &w->server);
	if (r == 0)
		r = control_add_verbs(w->server, verbs, ARRAY_LEN(verbs), w);
	if (r < 0)
		w->server = control_server_free(w->server);
	return r;
}

static void the_server_outlives_every_failed_allocation(void **state)
{
	static const char lines[] =
		"{\"id\":1,\"verb\":\"events.subscribe\",\"args\":{\"topics\":[\"a.b\"]}}\n"
		"{\"id\":2,\"verb\":\"echo\",\"args\":{\"x\":[1,2,\"y\"]}}\n"
		"{\"id\":3,\"verb\":\"verbs\"}\n{\"id\":4,\"verb\":\"ecko\"}\nrubbish\n{\"id\":5,\"cancel\":1}\n";
	char dir[] = "/tmp/stile-oom-XXXXXX", path[64];
	unsigned whole = 0, rounds = 0;

	bool hit = true;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	for (unsigned n = 1; hit; n++) {
		struct world w = { 0 };

		assert_int_equal(loop_new(&w.loop), 0);
		oom_arm(n);
		rounds = n;
		if (server_start(&w, path) == 0)
			whole += converse(&w, path, lines, "{\"id\":5,\"result\"", 20);
		hit = oom_hit();
		oom_arm(0);
		if (w.server) /* and serves the next one as if nothing had been */
			assert_true(converse(&w, path, "{\"id\":9,\"verb\":\"ping\"}\n", "{\"id\":9,\"result\"",
					     5000));
		assert_true(hit || w.server);
		control_server_free(w.server);
		loop_free(w.loop);
	}
	assert_int_equal(rmdir(dir), 0);
	assert_true(rounds > 100);
	assert_true(whole > rounds / 2); /* most failures cost one answer, not the connection */
}

static void a_parsed_line_leaks_nothing(void **state)
{
	const char *why;
	json_t *o;
	int r;

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		o = NULL;
		r = control_parse_line(TEXT("{\"id\":1,\"verb\":\"x\",\"args\":{\"a\":[1,2.5,\"s\"]}}"), &o, &why);
		assert_int_equal(r < 0, o == NULL);
		json_decref(o);
	}
}

/* A request of nobody's: its end is the end of its memory. */
static struct control_request *request(void)
{
	struct control_request *rq = calloc(1, sizeof(*rq));

	assert_non_null(rq);
	return rq;
}

static bool is_nobodys(struct control_request *rq, const char *name, void *arg)
{
	(void)rq;
	(void)name;
	(void)arg;
	return false;
}

static void take(struct control_request *rq, const char *changed, const json_t *body, uint64_t revision, void *arg)
{
	json_t **ret_body = arg;

	(void)revision;
	assert_string_equal(changed, "one");
	*ret_body = json_incref((json_t *)body);
	free(rq);
}

static void a_change_of_what_is_stored_is_whole_or_has_ended_its_request(void **state)
{
	static const struct stored_ops ops = { .kind = "a.b", .noun = "job", .list_hint = "stile agent jobs", .name_max = 63,
					       .locked = is_nobodys, .submit = take };
	struct service svc = { 0 }; /* without a store */
	struct stored *s = NULL;
	json_t *args = json_pack("{s:s, s:{s:b, s:s}}", "name", "one", "job", "enabled", 0, "note", "new"), *body = NULL;
	json_t *unknown = json_pack("{s:s, s:{}}", "name", "two", "job"), *empty = json_pack("{s:s}", "name", "one");
	unsigned refused = 0;

	(void)state;
	assert_int_equal(stored_new(&svc, &ops, &body, &s), 0);
	assert_int_equal(json_object_set_new(stored_bodies(s), "one", json_pack("{s:s, s:s}", "port", "1", "note", "old")), 0);
	for (unsigned n = 1; oom_next(&n);) {
		struct control_request *rq;

		oom_pause();
		rq = request();
		body = NULL;
		oom_resume();
		stored_verb_change(rq, args, s);
		refused += !body;
		if (!body)
			continue;
		assert_string_equal(json_string_value(json_object_get(body, "name")), "one");
		assert_string_equal(json_string_value(json_object_get(body, "port")), "1");
		assert_string_equal(json_string_value(json_object_get(body, "note")), "new");
		assert_true(json_is_false(json_object_get(body, "enabled")));
		json_decref(body);
	}
	assert_true(refused > 3);
	body = NULL;
	stored_verb_change(request(), unknown, s);
	stored_verb_change(request(), empty, s);
	assert_null(body);
	assert_false(stored_keeps_name(s, request(), "one", "two"));
	json_decref(args);
	json_decref(unknown);
	json_decref(empty);
	stored_free(s);
}

static int put_nowhere(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	(void)name;
	(void)body;
	(void)flag;
	(void)arg;
	(void)err;
	(void)err_n;
	return 0;
}

static void a_kind_whose_holder_has_gone_is_nobodys(void **state)
{
	static const struct stored_ops one = { .kind = "a.one", .noun = "job", .put = put_nowhere }, other = { .kind = "a.other", .noun = "job", .put = put_nowhere };
	struct service svc = { 0 };
	struct stored *s = NULL, *stays = NULL;

	(void)state;
	assert_int_equal(stored_new(&svc, &other, NULL, &stays), 0);
	for (unsigned i = 0; i < 2 * SERVICE_OWNERS; i++) {
		assert_int_equal(stored_new(&svc, &one, NULL, &s), 0);
		assert_ptr_equal(service_owner_of(&svc, "a.one")->arg, s);
		stored_free(s);
		assert_null(service_owner_of(&svc, "a.one"));
		assert_ptr_equal(service_owner_of(&svc, "a.other")->arg, stays);
	}
	stored_free(stays);
	assert_int_equal(svc.n_owners, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kind_whose_holder_has_gone_is_nobodys),
		cmocka_unit_test(a_parsed_line_leaks_nothing),
		cmocka_unit_test(a_change_of_what_is_stored_is_whole_or_has_ended_its_request),
		cmocka_unit_test(the_server_outlives_every_failed_allocation),
	};

	json_set_alloc_funcs(malloc, free);
	event_set_mem_functions(malloc, realloc, free);
	return cmocka_run_group_tests_name("oom control", tests, NULL, NULL);
}
