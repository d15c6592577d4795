/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attempt to reach a peer, as its loop sees it: lines out, lines in, paths; see ice.h. The work is done by its parts: an
 * agent of libnice without a relay, and one whose only candidates are relayed (ice_nice.h), so that a way through TURN is found
 * beside the direct one and is still there when that dies. In the lines they are components 1 and 2 of one stream.
 *
 * What a peer says is judged here (candidate.h), before libnice hears of it.
 */
#include "tunnel/direct/ice.h"
#include <errno.h>
#include <stdio.h>
#include "common/bytes.h"
#include "tunnel/direct/ice_priv.h"

enum { IPV4_BEHIND = 64 << 8 /* RFC 8445 5.1.2: so much of a priority are 64 local preferences */ };
enum { UFRAG_LEN = 8, PWD_LEN = 24, UFRAG_MIN = 4, PWD_MIN = 22 /* RFC 8839 5.4 */, PATIENCE_MS = 15000 };

/* ---- the whole ---- */

int ice_new(struct loop *l, const struct ice_settings *s, struct ice **ret_i)
{
	struct ice *i = calloc(1, sizeof *i);
	int r;

	if (!i)
		return -ENOMEM;
	i->loop = l;
	i->s = *s;
	if ((r = ice_thread_new(&i->thread)) != 0 || (r = site_new(l, s, &i->site)) != 0 ||
	    (!s->no_port_mapping && (r = port_mapper_new(l, &i->mapper)) != 0)) {
		ice_free(i);
		return r;
	}
	*ret_i = i;
	return 0;
}

struct ice *ice_free(struct ice *i)
{
	if (!i)
		return NULL;
	port_mapper_free(i->mapper);
	site_free(i->site);
	ice_thread_free(i->thread);
	bytes_wipe(&i->s, sizeof i->s);
	free(i);
	return NULL;
}

int ice_set(struct ice *i, const struct ice_settings *s)
{
	i->s = *s;
	site_set(i->site, s);
	return s->no_port_mapping || i->mapper ? 0 : port_mapper_new(i->loop, &i->mapper);
}

const char *ice_kind_name(enum ice_kind k)
{
	static const char *const names[] = { "direct", "raw", "tcp", "turn" };

	return k < ICE_KINDS ? names[k] : "?";
}

/* ---- what its parts tell ---- */

/* Of all of it. Tail call: the attempt may be freed in it. */
void ice_judge_state(struct ice_try *t)
{
	bool connected = false, failed = true, checking = false;
	enum ice_state s;

	for (unsigned i = 0; i < PARTS; i++) {
		const struct ice_part *p = &t->parts[i];
		if (!p->on)
			continue;
		connected |= p->has_path;
		failed &= p->state == ICE_FAILED;
		checking |= p->state == ICE_CHECKING;
	}
	s = connected ? ICE_CONNECTED : failed ? ICE_FAILED : checking ? ICE_CHECKING : t->state;
	if (s == t->state || t->state == ICE_FAILED)
		return;
	t->state = s;
	t->o.ops->on_state(t, s, t->o.arg);
}

static void on_candidate(const struct candidate *c, void *owner)
{
	struct ice_try *t = ((struct ice_part *)owner)->t;
	char line[CANDIDATE_STRLEN];

	if (t->n_local == CANDIDATES_MAX || (c->component == CANDIDATE_RELAYED && c->type != CANDIDATE_RELAY && t->s.n_turn > 0))
		return;
	t->local[t->n_local] = *c;
	/* IPv6 first: a pair counts as its lesser priority does, so it is enough that each side makes less of its IPv4. */
	if (c->component == CANDIDATE_DIRECT && addr_family(&c->addr) == AF_INET && c->priority > IPV4_BEHIND)
		t->local[t->n_local].priority -= IPV4_BEHIND;
	candidate_print(&t->local[t->n_local++], line);
	if (c->type == CANDIDATE_HOST && c->component == CANDIDATE_DIRECT)
		ice_ports_candidate(t, c);
	t->o.ops->on_line(t, line, t->o.arg);
}

void ice_tell_end(struct ice_try *t)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (t->parts[i].nice && !t->parts[i].gathered)
			return;
	if (t->told_all || !ice_raw_is_told(t) || !ice_ports_are_told(t) || !ice_tcp_is_told(t))
		return;
	t->told_all = true;
	t->o.ops->on_line(t, NULL, t->o.arg);
}

static void on_gathered(void *owner)
{
	struct ice_part *p = owner;

	p->gathered = true;
	ice_tell_end(p->t);
}

static unsigned rank(enum ice_kind k)
{
	static const unsigned ranks[] = { [ICE_DIRECT] = 4, [ICE_RAW] = 3, [ICE_TCP] = 2, [ICE_RELAYED] = 1 };

	return ranks[k];
}

void ice_part_path(struct ice_part *p, struct ice_path *path)
{
	struct ice_try *t = p->t;

	path->after_ms = loop_now(t->loop) - t->began;
	path->rank = rank(path->kind);
	p->has_path = true;
	p->path = *path;
	p->path.fd = -1;
	if (path->kind == ICE_DIRECT)
		ice_raw_end(t); /* no need to punch any more */
	t->o.ops->on_path(t, path, t->o.arg);
}

/* The state comes with the next mail: the attempt may have been freed. */
static void on_path(struct ice_path *path, void *owner)
{
	ice_part_path(owner, path);
}

static enum ice_kind kind_of(const struct ice_part *p)
{
	static const enum ice_kind kinds[] = { [PART_DIRECT] = ICE_DIRECT, [PART_RELAYED] = ICE_RELAYED, [PART_RAW] = ICE_RAW,
						[PART_TCP] = ICE_TCP };

	return kinds[p - p->t->parts];
}

void ice_part_lose(struct ice_part *p)
{
	struct ice_try *t = p->t;
	bool all = true;

	p->state = ICE_FAILED;
	p->has_path = false;
	for (unsigned i = 0; i < PARTS; i++)
		all &= !t->parts[i].on || t->parts[i].state == ICE_FAILED;
	if (all) {
		t->state = ICE_FAILED;
		t->o.ops->on_state(t, ICE_FAILED, t->o.arg);
	} else
		t->o.ops->on_lost(t, kind_of(p), t->o.arg);
}

static void on_part_state(enum ice_state s, void *owner)
{
	struct ice_part *p = owner;

	if (p->state == ICE_FAILED)
		return;
	if (s == ICE_FAILED) {
		ice_part_lose(p);
		return;
	}
	p->state = s;
	ice_judge_state(p->t);
}

/* Nothing has come in all that time: one part is given up now, the next in the timer's next turn. */
static void on_patience(struct timer *timer, uint64_t now)
{
	struct ice_try *t = container_of(timer, struct ice_try, patience);

	(void)now;
	for (unsigned i = 0; i < PARTS; i++) {
		struct ice_part *p = &t->parts[i];
		if (p->nice && !p->has_path && p->state != ICE_FAILED) {
			loop_timer_set(t->loop, &t->patience, 0);
			ice_part_lose(p);
			return;
		}
	}
}

/* Once the peer has told all it has. */
static void begin_to_wait(struct ice_try *t)
{
	t->patience.fire = on_patience;
	loop_timer_set(t->loop, &t->patience, t->n_remote ? PATIENCE_MS : 0);
}

static void on_data(const struct iovec *v, size_t n, void *owner)
{
	struct ice_try *t = ((struct ice_part *)owner)->t;

	if (t->o.ops->on_data)
		t->o.ops->on_data(t, v, n, t->o.arg);
}

static const struct ice_nice_ops nice_ops = { .candidate = on_candidate,
					      .gathered = on_gathered,
					      .path = on_path,
					      .state = on_part_state,
					      .data = on_data };

/* ---- an attempt ---- */

/* ice-chars, RFC 8839 5.4; a byte gives six bits. */
static int make_word(char *out, size_t n)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t random[PWD_LEN];
	int r = bytes_random(random, n);

	for (size_t i = 0; r == 0 && i < n; i++)
		out[i] = chars[random[i] & 63];
	out[n] = 0;
	return r;
}

const struct addr *ice_stun_server(const struct ice_settings *s)
{
	static const struct addr none = { .sa.sa_family = AF_UNSPEC };

	for (size_t i = 0; i < s->n_stun; i++)
		if (addr_family(&s->stun[i]) == AF_INET) /* an IPv6 host is its own server-reflexive one */
			return &s->stun[i];
	return &none;
}

static int start_part(struct ice_try *t, enum ice_part_id id)
{
	struct ice_part *p = &t->parts[id];
	struct ice_nice_options *o = calloc(1, sizeof *o);
	int r;

	if (!o)
		return -ENOMEM;
	p->on = true;
	*o = (struct ice_nice_options){ .thread = t->ice->thread, .loop = t->loop, .ops = &nice_ops, .owner = p,
					.controlling = t->o.controlling, .relay = id == PART_RELAYED, .stun = *ice_stun_server(&t->s),
					.n_turn = t->s.n_turn, .port_min = t->s.port_min, .port_max = t->s.port_max };
	memcpy(o->turn, t->s.turn, sizeof o->turn);
	memcpy(o->ufrag, t->ufrag, sizeof t->ufrag);
	memcpy(o->pwd, t->pwd, sizeof t->pwd);
	o->n_local = ice_local_addresses(&t->s, o->local);
	r = ice_nice_new(o, &p->nice);
	bytes_wipe(o, sizeof *o);
	free(o);
	return r;
}

int ice_try_new(struct ice *i, struct loop *l, const struct ice_try_options *o, struct ice_try **ret_t)
{
	_cleanup_(ice_try_freep) struct ice_try *t = calloc(1, sizeof *t);
	int r;

	if (!t)
		return -ENOMEM;
	t->ice = i;
	t->loop = l;
	t->o = *o;
	t->s = i->s;
	t->began = loop_now(l);
	if ((r = make_word(t->ufrag, UFRAG_LEN)) != 0 || (r = make_word(t->pwd, PWD_LEN)) != 0)
		return r;
	for (unsigned k = 0; k < PARTS; k++)
		t->parts[k].t = t;
	if (!o->relay_only && (r = start_part(t, PART_DIRECT)) != 0)
		return r;
	if (!o->no_relay && t->s.n_turn > 0 && (r = start_part(t, PART_RELAYED)) != 0)
		return r;
	ice_raw_begin(t);
	ice_tcp_begin(t);
	*ret_t = steal_ptr(&t);
	return 0;
}

struct ice_try *ice_try_free(struct ice_try *t)
{
	if (!t)
		return NULL;
	timer_stop(&t->patience);
	ice_raw_end(t);
	ice_tcp_end(t);
	ice_ports_end(t);
	if (t->turn)
		path_turn_gone(t->turn);
	for (unsigned i = 0; i < PARTS; i++)
		ice_nice_free(t->parts[i].nice);
	bytes_wipe(t, sizeof *t);
	free(t);
	return NULL;
}

const char *ice_try_ufrag(const struct ice_try *t)
{
	return t->ufrag;
}

const char *ice_try_pwd(const struct ice_try *t)
{
	return t->pwd;
}

/* ---- the peer ---- */

static bool is_ice_word(const char *s, size_t min, size_t max)
{
	size_t n = s ? strnlen(s, max + 1) : 0;

	if (n < min || n > max)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '+' ||
		      s[i] == '/'))
			return false;
	return true;
}

/* The peer has a TURN server, and this end has none: its own addresses meet the relayed one. */
static void meet_relay(struct ice_try *t)
{
	struct ice_part *p = &t->parts[PART_RELAYED];

	if (p->on || t->o.no_relay || start_part(t, PART_RELAYED) != 0)
		return;
	ice_nice_remote(p->nice, t->peer_ufrag, t->peer_pwd);
	if (t->peer_done)
		ice_nice_done(p->nice);
}

static void pass_on(struct ice_try *t, const struct candidate *c)
{
	struct ice_part *p = &t->parts[c->component == CANDIDATE_RELAYED ? PART_RELAYED : PART_DIRECT];

	if (c->component == CANDIDATE_RELAYED && c->type == CANDIDATE_RELAY)
		meet_relay(t);
	if (c->tcp)
		ice_tcp_candidate(t, c);
	else if (p->nice)
		ice_nice_candidate(p->nice, c);
}

static void pass_done(struct ice_try *t)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (t->parts[i].nice)
			ice_nice_done(t->parts[i].nice);
}

int ice_try_remote(struct ice_try *t, const char *ufrag, const char *pwd)
{
	if (t->has_remote || !is_ice_word(ufrag, UFRAG_MIN, ICE_UFRAG_MAX) || !is_ice_word(pwd, PWD_MIN, ICE_PWD_MAX))
		return -EINVAL;
	t->has_remote = true;
	memcpy(t->peer_ufrag, ufrag, strlen(ufrag) + 1);
	memcpy(t->peer_pwd, pwd, strlen(pwd) + 1);
	ice_tcp_met(t);
	for (unsigned i = 0; i < PARTS; i++)
		if (t->parts[i].nice)
			ice_nice_remote(t->parts[i].nice, ufrag, pwd);
	for (size_t i = 0; i < t->n_remote; i++)
		pass_on(t, &t->remote[i]);
	if (t->peer_done) {
		pass_done(t);
		begin_to_wait(t);
	}
	return 0;
}

static enum candidate_verdict judge(struct ice_try *t, const char *line, struct candidate *ret_c)
{
	struct candidate_policy policy = { .loopback = t->s.loopback };
	enum candidate_verdict v;
	int r;

	r = candidate_parse((struct text){ line, strnlen(line, CANDIDATE_LINE_MAX + 1) }, ret_c);
	if (r != 0)
		return r == -EOPNOTSUPP ? CANDIDATE_NOT_SUPPORTED : CANDIDATE_BAD_SYNTAX;
	if ((v = candidate_judge(ret_c, &policy)) != CANDIDATE_TAKEN)
		return v;
	for (size_t i = 0; i < t->n_remote; i++)
		if (t->remote[i].component == ret_c->component && candidate_same_place(&t->remote[i], ret_c))
			return CANDIDATE_TWICE;
	if (t->n_remote == CANDIDATES_MAX)
		return CANDIDATE_TOO_MANY;
	return ret_c->tcp && t->s.no_tcp ? CANDIDATE_NOT_SUPPORTED : CANDIDATE_TAKEN;
}

int ice_try_line(struct ice_try *t, const char *line)
{
	struct candidate c;
	enum candidate_verdict v;
	bool of_nat = line && strncmp(line, "nat:", 4) == 0;

	if (!line) {
		if (!t->peer_done && t->has_remote) {
			pass_done(t);
			begin_to_wait(t);
		}
		t->peer_done = true;
		return 0;
	}
	t->lines += t->lines <= ICE_LINES_MAX;
	if (t->lines > ICE_LINES_MAX)
		v = CANDIDATE_TOO_MANY;
	else if (of_nat)
		v = (enum candidate_verdict)ice_raw_line(t, line);
	else
		v = judge(t, line, &c);
	if (v != CANDIDATE_TAKEN) {
		t->refused[v]++;
		return (int)v;
	}
	if (of_nat)
		return 0;
	t->remote[t->n_remote++] = c;
	if (t->has_remote)
		pass_on(t, &c);
	return 0;
}

bool ice_try_searches(const struct ice_try *t)
{
	static const enum ice_part_id direct[] = { PART_DIRECT, PART_RAW, PART_TCP };

	for (size_t i = 0; i < ARRAY_LEN(direct); i++) {
		const struct ice_part *p = &t->parts[direct[i]];

		if (p->on && p->state != ICE_FAILED && (!p->has_path || direct[i] != PART_TCP))
			return true;
	}
	return false;
}

int ice_try_send(struct ice_try *t, const struct iovec *v, size_t n)
{
	struct ice_part *p = &t->parts[PART_RELAYED];

	return p->has_path ? ice_nice_send(p->nice, v, n) : -ENOTCONN;
}

/* ---- words ---- */

static unsigned count_kind(const struct candidate *c, size_t n, enum candidate_type type, unsigned component)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		found += c[i].type == type && c[i].component == component;
	return found;
}

static void explain_failure(const struct ice_try *t, struct sb *b)
{
	if (ice_raw_why(t, b))
		return;
	if (t->n_remote == 0)
		sb_str(b, "the peer has named no address that may be tried");
	else if (t->n_local == 0)
		sb_str(b, "this machine has no usable address");
	else if (addr_family(ice_stun_server(&t->s)) != AF_UNSPEC && count_kind(t->local, t->n_local, CANDIDATE_SRFLX, CANDIDATE_DIRECT) == 0)
		sb_str(b, "no STUN server answered over UDP, and none of the peer's addresses did: UDP is blocked here, or one of the "
			  "networks lets nothing through");
	else
		sb_str(b, "none of the peer's addresses answered: a NAT or a firewall between the two lets nothing through");
}

const char *ice_try_why(struct ice_try *t)
{
	struct sb b = sb_init(t->why, sizeof t->why);
	const struct ice_part *direct = &t->parts[PART_DIRECT];

	if (direct->has_path)
		sb_str(&b, "direct");
	else if (t->parts[PART_RAW].has_path)
		sb_str(&b, "direct, punched through a symmetric NAT");
	else if (t->parts[PART_TCP].has_path)
		sb_str(&b, "direct over TCP: UDP does not get through");
	else if (!direct->nice)
		sb_str(&b, "direct paths are switched off");
	else if (direct->state == ICE_FAILED && direct->path.rank)
		sb_str(&b, "the direct path was lost: its checks are no longer answered");
	else if (direct->state == ICE_FAILED)
		explain_failure(t, &b);
	else if (!t->has_remote)
		sb_str(&b, "the peer has not answered yet");
	else if (!ice_raw_why(t, &b))
		sb_fmt(&b, "%zu addresses of the peer are being tried", t->n_remote);
	return t->why;
}

static json_t *show_list(const struct candidate *c, size_t n)
{
	json_t *list = json_array();
	char line[CANDIDATE_STRLEN];

	for (size_t i = 0; i < n; i++) {
		candidate_print(&c[i], line);
		json_array_append_new(list, json_string(line));
	}
	return list;
}

static json_t *show_path(const struct ice_path *p)
{
	char local[ADDR_STRLEN], remote[ADDR_STRLEN];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "kind", ice_kind_name(p->kind), "local", addr_print(&p->local, local),
			 "remote", addr_print(&p->remote, remote), "local_type", candidate_type_name(p->local_type), "remote_type",
			 candidate_type_name(p->remote_type), "after_ms", (json_int_t)p->after_ms);
}

json_t *ice_try_show(struct ice_try *t)
{
	static const char *const states[] = { "gathering", "checking", "connected", "failed" };
	json_t *refused = json_object(), *paths = json_array();

	for (unsigned v = 1; v < CANDIDATE_VERDICTS; v++)
		if (t->refused[v])
			json_object_set_new(refused, candidate_verdict_key(v), json_integer(t->refused[v]));
	for (unsigned i = 0; i < PARTS; i++)
		if (t->parts[i].has_path)
			json_array_append_new(paths, show_path(&t->parts[i].path));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "state", states[t->state], "why", ice_try_why(t), "local",
			 show_list(t->local, t->n_local), "remote", show_list(t->remote, t->n_remote), "refused", refused, "paths", paths, "ports", ice_ports_show(t));
}

json_t *ice_show(const struct ice *i)
{
	return json_pack("{s:i, s:i, s:o}", "stun_servers", (int)i->s.n_stun, "turn_servers", (int)i->s.n_turn, "nat", site_show(i->site));
}

unsigned ice_binding_s(const struct ice *i)
{
	return site_binding_s(i->site);
}

void ice_network_changed(struct ice *i)
{
	site_ask(i->site);
}
