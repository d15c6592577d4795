/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of a lease; see port_lease.h. PCP is asked first and, where it has not answered at once, NAT-PMP beside it; who grants
 * first is kept to. NAT-PMP tells the port and the address in two answers. A slow router may have opened it by both, for the later
 * one then, and refuses the other to close it: so it is given back by each that was asked.
 *
 * Timer: one. While asking, the next repetition (100 ms, doubling: RFC 6886 3.1 begins with 250) until PORT_LEASE_SILENT_MS; then
 * again after AGAIN_MS. While open, half of the lifetime, and the repetitions of the renewal until it is over.
 */
#include "tunnel/direct/port_lease.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"

enum { FIRST_MS = 100, AGAIN_MS = 600000, RENEW_MS = 5000, EPOCH_SLACK_S = 10, LIFETIME_MIN_S = 60, LIFETIME_MAX_S = 86400 };

struct port_lease {
	struct port_lease_options o;
	struct timer timer;
	struct portmap_wish wish;
	enum { ASKING, OPEN, RESTING } state;
	bool settled; /* protocol is the one that granted */
	bool asked[2]; /* by protocol, ever */
	enum portmap_protocol protocol;
	uint64_t asked_at, wait_ms, granted_at, ends_at;
	struct addr outside; /* while OPEN */
	struct addr natpmp_address; /* as told; AF_UNSPEC: not yet */
	uint16_t natpmp_port;
	uint32_t natpmp_lifetime_s;
	uint32_t epoch_s;
	unsigned refused; /* the last refusal's result */
};

static void send_wish(struct port_lease *l, enum portmap_protocol p)
{
	uint8_t buf[PORTMAP_REQUEST_MAX];
	size_t n = portmap_map(p, &l->wish, buf);

	if (!n)
		return;
	l->asked[p] = true;
	l->o.ops->send(buf, n, l->o.arg);
	if (p == PORTMAP_NATPMP && l->wish.lifetime_s && addr_family(&l->natpmp_address) == AF_UNSPEC)
		l->o.ops->send(buf, portmap_ask(PORTMAP_NATPMP, &l->wish.inside, buf), l->o.arg);
}

static void ask(struct port_lease *l, uint64_t now)
{
	if (l->settled)
		send_wish(l, l->protocol);
	else {
		send_wish(l, PORTMAP_PCP);
		if (now != l->asked_at)
			send_wish(l, PORTMAP_NATPMP);
	}
}

static void begin_to_ask(struct port_lease *l, uint64_t now)
{
	l->state = ASKING;
	l->settled = false;
	l->asked_at = now;
	l->wait_ms = FIRST_MS;
	l->natpmp_address = (struct addr){ 0 };
	l->natpmp_port = 0;
	l->refused = 0;
	ask(l, now);
	timers_set(l->o.timers, &l->timer, now + l->wait_ms);
}

static void tell_closed(struct port_lease *l, uint64_t now)
{
	l->state = RESTING;
	timers_set(l->o.timers, &l->timer, now + AGAIN_MS);
	l->o.ops->changed(NULL, l->refused ? portmap_result_text(l->refused) : "the router answers neither PCP nor NAT-PMP", l->o.arg);
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct port_lease *l = container_of(t, struct port_lease, timer);

	if (l->state == RESTING)
		begin_to_ask(l, now);
	else if (l->state == OPEN && now >= l->ends_at) {
		begin_to_ask(l, now);
		l->o.ops->changed(NULL, "the router has not renewed it", l->o.arg);
	} else if (l->state == OPEN) {
		send_wish(l, l->protocol);
		timers_set(l->o.timers, &l->timer, MIN(now + RENEW_MS, l->ends_at));
	} else if (now - l->asked_at >= PORT_LEASE_SILENT_MS)
		tell_closed(l, now);
	else {
		ask(l, now);
		l->wait_ms *= 2;
		timers_set(l->o.timers, &l->timer, MIN(now + l->wait_ms, l->asked_at + PORT_LEASE_SILENT_MS));
	}
}

static void take_grant(struct port_lease *l, enum portmap_protocol p, const struct addr *outside, const struct portmap_answer *a,
		       uint64_t now)
{
	uint64_t lifetime_ms = (uint64_t)MIN(MAX(a->lifetime_s, LIFETIME_MIN_S), LIFETIME_MAX_S) * 1000;
	bool is_new = l->state != OPEN || !addr_equal(outside, &l->outside);

	l->state = OPEN;
	l->settled = true;
	l->protocol = p;
	l->outside = *outside;
	l->wish.outside_port = addr_port(outside); /* the same again, please */
	l->granted_at = now;
	l->ends_at = now + lifetime_ms;
	l->epoch_s = a->epoch_s;
	timers_set(l->o.timers, &l->timer, now + lifetime_ms / 2);
	if (is_new)
		l->o.ops->changed(&l->outside, p == PORTMAP_PCP ? "PCP" : "NAT-PMP", l->o.arg);
}

static void take_natpmp(struct port_lease *l, const struct portmap_answer *a, uint64_t now)
{
	struct portmap_answer grant = *a;
	struct addr outside;

	if (a->mapping) {
		l->natpmp_port = a->outside_port;
		l->natpmp_lifetime_s = a->lifetime_s;
	} else
		l->natpmp_address = a->external;
	if (addr_family(&l->natpmp_address) == AF_UNSPEC || !l->natpmp_port)
		return;
	if (!a->mapping && l->state == OPEN)
		return;
	outside = l->natpmp_address;
	addr_set_port(&outside, l->natpmp_port);
	grant.lifetime_s = l->natpmp_lifetime_s; /* the address may have come after the port */
	take_grant(l, PORTMAP_NATPMP, &outside, &grant, now);
}

/* The router's clock says that it has forgotten everything (RFC 6887 8.5, RFC 6886 3.6). */
static bool has_restarted(const struct port_lease *l, const struct portmap_answer *a, uint64_t now)
{
	return l->state == OPEN && (uint64_t)a->epoch_s + EPOCH_SLACK_S < l->epoch_s + (now - l->granted_at) / 1000;
}

void port_lease_input(struct port_lease *l, const void *p, size_t n, uint64_t now)
{
	struct portmap_answer a;

	if (portmap_parse(p, n, &a) != 0 || l->state == RESTING || (l->settled && a.protocol != l->protocol))
		return;
	if (a.mapping && a.result == PORTMAP_SUCCESS &&
	    (a.inside_port != addr_port(&l->wish.inside) || a.tcp != l->wish.tcp || a.outside_port == 0 || a.lifetime_s == 0 ||
	     (a.protocol == PORTMAP_PCP && !bytes_equal_ct(a.nonce, l->wish.nonce, PORTMAP_NONCE))))
		return; /* of somebody else's */
	if (!a.mapping && has_restarted(l, &a, now)) {
		begin_to_ask(l, now);
		return;
	}
	if (a.result != PORTMAP_SUCCESS) {
		l->refused = a.result;
		return; /* the other protocol may still grant it */
	}
	if (a.protocol == PORTMAP_NATPMP)
		take_natpmp(l, &a, now);
	else if (a.mapping)
		take_grant(l, PORTMAP_PCP, &a.external, &a, now);
}

int port_lease_new(const struct port_lease_options *o, uint64_t now, struct port_lease **ret_l)
{
	struct port_lease *l = calloc(1, sizeof *l);

	if (!l)
		return -ENOMEM;
	l->o = *o;
	l->wish = (struct portmap_wish){ .inside = o->inside, .tcp = o->tcp, .outside_port = addr_port(&o->inside),
					 .lifetime_s = PORT_LEASE_S };
	l->timer.fire = on_timer;
	if (bytes_random(l->wish.nonce, sizeof l->wish.nonce) != 0) {
		free(l);
		return -EIO;
	}
	begin_to_ask(l, now);
	*ret_l = l;
	return 0;
}

struct port_lease *port_lease_free(struct port_lease *l)
{
	if (!l)
		return NULL;
	timer_stop(&l->timer);
	l->wish.lifetime_s = 0;
	for (enum portmap_protocol p = 0; l->state != RESTING && p < ARRAY_LEN(l->asked); p++)
		if (l->asked[p])
			send_wish(l, p);
	free(l);
	return NULL;
}
