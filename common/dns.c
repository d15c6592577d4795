/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver over c-ares: its sockets are watched by the loop, its time-outs are a timer of the loop's wheel.
 *
 * A query that c-ares works on cannot be taken back from it, so an owner who cancels, or a deadline that passes,
 * only detaches the query; it is freed when c-ares is done with it. done() is called from the query's one timer,
 * which means "deadline" while c-ares works and "deliver" after, so never from inside of c-ares.
 *
 * A channel is c-ares with the name servers of one reading of /etc/resolv.conf. When that file or the network has
 * changed a new channel is made; the old one goes when its last query has ended, and what that learns is not
 * remembered. c-ares reads /etc/hosts for each query.
 *
 * c-ares answers a question for both families when it has both, and some name servers are silent to AAAA: that takes
 * longer than anybody waits. So what is not answered after APART_MS is asked for each family by itself, too; when one
 * has addresses the other has REST_MS more (RFC 8305 3). Not from the start: what /etc/hosts and the search list
 * have is found for both families at once. The question for both goes on, and what it learns is remembered in the
 * place of a half.
 *
 * A query for the name of an address has the address's text as its host, and a memory of its own.
 */
#include "common/dns_priv.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "common/dns_records.h"

enum { FIRST_TIMEOUT_MS = 1500, TRIES = 3, APART_MS = 300, REST_MS = 100 };
#define RESOLV_CONF "/etc/resolv.conf"

struct sock {
	struct list node;
	struct channel *channel;
	struct io io;
};

static const char *const texts[DNS_STATUSES] = {
	[DNS_OK] = "found",
	[DNS_NO_NAME] = "the name does not exist",
	[DNS_NO_ADDRESS] = "the name has no address of this kind",
	[DNS_TIMEOUT] = "no name server answered in time",
	[DNS_NO_SERVER] = "no name server can be reached or has an answer; see /etc/resolv.conf",
	[DNS_SERVER_FAILED] = "the name server gave no proper answer",
	[DNS_BAD_NAME] = "this cannot be a name",
	[DNS_NO_MEMORY] = "out of memory",
};

const char *dns_status_text(enum dns_status s)
{
	return texts[s];
}

static const struct {
	int ares;
	enum dns_status status;
} meanings[] = {
	{ ARES_SUCCESS, DNS_OK },
	{ ARES_ENOTFOUND, DNS_NO_NAME },
	{ ARES_ENODATA, DNS_NO_ADDRESS },
	{ ARES_ETIMEOUT, DNS_TIMEOUT },
	{ ARES_ECONNREFUSED, DNS_NO_SERVER },
	{ ARES_EBADNAME, DNS_BAD_NAME },
	{ ARES_ENOMEM, DNS_NO_MEMORY },
};

enum dns_status dns_status_of(int ares)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].ares == ares)
			return meanings[i].status;
	return DNS_SERVER_FAILED;
}

/* ---- a channel: sockets and time-outs of c-ares ---- */

static struct channel *channel_free(struct channel *ch)
{
	if (!ch)
		return NULL;
	if (ch->ares)
		ares_destroy(ch->ares); /* ends what it works on and closes its sockets: through on_socket() */
	timer_stop(&ch->due);
	list_unlink(&ch->node);
	free(ch);
	return NULL;
}

/* After everything that c-ares did. */
void dns_arm(struct channel *ch)
{
	struct timeval tv;
	uint64_t wait;

	if (ch->retired && !ch->asked) {
		loop_timer_set(ch->dns->loop, &ch->due, 0);
		return;
	}
	if (!ares_timeout(ch->ares, NULL, &tv)) {
		timer_stop(&ch->due);
		return;
	}
	wait = (uint64_t)tv.tv_sec * 1000 + (uint64_t)(tv.tv_usec + 999) / 1000;
	loop_timer_set(ch->dns->loop, &ch->due, wait);
}

static void on_due(struct timer *t, uint64_t now)
{
	struct channel *ch = container_of(t, struct channel, due);

	(void)now;
	if (ch->retired && !ch->asked) {
		channel_free(ch);
		return;
	}
	ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_arm(ch);
}

static void on_ready(struct io *io, int events)
{
	const struct sock *s = container_of(io, struct sock, io);
	struct channel *ch = s->channel;
	int fd = io->fd; /* the socket may be gone when it has been read */

	ares_process_fd(ch->ares, events & IO_READ ? fd : ARES_SOCKET_BAD, events & IO_WRITE ? fd : ARES_SOCKET_BAD);
	dns_arm(ch);
}

static struct sock *find_socket(struct channel *ch, int fd)
{
	list_for_each(it, &ch->sockets) {
		struct sock *s = list_entry(it, struct sock, node);
		if (s->io.fd == fd)
			return s;
	}
	return NULL;
}

static void watch(struct channel *ch, int fd, int events)
{
	struct sock *s = calloc(1, sizeof(*s));

	/* Without memory nobody hears the answer, and the query ends by its time-out. */
	if (!s || io_start(&s->io, ch->dns->loop, fd, events, on_ready) < 0) {
		free(s);
		return;
	}
	s->channel = ch;
	list_append(&ch->sockets, &s->node);
}

/* c-ares opens, closes or waits differently on one of its sockets. */
static void on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct channel *ch = arg;
	struct sock *s = find_socket(ch, fd);
	int events = (readable ? IO_READ : 0) | (writable ? IO_WRITE : 0);

	if (!s) {
		if (events)
			watch(ch, fd, events);
		return;
	}
	if (events) {
		(void)io_change(&s->io, events);
		return;
	}
	io_stop(&s->io);
	list_unlink(&s->node);
	free(s);
}

static void init_library(void)
{
	(void)ares_library_init(ARES_LIB_INIT_ALL);
}

static int channel_new(struct dns *d, struct channel **ret_ch)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct channel *ch = calloc(1, sizeof(*ch));
	struct ares_options o = { .timeout = (int)d->timeout_ms, .tries = (int)d->tries, .sock_state_cb = on_socket,
				  .sock_state_cb_data = ch };
	int r;

	if (!ch)
		return -ENOMEM;
	pthread_once(&once, init_library);
	ch->dns = d;
	ch->due.fire = on_due;
	list_init(&ch->node);
	list_init(&ch->sockets);
	r = ares_init_options(&ch->ares, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (r != ARES_SUCCESS)
		ch->ares = NULL;
	else if (d->servers)
		r = ares_set_servers_ports_csv(ch->ares, d->servers);
	if (r != ARES_SUCCESS) {
		channel_free(ch);
		return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	*ret_ch = ch;
	return 0;
}

static struct stamp stamp_now(void)
{
	struct stat st;

	if (stat(RESOLV_CONF, &st) < 0)
		return (struct stamp){ 0 };
	return (struct stamp){ st.st_mtim, st.st_ino, st.st_size };
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

/* New sockets and name servers, for those who ask from now on. */
static int renew(struct dns *d)
{
	struct channel *old = d->channel;
	int r = channel_new(d, &d->channel);

	if (r < 0)
		return r;
	old->retired = true;
	list_append(&d->retired, &old->node);
	dns_arm(old);
	return 0;
}

void dns_forget(struct dns *d)
{
	struct stamp now = stamp_now();

	if (renew(d) == 0) /* else the old ones stay */
		d->stamp = now;
	d->age++;
	dns_cache_clear(d->cache);
	dns_cache_clear(d->names);
}

void dns_follow_resolv_conf(struct dns *d)
{
	struct stamp now;

	if (d->servers)
		return;
	now = stamp_now();
	if (!same_stamp(&now, &d->stamp))
		dns_forget(d);
}

/* ---- queries ---- */

static void query_free(struct dns_query *q)
{
	dns_records_unref(q->a.records);
	free(q);
}

static void deliver(struct dns_query *q)
{
	const struct dns_request rq = q->rq;
	uint64_t now = loop_now(q->dns->loop);
	_cleanup_(dns_records_unrefp) struct dns_records *records = dns_records_ref(q->a.records);
	struct dns_answers a = q->a;
	const struct dns_answer answer = { .status = a.status,
					   .addr = a.addr,
					   .n = a.n,
					   .ttl_ms = a.expires > now ? a.expires - now : 0,
					   .name = q->naming && a.status == DNS_OK ? a.name : NULL,
					   .records = records };

	for (size_t i = 0; i < a.n; i++)
		addr_set_port(&a.addr[i], rq.port);
	dns_cancel(q);
	rq.done(&answer, rq.arg);
}

static void on_query_timer(struct timer *t, uint64_t now)
{
	struct dns_query *q = container_of(t, struct dns_query, timer);

	(void)now;
	if (!q->answered && !q->a.n)
		q->a.status = DNS_TIMEOUT;
	deliver(q);
}

void dns_answered(struct dns_query *q)
{
	q->answered = true;
	loop_timer_set(q->dns->loop, &q->timer, 0);
}

static void take_addresses(struct dns_answers *ret_a, const struct ares_addrinfo *ai, uint64_t now)
{
	uint64_t ttl_ms = DNS_CACHE_TTL_MAX_MS;

	*ret_a = (struct dns_answers){ .status = DNS_OK };
	for (const struct ares_addrinfo_node *n = ai->nodes; n && ret_a->n < DNS_ADDRESSES_MAX; n = n->ai_next) {
		struct addr *a = &ret_a->addr[ret_a->n];
		if (addr_from_sockaddr(n->ai_addr, n->ai_addrlen, a) < 0)
			continue;
		ttl_ms = MIN(ttl_ms, (uint64_t)MAX(n->ai_ttl, 0) * 1000);
		ret_a->n++;
	}
	ret_a->expires = now + ttl_ms;
	if (!ret_a->n)
		ret_a->status = DNS_NO_ADDRESS;
}

/* What was looked up wrongly (no memory, no server) says nothing about the name. */
void dns_remember(struct dns_query *q, int kind, uint64_t now)
{
	struct dns_answers a = q->a;

	if (dns_outdated(q))
		return;
	if (a.status == DNS_OK ? a.expires <= now : a.status == DNS_NO_MEMORY || a.status == DNS_BAD_NAME)
		return;
	if (a.status != DNS_OK)
		a.expires = now + DNS_CACHE_FAILED_MS;
	dns_cache_put(q->dns->cache, q->host, kind, &a);
}

/* c-ares is done with one of its questions. */
static void put_down(struct dns_query *q)
{
	q->in->asked--;
	if (--q->asked)
		return;
	q->in = NULL;
	if (q->detached)
		query_free(q);
}

void dns_came_back(struct dns_query *q)
{
	q->dns->naming -= q->naming;
	if (!q->detached)
		dns_answered(q);
	put_down(q);
}

struct channel *dns_goes_out(struct dns_query *q)
{
	if (!q->in)
		q->in = q->dns->channel;
	q->in->asked++;
	q->asked++;
	return q->in;
}

void dns_deadline(struct dns_query *q, uint64_t ms)
{
	loop_timer_set(q->dns->loop, &q->timer, ms);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct dns_query *q = arg;

	(void)timeouts;
	if (dns_tells(status) && (status == ARES_SUCCESS || !q->a.n)) { /* a half is better than none */
		uint64_t now = loop_now(q->dns->loop);
		q->a.status = dns_status_of(status);
		if (q->a.status == DNS_OK)
			take_addresses(&q->a, ai, now);
		dns_remember(q, q->rq.family, now);
	}
	ares_freeaddrinfo(ai);
	dns_came_back(q);
}

static void ask_for(struct dns_query *q, const char *host, int family, ares_addrinfo_callback heard)
{
	struct channel *ch = dns_goes_out(q);
	const struct ares_addrinfo_hints hints = { .ai_family = family, .ai_socktype = SOCK_DGRAM };

	ares_getaddrinfo(ch->ares, host, NULL, &hints, heard, q); /* may answer at once */
	dns_arm(ch);
}

static void ask(struct dns_query *q)
{
	ask_for(q, q->host, q->rq.family, on_answer);
	if (q->rq.family == AF_UNSPEC)
		loop_timer_set(q->dns->loop, &q->apart, APART_MS);
}

/* ---- one family at a time ---- */

static bool has_way_to(const struct addr *a)
{
	struct addr own;

	return addr_towards(a, &own) == 0;
}

/* IPv6 goes first if there is a way to it (RFC 6724 6, rules 1 and 6); among each other c-ares has put them in order. */
static void add_half(struct dns_answers *a, const struct dns_answers *half)
{
	const struct dns_answers had = *a;
	const struct dns_answers *v6 = addr_family(&half->addr[0]) == AF_INET6 ? half : &had;
	const struct dns_answers *first = !had.n || (v6 == half) == has_way_to(&v6->addr[0]) ? half : &had;
	const struct dns_answers *second = first == half ? &had : half;

	a->n = MIN(first->n + second->n, (size_t)DNS_ADDRESSES_MAX);
	for (size_t i = 0; i < a->n; i++)
		a->addr[i] = i < first->n ? first->addr[i] : second->addr[i - first->n];
	a->expires = had.n ? MIN(had.expires, half->expires) : half->expires;
}

static void on_half(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct dns_query *q = arg;
	uint64_t now = loop_now(q->dns->loop);
	struct dns_answers half = { 0 };
	bool wanted = !q->detached && !q->answered;

	(void)timeouts;
	q->halves--;
	if (wanted && status == ARES_SUCCESS)
		take_addresses(&half, ai, now);
	ares_freeaddrinfo(ai);
	if (half.n) {
		add_half(&q->a, &half);
		dns_remember(q, AF_UNSPEC, now);
	}
	if (wanted && q->a.n && q->halves)
		loop_timer_set(q->dns->loop, &q->apart, REST_MS);
	else if (wanted && q->a.n)
		dns_answered(q);
	put_down(q);
}

/* A name that has dots is asked for as it is: through a search list each family goes on by itself until it finds something, and
 * what one finds may be another host's. */
static void ask_half(struct dns_query *q, int family)
{
	const char *dot = strrchr(q->host, '.');
	char host[DNS_NAME_MAX + 2];

	(void)snprintf(host, sizeof(host), dot && dot[1] ? "%s." : "%s", q->host);
	ask_for(q, host, family, on_half);
}

static void on_apart(struct timer *t, uint64_t now)
{
	struct dns_query *q = container_of(t, struct dns_query, apart);

	(void)now;
	if (q->a.n) {
		deliver(q);
	} else if (!q->answered) {
		q->halves = 2;
		ask_half(q, AF_INET);
		ask_half(q, AF_INET6);
	}
}

/* What needs nobody to be asked: an address, or a name asked before. */
static bool know(struct dns_query *q)
{
	uint64_t now = loop_now(q->dns->loop);
	const struct dns_answers *a;
	struct addr literal;

	if (addr_parse(text_of(q->host), 0, &literal) == 0) {
		bool fits = q->rq.family == AF_UNSPEC || q->rq.family == addr_family(&literal);
		q->a = (struct dns_answers){ .status = fits ? DNS_OK : DNS_NO_ADDRESS, .addr = { literal },
					     .n = fits, .expires = now + DNS_CACHE_TTL_MAX_MS };
		return true;
	}
	if (!q->host[0] || strlen(q->host) > DNS_NAME_MAX) {
		q->a.status = DNS_BAD_NAME;
		return true;
	}
	a = dns_cache_find(q->dns->cache, q->host, q->rq.family, now);
	if (a)
		q->a = *a;
	return a != NULL;
}

struct dns_query *dns_query_new(struct dns *d, const struct dns_request *rq, const char *host)
{
	size_t n = strlen(host);
	struct dns_query *q = calloc(1, sizeof(*q) + n + 1);

	if (!q)
		return NULL;
	q->dns = d;
	q->rq = *rq;
	q->age = d->age;
	q->timer.fire = on_query_timer;
	q->apart.fire = on_apart;
	memcpy(q->host, host, n + 1);
	list_append(&d->queries, &q->node);
	return q;
}

int dns_addresses(struct dns *d, const struct dns_request *rq, struct dns_query **ret_q)
{
	struct dns_query *q = dns_query_new(d, rq, rq->host);

	if (!q)
		return -ENOMEM;
	dns_follow_resolv_conf(d);
	if (know(q)) {
		dns_answered(q);
	} else {
		loop_timer_set(d->loop, &q->timer, rq->deadline_ms ? rq->deadline_ms : DNS_DEADLINE_MS);
		ask(q);
	}
	*ret_q = q;
	return 0;
}

struct dns_query *dns_cancel(struct dns_query *q)
{
	if (!q)
		return NULL;
	timer_stop(&q->timer);
	timer_stop(&q->apart);
	list_unlink(&q->node);
	if (q->in)
		q->detached = true;
	else
		query_free(q);
	return NULL;
}

/* ---- the resolver ---- */

int dns_new(struct loop *l, const struct dns_options *o, struct dns **ret_d)
{
	_cleanup_(dns_freep) struct dns *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->loop = l;
	list_init(&d->retired);
	list_init(&d->queries);
	d->timeout_ms = o && o->timeout_ms ? o->timeout_ms : FIRST_TIMEOUT_MS;
	d->tries = o && o->tries ? o->tries : TRIES;
	if (o && o->servers && !(d->servers = strdup(o->servers)))
		return -ENOMEM;
	d->stamp = stamp_now();
	d->cache = dns_cache_new();
	d->names = dns_cache_new();
	if (!d->cache || !d->names)
		return -ENOMEM;
	r = channel_new(d, &d->channel);
	if (r < 0)
		return r;
	*ret_d = steal_ptr(&d);
	return 0;
}

struct dns *dns_free(struct dns *d)
{
	if (!d)
		return NULL;
	list_for_each_safe(it, &d->queries)
		dns_cancel(list_entry(it, struct dns_query, node));
	list_for_each_safe(it, &d->retired)
		channel_free(list_entry(it, struct channel, node));
	channel_free(d->channel);
	dns_cache_free(d->cache);
	dns_cache_free(d->names);
	free(d->servers);
	free(d);
	return NULL;
}
