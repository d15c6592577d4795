/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to a share: a connection to stile-tunnel's socket for gateways, one line that names the share and the browser's
 * address, one line back, and from then on the connection is the share's HTTP server. Back-pressure goes through: what the
 * share does not take is not read from the browser, and the other way round.
 *
 * Timer: the share's next byte, as long as it is waited for.
 */
#include "gateway/transfer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/fd.h"
#include "gateway/log_msgs.h"
#include "gateway/page.h"

enum transfer_state { CALLING, ASKING, ANSWERING, OVER };

struct transfer {
	struct list node;
	struct gateway *g;
	struct httpd_rq *rq;
	struct transfer_info i;
	enum transfer_state state;
	struct io io;
	struct timer timer;
	int fd;
	char *head; /* for the share, when stile-tunnel has it */
	size_t head_n;
	char *out; /* the line to stile-tunnel, or the head: until it has gone */
	size_t out_n, out_at;
	char in[GATEWAY_HEAD_MAX]; /* the line from there; a head; then the beginning of the body */
	size_t in_n, in_at;
	uint64_t left;		/* of the answer's body; UINT64_MAX: until its end */
	bool body, wants_write; /* there is a body; the browser's bytes wait for the share */
	bool wants_read;	/* the browser waits for the share's bytes */
	bool broken;
	enum gateway_end end;
	unsigned status;
};

static bool may_log(struct gateway *g, enum gateway_line line, uint64_t *ret_suppressed)
{
	return log_gate_pass(&g->gates[line], loop_now(g->loop), ret_suppressed);
}

/* ---- refusals ---- */

static void refuse(struct httpd_rq *rq, unsigned status, const char *label, const char *text)
{
	httpd_add(rq, "Stile-Error", "%s", label);
	httpd_add(rq, "Cache-Control", "no-store");
	if (status == 503)
		httpd_add(rq, "Retry-After", "5");
	httpd_reply(rq, status, "text/plain; charset=utf-8", text_of(text));
}

static void refused(struct gateway *g, struct httpd_rq *rq, enum gateway_end end, const char *text)
{
	uint64_t suppressed;

	metric_add(g->metrics, 0, GATEWAY_M_ENDED, end, 1);
	if (may_log(g, GATEWAY_LINE_REFUSED, &suppressed))
		log_emit(&MSG_GATEWAY_REFUSED, LF_ADDR("client", httpd_peer(rq)), LF_STR("how", gateway_end_labels[end]), LF_STR("reason", text),
			 LF_U64("suppressed", suppressed));
}

static void close_way(struct transfer *t)
{
	io_stop(&t->io);
	timer_stop(&t->timer);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	free(t->out);
	free(t->head);
	t->out = t->head = NULL;
}

/* Before there is an answer it becomes one; later the browser's connection is cut, so that it sees that something is missing. */
static void fail(struct transfer *t, enum gateway_end end, unsigned status, const char *label, const char *text)
{
	if (t->state == OVER)
		return;
	t->end = end;
	close_way(t);
	if (t->state == ANSWERING) {
		t->broken = true;
		httpd_wake(t->rq);
		return;
	}
	t->state = OVER;
	t->status = status;
	refused(t->g, t->rq, end, text);
	refuse(t->rq, status, label, text);
}

/* ---- waiting ---- */

static void await(struct transfer *t)
{
	int events = (t->state != ANSWERING || t->wants_read ? IO_READ : 0) | (t->out || t->wants_write ? IO_WRITE : 0);

	if (t->fd >= 0)
		(void)io_change(&t->io, events);
}

static void expect(struct transfer *t)
{
	loop_timer_set(t->g->loop, &t->timer, t->state == ANSWERING ? t->g->config->limits.stall_ms : t->g->config->limits.wait_ms);
}

static void on_late(struct timer *tm, uint64_t now)
{
	struct transfer *t = container_of(tm, struct transfer, timer);

	(void)now;
	if (t->state == ANSWERING && !t->wants_read)
		expect(t); /* the browser is the slow one, whom its server watches */
	else
		fail(t, GATEWAY_E_SILENT, 504, "silent", "the sender's computer does not answer\n");
}

/* ---- the answer ---- */

static void count(struct transfer *t, enum gateway_way way, size_t n)
{
	t->i.bytes[way] += n;
	metric_add(t->g->metrics, 0, GATEWAY_M_BYTES, way, (int64_t)n);
}

static ssize_t pull(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct transfer *t = arg;
	ssize_t r;

	(void)rq;
	if (t->broken)
		return HTTPD_BROKEN;
	n = t->left == UINT64_MAX ? n : (size_t)MIN((uint64_t)n, t->left);
	if (t->in_at < t->in_n) {
		r = (ssize_t)MIN(n, t->in_n - t->in_at);
		memcpy(p, t->in + t->in_at, (size_t)r);
		t->in_at += (size_t)r;
	} else {
		r = n ? recv(t->fd, p, n, MSG_DONTWAIT) : 0;
	}
	t->wants_read = r < 0 && (errno == EAGAIN || errno == EINTR);
	await(t);
	if (t->wants_read)
		return 0;
	if (r <= 0) {
		if (r == 0 && (t->left == UINT64_MAX || t->left == 0))
			return HTTPD_END;
		t->end = GATEWAY_E_CUT;
		t->broken = true;
		return HTTPD_BROKEN;
	}
	expect(t);
	if (t->left != UINT64_MAX)
		t->left -= (uint64_t)r;
	count(t, GATEWAY_TO_BROWSER, (size_t)r);
	return r;
}

static const struct httpd_source source = { .pull = pull };

static void give_answer(struct transfer *t, const struct gateway_answer *a)
{
	char type[GATEWAY_LINE_MAX];

	for (unsigned i = 0; i < a->n_pass; i++)
		httpd_add(t->rq, a->pass[i].name, "%.*s", TEXT_FMT(a->pass[i].value));
	httpd_add(t->rq, "Cache-Control", "no-store");
	httpd_add(t->rq, "X-Content-Type-Options", "nosniff");
	/* What a sender shares is no page of this server's: it may not run here. */
	httpd_add(t->rq, "Content-Security-Policy", "default-src 'none'; sandbox");
	(void)snprintf(type, sizeof(type), "%.*s", TEXT_FMT(a->type));
	t->state = ANSWERING;
	t->status = a->status;
	t->end = a->status >= 400 ? GATEWAY_E_REFUSED : GATEWAY_E_DONE;
	t->left = a->length;
	t->in_at = a->head;
	t->wants_write = false;
	if (a->status == 204 || a->status == 304)
		httpd_reply(t->rq, a->status, NULL, (struct text){ 0 });
	else
		httpd_reply_stream(t->rq, a->status, type[0] ? type : NULL, a->length, &source);
	await(t);
	expect(t);
}

static void on_head(struct transfer *t)
{
	struct gateway_answer a;
	const char *why = NULL;
	int r = gateway_read_answer((struct text){ t->in, t->in_n }, &a, &why);

	if (r == -EBADMSG)
		fail(t, GATEWAY_E_REFUSED, 502, "refused", why);
	else if (r == 0)
		give_answer(t, &a);
}

/* ---- the request ---- */

static size_t on_bytes(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg)
{
	struct transfer *t = arg;
	ssize_t r;

	(void)rq;
	if (t->state != ASKING)
		return n; /* it is answered already */
	r = t->out ? -1 : send(t->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!t->out && r < 0 && errno != EAGAIN && errno != EINTR)
		return n; /* the share has closed: what it said is read first */
	if (r > 0) {
		count(t, GATEWAY_TO_SHARE, (size_t)r);
		expect(t);
	}
	t->wants_write = r < (ssize_t)n;
	await(t);
	return r > 0 ? (size_t)r : 0;
}

static void on_body_end(struct httpd_rq *rq, void *arg)
{
	struct transfer *t = arg;

	(void)rq;
	if (t->state == ASKING)
		expect(t);
}

static const struct httpd_sink sink = { .on_bytes = on_bytes, .on_end = on_body_end };

/* stile-tunnel has the share: now it is asked. */
static void ask(struct transfer *t)
{
	free(t->out);
	t->out = steal_ptr(&t->head);
	t->out_n = t->head_n;
	t->out_at = 0;
	t->state = ASKING;
	if (t->body)
		httpd_body_stream(t->rq, &sink);
}

static void on_no(struct transfer *t, struct text line)
{
	struct text label = text_cut(&line, ' ');
	const struct addr *who = &t->i.client;
	unsigned n;

	if (text_eq(label, TEXT("unknown-share"))) {
		n = addr_family(who) != AF_UNSPEC ? guesses_add(t->g->guesses, who, loop_now(t->g->loop)) : 0;
		if (n == t->g->config->limits.guesses + 1)
			log_emit(&MSG_GATEWAY_GUESSING, LF_ADDR("client", who));
		fail(t, GATEWAY_E_UNKNOWN, 404, "unknown-share", "this share does not exist, or is over\n");
	} else if (text_eq(label, TEXT("not-there"))) {
		fail(t, GATEWAY_E_NOT_THERE, 503, "not-there", "the sender's computer is not connected: asleep, or without a network\n");
	} else if (text_eq(label, TEXT("limit"))) {
		fail(t, GATEWAY_E_LIMIT, 503, "busy", "too many transfers at the moment\n");
	} else {
		fail(t, GATEWAY_E_TUNNEL, 502, "tunnel", "the tunnel server has refused the connection to this share\n");
	}
}

static void on_line(struct transfer *t)
{
	char *end = memchr(t->in, '\n', t->in_n);
	struct text line = { t->in, end ? (size_t)(end - t->in) : 0 };

	if (!end) {
		if (t->in_n >= GATEWAY_LINE_MAX)
			fail(t, GATEWAY_E_TUNNEL, 502, "tunnel", "the tunnel server speaks something else on its socket for gateways\n");
		return;
	}
	if (text_eq(line, TEXT("OK"))) {
		size_t used = line.n + 1;

		memmove(t->in, t->in + used, t->in_n - used);
		t->in_n -= used;
		ask(t);
	} else if (text_starts(line, TEXT("NO "))) {
		on_no(t, text_drop(line, 3));
	} else {
		fail(t, GATEWAY_E_TUNNEL, 502, "tunnel", "the tunnel server speaks something else on its socket for gateways\n");
	}
}

/* ---- the socket ---- */

static void on_readable(struct transfer *t)
{
	ssize_t n = recv(t->fd, t->in + t->in_n, sizeof(t->in) - t->in_n, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(t, GATEWAY_E_CUT, 502, "not-there", "the connection to the sender's computer broke\n");
		return;
	}
	t->in_n += (size_t)n;
	if (t->state == CALLING)
		on_line(t);
	else
		on_head(t);
}

static void on_writable(struct transfer *t)
{
	if (t->out) {
		ssize_t n = send(t->fd, t->out + t->out_at, t->out_n - t->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			fail(t, GATEWAY_E_CUT, 502, "not-there", "the connection to the sender's computer broke\n");
			return;
		}
		t->out_at += n > 0 ? (size_t)n : 0;
		if (t->out_at < t->out_n)
			return;
		free(t->out);
		t->out = NULL;
	}
	if (t->wants_write) {
		t->wants_write = false;
		httpd_body_go(t->rq);
	}
}

static void on_ready(struct io *io, int events)
{
	struct transfer *t = container_of(io, struct transfer, io);

	if (t->state == ANSWERING) {
		t->wants_read = false;
		await(t);
		httpd_wake(t->rq);
		return;
	}
	if (events & IO_READ)
		on_readable(t);
	if (t->fd >= 0 && t->state != ANSWERING && events & IO_WRITE)
		on_writable(t);
	await(t);
}

/* ---- beginning and end ---- */

static void on_gone(struct httpd_rq *rq, void *arg)
{
	struct transfer *t = arg;
	enum gateway_end end = t->end;

	(void)rq;
	close_way(t);
	if (t->state != OVER) { /* else it was counted when it was refused */
		if (t->state != ANSWERING || (end == GATEWAY_E_DONE && t->left != UINT64_MAX && t->left && strcmp(t->i.method, "HEAD") != 0))
			end = GATEWAY_E_LEFT;
		metric_add(t->g->metrics, 0, GATEWAY_M_ENDED, end, 1);
	}
	log_emit(&MSG_GATEWAY_TRANSFER, LF_U64("id", t->i.id), LF_ADDR("client", &t->i.client), LF_STR("share", t->i.share), LF_STR("method", t->i.method),
		 LF_STR("what", t->i.what), LF_U64("status", t->status), LF_STR("how", gateway_end_labels[end]),
		 LF_U64("to_browser", t->i.bytes[GATEWAY_TO_BROWSER]), LF_U64("to_share", t->i.bytes[GATEWAY_TO_SHARE]),
		 LF_U64("ms", (uint64_t)clock_unix_ms() - t->i.begun_ms));
	list_unlink(&t->node);
	t->g->n_transfers--;
	metric_add(t->g->metrics, 0, GATEWAY_M_TRANSFERS, 0, -1);
	free(t);
}

int gateway_call_tunnel(const struct gateway *g)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = -1;

	if ((size_t)snprintf(at.sun_path, sizeof(at.sun_path), "%s", g->config->tunnel) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* 0 or -errno. */
static int call_tunnel(struct transfer *t)
{
	char ip[ADDR_STRLEN] = "-";
	int n = gateway_call_tunnel(t->g);

	if (n < 0)
		return n;
	t->fd = n;
	t->out = malloc(GATEWAY_LINE_MAX);
	if (!t->out)
		return -ENOMEM;
	if (addr_family(&t->i.client) != AF_UNSPEC)
		(void)addr_print_ip(&t->i.client, ip);
	n = snprintf(t->out, GATEWAY_LINE_MAX, "STILE-GATEWAY 1 %s %s\n", t->i.share, ip);
	t->out_n = (size_t)n;
	return io_start(&t->io, t->g->loop, t->fd, IO_READ | IO_WRITE, on_ready);
}

static void tunnel_missing(struct transfer *t, int err)
{
	uint64_t suppressed;

	if (err != EAGAIN && may_log(t->g, GATEWAY_LINE_TUNNEL, &suppressed))
		log_emit(&MSG_GATEWAY_TUNNEL, LF_STR("socket", t->g->config->tunnel), LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
	fail(t, GATEWAY_E_TUNNEL, 503, err == EAGAIN ? "busy" : "not-there", "the tunnel server does not answer\n");
}

static void learn(struct transfer *t, struct text id, struct text rest)
{
	struct text what = text_cut(&rest, '/'), method = httpd_method(t->rq);

	t->i.id = ++t->g->last_id;
	t->i.begun_ms = (uint64_t)clock_unix_ms();
	if (httpd_peer(t->rq))
		t->i.client = *httpd_peer(t->rq);
	(void)snprintf(t->i.share, sizeof(t->i.share), "%.*s", TEXT_FMT(id));
	(void)snprintf(t->i.method, sizeof(t->i.method), "%.*s", TEXT_FMT(method));
	(void)snprintf(t->i.what, sizeof(t->i.what), "%.*s", TEXT_FMT(what));
	t->body = httpd_has_body(t->rq);
}

static void transfer_begin(struct gateway *g, struct httpd_rq *rq, struct text id, struct text rest)
{
	struct transfer *t = calloc(1, sizeof(*t));
	const char *why;
	int r;

	if (!t) {
		refuse(rq, 503, "busy", "out of memory\n");
		return;
	}
	t->g = g;
	t->rq = rq;
	t->fd = -1;
	t->left = UINT64_MAX;
	t->timer.fire = on_late;
	learn(t, id, rest);
	list_append(&g->transfers, &t->node);
	g->n_transfers++;
	metric_add(g->metrics, 0, GATEWAY_M_TRANSFERS, 0, 1);
	httpd_watch(rq, on_gone, t);
	t->head = malloc(GATEWAY_HEAD_MAX);
	why = t->head ? gateway_ask(rq, t->head, GATEWAY_HEAD_MAX, &t->head_n) : "out of memory";
	if (why) {
		fail(t, GATEWAY_E_BAD, 400, "refused", why);
		return;
	}
	expect(t);
	r = call_tunnel(t);
	if (r < 0)
		tunnel_missing(t, -r);
}

/* ---- requests ---- */

static bool is_method(const struct httpd_rq *rq, const char *const *methods)
{
	for (; *methods; methods++)
		if (text_eq(httpd_method(rq), text_of(*methods)))
			return true;
	return false;
}

static void give_page(struct gateway *g, struct httpd_rq *rq, const struct page_file *f)
{
	const char *known = httpd_field(rq, "If-None-Match");

	metric_add(g->metrics, 0, GATEWAY_M_PAGES, 0, 1);
	for (const char *const *p = page_fields; *p; p += 2)
		httpd_add(rq, p[0], "%s", p[1]);
	httpd_add(rq, "ETag", "%s", f->etag);
	if (known && strcmp(known, f->etag) == 0)
		httpd_reply(rq, 304, NULL, (struct text){ 0 });
	else
		httpd_reply_static(rq, 200, f->type, f->data);
}

static bool too_many(struct gateway *g, const struct addr *who)
{
	struct addr charged, its;
	unsigned n = 0;

	if (!who || addr_family(who) == AF_UNSPEC)
		return false;
	charged = addr_source(who);
	list_for_each (it, &g->transfers) {
		its = addr_source(&list_entry(it, struct transfer, node)->i.client);
		n += addr_equal_ip(&its, &charged);
	}
	return n >= g->config->limits.transfers_per_address;
}

static void to_share(struct gateway *g, struct httpd_rq *rq, struct text id, struct text rest)
{
	const struct addr *who = httpd_peer(rq);

	if (who && addr_family(who) != AF_UNSPEC && guesses_many(g->guesses, who, (unsigned)g->config->limits.guesses, loop_now(g->loop))) {
		refused(g, rq, GATEWAY_E_GUESSING, "it has asked for too many shares that do not exist");
		refuse(rq, 429, "guessing", "too many wrong links came from this address\n");
	} else if (too_many(g, who)) {
		refused(g, rq, GATEWAY_E_LIMIT, "it has as many transfers as one address may have");
		refuse(rq, 503, "busy", "too many transfers from this address\n");
	} else {
		transfer_begin(g, rq, id, rest);
	}
}

void gateway_on_request(struct httpd_rq *rq, void *arg)
{
	static const char *const reading[] = { "GET", "HEAD", NULL }, *const asking[] = { "GET", "HEAD", "POST", "PUT", NULL };
	struct gateway *g = arg;
	struct text id, rest;
	const struct page_file *f;

	if (!gateway_path(httpd_path(rq), &id, &rest)) {
		refused(g, rq, GATEWAY_E_BAD, "no share has this path");
		refuse(rq, 404, "gone", "There is nothing here. A link to a share looks like https://this-server/s/…/#…\n");
	} else if (!rest.p) {
		httpd_add(rq, "Location", "/s/%.*s/", TEXT_FMT(id)); /* the browser keeps what is behind # */
		httpd_reply(rq, 308, NULL, (struct text){ 0 });
	} else if (!is_method(rq, asking)) {
		httpd_add(rq, "Allow", "GET, HEAD, POST, PUT");
		refused(g, rq, GATEWAY_E_BAD, "no share has this method");
		refuse(rq, 405, "refused", "this method means nothing here\n");
	} else if ((f = page_find(rest)) && is_method(rq, reading)) {
		give_page(g, rq, f);
	} else {
		to_share(g, rq, id, rest);
	}
}

void gateway_each(struct gateway *g, void (*fn)(const struct transfer_info *t, void *arg), void *arg)
{
	list_for_each (it, &g->transfers) {
		struct transfer *t = list_entry(it, struct transfer, node);

		t->i.waiting = t->state == CALLING || t->state == ASKING;
		fn(&t->i, arg);
	}
}

int gateway_kick(struct gateway *g, uint64_t id)
{
	list_for_each (it, &g->transfers) {
		struct transfer *t = list_entry(it, struct transfer, node);

		if (t->i.id != id)
			continue;
		fail(t, GATEWAY_E_CUT, 503, "not-there", "ended by the administrator\n");
		return 0;
	}
	return -ENOENT;
}
