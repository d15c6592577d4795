/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts: files in, SSL_CTX out, one sentence for each thing that can be wrong with them.
 *
 * Files are read here and not by OpenSSL, so that "missing", "not readable", "holds no certificate" and
 * "is locked by a passphrase" stay apart. The TLS 1.2 list begins with forward secrecy and AEAD and
 * ends with ECDHE and CBC for old Schannel and telephone clients (RFC 9325 4.2); static RSA and
 * finite-field DH are not offered. TLS 1.3 has the same three as OpenSSL; a server takes AES-128 first,
 * which RFC 8446 9.1 asks of everybody and which costs a third less than AES-256.
 */
#include "common/tls.h"
#include "common/dtls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "common/server_name.h"
#include "common/tls_crl.h"
#include "common/tls_tickets.h"

#define AEAD_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SUITES_TLS13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_TLS12 AEAD_CIPHERS ":ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP"
/* No CBC: with encrypt-then-MAC (RFC 7366) OpenSSL 3.0 ends a DTLS session over the first record whose MAC is wrong,
 * and anybody can send one in the peer's name. */
#define CIPHERS_DTLS12 AEAD_CIPHERS ":!aNULL:!eNULL:!PSK:!SRP"

enum { PEM_MAX = 1 << 20, ALPN_MAX = 256 };

struct tls_ctx {
	SSL_CTX *ssl;
	_Atomic unsigned refs;
	bool client, name_by_owner;
	uint8_t alpn[ALPN_MAX]; /* as on the wire: length, name … (RFC 7301 3.1) */
	unsigned alpn_n;
	struct sni *names; /* a server's further certificates */
	size_t n_names;
};

struct sni {
	char *pattern;
	struct tls_ctx *ctx; /* referenced: it outlives the sessions, which hold the context that names it */
};

DEFINE_CLEANUP(X509, X509_free)
DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(BIO, BIO_free)
DEFINE_CLEANUP(FILE, fclose)

/* ---- errors ---- */

static int say(char *err, int r, const char *fmt, ...) _printf_(3, 4);
static int say(char *err, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, TLS_ERRLEN, fmt, ap);
	va_end(ap);
	return r;
}

/* ---- files ---- */

static int read_pem(const char *path, const char *what, char *err, BIO **ret_bio)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	_cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
	char chunk[4096];
	size_t n, total = 0;

	if (!f)
		return say(err, -errno, "the %s file \"%s\" cannot be read: %s", what, path, strerror(errno));
	if (!bio)
		return say(err, -ENOMEM, "out of memory");
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) {
		total += n;
		if (total > PEM_MAX)
			return say(err, -EINVAL, "the %s file \"%s\" is too large to be one", what, path);
		if (BIO_write(bio, chunk, (int)n) != (int)n)
			return say(err, -ENOMEM, "out of memory");
	}
	OPENSSL_cleanse(chunk, sizeof(chunk));
	if (ferror(f))
		return say(err, -EIO, "the %s file \"%s\" cannot be read: %s", what, path, strerror(errno));
	*ret_bio = steal_ptr(&bio);
	return 0;
}

static int use_certificate(SSL_CTX *ctx, const char *path, char *err)
{
	_cleanup_(BIO_freep) BIO *bio = NULL;
	_cleanup_(X509_freep) X509 *leaf = NULL;
	char why[128];
	X509 *ca;
	int r = read_pem(path, "certificate", err, &bio);

	if (r < 0)
		return r;
	leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	if (!leaf)
		return say(err, -EINVAL, "\"%s\" holds no PEM certificate (-----BEGIN CERTIFICATE-----): %s", path,
			   tls_error_text(why, sizeof(why)));
	if (SSL_CTX_use_certificate(ctx, leaf) != 1)
		return say(err, -EINVAL, "the certificate in \"%s\" cannot be used: %s", path,
			   tls_error_text(why, sizeof(why)));
	while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (SSL_CTX_add0_chain_cert(ctx, ca) == 1)
			continue; /* owned by ctx now */
		X509_free(ca);
		return say(err, -EINVAL, "an intermediate certificate in \"%s\" cannot be used: %s", path,
			   tls_error_text(why, sizeof(why)));
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return say(err, -EINVAL, "an intermediate certificate in \"%s\" is damaged: %s", path,
			   tls_error_text(why, sizeof(why)));
	ERR_clear_error();
	return 0;
}

static int refuse_passphrase(char *buf, int n, int rwflag, void *asked)
{
	(void)buf;
	(void)n;
	(void)rwflag;
	*(bool *)asked = true;
	return -1;
}

static int use_key(SSL_CTX *ctx, const struct tls_options *opt, char *err)
{
	const char *path = opt->key_file;
	_cleanup_(BIO_freep) BIO *bio = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	bool locked = false;
	char why[128];
	int r = read_pem(path, "key", err, &bio);

	if (r < 0)
		return r;
	key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &locked);
	if (!key && locked) {
		ERR_clear_error();
		return say(err, -EINVAL, "the key in \"%s\" is locked by a passphrase; store it without one: "
			   "openssl pkey -in FILE -out NEWFILE", path);
	}
	if (!key)
		return say(err, -EINVAL, "\"%s\" holds no PEM private key: %s", path,
			   tls_error_text(why, sizeof(why)));
	if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1) {
		ERR_clear_error();
		return say(err, -EKEYREJECTED, "the key in \"%s\" does not belong to the certificate in \"%s\"",
			   path, opt->cert_file);
	}
	if (opt->dtls && (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")))
		return say(err, -EINVAL, "the key in \"%s\" is an Ed25519 or Ed448 key, with which OpenSSL speaks no "
			   "DTLS; take an ECDSA (P-256) or RSA key, or no dtls listener", path);
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return say(err, -EINVAL, "the key in \"%s\" cannot be used: %s", path,
			   tls_error_text(why, sizeof(why)));
	return 0;
}

static int load_identity(SSL_CTX *ctx, const struct tls_options *opt, char *err)
{
	int r;

	if (!opt->cert_file && !opt->key_file && opt->client)
		return 0;
	if (!opt->cert_file)
		return say(err, -EINVAL, "a certificate is needed, and none is configured");
	if (!opt->key_file)
		return say(err, -EINVAL, "a key is needed for the certificate \"%s\", and none is configured",
			   opt->cert_file);
	r = use_certificate(ctx, opt->cert_file, err);
	return r < 0 ? r : use_key(ctx, opt, err);
}

static int load_trust(SSL_CTX *ctx, const struct tls_options *opt, char *err)
{
	_cleanup_(BIO_freep) BIO *bio = NULL;
	char why[128];
	int r, mode = SSL_VERIFY_PEER;

	if (!opt->verify_peer)
		return 0;
	if (!opt->client)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(ctx, mode, NULL);
	if (!opt->ca_file) {
		if (!opt->client)
			return say(err, -EINVAL, "clients' certificates are demanded, but no CA file says which "
				   "to trust");
		if (SSL_CTX_set_default_verify_paths(ctx) != 1)
			return say(err, -EINVAL, "the system's CA store cannot be used: %s",
				   tls_error_text(why, sizeof(why)));
		return 0;
	}
	r = read_pem(opt->ca_file, "CA", err, &bio); /* for the sentence; OpenSSL reads it again */
	if (r < 0)
		return r;
	if (SSL_CTX_load_verify_file(ctx, opt->ca_file) != 1)
		return say(err, -EINVAL, "\"%s\" holds no PEM certificate of a CA: %s", opt->ca_file,
			   tls_error_text(why, sizeof(why)));
	if (opt->client) /* "trust this certificate" holds for a server's own one and for an intermediate too */
		X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	if (!opt->client)
		SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(opt->ca_file));
	return 0;
}

/* ---- protocol settings ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
		   unsigned in_n, void *arg)
{
	const struct tls_ctx *c = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, out_n, c->alpn, c->alpn_n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(struct tls_ctx *c, const char *const *names, char *err)
{
	for (; names && *names; names++) {
		size_t n = strlen(*names);

		if (n == 0 || n > 255 || c->alpn_n + 1 + n > sizeof(c->alpn))
			return say(err, -EINVAL, "the list of ALPN names is too long");
		c->alpn[c->alpn_n++] = (uint8_t)n;
		memcpy(c->alpn + c->alpn_n, *names, n);
		c->alpn_n += (unsigned)n;
	}
	if (!c->alpn_n)
		return 0;
	if (!c->client)
		SSL_CTX_set_alpn_select_cb(c->ssl, on_alpn, c);
	else if (SSL_CTX_set_alpn_protos(c->ssl, c->alpn, c->alpn_n))
		return say(err, -ENOMEM, "out of memory");
	return 0;
}

static const SSL_METHOD *method_of(const struct tls_options *opt)
{
	if (opt->dtls)
		return opt->client ? DTLS_client_method() : DTLS_server_method();
	return opt->client ? TLS_client_method() : TLS_server_method();
}

static int set_protocol(SSL_CTX *ctx, const struct tls_options *opt, char *err)
{
	static const uint8_t id[] = "stile";
	char why[128];

	if (SSL_CTX_set_min_proto_version(ctx, opt->dtls ? DTLS1_2_VERSION : TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, opt->dtls ? CIPHERS_DTLS12 : CIPHERS_TLS12) != 1 ||
	    (!opt->dtls && !opt->client && SSL_CTX_set_ciphersuites(ctx, SUITES_TLS13) != 1) ||
	    SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) != 1)
		return say(err, -EINVAL, "OpenSSL refuses the settings: %s", tls_error_text(why, sizeof(why)));
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
				 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* RELEASE_BUFFERS: an idle connection does not hold two records' worth of memory. */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			      SSL_MODE_RELEASE_BUFFERS);
	if (opt->dtls) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
		if (!opt->client)
			dtls_prepare_ctx(ctx);
	} else if (!opt->client && tls_tickets_prepare(ctx) < 0)
		return say(err, -ENOMEM, "out of memory");
	return 0;
}

static void warn_about_dates(const struct tls_ctx *c, const char *path, char *err)
{
	struct tls_cert_info info;
	time_t now = time(NULL);
	struct tm tm;
	char date[32];
	bool expired;

	if (tls_cert_info(c, &info) < 0)
		return; /* a client without one */
	expired = info.not_after < now;
	if (!expired && info.not_before <= now)
		return;
	gmtime_r(expired ? &info.not_after : &info.not_before, &tm);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
	(void)say(err, 0, expired ? "the certificate in \"%s\" expired on %s" :
				    "the certificate in \"%s\" is not valid before %s (or this clock is wrong)",
		  path, date);
}

/* ---- server names ---- */

struct text tls_server_name(const SSL *ssl)
{
	return text_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
}

/* No name, or one that nobody knows, is not answered with an alert: the certificate says who we are, and the
 * client decides (RFC 6066 3 allows either). Every name is acknowledged all the same, for OpenSSL keeps no other with a
 * session of TLS 1.2, and one that is resumed would have none. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_ctx *c = arg, *best = NULL;
	struct text name = tls_server_name(ssl);
	int how = 0;

	(void)alert;
	for (size_t i = 0; name.n && i < c->n_names; i++) {
		int m = server_name_match(text_of(c->names[i].pattern), name);
		if (m > how) {
			how = m;
			best = c->names[i].ctx;
		}
	}
	if (best && !SSL_set_SSL_CTX(ssl, best->ssl))
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return name.n ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static void listen_for_names(struct tls_ctx *c)
{
	SSL_CTX_set_tlsext_servername_callback(c->ssl, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(c->ssl, c);
}

/* ---- life ---- */

int tls_ctx_new(const struct tls_options *opt, char err[static TLS_ERRLEN], struct tls_ctx **ret_ctx)
{
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *c = calloc(1, sizeof(*c));
	int r;

	err[0] = 0;
	ERR_clear_error();
	if (!c)
		return say(err, -ENOMEM, "out of memory");
	c->refs = 1;
	c->client = opt->client;
	c->name_by_owner = opt->name_by_owner;
	c->ssl = SSL_CTX_new(method_of(opt));
	if (!c->ssl)
		return say(err, -ENOMEM, "out of memory");
	r = set_protocol(c->ssl, opt, err);
	if (r == 0)
		r = load_identity(c->ssl, opt, err);
	if (r == 0)
		r = load_trust(c->ssl, opt, err);
	if (r == 0 && opt->verify_peer && opt->crl_file)
		r = tls_load_crls(c->ssl, opt->crl_file, err);
	if (r == 0)
		r = set_alpn(c, opt->alpn, err);
	if (r < 0)
		return r;
	if (!opt->client)
		listen_for_names(c);
	warn_about_dates(c, opt->cert_file, err);
	*ret_ctx = steal_ptr(&c);
	return 0;
}

int tls_ctx_adopt(SSL_CTX *ssl, bool client, struct tls_ctx **ret_ctx)
{
	struct tls_ctx *c = calloc(1, sizeof(*c));

	if (!c) {
		SSL_CTX_free(ssl);
		return -ENOMEM;
	}
	c->refs = 1;
	c->client = client;
	c->ssl = ssl;
	*ret_ctx = c;
	return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct tls_ctx *tls_ctx_unref(struct tls_ctx *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	SSL_CTX_free(c->ssl);
	for (size_t i = 0; i < c->n_names; i++) {
		free(c->names[i].pattern);
		tls_ctx_unref(c->names[i].ctx);
	}
	free(c->names);
	free(c);
	return NULL;
}

SSL_CTX *tls_ctx_ssl(struct tls_ctx *c)
{
	return c->ssl;
}

/* ---- further certificates ---- */

int tls_ctx_add_name(struct tls_ctx *c, const char *pattern, struct tls_ctx *of)
{
	struct sni *more = realloc(c->names, (c->n_names + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	c->names = more;
	more[c->n_names] = (struct sni){ text_dup(text_of(pattern)), NULL };
	if (!more[c->n_names].pattern)
		return -ENOMEM;
	more[c->n_names++].ctx = tls_ctx_ref(of);
	return 0;
}

bool tls_ctx_nth_name(const struct tls_ctx *c, size_t i, const char **ret_pattern, const struct tls_ctx **ret_of)
{
	if (i >= c->n_names)
		return false;
	*ret_pattern = c->names[i].pattern;
	*ret_of = c->names[i].ctx;
	return true;
}

static bool is_literal_address(const char *name)
{
	uint8_t ip[16];

	return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

static bool set_server_name(const struct tls_ctx *c, SSL *ssl, const char *name)
{
	char host[256];
	size_t n = strlen(name);

	if (is_literal_address(name))
		return c->name_by_owner ||
		       X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	if (n >= sizeof(host))
		return false;
	if (n && name[n - 1] == '.') /* of DNS: neither the extension (RFC 6066 3) nor a certificate has it */
		n--;
	memcpy(host, name, n);
	host[n] = 0;
	if (SSL_set_tlsext_host_name(ssl, host) != 1)
		return false;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return c->name_by_owner || SSL_set1_host(ssl, host) == 1;
}

int tls_session_new(struct tls_ctx *c, const char *server_name, SSL **ret_ssl)
{
	SSL *ssl;

	ERR_clear_error();
	ssl = SSL_new(c->ssl);
	if (!ssl)
		return -ENOMEM;
	if (!c->client) {
		SSL_set_accept_state(ssl);
		if (!tls_tickets_begin(ssl)) {
			SSL_free(ssl);
			return -ENOMEM;
		}
	} else {
		SSL_set_connect_state(ssl);
		if (server_name && !set_server_name(c, ssl, server_name)) {
			SSL_free(ssl);
			ERR_clear_error();
			return -EINVAL;
		}
	}
	*ret_ssl = ssl;
	return 0;
}

/* ---- what a certificate says ---- */

static void print_name(const X509_NAME *name, char *buf, size_t n)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
	int got = 0;

	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) >= 0)
		got = BIO_read(bio, buf, (int)n - 1);
	buf[got > 0 ? got : 0] = 0;
}

/* Names as a stranger's CA wrote them: only printable ASCII is kept. */
static void print_ia5(struct sb *b, const char *kind, const ASN1_STRING *s)
{
	const uint8_t *p = ASN1_STRING_get0_data(s);

	sb_str(b, kind);
	for (int i = 0; i < ASN1_STRING_length(s); i++)
		sb_char(b, p[i] > 0x20 && p[i] < 0x7f ? (char)p[i] : '?');
}

static void print_ip(struct sb *b, const ASN1_STRING *s)
{
	char text[INET6_ADDRSTRLEN];
	int n = ASN1_STRING_length(s);

	if ((n == 4 || n == 16) &&
	    inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text))) {
		sb_str(b, "IP:");
		sb_str(b, text);
	}
}

static void print_sans(X509 *x, char *buf, size_t n)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	struct sb b = sb_init(buf, n);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (b.n)
			sb_str(&b, ", ");
		if (g->type == GEN_DNS)
			print_ia5(&b, "DNS:", g->d.dNSName);
		else if (g->type == GEN_URI)
			print_ia5(&b, "URI:", g->d.uniformResourceIdentifier);
		else if (g->type == GEN_EMAIL)
			print_ia5(&b, "email:", g->d.rfc822Name);
		else if (g->type == GEN_IPADD)
			print_ip(&b, g->d.iPAddress);
		else
			sb_str(&b, "other");
	}
	GENERAL_NAMES_free(names);
}

static time_t time_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

bool tls_cert_covers(const struct tls_ctx *c, const char *pattern)
{
	X509 *x = SSL_CTX_get0_certificate(c->ssl);
	char name[256];

	if (!x)
		return false;
	(void)snprintf(name, sizeof(name), "%s%s", pattern[0] == '*' ? "x" : "", pattern + (pattern[0] == '*'));
	if (name[0] && name[strlen(name) - 1] == '.')
		name[strlen(name) - 1] = 0;
	return X509_check_host(x, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

int tls_cert_info(const struct tls_ctx *c, struct tls_cert_info *ret_info)
{
	X509 *x = SSL_CTX_get0_certificate(c->ssl);
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n;

	if (!x)
		return -ENOENT;
	if (X509_digest(x, EVP_sha256(), digest, &n) != 1)
		return -EIO;
	print_name(X509_get_subject_name(x), ret_info->subject, sizeof(ret_info->subject));
	print_name(X509_get_issuer_name(x), ret_info->issuer, sizeof(ret_info->issuer));
	print_sans(x, ret_info->sans, sizeof(ret_info->sans));
	ret_info->not_before = time_of(X509_get0_notBefore(x));
	ret_info->not_after = time_of(X509_get0_notAfter(x));
	hex_encode(digest, n, ret_info->sha256);
	ERR_clear_error();
	return 0;
}
