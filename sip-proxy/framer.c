/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a message on a stream ends; see framer.h. A head is parsed when its empty line is there, and once more when
 * its body is; in between, only lengths are compared. An empty line made of a bare LF counts here, so that a peer who
 * sends those is refused at once instead of being waited for.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/framer.h"

/* The byte behind the first empty line, or 0; *scanned: what need not be looked at again. */
static size_t head_end(struct text buf, size_t *scanned)
{
	size_t i = *scanned;
	while (i < buf.n) {
		const char *lf = memchr(buf.p + i, '\n', buf.n - i);
		if (!lf)
			break;
		i = (size_t)(lf - buf.p) + 1;
		size_t j = i < buf.n && buf.p[i] == '\r' ? i + 1 : i;
		if (j < buf.n && buf.p[j] == '\n')
			return j + 1;
		if (j == buf.n) { /* the next byte decides: look at this line end again */
			*scanned = i - 1;
			return 0;
		}
	}
	*scanned = buf.n;
	return 0;
}

/* Line ends in front of a message: RFC 5626's keep-alives, or nothing (RFC 3261 7.5). */
static bool line_ends(struct sip_framer *f, struct text buf, size_t *ret_used, enum sip_frame *ret_frame)
{
	size_t n = 0;
	while (n < 4 && n < buf.n && buf.p[n] == "\r\n"[n % 2])
		n++;
	if (n < 2) {
		*ret_frame = SIP_FRAME_MORE;
		return n == buf.n; /* one CR */
	}
	*ret_used = n / 2 * 2;
	*ret_frame = n == 4 || f->half_ping ? SIP_FRAME_PING : SIP_FRAME_PONG;
	f->half_ping = *ret_frame == SIP_FRAME_PONG;
	return true;
}

static int bad(enum sip_verdict v, size_t used, size_t *ret_used, enum sip_verdict *ret_why)
{
	*ret_used = used;
	*ret_why = v;
	return SIP_FRAME_BAD;
}

int sip_framer_next(struct sip_framer *f, struct text buf, struct sip_msg *m, size_t *ret_used,
		    enum sip_verdict *ret_why)
{
	enum sip_frame frame;
	size_t max_head = f->limits && f->limits->max_head ? f->limits->max_head : SIP_MAX_HEAD;
	*ret_used = 0;
	if (buf.n == 0)
		return SIP_FRAME_MORE;
	if (f->scanned == 0 && line_ends(f, buf, ret_used, &frame))
		return frame;
	f->half_ping = false;
	if (f->need == 0 && head_end(buf, &f->scanned) == 0 && buf.n < max_head)
		return SIP_FRAME_MORE;
	if (f->need > buf.n)
		return SIP_FRAME_MORE;
	int r = sip_msg_parse(m, buf, SIP_STREAM, f->limits);
	if (r < 0)
		return r;
	if (r == SIP_INCOMPLETE && m->head.length > 0) {
		uint64_t body = 0;
		text_u64(sip_value(m, SIP_H_CONTENT_LENGTH), &body); /* the parser has read it, too */
		f->need = m->head.length + (size_t)body;
		sip_msg_deinit(m);
		return SIP_FRAME_MORE;
	}
	if (r == SIP_INCOMPLETE)
		r = SIP_HEAD_TOO_LONG;
	if (r != SIP_OK)
		return bad((enum sip_verdict)r, buf.n, ret_used, ret_why);
	f->scanned = f->need = 0;
	*ret_used = m->raw.n;
	return SIP_FRAME_MESSAGE;
}
