/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last lines of the doctor: what kind of NAT is between us and the internet, by one of the eight names (stun/nat.h), asked
 * of the first of stun_servers that has an address. It matters to partners who connect to us, and to media.
 * It takes some seconds where something is silent, and ends by itself.
 */
#include <string.h>
#include "cli/sip_doctor.h"
#include "stun/nat_check.h"

enum { PATIENCE_MS = 20000 };

struct waiting {
	struct loop *loop;
	struct timer deadline;
	struct nat_result result;
	bool done;
};

static void on_done(const struct nat_result *r, void *arg)
{
	struct waiting *w = arg;

	w->result = *r;
	w->done = true;
	loop_stop(w->loop);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct waiting *w = container_of(t, struct waiting, deadline);

	(void)now;
	loop_stop(w->loop);
}

static bool find_server(struct doctor *d, struct addr *ret_a)
{
	const struct cfg_hostport *s = d->stun_servers ? d->stun_servers->items : NULL;
	size_t n;

	for (size_t i = 0; s && i < d->stun_servers->n; i++)
		if (sip_dns_addresses(&d->dns, s[i].host, s[i].port, ret_a, 1, &n) == DNS_OK && n)
			return true;
	return false;
}

static void say(struct doctor *d, const struct waiting *w)
{
	const struct nat_result *r = &w->result;
	char mapped[ADDR_STRLEN];

	if (!w->done || r->error || !r->answered || r->type == NAT_UNKNOWN) {
		cli_report(&d->report, true, "NAT type", "not known: %s",
			   w->done && r->answered ? "the STUN server has one address only, or hides the other"
						  : "the STUN server does not answer over UDP");
		return;
	}
	cli_report(&d->report, true, "NAT type", "%s: %s (seen as %s)", nat_type_name(r->type),
		   nat_type_meaning(r->type), addr_print_ip(&r->mapped, mapped));
}

void doctor_name_nat(struct doctor *d)
{
	struct waiting w = { .loop = d->dns.loop, .deadline = { .fire = on_deadline } };
	struct nat_check *check = NULL;
	struct nat_check_options o = { .loop = w.loop, .done = on_done, .arg = &w };

	if (!d->stun_servers || !d->stun_servers->n) {
		cli_report(&d->report, true, "NAT type",
			   "not looked for: set stun_servers, or ask stile netcheck");
		return;
	}
	if (!find_server(d, &o.server)) {
		cli_report(&d->report, true, "NAT type", "not known: none of stun_servers has an address");
		return;
	}
	if (nat_check_new(&o, &check) == 0) {
		loop_timer_set(w.loop, &w.deadline, PATIENCE_MS);
		(void)loop_run(w.loop);
		timer_stop(&w.deadline);
	}
	nat_check_free(check);
	say(d, &w);
}
