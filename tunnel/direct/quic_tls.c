/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 inside QUIC (RFC 9001) by GnuTLS. Certificates carry keys, and nothing else of them is looked at: the SHA-256 of the
 * SubjectPublicKeyInfo must be the one that the signed offer was checked against (docs/decisions/0017). Both sides must show
 * one. No tickets, no early data: a link lives long enough to pay for its handshake.
 *
 * AES-128-GCM comes first: GnuTLS's ChaCha20 is ten times slower on every processor with AES instructions.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/direct/peer_link.h"
#include "tunnel/direct/quic_priv.h"

#define PRIORITY                                                                                   \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"  \
	"-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%DISABLE_TLS13_COMPAT_MODE"

struct quic_creds {
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
};

static int hash_of(const gnutls_datum_t *der, struct identity_hash *ret_h)
{
	gnutls_x509_crt_t crt;
	size_t n = sizeof(ret_h->b);
	int r;

	if (gnutls_x509_crt_init(&crt) < 0)
		return -ENOMEM;
	r = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER);
	if (r >= 0)
		r = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, ret_h->b, &n);
	gnutls_x509_crt_deinit(crt);
	return r < 0 || n != sizeof(ret_h->b) ? -EINVAL : 0;
}

static int verify(gnutls_session_t tls)
{
	ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(tls);
	struct quic_conn *q = ref->user_data;
	struct identity_hash h;
	unsigned n = 0;
	const gnutls_datum_t *certs = gnutls_certificate_get_peers(tls, &n);

	if (!certs || !n || hash_of(&certs[0], &h) < 0)
		return GNUTLS_E_CERTIFICATE_ERROR;
	if (identity_hash_equal(&h, &q->o.peer))
		return 0;
	q->shown = h;
	return GNUTLS_E_CERTIFICATE_ERROR;
}

int quic_creds_new(const void *cert, size_t cert_n, const void *key, size_t key_n, struct quic_creds **ret_c)
{
	_cleanup_(quic_creds_freep) struct quic_creds *c = calloc(1, sizeof(*c));
	const gnutls_datum_t cert_der = { (void *)cert, (unsigned)cert_n }, key_der = { (void *)key, (unsigned)key_n };

	if (!c || gnutls_certificate_allocate_credentials(&c->cred) < 0)
		return -ENOMEM;
	if (gnutls_certificate_set_x509_key_mem(c->cred, &cert_der, &key_der, GNUTLS_X509_FMT_DER) < 0)
		return -EINVAL;
	gnutls_certificate_set_verify_function(c->cred, verify);
	if (gnutls_priority_init(&c->priority, PRIORITY, NULL) < 0)
		return -ENOMEM;
	*ret_c = steal_ptr(&c);
	return 0;
}

int quic_creds_of(const struct identity *i, struct quic_creds **ret_c)
{
	struct identity_der d;
	int r;

	if (identity_to_der(i, &d) < 0)
		return -EINVAL;
	r = quic_creds_new(d.cert, d.cert_n, d.key, d.key_n, ret_c);
	identity_der_free(&d);
	return r;
}

struct quic_creds *quic_creds_free(struct quic_creds *c)
{
	if (!c)
		return NULL;
	if (c->cred)
		gnutls_certificate_free_credentials(c->cred);
	if (c->priority)
		gnutls_priority_deinit(c->priority);
	free(c);
	return NULL;
}

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct quic_conn *)ref->user_data)->conn;
}

int quic_tls_new(struct quic_conn *q)
{
	const gnutls_datum_t alpn = { (void *)PEER_LINK_ALPN, sizeof(PEER_LINK_ALPN) - 1 };
	unsigned flags = (q->o.client ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;

	if (gnutls_init(&q->tls, flags) < 0) {
		q->tls = NULL;
		return -ENOMEM;
	}
	if (gnutls_priority_set(q->tls, q->o.creds->priority) < 0 ||
	    gnutls_credentials_set(q->tls, GNUTLS_CRD_CERTIFICATE, q->o.creds->cred) < 0 ||
	    gnutls_alpn_set_protocols(q->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY) < 0)
		return -ENOMEM;
	if ((q->o.client ? ngtcp2_crypto_gnutls_configure_client_session(q->tls) :
			   ngtcp2_crypto_gnutls_configure_server_session(q->tls)) != 0)
		return -ENOMEM;
	if (!q->o.client)
		gnutls_certificate_server_set_request(q->tls, GNUTLS_CERT_REQUIRE);
	q->ref = (ngtcp2_crypto_conn_ref){ .get_conn = conn_of, .user_data = q };
	gnutls_session_set_ptr(q->tls, &q->ref);
	return 0;
}

void quic_tls_free(struct quic_conn *q)
{
	if (q->tls)
		gnutls_deinit(q->tls);
	q->tls = NULL;
}
