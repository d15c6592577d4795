/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge of stile-sip: listeners, datagrams, connections, TLS, admission and DNS around the protocol core. It
 * implements struct sip_edge_ops and calls struct sip_edge_events (sip-proxy/transport.h). One loop, one thread,
 * nothing global; whatever a stranger can consume is limited by struct sip_edge_limits.
 *
 * A listener on a wildcard address shows one interface for each address of the machine that is used (a "face"), for a
 * Via, a Record-Route and a flow need an address that others can send to.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"
#include "common/metrics.h"
#include "common/service.h"
#include "common/tls.h"
#include "sip-proxy/transport.h"

struct sip_edge;

struct sip_edge_limits {
	uint64_t connections, connections_per_source;
	uint64_t queue;	      /* bytes that may wait for one peer */
	uint64_t rate, burst; /* messages a second from one source address, before anything is parsed */
	uint64_t ban_after,
		ban_ms; /* bad messages in a minute on proven addresses (streams), until all is refused */
	uint64_t message_bytes; /* longest body */
	uint64_t connect_ms, handshake_ms, first_ms, partial_ms, idle_ms;
	uint64_t ping_ms; /* our CRLF pings on connections that we made; 0: none */
};

struct sip_listen_spec { /* text lives as long as the call */
	enum sip_proto proto;
	bool mutual, lan, federation;
	struct addr at;
	const char *certificate, *key, *ca, *crl; /* secure ones; ca NULL: the system's; crl NULL: none */
	const char *advertise;		    /* host[:port] to be called by; NULL: the address */
};

struct sip_edge_config {
	const struct sip_listen_spec *listen;
	size_t n_listen;
	const char *certificate, *key,
		*ca, *crl; /* of connections that leave by no listener with its own; may be NULL */
	struct sip_edge_limits limits;
	const struct prefix *allow, *deny, *unlimited; /* sources; allow empty: all */
	size_t n_allow, n_deny, n_unlimited;
};

struct sip_edge_options {
	struct loop *loop;
	struct metrics *metrics; /* rows of sip-proxy/metrics.h */
	const struct sip_edge_events *events;
	void *core;
	const char *dns_servers; /* tests; NULL: /etc/resolv.conf */
	bool client; /* streams may leave without a listener of their transport: the tool's tests */
};

int sip_edge_new(const struct sip_edge_options *o, struct sip_edge **ret_e);
struct sip_edge *sip_edge_free(struct sip_edge *e);
void sip_edge_set_core(struct sip_edge *e, const struct sip_edge_events *events, void *core);
/* Whoever made it may keep a pointer of his here, for callbacks that know the edge only. */
void sip_edge_set_owner(struct sip_edge *e, void *owner);
void *sip_edge_owner(const struct sip_edge *e);
struct loop *sip_edge_loop(const struct sip_edge *e);
/* The interface of this kind that sends from this address; 0: none. */
uint32_t sip_edge_interface_at(struct sip_edge *e, enum sip_proto proto, bool mutual,
			       const struct addr *ip);
/* An interface of sip.lan of this kind, mutual or not as it is wanted if there is such a one; 0: none. */
uint32_t sip_edge_lan_interface(struct sip_edge *e, enum sip_proto proto, bool mutual);
/* One by which somebody might come who comes like this, as near as there is one; 0: none of this transport. */
uint32_t sip_edge_interface_like(struct sip_edge *e, const struct sip_interface *like);
extern const struct sip_edge_ops sip_edge_ops; /* edge: the struct sip_edge */

/* Everything that can fail happens here: certificates are read, ports are bound; nothing is served yet. 0, or -errno
 * and a sentence in err. warning (TLS_ERRLEN): such as an expired certificate; "" if there is none. */
struct sip_edge_plan;
int sip_edge_plan(struct sip_edge *e, const struct sip_edge_config *c, char *warning, char *err,
		  size_t err_n, struct sip_edge_plan **ret_p);
/* Puts the plan to work. What it does not name stays as it is; removed listeners take nothing new, their connections go
 * on. Takes p. */
void sip_edge_take(struct sip_edge *e, struct sip_edge_plan *p);
/* Adds what the configuration does not show: certificates that are others than those at work. 0 or -ENOMEM. */
int sip_edge_plan_changes(const struct sip_edge_plan *p, struct service_changes *ch);
struct sip_edge_plan *sip_edge_plan_free(struct sip_edge_plan *p);
DEFINE_CLEANUP(struct sip_edge_plan, sip_edge_plan_free)

/* Where other domains' servers may be besides public addresses. Copied; -ENOMEM. */
int sip_edge_set_partners(struct sip_edge *e, const struct prefix *v, size_t n);

void sip_edge_drain(struct sip_edge *e); /* listening sockets close; what is open goes on */

/* For verbs: listeners, connections ({limit, cursor}). */
json_t *sip_edge_listeners_json(const struct sip_edge *e);
json_t *sip_edge_flows_json(const struct sip_edge *e, uint64_t cursor, unsigned limit);
unsigned sip_edge_fill(const struct sip_edge *e); /* percent: of the fullest receive queue of a UDP socket */
/* Of each secure listener that is not removed. */
void sip_edge_each_certificate(const struct sip_edge *e,
			       void (*fn)(void *arg, const char *listener,
					  const struct tls_cert_info *info),
			       void *arg);
uint64_t sip_edge_kernel_drops(const struct sip_edge *e); /* datagrams that the kernel did not give us */
json_t *sip_edge_status_json(const struct sip_edge *e);
json_t *sip_edge_health_json(const struct sip_edge *e); /* next hops that failed lately */
bool sip_edge_kick(struct sip_edge *e, uint64_t conn);

/* Whoever proves to be bad beyond the edge's sight (wrong passwords): refused for ms. Only for addresses that are proven
 * (streams): over UDP a stranger could silence whomever he names. */
void sip_edge_ban(struct sip_edge *e, const struct addr *source, uint64_t ms);

/* A UDP listener asks a STUN server where its own socket is seen, for a router may give it another port. at: as it is
 * configured. 0, -ENOENT (no such listener), or -errno. The answer, if one comes, is told by seen(). */
struct sip_edge_public {
	void (*seen)(void *arg, const struct addr *at, const struct addr *mapped);
	void *arg;
};
void sip_edge_set_public(struct sip_edge *e, const struct sip_edge_public *p); /* NULL: nobody asks */
int sip_edge_ask_public(struct sip_edge *e, const struct addr *at, const struct addr *server);

/* Every message in and out, decrypted, as it stands on the wire: for traces. NULL: nobody looks. */
struct sip_edge_tap {
	void (*saw)(void *arg, const struct sip_hop *hop, bool out, struct text bytes);
	void *arg;
};
void sip_edge_set_tap(struct sip_edge *e, const struct sip_edge_tap *tap);
