/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test servers: plays two UC servers of sip.lan.servers against a running stile-sip. Both log on with their passwords
 * over TCP, each says yes for a user of its own when it is asked, and a MESSAGE goes from the one's user to the other's
 * and back as 200. So the mesh is seen to work without any UC server being there yet.
 *
 * Two blocking connections and the message library; what comes is answered as it comes.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/sip.h"
#include "common/bytes.h"
#include "sip-proxy/config.h"
#include "sip-proxy/digest.h"
#include "sip-proxy/write.h"

enum { BUFFER = 65536, WAIT_MS = 10000, TEXT_MAX = 4096 };

struct uc {
	int fd;
	const struct sip_server_section *is;
	const char *domain;
	char user[32], at[ADDR_STRLEN]; /* its user; where it is reached */
	char buf[BUFFER];
	size_t n, used;
	struct sip_msg msg;
	bool has_msg, got_message;
	unsigned seq;
	char why[256];
};

static int fail(struct uc *u, const char *fmt, ...) _printf_(2, 3);
static int fail(struct uc *u, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(u->why, sizeof(u->why), fmt, ap);
	va_end(ap);
	return -EIO;
}

/* ---- bytes ---- */

static int uc_connect(struct uc *u, const struct addr *to)
{
	struct addr own = { 0 };
	socklen_t n = sizeof(own);

	u->fd = socket(addr_family(to), SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0 || connect(u->fd, &to->sa, addr_len(to)) < 0 || getsockname(u->fd, &own.sa, &n) < 0)
		return fail(u, "cannot connect: %s", strerror(errno));
	addr_print(&own, u->at);
	return 0;
}

static int uc_write(struct uc *u, const char *p, size_t n)
{
	ssize_t r = send(u->fd, p, n, MSG_NOSIGNAL);

	return r == (ssize_t)n ? 0 : fail(u, "cannot send: %s", r < 0 ? strerror(errno) : "the connection is stuck");
}

static void drop_msg(struct uc *u)
{
	if (u->has_msg)
		sip_msg_deinit(&u->msg);
	u->has_msg = false;
	memmove(u->buf, u->buf + u->used, u->n - u->used);
	u->n -= u->used;
	u->used = 0;
}

/* 1: there is a message; 0: not yet; negative: the end. */
static int parse(struct uc *u)
{
	size_t skip = 0;
	int v;

	while (skip < u->n && (u->buf[skip] == '\r' || u->buf[skip] == '\n'))
		skip++;
	v = sip_msg_parse(&u->msg, (struct text){ u->buf + skip, u->n - skip }, SIP_STREAM, NULL);
	if (v == SIP_OK) {
		u->has_msg = true;
		u->used = skip + u->msg.raw.n;
		return 1;
	}
	sip_msg_deinit(&u->msg);
	if (v == SIP_INCOMPLETE || v == SIP_EMPTY)
		return 0;
	return fail(u, "the proxy sent what is no SIP message");
}

static int uc_read(struct uc *u, int wait_ms)
{
	struct pollfd p = { .fd = u->fd, .events = POLLIN };
	ssize_t n;
	int r = parse(u);

	if (r != 0)
		return r;
	if (poll(&p, 1, wait_ms) <= 0)
		return 0;
	n = recv(u->fd, u->buf + u->n, sizeof(u->buf) - u->n, 0);
	if (n <= 0)
		return fail(u, "the proxy has closed the connection");
	u->n += (size_t)n;
	return parse(u);
}

/* ---- answering ---- */

static int reply(struct uc *u, unsigned code, const char *reason)
{
	char out[TEXT_MAX];
	ssize_t n = sip_response_write(out, sizeof(out), &u->msg,
				       &(struct sip_response_parts){ .code = code, .reason = text_of(reason), .to_tag = TEXT("uc") });

	return n < 0 ? fail(u, "its request cannot be answered") : uc_write(u, out, (size_t)n);
}

/* Requests are answered; a final response is left in u->msg: 1. */
static int turn(struct uc *u, int wait_ms)
{
	struct sip_uri uri;
	bool mine;
	int r = uc_read(u, wait_ms);

	if (r <= 0)
		return r;
	if (!u->msg.is_request && u->msg.status >= 200)
		return 1;
	mine = u->msg.is_request && sip_uri_parse(u->msg.uri, &uri) == 0 && (!uri.user.p || text_eq(uri.user, text_of(u->user)));
	if (u->msg.is_request && u->msg.method == SIP_MESSAGE && mine)
		u->got_message = true;
	r = u->msg.is_request ? reply(u, mine ? 200 : 404, mine ? "OK" : "Not Found") : 0;
	drop_msg(u);
	return r;
}

/* The final response at u, while the other one answers what it is asked. */
static int await(struct uc *u, struct uc *other)
{
	for (int waited = 0; waited < WAIT_MS; waited += 20) {
		int r = turn(u, 10);
		if (r != 0)
			return r;
		if (other && (r = turn(other, 10)) < 0)
			return fail(u, "%s: %s", other->is->user, other->why);
		if (other && r == 1)
			drop_msg(other);
	}
	return fail(u, "no answer within %d s", WAIT_MS / 1000);
}

/* ---- log-on ---- */

static int send_register(struct uc *u, unsigned expires, const char *authorization)
{
	char out[TEXT_MAX];
	unsigned seq = ++u->seq;
	int n = snprintf(out, sizeof(out),
			 "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKr%u;rport\r\nMax-Forwards: 70\r\n"
			 "From: <sip:%s@%s>;tag=t\r\nTo: <sip:%s@%s>\r\nCall-ID: logon-%s@stile-test\r\nCSeq: %u REGISTER\r\n"
			 "Contact: <sip:%s;transport=tcp>;expires=%u\r\n%s%s%sContent-Length: 0\r\n\r\n",
			 u->domain, u->at, seq, u->is->user, u->domain, u->is->user, u->domain, u->at, seq, u->at, expires,
			 authorization ? "Authorization: " : "", authorization ? authorization : "", authorization ? "\r\n" : "");

	return n > 0 && (size_t)n < sizeof(out) ? uc_write(u, out, (size_t)n) : fail(u, "its name is too long");
}

static int credentials(struct uc *u, char *out, size_t n)
{
	const struct head_field *f = sip_find(&u->msg, SIP_H_WWW_AUTHENTICATE);
	char ha1[SIP_DIGEST_HEX], response[SIP_DIGEST_HEX], uri[300];
	struct sip_auth a;

	if (!f || sip_auth_parse(f->value, &a) < 0 || !a.is_digest)
		return fail(u, "it was asked for a password in no way that is known");
	(void)snprintf(uri, sizeof(uri), "sip:%s", u->domain);
	a.param[SIP_D_USERNAME] = text_of(u->is->user);
	a.param[SIP_D_URI] = text_of(uri);
	a.param[SIP_D_QOP] = TEXT("auth");
	a.param[SIP_D_NC] = TEXT("00000001");
	a.param[SIP_D_CNONCE] = TEXT("stile");
	if (sip_digest_ha1(SIP_ALG_MD5, text_of(u->is->user), a.param[SIP_D_REALM], text_of(u->is->password), ha1) < 0 ||
	    sip_digest_response(SIP_ALG_MD5, ha1, &a, TEXT("REGISTER"), response) < 0)
		return fail(u, "the password cannot be hashed");
	(void)snprintf(out, n,
		       "Digest username=\"%s\", realm=\"%.*s\", nonce=\"%.*s\", uri=\"%s\", response=\"%s\", algorithm=MD5, qop=auth, "
		       "nc=00000001, cnonce=\"stile\"",
		       u->is->user, TEXT_FMT(a.param[SIP_D_REALM]), TEXT_FMT(a.param[SIP_D_NONCE]), uri, response);
	bytes_wipe(ha1, sizeof(ha1));
	return 0;
}

static int log_on(struct uc *u, struct uc *other, unsigned expires)
{
	char auth[1024];
	int r = send_register(u, expires, NULL);

	if (r == 0)
		r = await(u, other);
	if (r == 1 && u->msg.status == 401 && u->is->password) {
		r = credentials(u, auth, sizeof(auth));
		drop_msg(u);
		if (r == 0)
			r = send_register(u, expires, auth);
		if (r == 0)
			r = await(u, other);
	}
	if (r < 0)
		return r;
	r = u->msg.status == 200 ? 0 : fail(u, "the proxy refuses its log-on: %u %.*s", u->msg.status, TEXT_FMT(u->msg.reason));
	drop_msg(u);
	return r;
}

/* ---- the message ---- */

static int send_message(struct uc *from, struct uc *to)
{
	char out[TEXT_MAX];
	unsigned seq = ++from->seq;
	int n = snprintf(out, sizeof(out),
			 "MESSAGE sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKm%u;rport\r\nMax-Forwards: 70\r\n"
			 "From: <sip:%s@%s>;tag=m\r\nTo: <sip:%s@%s>\r\nCall-ID: message-%s@stile-test\r\nCSeq: 1 MESSAGE\r\n"
			 "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
			 to->user, to->domain, from->at, seq, from->user, from->domain, to->user, to->domain, from->at);
	int r = n > 0 && (size_t)n < sizeof(out) ? uc_write(from, out, (size_t)n) : fail(from, "the names are too long");

	if (r == 0)
		r = await(from, to);
	if (r < 0)
		return r;
	if (from->msg.status != 200 || !to->got_message)
		r = fail(from, "answered with %u %.*s%s", from->msg.status, TEXT_FMT(from->msg.reason),
			 to->got_message ? "" : "; it did not arrive");
	else
		r = 0;
	drop_msg(from);
	return r;
}

/* ---- the command ---- */

static const struct sip_server_section *named(const struct sip_config *c, const char *name)
{
	const struct sip_server_section *s = c->lan.servers.items;

	for (size_t i = 0; i < c->lan.servers.n; i++)
		if (s[i].user && strcmp(s[i].user, name) == 0)
			return &s[i];
	return NULL;
}

static const struct addr *lan_tcp(const struct sip_config *c)
{
	const struct cfg_endpoint *e = c->lan.listen.items;

	for (size_t i = 0; i < c->lan.listen.n; i++)
		if (e[i].proto == SIP_LISTEN_TCP)
			return &e[i].at;
	return NULL;
}

static void step(struct cli_report *rep, int r, struct uc *u, const char *what, const char *good)
{
	cli_report(rep, r == 0, what, "%s", r == 0 ? good : u->why);
}

static void play(struct cli *cli, struct uc *a, struct uc *b, const struct addr *to)
{
	struct cli_report rep = cli_report_begin(cli);
	struct uc *both[2] = { a, b };
	char text[256];
	int r = 0;

	for (unsigned i = 0; i < 2 && r == 0; i++) {
		r = uc_connect(both[i], to);
		if (r == 0)
			r = log_on(both[i], i ? a : NULL, 60);
		(void)snprintf(text, sizeof(text), "logged on as the UC server at %s", both[i]->at);
		step(&rep, r, both[i], both[i]->is->user, text);
	}
	if (r == 0) {
		r = send_message(a, b);
		(void)snprintf(text, sizeof(text), "from %s at %s to %s at %s, and its 200 back", a->user, a->is->user, b->user, b->is->user);
		step(&rep, r, a, "MESSAGE", text);
	}
	for (unsigned i = 0; i < 2 && r == 0; i++)
		if (log_on(both[i], both[!i], 0) < 0)
			step(&rep, -1, both[i], both[i]->is->user, "");
	cli_report_end(&rep, true);
	a->why[0] = rep.bad ? 1 : 0; /* for the exit status */
}

static int run_test_servers(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct uc *v = calloc(2, sizeof(*v));
	const struct sip_config *c;
	const struct addr *to;
	int r = 0;

	if (!v)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	if (cfg_load(cli_config_path(cli), &sip_cfg_root, &cfg) < 0) {
		if (cfg)
			cfg_print_errors(cfg, stderr);
		free(v);
		return EXIT_USAGE;
	}
	c = &((const struct sip_root *)cfg_values(cfg))->sip;
	to = lan_tcp(c);
	for (unsigned i = 0; i < 2; i++) {
		v[i].fd = -1;
		v[i].is = named(c, cli->words[i]);
		v[i].domain = c->domains.n ? ((char *const *)c->domains.items)[0] : "";
		(void)snprintf(v[i].user, sizeof(v[i].user), "stile-test-%c", 'a' + (int)i);
		if (!v[i].is)
			r = cli_fail(cli, "%s has no server %s in sip.lan.servers", cli_config_path(cli), cli->words[i]);
	}
	if (r == 0 && (!to || sip_headers_init() < 0))
		r = cli_fail(cli, "sip.lan.listen has no tcp interface");
	if (r == 0) {
		play(cli, &v[0], &v[1], to);
		r = v[0].why[0] ? EXIT_FAILED : 0;
		sip_headers_deinit();
	}
	for (unsigned i = 0; i < 2; i++)
		if (v[i].fd >= 0)
			close(v[i].fd);
	free(v);
	return r;
}

static const struct command rows[] = {
	{ "test servers", "SERVER SERVER", "play two UC servers, and send a message from the one's user to the other's",
	  "SERVERs are two of sip.lan.servers of the configuration, which has their passwords. They log on to the running stile-sip\n"
	  "over the first tcp interface of sip.lan, and off again: name servers that are not in use, for who is logged on by these\n"
	  "names is displaced. Exit 1 if the message does not arrive.",
	  NULL, 0, 2, 2, run_test_servers, WITHOUT_SERVICE },
};
const struct command_table sip_test_servers_commands = { rows, ARRAY_LEN(rows) };
