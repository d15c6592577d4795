/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sip.trace: the messages of one call or one address as they pass, decrypted, to an administrator's tool, which writes
 * them into a file. Off unless somebody asks; who asked and for what is a line of the log. A trace ends by itself: after
 * so many messages or seconds, or when its client goes. What a client does not take in time is left out, and counts. What
 * is longer than a line of the control protocol is cut: "cut" says by how many bytes.
 *
 * A trace of a call takes the messages that have its Call-ID, found as a header's value and not anywhere in the body.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/service.h"

enum {
	TRACES_MAX = 4,
	MESSAGES = 10000,
	MESSAGES_MAX = 1000000,
	SECONDS = 300,
	SECONDS_MAX = 86400,
	CALL_MAX = 256,
	DATA_MAX = (CONTROL_MAX_LINE - 1024) / 4 * 3 /* in base64 it is one line of the protocol */
};

struct trace {
	struct list node;
	struct sip_traces *all;
	struct control_request *rq;
	struct timer until;
	char call[CALL_MAX];   /* "": not by call */
	struct prefix address; /* AF_UNSPEC: not by address */
	uint64_t left, seen;
};

struct sip_traces {
	struct sip_service *ss;
	struct list list;
	unsigned n;
};

static void trace_end(struct trace *t, const char *why)
{
	struct sip_traces *all = t->all;

	timer_stop(&t->until);
	list_unlink(&t->node);
	if (--all->n == 0)
		sip_edge_set_tap(all->ss->edge, NULL);
	log_emit(&MSG_SIP_TRACE_ENDED, LF_STR("why", why), LF_U64("messages", t->seen));
	control_reply(t->rq, json_pack("{s:I, s:s}", "messages", (json_int_t)t->seen, "why", why));
	free(t);
}

static void on_until(struct timer *timer, uint64_t now)
{
	(void)now;
	trace_end(container_of(timer, struct trace, until), "its time is over");
}

static void on_cancel(struct control_request *rq, void *arg)
{
	(void)rq;
	trace_end(arg, "cancelled");
}

/* ---- what it takes ---- */

static bool is_call_id(struct text line, struct text *ret_value)
{
	static const struct text names[] = { { "call-id", 7 }, { "i", 1 } };

	for (size_t i = 0; i < 2; i++) {
		struct text rest = line;
		if (rest.n <= names[i].n || !text_ieq((struct text){ rest.p, names[i].n }, names[i]))
			continue;
		rest = text_trim(text_drop(rest, names[i].n));
		if (rest.n == 0 || rest.p[0] != ':')
			continue;
		*ret_value = text_trim(text_drop(rest, 1));
		return true;
	}
	return false;
}

static bool has_call(struct text bytes, const char *call)
{
	struct text value;

	while (bytes.p) {
		struct text line = text_cut(&bytes, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0)
			return false; /* the head is over */
		if (is_call_id(line, &value))
			return text_eq(value, text_of(call));
	}
	return false;
}

static bool wants(const struct trace *t, const struct sip_hop *hop, struct text bytes)
{
	struct addr real = addr_canonical(&hop->remote);

	if (addr_family(&t->address.a) != AF_UNSPEC && !prefix_contains(&t->address, &real))
		return false;
	return !t->call[0] || has_call(bytes, t->call);
}

static json_t *packet_json(const struct sip_hop *hop, bool out, struct text bytes)
{
	size_t n = MIN(bytes.n, (size_t)DATA_MAX);
	char remote[ADDR_STRLEN], local[ADDR_STRLEN], *data = malloc(BASE64_LEN(n) + 1);
	struct timespec ts;
	json_t *j;

	if (!data)
		return NULL;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	base64_encode(bytes.p, n, data);
	j = json_pack("{s:I, s:s, s:b, s:s, s:s, s:s, s:I}", "time_us",
		      (json_int_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, "transport",
		      sip_proto_rows[hop->proto].name, "out", out, "remote",
		      addr_print(&hop->remote, remote), "local", addr_print(&hop->local, local),
		      "data", data, "cut", (json_int_t)(bytes.n - n));
	free(data);
	return j;
}

static void saw(void *arg, const struct sip_hop *hop, bool out, struct text bytes)
{
	struct sip_traces *all = arg;

	list_for_each_safe (it, &all->list) {
		struct trace *t = list_entry(it, struct trace, node);
		if (!t->left || !wants(t, hop, bytes))
			continue;
		t->seen++;
		control_progress(t->rq, packet_json(hop, out, bytes));
		if (--t->left == 0) /* not from within the message's own way */
			loop_timer_set(all->ss->svc->loop, &t->until, 0);
	}
}

/* ---- the verb ---- */

static uint64_t number_of(const json_t *args, const char *key, uint64_t usual, uint64_t most)
{
	json_int_t v = json_integer_value(json_object_get(args, key));

	return v > 0 ? MIN((uint64_t)v, most) : usual;
}

static bool read_args(struct control_request *rq, const json_t *args, struct trace *t)
{
	const char *call = json_string_value(json_object_get(args, "call"));
	const char *address = json_string_value(json_object_get(args, "address"));

	if (!call == !address) {
		control_fail(rq, "bad-request", "stile sip trace --call ID, or --address ADDRESS",
			     "either call or address");
		return false;
	}
	if (call && (strlen(call) >= sizeof(t->call) || !call[0])) {
		control_fail(rq, "bad-request", NULL, "this is no Call-ID");
		return false;
	}
	if (address && prefix_parse(text_of(address), &t->address) < 0) {
		control_fail(rq, "bad-request", NULL, "%s is no address and no prefix", address);
		return false;
	}
	(void)snprintf(t->call, sizeof(t->call), "%s", call ? call : "");
	t->left = number_of(args, "messages", MESSAGES, MESSAGES_MAX);
	return true;
}

void sip_verb_trace(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	struct sip_traces *all = ss->traces;
	struct trace *t = all->n < TRACES_MAX ? calloc(1, sizeof(*t)) : NULL;
	const char *address = json_string_value(json_object_get(args, "address"));

	if (!t) {
		control_fail(rq, "busy", "stile sip status", "%u traces run already", all->n);
		return;
	}
	if (!read_args(rq, args, t)) {
		free(t);
		return;
	}
	t->all = all;
	t->rq = rq;
	t->until.fire = on_until;
	list_append(&all->list, &t->node);
	if (all->n++ == 0)
		sip_edge_set_tap(ss->edge, &(struct sip_edge_tap){ saw, all });
	loop_timer_set(ss->svc->loop, &t->until,
		       number_of(args, "seconds", SECONDS, SECONDS_MAX) * 1000);
	log_emit(&MSG_SIP_TRACE_STARTED, LF_STR("who", control_request_who(rq)),
		 LF_STR("call", t->call), LF_STR("address", address ? address : ""),
		 LF_U64("messages", t->left));
	control_on_cancel(rq, on_cancel, t);
}

int sip_traces_new(struct sip_service *ss, struct sip_traces **ret_t)
{
	struct sip_traces *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ss = ss;
	list_init(&t->list);
	*ret_t = t;
	return 0;
}

struct sip_traces *sip_traces_free(struct sip_traces *t)
{
	if (!t)
		return NULL;
	list_for_each_safe (it, &t->list)
		trace_end(list_entry(it, struct trace, node), "the service stops");
	free(t);
	return NULL;
}

unsigned sip_traces_count(const struct sip_traces *t)
{
	return t->n;
}
