/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP over WebSocket, with and without TLS (RFC 7118): browsers connect to us, we never to them. One WebSocket message is
 * one SIP message, so it is parsed like a datagram. The wire is sip-proxy/ws.c's; connections, limits and deadlines are
 * those of all streams (conn.c). A frame is unmasked where it lies, so it is taken when it is whole, also from a client
 * that is too fast: that one waits behind it.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/conn_priv.h"
#include "sip-proxy/ws.h"

struct sip_ws {
	bool upgraded;
	struct ws_reader reader;
};

static int put_frame(struct sip_conn *c, enum ws_opcode op, const void *p, size_t n)
{
	uint8_t head[WS_FRAME_HEAD_MAX];
	struct iovec v[2] = { { head, ws_frame_head(head, op, n) }, { (void *)p, n } };

	return stream_writev(c->stream, v, 2);
}

static int ws_put(struct sip_conn *c, struct text bytes)
{
	if (!c->ws || !c->ws->upgraded)
		return -ENOTCONN;
	return put_frame(c, text_is_utf8(bytes) ? WS_OP_TEXT : WS_OP_BINARY, bytes.p, bytes.n);
}

static void ws_end(struct sip_conn *c, unsigned code)
{
	const uint8_t data[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	(void)put_frame(c, WS_OP_CLOSE, data, sizeof(data));
	sip_conn_finish(c);
}

/* ---- in ---- */

static void on_text(struct sip_conn *c, const struct ws_input *in)
{
	struct text bytes = { in->data, in->n };
	struct sip_msg m;
	int r;

	if (text_eq(bytes, TEXT("\r\n\r\n"))) {
		if (ws_put(c, TEXT("\r\n")) == 0)
			sip_count(c->edge, SIP_M_KEEPALIVES, c->transport->proto, 1);
		return;
	}
	r = sip_msg_parse(&m, bytes, SIP_DATAGRAM, &c->limits);
	if (r == SIP_OK) {
		(void)sip_conn_take(c, &m);
	} else if (r > 0 && r != SIP_EMPTY) {
		sip_conn_bad(c, &m, (enum sip_verdict)r);
	} else if (r < 0) {
		sip_edge_dropped(c->edge, &c->remote, c->transport->proto, SIP_DROP_MEMORY);
		ws_end(c, 1011);
	}
	sip_msg_deinit(&m);
}

/* True: go on with the next frame. */
static bool on_frame(struct sip_conn *c, int event, const struct ws_input *in)
{
	switch (event) {
	case WS_MESSAGE: on_text(c, in); break;
	case WS_PING:
		if (put_frame(c, WS_OP_PONG, in->data, in->n) == 0)
			sip_count(c->edge, SIP_M_KEEPALIVES, c->transport->proto, 1);
		break;
	case WS_MORE:
	case WS_PONG: break;
	case WS_CLOSE: ws_end(c, 1000); break;
	default:
		sip_count(c->edge, SIP_M_BAD, SIP_NOT_SIP, 1);
		(void)put_frame(c, WS_OP_CLOSE,
				event == -EMSGSIZE ? "\x03\xf1" : event == -EILSEQ ? "\x03\xef" : "\x03\xea",
				2); /* 1009, 1007, 1002 */
		sip_conn_bad(c, NULL, SIP_NOT_SIP);
	}
	return !c->ending;
}

/* The upgrade at the start: how many bytes it took. */
static size_t upgrade(struct sip_conn *c, const uint8_t *p, size_t n)
{
	char answer[WS_ANSWER_MAX];
	ssize_t r = ws_upgrade((struct text){ (const char *)p, n }, answer, &c->page);

	if (r == 0 && n < WS_HEAD_MAX)
		return 0;
	if (answer[0])
		(void)stream_write(c->stream, answer, strlen(answer));
	c->ws->upgraded = r > 0;
	if (r > 0)
		return (size_t)r;
	sip_count(c->edge, SIP_M_BAD, SIP_NOT_SIP, 1);
	sip_conn_bad(c, NULL, SIP_NOT_SIP);
	return n;
}

static size_t ws_input(struct sip_conn *c, uint8_t *p, size_t n)
{
	size_t used = 0, took = 1;
	struct ws_input in;

	if (!c->ws && !(c->ws = calloc(1, sizeof(*c->ws)))) {
		sip_edge_dropped(c->edge, &c->remote, c->transport->proto, SIP_DROP_MEMORY);
		sip_conn_finish(c);
		return n;
	}
	if (!c->ws->upgraded)
		used = upgrade(c, p, n);
	c->ws->reader.max = SIP_MAX_HEAD + (size_t)c->limits.max_body;
	while (c->ws->upgraded && took && used < n) {
		int r = ws_read(&c->ws->reader, p + used, n - used, &took, &in);
		used += took;
		if ((took || r < 0) && !on_frame(c, r, &in))
			return n;
	}
	return used;
}

static void ws_forget(struct sip_conn *c)
{
	if (c->ws)
		ws_reader_deinit(&c->ws->reader);
	free(c->ws);
	c->ws = NULL;
}

/* ---- vtables ---- */

static struct tls_ctx *server_context(const struct sip_edge *e, const struct sip_listener *l, bool client)
{
	(void)e;
	return client ? NULL : l->contexts.server;
}

const struct sip_transport sip_ws = {
	.proto = SIP_WS,
	.open = sip_stream_open,
	.close = sip_stream_close,
	.send = sip_conn_send,
	.input = ws_input,
	.put = ws_put,
	.forget = ws_forget,
	.inbound = true,
	.once = true,
};

const struct sip_transport sip_wss = {
	.proto = SIP_WSS,
	.open = sip_stream_open,
	.close = sip_stream_close,
	.send = sip_conn_send,
	.input = ws_input,
	.put = ws_put,
	.forget = ws_forget,
	.inbound = true,
	.once = true,
	.context = server_context,
};
