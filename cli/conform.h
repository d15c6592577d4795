/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance checks are written with. A check is a row (id, clause, what is expected, what it
 * needs) and a function that holds a conversation with the server; the functions live in conform_AREA.c,
 * one table each. Nothing here knows which server is at the other end.
 *
 * A conversation latches: the first thing that is not as expected makes the check fail, with its
 * sentence, and all steps after it do nothing, so a check reads straight on without looking back. Steps
 * block, with a deadline; whatever a check opened is released and closed when it ends. Messages are built
 * with stun/ and, where a check wants them wrong, patched as bytes before they are sent.
 */
#pragma once
#include "common/loop.h"
#include "stun/auth.h"
#include "turn/client_link.h"

enum conform_flag {
	ADVISORY = 1 << 0, /* a SHOULD, a later RFC's wish, or a clause that can be read in two ways */
	/* What a row needs; a run finds out what there is, and skips the row without it. */
	NEED_DATAGRAM = 1 << 1,
	NEED_STREAM = 1 << 2,
	NEED_PLAIN_TCP = 1 << 3, /* the check opens TCP connections of its own */
	NEED_RELAY = 1 << 4,	 /* the credential gets an allocation */
	NEED_AUTH = 1 << 5,
	NEED_PEER = 1 << 6,
	NEED_SOCKET = 1 << 7, /* peers that are sockets of this machine */
	NEED_V6 = 1 << 8,
	NEED_DUAL = 1 << 9,
	NEED_RESERVATION = 1 << 10,
	NEED_DF = 1 << 11,
	NEED_SHA256 = 1 << 12,
	NEED_USERHASH = 1 << 13,
	NEED_OTHER_USER = 1 << 14,
	NEED_TCP_RELAY = 1 << 15,
	NEED_MOBILITY = 1 << 16,
	NEED_DISCOVERY = 1 << 17, /* RFC 5780 */
	NEED_NO_DISCOVERY = 1 << 18,
	NEED_EXHAUST = 1 << 19,
	NEED_STRICT = 1 << 20, /* not a server on loopback that allows loopback peers: a test bed */
	NEED_V4_ONLY_RELAY = 1 << 21,
	NEED_STRICT6 = 1 << 22, /* the same for ::1 */
};

struct talk;
struct check_row {
	const char *id, *clause, *expect;
	unsigned flags;
	void (*run)(struct talk *t);
	const char *arg; /* what tells rows of one function apart: a peer, a number */
};
struct check_area {
	const char *name;
	const struct check_row *rows;
	size_t n;
};
extern const struct check_area conform_binding, conform_auth, conform_algorithms, conform_allocate, conform_refresh,
	conform_permission, conform_safety, conform_channel, conform_data, conform_stream, conform_tcp, conform_bad;

/* ---- what a run is given, and what it finds out ---- */

struct conform_options {
	enum turn_proto proto;
	struct addr server;
	const char *server_name, *ca_file;
	bool verify, exhaust;
	const char *user, *password;
	const char *other_user, *other_password; /* or NULL */
	struct addr peer;			  /* AF_UNSPEC: the address of the route to the server */
};
struct conform_server {
	unsigned have;	     /* enum conform_flag */
	uint64_t quiet_ms;   /* after so long without a word, silence is an answer */
	bool socket_peers;
	char software[128];
	char trouble[256]; /* why there is no relaying, "" if there is */
};
/* Tries the transport once: 0, or -errno after a sentence in why. */
int conform_explore(const struct conform_options *o, struct conform_server *ret_s, char *why, size_t why_n);

enum conform_verdict { CONFORM_PASSED, CONFORM_FAILED, CONFORM_SKIPPED };
struct conform_result {
	enum conform_verdict verdict;
	char note[256]; /* what went wrong, or why it was skipped */
	double ms;
};
void conform_run(const struct conform_options *o, const struct conform_server *s, const struct check_row *row,
		 struct conform_result *ret);

/* ---- a conversation: conform_wire.c has its machinery ---- */

enum { MAX_CLIENTS = 4, MAX_PEERS = 2, OUT_MAX = 65536, INBOX = 128, REQUESTED_UDP = 17, REQUESTED_TCP = 6 };

struct inbox { /* whole messages, oldest first */
	struct heard {
		uint8_t *p;
		size_t n;
		struct addr from; /* of a peer's datagram */
	} v[INBOX];
	unsigned n;
};

/* What the next request says of its sender; a check changes what it wants to be wrong. */
struct login {
	char user[1200], password[320], realm[1200], nonce[1200];
	uint8_t algorithms[64]; /* PASSWORD-ALGORITHMS as the server sent it */
	size_t n_algorithms;
	bool known; /* the server has told realm and nonce */
	enum stun_algorithm algorithm;
	enum stun_mac mac;
	bool choose, hash;    /* send PASSWORD-ALGORITHM(S); USERHASH in place of USERNAME */
	bool no_user, no_realm, no_nonce;
};

struct client { /* one five-tuple */
	struct talk *t;
	struct turn_link *link;
	bool open, closed;
	struct inbox in;
	struct login login;
	struct stun_writer w; /* of the request being made, in out */
	uint8_t *out;
	size_t out_n; /* once finished */
	enum stun_method method;
	uint8_t tid[STUN_TID_LEN];
	struct stun_key *key; /* of the last signature */
	bool answered;
	struct stun_msg m;	      /* the last answer, in answer */
	struct heard answer, taken;   /* taken: what next_data() gave out */
	bool allocated;
	struct addr relayed, relayed6, mapped;
};

struct peer { /* a socket of our own, or an allocation of its own */
	struct talk *t;
	struct io io;
	struct inbox in;
	struct heard taken;
	struct addr at;
	struct client *relay; /* NULL: a socket */
};

struct talk {
	const struct conform_options *o; /* row is NULL while the server is explored */
	const struct conform_server *s;
	const struct check_row *row;
	struct loop *loop;
	struct timer timer;
	bool timed_out;
	enum conform_verdict verdict;
	char note[256];
	struct client clients[MAX_CLIENTS];
	unsigned n_clients;
	struct peer peers[MAX_PEERS];
	unsigned n_peers;
};

void fail(struct talk *t, const char *fmt, ...) _printf_(2, 3);
void skip(struct talk *t, const char *why);
int talk_begin(struct talk *t, const struct conform_options *o, const struct conform_server *s);
void talk_end(struct talk *t); /* releases, closes, frees */
/* Waits for one more message to any end of the talk. False: none came before the deadline (clock_ms). */
bool talk_wait(struct talk *t, uint64_t deadline_ms);
bool inbox_put(struct talk *t, struct inbox *in, const void *p, size_t n, const struct addr *from);
void inbox_take(struct inbox *in, unsigned i, struct heard *ret_h); /* frees what was in *ret_h */
void want(struct talk *t, bool good, const char *otherwise);
bool going_on(const struct talk *t); /* nothing failed and nothing was skipped so far */

/* A connected client; never NULL. */
struct client *client_open(struct talk *t);
void client_close(struct client *c);

/* A request: begin, attributes through the writer, sign if wanted, ask. */
struct stun_writer *begin(struct client *c, enum stun_method m);
struct stun_writer *begin_class(struct client *c, enum stun_method m, enum stun_class class);
void put_transport(struct client *c, unsigned protocol);
void put_first_byte(struct client *c, enum stun_attr a, unsigned v); /* v, 0, 0, 0 */
void put_channel(struct client *c, unsigned number);
void put_login(struct client *c); /* USERNAME, REALM, NONCE; asks the server for the last two if need be */
void put_mac(struct client *c);
void sign(struct client *c); /* both; nothing with a server that asks for no credentials */
void challenge(struct client *c); /* realm and nonce, by a request without credentials */
void learn(struct client *c);	/* realm and nonce of the last answer, a 401 or 438 */
void finish(struct client *c);	  /* out and out_n are the message now */
/* Sends and waits for the answer, with repeats on datagrams. */
void ask(struct client *c);
void await(struct client *c); /* waits without sending */
bool ask_once(struct client *c);	 /* one try; silence is no fault. True: answered */
bool listen_for_answer(struct client *c); /* the same without sending */
void tell(struct client *c);		 /* finishes and sends, waits for nothing */
void send_bytes(struct client *c, const void *p, size_t n);

void want_success(struct client *c);
void want_error(struct client *c, unsigned code);
void want_either(struct client *c, unsigned code, unsigned other);
void want_any_error(struct client *c);
void want_silence(struct client *c); /* after ask_once() or tell(): nothing came */
void want_unknown(struct client *c, uint16_t type);
void want_signed(struct client *c);  /* the answer carries integrity by the key of the request */
void want_no_success(struct client *c); /* refused, or silence */
void want_still(struct client *c);   /* this five-tuple gets its Binding answered */
void want_alive(struct talk *t);     /* a new one does */
unsigned error_code(const struct client *c); /* of the last answer; 0: it is none */
uint32_t lifetime_of(struct client *c);      /* of the last answer; fails the check if there is none */

/* Whole steps; each fails the check if it is refused. */
void allocate(struct client *c);
void allocate_v6(struct client *c);
struct client *client_allocated(struct talk *t);
void release(struct client *c);
void permit(struct client *c, const struct addr *peer);
void try_permit(struct client *c, const struct addr *peer); /* asks; the check judges */
void bind_channel(struct client *c, unsigned number, const struct addr *peer);
void try_bind_channel(struct client *c, unsigned number, const struct addr *peer);
void send_indication(struct client *c, const struct addr *peer, const void *p, size_t n);
void send_channel(struct client *c, unsigned number, const void *p, size_t n); /* padded where the transport wants it */

/* Data from the server, oldest first. */
struct data_in {
	bool by_channel;
	uint16_t channel;
	struct addr peer;
	const uint8_t *p;
	size_t n;
	struct stun_msg m; /* of an indication */
};
bool next_data(struct client *c, struct data_in *ret_d); /* waits; false: nothing came */
void want_data(struct client *c, const struct peer *from, const void *p, size_t n);
void want_channel_data(struct client *c, unsigned number, const void *p, size_t n);
void want_no_data(struct client *c);

/* A peer that can be permitted, for this client's allocation; never NULL. */
struct peer *peer_open(struct client *c);
void conform_peer_send(struct peer *p, const struct client *to, const void *data, size_t n);
void want_at_peer(struct peer *p, const struct client *from, const void *data, size_t n);
void want_nothing_at_peer(struct peer *p);
