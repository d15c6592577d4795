/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7339; see overload.h. Which requests are held back is not drawn but counted: each that goes to a next hop adds the
 * percentage that it asked for to an account, and one that begins something is held back whenever a hundred have come
 * together. So requests of dialogs, which pass, are made up for by others (RFC 7339 5.10.1), and the share is exact.
 */
#include "sip-proxy/overload.h"
#include <errno.h>
#include <string.h>

enum { ACCOUNT_MAX = 2000 };

/* ---- what Via says ---- */

static const struct text OC = TEXT("oc"), ALGO = TEXT("oc-algo"), VALIDITY = TEXT("oc-validity"),
			 SEQ = TEXT("oc-seq");

static bool is_oc(struct text name)
{
	return text_ieq(name, OC) || text_ieq(name, ALGO) || text_ieq(name, VALIDITY) ||
	       text_ieq(name, SEQ);
}

/* "loss,A" with its quotes, or a bare token: does it have the one that is ours? */
static bool has_loss(struct text algos)
{
	if (algos.n >= 2 && algos.p[0] == '"')
		algos = (struct text){ algos.p + 1, algos.n - 2 };
	while (algos.p)
		if (text_ieq(text_trim(text_cut(&algos, ',')), TEXT("loss")))
			return true;
	return false;
}

bool sip_oc_asks(const struct sip_via *v)
{
	struct text algos;
	if (!v->oc || sip_param(v->params, OC).p)
		return false;
	algos = sip_param(v->params, ALGO);
	return !algos.p || has_loss(algos); /* "loss" is what all have (4.2) */
}

ptrdiff_t sip_oc_answer(const struct sip_oc_wish *w, const struct sip_via *v, char *buf, size_t cap)
{
	struct sb b = sb_init(buf, cap);
	sip_via_without(v, is_oc, &b);
	sb_str(&b, ";oc=");
	sb_u64(&b, w->loss, 1);
	sb_str(&b, ";oc-algo=\"loss\";oc-validity=");
	sb_u64(&b, w->loss ? SIP_OC_VALIDITY_MS : 0, 1);
	sb_str(&b, ";oc-seq=");
	sb_u64(&b, w->seq / 1000, 1);
	sb_char(&b, '.');
	sb_u64(&b, w->seq % 1000, 3);
	return b.truncated ? -ENOSPC : (ptrdiff_t)b.n;
}

/* "1282321615.781", at most twelve digits and five. */
static int read_seq(struct text t, uint64_t *ret_seq)
{
	struct text whole = text_cut(&t, '.');
	uint64_t seconds, part = 0;
	if (whole.n == 0 || whole.n > 12 || text_u64(whole, &seconds) < 0)
		return -EBADMSG;
	if (t.p && (t.n == 0 || t.n > 5 || text_u64(t, &part) < 0))
		return -EBADMSG;
	for (size_t i = t.p ? t.n : 5; i < 5; i++)
		part *= 10;
	*ret_seq = seconds * 100000 + part;
	return 0;
}

int sip_oc_read(const struct sip_via *v, struct sip_oc_said *ret_s)
{
	struct text oc, algo, validity, seq;
	struct sip_oc_said s = { .validity_ms = 500 };
	uint32_t loss;
	if (!v->oc)
		return -ENOENT;
	oc = sip_param(v->params, OC);
	if (!oc.p) /* our own words, untouched: the other end does not know them */
		return -ENOENT;
	algo = sip_param(v->params, ALGO);
	validity = sip_param(v->params, VALIDITY);
	seq = sip_param(v->params, SEQ);
	if (sip_number_parse(oc, 100, &loss) < 0 || (algo.p && !has_loss(algo)) ||
	    (validity.p && sip_number_parse(validity, UINT32_MAX, &s.validity_ms) < 0) ||
	    (seq.p && read_seq(seq, &s.seq) < 0))
		return -EBADMSG;
	s.loss = loss;
	s.validity_ms = MIN(s.validity_ms, (uint32_t)SIP_OC_VALIDITY_MAX_MS);
	*ret_s = s;
	return 0;
}

/* ---- who wants to be spared ---- */

struct hop {
	struct hnode node;
	struct list age;
	enum sip_proto proto;
	struct addr at;
	unsigned loss, account;
	uint64_t seq, until;
};
struct sip_spared {
	struct hash_seed seed;
	struct htable table;
	struct list by_age; /* who spoke longest ago comes first */
	unsigned n;
};

struct sip_spared *sip_spared_new(const struct hash_seed *seed)
{
	struct sip_spared *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->seed = *seed;
	htable_init(&s->table);
	list_init(&s->by_age);
	return s;
}

static void drop(struct sip_spared *s, struct hop *h)
{
	htable_remove(&s->table, &h->node);
	list_unlink(&h->age);
	s->n--;
	free(h);
}

struct sip_spared *sip_spared_free(struct sip_spared *s)
{
	if (!s)
		return NULL;
	list_for_each_safe (it, &s->by_age)
		drop(s, list_entry(it, struct hop, age));
	htable_deinit(&s->table);
	free(s);
	return NULL;
}

static bool is_hop(const struct hnode *n, const void *key)
{
	const struct hop *h = container_of(n, struct hop, node);
	const struct sip_hop *k = key;
	return h->proto == k->proto && addr_equal(&h->at, &k->remote);
}

static struct hop *find(const struct sip_spared *s, const struct sip_hop *at)
{
	struct hnode *n = htable_find(&s->table, addr_hash(&s->seed, &at->remote), is_hop, at);
	return n ? container_of(n, struct hop, node) : NULL;
}

static struct hop *add(struct sip_spared *s, const struct sip_hop *at)
{
	struct hop *h;
	if (s->n == SIP_SPARED_MAX)
		drop(s, list_entry(s->by_age.next, struct hop, age));
	h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->proto = at->proto;
	h->at = at->remote;
	if (htable_insert(&s->table, &h->node, addr_hash(&s->seed, &h->at)) < 0) {
		free(h);
		return NULL;
	}
	list_init(&h->age);
	s->n++;
	return h;
}

bool sip_spared_hear(struct sip_spared *s, const struct sip_hop *from,
		     const struct sip_oc_said *said, uint64_t now)
{
	struct hop *h = find(s, from);
	bool over = said->loss == 0 || said->validity_ms == 0, news = !h;
	if (h && now < h->until && said->seq < h->seq)
		return false; /* overtaken by a later word */
	if (over) {
		if (h)
			drop(s, h);
		return false;
	}
	if (!h)
		h = add(s, from);
	if (!h)
		return false;
	h->loss = said->loss;
	h->seq = said->seq;
	h->until = now + said->validity_ms;
	list_unlink(&h->age);
	list_append(&s->by_age, &h->age);
	return news;
}

bool sip_spared_holds_back(struct sip_spared *s, const struct sip_hop *to, bool begins, uint64_t now)
{
	struct hop *h = s->n > 0 ? find(s, to) : NULL;
	if (!h)
		return false;
	if (now >= h->until) {
		drop(s, h);
		return false;
	}
	h->account = MIN(h->account + h->loss, (unsigned)ACCOUNT_MAX);
	if (!begins || h->account < 100)
		return false;
	h->account -= 100;
	return true;
}

unsigned sip_spared_count(const struct sip_spared *s)
{
	return s->n;
}
