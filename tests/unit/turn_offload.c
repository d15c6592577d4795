/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's side of the fast path (turn/edge_offload.c) and its messages, with a helper that is this test: it
 * gives out slots of ordinary memory, counts in them as the kernel would, refuses, dies and talks nonsense.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/bytes.h"
#include "turn/edge.h"
#include "turn/fastpath/layout.h"

enum { SLOTS = 256 };

struct stage {
	char dir[64];
	struct service svc;
	struct turn_service ts;
	struct turn_worker *w;
	struct turn_server core;
	struct turn_relay relay;
	int listener, peer, memory;
	struct fast_slot *slots;
};

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(text), 0, &a), 0);
	return a;
}

static struct fast_channel channel(unsigned i)
{
	struct fast_channel c = { .client = at("192.0.2.1:4000"), .local = at("192.0.2.2:3478"), .relay = at("192.0.2.2:50000"),
				  .peer = at("198.51.100.9:9"), .number = (uint16_t)(0x4000 + i) };
	return c;
}

/* ---- the stage ---- */

static void listen_at(struct stage *s)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	assert_int_equal(fast_socket_path(s->dir, "", un.sun_path, sizeof un.sun_path), 0);
	unlink(un.sun_path);
	s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (const void *)&un, sizeof un), 0);
	assert_int_equal(listen(s->listener, 4), 0);
}

static struct loop *running;

static void stop(struct timer *t, uint64_t now)
{
	(void)t, (void)now;
	loop_stop(running);
}

/* What is ready is done. */
static void pass(struct stage *s)
{
	struct timer t = { .fire = stop };

	running = s->w->loop;
	loop_timer_set(running, &t, 3);
	assert_int_equal(loop_run(running), 0);
	timer_stop(&t);
}

static void passes(struct stage *s, unsigned n)
{
	while (n--)
		pass(s);
}

static int setup(void **state)
{
	struct stage *s = calloc(1, sizeof *s);

	strcpy(s->dir, "/tmp/stile-offload-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	strcpy(s->svc.instance.runtime_dir, s->dir);
	s->ts.svc = &s->svc;
	assert_int_equal(metrics_new(turn_metric_rows, TURN_METRICS, 1, &s->ts.metrics), 0);
	s->w = calloc(1, sizeof *s->w);
	s->w->ts = &s->ts;
	list_init(&s->w->udp);
	list_init(&s->core.allocs);
	s->w->server = &s->core;
	assert_int_equal(loop_new(&s->w->loop), 0);
	s->relay.io.fd = s->peer = s->listener = -1;
	s->memory = memfd_create("slots", MFD_CLOEXEC);
	assert_int_equal(ftruncate(s->memory, SLOTS * sizeof *s->slots), 0);
	s->slots = mmap(NULL, SLOTS * sizeof *s->slots, PROT_READ | PROT_WRITE, MAP_SHARED, s->memory, 0);
	assert_ptr_not_equal(s->slots, MAP_FAILED);
	log_set_level(LOG_LVL_ERROR);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;
	char path[128];

	turn_offload_free(s->w->offload);
	if (s->peer >= 0)
		close(s->peer);
	if (s->listener >= 0)
		close(s->listener);
	munmap(s->slots, SLOTS * sizeof *s->slots);
	close(s->memory);
	loop_free(s->w->loop);
	metrics_free(s->ts.metrics);
	if (fast_socket_path(s->dir, "", path, sizeof path) == 0)
		unlink(path);
	rmdir(s->dir);
	free(s->w);
	free(s);
	return 0;
}

/* ---- the helper ---- */

static bool hears(struct stage *s, struct fast_msg *ret_m)
{
	uint8_t bytes[FAST_MSG_LEN + 1];
	ssize_t n = recv(s->peer, bytes, sizeof bytes, MSG_DONTWAIT);

	return n > 0 && fast_msg_parse(bytes, (size_t)n, ret_m) == 0;
}

static void says(struct stage *s, const struct fast_msg *m, int fd)
{
	uint8_t bytes[FAST_MSG_LEN], room[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec iov = { bytes, sizeof bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	fast_msg_write(m, bytes);
	if (fd >= 0) {
		msg.msg_control = room;
		msg.msg_controllen = sizeof room;
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
		*h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(h), &fd, sizeof fd);
	}
	assert_int_equal(sendmsg(s->peer, &msg, MSG_NOSIGNAL), sizeof bytes);
}

static void accept_worker(struct stage *s)
{
	for (unsigned i = 0; i < 200 && s->peer < 0; i++) { /* it tries every second */
		pass(s);
		s->peer = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
		if (s->peer < 0)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	assert_true(s->peer >= 0);
}

static void welcome(struct stage *s)
{
	struct fast_msg m;

	accept_worker(s);
	assert_true(hears(s, &m));
	assert_int_equal(m.type, FAST_HELLO);
	m = (struct fast_msg){ .type = FAST_WELCOME, .seq = m.seq, .welcome = { FAST_XDP, SLOTS, "eth0" } };
	says(s, &m, s->memory);
	pass(s);
}

static void begin(struct stage *s)
{
	listen_at(s);
	assert_int_equal(turn_offload_new(s->w, &s->w->offload), 0);
	welcome(s);
}

static const struct turn_offload_ops *const ops = &turn_udp_offload_ops;

static uint32_t add(struct stage *s, unsigned i, uint64_t until)
{
	struct fast_channel c = channel(i);
	uint32_t h = ops->add(s->w, &s->relay, &c, until);

	assert_true(h);
	return h;
}

static struct fast_msg heard(struct stage *s, enum fast_type type)
{
	struct fast_msg m;

	assert_true(hears(s, &m));
	assert_int_equal(m.type, type);
	return m;
}

static void put_in(struct stage *s, uint32_t slot, enum fast_why why)
{
	struct fast_msg m = heard(s, FAST_ADD);

	if (slot != FAST_NO_SLOT)
		s->slots[slot].generation = 1;
	says(s, &(struct fast_msg){ .type = FAST_ADDED, .seq = m.seq, .state = { slot, 1, why } }, -1);
	pass(s);
}

static int64_t live(const struct stage *s)
{
	return metric_sum(s->ts.metrics, TURN_M_OFFLOADED_CHANNELS, 0);
}

/* ---- the tests ---- */

static void a_channel_gets_a_slot_that_says_until_when(void **state)
{
	struct stage *s = *state;

	begin(s);
	uint32_t h = add(s, 0, 5000);
	assert_int_equal(ops->why(s->w, h), FAST_WHY_WAITING);
	assert_int_equal(s->slots[7].expires_ns, 0);
	put_in(s, 7, FAST_OFFLOADED);
	assert_int_equal(ops->why(s->w, h), FAST_OFFLOADED);
	assert_int_equal(live(s), 1);
	assert_int_equal(s->slots[7].expires_ns, 5000000000);
	ops->until(s->w, h, 9000);
	assert_int_equal(s->slots[7].expires_ns, 9000000000);
	ops->until(s->w, h, UINT64_MAX);
	assert_true(s->slots[7].expires_ns == UINT64_MAX);
}

static void its_counters_come_as_differences_and_completely_at_the_end(void **state)
{
	struct stage *s = *state;
	struct turn_offload_counts n;

	begin(s);
	s->slots[7].packets[0] = 0;
	uint32_t h = add(s, 0, 5000);
	put_in(s, 7, FAST_OFFLOADED);
	s->slots[7].packets[0] = 3;
	s->slots[7].bytes[1] = 30;
	ops->take(s->w, h, &n);
	assert_int_equal(n.packets[0], 3);
	assert_int_equal(n.bytes[1], 30);
	ops->take(s->w, h, &n);
	assert_int_equal(n.packets[0] + n.bytes[1], 0);
	s->slots[7].packets[0] = 10;
	ops->remove(s->w, h, &n);
	assert_int_equal(n.packets[0], 7);
	assert_int_equal(s->slots[7].expires_ns, 0); /* at once, whatever the helper does */
	assert_int_equal(live(s), 0);
	assert_int_equal(heard(s, FAST_REMOVE).state.slot, 7);
}

static void one_that_ends_before_its_answer_is_removed_after_it(void **state)
{
	struct stage *s = *state;
	struct turn_offload_counts n;

	begin(s);
	uint32_t h = add(s, 0, 5000);
	ops->remove(s->w, h, &n);
	put_in(s, 7, FAST_OFFLOADED);
	assert_int_equal(s->slots[7].expires_ns, 0);
	struct fast_msg m = heard(s, FAST_REMOVE);
	says(s, &(struct fast_msg){ .type = FAST_REMOVED, .seq = m.seq, .state = { 7, 1, FAST_OFFLOADED } }, -1);
	pass(s);
	assert_int_equal(add(s, 1, 1), h); /* its place is free again */
}

static void a_refused_one_is_asked_for_again_when_it_is_prolonged(void **state)
{
	struct stage *s = *state;

	begin(s);
	uint32_t h = add(s, 0, 5000);
	put_in(s, FAST_NO_SLOT, FAST_WHY_FULL);
	assert_int_equal(ops->why(s->w, h), FAST_WHY_FULL);
	ops->until(s->w, h, 6000);
	put_in(s, 3, FAST_OFFLOADED);
	assert_int_equal(ops->why(s->w, h), FAST_OFFLOADED);
	assert_int_equal(s->slots[3].expires_ns, 6000000000);
}

static void news_of_a_channel_is_taken(void **state)
{
	struct stage *s = *state;

	begin(s);
	uint32_t h = add(s, 0, 5000);
	put_in(s, 7, FAST_WHY_NO_ROUTE);
	assert_int_equal(live(s), 0);
	says(s, &(struct fast_msg){ .type = FAST_STATE, .state = { 7, 1, FAST_OFFLOADED } }, -1);
	pass(s);
	assert_int_equal(live(s), 1);
	assert_int_equal(ops->why(s->w, h), FAST_OFFLOADED);
	says(s, &(struct fast_msg){ .type = FAST_STATE, .state = { 7, 99, FAST_WHY_NO_ROUTE } }, -1); /* of another owner */
	pass(s);
	assert_int_equal(live(s), 1);
}

static void many_are_asked_for_a_few_at_a_time(void **state)
{
	struct stage *s = *state;
	struct fast_msg m;
	unsigned n = 0;

	begin(s);
	for (unsigned i = 0; i < 200; i++)
		(void)add(s, i, 5000);
	while (hears(s, &m))
		n++;
	assert_int_equal(n, FAST_UNANSWERED_MAX);
	for (unsigned i = 0; i < 200; i++) {
		uint32_t seq = i + 2; /* the hello was the first */
		says(s, &(struct fast_msg){ .type = FAST_ADDED, .seq = seq, .state = { i, 1, FAST_OFFLOADED } }, -1);
		passes(s, 1);
		n += hears(s, &m);
	}
	assert_int_equal(n, 200);
	assert_int_equal(live(s), 200);
}

static void when_the_helper_dies_nothing_passes_and_nothing_is_lost(void **state)
{
	struct stage *s = *state;
	struct turn_offload_counts n;

	begin(s);
	uint32_t h = add(s, 0, 5000), ended = add(s, 1, 5000);
	put_in(s, 7, FAST_OFFLOADED);
	put_in(s, 8, FAST_OFFLOADED);
	ops->remove(s->w, ended, &n);
	s->slots[7].packets[1] = 12;
	close(s->peer);
	s->peer = -1;
	passes(s, 2);
	assert_int_equal(s->slots[7].expires_ns, 0);
	assert_int_equal(ops->why(s->w, h), FAST_WHY_NO_HELPER);
	assert_int_equal(live(s), 0);
	ops->until(s->w, h, 8000);
	welcome(s); /* it is back: only what lives is asked for, with its new end */
	put_in(s, 20, FAST_OFFLOADED);
	assert_int_equal(s->slots[20].expires_ns, 8000000000);
	s->slots[20].packets[1] = 5;
	ops->take(s->w, h, &n);
	assert_int_equal(n.packets[1], 17);
	struct fast_msg m;
	assert_false(hears(s, &m));
}

/* The helper ends a connection that it cannot write to, and its slots have new owners before the worker knows. */
static void a_slot_that_has_another_owner_is_left_alone(void **state)
{
	struct stage *s = *state;
	struct turn_offload_counts n;

	begin(s);
	uint32_t h = add(s, 0, 5000), other = add(s, 1, 5000);
	put_in(s, 7, FAST_OFFLOADED);
	put_in(s, 8, FAST_OFFLOADED);
	s->slots[7].packets[0] = s->slots[8].packets[0] = 40;
	ops->take(s->w, h, &n);
	ops->take(s->w, other, &n);
	for (unsigned i = 7; i < 9; i++)
		s->slots[i] = (struct fast_slot){ .generation = 2, .expires_ns = 1234, .packets = { 3, 3 } };
	ops->until(s->w, h, 9000);
	ops->take(s->w, h, &n);
	assert_int_equal(n.packets[0] + n.packets[1], 0);
	ops->remove(s->w, other, &n);
	assert_int_equal(n.packets[0] + n.packets[1], 0);
	close(s->peer);
	s->peer = -1;
	passes(s, 2);
	assert_int_equal(ops->why(s->w, h), FAST_WHY_NO_HELPER);
	assert_int_equal(s->slots[7].expires_ns, 1234);
	assert_int_equal(s->slots[8].expires_ns, 1234);
}

static void without_a_helper_channels_wait(void **state)
{
	struct stage *s = *state;
	struct turn_offload_counts n;

	assert_int_equal(turn_offload_new(s->w, &s->w->offload), 0);
	pass(s);
	uint32_t h = add(s, 0, 5000), other = add(s, 1, 5000);
	assert_int_equal(ops->why(s->w, h), FAST_WHY_NO_HELPER);
	ops->remove(s->w, other, &n);
	listen_at(s);
	welcome(s);
	put_in(s, 7, FAST_OFFLOADED);
	assert_int_equal(ops->why(s->w, h), FAST_OFFLOADED);
}

static void breaks(struct stage *s, const struct fast_msg *m, int fd)
{
	uint8_t byte;

	says(s, m, fd);
	passes(s, 2);
	while (recv(s->peer, &byte, 1, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(recv(s->peer, &byte, 1, MSG_DONTWAIT), 0); /* it hung up */
	close(s->peer);
	s->peer = -1;
}

static void nonsense_ends_the_connection(void **state)
{
	struct stage *s = *state;
	struct fast_msg m;

	begin(s);
	breaks(s, &(struct fast_msg){ .type = FAST_ADDED, .seq = 2, .state = { 7, 1, 0 } }, -1); /* nobody asked */
	welcome(s);
	uint32_t h = add(s, 0, 5000);
	m = heard(s, FAST_ADD);
	breaks(s, &(struct fast_msg){ .type = FAST_ADDED, .seq = m.seq, .state = { SLOTS, 1, 0 } }, -1); /* no such slot */
	welcome(s);
	m = heard(s, FAST_ADD);
	breaks(s, &(struct fast_msg){ .type = FAST_ADDED, .seq = m.seq + 1, .state = { 7, 1, 0 } }, -1);
	accept_worker(s);
	m = heard(s, FAST_HELLO);
	breaks(s, &(struct fast_msg){ .type = FAST_WELCOME, .seq = m.seq, .welcome = { FAST_TC, SLOTS, "" } }, -1); /* no memory */
	accept_worker(s);
	m = heard(s, FAST_HELLO);
	breaks(s, &(struct fast_msg){ .type = FAST_STATE }, -1); /* before the welcome */
	welcome(s);
	put_in(s, 7, FAST_OFFLOADED);
	assert_int_equal(ops->why(s->w, h), FAST_OFFLOADED);
}

/* ---- messages ---- */

static void messages_are_what_their_description_says(void **state)
{
	static const uint8_t add_bytes[] = {
		'S', 'F', 'A', 'P', 1, 3, 0, 0, 0, 0, 0, 9,				/* magic, version, ADD, 0, number 9 */
		4, 0, 0x0f, 0xa0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	/* client 192.0.2.1:4000 */
		4, 0, 0x0d, 0x96, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	/* local 192.0.2.2:3478 */
		4, 0, 0xc3, 0x50, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	/* relay 192.0.2.2:50000 */
		4, 0, 0, 9, 198, 51, 100, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	/* peer 198.51.100.9:9 */
		0x40, 0,								/* channel */
	};
	struct fast_msg m = { .type = FAST_ADD, .seq = 9, .add = channel(0) }, back;
	uint8_t bytes[FAST_MSG_LEN], zeroes[FAST_MSG_LEN - sizeof add_bytes] = { 0 };

	(void)state;
	fast_msg_write(&m, bytes);
	assert_memory_equal(bytes, add_bytes, sizeof add_bytes);
	assert_memory_equal(bytes + sizeof add_bytes, zeroes, sizeof zeroes);
	assert_int_equal(fast_msg_parse(bytes, sizeof bytes, &back), 0);
	assert_true(addr_equal(&back.add.peer, &m.add.peer));
	for (size_t i = 0; i < sizeof bytes; i++) { /* whatever is turned on in head or tail is refused */
		if (i >= 8 && i < sizeof add_bytes)
			continue;
		bytes[i] ^= 0x40;
		assert_int_equal(fast_msg_parse(bytes, sizeof bytes, &back), -EBADMSG);
		bytes[i] ^= 0x40;
	}
	assert_int_equal(fast_msg_parse(bytes, sizeof bytes - 1, &back), -EBADMSG);
	bytes[12] = 6; /* a client of another family than our address */
	assert_int_equal(fast_msg_parse(bytes, sizeof bytes, &back), -EBADMSG);
}

#define STAGE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE(a_channel_gets_a_slot_that_says_until_when),
		STAGE(its_counters_come_as_differences_and_completely_at_the_end),
		STAGE(one_that_ends_before_its_answer_is_removed_after_it),
		STAGE(a_refused_one_is_asked_for_again_when_it_is_prolonged),
		STAGE(news_of_a_channel_is_taken),
		STAGE(many_are_asked_for_a_few_at_a_time),
		STAGE(when_the_helper_dies_nothing_passes_and_nothing_is_lost),
		STAGE(a_slot_that_has_another_owner_is_left_alone),
		STAGE(without_a_helper_channels_wait),
		STAGE(nonsense_ends_the_connection),
		cmocka_unit_test(messages_are_what_their_description_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
