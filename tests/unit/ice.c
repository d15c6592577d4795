/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends in one process that find each other over loopback, their lines carried by hand: paths, their sockets, what is
 * refused, and attempts that are freed at any moment. NATs and relays are in tests/netns.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "tunnel/direct/ice_priv.h"

enum { PATIENCE_MS = 20000 };

struct end {
	struct world *w;
	struct end *peer;
	struct ice *ice;
	struct ice_try *t;
	bool ended; /* all lines were told */
	struct ice_path path;
	unsigned paths;
	enum ice_state state;
	bool free_on_line, free_on_path;
	bool only_tcp; /* of its lines others are not carried */
	uint16_t tcp_port; /* of its first TCP candidate */
};
struct world {
	struct loop *l;
	struct end end[2];
	struct timer patience;
	bool (*done)(struct world *w);
	bool late;
};

static void look(struct world *w)
{
	if (w->done && w->done(w))
		loop_stop(w->l);
}

static void on_line(struct ice_try *t, const char *line, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(t, e->t);
	assert_false(e->ended);
	e->ended = !line;
	if (line && strstr(line, " TCP ") && !e->tcp_port)
		e->tcp_port = (uint16_t)atoi(strstr(line, "127.0.0.1 ") ? strstr(line, "127.0.0.1 ") + 10 : "0");
	if (e->peer->t && !(e->only_tcp && line && !strstr(line, " TCP ")))
		assert_int_equal(ice_try_line(e->peer->t, line), 0);
	if (e->free_on_line)
		e->t = ice_try_free(e->t);
	look(e->w);
}

static void on_path(struct ice_try *t, struct ice_path *p, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(t, e->t);
	if (e->paths++ && e->path.fd >= 0)
		close(e->path.fd);
	e->path = *p;
	if (e->free_on_path)
		e->t = ice_try_free(e->t);
	look(e->w);
}

static void on_lost(struct ice_try *t, enum ice_kind k, void *arg)
{
	(void)t;
	(void)k;
	look(((struct end *)arg)->w);
}

static void on_state(struct ice_try *t, enum ice_state s, void *arg)
{
	struct end *e = arg;

	(void)t;
	e->state = s;
	look(e->w);
}

static const struct ice_ops ops = { .on_line = on_line, .on_path = on_path, .on_lost = on_lost, .on_state = on_state };

static void on_patience(struct timer *t, uint64_t now)
{
	struct world *w = container_of(t, struct world, patience);

	(void)now;
	w->late = true;
	loop_stop(w->l);
}

static void wait_for(struct world *w, bool (*done)(struct world *w))
{
	w->done = done;
	w->patience.fire = on_patience;
	loop_timer_set(w->l, &w->patience, PATIENCE_MS);
	if (!done(w))
		assert_int_equal(loop_run(w->l), 0);
	timer_stop(&w->patience);
	assert_false(w->late);
}

static void world_open(struct world *w, const struct ice_settings *more)
{
	struct ice_settings s = more ? *more : (struct ice_settings){ 0 };

	s.loopback = true;
	s.no_port_mapping = true;
	memset(w, 0, sizeof *w);
	assert_int_equal(loop_new(&w->l), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct end *e = &w->end[i];
		*e = (struct end){ .w = w, .peer = &w->end[1 - i], .path.fd = -1 };
		assert_int_equal(ice_new(w->l, &s, &e->ice), 0);
	}
}

static void begin(struct end *e)
{
	struct ice_try_options o = { .controlling = e == &e->w->end[0], .ops = &ops, .arg = e };

	assert_int_equal(ice_try_new(e->ice, e->w->l, &o, &e->t), 0);
}

static void introduce(struct world *w)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(ice_try_remote(w->end[i].t, ice_try_ufrag(w->end[1 - i].t), ice_try_pwd(w->end[1 - i].t)), 0);
}

static void world_close(struct world *w)
{
	for (unsigned i = 0; i < 2; i++) {
		ice_try_free(w->end[i].t);
		if (w->end[i].path.fd >= 0)
			close(w->end[i].path.fd);
	}
	for (unsigned i = 0; i < 2; i++)
		ice_free(w->end[i].ice);
	loop_free(w->l);
}

static bool both_connected(struct world *w)
{
	return w->end[0].state == ICE_CONNECTED && w->end[1].state == ICE_CONNECTED && w->end[0].paths && w->end[1].paths;
}

static void two_ends_find_a_direct_pair_and_hand_its_socket_over(void **state)
{
	struct world w;
	struct addr bound;
	socklen_t len = sizeof bound;

	(void)state;
	world_open(&w, NULL);
	begin(&w.end[0]);
	begin(&w.end[1]);
	introduce(&w);
	wait_for(&w, both_connected);
	for (unsigned i = 0; i < 2; i++) {
		struct ice_path *p = &w.end[i].path;
		assert_int_equal(p->kind, ICE_DIRECT);
		assert_true(p->fd >= 0);
		assert_int_equal(getsockname(p->fd, &bound.sa, &len), 0);
		assert_true(addr_equal(&bound, &p->local));
		assert_string_equal(ice_try_why(w.end[i].t), "direct");
	}
	assert_true(addr_equal(&w.end[0].path.local, &w.end[1].path.remote));
	assert_true(addr_equal(&w.end[1].path.local, &w.end[0].path.remote));
	json_t *shown = ice_try_show(w.end[0].t);
	assert_string_equal(json_string_value(json_object_get(shown, "state")), "connected");
	assert_int_equal(json_array_size(json_object_get(shown, "paths")), 1);
	json_decref(shown);
	world_close(&w);
}

static bool all_lines_told(struct world *w)
{
	return w->end[0].ended && w->end[1].ended;
}

static void lines_may_come_before_the_peers_name_is_known(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, NULL);
	begin(&w.end[0]);
	begin(&w.end[1]);
	wait_for(&w, all_lines_told);
	assert_string_equal(ice_try_why(w.end[0].t), "the peer has not answered yet");
	introduce(&w);
	wait_for(&w, both_connected);
	world_close(&w);
}

/* ---- TCP ---- */

static void speak(int from, int to)
{
	static const char words[] = "frames follow";
	char got[sizeof words] = "";
	size_t n = 0;

	assert_int_equal(send(from, words, sizeof words, 0), sizeof words);
	for (unsigned i = 0; n < sizeof words && i < 2000; i++) {
		ssize_t r = recv(to, got + n, sizeof got - n, MSG_DONTWAIT);
		n += r > 0 ? (size_t)r : 0;
		if (r <= 0)
			usleep(10000);
	}
	assert_string_equal(got, words);
}

static void tcp_is_found_where_no_udp_address_is_known(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, NULL);
	w.end[0].only_tcp = w.end[1].only_tcp = true;
	begin(&w.end[0]);
	begin(&w.end[1]);
	introduce(&w);
	wait_for(&w, both_connected);
	assert_int_equal(w.end[0].path.kind, ICE_TCP);
	assert_int_equal(w.end[1].path.kind, ICE_TCP);
	speak(w.end[0].path.fd, w.end[1].path.fd); /* not a byte of it was taken for a check */
	speak(w.end[1].path.fd, w.end[0].path.fd);
	assert_non_null(strstr(ice_try_why(w.end[0].t), "TCP"));
	world_close(&w);
}

static bool both_listen(struct world *w)
{
	return w->end[0].tcp_port && w->end[1].tcp_port;
}

static void strangers_at_the_tcp_port_do_no_harm(void **state)
{
	static const char *const words[] = { "", "GET / HTTP/1.1\r\n\r\n", "\x01\x01", "\0\1\0\x08\x21\x12\xa4\x42" };
	struct world w;
	int strangers[24];

	(void)state;
	world_open(&w, NULL);
	w.end[0].only_tcp = w.end[1].only_tcp = true;
	begin(&w.end[0]);
	begin(&w.end[1]);
	introduce(&w);
	wait_for(&w, both_listen);
	for (unsigned i = 0; i < ARRAY_LEN(strangers); i++) {
		struct addr to = addr_v4(0x7f000001, w.end[i % 2].tcp_port);
		strangers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(connect(strangers[i], &to.sa, addr_len(&to)) == 0 || errno == EINPROGRESS); /* more than may wait */
		if (i % 4)
			(void)!send(strangers[i], words[i % 4], i % 4 == 3 ? 8 : strlen(words[i % 4]), MSG_NOSIGNAL);
	}
	wait_for(&w, both_connected);
	assert_int_equal(w.end[0].path.kind, ICE_TCP);
	speak(w.end[0].path.fd, w.end[1].path.fd);
	for (unsigned i = 0; i < ARRAY_LEN(strangers); i++)
		close(strangers[i]);
	world_close(&w);
}

static bool one_failed(struct world *w)
{
	return w->end[0].state == ICE_FAILED;
}

static void a_peer_without_an_address_fails_with_a_reason(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, NULL);
	begin(&w.end[0]);
	assert_int_equal(ice_try_remote(w.end[0].t, "abcd", "abcdefghijklmnopqrstuvwx"), 0);
	assert_int_equal(ice_try_line(w.end[0].t, NULL), 0);
	wait_for(&w, one_failed);
	assert_non_null(strstr(ice_try_why(w.end[0].t), "no address"));
	world_close(&w);
}

/* Threads of this process that are called so. */
static unsigned threads_called(const char *name)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[300], comm[32];
	unsigned n = 0;

	assert_non_null(tasks);
	for (struct dirent *e; (e = readdir(tasks));) {
		snprintf(path, sizeof path, "/proc/self/task/%.255s/comm", e->d_name);
		FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		n += f && fgets(comm, sizeof comm, f) && strncmp(comm, name, strlen(name)) == 0;
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return n;
}

static void a_router_is_asked_as_soon_as_that_is_allowed(void **state)
{
	struct ice_settings s = { .no_port_mapping = true };
	int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct loop *l;
	struct ice *i;

	(void)state;
	if (net < 0 || unshare(CLONE_NEWNET) < 0)
		skip(); /* its questions are for a network without anybody, not for this machine's */
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(ice_new(l, &s, &i), 0);
	assert_int_equal(threads_called("upnp"), 0);
	s.no_port_mapping = false;
	assert_int_equal(ice_set(i, &s), 0);
	for (unsigned tries = 0; tries < 1000 && !threads_called("upnp"); tries++)
		usleep(10000); /* it gives itself its name */
	assert_int_equal(threads_called("upnp"), 1);
	ice_free(i);
	loop_free(l);
	assert_int_equal(setns(net, CLONE_NEWNET), 0);
	close(net);
}

/* The loopback interface of a network of its own, called so and with an address of somebody's LAN. */
static size_t candidates_of_an_interface(const char *name)
{
	struct ifreq q = { .ifr_name = "lo" };
	struct sockaddr_in *in = (struct sockaddr_in *)&q.ifr_addr;
	struct addr found[ICE_LOCAL_MAX];
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	(void)snprintf(q.ifr_newname, sizeof q.ifr_newname, "%s", name);
	assert_int_equal(ioctl(fd, SIOCSIFNAME, &q), 0);
	(void)snprintf(q.ifr_name, sizeof q.ifr_name, "%s", name);
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &q), 0);
	q.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &q), 0);
	close(fd);
	return ice_local_addresses(&(struct ice_settings){ 0 }, found);
}

static void bridges_of_a_network_have_candidates_and_those_of_containers_have_none(void **state)
{
	static const struct {
		const char *name;
		size_t candidates;
	} rows[] = {
		{ "eth0", 1 }, { "br-lan", 1 },	   { "br-ex", 1 },   { "br0", 1 },    { "br-0123456789", 1 }, { "br-guestnetwork", 1 },
		{ "br-0a1b2c3d4e5f", 0 }, { "docker0", 0 }, { "virbr0", 0 },
	};
	int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)state;
	if (net < 0 || unshare(CLONE_NEWNET) < 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (candidates_of_an_interface(rows[i].name) != rows[i].candidates)
			fail_msg("%s has %zu candidates", rows[i].name, 1 - rows[i].candidates);
	assert_int_equal(setns(net, CLONE_NEWNET), 0);
	close(net);
}

static void what_a_peer_may_not_say_is_counted_and_bounded(void **state)
{
	struct world w;
	struct ice_settings s = { .n_stun = 0 };
	json_t *shown;
	char line[CANDIDATE_STRLEN];
	struct ice_try *t;

	(void)state;
	world_open(&w, &s);
	begin(&w.end[0]);
	t = w.end[0].t;
	assert_int_equal(ice_try_remote(t, "abc", "abcdefghijklmnopqrstuvwx"), -EINVAL);
	assert_int_equal(ice_try_remote(t, "abcd", "short"), -EINVAL);
	assert_int_equal(ice_try_remote(t, "ab\r\n", "abcdefghijklmnopqrstuvwx"), -EINVAL);
	assert_int_equal(ice_try_line(t, "nonsense"), CANDIDATE_BAD_SYNTAX);
	assert_int_equal(ice_try_line(t, "candidate:1 1 UDP 1 224.0.0.1 4000 typ host"), CANDIDATE_GROUP);
	assert_int_equal(ice_try_line(t, "candidate:1 1 UDP 1 192.0.2.1 4000 typ host"), 0);
	assert_int_equal(ice_try_line(t, "candidate:2 1 UDP 1 192.0.2.1 4000 typ host"), CANDIDATE_TWICE);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(line, sizeof line, "candidate:1 1 UDP 1 192.0.2.1 %u typ host", 5000 + i);
		int r = ice_try_line(t, line);
		assert_int_equal(r, i < CANDIDATES_MAX - 1 ? 0 : CANDIDATE_TOO_MANY);
	}
	shown = ice_try_show(t);
	assert_int_equal(json_array_size(json_object_get(shown, "remote")), CANDIDATES_MAX);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(shown, "refused"), "too-many")), 10000 - CANDIDATES_MAX + 1);
	json_decref(shown);
	world_close(&w);
}

static bool one_freed(struct world *w)
{
	return !w->end[0].t;
}

static void an_attempt_may_be_freed_at_any_moment(void **state)
{
	struct world w;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		world_open(&w, NULL);
		begin(&w.end[0]);
		begin(&w.end[1]);
		introduce(&w);
		w.end[0].free_on_line = round == 1;
		w.end[0].free_on_path = round == 2;
		if (round == 0)
			w.end[0].t = ice_try_free(w.end[0].t);
		else if (round < 3)
			wait_for(&w, one_freed);
		world_close(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_ends_find_a_direct_pair_and_hand_its_socket_over),
		cmocka_unit_test(lines_may_come_before_the_peers_name_is_known),
		cmocka_unit_test(tcp_is_found_where_no_udp_address_is_known),
		cmocka_unit_test(strangers_at_the_tcp_port_do_no_harm),
		cmocka_unit_test(a_peer_without_an_address_fails_with_a_reason),
		cmocka_unit_test(a_router_is_asked_as_soon_as_that_is_allowed),
		cmocka_unit_test(bridges_of_a_network_have_candidates_and_those_of_containers_have_none),
		cmocka_unit_test(what_a_peer_may_not_say_is_counted_and_bounded),
		cmocka_unit_test(an_attempt_may_be_freed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
