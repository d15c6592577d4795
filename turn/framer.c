/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a frame ends on a stream (RFC 8656 12.5): a STUN message has its length in the header, a
 * ChannelData message too, and is padded to a multiple of four that its length does not count.
 * Nothing is kept: the caller asks again when more bytes are there. A stream that begins with anything
 * else can never be read again and is closed.
 */
#include <errno.h>
#include <sys/types.h>
#include "turn/server.h"

enum { CHANNEL_HEAD = 4, MAGIC_END = 8 };

static ssize_t stun_length(const uint8_t *p, size_t n)
{
	size_t len = load_be16(p + 2);

	if (len % 4 != 0)
		return -EBADMSG;
	if (n >= MAGIC_END && load_be32(p + 4) != STUN_MAGIC)
		return -EBADMSG;
	return (ssize_t)(STUN_HEADER_LEN + len);
}

ssize_t turn_frame_length(const uint8_t *p, size_t n, size_t *ret_payload)
{
	if (n < CHANNEL_HEAD)
		return 0;
	if (turn_is_channel_data(p[0])) {
		size_t len = CHANNEL_HEAD + (size_t)load_be16(p + 2);
		*ret_payload = len;
		return (ssize_t)((len + 3) & ~(size_t)3);
	}
	if (stun_demux(p[0]) != DEMUX_STUN)
		return -EBADMSG;
	ssize_t len = stun_length(p, n);
	if (len > 0)
		*ret_payload = (size_t)len;
	return len;
}
