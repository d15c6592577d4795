/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-turn answers to turn.credentials, as an agent needs it; see local_turn.h.
 *
 * Its listeners are where it is reached: one that is bound to an address of the Internet by that, any other by
 * tunnel.public_name. Over UDP and TCP only: agents speak no TLS with TURN servers.
 */
#include "tunnel/server/local_turn.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/control_link.h"
#include "tunnel/link/turn_uri.h"
#include "tunnel/log_msgs.h"

enum { ASKS_MAX = 64, ANSWER_MS = 5000 };

struct local_turn_ask {
	struct list node;
	struct tunnel_server *s;
	uint64_t link;
	struct control_link *turn;
	uint64_t call; /* 0: it is over */
};

static void ask_free(struct local_turn_ask *x)
{
	list_unlink(&x->node);
	x->s->n_turn_asks--;
	if (x->call)
		control_link_forget(x->turn, x->call); /* or its end would come from the next line */
	control_link_free(x->turn);
	free(x);
}

void local_turn_free(struct tunnel_server *s)
{
	list_for_each_safe (it, &s->turn_asks)
		ask_free(list_entry(it, struct local_turn_ask, node));
}

static void give_none(struct tunnel_server *s, uint64_t link, const char *why)
{
	const struct wire_turn m = { .text = text_of(why) };

	rendezvous_give_turn(s, link, &m);
}

/* Reached by its own address, from wherever an agent is. */
static bool is_outside(const struct addr *a)
{
	enum addr_class c = addr_classify(a);

	return c == ADDR_GLOBAL || c == ADDR_DOCUMENTATION;
}

/* A listener of stile-turn as an agent reaches it; false: it does not. */
static bool read_listener(const struct tunnel_server *s, const json_t *row, struct turn_uri *ret_u)
{
	const char *transport = json_string_value(json_object_get(row, "transport")), *at = json_string_value(json_object_get(row, "address"));
	struct addr a;
	char ip[ADDR_STRLEN];

	if (!transport || !at || (strcmp(transport, "udp") != 0 && strcmp(transport, "tcp") != 0) || addr_parse(text_of(at), 0, &a) != 0)
		return false;
	if (!is_outside(&a) && !s->rendezvous.public_name)
		return false;
	*ret_u = (struct turn_uri){ .port = addr_port(&a), .tcp = transport[0] == 't' };
	(void)snprintf(ret_u->host, sizeof(ret_u->host), "%s", is_outside(&a) ? addr_print_ip(&a, ip) : s->rendezvous.public_name);
	return true;
}

static const char *why_none(int r, const json_t *error)
{
	const char *text = json_string_value(json_object_get(error, "text"));

	return text ? text : r == -ETIMEDOUT ? "it does not answer in time" : "it has hung up";
}

static void on_answer(int r, json_t *result, json_t *error, void *arg)
{
	struct local_turn_ask *x = arg;
	const char *user = json_string_value(json_object_get(result, "username")), *password = json_string_value(json_object_get(result, "password"));
	char uris[WIRE_URIS_MAX][TURN_URI_STRLEN];
	struct wire_turn m = { .lifetime = (uint32_t)json_integer_value(json_object_get(result, "ttl")) };
	struct turn_uri u;
	const json_t *row;
	size_t i;

	x->call = 0;
	json_array_foreach(json_object_get(result, "listeners"), i, row)
		if (m.n_uris < WIRE_URIS_MAX && read_listener(x->s, row, &u)) {
			(void)turn_uri_print(&u, uris[m.n_uris]);
			m.uris[m.n_uris] = text_of(uris[m.n_uris]);
			m.n_uris++;
		}
	if (!result || !user || !password || !m.n_uris) {
		const char *reason = result ? "tunnel.public_name is not set, and none of its listeners is on a public address" :
					      why_none(r, error);

		if (!x->s->turn_refused) /* once, until it works */
			log_emit(&MSG_TUNNEL_LOCAL_TURN_NONE, LF_STR("reason", reason));
		x->s->turn_refused = true;
		give_none(x->s, x->link, "the stile-turn beside this tunnel server gives no credentials");
	} else {
		x->s->turn_refused = false;
		m.username = text_of(user);
		m.password = text_of(password);
		rendezvous_give_turn(x->s, x->link, &m);
	}
	ask_free(x);
}

/* Each question has a connection of its own: an agent asks a few times a day. */
static void on_up(struct control_link *l, const json_t *hello, void *arg)
{
	(void)l, (void)hello, (void)arg;
}

static void on_event(struct control_link *l, const json_t *event, void *arg)
{
	(void)l, (void)event, (void)arg;
}

static void on_down(struct control_link *l, int err, const char *why, void *arg)
{
	(void)l, (void)err, (void)why, (void)arg; /* the call has been told */
}

static const struct control_link_ops turn_ops = { .on_up = on_up, .on_event = on_event, .on_down = on_down };

void local_turn_ask(struct tunnel_server *s, uint64_t link, const char *name, unsigned lifetime_s)
{
	struct local_turn_ask *x = s->n_turn_asks < ASKS_MAX ? calloc(1, sizeof(*x)) : NULL;
	json_t *args = x ? json_pack("{s:s, s:i}", "name", name, "ttl", (int)lifetime_s) : NULL;
	uint64_t call;

	if (!args) {
		free(x);
		give_none(s, link, "too many agents ask at once");
		return;
	}
	x->s = s;
	x->link = link;
	list_append(&s->turn_asks, &x->node);
	s->n_turn_asks++;
	if (control_link_new(s->loop, s->rendezvous.local_turn, &turn_ops, x, &x->turn) < 0) {
		json_decref(args);
		ask_free(x);
		give_none(s, link, "this tunnel server gives no TURN servers");
		return;
	}
	call = control_link_call(x->turn, "turn.credentials", args, ANSWER_MS, on_answer, x);
	if (call) /* else it is over, and x is gone */
		x->call = call;
}
