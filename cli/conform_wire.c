/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machinery of a conversation: the loop that runs only while somebody waits, links to the server
 * and their inboxes, requests that are sent and their answers that are found by transaction id. What
 * comes in and is not asked for stays in the inbox, in order, until a check takes it. The talk owns all it
 * opens; talk_end() gives allocations back before it closes the links, so that a run leaves nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/conform.h"
#include "common/clock.h"

enum { CONNECT_MS = 3000, FRESH_TRIES = 8, STREAM_ANSWER_MS = 2500, REPEAT_MS = 500, REPEATS = 3, RELEASE_MS = 300 };

/* ---- the latch ---- */

bool going_on(const struct talk *t)
{
	return t->verdict == CONFORM_PASSED;
}

void fail(struct talk *t, const char *fmt, ...)
{
	va_list ap;

	if (!going_on(t))
		return;
	t->verdict = CONFORM_FAILED;
	va_start(ap, fmt);
	vsnprintf(t->note, sizeof t->note, fmt, ap);
	va_end(ap);
}

void skip(struct talk *t, const char *why)
{
	if (!going_on(t))
		return;
	t->verdict = CONFORM_SKIPPED;
	snprintf(t->note, sizeof t->note, "%s", why);
}

void want(struct talk *t, bool good, const char *otherwise)
{
	if (!good)
		fail(t, "%s", otherwise);
}

/* ---- waiting ---- */

static void on_timer(struct timer *timer, uint64_t now)
{
	struct talk *t = container_of(timer, struct talk, timer);

	(void)now;
	loop_stop(t->loop);
}

static unsigned heard_so_far(const struct talk *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n_clients; i++)
		n += t->clients[i].in.n + t->clients[i].open + t->clients[i].closed;
	for (unsigned i = 0; i < t->n_peers; i++)
		n += t->peers[i].in.n;
	return n;
}

bool talk_wait(struct talk *t, uint64_t deadline_ms)
{
	unsigned before = heard_so_far(t);

	for (uint64_t now; (now = clock_steady_ms()) < deadline_ms && heard_so_far(t) == before;) {
		loop_timer_set(t->loop, &t->timer, deadline_ms - now);
		if (loop_run(t->loop) < 0)
			break;
	}
	timer_stop(&t->timer);
	return heard_so_far(t) != before;
}

/* ---- inboxes ---- */

bool inbox_put(struct talk *t, struct inbox *in, const void *p, size_t n, const struct addr *from)
{
	if (in->n == INBOX)
		return false;
	struct heard h = { .p = malloc(n + 1), .n = n };
	if (!h.p)
		return false;
	memcpy(h.p, p, n);
	if (from)
		h.from = *from;
	in->v[in->n++] = h;
	loop_stop(t->loop);
	return true;
}

void inbox_take(struct inbox *in, unsigned i, struct heard *ret_h)
{
	free(ret_h->p);
	*ret_h = in->v[i];
	memmove(&in->v[i], &in->v[i + 1], (in->n - i - 1) * sizeof in->v[0]);
	in->n--;
}

static void inbox_deinit(struct inbox *in)
{
	while (in->n > 0)
		free(in->v[--in->n].p);
}

/* ---- clients ---- */

static void on_open(struct turn_link *l, void *arg)
{
	struct client *c = arg;

	(void)l;
	c->open = true;
	loop_stop(c->t->loop);
}

static void on_message(struct turn_link *l, uint8_t *p, size_t n, void *arg)
{
	struct client *c = arg;

	(void)l;
	inbox_put(c->t, &c->in, p, n, NULL);
}

static void on_close(struct turn_link *l, int err, const char *why, void *arg)
{
	struct client *c = arg;

	(void)l;
	(void)err;
	if (!c->open)
		fail(c->t, "cannot connect: %s", why);
	c->closed = true;
	loop_stop(c->t->loop);
}

static const struct turn_link_ops link_ops = { on_open, on_message, on_close };

/* A server may keep a released five-tuple for a moment, so none is used twice in a run: the system gives
 * out ports at random, and now and then the same again. */
static bool is_fresh(const struct addr *local)
{
	static uint8_t used[65536 / 8];
	uint16_t port = addr_port(local);
	uint8_t bit = (uint8_t)(1 << port % 8);
	bool fresh = !(used[port / 8] & bit);

	used[port / 8] |= bit;
	return fresh;
}

static void connect_client(struct client *c)
{
	struct talk *t = c->t;
	const struct conform_options *o = t->o;
	struct turn_link_options lo = { .proto = o->proto, .server = o->server, .server_name = o->server_name,
					.verify = o->verify, .ca_file = o->ca_file, .ops = &link_ops, .arg = c };
	char err[TLS_ERRLEN];
	uint64_t deadline = clock_steady_ms() + CONNECT_MS;

	for (int tries = 0; tries < FRESH_TRIES; tries++) {
		c->link = turn_link_free(c->link);
		if (turn_link_new(t->loop, &lo, err, &c->link) < 0) {
			fail(t, "cannot connect: %s", err);
			return;
		}
		if (t->s->have & NEED_STREAM || is_fresh(turn_link_local(c->link)))
			break;
	}
	while (!c->open && !c->closed && talk_wait(t, deadline))
		;
	if (!c->open)
		fail(t, "cannot connect: no answer within %d s", CONNECT_MS / 1000);
}

/* Also of a talk that has failed already: then it is connected to nobody. */
struct client *client_open(struct talk *t)
{
	struct client *c = &t->clients[MIN(t->n_clients, MAX_CLIENTS - 1)];

	if (t->n_clients == MAX_CLIENTS) {
		fail(t, "the check opens too many clients");
		return c;
	}
	*c = (struct client){ .t = t, .out = malloc(OUT_MAX) };
	t->n_clients++;
	snprintf(c->login.user, sizeof c->login.user, "%s", t->o->user);
	snprintf(c->login.password, sizeof c->login.password, "%s", t->o->password);
	c->login.algorithm = STUN_ALG_MD5;
	c->login.mac = STUN_MAC_SHA1;
	if (!c->out)
		fail(t, "out of memory");
	else if (going_on(t))
		connect_client(c);
	return c;
}

void client_close(struct client *c)
{
	c->link = turn_link_free(c->link);
	c->closed = true;
	c->allocated = false;
}

static void client_deinit(struct client *c)
{
	turn_link_free(c->link);
	inbox_deinit(&c->in);
	stun_key_free(c->key);
	free(c->out);
	free(c->answer.p);
	free(c->taken.p);
	bytes_wipe(&c->login, sizeof c->login);
}

/* ---- sending ---- */

struct stun_writer *begin_class(struct client *c, enum stun_method m, enum stun_class class)
{
	if (bytes_random(c->tid, sizeof c->tid) < 0)
		fail(c->t, "no random bytes");
	c->method = m;
	c->answered = false;
	c->out_n = 0;
	stun_begin(&c->w, c->out, c->out ? OUT_MAX : 0, m, class, c->tid);
	return &c->w;
}

struct stun_writer *begin(struct client *c, enum stun_method m)
{
	return begin_class(c, m, STUN_REQUEST);
}

void finish(struct client *c)
{
	ssize_t n = stun_end(&c->w);

	if (n < 0)
		fail(c->t, "the check's own message does not fit");
	else
		c->out_n = (size_t)n;
}

void send_bytes(struct client *c, const void *p, size_t n)
{
	if (!going_on(c->t) || !c->link)
		return;
	int r = turn_link_send(c->link, p, n);
	bool gone = r == -ECONNREFUSED || r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN; /* on_close tells */
	if (r < 0 && !gone && !c->closed)
		fail(c->t, "cannot send: %s", strerror(-r));
}

void tell(struct client *c)
{
	if (!c->out_n)
		finish(c);
	send_bytes(c, c->out, c->out_n);
}

/* ---- answers ---- */

static bool is_answer(const struct client *c, const struct heard *h)
{
	return h->n >= STUN_HEADER_LEN && (h->p[0] & 0xc1) == 0x01 && memcmp(h->p + 8, c->tid, STUN_TID_LEN) == 0;
}

/* What an answer changes: an allocation is there, or gone. */
static void note_state(struct client *c)
{
	uint32_t lifetime;

	if (c->m.class != STUN_SUCCESS)
		return;
	if (c->method == STUN_ALLOCATE) {
		size_t it = 0;
		struct addr a;
		c->allocated = true;
		while (stun_next_addr(&c->m, STUN_A_XOR_RELAYED_ADDRESS, &it, &a) == 0)
			*(addr_family(&a) == AF_INET6 ? &c->relayed6 : &c->relayed) = a;
		(void)stun_get_addr(&c->m, STUN_A_XOR_MAPPED_ADDRESS, &c->mapped);
	}
	if (c->method == STUN_REFRESH && stun_get_u32(&c->m, STUN_A_LIFETIME, &lifetime) == 0 && lifetime == 0)
		c->allocated = false;
}

static void read_answer(struct client *c)
{
	int r = stun_parse(c->answer.p, c->answer.n, &c->m);

	c->answered = true;
	if (r != STUN_OK)
		fail(c->t, "%s: the answer is not a well-formed STUN message%s%s", stun_method_name(c->method),
		     r == STUN_MALFORMED && c->m.bad_attr < STUN_ATTRS ? ": " : "",
		     r == STUN_MALFORMED && c->m.bad_attr < STUN_ATTRS ? stun_attr_table[c->m.bad_attr].name : "");
	else if (c->m.method != c->method)
		fail(c->t, "the answer to %s is of another method, %s", stun_method_name(c->method),
		     stun_method_name(c->m.method));
	else
		note_state(c);
}

static bool wait_for_answer(struct client *c, uint64_t ms)
{
	uint64_t deadline = clock_steady_ms() + ms;

	do {
		for (unsigned i = 0; i < c->in.n; i++)
			if (is_answer(c, &c->in.v[i])) {
				inbox_take(&c->in, i, &c->answer);
				read_answer(c);
				return true;
			}
	} while (talk_wait(c->t, deadline));
	return false;
}

bool listen_for_answer(struct client *c)
{
	return going_on(c->t) && wait_for_answer(c, c->t->s->quiet_ms);
}

bool ask_once(struct client *c)
{
	tell(c);
	return listen_for_answer(c);
}

void await(struct client *c)
{
	if (going_on(c->t) && !wait_for_answer(c, STREAM_ANSWER_MS))
		fail(c->t, "%s: %s", stun_method_name(c->method),
		     !c->closed ? "no answer" : c->t->s->have & NEED_STREAM ? "the server closed the connection" :
								       "nobody listens on that port");
}

void ask(struct client *c)
{
	bool stream = c->link && turn_link_is_stream(c->link);

	for (int i = 1; i < REPEATS && !stream && going_on(c->t); i++) {
		tell(c);
		if (going_on(c->t) && wait_for_answer(c, REPEAT_MS))
			return;
	}
	tell(c);
	await(c);
}

/* ---- a talk ---- */

int talk_begin(struct talk *t, const struct conform_options *o, const struct conform_server *s)
{
	*t = (struct talk){ .o = o, .s = s, .timer = { .fire = on_timer } };
	return loop_new(&t->loop);
}

/* Gives the allocation back, whatever the check has made of its login. */
static void give_back(struct client *c)
{
	struct talk *t = c->t;
	enum conform_verdict verdict = t->verdict;

	t->verdict = CONFORM_PASSED; /* this step is done for failed checks too */
	c->login.known = c->login.choose = c->login.hash = false;
	c->login.no_user = c->login.no_realm = c->login.no_nonce = false;
	c->login.algorithm = STUN_ALG_MD5;
	c->login.mac = STUN_MAC_SHA1;
	snprintf(c->login.user, sizeof c->login.user, "%s", t->o->user);
	snprintf(c->login.password, sizeof c->login.password, "%s", t->o->password);
	char note[sizeof t->note];
	memcpy(note, t->note, sizeof note);
	begin(c, STUN_REFRESH);
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0);
	sign(c);
	tell(c);
	(void)wait_for_answer(c, RELEASE_MS);
	t->verdict = verdict;
	memcpy(t->note, note, sizeof note);
}

void talk_end(struct talk *t)
{
	for (unsigned i = 0; i < t->n_clients; i++)
		if (t->clients[i].allocated && !t->clients[i].closed && t->clients[i].link)
			give_back(&t->clients[i]);
	for (unsigned i = 0; i < t->n_peers; i++) {
		int fd = t->peers[i].relay ? -1 : t->peers[i].io.fd;
		io_stop(&t->peers[i].io);
		if (fd >= 0)
			close(fd);
		inbox_deinit(&t->peers[i].in);
		free(t->peers[i].taken.p);
	}
	for (unsigned i = 0; i < t->n_clients; i++)
		client_deinit(&t->clients[i]);
	timer_stop(&t->timer);
	t->loop = loop_free(t->loop);
}
