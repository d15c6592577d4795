/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh of UC servers knows without any message: which user matches a pattern of sip.lan.servers[].users, and a log-on
 * that comes back from the store. The way of log-ons, questions and requests is shown with real sockets in
 * tests/sip/mesh.py, and with real servers in tests/sip/sites.py.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "common/text.h"
#include "sip-proxy/mesh_priv.h"

static const struct row {
	const char *pattern, *user;
	bool matches;
} rows[] = {
	{ "alice", "alice", true },
	{ "alice", "Alice", false }, /* a user part is compared as it is (RFC 3261 19.1.4) */
	{ "alice", "alic", false },
	{ "alice", "alicea", false },
	{ "2*", "2", true },
	{ "2*", "204", true },
	{ "2*", "102", false },
	{ "*", "anybody", true },
	{ "*", "", true },
	{ "100-199", "100", true },
	{ "100-199", "150", true },
	{ "100-199", "199", true },
	{ "100-199", "200", false },
	{ "100-199", "0150", false }, /* another number of digits is another number */
	{ "100-199", "15a", false },
	{ "100-199", "", false },
	{ "1-99999999999999999999999", "5", false }, /* too long for a number: a name like any other */
	{ "1-99999999999999999999999", "1-99999999999999999999999", true },
	{ "a-b", "a-b", true },
	{ "a-b", "a", false },
	{ "", "", true },
	{ "", "x", false },
};

static void patterns_match_names_prefixes_and_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (mesh_user_matches(rows[i].pattern, text_of(rows[i].user)) != rows[i].matches)
			fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].user);
}

/* A user's name is a slice of a message: nothing behind it is looked at. */
static void a_name_ends_where_its_slice_ends(void **state)
{
	const char *text = "1509", *pattern = "100-199";
	char *exact = malloc(3);

	(void)state;
	assert_non_null(exact);
	memcpy(exact, text, 3);
	assert_true(mesh_user_matches(pattern, (struct text){ exact, 3 }));
	assert_true(mesh_user_matches("150", (struct text){ exact, 3 }));
	assert_false(mesh_user_matches("1509", (struct text){ exact, 3 }));
	for (size_t n = 0; n < 3; n++)
		assert_false(mesh_user_matches(pattern, (struct text){ exact, n }));
	free(exact);
}

static char user_a[] = "uc-a", password_a[] = "secret";
static struct sip_server_section server = { .user = user_a, .password = password_a, .weight = 100 };

static uint64_t now_of(void *edge)
{
	(void)edge;
	return 1000;
}

static uint32_t lan_interface(void *arg, enum sip_proto proto, bool mutual)
{
	(void)arg;
	(void)proto;
	(void)mutual;
	return 1;
}

static int take(struct sip_mesh *m, const char *user, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);
	int r;

	assert_non_null(body);
	r = sip_mesh_logon_take(m, user, body, (struct sip_times){ 1000, 5000 });
	json_decref(body);
	return r;
}

/* What stands in the store was written by us, but perhaps by another version, or by hand. */
static void a_logon_comes_back_from_the_store_or_is_left_out(void **state)
{
	const char *good = "{\"contact\":\"sip:192.0.2.6:5062;transport=tcp\",\"transport\":\"tcp\",\"remote\":\"192.0.2.6:40000\","
			   "\"local\":\"192.0.2.1:5070\",\"mutual\":false,\"since\":77,\"expires_ms\":35000}";
	static const char *const bad[] = {
		"{\"expires_ms\":35000}",
		"{\"contact\":\"sip:a@\",\"transport\":\"tcp\",\"remote\":\"192.0.2.6:4\",\"expires_ms\":35000}",
		"{\"contact\":\"sip:192.0.2.6\",\"transport\":\"sctp\",\"remote\":\"192.0.2.6:4\",\"expires_ms\":35000}",
		"{\"contact\":\"sip:192.0.2.6\",\"transport\":\"tcp\",\"remote\":\"here\",\"expires_ms\":35000}",
		"{\"contact\":\"sip:192.0.2.6\",\"transport\":\"tcp\",\"remote\":\"192.0.2.6:4\",\"local\":\"x\",\"expires_ms\":35000}",
	};
	const struct sip_config c = { .lan = { .servers = { &server, 1 } } };
	struct timers *timers = timers_new(0);
	struct sip_mesh *m = NULL;
	json_t *again;

	(void)state;
	assert_int_equal(sip_mesh_new(&(struct sip_mesh_options){ .timers = timers, .now = now_of, .lan_interface = lan_interface }, &m), 0);
	assert_int_equal(sip_mesh_configure(m, &c), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(take(m, "uc-a", bad[i]), -EBADMSG);
	assert_int_equal(take(m, "uc-a", "{\"expires_ms\":4000}"), -ENOENT); /* over */
	assert_int_equal(take(m, "uc-z", good), -ENOENT);
	assert_int_equal(take(m, "uc-a", good), 0);
	assert_true(mesh_server_is_on(m->v[0], 1000) && mesh_server_is_on(m->v[0], 30999));
	assert_false(mesh_server_is_on(m->v[0], 31000));
	assert_int_equal(m->v[0]->proto, SIP_TCP);
	assert_false(m->v[0]->use_flow); /* its connection is not there any more */
	assert_int_equal(take(m, "uc-a", good), -ENOENT); /* it is on */
	again = sip_mesh_logon_json(m, "uc-a", (struct sip_times){ 1000, 5000 });
	assert_string_equal(json_string_value(json_object_get(again, "remote")), "192.0.2.6:40000");
	assert_int_equal(json_integer_value(json_object_get(again, "expires_ms")), 35000);
	json_decref(again);
	assert_null(sip_mesh_logon_json(m, "uc-a", (struct sip_times){ 31000, 35000 }));
	sip_mesh_free(m);
	timers_free(timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match_names_prefixes_and_ranges),
		cmocka_unit_test(a_name_ends_where_its_slice_ends),
		cmocka_unit_test(a_logon_comes_back_from_the_store_or_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
