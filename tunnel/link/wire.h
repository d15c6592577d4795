/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's wire format, version 1 (docs/decisions/0016-tunnel-wire-format.md): frames between stile-agent and
 * stile-tunnel, and the first bytes of a plain carrier. The frames and their fields are rows of a table
 * (wire_table.c); this header has a struct for each message, and the functions that read and write any of them.
 *
 * Nothing here does I/O, allocates, or owns bytes: texts and bytes of a parsed message are slices of the payload
 * that was given, and live as long as it does. Absent numbers are 0, absent texts are empty.
 */
#pragma once
#include "common/addr.h"
#include "common/bytes.h"

enum {
	WIRE_VERSION = 1,
	WIRE_HEAD = 4,			/* u8 type, u24 length of the payload */
	WIRE_PAYLOAD_MAX = 16384 + 256, /* of any frame */
	WIRE_DATAGRAM_MAX = 65507,	/* the one exception: a UDP datagram is not cut */
	WIRE_EARLY_MAX = 4096, /* of a frame before WELCOME, when the other side may be a stranger */
	WIRE_DATA_MAX = 16384 - WIRE_HEAD, /* of DATA as we send it: the frame fills one TLS record */
	WIRE_WINDOW_FIRST = 256 << 10, /* bytes of a way of a data connection that may be sent before the first ACK */
	WIRE_PIN = 32, /* SHA-256 */
	WIRE_INSTANCE = 16,
	WIRE_NAME_MAX = 63,
	WIRE_ALLOW_MAX = 64,
	WIRE_RANGES_MAX = 16,
	WIRE_PLAIN_HEAD = 53,
	WIRE_CALL = 16,
	WIRE_SIGNAL_MAX = 12288,
	WIRE_URIS_MAX = 8,
	WIRE_REACH_NONCE = 16,
};

enum wire_type {
	WIRE_HELLO = 0x01,
	WIRE_WELCOME = 0x02,
	WIRE_REFUSED = 0x03,
	WIRE_PENDING = 0x04,
	WIRE_ENROL = 0x05,
	WIRE_ENROLLED = 0x06,
	WIRE_SCRAM = 0x07,
	WIRE_PING = 0x10,
	WIRE_PONG = 0x11,
	WIRE_POOL = 0x12,
	WIRE_JOB = 0x13,
	WIRE_JOB_GONE = 0x14,
	WIRE_JOBS_SYNCED = 0x15,
	WIRE_JOB_STATE = 0x16,
	WIRE_OFFER_JOB = 0x17,
	WIRE_OFFER_ANSWER = 0x18,
	WIRE_TARGET_STATE = 0x19,
	WIRE_GOAWAY = 0x1a,
	WIRE_OPEN_PLAIN = 0x1b,
	WIRE_ENDED = 0x1c,
	WIRE_DETACHED = 0x1d,
	/* only if both sides have said WIRE_F_RENDEZVOUS */
	WIRE_SIGNAL = 0x20,
	WIRE_SIGNAL_LOST = 0x21,
	WIRE_RELAY = 0x22,
	WIRE_TURN_ASK = 0x23,
	WIRE_TURN = 0x24,
	/* only if the server has said WIRE_F_REACH */
	WIRE_REACH = 0x28,
	WIRE_REACHED = 0x29,
	/* only if the server has said WIRE_F_PATHS */
	WIRE_PATH = 0x2a,
	/* only if both sides have said WIRE_F_SHARE (docs/decisions/0024-sharing.md) */
	WIRE_SHARE = 0x25,
	WIRE_SHARE_STATE = 0x26,
	WIRE_OPEN = 0x30,
	WIRE_OPENED = 0x31,
	WIRE_DATA = 0x32,
	WIRE_ACK = 0x33,
	WIRE_FIN = 0x34,
	WIRE_RESET = 0x35,
	WIRE_RESUME = 0x36,
	WIRE_RESUMED = 0x37,
	WIRE_DATAGRAM = 0x38,
	WIRE_DONE = 0x39,
};

/* Who sends a frame, and where it may stand. */
enum { WIRE_TO_SERVER = 1, WIRE_TO_AGENT = 2, WIRE_BOTH = 3 };
enum {
	WIRE_IN_HELLO = 1,
	WIRE_IN_CONTROL = 2,
	WIRE_IN_CARRIER = 4,
	WIRE_IN_LINK = 6,
	WIRE_ANYWHERE = 7
};

struct wire_bytes {
	const uint8_t *p;
	size_t n;
};

/* RESUME: a carrier on which a lost data connection goes on; the server opens none of its own on it before. */
enum wire_purpose {
	WIRE_PURPOSE_CONTROL = 1,
	WIRE_PURPOSE_CARRIER = 2,
	WIRE_PURPOSE_RESUME = 3,
	WIRE_PURPOSE_RELAY = 4, /* one end of a relay between two agents; after WELCOME, which comes when both are there, bytes */
};
/* Bits of `features` in HELLO; RENDEZVOUS and REACH in WELCOME, too. */
enum {
	WIRE_F_ENROL = 1 << 0,	/* ENROL or SCRAM follows, also if the server knows the key: it waits for that */
	WIRE_F_PINNED = 1 << 1, /* the agent knew the server's root before */
	WIRE_F_RENDEZVOUS = 1 << 2, /* SIGNAL and what follows it are known, and allowed */
	WIRE_F_PATHS = 1 << 9, /* WELCOME: the server wants to be told what ways the agent's links to others take */
	WIRE_F_REACH = 1 << 8, /* WELCOME: the server connects back when REACH asks it to */
	WIRE_F_SHARE = 1 << 3,	    /* SHARE, and share in SIGNAL and OPEN */
	WIRE_F_GUEST = 1 << 4,	    /* HELLO: nobody has enrolled this key; it is a guest of the share that is named */
};
struct wire_hello {
	uint16_t version, oldest; /* what the sender speaks: from oldest (0: version alone) to version */
	uint8_t purpose;	  /* enum wire_purpose */
	uint64_t features;
	struct wire_bytes instance; /* WIRE_INSTANCE random bytes of the agent's process */
	uint64_t session;	    /* of a carrier; of a control connection that comes back: the one it had */
	struct text name, program, host;
	struct addr lan;  /* the agent's end of the connection */
	uint8_t restart; /* it reconnects, and has jobs and connections of before */
	uint64_t share;	 /* of a guest */
};
struct wire_range {
	uint16_t first, last;
};
struct wire_welcome {
	uint16_t version;
	uint64_t features, session;
	struct text name, server_name, public_name; /* the agent's as the server calls it */
	struct text program;			    /* "stile-tunnel 1.2.3": for people */
	struct addr observed;			    /* whence the server sees the agent */
	struct wire_range ports[WIRE_RANGES_MAX];   /* what the agent may open */
	uint16_t n_ports;
	uint32_t window;    /* bytes: the most that a way's window grows to */
	uint32_t resume_ms; /* so long a data connection waits for a carrier */
	struct wire_bytes successor; /* WIRE_PIN */
};
/* Reasons of REFUSED, RESET, ENDED and JOB-STATE: one enum, so that a reason has one text. */
enum wire_reason {
	WIRE_R_NONE = 0,
	WIRE_R_PROTOCOL,      /* the peer broke the protocol */
	WIRE_R_VERSION,	      /* no common version */
	WIRE_R_UNKNOWN_KEY,   /* not enrolled, and nothing to enrol with */
	WIRE_R_REVOKED,
	WIRE_R_IN_USE,	      /* another process uses the key */
	WIRE_R_PASSWORD,      /* or code: wrong, used, or too old */
	WIRE_R_NOT_APPROVED,  /* the administrator said no */
	WIRE_R_SESSION,	      /* a carrier of a session that is not there */
	WIRE_R_LIMIT,
	WIRE_R_STOPPING,
	WIRE_R_MEMORY,
	WIRE_R_REPLACED,      /* a newer connection of the same process took over */
	WIRE_R_KICKED,	      /* by an administrator */
	WIRE_R_TIMEOUT,
	WIRE_R_UNKNOWN_JOB,
	WIRE_R_UNKNOWN_STREAM, /* nothing to resume: too late, or never heard of */
	WIRE_R_NOT_ALLOWED,   /* the target is not in the agent's list; the source not in the job's */
	WIRE_R_NO_NAME,	      /* the target's name cannot be resolved */
	WIRE_R_UNREACHABLE,   /* no route, refused by a router */
	WIRE_R_REFUSED,	      /* the target refused the connection */
	WIRE_R_RESET,	      /* by the local end */
	WIRE_R_PORT_TAKEN,
	WIRE_R_PORT_FORBIDDEN, /* outside the allowed range, the server's own, below 1024 */
	WIRE_R_EXPIRED,
	WIRE_R_PLAIN_FORBIDDEN, /* encrypt: false, and one of both sides does not allow it */
	WIRE_R_ERROR,	      /* anything else; the text says what */
	WIRE_R_UNKNOWN_AGENT, /* the server knows no such agent */
	WIRE_R_NOT_THERE,     /* that agent is not connected, or too old for what is asked */
	WIRE_R_UNKNOWN_PEER,  /* that agent does not know who asks */
	WIRE_R_EPOCH,	      /* an offer of before; the next one must hold the epoch that is told */
	WIRE_R_UNKNOWN_SHARE, /* there is no such share, or it is over */
	WIRE_REASONS
};
struct wire_refused {
	uint8_t reason; /* enum wire_reason; a newer peer's may be unknown */
	struct text text;
	uint32_t retry_after; /* s; 0: as the other side thinks best */
};
struct wire_pending {
	struct wire_bytes agent, server; /* fingerprints, WIRE_PIN each */
};
struct wire_enrol {
	struct wire_bytes code; /* id of the code */
	struct wire_bytes proof;
};
struct wire_enrolled {
	struct wire_bytes proof, root, successor; /* root: its certificate, DER */
};
struct wire_scram {
	struct text message;
};
struct wire_ping { /* and PONG */
	uint64_t cookie;
};
struct wire_pool {
	uint16_t tls, plain; /* ready carriers wanted */
};

enum wire_job_kind { WIRE_JOB_TCP = 1, WIRE_JOB_UDP = 2 };
enum { WIRE_JOB_ENCRYPT = 1, WIRE_JOB_ENABLED = 2, WIRE_JOB_PROXY_V2 = 4, WIRE_JOB_HEALTH_CHECK = 8 };
struct wire_job { /* JOB, OFFER-JOB */
	uint32_t id, revision;
	uint8_t kind; /* enum wire_job_kind */
	uint8_t over; /* OFFER-JOB: it is withdrawn; the values do not count */
	uint16_t port, count; /* 0: the server chooses; ports in a row, 0: 1 */
	uint16_t target_port;
	uint32_t flags;
	struct text name, host, note;
	struct addr bind; /* AF_UNSPEC: the server's tunnel.bind */
	struct prefix allow[WIRE_ALLOW_MAX];
	uint16_t n_allow; /* 0: every source */
	uint64_t expires; /* unix s; 0: never */
	uint32_t connections; /* limits; 0: the server's */
	uint64_t bitrate;     /* bit/s */
};
struct wire_job_gone {
	uint32_t id;
};
struct wire_nothing { /* JOBS-SYNCED, TURN-ASK, DONE */
	uint8_t none;
};
enum wire_job_state {
	WIRE_JOB_ACTIVE = 1,
	WIRE_JOB_INTERRUPTED, /* not enabled */
	WIRE_JOB_REFUSED,
	WIRE_JOB_PORT_TAKEN, /* the server tries again */
	WIRE_JOB_TARGET_DOWN,
	WIRE_JOB_OVER, /* expired */
};
struct wire_job_state_msg {
	uint32_t id, revision;
	uint8_t state;  /* enum wire_job_state */
	uint8_t reason; /* enum wire_reason */
	uint16_t port;
	struct text address; /* where it is reached: "tunnel.example.org:22222" */
	struct text text;
};
struct wire_offer_answer {
	uint32_t id, revision;
	uint8_t taken; /* 1: yes */
	struct text text;
};
struct wire_target_state {
	uint32_t job;
	uint8_t up; /* 1: yes */
	struct text text;
	uint32_t connect_us;
};
struct wire_goaway {
	struct text text;
	uint32_t retry_after; /* s */
};
struct wire_open { /* OPEN, OPEN-PLAIN */
	uint64_t stream; /* number of the data connection, never used twice by a server process */
	uint64_t carrier; /* OPEN-PLAIN: the number in the plain carrier's head */
	uint32_t job;	/* 0: it is for a share */
	uint64_t share; /* OPEN */
	uint16_t offset; /* of the port in the job's range */
	uint8_t kind;	 /* enum wire_job_kind */
	struct addr source, server;
	struct text source_name;
};
struct wire_opened {
	struct addr target, local;
	uint64_t stream; /* on the control connection: of a plain data connection */
};
struct wire_ended { /* ENDED, RESET */
	uint64_t stream;
	uint8_t reason;
	struct text text;
};
struct wire_detached {
	uint64_t stream;
};
struct wire_signal { /* what agents say to each other; the server only passes it on */
	struct wire_bytes identity; /* to the server: whom it is for, to the agent: who sent it. WIRE_PIN */
	struct text name;	    /* the same, as the server calls it; to the server if the identity is not known yet */
	uint64_t tag;		    /* of the sender, for SIGNAL-LOST */
	uint64_t share;		    /* it is for whoever has this share; 0: none */
	struct wire_bytes body;
};
struct wire_signal_lost {
	uint64_t tag;
	uint8_t reason; /* enum wire_reason */
	struct text text;
};
/* To the server: this agent wants a relay with that one, or (reason) no more. To the agent: the other one wants it (no
 * session), both do (a HELLO with purpose RELAY is awaited for it), or there is none (reason). */
struct wire_relay {
	struct wire_bytes identity; /* WIRE_PIN: the other agent */
	struct wire_bytes call;	    /* WIRE_CALL: random, of the one that calls */
	uint64_t session;
	uint8_t reason; /* enum wire_reason */
	struct text text;
};
struct wire_turn { /* a TURN server, and credentials for it that are made for this agent */
	struct text uris[WIRE_URIS_MAX]; /* "turn:192.0.2.1:3478?transport=udp", RFC 7065 */
	uint16_t n_uris; /* 0: there is none; text says why */
	struct text username, password, text;
	uint32_t lifetime; /* s */
};
enum wire_share_kind { WIRE_SHARE_HTTP = 1, WIRE_SHARE_TCP = 2 };
struct wire_share { /* something of this agent can be found by this number */
	uint64_t id;
	uint8_t kind;	  /* enum wire_share_kind */
	uint8_t over;	  /* no more */
	uint64_t expires; /* unix s; 0: with the agent */
};
struct wire_share_state {
	uint64_t id;
	uint8_t reason; /* enum wire_reason; 0: it can be found */
	struct text text, url; /* url: of the gateway for browsers; empty: there is none */
};
struct wire_data { /* DATA, DATAGRAM */
	struct wire_bytes bytes;
};
struct wire_ack {
	uint64_t consumed, limit;
};
struct wire_fin {
	uint64_t end;
};
struct wire_resume { /* RESUME, RESUMED */
	uint64_t stream, received;
};

enum wire_reach { /* what became of a connection back */
	WIRE_REACH_OURS = 1, /* a program of ours answered */
	WIRE_REACH_OPEN,     /* something accepted, and is not ours */
	WIRE_REACH_REFUSED,
	WIRE_REACH_SILENT, /* no answer in time */
	WIRE_REACH_NO_WAY, /* a router or the server's own machine said so; text has the reason */
	WIRE_REACH_LIMIT,  /* not tried: too many tests */
};
struct wire_reach_msg { /* connect to my own address, as you see it */
	uint32_t tag;
	uint16_t port;
	struct wire_bytes nonce; /* WIRE_REACH_NONCE; common/reach.h */
};
struct wire_reached {
	uint32_t tag;
	uint8_t result; /* enum wire_reach */
	struct addr address; /* that was tried */
	uint32_t us;	     /* until the connection stood */
	struct text text;
};

enum wire_path_state { WIRE_PATH_OVER, WIRE_PATH_CONNECTING, WIRE_PATH_UP, WIRE_PATH_INTERRUPTED, WIRE_PATH_STATES };
enum wire_path_kind { /* as enum child_path */
	WIRE_PATH_NONE,
	WIRE_PATH_DIRECT,
	WIRE_PATH_PUNCHED,
	WIRE_PATH_TCP,
	WIRE_PATH_TURN,
	WIRE_PATH_RELAY, /* through the server */
	WIRE_PATH_KINDS
};
struct wire_path_msg { /* what an agent's link to another one takes, for people who look at the server */
	struct wire_bytes peer; /* WIRE_PIN */
	uint8_t state, path;	/* enum wire_path_state, enum wire_path_kind */
	uint8_t host;		/* 1: the other one visits */
	struct text name;	/* as it is called there */
	struct text reason;	/* why it is not better; empty: it is the best */
	uint32_t rtt_us, streams;
	uint64_t since; /* unix ms */
};

union wire_msg {
	struct wire_path_msg path;
	struct wire_hello hello;
	struct wire_welcome welcome;
	struct wire_refused refused;
	struct wire_pending pending;
	struct wire_enrol enrol;
	struct wire_enrolled enrolled;
	struct wire_scram scram;
	struct wire_ping ping;
	struct wire_pool pool;
	struct wire_job job;
	struct wire_job_gone job_gone;
	struct wire_nothing nothing;
	struct wire_job_state_msg job_state;
	struct wire_offer_answer offer_answer;
	struct wire_target_state target_state;
	struct wire_goaway goaway;
	struct wire_open open;
	struct wire_opened opened;
	struct wire_ended ended;
	struct wire_detached detached;
	struct wire_signal signal;
	struct wire_signal_lost signal_lost;
	struct wire_relay relay;
	struct wire_turn turn;
	struct wire_reach_msg reach;
	struct wire_reached reached;
	struct wire_share share;
	struct wire_share_state share_state;
	struct wire_data data;
	struct wire_ack ack;
	struct wire_fin fin;
	struct wire_resume resume;
};

/* What is wrong with a frame. All but the first two end the connection (REFUSED, protocol). */
enum wire_error {
	WIRE_OK,
	WIRE_INCOMPLETE, /* more bytes are needed */
	WIRE_UNKNOWN_FRAME,
	WIRE_WRONG_WAY,	  /* or the wrong place for this frame */
	WIRE_TOO_LONG,
	WIRE_CUT,	  /* a field, or a fixed payload, ends too early or has something behind it */
	WIRE_UNKNOWN_FIELD,
	WIRE_FIELD_TWICE, /* or more often than a list may have it */
	WIRE_FIELD_MISSING,
	WIRE_BAD_SIZE,
	WIRE_BAD_VALUE,
	WIRE_ERRORS
};
const char *wire_error_text(enum wire_error e);	  /* for the log */
const char *wire_reason_text(unsigned reason);	  /* a sentence for people; also for one we do not know */
const char *wire_reason_label(unsigned reason);	  /* "in-use": of metrics and JSON */
const char *wire_type_name(unsigned type);	  /* "HELLO"; "?" */

/* Where a frame is read: one of each. */
struct wire_place {
	uint8_t way, where; /* WIRE_TO_SERVER or WIRE_TO_AGENT; WIRE_IN_… */
};
struct wire_got {
	unsigned type;
	size_t size; /* with the head */
	union wire_msg m;
};
/* One frame at the beginning of the n bytes at p. WIRE_OK: *ret_g is written; of a frame that may be ignored (unknown, from
 * 0x80 on) without a message. A frame whose head alone shows that it is wrong is never WIRE_INCOMPLETE. */
enum wire_error wire_next(const uint8_t *p, size_t n, struct wire_place at, struct wire_got *ret_g);
static inline bool wire_ignorable(unsigned type)
{
	return type >= 0x80;
}
/* The payload of a frame of this type. */
enum wire_error wire_parse(unsigned type, const void *payload, size_t n, union wire_msg *ret_msg);
/* A whole frame. msg is the struct of the type (a member of the union). Fields that are 0 or empty are not written,
 * unless they must be there. A value that the table forbids latches w->failed: it would be refused anyway. */
void wire_write(struct wr *w, unsigned type, const void *msg);
/* Head of a DATA or DATAGRAM frame whose bytes stand elsewhere. */
static inline void wire_data_head(uint8_t head[static WIRE_HEAD], unsigned type, size_t n)
{
	store_be32(head, (uint32_t)type << 24 | (uint32_t)n);
}

/* A text of the peer as a string of at most n - 1 bytes: what does not fit is cut, but never within a character, for the
 * string goes to JSON and to frames of our own, which take UTF-8 only. */
void wire_text_copy(char *to, size_t n, struct text t);

/* The first bytes of a plain carrier. mac: HMAC-SHA-256 under the exporter of the control connection, over the bytes
 * before it (wire_plain_signed). */
struct wire_plain {
	uint64_t session, number;
	uint8_t mac[32];
};
enum { WIRE_PLAIN_SIGNED = WIRE_PLAIN_HEAD - 32 };
/* WIRE_OK, WIRE_INCOMPLETE, or WIRE_BAD_VALUE as soon as it cannot become one. */
enum wire_error wire_plain_parse(const uint8_t *p, size_t n, struct wire_plain *ret_p);
void wire_plain_write(struct wr *w, const struct wire_plain *p);

/* ---- the table, for whoever walks it (tests, fuzzing) ---- */

enum wire_kind { WIRE_K_U8, WIRE_K_U16, WIRE_K_U32, WIRE_K_U64, WIRE_K_TEXT, WIRE_K_BYTES, WIRE_K_ADDR, WIRE_K_PREFIX, WIRE_K_RANGE };
enum wire_layout { WIRE_L_FIELDS, WIRE_L_FIXED /* the values in order, without ids */, WIRE_L_RAW /* bytes alone */ };

struct wire_field {
	uint16_t id; /* from 0x8000 on: may be ignored by who does not know it */
	uint8_t kind; /* enum wire_kind */
	bool required;
	uint32_t min, max; /* of TEXT and BYTES: length in bytes; of numbers: value, max 0: any */
	uint16_t at;	   /* in the message's struct */
	uint16_t count_at, most; /* of a list: where its uint16_t count is, and how many there may be; most 0: no list */
	const char *name;
};
struct wire_frame {
	uint8_t type;
	uint8_t way, where, layout;
	const char *name;
	const struct wire_field *fields;
	uint16_t n_fields;
	uint16_t size; /* of the message's struct */
};
const struct wire_frame *wire_frame_of(unsigned type); /* NULL: unknown */
extern const struct wire_frame wire_frames[];
extern const size_t wire_n_frames;

/* ---- other formats that are tables of the same kind (tunnel/direct) ---- */

/* The fields of one message; msg has row->size bytes, and is anything if it was wrong. No RAW layout. */
enum wire_error wire_parse_row(const struct wire_frame *row, const void *payload, size_t n, void *msg);
void wire_write_row(struct wr *w, const struct wire_frame *row, const void *msg);
