/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, the registry of agents and the dialer with every allocation of ours failed once (OpenSSL's
 * own are some thousands a round): each step says no with a sentence or is done whole, keys that are on
 * the disk stay what they are, and nothing leaks.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "tests/oom/failing.h"
#include "tunnel/agent/dialer_priv.h"
#include "tunnel/server/registry.h"

int agent_send_early(struct agent *a, unsigned type, const void *msg)
{
	(void)a;
	(void)type;
	(void)msg;
	return 0;
}

void agent_connect(struct agent *a)
{
	(void)a;
}

void agent_disconnect(struct agent *a)
{
	(void)a;
}

/* A key pair that is there is read; what was read before is never replaced because memory was short. */
static void keys_are_opened_or_not_and_stay_the_same(void **state)
{
	struct support_dir d;
	struct server_keys first;
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN] = "";

	(void)state;
	support_dir_make(&d);
	assert_int_equal(server_keys_open(d.path, err, &news, &first), 0);
	for (unsigned n = 1; oom_next(&n);) {
		struct server_keys k = { 0 };
		struct tls_ctx *ctx = NULL;
		int r = server_keys_open(d.path, err, &news, &k);

		if (r == 0) {
			assert_int_equal(news, KEYS_AS_THEY_WERE);
			r = link_tls_server(&k, &ctx);
		} else {
			assert_true(strlen(err) > 5);
		}
		if (r < 0)
			assert_true(oom_hit());
		tls_ctx_unref(ctx);
		server_keys_deinit(&k);
	}
	struct server_keys again;
	assert_int_equal(server_keys_open(d.path, err, &news, &again), 0);
	assert_true(identity_hash_equal(identity_hash(first.root), identity_hash(again.root)));
	assert_true(identity_hash_equal(identity_hash(first.successor), identity_hash(again.successor)));
	assert_true(identity_hash_equal(identity_hash(first.link), identity_hash(again.link)));
	server_keys_deinit(&first);
	server_keys_deinit(&again);
	support_dir_remove(&d);
}

static void an_agent_is_registered_or_not(void **state)
{
	struct entry e = {
		.state = ENTRY_APPROVED, .name = "site", .n_ports = 1, .ports = { { 20000, 20099 } }
	};
	struct code c = { .name = "site", .expires = UINT64_MAX };

	(void)state;
	memset(e.id.b, 1, IDENTITY_LEN);
	(void)identity_print(&e.id, e.key);
	registry_code_key(c.secret, c.key);
	for (unsigned n = 1; oom_next(&n);) {
		struct registry *r = NULL;
		struct entry got;
		char err[256] = "";
		json_t *j = NULL;
		int rc = registry_new(10, &r);

		if (rc == 0)
			rc = registry_put(r, &e);
		if (rc == 0)
			rc = registry_code_put(r, &c, 1);
		if (rc == 0) {
			oom_pause(); /* jansson's and libyaml's own are not ours to fail */
			j = entry_json(&e);
			oom_resume();
			rc = entry_read(e.key, j, err, sizeof(err), &got);
		}
		if (rc < 0)
			assert_true(oom_hit());
		else
			assert_non_null(registry_find(r, &e.id));
		json_decref(j);
		registry_free(r);
	}
}

static void on_done(const struct agent_dialled *d, void *arg)
{
	(void)d;
	(void)arg;
}

static int call_once(struct loop *l, const char *folder)
{
	static const struct agent_server server = { .host = (char *)"127.0.0.1", .port = 9 };
	static const struct agent_config config = { .password = (char *)"correct horse",
						    .proxy = (char *)"http://u:p@127.0.0.1:9" };
	_cleanup_(dialers_freep) struct dialers *all = NULL;
	struct agent_dialer hooks;
	struct dialer *d;
	char err[512] = "";
	void *handle;
	int r = dialers_new(
		&(struct dialers_options){ .loop = l, .folder = folder, .dns_servers = "127.0.0.1:9" },
		err, sizeof(err), &all);

	if (r == 0)
		r = dialers_add(all, &server, &config, err, sizeof(err), &d);
	if (r < 0) {
		assert_true(strlen(err) > 5);
		return r;
	}
	dialer_hooks(d, &hooks);
	r = hooks.start(hooks.arg, true, false, on_done, NULL, &handle);
	if (r == 0)
		hooks.cancel(hooks.arg, handle);
	return r;
}

static void a_server_is_called_or_not(void **state)
{
	struct support_dir d;
	struct identity *first = NULL, *again = NULL;
	char err[IDENTITY_ERRLEN];

	(void)state;
	support_dir_make(&d);
	assert_int_equal(identity_of_agent(d.path, err, &first), 0);
	for (unsigned n = 1; oom_next(&n);) {
		_cleanup_(loop_freep) struct loop *l = NULL;
		int r = loop_new(&l);

		if (r == 0)
			r = call_once(l, d.path);
		if (r < 0)
			assert_true(oom_hit());
	}
	assert_int_equal(identity_of_agent(d.path, err, &again), 0);
	assert_true(identity_hash_equal(identity_hash(first), identity_hash(again)));
	identity_unref(first);
	identity_unref(again);
	support_dir_remove(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_opened_or_not_and_stay_the_same),
		cmocka_unit_test(an_agent_is_registered_or_not),
		cmocka_unit_test(a_server_is_called_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
