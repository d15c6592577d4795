/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door for gateways: a Unix socket, a line that names a share, and from then on the bytes of one connection to the share's HTTP
 * server, as a data connection of its agent. The line is read and judged in the main thread; the connection lives in the worker of the
 * agent's link.
 *
 * Timer of a connection that has come: its line is late.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/stream.h"
#include "common/unix_socket.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/shares.h"

enum { KNOCKS_MAX = 256, LINE_MAX_LEN = 128, LINE_MS = 10 * 1000, CONNS_MAX = 4096 };

struct knock { /* a gateway that has not said what it wants */
	struct list node;
	struct tunnel_server *server;
	struct io io;
	int fd;
	struct timer late;
};
struct lead { /* to the worker */
	struct mail mail;
	struct tunnel_server *server;
	int fd;
	uint64_t link, share;
	struct addr source;
};
struct share_conn { /* in the worker */
	struct tunnel_server *server;
	struct data_conn *d;
	int told; /* the gateway's connection, to say OK on; -1: said */
};

static void say_no(int fd, enum wire_reason reason, const char *text)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "NO %s %s\n", wire_reason_label(reason), text && *text ? text : wire_reason_text(reason));

	(void)send(fd, line, (size_t)MIN(n, (int)sizeof(line) - 1), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* ---- in the worker ---- */

static void conn_free(struct share_conn *c)
{
	if (c->told >= 0)
		close(c->told);
	atomic_fetch_sub_explicit(&c->server->share_conns, 1, memory_order_relaxed);
	free(c);
}

static void on_opened(struct data_conn *d, const struct wire_opened *o, void *arg)
{
	struct share_conn *c = arg;
	int fd = steal_fd(&c->told);

	(void)d;
	(void)o;
	if (fd < 0)
		return;
	(void)send(fd, "OK\n", 3, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void on_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	struct share_conn *c = arg;

	data_conn_free(d);
	if (c->told >= 0)
		say_no(steal_fd(&c->told), e->reason ? e->reason : WIRE_R_ERROR, e->text);
	conn_free(c);
}

static const struct data_ops conn_ops = { .on_opened = on_opened, .on_end = on_end };

static void open_conn(struct lead *m, struct tunnel_link *l)
{
	struct share_conn *c = calloc(1, sizeof(*c));
	struct tunnel_open o = { .share = m->share, .kind = WIRE_JOB_TCP, .source = m->source, .ops = &conn_ops, .arg = c };
	int r;

	if (!c)
		return;
	c->server = m->server;
	atomic_fetch_add_explicit(&m->server->share_conns, 1, memory_order_relaxed);
	c->told = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
	o.fd = steal_fd(&m->fd);
	r = tunnel_stream_open(l, &o, &c->d);
	if (r == 0)
		return;
	if (c->told >= 0)
		say_no(steal_fd(&c->told), r == -EUSERS ? WIRE_R_LIMIT : r == -ENOTCONN ? WIRE_R_NOT_THERE : WIRE_R_MEMORY, "");
	conn_free(c);
}

static void drop_lead(struct mail *mail)
{
	struct lead *m = container_of(mail, struct lead, mail);

	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

static void deliver_lead(struct mail *mail, struct loop *loop)
{
	struct lead *m = container_of(mail, struct lead, mail);
	struct tunnel_worker *w = tunnel_server_worker(m->server, tunnel_worker_of(m->link));
	struct tunnel_link *l = tunnel_link_find(w, m->link);

	(void)loop;
	if (l && l->control)
		open_conn(m, l);
	else
		say_no(steal_fd(&m->fd), WIRE_R_NOT_THERE, "the sender's machine is not connected: it may be asleep or without a network");
	drop_lead(mail);
}

/* ---- main: its line ---- */

static void knock_free(struct knock *k)
{
	io_stop(&k->io);
	timer_stop(&k->late);
	list_unlink(&k->node);
	k->server->n_knocks--;
	if (k->fd >= 0)
		close(k->fd);
	free(k);
}

static void refuse(struct knock *k, enum wire_reason reason, const char *text)
{
	say_no(steal_fd(&k->fd), reason, text);
	knock_free(k);
}

static void lead_on(struct knock *k, uint64_t id, const struct addr *source)
{
	struct tunnel_server *s = k->server;
	const struct share_entry *e = share_find(s, id);
	const struct directory_entry *to = e ? directory_entry_of(s, e->identity) : NULL;
	struct lead *m;

	if (!e || e->kind != WIRE_SHARE_HTTP) {
		refuse(k, WIRE_R_UNKNOWN_SHARE, "");
		return;
	}
	if (!to) {
		refuse(k, WIRE_R_NOT_THERE, "the sender's machine is not connected: it may be asleep or without a network");
		return;
	}
	if (atomic_load_explicit(&s->share_conns, memory_order_relaxed) >= CONNS_MAX) {
		refuse(k, WIRE_R_LIMIT, "the server has as many connections to shares as it may have");
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		refuse(k, WIRE_R_MEMORY, "");
		return;
	}
	*m = (struct lead){ .mail = { .deliver = deliver_lead, .drop = drop_lead }, .server = s, .fd = steal_fd(&k->fd), .link = to->link,
			    .share = id, .source = *source };
	knock_free(k);
	loop_post(tunnel_server_worker(s, tunnel_worker_of(m->link))->loop, &m->mail);
}

/* "STILE-GATEWAY 1 ID ADDRESS" */
static bool parse_line(struct text line, uint64_t *ret_id, struct addr *ret_source)
{
	struct text rest = line, word = text_cut(&rest, ' '), version = text_cut(&rest, ' '), id = text_cut(&rest, ' ');

	if (!text_eq(word, TEXT("STILE-GATEWAY")) || !text_eq(version, TEXT("1")) || text_hex64(id, ret_id) < 0)
		return false;
	return rest.p && addr_parse(rest, 0, ret_source) == 0;
}

static void on_line(struct io *io, int events)
{
	struct knock *k = container_of(io, struct knock, io);
	char line[LINE_MAX_LEN];
	ssize_t n = recv(k->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	struct addr source;
	uint64_t id;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		knock_free(k);
		return;
	}
	if (!end && n < (ssize_t)sizeof(line)) {
		refuse(k, WIRE_R_PROTOCOL, "the line must come in one piece");
		return;
	}
	if (!end || !parse_line((struct text){ line, (size_t)(end - line) }, &id, &source)) {
		refuse(k, WIRE_R_PROTOCOL, "expected: STILE-GATEWAY 1 ID ADDRESS");
		return;
	}
	(void)recv(k->fd, line, (size_t)(end - line) + 1, MSG_DONTWAIT);
	lead_on(k, id, &source);
}

static void on_late(struct timer *t, uint64_t now)
{
	(void)now;
	refuse(container_of(t, struct knock, late), WIRE_R_TIMEOUT, "");
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct tunnel_server *s = arg;
	struct knock *k = s->n_knocks < KNOCKS_MAX && s->started ? calloc(1, sizeof(*k)) : NULL;

	(void)peer;
	(void)local;
	if (!k) {
		say_no(fd, WIRE_R_LIMIT, "");
		return;
	}
	*k = (struct knock){ .server = s, .fd = fd };
	k->late.fire = on_late;
	list_append(&s->knocks, &k->node);
	s->n_knocks++;
	loop_timer_set(s->loop, &k->late, LINE_MS);
	if (io_start(&k->io, s->loop, fd, IO_READ, on_line) < 0)
		refuse(k, WIRE_R_MEMORY, "");
}

static const struct acceptor_ops door_ops = { .on_accept = on_accept };

static void door_close(struct share_door *d)
{
	d->acceptor = acceptor_free(d->acceptor);
	if (d->path[0])
		(void)unlink(d->path);
	d->path[0] = '\0';
}

void share_door_close(struct tunnel_server *s)
{
	list_for_each_safe (it, &s->knocks)
		knock_free(list_entry(it, struct knock, node));
	door_close(&s->door);
	door_close(&s->next_door);
}

static int cannot_listen(const char *path, int r, char *err, size_t err_n)
{
	(void)snprintf(err, err_n, "tunnel.gateway: cannot listen on %s: %s", path, strerror(-r));
	return r;
}

int tunnel_server_gateway_probe(const struct tunnel_server *s, const char *path, char *err, size_t err_n)
{
	int r = !*path || (s && strcmp(path, s->door.path) == 0) ? 0 : unix_socket_probe(path);

	return r < 0 ? cannot_listen(path, r, err, err_n) : 0;
}

int tunnel_server_gateway_make(struct tunnel_server *s, const char *path, uid_t uid, char *err,
			       size_t err_n)
{
	const struct unix_socket_options o = { .mode = 0660, .uid = uid };
	int fd, r;

	if (!*path || strcmp(path, s->door.path) == 0)
		return 0;
	r = unix_socket_listen(path, &o, &fd);
	if (r < 0)
		return cannot_listen(path, r, err, err_n);
	(void)snprintf(s->next_door.path, sizeof(s->next_door.path), "%s", path);
	r = acceptor_new(s->loop, fd, &door_ops, s, &s->next_door.acceptor);
	if (r < 0) {
		door_close(&s->next_door);
		return cannot_listen(path, r, err, err_n);
	}
	return 0;
}

void tunnel_server_gateway_take(struct tunnel_server *s, const char *path, const char *url)
{
	(void)snprintf(s->gateway_url, sizeof(s->gateway_url), "%s", url ? url : "");
	if (strcmp(path, s->door.path) == 0)
		return;
	if (s->door.acceptor)
		acceptor_finish(s->door.acceptor); /* who has come is let in */
	door_close(&s->door);
	s->door = s->next_door;
	s->next_door = (struct share_door){ 0 };
}

void tunnel_server_gateway_leave(struct tunnel_server *s)
{
	door_close(&s->next_door);
}
