/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data connection of the tunnel, one end of it: the client's socket at the server, or the target's at the agent, and
 * the carrier that takes the bytes to the other end. What both ends have in common; they begin in tunnel/server/stream.h
 * and tunnel/agent/agent.h.
 *
 * Bytes have offsets, are kept until the other end has passed them on, and are sent again over another carrier when one is
 * lost (link/replay.h), so a lost carrier is nothing that the owner sees: the state says "detached" for a while. Who cannot
 * write is not read from, end to end, by the windows. An end of stream is passed on behind the last byte and the
 * other way goes on; a reset is passed on as a reset. A UDP flow has datagrams instead, which may be lost.
 *
 * All of it belongs to one loop. Callbacks come from the loop, never from inside a call; on_end comes exactly once, unless
 * the owner frees the data connection first.
 */
#pragma once
#include "common/loop.h"
#include "tunnel/link/wire.h"

struct data_conn;

enum data_way { DATA_UP, DATA_DOWN }; /* to the target; to the client: at both ends alike */

enum data_state {
	DATA_WAITING, /* for a carrier; at the agent: for its socket */
	DATA_OPENING, /* OPEN is sent, OPENED has not come; bytes flow already */
	DATA_OPEN,
	DATA_HALF,     /* one way has ended */
	DATA_DETACHED, /* the carrier was lost: another one is awaited, until resume_ms have passed */
	DATA_ENDED,
	DATA_STATES
};
extern const char *const data_state_names[DATA_STATES]; /* "waiting", … */

struct data_end {
	enum wire_reason reason; /* WIRE_R_NONE: both ways ended, and all of it was passed on */
	const char *text;	 /* a sentence with detail, or the reason's own */
	bool by_peer;		 /* the other end of the tunnel said so */
	bool lost; /* bytes may not have arrived: the carrier was lost and none came in time */
};

struct data_ops {
	/* Server: the target is connected. May be NULL. */
	void (*on_opened)(struct data_conn *d, const struct wire_opened *o, void *arg);
	/* UDP at the server: one for the client. p is valid during the call. */
	void (*on_datagram)(struct data_conn *d, const uint8_t *p, size_t n, void *arg);
	/* While data_conn_tap() is on: bytes as they pass. May be NULL. */
	void (*tap)(struct data_conn *d, enum data_way w, const uint8_t *p, size_t n, void *arg);
	/* While data_conn_limit() is on: how many of want bytes may pass now (0: asked again in a few ms), and how many did.
	 * May be NULL. */
	size_t (*room)(struct data_conn *d, enum data_way w, size_t want, void *arg);
	void (*passed)(struct data_conn *d, enum data_way w, size_t n, void *arg);
	/* d is freed by the owner, there or later; data_conn_info() still works. */
	void (*on_end)(struct data_conn *d, const struct data_end *e, void *arg);
};

struct data_info {
	uint64_t stream; /* its number, the same at both ends */
	uint32_t job;
	uint16_t offset; /* of the port in the job's range */
	uint8_t kind;	 /* enum wire_job_kind */
	enum data_state state;
	bool plain;	   /* spliced over a plain carrier: neither encrypted nor resumable */
	uint64_t bytes[2]; /* by enum data_way; as passed at this end */
	uint64_t rate[2];  /* bytes per second, of the last second or two */
	uint64_t held[2];  /* kept here: sent and not yet known to have arrived, or not yet taken */
	uint64_t datagrams[2], datagrams_dropped;
	unsigned resumed;	    /* times that another carrier took over */
	uint64_t age_ms, quiet_ms;  /* since its beginning; since its last byte */
	struct addr source, server; /* the client, and where it came in */
	struct addr target,
		local; /* the agent's socket: where it leads, and its own end; unset until known */
	struct addr carrier_peer, carrier_local; /* of the present carrier; unset: none */
};
void data_conn_info(const struct data_conn *d, struct data_info *ret_i);
uint64_t data_conn_stream(const struct data_conn *d);

void data_conn_tap(struct data_conn *d, bool on);
void data_conn_limit(struct data_conn *d, bool on);
/* UDP at the server: one of the client's, for the target. Dropped and counted when the carrier is behind. */
void data_conn_datagram(struct data_conn *d, const uint8_t *p, size_t n);
void data_conn_dropped(struct data_conn *d); /* one that the owner did not give it; counted */
/* Both local sockets are reset (an operator's kick, a job that is over); on_end follows. */
void data_conn_kill(struct data_conn *d, enum wire_reason reason, const char *text);
/* At once and without on_end; the other end hears of it if there is a carrier. NULL is fine. */
struct data_conn *data_conn_free(struct data_conn *d);
