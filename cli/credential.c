/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds or makes a credential. The configuration file is preferred: whoever may read it needs no running
 * server. What is minted is time-limited; what is copied from the file is the administrator's own and is
 * wiped by the caller after use.
 */
#include "cli/credential.h"
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/config.h"
#include "common/service.h"
#include "turn/policy.h"

enum { TEST_TTL_S = 1800, CLIENT_TTL_S = 86400 };

static void copy(char *out, size_t n, const char *s)
{
	snprintf(out, n, "%s", s ? s : "");
}

static int mint(struct cli *cli, const char *secret, const char *name, uint64_t ttl_s, bool sha256, struct credential *c)
{
	struct turn_minted minted;

	c->expires = (uint64_t)time(NULL) + ttl_s;
	if (turn_mint_credential(sha256 ? STUN_MAC_SHA256 : STUN_MAC_SHA1, text_of(secret), text_of(name), c->expires,
				 &minted) != 0)
		return cli_fail(cli, "cannot make a credential for '%s': the name is too long", name);
	copy(c->user, sizeof c->user, minted.user);
	copy(c->password, sizeof c->password, minted.password);
	bytes_wipe(&minted, sizeof minted);
	return 0;
}

static const struct turn_secret_section *pick_secret(const struct turn_config *cfg, const char *id)
{
	const struct turn_secret_section *s = cfg->secrets.items;

	for (size_t i = 0; i < cfg->secrets.n; i++)
		if (!id || strcmp(s[i].id, id) == 0)
			return &s[i];
	return NULL;
}

int credential_realm(struct cli *cli, const struct turn_config *cfg, struct turn_config *ret_view,
		     const struct turn_realm_section **ret_section)
{
	const struct turn_realm_section *x = cfg->realms.items;
	const char *name = cli_option(cli, "realm");

	*ret_view = *cfg;
	if (ret_section)
		*ret_section = NULL;
	if (!name || strcmp(name, cfg->realm) == 0)
		return 0;
	for (size_t i = 0; i < cfg->realms.n; i++) {
		if (strcmp(x[i].name, name) != 0)
			continue;
		ret_view->realm = x[i].name;
		ret_view->password = x[i].password;
		ret_view->users = x[i].users;
		ret_view->secrets = x[i].secrets;
		if (ret_section)
			*ret_section = &x[i];
		return 0;
	}
	return cli_fail(cli, "%s has no realm %s", cli_config_path(cli), name);
}

static int mint_by_server(struct cli *cli, const char *name, uint64_t ttl_s, bool sha256, struct credential *ret_c)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	const char *id = cli_option(cli, "secret");
	json_t *result, *args;
	int r = cli_connect(cli, "stile-turn", &cl);

	if (r)
		return r;
	args = json_pack("{s:s, s:I, s:s}", "name", name, "ttl", (json_int_t)ttl_s, "mac", sha256 ? "sha256" : "sha1");
	if (id)
		json_object_set_new(args, "secret", json_string(id));
	if (cli_has(cli, "realm"))
		json_object_set_new(args, "realm", json_string(cli_option(cli, "realm")));
	r = cli_call(cli, cl, "turn.credentials", args, &result);
	if (r)
		return r;
	copy(ret_c->user, sizeof ret_c->user, json_string_value(json_object_get(result, "username")));
	copy(ret_c->password, sizeof ret_c->password, json_string_value(json_object_get(result, "password")));
	copy(ret_c->realm, sizeof ret_c->realm, json_string_value(json_object_get(result, "realm")));
	ret_c->expires = (uint64_t)json_integer_value(json_object_get(result, "expires"));
	json_decref(result);
	return 0;
}

/* It may have secrets that the file has not: of `stile turn secret add`, and of the console. */
static bool server_runs(const struct cli *cli)
{
	struct instance i;
	char err[256];

	return cli_place(cli, "stile-turn", &i, err, sizeof err) == 0 &&
	       access(i.socket_path, W_OK) == 0;
}

static int mint_from_file(struct cli *cli, const char *name, uint64_t ttl_s, bool sha256, struct credential *ret_c)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *id = cli_option(cli, "secret");

	if (cfg_load(cli_config_path(cli), &turn_cfg_root, &cfg) < 0) {
		if (cfg)
			cfg_print_errors(cfg, stderr);
		return EXIT_USAGE;
	}
	struct turn_config turn;
	int r = credential_realm(cli, &((const struct turn_root *)cfg_values(cfg))->turn, &turn, NULL);
	if (r)
		return r;
	const struct turn_secret_section *s = pick_secret(&turn, id);
	if (!s && server_runs(cli))
		return mint_by_server(cli, name, ttl_s, sha256, ret_c);
	if (!s && cli_has(cli, "realm"))
		return cli_fail(cli, "%s: realm %s has no %s%s", cli_config_path(cli), turn.realm, id ? "secret with the id " : "secrets",
				id ? id : "");
	if (!s)
		return cli_fail(cli, id ? "%s has no secret with the id %s" : "%s has no turn.secrets%s\nwrite: turn: { secrets: [ { id: 2026a, secret: … } ] }",
				cli_config_path(cli), id ? id : "");
	copy(ret_c->realm, sizeof ret_c->realm, turn.realm);
	return mint(cli, s->secret, name, ttl_s, sha256, ret_c);
}

int credential_mint(struct cli *cli, const char *name, uint64_t ttl_s, bool sha256, struct credential *ret_c)
{
	*ret_c = (struct credential){ 0 };
	if (access(cli_config_path(cli), R_OK) == 0)
		return mint_from_file(cli, name, ttl_s, sha256, ret_c);
	return mint_by_server(cli, name, ttl_s, sha256, ret_c);
}

static int from_options(struct cli *cli, struct credential *c)
{
	const char *user = cli_option(cli, "user"), *password = cli_option(cli, "password");
	const char *secret = cli_option(cli, "shared-secret");

	if (secret) {
		copy(c->source, sizeof c->source, "minted from --shared-secret");
		return mint(cli, secret, user ? user : "stile-test", TEST_TTL_S, false, c);
	}
	if (!user || !password)
		return cli_wrong(cli, "give both --user and --password, or --shared-secret");
	copy(c->user, sizeof c->user, user);
	copy(c->password, sizeof c->password, password);
	copy(c->source, sizeof c->source, "given by --user");
	return 0;
}

/* What the configuration offers, in the order in which an administrator would hand it out. */
static int from_config(struct cli *cli, const struct turn_config *cfg, const char *name, uint64_t ttl_s, struct credential *c)
{
	if (cfg->password) {
		copy(c->user, sizeof c->user, name);
		copy(c->password, sizeof c->password, cfg->password);
		copy(c->source, sizeof c->source, "turn.password");
		return 0;
	}
	if (cfg->users.n) {
		const struct turn_user_section *u = cfg->users.items;
		copy(c->user, sizeof c->user, u->name);
		copy(c->password, sizeof c->password, u->password);
		copy(c->source, sizeof c->source, "the first of turn.users");
		return 0;
	}
	const struct turn_secret_section *s = pick_secret(cfg, NULL);
	if (!s)
		return cli_fail(cli, "%s has no password, users or secrets in turn:", cli_config_path(cli));
	copy(c->source, sizeof c->source, "minted from the first of turn.secrets");
	return mint(cli, s->secret, name, ttl_s, false, c);
}

int credential_for_client(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c)
{
	*ret_c = (struct credential){ 0 };
	return from_config(cli, cfg, "stile", CLIENT_TTL_S, ret_c);
}

int credential_for_other(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c)
{
	const char *user = cli_option(cli, "other-user"), *password = cli_option(cli, "other-password");
	const char *secret = cli_option(cli, "shared-secret");
	bool from_file = cfg && !secret && !cli_has(cli, "user");

	*ret_c = (struct credential){ 0 };
	if (user && password) {
		copy(ret_c->user, sizeof ret_c->user, user);
		copy(ret_c->password, sizeof ret_c->password, password);
		return 0;
	}
	if (secret)
		return mint(cli, secret, user ? user : "stile-other", TEST_TTL_S, false, ret_c);
	if (from_file && cfg->password) {
		copy(ret_c->user, sizeof ret_c->user, "stile-other");
		copy(ret_c->password, sizeof ret_c->password, cfg->password);
	} else if (from_file && cfg->users.n > 1) {
		const struct turn_user_section *u = cfg->users.items;
		copy(ret_c->user, sizeof ret_c->user, u[1].name);
		copy(ret_c->password, sizeof ret_c->password, u[1].password);
	} else if (from_file && !cfg->users.n && pick_secret(cfg, NULL)) {
		return mint(cli, pick_secret(cfg, NULL)->secret, "stile-other", TEST_TTL_S, false, ret_c);
	}
	return 0;
}

int credential_for_test(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c)
{
	*ret_c = (struct credential){ 0 };
	if (cli_has(cli, "user") || cli_has(cli, "password") || cli_has(cli, "shared-secret"))
		return from_options(cli, ret_c);
	if (!cfg)
		return cli_wrong(cli, "no credentials: give --user and --password, or --shared-secret, or a configuration by -c");
	return from_config(cli, cfg, "stile-test", TEST_TTL_S, ret_c);
}
