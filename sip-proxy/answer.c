/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses of our own, and refusals. A final response that is no 2xx, to a request that has no transaction yet, is sent
 * without one (RFC 3261 8.2.7): a stranger's request costs no memory. Its To tag is a keyed hash of what its repetitions
 * and its ACK share, so that the one gets the same response and the other is known as ours.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/proxy_priv.h"

enum { VIA_MAX = 1024 };

bool sip_buffer_room(struct sip_buffer *b, size_t n)
{
	size_t cap = MAX(b->cap * 2, MAX(n, (size_t)8192));
	char *p;
	if (n <= b->cap)
		return true;
	p = malloc(cap);
	if (!p)
		return false;
	free(b->p);
	b->p = p;
	b->cap = cap;
	return true;
}

void sip_px_tag(const struct sip_proxy *px, const struct sip_basics *b, char out[static 16])
{
	struct hash_seed seed = { ~px->o.seed.k0, px->o.seed.k1 };
	uint64_t h[4] = { 0, 0, 0, b->cseq.number };
	const struct text parts[] = { b->via.branch, b->from.tag, b->call_id };
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].n > 0)
			h[i] = hash_bytes(&seed, parts[i].p, parts[i].n);
	h[0] = hash_bytes(&seed, h, sizeof h);
	base64url_encode(h, 8, out);
}

/* The topmost Via of the response. A request that was not routed yet has it as it came: what a receiver adds to it (RFC 3261
 * 18.2.1, RFC 3581) must stand in the response all the same. To whoever takes part in overload control our wish is said. */
static void set_via(struct sip_proxy *px, const struct sip_basics *b, const struct sip_hop *came,
		    char via[2][VIA_MAX], struct sip_response_parts *parts)
{
	ptrdiff_t n = came && b->via.raw.p ? sip_via_fill(&b->via, &came->remote, via[0], VIA_MAX) : 0;
	struct sip_via v = b->via;
	struct text wish;
	if (n > 0)
		parts->top_via = (struct text){ via[0], (size_t)n };
	if (!b->via.oc || (n > 0 && sip_via_parse(parts->top_via, &v) < 0))
		return;
	wish = sip_px_wish(px, &v, via[1], VIA_MAX);
	if (wish.p)
		parts->top_via = wish;
}

ssize_t sip_px_write_to(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
			const struct sip_answer *a, const struct sip_hop *came)
{
	char tag[16], via[2][VIA_MAX];
	size_t need = m->raw.n + a->body.n + 1024 + VIA_MAX;
	struct sip_response_parts parts = {
		.code = a->code,
		.reason = a->reason.p ? a->reason : sip_reason_phrase(a->code),
		.lines = a->lines,
		.n_lines = a->n_lines,
		.content_type = a->content_type,
		.body = a->body,
	};
	for (unsigned i = 0; i < a->n_lines; i++)
		need += a->lines[i].name.n + a->lines[i].value.n + 8;
	if (!sip_buffer_room(&px->answer, need))
		return -ENOMEM;
	if (a->code > 100) {
		sip_px_tag(px, b, tag);
		parts.to_tag = text_of(tag);
	}
	set_via(px, b, came, via, &parts);
	return sip_response_write(px->answer.p, px->answer.cap, m, &parts);
}

ssize_t sip_px_write(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		     const struct sip_answer *a)
{
	return sip_px_write_to(px, m, b, a, NULL);
}

static void count_out(struct sip_proxy *px, const struct sip_basics *b, unsigned code)
{
	px->counts.responses_out[b->cseq.method][code / 100]++;
}

void sip_px_respond(struct sip_proxy *px, struct sip_server_tx *s, const struct sip_basics *b,
		    const struct sip_hop *came, unsigned code, struct text bytes)
{
	struct sip_target to;
	if (s) {
		if (sip_server_respond(s, code, bytes) != -EALREADY)
			count_out(px, b, code);
		return;
	}
	to = sip_reply_target(&b->via, came);
	px->o.ops->send(px->o.edge, &to, bytes, NULL, NULL);
	count_out(px, b, code);
}

static void log_refusal(struct sip_proxy *px, const struct sip_refusing *r)
{
	const struct sip_refusal_row *row = &sip_refusal_rows[r->why];
	uint64_t suppressed;
	if (!row->msg || !log_enabled(row->msg->level) || !log_gate_pass(&px->gates[r->why], px_now(px), &suppressed))
		return;
	log_emit(row->msg, LF_ADDR("from", &r->from->remote), LF_TEXT("method", r->m->method_name),
		 LF_TEXT("uri", r->m->uri), LF_TEXT("call", r->b->call_id),
		 LF_STR("reason", row->sentence), LF_STR("detail", r->detail ? r->detail : ""));
}

static void tell(struct sip_proxy *px, const struct sip_refusing *r)
{
	const struct sip_refused told = {
		.what = r->why,
		.at_ms = px_now(px),
		.from = *r->from,
		.method = r->m->method_name,
		.uri = r->m->uri,
		.call_id = r->b->call_id,
		.detail = r->detail,
	};
	px->counts.refused[r->why]++;
	log_refusal(px, r);
	if (px->o.watch && px->o.watch->refused)
		px->o.watch->refused(px->o.watch_arg, &told);
}

void sip_px_refuse(struct sip_proxy *px, const struct sip_refusing *r)
{
	const struct sip_refusal_row *row = &sip_refusal_rows[r->why];
	char seconds[16];
	struct sb sb = sb_init(seconds, sizeof seconds);
	struct sip_line line = { TEXT("Unsupported"), r->extension };
	struct sip_answer a = { .code = row->code,
				.reason = text_of(row->text),
				.lines = &line,
				.n_lines = r->extension.n > 0 };
	ssize_t n;
	tell(px, r);
	if (row->code == 0 || r->silent || r->m->method == SIP_ACK) {
		if (r->server)
			sip_server_give_up(r->server);
		return;
	}
	/* With overload control a Retry-After would stop everything where a share is meant (RFC 7339 5.9). */
	if (row->code == 503 && r->why != SIP_REFUSE_SPARED &&
	    !(px->o.overload_control && sip_oc_asks(&r->b->via))) {
		sb_u64(&sb, sip_retry_after(sip_txs_charges(px->txs)), 1);
		line = (struct sip_line){ TEXT("Retry-After"), { seconds, sb.n } };
		a.n_lines = 1;
	}
	n = sip_px_write_to(px, r->m, r->b, &a, r->from);
	if (n > 0)
		sip_px_respond(px, r->server, r->b, r->from, row->code,
			       (struct text){ px->answer.p, (size_t)n });
	else if (r->server)
		sip_server_give_up(r->server);
}
