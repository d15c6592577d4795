/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key pairs: made, hashed, written as PEM and read again. Their files are in identity_file.c.
 *
 * The hash is over the DER of the SubjectPublicKeyInfo as the certificate carries it (as RFC 7469 pins do), so that a
 * certificate can be made anew and the identity stays. Only P-256 with its named curve is taken: one kind of key has one
 * spelling, and nobody sends a key that takes long to check.
 */
#include "tunnel/link/identity.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>
#include "common/bytes.h"

enum { SCRYPT_N = 16384, SCRYPT_R = 8, SCRYPT_P = 1, SALT_LEN = 16, CURVE_NAME_MAX = 32 };

struct identity {
	_Atomic unsigned refs;
	struct identity_hash hash;
	X509 *cert;
	EVP_PKEY *key; /* NULL: not here */
};

DEFINE_CLEANUP(X509, X509_free)
DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(BIO, BIO_free)
DEFINE_CLEANUP(X509_SIG, X509_SIG_free)
DEFINE_CLEANUP(PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free)

/* ---- hashes ---- */

bool identity_hash_is_set(const struct identity_hash *h)
{
	static const struct identity_hash none;

	return !identity_hash_equal(h, &none);
}

const char *identity_print(const struct identity_hash *h, char buf[static IDENTITY_STRLEN])
{
	memcpy(buf, "sha256:", 7);
	hex_encode(h->b, IDENTITY_LEN, buf + 7);
	return buf;
}

int identity_parse(struct text t, struct identity_hash *ret_h)
{
	char digits[2 * IDENTITY_LEN];
	uint8_t b[IDENTITY_LEN];
	size_t n = 0, got;

	t = text_trim(t);
	if (t.n >= 7 && text_ieq((struct text){ t.p, 7 }, TEXT("sha256:")))
		t = text_drop(t, 7);
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] == ':' || t.p[i] == ' ' || t.p[i] == '-')
			continue;
		if (n == sizeof(digits))
			return -EINVAL;
		digits[n++] = t.p[i];
	}
	if (hex_decode((struct text){ digits, n }, b, sizeof(b), &got) < 0 || got != sizeof(b))
		return -EINVAL;
	memcpy(ret_h->b, b, sizeof(b));
	return 0;
}

static bool is_p256(const EVP_PKEY *key)
{
	char curve[CURVE_NAME_MAX];
	size_t n;

	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, curve, sizeof(curve), &n) == 1 &&
	       strcmp(curve, "prime256v1") == 0;
}

int identity_of_cert(const X509 *x, struct identity_hash *ret_h)
{
	unsigned char *der = NULL;
	int n;

	if (!is_p256(X509_get0_pubkey(x))) {
		ERR_clear_error();
		return -EINVAL;
	}
	n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	if (n <= 0)
		return -EINVAL;
	n = EVP_Digest(der, (size_t)n, ret_h->b, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
	OPENSSL_free(der);
	return n;
}

bool identity_signed_by(const X509 *link, const X509 *root)
{
	EVP_PKEY *key = X509_get0_pubkey(root);
	bool good = is_p256(key) && X509_verify((X509 *)link, key) == 1;

	ERR_clear_error();
	return good;
}

/* ---- life ---- */

/* Takes both over. */
static int identity_of(X509 *cert, EVP_PKEY *key, struct identity **ret_i)
{
	_cleanup_(identity_unrefp) struct identity *i = calloc(1, sizeof(*i));
	int r;

	if (!i) {
		X509_free(cert);
		EVP_PKEY_free(key);
		return -ENOMEM;
	}
	i->refs = 1;
	i->cert = cert;
	i->key = key;
	r = identity_of_cert(cert, &i->hash);
	if (r < 0)
		return r;
	*ret_i = steal_ptr(&i);
	return 0;
}

struct identity *identity_ref(struct identity *i)
{
	if (i)
		atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
	return i;
}

struct identity *identity_unref(struct identity *i)
{
	if (!i || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	X509_free(i->cert);
	EVP_PKEY_free(i->key); /* wipes it */
	free(i);
	return NULL;
}

const struct identity_hash *identity_hash(const struct identity *i)
{
	return &i->hash;
}

bool identity_has_key(const struct identity *i)
{
	return i->key != NULL;
}

X509 *identity_cert(const struct identity *i)
{
	return i->cert;
}

EVP_PKEY *identity_key(const struct identity *i)
{
	return i->key;
}

/* ---- in DER ---- */

int identity_to_der(const struct identity *i, struct identity_der *ret_d)
{
	_cleanup_(PKCS8_PRIV_KEY_INFO_freep) PKCS8_PRIV_KEY_INFO *p8 = i->key ? EVP_PKEY2PKCS8(i->key) : NULL;
	struct identity_der d = { 0 };
	int cert_n = i2d_X509(i->cert, &d.cert), key_n = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &d.key) : -1;

	d.cert_n = (size_t)MAX(cert_n, 0);
	d.key_n = (size_t)MAX(key_n, 0);
	if (!d.cert_n || !d.key_n) {
		identity_der_free(&d);
		return i->key ? -ENOMEM : -ENOKEY;
	}
	*ret_d = d;
	return 0;
}

void identity_der_free(struct identity_der *d)
{
	OPENSSL_clear_free(d->key, d->key_n);
	OPENSSL_free(d->cert);
	*d = (struct identity_der){ 0 };
}

/* ---- making one ---- */

/* Dates that nobody reads, but which other software accepts: from 2000 until the end of time (RFC 5280 4.1.2.5). */
static bool fill_in(X509 *x, const char *common_name, EVP_PKEY *key, const struct identity *by)
{
	X509_NAME *name = X509_get_subject_name(x);
	uint64_t serial;

	return bytes_random(&serial, sizeof(serial)) == 0 && X509_set_version(x, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
					  (const unsigned char *)common_name, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, by ? X509_get_subject_name(by->cert) : name) == 1 &&
	       ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20000101000000Z") == 1 &&
	       ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") == 1 &&
	       X509_set_pubkey(x, key) == 1 && X509_sign(x, by ? by->key : key, EVP_sha256()) > 0;
}

int identity_make(const char *common_name, const struct identity *by, struct identity **ret_i)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *x = NULL;

	if (by && !by->key)
		return -ENOKEY;
	key = EVP_EC_gen("P-256");
	x = X509_new();
	if (!x || !key || !fill_in(x, common_name, key, by))
		return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EIO;
	return identity_of(steal_ptr(&x), steal_ptr(&key), ret_i);
}

/* ---- as PEM ---- */

struct pem_items { /* of one text */
	X509 **certs;
	EVP_PKEY **keys;
	size_t cap, n_certs, n_keys;
};

static EVP_PKEY *unlocked(const uint8_t *der, size_t n, const char *passphrase, int *ret_r)
{
	_cleanup_(X509_SIG_freep) X509_SIG *locked = d2i_X509_SIG(NULL, &der, (long)n);
	_cleanup_(PKCS8_PRIV_KEY_INFO_freep) PKCS8_PRIV_KEY_INFO *info = NULL;

	*ret_r = -EINVAL;
	if (!locked)
		return NULL;
	*ret_r = -EKEYREJECTED;
	if (passphrase)
		info = PKCS8_decrypt(locked, passphrase, (int)strlen(passphrase));
	return info ? EVP_PKCS82PKEY(info) : NULL;
}

static int take_item(struct pem_items *t, const char *name, const uint8_t *der, long n,
		     const char *passphrase)
{
	const uint8_t *p = der;
	int r = -EINVAL;

	if (strcmp(name, PEM_STRING_X509) == 0) {
		if (t->n_certs == t->cap || !(t->certs[t->n_certs] = d2i_X509(NULL, &p, n)))
			return -EINVAL;
		t->n_certs++;
		return 0;
	}
	if (t->n_keys == t->cap)
		return -EINVAL;
	if (strcmp(name, PEM_STRING_PKCS8INF) == 0)
		t->keys[t->n_keys] = d2i_AutoPrivateKey(NULL, &p, n);
	else if (strcmp(name, PEM_STRING_PKCS8) == 0)
		t->keys[t->n_keys] = unlocked(der, (size_t)n, passphrase, &r);
	if (!t->keys[t->n_keys])
		return r;
	t->n_keys++;
	return 0;
}

static int read_items(struct pem_items *t, struct text pem, const char *passphrase)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	char *name, *header;
	unsigned char *der;
	long n;
	int r = 0;

	if (!bio)
		return -ENOMEM;
	ERR_clear_error();
	while (r == 0 && PEM_read_bio(bio, &name, &header, &der, &n) == 1) {
		r = take_item(t, name, der, n, passphrase);
		bytes_wipe(der, (size_t)n);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	if (r == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		r = -EINVAL;
	ERR_clear_error();
	return r == 0 && t->n_certs == 0 ? -EINVAL : r;
}

/* Each key goes to its certificate; one that is left over is an error. */
static int pair_up(struct pem_items *t, struct identity **ret_list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n_certs; i++) {
		EVP_PKEY *key = NULL;

		for (size_t k = 0; !key && k < t->n_keys; k++)
			if (t->keys[k] && X509_check_private_key(t->certs[i], t->keys[k]) == 1)
				key = steal_ptr(&t->keys[k]);
		r = identity_of(steal_ptr(&t->certs[i]), key, &ret_list[i]);
	}
	for (size_t k = 0; k < t->n_keys; k++)
		if (t->keys[k] && r == 0)
			r = -EINVAL;
	ERR_clear_error();
	return r;
}

int identity_from_pem(struct text pem, const char *passphrase, struct identity **ret_list,
		      size_t cap, size_t *ret_n)
{
	struct pem_items t = { .certs = calloc(cap, sizeof(*t.certs)),
			       .keys = calloc(cap, sizeof(*t.keys)),
			       .cap = cap };
	struct identity **list = calloc(cap, sizeof(struct identity *));
	int r = -ENOMEM;

	if (t.certs && t.keys && list)
		r = read_items(&t, pem, passphrase);
	if (r == 0)
		r = pair_up(&t, list);
	for (size_t i = 0; i < cap; i++) {
		if (t.certs)
			X509_free(t.certs[i]);
		if (t.keys)
			EVP_PKEY_free(t.keys[i]);
		if (list && r < 0)
			identity_unref(list[i]);
	}
	if (r == 0) {
		memcpy(ret_list, list, t.n_certs * sizeof(struct identity *));
		*ret_n = t.n_certs;
	}
	free(t.certs);
	free(t.keys);
	free(list);
	return r;
}

static bool write_locked(BIO *bio, EVP_PKEY *key, const char *passphrase)
{
	_cleanup_(PKCS8_PRIV_KEY_INFO_freep) PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	_cleanup_(X509_SIG_freep) X509_SIG *locked = NULL;
	uint8_t salt[SALT_LEN];
	X509_ALGOR *how;

	if (!info || bytes_random(salt, sizeof(salt)) < 0)
		return false;
	how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof(salt), NULL, SCRYPT_N, SCRYPT_R,
				    SCRYPT_P);
	if (!how)
		return false;
	locked = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), info, how);
	if (!locked)
		X509_ALGOR_free(how);
	return locked && PEM_write_bio_PKCS8(bio, locked) == 1;
}

static bool write_key(BIO *bio, EVP_PKEY *key, const char *passphrase)
{
	if (passphrase)
		return write_locked(bio, key, passphrase);
	return PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
}

int identity_to_pem(const struct identity *i, const char *passphrase, bool with_key, char **ret_pem)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_secmem());
	char *p;
	long n;

	if (!bio)
		return -ENOMEM;
	if (with_key && !i->key)
		return -ENOKEY;
	if (PEM_write_bio_X509(bio, i->cert) != 1 || (with_key && !write_key(bio, i->key, passphrase))) {
		ERR_clear_error();
		return -EIO;
	}
	n = BIO_get_mem_data(bio, &p);
	*ret_pem = text_dup((struct text){ p, (size_t)n });
	return *ret_pem ? 0 : -ENOMEM;
}
