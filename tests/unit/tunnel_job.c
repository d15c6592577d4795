/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forward jobs as they are written: kinds of values, checks between keys, their way to JSON and back; and the agent's
 * section around them. What a server makes of a job, and an agent of a target, is tested with the programs in
 * tests/tunnel.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tunnel/agent/config.h"
#include "tunnel/job_wire.h"

static struct cfg *read_yaml(const char *yaml)
{
	struct cfg *c = NULL;

	assert_int_not_equal(cfg_load_text(text_of(yaml), "test", &agent_cfg_root, &c), -ENOMEM);
	if (!cfg_n_errors(c))
		agent_config_check(c);
	return c;
}

static void expect_error(const char *yaml, const char *part)
{
	struct cfg *c = read_yaml(yaml);

	if (cfg_n_errors(c) == 0)
		fail_msg("no error in: %s", yaml);
	if (!strstr(cfg_error(c, 0)->text, part))
		fail_msg("'%s' says nothing of '%s'", cfg_error(c, 0)->text, part);
	cfg_free(c);
}

static void the_rows_make_sense(void **state)
{
	char err[300] = "";

	(void)state;
	if (cfg_schema_selftest(agent_cfg_root.schema, err, sizeof(err)) != 0 ||
	    cfg_schema_selftest(&job_schema, err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

static void a_port_is_a_number_a_range_or_a_star(void **state)
{
	static const char *const good[] = { "22222", "20000-20009", "*", "1-1000" };
	static const char *const bad[] = { "",	"0",  "65536", "2-1", "1-1001",
					   "a", "**", "1-",    "-1",  "1-2-3" };
	char buf[40], err[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct sb out = sb_init(buf, sizeof(buf));
		struct job_port p;

		assert_int_equal(cfg_job_port.parse(NULL, text_of(good[i]), &p, err, sizeof(err)), 0);
		cfg_job_port.print(NULL, &p, &out);
		assert_string_equal(buf, good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct job_port p;

		assert_int_equal(cfg_job_port.parse(NULL, text_of(bad[i]), &p, err, sizeof(err)),
				 -EINVAL);
	}
}

static void a_star_comes_back_from_json(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL, *again = NULL;
	json_t *o = json_pack("{s:s, s:s}", "port", "*", "target", "a:1"), *written;
	char err[300] = "";

	(void)state;
	assert_int_equal(job_parse(o, err, sizeof(err), &c), 0);
	written = job_config_json(cfg_values(c));
	if (job_parse(written, err, sizeof(err), &again) != 0)
		fail_msg("%s", err);
	json_decref(o);
	json_decref(written);
}

static void an_expiry_is_a_time_or_a_duration(void **state)
{
	static const char *const bad[] = {
		"", "soon", "2026-13-01", "0s", "2026-12-01 18:00 tomorrow", "-2h"
	};
	struct job_expiry e = { 0 };
	char buf[40], err[200];
	struct sb out = sb_init(buf, sizeof(buf));

	(void)state;
	assert_int_equal(cfg_job_expiry.parse(NULL, TEXT("2h"), &e, err, sizeof(err)), 0);
	assert_int_equal(e.in_ms, 7200000);
	assert_int_equal(e.at, 0);
	assert_int_equal(
		cfg_job_expiry.parse(NULL, TEXT("2026-12-01T18:00:30Z"), &e, err, sizeof(err)), 0);
	assert_int_equal(e.at, 1796148030);
	cfg_job_expiry.print(NULL, &e, &out);
	assert_string_equal(buf, "2026-12-01 18:00:30Z");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cfg_job_expiry.parse(NULL, text_of(bad[i]), &e, err, sizeof(err)),
				 -EINVAL);
}

static void a_job_is_the_same_after_its_way_through_json(void **state)
{
	static const char json[] =
		"{\"name\": \"cam\", \"port\": \"20000-20009\", \"target\": \"cam.lan:554\", \"encrypt\": false, "
		"\"bind\": \"192.0.2.1\", \"allow\": [\"10.0.0.0/8\"], \"expire\": \"2h\", \"limits\": {\"connections\": 7, \"bitrate\": "
		"\"2Mbit/s\"}, \"proxy_protocol\": \"v2\", \"health_check\": \"30s\", \"note\": \"yard\"}";
	_cleanup_(cfg_freep) struct cfg *c = NULL, *again = NULL;
	json_t *o = json_loads(json, 0, NULL), *written, *twice;
	const struct job_config *j;
	char err[300] = "";

	(void)state;
	assert_int_equal(job_parse(o, err, sizeof(err), &c), 0);
	written = job_config_json(cfg_values(c));
	assert_int_equal(job_parse(written, err, sizeof(err), &again), 0);
	j = cfg_values(again);
	twice = job_config_json(j);
	assert_true(json_equal(written, twice));
	assert_string_equal(j->name, "cam");
	assert_int_equal(job_ports(j), 10);
	assert_false(j->encrypt);
	assert_int_equal(j->limits.connections, 7);
	assert_int_equal(j->proxy_protocol, ROUTE_PROXY_V2);
	assert_int_equal(j->health_ms, 30000);
	job_settle_expiry(twice, j, 1000000);
	assert_string_equal(json_string_value(json_object_get(twice, "expire")), "1970-01-12 15:46:40Z");
	json_decref(o);
	json_decref(written);
	json_decref(twice);
}

static void a_job_without_a_name_is_called_by_its_port(void **state)
{
	struct job_config j = { .port = { 22222, 22222 }, .target = { (char *)"10.1.0.25", 3389 } };
	char buf[JOB_NAME_STRLEN];

	(void)state;
	assert_string_equal(job_name(&j, buf), "22222");
	j.udp = true;
	assert_string_equal(job_name(&j, buf), "22222/udp");
	j.port = (struct job_port){ 0 };
	j.udp = false;
	assert_string_equal(job_name(&j, buf), "*:10.1.0.25:3389");
}

#define AGENT "agent: { server: t.example.org, jobs: [ "

static void what_contradicts_itself_is_refused_with_its_reason(void **state)
{
	(void)state;
	expect_error(AGENT "{ port: 1-10, target: \"a:65530\" } ] }", "behind port 65535");
	expect_error(AGENT "{ port: \"*\", target: a } ] }", "needs the target's port");
	expect_error(AGENT "{ port: 5, target: \"a:1\", protocol: udp, proxy_protocol: v2 } ] }",
		     "PROXY header");
	expect_error(AGENT "{ port: 5, target: \"a:1\", protocol: udp, encrypt: false } ] }",
		     "always carried encrypted");
	expect_error(AGENT "{ port: 5, target: \"a:1\" }, { port: 5, target: \"b:1\" } ] }",
		     "two jobs are called '5'");
	expect_error(AGENT "{ port: 5-9, target: \"a:1\" }, { port: 7, target: \"b:1\" } ] }",
		     "port 7 is taken by the job '5-9'");
	expect_error(AGENT "{ port: 5, target: \"a:1\", note: \"two\\nlines\" } ] }", "one line");
	expect_error(AGENT "{ port: 5, target: \"a:1\", protocol: udp, health_check: 10s } ] }", "cannot be seen");
	expect_error(AGENT "{ port: 5, target: \"a:1\", health_check: 10ms } ] }", "once a second at most");
	char many[JOB_ALLOW_MAX * 16 + 200] = AGENT "{ port: 5, target: \"a:1\", allow: [ 10.0.0.0/8";
	for (unsigned i = 0; i < JOB_ALLOW_MAX; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many), ", 10.%u.0.0/16", i % 256);
	strcat(many, " ] } ] }");
	expect_error(many, "prefixes of sources");
	expect_error(AGENT "{ port: a, target: \"a:1\" } ] }", "a port of the server, a range");
	expect_error(AGENT "{ port: 9-5, target: \"a:1\" } ] }", "the first of them first");
	expect_error(AGENT "{ port: 5, target: \"a:1\", expire: \"1969-12-31Z\" } ] }", "a time as");
	expect_error(AGENT "{ port: 5, target: \"a:1\", expire: \"2026-12-01 18:00:00 and some more words\" } ] }", "a time as");
	expect_error("agent: { server: [ a, a ] }", "stands here twice");
	expect_error("agent: { server: \"a:1#sha256:12\" }", "64 hexadecimal digits");
	expect_error("agent: { server: a, password: x, code: y }", "by code or by password");
	expect_error("agent: { name: a }", "needs a server");
}

static void a_server_may_have_a_fingerprint(void **state)
{
	struct cfg *c = read_yaml(
		"agent: { server: \"t.example.org:443#sha256:"
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\", jobs: [ { port: 5, target: \"a:1\" }, { port: 5, "
		"target: \"a:1\", protocol: udp } ] }");
	const struct agent_config *a = &((const struct agent_root *)cfg_values(c))->agent;
	const struct agent_server *s = a->server.items;

	(void)state;
	assert_int_equal(cfg_n_errors(c), 0);
	assert_string_equal(s->host, "t.example.org");
	assert_int_equal(s->port, 443);
	assert_true(s->pinned);
	assert_int_equal(s->fingerprint[31], 0x1f);
	assert_int_equal(a->fallback_ports.n, 2);
	assert_true(a->auto_connect);
	cfg_free(c);
}

/* A newer server may say what this agent has no word for. */
static void each_state_has_its_word(void **state)
{
	(void)state;
	assert_string_equal(job_state_text(0), "not connected");
	assert_string_equal(job_state_text(WIRE_JOB_PORT_TAKEN), "port taken");
	assert_string_equal(job_state_text(WIRE_JOB_OVER), "expired");
	for (unsigned s = WIRE_JOB_ACTIVE; s <= WIRE_JOB_OVER; s++)
		assert_string_not_equal(job_state_text(s), "unknown");
	assert_string_equal(job_state_text(WIRE_JOB_OVER + 1), "unknown");
	assert_string_equal(job_state_text(UINT_MAX), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rows_make_sense),
		cmocka_unit_test(a_port_is_a_number_a_range_or_a_star),
		cmocka_unit_test(a_star_comes_back_from_json),
		cmocka_unit_test(an_expiry_is_a_time_or_a_duration),
		cmocka_unit_test(a_job_is_the_same_after_its_way_through_json),
		cmocka_unit_test(a_job_without_a_name_is_called_by_its_port),
		cmocka_unit_test(what_contradicts_itself_is_refused_with_its_reason),
		cmocka_unit_test(a_server_may_have_a_fingerprint),
		cmocka_unit_test(each_state_has_its_word),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
