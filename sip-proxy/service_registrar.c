/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts, location service and registrar in stile-sip: made with the service, looked at by the
 * hooks, and shown by `stile sip registrations`. Bindings are in memory and, a moment later, in the
 * store, from where they come back at the start.
 */
#include "sip-proxy/service.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct text password_of(void *arg, const char *aor)
{
	const struct sip_service *ss = arg;
	return sip_accounts_password(ss->accounts, aor);
}

static bool is_domain(void *arg, struct text host)
{
	const struct sip_service *ss = arg;
	return sip_routes_is_domain(ss->routing.routes, host);
}

static bool is_trusted(void *arg, const struct sip_hop *from)
{
	const struct sip_service *ss = arg;
	return sip_sides_trust(&ss->routing, from);
}

/* A proven address that goes on guessing is not listened to for a while. */
static void on_guesses(void *arg, const struct sip_hop *from)
{
	struct sip_service *ss = arg;
	const struct sip_root *root = cfg_values(ss->svc->cfg);
	if (sip_proto_rows[from->proto].reliable)
		sip_edge_ban(ss->edge, &from->remote, root->sip.limits.ban_ms);
}

static unsigned more(void *arg, const struct sip_passage *p, const char *aor,
		     struct sip_line *ret_line, char *buf)
{
	const struct sip_service *ss = arg;
	return sip_turn_line(ss->turn.turn, p, aor, ret_line, buf);
}

static struct text first_domain(void *arg)
{
	const struct sip_service *ss = arg;
	return sip_routes_first_domain(ss->routing.routes);
}

static bool is_elsewhere(void *arg, const char *aor)
{
	const struct sip_service *ss = arg;
	return ss->mesh && sip_mesh_may_serve(ss->mesh, aor);
}

static void on_registered(void *arg, unsigned server, const char *aor, uint64_t until)
{
	const struct sip_service *ss = arg;
	if (ss->mesh)
		sip_mesh_registered(ss->mesh, server, aor, until);
}

/* The topic sip.registrations, of one user: who shows them asks for them then. */
static void on_changed(void *arg, const char *aor)
{
	const struct sip_service *ss = arg;

	if (control_has_subscribers(ss->svc->control, "sip.registrations"))
		control_publish(ss->svc->control, "sip.registrations", json_pack("{s:s}", "user", aor));
}

int sip_service_registrar(struct sip_service *ss, const struct sip_config *c)
{
	const struct sip_location_options lo = { .timers = loop_timers(ss->svc->loop),
						 .seed = hash_seed_random(),
						 .per_aor = (unsigned)c->limits.registrations_per_user,
						 .most = (unsigned)c->limits.registrations };
	int r = sip_accounts_new(ss->svc, c, &ss->accounts);
	if (r == 0)
		r = sip_location_new(&lo, &ss->location);
	if (r == 0)
		r = sip_location_store_new(
			&(struct sip_location_store_options){ .store = ss->svc->store,
							      .loop = ss->svc->loop,
							      .location = ss->location,
							      .changed = on_changed,
							      .arg = ss },
			&ss->bindings);
	if (r < 0)
		return r;
	r = sip_registrar_new(&(struct sip_registrar_options){ .location = ss->location,
							       .password = password_of,
							       .is_domain = is_domain,
							       .is_trusted = is_trusted,
							       .guesses = on_guesses,
							       .first_domain = first_domain,
							       .is_elsewhere = is_elsewhere,
							       .registered = on_registered,
							       .more = more,
							       .arg = ss,
							       .ops = &sip_edge_ops,
							       .edge = ss->edge,
							       .seed = hash_seed_random(),
							       .now = loop_now(ss->svc->loop) },
			      &ss->registrar);
	ss->trusting.registrar = ss->registrar;
	return r == 0 ? sip_service_registrar_set(ss, c) : r;
}

int sip_service_registrar_set(struct sip_service *ss, const struct sip_config *c)
{
	const unsigned *alg = c->digest.items;
	unsigned algorithms = 0;
	int r = sip_registrar_set_service_route(ss->registrar, c->service_route);

	if (r < 0)
		return r;
	sip_location_set_limits(ss->location, (unsigned)c->limits.registrations_per_user,
				(unsigned)c->limits.registrations);
	for (size_t i = 0; i < c->digest.n; i++)
		algorithms |= 1U << alg[i];
	sip_registrar_set_digest(ss->registrar, algorithms);
	return 0;
}

void sip_service_registrar_free(struct sip_service *ss)
{
	ss->registrar = sip_registrar_free(ss->registrar);
	ss->bindings = sip_location_store_free(ss->bindings);
	ss->location = sip_location_free(ss->location);
	ss->accounts = sip_accounts_free(ss->accounts);
}

static bool on_binding(const char *aor, const struct sip_binding *b, void *arg)
{
	struct sip_listing *l = arg;
	char at[ADDR_STRLEN];
	if (!sip_listing_takes(l))
		return !l->more;
	json_array_append_new(
		l->rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:i}", "user", aor,
				   "contact", b->uri, "transport", sip_proto_rows[b->from.proto].name,
				   "source", addr_print(&b->from.remote, at), "expires_s",
				   (json_int_t)((b->expires_at - l->now + 999) / 1000), "flow",
				   sip_binding_has_flow(b, &sip_edge_ops, l->ss->edge), "outbound", b->outbound, "q", (int)b->q));
	return true;
}

static void verb_registrations(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	struct sip_listing l = sip_listing_begin(ss, args);
	sip_location_each(ss->location, l.now, on_binding, &l);
	sip_listing_reply(rq, &l);
}

/* With a Call-ID that no client uses: the client's next REGISTER makes it anew. */
static unsigned unregister(struct sip_service *ss, const char *aor, const char *contact)
{
	uint64_t now = loop_now(ss->svc->loop);
	unsigned n = 0, left = 0, ended = 0;
	const struct sip_binding *v = sip_location_find(ss->location, aor, now, &n);

	for (unsigned i = 0; v && i < n;) {
		char uri[SIP_CONTACT_MAX + 1], call_id[] = "ended-by-the-administrator";
		struct sip_binding gone = v[i];
		(void)snprintf(uri, sizeof(uri), "%s", v[i].uri);
		gone.uri = uri;
		gone.call_id = call_id;
		gone.cseq = 1;
		gone.expires_at = now;
		if ((contact && strcmp(contact, uri) != 0) || sip_location_set(ss->location, aor, &gone, now) < 0) {
			i++;
			continue;
		}
		ended++;
		v = sip_location_find(ss->location, aor, now, &left);
		i = 0;
		n = v ? left : 0;
	}
	return ended;
}

static void verb_registration_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const char *user = json_string_value(json_object_get(args, "user")), *contact = json_string_value(json_object_get(args, "contact"));
	unsigned n = user ? unregister(ss, user, contact) : 0;

	if (!n)
		control_fail(rq, "not-found", "stile sip registrations", "%s is not registered%s%s", user ? user : "nobody",
			     contact ? " with " : "", contact ? contact : "");
	else
		control_reply(rq, json_pack("{s:s, s:i}", "name", user, "ended", (int)n));
}

static const struct control_verb verbs[] = {
	{ "sip.registrations", CONTROL_OPERATOR, verb_registrations,
	  "{limit, cursor}: who is registered where: user, contact, transport, source, expires_s, flow, outbound" },
	{ "sip.registration.delete", CONTROL_OPERATOR, verb_registration_delete,
	  "{user, contact}: ends one registration of a user, or without contact all of his; his next REGISTER makes it anew" },
};

void sip_service_registrar_verbs(struct sip_service *ss)
{
	sip_accounts_add_verbs(ss->accounts, ss->svc->control);
	control_add_verbs(ss->svc->control, verbs, ARRAY_LEN(verbs), ss);
}
