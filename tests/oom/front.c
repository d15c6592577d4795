/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front with every allocation failed once: its table is made or not, a connection goes to the service itself, to its
 * backend, or is closed with a reason; nothing hangs, nothing leaks, and who was admitted leaves.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <stdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/front.h"
#include "common/proxy_intake.h"
#include "common/unix_socket.h"
#include "tests/oom/failing.h"

enum { PATIENCE_MS = 4000 };

/* A ClientHello without extensions: goes to whatever takes everything. */
static const uint8_t hello[] = { 22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3, [43] = 0, 0, 2, 0x13, 1, 1, 0 };
static const uint8_t header[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 'Q', 'U', 'I', 'T', 0x0a, 0x21, 0x11, 0x00, 0x0c,
				  203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb };
static struct support_dir dir;

struct scene {
	struct front *front;
	unsigned admitted, left, own, refused, joined, dropped;
	bool over;
};

static bool admit(const struct addr *client, void *arg)
{
	(void)client;
	((struct scene *)arg)->admitted++;
	return true;
}

static void leave(const struct addr *client, void *tag, void *arg)
{
	struct scene *sc = arg;

	(void)client;
	(void)tag;
	sc->over = ++sc->left == sc->admitted;
}

static void on_self(const struct front_own *o, void *arg)
{
	close(o->fd);
	((struct scene *)arg)->own++;
}

static void on_refused(enum front_refusal r, const struct front_visit *v, void *arg)
{
	assert_true(r < FRONT_REFUSALS && v->why);
	((struct scene *)arg)->refused++;
}

static void on_joined(const struct front_visit *v, void *arg)
{
	struct scene *sc = arg;

	assert_non_null(v->to);
	sc->joined++;
	sc->over = true; /* its backend has nothing to say */
}

static const struct front_ops front_ops = { admit, leave, on_self, on_refused, on_joined };

static void on_arrival(const struct proxy_arrival *a, void *arg)
{
	struct scene *sc = arg;

	if (!front_take(sc->front, a->fd, &a->client, &a->server, a->tag.of))
		sc->over = true;
}

static void on_dropped(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg)
{
	struct scene *sc = arg;

	(void)sender;
	(void)tag;
	assert_non_null(why);
	sc->dropped++;
	sc->over = true;
}

static const struct proxy_intake_ops intake_ops = { on_arrival, on_dropped };

/* One connection that tells its client, says hello, and is closed by its client. */
static void visit(struct loop *l, struct front_table *t, struct scene *sc)
{
	const struct addr sender = addr_v4(INADDR_LOOPBACK, 1);
	struct proxy_intake *in = NULL;
	int fd[2];

	*sc = (struct scene){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(write(fd[0], header, sizeof(header)), sizeof(header));
	assert_int_equal(write(fd[0], hello, 50), 50);
	shutdown(fd[0], SHUT_WR);
	if (front_new(l, t, &front_ops, sc, &sc->front) < 0 || proxy_intake_new(l, NULL, &intake_ops, sc, &in) < 0) {
		close(fd[1]);
		sc->over = true;
	} else {
		proxy_intake_take(in, fd[1], &sender, &sender, (struct proxy_tag){ sc, 1 });
	}
	if (!sc->over)
		support_run_until(l, &sc->over, PATIENCE_MS);
	proxy_intake_free(in);
	front_free(sc->front);
	assert_int_equal(sc->left, sc->admitted);
	close(fd[0]);
}

static void drain(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		close(fd);
}

static void a_connection_ends_somewhere_whatever_fails(void **state)
{
	struct front_route routes[] = { { .to = { .self = true } }, { .to = { .path = "" }, .proxy_protocol = true } };
	int listener;

	(void)state;
	snprintf(routes[1].to.path, sizeof(routes[1].to.path), "%s", support_path(&dir, "backend.sock"));
	assert_int_equal(unix_socket_listen(routes[1].to.path, &(struct unix_socket_options){ .mode = 0600 }, &listener), 0);
	for (size_t which = 0; which < 2; which++)
		for (unsigned n = 1; oom_next(&n);) {
			struct cfg_list list = { &routes[which], 1 };
			struct front_table *t = NULL;
			struct loop *l = NULL;
			struct scene sc = { 0 };
			int r = front_table_new(&list, "turn", NULL, &t);

			assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
			if (r == 0 && loop_new(&l) == 0)
				visit(l, t, &sc);
			if (!oom_hit())
				assert_int_equal(which ? sc.joined : sc.own, 1);
			loop_free(l);
			front_table_unref(t);
			drain(listener);
		}
	close(listener);
	assert_int_equal(unix_socket_remove_dead(routes[1].to.path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_connection_ends_somewhere_whatever_fails) };
	int r;

	support_dir_make(&dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	support_dir_remove(&dir);
	return r;
}
