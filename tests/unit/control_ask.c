/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service asks another one: what it makes of the answer, of a refusal, and of what is no answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/control_ask.h"
#include "common/unix_socket.h"

#define HELLO "{\"stile\":\"stile-turn\",\"protocol\":1}\n"

struct talk {
	struct loop *loop;
	char folder[64], path[96];
	int listener;
	unsigned answers;
	bool result;
	long number;
	char why[256];
};

static void on_done(struct control_ask *a, const json_t *result, const char *why, void *arg)
{
	struct talk *t = arg;

	(void)a;
	t->answers++;
	t->result = result != NULL;
	t->number = (long)json_integer_value(json_object_get(result, "number"));
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
	loop_stop(t->loop);
}

static void open_talk(struct talk *t)
{
	const struct unix_socket_options o = { .mode = 0600 };

	*t = (struct talk){ .folder = "/tmp/stile-ask-XXXXXX" };
	assert_non_null(mkdtemp(t->folder));
	(void)snprintf(t->path, sizeof(t->path), "%s/s", t->folder);
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(unix_socket_listen(t->path, &o, &t->listener), 0);
}

static void close_talk(struct talk *t)
{
	close(t->listener);
	unlink(t->path);
	rmdir(t->folder);
	loop_free(t->loop);
}

/* Asks, hears these bytes (then, if it hangs up, the end), and what it said is in asked. */
static void converse(struct talk *t, const char *bytes, size_t n, bool hangs_up, char *asked, size_t asked_n)
{
	const struct control_ask_options o = { .loop = t->loop, .path = t->path, .verb = "turn.credentials", .args = json_pack("{s:s}", "name", "x"),
					       .timeout_ms = 200, .done = on_done, .arg = t };
	struct control_ask *a;
	ssize_t got;
	int fd;

	assert_int_equal(control_ask_new(&o, &a), 0);
	fd = accept(t->listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	if (hangs_up)
		shutdown(fd, SHUT_WR);
	assert_int_equal(loop_run(t->loop), 0);
	got = recv(fd, asked, asked_n - 1, MSG_DONTWAIT);
	asked[got > 0 ? got : 0] = '\0';
	close(fd);
	control_ask_free(a);
	assert_int_equal(t->answers, 1);
}

static void the_answer_comes_and_the_question_was_one_line(void **state)
{
	static const char answer[] = HELLO "{\"id\":1,\"result\":{\"number\":7}}\n";
	struct talk t;
	char asked[512];

	(void)state;
	open_talk(&t);
	converse(&t, answer, sizeof(answer) - 1, false, asked, sizeof(asked));
	assert_true(t.result);
	assert_int_equal(t.number, 7);
	assert_string_equal(asked, "{\"id\":1,\"verb\":\"turn.credentials\",\"args\":{\"name\":\"x\"}}\n");
	close_talk(&t);
}

static void a_refusal_is_told_in_its_words(void **state)
{
	static const char answer[] = HELLO "{\"id\":1,\"error\":{\"code\":\"not-found\",\"text\":\"no shared secret\"}}\n";
	struct talk t;
	char asked[512];

	(void)state;
	open_talk(&t);
	converse(&t, answer, sizeof(answer) - 1, false, asked, sizeof(asked));
	assert_false(t.result);
	assert_string_equal(t.why, "no shared secret");
	close_talk(&t);
}

/* Cut anywhere, and then the end; or silence. */
static void what_is_no_answer_is_none(void **state)
{
	static const char answer[] = HELLO "{\"id\":1,\"result\":{\"number\":7}}\n";
	char asked[512], *flood = malloc(70000);

	(void)state;
	for (size_t n = 0; n < sizeof(answer) - 1; n++) {
		struct talk t;

		open_talk(&t);
		converse(&t, answer, n, true, asked, sizeof(asked));
		assert_false(t.result);
		close_talk(&t);
	}
	assert_non_null(flood);
	memset(flood, '[', 70000);
	for (unsigned kind = 0; kind < 3; kind++) {
		const char *bytes[] = { HELLO, "garbage\n", flood };
		const size_t n[] = { strlen(HELLO), 8, 70000 };
		struct talk t;

		open_talk(&t);
		converse(&t, bytes[kind], n[kind], false, asked, sizeof(asked));
		assert_false(t.result);
		assert_true(strlen(t.why) > 0);
		close_talk(&t);
	}
	free(flood);
}

static void without_the_other_service_it_says_so_at_once(void **state)
{
	const struct control_ask_options o = { .path = "/nonexistent/s", .verb = "ping", .done = on_done };
	struct control_ask *a;

	(void)state;
	assert_int_equal(control_ask_new(&o, &a), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_comes_and_the_question_was_one_line),
		cmocka_unit_test(a_refusal_is_told_in_its_words),
		cmocka_unit_test(what_is_no_answer_is_none),
		cmocka_unit_test(without_the_other_service_it_says_so_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
