/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners from the main thread's side: binding their sockets, one for each worker, and what a reload makes of
 * turn.listen. What cannot be bound is said in a sentence with advice. The order of binding is a worker's
 * place in the kernel's group, so that the steering program finds it.
 *
 * 0.0.0.0:3478 and 192.0.2.1:3478 may stand side by side, or follow each other: sockets of one user with
 * SO_REUSEPORT share a port, and the kernel gives a packet to the more specific one. So all of them
 * are made as the service's user (SOCK_INODE's uid counts), also those that are bound while still root.
 */
#include "turn/listeners.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/inherited.h"
#include "common/reuseport.h"
#include "common/unix_socket.h"
#include "turn/edge.h"
#include "turn/lanes.h"
#include "turn/log_msgs.h"

enum {
	UDP_BUFFER = 4 << 20,
	MAX_DISCOVERY = 256, /* UDP listeners looked at for RFC 5780 */
};

/* In the order of enum turn_listen_proto. */
const struct turn_listen_kind turn_listen_kinds[] = {
	{ "udp", true, false, turn_udp_open, turn_udp_settle, turn_udp_close },
	{ "tcp", false, false, turn_tcp_open, turn_acceptor_settle, turn_acceptor_close },
	{ "tls", false, true, turn_tls_open, turn_acceptor_settle, turn_acceptor_close },
	{ "dtls", true, true, turn_dtls_open, turn_udp_settle, turn_udp_close },
	{ "front", false, true, turn_front_listener_open, turn_acceptor_settle, turn_acceptor_close },
};

static bool on_udp(const struct turn_listener_spec *spec)
{
	return turn_listen_kinds[spec->proto].udp;
}

const char *turn_listener_place(const struct turn_listener_spec *spec, char buf[static TURN_PLACE_STRLEN])
{
	if (!spec->path[0])
		return addr_print(&spec->at, buf);
	snprintf(buf, TURN_PLACE_STRLEN, "unix:%s", spec->path);
	return buf;
}

static bool same_place(const struct turn_listener_spec *a, const struct turn_listener_spec *b)
{
	return on_udp(a) == on_udp(b) && addr_equal(&a->at, &b->at) && strcmp(a->path, b->path) == 0;
}

/* ---- sockets ---- */

/* Made as root while we are, for the folder may be nobody's but root's, and given to the service's user. */
static int bind_unix(const struct turn_service *ts, const char *path, int *ret_fd)
{
	uid_t was = (uid_t)setfsuid(geteuid());
	int r = unix_socket_listen(path, &(struct unix_socket_options){ .mode = 0660, .uid = ts->svc->uid }, ret_fd);

	setfsuid(was);
	return r;
}

/* Of a Unix socket there is one, which the workers share. */
static int share(int fd, int *ret_fd)
{
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *ret_fd < 0 ? -errno : 0;
}

static int bind_one(const struct turn_listener_spec *spec, int *ret_fd)
{
	if (on_udp(spec))
		return dgram_socket(&spec->at,
				    &(struct dgram_socket_options){
					    .reuseport = true, .gro = true, .v6only = true, .recv_mark = true,
					    .pktinfo = addr_classify(&spec->at) == ADDR_UNSPECIFIED,
					    .rcvbuf = UDP_BUFFER, .sndbuf = UDP_BUFFER },
				    ret_fd);
	return stream_listen_socket(&spec->at, &(struct listen_options){ .reuseport = true, .v6only = true }, ret_fd);
}

static const char *advice_for(const struct turn_service *ts, int r)
{
	if (r == -EADDRNOTAVAIL)
		return "; this machine does not have that address; see: ip address";
	if (r == -EMFILE || r == -ENFILE)
		return "; raise LimitNOFILE of the service: a listener takes a descriptor for each worker, over UDP three";
	if (r == -EUSERS)
		return "; systemd passed fewer sockets of this address than it needs: three for each worker (turn.workers), so repeat "
		       "ListenDatagram= in the .socket unit, with ReusePort=yes";
	if (r != -EACCES)
		return "";
	return ts->workers.n ? "; ports below 1024 need CAP_NET_BIND_SERVICE, and this process was started without it: add "
			       "AmbientCapabilities=CAP_NET_BIND_SERVICE to its unit and restart it" :
			       "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
}

static int bind_error(const struct turn_service *ts, const struct turn_listener_spec *spec, int r, char *err, size_t err_n)
{
	char at[TURN_PLACE_STRLEN], who[96] = "";

	if (r == -EADDRINUSE && spec->path[0])
		snprintf(who, sizeof who, "; another process listens there; see: ss -lxp");
	else if (r == -EEXIST)
		snprintf(who, sizeof who, "; something that is no socket is in the way");
	else if (r == -EADDRINUSE)
		snprintf(who, sizeof who, "; another program has this port; see: ss -ln%cp 'sport = :%u'",
			 on_udp(spec) ? 'u' : 't', addr_port(&spec->at));
	snprintf(err, err_n, "cannot listen on %s:%s: %s%s%s", turn_listen_kinds[spec->proto].name,
		 turn_listener_place(spec, at), r == -EUSERS ? "Not enough sockets" : strerror(-r), who, spec->path[0] ? "" : advice_for(ts, r));
	return r;
}

static bool overlap(const struct addr *a, const struct addr *b)
{
	return addr_family(a) == addr_family(b) && addr_port(a) == addr_port(b) &&
	       (addr_equal_ip(a, b) || addr_classify(a) == ADDR_UNSPECIFIED || addr_classify(b) == ADDR_UNSPECIFIED);
}

/* Our own sockets have the port already, so nobody else can have it: those at work, and those that this plan has bound
 * before (NULL: there is none). */
static bool is_ours(const struct turn_service *ts, const struct turn_listeners_plan *p, const struct turn_listener_spec *spec)
{
	for (size_t i = 0; p && i < p->n; i++)
		if (p->v[i].bound && on_udp(&p->v[i].spec) == on_udp(spec) && overlap(&p->v[i].spec.at, &spec->at))
			return true;
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		if (on_udp(&l->spec) == on_udp(spec) && (on_udp(spec) || !l->removed) && overlap(&l->spec.at, &spec->at))
			return true;
	}
	return false;
}

static unsigned n_sockets(const struct turn_listener_spec *spec, unsigned n_workers)
{
	return on_udp(spec) ? n_workers * TURN_LANES : n_workers;
}

/* A port that another program of our user holds is refused, not shared. */
static int probe_free(const struct turn_service *ts, const struct turn_listeners_plan *p, const struct turn_listener_spec *spec)
{
	int type = on_udp(spec) ? SOCK_DGRAM : SOCK_STREAM;

	return is_ours(ts, p, spec) || inherited_has(type, &spec->at)
		       ? 0
		       : reuseport_probe(type, &spec->at);
}

static void close_sockets(struct turn_listener *l, unsigned n_workers)
{
	for (unsigned i = 0; i < n_sockets(&l->spec, n_workers); i++)
		if (l->fds[i] >= 0)
			close(steal_fd(&l->fds[i]));
}

/* A stream socket of systemd's is one for all workers: whoever is awake accepts. */
static bool is_shared(const struct turn_listener_spec *spec)
{
	return !on_udp(spec) && inherited_has(SOCK_STREAM, &spec->at);
}

/* Steered as soon as there is a group: a client finds its worker's socket, or, while that is not bound yet, the first
 * worker, which passes on what is not its own (turn/edge_udp.c). */
static int bind_sockets(const struct turn_service *ts, const struct turn_listeners_plan *p, struct turn_listener *l,
			const struct turn_listener_spec *spec)
{
	int (*steer)(int, sa_family_t, unsigned) = on_udp(spec) ? turn_lanes_steer : reuseport_steer;
	bool is_unix = spec->path[0];
	int r = is_unix ? bind_unix(ts, spec->path, &l->fds[0]) : probe_free(ts, p, spec), steered = 0;

	for (unsigned i = is_unix; i < n_sockets(spec, ts->n_workers) && r == 0; i++) {
		r = is_unix ? share(l->fds[0], &l->fds[i]) : bind_one(spec, &l->fds[i]);
		if (r == 0 && i == 0 && !is_unix && !is_shared(spec))
			steered = steer(l->fds[0], addr_family(&spec->at), ts->n_workers);
	}
	if (r < 0)
		close_sockets(l, ts->n_workers);
	else if (steered < 0) /* the kernel's own choice will do */
		log_emit(&MSG_TURN_STEER_FAILED, LF_ADDR("listener", &spec->at), LF_ERRNO("error", steered));
	return r;
}

/* Its file goes with the socket; not if the configuration has it again, bound anew. */
static void remove_file(const struct turn_listener *l)
{
	if (l->spec.path[0] && unix_socket_remove_dead(l->spec.path) < 0)
		return; /* it lives, or is not ours to remove: the next start takes it over */
}

void turn_listener_free(struct turn_listener *l, unsigned n_workers)
{
	list_unlink(&l->node);
	close_sockets(l, n_workers);
	remove_file(l);
	free(l);
}

void turn_listeners_close(struct turn_service *ts)
{
	list_for_each_safe(it, &ts->listeners)
		turn_listener_free(list_entry(it, struct turn_listener, node), ts->n_workers);
}

/* ---- the plan ---- */

static struct turn_listener *find(const struct turn_service *ts, const struct turn_listener_spec *spec)
{
	list_for_each(it, &ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		if (same_place(&l->spec, spec))
			return l;
	}
	return NULL;
}

static struct turn_listener_spec spec_of(const struct turn_config *cfg, size_t i)
{
	const struct cfg_endpoint *at = cfg->listen.items;

	struct turn_listener_spec spec = { .proto = at[i].proto, .at = at[i].at };

	memcpy(spec.path, at[i].path, sizeof spec.path);
	return spec;
}

/* The UDP sockets of one that drains are there still; a stream's are closed. */
static bool has_sockets(const struct turn_listener *l)
{
	return turn_listener_kind(l)->udp || !l->removed;
}

static struct turn_listener *listener_new(const struct turn_listener_spec *spec, unsigned n_workers)
{
	unsigned n = n_sockets(spec, n_workers);
	struct turn_listener *l = calloc(1, sizeof *l + n * sizeof l->fds[0]);

	if (!l)
		return NULL;
	l->spec = *spec;
	for (unsigned i = 0; i < n; i++)
		l->fds[i] = -1;
	return l;
}

static int plan_one(const struct turn_service *ts, struct turn_listeners_plan *p, const struct turn_listener_spec *spec)
{
	struct turn_listeners_entry *e = &p->v[p->n++];
	int r = 0;

	*e = (struct turn_listeners_entry){ .l = find(ts, spec), .spec = *spec };
	if (!e->l) {
		e->l = listener_new(spec, ts->n_workers);
		if (!e->l)
			return -ENOMEM;
		e->fresh = true;
	}
	if (e->fresh || !has_sockets(e->l)) {
		r = bind_sockets(ts, p, e->l, spec);
		e->bound = r == 0;
	}
	return r;
}

static struct turn_discovery *find_discovery(const struct turn_config *cfg)
{
	struct turn_discovery *d = calloc(1, sizeof *d);
	struct addr udp[MAX_DISCOVERY];
	size_t n = 0;

	if (!d)
		return NULL;
	for (size_t i = 0; i < cfg->listen.n && n < ARRAY_LEN(udp); i++) {
		struct turn_listener_spec spec = spec_of(cfg, i);
		if (spec.proto == TURN_LISTEN_UDP)
			udp[n++] = spec.at;
	}
	turn_discovery_find(d, udp, n);
	return d;
}

int turn_listeners_plan(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n,
			struct turn_listeners_plan *p)
{
	uid_t ours = (uid_t)setfsuid(ts->svc->uid);
	int r = 0;

	*p = (struct turn_listeners_plan){ .v = calloc(cfg->listen.n + 1, sizeof *p->v), .discovery = find_discovery(cfg) };
	if (!p->v || !p->discovery)
		r = -ENOMEM;
	for (size_t i = 0; i < cfg->listen.n && r == 0; i++) {
		struct turn_listener_spec spec = spec_of(cfg, i);
		r = plan_one(ts, p, &spec);
		if (r < 0)
			bind_error(ts, &spec, r, err, err_n);
	}
	setfsuid(ours);
	if (r == -ENOMEM)
		snprintf(err, err_n, "%s", strerror(ENOMEM));
	return r;
}

void turn_listeners_plan_deinit(struct turn_listeners_plan *p, unsigned n_workers)
{
	for (size_t i = 0; p->v && i < p->n; i++) {
		struct turn_listeners_entry *e = &p->v[i];
		if (e->l && e->bound)
			close_sockets(e->l, n_workers);
		if (e->l && e->fresh)
			turn_listener_free(e->l, n_workers);
	}
	free(p->v);
	free(p->discovery);
	*p = (struct turn_listeners_plan){ 0 };
}

/* ---- in the workers ---- */

struct serving {
	const struct turn_listeners_plan *plan;
	int r;
};

static void serve(struct worker *wk, void *arg)
{
	struct serving *s = arg;

	for (size_t i = 0; i < s->plan->n && s->r == 0; i++)
		s->r = turn_listen_kinds[s->plan->v[i].spec.proto].open(wk->state, s->plan->v[i].l);
}

static void serve_no_more(struct worker *wk, void *arg)
{
	const struct turn_listeners_plan *p = arg;

	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].bound)
			turn_listen_kinds[p->v[i].spec.proto].close(wk->state, p->v[i].l);
}

int turn_listeners_serve(struct turn_service *ts, struct turn_listeners_plan *p)
{
	struct serving s = { .plan = p };

	workers_call(&ts->workers, serve, &s);
	if (s.r < 0)
		workers_call(&ts->workers, serve_no_more, p);
	return s.r;
}

static void settle(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	const struct turn_service *ts = arg;

	turn_server_set_discovery(w->server, ts->discovery);
	list_for_each(it, &ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		turn_listener_kind(l)->settle(w, l);
	}
}

/* ---- taking it ---- */

static void log_listener(const struct log_msg *msg, const struct turn_listener *l)
{
	char place[TURN_PLACE_STRLEN];

	log_emit(msg, LF_STR("transport", turn_listener_kind(l)->name), LF_STR("address", turn_listener_place(&l->spec, place)));
}

static void keep(struct turn_service *ts, struct turn_listeners_entry *e, struct list *order)
{
	struct turn_listener *l = e->l;
	bool was_removed = l->removed && !e->bound, other = l->spec.proto != e->spec.proto;
	char place[TURN_PLACE_STRLEN];

	list_unlink(&l->node);
	list_append(order, &l->node);
	l->spec = e->spec;
	l->removed = false;
	if (e->bound || other)
		log_emit(&MSG_TURN_LISTENING, LF_STR("transport", turn_listener_kind(l)->name),
			 LF_STR("address", turn_listener_place(&l->spec, place)), LF_U64("workers", ts->n_workers));
	else if (was_removed)
		log_listener(&MSG_TURN_LISTENER_BACK, l);
	*e = (struct turn_listeners_entry){ .l = NULL };
}

static bool same_discovery(const struct turn_discovery *a, const struct turn_discovery *b)
{
	bool same = a && a->n == b->n;

	for (unsigned i = 0; same && i < a->n * 4; i++)
		same = addr_equal(&a->set[i / 4].at[i / 2 % 2][i % 2], &b->set[i / 4].at[i / 2 % 2][i % 2]);
	return same;
}

static void log_discovery(const struct turn_discovery *d)
{
	for (unsigned i = 0; i < d->n; i++)
		log_emit(&MSG_TURN_DISCOVERY, LF_ADDR("primary", &d->set[i].at[0][0]), LF_ADDR("other", &d->set[i].at[1][1]));
	if (!d->n)
		log_emit(&MSG_TURN_NO_DISCOVERY);
}

static bool is_covered(const struct turn_service *ts, const struct turn_listener *l)
{
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *o = list_entry(it, struct turn_listener, node);
		if (!o->removed && o->spec.proto == l->spec.proto && overlap(&o->spec.at, &l->spec.at) &&
		    addr_classify(&o->spec.at) == ADDR_UNSPECIFIED)
			return true;
	}
	return false;
}

/* What the plan has, in its order, then what drains. */
static void put_in_order(struct turn_service *ts, struct turn_listeners_plan *p)
{
	struct list order;

	list_init(&order);
	for (size_t i = 0; i < p->n; i++)
		keep(ts, &p->v[i], &order);
	list_for_each_safe(it, &ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		list_unlink(it);
		list_append(&order, it);
		if (!l->removed)
			log_listener(&MSG_TURN_LISTENER_REMOVED, l);
		l->removed = true;
	}
	list_for_each_safe(it, &order) {
		list_unlink(it);
		list_append(&ts->listeners, it);
	}
}

void turn_listeners_take(struct turn_service *ts, struct turn_listeners_plan *p)
{
	struct turn_discovery *old = ts->discovery;

	put_in_order(ts, p);
	list_for_each(it, &ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		l->covered = l->removed && turn_listener_kind(l)->udp && is_covered(ts, l);
	}
	ts->discovery = steal_ptr(&p->discovery);
	if (!same_discovery(old, ts->discovery))
		log_discovery(ts->discovery);
	if (ts->workers.n)
		workers_call(&ts->workers, settle, ts);
	free(old);
	turn_listeners_drain(ts);
}

/* ---- what would change ---- */

static int tell(struct service_changes *ch, const struct turn_listener_spec *spec, const char *what)
{
	char key[TURN_PLACE_STRLEN + 32], at[TURN_PLACE_STRLEN];

	snprintf(key, sizeof key, "listener %s:%s", turn_listen_kinds[spec->proto].name, turn_listener_place(spec, at));
	return service_changes_add(ch, &(struct cfg_change){ .key = key, .what = what });
}

static int examine_wanted(const struct turn_service *ts, const struct turn_listener_spec *spec, struct service_changes *ch,
			  char *err, size_t err_n)
{
	const struct turn_listener *l = find(ts, spec);
	int r = 0;

	if (!l || !has_sockets(l))
		r = spec->path[0] ? unix_socket_probe(spec->path) : probe_free(ts, NULL, spec);
	if (r < 0)
		return bind_error(ts, spec, r, err, err_n);
	if (!l || l->spec.proto != spec->proto)
		return tell(ch, spec, "added");
	return l->removed ? tell(ch, spec, "back") : 0;
}

static int examine_gone(const struct turn_listener *l, struct service_changes *ch)
{
	unsigned conns = atomic_load(&l->conns);
	char what[96];

	if (l->allocations)
		snprintf(what, sizeof what, "removed; drains %u allocation%s", l->allocations, l->allocations == 1 ? "" : "s");
	else if (conns)
		snprintf(what, sizeof what, "removed; drains %u connection%s", conns, conns == 1 ? "" : "s");
	else
		snprintf(what, sizeof what, "removed");
	return tell(ch, &l->spec, what);
}

int turn_listeners_examine(struct turn_service *ts, const struct turn_config *cfg, struct service_changes *ch,
			   char *err, size_t err_n)
{
	int r = 0;

	turn_listeners_count(ts);
	for (size_t i = 0; i < cfg->listen.n && r == 0; i++) {
		struct turn_listener_spec spec = spec_of(cfg, i);
		r = examine_wanted(ts, &spec, ch, err, err_n);
	}
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		bool wanted = l->removed;
		for (size_t i = 0; i < cfg->listen.n && !wanted; i++) {
			struct turn_listener_spec spec = spec_of(cfg, i);
			wanted = spec.proto == l->spec.proto && same_place(&spec, &l->spec);
		}
		if (!wanted && r == 0)
			r = examine_gone(l, ch);
	}
	return r;
}
