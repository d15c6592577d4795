/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transports' rows, and the rules about Via that need no socket: what a receiver writes into it (RFC 3261
 * 18.2.1, RFC 3581 4), and where a response goes (18.2.2).
 * Pure functions; see transport.h.
 */
#include "sip-proxy/transport.h"
#include <errno.h>

const struct sip_proto_row sip_proto_rows[SIP_PROTOS] = {
	[SIP_UDP] = { "udp", { "UDP", 3 }, 5060, false, false },
	[SIP_TCP] = { "tcp", { "TCP", 3 }, 5060, true, false },
	[SIP_TLS] = { "tls", { "TLS", 3 }, 5061, true, true },
	[SIP_WS] = { "ws", { "WS", 2 }, 80, true, false },
	[SIP_WSS] = { "wss", { "WSS", 3 }, 443, true, true },
};

int sip_proto_parse(struct text word, enum sip_proto *ret_p)
{
	for (unsigned i = 0; i < SIP_PROTOS; i++)
		if (text_ieq(word, sip_proto_rows[i].via)) {
			*ret_p = (enum sip_proto)i;
			return 0;
		}
	return -EINVAL;
}

bool sip_identity_covers(const struct sip_identity *id, struct text domain)
{
	if (!id || !id->verified || !domain.n)
		return false;
	for (unsigned i = 0; i < id->n; i++)
		if (text_ieq(text_of(id->names[i]), domain))
			return true;
	return false;
}

/* ---- Via ---- */

static bool sent_by_is(const struct sip_via *v, const struct addr *remote)
{
	struct addr named;

	return v->host_kind != SIP_HOST_NAME && addr_parse(v->host, 0, &named) == 0 &&
	       addr_equal_ip(&named, remote);
}

void sip_via_without(const struct sip_via *v, bool (*gone)(struct text name), struct sb *b)
{
	struct text rest = v->params, name, value;

	sb_text(b, (struct text){ v->raw.p, v->raw.n - v->params.n });
	while (sip_param_next(&rest, &name, &value)) {
		if (gone(name))
			continue;
		sb_char(b, ';');
		sb_text(b, name);
		if (value.p) {
			sb_char(b, '=');
			sb_text(b, value);
		}
	}
}

static bool is_ours_to_say(struct text name)
{
	return text_ieq(name, TEXT("received")) || text_ieq(name, TEXT("rport"));
}

ptrdiff_t sip_via_fill(const struct sip_via *v, const struct addr *remote, char *buf, size_t cap)
{
	struct sb b = sb_init(buf, cap);
	char ip[ADDR_STRLEN];

	if (!v->has_rport && !v->received.p && sent_by_is(v, remote))
		return 0;
	sip_via_without(v, is_ours_to_say, &b); /* what the sender made up of these goes */
	sb_str(&b, ";received=");
	sb_str(&b, addr_print_ip(remote, ip));
	if (v->has_rport) {
		sb_str(&b, ";rport=");
		sb_u64(&b, addr_port(remote), 1);
	}
	return b.truncated ? -ENOSPC : (ptrdiff_t)b.n;
}

static uint16_t sent_by_port(const struct sip_via *v, enum sip_proto proto)
{
	return v->port ? v->port : sip_proto_rows[proto].port;
}

struct sip_target sip_reply_target(const struct sip_via *v, const struct sip_hop *came)
{
	struct sip_target t = { .hop = *came, .reply_port = sent_by_port(v, came->proto) };
	struct addr maddr;

	if (came->proto != SIP_UDP)
		return t;
	/* Without rport the response goes to the port of the sent-by, not to where the request came from. */
	if (!v->has_rport)
		addr_set_port(&t.hop.remote, t.reply_port);
	if (v->maddr.p && sip_via_is_unicast(v) && addr_parse(v->maddr, 0, &maddr) == 0) {
		addr_set_port(&maddr, t.reply_port);
		t.hop.remote = maddr;
	}
	return t;
}
