/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP over TCP: connections (sip-proxy/conn.c) without anything around them. Who is at the other end is not proven: a
 * connection is used again for its very address and port, which a peer cannot have changed by "alias" (RFC 5923), or by
 * its number.
 */
#include "sip-proxy/edge_priv.h"

const struct sip_transport sip_tcp = {
	.proto = SIP_TCP,
	.open = sip_stream_open,
	.close = sip_stream_close,
	.send = sip_conn_send,
	.input = sip_conn_input,
	.put = sip_conn_put,
};
