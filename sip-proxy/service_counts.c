/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core counts in plain numbers, shown as metrics: copied when somebody reads them. Times
 * are observed as they happen, through the core's watch, and so are the refusals that verbs and
 * the log tell of.
 */
#include "sip-proxy/metrics.h"
#include "sip-proxy/service.h"

static void on_answered(void *arg, enum sip_method method, unsigned code, uint64_t ms)
{
	struct sip_service *ss = arg;

	(void)code;
	if (method != SIP_INVITE) /* a call is answered by a person */
		metric_observe(ss->metrics, 0, SIP_M_LATENCY, 0, (double)ms / 1000.0);
}

/* What a caller waits until he hears it ring. */
static void on_heard(void *arg, enum sip_method method, uint64_t ms)
{
	struct sip_service *ss = arg;

	if (method == SIP_INVITE)
		metric_observe(ss->metrics, 0, SIP_M_SETUP, 0, (double)ms / 1000.0);
}

const struct sip_proxy_watch sip_service_watch = { .answered = on_answered, .heard = on_heard };

static void set(struct sip_service *ss, enum sip_metric m, unsigned label, uint64_t v)
{
	metric_set(ss->metrics, 0, m, label, (int64_t)v);
}

void sip_service_count(struct sip_service *ss)
{
	struct sip_txs *txs = sip_proxy_txs(ss->proxy);
	const struct sip_tx_counts *t = sip_txs_counts(txs);
	const struct sip_proxy_counts *c = sip_proxy_counts(ss->proxy);
	const struct sip_charges *charges = sip_txs_charges(txs);

	set(ss, SIP_M_TRANSACTIONS, SIP_TXS_OPEN, charges->open);
	set(ss, SIP_M_TRANSACTIONS, SIP_TXS_KEPT, charges->kept);
	set(ss, SIP_M_TRANSACTION_BYTES, 0, charges->bytes);
	set(ss, SIP_M_TRANSACTIONS_STARTED, SIP_WAY_CLIENT, t->clients);
	set(ss, SIP_M_TRANSACTIONS_STARTED, SIP_WAY_SERVER, t->servers);
	set(ss, SIP_M_RETRANSMISSIONS, SIP_AGAIN_REQUEST_SENT, t->requests_repeated);
	set(ss, SIP_M_RETRANSMISSIONS, SIP_AGAIN_RESPONSE_SENT, t->responses_repeated);
	set(ss, SIP_M_RETRANSMISSIONS, SIP_AGAIN_REQUEST_ABSORBED, t->requests_absorbed);
	set(ss, SIP_M_RETRANSMISSIONS, SIP_AGAIN_RESPONSE_ABSORBED, t->responses_absorbed);
	set(ss, SIP_M_TIMEOUTS, SIP_WAY_CLIENT, t->client_timeouts);
	set(ss, SIP_M_TIMEOUTS, SIP_WAY_SERVER, t->acks_missing);
	set(ss, SIP_M_STRAYS, SIP_STRAY_RESPONSE, c->stray_responses);
	set(ss, SIP_M_STRAYS, SIP_STRAY_ACK, c->stray_acks);
	set(ss, SIP_M_KERNEL_DROPS, 0, sip_edge_kernel_drops(ss->edge));
	set(ss, SIP_M_FAILOVERS, 0, c->failovers);
	set(ss, SIP_M_OVERLOAD, 0, sip_proxy_loss(ss->proxy));
	set(ss, SIP_M_HELD_BACK, 0, c->held_back);
	set(ss, SIP_M_SPARED, 0, sip_proxy_spared(ss->proxy));
	set(ss, SIP_M_REGISTRATIONS, 0, sip_location_count(ss->location));
	set(ss, SIP_M_REGISTRATIONS_UNWRITTEN, 0, sip_location_store_waiting(ss->bindings));
	sip_mesh_gauges(ss->mesh);
	for (unsigned m = 0; m < SIP_METHODS; m++)
		for (unsigned k = 1; k <= SIP_CLASSES; k++)
			set(ss, SIP_M_ANSWERS, m * SIP_CLASSES + k - 1, c->responses_out[m][k]);
	for (unsigned i = SIP_ACCEPTED + 1; i < SIP_REFUSALS; i++)
		set(ss, SIP_M_REFUSALS, i, c->refused[i]);
}
