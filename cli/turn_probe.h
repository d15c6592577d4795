/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transport of one TURN server, tried as a client would use it: two allocations that talk to each
 * other through the server. Blocking; runs its own loop; every wait has a deadline. The result holds, per
 * step, whether it was good, how long it took, and a sentence.
 */
#pragma once
#include "turn/client.h"
#include "turn/client_link.h"

enum turn_probe_step {
	PROBE_CONNECT,	/* the transport itself, with TLS */
	PROBE_BINDING,	/* STUN Binding */
	PROBE_ALLOCATE, /* both ends */
	PROBE_SEND,	/* echo through Send and Data indications */
	PROBE_CHANNEL,	/* echo through ChannelData */
	PROBE_GUARD,	/* a link-local peer must be refused */
	PROBE_RELEASE,
	PROBE_STEPS
};
extern const char *const turn_probe_step_names[PROBE_STEPS];

struct turn_probe_options {
	enum turn_proto proto;
	struct addr server;
	const char *server_name; /* for TLS */
	bool verify;
	const char *ca_file;
	const char *user, *password;
	unsigned packets; /* for each echo */
	uint64_t step_ms; /* deadline of a step */
};

struct turn_probe_result {
	bool done[PROBE_STEPS], good[PROBE_STEPS];
	double ms[PROBE_STEPS];
	char text[PROBE_STEPS][256]; /* what was found, or why it failed */
	unsigned sent, echoed;
	struct addr mapped, relayed;
};

/* 0 if every step was good; EXIT_FAILED otherwise; -errno if it could not even begin. */
int turn_probe(const struct turn_probe_options *o, struct turn_probe_result *ret);
