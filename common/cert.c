/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Examining and making certificates with OpenSSL; see cert.h. A file is judged to its end: one fault does not hide the next,
 * unless there is nothing left to look at.
 *
 * Chain and name are judged as those who connect will judge them; what is usual but not wrong is a warning.
 */
#include "common/cert.h"
#include "common/config.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/addr.h"
#include "common/bytes.h"
#include "common/defs.h"

enum { DAY = 86400, RSA_LEAST = 2048, NAMES_TEXT = 4096 };

static void file_closep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* ---- saying ---- */

static void _printf_(2, 3) fault(struct cert_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (r->n_faults < CERT_SAYINGS_MAX)
		(void)vsnprintf(r->faults[r->n_faults++], TLS_ERRLEN, fmt, ap);
	va_end(ap);
}

static void _printf_(2, 3) warn(struct cert_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (r->n_warnings < CERT_SAYINGS_MAX)
		(void)vsnprintf(r->warnings[r->n_warnings++], TLS_ERRLEN, fmt, ap);
	va_end(ap);
}

/* ---- reading ---- */

static int no_passphrase(char *buf, int size, int rwflag, void *asked)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)asked = true;
	return -1;
}

static X509 *read_cert(const char *path, STACK_OF(X509) * chain, struct cert_report *r)
{
	_cleanup_(file_closep) FILE *f = fopen(path, "re");
	X509 *first, *more;

	if (!f) {
		fault(r, "\"%s\" cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	first = PEM_read_X509(f, NULL, NULL, NULL);
	if (!first)
		fault(r, "\"%s\" holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", path);
	while (first && (more = PEM_read_X509(f, NULL, NULL, NULL)) != NULL)
		if (!sk_X509_push(chain, more))
			X509_free(more);
	if (first && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		fault(r, "the certificate number %d in the file is damaged", sk_X509_num(chain) + 2);
	ERR_clear_error();
	return first;
}

static EVP_PKEY *read_key(const char *path, char err[static TLS_ERRLEN])
{
	_cleanup_(file_closep) FILE *f = fopen(path, "re");
	bool asked = false;
	EVP_PKEY *k;

	if (!f) {
		(void)snprintf(err, TLS_ERRLEN, "\"%s\" cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	k = PEM_read_PrivateKey(f, NULL, no_passphrase, &asked);
	if (!k)
		(void)snprintf(err, TLS_ERRLEN,
			       asked ? "the key \"%s\" has a passphrase: take it off (openssl pkey -in … -out …)"
				     : "\"%s\" holds no private key in PEM (a PRIVATE KEY block)",
			       path);
	ERR_clear_error();
	return k;
}

/* ---- judging ---- */

static time_t time_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static const char *day_of(time_t t, char buf[static 16])
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, 16, "%Y-%m-%d", &tm);
	return buf;
}

static void oneline(const X509_NAME *n, char out[static 256])
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long len;

	out[0] = 0;
	if (b && X509_NAME_print_ex(b, n, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0 &&
	    (len = BIO_get_mem_data(b, &p)) > 0)
		(void)snprintf(out, 256, "%.*s", (int)MIN(len, 255L), p);
	text_as_utf8(out);
	BIO_free(b);
}

static void list_sans(const X509 *x, char *out, size_t n)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	struct sb b = sb_init(out, n);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s = g->type == GEN_IPADD ? g->d.iPAddress : g->d.ia5;
		const char *kind = g->type == GEN_DNS	  ? "DNS:"
				   : g->type == GEN_URI	  ? "URI:"
				   : g->type == GEN_IPADD ? "IP:"
							  : NULL;
		char ip[ADDR_STRLEN];
		struct addr a;
		int len = kind ? ASN1_STRING_length(s) : 0;
		if (!kind)
			continue;
		sb_str(&b, b.n ? ", " : "");
		sb_str(&b, kind);
		if (g->type != GEN_IPADD) {
			sb_text(&b, (struct text){ (const char *)ASN1_STRING_get0_data(s), (size_t)len });
		} else if (len == 4 || len == 16) {
			a = len == 4 ? addr_v4(load_be32(ASN1_STRING_get0_data(s)), 0)
				     : addr_v6(ASN1_STRING_get0_data(s), 0);
			sb_str(&b, addr_print_ip(&a, ip));
		}
	}
	text_as_utf8(out);
	GENERAL_NAMES_free(names);
}

int64_t cert_days_left(int64_t not_after, int64_t now)
{
	return not_after < now ? -((now - not_after - 1) / DAY) - 1 : (not_after - now) / DAY;
}

static void describe(const X509 *x, time_t now, struct cert_report *r)
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	EVP_PKEY *k = X509_get0_pubkey(x);
	char group[40] = "";

	oneline(X509_get_subject_name(x), r->info.subject);
	oneline(X509_get_issuer_name(x), r->info.issuer);
	list_sans(x, r->info.sans, sizeof(r->info.sans));
	r->info.not_before = time_of(X509_get0_notBefore(x));
	r->info.not_after = time_of(X509_get0_notAfter(x));
	if (X509_digest(x, EVP_sha256(), md, &n) == 1 && n == 32)
		hex_encode(md, n, r->info.sha256);
	r->days_left = cert_days_left(r->info.not_after, now);
	if (k && EVP_PKEY_get_group_name(k, group, sizeof(group), NULL) == 1)
		(void)snprintf(r->key_kind, sizeof(r->key_kind), "EC %s", group);
	else if (k)
		(void)snprintf(r->key_kind, sizeof(r->key_kind), "%s %d bits",
			       EVP_PKEY_get0_type_name(k), EVP_PKEY_bits(k));
	if (k && EVP_PKEY_base_id(k) == EVP_PKEY_RSA && EVP_PKEY_bits(k) < RSA_LEAST)
		fault(r, "its RSA key has %d bits; less than %d are refused by others",
		      EVP_PKEY_bits(k), RSA_LEAST);
}

void cert_warn_end(const struct tls_cert_info *i, time_t now, char out[static TLS_ERRLEN])
{
	int64_t left = cert_days_left(i->not_after, now);
	char day[16];

	out[0] = 0;
	if (left >= 0 && left < CERT_WARN_DAYS)
		(void)snprintf(out, TLS_ERRLEN, "it ends in %lld days, on %s: renew it",
			       (long long)left, day_of(i->not_after, day));
}

static void judge_dates(time_t now, struct cert_report *r)
{
	char day[16], text[TLS_ERRLEN];

	if (r->info.not_after < now)
		fault(r, "it expired on %s", day_of(r->info.not_after, day));
	else if (r->info.not_before > now)
		fault(r, "it is not valid before %s; look at the clock",
		      day_of(r->info.not_before, day));
	cert_warn_end(&r->info, now, text);
	if (text[0])
		warn(r, "%s", text);
}

static void judge_key(const char *path, X509 *x, struct cert_report *r)
{
	char err[TLS_ERRLEN];
	EVP_PKEY *k = read_key(path, err);

	if (!k) {
		fault(r, "%s", err);
		return;
	}
	r->key_matches = X509_check_private_key(x, k) == 1;
	if (!r->key_matches)
		fault(r, "the key \"%s\" is another certificate's", path);
	ERR_clear_error();
	EVP_PKEY_free(k);
}

/* Each must be issued by the next. */
static void judge_order(X509 *x, STACK_OF(X509) * chain, struct cert_report *r)
{
	X509 *below = x;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *c = sk_X509_value(chain, i);
		if (r->n_chain < CERT_CHAIN_MAX)
			oneline(X509_get_subject_name(c), r->chain[r->n_chain++]);
		if (X509_check_issued(c, below) != X509_V_OK) {
			fault(r, "the certificate number %d in the file did not issue the one before it: the order is own, intermediate, …",
			      i + 2);
			break;
		}
		below = c;
	}
	if (X509_check_issued(x, x) == X509_V_OK)
		warn(r, "it is signed by itself: others trust it only if they are told to");
	else if (!sk_X509_num(chain))
		warn(r, "its chain is not in the file: right only if a CA that others know issued it directly");
	ERR_clear_error();
}

static void judge_trust(const char *ca, X509 *x, STACK_OF(X509) * chain, struct cert_report *r)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int e;

	if (!store || !ctx || X509_STORE_load_file(store, ca) != 1) {
		fault(r, "\"%s\" cannot be read as CA certificates in PEM", ca);
	} else if (X509_STORE_CTX_init(ctx, store, x, chain) == 1 && X509_verify_cert(ctx) != 1) {
		e = X509_STORE_CTX_get_error(ctx);
		if (e != X509_V_ERR_CERT_HAS_EXPIRED && e != X509_V_ERR_CERT_NOT_YET_VALID) /* said by the dates */
			fault(r, "the CAs in \"%s\" do not vouch for it: %s", ca,
			      X509_verify_cert_error_string(e));
	}
	ERR_clear_error();
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
}

static void judge_name(const char *name, X509 *x, struct cert_report *r)
{
	if (X509_check_host(x, name, strlen(name), X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1 ||
	    X509_check_ip_asc(x, name, 0) == 1)
		return;
	fault(r, "it is not for %s, but for %s", name, r->info.sans[0] ? r->info.sans : r->info.subject);
	ERR_clear_error();
}

void cert_examine(const struct cert_files *f, time_t now, struct cert_report *ret_r)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *x;

	*ret_r = (struct cert_report){ 0 };
	x = chain ? read_cert(f->cert, chain, ret_r) : NULL;
	if (x) {
		ret_r->readable = true;
		describe(x, now, ret_r);
		judge_dates(now, ret_r);
		if (f->key)
			judge_key(f->key, x, ret_r);
		judge_order(x, chain, ret_r);
		if (f->ca)
			judge_trust(f->ca, x, chain, ret_r);
		if (f->name)
			judge_name(f->name, x, ret_r);
	}
	X509_free(x);
	sk_X509_pop_free(chain, X509_free);
}

/* ---- as a row ---- */

static json_t *sentences(const char v[][TLS_ERRLEN], unsigned n)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(a, json_string(v[i]));
	return a;
}

json_t *cert_report_row(const struct cert_files *f, const struct cert_report *r)
{
	json_t *chain = json_array();

	for (unsigned i = 0; i < r->n_chain; i++)
		json_array_append_new(chain, json_string(r->chain[i]));
	return json_pack("{s:s, s:s, s:s*, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:b, s:s, s:o, s:o}", "file", f->cert, "key",
			 f->key ? f->key : "", "ca", f->ca, "subject", r->info.subject, "issuer", r->info.issuer, "names",
			 r->info.sans, "kind", r->key_kind, "chain", chain, "not_before", (json_int_t)r->info.not_before,
			 "not_after", (json_int_t)r->info.not_after, "days_left", (json_int_t)r->days_left, "key_matches",
			 r->key_matches, "sha256", r->info.sha256, "faults", sentences(r->faults, r->n_faults), "warnings",
			 sentences(r->warnings, r->n_warnings));
}

json_t *cert_row(const struct cert_files *f, time_t now)
{
	struct cert_report r;

	cert_examine(f, now, &r);
	return cert_report_row(f, &r);
}

/* ---- making ---- */

static int fail(char err[static TLS_ERRLEN], int r, const char *what, const char *path)
{
	(void)snprintf(err, TLS_ERRLEN, "%s \"%s\": %s", what, path, strerror(-r));
	return r;
}

static FILE *create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (fd >= 0 && !f)
		close(fd);
	return f;
}

static int make_key(const char *path, char err[static TLS_ERRLEN], EVP_PKEY **ret_k)
{
	_cleanup_(file_closep) FILE *f = NULL;

	if (access(path, F_OK) == 0) {
		*ret_k = read_key(path, err);
		return *ret_k ? 0 : -EINVAL;
	}
	*ret_k = EVP_EC_gen("P-256");
	f = *ret_k ? create(path) : NULL;
	if (!f)
		return fail(err, *ret_k ? -errno : -ENOMEM, "cannot make the key", path);
	if (PEM_write_PrivateKey(f, *ret_k, NULL, NULL, 0, NULL, NULL) != 1 || fflush(f) != 0)
		return fail(err, -EIO, "cannot write the key", path);
	return 0;
}

static X509_EXTENSION *names_of(const struct cert_wish *w)
{
	char text[NAMES_TEXT];
	struct sb b = sb_init(text, sizeof(text));
	struct addr a;

	for (unsigned i = 0; i < w->n_names; i++) {
		sb_str(&b, i ? "," : "");
		sb_str(&b, addr_parse(text_of(w->names[i]), 0, &a) == 0 ? "IP:" : "DNS:");
		sb_str(&b, w->names[i]);
	}
	return b.truncated ? NULL : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
}

static bool set_name(X509_NAME *n, const char *cn)
{
	return n && X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const unsigned char *)cn,
					       -1, -1, 0) == 1;
}

static X509_REQ *request_of(const struct cert_wish *w, EVP_PKEY *k, X509_EXTENSION *names)
{
	STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	X509_REQ *q = X509_REQ_new();
	bool good = q && exts && sk_X509_EXTENSION_push(exts, names) > 0 &&
		    X509_REQ_set_pubkey(q, k) == 1 &&
		    set_name(X509_REQ_get_subject_name(q), w->names[0]) &&
		    X509_REQ_add_extensions(q, exts) == 1 && X509_REQ_sign(q, k, EVP_sha256()) > 0;

	sk_X509_EXTENSION_free(exts);
	if (!good)
		X509_REQ_free(q);
	return good ? q : NULL;
}

static X509 *signed_of(const struct cert_wish *w, EVP_PKEY *k, X509_EXTENSION *names)
{
	uint8_t serial[16];
	BIGNUM *bn = NULL;
	X509 *x = X509_new();
	bool good = x && bytes_random(serial, sizeof(serial)) == 0;

	if (good) {
		serial[0] = (uint8_t)(serial[0] & 0x7f);
		bn = BN_bin2bn(serial, sizeof(serial), NULL);
	}
	good = good && bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) &&
	       X509_set_version(x, 2) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -300) &&
	       X509_time_adj_ex(X509_getm_notAfter(x), (int)w->days, 0, NULL) &&
	       X509_set_pubkey(x, k) == 1 && set_name(X509_get_subject_name(x), w->names[0]) &&
	       X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
	       X509_add_ext(x, names, -1) == 1 && X509_sign(x, k, EVP_sha256()) > 0;
	BN_free(bn);
	if (!good)
		X509_free(x);
	return good ? x : NULL;
}

static int write_out(const struct cert_wish *w, EVP_PKEY *k, X509_EXTENSION *names,
		     char err[static TLS_ERRLEN])
{
	X509_REQ *q = w->days ? NULL : request_of(w, k, names);
	X509 *x = w->days ? signed_of(w, k, names) : NULL;
	_cleanup_(file_closep) FILE *f = q || x ? create(w->out_file) : NULL;
	int r = 0;

	if (!q && !x)
		r = fail(err, -EIO, "cannot sign", w->out_file);
	else if (!f)
		r = fail(err, -errno, "cannot write", w->out_file);
	else if ((q ? PEM_write_X509_REQ(f, q) : PEM_write_X509(f, x)) != 1 || fflush(f) != 0)
		r = fail(err, -EIO, "cannot write", w->out_file);
	X509_REQ_free(q);
	X509_free(x);
	return r;
}

int cert_make(const struct cert_wish *w, char err[static TLS_ERRLEN])
{
	X509_EXTENSION *names = names_of(w);
	EVP_PKEY *k = NULL;
	int r;

	err[0] = 0;
	if (!names) {
		(void)snprintf(err, TLS_ERRLEN, "these names cannot stand in a certificate");
		return -EINVAL;
	}
	if (access(w->out_file, F_OK) == 0) {
		X509_EXTENSION_free(names);
		return fail(err, -EEXIST, "cannot write", w->out_file);
	}
	r = make_key(w->key_file, err, &k);
	if (r == 0)
		r = write_out(w, k, names, err);
	EVP_PKEY_free(k);
	X509_EXTENSION_free(names);
	return r;
}

/* ---- of a configuration ---- */

void cert_check(struct cfg *c, const char *key, const char *cert_file, const char *key_file)
{
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];
	int r = tls_ctx_new(&(struct tls_options){ .cert_file = cert_file, .key_file = key_file }, err, &ctx);

	if (r < 0)
		cfg_add_error(c, key, "%s", err);
	else if (*err)
		cfg_add_warning(c, key, "%s", err);
	tls_ctx_unref(ctx);
}
