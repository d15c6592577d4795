/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of docs/decisions/0016-tunnel-wire-format.md: frames, their fields, and the texts of reasons. A field that
 * comes later gets an id with the bit 0x8000 if who does not know it may go on without it; otherwise it needs a feature
 * bit or a version.
 */
#include <stddef.h>
#include "tunnel/link/wire.h"

/* clang-format off */
#define REQUIRED true
#define OPTIONAL false
#define FIELD(S, id, kind, req, min, max, member) \
	{ id, WIRE_K_##kind, req, min, max, offsetof(struct S, member), 0, 0, #member }
#define LIST(S, id, kind, most, member, count) \
	TEXTS(S, id, kind, 0, most, member, count)
#define TEXTS(S, id, kind, max, most, member, count) \
	{ id, WIRE_K_##kind, OPTIONAL, 0, max, offsetof(struct S, member), offsetof(struct S, count), most, #member }

static const struct wire_field hello[] = {
	FIELD(wire_hello, 1, U16, REQUIRED, 1, 0, version),
	FIELD(wire_hello, 2, U16, OPTIONAL, 0, 0, oldest),
	FIELD(wire_hello, 3, U8, REQUIRED, 1, WIRE_PURPOSE_RELAY, purpose),
	FIELD(wire_hello, 4, U64, OPTIONAL, 0, 0, features),
	FIELD(wire_hello, 5, BYTES, REQUIRED, WIRE_INSTANCE, WIRE_INSTANCE, instance),
	FIELD(wire_hello, 6, U64, OPTIONAL, 0, 0, session),
	FIELD(wire_hello, 7, TEXT, OPTIONAL, 1, WIRE_NAME_MAX, name),
	FIELD(wire_hello, 8, U64, OPTIONAL, 0, 0, share),
	FIELD(wire_hello, 0x8001, TEXT, OPTIONAL, 1, 63, program),
	FIELD(wire_hello, 0x8002, TEXT, OPTIONAL, 1, 255, host),
	FIELD(wire_hello, 0x8003, ADDR, OPTIONAL, 0, 0, lan),
	FIELD(wire_hello, 0x8004, U8, OPTIONAL, 0, 1, restart),
};
static const struct wire_field welcome[] = {
	FIELD(wire_welcome, 1, U16, REQUIRED, 1, 0, version),
	FIELD(wire_welcome, 2, U64, OPTIONAL, 0, 0, features),
	FIELD(wire_welcome, 3, U64, OPTIONAL, 0, 0, session),
	FIELD(wire_welcome, 4, TEXT, OPTIONAL, 1, WIRE_NAME_MAX, name),
	FIELD(wire_welcome, 5, U32, OPTIONAL, 0, 0, window),
	FIELD(wire_welcome, 6, U32, OPTIONAL, 0, 0, resume_ms),
	FIELD(wire_welcome, 7, BYTES, OPTIONAL, WIRE_PIN, WIRE_PIN, successor),
	FIELD(wire_welcome, 0x8001, TEXT, OPTIONAL, 1, 255, server_name),
	FIELD(wire_welcome, 0x8002, TEXT, OPTIONAL, 1, 255, public_name),
	FIELD(wire_welcome, 0x8003, ADDR, OPTIONAL, 0, 0, observed),
	LIST(wire_welcome, 0x8004, RANGE, WIRE_RANGES_MAX, ports, n_ports),
	FIELD(wire_welcome, 0x8005, TEXT, OPTIONAL, 1, 63, program),
};
static const struct wire_field refused[] = {
	FIELD(wire_refused, 1, U8, REQUIRED, 1, 0, reason),
	FIELD(wire_refused, 2, TEXT, OPTIONAL, 1, 512, text),
	FIELD(wire_refused, 3, U32, OPTIONAL, 0, 0, retry_after),
};
static const struct wire_field pending[] = {
	FIELD(wire_pending, 1, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, agent),
	FIELD(wire_pending, 2, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, server),
};
static const struct wire_field enrol[] = {
	FIELD(wire_enrol, 1, BYTES, REQUIRED, 1, 32, code),
	FIELD(wire_enrol, 2, BYTES, REQUIRED, 32, 32, proof),
};
static const struct wire_field enrolled[] = {
	FIELD(wire_enrolled, 1, BYTES, REQUIRED, 32, 32, proof),
	FIELD(wire_enrolled, 2, BYTES, REQUIRED, 1, 3072, root),
	FIELD(wire_enrolled, 3, BYTES, OPTIONAL, WIRE_PIN, WIRE_PIN, successor),
};
static const struct wire_field scram[] = {
	FIELD(wire_scram, 1, TEXT, REQUIRED, 1, 2048, message),
};
static const struct wire_field ping[] = {
	FIELD(wire_ping, 0, U64, REQUIRED, 0, 0, cookie),
};
static const struct wire_field pool[] = {
	FIELD(wire_pool, 1, U16, OPTIONAL, 0, 0, tls),
	FIELD(wire_pool, 2, U16, OPTIONAL, 0, 0, plain),
};
#define JOB_FIELDS \
	FIELD(wire_job, 1, U32, REQUIRED, 1, 0, id), \
	FIELD(wire_job, 2, U32, OPTIONAL, 0, 0, revision), \
	FIELD(wire_job, 3, U8, REQUIRED, 1, WIRE_JOB_UDP, kind), \
	FIELD(wire_job, 4, U16, OPTIONAL, 0, 0, port), \
	FIELD(wire_job, 5, U16, OPTIONAL, 0, 0, count), \
	FIELD(wire_job, 6, TEXT, OPTIONAL, 1, 255, host), \
	FIELD(wire_job, 7, U16, OPTIONAL, 0, 0, target_port), \
	FIELD(wire_job, 8, U32, OPTIONAL, 0, 0, flags), \
	FIELD(wire_job, 9, TEXT, OPTIONAL, 1, WIRE_NAME_MAX, name), \
	FIELD(wire_job, 10, ADDR, OPTIONAL, 0, 0, bind), \
	LIST(wire_job, 11, PREFIX, WIRE_ALLOW_MAX, allow, n_allow), \
	FIELD(wire_job, 12, U64, OPTIONAL, 0, 0, expires), \
	FIELD(wire_job, 13, U32, OPTIONAL, 0, 0, connections), \
	FIELD(wire_job, 14, U64, OPTIONAL, 0, 0, bitrate), \
	FIELD(wire_job, 0x8001, TEXT, OPTIONAL, 1, 255, note)
static const struct wire_field job[] = { JOB_FIELDS };
static const struct wire_field offer_job[] = {
	JOB_FIELDS,
	FIELD(wire_job, 15, U8, OPTIONAL, 0, 1, over),
};
static const struct wire_field job_gone[] = {
	FIELD(wire_job_gone, 1, U32, REQUIRED, 1, 0, id),
};
static const struct wire_field job_state[] = {
	FIELD(wire_job_state_msg, 1, U32, REQUIRED, 1, 0, id),
	FIELD(wire_job_state_msg, 2, U32, OPTIONAL, 0, 0, revision),
	FIELD(wire_job_state_msg, 3, U8, REQUIRED, 1, WIRE_JOB_OVER, state),
	FIELD(wire_job_state_msg, 4, U8, OPTIONAL, 0, 0, reason),
	FIELD(wire_job_state_msg, 5, U16, OPTIONAL, 0, 0, port),
	FIELD(wire_job_state_msg, 6, TEXT, OPTIONAL, 1, 300, address),
	FIELD(wire_job_state_msg, 7, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field offer_answer[] = {
	FIELD(wire_offer_answer, 1, U32, REQUIRED, 1, 0, id),
	FIELD(wire_offer_answer, 2, U32, OPTIONAL, 0, 0, revision),
	FIELD(wire_offer_answer, 3, U8, OPTIONAL, 0, 1, taken),
	FIELD(wire_offer_answer, 4, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field target_state[] = {
	FIELD(wire_target_state, 1, U32, REQUIRED, 1, 0, job),
	FIELD(wire_target_state, 2, U8, OPTIONAL, 0, 1, up),
	FIELD(wire_target_state, 3, TEXT, OPTIONAL, 1, 512, text),
	FIELD(wire_target_state, 4, U32, OPTIONAL, 0, 0, connect_us),
};
static const struct wire_field goaway[] = {
	FIELD(wire_goaway, 1, TEXT, OPTIONAL, 1, 512, text),
	FIELD(wire_goaway, 2, U32, OPTIONAL, 0, 0, retry_after),
};
#define OPEN_FIELDS \
	FIELD(wire_open, 1, U64, REQUIRED, 1, 0, stream), \
	FIELD(wire_open, 2, U32, OPTIONAL, 1, 0, job), \
	FIELD(wire_open, 3, U16, OPTIONAL, 0, 0, offset), \
	FIELD(wire_open, 4, U8, REQUIRED, 1, WIRE_JOB_UDP, kind), \
	FIELD(wire_open, 5, ADDR, REQUIRED, 0, 0, source), \
	FIELD(wire_open, 6, ADDR, OPTIONAL, 0, 0, server), \
	FIELD(wire_open, 0x8001, TEXT, OPTIONAL, 1, 255, source_name)
static const struct wire_field open_fields[] = {
	OPEN_FIELDS,
	FIELD(wire_open, 8, U64, OPTIONAL, 0, 0, share),
};
static const struct wire_field open_plain[] = {
	OPEN_FIELDS,
	FIELD(wire_open, 7, U64, REQUIRED, 1, 0, carrier),
};
static const struct wire_field opened[] = {
	FIELD(wire_opened, 1, ADDR, OPTIONAL, 0, 0, target),
	FIELD(wire_opened, 2, ADDR, OPTIONAL, 0, 0, local),
	FIELD(wire_opened, 3, U64, OPTIONAL, 0, 0, stream),
};
static const struct wire_field ended[] = {
	FIELD(wire_ended, 1, U64, REQUIRED, 1, 0, stream),
	FIELD(wire_ended, 2, U8, OPTIONAL, 0, 0, reason),
	FIELD(wire_ended, 3, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field detached[] = {
	FIELD(wire_detached, 1, U64, REQUIRED, 1, 0, stream),
};
static const struct wire_field signal_fields[] = {
	FIELD(wire_signal, 1, BYTES, OPTIONAL, WIRE_PIN, WIRE_PIN, identity),
	FIELD(wire_signal, 2, TEXT, OPTIONAL, 1, WIRE_NAME_MAX, name),
	FIELD(wire_signal, 3, U64, OPTIONAL, 0, 0, tag),
	FIELD(wire_signal, 4, BYTES, REQUIRED, 1, WIRE_SIGNAL_MAX, body),
	FIELD(wire_signal, 5, U64, OPTIONAL, 0, 0, share),
};
static const struct wire_field signal_lost[] = {
	FIELD(wire_signal_lost, 1, U64, OPTIONAL, 0, 0, tag),
	FIELD(wire_signal_lost, 2, U8, REQUIRED, 1, 0, reason),
	FIELD(wire_signal_lost, 3, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field relay[] = {
	FIELD(wire_relay, 1, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, identity),
	FIELD(wire_relay, 2, BYTES, REQUIRED, WIRE_CALL, WIRE_CALL, call),
	FIELD(wire_relay, 3, U64, OPTIONAL, 0, 0, session),
	FIELD(wire_relay, 4, U8, OPTIONAL, 0, 0, reason),
	FIELD(wire_relay, 5, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field turn[] = {
	TEXTS(wire_turn, 1, TEXT, 300, WIRE_URIS_MAX, uris, n_uris),
	FIELD(wire_turn, 2, TEXT, OPTIONAL, 1, 512, username),
	FIELD(wire_turn, 3, TEXT, OPTIONAL, 1, 512, password),
	FIELD(wire_turn, 4, TEXT, OPTIONAL, 1, 512, text),
	FIELD(wire_turn, 5, U32, OPTIONAL, 0, 0, lifetime),
};
static const struct wire_field reach[] = {
	FIELD(wire_reach_msg, 1, U32, REQUIRED, 1, 0, tag),
	FIELD(wire_reach_msg, 2, U16, REQUIRED, 1, 0, port),
	FIELD(wire_reach_msg, 3, BYTES, REQUIRED, WIRE_REACH_NONCE, WIRE_REACH_NONCE, nonce),
};
static const struct wire_field reached[] = {
	FIELD(wire_reached, 1, U32, REQUIRED, 1, 0, tag),
	FIELD(wire_reached, 2, U8, REQUIRED, 1, 0, result),
	FIELD(wire_reached, 3, ADDR, OPTIONAL, 0, 0, address),
	FIELD(wire_reached, 4, U32, OPTIONAL, 0, 0, us),
	FIELD(wire_reached, 5, TEXT, OPTIONAL, 1, 512, text),
};
static const struct wire_field path[] = {
	FIELD(wire_path_msg, 1, BYTES, REQUIRED, WIRE_PIN, WIRE_PIN, peer),
	FIELD(wire_path_msg, 2, U8, OPTIONAL, 0, WIRE_PATH_STATES - 1, state),
	FIELD(wire_path_msg, 3, U8, OPTIONAL, 0, WIRE_PATH_KINDS - 1, path),
	FIELD(wire_path_msg, 4, U8, OPTIONAL, 0, 1, host),
	FIELD(wire_path_msg, 5, TEXT, OPTIONAL, 1, WIRE_NAME_MAX, name),
	FIELD(wire_path_msg, 6, TEXT, OPTIONAL, 1, 512, reason),
	FIELD(wire_path_msg, 7, U32, OPTIONAL, 0, 0, rtt_us),
	FIELD(wire_path_msg, 8, U32, OPTIONAL, 0, 0, streams),
	FIELD(wire_path_msg, 9, U64, OPTIONAL, 0, 0, since),
};
static const struct wire_field share[] = {
	FIELD(wire_share, 1, U64, REQUIRED, 1, 0, id),
	FIELD(wire_share, 2, U8, REQUIRED, 1, WIRE_SHARE_TCP, kind),
	FIELD(wire_share, 3, U64, OPTIONAL, 0, 0, expires),
	FIELD(wire_share, 4, U8, OPTIONAL, 0, 1, over),
};
static const struct wire_field share_state[] = {
	FIELD(wire_share_state, 1, U64, REQUIRED, 1, 0, id),
	FIELD(wire_share_state, 2, U8, OPTIONAL, 0, 0, reason),
	FIELD(wire_share_state, 3, TEXT, OPTIONAL, 1, 512, text),
	FIELD(wire_share_state, 4, TEXT, OPTIONAL, 1, 512, url),
};
static const struct wire_field raw[] = {
	FIELD(wire_data, 0, BYTES, OPTIONAL, 0, 0, bytes),
};
static const struct wire_field ack[] = {
	FIELD(wire_ack, 0, U64, REQUIRED, 0, 0, consumed),
	FIELD(wire_ack, 0, U64, REQUIRED, 0, 0, limit),
};
static const struct wire_field fin[] = {
	FIELD(wire_fin, 0, U64, REQUIRED, 0, 0, end),
};
static const struct wire_field resume[] = {
	FIELD(wire_resume, 1, U64, REQUIRED, 1, 0, stream),
	FIELD(wire_resume, 2, U64, OPTIONAL, 0, 0, received),
};

#define FRAME(type, way, where, layout, fields, S) \
	{ WIRE_##type, WIRE_##way, WIRE_##where, WIRE_L_##layout, #type, fields, ARRAY_LEN(fields), sizeof(struct S) }
#define EMPTY(type, way, where) \
	{ WIRE_##type, WIRE_##way, WIRE_##where, WIRE_L_FIXED, #type, NULL, 0, sizeof(struct wire_nothing) }

const struct wire_frame wire_frames[] = {
	FRAME(HELLO, TO_SERVER, IN_HELLO, FIELDS, hello, wire_hello),
	FRAME(WELCOME, TO_AGENT, IN_HELLO, FIELDS, welcome, wire_welcome),
	FRAME(REFUSED, BOTH, ANYWHERE, FIELDS, refused, wire_refused),
	FRAME(PENDING, TO_AGENT, IN_HELLO, FIELDS, pending, wire_pending),
	FRAME(ENROL, TO_SERVER, IN_HELLO, FIELDS, enrol, wire_enrol),
	FRAME(ENROLLED, TO_AGENT, IN_HELLO, FIELDS, enrolled, wire_enrolled),
	FRAME(SCRAM, BOTH, IN_HELLO, FIELDS, scram, wire_scram),
	FRAME(PING, BOTH, ANYWHERE, FIXED, ping, wire_ping),
	FRAME(PONG, BOTH, ANYWHERE, FIXED, ping, wire_ping),
	FRAME(POOL, TO_AGENT, IN_CONTROL, FIELDS, pool, wire_pool),
	FRAME(JOB, TO_SERVER, IN_CONTROL, FIELDS, job, wire_job),
	FRAME(JOB_GONE, TO_SERVER, IN_CONTROL, FIELDS, job_gone, wire_job_gone),
	EMPTY(JOBS_SYNCED, TO_SERVER, IN_CONTROL),
	FRAME(JOB_STATE, TO_AGENT, IN_CONTROL, FIELDS, job_state, wire_job_state_msg),
	FRAME(OFFER_JOB, TO_AGENT, IN_CONTROL, FIELDS, offer_job, wire_job),
	FRAME(OFFER_ANSWER, TO_SERVER, IN_CONTROL, FIELDS, offer_answer, wire_offer_answer),
	FRAME(TARGET_STATE, TO_SERVER, IN_CONTROL, FIELDS, target_state, wire_target_state),
	FRAME(GOAWAY, TO_AGENT, IN_CONTROL, FIELDS, goaway, wire_goaway),
	FRAME(OPEN_PLAIN, TO_AGENT, IN_CONTROL, FIELDS, open_plain, wire_open),
	FRAME(ENDED, BOTH, IN_CONTROL, FIELDS, ended, wire_ended),
	FRAME(DETACHED, TO_AGENT, IN_CONTROL, FIELDS, detached, wire_detached),
	FRAME(SIGNAL, BOTH, IN_CONTROL, FIELDS, signal_fields, wire_signal),
	FRAME(SIGNAL_LOST, TO_AGENT, IN_CONTROL, FIELDS, signal_lost, wire_signal_lost),
	FRAME(RELAY, BOTH, IN_CONTROL, FIELDS, relay, wire_relay),
	EMPTY(TURN_ASK, TO_SERVER, IN_CONTROL),
	FRAME(TURN, TO_AGENT, IN_CONTROL, FIELDS, turn, wire_turn),
	FRAME(REACH, TO_SERVER, IN_CONTROL, FIELDS, reach, wire_reach_msg),
	FRAME(REACHED, TO_AGENT, IN_CONTROL, FIELDS, reached, wire_reached),
	FRAME(PATH, TO_SERVER, IN_CONTROL, FIELDS, path, wire_path_msg),
	FRAME(SHARE, TO_SERVER, IN_CONTROL, FIELDS, share, wire_share),
	FRAME(SHARE_STATE, TO_AGENT, IN_CONTROL, FIELDS, share_state, wire_share_state),
	FRAME(OPEN, TO_AGENT, IN_CARRIER, FIELDS, open_fields, wire_open),
	FRAME(OPENED, TO_SERVER, IN_LINK, FIELDS, opened, wire_opened),
	FRAME(DATA, BOTH, IN_CARRIER, RAW, raw, wire_data),
	FRAME(ACK, BOTH, IN_CARRIER, FIXED, ack, wire_ack),
	FRAME(FIN, BOTH, IN_CARRIER, FIXED, fin, wire_fin),
	FRAME(RESET, BOTH, IN_CARRIER, FIELDS, ended, wire_ended),
	FRAME(RESUME, TO_SERVER, IN_CARRIER, FIELDS, resume, wire_resume),
	FRAME(RESUMED, TO_AGENT, IN_CARRIER, FIELDS, resume, wire_resume),
	FRAME(DATAGRAM, BOTH, IN_CARRIER, RAW, raw, wire_data),
	EMPTY(DONE, BOTH, IN_CARRIER),
};
const size_t wire_n_frames = ARRAY_LEN(wire_frames);

static const struct {
	const char *label, *text;
} reasons[WIRE_REASONS] = {
	[WIRE_R_NONE] = { "none", "no reason was given" },
	[WIRE_R_PROTOCOL] = { "protocol", "the other side does not keep to the protocol" },
	[WIRE_R_VERSION] = { "version", "the two programs have no version of the protocol in common" },
	[WIRE_R_UNKNOWN_KEY] = { "unknown-key", "the agent's key is not enrolled here" },
	[WIRE_R_REVOKED] = { "revoked", "the agent's key was revoked" },
	[WIRE_R_IN_USE] = { "in-use", "another process uses the same key" },
	[WIRE_R_PASSWORD] = { "password", "the password or code is wrong, used, or too old" },
	[WIRE_R_NOT_APPROVED] = { "not-approved", "the administrator has not approved the agent" },
	[WIRE_R_SESSION] = { "session", "the control connection of this session is not there" },
	[WIRE_R_LIMIT] = { "limit", "a limit is reached" },
	[WIRE_R_STOPPING] = { "stopping", "the service is about to stop" },
	[WIRE_R_MEMORY] = { "memory", "out of memory" },
	[WIRE_R_REPLACED] = { "replaced", "a newer connection of the same agent took over" },
	[WIRE_R_KICKED] = { "kicked", "ended by an administrator" },
	[WIRE_R_TIMEOUT] = { "timeout", "no answer in time" },
	[WIRE_R_UNKNOWN_JOB] = { "unknown-job", "there is no such forward job" },
	[WIRE_R_UNKNOWN_STREAM] = { "unknown-stream", "the data connection is not known any more" },
	[WIRE_R_NOT_ALLOWED] = { "not-allowed", "the target is not allowed" },
	[WIRE_R_NO_NAME] = { "no-name", "the target's name cannot be resolved" },
	[WIRE_R_UNREACHABLE] = { "unreachable", "the target cannot be reached" },
	[WIRE_R_REFUSED] = { "refused", "the target refused the connection" },
	[WIRE_R_RESET] = { "reset", "reset by the local end" },
	[WIRE_R_PORT_TAKEN] = { "port-taken", "the port is taken" },
	[WIRE_R_PORT_FORBIDDEN] = { "port-forbidden", "the agent may not open this port" },
	[WIRE_R_EXPIRED] = { "expired", "the forward job's time is over" },
	[WIRE_R_PLAIN_FORBIDDEN] = { "plain-forbidden", "unencrypted data connections are not allowed" },
	[WIRE_R_ERROR] = { "error", "an error" },
	[WIRE_R_UNKNOWN_AGENT] = { "unknown-agent", "the server knows no such agent" },
	[WIRE_R_NOT_THERE] = { "not-there", "the agent is not connected to the server" },
	[WIRE_R_UNKNOWN_PEER] = { "unknown-peer", "that agent does not know this one" },
	[WIRE_R_EPOCH] = { "epoch", "the offer is of before that agent was restarted" },
	[WIRE_R_UNKNOWN_SHARE] = { "unknown-share", "there is no such share: the code is wrong, or the share is over" },
};

static const char *const errors[WIRE_ERRORS] = {
	[WIRE_OK] = "a good frame",
	[WIRE_INCOMPLETE] = "more bytes are needed",
	[WIRE_UNKNOWN_FRAME] = "a frame of an unknown type",
	[WIRE_WRONG_WAY] = "a frame that does not belong here",
	[WIRE_TOO_LONG] = "a frame that is too long",
	[WIRE_CUT] = "a frame that ends within a field",
	[WIRE_UNKNOWN_FIELD] = "a field that is not known and must be",
	[WIRE_FIELD_TWICE] = "a field that is there too often",
	[WIRE_FIELD_MISSING] = "a field is missing",
	[WIRE_BAD_SIZE] = "a field of the wrong size",
	[WIRE_BAD_VALUE] = "a field with a value that it cannot have",
};
/* clang-format on */

const char *wire_error_text(enum wire_error e)
{
	return e < WIRE_ERRORS ? errors[e] : "?";
}

const char *wire_reason_text(unsigned reason)
{
	return reason < WIRE_REASONS ? reasons[reason].text : "a reason that this version does not know";
}

const char *wire_reason_label(unsigned reason)
{
	return reason < WIRE_REASONS ? reasons[reason].label : "unknown";
}

const struct wire_frame *wire_frame_of(unsigned type)
{
	for (size_t i = 0; i < ARRAY_LEN(wire_frames); i++)
		if (wire_frames[i].type == type)
			return &wire_frames[i];
	return NULL;
}

const char *wire_type_name(unsigned type)
{
	const struct wire_frame *f = wire_frame_of(type);

	return f ? f->name : "?";
}
