/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of transactions: its life, memory that is charged, branches, and views. The machines are in tx_server.c and
 * tx_client.c. A branch is a counter under a keyed hash: nobody else's, and not to be guessed by somebody who would like
 * to answer in another one's place.
 */
#include "sip-proxy/transaction.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/tx_priv.h"

static const char *const state_names[SIP_TX_STATES] = {
	[SIP_TX_CALLING] = "calling",	    [SIP_TX_TRYING] = "trying",
	[SIP_TX_PROCEEDING] = "proceeding", [SIP_TX_ACCEPTED] = "accepted",
	[SIP_TX_COMPLETED] = "completed",   [SIP_TX_CONFIRMED] = "confirmed",
};

const char *sip_tx_state_name(enum sip_tx_state s)
{
	return s < SIP_TX_STATES ? state_names[s] : "unknown";
}

void sip_txs_set_values(struct sip_txs *t, const struct sip_timer_values *v)
{
	t->v = *v;
	sip_timers_defaults(&t->v);
}

int sip_txs_new(const struct sip_txs_options *o, struct sip_txs **ret_t)
{
	struct sip_txs *t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	t->o = *o;
	sip_txs_set_values(t, &o->values);
	htable_init(&t->servers);
	htable_init(&t->clients);
	list_init(&t->kept);
	sip_charges_init(&t->charges, &o->limits, &o->seed);
	*ret_t = t;
	return 0;
}

static bool end_server(struct hnode *n, void *arg)
{
	(void)arg;
	sip_server_end(container_of(n, struct sip_server_tx, node));
	return true;
}

static bool end_client(struct hnode *n, void *arg)
{
	(void)arg;
	sip_client_end(container_of(n, struct sip_client_tx, node));
	return true;
}

struct sip_txs *sip_txs_free(struct sip_txs *t)
{
	if (!t)
		return NULL;
	htable_each(&t->clients, end_client, NULL);
	htable_each(&t->servers, end_server, NULL);
	htable_deinit(&t->servers);
	htable_deinit(&t->clients);
	sip_charges_deinit(&t->charges);
	free(t);
	return NULL;
}

const struct sip_tx_counts *sip_txs_counts(const struct sip_txs *t)
{
	return &t->counts;
}

struct sip_charges *sip_txs_charges(struct sip_txs *t)
{
	return &t->charges;
}

char *sip_keep_bytes(struct sip_txs *t, struct text bytes)
{
	char *p;
	if (!sip_charge_bytes(&t->charges, bytes.n))
		return NULL;
	p = malloc(bytes.n ? bytes.n : 1);
	if (!p) {
		sip_uncharge_bytes(&t->charges, bytes.n);
		return NULL;
	}
	if (bytes.n > 0)
		memcpy(p, bytes.p, bytes.n);
	return p;
}

void sip_drop_bytes(struct sip_txs *t, char **bytes, uint32_t *n)
{
	if (!*bytes)
		return;
	sip_uncharge_bytes(&t->charges, *n);
	free(*bytes);
	*bytes = NULL;
	*n = 0;
}

/* ---- branches ---- */

/* Sixty-four bits in eleven characters. */
static void put_u64(char out[11], uint64_t v)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
	for (unsigned i = 0; i < 11; i++, v >>= 6)
		out[i] = digits[v & 63];
}

static int get_u64(const char in[11], uint64_t *ret_v)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < 11; i++) {
		char c = in[i];
		unsigned d;
		if (c >= '0' && c <= '9')
			d = (unsigned)(c - '0');
		else if (c >= 'A' && c <= 'Z')
			d = (unsigned)(c - 'A') + 10;
		else if (c >= 'a' && c <= 'z')
			d = (unsigned)(c - 'a') + 36;
		else if (c == '-' || c == '_')
			d = c == '-' ? 62 : 63;
		else
			return -EBADMSG;
		v |= (uint64_t)d << (6 * i);
	}
	*ret_v = v;
	return 0;
}

void sip_branch_make(struct sip_txs *t, uint64_t loop, char out[static SIP_BRANCH_MAX])
{
	struct hash_seed seed = { t->o.seed.k1, ~t->o.seed.k0 };
	uint64_t number = t->branches++;
	memcpy(out, "z9hG4bK", 7);
	put_u64(out + 7, hash_bytes(&seed, &number, sizeof number));
	out[18] = '.';
	put_u64(out + 19, loop);
	out[30] = 0;
}

int sip_branch_loop(struct text branch, uint64_t *ret_loop)
{
	return branch.n == 30 && branch.p[18] == '.' ? get_u64(branch.p + 19, ret_loop) : -EBADMSG;
}

/* ---- views ---- */

struct walk {
	bool (*fn)(const struct sip_tx_view *v, void *arg);
	void *arg;
	bool on;
};

static bool view_server(struct hnode *n, void *arg)
{
	const struct sip_server_tx *s = container_of(n, struct sip_server_tx, node);
	struct walk *w = arg;
	const struct sip_tx_view v = {
		.server = true,
		.state = s->state,
		.method = s->method,
		.peer = s->reply.hop,
		.made = s->made,
		.bytes = sizeof *s + s->key_n + s->response_n,
		.owner = s->owner,
	};
	return w->on = w->fn(&v, w->arg);
}

static bool view_client(struct hnode *n, void *arg)
{
	const struct sip_client_tx *c = container_of(n, struct sip_client_tx, node);
	struct walk *w = arg;
	const struct sip_tx_view v = {
		.state = c->state,
		.method = c->method,
		.peer = c->to.hop,
		.made = c->made,
		.bytes = sizeof *c + c->to.name.n + c->bytes_n,
		.owner = c->owner,
	};
	return w->on = w->fn(&v, w->arg);
}

void sip_txs_each(struct sip_txs *t, bool (*fn)(const struct sip_tx_view *v, void *arg), void *arg)
{
	struct walk w = { fn, arg, true };
	htable_each(&t->servers, view_server, &w);
	if (w.on)
		htable_each(&t->clients, view_client, &w);
}
