/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server: accepts peers, cuts their bytes into lines, writes what they are told, closes
 * those that do not behave. What a line means is in control_request.c.
 *
 * Nothing here waits: a peer that sends without reading is not read from any more once its unread
 * answers pass a mark, and closed when they pass CONTROL_MAX_BACKLOG; one that sends no newline is
 * closed at CONTROL_MAX_LINE. A peer that has shut down its sending side is served until its
 * last answer is out.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/control_priv.h"

enum { READ_SIZE = 64 << 10, ACCEPTS_A_PASS = 64, ACCEPT_PAUSE_MS = 100 };

void peer_doom(struct control_peer *p)
{
	if (p->doomed)
		return;
	p->doomed = true;
	io_stop(&p->io);
	list_unlink(&p->node);
	list_append(&p->server->doomed, &p->node);
}

static void peer_free(struct control_peer *p)
{
	peer_doom(p);
	peer_abandon_requests(p);
	peer_drop_subscriptions(p);
	list_unlink(&p->node);
	p->server->n_peers--;
	if (p->out)
		evbuffer_free(p->out);
	close(p->fd);
	free(p->ring);
	free(p->in);
	free(p);
}

size_t peer_backlog(const struct control_peer *p)
{
	return evbuffer_get_length(p->out);
}

static void peer_watch(struct control_peer *p)
{
	bool read = !p->eof && peer_backlog(p) <= CONTROL_PAUSE_READING;

	if (p->doomed)
		return;
	if (io_change(&p->io, (read ? IO_READ : 0) | (peer_backlog(p) ? IO_WRITE : 0)) < 0)
		peer_doom(p);
}

void peer_send(struct control_peer *p, json_int_t id, const char *what, const char *json, size_t n)
{
	int r;

	if (p->doomed)
		return;
	if (peer_backlog(p) + n > CONTROL_MAX_BACKLOG) {
		peer_doom(p);
		return;
	}
	if (id < 0)
		r = evbuffer_add_printf(p->out, "{\"id\":null,\"%s\":", what);
	else
		r = evbuffer_add_printf(p->out, "{\"id\":%" JSON_INTEGER_FORMAT ",\"%s\":", id, what);
	/* Half a line cannot be taken back, so no memory means the end of the connection. */
	if (r < 0 || evbuffer_add(p->out, json, n) < 0 || evbuffer_add(p->out, "}\n", 2) < 0) {
		peer_doom(p);
		return;
	}
	peer_watch(p);
}

/* Not evbuffer_write: that one raises SIGPIPE. */
static void peer_write(struct control_peer *p)
{
	struct evbuffer_iovec v[16];
	struct msghdr m = { .msg_iov = (struct iovec *)v };
	ssize_t sent;
	int n;

	n = evbuffer_peek(p->out, -1, NULL, v, (int)ARRAY_LEN(v));
	if (n <= 0)
		return;
	m.msg_iovlen = MIN((size_t)n, ARRAY_LEN(v));
	sent = sendmsg(p->fd, &m, MSG_NOSIGNAL);
	if (sent > 0)
		evbuffer_drain(p->out, (size_t)sent);
	else if (sent < 0 && errno != EAGAIN && errno != EINTR)
		peer_doom(p);
}

/* Makes room for one more read. */
static int peer_reserve(struct control_peer *p)
{
	size_t cap = p->in_cap ? p->in_cap : 4096;
	char *in;

	if (p->in_cap - p->in_n >= 1024)
		return 0;
	while (cap - p->in_n < 1024)
		cap *= 2;
	in = realloc(p->in, cap);
	if (!in)
		return -ENOMEM;
	p->in = in;
	p->in_cap = cap;
	return 0;
}

/* Serves the complete lines of the input buffer, as long as the peer reads its answers; keeps the
 * rest. */
static void peer_serve_lines(struct control_peer *p)
{
	size_t start = 0;
	bool all = false; /* no line is left */

	while (!p->doomed && peer_backlog(p) <= CONTROL_PAUSE_READING) {
		char *nl = memchr(p->in + p->in_seen, '\n', p->in_n - p->in_seen);

		all = !nl;
		if (all)
			break;
		struct text line = { p->in + start, (size_t)(nl - p->in) - start };
		start = p->in_seen = (size_t)(nl - p->in) + 1;
		peer_dispatch(p, line);
	}
	p->in_n -= start;
	memmove(p->in, p->in + start, p->in_n);
	p->in_seen = all ? p->in_n : 0;
	if (!all)
		return;
	if (p->in_n > CONTROL_MAX_LINE) {
		peer_fail(p, -1, "too-long", NULL, "a line may have %d bytes", CONTROL_MAX_LINE);
		peer_write(p); /* there is no way back into step, so this is the last word */
		peer_doom(p);
	} else if (p->in_n == 0 && p->in_cap > READ_SIZE) {
		free(p->in);
		p->in = NULL;
		p->in_cap = 0;
	}
}

/* The peer's last byte: is it gone, or does it only send no more? */
static void peer_ended(struct control_peer *p)
{
	struct pollfd pfd = { .fd = p->fd };

	p->eof = true;
	p->in_n = p->in_seen = 0; /* half a line is no request */
	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR)))
		peer_doom(p);
}

static void peer_read(struct control_peer *p)
{
	size_t left = READ_SIZE;
	ssize_t n;

	while (left && !p->doomed && peer_backlog(p) <= CONTROL_PAUSE_READING) {
		if (peer_reserve(p) < 0) {
			peer_doom(p);
			return;
		}
		n = recv(p->fd, p->in + p->in_n, MIN(p->in_cap - p->in_n, left), 0);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				peer_doom(p);
			return;
		}
		if (n == 0) {
			peer_ended(p);
			return;
		}
		p->in_n += (size_t)n;
		left -= (size_t)n;
		peer_serve_lines(p);
	}
}

static void on_peer_ready(struct io *io, int events)
{
	struct control_peer *p = container_of(io, struct control_peer, io);

	if (events & IO_WRITE) {
		peer_write(p);
		if (!p->doomed)
			peer_pump_events(p);
		if (p->in_n > p->in_seen)
			peer_serve_lines(p);
	}
	if ((events & IO_READ) && !p->doomed && !p->eof)
		peer_read(p);
	if (p->eof && !p->n_requests && !p->n_subs && !peer_backlog(p))
		peer_doom(p);
	peer_watch(p);
}

static void peer_hello(struct control_peer *p)
{
	const struct control_server *s = p->server;
	char *line = NULL;
	json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:s}", "stile", s->program, "instance",
			      s->instance, "version", s->version, "protocol", CONTROL_PROTOCOL, "role",
			      control_role_name(p->role));

	if (o)
		line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!line || evbuffer_add_printf(p->out, "%s\n", line) < 0)
		peer_doom(p);
	free(line);
	peer_watch(p);
}

/* Takes fd over, also when it fails. */
static void peer_new(struct control_server *s, int fd)
{
	struct control_peer *p = calloc(1, sizeof(*p));
	unsigned limit = CONTROL_MAX_PEERS;

	if (!p) {
		close(fd);
		return;
	}
	p->server = s;
	p->fd = fd;
	list_init(&p->requests);
	list_init(&p->subs);
	list_append(&s->peers, &p->node);
	s->n_peers++;
	p->out = evbuffer_new();
	if (!p->out || peer_identify(p) < 0 || io_start(&p->io, s->loop, fd, IO_READ, on_peer_ready) < 0) {
		peer_free(p);
		return;
	}
	if (p->role != CONTROL_ADMIN)
		limit -= CONTROL_ADMIN_RESERVE;
	if (s->n_peers <= limit) {
		peer_hello(p);
		return;
	}
	peer_fail(p, -1, "busy", "close connections that are not used",
		  "%u connections are open, there is no room for more", s->n_peers - 1);
	peer_write(p);
	peer_doom(p);
}

static void on_accept_again(struct timer *t, uint64_t now)
{
	struct control_server *s = container_of(t, struct control_server, accept_again);

	(void)now;
	io_change(&s->listener, IO_READ);
}

static void on_listener_ready(struct io *io, int events)
{
	struct control_server *s = container_of(io, struct control_server, listener);

	(void)events;
	for (unsigned i = 0; i < ACCEPTS_A_PASS; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			peer_new(s, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) { /* out of descriptors or memory: do not spin on it */
			io_change(&s->listener, 0);
			loop_timer_set(s->loop, &s->accept_again, ACCEPT_PAUSE_MS);
		}
		return;
	}
}

static void on_pass_end(struct pass_hook *h)
{
	struct control_server *s = container_of(h, struct control_server, reaper);

	while (!list_empty(&s->doomed))
		peer_free(list_entry(s->doomed.next, struct control_peer, node));
}

static int find_group(const char *name, gid_t *ret_gid)
{
	char buf[16384];
	struct group gr, *found = NULL;

	if (!name || getgrnam_r(name, &gr, buf, sizeof(buf), &found) != 0 || !found)
		return -ENOENT;
	*ret_gid = found->gr_gid;
	return 0;
}

static int server_init(struct control_server *s, const struct control_options *o)
{
	s->path = strdup(o->path);
	s->program = strdup(o->program);
	s->instance = strdup(o->instance ? o->instance : "");
	s->version = strdup(o->version);
	if (!s->path || !s->program || !s->instance || !s->version)
		return -ENOMEM;
	if (asprintf(&s->lock_path, "%s.lock", o->path) < 0) {
		s->lock_path = NULL;
		return -ENOMEM;
	}
	s->has_group = find_group(o->group, &s->group) == 0;
	s->accept_again.fire = on_accept_again;
	s->reaper.run = on_pass_end;
	loop_add_hook(s->loop, &s->reaper);
	return 0;
}

int control_server_new(struct loop *l, const struct control_options *o, char *err, size_t err_n,
		       struct control_server **ret_s)
{
	_cleanup_(control_server_freep) struct control_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->fd = s->lock_fd = -1;
	list_init(&s->verbs);
	list_init(&s->peers);
	list_init(&s->doomed);
	r = server_init(s, o);
	if (r == 0)
		r = control_add_verbs(s, control_builtin_verbs, control_n_builtin_verbs, s);
	if (r < 0) {
		snprintf(err, err_n, "no memory for the control socket");
		return r;
	}
	r = control_socket_open(s, o, err, err_n);
	if (r < 0)
		return r;
	r = io_start(&s->listener, l, s->fd, IO_READ, on_listener_ready);
	if (r < 0) {
		snprintf(err, err_n, "cannot watch the control socket: %s", strerror(-r));
		return r;
	}
	*ret_s = steal_ptr(&s);
	return 0;
}

struct control_server *control_server_free(struct control_server *s)
{
	if (!s)
		return NULL;
	io_stop(&s->listener);
	timer_stop(&s->accept_again);
	control_socket_close(s);
	while (!list_empty(&s->peers)) {
		struct control_peer *p = list_entry(s->peers.next, struct control_peer, node);
		peer_write(p); /* the answer to "stop", say */
		peer_free(p);
	}
	while (!list_empty(&s->doomed))
		peer_free(list_entry(s->doomed.next, struct control_peer, node));
	loop_remove_hook(&s->reaper);
	while (!list_empty(&s->verbs)) {
		struct control_verbs *v = list_entry(s->verbs.next, struct control_verbs, node);
		list_unlink(&v->node);
		free(v);
	}
	free(s->path);
	free(s->lock_path);
	free(s->program);
	free(s->instance);
	free(s->version);
	free(s);
	return NULL;
}

int control_add_verbs(struct control_server *s, const struct control_verb *verbs, size_t n, void *arg)
{
	struct control_verbs *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*v = (struct control_verbs){ .verbs = verbs, .n = n, .arg = arg };
	list_append(&s->verbs, &v->node);
	return 0;
}
