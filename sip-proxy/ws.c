/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upgrade of RFC 6455 4.2 and RFC 7118 4, and the frames of RFC 6455 5; see ws.h. The head is read by the one strict
 * parser of HTTP-like heads (common/head.h). The subprotocol "sip" must be among those that the client offers: a page that
 * talks to something else by mistake gets no connection.
 */
#include "sip-proxy/ws.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/bytes.h"
#include "common/head.h"

enum { FIELDS = 64, KEY_LEN = 24, ACCEPT_LEN = 28 };
static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* ---- the upgrade ---- */

static struct text value_of(const struct head *h, struct text name)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (text_ieq(h->fields[i].name, name))
			return h->fields[i].value;
	return (struct text){ 0 };
}

/* A word of a comma-separated list, over all fields of that name. */
static bool lists(const struct head *h, struct text name, struct text word)
{
	for (unsigned i = 0; i < h->n_fields; i++) {
		struct text rest = h->fields[i].value;
		if (!text_ieq(h->fields[i].name, name))
			continue;
		while (rest.p)
			if (text_ieq(text_trim(text_cut(&rest, ',')), word))
				return true;
	}
	return false;
}

static bool accept_key(struct text key, char out[static ACCEPT_LEN + 1])
{
	char text[KEY_LEN + sizeof(GUID)];
	uint8_t raw[KEY_LEN], md[EVP_MAX_MD_SIZE];
	size_t n;
	unsigned md_n = 0;

	if (key.n != KEY_LEN || base64_decode(key, raw, sizeof(raw), &n) < 0 || n != 16)
		return false;
	memcpy(text, key.p, KEY_LEN);
	memcpy(text + KEY_LEN, GUID, sizeof(GUID));
	if (EVP_Digest(text, KEY_LEN + sizeof(GUID) - 1, md, &md_n, EVP_sha1(), NULL) != 1)
		return false;
	base64_encode(md, md_n, out);
	return true;
}

static ssize_t refuse(char *answer, const char *status, const char *more)
{
	(void)snprintf(answer, WS_ANSWER_MAX,
		       "HTTP/1.1 %s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", status, more);
	return -EBADMSG;
}

/* A body would be read as frames by us, and as a body by whoever stands in front. */
static bool has_body(const struct head *h)
{
	struct text n = value_of(h, TEXT("Content-Length"));

	return value_of(h, TEXT("Transfer-Encoding")).p || (n.p && !text_eq(n, TEXT("0")));
}

static ssize_t judge(const struct head *h, char *answer)
{
	struct text words[3];
	char key[ACCEPT_LEN + 1];

	if (head_start_words(h->start_line, words) != HEAD_OK || !text_eq(words[2], TEXT("HTTP/1.1")))
		return refuse(answer, "400 Bad Request", "");
	if (!text_eq(words[0], TEXT("GET")))
		return refuse(answer, "405 Method Not Allowed", "Allow: GET\r\n");
	if (!lists(h, TEXT("Upgrade"), TEXT("websocket")) ||
	    !lists(h, TEXT("Connection"), TEXT("upgrade")))
		return refuse(answer, "426 Upgrade Required", "Upgrade: websocket\r\n");
	if (!text_eq(value_of(h, TEXT("Sec-WebSocket-Version")), TEXT("13")))
		return refuse(answer, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n");
	if (has_body(h) || !value_of(h, TEXT("Host")).p || !lists(h, TEXT("Sec-WebSocket-Protocol"), TEXT("sip")) ||
	    !accept_key(value_of(h, TEXT("Sec-WebSocket-Key")), key))
		return refuse(answer, "400 Bad Request", "");
	(void)snprintf(answer, WS_ANSWER_MAX,
		       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		       "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
		       key);
	return (ssize_t)h->length;
}

ssize_t ws_upgrade(struct text buf, char answer[static WS_ANSWER_MAX], bool *ret_page)
{
	static const struct header_row rows[] = { { "Host", 0, HDR_SINGLE, 1 },
						  { "Sec-WebSocket-Key", 0, HDR_SINGLE, 2 },
						  { "Sec-WebSocket-Version", 0, HDR_SINGLE, 3 },
						  { "Content-Length", 0, HDR_SINGLE, 4 } };
	struct header_table table = { 0 };
	struct head_field fields[FIELDS];
	struct head h;
	const struct head_rules rules = { &table, 0, WS_HEAD_MAX };
	enum head_error e;
	ssize_t r;

	answer[0] = 0;
	*ret_page = false;
	if (header_table_init(&table, rows, ARRAY_LEN(rows)) < 0)
		return -ENOMEM;
	e = head_parse(buf, &rules, fields, FIELDS, &h);
	if (e == HEAD_INCOMPLETE)
		r = 0;
	else if (e != HEAD_OK)
		r = refuse(answer, "400 Bad Request", "");
	else
		r = judge(&h, answer);
	*ret_page = r > 0 && value_of(&h, TEXT("Origin")).p;
	header_table_deinit(&table);
	return r;
}

/* ---- frames ---- */

struct frame {
	bool final, control;
	enum ws_opcode op;
	uint8_t *data;
	size_t n, whole;
};

/* 1: a whole one, 0: not yet, -EBADMSG, -EMSGSIZE. */
static int cut_frame(const struct ws_reader *r, uint8_t *buf, size_t n, struct frame *f)
{
	struct rd in = rd_init(buf, n);
	uint8_t first = rd_u8(&in), second = rd_u8(&in);
	uint64_t len = second & 0x7f;
	const uint8_t *mask;

	if (in.failed)
		return 0;
	*f = (struct frame){ .final = first & 0x80, .control = first & 8, .op = first & 15 };
	if ((first & 0x70) || !(second & 0x80) || (f->op > WS_OP_BINARY && f->op < WS_OP_CLOSE) ||
	    f->op > WS_OP_PONG)
		return -EBADMSG; /* an extension that was not agreed, no mask, an opcode of the future */
	if (f->control && (!f->final || len > WS_CONTROL_MAX))
		return -EBADMSG;
	if (len >= 126) {
		uint64_t least = len == 126 ? 126 : UINT16_MAX + 1; /* 5.2: the shortest form there is */
		len = len == 126 ? rd_u16(&in) : rd_u64(&in);
		if (!in.failed && (len < least || len >> 63))
			return -EBADMSG;
	}
	if (f->op == WS_OP_CLOSE && len == 1)
		return -EBADMSG; /* half a code */
	if (!in.failed && len > r->max - MIN(r->n, r->max))
		return -EMSGSIZE;
	mask = rd_take(&in, 4);
	if (in.failed || rd_left(&in) < len)
		return 0;
	f->data = buf + (in.pos - buf);
	f->n = (size_t)len;
	for (size_t i = 0; i < f->n; i++)
		f->data[i] ^= mask[i % 4];
	f->whole = (size_t)(in.pos - buf) + f->n;
	return 1;
}

static int add_part(struct ws_reader *r, const struct frame *f)
{
	char *more = realloc(r->parts, r->n + f->n + 1);

	if (!more)
		return -ENOMEM;
	r->parts = more;
	memcpy(r->parts + r->n, f->data, f->n);
	r->n += f->n;
	return 0;
}

/* 8.1: text is UTF-8, or it ends the connection. */
static int whole(const struct ws_reader *r, const char *p, size_t n, struct ws_input *ret_in)
{
	*ret_in = (struct ws_input){ p, n };
	return r->text && !text_is_utf8((struct text){ p, n }) ? -EILSEQ : WS_MESSAGE;
}

static int take_data(struct ws_reader *r, const struct frame *f, struct ws_input *ret_in)
{
	bool first = f->op != WS_OP_MORE;
	int rc;

	if (first == r->going_on)
		return -EBADMSG; /* a new message within one, or a part of none */
	if (first) {
		r->n = 0;
		r->text = f->op == WS_OP_TEXT;
	}
	if (first && f->final)
		return whole(r, (const char *)f->data, f->n, ret_in);
	rc = add_part(r, f);
	if (rc < 0)
		return rc;
	r->going_on = !f->final;
	if (!f->final)
		return WS_MORE;
	rc = whole(r, r->parts, r->n, ret_in);
	r->n = 0; /* the bytes stay until the next part */
	return rc;
}

int ws_read(struct ws_reader *r, uint8_t *buf, size_t n, size_t *ret_used, struct ws_input *ret_in)
{
	struct frame f;
	int rc = cut_frame(r, buf, n, &f);

	*ret_used = 0;
	*ret_in = (struct ws_input){ 0 };
	if (rc <= 0)
		return rc < 0 ? rc : WS_MORE;
	*ret_used = f.whole;
	if (!f.control)
		return take_data(r, &f, ret_in);
	*ret_in = (struct ws_input){ (const char *)f.data, f.n };
	return f.op == WS_OP_PING ? WS_PING : f.op == WS_OP_PONG ? WS_PONG : WS_CLOSE;
}

void ws_reader_deinit(struct ws_reader *r)
{
	free(r->parts);
	r->parts = NULL;
	r->n = 0;
}

size_t ws_frame_head(uint8_t head[static WS_FRAME_HEAD_MAX], enum ws_opcode op, size_t n)
{
	struct wr w = wr_init(head, WS_FRAME_HEAD_MAX);

	wr_u8(&w, (uint8_t)(0x80 | op));
	if (n < 126) {
		wr_u8(&w, (uint8_t)n);
	} else if (n <= UINT16_MAX) {
		wr_u8(&w, 126);
		wr_u16(&w, (uint16_t)n);
	} else {
		wr_u8(&w, 127);
		wr_u64(&w, n);
	}
	return wr_len(&w);
}
