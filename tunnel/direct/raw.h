/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of a birthday probe (prober.h), for one attempt. The easy side opens one early, asks a STUN server where it is seen
 * outside, and keeps that place until the probe begins; the hard side opens its sockets when it begins. What is found is a UDP socket
 * of our own, given away.
 */
#pragma once
#include "common/loop.h"
#include "tunnel/direct/prober.h"

struct raw;
struct raw_ops {
	void (*placed)(const struct addr *outside, void *arg); /* easy: where its socket is seen; may come never */
	/* Once; raw_free() is allowed in it. fd: -1 and no addresses if nothing was found. */
	void (*done)(int fd, const struct addr *local, const struct addr *peer, void *arg);
};
struct raw_options {
	struct loop *loop;
	const struct raw_ops *ops;
	void *arg;
	enum prober_role role;
	struct addr stun; /* easy */
};
int raw_new(const struct raw_options *o, struct raw **ret_r); /* 0, -ENOMEM, -EIO, or -errno of a socket */
struct raw *raw_free(struct raw *r);
DEFINE_CLEANUP(struct raw, raw_free)
/* Credentials, peer and block of *o; the rest is filled in. 0 or -errno. */
int raw_probe(struct raw *r, const struct prober_options *o);
unsigned raw_sent(const struct raw *r);
