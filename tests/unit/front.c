/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing table of a front (common/front.h), and the intake of connections that begin with a PROXY header
 * (common/proxy_intake.h) over socket pairs. The front's own connections are tested with real servers behind
 * it: tests/admin/front.py.
 */
#include "tests/unit/support.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/front.h"
#include "common/proxy_intake.h"

/* ---- routes ---- */

static char *turn_protocols[] = { "stun.turn", "stun.nat-discovery" };
static char *turn_names[] = { "Turn.example.org" };
static char *all_names[] = { "*.example.org" };
static char *tunnel[] = { "stile-tunnel" };
#define LIST(a) { (void *)(a), ARRAY_LEN(a) }

static struct front_route routes[] = {
	{ .alpn = LIST(turn_protocols), .to = { .self = true } },
	{ .server_name = LIST(turn_names), .to = { .self = true } },
	{ .server_name = LIST(all_names), .alpn = LIST(tunnel), .to = { .path = "/run/tunnel.sock" }, .proxy_protocol = true },
	{ .server_name = LIST(all_names), .to = { .path = "/run/web.sock" }, .proxy_protocol = true },
};

static struct front_table *table_of(size_t n, struct front_table *before)
{
	struct cfg_list list = { routes, n };
	struct front_table *t = NULL;

	assert_int_equal(front_table_new(&list, "turn", before, &t), 0);
	return t;
}

static const char *goes_to(const struct front_table *t, const char *name, const char *alpn, const char *expected_alpn)
{
	struct client_hello h = { .server_name = text_of(name), .alpn = rd_init(alpn, alpn ? strlen(alpn) : 0) };
	struct text by;
	const struct front_backend *b = front_table_match(t, &h, &by);

	assert_true(text_eq(by, text_of(expected_alpn)));
	return b->name;
}

static void the_first_route_that_fits_counts_and_what_fits_none_is_ours(void **state)
{
	struct front_table *t = table_of(ARRAY_LEN(routes), NULL);

	(void)state;
	assert_string_equal(goes_to(t, "www.example.org", "\x09stun.turn", "stun.turn"), "turn");
	assert_string_equal(goes_to(t, NULL, "\x02h2\x12stun.nat-discovery", "stun.nat-discovery"), "turn");
	assert_string_equal(goes_to(t, "TURN.example.org", NULL, NULL), "turn");
	assert_string_equal(goes_to(t, "a.example.org", "\x0cstile-tunnel", "stile-tunnel"), "unix:/run/tunnel.sock");
	assert_string_equal(goes_to(t, "a.example.org", "\x02h2", NULL), "unix:/run/web.sock");
	assert_string_equal(goes_to(t, "A.Example.Org.", NULL, NULL), "unix:/run/web.sock");
	assert_string_equal(goes_to(t, "b.a.example.org", NULL, NULL), "turn"); /* the star is one label */
	assert_string_equal(goes_to(t, "a.example.com", "\x02h2", NULL), "turn");
	assert_string_equal(goes_to(t, NULL, NULL, NULL), "turn");
	front_table_unref(t);
}

static void a_new_table_goes_on_with_the_same_backends(void **state)
{
	struct front_table *t = table_of(4, NULL), *next;
	struct front_backend *const *was, *const *is;
	struct front_backend *kept;

	(void)state;
	assert_int_equal(front_table_backends(t, &was), 3);
	kept = front_backend_ref(was[2]);
	kept->taken = 7;
	next = table_of(4, t);
	front_table_unref(t);
	assert_int_equal(front_table_backends(next, &is), 3);
	assert_ptr_equal(is[2], kept);
	assert_int_equal(is[2]->taken, 7);
	t = table_of(1, next);
	front_table_unref(next);
	assert_int_equal(front_table_backends(t, &is), 1);
	assert_int_equal(kept->refs, 1);
	front_backend_unref(kept);
	front_table_unref(t);
}

static void it_knows_whether_anything_could_be_for_the_service_itself(void **state)
{
	struct front_route all[] = { { .to = { .path = "/x" } }, { .to = { .self = true } } };
	struct cfg_list list = { all, 2 };
	struct front_table *t = table_of(4, NULL);

	(void)state;
	assert_true(front_table_serves_self(t));
	front_table_unref(t);
	assert_int_equal(front_table_new(&list, "turn", NULL, &t), 0);
	assert_false(front_table_serves_self(t));
	front_table_unref(t);
}

/* ---- the intake ---- */

static const uint8_t header[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 'Q', 'U', 'I', 'T', 0x0a, 0x21, 0x11, 0x00, 0x0c,
				  203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb };

struct scene {
	struct loop *loop;
	struct proxy_intake *intake;
	struct proxy_arrival got;
	unsigned arrivals, refusals;
	char why[128];
	void *tag;
	bool any;
};

static void on_arrival(const struct proxy_arrival *a, void *arg)
{
	struct scene *sc = arg;

	sc->got = *a;
	sc->arrivals++;
	sc->any = true;
}

static void on_refused(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg)
{
	struct scene *sc = arg;

	(void)sender;
	sc->refusals++;
	sc->tag = tag.of;
	snprintf(sc->why, sizeof(sc->why), "%s", why ? why : "-");
	sc->any = true;
}

static const struct proxy_intake_ops ops = { on_arrival, on_refused };
static const struct addr balancer = { .in4 = { .sin_family = AF_INET, .sin_port = 0x0100, .sin_addr.s_addr = 0x0200007f } };

static void begin(struct scene *sc, unsigned waiting, uint64_t deadline_ms)
{
	*sc = (struct scene){ 0 };
	assert_int_equal(loop_new(&sc->loop), 0);
	assert_int_equal(proxy_intake_new(sc->loop, &(struct proxy_intake_options){ waiting, deadline_ms }, &ops, sc, &sc->intake), 0);
}

static void end(struct scene *sc)
{
	proxy_intake_free(sc->intake);
	loop_free(sc->loop);
}

/* Our end of a pair whose other end the intake has. */
static int enter(struct scene *sc, const struct addr *sender, const void *p, size_t n)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	if (n)
		assert_int_equal(write(fd[0], p, n), n);
	sc->any = false;
	proxy_intake_take(sc->intake, fd[1], sender, sender, (struct proxy_tag){ sc, 1 });
	return fd[0];
}

static void what_follows_the_header_is_left_to_the_connection(void **state)
{
	const struct addr told = addr_v4(0xcb007107, 4711);
	uint8_t all[sizeof(header) + 5], rest[16];
	struct scene sc;

	(void)state;
	memcpy(all, header, sizeof(header));
	memcpy(all + sizeof(header), "hello", 5);
	begin(&sc, 0, 0);
	int fd = enter(&sc, &balancer, all, sizeof(all));
	assert_int_equal(sc.arrivals, 1);
	assert_int_equal(read(sc.got.fd, rest, sizeof(rest)), 5);
	assert_memory_equal(rest, "hello", 5);
	assert_true(addr_equal(&sc.got.client, &told));
	assert_true(addr_equal(&sc.got.sender, &balancer) && sc.got.tag.of == &sc && sc.got.tag.kind == 1);
	assert_int_equal(proxy_intake_waiting(sc.intake), 0);
	close(sc.got.fd);
	close(fd);
	end(&sc);
}

static void a_header_in_pieces_is_waited_for(void **state)
{
	struct scene sc;

	(void)state;
	begin(&sc, 0, 0);
	int fd = enter(&sc, &balancer, header, 3);
	for (size_t i = 3; i < sizeof(header); i++) {
		assert_int_equal(proxy_intake_waiting(sc.intake), 1);
		assert_int_equal(write(fd, header + i, 1), 1);
		support_run_for(sc.loop, 2);
	}
	support_run_until(sc.loop, &sc.any, 1000);
	assert_int_equal(sc.arrivals, 1);
	close(sc.got.fd);
	close(fd);
	end(&sc);
}

static void what_is_no_header_or_does_not_come_is_refused_with_its_reason(void **state)
{
	static const struct addr nobody;
	struct scene sc;
	char c;

	(void)state;
	begin(&sc, 2, 60);
	close(enter(&sc, &balancer, "GET / HTTP/1.1\r\n", 16));
	assert_non_null(strstr(sc.why, "does not begin"));
	assert_ptr_equal(sc.tag, &sc);
	close(enter(&sc, &nobody, "\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a\x20\x00\x00\x00", 16)); /* a Unix socket's, LOCAL */
	assert_non_null(strstr(sc.why, "tells no client"));
	close(enter(&sc, &balancer, NULL, 0)); /* came and went */
	support_run_until(sc.loop, &sc.any, 1000);
	assert_string_equal(sc.why, "-");
	int a = enter(&sc, &balancer, header, 20), b = enter(&sc, &balancer, NULL, 0), over = enter(&sc, &balancer, NULL, 0);
	assert_non_null(strstr(sc.why, "as many"));
	assert_int_equal(read(over, &c, 1), 0);
	shutdown(a, SHUT_WR);
	sc.any = false;
	support_run_until(sc.loop, &sc.any, 1000);
	assert_non_null(strstr(sc.why, "ended within"));
	sc.any = false;
	support_run_until(sc.loop, &sc.any, 1000);
	assert_non_null(strstr(sc.why, "in time"));
	assert_int_equal(read(b, &c, 1), 0);
	assert_int_equal(sc.refusals, 6);
	assert_int_equal(sc.arrivals, 0);
	close(a);
	close(b);
	close(over);
	end(&sc);
}

static void a_backend_may_be_behind_an_address(void **state)
{
	struct front_route far = { .server_name = LIST(all_names), .to = { .at = addr_v4(0x7f000001, 8443) } };
	struct cfg_list list = { &far, 1 };
	struct front_backend *const *backends;
	struct front_table *t = NULL;

	(void)state;
	assert_int_equal(front_table_new(&list, "turn", NULL, &t), 0);
	assert_int_equal(front_table_backends(t, &backends), 2);
	assert_string_equal(goes_to(t, "a.example.org", NULL, NULL), backends[1]->name);
	assert_true(addr_equal(&backends[1]->at, &far.to.at));
	assert_int_equal(backends[1]->len, addr_len(&far.to.at));
	front_table_unref(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_route_that_fits_counts_and_what_fits_none_is_ours),
		cmocka_unit_test(a_new_table_goes_on_with_the_same_backends),
		cmocka_unit_test(it_knows_whether_anything_could_be_for_the_service_itself),
		cmocka_unit_test(what_follows_the_header_is_left_to_the_connection),
		cmocka_unit_test(a_header_in_pieces_is_waited_for),
		cmocka_unit_test(what_is_no_header_or_does_not_come_is_refused_with_its_reason),
		cmocka_unit_test(a_backend_may_be_behind_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
