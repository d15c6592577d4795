/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP over TLS, one-sided or mutual: the listener's certificate and what it asks of the other end are in its
 * contexts. A connection leaves with the certificate of the listener that it leaves by, so that the other end
 * knows the name; the chain is always verified, the name by RFC 5922 (sip-proxy/identity.c).
 */
#include "sip-proxy/edge_priv.h"

static struct tls_ctx *context(const struct sip_edge *e, const struct sip_listener *l, bool client)
{
	if (!client)
		return l->contexts.server;
	return l && l->contexts.client ? l->contexts.client : e->contexts.client;
}

const struct sip_transport sip_tls = {
	.proto = SIP_TLS,
	.open = sip_stream_open,
	.close = sip_stream_close,
	.send = sip_conn_send,
	.input = sip_conn_input,
	.put = sip_conn_put,
	.context = context,
};
