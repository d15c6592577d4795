/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two TLS contexts of the tunnel. OpenSSL's chain building is replaced as a whole
 * (SSL_CTX_set_cert_verify_callback): what counts is the hash of a key and one signature, which two short functions can say.
 *
 * A verdict that is a refusal leaves a sentence at the session (ex_data), where link_tls_why() finds it.
 */
#include "tunnel/link/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>

enum { CHAIN_BYTES_MAX = 8192, WHY_MAX = 256 };

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static const uint8_t alpn_wire[] = "\x0dstile-agent/1"; /* RFC 7301 3.1: length, name */
enum { ALPN_WIRE_LEN = sizeof(alpn_wire) - 1 };
_Static_assert(sizeof(LINK_ALPN) - 1 == 13, "the length byte of alpn_wire");

static int ssl_why, ctx_expect; /* ex_data numbers */
static once_flag numbers_once = ONCE_FLAG_INIT;

static void free_plain(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	free(ptr);
}

static void get_numbers(void)
{
	ssl_why = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_plain);
	ctx_expect = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_plain);
}

/* ---- verdicts ---- */

static SSL *session_of(X509_STORE_CTX *x)
{
	return X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
}

static int refuse(X509_STORE_CTX *x, const char *why)
{
	char *copy = strdup(why);

	if (copy && SSL_set_ex_data(session_of(x), ssl_why, copy) != 1)
		free(copy);
	X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int take(X509_STORE_CTX *x)
{
	X509_STORE_CTX_set_error(x, X509_V_OK);
	return 1;
}

static int on_agent_cert(X509_STORE_CTX *x, void *arg)
{
	struct identity_hash h;

	(void)arg;
	if (identity_of_cert(X509_STORE_CTX_get0_cert(x), &h) < 0)
		return refuse(x, "the agent's certificate has no P-256 key");
	return take(x);
}

static bool expected(const struct link_expect *e, const struct identity_hash *root)
{
	switch (e->kind) {
	case LINK_EXPECT_ANY: return true;
	case LINK_EXPECT_PREFIX:
		return memcmp(e->prefix, root->b, LINK_PREFIX_LEN) == 0; /* no secret */
	case LINK_EXPECT_PINS:
		return identity_hash_equal(root, &e->pins.root) ||
		       (identity_hash_is_set(&e->pins.successor) &&
			identity_hash_equal(root, &e->pins.successor));
	}
	return false;
}

static int unexpected(X509_STORE_CTX *x, const struct link_expect *e, const struct identity_hash *root)
{
	char why[WHY_MAX], shown[IDENTITY_STRLEN], pinned[IDENTITY_STRLEN];

	(void)identity_print(root, shown);
	if (e->kind == LINK_EXPECT_PREFIX)
		(void)snprintf(why, sizeof(why),
			       "this is not the server of the enrolment code: its root key is %s",
			       shown);
	else
		(void)snprintf(why, sizeof(why),
			       "the server shows another root key, %s, than the pinned %s", shown,
			       identity_print(&e->pins.root, pinned));
	return refuse(x, why);
}

/* Link certificate first, then the root that signed it: as link_tls_server() sends them. */
static int on_server_chain(X509_STORE_CTX *x, void *arg)
{
	const struct link_expect *e = arg;
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(x);
	X509 *link = X509_STORE_CTX_get0_cert(x),
	     *root = sk_X509_num(chain) == 2 ? sk_X509_value(chain, 1) : NULL;
	struct identity_hash link_hash, root_hash;

	if (!root || identity_of_cert(link, &link_hash) < 0 || identity_of_cert(root, &root_hash) < 0)
		return refuse(x, "the server shows no link certificate with a root: it is no tunnel server");
	if (!expected(e, &root_hash))
		return unexpected(x, e, &root_hash);
	if (!identity_signed_by(link, root))
		return refuse(x, "the server's link certificate is not signed by its root key");
	return take(x);
}

/* ---- contexts ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
		   const unsigned char *in, unsigned in_n, void *arg)
{
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_n, alpn_wire, ALPN_WIRE_LEN, in, in_n) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_protocol(SSL_CTX *c, const struct identity *self)
{
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
				       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				    SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_max_cert_list(c, CHAIN_BYTES_MAX);
	return SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(c, SUITES) == 1 && SSL_CTX_set_num_tickets(c, 0) == 1 &&
	       SSL_CTX_set_max_early_data(c, 0) == 1 &&
	       SSL_CTX_set1_groups_list(c, "X25519:P-256") == 1 &&
	       SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256") == 1 &&
	       SSL_CTX_use_certificate(c, identity_cert(self)) == 1 &&
	       SSL_CTX_use_PrivateKey(c, identity_key(self)) == 1;
}

/* Takes c over. */
static int wrap(SSL_CTX *c, bool good, bool client, struct tls_ctx **ret_ctx)
{
	if (good)
		return tls_ctx_adopt(c, client, ret_ctx);
	SSL_CTX_free(c);
	ERR_clear_error();
	return -EIO;
}

int link_tls_server(const struct server_keys *k, struct tls_ctx **ret_ctx)
{
	SSL_CTX *c;
	bool good;

	call_once(&numbers_once, get_numbers);
	c = SSL_CTX_new(TLS_server_method());
	if (!c)
		return -ENOMEM;
	good = set_protocol(c, k->link) && SSL_CTX_add1_chain_cert(c, identity_cert(k->root)) == 1;
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(c, on_agent_cert, NULL);
	SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
	return wrap(c, good, false, ret_ctx);
}

int link_tls_agent(const struct identity *self, const struct link_expect *expect, struct tls_ctx **ret_ctx)
{
	struct link_expect *copy;
	SSL_CTX *c;
	bool good;

	call_once(&numbers_once, get_numbers);
	copy = malloc(sizeof(*copy));
	c = SSL_CTX_new(TLS_client_method());
	if (!c || !copy) {
		SSL_CTX_free(c);
		free(copy);
		return -ENOMEM;
	}
	*copy = *expect;
	if (SSL_CTX_set_ex_data(c, ctx_expect, copy) != 1) {
		SSL_CTX_free(c);
		free(copy);
		return -ENOMEM;
	}
	good = set_protocol(c, self) && SSL_CTX_set_alpn_protos(c, alpn_wire, ALPN_WIRE_LEN) == 0;
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(c, on_server_chain, copy);
	return wrap(c, good, true, ret_ctx);
}

/* ---- sessions ---- */

int link_tls_peer(SSL *ssl, struct link_peer *ret_p)
{
	const struct link_expect *e = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_expect);
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	X509 *x = SSL_is_server(ssl) ? SSL_get0_peer_certificate(ssl) : sk_X509_value(chain, 1);
	struct link_peer p = { 0 };
	const unsigned char *alpn;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &alpn, &n);
	if (!text_eq((struct text){ (const char *)alpn, n }, TEXT(LINK_ALPN)) || !x ||
	    identity_of_cert(x, &p.id) < 0)
		return -EPROTO;
	p.successor = e && e->kind == LINK_EXPECT_PINS && !identity_hash_equal(&p.id, &e->pins.root);
	*ret_p = p;
	return 0;
}

int link_tls_exporter(SSL *ssl, const char *label, uint8_t out[static LINK_EXPORTER_LEN])
{
	if (SSL_export_keying_material(ssl, out, LINK_EXPORTER_LEN, label, strlen(label), NULL, 0, 1) == 1)
		return 0;
	ERR_clear_error();
	return -EIO;
}

bool link_tls_foreign(SSL *ssl)
{
	return SSL_get_verify_result(ssl) == X509_V_ERR_APPLICATION_VERIFICATION;
}

const char *link_tls_why(SSL *ssl, char *buf, size_t n)
{
	const char *why = SSL_get_ex_data(ssl, ssl_why);

	if (!why)
		return tls_failure_text(ssl, buf, n);
	(void)snprintf(buf, n, "%s", why);
	ERR_clear_error();
	return buf;
}
