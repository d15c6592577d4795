/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS and DTLS contexts of stile-turn: made from the certificates of the configuration, the default one and
 * those of realms with their own (chosen by the name that a client asks for), at the start and anew at each reload, so that a renewed file is taken under its old name too. The main thread makes
 * them and hands each worker its references; connections keep the context they began with. The verb turn.certificates shows the
 * files as they are now, which may be others than those at work: then a reload is what is missing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/cert_find.h"
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/service.h"

void turn_contexts_deinit(struct turn_contexts *c)
{
	c->tls = tls_ctx_unref(c->tls);
	c->dtls = tls_ctx_unref(c->dtls);
}

/* One context, with the certificates of the realms that have their own. */
static int load_one(const struct turn_config *cfg, struct tls_options *o, char warning[static TLS_ERRLEN],
		    struct tls_ctx **ret_ctx)
{
	const struct turn_realm_section *x = cfg->realms.items;
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *all = NULL;
	char said[TLS_ERRLEN];
	int r;

	o->cert_file = cfg->certificate;
	o->key_file = cfg->key;
	r = tls_ctx_new(o, warning, &all);
	for (size_t i = 0; r == 0 && i < cfg->realms.n; i++) {
		_cleanup_(tls_ctx_unrefp) struct tls_ctx *one = NULL;
		char *const *names = x[i].server_names.items;

		if (!x[i].certificate)
			continue;
		o->cert_file = x[i].certificate;
		o->key_file = x[i].key;
		r = tls_ctx_new(o, said, &one);
		if (said[0] && (r < 0 || !warning[0]))
			snprintf(warning, TLS_ERRLEN, "%s", said);
		for (size_t k = 0; r == 0 && k < x[i].server_names.n; k++)
			r = tls_ctx_add_name(all, names[k], one);
		if (r == -ENOMEM)
			snprintf(warning, TLS_ERRLEN, "out of memory");
	}
	if (r == 0)
		*ret_ctx = steal_ptr(&all);
	return r;
}

int turn_contexts_load(const struct turn_service *ts, const struct turn_config *cfg, char warning[static TLS_ERRLEN],
		       char *err, size_t err_n, struct turn_contexts *ret_c)
{
	static const char *const alpn[] = { "stun.turn", "stun.nat-discovery", NULL };
	struct tls_options o = { .alpn = alpn };
	const struct cfg_endpoint *listen = cfg->listen.items;
	bool want_tls = false, want_dtls = false;
	int r = 0;

	*ret_c = (struct turn_contexts){ 0 };
	*warning = 0;
	for (size_t i = 0; i < cfg->listen.n; i++) {
		want_tls |= listen[i].proto == TURN_LISTEN_TLS || (listen[i].proto == TURN_LISTEN_FRONT && cfg->certificate);
		want_dtls |= listen[i].proto == TURN_LISTEN_DTLS;
	}
	if (want_tls)
		r = load_one(cfg, &o, warning, &ret_c->tls);
	else /* no listener needs it; connections of one that was removed may */
		ret_c->tls = tls_ctx_ref(ts->contexts.tls);
	o.dtls = true;
	if (want_dtls && r == 0)
		r = load_one(cfg, &o, warning, &ret_c->dtls);
	else if (!want_dtls)
		ret_c->dtls = tls_ctx_ref(ts->contexts.dtls);
	if (r < 0) {
		snprintf(err, err_n, "%s", warning);
		turn_contexts_deinit(ret_c);
	}
	return r;
}

static void give_contexts(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	const struct turn_contexts *fresh = arg;
	struct turn_contexts old = w->contexts;

	w->contexts = (struct turn_contexts){ tls_ctx_ref(fresh->tls), tls_ctx_ref(fresh->dtls) };
	list_for_each(it, &w->udp) {
		struct turn_udp *u = list_entry(it, struct turn_udp, node);
		if (u->dtls && w->contexts.dtls)
			dtls_listener_set_ctx(u->dtls, w->contexts.dtls);
	}
	turn_contexts_deinit(&old);
}

void turn_contexts_swap(struct turn_service *ts, struct turn_contexts *c)
{
	struct turn_contexts was = ts->contexts;

	workers_call(&ts->workers, give_contexts, c);
	ts->contexts = *c;
	*c = was;
}

/* ---- what is new about it ---- */

static bool describe(const struct tls_ctx *c, struct tls_cert_info *info, char *out, size_t n)
{
	struct sb b = sb_init(out, n);
	char until[32];
	struct tm tm;

	if (!c || tls_cert_info(c, info) < 0)
		return false;
	if (!gmtime_r(&info->not_after, &tm) || !strftime(until, sizeof until, "%Y-%m-%d", &tm))
		until[0] = 0;
	sb_part(&b, text_of(info->subject), 128);
	sb_fmt(&b, " until %s, sha256 %.16s…", until, info->sha256);
	return true;
}

static int diff_one(const char *key, const struct tls_ctx *was, const struct tls_ctx *is, struct service_changes *ch)
{
	struct tls_cert_info a, b;
	char before[256], now[256];

	if (!describe(was, &a, before, sizeof before) || !describe(is, &b, now, sizeof now) ||
	    strcmp(a.sha256, b.sha256) == 0)
		return 0;
	return service_changes_add(ch, &(struct cfg_change){ .key = key, .what = "changed", .was = before, .is = now });
}

static const struct tls_ctx *shown_for(const struct tls_ctx *c, const char *wanted)
{
	const struct tls_ctx *of;
	const char *pattern;

	for (size_t i = 0; tls_ctx_nth_name(c, i, &pattern, &of); i++)
		if (strcmp(pattern, wanted) == 0)
			return of;
	return NULL;
}

int turn_contexts_diff(const struct turn_contexts *was, const struct turn_contexts *is, struct service_changes *ch)
{
	const struct tls_ctx *before = was->tls ? was->tls : was->dtls, *now = is->tls ? is->tls : is->dtls, *of;
	const struct tls_ctx *told = NULL; /* a certificate of several names changes once */
	const char *pattern;
	char key[384];
	int r = diff_one("turn.certificate (contents)", before, now, ch);

	for (size_t i = 0; r == 0 && before && now && tls_ctx_nth_name(now, i, &pattern, &of); i++) {
		if (of == told)
			continue;
		snprintf(key, sizeof key, "certificate for %s (contents)", pattern);
		r = diff_one(key, shown_for(before, pattern), of, ch);
		told = of;
	}
	return r;
}

/* ---- shown ---- */

static bool is_needed(const struct turn_config *cfg)
{
	const struct cfg_endpoint *listen = cfg->listen.items;

	for (size_t i = 0; i < cfg->listen.n; i++)
		if (turn_listen_kinds[listen[i].proto].tls)
			return true;
	return false;
}

/* names NULL: those who ask for no other. of: the context that clients of it are shown; NULL: none yet. */
static void add_row(json_t *rows, const struct cert_files *f, const struct cfg_list *names, const struct tls_ctx *of)
{
	json_t *row = cert_row(f, time(NULL)), *who = json_array();
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));
	struct tls_cert_info info;
	bool at_work = of && sha256 && tls_cert_info(of, &info) == 0 && strcmp(info.sha256, sha256) == 0;

	for (size_t i = 0; names && i < names->n; i++)
		json_array_append_new(who, json_string(((char *const *)names->items)[i]));
	json_object_set_new(row, "server_names", who);
	json_object_set_new(row, "at_work", json_boolean(at_work));
	json_array_append_new(rows, row);
}

static void verb_certificates(struct control_request *rq, const json_t *args, void *arg)
{
	const struct turn_service *ts = arg;
	const struct turn_config *cfg = &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
	const struct turn_realm_section *x = cfg->realms.items;
	const struct tls_ctx *now = ts->contexts.tls ? ts->contexts.tls : ts->contexts.dtls;
	json_t *rows = json_array();

	(void)args;
	if (cfg->certificate)
		add_row(rows, &(struct cert_files){ .cert = cfg->certificate, .key = cfg->key }, NULL, now);
	for (size_t i = 0; i < cfg->realms.n; i++)
		if (x[i].certificate)
			add_row(rows, &(struct cert_files){ .cert = x[i].certificate, .key = x[i].key }, &x[i].server_names,
				now && x[i].server_names.n ? shown_for(now, ((char *const *)x[i].server_names.items)[0]) : NULL);
	control_reply(rq, json_pack("{s:o, s:b}", "rows", rows, "needed", is_needed(cfg)));
}

/* ---- to pick from ---- */

/* Where certificates of this configuration are, and where the configuration itself is. */
static void verb_files(struct control_request *rq, const json_t *args, void *arg)
{
	const struct turn_service *ts = arg;
	const struct turn_config *cfg = &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
	const struct turn_realm_section *x = cfg->realms.items;
	const char *files[2 + TURN_REALMS_MAX] = { ts->svc->config_path, cfg->certificate };
	size_t n = 2;

	(void)args;
	for (size_t i = 0; i < cfg->realms.n && n < ARRAY_LEN(files); i++)
		files[n++] = x[i].certificate;
	control_reply(rq, json_pack("{s:o}", "rows", cert_find(files, n, time(NULL))));
}

static const struct control_verb verbs[] = {
	{ "turn.certificate.files", CONTROL_ADMIN, verb_files,
	  "certificates to choose from: the PEM files in the folders of the configuration and of its certificates, with their keys" },
	{ "turn.certificates", CONTROL_VIEWER, verb_certificates,
	  "certificates of the configuration as their files are now: names, issuer, validity, chain, key, faults, warnings, whether they are at work; and whether a listener needs one" },
};

void turn_certificates_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
