/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: plans that bind and read everything before anything changes, the sockets, and their faces, which are
 * what the core knows as interfaces. See edge.h.
 *
 * A listener is known by its transport's kind of socket and its address, so that a reload from tls to mtls, or to
 * another certificate, keeps the socket and whoever waits in its queue. A removed one closes its
 * socket at once (UDP keeps none either: clients must find the new place) and lives on, without sockets, as
 * long as connections need its name.
 */
#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/inherited.h"
#include "common/reuseport.h"
#include "sip-proxy/edge_priv.h"
#include "sip-proxy/log_msgs.h"

#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"

enum { UDP_BUFFER = 4 << 20 };

struct entry {
	struct sip_listener *l; /* fresh, or at work */
	bool fresh;
	struct sip_contexts contexts;
	bool mutual, lan, federation;
	char advertise[SIP_SENT_BY_MAX];
};

struct sip_edge_plan {
	struct sip_edge *edge;
	struct sip_contexts contexts;
	struct sip_edge_config config; /* its lists are the caller's until taken: only limits are kept */
	struct sip_sources *sources; /* NULL: nothing to take */
	struct entry *v;
	size_t n;
};

/* ---- certificates ---- */

static void contexts_deinit(struct sip_contexts *c)
{
	c->server = tls_ctx_unref(c->server);
	c->client = tls_ctx_unref(c->client);
}

struct files {
	const char *certificate, *key, *ca, *crl;
};

static int client_context(const struct files *f, char *err, struct tls_ctx **ret_ctx)
{
	int r = tls_ctx_new(&(struct tls_options){ .client = true,
						   .cert_file = f->certificate,
						   .key_file = f->key,
						   .ca_file = f->ca,
						   .crl_file = f->crl,
						   .verify_peer = true,
						   .name_by_owner = true },
			    err, ret_ctx);

	/* A server's certificate is taken from whom we connect to, also if it was made out for clients alone, and the
	 * other way round: the CAs give out no others any more, and RFC 5922 judges by the name. */
	if (r == 0)
		SSL_CTX_set_purpose(tls_ctx_ssl(*ret_ctx), X509_PURPOSE_ANY);
	return r;
}

static int server_context(const struct sip_listen_spec *s, char *err, struct tls_ctx **ret_ctx)
{
	int r = tls_ctx_new(&(struct tls_options){ .cert_file = s->certificate,
						   .key_file = s->key,
						   .ca_file = s->mutual ? s->ca ? s->ca : SYSTEM_CAS : NULL,
						   .crl_file = s->crl,
						   .verify_peer = s->mutual },
			    err, ret_ctx);

	if (r == 0 && s->mutual)
		SSL_CTX_set_purpose(tls_ctx_ssl(*ret_ctx), X509_PURPOSE_ANY);
	return r;
}

static int load_contexts(const struct sip_listen_spec *s, char *warning, char *err, size_t err_n,
			 struct sip_contexts *ret_c)
{
	const struct files f = { s->certificate, s->key, s->ca, s->crl };
	char said[TLS_ERRLEN], at[ADDR_STRLEN];
	int r;

	if (!sip_proto_rows[s->proto].secure)
		return 0;
	r = server_context(s, said, &ret_c->server);
	if (r == 0 && said[0])
		(void)snprintf(warning, TLS_ERRLEN, "%s", said);
	if (r == 0)
		r = client_context(&f, said, &ret_c->client);
	if (r < 0)
		(void)snprintf(err, err_n, "the listener %s:%s: %s",
			       s->mutual ? "mtls" : sip_proto_rows[s->proto].name,
			       addr_print(&s->at, at), said);
	return r;
}

/* ---- sockets ---- */

static bool on_udp(const struct sip_listener *l)
{
	return l->transport->proto == SIP_UDP;
}

static bool overlaps(const struct sip_listener *a, const struct sip_listener *b)
{
	return on_udp(a) == on_udp(b) && addr_family(&a->at) == addr_family(&b->asked) &&
	       addr_port(&a->at) == addr_port(&b->asked) &&
	       (a->wildcard || b->wildcard || addr_equal_ip(&a->at, &b->asked));
}

/* A reload may want the port of a listener that goes, so all have SO_REUSEPORT; but then another program of our user
 * would share the port with us and not be noticed: bound without it first, as a question. */
static int probe_free(const struct sip_listener *l)
{
	int type = on_udp(l) ? SOCK_DGRAM : SOCK_STREAM;

	if (inherited_has(type, &l->asked))
		return 0;
	list_for_each (it, &l->edge->listeners)
		if (overlaps(list_entry(it, struct sip_listener, node), l))
			return 0;
	return reuseport_probe(type, &l->asked);
}

static int bind_it(struct sip_listener *l)
{
	struct addr at = { 0 };
	socklen_t n = sizeof(at);
	int r = probe_free(l);

	if (r == 0 && on_udp(l))
		r = dgram_socket(&l->asked,
				 &(struct dgram_socket_options){ .pktinfo = l->wildcard,
								 .recv_err = true,
								 .v6only = true,
								 .reuseport = true,
								 .rcvbuf = UDP_BUFFER,
								 .sndbuf = UDP_BUFFER },
				 &l->fd);
	else if (r == 0)
		r = stream_listen_socket(&l->asked,
					 &(struct listen_options){ .v6only = true, .reuseport = true },
					 &l->fd);
	if (r < 0)
		return r;
	if (on_udp(l)) { /* longer messages than the way takes are for routers to cut */
		bool v6 = addr_family(&l->asked) == AF_INET6; /* one number means the same to both */
		(void)setsockopt(l->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				 v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
				 &(int){ IP_PMTUDISC_DONT }, sizeof(int));
	}
	if (getsockname(l->fd, &at.sa, &n) < 0)
		return -errno;
	l->at = at;
	return 0;
}

/* ---- life ---- */

static struct sip_listener *listener_free(struct sip_listener *l)
{
	if (!l)
		return NULL;
	l->transport->close(l);
	if (l->fd >= 0)
		close(l->fd);
	list_for_each_safe (it, &l->faces) {
		list_unlink(it);
		free(list_entry(it, struct sip_face, node));
	}
	list_unlink(&l->node);
	contexts_deinit(&l->contexts);
	free(l);
	return NULL;
}

void sip_listeners_free(struct sip_edge *e)
{
	list_for_each_safe (it, &e->listeners)
		listener_free(list_entry(it, struct sip_listener, node));
	contexts_deinit(&e->contexts);
}

void sip_listener_release(struct sip_listener *l)
{
	l->n_conns--;
	if (l->removed && !l->n_conns)
		listener_free(l);
}

static void remove_listener(struct sip_listener *l)
{
	log_emit(&MSG_SIP_LISTENER_GONE,
		 LF_STR("transport", l->mutual ? "mtls" : sip_proto_rows[l->transport->proto].name),
		 LF_ADDR("address", &l->at), LF_U64("connections", l->n_conns));
	if (on_udp(l)) /* counters never go back */
		l->edge->kernel_drops_before += sip_udp_drops(l);
	l->removed = true;
	l->transport->close(l);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	list_for_each (it, &l->faces)
		list_entry(it, struct sip_face, node)->pub.removed = true;
	if (!l->n_conns)
		listener_free(l);
}

/* ---- plans ---- */

static struct sip_listener *listener_new(struct sip_edge *e, const struct sip_listen_spec *s)
{
	struct sip_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	*l = (struct sip_listener){ .edge = e,
				    .transport = sip_transports[s->proto],
				    .asked = s->at,
				    .at = s->at,
				    .fd = -1,
				    .wildcard = addr_classify(&s->at) == ADDR_UNSPECIFIED };
	list_init(&l->node);
	list_init(&l->faces);
	return l;
}

static struct sip_listener *find_listener(struct sip_edge *e, const struct sip_listen_spec *s)
{
	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (!l->removed && l->transport->proto == s->proto && addr_equal(&l->asked, &s->at))
			return l;
	}
	return NULL;
}

static int plan_one(struct sip_edge_plan *p, const struct sip_listen_spec *s, char *warning,
		    char *err, size_t err_n)
{
	struct entry *v = &p->v[p->n];
	char at[ADDR_STRLEN];
	int r;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	*v = (struct entry){ .l = find_listener(p->edge, s), .mutual = s->mutual, .lan = s->lan, .federation = s->federation };
	(void)snprintf(v->advertise, sizeof(v->advertise), "%s", s->advertise ? s->advertise : "");
	if (!v->l) {
		v->fresh = true;
		v->l = listener_new(p->edge, s);
	}
	if (!v->l)
		return -ENOMEM;
	p->n++;
	r = load_contexts(s, warning, err, err_n, &v->contexts);
	if (r < 0 || !v->fresh)
		return r;
	r = bind_it(v->l);
	if (r == 0)
		r = v->l->transport->open(v->l);
	if (r < 0)
		(void)snprintf(err, err_n, "cannot listen on %s:%s: %s%s",
			       s->mutual ? "mtls" : sip_proto_rows[s->proto].name,
			       addr_print(&s->at, at), strerror(-r), stream_listen_advice(r));
	return r;
}

int sip_edge_plan(struct sip_edge *e, const struct sip_edge_config *c, char *warning, char *err,
		  size_t err_n, struct sip_edge_plan **ret_p)
{
	_cleanup_(sip_edge_plan_freep) struct sip_edge_plan *p = calloc(1, sizeof(*p));
	char said[TLS_ERRLEN] = "";
	int r = 0;

	warning[0] = 0;
	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!p || !(p->v = calloc(c->n_listen + 1, sizeof(*p->v))))
		return -ENOMEM;
	p->edge = e;
	p->config = *c;
	p->sources = sip_sources_new();
	if (!p->sources || sip_sources_configure(p->sources, c) < 0)
		return -ENOMEM;
	r = client_context(&(struct files){ c->certificate, c->key, c->ca, c->crl }, said,
			   &p->contexts.client);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", said);
		return r;
	}
	for (size_t i = 0; i < c->n_listen && r == 0; i++)
		r = plan_one(p, &c->listen[i], warning, err, err_n);
	if (r == 0)
		*ret_p = steal_ptr(&p);
	return r;
}

static void fingerprint(const struct tls_ctx *c, char out[128])
{
	struct sb b = sb_init(out, 128);
	struct tls_cert_info info;

	if (!c || tls_cert_info(c, &info) < 0)
		return;
	sb_part(&b, text_of(info.subject), 60);
	sb_fmt(&b, ", sha256 %.16s…", info.sha256);
}

int sip_edge_plan_changes(const struct sip_edge_plan *p, struct service_changes *ch)
{
	char was[128], is[128], at[ADDR_STRLEN], key[ADDR_STRLEN + 32];
	int r = 0;

	for (size_t i = 0; i < p->n && r == 0; i++) {
		const struct entry *v = &p->v[i];
		fingerprint(v->l->contexts.server, was);
		fingerprint(v->contexts.server, is);
		if (v->fresh || strcmp(was, is) == 0)
			continue;
		(void)snprintf(key, sizeof(key), "certificate of %s", addr_print(&v->l->at, at));
		r = service_changes_add(
			ch, &(struct cfg_change){ .key = key, .what = "changed", .was = was, .is = is });
	}
	return r;
}

static bool planned(const struct sip_edge_plan *p, const struct sip_listener *l)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].l == l)
			return true;
	return false;
}

static void take_one(struct sip_edge *e, struct entry *v)
{
	struct sip_listener *l = v->l;

	contexts_deinit(&l->contexts);
	l->contexts = v->contexts;
	v->contexts = (struct sip_contexts){ 0 };
	l->mutual = v->mutual;
	l->lan = v->lan;
	l->federation = v->federation;
	memcpy(l->advertise, v->advertise, sizeof(l->advertise));
	if (v->fresh) {
		list_append(&e->listeners, &l->node);
		if (!l->wildcard)
			(void)sip_face_at(l, &l->at); /* without memory it is made when it is needed */
		log_emit(&MSG_SIP_LISTENING,
			 LF_STR("transport",
				l->mutual ? "mtls" : sip_proto_rows[l->transport->proto].name),
			 LF_ADDR("address", &l->at));
	}
	list_for_each (it, &l->faces)
		sip_face_name(list_entry(it, struct sip_face, node));
	v->fresh = false;
}

void sip_edge_take(struct sip_edge *e, struct sip_edge_plan *p)
{
	list_for_each_safe (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (!l->removed && !planned(p, l))
			remove_listener(l);
	}
	for (size_t i = 0; i < p->n; i++)
		take_one(e, &p->v[i]);
	contexts_deinit(&e->contexts);
	e->contexts = p->contexts;
	p->contexts = (struct sip_contexts){ 0 };
	e->limits = p->config.limits;
	sip_sources_take(e->sources, p->sources);
	p->n = 0;
	sip_edge_plan_free(p);
}

struct sip_edge_plan *sip_edge_plan_free(struct sip_edge_plan *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n; i++) {
		contexts_deinit(&p->v[i].contexts);
		if (p->v[i].fresh)
			listener_free(p->v[i].l);
	}
	contexts_deinit(&p->contexts);
	sip_sources_free(p->sources);
	free(p->v);
	free(p);
	return NULL;
}

/* ---- shown ---- */

void sip_edge_drain(struct sip_edge *e)
{
	if (e->draining)
		return;
	e->draining = true;
	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (!on_udp(l))
			l->transport->close(l);
	}
}

json_t *sip_edge_listeners_json(const struct sip_edge *e)
{
	json_t *rows = json_array();

	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		struct tls_cert_info info;
		char at[ADDR_STRLEN];
		json_t *row = json_pack("{s:s, s:s, s:b, s:b, s:i, s:s}", "transport",
					l->mutual ? "mtls" : sip_proto_rows[l->transport->proto].name,
					"address", addr_print(&l->at, at), "lan", l->lan, "removed",
					l->removed, "connections", (int)l->n_conns, "advertise",
					l->advertise);
		if (row && l->contexts.server && tls_cert_info(l->contexts.server, &info) == 0) {
			json_object_set_new(row, "certificate", json_string(info.subject));
			json_object_set_new(row, "issuer", json_string(info.issuer));
			json_object_set_new(row, "names", json_string(info.sans));
			json_object_set_new(row, "not_after", json_integer((json_int_t)info.not_after));
			json_object_set_new(row, "sha256", json_string(info.sha256));
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

void sip_edge_each_certificate(const struct sip_edge *e,
			       void (*fn)(void *arg, const char *listener,
					  const struct tls_cert_info *info),
			       void *arg)
{
	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		struct tls_cert_info info;
		char at[ADDR_STRLEN], name[ADDR_STRLEN + 8];
		if (l->removed || !l->contexts.server || tls_cert_info(l->contexts.server, &info) < 0)
			continue;
		(void)snprintf(name, sizeof(name), "%s:%s",
			       l->mutual ? "mtls" : sip_proto_rows[l->transport->proto].name,
			       addr_print(&l->at, at));
		fn(arg, name, &info);
	}
}

uint64_t sip_edge_kernel_drops(const struct sip_edge *e)
{
	uint64_t n = e->kernel_drops_before;

	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (on_udp(l))
			n += sip_udp_drops(l);
	}
	return n;
}

unsigned sip_edge_fill(const struct sip_edge *e)
{
	unsigned most = 0;

	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (on_udp(l))
			most = MAX(most, sip_udp_fill(l));
	}
	return most;
}
