/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is it, and where is whom: digest authentication of our users (RFC 3261 22, RFC 8760), the registrar (RFC 3261 10,
 * RFC 5626, RFC 3327) and the location service, as hooks of the policy; and the hygiene of what passes (credentials for our
 * realm stay here, P-Asserted-Identity of strangers goes, nobody else challenges in our realm).
 *
 * Bad credentials are charged to their source and to the user that they name: after some of them, further ones are
 * refused without being looked at, for longer and longer. Only who returns a nonce of ours is counted: a forged datagram
 * leaves no trace.
 */
#pragma once
#include "sip-proxy/digest.h"
#include "sip-proxy/location.h"
#include "sip-proxy/policy.h"

enum { SIP_REGISTRAR_MORE = 1536 }; /* bytes of the buf of `more` */
struct sip_registrar;
struct sip_registrar_options {
	struct sip_location *location;			     /* borrowed */
	struct text (*password)(void *arg, const char *aor); /* p NULL: no such user */
	bool (*is_domain)(void *arg, struct text host);
	/* Is who sends by there one of the own side? NULL: nobody is. */
	bool (*is_trusted)(void *arg, const struct sip_hop *from);
	/* A stranger has guessed wrong, and not for the first time. May be NULL. */
	void (*guesses)(void *arg, const struct sip_hop *from);
	struct text (*first_domain)(void *arg); /* NULL or n 0: nobody can log in but by his own domain */
	/* Somebody else, a UC server, may know who this is and asks for his password; NULL: nobody. */
	bool (*is_elsewhere)(void *arg, const char *aor);
	/* A registration was taken that came from a UC server (p->server), good until then (ms); may be NULL. */
	void (*registered)(void *arg, unsigned server, const char *aor, uint64_t until);
	/* One more line of the answer to a REGISTER that was taken, its value in buf: 0 or 1. May be NULL. */
	unsigned (*more)(void *arg, const struct sip_passage *p, const char *aor,
			 struct sip_line *ret_line, char *buf);
	void *arg;
	const struct sip_edge_ops *ops;
	void *edge;
	struct hash_seed seed;
	uint64_t now;
	uint32_t expires_min, expires_max, expires; /* s; 0: 60, 7200, 3600 */
};
int sip_registrar_new(const struct sip_registrar_options *o, struct sip_registrar **ret_r); /* 0, -ENOMEM, -EIO */
struct sip_registrar *sip_registrar_free(struct sip_registrar *r);
DEFINE_CLEANUP(struct sip_registrar, sip_registrar_free)

/* Asks for credentials of one of our users in the first domain's name, whatever From says: SIP_GO_ON and p->user, or
 * SIP_DECIDED. */
enum sip_step sip_auth_demand(struct sip_passage *p, struct sip_registrar *r);
/* Has the sender proven this user's password? SIP_GO_ON; else it is decided: challenged, or (*ret_bad) refused. Guesses are
 * charged as with the accounts. */
enum sip_step sip_registrar_prove(struct sip_passage *p, struct sip_registrar *r, const char *user,
				  struct text realm, struct text password, bool *ret_bad);

/* Of the configuration that holds now; the text is copied. 0 or -ENOMEM. */
int sip_registrar_set_service_route(struct sip_registrar *r, const char *uri);

/* By which algorithms passwords are proven: bits 1 << enum sip_digest_alg. 0: by each. */
void sip_registrar_set_digest(struct sip_registrar *r, unsigned algorithms);

/* Hooks; arg is the registrar. */
enum sip_step sip_auth_request(struct sip_passage *p, void *arg);    /* SIP_STAGE_IDENTITY */
enum sip_step sip_hygiene_request(struct sip_passage *p, void *arg); /* SIP_STAGE_HYGIENE */
bool sip_hygiene_response(struct sip_return *ret, void *arg);
enum sip_step sip_registrar_request(struct sip_passage *p,
				    void *arg); /* SIP_STAGE_ROUTING: REGISTER, and calls to our users */
