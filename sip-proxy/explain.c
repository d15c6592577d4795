/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy's chain asked for its opinion (`stile sip explain`): the very hooks that decide about real requests, with a
 * request that was written for the question. Nothing is sent, counted, charged or kept: a hook that finds p->explain
 * leaves that out, and says what it thinks with sip_note(). What the core would do with the decision is told here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

static bool is_in_clear(const struct sip_passage *p, const struct sip_place *pl)
{
	struct sip_next next = { 0 };
	struct sip_uri u;

	return sip_px_wants_tls(p->proxy, &p->basics->uri) && sip_uri_parse(pl->next, &u) == 0 &&
	       sip_px_next_hop(&u, &next) == 0 && next.has_proto && !next.sips &&
	       !sip_proto_rows[next.proto].secure;
}

static void say_place(const struct sip_passage *p, const struct sip_place *pl)
{
	const char *proto = sip_proto_rows[pl->hop.proto < SIP_PROTOS ? pl->hop.proto : 0].name;
	char at[ADDR_STRLEN];

	if (pl->has_flow)
		sip_note(p, "goes to %s:%s%s", proto, addr_print(&pl->hop.remote, at),
			 pl->only_flow ? ", over the connection that is there" : "");
	else if (pl->federation)
		sip_note(p, "goes where the SRV record _sipfederationtls._tcp.%.*s leads%s; the certificate must name %.*s",
			 TEXT_FMT(pl->name), pl->sips_srv ? " (or else _sips._tcp)" : "",
			 TEXT_FMT(pl->name));
	else if (pl->next.p && is_in_clear(p, pl))
		sip_note(p, "%u: it would go to %.*s, and %s",
			 sip_refusal_rows[SIP_REFUSE_IN_CLEAR].code, TEXT_FMT(pl->next),
			 sip_refusal_rows[SIP_REFUSE_IN_CLEAR].sentence);
	else if (pl->next.p)
		sip_note(p, "goes to %.*s%s%.*s", TEXT_FMT(pl->next),
			 pl->name.p ? "; the certificate must name " : "", TEXT_FMT(pl->name));
	else
		sip_note(p, "goes to %.*s", TEXT_FMT(pl->uri.p ? pl->uri : p->basics->uri.raw));
}

static unsigned say_refusal(const struct sip_walk *w, enum sip_refusal why, const char *detail)
{
	const struct sip_refusal_row *row = &sip_refusal_rows[why];

	if (row->code)
		sip_note(&w->p, "%u %s: %s%s%s", row->code, row->text, row->sentence,
			 *detail ? ": " : "", detail);
	else
		sip_note(&w->p, "dropped: %s", row->sentence);
	return row->code;
}

/* As passage.c does when no hook has decided. */
static unsigned by_default(const struct sip_walk *w)
{
	const struct sip_passage *p = &w->p;

	if (p->for_us && p->msg->method == SIP_OPTIONS && !p->basics->uri.user.p) {
		sip_note(p, "200 OK: the proxy answers a ping itself");
		return 200;
	}
	return say_refusal(w, p->for_us ? SIP_REFUSE_UNKNOWN_USER : SIP_REFUSE_RELAY, ""); /* it is asked without a Route */
}

static unsigned tell(struct sip_walk *w)
{
	switch (w->decision) {
	case SIP_FORWARD:
		for (unsigned i = 0; i < w->n_places; i++)
			say_place(&w->p, &w->places[i]->place);
		return 0;
	case SIP_ANSWER:
		sip_note(&w->p, "%u %.*s", w->answer_code, TEXT_FMT(sip_reason_phrase(w->answer_code)));
		return w->answer_code;
	case SIP_REFUSE:
	case SIP_DROP: return say_refusal(w, w->refusal, w->detail);
	default: return by_default(w);
	}
}

/* Who waits does so for the answer of a UC server; nothing is sent here. */
static unsigned by_answer(const struct sip_walk *w)
{
	sip_note(&w->p, "goes to the UC server that says yes; 404 if all say no, 480 if one is silent or not logged on");
	return 0;
}

static unsigned ask(struct sip_proxy *px, struct sip_walk *w)
{
	struct sip_basics work_basics;
	struct sip_msg work = { 0 };
	struct text extension = { 0 };
	unsigned code;
	bool waits = false;
	enum sip_refusal why = sip_px_validate(px, w, &extension);

	if (why == SIP_ACCEPTED)
		why = sip_px_preprocess(px, w, &work, &work_basics);
	if (why != SIP_ACCEPTED)
		sip_refuse(&w->p, why, NULL);
	while (w->decision == SIP_UNDECIDED && w->next_hook < px->o.n_hooks) {
		const struct sip_hook *h = px->o.hooks[w->next_hook++];
		w->p.explain->hook = h->name;
		if (h->request && h->request(&w->p, h->arg) == SIP_WAIT) {
			waits = true;
			break;
		}
	}
	w->p.explain->hook = "decision";
	code = waits ? by_answer(w) : tell(w);
	sip_px_walk_deinit(w);
	sip_msg_deinit(&work);
	return code;
}

int sip_proxy_explain(struct sip_proxy *px, struct text request, const struct sip_hop *from,
		      struct sip_explain *x)
{
	struct sip_basics b;
	struct sip_walk *w = calloc(1, sizeof *w);
	struct sip_msg m;
	int r = -ENOMEM;

	if (!w)
		return r;
	r = sip_msg_parse(&m, request, SIP_DATAGRAM, NULL);
	if (r == SIP_OK && sip_basics_read(&m, &b) == SIP_OK && m.is_request) {
		w->p = (struct sip_passage){
			.proxy = px, .msg = &m, .basics = &b, .from = *from, .now = px_now(px), .explain = x
		};
		w->record_route = -1;
		list_init(&w->node);
		r = (int)ask(px, w);
	} else {
		r = r < 0 ? r : -EBADMSG;
	}
	sip_msg_deinit(&m);
	free(w);
	return r;
}
