/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's connection to stile-fastpath: channels are asked into the kernel and out of it by messages
 * (turn/fastpath/wire.h), ended, prolonged and counted in the shared memory of their slots.
 *
 * An entry is a channel that should be in the kernel; it lives from add() to remove(), and then until the
 * helper has let go of its slot. Without a helper entries wait. When it dies its slots are closed first,
 * so that nothing passes by whatever it may have left behind; user space carries on, and entries wait again.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/fd.h"
#include "turn/edge.h"
#include "turn/fastpath/layout.h"
#include "turn/log_msgs.h"

enum { TICK_MS = 1000, SPINS = 20000, ANSWERS_PER_PASS = 64, NONE = 0xffffffff };

enum state {
	FREE,
	WANTED,	  /* to be asked for; in the queue if there is a helper */
	ASKED,	  /* ADD is unanswered */
	LIVE,	  /* has a slot */
	REFUSED,  /* has none, until it is prolonged */
	UNWANTED, /* to be removed; in the queue */
	REMOVING, /* REMOVE is unanswered */
};

struct entry {
	struct fast_channel c;
	uint64_t until; /* ms */
	struct turn_offload_counts seen;  /* of the slot, up to the last take() */
	struct turn_offload_counts saved; /* of slots that are gone, not taken yet */
	uint32_t slot, generation, next;
	enum state state;
	enum fast_why why;
	bool ended; /* while it was asked for */
};

struct turn_offload {
	struct turn_worker *w;
	struct io io;
	struct timer tick;
	bool greeted, told_down;
	enum fast_mode mode;
	char interfaces[FAST_NAMES_LEN], path[512];
	uint32_t asked_seq, answered_seq; /* HELLO is number 1 */
	uint32_t asked[FAST_UNANSWERED_MAX]; /* entries, by sequence number */
	struct fast_slot *slots;
	uint32_t n_slots;
	struct entry *v;
	uint32_t n, cap, free, first, last; /* lists of entries by index */
	unsigned live;
};

/* ---- slots ---- */

/* False: the helper has given up on this connection, which we have not seen yet, and the slot is another's. */
static bool slot_is_ours(const struct turn_offload *o, const struct entry *e)
{
	return __atomic_load_n(&o->slots[e->slot].generation, __ATOMIC_ACQUIRE) == e->generation;
}

static void slot_until(struct turn_offload *o, const struct entry *e, uint64_t until_ms)
{
	uint64_t ns = until_ms > UINT64_MAX / 1000000 ? UINT64_MAX : until_ms * 1000000;

	if (slot_is_ours(o, e))
		__atomic_store_n(&o->slots[e->slot].expires_ns, ns, __ATOMIC_SEQ_CST);
}

/* Nothing passes from here on, and what has passed is counted. A packet is inside for a microsecond. */
static void slot_close(struct turn_offload *o, const struct entry *e)
{
	slot_until(o, e, 0);
	for (unsigned i = 0; i < SPINS && __atomic_load_n(&o->slots[e->slot].inside, __ATOMIC_SEQ_CST); i++)
		__asm__ volatile("" ::: "memory");
}

static void slot_count(struct turn_offload *o, struct entry *e, struct turn_offload_counts *c)
{
	const struct fast_slot *s = &o->slots[e->slot];

	for (unsigned way = 0; way < 2 && slot_is_ours(o, e); way++) {
		uint64_t packets = __atomic_load_n(&s->packets[way], __ATOMIC_RELAXED);
		uint64_t bytes = __atomic_load_n(&s->bytes[way], __ATOMIC_RELAXED);
		c->packets[way] += packets - e->seen.packets[way];
		c->bytes[way] += bytes - e->seen.bytes[way];
		e->seen.packets[way] = packets;
		e->seen.bytes[way] = bytes;
	}
}

/* ---- entries ---- */

static void enqueue(struct turn_offload *o, uint32_t i)
{
	o->v[i].next = NONE;
	if (o->first == NONE)
		o->first = i;
	else
		o->v[o->last].next = i;
	o->last = i;
}

static void entry_free(struct turn_offload *o, uint32_t i)
{
	o->v[i] = (struct entry){ .next = o->free };
	o->free = i;
}

static uint32_t entry_new(struct turn_offload *o)
{
	uint32_t i = o->free;

	if (i != NONE) {
		o->free = o->v[i].next;
		return i;
	}
	if (o->n == o->cap) {
		uint32_t cap = o->cap ? 2 * o->cap : 16;
		struct entry *v = realloc(o->v, cap * sizeof *v);
		if (!v)
			return NONE;
		o->v = v;
		o->cap = cap;
	}
	return o->n++;
}

static void set_live(struct turn_offload *o, struct entry *e, bool live)
{
	int change = live - (e->state == LIVE && e->why == FAST_OFFLOADED);

	o->live = (unsigned)((int)o->live + change);
	metric_add(o->w->ts->metrics, o->w->index, TURN_M_OFFLOADED_CHANNELS, 0, change);
}

/* ---- the connection ends ---- */

static void put_aside(struct turn_offload *o, uint32_t i)
{
	struct entry *e = &o->v[i];

	if (e->state == LIVE) {
		slot_close(o, e);
		slot_count(o, e, &e->saved);
		set_live(o, e, false);
	}
	if (e->state == FREE)
		return;
	if (e->ended || e->state == UNWANTED || e->state == REMOVING) {
		entry_free(o, i);
		return;
	}
	e->state = WANTED;
	e->why = FAST_WHY_NO_HELPER;
	e->seen = (struct turn_offload_counts){ 0 };
}

static void disconnect(struct turn_offload *o)
{
	for (uint32_t i = 0; i < o->n; i++)
		put_aside(o, i);
	o->first = o->last = NONE;
	if (o->slots)
		munmap(o->slots, o->n_slots * sizeof *o->slots);
	o->slots = NULL;
	io_stop(&o->io);
	closep(&o->io.fd);
	o->io.fd = -1;
	o->greeted = false;
	o->asked_seq = o->answered_seq = 0;
}

static void tell_down(struct turn_offload *o, const char *why)
{
	if (!o->told_down)
		log_emit(&MSG_TURN_FAST_PATH_DOWN, LF_U64("worker", o->w->index), LF_STR("socket", o->path), LF_STR("why", why));
	o->told_down = true;
}

static void lost(struct turn_offload *o, const char *why)
{
	disconnect(o);
	tell_down(o, why);
}

/* ---- questions ---- */

static bool ask(struct turn_offload *o, struct fast_msg *m, uint32_t entry)
{
	uint8_t bytes[FAST_MSG_LEN];

	m->seq = ++o->asked_seq;
	o->asked[m->seq % FAST_UNANSWERED_MAX] = entry;
	fast_msg_write(m, bytes);
	return send(o->io.fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof bytes;
}

static bool ask_for(struct turn_offload *o, uint32_t i)
{
	struct entry *e = &o->v[i];
	struct fast_msg m = { .type = FAST_ADD, .add = e->c };

	if (e->state == WANTED && e->ended) {
		entry_free(o, i);
		return true;
	}
	if (e->state == UNWANTED)
		m = (struct fast_msg){ .type = FAST_REMOVE, .state = { e->slot, e->generation, FAST_OFFLOADED } };
	e->state = e->state == UNWANTED ? REMOVING : ASKED;
	return ask(o, &m, i);
}

/* No more at a time than the socket's buffers hold on both sides. */
static void pump(struct turn_offload *o)
{
	while (o->greeted && o->first != NONE && o->asked_seq - o->answered_seq < FAST_UNANSWERED_MAX) {
		uint32_t i = o->first;
		o->first = o->v[i].next;
		if (!ask_for(o, i))
			lost(o, strerror(errno));
	}
}

/* ---- answers ---- */

/* What GRO puts together before TC sees it stays for user space, and the rest would overtake it. */
static void no_gro(const struct turn_offload *o, int fd)
{
	if (o->mode == FAST_TC)
		(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &(int){ 0 }, sizeof(int));
}

static void no_gro_at_listeners(const struct turn_offload *o)
{
	list_for_each (it, &o->w->udp) {
		const struct turn_udp *u = list_entry(it, struct turn_udp, node);
		for (unsigned i = 0; !u->dtls && i < TURN_LANES; i++)
			no_gro(o, u->lane[i].io.fd);
	}
}

static bool on_welcome(struct turn_offload *o, const struct fast_msg *m, int fd)
{
	size_t n = (size_t)m->welcome.slots * sizeof *o->slots;

	if (o->greeted || fd < 0)
		return false;
	void *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return false;
	o->slots = at;
	o->n_slots = m->welcome.slots;
	o->mode = m->welcome.mode;
	memcpy(o->interfaces, m->welcome.interfaces, sizeof o->interfaces);
	o->greeted = true;
	o->told_down = false;
	log_emit(&MSG_TURN_FAST_PATH_UP, LF_U64("worker", o->w->index), LF_STR("mode", o->mode == FAST_XDP ? "xdp" : "tc"),
		 LF_STR("interfaces", o->interfaces));
	no_gro_at_listeners(o);
	for (uint32_t i = 0; i < o->n; i++)
		if (o->v[i].state == WANTED) {
			o->v[i].why = FAST_WHY_WAITING;
			enqueue(o, i);
		}
	return true;
}

static bool on_added(struct turn_offload *o, const struct fast_msg *m, uint32_t i)
{
	struct entry *e = i < o->n ? &o->v[i] : NULL;

	if (!e || e->state != ASKED || (m->state.slot != FAST_NO_SLOT && m->state.slot >= o->n_slots))
		return false;
	e->slot = m->state.slot;
	e->generation = m->state.generation;
	e->seen = (struct turn_offload_counts){ 0 };
	if (e->slot == FAST_NO_SLOT && e->ended) {
		entry_free(o, i);
	} else if (e->slot == FAST_NO_SLOT) {
		e->state = REFUSED;
		e->why = m->state.why;
	} else if (e->ended) {
		e->state = UNWANTED;
		enqueue(o, i);
	} else {
		set_live(o, e, m->state.why == FAST_OFFLOADED);
		e->state = LIVE;
		e->why = m->state.why;
		slot_until(o, e, e->until);
	}
	return true;
}

static bool on_removed(struct turn_offload *o, const struct fast_msg *m, uint32_t i)
{
	if (i >= o->n || o->v[i].state != REMOVING || o->v[i].slot != m->state.slot)
		return false;
	entry_free(o, i);
	return true;
}

/* News is rare (routes change), so the entry is looked for. */
static bool on_state(struct turn_offload *o, const struct fast_msg *m)
{
	for (uint32_t i = 0; i < o->n; i++) {
		struct entry *e = &o->v[i];
		if (e->state != LIVE || e->slot != m->state.slot || e->generation != m->state.generation)
			continue;
		set_live(o, e, m->state.why == FAST_OFFLOADED);
		e->why = m->state.why;
		return true;
	}
	return true; /* of one that is being removed */
}

static bool dispatch(struct turn_offload *o, const struct fast_msg *m, int fd)
{
	uint32_t i;

	if (m->type == FAST_STATE)
		return o->greeted && m->seq == 0 && on_state(o, m);
	if (m->seq != o->answered_seq + 1 || o->answered_seq == o->asked_seq)
		return false;
	o->answered_seq = m->seq;
	i = o->asked[m->seq % FAST_UNANSWERED_MAX];
	return m->type == FAST_WELCOME ? on_welcome(o, m, fd) :
	       m->type == FAST_ADDED   ? on_added(o, m, i) :
	       m->type == FAST_REMOVED ? on_removed(o, m, i) : false;
}

/* One message, and the descriptor that came along or -1. */
static ssize_t receive(int from, uint8_t bytes[static FAST_MSG_LEN + 1], int *ret_fd)
{
	union {
		struct cmsghdr h;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { bytes, FAST_MSG_LEN + 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(from, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (n >= 0 && msg.msg_controllen >= CMSG_LEN(sizeof(int)) && control.h.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&control.h), sizeof *ret_fd);
	return n;
}

static void on_helper(struct io *io, int events)
{
	struct turn_offload *o = container_of(io, struct turn_offload, io);
	uint8_t bytes[FAST_MSG_LEN + 1];
	struct fast_msg m;

	(void)events;
	for (unsigned i = 0; i < ANSWERS_PER_PASS; i++) {
		_cleanup_(closep) int fd = -1;
		ssize_t n = receive(io->fd, bytes, &fd);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			lost(o, n < 0 ? strerror(errno) : "it closed the connection");
			return;
		}
		if (fast_msg_parse(bytes, (size_t)n, &m) < 0 || !dispatch(o, &m, fd)) {
			lost(o, "it broke the protocol; are both programs of one version?");
			return;
		}
	}
	pump(o);
}

static void try_connect(struct turn_offload *o)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct fast_msg hello = { .type = FAST_HELLO, .hello = { (uint16_t)o->w->index } };
	struct ucred cred;
	socklen_t len = sizeof cred;

	memcpy(at.sun_path, o->path, MIN(strlen(o->path) + 1, sizeof at.sun_path - 1));
	if (fd < 0 || connect(fd, (const void *)&at, sizeof at) < 0) {
		tell_down(o, strerror(errno));
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || (cred.uid != 0 && cred.uid != geteuid())) {
		tell_down(o, "it runs as another user");
		return;
	}
	if (io_start(&o->io, o->w->loop, fd, IO_READ, on_helper) < 0) {
		o->io.fd = -1;
		return;
	}
	(void)steal_fd(&fd); /* it is io's */
	if (!ask(o, &hello, NONE))
		lost(o, strerror(errno));
}

static void on_tick(struct timer *t, uint64_t now)
{
	struct turn_offload *o = container_of(t, struct turn_offload, tick);

	(void)now;
	if (o->io.fd < 0)
		try_connect(o);
	turn_server_count_offloaded(o->w->server);
	if (o->greeted)
		no_gro_at_listeners(o); /* of those that a reload has opened */
	loop_timer_set(o->w->loop, &o->tick, TICK_MS);
}

/* ---- what the core calls ---- */

static uint32_t offload_add(void *edge, struct turn_relay *r, const struct fast_channel *c, uint64_t until)
{
	struct turn_offload *o = ((struct turn_worker *)edge)->offload;
	uint32_t i = entry_new(o);

	if (i == NONE)
		return 0;
	o->v[i] = (struct entry){ .c = *c, .until = until, .state = WANTED,
				  .why = o->greeted ? FAST_WHY_WAITING : FAST_WHY_NO_HELPER };
	if (o->greeted) {
		no_gro(o, r->io.fd);
		enqueue(o, i);
		pump(o);
	}
	return i + 1;
}

static void offload_until(void *edge, uint32_t h, uint64_t until)
{
	struct turn_offload *o = ((struct turn_worker *)edge)->offload;
	struct entry *e = &o->v[h - 1];

	e->until = until;
	if (e->state == LIVE) {
		slot_until(o, e, until);
	} else if (e->state == REFUSED) { /* there may be room by now */
		e->state = WANTED;
		e->why = FAST_WHY_WAITING;
		enqueue(o, h - 1);
		pump(o);
	}
}

static void offload_take(void *edge, uint32_t h, struct turn_offload_counts *ret_c)
{
	struct turn_offload *o = ((struct turn_worker *)edge)->offload;
	struct entry *e = &o->v[h - 1];

	*ret_c = e->saved;
	e->saved = (struct turn_offload_counts){ 0 };
	if (e->state == LIVE)
		slot_count(o, e, ret_c);
}

static void offload_remove(void *edge, uint32_t h, struct turn_offload_counts *ret_c)
{
	struct turn_offload *o = ((struct turn_worker *)edge)->offload;
	struct entry *e = &o->v[h - 1];

	if (e->state == LIVE)
		slot_close(o, e);
	offload_take(edge, h, ret_c);
	e->ended = true;
	if (e->state == LIVE) {
		set_live(o, e, false);
		e->state = UNWANTED;
		enqueue(o, h - 1);
		pump(o);
	} else if (e->state == REFUSED || (e->state == WANTED && !o->greeted)) {
		entry_free(o, h - 1);
	} /* else its turn in the queue or its answer will come */
}

static enum fast_why offload_why(void *edge, uint32_t h)
{
	return ((struct turn_worker *)edge)->offload->v[h - 1].why;
}

const struct turn_offload_ops turn_udp_offload_ops = {
	.add = offload_add,
	.until = offload_until,
	.take = offload_take,
	.remove = offload_remove,
	.why = offload_why,
};

/* ---- life ---- */

int turn_offload_new(struct turn_worker *w, struct turn_offload **ret_o)
{
	const struct instance *in = &w->ts->svc->instance;
	struct turn_offload *o = calloc(1, sizeof *o);

	if (!o)
		return -ENOMEM;
	*o = (struct turn_offload){ .w = w, .io = { .fd = -1 }, .tick = { .fire = on_tick }, .free = NONE, .first = NONE, .last = NONE };
	int r = fast_socket_path(in->runtime_dir, in->name, o->path, sizeof o->path);
	if (r < 0) {
		free(o);
		return r;
	}
	loop_timer_set(w->loop, &o->tick, 0);
	*ret_o = o;
	return 0;
}

struct turn_offload *turn_offload_free(struct turn_offload *o)
{
	if (!o)
		return NULL;
	timer_stop(&o->tick);
	disconnect(o);
	free(o->v);
	free(o);
	return NULL;
}

void turn_offload_state(const struct turn_offload *o, struct turn_offload_state *s)
{
	s->connected += o->greeted;
	if (!o->greeted)
		return;
	s->mode = o->mode;
	memcpy(s->interfaces, o->interfaces, sizeof s->interfaces);
}
