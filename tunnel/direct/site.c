/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round of samples, and what is remembered; see site.h. First socket 0 asks all servers: who answers first is target 0, its other
 * address (RFC 5780) or another server that answers is target 1. Then each socket asks both.
 *
 * After a round how the NAT filters and how long its bindings live are studied in the background (stun/nat_check.h), unless that is known
 * of this public address and not old.
 *
 * Timers: one, each REPEAT_MS, repeats what has not been answered; the round ends when all is, or after ROUND_MS. study_at: a study begins,
 * a while after a round, so that it is out of the way of a link that is being made.
 */
#include "tunnel/direct/site.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common/bytes.h"
#include "stun/msg.h"
#include "stun/nat_check.h"

enum {
	REPEAT_MS = 200,
	HELLO_MS = 900,
	COMPARE_MS = 200, /* how long the first answer waits for another server's, if it has no other address */
	SAMPLE_MS = 1000,
	REMEMBERED = 16,
	STUDY_AFTER_MS = 20000,
	STUDY_LIFETIME_MS = 150000, /* bindings that live longer need no more attention than keep-alives give */
	STUDY_OLD_S = 7 * 86400,
};

struct probe_socket {
	struct io io;
	struct site *s;
};
struct remembered {
	struct addr public;
	uint16_t low, high;
	enum site_mapping mapping;
	int64_t seen_at;
	/* Of a study; studied_at 0: there was none */
	int64_t studied_at;
	enum nat_filtering filtering;
	uint32_t lifetime_min_s, lifetime_max_s; /* 0 and 0: not measured; max 0: longer than was waited for */
};

struct site {
	struct loop *loop;
	struct ice_settings settings;
	struct list watches;
	struct probe_socket sockets[SITE_NAT_SOCKETS];
	enum { RESTING, GREETING, SAMPLING } phase;
	struct timer timer;
	uint64_t phase_began, first_answer;
	uint8_t tid[STUN_TID_LEN]; /* random; socket and target stand in the last two bytes */
	struct addr target[SITE_NAT_TARGETS];
	struct site_samples samples;
	struct site_nat nat;
	bool known, again;
	struct remembered memory[REMEMBERED]; /* the first is that of now */
	unsigned n_memory;
	struct timer study_at;
	struct nat_check *study;
};

/* ---- memory: a line for each public address, the latest first ---- */

/* " 2 30 45 1764370000": filtering, bounds of a binding's life in s, when that was studied. */
static void recall_study(struct remembered *m, struct text line)
{
	struct text filtering = text_cut(&line, ' '), low = text_cut(&line, ' '), high = text_cut(&line, ' ');
	uint64_t f, l, h, at;

	if (text_u64(filtering, &f) != 0 || text_u64(low, &l) != 0 || text_u64(high, &h) != 0 || text_u64(line, &at) != 0 || f >= NAT_FILTERINGS ||
	    l > UINT32_MAX || h > UINT32_MAX || at > INT64_MAX)
		return;
	m->filtering = (enum nat_filtering)f;
	m->lifetime_min_s = (uint32_t)l;
	m->lifetime_max_s = (uint32_t)h;
	m->studied_at = (int64_t)at;
}

static void recall_line(struct site *s, struct text line)
{
	struct text ip = text_cut(&line, ' '), mapping = text_cut(&line, ' '), low = text_cut(&line, ' '), high = text_cut(&line, ' ');
	struct text seen = text_cut(&line, ' ');
	struct remembered *m = &s->memory[s->n_memory];
	uint64_t l, h, at;

	if (s->n_memory == REMEMBERED || addr_parse(ip, 0, &m->public) != 0 || text_u64(low, &l) != 0 || text_u64(high, &h) != 0 ||
	    text_u64(seen, &at) != 0 || l > h || h > 65535 || at > INT64_MAX)
		return;
	recall_study(m, line);
	m->mapping = text_eq(mapping, TEXT("varies")) ? SITE_VARIES : SITE_ENDPOINT;
	m->low = (uint16_t)l;
	m->high = (uint16_t)h;
	m->seen_at = (int64_t)at;
	s->n_memory++;
}

static void recall(struct site *s, struct text memory)
{
	while (memory.p)
		recall_line(s, text_cut(&memory, '\n'));
	if (s->n_memory) {
		const struct remembered *m = &s->memory[0];
		s->nat = (struct site_nat){ .mapping = m->mapping, .public = m->public, .low = m->low, .high = m->high };
	}
}

static void tell_memory(struct site *s)
{
	char text[REMEMBERED * 128], ip[ADDR_STRLEN];
	struct sb b = sb_init(text, sizeof text);

	for (unsigned i = 0; i < s->n_memory; i++) {
		const struct remembered *m = &s->memory[i];
		sb_fmt(&b, "%s %s %u %u %lld %u %u %u %lld\n", addr_print_ip(&m->public, ip), site_mapping_name(m->mapping), m->low, m->high,
		       (long long)m->seen_at, (unsigned)m->filtering, m->lifetime_min_s, m->lifetime_max_s, (long long)m->studied_at);
	}
	if (s->settings.on_memory)
		s->settings.on_memory((struct text){ text, b.n }, s->settings.arg);
}

/* To the front of the list; an earlier block of the same address widens this one, unless ports follow in steps. */
static void remember(struct site *s)
{
	struct remembered m = { .public = s->nat.public, .low = s->nat.low, .high = s->nat.high, .mapping = s->nat.mapping,
				.seen_at = (int64_t)time(NULL) };
	unsigned i = 0;

	if (s->nat.mapping == SITE_UNKNOWN)
		return;
	while (i < s->n_memory && !addr_equal_ip(&s->memory[i].public, &m.public))
		i++;
	if (i < s->n_memory) {
		m.studied_at = s->memory[i].studied_at;
		m.filtering = s->memory[i].filtering;
		m.lifetime_min_s = s->memory[i].lifetime_min_s;
		m.lifetime_max_s = s->memory[i].lifetime_max_s;
	}
	if (i < s->n_memory && s->memory[i].mapping == SITE_VARIES && m.mapping == SITE_VARIES && s->nat.step == 0) {
		s->nat.low = m.low = MIN(m.low, s->memory[i].low);
		s->nat.high = m.high = MAX(m.high, s->memory[i].high);
	}
	if (i == s->n_memory)
		s->n_memory = MIN(s->n_memory + 1, REMEMBERED);
	i = MIN(i, REMEMBERED - 1);
	memmove(&s->memory[1], &s->memory[0], i * sizeof s->memory[0]);
	s->memory[0] = m;
	tell_memory(s);
}

/* ---- a study ---- */

static void on_studied(const struct nat_result *r, void *arg)
{
	struct site *s = arg;
	struct remembered *m = &s->memory[0];

	if (r->error == 0 && r->answered && s->n_memory && addr_equal_ip(&m->public, &r->mapped)) {
		m->studied_at = (int64_t)time(NULL);
		m->filtering = r->filtering;
		m->lifetime_min_s = (uint32_t)(r->lifetime_min_ms / 1000);
		m->lifetime_max_s = r->lifetime_max_ms == TIMERS_NEVER ? 0 : (uint32_t)(r->lifetime_max_ms / 1000);
		tell_memory(s);
	}
	s->study = nat_check_free(s->study);
}

static void on_study_at(struct timer *t, uint64_t now)
{
	struct site *s = container_of(t, struct site, study_at);

	(void)now;
	if (s->phase == RESTING && !s->study && addr_family(&s->target[0]) != AF_UNSPEC)
		(void)nat_check_new(&(struct nat_check_options){ .loop = s->loop,
								 .server = s->target[0],
								 .lifetime_ms = STUDY_LIFETIME_MS,
								 .done = on_studied,
								 .arg = s },
				    &s->study);
}

/* Of the public address of now, if it is not known or old; with a server that can tell. */
static void study_later(struct site *s)
{
	bool known = s->n_memory && s->memory[0].studied_at && time(NULL) - s->memory[0].studied_at < STUDY_OLD_S;

	if (known || s->study || s->nat.mapping == SITE_UNKNOWN || addr_family(&s->target[1]) == AF_UNSPEC)
		return;
	s->study_at.fire = on_study_at;
	loop_timer_set(s->loop, &s->study_at, s->settings.study_after_ms ? s->settings.study_after_ms : STUDY_AFTER_MS);
}

/* ---- a round ---- */

static void end_round(struct site *s)
{
	s->phase = RESTING;
	timer_stop(&s->timer);
	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++) {
		struct probe_socket *p = &s->sockets[i];
		io_stop(&p->io);
		if (p->io.fd >= 0)
			close(p->io.fd);
		p->io.fd = -1;
	}
	s->nat = site_nat_judge(&s->samples);
	s->known = true;
	remember(s);
	study_later(s);
	list_for_each_safe(it, &s->watches)
		list_entry(it, struct site_watch, node)->changed(list_entry(it, struct site_watch, node));
	if (s->again) {
		s->again = false;
		site_ask(s);
	}
}

static void ask(struct site *s, unsigned socket, unsigned target, const struct addr *to)
{
	uint8_t buf[64], tid[STUN_TID_LEN];
	struct stun_writer sw;
	ssize_t n;

	memcpy(tid, s->tid, sizeof tid);
	tid[STUN_TID_LEN - 2] = (uint8_t)socket;
	tid[STUN_TID_LEN - 1] = (uint8_t)target;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	if ((n = stun_end(&sw)) > 0)
		(void)!sendto(s->sockets[socket].io.fd, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, addr_len(to));
}

static void ask_what_is_missing(struct site *s)
{
	if (s->phase == GREETING) {
		for (size_t i = 0; i < s->settings.n_stun; i++)
			if (addr_family(&s->settings.stun[i]) == AF_INET)
				ask(s, 0, (unsigned)i, &s->settings.stun[i]);
		return;
	}
	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++)
		for (unsigned j = 0; j < SITE_NAT_TARGETS; j++)
			if (addr_family(&s->samples.mapped[i][j]) == AF_UNSPEC)
				ask(s, i, j, &s->target[j]);
}

static void begin_phase(struct site *s, int phase)
{
	s->phase = phase;
	s->phase_began = loop_now(s->loop);
	ask_what_is_missing(s);
	loop_timer_set(s->loop, &s->timer, REPEAT_MS);
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct site *s = container_of(t, struct site, timer);
	uint64_t limit = s->phase == GREETING ? HELLO_MS : SAMPLE_MS;

	if (now - s->phase_began >= limit || (s->phase == GREETING && s->first_answer && now - s->first_answer >= COMPARE_MS)) {
		end_round(s); /* one server with one address tells nothing about the mapping */
		return;
	}
	ask_what_is_missing(s);
	loop_timer_set(s->loop, &s->timer, REPEAT_MS);
}

static void take_greeting(struct site *s, const struct addr *from, const struct stun_msg *m)
{
	struct addr other;

	if (addr_family(&s->target[0]) == AF_UNSPEC) {
		s->target[0] = *from;
		s->first_answer = loop_now(s->loop);
		if (stun_get_addr(m, STUN_A_OTHER_ADDRESS, &other) == 0 && addr_family(&other) == AF_INET && !addr_equal_ip(&other, from))
			s->target[1] = other;
	} else if (!addr_equal_ip(&s->target[0], from))
		s->target[1] = *from;
	if (addr_family(&s->target[1]) != AF_UNSPEC)
		begin_phase(s, SAMPLING);
}

static void take_sample(struct site *s, unsigned socket, const struct stun_msg *m)
{
	unsigned i = m->tid[STUN_TID_LEN - 2], j = m->tid[STUN_TID_LEN - 1];
	struct addr mapped;

	if (i != socket || j >= SITE_NAT_TARGETS || stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &mapped) != 0)
		return;
	s->samples.mapped[i][j] = mapped;
	for (i = 0; i < SITE_NAT_SOCKETS; i++)
		for (j = 0; j < SITE_NAT_TARGETS; j++)
			if (addr_family(&s->samples.mapped[i][j]) == AF_UNSPEC)
				return;
	end_round(s);
}

static void on_readable(struct io *io, int events)
{
	struct probe_socket *p = container_of(io, struct probe_socket, io);
	struct site *s = p->s;
	uint8_t buf[1500];
	struct stun_msg m;

	(void)events;
	for (unsigned i = 0; i < 16 && s->phase != RESTING && p->io.fd >= 0; i++) {
		struct addr from = { 0 };
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(io->fd, buf, sizeof buf, MSG_DONTWAIT, &from.sa, &len);
		if (n < 0)
			return;
		if (stun_parse(buf, (size_t)n, &m) != STUN_OK || m.class != STUN_SUCCESS || m.method != STUN_BINDING ||
		    memcmp(m.tid, s->tid, STUN_TID_LEN - 2) != 0)
			continue;
		if (s->phase == GREETING)
			take_greeting(s, &from, &m);
		else
			take_sample(s, (unsigned)(p - s->sockets), &m);
	}
}

static int open_sockets(struct site *s)
{
	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++) {
		struct probe_socket *p = &s->sockets[i];
		int r, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return -errno;
		p->s = s;
		p->io.fd = fd;
		if ((r = io_start(&p->io, s->loop, fd, IO_READ, on_readable)) != 0)
			return r;
	}
	return 0;
}

void site_ask(struct site *s)
{
	if (s->phase != RESTING) {
		s->again = true;
		return;
	}
	timer_stop(&s->study_at);
	s->study = nat_check_free(s->study); /* the network is another one */
	memset(&s->samples, 0, sizeof s->samples);
	memset(s->target, 0, sizeof s->target);
	s->first_answer = 0;
	if (s->settings.n_stun == 0 || open_sockets(s) != 0 || bytes_random(s->tid, sizeof s->tid) != 0) {
		s->phase = GREETING; /* nobody to ask: that is an answer too, but none within this call */
		s->phase_began = 0;
		loop_timer_set(s->loop, &s->timer, 0);
		return;
	}
	begin_phase(s, GREETING);
}

/* ---- the rest ---- */

int site_new(struct loop *l, const struct ice_settings *settings, struct site **ret_s)
{
	struct site *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->settings = *settings;
	s->timer.fire = on_timer;
	list_init(&s->watches);
	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++)
		s->sockets[i].io.fd = -1;
	recall(s, settings->memory);
	site_ask(s);
	*ret_s = s;
	return 0;
}

struct site *site_free(struct site *s)
{
	if (!s)
		return NULL;
	timer_stop(&s->timer);
	timer_stop(&s->study_at);
	nat_check_free(s->study);
	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++) {
		io_stop(&s->sockets[i].io);
		if (s->sockets[i].io.fd >= 0)
			close(s->sockets[i].io.fd);
	}
	free(s);
	return NULL;
}

void site_set(struct site *s, const struct ice_settings *settings)
{
	bool same = s->settings.n_stun == settings->n_stun;

	for (size_t i = 0; i < settings->n_stun && same; i++)
		same = addr_equal(&s->settings.stun[i], &settings->stun[i]);
	s->settings = *settings;
	if (!same)
		site_ask(s);
}

bool site_known(const struct site *s)
{
	return s->known;
}

const struct site_nat *site_nat(const struct site *s)
{
	return &s->nat;
}

void site_watch(struct site *s, struct site_watch *w)
{
	list_append(&s->watches, &w->node);
}

/* What is remembered of the public address of now. */
static const struct remembered *remembered_now(const struct site *s)
{
	return s->n_memory && addr_equal_ip(&s->memory[0].public, &s->nat.public) ? &s->memory[0] : NULL;
}

unsigned site_binding_s(const struct site *s)
{
	const struct remembered *m = remembered_now(s);

	return m && m->studied_at && m->lifetime_max_s ? MAX(m->lifetime_min_s, 1u) : 0;
}

json_t *site_show(const struct site *s)
{
	char ip[ADDR_STRLEN];
	const struct site_nat *n = &s->nat;
	const struct remembered *m = remembered_now(s);
	bool studied = m && m->studied_at;

	return json_pack("{s:s?, s:i, s:i, s:b, s:s, s:s?, s:i, s:i, s:i, s:i}", "filtering", studied ? nat_filtering_name(m->filtering) : NULL,
			 "lifetime_min_s", studied ? (int)m->lifetime_min_s : 0, "lifetime_max_s", studied ? (int)m->lifetime_max_s : 0, "asked", s->known, "mapping", site_mapping_name(n->mapping), "public",
			 addr_family(&n->public) == AF_UNSPEC ? NULL : addr_print_ip(&n->public, ip), "block_low", (int)n->low, "block_high",
			 (int)n->high, "step", n->step, "sites_remembered", (int)s->n_memory);
}
