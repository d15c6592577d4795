/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is who in the tunnel (docs/decisions/0017): P-256 key pairs, each with a certificate that carries it into a TLS
 * handshake, and the SHA-256 of its SubjectPublicKeyInfo, which is the identity.
 *
 * An agent has one pair. A server has a root, its successor (whose key may be kept elsewhere; its certificate is here then)
 * and a link pair, whose certificate the root signed: server_keys.h. Dates, names, serial numbers and CAs count nowhere.
 *
 * A struct identity never changes and is shared by reference, also between threads.
 */
#pragma once
#include <openssl/x509.h>
#include "common/text.h"

enum {
	IDENTITY_LEN = 32,
	IDENTITY_STRLEN = 7 + 64 + 1, /* "sha256:" and 64 hexadecimal digits */
	IDENTITY_ERRLEN = 384,
};

struct identity_hash {
	uint8_t b[IDENTITY_LEN];
};
static inline bool identity_hash_equal(const struct identity_hash *a, const struct identity_hash *b)
{
	return __builtin_memcmp(a->b, b->b, IDENTITY_LEN) == 0; /* no secret */
}
bool identity_hash_is_set(const struct identity_hash *h); /* not all zero */
/* "sha256:6f0a…", as people are shown it, as stile.yaml and the store have it. */
const char *identity_print(const struct identity_hash *h, char buf[static IDENTITY_STRLEN]);
/* As printed; "sha256:" may be missing, letters may be capitals, colons, blanks and dashes between digits do not count.
 * 0 or -EINVAL. */
int identity_parse(struct text t, struct identity_hash *ret_h);

struct identity;

/* A new pair with a certificate signed by `by`, or by itself (NULL). common_name is for people who look at it with
 * openssl. 0, -ENOMEM, -EIO (OpenSSL; the reason is in its queue), -ENOKEY: `by` has no private key here. */
int identity_make(const char *common_name, const struct identity *by, struct identity **ret_i);
/* The pairs in a PEM text, in the order of their certificates; a private key belongs to the certificate of its public
 * key, wherever it stands, may be missing, and may be locked by the passphrase (NULL: none is). At most cap. 0, -EINVAL: no
 * certificate, a damaged one, too many, or a key of none of them; -EKEYREJECTED: the passphrase is wrong; -ENOMEM. */
int identity_from_pem(struct text pem, const char *passphrase, struct identity **ret_list,
		      size_t cap, size_t *ret_n);
/* Both in PEM, the key locked by the passphrase unless NULL (PKCS #8, AES-256, scrypt); malloc'd, to be wiped and freed. */
int identity_to_pem(const struct identity *i, const char *passphrase, bool with_key, char **ret_pem);
struct identity *identity_ref(struct identity *i);
struct identity *identity_unref(struct identity *i); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct identity, identity_unref)

const struct identity_hash *identity_hash(const struct identity *i);
bool identity_has_key(const struct identity *i);
X509 *identity_cert(const struct identity *i);	  /* borrowed */
EVP_PKEY *identity_key(const struct identity *i); /* borrowed; NULL: only the certificate is here */
struct identity_der { /* for TLS by another library: the key as PKCS #8 */
	uint8_t *cert, *key;
	size_t cert_n, key_n;
};
int identity_to_der(const struct identity *i, struct identity_der *ret_d); /* 0, -ENOKEY, -ENOMEM */
void identity_der_free(struct identity_der *d);				   /* wipes the key */

/* Of any certificate. -EINVAL: its key is no P-256 key. */
int identity_of_cert(const X509 *x, struct identity_hash *ret_h);
/* `link` is signed by the key of `root`; nothing else of either counts. */
bool identity_signed_by(const X509 *link, const X509 *root);

/* Files of one pair each, mode 0600, written beside their place, synced, and moved there: after a crash there is the old
 * one or the new one. err gets a sentence. */
int identity_load(const char *path, char err[static IDENTITY_ERRLEN],
		  struct identity **ret_i); /* -ENOENT: there is none */
int identity_save(const struct identity *i, const char *path, bool with_key,
		  char err[static IDENTITY_ERRLEN]);
/* An agent's: the one in folder/agent-identity.pem, which is made if there is none. */
int identity_of_agent(const char *folder, char err[static IDENTITY_ERRLEN], struct identity **ret_i);
