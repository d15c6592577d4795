/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two joints in a row, TLS between them, with every allocation failed once: bytes arrive whole, or each joint
 * that there is ends with a reason; nothing hangs and nothing leaks. The test's ends are moved once a pass.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/joint.h"
#include "tests/oom/failing.h"

enum { BYTES = 400000, PATIENCE_MS = 5000 };

static struct support_dir dir;

struct half {
	struct joint *j;
	int b; /* to be dialled when wanted */
	struct joint_tls tls;
	unsigned ends;
};

struct talk {
	struct pass_hook hook;
	struct timer tick;
	struct loop *l;
	struct half near, far;
	int source, target;
	size_t sent, got;
	bool over;
};

static void want_b(struct joint *j, int err, const char *why, void *arg)
{
	struct half *h = arg;
	int fd = h->b;

	h->b = -1;
	if (fd < 0)
		joint_refuse(j, err, why);
	else
		joint_dial(j, fd, &h->tls);
}

static void on_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct half *h = arg;

	(void)end;
	(void)err;
	assert_true(strlen(why) > 3);
	h->ends++;
	h->j = joint_free(j);
}

static void tap(struct joint *j, enum joint_way w, const uint8_t *p, size_t n, void *arg)
{
	(void)j;
	(void)w;
	(void)p;
	(void)n;
	(void)arg;
}

static const struct joint_ops ops = { .want_b = want_b, .on_end = on_end, .tap = tap };

static void on_tick(struct timer *t, uint64_t now)
{
	struct talk *k = container_of(t, struct talk, tick);

	(void)now;
	loop_timer_set(k->l, t, 1);
}

/* The target reads late, so that something has to be held. */
static void on_pass(struct pass_hook *h)
{
	struct talk *k = container_of(h, struct talk, hook);
	static char buf[1 << 16];
	ssize_t r;

	if (k->sent < BYTES && (r = send(k->source, buf, MIN(sizeof(buf), BYTES - k->sent), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		k->sent += (size_t)r;
	if (k->sent == BYTES)
		shutdown(k->source, SHUT_WR);
	r = recv(k->target, buf, 20000, MSG_DONTWAIT);
	if (r > 0)
		k->got += (size_t)r;
	if (r == 0 || (r < 0 && errno != EAGAIN))
		shutdown(k->target, SHUT_WR);
	k->over = !k->near.j && !k->far.j;
}

static int half_begin(struct half *h, struct joint_pool *p, int a, struct tls_ctx *tls)
{
	int r = joint_new(p, &(struct joint_options){ .fd = a, .tls.ctx = tls }, &ops, h, &h->j);

	if (r < 0) { /* or the other would wait for it */
		close(h->b);
		h->b = -1;
	}
	return r;
}

static void converse(struct tls_ctx *server, struct tls_ctx *client)
{
	struct talk t = { .hook.run = on_pass, .tick.fire = on_tick };
	struct joint_pool *p = NULL;
	int a[2], mid[2], b[2];

	oom_pause(); /* that a loop is not made is tested in io.c */
	assert_int_equal(loop_new(&t.l), 0);
	oom_resume();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, mid), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	t.source = a[0];
	t.target = b[1];
	t.near = (struct half){ .b = mid[0], .tls = { client, "turn.example.org" } };
	t.far = (struct half){ .b = b[0] };
	if (joint_pool_new(t.l, NULL, &p) == 0) {
		if (half_begin(&t.near, p, a[1], NULL) == 0)
			want_b(t.near.j, 0, "", &t.near);
		if (half_begin(&t.far, p, mid[1], server) == 0) {
			joint_tap(t.far.j, JOINT_UP, true);
			if (!server)
				want_b(t.far.j, 0, "", &t.far);
		}
	} else {
		close(a[1]);
		close(mid[1]);
	}
	loop_add_hook(t.l, &t.hook);
	loop_timer_set(t.l, &t.tick, 1);
	support_run_until(t.l, &t.over, PATIENCE_MS);
	loop_remove_hook(&t.hook);
	timer_stop(&t.tick);
	if (!oom_hit())
		assert_int_equal(t.got, BYTES);
	for (struct half *h = &t.near; h; h = h == &t.near ? &t.far : NULL)
		if (h->b >= 0)
			close(h->b);
	close(t.source);
	close(t.target);
	joint_pool_free(p);
	loop_free(t.l);
}

static void plain_joints_end_whatever_fails(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);)
		converse(NULL, NULL);
}

static struct tls_ctx *make_ctx(bool client)
{
	struct tls_options o = { .client = client };
	char err[TLS_ERRLEN];
	struct tls_ctx *c = NULL;

	if (client) {
		o.ca_file = support_path(&dir, "s.pem");
		o.verify_peer = true;
	} else {
		o.cert_file = support_path(&dir, "s.pem");
		o.key_file = support_path(&dir, "s.key");
	}
	assert_int_equal(tls_ctx_new(&o, err, &c), 0);
	return c;
}

static void tls_joints_end_whatever_fails(void **state)
{
	struct tls_ctx *server = make_ctx(false), *client = make_ctx(true);

	(void)state;
	for (unsigned n = 1; oom_next(&n); n += 8)
		converse(server, client);
	tls_ctx_unref(server);
	tls_ctx_unref(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_joints_end_whatever_fails),
		cmocka_unit_test(tls_joints_end_whatever_fails),
	};
	int r;

	oom_openssl();
	support_dir_make(&dir);
	support_cert(&dir, "s", "DNS:turn.example.org", -1, 10);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	support_dir_remove(&dir);
	return r;
}
