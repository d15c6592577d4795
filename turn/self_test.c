/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user for tests: `stile test turn --live` and the console's test button must speak to the running server as a client
 * does, whatever credentials it has, and whether anybody may read them. So there is one that is made for it: a name and a
 * password of random bytes, for one realm, in memory only, and gone a few minutes after it was last asked for.
 */
#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "turn/edge.h"
#include "turn/realm.h"
#include "turn/service.h"

enum { LASTS_MS = 5 * 60 * 1000 };

struct turn_self_test {
	struct turn_service *ts;
	struct timer end;
	char name[32], password[33], realm[128];
};

struct turn_self_test *turn_self_test_free(struct turn_self_test *t)
{
	if (!t)
		return NULL;
	timer_stop(&t->end);
	bytes_wipe(t, sizeof *t);
	free(t);
	return NULL;
}

bool turn_self_test_user(const struct turn_service *ts, struct turn_extra_user *ret_u)
{
	const struct turn_self_test *t = ts->self_test;

	if (!t)
		return false;
	*ret_u = (struct turn_extra_user){ t->name, t->password, t->realm[0] ? t->realm : NULL };
	return true;
}

bool turn_self_test_is_in(const struct turn_service *ts, const struct turn_realm *x)
{
	return ts->self_test && (ts->self_test->realm[0] ? strcmp(ts->self_test->realm, x->name) == 0 : x->slot == 0);
}

static void on_end(struct timer *timer, uint64_t now)
{
	struct turn_service *ts = container_of(timer, struct turn_self_test, end)->ts;
	char err[256];

	(void)now;
	ts->self_test = turn_self_test_free(ts->self_test);
	(void)turn_service_rebuild(ts, err, sizeof err); /* for want of memory it stays in the policy until the next one */
}

static void hex_of_random(char *out, size_t n_bytes)
{
	uint8_t raw[16];

	if (RAND_bytes(raw, (int)n_bytes) != 1)
		abort(); /* no service without random numbers: nonces need them, too */
	for (size_t i = 0; i < n_bytes; i++)
		snprintf(out + 2 * i, 3, "%02x", raw[i]);
	bytes_wipe(raw, sizeof raw);
}

static int make(struct turn_service *ts, const struct turn_realm *x, char *err, size_t err_n)
{
	struct turn_self_test *t = calloc(1, sizeof *t);
	int r;

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!t)
		return -ENOMEM;
	t->ts = ts;
	t->end.fire = on_end;
	snprintf(t->name, sizeof t->name, "stile-test-");
	hex_of_random(t->name + strlen(t->name), 4);
	hex_of_random(t->password, 16);
	snprintf(t->realm, sizeof t->realm, "%s", x->slot ? x->name : "");
	turn_self_test_free(ts->self_test);
	ts->self_test = t;
	r = turn_service_rebuild(ts, err, err_n);
	if (r < 0)
		ts->self_test = turn_self_test_free(t);
	return r;
}

/* ---- where a client of the realm would go ---- */

static void add_target(json_t *rows, enum turn_listen_proto proto, const struct addr *at)
{
	char text[ADDR_STRLEN];
	const char *name = turn_listen_kinds[proto == TURN_LISTEN_FRONT ? TURN_LISTEN_TLS : proto].name;

	json_array_append_new(rows, json_pack("{s:s, s:s}", "transport", name, "address", addr_print(at, text)));
}

static bool is_secure(enum turn_listen_proto proto)
{
	return proto != TURN_LISTEN_UDP && proto != TURN_LISTEN_TCP;
}

static json_t *targets_json(const struct turn_service *ts, const struct turn_realm *x)
{
	const struct cfg_endpoint *own = x->listen.items;
	json_t *rows = json_array();

	for (size_t i = 0; i < x->listen.n; i++)
		add_target(rows, own[i].proto, &own[i].at);
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		bool by_name = x->server_names.n && is_secure(l->spec.proto);
		if (l->removed || l->spec.path[0])
			continue;
		if (x->slot ? by_name : turn_policy_realm_at(ts->policy, 0, l->spec.proto, &l->spec.at) == x)
			add_target(rows, l->spec.proto, &l->spec.at);
	}
	return rows;
}

/* What the test trusts, and asks for by TLS: the realm's own, or the server's. */
static const char *certificate_of(const struct turn_config *cfg, const struct turn_realm *x)
{
	const struct turn_realm_section *s = cfg->realms.items;

	for (size_t i = 0; x->slot && i < cfg->realms.n; i++)
		if (strcmp(s[i].name, x->name) == 0 && s[i].certificate)
			return s[i].certificate;
	return cfg->certificate;
}

static void verb_credential(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const struct turn_realm *x = turn_realm_of_args(ts, rq, args);
	const struct turn_config *cfg = &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
	char err[256];

	if (!x)
		return;
	if (!turn_self_test_is_in(ts, x) && make(ts, x, err, sizeof err) < 0) {
		control_fail(rq, "failed", NULL, "%s", err);
		return;
	}
	loop_timer_set(ts->svc->loop, &ts->self_test->end, LASTS_MS);
	x = turn_realm_of_args(ts, rq, args); /* of the new policy, if there is one */
	control_reply(rq, json_pack("{s:s, s:s, s:s, s:i, s:s*, s:s*, s:o}", "username", ts->self_test->name, "password",
				    ts->self_test->password, "realm", x->name, "ttl", LASTS_MS / 1000, "certificate",
				    certificate_of(cfg, x), "server_name", x->server_names.n ? ((char **)x->server_names.items)[0] : NULL,
				    "targets", targets_json(ts, x)));
}

static const struct control_verb verbs[] = {
	{ "turn.test.credential", CONTROL_OPERATOR, verb_credential, "{realm}: a user of a few minutes for a test of this server, and its listeners" },
};

void turn_self_test_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
