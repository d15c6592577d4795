/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UC servers of the LAN in stile-sip: the mesh is made with the service, configured by each reload and each change of
 * the list in the store, asked by the hooks, and shown by `stile sip servers`.
 *
 * What the mesh needs to know of the service (accounts, bindings, interfaces) is asked through its options.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/service.h"

static bool is_domain(void *arg, struct text host)
{
	const struct sip_service *ss = arg;

	return sip_routes_is_domain(ss->routing.routes, host);
}

static bool is_local(void *arg, const char *aor)
{
	struct sip_service *ss = arg;
	unsigned n;

	if (sip_accounts_password(ss->accounts, aor).p)
		return true;
	return sip_location_find(ss->location, aor, loop_now(ss->svc->loop), &n) != NULL && n > 0;
}

static uint32_t lan_interface(void *arg, enum sip_proto proto, bool mutual)
{
	const struct sip_service *ss = arg;

	return sip_edge_lan_interface(ss->edge, proto, mutual);
}

static uint64_t now_of(void *edge)
{
	return loop_now(sip_edge_loop(edge));
}

/* ---- the store ---- */

static struct sip_times times_of(const struct sip_service *ss)
{
	return (struct sip_times){ loop_now(ss->svc->loop), clock_unix_ms() };
}

/* The topic sip.servers tells that one has logged on or off. What the store does not take now comes with the next log-on, in two minutes at most. */
static void on_changed(void *arg, const char *user)
{
	struct sip_service *ss = arg;
	const struct store_call call = { .who = "mesh" };
	json_t *body;

	if (control_has_subscribers(ss->svc->control, "sip.servers"))
		control_publish(ss->svc->control, "sip.servers", json_pack("{s:s}", "server", user));
	if (!ss->svc->store)
		return;
	body = sip_mesh_logon_json(ss->mesh, user, times_of(ss));
	if (body)
		(void)store_put(ss->svc->store, &call, SIP_LOGON_KIND, user, STORE_ANY, body);
	else
		(void)store_delete(ss->svc->store, &call, SIP_LOGON_KIND, user, STORE_ANY);
}

static void on_loaded(const struct store_object *o, void *arg)
{
	struct sip_service *ss = arg;
	const struct store_call call = { .who = "mesh" };
	int r = sip_mesh_logon_take(ss->mesh, o->key, o->body, times_of(ss));

	if (r == -EBADMSG)
		log_emit(&MSG_SIP_LOGON_UNREADABLE, LF_STR("server", o->key));
	if (r < 0)
		(void)store_delete(ss->svc->store, &call, SIP_LOGON_KIND, o->key, STORE_ANY);
}

int sip_service_sites_set(struct sip_service *ss, const struct sip_config *c)
{
	struct sip_turn *turn;
	int r = sip_turn_new(c, &turn);

	if (r < 0)
		return r;
	sip_turn_free(ss->turn.turn);
	ss->turn.turn = turn;
	return sip_mesh_configure(ss->mesh, c);
}

int sip_service_sites(struct sip_service *ss, const struct sip_config *c)
{
	int r = sip_mesh_new(&(struct sip_mesh_options){ .timers = loop_timers(ss->svc->loop),
							 .now = now_of,
							 .ops = &sip_edge_ops,
							 .edge = ss->edge,
							 .registrar = ss->registrar,
							 .metrics = ss->metrics,
							 .seed = hash_seed_random(),
							 .is_domain = is_domain,
							 .is_local = is_local,
							 .lan_interface = lan_interface,
							 .changed = on_changed,
							 .arg = ss },
			     &ss->mesh);

	if (r == 0)
		r = sip_service_sites_set(ss, c);
	if (r == 0 && ss->svc->store)
		r = store_load(ss->svc->store, SIP_LOGON_KIND, on_loaded, ss);
	return r > 0 ? -EIO : r;
}

void sip_service_sites_free(struct sip_service *ss)
{
	ss->mesh = sip_mesh_free(ss->mesh);
	ss->turn.turn = sip_turn_free(ss->turn.turn);
}

/* ---- verbs ---- */

static void verb_servers(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", sip_mesh_servers_json(ss->mesh)));
}

static const char *user_arg(const json_t *args)
{
	return json_string_value(json_object_get(args, "user"));
}

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	(void)args;
	sip_effective_list(ss->effective, SIP_LIST_SERVERS, rq);
}

/* An account of `stile sip user add` with this name: the check of the configuration knows those of the file alone. */
static bool is_account(const struct sip_service *ss, const char *user)
{
	const struct sip_root *root = cfg_values(ss->cfg);
	char *const *d = root->sip.domains.items;
	char aor[SIP_AOR_MAX];

	for (size_t i = 0; user && i < root->sip.domains.n; i++)
		if ((size_t)snprintf(aor, sizeof(aor), "%s@%s", user, d[i]) < sizeof(aor) &&
		    sip_accounts_password(ss->accounts, aor).p)
			return true;
	return false;
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const json_t *server = json_object_get(args, "server");

	if (is_account(ss, user_arg(server)))
		control_fail(rq, "bad-request", "choose another name, or stile sip user delete",
			     "%s is a user, too: they could not be told apart", user_arg(server));
	else
		sip_effective_put(ss->effective, SIP_LIST_SERVERS, rq, server,
				  json_is_true(json_object_get(args, "create")));
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_delete(ss->effective, SIP_LIST_SERVERS, rq, user_arg(args));
}

static bool on_user(const struct sip_mesh_user *u, void *arg)
{
	struct sip_listing *l = arg;

	if (!sip_listing_takes(l))
		return !l->more;
	json_array_append_new(l->rows, json_pack("{s:s, s:s, s:s, s:I}", "user", u->aor, "server",
						 u->server, "how", u->how, "expires_s",
						 (json_int_t)((u->expires_ms + 999) / 1000)));
	return true;
}

static void verb_users(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	struct sip_listing l = sip_listing_begin(ss, args);

	sip_mesh_users_each(ss->mesh, on_user, &l);
	sip_listing_reply(rq, &l);
}

static void verb_credentials(struct control_request *rq, const json_t *args, void *arg)
{
	const struct sip_service *ss = arg;
	const struct sip_turn *t = ss->turn.turn;
	const char *name = json_string_value(json_object_get(args, "name"));
	struct sip_turn_credentials c;
	int64_t now = (int64_t)time(NULL);

	if (!sip_turn_is_on(t)) {
		control_fail(rq, "not-found", "set sip.turn.uris and sip.turn.secret",
			     "no TURN server is configured for clients");
	} else if (!name || !name[0] || sip_turn_mint(t, name, now, &c) < 0) {
		control_fail(rq, "bad-request", NULL,
			     "name must be a user, as alice@example.org, of at most 250 bytes");
	} else {
		control_reply(rq, json_pack("{s:s, s:s, s:I, s:I, s:s}", "username", c.user,
					    "password", c.password, "ttl", (json_int_t)c.ttl_s,
					    "expires", (json_int_t)(now + (int64_t)c.ttl_s), "uris",
					    sip_turn_uris(t)));
		bytes_wipe(&c, sizeof(c));
	}
}

static const struct control_verb verbs[] = {
	{ "sip.turn.credentials", CONTROL_OPERATOR, verb_credentials,
	  "{name}: credentials of stile-turn for this user: username, password, ttl, expires, uris" },
	{ "sip.servers", CONTROL_VIEWER, verb_servers,
	  "UC servers: name, contact, address, transport, state, since, expires_s, users, weight, group, health, last_error" },
	{ "sip.server.list", CONTROL_VIEWER, verb_list,
	  "UC servers of the file and of the store, as they are configured; passwords are hidden" },
	{ "sip.server.put", CONTROL_ADMIN, verb_put,
	  "{server: {user, password, …}, create}: makes a UC server of the store, or changes one" },
	{ "sip.server.delete", CONTROL_ADMIN, verb_delete, "{user}: deletes a UC server of the store" },
	{ "sip.server.users", CONTROL_OPERATOR, verb_users,
	  "{limit, cursor}: of whom it is remembered at which UC server he lives, and how it is known" },
};

void sip_service_sites_verbs(struct sip_service *ss)
{
	control_add_verbs(ss->svc->control, verbs, ARRAY_LEN(verbs), ss);
}
