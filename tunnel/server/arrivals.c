/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who says HELLO, seen from the main thread: arrivals wait for the registry's answer, and the directory knows the one link
 * of each identity, so that an agent which comes back finds its own, in whichever worker it was accepted.
 *
 * A copied key: when another process (instance) comes with the key of a link that is up, that link is asked to
 * answer a PING within three seconds. If it does, the newcomer is refused and both are shown; if not, it was the
 * dead past of the same agent, and the newcomer takes its place. Several who come meanwhile hear the same answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/server/rendezvous.h"
#include "tunnel/server/server_priv.h"
#include "tunnel/server/shares.h"

enum { PROBE_MS = 3000, IN_USE_RETRY_S = 60 };

struct tunnel_arrival {
	struct list node; /* in server->arrivals */
	struct tunnel_server *server;
	uint64_t id; /* of the stranger */
	struct tunnel_arrival_info info;
	void *state;
	char name[WIRE_NAME_MAX + 1]; /* that it is admitted under */
	uint64_t guest;
	struct order *admit; /* waits for the answer to a probe; its worker's */
	uint64_t probed;     /* the admission of the link that is asked */
	struct timer probe;
	uint8_t hello[]; /* the payload that info.hello points into */
};

/* ---- mail ---- */

static void home_unref(struct note_home *h)
{
	if (h && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
		free(h);
}

int notes_open(struct tunnel_server *s)
{
	s->home = calloc(1, sizeof(*s->home));
	if (!s->home)
		return -ENOMEM;
	s->home->refs = 1;
	s->home->server = s;
	return 0;
}

void notes_close(struct tunnel_server *s)
{
	if (s->home)
		s->home->server = NULL;
	home_unref(steal_ptr(&s->home));
}

static void drop_note(struct mail *m)
{
	struct note *n = container_of(m, struct note, mail);

	home_unref(n->home);
	free(n);
}

static void deliver_note(struct mail *m, struct loop *l)
{
	struct note *n = container_of(m, struct note, mail);

	(void)l;
	if (n->home->server)
		arrivals_hear(n);
	drop_note(m);
}

struct note *note_new(struct tunnel_server *s, enum note_kind kind, uint64_t id, size_t payload)
{
	struct note *n = calloc(1, sizeof(*n) + payload);

	if (!n)
		return NULL;
	atomic_fetch_add_explicit(&s->home->refs, 1, memory_order_relaxed);
	n->mail = (struct mail){ .deliver = deliver_note, .drop = drop_note };
	n->home = s->home;
	n->server = s;
	n->kind = kind;
	n->id = id;
	n->n = payload;
	return n;
}

void note_post(struct note *n)
{
	loop_post(n->server->loop, &n->mail);
}

static void deliver_order(struct mail *m, struct loop *l)
{
	struct order *o = container_of(m, struct order, mail);

	(void)l;
	if (o->kind < ORDER_PROBE)
		stranger_obey(o->worker, o);
	else
		link_obey(o->worker, o);
	free(o);
}

static void drop_order(struct mail *m)
{
	free(container_of(m, struct order, mail));
}

struct order *order_new(struct tunnel_worker *w, enum order_kind kind, unsigned type, const void *msg)
{
	uint8_t frame[WIRE_HEAD + WIRE_EARLY_MAX];
	struct wr b = wr_init(frame, sizeof(frame));
	struct order *o;

	if (type)
		wire_write(&b, type, msg);
	o = b.failed ? NULL : calloc(1, sizeof(*o) + wr_len(&b));
	if (!o)
		return NULL;
	o->mail = (struct mail){ .deliver = deliver_order, .drop = drop_order };
	o->worker = w;
	o->kind = kind;
	o->n = wr_len(&b);
	memcpy(o->frame, frame, o->n);
	return o;
}

void order_post(struct order *o)
{
	loop_post(o->worker->loop, &o->mail);
}

/* ---- the directory ---- */

struct directory_entry *directory_entry_of(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN])
{
	list_for_each (it, &s->directory) {
		struct directory_entry *e = list_entry(it, struct directory_entry, node);

		if (memcmp(e->identity, identity, WIRE_PIN) == 0)
			return e;
	}
	return NULL;
}

static void on_link_over(struct tunnel_server *s, const struct note *n)
{
	list_for_each_safe (it, &s->directory) {
		struct directory_entry *e = list_entry(it, struct directory_entry, node);

		if (e->link != n->id || e->admission != n->admission)
			continue; /* another admission is under way to it: it will be made anew */
		shares_untold(s, e->identity);
		list_unlink(&e->node);
		free(e);
		return;
	}
}

/* ---- arrivals ---- */

static struct tunnel_arrival *find(struct tunnel_server *s, uint64_t id)
{
	list_for_each (it, &s->arrivals) {
		struct tunnel_arrival *a = list_entry(it, struct tunnel_arrival, node);

		if (a->id == id)
			return a;
	}
	return NULL;
}

static void arrival_free(struct tunnel_arrival *a)
{
	timer_stop(&a->probe);
	list_unlink(&a->node);
	free(a->admit);
	free(a);
}

void arrivals_free(struct tunnel_server *s)
{
	while (!list_empty(&s->arrivals))
		arrival_free(list_entry(s->arrivals.next, struct tunnel_arrival, node));
	while (!list_empty(&s->directory)) {
		struct directory_entry *e = list_entry(s->directory.next, struct directory_entry, node);

		list_unlink(&e->node);
		free(e);
	}
}

static struct tunnel_worker *worker_of(const struct tunnel_arrival *a)
{
	return tunnel_server_worker(a->server, tunnel_worker_of(a->id));
}

static void send_order(struct tunnel_arrival *a, struct order *o)
{
	o->stranger = a->id;
	order_post(o);
}

static void send_admit(struct tunnel_arrival *a, struct directory_entry *e)
{
	struct order *o = steal_ptr(&a->admit);

	memcpy(e->instance, a->info.hello.instance.p, WIRE_INSTANCE);
	(void)snprintf(e->name, sizeof(e->name), "%s", a->name);
	e->guest = a->guest;
	shares_untold(a->server, e->identity);
	e->admission = ++a->server->last_admission;
	o->link = e->link;
	o->admission = e->admission;
	o->guest = e->guest;
	send_order(a, o);
	arrival_free(a);
}

static void refuse_copy(struct tunnel_arrival *a, const struct tunnel_link_info *first)
{
	char peer[ADDR_STRLEN], text[200];

	if (a->server->o.copied_key)
		a->server->o.copied_key(first, &a->info, a->server->o.arg);
	(void)snprintf(text, sizeof(text),
		       "another process uses the same key, from %s; give each agent a key of its own",
		       addr_print_ip(&first->peer, peer));
	tunnel_arrival_refuse(a, WIRE_R_IN_USE, text, IN_USE_RETRY_S);
}

static bool is_same_process(const struct directory_entry *e, const struct tunnel_arrival *a)
{
	return memcmp(e->instance, a->info.hello.instance.p, WIRE_INSTANCE) == 0;
}

static int probe(struct tunnel_arrival *a, const struct directory_entry *e);

/* The link that was asked does not answer. */
static void on_dead(struct tunnel_arrival *a)
{
	struct directory_entry *e = directory_entry_of(a->server, a->info.identity);

	timer_stop(&a->probe);
	if (e && e->admission != a->probed && !is_same_process(e, a) && probe(a, e) == 0)
		return; /* another connection has its place since */
	if (e)
		send_admit(a, e);
	else
		tunnel_arrival_refuse(a, WIRE_R_IN_USE, "",
				      1); /* it ended meanwhile; the next try makes another one */
}

/* It is asked once for all who wait, and answers the last of them. */
static void on_alive(struct tunnel_server *s, const struct tunnel_link_info *first)
{
	list_for_each_safe (it, &s->arrivals) {
		struct tunnel_arrival *a = list_entry(it, struct tunnel_arrival, node);

		if (a->admit && memcmp(a->info.identity, first->identity, WIRE_PIN) == 0)
			refuse_copy(a, first);
	}
}

static void on_probe_timer(struct timer *t, uint64_t now)
{
	(void)now;
	on_dead(container_of(t, struct tunnel_arrival, probe));
}

static int probe(struct tunnel_arrival *a, const struct directory_entry *e)
{
	struct order *o = order_new(tunnel_server_worker(a->server, tunnel_worker_of(e->link)),
				    ORDER_PROBE, 0, NULL);

	if (!o)
		return -ENOMEM;
	o->link = e->link;
	a->probed = e->admission;
	loop_timer_set(a->server->loop, &a->probe, PROBE_MS);
	send_order(a, o);
	return 0;
}

static struct directory_entry *entry_new(struct tunnel_arrival *a)
{
	struct tunnel_server *s = a->server;
	struct directory_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	memcpy(e->identity, a->info.identity, WIRE_PIN);
	s->session_base += 0x100;
	e->link = s->session_base | tunnel_worker_of(a->id);
	list_append(&s->directory, &e->node);
	return e;
}

void tunnel_arrival_admit(struct tunnel_arrival *a, const struct tunnel_admission *ad)
{
	struct directory_entry *e = directory_entry_of(a->server, a->info.identity);
	struct wire_welcome w = ad->welcome;
	bool same = e && is_same_process(e, a);

	if (a->server->closed) {
		tunnel_arrival_refuse(a, WIRE_R_KICKED, a->server->closed, TUNNEL_AGAIN_S);
		return;
	}
	w.version = WIRE_VERSION;
	w.name = text_of(ad->name);
	(void)snprintf(a->name, sizeof(a->name), "%s", ad->name);
	a->guest = ad->guest;
	free(a->admit);
	a->admit = order_new(worker_of(a), ORDER_ADMIT, WIRE_WELCOME, &w);
	if (a->admit && e && !same && probe(a, e) == 0)
		return;
	if (a->admit && !e)
		e = entry_new(a);
	if (a->admit && e)
		send_admit(a, e);
	else
		tunnel_arrival_refuse(a, WIRE_R_MEMORY, "", 0);
}

void tunnel_arrival_refuse(struct tunnel_arrival *a, enum wire_reason reason, const char *text,
			   uint32_t retry_after_s)
{
	const struct wire_refused m = { .reason = (uint8_t)reason,
					.text = text_of(text),
					.retry_after = retry_after_s };
	const struct wire_refused bare = { .reason = (uint8_t)reason, .retry_after = retry_after_s };
	struct order *o = order_new(worker_of(a), ORDER_REFUSE, WIRE_REFUSED, &m);

	if (!o)
		o = order_new(worker_of(a), ORDER_REFUSE, WIRE_REFUSED, &bare);
	if (o) {
		o->reason = reason;
		send_order(a, o);
	}
	arrival_free(a);
}

int tunnel_arrival_send(struct tunnel_arrival *a, unsigned type, const void *msg)
{
	struct order *o = order_new(worker_of(a), ORDER_SEND, type, msg);

	if (!o)
		return -EINVAL;
	send_order(a, o);
	return 0;
}

const struct tunnel_arrival_info *tunnel_arrival_info(const struct tunnel_arrival *a)
{
	return &a->info;
}

void *tunnel_arrival_state(const struct tunnel_arrival *a)
{
	return a->state;
}

void tunnel_arrival_set_state(struct tunnel_arrival *a, void *state)
{
	a->state = state;
}

/* Its WELCOME, which waits for the answer to a probe, has the old name. */
static void rename_admitted(struct tunnel_arrival *a, const char *name)
{
	struct order *o;
	union wire_msg m;

	if (wire_parse(WIRE_WELCOME, a->admit->frame + WIRE_HEAD, a->admit->n - WIRE_HEAD, &m) != WIRE_OK)
		return;
	m.welcome.name = text_of(name);
	o = order_new(worker_of(a), ORDER_ADMIT, WIRE_WELCOME, &m.welcome);
	if (!o)
		return; /* no memory: it has the old one until it comes again */
	free(a->admit);
	a->admit = o;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
}

void tunnel_server_rename(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN],
			  const char *name)
{
	struct directory_entry *e = directory_entry_of(s, identity);

	if (e)
		(void)snprintf(e->name, sizeof(e->name), "%s", name);
	list_for_each (it, &s->arrivals) {
		struct tunnel_arrival *a = list_entry(it, struct tunnel_arrival, node);

		if (a->admit && memcmp(a->info.identity, identity, WIRE_PIN) == 0)
			rename_admitted(a, name);
	}
}

/* ---- what workers say ---- */

static void on_arrived(struct tunnel_server *s, const struct note *n)
{
	struct tunnel_arrival *a = calloc(1, sizeof(*a) + n->n);
	union wire_msg m;

	if (!a)
		return; /* it is turned away when its time is over */
	a->server = s;
	a->id = n->id;
	a->info = n->info;
	memcpy(a->hello, n->payload, n->n);
	(void)wire_parse(WIRE_HELLO, a->hello, n->n, &m);
	a->info.hello = m.hello;
	a->probe.fire = on_probe_timer;
	list_append(&s->arrivals, &a->node);
	if (s->closed)
		tunnel_arrival_refuse(a, WIRE_R_KICKED, s->closed, TUNNEL_AGAIN_S);
	else
		s->o.arrived(a, s->o.arg);
}

void arrivals_hear(struct note *n)
{
	struct tunnel_server *s = n->server;
	bool of_arrival = n->kind == NOTE_FRAME || n->kind == NOTE_GONE || n->kind == NOTE_PROBED;
	struct tunnel_arrival *a = of_arrival ? find(s, n->id) : NULL;
	union wire_msg m;

	switch (n->kind) {
	case NOTE_ARRIVED: on_arrived(s, n); break;
	case NOTE_FRAME:
		if (a && !a->admit && wire_parse(n->type, n->payload, n->n, &m) == WIRE_OK &&
		    s->o.arrival_frame)
			s->o.arrival_frame(a, n->type, &m, s->o.arg);
		break;
	case NOTE_GONE:
		if (!a)
			break;
		if (s->o.arrival_gone && !a->admit)
			s->o.arrival_gone(a, n->why, s->o.arg);
		arrival_free(a);
		break;
	case NOTE_LINK_OVER: on_link_over(s, n); break;
	case NOTE_LINK_ENDED: rendezvous_end_relays(s, n->link.identity, 0); break;
	case NOTE_WORD: rendezvous_hear(s, n); break;
	case NOTE_PAIR_OVER: rendezvous_pair_over(s, n); break;
	case NOTE_PROBED:
		if (n->alive)
			on_alive(s, &n->link);
		else if (a && a->admit)
			on_dead(a);
		break;
	}
}

/* Let in, but the one before it is being asked whether it lives. identity NULL: of all. */
static void refuse_admitted(struct tunnel_server *s, const uint8_t *identity,
			    enum wire_reason reason, const char *text, uint32_t retry_after_s)
{
	list_for_each_safe (it, &s->arrivals) {
		struct tunnel_arrival *a = list_entry(it, struct tunnel_arrival, node);

		if (a->admit && (!identity || memcmp(a->info.identity, identity, WIRE_PIN) == 0))
			tunnel_arrival_refuse(a, reason, text, retry_after_s);
	}
}

void tunnel_server_close(struct tunnel_server *s, const char *why)
{
	s->closed = why;
	if (!why)
		return;
	atomic_store(&s->closed_admission, s->last_admission);
	refuse_admitted(s, NULL, WIRE_R_KICKED, why, TUNNEL_AGAIN_S);
	rendezvous_end_relays(s, NULL, 0);
}

void tunnel_server_end_identity(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN],
				enum wire_reason reason, const char *text)
{
	const struct wire_refused m = { .reason = (uint8_t)reason, .text = text_of(text) };

	refuse_admitted(s, identity, reason, text, 0);
	rendezvous_end_relays(s, identity, 0); /* also of one whose link is over */
	for (unsigned i = 0; s->started && i < s->n_workers; i++) {
		struct order *o = order_new(tunnel_server_worker(s, i), ORDER_END, WIRE_REFUSED, &m);

		if (!o)
			continue;
		memcpy(o->identity, identity, WIRE_PIN);
		o->reason = reason;
		o->admission = s->last_admission;
		order_post(o);
	}
}
