/* SPDX-License-Identifier: Apache-2.0 */
/* Port-forwarding mode of a share: the port of a machine, several interfaces, the rule's words, its keys. */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "share/forward/config.h"
#include "share/forward/ports.h"

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(text), port, &a), 0);
	addr_set_port(&a, port);
	return a;
}

static struct forward_face face(const char *name, const char *text, bool way)
{
	struct forward_face f = { .ip = ip(text, 0), .default_way = way };

	strcpy(f.name, name);
	return f;
}

static void interfaces_that_come_to_one_port_are_found(void **state)
{
	struct forward_face f[] = { face("eth0", "10.0.0.141", true), face("eth1", "10.0.1.141", false), face("wlan0", "10.0.2.7", false) };

	(void)state;
	forward_judge(8080, f, 3);
	assert_string_equal(f[0].twin, "eth1");
	assert_string_equal(f[1].twin, "eth0");
	assert_null(f[2].twin);
	assert_int_equal(f[2].port, 8087);
	forward_judge(65535 - 141, f, 3);
	assert_int_equal(f[0].port, 65535);
	forward_judge(65500, f, 3);
	assert_int_equal(f[0].port, 0);
	assert_int_equal(f[0].sum, 65641);
	assert_int_equal(f[2].port, 65507);
	assert_ptr_equal(forward_choose(f, 3, NULL), &f[0]);
	assert_ptr_equal(forward_choose(f, 3, "wlan0"), &f[2]);
	assert_ptr_equal(forward_choose(f, 3, "10.0.1.141"), &f[1]);
	assert_null(forward_choose(f, 3, "eth9"));
	f[0].default_way = false;
	assert_null(forward_choose(f, 3, NULL));
	assert_ptr_equal(forward_choose(f, 1, NULL), &f[0]);
}

static void this_machine_has_interfaces(void **state)
{
	struct forward_face f[FORWARD_FACES_MAX];
	unsigned n = forward_faces(8080, NULL, f);

	(void)state;
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(f[i].port, 8080 + addr_ip(&f[i].ip, &(size_t){ 0 })[3]);
}

static void the_rule_is_written_as_routers_show_it(void **state)
{
	struct addr out = ip("213.198.167.2", 8221), in = ip("4.198.167.141", 8221);
	char buf[FORWARD_RULE_STRLEN];

	(void)state;
	assert_string_equal(forward_rule(&out, &in, buf), "TCP 213.198.167.2:8221 → 4.198.167.141:8221");
	assert_string_equal(forward_rule(NULL, &in, buf), "TCP, port 8221 of the public address → 4.198.167.141:8221");
}

static struct cfg *read(const char *yaml)
{
	struct cfg *c = NULL;

	if (cfg_load_text(text_of(yaml), "t.yaml", &share_cfg_root, &c) == 0)
		share_config_check(c);
	return c;
}

static void keys_have_defaults_and_bad_ones_are_named(void **state)
{
	uint16_t ports[SHARE_ORDER_MAX];
	char err[256];
	struct cfg *c = read("{}");
	const struct share_config *s = &share_root_of(c)->share;

	(void)state;
	assert_int_equal(cfg_schema_selftest(share_cfg_root.schema, err, sizeof(err)), 0);
	assert_int_equal(s->base_port, 8080);
	assert_true(s->port_mapping && s->test);
	assert_int_equal(share_connect_order(s, ports), 3);
	assert_true(ports[0] == 1935 && ports[1] == 443 && ports[2] == 80);
	assert_int_equal(share_told_order(s, ports), 0); /* both ends know it */
	cfg_free(c);
	c = read("share: { connect_order: [443, 8443] }");
	assert_int_equal(share_told_order(&share_root_of(c)->share, ports), 2);
	assert_true(ports[0] == 443 && ports[1] == 8443);
	cfg_free(c);
	c = read("share: { connect_order: [443, 8000-8010] }");
	assert_int_equal(cfg_n_errors(c), 1);
	assert_non_null(strstr(cfg_error(c, 0)->text, "single ports"));
	cfg_free(c);
	c = read("share: { connect_order: [1,2,3,4,5,6,7,8] }");
	assert_int_equal(cfg_n_errors(c), 1);
	cfg_free(c);
	c = read("share: { base_port: 65536 }");
	assert_int_equal(cfg_n_errors(c), 1);
	cfg_free(c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(interfaces_that_come_to_one_port_are_found),
		cmocka_unit_test(this_machine_has_interfaces),
		cmocka_unit_test(the_rule_is_written_as_routers_show_it),
		cmocka_unit_test(keys_have_defaults_and_bad_ones_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
