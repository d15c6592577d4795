/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile share --to: the link as a SIP MESSAGE (RFC 3428), sent through the stile-sip of this configuration as one of its users: over TCP,
 * with the password that stands there when the proxy asks for it. What becomes of it behind the proxy is the proxy's answer.
 *
 * One blocking connection, two requests at most.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/share.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "sip-proxy/config.h"
#include "sip-proxy/digest.h"

enum { BUFFER = 16384, WAIT_MS = 45000 /* longer than the proxy waits itself: it says what it knows */ };

struct talk {
	int fd;
	const struct sip_user_section *user;
	const char *domain, *to, *text;
	char at[ADDR_STRLEN], id[33], buf[BUFFER], *why;
	size_t n, why_n;
	unsigned seq;
	struct sip_msg msg;
	bool has_msg;
};

static int fail(struct talk *t, const char *fmt, ...) _printf_(2, 3);
static int fail(struct talk *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(t->why, t->why_n, fmt, ap);
	va_end(ap);
	return -EIO;
}

/* ---- where, and as whom ---- */

static const struct cfg_endpoint *tcp_of(const struct cfg_list *list)
{
	const struct cfg_endpoint *e = list->items;

	for (size_t i = 0; i < list->n; i++)
		if (e[i].proto == SIP_LISTEN_TCP && !e[i].path[0])
			return &e[i];
	return NULL;
}

/* A listener of every address is reached on this host's own. */
static struct addr reachable(const struct addr *at)
{
	struct addr a = *at;

	if (addr_classify(at) != ADDR_UNSPECIFIED)
		return a;
	return addr_family(at) == AF_INET6 ? addr_v6((const uint8_t[16]){ [15] = 1 }, addr_port(at)) : addr_v4(0x7f000001, addr_port(at));
}

static int dial(struct talk *t, const struct addr *to)
{
	struct addr own = { 0 };
	socklen_t n = sizeof(own);
	char at[ADDR_STRLEN];

	t->fd = socket(addr_family(to), SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || connect(t->fd, &to->sa, addr_len(to)) < 0 || getsockname(t->fd, &own.sa, &n) < 0)
		return fail(t, "cannot connect to stile-sip at %s: %s", addr_print(to, at), strerror(errno));
	addr_print(&own, t->at);
	return 0;
}

static const struct sip_user_section *user_of(const struct sip_config *c, const char *name)
{
	const struct sip_user_section *u = c->users.items;

	for (size_t i = 0; i < c->users.n; i++)
		if (u[i].password && (!name || strcmp(u[i].name, name) == 0))
			return &u[i];
	return NULL;
}

/* ---- the request ---- */

static int put(struct talk *t, const char *header, const char *value)
{
	char out[BUFFER];
	unsigned seq = ++t->seq;
	int n = snprintf(out, sizeof(out),
			 "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s%u;rport\r\nMax-Forwards: 70\r\n"
			 "From: <sip:%s@%s>;tag=%.8s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: %u MESSAGE\r\n%s%s%s%s"
			 "User-Agent: stile share\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n\r\n%s",
			 t->to, t->at, t->id, seq, t->user->name, t->domain, t->id, t->to, t->id, seq, header ? header : "", header ? ": " : "",
			 header ? value : "", header ? "\r\n" : "", strlen(t->text), t->text);

	if (n <= 0 || (size_t)n >= sizeof(out))
		return fail(t, "the message is too long");
	return send(t->fd, out, (size_t)n, MSG_NOSIGNAL) == n ? 0 : fail(t, "cannot send: %s", strerror(errno));
}

static void drop(struct talk *t)
{
	size_t used = t->has_msg ? t->msg.raw.n : 0;

	if (t->has_msg)
		sip_msg_deinit(&t->msg);
	t->has_msg = false;
	memmove(t->buf, t->buf + used, t->n - used);
	t->n -= used;
}

/* 1: there is one; 0: not yet. */
static int parse(struct talk *t)
{
	int v = t->n ? sip_msg_parse(&t->msg, (struct text){ t->buf, t->n }, SIP_STREAM, NULL) : SIP_INCOMPLETE;

	if (v == SIP_OK) {
		t->has_msg = true;
		return 1;
	}
	if (t->n)
		sip_msg_deinit(&t->msg);
	return v == SIP_INCOMPLETE || v == SIP_EMPTY ? 0 : fail(t, "the proxy sent what is no SIP message");
}

/* Its final response. */
static int await(struct talk *t)
{
	for (;;) {
		struct pollfd p = { .fd = t->fd, .events = POLLIN };
		ssize_t n;
		int r = parse(t);

		if (r < 0)
			return r;
		if (r == 1 && !t->msg.is_request && t->msg.status >= 200)
			return 0;
		if (r == 1) {
			drop(t);
			continue;
		}
		if (poll(&p, 1, WAIT_MS) <= 0)
			return fail(t, "stile-sip gives no answer within %d s", WAIT_MS / 1000);
		n = recv(t->fd, t->buf + t->n, sizeof(t->buf) - t->n, 0);
		if (n <= 0)
			return fail(t, "stile-sip has closed the connection");
		t->n += (size_t)n;
	}
}

/* Of the challenges that are there the one that we can answer. */
static int credentials(struct talk *t, enum sip_header id, char *out, size_t n)
{
	const struct head_field *f = sip_find(&t->msg, id);
	char ha1[SIP_DIGEST_HEX], response[SIP_DIGEST_HEX];
	enum sip_digest_alg alg = SIP_ALG_MD5;
	struct sip_auth a;

	if (!f || sip_auth_parse(f->value, &a) < 0 || !a.is_digest)
		return fail(t, "stile-sip asks for a password in no way that is known");
	if (text_ieq(a.param[SIP_D_ALGORITHM], TEXT("SHA-256")))
		alg = SIP_ALG_SHA256;
	a.param[SIP_D_USERNAME] = text_of(t->user->name);
	a.param[SIP_D_URI] = text_of(t->to);
	a.param[SIP_D_QOP] = TEXT("auth");
	a.param[SIP_D_NC] = TEXT("00000001");
	a.param[SIP_D_CNONCE] = text_of(t->id);
	if (sip_digest_ha1(alg, text_of(t->user->name), a.param[SIP_D_REALM], text_of(t->user->password), ha1) < 0 ||
	    sip_digest_response(alg, ha1, &a, TEXT("MESSAGE"), response) < 0)
		return fail(t, "the password cannot be hashed");
	bytes_wipe(ha1, sizeof(ha1));
	(void)snprintf(out, n,
		       "Digest username=\"%s\", realm=\"%.*s\", nonce=\"%.*s\", uri=\"%s\", response=\"%s\", algorithm=%s, qop=auth, nc=00000001, "
		       "cnonce=\"%s\"",
		       t->user->name, TEXT_FMT(a.param[SIP_D_REALM]), TEXT_FMT(a.param[SIP_D_NONCE]), t->to, response, sip_digest_alg_name(alg), t->id);
	return 0;
}

static int converse(struct talk *t)
{
	char auth[1500];
	bool proxy;
	int r = put(t, NULL, NULL);

	if (r == 0)
		r = await(t);
	if (r == 0 && (t->msg.status == 401 || t->msg.status == 407)) {
		proxy = t->msg.status == 407;
		r = credentials(t, proxy ? SIP_H_PROXY_AUTHENTICATE : SIP_H_WWW_AUTHENTICATE, auth, sizeof(auth));
		drop(t);
		if (r == 0)
			r = put(t, proxy ? "Proxy-Authorization" : "Authorization", auth);
		if (r == 0)
			r = await(t);
	}
	if (r == 0 && t->msg.status >= 300)
		r = fail(t, "%u %.*s", t->msg.status, TEXT_FMT(t->msg.reason));
	drop(t);
	return r;
}

static bool is_sip_uri(const char *to)
{
	struct sip_uri u;

	return strlen(to) < 300 && !strpbrk(to, " <>\"\r\n") && sip_uri_parse(text_of(to), &u) == 0 && u.user.p;
}

static int send_message(struct cli *cli, const char *to, const char *text, char *why, size_t why_n)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct talk *t = calloc(1, sizeof(*t));
	const struct cfg_endpoint *at = NULL;
	const struct sip_config *c;
	uint8_t random[16];
	int r = 0;

	(void)snprintf(why, why_n, "%s", strerror(ENOMEM));
	if (!t)
		return -ENOMEM;
	t->fd = -1;
	t->why = why;
	t->why_n = why_n;
	t->to = to;
	t->text = text;
	if (sip_headers_init() < 0 || bytes_random(random, sizeof(random)) < 0)
		r = -ENOMEM;
	else if (!is_sip_uri(to))
		r = fail(t, "--to is sip:USER@DOMAIN");
	else if (cfg_load(cli_config_path(cli), &sip_cfg_root, &cfg) < 0)
		r = fail(t, "%s cannot be read, or its sip section is not good: stile check says more", cli_config_path(cli));
	if (r == 0) {
		c = &((const struct sip_root *)cfg_values(cfg))->sip;
		at = tcp_of(&c->listen);
		t->user = user_of(c, cli_option(cli, "from"));
		t->domain = t->user && t->user->domain ? t->user->domain : c->domains.n ? ((char *const *)c->domains.items)[0] : "";
		hex_encode(random, sizeof(random), t->id);
		if (!at)
			r = fail(t, "sip.listen has no tcp interface");
		else if (!t->user)
			r = fail(t, "sip.users has no user%s%s to send it as (--from)", cli_has(cli, "from") ? " " : "",
				 cli_has(cli, "from") ? cli_option(cli, "from") : "");
		else
			r = dial(t, &(struct addr[]){ reachable(&at->at) }[0]);
	}
	if (r == 0)
		r = converse(t);
	if (t->fd >= 0)
		close(t->fd);
	sip_headers_deinit();
	free(t);
	return r;
}

/* ---- in a thread ---- */

struct aside {
	struct share_sip_aside o;
	struct mail mail;
	char to[320], text[1400], why[400];
	int bad;
};

static void deliver_sent(struct mail *m, struct loop *l)
{
	struct aside *b = container_of(m, struct aside, mail);
	char line[800];

	(void)l;
	(void)snprintf(line, sizeof line, b->bad < 0 ? "the link was not sent to %.300s: %s" : "the link was sent to %.300s%s", b->to,
		       b->bad < 0 ? b->why : "");
	b->o.said(b->bad < 0 ? "message-failed" : "message", line, b->o.arg);
	bytes_wipe(b, sizeof *b);
	free(b);
}

static void *send_in_thread(void *arg)
{
	struct aside *b = arg;

	b->bad = send_message(b->o.cli, b->to, b->text, b->why, sizeof b->why);
	loop_post(b->o.loop, &b->mail);
	return NULL;
}

void share_sip_send_aside(const struct share_sip_aside *o, const char *text)
{
	struct aside *b = calloc(1, sizeof *b);
	pthread_t thread;

	if (!b)
		return;
	b->o = *o;
	b->mail.deliver = deliver_sent;
	(void)snprintf(b->to, sizeof b->to, "%s", o->to);
	(void)snprintf(b->text, sizeof b->text, "%s", text);
	if (pthread_create(&thread, NULL, send_in_thread, b) == 0)
		(void)pthread_detach(thread);
	else
		free(b);
}
