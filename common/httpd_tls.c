/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the HTTP frame. libmicrohttpd speaks GnuTLS and reads one certificate at its start; here each connection is given
 * the credentials that are in force when it comes, so that a reload needs no restart and an old connection keeps its own.
 *
 * With a client CA the handshake itself demands a certificate that it has signed: nobody else gets as far as HTTP.
 */
#include "common/httpd.h"
#include "common/httpd_priv.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct httpd_tls {
	_Atomic unsigned refs;
	gnutls_certificate_credentials_t credentials;
	bool ask_client;
};

struct httpd_tls *httpd_tls_ref(struct httpd_tls *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

struct httpd_tls *httpd_tls_unref(struct httpd_tls *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return NULL;
	if (t->credentials)
		gnutls_certificate_free_credentials(t->credentials);
	free(t);
	return NULL;
}

static int read_failed(const char *what, const char *file, int r, char *err, size_t n)
{
	(void)snprintf(err, n, "%s %s cannot be used: %s", what, file, gnutls_strerror(r));
	return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
}

static int read_clients(struct httpd_tls *t, const struct httpd_tls_options *o, char *err, size_t n)
{
	int r = gnutls_certificate_set_x509_trust_file(t->credentials, o->client_ca_file, GNUTLS_X509_FMT_PEM);

	if (r < 0)
		return read_failed("the certificate of the clients' authority", o->client_ca_file, r, err, n);
	if (r == 0) {
		(void)snprintf(err, n, "%s holds no certificate", o->client_ca_file);
		return -EINVAL;
	}
	t->ask_client = true;
	if (!o->client_crl_file)
		return 0;
	r = gnutls_certificate_set_x509_crl_file(t->credentials, o->client_crl_file, GNUTLS_X509_FMT_PEM);
	return r < 0 ? read_failed("the revocation list", o->client_crl_file, r, err, n) : 0;
}

/* Each certificate of a file alone: of a list with one that it cannot read, GnuTLS 3.7 never frees what it had made of it, and an
 * administrator may try a reload often. 0 or a GnuTLS error; a file without any is not this function's affair. */
static int try_certificates(const char *file)
{
	static const char begin[] = "-----BEGIN CERTIFICATE";
	gnutls_datum_t all = { 0 };
	int r = gnutls_load_file(file, &all);

	for (unsigned char *p = all.data; r >= 0 && p;) {
		size_t left = all.size - (size_t)(p - all.data);
		gnutls_x509_crt_t crt;

		p = memmem(p, left, begin, sizeof(begin) - 1);
		if (!p)
			break;
		r = gnutls_x509_crt_init(&crt);
		if (r < 0)
			break;
		r = gnutls_x509_crt_import(crt, &(gnutls_datum_t){ p, all.size - (unsigned)(p - all.data) }, GNUTLS_X509_FMT_PEM);
		gnutls_x509_crt_deinit(crt);
		p += sizeof(begin) - 1;
	}
	gnutls_free(all.data);
	return r;
}

int httpd_tls_new(const struct httpd_tls_options *o, char *err, size_t err_n, struct httpd_tls **ret_t)
{
	_cleanup_(httpd_tls_unrefp) struct httpd_tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t || gnutls_certificate_allocate_credentials(&t->credentials) < 0) {
		(void)snprintf(err, err_n, "out of memory");
		free(t);
		t = NULL;
		return -ENOMEM;
	}
	t->refs = 1;
	r = try_certificates(o->cert_file);
	if (r >= 0)
		r = gnutls_certificate_set_x509_key_file(t->credentials, o->cert_file, o->key_file, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return read_failed("the certificate", o->cert_file, r, err, err_n);
	r = o->client_ca_file ? read_clients(t, o, err, err_n) : 0;
	if (r < 0)
		return r;
	*ret_t = steal_ptr(&t);
	return 0;
}

static struct httpd_conn *conn_of(gnutls_session_t session)
{
	struct MHD_Connection *con = gnutls_session_get_ptr(session); /* libmicrohttpd has put it there */

	return MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void cert_refused(struct httpd_conn *c, unsigned status)
{
	gnutls_datum_t why = { 0 };

	(void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &why, 0);
	httpd_refuse(c->h, HTTPD_BAD_CERT, &c->peer, why.data ? (const char *)why.data : "");
	gnutls_free(why.data);
}

/* In the handshake, when the client has sent its certificate, or none. */
static int verify_client(gnutls_session_t session)
{
	struct httpd_conn *c = conn_of(session);
	unsigned status = 0;
	int r = gnutls_certificate_verify_peers3(session, NULL, &status);

	if (r == 0 && status == 0)
		return 0;
	if (r < 0)
		httpd_refuse(c->h, HTTPD_BAD_CERT, &c->peer,
			     r == GNUTLS_E_NO_CERTIFICATE_FOUND ? "the client shows no certificate" : gnutls_strerror(r));
	else
		cert_refused(c, status);
	return GNUTLS_E_CERTIFICATE_ERROR;
}

int httpd_tls_apply(struct httpd_tls *t, gnutls_session_t session)
{
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->credentials) < 0)
		return -ENOMEM;
	if (t->ask_client) {
		/* Not "require", which would end the handshake before we could say why. */
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
		gnutls_session_set_verify_function(session, verify_client);
	}
	return 0;
}

static bool cert_names(const gnutls_datum_t *der, char *subject, size_t n, char sha256[static 65])
{
	unsigned char digest[32];
	size_t digest_n = sizeof(digest), subject_n = n;
	gnutls_x509_crt_t crt;
	bool good;

	if (gnutls_x509_crt_init(&crt) < 0)
		return false;
	good = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0 && gnutls_x509_crt_get_dn(crt, subject, &subject_n) == 0 &&
	       gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &digest_n) == 0;
	gnutls_x509_crt_deinit(crt);
	if (good)
		hex_encode(digest, sizeof(digest), sha256);
	return good;
}

bool httpd_tls_missing_client(const struct httpd_conn *c)
{
	const union MHD_ConnectionInfo *info;
	unsigned n = 0;

	if (!c->tls || !c->tls->ask_client)
		return false;
	info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	return !info || !gnutls_certificate_get_peers(info->tls_session, &n) || n == 0;
}

bool httpd_client_cert(const struct httpd_rq *rq, char *subject, size_t n, char sha256[static 65])
{
	const union MHD_ConnectionInfo *info;
	const gnutls_datum_t *chain;
	unsigned chain_n = 0;

	if (!rq->conn->tls || !rq->conn->tls->ask_client)
		return false;
	info = MHD_get_connection_info(rq->conn->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	chain = info ? gnutls_certificate_get_peers(info->tls_session, &chain_n) : NULL;
	return chain && chain_n > 0 && cert_names(chain, subject, n, sha256);
}
