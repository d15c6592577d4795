/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the console that need no server: one-time codes by the vectors of RFC 6238, hashes of passwords, who has to wait,
 * host names, and the metrics of several services as one text. tests/console has the rest, with the real program.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "console/console.h"

static const uint8_t secret[TOTP_SECRET] = "12345678901234567890";

static void one_time_codes_are_those_of_rfc_6238(void **state)
{
	/* Appendix B, SHA-1; the last six of its eight digits. */
	static const struct {
		uint64_t t;
		unsigned code;
	} rows[] = { { 59, 287082 },	     { 1111111109, 81804 },   { 1111111111, 50471 },
		     { 1234567890, 5924 },   { 2000000000, 279037 },  { 20000000000, 353130 } };
	char text[TOTP_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(totp_code(secret, rows[i].t / TOTP_STEP_S), rows[i].code);
	totp_base32(secret, sizeof(secret), text);
	assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
	totp_base32((const uint8_t *)"a", 1, text);
	assert_string_equal(text, "ME");
}

static void a_code_counts_once_and_for_a_step_on_either_side(void **state)
{
	uint64_t step = 1234567890 / TOTP_STEP_S;

	(void)state;
	assert_int_equal(totp_check(secret, "005924", 1234567890, 0), step);
	assert_int_equal(totp_check(secret, "005924", 1234567890 + TOTP_STEP_S, 0), step);
	assert_int_equal(totp_check(secret, "005924", 1234567890 - TOTP_STEP_S, 0), step);
	assert_int_equal(totp_check(secret, "005924", 1234567890 + 2 * TOTP_STEP_S, 0), 0);
	assert_int_equal(totp_check(secret, "005924", 1234567890, step), 0); /* it was taken */
	assert_int_equal(totp_check(secret, "005924", 1234567890, step - 1), step);
	assert_int_equal(totp_check(secret, "005924", 1234567890, step + 60), 0);
	assert_int_equal(totp_check(secret, "005924", 1234567890, step + 1000), step); /* the clock had been wrong */
	assert_int_equal(totp_check(secret, "05924", 1234567890, 0), 0);
	assert_int_equal(totp_check(secret, "5924", 1234567890, 0), 0);
	assert_int_equal(totp_check(secret, " 05924", 1234567890, 0), 0);
	assert_int_equal(totp_check(secret, "", 1234567890, 0), 0);
}

static void a_qr_code_is_an_svg_without_the_text_in_it(void **state)
{
	_cleanup_(freep) char *svg = totp_qr_svg("otpauth://totp/Stile:<script>?secret=GEZD");

	(void)state;
	assert_non_null(svg);
	assert_memory_equal(svg, "<svg ", 5);
	assert_non_null(strstr(svg, "</svg>"));
	assert_null(strstr(svg, "script"));
}

struct hashed {
	bool come, match;
	char hash[HASH_MAX];
};

static void on_hash(bool match, const char *hash, void *arg)
{
	struct hashed *h = arg;

	h->come = true;
	h->match = match;
	(void)snprintf(h->hash, sizeof(h->hash), "%s", hash);
}

static void passwords_are_kept_as_yescrypt(void **state)
{
	struct hashed made = { 0 }, again = { 0 }, check = { 0 };
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct hasher *h;
	unsigned n = 0;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(hasher_new(l, &h), 0);
	assert_int_equal(hasher_make(h, "correct horse", on_hash, &made), 0);
	support_run_until(l, &made.come, 20000);
	assert_memory_equal(made.hash, "$y$", 3);
	assert_int_equal(hasher_make(h, "correct horse", on_hash, &again), 0);
	support_run_until(l, &again.come, 20000);
	assert_string_not_equal(made.hash, again.hash); /* each has a salt of its own */
	for (int i = 0; i < 3; i++) { /* right, wrong, nobody's */
		check.come = false;
		assert_int_equal(hasher_check(h, i == 1 ? "correct horsf" : "correct horse", i == 2 ? NULL : made.hash, on_hash, &check), 0);
		support_run_until(l, &check.come, 20000);
		assert_int_equal(check.match, i == 0);
	}
	/* A crowd is told to come back; who still waits at the end is told no. */
	while (hasher_check(h, "x", made.hash, on_hash, &check) == 0)
		assert_true(++n < 1000);
	assert_int_equal(hasher_check(h, "x", made.hash, on_hash, &check), -EBUSY);
	check = (struct hashed){ .match = true };
	hasher_free(h);
	assert_true(check.come && !check.match);
}

static void who_guesses_waits_longer_each_time(void **state)
{
	struct addr a = addr_v4(0xc0000201, 5), b = addr_v4(0xc0000202, 5);
	struct throttle *t;
	uint64_t last = 0, wait;

	(void)state;
	assert_int_equal(throttle_new(&t), 0);
	assert_int_equal(throttle_wait(t, "alice", &a, 1000), 0);
	for (int i = 0; i < 5; i++)
		throttle_failed(t, "alice", &a, 1000);
	wait = throttle_wait(t, "alice", &b, 1000);
	assert_true(wait > 0);
	assert_int_equal(throttle_wait(t, "bob", &b, 1000), 0);
	assert_int_equal(throttle_wait(t, "alice", &b, 1000 + wait), 0);
	for (int i = 0; i < 10; i++) {
		throttle_failed(t, "alice", &b, 2000);
		wait = throttle_wait(t, "alice", &b, 2000);
		assert_true(wait >= last && wait <= 60000);
		last = wait;
	}
	throttle_good(t, "alice", &b);
	assert_int_equal(throttle_wait(t, "alice", &b, 2000), 0);
	/* An address that goes through names waits, too, and after half an hour all is forgotten. */
	for (int i = 0; i < 25; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "user%d", i);
		throttle_failed(t, name, &b, 3000);
	}
	assert_true(throttle_wait(t, "somebody", &b, 3000) > 0);
	assert_int_equal(throttle_wait(t, "somebody", &b, 3000 + 31 * 60 * 1000), 0);
	/* A flood of names takes one table, and the newest are in it. */
	for (int i = 0; i < 5000; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "flood%d", i);
		throttle_failed(t, name, &a, 4000 + (uint64_t)i);
	}
	assert_true(throttle_wait(t, "other", &a, 9000) > 0);
	throttle_free(t);
}

static void host_names_are_addresses_or_named(void **state)
{
	char *names[] = { (char *)"console.example.org" };
	struct console_config c = { .names = { names, 1 } };
	static const struct {
		const char *host;
		bool ours;
	} rows[] = { { "127.0.0.1", true },	    { "127.0.0.1:8443", true },	      { "[::1]:8443", true },	     { "[::1]", true },
		     { "localhost", true },	    { "LOCALHOST:1", true },	      { "console.example.org", true }, { "Console.Example.Org:443", true },
		     { "evil.example", false },	    { "127.0.0.1.evil.example", false }, { "", false },		     { ":8443", false },
		     { "localhost.evil", false },   { "console.example.org.", false }, { "[::1", false },	     { "192.0.2.7:80", true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (console_host_is_ours(&c, rows[i].host) != rows[i].ours)
			fail_msg("%s", rows[i].host);
}

static void metrics_of_services_become_one_text(void **state)
{
	static const char a[] = "# HELP m A metric\n# TYPE m counter\nm{x=\"1\"} 5\nm{x=\"2\"} 6\n# HELP n Other\n# TYPE n gauge\nn 7\n";
	struct scrape *s = scrape_new();
	char *text;

	(void)state;
	assert_non_null(s);
	assert_int_equal(scrape_add(s, "turn", "", a), 0);
	assert_int_equal(scrape_add(s, "turn", "lab", a), 0);
	text = scrape_text(s);
	assert_string_equal(text, "# HELP m A metric\n# TYPE m counter\nm{service=\"turn\",instance=\"\",x=\"1\"} 5\nm{service=\"turn\","
				  "instance=\"\",x=\"2\"} 6\nm{service=\"turn\",instance=\"lab\",x=\"1\"} 5\nm{service=\"turn\",instance=\"lab\",x=\"2\"} 6\n"
				  "# HELP n Other\n# TYPE n gauge\nn{service=\"turn\",instance=\"\"} 7\nn{service=\"turn\",instance=\"lab\"} 7\n");
	free(text);
	scrape_free(s);
	/* Cut at each byte: a text or a refusal, and no more is read than is there. */
	for (size_t n = 0; n < sizeof(a); n++) {
		char *cut = strndup(a, n);

		s = scrape_new();
		assert_non_null(cut);
		(void)scrape_add(s, "turn", "", cut);
		free(cut);
		text = scrape_text(s);
		assert_non_null(text);
		free(text);
		scrape_free(s);
	}
	s = scrape_new();
	assert_int_equal(scrape_add(s, "turn", "", "no metrics at all\n"), -EINVAL);
	scrape_free(s);
}

struct beginning {
	struct loop *loop;
	bool fails;
	int other; /* somebody else's, who gets the number that has become free */
};

static int begin(const struct listener *l, int fd, struct acceptor **ret_a, void *arg)
{
	static const struct acceptor_ops ops;
	struct beginning *b = arg;

	(void)l;
	if (!b->fails)
		return acceptor_new(b->loop, fd, &ops, NULL, ret_a);
	close(fd);
	b->other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return -ENOMEM;
}

static void a_listener_that_cannot_begin_is_closed_once(void **state)
{
	struct addr at[2] = { addr_v4(INADDR_LOOPBACK, 0), addr_v4(0x7f000002, 0) };
	struct console_config k = { .listen = { at, 1 } };
	struct listeners now = { .n = 0 }, plan;
	struct beginning b = { .fails = true };
	char err[256];

	(void)state;
	assert_int_equal(loop_new(&b.loop), 0);
	assert_int_equal(listeners_plan(&now, &k, &plan, err, sizeof(err)), 0);
	assert_int_equal(listeners_take(&now, &plan, false, begin, &b), -ENOMEM);
	assert_int_not_equal(fcntl(b.other, F_GETFD), -1);
	close(b.other);
	b.fails = false;
	assert_int_equal(listeners_plan(&now, &k, &plan, err, sizeof(err)), 0);
	assert_int_equal(listeners_take(&now, &plan, false, begin, &b), 0);
	assert_int_equal(now.n, 1);
	/* One that stays and is begun anew: what it had goes on. */
	b.fails = true;
	k.listen.n = 2;
	assert_int_equal(listeners_plan(&now, &k, &plan, err, sizeof(err)), 0);
	assert_int_equal(listeners_take(&now, &plan, true, begin, &b), -ENOMEM);
	assert_int_not_equal(fcntl(b.other, F_GETFD), -1);
	assert_int_not_equal(fcntl(now.v[0].fd, F_GETFD), -1);
	close(b.other);
	listeners_close(&now);
	loop_free(b.loop);
}

struct told {
	unsigned n, bad;
	bool all;
};

static void on_saved(int r, void *arg)
{
	struct told *t = arg;

	t->bad += r < 0;
	t->all = ++t->n == 2;
}

/* A password is on its way to the disk when a change of the role, in memory already, is refused: the one is kept and the other undone. */
static void a_save_that_fails_undoes_nothing_that_is_under_way(void **state)
{
	struct service svc = { .cfg = NULL };
	struct console c = { .svc = &svc };
	struct told first = { .n = 0 }, both = { .n = 0 };
	struct user *u;
	char err[256];

	(void)state;
	assert_int_equal(loop_new(&svc.loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = ":memory:", .kinds = console_store_kinds }, err, sizeof(err), &svc.store), 0);
	assert_int_equal(accounts_new(&c, err, sizeof(err), &c.accounts), 0);
	u = user_add(c.accounts, "alice", CONTROL_ADMIN, "old");
	assert_non_null(u);
	first.n = 1;
	user_save(c.accounts, u, "test", on_saved, &first);
	support_run_until(svc.loop, &first.all, 5000);
	assert_int_equal(first.bad, 0);

	(void)snprintf(u->hash, sizeof(u->hash), "new");
	user_save(c.accounts, u, "test", on_saved, &both);
	u->role = CONTROL_VIEWER;
	user_save(c.accounts, u, "", on_saved, &both); /* of nobody: the store does not take it */
	support_run_until(svc.loop, &both.all, 5000);
	assert_int_equal(both.bad, 1);
	assert_string_equal(u->hash, "new");
	assert_int_equal(u->role, CONTROL_ADMIN);

	/* And with nothing under way at once. */
	u->role = CONTROL_VIEWER;
	user_save(c.accounts, u, "", NULL, NULL);
	assert_int_equal(u->role, CONTROL_ADMIN);
	accounts_free(c.accounts);
	store_close(svc.store);
	loop_free(svc.loop);
}

/* Else he would be back after a restart, and nobody could remove him before it. */
static void a_removal_that_the_store_refuses_is_none(void **state)
{
	const struct token like = { .name = "script", .user = "alice", .role = CONTROL_VIEWER, .scope = SCOPE_READ };
	struct service svc = { .cfg = NULL };
	struct console c = { .svc = &svc };
	struct told made = { .n = 0 }, refused = { .n = 0 }, left = { .n = 0 };
	char err[256], bearer[64];
	struct token *t;
	struct user *u;

	(void)state;
	assert_int_equal(loop_new(&svc.loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = ":memory:", .kinds = console_store_kinds }, err, sizeof(err), &svc.store), 0);
	assert_int_equal(accounts_new(&c, err, sizeof(err), &c.accounts), 0);
	u = user_add(c.accounts, "alice", CONTROL_ADMIN, "hash");
	user_save(c.accounts, u, "test", on_saved, &made);
	t = token_add(c.accounts, &like, "test", bearer, on_saved, &made);
	support_run_until(svc.loop, &made.all, 20000);
	assert_int_equal(made.bad, 0);

	token_remove(c.accounts, t, "", on_saved, &refused); /* of nobody: the store does not take it */
	user_remove(c.accounts, u, "", on_saved, &refused);
	assert_int_equal(refused.bad, 2);
	assert_ptr_equal(user_find(c.accounts, "alice"), u);
	assert_int_equal(accounts_admins(c.accounts), 1);
	assert_ptr_equal(token_of_secret(c.accounts, bearer), t);

	left.n = 1;
	user_remove(c.accounts, u, "test", on_saved, &left);
	assert_null(token_of_secret(c.accounts, bearer)); /* at once */
	assert_null(user_find(c.accounts, "alice"));
	assert_null(user_add(c.accounts, "alice", CONTROL_VIEWER, "other")); /* not before he has gone */
	assert_int_equal(accounts_admins(c.accounts), 0);
	support_run_until(svc.loop, &left.all, 20000);
	assert_int_equal(left.bad, 0);
	assert_null(user_find(c.accounts, "alice"));
	assert_int_equal(c.accounts->n_users + c.accounts->n_tokens, 0);
	accounts_free(c.accounts);
	store_close(svc.store);
	loop_free(svc.loop);
}

static void the_schema_makes_sense(void **state)
{
	char err[256] = "";

	(void)state;
	if (cfg_schema_selftest(console_cfg_root.schema, err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_time_codes_are_those_of_rfc_6238),
		cmocka_unit_test(a_code_counts_once_and_for_a_step_on_either_side),
		cmocka_unit_test(a_qr_code_is_an_svg_without_the_text_in_it),
		cmocka_unit_test(passwords_are_kept_as_yescrypt),
		cmocka_unit_test(who_guesses_waits_longer_each_time),
		cmocka_unit_test(host_names_are_addresses_or_named),
		cmocka_unit_test(metrics_of_services_become_one_text),
		cmocka_unit_test(a_listener_that_cannot_begin_is_closed_once),
		cmocka_unit_test(a_save_that_fails_undoes_nothing_that_is_under_way),
		cmocka_unit_test(a_removal_that_the_store_refuses_is_none),
		cmocka_unit_test(the_schema_makes_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
