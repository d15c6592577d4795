/* SPDX-License-Identifier: Apache-2.0 */
/* A share's HTTP server in its plain mode (share/server.h), at one end of a socket pair: what is told of a transfer, where curl is the receiver. */
#include "tests/unit/support.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "share/server.h"

static struct {
	struct support_dir dir;
	struct loop *l;
	struct tree *t;
	struct share_server *s;
	struct share_code code;
	unsigned told[SHARE_DONE + 1];
	int fd; /* the receiver's */
} w;

static void on_event(const struct share_event *e, void *arg)
{
	(void)arg;
	w.told[e->kind]++;
}

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.fd = -1;
	support_dir_make(&w.dir);
	assert_int_equal(loop_new(&w.l), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (w.fd >= 0)
		close(w.fd);
	share_server_free(w.s);
	tree_free(w.t);
	loop_free(w.l);
	support_dir_remove(&w.dir);
	return 0;
}

static void share_once(const char *content)
{
	char err[256];

	support_write(&w.dir, "file", content);
	assert_int_equal(tree_open(w.l, support_path(&w.dir, "file"), err, sizeof(err), &w.t), 0);
	assert_int_equal(share_server_new(&(struct share_server_options){ .loop = w.l,
									  .code = &w.code,
									  .name = "file",
									  .tree = w.t,
									  .once = true,
									  .plain = true,
									  .event = on_event },
					  &w.s),
			 0);
}

static void ask(const char *method, char *answer, size_t cap)
{
	char id[2 * SHARE_ID + 1], token[2 * SHARE_TOKEN + 1], head[512];
	struct share_keys k;
	int fds[2];
	size_t got = 0;
	ssize_t n;

	assert_int_equal(share_keys_make(w.code.secret, &k), 0);
	hex_encode(k.id, sizeof(k.id), id);
	hex_encode(k.token, sizeof(k.token), token);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	w.fd = fds[0];
	share_server_take(w.s, fds[1], &(struct addr){ 0 });
	n = snprintf(head, sizeof(head),
		     "%s /s/%s/f/file?t=%s&r=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		     method, id, token, token);
	assert_int_equal(write(w.fd, head, (size_t)n), n);
	for (unsigned i = 0; i < 2000; i++) { /* to its end: the file is read by another thread */
		n = read(w.fd, answer + got, cap - 1 - got);
		got += n > 0 ? (size_t)n : 0;
		if (n == 0)
			break;
		support_run_for(w.l, 10);
	}
	assert_true(got > 0);
	answer[got] = 0;
}

static void is_told_as_begun_and_sent(const char *content)
{
	char answer[2048];

	share_once(content);
	ask("GET", answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
	assert_int_equal(w.told[SHARE_BEGUN], 1);
	assert_int_equal(w.told[SHARE_SENT], 1);
	assert_int_equal(w.told[SHARE_BROKEN], 0);
}

static void a_file_is_told_as_begun_and_sent(void **state)
{
	(void)state;
	is_told_as_begun_and_sent("content");
}

static void so_is_an_empty_one(void **state)
{
	(void)state;
	is_told_as_begun_and_sent("");
}

static void a_head_is_no_transfer(void **state)
{
	char answer[2048];

	(void)state;
	share_once("");
	ask("HEAD", answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
	assert_int_equal(w.told[SHARE_BEGUN] + w.told[SHARE_SENT], 0);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_file_is_told_as_begun_and_sent),
		t(so_is_an_empty_one),
		t(a_head_is_no_transfer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
