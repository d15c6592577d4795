/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks between keys of the `turn` section, for the two files that have them: config_check.c for the
 * section itself, config_realms.c for its realms, which have credentials, prefixes and certificates too.
 * Each adds its errors and warnings to the struct cfg; none stops at the first one.
 */
#pragma once
#include "common/tls.h"
#include "turn/config.h"

struct key_path {
	char s[128];
};
/* "turn.users[2].name", "turn.realms[0].users[2].name"; base: "turn", "turn.realms[0]"; member NULL: the item itself. */
struct key_path check_item(const char *base, const char *list, size_t i, const char *member);
struct key_path check_key(const char *base, const char *key);

struct named { /* an item of a list, by its name */
	char name[512];
	size_t i;
};
/* Says of each later one of equal names where the first stands. Sorts. */
struct named_list {
	struct named *names;
	size_t n;
	const char *base, *list, *member, *what;
};
void check_twice(struct cfg *c, const struct named_list *l);

/* Whose passwords are asked: of `turn` or of a realm. */
struct check_sources {
	const char *base, *password;
	const struct cfg_list *users, *secrets;
};
void check_credentials(struct cfg *c, const struct check_sources *from);
/* key: where the name stands. */
void check_realm_name(struct cfg *c, const char *key, const char *name);
void check_peers(struct cfg *c, const char *base, const struct turn_peer_rules *peers, const struct turn_peer_rules *server);

/* Loads it and tells what is wrong. NULL: it cannot be used, which has its error. */
struct check_certificate {
	const char *base, *certificate, *key;
	bool dtls; /* which asks more of a key than TLS */
};
struct tls_ctx *check_load_certificate(struct cfg *c, const struct check_certificate *from);
bool check_wants_tls(const struct turn_config *t, const struct cfg_endpoint **ret_first, bool *ret_dtls);

/* config_realms.c */
void check_realms(struct cfg *c, const struct turn_config *t);
