/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of a birthday probe; see prober.h. Every message is authenticated before anything of it counts: a request by our
 * password, a response by the peer's.
 *
 * Timers: pace (one packet each 1/PROBER_PPS s: the next port, or the next socket; on the easy side also the choice, until it is
 * confirmed) and the end of the round.
 */
#include "tunnel/direct/prober.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "stun/auth.h"

enum { PACE_MS = (1000 + PROBER_PPS - 1) / PROBER_PPS, CHOICE_MS = 50, CHOICES = 20, NAME_MAX = 600 };

struct prober {
	struct prober_options o;
	char name[NAME_MAX], peer_name[NAME_MAX]; /* USERNAME of what we send, of what comes */
	struct stun_key *key, *peer_key;
	struct timer pace, end;
	uint8_t tid[2][STUN_TID_LEN]; /* of all our probes, of all our choices: the answer's address is what counts */
	unsigned sent;
	uint64_t last_hello; /* HARD: when the first socket of this turn sent */
	unsigned turn;	     /* HARD: the next socket */
	uint32_t at, step, left; /* EASY: a walk over the block that meets each port once */
	struct addr chosen;
	unsigned choices;
	bool finished;
};

/* ---- messages ---- */

static void say_request(struct prober *p, unsigned socket, const struct addr *to, bool choose)
{
	uint8_t buf[PROBER_MSG_MAX];
	struct stun_writer sw;
	ssize_t n;

	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, p->tid[choose]);
	stun_put_text(&sw, STUN_A_USERNAME, text_of(p->name));
	stun_put_u32(&sw, STUN_A_PRIORITY, 1);
	if (choose)
		stun_put_flag(&sw, STUN_A_USE_CANDIDATE);
	stun_put_integrity(&sw, p->peer_key);
	stun_put_fingerprint(&sw);
	if ((n = stun_end(&sw)) < 0)
		return;
	p->sent++;
	p->o.ops->send(socket, to, buf, (size_t)n, p->o.arg);
}

static void say_response(struct prober *p, unsigned socket, const struct addr *to, const struct stun_msg *request)
{
	uint8_t buf[PROBER_MSG_MAX];
	struct stun_writer sw;
	ssize_t n;

	stun_begin_response(&sw, buf, sizeof buf, request, STUN_SUCCESS);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, to);
	stun_put_integrity(&sw, p->key);
	stun_put_fingerprint(&sw);
	if ((n = stun_end(&sw)) < 0)
		return;
	p->sent++;
	p->o.ops->send(socket, to, buf, (size_t)n, p->o.arg);
}

/* ---- the end ---- */

static void finish(struct prober *p, enum prober_end e, unsigned socket, const struct addr *peer)
{
	if (p->finished)
		return;
	p->finished = true;
	timer_stop(&p->pace);
	timer_stop(&p->end);
	p->o.ops->done(e, socket, peer, p->o.arg);
}

static void on_round_over(struct timer *t, uint64_t now)
{
	(void)now;
	finish(container_of(t, struct prober, end), PROBER_GAVE_UP, 0, NULL);
}

/* ---- pace ---- */

/* A full-cycle walk: any step that shares no divisor with the length meets each port once. */
static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t r = a % b;
		a = b;
		b = r;
	}
	return a;
}

static void begin_walk(struct prober *p)
{
	uint32_t n = (uint32_t)(p->o.high - p->o.low) + 1;

	p->left = n;
	p->at = p->o.ops->random(p->o.arg) % n;
	do
		p->step = 1 + p->o.ops->random(p->o.arg) % n;
	while (gcd(p->step, n) != 1);
}

static void pace_easy(struct prober *p, uint64_t now)
{
	uint32_t n = (uint32_t)(p->o.high - p->o.low) + 1;
	struct addr to = p->o.peer;

	if (addr_family(&p->chosen) != AF_UNSPEC) {
		if (p->choices++ == CHOICES) {
			p->chosen = (struct addr){ 0 }; /* it does not answer any more: on with the walk */
			p->choices = 0;
		} else {
			say_request(p, 0, &p->chosen, true);
			timers_set(p->o.timers, &p->pace, now + CHOICE_MS);
			return;
		}
	}
	if (p->left == 0)
		begin_walk(p);
	p->left--;
	p->at = (p->at + p->step) % n;
	addr_set_port(&to, (uint16_t)(p->o.low + p->at));
	say_request(p, 0, &to, false);
	timers_set(p->o.timers, &p->pace, now + PACE_MS);
}

static void pace_hard(struct prober *p, uint64_t now)
{
	if (p->turn == 0)
		p->last_hello = now;
	say_request(p, p->turn, &p->o.peer, false);
	p->turn = (p->turn + 1) % PROBER_SOCKETS;
	timers_set(p->o.timers, &p->pace, p->turn ? now + PACE_MS : MAX(now + PACE_MS, p->last_hello + PROBER_REFRESH_MS));
}

static void on_pace(struct timer *t, uint64_t now)
{
	struct prober *p = container_of(t, struct prober, pace);

	if (p->o.role == PROBER_EASY)
		pace_easy(p, now);
	else
		pace_hard(p, now);
}

/* ---- what comes ---- */

static bool is_for_us(const struct prober *p, const struct stun_msg *m)
{
	struct text name;

	return stun_get_text(m, STUN_A_USERNAME, &name) == 0 && text_eq(name, text_of(p->peer_name)) && stun_check_integrity(m, p->key);
}

static void take_answer(struct prober *p, unsigned socket, const struct addr *from, const uint8_t *tid, uint64_t now)
{
	if (memcmp(tid, p->tid[true], STUN_TID_LEN) == 0 && addr_equal(&p->chosen, from))
		finish(p, PROBER_FOUND, socket, from);
	else if (memcmp(tid, p->tid[false], STUN_TID_LEN) == 0 && addr_family(&p->chosen) == AF_UNSPEC) {
		p->chosen = *from;
		timers_set(p->o.timers, &p->pace, now);
	}
}

void prober_input(struct prober *p, unsigned socket, const struct addr *from, const void *data, size_t n, uint64_t now)
{
	struct stun_msg m;

	if (p->finished || stun_parse(data, n, &m) != STUN_OK || m.method != STUN_BINDING || !addr_equal_ip(from, &p->o.peer))
		return;
	if (m.class == STUN_REQUEST && is_for_us(p, &m)) {
		say_response(p, socket, from, &m);
		/* The hard side's own probe may come through too, if the easy NAT is one that lets it in. */
		if (p->o.role == PROBER_HARD && stun_has(&m, STUN_A_USE_CANDIDATE))
			finish(p, PROBER_FOUND, socket, from);
		else if (p->o.role == PROBER_EASY && addr_family(&p->chosen) == AF_UNSPEC) {
			p->chosen = *from;
			timers_set(p->o.timers, &p->pace, now);
		}
	} else if (m.class == STUN_SUCCESS && p->o.role == PROBER_EASY && stun_check_integrity(&m, p->peer_key))
		take_answer(p, socket, from, m.tid, now);
}

/* ---- making one ---- */

int prober_new(const struct prober_options *o, uint64_t now, struct prober **ret_p)
{
	_cleanup_(prober_freep) struct prober *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	p->o = *o;
	p->pace.fire = on_pace;
	p->end.fire = on_round_over;
	snprintf(p->name, sizeof p->name, "%s:%s", o->peer_ufrag, o->ufrag);
	snprintf(p->peer_name, sizeof p->peer_name, "%s:%s", o->ufrag, o->peer_ufrag);
	if ((r = bytes_random(p->tid, sizeof p->tid)) != 0 ||
	    (r = stun_key_short_term(STUN_MAC_SHA1, text_of(o->pwd), &p->key)) != 0 ||
	    (r = stun_key_short_term(STUN_MAC_SHA1, text_of(o->peer_pwd), &p->peer_key)) != 0)
		return r;
	p->o.ufrag = p->o.pwd = p->o.peer_ufrag = p->o.peer_pwd = NULL; /* borrowed until here */
	timers_set(o->timers, &p->pace, now);
	timers_set(o->timers, &p->end, now + PROBER_ROUND_MS);
	*ret_p = steal_ptr(&p);
	return 0;
}

struct prober *prober_free(struct prober *p)
{
	if (!p)
		return NULL;
	timer_stop(&p->pace);
	timer_stop(&p->end);
	stun_key_free(p->key);
	stun_key_free(p->peer_key);
	free(p);
	return NULL;
}

unsigned prober_sent(const struct prober *p)
{
	return p->sent;
}
