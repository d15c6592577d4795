/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share's HTTP server: who may ask, and who answers.
 *
 * Timer: the share's end.
 *
 * A client is whoever hands connections over on this host says it is; elsewhere its address.
 */
#include "share/server_priv.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "common/bytes.h"

enum { WRONG_MAX = 10, WRONG_MS = 60 * 1000, COMPLETE_MS = 60 * 1000, ANSWER_GOES_MS = 500, TOKEN_PARAMETER = 64 };
enum { LATER_MAX_S = 7 * 24 * 3600 };

/* ---- answers ---- */

void share_answer(struct share_rq *q, unsigned status, const char *code, const char *text)
{
	char body[512];

	(void)snprintf(body, sizeof(body), "%s\n", text);
	if (code)
		httpd_add(q->rq, "Stile-Error", "%s", code);
	httpd_add(q->rq, "Cache-Control", "no-store");
	if (status >= 400)
		q->s->counts.refused++;
	httpd_reply(q->rq, status, "text/plain; charset=utf-8", text_of(body));
}

void share_answer_json(struct share_rq *q, unsigned status, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	uint8_t *sealed;
	size_t n;

	json_decref(o);
	httpd_add(q->rq, "Cache-Control", "no-store");
	if (text && q->plain) {
		httpd_reply_taken(q->rq, status, "application/json", text, strlen(text));
		return;
	}
	if (text && sealed_make(q->s->o.code->secret, "meta", text_of(text), &sealed, &n) == 0)
		httpd_reply_taken(q->rq, status, "application/octet-stream", (char *)sealed, n);
	else
		share_answer(q, 500, NULL, "out of memory");
	free(text);
}

void share_tell(struct share_rq *q, enum share_event_kind kind, const char *name, uint64_t at, uint64_t size)
{
	const struct share_event e = { .kind = kind, .name = name, .client = q->client, .at = at, .size = size };

	if (q->s->o.event)
		q->s->o.event(&e, q->s->o.arg);
}

/* ---- who asks ---- */

static struct share_client *client_of(struct share_server *s, const char *name)
{
	uint64_t now = loop_now(s->o.loop);
	struct share_client *oldest = &s->clients[0];

	for (unsigned i = 0; i < CLIENTS_KEPT; i++) {
		struct share_client *c = &s->clients[i];

		if (c->wrong && now - c->since >= WRONG_MS)
			c->wrong = 0;
		if (c->wrong && strcmp(c->name, name) == 0)
			return c;
		if (!c->wrong || (oldest->wrong && c->since < oldest->since))
			oldest = c;
	}
	*oldest = (struct share_client){ .since = now };
	(void)snprintf(oldest->name, sizeof(oldest->name), "%s", name);
	return oldest;
}

/* Whoever hands connections over on this host (agent, gateway) says whose they are; others cannot. */
static void name_client(struct share_rq *q)
{
	const struct addr *peer = httpd_peer(q->rq);
	bool local = addr_family(peer) == AF_UNSPEC || addr_classify(peer) == ADDR_LOOPBACK;
	const char *told = local ? httpd_field(q->rq, "Stile-Client") : NULL;
	struct addr a;

	if (told && addr_parse(text_of(told), 0, &a) == 0)
		(void)addr_print_ip(&a, q->client);
	else if (!local)
		(void)addr_print_ip(peer, q->client);
	else
		(void)snprintf(q->client, sizeof(q->client), "agent");
}

/* Of a header, or of the query: 32 hexadecimal digits. */
static bool sixteen(struct share_rq *q, const char *field, const char *parameter, uint8_t out[static 16])
{
	const char *value = httpd_field(q->rq, field);
	char buf[TOKEN_PARAMETER];

	if (!value && httpd_query_value(httpd_query(q->rq), parameter, buf, sizeof(buf)) == 0)
		value = buf;
	return value && share_hex16(text_of(value), out) == 0;
}

static bool has_token(struct share_rq *q)
{
	struct share_server *s = q->s;
	struct share_client *c = client_of(s, q->client);
	uint8_t token[SHARE_TOKEN];

	if (c->wrong >= WRONG_MAX) {
		httpd_add(q->rq, "Retry-After", "60");
		share_answer(q, 429, "guessing", "too many wrong codes came from here; wait a minute");
		return false;
	}
	if (sixteen(q, "Stile-Token", "t", token) && bytes_equal_ct(token, s->keys.token, sizeof(token)))
		return true;
	c->wrong++;
	c->since = loop_now(s->o.loop);
	share_tell(q, SHARE_GUESSED, "", c->wrong, WRONG_MAX);
	share_answer(q, 403, "token", "the code of this share is another one");
	return false;
}

bool share_claim(struct share_rq *q)
{
	struct share_server *s = q->s;
	uint8_t receiver[RECEIVER];
	bool named = sixteen(q, "Stile-Receiver", "r", receiver);

	if (!s->o.once || q->head)
		return true;
	if (!named) {
		share_answer(q, 409, "taken", "this share is for one receiver only, and this one has not said who it is");
		return false;
	}
	if (!s->claimed) {
		s->claimed = true;
		memcpy(s->claimant, receiver, sizeof(s->claimant));
	}
	if (memcmp(s->claimant, receiver, sizeof(receiver)) == 0)
		return true;
	share_tell(q, SHARE_TAKEN, "", 0, 0);
	share_answer(q, 409, "taken", "somebody else has taken this share; it was for one receiver only");
	return false;
}

/* ---- the share's end ---- */

static void say_done(struct share_server *s)
{
	const struct share_event e = { .kind = SHARE_DONE, .name = "", .client = "" };

	if (s->o.event)
		s->o.event(&e, s->o.arg);
}

static bool is_over(const struct share_server *s)
{
	return s->o.expires && (uint64_t)time(NULL) >= s->o.expires;
}

static void set_end(struct share_server *s)
{
	uint64_t now = (uint64_t)time(NULL);

	if (s->o.expires)
		loop_timer_set(s->o.loop, &s->end, s->o.expires > now ? MIN(s->o.expires - now, (uint64_t)LATER_MAX_S) * 1000 : 0);
}

void share_server_expires(struct share_server *s, uint64_t at)
{
	s->o.expires = at;
	timer_stop(&s->end);
	set_end(s);
}

static void on_end(struct timer *t, uint64_t now)
{
	struct share_server *s = container_of(t, struct share_server, end);

	(void)now;
	if (s->complete && !s->said_done && !is_over(s) && !list_empty(&s->requests))
		loop_timer_set(s->o.loop, &s->end, COMPLETE_MS); /* its receiver does something more */
	else if (s->complete || is_over(s))
		say_done(s);
	else
		set_end(s);
}

/* Its receiver should say so, but need not: the last byte went out. */
void share_complete(struct share_server *s)
{
	if (!s->o.once)
		return;
	s->complete = true;
	loop_timer_set(s->o.loop, &s->end, COMPLETE_MS);
}

static void on_done(struct share_rq *q)
{
	struct share_server *s = q->s;

	if (!share_claim(q))
		return;
	httpd_reply(q->rq, 204, NULL, (struct text){ 0 });
	if (!s->o.once)
		return;
	s->complete = s->said_done = true;
	loop_timer_set(s->o.loop, &s->end, ANSWER_GOES_MS);
}

/* ---- a request ---- */

static void on_gone(struct httpd_rq *rq, void *arg)
{
	struct share_rq *q = arg;

	(void)rq;
	share_rq_stop(q);
	list_unlink(&q->node);
	free(q);
}

static void not_found(struct share_rq *q)
{
	share_answer(q, 404, NULL, "there is nothing at this address");
}

static void serve(struct share_rq *q)
{
	struct text method = httpd_method(q->rq);
	bool get = text_eq(method, TEXT("GET")) || q->head, put = text_eq(method, TEXT("PUT")), post = text_eq(method, TEXT("POST"));

	switch (q->w.place) {
	case SHARE_AT_UPLOAD:
	case SHARE_AT_PLAIN_UPLOAD:
		if (q->head || put || post) {
			share_put(q);
			return;
		}
		break;
	case SHARE_AT_DONE:
		if (post) {
			on_done(q);
			return;
		}
		break;
	default:
		if (get) {
			share_get(q);
			return;
		}
	}
	share_answer(q, 405, NULL, "this is not done so");
}

static void on_request(struct httpd_rq *rq, void *arg)
{
	struct share_server *s = arg;
	struct share_rq *q = calloc(1, sizeof(*q));
	char path[TREE_PATH_MAX + 64];

	s->counts.requests++;
	if (!q) {
		httpd_reply(rq, 503, NULL, (struct text){ 0 });
		return;
	}
	*q = (struct share_rq){ .s = s, .rq = rq, .fd = -1, .head = text_eq(httpd_method(rq), TEXT("HEAD")) };
	list_append(&s->requests, &q->node);
	httpd_watch(rq, on_gone, q);
	name_client(q);
	if (httpd_decode(httpd_path(rq), false, path, sizeof(path)) == 0)
		q->w = share_where(text_of(path));
	q->plain = q->w.place >= SHARE_AT_PLAIN_META;
	if (q->w.place == SHARE_AT_NOTHING && s->o.other && s->o.other(rq, s->o.arg))
		return;
	if (q->w.place == SHARE_AT_NOTHING || q->w.id != share_id_number(s->keys.id) || (q->plain && !s->o.plain)) {
		not_found(q);
	} else if (q->w.place == SHARE_AT_PAGE) {
		if (!s->o.page || !s->o.page(rq, q->w.rest, s->o.arg))
			not_found(q);
	} else if (has_token(q)) {
		if (is_over(s))
			share_answer(q, 410, "expired", "the time of this share is over");
		else
			serve(q);
	}
	q->w.rest = (struct text){ 0 }; /* it was path's */
}

/* ---- life ---- */

static const struct httpd_ops ops = { .on_request = on_request };

int share_server_new(const struct share_server_options *o, struct share_server **ret_s)
{
	struct share_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->o = *o;
	list_init(&s->requests);
	s->end.fire = on_end;
	r = share_keys_make(o->code->secret, &s->keys);
	if (r == 0)
		r = httpd_new(o->loop, NULL, NULL, &ops, s, &s->httpd);
	if (r < 0) {
		share_server_free(s);
		return r;
	}
	set_end(s);
	*ret_s = s;
	return 0;
}

struct share_server *share_server_free(struct share_server *s)
{
	if (!s)
		return NULL;
	timer_stop(&s->end);
	httpd_free(s->httpd);
	bytes_wipe(&s->keys, sizeof(s->keys));
	free(s);
	return NULL;
}

void share_server_take(struct share_server *s, int fd, const struct addr *peer)
{
	httpd_take(s->httpd, fd, peer);
}

void share_server_counts(const struct share_server *s, struct share_counts *ret_c)
{
	*ret_c = s->counts;
}
