/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP part of stile netcheck: is each server's STUN port reached over TCP, and port 443 of its host over TCP
 * and TLS; all at once. Reachability alone: certificates are not checked here (stile test turn does
 * that), and a refusal proves that packets get there and back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/netcheck.h"
#include "common/stream.h"

enum { TCP_MS = 4000, HTTPS = 443 };

struct tcp;
struct attempt {
	struct tcp *t;
	struct nc_server *s;
	struct stream *stream;
	bool https, tls;
};
struct tcp {
	struct loop *loop;
	struct tls_ctx *ctx;
	struct attempt attempt[3 * NC_SERVERS];
	unsigned n, running;
};

static void ended(struct attempt *a)
{
	a->stream = stream_free(a->stream);
	if (--a->t->running == 0)
		loop_stop(a->t->loop);
}

static void set_tcp(struct attempt *a, enum nc_tcp v)
{
	if (a->tls)
		return;
	*(a->https ? &a->s->tcp443 : &a->s->tcp) = v;
}

static void on_open(struct stream *s, void *arg)
{
	struct attempt *a = arg;

	set_tcp(a, NC_TCP_OPEN);
	if (a->tls)
		snprintf(a->s->tls443, sizeof a->s->tls443, "%s", SSL_get_version(stream_ssl(s)));
	ended(a);
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	(void)s;
	(void)p;
	(void)arg;
	return n;
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct attempt *a = arg;

	(void)s;
	set_tcp(a, err == ECONNREFUSED ? NC_TCP_REFUSED : NC_TCP_SILENT);
	if (a->tls)
		snprintf(a->s->tls443_why, sizeof a->s->tls443_why, "%s", why && *why ? why : strerror(err));
	ended(a);
}

static const struct stream_ops ops = { .on_open = on_open, .on_data = on_data, .on_close = on_close };

static int attempt(struct tcp *t, struct nc_server *s, bool https, bool tls)
{
	struct attempt *a = &t->attempt[t->n];
	struct addr to = addr_family(&s->at[NC_V4]) != AF_UNSPEC ? s->at[NC_V4] : s->at[NC_V6];
	const struct stream_options o = { .tls = tls ? t->ctx : NULL, .server_name = s->host, .handshake_ms = TCP_MS };

	*a = (struct attempt){ .t = t, .s = s, .https = https, .tls = tls };
	if (https)
		addr_set_port(&to, HTTPS);
	int r = stream_connect(t->loop, &to, &o, &ops, a, &a->stream);
	if (r == -ENOMEM)
		return r;
	if (r < 0) { /* no route: as good as silence */
		set_tcp(a, NC_TCP_SILENT);
		if (tls)
			snprintf(s->tls443_why, sizeof s->tls443_why, "%s", strerror(-r));
		return 0;
	}
	t->n++;
	t->running++;
	return 0;
}

static int attempt_all(struct tcp *t, struct netcheck *nc)
{
	int r = 0;

	for (unsigned i = 0; i < nc->n && r == 0; i++) {
		struct nc_server *s = &nc->server[i];
		if (addr_family(&s->at[NC_V4]) == AF_UNSPEC && addr_family(&s->at[NC_V6]) == AF_UNSPEC)
			continue;
		r = attempt(t, s, false, false);
		if (r == 0 && nc->port443)
			r = attempt(t, s, true, false);
		if (r == 0 && nc->port443)
			r = attempt(t, s, true, true);
	}
	if (r == 0 && t->running)
		r = loop_run(t->loop);
	for (unsigned i = 0; i < t->n; i++)
		stream_free(t->attempt[i].stream);
	return r;
}

int nc_tcp(struct netcheck *nc)
{
	struct tcp t = { 0 };
	char err[TLS_ERRLEN];
	int r = tls_ctx_new(&(struct tls_options){ .client = true }, err, &t.ctx);

	if (r == 0)
		r = loop_new(&t.loop);
	if (r == 0)
		r = attempt_all(&t, nc);
	loop_free(t.loop);
	tls_ctx_unref(t.ctx);
	return r;
}

bool nc_any_tcp(const struct netcheck *nc)
{
	for (unsigned i = 0; i < nc->n; i++) {
		const struct nc_server *s = &nc->server[i];
		if (s->tcp == NC_TCP_OPEN || s->tcp == NC_TCP_REFUSED || s->tcp443 == NC_TCP_OPEN || s->tcp443 == NC_TCP_REFUSED)
			return true;
	}
	return false;
}
