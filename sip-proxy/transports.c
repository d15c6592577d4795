/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transports of the edge: one row each. A further one is its file, its row here, and its word in
 * sip-proxy/transport.c; nobody else asks which transport it is.
 * The rows are for good: what is configured of a transport is its listeners'.
 */
#include "sip-proxy/edge_priv.h"

const struct sip_transport *const sip_transports[SIP_PROTOS] = {
	[SIP_UDP] = &sip_udp, [SIP_TCP] = &sip_tcp, [SIP_TLS] = &sip_tls,
	[SIP_WS] = &sip_ws,   [SIP_WSS] = &sip_wss,
};
