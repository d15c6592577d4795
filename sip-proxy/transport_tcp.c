/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP over TCP: connections (sip-proxy/conn.c) without anything around them. Whoever is at the
 * other end is not proven, so such a connection is used again only for what it was opened for, or
 * by its number. Its order and its bounds are explained beside the code; who owns what is said at
 * each declaration.
 */
#include "sip-proxy/edge_priv.h"

static struct tls_ctx *no_context(const struct sip_edge *e, const struct sip_listener *l, bool client)
{
	(void)e;
	(void)l;
	(void)client;
	return NULL;
}

const struct sip_transport sip_tcp = {
	.proto = SIP_TCP,
	.open = sip_stream_open,
	.close = sip_stream_close,
	.send = sip_conn_send,
	.input = sip_conn_input,
	.put = sip_conn_put,
	.context = no_context,
};
