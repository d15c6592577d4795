/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demultiplexer of RFC 7983, which lets STUN, TURN channels, DTLS and RTP share one port: the first
 * byte says which protocol a datagram belongs to. It only announces; the protocol's own parser still
 * has to find a well-formed message.
 */
#include "stun/msg.h"

/* clang-format off */
/* RFC 7983 section 7, figure 3. Ranges do not overlap; a byte in none of them is dropped. */
static const struct {
	uint8_t first, last;
	enum stun_demux what;
} ranges[] = {
	{ 64, 79, DEMUX_CHANNEL_DATA },
	{ 0, 3, DEMUX_STUN },
	{ 20, 63, DEMUX_DTLS },
	{ 16, 19, DEMUX_ZRTP },
	{ 128, 191, DEMUX_RTP },
};
/* clang-format on */

enum stun_demux stun_demux(uint8_t first_byte)
{
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (first_byte >= ranges[i].first && first_byte <= ranges[i].last)
			return ranges[i].what;
	return DEMUX_OTHER;
}
