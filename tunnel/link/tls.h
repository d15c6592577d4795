/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between agent and server: 1.3 only, ALPN "stile-agent/1", a certificate with a P-256 key from both sides, no tickets,
 * no resumption, no early data. Who the other side is follows from keys alone (identity.h); OpenSSL's own
 * verification is not run. Contexts are those of common/tls.h, so that a struct stream takes them.
 *
 * An agent checks its server inside the handshake, before its own certificate goes out: a false server learns
 * nothing, not even who called. A server takes any key; who is allowed in is the registry's affair (tunnel/server/agents.h).
 */
#pragma once
#include "common/tls.h"
#include "tunnel/link/server_keys.h"

#define LINK_ALPN "stile-agent/1"
#define LINK_EXPORTER_BINDING "EXPORTER-Channel-Binding" /* RFC 9266 tls-exporter, for SCRAM */
#define LINK_EXPORTER_ENROL "EXPORTER-stile-enrol"
#define LINK_EXPORTER_PLAIN "EXPORTER-stile-plain"

enum { LINK_EXPORTER_LEN = 32, LINK_PREFIX_LEN = 16 };

/* What an agent takes for its server. */
enum link_expect_kind {
	LINK_EXPECT_ANY,    /* nothing known; enrolment by password then waits for approval */
	LINK_EXPECT_PREFIX, /* an enrolment code's: the first 128 bits of the root's hash */
	LINK_EXPECT_PINS,
};
struct link_expect {
	enum link_expect_kind kind;
	uint8_t prefix[LINK_PREFIX_LEN];
	struct server_pins pins;
};

/* 0 or -ENOMEM, -EIO. Contexts are immutable: after a rotation, or when pins have moved, make another one. */
int link_tls_server(const struct server_keys *k, struct tls_ctx **ret_ctx);
int link_tls_agent(const struct identity *self, const struct link_expect *expect,
		   struct tls_ctx **ret_ctx);

/* Once the handshake is done. */
struct link_peer {
	struct identity_hash id; /* server side: of the agent's key; agent side: of the server's root */
	bool successor; /* agent side: it was the pinned successor; the pins have to move */
};
/* -EPROTO: the peer did not ask for, or answer with, LINK_ALPN: whatever it is, it is none of us. */
int link_tls_peer(SSL *ssl, struct link_peer *ret_p);
/* A value that only the two ends of this session can know, with an empty context. 0 or -EIO. */
int link_tls_exporter(SSL *ssl, const char *label, uint8_t out[static LINK_EXPORTER_LEN]);
/* After a failed handshake, agent side: it failed because of the key that the server showed. */
bool link_tls_foreign(SSL *ssl);
/* Why the handshake of ssl failed, in words for an administrator: another root key was shown (and which), no certificate …;
 * otherwise tls_failure_text(). */
const char *link_tls_why(SSL *ssl, char *buf, size_t n);
