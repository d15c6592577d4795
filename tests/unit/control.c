/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the control protocol: what is answered, in which order, what is refused and why, what
 * happens when a client goes or cancels. The client library is tested by the way.
 */
#include "tests/unit/control_world.h"
#include <poll.h>
#include <sys/socket.h>

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
					  "\"hint\":\"try another\",\"reason\":\"no-session\",\"values\":[\"17\"]}}");
	raw_send(fd, "{\"id\":8,\"verb\":\"test.memory\"}\n");
	assert_line(fd, "{\"id\":8,\"error\":{\"code\":\"failed\",\"text\":\"out of memory\"}}");
	close(fd);
}

static void a_long_refusal_is_cut_between_two_characters(void **state)
{
	int fd = raw_greeted(*state);
	char why[1200 + 1], line[1400];

	for (size_t i = 0; i < 600; i++)
		memcpy(why + 2 * i, "é", 3);
	(void)snprintf(line, sizeof(line),
		       "{\"id\":7,\"verb\":\"test.refuse\",\"args\":{\"why\":\"%s\"}}\n", why);
	raw_send(fd, line);
	(void)snprintf(line, sizeof(line),
		       "{\"id\":7,\"error\":{\"code\":\"failed\",\"text\":\"%.1022s\"}}", why);
	assert_string_equal(raw_line(fd), line);
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

/* Its answers wait, and what it has asked beyond them waits unread in the service. */
static void a_client_that_asks_much_and_reads_late_is_answered_in_full(void **state)
{
	enum { ASKED = 12 };
	static char block[64 << 10];
	char lines[ASKED * 64];
	struct sb b = sb_init(lines, sizeof(lines));
	int fd = raw_greeted(*state), answered = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < ASKED; i++)
		sb_fmt(&b, "{\"id\":%d,\"verb\":\"test.big\",\"args\":{\"rows\":15000}}\n", i);
	raw_send(fd, lines);
	usleep(100000);
	while (answered < ASKED) {
		ssize_t n = poll(&p, 1, 5000) == 1 ? recv(fd, block, sizeof(block), 0) : 0;

		if (n <= 0)
			fail_msg("%d of %d are answered", answered, ASKED);
		for (ssize_t i = 0; i < n; i++)
			answered += block[i] == '\n';
	}
	raw_send(fd, "{\"id\":1,\"verb\":\"ping\"}\n");
	assert_line(fd, "{\"id\":1,\"result\"");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_bounded_in_depth_and_in_values),
		ON_SERVER(the_greeting_names_program_instance_version_and_role),
		ON_SERVER(a_call_is_answered_with_its_result),
		ON_SERVER(a_refusal_has_a_code_a_text_and_a_hint),
		ON_SERVER(a_long_refusal_is_cut_between_two_characters),
		ON_SERVER(an_unknown_verb_is_answered_with_the_nearest_one),
		ON_SERVER(the_verbs_are_listed_with_their_roles),
		ON_SERVER(bad_lines_are_answered_and_the_connection_goes_on),
		ON_SERVER(a_line_without_end_closes_the_connection),
		ON_SERVER(a_line_of_the_full_length_is_served),
		ON_SERVER(a_request_sent_byte_by_byte_is_served),
		ON_SERVER(answers_come_in_the_order_that_the_service_ends_them),
		ON_SERVER(a_client_that_asks_much_and_reads_late_is_answered_in_full),
		ON_SERVER(an_id_in_use_is_refused_without_disturbing_its_owner),
		ON_SERVER(more_than_64_requests_in_flight_are_refused),
		ON_SERVER(cancel_reaches_the_work_and_both_are_answered),
		ON_SERVER(work_for_a_client_that_went_is_told_and_its_answer_dropped),
		ON_SERVER(a_client_that_only_stops_sending_gets_its_answers),
		ON_SERVER(progress_comes_before_the_result),
		ON_SERVER(the_client_library_reports_progress),
		ON_SERVER(a_call_that_is_not_answered_times_out_and_the_next_one_works),
		ON_SERVER(an_answer_that_fits_no_line_becomes_an_error),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
