/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's events: numbers and sentences of the original, and a reason only where there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "tunnel/events.h"

static void expect(enum relay_event e, const struct event_about *a, const char *sentence)
{
	char buf[256];
	struct sb b = sb_init(buf, sizeof buf);

	relay_event_text(e, a, &b);
	assert_string_equal(buf, sentence);
}

static void a_sentence_names_port_target_and_reason(void **state)
{
	struct event_about a = { .listen = "0.0.0.0:1001", .target = "mail.intra:25" };

	(void)state;
	expect(EVENT_READY, &a, "Ready to get data from local port 0.0.0.0:1001 and relay to mail.intra:25");
	expect(EVENT_CANNOT_BIND, &a, "Could not bind to local port 0.0.0.0:1001");
	expect(EVENT_CANNOT_RESOLVE, &a, "Could not resolve mail.intra:25");
	a.reason = "Address already in use";
	expect(EVENT_CANNOT_BIND, &a, "Could not bind to local port 0.0.0.0:1001: Address already in use");
	expect(EVENT_STARTED, &a, "Service started");
	expect(EVENT_NO_THREAD, &a, "No thread to relay from local port 0.0.0.0:1001: Address already in use");
	a.listen = NULL;
	expect(EVENT_NO_THREAD, &a, "No thread to relay: Address already in use");
	a.reason = NULL;
	expect(EVENT_NO_RESOURCES, &a, "No resources to relay");
}

static void what_a_stranger_named_is_no_format(void **state)
{
	struct event_about a = { .listen = "%t%s%n[", .target = "%l" };

	(void)state;
	expect(EVENT_READY, &a, "Ready to get data from local port %t%s%n[ and relay to %l");
}

static void the_service_is_100_and_a_route_is_101(void **state)
{
	(void)state;
	for (enum relay_event e = 0; e < RELAY_EVENTS; e++) {
		assert_int_equal(relay_event_number(e), e < EVENT_READY ? 100 : 101);
		assert_non_null(relay_event_msg(e));
		assert_int_equal(strncmp(relay_event_msg(e)->id, "relay.route.", 12) == 0, e >= EVENT_READY);
	}
	assert_int_equal(relay_event_msg(EVENT_READY)->level, LOG_LVL_INFO);
	assert_int_equal(relay_event_msg(EVENT_CANNOT_BIND)->level, LOG_LVL_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sentence_names_port_target_and_reason),
		cmocka_unit_test(what_a_stranger_named_is_no_format),
		cmocka_unit_test(the_service_is_100_and_a_route_is_101),
	};

	return cmocka_run_group_tests_name("relay events", tests, NULL, NULL);
}
