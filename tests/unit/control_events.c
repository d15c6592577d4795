/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions, and clients that do not read: they are held back, lose events that are counted, or
 * are closed; the service and the others never wait for them.
 */
#include "tests/unit/control_world.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

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
			else if (errno != EAGAIN || poll(&p, 1, 1200) == 0)
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
		assert_int_equal(int_of(e, "seq"), i + 1);
		assert_string_equal(json_string_value(json_object_get(e, "topic")), "turn.sessions");
		assert_int_equal(int_of(json_object_get(e, "data"), "i"), i);
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
		assert_int_equal(int_of(e, "seq"), i + 1);
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
			lost += int_of(e, "lost");
			assert_int_equal(int_of(e, "seq"), last + int_of(e, "lost"));
		} else {
			got++;
			assert_int_equal(int_of(e, "seq"), last + 1);
		}
		last = int_of(e, "seq");
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
	for (int lost = 0; lost < 2; lost += (int)int_of(e, "lost"), json_decref(e)) {
		assert_int_equal(control_next_event(c, 5000, &e), 0);
		assert_true(int_of(e, "lost") > 0);
	}
	assert_int_equal(control_next_event(c, 5000, &e), 0);
	assert_int_equal(int_of(e, "seq"), 3);
	json_decref(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_SERVER(a_client_that_sends_without_reading_is_held_back),
		ON_SERVER(held_back_requests_are_served_when_the_client_reads),
		ON_SERVER(a_client_with_8_mib_of_unread_answers_is_closed),
		ON_SERVER(a_subscriber_gets_the_events_of_its_topics_in_order),
		ON_SERVER(events_that_come_during_a_call_are_kept),
		ON_SERVER(a_cancelled_subscription_is_silent_and_its_id_free),
		ON_SERVER(bad_subscriptions_are_refused),
		ON_SERVER(a_subscriber_that_does_not_read_is_told_how_many_it_lost),
		ON_SERVER(an_event_that_is_too_large_counts_as_lost),
	};

	return cmocka_run_group_tests_name("control events", tests, NULL, NULL);
}
