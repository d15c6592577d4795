/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of child_msg.h: messages between the agent's supervisor and its child, and their fields. Who adds a message or a
 * field adds a row here and a member there; reading, writing, bounds and the test that cuts each at every byte come
 * from the row.
 */
#include "tunnel/direct/child_msg.h"
#include <stddef.h>

/* clang-format off */
#define REQUIRED true
#define OPTIONAL false
#define FIELD(S, id, kind, req, min, max, member) \
	{ id, WIRE_K_##kind, req, min, max, offsetof(struct S, member), 0, 0, #member }
#define LIST(S, id, kind, min, max, most, member, count) \
	{ id, WIRE_K_##kind, OPTIONAL, min, max, offsetof(struct S, member), offsetof(struct S, count), most, #member }

enum { TEXT_MAX = 512, NAME_MAX_ = 255, KEY_MAX = 4096 };

static const struct wire_field setup[] = {
	FIELD(child_setup, 1, BYTES, REQUIRED, 1, KEY_MAX, key),
	FIELD(child_setup, 2, BYTES, REQUIRED, 1, KEY_MAX, certificate),
	FIELD(child_setup, 3, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, identity),
	LIST(child_setup, 4, TEXT, 1, NAME_MAX_, CHILD_SERVERS_MAX, stun, n_stun),
	FIELD(child_setup, 5, U32, OPTIONAL, 0, 0, flags),
	FIELD(child_setup, 6, U16, OPTIONAL, 0, 0, first_port),
	FIELD(child_setup, 7, U16, OPTIONAL, 0, 0, last_port),
	FIELD(child_setup, 9, TEXT, OPTIONAL, 1, 15, congestion),
	FIELD(child_setup, 10, BYTES, OPTIONAL, 0, CHILD_MEMORY_MAX, memory),
};
static const struct wire_field turn[] = {
	FIELD(child_turn, 1, U16, OPTIONAL, 0, 0, number),
	FIELD(child_turn, 2, TEXT, OPTIONAL, 1, NAME_MAX_, host),
	FIELD(child_turn, 3, U16, OPTIONAL, 0, 0, port),
	FIELD(child_turn, 4, U8, OPTIONAL, 0, 1, tcp),
	FIELD(child_turn, 5, TEXT, OPTIONAL, 1, 512, username),
	FIELD(child_turn, 6, TEXT, OPTIONAL, 1, 512, password),
};
static const struct wire_field link_open[] = {
	FIELD(child_link_open, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_link_open, 2, U8, REQUIRED, CHILD_VISITOR, CHILD_HOST, role),
	FIELD(child_link_open, 3, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, peer),
	FIELD(child_link_open, 4, TEXT, OPTIONAL, 1, NAME_MAX_, name),
	FIELD(child_link_open, 5, BYTES, REQUIRED, CHILD_DCID, CHILD_DCID, dcid),
	FIELD(child_link_open, 6, U32, OPTIONAL, 0, 0, head_start),
	FIELD(child_link_open, 7, U8, OPTIONAL, 0, 1, no_relay),
};
static const struct wire_field ice[] = {
	FIELD(child_ice, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_ice, 2, U32, OPTIONAL, 0, 0, generation),
	FIELD(child_ice, 3, TEXT, OPTIONAL, 4, 256, ufrag),
	FIELD(child_ice, 4, TEXT, OPTIONAL, 22, 256, pwd),
	LIST(child_ice, 5, TEXT, 1, CHILD_CANDIDATE_MAX, CHILD_CANDIDATES_MAX, candidates, n_candidates),
	FIELD(child_ice, 6, U8, OPTIONAL, 0, 1, done),
	FIELD(child_ice, 7, BYTES, OPTIONAL, 0, CHILD_EXTRA_MAX, extra),
};
static const struct wire_field carrier[] = {
	FIELD(child_carrier, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_carrier, 2, U8, REQUIRED, 1, CHILD_PATHS - 1, kind),
	FIELD(child_carrier, 3, TEXT, OPTIONAL, 1, TEXT_MAX, text),
	FIELD(child_carrier, 4, U8, OPTIONAL, 0, 1, final),
};
static const struct wire_field link[] = {
	FIELD(child_link, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_link, 2, U8, OPTIONAL, 0, 0, reason),
	FIELD(child_link, 3, TEXT, OPTIONAL, 1, TEXT_MAX, text),
};
static const struct wire_field listener[] = {
	FIELD(child_listen, 1, U32, REQUIRED, 1, 0, visit),
	FIELD(child_listen, 2, U32, REQUIRED, 1, 0, link),
	FIELD(child_listen, 3, U8, REQUIRED, WIRE_JOB_TCP, WIRE_JOB_UDP, kind),
	FIELD(child_listen, 4, TEXT, REQUIRED, 1, NAME_MAX_, host),
	FIELD(child_listen, 5, U16, REQUIRED, 1, 0, port),
	FIELD(child_listen, 6, U32, OPTIONAL, 0, 0, connections),
};
static const struct wire_field visit[] = {
	FIELD(child_visit, 1, U32, REQUIRED, 1, 0, visit),
};
static const struct wire_field admit[] = {
	FIELD(child_admit, 1, U64, REQUIRED, 1, 0, request),
	FIELD(child_admit, 2, U32, REQUIRED, 1, 0, link),
	FIELD(child_admit, 3, U8, REQUIRED, WIRE_JOB_TCP, WIRE_JOB_UDP, kind),
	FIELD(child_admit, 4, TEXT, REQUIRED, 1, NAME_MAX_, host),
	FIELD(child_admit, 5, U16, REQUIRED, 1, 0, port),
};
static const struct wire_field admitted[] = {
	FIELD(child_admitted, 1, U64, REQUIRED, 1, 0, request),
	FIELD(child_admitted, 2, U8, OPTIONAL, 0, 0, reason),
	FIELD(child_admitted, 3, TEXT, OPTIONAL, 1, TEXT_MAX, text),
	LIST(child_admitted, 4, ADDR, 0, 0, CHILD_ADDRESSES_MAX, addresses, n_addresses),
};
static const struct wire_field link_state[] = {
	FIELD(child_link_state_msg, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_link_state_msg, 2, U8, REQUIRED, 1, CHILD_LINK_STATES - 1, state),
	FIELD(child_link_state_msg, 3, U8, OPTIONAL, 0, CHILD_PATHS - 1, path),
	FIELD(child_link_state_msg, 4, ADDR, OPTIONAL, 0, 0, local),
	FIELD(child_link_state_msg, 5, ADDR, OPTIONAL, 0, 0, remote),
	FIELD(child_link_state_msg, 6, U32, OPTIONAL, 0, 0, rtt_us),
	FIELD(child_link_state_msg, 7, U32, OPTIONAL, 0, 1000000, loss_ppm),
	FIELD(child_link_state_msg, 8, U64, OPTIONAL, 0, 0, rate[0]),
	FIELD(child_link_state_msg, 9, U64, OPTIONAL, 0, 0, rate[1]),
	FIELD(child_link_state_msg, 10, U64, OPTIONAL, 0, 0, bytes[0]),
	FIELD(child_link_state_msg, 11, U64, OPTIONAL, 0, 0, bytes[1]),
	FIELD(child_link_state_msg, 12, U64, OPTIONAL, 0, 0, since),
	FIELD(child_link_state_msg, 13, TEXT, OPTIONAL, 1, TEXT_MAX, reason),
	FIELD(child_link_state_msg, 14, TEXT, OPTIONAL, 1, TEXT_MAX, pair),
	FIELD(child_link_state_msg, 15, U16, OPTIONAL, 0, 0, local_candidates),
	FIELD(child_link_state_msg, 16, U16, OPTIONAL, 0, 0, remote_candidates),
	FIELD(child_link_state_msg, 17, U32, OPTIONAL, 0, 0, streams),
	FIELD(child_link_state_msg, 18, U32, OPTIONAL, 0, 0, moves),
	FIELD(child_link_state_msg, 19, U32, OPTIONAL, 0, 0, gap_max_us),
	FIELD(child_link_state_msg, 20, U8, OPTIONAL, 0, 1, trying),
};
static const struct wire_field stream[] = {
	FIELD(child_stream_msg, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_stream_msg, 2, U32, OPTIONAL, 0, 0, visit),
	FIELD(child_stream_msg, 3, U64, OPTIONAL, 0, 0, stream),
	FIELD(child_stream_msg, 4, U8, REQUIRED, CHILD_STREAM_OPENED, CHILD_STREAM_REFUSED, event),
	FIELD(child_stream_msg, 5, U8, REQUIRED, WIRE_JOB_TCP, WIRE_JOB_UDP, kind),
	FIELD(child_stream_msg, 6, TEXT, OPTIONAL, 1, NAME_MAX_, host),
	FIELD(child_stream_msg, 7, U16, OPTIONAL, 0, 0, port),
	FIELD(child_stream_msg, 8, ADDR, OPTIONAL, 0, 0, source),
	FIELD(child_stream_msg, 9, ADDR, OPTIONAL, 0, 0, target),
	FIELD(child_stream_msg, 10, U64, OPTIONAL, 0, 0, bytes[0]),
	FIELD(child_stream_msg, 11, U64, OPTIONAL, 0, 0, bytes[1]),
	FIELD(child_stream_msg, 12, U8, OPTIONAL, 0, 0, reason),
	FIELD(child_stream_msg, 13, TEXT, OPTIONAL, 1, TEXT_MAX, text),
};
static const struct wire_field ping[] = {
	FIELD(child_ping, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_ping, 2, U64, OPTIONAL, 0, 0, cookie),
	FIELD(child_ping, 3, U32, OPTIONAL, 0, 0, rtt_us),
	FIELD(child_ping, 4, U8, OPTIONAL, 0, CHILD_PATHS - 1, path),
};
static const struct wire_field memory[] = {
	FIELD(child_memory, 1, BYTES, OPTIONAL, 0, CHILD_MEMORY_MAX, memory),
};
static const struct wire_field log_line[] = {
	FIELD(child_log, 1, U8, OPTIONAL, 0, 0, level),
	FIELD(child_log, 2, U32, OPTIONAL, 0, 0, link),
	FIELD(child_log, 3, TEXT, REQUIRED, 1, TEXT_MAX, text),
};
static const struct wire_field show[] = {
	FIELD(child_show, 1, U32, OPTIONAL, 0, 0, link),
	FIELD(child_show, 2, BYTES, REQUIRED, 2, CHILD_SHOW_MAX, json),
};
static const struct wire_field signal_body[] = {
	FIELD(child_signal, 1, U32, REQUIRED, 1, 0, link),
	FIELD(child_signal, 2, BYTES, REQUIRED, 1, CHILD_EXTRA_MAX, body),
};

#define MESSAGE(type, way, fields, S) \
	{ CHILD_##type, way, 0, WIRE_L_FIELDS, #type, fields, ARRAY_LEN(fields), sizeof(struct S) }
#define EMPTY(type, way) \
	{ CHILD_##type, way, 0, WIRE_L_FIELDS, #type, NULL, 0, sizeof(struct child_nothing) }
#define DOWN CHILD_TO_CHILD
#define UP CHILD_TO_SUPERVISOR

const struct wire_frame child_frames[] = {
	MESSAGE(SETUP, DOWN, setup, child_setup),
	MESSAGE(TURN, DOWN, turn, child_turn),
	EMPTY(NETWORK_CHANGED, DOWN),
	EMPTY(PROBE, DOWN),
	MESSAGE(LINK_OPEN, DOWN, link_open, child_link_open),
	MESSAGE(ICE_REMOTE, DOWN, ice, child_ice),
	MESSAGE(CARRIER, DOWN, carrier, child_carrier),
	MESSAGE(LINK_CLOSE, DOWN, link, child_link),
	MESSAGE(LISTEN, DOWN, listener, child_listen),
	MESSAGE(UNLISTEN, DOWN, visit, child_visit),
	MESSAGE(ADMITTED, DOWN, admitted, child_admitted),
	MESSAGE(PING, DOWN, ping, child_ping),
	EMPTY(READY, UP),
	MESSAGE(ICE_LOCAL, UP, ice, child_ice),
	MESSAGE(WANT_CARRIER, UP, link, child_link),
	MESSAGE(LINK_STATE, UP, link_state, child_link_state_msg),
	MESSAGE(LINK_GONE, UP, link, child_link),
	MESSAGE(ADMIT, UP, admit, child_admit),
	MESSAGE(STREAM, UP, stream, child_stream_msg),
	MESSAGE(PONG, UP, ping, child_ping),
	MESSAGE(MEMORY, UP, memory, child_memory),
	MESSAGE(LOG, UP, log_line, child_log),
	EMPTY(ALIVE, UP),
	MESSAGE(SHOW, UP, show, child_show),
	MESSAGE(SIGNAL, UP | DOWN, signal_body, child_signal),
};
const size_t child_n_frames = ARRAY_LEN(child_frames);

const char *const child_path_names[CHILD_PATHS] = {
	[CHILD_PATH_NONE] = "none",
	[CHILD_PATH_UDP] = "direct",
	[CHILD_PATH_RAW] = "direct-punched",
	[CHILD_PATH_TCP] = "direct-tcp",
	[CHILD_PATH_TURN] = "turn",
	[CHILD_PATH_RELAY] = "relay",
};
/* clang-format on */

static const struct wire_frame *row_of(unsigned type)
{
	for (size_t i = 0; i < child_n_frames; i++)
		if (child_frames[i].type == type)
			return &child_frames[i];
	return NULL;
}

enum wire_error child_parse(const uint8_t *p, size_t n, unsigned way, unsigned *ret_type, union child_any *ret_m)
{
	const struct wire_frame *row = n ? row_of(p[0]) : NULL;
	union child_any m;
	enum wire_error e;

	if (n == 0)
		return WIRE_CUT;
	if (!row)
		return WIRE_UNKNOWN_FRAME;
	if (!(row->way & way))
		return WIRE_WRONG_WAY;
	e = wire_parse_row(row, p + 1, n - 1, &m);
	if (e)
		return e;
	memcpy(ret_m, &m, row->size);
	*ret_type = p[0];
	return WIRE_OK;
}

void child_write(struct wr *w, unsigned type, const void *msg)
{
	const struct wire_frame *row = row_of(type);

	wr_u8(w, (uint8_t)type);
	if (row)
		wire_write_row(w, row, msg);
	else
		w->failed = true;
}
