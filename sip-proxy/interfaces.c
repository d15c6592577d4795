/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces of the store beside those of the file; see interfaces.h. A change is parsed by the schema rows of
 * sip.interfaces, held against what is there, tried as a whole plan of the edge, written, and then taken.
 *
 *	retry	fires every 30 s while one of the store is not served
 */
#include "sip-proxy/interfaces.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common/cert.h"
#include "common/values.h"
#include "sip-proxy/interfaces_priv.h"
#include "sip-proxy/log_msgs.h"

enum { RETRY_MS = 30000 };

/* ---- one of the store ---- */

struct one { /* the document that values_parse() reads */
	struct sip_interface_section interface;
};
static const struct cfg_row one_rows[] = {
	{ .name = "interface",
	  .sub = &sip_interface_schema,
	  CFG_AT(struct one, interface),
	  .flags = CFG_REQUIRED,
	  .help = "One interface." },
};
static const struct cfg_schema one_schema = {
	.name = "interface", .rows = one_rows, .n_rows = 1, .size = sizeof(struct one)
};
static const struct cfg_root one_root = { .schema = &one_schema };

const struct sip_interface_section *interface_section_of(const struct cfg *c)
{
	return &((const struct one *)cfg_values(c))->interface;
}

static void check_one(struct cfg *c, const char *path)
{
	sip_check_interface(c, path, interface_section_of(c));
}

void interface_name_of(const struct cfg_endpoint *e, char out[static INTERFACE_NAME])
{
	char at[ADDR_STRLEN];

	(void)snprintf(out, INTERFACE_NAME, "%s:%s", sip_listen_protocols[e->proto],
		       addr_print(&e->at, at));
}

const struct sip_config *interface_config_of(const struct sip_interfaces *x)
{
	return &((const struct sip_root *)cfg_values(x->ss->svc->cfg))->sip;
}

/* An interface without a certificate of its own needs the section's. */
static int parse(const struct sip_interfaces *x, const json_t *body, char *err, size_t err_n,
		 struct cfg **ret_c)
{
	static const struct values_kind kind = { .name = "interface",
						 .root = &one_root,
						 .check = check_one };
	const struct sip_config *c = interface_config_of(x);
	const struct sip_interface_section *f;
	int r = values_parse(&kind, body, err, err_n, ret_c);

	if (r < 0)
		return r;
	f = interface_section_of(*ret_c);
	if (!f->active || !sip_listen_is_secure(&f->listen))
		return 0;
	if ((f->certificate || c->certificate) && (f->key || c->key))
		return 0;
	(void)snprintf(
		err, err_n,
		"TLS needs a certificate and its key: give certificate and key, or set sip.certificate and sip.key");
	*ret_c = cfg_free(*ret_c);
	return -EINVAL;
}

static struct interface_item *find(const struct sip_interfaces *x, const char *name)
{
	list_for_each (it, &x->items)
		if (strcmp(list_entry(it, struct interface_item, node)->name, name) == 0)
			return list_entry(it, struct interface_item, node);
	return NULL;
}

static void item_free(struct interface_item *i)
{
	list_unlink(&i->node);
	cfg_free(i->cfg);
	free(i);
}

static struct interface_item *item_set(struct sip_interfaces *x, const char *name, struct cfg *cfg)
{
	struct interface_item *i = find(x, name);

	if (!i) {
		i = calloc(1, sizeof(*i));
		if (!i)
			return NULL;
		(void)snprintf(i->name, sizeof(i->name), "%s", name);
		list_append(&x->items, &i->node);
	}
	cfg_free(i->cfg);
	i->cfg = cfg;
	i->left_out = false;
	i->why[0] = 0;
	return i;
}

/* ---- for a plan ---- */

static bool same_place(const struct cfg_endpoint *a, const struct cfg_endpoint *b)
{
	return (a->proto == SIP_LISTEN_UDP) == (b->proto == SIP_LISTEN_UDP) &&
	       addr_equal(&a->at, &b->at);
}

static bool list_has(const struct cfg_list *l, const struct cfg_endpoint *e)
{
	const struct cfg_endpoint *v = l->items;

	for (size_t i = 0; i < l->n; i++)
		if (same_place(&v[i], e))
			return true;
	return false;
}

static bool file_has(const struct sip_config *c, const struct cfg_endpoint *e)
{
	const struct sip_interface_section *f = c->interfaces.items;

	for (size_t i = 0; i < c->interfaces.n; i++)
		if (same_place(&f[i].listen, e))
			return true;
	return list_has(&c->listen, e) || list_has(&c->lan.listen, e) ||
	       list_has(&c->federation.listen, e);
}

int sip_interfaces_all(struct sip_interfaces *x, const struct sip_config *c,
		       const struct sip_interface_section **ret_v, size_t *ret_n)
{
	const struct sip_interface_section *f = c->interfaces.items;
	size_t n = c->interfaces.n, most = n + 1;
	struct sip_interface_section *v;

	list_for_each (it, &x->items)
		most++;
	v = calloc(most, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (n)
		memcpy(v, f, n * sizeof(*v));
	list_for_each (it, &x->items) {
		struct interface_item *i = list_entry(it, struct interface_item, node);
		const struct sip_interface_section *s = interface_section_of(i->cfg);
		if (file_has(c, &s->listen))
			(void)snprintf(i->why, sizeof(i->why),
				       "the file has a listener there: this one waits");
		else if (s->active && !i->left_out)
			v[n++] = *s;
	}
	free(x->all);
	x->all = v;
	*ret_v = v;
	*ret_n = n;
	return 0;
}

/* Which of them it was is in the sentence, for that names transport and address. */
bool sip_interfaces_leave_out(struct sip_interfaces *x, const char *why)
{
	struct interface_item *guilty = NULL;

	list_for_each (it, &x->items) {
		struct interface_item *i = list_entry(it, struct interface_item, node);
		if (i->left_out || !interface_section_of(i->cfg)->active)
			continue;
		if (!guilty || strstr(why, i->name))
			guilty = i;
	}
	if (!guilty)
		return false;
	guilty->left_out = true;
	(void)snprintf(guilty->why, sizeof(guilty->why), "%s", why);
	loop_timer_set(x->ss->svc->loop, &x->retry, RETRY_MS);
	return true;
}

void sip_interfaces_put_back(struct sip_interfaces *x)
{
	list_for_each (it, &x->items) {
		struct interface_item *i = list_entry(it, struct interface_item, node);
		i->left_out = false;
		i->why[0] = 0;
	}
}

/* ---- doing it ---- */

static int apply(struct sip_interfaces *x, char *err, size_t err_n)
{
	struct sip_service *ss = x->ss;
	struct sip_edge_plan *p;
	char warning[TLS_ERRLEN];
	int r = sip_service_plan(ss, interface_config_of(x), warning, err, err_n, &p);

	if (r < 0)
		return r;
	if (warning[0])
		log_emit(&MSG_SIP_CERTIFICATE, LF_STR("why", warning));
	sip_edge_take(ss->edge, p);
	sip_routes_bind(ss->routing.routes, ss->edge);
	sip_interfaces_watch(x, cfg_values(ss->svc->cfg));
	return 0;
}

static void on_public(void *arg)
{
	struct sip_interfaces *x = arg;
	char err[INTERFACE_WHY];

	if (apply(x, err, sizeof(err)) < 0)
		log_emit(&MSG_SIP_INTERFACE_WAITS, LF_STR("why", err));
}

static void on_retry(struct timer *t, uint64_t now)
{
	struct sip_interfaces *x = container_of(t, struct sip_interfaces, retry);
	bool any = false;
	char err[INTERFACE_WHY];

	(void)now;
	list_for_each (it, &x->items)
		any |= list_entry(it, struct interface_item, node)->left_out;
	if (!any || x->closing)
		return;
	sip_interfaces_put_back(x);
	if (apply(x, err, sizeof(err)) < 0)
		loop_timer_set(x->ss->svc->loop, &x->retry, RETRY_MS);
}

/* An address that the machine does not have now, and may have again: the interface waits for it. */
static bool is_away(const struct addr *a)
{
	struct addr at = *a;
	int fd = socket(addr_family(a), SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool away;

	addr_set_port(&at, 0);
	away = fd >= 0 && bind(fd, &at.sa, addr_len(&at)) < 0 && errno == EADDRNOTAVAIL;
	if (fd >= 0)
		close(fd);
	return away;
}

static int on_put(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	struct sip_interfaces *x = arg;
	struct cfg *cfg = NULL;
	struct interface_item *i;
	int r = parse(x, body, err, err_n, &cfg);

	(void)flag;
	if (r < 0)
		return r;
	i = item_set(x, name, cfg);
	if (!i) {
		cfg_free(cfg);
		return -ENOMEM;
	}
	r = apply(x, err, err_n);
	if (r == 0 && i->left_out && !is_away(&interface_section_of(cfg)->listen.at)) {
		(void)snprintf(err, err_n, "%s", i->why);
		r = -EINVAL;
	}
	return r;
}

static void on_deleted(const char *name, bool flag, void *arg)
{
	struct sip_interfaces *x = arg;
	struct interface_item *i = find(x, name);
	char err[INTERFACE_WHY];

	(void)flag;
	if (i)
		item_free(i);
	if (apply(x, err, sizeof(err)) < 0)
		log_emit(&MSG_SIP_INTERFACE_WAITS, LF_STR("why", err));
}

static json_t *row_of(const char *name, void *arg)
{
	(void)arg;
	return json_pack("{s:s}", "name", name);
}

/* Tried as a whole before it is written. 0, or -EINVAL and why. */
static int try_out(struct sip_interfaces *x, const char *name, struct cfg *cfg, char *err, size_t err_n)
{
	struct interface_item *was = find(x, name), trial = { .cfg = cfg };
	struct sip_edge_plan *p = NULL;
	char warning[TLS_ERRLEN];
	bool was_out = was && was->left_out, good;

	(void)snprintf(trial.name, sizeof(trial.name), "%s", name);
	if (was)
		was->left_out = true;
	list_append(&x->items, &trial.node);
	good = sip_service_plan(x->ss, interface_config_of(x), warning, err, err_n, &p) == 0 &&
	       !trial.left_out;
	sip_edge_plan_free(p);
	list_unlink(&trial.node);
	if (was)
		was->left_out = was_out;
	if (!good && trial.left_out)
		(void)snprintf(err, err_n, "%s", trial.why);
	return good ? 0 : -EINVAL;
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	struct sip_interfaces *x = arg;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct sip_interface_section *f;
	char called[INTERFACE_NAME];
	int r = parse(x, *body, err, err_n, &cfg);

	if (r < 0)
		return r;
	f = interface_section_of(cfg);
	interface_name_of(&f->listen, called);
	if (strcmp(called, name) != 0) {
		(void)snprintf(err, err_n, "the object's key must be what 'listen' says, %s", called);
		return -EINVAL;
	}
	if (file_has(interface_config_of(x), &f->listen)) {
		(void)snprintf(err, err_n, "%s has a listener already, set in %s", name, x->ss->svc->config_path);
		return -EEXIST;
	}
	r = f->active && !is_away(&f->listen.at) ? try_out(x, name, cfg, err, err_n) : 0;
	if (r < 0)
		return r;
	json_decref(*body);
	*body = values_json(&sip_interface_schema, f);
	return *body ? 0 : -ENOMEM;
}

static const struct stored_ops stored_ops = { .kind = "sip.interface",
					      .noun = "interface",
					      .list_hint = "stile sip interface list",
					      .put = on_put,
					      .deleted = on_deleted,
					      .row = row_of,
					      .check = on_check };

/* ---- life ---- */

static int load(struct sip_interfaces *x)
{
	const char *name;
	json_t *body;

	json_object_foreach(stored_bodies(x->stored), name, body)
	{
		struct cfg *cfg = NULL;
		char err[INTERFACE_WHY];
		int r = parse(x, body, err, sizeof(err), &cfg);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			log_emit(&MSG_SIP_INTERFACE_WAITS, LF_STR("interface", name),
				 LF_STR("why", err));
		else if (!item_set(x, name, cfg))
			return -ENOMEM;
	}
	return 0;
}

static void on_seen(void *arg, const struct addr *at, const struct addr *mapped)
{
	struct sip_interfaces *x = arg;

	sip_public_seen(x->public, at, mapped);
}

static void ask_public(void *arg, const struct addr *at, const struct addr *server)
{
	struct sip_interfaces *x = arg;

	(void)sip_edge_ask_public(x->ss->edge, at, server); /* not served now: the next question finds it */
}

int sip_interfaces_new(struct sip_service *ss, struct sip_interfaces **ret_x)
{
	struct sip_interfaces *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->ss = ss;
	x->retry.fire = on_retry;
	list_init(&x->items);
	r = stored_new(ss->svc, &stored_ops, x, &x->stored);
	if (r == 0)
		r = sip_public_new(&(struct sip_public_options){ .loop = ss->svc->loop,
								 .changed = on_public,
								 .ask = ask_public,
								 .arg = x },
				   &x->public);
	if (r == 0)
		r = sip_determiner_new(ss->svc->loop, &x->determiner);
	if (r == 0)
		r = load(x);
	if (r < 0) {
		sip_interfaces_free(x);
		return r;
	}
	sip_edge_set_public(ss->edge, &(struct sip_edge_public){ on_seen, x });
	*ret_x = x;
	return 0;
}

struct sip_interfaces *sip_interfaces_free(struct sip_interfaces *x)
{
	if (!x)
		return NULL;
	x->closing = true;
	sip_edge_set_public(x->ss->edge, NULL);
	timer_stop(&x->retry);
	list_for_each_safe (it, &x->items)
		item_free(list_entry(it, struct interface_item, node));
	sip_determiner_free(x->determiner);
	sip_public_free(x->public);
	stored_free(x->stored);
	free(x->all);
	free(x);
	return NULL;
}

/* ---- public addresses ---- */

void sip_interfaces_watch(struct sip_interfaces *x, const struct sip_root *root)
{
	const struct sip_interface_section *v;
	size_t n;

	if (sip_interfaces_all(x, &root->sip, &v, &n) == 0)
		sip_public_watch(x->public, v, n, &root->stun_servers);
}

void sip_interfaces_name(const struct sip_interfaces *x, const struct sip_interface_section *f,
			 char *out, size_t n)
{
	sip_public_name(x->public, f, out, n);
}

/* ---- verbs ---- */

static bool fits(struct sip_interfaces *x, struct control_request *rq, const char *name, struct cfg *cfg)
{
	char err[INTERFACE_WHY];

	if (try_out(x, name, cfg, err, sizeof(err)) == 0)
		return true;
	control_fail(rq, "bad-request", NULL, "%s", err);
	return false;
}

/* What is over, or not yet valid, or not the key's, is not put to work by hand; by a reload it is only warned of. */
static bool shows_well(const struct sip_interfaces *x, struct control_request *rq, const struct sip_interface_section *f)
{
	const struct sip_config *c = interface_config_of(x);
	const struct cert_files files = { .cert = f->certificate ? f->certificate : c->certificate,
					  .key = f->key ? f->key : c->key };
	struct cert_report r;

	if (!f->active || !sip_listen_is_secure(&f->listen))
		return true;
	cert_examine(&files, time(NULL), &r);
	if (r.n_faults)
		control_fail(rq, "bad-request", "stile sip certificate check looks at one", "the certificate \"%s\": %s", files.cert, r.faults[0]);
	return !r.n_faults;
}

static void put(struct sip_interfaces *x, struct control_request *rq, const json_t *body, bool replace)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct sip_interface_section *f;
	char err[INTERFACE_WHY], name[INTERFACE_NAME];

	if (parse(x, body, err, sizeof(err), &cfg) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", err);
		return;
	}
	f = interface_section_of(cfg);
	interface_name_of(&f->listen, name);
	if (file_has(interface_config_of(x), &f->listen)) {
		control_fail(rq, "locked", "change the file and run stile reload sip",
			     "%s has a listener already, set in %s", name, x->ss->svc->config_path);
		return;
	}
	list_for_each (it, &x->items) {
		const struct interface_item *i = list_entry(it, struct interface_item, node);
		if (!same_place(&interface_section_of(i->cfg)->listen, &f->listen) ||
		    (replace && strcmp(i->name, name) == 0))
			continue;
		control_fail(rq, "exists", "stile sip interface set changes it",
			     "%s has a listener already (%s): each address and port can have one over UDP and one over TCP",
			     name, i->name);
		return;
	}
	if (!shows_well(x, rq, f) || (f->active && !fits(x, rq, name, cfg)))
		return;
	stored_put(x->stored, rq, name, values_json(&sip_interface_schema, f),
		   replace ? STORE_ANY : 0, false);
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	const json_t *body = json_object_get(args, "interface");

	if (!json_is_object(body))
		control_fail(rq, "bad-request", NULL,
			     "interface must be a map with the keys of sip.interfaces");
	else
		put(arg, rq, body, json_is_true(json_object_get(args, "replace")));
}

/* Some keys anew, the others as they are. */
static void verb_set(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_interfaces *x = arg;
	const char *name = json_string_value(json_object_get(args, "name"));
	const json_t *change = json_object_get(args, "interface");
	const char *key;
	json_t *value;
	void *at;
	json_t *body = name ? json_deep_copy(json_object_get(stored_bodies(x->stored), name)) : NULL;

	if (!body) {
		control_fail(rq, "not-found", "stile sip interface list",
			     "there is no interface %s in the store", name ? name : "");
		return;
	}
	if (json_is_object(change))
		json_object_update(body, (json_t *)change);
	json_object_foreach_safe(body, at, key, value) if (json_is_null(value)) /* back to its default */
		json_object_del(body, key);
	put(x, rq, body, true);
	json_decref(body);
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_interfaces *x = arg;
	const char *name = json_string_value(json_object_get(args, "name"));

	if (!name || !*name)
		control_fail(rq, "bad-request", "stile sip interface list",
			     "name must be the name of an interface");
	else
		stored_delete(x->stored, rq, name, false);
}

static const struct control_verb verbs[] = {
	{ "sip.interface.list", CONTROL_VIEWER, interface_verb_list,
	  "interfaces of the file and of the store: name, transport, address, port, lan, from, active, state, why, warn, advertise, public, nat, connections, certificate" },
	{ "sip.interface.put", CONTROL_ADMIN, verb_put,
	  "{interface, replace}: makes an interface, with the keys of sip.interfaces" },
	{ "sip.interface.set", CONTROL_ADMIN, verb_set,
	  "{name, interface}: changes some keys of an interface of the store" },
	{ "sip.interface.delete", CONTROL_ADMIN, verb_delete,
	  "{name}: removes an interface of the store; its connections go on" },
	{ "sip.interface.detect", CONTROL_OPERATOR, interface_verb_detect,
	  "asks the STUN servers for the public addresses at once; {address, public, why, server, found_at} as they are known now" },
	{ "sip.interface.determine", CONTROL_OPERATOR, interface_verb_determine,
	  "{address}: by what public address this address of the machine is seen outside, and what NAT is in front of it; changes nothing" },
};

void sip_interfaces_verbs(struct sip_interfaces *x, struct control_server *cs)
{
	control_add_verbs(cs, verbs, ARRAY_LEN(verbs), x);
}
