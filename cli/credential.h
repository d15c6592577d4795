/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential for a TURN server, wherever it comes from: options, the configuration file, the running
 * server. The struct holds copies and is wiped by its owner. All functions print why they fail and
 * return the exit code.
 */
#pragma once
#include "cli/command.h"
#include "turn/config.h"

struct credential {
	char user[300], password[300], realm[300];
	uint64_t expires; /* unix seconds; 0: does not expire */
	char source[64];  /* "turn.password of /etc/stile/stile.yaml": for the checklist */
};

/* What --realm means: all but cfg's own credentials and name is cfg's. Without it *ret_view is cfg. Shallow: it lives
 * as long as cfg. ret_section, if wanted: NULL for the default realm. 0, or an exit status with a line said. */
struct turn_realm_section;
int credential_realm(struct cli *cli, const struct turn_config *cfg, struct turn_config *ret_view,
		     const struct turn_realm_section **ret_section);
/* A time-limited one: by the file's secrets if the file can be read, else by the server's verb. 0 or the
 * exit code after saying why. */
int credential_mint(struct cli *cli, const char *name, uint64_t ttl_s, bool sha256, struct credential *ret_c);
/* For a client to paste: the password with a plain name, the first user, or a day's credential. */
int credential_for_client(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c);
/* Any that works for tests: --user/--password, --shared-secret, or from the file: password, a user,
 * a secret (in this order). cfg may be NULL. */
int credential_for_test(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c);
/* Another user beside that one: --other-user/--other-password, minted from the same secret, or the file's
 * second user. None is known: an empty user, which is no failure. */
int credential_for_other(struct cli *cli, const struct turn_config *cfg, struct credential *ret_c);
