/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay between two agents: each opens a TLS connection that names it (HELLO, purpose RELAY), and when both are there each gets
 * WELCOME; what one sends then goes to the other. What it is nobody here knows: it is encrypted between the agents.
 *
 * The first byte that an end sends after its WELCOME says that it expects bytes now, and is not passed on; until then the
 * other is not read. An end that does not take what comes is not sent more, and the other is not read: at most
 * OUT_MAX is kept for it. All bytes are charged to the pair's quota and rate.
 *
 * Timers: deadline (both must be there, then idleness), refill (the rate's bucket is empty).
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/log_msgs.h"
#include "tunnel/server/rendezvous.h"

enum { BOTH_MS = 20 * 1000, IDLE_MS = 60 * 1000, OUT_MAX = 256 << 10, OUT_PAUSE = OUT_MAX / 2 /* when on_drained follows */, NOTSENT_LOWAT = 128 << 10, REFILL_MS = 10 };

struct pair_end {
	struct pair *pair;
	struct stream *stream;
	bool welcome, ready, paused;
	struct addr peer;
	uint64_t bytes; /* that it sent */
};
struct pair {
	struct list node;
	struct tunnel_worker *worker;
	uint64_t id;
	uint8_t identity[2][WIRE_PIN];
	char name[2][WIRE_NAME_MAX + 1];
	struct pair_end end[2];
	uint64_t quota, bitrate; /* 0: none */
	int64_t tokens;		 /* bytes */
	uint64_t refilled_at, heard_at;
	struct timer deadline, refill;
};

/* ---- its end ---- */

static void tell_main(struct tunnel_server *s, uint64_t id)
{
	struct note *n = note_new(s, NOTE_PAIR_OVER, id, 0);

	if (n)
		note_post(n); /* else the entry stays, and counts against its agents until the server is restarted */
}

static void pair_free(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++)
		if (p->end[i].stream) {
			worker_count_carriers(p->worker, -1);
			stream_free(p->end[i].stream);
		}
	timer_stop(&p->deadline);
	timer_stop(&p->refill);
	list_unlink(&p->node);
	worker_count(p->worker, TUNNEL_M_RELAYS, 0, -1);
	free(p);
}

static void over(struct pair *p, const char *why)
{
	log_emit(&MSG_TUNNEL_PAIR_ENDED, LF_U64("relay", p->id), LF_STR("agent", p->name[0]), LF_STR("other", p->name[1]),
		 LF_U64("bytes", p->end[0].bytes + p->end[1].bytes), LF_STR("reason", why));
	tell_main(p->worker->server, p->id);
	pair_free(p);
}

void pairs_free(struct tunnel_worker *w)
{
	while (!list_empty(&w->pairs))
		pair_free(list_entry(w->pairs.next, struct pair, node));
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct pair *p = container_of(t, struct pair, deadline);

	if (!p->end[0].stream || !p->end[1].stream)
		over(p, "only one of the two agents came");
	else if (now - p->heard_at >= IDLE_MS)
		over(p, "no byte for a minute");
	else
		loop_timer_set(p->worker->loop, &p->deadline, IDLE_MS - (now - p->heard_at));
}

/* ---- bytes ---- */

static struct pair_end *other_of(struct pair_end *e)
{
	return e == &e->pair->end[0] ? &e->pair->end[1] : &e->pair->end[0];
}

/* Reads what may be read: the other end takes it, and the rate allows it. */
static void steer(struct pair *p)
{
	bool dry = p->bitrate && p->tokens <= 0;

	for (unsigned i = 0; i < 2; i++) {
		struct pair_end *e = &p->end[i], *o = other_of(e);
		bool pause = e->ready && (dry || !o->ready || stream_queued(o->stream) >= OUT_PAUSE);

		if (pause != e->paused)
			(pause ? stream_pause : stream_resume)(e->stream);
		e->paused = pause;
	}
	if (dry && !timer_is_set(&p->refill))
		loop_timer_set(p->worker->loop, &p->refill, REFILL_MS);
}

static void refill(struct pair *p)
{
	uint64_t now = loop_now(p->worker->loop), passed = now - p->refilled_at;

	p->tokens = MIN(p->tokens + (int64_t)(p->bitrate / 8 * passed / 1000), (int64_t)(p->bitrate / 8 / 10 + 65536));
	p->refilled_at = now;
}

static void on_refill(struct timer *t, uint64_t now)
{
	struct pair *p = container_of(t, struct pair, refill);

	(void)now;
	refill(p);
	steer(p);
}

static void charge(struct pair_end *e, size_t n)
{
	struct pair *p = e->pair;

	e->bytes += n;
	p->heard_at = loop_now(p->worker->loop);
	worker_count(p->worker, TUNNEL_M_RELAY_BYTES, 0, (int64_t)n);
	if (!p->bitrate)
		return;
	refill(p);
	p->tokens -= (int64_t)n;
}

static size_t on_data(struct stream *s, uint8_t *b, size_t n, void *arg)
{
	struct pair_end *e = arg, *o = other_of(e);
	struct pair *p = e->pair;
	size_t skip = 0;

	if (!e->welcome) {
		over(p, "an end sent bytes before both were there");
		return 0;
	}
	if (!e->ready) {
		e->ready = true;
		skip = 1;
	}
	if (n > skip && !o->ready) { /* the rest stays in the stream's buffer */
		steer(p);
		return skip;
	}
	(void)s;
	charge(e, n - skip);
	if (n > skip && stream_write(o->stream, b + skip, n - skip) < 0) {
		over(p, "an end is gone, or does not take what it is sent");
		return 0;
	}
	if (p->quota && e->bytes + o->bytes > p->quota) {
		over(p, "its quota of bytes is used up (tunnel.direct.relay_bytes)");
		return 0;
	}
	steer(p);
	return n;
}

static void on_drained(struct stream *s, void *arg)
{
	(void)s;
	steer(((struct pair_end *)arg)->pair);
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct pair_end *e = arg;
	char text[160];

	(void)s;
	(void)err;
	(void)snprintf(text, sizeof(text), "%s: %s", e->pair->name[e == &e->pair->end[1]], why);
	over(e->pair, text);
}

static const struct stream_ops end_ops = { .on_data = on_data, .on_drained = on_drained, .on_close = on_close };

/* ---- its beginning ---- */

static struct pair *find(struct tunnel_worker *w, uint64_t id)
{
	list_for_each (it, &w->pairs) {
		struct pair *p = list_entry(it, struct pair, node);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static int welcome(struct pair_end *e)
{
	uint8_t frame[64];
	struct wr b = wr_init(frame, sizeof(frame));

	wire_write(&b, WIRE_WELCOME, &(struct wire_welcome){ .version = WIRE_VERSION });
	e->welcome = true;
	return b.failed ? -EINVAL : stream_write(e->stream, frame, wr_len(&b));
}

static void tune(int fd)
{
	const int lowat = NOTSENT_LOWAT;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

static void refuse(struct tunnel_worker *w, struct handover *h, enum wire_reason reason)
{
	const struct wire_refused no = { .reason = (uint8_t)reason };
	struct frame_conn *c;
	int fd = h->fd;

	h->fd = -1;
	stranger_outcome(w, &h->peer, TUNNEL_A_REFUSED, "an end of a relay that is not there");
	if (frame_conn_new(w->loop, fd, steal_ptr(&h->ssl), WIRE_TO_SERVER, &c) < 0)
		return;
	(void)frame_conn_send(c, WIRE_REFUSED, &no);
	frame_conn_finish(c);
}

static struct pair_end *place_for(struct tunnel_worker *w, const struct handover *h)
{
	struct pair *p = find(w, h->session);

	for (unsigned i = 0; p && i < 2; i++)
		if (memcmp(p->identity[i], h->identity, WIRE_PIN) == 0 && !p->end[i].stream)
			return &p->end[i];
	return NULL;
}

void pair_take(struct tunnel_worker *w, struct handover *h)
{
	const struct stream_options o = { .ssl = h->ssl, .tls = w->tls, .max_out = OUT_MAX };
	struct pair_end *e = place_for(w, h), *other;
	int fd = h->fd;

	if (!e) {
		refuse(w, h, WIRE_R_SESSION);
		return;
	}
	other = other_of(e);
	e->peer = h->peer;
	tune(fd);
	h->fd = -1;
	h->ssl = NULL;
	if (stream_new(w->loop, fd, &o, &end_ops, e, &e->stream) < 0) {
		over(e->pair, "out of memory");
		return;
	}
	worker_count_carriers(w, 1);
	stranger_outcome(w, &h->peer, TUNNEL_A_RELAY, "");
	if (!other->stream)
		return;
	e->pair->heard_at = loop_now(w->loop);
	loop_timer_set(w->loop, &e->pair->deadline, IDLE_MS);
	log_emit(&MSG_TUNNEL_PAIR_BEGUN, LF_U64("relay", e->pair->id), LF_STR("agent", e->pair->name[0]), LF_STR("other", e->pair->name[1]));
	if (welcome(e) < 0 || welcome(other) < 0)
		over(e->pair, "an end is gone");
}

/* ---- mail from main ---- */

struct pair_order {
	struct mail mail;
	struct tunnel_server *server;
	uint64_t id;
	const char *end; /* why; NULL: it begins */
	uint8_t identity[2][WIRE_PIN];
	char name[2][WIRE_NAME_MAX + 1];
	uint64_t quota, bitrate;
};

static void begin(struct tunnel_worker *w, const struct pair_order *o)
{
	struct pair *p = calloc(1, sizeof(*p));

	if (!p) {
		tell_main(o->server, o->id);
		return;
	}
	*p = (struct pair){ .worker = w, .id = o->id, .quota = o->quota, .bitrate = o->bitrate, .refilled_at = loop_now(w->loop) };
	memcpy(p->identity, o->identity, sizeof(p->identity));
	memcpy(p->name, o->name, sizeof(p->name));
	for (unsigned i = 0; i < 2; i++)
		p->end[i].pair = p;
	p->tokens = (int64_t)(p->bitrate / 8 / 10 + 65536);
	p->deadline.fire = on_deadline;
	p->refill.fire = on_refill;
	list_append(&w->pairs, &p->node);
	worker_count(w, TUNNEL_M_RELAYS, 0, 1);
	loop_timer_set(w->loop, &p->deadline, BOTH_MS);
}

static void drop_order(struct mail *m)
{
	free(container_of(m, struct pair_order, mail));
}

static void deliver_order(struct mail *m, struct loop *l)
{
	struct pair_order *o = container_of(m, struct pair_order, mail);
	struct tunnel_worker *w = tunnel_server_worker(o->server, tunnel_worker_of(o->id));
	struct pair *p = o->end ? find(w, o->id) : NULL;

	(void)l;
	if (!o->end)
		begin(w, o);
	else if (p)
		over(p, o->end);
	drop_order(m);
}

static struct pair_order *order_for(struct tunnel_server *s, uint64_t id)
{
	struct pair_order *o = calloc(1, sizeof(*o));

	if (o)
		*o = (struct pair_order){ .mail = { .deliver = deliver_order, .drop = drop_order }, .server = s, .id = id };
	return o;
}

static void post(struct pair_order *o)
{
	loop_post(tunnel_server_worker(o->server, tunnel_worker_of(o->id))->loop, &o->mail);
}

int pair_order_begin(struct tunnel_server *s, uint64_t id, const uint8_t a[static WIRE_PIN], const uint8_t b[static WIRE_PIN])
{
	const uint8_t *const ends[2] = { a, b };
	struct pair_order *o = order_for(s, id);

	if (!o)
		return -ENOMEM;
	o->quota = s->rendezvous.relay_bytes;
	o->bitrate = s->rendezvous.relay_bitrate;
	for (unsigned i = 0; i < 2; i++) {
		const struct directory_entry *e = directory_entry_of(s, ends[i]);

		memcpy(o->identity[i], ends[i], WIRE_PIN);
		(void)snprintf(o->name[i], sizeof(o->name[i]), "%s", e ? e->name : "");
	}
	post(o);
	return 0;
}

void pair_order_end(struct tunnel_server *s, uint64_t id, const char *why)
{
	struct pair_order *o = order_for(s, id);

	if (!o)
		return; /* it ends by itself when its ends do */
	o->end = why;
	post(o);
}
