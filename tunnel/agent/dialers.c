/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the dialers of a process, and what they take from the configuration. The folder of keys and
 * pins is made with mode 0700.
 *
 * A code that came by the verb outlives a reload until a server has taken it; one of the file goes as the file says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/bytes.h"
#include "tunnel/agent/dialer_priv.h"

/* ---- the process's ---- */

static int make_folder(const char *folder, char *err, size_t err_n)
{
	if (mkdir(folder, 0700) == 0 || errno == EEXIST)
		return 0;
	(void)snprintf(err, err_n, "the folder \"%s\" of the agent's key cannot be made: %s",
		       folder, strerror(errno));
	return -errno;
}

int dialers_new(const struct dialers_options *o, char *err, size_t err_n, struct dialers **ret_ds)
{
	_cleanup_(dialers_freep) struct dialers *ds = calloc(1, sizeof(*ds));
	struct dns_options dns = { .servers = o->dns_servers };
	char why[IDENTITY_ERRLEN];
	int r = -ENOMEM;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!ds)
		return r;
	list_init(&ds->all);
	ds->o = *o;
	ds->o.folder = strdup(o->folder);
	if (!ds->o.folder)
		return r;
	r = make_folder(o->folder, err, err_n);
	if (r < 0)
		return r;
	r = dns_new(o->loop, &dns, &ds->dns);
	if (r < 0) {
		(void)snprintf(err, err_n, "names cannot be resolved: %s", strerror(-r));
		return r;
	}
	r = identity_of_agent(o->folder, why, &ds->identity);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", why);
		return r;
	}
	*ret_ds = steal_ptr(&ds);
	return 0;
}

struct dialers *dialers_free(struct dialers *ds)
{
	if (!ds)
		return NULL;
	list_for_each_safe (n, &ds->all)
		dialer_remove(list_entry(n, struct dialer, node));
	dns_free(ds->dns);
	identity_unref(ds->identity);
	free((char *)ds->o.folder);
	free(ds);
	return NULL;
}

void dialers_network_changed(struct dialers *ds)
{
	dns_forget(ds->dns);
}

const struct identity *dialers_identity(const struct dialers *ds)
{
	return ds->identity;
}

/* ---- one server's ---- */

int dialer_set_code(struct dialer *d, const char *text, bool by_verb, char *err, size_t err_n)
{
	struct enrol_code c;
	uint8_t id[ENROL_ID_LEN];
	enum enrol_error e;

	if (!text && (by_verb || !d->code_by_verb)) {
		d->has_code = false;
		bytes_wipe(&d->code, sizeof(d->code));
	}
	if (!text)
		return 0;
	e = enrol_code_parse(text_of(text), &c);
	if (e != ENROL_OK) {
		(void)snprintf(err, err_n, "%s", enrol_error_text(e));
		return -EINVAL;
	}
	enrol_id(c.secret, id);
	hex_encode(id, sizeof(id), d->code_id);
	d->code = c;
	d->has_code = true;
	d->code_by_verb = by_verb;
	d->code_aside = false;
	bytes_wipe(&c, sizeof(c));
	return 0;
}

static void set_ports(struct dialer *d, const struct agent_server *s, const struct agent_config *c)
{
	const struct cfg_port_range *more = c->fallback_ports.items;

	d->n_ports = 0;
	d->ports[d->n_ports++] = s->port;
	for (size_t i = 0; i < c->fallback_ports.n; i++)
		for (unsigned p = more[i].first; p <= more[i].last && d->n_ports < DIAL_PORTS_MAX; p++)
			if (p != s->port)
				d->ports[d->n_ports++] = (uint16_t)p;
}

static int set_password(struct dialer *d, const char *password)
{
	char *copy = password ? strdup(password) : NULL;

	if (password && !copy)
		return -ENOMEM;
	if (d->password)
		bytes_wipe(d->password, strlen(d->password));
	free(d->password);
	d->password = copy;
	return 0;
}

static bool is_place_of(const struct enrol_code *code, const struct dialer *d)
{
	return code->host[0] && text_ieq(text_of(code->host), text_of(d->host)) && code->port == d->ports[0];
}

/* The code of the file is for the server whose place stands in it. An only server may be reached by
 * another name than that: the root in the code says whether it is the right one. */
static const char *code_for(const struct dialer *d, const struct agent_config *conf)
{
	struct enrol_code c;
	bool here;

	if (!conf->code || enrol_code_parse(text_of(conf->code), &c) != ENROL_OK)
		return conf->code; /* whoever reads it next says what is wrong */
	here = !c.host[0] || conf->server.n <= 1 || is_place_of(&c, d);
	bytes_wipe(&c, sizeof(c));
	return here ? conf->code : NULL;
}

int dialer_reload(struct dialer *d, const struct agent_config *c, char *err, size_t err_n)
{
	struct proxy proxy = { .port = 0 };
	char why[256];
	int r;

	if (c->proxy && agent_proxy_parse(text_of(c->proxy), &proxy, why, sizeof(why)) < 0) {
		(void)snprintf(err, err_n, "agent.proxy: %s", why);
		return -EINVAL;
	}
	if (!(d->code_by_verb && dialer_code_waits(d))) {
		r = dialer_set_code(d, code_for(d, c), false, why, sizeof(why));
		if (r < 0) {
			(void)snprintf(err, err_n, "agent.code: %s", why);
			return r;
		}
	}
	r = set_password(d, c->password);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	d->has_proxy = c->proxy != NULL;
	d->proxy = proxy;
	return 0;
}

int dialers_add(struct dialers *ds, const struct agent_server *s, const struct agent_config *c,
		char *err, size_t err_n, struct dialer **ret_d)
{
	struct dialer *d = calloc(1, sizeof(*d));
	char why[IDENTITY_ERRLEN], server[ENROL_HOST_MAX + 10];
	int r;

	if (!d) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	d->all = ds;
	list_init(&d->calls);
	list_append(&ds->all, &d->node);
	d->refusal.fire = dialer_on_refusal;
	d->again.fire = dialer_on_again;
	(void)snprintf(d->host, sizeof(d->host), "%s", s->host);
	(void)snprintf(server, sizeof(server), strchr(s->host, ':') ? "[%s]:%u" : "%s:%u", s->host,
		       s->port);
	if (!c->guest || text_hex64(text_of(c->guest), &d->guest) < 0)
		d->guest = 0;
	if (s->pinned)
		memcpy(d->fingerprint.b, s->fingerprint, IDENTITY_LEN);
	set_ports(d, s, c);
	r = dialer_reload(d, c, err, err_n);
	if (r == 0) {
		r = memory_load(ds->o.folder, server, why, &d->memory);
		if (r < 0)
			(void)snprintf(err, err_n, "%s", why);
	}
	if (r < 0) {
		dialer_remove(d);
		return r;
	}
	*ret_d = d;
	return 0;
}

void dialer_remove(struct dialer *d)
{
	if (!d)
		return;
	dialer_enrol_ended(d, "the agent leaves this server");
	dialer_cancel_calls(d);
	timer_stop(&d->refusal);
	timer_stop(&d->again);
	list_unlink(&d->node);
	tls_ctx_unref(d->tls);
	(void)set_password(d, NULL);
	bytes_wipe(d, sizeof(*d));
	free(d);
}

void dialer_attach(struct dialer *d, struct agent *a)
{
	d->agent = a;
}

void dialer_info(const struct dialer *d, struct dialer_info *ret_i)
{
	char addr[ADDR_STRLEN];
	struct dialer_info i = { .pinned = identity_hash_is_set(&d->memory.pins.root),
				 .enrolled = d->memory.enrolled,
				 .code = dialer_code_waits(d),
				 .root = d->memory.pins.root,
				 .successor = d->memory.pins.successor };

	(void)snprintf(i.server, sizeof(i.server), "%s", d->memory.server);
	if (d->login.known && !identity_hash_equal(&d->login.peer.id, &i.root))
		i.shown = d->login.peer.id;
	if (d->has_way && d->way.proxied)
		(void)snprintf(i.way, sizeof(i.way), "port %u through the proxy %s", d->way.port,
			       addr_print(&d->way.addr, addr));
	else if (d->has_way)
		(void)snprintf(i.way, sizeof(i.way), "%s", addr_print(&d->way.addr, addr));
	*ret_i = i;
}
