/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of `stile sip doctor` share: sip_doctor.c walks the way, sip_doctor_judge.c says what certificates are
 * worth, sip_doctor_service.c asks the running service, sip_doctor_nat.c names the NAT. Nobody else includes this.
 * Texts are the command line's or the configuration's.
 */
#pragma once
#include "cli/command.h"
#include "cli/sip_dns.h"
#include "sip-proxy/config.h"
#include "sip-proxy/identity.h"

enum { DOCTOR_PLACES = 16 };

struct place {
	char host[DNS_NAME_MAX];
	struct addr at;
	enum sip_proto proto;
};
struct doctor {
	struct cli_report report;
	const char *domain;
	const struct sip_config *c;	       /* NULL: none */
	const struct sip_route_section *route; /* of this domain, or NULL */
	const char *certificate, *key, *ca;
	const struct cfg_list *stun_servers; /* struct cfg_hostport; NULL: no configuration */
	/* Of the running service, if it was asked. */
	bool asked, listed, denied;	 /* a partner of the store */
	unsigned mode;			 /* of federation: the file's, or what holds in the service */
	struct sip_route_section stored; /* a route of the store; its texts are of kept */
	json_t *kept;
	struct sip_dns dns;
	struct place v[DOCTOR_PLACES];
	unsigned n, spoken;
	bool asked_for_ours; /* the other end has asked for our certificate */
};

/* Which configuration counts: what --config says, or the running service's; else the usual one. */
const char *doctor_config(struct cli *cli, char *buf, size_t n);
void doctor_ask_service(struct doctor *d, struct cli *cli); /* after the file was read */
void doctor_forget_service(struct doctor *d);
void doctor_name_nat(struct doctor *d);

/* Of a finished handshake, each a line or more of the report: their chain, their name, ours. */
void doctor_judge_chain(struct doctor *d, SSL *ssl);
void doctor_judge_name(struct doctor *d, SSL *ssl);
void doctor_judge_ours(struct doctor *d);
