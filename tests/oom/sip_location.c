/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The location service and the message index without memory: each of their allocations fails once, is said to have
 * failed, and leaves nothing behind; what was bound before stays bound.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "sip-proxy/location.h"
#include "tests/oom/failing.h"

static struct sip_binding binding(char *uri)
{
	return (struct sip_binding){ .uri = uri,
				     .path = "<sip:p;lr>",
				     .instance = "\"<urn:uuid:1>\"",
				     .call_id = "c",
				     .cseq = 1,
				     .q = 1000,
				     .expires_at = 5000 };
}

static void a_binding_is_made_or_not(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct sip_location *l = NULL;
		struct sip_binding one = binding("sip:a@192.0.2.1"), two = binding("sip:a@192.0.2.2");
		unsigned count;
		oom_pause();
		struct timers *timers = timers_new(0);
		assert_non_null(timers);
		oom_resume();
		int r = sip_location_new(
			&(struct sip_location_options){ .timers = timers, .seed = { 1, 2 } }, &l);
		if (r == 0) {
			r = sip_location_set(l, "alice@uc.test", &one, 0);
			assert_int_equal(sip_location_count(l), r == 0);
		}
		if (r == 0) {
			r = sip_location_set(l, "alice@uc.test", &two, 0);
			sip_location_find(l, "alice@uc.test", 0, &count);
			assert_int_equal(count, r == 0 ? 2 : 1);
		}
		assert_true(r == 0 || r == -ENOMEM);
		sip_location_free(l);
		timers_free(timers);
	}
}

static void a_message_with_many_headers_is_taken_or_not(void **state)
{
	static char text[8192];
	struct sb b = sb_init(text, sizeof text);
	(void)state;
	assert_int_equal(sip_headers_init(), 0);
	sb_str(&b, "OPTIONS sip:a SIP/2.0\r\n");
	for (unsigned i = 0; i < 300; i++)
		sb_fmt(&b, "X-%u: %u\r\n", i, i);
	sb_str(&b, "\r\n");
	for (unsigned n = 1; oom_next(&n);) {
		struct sip_msg m;
		int r = sip_msg_parse(&m, (struct text){ text, b.n }, SIP_DATAGRAM, NULL);
		assert_true(r == SIP_OK || r == -ENOMEM);
		assert_int_equal(m.head.n_fields, r == SIP_OK ? 300 : 0);
		sip_msg_deinit(&m);
	}
	sip_headers_deinit();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_binding_is_made_or_not),
		cmocka_unit_test(a_message_with_many_headers_is_taken_or_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
