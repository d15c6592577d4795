/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd in a loop of ours. It runs without threads and without a listener, on an epoll descriptor of its own, which
 * the loop watches like any other; when it says that it has more to do, the next pass runs it again.
 *
 * What it does not have is here: a deadline for the whole of a head (its own time-out begins anew with every byte), progress
 * that is measured where it counts, in the kernel (TCP_INFO), and the news that the client of a suspended stream has gone.
 * A connection that is to end is shut down; libmicrohttpd then finds its end by itself, which keeps every way out the same.
 */
#include "common/httpd.h"
#include "common/httpd_priv.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>

enum {
	HEAD_DEFAULT = 16 << 10,
	CONNS_DEFAULT = 512,
	CONNS_PER_ADDR_DEFAULT = 64,
	HEAD_MS = 10 * 1000,
	IDLE_MS = 60 * 1000,
	STALL_MS = 20 * 1000,
	LEAST_DEFAULT = 4096,
	POOL_BESIDE_HEAD = 24 << 10, /* libmicrohttpd's table of fields, and the head of the answer */
	POOL_INCREMENT = 8 << 10,
};

static const char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305:"
				 "%SERVER_PRECEDENCE";

const char *const httpd_refusal_names[HTTPD_REFUSALS + 1] = {
	[HTTPD_FULL] = "full",		 [HTTPD_FULL_OF_ADDR] = "full-of-address", [HTTPD_NO_MEMORY] = "no-memory",
	[HTTPD_SLOW_HEAD] = "slow-head", [HTTPD_SLOW_BODY] = "slow-body",	   [HTTPD_SLOW_READER] = "slow-reader",
	[HTTPD_BIG_HEAD] = "big-head",	 [HTTPD_BIG_BODY] = "big-body",		   [HTTPD_BAD_CERT] = "bad-certificate",
};

const struct httpd_counts *httpd_counts(const struct httpd *h)
{
	return &h->counts;
}

void httpd_refuse(struct httpd *h, enum httpd_refusal why, const struct addr *peer, const char *text)
{
	h->counts.refused[why]++;
	if (h->ops->on_refused)
		h->ops->on_refused(why, peer, text, h->arg);
}

/* ---- libmicrohttpd's turn ---- */

static void run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	(void)MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES && ms == 0)
		loop_timer_set(h->loop, &h->again, 0);
}

static void on_ready(struct io *io, int events)
{
	(void)events;
	run(container_of(io, struct httpd, io));
}

static void on_again(struct timer *t, uint64_t now)
{
	(void)now;
	run(container_of(t, struct httpd, again));
}

/* ---- connections ---- */

void httpd_hold(struct httpd_rq *rq)
{
	MHD_suspend_connection(rq->conn->mhd);
	rq->conn->suspended = true;
}

void httpd_resume(struct httpd_rq *rq)
{
	if (!rq->conn->suspended)
		return;
	rq->conn->suspended = false;
	MHD_resume_connection(rq->conn->mhd);
	loop_timer_set(rq->conn->h->loop, &rq->conn->h->again, 0); /* without threads it has no wake-up of its own */
}

void httpd_cut(struct httpd_conn *c)
{
	c->cut = true;
	timer_stop(&c->timer);
	io_stop(&c->gone);
	(void)shutdown(c->fd, SHUT_RDWR);
	if (c->rq)
		httpd_resume(c->rq);
}

/* Nothing more comes from who has ended his way in these; in the others he may wait for an answer. */
static bool hears_the_end(enum httpd_phase p)
{
	return p == CONN_HEAD || p == CONN_BODY || p == CONN_IDLE;
}

static void on_gone(struct io *io, int events)
{
	struct httpd_conn *c = container_of(io, struct httpd_conn, gone);

	if (!(events & IO_CLOSED))
		return;
	if (!hears_the_end(c->phase) || c->suspended || !c->mhd) {
		httpd_cut(c);
		return;
	}
	/* The end of a head or a body that is not complete, or behind the last request: libmicrohttpd reads on after a resume, takes what is
	 * still there, and finds it. It does not by itself while it waits for more. */
	io_stop(&c->gone);
	MHD_suspend_connection(c->mhd);
	MHD_resume_connection(c->mhd);
	loop_timer_set(c->h->loop, &c->h->again, 0);
}

void httpd_watch_gone(struct httpd_conn *c, bool on)
{
	if (!on)
		io_stop(&c->gone);
	else if (!c->gone.ev && io_start(&c->gone, c->h->loop, c->fd, IO_CLOSED, on_gone) < 0)
		httpd_cut(c);
}

/* Bytes that went in and out, as the kernel counts them; false where it does not (Unix sockets). */
static bool bytes_moved(const struct httpd_conn *c, uint64_t *ret_n, bool *ret_waiting)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);
	int queued = 0;

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return false;
	*ret_n = info.tcpi_bytes_acked + info.tcpi_bytes_received;
	*ret_waiting = ioctl(c->fd, SIOCOUTQ, &queued) == 0 && queued > 0;
	return true;
}

/*
 * Of a body or an answer that is due. A stream that has, or had meanwhile, nothing to send is only stuck if what it has sent is not
 * taken: what it was woken for a moment ago may not have been asked of it yet.
 */
static bool is_stuck(struct httpd_conn *c)
{
	uint64_t moved = 0, since;
	bool waiting = false, rested = false;

	if (!bytes_moved(c, &moved, &waiting))
		return false;
	since = moved - c->moved;
	c->moved = moved;
	if (c->phase == CONN_SEND && c->rq) {
		rested = c->rq->rested;
		c->rq->rested = c->rq->starved;
	}
	if (rested)
		return waiting && since == 0;
	return since < c->h->limits.least;
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct httpd_conn *c = container_of(t, struct httpd_conn, timer);
	struct httpd *h = c->h;

	(void)now;
	if (c->phase == CONN_BODY || c->phase == CONN_SEND) {
		if (!is_stuck(c)) {
			loop_timer_set(h->loop, t, h->limits.stall_ms);
			return;
		}
		httpd_refuse(h, c->phase == CONN_BODY ? HTTPD_SLOW_BODY : HTTPD_SLOW_READER, &c->peer, "");
	} else if (c->phase == CONN_HEAD) {
		httpd_refuse(h, HTTPD_SLOW_HEAD, &c->peer, "");
	}
	httpd_cut(c);
}

void httpd_phase_set(struct httpd_conn *c, enum httpd_phase p)
{
	const struct httpd_limits *l = &c->h->limits;
	bool waiting;

	c->phase = p;
	if (c->cut)
		return;
	timer_stop(&c->timer);
	httpd_watch_gone(c, hears_the_end(p));
	if (c->cut)
		return;
	if (p == CONN_BODY || p == CONN_SEND) {
		c->moved = 0;
		(void)bytes_moved(c, &c->moved, &waiting);
		loop_timer_set(c->h->loop, &c->timer, l->stall_ms);
	} else if (p != CONN_WAIT) {
		loop_timer_set(c->h->loop, &c->timer, p == CONN_HEAD ? l->head_ms : l->idle_ms);
	}
}

static struct httpd_conn *conn_free(struct httpd_conn *c)
{
	if (!c)
		return NULL;
	if (c->rq)
		httpd_rq_free(c->rq);
	timer_stop(&c->timer);
	io_stop(&c->gone);
	list_unlink(&c->node);
	httpd_tls_unref(c->tls);
	c->h->counts.conns--;
	free(c);
	return NULL;
}

static bool is_charged(const struct addr *peer)
{
	return addr_family(peer) != AF_UNSPEC && addr_classify(peer) != ADDR_LOOPBACK;
}

static unsigned conns_of(const struct httpd *h, const struct addr *source)
{
	unsigned n = 0;

	if (h)
		list_for_each (it, &h->conns)
			n += addr_equal_ip(&list_entry(it, struct httpd_conn, node)->source, source);
	return n;
}

static bool has_room(struct httpd *h, const struct addr *peer)
{
	struct addr source = addr_source(peer);

	if (h->counts.conns + (h->beside ? h->beside->counts.conns : 0) >= h->limits.conns) {
		httpd_refuse(h, HTTPD_FULL, peer, "");
		return false;
	}
	if (!is_charged(peer))
		return true;
	if (conns_of(h, &source) + conns_of(h->beside, &source) < h->limits.conns_per_addr)
		return true;
	httpd_refuse(h, HTTPD_FULL_OF_ADDR, peer, "");
	return false;
}

void httpd_take(struct httpd *h, int fd, const struct addr *peer)
{
	static const struct sockaddr local = { .sa_family = AF_UNIX };
	bool is_ip = addr_family(peer) != AF_UNSPEC;
	struct httpd_conn *c;

	if (h->draining || !has_room(h, peer)) {
		close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		httpd_refuse(h, HTTPD_NO_MEMORY, peer, "");
		close(fd);
		return;
	}
	*c = (struct httpd_conn){ .h = h,
				  .fd = fd,
				  .peer = *peer,
				  .source = addr_source(peer),
				  .tls = httpd_tls_ref(h->tls),
				  .timer.fire = on_timer };
	list_append(&h->conns, &c->node);
	h->counts.conns++;
	h->arriving = c;
	if (MHD_add_connection(h->mhd, fd, is_ip ? &peer->sa : &local, is_ip ? addr_len(peer) : sizeof(local)) != MHD_YES) {
		/* It has closed fd. Told to on_connection or not, c is still ours. */
		httpd_refuse(h, HTTPD_NO_MEMORY, peer, "");
		if (h->arriving)
			conn_free(c);
		h->arriving = NULL;
		return;
	}
	h->arriving = NULL;
	h->counts.accepted++;
	httpd_phase_set(c, CONN_HEAD);
}

static void on_connection(void *cls, struct MHD_Connection *con, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
	struct httpd *h = cls;
	const union MHD_ConnectionInfo *info;
	struct httpd_conn *c;

	if (what != MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = conn_free(*socket_context);
		return;
	}
	c = steal_ptr(&h->arriving);
	c->mhd = con;
	*socket_context = c;
	if (!c->tls)
		return;
	info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (!info || httpd_tls_apply(c->tls, info->tls_session) < 0)
		httpd_cut(c);
}

/* A request's first line is there: its target is kept before libmicrohttpd decodes it in place. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *con)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct httpd_conn *c = info->socket_context;

	(void)cls;
	if (c->rq)
		httpd_rq_free(c->rq);
	c->rq = httpd_rq_new(c, uri);
	if (c->phase == CONN_IDLE)
		httpd_phase_set(c, CONN_HEAD);
	return c->rq;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *con, const char *url, const char *method, const char *version,
				 const char *upload, size_t *upload_n, void **context)
{
	struct httpd_rq *rq = *context;

	(void)cls;
	(void)con;
	(void)url;
	(void)version;
	if (!rq || rq->conn->cut || httpd_tls_missing_client(rq->conn))
		return MHD_NO;
	return httpd_on_access(rq, method, upload, upload_n);
}

static void on_completed(void *cls, struct MHD_Connection *con, void **context, enum MHD_RequestTerminationCode code)
{
	struct httpd_rq *rq = *context;
	struct httpd *h = cls;
	struct httpd_conn *c;

	(void)con;
	*context = NULL;
	if (!rq)
		return;
	c = rq->conn;
	httpd_watch_gone(c, false);
	httpd_rq_free(rq);
	if (h->draining && !c->cut && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		httpd_cut(c);
	else
		httpd_phase_set(c, CONN_IDLE);
}

/* What libmicrohttpd complains of is our client's affair: a broken pipe, a bad line. It has its answer from there. */
static void _printf_(2, 0) on_log(void *cls, const char *fmt, va_list ap)
{
	(void)cls;
	(void)fmt;
	(void)ap;
}

/* GnuTLS asks only for connections whose credentials httpd_tls_apply() has not set: there are none. */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algorithms,
			  int n_algorithms, gnutls_pcert_st **certs, unsigned *n_certs, gnutls_privkey_t *key)
{
	(void)session;
	(void)ca;
	(void)n_ca;
	(void)algorithms;
	(void)n_algorithms;
	(void)certs;
	(void)n_certs;
	(void)key;
	return -1;
}

/* ---- the server ---- */

static struct MHD_Daemon *daemon_new(struct httpd *h)
{
	void *no_cert = (void *)(intptr_t)no_certificate; /* NOLINT(performance-no-int-to-ptr): ISO C has no other way to a function's pointer */
	const struct MHD_OptionItem options[] = {
		{ MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, h },
		{ MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, h },
		{ MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, h },
		{ MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, h },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)(h->limits.head + POOL_BESIDE_HEAD), NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_INCREMENT, POOL_INCREMENT, NULL },
		{ MHD_OPTION_CONNECTION_LIMIT, (intptr_t)h->limits.conns + 1, NULL }, /* ours comes first */
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
		{ MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL },
		{ h->tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, (intptr_t)no_certificate, no_cert },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)priorities },
		{ MHD_OPTION_END, 0, NULL },
	};
	unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	return MHD_start_daemon(h->tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_access, h, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static void set_limits(struct httpd_limits *l, const struct httpd_limits *wanted)
{
	if (wanted)
		*l = *wanted;
	l->head = l->head ? l->head : HEAD_DEFAULT;
	l->conns = l->conns ? l->conns : CONNS_DEFAULT;
	l->conns_per_addr = l->conns_per_addr ? l->conns_per_addr : CONNS_PER_ADDR_DEFAULT;
	l->head_ms = l->head_ms ? l->head_ms : HEAD_MS;
	l->idle_ms = l->idle_ms ? l->idle_ms : IDLE_MS;
	l->stall_ms = l->stall_ms ? l->stall_ms : STALL_MS;
	l->least = l->least ? l->least : LEAST_DEFAULT;
}

int httpd_new(struct loop *l, const struct httpd_limits *limits, struct httpd_tls *tls, const struct httpd_ops *ops, void *arg,
	      struct httpd **ret_h)
{
	_cleanup_(httpd_freep) struct httpd *h = calloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;

	if (!h)
		return -ENOMEM;
	h->loop = l;
	h->ops = ops;
	h->arg = arg;
	h->tls = httpd_tls_ref(tls);
	h->has_tls = tls;
	h->again.fire = on_again;
	list_init(&h->conns);
	set_limits(&h->limits, limits);
	h->mhd = daemon_new(h);
	info = h->mhd ? MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || io_start(&h->io, l, info->epoll_fd, IO_READ, on_ready) < 0)
		return -ENOMEM;
	*ret_h = steal_ptr(&h);
	return 0;
}

struct httpd *httpd_free(struct httpd *h)
{
	if (!h)
		return NULL;
	if (h->beside)
		h->beside->beside = NULL;
	h->draining = true;
	list_for_each_safe(it, &h->conns)
		httpd_cut(list_entry(it, struct httpd_conn, node)); /* resumes it: nothing may be suspended at the stop */
	io_stop(&h->io);
	timer_stop(&h->again);
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	httpd_tls_unref(h->tls);
	free(h);
	return NULL;
}

void httpd_set_tls(struct httpd *h, struct httpd_tls *tls)
{
	if (!h->has_tls || !tls)
		return;
	httpd_tls_unref(h->tls);
	h->tls = httpd_tls_ref(tls);
}

void httpd_set_stall(struct httpd *h, uint64_t stall_ms)
{
	h->limits.stall_ms = stall_ms ? stall_ms : STALL_MS;
}

void httpd_count_together(struct httpd *a, struct httpd *b)
{
	a->beside = b;
	b->beside = a;
}

void httpd_drain(struct httpd *h)
{
	h->draining = true;
	list_for_each_safe(it, &h->conns) {
		struct httpd_conn *c = list_entry(it, struct httpd_conn, node);

		if (c->phase == CONN_IDLE || c->phase == CONN_HEAD)
			httpd_cut(c);
	}
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	(void)local;
	httpd_take(arg, fd, peer);
}

const struct acceptor_ops httpd_acceptor = { .on_accept = on_accept };
