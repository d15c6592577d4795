/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters behind charges.h. A source has a record only while it has something open, so that a flood of forged
 * addresses leaves nothing behind. Sources of one IPv6 /64 are one, and an IPv4 address is the same in whatever form it
 * came (RFC 4291 2.5.5).
 */
#include "sip-proxy/charges.h"
#include <errno.h>
#include "common/bytes.h"

struct sip_charge {
	struct hnode node;
	struct addr source; /* without port; IPv6: the /64 */
	uint32_t open;
};

static uint64_t or_default(uint64_t v, uint64_t dflt)
{
	return v ? v : dflt;
}

void sip_charges_init(struct sip_charges *cs, const struct sip_limits_tx *l, const struct hash_seed *seed)
{
	*cs = (struct sip_charges){
		.limits = {
			.open = (uint32_t)or_default(l->open, 100000),
			.open_per_source = (uint32_t)or_default(l->open_per_source, 20000),
			.kept = (uint32_t)or_default(l->kept, 300000),
			.bytes = or_default(l->bytes, UINT64_C(512) << 20),
			.waiting = (uint32_t)or_default(l->waiting, 10000),
			.waiting_per_lane = (uint32_t)or_default(l->waiting_per_lane, 32),
		},
		.seed = *seed,
		.salt = (uint32_t)hash_bytes(seed, "retry", 5),
	};
	htable_init(&cs->by_source);
}

void sip_charges_deinit(struct sip_charges *cs)
{
	htable_deinit(&cs->by_source);
}

static bool is_source(const struct hnode *n, const void *key)
{
	return addr_equal_ip(&container_of(n, struct sip_charge, node)->source, key);
}

int sip_charge_open(struct sip_charges *cs, const struct addr *from, bool in_dialog,
		    struct sip_charge **ret_c)
{
	struct addr source = addr_source(from);
	uint64_t hash = addr_hash_ip(&cs->seed, &source);
	struct hnode *n = htable_find(&cs->by_source, hash, is_source, &source);
	struct sip_charge *c = n ? container_of(n, struct sip_charge, node) : NULL;
	uint64_t most = cs->limits.open + (in_dialog ? cs->limits.open / 10 + 1 : 0);
	if (cs->open >= most || cs->bytes >= cs->limits.bytes)
		return SIP_REFUSE_OVERLOAD;
	if (c && c->open >= cs->limits.open_per_source)
		return SIP_REFUSE_OVERLOAD_SOURCE;
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c)
			return -ENOMEM;
		c->source = source;
		if (htable_insert(&cs->by_source, &c->node, hash) < 0) {
			free(c);
			return -ENOMEM;
		}
	}
	c->open++;
	cs->open++;
	*ret_c = c;
	return SIP_ACCEPTED;
}

void sip_charge_close(struct sip_charges *cs, struct sip_charge *c)
{
	if (!c)
		return;
	cs->open--;
	if (--c->open > 0)
		return;
	htable_remove(&cs->by_source, &c->node);
	free(c);
}

bool sip_charge_bytes(struct sip_charges *cs, size_t n)
{
	if (n > cs->limits.bytes || cs->bytes > cs->limits.bytes - n)
		return false;
	cs->bytes += n;
	return true;
}

void sip_uncharge_bytes(struct sip_charges *cs, size_t n)
{
	cs->bytes -= n;
}

unsigned sip_retry_after(struct sip_charges *cs)
{
	cs->salt = cs->salt * 1664525u + 1013904223u;
	return 5 + (cs->salt >> 16) % 16;
}
