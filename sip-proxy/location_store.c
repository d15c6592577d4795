/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bindings on their way to the disk, and back; see location_store.h. A record for each address that changed since it was
 * written: waiting for the next round, or under way (and then perhaps changed again). A round takes as many as may be
 * under way at once, so that neither the store's queue nor this loop is filled by a thousand clients that come back.
 */
#include "sip-proxy/location_store.h"
#include <errno.h>
#include <string.h>
#include "common/clock.h"
#include "sip-proxy/log_msgs.h"

enum {
	ROUND_MS = 500,
	RETRY_MS = 5000,
	UNDER_WAY_MAX = 256,
	EACH_MAX = 64,
	LONGEST_MS = 7 * 86400 * 1000
};

struct change {
	struct hnode node;
	struct list due; /* in all->due unless it is under way */
	struct sip_location_store *all;
	bool under_way, again;
	char aor[];
};
struct sip_location_store {
	struct sip_location_store_options o;
	struct hash_seed seed;
	struct htable changes;
	struct list due;
	struct timer round;
	unsigned n, under_way;
	bool fails; /* said already */
	bool behind; /* more waits than may be under way: the next ones go as soon as some are done */
};

static struct sip_times times_of(const struct sip_location_store *s)
{
	return (struct sip_times){ loop_now(s->o.loop), clock_unix_ms() };
}

/* ---- the object ---- */

static int put_text(json_t *row, const char *key, const char *text)
{
	return text ? json_object_set_new(row, key, json_string(text))
		    : 0; /* text that is no UTF-8 fails here */
}

static json_t *binding_json(const struct sip_binding *b, struct sip_times t)
{
	char remote[ADDR_STRLEN], local[ADDR_STRLEN] = "";
	int64_t ends = t.unix_ms + (int64_t)(b->expires_at - t.now);
	json_t *row;

	if (addr_family(&b->from.local) != AF_UNSPEC)
		addr_print(&b->from.local, local);
	row = json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:b, s:b}", "call",
			b->call_id, "cseq", (json_int_t)b->cseq, "reg_id", (json_int_t)b->reg_id,
			"q", (json_int_t)b->q, "expires_ms", (json_int_t)ends, "transport",
			sip_proto_rows[b->from.proto].name, "remote",
			addr_print(&b->from.remote, remote), "local", local, "interface",
			(json_int_t)b->from.iface, "use_flow", b->use_flow, "outbound", b->outbound);
	if (row && put_text(row, "uri", b->uri) == 0 && put_text(row, "path", b->path) == 0 &&
	    put_text(row, "instance", b->instance) == 0)
		return row;
	json_decref(row);
	return NULL;
}

json_t *sip_bindings_json(const struct sip_binding *v, unsigned n, struct sip_times t)
{
	json_t *rows = json_array();

	for (unsigned i = 0; rows && i < n; i++)
		if (v[i].expires_at > t.now && json_array_append_new(rows, binding_json(&v[i], t)) < 0) {
			json_decref(rows);
			return NULL;
		}
	return rows ? json_pack("{s:o}", "bindings", rows) : NULL;
}

static const char *text_in(const json_t *row, const char *key, size_t most)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s && s[0] && strlen(s) < most ? s : NULL;
}

static json_int_t number_in(const json_t *row, const char *key, json_int_t most)
{
	json_int_t v = json_integer_value(json_object_get(row, key));

	return v >= 0 && v <= most ? v : 0;
}

/* What stands in the store was written by us, but perhaps by another version, or by hand. */
static int flow_of(const json_t *row, struct sip_hop *ret_h)
{
	const char *proto = text_in(row, "transport", 8),
		   *remote = text_in(row, "remote", ADDR_STRLEN),
		   *local = text_in(row, "local", ADDR_STRLEN);
	struct sip_hop h = { .iface = (uint32_t)number_in(row, "interface", UINT32_MAX) };

	if (!proto || !remote || sip_proto_parse(text_of(proto), &h.proto) < 0 ||
	    addr_parse(text_of(remote), 0, &h.remote) < 0)
		return -EBADMSG;
	if (local && addr_parse(text_of(local), 0, &h.local) < 0)
		return -EBADMSG;
	*ret_h = h;
	return 0;
}

/* Its texts are the JSON's. */
static int binding_of(const json_t *row, struct sip_times t, struct sip_binding *ret_b)
{
	int64_t left = number_in(row, "expires_ms", INT64_MAX) - t.unix_ms;
	struct sip_binding b = {
		.uri = (char *)text_in(row, "uri", SIP_CONTACT_MAX),
		.path = (char *)text_in(row, "path", SIP_CONTACT_MAX),
		.instance = (char *)text_in(row, "instance", 256),
		.call_id = (char *)text_in(row, "call", 256),
		.cseq = (uint32_t)number_in(row, "cseq", UINT32_MAX),
		.reg_id = (uint32_t)number_in(row, "reg_id", INT32_MAX),
		.q = (uint16_t)number_in(row, "q", 1000),
		.expires_at = t.now + (uint64_t)MIN(MAX(left, INT64_C(0)), (int64_t)LONGEST_MS),
		.use_flow = json_is_true(json_object_get(row, "use_flow")),
		.outbound = json_is_true(json_object_get(row, "outbound")),
	};
	struct sip_uri u;

	if (!b.uri || !b.call_id || sip_uri_parse(text_of(b.uri), &u) < 0 || flow_of(row, &b.from) < 0)
		return -EBADMSG;
	*ret_b = b;
	return 0;
}

int sip_bindings_take(struct sip_location *l, const char *aor, const json_t *body, struct sip_times t)
{
	const json_t *rows = json_object_get(body, "bindings");
	struct sip_binding v[EACH_MAX];
	unsigned n = 0;
	int r;

	if (!json_is_array(rows) || strlen(aor) >= SIP_AOR_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(rows) && n < EACH_MAX; i++) {
		r = binding_of(json_array_get(rows, i), t, &v[n]);
		if (r < 0)
			return r;
		n += v[n].expires_at > t.now;
	}
	r = sip_location_set_all(l, aor, v, n, t.now);
	return r < 0 ? r : (int)n;
}

/* ---- writing ---- */

static bool is_aor(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct change, node)->aor, key) == 0;
}

static struct change *find(const struct sip_location_store *s, const char *aor)
{
	struct hnode *n = htable_find(&s->changes, hash_bytes(&s->seed, aor, strlen(aor)), is_aor, aor);

	return n ? container_of(n, struct change, node) : NULL;
}

static void change_free(struct change *c)
{
	htable_remove(&c->all->changes, &c->node);
	list_unlink(&c->due);
	c->all->n--;
	free(c);
}

static void set_round(struct sip_location_store *s, uint64_t ms)
{
	if (!timer_is_set(&s->round))
		loop_timer_set(s->o.loop, &s->round, ms);
}

static void on_changed(void *arg, const char *aor)
{
	struct sip_location_store *s = arg;
	struct change *c = find(s, aor);
	size_t n = strlen(aor) + 1;

	if (s->o.changed)
		s->o.changed(s->o.arg, aor);
	if (!s->o.store)
		return;
	if (c) {
		c->again = c->under_way;
		return;
	}
	c = calloc(1, sizeof(*c) + n);
	if (!c)
		return; /* the next REGISTER of this user writes it */
	memcpy(c->aor, aor, n);
	c->all = s;
	list_init(&c->due);
	if (htable_insert(&s->changes, &c->node, hash_bytes(&s->seed, aor, strlen(aor))) < 0) {
		free(c);
		return;
	}
	s->n++;
	list_append(&s->due, &c->due);
	set_round(s, ROUND_MS);
}

static void say_failure(struct sip_location_store *s, int result)
{
	if (!s->fails)
		log_emit(&MSG_SIP_BINDINGS_UNWRITTEN,
			 LF_STR("why", result > 0 ? store_result_text((enum store_result)result)
						  : strerror(-result)),
			 LF_U64("addresses", s->n));
	s->fails = true;
}

static void on_written(const struct store_outcome *o, void *arg);

/* 0, or why the store does not take it now. What can never be written (a text that is none) is taken out instead: better
 * nothing than what was true before. */
static int write_one(struct sip_location_store *s, struct change *c, const struct store_call *call)
{
	unsigned n;
	const struct sip_binding *v = sip_location_peek(s->o.location, c->aor, &n);
	json_t *body = n ? sip_bindings_json(v, n, times_of(s)) : NULL;

	return body ? store_put(s->o.store, call, SIP_BINDING_KIND, c->aor, STORE_ANY, body)
		    : store_delete(s->o.store, call, SIP_BINDING_KIND, c->aor, STORE_ANY);
}

static void write_some(struct sip_location_store *s)
{
	timer_stop(&s->round);
	while (!list_empty(&s->due) && s->under_way < UNDER_WAY_MAX) {
		struct change *c = list_entry(s->due.next, struct change, due);
		const struct store_call call = {
			.loop = s->o.loop, .who = "registrar", .done = on_written, .arg = c
		};
		int r = write_one(s, c, &call);
		if (r == -EAGAIN || r == -ENOMEM) {
			say_failure(s, r);
			set_round(s, RETRY_MS);
			break;
		}
		if (r < 0) { /* a name that is no text: it lives in memory alone */
			change_free(c);
			continue;
		}
		list_unlink(&c->due);
		c->under_way = true;
		s->under_way++;
	}
	s->behind = !list_empty(&s->due);
}

static void on_written(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	struct sip_location_store *s = c->all;
	bool good = o->result == STORE_OK || o->result == STORE_NOT_FOUND; /* nothing to delete */

	s->under_way--;
	c->under_way = false;
	if (good)
		s->fails = false;
	else
		say_failure(s, o->result);
	if (good && !c->again) {
		change_free(c);
	} else {
		c->again = false;
		list_append(&s->due, &c->due);
	}
	if (!good)
		set_round(s, RETRY_MS);
	else if (s->behind && s->under_way <= UNDER_WAY_MAX / 2)
		write_some(s);
	else if (!list_empty(&s->due))
		set_round(s, ROUND_MS);
}

static void on_round(struct timer *t, uint64_t now)
{
	(void)now;
	write_some(container_of(t, struct sip_location_store, round));
}

/* ---- life ---- */

struct loading {
	struct sip_location_store *s;
	struct sip_times times;
};

static void on_loaded(const struct store_object *o, void *arg)
{
	const struct loading *l = arg;
	const struct store_call call = { .who = "registrar" };
	int r = sip_bindings_take(l->s->o.location, o->key, o->body, l->times);

	if (r < 0)
		log_emit(&MSG_SIP_BINDING_UNREADABLE, LF_STR("user", o->key), LF_ERRNO("error", -r));
	else if (r == 0) /* all are over */
		(void)store_delete(l->s->o.store, &call, SIP_BINDING_KIND, o->key, STORE_ANY);
}

int sip_location_store_new(const struct sip_location_store_options *o, struct sip_location_store **ret_s)
{
	_cleanup_(sip_location_store_freep) struct sip_location_store *s = calloc(1, sizeof(*s));
	struct loading l = { .s = s };
	int r;

	if (!s)
		return -ENOMEM;
	s->o = *o;
	s->seed = hash_seed_random();
	s->round.fire = on_round;
	htable_init(&s->changes);
	list_init(&s->due);
	if (o->store) {
		l.times = times_of(s);
		r = store_load(o->store, SIP_BINDING_KIND, on_loaded, &l);
		if (r != 0)
			return r < 0 ? r : -EIO;
	}
	if (o->store || o->changed)
		sip_location_watch(o->location, on_changed, s);
	*ret_s = steal_ptr(&s);
	return 0;
}

static bool free_one(struct hnode *n, void *arg)
{
	(void)arg;
	change_free(container_of(n, struct change, node));
	return true;
}

struct sip_location_store *sip_location_store_free(struct sip_location_store *s)
{
	const struct store_call call = { .who = "registrar" };

	if (!s)
		return NULL;
	timer_stop(&s->round);
	if (s->o.store || s->o.changed)
		sip_location_watch(s->o.location, NULL, NULL);
	list_for_each (it, &s->due) {
		struct change *c = list_entry(it, struct change, due);
		if (write_one(s, c, &call) ==
		    -EAGAIN) { /* its queue is full: nothing else is waited for any more */
			store_flush(s->o.store);
			(void)write_one(s, c, &call);
		}
	}
	htable_each(&s->changes, free_one, NULL);
	htable_deinit(&s->changes);
	free(s);
	return NULL;
}

unsigned sip_location_store_waiting(const struct sip_location_store *s)
{
	return s->n;
}
