/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation lists (RFC 5280) out of a PEM file, for a context that verifies its peers. A list says something about the
 * certificates of its own CA and of nobody else: a CA without a list is not asked for one. A list that is out
 * of date refuses all of its CA's certificates until there is a newer one, which is said when it is read.
 */
#include "common/tls_crl.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static int on_verify(int good, X509_STORE_CTX *sc)
{
	if (good || X509_STORE_CTX_get_error(sc) != X509_V_ERR_UNABLE_TO_GET_CRL)
		return good;
	X509_STORE_CTX_set_error(sc, X509_V_OK);
	return 1;
}

static bool is_over(const X509_CRL *crl)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

	return next && X509_cmp_current_time(next) < 0;
}

/* Number of lists; over: so many are out of date. */
static unsigned add_all(X509_STORE *store, FILE *f, unsigned *ret_over)
{
	unsigned n = 0;
	X509_CRL *crl;

	*ret_over = 0;
	while ((crl = PEM_read_X509_CRL(f, NULL, NULL, NULL))) {
		*ret_over += is_over(crl);
		n += X509_STORE_add_crl(store, crl) == 1;
		X509_CRL_free(crl);
	}
	return n;
}

int tls_load_crls(SSL_CTX *ctx, const char *path, char err[static TLS_ERRLEN])
{
	FILE *f = fopen(path, "re");
	unsigned n, over;
	char why[128];

	if (!f) {
		(void)snprintf(err, TLS_ERRLEN, "the CRL file \"%s\" cannot be read: %s", path,
			       strerror(errno));
		return -errno;
	}
	n = add_all(SSL_CTX_get_cert_store(ctx), f, &over);
	(void)fclose(f);
	if (!n || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		(void)snprintf(err, TLS_ERRLEN,
			       "\"%.100s\" holds no PEM revocation list (-----BEGIN X509 CRL-----): %s",
			       path, tls_error_text(why, sizeof(why)));
		return -EINVAL;
	}
	ERR_clear_error();
	if (over)
		(void)snprintf(err, TLS_ERRLEN,
			       "a revocation list in \"%.100s\" is out of date: certificates of its CA are refused until there is a new one",
			       path);
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_CRL_CHECK);
	SSL_CTX_set_verify(ctx, SSL_CTX_get_verify_mode(ctx), on_verify);
	return 0;
}
