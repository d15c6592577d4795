/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 300 Try Alternate (RFC 8489 10, 14.15, 14.16): a client whose Allocate cannot be served here is sent to
 * a configured server of its own address family, chosen at random; over TLS and DTLS to one that speaks
 * them, with the name that its certificate carries. Only who has authenticated is sent on, in a signed
 * answer, so nobody learns the list by asking and nobody is led astray by a forger.
 */
#include "turn/core.h"

static bool wants_tls(const struct turn_request *q)
{
	return q->from->transport->proto == TURN_TLS || q->from->transport->proto == TURN_DTLS;
}

static const struct cfg_list *list_of(const struct turn_request *q)
{
	return wants_tls(q) ? &q->s->cfg->alternate_tls_servers : &q->s->cfg->alternate_servers;
}

static size_t count(const struct turn_request *q)
{
	const struct cfg_list *l = list_of(q);
	const struct addr *a = l->items;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += addr_family(&a[i]) == addr_family(&q->from->client);
	return n;
}

enum turn_refusal turn_elsewhere(const struct turn_request *q, enum turn_refusal why)
{
	return count(q) ? TURN_REFUSE_ALTERNATE : why;
}

void turn_alternate_put(const struct turn_request *q, struct stun_writer *sw)
{
	const struct addr *a = list_of(q)->items;
	uint8_t dice[STUN_TID_LEN];
	size_t n = count(q), skip;

	if (n == 0)
		return;
	turn_indication_tid(q->s, dice);
	skip = load_be32(dice) % n;
	while (addr_family(a) != addr_family(&q->from->client) || skip-- > 0)
		a++;
	stun_put_addr(sw, STUN_A_ALTERNATE_SERVER, a);
	if (wants_tls(q) && q->s->cfg->alternate_domain)
		stun_put_text(sw, STUN_A_ALTERNATE_DOMAIN, text_of(q->s->cfg->alternate_domain));
}
