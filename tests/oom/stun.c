/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without memory, the STUN library's constructors return -ENOMEM, leave their output alone, arm no timer
 * and send nothing. Parser, writer, MACs and nonces never allocate, which is shown here too.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "stun/nat.h"
#include "stun/transaction.h"
#include "tests/oom/failing.h"

static const uint8_t tid[STUN_TID_LEN] = { 1 };

static void a_key_is_not_made(void **state)
{
	struct stun_key *k = NULL;

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		int r = stun_key_long_term(STUN_ALG_SHA256, STUN_MAC_SHA256, TEXT("u"), TEXT("r"),
					   TEXT("p"), &k);
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
		assert_int_equal(k == NULL, oom_hit());
		k = stun_key_free(k);
		r = stun_key_short_term(STUN_MAC_SHA1, TEXT("p"), &k);
		assert_true(r == 0 || (r == -ENOMEM && oom_hit() && !k));
		k = stun_key_free(k);
	}
}

static unsigned sends;

static void on_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	(void)t;
	(void)p;
	(void)n;
	(void)arg;
	sends++;
}

static void on_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	(void)t;
	(void)m;
	(void)arg;
	fail_msg("nothing answered");
}

static void a_transaction_is_not_begun(void **state)
{
	static const struct stun_tx_ops ops = { on_send, on_done };
	_cleanup_(timers_freep) struct timers *ts = timers_new(0);
	const struct stun_tx_options o = { .timers = ts, .ops = &ops };
	struct stun_tx *t = NULL;
	struct stun_writer sw;
	uint8_t buf[64];

	(void)state;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	ssize_t n = stun_end(&sw);
	oom_arm(1);
	assert_int_equal(stun_tx_new(&o, 0, buf, (size_t)n, &t), -ENOMEM);
	assert_true(oom_hit());
	assert_null(t);
	assert_int_equal(sends, 0);
	assert_true(timers_next(ts) == TIMERS_NEVER);
	oom_arm(0);
	assert_int_equal(stun_tx_new(&o, 0, buf, (size_t)n, &t), 0);
	assert_int_equal(sends, 1);
	stun_tx_free(t);
}

/* A discovery whose server answers the first question of each socket and nothing else. */
struct discovery {
	struct nat *nat;
	struct timers *timers;
	uint64_t now;
	uint8_t hello[NAT_SOCKETS][64];
	size_t hello_n[NAT_SOCKETS];
	unsigned dones;
	struct nat_result result;
};

static void nat_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct discovery *d = arg;

	(void)to;
	if (d->hello_n[socket])
		return;
	assert_true(n <= sizeof d->hello[0]);
	memcpy(d->hello[socket], p, n);
	d->hello_n[socket] = n;
}

static void nat_done(const struct nat_result *r, void *arg)
{
	struct discovery *d = arg;

	d->dones++;
	d->result = *r;
	d->nat = nat_free(d->nat);
}

static uint64_t nat_now(void *arg)
{
	return ((struct discovery *)arg)->now;
}

static void answer_hello(struct discovery *d, unsigned socket)
{
	struct addr server = addr_v4(0xc6336401, 3478), other = addr_v4(0xc6336402, 3479), mapped = addr_v4(0xcb007105, 9);
	struct stun_writer sw;
	struct stun_msg m;
	uint8_t buf[128];

	assert_int_equal(stun_parse(d->hello[socket], d->hello_n[socket], &m), STUN_OK);
	stun_begin_response(&sw, buf, sizeof buf, &m, STUN_SUCCESS);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &mapped);
	stun_put_addr(&sw, STUN_A_OTHER_ADDRESS, &other);
	nat_input(d->nat, socket, &server, buf, (size_t)stun_end(&sw));
}

static const struct nat_ops nat_ops = { nat_send, nat_done, nat_now };

static void a_discovery_is_not_begun(void **state)
{
	struct discovery d = { 0 };
	struct nat_options o = { .ops = &nat_ops, .arg = &d, .server = addr_v4(0xc6336401, 3478),
				 .local = { addr_v4(0xc0a80107, 9), addr_v4(0xc0a80107, 10) } };
	unsigned failures = 0;
	uint8_t warm[1];

	(void)state;
	assert_int_equal(bytes_random(warm, sizeof warm), 0); /* its first call allocates, and may do without */
	for (unsigned n = 1;; n++) {
		o.timers = d.timers = timers_new(d.now = 0);
		oom_arm(n);
		int r = nat_new(&o, &d.nat);
		bool hit = oom_hit();
		oom_arm(0);
		assert_true(r == 0 || hit);
		assert_int_equal(d.nat == NULL, r < 0);
		d.nat = nat_free(d.nat);
		assert_true(timers_next(d.timers) == TIMERS_NEVER);
		timers_free(d.timers);
		failures += r == -ENOMEM;
		if (!hit)
			break;
	}
	assert_true(failures >= 3); /* itself, and its first two transactions */
}

static void one_discovery(struct discovery *d, struct nat_options *o, unsigned fail_nth)
{
	*d = (struct discovery){ .timers = timers_new(0) };
	o->timers = d->timers;
	assert_int_equal(nat_new(o, &d->nat), 0);
	answer_hello(d, 0);
	oom_arm(fail_nth);
	answer_hello(d, 1);
	bool hit = oom_hit();
	oom_arm(0);
	while (d->now++ < 60000 && !d->dones)
		timers_run(d->timers, d->now);
	assert_int_equal(d->dones, 1);
	assert_true(hit || d->result.error == 0);
	timers_free(d->timers);
}

static void a_discovery_under_way_ends_with_an_error(void **state)
{
	struct discovery d;
	struct nat_options o = { .ops = &nat_ops, .arg = &d, .server = addr_v4(0xc6336401, 3478),
				 .local = { addr_v4(0xc0a80107, 9), addr_v4(0xc0a80107, 10) } };
	unsigned failures = 0;

	(void)state;
	for (unsigned n = 1; n <= 20; n++) {
		one_discovery(&d, &o, n);
		failures += d.result.error == -ENOMEM;
	}
	assert_true(failures >= 5); /* each of those side by side */
}

static void messages_need_no_memory(void **state)
{
	struct addr client = addr_v4(0xc0000201, 1);
	struct stun_nonces nonces;
	struct stun_key *k;
	struct stun_writer sw;
	struct stun_msg m;
	char nonce[STUN_NONCE_MAX];
	uint8_t buf[512];

	(void)state;
	assert_int_equal(stun_nonces_init(&nonces, 0), 0);
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA256, TEXT("p"), &k), 0);
	oom_arm(1);
	size_t n = stun_nonce_make(&nonces, &client, TEXT("r"), 3, 0, nonce);
	stun_begin(&sw, buf, sizeof buf, STUN_ALLOCATE, STUN_REQUEST, tid);
	stun_put_text(&sw, STUN_A_NONCE, (struct text){ nonce, n });
	stun_put_integrity(&sw, k);
	stun_put_fingerprint(&sw);
	ssize_t len = stun_end(&sw);
	assert_int_equal(stun_parse(buf, (size_t)len, &m), STUN_OK);
	assert_true(stun_check_integrity(&m, k));
	assert_int_equal(stun_nonce_check(&nonces, (struct text){ nonce, n }, &client, TEXT("r"), 1, NULL),
			 STUN_NONCE_GOOD);
	assert_false(oom_hit());
	oom_arm(0);
	stun_key_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_not_made),
		cmocka_unit_test(a_transaction_is_not_begun),
		cmocka_unit_test(a_discovery_is_not_begun),
		cmocka_unit_test(a_discovery_under_way_ends_with_an_error),
		cmocka_unit_test(messages_need_no_memory),
	};
	oom_openssl();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
