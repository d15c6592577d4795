/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS and DTLS contexts of stile-turn: made from the certificate of the configuration at the start and
 * anew at each reload, so that a renewed file is taken under its old name too. The main thread makes
 * them and hands each worker its references; connections keep the context they began with.
 */
#include <stdio.h>
#include <time.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"

void turn_contexts_deinit(struct turn_contexts *c)
{
	c->tls = tls_ctx_unref(c->tls);
	c->dtls = tls_ctx_unref(c->dtls);
}

/* A file that names no certificate is one whose listeners need none, after the next start; those of now do. */
static void keep_old(const struct turn_service *ts, struct turn_contexts *ret_c)
{
	*ret_c = (struct turn_contexts){ tls_ctx_ref(ts->contexts.tls), tls_ctx_ref(ts->contexts.dtls) };
}

int turn_contexts_load(const struct turn_service *ts, const struct turn_config *cfg, char warning[static TLS_ERRLEN],
		       char *err, size_t err_n, struct turn_contexts *ret_c)
{
	static const char *const alpn[] = { "stun.turn", "stun.nat-discovery", NULL };
	struct tls_options o = { .cert_file = cfg->certificate, .key_file = cfg->key, .alpn = alpn };
	bool want_tls = false, want_dtls = false;
	int r = 0;

	*ret_c = (struct turn_contexts){ 0 };
	*warning = 0;
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		want_tls |= l->spec.proto == TURN_LISTEN_TLS;
		want_dtls |= l->spec.proto == TURN_LISTEN_DTLS;
	}
	if (!cfg->certificate) {
		keep_old(ts, ret_c);
		return 0;
	}
	if (want_tls)
		r = tls_ctx_new(&o, warning, &ret_c->tls);
	o.dtls = true;
	if (want_dtls && r == 0)
		r = tls_ctx_new(&o, warning, &ret_c->dtls);
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
		if (u->dtls)
			dtls_listener_set_ctx(u->dtls, w->contexts.dtls);
	}
	turn_contexts_deinit(&old);
}

void turn_contexts_take(struct turn_service *ts, struct turn_contexts *fresh)
{
	workers_call(&ts->workers, give_contexts, fresh);
	turn_contexts_deinit(&ts->contexts);
	ts->contexts = *fresh;
	*fresh = (struct turn_contexts){ 0 };
}

/* ---- what is new about it ---- */

static bool describe(const struct turn_contexts *c, struct tls_cert_info *info, char *out, size_t n)
{
	char until[32];
	struct tm tm;

	if ((!c->tls && !c->dtls) || tls_cert_info(c->tls ? c->tls : c->dtls, info) < 0)
		return false;
	if (!gmtime_r(&info->not_after, &tm) || !strftime(until, sizeof until, "%Y-%m-%d", &tm))
		until[0] = 0;
	snprintf(out, n, "%.128s until %s, sha256 %.16s…", info->subject, until, info->sha256);
	return true;
}

int turn_contexts_diff(const struct turn_contexts *was, const struct turn_contexts *is, struct service_changes *ch)
{
	struct tls_cert_info a, b;
	char before[256], now[256];

	if (!describe(was, &a, before, sizeof before) || !describe(is, &b, now, sizeof now) ||
	    strcmp(a.sha256, b.sha256) == 0)
		return 0;
	return service_changes_add(ch, &(struct cfg_change){ .key = "turn.certificate (contents)", .what = "changed",
							     .was = before, .is = now });
}
