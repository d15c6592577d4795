/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of turn.realms: names that are told apart, a way that leads to each (a server name or a
 * listener), nothing that leads to two, certificates that load and are for the names they are shown for.
 *
 * A realm without any credential of its own is no error: its users may be made in the store.
 */
#include <stdio.h>
#include <string.h>
#include "common/server_name.h"
#include "turn/config_check.h"
#include "turn/policy.h"

/* "turn.realms[2]" */
static struct key_path base_of(size_t i)
{
	return check_item("turn", "realms", i, NULL);
}

/* ---- names ---- */

static void check_names(struct cfg *c, const struct turn_config *t)
{
	const struct turn_realm_section *realms = t->realms.items;
	struct named *names = calloc(t->realms.n + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; names && i < t->realms.n; i++) {
		struct key_path key = check_item("turn", "realms", i, "name");

		if (!realms[i].name)
			continue;
		check_realm_name(c, key.s, realms[i].name);
		if (strchr(realms[i].name, '/'))
			cfg_add_error(c, key.s, "the name of a realm must not hold a slash");
		if (t->realm && strcmp(realms[i].name, t->realm) == 0)
			cfg_add_error(c, key.s, "'%s' is the default realm (turn.realm); its users and limits stand in turn itself",
				      t->realm);
		snprintf(names[n].name, sizeof(names[n].name), "%s", realms[i].name);
		names[n++].i = i;
	}
	if (names)
		check_twice(c, &(struct named_list){ names, n, "turn", "realms", "name", "realms" });
	else
		cfg_add_error(c, "turn.realms", "out of memory");
	free(names);
}

/* ---- what leads to a realm ---- */

/* An item of a realm's list. */
struct place {
	size_t realm, at;
};

static bool name_before(const struct turn_config *t, struct place end, const char *name, struct place *ret_first)
{
	const struct turn_realm_section *realms = t->realms.items;

	for (size_t i = 0; i <= end.realm; i++) {
		char *const *names = realms[i].server_names.items;
		size_t n = i == end.realm ? end.at : realms[i].server_names.n;

		for (size_t k = 0; k < n; k++)
			if (names[k] && text_ieq(text_of(names[k]), text_of(name))) {
				*ret_first = (struct place){ i, k };
				return true;
			}
	}
	return false;
}

static void check_server_names(struct cfg *c, const struct turn_config *t, size_t i)
{
	const struct turn_realm_section *x = &((const struct turn_realm_section *)t->realms.items)[i];
	char *const *names = x->server_names.items;
	const char *fault, *file;
	struct place first;
	unsigned line = 0;

	for (size_t k = 0; k < x->server_names.n; k++) {
		struct key_path key = check_item(base_of(i).s, "server_names", k, NULL);

		if (!names[k])
			continue;
		fault = server_name_fault(text_of(names[k]));
		if (fault)
			cfg_add_error(c, key.s, "the server name '%s' %s", names[k], fault);
		if (!name_before(t, (struct place){ i, k }, names[k], &first))
			continue;
		cfg_where(c, check_item(base_of(first.realm).s, "server_names", first.at, NULL).s, &file, &line);
		cfg_add_error(c, key.s, "the server name '%s' leads to a realm already, in line %u; a client can belong to one only",
			      names[k], line);
	}
}

static bool covers(const struct cfg_endpoint *listener, const struct cfg_endpoint *e)
{
	return listener->proto == e->proto && addr_port(&listener->at) == addr_port(&e->at) &&
	       addr_family(&listener->at) == addr_family(&e->at) &&
	       (addr_equal_ip(&listener->at, &e->at) || addr_classify(&listener->at) == ADDR_UNSPECIFIED);
}

static bool is_listened(const struct turn_config *t, const struct cfg_endpoint *e)
{
	const struct cfg_endpoint *l = t->listen.items;

	for (size_t i = 0; i < t->listen.n; i++)
		if (covers(&l[i], e))
			return true;
	return false;
}

static bool listen_before(const struct turn_config *t, struct place end, const struct cfg_endpoint *e, struct place *ret_first)
{
	const struct turn_realm_section *realms = t->realms.items;

	for (size_t i = 0; i <= end.realm; i++) {
		const struct cfg_endpoint *l = realms[i].listen.items;
		size_t n = i == end.realm ? end.at : realms[i].listen.n;

		for (size_t k = 0; k < n; k++)
			if (l[k].proto == e->proto && addr_equal(&l[k].at, &e->at)) {
				*ret_first = (struct place){ i, k };
				return true;
			}
	}
	return false;
}

static void check_listen(struct cfg *c, const struct turn_config *t, size_t i)
{
	static const char *const protos[] = { "udp", "tcp", "tls", "dtls", "front" };
	const struct turn_realm_section *x = &((const struct turn_realm_section *)t->realms.items)[i];
	const struct cfg_endpoint *l = x->listen.items;
	char text[ADDR_STRLEN];
	struct place first;
	const char *file;
	unsigned line = 0;

	for (size_t k = 0; k < x->listen.n; k++) {
		struct key_path key = check_item(base_of(i).s, "listen", k, NULL);

		if (addr_family(&l[k].at) == AF_UNSPEC)
			continue;
		if (!is_listened(t, &l[k]))
			cfg_add_error(c, key.s, "nothing listens on %s:%s; add it to turn.listen", protos[l[k].proto],
				      addr_print(&l[k].at, text));
		if (!listen_before(t, (struct place){ i, k }, &l[k], &first))
			continue;
		cfg_where(c, check_item(base_of(first.realm).s, "listen", first.at, NULL).s, &file, &line);
		cfg_add_error(c, key.s, "%s:%s leads to a realm already, in line %u; a client can belong to one only",
			      protos[l[k].proto], addr_print(&l[k].at, text), line);
	}
}

static void check_ways(struct cfg *c, const struct turn_config *t, size_t i)
{
	const struct turn_realm_section *x = &((const struct turn_realm_section *)t->realms.items)[i];
	const struct cfg_endpoint *tls;
	bool dtls;

	if (!x->server_names.n && !x->listen.n)
		cfg_add_error(c, base_of(i).s, "no client would come to this realm; write server_names: [turn.%s] for TLS and "
			      "DTLS clients, or listen: with addresses of turn.listen", x->name ? x->name : "partner.example");
	else if (x->server_names.n && !check_wants_tls(t, &tls, &dtls))
		cfg_add_error(c, check_key(base_of(i).s, "server_names").s, "only TLS and DTLS clients tell a server name, and "
			      "turn.listen has no tls or dtls listener; add one, such as \"tls:0.0.0.0:5349\"");
}

/* ---- certificates ---- */

static void warn_of_names(struct cfg *c, const struct turn_realm_section *x, size_t i, const struct tls_ctx *ctx)
{
	char *const *names = x->server_names.items;
	struct tls_cert_info info;

	for (size_t k = 0; k < x->server_names.n; k++) {
		if (!names[k] || tls_cert_covers(ctx, names[k]) || tls_cert_info(ctx, &info) < 0)
			continue;
		cfg_add_warning(c, check_item(base_of(i).s, "server_names", k, NULL).s, "the certificate is not for %s, so clients "
				"will refuse it; it is for: %.200s", names[k], info.sans[0] ? info.sans : info.subject);
	}
}

static void check_realm_certificate(struct cfg *c, const struct turn_config *t, size_t i)
{
	const struct turn_realm_section *x = &((const struct turn_realm_section *)t->realms.items)[i];
	struct key_path base = base_of(i);
	struct check_certificate from = { .base = base.s, .certificate = x->certificate, .key = x->key };
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *ctx = NULL;
	const struct cfg_endpoint *first;

	if (!x->certificate && !x->key)
		return;
	if (!x->certificate || !x->key) {
		cfg_add_error(c, check_key(base.s, x->certificate ? "certificate" : "key").s, "a certificate and its key belong "
			      "together; %s is missing", x->certificate ? "the key" : "the certificate");
		return;
	}
	if (!x->server_names.n) {
		cfg_add_error(c, check_key(base.s, "certificate").s, "a realm's certificate is shown to clients who ask for one of "
			      "its server_names, and there are none");
		return;
	}
	(void)check_wants_tls(t, &first, &from.dtls);
	ctx = check_load_certificate(c, &from);
	if (ctx)
		warn_of_names(c, x, i, ctx);
}

/* ---- all of it ---- */

static void check_realm(struct cfg *c, const struct turn_config *t, size_t i)
{
	const struct turn_realm_section *x = &((const struct turn_realm_section *)t->realms.items)[i];
	struct key_path base = base_of(i);

	check_server_names(c, t, i);
	check_listen(c, t, i);
	check_ways(c, t, i);
	check_realm_certificate(c, t, i);
	check_credentials(c, &(struct check_sources){ base.s, x->password, &x->users, &x->secrets });
	check_peers(c, base.s, &x->peers, &t->peers);
	if (!x->password && !x->users.n && !x->secrets.n)
		cfg_add_warning(c, base.s, "no password, users or secrets: only users made by `stile turn user add NAME --realm "
				"%s` can use this realm", x->name ? x->name : "…");
}

void check_realms(struct cfg *c, const struct turn_config *t)
{
	if (t->realms.n > TURN_REALMS_MAX) {
		cfg_add_error(c, "turn.realms", "at most %d realms are possible beside the default one, not %zu", TURN_REALMS_MAX,
			      t->realms.n);
		return;
	}
	check_names(c, t);
	for (size_t i = 0; i < t->realms.n; i++)
		check_realm(c, t, i);
}
