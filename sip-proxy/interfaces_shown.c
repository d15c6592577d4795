/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of all interfaces, of the file and of the store, as `stile sip interface list` has it: whether one is served, why
 * not, by what name others know it, and its certificate.
 *
 * What the edge serves is asked of the edge; here nothing is remembered. And the questions for public addresses, which only look.
 */
#include <stdio.h>
#include <string.h>
#include "sip-proxy/interfaces_priv.h"

struct shown {
	const char *from;
	bool lan;
	const struct interface_item *item; /* of the store, or NULL */
	json_t *rows, *listeners;
};

/* What the edge says about it: {address, transport, connections …}. NULL: it is not served. */
static const json_t *served(const json_t *listeners, const char *name)
{
	size_t i;
	json_t *l;

	json_array_foreach(listeners, i, l)
	{
		char at[INTERFACE_NAME];
		(void)snprintf(at, sizeof(at), "%s:%s",
			       json_string_value(json_object_get(l, "transport")),
			       json_string_value(json_object_get(l, "address")));
		if (strcmp(at, name) == 0 && !json_is_true(json_object_get(l, "removed")))
			return l;
	}
	return NULL;
}

/* What anybody on the way can read and change: "not-protected", or "". */
static const char *warning_of(const struct shown *s, const struct sip_interface_section *f)
{
	return f->active && !s->lan && !sip_listen_is_secure(&f->listen) && !sip_is_inside(&f->listen.at) ? "not-protected" : "";
}

static void add_place(json_t *row, const struct shown *s, const struct sip_interface_section *f)
{
	char at[ADDR_STRLEN];

	json_object_set_new(row, "transport", json_string(sip_listen_protocols[f->listen.proto]));
	json_object_set_new(row, "address", json_string(addr_print_ip(&f->listen.at, at)));
	json_object_set_new(row, "port", json_integer(addr_port(&f->listen.at)));
	json_object_set_new(row, "lan", json_boolean(s->lan));
	json_object_set_new(row, "warn", json_string(warning_of(s, f)));
}

static void show(const struct sip_interfaces *x, struct shown *s, const struct sip_interface_section *f)
{
	char name[INTERFACE_NAME], advertise[SIP_SENT_BY_MAX] = "", why[INTERFACE_WHY] = "";
	const json_t *l;
	json_t *row;

	interface_name_of(&f->listen, name);
	l = f->active ? served(s->listeners, name) : NULL;
	sip_public_name(x->public, f, advertise, sizeof(advertise));
	if (s->item && s->item->why[0])
		text_append(why, sizeof(why), s->item->why);
	else if (f->active && sip_public_is_auto(f))
		sip_public_why(x->public, f, why, sizeof(why));
	row = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:I}", "name", name, "from", s->from,
			"active", f->active, "state",
			!f->active ? "switched off"
			: l	   ? "listening"
				   : "not served",
			"why", why, "advertise", f->advertise ? f->advertise : "", "public",
			advertise, "nat", sip_public_nat(x->public, f), "connections",
			(json_int_t)json_integer_value(json_object_get(l, "connections")));
	add_place(row, s, f);
	json_object_set_new(row, "certificate",
			    json_string(l && json_object_get(l, "certificate")
						? json_string_value(json_object_get(l, "certificate"))
						: ""));
	json_array_append_new(s->rows, row);
}

/* Where partners come in: there with a mode other than off. */
static void show_federation(const struct sip_interfaces *x, struct shown *s, const struct sip_federation_section *fed)
{
	const struct cfg_endpoint *e = fed->listen.items;

	s->from = "file, federation";
	for (size_t i = 0; i < fed->listen.n; i++)
		show(x, s,
		     &(struct sip_interface_section){ .listen = e[i],
						      .active = fed->mode != SIP_FEDERATION_OFF,
						      .advertise = fed->advertise });
}

static void show_list(const struct sip_interfaces *x, struct shown *s, const struct cfg_list *l,
		      const char *from)
{
	const struct cfg_endpoint *e = l->items;

	s->from = from;
	for (size_t i = 0; i < l->n; i++)
		show(x, s, &(struct sip_interface_section){ .listen = e[i], .active = true });
}

json_t *sip_interfaces_json(struct sip_interfaces *x)
{
	const struct sip_config *c = interface_config_of(x);
	const struct sip_interface_section *f = c->interfaces.items;
	struct shown s = { .rows = json_array(), .listeners = sip_edge_listeners_json(x->ss->edge) };

	show_list(x, &s, &c->listen, "file");
	s.lan = true;
	show_list(x, &s, &c->lan.listen, "file, lan");
	s.lan = false;
	show_federation(x, &s, &c->federation);
	s.from = "file";
	for (size_t i = 0; i < c->interfaces.n; i++)
		show(x, &s, &f[i]);
	s.from = "store";
	list_for_each (it, &x->items) {
		s.item = list_entry(it, struct interface_item, node);
		show(x, &s, interface_section_of(s.item->cfg));
	}
	json_decref(s.listeners);
	return s.rows;
}

void interface_verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", sip_interfaces_json(arg)));
}

void interface_verb_detect(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_interfaces *x = arg;

	(void)args;
	sip_public_now(x->public);
	control_reply(rq, json_pack("{s:o}", "rows", sip_public_json(x->public)));
}

void interface_verb_determine(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_interfaces *x = arg;
	const struct sip_root *root = cfg_values(x->ss->svc->cfg);
	const char *address = json_string_value(json_object_get(args, "address"));
	struct addr local;

	if (!address || addr_parse(text_of(address), 0, &local) < 0)
		control_fail(rq, "bad-request", "0.0.0.0 for the system's choice", "address must be one of this machine's addresses");
	else
		sip_determine(x->determiner, rq, &local, &root->stun_servers);
}
