/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP CONNECT as text: the URL, both logins, and every kind of answer, with those of proxies that lie.
 * The responses of Digest are those of curl 7.88 to the same challenge.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include "common/text.h"
#include "tunnel/agent/proxy.h"

#define NONCE "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
#define OPAQUE "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
#define CHALLENGE(more)                                                                                                           \
	"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm=\"Control \\\"room\\\"\", nonce=\"" NONCE \
	"\", qop=\"auth, auth-int\", algorithm=" more ", opaque=\"" OPAQUE                                                        \
	"\"\r\nContent-Length: 0\r\n\r\n"

static struct proxy mufasa(void)
{
	return (struct proxy){
		.host = "10.0.0.1", .port = 3128, .user = "Mufasa", .password = "Circle of Life"
	};
}

static enum proxy_verdict answer(const struct proxy *p, struct proxy_login *l, const char *text,
				 size_t *used, char *why)
{
	return proxy_answer(p, l, text_of(text), used, why);
}

static void urls_are_read_with_their_escapes(void **state)
{
	static const struct {
		const char *url, *host, *user, *password;
		unsigned port;
	} good[] = {
		{ "http://10.0.0.1:8080", "10.0.0.1", "", "", 8080 },
		{ "http://gate.example", "gate.example", "", "", 3128 },
		{ "gate.example:1", "gate.example", "", "", 1 },
		{ "http://u:p@gate.example:8080/", "gate.example", "u", "p", 8080 },
		{ "http://dom%5Cu:p%40ss%3A@[2001:db8::1]:80", "2001:db8::1", "dom\\u", "p@ss:", 80 },
		{ "http://u:p@ss@gate.example", "gate.example", "u", "p@ss", 3128 },
		{ "http://u@gate.example", "gate.example", "u", "", 3128 },
	};
	static const char *const bad[] = { "",
					   "http://",
					   "http://:80",
					   "http://a:0",
					   "http://a:65536",
					   "http://a:b",
					   "https://a:80",
					   "socks5://a:1",
					   "http://[::1",
					   "http://[::1]80",
					   "http://:p@a",
					   "http://u%:p@a",
					   "http://u%zz@a",
					   "http://u%0d%0aX:p@a",
					   "http://a b:80",
					   "http://u:%ff@a" };
	struct proxy p;
	char err[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (agent_proxy_parse(text_of(good[i].url), &p, err, sizeof(err)) < 0)
			fail_msg("%s: %s", good[i].url, err);
		assert_string_equal(p.host, good[i].host);
		assert_string_equal(p.user, good[i].user);
		assert_string_equal(p.password, good[i].password);
		assert_int_equal(p.port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (agent_proxy_parse(text_of(bad[i]), &p, err, sizeof(err)) == 0)
			fail_msg("taken: %s", bad[i]);
}

static void a_request_without_a_login_is_two_lines(void **state)
{
	struct proxy p = mufasa();
	struct proxy_login l = { .scheme = PROXY_NO_LOGIN };
	char buf[PROXY_REQUEST_MAX];
	size_t n;

	(void)state;
	assert_int_equal(proxy_request(&p, &l, TEXT("tunnel.example.org"), 7443, buf, &n), 0);
	assert_string_equal(
		buf, "CONNECT tunnel.example.org:7443 HTTP/1.1\r\nHost: tunnel.example.org:7443\r\n\r\n");
	assert_int_equal(n, strlen(buf));
	assert_int_equal(proxy_request(&p, &l, TEXT("2001:db8::7"), 443, buf, &n), 0);
	assert_string_equal(buf, "CONNECT [2001:db8::7]:443 HTTP/1.1\r\nHost: [2001:db8::7]:443\r\n\r\n");
}

static void digest_answers_as_curl_does(void **state)
{
	static const struct {
		const char *challenge, *cnonce, *response;
	} rows[] = {
		{ CHALLENGE("MD5"),
		  "ZTE2ZTU0NDA3NmU1NzYwYjA0ZGY5NWJjMjZiNjUzM2Q=", "a7744d129078f96808c07e46adefda3d" },
		{ CHALLENGE("SHA-256"), "YWI5YmJkOWM0NGUzNzZmNzQ4ZTNiNjJiODRmZjQ5OTc=",
		  "cfb877fc64eb091dd483f57e6ed62c741e94d2317909cebfe6e3b0b102102691" },
		{ CHALLENGE("MD5-sess"),
		  "NDgwZjMxNjdhODMwMGRhMTlhMmJkMGNiZDgxMDg0YTY=", "e9aba06a0f8938a28c9e158951c9f81a" },
		{ CHALLENGE("SHA-256-sess"), "ZDNkMmI0M2FiYWJhODMxOTgyNTUzOWY0ZjAyNjNiN2U=",
		  "c129c904a7f9d73575bafc59bc4477681628fa2e32947076126aaeeeb07146bd" },
	};
	struct proxy p = mufasa();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_login l = { .rounds = 0 };
		char buf[PROXY_REQUEST_MAX], why[PROXY_WHY_MAX], want[128];
		size_t n;

		assert_int_equal(answer(&p, &l, rows[i].challenge, &n, why), PROXY_AGAIN);
		assert_int_equal(l.scheme, PROXY_DIGEST);
		strcpy(l.cnonce, rows[i].cnonce);
		assert_int_equal(proxy_request(&p, &l, TEXT("tunnel.example.org"), 7443, buf, &n), 0);
		(void)snprintf(want, sizeof(want), "response=\"%s\"", rows[i].response);
		if (!strstr(buf, want))
			fail_msg("%s\nis not the answer %s", buf, want);
		assert_non_null(strstr(buf, "realm=\"Control \\\"room\\\"\", nonce=\"" NONCE
					    "\", uri=\"tunnel.example.org:7443\""));
		assert_non_null(strstr(buf, "opaque=\"" OPAQUE "\", qop=auth, nc=00000001, cnonce="));
	}
}

static void the_strongest_login_is_taken(void **state)
{
	static const struct {
		const char *headers;
		enum proxy_scheme scheme;
		bool sha256;
	} rows[] = {
		{ "Proxy-Authenticate: Basic realm=\"x\", Digest realm=\"x\", nonce=\"n\", Digest realm=\"x\", nonce=\"n\", algorithm=SHA-256\r\n",
		  PROXY_DIGEST, true },
		{ "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=\"a, Digest nonce=\\\"\"\r\n",
		  PROXY_BASIC, false },
		{ "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256, Basic realm=\"x\"\r\n",
		  PROXY_BASIC, false },
		{ "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"\r\nproxy-authenticate: basic\r\n",
		  PROXY_BASIC, false },
		{ "Proxy-Authenticate: Negotiate YII=, Digest nonce=n , realm = \"x\"\r\n",
		  PROXY_DIGEST, false },
	};
	struct proxy p = mufasa();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_login l = { .rounds = 0 };
		char text[1024], why[PROXY_WHY_MAX], buf[PROXY_REQUEST_MAX];
		size_t n;

		(void)snprintf(text, sizeof(text), "HTTP/1.0 407 No\r\n%s\r\n", rows[i].headers);
		if (answer(&p, &l, text, &n, why) != PROXY_AGAIN || l.scheme != rows[i].scheme ||
		    l.sha256 != rows[i].sha256)
			fail_msg("%s", rows[i].headers);
		assert_int_equal(proxy_request(&p, &l, TEXT("h"), 1, buf, &n), 0);
		if (l.scheme == PROXY_BASIC)
			assert_non_null(strstr(
				buf, "Proxy-Authorization: Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl\r\n"));
	}
}

static void a_wrong_password_is_said_once_and_a_stale_nonce_is_not_one(void **state)
{
	struct proxy p = mufasa(), nobody = { .host = "x", .port = 1 };
	struct proxy_login l = { .rounds = 0 }, first = { .rounds = 0 };
	char why[PROXY_WHY_MAX];
	size_t n;

	(void)state;
	assert_int_equal(answer(&nobody, &first, CHALLENGE("MD5"), &n, why), PROXY_REFUSED);
	assert_non_null(strstr(why, "agent.proxy has none"));
	assert_int_equal(answer(&p, &l, CHALLENGE("MD5"), &n, why), PROXY_AGAIN);
	assert_int_equal(answer(&p, &l, CHALLENGE("MD5, stale=true"), &n, why), PROXY_AGAIN);
	assert_int_equal(answer(&p, &l, CHALLENGE("MD5"), &n, why), PROXY_REFUSED);
	assert_non_null(strstr(why, "refuses the user or password"));
	assert_int_equal(answer(&p, &l, "HTTP/1.0 401 Unauthorized\r\n\r\n", &n, why), PROXY_REFUSED); /* tinyproxy */
	assert_non_null(strstr(why, "refuses the user or password"));
	assert_int_equal(answer(&p, &l, CHALLENGE("MD5, stale=true"), &n, why), PROXY_AGAIN);
	assert_int_equal(answer(&p, &l, CHALLENGE("MD5, stale=true"), &n, why), PROXY_REFUSED);
	assert_non_null(strstr(why, "again and again"));
}

static void each_answer_is_what_it_is(void **state)
{
	static const struct {
		const char *text;
		enum proxy_verdict want;
		const char *why;
	} rows[] = {
		{ "HTTP/1.1 200 Connection established\r\n\r\n", PROXY_OPEN, NULL },
		{ "HTTP/1.0 200 \r\nProxy-agent: tinyproxy\r\n\r\n", PROXY_OPEN, NULL },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", PROXY_OPEN, NULL },
		{ "HTTP/1.1 200 OK\r\n", PROXY_MORE, NULL },
		{ "", PROXY_MORE, NULL },
		{ "HTTP/1.1 100 Continue\r\n\r\n", PROXY_MORE, NULL },
		{ "HTTP/1.1 403 Filtered\r\n\r\n", PROXY_REFUSED,
		  "answers 403 Filtered: it does not let CONNECT through" },
		{ "HTTP/1.1 502 Bad Gateway\r\n\r\n", PROXY_REFUSED, "answers 502 Bad Gateway" },
		{ "HTTP/1.1 407 Auth\r\n\r\n", PROXY_REFUSED, "of a kind that is not known" },
		{ "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Digest realm=\"x\", nonce=\"\r\n\r\n",
		  PROXY_REFUSED, "of a kind" },
		{ "SSH-2.0-OpenSSH_9.2\r\n\r\n", PROXY_REFUSED, "HTTP" },
		{ "HTTP/2 200\r\n\r\n", PROXY_REFUSED, "HTTP" },
		{ "HTTP/1.1 200 OK\nX: y\n\n", PROXY_REFUSED, "not HTTP" },
		{ "GET / HTTP/1.1\r\n\r\n", PROXY_REFUSED, "HTTP" },
		{ "HTTP/1.1 101 Switching\r\n\r\n", PROXY_REFUSED, "answers 101" },
		{ "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", PROXY_REFUSED,
		  "answers 302 Found" },
	};
	struct proxy p = mufasa();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_login l = { .rounds = 0 };
		char why[PROXY_WHY_MAX] = "";
		size_t used = 0;
		enum proxy_verdict v = answer(&p, &l, rows[i].text, &used, why);

		if (v != rows[i].want || (rows[i].why && !strstr(why, rows[i].why)))
			fail_msg("%s\n%d %s", rows[i].text, (int)v, why);
		if (v == PROXY_OPEN)
			assert_int_equal(used, strlen(rows[i].text));
	}
}

static void an_answer_without_an_end_is_not_waited_for(void **state)
{
	static char text[2 * PROXY_HEAD_MAX] = "HTTP/1.1 200 OK\r\n";
	struct proxy p = mufasa();
	struct proxy_login l = { .rounds = 0 };
	char why[PROXY_WHY_MAX];
	size_t n = strlen(text), used;

	(void)state;
	while (n + 30 < sizeof(text))
		n += (size_t)sprintf(text + n, "X-Padding: aaaaaaaaaa\r\n");
	assert_int_equal(answer(&p, &l, text, &used, why), PROXY_REFUSED);
	for (n = 0; n + 30 < sizeof(text);)
		n += (size_t)sprintf(text + n, "HTTP/1.1 100 Go\r\n\r\n");
	assert_int_equal(answer(&p, &l, text, &used, why), PROXY_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_read_with_their_escapes),
		cmocka_unit_test(a_request_without_a_login_is_two_lines),
		cmocka_unit_test(digest_answers_as_curl_does),
		cmocka_unit_test(the_strongest_login_is_taken),
		cmocka_unit_test(a_wrong_password_is_said_once_and_a_stale_nonce_is_not_one),
		cmocka_unit_test(each_answer_is_what_it_is),
		cmocka_unit_test(an_answer_without_an_end_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
