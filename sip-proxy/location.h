/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The location service: which contacts an address of record has (RFC 3261 10), by which flow each registered (RFC 5626),
 * and through which proxies it is reached (Path, RFC 3327). In memory; a binding ends at its time, and one whose flow is
 * dead is passed over by whoever looks. Limits: bindings of one address, and in all.
 */
#pragma once
#include "common/hash.h"
#include "common/timers.h"
#include "sip-proxy/transport.h"

enum { SIP_AOR_MAX = 384, SIP_CONTACT_MAX = 1024 };

struct sip_binding {
	char *uri;	/* the contact's URI */
	char *path;	/* "<sip:p;lr>, …" or NULL */
	char *instance; /* +sip.instance, with its quotes, or NULL */
	char *call_id;
	uint32_t cseq, reg_id; /* reg_id 0: none */
	uint16_t q;	       /* thousandths */
	uint64_t expires_at;   /* ms */
	struct sip_hop from;   /* the flow it registered by */
	bool use_flow; /* reach it by that flow: outbound, a connection, or a NAT in between */
	bool outbound; /* and by no other way (RFC 5626) */
};
/* It is reached by its flow, and that is still there. */
static inline bool sip_binding_has_flow(const struct sip_binding *b, const struct sip_edge_ops *ops, void *edge)
{
	return b->use_flow && ops->alive(edge, &b->from);
}

struct sip_location;
struct sip_location_options {
	struct timers *timers;
	struct hash_seed seed;
	unsigned per_aor, most; /* 0: 10 and 100000 */
};
int sip_location_new(const struct sip_location_options *o, struct sip_location **ret_l);
struct sip_location *sip_location_free(struct sip_location *l);
DEFINE_CLEANUP(struct sip_location, sip_location_free)

/* "alice@example.org" of a URI: the user with its escapes undone, the host in lower case. 0; -EBADMSG: no user, or
 * one that cannot be; -ENOSPC. */
int sip_aor_of(const struct sip_uri *u, char out[static SIP_AOR_MAX]);

/* Those that are still good, in an array that lives until the next change; *ret_n 0: none. */
const struct sip_binding *sip_location_find(struct sip_location *l, const char *aor, uint64_t now,
					    unsigned *ret_n);
/* Makes or replaces one binding: the same URI (RFC 3261 19.1.4), or the same instance and reg-id. expires_at <= now: it
 * goes. All texts are copied. 0; -EALREADY: the same Call-ID with a CSeq that is not higher; -ENOSPC: a limit; -ENOMEM. */
int sip_location_set(struct sip_location *l, const char *aor, const struct sip_binding *b, uint64_t now);
/* Several of one request, all or none: -EALREADY and -ENOSPC as above, -ENOMEM; then nothing has changed. */
int sip_location_set_all(struct sip_location *l, const char *aor, const struct sip_binding *v, unsigned n, uint64_t now);
/* Those of which over() says so. How many there were. */
unsigned sip_location_drop(struct sip_location *l, const char *aor, bool (*over)(const struct sip_binding *b, void *arg), void *arg);
/* Contact: *. 0; -EALREADY: one of them has this Call-ID and a CSeq that is not lower; then all stay. */
int sip_location_clear(struct sip_location *l, const char *aor, const char *call_id, uint32_t cseq);
/* Tells from now on whose bindings are others than before: from within, so it changes nothing here. NULL: nobody. */
void sip_location_watch(struct sip_location *l, void (*changed)(void *arg, const char *aor), void *arg);
/* As they are, with those that are over and were not looked at since. */
const struct sip_binding *sip_location_peek(const struct sip_location *l, const char *aor,
					    unsigned *ret_n);
/* Lower limits end nothing that is there. 0: the defaults. */
void sip_location_set_limits(struct sip_location *l, unsigned per_aor, unsigned most);
unsigned sip_location_count(const struct sip_location *l);
void sip_location_each(struct sip_location *l, uint64_t now,
		       bool (*fn)(const char *aor, const struct sip_binding *b, void *arg), void *arg);
