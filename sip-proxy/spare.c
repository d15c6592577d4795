/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overload control of the proxy (RFC 7339): what we ask of those who send to us, which follows from how much of our limits
 * is used and how full the sockets' queues are; and what is held back because a next hop has asked for it. The words are
 * in overload.h.
 *
 * A wish begins at four fifths of a limit and grows with what is used: so neighbours that take part send less before
 * anything must be refused.
 */
#include "sip-proxy/proxy_priv.h"

enum { CALM = 80, VIA_MAX = 1024 };

/* ---- what we ask ---- */

static unsigned percent(uint64_t used, uint64_t limit)
{
	return limit ? (unsigned)MIN(used * 100 / limit, UINT64_C(100)) : 100;
}

unsigned sip_proxy_loss(const struct sip_proxy *px)
{
	const struct sip_charges *cs = sip_txs_charges(px->txs);
	unsigned used = MAX(percent(cs->open, cs->limits.open), percent(cs->bytes, cs->limits.bytes));
	if (!px->o.overload_control)
		return 0;
	used = MAX(used, px->pressure);
	return used <= CALM ? 0 : (used - CALM) * 100 / (100 - CALM);
}

/* Numbers that never fall, also over a restart, and rise with each change. */
static struct sip_oc_wish wish_of(struct sip_proxy *px)
{
	struct sip_oc_wish w = { .loss = sip_proxy_loss(px) };
	uint64_t now = px_now(px) + (uint64_t)px->o.unix_offset;
	px->oc_seq = MAX(now, px->oc_seq + (w.loss != px->loss_before));
	px->loss_before = w.loss;
	w.seq = px->oc_seq;
	return w;
}

struct text sip_px_wish(struct sip_proxy *px, const struct sip_via *v, char *buf, size_t cap)
{
	struct sip_oc_wish w;
	ptrdiff_t n;
	if (!px->o.overload_control || !sip_oc_asks(v))
		return (struct text){ 0 };
	w = wish_of(px);
	n = sip_oc_answer(&w, v, buf, cap);
	return n > 0 ? (struct text){ buf, (size_t)n } : (struct text){ 0 };
}

void sip_px_wish_edit(struct sip_proxy *px, const struct sip_msg *response)
{
	struct sip_values it = sip_values(response, SIP_H_VIA);
	char buf[VIA_MAX];
	struct sip_oc_wish w = wish_of(px);
	struct text value;
	struct sip_via v;
	ptrdiff_t n;
	if (!sip_values_next(&it, &value) || !sip_values_next(&it, &value) ||
	    sip_via_parse(value, &v) < 0)
		return;
	n = sip_oc_answer(&w, &v, buf, sizeof buf);
	if (n > 0)
		sip_edit_replace(&px->edit, value, (struct text){ buf, (size_t)n });
}

/* The queues empty in bursts: a moment of calm is not believed at once. */
void sip_proxy_set_pressure(struct sip_proxy *px, unsigned p)
{
	px->pressure = MAX(MIN(p, 100u), px->pressure * 3 / 4);
}

void sip_proxy_set_overload_control(struct sip_proxy *px, bool on)
{
	px->o.overload_control = on;
}

/* ---- what we are asked ---- */

unsigned sip_proxy_spared(const struct sip_proxy *px)
{
	return sip_spared_count(px->spared);
}

void sip_px_hear(struct sip_proxy *px, const struct sip_hop *from, const struct sip_via *ours)
{
	struct sip_oc_said said;
	uint64_t suppressed;
	if (!ours->oc || !px->o.overload_control || sip_oc_read(ours, &said) < 0)
		return;
	if (sip_spared_hear(px->spared, from, &said, px_now(px)) &&
	    log_gate_pass(&px->gates[SIP_REFUSE_OVERLOAD], px_now(px), &suppressed))
		log_emit(&MSG_SIP_OVERLOAD_ASKED, LF_ADDR("address", &from->remote),
			 LF_STR("transport", sip_proto_rows[from->proto].name),
			 LF_U64("percent", said.loss));
}

bool sip_px_hold_back(struct sip_branch *b, const struct sip_target *to)
{
	struct sip_proxy *px = b->ctx->px;
	if (!sip_spared_holds_back(px->spared, &to->hop, b->ctx->begins, px_now(px)))
		return false;
	px->counts.held_back++;
	b->ctx->held_back = true;
	return true;
}
