/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share's HTTP server with every allocation failed once: a request is answered, told that there is no memory, or its connection
 * ends; nothing hangs, nothing leaks, and the next receiver gets the file byte for byte.
 *
 * Real files in a folder of the test's own, over a socket pair.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/bytes.h"
#include "share/server.h"
#include "tests/oom/failing.h"

enum { PATIENCE_MS = 30000, FILE_BYTES = 200000, GOT = 1 << 20 };

static struct {
	struct support_dir dir;
	struct loop *l;
	struct share_code code;
	struct share_keys keys;
	struct tree *tree;
	struct share_server *s;
	struct io io;
	char got[GOT], file[FILE_BYTES + 1];
	size_t n;
	bool ended;
} w;

static void on_bytes(struct io *io, int events)
{
	ssize_t n = recv(io->fd, w.got + w.n, GOT - w.n - 1, 0);

	(void)events;
	if (n > 0) {
		w.n += (size_t)n;
		return;
	}
	w.got[w.n] = 0;
	w.ended = true;
	io_stop(io);
}

static void ask(const char *method, const char *path)
{
	char text[1024], id[2 * SHARE_ID + 1], token[2 * SHARE_TOKEN + 1];
	int fd[2];

	hex_encode(w.keys.id, SHARE_ID, id);
	hex_encode(w.keys.token, SHARE_TOKEN, token);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	(void)snprintf(text, sizeof(text), "%s /s/%s/%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nStile-Token: %s\r\n\r\n", method, id, path, token);
	assert_int_equal(send(fd[1], text, strlen(text), 0), strlen(text));
	w.n = 0;
	w.ended = false;
	oom_pause();
	assert_int_equal(io_start(&w.io, w.l, fd[1], IO_READ, on_bytes), 0);
	oom_resume();
	share_server_take(w.s, fd[0], &(struct addr){ 0 });
	support_run_until(w.l, &w.ended, PATIENCE_MS);
	close(fd[1]);
}

static unsigned status(void)
{
	return strncmp(w.got, "HTTP/1.1 ", 9) == 0 && w.n ? (unsigned)strtoul(w.got + 9, NULL, 10) : 0;
}

static int setup(void **state)
{
	struct share_server_options o = { .code = &w.code, .name = "f", .plain = true };
	char err[256];

	(void)state;
	support_dir_make(&w.dir);
	for (size_t i = 0; i < FILE_BYTES; i++)
		w.file[i] = (char)('a' + i % 23);
	support_write(&w.dir, "f", w.file);
	assert_int_equal(loop_new(&w.l), 0);
	assert_int_equal(share_code_make(&w.code), 0);
	assert_int_equal(share_keys_make(w.code.secret, &w.keys), 0);
	assert_int_equal(tree_open(w.l, support_path(&w.dir, "f"), err, sizeof(err), &w.tree), 0);
	o.loop = w.l;
	o.tree = w.tree;
	assert_int_equal(share_server_new(&o, &w.s), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	share_server_free(w.s);
	tree_free(w.tree);
	loop_free(w.l);
	support_dir_remove(&w.dir);
	return 0;
}

static void every_request_has_an_answer_or_an_end(void **state)
{
	static const struct {
		const char *method, *path;
		unsigned status; /* with memory */
	} rows[] = {
		{ "GET", "meta", 200 }, { "GET", "e/0", 200 }, { "GET", "e/7", 410 }, { "GET", "plain/meta", 200 }, { "GET", "f/f", 200 }, { "GET", "f/g", 404 },
		{ "HEAD", "f/f", 200 }, { "DELETE", "f/f", 405 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (unsigned n = 1; oom_next(&n);) {
			ask(rows[i].method, rows[i].path);
			if (!oom_hit() && status() != rows[i].status)
				fail_msg("%s: %u %.200s", rows[i].path, status(), w.got);
			assert_true(status() == 0 || status() == rows[i].status || status() >= 400);
		}
	}
	ask("GET", "f/f");
	assert_int_equal(status(), 200);
	assert_true(w.n > FILE_BYTES && memcmp(w.got + w.n - FILE_BYTES, w.file, FILE_BYTES) == 0);
}

static void a_share_is_made_or_not(void **state)
{
	const struct share_server_options o = { .loop = w.l, .code = &w.code, .name = "f", .tree = w.tree };

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct share_server *s = NULL;
		struct tree *t = NULL;
		char err[256];
		int r = tree_open(w.l, support_path(&w.dir, "f"), err, sizeof(err), &t);

		if (r == 0)
			r = share_server_new(&o, &s);
		assert_true(r < 0 ? oom_hit() : !oom_hit());
		share_server_free(s);
		tree_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_share_is_made_or_not),
		cmocka_unit_test(every_request_has_an_answer_or_an_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
