/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocation changes its worker: a Refresh with its ticket came to another one. That worker asks by mail
 * the one whose number the ticket carries, which looks for ticket and user, takes the allocation out of
 * service and sends it with its sockets; who asked puts it into its own tables and handles the request
 * again. In between the allocation belongs to the letter, and dies with it if there is no delivery.
 *
 * Nothing is hashed anew, because the workers share one seed; the account and the record of relay
 * ports are shared too. A copy of the key goes along, for a request whose credential has run out is good by that alone:
 * it is judged where the allocation is, before anything is given away, and once more where it came in.
 */
#include <errno.h>
#include <string.h>
#include "turn/alloc.h"

enum { MAX_HOPS = 4 }; /* of a question from note to note */

struct handover {
	struct turn_mail mail;
	unsigned asker, hops;
	const struct turn_relay_ops *relay;
	struct turn_totals *totals;
	uint8_t ticket[TURN_TICKET_LEN];
	char user[256]; /* who asks; "": the request must be signed with the allocation's key */
	unsigned realm; /* the user's: its slot */
	struct turn_alloc *alloc;	       /* on its way, without sockets or server; owned */
	struct turn_held *held[TURN_FAMILIES]; /* its sockets; owned */
	struct turn_path path; /* of the request */
	size_t n;
	uint8_t request[];
};

static void drop_sockets(struct handover *h, const struct turn_alloc *a)
{
	for (unsigned f = 0; f < TURN_FAMILIES; f++) {
		if (!h->held[f])
			continue;
		turn_totals_relay_closed(h->totals, &a->at[f]);
		turn_totals_relay_closed(h->totals, &a->public_at[f]);
		h->relay->drop(steal_ptr(&h->held[f]));
	}
}

static void drop_alloc(struct handover *h)
{
	struct turn_server nobody = { .o = { .totals = h->totals, .relay = h->relay } }; /* an allocation dies in a server */
	struct turn_alloc *a = h->alloc;

	if (!a)
		return;
	a->server = &nobody;
	drop_sockets(h, a);
	h->alloc = turn_alloc_free(a);
}

static void drop_letter(struct turn_mail *m)
{
	struct handover *h = container_of(m, struct handover, mail);

	drop_alloc(h);
	free(h);
}

/* ---- where the allocation is ---- */

static void take_sockets(struct turn_alloc *a, struct handover *h)
{
	for (unsigned f = 0; f < TURN_FAMILIES; f++)
		if (a->relay[f])
			h->held[f] = a->server->o.relay->detach(steal_ptr(&a->relay[f]));
}

static struct turn_moved *find_note(const struct turn_server *s, const uint8_t *ticket)
{
	for (unsigned i = 0; i < MIN(s->moved_next, (unsigned)TURN_MOVED_NOTES); i++)
		if (bytes_equal_ct(s->moved[i].ticket, ticket, TURN_TICKET_LEN))
			return &s->moved[i];
	return NULL;
}

/* A ring, but of a ticket that went away twice only the last place counts. */
static void take_note(struct turn_server *s, const struct handover *h)
{
	struct turn_moved *note = find_note(s, h->ticket);

	if (!note)
		note = &s->moved[s->moved_next++ % TURN_MOVED_NOTES];
	memcpy(note->ticket, h->ticket, sizeof note->ticket);
	note->worker = h->asker;
}

static void leave(struct turn_alloc *a, struct handover *h)
{
	struct turn_server *s = a->server;
	struct turn_key *ours = a->key;

	turn_offload_end_all(a);
	turn_mobility_unlink(a->mobility);
	turn_alloc_unlist(a);
	list_unlink(&a->in_order);
	timer_stop(&a->expiry);
	a->key = turn_key_copy(ours); /* without it who asked is judged by the realm alone */
	turn_key_unref(ours);
	s->n_allocs--;
	turn_count(s, TURN_M_ALLOCATIONS, 0, -1);
	turn_count(s, TURN_M_REALM_ALLOCATIONS, a->realm, -1);
	take_note(s, h);
	h->alloc = a;
}

static void on_brought(struct turn_server *s, struct turn_mail *m, uint64_t now);

static bool may_have(const struct handover *h, const struct turn_alloc *a)
{
	struct stun_msg m;

	if (h->user[0])
		return turn_alloc_is_of(a, h->realm, h->user);
	return a->realm == h->realm && stun_parse(h->request, h->n, &m) == STUN_OK &&
	       turn_alloc_signed(a, &m);
}

static void on_asked(struct turn_server *s, struct turn_mail *m, uint64_t now)
{
	struct handover *h = container_of(m, struct handover, mail);
	struct turn_alloc *a = turn_mobility_find(s, h->ticket);
	const struct turn_moved *note = a ? NULL : find_note(s, h->ticket);
	unsigned to = h->asker;

	(void)now;
	if (note && note->worker != s->o.worker && note->worker != h->asker && h->hops++ < MAX_HOPS) {
		to = note->worker;
	} else {
		if (a && may_have(h, a)) {
			take_sockets(a, h);
			leave(a, h);
		}
		m->deliver = on_brought;
	}
	if (s->o.post(s->o.edge, to, m) < 0)
		drop_letter(m);
}

/* ---- where the request is ---- */

static int adopt_sockets(struct turn_server *s, struct handover *h, struct turn_alloc *a)
{
	for (unsigned f = 0; f < TURN_FAMILIES; f++) {
		int r = h->held[f] ? s->o.relay->adopt(s->o.edge, a, h->held[f], &a->relay[f]) : 0;
		if (r < 0)
			return r;
		h->held[f] = NULL;
	}
	return 0;
}

static void arrive(struct turn_server *s, struct handover *h, uint64_t now)
{
	struct turn_alloc *a = steal_ptr(&h->alloc);
	uint64_t was = a->id;

	a->server = s;
	turn_alloc_arrive(a);
	log_emit(&MSG_TURN_ALLOC_RENUMBERED, LF_U64("id", a->id), LF_U64("was", was), LF_STR("user", a->user));
	turn_mobility_park(a); /* until the request, handled again, moves it */
	turn_revoke_alloc(a);
	if (adopt_sockets(s, h, a) == 0 && turn_mobility_link(a->mobility) == 0)
		return;
	drop_sockets(h, a);
	turn_alloc_end(a, TURN_END_STOPPED, now);
}

static void on_brought(struct turn_server *s, struct turn_mail *m, uint64_t now)
{
	struct handover *h = container_of(m, struct handover, mail);
	struct turn_packet pk = { .data = h->request, .n = h->n, .mark = DGRAM_MARK_NONE };

	if (h->alloc)
		arrive(s, h, now);
	if (h->path.transport->alive(s->o.edge, &h->path))
		turn_input_again(s, &h->path, &pk, now);
	s->n_asking--;
	free(h);
}

/* ---- the question ---- */

static unsigned hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - 0u - '0' : c >= 'a' && c <= 'f' ? c + 10u - 'a' : 255;
}

/* The worker to ask: whom a note names, else whom the ticket names. */
static bool whom(const struct turn_server *s, const uint8_t *ticket, unsigned *ret_worker)
{
	const struct turn_moved *note = find_note(s, ticket);
	unsigned high = hex_digit(ticket[0]), low = hex_digit(ticket[1]);

	*ret_worker = note ? note->worker : high << 4 | low;
	return note ? note->worker != s->o.worker : high < 16 && low < 16 && *ret_worker != s->o.worker;
}

bool turn_handover_ask(struct turn_request *q, const uint8_t ticket[static TURN_TICKET_LEN], enum turn_refusal *ret_r)
{
	struct turn_server *s = q->s;
	unsigned worker;

	if (s->asked_already || !s->o.post || !whom(s, ticket, &worker))
		return false;
	*ret_r = TURN_REFUSE_RESOURCES;
	if (s->n_asking >= TURN_ASKING_MAX)
		return true;
	struct handover *h = calloc(1, sizeof *h + q->m->raw_n);
	if (!h)
		return true;
	h->mail = (struct turn_mail){ .deliver = on_asked, .drop = drop_letter };
	h->asker = s->o.worker;
	h->relay = s->o.relay;
	h->totals = s->o.totals;
	memcpy(h->ticket, ticket, sizeof h->ticket);
	if (q->key)
		memcpy(h->user, q->id.user, sizeof h->user);
	h->realm = q->realm->slot;
	h->path = *q->from;
	h->n = q->m->raw_n;
	memcpy(h->request, q->m->raw, h->n);
	if (s->o.post(s->o.edge, worker, &h->mail) < 0) { /* no worker has this number */
		free(h);
		return false;
	}
	s->n_asking++;
	q->deferred = true;
	*ret_r = TURN_ACCEPTED;
	return true;
}
