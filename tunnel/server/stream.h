/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data connections at the server: an accepted client, or a UDP flow, is led to a job of an agent. In the thread of the
 * link's worker. The owner has checked what there is to check (source, limits, the job's state); the agent checks the job
 * and the resolved target again.
 *
 * OPEN and the first bytes go out at once on a ready carrier. If none is ready the data connection waits for one, and the
 * agent is asked for more; WIRE_R_TIMEOUT ends it when none comes (10 s).
 */
#pragma once
#include "tunnel/link/data.h"
#include "tunnel/server/link.h"

struct tunnel_open {
	uint32_t job;
	uint64_t share; /* instead of a job */
	uint16_t offset; /* of the port in the job's range */
	uint8_t kind;	 /* enum wire_job_kind */
	bool plain;	 /* encrypt: false, and both sides allow it */
	int fd;		 /* TCP: the accepted client, non-blocking; UDP: -1 */
	struct addr source, server;
	struct text source_name; /* may be empty */
	const struct data_ops *ops;
	/* Before its first byte, which may pass before tunnel_stream_open() returns: the place for taps and limits. May be NULL. */
	void (*begun)(struct data_conn *d, void *arg);
	void *arg;
};
/* Takes the descriptor over, also on failure. 0; -ENOTCONN: the link is over (while it is only down, the data
 * connection waits); -EUSERS: too many wait already; -ENOMEM. */
int tunnel_stream_open(struct tunnel_link *l, const struct tunnel_open *o, struct data_conn **ret_d);
struct data_conn *tunnel_stream_find(struct tunnel_link *l, uint64_t stream); /* NULL: none */
