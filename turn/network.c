/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the service's picture of the network moves from one to the next: at a reload, when the machine's addresses
 * change, and when a public address is found. Each next one is made whole, compiled into a policy and handed to the
 * workers, or dropped.
 *
 * A pair of relay address and external address that is no longer told is kept as a former one while some allocation
 * was told it, so that clients of this server still reach each other by it; its last one gone, it is a stranger's.
 */
#include <errno.h>
#include <string.h>
#include "turn/edge.h"
#include "turn/external.h"
#include "turn/log_msgs.h"
#include "turn/service.h"

static const struct turn_config *config_of(const struct turn_service *ts)
{
	return &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
}

static bool is_told(const struct turn_relay_set *set, const struct turn_relay_pair *p)
{
	const struct turn_relay_address *a = turn_relay_find(set, &p->inside);

	return a && addr_equal_ip(&a->outside, &p->outside);
}

static void add_former(struct turn_network *net, const struct turn_relay_pair *p)
{
	if (addr_family(&p->outside) == AF_UNSPEC || is_told(&net->relay, p))
		return;
	if (net->n_former == ARRAY_LEN(net->former)) /* the oldest makes room */
		memmove(net->former, net->former + 1, --net->n_former * sizeof *net->former);
	net->former[net->n_former++] = *p;
}

/* What was told before and is not any more, without what has no allocation left. */
static void keep_former(const struct turn_service *ts, struct turn_network *net)
{
	const struct turn_network *was = &ts->net;

	net->n_former = 0;
	if (!ts->totals) /* a start: nothing was told */
		return;
	for (size_t i = 0; i < was->n_former; i++)
		if (turn_totals_any_relay(ts->totals, &was->former[i].outside))
			add_former(net, &was->former[i]);
	for (size_t i = 0; i < was->relay.n; i++) {
		const struct turn_relay_pair p = { was->relay.v[i].at, was->relay.v[i].outside };
		if (turn_totals_any_relay(ts->totals, &p.outside))
			add_former(net, &p);
	}
}

int turn_network_find(const struct turn_service *ts, const struct turn_config *cfg, struct turn_network *ret_net,
		      char *err, size_t err_n)
{
	struct turn_network net = { .n_former = 0 };
	int r = turn_own_addresses(&net.own, err, err_n);

	if (r < 0)
		return r;
	r = turn_relay_addresses(cfg, &net.own, &net.relay, err, err_n);
	if (r < 0)
		return r;
	if (ts->external)
		turn_external_fill(ts->external, &net.relay);
	keep_former(ts, &net);
	*ret_net = net;
	return 0;
}

static bool same_relays(const struct turn_relay_set *a, const struct turn_relay_set *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (i >= b->n || !addr_equal_ip(&a->v[i].at, &b->v[i].at) || !addr_equal_ip(&a->v[i].outside, &b->v[i].outside))
			return false;
	return a->n == b->n;
}

static int take(struct turn_service *ts, const struct turn_network *net, char *err, size_t err_n)
{
	const struct turn_network was = ts->net;
	int r;

	ts->net = *net;
	r = turn_service_rebuild(ts, err, err_n);
	if (r < 0)
		ts->net = was;
	return r;
}

void turn_network_changed(struct turn_service *ts)
{
	const struct turn_root *root = cfg_values(ts->svc->cfg);
	struct turn_network net;
	char err[256], ip[ADDR_STRLEN];
	bool other;
	int r = turn_network_find(ts, config_of(ts), &net, err, sizeof err);

	/* Between two addresses there may be none for a while: what was stays. */
	if (r < 0 && r != -EADDRNOTAVAIL)
		log_emit(&MSG_TURN_EXTERNAL_FAILED, LF_STR("why", err));
	if (r < 0)
		return;
	other = !same_relays(&net.relay, &ts->net.relay);
	if (!other && turn_own_equal(&net.own, &ts->net.own))
		return;
	if (take(ts, &net, err, sizeof err) < 0) {
		log_emit(&MSG_TURN_EXTERNAL_FAILED, LF_STR("why", err));
		return;
	}
	for (size_t i = 0; other && i < net.relay.n; i++)
		log_emit(&MSG_TURN_RELAYING, LF_STR("address", addr_print_ip(&net.relay.v[i].at, ip)));
	if (other && turn_external_watch(ts->external, &net.relay, &root->stun_servers) < 0)
		log_emit(&MSG_TURN_EXTERNAL_FAILED, LF_STR("why", strerror(ENOMEM)));
}

int turn_network_tell(struct turn_service *ts, const struct addr *at, const struct addr *outside, char *err, size_t err_n)
{
	struct turn_network net = ts->net;

	for (size_t i = 0; i < net.relay.n; i++)
		if (addr_equal_ip(&net.relay.v[i].at, at))
			net.relay.v[i].outside = *outside;
	keep_former(ts, &net);
	return take(ts, &net, err, err_n);
}

void turn_network_forget(struct turn_service *ts)
{
	struct turn_network net = ts->net;
	char err[256];

	keep_former(ts, &net);
	if (net.n_former != ts->net.n_former)
		(void)take(ts, &net, err, sizeof err); /* without memory: the next time */
}
