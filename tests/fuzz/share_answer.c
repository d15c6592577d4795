/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the other side of a share answers to stile get (cli/share_http.c): the first byte says whether bodies are read in pieces or whole,
 * the rest comes as on one connection, answer after answer. Whoever shares may be a stranger. Checked: bodies are what came, and no more than was
 * announced; what is said of an error is one line; where reading failed, the connection is closed.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/share.h"
#include "common/defs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 60000, ANSWERS = 64 }; /* bytes that a socket takes at once; answers, each of which takes a head */

static bool body_is(const char *p, size_t n, struct text in)
{
	return n == 0 || memmem(in.p, in.n, p, n);
}

static bool read_body(struct share_http *h, bool whole, struct text in)
{
	const uint64_t announced = h->left;
	char piece[97], *all;
	uint64_t sum = 0;
	ssize_t got;
	size_t n;

	if (whole) {
		if (share_http_whole(h, MOST, &all, &n) < 0)
			return false;
		assert(n == announced && all[n] == '\0' && body_is(all, n, in));
		free(all);
		return true;
	}
	while ((got = share_http_read(h, piece, sizeof(piece))) > 0) {
		assert((size_t)got <= sizeof(piece) && body_is(piece, (size_t)got, in));
		sum += (uint64_t)got;
	}
	assert(sum <= announced && (got < 0 || sum == announced));
	return got == 0;
}

static void check_answer(const struct share_http *h)
{
	assert(h->body_at <= h->head_n && h->head_n <= sizeof(h->head) && h->left <= h->length);
	assert(!h->range_total || h->range_first < h->range_total);
	assert(strlen(h->error_code) < sizeof(h->error_code) && !strpbrk(h->error_text, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct share_http h;
	const struct text in = { (const char *)data + 1, size ? MIN(size - 1, (size_t)MOST) : 0 };
	int pair[2], r = 0;

	if (!size || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return 0;
	r = send(pair[1], in.p, in.n, MSG_NOSIGNAL) == (ssize_t)in.n ? 0 : -1;
	close(pair[1]);
	h = (struct share_http){ .fd = pair[0], .timeout_ms = 1000 };
	for (unsigned i = 0; r == 0 && i < ANSWERS; i++) {
		r = share_http_answer(&h);
		if (r < 0)
			break;
		check_answer(&h);
		if (!read_body(&h, data[0] & 1, in))
			r = -1;
	}
	assert(r == 0 || h.fd < 0 || h.left == 0);
	share_http_close(&h);
	return 0;
}
