/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a tunnel server, in the files tunnel-root.pem, tunnel-successor.pem and tunnel-link.pem of a folder (that
 * of the store). Made at the first start; a missing link pair is made again by itself, and a missing root is replaced
 * by the successor, for which every agent waits already. Only with both gone, or with the successor's key kept
 * elsewhere, is there nothing to go on with, and a new root is never made over a successor: that would lock every site out.
 *
 * Agents accept a link certificate that is signed by the root they have pinned, or by the successor (server_pins).
 * Who has stolen a link or root key is shut out by rotating the root.
 */
#pragma once
#include "tunnel/link/identity.h"

struct server_keys { /* references */
	struct identity *root, *successor, *link;
};
struct server_pins {			      /* what an agent knows of its server */
	struct identity_hash root, successor; /* successor all zero: none known */
};

enum server_keys_news {
	KEYS_AS_THEY_WERE,
	KEYS_MADE,
	KEYS_LINK_MADE,
	KEYS_SUCCESSOR_MADE,
	KEYS_ROOT_REPLACED
};

/* Reads them, and makes what is missing as told above. ret_news says what happened, for the log. */
int server_keys_open(const char *folder, char err[static IDENTITY_ERRLEN],
		     enum server_keys_news *ret_news, struct server_keys *ret_k);
void server_keys_deinit(struct server_keys *k);
void server_keys_copy(const struct server_keys *from, struct server_keys *ret_k); /* further references */

/* A new link pair; and the successor as the new root, with a new successor and link pair. k is changed when the
 * files are written, and not on failure. -ENOKEY: the key that is needed is kept elsewhere (import it first). */
int server_keys_rotate_link(const char *folder, struct server_keys *k, char err[static IDENTITY_ERRLEN]);
int server_keys_rotate_root(const char *folder, struct server_keys *k, char err[static IDENTITY_ERRLEN]);
/* Removes the private key of the successor, which must have been exported; its certificate stays, agents are told it. */
int server_keys_drop_successor_key(const char *folder, struct server_keys *k,
				   char err[static IDENTITY_ERRLEN]);

/* The backup: root and successor, keys locked by a passphrase, as PEM text (malloc'd). successor_only: to be kept apart. */
int server_keys_export(const struct server_keys *k, const char *passphrase, bool successor_only,
		       char err[static IDENTITY_ERRLEN], char **ret_pem);
/* Takes a backup in. Unless forced, only what belongs to the keys that are here: the root or successor itself, for which
 * a key may have been missing; -EEXIST: they are other keys, and agents of the present ones would be locked out. */
int server_keys_import(const char *folder, struct text pem, const char *passphrase, bool force,
		       struct server_keys *k, char err[static IDENTITY_ERRLEN]);
