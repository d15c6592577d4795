/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the server's keys: shown, rotated, exported and imported. The files are small and
 * written in the main thread; these verbs are rare.
 *
 * A rotation of the root is refused while approved agents have not yet been told of the present one:
 * they know it as a successor at most, and would not know the next; or while they know another successor.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/agents_priv.h"

enum { PASSPHRASE_LEAST = 8 };

struct count {
	const struct tunnel_agents *a;
	json_int_t behind, astray; /* they know another root; or another successor */
	char first[REGISTRY_NAME_MAX + 1];
};

static bool count_behind(struct entry *e, void *arg)
{
	struct count *c = arg;

	bool behind = !identity_hash_equal(&e->root, identity_hash(c->a->keys.root));
	bool astray = !behind && identity_hash_is_set(&e->successor) &&
		      !identity_hash_equal(&e->successor, identity_hash(c->a->keys.successor));

	if (e->state != ENTRY_APPROVED || (!behind && !astray))
		return true;
	if ((behind && !c->behind++) || (astray && !c->astray++ && !c->behind))
		memcpy(c->first, e->name, sizeof(c->first));
	return true;
}

static json_t *keys_json(const struct tunnel_agents *a)
{
	char root[IDENTITY_STRLEN], successor[IDENTITY_STRLEN], link[IDENTITY_STRLEN];
	struct count c = { .a = a };

	registry_each(a->registry, count_behind, &c);
	return json_pack("{s:s, s:b, s:s, s:b, s:s, s:I, s:I}", "root",
			 identity_print(identity_hash(a->keys.root), root), "root_key",
			 identity_has_key(a->keys.root), "successor",
			 identity_print(identity_hash(a->keys.successor), successor),
			 "successor_key", identity_has_key(a->keys.successor), "link",
			 identity_print(identity_hash(a->keys.link), link), "agents_behind",
			 c.behind, "agents_astray", c.astray);
}

static void drop_link(struct tunnel_link *l, void *arg)
{
	(void)arg;
	tunnel_link_drop(l, "the server's root key was rotated");
}

static void drop_links(struct tunnel_worker *w, void *arg)
{
	tunnel_worker_each(w, drop_link, arg);
}

/* Control connections are made anew, so that agents hear of the new root and its successor, and whoever has the old
 * keys gets nobody any more. Data connections go on. */
static void tell_all(struct tunnel_agents *a)
{
	if (a->server)
		tunnel_server_call(a->server, drop_links, NULL);
}

/* New keys are in use at once; connections that are open stay. */
static void finish(struct tunnel_agents *a, struct control_request *rq, int r, const char *err,
		   const char *what)
{
	if (r == 0)
		r = agents_new_tls(a);
	if (r < 0) {
		control_fail(rq, r == -EEXIST ? "exists" : "failed", NULL, "%s",
			     err[0] ? err : strerror(-r));
		return;
	}
	log_emit(&MSG_TUNNEL_KEYS_CHANGED, LF_STR("what", what), LF_STR("by", control_request_who(rq)));
	control_reply(rq, keys_json(a));
}

static void verb_identity(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, keys_json(arg));
}

static void rotate_root(struct tunnel_agents *a, struct control_request *rq)
{
	char err[IDENTITY_ERRLEN] = "";
	int r = server_keys_rotate_root(a->o.folder, &a->keys, err);

	finish(a, rq, r, err, "root rotated");
	if (r == 0)
		tell_all(a);
}

static void verb_rotate(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	const char *what = json_string_value(json_object_get(args, "what"));
	struct count c = { .a = a };
	char err[IDENTITY_ERRLEN] = "";

	if (what && strcmp(what, "link") == 0) {
		finish(a, rq, server_keys_rotate_link(a->o.folder, &a->keys, err), err, "link rotated");
		return;
	}
	if (!what || strcmp(what, "root") != 0) {
		control_fail(rq, "bad-request", NULL, "what must be link or root");
		return;
	}
	if (!json_is_true(json_object_get(args, "force")))
		registry_each(a->registry, count_behind, &c);
	if (c.behind)
		control_fail(rq, "conflict",
			     "wait until they have connected, or take --force and enrol them anew",
			     "%lld agents have not yet been told of the present root (%s …): they would be locked out",
			     (long long)c.behind, c.first);
	else if (c.astray)
		control_fail(
			rq, "conflict",
			"import the backup that has their successor (--force), or enrol them anew by codes, or take --force",
			"%lld agents know another successor of the root than the present one (%s …): they would be locked out",
			(long long)c.astray, c.first);
	else
		rotate_root(a, rq);
}

static void verb_export(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	const char *passphrase = json_string_value(json_object_get(args, "passphrase"));
	bool successor = json_is_true(json_object_get(args, "successor")),
	     remove = json_is_true(json_object_get(args, "remove"));
	char err[IDENTITY_ERRLEN] = "", *pem = NULL;
	int r;

	if (!passphrase || strlen(passphrase) < PASSPHRASE_LEAST) {
		control_fail(rq, "bad-request", NULL,
			     "the passphrase must have at least %d characters", PASSPHRASE_LEAST);
		return;
	}
	r = server_keys_export(&a->keys, passphrase, successor, err, &pem);
	if (r < 0) {
		control_fail(rq, "failed", NULL, "%s", err);
		return;
	}
	if (remove && successor)
		r = server_keys_drop_successor_key(a->o.folder, &a->keys, err);
	if (r < 0) {
		control_fail(rq, "failed", NULL, "%s", err);
	} else {
		log_emit(&MSG_TUNNEL_KEYS_CHANGED,
			 LF_STR("what", !successor ? "exported"
					: remove   ? "successor exported and removed"
						   : "successor exported"),
			 LF_STR("by", control_request_who(rq)));
		control_reply(rq, json_pack("{s:s}", "pem", pem));
	}
	bytes_wipe(pem, strlen(pem));
	free(pem);
}

static void verb_import(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	const char *pem = json_string_value(json_object_get(args, "pem"));
	const char *passphrase = json_string_value(json_object_get(args, "passphrase"));
	char err[IDENTITY_ERRLEN] = "";
	int r;

	if (!pem || !passphrase) {
		control_fail(rq, "bad-request", NULL, "pem and passphrase must be given");
		return;
	}
	r = server_keys_import(a->o.folder, text_of(pem), passphrase,
			       json_is_true(json_object_get(args, "force")), &a->keys, err);
	finish(a, rq, r, err, "imported");
}

static const struct control_verb verbs[] = {
	{ "tunnel.identity", CONTROL_VIEWER, verb_identity,
	  "fingerprints of root, successor and link key, and how many agents do not know this root yet, or know another successor" },
	{ "tunnel.identity.rotate", CONTROL_ADMIN, verb_rotate,
	  "{what: link or root, force}: a new link key; or the successor becomes the root" },
	{ "tunnel.identity.export", CONTROL_ADMIN, verb_export,
	  "{passphrase, successor, remove}: the backup as PEM; or the successor alone, whose key is then removed here" },
	{ "tunnel.identity.import", CONTROL_ADMIN, verb_import,
	  "{pem, passphrase, force}: a backup, or the successor's key" },
};

void agents_keys_add_verbs(struct tunnel_agents *a)
{
	control_add_verbs(a->o.control, verbs, ARRAY_LEN(verbs), a);
}
