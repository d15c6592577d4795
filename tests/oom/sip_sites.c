/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UC servers, static routes and partners without memory: each allocation of a configuration that is taken, of what is
 * learnt of users, of a log-on that comes back and of the books of partners fails once, is said to have failed, and leaves
 * what was there before.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "sip-proxy/federation.h"
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/routes.h"
#include "tests/oom/failing.h"

static char uc[] = "uc.test", a[] = "uc-a", b[] = "uc-b", pw[] = "secret", group[] = "g", two[] = "2*", friend[] = "friend.test",
	    gate[] = "gate.test", host[] = "gw.test";
static char *domains[] = { uc }, *ranges[] = { two };
static struct sip_server_section servers[] = {
	{ .user = a, .password = pw, .group = group, .users = { ranges, 1 }, .weight = 100 },
	{ .user = b, .password = pw, .group = group, .weight = 200 },
};
static struct sip_route_section routes[] = { { .domain = gate, .host = host, .transport = SIP_LISTEN_MTLS, .active = true } };
static struct sip_partner_section partners[] = { { .domain = friend, .allow = true } };

static struct sip_config config(size_t n_servers)
{
	return (struct sip_config){ .domains = { domains, 1 },
				    .lan = { .servers = { servers, n_servers }, .remember_ms = 1000, .ask_ms = 1000 },
				    .routes = { routes, 1 },
				    .use_routes = true,
				    .federation = { .mode = SIP_FEDERATION_OPEN, .rate = 20, .partners = { partners, 1 } } };
}

static uint64_t now_of(void *edge)
{
	(void)edge;
	return 1000;
}

static bool is_domain(void *arg, struct text host_)
{
	(void)arg;
	return text_ieq(host_, TEXT("uc.test"));
}

static uint32_t lan_interface(void *arg, enum sip_proto proto, bool mutual)
{
	(void)arg;
	(void)proto;
	(void)mutual;
	return 1;
}

static bool is_alive(void *edge, const struct sip_hop *hop)
{
	(void)edge;
	(void)hop;
	return false;
}

static const struct sip_edge_ops ops = { .alive = is_alive };

static int logon(struct sip_mesh *m)
{
	const struct sip_times t = { 1000, 5000 };
	int r;

	oom_pause();
	json_t *body = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "contact", "sip:192.0.2.6;transport=udp", "transport", "udp", "remote",
				 "192.0.2.6:5060", "mutual", 0, "since", (json_int_t)7, "expires_ms", (json_int_t)65000);
	assert_non_null(body);
	oom_resume();
	r = sip_mesh_logon_take(m, "uc-a", body, t);
	json_decref(body);
	return r;
}

static void use(struct sip_mesh *m)
{
	const struct mesh_server *v[MESH_SERVERS_MAX];

	assert_int_equal(logon(m), 0);
	assert_true(mesh_server_is_on(m->v[0], 1000));
	mesh_user_learn(m, "bob@uc.test", m->v[0], MESH_ANSWERED, 5000); /* without memory he is asked for again */
	if (mesh_user_find(m, "bob@uc.test", 1000))
		assert_int_equal(mesh_candidates(m, "bob@uc.test", NULL, 1000, v), 1);
	assert_int_equal(mesh_candidates(m, "2002@uc.test", NULL, 1000, v), 1);
}

static void servers_are_taken_or_those_of_before_stay(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		const struct sip_config one = config(1), both = config(2);
		struct sip_mesh *m = NULL;
		oom_pause();
		struct timers *timers = timers_new(0);
		assert_non_null(timers);
		oom_resume();
		int r = sip_mesh_new(
			&(struct sip_mesh_options){
				.timers = timers, .now = now_of, .ops = &ops, .is_domain = is_domain, .lan_interface = lan_interface },
			&m);
		if (r == 0)
			r = sip_mesh_configure(m, &one);
		if (r == 0) {
			use(m);
			r = sip_mesh_configure(m, &both);
			assert_int_equal(m->n, r == 0 ? 2 : 1);
			assert_true(mesh_server_is_on(m->v[0], 1000)); /* he stays logged on, either way */
		}
		assert_true(r == 0 || r == -ENOMEM);
		sip_mesh_free(m);
		timers_free(timers);
	}
}

static void ways_are_made_or_not(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		const struct sip_config c = config(2);
		struct sip_routes *r = NULL;
		struct sip_federation *f = NULL;
		int err = sip_routes_new(&c, &r);
		if (err == 0) {
			assert_non_null(sip_routes_find(r, TEXT("gate.test")));
			err = sip_federation_new(&c, &f);
		}
		if (err == 0)
			assert_int_equal(sip_federation_judge(f, TEXT("friend.test")), SIP_FEDERATION_YES);
		assert_true(err == 0 || err == -ENOMEM);
		sip_federation_free(f);
		sip_routes_free(r);
	}
}

/* Whoever cannot be written down is not counted. */
static void partners_are_counted_as_far_as_it_goes(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct sip_partners *ps = sip_partners_new();
		for (unsigned i = 0; ps && i < 3; i++) {
			sip_partners_count(ps, TEXT("friend.test"), true, SIP_PARTNER_MESSAGES, 1000);
			sip_partners_refused(ps, TEXT("third.test"), "no", 1000);
			(void)sip_partners_admit(ps, TEXT("friend.test"), 20, 1000);
		}
		sip_partners_free(ps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_taken_or_those_of_before_stay),
		cmocka_unit_test(ways_are_made_or_not),
		cmocka_unit_test(partners_are_counted_as_far_as_it_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
