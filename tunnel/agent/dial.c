/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The race. Ways are put into a table as the names are resolved, each with its rank: the port's place
 * first, then direct before proxied, then the address's place. The next try is always the untried way of
 * the lowest rank, so it does not matter which name server answers first.
 *
 * A proxied way has two or three connections one after the other: the proxy may want a login first, and
 * when it has opened the way, the TLS handshake goes through the same descriptor.
 */
#include "tunnel/agent/dial.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/link/tls.h"

enum {
	WAYS_MAX = DIAL_PORTS_MAX * (DIAL_ADDRESSES_MAX + 2),
	RANK_PORT = 64,
	RANK_PROXIED = 32,
	PROXIES_MAX = 2
};
enum way_state { WAY_UNTRIED, WAY_UNDER_WAY, WAY_FAILED };

struct
try {
	struct dial *d;
	struct dial_way way;
	unsigned rank;
	enum way_state state;
	struct stream *s;
	struct proxy_login login;
	bool through; /* the proxy has opened the way */
};

struct dial {
	struct dial_options o;
	char host[DNS_NAME_MAX + 1];
	struct dns_query *host_query, *proxy_query;
	struct timer stagger, deadline;
	struct try tries[WAYS_MAX];
	unsigned n_tries;
	bool foreign;
	char why[DIAL_WHY_MAX];
};

static void go_on(struct dial *d);

/* ---- the end ---- */

struct dial *dial_cancel(struct dial *d)
{
	if (!d)
		return NULL;
	for (unsigned i = 0; i < d->n_tries; i++)
		stream_free(d->tries[i].s);
	if (d->host_query)
		dns_cancel(d->host_query);
	if (d->proxy_query)
		dns_cancel(d->proxy_query);
	timer_stop(&d->stagger);
	timer_stop(&d->deadline);
	tls_ctx_unref(d->o.tls);
	free(d);
	return NULL;
}

static void won(struct try *t, struct stream *s)
{
	struct dial *d = t->d;
	struct dial_result r = { .stream = s, .way = t->way };
	void (*done)(const struct dial_result *, void *) = d->o.done;
	void *arg = d->o.arg;

	t->s = NULL;
	dial_cancel(d);
	done(&r, arg);
}

static void lost(struct dial *d)
{
	char why[DIAL_WHY_MAX];
	struct dial_result r = { .why = why, .foreign = d->foreign };
	void (*done)(const struct dial_result *, void *) = d->o.done;
	void *arg = d->o.arg;

	(void)snprintf(why, sizeof(why), "%s", d->why[0] ? d->why : "nothing answered in time");
	dial_cancel(d);
	done(&r, arg);
}

static void note(struct dial *d, const char *where, const char *why)
{
	if (d->why[0])
		text_append(d->why, sizeof(d->why), "; ");
	text_append(d->why, sizeof(d->why), where);
	text_append(d->why, sizeof(d->why), ": ");
	text_append(d->why, sizeof(d->why), why);
}

/* ---- one try ---- */

static const char *place_of(const struct try *t, char *buf, size_t n)
{
	char addr[ADDR_STRLEN];

	(void)addr_print(&t->way.addr, addr);
	if (t->way.proxied)
		(void)snprintf(buf, n, "port %u through the proxy %s", t->way.port, addr);
	else
		(void)snprintf(buf, n, "%s", addr);
	return buf;
}

static void failed(struct try *t, const char *why)
{
	char place[ADDR_STRLEN + 48];

	t->s = stream_free(t->s);
	t->state = WAY_FAILED;
	note(t->d, place_of(t, place, sizeof(place)), why);
	go_on(t->d);
}

static void on_open(struct stream *s, void *arg)
{
	struct try *t = arg;
	struct link_peer peer;

	if (t->d->o.tls && link_tls_peer(stream_ssl(s), &peer) < 0)
		failed(t, "what answers there is no tunnel server");
	else
		won(t, s);
}

static size_t on_early_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	(void)s;
	(void)p;
	(void)n;
	(void)arg;
	return 0; /* it waits for who gets the stream */
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct try *t = arg;
	SSL *ssl = stream_ssl(s);
	char text[512];

	(void)err;
	if (ssl && link_tls_foreign(ssl)) {
		t->d->foreign = true;
		why = link_tls_why(ssl, text, sizeof(text));
	}
	failed(t, why);
}

static const struct stream_ops server_ops = { on_open, on_early_data, NULL, on_close };

static struct stream_options options_for(const struct dial *d, struct tls_ctx *tls)
{
	return (struct stream_options){ .tls = tls, .server_name = d->host, .handshake_ms = d->o.try_ms };
}

/* Where the system has no BBR, or does not let us, its default is as good as anything. */
static void set_congestion(const struct stream *s)
{
	(void)setsockopt(stream_fd(s), IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
}

/* ---- through a proxy ---- */

static void on_proxy_open(struct stream *s, void *arg)
{
	struct try *t = arg;
	struct dial *d = t->d;
	char request[PROXY_REQUEST_MAX];
	size_t n;
	int r = proxy_request(d->o.proxy, &t->login, text_of(d->host), t->way.port, request, &n);

	if (r == 0)
		r = stream_write(s, request, n);
	if (r < 0)
		failed(t, strerror(-r));
}

/* The same descriptor, now to the server. */
static void cross_over(struct try *t)
{
	struct dial *d = t->d;
	struct stream_options o = options_for(d, d->o.tls);
	SSL *none = NULL;
	int fd = stream_take(t->s, &none), r;

	if (fd < 0) {
		failed(t, "the proxy's connection cannot be used");
		return;
	}
	t->s = NULL;
	t->through = true;
	r = stream_new(d->o.loop, fd, &o, &server_ops, t, &t->s);
	if (r < 0)
		failed(t, strerror(-r));
}

static int begin(struct try *t);

static size_t on_proxy_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct try *t = arg;
	char why[PROXY_WHY_MAX];
	size_t used = 0;
	int r;

	(void)s;
	switch (proxy_answer(t->d->o.proxy, &t->login, (struct text){ (const char *)p, n }, &used, why)) {
	case PROXY_MORE: return 0;
	case PROXY_OPEN:
		if (used < n) /* the client speaks first in TLS, and in what we do without it */
			failed(t, "the proxy adds bytes of its own to the connection");
		else
			cross_over(t);
		return n;
	case PROXY_AGAIN:
		t->s = stream_free(t->s);
		r = begin(t);
		if (r < 0)
			failed(t, strerror(-r));
		return n;
	case PROXY_REFUSED: break;
	}
	failed(t, why);
	return n;
}

static void on_proxy_close(struct stream *s, int err, const char *why, void *arg)
{
	(void)s;
	failed(arg, err ? why : "the proxy closed the connection without an answer");
}

static const struct stream_ops proxy_ops = { on_proxy_open, on_proxy_data, NULL, on_proxy_close };

/* ---- the race ---- */

static int begin(struct try *t)
{
	struct dial *d = t->d;
	struct stream_options o = options_for(d, t->way.proxied ? NULL : d->o.tls);
	int r;

	if (t->way.proxied)
		o.max_in = PROXY_HEAD_MAX + 1;
	r = stream_connect(d->o.loop, &t->way.addr, &o, t->way.proxied ? &proxy_ops : &server_ops,
			   t, &t->s);
	if (r == 0)
		set_congestion(t->s);
	return r;
}

static struct try *next_way(struct dial *d)
{
	struct try *best = NULL;

	for (unsigned i = 0; i < d->n_tries; i++)
		if (d->tries[i].state == WAY_UNTRIED && (!best || d->tries[i].rank < best->rank))
			best = &d->tries[i];
	return best;
}

static unsigned under_way(const struct dial *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_tries; i++)
		n += d->tries[i].state == WAY_UNDER_WAY;
	return n;
}

/* Begins the next try, now. Called when a try failed, when a name was resolved and nobody has a head start, and when
 * the last try has had its own. */
static void go_on(struct dial *d)
{
	struct try *t;

	while ((t = next_way(d)) && under_way(d) < DIAL_AT_ONCE) {
		int r;

		t->state = WAY_UNDER_WAY;
		r = begin(t);
		if (r == 0) {
			loop_timer_set(d->o.loop, &d->stagger, d->o.stagger_ms);
			return;
		}
		t->state = WAY_FAILED;
		char place[ADDR_STRLEN + 48];
		note(d, place_of(t, place, sizeof(place)), strerror(-r));
	}
	if (!t && !under_way(d) && !d->host_query && !d->proxy_query)
		lost(d);
}

static void on_stagger(struct timer *timer, uint64_t now)
{
	struct dial *d = container_of(timer, struct dial, stagger);

	(void)now;
	go_on(d);
}

static void on_deadline(struct timer *timer, uint64_t now)
{
	struct dial *d = container_of(timer, struct dial, deadline);
	char place[ADDR_STRLEN + 48];

	(void)now;
	for (unsigned i = 0; i < d->n_tries; i++)
		if (d->tries[i].state == WAY_UNDER_WAY)
			note(d, place_of(&d->tries[i], place, sizeof(place)), "no answer in time");
	if (d->host_query)
		note(d, d->host, "its name is not resolved in time");
	lost(d);
}

/* ---- names ---- */

static bool is_known(const struct dial *d, const struct dial_way *w)
{
	for (unsigned i = 0; i < d->n_tries; i++) {
		const struct dial_way *k = &d->tries[i].way;

		if (k->proxied == w->proxied && k->port == w->port && addr_equal(&k->addr, &w->addr))
			return true;
	}
	return false;
}

static void add_way(struct dial *d, const struct addr *a, unsigned port_at, bool proxied, unsigned at)
{
	struct try t = { .d = d,
			 .way = { *a, d->o.ports[port_at], proxied },
			 .rank = 1 + port_at * RANK_PORT + proxied * RANK_PROXIED + at };

	if (!proxied)
		addr_set_port(&t.way.addr, t.way.port);
	if (d->n_tries < WAYS_MAX && !is_known(d, &t.way))
		d->tries[d->n_tries++] = t;
}

/* IPv6 and IPv4 in turn, beginning with the family that the resolver put first (RFC 8305 4). */
static unsigned take_turns(const struct dns_answer *a, struct addr *out, unsigned cap)
{
	bool used[DNS_ADDRESSES_MAX] = { false };
	sa_family_t want = a->n ? addr_family(&a->addr[0]) : AF_INET;
	unsigned n = 0;

	while (n < cap) {
		size_t pick = a->n;

		for (size_t i = 0; i < a->n && i < DNS_ADDRESSES_MAX; i++)
			if (!used[i] && (pick == a->n || (addr_family(&a->addr[pick]) != want &&
							  addr_family(&a->addr[i]) == want)))
				pick = i;
		if (pick == a->n || pick >= DNS_ADDRESSES_MAX)
			break;
		used[pick] = true;
		out[n++] = a->addr[pick];
		want = addr_family(&a->addr[pick]) == AF_INET ? AF_INET6 : AF_INET;
	}
	return n;
}

static void resolved(struct dial *d, const struct dns_answer *a, bool proxied)
{
	struct addr addrs[DIAL_ADDRESSES_MAX];
	unsigned n = a->status == DNS_OK
			     ? take_turns(a, addrs, proxied ? PROXIES_MAX : DIAL_ADDRESSES_MAX)
			     : 0;

	if (!n)
		note(d, proxied ? d->o.proxy->host : d->host, dns_status_text(a->status));
	for (unsigned p = 0; p < d->o.n_ports; p++)
		for (unsigned i = 0; i < n; i++)
			add_way(d, &addrs[i], p, proxied, i);
	if (under_way(d) && timer_is_set(&d->stagger))
		return; /* somebody has his head start; then it goes on */
	if (!proxied || !d->host_query)
		go_on(d);
	else /* a proxy leaves the direct way a head start */
		loop_timer_set(d->o.loop, &d->stagger, d->o.stagger_ms);
}

static void on_host(const struct dns_answer *a, void *arg)
{
	struct dial *d = arg;

	d->host_query = NULL;
	resolved(d, a, false);
}

static void on_proxy(const struct dns_answer *a, void *arg)
{
	struct dial *d = arg;

	d->proxy_query = NULL;
	resolved(d, a, true);
}

/* ---- the start ---- */

static int ask_names(struct dial *d)
{
	struct dns_request host = { .host = d->host, .port = d->o.ports[0], .done = on_host, .arg = d };
	struct dns_request proxy = { .done = on_proxy, .arg = d };
	int r = dns_addresses(d->o.dns, &host, &d->host_query);

	if (r < 0 || !d->o.proxy)
		return r;
	proxy.host = d->o.proxy->host;
	proxy.port = d->o.proxy->port;
	return dns_addresses(d->o.dns, &proxy, &d->proxy_query);
}

int dial_start(const struct dial_options *o, struct dial **ret_d)
{
	struct dial *d;
	int r = 0;

	if (!o->only && (o->n_ports == 0 || o->n_ports > DIAL_PORTS_MAX))
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->o = *o;
	d->o.tls = tls_ctx_ref(o->tls);
	d->o.stagger_ms = o->stagger_ms ? o->stagger_ms : DIAL_STAGGER_MS;
	d->o.try_ms = o->try_ms ? o->try_ms : DIAL_TRY_MS;
	(void)snprintf(d->host, sizeof(d->host), "%s", o->host);
	d->stagger.fire = on_stagger;
	d->deadline.fire = on_deadline;
	if (o->only || o->first) {
		d->tries[0] = (struct try){ .d = d, .way = o->only ? *o->only : *o->first };
		d->n_tries = 1;
		loop_timer_set(o->loop, &d->stagger, 0); /* nothing is called back from in here */
	}
	if (!o->only)
		r = ask_names(d);
	d->o.only = d->o.first = NULL;
	if (r < 0) {
		dial_cancel(d);
		return r;
	}
	loop_timer_set(o->loop, &d->deadline, o->deadline_ms ? o->deadline_ms : DIAL_DEADLINE_MS);
	*ret_d = d;
	return 0;
}
