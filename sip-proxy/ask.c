/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookup, OPTIONS, answer; see ask.h. Any final response is an answer, whatever it says. Max-Forwards is small, for
 * the one who is asked has to know by himself.
 *
 * A question belongs to its owner until it has been answered, and is nobody's then.
 */
#include "sip-proxy/ask.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/proxy_priv.h"

enum { PLACES_MAX = 4, URI_MAX = 512, HOST_MAX = 256, HOPS = 3, OPTIONS_MAX = 2048 };

struct sip_ask {
	struct sip_proxy *px;
	struct sip_asking o;
	struct sip_client_tx *tx;
	struct sip_lookup lookup;
	bool looking;
	struct sip_target target, next[PLACES_MAX]; /* next: of its name, those behind target */
	unsigned n_next;
	char uri[URI_MAX], host[HOST_MAX];
};

/* The end: frees first, for the owner may ask again at once. */
static void answer(struct sip_ask *a, unsigned code, const char *why, bool asked)
{
	const struct sip_asking o = a->o;
	struct sip_target target = a->target;
	char host[HOST_MAX];

	memcpy(host, a->host, sizeof(host));
	target.name = text_of(host);
	free(a);
	o.done(o.arg, code, why, asked ? &target : NULL);
}

static void on_response(struct sip_client_tx *c, void *owner, const struct sip_msg *m,
			const struct sip_basics *b)
{
	(void)b;
	if (m->status < 200)
		return;
	sip_client_abandon(c);
	answer(owner, m->status, "", true);
}

static void on_failed(struct sip_client_tx *c, void *owner, enum sip_client_failure f, const char *why)
{
	(void)c;
	answer(owner, 0,
	       f == SIP_CLIENT_TIMEOUT ? "no answer"
	       : why		       ? why
				       : "cannot be reached",
	       true);
}

static void on_ended(struct sip_client_tx *c, void *owner)
{
	(void)c;
	answer(owner, 0, "no answer", true);
}

static const struct sip_client_user user = { on_response, on_failed, on_ended };

static ssize_t write_options(struct sip_ask *a, const char *branch, char *buf, size_t cap)
{
	const struct sip_edge_ops *ops = a->px->o.ops;
	const struct sip_interface *f = ops->interface_for(a->px->o.edge, &a->target);
	char via[SIP_SENT_BY_MAX + 96], from[SIP_SENT_BY_MAX + 64], to[URI_MAX + 8], id[33];
	struct sb v = sb_init(via, sizeof(via)), s = sb_init(from, sizeof(from)),
		  t = sb_init(to, sizeof(to));
	static const struct sip_line accept = { TEXT("Accept"), TEXT("application/sdp") };
	uint8_t random[16];

	if (!f || bytes_random(random, sizeof(random)) < 0)
		return -ENETUNREACH;
	hex_encode(random, sizeof(random), id);
	sip_px_via(f, branch, &v);
	sb_str(&s, "<sip:");
	sb_str(&s, f->sent_by);
	sb_str(&s, ">;tag=");
	sb_text(&s, (struct text){ id, 8 });
	sb_char(&t, '<');
	sb_str(&t, a->uri);
	sb_char(&t, '>');
	return sip_request_write(buf, cap,
				 &(struct sip_request_parts){ .method = TEXT("OPTIONS"),
							      .uri = text_of(a->uri),
							      .via = { via, v.n },
							      .from = { from, s.n },
							      .to = { to, t.n },
							      .call_id = text_of(id),
							      .cseq = 1,
							      .max_forwards = HOPS,
							      .lines = &accept,
							      .n_lines = 1 });
}

static int put_question(struct sip_ask *a)
{
	char branch[SIP_BRANCH_MAX], buf[OPTIONS_MAX];
	struct sip_client_start start;
	ssize_t n;

	a->target.name = text_of(a->host);
	a->target.mutual = a->o.mutual;
	if (a->o.iface && !a->target.hop.iface)
		a->target.hop.iface = a->o.iface;
	sip_branch_make(a->px->txs, 0, branch);
	n = write_options(a, branch, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	start = (struct sip_client_start){ .request = { buf, (size_t)n },
					   .method = SIP_OPTIONS,
					   .method_name = TEXT("OPTIONS"),
					   .branch = branch,
					   .to = &a->target,
					   .user = &user,
					   .owner = a,
					   .own = true };
	return sip_client_new(a->px->txs, &start, &a->tx);
}

static void looked_up(struct sip_lookup *l, int status, const char *why,
		      const struct sip_target *targets, unsigned n)
{
	struct sip_ask *a = container_of(l, struct sip_ask, lookup);
	int r;

	a->looking = false;
	if (status != 0 || n == 0) {
		answer(a, 0, why ? why : "its name has no address", false);
		return;
	}
	a->target = targets[0];
	while (a->n_next < PLACES_MAX && a->n_next + 1 < n) {
		a->next[a->n_next] = targets[a->n_next + 1];
		a->n_next++;
	}
	r = put_question(a);
	if (r < 0)
		answer(a, 0, strerror(-r), true);
}

static int look_up(struct sip_ask *a, const struct sip_next *next)
{
	struct sip_next n = *next;

	n.host = text_of(a->host);
	if (sip_px_direct(&n, &a->target))
		return put_question(a);
	a->lookup.done = looked_up;
	a->looking = true;
	return a->px->o.ops->lookup(a->px->o.edge, &n, &a->lookup);
}

int sip_ask(struct sip_proxy *px, const struct sip_asking *o, struct sip_ask **ret_a)
{
	struct text host = o->target ? o->target->name : o->next->host;
	struct sip_ask *a = calloc(1, sizeof(*a));
	struct sb uri, name;
	int r;

	if (!a)
		return -ENOMEM;
	a->px = px;
	a->o = *o;
	uri = sb_init(a->uri, sizeof(a->uri));
	name = sb_init(a->host, sizeof(a->host));
	sb_text(&uri, o->uri);
	sb_text(&name, host);
	if (uri.truncated || name.truncated) {
		r = -ENAMETOOLONG;
	} else if (o->target) {
		a->target = *o->target;
		r = put_question(a);
	} else {
		r = look_up(a, o->next);
	}
	if (r < 0) {
		free(a);
		return r;
	}
	*ret_a = a;
	return 0;
}

bool sip_ask_next(struct sip_ask *a)
{
	if (a->looking)
		return false;
	a->px->o.ops->report(a->px->o.edge, &a->target, ETIMEDOUT);
	if (a->n_next == 0)
		return false;
	if (a->tx)
		sip_client_abandon(a->tx);
	a->tx = NULL;
	a->target = a->next[0];
	memmove(a->next, a->next + 1, --a->n_next * sizeof(*a->next));
	return put_question(a) == 0;
}

struct sip_ask *sip_ask_cancel(struct sip_ask *a)
{
	if (!a)
		return NULL;
	if (a->looking)
		a->px->o.ops->lookup_cancel(a->px->o.edge, &a->lookup);
	if (a->tx)
		sip_client_abandon(a->tx);
	free(a);
	return NULL;
}
