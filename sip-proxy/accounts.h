/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of our domains: those of sip.users, which the file locks, and those made while the service runs
 * (`stile sip user add`), which are kept in the store under the kind "sip.user", key "alice@example.org". Passwords are
 * kept readable (the store's file has mode 0600), because the hashes of RFC 8760 for each algorithm are made from them; the
 * audit does not have them.
 */
#pragma once
#include "common/service.h"
#include "sip-proxy/config.h"

struct sip_accounts;
int sip_accounts_new(struct service *svc, const struct sip_config *c,
		     struct sip_accounts **ret_a); /* 0 or -errno */
struct sip_accounts *sip_accounts_free(struct sip_accounts *a);
/* A reload: other accounts of the file. 0 or -ENOMEM, and then the old ones stay. */
int sip_accounts_reload(struct sip_accounts *a, const struct sip_config *c);
/* The password of "alice@example.org" (host in lower case), until the next change; p NULL: nobody has that name. */
struct text sip_accounts_password(const struct sip_accounts *a, const char *aor);
void sip_accounts_add_verbs(struct sip_accounts *a, struct control_server *cs); /* sip.user.list, put, delete */
