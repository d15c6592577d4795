/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of the TURN conversations: fake edge, fake time, and clients that speak STUN well enough to
 * be believed. What the server sends waits in a queue, oldest first, until a test asks for it; an
 * answer to a request is taken at once.
 */
#include "tests/scenario/turn_world_edge.h"
#include <errno.h>
#include "common/log.h"

struct turn_held {
	struct world *w;
	struct addr at;
};

/* ---- the edge ---- */

static void keep(struct world *w, const struct sent *s, const void *head, size_t head_n, const void *body)
{
	if (w->lossy)
		return;
	assert_true(w->n_queue < WORLD_QUEUE);
	struct sent *q = &w->queue[w->n_queue++];
	*q = *s;
	/* not malloc: the allocation-failure tests count only what is the server's */
	assert_int_equal(posix_memalign((void **)&q->data, 16, s->n ? s->n : 1), 0);
	if (head_n)
		memcpy(q->data, head, head_n);
	if (s->n > head_n)
		memcpy(q->data + head_n, body, s->n - head_n);
}

static void client_send(const struct turn_path *p, const struct turn_out *o)
{
	struct sent s = { .from = p->local, .to = p->client, .mark = o->mark, .n = o->head_n + o->body_n };

	assert_true(o->head_n <= 64);
	if (p->transport->stream)
		assert_int_equal(s.n % 4, 0);
	keep(p->handle, &s, o->head, o->head_n, o->body);
}

static void client_close(const struct turn_path *p)
{
	((struct world *)p->handle)->n_closed_paths++;
}

static bool client_reply_from(const struct turn_path *p, const struct addr *local, struct turn_path *ret_p)
{
	*ret_p = *p;
	ret_p->local = *local;
	return true;
}

static bool client_alive(void *edge, const struct turn_path *p)
{
	(void)p;
	return !((struct world *)edge)->paths_dead;
}

static void client_send_run(const struct turn_path *p, const uint8_t head[4], const struct dgram_run *run,
			    struct dgram_mark mark)
{
	for (unsigned i = 0; i < run->n; i++)
		client_send(p, &(struct turn_out){ head, 4, run->data + i * run->stride, i + 1 == run->n ? run->last : run->len,
						   mark, true });
}

static const struct turn_transport fake_udp = { .proto = TURN_UDP, .name = "udp", .send = client_send,
						.send_run = client_send_run,
						.alive = client_alive, .reply_from = client_reply_from };
static const struct turn_transport fake_tcp = {
	.proto = TURN_TCP,
	.name = "tcp",
	.stream = true,
	.send = client_send,
	.close = client_close,
	.alive = client_alive,
};

static const struct turn_transport fake_tls = {
	.proto = TURN_TLS,
	.name = "tls",
	.stream = true,
	.send = client_send,
	.close = client_close,
	.alive = client_alive,
};

static int port_error(struct world *w, const struct addr *at)
{
	w->opens++;
	if (w->open_error)
		return w->open_error;
	for (size_t i = 0; i < ARRAY_LEN(w->foreign); i++)
		if (w->foreign[i] && w->foreign[i] == addr_port(at))
			return -EADDRINUSE;
	list_for_each (it, &w->relays)
		if (addr_equal(&list_entry(it, struct turn_relay, node)->at, at))
			return -EADDRINUSE;
	return 0;
}

static int add_relay(struct world *w, struct turn_alloc *a, const struct addr *at,
		     struct turn_relay **ret_r)
{
	struct turn_relay *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	*r = (struct turn_relay){ .w = w, .alloc = a, .at = *at };
	list_append(&w->relays, &r->node);
	w->n_relays++;
	*ret_r = r;
	return 0;
}

int fake_relay_open(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r)
{
	int r = port_error(edge, at);
	return r < 0 ? r : add_relay(edge, a, at, ret_r);
}

static struct turn_held *relay_detach(struct turn_relay *r)
{
	struct turn_held *h = NULL;

	assert_int_equal(posix_memalign((void **)&h, 16, sizeof *h), 0); /* the real one has it ready */
	*h = (struct turn_held){ r->w, r->at };
	r->w->n_held++;
	r->w->n_relays--;
	list_unlink(&r->node);
	free(r);
	return h;
}

static void relay_close(struct turn_relay *r)
{
	r->w->n_relays--;
	list_unlink(&r->node);
	free(r);
}

static void relay_send(struct turn_relay *r, const struct addr *peer, const void *p, size_t n,
		       struct dgram_mark mark, bool stable)
{
	struct sent s = { .from = r->at, .to = *peer, .to_peer = true, .mark = mark, .n = n };

	(void)stable;
	keep(r->w, &s, NULL, 0, p);
}

static void relay_send_run(struct turn_relay *r, const struct addr *peer, const struct dgram_run *run, struct dgram_mark mark)
{
	for (unsigned i = 0; i < run->n; i++)
		relay_send(r, peer, run->data + i * run->stride, i + 1 == run->n ? run->last : run->len, mark, true);
}

static int relay_hold(void *edge, const struct addr *at, struct turn_held **ret_h)
{
	struct world *w = edge;
	struct turn_held *h;
	int r = port_error(w, at);

	if (r < 0)
		return r;
	h = malloc(sizeof *h);
	if (!h)
		return -ENOMEM;
	*h = (struct turn_held){ w, *at };
	w->n_held++;
	*ret_h = h;
	return 0;
}

static int relay_adopt(void *edge, struct turn_alloc *a, struct turn_held *h, struct turn_relay **ret_r)
{
	struct world *w = edge;
	int r = w->open_error ? w->open_error : add_relay(w, a, &h->at, ret_r);

	if (r < 0)
		return r;
	h->w->n_held--;
	free(h);
	return 0;
}

static void relay_drop(struct turn_held *h)
{
	h->w->n_held--;
	free(h);
}

static const struct turn_relay_ops fake_relay = {
	.open = fake_relay_open,
	.close = relay_close,
	.detach = relay_detach,
	.send = relay_send,
	.send_run = relay_send_run,
	.hold = relay_hold,
	.adopt = relay_adopt,
	.drop = relay_drop,
	.listen = fake_listen,
	.connect = fake_connect,
	.name = fake_name,
	.bind = fake_bind,
	.cut = fake_cut,
	.send_home = fake_send_home,
};

/* ---- several workers ---- */

static int post(void *edge, unsigned worker, struct turn_mail *m)
{
	struct world *w = edge;

	if (worker >= ARRAY_LEN(w->workers) || !w->workers[worker])
		return -ENOENT;
	assert_true(w->workers[worker]->n_mail < WORLD_MAIL);
	w->workers[worker]->mail[w->workers[worker]->n_mail++] = m;
	return 0;
}

bool world_mail(struct world *w)
{
	if (w->n_mail == 0)
		return false;
	struct turn_mail *m = w->mail[0];
	memmove(w->mail, w->mail + 1, --w->n_mail * sizeof w->mail[0]);
	m->deliver(w->server, m, w->now);
	return true;
}

void world_join(struct world *w, struct world *first, unsigned worker)
{
	world_config(w);
	w->worker = worker;
	w->first = first;
	w->now = first->now;
	w->nonces = first->nonces;
	w->offload = first->offload;
	world_start(w);
	for (unsigned i = 0; i < ARRAY_LEN(w->workers); i++)
		w->workers[i] = first->workers[i];
	w->workers[worker] = w;
	for (unsigned i = 0; i < ARRAY_LEN(w->workers); i++)
		if (w->workers[i])
			memcpy(w->workers[i]->workers, w->workers, sizeof w->workers);
}

/* Every look at it is 10 us later, so a request has taken that long. */
static uint64_t fake_clock_ns(void)
{
	static uint64_t ns;

	return ns += 10000;
}

static uint64_t unix_s = WORLD_UNIX_S;

static uint64_t fake_unix_s(void)
{
	return unix_s;
}

void world_clock(uint64_t s)
{
	unix_s = s;
}

void world_mints(struct world *w, const char *name)
{
	w->secrets[0] = (struct turn_secret_section){ (char *)"2026a", (char *)"a shared secret" };
	w->cfg.secrets = (struct cfg_list){ w->secrets, 1 };
	world_reload(w);
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT("a shared secret"), text_of(name),
					      WORLD_UNIX_S + 3600, &w->minted),
			 0);
}

/* ---- the world ---- */

struct addr address(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(text_of(text), 0, &a), 0);
	return a;
}

void world_config(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->relay_addresses[0] = address("198.51.100.10");
	w->relay_addresses[1] = address("2001:db8::10");
	w->users[0] = (struct turn_user_section){ (char *)"alice", (char *)"password of alice" };
	w->users[1] = (struct turn_user_section){ (char *)"bob", (char *)"password of bob" };
	w->cfg.realm = (char *)WORLD_REALM;
	w->cfg.relay.addresses = (struct cfg_list){ w->relay_addresses, 2 };
	w->cfg.relay.ports = (struct cfg_port_range){ 49152, 65535 };
	w->cfg.users = (struct cfg_list){ w->users, 2 };
	w->cfg.realms = (struct cfg_list){ w->realms, 0 };
	w->cfg.software = (char *)"";
	w->cfg.mobility = true;
	w->cfg.limits.allocations = 100;
	w->cfg.limits.allocations_per_user = 10;
	w->cfg.limits.permissions_per_allocation = 20;
	w->cfg.limits.channels_per_allocation = 20;
	w->cfg.limits.bitrate = w->cfg.limits.bitrate_per_user = UINT64_MAX;
	w->cfg.limits.unauthenticated_bitrate = UINT64_MAX;
	w->cfg.limits.bad_credentials = w->cfg.limits.bad_credentials_per_address = UINT64_MAX;
	w->cfg.limits.backoff_ms = 60000;
	w->cfg.lifetime.default_ms = 600000;
	w->cfg.lifetime.max_ms = 3600000;
	w->cfg.lifetime.nonce_ms = 600000;
	w->now = 1000000;
}

static const struct hash_seed same_seed = { 0x0123456789abcdef, 0xfedcba9876543210 };

static struct turn_policy *policy_of(struct world *w)
{
	struct turn_policy *p = NULL;
	char err[256];

	if (turn_policy_new(&w->cfg, NULL, 0, err, sizeof err, &p) < 0)
		return NULL;
	return turn_policy_settle(p, w->policy, w->totals) == 0 ? p : turn_policy_unref(p);
}

int world_try_start(struct world *w)
{
	struct turn_server_options o = { .relay = &fake_relay, .offload = w->offload, .edge = w, .clock_ns = fake_clock_ns,
					 .unix_s = fake_unix_s };

	log_set_level(LOG_LVL_ERROR);
	list_init(&w->relays);
	list_init(&w->flows);
	if (!w->first)
		assert_int_equal(stun_nonces_init(&w->nonces, w->now), 0);
	w->timers = timers_new(w->now);
	w->totals = w->first ? w->first->totals : turn_totals_new();
	w->workers[w->worker] = w;
	w->policy = policy_of(w);
	if (!w->timers || !w->totals || !w->policy ||
	    metrics_new(turn_metric_rows, TURN_METRICS, ARRAY_LEN(w->workers), &w->metrics) < 0)
		return -ENOMEM;
	w->reservations = turn_reservations_new(&fake_relay, w->totals);
	if (!w->reservations)
		return -ENOMEM;
	o.worker = w->worker;
	o.seed = &same_seed;
	o.post = post;
	o.timers = w->timers;
	o.policy = w->policy;
	o.totals = w->totals;
	o.reservations = w->reservations;
	o.metrics = w->metrics;
	o.nonces = &w->nonces;
	o.discovery = &w->discovery;
	return turn_server_new(&o, w->now, &w->server);
}

void world_start(struct world *w)
{
	assert_int_equal(world_try_start(w), 0);
}

void world_reload(struct world *w)
{
	struct turn_policy *p = policy_of(w);

	assert_non_null(p);
	turn_server_set_policy(w->server, p);
	turn_policy_unref(w->policy);
	w->policy = p;
}

void world_stop(struct world *w)
{
	w->server = turn_server_free(w->server);
	for (unsigned i = 0; i < w->n_mail; i++)
		w->mail[i]->drop(w->mail[i]);
	if (w->totals && w->reservations && !w->first)
		assert_int_equal(turn_totals_allocations(w->totals), w->n_held);
	w->reservations = turn_reservations_free(w->reservations);
	if (w->totals && !w->first)
		assert_int_equal(turn_totals_allocations(w->totals), 0);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(w->n_held, 0);
	w->totals = w->first ? NULL : turn_totals_free(w->totals);
	w->policy = turn_policy_unref(w->policy);
	w->metrics = metrics_free(w->metrics);
	w->timers = timers_free(w->timers);
	if (!w->first)
		unix_s = WORLD_UNIX_S;
	for (unsigned i = 0; i < w->n_queue; i++)
		free(w->queue[i].data);
	w->n_queue = 0;
}

int world_setup(void **state)
{
	struct world *w = malloc(sizeof *w);

	assert_non_null(w);
	world_config(w);
	world_start(w);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	world_stop(*state);
	free(*state);
	return 0;
}

void world_wait(struct world *w, uint64_t ms)
{
	w->now += ms;
	timers_run(w->timers, w->now);
}

int64_t counted(const struct world *w, enum turn_metric row, unsigned label)
{
	return metric_sum(w->metrics, row, label);
}

bool take(struct world *w, struct sent *ret_s)
{
	if (w->n_queue == 0)
		return false;
	*ret_s = w->queue[0];
	memmove(w->queue, w->queue + 1, --w->n_queue * sizeof w->queue[0]);
	return true;
}

/* ---- clients ---- */

static struct client client(struct world *w, const struct turn_transport *t, const char *at,
			    const char *user)
{
	struct client c = { .w = w, .user = user, .password = "", .alg = STUN_ALG_MD5 };
	bool v6 = at[0] == '[';

	c.path = (struct turn_path){ t, w, address(at),
				     address(v6 ? "[2001:db8::1]:3478" : "198.51.100.1:3478"), 0 };
	for (size_t i = 0; i < ARRAY_LEN(w->users); i++)
		if (w->users[i].name && strcmp(w->users[i].name, user) == 0)
			c.password = w->users[i].password;
	return c;
}

struct client client_udp(struct world *w, const char *at, const char *user)
{
	return client(w, &fake_udp, at, user);
}

struct client client_tcp(struct world *w, const char *at, const char *user)
{
	return client(w, &fake_tcp, at, user);
}

struct client client_tls(struct world *w, const char *at, const char *user)
{
	return client(w, &fake_tls, at, user);
}

/* In a block of exactly this size. */
static void hand_over(struct client *c, const void *p, size_t n)
{
	struct world *w = c->w;
	uint8_t *block = malloc(n ? n : 1);

	assert_non_null(block);
	if (n)
		memcpy(block, p, n);
	w->failed = false;
	if (w->arm)
		w->arm(w->fail_nth);
	turn_input(w->server, &c->path,
		   &(struct turn_packet){ .data = block, .n = n, .mark = DGRAM_MARK_NONE, .leaving = c->leaving }, w->now);
	if (w->arm) {
		w->failed = w->hit();
		w->arm(0);
		w->fail_nth = 0;
	}
	free(block);
}

void begin(struct client *c, enum stun_method m)
{
	uint8_t tid[STUN_TID_LEN] = { 0 };

	store_be32(tid, ++c->tids);
	store_be16(tid + 4, addr_port(&c->path.client));
	stun_begin(&c->sw, c->request, sizeof c->request, m, STUN_REQUEST, tid);
}

static struct stun_key *key_of(const struct client *c)
{
	struct stun_key *k = NULL;
	enum stun_mac mac = c->alg == STUN_ALG_SHA256 ? STUN_MAC_SHA256 : STUN_MAC_SHA1;

	assert_int_equal(stun_key_long_term(c->alg, mac, text_of(c->user), text_of(c->realm),
					    text_of(c->password), &k),
			 0);
	return k;
}

static void sign(struct client *c)
{
	uint8_t hash[STUN_USERHASH_LEN];
	struct stun_key *k = key_of(c);

	if (c->userhash) {
		stun_userhash(text_of(c->user), text_of(c->realm), hash);
		stun_put(&c->sw, STUN_A_USERHASH, hash, sizeof hash);
	} else {
		stun_put_text(&c->sw, STUN_A_USERNAME, text_of(c->user));
	}
	stun_put_text(&c->sw, STUN_A_REALM, text_of(c->realm));
	stun_put_text(&c->sw, STUN_A_NONCE, text_of(c->nonce));
	if (c->alg == STUN_ALG_SHA256) {
		stun_put_password_algorithms(&c->sw);
		stun_put_password_algorithm(&c->sw, STUN_ALG_SHA256);
	}
	stun_put_integrity(&c->sw, k);
	stun_key_free(k);
}

/* The answer is the last thing sent, for this request, and signed if the request was accepted. */
static unsigned read_answer(struct client *c)
{
	struct sent s;
	unsigned code = 0;
	struct text reason;

	if (c->w->n_queue == 0)
		return NO_ANSWER;
	assert_true(take(c->w, &s));
	assert_false(s.to_peer);
	assert_true(addr_equal(&s.to, &c->path.client));
	assert_true(s.n <= sizeof c->answer);
	memcpy(c->answer, s.data, s.n);
	c->answer_n = s.n;
	free(s.data);
	assert_int_equal(stun_parse(c->answer, c->answer_n, &c->m), STUN_OK);
	assert_memory_equal(c->m.tid, c->request + 8, STUN_TID_LEN);
	if (c->m.class == STUN_ERROR)
		assert_int_equal(stun_get_error(&c->m, &code, &reason), 0);
	if (c->m.class == STUN_SUCCESS && c->m.method != STUN_BINDING) {
		struct stun_key *k = key_of(c);
		assert_true(stun_check_integrity(&c->m, k));
		stun_key_free(k);
	}
	return code;
}

unsigned late_answer(struct client *c)
{
	return read_answer(c);
}

static void read_challenge(struct client *c)
{
	struct text realm, nonce;

	if (stun_get_text(&c->m, STUN_A_REALM, &realm) < 0 ||
	    stun_get_text(&c->m, STUN_A_NONCE, &nonce) < 0)
		return;
	snprintf(c->realm, sizeof c->realm, "%.*s", TEXT_FMT(realm));
	snprintf(c->nonce, sizeof c->nonce, "%.*s", TEXT_FMT(nonce));
}

unsigned ask(struct client *c)
{
	ssize_t n;

	if (c->nonce[0] && !c->unsigned_next)
		sign(c);
	c->unsigned_next = false;
	if (c->fingerprint)
		stun_put_fingerprint(&c->sw);
	n = stun_end(&c->sw);
	assert_true(n > 0);
	c->request_n = (size_t)n;
	return ask_again(c);
}

unsigned ask_again(struct client *c)
{
	hand_over(c, c->request, c->request_n);
	unsigned code = read_answer(c);
	if (code == 401 || code == 438)
		read_challenge(c);
	return code;
}

unsigned raw(struct client *c, const void *p, size_t n)
{
	memcpy(c->request, p, MIN(n, sizeof c->request));
	hand_over(c, p, n);
	return read_answer(c);
}

unsigned handshake(struct client *c)
{
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	c->unsigned_next = true;
	return ask(c);
}

unsigned read_allocation(struct client *c, unsigned code)
{
	size_t it = 0;
	struct addr a;

	if (code != 0)
		return code;
	c->relay = c->relay6 = (struct addr){ 0 };
	while (stun_next_addr(&c->m, STUN_A_XOR_RELAYED_ADDRESS, &it, &a) == 0)
		*(addr_family(&a) == AF_INET6 ? &c->relay6 : &c->relay) = a;
	assert_int_equal(stun_get_addr(&c->m, STUN_A_XOR_MAPPED_ADDRESS, &c->mapped), 0);
	assert_int_equal(stun_get_u32(&c->m, STUN_A_LIFETIME, &c->lifetime), 0);
	c->has_token = stun_has(&c->m, STUN_A_RESERVATION_TOKEN);
	if (c->has_token)
		memcpy(c->token, c->m.attr[STUN_A_RESERVATION_TOKEN].p, sizeof c->token);
	return 0;
}

unsigned allocate_family(struct client *c, unsigned family)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	if (family)
		stun_put_u32(&c->sw, STUN_A_REQUESTED_ADDRESS_FAMILY, family << 24);
	return read_allocation(c, ask(c));
}

unsigned allocate(struct client *c)
{
	return allocate_family(c, 0);
}

unsigned allocate_both(struct client *c)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_u32(&c->sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
	return read_allocation(c, ask(c));
}

unsigned refresh(struct client *c, int64_t lifetime)
{
	begin(c, STUN_REFRESH);
	if (lifetime >= 0)
		stun_put_u32(&c->sw, STUN_A_LIFETIME, (uint32_t)lifetime);
	unsigned code = ask(c);
	if (code == 0)
		assert_int_equal(stun_get_u32(&c->m, STUN_A_LIFETIME, &c->lifetime), 0);
	return code;
}

unsigned refresh_family(struct client *c, unsigned family, uint32_t lifetime_s)
{
	begin(c, STUN_REFRESH);
	stun_put_u32(&c->sw, STUN_A_LIFETIME, lifetime_s);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_ADDRESS_FAMILY, family << 24);
	unsigned code = ask(c);
	if (code == 0)
		assert_int_equal(stun_get_u32(&c->m, STUN_A_LIFETIME, &c->lifetime), 0);
	return code;
}

unsigned permit(struct client *c, const char *peer)
{
	struct addr a = address(peer);

	begin(c, STUN_CREATE_PERMISSION);
	stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &a);
	return ask(c);
}

unsigned bind_channel(struct client *c, unsigned number, const char *peer)
{
	struct addr a = address(peer);

	begin(c, STUN_CHANNEL_BIND);
	stun_put_u32(&c->sw, STUN_A_CHANNEL_NUMBER, number << 16);
	stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &a);
	return ask(c);
}

void send_to(struct client *c, const char *peer, const char *text)
{
	uint8_t buf[2048];
	static const uint8_t tid[STUN_TID_LEN] = { 7 };
	struct addr a = address(peer);
	struct stun_writer sw;

	stun_begin(&sw, buf, sizeof buf, STUN_SEND, STUN_INDICATION, tid);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &a);
	stun_put(&sw, STUN_A_DATA, text, strlen(text));
	ssize_t n = stun_end(&sw);
	assert_true(n > 0);
	hand_over(c, buf, (size_t)n);
}

void channel_data(struct client *c, unsigned number, const char *text)
{
	uint8_t buf[2048] = { 0 };
	size_t n = strlen(text);

	store_be16(buf, (uint16_t)number);
	store_be16(buf + 2, (uint16_t)n);
	memcpy(buf + 4, text, n);
	n += 4;
	if (c->path.transport->stream)
		n = (n + 3) & ~(size_t)3;
	hand_over(c, buf, n);
}

/* ---- peers ---- */

struct turn_relay *relay_at(struct world *w, const struct addr *at)
{
	list_for_each (it, &w->relays) {
		struct turn_relay *r = list_entry(it, struct turn_relay, node);
		if (addr_equal(&r->at, at))
			return r;
	}
	fail_msg("no such relay socket");
	return NULL;
}

void icmp_error(struct world *w, const struct addr *relay, const struct dgram_error *e)
{
	turn_peer_error(relay_at(w, relay)->alloc, e, w->now);
}

void peer_sends(struct world *w, const struct addr *relay, const char *peer,
		const struct turn_packet *pk)
{
	struct addr from = address(peer);

	turn_peer_input(relay_at(w, relay)->alloc, &from, pk, w->now);
}

void peer_says(struct world *w, const struct addr *relay, const char *peer, const char *text)
{
	size_t n = strlen(text);
	uint8_t *block = malloc(4 + n);

	assert_non_null(block);
	memcpy(block + 4, text, n);
	peer_sends(w, relay, peer,
		   &(struct turn_packet){
			   .data = block + 4, .n = n, .mark = DGRAM_MARK_NONE, .headroom = true });
	free(block);
}

/* ---- what must have come of it ---- */

void assert_silence(struct world *w)
{
	assert_int_equal(w->n_queue, 0);
}

void assert_peer_got(struct world *w, const char *peer, const char *text)
{
	struct sent s;
	struct addr to = address(peer);

	assert_true(take(w, &s));
	assert_true(s.to_peer);
	assert_true(addr_equal(&s.to, &to));
	assert_int_equal(s.n, strlen(text));
	assert_memory_equal(s.data, text, s.n);
	free(s.data);
}

void assert_client_got(struct client *c, const char *peer, const char *text)
{
	struct sent s;
	struct stun_msg m;
	struct addr from, expected = address(peer);

	assert_true(take(c->w, &s));
	assert_false(s.to_peer);
	assert_true(addr_equal(&s.to, &c->path.client));
	assert_int_equal(stun_parse(s.data, s.n, &m), STUN_OK);
	assert_int_equal(m.type, stun_type(STUN_DATA, STUN_INDICATION));
	assert_int_equal(stun_get_addr(&m, STUN_A_XOR_PEER_ADDRESS, &from), 0);
	assert_true(addr_equal(&from, &expected));
	assert_int_equal(m.attr[STUN_A_DATA].n, strlen(text));
	assert_memory_equal(m.attr[STUN_A_DATA].p, text, strlen(text));
	free(s.data);
}

void assert_channel_got(struct client *c, unsigned number, const char *text)
{
	struct sent s;
	size_t n = strlen(text), total = c->path.transport->stream ? (4 + n + 3) & ~(size_t)3 : 4 + n;

	assert_true(take(c->w, &s));
	assert_false(s.to_peer);
	assert_true(addr_equal(&s.to, &c->path.client));
	assert_int_equal(s.n, total);
	assert_int_equal(load_be16(s.data), number);
	assert_int_equal(load_be16(s.data + 2), n);
	assert_memory_equal(s.data + 4, text, n);
	for (size_t i = 4 + n; i < total; i++)
		assert_int_equal(s.data[i], 0);
	free(s.data);
}
