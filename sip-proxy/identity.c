/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the certificate of a finished handshake says the other end is, by RFC 5922 7.1: the SIP URIs without a user
 * among its subject alternative names; DNS names only if there is no such URI; the common name only if there
 * is neither, and never when the certificate has other alternative names. Exact names: a wildcard covers nothing.
 *
 * IP addresses are taken beside the names, for next hops that are configured by address.
 *
 * A name with a NUL or another byte that no host name has is left out: it is no name, but an attempt.
 */
#include "sip-proxy/identity.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/uri.h"

enum { NAMES_MAX = 64, NAME_MAX_LEN = 253, BLOCK = 8192 };

struct collected {
	char text[BLOCK];
	size_t n;
	unsigned offset[NAMES_MAX];
	unsigned names;
};

static void add(struct collected *c, const char *p, size_t n)
{
	if (n == 0 || n > NAME_MAX_LEN || c->names == NAMES_MAX || c->n + n + 1 > sizeof(c->text))
		return;
	for (size_t i = 0; i < n; i++) {
		char ch = p[i];
		bool fine = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			    (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' ||
			    ch == ':';
		if (!fine)
			return;
	}
	c->offset[c->names++] = (unsigned)c->n;
	for (size_t i = 0; i < n; i++)
		c->text[c->n++] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
	c->text[c->n++] = 0;
}

/* "sip:example.org", without a user; a port or parameters do not belong there (7.1). */
static void add_uri(struct collected *c, const ASN1_STRING *s)
{
	struct text t = { (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) };
	struct sip_uri u;

	if (memchr(t.p, 0, t.n) || sip_uri_parse(t, &u) < 0 || u.scheme != SIP_SCHEME_SIP ||
	    u.user.p || u.port)
		return;
	add(c, u.host.p, u.host.n);
}

static void add_ip(struct collected *c, const ASN1_STRING *s)
{
	struct addr a;
	char text[ADDR_STRLEN];
	int n = ASN1_STRING_length(s);

	if (n == 4)
		a = addr_v4(load_be32(ASN1_STRING_get0_data(s)), 0);
	else if (n == 16)
		a = addr_v6(ASN1_STRING_get0_data(s), 0);
	else
		return;
	addr_print_ip(&a, text);
	add(c, text, strlen(text));
}

static void collect(X509 *x, struct collected *c)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool any_uri = false, any = false;

	for (int pass = 0; pass < 2 && !any_uri; pass++)
		for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
			const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
			if (pass == 0 && g->type == GEN_URI)
				add_uri(c, g->d.uniformResourceIdentifier);
			if (pass == 1 && g->type == GEN_DNS)
				add(c, (const char *)ASN1_STRING_get0_data(g->d.dNSName),
				    (size_t)ASN1_STRING_length(g->d.dNSName));
			if (pass == 1 && g->type == GEN_IPADD)
				add_ip(c, g->d.iPAddress);
			any = true;
			any_uri |= pass == 0 && c->names > 0;
		}
	GENERAL_NAMES_free(names);
	if (!any) {
		char cn[NAME_MAX_LEN + 2];
		int n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn,
						  sizeof(cn));
		if (n > 0 && (size_t)n == strlen(cn))
			add(c, cn, (size_t)n);
	}
}

static void fingerprint(X509 *x, char out[65])
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (X509_digest(x, EVP_sha256(), md, &n) == 1 && n == 32)
		hex_encode(md, n, out);
}

static struct sip_identity *pack(const struct collected *c, X509 *x, bool verified)
{
	size_t names = c->names * sizeof(char *);
	struct sip_identity *id = calloc(1, sizeof(*id) + names + c->n);
	const char **v;
	char *text;

	if (!id)
		return NULL;
	v = (const char **)(id + 1);
	text = (char *)(id + 1) + names;
	memcpy(text, c->text, c->n);
	for (unsigned i = 0; i < c->names; i++)
		v[i] = text + c->offset[i];
	id->verified = verified;
	id->names = v;
	id->n = verified ? c->names : 0;
	fingerprint(x, id->sha256);
	return id;
}

struct sip_identity *sip_identity_of_x509(X509 *x, bool verified)
{
	struct collected *c = x ? calloc(1, sizeof(*c)) : NULL;
	struct sip_identity *id = NULL;

	if (c) {
		collect(x, c);
		id = pack(c, x, verified);
	}
	free(c);
	return id;
}

struct sip_identity *sip_identity_of(SSL *ssl)
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	struct sip_identity *id = sip_identity_of_x509(x, SSL_get_verify_result(ssl) == X509_V_OK);

	X509_free(x);
	return id;
}

struct sip_identity *sip_identity_of_file(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
	struct sip_identity *id = sip_identity_of_x509(x, true);

	if (f)
		(void)fclose(f);
	if (!x)
		ERR_clear_error();
	X509_free(x);
	return id;
}
