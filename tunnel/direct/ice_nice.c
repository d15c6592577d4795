/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One agent of libnice: an attempt's direct component, or its relayed one; see ice_priv.h. Functions named in_thread_… and
 * on_… run in the ICE thread, the others in the attempt's loop; `owner` is of the loop alone, `agent` is set in the thread
 * before the first event is told and lives until both have let go.
 *
 * libnice 0.1.21: signals are connected before anything is gathered, for candidates may come out of that call; remote
 * credentials come before remote candidates; whoever does not attach a receive function gets no checks answered either.
 * Nomination is aggressive: the regular one waits until every other pair has failed unless two are valid, and can end
 * the process by an assertion when the pair it wants has just stopped succeeding.
 */
#include <nice/agent.h>
#undef MIN /* ours are in common/defs.h */
#undef MAX
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "common/bytes.h"
#include "tunnel/direct/ice_priv.h"

enum {
	PACING_MS = 20,	    /* RFC 8445 14.2 asks for 50; these are few pairs, and a link waits for them */
	FIRST_RTO_MS = 200, /* of a check, doubling */
	RETRANSMISSIONS = 5,
	BOX_BYTES = 64 * 1024, /* datagrams that go to the loop in one mail */
	BOX_DATAGRAMS = 64,
	BOXES_MAX = 32,
};

struct box { /* datagrams on their way to the loop */
	struct mail mail;
	struct ice_nice *n;
	size_t count, bytes;
	struct iovec v[BOX_DATAGRAMS];
	uint8_t data[BOX_BYTES];
};

struct ice_nice {
	atomic_uint refs;
	void *owner; /* NULL: it has let go */
	struct ice_nice_options o;

	NiceAgent *agent;
	guint stream;
	bool ready, ended;
	struct addr told_local, told_remote; /* of the path that was told last */

	pthread_mutex_t lock; /* the rest */
	struct box *filling;
	unsigned boxes;
};

static struct ice_nice *hold(struct ice_nice *n)
{
	atomic_fetch_add(&n->refs, 1);
	return n;
}

static void let_go(void *arg)
{
	struct ice_nice *n = arg;

	if (atomic_fetch_sub(&n->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&n->lock);
	bytes_wipe(&n->o, sizeof n->o);
	free(n);
}

/* ---- events, from the thread to the loop ---- */

enum event_kind { EVENT_CANDIDATE, EVENT_GATHERED, EVENT_PATH, EVENT_STATE };
struct event {
	struct mail mail;
	struct ice_nice *n;
	enum event_kind kind;
	union {
		struct candidate candidate;
		struct ice_path path;
		enum ice_state state;
	};
};

static void drop_event(struct mail *m)
{
	struct event *e = container_of(m, struct event, mail);

	if (e->kind == EVENT_PATH && e->path.fd >= 0)
		close(e->path.fd);
	let_go(e->n);
	g_free(e);
}

static void deliver_event(struct mail *m, struct loop *l)
{
	struct event *e = container_of(m, struct event, mail);
	struct ice_nice *n = e->n;
	const struct ice_nice_ops *ops = n->o.ops;

	(void)l;
	if (n->owner && e->kind == EVENT_CANDIDATE)
		ops->candidate(&e->candidate, n->owner);
	else if (n->owner && e->kind == EVENT_GATHERED)
		ops->gathered(n->owner);
	else if (n->owner && e->kind == EVENT_STATE)
		ops->state(e->state, n->owner);
	else if (n->owner) {
		struct ice_path p = e->path;
		e->path.fd = -1;
		ops->path(&p, n->owner);
	}
	drop_event(m);
}

static struct event *event_new(struct ice_nice *n, enum event_kind kind)
{
	struct event *e = g_new0(struct event, 1);

	e->mail = (struct mail){ .deliver = deliver_event, .drop = drop_event };
	e->n = hold(n);
	e->kind = kind;
	return e;
}

static void tell_state(struct ice_nice *n, enum ice_state s)
{
	struct event *e = event_new(n, EVENT_STATE);

	e->state = s;
	loop_post(n->o.loop, &e->mail);
}

/* ---- between libnice's types and ours ---- */

static struct addr from_nice(const NiceAddress *na)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in6 room;
	} u = { .sa.sa_family = AF_UNSPEC };
	struct addr a = { 0 };

	nice_address_copy_to_sockaddr(na, &u.sa);
	if (u.sa.sa_family == AF_INET || u.sa.sa_family == AF_INET6)
		(void)addr_from_sockaddr(&u.sa, u.sa.sa_family == AF_INET ? sizeof a.in4 : sizeof a.in6, &a);
	return a;
}

static NiceAddress to_nice(const struct addr *a)
{
	NiceAddress na;

	nice_address_init(&na);
	nice_address_set_from_sockaddr(&na, &a->sa);
	return na;
}

static enum candidate_type type_from(NiceCandidateType t)
{
	switch (t) {
	case NICE_CANDIDATE_TYPE_HOST: return CANDIDATE_HOST;
	case NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE: return CANDIDATE_SRFLX;
	case NICE_CANDIDATE_TYPE_PEER_REFLEXIVE: return CANDIDATE_PRFLX;
	case NICE_CANDIDATE_TYPE_RELAYED: return CANDIDATE_RELAY;
	default: return CANDIDATE_HOST;
	}
}

static NiceCandidateType type_to(enum candidate_type t)
{
	static const NiceCandidateType types[] = { NICE_CANDIDATE_TYPE_HOST, NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE,
						   NICE_CANDIDATE_TYPE_PEER_REFLEXIVE, NICE_CANDIDATE_TYPE_RELAYED };

	return types[t];
}

/* ---- what libnice tells ---- */

static void on_candidate(NiceAgent *agent, NiceCandidate *nc, gpointer arg)
{
	struct ice_nice *n = arg;
	struct event *e = event_new(n, EVENT_CANDIDATE);
	struct candidate *c = &e->candidate;

	(void)agent;
	snprintf(c->foundation, sizeof c->foundation, "%s", nc->foundation);
	c->component = n->o.relay ? CANDIDATE_RELAYED : CANDIDATE_DIRECT;
	c->priority = nc->priority;
	c->addr = from_nice(&nc->addr);
	c->type = type_from(nc->type);
	if (c->type != CANDIDATE_HOST)
		c->related = from_nice(&nc->base_addr);
	loop_post(n->o.loop, &e->mail);
}

static void on_gathered(NiceAgent *agent, guint stream, gpointer arg)
{
	(void)agent;
	(void)stream;
	loop_post(((struct ice_nice *)arg)->o.loop, &event_new(arg, EVENT_GATHERED)->mail);
}

/* The selected pair as a path. The socket is duplicated: libnice keeps its own. */
static void tell_path(struct ice_nice *n)
{
	NiceCandidate *local, *remote;
	struct addr l, r;
	GSocket *s = NULL;
	int fd = -1;

	if (!nice_agent_get_selected_pair(n->agent, n->stream, 1, &local, &remote))
		return;
	l = from_nice(&local->base_addr);
	r = from_nice(&remote->addr);
	if (addr_equal(&l, &n->told_local) && addr_equal(&r, &n->told_remote))
		return;
	if (!n->o.relay) {
		s = nice_agent_get_selected_socket(n->agent, n->stream, 1);
		fd = s ? fcntl(g_socket_get_fd(s), F_DUPFD_CLOEXEC, 0) : -1;
		g_clear_object(&s);
		if (fd < 0)
			return; /* none to take over, or no descriptor left: the relays remain */
	}
	struct event *e = event_new(n, EVENT_PATH);
	e->path = (struct ice_path){ .kind = n->o.relay ? ICE_RELAYED : ICE_DIRECT, .fd = fd, .local = l, .remote = r,
				     .local_type = type_from(local->type), .remote_type = type_from(remote->type) };
	n->told_local = l;
	n->told_remote = r;
	loop_post(n->o.loop, &e->mail);
}

static void on_component_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer arg)
{
	struct ice_nice *n = arg;

	(void)agent;
	(void)stream;
	(void)component;
	if (state == NICE_COMPONENT_STATE_CONNECTING)
		tell_state(n, ICE_CHECKING);
	else if (state == NICE_COMPONENT_STATE_CONNECTED || state == NICE_COMPONENT_STATE_READY) {
		/* Ready would be when no pair of a higher priority is left to be tried: seconds later. */
		n->ready = true;
		tell_path(n);
		tell_state(n, ICE_CONNECTED);
	} else if (state == NICE_COMPONENT_STATE_FAILED)
		tell_state(n, ICE_FAILED);
}

static void on_selected_pair(NiceAgent *agent, guint stream, guint component, NiceCandidate *local, NiceCandidate *remote, gpointer arg)
{
	struct ice_nice *n = arg;

	(void)agent;
	(void)stream;
	(void)component;
	(void)local;
	(void)remote;
	if (n->ready)
		tell_path(n);
}

/* ---- datagrams ---- */

static void drop_box(struct mail *m)
{
	struct box *b = container_of(m, struct box, mail);

	let_go(b->n);
	free(b);
}

static void deliver_box(struct mail *m, struct loop *l)
{
	struct box *b = container_of(m, struct box, mail);
	struct ice_nice *n = b->n;

	(void)l;
	pthread_mutex_lock(&n->lock); /* from here on nothing is added to it */
	n->boxes--;
	if (n->filling == b)
		n->filling = NULL;
	pthread_mutex_unlock(&n->lock);
	if (n->owner)
		n->o.ops->data(b->v, b->count, n->owner);
	drop_box(m);
}

/* Under the lock. NULL: the loop does not keep up. *ret_new: it has to be posted. */
static struct box *box_with_room(struct ice_nice *n, size_t len, bool *ret_new)
{
	struct box *b = n->filling;

	*ret_new = false;
	if (b && b->count < BOX_DATAGRAMS && b->bytes + len <= BOX_BYTES)
		return b;
	n->filling = NULL;
	if (n->boxes >= BOXES_MAX || len > BOX_BYTES || !(b = malloc(sizeof *b)))
		return NULL;
	b->mail = (struct mail){ .deliver = deliver_box, .drop = drop_box };
	b->n = hold(n);
	b->count = b->bytes = 0;
	n->filling = b;
	n->boxes++;
	*ret_new = true;
	return b;
}

static void on_datagram(NiceAgent *agent, guint stream, guint component, guint len, gchar *data, gpointer arg)
{
	struct ice_nice *n = arg;
	bool is_new = false;
	struct box *b;

	(void)agent;
	(void)stream;
	(void)component;
	pthread_mutex_lock(&n->lock);
	/* What comes to the direct component here came before its socket was taken over; QUIC sends it again. */
	b = n->o.relay ? box_with_room(n, len, &is_new) : NULL;
	if (b) {
		memcpy(b->data + b->bytes, data, len);
		b->v[b->count++] = (struct iovec){ b->data + b->bytes, len };
		b->bytes += len;
	} /* else they come faster than they are taken: QUIC sends it again */
	pthread_mutex_unlock(&n->lock);
	if (is_new)
		loop_post(n->o.loop, &b->mail);
}

int ice_nice_send(struct ice_nice *n, const struct iovec *v, size_t count)
{
	GOutputVector g[BOX_DATAGRAMS];
	NiceOutputMessage m[BOX_DATAGRAMS];
	GError *e = NULL;
	gint sent;

	count = MIN(count, BOX_DATAGRAMS);
	for (size_t i = 0; i < count; i++) {
		g[i] = (GOutputVector){ v[i].iov_base, v[i].iov_len };
		m[i] = (NiceOutputMessage){ &g[i], 1 };
	}
	sent = nice_agent_send_messages_nonblocking(n->agent, n->stream, 1, m, (guint)count, NULL, &e);
	if (sent < 0)
		sent = g_error_matches(e, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ? 0 : -EIO;
	g_clear_error(&e);
	return sent;
}

/* ---- in the thread ---- */

static void add_servers(struct ice_nice *n)
{
	char ip[ADDR_STRLEN];

	if (addr_family(&n->o.stun) != AF_UNSPEC && (!n->o.relay || n->o.n_turn == 0))
		g_object_set(n->agent, "stun-server", addr_print_ip(&n->o.stun, ip), "stun-server-port", (guint)addr_port(&n->o.stun),
			     NULL);
	for (size_t i = 0; i < n->o.n_turn && n->o.relay; i++) {
		const struct ice_turn *t = &n->o.turn[i];
		nice_agent_set_relay_info(n->agent, n->stream, 1, addr_print_ip(&t->server, ip), addr_port(&t->server), t->user,
					  t->password, t->tcp ? NICE_RELAY_TYPE_TURN_TCP : NICE_RELAY_TYPE_TURN_UDP);
	}
}

static void set_up(struct ice_nice *n)
{
	n->agent = nice_agent_new_full(ice_thread_context(n->o.thread), NICE_COMPATIBILITY_RFC5245,
				       NICE_AGENT_OPTION_ICE_TRICKLE | NICE_AGENT_OPTION_CONSENT_FRESHNESS);
	g_object_set(n->agent, "controlling-mode", n->o.controlling, "upnp", FALSE, "ice-tcp", FALSE, "stun-pacing-timer", PACING_MS,
		     "stun-initial-timeout", FIRST_RTO_MS, "stun-max-retransmissions", RETRANSMISSIONS, "force-relay",
		     n->o.relay && n->o.n_turn > 0, NULL);
	for (size_t i = 0; i < n->o.n_local; i++) {
		NiceAddress a = to_nice(&n->o.local[i]);
		nice_agent_add_local_address(n->agent, &a);
	}
	g_signal_connect(n->agent, "new-candidate-full", G_CALLBACK(on_candidate), n);
	g_signal_connect(n->agent, "candidate-gathering-done", G_CALLBACK(on_gathered), n);
	g_signal_connect(n->agent, "component-state-changed", G_CALLBACK(on_component_state), n);
	g_signal_connect(n->agent, "new-selected-pair-full", G_CALLBACK(on_selected_pair), n);
	n->stream = nice_agent_add_stream(n->agent, 1);
	nice_agent_set_local_credentials(n->agent, n->stream, n->o.ufrag, n->o.pwd);
	if (n->o.port_min)
		nice_agent_set_port_range(n->agent, n->stream, 1, n->o.port_min, n->o.port_max);
	add_servers(n);
	nice_agent_attach_recv(n->agent, n->stream, 1, ice_thread_context(n->o.thread), on_datagram, n);
}

static void in_thread_begin(void *arg)
{
	struct ice_nice *n = arg;

	ice_thread_agents(n->o.thread, 1);
	hold(n); /* the signals' */
	set_up(n);
	if (n->o.n_local == 0 || !nice_agent_gather_candidates(n->agent, n->stream)) {
		on_gathered(n->agent, n->stream, n);
		tell_state(n, ICE_FAILED);
	}
}

static void on_closed(GObject *source, GAsyncResult *result, gpointer arg)
{
	struct ice_nice *n = arg;

	(void)source;
	(void)result;
	g_signal_handlers_disconnect_by_data(n->agent, n);
	g_object_unref(n->agent);
	ice_thread_agents(n->o.thread, -1);
	let_go(n);
}

/* TURN allocations are given back, which needs this loop to go on. */
static void in_thread_end(void *arg)
{
	struct ice_nice *n = arg;

	nice_agent_attach_recv(n->agent, n->stream, 1, ice_thread_context(n->o.thread), NULL, NULL);
	nice_agent_close_async(n->agent, on_closed, n);
}

struct request {
	struct ice_nice *n;
	char ufrag[ICE_UFRAG_MAX + 1], pwd[ICE_PWD_MAX + 1];
	struct candidate c;
};

static void drop_request(void *arg)
{
	struct request *q = arg;

	let_go(q->n);
	g_free(q);
}

static void in_thread_remote(void *arg)
{
	struct request *q = arg;

	nice_agent_set_remote_credentials(q->n->agent, q->n->stream, q->ufrag, q->pwd);
}

static void in_thread_candidate(void *arg)
{
	struct request *q = arg;
	NiceCandidate *nc = nice_candidate_new(type_to(q->c.type));
	GSList *list = g_slist_append(NULL, nc);

	nc->transport = NICE_CANDIDATE_TRANSPORT_UDP;
	nc->component_id = 1;
	nc->stream_id = q->n->stream;
	nc->priority = q->c.priority;
	nc->addr = to_nice(&q->c.addr);
	if (addr_family(&q->c.related) != AF_UNSPEC)
		nc->base_addr = to_nice(&q->c.related);
	g_strlcpy(nc->foundation, q->c.foundation, sizeof nc->foundation);
	nice_agent_set_remote_candidates(q->n->agent, q->n->stream, 1, list);
	g_slist_free_full(list, (GDestroyNotify)nice_candidate_free);
}

static void in_thread_done(void *arg)
{
	struct ice_nice *n = arg;

	nice_agent_peer_candidate_gathering_done(n->agent, n->stream);
}

/* ---- calls of the loop ---- */

int ice_nice_new(const struct ice_nice_options *o, struct ice_nice **ret_n)
{
	struct ice_nice *n = calloc(1, sizeof *n);

	if (!n)
		return -ENOMEM;
	n->o = *o;
	n->owner = o->owner;
	atomic_init(&n->refs, 1);
	pthread_mutex_init(&n->lock, NULL);
	ice_thread_call(o->thread, in_thread_begin, hold(n), let_go);
	*ret_n = n;
	return 0;
}

struct ice_nice *ice_nice_free(struct ice_nice *n)
{
	if (!n)
		return NULL;
	n->owner = NULL;
	ice_thread_call(n->o.thread, in_thread_end, n, let_go);
	return NULL;
}

static struct request *request_new(struct ice_nice *n)
{
	struct request *q = g_new0(struct request, 1);

	q->n = hold(n);
	return q;
}

void ice_nice_remote(struct ice_nice *n, const char *ufrag, const char *pwd)
{
	struct request *q = request_new(n);

	g_strlcpy(q->ufrag, ufrag, sizeof q->ufrag);
	g_strlcpy(q->pwd, pwd, sizeof q->pwd);
	ice_thread_call(n->o.thread, in_thread_remote, q, drop_request);
}

void ice_nice_candidate(struct ice_nice *n, const struct candidate *c)
{
	struct request *q = request_new(n);

	q->c = *c;
	ice_thread_call(n->o.thread, in_thread_candidate, q, drop_request);
}

void ice_nice_done(struct ice_nice *n)
{
	ice_thread_call(n->o.thread, in_thread_done, hold(n), let_go);
}
