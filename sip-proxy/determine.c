/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question of determine.h is a watch of one address (stun/public_watch.h) that is ended after its first round, and then a
 * discovery of the NAT by the server that has answered. What a round finds is taken from a timer, for the watch may not
 * be freed within its own call.
 */
#include "sip-proxy/determine.h"
#include <errno.h>
#include "common/dns.h"
#include "stun/nat_check.h"
#include "stun/public_watch.h"

enum { QUESTIONS_MAX = 8 };

struct sip_determiner {
	struct loop *loop;
	struct list questions;
	unsigned n;
};

struct question {
	struct list node;
	struct sip_determiner *d;
	struct control_request *rq;
	struct dns *dns;
	struct public_watch *watch;
	struct nat_check *nat;
	struct public_watched found;
	struct timer told;
};

static void question_free(struct question *q)
{
	timer_stop(&q->told);
	nat_check_free(q->nat);
	public_watch_free(q->watch);
	dns_free(q->dns);
	list_unlink(&q->node);
	q->d->n--;
	free(q);
}

static void answer(struct question *q, const struct nat_result *nat)
{
	const struct public_state *st = &q->found.state;
	char at[ADDR_STRLEN], is[ADDR_STRLEN] = "", server[ADDR_STRLEN] = "";
	bool typed = nat && nat->error == 0;

	if (st->known) {
		addr_print_ip(&st->external, is);
		addr_print(&st->server, server);
	}
	control_reply(q->rq, json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s}", "address", addr_print_ip(&q->found.local, at), "public", is,
				       "port_kept", st->port_kept, "server", server, "nat", typed ? nat_type_name(nat->type) : "", "means",
				       typed ? nat_type_meaning(nat->type) : "", "why", st->known ? "" : public_why_text(st->why)));
	question_free(q);
}

static void on_nat(const struct nat_result *r, void *arg)
{
	answer(arg, r);
}

static void on_round(struct timer *t, uint64_t now)
{
	struct question *q = container_of(t, struct question, told);
	const struct public_state *st = &q->found.state;

	(void)now;
	q->watch = public_watch_free(q->watch);
	if (!st->known || addr_family(&st->server) == AF_UNSPEC ||
	    nat_check_new(&(struct nat_check_options){ .loop = q->d->loop,
						       .local = q->found.local,
						       .server = st->server,
						       .done = on_nat,
						       .arg = q },
			  &q->nat) < 0)
		answer(q, NULL);
}

static void on_told(const struct public_watched *w, bool changed, void *arg)
{
	struct question *q = arg;

	(void)changed;
	q->found = *w;
	loop_timer_set(q->d->loop, &q->told, 0);
}

/* Who asked is gone: the answer would be dropped, so the work is. */
static void on_cancel(struct control_request *rq, void *arg)
{
	control_fail(rq, "cancelled", NULL, "nobody waits for the public address any more");
	question_free(arg);
}

static int begin(struct question *q, const struct cfg_list *servers)
{
	int r = dns_new(q->d->loop, NULL, &q->dns);

	if (r < 0)
		return r;
	return public_watch_new(&(struct public_watch_options){ .loop = q->d->loop,
								.dns = q->dns,
								.servers = servers->items,
								.n_servers = servers->n,
								.watched = &q->found,
								.n_watched = 1,
								.told = on_told,
								.arg = q },
				&q->watch);
}

void sip_determine(struct sip_determiner *d, struct control_request *rq, const struct addr *local, const struct cfg_list *servers)
{
	struct question *q = d->n < QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (!q) {
		control_fail(rq, "busy", "try again in a few seconds", "too many ask for public addresses at once");
		return;
	}
	d->n++;
	list_append(&d->questions, &q->node);
	q->d = d;
	q->rq = rq;
	q->found = (struct public_watched){ *local, PUBLIC_STATE_NEW };
	q->told.fire = on_round;
	addr_set_port(&q->found.local, 0);
	if (begin(q, servers) < 0) {
		control_fail(rq, "failed", NULL, "no memory to ask for the public address");
		question_free(q);
		return;
	}
	control_on_cancel(rq, on_cancel, q);
}

int sip_determiner_new(struct loop *loop, struct sip_determiner **ret_d)
{
	struct sip_determiner *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	list_init(&d->questions);
	*ret_d = d;
	return 0;
}

struct sip_determiner *sip_determiner_free(struct sip_determiner *d)
{
	if (!d)
		return NULL;
	list_for_each_safe(it, &d->questions) {
		struct question *q = list_entry(it, struct question, node);
		control_fail(q->rq, "failed", NULL, "stile-sip stops");
		question_free(q);
	}
	free(d);
	return NULL;
}
