/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for conversations with the TURN core on fake time: one server, clients on any transport, relay
 * sockets that only remember, peers that speak. Tests say who does what and what must come of it:
 *
 *   struct client alice = client_udp(&w, "192.0.2.1:4000", "alice");
 *   assert_int_equal(allocate(&alice), 0);
 *   assert_int_equal(permit(&alice, "9.9.9.9"), 0);
 *   send_to(&alice, "9.9.9.9:53", "hello");
 *   assert_peer_got(&w, "9.9.9.9:53", "hello");
 *
 * Every packet is handed over in a heap block of exactly its size; answers are checked for their
 * transaction and their signature. 0 is success, else the code of the error.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "turn/alloc.h"
#include "turn/discovery.h"

#define WORLD_REALM "example.org"
#define WORLD_UNIX_S                                                                               \
	UINT64_C(1800000000) /* what the wall clock says at first, and until it is set */
enum { WORLD_MAIL = 16, WORLD_QUEUE = 64, NO_ANSWER = 999 };

struct sent { /* what the server sent */
	struct addr from, to; /* from: the relay socket's or the listener's; to a client: to is the client's address */
	bool to_peer;
	struct dgram_mark mark;
	size_t n;
	uint8_t *data;
};

struct world {
	struct turn_config cfg; /* change it before world_start() or world_reload() */
	struct addr relay_addresses[4], external_addresses[4];
	struct turn_user_section users[4];
	struct turn_secret_section secrets[2];
	struct turn_realm_section realms[2]; /* with cfg.realms.n; empty at first */
	struct turn_minted minted;
	struct timers *timers;
	struct metrics *metrics;
	struct turn_totals *totals;
	struct turn_reservations *reservations;
	struct turn_discovery discovery; /* empty, unless the test finds one */
	struct stun_nonces nonces;
	struct turn_policy *policy;
	struct turn_server *server;
	uint64_t now;
	struct sent queue[WORLD_QUEUE]; /* oldest first */
	unsigned n_queue;
	struct list relays; /* open relay sockets */
	unsigned n_relays, n_held, n_closed_paths, opens;
	int open_error;	   /* what opening a socket fails with */
	struct list flows; /* connections of TCP allocations with their peers */
	unsigned n_flows, n_cut; /* n_cut: bound data connections that the server ended */
	int connect_error, bind_error; /* what they fail with */
	uint16_t foreign[8]; /* ports taken by other programs */
	/* Several workers: each is a world, and shares the totals of the first. */
	unsigned worker;
	struct world *first, *workers[4];
	struct turn_mail *mail[WORLD_MAIL];
	unsigned n_mail;
	const struct turn_offload_ops *offload; /* NULL: no fast path */
	bool paths_dead; /* whoever has asked is gone */
	bool lossy;	   /* nothing is queued */
	/* For the allocation-failure tests: the nth allocation within the next input fails. */
	unsigned fail_nth;
	bool failed; /* it did */
	void (*arm)(unsigned n);
	bool (*hit)(void);
};

void world_config(struct world *w); /* a usable configuration */
int world_try_start(struct world *w); /* 0 or -ENOMEM */
void world_start(struct world *w);
void world_reload(struct world *w);
void world_stop(struct world *w); /* and checks that nothing is left open */
void world_join(struct world *w, struct world *first, unsigned worker); /* another worker; stopped before the first */
bool world_mail(struct world *w); /* the oldest letter to this worker is delivered */
void world_clock(uint64_t unix_s);		     /* of all worlds; time passes without it */
void world_mints(struct world *w, const char *name); /* a credential of an hour in w->minted; and w takes such */
void world_wait(struct world *w, uint64_t ms); /* time passes, timers fire */
/* cmocka's fixtures: *state is a started world. */
int world_setup(void **state);
int world_teardown(void **state);
#define TALK(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int64_t counted(const struct world *w, enum turn_metric row, unsigned label);

struct client {
	struct world *w;
	struct turn_path path;
	const char *user, *password;
	enum stun_algorithm alg; /* STUN_ALG_SHA256: with MESSAGE-INTEGRITY-SHA256, as RFC 8489 clients do */
	bool userhash, fingerprint, unsigned_next;
	bool leaving; /* its listener was removed */
	char realm[128], nonce[STUN_NONCE_MAX + 1];
	uint32_t tids;
	uint8_t request[4096]; /* the last one, as sent */
	size_t request_n;
	uint8_t answer[4096];
	size_t answer_n;
	struct stun_msg m; /* of answer */
	struct stun_writer sw;
	struct addr relay, relay6, mapped; /* of the last Allocate */
	uint32_t lifetime;
	uint8_t token[8];
	bool has_token;
};
struct client client_udp(struct world *w, const char *address, const char *user);
struct client client_tcp(struct world *w, const char *address, const char *user);
struct client client_tls(struct world *w, const char *address, const char *user);

/* One request of its own making: begin, stun_put_…(&c->sw, …), ask. */
void begin(struct client *c, enum stun_method m);
unsigned ask(struct client *c);	   /* signs if the client has a nonce */
unsigned ask_again(struct client *c); /* the same bytes once more */
unsigned raw(struct client *c, const void *p, size_t n); /* any bytes; NO_ANSWER if none came */

unsigned handshake(struct client *c); /* gets realm and nonce through a 401 */
unsigned allocate(struct client *c);  /* with the handshake, if needed */
unsigned allocate_family(struct client *c, unsigned family);
unsigned allocate_both(struct client *c);		   /* IPv6 beside IPv4 */
unsigned read_allocation(struct client *c, unsigned code); /* relay, mapped, lifetime, token of the answer */
unsigned refresh(struct client *c, int64_t lifetime);	   /* -1: without LIFETIME */
unsigned refresh_family(struct client *c, unsigned family, uint32_t lifetime_s); /* 1: IPv4, 2: IPv6 */
unsigned permit(struct client *c, const char *peer);
unsigned bind_channel(struct client *c, unsigned number, const char *peer);
void send_to(struct client *c, const char *peer, const char *text);
void channel_data(struct client *c, unsigned number, const char *text);
void peer_says(struct world *w, const struct addr *relay, const char *peer, const char *text);
void peer_sends(struct world *w, const struct addr *relay, const char *peer, const struct turn_packet *pk);

void icmp_error(struct world *w, const struct addr *relay, const struct dgram_error *e); /* the network says so */

/* TCP allocations (turn_world_tcp.c). A Connect is answered when its peer has: late_answer(). */
unsigned allocate_tcp(struct client *c);
unsigned connect_to(struct client *c, const char *peer); /* NO_ANSWER: under way */
void peer_answers(struct client *c, const char *peer, int err); /* the connection stands, or errno */
unsigned late_answer(struct client *c); /* to the last request */
unsigned connected(struct client *c, const char *peer, uint32_t *ret_id); /* all of that */
bool peer_connects(struct world *w, const struct addr *relay, const char *peer); /* false: it was turned away */
void peer_hangs_up(struct world *w, const char *peer);
uint32_t attempted(struct client *c, const char *peer); /* the id of the ConnectionAttempt that came */
unsigned bind_connection(struct client *data, uint32_t id); /* with the handshake, if needed */
bool is_bound(struct world *w, const char *peer, const struct client *data);

struct addr address(const char *text);
bool take(struct world *w, struct sent *ret_s); /* the oldest thing sent; the caller frees data */
void assert_silence(struct world *w);
void assert_peer_got(struct world *w, const char *peer, const char *text);
void assert_client_got(struct client *c, const char *peer, const char *text);	   /* a Data indication */
void assert_channel_got(struct client *c, unsigned number, const char *text);	   /* ChannelData */
