/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials for stile-turn, for UC clients behind NATs: minted here with a secret that stile-turn shares (one of
 * turn.secrets; draft-uberti-behave-turn-rest), and handed out in a header of the answer to REGISTER to whoever asked by
 * sending that header, or by a control verb. A hook of the policy; SDP is left alone.
 *
 * They are a password for as long as they live, so they go over TLS only, unless sip.turn.plain says otherwise.
 */
#pragma once
#include "sip-proxy/config.h"
#include "sip-proxy/registrar.h"

enum {
	SIP_TURN_USER_MAX = 320,
	SIP_TURN_PASSWORD_MAX = 48,
	SIP_TURN_VALUE_MAX = SIP_REGISTRAR_MORE
};

struct sip_turn;
int sip_turn_new(const struct sip_config *c,
		 struct sip_turn **ret_t); /* 0 or -ENOMEM; without a secret: hands out nothing */
struct sip_turn *sip_turn_free(struct sip_turn *t);
DEFINE_CLEANUP(struct sip_turn, sip_turn_free)
bool sip_turn_is_on(const struct sip_turn *t);

struct sip_turn_credentials {
	char user[SIP_TURN_USER_MAX], password[SIP_TURN_PASSWORD_MAX];
	uint64_t ttl_s;
};
/* 0; -ENOSPC: the name is too long; -EIO. */
int sip_turn_mint(const struct sip_turn *t, const char *name, int64_t unix_s,
		  struct sip_turn_credentials *ret_c);
/* "turn:a, turns:b" */
const char *sip_turn_uris(const struct sip_turn *t);

/* What a hook's arg points to: it is replaced by a reload. */
struct sip_turn_place {
	struct sip_turn *turn;
};
enum sip_step sip_turn_request(struct sip_passage *p,
			       void *arg); /* HYGIENE: does it ask? The header goes no further */
bool sip_turn_response(struct sip_return *ret, void *arg);
/* For the registrar's own answer: 0 or 1 line more. buf holds its value. */
unsigned sip_turn_line(const struct sip_turn *t, const struct sip_passage *p, const char *aor,
		       struct sip_line *ret_line, char buf[static SIP_TURN_VALUE_MAX]);
