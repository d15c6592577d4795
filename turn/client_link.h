/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A way from a client to a STUN/TURN server: UDP, TCP, TLS or DTLS, as one struct that carries whole
 * messages. Used by the TURN client's callers (tests, benchmarks, later the tunnel's TURN path). Not
 * thread-safe: it lives in one loop.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"
#include "common/tls.h"
#include "turn/server.h"

struct turn_link;

struct turn_link_ops {
	void (*on_open)(struct turn_link *l, void *arg);
	void (*on_message)(struct turn_link *l, uint8_t *p, size_t n, void *arg); /* one message, without padding */
	void (*on_close)(struct turn_link *l, int err, const char *why, void *arg); /* once; may free l */
};

struct turn_link_options {
	enum turn_proto proto;
	struct addr server;
	const struct addr *bind_to; /* NULL: any */
	const char *server_name;    /* TLS and DTLS: SNI, and the name to verify */
	bool verify;		    /* check the certificate */
	const char *ca_file;	    /* NULL: the system's */
	const struct turn_link_ops *ops;
	void *arg;
};

/* on_open follows, from the loop. 0 or -errno. err gets a sentence (TLS_ERRLEN). */
int turn_link_new(struct loop *l, const struct turn_link_options *o, char *err, struct turn_link **ret_l);
struct turn_link *turn_link_free(struct turn_link *l);
int turn_link_send(struct turn_link *l, const void *p, size_t n); /* 0, -ENOBUFS, -ENOTCONN … */
bool turn_link_is_stream(const struct turn_link *l);
const struct addr *turn_link_local(const struct turn_link *l);
SSL *turn_link_ssl(const struct turn_link *l); /* NULL: not encrypted, or not open yet */
const char *turn_proto_name(enum turn_proto p); /* "udp" "tcp" "tls" "dtls" */
int turn_proto_parse(struct text t, enum turn_proto *ret_p);
uint16_t turn_proto_default_port(enum turn_proto p); /* 3478, 5349 */
DEFINE_CLEANUP(struct turn_link, turn_link_free)
