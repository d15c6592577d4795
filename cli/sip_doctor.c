/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip doctor DOMAIN: can we speak with that domain, and where does it stop? The steps are those of the proxy, one
 * line each: records of the DNS, addresses, TCP, TLS, the certificate's chain and name, whether ours would be
 * believed, an OPTIONS and its answer, and whether a NAT is between. What failed says what to change and where.
 *
 * It connects by itself and needs no running service, but asks one that is there for routes and partners of its store; of the
 * configuration it reads certificate, CAs, static routes, stun_servers. One connection at a time, and every wait has an end.
 */
#include "cli/sip_doctor.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/x509v3.h>
#include "cli/sip.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/tls.h"
#include "sip-proxy/write.h"

enum { STEP_MS = 5000, REFUSAL_MS = 300, ANSWER = 8192 };

/* ---- names ---- */

static void add_host(struct doctor *d, const char *host, uint16_t port, enum sip_proto proto)
{
	struct addr v[DNS_ADDRESSES_MAX];
	char line[512] = "";
	size_t n;
	enum dns_status st = sip_dns_addresses(&d->dns, host, port, v, ARRAY_LEN(v), &n);
	bool inside = sip_dns_print(v, n, line, sizeof line);

	for (size_t i = 0; i < n && d->n < DOCTOR_PLACES; i++) {
		d->v[d->n] = (struct place){ .at = v[i], .proto = proto };
		snprintf(d->v[d->n++].host, sizeof d->v[0].host, "%s", host);
	}
	if (st != DNS_OK)
		cli_report(&d->report, false, host,
			   "%s: the owner of the name must give it an address", dns_status_text(st));
	else
		cli_report(&d->report, true, host, "%s%s", line,
			   inside && !d->route
				   ? " (no public address: the proxy goes there only with sip.federation.addresses)"
				   : "");
}

static bool add_srv(struct doctor *d, const char *service, bool used)
{
	char name[DNS_NAME_MAX * 2], what[DNS_NAME_MAX * 2 + 8];
	struct dns_records *r = NULL;
	enum dns_status st;
	bool any = false;

	snprintf(name, sizeof name, "%s.%s", service, d->domain);
	snprintf(what, sizeof what, "SRV %s", name);
	st = sip_dns_records(&d->dns, DNS_SRV, name, &r);
	if (st != DNS_OK) {
		if (used)
			cli_report(&d->report, false, what, "%s",
				   st == DNS_NO_NAME || st == DNS_NO_ADDRESS
					   ? "there is none: the other domain must publish it, or make a static route (stile sip route add)"
					   : dns_status_text(st));
		return false;
	}
	sip_dns_sort(r->srv, r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct dns_srv *s = &r->srv[i];
		cli_report(&d->report, s->target[0] || !used, what,
			   "%s, port %u, priority %u, weight %u%s",
			   s->target[0] ? s->target : "no such service here", s->port, s->priority,
			   s->weight, used ? "" : " (not for federation)");
		if (used && s->target[0])
			add_host(d, s->target, s->port, SIP_TLS);
		any |= s->target[0] != 0;
	}
	dns_records_unref(r);
	return any;
}

static void show_naptr(struct doctor *d)
{
	struct dns_records *r = NULL;

	if (sip_dns_records(&d->dns, DNS_NAPTR, d->domain, &r) != DNS_OK)
		return;
	for (size_t i = 0; i < r->n; i++)
		cli_report(&d->report, true, "NAPTR", "%u %u %s → %s (not for federation)",
			   r->naptr[i].order, r->naptr[i].preference, r->naptr[i].service,
			   r->naptr[i].replacement);
	dns_records_unref(r);
}

static void find_places(struct doctor *d)
{
	bool mutual;

	if (d->route) {
		enum sip_proto p = sip_listen_proto_of(d->route->transport, &mutual);
		cli_report(&d->report, d->route->active, "static route", "%s by %s%s",
			   d->route->host, sip_listen_protocols[d->route->transport],
			   d->route->active
				   ? ""
				   : ", switched off: stile sip route enable, or active: true");
		add_host(d, d->route->host,
			 d->route->port ? (uint16_t)d->route->port : sip_proto_rows[p].port, p);
		return;
	}
	show_naptr(d);
	if (!add_srv(d, "_sipfederationtls._tcp", true))
		add_srv(d, "_sips._tcp", d->c && d->c->federation.sips_srv);
}

/* ---- a connection ---- */

static int wait_fd(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r = poll(&p, 1, STEP_MS);

	return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static int connect_to(const struct addr *at, int *ret_fd)
{
	_cleanup_(closep) int fd =
		socket(addr_family(at), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = 0, r;
	socklen_t n = sizeof err;

	if (fd < 0)
		return -errno;
	if (connect(fd, &at->sa, addr_len(at)) < 0 && errno != EINPROGRESS)
		return -errno;
	r = wait_fd(fd, POLLOUT);
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 || err)
		return err ? -err : -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* One step of OpenSSL's: 1 again, 0 done, -1 failed. */
static int again(SSL *ssl, int r)
{
	int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, r);

	if (e == SSL_ERROR_NONE)
		return 0;
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return wait_fd(SSL_get_fd(ssl), e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT) == 0
			       ? 1
			       : -1;
	return -1;
}

/* Who fails the chain is looked at all the same: the verdict is asked for afterwards. */
static int on_verify(int good, X509_STORE_CTX *sc)
{
	(void)good;
	(void)sc;
	return 1;
}

static int on_asked(SSL *ssl, void *arg)
{
	struct doctor *d = arg;

	(void)ssl;
	d->asked_for_ours = true;
	return 1;
}

static struct tls_ctx *context(struct doctor *d)
{
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];
	int r = tls_ctx_new(&(struct tls_options){ .client = true,
						   .cert_file = d->key ? d->certificate : NULL,
						   .key_file = d->certificate ? d->key : NULL,
						   .ca_file = d->ca,
						   .crl_file = d->c ? d->c->crl : NULL,
						   .verify_peer = true,
						   .name_by_owner = true },
			    err, &ctx);

	if (r < 0) {
		cli_report(&d->report, false, "our certificate", "%s", err);
		return NULL;
	}
	SSL_CTX_set_purpose(tls_ctx_ssl(ctx), X509_PURPOSE_ANY);
	SSL_CTX_set_verify(tls_ctx_ssl(ctx), SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_cert_cb(tls_ctx_ssl(ctx), on_asked, d);
	return ctx;
}

/* ---- OPTIONS ---- */

struct talk {
	struct doctor *d;
	const struct place *p;
	int fd;
	SSL *ssl; /* NULL: in the clear */
	struct addr local;
};

static ssize_t write_options(const struct talk *t, char *buf, size_t cap)
{
	char via[200], from[300], to[300], uri[300], at[ADDR_STRLEN], hex[25];
	char *const *own = t->d->c ? t->d->c->domains.items : NULL;
	const char *us = own && t->d->c->domains.n ? own[0] : "stile-doctor.invalid";
	uint8_t random[12];

	if (bytes_random(random, sizeof random) < 0)
		return -EIO;
	hex_encode(random, sizeof random, hex);
	snprintf(uri, sizeof uri, "sip:%.250s", t->d->domain);
	snprintf(via, sizeof via, "SIP/2.0/%s %s;branch=z9hG4bK%s;rport",
		 sip_proto_rows[t->p->proto].via.p, addr_print(&t->local, at), hex);
	snprintf(from, sizeof from, "<sip:stile-doctor@%.200s>;tag=%.8s", us, hex);
	snprintf(to, sizeof to, "<%.260s>", uri);
	return sip_request_write(buf, cap,
				 &(struct sip_request_parts){ .method = TEXT("OPTIONS"),
							      .uri = text_of(uri),
							      .via = text_of(via),
							      .from = text_of(from),
							      .to = text_of(to),
							      .call_id = text_of(hex),
							      .cseq = 1,
							      .max_forwards = 70 });
}

static ssize_t put(const struct talk *t, const char *p, size_t n)
{
	int r, a = 0;

	if (!t->ssl)
		return send(t->fd, p, n, MSG_NOSIGNAL);
	do
		r = SSL_write(t->ssl, p, (int)n);
	while ((a = again(t->ssl, r)) > 0);
	return a < 0 ? -1 : r;
}

/* Some bytes; 0: the end; -1: why is written. */
static ssize_t get(const struct talk *t, char *p, size_t n, char *why, size_t why_n)
{
	char text[128];
	int r, a;

	if (!t->ssl) {
		r = wait_fd(t->fd, POLLIN);
		if (r < 0)
			snprintf(why, why_n, "%s", strerror(-r));
		return r < 0 ? -1 : recv(t->fd, p, n, 0);
	}
	do
		r = SSL_read(t->ssl, p, (int)n);
	while ((a = again(t->ssl, r)) > 0);
	if (a == 0)
		return r;
	if (SSL_get_error(t->ssl, r) == SSL_ERROR_ZERO_RETURN)
		return 0;
	snprintf(why, why_n, "%s",
		 SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? "no answer in 5 s"
								 : tls_error_text(text, sizeof text));
	return -1;
}

/* Where they see us: "received" and "rport" of our Via. */
static void judge_nat(struct doctor *d, const struct talk *t, const struct sip_msg *m)
{
	struct sip_values it = sip_values(m, SIP_H_VIA);
	struct text value = { 0 };
	struct sip_via v;
	struct addr seen;
	char at[ADDR_STRLEN], ours[ADDR_STRLEN];

	if (!sip_values_next(&it, &value) || sip_via_parse(value, &v) < 0 || !v.received.p ||
	    addr_parse(v.received, 0, &seen) < 0)
		return;
	addr_print_ip(&seen, at);
	addr_print_ip(&t->local, ours);
	if (addr_equal_ip(&seen, &t->local))
		cli_report(&d->report, true, "  NAT", "none: they see us as %s", at);
	else
		cli_report(&d->report, true, "  NAT",
			   "we are %s and they see %s: set sip.federation.advertise to a name of the outer address and let the router forward the port of sip.federation.listen (stile netcheck tells more)",
			   ours, at);
}

/* why: of n 0, why nothing came. */
static void judge_answer(struct doctor *d, const struct talk *t, const char *buf, size_t n, const char *why)
{
	struct sip_msg m;

	if (!n || sip_msg_parse(&m, (struct text){ buf, n }, SIP_DATAGRAM, NULL) != SIP_OK) {
		cli_report(&d->report, false, "  OPTIONS", "%s%s", n ? "the answer is no SIP" : why,
			   strstr(why, "alert")
				   ? ": they refuse our certificate; its CA and name must be good for them"
				   : "");
		return;
	}
	cli_report(&d->report, m.status != 403 && m.status != 407, "  OPTIONS", "%u %.*s%s",
		   m.status, TEXT_FMT(m.reason),
		   m.status == 403 ? ": they answer, and do not want us: they must allow our domain"
				   : "");
	d->spoken += m.status != 403 && m.status != 407;
	judge_nat(d, t, &m);
	sip_msg_deinit(&m);
}

static void read_answer(struct doctor *d, const struct talk *t)
{
	char buf[ANSWER], why[256] = "the connection was closed without an answer";
	size_t n = 0;
	ssize_t r = 1;

	while (r > 0 && n < sizeof buf && !memmem(buf, n, "\r\n\r\n", 4)) {
		r = get(t, buf + n, sizeof buf - n, why, sizeof why);
		n += r > 0 ? (size_t)r : 0;
	}
	judge_answer(d, t, buf, n, why);
}

/* With TLS 1.3 our certificate is judged behind the handshake: whoever refuses it says so now, and a request that is
 * written into that would hide the reason. False: refused, and said. */
static bool believed(struct doctor *d, const struct talk *t)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	char one, text[128];
	int r, e;

	if (!t->ssl || poll(&p, 1, REFUSAL_MS) <= 0)
		return true;
	r = SSL_peek(t->ssl, &one, 1);
	e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
	if (e == SSL_ERROR_NONE || e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return true;
	cli_report(&d->report, false, "  our certificate",
		   "they refuse our certificate: %s; its CA and its name must be good for them",
		   tls_error_text(text, sizeof text));
	return false;
}

static void ask_options(struct doctor *d, const struct talk *t)
{
	char buf[2048];
	ssize_t n = write_options(t, buf, sizeof buf);

	if (!believed(d, t))
		return;
	if (n < 0 || put(t, buf, (size_t)n) != n)
		cli_report(&d->report, false, "  OPTIONS",
			   "it could not be sent: the connection is gone");
	else
		read_answer(d, t);
}

/* ---- a place ---- */

static void over_tls(struct doctor *d, struct talk *t)
{
	struct tls_ctx *ctx = context(d);
	char text[128];
	int r, a = -1;

	if (!ctx)
		return;
	d->asked_for_ours = false;
	if (tls_session_new(ctx,
			    d->route && d->route->transport != SIP_LISTEN_MTLS ? d->route->host : d->domain,
			    &t->ssl) < 0 ||
	    SSL_set_fd(t->ssl, t->fd) != 1) {
		cli_report(&d->report, false, "  TLS", "out of memory");
	} else {
		do
			r = SSL_connect(t->ssl);
		while ((a = again(t->ssl, r)) > 0);
		if (a < 0)
			cli_report(&d->report, false, "  TLS", "%s",
				   SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ
					   ? "the other end stalls in the handshake: no answer in 5 s"
					   : tls_error_text(text, sizeof text));
		else
			cli_report(&d->report, true, "  TLS", "%s, %s", SSL_get_version(t->ssl),
				   SSL_get_cipher(t->ssl));
	}
	if (a == 0) {
		doctor_judge_chain(d, t->ssl);
		doctor_judge_name(d, t->ssl);
		doctor_judge_ours(d);
		ask_options(d, t);
	}
	SSL_free(t->ssl);
	t->ssl = NULL;
	tls_ctx_unref(ctx);
}

/* An OPTIONS, again and again as the proxy would, until something comes back. */
static void over_udp(struct doctor *d, struct talk *t)
{
	char buf[2048], answer[ANSWER];
	ssize_t n = write_options(t, buf, sizeof buf), got = -1;
	int waits[] = { 500, 1000, 2000, 2000 }, r = -ETIMEDOUT;

	for (size_t i = 0; n > 0 && got < 0 && i < ARRAY_LEN(waits); i++) {
		struct pollfd p = { .fd = t->fd, .events = POLLIN };
		if (send(t->fd, buf, (size_t)n, 0) < 0 || poll(&p, 1, waits[i]) <= 0)
			continue;
		got = recv(t->fd, answer, sizeof answer, 0);
		r = got < 0 ? -errno : 0;
		if (r == -ECONNREFUSED)
			break;
	}
	if (got < 0)
		cli_report(&d->report, false, "  OPTIONS", "%s",
			   r == -ECONNREFUSED ? "nothing listens there (ICMP): port or transport of the route is wrong, or it does not run"
					      : "no answer in 5 s: a firewall on the way, or the gateway does not know us");
	else
		judge_answer(d, t, answer, (size_t)got, "");
}

static bool visit_udp(struct doctor *d, struct talk *t)
{
	socklen_t n = sizeof t->local;
	char at[ADDR_STRLEN], what[DNS_NAME_MAX + 80];

	snprintf(what, sizeof what, "udp %s", addr_print(&t->p->at, at));
	t->fd = socket(addr_family(&t->p->at), SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || connect(t->fd, &t->p->at.sa, addr_len(&t->p->at)) < 0 ||
	    getsockname(t->fd, &t->local.sa, &n) < 0) {
		cli_report(&d->report, false, what, "%s: there is no way to it from here", strerror(errno));
		return false;
	}
	cli_report(&d->report, true, what, "from %s", addr_print_ip(&t->local, at));
	return true;
}

static void visit(struct doctor *d, const struct place *p)
{
	struct talk t = { .d = d, .p = p, .fd = -1 };
	socklen_t n = sizeof t.local;
	char at[ADDR_STRLEN], what[DNS_NAME_MAX + 80];
	int r;

	if (p->proto == SIP_UDP) {
		if (visit_udp(d, &t))
			over_udp(d, &t);
		if (t.fd >= 0)
			close(t.fd);
		return;
	}
	snprintf(what, sizeof what, "tcp %s", addr_print(&p->at, at));
	r = connect_to(&p->at, &t.fd);
	if (r < 0) {
		cli_report(&d->report, false, what,
			   "%s: a firewall on the way, or nothing listens there", strerror(-r));
		return;
	}
	if (getsockname(t.fd, &t.local.sa, &n) < 0)
		t.local = (struct addr){ 0 };
	cli_report(&d->report, true, what, "connected");
	if (p->proto == SIP_TLS)
		over_tls(d, &t);
	else
		ask_options(d, &t);
	close(t.fd);
}

/* ---- the whole ---- */

/* Before the service is asked: its rows have the file's routes, too. */
static void read_config(struct doctor *d)
{
	const struct sip_route_section *r = d->c->routes.items;

	for (size_t i = 0; i < d->c->routes.n; i++)
		if (text_ieq(text_of(r[i].domain), text_of(d->domain)))
			d->route = &r[i];
	d->mode = d->c->federation.mode;
}

static void choose_certificates(struct doctor *d)
{
	const struct sip_federation_section *f = &d->c->federation;

	if (!d->certificate) {
		d->certificate = !d->route && f->certificate ? f->certificate : d->c->certificate;
		d->key = !d->route && f->key ? f->key : d->c->key;
	}
	if (!d->ca)
		d->ca = !d->route && f->ca ? f->ca : d->c->ca;
}

static void see_federation(struct doctor *d)
{
	const struct sip_partner_section *p = d->c->federation.partners.items;
	bool listed = d->listed, denied = d->denied;

	for (size_t i = 0; i < d->c->federation.partners.n; i++)
		if (text_ieq(text_of(p[i].domain), text_of(d->domain))) {
			listed = p[i].allow;
			denied = !p[i].allow;
		}
	if (d->mode == SIP_FEDERATION_OFF)
		cli_report(&d->report, false, "sip.federation",
			   "it is off here: set its mode to listed or open, or make a static route");
	else if (denied)
		cli_report(&d->report, false, "sip.federation",
			   "the domain is denied here: stile sip federation allow");
	else if (d->mode == SIP_FEDERATION_LISTED && !listed)
		cli_report(&d->report, !d->asked, "sip.federation", "%s",
			   d->asked ? "the domain is not listed: stile sip federation allow"
				    : "the file does not list the domain: stile sip federation allow, unless the store has it");
	else
		cli_report(&d->report, true, "sip.federation", "the domain is allowed here");
}

static void use_config(struct doctor *d, const struct cfg *cfg)
{
	const struct sip_root *root = cfg_values(cfg);

	d->c = &root->sip;
	d->stun_servers = &root->stun_servers;
}

static void walk(struct doctor *d)
{
	if (d->c)
		choose_certificates(d);
	if (d->c && !d->route)
		see_federation(d);
	find_places(d);
	for (unsigned i = 0; i < d->n; i++)
		visit(d, &d->v[i]);
	doctor_name_nat(d);
}

static int run_doctor(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct doctor d = { .domain = cli->words[0],
			    .certificate = cli_option(cli, "certificate"),
			    .key = cli_option(cli, "key"),
			    .ca = cli_option(cli, "ca") };
	char file[PATH_MAX];
	int r;

	if (strlen(d.domain) > 253 || strpbrk(d.domain, "@:/ "))
		return cli_wrong(cli, "'%s' is no domain, such as partner.example", d.domain);
	if (cfg_load(doctor_config(cli, file, sizeof file), &sip_cfg_root, &cfg) == 0)
		use_config(&d, cfg);
	else if (cli_has(cli, "config"))
		return cli_fail(cli, "%s cannot be read: stile check says why", cli_config_path(cli));
	r = sip_dns_open(&d.dns);
	if (r < 0 || sip_headers_init() < 0)
		return cli_fail(cli, "%s", strerror(r < 0 ? -r : ENOMEM));
	d.report = cli_report_begin(cli);
	if (d.c)
		read_config(&d);
	doctor_ask_service(&d, cli);
	walk(&d);
	cli_report_end(&d.report, true);
	doctor_forget_service(&d);
	sip_headers_deinit();
	sip_dns_close(&d.dns);
	return d.spoken && !d.report.bad ? 0 : EXIT_FAILED;
}

static const struct option_row options[] = {
	{ "ca", 0, "FILE", "CAs that their certificate must come from (default: sip.ca)" },
	{ "certificate", 0, "FILE", "show this certificate (default: sip.certificate)" },
	{ "key", 0, "FILE", "its key" },
};

static const struct command rows[] = {
	{ "sip doctor", "DOMAIN", "can we speak with another domain, and where does it stop",
	  "Walks the way of the proxy to DOMAIN: its static route or its SRV record, addresses, TCP, TLS, the certificate's chain\n"
	  "and name, whether ours is asked for and names us, OPTIONS and its answer (over UDP, too), NAT and its type by stun_servers.\n"
	  "Each line that fails says what to change and where. No service is needed, but one that runs is asked for the routes and\n"
	  "partners of its store (with --config only if --runtime-dir or --instance says which). Exit 1 if something fails.\n\n"
	  "  stile sip doctor partner.example",
	  options, ARRAY_LEN(options), 1, 1, run_doctor, 0 },
};
const struct command_table sip_doctor_commands = { rows, ARRAY_LEN(rows) };
