/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UC server's log-on as an object of the store, and back: so that a restart of the proxy keeps who is logged on, as it
 * keeps who is registered. What comes back is no longer than it would have been: until its time is over, two minutes at
 * most. A connection does not outlive the process: the server is reached by its Contact until it logs on again.
 *
 * Writing is the service's (service_sites.c); what stands in the store may be of another version, or made by hand.
 */
#include <errno.h>
#include "common/json.h"
#include "sip-proxy/mesh_priv.h"

json_t *sip_mesh_logon_json(const struct sip_mesh *m, const char *user, struct sip_times t)
{
	const struct mesh_server *s = mesh_server_of_user(m, text_of(user));
	char remote[ADDR_STRLEN], local[ADDR_STRLEN] = "";

	if (!s || s->fixed[0] || !mesh_server_is_on(s, t.now))
		return NULL;
	if (addr_family(&s->from.local) != AF_UNSPEC)
		addr_print(&s->from.local, local);
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "contact", s->contact, "transport",
			 sip_proto_rows[s->from.proto].name, "remote", addr_print(&s->from.remote, remote),
			 "local", local, "mutual", s->mutual, "since", (json_int_t)s->since, "expires_ms",
			 (json_int_t)(t.unix_ms + (int64_t)(s->until - t.now)));
}

static int hop_of(const json_t *body, struct sip_hop *ret_h)
{
	struct sip_hop h = { 0 };
	const char *local = text_of_key(body, "local");

	if (sip_proto_parse(text_of(text_of_key(body, "transport")), &h.proto) < 0 ||
	    addr_parse(text_of(text_of_key(body, "remote")), 0, &h.remote) < 0 ||
	    (*local && addr_parse(text_of(local), 0, &h.local) < 0))
		return -EBADMSG;
	*ret_h = h;
	return 0;
}

int sip_mesh_logon_take(struct sip_mesh *m, const char *user, const json_t *body, struct sip_times t)
{
	struct mesh_server *s = mesh_server_of_user(m, text_of(user));
	json_int_t ends = json_integer_value(json_object_get(body, "expires_ms"));
	json_int_t since = json_integer_value(json_object_get(body, "since"));
	struct sip_hop from;

	if (!s || s->fixed[0] || s->on || ends <= t.unix_ms)
		return -ENOENT;
	if (hop_of(body, &from) < 0)
		return -EBADMSG;
	return mesh_server_back(s, text_of(text_of_key(body, "contact")), &from,
				json_is_true(json_object_get(body, "mutual")),
				t.now + (uint64_t)(ends - t.unix_ms), MAX(since, (json_int_t)0));
}
