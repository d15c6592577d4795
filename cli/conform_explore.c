/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server can do, found out before the checks: how fast it answers, whether it asks for
 * credentials, what it relays, where peers may be. A row that needs what is not there is skipped with
 * the sentence that stands here. Each question is a conversation of its own, so that a refusal to one
 * says nothing about the next.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/conform.h"
#include "common/clock.h"

enum { QUIET_LEAST_MS = 120, QUIET_MOST_MS = 1500 };

static const struct {
	unsigned flag;
	const char *otherwise;
} needs[] = {
	/* clang-format off */
	{ NEED_DATAGRAM,      "only for datagrams" },
	{ NEED_STREAM,        "only for streams" },
	{ NEED_PLAIN_TCP,     "only for plain TCP" },
	{ NEED_AUTH,          "the server asks for no credentials" },
	{ NEED_RELAY,         "there is no allocation to try it with" },
	{ NEED_PEER,          "no peer is allowed: neither this machine nor another relayed address (see --peer)" },
	{ NEED_SOCKET,        "the server does not allow this machine as a peer" },
	{ NEED_V6,            "the server relays no IPv6" },
	{ NEED_V4_ONLY_RELAY, "the server relays IPv6" },
	{ NEED_DUAL,          "the server gives no two relayed addresses at once" },
	{ NEED_RESERVATION,   "the server reserves no ports" },
	{ NEED_DF,            "the server answers DONT-FRAGMENT with 420, which is allowed" },
	{ NEED_SHA256,        "the server announces no password algorithms" },
	{ NEED_USERHASH,      "the server announces no username anonymity" },
	{ NEED_OTHER_USER,    "no second user is known (--other-user, --other-password or --shared-secret)" },
	{ NEED_TCP_RELAY,     "the server gives no TCP allocations" },
	{ NEED_MOBILITY,      "the server gives no mobility tickets" },
	{ NEED_DISCOVERY,     "the server announces no OTHER-ADDRESS" },
	{ NEED_NO_DISCOVERY,  "the server announces OTHER-ADDRESS" },
	{ NEED_EXHAUST,       "only with --exhaust" },
	{ NEED_STRICT,        "a test bed: a server on loopback that allows loopback peers" },
	{ NEED_STRICT6,       "a test bed: a server on loopback that allows loopback peers" },
	/* clang-format on */
};

static const char *missing(const struct check_row *row, unsigned have)
{
	for (size_t i = 0; i < ARRAY_LEN(needs); i++)
		if (row->flags & needs[i].flag & ~have)
			return needs[i].otherwise;
	return NULL;
}

void conform_run(const struct conform_options *o, const struct conform_server *s, const struct check_row *row,
		 struct conform_result *ret)
{
	const char *not_there = missing(row, s->have);
	uint64_t started = clock_steady_ms();
	struct talk t;

	*ret = (struct conform_result){ 0 };
	if (not_there) {
		ret->verdict = CONFORM_SKIPPED;
		snprintf(ret->note, sizeof ret->note, "%s", not_there);
		return;
	}
	if (talk_begin(&t, o, s) < 0) {
		ret->verdict = CONFORM_FAILED;
		snprintf(ret->note, sizeof ret->note, "out of memory");
		return;
	}
	t.row = row;
	row->run(&t);
	ret->verdict = t.verdict;
	memcpy(ret->note, t.note, sizeof ret->note);
	talk_end(&t);
	ret->ms = (double)(clock_steady_ms() - started);
}

/* ---- questions ---- */

static void ask_binding(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);
	uint64_t started = clock_steady_ms();
	struct text software;

	begin(c, STUN_BINDING);
	ask(c);
	s->quiet_ms = MIN(MAX(6 * (clock_steady_ms() - started), QUIET_LEAST_MS), QUIET_MOST_MS);
	want_success(c);
	if (!going_on(t))
		return;
	if (stun_get_text(&c->m, STUN_A_SOFTWARE, &software) == 0)
		snprintf(s->software, sizeof s->software, "%.*s", TEXT_FMT(software));
	s->have |= stun_has(&c->m, STUN_A_OTHER_ADDRESS) ? NEED_DISCOVERY : NEED_NO_DISCOVERY;
}

static void ask_auth(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);
	uint32_t bits;

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	ask(c);
	if (error_code(c) != 401)
		return;
	s->have |= NEED_AUTH;
	challenge(c);
	bits = stun_nonce_features(text_of(c->login.nonce));
	if (c->login.n_algorithms && (bits & STUN_FEATURE_PASSWORD_ALGORITHMS))
		s->have |= NEED_SHA256;
	if (bits & STUN_FEATURE_USERNAME_ANONYMITY)
		s->have |= NEED_USERHASH;
}

static void ask_relay(struct talk *t, struct conform_server *s)
{
	client_allocated(t);
	if (going_on(t))
		s->have |= NEED_RELAY;
	else
		memcpy(s->trouble, t->note, sizeof s->trouble);
}

/* A socket of this machine as the peer: it is one only if a datagram arrives. */
static void ask_socket(struct talk *t, struct conform_server *s)
{
	s->socket_peers = true;
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	permit(c, &p->at);
	for (int i = 0; i < 3 && going_on(t) && p->in.n == 0; i++) {
		send_indication(c, &p->at, "hello", 5);
		(void)talk_wait(t, clock_steady_ms() + s->quiet_ms);
	}
	s->socket_peers = going_on(t) && p->in.n > 0;
	if (s->socket_peers)
		s->have |= NEED_PEER | NEED_SOCKET;
}

static void ask_relayed_peer(struct talk *t, struct conform_server *s)
{
	if (s->have & NEED_PEER)
		return;
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	permit(c, &p->at);
	send_indication(c, &p->at, "hello", 5);
	want_at_peer(p, c, "hello", 5);
	if (going_on(t))
		s->have |= NEED_PEER;
}

static void ask_v6(struct talk *t, struct conform_server *s)
{
	allocate_v6(client_open(t));
	s->have |= going_on(t) ? NEED_V6 : NEED_V4_ONLY_RELAY;
}

static void ask_dual(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	put_first_byte(c, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2);
	sign(c);
	ask(c);
	if (addr_family(&c->relayed) == AF_INET && addr_family(&c->relayed6) == AF_INET6)
		s->have |= NEED_DUAL;
}

static void ask_reservation(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	stun_put(&c->w, STUN_A_EVEN_PORT, "\x80", 1);
	sign(c);
	ask(c);
	want_success(c);
	if (going_on(t) && stun_has(&c->m, STUN_A_RESERVATION_TOKEN))
		s->have |= NEED_RESERVATION;
}

static void ask_dont_fragment(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	stun_put_flag(&c->w, STUN_A_DONT_FRAGMENT);
	sign(c);
	ask(c);
	if (error_code(c) != 420)
		s->have |= NEED_DF;
}

static void ask_tcp_relay(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);

	if (!(s->have & NEED_STREAM))
		return;
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_TCP);
	sign(c);
	ask(c);
	if (going_on(t) && c->m.class == STUN_SUCCESS)
		s->have |= NEED_TCP_RELAY;
}

static void ask_mobility(struct talk *t, struct conform_server *s)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	stun_put(&c->w, STUN_A_MOBILITY_TICKET, NULL, 0);
	sign(c);
	ask(c);
	if (going_on(t) && stun_has(&c->m, STUN_A_MOBILITY_TICKET))
		s->have |= NEED_MOBILITY;
}

static void ask_loopback(struct talk *t, struct conform_server *s)
{
	struct addr loopback = addr_v4(0x7f000035, 53);
	struct client *c = client_allocated(t);

	try_permit(c, &loopback);
	if (!going_on(t) || c->m.class != STUN_SUCCESS || addr_classify(&t->o->server) != ADDR_LOOPBACK)
		s->have |= NEED_STRICT;
}

static void ask_loopback_v6(struct talk *t, struct conform_server *s)
{
	struct addr loopback = addr_v6((const uint8_t *)&in6addr_loopback, 53);
	struct client *c = client_open(t);

	if (!(s->have & NEED_V6))
		return;
	allocate_v6(c);
	try_permit(c, &loopback);
	if (!going_on(t) || c->m.class != STUN_SUCCESS || addr_classify(&t->o->server) != ADDR_LOOPBACK)
		s->have |= NEED_STRICT6;
}

int conform_explore(const struct conform_options *o, struct conform_server *ret_s, char *why, size_t why_n)
{
	static void (*const questions[])(struct talk *, struct conform_server *) = {
		ask_auth, ask_relay, ask_socket, ask_relayed_peer, ask_v6, ask_dual, ask_reservation,
		ask_dont_fragment, ask_tcp_relay, ask_mobility, ask_loopback, ask_loopback_v6,
	};
	bool stream = o->proto == TURN_TCP || o->proto == TURN_TLS;
	struct conform_server s = { .have = stream ? NEED_STREAM : NEED_DATAGRAM, .quiet_ms = QUIET_MOST_MS };
	struct talk t;
	int r = talk_begin(&t, o, &s);

	if (r < 0)
		return r;
	if (o->proto == TURN_TCP)
		s.have |= NEED_PLAIN_TCP;
	if (o->other_user)
		s.have |= NEED_OTHER_USER;
	if (o->exhaust)
		s.have |= NEED_EXHAUST;
	ask_binding(&t, &s);
	r = going_on(&t) ? 0 : -ENOTCONN;
	snprintf(why, why_n, "%s", t.note);
	talk_end(&t);
	for (size_t i = 0; i < ARRAY_LEN(questions) && r == 0; i++) {
		if (i > 1 && !(s.have & NEED_RELAY))
			break;
		if ((r = talk_begin(&t, o, &s)) == 0) {
			questions[i](&t, &s);
			talk_end(&t);
		}
	}
	*ret_s = s;
	return r;
}
