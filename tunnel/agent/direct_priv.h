/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the supervisor's end of direct links; nobody else includes it.
 *
 *   direct.c         life, configuration, the child
 *   direct_links.c   links: called, answered, spoken on, ended; relays
 *   direct_visits.c  visits: their listeners, and the links that they want
 *   direct_visit_store.c  visits made while the agent runs: store and verbs
 *   direct_peers.c   who is known; offers from and to them
 *   direct_contact.c first contact with those who are not
 *   direct_admit.c   what visitors reach
 *   direct_shares.c  what is shared from here, and its guests
 *   direct_guests.c  being a guest of others' shares
 *   direct_turn.c    TURN servers, configured and given
 *   direct_memory.c  what the child has learned of this network, between two runs
 *   direct_verbs.c   verbs and tables
 */
#pragma once
#include "common/dns.h"
#include "tunnel/agent/child.h"
#include "tunnel/agent/direct.h"
#include "tunnel/direct/offer.h"
#include "tunnel/direct/pairing.h"

enum {
	DIRECT_LINKS_MAX = 256,
	DIRECT_LINKS_PER_PEER = 8,
	DIRECT_ADMITS_MAX = 256,
	DIRECT_SEEN_MAX = 4096, /* calls of this epoch, so that none is answered twice */
	DIRECT_VISITS_MAX = 1024,
	DIRECT_WHY = 256,
	DIRECT_TURN_MAX = AGENT_TURN_MAX,
};

struct direct_words { /* how much somebody may say: each word costs a signature check */
	uint64_t at; /* loop time up to which what is left was counted */
	unsigned left;
};

struct direct_peer { /* somebody who is known */
	struct list node;
	struct identity_hash id;
	char name[WIRE_NAME_MAX + 1];
	bool visitor, host; /* may come here; may be visited */
	bool of_file; /* some of it */
	bool less;    /* it reaches less than before: what it has open ends */
	unsigned guest; /* of so many shares of ours, or its shares that we are guests of */
	struct cfg_list allow; /* struct reach, owned: what it reaches here */
	bool has_epoch;
	uint8_t epoch[OFFER_EPOCH]; /* its, as it told last */
	struct direct_words words;
};

enum dlink_stage { DLINK_GATHERING, DLINK_CALLING, DLINK_TALKING };
struct dlink {
	struct list node;
	struct direct *d;
	uint32_t id;
	uint8_t role; /* enum child_role */
	enum dlink_stage stage;
	struct identity_hash peer;
	char name[WIRE_NAME_MAX + 1];
	struct agent_end *end; /* the server through which it speaks */
	uint8_t call[OFFER_CALL], dcid[CHILD_DCID];
	uint32_t sent, heard; /* numbers of offers */
	struct dlink_told {
		uint32_t generation, candidates; /* of that generation */
	} own, theirs; /* by our child; by the peer */
	uint64_t head_start_ms;
	unsigned refs; /* visits and others that want it; a visitor's link without any ends soon */
	struct timer timer; /* no answer; nobody wants it */
	bool relay_asked;
	struct relay_end *relay;
	int64_t begun;
	struct { /* as the child told */
		uint8_t state, path;
		struct addr local, remote;
		uint32_t rtt_us, loss_ppm, streams, moves, gap_max_us;
		uint64_t rate[2], bytes[2], since;
		char reason[512], pair[512];
		uint16_t local_candidates, remote_candidates;
		bool trying;
		json_t *more; /* paths, gaps, ICE: as it came, for people */
	} told;
};

enum visit_origin { VISIT_OF_REQUEST, VISIT_OF_FILE, VISIT_OF_STORE }; /* the first: of stile connect or stile get */
struct dvisit {
	struct list node;
	struct direct *d;
	uint32_t number;
	struct cfg *cfg; /* owned; of the one below, unless it is of the file */
	struct visit_config *c; /* owned copy or in cfg */
	char name[VISIT_NAME_STRLEN];
	enum visit_origin origin;
	bool mark;
	int fd; /* listens; -1: it cannot, see why */
	struct addr at;
	struct dlink *link;
	struct timer retry;
	unsigned tries;
	struct control_request *request; /* of stile connect: it goes when that goes */
	struct dguest *guest;		 /* of stile get: the same; NULL: none */
	char why[DIRECT_WHY];		 /* why there is no link, or it does not listen */
	uint64_t opened, refused;
	uint64_t connections; /* now */
};

struct dping {
	struct list node;
	struct direct *d;
	struct control_request *request;
	struct dlink *link;
	uint64_t cookie, sent_at;
	struct timer deadline;
	bool sent;
};

struct share_target {
	char host[256];
	uint16_t port;
	bool local; /* the share's own server, on this host: no list of addresses counts */
};
struct dadmit {
	struct list node;
	struct direct *d;
	uint64_t request;
	uint32_t link;
	struct dns_query *query;
	char host[256];
	uint16_t port;
	bool of_share;
	struct share_target share;
};

struct direct {
	struct agent_service *as;
	const struct agent_root *conf; /* of the last direct_configure(): a reload makes it the service's only afterwards */
	struct loop *loop;
	struct child *child;
	struct dns *dns;
	bool enabled;
	struct list peers, links, visits, pings, admits, contacts, invites, shares, guests;
	struct stored *stored, *kept; /* peers and visits of the store */
	struct direct_words strangers; /* of all of them */
	uint32_t last_contact, last_guest;
	unsigned n_shares;
	unsigned n_links, n_visits, n_admits;
	uint32_t last_link, last_visit;
	uint64_t last_cookie;
	uint8_t epoch[OFFER_EPOCH];
	uint8_t seen[DIRECT_SEEN_MAX][OFFER_CALL];
	unsigned n_seen;
	json_t *site; /* what the child knows of this network, for people; NULL: nothing yet */
	uint8_t *memory; /* of the child */
	size_t memory_n;
	struct direct_stun {
		struct direct *d;
		struct dns_query *query;
		char address[ADDR_STRLEN]; /* "": not known */
	} stun[CHILD_SERVERS_MAX];
	struct direct_turn { /* host "": none */
		struct direct *d;
		struct agent_end *end; /* that gave it; NULL: of the file */
		struct dns_query *query;
		char host[256], address[ADDR_STRLEN]; /* "": not known yet */
		uint16_t port;
		bool tcp;
		char user[513], password[257];
	} turn[DIRECT_TURN_MAX];
	struct timer turn_timer, names;
	uint64_t names_ms; /* until names are asked for again */
	struct log_gate gate;
};

/* direct.c */
void direct_setup_child(struct direct *d);
void direct_want_child(struct direct *d);
int direct_tell(struct direct *d, unsigned type, const void *msg, int fd);
/* The child is told, if it is another one than before; an answer that is none leaves what was known. */
void direct_name_found(struct direct *d, const struct dns_answer *a, char address[static ADDR_STRLEN]);

/* direct_memory.c */
void direct_memory_load(struct direct *d);
void direct_memory_keep(struct direct *d, const struct wire_bytes *m);

/* direct_turn.c */
void direct_turn_configure(struct direct *d, const struct agent_config *c);
void direct_turn_ask(struct direct *d, struct agent_end *e); /* NULL: all servers */
void direct_turn_given(struct direct *d, struct agent_end *e, const struct wire_turn *m);
void direct_turn_tell(struct direct *d); /* the child, of all of them */
bool direct_turn_find(struct direct *d); /* asks for their addresses; true: all are known */
const char *direct_turn_stun(const struct direct *d, unsigned i); /* the i-th as a STUN server; NULL: it is none */
void direct_turn_free(struct direct *d);

/* direct_peers.c */
struct direct_peer *peer_find(struct direct *d, const struct identity_hash *id);
struct direct_peer *peer_named(struct direct *d, const char *name); /* NULL also if two are called so */
struct direct_peer *peer_add(struct direct *d, const struct identity_hash *id, const char *name);
void peers_free(struct direct *d);
int peers_open(struct direct *d); /* the store */
struct peer_values {
	const struct identity_hash *id;
	const char *name;
	bool visitor, host;	/* added to what is there */
	const json_t *allow; /* of a visitor */
};
/* Ends the request, now or later. False: the values cannot be, and it is ended. */
bool peer_store(struct direct *d, struct control_request *rq, const struct peer_values *v);
void peer_keep(struct direct *d, const struct identity_hash *id, const char *name, bool visitor, const json_t *allow);
/* One share less; it is not known any more if that was all. */
void peer_guest_gone(struct direct *d, const struct identity_hash *id);
void peer_reaches_less(struct direct *d, const struct identity_hash *id);
void peer_forget(struct direct *d, struct control_request *rq, const char *word);
bool peer_allow_good(const json_t *allow, char *err, size_t err_n);
int peers_configure(struct direct *d, const struct agent_config *c);
void peers_reach_less(struct direct *d); /* all of them, from the next peers_configure() on */
/* One word more, if there is one: it is charged. One every_ms is gained, up to burst. */
bool direct_may_speak(struct direct_words *w, uint64_t now, unsigned burst, unsigned every_ms);
void direct_on_signal(struct direct *d, struct agent_end *e, const struct wire_signal *m);
/* The same for anybody: to is set; zeros: whoever is called so. name may be empty. */
int direct_say(struct agent_end *e, struct offer *o, const char *name, uint64_t tag);
/* For whoever has the share. */
int direct_say_share(struct agent_end *e, struct offer *o, uint64_t share, uint64_t tag);
/* Signs and sends. from, key and to are filled in by the link, number too. 0 or -errno. */
int dlink_say(struct dlink *l, struct offer *o);
/* A word to somebody with whom there is no link: no, and why. */
void direct_refuse(struct direct *d, struct agent_end *e, const struct offer *o, enum wire_reason reason, const char *text);

/* direct_contact.c */
struct dcontact;
void contacts_free(struct direct *d);
void contacts_add_verbs(struct direct *d);
json_t *contact_json(const struct dcontact *c);
json_t *contacts_json(struct direct *d);
bool contact_may_knock(struct direct *d); /* a word of a stranger is listened to: charged */
bool contact_heard(struct direct *d, struct agent_end *e, const struct offer *o, struct text name); /* false: it is no word of one */
void contact_lost(struct direct *d, const struct wire_signal_lost *m);

/* direct_links.c */
struct agent_end *direct_some_server(struct direct *d); /* one that passes on what agents say; NULL: none is connected */
struct dlink *dlink_find(struct direct *d, uint32_t id);
struct dlink *dlink_of_call(struct direct *d, const struct identity_hash *peer, const uint8_t *call);
/* The one to this peer that is there or is being made, or a new one; NULL: *ret_why. refs is one more. */
struct dlink *dlink_to(struct direct *d, const struct direct_peer *p, uint64_t head_start_ms, const char **ret_why);
void dlink_release(struct dlink *l); /* one ref less */
void dlink_end(struct dlink *l, enum wire_reason reason, const char *text, bool tell_peer); /* frees it */
void dlink_on_offer(struct direct *d, struct agent_end *e, struct direct_peer *p, const struct offer *o);
void dlink_on_word(struct dlink *l, const struct offer *o);
void dlink_on_lost(struct direct *d, struct agent_end *e, const struct wire_signal_lost *m);
void dlink_on_relay(struct direct *d, struct agent_end *e, const struct wire_relay *m);
void dlink_on_ice(struct dlink *l, const struct child_ice *m);
void dlink_on_state(struct dlink *l, const struct child_link_state_msg *m);
void dlinks_tell(struct direct *d, const struct agent_end *e); /* the server is back: of the links that speak through it */
void dlinks_server_down(struct direct *d, const struct agent_end *e);
void dlink_on_show(struct dlink *l, json_t *more); /* taken over */
void dlink_want_carrier(struct dlink *l);
void dlink_announce(struct dlink *l); /* LINK-OPEN, to a child that has just begun */
void dlinks_of_dead_child(struct direct *d, const char *why);

/* direct_visits.c */
int visits_configure(struct direct *d, const struct agent_config *c);
void visits_free(struct direct *d);
void visits_link_over(struct direct *d, struct dlink *l, enum wire_reason reason, const char *why); /* l is still there */
void visits_try(struct direct *d, struct agent_end *e); /* a server is there again */
void visits_peers_changed(struct direct *d);
struct dvisit *visit_numbered(struct direct *d, uint32_t number);
/* Of stile connect. */
int visit_add(struct direct *d, struct cfg *cfg, struct control_request *rq, struct dvisit **ret_v, char *err, size_t err_n);
void visit_remove(struct dvisit *v);
void visit_try(struct dvisit *v); /* now, whatever was to be waited for */
void visit_news(struct dvisit *v); /* progress for whoever waits at stile connect */
void visits_link_news(struct dlink *l);
json_t *visits_json(struct direct *d); /* interrupted ones, too */
bool visit_is_of_file(const struct agent_config *c, const char *name);

/* direct_visit_store.c */
int visits_open(struct direct *d); /* the store */
void visits_add_verbs(struct direct *d);

/* direct_admit.c */
void direct_on_admit(struct direct *d, struct dlink *l, const struct child_admit *m);
void admits_free(struct direct *d);
void direct_on_stream(struct direct *d, struct dlink *l, const struct child_stream_msg *m);

/* direct_shares.c */
#define DIRECT_SHARE_PREFIX "share-" /* of a visitor's target: "share-0123456789abcdef" */
bool shares_knocked(struct direct *d, struct agent_end *e, const struct offer *o, struct text name); /* false: it is no word of one */
bool shares_reach(struct direct *d, const struct identity_hash *peer, struct text host, struct share_target *ret_t);
bool shares_target(struct direct *d, uint64_t id, struct share_target *ret_t); /* of a gateway's connection */
bool shares_any(const struct direct *d);
void shares_server_up(struct direct *d, struct agent_end *e);
void shares_server_down(struct direct *d);
void shares_state(struct direct *d, struct agent_end *e, const struct wire_share_state *m);
/* Of a verb's words share and knock; a sentence if they are not good. */
const char *share_read_words(const json_t *args, uint64_t *ret_id, uint8_t ret_knock[static PAIRING_SHARE_KEY]);
void shares_free(struct direct *d);
void shares_add_verbs(struct direct *d);

/* direct_guests.c */
struct dguest;
bool guests_heard(struct direct *d, const struct offer *o, struct text name);
void guests_lost(struct direct *d, const struct wire_signal_lost *m);
void guests_try(struct direct *d);
void guest_link_over(struct dguest *g, enum wire_reason reason);
void guest_news(struct dguest *g);
void guest_end(struct dguest *g, const char *why); /* frees it */
void guests_free(struct direct *d);
void guests_add_verbs(struct direct *d);

/* direct_verbs.c */
json_t *dlink_json(const struct dlink *l);
const char *dlink_state(const struct dlink *l);
void ping_link_news(struct dlink *l); /* it is up */
void pings_link_over(struct direct *d, struct dlink *l, enum wire_reason reason, const char *why);
void direct_on_pong(struct direct *d, const struct child_ping *m);
void pings_free(struct direct *d);
