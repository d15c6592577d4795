/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP proxy may answer to CONNECT, and what an administrator may write as its URL. Answers are
 * divided by NUL, each to a request with what the one before asked for. Checked: every request is a head
 * that ends once, with nothing in it that could begin another; and that the exchange ends.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/agent/proxy.h"

static void check_request(const char *buf, size_t n)
{
	assert(n < PROXY_REQUEST_MAX && strlen(buf) == n && n > 4);
	assert(strstr(buf, "\r\n\r\n") == buf + n - 4);
	for (size_t i = 0; i < n; i++)
		assert((buf[i] != '\r' || buf[i + 1] == '\n') && (buf[i] != '\n' || buf[i - 1] == '\r'));
}

static void talk(const struct proxy *p, struct text rest)
{
	struct proxy_login l = { .rounds = 0 };
	char buf[PROXY_REQUEST_MAX], why[PROXY_WHY_MAX];
	size_t n;

	for (unsigned i = 0;; i++) {
		struct text in = text_cut(&rest, 0);
		enum proxy_verdict v;

		assert(i < 10);
		if (proxy_request(p, &l, TEXT("tunnel.example.org"), 7443, buf, &n) == 0)
			check_request(buf, n);
		v = proxy_answer(p, &l, in, &n, why);
		if (v == PROXY_OPEN)
			assert(n <= in.n && n >= 4 && memcmp(in.p + n - 4, "\r\n\r\n", 4) == 0);
		if (v == PROXY_REFUSED)
			assert(why[0] && strlen(why) < PROXY_WHY_MAX && text_is_utf8(text_of(why)));
		if (v != PROXY_AGAIN)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy p = { .host = "10.0.0.1", .port = 3128, .user = "u\"x\\", .password = "secret" },
		     written;
	char err[256], *copy = malloc(size ? size : 1);
	struct text rest, url;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	rest = (struct text){ copy, size };
	url = text_cut(&rest, 0);
	if (agent_proxy_parse(url, &written, err, sizeof(err)) == 0) {
		assert(written.host[0] && written.port && strlen(written.host) <= PROXY_HOST_MAX);
		for (const char *c = written.user; *c; c++)
			assert((uint8_t)*c >= ' ');
		p = written;
	}
	talk(&p, rest);
	free(copy);
	return 0;
}
