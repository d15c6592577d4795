/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When an attempt probes (prober.h), and what the two ends tell each other for it: a line "nat:…" (site_nat.h) beside the candidates.
 * The end whose ports vary is the hard one, the end with one port for all the easy one; two of a kind have nothing to probe: two
 * easy ones meet by ICE, two hard ones do not meet.
 *
 * Timer: first for the line, which waits a moment for this site's samples; then GRACE_MS in which ICE may do without us.
 */
#include <stdio.h>
#include "tunnel/direct/ice_priv.h"

enum { LINE_MS = 1500, GRACE_MS = 1000 };

static struct ice_try *owner_of(struct ice_raw *r)
{
	return container_of(r, struct ice_try, raw);
}

/* ---- our line ---- */

static void tell_line(struct ice_try *t, uint16_t probe_port)
{
	struct ice_raw *r = &t->raw;
	char line[SITE_NAT_STRLEN];

	if (r->own_known || t->told_all)
		return;
	r->own = *site_nat(t->ice->site);
	r->own.probe_port = probe_port;
	r->own_known = true;
	site_nat_print(&r->own, line);
	if (r->peer_known)
		loop_timer_set(t->loop, &r->timer, GRACE_MS);
	t->o.ops->on_line(t, line, t->o.arg);
}

static void on_placed(const struct addr *outside, void *arg)
{
	tell_line(arg, addr_port(outside));
}

static void on_done(int fd, const struct addr *local, const struct addr *peer, void *arg)
{
	struct ice_try *t = arg;
	struct ice_part *p = &t->parts[PART_RAW];
	struct ice_path path;

	if (fd < 0) {
		ice_part_lose(p);
		return;
	}
	path = (struct ice_path){ .kind = ICE_RAW, .fd = fd, .local = *local, .remote = *peer, .local_type = CANDIDATE_PRFLX,
				  .remote_type = CANDIDATE_PRFLX };
	p->state = ICE_CONNECTED;
	loop_timer_set(t->loop, &t->raw.timer, 0); /* the new state, in a turn of its own */
	ice_part_path(p, &path);
}

static const struct raw_ops raw_ops = { on_placed, on_done };

static void open_raw(struct ice_try *t, enum prober_role role)
{
	struct raw_options o = { .loop = t->loop, .ops = &raw_ops, .arg = t, .role = role, .stun = *ice_stun_server(&t->s) };

	if (t->raw.raw || raw_new(&o, &t->raw.raw) != 0)
		t->raw.wanted = t->raw.raw != NULL;
}

static void on_site(struct site_watch *w)
{
	struct ice_raw *r = container_of(w, struct ice_raw, watch);
	struct ice_try *t = owner_of(r);

	list_unlink(&w->node);
	if (site_nat(t->ice->site)->mapping == SITE_ENDPOINT && !t->told_all)
		open_raw(t, PROBER_EASY); /* its line comes when the socket's place is known */
	else
		loop_timer_set(t->loop, &r->timer, 0);
}

/* ---- the probe ---- */

static void begin_probe(struct ice_try *t)
{
	struct ice_raw *r = &t->raw;
	struct ice_part *p = &t->parts[PART_RAW];
	struct prober_options o = { .ufrag = t->ufrag, .pwd = t->pwd, .peer_ufrag = t->peer_ufrag, .peer_pwd = t->peer_pwd,
				    .peer = r->peer.public, .low = r->peer.low, .high = r->peer.high };
	bool hard = r->own.mapping == SITE_VARIES && r->peer.mapping == SITE_ENDPOINT && r->peer.probe_port;
	bool easy = r->own.mapping == SITE_ENDPOINT && r->peer.mapping == SITE_VARIES && r->own.probe_port;

	if (p->on || t->state == ICE_FAILED || t->parts[PART_DIRECT].has_path || !t->has_remote || !(hard || easy))
		return;
	addr_set_port(&o.peer, r->peer.probe_port);
	if (hard)
		open_raw(t, PROBER_HARD);
	if (r->raw && raw_probe(r->raw, &o) == 0) {
		p->on = true;
		p->state = ICE_CHECKING;
	}
}

static void on_timer(struct timer *timer, uint64_t now)
{
	struct ice_raw *r = container_of(timer, struct ice_raw, timer);
	struct ice_try *t = owner_of(r);

	(void)now;
	if (t->parts[PART_RAW].has_path) {
		ice_judge_state(t);
		return;
	}
	if (r->own_known && r->peer_known) {
		begin_probe(t);
		return;
	}
	if (!r->own_known && site_known(t->ice->site) && site_nat(t->ice->site)->mapping != SITE_ENDPOINT) {
		loop_timer_set(t->loop, &r->timer, 0); /* the end of our lines, in a turn of its own */
		tell_line(t, 0);
		return;
	}
	r->wanted = r->own_known; /* else the samples have not come in time: this attempt does without */
	ice_tell_end(t);
}

int ice_raw_line(struct ice_try *t, const char *line)
{
	struct ice_raw *r = &t->raw;
	struct site_nat peer;
	struct candidate_policy policy = { .loopback = t->s.loopback };
	struct candidate at = { .component = CANDIDATE_DIRECT, .priority = 1 };

	if (r->peer_known || site_nat_parse((struct text){ line, strnlen(line, SITE_NAT_STRLEN) }, &peer) != 0)
		return CANDIDATE_BAD_SYNTAX;
	at.addr = peer.public;
	addr_set_port(&at.addr, 1024);
	if (addr_family(&at.addr) != AF_UNSPEC && candidate_judge(&at, &policy) != CANDIDATE_TAKEN)
		return candidate_judge(&at, &policy);
	r->peer = peer;
	r->peer_known = true;
	if (r->own_known && r->wanted)
		loop_timer_set(t->loop, &r->timer, GRACE_MS);
	return 0;
}

/* ---- begin, end, words ---- */

void ice_raw_begin(struct ice_try *t)
{
	struct ice_raw *r = &t->raw;

	if (t->s.no_probing || !t->parts[PART_DIRECT].on || addr_family(ice_stun_server(&t->s)) == AF_UNSPEC)
		return;
	r->wanted = true;
	r->watch.changed = on_site;
	r->timer.fire = on_timer;
	if (site_known(t->ice->site))
		on_site(&r->watch);
	else
		site_watch(t->ice->site, &r->watch);
	if (!timer_is_set(&r->timer))
		loop_timer_set(t->loop, &r->timer, LINE_MS);
}

void ice_raw_end(struct ice_try *t)
{
	list_unlink(&t->raw.watch.node);
	timer_stop(&t->raw.timer);
	t->raw.raw = raw_free(t->raw.raw);
	t->raw.wanted = false;
	if (t->parts[PART_RAW].on && !t->parts[PART_RAW].has_path)
		t->parts[PART_RAW].on = false;
}

bool ice_raw_is_told(const struct ice_try *t)
{
	return !t->raw.wanted || t->raw.own_known;
}

static void say_tcp(const struct ice_try *t, struct sb *b)
{
	const struct ice_part *p = &t->parts[PART_TCP];

	if (p->on && p->state == ICE_FAILED)
		sb_fmt(b, "; TCP connections to %zu of the peer's addresses were tried too, and none came about", t->tcp.n_remotes);
	else if (p->on)
		sb_str(b, "; TCP is being tried");
	else if (t->s.no_tcp)
		sb_str(b, "; direct TCP is switched off");
}

bool ice_raw_why(const struct ice_try *t, struct sb *b)
{
	const struct ice_raw *r = &t->raw;
	enum site_mapping own = r->own_known ? r->own.mapping : SITE_ENDPOINT, peer = r->peer_known ? r->peer.mapping : SITE_ENDPOINT;

	if (own == SITE_UNKNOWN)
		sb_str(b, "no STUN server answers over UDP here: UDP is blocked in this network");
	else if (peer == SITE_UNKNOWN)
		sb_str(b, "no STUN server answers over UDP at the peer: UDP is blocked in its network");
	else if (own == SITE_VARIES && peer == SITE_VARIES)
		sb_str(b, "both ends are behind symmetric NATs, which use another port for each destination: neither can know the "
			  "other's, so only a relay remains");
	else if (t->parts[PART_RAW].on && t->parts[PART_RAW].state == ICE_FAILED)
		sb_fmt(b, "%s is behind a symmetric NAT, and %u probes of its ports have not met one that is open; they are tried "
			  "again later", own == SITE_VARIES ? "this end" : "the peer", raw_sent(r->raw));
	else if (own == SITE_VARIES || peer == SITE_VARIES)
		sb_fmt(b, "%s is behind a symmetric NAT, whose port for us is not known; %u probes have been sent so far",
		       own == SITE_VARIES ? "this end" : "the peer", r->raw ? raw_sent(r->raw) : 0);
	else
		return false;
	if (own == SITE_UNKNOWN || peer == SITE_UNKNOWN)
		say_tcp(t, b);
	return true;
}
