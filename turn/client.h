/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TURN client (RFC 8656, and servers of RFC 5766) without I/O: it makes an allocation, keeps it, its
 * permissions and its channels alive, and carries data. The caller sends what it is told to send, feeds
 * what arrives, and runs the timers. Sockets for it are in turn/client_link.h.
 *
 * Authentication is the long-term mechanism; with a server that announces password algorithms it uses
 * SHA-256, with others MD5/SHA-1. A 438 is answered by one more try with the new nonce. Every failure
 * comes as a struct turn_failure: what was asked, the server's code and words, and a sentence for people.
 */
#pragma once
#include "common/timers.h"
#include "stun/transaction.h"

struct turn_client;

enum turn_failure_kind { TURN_FAIL_TIMEOUT, TURN_FAIL_REFUSED, TURN_FAIL_PROTOCOL, TURN_FAIL_LOCAL };
struct turn_failure {
	enum turn_failure_kind kind;
	enum stun_method method; /* what was asked */
	struct addr peer;	 /* of a permission or channel; AF_UNSPEC else */
	unsigned code;		 /* of the server's refusal; 0 else */
	char reason[128];	 /* the server's words, cleaned of control characters */
	struct addr alternate;	 /* 300 Try Alternate; AF_UNSPEC else */
};
/* "the server refused Allocate: 401 Unauthorized - wrong user name or password", for a person. */
const char *turn_failure_text(const struct turn_failure *f, char *buf, size_t n);

struct turn_client_ops {
	void (*send)(const void *p, size_t n, void *arg); /* one message or padded frame towards the server */
	void (*on_allocated)(struct turn_client *c, void *arg);
	void (*on_permitted)(struct turn_client *c, const struct addr *peer, void *arg);
	void (*on_bound)(struct turn_client *c, const struct addr *peer, uint16_t channel, void *arg);
	void (*on_data)(struct turn_client *c, const struct addr *peer, const uint8_t *p, size_t n,
			bool by_channel, void *arg);
	/* A request failed. When it was Allocate, or a Refresh, or the code is 437, the allocation is gone. */
	void (*on_failed)(struct turn_client *c, const struct turn_failure *f, void *arg);
	void (*on_released)(struct turn_client *c, void *arg); /* after turn_client_release; may be NULL */
};

struct turn_client_options {
	struct timers *timers;
	uint64_t (*now)(void *arg); /* ms on the timers' clock */
	const char *user, *password;
	bool stream;	    /* reliable transport: no repeats, frames are padded */
	bool no_sha256;	    /* behave like an RFC 5766 client */
	sa_family_t family; /* of the relay address; AF_UNSPEC: the server's default */
	uint32_t lifetime_s; /* asked for; 0: the server's default */
	const struct turn_client_ops *ops;
	void *arg;
};

int turn_client_new(const struct turn_client_options *o, struct turn_client **ret_c);
struct turn_client *turn_client_free(struct turn_client *c); /* says nothing to the server */
DEFINE_CLEANUP(struct turn_client, turn_client_free)

int turn_client_allocate(struct turn_client *c);
void turn_client_release(struct turn_client *c); /* Refresh with lifetime 0 */
int turn_client_permit(struct turn_client *c, const struct addr *peer);
int turn_client_bind(struct turn_client *c, const struct addr *peer); /* implies a permission */
/* By channel if one is bound to the peer, else as a Send indication. 0, -ENOTCONN, -EMSGSIZE. */
int turn_client_send(struct turn_client *c, const struct addr *peer, const void *p, size_t n);
void turn_client_input(struct turn_client *c, uint8_t *p, size_t n); /* one datagram or frame without padding */

bool turn_client_is_allocated(const struct turn_client *c);
const struct addr *turn_client_relayed(const struct turn_client *c);
const struct addr *turn_client_mapped(const struct turn_client *c);
uint32_t turn_client_lifetime_s(const struct turn_client *c); /* as granted last */
const char *turn_client_realm(const struct turn_client *c);   /* "" before the first challenge */
bool turn_client_uses_sha256(const struct turn_client *c);
uint16_t turn_client_channel(const struct turn_client *c, const struct addr *peer); /* 0: none */
